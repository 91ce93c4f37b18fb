/**
 * Batch norm by the formula of many textbooks, in float32, to see what the package's is spared:
 *
 *     σ² = Σx²/n − (Σx/n)²     where that is below 0 it is taken as 0
 *
 * Both terms are about the squared mean; where that is large, rounding is all that is left of their difference.
 */
import { kept, type NormLayer, type Parameter, type Pass, type Values } from "./layer.js";
import type { Settings } from "./settings.js";

const f32 = Math.fround;

export class NaiveNorm implements NormLayer {
  readonly parameters: readonly Parameter[];
  readonly batch = null;
  /** The formula knows of no masks. */
  readonly masked = false;
  ms = 0;
  private readonly gamma: Parameter;
  private readonly beta: Parameter;
  private readonly runningMean: Values;
  private readonly runningVar: Values;
  private batches = 0;
  private saved: { x: Values; mean: Values; scale: Values; constant: boolean } | null = null;

  /** @param shape of a row: `[channels]` or `[channels, height, width]` */
  constructor(
    name: string,
    private readonly shape: readonly number[],
    private readonly settings: Settings,
  ) {
    const channels = shape[0] as number;
    const parameter = (role: "gamma" | "beta", value: number): Parameter => ({
      ...{ name: `${name}.${role}`, role },
      ...{ values: new Float64Array(channels).fill(value), grad: new Float64Array(channels) },
    });
    this.gamma = parameter("gamma", 1);
    this.beta = parameter("beta", 0);
    this.parameters = [
      ...(settings.gamma ? [this.gamma] : []),
      ...(settings.beta ? [this.beta] : []),
    ];
    this.runningMean = new Float64Array(channels);
    this.runningVar = new Float64Array(channels).fill(1);
  }

  forward(x: Values, _rows: number, { training, learning }: Pass): Values {
    const start = performance.now();
    const constant = !training || this.settings.frozen;
    const [mean, variance] = constant
      ? [this.runningMean.slice(), this.runningVar.slice()]
      : this.#statistics(x);
    if (learning && !constant) this.#move(mean, variance, x.length / mean.length);
    const scale = variance.map((value) => f32(1 / Math.sqrt(value + this.settings.eps)));
    this.saved = { x, mean, scale, constant };
    const [gamma, beta] = [this.gamma.values, this.beta.values];
    const y = x.map((value, i) => {
      const c = this.#channel(i);
      const normalized = f32(f32(f32(value) - (mean[c] as number)) * (scale[c] as number));
      return f32(f32(normalized * f32(gamma[c] as number)) + f32(beta[c] as number));
    });
    this.ms += performance.now() - start;
    return y;
  }

  backward(dy: Values): Values {
    const start = performance.now();
    const { x, mean, scale, constant } = kept(this.saved);
    const [dGamma, dBeta] = [this.gamma.grad.fill(0), this.beta.grad.fill(0)];
    const normalized = x.map((value, i) => {
      const c = this.#channel(i);
      return (value - (mean[c] as number)) * (scale[c] as number);
    });
    dy.forEach((d, i) => {
      const c = this.#channel(i);
      dGamma[c] = (dGamma[c] as number) + d * (normalized[i] as number);
      dBeta[c] = (dBeta[c] as number) + d;
    });
    const count = x.length / mean.length;
    const dx = dy.map((d, i) => {
      const c = this.#channel(i);
      const through = constant
        ? d
        : d - ((dBeta[c] as number) + (normalized[i] as number) * (dGamma[c] as number)) / count;
      return (this.gamma.values[c] as number) * (scale[c] as number) * through;
    });
    this.ms += performance.now() - start;
    return dx;
  }

  health(): null {
    return null;
  }

  stateDict(prefix: string): Record<string, number[]> {
    const { gamma, beta } = this.settings;
    return {
      ...(gamma && { [`${prefix}weight`]: Array.from(this.gamma.values) }),
      ...(beta && { [`${prefix}bias`]: Array.from(this.beta.values) }),
      [`${prefix}running_mean`]: Array.from(this.runningMean),
      [`${prefix}running_var`]: Array.from(this.runningVar),
      [`${prefix}num_batches_tracked`]: [this.batches],
    };
  }

  dispose(): void {}

  /** The formula, each step rounded to float32. */
  #statistics(x: Values): [mean: Values, variance: Values] {
    const channels = this.gamma.values.length;
    const count = x.length / channels;
    const [sums, squares] = [new Float64Array(channels), new Float64Array(channels)];
    x.forEach((value, i) => {
      const c = this.#channel(i);
      const rounded = f32(value);
      sums[c] = f32((sums[c] as number) + rounded);
      squares[c] = f32((squares[c] as number) + f32(rounded * rounded));
    });
    const mean = sums.map((sum) => f32(sum / count));
    const variance = squares.map((sum, c) => {
      const square = f32((mean[c] as number) * (mean[c] as number));
      // Not Math.max: what is no number stays one.
      const difference = f32(f32(sum / count) - square);
      return difference < 0 ? 0 : difference;
    });
    return [mean, variance];
  }

  #move(mean: Values, variance: Values, count: number): void {
    this.batches++;
    const weight = this.settings.normMomentum || 1 / this.batches;
    mean.forEach((value, c) => {
      const old = this.runningMean[c] as number;
      this.runningMean[c] = old + weight * (value - old);
      const before = this.runningVar[c] as number;
      const unbiased = ((variance[c] as number) * count) / (count - 1);
      this.runningVar[c] = before + weight * (unbiased - before);
    });
  }

  #channel(i: number): number {
    const [channels = 1, ...inner] = this.shape;
    const area = inner.reduce((product, size) => product * size, 1);
    return Math.floor(i / area) % channels;
  }
}
