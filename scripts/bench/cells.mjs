/** What is measured: operations × layouts × shapes, in three sets; and a cell's sizes. */
import { NORM_SHAPES, SHAPES, THREAD_SHAPES, VARIANT_SHAPES } from "./shapes.mjs";

/**
 * @typedef {import("./contestant.d.ts").Cell} Cell
 * @typedef {import("./contestant.d.ts").Op} Op
 * @typedef {import("./contestant.d.ts").Layout} Layout
 * @typedef {import("./contestant.d.ts").Variant} Variant
 * @typedef {import("./shapes.mjs").SetName} SetName
 */

/** @type {readonly Op[]} */
export const OPS = ["inference", "inference-in-place", "training", "backward", "forward-backward"];

/** Those whose walks are all that there are. @type {readonly Op[]} */
const OPS_OF_THREADS = ["inference", "training", "backward"];

/** @type {readonly SetName[]} Each holds those before it. */
export const SETS = ["quick", "default", "full"];

/** @type {readonly Layout[]} */
export const LAYOUTS = ["channels-first", "channels-last", "NC"];

/**
 * The cells of a set, small tensors first: what a slow contestant took for one tells
 * whether there is time for the next. Operations on one tensor follow each other.
 *
 * @param {SetName} set
 * @returns {Cell[]}
 */
export function cellsOf(set) {
  const sets = SETS.slice(0, SETS.indexOf(set) + 1);
  return SHAPES.filter(([first]) => sets.includes(first))
    .flatMap(([, name, shape, layouts]) => layouts.map((layout) => arrange(name, shape, layout)))
    .sort((a, b) => bytesOf(a) - bytesOf(b))
    .flatMap((tensor) => OPS.map((op) => ({ op, ...tensor })));
}

/** @type {readonly import("./contestant.d.ts").Norm[]} */
export const NORMS = ["batch", "group", "layer", "rms"];

/** Forward and backward passes of the other norms, small tensors first. @returns {Cell[]} */
export function cellsOfNorms() {
  return NORM_SHAPES.flatMap(([norm, groups, name, shape, layouts]) =>
    layouts.map((layout) => ({ norm, groups, ...arrange(name, shape, layout) })),
  )
    .sort((a, b) => bytesOf(a) - bytesOf(b))
    .flatMap((tensor) =>
      /** @type {const} */ (["training", "backward"]).map((op) => ({ op, ...tensor })),
    );
}

/** Of several threads: batch norm and the other norms, small tensors first. @returns {Cell[]} */
export function cellsOfThreads() {
  return THREAD_SHAPES.flatMap(([norm, groups, name, shape, layouts]) =>
    layouts.map((layout) => ({
      ...(norm === "batch" ? {} : { norm, groups }),
      ...arrange(name, shape, layout),
    })),
  )
    .sort((a, b) => bytesOf(a) - bytesOf(b))
    .flatMap((tensor) =>
      OPS_OF_THREADS.filter((op) => op !== "inference" || !("norm" in tensor)).map((op) => ({
        op,
        ...tensor,
      })),
    );
}

/** What each is called. @type {{ readonly [variant in Variant]: string }} */
export const VARIANT_NAMES = {
  ghost: "ghost batches",
  renorm: "renorm",
  mask: "mask",
  relu: "ReLU",
  "residual-relu": "residual + ReLU",
};

export const VARIANTS = /** @type {readonly Variant[]} */ (Object.keys(VARIANT_NAMES));

/** Those that follow the norm; the others vary its statistics, so that inference has none of them. */
export const ACTIVATED = /** @type {readonly Variant[]} */ (["relu", "residual-relu"]);

/**
 * How far renorm corrects: some step of the paper's schedule, at which some channels are limited
 * and others aren't.
 */
export const RENORM = { rMin: 1 / 1.5, rMax: 1.5, dMax: 0.5 };

/** Samples of a ghost batch: a quarter of them all. @param {Pick<Cell, "shape">} cell */
export function virtualBatchSizeOf({ shape }) {
  return Math.ceil(/** @type {number} */ (shape[0]) / 4);
}

/** Batch norm's variants, small tensors first. @returns {Cell[]} */
export function cellsOfVariants() {
  return VARIANT_SHAPES.flatMap(([name, shape, layouts]) =>
    layouts.map((layout) => arrange(name, shape, layout)),
  )
    .sort((a, b) => bytesOf(a) - bytesOf(b))
    .flatMap((tensor) => VARIANTS.map((variant) => ({ variant, ...tensor })))
    .flatMap((tensor) =>
      OPS.filter(
        (op) =>
          op !== "inference-in-place" && (op !== "inference" || ACTIVATED.includes(tensor.variant)),
      ).map((op) => ({ op, ...tensor })),
    );
}

/** @param {string} name @param {number[]} shape @param {Layout} layout */
function arrange(name, shape, layout) {
  const [n = 0, channels = 0, ...inner] = shape;
  return layout === "channels-last"
    ? { name, layout, shape: [n, ...inner, channels], axis: shape.length - 1 }
    : { name, layout, shape, axis: 1 };
}

/** Bytes of x. @param {Pick<Cell, "shape">} cell */
export function bytesOf({ shape }) {
  return 4 * shape.reduce((a, b) => a * b, 1);
}

/** @param {Pick<Cell, "shape" | "layout">} cell */
export function channelsOf({ shape, layout }) {
  return /** @type {number} */ (layout === "channels-last" ? shape.at(-1) : shape[1]);
}

/** Elements of a channel that lie together: of an image channels-first, else 1. @param {Pick<Cell, "shape" | "layout">} cell */
export function runOf({ shape, layout }) {
  return layout === "channels-first" ? shape.slice(2).reduce((a, b) => a * b, 1) : 1;
}

/** Bytes of a row across the channels; channels-first has none. @param {Pick<Cell, "shape" | "layout">} cell */
export function rowBytesOf(cell) {
  return runOf(cell) === 1 ? 4 * channelsOf(cell) : 0;
}

/** Tensors of x's size that an operation reads or writes. @type {{ readonly [op in Op]: number }} */
const TENSORS = {
  inference: 2,
  "inference-in-place": 1,
  training: 2,
  backward: 3,
  "forward-backward": 4,
};

/** Bytes of all tensors together. @param {Pick<Cell, "op" | "shape">} cell */
export function togetherOf(cell) {
  return TENSORS[cell.op] * bytesOf(cell);
}

/**
 * "training channels-first 32×64×56×56 headline": what `--filter` looks in.
 *
 * @param {Pick<Cell, "op" | "layout" | "shape" | "name" | "norm" | "variant">} cell
 */
export function label({ norm = "batch", variant, op, layout, shape, name }) {
  const of = norm !== "batch" ? `${norm} norm ` : variant ? `${VARIANT_NAMES[variant]}, ` : "";
  return `${of}${op} ${layout} ${shape.join("×")} ${name}`;
}
