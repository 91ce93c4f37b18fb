/** Option objects: their names checked, and what they say read once. */
import { fail, mustBe } from "./errors.js";
import { show } from "./show.js";

const NONE = /* @__PURE__ */ Object.freeze(/* @__PURE__ */ Object.create(null));
const hasOwn = Object.prototype.hasOwnProperty;

/**
 * A call's options, their names checked. Who asks reads each value once, so that a getter
 * can't answer a check and its use differently. What somebody has put on `Object.prototype` is
 * no option.
 *
 * @throws BatchNormError `invalid-option`, `unknown-option`
 */
export function readOptions<T extends object>(
  owner: string,
  options: T | null | undefined,
  known: readonly string[],
): T {
  if (options === undefined || options === null) return NONE;
  let any = false;
  for (const name in options) {
    if (!hasOwn.call(options, name)) continue;
    any = known.includes(name);
    // Tensors, layers and saved values have a kernel, too.
    if (name === "kernel" || !any) checkOptions(owner, options, known);
    if (!any) fail("unknown-option", unknownName(owner, "option", name, known));
  }
  if (!any) checkOptions(owner, options, known);
  // An object without a prototype costs ten times as much, `some` half of the call.
  for (const name of known) {
    if (isInherited(name)) return Object.assign(Object.create(null), options);
  }
  return options;
}

/** A property's value, and not what somebody has put on `Object.prototype`. */
export function readField(of: object, name: string): unknown {
  return isInherited(name) && !hasOwn.call(of, name)
    ? undefined
    : (of as Record<string, unknown>)[name];
}

/** Whether each object has such a property: somebody has put it on `Object.prototype`. */
function isInherited(name: string): boolean {
  return hasOwn.call(Object.prototype, name);
}

/**
 * @throws BatchNormError `invalid-option` unless it is any realm's `{}`, or an instance that has
 *   names of its own and no tag: tensors, layers, saved values and typed arrays have one
 */
function checkOptions(owner: string, options: object, known: readonly string[]): void {
  const prototype = Object.getPrototypeOf(options);
  const isInstance = prototype && Object.getPrototypeOf(prototype);
  if (
    typeof options !== "object" ||
    (isInstance &&
      (Symbol.toStringTag in options || Array.isArray(options) || !Object.keys(options)[0]))
  ) {
    mustBe("invalid-option", `${owner}: options`, `{ ${known.join(", ")} }`, options);
  }
}

/** The message for a name that is not among `known`, with the nearest if one is near. */
export function unknownName(
  owner: string,
  kind: string,
  name: unknown,
  known: readonly string[],
): string {
  const own = [...new Set(pairs(name))];
  // Of the shorter name, mostly: all of `eps` but its end is in `epsilon`.
  const likeness = (one: string) => {
    const its = pairs(one);
    return own.filter((pair) => its.includes(pair)).length / Math.min(own.length, its.length);
  };
  const [nearest = ""] = [...known].sort((a, b) => likeness(b) - likeness(a));
  const hint = likeness(nearest) >= 0.5 ? `; did you mean "${nearest}"?` : ".";
  return `${owner}: unknown ${kind} ${show(name)}${hint} There are: ${known.join(", ")}`;
}

/** Neighbouring letters, those at the ends with a quotation mark. */
function pairs(word: unknown): string[] {
  const letters = show(word).toLowerCase();
  return Array.from(letters.slice(1), (letter, i) => letters[i] + letter);
}
