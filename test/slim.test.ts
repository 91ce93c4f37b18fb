/** `batchnorm-wasm/slim`: every way to bring the kernel, each to a copy of the package that has none. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { kernelBytes as bytes, kernelFile as file } from "../scripts/kernel/under-test.mjs";
import { encode } from "../scripts/kernel-text.mjs";
import { decode } from "../ts/entry/text.js";

type Slim = typeof import("../ts/entry/slim.js");

const address = `data:application/wasm;base64,${Buffer.from(bytes).toString("base64")}`;
const nothing = () => new Response("not found", { status: 404, statusText: "Not Found" });

let slim: Slim;

beforeEach(async () => {
  vi.resetModules();
  slim = await import("../ts/entry/slim.js");
});

afterEach(() => {
  vi.unstubAllGlobals();
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

describe("init in Node takes", () => {
  let init: Slim["init"];
  beforeEach(async () => {
    ({ init } = await import("../ts/entry/slim-node.js"));
  });

  for (const source of [file, file.href, file.href.replace("file", "FILE"), address, bytes]) {
    test(`${show(source)}, or a promise of it`, async () => {
      await init(source);
      expectToWork(slim);
      vi.resetModules();
      const other: Slim = await import("../ts/entry/slim-node.js");
      await other.init(Promise.resolve(source));
      expectToWork(other);
    });
  }

  test("a file's address, and says where none is; it can be tried again then", async () => {
    const none = new URL("none.wasm", file);
    const error = { code: "kernel", message: expect.stringContaining(none.href) };
    await expect(init(none)).rejects.toMatchObject(error);
    await expect(init(null as unknown as URL)).rejects.toMatchObject({ code: "kernel" });
    await init(file);
    expectToWork(slim);
  });

  test("nothing where a kernel is there, or options are wrong: no file is read", async () => {
    const none = new URL("none.wasm", file);
    const wrong = init(none, { initialBytes: -1 });
    await expect(wrong).rejects.toMatchObject({ code: "invalid-option" });
    slim.initSync(bytes);
    await init(none);
    expectToWork(slim);
  });

  function show(source: URL | string | Uint8Array): string {
    return source instanceof Uint8Array ? "bytes" : `${typeof source} ${source}`.slice(0, 60);
  }
});

test("init compiles in the background, bytes and modules", async () => {
  const module = new WebAssembly.Module(bytes);
  const { validate, instantiate, CompileError } = WebAssembly;
  // As a page's main thread in Chrome before 115.
  function refuse() {
    throw new RangeError("disallowed on the main thread");
  }
  const young = { validate, instantiate, CompileError, Module: refuse, Instance: refuse };
  vi.stubGlobal("WebAssembly", young);
  expect(() => slim.initSync(bytes)).toThrow("disallowed on the main thread");
  await slim.init(bytes);
  expectToWork(slim);

  vi.resetModules();
  const other: Slim = await import("../ts/entry/slim.js");
  await other.init(module);
  expectToWork(other);
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

describe("initialBytes", () => {
  const megabytes = 40 * 2 ** 20;
  const ways: Record<string, () => void | Promise<void>> = {
    "of init with bytes": () => slim.init(bytes, { initialBytes: megabytes }),
    "of init with an address": () => slim.init(address, { initialBytes: megabytes }),
    "of init with a module": () =>
      slim.init(new WebAssembly.Module(bytes), { initialBytes: megabytes }),
    "of initSync with bytes": () => slim.initSync(bytes, { initialBytes: megabytes }),
    "of initSync with a module": () =>
      slim.initSync(new WebAssembly.Module(bytes), { initialBytes: megabytes }),
  };
  for (const [name, start] of Object.entries(ways)) {
    test(`${name} is what the memory starts with`, async () => {
      await start();
      expect(slim.memoryUsage().memoryBytes).toBe(megabytes);
      expectToWork(slim);
    });
  }

  test("that is none, is refused before anything is fetched", async () => {
    const fetch = vi.fn();
    vi.stubGlobal("fetch", fetch);
    for (const initialBytes of [-1, 0.5, Number.NaN, Infinity, 2 ** 32 + 1, "1", true, {}]) {
      const options = { initialBytes } as { initialBytes: number };
      const error = expect.objectContaining({ code: "invalid-option" });
      await expect(slim.init(address, options)).rejects.toEqual(error);
      expect(() => slim.initSync(bytes, options)).toThrow(error);
    }
    const unknown = { initialByte: 1 } as object;
    const error = expect.objectContaining({ code: "unknown-option" });
    await expect(slim.init(address, unknown)).rejects.toEqual(error);
    expect(() => slim.initSync(bytes, unknown)).toThrow(error);
    expect(fetch).not.toHaveBeenCalled();
  });
});

describe("a typed error, after which it can be tried again", () => {
  const wrong: Record<string, () => unknown> = {
    "a response that is none": nothing,
    "an address that nobody answers": () => "http://localhost:1/kernel.wasm",
    "an address that is none": () => "kernel.wasm",
    "bytes that are no module": () => Uint8Array.of(1, 2, 3),
    "another module": () => Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0),
    undefined: () => undefined,
    null: () => null,
    "a number": () => 1,
    "a symbol": () => Symbol("kernel"),
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
    vi.stubGlobal("TextEncoder", undefined);
    expect(Buffer.from(decode(text)).equals(one), "without TextEncoder").toBe(true);
    vi.unstubAllGlobals();
  }
});
