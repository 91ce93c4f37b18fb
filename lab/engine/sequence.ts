/**
 * Layers of sequences that are padded to one length, channels first: `[rows, channels, positions]`. A linear
 * layer that each position goes through by itself, and a mean over the positions that are there.
 */
import { Dense } from "./dense.js";
import { kept, type Layer, type Parameter, type Pass, type Values } from "./layer.js";

/** The same linear layer at each position, padding included: what it gives there is left out by {@link Pool}. */
export class Pointwise implements Layer {
  readonly parameters: readonly Parameter[];
  /** `[inputs, outputs]`. */
  readonly weight: Parameter;
  private readonly dense: Dense;

  /** @param given what {@link Dense} is told */
  constructor(
    private readonly positions: number,
    ...given: ConstructorParameters<typeof Dense>
  ) {
    this.dense = new Dense(...given);
    this.weight = this.dense.weight;
    this.parameters = this.dense.parameters;
  }

  forward(x: Values, rows: number, pass: Pass): Values {
    const { dense, positions } = this;
    const y = dense.forward(swapped(x, rows, positions), rows * positions, pass);
    return swapped(y, rows, y.length / rows / positions);
  }

  backward(dy: Values): Values {
    const { dense, positions } = this;
    const rows = dy.length / positions / (this.weight.grad.length / dense.inputs);
    const dx = dense.backward(swapped(dy, rows, positions));
    return swapped(dx, rows, dx.length / rows / positions);
  }
}

/** y = Σw·x/Σw over a row's positions; w is 1 of what is there and 0 of padding. A row of padding alone gives 0. */
export class Pool implements Layer {
  readonly parameters = [];
  private shares: Values | null = null;

  constructor(private readonly positions: number) {}

  forward(x: Values, rows: number, { weights }: Pass): Values {
    const { positions } = this;
    const shares = sharesOf(weights ?? new Float64Array(rows * positions).fill(1), positions);
    this.shares = shares;
    const channels = x.length / rows / positions;
    const y = new Float64Array(rows * channels);
    for (let at = 0; at < y.length; at++) {
      const own = Math.floor(at / channels) * positions;
      let sum = 0;
      for (let i = 0; i < positions; i++) {
        const share = shares[own + i] as number;
        if (share > 0) sum += share * (x[at * positions + i] as number);
      }
      y[at] = sum;
    }
    return y;
  }

  backward(dy: Values): Values {
    const { positions } = this;
    const shares = kept(this.shares);
    const channels = (dy.length * positions) / shares.length;
    const dx = new Float64Array(dy.length * positions);
    for (let at = 0; at < dy.length; at++) {
      const own = Math.floor(at / channels) * positions;
      for (let i = 0; i < positions; i++) {
        dx[at * positions + i] = (dy[at] as number) * (shares[own + i] as number);
      }
    }
    return dx;
  }
}

/** Of each row its weights as parts of their sum. */
function sharesOf(weights: Values, positions: number): Values {
  const shares = weights.slice();
  for (let start = 0; start < shares.length; start += positions) {
    const own = shares.subarray(start, start + positions);
    const sum = own.reduce((total, weight) => total + weight, 0);
    if (sum > 0) own.set(own.map((weight) => weight / sum));
  }
  return shares;
}

/** `[rows, a, b]` as `[rows, b, a]`. @param b the last axis's size */
function swapped(x: Values, rows: number, b: number): Values {
  const y = new Float64Array(x.length);
  const a = x.length / rows / b;
  let to = 0;
  for (let start = 0; start < x.length; start += a * b) {
    for (let j = 0; j < b; j++) {
      for (let i = 0; i < a; i++) y[to++] = x[start + i * b + j] as number;
    }
  }
  return y;
}
