/** Two servers: one gives a folder to a browser, one takes what its pages found. */
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import sirv from "sirv";
import { within } from "../within.mjs";

/**
 * Serves a folder at an origin of its own, with the same headers on every answer.
 *
 * @param {string} folder @param {Record<string, string>} [headers]
 */
export async function serve(folder, headers = {}) {
  const files = sirv(folder, {
    dev: true,
    setHeaders: (response) => response.setHeaders(new Map(Object.entries(headers))),
  });
  return listen((request, response) =>
    files(request, response, () => void response.writeHead(404).end()),
  );
}

/**
 * Pages send what they found here: each is opened with the address that awaits it,
 * in the query `report`. It needs no way of a driver's into the page, which a
 * Content-Security-Policy may close and a reload would lose.
 */
export async function collect() {
  /** @type {Map<string | undefined, (report: any) => void>} */
  const awaited = new Map();
  const server = await listen(async (request, response) => {
    const report = JSON.parse(await text(request));
    // Pages may be cross-origin isolated.
    response.setHeader("Cross-Origin-Resource-Policy", "cross-origin").end();
    awaited.get(request.url)?.(report);
  });
  let count = 0;
  return {
    ...server,
    /**
     * Opens a page and waits for what it found.
     *
     * @param {import("./launch.mjs").Browser} browser
     * @param {string} address @param {number} [seconds]
     * @returns {Promise<any>} as `report.js` sends it
     * @throws Error where the page couldn't run the program, or sends nothing
     */
    async ask(browser, address, seconds = 60) {
      const path = `/${count++}`;
      /** @type {Promise<any>} */
      const report = new Promise((resolve) => awaited.set(path, resolve));
      const url = new URL(address);
      url.searchParams.set("report", server.origin + path);
      const page = await within(seconds, `opening ${address}`, browser.open(url.href));
      try {
        const found = await within(seconds, "waiting for the page's report", report);
        await within(20, "closing the page", page.close());
        if (found.error) throw new Error(found.error);
        return found;
      } catch (error) {
        throw new Error([error, ...page.log].join("\n"), { cause: error });
      }
    },
  };
}

/** @param {import("node:http").RequestListener} listener */
async function listen(listener) {
  const server = createServer(listener);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    origin: `http://127.0.0.1:${port}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
