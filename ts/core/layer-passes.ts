/** What the passes of all layers share: tensors in and out, the last pass, gradients. */
import { bringIn, readOut, readTensor, roomFor, takeOut } from "./arguments.js";
import { fail } from "./errors.js";
import type { Port } from "./kernel.js";
import type { LastPass } from "./last-pass.js";
import type { LayerState } from "./layer-state.js";
import { Place } from "./operands.js";
import { runBackward } from "./passes.js";
import type { PlainResult } from "./plain.js";
import { allocateVector, Tensor } from "./tensor.js";
import type { View } from "./view.js";

/** The inside of a layer. */
export interface LayerInside {
  readonly port: Port;
  readonly state: LayerState;
  readonly last: LastPass;
}

/**
 * A forward pass.
 *
 * @param out where to write, if anywhere
 * @param run nothing of the user's runs any more from there on
 */
export function layerForward(
  owner: string,
  { port, last }: LayerInside,
  x: unknown,
  out: unknown,
  run: (x: View, out: View | null) => View,
): Tensor | PlainResult {
  const read = readTensor(x, port, owner, "x");
  const to = readOut(out, read, owner);
  const view = bringIn(read, port);
  try {
    const room = roomFor(view, read, owner);
    const y = run(view, to);
    if (view !== read) last.keep(view);
    return takeOut(y, read, room);
  } catch (error) {
    if (view !== read) view.dispose();
    throw error;
  }
}

/**
 * The backward pass of the last forward pass, or of the one that was asked for.
 *
 * @param given options that were read
 * @param begin checks that the layer is alive, which a getter may have changed, and tells
 *   whether its parameters get gradients
 */
export function layerBackward(
  owner: string,
  { port, state, last }: LayerInside,
  dy: unknown,
  given: { readonly out?: unknown; readonly saved?: unknown },
  begin: () => boolean,
): Tensor | PlainResult {
  const asked = given.saved;
  const read = readTensor(dy, port, owner, "dy");
  const out = readOut(given.out, read, owner);
  const view = bringIn(read, port);
  const { weight, bias } = state;
  let weightGrad: View | null = null;
  let biasGrad: View | null = null;
  try {
    const learns = begin();
    state.check(owner);
    const pass = last.find(asked, owner).check(owner);
    if (pass.operands[Place.WEIGHT] !== weight || pass.operands[Place.BIAS] !== bias) {
      fail("invalid-option", `${owner}: saved is of another layer`);
    }
    const room = roomFor(view, read, owner);
    // Where a gradient is added: a parameter's own, or a new one that is not yet its.
    const gradientOf = (parameter: View | null) =>
      parameter && learns
        ? (parameter.grad ?? allocateVector(Tensor, port, parameter.size, 0))
        : null;
    weightGrad = gradientOf(weight);
    biasGrad = gradientOf(bias);
    const dx = runBackward(owner, pass, view, out, weightGrad, biasGrad);
    if (weight && weightGrad) weight.grad = weightGrad;
    if (bias && biasGrad) bias.grad = biasGrad;
    return takeOut(dx, read, room);
  } catch (error) {
    if (weightGrad !== weight?.grad) weightGrad?.dispose();
    if (biasGrad !== bias?.grad) biasGrad?.dispose();
    throw error;
  } finally {
    if (view !== read) view.dispose();
  }
}
