/**
 * Normalizes each channel of a batch by its own statistics, in Vercel's edge runtime.
 *
 *     POST /api/normalize  {"data": [1, 2, 3, 6], "shape": [2, 2]}
 *
 * answers y, and the mean and variance of each channel.
 */
import { BatchNormError, batchNormTraining, scope } from "batchnorm-wasm";

export const config = { runtime: "edge" };

const MAX_BODY = 1 << 20;
/** Errors name what came, which may be as long as the body. */
const MAX_ERROR = 300;

/** @param {Request} request */
export default async function normalize(request) {
  try {
    const { data, shape } = await read(request);
    // All that the call makes in kernel memory is freed when the scope ends.
    const answer = scope(() => {
      const { y, saved } = batchNormTraining({ data, shape });
      return {
        ...{ data: Array.from(y.data), shape: y.shape },
        ...{ mean: Array.from(saved.mean), variance: Array.from(saved.variance) },
      };
    });
    return Response.json(answer);
  } catch (error) {
    if (error instanceof Refusal) return refuse(error.status, error.message);
    if (!(error instanceof BatchNormError)) throw error;
    // Else what the package refuses is the caller's input.
    return refuse(error.code === "out-of-memory" ? 503 : 400, error.message);
  }
}

/** The tensor of a request. @param {Request} request */
async function read(request) {
  if (request.method !== "POST") throw new Refusal(405, "POST a tensor");
  const text = await readText(request);
  let x;
  try {
    x = JSON.parse(text);
  } catch (error) {
    throw new Refusal(400, `the body is not JSON: ${error}`);
  }
  const { data, shape } = x ?? {};
  if (!Array.isArray(data) || !Array.isArray(shape)) {
    throw new Refusal(400, 'expected {"data": [number, …], "shape": [number, …]}');
  }
  // Of nothing, a shape such as [0, 20000000] could ask for any number of statistics. With
  // values there are at most as many channels, since the shape is to be filled.
  if (data.length === 0) throw new Refusal(400, "data is empty: expected at least one value");
  return { data, shape };
}

/** The body, read no further than the limit. @param {Request} request */
async function readText(request) {
  const decoder = new TextDecoder();
  let [text, length] = ["", 0];
  for await (const chunk of request.body ?? []) {
    length += chunk.length;
    if (length > MAX_BODY) throw new Refusal(413, `a body ends at ${MAX_BODY} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

class Refusal extends Error {
  constructor(/** @type {number} */ status, /** @type {string} */ message) {
    super(message);
    this.status = status;
  }
}

function refuse(/** @type {number} */ status, /** @type {string} */ error) {
  return Response.json({ error: error.slice(0, MAX_ERROR) }, { status });
}
