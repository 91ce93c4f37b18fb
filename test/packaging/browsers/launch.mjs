/** The three engines, as Debian packages them. All that is asked of a browser is to open a page. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import puppeteer from "puppeteer-core";
import { findCommand } from "../../../scripts/find-command.mjs";
import { answers, freePort } from "../commands.mjs";
import { within } from "../within.mjs";
import { WebKitPage } from "./webkit-page.mjs";

/**
 * @typedef {{ log: string[], close(): Promise<void> }} Page
 *   with what it printed, for the report of a failure
 * @typedef {{ version: string, open(address: string): Promise<Page>, close(): Promise<void> }} Browser
 */

/** What starts each browser, and the commands it needs. */
export const browsers = {
  Chromium: { needs: ["chromium"], launch: launchChromium },
  Firefox: { needs: ["firefox-esr"], launch: launchFirefox },
  WebKit: { needs: ["WebKitWebDriver", "Xvfb"], launch: launchWebKit },
};

/**
 * A browser that is started when it is first used, and anew after a failure: what
 * hangs or has crashed is not to fail the next.
 *
 * @param {keyof typeof browsers} name
 */
export function reusable(name) {
  /** @type {Browser | undefined} */
  let browser;
  const it = {
    version: "",
    /** @template T @param {(browser: Browser) => Promise<T>} body */
    async use(body) {
      browser ??= await within(
        90,
        `starting ${name}`,
        /** @type {Promise<Browser>} */ (browsers[name].launch()),
      );
      it.version = browser.version;
      try {
        return await body(browser);
      } catch (error) {
        await it.close();
        throw error;
      }
    },
    async close() {
      await browser?.close();
      browser = undefined;
    },
  };
  return it;
}

async function launchChromium() {
  return throughPuppeteer({
    browser: "chrome",
    executablePath: /** @type {string} */ (findCommand("chromium")),
    // Its sandbox refuses to run as root, which continuous integration does.
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
  });
}

async function launchFirefox() {
  return throughPuppeteer({
    browser: "firefox",
    executablePath: /** @type {string} */ (findCommand("firefox-esr")),
  });
}

/**
 * @typedef {import("puppeteer-core").Page} ClickPage
 * @typedef {import("puppeteer-core").ElementHandle<HTMLInputElement>} FileInput
 */

/** A page to click in, of a browser that puppeteer drives, or WebKit. @param {keyof typeof browsers} name */
export async function launchToClick(name) {
  if (name === "WebKit") {
    const { ask, version, close } = await within(90, "starting WebKit", launchWebKit());
    // What visits call of a page is there; what is not fails where it is called.
    const newPage = async () =>
      /** @type {ClickPage} */ (/** @type {unknown} */ (await WebKitPage.open(ask)));
    return { version, newPage, close };
  }
  const { browser, ...shell } = await within(90, `starting ${name}`, starts[name]());
  return { version: shell.version, newPage: () => browser.newPage(), close: shell.close };
}

const starts = { Chromium: launchChromium, Firefox: launchFirefox };

/** @param {import("puppeteer-core").LaunchOptions} options */
async function throughPuppeteer(options) {
  const browser = await puppeteer.launch({ ...options, headless: true, timeout: 60_000 });
  return {
    browser,
    version: (await browser.version()).replace(/^.*\//, ""),
    async open(/** @type {string} */ address) {
      const page = await browser.newPage();
      /** @type {string[]} */
      const log = [];
      page.on("console", (message) => log.push(`console: ${message.text()}`));
      page.on("pageerror", (error) => log.push(`error: ${error}`));
      page.on("requestfailed", (request) => log.push(`not loaded: ${request.url()}`));
      await page.goto(address, { waitUntil: "domcontentloaded" });
      return { log, close: () => page.close() };
    },
    async close() {
      const started = browser.process();
      // It has answered all that it was asked: where it hangs now, it is ended.
      await within(20, "closing", browser.close()).catch(() => started?.kill("SIGKILL"));
    },
  };
}

/** WebKit has no driver in puppeteer: some requests of the WebDriver protocol do. */
async function launchWebKit() {
  const screen = spawn("Xvfb", ["-displayfd", "1", "-nolisten", "tcp"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [display] = await within(60, "starting Xvfb", once(screen.stdout, "data"));
  const port = await freePort();
  const driver = spawn("WebKitWebDriver", [`--port=${port}`], {
    stdio: "ignore",
    // A group of its own, to end it together with the browsers it starts.
    detached: true,
    env: {
      ...process.env,
      DISPLAY: `:${String(display).trim()}`,
      // As Chromium's: it doesn't run as root, and not in most containers.
      WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1",
      // Safari has it where a page is isolated; Debian's WebKit has to be told.
      JSC_useSharedArrayBuffer: "1",
    },
  });
  const end = () => {
    if (driver.pid) process.kill(-driver.pid);
    screen.kill();
  };

  /** @param {string} method @param {string} path @param {object} [body] */
  async function request(method, path, body) {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      ...(body && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    });
    const { value } = /** @type {any} */ (await response.json());
    if (!response.ok) throw new Error(`WebKitWebDriver: ${value.error}: ${value.message}`);
    return value;
  }

  try {
    await answers(`http://127.0.0.1:${port}`, AbortSignal.timeout(60_000));
    const { sessionId, capabilities } = await request("POST", "/session", { capabilities: {} });
    return {
      version: capabilities.browserVersion,
      /** A request of the session. @type {import("./webkit-page.mjs").Ask} */
      ask: (method, path, body) => request(method, `/session/${sessionId}${path}`, body),
      async open(/** @type {string} */ address) {
        await request("POST", `/session/${sessionId}/url`, { url: address });
        return {
          log: /** @type {string[]} */ ([]),
          // The page ends with what it runs; the session's window serves the next one.
          close: () => request("POST", `/session/${sessionId}/url`, { url: "about:blank" }),
        };
      },
      close: async () => end(),
    };
  } catch (error) {
    end();
    throw error;
  }
}
