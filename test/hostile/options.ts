/** Arguments as a caller would write them, and as no caller should. */
import { BatchNorm, defaultKernel, Moments, Tensor } from "batchnorm-wasm";
import type { Random } from "../../scripts/random.mjs";
import { type Arg, arg, describe, hostile, marker, throwing, transparent } from "./values.js";
import { Fault, type TensorModel, type World } from "./world.js";

const isNumber = (value: unknown): value is number => typeof value === "number";
const isBoolean = (value: unknown) => typeof value === "boolean";
const isTensor = (value: unknown) => value instanceof Tensor;
const isVector = (value: unknown) =>
  isTensor(value) ||
  value instanceof Float32Array ||
  value instanceof Uint8Array ||
  value instanceof Uint8ClampedArray ||
  Array.isArray(value);
const isStatistics = (value: unknown) => isVector(value) || value instanceof Float64Array;
/** Vectors of calls that compute in float64. */
const isVector64 = (value: unknown) =>
  isVector(value) || (ArrayBuffer.isView(value) && !/^(Big|Data)/.test(value.constructor.name));
export const FITS_64 = {
  weight: isVector64,
  bias: isVector64,
  mean: isVector64,
  variance: isVector64,
};
/** Of most options one; where it has to be, code that reads it finds out. */
const isAxes = (value: unknown) =>
  Number.isInteger(value) || (Array.isArray(value) && value.every(Number.isInteger));
const isPositions = (value: unknown) =>
  isVector(value) || (typeof value === "object" && value !== null && "data" in value);
const isShare = (value: unknown) => isNumber(value) && value >= 0 && value <= 1;
const Kernel = defaultKernel().constructor as unknown as new () => object;

export const isPlain = (value: unknown) =>
  typeof value === "object" && value !== null && "data" in value && "shape" in value;

const isNumberOf = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) > 0;

type Fits = (value: unknown) => boolean;

/** What each option can be; `undefined` and `null` may stand for its absence. */
const FITS: Readonly<Record<string, Fits>> = {
  weight: isVector,
  // Of layer norm's layer whether there is any.
  bias: (value) => isVector(value) || isBoolean(value),
  mask: isPositions,
  weights: isPositions,
  mean: isStatistics,
  variance: isStatistics,
  eps: (value) => isNumber(value) && value >= 0 && value < Infinity,
  epsilon: (value) => isNumber(value) && value >= 0 && value < Infinity,
  axis: isAxes,
  axes: isAxes,
  elementwiseAffine: isBoolean,
  numGroups: isNumberOf,
  virtualBatchSize: isNumberOf,
  clip: (value) => isNumber(value) && value > 0,
  // Of Keras's layer whether there is any.
  renorm: (value) => typeof value === "object" || isBoolean(value),
  renormClipping: (value) => typeof value === "object",
  renormMomentum: isShare,
  activation: (value) => value === "relu" || value === "leaky-relu",
  negativeSlope: isShare,
  rate: (value) => isShare(value) && value !== 1,
  seed: (value) => isNumber(value) && value >= 0,
  strength: (value) => isNumber(value) && value >= 0,
  grad: isTensor,
  residual: (value) => isTensor(value) || isPlain(value),
  residualGrad: isTensor,
  out: isTensor,
  kernel: (value) => value instanceof Kernel,
  saved: isBoolean,
  runningMean: isTensor,
  runningVar: isTensor,
  momentum: isShare,
  runningVariance: (value) => value === "biased" || value === "unbiased",
  weightGrad: isTensor,
  biasGrad: isTensor,
  training: isBoolean,
  preset: (value) => ["torch", "keras", "onnx", "onnx18", "flax"].includes(value as string),
  affine: isBoolean,
  scale: isBoolean,
  offset: isBoolean,
  center: isBoolean,
  trainable: isBoolean,
  trackRunningStats: isBoolean,
  statistics: (value) => ["auto", "batch", "running"].includes(value as string),
  updateRunningStats: (value) => isBoolean(value) || value === "auto",
  requiresGrad: isBoolean,
  groups: (value) => value === -1 || isNumberOf(value),
  prefix: (value) => typeof value === "string",
  allowNonFinite: isBoolean,
  strict: isBoolean,
  metadata: (value) => Object.values(value as object).every((one) => typeof one === "string"),
  // Of entries, by the layer's own; what is in it, code that reads it finds out.
  names: (value) => typeof value === "object" && !Array.isArray(value),
  kind: (value) => ["linear", "conv", "depthwise", "transposed"].includes(value as string),
  layout: (value) => value === "torch" || value === "tensorflow",
  into: (value) => value === "previous" || value === "next",
  moments: (value) => value instanceof Moments,
  sourceSamples: (value) => isNumber(value) && value >= 0,
  includeSpread: isBoolean,
  keep: isBoolean,
  onProgress: (value) => typeof value === "function",
  x: isPositions,
  y: isPositions,
  dy: isPositions,
  dx: isPositions,
  layer: (value) => value instanceof BatchNorm,
  initial: isShare,
  decay: isShare,
  every: isNumberOf,
  least: isShare,
  warmUp: (value) => isNumber(value) && value >= 0,
  rMax: (value) => isNumber(value) && value >= 1,
  rMaxStep: (value) => isNumber(value) && value >= 0,
  dMax: (value) => isNumber(value) && value >= 0,
  dMaxStep: (value) => isNumber(value) && value >= 0,
  initialBytes: (value) => isNumber(value) && value >= 0,
};

function fits(test: Fits | undefined, value: unknown): boolean {
  try {
    return value === undefined || value === null || !!test?.(value);
  } catch {
    // What throws when it is looked at.
    return false;
  }
}

interface Entry {
  readonly name: string;
  /** What reading it gives, the first time and then. */
  readonly values: readonly unknown[];
  readonly code: () => string;
  /** Of an accessor: what reading it does, how often it was read before. */
  readonly read?: (before: number) => unknown;
}

/** A name as a key of its own. */
const key = (name: string) => (name === "__proto__" ? '["__proto__"]' : name);

/** What is different from what a caller would write. */
type Wrapping = "none" | "transparent" | "inherited" | "frozen" | "null" | "polluted" | "throwing";

export class Options {
  readonly #entries = new Map<string, Entry>();
  #whole: Arg | undefined;
  #wrapping: Wrapping = "none";
  readonly #fits: Readonly<Record<string, Fits>>;
  /** Whether a call with these must not throw, if it was valid before. */
  benign = true;

  /** @param fits what options can be that are others of this call than of most */
  constructor(fits: Readonly<Record<string, Fits>> = {}) {
    this.#fits = { ...FITS, ...fits };
  }

  set(name: string, { value, code }: Arg): void {
    this.#entries.set(name, { name, values: [value], code: () => `${key(name)}: ${code()}` });
  }

  tensor(name: string, model: TensorModel | undefined): void {
    if (model) this.set(name, arg(model.tensor, model.name));
  }

  /** The value of an option, if it can be but one. */
  one(name: string): { known: boolean; value: unknown } {
    const values = this.#entries.get(name)?.values ?? [undefined];
    const known = values.every((value) => Object.is(value, values[0]));
    return { known: known && !this.#whole, value: this.#whole ? undefined : values[0] };
  }

  /** Whether each option is certain. */
  get known(): boolean {
    return !this.#whole && [...this.#entries.keys()].every((name) => this.one(name).known);
  }

  /** Tensors that the option may be. */
  models(world: World, name: string): TensorModel[] {
    const values = this.#entries.get(name)?.values ?? [];
    return [...new Set(values)].flatMap((value) => world.modelOf.get(value) ?? []);
  }

  /**
   * Throws where a call with these should not have returned.
   *
   * @param Saved the class of what `saved` may be, beside a boolean
   */
  checkTaken(Saved?: abstract new (...all: never[]) => object): void {
    if (this.#whole) {
      const { value, code } = this.#whole;
      if (value === undefined || typeof value === "object") return;
      throw new Fault("options are taken that are none", code().slice(0, 40));
    }
    for (const { name, values } of this.#entries.values()) {
      const test = this.#fits[name];
      if (!test) throw new Fault("an unknown option is taken", name);
      if (values.some((value) => fits(test, value))) continue;
      if (name === "saved" && Saved && values.some((value) => value instanceof Saved)) continue;
      throw new Fault(`${name} is taken that is none`, describe(values[0]));
    }
  }

  /** Makes one thing wrong, or only unusual. */
  mutate(world: World, random: Random, known: readonly string[]): void {
    const names = [...this.#entries.keys()];
    const given = names.length > 0 ? random.pick(names) : undefined;
    switch (random.below(given === undefined ? 4 : 12)) {
      case 0:
        this.#wrapping = random.pick(["transparent", "inherited", "null", "frozen"]);
        if (this.#wrapping === "inherited") this.benign = false;
        return;
      case 1:
        this.#wrapping = random.pick(["polluted", "polluted", "throwing"]);
        if (this.#wrapping === "throwing") this.benign = false;
        return;
      case 2: {
        this.benign = false;
        const name = random.pick(["outt", "Axis", "0", "length", "data", "toString", "epsilons"]);
        this.set(name, hostile(random));
        return;
      }
      case 3:
        this.benign = false;
        this.#whole = hostile(random);
        return;
      case 4:
      case 5:
      case 6:
      case 7: {
        this.benign = false;
        const name = random.pick(known);
        const record = name === "saved" && world.pick(random, world.records);
        if (record && random.oneIn(2)) this.set(name, arg(record.record, record.name));
        else this.set(name, random.oneIn(3) ? hostileTensor(world, random) : hostile(random));
        return;
      }
      default:
        this.#makeAccessor(world, random, given as string);
    }
  }

  /** An option that does something when it is read. */
  #makeAccessor(world: World, random: Random, name: string): void {
    const [value] = this.#entries.get(name)?.values ?? [];
    const code = this.#entries.get(name)?.code as () => string;
    const valueCode = () => code().slice(key(name).length + 2);
    this.benign = false;
    const counter = world.name("r");
    switch (random.below(4)) {
      case 0:
        this.#entries.set(name, {
          name,
          values: [value],
          code: () => `get ${key(name)}() { return raise(); }`,
          read: () => {
            throw marker;
          },
        });
        return;
      case 1: {
        const other = random.oneIn(2) ? hostileTensor(world, random) : hostile(random);
        const reads = 1 + random.below(3);
        this.#entries.set(name, {
          name,
          values: [value, other.value],
          code: () =>
            `get ${key(name)}() { return ${counter}++ < ${reads} ? ${valueCode()} : ${other.code()}; }`,
          read: (before) => (before < reads ? value : other.value),
        });
        return;
      }
      default: {
        // Disposes something, or calls in again, at the first read or a later one.
        const at = random.below(2);
        const seed = random.below(2 ** 31);
        const inside: (() => string)[] = [];
        this.#entries.set(name, {
          name,
          values: [value],
          code: () =>
            `get ${key(name)}() { if (${counter}++ === ${at}) { ${inside
              .map((line) => line())
              .join(" ")} } return ${valueCode()}; }`,
          read: (before) => {
            if (before === at) world.inside(seed, inside);
            return value;
          },
        });
      }
    }
  }

  build(): Arg {
    if (this.#whole) return this.#whole;
    const own: Record<string, unknown> = {};
    for (const { name, values, read } of this.#entries.values()) {
      // Not by assignment: a name may be `__proto__`.
      let before = 0;
      Object.defineProperty(own, name, {
        ...(read ? { get: () => read(before++) } : { value: values[0], writable: true }),
        enumerable: true,
        configurable: true,
      });
    }
    const code = () => `{ ${[...this.#entries.values()].map((one) => one.code()).join(", ")} }`;
    switch (this.#wrapping) {
      case "transparent":
        return { value: transparent(own), code: () => `transparent(${code()})` };
      case "throwing":
        return { value: throwing(own), code: () => `throwing(${code()})` };
      case "inherited":
        return { value: Object.create(own), code: () => `Object.create(${code()})` };
      case "frozen":
        return { value: Object.freeze(own), code: () => `Object.freeze(${code()})` };
      case "null":
        return {
          value: Object.setPrototypeOf(own, null),
          code: () => `Object.setPrototypeOf(${code()}, null)`,
        };
      default:
        return { value: own, code };
    }
  }

  /** Runs a call, with a stranger on every object if these options say so. */
  surround<T>(run: () => T): T {
    if (this.#wrapping !== "polluted") return run();
    const everything = Object.prototype as unknown as Record<string, unknown>;
    everything.polluted = 1;
    try {
      return run();
    } finally {
      delete everything.polluted;
    }
  }

  surrounded(code: string): string {
    return this.#wrapping === "polluted"
      ? `Object.prototype.polluted = 1; try { ${code} } finally { delete Object.prototype.polluted; }`
      : code;
  }
}

/** A tensor that does not belong where it is passed. */
export function hostileTensor(world: World, random: Random): Arg {
  const one = random.oneIn(3)
    ? random.pick(world.tensors)
    : (world.pick(random, world.tensors) ?? random.pick(world.tensors));
  if (random.oneIn(8)) {
    const proxy = transparent(one.tensor);
    world.modelOf.set(proxy, one);
    return arg(proxy, `transparent(${one.name})`);
  }
  return arg(one.tensor, one.name);
}
