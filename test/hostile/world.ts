/**
 * What is known of everything alive: each storage's bytes, each tensor's place, each
 * layer's state. After each call the two are compared, whole.
 */
import {
  type BatchNorm,
  BatchNormError,
  batchNormInference,
  createKernel,
  defaultKernel,
  type GroupNorm,
  type Kernel,
  type MemoryUsage,
  memoryUsage,
  type Parameter,
  type SampleNorm,
  Tensor,
} from "batchnorm-wasm";
import type { Random } from "../../scripts/random.mjs";
import { limited } from "../limited.js";
import { newCrew } from "../threads/crewed.js";
import { describe, marker } from "./values.js";

/** A broken promise. Faults with one label are one fault. */
export class Fault extends Error {
  constructor(
    readonly label: string,
    detail = "",
  ) {
    super(detail ? `${label}: ${detail}` : label);
  }
}

/** Memory of one storage, and what it must hold. */
class Region {
  /** Rises with each write that was expected. */
  version = 0;
  /** Live tensors over it. */
  views = 0;
  readonly mirror: Float32Array;
  readonly #mirrorBytes: Buffer;
  #live = new Float32Array(0);
  #liveBytes = Buffer.alloc(0);

  constructor(
    readonly home: Home,
    readonly name: string,
    /** Of the first byte. */
    readonly address: number,
    readonly length: number,
  ) {
    this.mirror = new Float32Array(length);
    this.#mirrorBytes = Buffer.from(this.mirror.buffer);
    this.mirror.set(this.live());
    this.#liveBytes.copy(this.#mirrorBytes);
  }

  /** What the memory holds now. */
  live(): Float32Array {
    const { buffer } = this.home;
    if (this.#live.buffer !== buffer) {
      this.#live = new Float32Array(buffer, this.address, this.length);
      this.#liveBytes = Buffer.from(buffer, this.address, this.length * 4);
    }
    return this.#live;
  }

  /** Whether the memory holds what it must. */
  intact(): boolean {
    this.live();
    return this.#liveBytes.equals(this.#mirrorBytes);
  }

  /** These elements may have changed, or must have. */
  accept(places: Int32Array): void {
    const from = new Uint32Array(this.live().buffer, this.address, this.length);
    const to = new Uint32Array(this.mirror.buffer);
    for (const place of places) to[place] = from[place] as number;
    this.version += 1;
  }

  /** The first element that has changed. */
  changed(): number {
    const [a, b] = [this.live(), this.mirror].map(
      (one) => new Uint32Array(one.buffer, one.byteOffset, one.length),
    ) as [Uint32Array, Uint32Array];
    return a.findIndex((bits, i) => bits !== b[i]);
  }
}

/** A kernel, what lives in its memory, and a call whose result is known. */
export class Home {
  readonly regions = new Set<Region>();
  /** What is in use before anything else is made. */
  usage: Usage = NOTHING;
  readonly #x: Tensor;
  readonly #y: Tensor;
  readonly #options: Parameters<typeof batchNormInference>[1];

  constructor(
    readonly kernel: Kernel,
    readonly code: string,
  ) {
    const one = { kernel };
    this.#x = Tensor.from([1, 10, 3, 30], [2, 2], one);
    this.#y = Tensor.zeros([2, 2], one);
    const [mean, variance] = [Tensor.from([2, 20], [2], one), Tensor.from([4, 16], [2], one)];
    this.#options = { mean, variance, eps: 0, out: this.#y };
    this.canary();
    this.clear();
  }

  /** Nothing but what is here already counts from now on. */
  clear(): void {
    this.regions.clear();
    this.usage = memoryUsage({ kernel: this.kernel });
  }

  /** The buffer of the memory: another one when it has grown. */
  get buffer(): ArrayBuffer {
    return this.#x.data.buffer as ArrayBuffer;
  }

  /** The kernel still computes. */
  canary(): void {
    try {
      this.#y.data.fill(0);
      batchNormInference(this.#x, this.#options);
    } catch (error) {
      throw new Fault("the kernel is dead", String(error));
    }
    const got = this.#y.data.join();
    if (got !== "-0.5,-2.5,0.5,2.5") throw new Fault("the kernel computes wrongly", got);
  }
}

/** A tensor as it must be. */
export interface TensorModel {
  readonly name: string;
  readonly tensor: Tensor;
  readonly region: Region;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
  /** Its elements in row-major order, as places in the region. */
  readonly places: Int32Array;
  disposed: boolean;
}

/** Saved values that somebody has; each norm knows more of its own. */
export interface RecordModel {
  readonly name: string;
  readonly record: Saved;
  /** Whether a later forward pass of a layer has taken its place, where that is known. */
  superseded?: boolean | "perhaps";
  disposed: boolean;
  /** Looks at what one of its accessors has told; throws a {@link Fault}. */
  told?(field: string, value: unknown): void;
}

/** What the saved values of every norm are. */
interface Saved {
  readonly disposed: boolean;
  dispose(): void;
}

/** Layers of every norm. */
type AnyLayer = BatchNorm | SampleNorm;

export interface LayerModel<L extends AnyLayer = BatchNorm> {
  readonly name: string;
  readonly layer: L;
  readonly home: Home;
  readonly preset: string;
  /** What `readLayer` must read. */
  state: Record<string, unknown>;
  disposed: boolean;
}

/** What is expected of a call. */
interface Plan {
  /** It must not throw. */
  readonly valid?: boolean;
  /** What it may write where it returns. */
  readonly writes?: readonly TensorModel[];
  /** What it reads: unchanged, but for what is also `inPlace`. */
  readonly reads?: readonly TensorModel[];
  /** Exactly these elements may be read and written. */
  readonly inPlace?: TensorModel | null;
  /** Whether getters may have given others than these. */
  readonly ambiguous?: boolean;
  readonly layer?: LayerModel<AnyLayer> | null;
  /** More layers, of which all that is said of `layer` holds. */
  readonly others?: readonly LayerModel[];
  /** Vectors of the layer that may be written, also those that it has only now. */
  readonly writesVectors?: readonly string[];
  /** What of the layer's state may be another. */
  readonly changes?: readonly string[];
  /** Error codes that are a fault here. */
  readonly never?: readonly string[];
  /** It may free what calls inside of it have made. */
  readonly frees?: boolean;
  readonly threw?: () => void;
  /** Looks at the result before the writes are accepted; throws a {@link Fault}. */
  readonly returned?: (result: never) => void;
}

const layersOf = ({ layer, others = [] }: Plan) => (layer ? [layer, ...others] : others);

/** What was before a call. */
interface Begun {
  readonly before: Usage[];
  readonly outer: Usage[];
}

/** How a call ended. */
interface End {
  readonly threw: boolean;
  readonly result?: unknown;
  readonly error?: unknown;
}

const FIELDS = [
  ...["training", "eps", "momentum", "axis", "axes", "numFeatures", "numChannels"],
  ...["normalizedShape", "numBatchesTracked"],
  ...["statistics", "updateRunningStats", "requiresGrad", "trainable", "virtualBatchSize"],
  ...["renorm", "activation", "negativeSlope"],
  ...["weight", "bias", "runningMean", "runningVar"],
];

function readLayer(layer: AnyLayer): Record<string, unknown> {
  const state: Record<string, unknown> = {};
  for (const name of FIELDS) state[name] = (layer as unknown as Record<string, unknown>)[name];
  state.weightGrad = (state.weight as Parameter | null)?.grad;
  state.biasGrad = (state.bias as Parameter | null)?.grad;
  return state;
}

/** The same value, or the same numbers. */
const isSame = (a: unknown, b: unknown) =>
  Object.is(a, b) || (Array.isArray(a) && Array.isArray(b) && `${a}` === `${b}`);

/** Tensors of a layer, by their field. */
export const VECTORS = ["weight", "bias", "runningMean", "runningVar", "weightGrad", "biasGrad"];

type Usage = Pick<MemoryUsage, "liveBytes" | "liveStorages">;

const NOTHING: Usage = { liveBytes: 0, liveStorages: 0 };

function plus(a: Usage = NOTHING, b: Usage = NOTHING): Usage {
  return {
    liveBytes: a.liveBytes + b.liveBytes,
    liveStorages: a.liveStorages + b.liveStorages,
  };
}

function minus(a: Usage, b: Usage = NOTHING): Usage {
  return plus(a, { liveBytes: -b.liveBytes, liveStorages: -b.liveStorages });
}

let foreign: Home | undefined;

// Small at first, so that memory grows and a thousand kernels are no burden.
const growing = limited(4, 1024);
const tight = limited(4, 8);

/** A kernel of a world: where THREADS is set, over shared memory, as the entry with threads has. */
function newKernel(crowded: boolean) {
  if (process.env.THREADS && !crowded) return newCrew().kernel;
  return createKernel(crowded ? tight : growing);
}

/** How a call is made: as a caller would write it, or not. */
export type Manner = "mild" | "hostile";

export class World {
  readonly home: Home;
  /** The default kernel, which lives as long as the process. */
  readonly foreign: Home;
  readonly tensors: TensorModel[] = [];
  readonly layers: LayerModel[] = [];
  readonly sampleLayers: LayerModel<SampleNorm>[] = [];
  readonly records: RecordModel[] = [];
  /** Layers whose passes are for somebody else just now: they move nothing. */
  readonly watched = new Set<LayerModel>();
  /** What else is to be disposed at the end. */
  readonly more: { dispose(): void }[] = [];
  readonly modelOf = new Map<unknown, TensorModel>();
  /** The program so far. */
  log: (() => string)[] = [];
  /** Names that it uses. */
  readonly names: string[] = [];
  /** Calls that are not yet over: getters call in again. */
  depth = 0;
  calls = 0;
  /** Calls that did not throw. */
  returned = 0;
  /** The kind of the current call. */
  kind = "set-up";
  /** Makes a call inside of the current one. */
  inside: (seed: number, log: (() => string)[]) => void = () => {};
  #fault: Fault | undefined;
  /** What calls inside of the current one took of each kernel's memory. */
  #inner: Usage[] = [NOTHING, NOTHING];

  /** @param crowded whether the memory is small and will be full */
  constructor(readonly crowded: boolean) {
    this.home = new Home(newKernel(crowded), "k");
    foreign ??= new Home(defaultKernel(), "defaultKernel()");
    this.foreign = foreign;
    // What a sequence that broke off has left there.
    foreign.clear();
  }

  /** Takes nearly all memory, so that calls fail for want of it. */
  crowd(random: Random): void {
    const all: Tensor[] = [];
    for (const size of [16384, 4096, 256]) {
      try {
        for (;;) all.push(Tensor.zeros([size / 4], { kernel: this.home.kernel }));
      } catch (error) {
        if ((error as BatchNormError).code !== "out-of-memory") throw error;
      }
    }
    const keep = random.below(all.length);
    for (const one of all.slice(keep, keep + random.below(8))) one.dispose();
    this.log.push(() => "// nearly all of k's memory is taken");
    this.#ballast = all;
  }

  #ballast: Tensor[] = [];

  /** Those of one norm, whose class this is. */
  recordsOf<R extends RecordModel>(Saved: abstract new (...all: never[]) => R["record"]): R[] {
    return this.records.filter((one): one is R => one.record instanceof Saved);
  }

  name(prefix: string): string {
    const name = `${prefix}${this.names.length + 1}`;
    this.names.push(name);
    return name;
  }

  live(): TensorModel[] {
    return this.tensors.filter((one) => !one.disposed);
  }

  pick<T extends { disposed: boolean }>(
    random: Random,
    from: readonly T[],
    which: (one: T) => boolean = () => true,
  ): T | undefined {
    const fit = from.filter((one) => !one.disposed && which(one));
    return fit.length > 0 ? random.pick(fit) : undefined;
  }

  /** A tensor over a storage of its own that the library has made. */
  adopt(tensor: Tensor, shape: readonly number[], name: string): TensorModel {
    const known = this.modelOf.get(tensor);
    if (known) return known;
    if (!(tensor instanceof Tensor)) throw new Fault("no tensor came back", name);
    const home = tensor.data.buffer === this.home.buffer ? this.home : this.foreign;
    const { byteOffset, length } = tensor.data;
    for (const other of home.regions) {
      const apart =
        byteOffset + length * 4 <= other.address ||
        other.address + other.length * 4 <= byteOffset ||
        length * other.length === 0;
      if (!apart) throw new Fault("two storages share memory", `${name} and ${other.name}`);
    }
    const region = new Region(home, name, byteOffset, length);
    home.regions.add(region);
    return this.view(tensor, region, [...shape], rowMajor(shape), 0, name);
  }

  /** A tensor over a known storage. */
  view(
    tensor: Tensor,
    region: Region,
    shape: readonly number[],
    strides: readonly number[],
    offset: number,
    name: string,
  ): TensorModel {
    const same = (a: readonly number[], b: readonly number[]) =>
      a.length === b.length && a.every((value, i) => value === b[i]);
    if (!same(tensor.shape, shape)) {
      throw new Fault("a tensor has another shape", `${name} ${tensor.shape}, not ${shape}`);
    }
    // Before its places are written down: a shape that is wrong may have more than an array can.
    const last = shape.reduce(
      (at, size, axis) => at + (size - 1) * (strides[axis] as number),
      offset,
    );
    if (!shape.includes(0) && !(offset >= 0 && last < region.length)) {
      throw new Fault("a tensor leaves its storage", `${name} [${shape}] in ${region.name}`);
    }
    const places = placesOf(shape, strides, offset);
    if (tensor.size !== places.length) {
      throw new Fault("a tensor has another size", `${name} ${tensor.size}, not ${places.length}`);
    }
    const model = { name, tensor, region, shape, strides, offset, places, disposed: false };
    region.views += 1;
    this.tensors.push(model);
    this.modelOf.set(tensor, model);
    return model;
  }

  get everyLayer(): readonly LayerModel<AnyLayer>[] {
    return [...this.layers, ...this.sampleLayers];
  }

  adoptLayer(layer: BatchNorm, preset: string, name: string): LayerModel {
    const model = this.#modelOfLayer(layer, preset, name);
    this.layers.push(model);
    return model;
  }

  adoptSampleLayer(layer: SampleNorm, preset: string, name: string): LayerModel<SampleNorm> {
    const model = this.#modelOfLayer(layer, preset, name);
    this.sampleLayers.push(model);
    return model;
  }

  #modelOfLayer<L extends AnyLayer>(layer: L, preset: string, name: string): LayerModel<L> {
    const home = layer.kernel === this.home.kernel ? this.home : this.foreign;
    const state = readLayer(layer);
    const model = { name, layer, home, preset, state, disposed: false };
    this.#adoptVectors(model);
    return model;
  }

  /** This tensor and what it takes along are gone. */
  gone(model: TensorModel | undefined): void {
    if (!model || model.disposed) return;
    model.disposed = true;
    const { region } = model;
    region.views -= 1;
    if (region.views === 0) region.home.regions.delete(region);
    const gradient = (model.tensor as Parameter).grad as unknown;
    if (gradient instanceof Tensor) this.gone(this.modelOf.get(gradient));
  }

  goneLayer(model: LayerModel<AnyLayer>): void {
    for (const name of VECTORS) this.gone(this.modelOf.get(model.state[name]));
    model.disposed = true;
  }

  /** What a tensor must hold, in row-major order. */
  values({ region, places }: TensorModel): Float32Array {
    const values = new Float32Array(places.length);
    const from = new Uint32Array(region.mirror.buffer);
    const to = new Uint32Array(values.buffer);
    for (let i = 0; i < places.length; i++) to[i] = from[places[i] as number] as number;
    return values;
  }

  /** What a tensor holds now. */
  now({ region, places }: TensorModel): Float32Array {
    const live = bits(region.live());
    // As bits: numbers may lose a NaN's payload.
    return new Float32Array(Uint32Array.from(places, (place) => live[place] as number).buffer);
  }

  /** Makes a call and compares everything with what is expected of it. */
  attempt(code: () => string, run: () => unknown, plan: Plan = {}): unknown {
    const begun = this.#begin(code);
    let end: End;
    try {
      end = { result: run(), threw: false };
    } catch (error) {
      end = { error, threw: true };
    } finally {
      this.depth -= 1;
    }
    return this.#compare(begun, end, plan);
  }

  /** The same with a call that gives a promise. */
  async attemptLater(code: () => string, run: () => Promise<unknown>, plan: Plan): Promise<void> {
    const begun = this.#begin(code);
    let end: End;
    try {
      end = { result: await run(), threw: false };
    } catch (error) {
      end = { error, threw: true };
    } finally {
      this.depth -= 1;
    }
    this.#compare(begun, end, plan);
  }

  #begin(code: () => string): Begun {
    this.log.push(code);
    const begun = { before: this.#usages(), outer: this.#inner };
    this.#inner = [NOTHING, NOTHING];
    this.calls += 1;
    this.depth += 1;
    return begun;
  }

  #compare({ before, outer }: Begun, { result, error, threw }: End, plan: Plan): unknown {
    if (this.#fault) throw this.#fault;
    try {
      if (error instanceof Fault) throw error;
      // What was written comes first: it is worse than how that was said.
      if (!threw) this.returned += 1;
      if (threw) plan.threw?.();
      else this.#checkReturned(result as never, plan);
      this.check();
      if (threw) this.#checkError(error, plan, before);
    } catch (broken) {
      this.#fault =
        broken instanceof Fault
          ? broken
          : new Fault("what a call left can't be looked at", describeError(broken));
      throw this.#fault;
    }
    // What came and went here is not the doing of the call around this one.
    this.#inner = this.#usages().map((now, i) => plus(outer[i], minus(now, before[i])));
    if (this.depth === 0) this.#inner = [NOTHING, NOTHING];
    if (threw && error === marker) return undefined;
    return threw ? error : result;
  }

  #usages(): Usage[] {
    return [this.home, this.foreign].map(({ kernel }) => memoryUsage({ kernel }));
  }

  #checkError(error: unknown, plan: Plan, before: Usage[]): void {
    if (!(error instanceof BatchNormError) && error !== marker) {
      throw new Fault(`untyped ${describeError(error)}`);
    }
    if (error instanceof BatchNormError) {
      const { code, message } = error;
      const full = this.crowded && code === "out-of-memory";
      if (plan.valid && !full) throw new Fault(`a valid call throws ${code}`, message);
      if (plan.never?.includes(code)) throw new Fault(`a call throws ${code}`, message);
      if (message.length > 3000) throw new Fault("a long message", `${message.length} characters`);
    }
    if (plan.frees) return;
    this.#usages().forEach((now, i) => {
      const { liveBytes, liveStorages } = minus(minus(now, before[i]), this.#inner[i]);
      if (liveBytes === 0 && liveStorages === 0) return;
      throw new Fault("memory is kept after an error", `${liveStorages} storages; ${error}`);
    });
  }

  #checkReturned(result: never, plan: Plan): void {
    const writes = [...(plan.writes ?? [])];
    for (const one of [...(plan.reads ?? []), ...writes]) {
      if (one.disposed && !plan.ambiguous) throw new Fault("a disposed tensor is used", one.name);
    }
    plan.returned?.(result);
    const { inPlace } = plan;
    for (const read of plan.reads ?? []) {
      if ((inPlace && sameElements(read, inPlace)) || plan.ambiguous) continue;
      const [now, was] = [bits(this.now(read)), bits(this.values(read))];
      const changed = now.findIndex((bits, i) => bits !== was[i]);
      if (changed >= 0) throw new Fault("an input is overwritten", `${read.name}[${changed}]`);
    }
    for (const { state } of layersOf(plan)) {
      for (const name of plan.writesVectors ?? []) {
        const vector = this.modelOf.get(state[name]);
        if (vector && !writes.includes(vector)) writes.push(vector);
      }
    }
    for (const written of writes) written.region.accept(written.places);
    for (const layer of layersOf(plan)) this.#refresh(layer, plan.changes ?? []);
  }

  #refresh(model: LayerModel<AnyLayer>, changes: readonly string[]): void {
    const state = readLayer(model.layer);
    for (const name of Object.keys(state)) {
      if (changes.includes(name) || isSame(state[name], model.state[name])) continue;
      throw new Fault(`a layer's ${name} changed`, model.name);
    }
    for (const name of VECTORS) {
      const old = this.modelOf.get(model.state[name]);
      if (state[name] !== model.state[name] && old?.tensor.disposed) this.gone(old);
    }
    model.state = state;
    this.#adoptVectors(model);
  }

  #adoptVectors({ name, state, preset, layer }: LayerModel<AnyLayer>): void {
    const groups = preset === "onnx18" ? (layer as GroupNorm).numGroups : null;
    for (const field of VECTORS) {
      const tensor = state[field];
      if (!(tensor instanceof Tensor) || this.modelOf.has(tensor)) continue;
      const path = field.endsWith("Grad") ? `${field.slice(0, -4)}.grad` : field;
      // What a dict told of rows, of which no input has come yet, is a vector.
      const shape = state.normalizedShape ?? [
        groups ?? state.numFeatures ?? state.numChannels ?? tensor.size,
      ];
      this.adopt(tensor, shape as number[], `${name}.${path}`);
    }
  }

  /** Compares all that is known with what is. */
  check(): void {
    for (const home of [this.home, this.foreign]) {
      for (const region of home.regions) {
        if (region.intact()) continue;
        const place = region.changed();
        throw new Fault(
          "memory is written that no call named",
          `${region.name}[${place}] is ${region.live()[place]}, was ${region.mirror[place]}`,
        );
      }
    }
    for (const { tensor, disposed, name } of this.tensors) {
      if (tensor.disposed === disposed) continue;
      throw new Fault(disposed ? "a tensor is not disposed" : "a live tensor is disposed", name);
    }
    for (const { layer, state, disposed, name } of this.everyLayer) {
      if (disposed) continue;
      const now = readLayer(layer);
      for (const field of Object.keys(now)) {
        if (isSame(now[field], state[field])) continue;
        throw new Fault(`a layer's ${field} changed`, `${name}: ${describe(now[field])}`);
      }
    }
    if (this.calls % 8 === 0) this.home.canary();
  }

  /** Disposes all, and expects that nothing is left. */
  end(): void {
    this.log.push(() => "// everything is disposed");
    for (const { layer } of this.everyLayer) layer.dispose();
    for (const { record } of this.records) record.dispose();
    for (const one of this.more) one.dispose();
    for (const { tensor } of this.tensors) tensor.dispose();
    for (const one of this.#ballast) one.dispose();
    for (const home of [this.home, this.foreign]) {
      home.canary();
      const { liveBytes, liveStorages } = minus(memoryUsage({ kernel: home.kernel }), home.usage);
      if (liveStorages === 0 && liveBytes === 0) continue;
      throw new Fault("memory is left at the end", `${liveStorages} storages, ${liveBytes} bytes`);
    }
  }
}

/** An error that should not have been: what, and where in the package. */
function describeError(error: unknown): string {
  const { name, message, stack } = error as Error;
  const [, at] = /\/ts\/(\S+\.ts:\d+)/.exec(stack ?? "") ?? [];
  return `${name} at ${at}: ${message}`.slice(0, 200);
}

export function rowMajor(shape: readonly number[]): number[] {
  const strides: number[] = [];
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis] as number;
  }
  return strides;
}

function placesOf(
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
): Int32Array {
  let places = [offset];
  if (shape.includes(0)) return new Int32Array(0);
  shape.forEach((size, axis) => {
    if (size === 1) return;
    const next: number[] = [];
    for (const place of places) {
      for (let i = 0; i < size; i++) next.push(place + i * (strides[axis] as number));
    }
    places = next;
  });
  return Int32Array.from(places);
}

export function sameElements(a: TensorModel, b: TensorModel): boolean {
  return a.region === b.region && Buffer.compare(bytes(a.places), bytes(b.places)) === 0;
}

/** Whether two tensors are apart, extent from extent. */
export function apart(a: TensorModel, b: TensorModel): boolean {
  if (a.region !== b.region || a.places.length === 0 || b.places.length === 0) return true;
  const ends = ({ places }: TensorModel) => [places[0], places[places.length - 1]] as number[];
  const [[a0, a1], [b0, b1]] = [ends(a), ends(b)] as [[number, number], [number, number]];
  return a1 < b0 || b1 < a0;
}

export function bits(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

function bytes({ buffer, byteOffset, byteLength }: Int32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
