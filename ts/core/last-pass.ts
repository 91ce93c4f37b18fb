import type { Operation } from "../generated/abi.js";
import { fail, mustBe } from "./errors.js";
import type { Port } from "./kernel.js";
import type { NormSaved } from "./saved.js";
import type { SavedAccess } from "./saved-access.js";
import { SavedState } from "./saved-state.js";
import type { View } from "./view.js";

/** The last forward pass of a layer, as it was saved. */
export class LastPass {
  readonly #port: Port;
  readonly #operation: Operation;
  readonly #access: SavedAccess;
  #saved: SavedState | null = null;
  /** Whether it is the user's: then it must not be overwritten. */
  #taken = false;
  /** Which of its passes was the layer's: a function can have overwritten it since. */
  #pass = 0;

  constructor(port: Port, operation: Operation, access: SavedAccess) {
    this.#port = port;
    this.#operation = operation;
    this.#access = access;
  }

  /** What to save the next one to: what there is, unless somebody has seen it. */
  toFill(): SavedState {
    const last = this.#saved;
    return last?.handle === null && last.gone === null
      ? last
      : new SavedState(this.#port, this.#operation);
  }

  /** These are the last one from now on, of a pass from x to y. */
  set(saved: SavedState, x: View, y: View): void {
    if (saved !== this.#saved) {
      if (this.#saved && !this.#taken) saved.inherit(this.#saved, x, y);
      this.#replace(saved);
    }
    this.#pass = saved.pass;
  }

  /** Belongs to it: x, which was brought in. */
  keep(copy: View): void {
    (this.#saved as SavedState).own(copy);
  }

  /** What users have of it, still the layer's. */
  get handle(): NormSaved | null {
    const last = this.#saved;
    return last && ((last.handle ?? this.#access.wrap(last)) as NormSaved);
  }

  /** The same, the caller's from now on. */
  take(owner: string): NormSaved {
    const saved = this.handle ?? fail("stale", `${owner}: there was no forward pass`);
    if (!this.#taken) this.#port.track(saved);
    this.#taken = true;
    return saved;
  }

  /** What was asked for, or the last one. */
  find(given: unknown, owner: string): SavedState {
    if (given == null) {
      const last = this.#saved ?? fail("stale", `${owner}: there was no forward pass`);
      if (last.pass !== this.#pass) fail("stale", `${owner}: saved was overwritten`);
      return last;
    }
    return (
      this.#access.inside(given) ??
      mustBe("invalid-option", `${owner}: saved`, "what takeSaved() of such a layer gave", given)
    );
  }

  /** Gives way to nothing: the layer was disposed. */
  end(): void {
    this.#replace(null);
  }

  #replace(saved: SavedState | null): void {
    if (!this.#taken) this.#saved?.end(saved ? "stale" : "disposed");
    this.#saved = saved;
    this.#taken = false;
  }
}
