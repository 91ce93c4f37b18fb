/** Layers that tfjs has not: against float64, saved and loaded, and on a backend without our kernels. */
import { install, normalizations } from "batchnorm-wasm/tfjs/install";
import { beforeEach, describe, expect, test } from "vitest";
import * as groups from "../reference/group.mjs";
import * as rows from "../reference/layer.mjs";
import {
  BACKENDS,
  codeOf,
  distance,
  expectNear,
  installedOn,
  numbers,
  sizeOf,
  tf,
} from "./tfjs.js";

type Layer = ReturnType<typeof tf.layers.batchNormalization>;

/** Gives γ and β values of their own, and gives these. */
function written(layer: Layer): { [name: string]: Float32Array } {
  return Object.fromEntries(
    layer.trainableWeights.map((weight, i) => {
      const one = weight.shape as number[];
      const values = numbers(sizeOf(one), 5 + i, 1, 1 - i);
      weight.write(tf.tensor(values, one));
      return [weight.originalName.replace(/.*\//, ""), values];
    }),
  );
}

/** Values of a call, and its gradients with respect to x and the layer's weights. */
function step(layer: Layer, x: tf.Tensor, dy: tf.Tensor) {
  const f = (x: tf.Tensor) => tf.sum(tf.mul(layer.apply(x) as tf.Tensor, dy)) as tf.Scalar;
  const variables = layer.trainableWeights.map((weight) => weight.read() as tf.Variable);
  const { grads } = tf.variableGrads(() => f(x), variables);
  const y = (layer.apply(x) as tf.Tensor).dataSync();
  const weights = variables.map(({ name }) => (grads[name] as tf.Tensor).dataSync());
  return { y, dx: tf.grad(f)(x).dataSync(), weights };
}

describe.each(BACKENDS)("on %s", (backend) => {
  const kernels = installedOn(backend);

  // By our kernels, and composed, which rounds at each step and adds up as it comes.
  describe.each([
    ["our kernels", 4, 16],
    ["operations of tfjs", 32, 64],
  ])("by %s", (way, roundings, ofGradients) => {
    beforeEach(() => {
      if (way === "our kernels") return;
      kernels.uninstall();
      kernels.install({ backends: [backend === "wasm" ? "cpu" : "wasm"] });
    });

    test.each<[number[], number, number]>([
      [[2, 8], -1, 4],
      [[3, 2, 2, 8], -1, 4],
      [[3, 8, 2, 2], 1, 4],
      [[3, 5, 6, 2], 2, 2],
      [[3, 5, 4, 6], -1, 6],
    ])("group normalization of %j along %i in %i groups is right", (shape, axis, number) => {
      const layer = normalizations(tf).groupNormalization({ axis, groups: number });
      layer.build(shape);
      const { gamma = null, beta = null } = written(layer);
      const [values, gradient] = [numbers(sizeOf(shape), 1, 3, 2), numbers(sizeOf(shape), 2)];
      const all = step(layer, tf.tensor(values, shape), tf.tensor(gradient, shape));
      const from0 = axis < 0 ? axis + shape.length : axis;
      const sets = groups.groupsOf(shape, from0, number);
      const parameters = { weight: gamma, bias: beta, eps: 1e-3 };
      // γ·x̂ is up to 2 and more, before β comes to it.
      expectNear(all.y, groups.forward(values, sets, parameters), roundings, 2);
      const truth = groups.backward(values, gradient, sets, parameters);
      // In sets of two little is left of γ·dy/σ.
      expectNear(all.dx, truth.dx, ofGradients, 1);
      const count = sizeOf(shape) / (shape[from0] as number);
      expectNear(all.weights[0] as Float32Array, truth.dweight, roundings, 2 * count);
      expectNear(all.weights[1] as Float32Array, truth.dbias, roundings, count);
    });

    test("instance normalization is of one channel of a sample each", () => {
      const shape = [2, 6, 5, 3];
      const layer = normalizations(tf).instanceNormalization({ scale: false });
      layer.build(shape);
      expect(layer.weights.map((weight) => weight.originalName.replace(/.*\//, ""))).toEqual([
        "beta",
      ]);
      const values = numbers(sizeOf(shape), 1, 3, 2);
      const y = (layer.apply(tf.tensor(values, shape)) as tf.Tensor).dataSync();
      const sets = groups.groupsOf(shape, 3, 3);
      const parameters = { weight: null, bias: null, eps: 1e-3 };
      expectNear(y, groups.forward(values, sets, parameters), roundings);
    });

    test.each<[number[], number | number[]]>([
      [[4, 10], -1],
      [[2, 3, 10], -1],
      [
        [2, 3, 4],
        [1, 2],
      ],
      [[2, 6, 4], 1],
    ])("RMS normalization of %j along %j is right", (shape, axis) => {
      const layer = normalizations(tf).rmsNormalization({ axis, epsilon: 1e-4 });
      layer.build(shape);
      const { scale = null } = written(layer);
      expect(layer.weights.length).toBe(1);
      const [values, gradient] = [numbers(sizeOf(shape), 1, 3, 2), numbers(sizeOf(shape), 2)];
      const all = step(layer, tf.tensor(values, shape), tf.tensor(gradient, shape));
      const sets = rows.rowsOf(shape, typeof axis === "number" ? [axis] : axis);
      const parameters = { weight: scale, eps: 1e-4 };
      expectNear(all.y, rows.rms.forward(values, sets, parameters), roundings);
      const truth = rows.rms.backward(values, gradient, sets, parameters);
      expectNear(all.dx, truth.dx, ofGradients);
      const count = sizeOf(shape) / sets.channels.number;
      expectNear(all.weights[0] as Float32Array, truth.dweight, roundings, 3 * count);
    });
  });

  test("a model of all of them trains, and is saved and loaded with the same predictions", async () => {
    const { groupNormalization, instanceNormalization, rmsNormalization } = normalizations(tf);
    const model = tf.sequential();
    model.add(tf.layers.reshape({ targetShape: [4, 4, 2], inputShape: [32] }));
    model.add(groupNormalization({ groups: 2, gammaInitializer: "ones", name: "group" }));
    model.add(instanceNormalization({ axis: -1, epsilon: 1e-2 }));
    model.add(tf.layers.flatten());
    model.add(rmsNormalization({ epsilon: 1e-5 }));
    model.add(tf.layers.dense({ units: 1 }));
    model.compile({ optimizer: tf.train.sgd(0.05), loss: "meanSquaredError" });
    const x = tf.tensor(numbers(8 * 32, 1), [8, 32]);
    const target = tf.tensor(numbers(8, 2), [8, 1]);
    const before = (await model.trainOnBatch(x, target)) as number;
    let after = before;
    for (let i = 0; i < 20; i++) after = (await model.trainOnBatch(x, target)) as number;
    expect(after).toBeLessThan(before / 2);
    let saved: tf.io.ModelArtifacts | undefined;
    await model.save(
      tf.io.withSaveHandler(async (artifacts) => {
        saved = artifacts;
        return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: "JSON" } };
      }),
    );
    const { config } = (saved as unknown as tf.io.ModelArtifacts).modelTopology as {
      config: { layers: { class_name: string; config: object }[] };
    };
    const told = config.layers.map(({ class_name, config }) => [class_name, config]);
    expect(told[1]).toEqual([
      "GroupNormalization",
      expect.objectContaining({
        name: "group",
        groups: 2,
        epsilon: 1e-3,
        axis: -1,
        trainable: true,
      }),
    ]);
    expect(told[1]?.[1]).not.toHaveProperty("momentum");
    expect(told[2]).toEqual(["InstanceNormalization", expect.objectContaining({ epsilon: 1e-2 })]);
    expect(told[4]).toEqual([
      "RMSNormalization",
      expect.objectContaining({ axis: -1, epsilon: 1e-5 }),
    ]);
    const loaded = await tf.loadLayersModel(tf.io.fromMemory(saved as tf.io.ModelArtifacts));
    const [one, other] = [model, loaded].map((one) => (one.predict(x) as tf.Tensor).dataSync());
    expect(distance(one as Float32Array, other as Float32Array)).toBe(0);
  });

  test("gradients of gradients are those of the formula", () => {
    const x = tf.tensor(numbers(24, 1), [2, 3, 4]);
    const layer = normalizations(tf).rmsNormalization();
    layer.build([2, 3, 4]);
    const formula = (x: tf.Tensor) =>
      tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), 1e-6)));
    const [ours, theirs] = [(x: tf.Tensor) => layer.apply(x) as tf.Tensor, formula].map((f) => {
      const g = (x: tf.Tensor) => tf.sum(tf.mul(f(x), tf.square(x)));
      return tf
        .grad((x: tf.Tensor) => tf.sum(tf.square(tf.grad(g)(x))))(x)
        .dataSync();
    });
    expectNear(ours as Float32Array, theirs as Float32Array, 64);
  });
});

test("what is no option, and what doesn't fit, is a typed error", () => {
  const uninstall = install(tf);
  const { groupNormalization, rmsNormalization, instanceNormalization } = normalizations(tf);
  expect(codeOf(() => groupNormalization({ groups: 0 }))).toBe("invalid-option");
  expect(codeOf(() => groupNormalization({ groups: 1.5 }))).toBe("invalid-option");
  expect(codeOf(() => groupNormalization({ epsilon: -1 }))).toBe("invalid-option");
  expect(codeOf(() => groupNormalization({ axis: 0.5 }))).toBe("invalid-option");
  expect(codeOf(() => instanceNormalization({ center: 1 as unknown as boolean }))).toBe(
    "invalid-option",
  );
  expect(codeOf(() => rmsNormalization({ epsilon: Number.NaN }))).toBe("invalid-option");
  expect(codeOf(() => rmsNormalization({ axis: [0.5] }))).toBe("invalid-option");
  expect(codeOf(() => groupNormalization({ groups: 4 }).build([2, 6]))).toBe("shape-mismatch");
  expect(codeOf(() => groupNormalization({ axis: 0 }).build([2, 6]))).toBe("shape-mismatch");
  expect(codeOf(() => groupNormalization().build([2, 6, null] as unknown as number[]))).toBe(
    "invalid-shape",
  );
  expect(codeOf(() => rmsNormalization({ axis: 3 }).build([2, 6]))).toBe("shape-mismatch");
  expect(codeOf(() => rmsNormalization({ axis: [1, -1] }).build([2, 6]))).toBe("shape-mismatch");
  const layer = groupNormalization({ groups: 2 });
  layer.build([2, 6]);
  expect(codeOf(() => layer.apply(tf.zeros([2, 8])))).toBe("shape-mismatch");
  uninstall();
  const core = { layers: undefined } as unknown as typeof tf;
  expect(codeOf(() => normalizations(core))).toBe("invalid-option");
});
