/**
 * Standardizing a table that doesn't fit into memory: its mean and variance chunk by chunk, and
 * each chunk by these, as scikit-learn's `StandardScaler.partial_fit` does. The state goes through
 * JSON, to be kept or sent.
 *
 *     npx tsx examples/cookbook/streaming-csv.ts
 */
import assert from "node:assert/strict";
import { RunningMoments } from "batchnorm-wasm";

const [ROWS, COLUMNS, CHUNK] = [10_000, 3, 512];

/** Lines of a file: a temperature, a pressure and a counter that is far from 0. */
function* lines(): Generator<string> {
  for (let i = 0; i < ROWS; i++) {
    yield [20 + 5 * Math.sin(i), 1013 + Math.cos(i * i), 1e6 + (i % 7)].join(",");
  }
}

/** The same, as numbers of so many rows at once. */
function* chunks(): Generator<{ data: Float32Array; shape: [number, number] }> {
  let rows: number[] = [];
  const take = () => ({
    data: Float32Array.from(rows),
    shape: [rows.length / COLUMNS, COLUMNS] as [number, number],
  });
  for (const line of lines()) {
    rows.push(...line.split(",").map(Number));
    if (rows.length === CHUNK * COLUMNS) {
      yield take();
      rows = [];
    }
  }
  if (rows.length > 0) yield take();
}

const scaler = new RunningMoments();
for (const chunk of chunks()) scaler.update(chunk);
console.log(`${scaler.count} rows, mean ${[...scaler.mean].map((value) => value.toFixed(3))}`);
console.log(`standard deviation ${[...scaler.std].map((value) => value.toFixed(3))}`);

const kept = JSON.stringify(scaler);
const later = RunningMoments.fromJSON(kept);
const check = new RunningMoments();
for (const chunk of chunks()) check.update(later.normalize(chunk, { clip: 5 }));
for (const mean of check.mean) assert.ok(Math.abs(mean) < 1e-5);
for (const std of check.std) assert.ok(Math.abs(std - 1) < 1e-5);
