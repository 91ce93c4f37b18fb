/** Frameworks' conventions, as data: each norm has a table of its own. */
import { fail } from "./errors.js";
import { unknownName } from "./options.js";

/** @throws BatchNormError `unknown-option` with the nearest name, if one is near */
export function presetOf<T extends object>(presets: T, name: unknown, owner: string): T[keyof T] {
  const names = Object.keys(presets);
  if (names.includes(name as string)) return presets[name as keyof T];
  return fail("unknown-option", unknownName(owner, "preset", name, names));
}

/** Makes an object and what it holds immutable. */
export function immutable<T extends object>(object: T): T {
  for (const value of Object.values(object))
    if (typeof value === "object" && value) immutable(value);
  return Object.freeze(object);
}
