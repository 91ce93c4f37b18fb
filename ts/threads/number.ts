/** How many threads are asked for. */
import { mustBe } from "../core/errors.js";
import { MOST_HANDS } from "./words.js";

/** @throws BatchNormError `invalid-option` */
export function checkNumber(number: unknown): asserts number is number {
  if (!Number.isInteger(number) || Number(number) < 1 || Number(number) > MOST_HANDS) {
    mustBe(
      "invalid-option",
      "setThreads: number",
      `a whole number from 1 to ${MOST_HANDS}`,
      number,
    );
  }
}
