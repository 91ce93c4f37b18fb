/**
 * What a group norm layer does, over its state. The layer that users see (`layer.ts`) is a shell
 * around it.
 */
import { COUNT, checkOneOf, isCount } from "../core/checks.js";
import { fail, mustBe } from "../core/errors.js";
import { resolveAxis } from "../core/geometry.js";
import { LayerEngine } from "../core/layer-engine.js";
import { type Call, newCall, Place } from "../core/operands.js";
import { FORWARD_NAMES } from "../core/passes.js";
import { runCall } from "../core/run.js";
import type { SampleEngine } from "../core/sample-norm.js";
import type { SavedState } from "../core/saved-state.js";
import { showShape } from "../core/show.js";
import type { View } from "../core/view.js";
import { Operation } from "../generated/abi.js";
import { checkDivides } from "./checks.js";
import type { LayerOptions } from "./layer-options.js";
import { PER_GROUP } from "./per-group.js";
import { savedAccess } from "./saved.js";

/** The inside of a layer. */
export class GroupEngine extends LayerEngine<LayerOptions> implements SampleEngine<LayerOptions> {
  /** Groups of a sample; `null` for as many as there are channels. */
  declare readonly numGroups: number | null;

  /**
   * @param numGroups checked; `groups` is what users call it
   * @throws BatchNormError `invalid-option`, `out-of-memory`
   */
  constructor(
    options: LayerOptions,
    numGroups: number | null,
    numChannels: number | null,
    groups = "numGroups",
  ) {
    super(options, Operation.GroupForward, savedAccess);
    const { owner } = options;
    this.numGroups = numGroups;
    if (numGroups !== null) {
      if (options.preset.perGroup) this.state.shape = [numGroups];
      this.state.fits = (channels, owner, code) =>
        checkDivides(numGroups, channels, `${owner}: ${groups}`, code);
    }
    if (numChannels === null) return;
    if (!isCount(numChannels)) {
      // PyTorch calls it by two names.
      const name = numGroups === null ? "numFeatures" : "numChannels";
      const what = `${COUNT}, or null to learn it`;
      mustBe("invalid-option", `${owner}: ${name}`, what, numChannels);
    }
    this.state.build(numChannels, owner);
  }

  get words(): string[] {
    const { options, numGroups, state } = this;
    const { eps, trackRunningStats, momentum } = options;
    return [
      ...(numGroups === null ? [] : [`${numGroups}`]),
      `${state.numFeatures ?? "?"}`,
      `eps=${eps}`,
      ...(trackRunningStats ? [`momentum=${momentum}`] : []),
    ];
  }

  protected pass(owner: string, x: View, out: View | null, asked: unknown): View {
    const training = asked ?? this.options.training;
    checkOneOf(training, owner, "training");
    const { state, options } = this;
    const axis = this.axisOf(x.shape, owner);
    const channels = x.shape[axis] as number;
    if (options.preset.strict) this.checkSize(x, axis, training as boolean, owner);
    const learned = state.numFeatures === null;
    if (learned) state.build(channels, owner, "shape-mismatch");
    const saved = this.last.toFill();
    try {
      // Of no channels there is one group of none.
      const groups = this.numGroups ?? Math.max(channels, 1);
      const call = newCall(FORWARD_NAMES, Operation.GroupForward, owner, x, axis, groups);
      const { operands } = call;
      operands[Place.OUT] = out;
      operands[Place.WEIGHT] = state.weight;
      operands[Place.BIAS] = state.bias;
      call.eps = options.eps;
      if (options.preset.perGroup) call.through = PER_GROUP;
      const y = this.run(call, saved, training as boolean);
      this.last.set(saved, x, y);
      return y;
    } catch (error) {
      if (learned) state.dispose();
      throw error;
    }
  }

  /** Runs a forward pass. */
  protected run(call: Call<View>, saved: SavedState, _training: boolean): View {
    return runCall(call, saved);
  }

  /** @throws BatchNormError `batch-too-small` as PyTorch does in both modes */
  protected checkSize(x: View, _axis: number, _training: boolean, owner: string): void {
    if (x.size === this.numGroups) {
      fail(
        "batch-too-small",
        `${owner}: expected more than 1 value per group, got ${showShape(x.shape)}`,
      );
    }
  }

  /** The channel axis, counted from 0, of a shape that the layer can take. */
  protected axisOf(shape: readonly number[], owner: string): number {
    const { axis: given } = this.options;
    const axis = resolveAxis(given, shape.length, owner);
    this.state.checkChannels(shape, axis, given, owner);
    return axis;
  }
}
