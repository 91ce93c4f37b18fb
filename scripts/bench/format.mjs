/** Numbers and tables as people read them. */

/** Three digits and no exponent. @param {number} value */
export function digits(value) {
  return value >= 1000 ? value.toFixed(0) : String(value.toPrecision(3));
}

/** @param {number} ms */
export function duration(ms) {
  if (ms < 1e-3) return `${digits(ms * 1e6)} ns`;
  if (ms < 1) return `${digits(ms * 1e3)} µs`;
  return ms < 1e3 ? `${digits(ms)} ms` : `${digits(ms / 1e3)} s`;
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const units = ["KB", "MB", "GB"];
  const power = Math.min(3, Math.floor(Math.log2(bytes) / 10));
  return `${Number((bytes / 1024 ** power).toPrecision(3))} ${units[power - 1]}`;
}

/**
 * Columns side by side, `left` ones to the left, others to the right; headings are
 * broken at spaces and hyphens.
 *
 * @param {readonly string[]} head @param {readonly (readonly string[])[]} rows
 * @param {readonly number[]} [left]
 */
export function table(head, rows, left = [0]) {
  const parts = head.map((heading, column) =>
    left.includes(column) ? [heading] : heading.split(/ |(?<=-)/),
  );
  const height = Math.max(...parts.map(({ length }) => length));
  const heading = Array.from({ length: height }, (_, line) =>
    parts.map((some) => some[line - height + some.length] ?? ""),
  );
  const lines = [...heading, ...rows];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => width(line[column]))));
  return lines
    .map((line) =>
      line
        .map((text, column) => {
          const space = " ".repeat((widths[column] ?? 0) - width(text));
          return left.includes(column) ? text + space : space + text;
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** @param {string | undefined} text */
const width = (text) => [...(text ?? "")].length;
