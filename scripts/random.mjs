/** A seeded source of numbers (mulberry32): the same on every machine. */
export class Random {
  #state;

  /** @param {number} seed */
  constructor(seed) {
    this.#state = seed | 0;
  }

  /** Uniform from 0 to before 1. */
  uniform() {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 to before `end`. @param {number} end */
  below(end) {
    return Math.floor(this.uniform() * end);
  }

  /** True once in `n` times. @param {number} n */
  oneIn(n) {
    return this.below(n) === 0;
  }

  /** One of these. @template T @param {readonly T[]} from */
  pick(from) {
    return /** @type {T} */ (from[this.below(from.length)]);
  }

  /** Box & Muller, 1958. */
  normal(mean = 0, std = 1) {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return mean + std * (radius * Math.cos(2 * Math.PI * this.uniform()));
  }

  /** @param {number} length */
  normals(length, mean = 0, std = 1) {
    return Float32Array.from({ length }, () => this.normal(mean, std));
  }
}
