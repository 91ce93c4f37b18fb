/** One visit to the page: what a user sees and does. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { WebKitPage } from "../../packaging/browsers/webkit-page.mjs";

/** Of the lab's packages, which building it installs: not before. */
const axe = () =>
  readFileSync(new URL("../../../lab/node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

export class Visit {
  /** @type {string[]} what the browser complained about */
  log = [];

  /** @param {import("../../packaging/browsers/launch.mjs").ClickPage} page @param {string} origin */
  constructor(page, origin) {
    this.page = page;
    this.origin = origin;
    page.setDefaultTimeout(60_000);
    page.on("console", (message) => {
      if (["error", "warn"].includes(message.type())) this.log.push(message.text());
    });
    page.on("pageerror", (error) => this.log.push(`${error}`));
  }

  /** Opens the page, with or without something behind `#`, and waits until it can be used. */
  async open(hash = "", width = 1280) {
    await this.page.setViewport({ width, height: 900 });
    await this.page.goto(`${this.origin}/${hash && `#${hash}`}`);
    await this.page.waitForSelector(".card");
    await this.until("cards are drawn", `document.querySelector(".card .state").textContent`);
  }

  /** @param {string} selector */
  async click(selector) {
    // Where it is out of sight, as a user would.
    await this.page.$eval(selector, (one) => one.scrollIntoView({ block: "center" }));
    await this.page.click(selector);
  }

  /** @param {string} selector @returns {Promise<string>} */
  text(selector) {
    return this.page.$eval(selector, (one) => one.textContent ?? "");
  }

  /** @param {string} selector @returns {Promise<string[]>} */
  texts(selector) {
    return this.page.$$eval(selector, (all) => all.map((one) => one.textContent ?? ""));
  }

  /** Types over what a field has, and leaves it. @param {string} selector @param {string} value */
  async type(selector, value) {
    await this.click(selector);
    await this.page.$eval(selector, (one) => /** @type {HTMLInputElement} */ (one).select());
    await this.page.keyboard.type(value);
    await this.page.keyboard.press("Tab");
  }

  /** @param {string} selector @param {string} value */
  async select(selector, value) {
    await this.page.select(selector, value);
  }

  /** Waits until something in the page holds. @param {string} what @param {string} expression */
  async until(what, expression) {
    await this.page
      .waitForFunction(expression, { polling: 100 })
      .catch((error) => assert.fail(`${what}: ${error.message}\n${this.log.join("\n")}`));
  }

  /** Waits until all runs are done. */
  async done() {
    await this.until(
      "all runs are done",
      `[...document.querySelectorAll(".card .state")].every((one) => /^done/.test(one.textContent))`,
    );
  }

  /** The steps that each run has made, as its card says. */
  async steps() {
    const states = await this.texts(".card .state");
    return states.map((state) => Number(/\d+/.exec(state)?.[0] ?? 0));
  }

  /** What stands behind `#`. */
  hash() {
    return this.page.evaluate(() => location.hash.slice(1));
  }

  /** How many of a canvas's pixels are drawn on. @param {string} selector */
  ink(selector) {
    return this.page.$eval(selector, (one) => {
      const canvas = /** @type {HTMLCanvasElement} */ (one);
      const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
      const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
      let ink = 0;
      for (let i = 3; i < data.length; i += 4) if (data[i] !== 0) ink++;
      return ink;
    });
  }

  /** Fails where axe finds that somebody is shut out. @param {string} where */
  async checkAccess(where) {
    await this.page.evaluate(axe());
    const found = await this.page.evaluate(async () => {
      const { violations } = await /** @type {any} */ (globalThis).axe.run(document);
      return violations.map((/** @type {any} */ one) => {
        const places = one.nodes.map((/** @type {any} */ node) => node.html.slice(0, 120));
        return `${one.id}: ${one.help}: ${places.slice(0, 3).join(" | ")}`;
      });
    });
    assert.deepEqual(found, [], where);
  }

  /** Fails where the page is wider than its window. @param {string} where */
  async checkWidth(where) {
    const [page = 0, view = 0] = await this.page.evaluate(() => [
      document.documentElement.scrollWidth,
      document.documentElement.clientWidth,
    ]);
    assert.ok(page <= view, `${where}: the page is ${page} wide, its window ${view}`);
  }

  /** Fails where the browser complained. */
  async checkLog() {
    // WebKit is asked; the others have said it.
    if (this.page instanceof WebKitPage) this.log.push(...(await this.page.complaints()));
    assert.deepEqual(this.log, []);
  }
}
