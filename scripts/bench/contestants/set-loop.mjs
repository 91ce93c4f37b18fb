/**
 * JavaScript loops for the norms within a sample: a set after the other, in one pass over its
 * elements for the sums and one for the map, sums of deviations from a first value.
 */
import { extents } from "../data.mjs";
import { timed } from "./timed.mjs";

/** @type {import("../contestant.d.ts").Contestant} */
export default {
  name: "loop by set",
  kind: "javascript",
  norms: ["group", "layer", "rms"],
  async start() {
    return {
      version: "",
      refuses: () => undefined,
      prepare: async (cell, data) => prepare(cell, data),
    };
  },
};

/**
 * A sample as [channels, inner] or [inner, channels], of which a set is some channels. A row is a
 * sample whose elements are channels, all of one set.
 *
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 * @returns {import("../contestant.d.ts").Prepared}
 */
function prepare({ op, shape, axis, norm, groups = 1 }, data) {
  const { channels, size } = extents({ shape, axis });
  const samples = /** @type {number} */ (shape[0]);
  const isRow = norm !== "group";
  const inner = isRow ? 1 : size / samples / channels;
  const sets = isRow ? 1 : groups;
  const together = channels / sets;
  const [ofChannel, ofElement] = axis === 1 ? [inner, 1] : [1, channels];
  const isCentered = norm !== "rms";
  const { x, weight, bias, eps } = data;
  const dy = op === "backward" ? data.dy : x;
  const to = new Float32Array(size);
  const [mean, inverseStd] = [0, 0].map(() => new Float64Array(samples * sets));
  const [dweight, dbias] = [0, 0].map(() => new Float64Array(channels));
  const count = together * inner;

  const forward = () => {
    for (let set = 0; set < samples * sets; set++) {
      const start = Math.floor(set / sets) * channels * inner;
      const first = (set % sets) * together;
      const shift = isCentered ? x[start + first * ofChannel] : 0;
      let [sum, squares] = [0, 0];
      for (let c = first; c < first + together; c++) {
        let at = start + c * ofChannel;
        for (let i = 0; i < inner; i++, at += ofElement) {
          const d = x[at] - shift;
          sum += d;
          squares += d * d;
        }
      }
      const rest = isCentered ? sum / count : 0;
      const s = 1 / Math.sqrt(squares / count - rest * rest + eps);
      mean[set] = shift + rest;
      inverseStd[set] = s;
      for (let c = first; c < first + together; c++) {
        const a = weight[c] * s;
        const b = (isCentered ? bias[c] : 0) - mean[set] * a;
        let at = start + c * ofChannel;
        for (let i = 0; i < inner; i++, at += ofElement) to[at] = x[at] * a + b;
      }
    }
  };
  const backward = () => {
    dweight.fill(0);
    dbias.fill(0);
    for (let set = 0; set < samples * sets; set++) {
      const start = Math.floor(set / sets) * channels * inner;
      const first = (set % sets) * together;
      const [m, s] = [mean[set], inverseStd[set]];
      let [sum, products] = [0, 0];
      for (let c = first; c < first + together; c++) {
        let [ofDy, co] = [0, 0];
        let at = start + c * ofChannel;
        for (let i = 0; i < inner; i++, at += ofElement) {
          ofDy += dy[at];
          co += dy[at] * (x[at] - m);
        }
        dbias[c] += ofDy;
        dweight[c] += co * s;
        sum += weight[c] * ofDy;
        products += weight[c] * co;
      }
      const slope = (s * s * products) / count;
      const offset = (isCentered ? sum / count : 0) - slope * m;
      for (let c = first; c < first + together; c++) {
        let at = start + c * ofChannel;
        for (let i = 0; i < inner; i++, at += ofElement) {
          to[at] = s * (weight[c] * dy[at] - x[at] * slope - offset);
        }
      }
    }
  };
  forward();
  return {
    run: timed(op === "backward" ? backward : forward),
    outputs: async () =>
      op === "backward"
        ? { dx: to, dweight: Float32Array.from(dweight), dbias: Float32Array.from(dbias) }
        : { y: to },
    dispose() {},
  };
}
