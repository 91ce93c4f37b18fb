/** The reference of activations: by hand, and through a norm by finite differences. */
import { describe, expect, it } from "vitest";
import { Random } from "../../scripts/random.mjs";
import { expectWithin } from "../helpers.js";
import { activated, gated } from "./activation.mjs";
import * as reference from "./batch.mjs";

describe("the reference of activations", () => {
  it("has the values of four elements by hand", () => {
    const [norm, residual] = [
      [1, -2, 0.5, -1],
      [1, 1, -1, 1],
    ];
    expect([...activated(norm, null, 0)]).toEqual([1, 0, 0.5, 0]);
    expect([...activated(norm, null, 0.5)]).toEqual([1, -1, 0.5, -0.5]);
    expect([...activated(norm, residual, 0.5)]).toEqual([2, -0.5, -0.25, 0]);
    expect([...activated(norm, residual, 1)]).toEqual([2, -1, -0.5, 0]);
    const dy = [1, 2, 3, 4];
    expect([...gated(dy, [2, -1, 0, 1e-30], 0)]).toEqual([1, 0, 0, 4]);
    expect([...gated(dy, [2, -1, 0, 1e-30], 0.5)]).toEqual([1, 1, 1.5, 4]);
    expect([...gated(dy, [2, -1, 0, 1e-30], 1)]).toEqual(dy);
  });

  it("lets nothing through a slope of 0, and what is no number through any", () => {
    expect([...activated([-Infinity, NaN, Infinity], null, 0)]).toEqual([0, NaN, Infinity]);
    expect([...activated([-Infinity, NaN], null, 0.5)]).toEqual([-Infinity, NaN]);
    expect([...gated([Infinity, NaN, 5, 5], [-1, 0, NaN, Infinity], 0)]).toEqual([0, 0, 5, 5]);
  });

  const WAYS = [0, 0.2, 1].flatMap((slope) =>
    [true, false].flatMap((given) => [true, false].map((added) => [slope, given, added] as const)),
  );

  it.each(WAYS)(
    "has the gradients of finite differences: slope %d, given %s, residual %s",
    (slope, given, added) => {
      const random = new Random(11);
      const channels = reference.channelsOf([6, 3, 2], 1);
      const { number, of } = channels;
      const normals = (length: number) => Float64Array.from(random.normals(length));
      const [x, dy, residual] = [normals(of.length), normals(of.length), normals(of.length)];
      const [weight, bias] = [normals(number), normals(number)];
      const eps = 1e-2;
      const constant = { mean: normals(number), variance: normals(number).map((v) => v * v + 0.1) };
      const statistics = () => (given ? constant : reference.statistics(x, channels));
      const forward = () => {
        const norm = reference.forward(x, channels, statistics(), { weight, bias, eps });
        return activated(norm, added ? residual : null, slope);
      };
      const y = forward();
      const step = 1e-6;
      // No step comes to the corner, where there is no gradient.
      expect(Math.min(...y.map(Math.abs).filter((value) => value > 0))).toBeGreaterThan(20 * step);
      const loss = () => forward().reduce((sum, y, i) => sum + y * (dy[i] as number), 0);
      const ofNorm = gated(dy, y, slope);
      const { dx, dweight, dbias } = given
        ? reference.backwardConstant(x, ofNorm, channels, constant, { weight, eps })
        : reference.backward(x, ofNorm, channels, { weight, eps });
      const all = { dx: [x, dx], dweight: [weight, dweight], dbias: [bias, dbias] } as const;
      const compared = added ? { ...all, dresidual: [residual, ofNorm] as const } : all;
      for (const [name, [values, gradient]] of Object.entries(compared)) {
        const differences = values.map((value, i) => {
          const [above, below] = [value + step, value - step].map((moved) => {
            values[i] = moved;
            return loss();
          }) as [number, number];
          values[i] = value;
          return (above - below) / (2 * step);
        });
        // h² of the third derivative, and 2⁻⁵³/h of the loss's roundings.
        const bound = gradient.map((value) => 1e-7 * (1 + Math.abs(value)));
        expectWithin(differences, gradient, bound, name);
      }
    },
  );
});
