/** A processor: a program first, then two layers that allocate nothing from block to block. */
import golden from "./golden.mjs";

const FRAMES = 128;
const WARM = 10;
const LAST = 390;

/** @param {typeof import("batchnorm-wasm")} library @param {(reason: string) => any} program takes no turn */
export function register({ BatchNorm, memoryUsage, Tensor }, program) {
  class Processor extends AudioWorkletProcessor {
    constructor({ processorOptions }) {
      super();
      this.found = program(processorOptions.reason);
      if (this.found.error) {
        this.port.postMessage(this.found);
        return;
      }
      const { torch } = golden;
      const channels = torch.shape[1];
      const { running_mean, running_var } = torch.steps.at(-1);
      const { weight, bias } = torch;
      this.infers = new BatchNorm(channels).eval();
      this.infers.loadStateDict({ weight, bias, running_mean, running_var });
      this.trains = new BatchNorm(channels).train();
      this.x = Tensor.zeros([1, channels, FRAMES]);
      this.y = Tensor.zeros(this.x.shape);
      this.z = Tensor.zeros(this.x.shape);
      this.block = 0;
    }

    process([input], [output]) {
      const { x, y, z } = this;
      if (!x) return false;
      const samples = x.data;
      // A source that has not started has no channels.
      input.forEach((channel, c) => {
        samples.set(channel, c * FRAMES);
      });
      this.infers.forward(x, { out: y });
      this.trains.forward(x, { out: z });
      const result = y.data;
      output.forEach((channel, c) => {
        channel.set(result.subarray(c * FRAMES, (c + 1) * FRAMES));
      });

      const usage = JSON.stringify(memoryUsage());
      if (this.block === WARM) this.warm = usage;
      if (this.block > WARM && usage !== this.warm) this.moved ??= `${this.warm}, then ${usage}`;
      if (this.block === LAST) this.report();
      this.block++;
      return true;
    }

    report() {
      const name = "memory in steady state";
      const check = this.moved
        ? { name, status: "failed", reason: this.moved }
        : { name, status: "passed" };
      this.found.checks.push(check);
      this.port.postMessage(this.found);
    }
  }

  registerProcessor("batch-norm", Processor);
}
