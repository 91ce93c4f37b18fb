import { nativeContestant } from "../native/contestant.mjs";

export default nativeContestant("PyTorch", "pytorch");
