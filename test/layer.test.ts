import {
  BatchNorm,
  type BatchNormLayerOptions,
  type BatchNormSaved,
  batchNormStatistics,
  batchNormTraining,
  createKernel,
  memoryUsage,
  type PresetName,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { kernelBytes } from "../scripts/kernel/under-test.mjs";
import { expectWithin, type Truth, truthOfInference, truthOfTraining } from "./helpers.js";
import { backward, backwardConstant, channelsOf, forward, statistics } from "./reference/batch.mjs";

const C = 3;
const DATA = [1, -2, 0.5, 3, 7, 0.25, -4, 1, 0, 2.5, -3, 8, 0.125, 5, -6];
const SHAPE = [DATA.length / C, C];
const GRADIENT = DATA.map((value, i) => Math.fround(Math.sin(value + i)));
const GAMMA = [2, -0.5, 1.5];
const BETA = [0.25, 3, -1];
const RUNNING_MEAN = [0.5, -1, 2];
const RUNNING_VAR = [4, 0.25, 1];

interface Statistics {
  mean: readonly number[];
  variance: readonly number[];
}

const running: Statistics = { mean: RUNNING_MEAN, variance: RUNNING_VAR };

const columnsOf = (data: readonly number[]) => channelsOf([data.length / C, C], 1);

/** Mean and variance of each column, over count − `less` values. */
function columns(data: readonly number[], less = 0): Statistics {
  const { mean, variance } = statistics(data, columnsOf(data));
  const n = data.length / C;
  return { mean: [...mean], variance: Array.from(variance, (value) => (value * n) / (n - less)) };
}

function at(vector: readonly number[], i: number): number {
  return vector[i % C] as number;
}

/** What forward and backward should give, in float64. */
function reference(
  { mean, variance }: Statistics,
  { constant = false, gamma = GAMMA, beta = BETA, eps = 1e-5, data = DATA, dy = GRADIENT } = {},
) {
  const channels = columnsOf(data);
  const parameters = { weight: gamma, bias: beta, eps };
  const given = { mean: Float64Array.from(mean), variance: Float64Array.from(variance) };
  const { dx, dweight, dbias } = constant
    ? backwardConstant(data, dy, channels, given, parameters)
    : backward(data, dy, channels, parameters, given);
  const y = forward(data, channels, given, parameters);
  return { y: [...y], dx: [...dx], dgamma: [...dweight], dbeta: [...dbias] };
}

/** What bounds are at most, over the largest value beside it or 1. */
function worst({ statistics, y, gradients, bounds }: Truth): number {
  const results = { ...statistics, y, ...gradients };
  const names = Object.keys(bounds) as (keyof typeof bounds)[];
  return Math.max(
    ...names.map((name) => Math.max(...bounds[name]) / Math.max(1, ...results[name].map(Math.abs))),
  );
}

const PARAMETERS = { weight: GAMMA, bias: BETA, eps: 1e-5 };
const byBatch = truthOfTraining(DATA, GRADIENT, columnsOf(DATA), PARAMETERS);
const given = { mean: Float64Array.from(RUNNING_MEAN), variance: Float64Array.from(RUNNING_VAR) };
const byRunning = truthOfInference(DATA, GRADIENT, columnsOf(DATA), given, PARAMETERS);

/** 130 roundings, as bounds of these data are made; all others here are like them. */
const TOLERANCE = Math.max(worst(byBatch), worst(byRunning));

function expectClose(got: Tensor | Float32Array | null | undefined, wanted: readonly number[]) {
  const values = [...((got instanceof Tensor ? got.toFloat32Array() : got) ?? [])];
  expect(values).toHaveLength(wanted.length);
  const off = Math.max(0, ...values.map((value, i) => Math.abs(value - (wanted[i] as number))));
  expect(off, `${values}\nis not\n${wanted}`).toBeLessThan(
    TOLERANCE * Math.max(1, ...wanted.map(Math.abs)),
  );
}

/** A layer with γ, β and running statistics of its own. */
function layer(options: BatchNormLayerOptions = {}, count = 0): BatchNorm {
  const bn = new BatchNorm(C, options);
  bn.weight?.data.set(GAMMA);
  bn.bias?.data.set(BETA);
  bn.runningMean?.data.set(RUNNING_MEAN);
  bn.runningVar?.data.set(RUNNING_VAR);
  if (count > 0) bn.loadStateDict({ ...bn.stateDict(), num_batches_tracked: count });
  return bn;
}

const input = () => Tensor.from(DATA, SHAPE);
const gradient = () => Tensor.from(GRADIENT, SHAPE);
/** old + weight·(batch − old), for each channel. */
const moved = (old: readonly number[], batch: readonly number[], weight: number) =>
  old.map((value, c) => value + weight * (at(batch, c) - value));

describe("modes", () => {
  test("a new layer trains; train and eval switch and return the layer", () => {
    const bn = layer();
    expect(bn.training).toBe(true);
    expect(bn.eval()).toBe(bn);
    expect(bn.training).toBe(false);
    expect(bn.train()).toBe(bn);
    expect(bn.training).toBe(true);
    expect(bn.train(false).training).toBe(false);
    bn.training = true;
    expectClose(bn.forward(input()), reference(columns(DATA)).y);
  });

  test("training normalizes by the batch, evaluation by the running statistics", () => {
    const bn = layer();
    expectClose(bn.eval().forward(input()), reference(running).y);
    expectClose(bn.train().forward(input()), reference(columns(DATA)).y);
  });

  test("forward's training option overrides the mode for that call alone, either way", () => {
    const bn = layer();
    expectClose(bn.forward(input(), { training: false }), reference(running).y);
    expect(bn.training).toBe(true);
    expect(bn.numBatchesTracked).toBe(0);
    bn.eval();
    expectClose(bn.forward(input(), { training: true }), reference(columns(DATA)).y);
    expect(bn.training).toBe(false);
    expect(bn.numBatchesTracked).toBe(1);
    expectClose(bn.forward(input(), { training: undefined }).reshape([-1]), [
      ...reference({
        mean: moved(RUNNING_MEAN, columns(DATA).mean, 0.1),
        variance: moved(RUNNING_VAR, columns(DATA, 1).variance, 0.1),
      }).y,
    ]);
  });

  test("evaluation changes nothing of the layer", () => {
    const bn = layer({}, 5);
    const before = bn.stateDict();
    bn.eval().forward(input());
    expect(bn.stateDict()).toEqual(before);
  });
});

describe("the three switches", () => {
  for (const training of [true, false]) {
    for (const statistics of ["auto", "batch", "running"] as const) {
      for (const updateRunningStats of ["auto", true, false] as const) {
        for (const requiresGrad of [true, false]) {
          const byBatch = statistics === "batch" || (statistics === "auto" && training);
          const update = updateRunningStats === "auto" ? training && byBatch : updateRunningStats;
          const name =
            `${training ? "train" : "eval"}, statistics ${statistics}, update ${updateRunningStats}, ` +
            `requiresGrad ${requiresGrad}: normalizes by ${byBatch ? "the batch" : "the running ones"}, ` +
            `${update ? "moves" : "keeps"} the running ones, ${requiresGrad ? "" : "no "}gradients`;
          test(name, () => {
            const bn = layer({ statistics, updateRunningStats, requiresGrad }).train(training);
            expect(bn).toMatchObject({ statistics, updateRunningStats, requiresGrad });
            const before = bn.stateDict();
            const y = bn.forward(input());
            const batch = columns(DATA);
            const wanted = reference(byBatch ? batch : running, { constant: !byBatch });
            expectClose(y, wanted.y);
            expect(bn.saved?.statistics).toBe(byBatch ? "batch" : "running");

            if (update) {
              expectClose(bn.runningMean, moved(RUNNING_MEAN, batch.mean, 0.1));
              expectClose(bn.runningVar, moved(RUNNING_VAR, columns(DATA, 1).variance, 0.1));
              expect(bn.numBatchesTracked).toBe(1);
            } else {
              expect(bn.stateDict()).toEqual(before);
            }

            expectClose(bn.backward(gradient()), wanted.dx);
            if (requiresGrad) {
              expectClose(bn.weight?.grad, wanted.dgamma);
              expectClose(bn.bias?.grad, wanted.dbeta);
            } else {
              expect(bn.weight?.grad).toBeNull();
              expect(bn.bias?.grad).toBeNull();
            }
          });
        }
      }
    }
  }

  test("with running statistics that also move, in place and step by step, each batch sees the old ones", () => {
    const bn = layer({ statistics: "running", updateRunningStats: true });
    let expected = running;
    for (let step = 0; step < 3; step++) {
      const x = input();
      expectClose(bn.forward(x, { out: x }), reference(expected).y);
      expected = {
        mean: moved(expected.mean, columns(DATA).mean, 0.1),
        variance: moved(expected.variance, columns(DATA, 1).variance, 0.1),
      };
    }
    expectClose(bn.runningMean, expected.mean);
    expectClose(bn.runningVar, expected.variance);
    expect(bn.numBatchesTracked).toBe(3);
  });

  test("as properties they take effect from the next call on", () => {
    const bn = layer();
    bn.forward(input());
    const state = bn.stateDict();
    bn.statistics = "running";
    bn.requiresGrad = false;
    bn.forward(input());
    bn.backward(gradient());
    expect(bn.stateDict()).toEqual(state);
    expect(bn.weight?.grad).toBeNull();
    bn.statistics = "auto";
    bn.requiresGrad = true;
    bn.forward(input());
    bn.backward(gradient());
    expect(bn.numBatchesTracked).toBe(2);
    expect(bn.weight?.grad).not.toBeNull();
  });

  test("test-time adaptation: batch statistics and moving running ones in evaluation", () => {
    const bn = layer({ statistics: "batch", updateRunningStats: true }).eval();
    expectClose(bn.forward(input()), reference(columns(DATA)).y);
    expectClose(bn.runningMean, moved(RUNNING_MEAN, columns(DATA).mean, 0.1));
  });

  test("requiresGrad off leaves gradients that are there alone", () => {
    const bn = layer();
    bn.forward(input());
    bn.backward(gradient());
    const before = bn.weight?.grad?.toFloat32Array();
    bn.requiresGrad = false;
    expectClose(bn.backward(gradient()), reference(columns(DATA)).dx);
    expect(bn.weight?.grad?.toFloat32Array()).toEqual(before);
  });
});

describe("running statistics", () => {
  const presets: [PresetName, weight: number, less: number][] = [
    ["torch", 0.1, 1],
    ["keras", 0.01, 0],
    ["onnx", 0.1, 0],
    ["flax", 0.01, 0],
  ];
  for (const [preset, weight, less] of presets) {
    test(`${preset}'s move by ${weight} towards the ${less ? "un" : ""}biased variance`, () => {
      const bn = layer({ preset });
      bn.train().forward(input());
      expectClose(bn.runningMean, moved(RUNNING_MEAN, columns(DATA).mean, weight));
      expectClose(bn.runningVar, moved(RUNNING_VAR, columns(DATA, less).variance, weight));
    });
  }

  test("momentum weighs the new batch in torch, and the old value in the others", () => {
    const torch = layer({ momentum: 0.25 });
    torch.forward(input());
    expectClose(torch.runningMean, moved(RUNNING_MEAN, columns(DATA).mean, 0.25));
    const onnx = layer({ preset: "onnx", momentum: 0.25 });
    onnx.train().forward(input());
    expectClose(onnx.runningMean, moved(RUNNING_MEAN, columns(DATA).mean, 0.75));
    for (const momentum of [0, 1]) {
      const bn = layer({ momentum });
      bn.forward(input());
      expectClose(bn.runningMean, momentum ? columns(DATA).mean : RUNNING_MEAN);
    }
  });

  test("momentum null averages all batches since the last reset, each weighing the same", () => {
    const bn = layer({ momentum: null });
    const batches = [DATA, DATA.map((v) => 2 * v + 1), DATA.map((v) => -v), GRADIENT];
    const average = (of: (data: readonly number[]) => readonly number[], upTo: number) =>
      [0, 1, 2].map((c) => batches.slice(0, upTo).reduce((sum, b) => sum + at(of(b), c), 0) / upTo);
    for (const round of [1, 2]) {
      batches.forEach((data, i) => {
        bn.forward(Tensor.from(data, SHAPE));
        expect(bn.numBatchesTracked, `round ${round}`).toBe(i + 1);
        expectClose(
          bn.runningMean,
          average((b) => columns(b).mean, i + 1),
        );
        expectClose(
          bn.runningVar,
          average((b) => columns(b, 1).variance, i + 1),
        );
      });
      bn.resetRunningStats();
    }
  });

  test("runningVariance overrides the preset's", () => {
    const bn = layer({ runningVariance: "biased", momentum: 1 });
    bn.forward(input());
    expectClose(bn.runningVar, columns(DATA).variance);
    const keras = layer({ preset: "keras", runningVariance: "unbiased", momentum: 0 });
    keras.train().forward(input());
    expectClose(keras.runningVar, columns(DATA, 1).variance);
  });

  test("of one value a channel the unbiased variance is 0, not NaN", () => {
    const bn = layer({ preset: "keras", runningVariance: "unbiased", momentum: 0 });
    bn.train().forward(Tensor.from([1, 2, 3], [1, C]));
    expect([...(bn.runningVar as Tensor).data]).toEqual([0, 0, 0]);
  });

  test("without them both modes normalize by the batch, and nothing is counted", () => {
    const bn = layer({ trackRunningStats: false });
    expect(bn.runningMean).toBeNull();
    expect(bn.runningVar).toBeNull();
    expectClose(bn.forward(input()), reference(columns(DATA)).y);
    expectClose(bn.eval().forward(input()), reference(columns(DATA)).y);
    expectClose(bn.backward(gradient()), reference(columns(DATA)).dx);
    expect(bn.numBatchesTracked).toBe(0);
    expect(Object.keys(bn.stateDict())).toEqual(["weight", "bias"]);
  });

  test("resetRunningStats leaves parameters and gradients, resetParameters resets both", () => {
    const bn = layer({}, 4);
    bn.forward(input());
    bn.backward(gradient());
    bn.resetRunningStats();
    expect(bn.stateDict()).toEqual({
      weight: Float32Array.from(GAMMA),
      bias: Float32Array.from(BETA),
      running_mean: new Float32Array(C),
      running_var: new Float32Array(C).fill(1),
      num_batches_tracked: 0,
    });
    bn.forward(input());
    bn.resetParameters();
    expect(bn.stateDict()).toEqual(new BatchNorm(C).stateDict());
    expect(bn.weight?.grad).not.toBeNull();
  });
});

describe("γ and β", () => {
  const cases: [BatchNormLayerOptions, hasWeight: boolean, hasBias: boolean][] = [
    [{}, true, true],
    [{ affine: false }, false, false],
    [{ scale: false }, false, true],
    [{ offset: false }, true, false],
    [{ affine: false, scale: true }, true, false],
    [{ affine: false, offset: true }, false, true],
  ];
  for (const [options, hasWeight, hasBias] of cases) {
    const name = JSON.stringify(options);
    test(`with ${name} there is ${hasWeight ? "a" : "no"} γ and ${hasBias ? "a" : "no"} β`, () => {
      const bn = layer({ ...options, updateRunningStats: false });
      expect(bn.weight !== null).toBe(hasWeight);
      expect(bn.bias !== null).toBe(hasBias);
      const parameters = { gamma: hasWeight ? GAMMA : [1, 1, 1], beta: hasBias ? BETA : [0, 0, 0] };
      const wanted = reference(columns(DATA), parameters);
      expectClose(bn.forward(input()), wanted.y);
      expectClose(bn.backward(gradient()), wanted.dx);
      if (hasWeight) expectClose(bn.weight?.grad, wanted.dgamma);
      if (hasBias) expectClose(bn.bias?.grad, wanted.dbeta);
      const frozen = reference(running, { ...parameters, constant: true });
      bn.eval().forward(input());
      expectClose(bn.backward(gradient()), frozen.dx);
    });
  }

  test("gradients are null before the first backward, add up, and zeroGrad clears them", () => {
    const bn = layer();
    const { dgamma, dbeta } = reference(columns(DATA));
    bn.zeroGrad();
    bn.forward(input());
    expect(bn.weight?.grad).toBeNull();
    expect(bn.bias?.grad).toBeNull();
    for (const times of [1, 2, 3]) {
      bn.backward(gradient());
      expectClose(
        bn.weight?.grad,
        dgamma.map((value) => times * value),
      );
      expectClose(
        bn.bias?.grad,
        dbeta.map((value) => times * value),
      );
    }
    const { grad } = bn.weight as { grad: Tensor };
    bn.zeroGrad();
    expect([...grad.data]).toEqual([0, 0, 0]);
    expect(bn.weight?.grad).toBe(grad);
    bn.backward(gradient());
    expectClose(grad, dgamma);
  });

  test("a gradient that was set to null is made anew", () => {
    const bn = layer();
    bn.forward(input());
    bn.backward(gradient());
    for (const parameter of [bn.weight, bn.bias]) {
      parameter?.grad?.dispose();
      if (parameter) parameter.grad = null;
    }
    bn.backward(gradient());
    expectClose(bn.weight?.grad, reference(columns(DATA)).dgamma);
  });

  test("a step of gradient descent written through .data is used by the next forward", () => {
    const bn = layer();
    bn.forward(input());
    bn.backward(gradient());
    const gamma = GAMMA.map((value, c) => value - 0.1 * at(reference(columns(DATA)).dgamma, c));
    const { data } = bn.weight as Tensor;
    const step = bn.weight?.grad?.data as Float32Array;
    for (let c = 0; c < C; c++) data[c] = (data[c] as number) - 0.1 * (step[c] as number);
    expectClose(bn.forward(input()), reference(columns(DATA), { gamma }).y);
  });
});

describe("forward and backward", () => {
  test("out is written and returned, also x itself and dy itself", () => {
    const wanted = reference(columns(DATA));
    const bn = layer();
    const [x, dy, y, dx] = [input(), gradient(), Tensor.zeros(SHAPE), Tensor.zeros(SHAPE)];
    expect(bn.forward(x, { out: y })).toBe(y);
    expectClose(y, wanted.y);
    expect(bn.backward(dy, { out: dx })).toBe(dx);
    expectClose(dx, wanted.dx);
    expect(bn.backward(dy, { out: dy })).toBe(dy);
    expectClose(dy, wanted.dx);
    expect(bn.forward(x, { out: x })).toBe(x);
    expectClose(x, wanted.y);
  });

  test("any axis is the channel axis, negative from the end too", () => {
    // [N, C] as [A, C, B] with the same elements a channel: x[a, c, b] = DATA[a·B + b, c].
    const [A, B] = [1, 5];
    const first = DATA.map((_, i) => at(DATA.slice((i % B) * C), Math.floor(i / B)));
    const wanted = reference(columns(DATA)).y;
    const firstWanted = wanted.map((_, i) => at(wanted.slice((i % B) * C), Math.floor(i / B)));
    for (const axis of [1, -2]) {
      const y = layer({ axis }).forward(Tensor.from(first, [A, C, B]));
      expectClose(y, firstWanted);
    }
    expectClose(layer({ axis: 0 }).forward(Tensor.from(first, [C, A, B])), firstWanted);
    for (const axis of [3, -1]) {
      expectClose(layer({ axis }).forward(Tensor.from(DATA, [1, 5, 1, C])), wanted);
    }
  });

  test("strided views are read and written in place of their elements alone", () => {
    const x = Tensor.from(
      DATA.flatMap((value, i) => (i % C === 0 ? [99, value] : i % C === 2 ? [value, 99] : [value])),
      [5, 5],
    );
    const view = x.slice(1, 1, 4);
    layer().forward(view, { out: view });
    expectClose(view, reference(columns(DATA)).y);
    for (const border of [x.slice(1, 0, 1), x.slice(1, 4, 5)]) {
      expect([...border.toFloat32Array()]).toEqual([99, 99, 99, 99, 99]);
    }
  });

  test("plain arrays go in, and the same kind comes out", () => {
    for (const data of [DATA, Float32Array.from(DATA)]) {
      const bn = layer();
      const wanted = reference(columns(DATA));
      const y = bn.forward({ data, shape: SHAPE });
      expect(y.data).toBeInstanceOf(Float32Array);
      expect(y.shape).toEqual(SHAPE);
      expect(y.shape).not.toBe(SHAPE);
      expectClose(y.data, wanted.y);
      expect([...data]).toEqual([...data.map((_, i) => DATA[i] as number)]);
      const dx = bn.backward({ data: GRADIENT, shape: SHAPE });
      expect(dx.data).toBeInstanceOf(Float32Array);
      expectClose(dx.data, wanted.dx);
      expectClose(bn.weight?.grad, wanted.dgamma);
      expectClose(
        bn.eval().forward({ data, shape: SHAPE }).data,
        reference({
          mean: moved(RUNNING_MEAN, columns(DATA).mean, 0.1),
          variance: moved(RUNNING_VAR, columns(DATA, 1).variance, 0.1),
        }).y,
      );
    }
    const bytes = Uint8Array.from(DATA, (_, i) => i * 10);
    const y = layer().forward({ data: bytes, shape: SHAPE });
    const data = [...bytes];
    expectClose(y.data, reference(columns(data), { data }).y);
  });

  test("a plain gradient goes with a tensor's forward, and a tensor's with a plain one", () => {
    const bn = layer();
    const wanted = reference(columns(DATA));
    bn.forward(input());
    expectClose(bn.backward({ data: GRADIENT, shape: SHAPE }).data, wanted.dx);
    bn.forward({ data: DATA, shape: SHAPE });
    expectClose(bn.backward(gradient()), wanted.dx);
  });

  test("a plain result is no view of kernel memory", () => {
    const bn = layer();
    const y = bn.forward({ data: DATA, shape: SHAPE });
    expect(y.data.buffer.byteLength).toBe(4 * DATA.length);
  });

  test("without a batch nothing moves, y and dx are empty, and gradients zero", () => {
    for (const shape of [
      [0, C],
      [0, C, 4],
      [2, C, 0],
    ]) {
      for (const options of [{}, { momentum: null }, { statistics: "batch" }] as const) {
        const bn = layer(options, 7);
        const before = bn.stateDict();
        expect(bn.forward(Tensor.zeros(shape)).shape).toEqual(shape);
        expect(bn.stateDict()).toEqual(before);
        expect(bn.numBatchesTracked).toBe(7);
        expect(bn.backward(Tensor.zeros(shape)).shape).toEqual(shape);
        expectClose(bn.weight?.grad, [0, 0, 0]);
        expectClose(bn.bias?.grad, [0, 0, 0]);
        expect(bn.eval().forward({ data: [], shape }).data).toHaveLength(0);
      }
      const both = layer({ statistics: "running", updateRunningStats: true }, 7);
      const before = both.stateDict();
      both.forward(Tensor.zeros(shape));
      expect(both.stateDict()).toEqual(before);
    }
  });

  test("the saved statistics of no batch are zeros, not what lay in memory", () => {
    const dirty = Array.from({ length: 50 }, () => Tensor.from(new Float32Array(12).fill(7)));
    const bn = layer();
    const empty = Tensor.zeros([0, C]);
    for (const tensor of dirty) tensor.dispose();
    bn.forward(empty);
    const zeros = { mean: new Float64Array(C), variance: new Float64Array(C) };
    const { mean, variance } = bn.saved as BatchNormSaved;
    expect({ mean, variance }).toEqual(zeros);
    expect(batchNormStatistics(empty)).toEqual(zeros);
  });

  test("a layer of no features takes tensors of no channels", () => {
    const bn = new BatchNorm(0);
    expect(bn.forward(Tensor.zeros([4, 0])).shape).toEqual([4, 0]);
    expect(bn.backward(Tensor.zeros([4, 0])).shape).toEqual([4, 0]);
    expect(bn.weight?.grad?.shape).toEqual([0]);
    expect(bn.numBatchesTracked).toBe(0);
    expect(bn.eval().forward(Tensor.zeros([4, 0, 3])).shape).toEqual([4, 0, 3]);
    expect(bn.stateDict()).toMatchObject({ weight: new Float32Array(0) });
    bn.loadStateDict(bn.stateDict());
    expect(() => bn.forward(Tensor.zeros([4, 1]))).toThrow("0 channels");
  });

  test("a layer on a kernel of its own has all its memory there", () => {
    const kernel = createKernel(kernelBytes);
    const before = memoryUsage();
    const bn = layer({ kernel });
    const y = bn.forward(Tensor.from(DATA, SHAPE, { kernel }));
    expect(y.kernel).toBe(kernel);
    expectClose(bn.forward({ data: DATA, shape: SHAPE }).data, reference(columns(DATA)).y);
    expect(memoryUsage()).toEqual(before);
  });
});

describe("saved values", () => {
  const OTHER = DATA.map((value, i) => value * (i % 4) - i);
  const otherInput = () => Tensor.from(OTHER, SHAPE);

  test("are null before the first forward, then tell what normalized", () => {
    const bn = layer();
    expect(bn.saved).toBeNull();
    const x = input();
    bn.forward(x);
    const saved = bn.saved as BatchNormSaved;
    expect(saved).toMatchObject({ x, statistics: "batch", axis: 1, channels: C, eps: 1e-5 });
    expect([...(saved.weight as Float64Array)]).toEqual([...(bn.weight as Tensor).data]);
    for (const name of ["mean", "variance"] as const) {
      expectWithin(saved[name], byBatch.statistics[name], byBatch.bounds[name], name);
    }
    bn.eval().forward(x);
    expect([...(bn.saved as BatchNormSaved).mean]).toEqual([
      ...(bn.runningMean as Tensor).toFloat32Array(),
    ]);
  });

  test("a record that was taken is not overwritten by later forwards, and stays the default", () => {
    const bn = layer();
    bn.forward(input());
    const saved = bn.takeSaved();
    expect(bn.takeSaved()).toBe(saved);
    expectClose(bn.backward(gradient()), reference(columns(DATA)).dx);
    const mean = saved.mean;
    bn.forward(otherInput());
    bn.forward(otherInput());
    expect(saved.mean).toEqual(mean);
    expect(bn.saved).not.toBe(saved);
  });

  test("a record that was only read costs nothing, and tells when it is no more the last one", () => {
    const bn = layer();
    bn.forward(input());
    const before = memoryUsage();
    const first = bn.saved as BatchNormSaved;
    for (let i = 0; i < 100; i++) {
      bn.forward(input()).dispose();
      expect(bn.saved?.statistics).toBe("batch");
    }
    expect(memoryUsage().liveStorages - before.liveStorages).toBe(100);
    expect(() => first.mean).toThrow(expect.objectContaining({ code: "stale" }));
  });

  test("a mean that was saved stays what it was when the running mean moves", () => {
    const bn = layer({ updateRunningStats: true }).eval();
    const before = [...(bn.runningMean as Tensor).data];
    bn.forward(input());
    expect([...(bn.saved as BatchNormSaved).mean]).toEqual(before);
    expect([...(bn.runningMean as Tensor).data]).not.toEqual(before);
  });

  test("of an empty batch show nothing of the batch before it", () => {
    const { saved } = batchNormTraining(input());
    batchNormTraining(Tensor.zeros([0, C]), { saved });
    expect([...saved.mean, ...saved.variance]).toEqual(new Array(2 * C).fill(0));
  });

  test("γ is kept as it was: a step of the optimizer between changes no gradient", () => {
    const [values, gradient] = [
      [1, 2, 3, 5, 4, 9, 8, 1],
      [1, 0, 0, 1, 0, 2, 1, 0],
    ];
    const { gradients, bounds } = truthOfTraining(values, gradient, channelsOf([4, 2], 1), {
      eps: 1e-5,
    });
    const [x, dy] = [Tensor.from(values, [4, 2]), Tensor.from(gradient, [4, 2])];
    const bn = new BatchNorm(2);
    bn.forward(x);
    const want = bn.backward(dy).toFloat32Array();
    expectWithin(want, gradients.dx, bounds.dx, "dx");
    for (const write of [
      (weight: Tensor) => weight.data.fill(0.5),
      (weight: Tensor) => weight.set([0.5, 0.5]),
    ]) {
      bn.resetParameters();
      bn.forward(x);
      write(bn.weight as Tensor);
      expect(bn.backward(dy).toFloat32Array()).toEqual(want);
    }
  });

  test("of two micro-batches give each its own gradient, in any order, summed for γ and β", () => {
    const one = reference(columns(DATA));
    const other = reference(columns(OTHER), { data: OTHER });
    for (const order of [
      [0, 1],
      [1, 0],
    ] as const) {
      const bn = layer();
      const saved = [input(), otherInput()].map((x) => {
        bn.forward(x);
        return bn.takeSaved();
      });
      for (const which of order) {
        const dx = bn.backward(gradient(), { saved: saved[which] });
        expectClose(dx, (which ? other : one).dx);
      }
      expectClose(
        bn.weight?.grad,
        one.dgamma.map((value, c) => value + at(other.dgamma, c)),
      );
      expectClose(
        bn.bias?.grad,
        one.dbeta.map((value, c) => value + at(other.dbeta, c)),
      );
      expect(bn.numBatchesTracked).toBe(2);
    }
  });

  test("let one layer stand twice in a chain (weight sharing)", () => {
    const bn = layer();
    const hidden = bn.forward(input());
    const first = bn.takeSaved();
    bn.forward(hidden);
    const dhidden = bn.backward(gradient());
    const dx = bn.backward(dhidden, { saved: first });

    const y = reference(columns(DATA)).y;
    const second = reference(columns(y), { data: y });
    const wanted = reference(columns(DATA), { dy: second.dx });
    expectClose(dx, wanted.dx);
    expectClose(
      bn.weight?.grad,
      second.dgamma.map((value, c) => value + at(wanted.dgamma, c)),
    );
  });

  test("of a training and a frozen forward can be mixed", () => {
    const bn = layer({ updateRunningStats: false });
    bn.forward(input());
    const training = bn.takeSaved();
    bn.eval().forward(input());
    const frozen = bn.takeSaved();
    bn.train().forward(otherInput());
    expectClose(bn.backward(gradient(), { saved: training }), reference(columns(DATA)).dx);
    const wanted = reference(running, { constant: true });
    expectClose(bn.backward(gradient(), { saved: frozen }), wanted.dx);
  });
});

describe("a layer that learns its feature count", () => {
  test("has no parameters before its first input, and then those of its channels", () => {
    const bn = new BatchNorm(null);
    expect(bn.numFeatures).toBeNull();
    expect([bn.weight, bn.bias, bn.runningMean, bn.runningVar]).toEqual([null, null, null, null]);
    bn.zeroGrad();
    bn.resetParameters();
    const built = new BatchNorm(C);
    expect(bn.forward(input()).toFloat32Array()).toEqual(built.forward(input()).toFloat32Array());
    expect(bn.numFeatures).toBe(C);
    expect(bn.stateDict()).toEqual(built.stateDict());
    expect(() => bn.forward(Tensor.zeros([4, 4]))).toThrow("3 channels");
  });

  test("learns it from a plain input, in evaluation, and from an empty batch", () => {
    for (const learn of [
      (bn: BatchNorm) => bn.forward({ data: DATA, shape: SHAPE }),
      (bn: BatchNorm) => bn.eval().forward(input()),
      (bn: BatchNorm) => bn.forward(Tensor.zeros([0, C])),
    ]) {
      const bn = new BatchNorm(null);
      learn(bn);
      expect(bn.numFeatures).toBe(C);
    }
  });

  test("of PyTorch's kind without running statistics refuses one value a channel in eval too", () => {
    const bn = new BatchNorm(3, { trackRunningStats: false }).eval();
    expect(() => bn.forward(Tensor.zeros([1, 3]))).toThrow("more than 1 value");
  });

  test("learns nothing from a forward that fails", () => {
    const bn = new BatchNorm(null);
    const other = Tensor.zeros([4, 4]);
    const before = memoryUsage();
    expect(() => bn.forward(Tensor.zeros([1, 4]))).toThrow("more than 1 value");
    scope(() => {
      const x = input();
      expect(() => bn.forward(x, { out: other })).toThrow("out must have x's shape");
    });
    expect(() => bn.forward({ data: DATA, shape: [5, 4] })).toThrow("shape");
    expect(bn.numFeatures).toBeNull();
    expect(bn.weight).toBeNull();
    expect(memoryUsage().liveBytes).toBe(before.liveBytes + 16);
    bn.forward(other);
    expect(bn.numFeatures).toBe(4);
  });
});
