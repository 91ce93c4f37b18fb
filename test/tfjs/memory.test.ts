/** Ten thousand steps leave no tensor, no value of a backend and no byte behind. */
import {
  install,
  normalizationMemory,
  normalizations,
  releaseMemory,
} from "batchnorm-wasm/tfjs/install";
import { afterEach, describe, expect, test } from "vitest";
import { BACKENDS, batchNorm, installedOn, numbers, sizeOf, tf } from "./tfjs.js";

describe.each(BACKENDS)("on %s", (backend) => {
  installedOn(backend);
  afterEach(() => releaseMemory());

  /** What must be the same before and after. */
  const counts = () => {
    const { numTensors, numBytes, numDataBuffers } = tf.memory();
    const { wasm } = tf.backend() as unknown as { wasm?: { HEAPU8: Uint8Array } };
    const ours = normalizationMemory();
    return {
      ...{ numTensors, numBytes, numDataBuffers, ids: tf.backend().numDataIds() },
      heap: wasm?.HEAPU8.byteLength,
      ours: [ours?.liveBytes, ours?.liveStorages, ours?.memoryBytes],
    };
  };

  const model = () => {
    const { groupNormalization, rmsNormalization } = normalizations(tf);
    const model = tf.sequential();
    model.add(tf.layers.dense({ units: 8, inputShape: [6], useBias: false }));
    model.add(tf.layers.batchNormalization({}));
    model.add(tf.layers.activation({ activation: "relu" }));
    model.add(tf.layers.dense({ units: 8 }));
    model.add(tf.layers.layerNormalization({}));
    model.add(groupNormalization({ groups: 2 }));
    model.add(rmsNormalization());
    model.add(tf.layers.dense({ units: 1 }));
    model.compile({ optimizer: tf.train.sgd(0.01), loss: "meanSquaredError" });
    return model;
  };

  const batch = numbers(96, 1);
  const STEPS: { [name: string]: () => () => Promise<unknown> | unknown } = {
    trainOnBatch() {
      const one = model();
      const [x, y] = [tf.tensor(batch, [16, 6]), tf.zeros([16, 1])];
      return () => one.trainOnBatch(x, y);
    },
    predict() {
      const one = model();
      const x = tf.tensor(batch, [16, 6]);
      return () => (one.predict(x) as tf.Tensor).dispose();
    },
    "minimize in tidy"() {
      const [axis1, optimizer] = [tf.layers.batchNormalization({ axis: 1 }), tf.train.sgd(0.01)];
      const x = tf.tensor(batch, [4, 6, 4]);
      // Variables that a gradient has made would be its own.
      axis1.build(x.shape);
      return () =>
        tf.tidy(() => {
          optimizer.minimize(() => tf.sum(axis1.apply(x, { training: true }) as tf.Tensor));
        });
    },
    "training without gradients"() {
      const layer = tf.layers.batchNormalization({ scale: false });
      const x = tf.tensor(batch, [4, 4, 6]);
      return () => (layer.apply(x, { training: true }) as tf.Tensor).dispose();
    },
    "gradients of tf.batchNorm"() {
      const [x, zeros, ones] = [tf.tensor(batch, [16, 6]), tf.zeros([6]), tf.ones([6])];
      const f = (x: tf.Tensor) => batchNorm(x, zeros, ones, zeros, ones);
      return () => tf.grad(f)(x).dispose();
    },
    "gradients of gradients"() {
      const layer = tf.layers.batchNormalization({});
      const x = tf.tensor(batch, [16, 6]);
      const f = (x: tf.Tensor) =>
        tf.sum(tf.square(layer.apply(x, { training: true }) as tf.Tensor));
      const g = (x: tf.Tensor) => tf.sum(tf.square(tf.grad(f)(x)));
      return () => tf.grad(g)(x).dispose();
    },
    errors() {
      const layer = normalizations(tf).groupNormalization({ groups: 2 });
      layer.build([1, 6]);
      const bad = tf.zeros([4, 8]);
      return () => {
        expect(() => layer.apply(bad)).toThrow("expected 8 values, got 6");
      };
    },
  };

  test.each(Object.keys(STEPS))("%s", async (name) => {
    const step = (STEPS[name] as (typeof STEPS)[string])();
    // Variables, slots and wasm's heap are there after the first ones.
    for (let i = 0; i < 20; i++) await step();
    const before = counts();
    // Where each allocation grows memory by nothing, that takes as long as a hundred steps.
    const all = process.env.GROW_ON_ALLOCATE ? 50 : 1700;
    const steps = name === "gradients of gradients" ? all / 5 : all;
    for (let i = 0; i < steps; i++) await step();
    expect(counts()).toEqual(before);
  });

  test("a step over 25 MB grows none of sixteen, and one of these stays in use", () => {
    install(tf, { initialBytes: 16 * 2 ** 20 });
    const shape = [32, 56, 56, 64];
    const x = tf.tensor(numbers(sizeOf(shape), 1), shape);
    const layer = tf.layers.batchNormalization({});
    tf.tidy(() =>
      tf.grad((x: tf.Tensor) => tf.sum(layer.apply(x, { training: true }) as tf.Tensor))(x),
    );
    tf.tidy(() => layer.apply(x) as tf.Tensor);
    const usage = normalizationMemory();
    expect([usage?.memoryBytes, usage?.liveBytes]).toEqual([16 * 2 ** 20, 2 ** 20]);
    x.dispose();
    install(tf, {});
  });

  test("tfjs's own check of its kernels finds no leak", () => {
    tf.env().set("IS_TEST", true);
    try {
      const layer = tf.layers.batchNormalization({ axis: 1 });
      const x = tf.tensor(batch, [4, 6, 4]);
      tf.grad((x: tf.Tensor) => tf.sum(layer.apply(x, { training: true }) as tf.Tensor))(x);
      const [one, some] = [tf.zeros([4, 1, 4]), tf.ones([4, 1, 4])];
      expect(batchNorm(x, one, some, one, some).shape).toEqual([4, 6, 4]);
    } finally {
      tf.env().set("IS_TEST", false);
    }
  });

  test("memory that is released comes back with the next call", () => {
    const layer = tf.layers.batchNormalization({});
    const x = tf.tensor(batch, [16, 6]);
    const before = (layer.apply(x, { training: true }) as tf.Tensor).dataSync();
    expect(normalizationMemory()).not.toBeNull();
    releaseMemory();
    expect(normalizationMemory()).toBeNull();
    expect((layer.apply(x, { training: true }) as tf.Tensor).dataSync()).toEqual(before);
  });
});
