import { type Geometry, overlaps } from "./geometry.js";
import type { Kernel } from "./kernel.js";

/** Different parts of a storage whose writes are remembered one by one. */
const MAX_REMEMBERED_PARTS = 4096;

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
  /** The last write that may have touched any element. */
  #wholeVersion = 0;
  /** The last write to each part since, so that one beside a view leaves it fresh. */
  readonly #parts = new Map<string, { to: Geometry; version: number }>();

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
    if (to.size * 4 !== this.bytes && this.#parts.size < MAX_REMEMBERED_PARTS) {
      this.#parts.set(`${to.offset}:${to.shape}:${to.strides}`, { to, version });
      return;
    }
    this.#wholeVersion = version;
    // Clearing a map allocates, even an empty one.
    if (this.#parts.size > 0) this.#parts.clear();
  }

  /** Whether the library has written to one of these elements since `version`. */
  wroteSince(version: number, elements: Geometry): boolean {
    if (this.#wholeVersion > version) return true;
    for (const part of this.#parts.values()) {
      if (part.version > version && overlaps(part.to, elements)) return true;
    }
    return false;
  }
}
