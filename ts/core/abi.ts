/**
 * The numbers that the kernel and its callers agree on, as `crate/boundary` has them. (The
 * build writes enums as numbers: small and fast.)
 */

export enum Abi {
  /** `ABI_VERSION`: raised with every change of what is here, or of the exports. */
  VERSION = 1,
  /** `MAX_RANK`: axes of a tensor at most, as in PyTorch and NumPy. A record has room for them. */
  RANK = 64,
}

/** What a call does: `Operation`. */
export enum Operation {
  FORWARD,
  STATISTICS,
  BACKWARD,
  UPDATE,
}

/** How a call ended: `Status`. */
export enum Status {
  OK,
  OUT_OF_MEMORY,
  BAD_RECORD,
  BAD_ADDRESS,
  NEGATIVE_VARIANCE,
}

/** Numbers before a record's words, of eight bytes. */
export enum RecordNumber {
  EPS,
  MOMENTUM,
  CORRECTION,
  COUNT,
}

/** A record's words, of four bytes: the numbers take the first six. */
export enum RecordWord {
  OPERATION = 6,
  AXIS,
  RANK,
  /** Of the vectors, each an address: γ, β, mean, variance, and the two that are written. */
  VECTORS,
  SAVED = 15,
  CONSTANT,
  /** From here on sizes, and then the tensors: address, extent and strides of each. */
  SIZES,
}

/** Tensors of a record. */
export enum RecordTensor {
  COUNT = 3,
  /** Words of one, beside its strides. */
  WORDS = 2,
}
