/** `tf.batchNorm` and its gradient, which are tfjs's kernel `FusedBatchNorm`. */
import { describe, expect, test } from "vitest";
import * as reference from "../reference/batch.mjs";
import {
  BACKENDS,
  batchNorm,
  distance,
  expectNear,
  installedOn,
  numbers,
  sizeOf,
  tf,
} from "./tfjs.js";

/** A shape, its channel axis, and the shape of what is one a channel. */
const PLACES: [shape: number[], axis: number, one: number[]][] = [
  [[7, 5], 1, [5]],
  [[7, 5], 0, [7, 1]],
  [[3, 4, 6], 2, [6]],
  [[3, 4, 6], 1, [4, 1]],
  [[3, 4, 6], 1, [1, 4, 1]],
  [[2, 5, 3, 4], 3, [4]],
  [[2, 5, 3, 4], 1, [1, 5, 1, 1]],
  [[2, 5, 3, 4], 2, [1, 1, 3, 1]],
  [[3, 2, 2, 2], 0, [3, 1, 1, 1]],
  // More than what is in our memory at a time, and a rest of it.
  [[5, 64, 300], 1, [1, 64, 1]],
  [[700, 300], 1, [300]],
];
const EPSILON = 1e-3;

describe.each(BACKENDS)("on %s", (backend) => {
  const kernels = installedOn(backend);

  const problem = ([shape, axis, one]: (typeof PLACES)[number]) => {
    const size = sizeOf(shape);
    const channels = sizeOf(one);
    const arrays = {
      x: numbers(size, 1, 3, 1),
      dy: numbers(size, 2),
      mean: numbers(channels, 3, 1, 1),
      variance: numbers(channels, 4, 1, 2),
      weight: numbers(channels, 5, 1, 1),
      bias: numbers(channels, 6),
    };
    const { mean, variance, weight, bias } = arrays;
    const statistics = { mean: new Float64Array(mean), variance: new Float64Array(variance) };
    const parameters = { weight, bias, eps: EPSILON };
    const tensors = {
      ...{ x: tf.tensor(arrays.x, shape), dy: tf.tensor(arrays.dy, shape) },
      ...{ mean: tf.tensor(mean, one), variance: tf.tensor(variance, one) },
      ...{ scale: tf.tensor(weight, one), offset: tf.tensor(bias, one) },
    };
    const sets = reference.channelsOf(shape, axis);
    return { arrays, statistics, parameters, tensors, sets };
  };

  test.each(PLACES)("it is right for %j with channels along %i, given as %j", (...place) => {
    const { arrays, statistics, parameters, tensors, sets } = problem(place);
    const { x, mean, variance, scale, offset } = tensors;
    const y = batchNorm(x, mean, variance, offset, scale, EPSILON);
    // The map is one multiplication and two additions, with constants rounded once.
    expectNear(y.dataSync(), reference.forward(arrays.x, sets, statistics, parameters), 4);
    const bare = batchNorm(x, mean, variance, undefined, undefined, EPSILON);
    const plain = { eps: EPSILON };
    expectNear(bare.dataSync(), reference.forward(arrays.x, sets, statistics, plain), 4);
  });

  // Longer than what is computed at once.
  const long: (typeof PLACES)[number] = [[260, 33, 250], 1, [33, 1]];

  test.each([...PLACES, long])("so are all its gradients: %j, %i, %j", (...place) => {
    const { arrays, statistics, parameters, tensors, sets } = problem(place);
    const { x, dy, mean, variance, scale, offset } = tensors;
    const f = (...all: tf.Tensor[]) => {
      const [x, mean, variance, offset, scale] = all as [tf.Tensor, tf.Tensor, ...tf.Tensor[]];
      return batchNorm(x, mean, variance as tf.Tensor, offset, scale, EPSILON);
    };
    const [dx, dmean, dvariance, doffset, dscale] = tf
      .grads(f)([x, mean, variance, offset, scale], dy)
      .map((gradient) => gradient.dataSync());
    const { x: values, dy: gradient } = arrays;
    const truth = reference.backwardConstant(values, gradient, sets, statistics, parameters);
    const { weight } = arrays;
    const r = statistics.variance.map((value) => 1 / Math.sqrt(value + EPSILON));
    expectNear(dx as Float32Array, truth.dx, 4);
    // Sums of so many numbers up to 4, sixteen of them at a time in float32.
    const largest = (4 * values.length) / sets.number;
    expectNear(doffset as Float32Array, truth.dbias, 2, largest);
    expectNear(dscale as Float32Array, truth.dweight, 2, largest);
    const dm = truth.dbias.map((sum, c) => -sum * (r[c] as number) * (weight[c] as number));
    expectNear(dmean as Float32Array, dm, 2, largest);
    const dv = truth.dweight.map(
      (sum, c) => -0.5 * sum * (r[c] as number) ** 2 * (weight[c] as number),
    );
    expectNear(dvariance as Float32Array, dv, 2, largest);
  });

  test("a gradient of the gradient is that of the formula", () => {
    const { x, mean, variance, scale } = problem([[2, 3, 2, 4], 1, [1, 3, 1, 1]]).tensors;
    const offset = tf.zeros([1, 3, 1, 1]);
    const secondOf = (f: (x: tf.Tensor, v: tf.Tensor) => tf.Tensor) =>
      tf.grads((x: tf.Tensor, v: tf.Tensor) =>
        tf.sum(tf.square(tf.grad((x: tf.Tensor) => tf.sum(tf.square(f(x, v))))(x))),
      )([x, variance]);
    const ours = secondOf((x, v) => batchNorm(x, mean, v, offset, scale, EPSILON));
    const formula = secondOf((x, v) =>
      tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(v, EPSILON))), scale),
    );
    ours.forEach((one, i) => {
      expectNear(one.dataSync(), (formula[i] as tf.Tensor).dataSync(), 32);
    });
  });

  test.each<[string, number[], number[]]>([
    ["of x's own shape", [2, 3, 4], [2, 3, 4]],
    ["of its last axes", [2, 3, 4], [1, 3, 4]],
    ["of its first and last axis, which tfjs gets wrong", [2, 3, 4], [2, 1, 4]],
    ["of its first axes, which tfjs gets wrong", [2, 3, 4], [2, 3, 1]],
  ])("statistics %s are right: %j, %j", (_, shape, one) => {
    const x = tf.tensor(numbers(sizeOf(shape), 1), shape);
    const mean = tf.tensor(numbers(sizeOf(one), 2), one);
    const variance = tf.tensor(numbers(sizeOf(one), 3, 1, 2), one);
    const formula = (x: tf.Tensor) => tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, EPSILON)));
    const [offset, scale] = [tf.zerosLike(mean), tf.onesLike(mean)];
    const fused = (x: tf.Tensor) => batchNorm(x, mean, variance, offset, scale, EPSILON);
    expect(distance(fused(x).dataSync(), formula(x).dataSync())).toBeLessThan(1e-6);
    const gradientOf = (f: (x: tf.Tensor) => tf.Tensor) =>
      tf
        .grad((x: tf.Tensor) => tf.sum(tf.square(f(x))))(x)
        .dataSync();
    expect(distance(gradientOf(fused), gradientOf(formula))).toBeLessThan(1e-5);
  });

  test.each<[string, number[], number[], number[]]>([
    ["of several axes", [2, 3, 4], [3, 4], [3, 4]],
    ["with one β for all", [2, 3, 4], [4], [1]],
    ["of an empty batch, along another axis than the last", [0, 3, 4], [3, 1], [3, 1]],
    ["of an empty batch, in no memory of tfjs's own", [0, 4], [4], [4]],
  ])("all gradients %s are of their inputs' shapes, and right: %j, %j, %j", (_, ...shapes) => {
    const [shape, one, ofOffset] = shapes;
    const inputs = [shape, one, one, ofOffset, one].map((shape, k) =>
      tf.tensor(numbers(sizeOf(shape), k, 1, 2), shape),
    );
    const gradientsOf = (f: (...all: tf.Tensor[]) => tf.Tensor) => tf.grads(f)(inputs);
    const fused = gradientsOf((x, mean, variance, offset, scale) =>
      batchNorm(x as tf.Tensor, mean as tf.Tensor, variance as tf.Tensor, offset, scale, EPSILON),
    );
    // What tfjs adds up of nothing is wrong on wasm.
    const formula = gradientsOf((...all) => {
      const [x, mean, variance, offset, scale] = all as [tf.Tensor, tf.Tensor, ...tf.Tensor[]];
      const r = tf.rsqrt(tf.add(variance as tf.Tensor, EPSILON));
      const weighted = tf.mul(tf.mul(tf.sub(x, mean), r), scale as tf.Tensor);
      return tf.add(weighted, offset as tf.Tensor);
    }).map((one) => (sizeOf(shape) > 0 ? one : tf.zerosLike(one)));
    fused.forEach((one, k) => {
      const truth = formula[k] as tf.Tensor;
      expect(one.shape).toEqual(truth.shape);
      expectNear(one.dataSync(), truth.dataSync(), 16);
    });
  });

  test("an ε below 0 is like any other where the variance is larger", () => {
    const x = tf.tensor([1, 2, 3, 4], [2, 2]);
    const y = batchNorm(x, tf.zeros([2, 1]), tf.tensor([2, 5], [2, 1]), undefined, undefined, -1);
    expectNear(y.dataSync(), [1, 2, 1.5, 2], 4);
  });

  test("of one value a channel each is normalized, of none nothing; NaN stays in its channel", () => {
    const scalar = tf.tensor(Float32Array.of(1), [1, 1]);
    const four = tf.tensor([4], [1, 1]);
    const y = batchNorm(tf.tensor([3, 5], [1, 2]), scalar, four, undefined, undefined, 0);
    expect([...y.dataSync()]).toEqual([1, 2]);
    const empty = batchNorm(tf.zeros([0, 3]), tf.zeros([3]), tf.ones([3]));
    expect(empty.shape).toEqual([0, 3]);
    const x = tf.tensor([Number.NaN, 1, 2, 3], [2, 2]);
    const apart = batchNorm(x, tf.zeros([2]), tf.ones([2]), undefined, undefined, 0);
    expect([...apart.dataSync()]).toEqual([Number.NaN, 1, 2, 3]);
  });

  test("a negative variance is NaN, as in tfjs, and no error of ours", () => {
    const x = tf.tensor([1, 2, 3, 4], [2, 2]);
    const variance = tf.tensor1d([-1, 4]);
    const [zeros, ones] = [tf.zeros([2]), tf.ones([2])];
    const f = (x: tf.Tensor) => batchNorm(x, zeros, variance, zeros, ones, 0);
    expect([...f(x).dataSync()]).toEqual([Number.NaN, 1, Number.NaN, 2]);
    const dx = tf
      .grad((x: tf.Tensor) => tf.sum(f(x)))(x)
      .dataSync();
    expect([...dx]).toEqual([Number.NaN, 0.5, Number.NaN, 0.5]);
  });

  test("integers are tfjs's own affair", () => {
    const x = tf.tensor([1, 2, 3, 4], [2, 2], "int32");
    const y = () => batchNorm(x, tf.zeros([2]), tf.ones([2])).dataSync();
    const ours = [...y()];
    kernels.uninstall();
    expect(ours).toEqual([...y()]);
  });
});
