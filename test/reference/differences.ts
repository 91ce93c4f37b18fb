/** Gradients of a reference against finite differences. */
import { Random } from "../../scripts/random.mjs";
import { expectWithin } from "../helpers.js";
import type * as batch from "./batch.mjs";
import type { Sets } from "./sums.mjs";

type Values = Float64Array;

/** The reference of a norm whose statistics are x's own. */
interface Reference<Division> {
  forward(x: Values, division: Division, parameters: batch.Parameters): ArrayLike<number>;
  backward(
    x: Values,
    dy: Values,
    division: Division,
    parameters: batch.Parameters,
  ): batch.Gradients;
}

/** Compares all three gradients on random values. */
export function expectGradients<Division extends { readonly channels: Sets }>(
  reference: Reference<Division>,
  division: Division,
): void {
  const random = new Random(4);
  const { of, number } = division.channels;
  const x = Float64Array.from(random.normals(of.length, 0.5, 2));
  const dy = Float64Array.from(random.normals(of.length));
  const weight = Float64Array.from(random.normals(number, 1, 0.5));
  const bias = Float64Array.from(random.normals(number));
  const eps = 1e-2;
  const loss = () => {
    const y = reference.forward(x, division, { weight, bias, eps });
    return dy.reduce((sum, dy, i) => sum + (y[i] as number) * dy, 0);
  };
  const differences = (values: Values) =>
    values.map((value, i) => {
      const step = 1e-5;
      const [above, below] = [value + step, value - step].map((moved) => {
        values[i] = moved;
        return loss();
      }) as [number, number];
      values[i] = value;
      return (above - below) / (2 * step);
    });
  const { dx, dweight, dbias } = reference.backward(x, dy, division, { weight, eps });
  for (const [name, values, gradient] of [
    ["dx", x, dx],
    ["dweight", weight, dweight],
    ["dbias", bias, dbias],
  ] as const) {
    const bound = gradient.map((value) => 1e-7 * (1 + Math.abs(value)));
    expectWithin(differences(values), gradient, bound, name);
  }
}
