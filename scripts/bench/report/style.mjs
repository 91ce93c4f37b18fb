/**
 * How all charts look. One file serves light and dark pages: the background is the page's,
 * text and lines are of a grey that both can show. And one width serves phones: a chart is
 * about as wide as a phone shows it, one panel below the other, so that text keeps its size.
 */

import { ONE_THREAD } from "../limits/names.mjs";

/** Whoever it is in each cell. */
export const FASTEST = "fastest rival";

const GREY = "#7d838c";
const [SOLID, DASHED, DOTTED] = [
  [1, 0],
  [6, 3],
  [2, 3],
];

/**
 * Colours that colour-blind readers can tell apart (Okabe & Ito, 2008; Tol, 2021), one a
 * family, and dashes within it. Ours has the one that stands out, and a thicker line.
 *
 * @type {{ [contestant: string]: { color: string, dash: number[] } }}
 */
const STYLES = {
  "memory.copy": { color: GREY, dash: DASHED },
  "bare loops": { color: GREY, dash: SOLID },
  "batchnorm-wasm": { color: "#d55e00", dash: SOLID },
  [ONE_THREAD]: { color: "#d55e00", dash: DASHED },
  "batchnorm-wasm plain": { color: "#d55e00", dash: DOTTED },
  "naive loop": { color: "#56b4e9", dash: DOTTED },
  "flat loop": { color: "#56b4e9", dash: SOLID },
  "tfjs cpu": { color: "#b39b00", dash: DOTTED },
  "tfjs wasm": { color: "#b39b00", dash: SOLID },
  "tfjs cpu + batchnorm-wasm": { color: "#8f7ab8", dash: DOTTED },
  "tfjs wasm + batchnorm-wasm": { color: "#8f7ab8", dash: DASHED },
  "onnxruntime-web": { color: "#009e73", dash: DOTTED },
  "onnxruntime-node": { color: "#009e73", dash: SOLID },
  PyTorch: { color: "#cc79a7", dash: SOLID },
  "torch.compile": { color: "#cc79a7", dash: DASHED },
  JAX: { color: "#5b6fd6", dash: SOLID },
  [FASTEST]: { color: "#5b6fd6", dash: DOTTED },
};

/** @param {string} name */
function styleOf(name) {
  const style = STYLES[name];
  // A contestant without a style would look like another one.
  if (!style) throw new Error(`style.mjs has no style for ${name}`);
  return style;
}

/** The lesser of two of a family. @param {string} name */
const isLesser = (name) => styleOf(name).dash !== SOLID;

/** @param {readonly string[]} names */
export function scales(names) {
  const styles = names.map(styleOf);
  return {
    color: { domain: [...names], range: styles.map(({ color }) => color) },
    dash: { domain: [...names], range: styles.map(({ dash }) => dash) },
  };
}

/** Bars beside the names of contestants: what the charts of bars share. */
export const BAR = { width: 210, step: 19 };

/** How a bar tells whose it is. @param {readonly string[]} names */
export function barColors(names) {
  return {
    color: { field: "contestant", scale: scales(names).color, legend: null },
    opacity: {
      condition: { test: { field: "contestant", oneOf: names.filter(isLesser) }, value: 0.5 },
      value: 1,
    },
  };
}

/** What stands behind a bar's end. */
export const BAR_TEXT = { type: "text", align: "left", dx: 5, color: GREY, fontSize: 12 };

export const NAME_AXIS = {
  title: null,
  domain: false,
  ticks: false,
  labelFontSize: 12,
  labelLimit: 0,
  labelPadding: 6,
};

export const CONFIG = {
  background: null,
  font: "system-ui, sans-serif",
  padding: { left: 8, right: 5, top: 5, bottom: 5 },
  view: { stroke: null },
  axis: {
    labelColor: GREY,
    titleColor: GREY,
    domainColor: GREY,
    tickColor: GREY,
    gridColor: GREY,
    gridOpacity: 0.25,
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: "normal",
  },
  title: {
    color: GREY,
    fontSize: 14,
    subtitleColor: GREY,
    subtitleFontSize: 12,
    anchor: "start",
    frame: "bounds",
    offset: 12,
  },
  header: { labelColor: GREY, labelFontSize: 13, labelFontWeight: "bold", title: null },
  legend: {
    labelColor: GREY,
    labelFontSize: 12,
    labelLimit: 0,
    title: null,
    orient: "bottom",
    columns: 3,
    symbolType: "stroke",
    symbolSize: 400,
    symbolStrokeWidth: 2,
  },
};
