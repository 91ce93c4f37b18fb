/** What readers of files give: dicts of arrays with their shapes, as `loadStateDict` takes them. */
import type { Widened } from "../core/dtypes.js";
import { fail } from "../core/errors.js";
import { show, showNames } from "../core/show.js";

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
}

/**
 * The entries behind a prefix, by what follows it.
 *
 * @param read gives the values of one; `name` is that of the file
 * @throws BatchNormError `state-dict` where a prefix stands before nothing
 */
export function readEntries<T>(
  entries: ReadonlyMap<string, T>,
  prefix: string,
  owner: string,
  read: (entry: T, name: string) => WeightEntry,
): WeightDict {
  const behind = [...entries].filter(([name]) => name.startsWith(prefix));
  if (prefix !== "" && behind.length === 0) {
    const there = showNames([...entries.keys()]) || "nothing";
    fail("state-dict", `${owner}: no name begins with ${show(prefix)}; there are: ${there}`);
  }
  // Not by assignment, by which one that is called `__proto__` would be no entry.
  return Object.fromEntries(
    behind.map(([name, entry]) => [name.slice(prefix.length), read(entry, name)]),
  );
}
