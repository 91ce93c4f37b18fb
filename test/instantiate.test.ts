/** How a kernel's instance is made: the memory that it starts with, and what the runtime refuses. */
import { readFileSync } from "node:fs";
import { BatchNorm, createKernel, type Kernel, memoryUsage, Tensor } from "batchnorm-wasm";
import { afterEach, describe, expect, test, vi } from "vitest";
import { kernelBytes as bytes, kernelFile } from "../scripts/kernel/under-test.mjs";
import { withMemory } from "../ts/core/instance.js";

const own = memoryBytesOf(createKernel(bytes));
const PAGE = 65536;

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

function memoryBytesOf(kernel: Kernel): number {
  return memoryUsage({ kernel }).memoryBytes;
}

function expectToWork(kernel: Kernel): void {
  const x = Tensor.from([1, 2, 3, 6], [2, 2], { kernel });
  expect(Array.from(new BatchNorm(2, { kernel }).forward(x).data, Math.round)).toEqual([
    -1, -1, 1, 1,
  ]);
}

describe("initialBytes", () => {
  const within = new Uint8Array(bytes.length + 10);
  within.set(bytes, 5);
  const sources: Record<string, () => object> = {
    bytes: () => bytes,
    "an ArrayBuffer": () => bytes.slice().buffer,
    "a view in the middle of a buffer": () => within.subarray(5, -5),
    "a DataView": () => new DataView(within.buffer, 5, bytes.length),
  };
  for (const [name, source] of Object.entries(sources)) {
    test(`of ${name} are there without growing, and the bytes stay as they were`, () => {
      const grow = vi.spyOn(WebAssembly.Memory.prototype, "grow");
      // Up to three bytes as LEB128; the last page is half filled.
      for (const initialBytes of [own + PAGE, 100 * 2 ** 20, 2 ** 30 + PAGE / 2]) {
        const kernel = createKernel(source(), { initialBytes });
        expect(memoryBytesOf(kernel)).toBe(Math.ceil(initialBytes / PAGE) * PAGE);
        // The suite's second run grows by 0 pages at each allocation.
        expect(grow.mock.calls.filter(([pages]) => pages > 0)).toEqual([]);
        expectToWork(kernel);
      }
      expect(within.subarray(5, -5)).toEqual(bytes);
      expect(bytes).toEqual(new Uint8Array(readFileSync(kernelFile)));
    });
  }

  test("of a compiled module are grown to", () => {
    const kernel = createKernel(new WebAssembly.Module(bytes), { initialBytes: own + 1 });
    expect(memoryBytesOf(kernel)).toBe(own + PAGE);
    expectToWork(kernel);
  });

  test("below what the module asks for, or absent, change nothing", () => {
    for (const source of [bytes, new WebAssembly.Module(bytes)]) {
      for (const initialBytes of [0, 1, own - 1, own, undefined]) {
        const kernel = createKernel(source, { initialBytes });
        expect(memoryBytesOf(kernel)).toBe(own);
        expectToWork(kernel);
      }
    }
  });

  test("leave the most that a module allows as it is", () => {
    // (module (memory (export "m") 1 10))
    const limited = Uint8Array.of(
      ...[0, 97, 115, 109, 1, 0, 0, 0],
      ...[5, 4, 1, 1, 1, 10],
      ...[7, 5, 1, 1, 109, 2, 0],
    );
    const source = withMemory(limited, 3 * PAGE) as Uint8Array<ArrayBuffer>;
    const { m } = new WebAssembly.Instance(new WebAssembly.Module(source)).exports;
    const memory = m as WebAssembly.Memory;
    expect(memory.buffer.byteLength).toBe(3 * PAGE);
    expect(memory.grow(7)).toBe(3);
    expect(() => memory.grow(1)).toThrow(RangeError);
  });

  test("of what is no module are no other error than without", () => {
    const detached = bytes.slice();
    structuredClone(detached, { transfer: [detached.buffer] });
    const broken = [
      new Uint8Array(0),
      Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0),
      Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 5),
      Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 5, 255, 255, 255, 255, 255, 255, 255),
      Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 255, 255, 255, 255, 15, 5, 3, 1, 0, 1),
      bytes.subarray(0, 500),
      new Uint8Array(1000).fill(5),
      Array.from(bytes),
      { length: 2 ** 40 },
      detached,
    ];
    for (const source of broken) {
      for (const options of [{}, { initialBytes: 2 ** 20 }]) {
        const error = expect.objectContaining({ name: "BatchNormError", code: "kernel" });
        expect(() => createKernel(source, options)).toThrow(error);
      }
    }
  });

  test("that there is no room for are a typed error", () => {
    const error = expect.objectContaining({
      name: "BatchNormError",
      code: "out-of-memory",
      message: expect.stringContaining("no room for"),
    });
    const module = new WebAssembly.Module(bytes);
    vi.spyOn(WebAssembly.Memory.prototype, "grow").mockImplementation(() => {
      throw new RangeError("Unable to grow instance memory");
    });
    expect(() => createKernel(module, { initialBytes: own + 1 })).toThrow(error);
    // No arrow: what is called with `new` has to be a constructor.
    vi.spyOn(WebAssembly, "Instance").mockImplementation(function noRoom() {
      throw new RangeError("Out of memory: Cannot allocate Wasm memory for new instance");
    });
    expect(() => createKernel(bytes)).toThrow(error);
  });
});

test("a runtime without WebAssembly gets a typed error that names the engines needed", () => {
  vi.stubGlobal("WebAssembly", undefined);
  expect(() => createKernel(bytes)).toThrow(
    expect.objectContaining({ code: "no-simd", message: expect.stringContaining("Safari 16.4") }),
  );
});
