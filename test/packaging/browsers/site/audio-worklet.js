/**
 * Normalizes sound in an AudioWorklet, offline: the golden values are the first frames of
 * every block, a channel each, and what is rendered is to be the golden result.
 */
import golden from "./golden.mjs";
import { refusesEval } from "./refuses-eval.js";

const FRAMES = 128; // a block
const BLOCKS = 400;

/** @param {string} processor its module @param {string} reason why there is one thread alone */
export async function audioWorklet(processor, reason) {
  const { x, y } = golden.torch.eval;
  const [count, channels, length] = golden.torch.shape;
  const context = new OfflineAudioContext(channels, FRAMES * BLOCKS, 44_100);
  await context.audioWorklet.addModule(processor);
  const node = new AudioWorkletNode(context, "batch-norm", {
    ...{ channelCount: channels, channelCountMode: "explicit" },
    outputChannelCount: [channels],
    processorOptions: { reason },
  });
  const found = new Promise((resolve, reject) => {
    node.port.onmessage = ({ data }) => resolve(data);
    node.onprocessorerror = ({ message }) => reject(new Error(`processor: ${message}`));
  });

  const buffer = context.createBuffer(channels, FRAMES, context.sampleRate);
  const place = (n, c, i) => (n * channels + c) * length + i;
  for (let c = 0; c < channels; c++) {
    const samples = buffer.getChannelData(c);
    for (let n = 0; n < count; n++) {
      for (let i = 0; i < length; i++) samples[n * length + i] = x[place(n, c, i)];
    }
  }
  const source = new AudioBufferSourceNode(context, { buffer, loop: true });
  source.connect(node).connect(context.destination);
  source.start();
  const rendered = await context.startRendering();

  const { checks, error, ...rest } = await found;
  if (error) throw new Error(error);
  const largest = Math.max(...y.map(Math.abs));
  let fault;
  for (let c = 0; c < channels; c++) {
    const samples = rendered.getChannelData(c);
    for (let at = 0; at < samples.length; at++) {
      const [n, i] = [Math.floor((at % FRAMES) / length), (at % FRAMES) % length];
      if (n >= count) continue;
      const want = y[place(n, c, i)];
      if (!(Math.abs(samples[at] - want) <= 1e-6 * largest)) {
        fault ??= `channel ${c}, frame ${at} is ${samples[at]}, not ${want}`;
      }
    }
  }
  const name = "the rendered sound";
  checks.push(fault ? { name, status: "failed", reason: fault } : { name, status: "passed" });
  // The page's policy: WebKit's has no force in a worklet.
  return { ...rest, checks, evalRefused: refusesEval() };
}
