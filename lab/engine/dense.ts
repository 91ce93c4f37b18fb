/** A linear layer: y = x·w + b. */
import {
  kept,
  type Layer,
  type Parameter,
  type Pass,
  type Values,
  weightAndBias,
} from "./layer.js";

export class Dense implements Layer {
  readonly parameters: readonly Parameter[];
  /** `[inputs, outputs]`. */
  readonly weight: Parameter;
  private readonly bias: Parameter;
  private x: Values | null = null;

  /**
   * @param std of the first weights, which are normal
   * @param biased whether there is b; what follows may cancel it
   * @param first whether nothing before it learns, so that dx is not wanted
   */
  constructor(
    name: string,
    readonly inputs: number,
    private readonly outputs: number,
    normal: () => number,
    std: number,
    biased: boolean,
    private readonly first: boolean,
  ) {
    const { weight, bias } = weightAndBias(name, inputs * outputs, outputs, normal, std);
    this.weight = weight;
    this.bias = bias;
    this.parameters = biased ? [this.weight, this.bias] : [this.weight];
  }

  forward(x: Values, rows: number, _pass: Pass): Values {
    this.x = x;
    const { inputs, outputs } = this;
    const [w, b] = [this.weight.values, this.bias.values];
    const y = new Float64Array(rows * outputs);
    for (let row = 0; row < rows; row++) {
      const to = row * outputs;
      y.set(b, to);
      for (let i = 0; i < inputs; i++) {
        const value = x[row * inputs + i] as number;
        const from = i * outputs;
        for (let o = 0; o < outputs; o++) {
          y[to + o] = (y[to + o] as number) + value * (w[from + o] as number);
        }
      }
    }
    return y;
  }

  backward(dy: Values): Values {
    const { inputs, outputs, first } = this;
    const x = kept(this.x);
    const w = this.weight.values;
    const [dw, db] = [this.weight.grad.fill(0), this.bias.grad.fill(0)];
    const dx = new Float64Array(first ? 0 : x.length);
    const rows = dy.length / outputs;
    for (let row = 0; row < rows; row++) {
      const from = row * outputs;
      for (let o = 0; o < outputs; o++) db[o] = (db[o] as number) + (dy[from + o] as number);
      for (let i = 0; i < inputs; i++) {
        const value = x[row * inputs + i] as number;
        const at = i * outputs;
        let sum = 0;
        for (let o = 0; o < outputs; o++) {
          const d = dy[from + o] as number;
          dw[at + o] = (dw[at + o] as number) + value * d;
          sum += (w[at + o] as number) * d;
        }
        if (!first) dx[row * inputs + i] = sum;
      }
    }
    return dx;
  }
}
