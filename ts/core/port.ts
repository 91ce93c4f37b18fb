/** The port: the only file that calls the WebAssembly module and writes its records. */
import { fail } from "./errors.js";
import { Limit } from "./geometry.js";
import type { LinearMemory } from "./instance.js";
import type { Kernel } from "./kernel.js";
import { type Call, Place } from "./operands.js";
import type { View } from "./view.js";

/** The module's exports, over addresses in its memory: `generated/kernel.d.ts`. */
export interface KernelExports {
  readonly memory: LinearMemory;
  allocate(bytes: number, zeroed: number): number;
  release(address: number, bytes: number): void;
  batch_norm(record: number): number;
  abi_version(): number;
}

/** `crate/boundary`'s `ABI_VERSION`. */
enum Abi {
  VERSION = 1,
}

/** `crate/boundary`'s `Status`. */
enum Status {
  OK = 0,
  OUT_OF_MEMORY = 1,
  NEGATIVE_VARIANCE = 4,
}

/** Words of a record; `crate/boundary` has all places. */
enum Words {
  /** Before its tensors. */
  HEADER = 17,
  /** Of a tensor beside its strides. */
  TENSOR = 2,
  TENSORS = 3,
}

const RECORD_WORDS = Words.HEADER + Limit.RANK + Words.TENSORS * (Words.TENSOR + Limit.RANK);

/** Bytes and tensors of one kernel. */
export interface MemoryUsage {
  /** Tensor memory in use, in bytes. */
  readonly liveBytes: number;
  /** Pieces of tensor memory in use; views share one. */
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

/** Something that a scope disposes when it ends. */
export interface Tracked {
  dispose(): void;
}

/** The inside of a {@link Kernel}: its instance, its memory and what is alive there. */
export class Port {
  declare readonly memory: LinearMemory;
  /** What is handed to users. */
  declare readonly kernel: Kernel;
  /** What the innermost open scope will dispose. */
  scope: Set<Tracked> | null = null;
  /** If somebody wants to know. */
  tracer: Tracer | null = null;

  // Functions, not their names: the object that has them is slow to look into.
  readonly #allocate: KernelExports["allocate"];
  readonly #release: KernelExports["release"];
  readonly #batchNorm: KernelExports["batch_norm"];
  readonly #record: number;
  #words = new Uint32Array(0);
  #numbers = new Float64Array(0);
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

  constructor(exports: KernelExports, kernel: Kernel) {
    const version = exports.abi_version?.() ?? 0;
    if (version !== Abi.VERSION) {
      fail(
        "kernel",
        "createKernel: not this package's kernel, or not of the same version of the package: " +
          `ABI ${version}, not ${Abi.VERSION}`,
      );
    }
    this.#allocate = exports.allocate;
    this.#release = exports.release;
    this.#batchNorm = exports.batch_norm;
    this.kernel = kernel;
    this.memory = exports.memory;
    // Nobody's tensor, and never given back.
    this.#record = this.#allocated(RECORD_WORDS * 4, true);
  }

  /**
   * Takes `bytes` of memory.
   *
   * @returns its address, a multiple of 64
   * @throws BatchNormError `out-of-memory`, which names the live bytes
   */
  take(bytes: number, zeroed: boolean): number {
    const address = this.#allocated(bytes, zeroed);
    this.#liveBytes += bytes;
    this.#liveStorages += 1;
    this.tracer?.took(address, bytes);
    return address;
  }

  #allocated(bytes: number, zeroed: boolean): number {
    this.#checkUsable();
    let address = 0;
    try {
      // >>> 0: addresses above 2 GiB come back negative.
      if (bytes <= Limit.BYTES) address = this.#allocate(bytes, zeroed ? 1 : 0) >>> 0;
    } catch (trap) {
      this.#trapped(trap);
    }
    if (address === 0) this.#failForMemory(`${bytes} more bytes`);
    return address;
  }

  /** Gives memory back; `bytes` as it was taken. */
  free(address: number, bytes: number): void {
    this.#liveBytes -= bytes;
    this.#liveStorages -= 1;
    this.tracer?.freed(address);
    try {
      // What is broken has no memory to give back to, and `dispose` never throws.
      if (this.#trap === undefined) this.#release(address, bytes);
    } catch (trap) {
      this.#trap = trap;
    }
  }

  /** Hands something to the innermost open scope, if there is one. */
  track(made: Tracked): void {
    this.scope?.add(made);
  }

  /**
   * Runs a call that was checked; throws where it did not end well, and nothing was written
   * then. The record is written whole: nothing that an earlier call left can be reached.
   */
  run(call: Call): void {
    const { operands } = call;
    const { shape } = operands[Place.X] as View;
    const rank = shape.length;
    // A detached view has length 0; asking for its buffer would cost more than the rest.
    if (this.#words.length === 0) {
      const { buffer } = this.memory;
      this.#numbers = new Float64Array(buffer, this.#record, 3);
      this.#words = new Uint32Array(buffer, this.#record, RECORD_WORDS);
    }
    const words = this.#words;
    const numbers = this.#numbers;
    numbers[0] = call.eps;
    numbers[1] = call.momentum;
    numbers[2] = call.correction;
    let at = 6;
    words[at++] = call.operation;
    words[at++] = call.axis;
    words[at++] = rank;
    for (let i = Place.WEIGHT; i <= Place.SECOND; i++) words[at++] = operands[i]?.address ?? 0;
    words[at++] = call.saved;
    words[at++] = call.constant ? 1 : 0;
    for (let i = 0; i < rank; i++) words[at++] = shape[i] as number;
    // Those that there are, then zeros.
    const end = at + Words.TENSORS * (Words.TENSOR + rank);
    for (let i = Place.X; i <= Place.OUT; i++) {
      const view = operands[i];
      if (!view) continue;
      words[at++] = view.address;
      words[at++] = view.extent;
      for (let axis = 0; axis < rank; axis++) words[at++] = view.strides[axis] as number;
    }
    while (at < end) words[at++] = 0;
    let status = Status.OK;
    this.#checkUsable();
    try {
      status = this.#batchNorm(this.#record);
    } catch (trap) {
      this.#trapped(trap);
    }
    if (status === Status.OK) return;
    if (status === Status.OUT_OF_MEMORY) this.#failForMemory("the workspace");
    if (status === Status.NEGATIVE_VARIANCE) {
      fail("invalid-option", `${call.owner}: variance must not be negative`);
    }
    fail("kernel", `the kernel refused a call, please report this bug: ${status}`);
  }

  memoryUsage(): MemoryUsage {
    return {
      liveBytes: this.#liveBytes,
      liveStorages: this.#liveStorages,
      memoryBytes: this.memory.buffer.byteLength,
      traced: this.tracer?.sums() ?? null,
    };
  }

  /** A trap is the typed error of this call, and of all later ones. */
  #trapped(trap: unknown): never {
    this.#trap = trap ?? "nothing";
    return this.#checkUsable() as never;
  }

  #checkUsable(): void {
    if (this.#trap === undefined) return;
    fail("kernel", `the kernel trapped and is unusable, please report this bug: ${this.#trap}`, {
      cause: this.#trap,
    });
  }

  #failForMemory(what: string): never {
    fail(
      "out-of-memory",
      `no room for ${what}: ${this.#liveBytes} bytes in ${this.#liveStorages} tensors live in ` +
        `${this.memory.buffer.byteLength} (at most 2 GiB a tensor, 4 GiB in all); dispose some, ` +
        "use scope(), find them by traceMemory()",
    );
  }
}
