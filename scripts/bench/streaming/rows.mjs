/**
 * A table that does not fit into memory, chunk by chunk, and its moments without any rounding.
 *
 * Columns lie a million σ from 0, with σ = 2^e. Their float32 values are there multiples of a step of
 * σ/16, and so whole numbers of steps from the offset: sums of these and of their squares are exact.
 */
import { normals } from "../data.mjs";

/** How far columns lie from 0, in σ. */
export const OFFSET = 1e6;
/** Steps in σ, of float32 between 2^19 and 2^20 σ. */
const STEPS = 16;
/** Normal values that are repeated: a prime, which no row is in step with. */
const PERIOD = 1048573;

/** σ of a column. @param {number} column */
export const sigmaOf = (column) => 2 ** ((column % 8) - 4);

/**
 * @typedef {object} Sums of whole numbers of steps, one a column
 * @property {Float64Array} first
 * @property {Float64Array} second of their squares
 */

/**
 * Chunks of a table, in one array that the next one overwrites.
 *
 * @param {object} table
 * @param {number} table.rows
 * @param {number} table.columns
 * @param {number} table.chunk rows of each but the last
 * @returns {Generator<Float32Array<ArrayBuffer>>}
 */
export function* chunksOf({ rows, columns, chunk }) {
  const pattern = normals(PERIOD, 81);
  const values = new Float32Array(Math.min(chunk, rows) * columns);
  const sigmas = Float64Array.from({ length: columns }, (_, column) => sigmaOf(column));
  let p = 0;
  for (let start = 0; start < rows; start += chunk) {
    const part = values.subarray(0, Math.min(chunk, rows - start) * columns);
    for (let row = 0; row < part.length; row += columns) {
      for (let c = 0; c < columns; c++) {
        const z = /** @type {number} */ (pattern[p]);
        part[row + c] = (OFFSET + z) * /** @type {number} */ (sigmas[c]);
        if (++p === PERIOD) p = 0;
      }
    }
    yield part;
  }
}

/** @param {number} columns @returns {Sums} */
export function makeSums(columns) {
  return { first: new Float64Array(columns), second: new Float64Array(columns) };
}

/** Takes a chunk in. @param {Sums} sums @param {Float32Array} chunk */
export function add({ first, second }, chunk) {
  const columns = first.length;
  for (let c = 0; c < columns; c++) {
    const step = sigmaOf(c) / STEPS;
    let [sum, squares] = [0, 0];
    for (let i = c; i < chunk.length; i += columns) {
      const steps = /** @type {number} */ (chunk[i]) / step - OFFSET * STEPS;
      sum += steps;
      squares += steps * steps;
    }
    first[c] = /** @type {number} */ (first[c]) + sum;
    second[c] = /** @type {number} */ (second[c]) + squares;
  }
}

/**
 * How far moments are off: means in σ, variances in themselves; the largest of the columns.
 *
 * @param {{ mean: ArrayLike<number>, variance: ArrayLike<number> }} moments biased variances
 * @param {Sums} sums @param {number} rows
 */
export function errorsOf({ mean, variance }, { first, second }, rows) {
  let worst = { mean: 0, variance: 0 };
  for (let c = 0; c < first.length; c++) {
    const [sum, squares] = [Number(first[c]), Number(second[c])];
    if (!(Number.isSafeInteger(sum) && Number.isSafeInteger(squares))) {
      throw new Error(`column ${c}: sums of ${sum} and ${squares} steps are not exact`);
    }
    const sigma = sigmaOf(c);
    const off = Number(mean[c]) / sigma - OFFSET;
    // n·Σd² − (Σd)² is beyond 2^53.
    const spread = BigInt(rows) * BigInt(squares) - BigInt(sum) ** 2n;
    const truth = (Number(spread) / rows / rows) * (sigma / STEPS) ** 2;
    worst = {
      mean: larger(worst.mean, Math.abs(off - sum / rows / STEPS)),
      variance: larger(worst.variance, Math.abs(Number(variance[c]) - truth) / truth),
    };
  }
  return worst;
}

/** NaN counts as the largest. @param {number} worst @param {number} error */
const larger = (worst, error) => (Number.isNaN(worst) || error <= worst ? worst : error);
