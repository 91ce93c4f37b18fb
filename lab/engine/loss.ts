/** Losses, each the mean over the batch, with their gradients with respect to the network's output. */
import type { Values } from "./layer.js";

export interface Loss {
  readonly loss: number;
  readonly gradient: Values;
  /** How many rows are right, of classes. */
  readonly right: number;
}

/**
 * Softmax and cross entropy: −log p of the class that is right.
 *
 * @param scores `[rows, classes]`
 * @param labels of each row its class
 */
export function crossEntropy(scores: Values, labels: ArrayLike<number>): Loss {
  const rows = labels.length;
  const classes = scores.length / rows;
  const gradient = new Float64Array(scores.length);
  let [loss, right] = [0, 0];
  for (let row = 0; row < rows; row++) {
    const own = scores.subarray(row * classes, (row + 1) * classes);
    const label = labels[row] as number;
    let best = 0;
    for (let c = 1; c < classes; c++) if ((own[c] as number) > (own[best] as number)) best = c;
    const highest = own[best] as number;
    let sum = 0;
    for (const score of own) sum += Math.exp(score - highest);
    for (let c = 0; c < classes; c++) {
      const probability = Math.exp((own[c] as number) - highest) / sum;
      gradient[row * classes + c] = (probability - (c === label ? 1 : 0)) / rows;
    }
    loss += (highest + Math.log(sum) - (own[label] as number)) / rows;
    // A row of NaN has no class.
    if (best === label && Number.isFinite(highest)) right++;
  }
  return { loss, gradient, right };
}

/**
 * The mean of (output − target)², as PyTorch's `MSELoss`.
 *
 * @param outputs `[rows, 1]`
 */
export function squaredError(outputs: Values, targets: ArrayLike<number>): Loss {
  const gradient = new Float64Array(outputs.length);
  let loss = 0;
  for (let i = 0; i < outputs.length; i++) {
    const off = (outputs[i] as number) - (targets[i] as number);
    loss += off ** 2 / outputs.length;
    gradient[i] = (2 * off) / outputs.length;
  }
  return { loss, gradient, right: 0 };
}
