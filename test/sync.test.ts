/** Batch norm over workers: each part's results are those of the whole batch on one machine. */
import {
  addSums,
  BatchNorm,
  batchNormBackward,
  batchNormTraining,
  Moments,
  scope,
  syncBatchNorm,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, it } from "vitest";
import { Random } from "../scripts/random.mjs";
import { counting, expectError, values, wrong } from "./call-helpers.js";
import { expectWithin, truthOfTraining, U } from "./helpers.js";
import { channelsOf } from "./reference/batch.mjs";

const CASES = [
  { shards: [5, 3, 0], rest: [4], axis: 1, mean: 0, std: 1 },
  { shards: [5, 3, 0], rest: [4, 3, 2], axis: 1, mean: -3, std: 2 },
  { shards: [1, 1], rest: [3, 7], axis: -1, mean: 1e6, std: 1 },
  { shards: [8], rest: [2, 5], axis: 1, mean: 0, std: 1e-3 },
] as const;

describe("syncBatchNorm", () => {
  it.each(CASES)("is batch norm of the whole batch: $shards of $rest, $mean ± $std", (one) => {
    scope(() => {
      const { shards, rest, axis, mean, std } = one;
      const random = new Random(9);
      const samples = shards.reduce<number>((a, b) => a + b, 0);
      const shape = [samples, ...rest];
      const size = shape.reduce((a, b) => a * b);
      const channels = channelsOf(shape, axis);
      const x = random.normals(size, mean, std);
      const dy = random.normals(size, 0.5, 1);
      const weight = random.normals(channels.number, 1, 0.5);
      const bias = random.normals(channels.number);
      const [all, gradient] = [Tensor.from(x, shape), Tensor.from(dy, shape)];
      let from = 0;
      const parts = shards.map((n) => {
        const [x, dy] = [all, gradient].map((tensor) => tensor.slice(0, from, from + n));
        from += n;
        return { x: x as Tensor, dy: dy as Tensor };
      });
      const running = () => ({
        runningMean: Tensor.zeros([channels.number]),
        runningVar: Tensor.from(new Float32Array(channels.number).fill(1)),
      });

      // What each worker does, and what goes between them as JSON.
      const moments = Moments.merge(
        parts.map(({ x }) => Moments.fromJSON(JSON.stringify(Moments.of(x, { axis })))),
      );
      const given = { moments, weight, bias, axis, momentum: 0.3 };
      const passes = parts.map(({ x }) => {
        const own = running();
        return { own, pass: syncBatchNorm(x, { ...given, ...own }) };
      });
      const sums = passes.map(({ pass }, i) => pass.sums(parts[i]?.dy as Tensor));
      const total = addSums(JSON.parse(JSON.stringify(sums)));
      const dx = passes.flatMap(({ pass }, i) =>
        values(pass.backward(parts[i]?.dy as Tensor, total)),
      );
      const y = passes.flatMap(({ pass }) => values(pass.y));

      const {
        bounds,
        y: ofY,
        gradients,
      } = truthOfTraining(x, dy, channels, { weight, bias, eps: 1e-5 });
      // Constants are rounded twice where one machine rounds them once, and sums to float32.
      const twice = (bounds: Float64Array) => bounds.map((bound) => 3 * bound);
      expectWithin(y, ofY, twice(bounds.y), "y");
      expectWithin(dx, gradients.dx, twice(bounds.dx), "dx");
      // Of terms of no more than 16, whose sum is rounded.
      const near = (bounds: Float64Array, sums: Float64Array) =>
        bounds.map((bound, c) => 3 * bound + 4 * U * Math.abs(sums[c] as number) + 16 * U * size);
      expectWithin(total.dy, gradients.dbias, near(bounds.dbias, gradients.dbias), "dβ");
      expectWithin(total.dyXHat, gradients.dweight, near(bounds.dweight, gradients.dweight), "dγ");

      const wanted = running();
      batchNormTraining(all, { axis, momentum: 0.3, ...wanted });
      for (const { own } of passes) {
        for (const name of ["runningMean", "runningVar"] as const) {
          const want = values(wanted[name]);
          const bound = want.map(
            (value) => 4 * U * Math.abs(value) + 2 * (bounds.mean[0] as number) * (1 + std),
          );
          expectWithin(values(own[name]), want, bound, name);
        }
        expect(values(own.runningVar)).toEqual(values(passes[0]?.own.runningVar as Tensor));
      }
    });
  });

  it("of one part agrees with batch norm's own backward pass", () => {
    scope(() => {
      const [x, dy] = [counting([6, 3]), counting([6, 3], -4)];
      const pass = syncBatchNorm(x, { moments: Moments.of(x) });
      const { y, saved } = batchNormTraining(x);
      const want = batchNormBackward(dy, { saved }).dx;
      const near = (all: number[]) => all.map((value) => 32 * U * (1 + Math.abs(value)));
      expectWithin(values(pass.y), values(y), near(values(y)), "y");
      expectWithin(
        values(pass.backward(dy, pass.sums(dy))),
        values(want),
        near([...Array(18).fill(9)]),
        "dx",
      );
    });
  });

  it("refuses an x that has changed, what doesn't fit, and leaves nothing", () => {
    using bn = new BatchNorm(3);
    const x = counting([4, 3]);
    const moments = Moments.of(x);
    const live = () => x.kernel.memoryUsage().liveBytes;
    const before = live();
    const pass = syncBatchNorm(x, { moments });
    const dy = counting([4, 3]);
    const total = pass.sums(dy);
    pass.backward(dy, total).dispose();
    x.set(values(x));
    expectError("stale", ["x was overwritten"], () => pass.sums(dy));
    pass.y.dispose();
    pass.dispose();
    dy.dispose();
    expect(live()).toBe(before);
    const other = new Moments({ count: 1, mean: [0], m2: [0] });
    const cases: [string, string[], () => unknown][] = [
      ["invalid-option", ["moments"], () => syncBatchNorm(x, { moments: wrong({}) })],
      [
        "shape-mismatch",
        ["moments are of 1 channels, x has 3"],
        () => syncBatchNorm(x, { moments: other }),
      ],
      ["shape-mismatch", ["weight must have 3"], () => syncBatchNorm(x, { moments, weight: [1] })],
      [
        "invalid-option",
        ["go together"],
        () => syncBatchNorm(x, { moments, runningMean: bn.runningMean }),
      ],
      ["invalid-option", ["momentum"], () => syncBatchNorm(x, { moments, momentum: 2 })],
      ["unknown-option", ["saved"], () => syncBatchNorm(x, wrong({ moments, saved: true }))],
      ["invalid-option", ["no parts"], () => addSums([])],
      ["invalid-option", ["parts", "iterable"], () => addSums(wrong(undefined))],
      ["invalid-option", ["parts", "iterable"], () => addSums(wrong(5))],
      ["shape-mismatch", ["2 values"], () => addSums([{ dy: [1, 2], dyXHat: [1] }])],
      ["dtype", ["part 0"], () => addSums([{ dy: wrong("1"), dyXHat: [1] }])],
    ];
    for (const [code, words, call] of cases) expectError(code as never, words, call, [x]);
  });
});
