/** The settings of all runs beside each other: a row a setting, a column a run. */
import { checkSettings, SETTINGS, type Setting, type Settings } from "../engine/settings.js";
import { element } from "./dom.js";
import { LETTERS } from "./session.js";
import { type LabState, MOST_RUNS, mayBeMasked, readValue } from "./state.js";
import { texts } from "./texts.js";

/** What the page does when somebody has changed something. */
export interface FieldActions {
  /** Of the data, which are the same for all runs. */
  offset(text: string): void;
  drift(text: string): void;
  testBatch(text: string): void;
  change(run: number, settings: Settings): void;
  add(): void;
  remove(run: number): void;
  refuse(message: string | null): void;
}

/** Where there is room beside the charts. */
const OPEN = matchMedia("(min-width: 40rem)").matches ? ["network", "norm", "optimizer"] : [];

/** Makes the fields anew; which sections are open, and where the focus is, stays. */
export function showFields(place: HTMLElement, state: LabState, actions: FieldActions): void {
  const { runs } = state;
  const focused = document.activeElement?.id;
  const open = new Set(
    place.childElementCount
      ? [...place.querySelectorAll("details[open]")].map((one) => one.id)
      : OPEN.map((name) => `section-${name}`),
  );
  const sections = (["network", "norm", "optimizer", "regularizers"] as const).map((name) => {
    const rows = SETTINGS.filter(({ section }) => section === name);
    const details = element(
      "details",
      { id: `section-${name}`, open: open.has(`section-${name}`) },
      element("summary", {}, texts.sections[name]),
      element("div", { class: "scroll" }, tableOf(texts.sections[name], rows, state, actions)),
    );
    return details;
  });
  const add = element("button", { type: "button", id: "add-run" }, texts.addRun);
  add.disabled = runs.length >= MOST_RUNS;
  add.addEventListener("click", () => actions.add());
  const buttons = runs.flatMap((_, run) => {
    if (runs.length === 1) return [];
    const remove = element(
      "button",
      { type: "button", id: `remove-${run}` },
      texts.removeRun(LETTERS[run] as string),
    );
    remove.addEventListener("click", () => actions.remove(run));
    return [remove];
  });
  place.replaceChildren(
    element("h2", {}, texts.settings),
    ...sections,
    testSection(
      open.has("section-test") || state.offset !== 0 || state.drift !== 0 || state.testBatch !== 0,
      state,
      actions,
    ),
    element("p", { class: "buttons" }, add, ...buttons),
  );
  if (focused) document.getElementById(focused)?.focus();
}

/** What is done to the data of all runs. */
function testSection(open: boolean, state: LabState, actions: FieldActions): HTMLElement {
  const rows = (
    [
      ["offset", texts.offset, texts.offsetHint],
      ["drift", texts.drift, texts.driftHint],
      ["testBatch", texts.testBatch, texts.testBatchHint],
    ] as const
  ).map(([key, name, hint]) => {
    const field = element("input", {
      ...{ id: key, type: "text", inputmode: "decimal", autocomplete: "off" },
      ...{ value: `${state[key]}`, "aria-label": name },
    });
    field.addEventListener("change", () => {
      try {
        actions[key](field.value);
      } catch (error) {
        field.setAttribute("aria-invalid", "true");
        actions.refuse((error as Error).message);
      }
    });
    const title = element("th", { scope: "row" }, name, element("small", {}, hint));
    return element("tr", {}, title, element("td", {}, field));
  });
  const head = element(
    "tr",
    {},
    element("th", { scope: "col" }, texts.setting),
    element("th", { scope: "col" }, texts.allRuns),
  );
  return element(
    "details",
    { id: "section-test", open },
    element("summary", {}, texts.testData),
    element(
      "table",
      {},
      element("caption", { class: "unseen" }, texts.testData),
      element("colgroup", {}, element("col", { class: "name" }), element("col")),
      element("thead", {}, head),
      element("tbody", {}, ...rows),
    ),
  );
}

function tableOf(
  caption: string,
  rows: readonly Setting[],
  state: LabState,
  actions: FieldActions,
): HTMLTableElement {
  const { runs } = state;
  const head = element("tr", {}, element("th", { scope: "col" }, texts.setting));
  for (const run of runs.keys()) {
    const badge = element("span", { class: `badge run-${run}` }, LETTERS[run] as string);
    head.append(element("th", { scope: "col" }, badge));
  }
  const columns = element("colgroup", {}, element("col", { class: "name" }));
  columns.append(...runs.map(() => element("col")));
  const body = rows.map((setting) => {
    const { key } = setting;
    const differs = runs.some((run) => run[key] !== runs[0]?.[key]);
    const hint = texts.hints[key];
    const name = element("th", { scope: "row" }, texts.labels[key]);
    if (hint) name.append(element("small", {}, hint));
    const row = element("tr", differs ? { class: "differs" } : {}, name);
    for (const run of runs.keys()) {
      row.append(element("td", {}, fieldOf(setting, state, run, actions)));
    }
    return row;
  });
  return element(
    "table",
    {},
    element("caption", { class: "unseen" }, caption),
    columns,
    element("thead", {}, head),
    element("tbody", {}, ...body),
  );
}

function fieldOf(setting: Setting, { runs, data }: LabState, run: number, actions: FieldActions) {
  const { key } = setting;
  const settings = runs[run] as Settings;
  const name = `${texts.labels[key]}, ${texts.run(LETTERS[run] as string)}`;
  const common = { id: `${key}-${run}`, "aria-label": name };
  const value = settings[key];
  let field: HTMLInputElement | HTMLSelectElement;
  if (setting.kind === "choice") {
    const options = setting.values.map((one) =>
      element("option", { value: one, selected: one === value }, texts.values[one] ?? one),
    );
    field = element("select", common, ...options);
  } else if (setting.kind === "switch") {
    field = element("input", { ...common, type: "checkbox", checked: value === true });
  } else {
    field = element("input", {
      ...common,
      ...{ type: "text", inputmode: "decimal", autocomplete: "off", value: `${value}` },
    });
  }
  if (setting.norms && !setting.norms.includes(settings.norm)) {
    field.disabled = true;
    field.title = texts.notOfThisNorm;
  } else if (key === "mask" && !mayBeMasked(data)) {
    field.disabled = true;
    field.title = texts.notOfThisData;
  }
  field.addEventListener("change", () => {
    const text =
      field instanceof HTMLInputElement && field.type === "checkbox"
        ? `${field.checked}`
        : field.value;
    try {
      const changed = checkSettings({ ...settings, [key]: readValue(setting, text) });
      actions.refuse(null);
      actions.change(run, changed);
    } catch (error) {
      field.setAttribute("aria-invalid", "true");
      actions.refuse(texts.badSetting(LETTERS[run] as string, (error as Error).message));
    }
  });
  return field;
}
