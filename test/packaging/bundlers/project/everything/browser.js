import { main } from "../main.mjs";
import { report } from "../report.js";

report(async () => main());
