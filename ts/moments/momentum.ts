/** How the momentum of running statistics changes over a training. */
import { checkMomentum, checkNotNegative, isCount } from "../core/checks.js";
import { mustBe } from "../core/errors.js";
import { readOptions } from "../core/options.js";

/** What {@link decayedMomentum} is told. */
export interface MomentumDecay {
  /** The weight of a new batch at first, from 0 to 1; default 0.5. */
  initial?: number | null | undefined;
  /** What it is multiplied with, from 0 to 1; default 0.5. */
  decay?: number | null | undefined;
  /** After how many steps each time. */
  every: number;
  /** The least that it becomes, from 0 to 1; default 0.01. */
  least?: number | null | undefined;
}

/**
 * The weight of a new batch in running statistics, as PyTorch counts it, that decays in steps: much at
 * first, where the network changes fast, and little in the end, where the statistics are to be precise.
 * (`momentum: null` weighs all batches alike instead.)
 *
 * Source: PointNet (Qi et al. 2017, arXiv:1612.00593), whose batch norm decay is 0.5 every 200 000
 * samples down to 0.01.
 *
 * @param step batches, or samples, before this one
 * @throws BatchNormError `invalid-option`, `unknown-option`
 *
 * @example
 * decayedMomentum(0, { every: 1000 });        // → 0.5
 * decayedMomentum(2500, { every: 1000 });     // → 0.125
 * decayedMomentum(90_000, { every: 1000 });   // → 0.01
 * bn.momentum = decayedMomentum(bn.numBatchesTracked, { initial: 0.1, every: 500 });
 */
export function decayedMomentum(step: number, options: MomentumDecay): number {
  const owner = "decayedMomentum";
  const given = readOptions(owner, options, ["initial", "decay", "every", "least"]);
  const { every } = given;
  const [initial, decay, least] = [given.initial ?? 0.5, given.decay ?? 0.5, given.least ?? 0.01];
  checkNotNegative(step, owner, "step");
  if (!(isCount(every) && every > 0)) {
    mustBe("invalid-option", `${owner}: every`, "a whole number from 1 on", every);
  }
  checkMomentum(initial, owner, "initial");
  checkMomentum(decay, owner, "decay");
  checkMomentum(least, owner, "least");
  return Math.max(initial * decay ** Math.floor(step / every), Math.min(least, initial));
}
