import { runInNewContext } from "node:vm";
import {
  BatchNorm,
  BatchNormalization,
  BatchNormError,
  batchNormBackward,
  batchNormInference,
  batchNormStatistics,
  batchNormTraining,
  defaultKernel,
  renormSchedule,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, test } from "vitest";
import { readOptions, unknownName } from "../ts/core/options.js";
import { cut, remedyFor, show, showNames, showShape } from "../ts/core/show.js";
import { wrong } from "./call-helpers.js";

function messageOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(BatchNormError);
    return (error as BatchNormError).message;
  }
  throw new Error("nothing was thrown");
}

describe("a message", () => {
  test("is short, however long the value is that it shows", () => {
    const long = "y".repeat(1e6);
    const tagged = { [Symbol.toStringTag]: long };
    for (const eps of [long, Symbol(long), 10n ** 1000n, tagged, () => long]) {
      expect(messageOf(() => new BatchNorm(3, { eps: wrong(eps) })).length).toBeLessThan(150);
    }
    const names = [{ [long]: 1 }, { preset: wrong(long) }];
    for (const options of names) {
      expect(messageOf(() => new BatchNorm(3, options)).length).toBeLessThan(400);
    }
    const deep = messageOf(() => Tensor.zeros(new Array(20_000).fill(2)));
    expect(deep).toContain("of 1 to 64 axes, got [2, 2, 2, 2, 2, 2, 2, 2 and 19992 more]");
    expect(deep.length).toBeLessThan(150);
  });

  test("shows what is short in full", () => {
    const short = "x".repeat(60);
    expect(show(short)).toBe(`"${short}"`);
    expect(cut(`${"a".repeat(40)}${"b".repeat(40)}`)).toBe(`${"a".repeat(30)}…${"b".repeat(29)}`);
    expect(showShape([1, 2, 3, 4, 5, 6, 7, 8])).toBe("[1, 2, 3, 4, 5, 6, 7, 8]");
    expect(showShape([])).toBe("[]");
    expect(showNames(["a", "b"])).toBe("a, b");
    expect(showNames([..."abcdefghij"])).toBe("a, b, c, d, e, f, g, h and 2 more");
  });

  test("shows values as they are written, and objects by their kind", () => {
    class Own {}
    const shown: [value: unknown, text: string][] = [
      [undefined, "undefined"],
      [null, "null"],
      [1.5, "1.5"],
      [5n, "5n"],
      ['"', '"\\""'],
      [Symbol("s"), "Symbol(s)"],
      [() => "its source", "a function"],
      [Own, "a function"],
      [{}, "Object"],
      [Object.create(null), "Object"],
      [[1], "Array"],
      [new Map(), "Map"],
      [Promise.resolve(), "Promise"],
      [new Date(), "Date"],
      [new Float64Array(1), "Float64Array"],
      [Buffer.alloc(1), "Uint8Array"],
      [new DataView(new ArrayBuffer(1)), "DataView"],
      [new URL("file:///x"), "URL"],
      [runInNewContext("new Float32Array(1)"), "Float32Array"],
    ];
    for (const [value, text] of shown) expect(show(value)).toBe(text);
  });

  test("calls nothing of the value's own", () => {
    let calls = 0;
    const call = () => {
      calls += 1;
      throw new Error("called");
    };
    class Getter {
      get [Symbol.toStringTag](): string {
        return call();
      }
    }
    const methods = { toString: call, valueOf: call, toJSON: call, [Symbol.toPrimitive]: call };
    const view = Object.defineProperty(new Int8Array(1), Symbol.toStringTag, { get: call });
    const named = Object.assign(() => 1, methods);
    for (const value of [new Getter(), methods, view, named]) {
      for (const eps of [value, [value]]) {
        expect(messageOf(() => new BatchNorm(3, { eps: wrong(eps) }))).toContain("eps must be");
      }
      expect(showShape(wrong([value, 2]))).toContain(", 2]");
    }
    expect(calls).toBe(0);
    expect(show(new Getter())).toBe("an object");
    expect(show(view)).toBe("Int8Array");
    const lying = new Int8Array(1);
    Object.defineProperty(lying, Symbol.toStringTag, { value: "Float32Array" });
    expect(show(lying)).toBe("Int8Array");
  });

  test("is made of a Proxy too: one that throws, is revoked or has no end", () => {
    const trap = () => {
      throw new Error("a trap of the caller's");
    };
    const throwing = new Proxy(
      {},
      { get: trap, getPrototypeOf: trap, getOwnPropertyDescriptor: trap },
    );
    const { proxy: revoked, revoke } = Proxy.revocable({}, {});
    revoke();
    const endless: object = new Proxy({}, { getPrototypeOf: () => endless });
    for (const eps of [throwing, revoked, endless]) {
      const words = "eps must be a finite number from 0 on, got an object";
      expect(messageOf(() => new BatchNorm(3, { eps: wrong(eps) }))).toContain(words);
    }
  });
});

describe("did you mean", () => {
  const known = ["preset", "eps", "momentum", "affine", "scale", "offset", "axis", "statistics"];
  const hint = (name: string) =>
    /did you mean "(.*?)"/.exec(unknownName("f", "option", name, known));

  for (const [name, nearest] of [
    ["momentun", "momentum"],
    ["momemtum", "momentum"],
    ["epsilon", "eps"],
    ["Axis", "axis"],
    ["channel_axis", "axis"],
    ["afine", "affine"],
    ["ofset", "offset"],
    ["presets", "preset"],
    ["statistcs", "statistics"],
  ] as const) {
    test(`${name} is near to ${nearest}`, () => expect(hint(name)?.[1]).toBe(nearest));
  }

  for (const name of ["foo", "gamma", "dtype", "name", "training", "x", "", "num_features"]) {
    test(`"${name}" is near to nothing, and gets the list alone`, () => {
      expect(hint(name)).toBeNull();
      const message = unknownName("f", "option", name, known);
      expect(message).toBe(`f: unknown option "${name}". There are: ${known.join(", ")}`);
    });
  }
});

describe("a remedy", () => {
  test("is told of data that can be converted, and of no others", () => {
    expect(remedyFor(new Float64Array(1))).toBe("; convert with Float32Array.from(data)");
    expect(remedyFor(new BigUint64Array(1))).toBe("; convert with Float32Array.from(data, Number)");
    expect(Float32Array.from(BigUint64Array.of(7n) as never, Number)[0]).toBe(7);
    for (const bits of [new Uint16Array(1), new DataView(new ArrayBuffer(4)), new ArrayBuffer(4)]) {
      expect(remedyFor(bits)).not.toBe("");
      expect(remedyFor(bits)).not.toContain("from(");
    }
    for (const other of [{}, new Set(), "Uint8Array", 5, null]) expect(remedyFor(other)).toBe("");
  });
});

describe("readOptions", () => {
  const KNOWN = ["out", "training"];
  const read = (options: unknown) =>
    readOptions<Record<string, unknown>>("f", wrong(options), KNOWN);
  const codeOf = (options: unknown) => {
    try {
      read(options);
    } catch (error) {
      return (error as BatchNormError).code;
    }
    return "taken";
  };

  test("nothing is an object without options, which nobody can change", () => {
    for (const nothing of [undefined, null]) {
      expect(Object.isFrozen(read(nothing))).toBe(true);
      expect(Object.getPrototypeOf(read(nothing))).toBeNull();
    }
  });

  test("each option is read once, by whatever takes options", () => {
    const reads: Record<string, number> = {};
    /** Options that count how often each is read. */
    const counted = <T extends object>(options: T): T =>
      new Proxy(options, {
        get(target, name) {
          reads[String(name)] = (reads[String(name)] ?? 0) + 1;
          return Reflect.get(target, name);
        },
      });
    const kernel = defaultKernel();
    const vector = () => Tensor.from([1, 1, 1]);
    const [x, dy] = [Tensor.from([1, 2, 3, 4, 6, 9], [2, 3]), Tensor.zeros([2, 3])];
    const common = { weight: vector(), bias: vector(), eps: 1, axis: 1, out: dy, kernel };
    const running = { runningMean: vector(), runningVar: vector(), momentum: 0.5 };
    const { saved } = batchNormTraining(x);
    const gradients = { saved, out: Tensor.zeros([2, 3]), weightGrad: null, biasGrad: null };
    const calls: [options: object, call: (options: never) => unknown][] = [
      [{ ...common, ...running, runningVariance: "biased", saved }, (o) => batchNormTraining(x, o)],
      [{ ...common, mean: vector(), variance: vector(), saved }, (o) => batchNormInference(x, o)],
      [{ axis: 1, kernel, ...running }, (o) => batchNormStatistics(x, o)],
      [gradients, (o) => batchNormBackward(dy, o)],
      [{ training: true, out: dy }, (o) => new BatchNorm(3).forward(x, o)],
      [
        {
          preset: "torch",
          eps: 1,
          momentum: 0.5,
          affine: true,
          scale: true,
          offset: true,
          axis: 1,
        },
        (o) => new BatchNorm(3, o),
      ],
      [
        { statistics: "batch", updateRunningStats: false, requiresGrad: true, kernel },
        (o) => new BatchNorm(3, o),
      ],
      [{ trackRunningStats: true, runningVariance: "biased" }, (o) => new BatchNorm(3, o)],
      [
        { axis: 1, momentum: 1, epsilon: 1, center: true, scale: true, trainable: true },
        (o) => new BatchNormalization(o),
      ],
      [{ preset: "keras", renorm: { rMax: 2 }, renormMomentum: 1 }, (o) => new BatchNorm(3, o)],
      [{ ...running, renorm: { rMax: 2 }, virtualBatchSize: 2 }, (o) => batchNormTraining(x, o)],
      [
        { renorm: true, renormClipping: { rmax: 2 }, renormMomentum: 1 },
        (o) => new BatchNormalization(o),
      ],
      [{ rMin: 0, rMax: 2, dMax: 1 }, (o) => new BatchNorm(3, { renorm: o })],
      [{ warmUp: 1, rMax: 2, rMaxStep: 3, dMax: 4, dMaxStep: 5 }, (o) => renormSchedule(0, o)],
      [{ prefix: "a." }, (o) => new BatchNorm(3).stateDict(o)],
      [
        { prefix: "", allowNonFinite: true },
        (o) => new BatchNorm(3).loadStateDict(new BatchNorm(3).stateDict(), o),
      ],
      [{ kernel }, (o) => Tensor.zeros([1], o)],
    ];
    batchNormTraining(x, { saved });
    for (const [options, call] of calls) {
      for (const name of Object.keys(reads)) delete reads[name];
      call(counted(options) as never);
      // Absent ones are looked for, too.
      expect(reads).toMatchObject(Object.fromEntries(Object.keys(options).map((key) => [key, 1])));
      expect(Math.max(...Object.values(reads))).toBe(1);
    }
  });

  test("an unknown name is refused, also __proto__", () => {
    expect(codeOf({ outs: 1 })).toBe("unknown-option");
    expect(codeOf({ training: true, foo: undefined })).toBe("unknown-option");
    expect(codeOf(JSON.parse('{ "__proto__": { "training": true } }'))).toBe("unknown-option");
  });

  test("objects are taken from every realm, without a prototype, and of a class with names", () => {
    class Options {
      training = true;
    }
    const bare = Object.assign(Object.create(null), { training: true });
    for (const options of [new Options(), bare, runInNewContext("({ training: true })")]) {
      expect({ ...read(options) }).toEqual({ training: true });
    }
    expect(codeOf(runInNewContext("({})"))).toBe("taken");
    expect(codeOf(Object.create(null))).toBe("taken");
  });

  test("what is no object of options is refused", () => {
    class Options {
      get training() {
        return true;
      }
    }
    const others = [
      false,
      0,
      "",
      "out",
      5n,
      Symbol("out"),
      () => 1,
      [],
      ["out"],
      new Float32Array(2),
    ];
    const instances = [new Map(), new Date(), Promise.resolve(), new Options(), new ArrayBuffer(8)];
    const children = [Object.create({ training: true }), runInNewContext("[1]")];
    for (const options of [...others, ...instances, ...children]) {
      expect(codeOf(options), show(options)).toBe("invalid-option");
    }
  });

  test("what is on Object.prototype is neither refused nor read", () => {
    const inherited = Object.prototype as Record<string, unknown>;
    inherited.training = true;
    inherited.foo = 5;
    try {
      const own = read({ out: 1 });
      expect([own.out, own.training, own.foo]).toEqual([1, undefined, undefined]);
      expect(read({}).training).toBeUndefined();
      expect(read(undefined).training).toBeUndefined();
      expect(read({ training: false }).training).toBe(false);
      expect(codeOf({ bar: 1 })).toBe("unknown-option");
    } finally {
      delete inherited.training;
      delete inherited.foo;
    }
  });

  test("an error of the caller's getter is passed through", () => {
    const own = new Error("the caller's own");
    const options = {
      get out() {
        throw own;
      },
    };
    expect(() => new BatchNorm(2).forward(Tensor.zeros([2, 2]), wrong(options))).toThrow(own);
  });
});
