/**
 * What a variant costs is told beside batch norm without it: this package's, of the same tensor, in
 * the same rounds. It computes less than what is asked for, and so has nothing to be checked.
 */
import * as library from "../../../dist/entry/slim.js";
import { VARIANTS } from "../cells.mjs";
import { NORM_ALONE } from "../limits/names.mjs";
import { moduleOf } from "./layer.mjs";
import { prepare } from "./ours.mjs";

/** @type {import("../contestant.d.ts").Contestant} */
export default {
  name: NORM_ALONE,
  kind: "limit",
  variants: VARIANTS,
  async start({ kernel, version }) {
    const module = await moduleOf(kernel);
    return {
      version,
      refuses: () => undefined,
      async prepare({ variant: _, ...cell }, data) {
        return prepare(library, module, cell, data);
      },
    };
  },
};
