/** As `here.js`, with the entry that has threads beside the ordinary one. */
import golden from "./golden.mjs";
import * as ordinary from "./package.js";
import { refusesEval } from "./refuses-eval.js";
import * as threaded from "./threaded.js";
import { runAlone, runThreads } from "./threads.mjs";
import * as weights from "./weights.js";

/** @param {string | null} reason why there is one thread alone; empty where there are two */
export async function threadsHere(reason) {
  try {
    const found = await runThreads(ordinary, threaded, weights, golden, reason || null);
    return { ...found, evalRefused: refusesEval() };
  } catch (error) {
    return wentWrong(error);
  }
}

/** As much of it as takes no turn. @param {string} reason */
export function threadsHereAtOnce(reason) {
  try {
    const found = runAlone(ordinary, threaded, weights, golden, reason);
    return { ...found, evalRefused: refusesEval() };
  } catch (error) {
    return wentWrong(error);
  }
}

const wentWrong = (error) => ({ error: `${error}\n${error?.stack}` });
