/** Batch norm's variants in the harness: what is measured, by whom, and what is right. */
import { describe, expect, test } from "vitest";
import {
  ACTIVATED,
  bytesOf,
  cellsOf,
  cellsOfVariants,
  label,
  VARIANT_NAMES,
  VARIANTS,
  virtualBatchSizeOf,
} from "../../scripts/bench/cells.mjs";
import type { Contestant, Outputs, Variant } from "../../scripts/bench/contestant.js";
import { makeData } from "../../scripts/bench/data.mjs";
import { makePlan } from "../../scripts/bench/plan.mjs";
import { makeReference, WRONG } from "../../scripts/bench/reference.mjs";

describe("cells", () => {
  const cells = cellsOfVariants();

  test("have labels of their own, and none is one of batch norm's set", () => {
    const labels = cells.map(label);
    expect(new Set(labels).size).toBe(labels.length);
    const others = new Set(cellsOf("full").map(label));
    expect(labels.filter((one) => others.has(one))).toEqual([]);
  });

  test("are each variant on each tensor, small ones first, with inference where it has it", () => {
    const bytes = cells.map(bytesOf);
    expect(bytes).toEqual([...bytes].sort((a, b) => a - b));
    for (const variant of VARIANTS) {
      const own = cells.filter((cell) => cell.variant === variant);
      const ops = new Set(own.map(({ op }) => op));
      expect(ops.has("inference"), variant).toBe(ACTIVATED.includes(variant));
      expect([...ops]).toEqual(
        expect.arrayContaining(["training", "backward", "forward-backward"]),
      );
      expect(own.length / ops.size).toBe(
        new Set(cells.map(({ shape, layout }) => `${layout} ${shape}`)).size,
      );
    }
  });

  test("are of batches that four ghost batches divide: JAX maps over them", () => {
    for (const { shape } of cells) {
      expect((shape[0] as number) / virtualBatchSizeOf({ shape })).toBe(4);
    }
  });
});

describe("a plan of variants", () => {
  const contestant = (name: string, more: Partial<Contestant>): Contestant => ({
    ...{ name, kind: "javascript", start: () => Promise.reject(new Error("not in this test")) },
    ...more,
  });
  const contestants = [
    contestant("memory.copy", { kind: "limit" }),
    contestant("norm alone", { kind: "limit", variants: VARIANTS }),
    contestant("batchnorm-wasm", { kind: "ours", variants: VARIANTS }),
    contestant("two passes", { kind: "ours", norms: [], variants: ACTIVATED }),
    contestant("naive loop", {}),
  ];
  const names = (variants: boolean) => {
    const { cells, wanted } = makePlan({ set: "default", filter: "", variants }, contestants);
    return new Map(
      cells.map((cell) => [
        cell.variant,
        contestants.filter((one) => wanted(cell, one)).map(({ name }) => name),
      ]),
    );
  };

  test("asks those that know the variant, and has the norm alone beside them", () => {
    const asked = names(true);
    expect(asked.get("ghost")).toEqual(["memory.copy", "norm alone", "batchnorm-wasm"]);
    expect(asked.get("relu")).toEqual([
      ...["memory.copy", "norm alone", "batchnorm-wasm", "two passes"],
    ]);
    expect([...asked.keys()]).toEqual(VARIANTS);
  });

  test("leaves batch norm's own set as it was", () => {
    expect([...names(false)]).toEqual([
      [undefined, ["memory.copy", "batchnorm-wasm", "naive loop"]],
    ]);
  });
});

// One channel of mean 0 and variance 1, and one of mean 10 and variance 4.
const cell = { shape: [4, 2], axis: 1 };
const data = {
  x: Float32Array.of(-1, 8, -1, 8, 1, 12, 1, 12),
  dy: Float32Array.of(1, 1, 2, 2, 3, 3, 6, 6),
  weight: Float32Array.of(2, 1),
  bias: Float32Array.of(0, 5),
  mean: Float32Array.of(1, 0),
  variance: Float32Array.of(4, 16),
  eps: 0,
  residual: Float32Array.of(3, 0, 0, 0, 0, 0, 0, -9),
  mask: Float32Array.of(1, 0, 1, 0),
};
const plain = {
  y: Float32Array.of(-2, 4, -2, 4, 2, 6, 2, 6),
  dx: Float32Array.of(-1, -0.25, 1, 0.25, -3, -0.75, 3, 0.75),
  dweight: Float32Array.of(6, 6),
  dbias: Float32Array.of(12, 12),
};
// Of 8 samples of a channel, so that a ghost batch has two: x̂ is -1 and 1 in each.
const ofGhosts = { ...data, x: Float32Array.of(-1, 1, 3, 5, 0, 4, 9, 10), dy: data.dy };

/** Worked out by hand; r and d are at their limits, 1/1.5 and ∓0.5. */
const truths: { [variant in Variant]: Outputs } = {
  ghost: {
    y: Float32Array.of(-2, 2, -2, 2, -2, 2, -2, 2),
    // Two values determine two statistics: nothing is left of any gradient.
    dx: new Float32Array(8),
    dweight: Float32Array.of(0),
    dbias: Float32Array.of(24),
  },
  renorm: {
    y: Float32Array.of(-7 / 3, 29 / 6, -7 / 3, 29 / 6, 1 / 3, 37 / 6, 1 / 3, 37 / 6),
    dx: plain.dx.map((value) => value / 1.5),
    dweight: Float32Array.of(-2, 10),
    dbias: plain.dbias,
  },
  mask: {
    y: plain.y,
    dx: Float32Array.of(-4, -1, 4, 1, -12, -3, 12, 3),
    dweight: plain.dweight,
    dbias: plain.dbias,
  },
  relu: {
    y: Float32Array.of(0, 4, 0, 4, 2, 6, 2, 6),
    dx: Float32Array.of(0, -0.25, 0, 0.25, -3, -0.75, 3, 0.75),
    dweight: Float32Array.of(9, 6),
    dbias: Float32Array.of(9, 12),
  },
  "residual-relu": {
    y: Float32Array.of(1, 4, 0, 4, 2, 6, 2, 0),
    dx: Float32Array.of(1, -0.25, -1, 0.25, -3, 0.75, 3, -0.75),
    dweight: Float32Array.of(8, 0),
    dbias: Float32Array.of(10, 6),
    dresidual: Float32Array.of(1, 1, 0, 2, 3, 3, 6, 0),
  },
};

describe.each(VARIANTS)("the truth of %s", (variant) => {
  const isGhost = variant === "ghost";
  const { compare } = isGhost
    ? makeReference({ shape: [8, 1], axis: 1, variant }, ofGhosts)
    : makeReference({ ...cell, variant }, data);
  const truth = truths[variant];

  test("agrees with values worked out by hand", () => {
    expect(compare("training", truth).error).toBeLessThan(1e-7);
    expect(compare("backward", truth).error).toBeLessThan(1e-7);
    expect(compare("forward-backward", truth).error).toBeLessThan(1e-7);
  });

  test("isn't that of batch norm alone", () => {
    if (isGhost) {
      const whole = makeReference({ shape: [8, 1], axis: 1 }, ofGhosts);
      expect(whole.compare("training", truth).error).toBeGreaterThan(WRONG);
      return;
    }
    const { dresidual } = truth;
    const alone = { ...plain, ...(dresidual ? { dresidual } : {}) };
    expect(compare("forward-backward", alone).error).toBeGreaterThan(WRONG);
    expect(compare("backward", alone).error).toBeGreaterThan(WRONG);
  });
});

test("inference has the activation and the residual", () => {
  const { compare } = makeReference({ ...cell, variant: "residual-relu" }, data);
  expect(compare("inference", { y: Float32Array.of(1, 7, 0, 7, 0, 8, 0, 0) }).error).toBe(0);
  expect(compare("inference", { y: Float32Array.of(-2, 7, -2, 7, 0, 8, 0, 8) }).error).toBe(1);
});

test("a residual's gradient is asked for", () => {
  const { compare } = makeReference({ ...cell, variant: "residual-relu" }, data);
  const { dresidual, ...rest } = truths["residual-relu"];
  expect(() => compare("backward", rest)).toThrow("no dresidual");
});

describe("data", () => {
  test("have no gradient where rounding decides the sign of y, and else that of batch norm", () => {
    const shape = [50_000, 4];
    const { x, dy, residual, weight, bias, eps } = makeData({
      ...{ shape, axis: 1, variant: "residual-relu" },
    });
    const ofNorm = makeData({ shape, axis: 1 }).dy;
    const means = [0, 1, 2, 3].map((c) => {
      let [sum, squares] = [0, 0];
      for (let i = c; i < x.length; i += 4) sum += x[i] as number;
      const mean = sum / 50_000;
      for (let i = c; i < x.length; i += 4) squares += ((x[i] as number) - mean) ** 2;
      return [mean, 1 / Math.sqrt(squares / 50_000 + eps)] as const;
    });
    let doubtful = 0;
    for (let i = 0; i < x.length; i++) {
      const [mean, scale] = means[i % 4] as readonly [number, number];
      const at = (values: Float32Array, i: number) => values[i] as number;
      const norm = (at(x, i) - mean) * scale * at(weight, i % 4) + at(bias, i % 4);
      const isDoubtful = Math.abs(norm + at(residual, i)) < 1e-4;
      doubtful += Number(isDoubtful);
      if (at(dy, i) !== (isDoubtful ? 0 : at(ofNorm, i))) expect.fail(`at ${i}`);
    }
    expect(doubtful).toBeGreaterThan(0);
    expect(doubtful).toBeLessThan(x.length / 1000);
  });

  test("have a mask of about three positions in four, the same in every run", () => {
    const about = { shape: [50, 3, 20], axis: 1, variant: "mask" } as const;
    const { mask } = makeData(about);
    expect(mask).toHaveLength(1000);
    expect(new Set(mask)).toEqual(new Set([0, 1]));
    const share = mask.reduce((a, b) => a + b, 0) / mask.length;
    expect(share).toBeCloseTo(0.75, 1);
    expect(makeData(about).mask).toEqual(mask);
  });
});

describe("the flat loop", () => {
  test.each([
    ["channels-first", [8, 5, 3, 3], 1],
    ["channels-last", [8, 3, 3, 5], 3],
    ["NC", [12, 4], 1],
  ] as const)("is right in %s %j", async (layout, shape, axis) => {
    // Without a type: JavaScript that is written as people write it, not for the checker.
    const path = "../../scripts/bench/contestants/flat-loop.mjs";
    const { default: contestant } = await import(path);
    expect(contestant.variants).toEqual(VARIANTS);
    const { prepare } = await contestant.start();
    for (const variant of VARIANTS) {
      const about = { layout, shape, axis, variant, name: "test" };
      const inputs = makeData(about);
      const { compare } = makeReference(about, inputs);
      const ops = ["training", "backward", "forward-backward"] as const;
      for (const op of ACTIVATED.includes(variant) ? [...ops, "inference" as const] : ops) {
        const prepared = await prepare({ op, ...about }, inputs);
        // Twice: nothing that a run leaves may change what the next one gives.
        prepared.run(2);
        const { error } = compare(op, await prepared.outputs());
        expect(error, `${VARIANT_NAMES[variant]} ${op}`).toBeLessThan(1e-6);
      }
    }
  });
});
