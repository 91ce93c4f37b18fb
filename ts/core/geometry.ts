/** Shapes, strides and what they touch: pure index arithmetic, and the checks of what goes in. */
import { RecordSize } from "../generated/abi.js";
import { COUNT, checkAxis, isCount } from "./checks.js";
import { fail, mustBe } from "./errors.js";
import { showShape } from "./show.js";

/** Limits of shapes. */
enum Limit {
  /** wasm32 addresses 2³⁰ floats; that a tensor has half as many at most, `Memory` says. */
  ELEMENTS = 2 ** 30,
}

/** Which elements of an allocation a tensor is. */
export interface Geometry {
  readonly shape: readonly number[];
  /** Elements from one index to the next, per axis. */
  readonly strides: readonly number[];
  /** The first element's place in the allocation. */
  readonly offset: number;
  /** Number of elements. */
  readonly size: number;
  /** Elements from the first to behind the last. */
  readonly extent: number;
}

/**
 * A copy of a shape: each size is read once, and what was checked can't change.
 *
 * @throws BatchNormError `invalid-shape`, `shape-overflow`
 */
export function readShape(given: readonly number[], owner: string): readonly number[] {
  const shape = readNumbers(given, `${owner}: shape`);
  for (const size of shape) {
    if (!isCount(size)) mustBe("invalid-shape", `${owner}: sizes`, COUNT, size);
  }
  if (Math.max(...shape, sizeOf(shape)) > Limit.ELEMENTS) {
    fail("shape-overflow", `${owner}: ${showShape(shape)} has too many elements`);
  }
  return shape;
}

/** A copy of one number an axis, whatever they are. */
export function readNumbers(given: readonly number[], name: string): number[] {
  // By index: an array can have an iterator that says something else.
  const length: unknown = Array.isArray(given) && given.length;
  if (!isCount(length)) mustBe("invalid-shape", name, "an array", given);
  if (length === 0 || length > RecordSize.MaxRank) {
    fail(
      "invalid-shape",
      `${name} must be of 1 to ${RecordSize.MaxRank} axes, got ${showShape(given)}`,
    );
  }
  return Array.from({ length }, (_, axis) => given[axis] as number);
}

/**
 * The axis, counted from 0.
 *
 * @throws BatchNormError `shape-mismatch`, `invalid-option`
 */
export function resolveAxis(axis: number, rank: number, owner: string): number {
  checkAxis(axis, owner);
  if (axis < -rank || axis >= rank) {
    fail("shape-mismatch", `${owner}: no axis ${axis} in rank ${rank}`);
  }
  return axis < 0 ? axis + rank : axis;
}

/** @throws BatchNormError `shape-mismatch` unless x has one of these ranks */
export function checkRank(shape: readonly number[], ranks: readonly number[], owner: string): void {
  if (!ranks.includes(shape.length)) {
    fail(
      "shape-mismatch",
      `${owner}: expected x of rank ${ranks.join(" or ")}, got ${showShape(shape)}`,
    );
  }
}

/** The number of elements of a shape that was checked. */
export function sizeOf(shape: readonly number[]): number {
  // Any zero makes it nothing, whatever the others are; and products stay exact.
  return shape.includes(0) ? 0 : shape.reduce((product, size) => product * size, 1);
}

/** Strides of a shape whose elements lie end to end, last axis innermost. */
export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis] as number;
  }
  return strides;
}

/** Strides of a shape whose elements lie end to end, first axis innermost. */
export function columnMajorStrides(shape: readonly number[]): number[] {
  return rowMajorStrides([...shape].reverse()).reverse();
}

/**
 * Calls `visit` with the place of each of the elements `from` to before `to`, as they are
 * counted in row-major order, behind that of the first.
 */
export function forEachPlace(
  shape: readonly number[],
  strides: readonly number[],
  from: number,
  to: number,
  visit: (place: number, element: number) => void,
): void {
  const sizes = rowMajorStrides(shape);
  const last = shape.length - 1;
  // `element` is the first of this axis, at `place`.
  const walk = (axis: number, element: number, place: number): void => {
    const size = sizes[axis] as number;
    const stride = strides[axis] as number;
    const end = Math.min(to, element + size * (shape[axis] as number));
    const skipped = Math.max(0, Math.floor((from - element) / size));
    let at = place + skipped * stride;
    for (let first = element + skipped * size; first < end; first += size, at += stride) {
      if (axis === last) visit(at, first);
      else walk(axis + 1, first, at);
    }
  };
  walk(0, 0, 0);
}

/** Whether two shapes are the same, or strides. */
export function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Whether two tensors of one allocation are the same elements in the same order. */
export function coincide(a: Geometry, b: Geometry): boolean {
  return (
    // In place, mostly.
    a === b ||
    (a.offset === b.offset &&
      sameNumbers(a.shape, b.shape) &&
      // Along an axis of one, a stride leads nowhere.
      a.strides.every((stride, axis) => stride === b.strides[axis] || a.shape[axis] === 1))
  );
}

/**
 * Whether two tensors of one allocation have an element in common. Exact where their
 * strides agree (slices of one tensor: two channel ranges lie between each other
 * and don't overlap); of others with overlapping extents it is assumed.
 */
export function overlaps(a: Geometry, b: Geometry): boolean {
  if (a.size === 0 || b.size === 0) return false;
  if (a.offset + a.extent <= b.offset || b.offset + b.extent <= a.offset) return false;
  return sameNumbers(a.strides, b.strides) ? meet(a, b) : true;
}

/**
 * Whether `b.offset − a.offset = Σ step·stride` has a solution with indices inside both
 * shapes: −b.size < step < a.size. The inner axes together never reach one stride of an
 * outer one (`View` sees to it), so that two steps an axis are worth a try.
 */
function meet(a: Geometry, b: Geometry): boolean {
  // From a to b, less the steps so far; few ways lead to more than two numbers.
  let distances = new Set([b.offset - a.offset]);
  a.strides.forEach((stride, axis) => {
    const next = new Set<number>();
    for (const distance of distances) {
      const below = Math.floor(distance / stride);
      for (const step of [below, below + 1]) {
        const inside = step < (a.shape[axis] as number) && -step < (b.shape[axis] as number);
        if (inside) next.add(distance - step * stride);
      }
    }
    distances = next;
  });
  return distances.has(0);
}
