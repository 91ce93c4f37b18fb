/**
 * What examples may use without making it themselves. A name is made anew for each example,
 * and only where the example has it: then it has it all in its own kernel.
 */
import { copyFileSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { toSafetensors } from "batchnorm-wasm/weights";
import { kernelBytes, kernelFile } from "../../scripts/kernel/under-test.mjs";

type Library = typeof import("batchnorm-wasm");

/** In docstrings: two rows of three channels. */
const ofDocstrings = ({ BatchNorm, GroupNorm, LayerNorm, Tensor, batchNormTraining }: Library) => ({
  /** [N, C]. By channels: mean 2, 4, 6 and variance 1, 4, 9. */
  get x() {
    return Tensor.from([1, 2, 3, 3, 6, 9], [2, 3]);
  },
  /** The gradient of y, in x's shape. */
  get dy() {
    return Tensor.from([1, 1, 1, 2, 4, 6], [2, 3]);
  },
  /** A new layer, which trains. */
  get bn() {
    return new BatchNorm(3);
  },
  /** The same, of one group. */
  get gn() {
    return new GroupNorm(1, 3);
  },
  /** Of rows of three. */
  get ln() {
    return new LayerNorm(3);
  },
  /** γ. */
  get weight() {
    return Tensor.from([2, 2, 2]);
  },
  /** β. */
  get bias() {
    return Tensor.from([1, 1, 1]);
  },
  /** x's. */
  get mean() {
    return Float32Array.of(2, 4, 6);
  },
  /** x's, biased. */
  get variance() {
    return Float32Array.of(1, 4, 9);
  },
  get runningMean() {
    return Tensor.from([0, 0, 0]);
  },
  get runningVar() {
    return Tensor.from([1, 1, 1]);
  },
  /** Of a pass over x, by its own statistics. */
  get saved() {
    return batchNormTraining(this.x, { weight: this.weight, bias: this.bias }).saved;
  },
  /** What `torch.nn.BatchNorm1d(3)` has as its state. */
  get dict() {
    const { weight, bias } = { weight: [2, 2, 2], bias: [1, 1, 1] };
    const running = { running_mean: [2, 4, 6], running_var: [1, 4, 9] };
    return { weight, bias, ...running, num_batches_tracked: 10 };
  },
  /** An image of 28 × 28 pixels with red, green and blue. */
  get pixels() {
    return new Uint8Array(28 * 28 * 3);
  },
  /** `batchnorm-wasm/kernel.wasm`, read. */
  get bytes() {
    return kernelBytes.slice();
  },
});

/** In README, whose x is [32, 64, 56, 56]. */
const ofReadme = ({ Tensor }: Library) => ({
  get pixels() {
    return new Uint8Array(32 * 64 * 56 * 56);
  },
  get dy() {
    return Tensor.zeros([32, 64, 56, 56]);
  },
  get weight() {
    return new Float32Array(64);
  },
  get bias() {
    return new Float32Array(64);
  },
  get running_mean() {
    return new Float32Array(64);
  },
  get running_var() {
    return new Float32Array(64);
  },
  get num_batches_tracked() {
    return 1;
  },
  /** A network's weights, as PyTorch names them. */
  get file() {
    const vector = () => new Float32Array(64);
    const bn = ["weight", "bias", "running_mean", "running_var"].map((name) => `layer1.bn.${name}`);
    const names = [...bn, "norm.weight", "norm.bias", "layer1.conv.weight"];
    return toSafetensors(Object.fromEntries(names.map((name) => [name, vector()])));
  },
});

/** By who shows the example. */
export const preambles = { docstring: ofDocstrings, readme: ofReadme };

/** The kernel under test stands here, as beside a page's script. */
export const folder = mkdtempSync(join(tmpdir(), "examples-"));
copyFileSync(kernelFile, join(folder, "kernel.wasm"));

/** `import.meta.url` of an example. */
export const here = pathToFileURL(join(folder, "example.js")).href;
