/** What is tried in the page. Runs are short: that they learn is the engine's test. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const SHORT = "data=rings&steps=60&run=&run=norm:none";

/**
 * @type {{
 *   check: string, only?: "Chromium" | "Firefox",
 *   run(visit: import("./visit.mjs").Visit): Promise<void>,
 * }[]}
 */
export const visits = [
  {
    check: "starts, pauses, steps and goes on to the end",
    async run(visit) {
      await visit.open("data=digits&steps=300");
      assert.deepEqual(await visit.texts(".card .state"), ["not started", "not started"]);
      await visit.click("#start");
      await visit.until("both learn", `${steps(".every((step) => step > 5)")}`);
      await visit.click("#start");
      await visit.until("both are paused", `${states("/^paused/")}`);
      const paused = await visit.steps();
      assert.ok(
        paused.every((step) => step > 5 && step < 300),
        `${paused}`,
      );
      await sleep(500);
      assert.deepEqual(await visit.steps(), paused, "a paused run learns");
      await visit.click("#step");
      const [a = 0, b = 0] = paused;
      await visit.until("one step", `${steps(`.join() === "${a + 1},${b + 1}"`)}`);
      assert.equal(await visit.text("#start"), "Go on");
      await visit.click("#start");
      await visit.done();
      assert.deepEqual(await visit.steps(), [300, 300]);
      const accuracies = (await visit.texts(".card dd:nth-of-type(1)")).map(Number.parseFloat);
      assert.ok(
        accuracies.every((accuracy) => accuracy > 80),
        `${accuracies}`,
      );
      assert.match(
        await visit.text("#status"),
        /All runs are done\. Run A: step 300, test accuracy/,
      );
      assert.match(await visit.text("#frames"), /Frames: [\d.]+ ms/);
    },
  },
  {
    check: "draws charts, layers and the plane",
    async run(visit) {
      await visit.open(SHORT);
      await visit.click("#start");
      await visit.done();
      for (const selector of [".plot canvas", ".surface", ".layer canvas", "canvas.channels"]) {
        assert.ok((await visit.ink(selector)) > 100, `${selector} is empty`);
      }
      assert.match(await visit.text(".layer figcaption"), /^before the norm: mean −?[\d.e−]+/);
      assert.equal(await visit.page.$$eval(".run-1 .layer canvas", (all) => all.length > 0), true);
      await visit.click("#reset");
      await visit.until("back at the beginning", `${states("/^not started/")}`);
    },
  },
  {
    check: "a setting changes the link, and the link brings all back",
    async run(visit) {
      await visit.open();
      await visit.select("#data", "moons");
      await visit.type("#steps", "50");
      await visit.type("#learningRate-1", "0.25");
      await visit.select("#norm-1", "group");
      await visit.click("#gamma-0");
      await visit.click("#add-run");
      const hash = await visit.hash();
      for (const part of ["data=moons", "steps=50", "norm:group", "learningRate:0.25"]) {
        assert.ok(hash.includes(part), `${hash} has no ${part}`);
      }
      assert.ok(hash.includes("gamma:false"), hash);
      const shown = () =>
        visit.page.$$eval("#settings input, #settings select, #controls input, #data", (all) =>
          all.map((one) => {
            const field = /** @type {HTMLInputElement} */ (one);
            return `${field.id}=${field.type === "checkbox" ? field.checked : field.value}`;
          }),
        );
      const before = await shown();
      await visit.page.reload();
      await visit.page.waitForSelector(".card");
      assert.deepEqual(await shown(), before);
      assert.equal((await visit.texts(".card")).length, 3);
      await visit.click("#start");
      await visit.done();
      await visit.click("#remove-2");
      assert.equal((await visit.texts(".card")).length, 2);
    },
  },
  {
    check: "a link is shared, and shows the same on a phone, where all can be reached",
    async run(visit) {
      await visit.open("data=moons&steps=40&seed=7&run=norm:group&run=norm:rms&run=norm:none");
      await visit.click("#share");
      await visit.until(
        "it is said",
        `/link is copied|copy the address/.test(${first("#notice")})`,
      );
      const link = await visit.hash();
      assert.match(link, /seed=7.*run=norm:group/);
      // Somebody else's page, which was never another.
      await visit.page.goto("about:blank");
      await visit.open(link, 390);
      await visit.checkWidth("before");
      await visit.click("#start");
      await visit.done();
      assert.deepEqual(await visit.steps(), [40, 40, 40]);
      await visit.checkWidth("at the end");
      await visit.checkAccess("at 390");
      // Sections are closed there; one is opened, and a run changed in it.
      await visit.click("#section-optimizer summary");
      await visit.type("#batchSize-1", "8");
      assert.match(await visit.hash(), /run=norm:rms,batchSize:8/);
      assert.equal(await visit.hash(), link.replace("norm:rms", "norm:rms,batchSize:8"));
      await visit.checkWidth("with a section open");
    },
  },
  {
    check: "padded sets: one click compares with a mask and without, and code says so",
    async run(visit) {
      await visit.open();
      await visit.click("#experiments summary");
      await visit.click("#experiment-padded");
      await visit.done();
      assert.deepEqual(await visit.steps(), [300, 300, 300]);
      const losses = (await visit.texts(".card dd:nth-of-type(4)")).map(Number);
      const [a = 0, b = 0, c = 0] = losses;
      assert.ok(a < b && a < c, `${losses}`);
      assert.match(await visit.text("#data-note"), /batch norm's statistics leave padding out/);
      await visit.checkAccess("padded sets");
      await visit.page.setViewport({ width: 360, height: 800 });
      await visit.checkWidth("padded sets at 360");
      await visit.page.setViewport({ width: 1280, height: 900 });
      await visit.click(".run-0 .buttons button:nth-of-type(1)");
      assert.match(await visit.text("#code code"), /forward\(x, \{ weights \}\)/);
      await visit.page.keyboard.press("Escape");
      await visit.click(".run-1 .buttons button:nth-of-type(1)");
      assert.doesNotMatch(await visit.text("#code code"), /weights \}/);
      await visit.page.keyboard.press("Escape");
      // A mask is a switch of data that have something to leave out, and of batch norm.
      const disabled = () =>
        visit.page.$$eval("#settings input[id^=mask]", (all) =>
          all.map((one) => /** @type {HTMLInputElement} */ (one).disabled),
        );
      assert.deepEqual(await disabled(), [false, false, true]);
      await visit.select("#data", "gaps");
      await visit.until("not begun", `${states("/^not started/")}`);
      assert.match(await visit.text("#data-note"), /A mask of this package is a row's/);
      assert.doesNotMatch(await visit.hash(), /experiment/);
      await visit.type("#steps", "40");
      await visit.click("#start");
      await visit.done();
      const accuracies = (await visit.texts(".card dd:nth-of-type(1)")).map(Number.parseFloat);
      assert.ok(
        accuracies.every((accuracy) => accuracy > 60),
        `${accuracies}`,
      );
      await visit.select("#data", "moons");
      assert.deepEqual(await disabled(), [true, true, true]);
      assert.equal(await visit.page.$eval("#data-note", (one) => one.hasAttribute("hidden")), true);
    },
  },
  {
    check: "what can't be is said beside the field, and changes nothing",
    async run(visit) {
      await visit.open(SHORT);
      const before = await visit.hash();
      await visit.type("#width-0", "1e9");
      assert.match(await visit.text("#notice"), /Run A: width: expected a whole number from 1/);
      assert.equal(await visit.page.$eval("#width-0", (one) => one.ariaInvalid), "true");
      assert.equal(await visit.hash(), before);
      await visit.type("#width-0", "16");
      assert.equal(await visit.page.$eval("#notice", (one) => one.hasAttribute("hidden")), true);
      // Only the package knows that a batch of one has no statistics.
      await visit.type("#batchSize-0", "1");
      await visit.click("#start");
      await visit.until("A is refused", `/^can't run: /.test(${first(".run-0 .state")})`);
      await visit.until("B is done", `/^done/.test(${first(".run-1 .state")})`);
    },
  },
  {
    check: "a link that can't be read is said, in words",
    async run(visit) {
      await visit.open("data=moons&run=norm:weight");
      assert.match(
        await visit.text("#notice"),
        /The link was not read: norm: expected one of none/,
      );
      assert.equal((await visit.texts(".card")).length, 2);
    },
  },
  {
    check: "by the keyboard alone: start, view code, close",
    async run(visit) {
      await visit.open(SHORT);
      const { keyboard } = visit.page;
      const focus = async (/** @type {string} */ name) => {
        for (let i = 0; i < 120; i++) {
          await keyboard.press("Tab");
          if ((await visit.page.evaluate(() => document.activeElement?.textContent)) === name)
            return;
        }
        assert.fail(`Tab doesn't lead to ${name}`);
      };
      await focus("Start");
      await keyboard.press("Enter");
      await visit.done();
      await focus("View code");
      await keyboard.press(" ");
      assert.match(await visit.text("#code code"), /new BatchNorm\(32, \{ eps: 0.00001/);
      assert.equal(await visit.text("#code-title"), "Run A as a program");
      await visit.checkAccess("the program");
      await keyboard.press("Escape");
      assert.equal(await visit.page.$eval("#code", (one) => one.hasAttribute("open")), false);
    },
  },
  {
    check: "four runs at a phone's width, dark and light, shut nobody out",
    only: "Chromium",
    async run(visit) {
      await visit.open("data=moons&steps=40&run=&run=norm:none&run=norm:group&run=norm:rms");
      await visit.click("#start");
      await visit.done();
      for (const width of [1440, 800, 360]) {
        for (const value of ["light", "dark"]) {
          await visit.page.setViewport({ width, height: 800 });
          await visit.page.emulateMediaFeatures([{ name: "prefers-color-scheme", value }]);
          await visit.checkWidth(`${width}, ${value}`);
          await visit.checkAccess(`${width}, ${value}`);
        }
      }
    },
  },
  {
    check: "state dicts and results are files",
    only: "Chromium",
    run: withFolder(async (visit, folder) => {
      const session = await visit.page.createCDPSession();
      await session.send("Browser.setDownloadBehavior", {
        behavior: "allow",
        downloadPath: folder,
      });
      await visit.open(SHORT);
      await visit.click("#start");
      await visit.done();
      await visit.click(".run-0 .buttons button:nth-of-type(2)");
      const dict = await read(folder, "lab-run-A.json");
      assert.equal(dict["1.norm.running_mean"].length, 32);
      assert.equal(dict["1.weight"].length, 64);
      assert.deepEqual(dict["1.norm.num_batches_tracked"], [60]);
      await visit.click("#results");
      const { runs, link } = await read(folder, "lab-results.json");
      assert.deepEqual(
        runs.map((/** @type {any} */ run) => [run.settings.norm, run.history.at(-1).step]),
        [
          ["batch", 60],
          ["none", 60],
        ],
      );
      assert.ok(link.includes("#data=rings"));
    }),
  },
  {
    check: "a table of one's own is chosen, told about, and learned",
    run: withFolder(async (visit, folder) => {
      await visit.open("steps=60&run=&run=norm:none");
      const file = writeTable(folder, ["oops", '7,"8,odd', "1,?,even"]);
      await choose(visit, file);
      await visit.until("it is shown", `!document.querySelector("#table").hidden`);
      assert.match(await visit.text("#table p"), /^40 lines of 2 numbers/);
      assert.match(await visit.text("#table p"), /2 classes: even, odd\./);
      assert.deepEqual(await visit.texts("#left-out li"), [
        "Line 22: it has 1 cells, and the first line 3",
        "Line 23: the quote of line 23 is never closed",
        "Line 24: second is missing",
      ]);
      await visit.click("#start");
      await visit.done();
      assert.ok((await visit.ink(".surface")) > 1000);
      // To be told is a number now, and accuracies are none.
      await visit.select("#target", "1");
      await visit.until("a number is told", `/squared standard/.test(${first("#table p")})`);
      await visit.click("#start");
      await visit.done();
      assert.match(await visit.text(".card dt"), /^Test loss/);
      // What can't be told leaves all as it was.
      await visit.select("#target", "2");
      await visit.until("classes again", `/2 classes/.test(${first("#table p")})`);
      await visit.select("#kind", "regression");
      await visit.until("refused", `/was not read: 0 lines can/.test(${first("#notice")})`);
      assert.equal(
        await visit.page.$eval("#kind", (one) => /** @type {HTMLSelectElement} */ (one).value),
        "classes",
      );
      // Lines with gaps are learned from where somebody wants them.
      await visit.click("#gaps");
      await visit.until("41 lines", `/^41 lines/.test(${first("#table p")})`);
      assert.match(await visit.text("#table p"), /1 value is missing/);
      assert.equal((await visit.texts("#left-out li")).length, 2);
      await visit.click("#start");
      await visit.done();
      // The link knows of a table, but has it not.
      await visit.page.reload();
      await visit.until("it is asked for", `/choose or drop/.test(${first("#notice")})`);
      assert.equal(await visit.page.$eval("#start", (one) => one.hasAttribute("disabled")), true);
    }),
  },
  {
    check: "a file is dropped, and what is none is refused in words",
    only: "Chromium",
    run: withFolder(async (visit, folder) => {
      await visit.open(SHORT);
      const picture = join(folder, "picture.csv");
      writeFileSync(picture, Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 0, 1, 2]));
      await drop(visit, picture);
      await visit.until(
        "refused",
        `/picture.csv was not read: .*zero bytes/.test(${first("#notice")})`,
      );
      assert.ok((await visit.hash()).startsWith("data=rings"));
      await drop(visit, writeTable(folder, []));
      await visit.until("it is shown", `!document.querySelector("#table").hidden`);
      assert.equal(await visit.text("#left-out"), "No line was left out.");
      await visit.checkAccess("a table");
      await visit.page.setViewport({ width: 360, height: 800 });
      await visit.checkWidth("a table at 360");
    }),
  },
  {
    check: "an experiment is one click, with its text, and what is changed is none any more",
    async run(visit) {
      await visit.open();
      await visit.click("#experiments summary");
      await visit.click("#experiment-slowMomentum");
      await visit.done();
      assert.deepEqual(await visit.steps(), [150, 150, 150]);
      assert.match(
        await visit.text("#experiments .text"),
        /What to look at\. All three learn the same/,
      );
      assert.match(await visit.text(".run-1 .findings"), /Running statistics don't fit/);
      assert.match(await visit.hash(), /experiment=slowMomentum/);
      await visit.checkAccess("an experiment");
      // Another one, while the first is done.
      await visit.click("#experiment-fewTested");
      await visit.done();
      assert.equal(
        await visit.page.$eval("#testBatch", (one) => /** @type {HTMLInputElement} */ (one).value),
        "2",
      );
      const [, training = ""] = await visit.texts(".run-0 dd");
      assert.ok(Number.parseFloat(training) < 70, training);
      await visit.click("#experiment-naive");
      await visit.until("B is beyond numbers", `/^diverged/.test(${first(".run-1 .state")})`);
      await visit.until("A is done", `/^done: 300/.test(${first(".run-0 .state")})`);
      await visit.checkAccess("a run that diverged");
      await visit.type("#offset", "0");
      await visit.type("#drift", "0.5");
      assert.doesNotMatch(await visit.hash(), /experiment/);
      assert.match(await visit.hash(), /drift=0\.5/);
      assert.equal(await visit.page.$("#experiments .text"), null);
      await visit.type("#drift", "much");
      assert.match(await visit.text("#notice"), /Drift: expected a number from -100 to 100/);
    },
  },
  {
    check: "a sweep searches, stops, and shows the best as runs",
    async run(visit) {
      await visit.open("data=moons&steps=40&run=depth:1,width:8");
      await visit.click("#sweep summary");
      await visit.type("#sweep-norm", "none, weight");
      await visit.click("#sweep-begin");
      assert.match(await visit.text("#notice"), /norm: expected one of none, batch.*"weight"/);
      // Of one rate nothing comes, and a batch of one is refused by batch norm alone.
      await visit.type("#sweep-norm", "none, batch");
      await visit.type("#sweep-batchSize", "1, 32");
      await visit.type("#sweep-learningRate", "1e-9, 0.1");
      await visit.type("#sweep-normMomentum", "0.1");
      await visit.type("#sweep-regularizer", "none");
      await visit.type("#sweep-seeds", "2");
      await visit.type("#sweep-steps", "60");
      await visit.click("#sweep-begin");
      await visit.until("it is done", `/^Done: 16 runs/.test(${first("#sweep-progress")})`);
      const text = await visit.text("#sweep-results");
      assert.match(text, /All 8 combinations are tried/);
      assert.match(text, /Norm: batch, Learning rate: 0.1, Batch size: 1 can't run: .*1 value/);
      const places = await visit.texts("#sweep-results tbody th");
      assert.equal(places.length, 6);
      assert.match(places[0] ?? "", /Learning rate: 0.1/);
      assert.match(places.at(-1) ?? "", /1e-9/);
      const [median = ""] = await visit.texts(
        "#sweep-results tbody tr:first-child td:nth-of-type(2)",
      );
      assert.ok(Number.parseFloat(median) > 75, median);
      await visit.checkAccess("a sweep");
      await visit.page.setViewport({ width: 360, height: 800 });
      await visit.checkWidth("a sweep at 360");
      await visit.click("#sweep-results .buttons button:nth-of-type(2)");
      assert.match(await visit.text("#code code"), /learning rate 0.1/);
      await visit.page.keyboard.press("Escape");
      await visit.click("#sweep-show");
      await visit.until("three runs", `document.querySelectorAll(".card").length === 3`);
      assert.match(await visit.hash(), /run=depth:1,width:8/);
      await visit.type("#sweep-steps", "100000");
      await visit.click("#sweep-begin");
      await visit.until("it runs", `document.querySelector("#sweep-begin").textContent === "Stop"`);
      await visit.click("#sweep-begin");
      assert.match(await visit.text("#sweep-progress"), /^Stopped after \d+ of 16 runs/);
    },
  },
  {
    check: "the policy is in force, in the page and in its workers",
    only: "Chromium",
    async run(visit) {
      await visit.open(SHORT);
      const refused = await visit.page.evaluate(async () => {
        const said = new Promise((resolve) =>
          addEventListener("securitypolicyviolation", (event) => resolve(event.violatedDirective)),
        );
        const image = new Image();
        image.src = "http://127.0.0.1:9/x.png";
        return said;
      });
      assert.equal(refused, "img-src");
      // That is what was complained about.
      assert.equal(visit.log.length > 0, true);
      visit.log.length = 0;
      const response = await fetch(`${visit.origin}/worker.js`);
      assert.match(response.headers.get("content-security-policy") ?? "", /default-src 'none'/);
    },
  },
];

/** @param {string} test behind the array of steps */
function steps(test) {
  return `[...document.querySelectorAll(".card .state")].map((one) => Number(/\\d+/.exec(one.textContent)))${test}`;
}

/** @param {string} pattern */
function states(pattern) {
  return `[...document.querySelectorAll(".card .state")].every((one) => ${pattern}.test(one.textContent))`;
}

/** @param {string} selector */
function first(selector) {
  return `document.querySelector("${selector}").textContent`;
}

/**
 * A visit with a folder of its own.
 *
 * @param {(visit: import("./visit.mjs").Visit, folder: string) => Promise<void>} body
 * @returns {(visit: import("./visit.mjs").Visit) => Promise<void>}
 */
function withFolder(body) {
  return async (visit) => {
    const folder = mkdtempSync(join(tmpdir(), "lab-"));
    try {
      await body(visit, folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  };
}

/** Forty lines, and others in their middle. @param {string} folder @param {string[]} bad */
function writeTable(folder, bad) {
  const good = Array.from({ length: 40 }, (_, i) => `${i % 7},${i},${i % 2 ? "odd" : "even"}`);
  const lines = ["first,second,kind", ...good.slice(0, 20), ...bad, ...good.slice(20)];
  const path = join(folder, "table.csv");
  writeFileSync(path, lines.join("\n"));
  return path;
}

/** @param {import("./visit.mjs").Visit} visit @param {string} path */
async function choose(visit, path) {
  const input = await visit.page.waitForSelector("#file");
  await /** @type {import("../../packaging/browsers/launch.mjs").FileInput} */ (input).uploadFile(
    path,
  );
}

/** As from a folder of the desktop. @param {import("./visit.mjs").Visit} visit @param {string} path */
async function drop(visit, path) {
  const session = await visit.page.createCDPSession();
  const data = { items: [], files: [path], dragOperationsMask: 1 };
  for (const type of /** @type {const} */ (["dragEnter", "dragOver", "drop"])) {
    await session.send("Input.dispatchDragEvent", { type, x: 600, y: 400, data });
  }
}

/** A file that the browser is about to write. @param {string} folder @param {string} name @returns {Promise<any>} */
async function read(folder, name) {
  for (let i = 0; i < 100; i++) {
    if (readdirSync(folder).includes(name))
      return JSON.parse(readFileSync(join(folder, name), "utf8"));
    await sleep(100);
  }
  return assert.fail(`${name} was not saved; there is ${readdirSync(folder)}`);
}
