/** Numbers in float64, from wherever they come. */

import { fail, mustBe } from "./errors.js";
import { failForTensor, type Tensor, viewOf } from "./tensor.js";
import { typedArrayName } from "./typed-arrays.js";
import { type Float64Values, floats, type NumberArray, readValues } from "./values.js";
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
    const { length } = value;
    // Room is made for what begins with a number: what says that it is long may hold nothing.
    let numbers: Float64Values | null = null;
    for (let i = 0; i < length; i++) {
      const one: unknown = value[i];
      if (typeof one !== "number") mustBe("dtype", `${name}[${i}]`, "a number", one);
      numbers ??= floats(length, name, "Float64Array") as Float64Values;
      numbers[i] = one as number;
    }
    return numbers ?? new Float64Array(0);
  }
  if (typedArrayName(value) === undefined)
    failForTensor(name, "a Tensor, numbers or floats", value);
  return Float64Array.from(readValues(value, name, null));
}

/** @throws BatchNormError `invalid-option` of variances, say, where one is negative */
export function checkNoneNegative(values: Float64Values, name: string): void {
  const i = values.findIndex((value) => value < 0);
  if (i >= 0) mustBe("invalid-option", `${name}[${i}]`, "not negative", values[i]);
}

/** 1/√(σ² + ε) of each channel of a batch; 0 where that is none, since there every x − μ is 0. */
export function inverseStd(variance: Float64Values, eps: number): Float64Values {
  return variance.map((value) => (value + eps === 0 ? 0 : 1 / Math.sqrt(value + eps)));
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
