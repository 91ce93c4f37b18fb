/**
 * What a group norm layer does, over its state. The layer that users see (`layer.ts`) is a shell
 * around it.
 */
import { COUNT, checkOneOf, isCount } from "../core/checks.js";
import { portIn } from "../core/default-kernel.js";
import { fail, mustBe } from "../core/errors.js";
import { resolveAxis } from "../core/geometry.js";
import type { Port } from "../core/kernel.js";
import { LastPass } from "../core/last-pass.js";
import { layerBackward, layerForward } from "../core/layer-passes.js";
import { LayerState } from "../core/layer-state.js";
import { type Call, newCall, Place } from "../core/operands.js";
import { readOptions } from "../core/options.js";
import { FORWARD_NAMES } from "../core/passes.js";
import type { PlainResult } from "../core/plain.js";
import { runCall } from "../core/run.js";
import type { SavedState } from "../core/saved-state.js";
import { showShape } from "../core/show.js";
import type { Tensor } from "../core/tensor.js";
import type { View } from "../core/view.js";
import { Operation } from "../generated/abi.js";
import { checkDivides } from "./checks.js";
import {
  type GroupBackwardOptions,
  type GroupForwardOptions,
  LAYER_BACKWARD_OPTIONS,
  LAYER_FORWARD_OPTIONS,
  type LayerOptions,
} from "./layer-options.js";
import { savedAccess } from "./saved.js";

/** The inside of a layer. */
export class GroupEngine {
  declare readonly options: LayerOptions;
  /** Groups of a sample; `null` for as many as there are channels. */
  declare readonly numGroups: number | null;
  declare readonly port: Port;
  declare readonly state: LayerState;
  declare readonly last: LastPass;
  #disposed = false;

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
    const { owner } = options;
    this.options = options;
    this.numGroups = numGroups;
    this.port = portIn(options.kernel, owner);
    this.state = new LayerState(this.port, options.preset.names, options);
    this.last = new LastPass(this.port, Operation.GroupForward, savedAccess);
    if (numGroups !== null) {
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

  forward(x: unknown, options: GroupForwardOptions | null | undefined): Tensor | PlainResult {
    const owner = this.checkLive("forward");
    const given = readOptions(owner, options, LAYER_FORWARD_OPTIONS);
    const asked = given.training;
    return layerForward(owner, this, x, given.out, (x, out) => this.#forward(owner, x, out, asked));
  }

  /** Nothing of the user's runs any more from here on: what it can have changed is read here. */
  #forward(owner: string, x: View, out: View | null, asked: unknown): View {
    this.checkLive("forward"); // a getter may have disposed it
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

  backward(dy: unknown, options: GroupBackwardOptions | null | undefined): Tensor | PlainResult {
    const owner = this.checkLive("backward");
    const given = readOptions(owner, options, LAYER_BACKWARD_OPTIONS);
    return layerBackward(owner, this, dy, given, () => {
      this.checkLive("backward");
      return this.options.requiresGrad;
    });
  }

  dispose(): void {
    this.#disposed = true;
    this.state.dispose();
    this.last.end();
  }

  /** The method's name for error messages, where the layer is alive. */
  checkLive(method: string): string {
    const owner = `${this.options.owner}.${method}`;
    if (this.#disposed) fail("disposed", `${owner}: the layer was disposed`);
    return owner;
  }

  /** The channel axis, counted from 0, of a shape that the layer can take. */
  protected axisOf(shape: readonly number[], owner: string): number {
    const { axis: given } = this.options;
    const axis = resolveAxis(given, shape.length, owner);
    this.state.checkChannels(shape, axis, given, owner);
    return axis;
  }
}
