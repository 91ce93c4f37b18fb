/**
 * Batch normalization as its formulas stand: float64, one element at a time, any
 * shape and axis. Obviously right rather than fast; `numerics.test.ts` checks its
 * gradients by finite differences, `golden.test.ts` all of it against PyTorch and Keras.
 */

type Values = ArrayLike<number>;

/** Which channel each element of a row-major tensor belongs to. */
export interface Channels {
  readonly number: number;
  readonly of: Int32Array;
}

/** One mean and one biased variance a channel. */
export interface Statistics {
  readonly mean: Float64Array;
  readonly variance: Float64Array;
}

/** γ (1 where absent) and β (0 where absent), one a channel, and ε. */
export interface Parameters {
  readonly weight?: Values | null;
  readonly bias?: Values | null;
  readonly eps: number;
}

/** Of a loss whose gradient with respect to y is dy. */
export interface Gradients {
  readonly dx: Float64Array;
  readonly dweight: Float64Array;
  readonly dbias: Float64Array;
}

/** The channels of a shape along `axis`, negative from the end. */
export function channelsOf(shape: readonly number[], axis: number): Channels {
  const at = axis < 0 ? axis + shape.length : axis;
  const product = (sizes: readonly number[]) => sizes.reduce((a, b) => a * b, 1);
  const [number, inner] = [shape[at] as number, product(shape.slice(at + 1))];
  const of = Int32Array.from({ length: product(shape) }, (_, i) => Math.floor(i / inner) % number);
  return { number, of };
}

/** Mean and biased variance of each channel. */
export function statistics(x: Values, channels: Channels): Statistics {
  const mean = meanOf((i) => x[i] as number, channels);
  // The rounding of the mean itself counts where |mean| ≫ σ: one correction step.
  const rest = meanOf((i) => (x[i] as number) - at(mean, channels, i), channels);
  const exact = mean.map((value, c) => value + (rest[c] as number));
  const variance = meanOf(
    (i) => ((x[i] as number) - at(mean, channels, i) - at(rest, channels, i)) ** 2,
    channels,
  );
  return { mean: exact, variance };
}

/** 1/√(variance + ε); 0 instead of 1/0, because every x − mean is 0 there. */
export function inverseStd({ variance }: Statistics, eps: number): Float64Array {
  return variance.map((value) => (value + eps === 0 ? 0 : 1 / Math.sqrt(value + eps)));
}

/** x̂ = (x − mean)/√(variance + ε). */
export function normalized(
  x: Values,
  channels: Channels,
  statistics: Statistics,
  eps: number,
): Float64Array {
  const scale = inverseStd(statistics, eps);
  return Float64Array.from(
    { length: x.length },
    (_, i) => ((x[i] as number) - at(statistics.mean, channels, i)) * at(scale, channels, i),
  );
}

/** y = γ·x̂ + β, by the batch's statistics or running ones. */
export function forward(
  x: Values,
  channels: Channels,
  statistics: Statistics,
  { weight, bias, eps }: Parameters,
): Float64Array {
  return normalized(x, channels, statistics, eps).map(
    (xHat, i) => xHat * (weight ? at(weight, channels, i) : 1) + (bias ? at(bias, channels, i) : 0),
  );
}

/**
 * Gradients through the batch's own statistics. Since Σx̂ = 0, dγ = Σdy·x̂ is
 * Σ(dy − mean dy)·x̂: with dy itself the rounding of μ, times Σdy, would count.
 */
export function backward(
  x: Values,
  dy: Values,
  channels: Channels,
  { weight, eps }: Parameters,
): Gradients {
  const batch = statistics(x, channels);
  const scale = inverseStd(batch, eps);
  const xHat = normalized(x, channels, batch, eps);
  const meanDy = meanOf((i) => dy[i] as number, channels);
  const apart = Float64Array.from(dy, (dy, i) => dy - at(meanDy, channels, i));
  const product = (i: number) => (apart[i] as number) * (xHat[i] as number);
  const meanProduct = meanOf(product, channels);
  const dx = xHat.map(
    (xHat, i) =>
      (weight ? at(weight, channels, i) : 1) *
      at(scale, channels, i) *
      ((apart[i] as number) - xHat * at(meanProduct, channels, i)),
  );
  return { dx, ...parameterGradients(product, dy, channels) };
}

/** Gradients through statistics that are constants. */
export function backwardFrozen(
  x: Values,
  dy: Values,
  channels: Channels,
  statistics: Statistics,
  { weight, eps }: Parameters,
): Gradients {
  const scale = inverseStd(statistics, eps);
  const xHat = normalized(x, channels, statistics, eps);
  const product = (i: number) => (dy[i] as number) * (xHat[i] as number);
  const dx = xHat.map(
    (_, i) => (dy[i] as number) * (weight ? at(weight, channels, i) : 1) * at(scale, channels, i),
  );
  return { dx, ...parameterGradients(product, dy, channels) };
}

/**
 * Running statistics after a batch of `count` values a channel: `share` is the weight
 * of the new ones.
 */
export function moved(
  running: Statistics,
  batch: Statistics,
  count: number,
  share: number,
  kind: "biased" | "unbiased",
): Statistics {
  const correction = kind === "unbiased" ? count / (count - 1) : 1;
  return {
    mean: running.mean.map((old, c) => (1 - share) * old + share * (batch.mean[c] as number)),
    variance: running.variance.map(
      (old, c) => (1 - share) * old + share * correction * (batch.variance[c] as number),
    ),
  };
}

/** Σ value(i) of each channel's elements, with the rounding of every addition carried
 * along (Neumaier, 1974): a plain sum of many 10⁷ would be no better than the kernel. */
export function sumOf(value: (i: number) => number, { number, of }: Channels): Float64Array {
  const [sum, lost] = [new Float64Array(number), new Float64Array(number)];
  for (let i = 0; i < of.length; i++) {
    const c = of[i] as number;
    const [old, add] = [sum[c] as number, value(i)];
    const next = old + add;
    if (Number.isFinite(next)) {
      const rest = Math.abs(old) >= Math.abs(add) ? old - next + add : add - next + old;
      lost[c] = (lost[c] as number) + rest;
    }
    sum[c] = next;
  }
  return sum.map((value, c) => value + (lost[c] as number));
}

/** Mean of value(i) over each channel's elements. */
export function meanOf(value: (i: number) => number, channels: Channels): Float64Array {
  const count = channels.of.length / channels.number;
  return sumOf(value, channels).map((sum) => sum / count);
}

function parameterGradients(product: (i: number) => number, dy: Values, channels: Channels) {
  return {
    dweight: sumOf(product, channels),
    dbias: sumOf((i) => dy[i] as number, channels),
  };
}

/** The value of element i's channel. */
function at(vector: Values, channels: Channels, i: number): number {
  return vector[channels.of[i] as number] as number;
}
