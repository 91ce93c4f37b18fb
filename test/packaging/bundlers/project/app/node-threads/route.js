import * as ordinary from "batchnorm-wasm";
import * as threaded from "batchnorm-wasm/threads";
import * as weights from "batchnorm-wasm/weights";
import golden from "../../golden.mjs";
import { runThreads } from "../../threads.mjs";

// At a request, not at build time.
export const dynamic = "force-dynamic";

export async function GET() {
  return Response.json(await runThreads(ordinary, threaded, weights, golden, null));
}
