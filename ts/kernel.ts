/**
 * The port: the only file that knows the WebAssembly module and its memory.
 *
 * A kernel is a value. It owns one instance of the module and so one memory; a
 * tensor belongs to the kernel that made it, and two can't meet in one call.
 */
import { fail, show } from "./errors.js";
import type * as KernelExports from "./generated/kernel.js";
import { isCount } from "./geometry.js";
import type { Tensor } from "./tensor.js";

/** `crate/boundary`'s `Status`. */
const STATUS_OUT_OF_MEMORY = 1;

/** `crate/boundary`'s operations. */
export const FORWARD = 0;
export const STATISTICS = 1;
export const BACKWARD = 2;
export const UPDATE = 3;

/** Words of a record before its tensors; `crate/boundary` has all places. */
const HEADER = 16;

/** A tensor's memory never exceeds this: `isize::MAX` of wasm32. */
const MAX_ALLOCATION = 2 ** 31 - 64;

/** Something that a scope disposes when it ends. */
export interface Tracked {
  dispose(): void;
}

/** Bytes and tensors of one kernel. */
export interface MemoryUsage {
  /** Tensor memory in use, in bytes. */
  readonly liveBytes: number;
  /** Pieces of tensor memory in use; views share one. */
  readonly liveStorages: number;
  /** Size of the WebAssembly memory in bytes. It never shrinks. */
  readonly memoryBytes: number;
}

/** One instance of the WebAssembly kernel with a memory of its own. */
export class Kernel {
  /** The instance's exports, over addresses in {@link Kernel.memory}. */
  readonly exports: typeof KernelExports;
  /** Linear memory that tensors live in. Growing it detaches every view of it. */
  readonly memory: WebAssembly.Memory;
  /** What the open scopes will dispose, innermost last. */
  readonly scopes: Set<Tracked>[] = [];

  #liveBytes = 0;
  #liveStorages = 0;
  /** The record of a call: see `crate/boundary`. */
  #record = 0;
  #recordLength = 0;
  #words = new Uint32Array(0);
  #numbers = new Float64Array(0);
  /** The backstop: frees what was forgotten without `dispose` or `scope`. */
  readonly #forgotten = new FinalizationRegistry<{ address: number; bytes: number }>(
    ({ address, bytes }) => this.release(address, bytes),
  );

  constructor(exports: WebAssembly.Exports) {
    if (!("batch_norm" in exports)) {
      fail("kernel", "createKernel: the module is not this package's kernel");
    }
    this.exports = exports as unknown as typeof KernelExports;
    this.memory = this.exports.memory;
  }

  /**
   * Takes `bytes` of memory.
   *
   * @returns its address, a multiple of 64
   * @throws BatchNormError `out-of-memory`, which names the live bytes
   */
  allocate(bytes: number, zeroed: boolean): number {
    // >>> 0: addresses above 2 GiB come back negative.
    const address =
      bytes <= MAX_ALLOCATION ? this.exports.allocate(bytes, zeroed ? 1 : 0) >>> 0 : 0;
    if (address === 0) this.#failForMemory(`for ${bytes} more bytes`);
    this.#liveBytes += bytes;
    this.#liveStorages += 1;
    return address;
  }

  /** Gives memory back; `bytes` as it was allocated. */
  release(address: number, bytes: number): void {
    this.exports.release(address, bytes);
    this.#liveBytes -= bytes;
    this.#liveStorages -= 1;
  }

  /** Has `owner`'s memory released when nobody can reach it any more. */
  releaseWhenForgotten(owner: object, address: number, bytes: number): void {
    this.#forgotten.register(owner, { address, bytes }, owner);
  }

  /** Undoes {@link Kernel.releaseWhenForgotten}. */
  keep(owner: object): void {
    this.#forgotten.unregister(owner);
  }

  /** Hands something to the innermost open scope, if there is one. */
  track(made: Tracked): void {
    this.scopes[this.scopes.length - 1]?.add(made);
  }

  /**
   * Writes the record of a call: γ and β, addresses of the statistics, whether these are the
   * batch's own, and up to three tensors of one shape.
   *
   * {@link Kernel.describeOutputs} may follow, then {@link Kernel.run}.
   */
  describe(
    axis: number,
    eps: number,
    weight: Tensor | null,
    bias: Tensor | null,
    mean: number,
    variance: number,
    own: boolean,
    x: Tensor,
    second?: Tensor,
    third?: Tensor,
  ): void {
    const { shape } = x;
    const rank = shape.length;
    const words = this.#recordWords(HEADER + rank + 3 * (2 + rank));
    this.#numbers[0] = eps;
    words[7] = axis;
    words[8] = rank;
    words[9] = addressOf(weight);
    words[10] = addressOf(bias);
    words[11] = mean;
    words[12] = variance;
    words[13] = words[14] = 0;
    words[15] = own ? 1 : 0;
    for (let i = 0; i < rank; i++) words[HEADER + i] = shape[i] as number;
    const at = HEADER + rank;
    place(words, at, x);
    if (second) place(words, at + (2 + rank), second);
    if (third) place(words, at + 2 * (2 + rank), third);
  }

  /** Adds to the record what is written a channel: γ's and β's gradient, or running statistics. */
  describeOutputs(first: Tensor | null, second: Tensor | null): void {
    this.#words[13] = addressOf(first);
    this.#words[14] = addressOf(second);
  }

  /** Adds to the record by how much a batch moves running statistics, its variance corrected. */
  describeWeights(weight: number, correction: number): void {
    this.#numbers[1] = weight;
    this.#numbers[2] = correction;
  }

  /** Runs what was described; throws where it did not end well, and nothing was written then. */
  run(operation: number): void {
    this.#words[6] = operation;
    const status = this.exports.batch_norm(this.#record);
    if (status === 0) return;
    if (status === STATUS_OUT_OF_MEMORY) this.#failForMemory("for the workspace of the call");
    fail("kernel", `the kernel refused a call record (status ${status}): please report this bug`);
  }

  /** See {@link MemoryUsage}. */
  memoryUsage(): MemoryUsage {
    return {
      liveBytes: this.#liveBytes,
      liveStorages: this.#liveStorages,
      memoryBytes: this.memory.buffer.byteLength,
    };
  }

  #recordWords(length: number): Uint32Array {
    // A detached view has length 0; asking for its buffer would cost more than the rest.
    if (this.#words.length >= length) return this.#words;
    if (this.#recordLength < length) {
      // Not through `allocate`: it is nobody's tensor.
      const address = this.exports.allocate(length * 4, 0) >>> 0;
      if (address === 0) this.#failForMemory("for the record of the call");
      if (this.#record !== 0) this.exports.release(this.#record, this.#recordLength * 4);
      this.#record = address;
      this.#recordLength = length;
    }
    const { buffer } = this.memory;
    this.#numbers = new Float64Array(buffer, this.#record, 3);
    this.#words = new Uint32Array(buffer, this.#record, this.#recordLength);
    return this.#words;
  }

  #failForMemory(what: string): never {
    const { liveBytes, liveStorages, memoryBytes } = this.memoryUsage();
    fail(
      "out-of-memory",
      `no room ${what}: ${liveBytes} bytes in ${liveStorages} tensors are live in ` +
        `${memoryBytes} (at most 2 GiB a tensor, 4 GiB in all); dispose some, or use scope()`,
    );
  }
}

/** What a record says for one value a channel; 0 means absent. */
function addressOf(vector: Tensor | null): number {
  return vector === null ? 0 : vector.address;
}

/** Writes a tensor's part of a record. */
function place(words: Uint32Array, at: number, { address, extent, strides }: Tensor): void {
  words[at] = address;
  words[at + 1] = extent;
  for (let i = 0; i < strides.length; i++) words[at + 2 + i] = strides[i] as number;
}

/**
 * Makes a kernel with a memory of its own.
 *
 * @param module the compiled kernel, or its bytes
 * @throws BatchNormError `no-simd` where the runtime lacks WebAssembly's 128-bit
 *   SIMD, `kernel` where the module is not this package's
 *
 * @example
 * const kernel = createKernel(bytes);
 * const x = Tensor.zeros([8, 3], { kernel });
 */
export function createKernel(module: WebAssembly.Module | BufferSource): Kernel {
  return new Kernel(instantiate(module));
}

/**
 * The exports of a new instance. Modules here import nothing, so the glue that
 * wasm-bindgen makes has nothing to say but "there is one instance": without it there
 * can be many.
 *
 * @throws BatchNormError `no-simd`, `kernel`
 */
export function instantiate(module: WebAssembly.Module | BufferSource): WebAssembly.Exports {
  try {
    // By tag, not instanceof: a module of another realm (an iframe, a vm) is as good.
    const isModule = show(module) === "WebAssembly.Module";
    const compiled = isModule ? module : new WebAssembly.Module(module as BufferSource);
    return new WebAssembly.Instance(compiled as WebAssembly.Module).exports;
  } catch (cause) {
    if (!WebAssembly.validate(SIMD_PROBE)) {
      fail(
        "no-simd",
        "WebAssembly has no 128-bit SIMD here; needed are Node 16.4, Chrome 91, Firefox 89 or " +
          "Safari 16.4, and SSE4.1 or NEON",
      );
    }
    fail(
      "kernel",
      `createKernel: not a WebAssembly module, not this package's kernel, or refused: ${cause}`,
      { cause },
    );
  }
}

/** `(module (type (func (param v128))))`: valid only with SIMD. */
const SIMD_PROBE = /* @__PURE__ */ Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0],
  ...[1, 5, 1, 96, 1, 123, 0],
);

// The only state of this package outside of kernels: the default one, made once,
// from what the entry that was imported knows how to find.
let provideDefault: (() => Kernel) | undefined;
let theDefault: Kernel | undefined;

/** For entries: how to make the default kernel when it is first needed. */
export function provideDefaultKernel(provide: () => Kernel): void {
  provideDefault ??= provide;
}

/** For entries: whether one has told so already. */
export function hasDefaultKernel(): boolean {
  return provideDefault !== undefined;
}

/** The kernel of every tensor and layer that is not told another one. */
export function defaultKernel(): Kernel {
  theDefault ??= provideDefault?.();
  return (
    theDefault ??
    fail("kernel", "no default kernel: call init() first, or import the package without /slim")
  );
}

/**
 * Grows the memory now, so that the next `bytes` of tensors need not: growing
 * detaches every `.data` handed out before. Each tensor takes up to 128 bytes more
 * than its elements.
 *
 * @throws BatchNormError `out-of-memory`, `invalid-option`
 */
export function reserve(bytes: number, { kernel = defaultKernel() }: KernelOption = {}): void {
  if (!isCount(bytes)) {
    fail("invalid-option", `reserve: bytes must be a whole number from 0 on, got ${show(bytes)}`);
  }
  kernel.release(kernel.allocate(bytes, false), bytes);
}

/** Bytes and tensors in use. */
export function memoryUsage({ kernel = defaultKernel() }: KernelOption = {}): MemoryUsage {
  return kernel.memoryUsage();
}

/** Which kernel, where it is not the default one. */
export interface KernelOption {
  kernel?: Kernel | undefined;
}
