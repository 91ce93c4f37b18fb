/**
 * What the layers of all norms do alike: tensors in and out, the last pass, gradients, and the end.
 * Each norm's `engine.ts` says what its forward pass is.
 */
import type { Operation } from "../generated/abi.js";
import { bringIn, readOut, readTensor, roomFor, takeOut } from "./arguments.js";
import { portIn } from "./default-kernel.js";
import { fail } from "./errors.js";
import type { Port } from "./kernel.js";
import { LastPass } from "./last-pass.js";
import { LayerState, type StateNames, type Vectors } from "./layer-state.js";
import { Place } from "./operands.js";
import { readOptions } from "./options.js";
import { type BackThrough, runBackward } from "./passes.js";
import type { PlainResult } from "./plain.js";
import type { SavedAccess } from "./saved-access.js";
import { allocateOwn, Tensor } from "./tensor.js";
import type { View } from "./view.js";

/** What every norm's forward pass can be told. */
export const FORWARD_OPTIONS = ["out", "training"];
const BACKWARD_OPTIONS = ["out", "saved"];
const WITH_RESIDUAL = /* @__PURE__ */ BACKWARD_OPTIONS.concat("residualGrad");

/** What every layer is told. */
export interface EngineOptions extends Vectors {
  /** The name of the layer's class in error messages. */
  readonly owner: string;
  readonly preset: { readonly names: StateNames };
  readonly kernel: unknown;
  requiresGrad: boolean;
}

/** The inside of a layer. */
export abstract class LayerEngine<Options extends EngineOptions> {
  declare readonly options: Options;
  declare readonly port: Port;
  declare readonly state: LayerState;
  declare readonly last: LastPass;
  #disposed = false;

  /**
   * @param operation of a forward pass
   * @param access to what it saves
   * @throws BatchNormError `invalid-option`, `kernel`
   */
  constructor(options: Options, operation: Operation, access: SavedAccess) {
    this.options = options;
    this.port = portIn(options.kernel, options.owner);
    this.state = new LayerState(this.port, options.preset.names, options);
    this.last = new LastPass(this.port, operation, access);
  }

  /** Of a norm that takes a residual. */
  protected get through(): BackThrough | null {
    return null;
  }

  /** A forward pass. */
  forward(
    x: unknown,
    options: { out?: unknown; training?: unknown; residual?: unknown } | null | undefined,
  ): Tensor | PlainResult {
    const { port, last, through } = this;
    const owner = this.checkLive("forward");
    const given = readOptions(owner, options, this.forwardOptions);
    const asked = given.training;
    const to = given.out;
    const added = through ? given.residual : null;
    const more = this.readMore(given, owner);
    const read = readTensor(x, port, owner, "x");
    const readResidual = added == null ? null : readTensor(added, port, owner, "residual");
    const out = readOut(to, read, owner);
    const view = bringIn(read, port);
    let residual: View | null = null;
    try {
      residual = readResidual && bringIn(readResidual, port);
      const room = roomFor(view, read, owner);
      this.checkLive("forward"); // a getter may have disposed it
      const y = this.pass(owner, view, out, asked, residual, more);
      if (view !== read) last.keep(view);
      return takeOut(y, read, room);
    } catch (error) {
      if (view !== read) view.dispose();
      throw error;
    } finally {
      if (residual !== readResidual) residual?.dispose();
    }
  }

  /**
   * What is the norm's own of a forward pass. Nothing of the user's runs any more from here on:
   * what it can have changed is read here.
   *
   * @param asked the mode of this call, if any
   * @param residual where there is one, and the norm takes it
   * @param more what {@link readMore} gave
   */
  protected abstract pass(
    owner: string,
    x: View,
    out: View | null,
    asked: unknown,
    residual: View | null,
    more: unknown,
  ): View;

  /** What a forward pass can be told. */
  protected get forwardOptions(): readonly string[] {
    return FORWARD_OPTIONS;
  }

  /** Of that, what only this norm takes, read. */
  protected readMore(_given: object, _owner: string): unknown {
    return null;
  }

  /** The backward pass of the last forward pass, or of the one that was asked for. */
  backward(
    dy: unknown,
    options: { out?: unknown; saved?: unknown; residualGrad?: unknown } | null | undefined,
  ): Tensor | PlainResult {
    const { port, state, last, through } = this;
    const owner = this.checkLive("backward");
    const names = through ? WITH_RESIDUAL : BACKWARD_OPTIONS;
    const given = readOptions(owner, options, names);
    const asked = given.saved;
    const ofResidual = through ? given.residualGrad : null;
    const read = readTensor(dy, port, owner, "dy");
    const out = readOut(given.out, read, owner);
    const residualGrad = readOut(ofResidual, read, owner, "residualGrad");
    const view = bringIn(read, port);
    const { weight, bias } = state;
    let weightGrad: View | null = null;
    let biasGrad: View | null = null;
    try {
      this.checkLive("backward"); // a getter may have disposed it
      state.check(owner);
      const saved = last.find(asked, owner);
      const pass = saved.check(owner);
      if (pass.operands[Place.WEIGHT] !== weight || pass.operands[Place.BIAS] !== bias) {
        fail("invalid-option", `${owner}: saved is of another layer`);
      }
      const room = roomFor(view, read, owner);
      const learns = this.options.requiresGrad;
      // Where a gradient is added: a parameter's own, or a new one that is not yet its.
      const gradientOf = (parameter: View | null) =>
        parameter && learns
          ? (parameter.grad ?? allocateOwn(Tensor, port, parameter.shape, 0))
          : null;
      weightGrad = gradientOf(weight);
      biasGrad = gradientOf(bias);
      const dx = runBackward(owner, pass, view, out, weightGrad, biasGrad, (call) =>
        through?.(call, pass, saved.y, residualGrad),
      );
      if (weight && weightGrad) weight.grad = weightGrad;
      if (bias && biasGrad) bias.grad = biasGrad;
      return takeOut(dx, read, room);
    } catch (error) {
      if (weightGrad !== weight?.grad) weightGrad?.dispose();
      if (biasGrad !== bias?.grad) biasGrad?.dispose();
      throw error;
    } finally {
      if (view !== read) view.dispose();
    }
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
}
