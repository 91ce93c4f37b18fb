/** Calls of the batch norm functions, and of a layer's `backward`, which is checked alike. */
import {
  type BatchNormGradients,
  BatchNormSaved,
  batchNormBackward,
  batchNormInference,
  batchNormStatistics,
  batchNormTraining,
  type Parameter,
  type PlainResult,
  type Tensor,
} from "batchnorm-wasm";
import type { Random } from "../../../scripts/random.mjs";
import { Options } from "../options.js";
import { adoptGradients, freshness, outputOf } from "../passes.js";
import {
  type Anything,
  allApart,
  axisOf,
  float64Vector,
  here,
  type Input,
  input,
  isVectorOf,
  output,
  product,
  resolve,
  same,
  takeResult,
  vector,
  vectorValues,
} from "../theme.js";
import { arg } from "../values.js";
import {
  apart,
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
import { expectBackward, expectForward, expectMoved, expectStatistics } from "./expect.js";
import { adoptRecord, cuts, lastOf, type Pass, recordsOf } from "./pass.js";
import { setWeights, weightsOf } from "./weights.js";

const MOST_CHANNELS = 1000;

type Forward = "batchNormInference" | "batchNormTraining";

export function forwardFunction(world: World, random: Random, manner: Manner, name: Forward): void {
  const training = name === "batchNormTraining";
  const x = input(world, random, manner);
  if (!x) return;
  const axis = axisOf(world, random, x.shape);
  // Of nothing there may be 2³⁰ channels, but then no vectors that fit.
  const channels = Math.min(x.shape[resolve(axis, x.shape.length)] as number, MOST_CHANNELS);
  const options = new Options();
  options.set("axis", arg(axis, `${axis}`));
  const eps = random.pick([1e-5, 1e-3, 1, 0]);
  if (random.oneIn(2)) options.set("eps", arg(eps, `${eps}`));
  if (x.plain || random.oneIn(4)) options.set("kernel", arg(world.home.kernel, "k"));
  for (const name of ["weight", "bias"]) {
    if (random.oneIn(2)) options.set(name, vector(world, random, channels));
  }
  const running = training && random.oneIn(2);
  if (!training) {
    const given = random.oneIn(6) ? float64Vector : vector;
    options.set("mean", given(world, random, channels));
    options.set("variance", given(world, random, channels));
  } else if (running) {
    const vectors = here(world, isVectorOf(channels));
    options.tensor("runningMean", world.pick(random, world.tensors, vectors));
    options.tensor("runningVar", world.pick(random, world.tensors, vectors));
    if (random.oneIn(2)) options.set("momentum", arg(0.5, "0.5"));
    if (random.oneIn(2)) options.set("runningVariance", arg("biased", '"biased"'));
  }
  if (training && random.oneIn(6)) {
    const size = 1 + random.below(6);
    options.set("virtualBatchSize", arg(size, `${size}`));
  }
  if (running && random.oneIn(4)) options.set("renorm", arg({ rMax: 2 }, "{ rMax: 2 }"));
  if (training && random.oneIn(4)) {
    setWeights(options, random, x.shape, resolve(axis, x.shape.length));
  }
  setActivation(options, random);
  const residual = setResidual(options, x, world, random, manner);
  const out = x.plain ? undefined : output(world, random, random.oneIn(2) ? (residual ?? x) : x);
  options.tensor("out", out);
  const old = world.pick(random, recordsOf(world));
  const recorded = training || random.oneIn(3);
  if (recorded && !training && !old) options.set("saved", arg(true, "true"));
  else if (recorded && old && random.oneIn(2)) options.set("saved", arg(old.record, old.name));
  if (manner === "hostile" && random.oneIn(2)) {
    const common = ["weight", "bias", "eps", "axis", "out", "kernel", "saved", "residual"];
    const more = training
      ? [
          ...["runningMean", "runningVar", "momentum", "runningVariance", "virtualBatchSize"],
          ...["renorm", "mask", "weights"],
        ]
      : ["mean", "variance"];
    options.mutate(world, random, [...common, ...more, ...ACTIVATION]);
  }
  call(world, x, residual, options, name);
}

/** Makes a call, and compares what it gives. */
function call(
  world: World,
  x: Input,
  residual: Input | undefined,
  options: Options,
  name: Forward,
): void {
  const training = name === "batchNormTraining";
  const { value, code } = options.build();
  const names = [world.name("t"), world.name("s")];
  const models = (name: string) => options.models(world, name);
  const reads = ["weight", "bias", "mean", "variance"].flatMap(models);
  const updated = ["runningMean", "runningVar"].flatMap(models);
  const outs = models("out");
  const writes = [...outs, ...updated];
  const inputs = [...(x.model ? [x.model] : []), ...models("residual")];
  const inPlace = inPlaceOfOne(outs, ...inputs);
  const all = [...inputs, ...reads, ...updated, ...outs];
  const axis = options.one("axis").value ?? 1;
  const at = Number.isInteger(axis) ? resolve(axis as number, x.shape.length) : -1;
  const count = product(x.shape) / (x.shape[at] as number);
  const slices = options.one("virtualBatchSize").value;
  const weights = weightsOf(options);
  const varied =
    options.one("renorm").value != null ||
    cuts(slices, x.shape, at) ||
    (weights !== null && slices != null);
  const vectorsFit = ["weight", "bias", "mean", "variance", "runningMean", "runningVar"].every(
    (name) => {
      const [model] = models(name);
      return !model || isVectorOf(x.shape[at] as number)(model);
    },
  );
  const variance = vectorValues(world, options.one("variance").value);
  const saved = options.one("saved").value;
  const record = recordsOf(world).find((one) => one.record === saved);
  const kernelOf = (kernel: unknown) => (kernel === world.home.kernel ? world.home : world.foreign);
  const valid =
    options.benign &&
    !x.wrong &&
    at >= 0 &&
    (x.shape[at] as number) <= MOST_CHANNELS &&
    !varied &&
    vectorsFit &&
    all.every((one) => !one.disposed && one.region.home === world.home) &&
    isResidual(residual, x, world) &&
    outs.every(
      (out) =>
        same(out.shape, x.shape) &&
        inputs.every((one) => sameElements(one, out) || apart(one, out)) &&
        allApart(out, [...reads, ...updated]),
    ) &&
    outs.every((out) => ![...reads, ...updated].includes(out)) &&
    updated.every(
      (one, i) =>
        allApart(one, [...inputs, ...reads]) &&
        !updated.includes(one, i + 1) &&
        allApart(one, updated),
    ) &&
    updated.every((one) => ![...inputs, ...reads].includes(one)) &&
    updated.length !== 1 &&
    (!variance || variance.every((value) => value >= 0 && value < Infinity)) &&
    (!record || (!record.disposed && !record.superseded && record.pass?.home === world.home)) &&
    (!updated[1] || world.values(updated[1]).every((value) => value >= 0)) &&
    !(count === 0 && updated.length > 0);
  const run = training ? batchNormTraining : batchNormInference;
  world.attempt(
    () => {
      const text = `${name}(${x.arg.code()}, ${code()});`;
      const both = `({ y: ${names[0]}, saved: ${names[1]} } = ${text.slice(0, -1)});`;
      return options.surrounded(training || saved === true ? both : `${names[0]} = ${text}`);
    },
    () =>
      options.surround(() =>
        (run as (...all: never[]) => unknown)(x.arg.value as Anything, value as Anything),
      ),
    {
      valid,
      never: ["kernel"],
      ambiguous: !options.known,
      writes,
      reads: [...inputs, ...reads],
      inPlace,
      returned: (result: { y: Tensor; saved: BatchNormSaved } | Tensor) => {
        options.checkTaken(BatchNormSaved);
        const both = "saved" in result && "y" in result;
        const y = both ? result.y : (result as Tensor);
        const weight = vectorValues(world, options.one("weight").value);
        const bias = vectorValues(world, options.one("bias").value);
        const mean = vectorValues(world, options.one("mean").value);
        const variance = vectorValues(world, options.one("variance").value);
        const added = residualValues(residual, options, world);
        const slope = slopeOf(options.one("activation").value, options.one("negativeSlope").value);
        const known =
          options.known &&
          (!x.wrong || !!x.model || !!x.of) &&
          at >= 0 &&
          !varied &&
          weights !== undefined &&
          weight !== undefined &&
          bias !== undefined &&
          added !== undefined &&
          (training || (!!mean && !!variance));
        // By now, not when the options were made: getters may have called in.
        const xNow = x.model ? world.values(x.model) : x.values;
        const taken = takeResult(world, x, outs, y, names[0] as string);
        const pass: Pass = {
          x: xNow,
          shape: x.shape,
          axis: at,
          slope,
          residual: added ?? null,
          output: slope < 1 ? outputOf(taken.values, taken.model, writes) : null,
          eps: (options.one("eps").value as number | undefined) ?? 1e-5,
          weight: weight ?? null,
          given: training
            ? null
            : { mean: mean as Float32Array, variance: variance as Float32Array },
          weights: weights ?? null,
          xModel: x.model ?? null,
          xVersion: x.model?.region.version ?? 0,
          kept: reads,
          known: known && !x.of,
          home: x.model?.region.home ?? kernelOf(options.one("kernel").value),
        };
        if (known) {
          expectForward(taken.values, pass, bias ?? null, x.of);
          if (training) expectRunning(world, options, pass, updated, x.of);
        }
        // Of values that may have been others, nothing is known but that they were written.
        const given = both ? result.saved : options.one("saved").value;
        if (!(given instanceof BatchNormSaved)) return;
        const overwritten = recordsOf(world).find((one) => one.record === given);
        if (overwritten) {
          overwritten.pass = pass;
          // A layer whose record it was has none of its own any more.
          const last = overwritten.layer && lastOf(overwritten.layer);
          if (last?.record === overwritten) last.pass = { ...pass, known: false };
          overwritten.layer = null;
        } else adoptRecord(world, names[1] as string, given, pass, null);
      },
    },
  );
}

/** Running statistics as a batch must have moved them, where there are both. */
function expectRunning(
  world: World,
  options: Options,
  pass: Parameters<typeof expectMoved>[0],
  updated: readonly TensorModel[],
  of: string | undefined,
): void {
  const [m, v] = updated;
  if (!m || !v || updated.length !== 2) return;
  const momentum = options.one("momentum").value ?? 0.1;
  const kind = options.one("runningVariance").value ?? "unbiased";
  const before = { mean: world.values(m), variance: world.values(v) };
  const now = { mean: world.now(m), variance: world.now(v) };
  expectMoved(pass, before, now, momentum as number, kind as "biased", of);
}

export function statisticsFunction(world: World, random: Random, manner: Manner): void {
  const x = input(world, random, manner);
  if (!x) return;
  const axis = axisOf(world, random, x.shape);
  const at = resolve(axis, x.shape.length);
  const options = new Options();
  options.set("axis", arg(axis, `${axis}`));
  if (x.plain) options.set("kernel", arg(world.home.kernel, "k"));
  if (random.oneIn(2)) {
    const vectors = here(world, isVectorOf(x.shape[at] as number));
    options.tensor("runningMean", world.pick(random, world.tensors, vectors));
    options.tensor("runningVar", world.pick(random, world.tensors, vectors));
  }
  if (random.oneIn(4)) setWeights(options, random, x.shape, at);
  if (manner === "hostile" && random.oneIn(2)) {
    options.mutate(world, random, [
      ...["axis", "kernel", "runningMean", "runningVar", "momentum", "runningVariance"],
      ...["mask", "weights"],
    ]);
  }
  const { value, code } = options.build();
  const updated = ["runningMean", "runningVar"].flatMap((name) => options.models(world, name));
  world.attempt(
    () => options.surrounded(`batchNormStatistics(${x.arg.code()}, ${code()});`),
    () => options.surround(() => batchNormStatistics(x.arg.value as Anything, value as Anything)),
    {
      valid:
        options.benign &&
        !x.wrong &&
        (x.shape[at] as number) <= MOST_CHANNELS &&
        updated.length !== 1 &&
        updated.every(
          (one, i) =>
            allApart(one, [x.model, ...updated]) && one !== x.model && updated.indexOf(one) === i,
        ),
      never: ["kernel"],
      ambiguous: !options.known,
      writes: updated,
      reads: x.model ? [x.model] : [],
      returned: (got: { mean: Float64Array; variance: Float64Array }) => {
        options.checkTaken();
        if (!options.known || (x.wrong && !x.model && !x.of)) return;
        const at = resolve((options.one("axis").value as number | undefined) ?? 1, x.shape.length);
        const values = x.model ? world.values(x.model) : x.values;
        const weights = weightsOf(options);
        if (weights === undefined) return;
        const pass = { x: values, shape: x.shape, axis: at, weights };
        expectStatistics(got, pass, x.of);
        expectRunning(world, options, pass, updated, x.of);
      },
    },
  );
}

/** batchNormBackward, and a layer's. */
export function backward(
  world: World,
  random: Random,
  manner: Manner,
  of: "function" | "layer",
): void {
  const layer = of === "layer" ? world.pick(random, world.layers) : undefined;
  if (of === "layer" && !layer) return;
  const own = layer && (random.oneIn(2) || !recordsOf(world).some((one) => one.layer === layer));
  const record = own
    ? undefined
    : world.pick(
        random,
        recordsOf(world),
        (one) => !layer || one.layer === layer || random.oneIn(9),
      );
  const last = layer && lastOf(layer);
  const pass = own ? last?.pass : record?.pass;
  if ((!own && !record) || (!pass && !random.oneIn(5))) return;
  const shape = pass?.shape;
  const dy = input(
    world,
    random,
    manner,
    (one) => !shape || same(one.shape, shape) || random.oneIn(40),
    shape,
  );
  if (!dy) return;
  const options = new Options();
  if (record) options.set("saved", arg(record.record, record.name));
  const out = dy.plain ? undefined : output(world, random, dy);
  options.tensor("out", out);
  if (pass?.residual && !dy.plain && random.oneIn(2)) {
    options.tensor("residualGrad", output(world, random, dy));
  } else if (random.oneIn(9)) options.set("residualGrad", arg(null, "null"));
  const channels = Math.min(pass?.shape[pass.axis] ?? 1, MOST_CHANNELS);
  if (!layer) {
    for (const name of ["weightGrad", "biasGrad"]) {
      const kind = random.below(4);
      const given = world.pick(random, world.tensors, here(world, isVectorOf(channels)));
      if (kind === 0) options.set(name, arg(null, "null"));
      else if (kind > 1) options.tensor(name, given);
    }
  }
  if (manner === "hostile" && random.oneIn(2)) {
    options.mutate(world, random, [
      "out",
      "saved",
      "residualGrad",
      ...(layer ? [] : ["weightGrad", "biasGrad"]),
    ]);
  }
  const { value, code } = options.build();
  const dxOuts = options.models(world, "out");
  const residualOuts = options.models(world, "residualGrad");
  const outs = [...dxOuts, ...residualOuts];
  const gradients = layer
    ? ["weightGrad", "biasGrad"].map((name) => world.modelOf.get(layer.state[name]))
    : ["weightGrad", "biasGrad"].map((name) => options.models(world, name)[0]);
  const given = layer
    ? gradients
    : ["weightGrad", "biasGrad"].flatMap((name) => options.models(world, name));
  const written = given.filter((one): one is TensorModel => !!one);
  const inPlace = inPlaceOfOne(dxOuts, dy.model) ?? inPlaceOfOne(residualOuts, dy.model);
  const x = pass?.xModel ?? undefined;
  const y = pass?.output?.model ?? undefined;
  const needed = [...(pass?.kept ?? []), ...(x ? [x] : [])];
  const valid =
    options.benign &&
    !dy.wrong &&
    !!pass?.known &&
    pass.home === world.home &&
    same(dy.shape, pass.shape) &&
    freshness(world, pass).fresh &&
    (!record || (!record.disposed && record.layer === (layer ?? null))) &&
    !(own && last?.record?.disposed) &&
    (!layer || layer.home === world.home) &&
    VECTORS.every((name) => !world.modelOf.get(layer?.state[name])?.disposed) &&
    outs.every(
      (out) =>
        same(out.shape, pass.shape) &&
        [dy.model, y].every((one) => !one || sameElements(one, out) || apart(one, out)) &&
        needed.every((one) => apart(out, one)) &&
        written.every((one) => apart(out, one)),
    ) &&
    (residualOuts.length === 0 || pass.residual !== null) &&
    dxOuts.every((out) => residualOuts.every((one) => apart(one, out))) &&
    written.every(
      (one, i) =>
        !one.disposed &&
        isVectorOf(channels)(one) &&
        needed.every((other) => apart(one, other)) &&
        (!y || apart(one, y)) &&
        (!dy.model || apart(one, dy.model)) &&
        written.every((other, j) => i === j || apart(one, other)),
    );
  const names = [world.name("t"), world.name("t"), world.name("t"), world.name("t")];
  /** Its values, where there is one. */
  const adoptResidualGrad = (tensor: Tensor | PlainResult | null) =>
    tensor && takeResult(world, dy, residualOuts, tensor, names[3] as string).values;
  const arguments_ = () => `(${dy.arg.code()}, ${code()})`;
  world.attempt(
    () =>
      options.surrounded(
        layer
          ? `${names[0]} = ${layer.name}.backward${arguments_()};`
          : `({ dx: ${names[0]}, weightGrad: ${names[1]}, biasGrad: ${names[2]}, residualGrad: ${names[3]} } = batchNormBackward${arguments_()});`,
      ),
    () =>
      options.surround(() =>
        layer
          ? layer.layer.backward(dy.arg.value as Anything, value as Anything)
          : batchNormBackward(dy.arg.value as Anything, value as Anything),
      ),
    {
      valid,
      never: ["kernel"],
      ambiguous: !options.known,
      writes: [...outs, ...written],
      reads: dy.model ? [dy.model] : [],
      inPlace,
      layer: layer ?? null,
      writesVectors: ["weightGrad", "biasGrad"],
      changes: ["weightGrad", "biasGrad"],
      returned: (result: Tensor | BatchNormGradients<Tensor>) => {
        options.checkTaken(BatchNormSaved);
        const certain =
          options.known &&
          (!dy.wrong || !!dy.model || !!dy.of) &&
          !!pass?.known &&
          options.one("saved").value === record?.record;
        // Record and pass as they were passed: a getter may have changed either.
        const current = certain ? pass : null;
        if (!current || (layer ? own && last?.pass !== pass : record?.pass !== pass)) {
          if (!layer) adoptResidualGrad((result as BatchNormGradients<Tensor>).residualGrad);
          takeResult(
            world,
            dy,
            dxOuts,
            layer ? (result as Tensor) : (result as BatchNormGradients<Tensor>).dx,
            names[0] as string,
          );
          if (!layer) adoptGradients(world, result as BatchNormGradients<Tensor>, names, null);
          return;
        }
        if (record?.superseded === true || record?.disposed || freshness(world, current).stale) {
          throw new Fault("backward through what was overwritten", record?.name ?? layer?.name);
        }
        const dx = layer ? (result as Tensor) : (result as BatchNormGradients<Tensor>).dx;
        const dyNow = dy.model ? world.values(dy.model) : dy.values;
        const { values } = takeResult(
          world,
          { ...dy, shape: current.shape },
          dxOuts,
          dx,
          names[0] as string,
        );
        const now = layer
          ? [
              (layer.layer.weight as Parameter | null)?.grad,
              (layer.layer.bias as Parameter | null)?.grad,
            ]
          : [
              (result as BatchNormGradients<Tensor>).weightGrad,
              (result as BatchNormGradients<Tensor>).biasGrad,
            ];
        const learns = !layer || layer.layer.requiresGrad;
        const compared = now.map((tensor, k) => {
          if (!tensor || !learns) return null;
          const known = world.modelOf.get(tensor);
          const old = known ? world.values(known) : new Float32Array(channels);
          if (known && layer && tensor !== layer.state[k === 0 ? "weightGrad" : "biasGrad"]) {
            throw new Fault("another tensor has become a gradient", known.name);
          }
          return { old, now: known ? world.now(known) : tensor.toFloat32Array() };
        });
        const ofResidual = layer
          ? (residualOuts[0] && world.now(residualOuts[0])) || null
          : adoptResidualGrad((result as BatchNormGradients<Tensor>).residualGrad);
        expectBackward(values, dyNow, current, compared, ofResidual, dy.of);
        if (!layer) adoptGradients(world, result as BatchNormGradients<Tensor>, names, channels);
      },
    },
  );
}
