/**
 * Batch norm inference behind `fetch`, by the running statistics of a trained layer.
 *
 *     POST /  {"data": [1, 2, 3], "shape": [1, 3]}          answers JSON of the same form
 *     POST /  application/octet-stream, little-endian f32   answers such bytes; rows of channels
 */
import { BatchNorm, BatchNormError } from "batchnorm-wasm";
import state from "./state.js";

const JSON_TYPE = "application/json";
const BYTES_TYPE = "application/octet-stream";
/** A Worker has 128 MB in all, and JSON of numbers takes several times its length. */
const MAX_BODY = { [JSON_TYPE]: 1 << 20, [BYTES_TYPE]: 16 << 20 };

/** Errors name what came, which may be as long as the body. */
const MAX_ERROR = 300;

const bn = new BatchNorm(null, { axis: -1 }).eval();
bn.loadStateDict(state);

export default {
  /** @param {Request} request */
  async fetch(request) {
    try {
      return await infer(request);
    } catch (error) {
      if (error instanceof Refusal) return refuse(error.status, error.message);
      if (!(error instanceof BatchNormError)) throw error;
      // Else what the layer refuses is the caller's input: wrong shape, wrong kind of data.
      const status = error.code === "out-of-memory" ? 503 : 400;
      return refuse(status, error.message, error.code);
    }
  },
};

/** @param {Request} request */
async function infer(request) {
  if (request.method !== "POST") throw new Refusal(405, "POST a tensor");
  const type = request.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase() ?? "";
  if (type !== JSON_TYPE && type !== BYTES_TYPE) {
    throw new Refusal(415, `content-type must be ${JSON_TYPE} or ${BYTES_TYPE}`);
  }
  const body = await read(request, MAX_BODY[type]);
  if (type === JSON_TYPE) {
    const { data, shape } = parse(body);
    const y = bn.forward({ data, shape });
    return Response.json({ data: Array.from(y.data), shape: y.shape });
  }
  const channels = /** @type {number} */ (bn.numFeatures);
  if (body.byteLength % (4 * channels) !== 0) {
    throw new Refusal(
      400,
      `expected rows of ${channels} float32 values, got ${body.byteLength} bytes`,
    );
  }
  const data = new Float32Array(body.buffer);
  const y = bn.forward({ data, shape: [data.length / channels, channels] });
  return new Response(y.data, { headers: { "content-type": BYTES_TYPE } });
}

/** The body, read no further than `limit`: a length that is declared may be wrong or absent. */
async function read(/** @type {Request} */ request, /** @type {number} */ limit) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request.body ?? []) {
    length += chunk.length;
    if (length > limit) throw new Refusal(413, `a body ends at ${limit} bytes`);
    chunks.push(chunk);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

/** @param {Uint8Array} body @returns {any} */
function parse(body) {
  let value;
  try {
    value = JSON.parse(new TextDecoder().decode(body));
  } catch (error) {
    throw new Refusal(400, `the body is not JSON: ${error}`);
  }
  if (Array.isArray(value?.data) && Array.isArray(value.shape)) return value;
  throw new Refusal(400, 'expected {"data": [number, …], "shape": [number, …]}');
}

class Refusal extends Error {
  constructor(/** @type {number} */ status, /** @type {string} */ message) {
    super(message);
    this.status = status;
  }
}

function refuse(/** @type {number} */ status, /** @type {string} */ error, code = "request") {
  return Response.json({ error: error.slice(0, MAX_ERROR), code }, { status });
}
