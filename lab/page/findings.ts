/** What of a snapshot is worth a sentence. */
import type { Snapshot } from "../engine/trainer.js";
import { texts } from "./texts.js";

/** Gradients of the first layer beyond these parts of the last one's vanish or explode. */
const [VANISHED, EXPLODED] = [1e-2, 1e2];
/** Test losses by running and by own statistics that are this far apart are told of. */
const [GAP, GAP_LOSS] = [1.5, 0.05];
/** Of accuracy on training data beyond that on test data. */
const OVERFIT = 0.1;

export function findingsOf({ blocks, test, train }: Snapshot): string[] {
  const { findings } = texts;
  const found: string[] = [];
  const [first, last] = [blocks[0], blocks.at(-1)];
  if (first && last && blocks.length > 1) {
    const ratio = first.flow / last.flow;
    if (ratio < VANISHED) found.push(findings.vanishing(number(ratio)));
    if (ratio > EXPLODED) found.push(findings.exploding(number(ratio)));
  }
  const [running, own] = [test.evaluation.loss, test.training.loss];
  if (running > GAP * own && running - own > GAP_LOSS) {
    found.push(findings.gap(number(running), number(own)));
  }
  const [known, unknown] = [train.evaluation.accuracy, test.evaluation.accuracy];
  if (known !== null && unknown !== null && known - unknown > OVERFIT) {
    found.push(findings.overfit(percent(known), percent(unknown)));
  }
  blocks.forEach(({ dead, channels, findings: own }, i) => {
    if (dead > 0) found.push(findings.dead(i + 1, dead, channels));
    for (const one of own) found.push(findings.inLayer(i + 1, one));
  });
  return found;
}

/** Three digits, as short as they are. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text =
    value === 0 || (size >= 1e-3 && size < 1e5)
      ? `${Number(value.toPrecision(3))}`
      : value.toExponential(1).replace("e+", "e");
  return text.replace(/-/g, "−");
}

export function percent(part: number): string {
  return `${(100 * part).toFixed(1)} %`;
}
