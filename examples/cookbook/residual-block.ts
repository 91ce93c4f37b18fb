/**
 * A residual block (He et al. 2015, arXiv:1512.03385), trained:
 *
 *     y = relu(bn2(conv2(relu(bn1(conv1(x))))) + x)
 *
 * Activations and the addition are a part of the norms: forward they read and write nothing of their
 * own, and backward they need no mask, but the sign of what they gave. (The convolutions are 1×1,
 * over [N, C], so that a few lines do.)
 *
 *     npx tsx examples/cookbook/residual-block.ts
 */
import assert from "node:assert/strict";
import { BatchNorm, scope, Tensor } from "batchnorm-wasm";

const [BATCH, CHANNELS, STEPS, RATE] = [64, 8, 300, 0.1];
let seed = 1;

const bn1 = new BatchNorm(CHANNELS, { activation: "relu" });
const bn2 = new BatchNorm(CHANNELS, { activation: "relu" });
const [conv1, conv2] = [matrix(), matrix()];

/** One step of stochastic gradient descent towards targets; the loss before it. */
function step(x: Tensor, target: Tensor): number {
  const h1 = times(x, conv1);
  const a = bn1.forward(h1);
  const h2 = times(a, conv2);
  const y = bn2.forward(h2, { residual: x });

  const dy = minus(y, target);
  // dy, where y lets it through, is the gradient of x on the short way as well: written over dy.
  const dh2 = bn2.backward(dy, { residualGrad: dy });
  const dh1 = bn1.backward(times(dh2, conv2, true));
  descend(conv2, gradient(a, dh2));
  descend(conv1, gradient(x, dh1));
  for (const { weight, bias } of [bn1, bn2]) {
    for (const parameter of [weight, bias]) {
      if (parameter?.grad) descend(parameter.data, parameter.grad.data);
    }
  }
  bn1.zeroGrad();
  bn2.zeroGrad();
  const errors = minus(y, target).data;
  return errors.reduce((sum, error) => sum + error ** 2, 0) / errors.length;
}

const teacher = matrix();
const losses = Array.from({ length: STEPS }, () =>
  scope(() => {
    const x = Tensor.from(normals(BATCH * CHANNELS), [BATCH, CHANNELS]);
    const more = times(x, teacher).data;
    const target = x.data.map((value, i) => Math.max(value + Math.max(more[i] as number, 0), 0));
    return step(x, Tensor.from(target, x.shape));
  }),
);
const [first, last] = [losses.slice(0, 20), losses.slice(-20)].map(
  (some) => some.reduce((a, b) => a + b) / some.length,
) as [number, number];
console.log(`loss ${first.toFixed(3)} at first, ${last.toFixed(3)} after ${STEPS} steps`);
assert.ok(last < first / 4);

/** x·w, or x·wᵀ. */
function times(x: Tensor, w: Float32Array, transposed = false): Tensor {
  const { data } = x;
  const at = (i: number, o: number) => (transposed ? o * CHANNELS + i : i * CHANNELS + o);
  const y = Float32Array.from({ length: data.length }, (_, k) => {
    const [row, o] = [k - (k % CHANNELS), k % CHANNELS];
    let sum = 0;
    for (let i = 0; i < CHANNELS; i++) sum += (data[row + i] as number) * (w[at(i, o)] as number);
    return sum;
  });
  return Tensor.from(y, x.shape);
}

/** xᵀ·dy over the batch. */
function gradient(x: Tensor, dy: Tensor): Float32Array {
  const [a, b] = [x.data, dy.data];
  return Float32Array.from({ length: CHANNELS ** 2 }, (_, k) => {
    const [i, o] = [Math.floor(k / CHANNELS), k % CHANNELS];
    let sum = 0;
    for (let row = 0; row < a.length; row += CHANNELS) {
      sum += (a[row + i] as number) * (b[row + o] as number);
    }
    return sum;
  });
}

function descend(parameter: Float32Array, gradient: Float32Array): void {
  for (let i = 0; i < parameter.length; i++) {
    parameter[i] = (parameter[i] as number) - (RATE / BATCH) * (gradient[i] as number);
  }
}

function minus(a: Tensor, b: Tensor): Tensor {
  const other = b.data;
  return Tensor.from(
    a.data.map((value, i) => value - (other[i] as number)),
    a.shape,
  );
}

function matrix(): Float32Array {
  return normals(CHANNELS ** 2).map((value) => value / Math.sqrt(CHANNELS));
}

/** Numbers that are distributed normally, of a sequence that is always the same. */
function normals(length: number): Float32Array {
  const uniform = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return (seed + 1) / 2 ** 32;
  };
  return Float32Array.from(
    { length },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}
