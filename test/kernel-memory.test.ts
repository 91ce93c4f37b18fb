/**
 * The kernel's heap, over the module's own exports: what is freed can be had again, whatever
 * growth it came with, and memory grows seldom and no further than it must.
 */
import { expect, test } from "vitest";
import { kernelBytes } from "../scripts/kernel/under-test.mjs";
import { Abi, Contents } from "../ts/generated/abi.js";
import type * as KernelExports from "../ts/generated/kernel.js";

const PAGE = 2 ** 16;
const MB = 2 ** 20;

/** What the allocator may lose: it looks among free blocks 1/32 larger than it needs. */
const SLACK = 33 / 32;

/** Memory grows by a quarter of itself, or by what is needed. */
const GROWTH = 5 / 4;

/** The module with its memory's maximum in pages set to another one. */
function withMaximum(pages: number): Uint8Array<ArrayBuffer> {
  const bytes = kernelBytes.slice();
  let at = 8;
  const number = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++] as number;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  for (;;) {
    const section = bytes[at++];
    const end = number() + at;
    if (section === 5) {
      expect([number(), number()]).toEqual([1, 1]); // One memory, which has a maximum.
      number();
      const start = at;
      expect(number()).toBe(65_535);
      // In as many bytes as before.
      for (let i = start; i < at; i++, pages >>= 7) {
        bytes[i] = (pages & 127) | (i < at - 1 ? 128 : 0);
      }
      return bytes;
    }
    at = end;
  }
}

/** A heap that looks after what it hands out, and counts how often memory grew. */
class Heap {
  readonly exports: typeof KernelExports;
  readonly live = new Map<number, number>();
  growths = 0;
  #buffer: ArrayBuffer;

  constructor(maximum = 65_535) {
    const module = new WebAssembly.Module(withMaximum(maximum));
    this.exports = new WebAssembly.Instance(module).exports as unknown as typeof KernelExports;
    this.#buffer = this.exports.memory.buffer;
  }

  get bytes(): number {
    return this.exports.memory.buffer.byteLength;
  }

  /** The address, 0 where there was no room. Both ends are marked with it. */
  take(bytes: number, zeroed = false): number {
    const address = this.exports.allocate(bytes, zeroed ? Contents.Zero : Contents.Arbitrary) >>> 0;
    if (this.exports.memory.buffer !== this.#buffer) this.growths++;
    this.#buffer = this.exports.memory.buffer;
    if (address === 0) return 0;
    // Not through expect, which would take longer than all the rest.
    if (address % 64 !== 0 || address + bytes > this.#buffer.byteLength) {
      expect.fail(`${bytes} bytes at ${address}`);
    }
    if (!zeroed) this.#marks(address, bytes).fill(address);
    this.live.set(address, bytes);
    return address;
  }

  free(address: number, marked = true): void {
    const bytes = this.live.get(address) as number;
    if (marked) this.check(address);
    this.live.delete(address);
    this.exports.release(address, bytes);
  }

  freeAll(): void {
    for (const address of this.live.keys()) this.free(address);
  }

  /** Fails if anyone has written over the ends of a block. */
  check(address: number): void {
    const marks = this.#marks(address, this.live.get(address) as number);
    if (marks.first !== address || marks.last !== address) {
      expect.fail(`${address}: ${marks.first}, ${marks.last}`);
    }
  }

  #marks(address: number, bytes: number) {
    const view = new DataView(this.#buffer);
    return {
      first: view.getUint32(address, true),
      last: view.getUint32(address + bytes - 4, true),
      fill(value: number) {
        view.setUint32(address, value, true);
        view.setUint32(address + bytes - 4, value, true);
      },
    };
  }

  /** The largest block that there is room for without growing, in steps of a page. */
  largest(): number {
    let [fits, tooLarge] = [0, this.bytes / PAGE];
    while (tooLarge - fits > 1) {
      const pages = Math.floor((fits + tooLarge) / 2);
      const address = this.take(pages * PAGE);
      if (address === 0) tooLarge = pages;
      else {
        this.free(address);
        fits = pages;
      }
    }
    return fits * PAGE;
  }
}

/** Mulberry32 */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Multiples of 4 from 4 to 2²⁰, small ones as often as large ones. */
function mixed(next: () => number): number {
  return 4 * Math.ceil(2 ** (18 * next()));
}

test("the module starts with 16 MiB", () => {
  expect(new Heap().bytes).toBe(16 * MB);
});

test("tensors that grow, each freed before the next, take no more than the largest up to the limit", () => {
  for (const limit of [64 * MB, 2048 * MB]) {
    const heap = new Heap(limit / PAGE);
    let largest = 0;
    for (let n = 1; ; n++) {
      const bytes = n * 2 ** 20;
      const address = heap.take(bytes);
      if (address === 0) break;
      largest = bytes;
      heap.free(address);
      const bound = Math.min(Math.max(16 * MB, largest * SLACK * GROWTH + 2 * PAGE), limit);
      expect(heap.bytes).toBeLessThanOrEqual(bound);
    }
    expect(largest * SLACK).toBeGreaterThan(limit - 2 * MB);
    expect(heap.growths).toBeLessThan(30);
  }
});

test("memory that was filled and freed in random order can be taken whole again", () => {
  const next = random(1);
  const heap = new Heap((96 * MB) / PAGE);
  for (let round = 0; round < 3; round++) {
    while (heap.take(mixed(next)) !== 0);
    expect(heap.bytes).toBe(96 * MB);
    for (const address of shuffled([...heap.live.keys()], next)) heap.free(address);
    expect(heap.largest() * SLACK).toBeGreaterThan(95 * MB);
  }
});

function shuffled<T>(values: T[], next: () => number): T[] {
  for (let i = values.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [values[i], values[j]] = [values[j] as T, values[i] as T];
  }
  return values;
}

test("a million tensors, each freed before the next, leave memory as it was", () => {
  const { exports } = new Heap();
  const before = exports.memory.buffer;
  for (let i = 0; i < 1e6; i++) {
    const bytes = (i * 997) % 100_000;
    const address = exports.allocate(bytes, Contents.Arbitrary) >>> 0;
    if (address === 0) expect.fail(`no room for ${bytes}`);
    exports.release(address, bytes);
  }
  expect(exports.memory.buffer).toBe(before);
});

test("a hundred thousand tensors of mixed sizes, forty live at a time, never grow it", () => {
  const next = random(2);
  const heap = new Heap();
  const live: number[] = [];
  for (let i = 0; i < 1e5; i++) {
    if (live.length === 40) {
      const [address] = live.splice(Math.floor(next() * 40), 1);
      heap.free(address as number);
    }
    const address = heap.take(Math.min(mixed(next), MB / 4));
    if (address === 0) expect.fail("no room");
    live.push(address);
  }
  expect(heap.growths).toBe(0);
  heap.freeAll();
  expect(heap.largest() * SLACK).toBeGreaterThan(15 * MB);
});

test("a thousand tensors of 128 KB grow memory a few times, not a thousand", () => {
  const heap = new Heap();
  for (let i = 0; i < 1000; i++) heap.take(128 * 1024);
  // 16 MiB times 1.25 to the tenth power.
  expect(heap.growths).toBeLessThanOrEqual(10);
  expect(heap.bytes).toBeLessThan(128 * MB * GROWTH);
});

test("near the limit memory grows by less, down to the last page, and seldom", () => {
  const heap = new Heap(512);
  let taken = 0;
  while (heap.take(128 * 1024) !== 0) taken++;
  expect(heap.bytes).toBeGreaterThan(509 * PAGE);
  expect(taken).toBeGreaterThan(0.98 * 256);
  expect(heap.growths).toBeLessThan(12);
  heap.freeAll();

  // A quarter more than there is would be too much.
  const other = new Heap(512);
  const most = 30 * MB;
  expect(other.take(most)).not.toBe(0);
  expect(other.growths).toBe(1);
});

test("what has no room is refused, leaves memory as it was, and all works on", () => {
  const heap = new Heap(512);
  const kept = [1, 2, 3].map((n) => heap.take(n * MB));
  const { bytes } = heap;
  for (const tooMuch of [32 * MB, 2 ** 31 - 64, 2 ** 31, 2 ** 32 - 1]) {
    expect(heap.take(tooMuch)).toBe(0);
  }
  expect(heap.bytes).toBe(bytes);
  expect(heap.take(20 * MB)).not.toBe(0);
  expect(heap.take(20 * MB)).toBe(0);
  for (const address of kept) heap.free(address);
  heap.freeAll();
  expect(heap.take((31 * MB) / SLACK)).not.toBe(0);
});

test("tensors of nearly 2 GiB end there, and memory at 4 GiB", () => {
  const heap = new Heap();
  const most = 2 ** 31 - 64;
  const first = heap.take(most);
  expect(first).not.toBe(0);
  expect(heap.take(2 ** 31)).toBe(0);
  expect(heap.take(most)).toBe(0);
  const second = heap.take(1900 * MB);
  expect(second).toBeGreaterThan(2 ** 31);
  heap.freeAll();
  expect(heap.take(most)).not.toBe(0);
});

test("memory that somebody else grew stays theirs, and what is freed still joins", () => {
  for (const early of [true, false]) {
    const heap = new Heap(2048);
    const { memory } = heap.exports;
    const mine = early ? 0 : heap.take(15 * MB);
    const page = memory.grow(3);
    const theirs = new Uint8Array(memory.buffer, page * PAGE, 3 * PAGE);
    // What was there before the first call is the heap's own.
    if (!early) theirs.fill(7);
    const after = [20, 20, 20].map((n) => heap.take(n * MB));
    expect(after).not.toContain(0);
    if (!early) {
      expect(new Uint8Array(memory.buffer, page * PAGE, 3 * PAGE).every((byte) => byte === 7)).toBe(
        true,
      );
      heap.check(mine);
    }
    heap.freeAll();
    const { growths } = heap;
    expect(heap.take(58 * MB)).not.toBe(0);
    expect(heap.growths).toBe(growths);
  }
});

test("zeroed memory is zero, also where it was used before", () => {
  const heap = new Heap();
  for (let round = 0; round < 3; round++) {
    for (const bytes of [1, 64, 1000, 3 * MB, 20 * MB]) {
      const address = heap.take(bytes, true);
      const values = new Uint8Array(heap.exports.memory.buffer, address, bytes);
      expect(Buffer.compare(values, new Uint8Array(bytes))).toBe(0);
      values.fill(255);
      heap.free(address, false);
    }
  }
});

test("ends of live blocks survive whatever is taken and freed around them", () => {
  const next = random(3);
  const heap = new Heap();
  const live: number[] = [];
  for (let i = 0; i < 20_000; i++) {
    if (next() < 0.5 && live.length > 0) {
      const [address] = live.splice(Math.floor(next() * live.length), 1);
      heap.free(address as number);
    } else {
      live.push(heap.take(mixed(next)));
    }
    if (i % 1000 === 0) for (const address of live) heap.check(address);
  }
  heap.freeAll();
});

test("after a trap the heap is not used again", () => {
  const { exports } = new Heap();
  exports.allocate(64, Contents.Arbitrary);
  const trap = WebAssembly.RuntimeError;
  // Nothing that was ever allocated: behind the end of memory.
  expect(() => exports.release(2 ** 32 - 64, 64)).toThrow(trap);
  expect(() => exports.allocate(64, Contents.Arbitrary)).toThrow(trap);
});

test("the kernel says for which calls it was built", () => {
  expect(new Heap().exports.abi_version()).toBe(Abi.Version);
});
