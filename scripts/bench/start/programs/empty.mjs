/** The floor: a package with nothing in it, and a result that was there. */
import "empty";
import { CHANNELS, check, ROWS } from "./shared.mjs";

check(new Float32Array(ROWS * CHANNELS).fill(3));
