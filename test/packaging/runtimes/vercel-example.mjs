/** What `examples/vercel-edge` is to answer. */
import { expectNear, postJson } from "./service.mjs";

const long = "9".repeat(500_000);
const deep = Array(20_000).fill(1);

/** @type {import("./service.mjs").Exchange[]} */
export const exchanges = [
  {
    name: "JSON",
    request: postJson({ data: [1, 2, 3, 6], shape: [2, 2] }),
    status: 200,
    check(body) {
      const { data, shape, mean, variance } = JSON.parse(`${body}`);
      const [a, b] = [1 / Math.sqrt(1 + 1e-5), 2 / Math.sqrt(4 + 1e-5)];
      expectNear(data, [-a, -b, a, b]);
      expectNear(shape, [2, 2]);
      expectNear(mean, [2, 4]);
      expectNear(variance, [1, 4]);
    },
  },
  { name: "GET", request: {}, status: 405 },
  { name: "a body beyond the limit", request: postJson(" ".repeat((1 << 20) + 1)), status: 413 },
  { name: "no JSON", request: postJson("{"), status: 400 },
  { name: "no shape", request: postJson({ data: [1] }), status: 400 },
  { name: "a shape not filled", request: postJson({ data: [1], shape: [2, 2] }), status: 400 },
  {
    name: "many channels of nothing",
    request: postJson({ data: [], shape: [0, 2e7] }),
    status: 400,
  },
  {
    name: "data of no array",
    request: postJson({ data: { length: 2e7 }, shape: [1, 2e7] }),
    status: 400,
  },
  { name: "a long word", request: postJson(`{"data": [1], "shape": ["${long}"]}`), status: 400 },
  { name: "long no JSON", request: postJson(long.replaceAll("9", "x")), status: 400 },
  { name: "many axes, not filled", request: postJson({ data: [1, 2], shape: deep }), status: 400 },
  { name: "one axis", request: postJson({ data: [1, 2], shape: [2] }), status: 400 },
];
