/** What a call of the kernel reads and what it writes, checked in one visit. */
import { Operation } from "../generated/abi.js";
import { fail } from "./errors.js";
import { coincide, type Geometry, overlaps, sameNumbers } from "./geometry.js";
import { showShape } from "./show.js";

/** Places of a call's operands. */
export enum Place {
  // Tensors of x's shape, the output either exactly an input (in place) or apart from all others.
  X,
  /** Of a forward pass the residual. */
  DY,
  OUT,
  // One value a channel, in the order of the record.
  WEIGHT,
  BIAS,
  MEAN,
  VARIANCE,
  /** What gathers over calls: the running mean, or the gradient of the weight. */
  FIRST_ACCUMULATOR,
  /** The running variance, or the gradient of the bias. */
  SECOND_ACCUMULATOR,
  /**
   * How much each element of a channel counts in statistics, as the kernel takes it: a copy that
   * nobody else has, and so nothing that is checked.
   */
  ELEMENT_WEIGHTS,
  // Only where dy is gated, tensors of x's shape again.
  Y,
  /** dy as y lets it through: the residual's gradient, or what comes into the output first. */
  GATED,
}

/** Whether what is in a place has x's shape; else it has one value a channel. */
export function hasShapeOfX(place: Place): boolean {
  return place < Place.WEIGHT || place > Place.ELEMENT_WEIGHTS;
}

/** What a call has to know of a tensor: its elements, and whose memory they lie in. */
export interface Operand extends Geometry {
  /** Of the first element, in bytes. */
  readonly address: number;
  readonly contiguous: boolean;
  readonly disposed: boolean;
  /** Which bytes it shares with its views. */
  readonly allocation: { readonly port: object };
}

/** Axes that are normalized together, counted from 0 and in order, and their sizes. */
export interface Rows {
  readonly axes: readonly number[];
  readonly shape: readonly number[];
}

/** A way of a call to the kernel. */
export interface Through<Tensor extends Operand> {
  /** Whether γ and β are a group's, and not a channel's. */
  readonly perGroup?: boolean;
  /** The tensors of a record, if others than x, dy and the output. */
  readonly places?: readonly Place[];
  /** Whether what is in a place may be exactly written over, by what is in another. */
  mayBe?(call: Call<Tensor>, written: Place, other: Place): boolean;
  /** What to do where it may not. */
  readonly remedy?: string;
  run(call: Call<Tensor>): void;
}

/** A call, declared whole. */
export interface Call<Tensor extends Operand = Operand> {
  readonly owner: string;
  /** What users call the operands, by their places. */
  readonly names: readonly string[];
  operation: Operation;
  /** The channel axis, counted from 0; the first of {@link rows}. */
  readonly axis: number;
  /** Where statistics are a row's: its axes, whose elements are the channels. */
  rows: Rows | null;
  channels: number;
  /** Of channels, in each sample; 0 where statistics are no group's. */
  readonly groups: number;
  /** Slices of the batch with statistics of their own: as many calls of the kernel. */
  slices: number;
  /** How many sets of elements share statistics: channels, of each slice, groups of each sample, or rows. */
  sets: number;
  /** By their places; `null` where there is none. */
  readonly operands: (Tensor | null)[];
  eps: number;
  /** Weight of the batch in the running statistics. */
  momentum: number;
  /** What the batch's variance is multiplied with there. */
  correction: number;
  /** Of an activation, where its input is not above 0; 1 where a residual alone is added. */
  slope: number;
  /** Address of saved values, which nobody else has; 0 without. */
  saved: number;
  /** Bytes that are saved of a slice beside statistics and γ. */
  extra: number;
  /** Address of what corrects the batch's statistics, which is of these; 0 without. */
  renorm: number;
  /** Whether the saved statistics are constants to the gradient. */
  constant: boolean;
  /** Runs it, checked, where its operands may be otherwise than the kernel takes them. */
  through: Through<Tensor> | null;
}

/** A call, to which its other operands and numbers are added. */
export function newCall<Tensor extends Operand>(
  names: readonly string[],
  operation: Operation,
  owner: string,
  x: Tensor,
  axis: number,
  groups = 0,
): Call<Tensor> {
  const { shape } = x;
  const channels = shape[axis] as number;
  // Without samples where the first axis counts the channels.
  const sets = groups === 0 ? channels : axis === 0 ? groups : groups * (shape[0] as number);
  return {
    owner,
    names,
    operation,
    axis,
    rows: null,
    channels,
    groups,
    slices: 1,
    sets,
    operands: [x, null, null, null, null, null, null, null, null, null],
    // Not read unless they are set. Fields that begin as integers and become fractions
    // make all calls slower by half.
    eps: Number.NaN,
    momentum: Number.NaN,
    correction: Number.NaN,
    slope: Number.NaN,
    saved: 0,
    extra: 0,
    renorm: 0,
    constant: false,
    through: null,
  };
}

/**
 * The last thing before a call: no code of the user's may run from here on.
 *
 * @throws BatchNormError `disposed`, `foreign-kernel`, `shape-mismatch`, `overlap`
 */
export function checkCall(call: Call): void {
  const { owner, names, operands, rows, through } = call;
  const values = through?.perGroup ? call.groups : call.channels;
  const x = operands[Place.X] as Operand;
  for (let i = Place.X as number; i < operands.length; i++) {
    const view = operands[i] as Operand | null;
    if (view === null || i === Place.ELEMENT_WEIGHTS) continue;
    if (view.disposed) fail("disposed", `${owner}: ${names[i]} was disposed`);
    if (view.allocation.port !== x.allocation.port) failForKernel(owner, names[i] as string);
    const missed = hasShapeOfX(i)
      ? !sameNumbers(view.shape, x.shape) && `have ${names[Place.X]}'s shape ${showShape(x.shape)}`
      : !(
          view.size === values &&
          view.contiguous &&
          (view.shape.length === 1 || (rows !== null && sameNumbers(view.shape, rows.shape)))
        ) && `be a contiguous tensor of ${values} values`;
    if (missed) {
      fail("shape-mismatch", `${owner}: ${names[i]} must ${missed}, got ${showShape(view.shape)}`);
    }
  }
  checkApart(call, Place.OUT);
  checkApart(call, Place.FIRST_ACCUMULATOR);
  checkApart(call, Place.SECOND_ACCUMULATOR);
  if (through?.mayBe) checkApart(call, Place.GATED);
}

/**
 * {@link checkCall} of what is several calls of the kernel, or none.
 *
 * @param others than x, by their places
 */
export function checkOperands(
  names: readonly string[],
  owner: string,
  x: Operand,
  axis: number,
  others: readonly (readonly [Place, Operand | null])[],
): void {
  const call = newCall(names, Operation.Forward, owner, x, axis);
  for (const [place, one] of others) call.operands[place] = one;
  checkCall(call);
}

/** @throws BatchNormError `foreign-kernel` */
export function failForKernel(owner: string, name: string): never {
  fail("foreign-kernel", `${owner}: ${name} is of another kernel`);
}

/** @throws BatchNormError `overlap` where what is written shares memory with another operand */
function checkApart(call: Call, written: Place): void {
  const { owner, names, operands, through } = call;
  const to = operands[written] as Operand | null;
  if (!to) return;
  for (let i = Place.X as number; i < operands.length; i++) {
    const other = operands[i] as Operand | null;
    if (other === null || i === written || other.allocation !== to.allocation) continue;
    const isInput = through?.mayBe
      ? through.mayBe(call, written, i)
      : written === Place.OUT && i < Place.OUT;
    if (!(isInput && coincide(to, other)) && overlaps(to, other)) {
      fail(
        "overlap",
        `${owner}: ${names[written]} overlaps ${names[i]}` +
          (isInput
            ? ", not exactly in place"
            : (hasShapeOfX(written) && hasShapeOfX(i) && through?.remedy) || ""),
      );
    }
  }
}
