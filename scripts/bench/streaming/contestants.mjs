/** Who takes a table in chunk by chunk: means and variances of its columns, and then standardizing. */

/**
 * A build of this package.
 *
 * @typedef {Pick<typeof import("batchnorm-wasm"), "RunningMoments" | "Tensor">} Library
 * @typedef {import("batchnorm-wasm").Kernel} Kernel
 */

/**
 * @typedef {object} Contestant
 * @property {string} name
 * @property {(chunk: Float32Array<ArrayBuffer>) => void} bring the chunk to where it is wanted; not timed
 * @property {() => void} update by the chunk
 * @property {() => void} [normalize] the chunk, by what was seen so far; not where there is no such function
 * @property {() => { mean: ArrayLike<number>, variance: ArrayLike<number> }} moments biased variances
 */

/** @typedef {{ x: import("batchnorm-wasm").Tensor, y: import("batchnorm-wasm").Tensor }} Pair */

/**
 * This package, where the chunk is written into kernel memory by whoever makes it.
 *
 * @param {Library} library @param {Kernel} kernel
 * @param {readonly number[]} lengths rows that a chunk may have
 * @param {number} columns @returns {Contestant}
 */
export function inKernelMemory({ RunningMoments, Tensor }, kernel, lengths, columns) {
  const running = new RunningMoments({ kernel });
  const tensors = new Map(
    lengths.map((rows) => {
      const make = () => Tensor.zeros([rows, columns], { kernel });
      return [rows * columns, { x: make(), y: make() }];
    }),
  );
  let { x, y } = /** @type {Pair} */ (tensors.values().next().value);
  return {
    name: "RunningMoments, tensor",
    bring(chunk) {
      ({ x, y } = /** @type {Pair} */ (tensors.get(chunk.length)));
      x.set(chunk);
    },
    update: () => running.update(x),
    normalize: () => running.normalize(x, { out: y }),
    moments: () => running,
  };
}

/**
 * This package, by arrays, which are copied in, and out as new ones.
 *
 * @param {Library} library @param {Kernel} kernel @param {number} columns
 * @returns {Contestant}
 */
export function byArrays({ RunningMoments }, kernel, columns) {
  const running = new RunningMoments({ kernel });
  let x = { data: new Float32Array(0), shape: [0, columns] };
  return {
    name: "RunningMoments, array",
    bring(chunk) {
      x = { data: chunk, shape: [chunk.length / columns, columns] };
    },
    update: () => running.update(x),
    normalize: () => running.normalize(x),
    moments: () => running,
  };
}

/**
 * Welford's algorithm (1962) row by row, in float64: what one writes without a library.
 *
 * @param {number} longest values of a chunk @param {number} columns @returns {Contestant}
 */
export function welfordLoop(longest, columns) {
  const zeros = () => new Float64Array(columns);
  const [mean, m2, scale] = [zeros(), zeros(), zeros()];
  const out = new Float32Array(longest);
  let x = out;
  let count = 0;
  return {
    name: "Welford loop",
    bring(chunk) {
      x = chunk;
    },
    update() {
      for (let row = 0; row < x.length; row += columns) {
        const share = 1 / ++count;
        for (let c = 0; c < columns; c++) {
          const value = at(x, row + c);
          const before = at(mean, c);
          const after = before + (value - before) * share;
          mean[c] = after;
          m2[c] = at(m2, c) + (value - before) * (value - after);
        }
      }
    },
    normalize() {
      for (let c = 0; c < columns; c++) scale[c] = 1 / (Math.sqrt(at(m2, c) / count) || 1);
      for (let row = 0; row < x.length; row += columns) {
        for (let c = 0; c < columns; c++) {
          out[row + c] = (at(x, row + c) - at(mean, c)) * at(scale, c);
        }
      }
    },
    moments: () => ({ mean, variance: m2.map((value) => value / count) }),
  };
}

/**
 * An accumulator of @stdlib a column, which takes a value at a time.
 *
 * @param {() => (value?: number) => [mean: number, variance: number]} incrmeanvar
 * @param {number} columns @returns {Contestant}
 */
export function stdlibAccumulators(incrmeanvar, columns) {
  const all = Array.from({ length: columns }, () => incrmeanvar());
  let x = new Float32Array(0);
  let count = 0;
  return {
    name: "@stdlib incrmeanvar",
    bring(chunk) {
      x = chunk;
    },
    update() {
      count += x.length / columns;
      for (let c = 0; c < columns; c++) {
        const accumulate = /** @type {(value: number) => void} */ (all[c]);
        for (let i = c; i < x.length; i += columns) accumulate(at(x, i));
      }
    },
    moments: () => ({
      mean: all.map((one) => one()[0]),
      // Theirs is unbiased.
      variance: all.map((one) => (one()[1] * (count - 1)) / count),
    }),
  };
}

/** @param {ArrayLike<number>} values @param {number} i */
function at(values, i) {
  return /** @type {number} */ (values[i]);
}
