/** Tables of one's own: as people have them, and as nobody should. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MOST_ROWS, readCsv, TableError } from "../../lab/data/csv.js";
import { standardize } from "../../lab/data/standardize.js";
import { readTable, splitTable, type TableOptions } from "../../lab/data/table.js";
import { settingsOf } from "../../lab/engine/settings.js";
import { Trainer } from "../../lab/engine/trainer.js";

/** Ten good lines of two numbers and a class. */
const good = Array.from({ length: 10 }, (_, i) => `${i},${i * i},${i % 2 ? "odd" : "even"}`);
const read = (text: string, options?: TableOptions) => readTable(readCsv(text), options);
const lines = (...more: string[]) => [...good, ...more].join("\n");

describe("missing values", () => {
  const gappy = ["0.5,,a", "NA,3,a", "?,,b", "1.5,5,b", "2.5,7,a", "3.5,9,b", "4.5,,a", "5.5,1,b"];
  const table = (gaps: boolean) => read(["x,y,kind", ...gappy, ...gappy].join("\n"), { gaps });

  test("lines with them are left out, unless somebody wants them", () => {
    const [without, withThem] = [table(false), table(true)];
    expect(without.samples.rows).toBe(8);
    expect(without.missing).toBe(0);
    expect(without.problems[0]).toEqual({ line: 2, reason: "y is missing" });
    expect(withThem.samples.rows).toBe(14);
    expect(withThem.missing).toBe(6);
    // Of a line of which nothing is there nothing is learned.
    expect(withThem.problems).toEqual([
      { line: 4, reason: "all that is learned from is missing" },
      { line: 12, reason: "all that is learned from is missing" },
    ]);
    expect(Array.from(withThem.samples.x.subarray(0, 6))).toEqual([
      ...[0.5, Number.NaN, Number.NaN, 3, 1.5, 5],
    ]);
    // What is missing of the target can't be told.
    expect(read(lines("3,4,?"), { gaps: true }).problems).toEqual([
      { line: 11, reason: "column 3 is missing" },
    ]);
  });

  test("columns are standardized by what is there, 0 stands in the gaps, and an input says where", () => {
    const samples = (x: number[]) => ({
      ...{ rows: x.length / 3, x: Float64Array.from(x) },
      y: new Float64Array(x.length / 3),
    });
    const no = Number.NaN;
    const data = standardize({
      ...{ input: { inputs: 3 }, classes: 2 },
      train: samples([1000, 5, no, 1002, no, no, no, 7, no, 1004, 9, no]),
      test: samples([no, no, no, 1002, 7, 3]),
    });
    // Of 1000, 1002, 1004 and of 5, 7, 9 the deviation is √(8/3). Of the third column nothing is known.
    const one = 2 / Math.sqrt(8 / 3);
    expect(data.input.inputs).toBe(6);
    const near = (found: Float64Array | undefined, expected: number[]) => {
      expect(found?.length).toBe(expected.length);
      // RunningMoments has an ε of its own.
      for (const [i, value] of expected.entries()) expect(found?.[i]).toBeCloseTo(value, 4);
    };
    near(data.train.x, [
      ...[-one, -one, 0, 0, 0, 1],
      ...[0, 0, 0, 0, 1, 1],
      ...[0, 0, 0, 1, 0, 1],
      ...[one, one, 0, 0, 0, 1],
    ]);
    near(data.test.x, [...[0, 0, 0, 1, 1, 1], ...[0, 0, 0, 0, 0, 0]]);
    near(data.train.weights, [2 / 3, 1 / 3, 1 / 3, 2 / 3]);
    near(data.test.weights, [0, 1]);
  });

  test("a table without gaps has no weights, and no inputs more", () => {
    const data = standardize(splitTable(read(good.join("\n")), 1));
    expect(data.input.inputs).toBe(2);
    expect(data.train.weights).toBeUndefined();
  });
});

describe("what people have", () => {
  test.each([
    ["plain", good.join("\n")],
    ["with a line end at the end", `${good.join("\n")}\n`],
    ["by Windows", good.join("\r\n")],
    ["by an old Mac", good.join("\r")],
    ["with a byte order mark", `\uFEFF${good.join("\n")}`],
    ["with names", ["first,second,kind", ...good].join("\n")],
    ["with semicolons", good.join("\n").replaceAll(",", ";")],
    ["with tabs", good.join("\n").replaceAll(",", "\t")],
    ["with bars", good.join("\n").replaceAll(",", "|")],
    ["with spaces", good.join("\n").replaceAll(",", " , ")],
    ["in quotes", good.map((line) => line.replace(/[^,]+/g, '"$&"')).join("\n")],
    ["with empty lines between", good.join("\n\n")],
  ])("%s", (_, text) => {
    const table = read(text);
    expect(table.problems).toEqual([]);
    expect(table.classes).toEqual(["even", "odd"]);
    expect(Array.from(table.samples.x.subarray(0, 6))).toEqual([0, 0, 1, 1, 2, 4]);
    expect(Array.from(table.samples.y)).toEqual([0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
  });

  test("names are taken, or not, as somebody says", () => {
    const text = ["first,second,kind", ...good].join("\n");
    expect(read(text).columns).toEqual(["first", "second", "kind"]);
    const table = read(text, { header: false });
    expect(table.columns).toEqual(["column 1", "column 2", "column 3"]);
    expect(table.problems).toEqual([
      { line: 1, reason: 'column 1 is "first", which is no number' },
    ]);
    expect(read(good.join("\n"), { header: true }).samples.rows).toBe(9);
  });

  test("decimal commas, where cells are not separated by them", () => {
    const text = good.map((_, i) => `${i},5;${i};${i % 2}`).join("\n");
    expect(Array.from(read(text).samples.x.subarray(0, 4))).toEqual([0.5, 0, 1.5, 1]);
  });

  test("quotes hold separators, quotes and line ends, which are counted", () => {
    const text = ['"a, ""b""",1,x', '"two\nlines",2,y', "3,4,5,6", ...good].join("\n");
    const { rows } = readCsv(text);
    expect(rows[0]?.cells).toEqual(['a, "b"', "1", "x"]);
    expect(rows[1]).toEqual({ line: 2, cells: ["two\nlines", "2", "y"] });
    expect(rows[2]?.line).toBe(4);
    expect(read(text).problems.at(-1)).toEqual({
      ...{ line: 4, reason: "it has 4 cells, and the first line 3" },
    });
  });

  test("whole numbers of few values are classes, others regression, unless somebody says", () => {
    const some = (target: (i: number) => unknown) =>
      Array.from({ length: 60 }, (_, i) => `${i},${target(i)}`).join("\n");
    expect(read(some((i) => i % 3)).classes).toEqual(["0", "1", "2"]);
    expect(read(some((i) => i / 7)).kind).toBe("regression");
    expect(read(some((i) => i)).kind).toBe("regression");
    expect(
      read(
        some((i) => i % 3),
        { kind: "regression" },
      ).classes,
    ).toEqual([]);
    expect(read(some((i) => i % 12)).classes.slice(0, 4)).toEqual(["0", "1", "2", "3"]);
    expect(read(good.join("\n"), { target: 1 })).toMatchObject({
      ...{ kind: "regression", features: [0], words: ["column 3"] },
    });
  });
});

describe("bad lines are left out and told, and nothing else is", () => {
  test.each([
    ["1,2", "it has 2 cells, and the first line 3"],
    ["1,2,odd,4", "it has 4 cells, and the first line 3"],
    ["1,two,odd", 'column 2 is "two", which is no number'],
    ["1,,odd", "column 2 is missing"],
    ["1,NaN,odd", "column 2 is missing"],
    ["1,?,odd", "column 2 is missing"],
    ["1,2,", "column 3 is missing"],
    ["1e999,2,odd", "column 1 is too large: 1e999"],
    ["-1e30,2,odd", "column 1 is too large: -1e30"],
    ["Infinity,2,odd", 'column 1 is "Infinity", which is no number'],
    ["0x10,2,odd", 'column 1 is "0x10", which is no number'],
    ["1_000,2,odd", 'column 1 is "1_000", which is no number'],
    ['"1"2,3,odd', 'there is "2" behind a quote'],
    ['"1,2,odd', "the quote of line 5 is never closed"],
  ])("%s", (line, reason) => {
    const text = [...good.slice(0, 4), line, ...good.slice(4)].join("\n");
    const { problems, samples } = read(text);
    expect(problems).toEqual([{ line: 5, reason }]);
    expect(samples.rows).toBe(10);
  });

  test("every line is a row or a problem, whatever stands in it", () => {
    const cell = fc.oneof(
      fc.double().map(String),
      fc.constantFrom("", "?", "a", '"q"', "1,5", '"', "=1+1", "<b>", "\u202e", "🦊"),
      fc.string({ maxLength: 5 }).map((text) => text.replace(/[\r\n"\0]/g, "")),
    );
    const line = fc.array(cell, { minLength: 1, maxLength: 5 }).map((cells) => cells.join(","));
    fc.assert(
      fc.property(fc.array(line, { maxLength: 30 }), fc.boolean(), (more, gaps) => {
        const text = lines(...more);
        const found = readCsv(text);
        const told = [...found.rows, ...found.problems]
          .map(({ line }) => line)
          .sort((a, b) => a - b);
        const expected = text
          .split("\n")
          .flatMap((one, i) => (one.trim().replace(/^"[\s]*"$/, "") === "" ? [] : [i + 1]));
        // A quote that is closed lines later takes these with it.
        if (!more.some((one) => one.includes('"'))) expect(told).toEqual(expected);
        try {
          const table = readTable(found, { gaps });
          expect(table.samples.rows + table.problems.length + (table.header ? 1 : 0)).toBe(
            found.rows.length + found.problems.length,
          );
          const { x } = table.samples;
          expect(x.every((value) => Number.isFinite(value) || Number.isNaN(value))).toBe(true);
          expect(x.filter(Number.isNaN).length).toBe(table.missing);
          if (!gaps) expect(table.missing).toBe(0);
          expect(table.samples.x.length).toBe(table.samples.rows * table.features.length);
        } catch (error) {
          expect(error).toBeInstanceOf(TableError);
        }
      }),
    );
  });
});

describe("what no table can be read of", () => {
  test.each([
    ["nothing", "", /the file is empty/],
    ["blanks", " \n\r\n\t ", /the file is empty/],
    ["one column", good.map((_, i) => i).join("\n"), /the lines have one cell/],
    ["words alone", good.map(() => "a,b").join("\n"), /no column but column 2 is of numbers/],
    ["too few lines", good.slice(0, 5).join("\n"), /5 lines can be learned from/],
    [
      "only bad lines",
      good.map((line) => `${line},`).join("\n"),
      /0 lines .*; line 1 was left out: column 4 is missing/,
    ],
    ["one class", good.map((_, i) => `${i},a`).join("\n"), /column 2 has 1 classes/],
    ["a picture", "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", /zero bytes/],
    ["too many columns", good.map(() => "1,".repeat(600)).join("\n"), /601 cells; up to 512/],
    ["too many lines", "1,2\n".repeat(MOST_ROWS + 1), /lines; up to 100000 are read/],
    ["too much", "1".repeat(20_000_001), /20000001 characters/],
  ])("%s", (_, text, words) => {
    expect(() => read(text)).toThrow(words);
    expect(() => read(text)).toThrow(TableError);
  });

  test("a column that is not there", () => {
    expect(() => read(good.join("\n"), { target: 3 })).toThrow(/no column 4/);
  });

  test("a quote that is never closed takes no more than its line, however long the file", () => {
    const text = Array.from({ length: 3000 }, (_, i) => `"${i},${i},x`).join("\n");
    expect(readCsv(`${lines()}\n${text}`).problems.length).toBe(1500);
  });
});

test("rows are split by chance, each in one part", () => {
  const table = read(good.join("\n"));
  const { train, test: tested } = splitTable(table, 1);
  expect([train.rows, tested.rows]).toEqual([7, 3]);
  const firsts = [train, tested].flatMap(({ x }) => Array.from(x).filter((_, i) => i % 2 === 0));
  expect(firsts.sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(splitTable(table, 1)).toEqual(splitTable(table, 1));
  expect(splitTable(table, 2)).not.toEqual(splitTable(table, 1));
});

test("features and targets are standardized by the training rows, far from 0 too", () => {
  const text = Array.from({ length: 400 }, (_, i) => `${1.7e9 + (i % 20)},7,${i * 3}`).join("\n");
  const { train, test: tested } = standardize(splitTable(read(text), 1));
  const column = (values: Float64Array, c: number) =>
    Array.from(values).filter((_, i) => i % 2 === c);
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value) / values.length;
  for (const values of [column(train.x, 0), Array.from(train.y)]) {
    expect(mean(values)).toBeCloseTo(0, 5);
    expect(mean(values.map((value) => value * value))).toBeCloseTo(1, 5);
  }
  // A column that is constant says nothing.
  expect(column(train.x, 1).every((value) => value === 0)).toBe(true);
  expect(Math.abs(mean(column(tested.x, 0)))).toBeLessThan(0.3);
});

test("a table of one's own is learned, classes and regression", () => {
  const circle = Array.from({ length: 400 }, (_, i) => {
    const [a, b] = [Math.sin(i * 12.9898), Math.sin(i * 78.233)];
    return `${100 * a};${b};${a * a + b * b < 0.7 ? "in" : "out"};${a - b}`;
  });
  const of = (target: number) => {
    const data = standardize(splitTable(read(circle.join("\n"), { target }), 1));
    const trainer = new Trainer(data, settingsOf({ learningRate: 0.05 }), 1);
    for (let i = 0; i < 300; i++) trainer.learn();
    return trainer.evaluate(data.test, "evaluation");
  };
  expect(of(2).accuracy).toBeGreaterThan(0.9);
  const { loss, accuracy } = of(3);
  expect(accuracy).toBeNull();
  expect(loss).toBeLessThan(0.1);
});
