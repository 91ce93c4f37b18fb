/** How momentum and batch renorm change over a training. */
import { decayedMomentum, renormSchedule } from "batchnorm-wasm";
import type { Random } from "../../scripts/random.mjs";
import { near } from "./expect.js";
import type { Kind } from "./kinds.js";
import { Options } from "./options.js";
import type { Anything } from "./theme.js";
import { type Arg, arg, hostile } from "./values.js";
import { Fault, type Manner, type World } from "./world.js";

export const SCHEDULES: readonly Kind[] = [
  ["decayedMomentum", 1, momentum],
  ["renormSchedule", 1, renorm],
];

/** A step, or what is none. */
function stepOf(random: Random, manner: Manner): Arg {
  if (manner === "hostile" && random.oneIn(4)) return hostile(random);
  const step = random.pick([0, 1, 4999, 5000, 5001, 15_000, 25_000, 40_000, 1e6, 2 ** 40]);
  return arg(step, `${step}`);
}

const isStep = (value: unknown): value is number => Number.isFinite(value) && Number(value) >= 0;

/** An option that is given or not, mostly with one of these. */
function some(options: Options, random: Random, name: string, values: readonly number[]): void {
  const value = random.pick(values);
  if (random.oneIn(2)) options.set(name, arg(value, `${value}`));
}

function momentum(world: World, random: Random, manner: Manner): void {
  const step = stepOf(random, manner);
  const options = new Options();
  const every = random.pick([1, 1000, 2 ** 30]);
  options.set("every", arg(every, `${every}`));
  for (const name of ["initial", "decay", "least"]) some(options, random, name, [0, 0.1, 0.5, 1]);
  const names = ["initial", "decay", "every", "least"];
  if (manner === "hostile" && random.oneIn(2)) options.mutate(world, random, names);
  const { value, code } = options.build();
  world.attempt(
    () => options.surrounded(`decayedMomentum(${step.code()}, ${code()});`),
    () => options.surround(() => decayedMomentum(step.value as Anything, value as Anything)),
    {
      valid: options.benign && isStep(step.value),
      returned: (got: number) => {
        options.checkTaken();
        if (!isStep(step.value)) throw new Fault("a step is taken that is none", step.code());
        if (!(got >= 0 && got <= 1)) throw new Fault("a momentum is none", `${got}`);
        if (!options.known) return;
        const one = (name: string, absent: number) =>
          (options.one(name).value as number | undefined | null) ?? absent;
        const [initial, least] = [one("initial", 0.5), one("least", 0.01)];
        // Step by step, as far as it makes a difference.
        let right = initial;
        const times = Math.min(Math.floor(step.value / one("every", 0)), 100);
        for (let i = 0; i < times; i++) right *= one("decay", 0.5);
        if (right < least) right = Math.min(least, initial);
        near(
          "a decayed momentum",
          [got],
          () => right,
          () => 0,
        );
      },
    },
  );
}

function renorm(world: World, random: Random, manner: Manner): void {
  const step = stepOf(random, manner);
  const options = new Options();
  some(options, random, "warmUp", [0, 5000, 1e5, Infinity]);
  some(options, random, "rMax", [1, 3, Infinity]);
  some(options, random, "rMaxStep", [0, 5000, 40_000, Infinity]);
  some(options, random, "dMax", [0, 5, Infinity]);
  some(options, random, "dMaxStep", [0, 5000, 25_000, Infinity]);
  const names = ["warmUp", "rMax", "rMaxStep", "dMax", "dMaxStep"];
  if (manner === "hostile" && random.oneIn(2)) options.mutate(world, random, names);
  const { value, code } = options.build();
  world.attempt(
    () => options.surrounded(`renormSchedule(${step.code()}, ${code()});`),
    () => options.surround(() => renormSchedule(step.value as Anything, value as Anything)),
    {
      valid: options.benign && isStep(step.value),
      returned: ({ rMax, dMax }: { rMax: number; dMax: number }) => {
        options.checkTaken();
        if (!isStep(step.value)) throw new Fault("a step is taken that is none", step.code());
        if (!(rMax >= 1 && dMax >= 0)) throw new Fault("limits are none", `${rMax}, ${dMax}`);
        if (!options.known) return;
        const one = (name: string, absent: number) =>
          (options.one(name).value as number | undefined | null) ?? absent;
        const warmUp = one("warmUp", 5000);
        /** Along a straight line from where the warm-up ends. */
        const limit = (from: number, most: number, end: number) => {
          const at = step.value as number;
          if (at <= warmUp || end === Infinity) return from;
          if (at >= end || at - warmUp >= end - warmUp) return most;
          return from + ((most - from) / (end - warmUp)) * (at - warmUp);
        };
        const right = [
          limit(1, one("rMax", 3), one("rMaxStep", 40_000)),
          limit(0, one("dMax", 5), one("dMaxStep", 25_000)),
        ];
        [rMax, dMax].forEach((got, i) => {
          const wanted = right[i] as number;
          if (got === wanted) return;
          near(
            "a limit of renorm",
            [got],
            () => wanted,
            () => wanted,
          );
        });
      },
    },
  );
}
