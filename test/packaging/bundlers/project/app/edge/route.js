import { main } from "../../main.mjs";
import { refusesBytes } from "../../refuse-bytes.mjs";

export const runtime = "edge";
export const dynamic = "force-dynamic";

export async function GET() {
  if (typeof EdgeRuntime !== "string") throw new Error("this is not the edge runtime");
  if (!refusesBytes()) throw new Error("bytes were compiled: nothing is shown");
  return Response.json(await main());
}
