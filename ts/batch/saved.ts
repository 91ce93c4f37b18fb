import { fail } from "../core/errors.js";
import type { Kernel, Port, Tracked } from "../core/kernel.js";
import { Place } from "../core/operands.js";
import type { Holding } from "../core/scope.js";
import { type Tensor, tensorOf } from "../core/tensor.js";
import type { Float64Values } from "../core/values.js";
import { provideSaved } from "./records.js";
import { SavedState } from "./saved-state.js";

const states = /* @__PURE__ */ provideSaved(newRecord);

/** An empty record, that users can have. */
export function newRecord(port: Port): SavedState {
  const state = new SavedState(port);
  return new BatchNormSaved(state) && state;
}

/** The inside of a record. Who calls it has records made: see `records.ts`. */
export function recordOf(value: unknown): SavedState | undefined {
  return states.get(value as object);
}

/**
 * What a forward pass keeps for its backward pass: x, and copies of γ and of the
 * statistics that normalized x. It copies no x but counts its writes, so that a backward
 * pass through an overwritten one is an error and not a wrong number.
 *
 * @example
 * const { y, saved } = batchNormTraining(x, { weight, bias });
 * const { dx, weightGrad, biasGrad } = batchNormBackward(dy, { saved });
 */
export class BatchNormSaved implements Tracked, Holding {
  /** The kernel whose memory it lives in. */
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

  /** Whether the batch's statistics normalized x, or given ones, which are constant. */
  get statistics(): "batch" | "running" {
    return inside(this).call?.constant ? "running" : "batch";
  }

  /** The channel axis, counted from 0. */
  get axis(): number {
    return inside(this).call?.axis ?? 0;
  }

  /** Number of channels. */
  get channels(): number {
    return inside(this).channels;
  }

  /** Added to the variance. */
  get eps(): number {
    return inside(this).call?.eps ?? 0;
  }

  /** What was normalized. */
  get x(): Tensor {
    const state = inside(this);
    return tensorOf(state.x) ?? fail(state.gone ?? "stale", "saved holds no x");
  }

  /** A copy of the means that normalized x, one a channel. */
  get mean(): Float64Values {
    return inside(this).values(0, "mean");
  }

  /** A copy of the variances that normalized x (biased ones of a batch), one a channel. */
  get variance(): Float64Values {
    return inside(this).values(1, "variance");
  }

  /** A copy of γ as it was, `[C]`; `null` where there was none. */
  get weight(): Float64Values | null {
    const state = inside(this);
    const values = state.values(2, "weight");
    return state.call?.operands[Place.WEIGHT] ? values : null;
  }

  /** Whether {@link BatchNormSaved.dispose} was called. */
  get disposed(): boolean {
    return inside(this).gone === "disposed";
  }

  /** Gives its memory back. */
  dispose(): void {
    inside(this).end("disposed");
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** A scope that returns the record keeps the tensor that `backward` needs. */
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
