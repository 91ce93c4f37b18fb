/** As `processor.js`, with the entry that has threads, of which there are none here. */
import { register } from "./register.js";
import * as threaded from "./threaded.js";
import { threadsHereAtOnce } from "./threads-here.js";

register(threaded, threadsHereAtOnce);
