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

/** @param {Request} request */
export default async function normalize(request) {
  if (request.method !== "POST") return refuse(405, "POST a tensor");
  const text = await request.text();
  if (text.length > MAX_BODY) return refuse(413, `a body ends at ${MAX_BODY} characters`);
  let x;
  try {
    x = JSON.parse(text);
  } catch (error) {
    return refuse(400, `the body is not JSON: ${error}`);
  }
  if (!x?.data || !x.shape)
    return refuse(400, 'expected {"data": [number, …], "shape": [number, …]}');
  try {
    // All that the call makes in kernel memory is freed when the scope ends.
    const answer = scope(() => {
      const { y, saved } = batchNormTraining({ data: x.data, shape: x.shape });
      return {
        ...{ data: Array.from(y.data), shape: y.shape },
        ...{ mean: Array.from(saved.mean), variance: Array.from(saved.variance) },
      };
    });
    return Response.json(answer);
  } catch (error) {
    if (error instanceof BatchNormError) return refuse(400, error.message);
    throw error;
  }
}

function refuse(/** @type {number} */ status, /** @type {string} */ error) {
  return Response.json({ error }, { status });
}
