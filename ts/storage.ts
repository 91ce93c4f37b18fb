import { type Geometry, overlaps } from "./geometry.js";
import type { Kernel } from "./kernel.js";

/** Writes to parts of a storage that are remembered one by one. */
const MAX_REMEMBERED_WRITES = 64;

/**
 * Bytes in a kernel's memory, shared by the tensors that view them, with a count
 * of the writes that the library made to them.
 */
export class Storage {
  readonly kernel: Kernel;
  /** Address in the kernel's memory, a multiple of 64. */
  readonly address: number;
  readonly bytes: number;
  /** Rises with every write by the library, and when the memory is given back. */
  version = 0;

  #views = 0;
  /** Writes to parts since `#wholeVersion`, so that a write beside a view leaves it fresh. */
  #writes: { to: Geometry; version: number }[] = [];
  #wholeVersion = 0;

  constructor(kernel: Kernel, bytes: number, zeroed: boolean) {
    this.kernel = kernel;
    this.bytes = bytes;
    this.address = kernel.allocate(bytes, zeroed);
    kernel.releaseWhenForgotten(this, this.address, bytes);
  }

  /** A tensor views these bytes now. */
  retain(): void {
    this.#views += 1;
  }

  /** A tensor doesn't any more; the last one gives the memory back. */
  release(): void {
    this.#views -= 1;
    if (this.#views > 0) return;
    this.kernel.keep(this);
    this.kernel.release(this.address, this.bytes);
    this.version += 1;
    this.#wholeVersion = this.version;
  }

  /**
   * JavaScript has a view of these bytes that can outlive every tensor: from now
   * on they are given back by hand only. A leak is better than another tensor's bytes.
   */
  handOut(): void {
    this.kernel.keep(this);
  }

  /** The library has written to these elements. */
  wrote(to: Geometry): void {
    this.version += 1;
    const { version } = this;
    if (to.size * 4 !== this.bytes) {
      const again = this.#writes.find((write) => write.to === to);
      if (again) again.version = version;
      else this.#writes.push({ to, version });
      if (this.#writes.length <= MAX_REMEMBERED_WRITES) return;
    }
    this.#wholeVersion = version;
    if (this.#writes.length > 0) this.#writes = [];
  }

  /** Whether the library has written to one of these elements since `version`. */
  wroteSince(version: number, elements: Geometry): boolean {
    return (
      this.#wholeVersion > version ||
      this.#writes.some((write) => write.version > version && overlaps(write.to, elements))
    );
  }
}
