/** `mask` and `weights`, as a caller would write them, and what is known of them. */
import type { Random } from "../../../scripts/random.mjs";
import type { Options } from "../options.js";
import { certain, product } from "../theme.js";
import { arg, positions } from "../values.js";

const NAMES = ["mask", "weights"] as const;

/** x's shape without the channel axis; of a vector one position. */
function positionsOf(shape: readonly number[], axis: number): readonly number[] {
  const others = shape.filter((_, i) => i !== axis);
  return others.length > 0 ? others : [1];
}

/** Adds one of them for x of a shape with channels along an axis, counted from 0. */
export function setWeights(
  options: Options,
  random: Random,
  shape: readonly number[],
  axis: number,
): void {
  const over = positionsOf(shape, axis);
  const count = product(over);
  if (axis < 0 || axis >= shape.length || count === 0 || count > 4096) return;
  const name = random.pick(NAMES);
  const seed = random.below(2 ** 31);
  const values = positions(count, seed, name);
  const code = `positions(${count}, ${seed}, "${name}")`;
  const given = random.pick([
    arg(values, code),
    arg([...values], `[...${code}]`),
    arg({ data: values, shape: over }, `{ data: ${code}, shape: [${over}] }`),
    ...(name === "mask"
      ? [
          arg(Uint8Array.from(values), `Uint8Array.from(${code})`),
          arg(Array.from(values, Boolean), `Array.from(${code}, Boolean)`),
        ]
      : []),
  ]);
  certain.set(given.value as object, values);
  options.set(name, given);
}

/** The weights of a call, `null` without; `undefined` where they can't be known. */
export function weightsOf(options: Options): Float32Array | null | undefined {
  const given = NAMES.map((name) => options.one(name).value).filter((value) => value != null);
  if (given.length === 0) return null;
  return given.length > 1 ? undefined : certain.get(given[0] as object);
}
