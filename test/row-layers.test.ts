/** Layers of layer and RMS norm: PyTorch's and Keras's golden values, axes, shapes, errors. */
import {
  BatchNorm,
  LayerNorm,
  LayerNormalization,
  layerNorm,
  layerNormBackward,
  layerNormPresets,
  RMSNorm,
  RMSNormalization,
  RMSNormSaved,
  type RowNorm,
  rmsNorm,
  rmsNormBackward,
  rmsNormPresets,
  scope,
  Tensor,
  UnitNormalization,
  UnitNormSaved,
} from "batchnorm-wasm";
import { describe, expect, it, test } from "vitest";
import { counting, expectError, values, wrong } from "./call-helpers.js";
import { expectSameBits, expectWithin } from "./helpers.js";
import { compare, nameOf, readCases, type Vector } from "./layer-fixtures.js";
import { type Rows, rowsOf, unit } from "./reference/layer.mjs";
import { truthOfRows } from "./truth-of-rows.js";

interface Pass {
  x: number[];
  dy: number[];
  y: number[];
  dx: number[];
}

interface TorchCase {
  layer: "LayerNorm" | "RMSNorm";
  shape: number[];
  normalized_shape: number[];
  options: { elementwise_affine?: boolean; bias?: boolean; eps?: number };
  weight: Vector;
  bias: Vector;
  steps: (Pass & { dweight: Vector; dbias: Vector })[];
  eval: Pass & { dweight: Vector; dbias: Vector };
  state_dict: string[];
}

interface KerasCase extends Pass {
  layer: "LayerNormalization" | "RMSNormalization" | "UnitNormalization";
  shape: number[];
  options: { axis?: number | number[]; epsilon?: number; scale?: boolean; center?: boolean };
  gamma: Vector;
  beta: Vector;
  dgamma: Vector;
  dbeta: Vector;
}

describe("PyTorch's layers", () => {
  const cases = readCases<TorchCase>("torch_layers.json", /Layer|RMS|Unit/);

  it("are of both kinds", () => {
    expect(new Set(cases.map(({ layer }) => layer))).toEqual(new Set(["LayerNorm", "RMSNorm"]));
  });

  for (const one of cases) {
    const { layer: kind, shape, normalized_shape: normalized, options, weight, bias } = one;

    it(`give its golden values: ${nameOf(kind, shape, options)}`, () => {
      const { elementwise_affine: elementwiseAffine, ...same } = options;
      const given = { ...same, ...(elementwiseAffine === undefined ? {} : { elementwiseAffine }) };
      using layer: RowNorm =
        kind === "LayerNorm" ? new LayerNorm(normalized, given) : new RMSNorm(normalized, given);
      if (weight) layer.weight?.set(weight);
      if (bias) layer.bias?.set(bias);
      expect(Object.keys(layer.stateDict()).sort()).toEqual(one.state_dict);
      const axes = normalized.map((_, i) => i - normalized.length);
      const rows = rowsOf(shape, axes);
      const eps = options.eps ?? 1e-5;
      [...one.steps, one.eval].forEach((step, k) => {
        layer.train(k < one.steps.length);
        const norm = kind === "LayerNorm" ? "layer" : "rms";
        const { bounds } = truthOfRows(norm, step.x, step.dy, rows, { weight, bias, eps });
        scope(() => {
          layer.zeroGrad();
          const y = layer.forward(Tensor.from(step.x, shape));
          const dx = layer.backward(Tensor.from(step.dy, shape));
          compare(y, step.y, bounds.y, `y of step ${k}`);
          compare(dx, step.dx, bounds.dx, `dx of step ${k}`);
          compare(layer.weight?.grad, step.dweight, bounds.dweight, `dweight of step ${k}`);
          compare(layer.bias?.grad, step.dbias, bounds.dbias, `dbias of step ${k}`);
          if (weight) expect(layer.weight?.grad?.shape).toEqual(normalized);
        });
      });
    });
  }
});

const KERAS = { LayerNormalization, RMSNormalization, UnitNormalization };

/** What makes unit length of RMS norm. */
function asUnit({ channels }: Rows) {
  return { weight: new Array(channels.number).fill(1 / Math.sqrt(channels.number)), eps: 0 };
}

describe("Keras's layers", () => {
  const cases = readCases<KerasCase>("keras_layers.json", /Layer|RMS|Unit/);

  it("are of all kinds", () => {
    expect(new Set(cases.map(({ layer }) => layer))).toEqual(new Set(Object.keys(KERAS)));
  });

  for (const one of cases) {
    const { layer: kind, shape, options, gamma, beta, x, dy } = one;

    it(`give its golden values: ${nameOf(kind, shape, options)}`, () => {
      const isLayer = kind === "LayerNormalization";
      using layer: RowNorm = new KERAS[kind](options);
      layer.forward(Tensor.from(x, shape)).dispose();
      if (gamma) layer.weight?.set(gamma);
      if (beta) layer.bias?.set(beta);
      expect(Object.keys(layer.stateDict())).toEqual([
        ...(gamma ? [isLayer ? "gamma" : "scale"] : []),
        ...(beta ? ["beta"] : []),
      ]);
      const eps = options.epsilon ?? (isLayer ? 1e-3 : 1e-6);
      const axes = [options.axis ?? -1].flat();
      const rows = rowsOf(shape, axes);
      const parameters =
        kind === "UnitNormalization" ? asUnit(rows) : { weight: gamma, bias: beta, eps };
      const { bounds } = truthOfRows(isLayer ? "layer" : "rms", x, dy, rows, parameters);
      const y = layer.forward(Tensor.from(x, shape));
      const dx = layer.backward(Tensor.from(dy, shape));
      compare(y, one.y, bounds.y, "y");
      compare(dx, one.dx, bounds.dx, "dx");
      compare(layer.weight?.grad, one.dgamma, bounds.dweight, "dgamma");
      compare(layer.bias?.grad, one.dbeta, bounds.dbias, "dbeta");
    });
  }
});

describe("a layer norm layer", () => {
  it("gives the functions' bits in both modes, and adds up gradients", () => {
    const [x, dy] = [counting([4, 2, 3]), counting([4, 2, 3], -7)];
    using ln = new LayerNorm([2, 3]);
    ln.weight?.set([1, 2, 3, 4, 5, 6]);
    const { weight, bias } = ln;
    const want = layerNorm(x, { axes: [1, 2], weight, bias, saved: true });
    const { dx, weightGrad, biasGrad } = layerNormBackward(dy, { saved: want.saved });
    expect([weightGrad?.shape, biasGrad?.shape, want.saved.normalizedShape]).toEqual([
      [2, 3],
      [2, 3],
      [2, 3],
    ]);
    for (const training of [true, false]) {
      ln.zeroGrad();
      expectSameBits(ln.forward(x, { training }).data, want.y.data, "y");
      expectSameBits(ln.backward(dy).data, dx.data, "dx");
      expectSameBits(ln.weight?.grad?.data as Float32Array, weightGrad?.data as Float32Array, "dγ");
      ln.backward(dy);
      expect(values(ln.bias?.grad as Tensor)).toEqual(
        values(biasGrad as Tensor).map((value) => 2 * value),
      );
    }
  });

  it("over the channels of channels-first images gives what channels-last ones give", () => {
    const [n, c, s] = [2, 3, 5];
    const first = counting([n, c, s]);
    const last = Tensor.from(
      Array.from({ length: n * c * s }, (_, i) => {
        const [sample, place, channel] = [Math.floor(i / (c * s)), Math.floor(i / c) % s, i % c];
        return first.data[sample * c * s + channel * s + place] as number;
      }),
      [n, s, c],
    );
    using ln = new LayerNorm(c, { axes: 1 });
    using plain = new LayerNorm(c);
    for (const one of [ln, plain]) one.weight?.set([1, 2, 3]);
    const [y, want] = [ln.forward(first), plain.forward(last)];
    expect(y.shape).toEqual(first.shape);
    const [sample, place, channel] = [1, 3, 2];
    expect(y.data[sample * c * s + channel * s + place]).toBe(
      want.data[sample * c * s + place * c + channel],
    );
    ln.backward(first);
    plain.backward(last);
    // Sums of other rows are added up in float32 before they go on in float64.
    const [got, wanted] = [ln, plain].map(({ weight }) => values(weight?.grad as Tensor));
    const bounds = (wanted as number[]).map((value) => 1e-6 * Math.abs(value));
    expectWithin(got as number[], wanted as number[], bounds, "dγ");
  });

  it("takes no x whose axes have other sizes, and says which it wants", () => {
    using ln = new LayerNorm([2, 3]);
    for (const shape of [[4, 3, 2], [6], [4, 6], [3]]) {
      const x = counting(shape);
      expectError("shape-mismatch", ["LayerNorm.forward"], () => ln.forward(x), [ln]);
    }
    const x = counting([4, 3, 2]);
    const words = ["[2, 3] along axes [-2, -1]", "got [3, 2] in [4, 3, 2]"];
    expectError("shape-mismatch", words, () => ln.forward(x), [ln]);
    for (const shape of ["3", [1.5], [-1], [], {}, true, Number.NaN]) {
      expectError("invalid-shape", ["LayerNorm"], () => new LayerNorm(wrong(shape)));
    }
    expectError("invalid-option", ["axes [1]", "[2, 3]"], () => new LayerNorm([2, 3], { axes: 1 }));
  });

  it("refuses axes that name one twice, or that x has not", () => {
    const x = counting([2, 3]);
    for (const norm of [layerNorm, rmsNorm]) {
      expectError("invalid-option", ["axes [1, -1]", "twice"], () => norm(x, { axes: [1, -1] }));
      expectError("shape-mismatch", ["axis 2", "rank 2"], () => norm(x, { axes: [0, 2] }));
      expectError("invalid-shape", ["axes"], () => norm(x, { axes: [] }));
    }
  });

  it("learns its sizes from the first input, and forgets them where that fails", () => {
    using ln = new LayerNormalization({ axis: [-1, -2] });
    expectError("not-built", ["feature count"], () => ln.stateDict());
    expect([ln.normalizedShape, ln.axes]).toEqual([null, [-1, -2]]);
    const whole = counting([5, 2, 3]);
    const [x, out] = [whole.slice(0, 0, 4), whole.slice(0, 1, 5)];
    expectError("overlap", ["out"], () => ln.forward(x, { out }), [whole]);
    expect(ln.normalizedShape).toBeNull();
    ln.forward(x);
    expect([ln.normalizedShape, ln.weight?.shape]).toEqual([
      [2, 3],
      [2, 3],
    ]);
    const other = counting([4, 3, 2]);
    expectError("shape-mismatch", ["[2, 3]"], () => ln.forward(other));
  });

  it("has its state in a dict, in its shape or flat, all or nothing, and back", () => {
    for (const preset of ["torch", "keras", "onnx", "flax"] as const) {
      using ln = new LayerNorm([1, 2], { preset });
      const { names, eps } = layerNormPresets[preset];
      expect(ln.eps).toBe(eps);
      const shaped = { data: Float32Array.of(2, 3), shape: [1, 2] };
      ln.loadStateDict({ [names.weight]: shaped, [names.bias]: [4, 5] });
      expect(ln.stateDict()).toEqual({
        [names.weight]: Float32Array.of(2, 3),
        [names.bias]: Float32Array.of(4, 5),
      });
      const flat = { ...shaped, shape: [2, 1] };
      const bad = { [names.weight]: flat, [names.bias]: [0, 0] };
      expectError("state-dict", ["[1, 2]", "[2, 1]"], () => ln.loadStateDict(bad), [ln]);
      const half = { [names.weight]: [9, 9] };
      expectError("state-dict", [names.bias], () => ln.loadStateDict(half), [ln]);
    }
  });

  it("takes a dict before any input came, and sizes then that fit", () => {
    using ln = new LayerNorm(null);
    ln.loadStateDict({ weight: [1, 2, 3], bias: [0, 0, 1] });
    const two = counting([3, 2]);
    expectError("shape-mismatch", ["[3]", "[2] in [3, 2]"], () => ln.forward(two), [ln]);
    expect(values(ln.forward(Tensor.from([1, 1, 1], [1, 3])))).toEqual([0, 0, 1]);
  });

  it("has γ and β by switches", () => {
    const has = ({ weight, bias }: RowNorm) => [weight !== null, bias !== null];
    expect(has(new LayerNorm(3))).toEqual([true, true]);
    expect(has(new LayerNorm(3, { bias: false }))).toEqual([true, false]);
    expect(has(new LayerNorm(3, { elementwiseAffine: false }))).toEqual([false, false]);
    expect(has(new RMSNorm(3))).toEqual([true, false]);
    expect(has(new RMSNorm(3, { elementwiseAffine: false }))).toEqual([false, false]);
  });

  it("goes back through what was taken, and not through another norm's or layer's", () => {
    const [x, dy] = [counting([4, 6]), counting([4, 6])];
    using ln = new LayerNorm(6);
    using rn = new RMSNorm(6);
    ln.forward(x);
    const first = ln.takeSaved();
    ln.forward(counting([4, 6], 50));
    const dx = ln.backward(dy, { saved: first });
    ln.forward(x);
    expectSameBits(ln.backward(dy).data, dx.data, "dx");
    rn.forward(x);
    const words = ["RMSNorm.backward: saved"];
    expectError("invalid-option", words, () => rn.backward(dy, { saved: wrong(first) }));
    expectError("invalid-option", ["rmsNormBackward: saved", "same norm"], () =>
      rmsNormBackward(dy, { saved: wrong(first) }),
    );
    using bn = new BatchNorm(6);
    bn.forward(x);
    expectError("invalid-option", ["layerNormBackward: saved"], () =>
      layerNormBackward(dy, { saved: wrong(bn.takeSaved()) }),
    );
  });

  it("tells of x what was, where x is overwritten, also through a copy", () => {
    for (const axes of [1, 0]) {
      const [x, dy] = [counting([4, 4]), counting([4, 4])];
      const { saved } = layerNorm(x, { axes, saved: true });
      expect(saved.x).toBe(x);
      x.set([1]);
      expectError("stale", ["x was overwritten"], () => layerNormBackward(dy, { saved }));
    }
  });

  it("is done after dispose, and leaves nothing, also of copies", () => {
    const { kernel } = counting([1]);
    for (const axes of [[-1], [0]]) {
      const usage = kernel.memoryUsage().liveBytes;
      const ln = new LayerNorm(6, { axes });
      const x = counting([6, 6]);
      ln.forward(x).dispose();
      ln.backward(x).dispose();
      ln.dispose();
      x.dispose();
      expect(kernel.memoryUsage().liveBytes).toBe(usage);
      expectError("disposed", ["LayerNorm.forward", "the layer was disposed"], () => ln.forward(x));
    }
  });
});

test("RMS norm's eps is its preset's; torch's is float32's", () => {
  for (const preset of ["torch", "keras", "onnx", "flax"] as const) {
    const norm = new RMSNorm(3, { preset });
    expect(norm.eps).toBe(rmsNormPresets[preset].eps);
    expect(Object.keys(norm.stateDict())).toEqual([rmsNormPresets[preset].names.weight]);
  }
  expect(new RMSNorm(3, { eps: null }).eps).toBe(2 ** -23);
});

test("layers show their kind, their sizes and constants", () => {
  expect(`${new LayerNorm([2, 6], { eps: 0.5 })}`).toBe("LayerNorm([2, 6], eps=0.5)");
  expect(`${new LayerNormalization()}`).toBe("LayerNormalization(?, eps=0.001)");
  expect(`${new RMSNorm(3, { preset: "onnx" })}`).toBe("RMSNorm([3], eps=0.00001)");
});

describe("a layer to unit length", () => {
  it("has no parameters and takes any shape, at any time", () => {
    using norm = new UnitNormalization({ axis: -1 });
    for (const shape of [[2, 3], [4, 5, 7], [1]]) {
      const x = counting(shape);
      const rows = rowsOf(shape, [-1]);
      const y = norm.forward(x);
      const { bounds } = truthOfRows("rms", x.data, x.data, rows, asUnit(rows));
      expectWithin(y.data, unit.forward(x.data, rows, { eps: 1e-12 }), bounds.y, "y");
      norm.backward(y).dispose();
      expect([norm.normalizedShape, norm.weight, norm.bias, norm.parameters()]).toEqual([
        null,
        null,
        null,
        [],
      ]);
    }
    norm.loadStateDict(norm.stateDict());
    expect(norm.stateDict()).toEqual({});
    expect(`${norm}`).toBe("UnitNormalization(axes=[-1], eps=1e-12)");
  });

  it("leaves zeros, and divides what is shorter than 1e-12 by that, as a constant", () => {
    using norm = new UnitNormalization();
    const x = Tensor.from([0, 0, 3e-13, -4e-13, 3e-20, 4e-20, 3e-30, 4e-30, 3e19, 4e19], [5, 2]);
    const dy = Tensor.from([1, 2, 1, 2, 1, 2, 1, 2, 4, -3], [5, 2]);
    const y = norm.forward(x).toFloat32Array();
    const dx = norm.backward(dy).toFloat32Array();
    const rows = rowsOf([5, 2], [1]);
    const near = (values: Float64Array) => values.map((value) => 4 * 2 ** -24 * Math.abs(value));
    const wantY = unit.forward(x.data, rows, { eps: 1e-12 });
    const wantDx = unit.backward(x.data, dy.data, rows, { eps: 1e-12 }).dx;
    expectWithin(y, wantY, near(wantY), "y");
    expectWithin(dx, wantDx, near(wantDx), "dx");
    expect([...(norm.saved?.inverseStd ?? [])]).toEqual([
      ...[1, 1, 1, 1].map((one) => one / 1e-12),
      1 / Math.sqrt(norm.saved?.variance[4] as number),
    ]);
  });

  it("keeps what is no number in its row", () => {
    using norm = new UnitNormalization();
    const x = Tensor.from([Number.NaN, 1, 3, 4, Number.POSITIVE_INFINITY, 1], [3, 2]);
    const [a, b, ...rest] = values(norm.forward(x));
    expect([a, b]).toEqual([Number.NaN, Number.NaN]);
    expect(rest.map((value) => Math.round(value * 1e6) / 1e6)).toEqual([0.6, 0.8, Number.NaN, 0]);
  });

  it("goes through any axes, and is another norm to RMS norm's backward pass", () => {
    const [x, dy] = [counting([2, 3, 4]), counting([2, 3, 4], -7)];
    for (const axis of [0, 1, 2, [0, 1], [0, 2], [1, 2], [0, 1, 2]]) {
      using norm = new UnitNormalization({ axis });
      const rows = rowsOf(x.shape, [axis].flat());
      const { y, bounds, gradients } = truthOfRows("rms", x.data, dy.data, rows, asUnit(rows));
      expectWithin(norm.forward(x).toFloat32Array(), y, bounds.y, `y along ${axis}`);
      expectWithin(norm.backward(dy).toFloat32Array(), gradients.dx, bounds.dx, `dx along ${axis}`);
    }
    using norm = new UnitNormalization();
    norm.forward(x);
    const saved = norm.takeSaved();
    expect(saved instanceof UnitNormSaved && saved instanceof RMSNormSaved).toBe(true);
    expectError("invalid-option", ["rmsNormBackward: saved", "same norm"], () =>
      rmsNormBackward(dy, { saved }),
    );
  });
});
