/** What a run over a stream must not do: it fails where ours is wrong, or keeps what it has seen. */

/**
 * How far ours may be off for each chunk, in σ: where columns lie a million σ away, float64 has a
 * number every 2^-33 σ, and a mean is rounded each time that a chunk is merged into it.
 */
const MEAN = 2 ** -33;
/** The kernel adds sixteen squares in float32 before float64 has them. */
const VARIANCE = 16 * 2 ** -24;
/** Bytes that the heap may grow by: a single small object a chunk would be more. */
const HEAP = 2 ** 19;

/**
 * What is wrong, if anything, in words.
 *
 * @param {readonly import("./run.mjs").Outcome[]} outcomes ours by their names
 * @param {import("./run.mjs").Memory} before @param {import("./run.mjs").Memory} after
 * @param {number} chunks
 */
export function faultsOf(outcomes, before, after, chunks) {
  const most = chunks * MEAN;
  const faults = outcomes
    .filter(({ name }) => name.startsWith("RunningMoments"))
    .flatMap(({ name, errors: { mean, variance } }) => [
      ...(mean <= most ? [] : [`${name}: a mean is off by ${mean} σ, more than ${most}`]),
      ...(variance <= VARIANCE
        ? []
        : [`${name}: a variance is off by ${variance}, more than ${VARIANCE}`]),
    ]);
  if (after.kernel !== before.kernel) {
    faults.push(`kernel memory is not flat: ${before.kernel} → ${after.kernel} bytes`);
  }
  if (after.heap > before.heap + HEAP) {
    faults.push(`the heap is not flat: ${before.heap} → ${after.heap} bytes`);
  }
  return faults;
}
