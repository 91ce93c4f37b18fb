/** `batchnorm-wasm/slim`: every way to bring the kernel, each to a copy of the package that has none. */
import { readFileSync } from "node:fs";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { encode } from "../scripts/kernel-text.mjs";
import { decode } from "../ts/entry/text.js";

type Slim = typeof import("../ts/entry/slim.js");

const bytes = new Uint8Array(readFileSync(new URL("../ts/generated/kernel.wasm", import.meta.url)));
const address = `data:application/wasm;base64,${Buffer.from(bytes).toString("base64")}`;
const nothing = () => new Response("not found", { status: 404, statusText: "Not Found" });

let slim: Slim;

beforeEach(async () => {
  vi.resetModules();
  slim = await import("../ts/entry/slim.js");
});

function expectToWork({ BatchNorm, Tensor }: Slim): void {
  const y = new BatchNorm(2).forward(Tensor.from([1, 2, 3, 6], [2, 2]));
  expect(Array.from(y.data, Math.round)).toEqual([-1, -1, 1, 1]);
}

test("without a kernel, the error says what to call", () => {
  expect(() => slim.Tensor.zeros([1])).toThrow(
    expect.objectContaining({ code: "kernel", message: expect.stringContaining("init()") }),
  );
});

describe("init takes", () => {
  const sources = {
    "a module": () => new WebAssembly.Module(bytes),
    bytes: () => bytes,
    "an ArrayBuffer": () => bytes.slice().buffer,
    "a Response, whatever its type": () => new Response(bytes),
    "a URL": () => new URL(address),
    "an address": () => address,
  };
  for (const [name, source] of Object.entries(sources)) {
    test(name, async () => {
      await slim.init(source());
      expectToWork(slim);
    });

    test(`a promise of ${name}`, async () => {
      await slim.init(Promise.resolve(source()));
      expectToWork(slim);
    });
  }
});

describe("initSync takes", () => {
  test("bytes", () => {
    slim.initSync(bytes);
    expectToWork(slim);
  });

  test("a module", () => {
    slim.initSync(new WebAssembly.Module(bytes));
    expectToWork(slim);
  });
});

test("only the first success counts, one after the other or at once", async () => {
  slim.initSync(bytes);
  const kernel = slim.defaultKernel();
  slim.initSync(Uint8Array.of(1, 2, 3));
  await slim.init(nothing());
  expect(slim.defaultKernel()).toBe(kernel);

  vi.resetModules();
  const other: Slim = await import("../ts/entry/slim.js");
  await Promise.all([other.init(address), other.init(bytes)]);
  expectToWork(other);
});

describe("a typed error, after which it can be tried again", () => {
  const wrong: Record<string, () => unknown> = {
    "a response that is none": nothing,
    "an address that nobody answers": () => "http://localhost:1/kernel.wasm",
    "an address that is none": () => "kernel.wasm",
    "bytes that are no module": () => Uint8Array.of(1, 2, 3),
    "another module": () => Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0),
    undefined: () => undefined,
    "a number": () => 1,
  };
  for (const [name, source] of Object.entries(wrong)) {
    test(name, async () => {
      await expect(slim.init(source() as Response)).rejects.toMatchObject({
        name: "BatchNormError",
        code: "kernel",
      });
      await slim.init(bytes);
      expectToWork(slim);
    });
  }

  test("what a promise was rejected with is left as it is", async () => {
    await expect(slim.init(Promise.reject(new RangeError("mine")))).rejects.toThrow(RangeError);
  });
});

test("the kernel's text gives back every byte", () => {
  const all = Uint8Array.from({ length: 256 * 256 }, (_, i) => (i % 2 ? i >> 8 : i));
  for (const one of [all, bytes, bytes.subarray(0, 1)]) {
    const text = encode(one);
    expect(text).toMatch(/^[#-z]*$/);
    expect(Buffer.from(decode(text)).equals(one)).toBe(true);
  }
});
