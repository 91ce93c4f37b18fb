/** Shapes, strides and what they touch: pure index arithmetic. */
import { fail, show, showShape } from "./errors.js";

/** wasm32 addresses 2³⁰ floats at most; a tensor is half of it, see `Kernel.allocate`. */
const MAX_ELEMENTS = 2 ** 30;

/** Which elements of a storage a tensor is. */
export interface Geometry {
  readonly shape: readonly number[];
  /** Elements from one index to the next, per axis. */
  readonly strides: readonly number[];
  /** The first element's place in the storage. */
  readonly offset: number;
  /** Number of elements. */
  readonly size: number;
  /** Elements from the first to behind the last. */
  readonly extent: number;
}

/**
 * The number of elements of a shape.
 *
 * @throws BatchNormError `invalid-shape`, `shape-overflow`
 */
export function sizeOf(shape: readonly number[], owner: string): number {
  if (!Array.isArray(shape)) {
    fail("invalid-shape", `${owner}: shape must be an array of sizes, got ${show(shape)}`);
  }
  if (shape.length === 0) {
    fail("invalid-shape", `${owner}: shape must have at least one axis, got []`);
  }
  for (const size of shape) {
    if (!isCount(size)) {
      fail("invalid-shape", `${owner}: sizes must be whole numbers from 0 on, got ${show(size)}`);
    }
  }
  const size = elementsOf(shape);
  if (size > MAX_ELEMENTS || shape.some((size) => size > MAX_ELEMENTS)) {
    fail(
      "shape-overflow",
      `${owner}: ${showShape(shape)} has more elements than wasm32 can address (${MAX_ELEMENTS})`,
    );
  }
  return size;
}

/** Whether something can be a size: a whole number from 0 on. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** The number of elements of a shape that was checked. */
export function elementsOf(shape: readonly number[]): number {
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

/** Elements from the first to behind the last. */
export function extentOf(shape: readonly number[], strides: readonly number[]): number {
  if (shape.includes(0)) return 0;
  return shape.reduce((sum, size, axis) => sum + (size - 1) * (strides[axis] as number), 1);
}

/** Whether the elements lie end to end, last axis innermost. */
export function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  if (shape.includes(0)) return true;
  const end = rowMajorStrides(shape);
  return shape.every((size, axis) => size === 1 || strides[axis] === end[axis]);
}

/** Whether two shapes are the same. */
export function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Whether two tensors of one storage are the same elements in the same order. */
export function coincide(a: Geometry, b: Geometry): boolean {
  return (
    a.offset === b.offset && sameNumbers(a.shape, b.shape) && sameNumbers(a.strides, b.strides)
  );
}

/**
 * Whether two tensors of one storage have an element in common. Exact where their
 * strides agree (slices of one tensor: two channel ranges lie between each other
 * and don't overlap); of others with overlapping extents it is assumed.
 */
export function overlaps(a: Geometry, b: Geometry): boolean {
  if (a.size === 0 || b.size === 0) return false;
  if (a.offset + a.extent <= b.offset || b.offset + b.extent <= a.offset) return false;
  return sameNumbers(a.strides, b.strides) ? meet(a, b, b.offset - a.offset, 0) : true;
}

/**
 * Whether `distance = Σ step·stride` over the axes from `axis` on has a solution
 * with indices inside both shapes: −b.size < step < a.size. Strides descend, and
 * the inner axes together never reach one stride of an outer one, so that two
 * steps an axis are worth a try.
 */
function meet(a: Geometry, b: Geometry, distance: number, axis: number): boolean {
  if (axis === a.strides.length) return distance === 0;
  const stride = a.strides[axis] as number;
  const below = Math.floor(distance / stride);
  for (const step of [below, below + 1]) {
    const inside = step < (a.shape[axis] as number) && -step < (b.shape[axis] as number);
    if (inside && meet(a, b, distance - step * stride, axis + 1)) return true;
  }
  return false;
}
