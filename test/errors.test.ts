import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as library from "batchnorm-wasm";
import {
  BatchNorm,
  BatchNorm2d,
  BatchNormalization,
  type BatchNormError,
  type BatchNormErrorCode,
  type BatchNormSaved,
  batchNormBackward,
  batchNormInference,
  batchNormStatistics,
  batchNormTraining,
  createKernel,
  type Kernel,
  memoryUsage,
  reserve,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { fromSafetensors, toSafetensors } from "batchnorm-wasm/weights";
import { describe, expect, test, vi } from "vitest";
import { Allocation } from "../ts/core/allocation.js";
import { portOf } from "../ts/core/kernel.js";
import { View } from "../ts/core/view.js";
import { Contents } from "../ts/generated/abi.js";
import {
  counting,
  expectError,
  kernelBytes,
  replaced,
  seen,
  snapshot,
  values,
  wrong,
} from "./call-helpers.js";
import { callWith, exampleOf, OPERATIONS } from "./operations.js";
import { refusalsOf } from "./refusals.js";

// Child processes and gigabytes on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const root = fileURLToPath(new URL("..", import.meta.url));

test("every function and layer that takes tensors is described as an operation", () => {
  const others = [
    "adaptBatchNorm",
    "addSums",
    "addScaleL1",
    "averageStateDicts",
    "createKernel",
    "defaultKernel",
    "dropout",
    "dropoutBackward",
    "l1Penalty",
    "l2Penalty",
    "decayedMomentum",
    "foldBatchNorm",
    "freeze",
    "health",
    "loadStateDict",
    "memoryUsage",
    "parameters",
    "preciseBatchNorm",
    "pruneByScale",
    "renormSchedule",
    "reserve",
    "scope",
    "stateDict",
    "syncBatchNorm",
    "traceMemory",
    "train",
    // Of the entry with threads.
    ...["setThreads", "shutdown", "threads"],
  ];
  const functions = Object.entries(library).flatMap(([name, value]) =>
    typeof value === "function" && /^[a-z]/.test(name) && !others.includes(name) ? [name] : [],
  );
  const described = OPERATIONS.map(({ name }) => name);
  expect(functions.length).toBeGreaterThan(3);
  expect(described).toEqual(expect.arrayContaining(functions));
});

for (const operation of OPERATIONS) {
  test(`${operation.name} is described with all the options that it takes`, () => {
    const { operands, options } = operation;
    const example = operation.example();
    const call = () => callWith(operation, example, { nobodysOption: 1 });
    const { message } = expectError("unknown-option", ["There are: "], call);
    const [, taken = ""] = message.split("There are: ");
    const described = [...Object.keys(operands).slice(1), ...options];
    expect(taken.split(", ").sort()).toEqual(described.sort());
  });

  describe(`${operation.name} refuses`, () => {
    const owner = operation.name.replace(/^new |\..*/g, "");
    for (const { title, code, cases } of refusalsOf(operation)) {
      test(`${title}: ${code}`, () => {
        const example = operation.example();
        const refused = cases(example);
        expect(refused.length).toBeGreaterThan(0);
        for (const { words, call, watched = [] } of refused) {
          expectError(code, [owner, ...words], call, [...example.all, ...watched]);
        }
      });
    }
  });
}

describe("shapes", () => {
  test("a tensor of sizes that are no sizes is refused", () => {
    for (const shape of [
      [-1],
      [1.5],
      [2, Number.NaN],
      [Number.POSITIVE_INFINITY],
      ["2"],
      [2 ** 53],
    ])
      expectError("invalid-shape", ["Tensor.zeros", "sizes"], () => Tensor.zeros(wrong(shape)));
    expectError("invalid-shape", ["Tensor.zeros", '"2"'], () => Tensor.zeros(wrong(["2"])));
    expectError("invalid-shape", ["Tensor.zeros", "[]"], () => Tensor.zeros([]));
    expectError("invalid-shape", ["Tensor.zeros", "array", "4"], () => Tensor.zeros(wrong(4)));
    expectError("invalid-shape", ["Tensor.zeros", "undefined"], () =>
      Tensor.zeros(wrong(undefined)),
    );
  });

  test("data that don't fill their shape are refused", () => {
    expectError("invalid-shape", ["Tensor.from", "[2, 2]", "4 elements", "data of 3"], () =>
      Tensor.from([1, 2, 3], [2, 2]),
    );
    const { bn } = exampleOf();
    const call = () => bn.forward({ data: [1, 2], shape: [1, 3] });
    expectError("invalid-shape", ["x", "[1, 3]", "data of 2"], call, [bn]);
  });

  test("a shape whose number of elements overflows is refused, however its sizes are split", () => {
    for (const shape of [[2 ** 31], [2 ** 16, 2 ** 16], [2 ** 30 + 1], [2 ** 52, 2 ** 52, 2 ** 52]])
      expectError("shape-overflow", ["Tensor.zeros", `[${shape[0]}`], () => Tensor.zeros(shape));
    // 2³² elements would wrap to none, and 2⁶⁴ is beyond what a double counts exactly.
    expectError("shape-overflow", [], () => Tensor.zeros([2 ** 32]));
    expectError("shape-overflow", [], () => Tensor.zeros([0, 2 ** 40]));
    expectError("shape-overflow", [], () => Tensor.from([1], [2 ** 16, 2 ** 16]));
    const { x } = exampleOf();
    expectError("shape-overflow", ["reshape"], () => x.reshape([2 ** 20, 2 ** 20]), [x]);
  });

  test("reshape refuses what the elements don't fill, two free sizes and no array", () => {
    const x = counting([4, 3]);
    expectError("invalid-shape", ["reshape", "[4, 3]", "12", "[5, 2]"], () => x.reshape([5, 2]));
    expectError("invalid-shape", ["reshape", "[5, -1]"], () => x.reshape([5, -1]));
    expectError("invalid-shape", ["reshape", "-1"], () => x.reshape([-1, -1]));
    expectError("invalid-shape", ["reshape", "-2"], () => x.reshape([-2, 6]));
    expectError("invalid-shape", ["reshape"], () => x.reshape(wrong("12")));
  });

  test("slice refuses an axis or an index that isn't there", () => {
    const x = counting([4, 3]);
    for (const axis of [2, -3, 0.5]) {
      expectError("invalid-shape", ["slice", "axis", `${axis}`], () => x.slice(axis, 0));
    }
    for (const index of [4, -4, 0.5, Number.NaN]) {
      expectError("invalid-shape", ["slice: axis 1 has 3", `${index}`], () => x.slice(1, 0, index));
      expectError("invalid-shape", ["slice: axis 1 has 3", `${index}`], () => x.slice(1, index));
    }
    expect(x.storage.version).toBe(0);
  });

  test("a strided view has no .data and no other shape", () => {
    const column = counting([4, 3]).slice(1, 0, 1);
    expectError(
      "not-contiguous",
      [".data", "[4, 1]", "[3, 1]", "toFloat32Array"],
      () => column.data,
    );
    expectError("not-contiguous", ["reshape", "[4, 1]"], () => column.reshape([4]));
  });

  test("an axis that x doesn't have is refused by layers", () => {
    const { x, all } = exampleOf();
    for (const axis of [2, -3]) {
      const bn = new BatchNorm(3, { axis });
      const words = [`axis ${axis}`, "rank 2"];
      expectError("shape-mismatch", words, () => bn.forward(x), [bn, ...all]);
    }
    const [bn, flat] = [new BatchNorm(3), counting([3])];
    expectError("shape-mismatch", ["axis 1", "rank 1"], () => bn.forward(flat), [bn, flat]);
  });

  test("a layer refuses another channel count than its own, in either mode", () => {
    const { bn, out, all } = exampleOf();
    const x = counting([3, 4]);
    for (const training of [true, false]) {
      const words = ["BatchNorm", "3 channels", "axis 1", "got 4 in [3, 4]"];
      expectError("shape-mismatch", words, () => bn.forward(x, { training }), [x, ...all]);
      expectError("shape-mismatch", words, () => bn.forward(x, { training, out }), [x, ...all]);
      const plain = { data: [1, 2, 3, 4], shape: [1, 4] };
      expectError("shape-mismatch", ["got 4"], () => bn.forward(plain, { training }), all);
    }
  });

  test("a layer for images refuses another rank", () => {
    const bn = new BatchNorm2d(3);
    const x = counting([4, 3]);
    const words = ["BatchNorm2d", "rank 4", "[4, 3]"];
    expectError("shape-mismatch", words, () => bn.forward(x), [x, bn]);
  });
});

describe("options", () => {
  test("eps = 0 is refused by torch training only", () => {
    const { x, out } = exampleOf();
    const bn = new BatchNorm(3, { eps: 0 });
    expectError("invalid-option", ["eps", "positive"], () => bn.forward(x, { out }), [x, out, bn]);
    expect(bn.forward(x, { training: false }).size).toBe(12);
    expect(new BatchNorm(3, { eps: 0, preset: "keras" }).train().forward(x).size).toBe(12);
    expect(batchNormTraining(x, { eps: 0 }).y.size).toBe(12);
  });

  test("momentum null is refused but in torch", () => {
    for (const preset of ["keras", "onnx", "flax"] as const) {
      const call = () => new BatchNorm(3, { preset, momentum: null });
      expectError("unsupported", ["momentum null", "torch"], call);
    }
  });

  test("null is as good as absent", () => {
    const { x, mean, variance } = exampleOf();
    const y = batchNormTraining(x, null as never).y.toFloat32Array();
    const all = { weight: null, bias: null, eps: null, axis: null, out: null, kernel: null };
    const running = { runningMean: null, runningVar: null, momentum: null, runningVariance: null };
    const options = { ...all, ...running, saved: null };
    expect(batchNormTraining(x, options).y.toFloat32Array()).toEqual(y);
    const z = batchNormInference(x, { mean, variance }).toFloat32Array();
    const inference = batchNormInference(x, { mean, variance, ...all, saved: null });
    expect(inference.toFloat32Array()).toEqual(z);
    const bn = new BatchNorm(3, {
      preset: null,
      eps: null,
      affine: null,
      axis: null,
      kernel: null,
    });
    expect(bn.forward(x, null).toFloat32Array()).toEqual(y);
    expect(bn.forward(x, { out: null, training: null }).toFloat32Array()).toEqual(y);
    expect(new BatchNorm(3, null).eps).toBe(1e-5);
    expect(Tensor.zeros([2], null as never).size).toBe(2);
  });

  test("a property that somebody put on Object.prototype is no option, and none is missed for it", () => {
    const { x, mean, variance } = exampleOf();
    const y = batchNormInference(x, { mean, variance }).toFloat32Array();
    for (const name of ["out", "axis", "nobodysOption"]) {
      Object.defineProperty(Object.prototype, name, {
        ...{ value: 5, enumerable: true, configurable: true, writable: true },
      });
      try {
        expect(batchNormInference(x, { mean, variance }).toFloat32Array()).toEqual(y);
        expect(new BatchNorm(3, {}).forward(x).size).toBe(12);
      } finally {
        delete (Object.prototype as Record<string, unknown>)[name];
      }
    }
  });

  test("a feature count that is none is refused", () => {
    for (const count of [-1, 2.5, Number.NaN, wrong("3"), wrong(undefined)]) {
      expectError("invalid-option", ["BatchNorm", "numFeatures"], () => new BatchNorm(count));
    }
  });

  test("switches take their values only, as properties too", () => {
    const { bn, all } = exampleOf();
    const refused = (name: string, call: () => unknown) =>
      expectError("invalid-option", ["BatchNorm", name, '"yes"'], call, all);
    const switches = ["statistics", "updateRunningStats", "requiresGrad"];
    for (const name of [...switches, "virtualBatchSize"]) {
      refused(name, () => Object.assign(bn, { [name]: "yes" }));
    }
    refused("training", () => bn.train(wrong("yes")));
  });

  test("switches that need running statistics are refused where there are none", () => {
    const bn = new BatchNorm(3, { trackRunningStats: false });
    const running = () => Object.assign(bn, { statistics: "running" });
    expectError("unsupported", ["running", "trackRunningStats"], running, [bn]);
    const update = () => Object.assign(bn, { updateRunningStats: true });
    expectError("unsupported", ["updateRunningStats", "trackRunningStats"], update, [bn]);
    const options = { trackRunningStats: false, statistics: "running" } as const;
    expectError("unsupported", ["trackRunningStats"], () => new BatchNorm(3, options));
  });

  test("an unknown preset is refused with the nearest name", () => {
    const preset = (name: string) => () => new BatchNorm(3, { preset: wrong(name) });
    expectError("unknown-option", ['preset "pytorch"', 'mean "torch"'], preset("pytorch"));
    expectError("unknown-option", ['mean "keras"', "torch, keras, onnx, flax"], preset("Kears"));
    expectError("unknown-option", ['preset "toString"'], preset("toString"));
  });

  test("an unknown option is refused with the nearest name, by whatever takes options", () => {
    const { x, dy, mean, variance, bn, saved, all } = exampleOf();
    const near = (name: string, nearest: string, call: () => unknown) =>
      expectError("unknown-option", [`option "${name}"`, `mean "${nearest}"`], call, all);
    near("momentun", "momentum", () => new BatchNorm(3, wrong({ momentun: 0.1 })));
    near("track_running_stats", "trackRunningStats", () => {
      new BatchNorm2d(3, wrong({ track_running_stats: false }));
    });
    near("preste", "preset", () => new BatchNorm(3, wrong({ preste: "torch" })));
    near("epsilon", "eps", () => new BatchNorm(3, wrong({ epsilon: 1e-3 })));
    near("eps", "epsilon", () => new BatchNormalization(wrong({ eps: 1e-3 })));
    near("outs", "out", () => bn.forward(x, wrong({ outs: x })));
    near("save", "saved", () => bn.backward(dy, wrong({ save: saved })));
    near("allowNonfinite", "allowNonFinite", () => {
      bn.loadStateDict({}, wrong({ allowNonfinite: true }));
    });
    near("wieght", "weight", () => batchNormTraining(x, wrong({ wieght: mean })));
    near("var", "variance", () => batchNormInference(x, wrong({ mean, var: variance })));
    near("weightGrads", "weightGrad", () => {
      batchNormBackward(dy, wrong({ saved, weightGrads: mean }));
    });
    near("axes", "axis", () => batchNormStatistics(x, wrong({ axes: 1 })));
  });

  test("reserve refuses a number of bytes that is none", () => {
    for (const bytes of [-1, 0.5, Number.NaN]) {
      expectError("invalid-option", ["reserve", `${bytes}`], () => reserve(bytes));
    }
  });
});

describe("modes", () => {
  test("a flax layer that was not told whether it trains refuses to run, and runs when told", () => {
    const x = counting([4, 3]);
    const bn = new BatchNorm(3, { preset: "flax" });
    expect(bn.training).toBeNull();
    const plain = { data: [1, 2, 3, 4, 5, 6], shape: [2, 3] };
    expectError("mode", ["train()", "eval()"], () => bn.forward(x), [x, bn]);
    expectError("mode", ["train()", "eval()"], () => bn.forward(plain), [bn]);
    expect(bn.forward(x, { training: true }).size).toBe(12);
    expect(bn.training).toBeNull();
    expect(bn.eval().forward(x).size).toBe(12);
    expectError("invalid-option", ["training"], () => Object.assign(bn, { training: null }), [bn]);
  });
});

describe("one value per channel", () => {
  test("is refused by torch training, whatever the rank, before anything is written", () => {
    for (const shape of [
      [1, 3],
      [1, 3, 1, 1],
    ]) {
      const [x, out, bn] = [counting(shape), counting(shape), new BatchNorm(3)];
      const words = ["BatchNorm", "more than 1 value", `[${shape.join(", ")}]`];
      expectError("batch-too-small", words, () => bn.forward(x, { out }), [x, out, bn]);
      const plain = { data: [1, 2, 3], shape };
      expectError("batch-too-small", words, () => bn.forward(plain), [bn]);
      expect(bn.forward(x, { training: false }).shape).toEqual(shape);
    }
  });

  test("is allowed by keras, onnx and flax training, and gives β", () => {
    for (const preset of ["keras", "onnx", "flax"] as const) {
      const bn = new BatchNorm(3, { preset }).train();
      bn.bias?.data.set([5, 6, 7]);
      const y = bn.forward(counting([1, 3]));
      expect([...y.toFloat32Array()]).toEqual([5, 6, 7]);
      expect(bn.numBatchesTracked).toBe(1);
    }
  });

  test("is allowed in a frozen torch layer that trains", () => {
    const bn = new BatchNorm(3, { statistics: "running" });
    expect(bn.train().forward(counting([1, 3])).size).toBe(3);
  });
});

describe("overlapping outputs", () => {
  test("out may be x itself, but no parameter and no statistic", () => {
    const x = Tensor.from([5, 6, 7]);
    const [a, b] = [Tensor.zeros([3]), Tensor.from([1, 1, 1])];
    const running = { axis: 0, runningMean: a, runningVar: b };
    const given = { axis: 0, mean: a, variance: b };
    for (const out of [a, b]) {
      const call = () => batchNormTraining(x, { ...running, out });
      expectError("overlap", ["out overlaps"], call, [x, a, b]);
      expectError("overlap", ["out overlaps"], () => batchNormInference(x, { ...given, out }));
    }
    expectError("overlap", ["out overlaps"], () =>
      batchNormInference(x, { ...given, bias: x, out: x }),
    );
    expect(batchNormInference(x, { ...given, out: x })).toBe(x);
  });

  test("an output of backward that shares only a part of the x that was saved is refused", () => {
    const whole = counting([6, 3]);
    const [x, out] = [whole.slice(0, 0, 4), whole.slice(0, 1, 5)];
    const { dy, bn, all } = exampleOf();
    bn.forward(x);
    const { saved } = batchNormTraining(x);
    const words = ["out overlaps x", "in place"];
    expectError("overlap", words, () => bn.backward(dy, { out }), [whole, ...all]);
    const call = () => batchNormBackward(dy, { saved, out });
    expectError("overlap", words, call, [whole, ...all]);
  });

  test("two channel ranges that lie between each other are no overlap", () => {
    const whole = counting([4, 6]);
    const [left, right] = [whole.slice(1, 0, 3), whole.slice(1, 3, 6)];
    const expected = batchNormTraining(counting([4, 6]).slice(1, 0, 3)).y.toFloat32Array();
    expect(left.offset + left.extent).toBeGreaterThan(right.offset);
    batchNormTraining(left, { out: right });
    expect(right.toFloat32Array()).toEqual(expected);
    expect(left.toFloat32Array()).toEqual(counting([4, 6]).slice(1, 0, 3).toFloat32Array());
    const words = ["out overlaps"];
    const shifted = whole.slice(1, 2, 5);
    expectError("overlap", words, () => batchNormTraining(left, { out: shifted }), [whole]);
  });

  test("of all pairs of equal slices of a box exactly those that share an element are refused", () => {
    const box = Tensor.zeros([3, 4, 3]);
    const places = counting([3, 4, 3]);
    const ranges = (size: number) =>
      Array.from({ length: size }, (_, from) =>
        Array.from({ length: size - from }, (_, n) => [from, from + n + 1] as const),
      ).flat();
    const cut = (of: Tensor, ...at: (readonly [number, number])[]) =>
      at.reduce((view, [from, to], axis) => view.slice(axis, from, to), of);
    const all = ranges(3).flatMap((a) =>
      ranges(4).flatMap((b) => ranges(3).map((c) => [a, b, c] as const)),
    );
    let [refused, accepted] = [0, 0];
    scope(() => {
      const slices = all.map((at) => ({
        view: cut(box, ...at),
        elements: new Set(cut(places, ...at).toFloat32Array()),
      }));
      for (const a of slices) {
        for (const b of slices) {
          if (`${a.view.shape}` !== `${b.view.shape}`) continue;
          const shared = [...a.elements].filter((place) => b.elements.has(place)).length;
          const wanted = shared > 0 && shared < a.elements.size ? "overlap" : "accepted";
          let got = "accepted";
          const n = a.view.shape[1] as number;
          const statistics = { mean: new Array(n).fill(0), variance: new Array(n).fill(1) };
          try {
            batchNormInference(a.view, { ...statistics, out: b.view });
          } catch (error) {
            got = (error as BatchNormError).code;
          }
          if (got !== wanted) {
            const at = (view: Tensor) => `${view.offset}+[${view.shape}]`;
            expect.fail(`${at(a.view)} and ${at(b.view)}: ${got}, not ${wanted}`);
          }
          if (got === "accepted") accepted += 1;
          else refused += 1;
        }
      }
    });
    expect(accepted).toBeGreaterThan(300);
    expect(refused).toBeGreaterThan(300);
  });

  test("in place is no overlap, through another view of the same elements too", () => {
    const x = counting([4, 3]);
    const expected = batchNormTraining(x).y.toFloat32Array();
    batchNormTraining(x, { out: x.slice(0, 0) });
    expect(x.toFloat32Array()).toEqual(expected);
  });

  test("gradients that share memory with the call's tensors or each other are refused", () => {
    const { x, dy, weight, saved, all } = exampleOf();
    const inDy = dy.slice(0, 0, 1).reshape([3]);
    const inX = x.slice(0, 0, 1).reshape([3]);
    const dx = counting([4, 3]);
    const inDx = dx.slice(0, 0, 1).reshape([3]);
    const one = counting([3]);
    const watched = [dx, one, ...all];
    const refused = (words: string[], options: object) =>
      expectError("overlap", words, () => batchNormBackward(dy, { saved, ...options }), watched);
    refused(["weightGrad overlaps"], { weightGrad: inDy });
    refused(["biasGrad overlaps"], { biasGrad: inX });
    refused(["out overlaps biasGrad"], { out: dx, biasGrad: inDx });
    refused(["weightGrad overlaps"], { weightGrad: weight });
    refused(["overlaps"], { weightGrad: one, biasGrad: one });
  });
});

describe("disposed", () => {
  test("a tensor's own methods are refused, by its shape", () => {
    const x = counting([4, 3]);
    x.dispose();
    expectError("disposed", [".data", "[4, 3]"], () => x.data);
    expectError("disposed", ["reshape"], () => x.reshape([12]));
    expectError("disposed", ["slice"], () => x.slice(0, 1));
    expectError("disposed", ["toFloat32Array"], () => x.toFloat32Array());
  });

  test("a .data that was read before doesn't hide the disposal", () => {
    const x = counting([4, 3]);
    x.data[0] = 1;
    x.dispose();
    expectError("disposed", [".data"], () => x.data);
  });

  test("a layer refuses everything that needs its memory", () => {
    const { x, dy, bn } = exampleOf();
    const dict = bn.stateDict();
    bn.dispose();
    expectError("disposed", ["BatchNorm", "layer"], () => bn.forward(x), [x]);
    const plain = { data: [1, 2, 3], shape: [1, 3] };
    expectError("disposed", ["BatchNorm"], () => bn.forward(plain), [x]);
    expectError("disposed", ["BatchNorm"], () => bn.backward(dy), [dy]);
    expectError("disposed", ["stateDict"], () => bn.stateDict());
    expectError("disposed", ["loadStateDict"], () => bn.loadStateDict(dict));
    expectError("disposed", ["resetRunningStats"], () => bn.resetRunningStats());
    expectError("disposed", ["reset"], () => bn.resetParameters());
  });

  test("a layer's parameters and gradients are never written after their disposal", () => {
    const kernel = createKernel(kernelBytes);
    for (const reach of ["weight", "bias", "runningMean", "runningVar", "grad"] as const) {
      const x = counting([4, 16], 1, kernel);
      const bn = new BatchNorm(16, { kernel });
      bn.forward(x);
      bn.backward(x);
      const dict = bn.stateDict();
      const fives = new Float32Array(16).fill(5);
      const disposed = reach === "grad" ? bn.weight?.grad : bn[reach];
      const successor = replaced(disposed as Tensor);
      const before = values(successor);
      for (const call of [
        () => bn.zeroGrad(),
        () => bn.resetParameters(),
        () => bn.resetRunningStats(),
        () => bn.loadStateDict({ ...dict, weight: fives, running_mean: fives }),
        () => bn.loadStateDict({ ...dict, bias: fives, running_var: fives }),
        () => bn.forward(x),
        () => bn.backward(x),
      ]) {
        try {
          call();
        } catch (error) {
          expect(error).toMatchObject({ code: "disposed" });
        }
      }
      expect(values(successor), `${reach} was disposed`).toEqual(before);
    }
  });

  test("saved values tell nothing, and are refused by a layer's backward", () => {
    const { dy, saved, bn, all } = exampleOf();
    saved.dispose();
    expectError("disposed", ["saved"], () => saved.x);
    expectError("disposed", ["saved"], () => saved.mean);
    expectError("disposed", ["saved"], () => saved.variance);
    bn.saved?.dispose();
    expectError("disposed", ["saved"], () => bn.backward(dy), all);
  });
});

describe("stale saved values", () => {
  const overwrite = (tensor: Tensor) => {
    const n = tensor.shape[1] ?? tensor.size;
    const axis = tensor.shape.length - 1;
    const statistics = { mean: new Float32Array(n), variance: new Float32Array(n) };
    batchNormInference(tensor, { ...statistics, axis, out: tensor });
  };

  test("backward before any forward is refused", () => {
    const bn = new BatchNorm(3);
    const dy = counting([4, 3]);
    expectError("stale", ["BatchNorm", "no forward"], () => bn.backward(dy), [bn, dy]);
    expect(bn.weight?.grad).toBeNull();
  });

  test("backward after a forward in place is refused, and adds to no gradient", () => {
    const { x, dy, bn, all } = exampleOf();
    for (const training of [true, false]) {
      bn.forward(x, { training, out: x });
      expectError("stale", ["x", "overwritten"], () => bn.backward(dy), all);
    }
    const { saved } = batchNormTraining(x, { out: x });
    expectError("stale", ["x", "overwritten"], () => batchNormBackward(dy, { saved }), all);
  });

  test("a write by the library to x, or to a part of it, is seen", () => {
    for (const written of [
      (x: Tensor) => x,
      (x: Tensor) => x.slice(0, 1, 2),
      (x: Tensor) => x.slice(1, 2, 3),
    ]) {
      const { x, dy, bn, saved, all } = exampleOf();
      overwrite(written(x));
      expectError("stale", ["x", "overwritten"], () => bn.backward(dy), all);
      expectError("stale", ["x", "overwritten"], () => batchNormBackward(dy, { saved }), all);
    }
  });

  test("a write to the whole makes a slice of it stale", () => {
    const whole = counting([4, 6]);
    const dy = counting([4, 3]);
    const bn = new BatchNorm(3);
    bn.forward(whole.slice(1, 0, 3));
    overwrite(whole);
    expectError("stale", ["x", "overwritten"], () => bn.backward(dy), [bn]);
  });

  test("a disposed x is seen", () => {
    const { x, dy, bn, saved } = exampleOf();
    x.dispose();
    expectError("stale", ["x", "disposed"], () => bn.backward(dy), [dy, bn]);
    expectError("stale", ["x", "disposed"], () => batchNormBackward(dy, { saved }), [dy]);
  });

  test("another forward after x went stale makes backward possible again", () => {
    const { x, dy, bn } = exampleOf();
    overwrite(x);
    bn.forward(x);
    expect(bn.backward(dy).shape).toEqual([4, 3]);
  });

  test("a record that the layer has overwritten since is refused, and one that was taken is not", () => {
    const { x, dy, bn, all } = exampleOf();
    const [seen, other] = [bn.saved as BatchNormSaved, counting([2, 3])];
    expect(bn.saved).toBe(seen);
    bn.forward(other);
    const call = () => bn.backward(dy, { saved: seen });
    expectError("stale", ["saved", "takeSaved"], call, [other, ...all]);
    bn.forward(x);
    const taken = bn.takeSaved();
    bn.forward(other);
    expect(bn.backward(dy, { saved: taken }).shape).toEqual([4, 3]);
    const unused = new BatchNorm(3);
    expectError("stale", ["no forward"], () => unused.takeSaved());
  });

  test("writes to siblings in the same storage don't make x stale, however many", () => {
    const whole = counting([4, 6]);
    const { dy } = exampleOf();
    const bn = new BatchNorm(3);
    const expected = batchNormBackward(dy, {
      saved: batchNormTraining(counting([4, 6]).slice(1, 0, 3)).saved,
    }).dx.toFloat32Array();
    // As a loop does it that makes its views anew in each step.
    for (let step = 0; step < 200; step++) {
      scope(() => {
        bn.forward(whole.slice(1, 0, 3), { out: whole.slice(1, 3, 6) });
        expect(bn.backward(dy).toFloat32Array()).toEqual(expected);
      });
    }
  });

  test("a growing concatenation keeps its earlier channels fresh", () => {
    // DenseNet: each layer reads all channels before its own. 80 different views are written.
    const channels = 80;
    const whole = counting([2, channels + 1]);
    const saved = Array.from({ length: channels }, (_, k) => {
      const made = batchNormTraining(whole.slice(1, 0, k + 1)).saved;
      const one = { mean: [0], variance: [1] };
      batchNormInference(whole.slice(1, k, k + 1), { ...one, out: whole.slice(1, k + 1, k + 2) });
      return made;
    });
    for (const one of saved.reverse()) {
      const { dx } = batchNormBackward(Tensor.zeros(one.x.shape), { saved: one });
      expect(dx.shape).toEqual(one.x.shape);
    }
  });

  test("a write through a view of .data is not seen (the caller's duty)", () => {
    const { x, dy, bn } = exampleOf();
    x.data[0] = 100;
    expect(bn.backward(dy).size).toBe(12);
  });

  test("saved values of another layer are refused", () => {
    const { dy, bn, saved, all } = exampleOf();
    const other = new BatchNorm(3);
    other.forward(counting([4, 3]));
    const call = () => bn.backward(dy, { saved: other.saved ?? undefined });
    expectError("invalid-option", ["saved", "layer"], call, [other, ...all]);
    expectError("invalid-option", ["saved"], () => bn.backward(dy, { saved }), all);
    expectError("invalid-option", ["saved"], () => bn.backward(dy, { saved: wrong({}) }), all);
  });

  test("a failed forward leaves the last one's saved values for backward", () => {
    const { x, dy, bn } = exampleOf();
    const other = counting([3, 4]);
    bn.forward(x);
    const expected = batchNormBackward(dy, { saved: bn.saved as BatchNormSaved });
    expectError("shape-mismatch", [], () => bn.forward(other), [bn]);
    expectError("shape-mismatch", [], () => bn.forward(x, { out: other }), [bn]);
    expect(bn.backward(dy).toFloat32Array()).toEqual(expected.dx.toFloat32Array());
  });
});

describe("wrong kinds of data", () => {
  test("are refused by Tensor.from, with what came and how to convert it", () => {
    const words = ["Tensor.from", "Float32Array, Uint8Array, Uint8ClampedArray or number[]"];
    for (const data of [new Float64Array(2), new Int32Array(2), new Int8Array(2)]) {
      const got = [...words, `got ${data.constructor.name}`, "Float32Array.from(data)"];
      expectError("dtype", got, () => Tensor.from(wrong(data)));
    }
    expectError("dtype", [...words, "BigInt64Array"], () =>
      Tensor.from(wrong(new BigInt64Array(1))),
    );
    expectError("dtype", [...words, "DataView"], () =>
      Tensor.from(wrong(new DataView(kernelBytes.buffer))),
    );
    for (const data of [undefined, null, 5, "12", {}, new ArrayBuffer(8), new Set([1])]) {
      expectError("dtype", words, () => Tensor.from(wrong(data)));
      expectError("dtype", words, () => Tensor.from(wrong(data), [1]));
    }
    expectError("dtype", ["data[1]", '"2"'], () => Tensor.from(wrong([1, "2"])));
    expectError("dtype", ["data[0]", "Array"], () => Tensor.from(wrong([[1, 2]])));
    expectError("dtype", ["data[0]", "undefined"], () => Tensor.from(wrong(new Array(2)), [2]));
    expectError("dtype", ["data[0]", "1"], () => Tensor.from(wrong([1n])));
  });

  test("a detached buffer is refused, transferred or outgrown, and an empty one is not", () => {
    const data = new Float32Array(4);
    structuredClone(data.buffer, { transfer: [data.buffer] });
    expectError("dtype", ["Tensor.from", "detached"], () => Tensor.from(data));
    expectError("dtype", ["detached"], () => Tensor.from(data, [4]));
    const bytes = new Uint8Array(4);
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    expectError("dtype", ["detached"], () => Tensor.from(bytes));
    const kernel = createKernel(kernelBytes);
    const outgrown = Tensor.zeros([4], { kernel }).data;
    kernel.memory.grow(1);
    expectError("dtype", ["detached", "kernel memory that has grown"], () => Tensor.from(outgrown));
    expect(Tensor.from(new Float32Array(0)).shape).toEqual([0]);
  });
});

describe("state dicts", () => {
  /** A layer with a state of its own, and the dict that it must refuse, changed from its own. */
  function refused(
    change: Record<string, unknown>,
    code: BatchNormErrorCode,
    words: string[],
    options = {},
  ) {
    for (const prefix of ["", "layer1.bn."]) {
      const { bn } = exampleOf();
      const dict: Record<string, unknown> = {};
      const own = { ...bn.stateDict(), weight: [7, 7, 7] };
      for (const [name, value] of Object.entries({ ...own, ...change })) {
        if (value !== undefined) dict[prefix + name] = value;
      }
      const call = () => bn.loadStateDict(wrong(dict), { prefix, ...options });
      expectError(code, ["BatchNorm", ...words], call, [bn]);
    }
  }

  test("with missing or extra entries are refused, all of them named", () => {
    refused({ bias: undefined }, "state-dict", ["missing", "bias"]);
    refused({ running_var: undefined, bias: undefined }, "state-dict", ["bias, ", "running_var"]);
    refused({ gamma: [1, 1, 1] }, "state-dict", ["not expected", "gamma"]);
    refused({ gamma: [1], bias: undefined }, "state-dict", ["missing", "bias", "gamma"]);
    refused({ beta: [1, 1, 1] }, "state-dict", ["not expected", "beta"]);
  });

  test("with wrong-shaped entries are refused, with what came", () => {
    refused({ bias: [1, 2] }, "state-dict", ["bias", "[3]", "got [2]"]);
    refused({ running_mean: counting([3, 3]) }, "state-dict", ["running_mean", "got [3, 3]"]);
    refused({ bias: { data: [1, 2, 3, 4], shape: [4, 1] } }, "state-dict", ["bias", "got [4, 1]"]);
    refused({ bias: { data: [1, 2], shape: [3] } }, "state-dict", ["bias", "3", "2"]);
  });

  test("with entries of another kind are refused", () => {
    refused({ bias: new Int32Array(3) }, "dtype", ["bias", "Int32Array"]);
    refused({ bias: null }, "dtype", ["bias", "null"]);
    refused({ bias: 3 }, "dtype", ["bias", "3"]);
    refused({ bias: "abc" }, "dtype", ["bias"]);
    refused({ bias: { 0: 1, 1: 2, 3: 3 } }, "dtype", ["bias", "Object"]);
    const gone = counting([3]);
    gone.dispose();
    refused({ bias: gone }, "disposed", ["bias"]);
  });

  test("with a count that is none are refused", () => {
    const counts = [
      -1,
      1.5,
      Number.NaN,
      [1, 2],
      [],
      null,
      "5",
      true,
      2n ** 60n,
      {},
      new BigInt64Array(2),
    ];
    for (const count of counts) {
      refused({ num_batches_tracked: count }, "state-dict", [
        "num_batches_tracked",
        "whole number",
      ]);
    }
  });

  test("with values that are not finite are refused, also where only float32 overflows", () => {
    const words = ["bias[1]", "allowNonFinite"];
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      refused({ bias: [0, value, 0] }, "state-dict", words);
    }
    refused({ bias: [0, 1e39, 0] }, "dtype", ["bias[1]", "which float32 has as Infinity"]);
    refused({ bias: Tensor.from([0, Number.NaN, 0]) }, "state-dict", words);
    refused({ bias: Float32Array.of(0, Number.NaN, 0) }, "state-dict", words, {
      allowNonFinite: false,
    });
  });

  test("with values that are not finite are taken with allowNonFinite", () => {
    const { bn } = exampleOf();
    const dict = { ...bn.stateDict(), bias: [0, Number.NaN, Number.POSITIVE_INFINITY] };
    bn.loadStateDict(dict, { allowNonFinite: true });
    expect([...(bn.bias as Tensor).data]).toEqual(dict.bias);
  });

  test("that are no objects are refused", () => {
    const { bn } = exampleOf();
    for (const dict of [null, undefined, 3, "weight"]) {
      expectError("state-dict", ["object"], () => bn.loadStateDict(wrong(dict)), [bn]);
    }
  });

  test("are refused by a layer that was never built, and leave it so", () => {
    const bn = new BatchNormalization();
    expectError("not-built", ["BatchNormalization"], () => bn.stateDict(), [bn]);
    const names = ["gamma, beta, moving_mean, moving_variance", "missing"];
    expectError("state-dict", names, () => bn.loadStateDict({}), [bn]);
    const other = { w: [1, 1], b: [0, 0] };
    expectError("state-dict", [...names, "w, b"], () => bn.loadStateDict(other), [bn]);
    const own = { gamma: [1, 1], beta: [0, 0], moving_mean: [0, 0] };
    expectError("state-dict", ["moving_variance"], () => bn.loadStateDict(own), [bn]);
    const uneven = { ...own, moving_variance: [1, 1, 1] };
    expectError("state-dict", ["moving_variance", "[2]"], () => bn.loadStateDict(uneven), [bn]);
    for (const gamma of [null, { data: undefined, shape: [2] }, "ab"]) {
      const dict = { ...own, moving_variance: [1, 1], gamma };
      expectError("dtype", ["gamma"], () => bn.loadStateDict(wrong(dict)), [bn]);
    }
    expect(bn.numFeatures).toBeNull();
    bn.loadStateDict({ ...own, moving_variance: [1, 1] });
    expect(bn.numFeatures).toBe(2);
  });
});

describe("scope", () => {
  test("refuses an asynchronous function, and frees what it made", () => {
    const before = memoryUsage();
    expectError("async-scope", ["scope", "synchronous", "promise"], () =>
      scope(async () => {
        Tensor.zeros([100]);
      }),
    );
    // biome-ignore lint/suspicious/noThenProperty: whatever `await` would wait for
    const thenable = { then: () => undefined };
    expectError("async-scope", ["promise"], () => scope(() => thenable));
    expect(memoryUsage().liveBytes).toBe(before.liveBytes);
    expect(Tensor.zeros([1]).disposed).toBe(false);
  });

  test("doesn't leave the refused promise's rejection unhandled", async () => {
    expectError("async-scope", ["promise"], () =>
      scope(async () => {
        await null;
        throw new Error("later");
      }),
    );
    // An unhandled rejection would fail the run.
    await new Promise((resolve) => setTimeout(resolve, 10));
  });
});

describe("kernels", () => {
  test("what is no WebAssembly, or not this kernel, is refused", () => {
    const words = ["createKernel"];
    const empty = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0);
    const words2 = [...words, "not this package's kernel"];
    expectError("kernel", words2, () => createKernel(empty));
    expectError("kernel", words2, () => createKernel(new WebAssembly.Module(empty)));
    // (module (import "a" "b" (func)))
    const importing = Uint8Array.of(...empty, 1, 4, 1, 96, 0, 0, 2, 7, 1, 1, 97, 1, 98, 0, 0);
    const error = expectError("kernel", words2, () => createKernel(importing));
    expect(error.cause).toBeInstanceOf(TypeError);
    // (The beginning of a module is one, too, where a section ends there.)
    for (const bytes of [new Uint8Array(0), kernelBytes.subarray(0, -1), new Uint8Array(8)]) {
      expectError("kernel", [...words, "not a WebAssembly module"], () => createKernel(bytes));
    }
    for (const value of [undefined, null, "kernel.wasm", {}]) {
      expectError("kernel", words, () => createKernel(wrong(value)));
    }
  });

  test("a runtime without SIMD gets the typed error, and at the first use only", ({ skip }) => {
    // V8 on x86 does wasm SIMD with SSE4.1; no flag of other processors takes it away.
    const flag = "--no-enable-sse4-1";
    const probe =
      "[0,97,115,109,1,0,0,0,1,4,1,96,0,0,3,2,1,0,10,23,1,21,0,253,12," +
      "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,26,11]";
    const node = (...args: string[]) =>
      execFileSync(process.execPath, [flag, ...args], {
        cwd: root,
        encoding: "utf8",
        stdio: "pipe",
      });
    let hasSimd = true;
    try {
      const code = `console.log(WebAssembly.validate(Uint8Array.from(${probe})))`;
      hasSimd = node("--eval", code).trim() !== "false";
    } catch {
      // Not a flag of this Node.
    }
    if (hasSimd) return skip(`no flag of this Node disables wasm SIMD (tried ${flag})`);
    const code = `
      import { kernelBytes } from "./scripts/kernel/under-test.mjs";
      import { createKernel, Tensor } from "./ts/entry/node.ts";
      for (const use of [() => Tensor.zeros([1]), () => createKernel(kernelBytes)]) {
        try { use(); } catch ({ name, code, message }) { console.log(name, code, message); }
      }`;
    const lines = node("--import", "tsx", "--input-type=module", "--eval", code).trim().split("\n");
    expect(lines).toHaveLength(2);
    for (const line of lines) expect(line).toMatch(/^BatchNormError no-simd .*SIMD.*Node/);
    seen.add("no-simd");
  });
});

describe("memory that runs out", () => {
  const MiB = 2 ** 20;
  /** A tensor whose pages nobody has touched: `Tensor.zeros` would write all of them. */
  const untouched = (kernel: Kernel, bytes: number) =>
    new Tensor(
      new View(new Allocation(portOf(kernel, "test"), bytes, Contents.Arbitrary), [bytes / 4]),
    );

  /** Takes all memory that is left, in ever smaller pieces. */
  function fill(kernel: Kernel): Tensor[] {
    const taken: Tensor[] = [];
    for (let bytes = 1024 * MiB; bytes >= 64; bytes /= 2) {
      try {
        for (;;) taken.push(untouched(kernel, bytes));
      } catch (error) {
        expect(error).toMatchObject({ code: "out-of-memory" });
      }
    }
    return taken;
  }

  test("a tensor of 2 GiB or more is refused at once, without growing the memory", () => {
    const kernel = createKernel(kernelBytes);
    const { memoryBytes } = kernel.memoryUsage();
    const [x, start] = [counting([2, 2], 1, kernel), performance.now()];
    for (const size of [2 ** 29, 2 ** 30]) {
      const words = [`${size * 4} more bytes`, "16 bytes in 1 tensors", "2 GiB a tensor"];
      expectError("out-of-memory", words, () => Tensor.zeros([size], { kernel }), [x]);
    }
    expectError("out-of-memory", [], () => reserve(2 ** 31, { kernel }), [x]);
    expectError("out-of-memory", [], () => new BatchNorm(2 ** 29, { kernel }), [x]);
    expect(performance.now() - start).toBeLessThan(500);
    expect(kernel.memoryUsage().memoryBytes).toBeLessThanOrEqual(memoryBytes + MiB);
  });

  test("the error names the live bytes, and everything works on, near 4 GiB too", () => {
    const kernel = createKernel(kernelBytes);
    const rss = process.memoryUsage().rss;
    const low = exampleOf(kernel);
    const big = [untouched(kernel, 2047 * MiB), untouched(kernel, 1024 * MiB)];
    // What is free below them goes first, whichever way the allocator looks for it.
    for (const bytes of [65536, 4096, 256, 4]) {
      while (untouched(kernel, bytes).address < 2 ** 31);
    }
    const high = exampleOf(kernel);
    expect(high.x.address).toBeGreaterThan(2 ** 31);
    const { liveBytes } = kernel.memoryUsage();
    expect(liveBytes).toBeGreaterThan(3071 * MiB);
    const words = [`${1536 * MiB} more bytes`, `${liveBytes} bytes in`, "dispose"];
    const tooMuch = () => untouched(kernel, 1536 * MiB);
    expectError("out-of-memory", words, tooMuch, [...low.all, ...high.all]);

    // Above 2 GiB, where addresses are negative as i32, as below.
    for (const name of ["x", "dy", "out"] as const) {
      expect(high[name].toFloat32Array()).toEqual(low[name].toFloat32Array());
    }
    const step = ({ bn, x, dy, out }: ReturnType<typeof exampleOf>) => [
      bn.forward(x, { out }).toFloat32Array(),
      bn.backward(dy, { out }).toFloat32Array(),
      bn.weight?.grad?.toFloat32Array(),
      bn.stateDict(),
    ];
    expect(step(high)).toEqual(step(low));

    // What was given back is there again, without growth.
    const { memoryBytes } = kernel.memoryUsage();
    for (const tensor of big) tensor.dispose();
    const again = untouched(kernel, 1536 * MiB);
    expect(kernel.memoryUsage().memoryBytes).toBe(memoryBytes);
    again.dispose();
    expect(process.memoryUsage().rss - rss).toBeLessThan(256 * MiB);
  });

  test("a layer that doesn't fit leaves nothing behind", () => {
    const kernel = createKernel(kernelBytes);
    const room = untouched(kernel, MiB);
    fill(kernel);
    room.dispose();
    const { liveBytes, liveStorages } = kernel.memoryUsage();
    // Three of its four vectors fit into what is free.
    const make = () => new BatchNorm(75_000, { kernel });
    expect(make).toThrow(expect.objectContaining({ code: "out-of-memory" }));
    expect(kernel.memoryUsage()).toMatchObject({ liveBytes, liveStorages });
    seen.add("out-of-memory");
  });

  test("a call whose workspace doesn't fit writes nothing and leaves nothing behind", () => {
    const kernel = createKernel(kernelBytes);
    const channels = 2 ** 12;
    const tensor = () => counting([2, channels], 1, kernel);
    const vector = () => counting([channels], 1, kernel);
    const [x, out, dy, mean, variance] = [tensor(), tensor(), tensor(), vector(), vector()];
    const bn = new BatchNorm(channels, { kernel });
    const all = [x, out, dy, mean, variance, bn];
    // Room for the saved statistics (16 bytes a channel), but not for the workspace as well.
    const room = untouched(kernel, channels * 16 + 256);
    const taken = fill(kernel);
    room.dispose();
    const before = snapshot(all);
    for (const call of [
      () => batchNormTraining(x, { out, runningMean: mean, runningVar: variance }),
      () => batchNormTraining(x),
      () =>
        batchNormTraining(
          { data: new Float32Array(2 * channels), shape: [2, channels] },
          { kernel },
        ),
      () => bn.forward(x, { out }),
      () => bn.forward(x),
      () => bn.forward(x, { training: false }),
    ]) {
      const error = expectError("out-of-memory", ["room"], call, all);
      expect(error.message).not.toContain("no room for 0 more bytes");
    }
    expect(snapshot(all)).toEqual(before);
    for (const one of taken) one.dispose();
    bn.forward(x, { out });
    bn.backward(dy);
    expect(bn.numBatchesTracked).toBe(1);
  });

  test("a backward that can't have all its gradients keeps none", () => {
    const kernel = createKernel(kernelBytes);
    const channels = 2 ** 12;
    const [x, dy] = [counting([2, channels], 1, kernel), counting([2, channels], 1, kernel)];
    const bn = new BatchNorm(channels, { kernel });
    bn.forward(x);
    const { saved } = batchNormTraining(x, { weight: counting([channels], 1, kernel) });
    // Room for nothing, for γ's gradient, for both and for neither dx nor workspace.
    const rooms = [0, 1, 2].map(() => untouched(kernel, channels * 4));
    fill(kernel);
    for (const room of rooms) {
      room.dispose();
      const words = ["no room"];
      expectError("out-of-memory", words, () => bn.backward(dy), [x, dy, bn]);
      expectError("out-of-memory", words, () => batchNormBackward(dy, { saved }), [x, dy, saved]);
    }
  });
});

test("a file that is cut off is refused, and nothing of it was loaded", () => {
  const bn = new BatchNorm(3);
  const file = toSafetensors(bn.stateDict());
  const words = ["fromSafetensors", "the file is cut off"];
  for (const size of [8, 40, file.length - 1]) {
    const cut = file.subarray(0, size);
    expectError("invalid-file", words, () => bn.loadStateDict(fromSafetensors(cut)), [bn]);
  }
});

test("every code of ts/core/errors.ts was thrown by a test of this file", () => {
  const source = readFileSync(new URL("../ts/core/errors.ts", import.meta.url), "utf8");
  const codes = Array.from(source.matchAll(/^ {2}\| "([a-z-]+)"/gm), ([, code]) => code);
  expect(codes.length).toBeGreaterThan(15);
  expect(codes.filter((code) => !seen.has(code as BatchNormErrorCode))).toEqual([]);
});
