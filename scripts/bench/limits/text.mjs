/**
 * The bare loops, as WebAssembly text: what simd128 takes for the passes of batch norm over
 * contiguous bytes, with the constants in registers and no channels at all.
 *
 * ```text
 * map1    y  = x·a + b
 * map2    dx = ((dy − e) − (x − c)·k + r)·a
 * fold1   s += x − c,  q += (x − c)²
 * fold2   s += dy − e, p += (x − c)·(dy − e)
 * ```
 *
 * An element's arithmetic is that of the kernel's own formulas (`affine.rs`, `moments.rs`,
 * `co_moments.rs`), so that time above these loops is a matter of structure; `map1` alone has
 * a subtraction less. Each loop is unrolled by what was fastest, or as fast as any: four vectors
 * a turn for maps; two for folds, whose sums would not all stay in registers with four.
 */

/** Bytes of a turn of the longest loop: lengths are multiples of it, and need no remainder. */
export const TURN = 64;

const VECTOR = 16;

/** @typedef {(a: string, b: string) => string} Operator */

/** @type {Operator} */
const add = (a, b) => `(f32x4.add ${a} ${b})`;
/** @type {Operator} */
const sub = (a, b) => `(f32x4.sub ${a} ${b})`;
/** @type {Operator} */
const mul = (a, b) => `(f32x4.mul ${a} ${b})`;

/** @param {string} name */
const get = (name) => `(local.get $${name})`;
/** @type {Operator} */
const set = (name, value) => `(local.set $${name} ${value})`;
/** @param {string} pointer @param {number} vector */
const load = (pointer, vector) => `(v128.load offset=${VECTOR * vector} ${get(pointer)})`;
/** @param {string} pointer @param {number} vector @param {string} value */
const store = (pointer, vector, value) =>
  `(v128.store offset=${VECTOR * vector} ${get(pointer)} ${value})`;

const a = get("a");
const b = get("b");
const c = get("c");
const e = get("e");
const k = get("k");
const r = get("r");

/**
 * @param {string} name
 * @param {object} loop
 * @param {readonly string[]} loop.inputs tensors that are read
 * @param {readonly string[]} loop.constants f32 parameters, spread over a vector before the loop
 * @param {number} loop.unroll vectors of each input in a turn
 * @param {(x: string, dy: string) => string} loop.value of expressions that load
 */
function map(name, { inputs, constants, unroll, value }) {
  const body = repeat(unroll, (i) => store("to", i, value(load("x", i), load("dy", i))));
  return walk(name, { inputs, walked: [...inputs, "to"], constants, unroll, locals: [], body });
}

/**
 * Two sums for each vector of a turn, so that additions don't wait for each other; they are
 * stored one after the other at `to`.
 *
 * @param {string} name
 * @param {object} loop
 * @param {readonly string[]} loop.inputs @param {readonly string[]} loop.constants
 * @param {number} loop.unroll
 * @param {(x: string, dy: string) => string} loop.deviation the first sum is of these
 * @param {(deviation: string, x: string) => string} loop.product the second of these
 */
function fold(name, { inputs, constants, unroll, deviation, product }) {
  const body = repeat(unroll, (i) => {
    const [d, s, q] = [`d${i}`, `s${i}`, `q${i}`];
    return [
      set(d, deviation(load("x", i), load("dy", i))),
      set(s, add(get(s), get(d))),
      set(q, add(get(q), product(get(d), load("x", i)))),
    ].join("\n      ");
  });
  const sums = ["s", "q"].flatMap((sum) => Array.from({ length: unroll }, (_, i) => `${sum}${i}`));
  const locals = [...sums, ...Array.from({ length: unroll }, (_, i) => `d${i}`)];
  const end = sums.map((sum, i) => store("to", i, get(sum))).join("\n    ");
  return walk(name, { inputs, walked: inputs, constants, unroll, locals, body, end });
}

/**
 * A function over `bytes` of its inputs, a turn at a time.
 *
 * @param {string} name
 * @param {object} loop
 * @param {readonly string[]} loop.inputs @param {readonly string[]} loop.walked pointers that move
 * @param {readonly string[]} loop.constants @param {number} loop.unroll
 * @param {readonly string[]} loop.locals vectors, zero at first
 * @param {string} loop.body @param {string} [loop.end]
 */
function walk(name, { inputs, walked, constants, unroll, locals, body, end = "" }) {
  const step = VECTOR * unroll;
  return `  (func (export "${name}")
    ${[...inputs, "to", "bytes"].map((pointer) => `(param $${pointer} i32)`).join(" ")}
    ${constants.map((constant) => `(param $${constant}_ f32)`).join(" ")}
    (local $end i32) ${[...constants, ...locals].map((local) => `(local $${local} v128)`).join(" ")}
    ${constants.map((constant) => set(constant, `(f32x4.splat ${get(`${constant}_`)})`)).join("\n    ")}
    ${set("end", `(i32.add ${get("x")} ${get("bytes")})`)}
    (loop $turn
      ${body}
      ${walked.map((p) => set(p, `(i32.add ${get(p)} (i32.const ${step}))`)).join("\n      ")}
      (br_if $turn (i32.lt_u ${get("x")} ${get("end")})))
    ${end})`;
}

/** @param {number} count @param {(i: number) => string} line */
function repeat(count, line) {
  return Array.from({ length: count }, (_, i) => line(i)).join("\n      ");
}

export const TEXT = `(module
  (memory (export "memory") 0)
${[
  map("map1", {
    inputs: ["x"],
    constants: ["a", "b"],
    unroll: 4,
    value: (x) => add(mul(x, a), b),
  }),
  map("map2", {
    inputs: ["x", "dy"],
    constants: ["c", "k", "e", "r", "a"],
    unroll: 4,
    value: (x, dy) => mul(add(sub(sub(dy, e), mul(sub(x, c), k)), r), a),
  }),
  fold("fold1", {
    inputs: ["x"],
    constants: ["c"],
    unroll: 2,
    deviation: (x) => sub(x, c),
    product: (d) => mul(d, d),
  }),
  fold("fold2", {
    inputs: ["x", "dy"],
    constants: ["c", "e"],
    unroll: 2,
    deviation: (_, dy) => sub(dy, e),
    product: (d, x) => mul(sub(x, c), d),
  }),
].join("\n")})
`;
