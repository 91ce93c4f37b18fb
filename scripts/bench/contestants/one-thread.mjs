/** What this package's threads gain is told beside the ordinary entry, of the same tensor, in the same rounds. */
import { ONE_THREAD } from "../limits/names.mjs";
import ours from "./ours.mjs";

/** @type {import("../contestant.d.ts").Contestant} */
export default {
  ...ours,
  name: ONE_THREAD,
  threads: "one",
  start: (host) => ours.start({ ...host, threads: 1 }),
};
