/** What a network learns of a table: which columns are numbers, which is told, and which rows can't be. */
import type { Dataset, Samples } from "../engine/dataset.js";
import { take } from "../engine/dataset.js";
import { randomFrom, shuffle } from "../engine/random.js";
import { type Csv, MOST_COLUMNS, type Problem, TableError } from "./csv.js";

/** What may be said about a table; what is absent is guessed. */
export interface TableOptions {
  /** Whether the first line has the columns' names. */
  readonly header?: boolean | undefined;
  /** Which column is to be told, from 0 on; default the last. */
  readonly target?: number | undefined;
  readonly kind?: "classes" | "regression" | undefined;
  /** Whether lines in which numbers are missing are learned from, too; default no. */
  readonly gaps?: boolean | undefined;
}

export interface Table {
  readonly header: boolean;
  /** The names of all columns. */
  readonly columns: readonly string[];
  readonly target: number;
  readonly kind: "classes" | "regression";
  /** What the classes are called; none of regression. */
  readonly classes: readonly string[];
  /** The columns that are learned from. */
  readonly features: readonly number[];
  /** Columns that are left out, for they are no numbers. */
  readonly words: readonly string[];
  /** What is missing is NaN. */
  readonly samples: Samples;
  /** How many numbers are missing in them. */
  readonly missing: number;
  readonly gaps: boolean;
  /** Lines that are left out, in their order. */
  readonly problems: readonly Problem[];
}

const MOST_CLASSES = 100;
/** Whole numbers of so few values are classes, unless somebody says otherwise. */
const FEW = 20;
/** Float32, in which norms compute, ends at 3.4e38; squares are to fit, too. */
const LARGEST = 1e18;
/** Of rows that are tested on. */
const TESTED = 0.25;

/** @throws TableError where nothing can be learned from it */
export function readTable({ rows, problems, separator }: Csv, options: TableOptions = {}): Table {
  const comma = separator !== ",";
  const number = (text: string) => readNumber(text, comma);
  const first = rows[0];
  if (!first) throw new TableError("the file has no line that can be read");
  const width = first.cells.length;
  if (width < 2) {
    throw new TableError(
      "the lines have one cell: expected commas, semicolons, tabs or bars between two and more",
    );
  }
  if (width > MOST_COLUMNS) {
    throw new TableError(`the lines have ${width} cells; up to ${MOST_COLUMNS} are read`);
  }
  const header =
    options.header ??
    first.cells.some((cell, c) => {
      const below = rows.slice(1, 20).map(({ cells }) => cells[c] ?? "");
      const said = below.filter((text) => !isMissing(text));
      return (
        number(cell) === null && said.length > 0 && said.every((text) => number(text) !== null)
      );
    });
  const columns = Array.from({ length: width }, (_, c) => {
    const name = header ? first.cells[c] : "";
    return name || `column ${c + 1}`;
  });
  const target = options.target ?? width - 1;
  if (!(Number.isInteger(target) && target >= 0 && target < width)) {
    throw new TableError(`there is no column ${target + 1}: the lines have ${width} cells`);
  }
  const left: Problem[] = [...problems];
  const whole = (header ? rows.slice(1) : rows).filter(({ cells, line }) => {
    if (cells.length === width) return true;
    left.push({ line, reason: `it has ${cells.length} cells, and the first line ${width}` });
    return false;
  });
  // A column is of numbers where at least half of what stands in it are.
  const numeric = columns.map((_, c) => {
    const said = whole.map(({ cells }) => cells[c] as string).filter((cell) => !isMissing(cell));
    return (
      said.length > 0 && 2 * said.filter((cell) => number(cell) !== null).length >= said.length
    );
  });
  const features = columns.flatMap((_, c) => (c !== target && numeric[c] ? [c] : []));
  if (features.length === 0) {
    throw new TableError(
      `no column but ${columns[target]} is of numbers: there is nothing to learn from`,
    );
  }
  const kind =
    options.kind ??
    kindOf(
      whole.map(({ cells }) => cells[target] as string),
      number,
    );

  const gaps = options.gaps ?? false;
  const x: number[] = [];
  const told: string[] = [];
  for (const { cells, line } of whole) {
    const reason =
      faultOf(cells, features, columns, number, gaps) ?? faultOfTarget(cells[target] ?? "");
    if (reason !== null) {
      left.push({ line, reason });
      continue;
    }
    for (const c of features) x.push(number(cells[c] as string) ?? Number.NaN);
    told.push(cells[target] as string);
  }
  if (told.length < 8) {
    throw new TableError(
      `${told.length} lines can be learned from, expected 8 and more${tellFirst(left)}`,
    );
  }
  const classes = kind === "classes" ? [...new Set(told)].sort(byNumber) : [];
  if (kind === "classes" && (classes.length < 2 || classes.length > MOST_CLASSES)) {
    throw new TableError(
      `${columns[target]} has ${classes.length} classes, expected 2 to ${MOST_CLASSES}: take another column, or regression`,
    );
  }
  const y = told.map((text) =>
    kind === "classes" ? classes.indexOf(text) : (number(text) as number),
  );
  return {
    ...{ header, columns, target, kind, classes, features },
    words: columns.filter((_, c) => c !== target && !numeric[c]),
    samples: { rows: told.length, x: Float64Array.from(x), y: Float64Array.from(y) },
    ...{ missing: x.filter(Number.isNaN).length, gaps },
    problems: left.sort((a, b) => a.line - b.line),
  };

  function faultOfTarget(text: string): string | null {
    const name = columns[target];
    if (isMissing(text)) return `${name} is missing`;
    if (kind === "classes") return null;
    const value = number(text);
    if (value === null) return `${name} is ${JSON.stringify(text)}, which is no number`;
    return Math.abs(value) > LARGEST ? `${name} is too large: ${text}` : null;
  }
}

/** Rows by chance that a seed determines, since files are often in the order of their classes. */
export function splitTable({ samples, classes, features }: Table, seed: number): Dataset {
  const order = Uint32Array.from({ length: samples.rows }, (_, i) => i);
  shuffle(order, randomFrom(seed ^ 0x1b873593));
  const tested = Math.max(1, Math.round(samples.rows * TESTED));
  return {
    input: { inputs: features.length },
    classes: classes.length,
    train: take(samples, order.subarray(tested)),
    test: take(samples, order.subarray(0, tested)),
  };
}

function kindOf(told: readonly string[], number: (text: string) => number | null): Table["kind"] {
  const said = told.filter((text) => !isMissing(text));
  const numbers = said.map(number).filter((value) => value !== null);
  if (2 * numbers.length < said.length) return "classes";
  const few = new Set(numbers).size <= Math.min(FEW, said.length / 2);
  return few && numbers.every(Number.isInteger) ? "classes" : "regression";
}

function faultOf(
  cells: readonly string[],
  features: readonly number[],
  columns: readonly string[],
  number: (text: string) => number | null,
  gaps: boolean,
): string | null {
  if (gaps && features.every((c) => isMissing(cells[c] as string))) {
    return "all that is learned from is missing";
  }
  for (const c of features) {
    const text = cells[c] as string;
    if (isMissing(text)) {
      if (gaps) continue;
      return `${columns[c]} is missing`;
    }
    const value = number(text);
    if (value === null) return `${columns[c]} is ${JSON.stringify(text)}, which is no number`;
    if (Math.abs(value) > LARGEST) return `${columns[c]} is too large: ${text}`;
  }
  return null;
}

function isMissing(text: string): boolean {
  return /^(|\?|-|na|n\/a|nan|null|none)$/i.test(text);
}

/** A decimal number, where cells aren't separated by commas also with one; `null` of anything else. */
function readNumber(text: string, comma: boolean): number | null {
  const plain = comma ? text.replace(/^([+-]?\d*),(\d+)$/, "$1.$2") : text;
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain) ? Number(plain) : null;
}

function byNumber(a: string, b: string): number {
  return Number(a) - Number(b) || (a < b ? -1 : 1);
}

function tellFirst(problems: readonly Problem[]): string {
  const [first] = problems;
  return first ? `; line ${first.line} was left out: ${first.reason}` : "";
}
