/** Running statistics after training: adapted to what a layer meets, and anew over a data set. */
import {
  type AdaptedBatchNorm,
  adaptBatchNorm,
  type BatchNorm,
  preciseBatchNorm,
  Tensor,
} from "batchnorm-wasm";
import type { Random } from "../../scripts/random.mjs";
import * as reference from "../reference/batch.mjs";
import { lastOf } from "./batch/pass.js";
import { bound, near, ordinary } from "./expect.js";
import type { Kind } from "./kinds.js";
import { Options } from "./options.js";
import {
  type Anything,
  here,
  type Input,
  inPlaceOf,
  input,
  output,
  resolve,
  same,
  takeResult,
  themeOf,
} from "./theme.js";
import { type Arg, arg, hostile, marker } from "./values.js";
import {
  apart,
  Fault,
  type LayerModel,
  type Manner,
  type TensorModel,
  type World,
} from "./world.js";

export const RUNNING: readonly Kind[] = [
  ["adaptBatchNorm", 2, adapt],
  ["forward, adapted", 4, forward],
  ["reset of an adapted layer", 1, reset],
  ["preciseBatchNorm", 3, precise],
];

const MOST_CHANNELS = 1000;

interface Statistics {
  readonly mean: ArrayLike<number>;
  readonly variance: ArrayLike<number>;
}

/** A layer that adapts, and what it began with. */
interface Adapted {
  readonly name: string;
  readonly adapted: AdaptedBatchNorm;
  readonly model: LayerModel;
  /** Undefined where it can't be known. */
  readonly source: (Statistics & { readonly samples: number }) | undefined;
  readonly includeSpread: boolean;
}

const adapted = new WeakMap<World, Adapted[]>();

function adaptedOf(world: World): Adapted[] {
  const known = adapted.get(world) ?? [];
  adapted.set(world, known);
  return known;
}

/** Running statistics as they are; undefined where there are none, or no longer. */
function runningOf(world: World, { state }: LayerModel) {
  const [mean, variance] = ["runningMean", "runningVar"].map((name) =>
    world.modelOf.get(state[name]),
  );
  if (!mean || !variance || mean.disposed || variance.disposed) return undefined;
  return { mean, variance };
}

const NAMES = ["weight", "bias", "runningMean", "runningVar"];

const isLive = (world: World, { state, disposed }: LayerModel) =>
  !disposed && NAMES.every((name) => !world.modelOf.get(state[name])?.disposed);

function adapt(world: World, random: Random, manner: Manner): void {
  const any = random.oneIn(4);
  const model = world.pick(random, world.layers, (one) => any || !!runningOf(world, one));
  if (!model) return;
  const wrong = manner === "hostile" && random.oneIn(8);
  const layer: Arg = wrong ? hostile(random) : arg(model.layer, model.name);
  const options = new Options();
  const samples = random.pick([0, 2, 16, Infinity]);
  if (random.oneIn(2)) options.set("sourceSamples", arg(samples, `${samples}`));
  if (random.oneIn(2)) options.set("includeSpread", arg(true, "true"));
  if (manner === "hostile" && random.oneIn(2)) {
    options.mutate(world, random, ["sourceSamples", "includeSpread"]);
  }
  const { value, code } = options.build();
  const name = world.name("a");
  const { variance } = runningOf(world, model) ?? {};
  world.attempt(
    () => options.surrounded(`${name} = adaptBatchNorm(${layer.code()}, ${code()});`),
    () => options.surround(() => adaptBatchNorm(layer.value as BatchNorm, value as Anything)),
    {
      valid:
        !wrong &&
        options.benign &&
        isLive(world, model) &&
        !!variance &&
        world.values(variance).every((value) => value >= 0),
      never: ["kernel"],
      layer: model,
      returned: (one: AdaptedBatchNorm) => {
        options.checkTaken();
        if (wrong) throw new Fault("a layer is adapted that is none", layer.code());
        const running = runningOf(world, model);
        if (!running) throw new Fault("a layer is adapted without running statistics", name);
        const samples = options.one("sourceSamples").value as number | undefined | null;
        const known = options.known && {
          ...{ mean: world.values(running.mean), variance: world.values(running.variance) },
          samples: samples ?? 16,
        };
        const includeSpread = options.one("includeSpread").value === true;
        adaptedOf(world).push({
          name,
          adapted: one,
          model,
          source: known || undefined,
          includeSpread,
        });
      },
    },
  );
}

function forward(world: World, random: Random, manner: Manner): void {
  const all = adaptedOf(world).filter(({ model }) => !model.disposed || random.oneIn(9));
  if (all.length === 0) {
    adapt(world, random, manner);
    return;
  }
  const { name, adapted, model, source, includeSpread } = random.pick(all);
  const { state } = model;
  const axis = state.axis as number;
  const fits = ({ shape }: { shape: readonly number[] }) =>
    shape[resolve(axis, shape.length)] === state.numFeatures || random.oneIn(20);
  const like = themeOf(world).shapes.find((shape) => fits({ shape }));
  const x = input(world, random, manner, fits, like);
  if (!x) return;
  const options = new Options();
  options.tensor("out", x.plain ? undefined : output(world, random, x));
  if (random.oneIn(2)) options.set("keep", arg(true, "true"));
  if (manner === "hostile" && random.oneIn(2)) options.mutate(world, random, ["out", "keep"]);
  const { value, code } = options.build();
  const outs = options.models(world, "out");
  const inPlace = inPlaceOf(x, outs);
  const at = resolve(axis, x.shape.length);
  const running = runningOf(world, model);
  const moved = running ? [running.mean, running.variance] : [];
  const vectors = NAMES.flatMap((name) => world.modelOf.get(state[name]) ?? []);
  const result = world.name("t");
  const keeps = options.one("keep");
  world.attempt(
    () => options.surrounded(`${result} = ${name}.forward(${x.arg.code()}, ${code()});`),
    () => options.surround(() => adapted.forward(x.arg.value as Anything, value as Anything)),
    {
      valid:
        options.benign &&
        !x.wrong &&
        isLive(world, model) &&
        model.home === world.home &&
        !!running &&
        (model.layer.constructor.name === "BatchNorm" ||
          model.layer.constructor.name === "BatchNormalization") &&
        x.shape[at] === state.numFeatures &&
        outs.every(
          (out) =>
            !out.disposed &&
            same(out.shape, x.shape) &&
            (inPlace || !x.model || (out !== x.model && apart(out, x.model))) &&
            vectors.every((one) => apart(out, one)),
        ) &&
        vectors.every((one) => !x.model || apart(one, x.model)),
      never: ["kernel"],
      ambiguous: !options.known,
      writes: [...outs, ...(keeps.known && keeps.value !== true ? [] : moved)],
      reads: [...(x.model ? [x.model] : [])],
      inPlace,
      layer: model,
      returned: (y: Tensor) => {
        options.checkTaken();
        if (model.disposed) throw new Fault("a disposed layer adapts", name);
        const values = x.model ? world.values(x.model) : x.values;
        const vector = (name: string) => {
          const one = world.modelOf.get(state[name]);
          return one ? world.values(one) : null;
        };
        const [weight, bias] = [vector("weight"), vector("bias")];
        const taken = takeResult(world, x, outs, y, result);
        const known =
          options.known && source && (!x.wrong || !!x.model || !!x.of) && model.state === state;
        if (!known || (x.shape[at] ?? Infinity) > MOST_CHANNELS) return;
        for (const out of outs) {
          const overlapped = vectors.find((one) => !apart(out, one));
          if (overlapped) throw new Fault("out overlaps a vector of the layer", overlapped.name);
        }
        const { mean, variance } = source;
        if (!ordinary(values, weight, bias, Float32Array.from(mean), Float32Array.from(variance))) {
          return;
        }
        const right = blended(source, values, x.shape, at, includeSpread);
        const eps = state.eps as number;
        const channels = reference.channelsOf(x.shape, at);
        const std = (c: number) => Math.sqrt((right.variance[c] as number) + eps);
        const stds = Array.from(right.variance, (_, c) => std(c));
        if (keeps.value === true && running) {
          const [nowMean, nowVariance] = moved.map((one) => world.now(one));
          const of = (values: ArrayLike<number>) => (c: number) => values[c] as number;
          const size = (values: ArrayLike<number>) => () => bound(values) + bound(right.mean) ** 2;
          near("a kept mean", nowMean ?? [], of(right.mean), size(right.mean));
          near("a kept variance", nowVariance ?? [], of(right.variance), size(right.variance));
        }
        if (stds.some((std) => !(std > 1e-2 * (1 + bound(values) * 1e-2)))) return;
        const scale =
          (bound(weight ?? [1]) * (bound(values) + bound(mean))) / Math.min(...stds, 1e9);
        near(
          `y of an adapted layer${x.of ?? ""}`,
          taken.values,
          (i) => {
            const c = channels.of[i] as number;
            const xHat = ((values[i] as number) - (right.mean[c] as number)) / std(c);
            return (weight?.[c] ?? 1) * xHat + (bias?.[c] ?? 0);
          },
          () => scale + bound(bias ?? null),
        );
      },
    },
  );
}

/** Source and batch, by so many samples each. */
function blended(
  source: NonNullable<Adapted["source"]>,
  values: Float32Array,
  shape: readonly number[],
  axis: number,
  includeSpread: boolean,
): { mean: Float64Array; variance: Float64Array } {
  const mean = Float64Array.from(source.mean);
  const variance = Float64Array.from(source.variance);
  if (values.length === 0 || source.samples === Infinity) return { mean, variance };
  const own = reference.statistics(values, reference.channelsOf(shape, axis));
  const samples = axis === 0 ? 1 : (shape[0] as number);
  const [a, b] = [source.samples, samples].map((n) => n / (source.samples + samples)) as [
    number,
    number,
  ];
  const between = mean.map((mean, c) => (mean - (own.mean[c] as number)) ** 2 * a * b);
  return {
    mean: mean.map((mean, c) => a * mean + b * (own.mean[c] as number)),
    variance: variance.map(
      (variance, c) =>
        a * variance +
        b * (own.variance[c] as number) +
        (includeSpread ? (between[c] as number) : 0),
    ),
  };
}

function reset(world: World, random: Random): void {
  const all = adaptedOf(world);
  if (all.length === 0) return;
  const { name, adapted, model, source } = random.pick(all);
  const running = runningOf(world, model);
  world.attempt(
    () => `${name}.reset();`,
    () => adapted.reset(),
    {
      valid: isLive(world, model) && !!running,
      writes: running ? [running.mean, running.variance] : [],
      layer: model,
      returned: () => {
        if (!running || !source) return;
        for (const field of ["mean", "variance"] as const) {
          const now = world.now(running[field]);
          if (now.every((value, c) => Object.is(value, source[field][c]))) continue;
          throw new Fault("a reset layer has other statistics than at first", `${name} ${field}`);
        }
      },
    },
  );
}

/** Layers in a row over some batches; between these, calls of anything. */
async function precise(world: World, random: Random, manner: Manner): Promise<void> {
  // Whoever waits lets others go on.
  if (world.depth > 0) return;
  // Of those that are built: what the network does to others is tested in `test/lifetime.test.ts`.
  const any = random.oneIn(8);
  const isBuilt = (one: LayerModel) =>
    one.state.numFeatures !== null && (any || !!runningOf(world, one));
  const model = world.pick(random, world.layers, isBuilt);
  if (!model) return;
  const models = [model];
  const second = world.pick(random, world.layers, (one) => {
    return one !== model && isBuilt(one) && one.state.axis === model.state.axis;
  });
  if (second && random.oneIn(2)) models.push(second);
  const fits = ({ shape }: TensorModel) =>
    shape[resolve(model.state.axis as number, shape.length)] === model.state.numFeatures ||
    random.oneIn(9);
  const batches = Array.from({ length: 1 + random.below(3) }, () =>
    world.pick(random, world.tensors, here(world, fits)),
  ).filter((one): one is TensorModel => !!one);
  const [all, tensors] = [models.map(({ layer }) => layer), batches.map(({ tensor }) => tensor)];
  const [ofAll, ofTensors] = [models, batches].map((some) => some.map(({ name }) => name).join());
  let layers: Arg = arg(all, `[${ofAll}]`);
  let given: Arg = arg(tensors, `[${ofTensors}]`);
  if (manner === "hostile" && random.oneIn(6)) {
    const one = hostile(random);
    layers = random.oneIn(2)
      ? one
      : { value: [...all, one.value], code: () => `[${ofAll}, ${one.code()}]` };
  }
  if (manner === "hostile" && random.oneIn(8)) given = hostile(random);
  const wrong = layers.value !== all;
  const isGiven = given.value === tensors;
  const options = new Options();
  let progress = 0;
  if (random.oneIn(2)) {
    options.set("onProgress", {
      value: ({ batches }: { batches: number }) => {
        progress += 1;
        if (batches !== progress) throw new Fault("progress skips", `${batches}`);
      },
      code: () => "() => {}",
    });
  }
  if (manner === "hostile" && random.oneIn(3)) options.mutate(world, random, ["onProgress"]);
  const { value, code } = options.build();
  // That a class is no function to call is the language's to say.
  if (code().includes("class {}")) return;
  // In the network: something else, at one of the batches.
  const meddles = manner === "hostile" && random.oneIn(3);
  const [when, seed, waits] = [random.below(3), random.below(2 ** 31), random.oneIn(2)];
  const fails = manner === "hostile" && random.oneIn(8);
  const inside: (() => string)[] = [];
  const met: { readonly values: Float32Array; readonly shape: readonly number[] }[] = [];
  let steps = 0;
  const network = (batch: Tensor) => {
    const known = batches.find(({ tensor }) => tensor === batch);
    // What it must have met: by now, not when the call was made.
    if (known && !known.disposed) met.push({ values: world.values(known), shape: known.shape });
    if (steps++ === when) {
      if (meddles) world.inside(seed, inside);
      if (fails) throw marker;
    }
    // (Of no layers the call has nothing to do: then these would move.)
    for (const { layer } of wrong ? [] : models) {
      const y: object = layer.forward(batch);
      if (y instanceof Tensor) y.dispose();
    }
  };
  const later = async (batch: Tensor) => {
    await undefined;
    network(batch);
  };
  const before = models.map((one) => ({ one, state: one.state, running: runningOf(world, one) }));
  const axis = model.state.axis as number;
  const at = (shape: readonly number[]) => resolve(axis, shape.length);
  const touched = () =>
    before.flatMap(({ running }) => (running ? [running.mean, running.variance] : []));
  for (const model of models) world.watched.add(model);
  await world.attemptLater(
    () =>
      options.surrounded(
        `await preciseBatchNorm(${layers.code()}, ${given.code()}, (x) => { ${inside
          .map((line) => line())
          .join(
            " ",
          )} ${models.map(({ name }) => `${name}.forward(x).dispose();`).join(" ")} }, ${code()});`,
      ),
    () =>
      options.surround(() =>
        preciseBatchNorm(
          layers.value as BatchNorm[],
          given.value as Tensor[],
          waits ? later : network,
          value as Anything,
        ),
      ),
    {
      never: ["kernel"],
      // Layers keep what their last pass saved.
      frees: true,
      writes: touched(),
      writesVectors: NAMES,
      changes: ["numBatchesTracked"],
      others: models.filter(({ disposed }) => !disposed),
      threw: () => forgetPasses(world, models),
      returned: () => {
        forgetPasses(world, models);
        options.checkTaken();
        if (wrong && !Array.isArray(layers.value)) {
          throw new Fault("layers are taken that are none", layers.code());
        }
        if (models.some(({ disposed }) => disposed)) {
          throw new Fault("a disposed layer is given statistics");
        }
        if (wrong || meddles || !isGiven || met.length === 0) return;
        if (steps !== batches.length) throw new Fault("batches are skipped", `${steps}`);
        for (const { one, state } of before) {
          if (state !== one.state) continue;
          expectPrecise(one, met, at);
        }
      },
    },
  );
}

/** Nothing is known of what these would go back through now. */
function forgetPasses(world: World, models: readonly LayerModel[]): void {
  for (const model of models) {
    world.watched.delete(model);
    const last = lastOf(model);
    last.pass = null;
    if (last.record && !last.record.taken) {
      last.record.pass = null;
      // It may have ended before any pass.
      last.record.superseded = "perhaps";
    }
    last.record = null;
  }
}

/** A layer's running statistics are those of all that it has met. */
function expectPrecise(
  { layer }: LayerModel,
  met: readonly Pick<Input, "values" | "shape">[],
  at: (shape: readonly number[]) => number,
): void {
  const mean = layer.runningMean?.toFloat32Array();
  const variance = layer.runningVar?.toFloat32Array();
  if (!mean || !variance) throw new Fault("statistics are anew that are not there");
  if (!met.every(({ values }) => ordinary(values))) return;
  const channels: number[][] = Array.from(mean, () => []);
  for (const { values, shape } of met) {
    const { of } = reference.channelsOf(shape, at(shape));
    values.forEach((value, i) => void channels[of[i] as number]?.push(value));
  }
  const count = (channels[0] as number[] | undefined)?.length ?? 0;
  if (count === 0) return;
  const right = reference.statistics(
    channels.flat(),
    reference.channelsOf([mean.length, count], 0),
  );
  const factor = layer.runningVariance === "unbiased" && count > 1 ? count / (count - 1) : 1;
  const one = (c: number) => right.mean[c] as number;
  const two = (c: number) => (right.variance[c] as number) * factor;
  near("a precise mean", mean, one, (c) => Math.abs(one(c)));
  near("a precise variance", variance, two, (c) => Math.abs(two(c)) + one(c) ** 2);
  if (layer.numBatchesTracked !== met.length) {
    throw new Fault("precise statistics are of another number of batches");
  }
}
