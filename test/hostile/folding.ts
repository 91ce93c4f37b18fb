/** Folding into neighbours, and slimming: penalties of γ, and what is left of layers. */
import {
  addScaleL1,
  type BatchNorm,
  type FoldedLayer,
  foldBatchNorm,
  type Parameter,
  type PrunedLayer,
  presets,
  pruneByScale,
  Tensor,
} from "batchnorm-wasm";
import type { Random } from "../../scripts/random.mjs";
import { bound, near, ordinary } from "./expect.js";
import type { Kind } from "./kinds.js";
import { FITS_64, isPlain, Options } from "./options.js";
import { type Anything, certain, product, same, themeOf, vector, vectorValues } from "./theme.js";
import { type Arg, arg, hostile, numbers } from "./values.js";
import {
  bits,
  Fault,
  type LayerModel,
  type Manner,
  rowMajor,
  type TensorModel,
  type World,
} from "./world.js";

export const FOLDING: readonly Kind[] = [
  ["foldBatchNorm", 4, fold],
  ["addScaleL1", 2, penalize],
  ["pruneByScale", 2, prune],
];

/** What is folded: a layer, or statistics and parameters as options of their own. */
interface Source {
  readonly arg: Arg;
  readonly channels: number;
  /** Whether it can be folded for certain. */
  readonly valid: boolean;
  readonly options: Options | null;
  /** Its parts now; undefined where they can't be known. */
  parts(): Parts | undefined;
}

interface Parts {
  readonly mean: Float32Array;
  readonly variance: Float32Array;
  readonly weight: Float32Array | null;
  readonly bias: Float32Array | null;
  readonly eps: number;
}

function sourceOf(world: World, random: Random, manner: Manner): Source {
  const model = random.oneIn(2) ? world.pick(random, world.layers) : undefined;
  if (manner === "hostile" && random.oneIn(12)) {
    const wrong = hostile(random);
    return { arg: wrong, channels: 1, valid: false, options: null, parts: () => undefined };
  }
  if (model) return sourceOfLayer(world, model);
  const { channels } = themeOf(world);
  const options = new Options(FITS_64);
  options.set("mean", vector(world, random, channels));
  options.set("variance", vector(world, random, channels));
  for (const name of ["weight", "bias"]) {
    if (random.oneIn(2)) options.set(name, vector(world, random, channels));
  }
  const eps = random.pick([1e-5, 1, 0]);
  if (random.oneIn(2)) options.set("eps", arg(eps, `${eps}`));
  const names = ["mean", "variance", "weight", "bias", "eps"];
  if (manner === "hostile" && random.oneIn(3)) options.mutate(world, random, names);
  const built = options.build();
  const parts = () => {
    if (!options.known) return undefined;
    const [mean, variance, weight, bias] = names
      .slice(0, 4)
      .map((name) => vectorValues(world, options.one(name).value));
    if (!mean || !variance || weight === undefined || bias === undefined) return undefined;
    const eps = (options.one("eps").value as number | undefined | null) ?? 1e-5;
    return { mean, variance, weight, bias, eps };
  };
  const vectors = names.flatMap((name) => options.models(world, name));
  return {
    ...{ arg: built, channels, options, parts },
    valid:
      options.benign &&
      vectors.every((one) => !one.disposed) &&
      !!parts()?.variance.every((value) => value >= 0),
  };
}

function sourceOfLayer(world: World, { layer, name, state }: LayerModel): Source {
  const vectors = ["runningMean", "runningVar", "weight", "bias"].map((field) =>
    world.modelOf.get(state[field]),
  );
  const [mean, variance, weight, bias] = vectors;
  return {
    arg: arg(layer, name),
    channels: (state.numFeatures as number | null) ?? 1,
    options: null,
    valid:
      state.numFeatures !== null &&
      !state.activation &&
      !!mean &&
      !!variance &&
      vectors.every((one) => !one?.disposed) &&
      world.values(variance).every((value) => value >= 0),
    parts: () => {
      if (!mean || !variance || vectors.some((one) => one?.disposed)) return undefined;
      const values = (one: TensorModel | undefined) => (one ? world.values(one) : null);
      return {
        ...{ mean: world.values(mean), variance: world.values(variance) },
        ...{ weight: values(weight), bias: values(bias), eps: state.eps as number },
      };
    },
  };
}

/** How a layer is told of, with a weight of so many channels. */
function layerOf(random: Random, channels: number) {
  const [ins, k] = [1 + random.below(3), [1 + random.below(2), 2, 1].slice(random.below(3))];
  const into = random.oneIn(3) ? "next" : "previous";
  const layout = random.oneIn(2) ? "torch" : "tensorflow";
  const kind =
    into === "next" ? "linear" : random.pick(["linear", "conv", "depthwise", "transposed"]);
  const isTorch = layout === "torch";
  const groups = kind === "transposed" && isTorch && channels % 2 === 0 ? 2 : 1;
  const multiplier = channels % 2 === 0 ? 1 + random.below(2) : 1;
  const shapes: Record<string, [torch: number[], tensorflow: number[]]> = {
    linear:
      into === "next"
        ? [
            [ins, channels * multiplier],
            [channels * multiplier, ins],
          ]
        : [
            [channels, ins],
            [ins, channels],
          ],
    conv: [
      [channels, ins, ...k],
      [...k, ins, channels],
    ],
    depthwise: [
      [channels, 1, ...k],
      [...k, channels / multiplier, multiplier],
    ],
    transposed: [
      [ins * groups, channels / groups, ...k],
      [...k, channels, ins],
    ],
  };
  const shape = shapes[kind]?.[isTorch ? 0 : 1] as number[];
  const outputs = into === "next" ? ins : channels;
  return { into, layout, kind, groups, shape, outputs };
}

/** Which channel of batch norm an element of a weight belongs to, by the place of each axis. */
function channelOf(
  { into, layout, kind, groups, shape }: ReturnType<typeof layerOf>,
  channels: number,
): (element: number) => number {
  const strides = rowMajor(shape);
  const rank = shape.length;
  const index = (element: number, axis: number) =>
    Math.floor(element / (strides[axis] as number)) % (shape[axis] as number);
  if (into === "next") {
    return layout === "torch"
      ? (i) => Math.floor((index(i, 1) * channels) / (shape[1] as number))
      : (i) => index(i, 0) % channels;
  }
  if (layout === "torch") {
    if (kind !== "transposed") return (i) => index(i, 0);
    const inEach = (shape[0] as number) / groups;
    return (i) => Math.floor(index(i, 0) / inEach) * (shape[1] as number) + index(i, 1);
  }
  if (kind === "transposed") return (i) => index(i, rank - 2);
  if (kind === "depthwise") {
    return (i) => index(i, rank - 2) * (shape[rank - 1] as number) + index(i, rank - 1);
  }
  return (i) => index(i, rank - 1);
}

function fold(world: World, random: Random, manner: Manner): void {
  const source = sourceOf(world, random, manner);
  if (source.channels > 1000 || source.channels === 0) return;
  const told = layerOf(random, source.channels);
  const { into, layout, kind, groups, shape, outputs } = told;
  const options = new Options({
    ...FITS_64,
    weight: (value) => value instanceof Tensor || isPlain(value),
  });
  const fits = world.pick(random, world.tensors, (one) => same(one.shape, shape));
  const seed = random.below(2 ** 31);
  const plain = numbers(product(shape), seed, "plain");
  const code_ = `numbers(${plain.length}, ${seed}, "plain")`;
  if (fits && random.oneIn(2)) options.tensor("weight", fits);
  else {
    const weight = { data: plain, shape };
    certain.set(weight, plain);
    options.set("weight", arg(weight, `{ data: ${code_}, shape: [${shape}] }`));
  }
  if (random.oneIn(2)) options.set("bias", vector(world, random, outputs));
  const isDefault = kind === (shape.length === 2 ? "linear" : "conv");
  if (!isDefault || random.oneIn(2)) options.set("kind", arg(kind, `"${kind}"`));
  if (layout !== "torch" || random.oneIn(2)) options.set("layout", arg(layout, `"${layout}"`));
  if (groups !== 1) options.set("groups", arg(groups, `${groups}`));
  if (into !== "previous" || random.oneIn(2)) options.set("into", arg(into, `"${into}"`));
  const names = ["weight", "bias", "kind", "layout", "groups", "into"];
  if (manner === "hostile" && random.oneIn(2)) options.mutate(world, random, names);
  const { value, code } = options.build();
  const reads = [...options.models(world, "weight"), ...options.models(world, "bias")];
  const surround = <T>(run: () => T) =>
    options.surround(() => (source.options ? source.options.surround(run) : run()));
  const surrounded = (text: string) =>
    options.surrounded(source.options ? source.options.surrounded(text) : text);
  const asBefore = () => names.slice(2).every((name) => options.one(name).known);
  world.attempt(
    () => surrounded(`foldBatchNorm(${source.arg.code()}, ${code()});`),
    () => surround(() => foldBatchNorm(source.arg.value as Anything, value as Anything)),
    {
      valid: source.valid && options.benign && reads.every((one) => !one.disposed),
      never: ["kernel"],
      ambiguous: !options.known || (source.options !== null && !source.options.known),
      reads,
      returned: (got: FoldedLayer) => {
        options.checkTaken();
        source.options?.checkTaken();
        if (!options.known || !asBefore() || !options.benign) return;
        const parts = source.parts();
        const weight = vectorValues(world, options.one("weight").value);
        const bias = vectorValues(world, options.one("bias").value);
        if (!parts || !weight || bias === undefined) return;
        if (!same(got.weight.shape, shape)) throw new Fault("a folded weight has another shape");
        const { mean, variance, weight: gamma, bias: beta, eps } = parts;
        if (!ordinary(weight, bias, mean, variance, gamma, beta)) return;
        // As the layer itself in evaluation: γ/0 is infinite.
        if (variance.some((value) => value + eps === 0)) return;
        const scale = (c: number) => (gamma?.[c] ?? 1) / Math.sqrt((variance[c] as number) + eps);
        const offset = (c: number) => (beta?.[c] ?? 0) - scale(c) * (mean[c] as number);
        const channel = channelOf(told, mean.length);
        const wanted = (i: number) => (weight[i] as number) * scale(channel(i));
        near("a folded weight", got.weight.data, wanted, (i) => Math.abs(wanted(i)));
        const sums = new Float64Array(outputs);
        if (into === "next") {
          weight.forEach((value, i) => {
            const row = layout === "torch" ? Math.floor(i / (shape[1] as number)) : i % outputs;
            sums[row] = (sums[row] as number) + value * offset(channel(i));
          });
        }
        const right = (o: number) =>
          into === "next"
            ? (bias?.[o] ?? 0) + (sums[o] as number)
            : (bias?.[o] ?? 0) * scale(o) + offset(o);
        const largest = bound(mean.map((_, c) => scale(c))) * (bound(bias ?? null) + bound(mean));
        const terms = into === "next" ? (largest + bound(beta)) * bound(weight) * 9 : largest;
        near("a folded bias", got.bias, right, () => terms);
      },
    },
  );
}

/** Some layers, or what is none among them. */
function someLayers(world: World, random: Random, manner: Manner) {
  const count = 1 + random.below(3);
  const models: LayerModel[] = [];
  const any = random.oneIn(4);
  const fits = (one: LayerModel) => any || (!!gammaOf(world, one) && isLive(world, one));
  for (let i = 0; i < count; i++) {
    const model = world.pick(random, world.layers, (one) => !models.includes(one) && fits(one));
    if (model) models.push(model);
  }
  const layers: unknown[] = models.map(({ layer }) => layer);
  const names = models.map(({ name }) => name);
  const right = arg(layers, `[${names}]`);
  if (manner === "mild" || !random.oneIn(4)) return { models, given: right, wrong: false };
  const one = hostile(random);
  const given = random.oneIn(3)
    ? one
    : { value: [...layers, one.value], code: () => `[${[...names, one.code()]}]` };
  return { models, given, wrong: true };
}

/** γ of a layer now; undefined where it has none, or no longer. */
function gammaOf(world: World, { state }: LayerModel): Float32Array | undefined {
  const model = world.modelOf.get(state.weight);
  return model && !model.disposed ? world.values(model) : undefined;
}

const isLive = (world: World, { state }: LayerModel) =>
  ["weight", "bias", "runningMean", "runningVar"].every(
    (field) => !world.modelOf.get(state[field])?.disposed,
  );

/** As steps of an optimizer do: of either sign. */
function setGamma(world: World, random: Random, { name, state }: LayerModel): void {
  const gamma = world.modelOf.get(state.weight);
  if (!gamma || gamma.disposed) return;
  const [length, seed] = [gamma.places.length, random.below(2 ** 31)];
  world.attempt(
    () => `${name}.weight.set(numbers(${length}, ${seed}, "plain"));`,
    () => gamma.tensor.set(numbers(length, seed, "plain")),
    { valid: true, writes: [gamma] },
  );
}

/** As backward passes do. */
function giveGradient(world: World, model: LayerModel): void {
  const { layer, name, state } = model;
  const gamma = world.modelOf.get(state.weight);
  if (!layer.weight || layer.weight.grad || !gamma || gamma.disposed) return;
  const [size] = gamma.shape;
  const { kernel, code } = model.home;
  world.attempt(
    () => `${name}.weight.grad = Tensor.zeros([${size}], { kernel: ${code} });`,
    () => {
      (layer.weight as Parameter).grad = Tensor.zeros([size as number], { kernel });
    },
    { valid: true, layer: model, changes: ["weightGrad"] },
  );
}

function penalize(world: World, random: Random, manner: Manner): void {
  const { models, given, wrong } = someLayers(world, random, manner);
  for (const model of models) {
    if (random.oneIn(2)) setGamma(world, random, model);
    if (!random.oneIn(6)) giveGradient(world, model);
  }
  const strength = manner === "hostile" && random.oneIn(4) ? hostile(random) : arg(0.5, "0.5");
  const grads = models.map(({ state }) => world.modelOf.get(state.weightGrad));
  world.attempt(
    () => `addScaleL1(${given.code()}, ${strength.code()});`,
    () => addScaleL1(given.value as BatchNorm[], strength.value as number),
    {
      valid:
        !wrong &&
        strength.value === 0.5 &&
        models.every((one) => gammaOf(world, one) && isLive(world, one)) &&
        grads.every((one) => one && !one.disposed),
      never: ["kernel"],
      writes: grads.filter((one): one is TensorModel => !!one),
      others: models,
      returned: () => {
        const { value } = strength;
        if (!(Number.isFinite(value) && Number(value) >= 0)) {
          throw new Fault("a strength is taken that is none", strength.code());
        }
        if (!Array.isArray(given.value)) {
          throw new Fault("layers are taken that are none", given.code());
        }
        if (wrong) return;
        models.forEach((model, i) => {
          const [gamma, grad] = [gammaOf(world, model), grads[i]];
          if (!gamma || !grad) throw new Fault("γ is penalized that is not there", model.name);
          const old = world.values(grad);
          if (!ordinary(gamma, old)) return;
          const right = (c: number) =>
            (old[c] as number) + (value as number) * Math.sign(gamma[c] as number);
          near("γ's penalty", world.now(grad), right, (c) => Math.abs(right(c)));
        });
      },
    },
  );
}

function prune(world: World, random: Random, manner: Manner): void {
  const { models, given, wrong } = someLayers(world, random, manner);
  for (const model of models) if (random.oneIn(2)) setGamma(world, random, model);
  const share = random.pick([0, 0.25, 0.5, 0.999]);
  const ratio = manner === "hostile" && random.oneIn(4) ? hostile(random) : arg(share, `${share}`);
  const options = new Options();
  if (random.oneIn(2)) options.set("prefix", arg("a.", '"a."'));
  if (manner === "hostile" && random.oneIn(3)) options.mutate(world, random, ["prefix"]);
  const { value, code } = options.build();
  const gammas = models.map((model) => gammaOf(world, model));
  world.attempt(
    () => options.surrounded(`pruneByScale(${given.code()}, ${ratio.code()}, ${code()});`),
    () =>
      options.surround(() =>
        pruneByScale(given.value as BatchNorm[], ratio.value as number, value as Anything),
      ),
    {
      valid:
        !wrong &&
        options.benign &&
        ratio.value === share &&
        models.every((one) => isLive(world, one)) &&
        gammas.every((gamma) => gamma && !gamma.some(Number.isNaN)),
      never: ["kernel"],
      others: models,
      returned: (got: PrunedLayer[]) => {
        options.checkTaken();
        const part = ratio.value as number;
        if (!(typeof part === "number" && part >= 0 && part < 1)) {
          throw new Fault("a ratio is taken that is none", ratio.code());
        }
        if (!Array.isArray(given.value)) {
          throw new Fault("layers are taken that are none", given.code());
        }
        if (wrong || !options.known || gammas.some((gamma) => !gamma)) return;
        const prefix = (options.one("prefix").value as string | undefined | null) ?? "";
        expectPruned(world, models, gammas as Float32Array[], part, prefix, got);
      },
    },
  );
}

/** One channel after the other goes, each time the one of least |γ| that may. */
function expectPruned(
  world: World,
  models: readonly LayerModel[],
  gammas: readonly Float32Array[],
  ratio: number,
  prefix: string,
  got: readonly PrunedLayer[],
): void {
  const left = gammas.map((gamma) => new Set(gamma.keys()));
  const total = gammas.reduce((sum, { length }) => sum + length, 0);
  for (let i = Math.floor(ratio * total); i > 0; i--) {
    let least: readonly [layer: number, channel: number, size: number] | undefined;
    left.forEach((channels, layer) => {
      if (channels.size <= 1) return;
      for (const channel of channels) {
        const size = Math.abs(gammas[layer]?.[channel] as number);
        if (!least || size < least[2]) least = [layer, channel, size];
      }
    });
    if (least) left[least[0]]?.delete(least[1]);
  }
  models.forEach(({ name, preset, state }, i) => {
    const kept = [...(left[i] as Set<number>)];
    const { mask, kept: stays, stateDict } = got[i] as PrunedLayer;
    if (!same(kept, stays) || mask.some((one, c) => one !== kept.includes(c))) {
      throw new Fault("others stay than those of most |γ|", `${name}: ${stays}, not ${kept}`);
    }
    const names = (presets as unknown as Record<string, { names: Record<string, string> }>)[preset]
      ?.names;
    for (const field of ["weight", "bias", "runningMean", "runningVar"]) {
      const model = world.modelOf.get(state[field]);
      if (!model) continue;
      const entry = stateDict[`${prefix}${names?.[field]}`];
      const all = world.values(model);
      const right = bits(Float32Array.from(kept, (c) => all[c] as number));
      if (!(entry instanceof Float32Array) || bits(entry).some((bit, c) => bit !== right[c])) {
        throw new Fault("what is left of a layer is another", `${name}.${field}`);
      }
    }
  });
}
