/**
 * What a layer or RMS norm layer does, over its state. The layer that users see (`layer.ts`) is a
 * shell around it.
 */
import { checkOneOf } from "../core/checks.js";
import { fail } from "../core/errors.js";
import { readShape, sameNumbers, sizeOf } from "../core/geometry.js";
import { LayerEngine } from "../core/layer-engine.js";
import { Place } from "../core/operands.js";
import { runCall } from "../core/run.js";
import type { SampleEngine } from "../core/sample-norm.js";
import type { SavedAccess } from "../core/saved-access.js";
import { showShape } from "../core/show.js";
import type { View } from "../core/view.js";
import type { Operation } from "../generated/abi.js";
import { readAxes, resolveAxes } from "./axes.js";
import type { LayerOptions } from "./layer-options.js";
import { rowCall, sizesAlong } from "./rows.js";

/** The inside of a layer. */
export class RowEngine extends LayerEngine<LayerOptions> implements SampleEngine<LayerOptions> {
  /** As they were given, or the last ones. */
  declare readonly axes: readonly number[];
  declare readonly operation: Operation;

  /**
   * @param operation of a forward pass
   * @param access to what it saves
   * @param normalizedShape a number, an array, or `null` to learn it; without parameters any is
   *   taken then
   * @throws BatchNormError `invalid-option`, `invalid-shape`, `shape-overflow`, `out-of-memory`
   */
  constructor(
    options: LayerOptions,
    operation: Operation,
    access: SavedAccess,
    normalizedShape: unknown,
  ) {
    const { owner, axes } = options;
    super(options, operation, access);
    this.operation = operation;
    if (normalizedShape === null) {
      this.axes = readAxes(axes, owner);
      return;
    }
    const sizes = typeof normalizedShape === "number" ? [normalizedShape] : normalizedShape;
    const shape = readShape(sizes as readonly number[], owner);
    this.axes = axes === null ? shape.map((_, i) => i - shape.length) : readAxes(axes, owner);
    if (shape.length !== this.axes.length) {
      fail(
        "invalid-option",
        `${owner}: axes ${showShape(this.axes)} are not those of ${showShape(shape)}`,
      );
    }
    this.#build(shape, owner);
  }

  /** Whether the first input is to tell the sizes: parameters have them. */
  get #learns(): boolean {
    return this.options.scale || this.options.offset;
  }

  get words(): string[] {
    const { options, state } = this;
    const unknown = this.#learns ? "?" : `axes=${showShape(this.axes)}`;
    return [state.shape ? showShape(state.shape) : unknown, `eps=${options.eps}`];
  }

  protected pass(owner: string, x: View, out: View | null, asked: unknown): View {
    checkOneOf(asked ?? this.options.training, owner, "training");
    const { state, options } = this;
    const axes = resolveAxes(this.axes, x.shape.length, owner);
    const shape = sizesAlong(x.shape, axes);
    this.#checkShape(shape, x, owner);
    const learned = state.numFeatures === null && this.#learns;
    if (learned) this.#build(shape, owner);
    const saved = this.last.toFill();
    try {
      const call = rowCall(this.operation, owner, x, axes);
      const { operands } = call;
      operands[Place.OUT] = out;
      operands[Place.WEIGHT] = state.weight;
      operands[Place.BIAS] = state.bias;
      call.eps = options.eps;
      const y = runCall(call, saved);
      this.last.set(saved, x, y);
      return y;
    } catch (error) {
      if (learned) this.#forget();
      throw error;
    }
  }

  #build(shape: readonly number[], owner: string): void {
    this.state.shape = shape;
    try {
      this.state.build(sizeOf(shape), owner);
    } catch (error) {
      this.#forget();
      throw error;
    }
  }

  #forget(): void {
    this.state.dispose();
    this.state.shape = null;
  }

  /** @throws BatchNormError `shape-mismatch` unless x has the normalized shape along its axes */
  #checkShape(shape: readonly number[], x: View, owner: string): void {
    const { state } = this;
    // Of what was loaded before any x came, the length alone is known.
    const wanted = state.shape ?? (state.numFeatures === null ? null : [state.numFeatures]);
    const fits = state.shape
      ? sameNumbers(shape, state.shape)
      : state.numFeatures === null || sizeOf(shape) === state.numFeatures;
    if (!fits) {
      fail(
        "shape-mismatch",
        `${owner}: expected x with ${showShape(wanted as number[])} along axes ` +
          `${showShape(this.axes)}, got ${showShape(shape)} in ${showShape(x.shape)}`,
      );
    }
  }
}
