import { here } from "./here.js";

postMessage(here());
