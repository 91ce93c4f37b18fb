/** The runs of a state, each in a worker of its own, from the first step to the last. */
import type { Dataset } from "../engine/dataset.js";
import type { Settings } from "../engine/settings.js";
import type { Snapshot } from "../engine/trainer.js";
import type { FromWorker, Surface, ToWorker } from "../messages.js";
import { isTable, type LabState } from "./state.js";

export const LETTERS = ["A", "B", "C", "D"];

/** Snapshots that a history keeps: where there are more, every second goes. */
const MOST_SNAPSHOTS = 600;

/** A run as the page knows it. */
export interface Run {
  readonly settings: Settings;
  history: Snapshot[];
  last: Snapshot | null;
  surface: Surface | null;
  /** Why it can't run. */
  refused: string | null;
  running: boolean;
}

interface Hired {
  readonly run: Run;
  readonly worker: Worker;
  /** Whether a snapshot came that was not drawn. */
  fresh: boolean;
  onState: ((dict: unknown) => void) | null;
}

export class Session {
  private hired: Hired[] = [];
  private count = 0;

  /** @param changed called when there is something new to draw */
  constructor(
    private readonly changed: () => void,
    private readonly failed: (reason: string) => void,
  ) {}

  get runs(): readonly Run[] {
    return this.hired.map(({ run }) => run);
  }

  get running(): boolean {
    return this.hired.some(({ run }) => run.running);
  }

  /** Whether something was learned. */
  get begun(): boolean {
    return this.hired.some(({ run }) => run.last !== null);
  }

  /** Begins anew. Workers are kept: to start one takes longer than many steps. */
  make(data: Dataset, state: LabState): void {
    const { runs: all, seed, testBatch } = state;
    const standardized = !isTable(state.data);
    const id = ++this.count;
    const workers = this.hired.map(({ worker }) => worker);
    for (const worker of workers.splice(all.length)) worker.terminate();
    this.hired = all.map((settings, i) => {
      const run: Run = {
        ...{ settings, history: [], last: null, surface: null },
        ...{ refused: null, running: false },
      };
      const worker = workers[i] ?? new Worker("worker.js", { type: "module" });
      const hired: Hired = { run, worker, fresh: false, onState: null };
      worker.onmessage = ({ data: message }: MessageEvent<FromWorker>) => {
        if (message.type !== "made" || message.id !== id) return;
        worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.hear(hired, data);
      };
      worker.onerror = (event) => this.failed(event.message ?? "a worker");
      this.tell(worker, { type: "make", id, data, standardized, settings, seed, testBatch });
      return hired;
    });
    this.changed();
  }

  /** There is nothing to learn. */
  end(): void {
    for (const { worker } of this.hired) worker.terminate();
    this.hired = [];
  }

  /** Learns until all have made so many steps. */
  run(until: number): void {
    for (const { run, worker } of this.hired) {
      if (run.refused || run.last?.diverged || (run.last?.step ?? 0) >= until) continue;
      run.running = true;
      this.tell(worker, { type: "run", until });
    }
    this.changed();
  }

  pause(): void {
    for (const { run, worker } of this.hired) {
      if (run.running) this.tell(worker, { type: "pause" });
    }
  }

  step(): void {
    for (const { run, worker } of this.hired) {
      if (!run.refused && !run.last?.diverged) this.tell(worker, { type: "step" });
    }
  }

  /** All parameters of a run, by their names. */
  stateDict(run: number): Promise<unknown> {
    const hired = this.hired[run];
    if (!hired) throw new RangeError(`there is no run ${run}`);
    return new Promise((resolve) => {
      hired.onState = resolve;
      this.tell(hired.worker, { type: "stateDict" });
    });
  }

  /** The page has drawn: workers may send the next snapshots. */
  drawn(): void {
    for (const hired of this.hired) {
      if (!hired.fresh) continue;
      hired.fresh = false;
      this.tell(hired.worker, { type: "drawn" });
    }
  }

  private tell(worker: Worker, message: ToWorker): void {
    worker.postMessage(message);
  }

  private hear(hired: Hired, message: FromWorker): void {
    const { run } = hired;
    if (message.type === "stateDict") {
      hired.onState?.(message.dict);
      return;
    }
    if (message.type === "refused") {
      run.refused = message.message;
      run.running = false;
    } else if (message.type === "snapshot") {
      run.last = message.snapshot;
      run.surface = message.surface;
      run.running = message.running;
      if (message.snapshot.step !== run.history.at(-1)?.step) {
        // Of layers only the last is seen.
        run.history.push({ ...message.snapshot, blocks: [] });
      }
      if (run.history.length > MOST_SNAPSHOTS) {
        run.history = run.history.filter((_, i) => i % 2 === 0 || i === run.history.length - 1);
      }
      hired.fresh = true;
    }
    this.changed();
  }
}
