/**
 * What users met beside wrong numbers: runtimes that lack something, memory, scopes, words of
 * errors and types. Through the public API alone, so that the file can be run against what
 * came before.
 */
import { fileURLToPath } from "node:url";
import { createContext, runInContext, runInNewContext } from "node:vm";
import {
  BatchNorm,
  type BatchNormSaved,
  batchNormBackward,
  batchNormInference,
  batchNormStatistics,
  batchNormTraining,
  createKernel,
  memoryUsage,
  type Parameter,
  type PlainTensor,
  reserve,
  scope,
  Tensor,
  traceMemory,
} from "batchnorm-wasm";
import { build } from "esbuild";
import { afterEach, describe, expect, test, vi } from "vitest";
import { kernelFile } from "../scripts/kernel/under-test.mjs";
import { kernelText } from "../scripts/kernel-text.mjs";
import { counting, expectError, kernelBytes, values, wrong } from "./call-helpers.js";

const MB = 2 ** 20;

describe("a runtime that lacks what is younger than the floor, or optional", () => {
  /** The package in a realm of the language's own, without what came late. */
  async function bare(): Promise<ReturnType<typeof createContext>> {
    const { outputFiles } = await build({
      entryPoints: [fileURLToPath(new URL("../ts/entry/inline.ts", import.meta.url))],
      ...{ bundle: true, write: false, format: "iife", globalName: "library", charset: "utf8" },
      target: ["node18", "chrome91", "firefox90", "safari16.4"],
      plugins: [
        {
          name: "kernel",
          setup({ onResolve, onLoad }) {
            onResolve({ filter: /\?text$/ }, ({ path }) => ({ path, namespace: "text" }));
            onLoad({ filter: /./, namespace: "text" }, () => ({
              contents: kernelText(fileURLToPath(kernelFile)),
              loader: "text",
            }));
          },
        },
      ],
    });
    const context = createContext({});
    runInContext(
      `const young = ["at", "with", "toReversed", "toSorted", "toSpliced", "findLast", "findLastIndex"];
      for (const Kind of [Array, String, Object.getPrototypeOf(Uint8Array)]) {
        for (const name of young) delete Kind.prototype[name];
      }
      for (const name of ["hasOwn", "groupBy"]) delete Object[name];
      for (const name of ["detached", "resize", "transfer"]) delete ArrayBuffer.prototype[name];
      for (const name of ["FinalizationRegistry", "WeakRef", "console"]) delete globalThis[name];`,
      context,
    );
    runInContext(outputFiles?.[0]?.text ?? "", context);
    return context;
  }

  test("trains, infers and frees there: without FinalizationRegistry, TextEncoder, Array.prototype.with", async () => {
    const context = await bare();
    const missing = "[typeof FinalizationRegistry, typeof TextEncoder, typeof [].with].join()";
    expect(runInContext(missing, context)).toBe("undefined,undefined,undefined");
    const result = runInContext(
      `const { BatchNorm, BatchNormalization, Tensor, scope, memoryUsage } = library;
      const bn = new BatchNorm(2);
      const step = () => scope(() => {
        const x = Tensor.from([1, 2, 3, 6], [2, 2]);
        const y = bn.forward(x);
        bn.backward(y.slice(0, 0).reshape([2, -1]));
        bn.weight.set([1, 1]);
        bn.zeroGrad();
        return Array.from(bn.backward({ data: [1, 2, 3, 4], shape: [2, 2] }).data).concat(
          Array.from(y.data, Math.round));
      });
      step();
      const live = memoryUsage().liveStorages;
      const values = step().slice(4);
      bn.loadStateDict(bn.stateDict({ prefix: "a." }), { prefix: "a." });
      const keras = new BatchNormalization();
      keras.forward({ data: [5, 6], shape: [1, 2], fortranOrder: true });
      keras.dispose();
      let code;
      try { bn.forward(5); } catch (error) { code = error.code; }
      JSON.stringify({ values, left: memoryUsage().liveStorages - live, code });`,
      context,
    );
    expect(JSON.parse(result)).toEqual({ values: [-1, -1, 1, 1], left: 0, code: "dtype" });
  });
});

describe("memory", () => {
  const kernels = { bytes: kernelBytes, module: new WebAssembly.Module(kernelBytes) };

  for (const [name, source] of Object.entries(kernels)) {
    test(`of a kernel from ${name} is 16 MiB, and a small program leaves it so`, () => {
      const kernel = createKernel(source);
      expect(memoryUsage({ kernel }).memoryBytes).toBe(16 * MB);
      const bn = new BatchNorm(64, { kernel });
      for (let i = 0; i < 10; i++) {
        scope(
          () => {
            const x = Tensor.zeros([8, 64, 16, 16], { kernel });
            bn.forward(x, { out: x });
          },
          { kernel },
        );
      }
      expect(memoryUsage({ kernel }).memoryBytes).toBe(16 * MB);
    });
  }

  test("grows geometrically: a thousand tensors of 128 KB detach views a few times", () => {
    const kernel = createKernel(kernelBytes);
    const sizes = new Set<number>();
    for (let i = 0; i < 1000; i++) {
      Tensor.zeros([2 ** 15], { kernel });
      sizes.add(memoryUsage({ kernel }).memoryBytes);
    }
    expect(sizes.size).toBeLessThan(12);
    const { liveBytes, memoryBytes } = memoryUsage({ kernel });
    expect(liveBytes).toBe(1000 * 2 ** 17);
    expect(memoryBytes).toBeLessThan(1.3 * liveBytes);
  });

  test("that a record takes is the layer's, however often it is looked at, until it is taken", () => {
    const bn = new BatchNorm(2);
    const x = counting([4, 2]);
    const out = Tensor.zeros([4, 2]);
    bn.forward(x, { out });
    const before = memoryUsage().liveStorages;
    for (let i = 0; i < 100; i++) {
      bn.forward(x, { out });
      expect(bn.saved?.statistics).toBe("batch");
    }
    expect(memoryUsage().liveStorages).toBe(before);
    const taken = scope(() => {
      bn.forward(x, { out });
      bn.takeSaved();
      bn.forward(x, { out });
      return bn.takeSaved();
    });
    bn.forward(x, { out });
    expect(taken.disposed).toBe(false);
    expect(memoryUsage().liveStorages).toBe(before + 1);
    taken.dispose();
    expect(memoryUsage().liveStorages).toBe(before);
    const other = new BatchNorm(2);
    expectError("stale", ["takeSaved"], () => other.takeSaved());
  });
});

describe("scope keeps", () => {
  class Model {
    readonly layers: BatchNorm[] = [];
    y: Tensor;
    constructor(y: Tensor) {
      this.y = y;
    }
  }
  class Registry extends Map<string, Tensor> {
    extra: Tensor | null = null;
  }
  const kept: Record<string, (y: Tensor) => unknown> = {
    "the value of a Map": (y) => new Map([["y", y]]),
    "the key of a Map": (y) => new Map([[y, "y"]]),
    "the member of a Set": (y) => new Set([1, y]),
    "the field of a class instance": (y) => new Model(y),
    "the field of a Map's subclass": (y) => Object.assign(new Registry(), { extra: y }),
    "the entry of a Map's subclass": (y) => new Registry([["y", y]]),
    "what lies deep": (y) => [{ a: new Map([["m", new Set([new Model(y)])]]) }],
    "what stands under a symbol": (y) => ({ [Symbol("y")]: y }),
    "what can't be enumerated": (y) => Object.defineProperty({}, "y", { value: y }),
    "the field of what Vue wraps": (y) => new Proxy(new Model(y), {}),
    "the object of another realm": (y) => runInNewContext("({ all: [y] })", { y }),
    "what leads back to itself": (y) => {
      const one = new Set<unknown>([y]);
      return one.add({ one });
    },
  };
  for (const [name, wrap] of Object.entries(kept)) {
    test(`${name}, and frees what stands beside`, () => {
      const made: Tensor[] = [];
      const before = memoryUsage().liveStorages;
      scope(() => {
        made.push(counting([2]), counting([3]));
        return wrap(made[1] as Tensor);
      });
      expect(made.map(({ disposed }) => disposed)).toEqual([true, false]);
      expect(memoryUsage().liveStorages).toBe(before + 1);
      // It is the outer scope's then.
      scope(() => {
        scope(() => wrap(counting([4])));
        return null;
      });
      expect(memoryUsage().liveStorages).toBe(before + 1);
    });
  }

  test("the x of a record in a Map, which backward needs", () => {
    const records = scope(() => new Map([["first", batchNormTraining(counting([4, 2])).saved]]));
    const saved = records.get("first") as BatchNormSaved;
    expect(saved.x.disposed).toBe(false);
    expect(batchNormBackward(counting([4, 2]), { saved }).dx.size).toBe(8);
  });

  test("nothing that only a getter would give, and runs none", () => {
    let runs = 0;
    const before = memoryUsage().liveStorages;
    const object = scope(() => {
      const y = counting([2]);
      return Object.defineProperty(new Map([["y", 1]]), "y", {
        enumerable: true,
        get() {
          runs += 1;
          return y;
        },
      });
    });
    expect([runs, memoryUsage().liveStorages - before]).toEqual([0, 0]);
    expect(object.size).toBe(1);
  });
});

describe("traceMemory", () => {
  const kernel = createKernel(kernelBytes);
  const traced = () => memoryUsage({ kernel }).traced;
  const zeros = (n: number) => Tensor.zeros([n], { kernel });
  function forgotten(): Tensor {
    return Tensor.zeros([1000], { kernel });
  }
  afterEach(() => traceMemory(false, { kernel }));

  test("tells who made what is in use, by place, most bytes first, and nothing unless asked", () => {
    zeros(1);
    expect(traced()).toBeNull();
    traceMemory(true, { kernel });
    expect(traced()).toEqual([]);
    for (let i = 0; i < 3; i++) forgotten();
    const x = zeros(10);
    const bn = new BatchNorm(4, { kernel });
    const [most, ...others] = traced() ?? [];
    expect(most).toMatchObject({ bytes: 12_000, storages: 3 });
    expect(most?.stack).toContain("forgotten");
    expect(most?.stack).toContain("faults-of-use");
    const bytes = others.map((one) => one.bytes);
    expect(bytes).toEqual([...bytes].sort((a, b) => b - a));
    expect(bytes.reduce((sum, one) => sum + one, 0)).toBe(40 + 4 * 16);
    x.dispose();
    bn.dispose();
    expect(traced()).toHaveLength(1);
  });

  test("asked again keeps what it knows, stopped forgets it; other kernels are not traced", () => {
    traceMemory(true, { kernel });
    const x = zeros(5);
    traceMemory(true, { kernel });
    expect(traced()).toHaveLength(1);
    expect(memoryUsage().traced).toBeNull();
    traceMemory(false, { kernel });
    expect(traced()).toBeNull();
    traceMemory(undefined, { kernel });
    expect(traced()).toEqual([]);
    x.dispose();
    for (const on of [0, 1, "true", null]) {
      expectError("invalid-option", ["traceMemory"], () => traceMemory(wrong(on), { kernel }));
    }
  });

  test("is what the error says that there is no room for a tensor", () => {
    const words = ["traceMemory()", "scope()", "live"];
    expectError("out-of-memory", words, () => Tensor.zeros([2 ** 29]));
  });
});

describe("an error names the remedy", () => {
  test("for channels-last data in a channels-first layer, and the reverse", () => {
    const [images, first] = [Tensor.zeros([2, 4, 4, 3]), Tensor.zeros([2, 3, 4, 4])];
    const [bn, other] = [new BatchNorm(3), new BatchNorm(5)];
    expectError("shape-mismatch", ["axis: -1"], () => bn.forward(images));
    const keras = new BatchNorm(3, { preset: "keras" });
    expectError("shape-mismatch", ["axis: 1"], () => keras.forward(first));
    // Where neither helps, none.
    const { message } = expectError("shape-mismatch", [], () => other.forward(images));
    expect(message).not.toContain("axis:");
  });

  test("for a tensor where a kernel's options should be", () => {
    const x = wrong(counting([2]));
    const words = ["options must be", "{ kernel }", "got Tensor"];
    expectError("invalid-option", words, () => Tensor.zeros([2], x));
    expectError("invalid-option", words, () => Tensor.from([2], null, x));
    expectError("invalid-option", words, () => reserve(1, x));
    expectError("invalid-option", words, () => memoryUsage(x));
    expectError("invalid-option", words, () => traceMemory(true, x));
    expectError("invalid-option", words, () => scope(() => 1, x));
  });

  test("for one value per channel and nested arrays", () => {
    const [one, x, bn] = [Tensor.zeros([1, 3]), Tensor.zeros([4]), new BatchNorm(3)];
    expectError("batch-too-small", ["eval()"], () => bn.forward(one));
    const nested = wrong([
      [1, 2],
      [3, 4],
    ]);
    expectError("dtype", [".flat()"], () => Tensor.from(nested));
    expectError("dtype", [".flat()"], () => bn.forward({ data: nested, shape: [2, 2] }));
    expectError("dtype", [".flat()"], () => x.set(nested));
  });

  test("of what another copy of the package made, and that it is one", async () => {
    vi.resetModules();
    const copy: typeof import("batchnorm-wasm") = await import("../ts/entry/node.js");
    expect(copy.Tensor).not.toBe(Tensor);
    const x = copy.Tensor.zeros([4, 3]);
    const own = Tensor.zeros([4, 3]);
    const bn = new BatchNorm(3);
    const words = ["another copy of this package"];
    expectError("dtype", words, () => bn.forward(wrong(x)));
    expectError("dtype", words, () => bn.forward(own, { out: wrong(x) }));
    expectError("dtype", words, () => batchNormStatistics(wrong(x)));
    const kernel = wrong(x.kernel);
    expectError("invalid-option", ["this copy of the package"], () =>
      Tensor.zeros([1], { kernel }),
    );
    const { saved } = copy.batchNormTraining(x);
    expectError("invalid-option", ["saved"], () => batchNormBackward(own, { saved: wrong(saved) }));
  });
});

describe("a getter that runs while arguments are read", () => {
  const x = counting([2, 2]);
  const other = Tensor.from([9, 2, 30, 5], [2, 2]);
  const dy = counting([2, 2]);
  /** dy, and what runs when it is read. */
  const reading = (run: () => void): PlainTensor => ({
    get data() {
      run();
      return [...dy.data];
    },
    shape: [2, 2],
  });

  test("and overwrites the layer's saved values by a function leaves it none for backward", () => {
    const bn = new BatchNorm(2);
    const { weight, bias } = bn;
    bn.forward(x);
    const saved = bn.saved as BatchNormSaved;
    const out = counting([2, 2]);
    const overwrite = () => batchNormTraining(other, { saved, weight, bias, out });
    expectError("stale", ["overwritten"], () => bn.backward(reading(overwrite)));
    expect([bn.weight?.grad, bn.bias?.grad]).toEqual([null, null]);
  });

  test("and calls the layer again has backward be of that pass, seen or not", () => {
    const [bn, same] = [new BatchNorm(2), new BatchNorm(2)];
    same.forward(other);
    for (const see of [() => null, () => bn.saved]) {
      bn.forward(x);
      see();
      const dx = bn.backward(reading(() => bn.forward(other)));
      expect([...dx.data]).toEqual(values(same.backward(dy)));
    }
  });

  test("and overwrites saved values has the gradients of a function be of that pass alone", () => {
    const given = { mean: [0, 0], variance: [1, 1] };
    for (const where of ["data", "weightGrad", "biasGrad"]) {
      const { saved } = batchNormTraining(x, { weight: [1, 1], bias: [0, 0] });
      const overwrite = () => void batchNormInference(other, { ...given, saved });
      const plain = reading(where === "data" ? overwrite : () => {});
      const options = Object.defineProperty({ saved }, where === "data" ? "out" : where, {
        enumerable: true,
        get: where === "data" ? () => null : overwrite,
      });
      const { dx, weightGrad, biasGrad } = batchNormBackward(plain, options);
      // Of a pass that had no parameters.
      expect([weightGrad, biasGrad]).toEqual([null, null]);
      const fresh = batchNormInference(other, { ...given, saved: true }).saved;
      expect([...dx.data]).toEqual(values(batchNormBackward(dy, { saved: fresh }).dx));
    }
  });

  test("and changes the mode has the call be in it", () => {
    const bn = new BatchNorm(2);
    const { data } = bn.forward(reading(() => bn.eval()));
    expect([...data]).toEqual(values(new BatchNorm(2).eval().forward(dy)));
  });
});

describe("types", () => {
  // These have to compile: `npm run typecheck` is half of the tests.
  test("of .data and of results are over an ArrayBuffer, as Blob and fetch want them", async () => {
    const y = counting([2, 2]);
    const plain = new BatchNorm(2).forward({ data: y.data, shape: [2, 2] });
    const blobs = [new Blob([y.data]), new Blob([plain.data]), new Blob([y.toFloat32Array()])];
    expect(blobs.map(({ size }) => size)).toEqual([16, 16, 16]);
    // Shared memory needs a copy, at run time.
    const response = new Response(process.env.THREADS ? y.data.slice() : y.data);
    expect([...new Float32Array(await response.arrayBuffer())]).toEqual([1, 2, 3, 4]);
  });

  test("of options that may be absent take null", () => {
    const x = Tensor.from([1, 2], null, null).reshape([1, 2]);
    expect(values(Tensor.zeros([2], null))).toEqual([0, 0]);
    expect(batchNormStatistics(x, null)).toEqual(batchNormStatistics(x));
    expect(values(scope(() => batchNormTraining(x, null).y, null))).toEqual([0, 0]);
    expect(values(new BatchNorm(2, null).eval().forward(x, null)).map(Math.round)).toEqual([1, 2]);
    expect(createKernel(kernelBytes, null).memoryUsage()).toEqual(
      memoryUsage({ kernel: createKernel(kernelBytes) }),
    );
    traceMemory(false, null);
    reserve(1, null);
    expect(memoryUsage(null).traced).toBeNull();
  });

  test("of functions take a tensor or plain data, whichever it turns out to be", () => {
    const either = (plain: boolean): Tensor | PlainTensor =>
      plain ? { data: [1, 2, 3, 6], shape: [2, 2] } : Tensor.from([1, 2, 3, 6], [2, 2]);
    const given = { mean: [0, 0], variance: [1, 1], eps: 0 };
    for (const plain of [true, false]) {
      const x = either(plain);
      const bn = new BatchNorm(2);
      const { y, saved } = batchNormTraining(x);
      const { dx } = batchNormBackward(either(plain), { saved });
      const results = [bn.forward(x), bn.backward(x), y, dx, batchNormInference(x, given)];
      for (const one of results) expect(one instanceof Tensor).toBe(!plain);
      expect([...(results[4]?.data ?? [])]).toEqual([1, 2, 3, 6]);
    }
  });

  test("of a record come from the call that makes it: no internal class is named", () => {
    const given = { mean: [1, 1], variance: [4, 4], eps: 0, weight: [3, 3] };
    const { y, saved } = batchNormInference(counting([2, 2]), { ...given, saved: true });
    expect(values(y)).toEqual([0, 1.5, 3, 4.5]);
    expect(saved).toMatchObject({ statistics: "running", axis: 1, channels: 2, eps: 0 });
    expect(batchNormInference(counting([2, 2]), { ...given, saved })).toBeInstanceOf(Tensor);
    const { dx } = batchNormBackward(counting([2, 2]), { saved });
    expect(values(dx)).toEqual([1.5, 3, 4.5, 6]);
    const weight = new BatchNorm(2).weight as Parameter;
    expect(weight.grad).toBeNull();
  });
});
