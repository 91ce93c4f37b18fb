/** Checks of single values. */
import { type BatchNormErrorCode, mustBe } from "./errors.js";
import { show } from "./show.js";

/** What a count, a size or a place must be. */
export const COUNT = "a whole number from 0 on";

/** Whether something can be a size, a place or a count, {@link COUNT}. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** No tensor has more elements. */
const MOST = 0x4000_0000;

/** @throws BatchNormError `invalid-option` unless there can be so many of something, and there are */
export function checkNumber(value: unknown, name: string, or = ""): void {
  if (!(isCount(value) && value > 0 && value <= MOST)) {
    mustBe("invalid-option", name, `a whole number from 1 on${or}`, value);
  }
}

/** @throws BatchNormError `invalid-option` unless `axis` is a whole number */
export function checkAxis(axis: unknown, owner: string): asserts axis is number {
  if (!Number.isSafeInteger(axis)) {
    mustBe("invalid-option", `${owner}: axis`, "a whole number", axis);
  }
}

/** @throws BatchNormError `invalid-option` unless `value` is one of `known`, or a boolean */
export function checkOneOf(
  value: unknown,
  owner: string,
  name: string,
  known: readonly unknown[] = [true, false],
): void {
  if (!known.includes(value)) {
    mustBe("invalid-option", `${owner}: ${name}`, `one of ${known.map(show).join(", ")}`, value);
  }
}

/** @throws BatchNormError `invalid-option` unless `value` is finite and not negative */
export function checkNotNegative(
  value: unknown,
  owner: string,
  name: string,
): asserts value is number {
  if (!(Number.isFinite(value) && (value as number) >= 0)) {
    mustBe("invalid-option", `${owner}: ${name}`, "a finite number from 0 on", value);
  }
}

/** @throws BatchNormError `invalid-option` unless `value` is a part of a whole, and not all of it */
export function checkPart(value: unknown, owner: string, name: string): asserts value is number {
  if (!(typeof value === "number" && value >= 0 && value < 1)) {
    mustBe("invalid-option", `${owner}: ${name}`, "from 0 to less than 1", value);
  }
}

/** @throws BatchNormError `invalid-option` unless `momentum` is from 0 to 1 */
export function checkMomentum(
  momentum: unknown,
  owner: string,
  name = "momentum",
): asserts momentum is number {
  if (!(typeof momentum === "number" && momentum >= 0 && momentum <= 1)) {
    mustBe("invalid-option", `${owner}: ${name}`, "from 0 to 1", momentum);
  }
}

/** More than there are of layers, or of clients: a Proxy may say that it has no end. */
const END = 2 ** 24;

/**
 * What an array holds, by index: an iterator or a method may be the caller's own.
 *
 * @throws BatchNormError `invalid-option`, or `code`, unless it is an array
 */
export function readArray<T>(
  value: readonly T[],
  name: string,
  code: BatchNormErrorCode = "invalid-option",
): T[] {
  const length: unknown = Array.isArray(value) && value.length;
  if (!(isCount(length) && length < END)) mustBe(code, name, "an array", value);
  const items: T[] = [];
  for (let i = 0; i < length; i++) items.push(value[i] as T);
  return items;
}

/** @throws BatchNormError `invalid-option` unless `for (const one of value)` works, or with `await` */
export function checkIterable(value: unknown, owner: string, name: string, awaited = false): void {
  const { [Symbol.iterator]: now, [Symbol.asyncIterator]: later } = Object(value);
  // Of numbers there is nothing that is made of parts.
  const isNone = typeof value === "string" || ArrayBuffer.isView(value);
  if (isNone || (typeof now !== "function" && !(awaited && typeof later === "function"))) {
    mustBe("invalid-option", `${owner}: ${name}`, "an array, or another iterable", value);
  }
}
