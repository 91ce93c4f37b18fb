/**
 * Records of forward passes, known by their inside alone: a program that reads none carries
 * no code of theirs. What reads one imports `saved.ts`, and that tells here how to make one.
 */
import type { Port } from "../core/kernel.js";
import type { SavedState } from "./saved-state.js";

const states = /* @__PURE__ */ new WeakMap<object, SavedState>();

/** The inside of a record; undefined of what is none of this package's. */
export function savedOf(value: unknown): SavedState | undefined {
  return states.get(value as object);
}

/** Makes an empty record, where anything in the program can read one. */
export let newSaved: ((port: Port) => SavedState) | undefined;

/** For `saved.ts`. */
export function provideSaved(make: (port: Port) => SavedState): typeof states {
  newSaved = make;
  return states;
}
