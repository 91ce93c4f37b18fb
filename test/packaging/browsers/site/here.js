/** What the program finds in this context, and whether the policy is in force. */
import golden from "./golden.mjs";
import * as library from "./package.js";
import { run } from "./program.mjs";
import { refusesEval } from "./refuses-eval.js";

export function here() {
  try {
    return { ...run(library, golden), evalRefused: refusesEval() };
  } catch (error) {
    return { error: `${error}\n${error?.stack}` };
  }
}
