/**
 * How saved values are made and looked into. `saved.ts` tells it here, so that a program that can
 * only infer, and has no use for them, carries none of their code.
 */
import type { Port } from "../core/kernel.js";
import type { SavedState } from "../core/saved-state.js";

/** What the kernel keeps of each channel, vector by vector (`Word.Saved`). */
export enum SavedVector {
  MEAN,
  VARIANCE,
  WEIGHT,
  COUNT,
}

export interface SavedAccess {
  /** Makes empty ones, that users can have. */
  make(port: Port): SavedState;
  /** The inside of what users have; undefined of what is none of this package's. */
  inside(value: unknown): SavedState | undefined;
}

/** Undefined in a program that can only infer. */
export let savedAccessIfAny: SavedAccess | undefined;

/** For `saved.ts`. */
export function provideSavedAccess(access: SavedAccess): SavedAccess {
  savedAccessIfAny = access;
  return access;
}
