/**
 * What accuracy is looked at on: values of one channel, in the order in which they lie
 * in memory, whatever the layout. Each is chosen to break some way of computing moments.
 */

/** @typedef {import("../../random.mjs").Random} Random */

/**
 * The i-th of a channel's n values.
 *
 * @typedef {(i: number, n: number, random: Random) => number} Values
 */

/** @param {number} mean @param {number} std @returns {Values} */
const normal = (mean, std) => (_i, _n, random) => mean + std * random.normal();

/** @param {number} value @returns {Values} */
const constant = (value) => () => value;

/** Values that most kernels take as one block or a few. */
const BLOCK = 1024;

/**
 * A walk that forgets slowly, as neighbouring pixels are alike: each value is its
 * predecessor's 0.99 and something new.
 *
 * @returns {Values}
 */
function correlated() {
  let last = 0;
  return (i, _n, random) => {
    last = i === 0 ? random.normal() : 0.99 * last + Math.sqrt(1 - 0.99 ** 2) * random.normal();
    return 3 + last;
  };
}

/**
 * @typedef {object} Distribution
 * @property {string} name
 * @property {() => Values} x
 * @property {() => Values} [dy] default standard normal
 * @property {number} [eps] default 1e-5
 */

const x = (/** @type {string} */ name, /** @type {Values} */ values, eps = 1e-5) => ({
  name,
  x: () => values,
  eps,
});

/** @type {Distribution} */
export const STANDARD = x("standard normal", normal(0, 1));

/** @type {Distribution} */
export const OFFSET = x("mean 1e3, std 1", normal(1e3, 1));

/** @type {readonly Distribution[]} */
export const DISTRIBUTIONS = [
  STANDARD,
  x("mean 1e2, std 1", normal(1e2, 1)),
  x("mean 1e4, std 1", normal(1e4, 1)),
  x("mean 1e5, std 1", normal(1e5, 1)),
  x("mean 1e6, std 1", normal(1e6, 1)),
  x("mean 1e7, std 1", normal(1e7, 1)),
  x("mean 1, std 1e-6", normal(1, 1e-6)),
  x("mean 1, std 1e-6, eps 1e-14", normal(1, 1e-6), 1e-14),
  x("mean 0, std 1e-20", normal(0, 1e-20)),
  x("mean 0, std 1e-18, eps 1e-37", normal(0, 1e-18), 1e-37),
  x("constant 12345.678", constant(12345.678)),
  x("constant 0", constant(0)),
  x("constant 1e-30", constant(1e-30)),
  x("std 1e18", normal(0, 1e18)),
  x("denormal, std 1e-40", normal(0, 1e-40)),
  x("1e6 first, then standard normal", (i, _n, random) => (i === 0 ? 1e6 : random.normal())),
  x("ReLU of standard normal", (_i, _n, random) => Math.max(0, random.normal())),
  x("ramp from 0 to 1000", (i, n) => (1000 * i) / n),
  x("first 1024 around 1000", (i, _n, random) => (i < BLOCK ? 1000 : 0) + random.normal()),
  { name: "correlated neighbours", x: correlated },
  { ...STANDARD, name: "dy: mean 1e4, std 1", dy: () => normal(1e4, 1) },
  {
    ...x("mean 1e4, std 1; dy too", normal(1e4, 1)),
    dy: () => normal(1e4, 1),
  },
  {
    ...STANDARD,
    name: "dy: 1 in 100, else 0",
    dy: () => (_i, _n, random) => (random.uniform() < 0.01 ? random.normal() : 0),
  },
];
