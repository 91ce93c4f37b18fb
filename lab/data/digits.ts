/** The digits of `examples/data`: 1797 images of 8×8 pixels, here from 0 to 1. */
import type { Dataset } from "../engine/dataset.js";
import { slice } from "../engine/dataset.js";

const PIXELS = 64;
/** What is white in the file. */
const WHITE = 16;

/**
 * @param csv lines of 64 pixels and the digit
 * @param images whether convolutions are to see 8×8 images; else rows of 64 numbers
 */
export function readDigits(csv: string, images: boolean): Dataset {
  const lines = csv.trim().split("\n");
  const rows = lines.length;
  const x = new Float64Array(rows * PIXELS);
  const y = new Float64Array(rows);
  lines.forEach((line, row) => {
    const numbers = line.split(",").map(Number);
    if (numbers.length !== PIXELS + 1 || numbers.some(Number.isNaN)) {
      throw new RangeError(`digits: line ${row + 1} is not 65 numbers`);
    }
    for (let i = 0; i < PIXELS; i++) x[row * PIXELS + i] = (numbers[i] as number) / WHITE;
    y[row] = numbers[PIXELS] as number;
  });
  const all = { rows, x, y };
  // The file is ordered by writer: the last quarter is by people who are not in the first.
  const split = Math.round(rows * 0.75);
  return {
    input: images ? { inputs: PIXELS, image: [8, 8] } : { inputs: PIXELS },
    classes: 10,
    train: slice(all, 0, split),
    test: slice(all, split, rows),
  };
}
