/** What writing the tests of faults found beyond them, each as the call that showed it. */
import { runInNewContext } from "node:vm";
import {
  BatchNorm,
  BatchNormalization,
  BatchNormError,
  type BatchNormSaved,
  batchNormBackward,
  batchNormInference,
  batchNormStatistics,
  batchNormTraining,
  createKernel,
  memoryUsage,
  type Parameter,
  type PlainTensor,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { counting, expectError, kernelBytes, loaded, values, wrong } from "./call-helpers.js";

describe("set", () => {
  test("of a strided view to values that lie among its elements writes what they were", () => {
    const whole = counting([3, 4]);
    const view = whole.slice(1, 1, 3);
    view.set(whole.data.subarray(0, 6));
    expect(values(view)).toEqual([1, 2, 3, 4, 5, 6]);
  });
});

describe("an argument", () => {
  test("saved is checked where it is false, 0, an empty string or NaN", () => {
    const x = counting([4, 3]);
    const [mean, variance] = [counting([3]), counting([3])];
    for (const saved of [0, "", Number.NaN, 0n].map(wrong)) {
      expectError("invalid-option", [], () => batchNormInference(x, { mean, variance, saved }));
      expectError("invalid-option", [], () => batchNormTraining(x, { saved }));
    }
    expectError("invalid-option", [], () => batchNormTraining(x, { saved: wrong(false) }));
  });

  test("of slice is checked before it is compared: BigInt, Symbol, an object", () => {
    const x = counting([3]);
    const object = {
      valueOf() {
        throw new Error("called");
      },
    };
    for (const index of [-1n, 1n, Symbol("1"), object].map(wrong)) {
      expectError("invalid-shape", [], () => x.slice(0, index));
      expectError("invalid-shape", [], () => x.slice(0, 0, index));
    }
  });

  test("offset, strides and fortranOrder of { data, shape } are checked where they are not nullish", () => {
    const data = Float32Array.from({ length: 20_000 }, (_, i) => i);
    const nothings = [Number.NaN, "", false, 0n];
    const offsets = [...nothings, "1", true, [1], 1n, Symbol("1"), { valueOf: () => 1 }];
    const strides = [[2], [2, 1, 7], ["2", "1"], [2n, 1n], [Symbol("2"), 1], [Number.NaN, 1]];
    const layouts: object[] = [
      ...offsets.map((offset) => ({ offset, strides: [2, 1] })),
      ...strides.map((strides) => ({ strides })),
      ...["false", "true", 0, 1].map((fortranOrder) => ({ fortranOrder })),
    ];
    for (const layout of layouts) {
      const plain = wrong({ data, shape: [2, 2], ...layout });
      expectError(/invalid-shape|invalid-option/, [], () => batchNormStatistics(plain));
    }
  });

  test("that is a view of kernel memory is read before an allocation for another can detach it", () => {
    const kernel = createKernel(kernelBytes);
    const channels = 2 ** 20;
    const vector = () => Tensor.zeros([channels], { kernel });
    const [m, v] = [vector(), vector()];
    v.data.fill(1);
    const x = Tensor.zeros([1, channels], { kernel });
    // 12 of 16 MiB are taken: the copy of the mean grows the memory.
    const y = batchNormInference(x, { mean: m.data, variance: v.data });
    expect(y.size).toBe(channels);
    const big: PlainTensor = { data: new Float32Array(8 * channels), shape: [8, channels] };
    expect(batchNormTraining(big, { weight: v.data, kernel }).y.shape).toEqual([8, channels]);
  });
});

describe("a layer", () => {
  test("that a getter of x or of the options disposes is not built again", () => {
    const calls: ((bn: BatchNorm) => unknown)[] = [
      (bn) =>
        bn.forward({
          get data() {
            bn.dispose();
            return [1, 2, 3, 4];
          },
          shape: [2, 2],
        }),
      (bn) =>
        bn.forward(Tensor.from([1, 2, 3, 4], [2, 2]), {
          get training() {
            bn.dispose();
            return true;
          },
        }),
    ];
    for (const call of calls) {
      const bn = new BatchNorm(2);
      expect(() => call(bn)).toThrow(expect.objectContaining({ code: "disposed" }));
      expect([bn.numFeatures, bn.weight]).toEqual([null, null]);
    }
  });
});

describe("a Proxy", () => {
  test("around a parameter or Keras's layer is a typed error where they have fields of their own", () => {
    const weight = new BatchNorm(3).weight as Parameter;
    const parameter = new Proxy(weight, {});
    const keras = new Proxy(new BatchNormalization(), {});
    for (const call of [
      () => parameter.grad,
      () => Object.assign(parameter, { grad: null }),
      () => parameter.dispose(),
      () => keras.trainable,
      () => Object.assign(keras, { trainable: false }),
    ]) {
      expectError("dtype", [], call, [weight]);
    }
  });

  test("around a tensor is named where data could be, too", () => {
    const [x, vector] = [counting([4, 3]), counting([3])];
    const weight = new Proxy(counting([3]), {});
    const words = ["Proxy"];
    expectError("dtype", words, () => batchNormTraining(x, { weight: wrong(weight) }));
    expectError("dtype", words, () =>
      batchNormInference(x, { mean: wrong(weight), variance: [1] }),
    );
    expectError("dtype", words, () => vector.set(wrong(weight)));
  });
});

describe("scope", () => {
  const wraps: Record<string, (y: Tensor) => unknown> = {
    "in a Map of another realm": (y) => runInNewContext("new Map([[1, y]])", { y }),
    "in a Set of another realm": (y) => runInNewContext("new Set([y])", { y }),
    "in a Map whose forEach is its own": (y) =>
      Object.assign(new Map([["y", y]]), { forEach: () => {} }),
    "in a Proxy around a Map": (y) => new Proxy(new Map([["y", y]]), {}),
    "as a property of a function": (y) => Object.assign(() => 1, { y }),
  };
  for (const [name, wrap] of Object.entries(wraps)) {
    test(`doesn't free silently what is returned ${name}`, () => {
      let y: Tensor | undefined;
      let error: unknown;
      try {
        scope(() => {
          y = counting([2]);
          return wrap(y);
        });
      } catch (thrown) {
        error = thrown;
      }
      // Kept, or refused.
      if (error === undefined) expect(y?.disposed).toBe(false);
      else expect(error).toBeInstanceOf(BatchNormError);
    });
  }
});

describe("the copy of x that a record owns", () => {
  test("can be normalized again into the same record, also in place", () => {
    for (const inPlace of [false, true]) {
      const { saved } = batchNormTraining({ data: [1, 2, 3, 5], shape: [2, 2] });
      const { x } = saved;
      const { y } = batchNormTraining(x, { saved, out: inPlace ? x : null });
      expect([x.disposed, y.disposed]).toEqual([false, false]);
      if (!inPlace) expect(batchNormBackward(y, { saved }).dx.size).toBe(4);
    }
    const bn = new BatchNorm(2);
    bn.forward({ data: [1, 2, 3, 5], shape: [2, 2] });
    const y = bn.forward(bn.saved?.x as Tensor);
    expect(bn.backward(y).size).toBe(4);
  });
});

describe("what is on Object.prototype", () => {
  test("is no layout of { data, shape }", () => {
    const inherited = Object.prototype as Record<string, unknown>;
    for (const name of ["strides", "stride", "offset", "fortranOrder"]) {
      inherited[name] = 1;
      try {
        const { mean } = batchNormStatistics({ data: [0, 1, 2, 3, 9], shape: [2, 2] });
        expect([...mean], name).toEqual([1, 2]);
      } catch (error) {
        // Five values don't fill the shape: what has to be said.
        expect(error, name).toMatchObject({ code: "invalid-shape" });
        expect((error as Error).message, name).toContain("data of 5");
      } finally {
        delete inherited[name];
      }
    }
  });
});

describe("what an attacker tried", () => {
  test("a property on Object.prototype that isn't enumerable is no option, and overwrites nothing", () => {
    const victim = counting([2, 2]);
    for (const [name, value] of [
      ["out", victim],
      ["eps", 1000],
      ["kernel", createKernel(kernelBytes)],
    ] as const) {
      Object.defineProperty(Object.prototype, name, { value, configurable: true });
      try {
        new BatchNorm(2).forward(Tensor.from([1, 2, 3, 5], [2, 2]), { training: true });
        expect(new BatchNorm(2, {}).eps, name).toBe(1e-5);
      } finally {
        delete (Object.prototype as Record<string, unknown>)[name];
      }
    }
    expect(values(victim)).toEqual([1, 2, 3, 4]);
  });

  test("an own layout counts where Object.prototype has such a name, too", () => {
    Object.defineProperty(Object.prototype, "stride", { value: 1, configurable: true });
    try {
      const plain = { data: [1, 2, 3, 10, 20, 60], shape: [3, 2], stride: [1, 3] };
      expect([...batchNormStatistics(plain).mean]).toEqual([2, 30]);
    } finally {
      delete (Object.prototype as Record<string, unknown>).stride;
    }
  });

  test("a length that is none, or another at each look, is a typed error", () => {
    const lying = (array: unknown[], length: unknown) =>
      wrong(
        new Proxy(array, {
          get: (all, key) => (key === "length" ? length : Reflect.get(all, key)),
        }),
      );
    let looks = 0;
    const three = counting([3]);
    const lengths = ["3", 3n, Symbol("3"), Number.NaN, -1, 0.5, 2.5, undefined, { slice: () => 5 }];
    for (const length of [...lengths, { valueOf: () => (looks++ === 0 ? 1 : 3000) }]) {
      expectError("dtype", [], () => Tensor.from(lying([1, 2, 3], length)));
      expectError("dtype", [], () => three.set(lying([1, 2, 3], length)));
      expectError("invalid-shape", [], () => Tensor.from([5], lying([1], length)));
    }
  });

  test("where JavaScript has no room for a large result nothing has happened", () => {
    const data = new Float32Array(2 ** 19).map((_, i) => i % 7);
    const plain = { data, shape: [2 ** 18, 2] };
    const [bn, weightGrad] = [new BatchNorm(2).train(), Tensor.zeros([2])];
    const { saved } = batchNormTraining(plain, { weight: [1, 1] });
    const before = bn.stateDict();
    const usage = memoryUsage();
    const { Float32Array: builtin } = globalThis;
    const full = new Proxy(builtin, {
      construct(target, args) {
        if (args[0] === data.length) throw new RangeError("Array buffer allocation failed");
        return Reflect.construct(target, args);
      },
    });
    globalThis.Float32Array = full;
    try {
      expectError("out-of-memory", [], () => bn.forward(plain));
      expectError("out-of-memory", [], () => batchNormBackward(plain, { saved, weightGrad }));
    } finally {
      globalThis.Float32Array = builtin;
    }
    expect(bn.stateDict()).toEqual(before);
    expect(values(weightGrad)).toEqual([0, 0]);
    expect(memoryUsage().liveBytes).toBe(usage.liveBytes);
  });

  test("a record of the layer that a function has overwritten gives no gradient", () => {
    const bn = new BatchNorm(2, { affine: false });
    bn.forward(Tensor.from([1, 2, 3, 5], [2, 2]));
    batchNormTraining(Tensor.from([9, 2, 30, 5], [2, 2]), { saved: bn.saved as BatchNormSaved });
    const dy = Tensor.zeros([2, 2]);
    expectError("stale", [], () => bn.backward(dy));
  });

  test("a kernel is made by createKernel alone, and keeps the memory that it asked for", () => {
    const kernel = createKernel(new WebAssembly.Module(kernelBytes), { initialBytes: 2 ** 26 });
    const Kernel = wrong(kernel.constructor) as new (exports?: unknown) => unknown;
    for (const exports of [undefined, null, {}])
      expectError("kernel", [], () => new Kernel(exports));
    const { memoryBytes } = kernel.memoryUsage();
    Tensor.zeros([12 * 2 ** 20], { kernel });
    expect(kernel.memoryUsage().memoryBytes).toBe(memoryBytes);
    const most = 65535 * 65536;
    expectError("invalid-option", [], () => createKernel(kernelBytes, { initialBytes: most + 1 }));
  });

  test("a gradient that is set inside of a scope is its parameter's", () => {
    const bn = new BatchNorm(2);
    scope(() => {
      (bn.weight as Parameter).grad = Tensor.zeros([2]);
    });
    expect(bn.weight?.grad?.disposed).toBe(false);
  });

  test("a count without a shape, as int64 tensors of one value have it, is a count", () => {
    const dict = { ...new BatchNorm(1).stateDict() };
    for (const shape of [[], [1]]) {
      const count = wrong({ data: BigInt64Array.of(5n), shape });
      const bn = loaded(new BatchNorm(1), { ...dict, num_batches_tracked: count });
      expect(bn.numBatchesTracked).toBe(5);
    }
  });

  test("the same elements with another stride along an axis of one are in place", () => {
    const whole = counting([1, 3, 4]);
    const x = whole.slice(1, 1, 2);
    const y = batchNormTraining(x, { axis: 2, out: x.reshape([1, 1, 4]) }).y;
    expect(values(x)).toEqual(values(y));
  });

  test("a record that was disposed tells no weight", () => {
    const { saved } = batchNormTraining(counting([4, 3]), { weight: counting([3]) });
    saved.dispose();
    expectError("disposed", [], () => saved.weight);
  });
});
