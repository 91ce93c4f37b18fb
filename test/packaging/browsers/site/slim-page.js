/** As `here.js`, with a kernel that is fetched: so it must not import the other entry. */
import golden from "./golden.mjs";
import { runWhole } from "./program.mjs";
import { refusesEval } from "./refuses-eval.js";
import * as library from "./slim.js";

export async function slimPage() {
  await library.init(library.kernel);
  return { ...(await runWhole(library, golden)), evalRefused: refusesEval() };
}
