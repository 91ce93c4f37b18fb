/** The recipes: each runs, says something, and what it asserts of it holds. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test, vi } from "vitest";

const folder = new URL("../examples/cookbook/", import.meta.url);
const recipes = readdirSync(folder).filter((name) => name.endsWith(".ts"));

test.each(recipes)("%s shows what it says", async (name) => {
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  try {
    await import(new URL(name, folder).href);
    expect(log).toHaveBeenCalled();
  } finally {
    log.mockRestore();
  }
});

test("the cookbook's page has all of them, and none that is not there", () => {
  const page = readFileSync(new URL("../docs/cookbook.md", import.meta.url), "utf8");
  const listed = [...page.matchAll(/\]\(\.\.\/examples\/cookbook\/([^)]+)\)/g)].map(
    ([, name]) => name,
  );
  expect(listed.sort()).toEqual(recipes.sort());
});
