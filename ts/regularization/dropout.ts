/**
 * Inverted dropout (Srivastava et al. 2014, JMLR 15).
 *
 * ```text
 * y = m·x/(1 − p)     m: 0 with probability p, else 1     dx = m·dy/(1 − p)
 * ```
 *
 * m is a function of the seed and of an element's number, so that the backward pass needs no mask: it
 * is the same function of dy.
 */
import { bringIn, portOfCall, readOut, readTensor, roomFor, takeOut } from "../core/arguments.js";
import { checkPart, isCount } from "../core/checks.js";
import type { KernelOption } from "../core/default-kernel.js";
import { mustBe } from "../core/errors.js";
import { checkOperands, Place } from "../core/operands.js";
import { readOptions } from "../core/options.js";
import type { PlainResult, PlainTensor } from "../core/plain.js";
import { allocate, type Tensor, tensorOf } from "../core/tensor.js";
import { floats } from "../core/values.js";
import { copyOut } from "../core/view.js";
import { Contents } from "../generated/abi.js";

/** Options of {@link dropout} and {@link dropoutBackward}. */
export interface DropoutOptions extends KernelOption {
  /** p: which part of the elements becomes 0, from 0 to less than 1; default 0.5. */
  rate?: number | null | undefined;
  /** A whole number from 0 to 2³² − 1, another one for each step. */
  seed: number;
  /** Where to write: a tensor of x's shape, x itself for in place. */
  out?: Tensor | null | undefined;
}

/**
 * Sets a part of the elements to zero, by chance that the seed determines, and scales the others up so
 * that their sum is expected to be the same.
 *
 * @param x any shape; `{ data, shape }` is copied in, and y out
 * @returns y (`out`, or a new tensor of x's shape)
 * @throws BatchNormError `invalid-option`, `unknown-option`, `dtype`, `shape-mismatch`, `overlap`,
 *   `disposed`, `foreign-kernel`, `out-of-memory`
 *
 * @example
 * dropout(x, { rate: 0.5, seed: 7 });   // → Tensor([2, 3]) { 0, 4, 0, 0, 12, 0 }
 */
export function dropout(x: Tensor, options: DropoutOptions): Tensor;
export function dropout(x: PlainTensor, options: DropoutOptions): PlainResult;
export function dropout(x: Tensor | PlainTensor, options: DropoutOptions): Tensor | PlainResult;
export function dropout(x: Tensor | PlainTensor, options: DropoutOptions): Tensor | PlainResult {
  return run("dropout", "x", x, options);
}

/**
 * The gradient of {@link dropout}, by the same rate and seed.
 *
 * @param dy of x's shape
 * @returns dx (`out`, or a new tensor)
 * @throws BatchNormError as {@link dropout}
 *
 * @example
 * dropoutBackward(dy, { rate: 0.5, seed: 7 });   // → Tensor([2, 3]) { 0, 2, 0, 0, 8, 0 }
 */
export function dropoutBackward(dy: Tensor, options: DropoutOptions): Tensor;
export function dropoutBackward(dy: PlainTensor, options: DropoutOptions): PlainResult;
export function dropoutBackward(
  dy: Tensor | PlainTensor,
  options: DropoutOptions,
): Tensor | PlainResult;
export function dropoutBackward(
  dy: Tensor | PlainTensor,
  options: DropoutOptions,
): Tensor | PlainResult {
  return run("dropoutBackward", "dy", dy, options);
}

function run(
  owner: string,
  name: string,
  x: unknown,
  options: DropoutOptions,
): Tensor | PlainResult {
  const given = readOptions(owner, options, ["rate", "seed", "out", "kernel"]);
  const rate = given.rate ?? 0.5;
  const { seed } = given;
  checkPart(rate, owner, "rate");
  if (!(isCount(seed) && seed < 2 ** 32)) {
    mustBe("invalid-option", `${owner}: seed`, "a whole number from 0 to 2³² − 1", seed);
  }
  const port = portOfCall(x, given, owner);
  const read = readTensor(x, port, owner, name);
  const out = readOut(given.out, read, owner);
  const view = bringIn(read, port);
  try {
    checkOperands([name, "", "out"], owner, view, 0, [[Place.OUT, out]]);
    const room = roomFor(view, read, owner);
    // What JavaScript has no room for is to be known before there is an output.
    const copy = view.contiguous ? null : copyOut(view);
    const apart = out && !out.contiguous ? floats(view.size, owner) : null;
    const y = out ?? allocate(port, view.shape, Contents.Arbitrary);
    drop(copy ?? view.elements, apart ?? y.elements, rate, seed);
    if (apart) tensorOf(y).set(apart);
    else y.wrote();
    return takeOut(y, read, room);
  } finally {
    if (view !== read) view.dispose();
  }
}

/** A loop of its own, over locals alone: as a closure it takes five times as long. */
function drop(from: Float32Array, to: Float32Array, rate: number, seed: number): void {
  const start = mixed(seed ^ 0x9e3779b9);
  const least = rate * 2 ** 32;
  const scale = 1 / (1 - rate);
  const bits = new Int32Array(to.buffer, to.byteOffset, to.length);
  for (let i = 0; i < to.length; i++) {
    to[i] = (from[i] as number) * scale;
    // No branch: it would be foreseen half of the time, and take seven times as long.
    bits[i] = (bits[i] as number) & -(mixed(start ^ i) >>> 0 >= least);
  }
}

/** 32 bits that look like chance: the finalizer of MurmurHash3, of the seed and then of the element. */
function mixed(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
