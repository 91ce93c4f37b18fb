/** Layers of group and instance norm: PyTorch's and Keras's golden values, modes, errors. */
import {
  GroupNorm,
  GroupNormalization,
  groupNorm,
  groupNormBackward,
  groupNormPresets,
  InstanceNorm,
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  instanceNormPresets,
  type SampleNorm,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, it, test } from "vitest";
import { counting, expectError, values, wrong } from "./call-helpers.js";
import { expectSameBits, expectWithin, truthOfInference } from "./helpers.js";
import { compare, nameOf, readCases, type Vector } from "./layer-fixtures.js";
import { channelsOf } from "./reference/channels.mjs";
import { groupsOf } from "./reference/group.mjs";
import { truthOfGroups } from "./truth-of-groups.js";

interface Step {
  x: number[];
  dy: number[];
  y: number[];
  dx: number[];
  dweight: Vector;
  dbias: Vector;
  running_mean?: Vector;
  running_var?: Vector;
}

interface TorchCase {
  layer: "GroupNorm" | "InstanceNorm1d" | "InstanceNorm2d" | "InstanceNorm3d";
  shape: number[];
  groups?: number;
  options: { affine?: boolean; track_running_stats?: boolean; eps?: number; momentum?: number };
  weight: Vector;
  bias: Vector;
  steps: Step[];
  eval: Step;
  state_dict: string[];
  num_batches_tracked: number | null;
}

interface KerasCase {
  layer: "GroupNormalization";
  shape: number[];
  options: { groups?: number; axis?: number; epsilon?: number; scale?: boolean; center?: boolean };
  gamma: Vector;
  beta: Vector;
  x: number[];
  dy: number[];
  y: number[];
  dx: number[];
  dgamma: Vector;
  dbeta: Vector;
}

const SPELLINGS = { InstanceNorm1d, InstanceNorm2d, InstanceNorm3d };

describe("PyTorch's layers", () => {
  for (const one of readCases<TorchCase>("torch_layers.json", /Group|Instance/)) {
    const { layer: kind, shape, groups, options, weight, bias } = one;

    it(`give its golden values: ${nameOf(kind, shape, options)}`, () => {
      const { track_running_stats: trackRunningStats, ...same } = options;
      const unbatched = kind !== "GroupNorm" && shape.length === Number(kind.at(-2)) + 1;
      const axis = unbatched ? 0 : 1;
      const channels = shape[axis] as number;
      const layer: SampleNorm =
        kind === "GroupNorm"
          ? new GroupNorm(groups as number, channels, same)
          : new SPELLINGS[kind](channels, {
              ...same,
              ...(trackRunningStats === undefined ? {} : { trackRunningStats }),
            });
      const number = groups ?? channels;
      const eps = options.eps ?? 1e-5;
      if (weight && bias) {
        layer.weight?.set(weight);
        layer.bias?.set(bias);
      }
      expect(Object.keys(layer.stateDict()).sort()).toEqual(one.state_dict);
      const parameters = { weight, bias, eps };
      const all = groupsOf(shape, axis, number);
      const ofChannels = channelsOf(shape, axis);
      const running = { mean: new Float64Array(channels), variance: new Float64Array(channels) };
      [...one.steps, one.eval].forEach((step, k) => {
        const training = k < one.steps.length;
        layer.train(training);
        const byOwn = training || !trackRunningStats;
        const { bounds } = byOwn
          ? truthOfGroups(step.x, step.dy, all, parameters)
          : truthOfInference(step.x, step.dy, ofChannels, lastOf(one), parameters, running);
        scope(() => {
          layer.zeroGrad();
          const y = layer.forward(Tensor.from(step.x, shape));
          const dx = layer.backward(Tensor.from(step.dy, shape));
          compare(y, step.y, bounds.y, `y of step ${k}`);
          compare(dx, step.dx, bounds.dx, `dx of step ${k}`);
          compare(layer.weight?.grad, step.dweight, bounds.dweight, `dweight of step ${k}`);
          compare(layer.bias?.grad, step.dbias, bounds.dbias, `dbias of step ${k}`);
        });
        if (!training || !(layer instanceof InstanceNorm)) return;
        for (const which of ["mean", "variance"] as const) {
          const got = which === "mean" ? layer.runningMean : layer.runningVar;
          const want = which === "mean" ? step.running_mean : step.running_var;
          // A rounding a step, and what the samples' own are off.
          const largest = Math.max(0, ...bounds[which]);
          running[which] = Float64Array.from(want ?? [], (value, c) => {
            const before = running[which][c] as number;
            return before + 2 * largest + 2 ** -24 * Math.abs(value);
          });
          compare(got, want, running[which], `running ${which} of step ${k}`);
        }
      });
      if (one.num_batches_tracked !== null) {
        expect(layer.stateDict().num_batches_tracked).toBe(one.num_batches_tracked);
      }
      layer.dispose();
    });
  }
});

/** The running statistics that normalize in evaluation. */
function lastOf({ steps }: TorchCase) {
  const last = steps.at(-1) as Step;
  return {
    mean: Float64Array.from(last.running_mean ?? []),
    variance: Float64Array.from(last.running_var ?? []),
  };
}

describe("Keras's layer", () => {
  for (const one of readCases<KerasCase>("keras_layers.json", /Group|Instance/)) {
    const { shape, options, gamma, beta, x, dy } = one;

    it(`gives its golden values: ${nameOf("GroupNormalization", shape, options)}`, () => {
      using layer = new GroupNormalization(options);
      const { groups = 32, axis = -1, epsilon = 1e-3 } = options;
      const channels = shape.at(axis) as number;
      layer.forward(Tensor.from(x, shape)).dispose();
      if (gamma) layer.weight?.set(gamma);
      if (beta) layer.bias?.set(beta);
      expect(Object.keys(layer.stateDict())).toEqual([
        ...(gamma ? ["gamma"] : []),
        ...(beta ? ["beta"] : []),
      ]);
      const number = groups === -1 ? channels : groups;
      const parameters = { weight: gamma, bias: beta, eps: epsilon };
      const all = groupsOf(shape, axis < 0 ? axis + shape.length : axis, number);
      const { bounds } = truthOfGroups(x, dy, all, parameters);
      const y = layer.forward(Tensor.from(x, shape));
      const dx = layer.backward(Tensor.from(dy, shape));
      compare(y, one.y, bounds.y, "y");
      compare(dx, one.dx, bounds.dx, "dx");
      compare(layer.weight?.grad, one.dgamma, bounds.dweight, "dgamma");
      compare(layer.bias?.grad, one.dbeta, bounds.dbias, "dbeta");
    });
  }
});

describe("a group norm layer", () => {
  it("gives the functions' bits in both modes, and adds up gradients", () => {
    const [x, dy] = [counting([2, 6, 5]), counting([2, 6, 5], -7)];
    using gn = new GroupNorm(3, 6);
    gn.weight?.set([1, 2, 3, 4, 5, 6]);
    const { weight, bias } = gn;
    const want = groupNorm(x, { numGroups: 3, weight, bias, saved: true });
    const { dx, weightGrad, biasGrad } = groupNormBackward(dy, { saved: want.saved });
    for (const training of [true, false]) {
      gn.zeroGrad();
      expectSameBits(gn.forward(x, { training }).data, want.y.data, "y");
      expectSameBits(gn.backward(dy).data, dx.data, "dx");
      expectSameBits(gn.weight?.grad?.data as Float32Array, weightGrad?.data as Float32Array, "dγ");
      gn.backward(dy);
      expect(values(gn.bias?.grad as Tensor)).toEqual(
        values(biasGrad as Tensor).map((value) => 2 * value),
      );
    }
  });

  it("learns its channels from the first input, and forgets them where that fails", () => {
    using gn = new GroupNorm(2, null);
    expectError("not-built", ["feature count"], () => gn.stateDict());
    const [three, six, whole] = [counting([4, 3]), counting([3, 6]), counting([5, 4])];
    expectError("shape-mismatch", ["numGroups 2", "3 channels"], () => gn.forward(three));
    const [x, out] = [whole.slice(0, 0, 4), whole.slice(0, 1, 5)];
    expectError("overlap", ["out"], () => gn.forward(x, { out }), [whole]);
    expect(gn.numChannels).toBeNull();
    gn.forward(counting([3, 4]));
    expect([gn.numChannels, gn.weight?.size]).toEqual([4, 4]);
    expectError("shape-mismatch", ["4 channels", "[3, 6]"], () => gn.forward(six));
  });

  it("refuses groups that don't divide its channels, and one value a group as torch alone", () => {
    expectError(
      "invalid-option",
      ["GroupNorm: numGroups 4", "6 channels"],
      () => new GroupNorm(4, 6),
    );
    for (const groups of [0, 1.5, -1, "2", null, 2 ** 32]) {
      const words = ["GroupNorm: numGroups", "a whole number from 1 on"];
      expectError("invalid-option", words, () => new GroupNorm(wrong(groups), 6));
      if (groups === -1 || groups === null) continue;
      const ofKeras = ["GroupNormalization: groups", "a whole number from 1 on, or -1"];
      const options = { groups: wrong(groups) };
      expectError("invalid-option", ofKeras, () => new GroupNormalization(options));
    }
    const one = counting([1, 4]);
    for (const count of [-1, 1.5, 6n, "6", Object.create(null)]) {
      const words = ["GroupNorm: numChannels", "a whole number from 0 on, or null to learn it"];
      expectError("invalid-option", words, () => new GroupNorm(2, wrong(count)));
      const ofInstance = ["InstanceNorm2d: numFeatures", "a whole number from 0 on"];
      expectError("invalid-option", ofInstance, () => new InstanceNorm2d(wrong(count)));
    }
    using gn = new GroupNorm(4, 4).eval();
    const words = ["more than 1 value per group", "[1, 4]"];
    expectError("batch-too-small", words, () => gn.forward(one), [gn]);
    expect(values(new GroupNorm(4, 4, { preset: "flax" }).forward(one))).toEqual([0, 0, 0, 0]);
    expect(values(new GroupNormalization({ groups: -1 }).forward(one))).toEqual([0, 0, 0, 0]);
    // Of two samples there are two values in all, which torch counts.
    expect(values(new GroupNorm(4, 4).forward(counting([2, 4])))).toEqual(new Array(8).fill(0));
  });

  it("goes back through what was taken, and not through another norm's or layer's", () => {
    const [x, dy] = [counting([4, 6]), counting([4, 6])];
    using gn = new GroupNorm(2, 6);
    gn.forward(x);
    const first = gn.takeSaved();
    gn.forward(counting([4, 6], 50));
    const dx = gn.backward(dy, { saved: first });
    gn.forward(x);
    expectSameBits(gn.backward(dy).data, dx.data, "dx");
    using other = new GroupNorm(2, 6);
    other.forward(x);
    expectError("invalid-option", ["another layer"], () => other.backward(dy, { saved: first }));
    gn.requiresGrad = false;
    const before = values(gn.weight?.grad as Tensor);
    gn.backward(dy);
    expect(values(gn.weight?.grad as Tensor)).toEqual(before);
  });

  it("has its state in a dict, all or nothing, and back", () => {
    for (const preset of ["torch", "keras", "onnx", "flax"] as const) {
      using gn = new GroupNorm(1, 2, { preset });
      const { names, eps, axis } = groupNormPresets[preset];
      expect([gn.eps, gn.axis]).toEqual([eps, axis]);
      gn.loadStateDict({ [names.weight]: [2, 3], [names.bias]: [4, 5] });
      expect(gn.stateDict()).toEqual({
        [names.weight]: Float32Array.of(2, 3),
        [names.bias]: Float32Array.of(4, 5),
      });
      expectError("state-dict", [names.bias], () => gn.loadStateDict({ [names.weight]: [9, 9] }), [
        gn,
      ]);
    }
  });

  it("has γ and β of a group in onnx18, as if each channel had its group's", () => {
    const [x, dy] = [counting([2, 6, 5]), counting([2, 6, 5], -7)];
    const copy = (tensor: Tensor) => tensor.toFloat32Array();
    using gn = new GroupNorm(2, null, { preset: "onnx18" });
    using each = new GroupNorm(2, 6, { preset: "onnx" });
    gn.forward(x).dispose();
    expect([gn.numChannels, gn.weight?.shape, gn.bias?.shape]).toEqual([6, [2], [2]]);
    gn.loadStateDict({ scale: [0.3, 3], bias: [-1, 5] });
    each.loadStateDict({ scale: [0.3, 0.3, 0.3, 3, 3, 3], bias: [-1, -1, -1, 5, 5, 5] });
    expect(gn.stateDict()).toEqual({
      scale: Float32Array.of(0.3, 3),
      bias: Float32Array.of(-1, 5),
    });
    for (const training of [true, false]) {
      expectSameBits(copy(gn.forward(x, { training })), copy(each.forward(x)), "y");
      expectSameBits(copy(gn.backward(dy)), copy(each.backward(dy)), "dx");
    }
    expect(gn.saved?.weight).toEqual(each.saved?.weight);
    for (const [own, all] of [
      [gn.weight?.grad, each.weight?.grad],
      [gn.bias?.grad, each.bias?.grad],
    ] as Tensor[][]) {
      const channels = values(all as Tensor);
      const sums = [0, 3].map((i) => channels.slice(i, i + 3).reduce((a, b) => a + b));
      const sizes = [0, 3].map((i) =>
        channels.slice(i, i + 3).reduce((a, b) => a + Math.abs(b), Number.MIN_VALUE),
      );
      // What a pass adds is rounded twice a pass, and each channel's too.
      expectWithin(
        own?.data as Float32Array,
        sums,
        sizes.map((size) => 8 * 2 ** -24 * size),
        "Σ",
      );
    }
    const live = x.kernel.memoryUsage().liveBytes;
    gn.forward(x, { out: x });
    expect(x.kernel.memoryUsage().liveBytes).toBe(live);
    const six = { scale: [1, 1, 1, 1, 1, 1], bias: [0, 0, 0, 0, 0, 0] };
    expectError("state-dict", ["scale", "[2]", "[6]"], () => gn.loadStateDict(six), [gn]);
    const eight = counting([2, 8, 3]);
    expectError("shape-mismatch", ["6 channels", "got 8"], () => gn.forward(eight), [gn]);
    using unbuilt = new GroupNorm(2, null, { preset: "onnx18" });
    const two = { scale: [1, 1], bias: [0, 0] };
    const words = ["GroupNorm.loadStateDict", "how many channels"];
    expectError("not-built", words, () => unbuilt.loadStateDict(two), [unbuilt]);
  });

  it("refuses a dict of channels that its groups don't divide, and can learn others then", () => {
    using gn = new GroupNorm(2, null);
    const three = { weight: [1, 1, 1], bias: [0, 0, 0] };
    const words = ["GroupNorm.loadStateDict: numGroups 2", "3 channels"];
    expectError("state-dict", words, () => gn.loadStateDict(three));
    gn.forward(counting([3, 4]));
    expect(gn.numChannels).toBe(4);
    using keras = new GroupNormalization();
    const x = counting([2, 3]);
    const ofKeras = ["GroupNormalization.forward: groups 32", "3 channels"];
    expectError("shape-mismatch", ofKeras, () => keras.forward(x));
  });

  it("is done after dispose, and leaves nothing", () => {
    const usage = counting([1]).kernel.memoryUsage().liveBytes;
    const gn = new GroupNorm(2, 6);
    const x = counting([4, 6]);
    gn.forward(x).dispose();
    gn.backward(x).dispose();
    gn.dispose();
    x.dispose();
    expect(counting([1]).kernel.memoryUsage().liveBytes).toBeLessThanOrEqual(usage + 64);
    expectError("disposed", ["GroupNorm.forward", "the layer was disposed"], () => gn.forward(x));
  });
});

describe("an instance norm layer", () => {
  it("refuses one value a channel of a sample, where its own statistics normalize", () => {
    const x = counting([4, 3, 1]);
    const words = ["more than 1 value per channel of a sample", "[4, 3, 1]"];
    using plain = new InstanceNorm1d(3);
    expectError("batch-too-small", words, () => plain.forward(x));
    expectError("batch-too-small", words, () => plain.eval().forward(x));
    using tracking = new InstanceNorm1d(3, { trackRunningStats: true });
    expectError("batch-too-small", words, () => tracking.forward(x), [tracking]);
    const scaled = values(x).map((value) => value / Math.sqrt(1 + 1e-5));
    const bounds = scaled.map((value) => 2 ** -22 * value);
    expectWithin(tracking.eval().forward(x).data, scaled, bounds, "y");
    expect(values(new InstanceNorm(3, { preset: "flax", axis: 1 }).forward(x))).toEqual(
      new Array(12).fill(0),
    );
  });

  it("takes samples, or one alone, of its rank and no others", () => {
    using norm = new InstanceNorm2d(3);
    for (const shape of [
      [2, 3, 4, 5],
      [3, 4, 5],
    ])
      expect(norm.forward(counting(shape)).shape).toEqual(shape);
    for (const shape of [
      [3, 4],
      [1, 2, 3, 4, 5],
    ]) {
      const x = counting(shape);
      expectError("shape-mismatch", ["rank 4 or 3"], () => norm.forward(x));
    }
    // It can't be told another axis.
    const x = counting([4, 4, 3]);
    const words = ["3 channels along axis 0, got 4 in [4, 4, 3]"];
    const error = expectError("shape-mismatch", words, () => norm.forward(x));
    expect(error.message).not.toContain("axis:");
  });

  it("moves running statistics in training alone, never in part", () => {
    const x = counting([2, 2, 3]);
    using norm = new InstanceNorm(2, { trackRunningStats: true, momentum: 0.5 });
    norm.eval().forward(x);
    expect([...values(norm.runningMean as Tensor), ...values(norm.runningVar as Tensor)]).toEqual([
      ...[0, 0, 1, 1],
    ]);
    const mean = norm.runningMean?.reshape([1, 2, 1]) as Tensor;
    expectError("overlap", ["out", "mean"], () => norm.forward(mean, { out: mean }), [norm]);
    norm.train().forward(x);
    expect([...values(norm.runningMean as Tensor), ...values(norm.runningVar as Tensor)]).toEqual([
      ...[2.5, 4, 1, 1],
    ]);
    norm.forward(Tensor.zeros([0, 2, 3]));
    expect(values(norm.runningMean as Tensor)).toEqual([2.5, 4]);
    norm.resetRunningStats();
    expect(values(norm.runningVar as Tensor)).toEqual([1, 1]);
  });

  it("has running statistics of torch alone, and each preset's names", () => {
    const tracking = { preset: "onnx", trackRunningStats: true } as const;
    expectError("unsupported", ["trackRunningStats", "torch"], () => new InstanceNorm(3, tracking));
    for (const preset of ["torch", "onnx", "flax"] as const) {
      const { names, eps, affine } = instanceNormPresets[preset];
      using norm = new InstanceNorm(3, { preset });
      expect([norm.eps, norm.weight !== null]).toEqual([eps, affine]);
      expect(Object.keys(norm.stateDict())).toEqual(affine ? [names.weight, names.bias] : []);
    }
    expectError("unknown-option", ["keras"], () => new InstanceNorm(3, { preset: wrong("keras") }));
  });
});

test("layers show their kind, their counts and constants", () => {
  expect(`${new GroupNorm(2, 6, { eps: 0.5 })}`).toBe("GroupNorm(2, 6, eps=0.5)");
  expect(`${new GroupNormalization()}`).toBe("GroupNormalization(32, ?, eps=0.001)");
  expect(`${new InstanceNorm2d(3)}`).toBe("InstanceNorm2d(3, eps=0.00001)");
  expect(`${new InstanceNorm1d(3, { trackRunningStats: true })}`).toBe(
    "InstanceNorm1d(3, eps=0.00001, momentum=0.1)",
  );
});
