import * as ordinary from "batchnorm-wasm";
import * as threaded from "batchnorm-wasm/threads";
import * as weights from "batchnorm-wasm/weights";
import golden from "../../golden.mjs";
import { refusesBytes } from "../../refuse-bytes.mjs";
import { runThreads } from "../../threads.mjs";

export const runtime = "edge";
export const dynamic = "force-dynamic";

export async function GET() {
  if (typeof EdgeRuntime !== "string") throw new Error("this is not the edge runtime");
  if (!refusesBytes()) throw new Error("bytes were compiled: nothing is shown");
  return Response.json(await runThreads(ordinary, threaded, weights, golden, "no workers"));
}
