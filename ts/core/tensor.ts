import { Contents } from "../generated/abi.js";
import { Allocation, type Storage } from "./allocation.js";
import { COUNT, isCount } from "./checks.js";
import { type KernelOption, readKernel } from "./default-kernel.js";
import { fail, mustBe } from "./errors.js";
import { forEachPlace, readNumbers, readShape, rowMajorStrides, sizeOf } from "./geometry.js";
import type { Kernel, Port, Tracked } from "./kernel.js";
import { isTensor, PROXY, show, showShape } from "./show.js";
import { lengthOf } from "./typed-arrays.js";
import {
  type Float32Values,
  type Float32View,
  type NumberArray,
  type NumberSource,
  outside,
  readValues,
  type TensorData,
} from "./values.js";
import { copyOut, View } from "./view.js";

/** The inside of a tensor; undefined of what is none of this package's. */
export let viewOf: (value: unknown) => View | undefined;

/** What users have of a view; `null` of none. */
export function tensorOf(view: View): Tensor;
export function tensorOf(view: View | null): Tensor | null;
export function tensorOf(view: View | null): Tensor | null {
  return view && (view.handle as Tensor);
}

/**
 * A float32 tensor in kernel memory: a shape, strides and an offset over bytes that
 * views share. Immutable but for its elements.
 *
 * Memory is given back by {@link Tensor.dispose}, `using` or `scope`; the garbage
 * collector is a backstop only, and never for a tensor whose `.data` was read.
 *
 * @example
 * const x = Tensor.from([1, 2, 3, 4], [2, 2]);
 * x.set([5]);                        // counted, and never lost
 * const column = x.slice(1, 0, 1);   // → Tensor([2, 1]) { 5, 3 }
 * column.toFloat32Array();           // → Float32Array [5, 3]
 */
export class Tensor implements Tracked {
  /**
   * The kernel whose memory it lives in.
   *
   * @example
   * x.kernel === defaultKernel();   // → true
   */
  readonly kernel: Kernel;
  /** What `Object.prototype.toString` says: who wraps plain objects in Proxies leaves it alone. */
  readonly [Symbol.toStringTag]: string = "Tensor";
  readonly #view: View;
  #data: Float32View | undefined;
  // Not the view's own: loops over frozen arrays are slow.
  #shape: readonly number[] | undefined;

  // What is not API is not reachable by it: no method, but a friend. (A static block would say
  // it better, but made ready for Chrome 91 it takes the private fields with it.)
  // @ts-expect-error: run for what it does
  // biome-ignore lint/correctness/noUnusedPrivateClassMembers: likewise
  // biome-ignore lint/suspicious/noAssignInExpressions: likewise
  static #friend = (viewOf =
    (value) =>
      typeof value === "object" && value !== null && #view in value ? value.#view : undefined);

  /** @internal Use {@link Tensor.zeros} or {@link Tensor.from}. */
  constructor(view: View) {
    if (!(view instanceof View)) {
      fail("invalid-shape", "Tensor: use Tensor.zeros or from");
    }
    this.#view = view;
    view.handle = this;
    // Its own, so that posting a tensor to a worker throws and doesn't send an empty object.
    this.kernel = view.allocation.port.kernel;
  }

  /**
   * A tensor of zeros.
   *
   * @param shape 1 to 64 axes; sizes may be 0
   * @throws BatchNormError `invalid-shape`, `shape-overflow`, `out-of-memory`, `invalid-option`
   *
   * @example
   * const x = Tensor.zeros([32, 64, 56, 56]);   // [N, C, H, W]
   * const y = Tensor.zeros([2, 3]);             // → Tensor([2, 3]) { 0, 0, 0, 0, 0, 0 }
   */
  static zeros(shape: readonly number[], options?: KernelOption | null): Tensor {
    const owner = "Tensor.zeros";
    const port = readKernel(options, owner);
    return tensorOf(allocate(port, readShape(shape, owner), Contents.Zero));
  }

  /**
   * A tensor with a copy of `data`, in row-major order.
   *
   * @param data `Float32Array`, `Uint8Array`, `Uint8ClampedArray` (pixels) or numbers, not nested
   * @param shape defaults to one axis as long as the data
   * @throws BatchNormError `dtype`, `invalid-shape`, `shape-overflow`, `out-of-memory`,
   *   `invalid-option`
   *
   * @example
   * Tensor.from([1, 2, 3]);                                   // → Tensor([3]) { 1, 2, 3 }
   * const x = Tensor.from([[1, 2], [3, 4]].flat(), [2, 2]);   // → Tensor([2, 2]) { 1, 2, 3, 4 }
   * const image = Tensor.from(pixels, [1, 28, 28, 3]);
   */
  static from(
    data: TensorData,
    shape?: readonly number[] | null,
    options?: KernelOption | null,
  ): Tensor {
    const owner = "Tensor.from";
    const port = readKernel(options, owner);
    const values = outside(port.memory.linear.buffer, readValues(data, owner));
    const view = copyIn(values, shape ?? [lengthOf(values)], port, owner);
    port.track(view.handle);
    return tensorOf(view);
  }

  /**
   * Sizes, outermost axis first.
   *
   * @example
   * x.shape;                  // → [2, 3]
   * x.slice(1, 0, 2).shape;   // → [2, 2]
   */
  get shape(): readonly number[] {
    const { shape } = inside(this);
    this.#shape ??= Object.freeze([...shape]);
    return this.#shape;
  }

  /**
   * Elements from one index to the next, per axis.
   *
   * @example
   * x.strides;                   // → [3, 1]
   * x.reshape([3, 2]).strides;   // → [2, 1]
   */
  get strides(): readonly number[] {
    return Object.freeze([...inside(this).strides]);
  }

  /**
   * The first element's place in the storage, in elements.
   *
   * @example
   * x.slice(0, 1).offset;   // → 3
   */
  get offset(): number {
    return inside(this).offset;
  }

  /**
   * Number of elements.
   *
   * @example
   * x.size;   // → 6
   */
  get size(): number {
    return inside(this).size;
  }

  /**
   * Elements from the first to behind the last.
   *
   * @example
   * const column = x.slice(1, 0, 1);   // → Tensor([2, 1]) { 1, 3 }
   * column.size;                       // → 2
   * column.extent;                     // → 4
   */
  get extent(): number {
    return inside(this).extent;
  }

  /**
   * Whether the elements lie end to end, so that `.data` can show them.
   *
   * @example
   * x.slice(0, 0, 1).contiguous;   // → true
   * x.slice(1, 0, 1).contiguous;   // → false
   */
  get contiguous(): boolean {
    return inside(this).contiguous;
  }

  /**
   * The bytes that it shares with its views.
   *
   * @example
   * x.storage.bytes;                       // → 24
   * x.slice(0, 1).storage === x.storage;   // → true
   */
  get storage(): Storage {
    return inside(this).allocation.storage;
  }

  /**
   * Address of the first element in the kernel's memory, in bytes.
   *
   * @example
   * const { buffer } = x.kernel.memory;
   * new Float32Array(buffer, x.address, x.size);   // → Float32Array [1, 2, 3, 3, 6, 9]
   */
  get address(): number {
    return inside(this).address;
  }

  /**
   * Whether {@link Tensor.dispose} was called.
   *
   * @example
   * x.dispose();
   * x.disposed;   // → true
   */
  get disposed(): boolean {
    return inside(this).disposed;
  }

  /**
   * The elements in row-major order, as a view of kernel memory: nothing is copied.
   *
   * **Read it anew after anything that may allocate.** When the memory grows, every
   * view made before is detached: its length is 0 and writes to it vanish.
   * `reserve` at start avoids growth. The library does not see writes through it:
   * {@link Tensor.set} is counted, and so safe between a forward pass and its backward.
   *
   * @throws BatchNormError `disposed`; `not-contiguous` for a strided view, whose
   *   elements {@link Tensor.toFloat32Array} copies
   *
   * @example
   * x.data[0] = 7;
   * x.data;                  // → Float32Array [7, 2, 3, 3, 6, 9]
   * x.slice(1, 0, 1).data;   // throws not-contiguous
   */
  get data(): Float32View {
    const view = liveView(this, ".data");
    if (this.#data?.buffer !== view.allocation.port.memory.linear.buffer) {
      if (!view.contiguous) {
        fail(
          "not-contiguous",
          `.data: ${showShape(view.shape)} has strides ${showShape(view.strides)}; ` +
            "toFloat32Array() copies",
        );
      }
      view.allocation.handOut();
      this.#data = view.elements;
    }
    return this.#data;
  }

  /**
   * Writes numbers over the elements in row-major order, from the element `offset` on. The
   * write is counted: a `backward` that needs what was there before is an error then, and
   * not a wrong gradient.
   *
   * @param values a tensor, or an array or typed array of numbers; rounded to float32
   * @param offset how many elements to leave before; default 0
   * @returns this
   * @throws BatchNormError `dtype`, `shape-mismatch` where there are more values than
   *   elements, `invalid-option`, `disposed`; nothing is written then
   *
   * @example
   * x.set([7, 8]);      // → Tensor([2, 3]) { 7, 8, 3, 3, 6, 9 }
   * x.set([0, 0], 4);   // → Tensor([2, 3]) { 7, 8, 3, 3, 0, 0 }
   * x.set(dy);          // → Tensor([2, 3]) { 1, 1, 1, 2, 4, 6 }
   * x.set(pixels);      // throws shape-mismatch
   */
  set(values: NumberSource | Tensor, offset?: number | null): this {
    const owner = "set";
    const first = offset ?? 0;
    if (!isCount(first)) {
      mustBe("invalid-option", `${owner}: offset`, COUNT, offset);
    }
    const numbers = viewOf(values)
      ? copyOut(liveView(values as Tensor, owner))
      : readValues(values, owner, null);
    const view = liveView(this, owner);
    const count = lengthOf(numbers);
    if (first + count > view.size) {
      fail(
        "shape-mismatch",
        `${owner}: ${count} values from ${first} on don't fit ${showShape(view.shape)}`,
      );
    }
    if (view.contiguous) view.elements.set(numbers, first);
    else {
      const all = view.elements;
      // What is read while this is written must lie elsewhere.
      const source = outside(all.buffer, numbers);
      forEachPlace(view.shape, view.strides, first, first + count, (place, element) => {
        all[place] = source[element - first] as number;
      });
    }
    view.wrote();
    return this;
  }

  /**
   * A view of the same elements in another shape.
   *
   * @param shape one size may be −1 and is then worked out
   * @throws BatchNormError `invalid-shape`, `disposed`, `not-contiguous`
   *
   * @example
   * x.reshape([3, -1]);   // → Tensor([3, 2]) { 1, 2, 3, 3, 6, 9 }
   */
  reshape(shape: readonly number[]): Tensor {
    const owner = "reshape";
    const asked = readNumbers(shape, `${owner}: shape`);
    const view = liveView(this, owner);
    const full = [...asked];
    const free = full.indexOf(-1);
    if (free >= 0) {
      full[free] = 1;
      const known = sizeOf(readShape(full, owner));
      if (known > 0) full[free] = Math.floor(view.size / known);
    }
    const whole = readShape(full, owner);
    if (sizeOf(whole) !== view.size) {
      fail(
        "invalid-shape",
        `reshape: ${view.size} elements of ${showShape(view.shape)} don't fit ${showShape(asked)}`,
      );
    }
    if (!view.contiguous) {
      fail("not-contiguous", `reshape: ${showShape(view.shape)} has strides`);
    }
    return viewing(view, whole, rowMajorStrides(whole), view.offset);
  }

  /**
   * A view of the indices from `start` to before `end` of one axis, as
   * `Array.prototype.slice` counts them: negative ones from the end.
   *
   * @param end default the end of the axis
   * @throws BatchNormError `invalid-shape`, `disposed`
   *
   * @example
   * x.slice(0, -1);     // → Tensor([1, 3]) { 3, 6, 9 }
   * x.slice(1, 0, 2);   // → Tensor([2, 2]) { 1, 2, 3, 6 }
   */
  slice(axis: number, start: number, end?: number | null): Tensor {
    const view = liveView(this, "slice");
    const { shape, strides } = view;
    const rank = shape.length;
    const at = countedFrom0(axis, rank, rank - 1, "slice: axis");
    const size = shape[at] as number;
    const name = `slice: axis ${at} has ${size} indices, one`;
    const first = countedFrom0(start, size, size, name);
    const cut = [...shape];
    cut[at] = Math.max(0, countedFrom0(end ?? size, size, size, name) - first);
    // What has no elements has no place either, and must not point behind the storage.
    const skipped = sizeOf(cut) === 0 ? 0 : first * (strides[at] as number);
    return viewing(view, cut, strides, view.offset + skipped);
  }

  /**
   * A copy of the elements, in row-major order, outside of kernel memory.
   *
   * @example
   * x.slice(1, 0, 1).toFloat32Array();   // → Float32Array [1, 3]
   */
  toFloat32Array(): Float32Values {
    return copyOut(liveView(this, "toFloat32Array"));
  }

  /**
   * Gives up this tensor; its memory is free when no view of it is left. Calling
   * it again does nothing.
   *
   * @example
   * const y = bn.forward(x);
   * y.dispose();
   * y.data;   // throws disposed
   */
  dispose(): void {
    inside(this).dispose();
    this.#data = undefined;
  }

  /**
   * {@link Tensor.dispose}, at the end of the block.
   *
   * @example
   * using y = bn.forward(x);   // → Tensor([2, 3]) { -1, -1, -1, 1, 1, 1 }
   */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /**
   * The kind and the shape.
   *
   * @example
   * `${x}`;   // → "Tensor([2, 3])"
   */
  toString(): string {
    const { shape, disposed } = inside(this);
    return `${this[Symbol.toStringTag]}(${showShape(shape)}${disposed ? ", disposed" : ""})`;
  }

  /** What Node's `console.log` shows: the shape and the first elements. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    const view = viewOf(this);
    if (view === undefined) return "Tensor";
    if (view.disposed) return this.toString();
    const all = view.contiguous ? view.elements : copyOut(view);
    const first = Array.from(all.subarray(0, 8), (value) => Number(value.toPrecision(7)));
    return `${this} { ${first.join(", ")}${all.length > 8 ? ", …" : ""} }`;
  }
}

/** An index up to `last`, from the end of `size` where it is negative. */
function countedFrom0(index: number, size: number, last: number, name: string): number {
  const from0 = Number.isSafeInteger(index) && index < 0 ? index + size : index;
  if (!isCount(from0) || from0 > last) {
    mustBe("invalid-shape", name, `from ${-size} to ${last}`, index);
  }
  return from0;
}

/** The view of `this` in a method, which a Proxy has not. */
function inside(tensor: Tensor): View {
  return checkTensor(tensor, "this");
}

/** {@link inside} of a tensor that was not disposed. */
export function liveView(tensor: Tensor, owner: string): View {
  const view = inside(tensor);
  if (view.disposed) {
    fail("disposed", `${owner}: the tensor ${showShape(view.shape)} was disposed`);
  }
  return view;
}

/**
 * The view of what has to be a tensor. Whether it is alive, of the right kernel and in
 * nobody's way is for `checkCall`, when nothing of the user's runs any more.
 *
 * @throws BatchNormError `dtype`
 */
export function checkTensor(value: unknown, name: string): View {
  return viewOf(value) ?? failForTensor(name, "a Tensor", value);
}

/** Throws for what is no tensor of this package, with the remedy where there is one. */
export function failForTensor(name: string, wanted: string, value: unknown): never {
  mustBe("dtype", name, wanted, value, isTensor(show(value)) ? PROXY : "");
}

/** A tensor that no scope owns. */
function make(port: Port, shape: readonly number[], contents: Contents, Kind = Tensor): View {
  const view = new View(new Allocation(port, sizeOf(shape) * 4, contents), shape);
  return new Kind(view) && view;
}

/** A tensor that the innermost scope owns. */
export function allocate(port: Port, shape: readonly number[], contents: Contents): View {
  const view = make(port, shape, contents);
  port.track(view.handle);
  return view;
}

/** A view that the innermost scope owns. */
function viewing(
  { allocation }: View,
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
): Tensor {
  const tensor = new Tensor(new View(allocation, shape, strides, offset));
  allocation.port.track(tensor);
  return tensor;
}

/**
 * A copy, that no scope owns, of values that lie outside of this memory.
 *
 * @throws BatchNormError `invalid-shape`, `shape-overflow`, `out-of-memory`
 */
export function copyIn(
  values: NumberArray,
  given: readonly number[],
  port: Port,
  owner: string,
): View {
  const shape = readShape(given, owner);
  const size = sizeOf(shape);
  const count = lengthOf(values);
  if (size !== count) {
    fail(
      "invalid-shape",
      `${owner}: shape ${showShape(shape)} has ${size} elements, got data of ${count}`,
    );
  }
  const view = make(port, shape, Contents.Arbitrary);
  view.elements.set(values);
  return view;
}

/** Values that belong to a layer: no scope frees them. */
export function allocateOwn(
  Kind: typeof Tensor,
  port: Port,
  shape: readonly number[],
  value: number,
): View {
  const view = make(port, shape, Contents.Zero, Kind);
  if (value !== 0) view.elements.fill(value);
  return view;
}
