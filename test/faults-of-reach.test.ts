/**
 * What can be reached and what can get hold of it: Proxies, prototypes, workers, internals,
 * kernels that are not this version's and kernels that broke. Through the public API alone,
 * but for what both sides of the boundary agree on.
 */
import {
  BatchNorm,
  BatchNormalization,
  batchNormBackward,
  batchNormInference,
  batchNormStatistics,
  batchNormTraining,
  createKernel,
  defaultKernel,
  type Kernel,
  memoryUsage,
  type Parameter,
  reserve,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { Abi, RecordSize, Word } from "../ts/generated/abi.js";
import { counting, expectError, kernelBytes, loaded, values } from "./call-helpers.js";
import { exampleOf } from "./operations.js";

describe("a Proxy, as Vue and MobX make them", () => {
  const proxied = <T extends object>(object: T): T => new Proxy(object, {});

  test("around a tensor is refused in every place", () => {
    const { x, dy, out, weight, mean, variance, saved, bn } = exampleOf();
    const vector = proxied(weight);
    const whole = proxied(x);
    const state = bn.stateDict();
    // Where data could be as well.
    const vectors = [
      () => batchNormTraining(x, { weight: vector }),
      () => batchNormTraining(x, { bias: vector }),
      () => batchNormInference(x, { mean: vector, variance }),
      () => batchNormInference(x, { mean, variance: vector }),
      () => bn.loadStateDict({ ...state, weight: vector }),
      () => out.set(whole),
    ];
    const calls: (() => unknown)[] = [
      () => bn.forward(whole),
      () => bn.forward(x, { out: whole }),
      () => bn.backward(whole),
      () => bn.backward(dy, { out: whole }),
      () => batchNormTraining(whole),
      () => batchNormTraining(x, { runningMean: vector, runningVar: variance }),
      () => batchNormStatistics(x, { runningMean: mean, runningVar: vector }),
      () => batchNormStatistics(whole),
      () => batchNormInference(whole, { mean, variance }),
      () => batchNormBackward(whole, { saved }),
      () => batchNormBackward(dy, { saved, out: whole }),
      () => batchNormBackward(dy, { saved, weightGrad: vector }),
      () => batchNormBackward(dy, { saved, biasGrad: vector }),
      () => Object.assign(bn.weight as Parameter, { grad: vector }),
      () => whole.data,
      () => whole.shape,
      () => whole.storage,
      () => whole.address,
      () => whole.disposed,
      () => whole.set([1]),
      () => whole.reshape([12]),
      () => whole.slice(0, 1),
      () => whole.toFloat32Array(),
      () => whole.dispose(),
      () => whole.toString(),
    ];
    for (const call of calls) {
      expectError("dtype", ["Proxy"], call, [x, dy, out, weight, mean, variance]);
    }
    for (const call of vectors) expectError("dtype", [], call, [x, weight, mean, variance]);
    expect(x.disposed).toBe(false);
  });

  test("around a layer or a record is refused by whatever is asked of it", () => {
    const { x, dy, bn, saved } = exampleOf();
    const layer = proxied(bn);
    const state = bn.stateDict();
    const read = [
      ...["training", "axis", "eps", "momentum", "runningVariance", "trackRunningStats"],
      ...["numFeatures", "weight", "bias", "runningMean", "runningVar", "numBatchesTracked"],
      ...["statistics", "updateRunningStats", "requiresGrad", "saved"],
      ...["virtualBatchSize", "renorm"],
    ].map((name) => () => Reflect.get(layer, name, layer));
    const calls: (() => unknown)[] = [
      ...read,
      () => layer.train(),
      () => layer.eval(),
      () => layer.forward(x),
      () => layer.backward(dy),
      () => layer.takeSaved(),
      () => layer.zeroGrad(),
      () => layer.resetRunningStats(),
      () => layer.resetParameters(),
      () => layer.stateDict(),
      () => layer.loadStateDict(state),
      () => layer.toString(),
      () => layer.dispose(),
      () => Object.assign(layer, { momentum: 0.5 }),
      () => Object.assign(layer, { training: true }),
      () => proxied(saved).mean,
      () => proxied(saved).axis,
      () => proxied(saved).x,
      () => proxied(saved).dispose(),
    ];
    for (const call of calls)
      expect(expectError("dtype", [], call, [x]).message).toContain("Proxy");
    const given = { saved: proxied(saved) };
    expectError("invalid-option", [], () => batchNormBackward(dy, given));
    expectError("invalid-option", [], () => bn.backward(dy, given));
    expectError("invalid-option", [], () => batchNormTraining(x, given));
    expect(bn.stateDict()).toEqual(state);
    expect(saved.disposed).toBe(false);
  });

  test("around a kernel is refused", () => {
    const kernel = proxied(defaultKernel());
    expectError("invalid-option", [], () => Tensor.zeros([1], { kernel }));
    expectError("invalid-option", [], () => new BatchNorm(3, { kernel }));
    expectError("invalid-option", [], () => kernel.memoryUsage());
  });

  test("is not what Vue makes of these: it wraps what calls itself Object, Array, Map or Set", () => {
    const { x, bn, saved } = exampleOf();
    const tag = (value: unknown) => Object.prototype.toString.call(value).slice(8, -1);
    expect([x, bn, saved, bn.weight, new BatchNormalization()].map(tag)).toEqual([
      ...["Tensor", "BatchNorm", "BatchNormSaved", "Parameter", "BatchNormalization"],
    ]);
  });

  test("of options, data, shapes and dicts is as good as the object", () => {
    const x = counting([4, 3]);
    const weight = [1, 2, 3];
    const y = values(batchNormTraining(x, { weight, axis: 1 }).y);
    const options = proxied({ weight: proxied(weight), axis: 1 });
    expect(values(batchNormTraining(x, options).y)).toEqual(y);
    const plain = proxied({ data: proxied(values(x)), shape: proxied([4, 3]) });
    expect([...batchNormTraining(plain, options).y.data]).toEqual(y);
    const bn = new BatchNorm(3);
    const dict = proxied({ ...bn.stateDict(), weight: proxied(weight) });
    expect(values(loaded(bn, dict).weight as Tensor)).toEqual(weight);
  });
});

describe("what is on Object.prototype", () => {
  test("breaks no call, also where its names are options", () => {
    const session = () => {
      const kernel = createKernel(kernelBytes, { initialBytes: 0 });
      const x = counting([4, 3], 1, kernel);
      const bn = new BatchNorm(3, { kernel, momentum: 0.5 });
      const y = bn.forward(x, { training: true });
      const dx = bn.backward(y, { out: y });
      const { saved } = batchNormTraining(x, { eps: 1 });
      const gradients = batchNormBackward(x, { saved, weightGrad: null });
      const dict = bn.stateDict({ prefix: "bn." });
      bn.loadStateDict(dict, { prefix: "bn." });
      scope(() => Tensor.zeros([3], { kernel }), { kernel });
      reserve(64, { kernel });
      const { mean } = batchNormStatistics(x, { axis: 1 });
      return JSON.stringify([values(y), values(dx), values(gradients.dx), dict, [...mean]]);
    };
    const before = session();
    const inherited = Object.prototype as Record<string, unknown>;
    for (const name of ["out", "kernel", "prefix", "axis", "weight", "saved", "mine"]) {
      inherited[name] = 5;
      try {
        expect(session(), name).toBe(before);
      } finally {
        delete inherited[name];
      }
    }
  });
});

describe("what is posted to a worker", () => {
  test("is refused as no data: tensors, layers, records, kernels and storages", () => {
    const { x, bn, saved } = exampleOf();
    const { port1, port2 } = new MessageChannel();
    const bn2 = new BatchNormalization();
    for (const one of [x, bn, bn2, bn.weight, saved, x.kernel, x.storage, { layers: [bn] }]) {
      const error = expect.objectContaining({ name: "DataCloneError" });
      expect(() => structuredClone(one)).toThrow(error);
      expect(() => port1.postMessage(one)).toThrow(error);
    }
    port1.close();
    port2.close();
    // These are data.
    expect(structuredClone(bn.stateDict())).toEqual(bn.stateDict());
  });
});

describe("what is not API", () => {
  /** Functions by `Class.name` and values that are reached from an object by its properties. */
  function reach(from: object[]): { functions: Set<string>; classes: Set<object> } {
    const [functions, classes, seen] = [new Set<string>(), new Set<object>(), new Set<unknown>()];
    const open: unknown[] = [...from];
    while (open.length > 0) {
      const one = open.pop();
      // Of the language's own, memory is API.
      const foreign =
        ArrayBuffer.isView(one) || one instanceof ArrayBuffer || one instanceof WebAssembly.Memory;
      if (one === null || typeof one !== "object" || foreign || Array.isArray(one)) continue;
      if (seen.has(one)) continue;
      seen.add(one);
      for (
        let owner: object | null = one;
        owner !== null && owner !== Object.prototype;
        owner = Object.getPrototypeOf(owner)
      ) {
        const kind = owner === one ? one.constructor.name : owner.constructor.name;
        for (const key of Reflect.ownKeys(owner)) {
          if (key === "constructor") {
            classes.add(owner.constructor);
            continue;
          }
          const value = Reflect.get(owner, key, one);
          if (typeof value === "function") functions.add(`${kind}.${String(key)}`);
          else open.push(value);
        }
      }
    }
    return { functions, classes };
  }

  test("is not reachable from a tensor, a layer, a record or a kernel", () => {
    const { x, bn, saved } = exampleOf();
    bn.backward(x);
    const { functions, classes } = reach([x, bn, saved, defaultKernel()]);
    const tensor = ["set", "reshape", "slice", "toFloat32Array"];
    const layer = [
      ...["train", "eval", "forward", "backward", "takeSaved", "zeroGrad", "resetRunningStats"],
      ...["resetParameters", "parameters", "stateDict", "loadStateDict"],
    ];
    const inspect = "Symbol(nodejs.util.inspect.custom)";
    const disposing = ["dispose", "Symbol(Symbol.dispose)"];
    const all = {
      Tensor: [...tensor, ...disposing, "toString", inspect],
      Parameter: ["dispose"],
      BatchNorm: [...layer, ...disposing, "toString", inspect],
      NormSaved: disposing,
      Kernel: ["memoryUsage"],
    };
    const api = Object.entries(all).flatMap(([name, own]) => own.map((one) => `${name}.${one}`));
    // Node 20 describes it otherwise.
    const plain = (name: string) => name.replace(/Symbol\(\w*\.dispose\)/, "[dispose]");
    expect([...functions].map(plain).sort()).toEqual(api.map(plain).sort());
    const statics = [...classes].flatMap((one) =>
      Object.getOwnPropertyNames(one).filter(
        (name) => !["length", "name", "prototype"].includes(name),
      ),
    );
    expect(statics.sort()).toEqual(["from", "zeros"]);
  });

  test("can't be changed: shapes, strides, storages and what a record says", () => {
    const { x, saved } = exampleOf();
    const view = x.slice(1, 0, 2);
    const changes: [object, string][] = [
      ...[x, view].flatMap((one): [object, string][] => [
        ...["0", "length"].flatMap((key): [object, string][] => [
          [one.shape, key],
          [one.strides, key],
        ]),
        ...["shape", "strides", "offset", "size", "extent", "address", "storage"].map(
          (key): [object, string] => [one, key],
        ),
        ...["version", "bytes", "address"].map((key): [object, string] => [one.storage, key]),
      ]),
      ...["axis", "eps", "channels", "x", "mean", "statistics"].map((key): [object, string] => [
        saved,
        key,
      ]),
    ];
    for (const [object, key] of changes) {
      expect(() => Object.assign(object, { [key]: 1000 }), key).toThrow(TypeError);
    }
    expect([x.shape, view.shape, view.strides]).toEqual([
      [4, 3],
      [4, 2],
      [3, 1],
    ]);
    expect([saved.axis, saved.channels, saved.eps]).toEqual([1, 3, 1e-5]);
  });
});

/** Where a stub's memory has all. */
const PLACE = 32;

/**
 * A module with a kernel's exports, one of which traps: `allocate` from 4 KB on, so that
 * making a kernel of it works. Its memory has one place for all.
 */
function stub(traps: "allocate" | "release" | "run" | "", version?: number) {
  const section = (id: number, ...entries: number[][]) => {
    const body = [entries.length, ...entries.flat()];
    return [id, body.length, ...body];
  };
  const named = (name: string, ...what: number[]) => [name.length, ...Buffer.from(name), ...what];
  const body = (...code: number[]) => [code.length + 2, 0, ...code, 11];
  const [i32, unreachable] = [127, 0];
  const constant = (value: number) => [65, value];
  return Uint8Array.of(
    ...[0, 97, 115, 109, 1, 0, 0, 0],
    ...section(
      1,
      [96, 2, i32, i32, 1, i32],
      [96, 2, i32, i32, 0],
      [96, 1, i32, 1, i32],
      [...[96, 0, 1, i32]],
    ),
    ...section(3, [0], [1], [2], [3]),
    ...section(5, [0, 1]),
    ...section(
      7,
      named("memory", 2, 0),
      named("allocate", 0, 0),
      named("release", 0, 1),
      named("run", 0, 2),
      // What an older kernel lacks.
      named(version === undefined ? "no_version" : "abi_version", 0, 3),
    ),
    ...section(
      10,
      // if (bytes > 4096) unreachable; return PLACE
      traps === "allocate"
        ? body(32, 0, 65, 128, 32, 75, 4, 64, unreachable, 11, ...constant(PLACE))
        : body(...constant(PLACE)),
      traps === "release" ? body(unreachable) : body(),
      traps === "run" ? body(unreachable) : body(...constant(0)),
      body(...constant(version ?? 0)),
    ),
  );
}

describe("a kernel of another version", () => {
  test("is refused by either number, and one of before there were any", () => {
    for (const version of [Abi.Version + 1, Abi.Version - 1, undefined]) {
      const error = expectError("kernel", [], () => createKernel(stub("", version)));
      expect(error.message).toMatch(/same version of the package: ABI \d+, not \d+/);
    }
    expect(createKernel(stub("", Abi.Version)).memory.buffer.byteLength).toBe(65536);
  });
});

describe("the record of a call", () => {
  /** The words of a small call. */
  function recordAfter(before: (kernel: Kernel) => void): number[] {
    const kernel = createKernel(stub("", Abi.Version));
    before(kernel);
    const x = Tensor.zeros([3, 2], { kernel });
    batchNormStatistics(x);
    const rank = 2;
    const tensors = 1;
    const length = Word.Sizes + rank + tensors * (RecordSize.Tensor + rank);
    return [...new Uint32Array(kernel.memory.buffer, PLACE, length)];
  }

  test("is written whole: nothing that a call before left is in it", () => {
    const fresh = recordAfter(() => {});
    const used = recordAfter((kernel) => {
      const x = Tensor.zeros([2, 2, 2, 2], { kernel });
      const bn = new BatchNorm(2, { kernel, eps: 0.5, momentum: 0.25 });
      bn.forward(x, { out: Tensor.zeros([2, 2, 2, 2], { kernel }) });
      bn.backward(x);
      bn.eval().forward(x);
      bn.backward(x);
    });
    expect(fresh.some((word) => word !== 0)).toBe(true);
    expect(used).toEqual(fresh);
  });
});

describe("a trap", () => {
  for (const name of ["run", "release", "allocate"] as const) {
    test(`of ${name} is a typed error of all that needs the kernel from then on, and dispose is none`, () => {
      const kernel = createKernel(stub(name, Abi.Version));
      const [x, y, gone] = [[2, 2], [2, 2], [3]].map((shape) =>
        Tensor.zeros(shape, { kernel }),
      ) as [Tensor, Tensor, Tensor];
      const bn = new BatchNorm(2, { kernel });
      const { liveStorages } = memoryUsage({ kernel });
      const calls = {
        run: () => bn.forward(x, { out: y }),
        allocate: () => Tensor.zeros([2000], { kernel }),
        reserve: () => reserve(1, { kernel }),
        statistics: () => batchNormStatistics(x),
        layer: () => new BatchNorm(3, { kernel }),
      };
      if (name === "release") gone.dispose();
      else expectError("kernel", [], calls[name]);
      const causes = Object.values(calls).map((call) => {
        const { message, cause } = expectError("kernel", [], call);
        expect(message).toMatch(/trapped and is unusable, please report/);
        return cause;
      });
      expect(causes[0]).toBeInstanceOf(WebAssembly.RuntimeError);
      expect(new Set(causes).size).toBe(1);
      gone.dispose();
      x.dispose();
      bn.dispose();
      expect(memoryUsage({ kernel }).liveStorages).toBe(liveStorages - 6);
      // What is there can still be copied out.
      expect(values(y)).toHaveLength(4);
    });
  }

  test("at the end of a scope is no error of what the scope returns", () => {
    const kernel = createKernel(stub("run", Abi.Version));
    const bn = new BatchNorm(2, { kernel });
    expectError("kernel", [], () =>
      scope(() => bn.forward(Tensor.zeros([2, 2], { kernel })), { kernel }),
    );
    expect(scope(() => "done", { kernel })).toBe("done");
    bn.dispose();
    expect(memoryUsage({ kernel }).liveStorages).toBe(0);
  });

  test("leaves other kernels as they were", () => {
    const broken = createKernel(stub("run", Abi.Version));
    const x = Tensor.zeros([2, 2], { kernel: broken });
    expectError("kernel", [], () => batchNormTraining(x));
    const y = new BatchNorm(1).forward(Tensor.from([-1, 1], [2, 1]));
    expect(Array.from(y.data, Math.round)).toEqual([-1, 1]);
  });
});
