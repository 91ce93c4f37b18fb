/** What readers of files give: dicts of arrays with their shapes, as `loadStateDict` takes them. */
import { checkOneOf } from "../core/checks.js";
import type { Widened } from "../core/dtypes.js";
import { fail } from "../core/errors.js";
import { readOptions } from "../core/options.js";
import { cut, show, showNames } from "../core/show.js";
import { readPrefix } from "../core/state-dict.js";

/** Values of an entry, in row-major order, and their shape; of one value `[]`. */
export interface WeightEntry {
  /** float16, bfloat16 and floats of eight bits come as float32; float64 and int64 as they are. */
  readonly data: Widened;
  readonly shape: number[];
}

/** Entries by their names in the file, without the prefix. */
export type WeightDict = Record<string, WeightEntry>;

/** What of a file is read. */
export interface WeightOptions {
  /**
   * What stands before the names that are read, as in `layer1.bn.weight`; it is left out of
   * them, and entries without it are left alone. Default nothing: all of the file.
   */
  prefix?: string | null | undefined;
  /**
   * Whether an entry of a type that nothing here has (int32, bool) is an error; default true. With
   * `false` it is left out.
   */
  strict?: boolean | null | undefined;
}

/** Options, read. */
export interface ReadSettings {
  readonly prefix: string;
  readonly strict: boolean;
}

/** @throws BatchNormError `invalid-option`, `unknown-option` */
export function readWeightOptions(
  options: WeightOptions | null | undefined,
  owner: string,
): ReadSettings {
  const given = readOptions(owner, options, ["prefix", "strict"]);
  const prefix = readPrefix(given.prefix, owner);
  const strict = given.strict ?? true;
  checkOneOf(strict, owner, "strict");
  return { prefix, strict };
}

/**
 * The entries behind a prefix, by what follows it.
 *
 * @param typeOf an entry's type
 * @param read gives the values of one, or `null` where it is of another type than is read
 * @throws BatchNormError `state-dict` where a prefix stands before nothing, `dtype`
 */
export function readEntries<T>(
  entries: ReadonlyMap<string, T>,
  { prefix, strict }: ReadSettings,
  owner: string,
  typeOf: (entry: T) => string,
  read: (entry: T, label: string) => WeightEntry | null,
): WeightDict {
  const behind = [...entries].filter(([name]) => name.startsWith(prefix));
  if (prefix !== "" && behind.length === 0) {
    const there = showNames([...entries.keys()]) || "nothing";
    fail("state-dict", `${owner}: no name begins with ${show(prefix)}; there are: ${there}`);
  }
  const found = behind.flatMap(([name, entry]) => {
    const label = `${owner}: ${cut(name)}`;
    const values = read(entry, label);
    if (values) return [[name.slice(prefix.length), values] as const];
    if (!strict) return [];
    const remedy = "a prefix or strict: false would leave it out";
    return fail("dtype", `${label} is ${cut(typeOf(entry))}, which no norm has; ${remedy}`);
  });
  // Not by assignment, by which one that is called `__proto__` would be no entry.
  return Object.fromEntries(found);
}
