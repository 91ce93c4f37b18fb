import { main } from "../../main.mjs";

// At a request, not at build time.
export const dynamic = "force-dynamic";

export const GET = async () => Response.json(await main());
