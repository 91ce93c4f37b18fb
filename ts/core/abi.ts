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

/** Words of a record, of four bytes. */
export enum Words {
  /** That the numbers before all others take: float64, two words each. */
  NUMBERS = 6,
  /** Before its sizes and tensors. */
  HEADER = 17,
  TENSORS = 3,
  /** Of a tensor, beside its strides. */
  TENSOR = 2,
}
