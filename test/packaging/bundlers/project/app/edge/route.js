import "./refuse-bytes.js";
import { main } from "../../main.mjs";

export const runtime = "edge";
export const dynamic = "force-dynamic";

export function GET() {
  if (typeof EdgeRuntime !== "string") throw new Error("this is not the edge runtime");
  return Response.json(main());
}
