/** Calls of layers and of what they save. */
import {
  BatchNorm,
  type BatchNormSaved,
  freeze,
  loadStateDict,
  parameters,
  presets,
  stateDict,
  type Tensor,
  train,
} from "batchnorm-wasm";
import type { Random } from "../../../scripts/random.mjs";
import { Options } from "../options.js";
import { forwardArguments, outputOf } from "../passes.js";
import {
  type Anything,
  axisOf,
  classOf,
  here,
  type Input,
  product,
  resolve,
  same,
  takeResult,
  themeOf,
  vector,
  vectorValues,
} from "../theme.js";
import { type Arg, arg, hostile } from "../values.js";
import {
  apart,
  bits,
  Fault,
  type Manner,
  sameElements,
  type TensorModel,
  VECTORS,
  type World,
} from "../world.js";
import {
  ACTIVATION,
  inPlaceOfOne,
  isResidual,
  residualValues,
  setActivation,
  setResidual,
  slopeOf,
} from "./activation.js";
import { expectForward, expectMoved } from "./expect.js";
import { adoptRecord, cuts, lastOf, type Pass, recordsOf } from "./pass.js";
import { setWeights, weightsOf } from "./weights.js";

const ANY = [1, 2, 3, 4, 5, 6, 7, 8];

/** Layers, the preset of those that have but one, and the ranks that they take. */
const CLASSES: readonly (readonly [name: string, preset: string, ranks: readonly number[]])[] = [
  ["BatchNorm", "", ANY],
  ["BatchNorm", "", ANY],
  ["BatchNorm1d", "torch", [2, 3]],
  ["BatchNorm2d", "torch", [4]],
  ["BatchNorm3d", "torch", [5]],
  ["BatchNormalization", "keras", ANY],
];

/** Layers whose renorm has averages of its own. */
const averaging = new WeakSet<BatchNorm>();

/** A new layer. */
export function construct(world: World, random: Random, manner: Manner): void {
  const { channels, shapes } = themeOf(world);
  const [kind, fixed] = random.pick(
    CLASSES.filter(([, , ranks]) => shapes.some(({ length }) => ranks.includes(length))),
  );
  const options = new Options();
  if (!random.oneIn(12)) options.set("kernel", arg(world.home.kernel, "k"));
  const keras = kind === "BatchNormalization";
  let known = ["kernel", "momentum"];
  if (kind === "BatchNorm") {
    const preset = random.pick(["torch", "keras", "onnx", "flax"]);
    options.set("preset", arg(preset, `"${preset}"`));
    const axis = axisOf(world, random, random.pick(shapes));
    if (!random.oneIn(4)) options.set("axis", arg(axis, `${axis}`));
    for (const name of ["scale", "offset", "trackRunningStats", "affine"]) {
      if (random.oneIn(5)) options.set(name, arg(false, "false"));
    }
    known = [
      ...["preset", "eps", "momentum", "affine", "scale", "offset", "trackRunningStats", "axis"],
      ...["runningVariance", "statistics", "updateRunningStats", "requiresGrad", "kernel"],
      ...["virtualBatchSize", "renorm", "renormMomentum", ...ACTIVATION],
    ];
    setActivation(options, random);
    if (random.oneIn(6)) options.set("virtualBatchSize", arg(3, "3"));
    if (random.oneIn(8) && options.one("trackRunningStats").value !== false) {
      options.set("renorm", arg({ rMax: 2 }, "{ rMax: 2 }"));
    }
    if (random.oneIn(4)) options.set("statistics", arg("batch", '"batch"'));
  } else if (keras) {
    const axis = axisOf(world, random, random.pick(shapes));
    options.set("axis", arg(axis, `${axis}`));
    known = ["axis", "momentum", "epsilon", "center", "scale", "trainable", "kernel"];
    known.push("renorm", "renormClipping", "renormMomentum");
    if (random.oneIn(6)) options.set("renorm", arg(true, "true"));
    for (const name of ["center", "scale", "trainable"]) {
      if (random.oneIn(4)) options.set(name, arg(false, "false"));
    }
  } else known.push("eps", "affine", "trackRunningStats");
  if (random.oneIn(4)) options.set("momentum", arg(0.5, "0.5"));
  const averages =
    options.one("preset").value === "torch" && options.one("trackRunningStats").value !== false;
  if (kind === "BatchNorm" && averages && random.oneIn(4)) {
    options.set("momentum", arg(null, "null"));
  }
  let count: Arg = arg(channels, `${channels}`);
  if (kind === "BatchNorm" && random.oneIn(4)) count = arg(null, "null");
  if (manner === "hostile" && random.oneIn(2)) {
    if (random.oneIn(3) && !keras) count = hostile(random);
    else options.mutate(world, random, known);
  }
  const { value, code } = options.build();
  const name = world.name("l");
  const Layer = classOf<BatchNorm>(kind);
  world.attempt(
    () =>
      options.surrounded(`${name} = new ${kind}(${keras ? "" : `${count.code()}, `}${code()});`),
    () => options.surround(() => (keras ? new Layer(value) : new Layer(count.value, value))),
    {
      valid: options.benign && (count.value === channels || count.value === null),
      never: ["kernel"],
      returned: (layer: BatchNorm) => {
        options.checkTaken();
        const fits =
          count.value === null || count.value === undefined
            ? true
            : typeof count.value === "number" && count.value === layer.numFeatures;
        if (!keras && !fits) throw new Fault("numFeatures is taken that is none", count.code());
        const preset = fixed || ((options.one("preset").value as string) ?? "torch");
        if (preset === "keras" && layer.renorm) averaging.add(layer);
        world.adoptLayer(layer, preset, name);
      },
    },
  );
}

/** What of a layer `forward` may change. */
const BUILDS = ["numFeatures", ...VECTORS];

export function forwardLayer(world: World, random: Random, manner: Manner): void {
  const model = world.pick(random, world.layers, (one) => !world.watched.has(one));
  if (!model) return;
  const { layer, state, preset } = model;
  const axisSetting = state.axis as number;
  const [, , ranks = ANY] = CLASSES.find(([name]) => name === layer.constructor.name) ?? [];
  const fits = (shape: readonly number[]) => {
    const size = shape[resolve(axisSetting, shape.length)];
    return (
      size !== undefined &&
      ranks.includes(shape.length) &&
      (state.numFeatures === null || size === state.numFeatures) &&
      product(shape) > size
    );
  };
  let residual: Input | undefined;
  const given = forwardArguments(world, random, manner, fits, (options, x) => {
    if (random.oneIn(4)) setWeights(options, random, x.shape, resolve(axisSetting, x.shape.length));
    residual = setResidual(options, x, world, random, manner);
    const out = residual?.model;
    if (out && !x.plain && random.oneIn(3)) options.tensor("out", out);
    return ["residual", "mask", "weights"];
  });
  if (!given) return;
  const { x, options, value, code, outs, name } = given;
  const inputs = [...(x.model ? [x.model] : []), ...options.models(world, "residual")];
  const inPlace = inPlaceOfOne(outs, ...inputs);
  const at = resolve(axisSetting, x.shape.length);
  const channels = x.shape[at] as number;
  const read = (field: string) => world.modelOf.get(layer[field as "weight"]);
  const vectors = () => ["weight", "bias", "runningMean", "runningVar"].map(read);
  const mode = options.one("training").known
    ? ((options.one("training").value as boolean | undefined | null) ?? (state.training as boolean))
    : undefined;
  const tracks = layer.trackRunningStats;
  const byBatch =
    state.statistics === "batch" || (state.statistics === "auto" && (mode || !tracks));
  const update =
    state.updateRunningStats === "auto" ? mode && byBatch && tracks : state.updateRunningStats;
  const weights = weightsOf(options);
  // Averages of σ are what moves, also without limits.
  const varied =
    (byBatch && averaging.has(layer)) ||
    (mode !== false &&
      ((byBatch && (state.renorm !== null || cuts(state.virtualBatchSize, x.shape, at))) ||
        (weights !== null && state.virtualBatchSize !== null)));
  const count = product(x.shape) / channels;
  const variance = read("runningVar");
  const valid =
    options.benign &&
    !x.wrong &&
    typeof mode === "boolean" &&
    at >= 0 &&
    at < x.shape.length &&
    model.home === world.home &&
    (state.numFeatures === null || state.numFeatures === channels) &&
    (layer.constructor === BatchNorm || layer.constructor.name === "BatchNormalization") &&
    count > 1 &&
    !varied &&
    (state.eps as number) > 0 &&
    (byBatch ||
      !variance ||
      world.values(variance).every((value) => value >= 0 && value < Infinity)) &&
    isResidual(residual, x, world) &&
    [...inputs, ...outs, ...vectors()].every((one) => !one?.disposed) &&
    outs.every(
      (out) =>
        same(out.shape, x.shape) &&
        inputs.every((one) => sameElements(one, out) || apart(one, out)) &&
        vectors().every((one) => !one || apart(out, one)),
    ) &&
    vectors().every((one) => !one || inputs.every((input) => apart(one, input)));
  const before = state;
  world.attempt(
    () => options.surrounded(`${name} = ${model.name}.forward(${x.arg.code()}, ${code()});`),
    () => options.surround(() => layer.forward(x.arg.value as Anything, value as Anything)),
    {
      valid,
      never: ["kernel"],
      ambiguous: !options.known,
      // Only those that may move.
      writes: [
        ...outs,
        ...(update === false ? [] : [read("runningMean"), read("runningVar")]).filter(
          (one): one is TensorModel => !!one,
        ),
      ],
      reads: [...inputs, read("weight"), read("bias")].filter((one): one is TensorModel => !!one),
      inPlace,
      layer: model,
      writesVectors: state.numFeatures === null ? VECTORS : [],
      changes: ["numBatchesTracked", ...(state.numFeatures === null ? BUILDS : [])],
      returned: (y: Tensor) => {
        options.checkTaken();
        const values = x.model ? world.values(x.model) : x.values;
        // What was not there before began as 1 and 0.
        const started = (field: string, start: number) => {
          const known = read(field);
          if (known) return world.values(known);
          return layer[field as "weight"] ? new Float32Array(channels).fill(start) : null;
        };
        const weight = started("weight", 1);
        const bias = started("bias", 0);
        const old = { mean: started("runningMean", 0), variance: started("runningVar", 1) };
        const added = residualValues(residual, options, world);
        const slope = slopeOf(before.activation, before.negativeSlope);
        const known =
          options.known &&
          (!x.wrong || !!x.model || !!x.of) &&
          model.state === before &&
          added !== undefined &&
          !varied &&
          weights !== undefined &&
          typeof mode === "boolean";
        const taken = takeResult(world, x, outs, y, name);
        const pass: Pass = {
          x: values,
          shape: x.shape,
          axis: at,
          slope,
          residual: added ?? null,
          output: slope < 1 ? outputOf(taken.values, taken.model, outs) : null,
          eps: state.eps as number,
          weight,
          given: byBatch ? null : (old as { mean: Float32Array; variance: Float32Array }),
          weights: weights ?? null,
          xModel: x.model ?? null,
          xVersion: x.model?.region.version ?? 0,
          kept: vectors().filter((one) => !!one),
          // The vectors of a layer that has just been built are not yet known.
          known: known && before.numFeatures !== null && !x.of,
          home: model.home,
        };
        const last = lastOf(model);
        last.pass = pass;
        if (last.record && !last.record.taken) {
          last.record.pass = null;
          last.record.superseded = true;
        }
        last.record = null;
        if (!known) return;
        expectForward(taken.values, pass, bias, x.of);
        const { mean: m, variance: v } = { mean: layer.runningMean, variance: layer.runningVar };
        if (!m || !v || m.disposed || v.disposed || !old.mean || !old.variance) return;
        // Where y went there, and nobody needs them, they are y.
        const over = outs.some((out) => [read("runningMean"), read("runningVar")].includes(out));
        if (over && !update) return;
        const now = { mean: m.toFloat32Array(), variance: v.toFloat32Array() };
        const momentum = state.momentum as number | null;
        const share =
          momentum === null
            ? 1 / ((state.numBatchesTracked as number) + 1)
            : preset === "torch"
              ? momentum
              : 1 - momentum;
        expectMoved(
          update ? pass : { ...pass, x: new Float32Array(0) },
          { mean: old.mean, variance: old.variance },
          now,
          share,
          layer.runningVariance,
          x.of,
        );
        const counted = (state.numBatchesTracked as number) + (update && values.length > 0 ? 1 : 0);
        if (layer.numBatchesTracked !== counted) {
          throw new Fault(
            "numBatchesTracked is wrong",
            `${layer.numBatchesTracked}, not ${counted}`,
          );
        }
      },
    },
  );
}

const SETTINGS = [
  ...["training", "statistics", "updateRunningStats", "requiresGrad", "trainable"],
  ...["momentum", "eps", "virtualBatchSize", "renorm"],
];

/** Modes, switches and other settings. */
export function setting(world: World, random: Random, manner: Manner): void {
  const model = world.pick(random, world.layers);
  if (!model) return;
  const { layer, name } = model;
  const wrong = manner === "hostile" && random.oneIn(2);
  if (random.oneIn(2)) {
    const method = random.pick(["train", "eval"]);
    const mode = wrong ? hostile(random) : arg(random.oneIn(2), "");
    if (!wrong) Object.assign(mode, { code: () => `${mode.value}` });
    const changed = method === "eval" ? false : (mode.value ?? true);
    world.attempt(
      () => `${name}.${method}(${method === "train" ? mode.code() : ""});`,
      () => (method === "eval" ? layer.eval() : layer.train(mode.value as boolean)),
      {
        valid: !wrong,
        layer: model,
        changes: ["training"],
        returned: () => {
          if (layer.training !== changed || typeof changed !== "boolean") {
            throw new Fault("a mode is taken that is none", String(layer.training));
          }
        },
      },
    );
    return;
  }
  const field = random.pick(SETTINGS.filter((one) => one in layer));
  const fit: Record<string, readonly (string | boolean | number | null)[]> = {
    statistics: ["auto", "batch", "running"],
    updateRunningStats: [true, false, "auto"],
    requiresGrad: [true, false],
    trainable: [true, false],
    training: [true, false],
    momentum: [0, 0.1, 1],
    eps: [1e-5, 1],
    virtualBatchSize: [null, 2, 3, 100],
    renorm: [null],
  };
  const right = random.pick(fit[field] as readonly string[]);
  const value = wrong ? hostile(random) : arg(right, JSON.stringify(right));
  // Assigning what can't be assigned is the language's error, not the package's.
  const readOnly = !isSettable(layer, field);
  if (readOnly) return;
  const follow = field === "trainable" ? ["statistics", "updateRunningStats", "requiresGrad"] : [];
  world.attempt(
    () => `${name}.${field} = ${value.code()};`,
    () => {
      (layer as unknown as Record<string, unknown>)[field] = value.value;
    },
    {
      layer: model,
      changes: [field, ...follow],
      returned: () => {
        const now = (layer as unknown as Record<string, unknown>)[field];
        const fits =
          (fit[field] as readonly unknown[]).includes(now) ||
          (typeof now === "number" &&
            now >= 0 &&
            (field === "eps" ? now < Infinity : field === "momentum" && now <= 1)) ||
          (field === "renorm" && now === layer.renorm) ||
          (field === "virtualBatchSize" && Number.isInteger(now) && (now as number) > 0) ||
          (field === "momentum" && now === null && model.preset === "torch");
        if (!fits) throw new Fault(`${field} of a layer is set to what it can't be`, value.code());
      },
    },
  );
}

/** Whether the types let one assign it: what is read-only is `mutate`'s concern. */
function isSettable(layer: BatchNorm, field: string): boolean {
  for (let on: object | null = layer; on; on = Object.getPrototypeOf(on)) {
    const found = Object.getOwnPropertyDescriptor(on, field);
    if (found) return found.set !== undefined || (field === "training" && !!found.writable);
  }
  return false;
}

/** zeroGrad, resets, taking a state dict, disposing. */
export function manage(world: World, random: Random, manner: Manner): void {
  const model = world.pick(random, world.layers);
  if (!model) return;
  const { layer, name, state } = model;
  const vector = (field: string) => world.modelOf.get(state[field]);
  const live = VECTORS.every((field) => !vector(field)?.disposed);
  const some = (...fields: string[]) =>
    fields.map(vector).filter((one): one is TensorModel => !!one);
  const filled = (one: TensorModel | undefined, value: number) => {
    if (one && world.now(one).some((element) => element !== value)) {
      throw new Fault("a reset vector has another value", `${one.name}, not ${value}`);
    }
  };
  switch (random.below(7)) {
    case 6: {
      // As a part of a network, or beside what is none.
      const mode = manner === "hostile" && random.oneIn(4) ? hostile(random) : arg(true, "true");
      const other = manner === "hostile" && random.oneIn(3) ? hostile(random) : arg(null, "null");
      const network = { a: layer, b: [other.value] } as Anything;
      const code = `{ a: ${name}, b: [${other.code()}] }`;
      const isBoolean = mode.value === undefined || typeof mode.value === "boolean";
      const valid = isBoolean && (other.value === null || other.value === undefined);
      const calls = [
        ["train", () => train(network, mode.value as Anything), ["training"]],
        [
          "freeze",
          () => freeze(network, mode.value as Anything),
          ["requiresGrad", "statistics", "updateRunningStats", "trainable"],
        ],
        ["parameters", () => parameters(network), []],
        ["stateDict", () => stateDict(network), []],
      ] as const;
      const [method, run, changes] = random.pick(calls);
      const isBuilt = method !== "stateDict" || (live && state.numFeatures !== null);
      world.attempt(() => `${method}(${code}, ${mode.code()});`, run, {
        valid: valid && isBuilt,
        layer: model,
        changes,
      });
      return;
    }
    case 0:
      world.attempt(
        () => `${name}.zeroGrad();`,
        () => layer.zeroGrad(),
        {
          valid: live,
          writes: some("weightGrad", "biasGrad"),
          layer: model,
          returned: () => {
            filled(vector("weightGrad"), 0);
            filled(vector("biasGrad"), 0);
          },
        },
      );
      return;
    case 1:
    case 2: {
      const all = random.oneIn(3);
      const method = all ? "resetParameters" : "resetRunningStats";
      const running = some("runningMean", "runningVar");
      world.attempt(
        () => `${name}.${method}();`,
        () => layer[method](),
        {
          valid: live,
          writes: all ? [...some("weight", "bias"), ...running] : running,
          layer: model,
          changes: ["numBatchesTracked"],
          returned: () => {
            if (all) {
              filled(vector("weight"), 1);
              filled(vector("bias"), 0);
            }
            filled(vector("runningMean"), 0);
            filled(vector("runningVar"), 1);
          },
        },
      );
      return;
    }
    case 3: {
      const options = new Options();
      options.set("prefix", arg("a.", '"a."'));
      if (manner === "hostile" && random.oneIn(2)) options.mutate(world, random, ["prefix"]);
      const { value, code } = options.build();
      world.attempt(
        () => options.surrounded(`${name}.stateDict(${code()});`),
        () => options.surround(() => layer.stateDict(value as Anything)),
        {
          valid: options.benign && live && state.numFeatures !== null,
          returned: (dict: Record<string, Float32Array>) => {
            options.checkTaken();
            const fields = ["weight", "bias", "runningMean", "runningVar"];
            const names = (presets as unknown as Record<string, { names: Record<string, string> }>)[
              model.preset
            ]?.names;
            for (const field of fields) {
              const one = vector(field);
              if (!one || !options.known) continue;
              const { value: prefix = "" } = options.one("prefix");
              const got = dict[`${prefix ?? ""}${names?.[field]}`];
              const right = world.values(one);
              if (!got || bits(got).some((bit, i) => bit !== bits(right)[i])) {
                throw new Fault("a state dict differs from the layer", `${name}.${field}`);
              }
            }
          },
        },
      );
      return;
    }
    case 4: {
      // A gradient of one's own, or something else in its place.
      const field = random.pick(["weight", "bias"] as const);
      const parameter = layer[field];
      if (!parameter || vector(field)?.disposed || parameter.grad) return;
      const other = world.pick(
        random,
        world.tensors,
        here(world, (one) => one.shape[0] === state.numFeatures),
      );
      const wrong = manner === "hostile" && random.oneIn(2);
      const value = wrong ? hostile(random) : other ? arg(other.tensor, other.name) : undefined;
      if (!value) return;
      const keep = parameter.grad;
      world.attempt(
        () => `${name}.${field}.grad = ${value.code()};`,
        () => {
          parameter.grad = value.value as Tensor;
        },
        { layer: model, changes: [`${field}Grad`] },
      );
      // It stays for one call, and is then taken back: its owner is another.
      world.attempt(
        () => `${name}.zeroGrad();`,
        () => layer.zeroGrad(),
        {
          writes:
            other && value.value === other.tensor
              ? [other, ...some("weightGrad", "biasGrad")]
              : some("weightGrad", "biasGrad"),
          layer: model,
        },
      );
      world.attempt(
        () => `${name}.${field}.grad = null;`,
        () => {
          parameter.grad = keep;
        },
        { layer: model, changes: [`${field}Grad`] },
      );
      return;
    }
    default: {
      if (!random.oneIn(3)) return;
      world.attempt(
        () => `${name}.dispose();`,
        () => {
          world.goneLayer(model);
          const { record } = lastOf(model);
          if (record && !record.taken) record.disposed = true;
          layer.dispose();
        },
        { valid: true },
      );
    }
  }
}

/** Reading and taking what a layer saved. */
export function saved(world: World, random: Random): void {
  const model = world.pick(random, world.layers);
  if (!model) return;
  const name = world.name("s");
  const takes = random.oneIn(2);
  const { layer } = model;
  const last = lastOf(model);
  world.attempt(
    () => (takes ? `${name} = ${model.name}.takeSaved();` : `${name} = ${model.name}.saved;`),
    () => (takes ? layer.takeSaved() : layer.saved),
    {
      valid: !takes || last.pass !== null,
      returned: (record: BatchNormSaved | null) => {
        if (record === null) return;
        const known =
          recordsOf(world).find((one) => one.record === record) ??
          adoptRecord(world, name, record, last.pass, model);
        known.taken ||= takes;
        last.record = known;
      },
    },
  );
}

/** An entry as some reader of files might give it, with the same values. */
function disguised(world: World, random: Random, entry: Arg): Arg {
  const values = vectorValues(world, entry.value);
  if (!values || random.oneIn(2)) return entry;
  const list = `Float32Array.of(${[...values].map((value) => (Object.is(value, -0) ? "-0" : value))})`;
  const length = values.length;
  const data = values.slice();
  switch (random.below(4)) {
    case 0:
      return arg(
        { data: new Uint8Array(data.buffer), dtype: "F32" },
        `{ data: new Uint8Array(${list}.buffer), dtype: "F32" }`,
      );
    case 1:
      return arg(
        { data: Float64Array.from(data), shape: [1, length, 1] },
        `{ data: Float64Array.from(${list}), shape: [1, ${length}, 1] }`,
      );
    case 2:
      return arg(
        Object.fromEntries(Object.entries(data)),
        `Object.fromEntries(Object.entries(${list}))`,
      );
    default:
      return arg(data, list);
  }
}

/** `loadStateDict`: dicts of every kind, into a layer or from it. */
export function load(world: World, random: Random, manner: Manner): void {
  const model = world.pick(random, world.layers);
  if (!model) return;
  const { layer, name, state, preset } = model;
  const namesOf = (preset: string) =>
    (presets as Record<string, { names: Record<string, string> }>)[preset]?.names as Record<
      string,
      string
    >;
  const own = namesOf(preset);
  // Of another framework's layer, perhaps.
  const names = {
    ...own,
    ...namesOf(random.oneIn(3) ? random.pick(Object.keys(presets)) : preset),
  };
  // As a part of a network, perhaps.
  const isWhole = random.oneIn(4);
  const before = isWhole ? "a." : "";
  const fields = ["weight", "bias", "runningMean", "runningVar"].filter((field) =>
    state.numFeatures === null ? true : state[field],
  );
  if (averaging.has(layer)) fields.push("runningStd", "renormMean", "renormStd");
  const channels = (state.numFeatures as number | null) ?? themeOf(world).channels;
  const dict = new Options();
  const expected: Record<string, Float32Array | undefined> = {};
  let vectorsLive = VECTORS.every((field) => !world.modelOf.get(state[field])?.disposed);
  for (const field of fields) {
    const entry = vector(world, random, channels);
    const values = vectorValues(world, entry.value);
    dict.set(before + (names[field] as string), disguised(world, random, entry));
    expected[field] = values ?? undefined;
    if (values?.some((value) => !Number.isFinite(value) || (field === "runningVar" && value < 0)))
      vectorsLive = false;
  }
  if (layer.trackRunningStats && random.oneIn(2))
    dict.set(
      `${before}num_batches_tracked`,
      random.pick([
        arg(7, "7"),
        arg(7n, "7n"),
        arg([7], "[7]"),
        arg(BigInt64Array.of(7n), "BigInt64Array.of(7n)"),
      ]),
    );
  let wrong = false;
  if (manner === "hostile" && random.oneIn(2)) {
    wrong = true;
    const keys = [...Object.values(names), "__proto__", "constructor", "extra"];
    dict.mutate(world, random, keys);
    if (random.oneIn(4)) dict.mutate(world, random, keys);
  }
  const options = new Options();
  if (manner === "hostile" && random.oneIn(4))
    options.mutate(world, random, ["prefix", "allowNonFinite", "strict", "names"]);
  const given = dict.build();
  const isMap = !wrong && random.oneIn(4);
  const asMap = arg(
    isMap ? new Map(Object.entries(given.value as object)) : null,
    `new Map(Object.entries(${given.code()}))`,
  );
  const built = [isMap ? asMap : given, options.build()] as const;
  const written = fields
    .map((field) => world.modelOf.get(state[field]))
    .filter((one): one is TensorModel => !!one);
  world.attempt(
    () =>
      options.surrounded(
        dict.surrounded(
          isWhole
            ? `loadStateDict({ a: ${name} }, ${built[0].code()}, ${built[1].code()});`
            : `${name}.loadStateDict(${built[0].code()}, ${built[1].code()});`,
        ),
      ),
    () =>
      options.surround(() =>
        dict.surround(() =>
          isWhole
            ? loadStateDict({ a: layer }, built[0].value as Anything, built[1].value as Anything)
            : layer.loadStateDict(built[0].value as Anything, built[1].value as Anything),
        ),
      ),
    {
      valid: state.numFeatures !== null && vectorsLive && options.benign && (!wrong || dict.benign),
      never: ["kernel"],
      writes: written,
      writesVectors: VECTORS,
      layer: model,
      changes: ["numBatchesTracked", ...(state.numFeatures === null ? BUILDS : [])],
      returned: () => {
        options.checkTaken();
        if (!Number.isSafeInteger(layer.numBatchesTracked) || layer.numBatchesTracked < 0) {
          throw new Fault("numBatchesTracked is no count", `${layer.numBatchesTracked}`);
        }
        // What another prefix or `strict: false` has left out can't be told.
        if (!dict.known || wrong || !options.benign) return;
        for (const field of fields) {
          const now = layer[field as "weight"]?.toFloat32Array();
          const right = expected[field];
          if (now && right && bits(now).some((bit, i) => bit !== bits(right)[i])) {
            throw new Fault("loadStateDict loads other values", `${name}.${field}`);
          }
        }
      },
    },
  );
}
