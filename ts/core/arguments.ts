/** What operations take, read once: tensors, data outside of kernel memory, numbers. */

import { type KernelOption, portIn } from "./default-kernel.js";
import { fail } from "./errors.js";
import type { Port } from "./kernel.js";
import { failForKernel } from "./operands.js";
import { isPlain, type PlainResult, type Read, readPlain } from "./plain.js";
import { copyIn, failForTensor, type Tensor, tensorOf, viewOf } from "./tensor.js";
import { lengthOf } from "./typed-arrays.js";
import { type Float32Values, floats, outside, readValues, type TensorData } from "./values.js";
import { copyOut, type View } from "./view.js";

/** One value for each channel. */
export type Vector = Tensor | TensorData;

/**
 * A tensor's view, or what was read of `{ data, shape }`: of all arguments of a call, before
 * {@link bringIn} copies the first.
 *
 * @throws BatchNormError `dtype`, `foreign-kernel`, `invalid-shape`, `shape-overflow`
 */
export function readTensor(value: unknown, port: Port, owner: string, name: string): View | Read {
  const view = viewOf(value);
  if (view) {
    if (view.allocation.port !== port) failForKernel(owner, name);
    return view;
  }
  const label = `${owner}: ${name}`;
  if (!isPlain(value)) failForTensor(label, "a Tensor or { data, shape }", value);
  const { values, shape } = readPlain(value, label);
  return { values: outside(port.memory.linear.buffer, values), shape, label };
}

/**
 * One value a channel: a tensor's view, or what was read of data; `null` where there is none.
 *
 * @throws BatchNormError `dtype`
 */
export function readVector(
  value: Vector | null | undefined,
  port: Port,
  owner: string,
  name: string,
): View | Read | null {
  if (value == null) return null;
  const view = viewOf(value);
  if (view) return view;
  const label = `${owner}: ${name}`;
  const values = outside(port.memory.linear.buffer, readValues(value, label));
  return { values, shape: [lengthOf(values)], label };
}

/**
 * A view as it is, or a copy in kernel memory that belongs to the caller and no scope.
 *
 * @throws BatchNormError `invalid-shape`, `out-of-memory`
 */
export function bringIn(read: View | Read, port: Port): View {
  return "values" in read ? copyIn(read.values, read.shape, port, read.label) : read;
}

/**
 * An output of a call, `null` where there is none, or it is to be made.
 *
 * @param read the input: where it is data outside of kernel memory, the result is, too
 * @throws BatchNormError `dtype`, `invalid-option`
 */
export function readOut(out: unknown, read: View | Read, owner: string, name = "out"): View | null {
  if (out == null) return null;
  const view =
    viewOf(out) ?? failForTensor(`${owner}: ${name}`, "a Tensor, as Tensor.zeros makes", out);
  if ("values" in read) {
    fail("invalid-option", `${owner}: ${name} needs a Tensor as x, not { data, shape }`);
  }
  return view;
}

/**
 * Room for a result that leaves kernel memory, as the input has come from outside. JavaScript may
 * have none: that is to be known before anything is written. (Small results are sliced
 * afterwards, in half the time.)
 *
 * @param view the input, of the result's shape; not what was read where it is a copy
 *
 * @throws BatchNormError `out-of-memory`
 */
export function roomFor(view: View, read: View | Read, owner: string): Float32Values | null {
  return view === read || view.size < 2 ** 18 ? null : floats(view.size, owner);
}

/**
 * A result as users get it: its tensor, or where the input has come from outside what was copied
 * out, to `room` if there is some.
 */
export function takeOut(
  result: View,
  read: View | Read,
  room: Float32Values | null,
): Tensor | PlainResult {
  if (!("values" in read)) return tensorOf(result);
  room?.set(result.elements);
  const plain = { data: room ?? copyOut(result), shape: [...result.shape] };
  result.dispose();
  return plain;
}

/** The kernel of a call: that which was given, else x's, else the default one. */
export function portOfCall(x: unknown, { kernel }: KernelOption, owner: string): Port {
  return (kernel == null && viewOf(x)?.allocation.port) || portIn(kernel, owner);
}
