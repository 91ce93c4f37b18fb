/** Memory over many tensors, up to its end, and beyond. */
import {
  adaptBatchNorm,
  BatchNorm,
  BatchNormError,
  batchNormBackward,
  batchNormInference,
  batchNormStatistics,
  batchNormTraining,
  createKernel,
  GroupNorm,
  groupNorm,
  groupNormBackward,
  health,
  type Kernel,
  Moments,
  memoryUsage,
  scope,
  syncBatchNorm,
  Tensor,
} from "batchnorm-wasm";
import { Random } from "../../scripts/random.mjs";
import { limited, module } from "../limited.js";
import { bits, Fault } from "./world.js";

const MiB = 2 ** 20;

/** A kernel that ends at 64 MiB. */
const small = () => createKernel(limited(32, 1024));

/** @returns whether there was room */
function fits(run: () => void): boolean {
  try {
    run();
    return true;
  } catch (error) {
    if (error instanceof BatchNormError && error.code === "out-of-memory") return false;
    throw error;
  }
}

function expectNothingLive(kernel: Kernel): void {
  const { liveBytes, liveStorages } = memoryUsage({ kernel });
  if (liveBytes || liveStorages) throw new Fault("memory is live", `${liveStorages} storages`);
}

/** Tensors of so many bytes until there is no room. */
function fill(kernel: Kernel, bytes: number): Tensor[] {
  const all: Tensor[] = [];
  while (fits(() => all.push(Tensor.zeros([bytes / 4], { kernel })))) {}
  return all;
}

export const MEMORY: readonly (readonly [name: string, run: () => void])[] = [
  [
    "a million tensors made and disposed take the memory of one",
    () => {
      const kernel = createKernel(module);
      Tensor.zeros([1000], { kernel }).dispose();
      const { memoryBytes } = memoryUsage({ kernel });
      for (let i = 0; i < 1e6; i++) Tensor.zeros([i % 1000], { kernel }).dispose();
      expectNothingLive(kernel);
      const now = memoryUsage({ kernel }).memoryBytes;
      if (now > memoryBytes) throw new Fault("the memory grew", `${now - memoryBytes} bytes`);
    },
  ],
  [
    "a hundred thousand tensors of mixed sizes, 50 alive, stay in what the first thousand took",
    () => {
      const kernel = createKernel(module);
      const random = new Random(1);
      const alive: Tensor[] = [];
      let memoryBytes = 0;
      for (let i = 0; i < 1e5; i++) {
        alive.push(Tensor.zeros([random.below(2 ** (1 + random.below(16)))], { kernel }));
        if (alive.length > 50) alive.splice(random.below(alive.length), 1)[0]?.dispose();
        if (i === 20_000) memoryBytes = memoryUsage({ kernel }).memoryBytes;
      }
      for (const one of alive) one.dispose();
      expectNothingLive(kernel);
      const now = memoryUsage({ kernel }).memoryBytes;
      // Fragments differ from time to time, but don't add up.
      if (now > memoryBytes * 1.25)
        throw new Fault("the memory grew", `from ${memoryBytes} to ${now}`);
    },
  ],
  [
    "tensors that grow one after the other reach three quarters of the memory",
    () => {
      const kernel = small();
      for (let bytes = MiB / 4; bytes < 48 * MiB; bytes += MiB / 4) {
        Tensor.zeros([bytes / 4], { kernel }).dispose();
      }
      expectNothingLive(kernel);
    },
  ],
  [
    "what was freed is one: full, freed and taken as a whole, at several sizes and in any order",
    () => {
      const kernel = small();
      const random = new Random(2);
      for (const bytes of [MiB, 4096, 100_000, 64, 5 * MiB]) {
        const all = fill(kernel, bytes === 64 ? 4096 : bytes);
        while (all.length > 0) all.splice(random.below(all.length), 1)[0]?.dispose();
        expectNothingLive(kernel);
        Tensor.zeros([(56 * MiB) / 4], { kernel }).dispose();
      }
    },
  ],
  [
    "out of memory, calls throw it, change nothing, and work again when there is room",
    () => {
      const kernel = createKernel(limited(32, 64));
      const one = { kernel };
      const values = Float32Array.from({ length: 6000 }, (_, i) => (i * 7) % 13);
      const x = Tensor.from(values, [1000, 6], one);
      const dy = Tensor.from(values, [1000, 6], one);
      const bn = new BatchNorm(6, one);
      const { y, saved } = batchNormTraining(x, one);
      const [mean, variance] = [Tensor.zeros([6], one), Tensor.from([1, 1, 1, 1, 1, 1], [6], one)];
      const live = [x, dy, y, mean, variance];
      const moments = Moments.of(x);
      const adapted = adaptBatchNorm(bn, { sourceSamples: 4 });
      const calls: readonly (readonly [string, () => { dispose(): void }[]])[] = [
        ["batchNormInference", () => [batchNormInference(x, { mean, variance })]],
        [
          "batchNormTraining",
          () => {
            const { y, saved } = batchNormTraining(x, { runningMean: mean, runningVar: variance });
            return [y, saved];
          },
        ],
        [
          "batchNormTraining with a mask, and back",
          () => {
            const mask = values.subarray(0, 1000).map((value) => Math.min(value, 1));
            const { y, saved } = batchNormTraining(x, { mask });
            try {
              return [y, saved, batchNormBackward(dy, { saved }).dx];
            } catch (error) {
              y.dispose();
              saved.dispose();
              throw error;
            }
          },
        ],
        [
          "forward with weights",
          () => [bn.train().forward(x, { weights: values.subarray(1, 1001) })],
        ],
        [
          "batchNormStatistics with weights",
          () => {
            batchNormStatistics(x, { weights: values.subarray(1, 1001) });
            return [];
          },
        ],
        [
          "batchNormStatistics",
          () => {
            batchNormStatistics({ data: values, shape: [1000, 6] }, one);
            return [];
          },
        ],
        [
          "batchNormBackward",
          () => {
            const { dx, weightGrad, biasGrad } = batchNormBackward(dy, { saved });
            return [dx, weightGrad, biasGrad].filter((one) => one !== null);
          },
        ],
        [
          "batchNormTraining with a residual, and back",
          () => {
            const residual = { data: values, shape: [1000, 6] };
            const { y, saved } = batchNormTraining(x, { residual, activation: "relu" });
            try {
              const { dx, residualGrad } = batchNormBackward(dy, { saved });
              return [y, saved, dx, residualGrad as Tensor];
            } catch (error) {
              y.dispose();
              saved.dispose();
              throw error;
            }
          },
        ],
        ["groupNorm", () => [groupNorm(x, { numGroups: 2 })]],
        [
          "groupNorm with saved values, and back",
          () => {
            const { y, saved } = groupNorm(x, { numGroups: 2, weight: mean, saved: true });
            try {
              const { dx, weightGrad, biasGrad } = groupNormBackward(dy, { saved });
              return [y, saved, ...[dx, weightGrad, biasGrad].filter((one) => one !== null)];
            } catch (error) {
              y.dispose();
              saved.dispose();
              throw error;
            }
          },
        ],
        [
          "syncBatchNorm",
          () => {
            const running = { runningMean: mean, runningVar: variance };
            const pass = syncBatchNorm(x, { moments, weight: mean, ...running });
            return [pass.y, pass];
          },
        ],
        [
          "syncBatchNorm, and back",
          () => {
            const pass = syncBatchNorm(x, { moments });
            try {
              return [pass.y, pass, pass.backward(dy, pass.sums(dy))];
            } catch (error) {
              pass.y.dispose();
              pass.dispose();
              throw error;
            }
          },
        ],
        ["adapted forward, kept", () => [adapted.forward(x, { keep: true })]],
        [
          "health",
          () => {
            health({ x, dy, layer: bn });
            return [];
          },
        ],
        ["new GroupNorm", () => [new GroupNorm(2, 5000, one)]],
        ["forward", () => [bn.train().forward(x)]],
        ["backward", () => [bn.backward(dy)]],
        ["new BatchNorm", () => [new BatchNorm(5000, one)]],
        ["Tensor.from", () => [Tensor.from(values, [6000], one)]],
        ["scope", () => [scope(() => Tensor.zeros([2000], one).reshape([2, 1000]), one)]],
      ];
      const first = bn.forward(x);
      for (const [name, call] of calls) {
        const random = new Random(name.length);
        const ballast = [2 ** 18, 2 ** 14, 2 ** 11, 2 ** 8, 64].flatMap((size) =>
          fill(kernel, size),
        );
        const usage = memoryUsage(one);
        const before = [...live, ...vectorsOf(bn)].map((tensor) => bits(tensor.toFloat32Array()));
        const counted = bn.numBatchesTracked;
        let tries = 0;
        for (;;) {
          const made: { dispose(): void }[] = [];
          if (fits(() => made.push(...call()))) {
            for (const one of made) one.dispose();
            break;
          }
          if (tries++ === 0 || random.oneIn(8)) {
            const now = memoryUsage(one);
            const freed = usage.liveBytes - now.liveBytes;
            if (tries === 1 && freed !== 0) throw new Fault("memory is kept after an error", name);
            const after = [...live, ...vectorsOf(bn)].map((one) => bits(one.toFloat32Array()));
            const same = before.every((bits, i) => bits.every((bit, j) => bit === after[i]?.[j]));
            if (!same || bn.numBatchesTracked !== counted) throw new Fault("half-changed", name);
          }
          const given = ballast.splice(random.below(ballast.length), 1)[0];
          if (!given) throw new Fault("there is no room in an empty memory", name);
          given.dispose();
        }
        if (tries === 0) throw new Fault("there was room in a full memory", name);
        for (const one of ballast) one.dispose();
      }
      for (const one of [...live, first, saved, bn]) one.dispose();
      expectNothingLive(kernel);
    },
  ],
];

function vectorsOf({ weight, bias, runningMean, runningVar }: BatchNorm): Tensor[] {
  return [weight, bias, runningMean, runningVar].filter((one) => one !== null);
}
