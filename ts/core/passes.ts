/**
 * Forward and backward passes whose options were read: what the functions of all norms share.
 * Nothing is written before all arguments are read and checked.
 */
import { Contents, Operation } from "../generated/abi.js";
import {
  bringIn,
  portOfCall,
  readOut,
  readTensor,
  readVector,
  roomFor,
  takeOut,
  type Vector,
} from "./arguments.js";
import { checkNotNegative } from "./checks.js";
import { fail, mustBe } from "./errors.js";
import { resolveAxis } from "./geometry.js";
import type { Tracked } from "./kernel.js";
import type { NormBackwardOptions, NormGradients, NormOptions } from "./norm-options.js";
import { type Call, newCall, Place } from "./operands.js";
import type { PlainResult, PlainTensor, Read } from "./plain.js";
import { runCall } from "./run.js";
import type { SavedAccess } from "./saved-access.js";
import type { SavedState } from "./saved-state.js";
import { allocate, checkTensor, type Tensor, tensorOf } from "./tensor.js";
import type { View } from "./view.js";

/** What users call the operands of a forward pass, by their places. */
export const FORWARD_NAMES = [
  "x",
  "residual",
  "out",
  "weight",
  "bias",
  "mean",
  "variance",
  "runningMean",
  "runningVar",
];
const BACKWARD_NAMES = /* @__PURE__ */ ["x", "dy"].concat(FORWARD_NAMES.slice(2, -2), [
  "weightGrad",
  "biasGrad",
  "weights",
  "y",
  "residualGrad",
]);

/** A forward pass as its norm declares it. */
export interface ForwardPass {
  readonly operation: Operation;
  readonly owner: string;
  /** The function that goes back. */
  readonly backward: string;
  /** What ε is unless told; 1e-5 if absent. */
  readonly eps?: number;
}

/** The operations that go back. */
const BACKWARD_OF: { readonly [forward: number]: Operation } = {
  [Operation.Forward]: Operation.Backward,
  [Operation.ActivatedForward]: Operation.Backward,
  [Operation.ResidualForward]: Operation.Backward,
  [Operation.GroupForward]: Operation.GroupBackward,
  [Operation.LayerForward]: Operation.LayerBackward,
  [Operation.RmsForward]: Operation.RmsBackward,
  [Operation.UnitForward]: Operation.UnitBackward,
};

/** Options of a forward pass; a residual where its norm takes one. */
interface ForwardOptions extends Omit<NormOptions, "axis"> {
  residual?: Tensor | PlainTensor | null | undefined;
}

/**
 * A forward pass.
 *
 * @param access to saved values, if the program has any
 * @param wanted saved values to overwrite, or `true` for new ones
 * @param callOf the call over x: from there on its shape is known
 * @param statistics that are given, as float32
 * @returns y, and what users have of the saved values
 */
export function forwardPass(
  { owner, backward, eps: usual = 1e-5 }: ForwardPass,
  access: SavedAccess | undefined,
  x: unknown,
  given: ForwardOptions,
  wanted: unknown,
  callOf: (x: View) => Call<View>,
  run: (call: Call<View>, saved: SavedState | null) => View = runCall,
  statistics: { readonly mean: Vector; readonly variance: Vector } | null = null,
): { y: Tensor | PlainResult; saved: unknown } {
  const eps = given.eps ?? usual;
  checkNotNegative(eps, owner, "eps");
  const port = portOfCall(x, given, owner);
  const saved =
    wanted === true
      ? (access?.make(port) ?? fail("unsupported", `saved: true needs ${backward}`))
      : wanted == null
        ? null
        : insideOf(wanted, access, owner);
  // All are read before the first is copied in, which may detach views of kernel memory.
  const read = readTensor(x, port, owner, "x");
  const weight = readVector(given.weight, port, owner, "weight");
  const bias = readVector(given.bias, port, owner, "bias");
  const mean = readVector(statistics?.mean, port, owner, "mean");
  const variance = readVector(statistics?.variance, port, owner, "variance");
  const { residual } = given;
  const added = residual == null ? null : readTensor(residual, port, owner, "residual");
  const out = readOut(given.out, read, owner);
  const copies: View[] = [];
  try {
    const bring = (read: View | Read | null) => {
      const view = read && bringIn(read, port);
      if (view !== read) copies.push(view as View);
      return view;
    };
    const view = bring(read) as View;
    const call = callOf(view);
    const { operands } = call;
    call.eps = eps;
    operands[Place.DY] = bring(added);
    operands[Place.OUT] = out;
    operands[Place.WEIGHT] = bring(weight);
    operands[Place.BIAS] = bring(bias);
    operands[Place.MEAN] = bring(mean);
    operands[Place.VARIANCE] = bring(variance);
    const room = roomFor(view, read, owner);
    const y = run(call, saved);
    // The backward pass needs x.
    if (saved && view !== read) saved.own(copies.shift() as View);
    const handle = saved?.handle;
    if (wanted === true) port.track(handle as Tracked);
    return { y: takeOut(y, read, room), saved: handle };
  } finally {
    for (const copy of copies) copy.dispose();
  }
}

/** Calls over a channel axis, for {@link forwardPass}: the second one, unless told otherwise. */
export function alongAxis(
  { operation, owner }: ForwardPass,
  axis: number | null | undefined,
  groupsOf?: (channels: number) => number,
): (x: View) => Call<View> {
  const given = axis ?? 1;
  return (x) => {
    const axis = resolveAxis(given, x.shape.length, owner);
    const groups = groupsOf?.(x.shape[axis] as number);
    return newCall(FORWARD_NAMES, operation, owner, x, axis, groups);
  };
}

/** Options of a backward pass; where its norm takes a residual, its gradient. */
interface BackwardOptions<S> extends NormBackwardOptions<S> {
  residualGrad?: Tensor | null | undefined;
}

/** Where its norm takes a residual, its gradient is among them. */
interface Gradients extends NormGradients<Tensor | PlainResult> {
  residualGrad?: Tensor | PlainResult | null;
}

/**
 * Has a backward call go through an activation, and give the gradient of a residual, where the
 * forward pass has had one and that is wanted.
 */
export type BackThrough = (
  call: Call<View>,
  pass: Call<View>,
  y: View | null,
  residualGrad: View | null,
) => void;

/**
 * The backward pass of a forward pass that was saved.
 *
 * @param through of a norm that takes a residual
 */
export function backwardPass<S>(
  owner: string,
  access: SavedAccess,
  dy: unknown,
  given: BackwardOptions<S>,
  through: BackThrough | null = null,
): Gradients {
  const saved = insideOf(given.saved, access, owner);
  const made: View[] = [];
  // Made where the forward pass had such a parameter, unless told otherwise.
  const gradient = (one: unknown, name: string, parameter: View | null): View | null => {
    if (one != null) return checkTensor(one, `${owner}: ${name}`);
    if (one === null || parameter === null) return null;
    const vector = allocate(saved.port, parameter.shape, Contents.Zero);
    made.push(vector);
    return vector;
  };
  const { weightGrad: ofWeight, biasGrad: ofBias } = given;
  const ofResidual = through ? given.residualGrad : null;
  const read = readTensor(dy, saved.port, owner, "dy");
  const out = readOut(given.out, read, owner);
  const outOfResidual = readOut(ofResidual, read, owner, "residualGrad");
  const view = bringIn(read, saved.port);
  try {
    const pass = saved.check(owner); // of now: a getter may have overwritten the values
    const room = roomFor(view, read, owner);
    let residualGrad = outOfResidual;
    if (residualGrad === null && ofResidual !== null && hadResidual(pass)) {
      residualGrad = allocate(saved.port, view.shape, Contents.Arbitrary);
      made.push(residualGrad);
    }
    const roomOfResidual = residualGrad && roomFor(view, read, owner);
    const weight = pass.operands[Place.WEIGHT] as View | null;
    const weightGrad = gradient(ofWeight, "weightGrad", weight);
    const biasGrad = gradient(ofBias, "biasGrad", pass.operands[Place.BIAS] ?? weight);
    const dx = runBackward(owner, pass, view, out, weightGrad, biasGrad, (call) =>
      through?.(call, pass, saved.y, residualGrad),
    );
    const gradients: Gradients = {
      dx: takeOut(dx, read, room),
      weightGrad: tensorOf(weightGrad),
      biasGrad: tensorOf(biasGrad),
    };
    if (through) {
      gradients.residualGrad = residualGrad && takeOut(residualGrad, read, roomOfResidual);
    }
    return gradients;
  } catch (error) {
    for (const vector of made) vector.dispose();
    throw error;
  } finally {
    if (view !== read) view.dispose();
  }
}

/** Whether a residual was added in a forward pass. */
export function hadResidual(pass: Call<View>): boolean {
  return pass.operation === Operation.ResidualForward;
}

/**
 * The call of a backward pass; adds to the gradients of γ and β.
 *
 * @param extend adds what is the norm's own
 * @returns the gradient of x: `out` if given
 */
export function runBackward(
  owner: string,
  pass: Call<View>,
  dy: View,
  out: View | null,
  weightGrad: View | null,
  biasGrad: View | null,
  extend: (call: Call<View>) => void,
): View {
  const { operands: kept, axis, groups } = pass;
  const x = kept[Place.X] as View;
  const back = BACKWARD_OF[pass.operation] as Operation;
  const call = newCall(BACKWARD_NAMES, back, owner, x, axis, groups);
  call.rows = pass.rows;
  call.channels = pass.channels;
  call.slices = pass.slices;
  call.extra = pass.extra;
  call.sets = pass.sets;
  const { operands } = call;
  operands[Place.OUT] = out;
  operands[Place.DY] = dy;
  operands[Place.FIRST_ACCUMULATOR] = weightGrad;
  operands[Place.SECOND_ACCUMULATOR] = biasGrad;
  // Not read again, but nothing is to be written over them.
  for (let i = Place.WEIGHT; i <= Place.VARIANCE; i++) {
    const view = kept[i] as View | null;
    operands[i] = view?.disposed ? null : view;
  }
  operands[Place.ELEMENT_WEIGHTS] = kept[Place.ELEMENT_WEIGHTS] as View | null;
  call.eps = pass.eps;
  call.saved = pass.saved;
  call.constant = pass.constant;
  call.through = pass.through;
  extend(call);
  return runCall(call);
}

/** @throws BatchNormError `invalid-option` */
function insideOf(saved: unknown, access: SavedAccess | undefined, owner: string): SavedState {
  return (
    access?.inside(saved) ??
    mustBe(
      "invalid-option",
      `${owner}: saved`,
      "what a forward pass of the same norm returned",
      saved,
    )
  );
}
