/** What `install` puts into tfjs, and takes out again. */
import { install, normalizationMemory, releaseMemory } from "batchnorm-wasm/tfjs/install";
import { afterEach, expect, test, vi } from "vitest";
import { BACKENDS, batchNorm, codeOf, distance, numbers, tf } from "./tfjs.js";

const KERNEL = "FusedBatchNorm";
const LAYERS = ["BatchNormalization", "LayerNormalization"] as const;
const { SerializationMap } = tf.serialization;
type Class = { prototype: { call: (...args: unknown[]) => unknown } };
const classes = () =>
  SerializationMap.getMap().classNameMap as unknown as { [name: string]: [Class, unknown] };

/** All that may be changed. Of objects it is told which they are: inside they lead to all of tfjs. */
function state(): State {
  return {
    kernels: BACKENDS.map((backend) => tf.getKernel(KERNEL, backend)),
    gradient: tf.getGradient(KERNEL),
    calls: LAYERS.map((name) => classes()[name]?.[0].prototype.call),
    ours: [...BACKENDS, "webgl"].map(
      (backend) =>
        tf.getKernelsForBackend(backend).filter(({ kernelName }) => /Wasm/.test(kernelName)).length,
    ),
    classes: Object.keys(classes()).sort(),
    register: SerializationMap.register,
  };
}

interface State {
  kernels: unknown[];
  gradient: unknown;
  calls: unknown[];
  ours: number[];
  classes: string[];
  register: unknown;
}

/** What differs between two states. */
function changes(before: State, after = state()): string[] {
  return Object.keys(before).filter((name) => {
    const [a, b] = [before[name as keyof State], after[name as keyof State]];
    return Array.isArray(a) && Array.isArray(b)
      ? a.length !== b.length || a.some((one, i) => one !== b[i])
      : a !== b;
  });
}

const plain = state();
let undo: (() => void)[] = [];
const installed = (...args: Parameters<typeof install>) => {
  const uninstall = install(...args);
  undo.push(uninstall);
  return uninstall;
};
afterEach(() => {
  for (const one of undo) one();
  undo = [];
  vi.restoreAllMocks();
  expect(changes(plain)).toEqual([]);
});

test("it changes both backends, the gradient and the layers; uninstall leaves nothing, and no warning", () => {
  const warn = vi.spyOn(console, "warn");
  const uninstall = installed(tf);
  const now = state();
  for (const i of [0, 1]) {
    expect(now.kernels[i] === plain.kernels[i]).toBe(false);
    expect(now.calls[i] === plain.calls[i]).toBe(false);
    expect(now.ours[i]).toBe(5);
  }
  expect(now.gradient === plain.gradient).toBe(false);
  expect(now.ours[2]).toBe(0);
  expect(now.classes.filter((name) => !plain.classes.includes(name))).toEqual([
    ...["GroupNormalization", "InstanceNormalization", "RMSNormalization"],
  ]);
  uninstall();
  expect(changes(plain)).toEqual([]);
  uninstall();
  expect(changes(plain)).toEqual([]);
  expect(warn).not.toHaveBeenCalled();
});

test("twice is once, also by another copy of the package; either takes all out", async () => {
  const first = installed(tf);
  const once = state();
  const second = installed(tf);
  expect(changes(once)).toEqual([]);
  vi.resetModules();
  const copy = await import("batchnorm-wasm/tfjs/install");
  expect(copy.install === install).toBe(false);
  const third = copy.install(tf);
  expect(changes(once)).toEqual([]);
  third();
  expect(changes(plain)).toEqual([]);
  // And then the others have nothing more to take out.
  undo.push(copy.install(tf));
  const again = state();
  first();
  second();
  expect(changes(again)).toEqual([]);
});

test("options replace those before; a backend that isn't named is plain", async () => {
  installed(tf);
  installed(tf, { backends: ["cpu"] });
  expect(state().kernels[0] === plain.kernels[0]).toBe(true);
  expect(state().kernels[1] === plain.kernels[1]).toBe(false);
  expect(state().ours).toEqual([0, 5, 0]);
  await tf.setBackend("wasm");
  const layer = tf.layers.batchNormalization({});
  const y = layer.apply(tf.tensor([1, 3], [2, 1]), { training: true }) as tf.Tensor;
  expect(distance(y.dataSync(), [-1, 1])).toBeLessThan(1e-3);
  installed(tf, { backends: ["wasm"], initialBytes: 32 * 2 ** 20 });
  layer.apply(tf.tensor([1, 3], [2, 1]), { training: true });
  expect(normalizationMemory()?.memoryBytes).toBe(32 * 2 ** 20);
  releaseMemory();
  expect(normalizationMemory()).toBeNull();
  installed(tf, {});
});

test("a backend that starts later, and layers that are registered later, are taken over then", async () => {
  const cpu = plain.kernels[1] as NonNullable<ReturnType<typeof tf.getKernel>>;
  const factory = tf.findBackendFactory("cpu") as () => never;
  const [Class] = classes().BatchNormalization as [Class, unknown];
  await tf.setBackend("wasm");
  tf.removeBackend("cpu");
  tf.unregisterKernel(KERNEL, "cpu");
  delete classes().BatchNormalization;
  installed(tf);
  expect(state().calls[0]).toBeUndefined();
  tf.registerKernel(cpu);
  expect(tf.getKernel(KERNEL, "cpu") === cpu).toBe(true);
  tf.registerBackend("cpu", factory, 1);
  await tf.setBackend("cpu");
  expect(tf.getKernel(KERNEL, "cpu") === cpu).toBe(false);
  SerializationMap.register(Class as never);
  expect(state().calls[0] === plain.calls[0]).toBe(false);
  expect(state().calls[0] === Class.prototype.call).toBe(true);
});

test("what somebody else has put over ours stays when ours goes", () => {
  const uninstall = installed(tf);
  const ours = tf.getKernel(KERNEL, "cpu") as NonNullable<ReturnType<typeof tf.getKernel>>;
  tf.unregisterKernel(KERNEL, "cpu");
  const theirs = { ...ours };
  delete (theirs as { [name: string]: unknown })["batchnorm-wasm"];
  tf.registerKernel(theirs);
  uninstall();
  expect(tf.getKernel(KERNEL, "cpu") === theirs).toBe(true);
  tf.unregisterKernel(KERNEL, "cpu");
  tf.registerKernel(plain.kernels[1] as typeof theirs);
});

test("importing batchnorm-wasm/tfjs installs, once", async () => {
  const { install: own } = await import("batchnorm-wasm/tfjs");
  const now = state();
  expect(now.kernels[0] === plain.kernels[0]).toBe(false);
  undo.push(own(tf));
  expect(changes(now)).toEqual([]);
});

test("the namespace may be under `default`, as some bundlers have it", () => {
  installed({ default: tf } as unknown as typeof tf);
  expect(state().ours).toEqual([5, 5, 0]);
});

test("what is no tfjs, and what is no option, is a typed error, and nothing is changed", () => {
  for (const bad of [undefined, null, {}, tf.layers, "tf", { ...tf, default: 0, getKernel: 1 }]) {
    expect(codeOf(() => install(bad as unknown as typeof tf))).toBe("invalid-option");
  }
  const given = (options: unknown) => codeOf(() => install(tf, options as object));
  expect(given({ backends: [] })).toBe("invalid-option");
  expect(given({ backends: "cpu" })).toBe("invalid-option");
  expect(given({ backends: ["webgl"] })).toBe("invalid-option");
  expect(given({ initialBytes: -1 })).toBe("invalid-option");
  expect(given({ initialBytes: 2 ** 32 })).toBe("invalid-option");
  expect(given({ memory: 1 })).toBe("unknown-option");
  expect(given(7)).toBe("invalid-option");
  expect(changes(plain)).toEqual([]);
  // Nullish is absent.
  installed(tf, { backends: null, initialBytes: undefined });
  expect(state().ours).toEqual([5, 5, 0]);
});

test("our kernels refuse what doesn't fit, whoever calls them", async () => {
  installed(tf);
  await tf.setBackend("cpu");
  const run = (name: string, inputs: object, attrs: object) =>
    codeOf(() => tf.engine().runKernel(`BatchNormWasm${name}`, inputs as never, attrs as never));
  const x = tf.tensor(numbers(6, 1), [2, 3]);
  const [two, three] = [tf.zeros([2]), tf.zeros([3])];
  const problem = { norm: "batch", axes: [1], groups: 0, epsilon: 1, parameters: [3], momentum: 1 };
  expect(run("Forward", { x, gamma: two }, problem)).toBe("shape-mismatch");
  expect(run("Forward", { x, gamma: three, beta: two }, problem)).toBe("shape-mismatch");
  expect(run("Forward", { x, gamma: three, movingMean: two }, problem)).toBe("shape-mismatch");
  const statistics = tf.zeros([12], "int32");
  const gamma = three;
  expect(run("Backward", { x, dy: two, gamma, statistics }, problem)).toBe("shape-mismatch");
  expect(run("Backward", { x, dy: x, gamma: two, statistics }, problem)).toBe("shape-mismatch");
  const few = tf.zeros([11], "int32");
  expect(run("Backward", { x, dy: x, gamma, statistics: few }, problem)).toBe("shape-mismatch");
  // The one block that stays.
  expect(normalizationMemory()).toMatchObject({ liveBytes: 2 ** 20, liveStorages: 1 });
  expect(batchNorm(x, three, tf.ones([3])).shape).toEqual([2, 3]);
});
