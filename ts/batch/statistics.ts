/** Layers as arguments, and the running statistics of one, which others read and set, too. */
import { fail, mustBe } from "../core/errors.js";
import { checkNoneNegative } from "../core/float64.js";
import { PROXY, show } from "../core/show.js";
import { tensorOf } from "../core/tensor.js";
import type { Float64Values } from "../core/values.js";
import type { View } from "../core/view.js";
import { copyOut } from "../core/view.js";
import type { Engine } from "./engine.js";
import { engineIn } from "./layer.js";

/** One value a channel each. */
export interface RunningStatistics {
  readonly mean: Float64Values;
  readonly variance: Float64Values;
  /** Averages of σ, where the framework's renorm has them, else `null`. */
  readonly std: Float64Values | null;
}

/** @throws BatchNormError `dtype` unless it is a layer */
export function readLayer(layer: unknown, name: string): Engine {
  const isOther = () => show(layer).startsWith("BatchNorm");
  return (
    engineIn(layer) ?? mustBe("dtype", name, "a BatchNorm layer", layer, isOther() ? PROXY : "")
  );
}

/** @throws BatchNormError `unsupported` unless the layer has running statistics */
export function checkTracked(engine: Engine, name: string): void {
  if (!engine.options.trackRunningStats) {
    fail("unsupported", `${name}: the layer has no running statistics`);
  }
}

/** @throws BatchNormError `disposed`, `unsupported` without running statistics, `not-built` */
export function checkRunningStatistics(engine: Engine, name: string): void {
  const { state } = engine;
  engine.checkLive(name);
  checkTracked(engine, name);
  if (state.numFeatures === null) {
    fail("not-built", `${name}: the layer has no statistics yet; it learns from its first input`);
  }
  state.check(name);
}

/**
 * A copy of what a layer has.
 *
 * @throws BatchNormError as {@link checkRunningStatistics}; `invalid-option` of a negative variance
 */
export function readRunningStatistics(engine: Engine, name: string): RunningStatistics {
  checkRunningStatistics(engine, name);
  const { state } = engine;
  const vector = (view: View | null) => view && Float64Array.from(copyOut(view));
  const mean = vector(state.runningMean) as Float64Values;
  const variance = vector(state.runningVar) as Float64Values;
  checkNoneNegative(variance, `${name}: running variance`);
  return { mean, variance, std: vector(state.runningStd) };
}

/** Gives a layer, which was checked, these; averages of σ, where there are none, by the variance. */
export function setRunningStatistics(
  { state, options }: Engine,
  { mean, variance, std }: RunningStatistics,
): void {
  tensorOf(state.runningMean)?.set(mean);
  tensorOf(state.runningVar)?.set(variance);
  tensorOf(state.runningStd)?.set(std ?? variance.map((value) => Math.sqrt(value + options.eps)));
}
