/** tfjs's own layers with our kernels under them, against float64 and against plain tfjs. */
import { describe, expect, test } from "vitest";
import * as reference from "../reference/batch.mjs";
import * as rows from "../reference/layer.mjs";
import { BACKENDS, distance, expectNear, installedOn, numbers, sizeOf, tf } from "./tfjs.js";

type Layer = ReturnType<typeof tf.layers.batchNormalization>;
type Gradients = { [name: string]: tf.Tensor };

const MOMENTUM = 0.9;
const EPSILON = 1e-3;

const layerNormalization = (args: object) => tf.layers.layerNormalization(args) as unknown as Layer;

/** A layer that is built for a shape, with γ and β of its own. */
function built<L extends Layer>(layer: L, shape: number[]): L {
  layer.build([null, ...shape.slice(1)] as number[]);
  for (const weight of layer.trainableWeights) {
    const seed = weight.originalName.endsWith("gamma") ? 5 : 6;
    const one = weight.shape as number[];
    weight.write(tf.tensor(numbers(sizeOf(one), seed, 1, seed === 5 ? 1 : 0), one));
  }
  return layer;
}

/** What a step does: y, the gradients of Σ dy·y, and weights that the batch has moved. */
function step(layer: Layer, x: tf.Tensor, dy: tf.Tensor, training = true) {
  let y: tf.Tensor | undefined;
  const f = (x: tf.Tensor) => {
    const one = layer.apply(x, { training }) as tf.Tensor;
    y ??= tf.keep(one);
    return tf.sum(tf.mul(one, dy)) as tf.Scalar;
  };
  const variables = layer.trainableWeights.map((weight) => weight.read() as tf.Variable);
  const grads = variables.length > 0 ? tf.variableGrads(() => f(x), variables).grads : {};
  const dx = tf.grad(f)(x);
  const byName: Gradients = {};
  layer.trainableWeights.forEach((weight, i) => {
    const { name } = variables[i] as tf.Variable;
    byName[weight.originalName.replace(/.*\//, "")] = grads[name] as tf.Tensor;
  });
  return { y: y as tf.Tensor, dx, ...byName } as Gradients & { y: tf.Tensor; dx: tf.Tensor };
}

const valuesOf = (layer: Layer, name: string) =>
  layer.weights
    .find((weight) => weight.originalName.endsWith(name))
    ?.read()
    .dataSync();

describe.each(BACKENDS)("on %s", (backend) => {
  const kernels = installedOn(backend);

  describe("batch normalization", () => {
    const PLACES: [number[], number][] = [
      [[6, 5], -1],
      [[6, 3, 4], -1],
      [[6, 3, 4], 1],
      [[4, 3, 5, 2], -1],
      [[4, 3, 5, 2], 1],
      [[4, 3, 5, 2], 2],
      [[2, 3, 2, 4, 3], -1],
      [[2, 3, 2, 4, 3], 1],
      [[16, 30, 30, 8], -1],
      [[16, 8, 30, 30], 1],
    ];
    const SWITCHES = [
      { scale: true, center: true },
      { scale: false, center: true },
      { scale: true, center: false },
    ];
    const cases = PLACES.flatMap(([shape, axis]) =>
      SWITCHES.map((switches) => ({ shape, axis, ...switches })),
    );

    // Longer than what is computed at once: channels behind, before, and of rows.
    const LONG = [
      { shape: [40, 40, 40, 33], axis: -1, scale: true, center: true },
      { shape: [9, 33, 85, 85], axis: 1, scale: true, center: false },
      { shape: [70_000, 31], axis: -1, scale: false, center: true },
    ];

    test.each([...cases, ...LONG])(
      "a training step is right: $shape, $axis, scale $scale, center $center",
      (options) => {
        const { shape, axis, scale, center } = options;
        const layer = built(
          tf.layers.batchNormalization({ axis, scale, center, momentum: MOMENTUM }),
          shape,
        );
        const [values, gradient] = [numbers(sizeOf(shape), 1, 3, 2), numbers(sizeOf(shape), 2)];
        const { y, dx, gamma, beta } = step(
          layer,
          tf.tensor(values, shape),
          tf.tensor(gradient, shape),
        );
        const channels = reference.channelsOf(shape, axis < 0 ? axis + shape.length : axis);
        const batch = reference.statistics(values, channels);
        const weight = scale ? (valuesOf(layer, "gamma") as Float32Array) : null;
        const bias = center ? (valuesOf(layer, "beta") as Float32Array) : null;
        const parameters = { weight, bias, eps: EPSILON };
        expectNear(y.dataSync(), reference.forward(values, channels, batch, parameters), 4);
        const truth = reference.backward(values, gradient, channels, parameters);
        const count = values.length / channels.number;
        // Sums of so many numbers up to 2, sixteen of them at a time in float32.
        if (scale) expectNear((gamma as tf.Tensor).dataSync(), truth.dweight, 2, 2 * count);
        else expect(gamma).toBeUndefined();
        if (center) expectNear((beta as tf.Tensor).dataSync(), truth.dbias, 2, count);
        else expect(beta).toBeUndefined();
        expectNear(dx.dataSync(), truth.dx, 16);
        // Both passes of `step` have moved them.
        let running: reference.Statistics = {
          mean: new Float64Array(channels.number),
          variance: new Float64Array(channels.number).fill(1),
        };
        for (let i = 0; i < 2; i++) {
          running = reference.moved(running, batch, count, 1 - MOMENTUM, "biased");
        }
        expectNear(valuesOf(layer, "moving_mean") as Float32Array, running.mean, 2);
        expectNear(valuesOf(layer, "moving_variance") as Float32Array, running.variance, 2);
      },
    );

    test.each(cases)(
      "so is inference with its gradients: $shape, $axis, scale $scale, center $center",
      (options) => {
        const { shape, axis, scale, center } = options;
        const layer = built(tf.layers.batchNormalization({ axis, scale, center }), shape);
        const channels = reference.channelsOf(shape, axis < 0 ? axis + shape.length : axis);
        const mean = numbers(channels.number, 3);
        const variance = numbers(channels.number, 4, 1, 2);
        for (const weight of layer.nonTrainableWeights) {
          weight.write(tf.tensor1d(weight.originalName.endsWith("mean") ? mean : variance));
        }
        const [values, gradient] = [numbers(sizeOf(shape), 1, 3, 2), numbers(sizeOf(shape), 2)];
        const all = step(layer, tf.tensor(values, shape), tf.tensor(gradient, shape), false);
        const statistics = { mean: new Float64Array(mean), variance: new Float64Array(variance) };
        const weight = scale ? (valuesOf(layer, "gamma") as Float32Array) : null;
        const bias = center ? (valuesOf(layer, "beta") as Float32Array) : null;
        const parameters = { weight, bias, eps: EPSILON };
        const truth = reference.backwardConstant(
          values,
          gradient,
          channels,
          statistics,
          parameters,
        );
        expectNear(
          all.y.dataSync(),
          reference.forward(values, channels, statistics, parameters),
          4,
        );
        expectNear(all.dx.dataSync(), truth.dx, 4);
        const largest = (5 * values.length) / channels.number;
        if (scale) expectNear((all.gamma as tf.Tensor).dataSync(), truth.dweight, 2, largest);
        if (center) expectNear((all.beta as tf.Tensor).dataSync(), truth.dbias, 2, largest);
        expect(valuesOf(layer, "moving_mean")).toEqual(mean);
      },
    );

    test("a mean of ten thousand standard deviations costs nothing", () => {
      const shape = [64, 7, 7, 8];
      const layer = built(tf.layers.batchNormalization({}), shape);
      const values = numbers(sizeOf(shape), 1, 1.7, 1e4);
      const gradient = numbers(sizeOf(shape), 2);
      const channels = reference.channelsOf(shape, 3);
      const parameters = {
        weight: valuesOf(layer, "gamma") as Float32Array,
        bias: valuesOf(layer, "beta") as Float32Array,
        eps: EPSILON,
      };
      const { y, dx } = step(layer, tf.tensor(values, shape), tf.tensor(gradient, shape));
      const batch = reference.statistics(values, channels);
      expectNear(y.dataSync(), reference.forward(values, channels, batch, parameters), 4);
      // 4 in plain tfjs would be 4000 and more.
      expectNear(dx.dataSync(), reference.backward(values, gradient, channels, parameters).dx, 16);
    });

    test("an empty batch gives nothing and moves nothing", () => {
      const layer = built(tf.layers.batchNormalization({ momentum: 0.5 }), [1, 3]);
      const y = layer.apply(tf.zeros([0, 3]), { training: true }) as tf.Tensor;
      expect(y.shape).toEqual([0, 3]);
      expect([...(valuesOf(layer, "moving_mean") as Float32Array)]).toEqual([0, 0, 0]);
      expect([...(valuesOf(layer, "moving_variance") as Float32Array)]).toEqual([1, 1, 1]);
      const dx = tf.grad((x: tf.Tensor) => tf.sum(layer.apply(x, { training: true }) as tf.Tensor));
      expect(dx(tf.zeros([0, 3])).shape).toEqual([0, 3]);
    });

    test("gradients of gradients are plain tfjs's", () => {
      const shape = [4, 2, 3, 3];
      const x = tf.tensor(numbers(sizeOf(shape), 1), shape);
      const second = () => {
        const layer = built(tf.layers.batchNormalization({}), shape);
        const f = (x: tf.Tensor) =>
          tf.sum(tf.mul(layer.apply(x, { training: true }) as tf.Tensor, tf.square(x)));
        return tf
          .grad((x: tf.Tensor) => tf.sum(tf.square(tf.grad(f)(x))))(x)
          .dataSync();
      };
      const ours = second();
      kernels.uninstall();
      expectNear(ours, second(), 64);
    });

    test("a backward pass on a backend without our kernels is composed", async () => {
      const other = backend === "wasm" ? "cpu" : "wasm";
      await tf.setBackend(other);
      await tf.setBackend(backend);
      kernels.uninstall();
      kernels.install({ backends: [backend] });
      const layer = built(tf.layers.batchNormalization({ axis: 1 }), [4, 3, 2]);
      const [values, gradient] = [numbers(24, 1), numbers(24, 2)];
      const backends: string[] = [];
      const changing = tf.customGrad((y) => ({
        value: (y as tf.Tensor).clone(),
        gradFunc(dy: tf.Tensor) {
          backends.push(tf.getBackend());
          tf.setBackend(other);
          return dy.clone();
        },
      }));
      const dx = tf.grad((x: tf.Tensor) =>
        tf.sum(
          tf.mul(
            changing(layer.apply(x, { training: true }) as tf.Tensor),
            tf.tensor(gradient, [4, 3, 2]),
          ),
        ),
      )(tf.tensor(values, [4, 3, 2]));
      expect([...backends, tf.getBackend()]).toEqual([backend, other]);
      const parameters = { weight: valuesOf(layer, "gamma") as Float32Array, eps: EPSILON };
      const channels = reference.channelsOf([4, 3, 2], 1);
      expectNear(dx.dataSync(), reference.backward(values, gradient, channels, parameters).dx, 64);
    });

    test("classes that extend it follow, with layers that were made before", () => {
      kernels.uninstall();
      const before = tf.layers.batchNormalization({ axis: 1 });
      const Base = before.constructor as new (args: object) => Layer;
      class Mine extends Base {
        override call(inputs: tf.Tensor, kwargs: object) {
          return tf.mul(super.call(inputs, kwargs) as tf.Tensor, 2);
        }
      }
      const mine = new Mine({ axis: 1, name: "mine" });
      kernels.install();
      const x = tf.tensor(numbers(24, 1), [2, 3, 4]);
      const y = before.apply(x, { training: true }) as tf.Tensor;
      const twice = mine.apply(x, { training: true }) as tf.Tensor;
      expect(distance(twice.dataSync(), tf.mul(y, 2).dataSync())).toBe(0);
    });
  });

  describe("layer normalization", () => {
    const PLACES: [number[], number | number[]][] = [
      [[6, 5], -1],
      [[4, 3, 6], -1],
      [
        [4, 3, 6],
        [1, 2],
      ],
      [[4, 3, 6], 1],
      [
        [2, 3, 4, 5],
        [1, 3],
      ],
      [
        [2, 3, 4, 4],
        [3, 2],
      ],
    ];
    test.each(PLACES)("a step is right: %j along %j", (shape, axis) => {
      const layer = built(layerNormalization({ axis }), shape);
      const [values, gradient] = [numbers(sizeOf(shape), 1, 3, 2), numbers(sizeOf(shape), 2)];
      const all = step(layer, tf.tensor(values, shape), tf.tensor(gradient, shape));
      const sets = rows.rowsOf(shape, typeof axis === "number" ? [axis] : axis);
      const parameters = {
        weight: valuesOf(layer, "gamma") as Float32Array,
        bias: valuesOf(layer, "beta") as Float32Array,
        eps: EPSILON,
      };
      const statistics = rows.layer.statistics(values, sets);
      expect(statistics.mean.length).toBeGreaterThan(1);
      expectNear(all.y.dataSync(), rows.layer.forward(values, sets, parameters), 4);
      const truth = rows.layer.backward(values, gradient, sets, parameters);
      expectNear(all.dx.dataSync(), truth.dx, 16);
      const count = values.length / sets.channels.number;
      expectNear((all.gamma as tf.Tensor).dataSync(), truth.dweight, 2, 2 * count);
      expectNear((all.beta as tf.Tensor).dataSync(), truth.dbias, 2, count);
    });

    test.each([
      { scale: false, center: true },
      { scale: true, center: false },
      { scale: false, center: false },
    ])("and without one of its parameters: %j", (switches) => {
      const shape = [5, 2, 3];
      const layer = built(layerNormalization({ axis: [2, 1], ...switches }), shape);
      const [values, gradient] = [numbers(30, 1, 3, 2), numbers(30, 2)];
      const all = step(layer, tf.tensor(values, shape), tf.tensor(gradient, shape));
      const sets = rows.rowsOf(shape, [1, 2]);
      const weight = (valuesOf(layer, "gamma") as Float32Array | undefined) ?? null;
      const bias = (valuesOf(layer, "beta") as Float32Array | undefined) ?? null;
      const parameters = { weight, bias, eps: EPSILON };
      expectNear(all.y.dataSync(), rows.layer.forward(values, sets, parameters), 4);
      const truth = rows.layer.backward(values, gradient, sets, parameters);
      expectNear(all.dx.dataSync(), truth.dx, 16);
      for (const [name, sums] of [
        ["gamma", truth.dweight],
        ["beta", truth.dbias],
      ] as const) {
        const one = all[name];
        expect(one === undefined).toBe(!switches[name === "gamma" ? "scale" : "center"]);
        if (one) {
          expect(one.shape).toEqual([3, 2]);
          expectNear(one.dataSync(), sums, 2, 10);
        }
      }
    });
  });
});
