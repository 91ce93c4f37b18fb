/** Group and instance norm as other frameworks spell them: their names, defaults and checks. */
import { checkNumber } from "../core/checks.js";
import type { KernelOption } from "../core/default-kernel.js";
import { readOptions } from "../core/options.js";
import { GroupEngine } from "./engine.js";
import { InstanceNorm } from "./instance.js";
import { ChannelNorm, groupsOf } from "./layer.js";
import { GROUP_OPTIONS, type InstanceNormLayerOptions, readLayerOptions } from "./layer-options.js";
import { groupNormPresets } from "./presets.js";

/** Options of PyTorch's instance norm layers. */
export type InstanceNormNdOptions = Pick<
  InstanceNormLayerOptions,
  "eps" | "momentum" | "affine" | "trackRunningStats" | "kernel"
>;

// (No class between these and theirs: SWC, which looks twice at what nobody needs, kept all.)

/**
 * `torch.nn.InstanceNorm1d`: x is `[N, C, L]` or `[C, L]`.
 *
 * @example
 * const norm = new InstanceNorm1d(2);
 * norm.forward(Tensor.from([1, 3, 10, 30], [2, 2]));   // → Tensor([2, 2]) { -1, 1, -1, 1 }
 */
export class InstanceNorm1d extends InstanceNorm {
  /** @throws BatchNormError as {@link InstanceNorm} */
  constructor(numFeatures: number, options?: InstanceNormNdOptions | null) {
    super(numFeatures, options);
  }

  protected override get owner(): string {
    return "InstanceNorm1d";
  }

  protected override get ranks(): readonly [number, number] {
    return [3, 2];
  }
}

/**
 * `torch.nn.InstanceNorm2d`: x is `[N, C, H, W]` or `[C, H, W]`.
 *
 * @example
 * const norm = new InstanceNorm2d(64, { affine: true });
 * const y = norm.forward(Tensor.zeros([2, 64, 28, 28]));
 */
export class InstanceNorm2d extends InstanceNorm {
  /** @throws BatchNormError as {@link InstanceNorm} */
  constructor(numFeatures: number, options?: InstanceNormNdOptions | null) {
    super(numFeatures, options);
  }

  protected override get owner(): string {
    return "InstanceNorm2d";
  }

  protected override get ranks(): readonly [number, number] {
    return [4, 3];
  }
}

/**
 * `torch.nn.InstanceNorm3d`: x is `[N, C, D, H, W]` or `[C, D, H, W]`.
 *
 * @example
 * const norm = new InstanceNorm3d(16, { trackRunningStats: true });
 * const y = norm.forward(Tensor.zeros([2, 16, 4, 8, 8]));
 */
export class InstanceNorm3d extends InstanceNorm {
  /** @throws BatchNormError as {@link InstanceNorm} */
  constructor(numFeatures: number, options?: InstanceNormNdOptions | null) {
    super(numFeatures, options);
  }

  protected override get owner(): string {
    return "InstanceNorm3d";
  }

  protected override get ranks(): readonly [number, number] {
    return [5, 4];
  }
}

/** Options of Keras's layer. */
export interface GroupNormalizationOptions extends KernelOption {
  /** Number of groups; −1 for as many as there are channels, which is instance norm; default 32. */
  groups?: number | null | undefined;
  /** The channel axis; default −1. */
  axis?: number | null | undefined;
  /** Added to the variance; default 1e-3. */
  epsilon?: number | null | undefined;
  /** Whether there is β; default true. */
  center?: boolean | null | undefined;
  /** Whether there is γ; default true. */
  scale?: boolean | null | undefined;
}

/**
 * `keras.layers.GroupNormalization`: the number of channels is learned from the first input.
 *
 * @example
 * const norm = new GroupNormalization({ groups: 1 });
 * norm.forward(x);   // → Tensor([2, 3]) { -1.224, 0, 1.224, -1.225, 0, 1.225 }
 */
export class GroupNormalization extends ChannelNorm {
  /** @throws BatchNormError `invalid-option`, `unknown-option`, `out-of-memory` */
  constructor(options?: GroupNormalizationOptions | null) {
    const owner = "GroupNormalization";
    const names = ["groups", "axis", "epsilon", "center", "scale", "kernel"];
    const { groups, epsilon, center, ...same } = readOptions(owner, options, names);
    if (groups != null && groups !== -1) checkNumber(groups, `${owner}: groups`, ", or -1");
    const given = { ...same, eps: epsilon, offset: center, preset: "keras" as const };
    const read = readLayerOptions(owner, given, groupNormPresets, GROUP_OPTIONS);
    super(new GroupEngine(read, groups === -1 ? null : (groups ?? 32), null, "groups"));
  }

  /**
   * Number of groups; −1 for as many as there are channels.
   *
   * @example
   * new GroupNormalization({ groups: -1 }).groups;   // → -1
   */
  get groups(): number {
    return groupsOf(this).numGroups ?? -1;
  }

  protected override get owner(): string {
    return "GroupNormalization";
  }
}
