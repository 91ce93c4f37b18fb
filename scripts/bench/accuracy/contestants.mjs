/** Whose accuracy is reported. */
import jax from "../contestants/jax.mjs";
import pytorch from "../contestants/pytorch.mjs";
import { nativeContestant } from "../native/contestant.mjs";
import ours from "./ours.mjs";

const NATIVE = [
  pytorch,
  jax,
  nativeContestant("JAX, two-pass", "jax_xla", { JAX_VARIANCE: "two-pass" }),
];

/**
 * @param {boolean} native @param {Uint8Array<ArrayBuffer>} kernel
 */
export async function contestants(native, kernel) {
  const running = [];
  const absent = [];
  for (const contestant of [ours, ...(native ? NATIVE : [])]) {
    const { name } = contestant;
    try {
      running.push({
        name,
        started: await contestant.start({ runtime: "node", kernel, assets: String }),
      });
    } catch (error) {
      absent.push({ name, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  return { running, absent };
}
