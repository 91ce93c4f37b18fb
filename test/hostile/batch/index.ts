/** Batch norm's calls, by functions and by layers. */
import type { Kind } from "../kinds.js";
import { backward, forwardFunction, statisticsFunction } from "./functions.js";
import { construct, forwardLayer, load, manage, saved, setting } from "./layers.js";

export const BATCH_NORM: readonly Kind[] = [
  ["batchNormInference", 8, (...all) => forwardFunction(...all, "batchNormInference")],
  ["batchNormTraining", 8, (...all) => forwardFunction(...all, "batchNormTraining")],
  ["batchNormStatistics", 4, statisticsFunction],
  ["batchNormBackward", 8, (...all) => backward(...all, "function")],
  ["new layer", 3, construct],
  ["forward", 10, forwardLayer],
  ["backward", 7, (...all) => backward(...all, "layer")],
  ["mode and switches", 4, setting],
  ["layer upkeep", 4, manage],
  ["saved", 3, saved],
  ["loadStateDict", 5, load],
];
