/** The shapes that are measured, as PyTorch writes them: channels second. */

/**
 * @typedef {import("./contestant.d.ts").Layout} Layout
 * @typedef {"quick" | "default" | "full"} SetName each holds those before it
 * @typedef {import("./contestant.d.ts").Norm} Norm
 */

/** @type {Layout[]} channels-last moves the channels to the end */
const IMAGE = ["channels-first", "channels-last"];
/** @type {Layout[]} */
const RUNS = ["channels-first"];
/** @type {Layout[]} */
const ROWS = ["NC"];

/** @type {readonly [SetName, string, number[], Layout[]][]} */
const NAMED = [
  ["quick", "headline", [32, 64, 56, 56], IMAGE],
  ["quick", "headline", [4096, 256], ROWS],
  ["quick", "16 elements", [2, 2, 2, 2], RUNS],
  ["default", "16 elements", [2, 2, 2, 2], ["channels-last"]],
  ["default", "16 elements", [4, 4], ROWS],

  ["full", "ResNet-50 stem", [32, 64, 112, 112], IMAGE],
  ["full", "ResNet-50 layer1", [32, 256, 56, 56], IMAGE],
  ["full", "ResNet-50 layer2", [32, 512, 28, 28], IMAGE],
  ["default", "ResNet-50 layer3", [32, 1024, 14, 14], IMAGE],
  ["default", "ResNet-50 layer4", [32, 2048, 7, 7], IMAGE],
  ["full", "DenseNet-121 block 2", [16, 352, 28, 28], IMAGE],
  ["full", "MobileNetV2 expansion", [8, 144, 56, 56], IMAGE],
  ["full", "MobileNetV2 last blocks", [8, 960, 7, 7], IMAGE],
  ["full", "EfficientNet head", [64, 1280, 7, 7], IMAGE],
  ["full", "U-Net top", [2, 64, 512, 512], IMAGE],
  ["full", "U-Net bottom", [1, 1024, 32, 32], IMAGE],

  ["full", "batch of 1", [1, 104, 7, 7], IMAGE],
  ["default", "batch of 1", [1, 256, 14, 14], IMAGE],
  ["full", "batch of 2", [2, 64, 56, 56], IMAGE],
  ["full", "batch of 4", [4, 512, 7, 7], IMAGE],
  ["full", "batch of 4", [4, 32, 28, 28], IMAGE],
  ["full", "batch of 4", [4, 24, 112, 112], IMAGE],
  ["full", "batch of 8", [8, 512, 14, 14], IMAGE],

  ["default", "odd: C = 3, 513×513", [1, 3, 513, 513], IMAGE],
  ["full", "odd: C = 7, 27×27", [16, 7, 27, 27], IMAGE],
  ["full", "odd: C = 96, 27×27", [16, 96, 27, 27], IMAGE],
  ["full", "odd: 7×7", [16, 64, 7, 7], IMAGE],

  // Of equal bytes with the one above it: what short runs cost.
  ["default", "7×7", [32, 512, 7, 7], RUNS],
  ["default", "14×14", [32, 128, 14, 14], RUNS],
  ["full", "14×14", [64, 320, 14, 14], RUNS],

  ["default", "many channels", [1, 1024, 4, 4], RUNS],
  ["default", "many channels", [16, 1024], ROWS],
  ["default", "few channels", [256, 64], ROWS],
  ["full", "many channels", [8, 512, 2, 2], IMAGE],
  ["full", "many channels", [8, 2048], ROWS],

  ["full", "features", [16, 320], ROWS],
  ["default", "features", [64, 1024], ROWS],
  ["default", "features", [128, 768], ROWS],
  ["default", "features", [1024, 64], ROWS],
  ["full", "features", [16384, 64], ROWS],
  ["full", "features", [25088, 256], ROWS],
  ["full", "features", [8192, 1000], ROWS],
];

/**
 * Of 64 KB each, with 1024 channels and with 64: the difference is what 960 channels cost
 * beside their elements. Few elements, all in the first caches, or they would hide it.
 */
export const CHANNEL_PAIRS = /** @type {const} */ ([
  { layout: "channels-first", many: [1, 1024, 4, 4], few: [1, 64, 16, 16] },
  { layout: "NC", many: [16, 1024], few: [256, 64] },
]);

/** The size series' name: the charts of cost against size have these cells alone. */
export const SERIES_NAME = "size series";

/**
 * 64 channels, 1 KB to 64 MB in powers of 4 (channels-first to 1 GB): what an element costs
 * against the size. [N, C] is left out: it is channels-last in memory.
 *
 * @type {typeof NAMED}
 */
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
].map(([n = 0, h = 0, w = 0]) => {
  const rows = n * h * w;
  // 64 KB are the few channels of a pair, too; 256 KB and 4 MB a look at the rest.
  const set = [256, 1024, 16384].includes(rows) ? "default" : "full";
  return [set, SERIES_NAME, [n, 64, h, w], rows <= 2 ** 18 ? IMAGE : RUNS];
});

export const SHAPES = [...NAMED, ...SERIES];

/**
 * Of the other norms; layer and RMS norm's are of rows.
 *
 * @type {readonly [Norm, number, string, number[], Layout[]][]}
 */
export const NORM_SHAPES = [
  ["group", 32, "U-Net", [32, 64, 56, 56], IMAGE],
  ["group", 32, "U-Net", [32, 256, 14, 14], IMAGE],
  ["group", 32, "U-Net", [8, 512, 7, 7], IMAGE],
  ["group", 64, "instance norm", [4, 64, 112, 112], IMAGE],
  ["group", 32, "from memory", [32, 64, 112, 112], IMAGE],
  ["group", 2, "16 elements", [2, 2, 2, 2], RUNS],
  .../** @type {const} */ (["layer", "rms"]).flatMap((norm) =>
    /** @type {const} */ ([
      ["16 elements", [4, 4]],
      ["batch of 1", [1, 768]],
      ["transformer", [128, 768]],
      ["transformer", [1024, 768]],
      ["transformer", [4096, 256]],
      ["transformer", [512, 4096]],
      ["many rows", [32768, 64]],
      ["from memory", [32768, 768]],
    ]).map(
      ([name, shape]) =>
        /** @type {[Norm, number, string, number[], Layout[]]} */ ([
          norm,
          0,
          name,
          [...shape],
          ROWS,
        ]),
    ),
  ),
];

/**
 * Of several threads: from what one does alone to what comes from memory. All contestants are to fit
 * in together, so that what threads gain is told of the same rounds.
 *
 * @type {readonly [Norm, number, string, number[], Layout[]][]}
 */
export const THREAD_SHAPES = [
  ...SERIES.filter(([, , shape]) => bytesOf(shape) <= 2 ** 26).map(
    ([, name, shape]) =>
      /** @type {[Norm, number, string, number[], Layout[]]} */ (["batch", 0, name, shape, IMAGE]),
  ),
  ["batch", 0, "headline", [32, 64, 56, 56], IMAGE],
  ["batch", 0, "headline", [4096, 256], ROWS],
  ["batch", 0, "ResNet-50 stem", [32, 64, 112, 112], RUNS],
  ["batch", 0, "ResNet-50 layer3", [32, 1024, 14, 14], IMAGE],
  ["batch", 0, "ResNet-50 layer4", [32, 2048, 7, 7], RUNS],
  ["batch", 0, "few channels", [32, 3, 128, 128], RUNS],
  ["batch", 0, "features", [1024, 64], ROWS],
  ["batch", 0, "features", [25088, 256], ROWS],
  ...NORM_SHAPES.filter(([, , name]) =>
    ["U-Net", "instance norm", "transformer", "from memory"].includes(name),
  ),
];

/** @param {readonly number[]} shape */
function bytesOf(shape) {
  return 4 * shape.reduce((a, b) => a * b, 1);
}

/**
 * Of batch norm's variants; the batch is a multiple of four, the number of ghost batches.
 *
 * @type {readonly [string, number[], Layout[]][]}
 */
export const VARIANT_SHAPES = [
  ["few channels", [1024, 16], ROWS],
  ["features", [1024, 64], ROWS],
  ["features", [4096, 256], ROWS],
  ["ResNet, small", [8, 64, 28, 28], IMAGE],
  ["ResNet, deep", [16, 256, 14, 14], RUNS],
  ["ResNet, wide", [32, 64, 56, 56], IMAGE],
];
