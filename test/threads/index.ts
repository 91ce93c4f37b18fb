/** `npm run test:threads`: see `stress.ts`. */
import { parseArgs } from "node:util";
import { stress } from "./stress.js";

const { values } = parseArgs({
  options: {
    calls: { type: "string", default: "20000" },
    seed: { type: "string", default: "20261126" },
  },
});
const [calls, seed] = [Number(values.calls), Number(values.seed)];
if (!(Number.isSafeInteger(calls) && Number.isSafeInteger(seed))) {
  throw new Error("--calls and --seed are whole numbers");
}
const begun = performance.now();
const tally = await stress(calls, seed);
console.log(`${((performance.now() - begun) / 1000).toFixed(1)} s, seed ${seed}`, tally);
// Where nobody helped, nothing was shown.
const failed = tally.byOthers > calls / 100 ? 0 : 1;
console.log(`${calls} passed, ${failed} failed`);
process.exitCode = failed;
