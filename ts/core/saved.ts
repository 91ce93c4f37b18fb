import type { Operation } from "../generated/abi.js";
import { fail } from "./errors.js";
import type { Kernel, Port, Tracked } from "./kernel.js";
import { Place } from "./operands.js";
import { provideSavedAccess, type SavedAccess } from "./saved-access.js";
import { SavedState, SavedVector } from "./saved-state.js";
import type { Holding } from "./scope.js";
import { type Tensor, tensorOf } from "./tensor.js";
import type { Float64Values } from "./values.js";

const states = /* @__PURE__ */ new WeakMap<object, SavedState>();

/** The saved values of a norm, for its forward passes of an operation. */
export function savedAccessFor(
  operation: Operation,
  wrap: (state: SavedState) => NormSaved,
): SavedAccess {
  return provideSavedAccess(operation, {
    wrap,
    make(port: Port) {
      const state = new SavedState(port, operation);
      return wrap(state) && state;
    },
    inside(value) {
      const state = states.get(value as object);
      return state?.operation === operation ? state : undefined;
    },
  });
}

/**
 * What a forward pass of any norm keeps for its backward pass: x, and copies of γ and of the
 * statistics that normalized x. It copies no x but counts its writes, so that a backward
 * pass through an overwritten one is an error and not a wrong number.
 *
 * @example
 * const { saved } = batchNormTraining(x);
 * saved instanceof NormSaved;   // → true
 */
export abstract class NormSaved implements Tracked, Holding {
  /**
   * The kernel whose memory it lives in.
   *
   * @example
   * saved.kernel === defaultKernel();   // → true
   */
  readonly kernel: Kernel;
  /** What `Object.prototype.toString` says: who wraps plain objects in Proxies leaves it alone. */
  abstract readonly [Symbol.toStringTag]: string;

  /** @internal Made by a forward pass. */
  constructor(state: SavedState) {
    if (!(state instanceof SavedState)) {
      fail("invalid-option", "saved values are a forward pass's: use saved: true");
    }
    states.set(this, state);
    state.handle = this;
    this.kernel = state.port.kernel;
  }

  /**
   * The channel axis, counted from 0.
   *
   * @example
   * bn.forward(x);
   * bn.saved?.axis;   // → 1
   */
  get axis(): number {
    return insideOf(this).call?.axis ?? 0;
  }

  /**
   * Number of channels.
   *
   * @example
   * saved.channels;   // → 3
   */
  get channels(): number {
    return insideOf(this).sizes.channels;
  }

  /**
   * Added to the variance.
   *
   * @example
   * saved.eps;   // → 0.00001
   */
  get eps(): number {
    return insideOf(this).call?.eps ?? 0;
  }

  /**
   * What was normalized.
   *
   * @example
   * bn.forward(x);
   * bn.saved?.x === x;   // → true
   */
  get x(): Tensor {
    const state = insideOf(this);
    return tensorOf(state.x) ?? fail(state.gone ?? "stale", "saved holds no x");
  }

  /**
   * A copy of the means that normalized x: `[C]`, one a channel, or of groups `[N·G]`, sample by
   * sample, or of ghost batches, slice by slice.
   *
   * @example
   * saved.mean;   // → Float64Array [2, 4, 6]
   */
  get mean(): Float64Values {
    return insideOf(this).values(SavedVector.MEAN, "mean");
  }

  /**
   * A copy of the variances that normalized x (biased ones, where they are x's own), in the order
   * of the means.
   *
   * @example
   * saved.variance;   // → Float64Array [1, 4, 9]
   */
  get variance(): Float64Values {
    return insideOf(this).values(SavedVector.VARIANCE, "variance");
  }

  /**
   * A copy of γ as it was, `[C]`; `null` where there was none.
   *
   * @example
   * bn.forward(x);
   * bn.weight?.set([2, 2, 2]);   // a step of the optimizer
   * bn.saved?.weight;            // → Float64Array [1, 1, 1]
   */
  get weight(): Float64Values | null {
    const state = insideOf(this);
    const values = state.values(SavedVector.WEIGHT, "weight");
    return state.call?.operands[Place.WEIGHT] ? values : null;
  }

  /**
   * Whether {@link NormSaved.dispose} was called.
   *
   * @example
   * saved.dispose();
   * saved.disposed;   // → true
   */
  get disposed(): boolean {
    return insideOf(this).gone === "disposed";
  }

  /**
   * Gives its memory back.
   *
   * @example
   * saved.dispose();
   * batchNormBackward(dy, { saved });   // throws disposed
   */
  dispose(): void {
    insideOf(this).end("disposed");
  }

  /**
   * {@link NormSaved.dispose}, at the end of the block.
   *
   * @example
   * bn.forward(x);
   * using saved = bn.takeSaved();
   * const dx = bn.backward(dy, { saved });
   */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** A scope that returns them keeps the tensors that `backward` needs. */
  get "batchnorm-wasm.holds"(): (Tensor | null)[] {
    const { x, y } = insideOf(this);
    return [tensorOf(x), tensorOf(y)];
  }
}

/** What this package has of saved values. */
export function insideOf(saved: NormSaved): SavedState {
  return (
    states.get(saved) ??
    fail("dtype", "saved is a Proxy (Vue: toRaw), or of another copy of this package")
  );
}
