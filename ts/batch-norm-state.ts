/** What a batch norm layer owns: parameters, running statistics and their names. */
import { fail, show } from "./errors.js";
import { isCount } from "./geometry.js";
import type { Kernel } from "./kernel.js";
import type { Preset } from "./presets.js";
import {
  type LoadOptions,
  lengthIn,
  readStateDict,
  type SavedStateDict,
  type StateDict,
} from "./state-dict.js";
import { allocateVector, Parameter, Tensor, write } from "./tensor.js";

/** What the vectors begin with. */
const INITIAL = { weight: 1, bias: 0, runningMean: 0, runningVar: 1 };

type VectorName = keyof typeof INITIAL;

/** Vectors of one value a channel, all of them there or none: a layer is built or not. */
export class BatchNormState {
  /** Number of channels; `null` before it is built. */
  numFeatures: number | null = null;
  weight: Parameter | null = null;
  bias: Parameter | null = null;
  runningMean: Tensor | null = null;
  runningVar: Tensor | null = null;
  numBatchesTracked = 0;

  readonly #kernel: Kernel;
  /** Which vectors there are. */
  readonly #has: readonly VectorName[];
  /** What a state dict calls them. */
  readonly #entries: readonly string[];
  /** What it calls the count of batches, if it has one. */
  readonly #counter: string | undefined;

  constructor(kernel: Kernel, names: Preset["names"], has: Record<VectorName, boolean>) {
    this.#kernel = kernel;
    this.#has = (Object.keys(has) as VectorName[]).filter((name) => has[name]);
    this.#entries = this.#has.map((name) => names[name]);
    this.#counter = has.runningMean ? names.numBatchesTracked : undefined;
  }

  /** @throws BatchNormError `invalid-option`, `out-of-memory` */
  build(numFeatures: number, owner: string): void {
    if (!isCount(numFeatures)) {
      fail(
        "invalid-option",
        `${owner}: numFeatures must be a whole number from 0 on, got ${show(numFeatures)}`,
      );
    }
    try {
      for (const name of this.#has) {
        const Kind = name.startsWith("running") ? Tensor : Parameter;
        const vector = allocateVector(Kind, this.#kernel, numFeatures, INITIAL[name]);
        Object.assign(this, { [name]: vector });
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
    this.numFeatures = numFeatures;
  }

  /** Gives all memory back; it can be built again. */
  dispose(): void {
    for (const name of this.#has) this[name]?.dispose();
    this.weight = this.bias = this.runningMean = this.runningVar = null;
    this.numFeatures = null;
  }

  /** @throws BatchNormError `disposed` where someone has disposed one of the vectors */
  check(owner: string): void {
    if (
      this.weight?.disposed ||
      this.bias?.disposed ||
      this.runningMean?.disposed ||
      this.runningVar?.disposed
    ) {
      fail("disposed", `${owner}: a parameter of the layer was disposed`);
    }
  }

  zeroGrad(owner: string): void {
    this.check(owner);
    const gradients = [this.weight?.grad, this.bias?.grad].filter((one) => !!one);
    if (gradients.some((gradient) => gradient.disposed)) {
      fail("disposed", `${owner}: a gradient of the layer was disposed`);
    }
    for (const gradient of gradients) fill(gradient, 0);
  }

  resetRunningStats(owner: string): void {
    this.#reset(["runningMean", "runningVar"], owner);
  }

  resetParameters(owner: string): void {
    this.#reset(this.#has, owner);
  }

  /** @throws BatchNormError `not-built`, `disposed` */
  toDict(prefix: string, owner: string): SavedStateDict {
    this.check(owner);
    if (this.numFeatures === null) {
      fail("not-built", `${owner}: the layer has seen no input to learn its feature count from`);
    }
    const dict: SavedStateDict = {};
    this.#has.forEach((name, i) => {
      dict[prefix + this.#entries[i]] = (this[name] as Tensor).toFloat32Array();
    });
    if (this.#counter !== undefined) dict[prefix + this.#counter] = this.numBatchesTracked;
    return dict;
  }

  /** @throws BatchNormError `state-dict`, `dtype`, `not-built`, `disposed` */
  load(dict: StateDict, options: LoadOptions, owner: string): void {
    this.check(owner);
    const entries = this.#entries;
    const { prefix = "" } = options;
    const length =
      this.numFeatures ??
      entries.map((entry) => lengthIn(dict, prefix + entry)).find((one) => one !== undefined) ??
      fail("not-built", `${owner}: no entry tells the feature count`);
    // Read, and so copied, before building: that may detach views of kernel memory.
    const { vectors, count } = readStateDict(dict, entries, length, this.#counter, options, owner);
    if (this.numFeatures === null) this.build(length, owner);
    this.#has.forEach((name, i) => {
      write(this[name] as Tensor, vectors[i] as ArrayLike<number>);
    });
    this.numBatchesTracked = count;
  }

  /** Sets vectors to what they began with, and forgets the batches. */
  #reset(names: readonly VectorName[], owner: string): void {
    this.check(owner);
    for (const name of names) {
      const vector = this[name];
      if (vector) fill(vector, INITIAL[name]);
    }
    this.numBatchesTracked = 0;
  }
}

function fill(tensor: Tensor, value: number): void {
  write(tensor, new Float32Array(tensor.size).fill(value));
}
