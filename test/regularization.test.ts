/** Dropout and penalties beside norms: by their formulas, in any layout, in place, errors. */
import { dropout, dropoutBackward, l1Penalty, l2Penalty, scope, Tensor } from "batchnorm-wasm";
import { describe, expect, it } from "vitest";
import { Random } from "../scripts/random.mjs";
import { counting, expectError, values, wrong } from "./call-helpers.js";
import { expectWithin, U } from "./helpers.js";

describe("dropout", () => {
  const ones = (n: number) => Tensor.from(new Float32Array(n).fill(1), [n]);

  it.each([0, 0.1, 0.5, 0.9])("drops a part of %d, and scales the others up", (rate) => {
    scope(() => {
      const n = 40_000;
      for (const seed of [0, 1, 2 ** 32 - 1]) {
        const y = values(dropout(ones(n), { rate, seed }));
        const dropped = y.filter((value) => value === 0).length;
        // Five standard deviations of so many coins.
        expect(Math.abs(dropped - n * rate)).toBeLessThanOrEqual(
          5 * Math.sqrt(n * rate * (1 - rate)),
        );
        const kept = Math.fround(1 / (1 - rate));
        expect(y.every((value) => value === 0 || value === kept)).toBe(true);
      }
    });
  });

  it("has neighbours, seeds and their bits independent of each other", () => {
    scope(() => {
      const n = 40_000;
      const masks = [1, 2, 3, 2 ** 31].map((seed) => values(dropout(ones(n), { seed })));
      const agree = (a: readonly number[], b: readonly number[]) =>
        a.filter((value, i) => value === b[i]).length;
      const most = 5 * Math.sqrt(n / 4);
      for (const [i, a] of masks.entries()) {
        for (const b of masks.slice(i + 1))
          expect(Math.abs(agree(a, b) - n / 2)).toBeLessThan(most);
        for (const lag of [1, 2, 64]) {
          const shifted = [...a.slice(lag), ...a.slice(0, lag)];
          expect(Math.abs(agree(a, shifted) - n / 2)).toBeLessThan(most);
        }
      }
    });
  });

  it("lets gradients through where it let values through, in any layout and in place", () => {
    scope(() => {
      const [x, dy] = [counting([6, 4, 5]), counting([6, 4, 5], -7)];
      const options = { rate: 0.3, seed: 9 };
      const y = values(dropout(x, options));
      const mask = y.map((value, i) => value / (values(x)[i] as number));
      const dx = values(dropoutBackward(dy, options));
      expect(dx.map((value) => value === 0)).toEqual(
        mask.map((one, i) => one === 0 || values(dy)[i] === 0),
      );
      expectWithin(
        dx,
        values(dy)
          .map((value) => (value === 0 ? 0 : value))
          .map((value, i) => value * (mask[i] as number)),
        dx.map((value) => 4 * U * Math.abs(value)),
        "dx",
      );
      // A view of a larger tensor, into another's.
      const [wide, other] = [counting([6, 6, 5]), counting([8, 4, 5])];
      const view = wide.slice(1, 1, 5);
      view.set(values(x));
      const out = other.slice(0, 1, 7);
      expect(dropout(view, { ...options, out })).toBe(out);
      expect(values(out)).toEqual(y);
      dropout(view, { ...options, out: view });
      expect(values(view)).toEqual(y);
      const plain = dropout({ data: values(x), shape: [6, 4, 5] }, options);
      expect([...plain.data]).toEqual(y);
      const version = x.storage.version;
      dropout(x, { ...options, out: x });
      expect(x.storage.version).toBe(version + 1);
    });
  });

  it("never lets through what is no number where it drops", () => {
    const x = Tensor.from(new Float32Array(64).fill(Number.NaN), [64]);
    const y = values(dropout(x, { seed: 1 }));
    expect(y.some((value) => value === 0) && y.some(Number.isNaN)).toBe(true);
    x.dispose();
  });

  it("refuses what is none, and writes nothing", () => {
    const [x, out, other] = [counting([4, 3]), counting([3, 4]), counting([6, 3])];
    const [gone, over] = [counting([4, 3]), other.slice(0, 1, 5)];
    gone.dispose();
    const cases: [string, string[], () => unknown][] = [
      ["invalid-option", ["rate", "less than 1"], () => dropout(x, { rate: 1, seed: 1 })],
      ["invalid-option", ["seed"], () => dropout(x, wrong({}))],
      ["invalid-option", ["seed", "-1"], () => dropout(x, { seed: -1 })],
      ["invalid-option", ["seed"], () => dropout(x, { seed: 2 ** 32 })],
      ["shape-mismatch", ["out must have x's shape [4, 3]"], () => dropout(x, { seed: 1, out })],
      ["overlap", ["out overlaps x"], () => dropout(other.slice(0, 0, 4), { seed: 1, out: over })],
      ["disposed", ["x was disposed"], () => dropout(gone, { seed: 1 })],
      ["disposed", ["out was disposed"], () => dropout(x, { seed: 1, out: gone })],
      ["dtype", ["dropoutBackward: dy"], () => dropoutBackward(wrong(3), { seed: 1 })],
      ["unknown-option", ["p"], () => dropout(x, wrong({ seed: 1, p: 0.5 }))],
    ];
    for (const [code, words, call] of cases)
      scope(() => expectError(code as never, words, call, [x, out]));
  });
});

describe("penalties", () => {
  it("are their sums, and add their gradients", () => {
    scope(() => {
      const random = new Random(4);
      const wide = Tensor.from(random.normals(7 * 12), [7, 12]);
      for (const weight of [wide, wide.slice(1, 2, 7), Tensor.from([3, 0, -4])]) {
        const w = values(weight);
        const start = random.normals(w.length);
        const grad = () => Tensor.from(start, weight.shape);
        const [first, second] = [grad(), grad()];
        const l1 = w.reduce((sum, value) => sum + Math.abs(value), 0);
        const l2 = w.reduce((sum, value) => sum + value ** 2, 0);
        const near = (value: number) => [w.length * 4 * U * value];
        expectWithin(
          [l1Penalty(weight, { strength: 0.3, grad: first })],
          [0.3 * l1],
          near(l1),
          "L1",
        );
        expectWithin(
          [l2Penalty(weight, { strength: 0.3, grad: second })],
          [0.15 * l2],
          near(l2),
          "L2",
        );
        const bound = w.map(
          (value, i) => 4 * U * (Math.abs(value) + Math.abs(start[i] as number) + 1),
        );
        const add = (of: (value: number) => number) =>
          w.map((value, i) => (start[i] as number) + 0.3 * of(value));
        expectWithin(values(first), add(Math.sign), bound, "L1's gradient");
        expectWithin(
          values(second),
          add((value) => value),
          bound,
          "L2's gradient",
        );
        expect(values(weight)).toEqual(w);
        expect(l1Penalty(weight, { strength: 0 }) + l2Penalty(weight, { strength: 0 })).toBe(0);
      }
    });
  });

  it("refuse what is none, and write nothing", () => {
    const [weight, grad] = [counting([2, 3]), counting([3, 2])];
    for (const penalty of [l1Penalty, l2Penalty]) {
      const cases: [string, string[], () => unknown][] = [
        ["invalid-option", ["strength"], () => penalty(weight, { strength: -1 })],
        [
          "shape-mismatch",
          ["grad must have the weight's shape [2, 3]"],
          () => penalty(weight, { strength: 1, grad }),
        ],
        ["overlap", ["grad overlaps weight"], () => penalty(weight, { strength: 1, grad: weight })],
        ["dtype", ["weight"], () => penalty(wrong([1]), { strength: 1 })],
        ["unknown-option", ["lambda"], () => penalty(weight, wrong({ strength: 1, lambda: 1 }))],
      ];
      for (const [code, words, call] of cases)
        expectError(code as never, words, call, [weight, grad]);
    }
  });
});
