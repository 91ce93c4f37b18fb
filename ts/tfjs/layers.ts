/**
 * tfjs's own normalization layers, whose `call` is taken over on their prototypes: so layers that were
 * made before, and classes that extend them, follow.
 */

import { isOurs } from "./gradients.js";
import { runNorm } from "./operations.js";
import { aroundAxis, type TrainingProblem } from "./problem.js";
import type { Layer, LayerVariable, Tensor, Tf } from "./types.js";

type Call = Layer["call"];

/** Of `BatchNormalization`, what is read. */
interface BatchNormalization extends Layer {
  readonly axis: number | readonly [number];
  readonly momentum: number;
  readonly epsilon: number;
  readonly gamma?: LayerVariable | null;
  readonly beta?: LayerVariable | null;
  readonly movingMean: LayerVariable;
  readonly movingVariance: LayerVariable;
}

/** Of `LayerNormalization`; the axes are counted from 0 once it is built. */
interface LayerNormalization extends Layer {
  readonly axis: readonly number[];
  readonly epsilon: number;
  readonly gamma: LayerVariable | null;
  readonly beta: LayerVariable | null;
}

/** The one input of a call; undefined where it is not ours to normalize. */
function inputOf(tf: Tf, inputs: Tensor | Tensor[]): Tensor | undefined {
  const [input, another] = Array.isArray(inputs) ? inputs : [inputs];
  return another === undefined && input?.dtype === "float32" && isOurs(tf) ? input : undefined;
}

function callBatchNorm(tf: Tf, theirs: Call): Call {
  return function (this: BatchNormalization, inputs, kwargs) {
    const input = inputOf(tf, inputs);
    // What has no arguments has their error.
    if (!input || !kwargs) return theirs.call(this, inputs, kwargs);
    const { rank, shape } = input;
    // Models that were saved by Keras have it in an array.
    const given = Number(this.axis);
    const axis = given < 0 ? given + rank : given;
    const { epsilon } = this;
    if (kwargs.training) {
      return tf.tidy(() => {
        const problem: TrainingProblem = {
          ...{ norm: "batch", axes: [axis], groups: 0, epsilon },
          ...{ parameters: [shape[axis] as number], momentum: this.momentum },
        };
        const { movingMean, movingVariance } = this;
        const moving = { movingMean: movingMean.read(), movingVariance: movingVariance.read() };
        const all = runNorm(tf, problem, input, this.gamma?.read(), this.beta?.read(), moving);
        movingMean.write(all[2] as Tensor);
        movingVariance.write(all[3] as Tensor);
        return all[0] as Tensor;
      });
    }
    // Theirs ends in `FusedBatchNorm`, but for ranks from 5 on, and has no gradient without γ or β.
    if (rank >= 2 && rank <= 4 && this.gamma && this.beta) return theirs.call(this, inputs, kwargs);
    return tf.tidy(() => {
      const around = aroundAxis(shape, axis);
      const channels = [1, around[1], 1];
      const [mean, variance, beta, gamma] = [
        ...[this.movingMean, this.movingVariance, this.beta, this.gamma],
      ].map((one) => one && tf.reshape(one.read(), channels));
      const y = tf.batchNorm(
        tf.reshape(input, around),
        mean as Tensor,
        variance as Tensor,
        beta ?? tf.zeros(channels),
        gamma ?? tf.ones(channels),
        epsilon,
      );
      return tf.reshape(y, shape);
    });
  };
}

function callLayerNorm(tf: Tf, theirs: Call): Call {
  return function (this: LayerNormalization, inputs, kwargs) {
    const input = inputOf(tf, inputs);
    if (!input) return theirs.call(this, inputs, kwargs);
    return tf.tidy(() => {
      const { axis, epsilon } = this;
      const axes = [...axis].sort((a, b) => a - b);
      const parameters = axis.map((axis) => input.shape[axis] as number);
      const problem = { norm: "layer", axes, groups: 0, epsilon, parameters } as const;
      return runNorm(tf, problem, input, this.gamma?.read(), this.beta?.read())[0] as Tensor;
    });
  };
}

/** Which classes' calls are taken over, by the names they are registered by. */
export const PATCHES: { readonly [className: string]: (tf: Tf, theirs: Call) => Call } = {
  BatchNormalization: callBatchNorm as (tf: Tf, theirs: Call) => Call,
  LayerNormalization: callLayerNorm as (tf: Tf, theirs: Call) => Call,
};
