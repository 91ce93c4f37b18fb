import { checkNumber } from "../core/checks.js";
import { inside, SampleNorm } from "../core/sample-norm.js";
import { GroupEngine } from "./engine.js";
import { GROUP_OPTIONS, type GroupNormLayerOptions, readLayerOptions } from "./layer-options.js";
import { groupNormPresets } from "./presets.js";
import type { GroupNormSaved } from "./saved.js";

/**
 * What group and instance norm layers have in common: channels, along an axis.
 *
 * @example
 * new InstanceNorm(3) instanceof ChannelNorm;   // → true
 */
export abstract class ChannelNorm extends SampleNorm<GroupNormSaved> {
  /**
   * The channel axis, negative from the end.
   *
   * @example
   * gn.axis;                                           // → 1
   * new GroupNorm(1, 3, { preset: "keras" }).axis;     // → -1
   */
  get axis(): number {
    return groupsOf(this).options.axis;
  }

  /**
   * Number of channels; `null` while it has to be learned from the first input.
   *
   * @example
   * const gn = new GroupNorm(1, null);
   * gn.numChannels;   // → null
   * gn.forward(x);
   * gn.numChannels;   // → 3
   */
  get numChannels(): number | null {
    return groupsOf(this).state.numFeatures;
  }
}

/**
 * Group normalization as a layer (`torch.nn.GroupNorm`): each group of channels of each sample is
 * normalized by its own statistics, in both modes.
 *
 * @example
 * const gn = new GroupNorm(32, 256);   // PyTorch's conventions
 * const y = gn.forward(Tensor.zeros([2, 256, 14, 14]));
 * const dx = gn.backward(y);           // adds to gn.weight.grad, gn.bias.grad
 */
export class GroupNorm extends ChannelNorm {
  /**
   * @param numGroups that the channels are divided into, in their order
   * @param numChannels a multiple of it; `null` to learn it from the first input
   * @throws BatchNormError `invalid-option`, `unknown-option`, `out-of-memory`
   */
  constructor(
    numGroups: number,
    numChannels: number | null,
    options?: GroupNormLayerOptions | null,
  ) {
    checkNumber(numGroups, "GroupNorm: numGroups");
    const read = readLayerOptions("GroupNorm", options, groupNormPresets, GROUP_OPTIONS);
    super(new GroupEngine(read, numGroups, numChannels));
  }

  /**
   * Number of groups.
   *
   * @example
   * new GroupNorm(32, 256).numGroups;   // → 32
   */
  get numGroups(): number {
    return groupsOf(this).numGroups as number;
  }

  protected override get owner(): string {
    return "GroupNorm";
  }
}

/** The engine of a layer. */
export function groupsOf(layer: ChannelNorm): GroupEngine {
  return inside(layer) as GroupEngine;
}
