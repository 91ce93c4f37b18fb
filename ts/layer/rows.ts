/**
 * Calls of the kernel over rows. It takes rows along one axis, or along the last ones where their
 * elements lie end to end; what lies otherwise goes through copies.
 */
import { Allocation } from "../core/allocation.js";
import { forEachPlace, sizeOf } from "../core/geometry.js";
import { type Call, newCall, Place, type Rows } from "../core/operands.js";
import { FORWARD_NAMES } from "../core/passes.js";
import { View } from "../core/view.js";
import { Contents, type Operation } from "../generated/abi.js";

/** A forward pass over some axes, counted from 0 and in order. */
export function rowCall(
  operation: Operation,
  owner: string,
  x: View,
  axes: readonly number[],
): Call<View> {
  const call = newCall(FORWARD_NAMES, operation, owner, x, axes[0] as number);
  const shape = sizesAlong(x.shape, axes);
  call.rows = { axes, shape };
  call.channels = sizeOf(shape);
  call.sets = sizeOf(x.shape.filter((_, axis) => !axes.includes(axis)));
  call.through = ROWS;
  return call;
}

/** The sizes of a shape along some axes. */
export function sizesAlong(shape: readonly number[], axes: readonly number[]): number[] {
  return axes.map((axis) => shape[axis] as number);
}

const ROWS = { run: runRows };

/** Runs a call that was checked. */
function runRows(call: Call<View>): void {
  const { operands, sets, channels } = call;
  const { axes } = call.rows as Rows;
  const x = operands[Place.X] as View;
  const { port } = x.allocation;
  const tensors = [Place.X, Place.DY, Place.OUT].map((place) => operands[place] as View | null);
  if (tensors.every((tensor) => tensor === null || liesInRows(tensor, axes))) {
    port.record.run(call);
    return;
  }
  if (axes.length === 1) {
    port.record.run({ ...call, rows: null });
    return;
  }
  const others = x.shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
  const order = [...others, ...axes];
  const sizes = sizesAlong(x.shape, order);
  const copies: View[] = [];
  try {
    // Views of memory are made when all is allocated: that may grow it.
    const packed = tensors.map((tensor) => {
      if (tensor === null) return null;
      const bytes = x.size * 4;
      const copy = new View(new Allocation(port, bytes, Contents.Arbitrary), [sets, channels]);
      copies.push(copy);
      return copy;
    });
    const places = (tensor: View, visit: (place: number, element: number) => void) =>
      forEachPlace(sizes, sizesAlong(tensor.strides, order), 0, x.size, visit);
    tensors.forEach((tensor, place) => {
      if (tensor === null || place === Place.OUT) return;
      const [from, to] = [tensor.elements, (packed[place] as View).elements];
      places(tensor, (at, element) => {
        to[element] = from[at] as number;
      });
    });
    port.record.run({
      ...call,
      axis: 1,
      rows: null,
      operands: [...packed, ...operands.slice(Place.WEIGHT)],
    });
    const out = tensors[Place.OUT] as View;
    const [from, to] = [(packed[Place.OUT] as View).elements, out.elements];
    places(out, (at, element) => {
      to[at] = from[element] as number;
    });
  } finally {
    for (const copy of copies) copy.dispose();
  }
}

/** Whether the axes are the last ones, and the elements along them lie end to end. */
function liesInRows({ shape, strides }: View, axes: readonly number[]): boolean {
  let stride = 1;
  for (let axis = shape.length - 1; axis >= shape.length - axes.length; axis--) {
    if (!axes.includes(axis)) return false;
    const size = shape[axis] as number;
    if (size !== 1 && strides[axis] !== stride) return false;
    stride *= size;
  }
  return true;
}
