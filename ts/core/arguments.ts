/** What operations take, read once: tensors, data outside of kernel memory, numbers. */
import { COUNT, fail, isInherited, mustBe, show, showShape } from "./errors.js";
import {
  columnMajorStrides,
  forEachPlace,
  isCount,
  readNumbers,
  readShape,
  rowMajorStrides,
  sizeOf,
} from "./geometry.js";
import { failForKernel } from "./operands.js";
import type { Port } from "./port.js";
import { copyIn, copyOut, failForTensor, type Tensor, viewOf } from "./tensor.js";
import { lengthOf } from "./typed-arrays.js";
import {
  type Float32Values,
  floats,
  type NumberArray,
  outside,
  readValues,
  type TensorData,
} from "./values.js";
import type { View } from "./view.js";

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

/** One value for each channel. */
export type Vector = Tensor | TensorData;

/** @throws BatchNormError `invalid-option` unless `eps` is finite and not negative */
export function checkEps(eps: unknown, owner: string): asserts eps is number {
  if (!(Number.isFinite(eps) && (eps as number) >= 0)) {
    mustBe("invalid-option", `${owner}: eps`, "a finite number from 0 on", eps);
  }
}

/** @throws BatchNormError `invalid-option` unless `momentum` is from 0 to 1 */
export function checkMomentum(momentum: unknown, owner: string): asserts momentum is number {
  if (!(typeof momentum === "number" && momentum >= 0 && momentum <= 1)) {
    mustBe("invalid-option", `${owner}: momentum`, "from 0 to 1", momentum);
  }
}

/** @throws BatchNormError `invalid-option` unless `value` is one of `known`, or a boolean */
export function checkOneOf(
  value: unknown,
  owner: string,
  name: string,
  known: readonly unknown[] = [true, false],
): void {
  if (!known.includes(value)) {
    mustBe("invalid-option", `${owner}: ${name}`, `one of ${known.map(show).join(", ")}`, value);
  }
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
  readonly owner: string;
}

/**
 * The elements in row-major order, and the shape.
 *
 * @throws BatchNormError `dtype`, `invalid-shape`, `shape-overflow`, `invalid-option`
 */
export function readPlain(
  value: PlainTensor,
  owner: string,
  kinds?: readonly string[] | null,
): Omit<Read, "owner"> {
  const { data } = value;
  // Each is read once, and not where somebody has put such a name on `Object.prototype`.
  const [ours, stride, offset = 0, fortranOrder = false] = LAYOUT.map((name) =>
    isInherited(name) && !Object.keys(value).includes(name)
      ? undefined
      : (value[name] ?? undefined),
  ) as [number[]?, number[]?, number?, boolean?];
  const strides = ours ?? stride;
  const shape = readShape(value.shape, owner);
  const values = readValues(data, owner, kinds);
  checkOneOf(fortranOrder, owner, "fortranOrder");
  if (!isCount(offset)) mustBe("invalid-shape", `${owner}: offset`, COUNT, offset);
  if (strides === undefined && !offset && !fortranOrder) return { values, shape };
  const order = fortranOrder ? columnMajorStrides : rowMajorStrides;
  const steps = strides === undefined ? order(shape) : readNumbers(strides, `${owner}: strides`);
  const refuse = () =>
    fail("invalid-shape", `${owner}: strides ${showShape(steps)} leave the data`);
  if (steps.length !== shape.length || !steps.every(Number.isSafeInteger)) refuse();
  const copy = floats(sizeOf(shape), owner);
  forEachPlace(shape, steps, 0, copy.length, (place, element) => {
    copy[element] = values[place + offset] ?? refuse();
  });
  return { values: copy, shape };
}

const LAYOUT = ["strides", "stride", "offset", "fortranOrder"] as const;

/**
 * A tensor's view, or what was read of `{ data, shape }`: of all arguments of a call, before
 * {@link bringIn} copies the first.
 *
 * @throws BatchNormError `dtype`, `foreign-kernel`, `invalid-shape`, `shape-overflow`
 */
export function readTensor(value: unknown, port: Port, caller: string, name: string): View | Read {
  const view = viewOf(value);
  if (view) {
    if (view.allocation.port !== port) failForKernel(caller, name);
    return view;
  }
  const owner = `${caller}: ${name}`;
  if (!isPlain(value)) failForTensor(owner, "a Tensor or { data, shape }", value);
  const { values, shape } = readPlain(value, owner);
  return { values: outside(port.memory.buffer, values), shape, owner };
}

/**
 * One value a channel: a tensor's view, or what was read of data; `null` where there is none.
 *
 * @throws BatchNormError `dtype`
 */
export function readVector(
  value: Vector | null | undefined,
  port: Port,
  caller: string,
  name: string,
): View | Read | null {
  if (value == null) return null;
  const view = viewOf(value);
  if (view) return view;
  const owner = `${caller}: ${name}`;
  const values = outside(port.memory.buffer, readValues(value, owner));
  return { values, shape: [lengthOf(values)], owner };
}

/**
 * A view as it is, or a copy in kernel memory that belongs to the caller and no scope.
 *
 * @throws BatchNormError `invalid-shape`, `out-of-memory`
 */
export function bringIn(read: View | Read, port: Port): View {
  return "values" in read ? copyIn(read.values, read.shape, port, read.owner) : read;
}

/**
 * The output of a call, `null` where it is to be made.
 *
 * @param plain whether the input is data outside of kernel memory: the result is, too
 * @throws BatchNormError `dtype`, `invalid-option`
 */
export function readOut(out: unknown, plain: boolean, owner: string): View | null {
  if (out == null) return null;
  const view =
    viewOf(out) ?? failForTensor(`${owner}: out`, "a Tensor, as Tensor.zeros makes", out);
  if (plain) {
    fail("invalid-option", `${owner}: out needs a Tensor as x, not { data, shape }`);
  }
  return view;
}

/**
 * Room for a result outside of kernel memory, where JavaScript may have none: then that is to be
 * known before anything is written. (Small results are sliced afterwards, in half the time.)
 *
 * @throws BatchNormError `out-of-memory`
 */
export function roomFor({ size }: View, owner: string): Float32Values | null {
  return size < 2 ** 18 ? null : floats(size, owner);
}

/** Copies a tensor out, to `room` if there is some, and disposes it. */
export function takeOut(view: View, room: Float32Values | null): PlainResult {
  room?.set(view.elements);
  const result = { data: room ?? copyOut(view), shape: [...view.shape] };
  view.dispose();
  return result;
}
