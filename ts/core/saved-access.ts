/**
 * How saved values are made and looked into. A norm's `saved.ts` tells it here, so that a program
 * that only goes forward, and has no use for them, carries none of their code.
 */
import type { Operation } from "../generated/abi.js";
import type { Port } from "./kernel.js";
import type { SavedState } from "./saved-state.js";

export interface SavedAccess {
  /** Makes empty ones, that users can have. */
  make(port: Port): SavedState;
  /** What users have of such values. */
  wrap(state: SavedState): object;
  /** The inside of what users have; undefined of what is none of this norm's. */
  inside(value: unknown): SavedState | undefined;
}

const provided: SavedAccess[] = [];

/** Of the forward passes of an operation; undefined in a program that goes only forward. */
export const savedAccessOf = (operation: Operation): SavedAccess | undefined => provided[operation];

/** For a norm's `saved.ts`. */
export function provideSavedAccess(operation: Operation, access: SavedAccess): SavedAccess {
  provided[operation] = access;
  return access;
}
