import { Random } from "../../scripts/random.mjs";
import { BATCH_NORM } from "./batch/index.js";
import { construct } from "./batch/layers.js";
import { FOLDING } from "./folding.js";
import { GROUP_NORM } from "./group.js";
import { HEALTH } from "./health.js";
import { LAYER_NORM } from "./layer.js";
import { LAYERS_MODELS } from "./layers-models.js";
import { MOMENTS } from "./moments.js";
import { assign, forge, kernel, record, scoped, wrapped } from "./others.js";
import { REGULARIZATION } from "./regularization.js";
import { RUNNING } from "./running.js";
import { SAMPLE_LAYERS } from "./sample-layers.js";
import { SCHEDULES } from "./schedules.js";
import { SYNC } from "./sync.js";
import { dispose, make, read, set, view } from "./tensors.js";
import { root, themes } from "./theme.js";
import { WEIGHTS } from "./weights.js";
import type { Manner, World } from "./world.js";

/** Fills a world: guarded memory with tensors in it, a stranger's tensor, layers. */
export function setUp(world: World, random: Random): void {
  const channels = random.pick([1, 2, 3, 4, 5, 8, 17]);
  const other = random.pick([1, 2, 3, 5]);
  const shapes = [
    [random.pick([2, 3, 4, 9]), channels],
    [2, channels, other],
    random.pick([
      [2, channels, 2, other],
      [other, 3, 2, channels],
      [1, channels, 1, 1, 1, 1, 1, 3],
      [2, 1, channels, 1, 3],
    ]),
    [channels],
    [channels],
  ];
  themes.set(world, { channels, shapes });
  world.inside = (seed, log) => inside(world, seed, log);
  for (let i = 0; i < 3; i++) root(world, random, world.home.code);
  root(world, random, "");
  for (let i = 0; i < 2; i++) construct(world, random, "mild");
  if (world.crowded) world.crowd(random);
}

/** Runs a call inside of another one's getter, and writes down its program. */
function inside(world: World, seed: number, log: (() => string)[]): void {
  if (world.depth > 2) return;
  const outer = world.log;
  world.log = log;
  try {
    step(world, seed, "mild");
  } finally {
    world.log = outer;
  }
}

/** Gives a promise where a call does: then none is made inside of another call. */
type Call = (world: World, random: Random, manner: Manner) => unknown;

/** A kind of call, with how often it is called, relative to the others. */
export type Kind = readonly [name: string, weight: number, call: Call];

/** Of each norm, and of what they share. */
export const KINDS: readonly Kind[] = [
  ...BATCH_NORM,
  ...GROUP_NORM,
  ...LAYER_NORM,
  ...SAMPLE_LAYERS,
  ...MOMENTS,
  ...SYNC,
  ...RUNNING,
  ...SCHEDULES,
  ...HEALTH,
  ...FOLDING,
  ...REGULARIZATION,
  ...WEIGHTS,
  ...LAYERS_MODELS,
  ["record", 3, record],
  ["new tensor", 5, make],
  ["view", 6, view],
  ["read", 4, read],
  ["set", 4, set],
  ["dispose", 3, dispose],
  ["assignment", 2, assign],
  ["forgery", 2, forge],
  ["scope", 3, scoped],
  ["kernel", 2, kernel],
  ["Proxy", 2, wrapped],
];

let all = KINDS.flatMap((kind) => new Array<Kind>(kind[1]).fill(kind));

/** Makes no calls of these kinds. */
export function skip(names: readonly string[]): void {
  all = all.filter(([name]) => !names.includes(name));
}

/** One call that a seed determines; a promise of its end, where it takes more than a turn. */
export function step(world: World, seed: number, manner: Manner): unknown {
  const random = new Random(seed);
  const [name, , call] = random.pick(all);
  if (world.depth === 0) world.kind = name;
  return call(world, random, manner);
}
