/** Calls of the kernel over tensors: checked, given an output, run, and their writes counted. */
import { Contents } from "../generated/abi.js";
import { type Call, checkCall, Place } from "./operands.js";
import type { SavedState } from "./saved-state.js";
import { allocate } from "./tensor.js";
import type { View } from "./view.js";

/**
 * Runs a call, which makes its own output where none is given. Where it throws, nothing was
 * written.
 *
 * @param saved to be overwritten with what a forward pass saves
 * @returns the output
 */
export function runCall(call: Call<View>, saved: SavedState | null = null): View {
  const { operands } = call;
  const x = operands[Place.X] as View;
  const out = operands[Place.OUT] as View | null;
  const { port } = x.allocation;
  saved?.checkWritable(port, call.owner);
  checkCall(call);
  const y = out ?? allocate(port, x.shape, Contents.Arbitrary);
  try {
    operands[Place.OUT] = y;
    if (saved) call.saved = saved.reserve(call);
    (call.through ?? port.record).run(call);
  } catch (error) {
    saved?.abandon();
    if (y !== out) y.dispose();
    throw error;
  }
  // An empty batch moves nothing.
  if (x.size > 0) {
    operands[Place.FIRST_ACCUMULATOR]?.wrote();
    operands[Place.SECOND_ACCUMULATOR]?.wrote();
  }
  // Before this write is counted: in place, x is no more what was normalized.
  saved?.set(call);
  y.wrote();
  if (call.slope < 1) saved?.setOutput(y);
  return y;
}
