/**
 * Layer normalization (Ba, Kiros & Hinton, 2016, arXiv:1607.06450) and root mean square
 * normalization (Zhang & Sennrich, 2019, arXiv:1910.07467) as their formulas stand, float64 on
 * float32 inputs.
 *
 * ```text
 * μ, σ²: of a row, a set of m elements        RMS: 0 and Σx²/m
 * x̂ = (x − μ)/√(σ² + ε)                       0 where σ² + ε = 0
 * y = γ·x̂ + β
 *
 * dβ = Σdy     dγ = Σdy·x̂                     over the elements in the same place of each row
 * dx = (γ·dy − Σγ·dy/m − x̂·Σγ·dy·x̂/m)/√(σ² + ε)      RMS: without Σγ·dy/m
 * ```
 */
import * as batch from "./batch.mjs";
import { parameterOf } from "./channels.mjs";
import * as group from "./group.mjs";
import { at, each, meanOf, sumOf } from "./sums.mjs";

/** @typedef {import("./sums.mjs").Values} Values */
/** @typedef {import("./sums.mjs").Sets} Sets */

/**
 * Which elements share statistics (sets: rows), and which γ and β (channels: places in a row).
 *
 * @typedef {{ sets: Sets, channels: Sets }} Rows
 */

/**
 * The rows of a shape along some axes, negative from the end; in the order of these axes.
 *
 * @param {readonly number[]} shape @param {readonly number[]} axes @returns {Rows}
 */
export function rowsOf(shape, axes) {
  const along = axes.map((axis) => (axis < 0 ? axis + shape.length : axis)).sort((a, b) => a - b);
  const size = shape.reduce((a, b) => a * b, 1);
  const [sets, channels] = [new Int32Array(size), new Int32Array(size)];
  for (let i = 0; i < size; i++) {
    let [rest, set, channel, sizeOfSets, sizeOfRow] = [i, 0, 0, 1, 1];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const length = at(shape, axis);
      const index = rest % length;
      rest = Math.floor(rest / length);
      if (along.includes(axis)) {
        channel += index * sizeOfRow;
        sizeOfRow *= length;
      } else {
        set += index * sizeOfSets;
        sizeOfSets *= length;
      }
    }
    sets[i] = set;
    channels[i] = channel;
  }
  const number = along.reduce((product, axis) => product * at(shape, axis), 1);
  return {
    sets: { number: number === 0 ? 0 : size / number, of: sets },
    channels: { number, of: channels },
  };
}

/** Of layer norm: group norm's formulas, with rows for groups. */
export const layer = {
  statistics: (/** @type {Values} */ x, /** @type {Rows} */ { sets }) => batch.statistics(x, sets),
  forward: (
    /** @type {Values} */ x,
    /** @type {Rows} */ rows,
    /** @type {batch.Parameters} */ parameters,
  ) => group.forward(x, { ...rows, strands: rows.channels }, parameters),
  backward: (
    /** @type {Values} */ x,
    /** @type {Values} */ dy,
    /** @type {Rows} */ rows,
    /** @type {Pick<batch.Parameters, "weight" | "eps">} */ parameters,
  ) => group.backward(x, dy, { ...rows, strands: rows.channels }, parameters),
};

/** Of RMS norm. */
export const rms = {
  /** @param {Values} x @param {Rows} rows @returns {batch.Statistics} */
  statistics(x, { sets }) {
    return { mean: new Float64Array(sets.number), variance: meanOf((i) => at(x, i) ** 2, sets) };
  },

  /** @param {Values} x @param {Rows} rows @param {batch.Parameters} parameters */
  forward(x, rows, { weight, bias, eps }) {
    const xHat = batch.normalized(x, rows.sets, rms.statistics(x, rows), eps);
    return each(x.length, (i) => {
      const c = at(rows.channels.of, i);
      return at(xHat, i) * parameterOf(weight, c, 1) + parameterOf(bias, c, 0);
    });
  },

  /**
   * Of a loss whose gradient with respect to y is dy.
   *
   * @param {Values} x @param {Values} dy @param {Rows} rows
   * @param {Pick<batch.Parameters, "weight" | "eps">} parameters @returns {batch.Gradients}
   */
  backward(x, dy, rows, { weight, eps }) {
    const { sets, channels } = rows;
    const own = rms.statistics(x, rows);
    const scale = batch.inverseStd(own, eps);
    const xHat = batch.normalized(x, sets, own, eps);
    const weighed = each(x.length, (i) => at(dy, i) * parameterOf(weight, at(channels.of, i), 1));
    const slope = meanOf((i) => at(weighed, i) * at(xHat, i), sets);
    const dx = each(x.length, (i) => {
      const set = at(sets.of, i);
      return at(scale, set) * (at(weighed, i) - at(xHat, i) * at(slope, set));
    });
    return {
      dx,
      dweight: sumOf((i) => at(dy, i) * at(xHat, i), channels),
      dbias: sumOf((i) => at(dy, i), channels),
    };
  },
};

/** Of unit length: y = x/max(‖x‖, ε); there are no parameters. */
export const unit = {
  /** @param {Values} x @param {Rows} rows @returns {batch.Statistics} */
  statistics(x, { sets }) {
    return { mean: new Float64Array(sets.number), variance: sumOf((i) => at(x, i) ** 2, sets) };
  },

  /** @param {Values} x @param {Rows} rows @param {Pick<batch.Parameters, "eps">} parameters */
  forward(x, rows, { eps }) {
    const lengths = unit.statistics(x, rows).variance.map(Math.sqrt);
    return each(x.length, (i) => at(x, i) / Math.max(at(lengths, at(rows.sets.of, i)), eps));
  },

  /**
   * @param {Values} x @param {Values} dy @param {Rows} rows
   * @param {Pick<batch.Parameters, "eps">} parameters @returns {batch.Gradients}
   */
  backward(x, dy, rows, { eps }) {
    const { sets, channels } = rows;
    const lengths = unit.statistics(x, rows).variance.map(Math.sqrt);
    const y = unit.forward(x, rows, { eps });
    const along = sumOf((i) => at(dy, i) * at(y, i), sets);
    const dx = each(x.length, (i) => {
      const set = at(sets.of, i);
      const length = at(lengths, set);
      return length < eps ? at(dy, i) / eps : (at(dy, i) - at(y, i) * at(along, set)) / length;
    });
    const dweight = sumOf((i) => at(dy, i) * at(y, i), channels);
    return { dx, dweight, dbias: sumOf((i) => at(dy, i), channels) };
  },
};
