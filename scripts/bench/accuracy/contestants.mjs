/** Whose accuracy is reported. */
import { nodeHost } from "../machine.mjs";
import ours from "./ours.mjs";

const RIVALS = ["tfjs-cpu", "tfjs-wasm", "onnxruntime-web", "onnxruntime-node"];
const NATIVE = ["pytorch", "jax"];

/** @param {string} file @returns {Promise<import("../contestant.d.ts").Contestant>} */
const load = async (file) => (await import(`../contestants/${file}.mjs`)).default;

/** @param {boolean} native */
export async function startContestants(native) {
  const host = nodeHost();
  const files = [...(native ? NATIVE : []), ...RIVALS];
  const rivals = await Promise.all(files.map(load));
  if (native) {
    const { nativeContestant } = await import("../native/contestant.mjs");
    const twoPass = { JAX_VARIANCE: "two-pass" };
    rivals.splice(NATIVE.length, 0, nativeContestant("JAX, two-pass", "jax_xla", twoPass));
  }
  const running = [{ name: ours.name, norms: ours.norms, started: await ours.start(host) }];
  const absent = [];
  for (const contestant of rivals) {
    const { name, norms } = contestant;
    try {
      running.push({ name, norms, started: await contestant.start(host) });
    } catch (error) {
      absent.push({ name, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  return { running, absent };
}
