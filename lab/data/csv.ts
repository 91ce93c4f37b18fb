/**
 * Reads comma-separated values as people have them (RFC 4180, and what spreadsheets make of it): quotes,
 * commas, semicolons, tabs or bars, any line ends, a byte order mark. What a line can't say is told with its
 * number, and no line is lost without a word.
 */

export type Separator = "," | ";" | "\t" | "|";

/** A line that was left out, and why. */
export interface Problem {
  /** Where it begins in the file, from 1. */
  readonly line: number;
  readonly reason: string;
}

export interface Row {
  readonly line: number;
  readonly cells: readonly string[];
}

export interface Csv {
  readonly separator: Separator;
  /** All lines that are not empty, the first with the names included. */
  readonly rows: readonly Row[];
  readonly problems: readonly Problem[];
}

/** What no table can be read of, or no network learn from. */
export class TableError extends Error {
  override readonly name = "TableError";
}

export const [MOST_CHARACTERS, MOST_ROWS, MOST_COLUMNS] = [20_000_000, 100_000, 512];

/** @throws TableError where there is nothing, or too much */
export function readCsv(given: string): Csv {
  const text = given.replace(/^\uFEFF/, "");
  if (text.length > MOST_CHARACTERS) {
    throw new TableError(
      `the file has ${text.length} characters; up to ${MOST_CHARACTERS} are read: take a part of it`,
    );
  }
  if (text.includes("\0")) {
    throw new TableError("the file has zero bytes: it is no text, or not in UTF-8; save it as CSV");
  }
  if (text.trim() === "") throw new TableError("the file is empty");
  const separator = separatorOf(text);
  const { rows, problems } = splitRows(text, separator);
  if (rows.length > MOST_ROWS) {
    throw new TableError(`the file has ${rows.length} lines; up to ${MOST_ROWS} are read`);
  }
  return { separator, rows, problems };
}

/** The separator by which most of the first lines have as many cells as the first, and more than one. */
function separatorOf(text: string): Separator {
  const head = text.slice(0, 20_000);
  let [best, most]: [Separator, number] = [",", 0];
  for (const separator of [",", ";", "\t", "|"] as const) {
    const rows = splitRows(head, separator).rows.slice(0, 20);
    const first = rows[0]?.cells.length ?? 0;
    const alike = rows.filter(({ cells }) => cells.length === first).length;
    if (first > 1 && alike * 1000 + first > most) {
      [best, most] = [separator, alike * 1000 + first];
    }
  }
  return best;
}

function splitRows(text: string, separator: Separator): { rows: Row[]; problems: Problem[] } {
  const rows: Row[] = [];
  const problems: Problem[] = [];
  let [at, line] = [0, 1];
  while (at < text.length) {
    const begin = { at, line };
    const cells: string[] = [];
    let reason: string | null = null;
    for (;;) {
      let cell = "";
      const quote = /^[ \t]*"/.exec(text.slice(at, at + 20));
      if (quote && !(separator === "\t" && quote[0].includes("\t"))) {
        const opened = line;
        at += quote[0].length;
        for (;;) {
          const end = text.indexOf('"', at);
          if (end < 0) {
            reason = `the quote of line ${opened} is never closed`;
            break;
          }
          const part = text.slice(at, end);
          cell += part;
          line += countLines(part);
          at = end + 1;
          if (text[at] !== '"') break;
          cell += '"';
          at++;
        }
        if (reason) {
          // All that follows would be one cell: it goes on behind this line instead.
          at = endOfLine(text, begin.at);
          line = begin.line;
          break;
        }
        const rest = restOfCell(text, at, separator);
        if (rest.trim() !== "") reason = `there is ${JSON.stringify(rest.trim())} behind a quote`;
        at += rest.length;
      } else {
        cell = restOfCell(text, at, separator);
        at += cell.length;
      }
      cells.push(cell.trim());
      if (text[at] !== separator) break;
      at++;
    }
    if (reason) problems.push({ line: begin.line, reason });
    else if (cells.length > 1 || cells[0] !== "") rows.push({ line: begin.line, cells });
    if (text[at] === "\r" && text[at + 1] === "\n") at++;
    at++;
    line++;
  }
  return { rows, problems };
}

function restOfCell(text: string, at: number, separator: Separator): string {
  let end = at;
  while (end < text.length) {
    const one = text[end];
    if (one === separator || one === "\n" || one === "\r") break;
    end++;
  }
  return text.slice(at, end);
}

function endOfLine(text: string, at: number): number {
  const found = /[\r\n]/.exec(text.slice(at));
  return found ? at + found.index : text.length;
}

function countLines(text: string): number {
  return text.split(/\r\n|\r|\n/).length - 1;
}
