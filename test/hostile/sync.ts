/** Batch norm over workers: a part's way forward and back, and sums that are added up. */
import {
  addSums,
  type BackwardSums,
  Moments,
  type SyncBatchNormPass,
  syncBatchNorm,
  type Tensor,
} from "batchnorm-wasm";
import type { Random } from "../../scripts/random.mjs";
import * as reference from "../reference/batch.mjs";
import { bound, near, ordinary } from "./expect.js";
import type { Kind } from "./kinds.js";
import { FITS_64, Options } from "./options.js";
import { freshness, type Past } from "./passes.js";
import {
  type Anything,
  axisOf,
  here,
  input,
  isVectorOf,
  output,
  resolve,
  same,
  takeResult,
  vector,
  vectorValues,
} from "./theme.js";
import { type Arg, arg, hostile } from "./values.js";
import { apart, Fault, type Manner, type TensorModel, type World } from "./world.js";

export const SYNC: readonly Kind[] = [
  ["syncBatchNorm", 4, forward],
  ["syncBatchNorm's way back", 4, back],
  ["addSums", 1, add],
];

const MOST_CHANNELS = 1000;

/** A worker's part of a pass, as it was. */
interface Part {
  readonly name: string;
  readonly pass: SyncBatchNormPass;
  readonly past: Past;
  /** Of the whole batch. */
  readonly statistics: reference.Statistics & { readonly count: number };
  disposed: boolean;
}

const parts = new WeakMap<World, Part[]>();

function partsOf(world: World): Part[] {
  const known = parts.get(world) ?? [];
  parts.set(world, known);
  return known;
}

/** Statistics of several tensors of one shape but for the samples, by channel. */
function together(
  all: readonly Float32Array[],
  shapes: readonly (readonly number[])[],
  axis: number,
) {
  const number = (shapes[0] as readonly number[])[axis] as number;
  const channels: number[][] = Array.from({ length: number }, () => []);
  all.forEach((values, k) => {
    const { of } = reference.channelsOf(shapes[k] as number[], axis);
    values.forEach((value, i) => void channels[of[i] as number]?.push(value));
  });
  const flat = channels.flat();
  const count = (channels[0] as number[] | undefined)?.length ?? 0;
  const { mean, variance } = reference.statistics(flat, reference.channelsOf([number, count], 0));
  return { mean, variance, count };
}

function forward(world: World, random: Random, manner: Manner): void {
  const x = input(world, random, manner);
  if (!x) return;
  const axis = axisOf(world, random, x.shape);
  const at = resolve(axis, x.shape.length);
  const channels = Math.min(x.shape[at] as number, MOST_CHANNELS);
  // Another worker's part.
  const isPart = (one: TensorModel) => one.shape[at] === channels && one.shape.length > at;
  const other = random.oneIn(3)
    ? undefined
    : world.pick(random, world.tensors, here(world, isPart));
  const all: TensorModel[] = [x.model, other].filter((one): one is TensorModel => {
    return !!one && !one.disposed && one.shape[at] === channels && one.places.length > 0;
  });
  if (all.length === 0 || x.wrong) return;
  const statistics = together(
    all.map((one) => world.values(one)),
    all.map(({ shape }) => shape),
    at,
  );
  const { mean, variance, count } = statistics;
  if (!variance.every((value) => value >= 0)) return;
  const numbers = { count, mean: [...mean], m2: Array.from(variance, (value) => value * count) };
  const moments = new Moments(numbers);
  const options = new Options(FITS_64);
  options.set("moments", arg(moments, `new Moments(${JSON.stringify(numbers)})`));
  options.set("axis", arg(axis, `${axis}`));
  const eps = random.pick([1e-5, 1e-3, 1, 0]);
  if (random.oneIn(2)) options.set("eps", arg(eps, `${eps}`));
  for (const name of ["weight", "bias"]) {
    if (random.oneIn(2)) options.set(name, vector(world, random, channels));
  }
  const vectors = here(world, isVectorOf(channels));
  if (random.oneIn(2)) {
    options.tensor("runningMean", world.pick(random, world.tensors, vectors));
    options.tensor("runningVar", world.pick(random, world.tensors, vectors));
    if (random.oneIn(2)) options.set("momentum", arg(0.5, "0.5"));
    if (random.oneIn(2)) options.set("runningVariance", arg("biased", '"biased"'));
  }
  options.tensor("out", output(world, random, x));
  if (random.oneIn(4)) options.set("kernel", arg(world.home.kernel, "k"));
  if (manner === "hostile" && random.oneIn(2)) {
    options.mutate(world, random, [
      ...["moments", "weight", "bias", "eps", "axis", "out", "kernel"],
      ...["runningMean", "runningVar", "momentum", "runningVariance"],
    ]);
  }
  const { value, code } = options.build();
  const models = (name: string) => options.models(world, name);
  const outs = models("out");
  const running = [...models("runningMean"), ...models("runningVar")];
  const given = [...models("weight"), ...models("bias")];
  const reads = x.model ? [x.model] : [];
  const valid =
    options.benign &&
    !x.wrong &&
    x.model !== undefined &&
    (running.length === 0 || running.length === 2) &&
    outs.every(
      (out) =>
        !out.disposed &&
        same(out.shape, x.shape) &&
        [...reads, ...running].every((one) => apart(out, one)),
    ) &&
    given.every((one) => !one.disposed) &&
    running.every(
      (one, i) =>
        !one.disposed &&
        reads.every((other) => apart(one, other)) &&
        running.every((other, j) => i === j || apart(one, other)),
    );
  const [name, yName] = [world.name("p"), world.name("t")];
  world.attempt(
    () =>
      options.surrounded(
        `${name} = syncBatchNorm(${x.arg.code()}, ${code()}); ${yName} = ${name}.y;`,
      ),
    () => options.surround(() => syncBatchNorm(x.arg.value as Anything, value as Anything)),
    {
      valid,
      never: ["kernel"],
      ambiguous: !options.known,
      writes: [...outs, ...running],
      reads,
      returned: (pass: SyncBatchNormPass) => {
        world.more.push(pass);
        options.checkTaken();
        if (!x.model) throw new Fault("a part is taken that is no tensor", x.arg.code());
        const weight = vectorValues(world, options.one("weight").value);
        const bias = vectorValues(world, options.one("bias").value);
        const certain =
          options.known &&
          options.one("moments").value === moments &&
          weight !== undefined &&
          bias !== undefined &&
          !x.model.disposed;
        const eps = (options.one("eps").value as number | undefined | null) ?? 1e-5;
        const past: Past = {
          x: world.values(x.model),
          shape: x.shape,
          axis: at,
          eps,
          weight: weight ?? null,
          home: x.model.region.home,
          xModel: x.model,
          xVersion: x.model.region.version,
          kept: [],
          known: certain,
        };
        const taken = takeResult(world, x, outs, pass.y, yName);
        partsOf(world).push({ name, pass, past, statistics, disposed: false });
        if (!certain) return;
        if (outs.length + running.length > 0) expectApart(outs, running, reads);
        const prepared = prepare(past, statistics, bias ?? null);
        if (!prepared) return;
        const { xHat, scale, channels } = prepared;
        const value = (i: number) => {
          const c = channels.of[i] as number;
          return (weight?.[c] ?? 1) * xHat(past.x[i] as number, c) + (bias?.[c] ?? 0);
        };
        const terms = (i: number) =>
          Math.abs(value(i)) + scale * bound(past.x) + bound(bias ?? null);
        near("y of a part", taken.values, value, terms);
        expectMoved(world, options, statistics);
      },
    },
  );
}

/** What is written is apart from all else, or there would have been an error. */
function expectApart(
  outs: readonly TensorModel[],
  running: readonly TensorModel[],
  reads: readonly TensorModel[],
): void {
  const written = [...outs, ...running];
  written.forEach((one, i) => {
    const others = [...reads, ...written.filter((_, j) => j !== i)];
    if (others.every((other) => apart(one, other))) return;
    throw new Fault("what is written overlaps what is read or written", one.name);
  });
}

/** x̂ of a part, and a bound of γ/σ; undefined where arithmetic isn't ordinary. */
function prepare(
  { x, shape, axis, eps, weight }: Past,
  { mean, variance }: Part["statistics"],
  bias: Float32Array | null,
) {
  const own = { mean: Float32Array.from(mean), variance: Float32Array.from(variance) };
  if (!ordinary(x, weight, bias, own.mean, own.variance)) return undefined;
  if (variance.some((v) => v + eps < 1e-4)) return undefined;
  const std = (c: number) => Math.sqrt((variance[c] as number) + eps);
  return {
    channels: reference.channelsOf(shape, axis),
    std,
    xHat: (value: number, c: number) => (value - (mean[c] as number)) / std(c),
    scale: bound(weight ?? [1]) / Math.min(...Array.from(variance, (_, c) => std(c)), 1e3),
  };
}

function expectMoved(
  world: World,
  options: Options,
  { mean, variance, count }: Part["statistics"],
) {
  const one = (name: string) => world.modelOf.get(options.one(name).value);
  const share = (options.one("momentum").value as number | undefined | null) ?? 0.1;
  const biased = options.one("runningVariance").value === "biased" || count <= 1;
  const freedom = biased ? 1 : count / (count - 1);
  for (const [name, batch, factor] of [
    ["runningMean", mean, 1],
    ["runningVar", variance, freedom],
  ] as const) {
    const model = one(name);
    if (!model) continue;
    const old = world.values(model);
    if (!ordinary(old)) return;
    const value = (c: number) =>
      (1 - share) * (old[c] as number) + share * factor * (batch[c] as number);
    near(`${name} of a part`, world.now(model), value, (c) => Math.abs(value(c)));
  }
}

/** Two sums a channel of dy, the gradient by the sums of all, and the end. */
function back(world: World, random: Random, manner: Manner): void {
  const all = partsOf(world).filter(({ disposed }) => !disposed);
  if (all.length === 0) {
    forward(world, random, manner);
    return;
  }
  const part = random.pick(all);
  const { name, pass, past, statistics } = part;
  if (random.oneIn(8)) {
    world.attempt(
      () => `${name}.dispose();`,
      () => pass.dispose(),
      { valid: true },
    );
    part.disposed = true;
    return;
  }
  const { shape } = past;
  const likely = (one: TensorModel) => same(one.shape, shape) || random.oneIn(40);
  const dy = input(world, random, manner, likely, shape);
  if (!dy || (dy.plain && manner === "mild")) return;
  const valid =
    past.known &&
    !dy.wrong &&
    dy.model !== undefined &&
    past.home === world.home &&
    same(dy.shape, shape) &&
    freshness(world, past).fresh;
  const reads = [dy.model, past.xModel].filter((one): one is TensorModel => !!one);
  const checkDy = () => {
    if (!dy.model) throw new Fault("a dy is taken that is no tensor", dy.arg.code());
    if (freshness(world, past).stale) throw new Fault("the way back of what was overwritten", name);
  };
  const summed = () => {
    if (!past.known || !dy.model) return undefined;
    const values = world.values(dy.model);
    const prepared = ordinary(values) ? prepare(past, statistics, null) : undefined;
    return prepared && { ...prepared, values, ...sumsOf(values, past, prepared) };
  };
  if (random.oneIn(2)) {
    world.attempt(
      () => `${name}.sums(${dy.arg.code()});`,
      () => pass.sums(dy.arg.value as Anything),
      {
        valid,
        never: ["kernel"],
        reads,
        returned: (got: BackwardSums) => {
          checkDy();
          const right = summed();
          if (!right) return;
          for (const name of ["dy", "dyXHat"] as const) {
            const wanted = (c: number) => right[name][c] as number;
            near(`a sum of ${name}`, got[name], wanted, () => right.terms);
          }
        },
      },
    );
    return;
  }
  // As if of all workers.
  const channels = statistics.mean.length;
  const seed = random.below(100);
  const made = (k: number) =>
    Array.from({ length: channels }, (_, c) => ((c * 7 + seed + k) % 9) - 4);
  const sums = { dy: made(0), dyXHat: made(5) };
  const total: Arg =
    manner === "hostile" && random.oneIn(3)
      ? random.pick([
          () => hostile(random),
          () => {
            const one = hostile(random);
            return {
              value: { ...sums, dy: one.value },
              code: () => `{ ...${JSON.stringify(sums)}, dy: ${one.code()} }`,
            };
          },
        ])()
      : arg(sums, JSON.stringify(sums));
  const dxName = world.name("t");
  world.attempt(
    () => `${dxName} = ${name}.backward(${dy.arg.code()}, ${total.code()});`,
    () => pass.backward(dy.arg.value as Anything, total.value as Anything),
    {
      valid: valid && total.value === sums,
      never: ["kernel"],
      reads,
      returned: (dx: Tensor) => {
        checkDy();
        const taken = takeResult(world, { ...dy, shape }, [], dx, dxName);
        if (total.value !== sums) return;
        const right = summed();
        if (!right) return;
        const { count } = statistics;
        const { std, xHat, values, scale, channels } = right;
        const wanted = (i: number) => {
          const c = channels.of[i] as number;
          const off =
            (sums.dy[c] as number) / count +
            (xHat(past.x[i] as number, c) * (sums.dyXHat[c] as number)) / count;
          return (((past.weight?.[c] ?? 1) as number) / std(c)) * ((values[i] as number) - off);
        };
        const terms = scale * (bound(values) + 4 * (1 + scale * 2 * bound(past.x)) ** 2);
        near("dx of a part", taken.values, wanted, () => terms);
      },
    },
  );
}

function sumsOf(
  values: Float32Array,
  { x }: Past,
  { channels, xHat, scale }: NonNullable<ReturnType<typeof prepare>>,
) {
  const dy = new Array<number>(channels.number).fill(0);
  const dyXHat = new Array<number>(channels.number).fill(0);
  values.forEach((value, i) => {
    const c = channels.of[i] as number;
    dy[c] = (dy[c] as number) + value;
    dyXHat[c] = (dyXHat[c] as number) + value * xHat(x[i] as number, c);
  });
  const terms = bound(values) * values.length * (1 + 2 * Math.max(scale, 1) * bound(x)) * 1e-1;
  return { dy, dyXHat, terms };
}

function add(world: World, random: Random, manner: Manner): void {
  const channels = 1 + random.below(4);
  const made = (k: number) => Array.from({ length: channels }, (_, c) => (c * 3 + k) / 8);
  const all = Array.from({ length: 1 + random.below(3) }, (_, i) => ({
    dy: made(i),
    dyXHat: made(5 - i),
  }));
  let parts: Arg = arg(all, JSON.stringify(all));
  if (manner === "hostile" && random.oneIn(2)) {
    const one = hostile(random);
    parts = random.pick([
      () => one,
      () => ({ value: [...all, one.value], code: () => `[${one.code()}]` }),
      () => ({
        value: [...all, { dy: made(1), dyXHat: one.value }],
        code: () => `[{ dy: ${JSON.stringify(made(1))}, dyXHat: ${one.code()} }]`,
      }),
      () => ({
        value: [...all, { dy: made(1), dyXHat: made(2), [`${random.below(9)}`]: one.value }],
        code: () => `[{ dy: [1], dyXHat: [1], "0": ${one.code()} }]`,
      }),
    ])();
  }
  world.attempt(
    () => `addSums(${parts.code()});`,
    () => addSums(parts.value as Anything),
    {
      valid: parts.value === all,
      never: ["kernel"],
      returned: (got: BackwardSums) => {
        if (parts.value !== all) return;
        for (const name of ["dy", "dyXHat"] as const) {
          const wanted = (c: number) => all.reduce((sum, one) => sum + (one[name][c] as number), 0);
          if (got[name].length !== channels) throw new Fault("sums are of other channels");
          near("a sum of sums", got[name], wanted, () => 0);
        }
      },
    },
  );
}
