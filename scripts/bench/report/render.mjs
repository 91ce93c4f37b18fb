/** Charts as SVG, by Vega-Lite. */
import { parse, textMetrics, View } from "vega";
import { compile } from "vega-lite";

/** Of a font's size, a letter of system fonts in the mean, of the wider ones. */
const LETTER = 0.62;

// Without a canvas Vega takes letters for 0.8 of their size, and leaves room that no browser
// fills: a chart would be half as wide again, and its text that much smaller on a phone.
textMetrics.width = (
  /** @type {{ fontSize?: number }} */ { fontSize = 11 },
  /** @type {string | null} */ text,
) => Math.ceil(LETTER * fontSize * (text ?? "").length);

/** @param {object} spec @returns {Promise<string>} */
export async function render(spec) {
  const { spec: compiled } = compile(/** @type {import("vega-lite").TopLevelSpec} */ (spec));
  const view = new View(parse(compiled), { renderer: "none" });
  return `${await view.toSVG()}\n`;
}
