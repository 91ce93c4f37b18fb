/**
 * Network slimming (Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming",
 * arXiv:1708.06519): an L1 penalty drives the γ of channels that matter little towards zero, and then these
 * channels go.
 */
import type { BatchNorm } from "../batch/layer.js";
import { readLayer } from "../batch/statistics.js";
import { checkNotNegative, checkPart, readArray } from "../core/checks.js";
import { fail } from "../core/errors.js";
import { readOptions } from "../core/options.js";
import { readPrefix, type SavedStateDict } from "../core/state-dict.js";
import { tensorOf } from "../core/tensor.js";
import { copyOut } from "../core/view.js";

/** What pruning leaves of a layer. */
export interface PrunedLayer {
  /** Whether each channel stays. */
  readonly mask: boolean[];
  /** Those that stay, in their order: they are sliced out of the convolutions before and behind. */
  readonly kept: number[];
  /** The state of these channels, for `loadStateDict` of a layer of as many. */
  readonly stateDict: SavedStateDict;
}

/**
 * Adds the subgradient of `strength`·Σ|γ| to the gradient of each layer's γ, `strength`·sign(γ), behind
 * their backward passes and before the optimizer's step. All layers get it, or none where something
 * throws.
 *
 * @param strength λ, from 0 on; the paper takes 1e-5 to 1e-4
 * @throws BatchNormError `invalid-option`, `dtype`, `unsupported` for a layer without γ, `stale` before its
 *   backward pass, `disposed`
 *
 * @example
 * bn.forward(x);
 * bn.backward(dy);
 * addScaleL1([bn], 0.5);   // much, to be seen
 * bn.weight?.grad;         // → Tensor([3]) { 1.5, 3.5, 5.5 }
 */
export function addScaleL1(layers: readonly BatchNorm[], strength: number): void {
  const owner = "addScaleL1";
  checkNotNegative(strength, owner, "strength");
  const all = scalesOf(layers, owner).map(({ name, gamma, weight }) => {
    const grad =
      weight.grad ?? fail("stale", `${name}: γ has no gradient yet; call backward first`);
    if (grad.disposed) fail("disposed", `${name}: a gradient of the layer was disposed`);
    return { gamma, grad: tensorOf(grad) };
  });
  for (const { gamma, grad } of all) {
    grad.set(
      grad.toFloat32Array().map((value, c) => value + strength * Math.sign(gamma[c] as number)),
    );
  }
}

/**
 * Which channels of some layers matter least: those with the least |γ| of all, as many as `ratio` says,
 * but of no layer all.
 *
 * @param ratio part of all channels that goes, from 0 to less than 1
 * @param options `prefix` of the entries in each state dict; default none
 * @returns for each layer a mask, the channels that stay, and their parameters and statistics
 * @throws BatchNormError `invalid-option`, `dtype`, `unsupported` for a layer without γ, `not-built`, `disposed`
 *
 * @example
 * bn.weight?.set([2, 0.1, -3]);
 * const [pruned] = pruneByScale([bn], 0.34);
 * pruned?.kept;                                          // → [0, 2]
 * new BatchNorm(2).loadStateDict(pruned!.stateDict);   // what is left of it
 */
export function pruneByScale(
  layers: readonly BatchNorm[],
  ratio: number,
  options?: { prefix?: string | null | undefined } | null,
): PrunedLayer[] {
  const owner = "pruneByScale";
  const prefix = readPrefix(readOptions(owner, options, ["prefix"]).prefix, owner);
  checkPart(ratio, owner, "ratio");
  const all = scalesOf(layers, owner);
  const masks = all.map(({ gamma }) => new Array<boolean>(gamma.length).fill(true));
  const channels = all.flatMap(({ gamma, name }, layer) =>
    Array.from(gamma, (scale, channel) => {
      if (Number.isNaN(scale)) fail("invalid-option", `${name}: weight[${channel}] is NaN`);
      return { layer, channel, size: Math.abs(scale) };
    }),
  );
  const left = all.map(({ gamma }) => gamma.length);
  let number = Math.floor(ratio * channels.length);
  // (Sorting is stable: of equal ones the first go.)
  for (const { layer, channel } of channels.sort((a, b) => a.size - b.size)) {
    if (number === 0) break;
    if (left[layer] === 1) continue;
    (masks[layer] as boolean[])[channel] = false;
    (left[layer] as number)--;
    number--;
  }
  return all.map(({ state }, i) => {
    const mask = masks[i] as boolean[];
    const kept = mask.flatMap((stays, channel) => (stays ? [channel] : []));
    const entries = Object.entries(state.toDict({ prefix }, owner)).map(([name, entry]) => [
      name,
      typeof entry === "number" ? entry : Float32Array.from(kept, (c) => entry[c] as number),
    ]);
    return { mask, kept, stateDict: Object.fromEntries(entries) as SavedStateDict };
  });
}

/** The γ of layers, each of which has one. */
function scalesOf(layers: readonly BatchNorm[], owner: string) {
  return readArray(layers, `${owner}: layers`).map((layer, i) => {
    const name = `${owner}: layer ${i}`;
    const engine = readLayer(layer, name);
    engine.checkLive(owner);
    engine.state.check(name);
    const { weight, numFeatures } = engine.state;
    if (!engine.options.scale) fail("unsupported", `${name} has no γ`);
    if (!weight || numFeatures === null)
      fail("not-built", `${name}: no input told the feature count yet`);
    return { name, state: engine.state, weight, gamma: copyOut(weight) };
  });
}
