/** The program in an AudioWorklet. */
import { hereAtOnce } from "./here.js";
import * as library from "./package.js";
import { register } from "./register.js";

register(library, hereAtOnce);
