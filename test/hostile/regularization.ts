/** Dropout and penalties of weights. */
import { dropout, dropoutBackward, l1Penalty, l2Penalty, type Tensor } from "batchnorm-wasm";
import type { Random } from "../../scripts/random.mjs";
import { near, ordinary } from "./expect.js";
import type { Kind } from "./kinds.js";
import { Options } from "./options.js";
import {
  type Anything,
  allApart,
  here,
  inPlaceOf,
  input,
  output,
  same,
  takeResult,
} from "./theme.js";
import { arg } from "./values.js";
import { Fault, type Manner, type World } from "./world.js";

export const REGULARIZATION: readonly Kind[] = [
  ["dropout", 3, drop],
  ["penalty", 2, penalize],
];

function drop(world: World, random: Random, manner: Manner): void {
  const x = input(world, random, manner);
  if (!x) return;
  const call = random.pick([dropout, dropoutBackward]);
  const out = x.plain ? undefined : output(world, random, x);
  const options = new Options();
  const seed = random.below(2 ** 31);
  options.set("seed", arg(seed, `${seed}`));
  options.set("rate", arg(0.25, "0.25"));
  options.tensor("out", out);
  if (x.plain) options.set("kernel", arg(world.home.kernel, "k"));
  const names = ["seed", "rate", "out", "kernel"];
  if (manner === "hostile" && random.oneIn(2)) options.mutate(world, random, names);
  const { value, code } = options.build();
  const outs = options.models(world, "out");
  const inPlace = inPlaceOf(x, outs);
  const name = world.name("t");
  world.attempt(
    () => options.surrounded(`${name} = ${call.name}(${x.arg.code()}, ${code()});`),
    () => options.surround(() => call(x.arg.value as Anything, value as Anything)),
    {
      valid:
        options.benign &&
        !x.wrong &&
        outs.every(
          (one) =>
            same(one.shape, x.shape) &&
            (inPlace || (one !== x.model && allApart(one, [x.model]))) &&
            !one.disposed,
        ),
      never: ["kernel"],
      ambiguous: !options.known,
      writes: outs,
      reads: x.model ? [x.model] : [],
      inPlace,
      returned: (y: Tensor) => {
        options.checkTaken();
        const from = x.model ? world.values(x.model) : x.values;
        const { values } = takeResult(world, x, outs, y, name);
        const { known, value: rate } = options.one("rate");
        if (!options.known || !known || (x.wrong && !x.model && !x.of)) return;
        const scale = 1 / (1 - ((rate ?? 0.5) as number));
        const other = values.findIndex((one, i) => {
          const kept = Math.fround((from[i] as number) * scale);
          return one !== 0 && !Object.is(one, kept);
        });
        if (other >= 0) {
          throw new Fault("dropout neither keeps nor drops", `[${other}] ${values[other]}`);
        }
      },
    },
  );
}

function penalize(world: World, random: Random, manner: Manner): void {
  const weight = input(world, random, manner);
  if (!weight || (weight.plain && manner !== "hostile")) return;
  const call = random.pick([l1Penalty, l2Penalty]);
  const grad = world.pick(
    random,
    world.tensors,
    here(world, (one) => same(one.shape, weight.shape)),
  );
  const options = new Options();
  options.set("strength", arg(0.5, "0.5"));
  if (random.oneIn(2)) options.tensor("grad", grad);
  if (manner === "hostile" && random.oneIn(2)) {
    options.mutate(world, random, ["strength", "grad"]);
  }
  const { value, code } = options.build();
  const grads = options.models(world, "grad");
  world.attempt(
    () => options.surrounded(`${call.name}(${weight.arg.code()}, ${code()});`),
    () => options.surround(() => call(weight.arg.value as Anything, value as Anything)),
    {
      valid:
        options.benign &&
        !!weight.model &&
        !weight.wrong &&
        grads.every(
          (one) =>
            same(one.shape, weight.shape) &&
            one !== weight.model &&
            allApart(one, [weight.model]) &&
            !one.disposed,
        ),
      never: ["kernel"],
      ambiguous: !options.known,
      writes: grads,
      reads: weight.model ? [weight.model] : [],
      returned: (penalty: number) => {
        options.checkTaken();
        if (!options.known || !weight.model) return;
        const values = world.values(weight.model);
        const strength = options.one("strength").value as number;
        const [of] = grads;
        if (!ordinary(values, of ? world.values(of) : null)) return;
        let sum = 0;
        for (const one of values) sum += call === l1Penalty ? Math.abs(one) : one ** 2 / 2;
        const right = () => strength * sum;
        near("a penalty", [penalty], right, right);
        if (!of) return;
        const slope = (one: number) => (call === l1Penalty ? Math.sign(one) : one);
        const old = world.values(of);
        const added = (i: number) => (old[i] as number) + strength * slope(values[i] as number);
        near("a penalty's gradient", world.now(of), added, (i) => Math.abs(added(i)));
      },
    },
  );
}
