/** Layer and RMS norm's calls. */
import {
  LayerNormSaved,
  layerNorm,
  layerNormBackward,
  RMSNormSaved,
  rmsNorm,
  rmsNormBackward,
} from "batchnorm-wasm";
import type { Random } from "../../scripts/random.mjs";
import { layer, rms, rowsOf, unit } from "../reference/layer.mjs";
import type { Kind } from "./kinds.js";
import { backward, type Division, forward, MOST_CHANNELS, type Norm } from "./sets.js";
import { resolve, same } from "./theme.js";
import { type Arg, arg } from "./values.js";
import { Fault } from "./world.js";

/** Of a shape in rows. */
interface Rows extends Division {
  readonly normalizedShape: readonly number[];
}

/** What is given as one axis or several; none of what throws when it is looked at. */
function numbersOf(given: unknown): number[] {
  if (typeof given === "number") return [given];
  try {
    return Array.isArray(given) ? [...given] : [];
  } catch {
    return [];
  }
}

/** Along some axes; undefined where that can't be. */
export function inRows(
  shape: readonly number[],
  given: unknown,
  norm: "layer" | "rms" | "unit",
): Rows | undefined {
  const axes = numbersOf(given)
    .map((axis) => (Number.isInteger(axis) ? resolve(axis, shape.length) : -1))
    .sort((a, b) => a - b);
  const normalizedShape = axes.map((axis) => shape[axis] as number);
  const channels = normalizedShape.reduce((a, b) => a * b, 1);
  const isFine =
    axes.length > 0 &&
    axes.every((axis, i) => axis >= 0 && axis < shape.length && axis !== axes[i - 1]);
  if (!isFine || channels > MOST_CHANNELS) return undefined;
  const rows = rowsOf(shape, axes);
  const { statistics, forward, backward } = { layer, rms, unit }[norm];
  return {
    ...{ axis: axes[0] as number, channels, normalizedShape, sets: rows.sets },
    statistics: (x) => statistics(x, rows),
    forward: (x, parameters) => forward(x, rows, parameters),
    backward: (x, dy, parameters) => backward(x, dy, rows, parameters),
  };
}

/** The last axis or some others, as a caller would name them. */
export function someAxes(random: Random, shape: readonly number[]): Arg {
  const rank = shape.length;
  const named = (axis: number) => (random.oneIn(2) ? axis - rank : axis);
  if (random.oneIn(3)) {
    const axis = named(random.oneIn(2) ? rank - 1 : random.below(rank));
    return arg(axis, `${axis}`);
  }
  const first = random.below(rank);
  const axes = shape.flatMap((_, axis) => (axis >= first || random.oneIn(5) ? [named(axis)] : []));
  return arg(axes, `[${axes}]`);
}

function normOf(norm: "layer" | "rms"): Omit<Norm, "name" | "forward" | "backward" | "Saved"> {
  return {
    eps: norm === "layer" ? 1e-5 : 2 ** -23,
    vectors: norm === "layer" ? ["weight", "bias"] : ["weight"],
    divides: ["axes"],
    divide(options, _, random, shape) {
      const axes = random.oneIn(3) ? arg(undefined, "undefined") : someAxes(random, shape);
      if (axes.value !== undefined) options.set("axes", axes);
      return inRows(shape, axes.value ?? -1, norm)?.channels ?? 1;
    },
    division: (option, shape) => inRows(shape, option("axes") ?? -1, norm),
    told(field, value, { division }) {
      const { normalizedShape } = (division ?? { normalizedShape: [] }) as Rows;
      if (field === "normalizedShape" && division && !same(value as number[], normalizedShape)) {
        throw new Fault("a record's normalized shape is another", `${value}`);
      }
    },
  };
}

const LAYER: Norm = {
  ...normOf("layer"),
  ...{ name: "layerNorm", forward: layerNorm, backward: layerNormBackward, Saved: LayerNormSaved },
};
const RMS: Norm = {
  ...normOf("rms"),
  ...{ name: "rmsNorm", forward: rmsNorm, backward: rmsNormBackward, Saved: RMSNormSaved },
};

export const LAYER_NORM: readonly Kind[] = [
  ["layerNorm", 6, (...all) => forward(...all, LAYER)],
  ["rmsNorm", 4, (...all) => forward(...all, RMS)],
  ["layerNormBackward", 5, (...all) => backward(...all, LAYER)],
  ["rmsNormBackward", 3, (...all) => backward(...all, RMS)],
];
