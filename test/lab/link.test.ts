/** The lab's links, and a run as a program. */
import * as library from "batchnorm-wasm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeToy } from "../../lab/data/toys.js";
import { Norm } from "../../lab/engine/norm.js";
import { SETTINGS, type Setting, type Settings, settingsOf } from "../../lab/engine/settings.js";
import { Trainer } from "../../lab/engine/trainer.js";
import { codeOf, makingOf } from "../../lab/page/code.js";
import { EXPERIMENT_NAMES, experiment } from "../../lab/page/experiments.js";
import { findingsOf, number } from "../../lab/page/findings.js";
import { DATA_NAMES, firstState, fromLink, toLink } from "../../lab/page/state.js";
import { texts } from "../../lab/page/texts.js";

const anySettings = fc
  .record(Object.fromEntries(SETTINGS.map((setting) => [setting.key, valuesOf(setting)])))
  .map((values) => settingsOf({ ...values, width: 16, groups: 4 } as Partial<Settings>));

test("a link brings back the state that it was made of", () => {
  const states = fc.record({
    data: fc.constantFrom(...DATA_NAMES),
    seed: fc.nat(),
    steps: fc.integer({ min: 1, max: 100_000 }),
    runs: fc.array(anySettings, { minLength: 1, maxLength: 4 }),
    offset: fc.double({ min: -1e9, max: 1e9, noNaN: true }).map((value) => value + 0),
    drift: fc.double({ min: -100, max: 100, noNaN: true }).map((value) => value + 0),
    testBatch: fc.integer({ min: 0, max: 512 }),
    experiment: fc.constantFrom(null, ...EXPERIMENT_NAMES),
  });
  fc.assert(
    fc.property(states, (state) => {
      expect(fromLink(toLink(state))).toEqual(state);
    }),
  );
  expect(fromLink("")).toEqual(firstState());
  // As a browser gives it, where an address was written by hand.
  expect(fromLink("run=norm%3Anone")).toEqual({
    ...firstState(),
    runs: [settingsOf({ norm: "none" })],
  });
});

test.each(EXPERIMENT_NAMES)(
  "the experiment %s is a state of the page, and so has a link",
  (name) => {
    const state = experiment(name);
    expect(fromLink(toLink(state))).toEqual(state);
  },
);

test.each([
  ["data=cats", /the link's data are "cats"/],
  ["seed=-1", /seed: expected a whole number from 0/],
  ["seed=", /seed: expected a whole number/],
  ["steps=1e9", /steps: expected/],
  ["run=norm:weight", /norm: expected one of none, batch/],
  ["run=eps:0", /eps: expected a number from 1e-12 to 1, got 0/],
  ["run=eps:small", /eps: expected a number/],
  ["run=frozen:perhaps", /frozen: expected true or false, got "perhaps"/],
  ["run=__proto__:1", /__proto__: there is no such setting/],
  ["run=constructor:1", /constructor: there is no such setting/],
  ["run=depth", /depth: expected a whole number/],
  ["run=&run=&run=&run=&run=", /more than 4 runs/],
  ["offset=1e10", /offset: expected a number from -1000000000 to 1000000000/],
  ["drift=far", /drift: expected a number from -100 to 100/],
  ["testBatch=1.5", /testBatch: expected a whole number/],
  ["experiment=mine", /the link's experiment is "mine"/],
  ["colour=red", /"colour", which says nothing here/],
])("%s is refused in words", (link, words) => {
  expect(() => fromLink(link)).toThrow(words);
});

describe("a run as a program", () => {
  const runs: Partial<Settings>[] = [
    {},
    { eps: 0.01, normMomentum: 0, ghost: 8, gamma: false },
    { renorm: 3, beta: false },
    { renorm: 0.5 },
    { frozen: true },
    { norm: "group", groups: 8 },
    { norm: "instance" },
    { norm: "instance", gamma: false },
    { norm: "layer", beta: false },
    { norm: "layer", gamma: false },
    { norm: "rms", eps: 1e-3 },
    { norm: "rms", gamma: false },
  ];

  test.each(runs)("makes the layer that the lab trains: %j", (changes) => {
    const settings = settingsOf(changes);
    for (const inner of [[8, 8], [16], []]) {
      // Instance norm needs positions.
      if (settings.norm === "instance" && inner.length === 0) continue;
      const made = run(makingOf(settings, inner) as string) as object;
      const { norm } = new Norm("1", [32, ...inner], settings);
      expect(stateOf(made)).toEqual(stateOf(norm));
    }
  });

  test("names what it imports, and only that", () => {
    const all = { dropout: 0.1, l1: 0.1, l2: 0.1, gammaL1: 0.1, penalizeNorm: true };
    for (const changes of [{}, all, { norm: "none" }, { norm: "rms", dropout: 0.2 }] as const) {
      const code = codeOf(settingsOf(changes), [], false, firstState());
      const names = (/import \{ (.+) \}/.exec(code)?.[1] ?? "").split(", ");
      for (const name of names) {
        const bare = name.replace("type ", "");
        if (name === bare) expect(library).toHaveProperty(bare);
        expect(code.split(new RegExp(`\\b${bare}\\b`)).length, bare).toBeGreaterThan(2);
      }
    }
  });
});

test("each setting, and each value that is a word, has its text", () => {
  for (const setting of SETTINGS) {
    expect(texts.labels).toHaveProperty(setting.key);
    if (setting.kind !== "choice") continue;
    for (const value of setting.values) expect(texts.values).toHaveProperty(value);
  }
});

test("gradients that vanish and running statistics that don't fit are said", () => {
  const of = (changes: Partial<Settings>, steps = 30) => {
    const trainer = new Trainer(makeToy("rings", 1), settingsOf(changes), 1);
    for (let i = 0; i < steps; i++) trainer.learn();
    return findingsOf(trainer.snapshot()).join("\n");
  };
  const deep = { norm: "none", depth: 15, activation: "tanh", initialScale: 0.3 } as const;
  expect(of(deep)).toMatch(/Gradients vanish: those of the first layer are \d/);
  expect(of({ ...deep, initialScale: 3, activation: "relu" }, 1)).toMatch(
    /Gradients explode: those of the first layer are \d/,
  );
  expect(of({ normMomentum: 1e-6, depth: 4 })).toMatch(/Running statistics don't fit/);
  expect(of({})).not.toMatch(/Gradients|Running/);
});

test("numbers are three digits", () => {
  expect([0, 1234.5, 0.012345, -1e-7, 1e9, Number.NaN, -1 / 0].map(number)).toEqual([
    ...["0", "1230", "0.0123", "−1.0e−7", "1.0e9", "NaN", "−∞"],
  ]);
});

function run(making: string): unknown {
  return new Function(...Object.keys(library), `return ${making};`)(...Object.values(library));
}

/** What tells two layers apart. */
function stateOf(layer: object) {
  const keys = ["eps", "momentum", "virtualBatchSize", "renorm", "statistics", "numGroups", "axes"];
  const state = layer as Record<string, unknown> & { stateDict(): object };
  return {
    kind: layer.constructor.name,
    dict: state.stateDict(),
    ...Object.fromEntries(keys.map((key) => [key, state[key]])),
  };
}

function valuesOf(setting: Setting): fc.Arbitrary<unknown> {
  if (setting.kind === "switch") return fc.boolean();
  if (setting.kind === "choice") return fc.constantFrom(...setting.values);
  const { min, max } = setting;
  return setting.whole
    ? fc.integer({ min, max })
    : fc.double({ min, max, noNaN: true }).map((value) => value + 0);
}
