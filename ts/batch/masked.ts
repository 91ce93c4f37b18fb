/**
 * Backward passes through an activation, and to a residual: dy is masked by the sign of y, band by
 * band, and goes on as the norm's dy. `activation.ts` has the formula.
 */
import { fail } from "../core/errors.js";
import { type Call, Place, type Through } from "../core/operands.js";
import { hadResidual } from "../core/passes.js";
import type { View } from "../core/view.js";
import { Operation } from "../generated/abi.js";

/**
 * Has a backward call masked, where there is reason to.
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
  call.through = new Masked(call.through);
}

/** The way of a call whose dy is masked first. */
class Masked implements Through<View> {
  readonly places = [Place.X, Place.MASKED, Place.OUT, Place.DY, Place.Y, Place.MASKED];
  readonly remedy = ": only dy or y can be in place";
  readonly #through: Through<View> | null;

  constructor(through: Through<View> | null) {
    this.#through = through;
  }

  mayBe({ operands }: Call<View>, written: Place, other: Place): boolean {
    if (written !== Place.OUT && written !== Place.MASKED) return false;
    // x is read after dy was masked.
    const overX = written === Place.OUT && operands[Place.MASKED] !== null;
    return other === Place.DY || other === Place.Y || (other === Place.X && overX);
  }

  run(call: Call<View>): void {
    const { operands } = call;
    const { port } = (operands[Place.X] as View).allocation;
    const residualGrad = operands[Place.MASKED];
    operands[Place.MASKED] ??= operands[Place.OUT] as View;
    (this.#through ?? port.record).run(call);
    residualGrad?.wrote();
  }
}
