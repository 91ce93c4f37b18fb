import type { Allocation } from "./allocation.js";
import { isCount } from "./checks.js";
import { fail } from "./errors.js";
import { forEachPlace, rowMajorStrides } from "./geometry.js";
import type { Tracked } from "./kernel.js";
import type { Operand } from "./operands.js";
import { showShape } from "./show.js";
import { type Float32Values, type Float32View, floats } from "./values.js";

/**
 * The inside of a tensor: which elements of an allocation it is. Nobody else has it, so
 * that nobody can change what was checked.
 */
export class View implements Operand {
  declare readonly allocation: Allocation;
  /** What users have of it: its tensor. */
  declare handle: Tracked;
  declare readonly shape: readonly number[];
  declare readonly strides: readonly number[];
  declare readonly offset: number;
  /** Of the first element, in bytes. */
  declare readonly address: number;
  declare readonly size: number;
  declare readonly extent: number;
  /** Whether the elements lie end to end, last axis innermost. */
  declare readonly contiguous: boolean;
  /** Of a parameter: where its gradient is. */
  grad: View | null = null;
  /** Whether it is a parameter's gradient: then no scope frees it. */
  isGrad = false;
  disposed = false;

  /**
   * @param shape checked by `readShape`
   * @throws BatchNormError `invalid-shape` where elements lie outside of the allocation, or
   *   in each other's place
   */
  constructor(
    allocation: Allocation,
    shape: readonly number[],
    strides: readonly number[] = rowMajorStrides(shape),
    offset = 0,
  ) {
    // Any zero makes it nothing, however the other sizes overflow.
    const empty = shape.includes(0);
    let size = empty ? 0 : 1;
    let extent = size;
    let contiguous = true;
    let fits = isCount(offset);
    for (let axis = empty ? -1 : shape.length - 1; axis >= 0; axis--) {
      const length = shape[axis] as number;
      const stride = strides[axis] as number;
      // The inner axes never reach a stride of an outer one: no element comes twice.
      fits &&= isCount(stride) && stride >= extent;
      contiguous &&= length === 1 || stride === size;
      extent += (length - 1) * stride;
      size *= length;
    }
    if (!(fits && (offset + extent) * 4 <= allocation.bytes)) {
      fail("invalid-shape", `${showShape(shape)} leaves its storage`);
    }
    this.size = size;
    this.extent = extent;
    this.contiguous = contiguous;
    this.allocation = allocation;
    this.shape = shape;
    this.strides = strides;
    this.offset = offset;
    this.address = allocation.address + offset * 4;
    allocation.retain();
  }

  /** A view of all from the first element to the last: made anew, and not handed out. */
  get elements(): Float32View {
    return new Float32Array(this.allocation.port.memory.linear.buffer, this.address, this.extent);
  }

  /** The library has written to it. */
  wrote(): void {
    this.allocation.wrote(this);
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.allocation.release();
  }
}

/** The elements in row-major order, outside of kernel memory. */
export function copyOut(view: View): Float32Values {
  const { elements, contiguous, size } = view;
  const copy = floats(contiguous ? elements : size, "toFloat32Array");
  if (!contiguous) {
    forEachPlace(view.shape, view.strides, 0, size, (place, element) => {
      copy[element] = elements[place] as number;
    });
  }
  return copy;
}
