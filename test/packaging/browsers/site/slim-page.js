/** As `here.js`, with a kernel that is fetched: so it must not import the other entry. */
import golden from "./golden.mjs";
import { runWhole } from "./program.mjs";
import { refusesEval } from "./refuses-eval.js";
import * as library from "./slim.js";
import * as weights from "./weights.js";

export async function slimPage() {
  await library.init(library.kernel);
  return { ...(await runWhole(library, weights, golden)), evalRefused: refusesEval() };
}
