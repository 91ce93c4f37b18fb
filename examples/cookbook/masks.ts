/**
 * Masks and weights: which positions the batch's statistics count, and how much. All are normalized.
 *
 *     npx tsx examples/cookbook/masks.ts
 */
import assert from "node:assert/strict";
import { BatchNorm, batchNormStatistics, Tensor } from "batchnorm-wasm";

paddedSequences();
imputedTable();
sparseVoxels();

/** [N, C, L] of sequences that are shorter than L: padding would pull the mean towards 0. */
function paddedSequences(): void {
  const [CHANNELS, LENGTH] = [2, 6];
  const lengths = [6, 2, 4];
  const x = Tensor.zeros([lengths.length, CHANNELS, LENGTH]);
  const at = (n: number, c: number, l: number) => (n * CHANNELS + c) * LENGTH + l;
  lengths.forEach((length, n) => {
    for (let c = 0; c < CHANNELS; c++) {
      for (let l = 0; l < length; l++) x.set([10 * (c + 1) + Math.sin(3 * n + l)], at(n, c, l));
    }
  });
  // Of x's shape without the channel axis: [N, L].
  const mask = lengths.flatMap((length) => Array.from({ length: LENGTH }, (_, l) => l < length));

  const bn = new BatchNorm(CHANNELS);
  bn.forward(x, { mask });
  const means = bn.saved?.mean as Float64Array;
  console.log(
    "padded sequences: means",
    show(means),
    "instead of",
    show(batchNormStatistics(x).mean),
  );
  assert.ok(Math.abs((means[0] as number) - 10) < 1 && Math.abs((means[1] as number) - 20) < 1);
  // The same call in evaluation: by the running statistics, for which a mask is nothing.
  bn.eval().forward(x, { mask });
}

/** A table with gaps that were filled by a guess: rows count by how much of them was measured. */
function imputedTable(): void {
  const rows = [
    [170, 65],
    [180, null],
    [null, null],
    [165, 58],
    [190, 95],
  ];
  const guess = [175, 70];
  const x = Tensor.from(
    rows.flatMap((row) => row.map((value, column) => value ?? (guess[column] as number))),
    [rows.length, 2],
  );
  const weights = rows.map((row) => row.filter((value) => value !== null).length / row.length);
  const { mean, variance } = batchNormStatistics(x, { weights });
  console.log(
    "imputed table: weights",
    show(weights),
    "means",
    show(mean),
    "variances",
    show(variance),
  );
  // The row that is all guesses never touches them, whatever stands there.
  x.set([Number.NaN, Number.POSITIVE_INFINITY], 2 * 2);
  assert.deepEqual(batchNormStatistics(x, { weights }), { mean, variance });
}

/** Sparse tensors: features of the active sites are [sites, C], in a buffer with room for more. */
function sparseVoxels(): void {
  const [CAPACITY, CHANNELS, active] = [64, 4, 23];
  const features = Tensor.zeros([CAPACITY, CHANNELS]);
  features.set(Float32Array.from({ length: active * CHANNELS }, (_, i) => Math.cos(i * i)));
  const bn = new BatchNorm(CHANNELS);
  bn.forward(features, { mask: Array.from({ length: CAPACITY }, (_, site) => site < active) });
  const means = bn.saved?.mean as Float64Array;
  // As a view of the active sites alone would have it, but the buffer keeps its size.
  const alone = batchNormStatistics(features.slice(0, 0, active)).mean;
  console.log(`sparse voxels: ${active} of ${CAPACITY} sites, means`, show(means));
  means.forEach((mean, c) => {
    assert.ok(Math.abs(mean - (alone[c] as number)) < 1e-6);
  });
}

function show(values: ArrayLike<number>): string {
  return Array.from(values, (value) => value.toFixed(2)).join(" ");
}
