import { show } from "./show.js";

/** What went wrong, for programs; the message says it for people. */
export type BatchNormErrorCode =
  /** A size that is negative, fractional or not a number; a shape that the data don't fill. */
  | "invalid-shape"
  /** More elements than 32-bit WebAssembly can address. */
  | "shape-overflow"
  /** A tensor whose rank, channel count or shape is not the one that the operation needs. */
  | "shape-mismatch"
  /**
   * Data that are not float32 (nor `number[]` or bytes where those are taken), or detached; of a state
   * dict, values that float32 would have as zero or infinite.
   */
  | "dtype"
  /** An option or preset that does not exist. */
  | "unknown-option"
  /** An option whose value is out of its range. */
  | "invalid-option"
  /** Statistics of one value, where the convention forbids them. */
  | "batch-too-small"
  /** An output that shares some, but not exactly all, of its memory with another tensor of the call. */
  | "overlap"
  /** A combination of options that is not there. */
  | "unsupported"
  /** A layer whose framework has no default mode was not told whether it trains. */
  | "mode"
  /** A tensor or layer used after `dispose`. */
  | "disposed"
  /** Tensors of two kernels in one call. */
  | "foreign-kernel"
  /** `backward` after a tensor that it needs was overwritten, or before any `forward`. */
  | "stale"
  /** `.data` of a strided view. */
  | "not-contiguous"
  /** A state dict with missing, extra or wrong entries. */
  | "state-dict"
  /** A file that is not what its format says: cut off, contradicting itself, or another format's. */
  | "invalid-file"
  /** A layer that learns its feature count from its first input was used before. */
  | "not-built"
  /** The kernel's memory has no room left. */
  | "out-of-memory"
  /** `scope` over an asynchronous function. */
  | "async-scope"
  /** The runtime's WebAssembly has no 128-bit SIMD. */
  | "no-simd"
  /** The module is not this package's kernel, or the kernel broke: a bug. */
  | "kernel";

/**
 * Every error that this package throws. Nothing was written when it is thrown.
 *
 * @example
 * try {
 *   bn.forward(Tensor.zeros([2, 4]));   // throws shape-mismatch
 * } catch (error) {
 *   if (error instanceof BatchNormError) console.log(error.code, error.message);
 * }
 */
export class BatchNormError extends Error {
  override readonly name = "BatchNormError";
  /**
   * What went wrong, for programs.
   *
   * @example
   * try {
   *   bn.forward(Tensor.zeros([2, 4]));
   * } catch (error) {
   *   if (error instanceof BatchNormError) error.code;   // → "shape-mismatch"
   * }
   */
  declare readonly code: BatchNormErrorCode;
  declare readonly cause?: unknown;

  constructor(code: BatchNormErrorCode, message: string, options?: { cause?: unknown }) {
    super(message);
    this.code = code;
    // Not through `super`: Chrome 91 and Firefox 90 would drop it.
    if (options) this.cause = options.cause;
  }
}

/** Throws a {@link BatchNormError}; an expression, so that it can stand behind `??`. */
export function fail(
  code: BatchNormErrorCode,
  message: string,
  options?: { cause?: unknown },
): never {
  throw new BatchNormError(code, message, options);
}

/** Throws for a value that is not what it must be. */
export function mustBe(
  code: BatchNormErrorCode,
  name: string,
  wanted: string,
  value: unknown,
  remedy = "",
): never {
  fail(code, `${name} must be ${wanted}, got ${show(value)}${remedy}`);
}
