/**
 * tfjs's own tests: those of its core as they are, those of its layers (which are in no package) by their
 * inputs and values, which Keras has given.
 */
import { describe, expect, test } from "vitest";
import { runOwnTests } from "./own-tests.mjs";
import { BACKENDS, distance, installedOn, tf } from "./tfjs.js";

test.each(BACKENDS)(
  "tests of tfjs-core's batchNorm and moments pass on %s, as they do without us",
  async (backend) => {
    const plain = await runOwnTests(backend, false);
    const ours = await runOwnTests(backend, true);
    expect([plain.computed, ours.computed]).toEqual([false, true]);
    const names = Object.keys(plain.specs);
    expect(names.filter((name) => /batchnorm|batchNorm/.test(name)).length).toBeGreaterThan(15);
    expect(names.filter((name) => /moments/.test(name)).length).toBeGreaterThan(10);
    expect(plain.specs).toEqual(Object.fromEntries(names.map((name) => [name, "passed"])));
    expect(ours.specs).toEqual(plain.specs);
  },
);

describe.each(BACKENDS)("values of tfjs-layers' tests, on %s", (backend) => {
  installedOn(backend);

  const near = (actual: tf.Tensor | undefined, values: number[], bound = 1e-5) =>
    expect(distance((actual as tf.Tensor).dataSync(), values)).toBeLessThan(bound);

  const X = [1, 2, 3, 4, 2, 4, 6, 8, 12, 11, 10, 9];

  test.each<[string, number[], number | [number], number[]]>([
    [
      "2D",
      [3, 4],
      -1,
      [
        -0.805371, -0.9502233, -1.1624058, -1.3885813, -0.6040282, -0.4319197, -0.11624074,
        0.46286058, 1.4093992, 1.3821429, 1.2786462, 0.92572117,
      ],
    ],
    [
      "2D, whose axis Keras has saved in an array",
      [3, 4],
      [1],
      [
        -0.805371, -0.9502233, -1.1624058, -1.3885813, -0.6040282, -0.4319197, -0.11624074,
        0.46286058, 1.4093992, 1.3821429, 1.2786462, 0.92572117,
      ],
    ],
    [
      "3D",
      [3, 2, 2],
      -1,
      [
        -1.1355163, -1.3552775, -0.6488664, -0.7297648, -0.8921913, -0.7297648, 0.08110833,
        0.5212605, 1.5410578, 1.4595294, 1.0544081, 0.8340168,
      ],
    ],
  ])("batch normalization in training: %s", (_, shape, axis, values) => {
    const layer = tf.layers.batchNormalization({ axis: axis as number });
    near(layer.apply(tf.tensor(X, shape), { training: true }) as tf.Tensor, values);
  });

  test("a fit of it alone: losses, γ, and moving statistics", async () => {
    const layer = tf.layers.batchNormalization({ inputShape: [4] });
    const model = tf.sequential({ layers: [layer] });
    model.compile({ loss: "meanSquaredError", optimizer: "sgd" });
    const y = tf.zeros([3, 4]);
    const { history } = await model.fit(tf.tensor(X, [3, 4]), y, { epochs: 2, batchSize: 3 });
    const losses = history.loss as number[];
    expect(distance(losses, [0.9998891353607178, 0.9899163246154785])).toBeLessThan(1e-6);
    const [gamma, beta, mean, variance] = layer.getWeights();
    near(gamma, [0.9900254, 0.9900257, 0.9900262, 0.9900271], 1e-6);
    near(beta, [0, 0, 0, 0], 1e-8);
    near(mean, [0.09949999, 0.11276666, 0.12603334, 0.13929999], 1e-6);
    near(variance, [1.4709667, 1.2763889, 1.1437222, 1.0729666], 1e-6);
  });

  test("a fit between two dense layers", async () => {
    const ones = { kernelInitializer: "ones", useBias: false } as const;
    const layer = tf.layers.batchNormalization({});
    const model = tf.sequential({
      layers: [
        tf.layers.dense({ units: 4, inputShape: [4], ...ones }),
        layer,
        tf.layers.dense({ units: 1, ...ones }),
      ],
    });
    model.compile({ loss: "meanSquaredError", optimizer: tf.train.sgd(0.1) });
    const y = tf.zeros([3, 1]);
    const { history } = await model.fit(tf.tensor(X, [3, 4]), y, { epochs: 3, batchSize: 3 });
    const losses = history.loss as number[];
    const keras = [15.999907493591309, 0.025602197274565697, 0.022478966042399406];
    expect(distance(losses, keras)).toBeLessThan(1e-5);
    const [gamma, , mean, variance] = layer.getWeights();
    near(gamma, [0.18779878, 0.18779878, 0.18779878, 0.18779878]);
    near(mean, [0.7128234, 0.7128234, 0.7128234, 0.7128234]);
    near(variance, [6.276868, 6.276868, 6.276868, 6.276868]);
  });

  test.each<[number[], number | number[], number[], number[]]>([
    [[2, 3], -1, [1, 2, 3, 3, 6, 24], [-1.2238274, 0, 1.2238274, -0.8626572, -0.5391607, 1.401818]],
    [
      [2, 2, 3],
      -1,
      [1, 2, 3, 6, 5, 4, 3, 6, 24, -10, 0, 5],
      [
        -1.2238274, 0, 1.2238274, 1.2238274, 0, -1.2238274, -0.8626572, -0.5391607, 1.401818,
        -1.3362889, 0.26725778, 1.0690311,
      ],
    ],
  ])("layer normalization of %j along %j", (shape, axis, x, values) => {
    near(tf.layers.layerNormalization({ axis }).apply(tf.tensor(x, shape)) as tf.Tensor, values);
  });

  test.each([[[1, 2]], [[-2, -1]]])("layer normalization along two axes, %j", (axis) => {
    const x = tf.tensor([1, 2, 3, 6, 5, 4, 3, 6, 24, -10, 0, 5], [2, 2, 3]);
    const y = tf.layers.layerNormalization({ axis }).apply(x) as tf.Tensor;
    const first = [-1.4635992, -0.8781595, -0.29271984, 1.4635992, 0.8781595, 0.29271984];
    near(tf.slice(y, [0, 0, 0], [1, 2, 3]), first);
    near(tf.slice(y, [1, 0, 0], [1, 1, 3]), [-0.1645762, 0.13166097, 1.909084]);
  });
});
