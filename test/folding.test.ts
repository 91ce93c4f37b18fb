/** Batch norm folded into its neighbours: golden values, of layers and statistics, errors. */
import { readFileSync } from "node:fs";
import {
  addScaleL1,
  BatchNorm,
  BatchNormalization,
  type FoldedKind,
  type FoldOptions,
  foldBatchNorm,
  pruneByScale,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, it } from "vitest";
import { counting, expectError, loaded, values, wrong } from "./call-helpers.js";
import { expectWithin, SMALLEST, U } from "./helpers.js";

interface Case {
  readonly kind: FoldedKind;
  readonly layout: "torch" | "tensorflow";
  readonly groups: number;
  readonly into: "previous" | "next";
  readonly shape: number[];
  readonly weight: number[];
  readonly bias: number[] | null;
  readonly folded_weight: number[];
  readonly folded_bias: number[];
  readonly bn: {
    mean: number[];
    variance: number[];
    weight: number[];
    bias: number[];
    eps: number;
  };
}

const text = readFileSync(new URL("fixtures/torch_folding.json", import.meta.url), "utf8");
const { cases } = JSON.parse(text) as { cases: Case[] };

/** Rounded once. */
const rounded = (value: number) => U * Math.abs(value) * (1 + 2 ** -20) + SMALLEST;

describe("golden values of folding", () => {
  it("has 35 cases, of all kinds in both orders", () => {
    expect(cases).toHaveLength(35);
    const kinds = new Set(cases.map(({ kind, layout, into }) => `${kind} ${layout} ${into}`));
    expect(kinds.size).toBe(10);
  });

  it.each(
    cases.map((one, i): [string, Case] => [
      `#${i} ${one.kind} [${one.shape}] ${one.layout} ${one.groups} ${one.into}`,
      one,
    ]),
  )("are what foldBatchNorm gives: %s", (_, one) => {
    const { kind, layout, into, shape, bias, bn } = one;
    const groups = layout === "torch" && kind === "transposed" ? one.groups : null;
    const options = { kind, layout, groups, into, bias };
    const plain = { ...options, weight: { data: one.weight, shape } };
    const folded = foldBatchNorm(bn, plain);
    expect(folded.weight.shape).toEqual(shape);
    expectWithin(folded.weight.data, one.folded_weight, one.folded_weight.map(rounded), "weight");
    // A sum can cancel: in float64, of which some rounding is left.
    const ofBias = one.folded_bias.map((value) => rounded(value) + 1e-13);
    expectWithin(folded.bias, one.folded_bias, ofBias, "bias");
    // Of a tensor the same, to the bit.
    using weight = Tensor.from(one.weight, shape);
    expect(foldBatchNorm(bn, { ...options, weight })).toEqual(folded);
  });
});

describe("foldBatchNorm", () => {
  const weight = { data: [1, 2, 3, 4, 5, 6], shape: [3, 2] };

  it("takes a layer's running statistics, γ, β and ε", () => {
    using bn = new BatchNorm(3, { eps: 0.5 });
    const state = { weight: [1, 2, 3], bias: [3, 2, 1], running_mean: [1, 0, -1] };
    bn.loadStateDict({ ...state, running_var: [3, 0.5, 8], num_batches_tracked: 1 });
    const by = {
      mean: [1, 0, -1],
      variance: [3, 0.5, 8],
      weight: [1, 2, 3],
      bias: [3, 2, 1],
      eps: 0.5,
    };
    expect(foldBatchNorm(bn, { weight })).toEqual(foldBatchNorm(by, { weight }));
    const x = [0.5, -2];
    const y = [0, 1, 2].map(
      (c) => (weight.data[2 * c] as number) * 0.5 + (weight.data[2 * c + 1] as number) * -2,
    );
    const want = values(bn.eval().forward(Tensor.from(y, [1, 3])));
    const { weight: w, bias: b } = foldBatchNorm(bn, { weight });
    const got = [0, 1, 2].map(
      (c) =>
        (w.data[2 * c] as number) * (x[0] as number) +
        (w.data[2 * c + 1] as number) * (x[1] as number) +
        (b[c] as number),
    );
    expectWithin(
      got,
      want,
      want.map((value) => 16 * U * (8 + Math.abs(value))),
      "y",
    );
  });

  it("guesses linear of two axes and a convolution of more", () => {
    const bn = { mean: [0, 0], variance: [4, 1], eps: 0 };
    const conv = { data: [2, 2], shape: [2, 1, 1] };
    expect(foldBatchNorm(bn, { weight: conv }).weight.data).toEqual(Float32Array.of(1, 2));
    const dense = { data: [2, 2], shape: [1, 2] };
    const folded = foldBatchNorm(bn, { weight: dense, layout: "tensorflow" });
    expect(folded.weight.data).toEqual(Float32Array.of(1, 2));
  });

  it("keeps float64's digits of statistics that are far off", () => {
    const [mean, variance] = [1e6 + 1 / 3, 1e-6];
    const folded = foldBatchNorm(
      { mean: [mean], variance: [variance], eps: 0 },
      { weight: { data: [1], shape: [1, 1] }, bias: [1e6] },
    );
    const want = (1e6 - mean) / Math.sqrt(variance);
    expectWithin(folded.bias, [want], [rounded(want) + 1e-6], "bias");
  });

  it("refuses what doesn't fit, and says what tells the axis", () => {
    const bn = { mean: [0, 0, 0], variance: [1, 1, 1] };
    using untracked = new BatchNorm(3, { trackRunningStats: false });
    using activated = new BatchNorm(3, { activation: "relu" });
    using unbuilt = new BatchNormalization();
    using disposed = new BatchNorm(3);
    disposed.dispose();
    const gone = counting([3, 2]);
    gone.dispose();
    const fold =
      (options: Partial<FoldOptions>, of: unknown = bn) =>
      () =>
        foldBatchNorm(of as typeof bn, { weight, ...options });
    const refused: [string, string[], () => unknown][] = [
      [
        "shape-mismatch",
        ["[3, 2] has 2 output channels", "3;", "layout"],
        fold({ layout: "tensorflow" }),
      ],
      ["shape-mismatch", ["conv must have 3 to 5 axes", "[3, 2]"], fold({ kind: "conv" })],
      [
        "shape-mismatch",
        ["linear must have 2 axes"],
        fold({ kind: "linear", weight: { data: [1], shape: [1, 1, 1] } }),
      ],
      ["shape-mismatch", ["bias must have 3 values, got 2"], fold({ bias: [1, 2] })],
      [
        "shape-mismatch",
        ["variance must have 3 values"],
        fold({}, { mean: [0, 0, 0], variance: [1] }),
      ],
      ["shape-mismatch", ["2 inputs", "no multiple"], fold({ into: "next" })],
      [
        "unsupported",
        ["into the next layer", "conv"],
        fold({ into: "next", weight: { data: [1, 1, 1], shape: [1, 3, 1] } }),
      ],
      [
        "shape-mismatch",
        ["groups 2 does not divide 3"],
        fold({ kind: "transposed", groups: 2, weight: { data: [1, 1, 1], shape: [3, 1, 1] } }),
      ],
      [
        "unsupported",
        ["groups"],
        fold({
          kind: "transposed",
          groups: 2,
          layout: "tensorflow",
          weight: { data: [1, 1, 1], shape: [1, 3, 1] },
        }),
      ],
      [
        "invalid-option",
        ["variance[0] must be not negative"],
        fold({}, { mean: [0], variance: [-1] }),
      ],
      ["invalid-option", ["kind"], fold({ kind: wrong("dense") })],
      ["invalid-option", ["groups"], fold({ groups: 0 })],
      [
        "invalid-shape",
        ["[3, 2] is not filled by data of 2"],
        fold({ weight: { data: [1, 2], shape: [3, 2] } }),
      ],
      ["dtype", ["weight"], fold({ weight: wrong([1, 2]) })],
      ["disposed", ["weight was disposed"], fold({ weight: gone })],
      ["unsupported", ["running statistics"], fold({}, untracked)],
      ["unsupported", ["activation", "behind"], fold({}, activated)],
      ["not-built", ["no statistics yet"], fold({}, unbuilt)],
      ["disposed", ["the layer was disposed"], fold({}, disposed)],
      ["unknown-option", ["weights"], fold(wrong({ weights: 1 }))],
      ["unknown-option", ["var"], fold({}, { mean: [0], var: [1] })],
      ["dtype", ["mean"], fold({}, null)],
    ];
    for (const [code, words, call] of refused)
      expectError(code as never, ["foldBatchNorm", ...words], call);
  });
});

describe("network slimming", () => {
  const make = (scales: number[]) => {
    const bn = new BatchNorm(scales.length);
    bn.weight?.set(scales);
    bn.runningMean?.set(scales.map((_, c) => c));
    return bn;
  };

  it("prunes the least |γ| of all layers, and of no layer all", () => {
    const [first, second] = [make([5, -0.1, 3, 0.2]), make([0.01, 0.02])];
    const pruned = pruneByScale([first, second], 0.5);
    expect(pruned.map(({ kept }) => kept)).toEqual([[0, 2], [1]]);
    expect(pruned.map(({ mask }) => mask)).toEqual([
      [true, false, true, false],
      [false, true],
    ]);
    expect(pruned[0]?.stateDict).toEqual({
      weight: Float32Array.of(5, 3),
      bias: Float32Array.of(0, 0),
      running_mean: Float32Array.of(0, 2),
      running_var: Float32Array.of(1, 1),
      num_batches_tracked: 0,
    });
    const small = loaded(new BatchNorm(2), pruned[0]?.stateDict as never);
    const x = counting([4, 4]);
    const both = (bn: BatchNorm, x: Tensor) => values(bn.eval().forward(x));
    const kept = Tensor.from(
      values(x).filter((_, i) => i % 4 === 0 || i % 4 === 2),
      [4, 2],
    );
    expect(both(small, kept)).toEqual(both(first, x).filter((_, i) => i % 4 === 0 || i % 4 === 2));
    // Nothing of the layers has changed.
    expect(values(first.weight as Tensor)).toEqual([5, -0.1, 3, 0.2].map(Math.fround));
    expect(pruneByScale([first], 0)[0]?.kept).toEqual([0, 1, 2, 3]);
    expect(pruneByScale([make([1, 1, 1])], 0.99)[0]?.kept).toEqual([2]);
    const named = pruneByScale([first], 0.5, { prefix: "bn." })[0]?.stateDict ?? {};
    expect(Object.keys(named)[0]).toBe("bn.weight");
  });

  it("adds the penalty's subgradient to all layers or none", () => {
    const [first, second] = [make([2, -3, 0]), make([1])];
    const x = counting([2, 3]);
    first.forward(x);
    first.backward(x);
    const before = values(first.weight?.grad as Tensor);
    addScaleL1([first], 0.25);
    expect(values(first.weight?.grad as Tensor)).toEqual(
      before.map((value, c) => Math.fround(value + 0.25 * Math.sign([2, -3, 0][c] as number))),
    );
    const call = () => addScaleL1([first, second], 1);
    expectError("stale", ["layer 1", "call backward first"], call, [first, second]);
  });

  it("refuses layers without γ, and numbers that are none", () => {
    using bn = make([1, 2]);
    using plain = new BatchNorm(2, { affine: false });
    using unbuilt = new BatchNormalization();
    using nan = make([Number.NaN]);
    const refused: [string, string[], () => unknown][] = [
      ["invalid-option", ["ratio", "less than 1"], () => pruneByScale([bn], 1)],
      ["invalid-option", ["layers"], () => pruneByScale(wrong(bn), 0.5)],
      ["invalid-option", ["strength"], () => addScaleL1([bn], -1)],
      ["invalid-option", ["weight[0] is NaN"], () => pruneByScale([nan], 0.5)],
      ["unsupported", ["layer 1 has no γ"], () => pruneByScale([bn, plain], 0.5)],
      ["not-built", ["layer 0"], () => pruneByScale([unbuilt], 0.5)],
      ["dtype", ["layer 0 must be a BatchNorm layer"], () => pruneByScale([wrong({})], 0.5)],
      ["unknown-option", ["prefixes"], () => pruneByScale([bn], 0.5, wrong({ prefixes: "" }))],
    ];
    for (const [code, words, call] of refused) expectError(code as never, words, call);
  });
});
