/**
 * Batch norm folded into the layer before it or behind it, for inference.
 *
 * ```text
 * a = γ/√(σ² + ε)            c = β − a·μ                  batch norm is a·x + c
 * previous:  W' = a·W, of each output channel             b' = a·b + c
 * next:      W' = W·a, of each input feature              b' = b + W·c
 * ```
 *
 * In float64, rounded once. Source: Jacob et al. 2018, arXiv:1712.05877, section 3.2.
 */
import type { BatchNorm } from "../batch/layer.js";
import { readLayer, readRunningStatistics } from "../batch/statistics.js";
import { checkNotNegative, checkNumber, checkOneOf } from "../core/checks.js";
import { fail, mustBe } from "../core/errors.js";
import {
  checkNoneNegative,
  type Float64Vector,
  readChannels,
  readFloat64,
} from "../core/float64.js";
import { readShape, sizeOf } from "../core/geometry.js";
import { readOptions } from "../core/options.js";
import { isPlain, type PlainResult } from "../core/plain.js";
import { showShape } from "../core/show.js";
import { failForTensor, type Tensor, tensorOf, viewOf } from "../core/tensor.js";
import type { Float32Values, Float64Values } from "../core/values.js";

/** What a layer is: its kind says which axis of its weight counts output channels. */
export type FoldedKind = "linear" | "conv" | "depthwise" | "transposed";

/** A linear or convolutional layer beside batch norm. */
export interface FoldOptions {
  /** Its weight, as a tensor or `{ data, shape }`. */
  weight: Tensor | { readonly data: Float64Vector; readonly shape: readonly number[] };
  /** Its bias, one a channel that it gives; 0 where absent. */
  bias?: Float64Vector | null | undefined;
  /** What it is; default `linear` of two axes, else `conv`. */
  kind?: FoldedKind | null | undefined;
  /**
   * Whose order of axes, where k are those of the kernel; default `torch`.
   *
   * | | `torch` | `tensorflow` (Keras, tfjs) |
   * |---|---|---|
   * | linear | out, in | in, out |
   * | conv, 1 to 3d, grouped too | out, in/groups, k | k, in/groups, out |
   * | depthwise | in·multiplier, 1, k | k, in, multiplier |
   * | transposed | in, out/groups, k | k, out, in |
   */
  layout?: "torch" | "tensorflow" | null | undefined;
  /** Groups of a transposed convolution of torch's; default 1. (Elsewhere they make no difference.) */
  groups?: number | null | undefined;
  /**
   * Which it is: batch norm's `previous` layer, or its `next` one, which has to be linear: a
   * convolution pads its input with zeros, which are none behind batch norm. Default `previous`.
   */
  into?: "previous" | "next" | null | undefined;
}

/** Statistics and parameters of batch norm, one a channel. */
export interface FoldedStatistics {
  mean: Float64Vector;
  variance: Float64Vector;
  /** γ; 1 where absent. */
  weight?: Float64Vector | null | undefined;
  /** β; 0 where absent. */
  bias?: Float64Vector | null | undefined;
  /** Default 1e-5. */
  eps?: number | null | undefined;
}

/** A layer that does what both did. */
export interface FoldedLayer {
  readonly weight: PlainResult;
  readonly bias: Float32Values;
}

const OWNER = "foldBatchNorm";
const OPTIONS = ["weight", "bias", "kind", "layout", "groups", "into"];
const STATISTICS = ["mean", "variance", "weight", "bias", "eps"];

/**
 * Folds batch norm in evaluation into a linear or convolutional layer, which then does what both did.
 *
 * @param bn a layer, whose running statistics and parameters count, or these themselves
 * @returns the layer's weight in its shape, and its bias, as float32
 * @throws BatchNormError `shape-mismatch` where the weight's axes have not as many channels,
 *   `invalid-option`, `unknown-option`, `unsupported`, `not-built`, `dtype`, `disposed`
 *
 * @example
 * const conv = { weight: { data: [1, 2, 3], shape: [3, 1, 1, 1] }, bias: [0, 0, 0] };
 * const folded = foldBatchNorm({ mean, variance, eps: 0 }, conv);
 * folded.weight;   // → { data: Float32Array [1, 1, 1], shape: [3, 1, 1, 1] }
 * folded.bias;     // → Float32Array [-2, -2, -2]
 */
export function foldBatchNorm(bn: BatchNorm | FoldedStatistics, options: FoldOptions): FoldedLayer {
  const given = readOptions(OWNER, options, OPTIONS);
  const { scale, offset } = mapOf(bn);
  const { values, shape } = readWeight(given.weight);
  const kind = given.kind ?? (shape.length === 2 ? "linear" : "conv");
  const layout = given.layout ?? "torch";
  const groups = given.groups ?? 1;
  const into = given.into ?? "previous";
  checkOneOf(kind, OWNER, "kind", ["linear", "conv", "depthwise", "transposed"]);
  checkOneOf(layout, OWNER, "layout", ["torch", "tensorflow"]);
  checkOneOf(into, OWNER, "into", ["previous", "next"]);
  checkNumber(groups, `${OWNER}: groups`);
  if (kind === "linear" ? shape.length !== 2 : shape.length < 3 || shape.length > 5) {
    const axes = kind === "linear" ? "2 axes" : "3 to 5 axes";
    fail(
      "shape-mismatch",
      `${OWNER}: the weight of ${kind} must have ${axes}, got ${showShape(shape)}`,
    );
  }
  const { bias: added } = given;
  const bias = added == null ? null : readFloat64(added, `${OWNER}: bias`);
  const folded =
    into === "next"
      ? next(values, shape, kind, layout, scale, offset, bias)
      : previous(values, outputsOf(shape, kind, layout, groups), shape, scale, offset, bias);
  return {
    weight: { data: Float32Array.from(folded.weight), shape: [...shape] },
    bias: Float32Array.from(folded.bias),
  };
}

/** The map of batch norm in evaluation: a and c of each channel. */
function mapOf(bn: BatchNorm | FoldedStatistics): { scale: Float64Values; offset: Float64Values } {
  if (bn == null) mustBe("dtype", `${OWNER}: bn`, "a BatchNorm layer or { mean, variance }", bn);
  const isLayer = typeof (bn as BatchNorm)?.forward === "function";
  const given = isLayer
    ? ofLayer(bn as BatchNorm)
    : readOptions(OWNER, bn as FoldedStatistics, STATISTICS);
  const eps = given.eps ?? 1e-5;
  checkNotNegative(eps, OWNER, "eps");
  const mean = readFloat64(given.mean, `${OWNER}: mean`);
  const channels = mean.length;
  const variance = readChannels(given.variance, `${OWNER}: variance`, channels);
  checkNoneNegative(variance, `${OWNER}: variance`);
  const gamma = readChannels(given.weight, `${OWNER}: weight`, channels, 1);
  const beta = readChannels(given.bias, `${OWNER}: bias`, channels, 0);
  const scale = variance.map((value, c) => (gamma[c] as number) / Math.sqrt(value + eps));
  const offset = beta.map((beta, c) => beta - (scale[c] as number) * (mean[c] as number));
  return { scale, offset };
}

function ofLayer(bn: BatchNorm): FoldedStatistics {
  const engine = readLayer(bn, `${OWNER}: bn`);
  const { mean, variance } = readRunningStatistics(engine, OWNER);
  const { state, options } = engine;
  if (options.activation) {
    const remedy = "fold its statistics and parameters, and apply it behind the layer before";
    fail("unsupported", `${OWNER}: the layer has an activation, which is not linear: ${remedy}`);
  }
  return {
    ...{ mean, variance, eps: options.eps },
    ...{ weight: tensorOf(state.weight), bias: tensorOf(state.bias) },
  };
}

function readWeight(weight: unknown): { values: Float64Values; shape: readonly number[] } {
  const name = `${OWNER}: weight`;
  const view = viewOf(weight);
  if (view) return { values: readFloat64(weight, name), shape: view.shape };
  if (!isPlain(weight)) failForTensor(name, "a Tensor or { data, shape }", weight);
  const shape = readShape(weight.shape, name);
  const values = readFloat64(weight.data, name);
  if (values.length !== sizeOf(shape)) {
    fail("invalid-shape", `${name}: ${showShape(shape)} is not filled by data of ${values.length}`);
  }
  return { values, shape };
}

/** How many output channels a weight has, and which an element is of, counted in row-major order. */
interface Outputs {
  readonly channels: number;
  of(element: number): number;
}

function outputsOf(
  shape: readonly number[],
  kind: FoldedKind,
  layout: "torch" | "tensorflow",
  groups: number,
): Outputs {
  const last = shape.length - 1;
  const along = (axis: number, size = shape[axis] as number): Outputs => {
    const inner = sizeOf(shape.slice(axis + 1));
    return { channels: size, of: (element) => Math.floor(element / inner) % size };
  };
  if (layout === "tensorflow") {
    if (kind === "transposed") {
      if (groups !== 1)
        fail("unsupported", `${OWNER}: groups are of torch's transposed convolutions`);
      return along(last - 1);
    }
    // One behind the other: channel in·multiplier + m.
    return kind === "depthwise" ? along(last, sizeOf(shape.slice(-2))) : along(last);
  }
  if (kind !== "transposed") return along(0);
  const [inputs, each] = shape as [number, number];
  if (inputs % groups !== 0) {
    fail("shape-mismatch", `${OWNER}: groups ${groups} does not divide ${inputs} input channels`);
  }
  const inner = sizeOf(shape.slice(2));
  return {
    channels: each * groups,
    of: (element) => {
      const input = Math.floor(element / (inner * each));
      return Math.floor(input / (inputs / groups)) * each + (Math.floor(element / inner) % each);
    },
  };
}

/** Into the layer before. */
function previous(
  values: Float64Values,
  { channels, of }: Outputs,
  shape: readonly number[],
  scale: Float64Values,
  offset: Float64Values,
  bias: Float64Values | null,
): { weight: Float64Values; bias: Float64Values } {
  if (channels !== scale.length) {
    fail(
      "shape-mismatch",
      `${OWNER}: the weight ${showShape(shape)} has ${channels} output channels, batch norm ` +
        `${scale.length}; kind, layout and groups tell which axis counts them`,
    );
  }
  checkBias(bias, channels);
  return {
    weight: values.map((value, element) => value * (scale[of(element)] as number)),
    bias: offset.map((offset, c) => (bias?.[c] ?? 0) * (scale[c] as number) + offset),
  };
}

/** Into the linear layer behind, whose inputs may be a flattened image's. */
function next(
  values: Float64Values,
  shape: readonly number[],
  kind: FoldedKind,
  layout: "torch" | "tensorflow",
  scale: Float64Values,
  offset: Float64Values,
  bias: Float64Values | null,
): { weight: Float64Values; bias: Float64Values } {
  if (kind !== "linear") {
    fail("unsupported", `${OWNER}: into the next layer folds what is linear, not ${kind}`);
  }
  const isTorch = layout === "torch";
  const [outputs, inputs] = (isTorch ? shape : [...shape].reverse()) as [number, number];
  const channels = scale.length;
  if (channels === 0 || inputs % channels !== 0) {
    fail(
      "shape-mismatch",
      `${OWNER}: the weight ${showShape(shape)} has ${inputs} inputs, which are no multiple of batch ` +
        `norm's ${channels} channels`,
    );
  }
  checkBias(bias, outputs);
  // Flattened, torch's images have the channels outside, TensorFlow's inside.
  const channelOf = (input: number) =>
    isTorch ? Math.floor(input / (inputs / channels)) : input % channels;
  const sums = Float64Array.from({ length: outputs }, (_, output) => bias?.[output] ?? 0);
  const weight = values.map((value, element) => {
    const [output, input] = isTorch
      ? [Math.floor(element / inputs), element % inputs]
      : [element % outputs, Math.floor(element / outputs)];
    const channel = channelOf(input);
    sums[output] = (sums[output] as number) + value * (offset[channel] as number);
    return value * (scale[channel] as number);
  });
  return { weight, bias: sums };
}

function checkBias(bias: Float64Values | null, channels: number): void {
  if (bias && bias.length !== channels) {
    fail("shape-mismatch", `${OWNER}: bias must have ${channels} values, got ${bias.length}`);
  }
}
