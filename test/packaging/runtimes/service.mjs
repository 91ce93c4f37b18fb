/** What a service answers, request by request. */

/**
 * @typedef {{ method?: string, headers?: Record<string, string>, body?: string }} Request
 *   with the body in base64
 * @typedef {{ status: number, body: string }} Answer
 * @typedef {{ name: string, request: Request, status: number, check?: (body: Buffer) => void }} Exchange
 */

/** @param {unknown} value @returns {Request} */
export function postJson(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return post("application/json", Buffer.from(text));
}

/** @param {string} type @param {Uint8Array} body @returns {Request} */
export function post(type, body) {
  const headers = { "content-type": type };
  return { method: "POST", headers, body: Buffer.from(body).toString("base64") };
}

/** What an error's answer may take, whatever came: no megabyte is echoed. */
const ERROR_LIMIT = 1000;

/**
 * Sends all requests and compares the answers.
 *
 * @param {(requests: Request[]) => Promise<Answer[]>} ask @param {Exchange[]} exchanges
 * @returns {Promise<{ checks: import("../program.mjs").Check[] }>}
 */
export async function exchange(ask, exchanges) {
  const answers = await ask(exchanges.map(({ request }) => request));
  const checks = exchanges.map(({ name, status, check }, i) => {
    const answer = answers[i];
    const body = Buffer.from(answer?.body ?? "", "base64");
    try {
      if (answer?.status !== status)
        throw new Error(`${answer?.status}, not ${status}: ${body.subarray(0, ERROR_LIMIT)}`);
      if (status >= 400) {
        if (!JSON.parse(`${body}`).error) throw new Error("no word of the reason");
        if (body.length > ERROR_LIMIT) throw new Error(`an error of ${body.length} bytes`);
      }
      check?.(body);
      return { name, status: /** @type {const} */ ("passed") };
    } catch (error) {
      return { name, status: /** @type {const} */ ("failed"), reason: `${error}` };
    }
  });
  return { checks };
}

/** Throws unless all values are the wanted ones, to six digits. @param {ArrayLike<number>} got @param {number[]} want */
export function expectNear(got, want) {
  const near = (/** @type {number} */ value, /** @type {number} */ i) =>
    Math.abs(/** @type {number} */ (got[i]) - value) <= 1e-6 * Math.max(1, Math.abs(value));
  if (got?.length !== want.length || !want.every(near)) {
    throw new Error(`got ${got && Array.from(got).join()}, not ${want.join()}`);
  }
}
