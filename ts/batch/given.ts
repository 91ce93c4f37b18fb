/**
 * Statistics that are given in float64, as `batchNormStatistics` returns them: a mean of a million σ is
 * off by 6e-2 σ as float32. The kernel takes them from where it would save them.
 */
import { fail } from "../core/errors.js";
import { Place, type Through } from "../core/operands.js";
import { allocateSaved } from "../core/saved-state.js";
import { typedArrayName } from "../core/typed-arrays.js";
import { readValues } from "../core/values.js";
import type { View } from "../core/view.js";

/**
 * The way of a call by means and variances, if one of them is a `Float64Array`; it throws
 * `shape-mismatch` unless there is one of each for each channel.
 *
 * @throws BatchNormError `dtype` unless the other is one, too, or numbers
 */
export function readGiven(mean: unknown, variance: unknown, owner: string): Through<View> | null {
  const isFloat64 = (one: unknown) =>
    ArrayBuffer.isView(one) && typedArrayName(one) === "Float64Array";
  if (!isFloat64(mean) && !isFloat64(variance)) return null;
  const vectors = Object.entries({ mean, variance }).map(([name, one]) => {
    const label = `${owner}: ${name}`;
    return { label, values: new Float64Array(readValues(one, label, ["Float64Array"])) };
  });
  return {
    run(call) {
      const { operands, channels } = call;
      for (const { label, values } of vectors) {
        if (values.length !== channels) {
          fail("shape-mismatch", `${label} must be of ${channels} values, got [${values.length}]`);
        }
      }
      const { port } = (operands[Place.X] as View).allocation;
      const own = call.saved === 0 ? allocateSaved(port, call) : null;
      try {
        if (own) call.saved = own.address;
        const to = new Float64Array(port.memory.linear.buffer, call.saved, 2 * channels);
        vectors.forEach(({ values }, k) => {
          to.set(values, k * channels);
        });
        call.constant = true;
        port.record.run(call);
      } finally {
        own?.release();
      }
      // The way back reads what was saved, as after any forward pass.
      call.through = null;
    },
  };
}
