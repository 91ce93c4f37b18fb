/** The sweep: its fields, its workers, and what they found. */
import type { Dataset } from "../engine/dataset.js";
import { SettingError, type Settings } from "../engine/settings.js";
import {
  forValidation,
  type Outcome,
  type Plan,
  planSweep,
  rank,
  type Standing,
} from "../engine/sweep.js";
import type { FromWorker, ToWorker } from "../messages.js";
import { differences } from "./code.js";
import { download, element } from "./dom.js";
import { number, percent } from "./findings.js";
import { settingsInWords } from "./names.js";
import { isTable, type LabState, MOST_STEPS, readCount } from "./state.js";
import { FIRST_SPACE, readSpace, SPACE_KEYS, type SpaceText } from "./sweep-fields.js";
import { texts } from "./texts.js";

/** Workers of a sweep: one processor is left to the page. */
const WORKERS = Math.max(1, Math.min(4, (navigator.hardwareConcurrency || 2) - 1));
/** Places of the table and of the picture. */
const [SHOWN, BEST] = [12, 3];
const REGULARIZERS: readonly (keyof Settings)[] = ["l1", "l2", "gammaL1", "dropout"];
export const [MOST_TRIALS, MOST_SEEDS] = [500, 20];

export interface SweepActions {
  /** What is swept: the state, and its data; `null` where there are none. */
  now(): { state: LabState; data: Dataset | null };
  showRuns(runs: readonly Settings[]): void;
  viewCode(place: number, settings: Settings): void;
  refuse(message: string | null): void;
  say(message: string): void;
}

interface Job {
  readonly trial: number;
  readonly seed: number;
}

export class Sweep {
  private workers: Worker[] = [];
  private readonly inputs: Record<keyof SpaceText | "budget" | "seeds" | "steps", HTMLInputElement>;
  private readonly begin = element("button", { type: "button", id: "sweep-begin" });
  private readonly bar = element("progress", { hidden: true, "aria-label": texts.sweep.title });
  private readonly progress = element("p", { id: "sweep-progress" });
  private readonly results = element("div", { id: "sweep-results" });

  constructor(
    place: HTMLElement,
    private readonly actions: SweepActions,
  ) {
    const { sweep } = texts;
    const fields = element("div", { class: "fields" });
    const field = (id: string, name: string, value: string, wide: boolean) => {
      const input = element("input", { id: `sweep-${id}`, value, autocomplete: "off" });
      fields.append(element("label", wide ? { class: "wide" } : {}, name, input));
      return input;
    };
    this.inputs = {
      ...(Object.fromEntries(
        SPACE_KEYS.map((key) => [key, field(key, sweep.fields[key], FIRST_SPACE[key], true)]),
      ) as Record<keyof SpaceText, HTMLInputElement>),
      budget: field("budget", sweep.budget, "24", false),
      seeds: field("seeds", sweep.seeds, "3", false),
      steps: field("steps", sweep.steps, "200", false),
    };
    this.begin.textContent = sweep.begin;
    this.begin.addEventListener("click", () => (this.running ? this.stop() : this.start()));
    place.append(
      element(
        "details",
        {},
        element("summary", {}, sweep.title),
        element("p", { class: "note" }, sweep.lead),
        fields,
        element("p", { class: "buttons" }, this.begin, this.bar),
        this.progress,
        this.results,
      ),
    );
  }

  get running(): boolean {
    return this.workers.length > 0;
  }

  private stop: () => void = () => {};

  private start(): void {
    const { sweep } = texts;
    const { state, data } = this.actions.now();
    if (data === null) return;
    const { inputs } = this;
    let plan: Plan;
    let counts: { seeds: number; steps: number };
    try {
      const read = (key: "budget" | "seeds" | "steps", most: number) =>
        readCount(sweep[key], inputs[key].value, 1, most);
      counts = { seeds: read("seeds", MOST_SEEDS), steps: read("steps", MOST_STEPS) };
      const text = Object.fromEntries(SPACE_KEYS.map((key) => [key, inputs[key].value]));
      const space = readSpace(text as SpaceText);
      const base = state.runs[0] as Settings;
      plan = planSweep(base, space, read("budget", MOST_TRIALS), state.seed);
    } catch (error) {
      if (!(error instanceof SettingError || error instanceof RangeError)) throw error;
      this.actions.refuse(error.message);
      return;
    }
    this.actions.refuse(null);
    this.results.replaceChildren(element("p", {}, sweep.plan(plan.trials.length, plan.all)));
    const jobs: Job[] = Array.from({ length: counts.seeds }, (_, i) => i).flatMap((seed) =>
      plan.trials.map((_, trial) => ({ trial, seed: state.seed + seed })),
    );
    this.work(plan, jobs, counts.steps, forValidation(data, state.seed), state);
  }

  /** Each worker has a run at a time; all trials by one seed come before the next seed. */
  private work(plan: Plan, jobs: readonly Job[], steps: number, data: Dataset, state: LabState) {
    const { sweep } = texts;
    const outcomes: Outcome[] = [];
    const refusals = new Map<number, string>();
    const begun = performance.now();
    let next = 0;

    const end = (words: string) => {
      for (const worker of this.workers) worker.terminate();
      this.workers = [];
      this.bar.hidden = true;
      this.begin.textContent = sweep.begin;
      this.progress.textContent = words;
      this.actions.say(words);
      this.show(plan, outcomes, refusals, true);
    };
    this.stop = () => end(sweep.stopped(outcomes.length, jobs.length));

    const give = (worker: Worker, first: boolean) => {
      const job = jobs[next++];
      if (!job) return;
      const settings = plan.trials[job.trial] as Settings;
      const standardized = !isTable(state.data);
      const own = { ...job, settings, steps, standardized, data: first ? data : null };
      worker.postMessage({ type: "trial", ...own } satisfies ToWorker);
    };
    const hear = (worker: Worker, message: FromWorker) => {
      if (message.type !== "outcome") return;
      outcomes.push(message.outcome);
      if (message.refused) refusals.set(message.outcome.trial, message.refused);
      if (outcomes.length === jobs.length) {
        end(sweep.done(jobs.length));
        return;
      }
      give(worker, false);
      const passed = (performance.now() - begun) / 1000;
      const left = (passed / outcomes.length) * (jobs.length - outcomes.length);
      this.bar.value = outcomes.length;
      this.progress.textContent = sweep.progress(outcomes.length, jobs.length, sweep.seconds(left));
      this.show(plan, outcomes, refusals, false);
    };

    this.begin.textContent = sweep.stop;
    this.bar.hidden = false;
    this.bar.max = jobs.length;
    this.bar.value = 0;
    this.workers = Array.from({ length: Math.min(WORKERS, jobs.length) }, () => {
      const worker = new Worker("worker.js", { type: "module" });
      worker.onmessage = ({ data }: MessageEvent<FromWorker>) => hear(worker, data);
      worker.onerror = (event) => {
        this.actions.refuse(texts.failed(event.message ?? "a worker"));
        this.stop();
      };
      return worker;
    });
    for (const worker of this.workers) give(worker, true);
  }

  private show(
    plan: Plan,
    outcomes: readonly Outcome[],
    refusals: ReadonlyMap<number, string>,
    done: boolean,
  ): void {
    const { sweep } = texts;
    const told = outcomes.some(({ accuracy }) => accuracy !== null);
    const standings = rank(plan.trials, outcomes).filter(({ trial }) => !refusals.has(trial));
    const keys = differences(plan.trials);
    // A regularizer of strength 0 is none.
    const words = (settings: Settings) =>
      settingsInWords(
        settings,
        keys.filter((key) => !REGULARIZERS.includes(key) || settings[key] !== 0),
      ) || texts.sweep.plain;
    const shown = standings.slice(0, SHOWN);
    const parts: HTMLElement[] = [element("p", {}, sweep.plan(plan.trials.length, plan.all))];
    if (shown.length > 0) {
      parts.push(element("div", { class: "scroll", tabindex: 0 }, tableOf(shown, told, words)));
      if (done) {
        const show = element("button", { type: "button", id: "sweep-show" }, sweep.show);
        const best = standings.slice(0, BEST);
        show.addEventListener("click", () =>
          this.actions.showRuns(best.map(({ settings }) => settings)),
        );
        const save = element("button", { type: "button", id: "sweep-save" }, sweep.save);
        save.addEventListener("click", () =>
          download("lab-sweep.json", JSON.stringify({ standings, outcomes })),
        );
        const codes = best.map(({ settings }, i) => {
          const code = element("button", { type: "button" }, sweep.code(i + 1));
          code.addEventListener("click", () => this.actions.viewCode(i + 1, settings));
          return code;
        });
        parts.push(element("p", { class: "buttons" }, show, ...codes, save));
      }
    }
    for (const [trial, reason] of refusals) {
      parts.push(element("p", {}, sweep.refused(words(plan.trials[trial] as Settings), reason)));
    }
    this.results.replaceChildren(...parts);
  }
}

function tableOf(
  standings: readonly Standing[],
  told: boolean,
  words: (settings: Settings) => string,
): HTMLTableElement {
  const { sweep } = texts;
  const say = (value: number) => (told ? percent(value) : number(value));
  const finite = standings.flatMap(({ low, high }) => [low, high]).filter(Number.isFinite);
  const [least, most] = [Math.min(...finite), Math.max(...finite)];
  const heads = [
    sweep.rank,
    sweep.settings,
    `${sweep.median} (${told ? sweep.accuracy : sweep.loss})`,
    sweep.spread,
    sweep.picture,
  ];
  const rows = standings.map((standing, i) => {
    const { settings, median, low, high } = standing;
    return element(
      "tr",
      {},
      element("td", {}, `${i + 1}`),
      element("th", { scope: "row" }, words(settings)),
      element("td", {}, say(median)),
      element("td", {}, `${say(low)} – ${say(high)}`),
      element("td", {}, pictureOf(standing, least, most)),
    );
  });
  return element(
    "table",
    {},
    element("caption", {}, sweep.caption),
    element(
      "thead",
      {},
      element("tr", {}, ...heads.map((one) => element("th", { scope: "col" }, one))),
    ),
    element("tbody", {}, ...rows),
  );
}

/** From the least to the most of a trial as a line, its median as a dot, all trials by one scale. */
function pictureOf({ low, high, median }: Standing, least: number, most: number): SVGElement {
  const width = 160;
  const x = (value: number) =>
    most > least
      ? 6 + ((Math.min(value, most) - least) / (most - least)) * (width - 12)
      : width / 2;
  const svg = (tag: string, attributes: Record<string, string | number>) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, `${value}`);
    return made;
  };
  // The cells beside it say the same in numbers.
  const root = svg("svg", { width, height: 16, viewBox: `0 0 ${width} 16`, "aria-hidden": "true" });
  root.append(
    svg("line", { class: "axis", x1: 0, x2: width, y1: 8, y2: 8 }),
    svg("line", { class: "spread", x1: x(low), x2: x(high), y1: 8, y2: 8 }),
    svg("circle", { class: "median", cx: x(median), cy: 8, r: 4 }),
  );
  return root;
}
