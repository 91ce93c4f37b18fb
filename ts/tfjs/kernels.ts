/** Our kernels, as tfjs calls them. */
import { sizeOf } from "../core/geometry.js";
import { channelsOf } from "./channels.js";
import { backward, forward } from "./compute.js";
import { type BackendName, type Host, hostOf, inRoom } from "./hosts.js";
import { type Given, normalize, Pieces } from "./pieces.js";
import type { Problem, TrainingProblem } from "./problem.js";
import { checkLength, type Values } from "./scratch.js";
import type { Attributes, Inputs, KernelCall, KernelConfig, TensorInfo } from "./types.js";

/** tfjs's own kernel and gradient, which ours stand before. */
export const FUSED_BATCH_NORM = "FusedBatchNorm";

/**
 * Kernels that tfjs has not. What a gradient needs of the inputs must be there, so that those without γ
 * have names of their own.
 */
export const Kernels = {
  /** x, γ, β and moving statistics, if there are any, to y, the statistics' bits, and moved ones. */
  Forward: "BatchNormWasmForward",
  ForwardUnscaled: "BatchNormWasmForwardUnscaled",
  /** dy, x, the statistics' bits and γ to dx, dγ and dβ. */
  Backward: "BatchNormWasmBackward",
  BackwardUnscaled: "BatchNormWasmBackwardUnscaled",
  /** dy, x, given statistics and γ to dx, dγ, dβ, dμ and dσ². */
  FusedBackward: "BatchNormWasmFusedBackward",
} as const;

/** Values of an input, or `null` where it is absent. */
function valuesOf(host: Host, tensor: TensorInfo | null | undefined): Values | null {
  return tensor ? (host.values(tensor) as Values) : null;
}

/** Reads inputs after all are there: bringing one may move tfjs's memory under another. */
function bring(host: Host, inputs: Inputs): void {
  for (const name in inputs) {
    const tensor = inputs[name];
    if (tensor) host.bring(tensor);
  }
}

/** Our own kernels of a backend. */
export function ownKernels(backendName: BackendName, setupFunc: () => void): KernelConfig[] {
  const config = (
    kernelName: string,
    run: (host: Host, inputs: Inputs, attrs: Attributes) => TensorInfo[],
  ): KernelConfig => ({
    kernelName,
    backendName,
    setupFunc,
    kernelFunc({ inputs, backend, attrs }) {
      const host = hostOf(backendName, backend);
      bring(host, inputs);
      return run(host, inputs, attrs);
    },
  });
  return [
    config(Kernels.Forward, runForward),
    config(Kernels.ForwardUnscaled, runForward),
    config(Kernels.Backward, runBackward),
    config(Kernels.BackwardUnscaled, runBackward),
    config(Kernels.FusedBackward, runFusedBackward),
  ];
}

function runForward(host: Host, inputs: Inputs, attrs: Attributes): TensorInfo[] {
  const problem = attrs as unknown as TrainingProblem;
  const x = inputs.x as TensorInfo;
  const { gamma, beta, movingMean, movingVariance } = inputs;
  const moving = [movingMean, movingVariance].filter((one) => one !== undefined);
  const channels = x.shape[problem.axes[0] as number] as number;
  for (const one of moving) checkLength({ length: sizeOf(one.shape) }, channels);
  const values = (tensor: TensorInfo | undefined) => valuesOf(host, tensor);
  return inRoom(host, x, (room) => {
    const tensors = [values(x) as Values, values(gamma), values(beta)] as const;
    return forward(problem, x.shape, ...tensors, room.put, (bits) => {
      const made = [room.made(), host.make([bits.length], "int32", bits)];
      // An empty batch moves nothing.
      const weight = sizeOf(x.shape) > 0 ? 1 - problem.momentum : 0;
      moving.forEach((one, which) => {
        const statistics = new Float64Array(
          bits.buffer,
          bits.byteOffset + 8 * which * channels,
          channels,
        );
        // What is made may move the old ones.
        made.push(
          host.fill([channels], (to) => move(to, values(one) as Values, statistics, weight)),
        );
      });
      return made;
    });
  });
}

/** Running statistics, moved by a batch's. */
function move(to: Values, old: Values, statistics: Float64Array, weight: number): void {
  to.set(old);
  if (weight === 0) return;
  for (let channel = 0; channel < to.length; channel++) {
    const before = to[channel] as number;
    to[channel] = before + ((statistics[channel] as number) - before) * weight;
  }
}

function runBackward(host: Host, inputs: Inputs, attrs: Attributes): TensorInfo[] {
  const problem = attrs as unknown as Problem;
  const { dy, x, statistics, gamma } = inputs as { [name: string]: TensorInfo };
  const { shape } = x as TensorInfo;
  const values = (tensor: TensorInfo | undefined) => valuesOf(host, tensor) as Values;
  const parameters = [...problem.parameters];
  return inRoom(host, x as TensorInfo, (room) => {
    const bits = host.values(statistics as TensorInfo) as Int32Array;
    const tensors = [values(x), values(dy), valuesOf(host, gamma)] as const;
    return backward(problem, shape, ...tensors, bits, false, room.put, (dgamma, dbeta) => [
      room.made(),
      host.make(parameters, "float32", dgamma),
      // Of RMS norm, which has no β, nobody asks for it.
      host.make(parameters, "float32", dbeta ?? new Float32Array(dgamma.length)),
    ]);
  });
}

/** Through statistics that are constant: dμ = −γ·r·dβ, dσ² = −½·γ·r²·dγ, with r = 1/√(σ² + ε). */
function runFusedBackward(host: Host, inputs: Inputs, attrs: Attributes): TensorInfo[] {
  const { dy, x, mean, variance, scale } = inputs as { [name: string]: TensorInfo };
  const epsilon = attrs.varianceEpsilon as number;
  const around = channelsOf(inputs) as readonly number[];
  const problem: Problem = { norm: "batch", axes: [1], groups: 0, epsilon, parameters: [] };
  const values = (tensor: TensorInfo | undefined) => valuesOf(host, tensor) as Values;
  return inRoom(host, x as TensorInfo, (room) => {
    const tensors = [values(x), values(dy), values(scale)] as const;
    const channels = around[1] as number;
    const given = new Float64Array(2 * channels);
    [mean, variance].forEach((one, which) => {
      checkLength(values(one), channels);
      given.set(values(one), which * channels);
    });
    const bits = new Int32Array(given.buffer);
    return backward(problem, around, ...tensors, bits, true, room.put, (dgamma, dbeta) => {
      const one = (mean as TensorInfo).shape;
      const [dmean, dvariance] = [new Float32Array(channels), new Float32Array(channels)];
      const made = [room.made()];
      // Read anew: what was made since may have moved it.
      const weights = values(scale);
      for (let channel = 0; channel < channels; channel++) {
        const r = 1 / Math.sqrt((given[channels + channel] as number) + epsilon);
        const a = r * (weights[channel] as number);
        dmean[channel] = -a * ((dbeta as Values)[channel] as number);
        dvariance[channel] = -0.5 * a * r * (dgamma[channel] as number);
      }
      for (const gradient of [dgamma, dbeta as Values, dmean, dvariance]) {
        made.push(host.make(one, "float32", gradient));
      }
      return made;
    });
  });
}

/**
 * tfjs's kernel with ours before it.
 *
 * @param compose gives y by operations that broadcast
 */
export function overFused(
  original: KernelConfig,
  backendName: BackendName,
  compose: (inputs: Inputs, epsilon: number) => TensorInfo,
): KernelConfig {
  return {
    ...original,
    kernelFunc(call: KernelCall) {
      const { inputs, backend, attrs } = call;
      const { x, mean, variance, scale, offset } = inputs as { [name: string]: TensorInfo };
      const epsilon = attrs.varianceEpsilon as number;
      const isOurs =
        (x as TensorInfo).dtype === "float32" && (mean as TensorInfo).dtype === "float32";
      const around = isOurs ? channelsOf(inputs) : "full";
      if (around === "broadcast") return compose(inputs, epsilon);
      const { shape } = x as TensorInfo;
      if (around === "full" || sizeOf(shape) === 0) return original.kernelFunc(call);
      const host = hostOf(backendName, backend);
      bring(host, inputs);
      // A square root of a negative number is tfjs's affair: NaN, and none of our errors.
      if (!(epsilon >= 0) || isAnyNegative(host.values(variance as TensorInfo))) {
        return compose(inputs, epsilon);
      }
      return inRoom(host, x as TensorInfo, (room) => {
        const given: Given = {
          mean: host.values(mean as TensorInfo) as Values,
          variance: host.values(variance as TensorInfo) as Values,
          gamma: valuesOf(host, scale),
          beta: valuesOf(host, offset),
          epsilon,
        };
        normalize(new Pieces(around), host.values(x as TensorInfo) as Values, given, room.put);
        return room.made();
      });
    },
  };
}

/** A loop: the array's own method takes ten times as long. */
function isAnyNegative(values: Values | Int32Array): boolean {
  for (let i = 0; i < values.length; i++) if ((values[i] as number) < 0) return true;
  return false;
}
