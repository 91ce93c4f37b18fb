/** What is measured: operations × layouts × shapes, in three sets. */

/**
 * @typedef {import("./contestant.d.ts").Cell} Cell
 * @typedef {import("./contestant.d.ts").Op} Op
 * @typedef {import("./contestant.d.ts").Layout} Layout
 * @typedef {"quick" | "default" | "full"} SetName
 */

/** @type {readonly Op[]} */
export const OPS = ["inference", "inference-in-place", "training", "backward", "forward-backward"];

/** @type {readonly SetName[]} Each holds those before it. */
export const SETS = ["quick", "default", "full"];

/** @type {readonly Layout[]} */
export const LAYOUTS = ["channels-first", "channels-last", "NC"];

/** @type {Layout[]} */
const IMAGE = ["channels-first", "channels-last"];

/**
 * Shapes as PyTorch writes them, channels second; channels-last moves these to the end.
 *
 * @type {readonly [SetName, string, number[], Layout[]][]}
 */
const SHAPES = [
  ["quick", "headline", [32, 64, 56, 56], IMAGE],
  ["quick", "headline", [4096, 256], ["NC"]],
  ["quick", "16 elements", [2, 2, 2, 2], ["channels-first"]],
  ["default", "16 elements", [2, 2, 2, 2], ["channels-last"]],
  ["default", "16 elements", [4, 4], ["NC"]],

  ["full", "ResNet-50 stem", [32, 64, 112, 112], IMAGE],
  ["full", "ResNet-50 layer1", [32, 256, 56, 56], IMAGE],
  ["full", "ResNet-50 layer2", [32, 512, 28, 28], IMAGE],
  ["default", "ResNet-50 layer3", [32, 1024, 14, 14], IMAGE],
  ["default", "ResNet-50 layer4", [32, 2048, 7, 7], IMAGE],
  ["full", "DenseNet-121 block 2", [16, 352, 28, 28], IMAGE],
  ["full", "MobileNetV2 expansion", [8, 144, 56, 56], IMAGE],
  ["full", "MobileNetV2 last blocks", [8, 960, 7, 7], IMAGE],
  ["full", "U-Net top", [2, 64, 512, 512], IMAGE],
  ["full", "U-Net bottom", [1, 1024, 32, 32], IMAGE],

  ["default", "batch of 1", [1, 256, 14, 14], IMAGE],
  ["full", "batch of 2", [2, 64, 56, 56], IMAGE],
  ["full", "batch of 4", [4, 512, 7, 7], IMAGE],

  ["default", "odd: C = 3, 513×513", [1, 3, 513, 513], IMAGE],
  ["full", "odd: C = 7, 27×27", [16, 7, 27, 27], IMAGE],
  ["full", "odd: 7×7", [16, 64, 7, 7], IMAGE],

  ["default", "features", [64, 1024], ["NC"]],
  ["full", "features", [1024, 64], ["NC"]],
];

/** 1 KB to 1 GB in powers of 4, 64 channels: what an element costs against the size. */
const SERIES = [
  [1, 2, 2],
  [1, 4, 4],
  [1, 8, 8],
  [1, 16, 16],
  [1, 32, 32],
  [4, 32, 32],
  [4, 64, 64],
  [16, 64, 64],
  [64, 64, 64],
  [64, 128, 128],
  [64, 256, 256],
].map(([n = 0, h = 0, w = 0]) => ({ image: [n, 64, h, w], rows: n * h * w }));

/** Which set a size of the series is in. @param {number} rows */
const seriesSet = (rows) => (rows === 1024 || rows === 16384 ? "default" : "full");

/** The size series' name: the chart of cost against size has these cells alone. */
export const SERIES_NAME = "size series";

/** @type {typeof SHAPES} */
const ALL = [
  ...SHAPES,
  ...SERIES.flatMap(
    ({ image, rows }) =>
      /** @type {typeof SHAPES} */ ([
        [seriesSet(rows), SERIES_NAME, image, ["channels-first"]],
        [seriesSet(rows), SERIES_NAME, [rows, 64], ["NC"]],
      ]),
  ),
];

/**
 * The cells of a set, small tensors first: what a slow contestant took for one tells
 * whether there is time for the next. Operations on one tensor follow each other.
 *
 * @param {SetName} set
 * @returns {Cell[]}
 */
export function cellsOf(set) {
  const sets = SETS.slice(0, SETS.indexOf(set) + 1);
  return ALL.filter(([first]) => sets.includes(first))
    .flatMap(([, name, shape, layouts]) => layouts.map((layout) => arrange(name, shape, layout)))
    .sort((a, b) => bytesOf(a) - bytesOf(b))
    .flatMap((tensor) => OPS.map((op) => ({ op, ...tensor })));
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

/**
 * "training channels-first 32×64×56×56 headline": what `--filter` looks in.
 *
 * @param {Pick<Cell, "op" | "layout" | "shape" | "name">} cell
 */
export function label({ op, layout, shape, name }) {
  return `${op} ${layout} ${shape.join("×")} ${name}`;
}
