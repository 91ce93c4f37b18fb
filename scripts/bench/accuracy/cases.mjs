/** Distributions × sizes × layouts, and their data. */
import { Random } from "../../random.mjs";
import { extents } from "../data.mjs";
import { DISTRIBUTIONS, OFFSET, STANDARD } from "./distributions.mjs";

/**
 * @typedef {import("./distributions.mjs").Distribution} Distribution
 * @typedef {import("./distributions.mjs").Values} Values
 * @typedef {import("../contestant.d.ts").Layout} Layout
 * @typedef {readonly [n: number, channels: number, h: number, w: number]} Image
 * @typedef {object} Sample
 * @property {Distribution} distribution
 * @property {Image} image
 * @property {readonly Layout[]} layouts
 * @property {number} seed
 * @typedef {{ layout: Layout, shape: readonly number[], axis: number }} Shaped
 */

/** Odd inner extents: tails of vectors in each row. @type {Image} */
const IMAGE = [8, 16, 27, 27];

/** As many elements of features. @type {Image} */
const FEATURES = [1458, 64, 1, 1];

/** @type {readonly Layout[]} */
const ALL_LAYOUTS = ["channels-first", "channels-last", "NC"];

/** Few, 10⁶ and 10⁷ values a channel. @type {readonly Image[]} */
const SMALL = [
  [1, 16, 1, 2],
  [3, 16, 1, 1],
  [2, 16, 4, 4],
];
/** @type {readonly Image[]} */
const LARGE = [
  [16, 4, 250, 250],
  [40, 2, 500, 500],
];

/**
 * @param {object} options
 * @param {boolean} options.quick without 10⁶ and more values a channel
 * @returns {Sample[]}
 */
export function samples({ quick }) {
  const counts = quick ? SMALL : [...SMALL, ...LARGE];
  return [
    ...DISTRIBUTIONS.flatMap((distribution) => [
      { distribution, image: IMAGE, layouts: ALL_LAYOUTS.slice(0, 2) },
      { distribution, image: FEATURES, layouts: ALL_LAYOUTS.slice(2) },
    ]),
    ...counts.flatMap((image) =>
      [STANDARD, OFFSET].map((distribution) => ({ distribution, image, layouts: ALL_LAYOUTS })),
    ),
  ].map((sample, index) => ({ ...sample, seed: index + 1 }));
}

/** Sets of the other norms: so many, of as many values as an image has of a channel. */
const SETS = 128;
/** Groups of each sample of group norm, of two channels each. */
const GROUPS = 32;

/**
 * A sample of each distribution for the other norms, and how it is divided: what is a channel's of
 * batch norm's samples is a set's here, a row or a group of a sample.
 *
 * @returns {{ sample: Sample, divided: Divided[] }[]}
 *
 * @typedef {Shaped & { norm: "group" | "layer" | "rms", groups: number }} Divided
 */
export function samplesOfSets() {
  const [n, , h, w] = IMAGE;
  const rows = {
    layout: /** @type {const} */ ("NC"),
    shape: [SETS, n * h * w],
    axis: 1,
    groups: 0,
  };
  const shape = [SETS / GROUPS, 2 * GROUPS, (n * h) / 2, w];
  return DISTRIBUTIONS.map((distribution, index) => ({
    sample: { distribution, image: [n, SETS, h, w], layouts: [], seed: index + 1 },
    divided: [
      { norm: "group", layout: "channels-first", shape, axis: 1, groups: GROUPS },
      { norm: "layer", ...rows },
      { norm: "rms", ...rows },
    ],
  }));
}

/** @param {Pick<Sample, "image" | "layouts">} sample @returns {Shaped[]} */
export function layoutsOf({ image, layouts }) {
  const [n, channels, h, w] = image;
  const shapes = {
    "channels-first": { shape: image, axis: 1 },
    "channels-last": { shape: [n, h, w, channels], axis: 3 },
    NC: { shape: [n * h * w, channels], axis: 1 },
  };
  return layouts.map((layout) => ({ layout, ...shapes[layout] }));
}

/**
 * Channel by channel: the same values for all layouts.
 *
 * @param {Sample} sample
 */
export function makeValues({ distribution, image, seed }) {
  const [n, channels, h, w] = image;
  const count = n * h * w;
  const { x, dy = STANDARD.x, eps = 1e-5 } = distribution;
  const random = new Random(seed);
  const fill = (/** @type {() => Values} */ make) => {
    const all = new Float32Array(channels * count);
    for (let c = 0; c < channels; c++) {
      const value = make();
      for (let i = 0; i < count; i++) all[c * count + i] = value(i, count, random);
    }
    return all;
  };
  const vector = (/** @type {number} */ from, /** @type {number} */ to) =>
    Float32Array.from({ length: channels }, () => from + (to - from) * random.uniform());
  return {
    channels,
    count,
    x: fill(x),
    dy: fill(dy),
    weight: vector(0.5, 1.5),
    bias: vector(0.5, 1.5),
    eps,
  };
}

/**
 * Puts values that lie channel by channel to where a layout has them.
 *
 * @param {Pick<Shaped, "shape" | "axis">} shaped @param {Float32Array} values
 */
export function scatter(shaped, values) {
  const placed = new Float32Array(values.length);
  forEachPlace(shaped, values.length, (place, index) => {
    placed[place] = /** @type {number} */ (values[index]);
  });
  return placed;
}

/**
 * The way back of {@link scatter}.
 *
 * @param {Pick<Shaped, "shape" | "axis">} shaped @param {ArrayLike<number>} placed
 */
export function gather(shaped, placed) {
  const values = new Float32Array(placed.length);
  forEachPlace(shaped, placed.length, (place, index) => {
    values[index] = /** @type {number} */ (placed[place]);
  });
  return values;
}

/**
 * Where a layout has each value, channel by channel.
 *
 * @param {Pick<Shaped, "shape" | "axis">} shaped @param {number} length of what is placed
 * @param {(place: number, index: number) => void} visit
 */
function forEachPlace(shaped, length, visit) {
  const { outer, channels, inner, size } = extents(shaped);
  if (length !== size) throw new Error(`${length} elements instead of ${size}`);
  let index = 0;
  for (let c = 0; c < channels; c++) {
    for (let o = 0; o < outer; o++) {
      const start = (o * channels + c) * inner;
      for (let place = start; place < start + inner; place++) visit(place, index++);
    }
  }
}
