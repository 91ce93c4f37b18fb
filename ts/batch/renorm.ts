/**
 * Batch renormalization (Ioffe 2017, arXiv:1702.03275): in training what the batch's statistics
 * normalize is corrected towards what the running ones would give.
 *
 * ```text
 * r = clip(σ_B/σ, rMin, rMax)      d = clip((μ_B − μ)/σ, −dMax, dMax)
 * y = γ·(r·x̂ + d) + β              μ, σ = √(σ² + ε): running ones, before this batch moves them
 * ```
 *
 * To the gradient r and d are constants: `crate/kernel/src/renorm.rs` has it in full.
 */
import { checkNotNegative } from "../core/checks.js";
import { fail, mustBe } from "../core/errors.js";
import type { LayerState } from "../core/layer-state.js";
import { type Call, Place, type Through } from "../core/operands.js";
import { readOptions } from "../core/options.js";
import { bytesOfSlice, type SavedState, SavedVector } from "../core/saved-state.js";
import type { Float64Values } from "../core/values.js";
import type { View } from "../core/view.js";
import { isBackward } from "./activation.js";
import type { Preset } from "./presets.js";

/** How far batch renorm may correct; each number may be infinite. */
export interface RenormOptions {
  /** The least r, from 0 on; default 1/rMax, of the keras preset 0. */
  rMin?: number | null | undefined;
  /** The most r, not less than rMin; default infinity. */
  rMax?: number | null | undefined;
  /** The most d, from 0 on; default infinity. */
  dMax?: number | null | undefined;
}

/** How far, read. */
export interface RenormLimits {
  readonly rMin: number;
  readonly rMax: number;
  readonly dMax: number;
}

const LIMITS = 3;
const OF_CHANNEL = 4;

/** Whether a framework's renorm has averages of its own: means, and standard deviations σ. */
export function hasOwnAverages({ names }: Preset): boolean {
  return names.renormMean !== undefined;
}

/** @throws BatchNormError `invalid-option`, `unknown-option` */
export function readRenorm(
  given: RenormOptions | null | undefined,
  owner: string,
  preset?: Preset,
): RenormLimits | null {
  if (given == null) return null;
  const name = `${owner}: renorm`;
  const options = readOptions(name, given, ["rMin", "rMax", "dMax"]);
  const rMax = options.rMax ?? Number.POSITIVE_INFINITY;
  const dMax = options.dMax ?? Number.POSITIVE_INFINITY;
  checkLimit(rMax, `${name}.rMax`);
  checkLimit(dMax, `${name}.dMax`);
  const rMin = options.rMin ?? (preset && hasOwnAverages(preset) ? 0 : 1 / rMax);
  checkLimit(rMin, `${name}.rMin`);
  if (rMin > rMax) {
    mustBe("invalid-option", `${name}.rMax`, `at least rMin, which is ${rMin}`, rMax);
  }
  return Object.freeze({ rMin, rMax, dMax });
}

function checkLimit(value: unknown, name: string): void {
  if (!(typeof value === "number" && value >= 0)) {
    mustBe("invalid-option", name, "a number from 0 on", value);
  }
}

/** What a training pass is corrected towards. */
export interface RenormReference {
  readonly mean: View;
  readonly variance: View;
  /** σ, in place of the variance. */
  readonly std?: View | null;
}

/** Has a training pass corrected. */
export function correct(call: Call<View>, limits: RenormLimits, towards: RenormReference): void {
  call.extra = (LIMITS + OF_CHANNEL * call.channels) * 8;
  call.through = new Renormalized(limits, towards);
}

/** The way of a pass that is corrected, forward and back. */
class Renormalized implements Through<View> {
  readonly #limits: RenormLimits;
  readonly #towards: RenormReference;

  constructor(limits: RenormLimits, towards: RenormReference) {
    this.#limits = limits;
    this.#towards = towards;
  }

  run(call: Call<View>): void {
    const { port } = (call.operands[Place.X] as View).allocation;
    call.renorm = call.saved + bytesOfSlice(call) - call.extra;
    if (!isBackward(call.operation)) {
      const { buffer } = port.memory.linear;
      this.#write(call, new Float64Array(buffer, call.renorm, call.extra / 8));
    }
    port.record.run(call);
  }

  /** What the kernel takes r and d of. Nothing of an earlier pass is lost: these it keeps apart. */
  #write({ owner, eps, names }: Call<View>, numbers: Float64Array): void {
    const { rMin, rMax, dMax } = this.#limits;
    numbers[0] = rMin;
    numbers[1] = rMax;
    numbers[2] = dMax;
    const { mean, variance, std } = this.#towards;
    const means = mean.elements;
    const spreads = (std ?? variance).elements;
    const least = Math.sqrt(eps);
    for (let channel = 0; channel < means.length; channel++) {
      const spread = spreads[channel] as number;
      if (!std && spread < 0) {
        const name = names[Place.SECOND_ACCUMULATOR];
        fail("invalid-option", `${owner}: ${name} must not be negative`);
      }
      // Of averages of σ that is no less than a batch's without variance, as Keras has it.
      const sigma = std ? Math.max(spread, least) : Math.sqrt(spread + eps);
      const at = LIMITS + OF_CHANNEL * channel;
      // As of a batch without variance: no quotient of two zeros.
      numbers[at] = sigma === 0 ? 0 : 1 / sigma;
      numbers[at + 1] = means[channel] as number;
    }
  }
}

/**
 * Moves the running statistics of a layer whose renorm has averages of its own, and these, as
 * `keras.layers.BatchNormalization` (3.15) does: averages of σ = √(σ_B² + ε), of which the running
 * variance follows.
 */
export function moveAverages(
  state: LayerState,
  saved: SavedState,
  { momentum, renormMomentum, eps }: { momentum: number; renormMomentum: number; eps: number },
): void {
  const means = saved.values(SavedVector.MEAN, "");
  const stds = saved.values(SavedVector.VARIANCE, "").map((value) => Math.sqrt(value + eps));
  const move = (view: View | null, values: Float64Values, kept: number) => {
    const { elements } = view as View;
    const moved = Float64Array.from(
      elements,
      (old, c) => old * kept + (values[c] as number) * (1 - kept),
    );
    elements.set(moved);
    view?.wrote();
    return moved;
  };
  move(state.renormMean, means, renormMomentum);
  move(state.renormStd, stds, renormMomentum);
  move(state.runningMean, means, momentum);
  const std = move(state.runningStd, stds, momentum);
  state.runningVar?.elements.set(std.map((std) => Math.max(std * std - eps, 0)));
  state.runningVar?.wrote();
}

/** r and d of each channel, slice by slice, of what a pass has kept. */
export function correctionsOf(
  numbers: Float64Array,
  { slices, channels }: { readonly slices: number; readonly channels: number },
): { r: Float64Values; d: Float64Values } {
  const each = numbers.length / slices;
  const values = (place: number) =>
    Float64Array.from({ length: slices * channels }, (_, i) => {
      const slice = Math.floor(i / channels);
      return numbers[slice * each + LIMITS + OF_CHANNEL * (i % channels) + place] as number;
    });
  return { r: values(2), d: values(3) };
}

/** What {@link renormSchedule} can be told; steps are batches. */
export interface RenormScheduleOptions {
  /** Until then it is plain batch norm; default 5000. */
  warmUp?: number | null | undefined;
  /** The most r in the end; default 3. */
  rMax?: number | null | undefined;
  /** The step from which on it is; default 40 000. */
  rMaxStep?: number | null | undefined;
  /** The most d in the end; default 5. */
  dMax?: number | null | undefined;
  /** The step from which on it is; default 25 000. */
  dMaxStep?: number | null | undefined;
}

/**
 * How far batch renorm may correct at a step of training, as the paper relaxes it: not at all until
 * `warmUp`, then further from step to step up to `rMax` and `dMax`.
 *
 * Source: Ioffe 2017, arXiv:1702.03275, section 4.
 *
 * @param step batches before this one
 * @throws BatchNormError `invalid-option`, `unknown-option`
 *
 * @example
 * renormSchedule(0);        // → { rMax: 1, dMax: 0 }
 * renormSchedule(15_000);   // → { rMax: 1.571, dMax: 2.5 }
 * renormSchedule(60_000);   // → { rMax: 3, dMax: 5 }
 * bn.renorm = renormSchedule(bn.numBatchesTracked);
 */
export function renormSchedule(
  step: number,
  options?: RenormScheduleOptions | null,
): { rMax: number; dMax: number } {
  const owner = "renormSchedule";
  const names = ["warmUp", "rMax", "rMaxStep", "dMax", "dMaxStep"];
  const given = readOptions(owner, options, names);
  const warmUp = given.warmUp ?? 5000;
  const [rMax, rMaxStep] = [given.rMax ?? 3, given.rMaxStep ?? 40_000];
  const [dMax, dMaxStep] = [given.dMax ?? 5, given.dMaxStep ?? 25_000];
  checkNotNegative(step, owner, "step");
  const all = { warmUp, rMax, rMaxStep, dMax, dMaxStep };
  for (const [name, value] of Object.entries(all)) checkLimit(value, `${owner}: ${name}`);
  if (rMax < 1) mustBe("invalid-option", `${owner}: rMax`, "at least 1", rMax);
  // A part of what may be infinite: of that 0 is none.
  const part = (most: number, end: number) => {
    const share = step <= warmUp ? 0 : Math.min(1, (step - warmUp) / Math.max(end - warmUp, 1));
    return share === 0 ? 0 : most * share;
  };
  return { rMax: 1 + part(rMax - 1, rMaxStep), dMax: part(dMax, dMaxStep) };
}
