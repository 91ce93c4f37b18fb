/** Twenty steps of stochastic gradient descent of whole models: as plain tfjs does them, or float64. */
import { install, normalizationMemory, releaseMemory } from "batchnorm-wasm/tfjs/install";
import { afterEach, describe, expect, test } from "vitest";
import * as reference from "../reference/batch.mjs";
import { BACKENDS, distance, expectNear, numbers, sizeOf, tf } from "./tfjs.js";

const STEPS = 20;
let uninstall: (() => void) | undefined;
afterEach(() => uninstall?.());

type Make = () => tf.LayersModel;
const seeded = (seed: number) => tf.initializers.glorotUniform({ seed });

const mlp: Make = () => {
  const model = tf.sequential();
  [16, 12].forEach((units, i) => {
    model.add(
      tf.layers.dense({
        ...{ units, useBias: false, kernelInitializer: seeded(i) },
        ...(i === 0 && { inputShape: [10] }),
      }),
    );
    model.add(tf.layers.batchNormalization({ momentum: 0.9 }));
    model.add(tf.layers.activation({ activation: "relu" }));
  });
  model.add(tf.layers.dense({ units: 3, kernelInitializer: seeded(9) }));
  return model;
};

const convNet: Make = () => {
  const model = tf.sequential();
  [4, 8].forEach((filters, i) => {
    model.add(
      tf.layers.conv2d({
        ...{ filters, kernelSize: 3, useBias: false, kernelInitializer: seeded(i) },
        ...(i === 0 && { inputShape: [8, 8, 2] }),
      }),
    );
    model.add(tf.layers.batchNormalization({}));
    model.add(tf.layers.activation({ activation: "relu" }));
  });
  model.add(tf.layers.globalAveragePooling2d({ dataFormat: "channelsLast" }));
  model.add(tf.layers.dense({ units: 3, kernelInitializer: seeded(9) }));
  return model;
};

/** Depthwise-separable blocks, with a shortcut, as MobileNet has them. */
const mobileNet: Make = () => {
  const input = tf.input({ shape: [8, 8, 3] });
  let seed = 0;
  const norm = (x: tf.SymbolicTensor) =>
    tf.layers
      .reLU({ maxValue: 6 })
      .apply(tf.layers.batchNormalization({ axis: 3 }).apply(x)) as tf.SymbolicTensor;
  const pointwise = (x: tf.SymbolicTensor, filters: number) =>
    norm(
      tf.layers
        .conv2d({ filters, kernelSize: 1, useBias: false, kernelInitializer: seeded(seed++) })
        .apply(x) as tf.SymbolicTensor,
    );
  const depthwise = (x: tf.SymbolicTensor, strides: number) =>
    norm(
      tf.layers
        .depthwiseConv2d({
          ...{ kernelSize: 3, strides, padding: "same", useBias: false },
          depthwiseInitializer: seeded(seed++),
        })
        .apply(x) as tf.SymbolicTensor,
    );
  let x = pointwise(input, 8);
  x = pointwise(depthwise(x, 2), 8);
  x = tf.layers.add().apply([x, pointwise(depthwise(x, 1), 8)]) as tf.SymbolicTensor;
  const pooled = tf.layers.globalAveragePooling2d({ dataFormat: "channelsLast" }).apply(x);
  const output = tf.layers
    .dense({ units: 3, kernelInitializer: seeded(9) })
    .apply(pooled) as tf.SymbolicTensor;
  return tf.model({ inputs: input, outputs: output });
};

/** Through what it is saved as. */
async function reloaded(model: tf.LayersModel): Promise<tf.LayersModel> {
  let saved: tf.io.ModelArtifacts | undefined;
  await model.save(
    tf.io.withSaveHandler(async (artifacts) => {
      saved = artifacts;
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: "JSON" } };
    }),
  );
  return tf.loadLayersModel(tf.io.fromMemory(saved as tf.io.ModelArtifacts));
}

/** Losses, predictions and weights, with names, after all steps. */
async function trained(model: tf.LayersModel) {
  model.compile({ optimizer: tf.train.sgd(0.05), loss: "meanSquaredError" });
  const [, ...sizes] = (model.inputs[0] as tf.SymbolicTensor).shape as number[];
  const shape = [8, ...sizes];
  const x = tf.tensor(numbers(sizeOf(shape), 1), shape);
  const y = tf.tensor(numbers(24, 2), [8, 3]);
  const losses: number[] = [];
  for (let i = 0; i < STEPS; i++) losses.push((await model.trainOnBatch(x, y)) as number);
  const predicted = (model.predict(x) as tf.Tensor).dataSync();
  const weights = model.weights.map((weight) => weight.read().dataSync());
  return { losses, predicted, weights };
}

/** Rounding of float32 in plain tfjs, grown over twenty steps: 1e-6 and less was seen. */
const BOUND = 5e-6;

const MODELS: [name: string, backend: (typeof BACKENDS)[number], make: Make][] = [
  ["a perceptron", "wasm", mlp],
  ["a perceptron", "cpu", mlp],
  // tfjs's wasm backend has no gradients of convolutions.
  ["a conv net", "cpu", convNet],
  ["a MobileNet-like model", "cpu", mobileNet],
];

test.each(MODELS)("%s trains on %s as in plain tfjs, made or loaded", async (_, backend, make) => {
  await tf.setBackend(backend);
  const plain = await trained(make());
  expect(plain.losses[STEPS - 1]).toBeLessThan((plain.losses[0] as number) / 1.5);
  // Made before, as it comes from a file.
  const loaded = await reloaded(make());
  uninstall = install(tf);
  for (const model of [loaded, make()]) {
    const ours = await trained(model);
    expect(distance(ours.losses, plain.losses)).toBeLessThan(BOUND);
    expect(distance(ours.predicted, plain.predicted)).toBeLessThan(BOUND);
    ours.weights.forEach((values, i) => {
      expect(distance(values, plain.weights[i] as Float32Array)).toBeLessThan(BOUND);
    });
  }
});

test("what was trained with us is a plain model: it predicts the same without, of the same weights", async () => {
  await tf.setBackend("cpu");
  uninstall = install(tf);
  const model = mobileNet();
  const ours = await trained(model);
  const names = (one: tf.LayersModel) =>
    one.layers.map((layer) => [layer.getClassName(), layer.weights.length]);
  uninstall();
  const loaded = await reloaded(model);
  expect(names(loaded)).toEqual(names(model));
  const x = tf.tensor(numbers(8 * 192, 1), [8, 8, 8, 3]);
  expect(distance((loaded.predict(x) as tf.Tensor).dataSync(), ours.predicted)).toBeLessThan(BOUND);
});

describe.each(BACKENDS)("channels along the first axis, on %s", (backend) => {
  test("a model trains as float64 does, which plain tfjs can't at all", async () => {
    await tf.setBackend(backend);
    const shape = [6, 3, 5];
    const model = () => {
      const model = tf.sequential();
      model.add(tf.layers.batchNormalization({ axis: 1, inputShape: [3, 5], momentum: 0.9 }));
      model.add(tf.layers.flatten());
      model.add(tf.layers.dense({ units: 1, kernelInitializer: seeded(1) }));
      model.compile({ optimizer: tf.train.sgd(0.05), loss: "meanSquaredError" });
      return model;
    };
    const [values, target] = [numbers(90, 1, 2, 3), numbers(6, 2)];
    const [x, y] = [tf.tensor(values, shape), tf.tensor(target, [6, 1])];
    await expect(model().trainOnBatch(x, y)).rejects.toThrow();
    uninstall = install(tf);
    const ours = model();
    const kernel = Float64Array.from(ours.layers[2]?.getWeights()[0]?.dataSync() as Float32Array);

    // The same in float64: y = W·BN(x) + b, and the mean of squares.
    const channels = reference.channelsOf(shape, 1);
    const batch = reference.statistics(values, channels);
    const weight = new Float64Array(3).fill(1);
    const bias = new Float64Array(3);
    let running: reference.Statistics = {
      mean: new Float64Array(3),
      variance: new Float64Array(3).fill(1),
    };
    let [b, loss] = [0, 0];
    const step = (to: Float64Array, gradient: ArrayLike<number>) => {
      for (let i = 0; i < to.length; i++)
        to[i] = (to[i] as number) - 0.05 * (gradient[i] as number);
    };
    for (let i = 0; i < STEPS; i++) {
      const h = reference.forward(values, channels, batch, { weight, bias, eps: 1e-3 });
      const errors = Float64Array.from(target, (t, n) =>
        kernel.reduce((sum, w, k) => sum + w * (h[15 * n + k] as number), b - t),
      );
      loss = errors.reduce((sum, e) => sum + e * e, 0) / 6;
      const dh = h.map(
        (_, k) => (2 / 6) * (errors[Math.floor(k / 15)] as number) * (kernel[k % 15] as number),
      );
      const { dweight, dbias } = reference.backward(values, dh, channels, { weight, eps: 1e-3 });
      const dkernel = kernel.map((_, k) =>
        errors.reduce((sum, e, n) => sum + (2 / 6) * e * (h[15 * n + k] as number), 0),
      );
      b -= 0.05 * errors.reduce((sum, e) => sum + (2 / 6) * e, 0);
      step(kernel, dkernel);
      step(weight, dweight);
      step(bias, dbias);
      running = reference.moved(running, batch, 30, 0.1, "biased");
    }

    let last = 0;
    for (let i = 0; i < STEPS; i++) last = (await ours.trainOnBatch(x, y)) as number;
    expect(Math.abs(last - loss)).toBeLessThan(BOUND);
    const weights = ours.getWeights().map((one) => one.dataSync());
    [weight, bias, kernel, [b], running.mean, running.variance].forEach((truth, i) => {
      expect(distance(weights[i] as Float32Array, truth)).toBeLessThan(BOUND);
    });
  });
});

test.each(BACKENDS)(
  "a graph model's FusedBatchNormV3 is ours on %s, and right",
  async (backend) => {
    await tf.setBackend(backend);
    uninstall = install(tf);
    const channels = 3;
    const inputs = ["scale", "offset", "mean", "variance"];
    const vectors = inputs.map((_, i) => numbers(channels, i + 3, 0.5, 1));
    const float = { dtype: { type: "DT_FLOAT" } };
    const model = await tf.loadGraphModel(
      tf.io.fromMemory({
        modelTopology: {
          versions: { producer: 1, minConsumer: 1 },
          node: [
            { name: "x", op: "Placeholder", attr: float },
            ...inputs.map((name) => ({ name, op: "Const", attr: float })),
            {
              ...{ name: "y", op: "FusedBatchNormV3", input: ["x", ...inputs] },
              attr: { T: { type: "DT_FLOAT" }, epsilon: { f: 1e-3 }, is_training: { b: false } },
            },
          ],
        },
        weightSpecs: inputs.map((name) => ({ name, shape: [channels], dtype: "float32" })),
        weightData: Float32Array.from(vectors.flatMap((one) => [...one])).buffer,
        format: "graph-model",
      }),
    );
    releaseMemory();
    const shape = [2, 4, 5, channels];
    const x = numbers(sizeOf(shape), 1, 2);
    const y = (model.predict(tf.tensor(x, shape)) as tf.Tensor).dataSync();
    expect(normalizationMemory()).not.toBeNull();
    const [weight, bias, mean, variance] = vectors as [
      ...[Float32Array, Float32Array, Float32Array, Float32Array],
    ];
    const statistics = { mean: new Float64Array(mean), variance: new Float64Array(variance) };
    const sets = reference.channelsOf(shape, 3);
    expectNear(y, reference.forward(x, sets, statistics, { weight, bias, eps: 1e-3 }), 4);
  },
);
