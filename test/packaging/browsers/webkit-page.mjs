/**
 * What visits need of puppeteer's page, over the WebDriver protocol: WebKit has no driver in puppeteer. Clicks and
 * keys are the driver's, as a user's are; what is asked of the page runs in it.
 */
import { setTimeout as sleep } from "node:timers/promises";

/** @typedef {(method: "GET" | "POST" | "DELETE", path: string, body?: object) => Promise<any>} Ask a request of the session */

/** Keys that are no characters, as WebDriver has them. @type {Record<string, string>} */
const KEYS = { Tab: "\uE004", Enter: "\uE007", Escape: "\uE00C" };

/** What an element is called in answers, and in arguments. */
const ELEMENT = "element-6066-11e4-a52e-4f735466cecf";

/** Collects what a page complains of; `console` alone would be gone with it. */
function listen() {
  const place = /** @type {any} */ (globalThis);
  if (place.complaints) return;
  /** @type {string[]} */
  const complaints = [];
  place.complaints = complaints;
  addEventListener("error", ({ message }) => complaints.push(message));
  addEventListener("unhandledrejection", ({ reason }) => complaints.push(`${reason}`));
  for (const level of /** @type {const} */ (["error", "warn"])) {
    const plain = console[level];
    console[level] = (...words) => {
      complaints.push(words.join(" "));
      plain(...words);
    };
  }
}

export class WebKitPage {
  #timeout = 30_000;
  /** @type {string[]} */
  #complaints = [];

  /** @param {Ask} ask @param {string} first the session's first window */
  constructor(ask, first) {
    this.ask = ask;
    this.first = first;
  }

  /**
   * A page in a window of its own, without a toolbar: with one no window is as narrow as a phone. Only a click may
   * open it.
   *
   * @param {Ask} ask
   */
  static async open(ask) {
    const [first, ...others] = await ask("GET", "/window/handles");
    if (others.length > 0) throw new Error("WebKit: the last page is not closed");
    await ask("POST", "/url", { url: "data:text/html,<button>Open</button>" });
    const page = new WebKitPage(ask, first);
    await page.$eval("button", (/** @type {HTMLElement} */ button) => {
      button.onclick = () => open("about:blank", "", "popup,width=1280,height=900");
    });
    await page.click("button");
    /** @type {string[]} */
    let found = [];
    for (let i = 0; found.length === 0 && i < 100; i++) {
      await sleep(50);
      const handles = await ask("GET", "/window/handles");
      found = handles.filter((/** @type {string} */ handle) => handle !== first);
    }
    await ask("POST", "/window", { handle: found[0] });
    return page;
  }

  keyboard = {
    press: (/** @type {string} */ key) => this.#type([KEYS[key] ?? key]),
    type: (/** @type {string} */ text) => this.#type([...text]),
  };

  /** @param {number} ms */
  setDefaultTimeout(ms) {
    this.#timeout = ms;
  }

  /** Complaints are asked for instead, by {@link complaints}: the protocol has no events. */
  on() {}

  /** What the pages complained of, since each was there. */
  async complaints() {
    await this.#collect();
    return this.#complaints;
  }

  /** @param {string} url */
  async goto(url) {
    await this.#collect();
    // Only what is behind # may differ: that alone would load nothing.
    await this.ask("POST", "/url", { url: "about:blank" });
    await this.ask("POST", "/url", { url });
    await this.evaluate(listen);
  }

  async reload() {
    await this.#collect();
    await this.ask("POST", "/refresh", {});
    await this.evaluate(listen);
  }

  /** The window is given the size at which the page in it has this one. @param {{ width: number, height: number }} wanted */
  async setViewport({ width, height }) {
    const inner = () => this.evaluate(() => [innerWidth, innerHeight]);
    for (let i = 0; i < 5; i++) {
      const rect = await this.ask("GET", "/window/rect");
      const [across, down] = await inner();
      if (across === width && down === height) return;
      const size = { width: rect.width + width - across, height: rect.height + height - down };
      await this.ask("POST", "/window/rect", size);
      await sleep(200);
    }
    throw new Error(`WebKit: a page of ${width}×${height} was asked for, it is ${await inner()}`);
  }

  /**
   * What a function gives in the page; a text is run as a script that gives nothing.
   *
   * @param {Function | string} body @param {unknown[]} args
   */
  async evaluate(body, ...args) {
    if (typeof body === "string") {
      await this.ask("POST", "/execute/sync", { script: body, args });
      return;
    }
    return this.#run(`${body}`, args);
  }

  /** @param {string} selector @param {Function} body @param {unknown[]} args */
  async $eval(selector, body, ...args) {
    return this.evaluate(body, await this.#element(selector), ...args);
  }

  /** @param {string} selector @param {Function} body */
  $$eval(selector, body) {
    // Not as an argument: of a list of elements the driver makes no elements.
    const all = `(selector) => (${body})([...document.querySelectorAll(selector)])`;
    return this.#run(all, [selector]);
  }

  /** @param {string} selector */
  async $(selector) {
    const using = { using: "css selector", value: selector };
    const [found = null] = await this.ask("POST", "/elements", using);
    return found;
  }

  /** @param {string} selector */
  async waitForSelector(selector) {
    await this.waitForFunction(`document.querySelector(${JSON.stringify(selector)}) !== null`);
    const element = await this.#element(selector);
    return {
      uploadFile: (/** @type {string} */ path) => this.#send(element, "value", { text: path }),
    };
  }

  /** @param {string} expression */
  async waitForFunction(expression) {
    const end = Date.now() + this.#timeout;
    const request = { script: `return Boolean(${expression})`, args: [] };
    while (!(await this.ask("POST", "/execute/sync", request))) {
      if (Date.now() > end) throw new Error(`not true within ${this.#timeout} ms: ${expression}`);
      await sleep(100);
    }
  }

  /** @param {string} selector */
  async click(selector) {
    await this.#send(await this.#element(selector), "click", {});
  }

  /** Chooses an option. @param {string} selector @param {string} value */
  async select(selector, value) {
    await this.click(`${selector} option[value=${JSON.stringify(value)}]`);
  }

  async close() {
    await this.ask("DELETE", "/window");
    await this.ask("POST", "/window", { handle: this.first });
  }

  /** @param {string} body a function, as it is written @param {unknown[]} args */
  async #run(body, args) {
    const script = `
      const given = [...arguments];
      const done = given.pop();
      (async () => (${body})(...given))().then(
        (value) => done({ value }),
        (error) => done({ error: String(error) }),
      );`;
    const { value, error } = await this.ask("POST", "/execute/async", { script, args });
    if (error !== undefined) throw new Error(error);
    return value;
  }

  /** @param {string} selector */
  #element(selector) {
    return this.ask("POST", "/element", { using: "css selector", value: selector });
  }

  /** @param {any} element @param {string} what @param {object} body */
  #send(element, what, body) {
    return this.ask("POST", `/element/${element[ELEMENT]}/${what}`, body);
  }

  /** @param {string[]} keys */
  #type(keys) {
    const actions = keys.flatMap((value) =>
      ["keyDown", "keyUp"].map((type) => /** @type {const} */ ({ type, value })),
    );
    return this.ask("POST", "/actions", { actions: [{ type: "key", id: "keyboard", actions }] });
  }

  /** Before a page is left. */
  async #collect() {
    const found = await this.evaluate(
      () => /** @type {any} */ (globalThis).complaints?.splice(0) ?? [],
    );
    this.#complaints.push(...found);
  }
}
