/** As `here.js`, with the entry that has threads beside the ordinary one. */
import golden from "./golden.mjs";
import * as ordinary from "./package.js";
import { refusesEval } from "./refuses-eval.js";
import * as threaded from "./threaded.js";
import { runThreads } from "./threads.mjs";
import * as weights from "./weights.js";

/** @param {string | null} reason why there is one thread alone; empty where there are two */
export async function threadsHere(reason) {
  try {
    const found = await runThreads(ordinary, threaded, weights, golden, reason || null);
    return { ...found, evalRefused: refusesEval() };
  } catch (error) {
    return { error: `${error}\n${error?.stack}` };
  }
}
