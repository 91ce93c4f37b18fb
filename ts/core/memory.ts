/** A kernel's memory: what is taken and given back, what is alive, and whether it can go on. */
import type { Contents } from "../generated/abi.js";
import { BatchNormError, fail } from "./errors.js";
import type { LinearMemory } from "./instance.js";

/** Of the module's exports, what memory is made of. */
export interface MemoryExports {
  readonly memory: LinearMemory;
  allocate(bytes: number, contents: Contents): number;
  release(address: number, bytes: number): void;
}

/** Limits of memory that is taken. */
enum Limit {
  /** `isize::MAX` of wasm32, less a cache line. */
  BYTES = 2 ** 31 - 64,
}

/** Bytes and tensors of one kernel. */
export interface MemoryUsage {
  /** Tensor memory in use, in bytes. */
  readonly liveBytes: number;
  /** Blocks of tensor memory in use; views share one. */
  readonly liveStorages: number;
  /** Size of the WebAssembly memory in bytes. It never shrinks. */
  readonly memoryBytes: number;
  /** Who made what is in use, most bytes first; `null` unless `traceMemory` is on. */
  readonly traced: readonly MemoryTrace[] | null;
}

/** Memory in use that was made at one place. */
export interface MemoryTrace {
  readonly bytes: number;
  readonly storages: number;
  /** The stack of the call that made it, as `Error.stack` has it. */
  readonly stack: string;
}

/** Remembers where what is alive was made: see `trace.ts`. */
export interface Tracer {
  took(address: number, bytes: number): void;
  freed(address: number): void;
  sums(): MemoryTrace[];
}

/** The memory of one kernel. */
export class Memory {
  /** The instance's: what users see. */
  declare readonly linear: LinearMemory;
  /** If somebody wants to know. */
  tracer: Tracer | null = null;

  // Functions, not their names: the object that has them is slow to look into.
  readonly #allocate: MemoryExports["allocate"];
  readonly #release: MemoryExports["release"];
  #liveBytes = 0;
  #liveStorages = 0;
  /** What the kernel trapped with: nothing of it can be relied on from then on. */
  #trap: unknown;
  /** The backstop, where the runtime has one: frees what was forgotten. */
  readonly forgotten =
    typeof FinalizationRegistry === "function"
      ? new FinalizationRegistry<readonly [address: number, bytes: number]>((memory) =>
          this.free(...memory),
        )
      : null;

  constructor(exports: MemoryExports) {
    this.linear = exports.memory;
    this.#allocate = exports.allocate;
    this.#release = exports.release;
  }

  /**
   * Takes `bytes` of memory.
   *
   * @returns its address, a multiple of 64
   * @throws BatchNormError `out-of-memory`, which names the live bytes
   */
  take(bytes: number, contents: Contents): number {
    const address = this.allocate(bytes, contents);
    this.#liveBytes += bytes;
    this.#liveStorages++;
    this.tracer?.took(address, bytes);
    return address;
  }

  /** {@link take} for the kernel's own purposes: nobody's tensor, and never given back. */
  allocate(bytes: number, contents: Contents): number {
    this.check();
    let address = 0;
    try {
      // >>> 0: addresses above 2 GiB come back negative.
      if (bytes <= Limit.BYTES) address = this.#allocate(bytes, contents) >>> 0;
    } catch (trap) {
      this.check(trap ?? "nothing");
    }
    if (address === 0) this.failForMemory(`${bytes} more bytes`);
    return address;
  }

  /** Gives memory back; `bytes` as it was taken. */
  free(address: number, bytes: number): void {
    this.#liveBytes -= bytes;
    this.#liveStorages--;
    this.tracer?.freed(address);
    try {
      // What is broken has no memory to give back to, and `dispose` never throws.
      if (this.#trap === undefined) this.#release(address, bytes);
    } catch (trap) {
      this.#trap = trap;
    }
  }

  usage(): MemoryUsage {
    return {
      liveBytes: this.#liveBytes,
      liveStorages: this.#liveStorages,
      memoryBytes: this.linear.buffer.byteLength,
      traced: this.tracer?.sums() ?? null,
    };
  }

  /**
   * A trap is the typed error of this call, and of all later ones.
   *
   * @throws BatchNormError `kernel`
   */
  check(trap: unknown = this.#trap): void {
    if (trap === undefined) return;
    this.#trap = trap;
    // What another thread did is told as it is.
    const isTold = trap instanceof BatchNormError;
    const told = `the kernel trapped and is unusable, please report this bug: ${trap}`;
    fail("kernel", isTold ? trap.message : told, { cause: trap });
  }

  failForMemory(what: string): never {
    fail(
      "out-of-memory",
      `no room for ${what}: ${this.#liveBytes} bytes in ${this.#liveStorages} tensors live in ` +
        `${this.linear.buffer.byteLength} (at most 2 GiB a tensor, 4 GiB in all); dispose some, ` +
        "use scope(), find them by traceMemory()",
    );
  }
}
