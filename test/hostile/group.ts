/** Group and instance norm's calls. */
import {
  GroupNormSaved,
  groupNorm,
  groupNormBackward,
  instanceNorm,
  instanceNormBackward,
} from "batchnorm-wasm";
import * as reference from "../reference/group.mjs";
import type { Kind } from "./kinds.js";
import { backward, type Division, forward, MOST_CHANNELS, type Norm } from "./sets.js";
import { axisOf, resolve } from "./theme.js";
import { arg } from "./values.js";
import { Fault } from "./world.js";

/** Of a shape in groups. */
export interface Grouped extends Division {
  readonly groups: number;
}

/** In so many groups; undefined where that can't be. */
export function grouped(
  shape: readonly number[],
  given: unknown,
  groupsOf: (channels: number) => unknown,
): Grouped | undefined {
  const axis = Number.isInteger(given) ? resolve(given as number, shape.length) : -1;
  const channels = shape[axis];
  if (axis < 0 || channels === undefined || channels > MOST_CHANNELS) return undefined;
  const groups = groupsOf(channels) as number;
  if (!Number.isInteger(groups) || channels % groups !== 0) return undefined;
  const all = reference.groupsOf(shape, axis, groups);
  return {
    ...{ axis, channels, groups, sets: all.sets },
    statistics: (x) => reference.statistics(x, all),
    forward: (x, parameters) => reference.forward(x, all, parameters),
    backward: (x, dy, parameters) => reference.backward(x, dy, all, parameters),
  };
}

const COMMON = {
  Saved: GroupNormSaved,
  eps: 1e-5,
  vectors: ["weight", "bias"],
  told(field: string, value: unknown, { division }: { division: Division | undefined }) {
    if (field === "numGroups" && division && value !== (division as Grouped).groups) {
      throw new Fault("a record's number of groups is another", `${value}`);
    }
  },
} as const;

const GROUP: Norm = {
  ...COMMON,
  ...{ name: "groupNorm", forward: groupNorm, backward: groupNormBackward },
  divides: ["axis", "numGroups"],
  divide(options, world, random, shape) {
    const channels = INSTANCE.divide(options, world, random, shape);
    const divisors = Array.from({ length: channels }, (_, i) => i + 1).filter(
      (number) => channels % number === 0,
    );
    const number = random.oneIn(9) ? 1 + random.below(5) : random.pick([1, ...divisors]);
    options.set("numGroups", arg(number, `${number}`));
    return channels;
  },
  division: (option, shape) => grouped(shape, option("axis") ?? 1, () => option("numGroups")),
};

const INSTANCE: Norm = {
  ...COMMON,
  ...{ name: "instanceNorm", forward: instanceNorm, backward: instanceNormBackward },
  divides: ["axis"],
  divide(options, world, random, shape) {
    const axis = axisOf(world, random, shape);
    options.set("axis", arg(axis, `${axis}`));
    return Math.min(shape[resolve(axis, shape.length)] as number, MOST_CHANNELS);
  },
  division: (option, shape) =>
    grouped(shape, option("axis") ?? 1, (channels) => Math.max(channels, 1)),
};

export const GROUP_NORM: readonly Kind[] = [
  ["groupNorm", 6, (...all) => forward(...all, GROUP)],
  ["instanceNorm", 4, (...all) => forward(...all, INSTANCE)],
  ["groupNormBackward", 5, (...all) => backward(...all, GROUP)],
  ["instanceNormBackward", 3, (...all) => backward(...all, INSTANCE)],
];
