import { threadsHere } from "./threads-here.js";

postMessage(await threadsHere(new URLSearchParams(location.search).get("reason")));
