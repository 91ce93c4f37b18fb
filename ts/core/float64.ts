/** Numbers in float64, from wherever they come. */

import { fail, mustBe } from "./errors.js";
import { failForTensor, type Tensor, viewOf } from "./tensor.js";
import { typedArrayName } from "./typed-arrays.js";
import { type Float64Values, type NumberArray, readValues } from "./values.js";
import { copyOut } from "./view.js";

/** One value a channel, in float64 where the source has it. */
export type Float64Vector = Tensor | NumberArray | readonly number[];

/**
 * A copy.
 *
 * @throws BatchNormError `dtype`, `disposed`
 */
export function readFloat64(value: unknown, name: string): Float64Values {
  const view = viewOf(value);
  if (view?.disposed) fail("disposed", `${name} was disposed`);
  if (view) return Float64Array.from(copyOut(view));
  if (Array.isArray(value)) {
    return Float64Array.from({ length: value.length }, (_, i) => {
      const one: unknown = value[i];
      return typeof one === "number" ? one : mustBe("dtype", `${name}[${i}]`, "a number", one);
    });
  }
  if (typedArrayName(value) === undefined)
    failForTensor(name, "a Tensor, numbers or floats", value);
  return Float64Array.from(readValues(value, name, null));
}

/**
 * A copy of one value a channel; of what is absent, where it may be, `absent` for each.
 *
 * @throws BatchNormError `dtype`, `disposed`, `shape-mismatch`
 */
export function readChannels(
  value: unknown,
  name: string,
  channels: number,
  absent?: number,
): Float64Values {
  if (value == null && absent !== undefined) return new Float64Array(channels).fill(absent);
  const read = readFloat64(value, name);
  if (read.length !== channels) {
    fail("shape-mismatch", `${name} must have ${channels} values, got ${read.length}`);
  }
  return read;
}
