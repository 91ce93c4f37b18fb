import { nativeContestant } from "../native/contestant.mjs";

export default nativeContestant("JAX", "jax_xla");
