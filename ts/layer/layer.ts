import { inside, SampleNorm } from "../core/sample-norm.js";
import { Operation } from "../generated/abi.js";
import { RowEngine } from "./engine.js";
import {
  LAYER_OPTIONS,
  type LayerNormLayerOptions,
  RMS_OPTIONS,
  type RMSNormLayerOptions,
  readLayerOptions,
} from "./layer-options.js";
import { layerNormPresets, rmsNormPresets } from "./presets.js";
import { type LayerNormSaved, layerAccess, type RMSNormSaved, rmsAccess } from "./saved.js";

/**
 * What layer and RMS norm layers have in common: the axes that they normalize together.
 *
 * @example
 * new RMSNorm(3) instanceof RowNorm;   // → true
 */
export abstract class RowNorm<
  Saved extends LayerNormSaved = LayerNormSaved,
> extends SampleNorm<Saved> {
  /**
   * The sizes of the axes that are normalized together, in which γ and β are; `null` while they
   * have to be learned from the first input, or are not fixed.
   *
   * @example
   * new LayerNorm([2, 3]).normalizedShape;   // → [2, 3]
   * new LayerNorm(3).normalizedShape;        // → [3]
   */
  get normalizedShape(): readonly number[] | null {
    const { shape } = inside(this).state;
    return shape && [...shape];
  }

  /**
   * These axes, as they were given; else the last ones, negative from the end.
   *
   * @example
   * new LayerNorm([2, 3]).axes;             // → [-2, -1]
   * new LayerNorm(64, { axes: 1 }).axes;    // → [1]
   */
  get axes(): readonly number[] {
    return [...(inside(this) as RowEngine).axes];
  }
}

/**
 * Layer normalization as a layer (`torch.nn.LayerNorm`): each row is normalized by its own
 * statistics, in both modes. A row is what lies along the last axes, or others.
 *
 * @example
 * const ln = new LayerNorm(768);   // PyTorch's conventions
 * const y = ln.forward(Tensor.zeros([2, 128, 768]));
 * const dx = ln.backward(y);       // adds to ln.weight.grad, ln.bias.grad
 * const convnext = new LayerNorm(96, { axes: 1, eps: 1e-6 });   // over channels-first images
 */
export class LayerNorm extends RowNorm {
  /**
   * @param normalizedShape sizes of the axes that are normalized together, a number for one; `null`
   *   to learn them from the first input, and without parameters to take any
   * @throws BatchNormError `invalid-option`, `unknown-option`, `invalid-shape`, `shape-overflow`,
   *   `out-of-memory`
   */
  constructor(
    normalizedShape: number | readonly number[] | null,
    options?: LayerNormLayerOptions | null,
  ) {
    const read = readLayerOptions("LayerNorm", options, layerNormPresets, LAYER_OPTIONS);
    super(new RowEngine(read, Operation.LayerForward, layerAccess, normalizedShape));
  }

  protected override get owner(): string {
    return "LayerNorm";
  }
}

/**
 * RMS normalization as a layer (`torch.nn.RMSNorm`): each row is divided by its root mean square,
 * in both modes. There is no β.
 *
 * @example
 * const norm = new RMSNorm(4096, { eps: 1e-6 });
 * const y = norm.forward(Tensor.zeros([2, 4096]));
 * const dx = norm.backward(y);   // adds to norm.weight.grad
 */
export class RMSNorm extends RowNorm<RMSNormSaved> {
  /**
   * @param normalizedShape as {@link LayerNorm}'s
   * @throws BatchNormError as {@link LayerNorm}
   */
  constructor(
    normalizedShape: number | readonly number[] | null,
    options?: RMSNormLayerOptions | null,
  ) {
    const read = readLayerOptions("RMSNorm", options, rmsNormPresets, RMS_OPTIONS);
    super(new RowEngine(read, Operation.RmsForward, rmsAccess, normalizedShape));
  }

  protected override get owner(): string {
    return "RMSNorm";
  }
}
