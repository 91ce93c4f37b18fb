/**
 * Trains a digit classifier twice, with and without batch normalization, on 8×8
 * images: Linear → BatchNorm1d → ReLU → Linear → softmax, by plain SGD.
 *
 *     npm start
 *
 * The linear layers are this file's own, in plain TypeScript; batch norm is the
 * package's, over memory that both share.
 */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { BatchNorm1d, scope, Tensor } from "batchnorm-wasm";
import { timeStep } from "./step-time.js";

const PIXELS = 64;
const HIDDEN = 64;
const DIGITS = 10;
const BATCH = 32;
const EPOCHS = 15;
// Too high for the plain network on raw pixels (0 to 16); at 0.05 both learn.
const LEARNING_RATE = 0.1;

interface Images {
  pixels: Float32Array;
  labels: Uint8Array;
}

/** A network of one hidden layer; `bn` is what this is about. */
class Network {
  bn: BatchNorm1d | null;
  private readonly hidden: Linear;
  private readonly output: Linear;

  constructor(random: () => number, normalized: boolean) {
    this.hidden = new Linear(PIXELS, HIDDEN, random);
    this.output = new Linear(HIDDEN, DIGITS, random);
    this.bn = normalized ? new BatchNorm1d(HIDDEN) : null;
  }

  /** One step of SGD; returns the mean loss of the batch. */
  step(pixels: Float32Array, labels: Uint8Array): number {
    return scope(() => {
      const rows = labels.length;
      const z = Tensor.from(this.hidden.forward(pixels, rows), [rows, HIDDEN]);
      const normalized = this.bn?.train().forward(z) ?? z;
      const active = normalized.data.map((value) => Math.max(value, 0));
      const { loss, gradient } = crossEntropy(this.output.forward(active, rows), labels);

      // Backward: each layer turns the gradient of its output into that of its input.
      const dActive = this.output.backward(active, gradient, rows);
      const dNormalized = dActive.map((value, i) => ((active[i] as number) > 0 ? value : 0));
      let dz: Float32Array = dNormalized;
      if (this.bn) {
        dz = this.bn.backward(Tensor.from(dNormalized, [rows, HIDDEN])).data;
        for (const parameter of [this.bn.weight, this.bn.bias]) {
          if (!parameter?.grad) continue;
          const values = parameter.toFloat32Array();
          descend(values, parameter.grad.data);
          parameter.set(values);
        }
        this.bn.zeroGrad();
      }
      this.hidden.backward(pixels, dz, rows);
      return loss;
    });
  }

  /** The digit that each image shows, by running statistics. */
  predict(pixels: Float32Array): Uint8Array {
    const rows = pixels.length / PIXELS;
    const z = this.hidden.forward(pixels, rows);
    // A plain array in, the same kind out; `out: tensor` would spare the copies.
    const normalized = this.bn?.eval().forward({ data: z, shape: [rows, HIDDEN] }).data ?? z;
    const active = normalized.map((value) => Math.max(value, 0));
    const scores = this.output.forward(active, rows);
    return Uint8Array.from({ length: rows }, (_, row) => {
      const own = scores.subarray(row * DIGITS, (row + 1) * DIGITS);
      return own.indexOf(Math.max(...own));
    });
  }

  accuracy({ pixels, labels }: Images): number {
    const right = this.predict(pixels).filter((digit, i) => digit === labels[i]);
    return right.length / labels.length;
  }
}

/** y = x·w + b, with its own step of SGD in `backward`. */
class Linear {
  private readonly w: Float32Array;
  private readonly b: Float32Array;

  constructor(
    private readonly inputs: number,
    private readonly outputs: number,
    random: () => number,
  ) {
    const bound = 1 / Math.sqrt(inputs);
    this.w = Float32Array.from({ length: inputs * outputs }, () => (2 * random() - 1) * bound);
    this.b = new Float32Array(outputs);
  }

  forward(x: Float32Array, rows: number): Float32Array {
    const { inputs, outputs, w, b } = this;
    const y = new Float32Array(rows * outputs);
    for (let row = 0; row < rows; row++) {
      const out = y.subarray(row * outputs, (row + 1) * outputs);
      out.set(b);
      for (let i = 0; i < inputs; i++) {
        const value = x[row * inputs + i] as number;
        for (let o = 0; o < outputs; o++) {
          out[o] = (out[o] as number) + value * (w[i * outputs + o] as number);
        }
      }
    }
    return y;
  }

  backward(x: Float32Array, dy: Float32Array, rows: number): Float32Array {
    const { inputs, outputs, w, b } = this;
    const dx = new Float32Array(rows * inputs);
    const dw = new Float32Array(w.length);
    const db = new Float32Array(outputs);
    for (let row = 0; row < rows; row++) {
      for (let o = 0; o < outputs; o++) {
        const gradient = dy[row * outputs + o] as number;
        db[o] = (db[o] as number) + gradient;
        for (let i = 0; i < inputs; i++) {
          const at = i * outputs + o;
          dw[at] = (dw[at] as number) + (x[row * inputs + i] as number) * gradient;
          dx[row * inputs + i] = (dx[row * inputs + i] as number) + (w[at] as number) * gradient;
        }
      }
    }
    descend(w, dw);
    descend(b, db);
    return dx;
  }
}

function descend(values: Float32Array, gradient: Float32Array): void {
  for (let i = 0; i < values.length; i++) {
    values[i] = (values[i] as number) - LEARNING_RATE * (gradient[i] as number);
  }
}

/** Mean softmax cross-entropy, and its gradient with respect to the scores. */
function crossEntropy(scores: Float32Array, labels: Uint8Array) {
  const gradient = new Float32Array(scores.length);
  let loss = 0;
  labels.forEach((label, row) => {
    const own = scores.subarray(row * DIGITS, (row + 1) * DIGITS);
    const highest = Math.max(...own);
    const exponentials = Array.from(own, (score) => Math.exp(score - highest));
    const sum = exponentials.reduce((total, one) => total + one, 0);
    exponentials.forEach((one, digit) => {
      const probability = one / sum;
      gradient[row * DIGITS + digit] = (probability - (digit === label ? 1 : 0)) / labels.length;
      if (digit === label) loss -= Math.log(probability) / labels.length;
    });
  });
  return { loss, gradient };
}

function load(): { train: Images; test: Images } {
  const csv = gunzipSync(readFileSync(new URL("./data/digits.csv.gz", import.meta.url))).toString();
  const lines = csv
    .trim()
    .split("\n")
    .map((line) => line.split(",").map(Number));
  const images = (some: number[][]): Images => ({
    pixels: Float32Array.from(some.flatMap((line) => line.slice(0, PIXELS))),
    labels: Uint8Array.from(some.map((line) => line[PIXELS] as number)),
  });
  // The file is ordered by writer: the last quarter is by people who are not in the first.
  const split = Math.round(lines.length * 0.75);
  return { train: images(lines.slice(0, split)), test: images(lines.slice(split)) };
}

/** mulberry32: the same numbers on every run. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function trainBoth({ train, test }: { train: Images; test: Images }): Network {
  const networks = [true, false].map((normalized) => new Network(randomFrom(1), normalized));
  const [withNorm, without] = networks as [Network, Network];
  const random = randomFrom(2);
  console.log(`${train.labels.length} images to learn from, ${test.labels.length} to test on\n`);
  console.log("          with batch norm      without");
  console.log("epoch     loss    accuracy     loss    accuracy");
  const order = Array.from(train.labels, (_, i) => i);
  for (let epoch = 1; epoch <= EPOCHS; epoch++) {
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [order[i], order[j]] = [order[j] as number, order[i] as number];
    }
    const losses = [0, 0];
    const steps = Math.floor(order.length / BATCH);
    for (let step = 0; step < steps; step++) {
      const chosen = order.slice(step * BATCH, (step + 1) * BATCH);
      const pixels = new Float32Array(BATCH * PIXELS);
      chosen.forEach((image, row) => {
        pixels.set(train.pixels.subarray(image * PIXELS, (image + 1) * PIXELS), row * PIXELS);
      });
      const labels = Uint8Array.from(chosen, (image) => train.labels[image] as number);
      networks.forEach((network, i) => {
        losses[i] = (losses[i] as number) + network.step(pixels, labels) / steps;
      });
    }
    const cells = networks.map((network, i) => {
      const accuracy = (100 * network.accuracy(test)).toFixed(1);
      return `${(losses[i] as number).toFixed(4).padStart(8)} ${accuracy.padStart(9)} %`;
    });
    console.log(`${`${epoch}`.padStart(5)} ${cells.join("  ")}`);
  }
  const [a, b] = [withNorm, without].map((network) => (100 * network.accuracy(test)).toFixed(1));
  console.log(`\ntest accuracy: ${a} % with batch norm, ${b} % without`);
  return withNorm;
}

function saveAndLoad(network: Network, test: Images): void {
  const before = network.predict(test.pixels);
  const json = JSON.stringify(network.bn?.stateDict());
  network.bn = new BatchNorm1d(HIDDEN);
  network.bn.loadStateDict(JSON.parse(json));
  const after = network.predict(test.pixels);
  if (!before.every((digit, i) => digit === after[i])) {
    throw new Error("the loaded state dict gives other predictions");
  }
  console.log(`state dict: saved as ${json.length} bytes of JSON, loaded: equal predictions`);
}

const images = load();
const trained = trainBoth(images);
saveAndLoad(trained, images.test);
timeStep();
