/** Results are the same to the bit, however many threads share the calls. */
import { createKernel } from "batchnorm-wasm";
import { afterAll, expect, test } from "vitest";
import { kernelBytes } from "../../scripts/kernel/under-test.mjs";
import { newCrew, ready } from "./crewed.js";
import { differences, run } from "./programs.js";

const MOST = 200_000;
const ordinary = createKernel(kernelBytes);
const wanted = Array.from({ length: 40 }, (_, seed) => run(seed, ordinary, MOST));
const { kernel, crew } = newCrew();

afterAll(() => crew.shutdown());

for (const threads of [1, 2, 3, 8]) {
  test(`${threads} threads give the bits of the ordinary entry, of all norms`, async () => {
    crew.set(threads);
    await ready(crew, threads);
    const before = crew.inspect().shared;
    for (const [seed, want] of wanted.entries()) {
      expect(differences(run(seed, kernel, MOST), want), `seed ${seed}`).toEqual([]);
    }
    const shared = crew.inspect().shared - before;
    // One alone is never asked for parts; others have to have been there.
    if (threads === 1) expect(shared).toBe(0);
    else expect(shared).toBeGreaterThan(100);
  });
}

test("parts are done by others, and not by the caller alone", async () => {
  crew.set(2);
  await ready(crew, 2);
  const before = crew.inspect().byOthers;
  for (let seed = 0; seed < 1000 && crew.inspect().byOthers === before; seed++) {
    run(seed, kernel, MOST);
  }
  expect(crew.inspect().byOthers).toBeGreaterThan(before);
});
