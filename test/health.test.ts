/** What `health` tells of a batch norm layer, by what the caller has. */
import { BatchNorm, health, Tensor } from "batchnorm-wasm";
import { describe, expect, it } from "vitest";
import { Random } from "../scripts/random.mjs";
import { counting, expectError, values, wrong } from "./call-helpers.js";
import { expectWithin, U } from "./helpers.js";

const [N, C] = [64, 4];

/** A batch whose channels have these means and standard deviations. */
function batch(means: readonly number[], stds: readonly number[], seed = 5): Tensor {
  const noise = new Random(seed).normals(N * C, 0, 1);
  return Tensor.from(
    noise.map((value, i) => (means[i % C] as number) + (stds[i % C] as number) * value),
    [N, C],
  );
}

/** A layer that has learned mean 0 and variance 1. */
function trained(): BatchNorm {
  const bn = new BatchNorm(C);
  const state = { ...bn.stateDict(), num_batches_tracked: 1000 };
  bn.loadStateDict(state);
  return bn;
}

describe("health", () => {
  it("has nothing to say of a layer that is well", () => {
    using bn = trained();
    const x = batch([0, 0, 0, 0], [1, 1, 1, 1]);
    const y = bn.train().forward(x);
    const dy = batch([0.1, 0, 0, 0], [1, 1, 1, 1], 6);
    const dx = bn.backward(dy);
    const { channels, gradientRatio, findings } = health({ x, y, dy, dx, layer: bn });
    expect(findings).toEqual([]);
    expect(channels.map(({ channel, dead }) => [channel, dead])).toEqual(
      [0, 1, 2, 3].map((c) => [c, null]),
    );
    const norm = (tensor: Tensor, c?: number) =>
      Math.hypot(...values(tensor).filter((_, i) => c === undefined || i % C === c));
    const near = (value: number) => 64 * U * value;
    expectWithin([gradientRatio as number], [norm(dx) / norm(dy)], [near(2)], "ratio");
    for (const { channel, dyNorm, dxNorm, active, gamma } of channels) {
      const [a, b] = [norm(dy, channel), norm(dx, channel)];
      expectWithin([dyNorm as number, dxNorm as number], [a, b], [near(a), near(b)], "norms");
      const above = values(y).filter((value, i) => i % C === channel && value > 0).length;
      expectWithin([active as number], [above / N], [1e-12], "active");
      expect(gamma).toBe(1);
    }
  });

  it("tells dead channels by their reason", () => {
    using bn = trained();
    bn.weight?.set([1, 1e-5, 1, 1]);
    const x = batch([5, 0, 0, 0], [0, 1, 1, 1]);
    const y = batch([1, 1, -9, 1], [1, 1, 1, 1]);
    const { channels, findings } = health({ x, y, layer: bn });
    expect(channels.map(({ dead }) => dead)).toEqual([
      "constant input",
      "zero scale",
      "never active",
      null,
    ]);
    expect(findings[0]).toBe(
      "3 of 4 channels are dead: constant input (0), zero scale (1), never active (2)",
    );
    expect(channels[2]?.active).toBe(0);
  });

  it("tells gradients that vanish and that explode", () => {
    const dy = batch([0, 0, 0, 0], [1, 1, 1, 1]);
    const scaled = (by: number) =>
      Tensor.from(
        values(dy).map((value) => value * by),
        [N, C],
      );
    expect(health({ dy, dx: scaled(1e-4) }).findings[0]).toMatch(/^gradients vanish: .* 1\.0e-4/);
    expect(health({ dy, dx: scaled(1e4) }).findings[0]).toMatch(/^gradients explode: .* 1\.0e\+4/);
    expect(health({ dy, dx: scaled(0.5) }).findings).toEqual([]);
  });

  it("tells running statistics that are far off, and whether momentum is too slow for them", () => {
    using bn = trained();
    const x = batch([9, 0, 0, 0], [1, 1, 8, 1]);
    const { channels, findings } = health({ x, layer: bn });
    expect(findings[0]).toBe(
      "running statistics are far from the batch's in 2 of 4 channels: other data, or weights that " +
        "have moved since",
    );
    const mean = channels[0]?.mean as number;
    expectWithin(
      [channels[0]?.distance as number],
      [mean / Math.sqrt(1 + 1e-5)],
      [1e-6],
      "distance",
    );
    using fresh = new BatchNorm(C, { momentum: 0.01 });
    fresh.forward(batch([0, 0, 0, 0], [1, 1, 1, 1]));
    expect(health({ x, layer: fresh }).findings[0]).toContain(
      "momentum is too slow for 1 batches, which weigh 1 % so far",
    );
  });

  it("tells batches that are small, with any axis, and data outside of kernel memory", () => {
    const data = { data: [1, 2, 3, 4, 5, 6], shape: [3, 2] };
    expect(health({ x: data }).findings).toEqual([
      "3 values a channel: σ is off by about 41 %; larger batches, or group norm",
    ]);
    expect(health({ x: data, axis: 0 }).channels).toHaveLength(3);
    const live = Tensor.zeros([1]).kernel.memoryUsage().liveBytes;
    health({ x: data, y: data });
    expect(Tensor.zeros([1]).kernel.memoryUsage().liveBytes).toBeLessThanOrEqual(live + 4);
    expect(health({})).toEqual({ channels: [], gradientRatio: null, findings: [] });
  });

  it("refuses tensors of other channels, and what is none", () => {
    using bn = trained();
    const x = counting([2, 3]);
    expectError("shape-mismatch", ["x has 3 channels along axis 1, expected 4"], () =>
      health({ x, layer: bn }),
    );
    expectError("dtype", ["health: y"], () => health({ y: wrong([1]) }));
    expectError("dtype", ["health: layer must be a BatchNorm layer, got Object"], () =>
      health({ layer: wrong({}) }),
    );
    expectError("unknown-option", ["bn"], () => health(wrong({ bn })));
    bn.dispose();
    expectError("disposed", ["health"], () => health({ layer: bn }));
  });
});
