/**
 * Trains one layer by gradient descent until it maps readings of four sensors to their
 * true scales, saves it as JSON, and infers with a copy that was loaded from it.
 *
 *     npm i && npm start
 */
import { BatchNorm, scope, Tensor } from "batchnorm-wasm";

const [ROWS, STEPS, LEARNING_RATE] = [256, 200, 0.1];
/** Each sensor's true values have this spread and this centre. */
const SPREAD = [1, 2, 3, 4];
const CENTRE = [0, -1, 5, 10];
const shape = [ROWS, SPREAD.length];

const bn = new BatchNorm(SPREAD.length);
const readings = Tensor.zeros(shape);
const error = Tensor.zeros(shape);

for (let step = 0; step < STEPS; step++) {
  const noise = Float32Array.from(readings.data, gaussian);
  readings.set(noise.map((value) => 100 + 7 * value));
  scope(() => {
    const y = bn.train().forward(readings).data;
    // The loss is ½·mean((y − truth)²) of each sensor.
    error.set(y.map((value, i) => (value - truth(noise[i], i % SPREAD.length)) / ROWS));
    bn.zeroGrad();
    bn.backward(error, { out: error });
  });
  for (const parameter of [bn.weight, bn.bias]) {
    const slopes = parameter.grad.data;
    parameter.set(parameter.data.map((value, channel) => value - LEARNING_RATE * slopes[channel]));
  }
}
console.log("weight", bn.weight, "is near", SPREAD);
console.log("bias  ", bn.bias, "is near", CENTRE);

const saved = JSON.stringify(bn.stateDict());
const copy = new BatchNorm(null).eval();
copy.loadStateDict(JSON.parse(saved));
const expected = bn.eval().forward(readings).data;
const same = copy.forward(readings).data.every((value, i) => value === expected[i]);
console.log(same ? "the copy infers the same values" : "the copy differs");
process.exitCode = same ? 0 : 1;

function truth(standardized, channel) {
  return SPREAD[channel] * standardized + CENTRE[channel];
}

/** Box and Muller's transform. */
function gaussian() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
