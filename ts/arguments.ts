/** Argument checks and conversions that every operation shares. */
import { fail, show, showShape } from "./errors.js";
import { coincide, overlaps } from "./geometry.js";
import type { Kernel } from "./kernel.js";
import { checkData, copyIn, hasShape, Tensor, type TensorData } from "./tensor.js";

/** Data outside of kernel memory: copied in, and results of the same kind copied out. */
export interface PlainTensor {
  readonly data: TensorData;
  readonly shape: readonly number[];
  /** Told apart from a {@link Tensor} by having none. */
  readonly storage?: never;
}

/** What {@link PlainTensor}s come out as. */
export interface PlainResult {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** One value for each channel. */
export type Vector = Tensor | TensorData;

/**
 * @throws BatchNormError `disposed`, `foreign-kernel`, `dtype` unless `value` is a
 *   live tensor of the kernel
 */
export function checkTensor(
  value: unknown,
  kernel: Kernel,
  owner: string,
  name: string,
): asserts value is Tensor {
  if (!(value instanceof Tensor)) {
    fail("dtype", `${owner}: ${name} must be a Tensor or { data, shape }, got ${show(value)}`);
  }
  if (value.disposed) fail("disposed", `${owner}: ${name} was disposed`);
  if (value.kernel !== kernel) {
    fail("foreign-kernel", `${owner}: ${name} belongs to another kernel than the other tensors`);
  }
}

/**
 * The axis, counted from 0.
 *
 * @throws BatchNormError `shape-mismatch`, `invalid-option`
 */
export function resolveAxis(axis: number, rank: number, owner: string): number {
  checkAxis(axis, owner);
  if (axis < -rank || axis >= rank) {
    fail(
      "shape-mismatch",
      `${owner}: axis ${axis} is out of the range of a tensor of rank ${rank}`,
    );
  }
  return axis < 0 ? axis + rank : axis;
}

/** @throws BatchNormError `invalid-option` unless `axis` is a whole number */
export function checkAxis(axis: unknown, owner: string): void {
  if (!Number.isInteger(axis)) {
    fail("invalid-option", `${owner}: axis must be a whole number, got ${show(axis)}`);
  }
}

/** @throws BatchNormError `invalid-option` unless `eps` is finite and not negative */
export function checkEps(eps: unknown, owner: string): asserts eps is number {
  if (!(typeof eps === "number" && eps >= 0 && eps < Number.POSITIVE_INFINITY)) {
    fail("invalid-option", `${owner}: eps must be a finite number from 0 on, got ${show(eps)}`);
  }
}

/** @throws BatchNormError `invalid-option` unless `momentum` is from 0 to 1 */
export function checkMomentum(momentum: unknown, owner: string): asserts momentum is number {
  if (!(typeof momentum === "number" && momentum >= 0 && momentum <= 1)) {
    fail("invalid-option", `${owner}: momentum must be from 0 to 1, got ${show(momentum)}`);
  }
}

/** @throws BatchNormError `invalid-option` unless `value` is one of `known` */
export function checkOneOf(
  value: unknown,
  known: readonly unknown[],
  owner: string,
  name: string,
): void {
  if (!known.includes(value)) {
    fail(
      "invalid-option",
      `${owner}: ${name} must be one of ${known.map(show).join(", ")}, got ${show(value)}`,
    );
  }
}

/** @throws BatchNormError as {@link checkTensor}, and `shape-mismatch` */
export function checkVector(
  value: Tensor,
  kernel: Kernel,
  channels: number,
  owner: string,
  name: string,
): void {
  checkTensor(value, kernel, owner, name);
  if (value.shape.length !== 1 || value.shape[0] !== channels || !value.contiguous) {
    fail(
      "shape-mismatch",
      `${owner}: ${name} must be a contiguous tensor of ${channels} values, ` +
        `got ${showShape(value.shape)}`,
    );
  }
}

/**
 * Checks a tensor that will be written: of `like`'s shape, either exactly the same
 * memory (in place) or none of it, and none of the `others`'.
 *
 * @throws BatchNormError as {@link checkTensor}, `shape-mismatch`, `overlap`
 */
export function checkOutput(
  out: Tensor,
  like: Tensor,
  owner: string,
  // Not an array of them, which would be made anew at each call.
  first?: Tensor | null,
  second?: Tensor | null,
  third?: Tensor | null,
  fourth?: Tensor | null,
): void {
  checkTensor(out, like.kernel, owner, "out");
  if (!hasShape(out, like.shape)) {
    fail(
      "shape-mismatch",
      `${owner}: out must have the shape ${showShape(like.shape)}, got ${showShape(out.shape)}`,
    );
  }
  if (!coincide(out, like)) checkDisjoint(out, like, owner, "out");
  if (first) checkDisjoint(out, first, owner, "out");
  if (second) checkDisjoint(out, second, owner, "out");
  if (third) checkDisjoint(out, third, owner, "out");
  if (fourth) checkDisjoint(out, fourth, owner, "out");
}

/** @throws BatchNormError `overlap` where two tensors share memory */
export function checkDisjoint(to: Tensor, other: Tensor, owner: string, name: string): void {
  if (to.storage === other.storage && overlaps(to, other)) {
    fail(
      "overlap",
      `${owner}: ${name} overlaps another tensor of the call` +
        (name === "out" ? " and is not exactly the same elements (in place)" : ""),
    );
  }
}

/** Whether a value is a {@link PlainTensor}, as far as can be seen without its contents. */
export function isPlain(value: unknown): value is PlainTensor {
  return (
    value !== null &&
    typeof value === "object" &&
    "data" in value &&
    "shape" in value &&
    // What has one is a Tensor, perhaps another copy of the package's.
    !("storage" in value)
  );
}

/**
 * A copy in kernel memory that belongs to the caller, not to a scope.
 *
 * @param out must not be given: a plain tensor's result comes out as a new one
 * @throws BatchNormError `dtype`, `invalid-shape`, `shape-overflow`, `out-of-memory`,
 *   `invalid-option`
 */
export function fromPlain(
  { data, shape }: PlainTensor,
  out: unknown,
  kernel: Kernel,
  owner: string,
  name: string,
): Tensor {
  if (out) fail("invalid-option", `${owner}: out needs a Tensor ${name}`);
  return copyIn(data, shape, kernel, `${owner}: ${name}`);
}

/** Copies a tensor out and disposes it. */
export function takeOut(tensor: Tensor): PlainResult {
  const result = { data: tensor.toFloat32Array(), shape: [...tensor.shape] };
  tensor.dispose();
  return result;
}

/** The vectors of one call: tensors as they are, plain data as copies until `dispose`. */
export class Vectors {
  readonly #kernel: Kernel;
  readonly #channels: number;
  readonly #owner: string;
  readonly #copies: Tensor[] = [];

  constructor(kernel: Kernel, channels: number, owner: string) {
    this.#kernel = kernel;
    this.#channels = channels;
    this.#owner = owner;
  }

  /** Whether any was plain data. */
  get copied(): boolean {
    return this.#copies.length > 0;
  }

  /** @throws BatchNormError as {@link checkVector}, `dtype` */
  optional(value: Vector | null | undefined, name: string): Tensor | null {
    if (value === null || value === undefined) return null;
    let vector = value;
    if (!(vector instanceof Tensor)) {
      checkData(vector, `${this.#owner}: ${name}`);
      vector = copyIn(vector, [vector.length], this.#kernel, `${this.#owner}: ${name}`);
      this.#copies.push(vector);
    }
    checkVector(vector, this.#kernel, this.#channels, this.#owner, name);
    return vector;
  }

  /** As {@link Vectors.optional}, and `invalid-option` where there is none. */
  required(value: Vector | null | undefined, name: string): Tensor {
    return (
      this.optional(value, name) ?? fail("invalid-option", `${this.#owner}: ${name} is missing`)
    );
  }

  dispose(): void {
    for (const copy of this.#copies) copy.dispose();
  }
}
