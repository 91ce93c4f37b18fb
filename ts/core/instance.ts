/**
 * WebAssembly modules and their instances; nothing here knows what they compute.
 *
 * Modules here import nothing, so the glue that wasm-bindgen makes has nothing to say but
 * "there is one instance": without it there can be many.
 */
import { COUNT, isCount } from "./checks.js";
import { fail, mustBe } from "./errors.js";
import { Page, withMemorySection } from "./memory-section.js";
import { readOptions } from "./options.js";
import { show } from "./show.js";
import type { MemoryBuffer } from "./values.js";

/**
 * A `WebAssembly.Module`, or the bytes of one: an `ArrayBuffer` or a view of it. Not by these
 * names, since programs without the DOM library are to compile, too.
 */
export type KernelModule = object;

/** Of a `WebAssembly.Memory`, what is used. */
export interface LinearMemory {
  readonly buffer: MemoryBuffer;
  grow(pages: number): number;
}

/** How much memory a kernel starts with. */
export interface MemoryOptions {
  /**
   * Bytes that the memory has at least from the start. Less than the kernel has by itself
   * changes nothing: its own data lie there.
   */
  initialBytes?: number | null | undefined;
}

/**
 * `initialBytes` of options, 0 where it is absent.
 *
 * @throws BatchNormError `invalid-option`, `unknown-option`
 */
export function initialBytesOf(owner: string, options: MemoryOptions | null | undefined): number {
  const given = readOptions(owner, options, ["initialBytes"]);
  const initialBytes = given.initialBytes ?? 0;
  if (isCount(initialBytes) && initialBytes <= Page.MOST * Page.BYTES) return initialBytes;
  mustBe("invalid-option", `${owner}: initialBytes`, `${COUNT} to 4 GiB less 64 KiB`, initialBytes);
}

/**
 * The exports of a new instance.
 *
 * @param imports of a kernel whose memory is not its own
 * @throws BatchNormError `no-simd`, `out-of-memory`, `kernel`
 */
export function instantiate(source: KernelModule, imports: object = {}): object {
  try {
    const module = isModule(source) ? source : new WebAssembly.Module(source as BufferSource);
    return new WebAssembly.Instance(module, imports as never).exports;
  } catch (cause) {
    refuse(cause);
  }
}

/**
 * {@link instantiate}, compiling in the background: on a page's main thread, Chrome before 115
 * takes no more than 4 KB otherwise.
 *
 * @throws BatchNormError `no-simd`, `out-of-memory`, `kernel`
 */
export async function instantiateAsync(source: KernelModule): Promise<object> {
  try {
    // Of bytes, the engine gives the module, too.
    const made: { instance?: WebAssembly.Instance; exports?: object } =
      await WebAssembly.instantiate(source as BufferSource);
    return (made.instance ?? made).exports as object;
  } catch (cause) {
    refuse(cause);
  }
}

/**
 * Bytes of a module whose memory section asks for `initialBytes` at least: memory that is
 * there from the start detaches nothing. What is no bytes, or has no such section, stays as
 * it is, for the compiler to judge, or {@link grown}.
 *
 * @throws BatchNormError `kernel` where bytes can't be read: a detached buffer's
 */
export function withMemory(source: KernelModule, initialBytes: number): KernelModule {
  try {
    return initialBytes === 0 ? source : withMemorySection(source, initialBytes);
  } catch (cause) {
    refuse(cause);
  }
}

/**
 * Exports whose memory has `initialBytes`: of a module that was compiled already, it grows. It
 * has to before the first allocation, to be the heap's own.
 *
 * @throws BatchNormError `out-of-memory`
 */
export function grown(exports: object, initialBytes: number): object {
  const { memory } = exports as { memory?: LinearMemory };
  const missing = initialBytes - (memory?.buffer.byteLength ?? initialBytes);
  try {
    if (missing > 0) memory?.grow(Math.ceil(missing / Page.BYTES));
    return exports;
  } catch (cause) {
    fail("out-of-memory", `no room for initialBytes: ${initialBytes}`, { cause });
  }
}

/** By tag, not instanceof: a module of another realm (an iframe, a vm) is as good. */
function isModule(source: KernelModule): source is WebAssembly.Module {
  return show(source) === "WebAssembly.Module";
}

/** Throws for what the engine threw. */
function refuse(cause: unknown): never {
  // A browser that is locked down has no WebAssembly at all.
  if (typeof WebAssembly === "undefined" || !WebAssembly.validate(SIMD_PROBE)) {
    fail(
      "no-simd",
      "WebAssembly SIMD needs Node 18, Chrome 91, Firefox 90 or Safari 16.4, and SSE4.1",
    );
  }
  fail(
    // As engines say it, who have no type for it: "RangeError: … Out of memory …".
    /out of memory/i.test(`${cause}`) ? "out-of-memory" : "kernel",
    `createKernel: not a WebAssembly module, not this package's kernel, or no room for it: ${cause}`,
    { cause },
  );
}

/** `(module (type (func (param v128))))`: valid only with SIMD. */
const SIMD_PROBE = /* @__PURE__ */ Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0],
  ...[1, 5, 1, 96, 1, 123, 0],
);
