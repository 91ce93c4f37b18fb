/** What `examples/cloudflare-worker` is to answer. */
import state from "../../../examples/cloudflare-worker/src/state.js";
import { expectNear, post, postJson } from "./service.mjs";

const JSON_LIMIT = 1 << 20;
const BYTES_LIMIT = 16 << 20;

const rows = [0.25, -3, 10, 1.25, 1, 9.5];
const shape = [2, 3];
const normalized = rows.map((value, i) => {
  const { weight, bias, running_mean, running_var } = /** @type {Record<string, any>} */ (state);
  const c = i % 3;
  return ((value - running_mean[c]) / Math.sqrt(running_var[c] + 1e-5)) * weight[c] + bias[c];
});
const bytes = "application/octet-stream";
const f32 = (/** @type {Buffer} */ body) => new Float32Array(Uint8Array.from(body).buffer);

const long = "9".repeat(500_000);
const deep = Array(20_000).fill(1);

/** @type {import("./service.mjs").Exchange[]} */
export const exchanges = [
  {
    name: "JSON",
    request: postJson({ data: rows, shape }),
    status: 200,
    check(body) {
      const { data, shape } = JSON.parse(`${body}`);
      expectNear(data, normalized);
      expectNear(shape, [2, 3]);
    },
  },
  {
    name: "raw f32",
    request: post(bytes, new Uint8Array(Float32Array.from(rows).buffer)),
    status: 200,
    check: (body) => expectNear(f32(body), normalized),
  },
  {
    name: "raw f32 up to the limit",
    request: post(bytes, new Uint8Array(12 * Math.floor(BYTES_LIMIT / 12))),
    status: 200,
  },
  {
    name: "JSON, its type in capitals, with a charset",
    request: post(
      "Application/JSON; Charset=UTF-8",
      Buffer.from(JSON.stringify({ data: rows, shape })),
    ),
    status: 200,
    check: (body) => expectNear(JSON.parse(`${body}`).data, normalized),
  },
  { name: "GET", request: {}, status: 405 },
  { name: "another type", request: post("text/plain", Buffer.from("1")), status: 415 },
  { name: "JSON beyond the limit", request: postJson(" ".repeat(JSON_LIMIT + 1)), status: 413 },
  {
    name: "bytes beyond the limit",
    request: post(bytes, new Uint8Array(BYTES_LIMIT + 4)),
    status: 413,
  },
  { name: "no JSON", request: postJson("{"), status: 400 },
  { name: "null", request: postJson(null), status: 400 },
  { name: "no shape", request: postJson({ data: rows }), status: 400 },
  { name: "a shape not filled", request: postJson({ data: rows, shape: [3, 3] }), status: 400 },
  { name: "too many channels", request: postJson({ data: rows, shape: [1, 6] }), status: 400 },
  { name: "data of text", request: postJson({ data: "123", shape: [1, 3] }), status: 400 },
  {
    name: "data of no array",
    request: postJson({ data: { length: 3e7 }, shape: [1e7, 3] }),
    status: 400,
  },
  { name: "a long word", request: postJson(`{"data": [1], "shape": ["${long}"]}`), status: 400 },
  { name: "long no JSON", request: postJson(long.replaceAll("9", "x")), status: 400 },
  { name: "many axes, not filled", request: postJson({ data: [1, 2], shape: deep }), status: 400 },
  { name: "half a row", request: post(bytes, new Uint8Array(16)), status: 400 },
];
