/** Child processes that answer as asked, fail, hang or die: none may stop the harness. */
import { expect, test } from "vitest";
import { Child } from "../../scripts/bench/native/child.mjs";

/** A child that runs JavaScript for each request `r`, with `answer` to print one. */
const child = (script: string) =>
  new Child(
    process.execPath,
    [
      "-e",
      `const answer = (a) => console.log(JSON.stringify(a));
       require("node:readline").createInterface({ input: process.stdin })
         .on("line", (line) => { const r = JSON.parse(line); ${script} });`,
    ],
    process.env,
  );

test("requests are answered in turn, until it is closed", async () => {
  const echo = child("answer({ twice: 2 * r.value })");
  expect(await echo.request({ value: 1 }, 10_000)).toEqual({ twice: 2 });
  expect(await echo.request({ value: 2 }, 10_000)).toEqual({ twice: 4 });
  await echo.close();
  expect(echo.ended).toBe(true);
});

test("an error is thrown, and the child lives on", async () => {
  const one = child("answer(r.bad ? { error: 'no such thing' } : { ok: true })");
  await expect(one.request({ bad: true }, 10_000)).rejects.toThrow("no such thing");
  expect(await one.request({}, 10_000)).toEqual({ ok: true });
  await one.close();
});

test("what a dying child wrote last is the reason", async () => {
  const one = child("console.error('first'); console.error('out of memory'); process.exit(3)");
  await expect(one.request({}, 10_000)).rejects.toThrow("out of memory");
  expect(one.ended).toBe(true);
});

test("a silent death tells its status", async () => {
  await expect(child("process.exit(3)").request({}, 10_000)).rejects.toThrow("status 3");
});

test("a child that hangs is ended", async () => {
  const one = child("for (;;);");
  await expect(one.request({}, 300)).rejects.toThrow("no answer in 0.3 s");
  expect(one.ended).toBe(true);
});

test("a command that isn't there is the reason", async () => {
  const none = new Child("/no/such/python", [], process.env);
  await expect(none.answer(10_000)).rejects.toThrow("ENOENT");
});
