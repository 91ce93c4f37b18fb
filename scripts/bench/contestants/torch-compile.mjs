import { nativeContestant } from "../native/contestant.mjs";

export default nativeContestant("torch.compile", "torch_compile");
