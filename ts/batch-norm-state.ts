/** What a batch norm layer owns: parameters, running statistics and their names. */
import { fail, show } from "./errors.js";
import type { Kernel } from "./kernel.js";
import type { Preset } from "./presets.js";
import {
  type LoadOptions,
  lengthIn,
  readStateDict,
  type SavedStateDict,
  type StateDict,
} from "./state-dict.js";
import { allocateVector, Parameter, Tensor, type VectorKind, write } from "./tensor.js";

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
  readonly #names: Preset["names"];
  readonly #hasWeight: boolean;
  readonly #hasBias: boolean;
  readonly #tracks: boolean;

  constructor(
    kernel: Kernel,
    names: Preset["names"],
    hasWeight: boolean,
    hasBias: boolean,
    tracks: boolean,
  ) {
    this.#kernel = kernel;
    this.#names = names;
    this.#hasWeight = hasWeight;
    this.#hasBias = hasBias;
    this.#tracks = tracks;
  }

  /** @throws BatchNormError `invalid-option`, `out-of-memory` */
  build(numFeatures: number, owner: string): void {
    if (!(Number.isSafeInteger(numFeatures) && numFeatures >= 0)) {
      fail(
        "invalid-option",
        `${owner}: numFeatures must be a whole number from 0 on, got ${show(numFeatures)}`,
      );
    }
    const vector = <T extends Tensor>(Kind: VectorKind<T>, value: number): T =>
      allocateVector(Kind, this.#kernel, numFeatures, value);
    try {
      if (this.#hasWeight) this.weight = vector(Parameter, 1);
      if (this.#hasBias) this.bias = vector(Parameter, 0);
      if (this.#tracks) {
        this.runningMean = vector(Tensor, 0);
        this.runningVar = vector(Tensor, 1);
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
    this.numFeatures = numFeatures;
  }

  /** Gives all memory back; it can be built again. */
  dispose(): void {
    for (const tensor of this.#vectors()) tensor.dispose();
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
    this.check(owner);
    if (this.runningMean) fill(this.runningMean, 0);
    if (this.runningVar) fill(this.runningVar, 1);
    this.numBatchesTracked = 0;
  }

  resetParameters(owner: string): void {
    this.resetRunningStats(owner);
    if (this.weight) fill(this.weight, 1);
    if (this.bias) fill(this.bias, 0);
  }

  /** @throws BatchNormError `not-built`, `disposed` */
  toDict(prefix: string, owner: string): SavedStateDict {
    this.check(owner);
    if (this.numFeatures === null) {
      fail("not-built", `${owner}: the layer has seen no input to learn its feature count from`);
    }
    const dict: SavedStateDict = {};
    const vectors = this.#vectors();
    this.#entryNames().forEach((name, i) => {
      dict[prefix + name] = (vectors[i] as Tensor).toFloat32Array();
    });
    const counter = this.#counterName();
    if (counter !== undefined) dict[prefix + counter] = this.numBatchesTracked;
    return dict;
  }

  /** @throws BatchNormError `state-dict`, `dtype`, `not-built`, `disposed` */
  load(dict: StateDict, options: LoadOptions, owner: string): void {
    this.check(owner);
    const names = this.#entryNames();
    const { prefix = "" } = options;
    const length =
      this.numFeatures ??
      names.map((name) => lengthIn(dict, prefix + name)).find((one) => one !== undefined) ??
      fail("not-built", `${owner}: no entry tells the feature count`);
    // Read, and so copied, before building: that may detach views of kernel memory.
    const counter = this.#counterName();
    const { vectors, count } = readStateDict(dict, names, length, counter, options, owner);
    if (this.numFeatures === null) this.build(length, owner);
    this.#vectors().forEach((tensor, i) => {
      write(tensor, vectors[i] as ArrayLike<number>);
    });
    this.numBatchesTracked = count;
  }

  /** Names of a state dict's vectors. */
  #entryNames(): string[] {
    const { weight, bias, runningMean, runningVar } = this.#names;
    return [
      ...(this.#hasWeight ? [weight] : []),
      ...(this.#hasBias ? [bias] : []),
      ...(this.#tracks ? [runningMean, runningVar] : []),
    ];
  }

  /** The vectors themselves, in the same order. */
  #vectors(): Tensor[] {
    const all = [this.weight, this.bias, this.runningMean, this.runningVar];
    return all.filter((one) => one !== null);
  }

  #counterName(): string | undefined {
    return this.#tracks ? this.#names.numBatchesTracked : undefined;
  }
}

function fill(tensor: Tensor, value: number): void {
  write(tensor, new Float32Array(tensor.size).fill(value));
}
