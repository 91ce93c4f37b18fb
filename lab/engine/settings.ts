/**
 * What a run can be told: one list, from which the page makes its fields, the link is read, and a
 * run is checked.
 */

export type NormKind = "none" | "batch" | "group" | "instance" | "layer" | "rms" | "naive";
export type ActivationKind = "relu" | "leaky-relu" | "tanh";
export type OptimizerKind = "sgd" | "adam";
export type DropoutPlace = "before" | "after";

/** The settings of one run. */
export interface Settings {
  /** Number of hidden layers; with images these are 3×3 convolutions. */
  depth: number;
  /** Units of each, or channels. */
  width: number;
  activation: ActivationKind;
  /** Times He's standard deviation √(2/inputs) of the hidden layers' first weights. */
  initialScale: number;
  /** What follows each hidden layer. */
  norm: NormKind;
  eps: number;
  /** Weight of the new batch in the running statistics; 0 for the average of all batches. */
  normMomentum: number;
  /** Samples of a ghost batch; 0 for the whole batch. */
  ghost: number;
  /** Most that batch renorm corrects: r up to this, |d| up to this less 1; 0 for no renorm. */
  renorm: number;
  /** Normalize by the running statistics, also in training. */
  frozen: boolean;
  /** Whether batch norm's statistics leave padding out, and count rows by what they have; of data with weights. */
  mask: boolean;
  gamma: boolean;
  beta: boolean;
  /** Groups of group norm. */
  groups: number;
  optimizer: OptimizerKind;
  learningRate: number;
  /** Momentum of SGD. */
  momentum: number;
  batchSize: number;
  /** λ of λ·Σ|w|. */
  l1: number;
  /** λ of λ/2·Σw². */
  l2: number;
  /** Whether L1 and L2 are of γ and β, too. */
  penalizeNorm: boolean;
  /** λ of λ·Σ|γ|, as in network slimming. */
  gammaL1: number;
  dropout: number;
  /** Of the norm. */
  dropoutPlace: DropoutPlace;
}

/** One setting: its values, and the one of a new run. */
export type Setting = {
  readonly key: keyof Settings;
  readonly section: "network" | "norm" | "optimizer" | "regularizers";
  /** Of which norms it is a setting; all, if absent. */
  readonly norms?: readonly NormKind[];
} & (
  | {
      readonly kind: "number";
      readonly min: number;
      readonly max: number;
      readonly whole?: boolean;
      readonly initial: number;
    }
  | { readonly kind: "choice"; readonly values: readonly string[]; readonly initial: string }
  | { readonly kind: "switch"; readonly initial: boolean }
);

const NORMED = ["batch", "group", "instance", "layer", "rms", "naive"] as const;
const BATCH = ["batch"] as const;
/** Naive batch norm is there to be compared, and has no more than the formula. */
const BATCHES = ["batch", "naive"] as const;
const WITH_BETA = ["batch", "group", "instance", "layer", "naive"] as const;

export const SETTINGS: readonly Setting[] = [
  ...section("network", [
    { key: "depth", kind: "number", min: 1, max: 20, whole: true, initial: 2 },
    { key: "width", kind: "number", min: 1, max: 128, whole: true, initial: 32 },
    { key: "activation", kind: "choice", values: ["relu", "leaky-relu", "tanh"], initial: "relu" },
    { key: "initialScale", kind: "number", min: 0, max: 10, initial: 1 },
  ]),
  ...section("norm", [
    { key: "norm", kind: "choice", values: ["none", ...NORMED], initial: "batch" },
    { key: "eps", kind: "number", min: 1e-12, max: 1, initial: 1e-5, norms: NORMED },
    { key: "normMomentum", kind: "number", min: 0, max: 1, initial: 0.1, norms: BATCHES },
    { key: "ghost", kind: "number", min: 0, max: 512, whole: true, initial: 0, norms: BATCH },
    { key: "renorm", kind: "number", min: 0, max: 100, initial: 0, norms: BATCH },
    { key: "frozen", kind: "switch", initial: false, norms: BATCHES },
    { key: "mask", kind: "switch", initial: true, norms: BATCH },
    { key: "gamma", kind: "switch", initial: true, norms: NORMED },
    { key: "beta", kind: "switch", initial: true, norms: WITH_BETA },
    { key: "groups", kind: "number", min: 1, max: 128, whole: true, initial: 4, norms: ["group"] },
  ]),
  ...section("optimizer", [
    { key: "optimizer", kind: "choice", values: ["sgd", "adam"], initial: "sgd" },
    { key: "learningRate", kind: "number", min: 0, max: 100, initial: 0.1 },
    { key: "momentum", kind: "number", min: 0, max: 0.999, initial: 0.9 },
    { key: "batchSize", kind: "number", min: 1, max: 512, whole: true, initial: 32 },
  ]),
  ...section("regularizers", [
    { key: "l1", kind: "number", min: 0, max: 1, initial: 0 },
    { key: "l2", kind: "number", min: 0, max: 1, initial: 0 },
    { key: "penalizeNorm", kind: "switch", initial: false, norms: NORMED },
    { key: "gammaL1", kind: "number", min: 0, max: 1, initial: 0, norms: NORMED },
    { key: "dropout", kind: "number", min: 0, max: 0.95, initial: 0 },
    { key: "dropoutPlace", kind: "choice", values: ["after", "before"], initial: "after" },
  ]),
];

type Unsectioned<T> = T extends unknown ? Omit<T, "section"> : never;

function section(name: Setting["section"], settings: readonly Unsectioned<Setting>[]): Setting[] {
  return settings.map((setting) => ({ ...setting, section: name }) as Setting);
}

/** A setting that can't be: the page shows it beside the field. */
export class SettingError extends Error {
  override readonly name = "SettingError";
  readonly key: keyof Settings;

  constructor(key: keyof Settings, message: string) {
    super(message);
    this.key = key;
  }
}

/** The settings of a new run, with others in their places. */
export function settingsOf(changes: Partial<Settings> = {}): Settings {
  const initial = Object.fromEntries(SETTINGS.map(({ key, initial }) => [key, initial]));
  return checkSettings({ ...initial, ...changes });
}

/**
 * Settings from anywhere, as a link is.
 *
 * @throws SettingError where a value can't be, or a name is none
 */
export function checkSettings(given: Readonly<Record<string, unknown>>): Settings {
  const known = new Set<string>(SETTINGS.map(({ key }) => key));
  for (const key of Object.keys(given)) {
    if (!known.has(key)) {
      throw new SettingError(key as keyof Settings, `${key}: there is no such setting`);
    }
  }
  const settings = Object.fromEntries(
    SETTINGS.map((setting) => [setting.key, checkSetting(setting, given[setting.key])]),
  ) as unknown as Settings;
  const { norm, groups, width } = settings;
  if (norm === "group" && width % groups !== 0) {
    throw new SettingError(
      "groups",
      `groups: ${width} channels don't divide into ${groups} groups; take a divisor of the width`,
    );
  }
  return settings;
}

function checkSetting(setting: Setting, value: unknown): number | string | boolean {
  const { key } = setting;
  if (value == null) return setting.initial;
  switch (setting.kind) {
    case "switch":
      if (typeof value === "boolean") return value;
      throw new SettingError(key, `${key}: expected true or false, got ${JSON.stringify(value)}`);
    case "choice":
      if (typeof value === "string" && setting.values.includes(value)) return value;
      throw new SettingError(
        key,
        `${key}: expected one of ${setting.values.join(", ")}, got ${JSON.stringify(value)}`,
      );
    case "number": {
      const { min, max, whole } = setting;
      if (typeof value === "number" && value >= min && value <= max) {
        if (!whole || Number.isInteger(value)) return value;
      }
      const kind = whole ? "a whole number" : "a number";
      throw new SettingError(
        key,
        `${key}: expected ${kind} from ${min} to ${max}, got ${JSON.stringify(value)}`,
      );
    }
  }
}
