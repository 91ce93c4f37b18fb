/** Group and instance norm's calls. */
import {
  GroupNormSaved,
  groupNorm,
  groupNormBackward,
  instanceNorm,
  instanceNormBackward,
  type NormGradients,
  type Tensor,
} from "batchnorm-wasm";
import type { Random } from "../../scripts/random.mjs";
import * as batch from "../reference/batch.mjs";
import * as reference from "../reference/group.mjs";
import { type Added, bound, near, nearGradients, ordinary, wellConditioned } from "./expect.js";
import type { Kind } from "./kinds.js";
import { Options } from "./options.js";
import { adoptGradients, freshness, type Past } from "./passes.js";
import {
  type Anything,
  allApart,
  axisOf,
  here,
  inPlaceOf,
  input,
  isVectorOf,
  output,
  resolve,
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

/** A forward pass as it was. */
export interface Pass extends Past {
  readonly groups: number;
}

interface GroupRecord extends RecordModel {
  readonly record: GroupNormSaved;
  pass: Pass;
}

const recordsOf = (world: World) => world.recordsOf<GroupRecord>(GroupNormSaved);

export const GROUP_NORM: readonly Kind[] = [
  ["groupNorm", 6, (...all) => forward(...all, "groupNorm")],
  ["instanceNorm", 4, (...all) => forward(...all, "instanceNorm")],
  ["groupNormBackward", 5, (...all) => backward(...all, "groupNormBackward")],
  ["instanceNormBackward", 3, (...all) => backward(...all, "instanceNormBackward")],
];

const FORWARD = { groupNorm, instanceNorm };
const BACKWARD = { groupNormBackward, instanceNormBackward };

function forward(world: World, random: Random, manner: Manner, name: keyof typeof FORWARD): void {
  const x = input(world, random, manner);
  if (!x) return;
  const axis = axisOf(world, random, x.shape);
  const channels = Math.min(x.shape[resolve(axis, x.shape.length)] as number, MOST_CHANNELS);
  const options = new Options();
  options.set("axis", arg(axis, `${axis}`));
  if (name === "groupNorm") {
    const divisors = Array.from({ length: channels }, (_, i) => i + 1).filter(
      (number) => channels % number === 0,
    );
    const number = random.oneIn(9) ? 1 + random.below(5) : random.pick([1, ...divisors]);
    options.set("numGroups", arg(number, `${number}`));
  }
  const eps = random.pick([1e-5, 1e-3, 1, 0]);
  if (random.oneIn(2)) options.set("eps", arg(eps, `${eps}`));
  if (x.plain || random.oneIn(4)) options.set("kernel", arg(world.home.kernel, "k"));
  for (const name of ["weight", "bias"]) {
    if (random.oneIn(2)) options.set(name, vector(world, random, channels));
  }
  options.tensor("out", x.plain ? undefined : output(world, random, x));
  const old = world.pick(random, recordsOf(world));
  if (random.oneIn(2)) {
    if (old && random.oneIn(2)) options.set("saved", arg(old.record, old.name));
    else options.set("saved", arg(true, "true"));
  }
  if (manner === "hostile" && random.oneIn(2)) {
    const known = ["weight", "bias", "eps", "axis", "out", "kernel", "saved", "numGroups"];
    options.mutate(world, random, known);
  }

  const { value, code } = options.build();
  const names = [world.name("t"), world.name("s")];
  const models = (name: string) => options.models(world, name);
  const reads = ["weight", "bias"].flatMap(models);
  const outs = models("out");
  const inPlace = inPlaceOf(x, outs);
  const all = [...(x.model ? [x.model] : []), ...reads, ...outs];
  const given = options.one("axis").value ?? 1;
  const at = Number.isInteger(given) ? resolve(given as number, x.shape.length) : -1;
  const size = x.shape[at] as number;
  const groups =
    name === "groupNorm" ? (options.one("numGroups").value as number) : Math.max(size, 1);
  const saved = options.one("saved").value;
  const record = recordsOf(world).find((one) => one.record === saved);
  const valid =
    options.benign &&
    !x.wrong &&
    at >= 0 &&
    size <= MOST_CHANNELS &&
    size % groups === 0 &&
    reads.every(isVectorOf(size)) &&
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
      const text = `${name}(${x.arg.code()}, ${code()});`;
      const both = `({ y: ${names[0]}, saved: ${names[1]} } = ${text.slice(0, -1)});`;
      return options.surrounded(saved === true ? both : `${names[0]} = ${text}`);
    },
    () =>
      options.surround(() => FORWARD[name](x.arg.value as Anything, value as Anything) as unknown),
    {
      valid,
      never: ["kernel"],
      ambiguous: !options.known,
      writes: outs,
      reads: [...(x.model ? [x.model] : []), ...reads],
      inPlace,
      returned: (result: { y: Tensor; saved: GroupNormSaved } | Tensor) => {
        options.checkTaken(GroupNormSaved);
        const both = "saved" in result && "y" in result;
        const weight = vectorValues(world, options.one("weight").value);
        const bias = vectorValues(world, options.one("bias").value);
        const known =
          options.known &&
          (!x.wrong || !!x.model || !!x.of) &&
          at >= 0 &&
          weight !== undefined &&
          bias !== undefined;
        const kernel = options.one("kernel").value;
        // By now, not when the options were made: getters may have called in.
        const pass: Pass = {
          x: x.model ? world.values(x.model) : x.values,
          shape: x.shape,
          axis: at,
          groups,
          eps: (options.one("eps").value as number | undefined) ?? 1e-5,
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
        if (!(kept instanceof GroupNormSaved)) return;
        const overwritten = recordsOf(world).find((one) => one.record === kept);
        if (overwritten) overwritten.pass = pass;
        else adoptRecord(world, names[1] as string, kept, pass);
      },
    },
  );
}

function adoptRecord(world: World, name: string, record: GroupNormSaved, pass: Pass): void {
  const model: GroupRecord = {
    ...{ name, record, pass, disposed: record.disposed },
    told: (field, value) => {
      const { pass, record } = model;
      if (!pass.known || record.disposed) return;
      if (field === "axis" && value !== pass.axis) {
        throw new Fault("a record's axis is another", `${value}`);
      }
      if (field === "numGroups" && value !== pass.groups) {
        throw new Fault("a record's number of groups is another", `${value}`);
      }
      if (field === "mean" || field === "variance") expectStatistics(field, value as never, pass);
    },
  };
  world.records.push(model);
}

function backward(world: World, random: Random, manner: Manner, name: keyof typeof BACKWARD): void {
  const record = world.pick(random, recordsOf(world));
  if (!record) return;
  const { pass } = record;
  const { shape } = pass;
  const likely = (one: TensorModel) => same(one.shape, shape) || random.oneIn(40);
  const dy = input(world, random, manner, likely, shape);
  if (!dy) return;
  const options = new Options();
  options.set("saved", arg(record.record, record.name));
  options.tensor("out", dy.plain ? undefined : output(world, random, dy));
  const channels = Math.min(shape[pass.axis] ?? 1, MOST_CHANNELS);
  for (const name of ["weightGrad", "biasGrad"]) {
    const kind = random.below(4);
    const given = world.pick(random, world.tensors, here(world, isVectorOf(channels)));
    if (kind === 0) options.set(name, arg(null, "null"));
    else if (kind > 1) options.tensor(name, given);
  }
  if (manner === "hostile" && random.oneIn(2)) {
    options.mutate(world, random, ["out", "saved", "weightGrad", "biasGrad"]);
  }
  const { value, code } = options.build();
  const outs = options.models(world, "out");
  const written = ["weightGrad", "biasGrad"].flatMap((name) => options.models(world, name));
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
        `({ dx: ${names[0]}, weightGrad: ${names[1]}, biasGrad: ${names[2]} } = ${name}(${dy.arg.code()}, ${code()}));`,
      ),
    () =>
      options.surround(
        () => BACKWARD[name](dy.arg.value as Anything, value as Anything) as unknown,
      ),
    {
      valid,
      never: ["kernel"],
      ambiguous: !options.known,
      writes: [...outs, ...written],
      reads: dy.model ? [dy.model] : [],
      inPlace,
      returned: (result: NormGradients<Tensor>) => {
        options.checkTaken(GroupNormSaved);
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
        const gradients = [result.weightGrad, result.biasGrad].map((tensor) => {
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
function prepare({ x, shape, axis, groups, eps }: Pass) {
  const all = reference.groupsOf(shape, axis, groups);
  const statistics = reference.statistics(x, all);
  if (!wellConditioned(x, statistics, eps)) return undefined;
  return { all, statistics, xHat: bound(batch.normalized(x, all.sets, statistics, eps)) };
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
  const y = reference.forward(x, prepared.all, { weight, bias, eps });
  const value = (i: number) => y[i] as number;
  near(`y by group${of}`, got, value, (i) => Math.abs(value(i)) + bound(weight) + bound(bias));
}

function expectStatistics(field: "mean" | "variance", got: Float64Array, pass: Pass): void {
  if (!ordinary(pass.x) || pass.x.length === 0) return;
  const groups = reference.groupsOf(pass.shape, pass.axis, pass.groups);
  const right = reference.statistics(pass.x, groups)[field];
  near(
    `a group's ${field}`,
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
  const { all, statistics, xHat } = prepared;
  const right = reference.backward(x, dy, all, { weight, eps });
  const scale = bound(batch.inverseStd(statistics, eps)) * bound(weight ?? [1]);
  nearGradients(` by group${of}`, right, { dx, gradients }, { dy, xHat, scale });
}
