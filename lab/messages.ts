/** What the page and the workers say to each other. */
import type { Dataset, Samples } from "./engine/dataset.js";
import type { Settings } from "./engine/settings.js";
import type { Outcome } from "./engine/sweep.js";
import type { Snapshot } from "./engine/trainer.js";

export type ToWorker =
  | {
      readonly type: "make";
      readonly id: number;
      readonly data: Dataset;
      /** Whether it may go in as it is; tables may not. */
      readonly standardized: boolean;
      readonly settings: Settings;
      readonly seed: number;
      readonly testBatch: number;
    }
  | { readonly type: "run"; readonly until: number }
  /** A whole run at once, of which only the end is asked for; `data` where they are others than the last ones. */
  | {
      readonly type: "trial";
      readonly trial: number;
      readonly data: Dataset | null;
      readonly standardized: boolean;
      readonly settings: Settings;
      readonly seed: number;
      readonly steps: number;
    }
  | { readonly type: "pause" | "step" | "drawn" | "stateDict" };

export type FromWorker =
  /** What was sent before is of an earlier run. */
  | { readonly type: "made"; readonly id: number }
  | {
      readonly type: "snapshot";
      readonly snapshot: Snapshot;
      readonly surface: Surface | null;
      readonly running: boolean;
    }
  | { readonly type: "outcome"; readonly outcome: Outcome; readonly refused: string | null }
  /** Settings, or data, that the package refuses, in its words. */
  | { readonly type: "refused"; readonly message: string }
  | { readonly type: "stateDict"; readonly dict: Readonly<Record<string, readonly number[]>> };

/** What a network makes of the plane from −range to range: of each cell its class, and how sure it is. */
export interface Surface {
  readonly grid: number;
  readonly range: number;
  readonly label: Uint8Array;
  readonly sure: Float32Array;
  /** What it is tested on, up to some hundred. */
  readonly points: Samples;
}
