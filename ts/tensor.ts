import { fail, show, showShape } from "./errors.js";
import {
  elementsOf,
  extentOf,
  type Geometry,
  isContiguous,
  rowMajorStrides,
  sameNumbers,
  sizeOf,
} from "./geometry.js";
import { defaultKernel, type Kernel, type KernelOption } from "./kernel.js";
import { Storage } from "./storage.js";

/** What tensors are made from. */
export type TensorData = Float32Array | Uint8Array | readonly number[];

/**
 * A float32 tensor in kernel memory: a shape, strides and an offset over a
 * {@link Storage} that views share. Immutable but for its elements.
 *
 * Memory is given back by {@link Tensor.dispose}, `using` or `scope`; the garbage
 * collector is a backstop only, and never for a tensor whose `.data` was read.
 *
 * @example
 * const x = Tensor.from([1, 2, 3, 4], [2, 2]);
 * x.data[0] = 5;             // zero copy: this is kernel memory
 * const column = x.slice(1, 0, 1);
 * column.toFloat32Array();   // Float32Array [5, 3]
 */
export class Tensor implements Geometry {
  readonly storage: Storage;
  readonly shape: readonly number[];
  /** Elements from one index to the next, per axis. */
  readonly strides: readonly number[];
  /** The first element's place in the storage, in elements. */
  readonly offset: number;
  /** Number of elements. */
  readonly size: number;
  /** Elements from the first to behind the last. */
  readonly extent: number;
  /** Whether the elements lie end to end, so that `.data` can show them. */
  readonly contiguous: boolean;

  #data: Float32Array | undefined;
  #disposed = false;

  /** @internal Use {@link Tensor.zeros} or {@link Tensor.from}. */
  constructor(
    storage: Storage,
    shape: readonly number[],
    strides = rowMajorStrides(shape),
    offset = 0,
  ) {
    this.storage = storage;
    this.shape = shape;
    this.strides = strides;
    this.offset = offset;
    this.size = elementsOf(shape);
    this.extent = extentOf(shape, strides);
    this.contiguous = isContiguous(shape, strides);
    storage.retain();
  }

  /**
   * A tensor of zeros.
   *
   * @param shape at least one axis; sizes may be 0
   * @throws BatchNormError `invalid-shape`, `shape-overflow`, `out-of-memory`
   */
  static zeros(shape: readonly number[], { kernel = defaultKernel() }: KernelOption = {}): Tensor {
    return allocate(kernel, shape, true, "Tensor.zeros");
  }

  /**
   * A tensor with a copy of `data`, in row-major order.
   *
   * @param shape defaults to one axis as long as the data
   * @throws BatchNormError `dtype`, `invalid-shape`, `shape-overflow`, `out-of-memory`
   */
  static from(
    data: TensorData,
    shape: readonly number[] = [data?.length],
    { kernel = defaultKernel() }: KernelOption = {},
  ): Tensor {
    const tensor = copyIn(data, shape, kernel, "Tensor.from");
    kernel.track(tensor);
    return tensor;
  }

  /** The kernel whose memory it lives in. */
  get kernel(): Kernel {
    return this.storage.kernel;
  }

  /** Address of the first element, in bytes. */
  get address(): number {
    return this.storage.address + this.offset * 4;
  }

  /** Whether {@link Tensor.dispose} was called. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /**
   * The elements in row-major order, as a view of kernel memory: nothing is copied.
   *
   * **Read it anew after anything that may allocate.** When the memory grows, every
   * view made before is detached: its length is 0 and writes to it vanish.
   * `reserve` at start avoids growth. The library does not see writes through it:
   * don't overwrite what a pending `backward` needs.
   *
   * @throws BatchNormError `disposed`; `not-contiguous` for a strided view, whose
   *   elements {@link Tensor.toFloat32Array} copies
   */
  get data(): Float32Array {
    if (this.#data === undefined || this.#data.buffer !== this.kernel.memory.buffer) {
      this.#check(".data");
      if (!this.contiguous) {
        fail(
          "not-contiguous",
          `.data: the view ${showShape(this.shape)} has strides ${showShape(this.strides)}; ` +
            "use toFloat32Array() for a copy",
        );
      }
      this.storage.handOut();
      this.#data = elements(this);
    }
    return this.#data;
  }

  /**
   * A view of the same elements in another shape.
   *
   * @param shape one size may be −1 and is then worked out
   * @throws BatchNormError `invalid-shape`, `disposed`, `not-contiguous`
   */
  reshape(shape: readonly number[]): Tensor {
    this.#check("reshape");
    const free = Array.isArray(shape) ? shape.indexOf(-1) : -1;
    let full = free < 0 ? shape : shape.with(free, 1);
    const known = sizeOf(full, "reshape");
    if (free >= 0 && known > 0) full = full.with(free, Math.floor(this.size / known));
    if (sizeOf(full, "reshape") !== this.size) {
      fail(
        "invalid-shape",
        `reshape: ${showShape(this.shape)} has ${this.size} elements, which don't fill ${showShape(shape)}`,
      );
    }
    if (!this.contiguous) {
      fail("not-contiguous", `reshape: the view ${showShape(this.shape)} is strided`);
    }
    return this.#view([...full], rowMajorStrides(full), this.offset);
  }

  /**
   * A view of the indices from `start` to before `end` of one axis, as
   * `Array.prototype.slice` counts them: negative ones from the end.
   *
   * @throws BatchNormError `invalid-shape`, `disposed`
   *
   * @example
   * x.slice(1, 0, 64);   // the first 64 channels of [N, C, H, W]
   */
  slice(axis: number, start: number, end?: number): Tensor {
    this.#check("slice");
    const rank = this.shape.length;
    const at = axis < 0 ? axis + rank : axis;
    const size = this.shape[at];
    if (size === undefined) {
      fail("invalid-shape", `slice: axis must be from ${-rank} to ${rank - 1}, got ${show(axis)}`);
    }
    const place = (index: number): number => {
      const from0 = index < 0 ? index + size : index;
      if (!(Number.isSafeInteger(index) && from0 >= 0 && from0 <= size)) {
        fail("invalid-shape", `slice: axis ${at} has ${size} indices, got ${show(index)}`);
      }
      return from0;
    };
    const first = place(start);
    const length = Math.max(0, place(end ?? size) - first);
    const offset = this.offset + first * (this.strides[at] as number);
    return this.#view(this.shape.with(at, length), this.strides, offset);
  }

  /** A copy of the elements, in row-major order, outside of kernel memory. */
  toFloat32Array(): Float32Array {
    this.#check("toFloat32Array");
    if (this.contiguous) return elements(this).slice();
    const { memory } = this.kernel;
    const all = new Float32Array(memory.buffer, this.address, this.extent);
    const copy = new Float32Array(this.size);
    let to = 0;
    const copyFrom = (place: number, axis: number): void => {
      const [size, stride] = [this.shape[axis] as number, this.strides[axis] as number];
      const inner = axis === this.shape.length - 1;
      for (let i = 0; i < size; i++) {
        if (inner) copy[to++] = all[place + i * stride] as number;
        else copyFrom(place + i * stride, axis + 1);
      }
    };
    copyFrom(0, 0);
    return copy;
  }

  /**
   * Gives up this tensor; its memory is free when no view of it is left. Calling
   * it again does nothing.
   */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#data = undefined;
    this.storage.release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  toString(): string {
    return `${this.constructor.name}(${showShape(this.shape)}${this.#disposed ? ", disposed" : ""})`;
  }

  /** What Node's `console.log` shows: the shape and the first elements. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    if (this.#disposed) return this.toString();
    const rest = this.size > 8 ? ", …" : "";
    const first = (this.contiguous ? elements(this) : this.toFloat32Array()).subarray(0, 8);
    return `${this} { ${Array.from(first, (value) => Number(value.toPrecision(7))).join(", ")}${rest} }`;
  }

  #view(shape: readonly number[], strides: readonly number[], offset: number): Tensor {
    const view = new Tensor(this.storage, shape, [...strides], offset);
    this.kernel.track(view);
    return view;
  }

  #check(owner: string): void {
    if (this.#disposed) fail("disposed", `${owner}: the tensor ${this} was disposed`);
  }
}

/** A tensor with a gradient of its own: a layer's weight or bias. */
export class Parameter extends Tensor {
  /** Sum of the gradients since `zeroGrad`, in the same shape; `null` before the first. */
  grad: Tensor | null = null;

  override dispose(): void {
    this.grad?.dispose();
    super.dispose();
  }
}

/** @internal A tensor that the innermost scope owns; its elements are arbitrary unless zeroed. */
export function allocate(
  kernel: Kernel,
  shape: readonly number[],
  zeroed: boolean,
  owner: string,
): Tensor {
  const size = sizeOf(shape, owner);
  const tensor = new Tensor(new Storage(kernel, size * 4, zeroed), [...shape]);
  kernel.track(tensor);
  return tensor;
}

/** @internal A copy of `data` that no scope owns. */
export function copyIn(
  data: TensorData,
  shape: readonly number[],
  kernel: Kernel,
  owner: string,
): Tensor {
  checkData(data, owner);
  const size = sizeOf(shape, owner);
  if (size !== data.length) {
    fail(
      "invalid-shape",
      `${owner}: shape ${showShape(shape)} has ${size} elements, got data of ${data.length}`,
    );
  }
  // Data may be a view of this very memory, which allocating can detach.
  const { byteOffset, constructor: View } = data as Float32Array;
  const tensor = new Tensor(new Storage(kernel, size * 4, false), [...shape]);
  const again = () => new (View as typeof Float32Array)(kernel.memory.buffer, byteOffset, size);
  elements(tensor).set(data.length === size ? data : again());
  return tensor;
}

/** @internal {@link Tensor} or a class of it. */
export type VectorKind<T extends Tensor> = new (storage: Storage, shape: readonly number[]) => T;

/** @internal A vector that belongs to a layer: no scope frees it. */
export function allocateVector<T extends Tensor>(
  Kind: VectorKind<T>,
  kernel: Kernel,
  length: number,
  value: number,
): T {
  const vector = new Kind(new Storage(kernel, length * 4, true), [length]);
  if (value !== 0) elements(vector).fill(value);
  return vector;
}

/**
 * @internal The elements from the first one's place on, for the library's own
 * reading and writing: made anew, and not handed out.
 */
export function elements(tensor: Tensor): Float32Array {
  return new Float32Array(tensor.kernel.memory.buffer, tensor.address, tensor.extent);
}

/** @internal Overwrites a contiguous tensor and counts the write. */
export function write(tensor: Tensor, data: ArrayLike<number>): void {
  elements(tensor).set(data);
  tensor.storage.wrote(tensor);
}

/**
 * @internal
 * @throws BatchNormError `dtype` unless `data` can become float32 without surprise
 */
export function checkData(data: unknown, owner: string): asserts data is TensorData {
  // By tag, not instanceof: arrays of another realm (an iframe, a vm) are as good.
  const tag: string = ArrayBuffer.isView(data) ? show(data) : "";
  const known: boolean = Array.isArray(data) || tag === "Float32Array" || tag === "Uint8Array";
  if (!known) {
    const hint = ArrayBuffer.isView(data) ? "; convert with Float32Array.from(data)" : "";
    const got = show(data) + hint;
    fail("dtype", `${owner}: data must be a Float32Array, Uint8Array or number[], got ${got}`);
  }
  if (Array.isArray(data)) {
    const wrong = data.findIndex((value) => typeof value !== "number");
    if (wrong >= 0) {
      fail("dtype", `${owner}: data[${wrong}] must be a number, got ${show(data[wrong])}`);
    }
    return;
  }
  // Views can't be made of what is detached; `ArrayBuffer.prototype.detached` is younger
  // than Node 20.
  try {
    new Uint8Array((data as Float32Array).buffer);
  } catch (cause) {
    fail(
      "dtype",
      `${owner}: data is detached: its buffer was transferred, or was kernel memory that has grown`,
      { cause },
    );
  }
}

/** @internal Whether a shape is that of the tensor. */
export function hasShape(tensor: Tensor, shape: readonly number[]): boolean {
  return sameNumbers(tensor.shape, shape);
}
