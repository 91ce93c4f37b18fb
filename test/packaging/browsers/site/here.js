/** What the program finds in this context, and whether the policy is in force. */
import golden from "./golden.mjs";
import * as library from "./package.js";
import { run, runWhole } from "./program.mjs";
import { refusesEval } from "./refuses-eval.js";
import * as weights from "./weights.js";

export async function here() {
  try {
    return { ...(await runWhole(library, weights, golden)), evalRefused: refusesEval() };
  } catch (error) {
    return wentWrong(error);
  }
}

/** As much of it as takes no turn. */
export function hereAtOnce() {
  try {
    return { ...run(library, weights, golden), evalRefused: refusesEval() };
  } catch (error) {
    return wentWrong(error);
  }
}

const wentWrong = (error) => ({ error: `${error}\n${error?.stack}` });
