/** What the processes that serve a function print: its answers to a file of requests. */
import { readFileSync } from "node:fs";

/**
 * @param {string} requests a file of `Request`s of `service.mjs`
 * @param {(address: string, request: any) => Promise<any>} dispatch
 */
export async function answerAll(requests, dispatch) {
  const answers = [];
  for (const { body, ...init } of JSON.parse(readFileSync(requests, "utf8"))) {
    const request = body === undefined ? init : { ...init, body: Buffer.from(body, "base64") };
    const response = await dispatch("http://localhost/", request);
    const bytes = Buffer.from(await response.arrayBuffer());
    answers.push({ status: response.status, body: bytes.toString("base64") });
  }
  console.log(JSON.stringify(answers));
}
