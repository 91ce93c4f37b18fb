/** Calls of the functions of norms whose sets of elements are within a sample: group norm and on. */
import type { NormGradients, NormSaved, Tensor } from "batchnorm-wasm";
import type { Random } from "../../scripts/random.mjs";
import * as batch from "../reference/batch.mjs";
import type { Sets } from "../reference/sums.mjs";
import { type Added, bound, near, nearGradients, ordinary, wellConditioned } from "./expect.js";
import { Options } from "./options.js";
import { adoptGradients, freshness, type Past } from "./passes.js";
import {
  type Anything,
  allApart,
  here,
  inPlaceOf,
  input,
  isVectorOf,
  output,
  same,
  takeResult,
  vector,
  vectorValues,
} from "./theme.js";
import { arg } from "./values.js";
import {
  apart,
  Fault,
  type Manner,
  type RecordModel,
  type TensorModel,
  type World,
} from "./world.js";

export const MOST_CHANNELS = 1000;

/** How a tensor is divided: which elements share statistics, which γ and β, and what is right. */
export interface Division {
  readonly axis: number;
  readonly channels: number;
  readonly sets: Sets;
  statistics(x: Float32Array): batch.Statistics;
  forward(x: Float32Array, parameters: batch.Parameters): Float64Array;
  backward(
    x: Float32Array,
    dy: Float32Array,
    parameters: Pick<batch.Parameters, "weight" | "eps">,
  ): batch.Gradients;
}

/** A norm's functions. */
export interface Norm {
  /** That which goes forward; with `Backward`, the other one. */
  readonly name: string;
  readonly forward: (x: Anything, options: Anything) => unknown;
  readonly backward: (dy: Anything, options: Anything) => unknown;
  readonly Saved: abstract new (...all: never[]) => NormSaved;
  readonly eps: number;
  readonly vectors: readonly string[];
  /** Options that say how a tensor is divided. */
  readonly divides: readonly string[];
  /** Sets these, and returns how many channels that mostly makes. */
  divide(options: Options, world: World, random: Random, shape: readonly number[]): number;
  /** By these options; undefined where they can't divide it, or into more than is looked into. */
  division(option: (name: string) => unknown, shape: readonly number[]): Division | undefined;
  /** Throws unless saved values tell of a pass what is right. */
  told?(field: string, value: unknown, pass: Pass): void;
}

/** A forward pass as it was. */
export interface Pass extends Past {
  readonly division: Division | undefined;
}

interface PassRecord extends RecordModel {
  readonly record: NormSaved;
  pass: Pass;
}

/** Those of exactly this norm. */
const recordsOf = (world: World, { Saved }: Norm) =>
  world
    .recordsOf<PassRecord>(Saved)
    .filter(({ record }) => Object.getPrototypeOf(record) === Saved.prototype);

/** A call of a norm's forward function. */
export function forward(world: World, random: Random, manner: Manner, norm: Norm): void {
  const x = input(world, random, manner);
  if (!x) return;
  const options = new Options();
  const channels = norm.divide(options, world, random, x.shape);
  const eps = random.pick([1e-5, 1e-3, 1, 0]);
  if (random.oneIn(2)) options.set("eps", arg(eps, `${eps}`));
  if (x.plain || random.oneIn(4)) options.set("kernel", arg(world.home.kernel, "k"));
  for (const name of norm.vectors) {
    if (random.oneIn(2)) options.set(name, vector(world, random, channels));
  }
  options.tensor("out", x.plain ? undefined : output(world, random, x));
  const old = world.pick(random, recordsOf(world, norm));
  if (random.oneIn(2)) {
    if (old && random.oneIn(2)) options.set("saved", arg(old.record, old.name));
    else options.set("saved", arg(true, "true"));
  }
  if (manner === "hostile" && random.oneIn(2)) {
    const known = ["eps", "out", "kernel", "saved", ...norm.vectors, ...norm.divides];
    options.mutate(world, random, known);
  }

  const { value, code } = options.build();
  const names = [world.name("t"), world.name("s")];
  const models = (name: string) => options.models(world, name);
  const reads = norm.vectors.flatMap(models);
  const outs = models("out");
  const inPlace = inPlaceOf(x, outs);
  const all = [...(x.model ? [x.model] : []), ...reads, ...outs];
  const division = norm.division((name) => options.one(name).value, x.shape);
  const saved = options.one("saved").value;
  const record = recordsOf(world, norm).find((one) => one.record === saved);
  const valid =
    options.benign &&
    !x.wrong &&
    division !== undefined &&
    reads.every(isVectorOf(division.channels)) &&
    all.every((one) => !one.disposed && one.region.home === world.home) &&
    outs.every(
      (out) =>
        same(out.shape, x.shape) &&
        (inPlace || (out !== x.model && allApart(out, [x.model]))) &&
        !reads.includes(out) &&
        allApart(out, reads),
    ) &&
    (!record || (!record.disposed && record.pass.home === world.home));
  world.attempt(
    () => {
      const text = `${norm.name}(${x.arg.code()}, ${code()});`;
      const both = `({ y: ${names[0]}, saved: ${names[1]} } = ${text.slice(0, -1)});`;
      return options.surrounded(saved === true ? both : `${names[0]} = ${text}`);
    },
    () => options.surround(() => norm.forward(x.arg.value as Anything, value as Anything)),
    {
      valid,
      never: ["kernel"],
      ambiguous: !options.known,
      writes: outs,
      reads: [...(x.model ? [x.model] : []), ...reads],
      inPlace,
      returned: (result: { y: Tensor; saved: NormSaved } | Tensor) => {
        options.checkTaken(norm.Saved);
        const both = "saved" in result && "y" in result;
        const weight = vectorValues(world, options.one("weight").value);
        const bias = vectorValues(world, options.one("bias").value);
        const known =
          options.known &&
          (!x.wrong || !!x.model || !!x.of) &&
          division !== undefined &&
          weight !== undefined &&
          bias !== undefined;
        const kernel = options.one("kernel").value;
        // By now, not when the options were made: getters may have called in.
        const pass: Pass = {
          x: x.model ? world.values(x.model) : x.values,
          shape: x.shape,
          axis: division?.axis ?? -1,
          division,
          eps: (options.one("eps").value as number | undefined) ?? norm.eps,
          weight: weight ?? null,
          xModel: x.model ?? null,
          xVersion: x.model?.region.version ?? 0,
          kept: reads,
          known: known && !x.of,
          home: x.model?.region.home ?? (kernel === world.home.kernel ? world.home : world.foreign),
        };
        const y = both ? result.y : (result as Tensor);
        const taken = takeResult(world, x, outs, y, names[0] as string);
        if (known) expectForward(taken.values, pass, bias ?? null, x.of);
        const kept = both ? result.saved : saved;
        if (!(kept instanceof norm.Saved)) return;
        const overwritten = recordsOf(world, norm).find((one) => one.record === kept);
        if (overwritten) overwritten.pass = pass;
        else adoptRecord(world, names[1] as string, kept, pass, norm);
      },
    },
  );
}

function adoptRecord(world: World, name: string, record: NormSaved, pass: Pass, norm: Norm): void {
  const model: PassRecord = {
    ...{ name, record, pass, disposed: record.disposed },
    told: (field, value) => {
      const { pass, record } = model;
      if (!pass.known || record.disposed) return;
      if (field === "axis" && value !== pass.axis) {
        throw new Fault("a record's axis is another", `${value}`);
      }
      norm.told?.(field, value, pass);
      if (field === "mean" || field === "variance") expectStatistics(field, value as never, pass);
    },
  };
  world.records.push(model);
}

/** A call of a norm's backward function. */
export function backward(world: World, random: Random, manner: Manner, norm: Norm): void {
  const record = world.pick(random, recordsOf(world, norm));
  if (!record) return;
  const { pass } = record;
  const { shape } = pass;
  const likely = (one: TensorModel) => same(one.shape, shape) || random.oneIn(40);
  const dy = input(world, random, manner, likely, shape);
  if (!dy) return;
  const options = new Options();
  options.set("saved", arg(record.record, record.name));
  options.tensor("out", dy.plain ? undefined : output(world, random, dy));
  const channels = pass.division?.channels ?? 1;
  const gradientNames = norm.vectors.map((name) => `${name}Grad`);
  for (const name of gradientNames) {
    const kind = random.below(4);
    const given = world.pick(random, world.tensors, here(world, isVectorOf(channels)));
    if (kind === 0) options.set(name, arg(null, "null"));
    else if (kind > 1) options.tensor(name, given);
  }
  if (manner === "hostile" && random.oneIn(2)) {
    options.mutate(world, random, ["out", "saved", ...gradientNames]);
  }
  const { value, code } = options.build();
  const outs = options.models(world, "out");
  const written = gradientNames.flatMap((name) => options.models(world, name));
  const inPlace = inPlaceOf(dy, outs);
  const x = pass.xModel ?? undefined;
  const needed = [...pass.kept, ...(x ? [x] : [])];
  const valid =
    options.benign &&
    !dy.wrong &&
    pass.known &&
    pass.home === world.home &&
    !record.disposed &&
    same(dy.shape, shape) &&
    freshness(world, pass).fresh &&
    outs.every(
      (out) =>
        same(out.shape, shape) &&
        out !== x &&
        (inPlace || allApart(out, [dy.model])) &&
        [...needed, ...written].every((one) => apart(out, one)),
    ) &&
    written.every(
      (one, i) =>
        !one.disposed &&
        isVectorOf(channels)(one) &&
        [...needed, ...(dy.model ? [dy.model] : [])].every((other) => apart(one, other)) &&
        written.every((other, j) => i === j || apart(one, other)),
    );
  const names = [world.name("t"), world.name("t"), world.name("t")];
  world.attempt(
    () =>
      options.surrounded(
        `({ dx: ${names[0]}, weightGrad: ${names[1]}, biasGrad: ${names[2]} } = ${norm.name}Backward(${dy.arg.code()}, ${code()}));`,
      ),
    () => options.surround(() => norm.backward(dy.arg.value as Anything, value as Anything)),
    {
      valid,
      never: ["kernel"],
      ambiguous: !options.known,
      writes: [...outs, ...written],
      reads: dy.model ? [dy.model] : [],
      inPlace,
      returned: (result: NormGradients<Tensor>) => {
        options.checkTaken(norm.Saved);
        const certain =
          options.known &&
          (!dy.wrong || !!dy.model || !!dy.of) &&
          pass.known &&
          record.pass === pass &&
          options.one("saved").value === record.record;
        if (!certain) {
          takeResult(world, dy, outs, result.dx, names[0] as string);
          adoptGradients(world, result, names, null);
          return;
        }
        if (record.disposed || freshness(world, pass).stale) {
          throw new Fault("backward through what was overwritten", record.name);
        }
        const dyNow = dy.model ? world.values(dy.model) : dy.values;
        const taken = takeResult(world, { ...dy, shape }, outs, result.dx, names[0] as string);
        const gradients = [result.weightGrad, result.biasGrad ?? null].map((tensor) => {
          if (!tensor) return null;
          const known = world.modelOf.get(tensor);
          return {
            old: known ? world.values(known) : new Float32Array(channels),
            now: known ? world.now(known) : tensor.toFloat32Array(),
          };
        });
        expectBackward(taken.values, dyNow, pass, gradients, dy.of);
        adoptGradients(world, result, names, channels);
      },
    },
  );
}

/** Statistics of a pass, and x̂; undefined where a set is all but constant. */
function prepare({ x, division, eps }: Pass) {
  if (!division) return undefined;
  const statistics = division.statistics(x);
  if (!wellConditioned(x, statistics, eps)) return undefined;
  return { division, statistics, xHat: bound(batch.normalized(x, division.sets, statistics, eps)) };
}

export function expectForward(
  got: ArrayLike<number>,
  pass: Pass,
  bias: Float32Array | null,
  of = "",
): void {
  const { x, weight, eps } = pass;
  const prepared = ordinary(x, weight, bias) ? prepare(pass) : undefined;
  if (!prepared) return;
  const y = prepared.division.forward(x, { weight, bias, eps });
  const value = (i: number) => y[i] as number;
  near(`y by set${of}`, got, value, (i) => Math.abs(value(i)) + bound(weight) + bound(bias));
}

function expectStatistics(field: "mean" | "variance", got: Float64Array, pass: Pass): void {
  if (!pass.division || !ordinary(pass.x) || pass.x.length === 0) return;
  const right = pass.division.statistics(pass.x)[field];
  near(
    `a set's ${field}`,
    got,
    (i) => right[i] as number,
    (i) => Math.abs(right[i] as number),
  );
}

/** @param gradients with respect to weight and bias: before, and now */
export function expectBackward(
  dx: ArrayLike<number>,
  dy: Float32Array,
  pass: Pass,
  gradients: readonly (Added | null)[],
  of = "",
): void {
  const { x, weight, eps } = pass;
  const old = gradients.map((one) => one?.old ?? null);
  const prepared = ordinary(x, dy, weight, ...old) ? prepare(pass) : undefined;
  if (!prepared) return;
  const { division, statistics, xHat } = prepared;
  const right = division.backward(x, dy, { weight, eps });
  const scale = bound(batch.inverseStd(statistics, eps)) * bound(weight ?? [1]);
  nearGradients(` by set${of}`, right, { dx, gradients }, { dy, xHat, scale });
}
