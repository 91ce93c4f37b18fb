/**
 * A training loop: a hidden layer with batch norm, ReLU and dropout learns which of two rings a point
 * is on. Weight decay is of the weights alone: γ and β are `bn.parameters()`, and take none. Every
 * step's tensors go with its `scope`. (Matrix products are plain loops here.)
 *
 *     npx tsx examples/cookbook/training-loop.ts
 */
import assert from "node:assert/strict";
import {
  BatchNorm,
  dropout,
  dropoutBackward,
  l2Penalty,
  memoryUsage,
  scope,
  Tensor,
} from "batchnorm-wasm";

const [SAMPLES, HIDDEN, STEPS, RATE, DECAY, DROP] = [256, 32, 300, 0.5, 1e-4, 0.1];

const angle = (i: number) => i * 2.4;
const radius = (i: number) => (i % 2 ? 2 : 1) + 0.2 * Math.sin(i * i);
const points = Float32Array.from({ length: 2 * SAMPLES }, (_, at) => {
  const i = at >> 1;
  return radius(i) * (at % 2 ? Math.sin(angle(i)) : Math.cos(angle(i)));
});

const wave = (length: number, size: number) =>
  Float32Array.from({ length }, (_, i) => size * Math.sin(i * i + 1));
const first = Tensor.from(wave(2 * HIDDEN, 0.7), [2, HIDDEN]);
const last = Tensor.from(wave(HIDDEN, 0.2), [HIDDEN]);
const grads = [Tensor.zeros([2, HIDDEN]), Tensor.zeros([HIDDEN])] as const;
const bn = new BatchNorm(HIDDEN, { activation: "relu" });

/** [N, 2] by [2, HIDDEN]. */
function hidden(): Tensor {
  const w = first.data;
  const out = new Float32Array(SAMPLES * HIDDEN);
  out.forEach((_, at) => {
    const [n, h] = [Math.floor(at / HIDDEN), at % HIDDEN];
    const [p, q] = [points[2 * n] as number, points[2 * n + 1] as number];
    out[at] = p * (w[h] as number) + q * (w[HIDDEN + h] as number);
  });
  return Tensor.from(out, [SAMPLES, HIDDEN]);
}

/** Of each sample the logit of the outer ring. */
function logits(h: Tensor): Float32Array {
  const [values, w] = [h.data, last.data];
  return Float32Array.from({ length: SAMPLES }, (_, n) => {
    let sum = 0;
    for (let i = 0; i < HIDDEN; i++) sum += (values[n * HIDDEN + i] as number) * (w[i] as number);
    return sum - 1;
  });
}

/** One step of SGD; the loss with its penalties. */
function step(seed: number): number {
  for (const grad of grads) grad.data.fill(0);
  bn.zeroGrad();
  const y = bn.train().forward(hidden());
  const kept = dropout(y, { rate: DROP, seed });
  const out = logits(kept);

  let loss = 0;
  const dOut = out.map((logit, n) => {
    const p = 1 / (1 + Math.exp(-logit));
    loss -= Math.log(n % 2 ? p : 1 - p) / SAMPLES;
    return (p - (n % 2)) / SAMPLES;
  });
  const [dFirst, dLast] = [grads[0].data, grads[1].data];
  const [values, w] = [kept.data, last.data];
  const dKept = new Float32Array(SAMPLES * HIDDEN);
  dKept.forEach((_, at) => {
    const [n, h] = [Math.floor(at / HIDDEN), at % HIDDEN];
    dKept[at] = (dOut[n] as number) * (w[h] as number);
    dLast[h] = (dLast[h] as number) + (dOut[n] as number) * (values[at] as number);
  });
  const dy = dropoutBackward(Tensor.from(dKept, y.shape), { rate: DROP, seed });
  const dHidden = bn.backward(dy).data;
  dHidden.forEach((d, at) => {
    const [n, h] = [Math.floor(at / HIDDEN), at % HIDDEN];
    dFirst[h] = (dFirst[h] as number) + d * (points[2 * n] as number);
    dFirst[HIDDEN + h] = (dFirst[HIDDEN + h] as number) + d * (points[2 * n + 1] as number);
  });

  loss += l2Penalty(first, { strength: DECAY, grad: grads[0] });
  loss += l2Penalty(last, { strength: DECAY, grad: grads[1] });
  update(first, grads[0]);
  update(last, grads[1]);
  for (const parameter of bn.parameters()) update(parameter, parameter.grad as Tensor);
  return loss;
}

function update(parameter: Tensor, grad: Tensor): void {
  const [values, slope] = [parameter.data, grad.data];
  values.forEach((value, i) => {
    values[i] = value - RATE * (slope[i] as number);
  });
}

let live = 0;
for (let i = 0; i < STEPS; i++) {
  const loss = scope(() => step(i));
  if (i === 0) live = memoryUsage().liveBytes;
  if (i % 100 === 0 || i === STEPS - 1) console.log(`step ${i}: loss ${loss.toFixed(3)}`);
}
assert.equal(memoryUsage().liveBytes, live);

const right = scope(() =>
  logits(bn.eval().forward(hidden())).filter((logit, n) => logit > 0 === (n % 2 === 1)),
).length;
console.log(`${right} of ${SAMPLES} points on the right ring, in evaluation`);
assert.ok(right > 0.95 * SAMPLES);
