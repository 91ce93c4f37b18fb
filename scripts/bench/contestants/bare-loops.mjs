/**
 * The limit of simd128: the passes of an operation as bare loops over the same bytes, one
 * after the other. See `limits/text.mjs`; whether they compute is tested in `test/bench`.
 *
 * Training is a fold of x and then its map, backward a fold and a map of x and dy,
 * forward-backward all four. A map that follows a fold goes through memory in pieces, from the
 * last to the first, as the kernel does: what the fold left in the cache is used first.
 */
import { bytesOf } from "../cells.mjs";
import { BASE64 } from "../limits/generated.mjs";
import { BARE_LOOPS } from "../limits/names.mjs";
import { TURN } from "../limits/text.mjs";
import { timed } from "./timed.mjs";

/** Where large tensors begin in our kernel's memory, too: at equal places of a page of 4 KB. */
const ALIGNMENT = 4096;
/** Bytes of a piece: long enough for the prefetchers, short enough for a second-level cache. */
const PIECE = 2 ** 20;
/** As in `ours.mjs`: four tensors of this size don't fit, and dx goes where dy was. */
const GIGABYTE = 2 ** 30;
const WASM_PAGE = 2 ** 16;

// Of the size of 1, and maps that contract, so that no value overflows or becomes denormal
// however often it is mapped in place.
const MAP1 = /** @type {const} */ ([0.5, 0.5]);
const MAP2 = /** @type {const} */ ([0.5, 0.125, 0.25, 0.5, 0.5]);
const PIVOTS = /** @type {const} */ ([0.5, 0.25]);

/** @type {import("../contestant.d.ts").Contestant} */
export default {
  name: BARE_LOOPS,
  kind: "limit",
  async start() {
    const module = await compileLoops();
    return {
      version: "",
      refuses: () => undefined,
      prepare: async (cell, data) => prepare(module, cell, data),
    };
  },
};

export function compileLoops() {
  return WebAssembly.compile(Uint8Array.from(atob(BASE64), (letter) => letter.charCodeAt(0)));
}

/**
 * @param {WebAssembly.Module} module
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 * @returns {import("../contestant.d.ts").Prepared}
 */
export function prepare(module, cell, data) {
  const { op } = cell;
  const bytes = Math.ceil(bytesOf(cell) / TURN) * TURN;
  const place = Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
  const { memory, map1, map2, fold1, fold2 } = /** @type {any} */ (
    new WebAssembly.Instance(module).exports
  );
  // The sums lie below all tensors.
  const sums = 0;
  let end = ALIGNMENT;
  const allocate = () => {
    end += place;
    return end - place;
  };
  const backward = op.endsWith("backward");
  const x = allocate();
  const y = op === "inference-in-place" || op === "backward" ? x : allocate();
  const dy = backward ? allocate() : x;
  const dx = backward && bytes < GIGABYTE ? allocate() : dy;
  memory.grow(Math.ceil(end / WASM_PAGE));
  new Float32Array(memory.buffer, x, data.x.length).set(data.x);
  if (backward) new Float32Array(memory.buffer, dy, data.dy.length).set(data.dy);

  const lastFirst = (/** @type {(at: number, length: number) => void} */ map) => {
    for (let at = Math.floor((bytes - 1) / PIECE) * PIECE; at >= 0; at -= PIECE) {
      map(at, Math.min(PIECE, bytes - at));
    }
  };
  const inference = () => map1(x, y, bytes, ...MAP1);
  const training = () => {
    fold1(x, sums, bytes, PIVOTS[0]);
    lastFirst((at, length) => map1(x + at, y + at, length, ...MAP1));
  };
  const gradient = () => {
    fold2(x, dy, sums, bytes, ...PIVOTS);
    lastFirst((at, length) => map2(x + at, dy + at, dx + at, length, ...MAP2));
  };
  const calls = {
    inference,
    "inference-in-place": inference,
    training,
    backward: gradient,
    "forward-backward": () => {
      training();
      gradient();
    },
  };
  const view = (/** @type {number} */ at) => new Float32Array(memory.buffer, at, data.x.length);
  return {
    run: timed(calls[op]),
    outputs: async () => ({
      ...(op === "backward" ? {} : { y: view(y).slice() }),
      ...(backward ? { dx: view(dx).slice() } : {}),
    }),
    dispose() {},
  };
}
