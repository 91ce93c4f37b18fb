import type { Contents } from "../generated/abi.js";
import { type Geometry, overlaps } from "./geometry.js";
import type { Kernel, Port } from "./kernel.js";

/** Limits of what is remembered of writes. */
enum Limit {
  /** Different parts of an allocation, one by one. */
  PARTS = 4096,
}

/** What a user sees of the bytes that a tensor and its views share. */
export interface Storage {
  readonly kernel: Kernel;
  /** Address in the kernel's memory, a multiple of 64. */
  readonly address: number;
  readonly bytes: number;
  /** Rises with every write by the library, and when the memory is given back. */
  readonly version: number;
}

/**
 * Bytes in a kernel's memory, shared by the tensors that view them, with a count
 * of the writes that the library made to them.
 */
export class Allocation {
  declare readonly port: Port;
  /** Address in the kernel's memory, a multiple of 64. */
  declare readonly address: number;
  declare readonly bytes: number;
  /** Rises with every write by the library, and when the memory is given back. */
  version = 0;

  #views = 0;
  #storage: Storage | undefined;
  /** The last write that may have touched any element. */
  wholeVersion = 0;
  /** The last write to each part since, so that one beside a view leaves it fresh. */
  readonly parts = new Map<string, { to: Geometry; version: number }>();

  constructor(port: Port, bytes: number, contents: Contents) {
    this.port = port;
    this.bytes = bytes;
    this.address = port.memory.take(bytes, contents);
    port.memory.forgotten?.register(this, [this.address, bytes], this);
  }

  /** The same object for all tensors that share these bytes. */
  get storage(): Storage {
    const version = () => this.version;
    this.#storage ??= Object.freeze({
      kernel: this.port.kernel,
      address: this.address,
      bytes: this.bytes,
      get version() {
        return version();
      },
    });
    return this.#storage;
  }

  /** Somebody holds these bytes now. */
  retain(): void {
    this.#views++;
  }

  /** Somebody doesn't any more; the last one gives the memory back. */
  release(): void {
    if (--this.#views > 0) return;
    this.handOut();
    this.port.memory.free(this.address, this.bytes);
    this.wholeVersion = ++this.version;
  }

  /**
   * JavaScript has a view of these bytes that can outlive every tensor: from now
   * on they are given back by hand only. A leak is better than another tensor's bytes.
   */
  handOut(): void {
    this.port.memory.forgotten?.unregister(this);
  }

  /** The library has written to these elements. */
  wrote(to: Geometry): void {
    const version = ++this.version;
    if (to.size * 4 !== this.bytes && this.parts.size < Limit.PARTS) {
      this.parts.set(`${to.offset}:${to.shape}:${to.strides}`, { to, version });
    } else {
      this.wholeVersion = version;
      // Clearing a map allocates, even an empty one.
      if (this.parts.size > 0) this.parts.clear();
    }
  }
}

/**
 * Whether the library has written to one of these elements since `version`. (No method: a
 * program without saved values carries none of it.)
 */
export function wroteSince(
  { wholeVersion, parts }: Allocation,
  version: number,
  elements: Geometry,
): boolean {
  if (wholeVersion > version) return true;
  for (const part of parts.values()) {
    if (part.version > version && overlaps(part.to, elements)) return true;
  }
  return false;
}
