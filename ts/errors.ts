/** What went wrong, for programs; the message says it for people. */
export type BatchNormErrorCode =
  /** A size that is negative, fractional or not a number; a shape that the data don't fill. */
  | "invalid-shape"
  /** More elements than 32-bit WebAssembly can address. */
  | "shape-overflow"
  /** A tensor whose rank, channel count or shape is not the one that the operation needs. */
  | "shape-mismatch"
  /** Data that are not float32 (nor `number[]` or `Uint8Array` where those are taken), or detached. */
  | "dtype"
  /** An option or preset that does not exist. */
  | "unknown-option"
  /** An option whose value is out of its range. */
  | "invalid-option"
  /** One value per channel in training where the convention forbids it. */
  | "batch-too-small"
  /** An output that shares some, but not exactly all, of its memory with another tensor of the call. */
  | "overlap"
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

/** Every error that this package throws. Nothing was written when it is thrown. */
export class BatchNormError extends Error {
  override readonly name = "BatchNormError";
  readonly code: BatchNormErrorCode;

  constructor(code: BatchNormErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Throws a {@link BatchNormError}; an expression, so that it can stand behind `??`. */
export function fail(code: BatchNormErrorCode, message: string, options?: ErrorOptions): never {
  throw new BatchNormError(code, message, options);
}

/** A shape as people write it. */
export function showShape(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

/** A value as it can stand in a message. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (value === null || typeof value !== "object") return String(value);
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** Throws where `options` is no object or has a name that is not among `known`. */
export function checkNames(owner: string, options: object, known: readonly string[]): void {
  if (options === null || typeof options !== "object") {
    fail("invalid-option", `${owner}: options must be an object, got ${show(options)}`);
  }
  for (const name in options) {
    if (!known.includes(name)) fail("unknown-option", unknownName(owner, "option", name, known));
  }
}

/** The message for a name that is not among `known`, with the nearest that is. */
export function unknownName(
  owner: string,
  kind: string,
  name: string,
  known: readonly string[],
): string {
  // That has most of its pairs of letters in common.
  const lower = name.toLowerCase();
  const likeness = (one: string) =>
    [...lower].filter((_, i) => one.toLowerCase().includes(lower.slice(i, i + 2))).length;
  const nearest = [...known].sort((a, b) => likeness(b) - likeness(a))[0] ?? "";
  return `${owner}: unknown ${kind} "${name}"; did you mean "${nearest}"? There are: ${known.join(", ")}`;
}
