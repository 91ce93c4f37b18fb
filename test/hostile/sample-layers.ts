/** Calls of the layers that normalize within a sample. */
import {
  type ChannelNorm,
  type GroupNorm,
  GroupNormalization,
  InstanceNorm,
  NormSaved,
  RMSNorm,
  RMSNormalization,
  RowNorm,
  type SampleNorm,
  type Tensor,
  UnitNormalization,
} from "batchnorm-wasm";
import type { Random } from "../../scripts/random.mjs";
import { grouped } from "./group.js";
import type { Kind } from "./kinds.js";
import { inRows, someAxes } from "./layer.js";
import { Options } from "./options.js";
import { forwardArguments, freshness } from "./passes.js";
import { type Division, expectBackward, expectForward, type Pass } from "./sets.js";
import {
  type Anything,
  allApart,
  axisOf,
  classOf,
  inPlaceOf,
  input,
  output,
  product,
  same,
  takeResult,
  themeOf,
} from "./theme.js";
import { arg, hostile } from "./values.js";
import {
  apart,
  Fault,
  type LayerModel,
  type Manner,
  type TensorModel,
  VECTORS,
  type World,
} from "./world.js";

type Model = LayerModel<SampleNorm>;

/** The last forward pass of a layer. */
const lasts = new WeakMap<Model, Pass>();

export const SAMPLE_LAYERS: readonly Kind[] = [
  ["new layer of sets", 4, construct],
  ["forward by set", 9, forward],
  ["backward by set", 6, backward],
  ["upkeep of such a layer", 4, manage],
];

function construct(world: World, random: Random, manner: Manner): void {
  const { channels, shapes } = themeOf(world);
  const ofChannels = ["GroupNorm", "GroupNorm", "InstanceNorm", "GroupNormalization"];
  const ofRows = [
    "LayerNorm",
    "RMSNorm",
    ...["Layer", "RMS", "Unit"].map((kind) => `${kind}Normalization`),
  ];
  const kind = random.pick([...ofChannels, ...ofRows]);
  const options = new Options();
  if (!random.oneIn(12)) options.set("kernel", arg(world.home.kernel, "k"));
  const shape = random.pick(shapes);
  const axis = axisOf(world, random, shape);
  const isOfRows = ofRows.includes(kind);
  if (!isOfRows && !random.oneIn(3)) options.set("axis", arg(axis, `${axis}`));
  const divisors = Array.from({ length: channels }, (_, i) => i + 1).filter(
    (number) => channels % number === 0,
  );
  const groups = random.pick(divisors);
  const given: { value: unknown; code: () => string }[] = [];
  let known = ["preset", "eps", "affine", "scale", "offset", "axis", "requiresGrad", "kernel"];
  if (isOfRows) {
    const ofKeras = kind.endsWith("ization");
    const axes = someAxes(random, shape);
    if (!random.oneIn(3)) options.set(ofKeras ? "axis" : "axes", axes);
    known = ofKeras
      ? ["axis", ...(kind.startsWith("Unit") ? [] : ["epsilon"]), "kernel"]
      : ["preset", "eps", "elementwiseAffine", "axes", "requiresGrad", "kernel"];
    if (kind.startsWith("Layer")) known.push(...(ofKeras ? ["center", "scale"] : ["bias"]));
    if (!ofKeras) {
      const preset = random.pick(["torch", "keras", "onnx", "flax"]);
      options.set("preset", arg(preset, `"${preset}"`));
      const given_ = options.one("axes").value ?? -1;
      const sizes = inRows(shape, given_, "layer")?.normalizedShape;
      given.push(random.oneIn(3) || !sizes ? arg(null, "null") : arg(sizes, `[${sizes}]`));
    }
  } else if (kind === "GroupNormalization") {
    options.set("groups", random.oneIn(3) ? arg(-1, "-1") : arg(groups, `${groups}`));
    known = ["groups", "axis", "epsilon", "center", "scale", "kernel"];
  } else {
    const ofGroups = ["torch", "keras", "onnx", "onnx18", "flax"];
    const preset = random.pick(kind === "GroupNorm" ? ofGroups : ["torch", "flax"]);
    options.set("preset", arg(preset, `"${preset}"`));
    if (random.oneIn(4)) options.set("affine", arg(true, "true"));
    if (kind === "GroupNorm") given.push(arg(groups, `${groups}`));
    else {
      known.push("trackRunningStats", "momentum");
      if (preset === "torch" && random.oneIn(3))
        options.set("trackRunningStats", arg(true, "true"));
    }
    given.push(random.oneIn(4) ? arg(null, "null") : arg(channels, `${channels}`));
  }
  let wrong = false;
  if (manner === "hostile" && random.oneIn(2)) {
    wrong = given.length > 0 && random.oneIn(3);
    if (wrong) given[random.below(given.length)] = hostile(random);
    else options.mutate(world, random, known);
  }
  const { value, code } = options.build();
  const name = world.name("g");
  const Layer = classOf<SampleNorm>(kind);
  world.attempt(
    () =>
      options.surrounded(
        `${name} = new ${kind}(${[...given.map((one) => one.code()), code()].join(", ")});`,
      ),
    () => options.surround(() => new Layer(...given.map((one) => one.value), value)),
    {
      valid: options.benign && !wrong,
      never: ["kernel"],
      returned: (layer: SampleNorm) => {
        options.checkTaken();
        world.adoptSampleLayer(layer, `${options.one("preset").value}`, name);
      },
    },
  );
}

/** Groups of a layer with so many channels. */
function groupsOf(layer: ChannelNorm, channels: number): number {
  if (layer instanceof InstanceNorm) return Math.max(channels, 1);
  if (layer instanceof GroupNormalization) return layer.groups === -1 ? channels : layer.groups;
  return (layer as GroupNorm).numGroups;
}

/** How a layer divides a shape; undefined where it can't. */
function divisionOf(
  layer: SampleNorm,
  state: Readonly<Record<string, unknown>>,
  shape: readonly number[],
): Division | undefined {
  if (layer instanceof RowNorm) {
    const isRms = layer instanceof RMSNorm || layer instanceof RMSNormalization;
    const isUnit = layer instanceof UnitNormalization;
    const rows = inRows(shape, state.axes, isUnit ? "unit" : isRms ? "rms" : "layer");
    const wanted = state.normalizedShape as readonly number[] | null;
    return rows && (wanted === null || same(rows.normalizedShape, wanted)) ? rows : undefined;
  }
  const division = grouped(shape, state.axis, (channels) =>
    groupsOf(layer as ChannelNorm, channels),
  );
  const fits = state.numChannels === null || state.numChannels === division?.channels;
  return fits ? division : undefined;
}

function forward(world: World, random: Random, manner: Manner): void {
  const model = world.pick(random, world.sampleLayers);
  if (!model) return;
  const { layer, state } = model;
  const fits = (shape: readonly number[]) => divisionOf(layer, state, shape) !== undefined;
  const given = forwardArguments(world, random, manner, fits);
  if (!given) return;
  const { x, options, value, code, outs, inPlace, name } = given;
  const division = divisionOf(layer, state, x.shape);
  const channels = division?.channels ?? 0;
  const read = (field: string) => world.modelOf.get(layer[field as "weight"]);
  const vectors = () => ["weight", "bias", "runningMean", "runningVar"].map(read);
  const tracks = layer instanceof InstanceNorm && layer.trackRunningStats;
  // What PyTorch refuses of group and instance norm: one value a set.
  const count = product(x.shape) / (division?.sets.number || 1);
  const valid =
    options.benign &&
    !x.wrong &&
    !tracks &&
    division !== undefined &&
    model.home === world.home &&
    (count > 1 || layer instanceof RowNorm) &&
    [x.model, ...outs, ...vectors()].every((one) => !one?.disposed) &&
    outs.every(
      (out) =>
        same(out.shape, x.shape) &&
        (inPlace || (out !== x.model && allApart(out, [x.model]))) &&
        vectors().every((one) => !one || apart(out, one)),
    ) &&
    vectors().every((one) => !one || !x.model || apart(one, x.model));
  const eps = state.eps as number;
  const learns = (state.numChannels ?? state.normalizedShape) == null;
  world.attempt(
    () => options.surrounded(`${name} = ${model.name}.forward(${x.arg.code()}, ${code()});`),
    () => options.surround(() => layer.forward(x.arg.value as Anything, value as Anything)),
    {
      valid,
      never: ["kernel"],
      ambiguous: !options.known,
      writes: [...outs, read("runningMean"), read("runningVar")].filter(
        (one): one is TensorModel => !!one,
      ),
      reads: [x.model, read("weight"), read("bias")].filter((one): one is TensorModel => !!one),
      inPlace,
      layer: model,
      writesVectors: learns ? VECTORS : [],
      changes: ["numBatchesTracked", ...(learns ? BUILDS : [])],
      returned: (y: Tensor) => {
        options.checkTaken();
        const started = (field: "weight" | "bias", start: number) => {
          const known = read(field);
          if (!known) return layer[field] ? new Float32Array(channels).fill(start) : null;
          const values = world.values(known);
          // Of ONNX before opset 21 they are a group's.
          const together = channels / values.length || 1;
          return Float32Array.from(
            { length: channels },
            (_, i) => values[Math.floor(i / together)] as number,
          );
        };
        const [weight, bias] = [started("weight", 1), started("bias", 0)];
        const known = options.known && (!x.wrong || !!x.model || !!x.of) && !tracks;
        const pass: Pass = {
          x: x.model ? world.values(x.model) : x.values,
          shape: x.shape,
          axis: division?.axis ?? -1,
          division,
          eps,
          weight,
          xModel: x.model ?? null,
          xVersion: x.model?.region.version ?? 0,
          kept: [],
          known: known && !x.of,
          home: model.home,
        };
        const taken = takeResult(world, x, outs, y, name);
        if (known) expectForward(taken.values, pass, bias, x.of);
        lasts.set(model, pass);
      },
    },
  );
}

/** What of a layer its first input may change. */
const BUILDS = ["numChannels", "numFeatures", "normalizedShape", ...VECTORS];

function backward(world: World, random: Random, manner: Manner): void {
  const model = world.pick(random, world.sampleLayers);
  const pass = model && lasts.get(model);
  if (!model || !pass) return;
  const { layer, state } = model;
  const { shape } = pass;
  const likely = (one: TensorModel) => same(one.shape, shape) || random.oneIn(40);
  const dy = input(world, random, manner, likely, shape);
  if (!dy) return;
  const options = new Options();
  options.tensor("out", dy.plain ? undefined : output(world, random, dy));
  if (manner === "hostile" && random.oneIn(2)) options.mutate(world, random, ["out", "saved"]);
  const { value, code } = options.build();
  const outs = options.models(world, "out");
  const inPlace = inPlaceOf(dy, outs);
  const gradients = ["weightGrad", "biasGrad"].map((name) => world.modelOf.get(state[name]));
  const written = gradients.filter((one): one is TensorModel => !!one);
  const x = pass.xModel ?? undefined;
  const vectors = VECTORS.map((name) => world.modelOf.get(state[name]));
  const valid =
    options.benign &&
    !dy.wrong &&
    pass.known &&
    model.home === world.home &&
    same(dy.shape, shape) &&
    freshness(world, pass).fresh &&
    vectors.every((one) => !one?.disposed) &&
    outs.every(
      (out) =>
        same(out.shape, shape) &&
        out !== x &&
        (inPlace || allApart(out, [dy.model])) &&
        [x, ...vectors].every((one) => !one || apart(out, one)),
    ) &&
    written.every((one) => [x, dy.model].every((other) => !other || apart(one, other)));
  const name = world.name("t");
  world.attempt(
    () => options.surrounded(`${name} = ${model.name}.backward(${dy.arg.code()}, ${code()});`),
    () => options.surround(() => layer.backward(dy.arg.value as Anything, value as Anything)),
    {
      valid,
      never: ["kernel"],
      ambiguous: !options.known,
      writes: [...outs, ...written],
      reads: dy.model ? [dy.model] : [],
      inPlace,
      layer: model,
      writesVectors: ["weightGrad", "biasGrad"],
      changes: ["weightGrad", "biasGrad"],
      returned: (dx: Tensor) => {
        options.checkTaken(NormSaved);
        const certain =
          options.known &&
          (!dy.wrong || !!dy.model || !!dy.of) &&
          pass.known &&
          lasts.get(model) === pass &&
          options.one("saved").value == null;
        if (!certain) {
          takeResult(world, dy, outs, dx, name);
          return;
        }
        if (freshness(world, pass).stale) {
          throw new Fault("backward through what was overwritten", model.name);
        }
        const dyNow = dy.model ? world.values(dy.model) : dy.values;
        const taken = takeResult(world, { ...dy, shape }, outs, dx, name);
        const channels = pass.division?.channels ?? 0;
        const compared = [layer.weight, layer.bias].map((parameter) => {
          const tensor = parameter?.grad;
          // (A group's are compared in `test/group-layers.test.ts`.)
          if (!tensor || !layer.requiresGrad || tensor.size !== channels) return null;
          const known = world.modelOf.get(tensor);
          return {
            old: known ? world.values(known) : new Float32Array(channels),
            now: known ? world.now(known) : tensor.toFloat32Array(),
          };
        });
        expectBackward(taken.values, dyNow, pass, compared, dy.of);
      },
    },
  );
}

function manage(world: World, random: Random, manner: Manner): void {
  const model = world.pick(random, world.sampleLayers);
  if (!model) return;
  const { layer, name } = model;
  const vector = (field: string) => world.modelOf.get(model.state[field]);
  const write = (fields: readonly string[]) =>
    fields.map(vector).filter((one): one is TensorModel => !!one);
  const live = VECTORS.every((field) => !vector(field)?.disposed);
  const value = manner === "hostile" && random.oneIn(3) ? hostile(random) : arg(1e-3, "1e-3");
  const kind = random.below(8);
  if (kind === 0) {
    world.attempt(
      () => `${name}.dispose();`,
      () => layer.dispose(),
      {
        valid: true,
        frees: true,
        returned: () => {
          world.goneLayer(model);
          lasts.delete(model);
        },
      },
    );
    return;
  }
  const calls: (readonly [string, () => unknown, Parameters<World["attempt"]>[2]])[] = [
    ["zeroGrad()", () => layer.zeroGrad(), { writes: write(["weightGrad", "biasGrad"]) }],
    ["resetParameters()", () => layer.resetParameters(), { writes: write(VECTORS.slice(0, 4)) }],
    ["train()", () => layer.train(), { changes: ["training"] }],
    ["eval()", () => layer.eval(), { changes: ["training"] }],
    ["parameters()", () => layer.parameters(), {}],
    ["stateDict()", () => layer.stateDict(), {}],
  ];
  if (kind === 7) {
    world.attempt(
      () => `${name}.eps = ${value.code()};`,
      () => {
        layer.eps = value.value as number;
      },
      {
        layer: model,
        changes: ["eps"],
        returned: () => {
          const { eps } = layer;
          if (!(Number.isFinite(eps) && eps >= 0)) throw new Fault("an eps is none", `${eps}`);
        },
      },
    );
    return;
  }
  const [code, run, plan] = calls[kind - 1] as (typeof calls)[number];
  const isBuilt = (model.state.numChannels ?? model.state.normalizedShape) != null;
  const valid = live && (code !== "stateDict()" || isBuilt);
  world.attempt(() => `${name}.${code};`, run, { ...plan, layer: model, valid });
}
