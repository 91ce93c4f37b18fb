/** TensorFlow.js in plain JavaScript. */
import { version } from "@tensorflow/tfjs";
import { tfjsContestant } from "./tfjs.mjs";

export default tfjsContestant("tfjs cpu", "cpu", async () => version["tfjs-backend-cpu"]);
