import { here } from "./here.js";

postMessage(await here());
