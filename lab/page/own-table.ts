/** A table of one's own: dropped on the page or chosen, and what is to be said about it. */
import { type Csv, readCsv } from "../data/csv.js";
import { readTable, splitTable, type Table, type TableOptions } from "../data/table.js";
import type { Dataset } from "../engine/dataset.js";
import { element } from "./dom.js";
import { texts } from "./texts.js";

/** Of lines that are left out, how many are shown. */
const SHOWN = 100;

export interface OwnTable {
  readonly name: string;
  readonly csv: Csv;
  readonly options: TableOptions;
  readonly table: Table;
}

/** @throws TableError where it is none */
export async function readFile(file: File): Promise<OwnTable> {
  const csv = readCsv(await file.text());
  return { name: file.name, csv, options: {}, table: readTable(csv) };
}

/** The same table, with something else said about it. @throws TableError */
export function retold(own: OwnTable, changes: TableOptions): OwnTable {
  const options = { ...own.options, ...changes };
  return { ...own, options, table: readTable(own.csv, options) };
}

export function datasetOf({ table }: OwnTable, seed: number): Dataset {
  return splitTable(table, seed);
}

/** Whoever drops a file anywhere, or chooses one, has it read. */
export function takeFiles(read: (file: File) => void): HTMLElement {
  const input = element("input", { type: "file", id: "file", accept: ".csv,.tsv,.txt,text/csv" });
  input.addEventListener("change", () => {
    const [file] = input.files ?? [];
    if (file) read(file);
    // The same file again is a change, too: somebody may have mended it.
    input.value = "";
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) document.body.classList.remove("dropping");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    const [file] = event.dataTransfer?.files ?? [];
    if (file) read(file);
  });
  return element("label", { class: "file" }, texts.ownTable, input);
}

/** What was read, and how it was understood, to be changed. */
export function showTable(
  place: HTMLElement,
  own: OwnTable | null,
  change: (changes: TableOptions) => void,
): void {
  place.hidden = own === null;
  if (own === null) return;
  const focused = document.activeElement?.id;
  const { table, name } = own;
  const { problems, columns, classes, kind } = table;
  const words = texts.table;

  const header = element("input", { type: "checkbox", id: "header", checked: table.header });
  header.addEventListener("change", () => change({ header: header.checked, target: table.target }));
  const gaps = element("input", { type: "checkbox", id: "gaps", checked: table.gaps });
  gaps.addEventListener("change", () => change({ gaps: gaps.checked }));
  const target = element(
    "select",
    { id: "target" },
    ...columns.map((name, c) =>
      element("option", { value: c, selected: c === table.target }, name),
    ),
  );
  target.addEventListener("change", () =>
    change({ target: Number(target.value), kind: undefined }),
  );
  const kinds = element(
    "select",
    { id: "kind" },
    ...(["classes", "regression"] as const).map((one) =>
      element("option", { value: one, selected: one === kind }, words.kinds[one]),
    ),
  );
  kinds.addEventListener("change", () => change({ kind: kinds.value as Table["kind"] }));

  const lines = problems
    .slice(0, SHOWN)
    .map(({ line, reason }) => element("li", {}, words.problem(line, reason)));
  if (problems.length > SHOWN) lines.push(element("li", {}, words.more(problems.length - SHOWN)));
  const left =
    problems.length === 0
      ? element("p", { id: "left-out" }, words.whole)
      : element(
          "details",
          { id: "left-out", open: problems.length <= 5 },
          element("summary", {}, words.leftOut(problems.length)),
          // It scrolls, and so takes the focus.
          element("ul", { tabindex: 0 }, ...lines),
        );
  place.replaceChildren(
    element("h2", {}, words.title(name)),
    element(
      "p",
      {},
      words.read(table.samples.rows, table.features.length),
      kind === "classes" ? ` ${words.classes(classes)}` : ` ${words.regression}`,
      table.words.length > 0 ? ` ${words.words(table.words)}` : "",
      table.missing > 0 ? ` ${words.missing(table.missing)}` : "",
    ),
    element(
      "p",
      { class: "buttons" },
      element("label", {}, header, " ", words.header),
      element("label", {}, gaps, " ", words.gaps),
      element("label", {}, `${words.target} `, target),
      element("label", {}, `${words.kind} `, kinds),
    ),
    left,
  );
  if (focused) document.getElementById(focused)?.focus();
}
