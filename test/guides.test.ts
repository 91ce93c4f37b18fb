/** The guides for those who come from a framework: each has a program that runs, and shows it as it is. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";

const root = new URL("../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");
const guides = readdirSync(new URL("docs/", root)).filter((name) => /^from-.*\.md$/.test(name));

test("there is a guide for each framework, which README names", () => {
  expect(guides.sort()).toEqual([
    ...["from-flax.md", "from-keras.md", "from-onnx.md", "from-pytorch.md", "from-tfjs.md"],
  ]);
  const readme = read("README.md");
  for (const guide of guides) expect(readme).toContain(`](docs/${guide})`);
});

describe.each(guides)("%s", (guide) => {
  const page = read(`docs/${guide}`);
  const path = `examples/${guide.replace(".md", ".ts")}`;
  const program = read(path);

  test("has a program, which checks weights that the framework wrote", async () => {
    expect(page).toContain(`](../${path})`);
    expect(program).toContain(`docs/${guide}`);
    expect(program).toContain("test/fixtures/weights/");
    const log = vi.spyOn(console, "log").mockImplementation(() => {});
    try {
      await import(new URL(path, root).href);
      expect(log).toHaveBeenCalled();
    } finally {
      log.mockRestore();
    }
  });

  test("shows of it what is there, to the letter", () => {
    const blocks = [...page.matchAll(/^```ts\n(.*?)^```/gms)].map(([, block = ""]) => block);
    expect(blocks.length).toBeGreaterThan(0);
    for (const block of blocks) expect(program).toContain(block);
  });

  test("leads to files that are there", () => {
    const links = [...page.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, link = ""]) => link);
    expect(links.length).toBeGreaterThan(0);
    for (const link of links)
      expect(() => readFileSync(new URL(`docs/${link}`, root))).not.toThrow();
  });

  test("names what the package has: what a code span makes or calls is exported", async () => {
    const library = {
      ...(await import("batchnorm-wasm")),
      ...(await import("batchnorm-wasm/weights")),
    };
    // The right column of the tables, and calls of functions: those of the framework are on the left.
    const cells = [...page.matchAll(/^\|[^|]*\|([^|]*)\|$/gm)].map(([, cell = ""]) => cell);
    const names = cells.flatMap((cell) =>
      [...cell.matchAll(/(?:new |`|\s)([A-Za-z]+\w*)\(/g)].map(([, name = ""]) => name),
    );
    expect(names.length).toBeGreaterThan(3);
    expect(names.filter((name) => !(name in library))).toEqual([]);
  });
});
