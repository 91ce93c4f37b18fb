/** Batch norm as other frameworks spell it: their names, defaults and checks. */
import { checkOneOf } from "../core/checks.js";
import type { KernelOption } from "../core/default-kernel.js";
import { fail } from "../core/errors.js";
import { readOptions } from "../core/options.js";
import type { Parameter } from "../core/parameter.js";
import type { Tensor } from "../core/tensor.js";
import { BatchNorm } from "./layer.js";
import type { BatchNormLayerOptions } from "./layer-options.js";

/** Options of PyTorch's layers. */
export type BatchNormNdOptions = Pick<
  BatchNormLayerOptions,
  "eps" | "momentum" | "affine" | "trackRunningStats" | "kernel"
>;

class TorchBatchNorm extends BatchNorm {
  constructor(numFeatures: number, options?: BatchNormNdOptions | null) {
    const names = ["eps", "momentum", "affine", "trackRunningStats", "kernel"];
    const given = readOptions(new.target.prototype.owner, options, names);
    super(numFeatures, { ...given, preset: "torch" });
  }
}

/**
 * `torch.nn.BatchNorm1d`: x is `[N, C]` or `[N, C, L]`.
 *
 * @example
 * const bn = new BatchNorm1d(3);
 * bn.forward(x);                            // → Tensor([2, 3]) { -1, -1, -1, 1, 1, 1 }
 * bn.forward(Tensor.zeros([2, 3, 4, 4]));   // throws shape-mismatch
 */
export class BatchNorm1d extends TorchBatchNorm {
  protected override get owner(): string {
    return "BatchNorm1d";
  }

  protected override get ranks(): readonly number[] {
    return [2, 3];
  }
}

/**
 * `torch.nn.BatchNorm2d`: x is `[N, C, H, W]`.
 *
 * @example
 * const bn = new BatchNorm2d(64, { eps: 1e-3 });
 * const y = bn.forward(Tensor.zeros([2, 64, 28, 28]));
 */
export class BatchNorm2d extends TorchBatchNorm {
  protected override get owner(): string {
    return "BatchNorm2d";
  }

  protected override get ranks(): readonly number[] {
    return [4];
  }
}

/**
 * `torch.nn.BatchNorm3d`: x is `[N, C, D, H, W]`.
 *
 * @example
 * const bn = new BatchNorm3d(16);
 * const y = bn.forward(Tensor.zeros([2, 16, 4, 8, 8]));
 */
export class BatchNorm3d extends TorchBatchNorm {
  protected override get owner(): string {
    return "BatchNorm3d";
  }

  protected override get ranks(): readonly number[] {
    return [5];
  }
}

/** Layers whose `trainable` is false. Not a private field: a Proxy would get a bare TypeError. */
const untrainable = /* @__PURE__ */ new WeakSet<BatchNormalization>();

/** Options of Keras's layer. */
export interface BatchNormalizationOptions extends KernelOption {
  /** The channel axis; default −1. */
  axis?: number | null | undefined;
  /** Weight of the old value in the moving averages; default 0.99. */
  momentum?: number | null | undefined;
  /** Added to the variance; default 1e-3. */
  epsilon?: number | null | undefined;
  /** Whether there is β; default true. */
  center?: boolean | null | undefined;
  /** Whether there is γ; default true. */
  scale?: boolean | null | undefined;
  /** See {@link BatchNormalization.trainable}; default true. */
  trainable?: boolean | null | undefined;
  /** Batch renormalization (Ioffe 2017), with averages of its own; default false. */
  renorm?: boolean | null | undefined;
  /** How far renorm may correct; default not limited. */
  renormClipping?: RenormClipping | null | undefined;
  /** Weight of the old value in renorm's averages; default 0.99. */
  renormMomentum?: number | null | undefined;
}

/** How far Keras's renorm may correct: r from rmin to rmax, |d| up to dmax. */
export interface RenormClipping {
  rmin?: number | null | undefined;
  rmax?: number | null | undefined;
  dmax?: number | null | undefined;
}

/**
 * `keras.layers.BatchNormalization`: the feature count is learned from the first
 * input, `trainable = false` freezes all at once, and a call infers unless told that it trains.
 *
 * @example
 * const bn = new BatchNormalization({ axis: -1, momentum: 0.99 });
 * const images = Tensor.from(pixels, [1, 28, 28, 3]);   // [N, H, W, C]
 * const y = bn.forward(images, { training: true });
 * const p = bn.forward(images);                         // infers
 */
export class BatchNormalization extends BatchNorm {
  constructor(options?: BatchNormalizationOptions | null) {
    const owner = "BatchNormalization";
    const names = ["axis", "momentum", "epsilon", "center", "scale", "trainable", "kernel"];
    const ofRenorm = ["renorm", "renormClipping", "renormMomentum"];
    const given = readOptions(owner, options, names.concat(ofRenorm));
    const { epsilon, center, trainable, renorm: wanted, renormClipping, ...same } = given;
    checkOneOf(wanted ?? false, owner, "renorm");
    const clipping = readOptions(`${owner}: renormClipping`, renormClipping, [
      "rmin",
      "rmax",
      "dmax",
    ]);
    const { rmin: rMin, rmax: rMax, dmax: dMax } = clipping;
    if (!wanted && renormClipping != null) {
      fail("unsupported", `${owner}: renormClipping needs renorm: true`);
    }
    const renorm = wanted ? { rMin, rMax, dMax } : null;
    super(null, { ...same, eps: epsilon, offset: center, renorm, preset: "keras" });
    this.trainable = trainable ?? true;
  }

  /**
   * Whether training changes the layer, as it was set last. `false`: running statistics
   * normalize in both modes and stay as they are, and γ and β get no gradients.
   *
   * @example
   * const bn = new BatchNormalization({ trainable: false });
   * bn.forward(x, { training: true });   // by the moving statistics, which stay
   * bn.statistics;                       // → "running"
   * bn.trainable = true;
   * bn.statistics;                       // → "auto"
   */
  get trainable(): boolean {
    void this.statistics; // throws for a Proxy, which is none of these
    return !untrainable.has(this);
  }

  set trainable(value: boolean) {
    checkOneOf(value, this.owner, "trainable");
    this.statistics = value ? "auto" : "running";
    this.updateRunningStats = value ? "auto" : false;
    this.requiresGrad = value;
    if (value) untrainable.delete(this);
    else untrainable.add(this);
  }

  /**
   * γ.
   *
   * @example
   * const bn = new BatchNormalization();
   * bn.gamma;        // → null
   * bn.forward(x);   // tells that there are three channels
   * bn.gamma;        // → Parameter([3]) { 1, 1, 1 }
   */
  get gamma(): Parameter | null {
    return this.weight;
  }

  /**
   * β.
   *
   * @example
   * const bn = new BatchNormalization({ center: false });
   * bn.forward(x);
   * bn.beta;   // → null
   */
  get beta(): Parameter | null {
    return this.bias;
  }

  /**
   * Moving mean.
   *
   * @example
   * const bn = new BatchNormalization();
   * bn.forward(x, { training: true });   // its means are 2, 4 and 6
   * bn.movingMean;                       // → Tensor([3]) { 0.02, 0.04, 0.06 }
   */
  get movingMean(): Tensor | null {
    return this.runningMean;
  }

  /**
   * Moving variance.
   *
   * @example
   * const bn = new BatchNormalization();
   * bn.forward(x, { training: true });   // its biased variances are 1, 4 and 9
   * bn.movingVariance;                   // → Tensor([3]) { 1, 1.03, 1.08 }
   */
  get movingVariance(): Tensor | null {
    return this.runningVar;
  }

  protected override get owner(): string {
    return "BatchNormalization";
  }
}
