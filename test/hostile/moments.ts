/** Moments, of tensors and of streams, and averages of state dicts. */
import { averageStateDicts, Moments, RunningMoments, type Tensor } from "batchnorm-wasm";
import type { Random } from "../../scripts/random.mjs";
import { expectStatistics } from "./batch/expect.js";
import type { Kind } from "./kinds.js";
import { Options } from "./options.js";
import {
  type Anything,
  allApart,
  axisOf,
  inPlaceOf,
  input,
  output,
  product,
  resolve,
  same,
  takeResult,
} from "./theme.js";
import { arg, hostile } from "./values.js";
import { Fault, type Manner, type World } from "./world.js";

const MOST_CHANNELS = 1000;

export const MOMENTS: readonly Kind[] = [
  ["Moments.of", 2, of],
  ["RunningMoments", 3, normalize],
  ["averageStateDicts", 1, average],
];

function of(world: World, random: Random, manner: Manner): void {
  const x = input(world, random, manner);
  if (!x) return;
  const options = new Options();
  const axis = axisOf(world, random, x.shape);
  options.set("axis", arg(axis, `${axis}`));
  if (x.plain) options.set("kernel", arg(world.home.kernel, "k"));
  if (manner === "hostile" && random.oneIn(2)) options.mutate(world, random, ["axis", "kernel"]);
  const { value, code } = options.build();
  world.attempt(
    () => options.surrounded(`Moments.of(${x.arg.code()}, ${code()});`),
    () => options.surround(() => Moments.of(x.arg.value as Anything, value as Anything)),
    {
      valid:
        options.benign &&
        !x.wrong &&
        (x.shape[resolve(axis, x.shape.length)] as number) <= MOST_CHANNELS,
      never: ["kernel"],
      ambiguous: !options.known,
      reads: x.model ? [x.model] : [],
      returned: (got: Moments) => {
        options.checkTaken();
        if (!options.known || (x.wrong && !x.model && !x.of)) return;
        const at = resolve((options.one("axis").value as number | undefined) ?? 1, x.shape.length);
        const values = x.model ? world.values(x.model) : x.values;
        if (got.count !== product(x.shape) / Math.max(x.shape[at] as number, 1)) {
          throw new Fault("a count of moments is another", `${got.count}`);
        }
        expectStatistics(got, { x: values, shape: x.shape, axis: at, weights: null }, x.of);
      },
    },
  );
}

/** A stream of one chunk, and standardizing by it. */
function normalize(world: World, random: Random, manner: Manner): void {
  const x = input(world, random, manner);
  if (!x) return;
  const axis = axisOf(world, random, x.shape);
  const out = x.plain ? undefined : output(world, random, x);
  const options = new Options();
  options.tensor("out", out);
  if (random.oneIn(2)) options.set("clip", arg(1, "1"));
  if (manner === "hostile" && random.oneIn(2)) options.mutate(world, random, ["out", "clip"]);
  const { value, code } = options.build();
  const outs = options.models(world, "out");
  const inPlace = inPlaceOf(x, outs);
  const name = world.name("t");
  const made = `new RunningMoments({ kernel: k, axis: ${axis} })`;
  const valid =
    options.benign &&
    !x.wrong &&
    (x.shape[resolve(axis, x.shape.length)] as number) <= MOST_CHANNELS &&
    outs.every(
      (one) =>
        same(one.shape, x.shape) &&
        (inPlace || (one !== x.model && allApart(one, [x.model]))) &&
        !one.disposed,
    );
  world.attempt(
    () =>
      options.surrounded(
        `${name} = ${made}.update(${x.arg.code()}).normalize(${x.arg.code()}, ${code()});`,
      ),
    () =>
      options.surround(() =>
        new RunningMoments({ kernel: world.home.kernel, axis })
          .update(x.arg.value as Anything)
          .normalize(x.arg.value as Anything, value as Anything),
      ),
    {
      valid,
      never: ["kernel"],
      ambiguous: !options.known,
      writes: outs,
      reads: x.model ? [x.model] : [],
      inPlace,
      returned: (y: Tensor) => {
        options.checkTaken();
        const taken = takeResult(world, x, outs, y, name);
        const clip = options.one("clip");
        const most = clip.known && typeof clip.value === "number" ? clip.value : Infinity;
        const beyond = taken.values.findIndex((value) => Math.abs(value) > most);
        if (beyond >= 0) throw new Fault("clip lets through more", `${taken.values[beyond]}`);
      },
    },
  );
}

function average(world: World, random: Random, manner: Manner): void {
  const entry = () => (manner === "hostile" && random.oneIn(3) ? hostile(random) : arg([1], "[1]"));
  const entries = [entry(), entry(), entry()];
  const counts = manner === "hostile" && random.oneIn(4) ? hostile(random) : arg([1, 2], "[1, 2]");
  const dict = (i: number) => ({
    running_mean: entries[i]?.value as never,
    running_var: entries[2]?.value as never,
  });
  const code = (i: number) =>
    `{ running_mean: ${entries[i]?.code()}, running_var: ${entries[2]?.code()} }`;
  world.attempt(
    () => `averageStateDicts([${code(0)}, ${code(1)}], { counts: ${counts.code()} });`,
    () => averageStateDicts([dict(0), dict(1)], { counts: counts.value as Anything }),
    { valid: manner === "mild", never: ["kernel"] },
  );
}
