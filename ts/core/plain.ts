/** Data outside of kernel memory, as objects that have a shape: `{ data, shape }`. */
import { COUNT, checkOneOf, isCount } from "./checks.js";
import { fail, mustBe } from "./errors.js";
import {
  columnMajorStrides,
  forEachPlace,
  readNumbers,
  readShape,
  rowMajorStrides,
  sizeOf,
} from "./geometry.js";
import { readField } from "./options.js";
import { showShape } from "./show.js";
import { typedArrayName } from "./typed-arrays.js";
import {
  type Float32Values,
  floats,
  type NumberArray,
  readValues,
  type TensorData,
} from "./values.js";

/**
 * Data outside of kernel memory: copied in, and results of the same kind copied out. In
 * row-major order, unless it says otherwise as ndarray and npyjs do.
 */
export interface PlainTensor {
  readonly data: TensorData;
  readonly shape: readonly number[];
  /** Elements from one index to the next, per axis; may be negative. */
  readonly strides?: readonly number[] | null | undefined;
  /** {@link PlainTensor.strides}, by ndarray's name. */
  readonly stride?: readonly number[] | null | undefined;
  /** The first element's place in the data. */
  readonly offset?: number | null | undefined;
  /** Whether the first axis is innermost. */
  readonly fortranOrder?: boolean | null | undefined;
  /** Told apart from a {@link Tensor} by having none. */
  readonly storage?: never;
}

/** What {@link PlainTensor}s come out as, in row-major order. */
export interface PlainResult {
  readonly data: Float32Values;
  readonly shape: number[];
}

/** Whether a value is a {@link PlainTensor}, as far as can be seen without its contents. */
export function isPlain(value: unknown): value is PlainTensor {
  return (
    typeof value === "object" &&
    value !== null &&
    "data" in value &&
    "shape" in value &&
    // What has one is a Tensor, perhaps another copy of the package's.
    !("storage" in value)
  );
}

/** What was read of data outside of kernel memory. */
export interface Read {
  /** In row-major order; not in kernel memory, of which copying in may detach views. */
  readonly values: NumberArray;
  readonly shape: readonly number[];
  /** The call's name and the argument's, for messages. */
  readonly label: string;
}

/**
 * The elements in row-major order, and the shape.
 *
 * @param read gives what `data` holds
 * @throws BatchNormError `dtype`, `invalid-shape`, `shape-overflow`, `invalid-option`
 */
export function readPlain(
  value: PlainTensor,
  owner: string,
  kinds?: readonly string[] | null,
  read: (
    data: unknown,
    owner: string,
    kinds?: readonly string[] | null,
  ) => NumberArray = readValues,
): Omit<Read, "label"> {
  const { data } = value;
  // Each is read once.
  const [ours, stride, offset = 0, fortranOrder = false] = LAYOUT.map(
    (name) => readField(value, name) ?? undefined,
  ) as [number[]?, number[]?, number?, boolean?];
  const strides = ours ?? stride;
  const shape = readShape(value.shape, owner);
  const values = read(data, owner, kinds);
  checkOneOf(fortranOrder, owner, "fortranOrder");
  if (!isCount(offset)) mustBe("invalid-shape", `${owner}: offset`, COUNT, offset);
  if (strides === undefined && !offset && !fortranOrder) return { values, shape };
  const order = fortranOrder ? columnMajorStrides : rowMajorStrides;
  const steps = strides === undefined ? order(shape) : readNumbers(strides, `${owner}: strides`);
  const refuse = () =>
    fail("invalid-shape", `${owner}: strides ${showShape(steps)} leave the data`);
  if (steps.length !== shape.length || !steps.every(Number.isSafeInteger)) refuse();
  const copy = floats(sizeOf(shape), owner, typedArrayName(values));
  forEachPlace(shape, steps, 0, copy.length, (place, element) => {
    copy[element] = values[place + offset] ?? refuse();
  });
  return { values: copy, shape };
}

/** What plain data can say of how they lie, other than in row-major order. */
export const LAYOUT = ["strides", "stride", "offset", "fortranOrder"] as const;
