/**
 * What random hostile calls found, each as the very call that showed it: writes to where none
 * belongs, and what was not checked or not as it was used. Through the public API alone, so
 * that the file can be run against what came before.
 */
import {
  BatchNorm,
  BatchNormalization,
  type BatchNormErrorCode,
  type BatchNormSaved,
  batchNormBackward,
  batchNormInference,
  batchNormStatistics,
  batchNormTraining,
  createKernel,
  defaultKernel,
  memoryUsage,
  Parameter,
  reserve,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { counting, expectError, kernelBytes, replaced, values, wrong } from "./call-helpers.js";
import { expectWithin, U } from "./helpers.js";
import { exampleOf } from "./operations.js";

describe("an output that is false, 0, an empty string or NaN", () => {
  const nothings = [false, 0, "", Number.NaN, 0n, -0];

  test("is refused, and the last call's output stays as it was", () => {
    for (const out of nothings) {
      const bn = new BatchNorm(2).eval();
      const y1 = bn.forward(Tensor.from([1, 2, 3, 4], [2, 2]));
      const x = Tensor.from([50, 60, 70, 80], [2, 2]);
      expectError("dtype", [], () => bn.forward(x, { out: wrong(out) }), [y1, x]);
      const inferred = [50, 60, 70, 80].map((value) => value / Math.sqrt(1 + 1e-5));
      // 1/√(1 + ε) is rounded, and its product with x.
      const bounds = inferred.map((value) => 2 * U * value);
      expectWithin(values(bn.forward(x)), inferred, bounds, "y");
    }
  });

  test("is refused by every forward and backward pass, before anything is written", () => {
    const { x, dy, bn, saved, mean, variance, out: last } = exampleOf();
    const watched = [x, dy, last, bn];
    for (const nothing of nothings) {
      const out = wrong(nothing);
      const calls = [
        () => bn.forward(x, { out }),
        () => bn.forward(x, { out, training: false }),
        () => bn.backward(dy, { out }),
        () => batchNormTraining(x, { out }),
        () => batchNormInference(x, { mean, variance, out }),
        () => batchNormBackward(dy, { saved, out }),
      ];
      for (const call of calls) {
        batchNormTraining(x, { out: last });
        expectError("dtype", [], call, watched);
      }
    }
  });

  test("is refused as a gradient, and dx and the other gradient are not written", () => {
    const { dy, saved, out } = exampleOf();
    const other = Tensor.zeros([3]);
    for (const nothing of nothings.map(wrong)) {
      for (const options of [
        { weightGrad: nothing, biasGrad: other },
        { weightGrad: other, biasGrad: nothing },
      ]) {
        expectError("dtype", [], () => batchNormBackward(dy, { saved, out, ...options }), [
          other,
          out,
        ]);
      }
    }
  });

  test("is refused as whatever else a call takes", () => {
    const { x, dy, mean, variance, bn } = exampleOf();
    for (const nothing of nothings.map(wrong)) {
      const calls = [
        () => batchNormTraining(x, { weight: nothing }),
        () => batchNormTraining(x, { bias: nothing }),
        () => batchNormTraining(x, { runningMean: nothing, runningVar: variance }),
        () => batchNormStatistics(x, { runningMean: mean, runningVar: nothing }),
        () => batchNormInference(x, { mean: nothing, variance }),
        () => batchNormInference(x, { mean, variance: nothing }),
        () => batchNormTraining(x, { kernel: nothing }),
        () => new BatchNorm(3, { preset: nothing }),
        () => bn.backward(dy, { saved: nothing }),
        () => batchNormBackward(dy, { saved: nothing }),
        () => bn.loadStateDict(nothing),
        () => bn.forward(x, nothing),
        () => Tensor.zeros([1], nothing),
      ];
      for (const call of calls) {
        expectError(/dtype|invalid-option|unknown-option|state-dict/, [], call, [mean, variance]);
      }
    }
    // Of these one has a meaning: no record.
    expect(batchNormInference(x, { mean, variance, saved: false })).toBeInstanceOf(Tensor);
  });
});

describe("what becomes an address, a size or an index", () => {
  const noNumbers = ["length", "1", "", true, null, undefined, [1], {}, Number.NaN, 0.5, 2 ** 53];

  test("is checked by slice: no view leaves its storage", () => {
    const x = Tensor.zeros([1, 400]);
    const neighbour = counting([400]);
    for (const value of noNumbers.map(wrong)) {
      expectError("invalid-shape", [], () => x.slice(value, 0, 2), [neighbour]);
      expectError("invalid-shape", [], () => x.slice(1, value), [neighbour]);
      if (value === undefined || value === null) continue;
      expectError("invalid-shape", [], () => x.slice(1, 0, value), [neighbour]);
    }
    expect(x.slice(1, 0, 2).size).toBe(2);
  });

  test("is checked as an axis, a feature count, an offset and a number of bytes", () => {
    const x = counting([4, 3]);
    for (const value of noNumbers.filter((value) => value !== null && value !== undefined)) {
      expectError("invalid-option", [], () => batchNormTraining(x, { axis: wrong(value) }));
      expectError("invalid-option", [], () => batchNormStatistics(x, { axis: wrong(value) }));
      expectError("invalid-option", [], () => new BatchNorm(3, { axis: wrong(value) }));
      expectError("invalid-option", [], () => new BatchNormalization({ axis: wrong(value) }));
      if (value !== 2 ** 53) expectError("invalid-option", [], () => new BatchNorm(wrong(value)));
      expectError("invalid-option", [], () => reserve(wrong(value)));
      expectError("invalid-option", [], () => x.set([1], wrong(value)), [x]);
      const options = { initialBytes: wrong(value) };
      expectError("invalid-option", [], () => createKernel(kernelBytes, options));
    }
  });

  test("is no user's to choose: nobody makes a tensor but by zeros, from and views", () => {
    const x = counting([4, 3]);
    class Own extends Tensor {}
    const huge = [1000, 1000];
    for (const Class of [Tensor, Parameter, Own, x.constructor].map(wrong) as unknown[]) {
      const Kind = Class as new (...given: unknown[]) => Tensor;
      for (const given of [[], [x.storage], [x.storage, huge], [x, huge], [{}, huge, [1, 1], -8]]) {
        expectError("invalid-shape", [], () => new Kind(...given), [x]);
      }
    }
    const Saved = (batchNormTraining(x).saved as object).constructor as new (
      given?: unknown,
    ) => object;
    for (const given of [undefined, null, {}, defaultKernel(), x]) {
      expectError("invalid-option", [], () => new Saved(given));
    }
  });
});

describe("memory that was freed", () => {
  const MB = 2 ** 20;

  test("joins: of tensors that grow, each freed before the next, none runs out", () => {
    const kernel = createKernel(kernelBytes);
    for (let n = 1; n <= 64; n++) Tensor.zeros([n * 2 ** 18], { kernel }).dispose();
    expect(memoryUsage({ kernel })).toMatchObject({ liveBytes: 0, liveStorages: 0 });
    // The largest of 64 MB, and what growing geometrically takes beyond.
    expect(memoryUsage({ kernel }).memoryBytes).toBeLessThan(90 * MB);
  });

  test("serves batches that grow by an image each", () => {
    const kernel = createKernel(kernelBytes);
    const bn = new BatchNorm(16, { kernel });
    let largest = 0;
    for (let n = 1; n <= 64; n++) {
      scope(
        () => {
          const x = Tensor.zeros([n, 16, 64, 64], { kernel });
          bn.forward(x);
          bn.backward(x);
          largest = memoryUsage({ kernel }).liveBytes;
        },
        { kernel },
      );
    }
    expect(largest).toBeGreaterThan(48 * MB);
    expect(memoryUsage({ kernel }).memoryBytes).toBeLessThan(1.8 * largest);
  });
});

describe("an overlap is refused", () => {
  test("of running statistics with x, the weight or the bias", () => {
    for (const row of [0, 2]) {
      const { x, weight, bias, mean, variance } = exampleOf();
      const watched = [x, weight, bias, mean, variance];
      for (const shared of [x.slice(0, row, row + 1).reshape([3]), weight, bias]) {
        for (const running of [
          { runningMean: shared, runningVar: variance },
          { runningMean: mean, runningVar: shared },
        ]) {
          const training = () => batchNormTraining(x, { weight, bias, ...running });
          expectError("overlap", [], training, watched);
          if (shared !== weight && shared !== bias) {
            expectError("overlap", [], () => batchNormStatistics(x, running), watched);
          }
        }
      }
    }
  });

  test("of gradients and dx with the statistics that were given to inference", () => {
    const { x, dy } = exampleOf();
    const whole = counting([12]);
    const [mean, variance] = [whole.slice(0, 3, 6), whole.slice(0, 8, 11)];
    const { saved } = batchNormInference(x, { mean, variance, weight: [1, 2, 3], saved: true });
    for (const from of [1, 3, 5, 8, 9]) {
      const shared = whole.slice(0, from, from + 3);
      for (const options of [{ weightGrad: shared }, { biasGrad: shared }]) {
        expectError("overlap", [], () => batchNormBackward(dy, { saved, ...options }), [whole]);
      }
    }
    const out = whole.reshape([4, 3]);
    expectError("overlap", [], () => batchNormBackward(dy, { saved, out }), [whole]);
    const apart = whole.slice(0, 0, 3);
    expect(batchNormBackward(dy, { saved, weightGrad: apart }).weightGrad).toBe(apart);
    expect(values(whole.slice(0, 3, 12))).toEqual([4, 5, 6, 7, 8, 9, 10, 11, 12]);
  });

  test("of y and the running statistics of a frozen layer that also updates", () => {
    const bn = new BatchNorm(2, { statistics: "running", updateRunningStats: true });
    const [mean, variance] = [bn.runningMean as Tensor, bn.runningVar as Tensor];
    const x = Tensor.from([0.5, 10], [1, 2]);
    for (const shared of [mean, variance]) {
      const out = shared.reshape([1, 2]);
      expectError("overlap", [], () => bn.forward(x, { out }), [x, mean, variance]);
    }
    expect(bn.numBatchesTracked).toBe(0);
    bn.forward(x);
    expect(mean.data[0]).toBe(Math.fround(0.1 * 0.5));
  });

  test("of a gradient that was set and what the call reads", () => {
    const bn = new BatchNorm(3, { statistics: "running" });
    const [x, dy] = [counting([4, 3]), counting([4, 3])];
    bn.forward(x);
    const statistics = [bn.runningMean as Tensor, bn.runningVar as Tensor];
    for (const shared of [...statistics, x.slice(0, 1, 2).reshape([3])]) {
      (bn.bias as Parameter).grad = shared;
      expectError("overlap", [], () => bn.backward(dy), [x, ...statistics]);
    }
  });
});

describe("an empty batch", () => {
  test("has views, also where they start behind the end of its storage", () => {
    const view = Tensor.zeros([0, 64, 56, 56]).slice(1, 32, 64);
    expect(view.shape).toEqual([0, 32, 56, 56]);
    expect(view.data).toHaveLength(0);
    expect(view.toFloat32Array()).toHaveLength(0);
    expect(view.slice(2, 5).reshape([0, 3]).data).toHaveLength(0);
    expect(view.set([]).size).toBe(0);
    expect(batchNormTraining(view).y.shape).toEqual(view.shape);
    expect(new BatchNorm(32).eval().forward(view, { out: view })).toBe(view);
  });
});

describe("what was checked is not read again", () => {
  test("a shape is an array of its own, whatever class or Proxy it was", () => {
    class Lying extends Array<number> {
      static override get [Symbol.species](): ArrayConstructor {
        throw new Error("species");
      }
      override *[Symbol.iterator](): ArrayIterator<number> {
        for (let i = 0; i < 100; i++) yield 1000;
      }
      override reduce(): never {
        return wrong(1);
      }
      override map(): never {
        return wrong([1000]);
      }
    }
    let reads = 0;
    const changing = new Proxy([2, 3], {
      get: (target, key) => (key === "0" && reads++ > 0 ? 1000 : Reflect.get(target, key)),
    });
    for (const shape of [Lying.of(2, 3), changing]) {
      reads = 0;
      const tensors = [Tensor.zeros(shape)];
      reads = 0;
      tensors.push(Tensor.from([1, 2, 3, 4, 5, 6], shape));
      reads = 0;
      tensors.push(counting([6]).reshape(shape));
      reads = 0;
      tensors.push(batchNormTraining({ data: [1, 2, 3, 4, 5, 6], shape }).saved.x);
      for (const tensor of tensors) {
        expect(tensor.shape).toEqual([2, 3]);
        expect(Object.getPrototypeOf(tensor.shape)).toBe(Array.prototype);
        expect(tensor.storage.bytes).toBe(24);
        expect(tensor.slice(0, 1).toFloat32Array()).toHaveLength(3);
      }
    }
  });

  type Name = Exclude<keyof ReturnType<typeof exampleOf>, "all">;

  const calls: Record<string, [names: Name[], (x: unknown, o: never) => unknown]> = {
    batchNormTraining: [["out", "weight", "bias"], (x, o) => batchNormTraining(wrong(x), o)],
    batchNormInference: [
      ["out", "mean", "variance", "weight"],
      (x, o) => batchNormInference(wrong(x), o),
    ],
    batchNormBackward: [
      ["out", "saved", "weightGrad", "biasGrad"],
      (dy, o) => batchNormBackward(wrong(dy), o),
    ],
  };

  for (const [name, [names, call]] of Object.entries(calls)) {
    test(`a getter that disposes a tensor of ${name} leads to an error, and its memory is not written`, () => {
      const kernel = createKernel(kernelBytes);
      for (const asked of [...names, "data"]) {
        for (const victim of [...names, "x"] as Name[]) {
          const all = exampleOf(kernel, 16);
          // What the record of the example is of.
          const input = name === "batchNormBackward" && victim !== "x" ? all.dy : all.x;
          if (asked === "data" && victim === "x" && name !== "batchNormBackward") continue;
          let successor: Tensor | undefined;
          const strike = <T>(answer: T): T => {
            const one = all[victim];
            if (one instanceof Tensor) successor ??= replaced(one);
            else one.dispose();
            return answer;
          };
          const isPlain = asked === "data" && name !== "batchNormBackward";
          const options = isPlain ? { kernel } : {};
          for (const one of names) {
            // With plain data there is no output to choose.
            if (asked === "data" && one === "out") continue;
            const get = () => (one === asked ? strike(all[one]) : all[one]);
            Object.defineProperty(options, one, { get, enumerable: true });
          }
          const plain = {
            get data() {
              return strike(Array.from({ length: 64 }, (_, i) => i));
            },
            shape: [4, 16],
          };
          if (asked === "data" && victim === "out") continue;
          let error: unknown;
          try {
            call(asked === "data" ? plain : input, wrong(options));
          } catch (thrown) {
            error = thrown;
          }
          const place = `${name}: ${asked} disposes ${victim}`;
          expect(error, place).toMatchObject({ code: expect.stringMatching(/disposed|stale/) });
          if (victim === "saved") continue;
          const { size } = successor as Tensor;
          const expected = Array.from({ length: size }, (_, i) => 100 + i);
          expect(values(successor as Tensor), place).toEqual(expected);
        }
      }
    });
  }

  test("a getter that calls the layer in again changes nothing of the call around it", () => {
    const [x, other, dy] = [counting([4, 3]), counting([4, 3], -7), counting([4, 3], 5)];
    const [bn, same] = [new BatchNorm(3), new BatchNorm(3)];
    const y = bn.forward(x, {
      get out() {
        bn.forward(other);
        bn.backward(dy);
        return null;
      },
    });
    same.forward(other);
    same.backward(dy);
    expect(values(y)).toEqual(values(same.forward(x)));
    expect(bn.stateDict()).toEqual(same.stateDict());
    expect(values(bn.backward(dy))).toEqual(values(same.backward(dy)));
    const plain = {
      get data() {
        bn.forward(other);
        return [...dy.data];
      },
      shape: [4, 3],
    };
    same.forward(other);
    expect([...bn.backward(plain).data]).toEqual(values(same.backward(dy)));
    expect(values(bn.weight?.grad as Tensor)).toEqual(values(same.weight?.grad as Tensor));
  });
});

describe("settings of a layer", () => {
  const wrongs: Record<string, unknown[]> = {
    momentum: [Number.NaN, "x", 5, -0.1, Number.POSITIVE_INFINITY, undefined, true, 1n, [0.1]],
    eps: [Number.NaN, "1e-5", -1e-9, Number.POSITIVE_INFINITY, undefined, null, false],
    training: ["false", 0, 1, undefined, null],
  };
  for (const [name, refused] of Object.entries(wrongs)) {
    test(`${name} is checked when it is set, and stays as it was`, () => {
      for (const value of refused) {
        const bn = new BatchNorm(3);
        const before = bn[name as "eps"];
        expectError("invalid-option", [], () => Object.assign(bn, { [name]: value }));
        expect(bn[name as "eps"]).toBe(before);
        bn.forward(counting([4, 3]));
        expect(values(bn.runningMean as Tensor).every(Number.isFinite)).toBe(true);
      }
    });
  }

  test("momentum and eps that were set count from the next batch on", () => {
    const bn = new BatchNorm(1);
    const x = Tensor.from([0, 4], [2, 1]);
    bn.momentum = 0.5;
    bn.eps = 12;
    expect(values(bn.forward(x))).toEqual([-0.5, 0.5]);
    expect(values(bn.runningMean as Tensor)).toEqual([1]);
    bn.momentum = null;
    bn.resetRunningStats();
    bn.forward(x);
    expect(values(bn.runningMean as Tensor)).toEqual([2]);
    const keras = new BatchNormalization();
    expectError("unsupported", [], () => Object.assign(keras, { momentum: null }));
  });

  test("a gradient is checked when it is set: a contiguous vector of the same kernel and size", () => {
    const weight = new BatchNorm(3).weight as Parameter;
    const kernel = createKernel(kernelBytes);
    const refused: [BatchNormErrorCode, unknown][] = [
      ["foreign-kernel", counting([3], 1, kernel)],
      ["shape-mismatch", counting([4])],
      ["shape-mismatch", counting([1, 3])],
      ["shape-mismatch", counting([3, 2]).slice(1, 0, 1)],
      ["shape-mismatch", counting([6, 2]).slice(1, 0, 1).slice(0, 0, 3)],
      ["overlap", weight],
      ["overlap", weight.reshape([3])],
    ];
    for (const value of [undefined, false, 0, [1, 2, 3], new Float32Array(3), {}]) {
      refused.push(["dtype", value]);
    }
    for (const [code, value] of refused) {
      expectError(code, [], () => Object.assign(weight, { grad: value }), [weight]);
      expect(weight.grad).toBeNull();
    }
    const own = counting([3]);
    weight.grad = own;
    expect(weight.grad).toBe(own);
  });
});

describe("a typed error", () => {
  test("is what a kernel gets that is none, wherever a kernel is taken", () => {
    const { x, mean, variance } = exampleOf();
    const real = defaultKernel();
    const { memory } = real;
    const exports = { memory, allocate: () => 64, release() {}, run: () => 0 };
    for (const one of [5, "kernel", true, [], {}, x, exports, Object.create(real), { memory }]) {
      const kernel = wrong(one);
      const calls = [
        () => Tensor.zeros([1], { kernel }),
        () => Tensor.from([1], [1], { kernel }),
        () => batchNormTraining(x, { kernel }),
        () => batchNormInference(x, { mean, variance, kernel }),
        () => batchNormStatistics(x, { kernel }),
        () => new BatchNorm(3, { kernel }),
        () => new BatchNormalization({ kernel }),
        () => reserve(1, { kernel }),
        () => memoryUsage({ kernel }),
        () => scope(() => 1, { kernel }),
      ];
      for (const call of calls) expectError("invalid-option", [], call);
    }
  });

  test("is what scope gives for no function, and for a generator", () => {
    for (const value of [5, undefined, null, "f", {}, Promise.resolve()]) {
      expectError("invalid-option", [], () => scope(wrong(value)));
    }
    const runs: string[] = [];
    function* generator() {
      runs.push("ran");
      yield Tensor.zeros([1]);
    }
    async function* later() {
      runs.push("ran");
      yield Tensor.zeros([1]);
    }
    expectError("async-scope", [], () => scope(generator));
    expectError("async-scope", [], () => scope(later));
    expectError("async-scope", [], () => scope(() => later()));
    expect(runs).toEqual([]);
    expect(scope(() => 5)).toBe(5);
  });

  test("is what a view of a buffer gets that shrank, wherever data are taken", () => {
    // lib.es2024, but in every engine since 2023.
    const Resizable = ArrayBuffer as unknown as new (
      size: number,
      options: { maxByteLength: number },
    ) => ArrayBuffer & { resize(size: number): void };
    const buffer = new Resizable(32, { maxByteLength: 32 });
    const [shrunk, tracking] = [new Float32Array(buffer, 8, 3), new Float32Array(buffer)];
    buffer.resize(12);
    const { x, mean, out, bn } = exampleOf();
    const plain = { data: shrunk, shape: [1, 3] };
    const calls = [
      () => Tensor.from(shrunk),
      () => Tensor.from(shrunk, [3]),
      () => out.set(shrunk),
      () => batchNormTraining(x, { weight: shrunk }),
      () => batchNormInference(x, { mean, variance: shrunk }),
      () => batchNormStatistics(plain),
      () => bn.forward(plain),
    ];
    for (const call of calls)
      expect(expectError("dtype", [], call, [out]).message).toContain("shrunk");
    // What follows its buffer has three values now.
    expect(Tensor.from(tracking).shape).toEqual([3]);
  });

  test("is what a shape of 20 000 axes gets, wherever shapes are taken", () => {
    const deep = new Array<number>(20_000).fill(1);
    const [bn, one] = [new BatchNorm(1), counting([1])];
    const entry = { data: [1], shape: deep };
    const calls = [
      () => Tensor.zeros(deep),
      () => Tensor.from([1], deep),
      () => one.reshape(deep),
      () => bn.forward({ data: [1], shape: deep }),
      () => batchNormStatistics({ data: [1], shape: deep }),
      () => bn.loadStateDict({ ...bn.stateDict(), weight: entry }),
    ];
    for (const call of calls) expectError("invalid-shape", [], call);
    const most = Tensor.zeros(new Array<number>(64).fill(1));
    expect(batchNormTraining(most).y.shape).toHaveLength(64);
    expect(most.slice(63, 0).reshape([1]).size).toBe(1);
  });
});

describe("a record of a forward pass", () => {
  test("keeps the mean as it was, whatever becomes of the running one", () => {
    const bn = new BatchNorm(2).eval();
    const [x, dy] = [counting([3, 2]), counting([3, 2], -2)];
    bn.forward(x);
    const saved = bn.saved as BatchNormSaved;
    const dx = values(bn.backward(dy));
    const gradient = values(bn.weight?.grad as Tensor);
    (bn.runningMean as Tensor).set([50, 60]);
    (bn.runningVar as Tensor).data.fill(7);
    expect([...saved.mean, ...saved.variance]).toEqual([0, 0, 1, 1]);
    bn.zeroGrad();
    expect(values(bn.backward(dy))).toEqual(dx);
    expect(values(bn.weight?.grad as Tensor)).toEqual(gradient);
  });
});
