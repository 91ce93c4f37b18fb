/**
 * What dicts call the entries of a layer: names behind a prefix, as each framework and file format
 * writes them.
 *
 * ```text
 * layer1.bn.weight                      PyTorch
 * batch_normalization/gamma:0           Keras 2; TensorFlow.js without the end
 * batch_normalization/vars/0            Keras 3; of get_weights() the place in an array
 * params / BatchNorm_0 / scale          Flax, nested; running statistics in batch_stats
 * ```
 */
import { fail, mustBe } from "./errors.js";
import { readOptions } from "./options.js";
import { isPlain } from "./plain.js";
import { list, remedyFor, show, showNames } from "./show.js";
import { viewOf } from "./tensor.js";
import { typedArrayName } from "./typed-arrays.js";

/** Names of the entries that a layer has. */
export interface EntryNames {
  /** Of each vector the layer's own, and then what else it goes by. */
  readonly vectors: readonly (readonly string[])[];
  /** The count of batches, which dicts may lack; `undefined` without running statistics. */
  readonly counter: string | undefined;
}

/** An entry of a dict. */
export interface Entry {
  /** In the dict; where that is nested, with dots between. */
  readonly name: string;
  /** With dots for slashes, without Keras's `:0`. */
  readonly path: string;
  /** That, without Flax's collection. */
  readonly within: string;
  /** The value, to be asked once. */
  readonly read: () => unknown;
}

/** A layer's entries, as far as they are there. */
export interface Found {
  readonly vectors: readonly (Entry | undefined)[];
  readonly counter: Entry | undefined;
  readonly missing: readonly string[];
  /** Behind the layer's prefix, and none of its own. */
  readonly rest: readonly string[];
}

/** Flax's collections, which stand before the module's name. */
const COLLECTION = /^(params|batch_stats)\./;
/** The order alone tells which is which: where there are as many as vectors. */
const PLACE = /^(vars\.)?\d+$/;

/** A name with dots for slashes, without Keras's `:0`. */
export const dotted = (name: string) => name.replace(/\//g, ".").replace(/:0$/, "");
const within = (path: string) => path.replace(COLLECTION, "");

/**
 * The entries of a dict by their names: an object, a Map or an array, and of those in it the ones
 * that may lead to a prefix. Nothing else is read yet.
 *
 * @throws BatchNormError `state-dict`
 */
export function readEntries(dict: unknown, prefixes: readonly string[], owner: string): Entry[] {
  if (!isCollection(dict)) {
    fail(
      "state-dict",
      `${owner}: expected an object of entries, got ${show(dict)}${remedyFor(dict)}`,
    );
  }
  const ways = prefixes.flatMap((prefix) => [dotted(prefix), `${dotted(prefix)}vars.`]);
  const entries: Entry[] = [];
  const parts = [{ part: dict, before: "", depth: 0 }];
  // Grows meanwhile.
  for (const { part, before, depth } of parts) {
    for (const [key, read] of membersOf(part)) {
      const name = before + key;
      const path = dotted(name);
      const heads = [`${path}.`, within(`${path}.`)];
      const leads = ways.some((way) => heads.some((head) => way.startsWith(head)));
      const value = leads ? read() : null;
      if (isCollection(value) && depth < MOST_NESTED) {
        parts.push({ part: value, before: `${name}.`, depth: depth + 1 });
      } else entries.push({ name, path, within: within(path), read: leads ? () => value : read });
    }
  }
  return entries;
}

/** Collections in each other; one may be in itself. */
export const MOST_NESTED = 64;

/** Whether it is `{ data, shape }`, `{ data, dtype }`, or both. */
export function isHolder(value: unknown): value is { data: unknown; dtype?: unknown } {
  return (
    isPlain(value) ||
    (typeof value === "object" && value !== null && "data" in value && "dtype" in value)
  );
}

/** Whether it can hold entries, and is none. */
function isCollection(value: unknown): value is object {
  return (
    typeof value === "object" &&
    value !== null &&
    typedArrayName(value) === undefined &&
    !viewOf(value) &&
    !isHolder(value)
  );
}

/** Keys, and how to read what they have; nothing by a method of the caller's. */
export function membersOf(part: object): (readonly [string, () => unknown])[] {
  const { has, forEach } = Map.prototype;
  try {
    has.call(part, "");
  } catch {
    return Object.keys(part).map((key) => [key, () => part[key as never]] as const);
  }
  const members: [string, () => unknown][] = [];
  forEach.call(part, (value, key: unknown) => {
    members.push([typeof key === "string" ? key : show(key), () => value]);
  });
  return members;
}

/**
 * What an entry is called behind a prefix; `undefined` of one that is not.
 *
 * @param prefix as {@link dotted} has it
 */
export function nameBehind(prefix: string, entry: Entry): string | undefined {
  const path = COLLECTION.test(prefix) ? entry.path : entry.within;
  return path.startsWith(prefix) ? path.slice(prefix.length) : undefined;
}

/**
 * Which entry is which of a layer's: that of its own name, or where there is none of another's.
 *
 * @throws BatchNormError `state-dict` where several entries would be the same one
 */
export function findEntries(
  all: readonly Entry[],
  { vectors, counter }: EntryNames,
  prefix: string,
  owner: string,
): Found {
  const names = all.map((entry) => nameBehind(dotted(prefix), entry));
  const isOrdered = names.filter((name) => name && PLACE.test(name)).length === vectors.length;
  const find = ([own = "", ...others]: readonly string[]) => {
    const of = (one: string) => all.filter((_, i) => names[i] === dotted(one));
    let found = of(own);
    if (!found[0]) found = others.filter((one) => isOrdered || !PLACE.test(one)).flatMap(of);
    if (found[1]) {
      const both = showNames(found.map(({ name }) => name));
      fail("state-dict", `${owner}: ${both} may each be ${own}; say which with names`);
    }
    return found[0];
  };
  const found = vectors.map(find);
  const count = counter === undefined ? counter : find([counter]);
  const isLeft = (entry: Entry) => entry !== count && !found.includes(entry);
  return {
    vectors: found,
    counter: count,
    missing: vectors.flatMap(([own = ""], i) => (found[i] ? [] : [prefix + own])),
    rest: all.flatMap((one, i) => (names[i] !== undefined && isLeft(one) ? [one.name] : [])),
  };
}

/**
 * The names with those that the caller says the dict has.
 *
 * @throws BatchNormError `invalid-option`, `unknown-option`
 */
export function readNames(
  names: Readonly<Record<string, string | null | undefined>> | null | undefined,
  { vectors, counter }: EntryNames,
  owner: string,
): EntryNames {
  const known = vectors.map(([own = ""]) => own).concat(counter ?? []);
  const given = readOptions(`${owner}: names`, names, known);
  const tell = (all: readonly string[]) => {
    const [own = ""] = all;
    const name: unknown = given[own] ?? all;
    if (name === all) return all;
    return [
      typeof name === "string"
        ? name
        : mustBe("invalid-option", `${owner}: names.${own}`, "a string", name),
    ];
  };
  return { vectors: vectors.map(tell), counter: counter && tell([counter])[0] };
}

/** Throws for names that don't fit layers', with the prefixes that would. */
export function failForNames(
  layers: readonly { all: readonly Entry[]; names: EntryNames; prefix: string }[],
  missing: readonly string[],
  unexpected: readonly string[],
  owner: string,
): never {
  const wanted = layers.flatMap(({ names, prefix }) => names.vectors.map(([own]) => prefix + own));
  // Where some are there, the prefix was meant.
  const [{ all, names }] = layers as [(typeof layers)[0]];
  const isMeant = missing.length < wanted.length;
  const fits = isMeant ? [] : fittingPrefixes(all, names.vectors);
  fail(
    "state-dict",
    `${owner}: expected ${showNames(wanted) || "no entries"}` +
      (fits.length > 0
        ? `; the entries fit with prefix ${list(fits, show)}`
        : (missing.length > 0 ? `; missing: ${showNames(missing)}` : "") +
          (unexpected.length > 0 ? `; not expected: ${showNames(unexpected)}` : "")),
  );
}

/** The prefixes behind which a dict has all the vectors, by any of their names but their places. */
function fittingPrefixes(all: readonly Entry[], vectors: EntryNames["vectors"]): string[] {
  const paths = new Set(all.map((one) => one.within));
  const names = vectors.map((names) => names.filter((name) => !PLACE.test(name)));
  const prefixes = [...paths].flatMap((path) =>
    (names[0] ?? [])
      .filter((name) => path.endsWith(name))
      .map((name) => path.slice(0, -name.length)),
  );
  return [...new Set(prefixes)].filter((prefix) =>
    names.every((names) => names.some((name) => paths.has(prefix + name))),
  );
}
