/** `health`: what it tells of each channel, compared with what the tensors hold. */
import { type ChannelHealth, type Health, health } from "batchnorm-wasm";
import type { Random } from "../../scripts/random.mjs";
import * as reference from "../reference/batch.mjs";
import { near, ordinary } from "./expect.js";
import type { Kind } from "./kinds.js";
import { Options } from "./options.js";
import { type Anything, axisOf, here, type Input, input, resolve, same } from "./theme.js";
import { arg, hostile } from "./values.js";
import { Fault, type LayerModel, type Manner, VECTORS, type World } from "./world.js";

export const HEALTH: readonly Kind[] = [["health", 3, look]];

const TENSORS = ["x", "y", "dy", "dx"] as const;
const MOST_CHANNELS = 1000;

function look(world: World, random: Random, manner: Manner): void {
  const model = random.oneIn(2) ? world.pick(random, world.layers) : undefined;
  const first = world.pick(random, world.tensors, here(world));
  if (!first) return;
  const { shape } = first;
  const options = new Options();
  const given = new Map<string, Input>();
  for (const name of TENSORS) {
    if (!random.oneIn(2)) continue;
    const likely = (one: { shape: readonly number[] }) => same(one.shape, shape);
    const one = input(world, random, manner, likely, shape);
    if (!one) continue;
    given.set(name, one);
    options.set(name, one.arg);
  }
  if (model) options.set("layer", arg(model.layer, model.name));
  const axis = axisOf(world, random, shape);
  if (!model || random.oneIn(2)) options.set("axis", arg(axis, `${axis}`));
  if (manner === "hostile" && random.oneIn(2)) {
    if (random.oneIn(4)) options.set("layer", hostile(random));
    options.mutate(world, random, [...TENSORS, "layer", "axis"]);
  }
  const { value, code } = options.build();
  const channelsOf = ({ shape }: Input, axis: number) => shape[resolve(axis, shape.length)] ?? -1;
  const own = options.one("layer").value;
  const layer = world.layers.find((one) => one.layer === own);
  const named = options.one("axis").value ?? layer?.state.axis ?? 1;
  const along = Number.isInteger(named) ? (named as number) : 1;
  const all = [...given.values()];
  const channels = (layer?.state.numFeatures as number | null | undefined) ?? null;
  const counts = new Set(all.map((one) => channelsOf(one, along)));
  if (channels !== null) counts.add(channels);
  const valid =
    options.benign &&
    own === model?.layer &&
    all.every((one) => !one.wrong && !one.model?.disposed) &&
    counts.size <= 1 &&
    [...counts].every((count) => count >= 0 && count <= MOST_CHANNELS) &&
    VECTORS.every((name) => !world.modelOf.get(layer?.state[name])?.disposed);
  const reads = all.flatMap(({ model }) => model ?? []);
  world.attempt(
    () => options.surrounded(`health(${code()});`),
    () => options.surround(() => health(value as Anything)),
    {
      valid,
      never: ["kernel"],
      ambiguous: !options.known,
      reads,
      layer: layer ?? null,
      returned: (got: Health) => {
        options.checkTaken();
        for (const name of VECTORS) {
          const vector = world.modelOf.get(layer?.state[name]);
          if (vector?.disposed && !name.endsWith("Grad")) {
            throw new Fault("a disposed vector is looked at", vector.name);
          }
        }
        if (!options.known || (own !== undefined && own !== null && !layer)) return;
        for (const [name, one] of given) {
          if (options.one(name).value !== one.arg.value) return;
          if (one.wrong && !one.model && !one.of) return;
        }
        for (const [name, one] of given) expectOf(world, name, one, along, got);
        if (layer) expectOfLayer(world, layer, got, given.get("x"), along);
      },
    },
  );
}

const valuesOf = (world: World, one: Input) => (one.model ? world.values(one.model) : one.values);

/** What is told of one of the tensors. */
function expectOf(world: World, name: string, one: Input, axis: number, got: Health): void {
  const values = valuesOf(world, one);
  const channels = reference.channelsOf(one.shape, axis);
  const { number, of } = channels;
  if (number > MOST_CHANNELS || values.length === 0 || !ordinary(values)) return;
  if (got.channels.length !== number) {
    throw new Fault("health tells of another number of channels", `${got.channels.length}`);
  }
  const told = (field: keyof ChannelHealth) =>
    got.channels.map((one) => (one[field] ?? Number.NaN) as number);
  const sums = (value: (x: number) => number) => {
    const sums = new Float64Array(number);
    values.forEach((x, i) => {
      sums[of[i] as number] = (sums[of[i] as number] as number) + value(x);
    });
    return sums;
  };
  const count = values.length / number;
  if (name === "x") {
    const { mean, variance } = reference.statistics(values, channels);
    const at = (c: number) => mean[c] as number;
    near("a mean that health tells", told("mean"), at, (c) => Math.abs(at(c)));
    // Of a variance, as of what is all but constant rounding is left.
    const square = (c: number) => variance[c] as number;
    const got = told("std").map((std) => std ** 2);
    near("a σ that health tells", got, square, (c) => square(c) + at(c) ** 2);
  }
  if (name === "y") {
    const active = sums((value) => (value > 0 ? 1 : 0));
    const part = (c: number) => (active[c] as number) / count;
    near("what is active", told("active"), part, () => 0);
    const never = got.channels.filter(
      ({ dead, active }) => dead === "never active" && active !== 0,
    );
    if (never.length > 0) throw new Fault("a channel is dead that is active");
  }
  if (name === "dy" || name === "dx") {
    const squares = sums((value) => value * value);
    const norm = (c: number) => Math.sqrt(squares[c] as number);
    near(`a norm of ${name}`, told(`${name}Norm`), norm, norm);
  }
}

/** What is told of the layer. */
function expectOfLayer(
  world: World,
  { state, name }: LayerModel,
  { channels }: Health,
  x: Input | undefined,
  axis: number,
): void {
  const vector = (field: string) => {
    const model = world.modelOf.get(state[field]);
    return model ? world.values(model) : null;
  };
  const [gamma, mean, variance] = ["weight", "runningMean", "runningVar"].map(vector);
  if (gamma && channels.some((one, c) => !Object.is(one.gamma, gamma[c]))) {
    throw new Fault("health tells another γ", name);
  }
  if (!x || !mean || !variance || !ordinary(valuesOf(world, x), mean, variance)) return;
  if (variance.some((value) => value < 0) || valuesOf(world, x).length === 0) return;
  const own = reference.statistics(valuesOf(world, x), reference.channelsOf(x.shape, axis));
  const eps = state.eps as number;
  const std = (c: number) => Math.sqrt((variance[c] as number) + eps);
  if (variance.some((value) => value + eps < 1e-4)) return;
  const off = (c: number) => Math.abs((own.mean[c] as number) - (mean[c] as number)) / std(c);
  near(
    "a distance of means",
    channels.map(({ distance }) => distance ?? Number.NaN),
    off,
    (c) => off(c) + (Math.abs(own.mean[c] as number) + Math.abs(mean[c] as number)) / std(c),
  );
}
