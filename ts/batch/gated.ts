/**
 * Backward passes through an activation, and to a residual: dy is gated by the sign of y, band by
 * band, and goes on as the norm's dy. `activation.ts` has the formula.
 */
import { fail } from "../core/errors.js";
import { type Call, Place, type Through } from "../core/operands.js";
import { hadResidual } from "../core/passes.js";
import type { View } from "../core/view.js";
import { Operation } from "../generated/abi.js";

/**
 * Has a backward call gated, where there is reason to.
 *
 * @throws BatchNormError `invalid-option` for the gradient of a residual that was none
 */
export function backThrough(
  call: Call<View>,
  pass: Call<View>,
  y: View | null,
  residualGrad: View | null,
): void {
  if (residualGrad && !hadResidual(pass)) {
    fail("invalid-option", `${call.owner}: residualGrad needs a residual in the forward pass`);
  }
  if (!y && !residualGrad) return;
  call.operation = Operation.ActivatedBackward;
  call.slope = pass.slope;
  // Without an activation all of dy is let through.
  call.operands.push(y ?? call.operands[Place.DY] ?? null, residualGrad);
  call.through = new Gated(call.through);
}

/** The way of a call whose dy is gated first. */
class Gated implements Through<View> {
  readonly places = [Place.X, Place.GATED, Place.OUT, Place.DY, Place.Y, Place.GATED];
  readonly remedy = ": only dy or y can be in place";
  readonly #through: Through<View> | null;

  constructor(through: Through<View> | null) {
    this.#through = through;
  }

  mayBe({ operands }: Call<View>, written: Place, other: Place): boolean {
    if (written !== Place.OUT && written !== Place.GATED) return false;
    // x is read after dy was gated.
    const overX = written === Place.OUT && operands[Place.GATED] !== null;
    return other === Place.DY || other === Place.Y || (other === Place.X && overX);
  }

  run(call: Call<View>): void {
    const { operands } = call;
    const { port } = (operands[Place.X] as View).allocation;
    const residualGrad = operands[Place.GATED];
    operands[Place.GATED] ??= operands[Place.OUT] as View;
    (this.#through ?? port.record).run(call);
    residualGrad?.wrote();
  }
}
