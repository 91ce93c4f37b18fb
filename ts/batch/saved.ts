import { fail } from "../core/errors.js";
import type { Kernel, Tracked } from "../core/kernel.js";
import { Place } from "../core/operands.js";
import { SavedState } from "../core/saved-state.js";
import type { Holding } from "../core/scope.js";
import { type Tensor, tensorOf } from "../core/tensor.js";
import type { Float64Values } from "../core/values.js";
import { provideSavedAccess, SavedVector } from "./saved-access.js";

const states = /* @__PURE__ */ new WeakMap<object, SavedState>();

/** For all that needs saved values; what can do without asks `saved-access.ts`. */
export const savedAccess = /* @__PURE__ */ provideSavedAccess({
  make(port) {
    const state = new SavedState(port, SavedVector.COUNT);
    return new BatchNormSaved(state) && state;
  },
  inside: (value) => states.get(value as object),
});

/**
 * What a forward pass keeps for its backward pass: x, and copies of γ and of the
 * statistics that normalized x. It copies no x but counts its writes, so that a backward
 * pass through an overwritten one is an error and not a wrong number.
 *
 * @example
 * const { y, saved } = batchNormTraining(x, { weight, bias });
 * saved.mean;       // → Float64Array [2, 4, 6]
 * saved.variance;   // → Float64Array [1, 4, 9]
 * const { dx, weightGrad, biasGrad } = batchNormBackward(dy, { saved });
 * saved.dispose();
 */
export class BatchNormSaved implements Tracked, Holding {
  /**
   * The kernel whose memory it lives in.
   *
   * @example
   * saved.kernel === defaultKernel();   // → true
   */
  readonly kernel: Kernel;
  /** What `Object.prototype.toString` says: who wraps plain objects in Proxies leaves it alone. */
  readonly [Symbol.toStringTag]: string = "BatchNormSaved";

  /** @internal Made by a forward pass. */
  constructor(state: SavedState) {
    if (!(state instanceof SavedState)) {
      fail("invalid-option", "new BatchNormSaved: use saved: true");
    }
    states.set(this, state);
    state.handle = this;
    this.kernel = state.port.kernel;
  }

  /**
   * Whether the batch's statistics normalized x, or given ones, which are constant.
   *
   * @example
   * saved.statistics;       // → "batch"
   * bn.eval().forward(x);
   * bn.saved?.statistics;   // → "running"
   */
  get statistics(): "batch" | "running" {
    return inside(this).call?.constant ? "running" : "batch";
  }

  /**
   * The channel axis, counted from 0.
   *
   * @example
   * bn.forward(x);
   * bn.saved?.axis;   // → 1
   */
  get axis(): number {
    return inside(this).call?.axis ?? 0;
  }

  /**
   * Number of channels.
   *
   * @example
   * saved.channels;   // → 3
   */
  get channels(): number {
    return inside(this).channels;
  }

  /**
   * Added to the variance.
   *
   * @example
   * saved.eps;   // → 0.00001
   */
  get eps(): number {
    return inside(this).call?.eps ?? 0;
  }

  /**
   * What was normalized.
   *
   * @example
   * bn.forward(x);
   * bn.saved?.x === x;   // → true
   */
  get x(): Tensor {
    const state = inside(this);
    return tensorOf(state.x) ?? fail(state.gone ?? "stale", "saved holds no x");
  }

  /**
   * A copy of the means that normalized x, one a channel.
   *
   * @example
   * saved.mean;   // → Float64Array [2, 4, 6]
   */
  get mean(): Float64Values {
    return inside(this).values(SavedVector.MEAN, "mean");
  }

  /**
   * A copy of the variances that normalized x (biased ones of a batch), one a channel.
   *
   * @example
   * saved.variance;   // → Float64Array [1, 4, 9]
   */
  get variance(): Float64Values {
    return inside(this).values(SavedVector.VARIANCE, "variance");
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
    const state = inside(this);
    const values = state.values(SavedVector.WEIGHT, "weight");
    return state.call?.operands[Place.WEIGHT] ? values : null;
  }

  /**
   * Whether {@link BatchNormSaved.dispose} was called.
   *
   * @example
   * saved.dispose();
   * saved.disposed;   // → true
   */
  get disposed(): boolean {
    return inside(this).gone === "disposed";
  }

  /**
   * Gives its memory back.
   *
   * @example
   * saved.dispose();
   * batchNormBackward(dy, { saved });   // throws disposed
   */
  dispose(): void {
    inside(this).end("disposed");
  }

  /**
   * {@link BatchNormSaved.dispose}, at the end of the block.
   *
   * @example
   * bn.forward(x);
   * using saved = bn.takeSaved();
   * const dx = bn.backward(dy, { saved });
   */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** A scope that returns them keeps the tensor that `backward` needs. */
  get "batchnorm-wasm.holds"(): Tensor | null {
    return tensorOf(inside(this).x);
  }
}

function inside(saved: BatchNormSaved): SavedState {
  return (
    states.get(saved) ??
    fail("dtype", "saved is a Proxy (Vue: toRaw), or of another copy of this package")
  );
}
