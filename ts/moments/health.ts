/**
 * How a batch norm layer is doing: what of its inputs, outputs and gradients the caller has, channel by
 * channel, and in words what stands out.
 */
import { runStatistics } from "../batch/calls.js";
import type { Engine } from "../batch/engine.js";
import type { BatchNorm } from "../batch/layer.js";
import { readLayer } from "../batch/statistics.js";
import { bringIn, portOfCall, readTensor } from "../core/arguments.js";
import { checkAxis } from "../core/checks.js";
import { fail } from "../core/errors.js";
import { resolveAxis } from "../core/geometry.js";
import { readOptions } from "../core/options.js";
import type { PlainTensor } from "../core/plain.js";
import { list } from "../core/show.js";
import type { Tensor } from "../core/tensor.js";
import type { Float64Values } from "../core/values.js";
import { copyOut, type View } from "../core/view.js";

/** What {@link health} looks at: all that the caller has. */
export interface HealthInputs {
  /** The layer's input. */
  x?: Tensor | PlainTensor | null | undefined;
  /** Its output, or that of the ReLU behind it. */
  y?: Tensor | PlainTensor | null | undefined;
  /** The gradient with respect to its output. */
  dy?: Tensor | PlainTensor | null | undefined;
  /** The gradient with respect to its input. */
  dx?: Tensor | PlainTensor | null | undefined;
  layer?: BatchNorm | null | undefined;
  /** The channel axis, negative from the end; default the layer's, or 1. */
  axis?: number | null | undefined;
}

/** What is known of a channel; `null` where there was nothing to tell it. */
export interface ChannelHealth {
  readonly channel: number;
  /** Mean and standard deviation of x. */
  readonly mean: number | null;
  readonly std: number | null;
  readonly gamma: number | null;
  /** How far the running mean is from that of x, in running standard deviations. */
  readonly distance: number | null;
  /** How many times as large the standard deviation of x is as the running one. */
  readonly stdRatio: number | null;
  /** Part of y that is above 0. */
  readonly active: number | null;
  /** √Σdy² and √Σdx². */
  readonly dyNorm: number | null;
  readonly dxNorm: number | null;
  /** Why nothing comes through it, or nothing but a constant. */
  readonly dead: "constant input" | "zero scale" | "never active" | null;
}

/** What {@link health} tells. */
export interface Health {
  /** None where nothing of any was there. */
  readonly channels: ChannelHealth[];
  /** √Σdx²/√Σdy² over all channels. */
  readonly gradientRatio: number | null;
  /** What stands out, in words. */
  readonly findings: string[];
}

/** Below this part of √ε a standard deviation counts as none, below this a γ. */
const ZERO = 1e-3;

/** Beyond these parts of what came in gradients vanish or explode. */
const [VANISHED, EXPLODED] = [1e-3, 1e3];

/** With fewer values a channel the batch's σ is off by a sixth and more: 1/√2n. */
const FEW = 16;

/** In running standard deviations, and as a ratio of them: what statistics are far apart by. */
const [FAR, UNLIKE] = [3, 4];

/** Of what the running statistics are to follow; below, they still are what they began with. */
const LEARNED = 0.95;

/**
 * How a batch norm layer is doing, by what of it the caller has: which channels are dead and why, how far
 * running statistics are from the batch's, how large gradients are that come in and go out, and in words
 * what stands out.
 *
 * @param of any of x, y, dy, dx, which are `[N, C, …]` unless `axis` says otherwise, and the layer
 * @throws BatchNormError `invalid-option`, `unknown-option`, `shape-mismatch`, `dtype`, `disposed`,
 *   `out-of-memory`
 *
 * @example
 * const { channels, findings } = health({ x, layer: bn });
 * channels[0]?.std;               // → 1
 * findings.at(-1)?.slice(0, 18);   // → "2 values a channel"
 */
export function health(of: HealthInputs): Health {
  const owner = "health";
  const given = readOptions(owner, of, ["x", "y", "dy", "dx", "layer", "axis"]);
  const { layer } = given;
  const engine = layer == null ? null : readLayer(layer, `${owner}: layer`);
  const axis = given.axis ?? engine?.options.axis ?? 1;
  checkAxis(axis, owner);
  const measure = (value: unknown, name: string) =>
    value == null ? null : measured(value, axis, owner, name);
  const x = measure(given.x, "x");
  const y = measure(given.y, "y");
  const dy = measure(given.dy, "dy");
  const dx = measure(given.dx, "dx");
  const counts = Object.entries({ x, y, dy, dx }).flatMap(([name, one]) =>
    one ? [[name, one.mean.length] as const] : [],
  );
  // What was read may have run getters: the layer is looked at behind them.
  engine?.checkLive(owner);
  engine?.state.check(owner);
  const state = engine?.state;
  const vector = (view: View | null | undefined) => view && Float64Array.from(copyOut(view));
  const [gamma, mean] = [vector(state?.weight), vector(state?.runningMean)];
  const variance = vector(state?.runningVar);
  const expected = state?.numFeatures ?? counts[0]?.[1];
  for (const [name, count] of counts) {
    if (count !== expected) {
      fail(
        "shape-mismatch",
        `${owner}: ${name} has ${count} channels along axis ${axis}, expected ${expected}`,
      );
    }
  }
  // A layer without vectors may have any number of channels, of which there is nothing to tell.
  const channels = counts[0]?.[1] ?? (gamma ?? mean)?.length ?? 0;
  const eps = engine?.options.eps ?? 1e-5;
  const at = (values: ArrayLike<number> | null | undefined, c: number) => values?.[c] ?? null;
  const all = Array.from({ length: channels }, (_, channel): ChannelHealth => {
    const [own, running] = [at(x?.mean, channel), at(mean, channel)];
    const std = x && Math.sqrt(x.variance[channel] as number);
    const runningStd = variance ? Math.sqrt((variance[channel] as number) + eps) : null;
    const isKnown = std !== null && runningStd !== null && own !== null && running !== null;
    const scale = at(gamma, channel);
    const active = at(y?.active, channel);
    return {
      channel,
      mean: own,
      std,
      gamma: scale,
      distance: isKnown ? Math.abs(own - running) / runningStd : null,
      stdRatio: isKnown ? Math.sqrt(std ** 2 + eps) / runningStd : null,
      active,
      dyNorm: dy && normOf(dy, channel),
      dxNorm: dx && normOf(dx, channel),
      dead:
        std !== null && std <= ZERO * Math.sqrt(eps)
          ? "constant input"
          : scale !== null && Math.abs(scale) < ZERO
            ? "zero scale"
            : active === 0
              ? "never active"
              : null,
    };
  });
  const total = (one: Measured) =>
    Math.sqrt(all.reduce((sum, { channel }) => sum + normOf(one, channel) ** 2, 0));
  const ratio = dx && dy ? total(dx) / total(dy) : null;
  return {
    channels: all,
    gradientRatio: ratio,
    findings: [
      ...ofDead(all),
      ...ofGradients(ratio),
      ...ofRunning(all, engine),
      ...(x ? ofCount(x.count) : []),
    ],
  };
}

/** Statistics of a tensor's channels. */
interface Measured {
  readonly mean: Float64Values;
  readonly variance: Float64Values;
  readonly count: number;
  /** Part of the values that is above 0. */
  readonly active: Float64Values;
}

function measured(value: unknown, axis: number, owner: string, name: string): Measured {
  const port = portOfCall(value, {}, owner);
  const read = readTensor(value, port, owner, name);
  const view = bringIn(read, port);
  try {
    const { shape, size } = view;
    const along = resolveAxis(axis, shape.length, owner);
    const channels = shape[along] as number;
    const inner = shape.slice(along + 1).reduce((product, size) => product * size, 1);
    const count = size / Math.max(channels, 1);
    const active = new Float64Array(channels);
    copyOut(view).forEach((value, i) => {
      const channel = Math.floor(i / inner) % channels;
      if (value > 0) active[channel] = (active[channel] as number) + 1;
    });
    const part = active.map((number) => number / count);
    return { ...runStatistics(owner, view, along, null), count, active: part };
  } finally {
    if (view !== read) view.dispose();
  }
}

/** √Σt² of a channel. */
function normOf({ mean, variance, count }: Measured, channel: number): number {
  return Math.sqrt(count * ((variance[channel] as number) + (mean[channel] as number) ** 2));
}

function ofDead(channels: readonly ChannelHealth[]): string[] {
  const dead = channels.filter((one) => one.dead);
  if (dead.length === 0) return [];
  const why = (["constant input", "zero scale", "never active"] as const).flatMap((reason) => {
    const those = dead.flatMap(({ channel, dead }) => (dead === reason ? [channel] : []));
    return those.length > 0 ? [`${reason} (${list(those, String)})`] : [];
  });
  return [`${dead.length} of ${channels.length} channels are dead: ${why.join(", ")}`];
}

function ofGradients(ratio: number | null): string[] {
  if (ratio === null) return [];
  const words = `of the gradient's norm ${ratio.toExponential(1)} comes through`;
  if (ratio < VANISHED) return [`gradients vanish: ${words}`];
  return ratio > EXPLODED ? [`gradients explode: ${words}`] : [];
}

function ofRunning(channels: readonly ChannelHealth[], engine: Engine | null): string[] {
  const far = channels.filter(
    ({ distance, stdRatio }) =>
      distance !== null &&
      stdRatio !== null &&
      (distance > FAR || stdRatio > UNLIKE || stdRatio < 1 / UNLIKE),
  );
  if (far.length === 0 || !engine) return [];
  const words = `running statistics are far from the batch's in ${far.length} of ${channels.length} channels`;
  const { state, options } = engine;
  const { momentum, preset } = options;
  // The average of all batches has learned all of them.
  const weight = momentum === null ? 1 : preset.momentumWeighs === "new" ? momentum : 1 - momentum;
  const learned = 1 - (1 - weight) ** state.numBatchesTracked;
  if (learned >= LEARNED) return [`${words}: other data, or weights that have moved since`];
  return [
    `${words}: momentum is too slow for ${state.numBatchesTracked} batches, which weigh ` +
      `${Math.round(learned * 100)} % so far`,
  ];
}

function ofCount(count: number): string[] {
  if (count === 0 || count >= FEW) return [];
  const off = Math.round(100 / Math.sqrt(2 * count));
  const words = count === 1 ? "1 value" : `${count} values`;
  return [`${words} a channel: σ is off by about ${off} %; larger batches, or group norm`];
}
