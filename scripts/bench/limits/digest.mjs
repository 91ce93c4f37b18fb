/** By what a stored result tells whether its source has changed since. */
import { createHash } from "node:crypto";

/** @param {string} text */
export const digestOf = (text) => createHash("sha256").update(text).digest("hex");
