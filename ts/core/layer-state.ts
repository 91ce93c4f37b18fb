/** What a layer owns: parameters, running statistics and their names. */
import { COUNT, isCount } from "./checks.js";
import { type BatchNormErrorCode, fail, mustBe } from "./errors.js";
import { sizeOf } from "./geometry.js";
import type { Port } from "./kernel.js";
import { readOptions } from "./options.js";
import { Parameter } from "./parameter.js";
import { showShape } from "./show.js";
import {
  type ConvertedEntry,
  type LoadOptions,
  type LoadReport,
  type LoadSettings,
  readCount,
  readLoadOptions,
  readPrefix,
  readVector,
  type SavedStateDict,
  type StateDictOptions,
  type StateDictSource,
} from "./state-dict.js";
import {
  type Entry,
  type EntryNames,
  type Found,
  failForNames,
  findEntries,
  readEntries,
  readNames,
} from "./state-names.js";
import { allocateOwn, Tensor, tensorOf } from "./tensor.js";
import type { Float32Values } from "./values.js";
import { copyOut, type View } from "./view.js";

/** What the vectors begin with. */
const INITIAL = {
  weight: 1,
  bias: 0,
  runningMean: 0,
  runningVar: 1,
  runningStd: 1,
  renormMean: 0,
  renormStd: 1,
};

const LOAD_OPTIONS = ["prefix", "strict", "allowNonFinite", "names"];

type VectorName = keyof typeof INITIAL;

/** What else the vectors go by, of whatever framework: no name is another vector's, too. */
const ALIASES: { readonly [Name in VectorName]?: readonly string[] } = {
  weight: ["weight", "gamma", "scale", "Scale"],
  bias: ["bias", "beta", "B"],
  runningMean: ["running_mean", "moving_mean", "input_mean", "mean"],
  runningVar: ["running_var", "moving_variance", "input_var", "var"],
};

/** Names of a state dict's entries, in a framework. */
export interface StateNames {
  readonly weight: string;
  readonly bias: string;
  readonly runningMean?: string;
  readonly runningVar?: string;
  /** Absent where the framework counts no batches. */
  readonly numBatchesTracked?: string;
  /** Absent where the framework's renorm has no averages of its own. */
  readonly runningStd?: string;
  readonly renormMean?: string;
  readonly renormStd?: string;
}

/** Which vectors a layer has. */
export interface Vectors {
  /** γ. */
  readonly scale: boolean;
  /** β. */
  readonly offset: boolean;
  readonly trackRunningStats: boolean;
  /** Averages that renorm has of its own. */
  readonly renormStats?: boolean;
}

/** Vectors of one value a channel, all of them there or none: a layer is built or not. */
export class LayerState {
  /** Number of channels; `null` before it is built. */
  numFeatures: number | null = null;
  /** Of the vectors, if another than one value a channel. */
  shape: readonly number[] | null = null;
  weight: View | null = null;
  bias: View | null = null;
  runningMean: View | null = null;
  runningVar: View | null = null;
  runningStd: View | null = null;
  renormMean: View | null = null;
  renormStd: View | null = null;
  numBatchesTracked = 0;
  /** Throws with the code unless a layer can have so many channels. */
  fits: ((numFeatures: number, owner: string, code: BatchNormErrorCode) => void) | null = null;

  readonly #port: Port;
  /** Which vectors there are. */
  readonly #has: readonly VectorName[];
  /** What a state dict calls them. */
  readonly entries: EntryNames;
  /** Whether a state dict has the count of batches. */
  readonly #counts: boolean;
  /** How often the vectors were made or given back. */
  changes = 0;

  constructor(port: Port, names: StateNames, vectors: Vectors) {
    const { scale, offset, trackRunningStats, renormStats = false } = vectors;
    const has = {
      weight: scale,
      bias: offset,
      runningMean: trackRunningStats,
      runningVar: trackRunningStats,
      runningStd: renormStats,
      renormMean: renormStats,
      renormStd: renormStats,
    };
    this.#port = port;
    this.#has = (Object.keys(has) as VectorName[]).filter((name) => has[name]);
    this.entries = {
      vectors: this.#has.map((name, i) => {
        const others = ALIASES[name] ?? [];
        return [names[name] as string, ...others, `${i}`, `vars.${i}`];
      }),
      // Of PyTorch; the others have none.
      counter: trackRunningStats ? "num_batches_tracked" : undefined,
    };
    this.#counts = trackRunningStats && names.numBatchesTracked !== undefined;
  }

  /** @throws BatchNormError `invalid-option`, `out-of-memory`, and `code` unless it {@link fits} */
  build(numFeatures: number, owner: string, code: BatchNormErrorCode = "invalid-option"): void {
    if (!isCount(numFeatures)) {
      mustBe("invalid-option", `${owner}: numFeatures`, COUNT, numFeatures);
    }
    this.fits?.(numFeatures, owner, code);
    try {
      for (const name of this.#has) {
        const Kind = name === "weight" || name === "bias" ? Parameter : Tensor;
        this[name] = allocateOwn(Kind, this.#port, this.shape ?? [numFeatures], INITIAL[name]);
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
    this.numFeatures = numFeatures;
    this.changes += 1;
  }

  /** Gives all memory back; it can be built again. */
  dispose(): void {
    for (const name of this.#has) {
      tensorOf(this[name])?.dispose();
      this[name] = null;
    }
    this.numFeatures = null;
    this.changes += 1;
  }

  /** @throws BatchNormError `disposed` where someone has disposed one of the vectors */
  check(owner: string): void {
    if (
      this.weight?.disposed ||
      this.bias?.disposed ||
      this.runningMean?.disposed ||
      this.runningVar?.disposed ||
      this.runningStd?.disposed ||
      this.renormMean?.disposed ||
      this.renormStd?.disposed
    ) {
      fail("disposed", `${owner}: a parameter of the layer was disposed`);
    }
  }

  /**
   * @param axis of the channels, counted from 0
   * @param given how the layer was told; `null` where it can't be
   * @throws BatchNormError `shape-mismatch` unless a shape has as many channels
   */
  checkChannels(shape: readonly number[], axis: number, given: number | null, owner: string): void {
    const { numFeatures } = this;
    if (numFeatures === null || shape[axis] === numFeatures) return;
    const last = shape.length - 1;
    const remedy =
      given === null
        ? ""
        : axis !== last && shape[last] === numFeatures
          ? " (channels last? axis: -1)"
          : axis !== 1 && shape[1] === numFeatures
            ? " (channels first? axis: 1)"
            : "";
    fail(
      "shape-mismatch",
      `${owner}: expected x with ${numFeatures} channels along axis ${given ?? axis}, ` +
        `got ${shape[axis]} in ${showShape(shape)}${remedy}`,
    );
  }

  /** @throws BatchNormError `disposed` */
  zeroGrad(owner: string): void {
    this.check(owner);
    const gradients = [this.weight?.grad, this.bias?.grad].filter((one) => !!one);
    if (gradients.some((gradient) => gradient.disposed)) {
      fail("disposed", `${owner}: a gradient of the layer was disposed`);
    }
    for (const gradient of gradients) fill(gradient, 0);
  }

  resetRunningStats(owner: string): void {
    const learned = this.#has.filter((name) => name !== "weight" && name !== "bias");
    this.#reset(learned, owner);
  }

  resetParameters(owner: string): void {
    this.#reset(this.#has, owner);
  }

  /** @throws BatchNormError `not-built` where there are to be vectors, `disposed`, `invalid-option` */
  toDict(options: StateDictOptions | null | undefined, owner: string): SavedStateDict {
    const prefix = readPrefix(readOptions(owner, options, ["prefix"]).prefix, owner);
    this.check(owner);
    if (this.numFeatures === null && this.#has.length > 0) {
      fail("not-built", `${owner}: no input told the feature count yet`);
    }
    const { vectors, counter } = this.entries;
    const entries = this.#has.map((name, i): [string, Float32Values | number] => [
      prefix + vectors[i]?.[0],
      copyOut(this[name] as View),
    ]);
    if (this.#counts) entries.push([prefix + counter, this.numBatchesTracked]);
    return Object.fromEntries(entries);
  }

  /** @throws BatchNormError as {@link loadStates}; nothing is written then */
  load(dict: StateDictSource, options: LoadOptions | null | undefined, owner: string): LoadReport {
    const { changes } = this;
    const settings = readLoadOptions(options, owner, LOAD_OPTIONS);
    const { prefix } = settings;
    const names = readNames(settings.names, this.entries, owner);
    const all = readEntries(dict, [prefix], owner);
    return loadStates([{ state: this, changes, prefix, names, all }], settings, owner);
  }

  /** Reads what was found of a dict, and may run getters. */
  read({ vectors, counter }: Found, settings: LoadSettings, owner: string): StateRead {
    const { shape } = this;
    const converted: ConvertedEntry[] = [];
    let length = shape ? sizeOf(shape) : this.numFeatures;
    const values = vectors.map((entry, i) => {
      if (!entry) return null;
      const isVariance = this.#has[i] === "runningVar";
      const read = readVector(entry, length, shape, isVariance, settings, converted, owner);
      length = read.length;
      return read;
    });
    const count = counter && readCount(counter, owner);
    // Without vectors there is nothing to build.
    return { converted, values, count, length: values.some(Boolean) ? length : null };
  }

  /** Builds the layer where that is still to be done, and says so. */
  buildFor({ length }: StateRead, owner: string): boolean {
    if (this.numFeatures !== null || length === null) return false;
    if (this.shape)
      fail("not-built", `${owner}: the entries don't tell how many channels there are`);
    this.build(length, owner, "state-dict");
    return true;
  }

  write({ values, count }: StateRead): void {
    this.#has.forEach((name, i) => {
      const one = values[i];
      if (one) tensorOf(this[name] as View).set(one);
    });
    // As PyTorch has it for files without.
    this.numBatchesTracked = count ?? this.numBatchesTracked;
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

/** What was read of a dict for a layer. */
interface StateRead {
  readonly converted: readonly ConvertedEntry[];
  readonly values: readonly (Float32Values | null)[];
  readonly count: number | undefined;
  /** Of a vector, if there is any. */
  readonly length: number | null;
}

/** A layer that is to be loaded. */
export interface Target {
  readonly state: LayerState;
  /** The layer's, before anything of the caller's has run. */
  readonly changes: number;
  readonly prefix: string;
  readonly names: EntryNames;
  /** Of the dict, all that may be the layer's. */
  readonly all: readonly Entry[];
}

/**
 * Sets what layers have from one dict, all or nothing.
 *
 * @throws BatchNormError `state-dict`, `dtype`, `disposed`, `invalid-shape`, `shape-overflow`,
 *   `invalid-option`, `not-built`, `out-of-memory`
 */
export function loadStates(
  layers: readonly Target[],
  settings: LoadSettings,
  owner: string,
): LoadReport {
  const found = layers.map(({ all, names, prefix }) => findEntries(all, names, prefix, owner));
  const missing = found.flatMap((one) => one.missing);
  const unexpected = found.flatMap((one) => one.rest);
  if (settings.strict && missing.length + unexpected.length > 0) {
    failForNames(layers, missing, unexpected, owner);
  }
  const reads = layers.map(({ state }, i) => state.read(found[i] as Found, settings, owner));
  // Reading may run getters, and what these do has to be seen: all checks of layers come after it.
  // What was read is copies: building may detach views of kernel memory.
  for (const { state, changes } of layers) {
    if (changes !== state.changes) {
      fail("state-dict", `${owner}: reading the dict has changed the layer`);
    }
    state.check(owner);
  }
  const built: LayerState[] = [];
  try {
    layers.forEach(({ state }, i) => {
      if (state.buildFor(reads[i] as StateRead, owner)) built.push(state);
    });
  } catch (error) {
    for (const state of built) state.dispose();
    throw error;
  }
  layers.forEach(({ state }, i) => {
    state.write(reads[i] as StateRead);
  });
  return { missing, unexpected, converted: reads.flatMap(({ converted }) => converted) };
}

function fill(vector: View, value: number): void {
  tensorOf(vector).set(new Float32Array(vector.size).fill(value));
}
