/** The page: its state, which the link holds, the runs of it, and what is drawn of them. */
import { TableError } from "../data/csv.js";
import type { TableOptions } from "../data/table.js";
import { type Dataset, isWeighted } from "../engine/dataset.js";
import { type Settings, settingsOf } from "../engine/settings.js";
import { Card } from "./cards.js";
import { Charts } from "./charts.js";
import { codeOf } from "./code.js";
import { dataOf } from "./data.js";
import { byId, download, element } from "./dom.js";
import { showExperiments } from "./experiment-list.js";
import { experiment } from "./experiments.js";
import { showFields } from "./fields.js";
import { number, percent } from "./findings.js";
import { type OwnTable, readFile, retold, showTable, takeFiles } from "./own-table.js";
import { LETTERS, Session } from "./session.js";
import {
  DATA_NAMES,
  type DataName,
  firstState,
  fromLink,
  type LabState,
  MOST_DRIFT,
  MOST_OFFSET,
  MOST_SEED,
  MOST_STEPS,
  MOST_TEST_BATCH,
  readCount,
  readNumber,
  toLink,
} from "./state.js";
import { Sweep } from "./sweep.js";
import { texts } from "./texts.js";

let state = firstState();
let data: Dataset | null = null;
let own: OwnTable | null = null;
let cards: Card[] = [];
let wasRunning = false;

const session = new Session(draw, (reason) => refuse(texts.failed(reason)));
addEventListener("error", ({ message }) => refuse(texts.failed(message)));
addEventListener("unhandledrejection", ({ reason }) => refuse(texts.failed(`${reason}`)));

const controls = makeControls();
const charts = makeCharts();
document.documentElement.lang = texts.language;
document.title = texts.title;
byId("head").append(element("h1", {}, texts.title), element("p", { id: "lead" }, texts.lead));
const dialog = makeDialog();
new Sweep(byId("sweep"), {
  now: () => ({ state, data }),
  showRuns: (runs) => change({ runs }),
  viewCode: (place, settings) => showCode(texts.code.place(place), settings, [settings]),
  refuse,
  say,
});
readLink();
addEventListener("hashchange", readLink);

/** Shows what the address says. Its own changes of the address are no events. */
function readLink(): void {
  try {
    show(fromLink(location.hash.slice(1)), null);
  } catch (error) {
    show(firstState(), texts.badLink((error as Error).message));
  }
}

/** Shows a state from its beginning. */
async function show(next: LabState, notice: string | null): Promise<void> {
  state = next;
  refuse(notice);
  if (notice === null) history.replaceState(null, "", `#${toLink(state)}`);
  controls.data.value = state.data;
  controls.seed.value = `${state.seed}`;
  controls.steps.value = `${state.steps}`;
  showFields(byId("settings"), state, {
    change(run, settings) {
      change({ runs: state.runs.map((old, i) => (i === run ? settings : old)) });
    },
    add() {
      change({ runs: [...state.runs, state.runs.at(-1) ?? settingsOf()] });
    },
    remove(run) {
      change({ runs: state.runs.filter((_, i) => i !== run) });
    },
    refuse,
    offset: (text) => change({ offset: readNumber(texts.offset, text, MOST_OFFSET) }),
    drift: (text) => change({ drift: readNumber(texts.drift, text, MOST_DRIFT) }),
    testBatch: (text) =>
      change({ testBatch: readCount(texts.testBatch, text, 0, MOST_TEST_BATCH) }),
  });
  showExperiments(byId("experiments"), state.experiment, (name) => {
    void show(experiment(name), null).then(start);
  });
  showOwn();
  const note = texts.dataNotes[state.data];
  byId("data-note").hidden = note === undefined;
  byId("data-note").textContent = note ?? "";
  const shown = state;
  let made: Dataset;
  try {
    made = await dataOf(shown, own);
  } catch (error) {
    if (shown !== state) return;
    data = null;
    cards = [];
    byId("cards").replaceChildren();
    session.end();
    showButtons();
    refuse(texts.failed((error as Error).message));
    return;
  }
  // Somebody was faster.
  if (shown !== state) return;
  data = made;
  cards = shown.runs.map(
    (_, run) => new Card(run, shown, { viewCode: () => viewCode(run), save: () => save(run) }),
  );
  byId("cards").replaceChildren(...cards.map(({ root }) => root));
  session.make(made, shown);
}

function showOwn(): void {
  const shown = state.data === "table" ? own : null;
  showTable(byId("table"), shown, (changes: TableOptions) => {
    if (shown) void take(shown.name, () => retold(shown, changes));
  });
}

/** Takes a table, or says why not, and leaves all as it is. */
async function take(name: string, read: () => OwnTable | Promise<OwnTable>): Promise<void> {
  try {
    own = await read();
  } catch (error) {
    if (!(error instanceof TableError)) throw error;
    refuse(texts.table.refused(name, error.message));
    // What was changed in the fields is as it was.
    showOwn();
    return;
  }
  change({ data: "table" });
}

function start(): void {
  say(texts.status.started);
  session.run(state.steps);
}

/** What is changed is no experiment any more, but by another seed. */
function change(changes: Partial<LabState>): void {
  const same = Object.keys(changes).every((key) => key === "seed");
  void show({ ...state, experiment: same ? state.experiment : null, ...changes }, null);
}

function refuse(message: string | null): void {
  const notice = byId("notice");
  notice.hidden = message === null;
  notice.textContent = message ?? "";
}

function makeControls() {
  const labelled = <T extends HTMLElement>(name: string, field: T): T => {
    byId("controls").append(element("label", {}, name, field));
    return field;
  };
  const button = (id: string, name: string, act: () => void) => {
    const made = element("button", { type: "button", id }, name);
    made.addEventListener("click", act);
    byId("controls").append(made);
    return made;
  };
  const count = (id: string, name: string, min: number, max: number, set: (n: number) => void) => {
    const field = element("input", { id, inputmode: "numeric", autocomplete: "off" });
    field.addEventListener("change", () => {
      try {
        set(readCount(name, field.value, min, max));
        field.removeAttribute("aria-invalid");
      } catch (error) {
        field.setAttribute("aria-invalid", "true");
        refuse((error as Error).message);
      }
    });
    return labelled(name, field);
  };

  const options = DATA_NAMES.map((name) =>
    element("option", { value: name }, texts.dataNames[name]),
  );
  const select = labelled(texts.data, element("select", { id: "data" }, ...options));
  select.addEventListener("change", () => change({ data: select.value as DataName }));
  byId("controls").append(takeFiles((file) => take(file.name, () => readFile(file))));
  const seed = count("seed", texts.seed, 0, MOST_SEED, (seed) => change({ seed }));
  const steps = count("steps", texts.steps, 1, MOST_STEPS, (steps) => {
    // More steps go on from where the runs are.
    state = { ...state, steps };
    history.replaceState(null, "", `#${toLink(state)}`);
    refuse(null);
    draw();
  });
  const startButton = button("start", texts.start, () => {
    if (session.running) session.pause();
    else start();
  });
  startButton.classList.add("first");
  const step = button("step", texts.step, () => session.step());
  button("reset", texts.reset, () => {
    say(texts.status.reset);
    change({});
  });
  button("share", texts.share, async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      say(texts.shared, true);
    } catch {
      // A page without the right to, or not over https: the address says the same.
      say(texts.notShared, true);
    }
  });
  const results = button("results", texts.results, () => {
    const runs = session.runs.map(({ settings, history }) => ({ settings, history }));
    download("lab-results.json", JSON.stringify({ link: location.href, runs }));
  });
  return { data: select, seed, steps, start: startButton, step, results };
}

function makeCharts(): Charts {
  const figure = (name: string, note: string, dots: string) => {
    const plot = element("div", { class: "plot" });
    const { key } = texts;
    const lines = [
      element("li", {}, key.solid),
      element("li", { class: "dashed" }, key.dashed),
      element("li", { class: "dotted" }, dots),
    ];
    const title = element("h2", {}, name);
    if (note) title.append(" ", element("small", { class: "note" }, note));
    byId("charts").append(element("figure", {}, title, plot, element("ul", {}, ...lines)));
    return plot;
  };
  return new Charts({
    accuracy: figure(texts.accuracy, "", texts.key.accuracyDots),
    loss: figure(texts.loss, texts.lossNote, texts.key.lossDots),
  });
}

/** Where a run's program is shown. */
function makeDialog() {
  const title = element("h2", { id: "code-title" });
  const text = element("code");
  const button = (name: string, act: () => void) => {
    const made = element("button", { type: "button" }, name);
    made.addEventListener("click", act);
    return made;
  };
  const copy = button(texts.code.copy, async () => {
    await navigator.clipboard.writeText(text.textContent ?? "");
    copy.textContent = texts.copied;
  });
  const root = element(
    "dialog",
    { id: "code", "aria-labelledby": "code-title" },
    title,
    // It scrolls, and so takes the focus.
    element("pre", { tabindex: 0 }, text),
    element(
      "p",
      { class: "buttons" },
      copy,
      button(texts.code.close, () => root.close()),
    ),
  );
  document.body.append(root);
  return { root, title, text, copy };
}

function viewCode(run: number): void {
  showCode(texts.code.title(LETTERS[run] as string), state.runs[run] as Settings, state.runs);
}

/** The program of settings, with the link to a page of these runs. */
function showCode(title: string, settings: Settings, runs: readonly Settings[]): void {
  dialog.title.textContent = title;
  const { image, positions } = data?.input ?? {};
  const inner = image ?? (positions === undefined ? [] : [positions]);
  const weighted = data !== null && isWeighted(data);
  dialog.text.textContent = codeOf(settings, inner, weighted, { ...state, runs });
  dialog.copy.textContent = texts.code.copy;
  dialog.root.showModal();
}

async function save(run: number): Promise<void> {
  const dict = await session.stateDict(run);
  download(`lab-run-${LETTERS[run]}.json`, JSON.stringify(dict));
}

/** To be read aloud; `shown` also to be seen. */
function say(text: string, shown = false): void {
  byId("status").textContent = text;
  if (shown) refuse(text);
}

let asked = false;
const frames: number[] = [];
let lastFrame = 0;

/** Draws at the next frame, however many messages come until then. */
function draw(): void {
  if (asked) return;
  asked = true;
  requestAnimationFrame((now) => {
    asked = false;
    if (data === null) return;
    const { runs, running } = session;
    cards.forEach((card, i) => {
      const run = runs[i];
      if (run) card.draw(run, state.steps);
    });
    charts.draw(runs.map(({ history }) => history));
    session.drawn();
    showButtons();
    if (wasRunning && !running) sayWhereRunsAre();
    if (running && !wasRunning) {
      lastFrame = now;
      requestAnimationFrame(countFrame);
    }
    wasRunning = running;
  });
}

function showButtons(): void {
  const { runs, running, begun } = session;
  const open = runs.some(
    ({ last, refused }) => !refused && !last?.diverged && (last?.step ?? 0) < state.steps,
  );
  controls.start.textContent = running ? texts.pause : begun ? texts.goOn : texts.start;
  controls.start.disabled = !running && !open;
  controls.step.disabled = running || runs.every(({ refused }) => refused !== null);
  controls.results.disabled = !begun;
}

function sayWhereRunsAre(): void {
  const words = session.runs.map(({ last, refused }, i) => {
    const letter = LETTERS[i] as string;
    if (refused) return texts.badSetting(letter, refused);
    const { accuracy = null, loss = Number.NaN } = last?.test.evaluation ?? {};
    const score =
      accuracy === null
        ? texts.status.loss(number(loss))
        : texts.status.accuracy(percent(accuracy));
    return texts.status.run(letter, last?.step ?? 0, score);
  });
  const all = words.join(" ");
  const done = session.runs.every(({ last }) => (last?.step ?? 0) >= state.steps);
  say(done ? texts.status.done(all) : texts.status.paused(all));
}

/** How smoothly the page draws while runs learn. */
function countFrame(now: number): void {
  frames.push(now - lastFrame);
  lastFrame = now;
  if (frames.length > 300) frames.shift();
  if (session.running) {
    requestAnimationFrame(countFrame);
    return;
  }
  const sorted = frames.toSorted((a, b) => a - b);
  const [median, worst] = [sorted[sorted.length >> 1] ?? 0, sorted.at(-1) ?? 0];
  byId("frames").textContent = texts.frames(median.toFixed(1), worst.toFixed(1));
}
