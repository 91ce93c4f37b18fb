/** A 3×3 convolution of channels-first images, padded by zeros so that their size stays. */
import {
  kept,
  type Layer,
  type Parameter,
  type Pass,
  type Values,
  weightAndBias,
} from "./layer.js";

export class Convolution implements Layer {
  readonly parameters: readonly Parameter[];
  /** `[outputs, inputs, 3, 3]`. */
  readonly weight: Parameter;
  private readonly bias: Parameter;
  /** x in planes with a border of zeros. */
  private x: Values | null = null;

  /**
   * @param std of the first weights, which are normal
   * @param biased whether there is b; what follows may cancel it
   * @param first whether nothing before it learns, so that dx is not wanted
   */
  constructor(
    name: string,
    private readonly inputs: number,
    private readonly outputs: number,
    private readonly height: number,
    private readonly width: number,
    normal: () => number,
    std: number,
    biased: boolean,
    private readonly first: boolean,
  ) {
    const { weight, bias } = weightAndBias(name, outputs * inputs * 9, outputs, normal, std);
    this.weight = weight;
    this.bias = bias;
    this.parameters = biased ? [this.weight, this.bias] : [this.weight];
  }

  forward(x: Values, rows: number, _pass: Pass): Values {
    const { inputs, outputs, height, width } = this;
    const padded = this.#pad(x);
    this.x = padded;
    const [size, line] = [height * width, width + 2];
    const plane = (height + 2) * line;
    const y = new Float64Array(rows * outputs * size);
    for (let row = 0; row < rows; row++) {
      for (let o = 0; o < outputs; o++) {
        const to = (row * outputs + o) * size;
        y.fill(this.bias.values[o] as number, to, to + size);
        for (let c = 0; c < inputs; c++) {
          const taps = (o * inputs + c) * 9;
          addFiltered(
            y,
            to,
            padded,
            (row * inputs + c) * plane,
            this.weight.values,
            taps,
            width,
            size,
          );
        }
      }
    }
    return y;
  }

  backward(dy: Values): Values {
    const { inputs, outputs, height, width, first } = this;
    const x = kept(this.x);
    const [size, line] = [height * width, width + 2];
    const plane = (height + 2) * line;
    const rows = dy.length / (outputs * size);
    const [dw, db] = [this.weight.grad.fill(0), this.bias.grad.fill(0)];
    for (let row = 0; row < rows; row++) {
      for (let o = 0; o < outputs; o++) {
        const from = (row * outputs + o) * size;
        for (let i = 0; i < size; i++) db[o] = (db[o] as number) + (dy[from + i] as number);
        for (let c = 0; c < inputs; c++) {
          const taps = (o * inputs + c) * 9;
          addProducts(dw, taps, dy, from, x, (row * inputs + c) * plane, width, size);
        }
      }
    }
    if (first) return new Float64Array(0);
    // The same again, by the weights turned by half: dx of a channel is of all outputs.
    const padded = this.#pad(dy);
    const turned = this.weight.values.map((_, i, w) => w[i - (i % 9) + 8 - (i % 9)] as number);
    const dx = new Float64Array(rows * inputs * size);
    for (let row = 0; row < rows; row++) {
      for (let c = 0; c < inputs; c++) {
        const to = (row * inputs + c) * size;
        for (let o = 0; o < outputs; o++) {
          const taps = (o * inputs + c) * 9;
          addFiltered(dx, to, padded, (row * outputs + o) * plane, turned, taps, width, size);
        }
      }
    }
    return dx;
  }

  /** Planes with a border of zeros. */
  #pad(x: Values): Values {
    const { height, width } = this;
    const planes = x.length / (height * width);
    const padded = new Float64Array(planes * (height + 2) * (width + 2));
    for (let at = 0; at < planes * height; at++) {
      const to = (Math.floor(at / height) * (height + 2) + (at % height) + 1) * (width + 2) + 1;
      padded.set(x.subarray(at * width, (at + 1) * width), to);
    }
    return padded;
  }
}

/** Adds a padded plane, filtered by nine weights, to a plane. */
function addFiltered(
  y: Values,
  to: number,
  x: Values,
  from: number,
  w: Values,
  taps: number,
  width: number,
  size: number,
): void {
  const [a, b, c] = [w[taps] as number, w[taps + 1] as number, w[taps + 2] as number];
  const [d, e, f] = [w[taps + 3] as number, w[taps + 4] as number, w[taps + 5] as number];
  const [g, h, k] = [w[taps + 6] as number, w[taps + 7] as number, w[taps + 8] as number];
  const line = width + 2;
  for (let i = 0, p = from, column = 0; i < size; i++, p++) {
    y[to + i] =
      (y[to + i] as number) +
      a * (x[p] as number) +
      b * (x[p + 1] as number) +
      c * (x[p + 2] as number) +
      d * (x[p + line] as number) +
      e * (x[p + line + 1] as number) +
      f * (x[p + line + 2] as number) +
      g * (x[p + 2 * line] as number) +
      h * (x[p + 2 * line + 1] as number) +
      k * (x[p + 2 * line + 2] as number);
    if (++column === width) {
      column = 0;
      p += 2;
    }
  }
}

/** Adds the gradients of nine weights. */
function addProducts(
  dw: Values,
  taps: number,
  dy: Values,
  at: number,
  x: Values,
  from: number,
  width: number,
  size: number,
): void {
  let [a, b, c, d, e, f, g, h, k] = [0, 0, 0, 0, 0, 0, 0, 0, 0];
  const line = width + 2;
  for (let i = 0, p = from, column = 0; i < size; i++, p++) {
    const slope = dy[at + i] as number;
    a += slope * (x[p] as number);
    b += slope * (x[p + 1] as number);
    c += slope * (x[p + 2] as number);
    d += slope * (x[p + line] as number);
    e += slope * (x[p + line + 1] as number);
    f += slope * (x[p + line + 2] as number);
    g += slope * (x[p + 2 * line] as number);
    h += slope * (x[p + 2 * line + 1] as number);
    k += slope * (x[p + 2 * line + 2] as number);
    if (++column === width) {
      column = 0;
      p += 2;
    }
  }
  [a, b, c, d, e, f, g, h, k].forEach((sum, tap) => {
    dw[taps + tap] = (dw[taps + tap] as number) + sum;
  });
}
