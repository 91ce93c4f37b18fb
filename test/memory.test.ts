import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import {
  BatchNorm,
  type BatchNormSaved,
  batchNormBackward,
  batchNormInference,
  batchNormStatistics,
  batchNormTraining,
  createKernel,
  memoryUsage,
  reserve,
  scope,
  Tensor,
} from "batchnorm-wasm";
import { describe, expect, test, vi } from "vitest";
import { counting, kernelBytes } from "./call-helpers.js";

// A child process on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const MiB = 2 ** 20;
const root = fileURLToPath(new URL("..", import.meta.url));
const { GROW_ON_ALLOCATE } = process.env;

/** A test of one mode alone. In the other it is not there, rather than skipped. */
const testWhere = (mode: boolean) => (mode ? test : (_name: string, _body: () => void) => {});

/** Runs code in a Node of its own, where `gc()` can be called. */
function runWithGc(code: string): string {
  const flags = ["--expose-gc", "--import", "tsx", "--input-type=module", "--eval"];
  const prelude = `
    import { setTimeout } from "node:timers/promises";
    import * as lib from "./ts/entry/node.ts";
    const { Tensor, BatchNorm, batchNormTraining, memoryUsage } = lib;
    // Finalizers run in tasks of their own, some time after a collection.
    async function collected(done) {
      for (let i = 0; i < 100 && !done(); i++) { gc(); await setTimeout(5); }
    }`;
  return execFileSync(process.execPath, [...flags, prelude + code], {
    cwd: root,
    encoding: "utf8",
  }).trim();
}

/** What `fn` left alive, in bytes and pieces. */
function leftBy(fn: () => void) {
  const before = memoryUsage();
  fn();
  const after = memoryUsage();
  return {
    bytes: after.liveBytes - before.liveBytes,
    storages: after.liveStorages - before.liveStorages,
  };
}

const nothing = { bytes: 0, storages: 0 };

describe("ownership", () => {
  test("live bytes are exact: 4 per element, shared by views, none after dispose", () => {
    const kernel = createKernel(kernelBytes);
    const live = () => {
      const { liveBytes, liveStorages } = memoryUsage({ kernel });
      return [liveBytes, liveStorages];
    };
    expect(live()).toEqual([0, 0]);
    const x = Tensor.zeros([3, 5, 7], { kernel });
    expect(live()).toEqual([420, 1]);
    const empty = Tensor.zeros([0, 5], { kernel });
    expect(live()).toEqual([420, 2]);
    const y = Tensor.from(Uint8Array.of(1, 2, 3), [3], { kernel });
    expect(live()).toEqual([432, 3]);
    const view = x.slice(1, 1, 3);
    expect(live()).toEqual([432, 3]);
    x.dispose();
    expect(live()).toEqual([432, 3]);
    view.dispose();
    expect(live()).toEqual([12, 2]);
    for (const one of [empty, y, y, x, view]) one.dispose();
    expect(live()).toEqual([0, 0]);
  });

  test("another kernel's tensors don't count", () => {
    const kernel = createKernel(kernelBytes);
    expect(leftBy(() => Tensor.zeros([100], { kernel }))).toEqual(nothing);
    expect(memoryUsage({ kernel }).liveBytes).toBe(400);
  });

  test("100 000 tensors made and disposed leave the memory as large as it was", () => {
    const sizes = [1, 3, 16, 100, 1000, 17, 4096, 5];
    const churn = (count: number) => {
      const alive: Tensor[] = [];
      for (let i = 0; i < count; i++) {
        alive.push(Tensor.zeros([sizes[i % sizes.length] as number]));
        if (alive.length > 10) alive.splice((i * 7) % alive.length, 1)[0]?.dispose();
      }
      for (const tensor of alive) tensor.dispose();
    };
    churn(1000);
    const before = memoryUsage();
    churn(100_000);
    expect(memoryUsage()).toEqual(before);
  });

  test("views share their storage, and the last one to be disposed frees it", () => {
    expect(
      leftBy(() => {
        const x = counting([4, 6]);
        const rows = x.slice(0, 1);
        const views = [x.slice(1, 0, 3), x.reshape([24]), rows.slice(1, 2, 4)];
        rows.dispose();
        for (const view of views) expect(view.storage).toBe(x.storage);
        views[1]?.data.set([100], 7);
        expect(x.toFloat32Array()[7]).toBe(100);
        expect(views[2]?.toFloat32Array()[0]).toBe(9);
        x.dispose();
        views[0]?.dispose();
        expect(views[2]?.toFloat32Array()[0]).toBe(9);
        views[1]?.dispose();
        views[2]?.dispose();
      }),
    ).toEqual(nothing);
  });

  test("dispose twice gives back once", () => {
    const [x, view] = [Tensor.zeros([10]), Tensor.zeros([10])];
    const other = view.reshape([5, 2]);
    x.dispose();
    expect(leftBy(() => x.dispose())).toEqual(nothing);
    view.dispose();
    view.dispose();
    expect(other.toFloat32Array()).toHaveLength(10);
    other.dispose();
  });

  test("freed memory is zero again when Tensor.zeros takes it", () => {
    const kernel = createKernel(kernelBytes);
    for (let i = 0; i < 20; i++) {
      const dirty = Tensor.from(new Float32Array(1000).fill(7), [1000], { kernel });
      const { address } = dirty;
      dirty.dispose();
      using clean = Tensor.zeros([1000], { kernel });
      expect(clean.address, "the same memory").toBe(address);
      expect(clean.toFloat32Array().every((value) => value === 0)).toBe(true);
    }
  });

  test("using frees tensors, layers and saved values at the end of their block", () => {
    expect(
      leftBy(() => {
        using x = counting([4, 3]);
        using bn = new BatchNorm(3);
        const { y, saved } = batchNormTraining(x);
        using both = y;
        using record = saved;
        bn.forward(x).dispose();
        bn.backward(both).dispose();
        expect(record.disposed).toBe(false);
      }),
    ).toEqual(nothing);
  });

  test("a layer's dispose frees parameters, gradients, statistics and the last saved values", () => {
    expect(
      leftBy(() => {
        const bn = new BatchNorm(3);
        const x = counting([4, 3]);
        const out = Tensor.zeros([4, 3]);
        bn.forward(x, { out });
        bn.backward(out, { out });
        for (const tensor of [x, out]) tensor.dispose();
        bn.dispose();
        bn.dispose();
      }),
    ).toEqual(nothing);
  });

  test("saved values that were taken from a layer outlive it, and are freed by hand", () => {
    const x = counting([4, 3]);
    const y = Tensor.zeros([4, 3]);
    const dx = Tensor.zeros([4, 3]);
    expect(
      leftBy(() => {
        const bn = new BatchNorm(3, { affine: false });
        bn.forward(x, { out: y });
        const saved = bn.takeSaved();
        bn.forward(x, { out: y });
        bn.dispose();
        expect(saved.disposed).toBe(false);
        batchNormBackward(y, { saved, out: dx });
        saved.dispose();
      }),
    ).toEqual(nothing);
  });

  test("plain arrays leave nothing behind but the copy that backward needs", () => {
    const data = new Float32Array(12).fill(1);
    const plain = { data, shape: [4, 3] };
    const vectors = { mean: [0, 0, 0], variance: [1, 1, 1] };
    const weight = new Float32Array(3).fill(2);
    expect(leftBy(() => batchNormInference(plain, { ...vectors, weight }))).toEqual(nothing);
    expect(leftBy(() => batchNormStatistics(plain))).toEqual(nothing);
    const x = Tensor.from(data, [4, 3]);
    const y = Tensor.zeros([4, 3]);
    expect(leftBy(() => batchNormInference(x, { ...vectors, weight, out: y }))).toEqual(nothing);

    const bn = new BatchNorm(3);
    bn.forward(plain);
    bn.backward(plain);
    expect(
      leftBy(() => {
        for (let i = 0; i < 10; i++) {
          bn.forward(plain, { training: i % 3 > 0 });
          bn.backward(plain);
        }
      }),
    ).toEqual(nothing);
    expect(leftBy(() => bn.forward(x, { out: y }))).toEqual({ bytes: -48, storages: -1 });
    const copyAndStatistics = { bytes: 48 + 3 * 3 * 8, storages: 2 };
    let saved: BatchNormSaved | undefined;
    expect(
      leftBy(() => {
        ({ saved } = batchNormTraining(plain));
      }),
    ).toEqual(copyAndStatistics);
    expect(leftBy(() => saved?.dispose())).toEqual({ bytes: -120, storages: -2 });
  });
});

describe("scope", () => {
  test("frees all that was made inside and not returned", () => {
    expect(
      leftBy(() => {
        scope(() => {
          const x = counting([4, 3]);
          const { y } = batchNormTraining(x.slice(0, 1));
          batchNormInference(y, { mean: [0, 0, 0], variance: [1, 1, 1] });
          Tensor.zeros([5]).dispose();
        });
      }),
    ).toEqual(nothing);
  });

  test("frees what was made before its function threw, and passes the error on", () => {
    const error = new Error("on purpose");
    expect(
      leftBy(() => {
        expect(() =>
          scope(() => {
            scope(() => Tensor.zeros([3]));
            Tensor.zeros([100]);
            throw error;
          }),
        ).toThrow(error);
      }),
    ).toEqual(nothing);
    // The scope is closed: this one is nobody's.
    expect(leftBy(() => Tensor.zeros([1]).dispose())).toEqual(nothing);
    expect(Tensor.zeros([1]).disposed).toBe(false);
  });

  test("keeps a returned tensor, and those in arrays and plain objects", () => {
    const [x, y, z, w] = [[1], [2], [3], [4]].map((shape) => () => Tensor.zeros(shape)) as [
      () => Tensor,
      () => Tensor,
      () => Tensor,
      () => Tensor,
    ];
    const kept = scope(() => ({ x: x(), rest: [y(), { z: z() }], name: "name", none: null }));
    const alone = scope(() => {
      w();
      return x();
    });
    const bare = scope(() => Object.assign(Object.create(null), { y: y() }));
    const [inArray, inObject] = kept.rest as [Tensor, { z: Tensor }];
    for (const tensor of [kept.x, inArray, inObject.z, alone, bare.y]) {
      expect(tensor.disposed).toBe(false);
      expect(leftBy(() => tensor.dispose())).toEqual({ bytes: -tensor.size * 4, storages: -1 });
    }
  });

  test("returns what its function returns, also where that is no tensor", () => {
    expect(scope(() => 5)).toBe(5);
    expect(scope(() => undefined)).toBeUndefined();
    const cyclic: { self?: unknown } = {};
    cyclic.self = cyclic;
    expect(scope(() => cyclic)).toBe(cyclic);
  });

  test("a returned view keeps its memory, though the tensor that it views is freed", () => {
    const row = scope(() => counting([4, 3]).slice(0, 1, 2));
    expect([...row.data]).toEqual([4, 5, 6]);
    expect(leftBy(() => row.dispose())).toEqual({ bytes: -48, storages: -1 });
  });

  test("an inner one hands what it returns to the outer one, which frees it", () => {
    expect(
      leftBy(() => {
        const made: Tensor[] = [];
        scope(() => {
          const x = scope(() => {
            made.push(Tensor.zeros([3]));
            return Tensor.zeros([4]);
          });
          expect(made[0]?.disposed).toBe(true);
          expect(x.disposed).toBe(false);
          made.push(x);
        });
        expect(made[1]?.disposed).toBe(true);
      }),
    ).toEqual(nothing);
  });

  test("leaves alone what was made outside, also a view of it that was made inside", () => {
    const x = counting([4, 3]);
    scope(() => x.slice(0, 1).reshape([9]));
    expect(x.disposed).toBe(false);
    expect(x.toFloat32Array()[11]).toBe(12);
  });

  test("keeps what backward needs with { y, saved }, also of a frozen forward", () => {
    const training = scope(() => {
      const weight = counting([3]);
      return batchNormTraining(counting([4, 3]), { weight });
    });
    const dy = counting([4, 3]);
    const expected = batchNormBackward(dy, {
      saved: batchNormTraining(counting([4, 3]), { weight: counting([3]) }).saved,
    });
    const { dx, weightGrad } = batchNormBackward(dy, { saved: training.saved });
    expect(dx.toFloat32Array()).toEqual(expected.dx.toFloat32Array());
    expect(weightGrad?.toFloat32Array()).toEqual(expected.weightGrad?.toFloat32Array());

    const frozen = scope(() => {
      const { saved } = batchNormTraining(counting([4, 3]));
      const [mean, variance] = [counting([3]), counting([3])];
      return { y: batchNormInference(counting([4, 3]), { mean, variance, saved }), saved };
    });
    expect(frozen.saved.statistics).toBe("running");
    expect(batchNormBackward(dy, { saved: frozen.saved }).dx.size).toBe(12);
  });

  test("frees saved values that are not returned", () => {
    let saved: BatchNormSaved | undefined;
    const y = scope(() => {
      const made = batchNormTraining(counting([4, 3]));
      saved = made.saved;
      return made.y;
    });
    expect(saved?.disposed).toBe(true);
    expect(y.disposed).toBe(false);
  });

  test("never frees a layer's parameters, gradients, statistics or last saved values", () => {
    const x = counting([4, 3]);
    const dy = counting([4, 3]);
    const bn = scope(() => {
      const made = new BatchNorm(3);
      made.forward(x);
      made.backward(dy);
      return made;
    });
    scope(() => bn.forward(x));
    const dx = scope(() => bn.backward(dy));
    expect(dx.disposed).toBe(false);
    const { weight, bias, runningMean, runningVar } = bn;
    for (const tensor of [weight, bias, runningMean, runningVar, weight?.grad, bias?.grad]) {
      expect(tensor?.disposed).toBe(false);
    }
    expect(bn.numBatchesTracked).toBe(2);
  });

  test("a training step inside leaves nothing, from the second one on", () => {
    const bn = new BatchNorm(3);
    const step = () =>
      scope(() => {
        const x = counting([4, 3]);
        const y = bn.forward(x);
        bn.backward(y);
        bn.backward({ data: new Float32Array(12), shape: [4, 3] });
      });
    step();
    expect(leftBy(step)).toEqual(nothing);
  });
});

describe("growth", () => {
  test("a .data read before it is detached, and one read after shows the same elements", () => {
    const kernel = createKernel(kernelBytes);
    const x = Tensor.from([1, 2, 3, 4], [2, 2], { kernel });
    const [before, { memoryBytes }] = [x.data, memoryUsage({ kernel })];
    Tensor.zeros([memoryBytes], { kernel });
    expect(memoryUsage({ kernel }).memoryBytes).toBeGreaterThan(memoryBytes);
    expect(before).toHaveLength(0);
    before[0] = 100;
    expect(x.data === before).toBe(false);
    expect([...x.data]).toEqual([1, 2, 3, 4]);
    expect(x.data.buffer).toBe(kernel.memory.buffer);
  });

  testWhere(!GROW_ON_ALLOCATE)(".data is the same object until then", () => {
    const x = counting([4, 3]);
    expect(x.data).toBe(x.data);
    expect(x.data.buffer).toBe(counting([1]).data.buffer);
  });

  test("operations find their tensors after it, and layers theirs", () => {
    const kernel = createKernel(kernelBytes);
    const x = Tensor.from([1, 2, 3, 4, 5, 7], [3, 2], { kernel });
    const bn = new BatchNorm(2, { kernel });
    const expected = [bn.forward(x).toFloat32Array(), bn.backward(x).toFloat32Array()];
    const state = new BatchNorm(2);
    state.forward({ data: x.toFloat32Array(), shape: [3, 2] });
    kernel.memory.grow(16);
    expect(bn.stateDict()).toEqual(state.stateDict());
    expect([bn.forward(x).toFloat32Array(), bn.backward(x).toFloat32Array()]).toEqual(expected);
  });

  test("data that lie in kernel memory themselves are copied rightly across it", () => {
    const kernel = createKernel(kernelBytes);
    const size = MiB;
    const x = Tensor.from(new Float32Array(size).fill(3), [size], { kernel });
    const { memoryBytes } = memoryUsage({ kernel });
    const copies: Tensor[] = [];
    while (memoryUsage({ kernel }).memoryBytes === memoryBytes) {
      copies.push(Tensor.from(x.data, [size], { kernel }));
    }
    for (const copy of copies) expect(copy.data.every((value) => value === 3)).toBe(true);
    const bytes = new Uint8Array(kernel.memory.buffer, x.address, 4 * size);
    expect(Tensor.from(bytes, [4 * size], { kernel }).data[3]).toBe(64);
  });

  test("a layer that learns its size from a state dict of .data views survives it", () => {
    const kernel = createKernel(kernelBytes);
    const channels = MiB;
    const vector = Tensor.from(new Float32Array(channels).fill(2), [channels], { kernel });
    const bn = new BatchNorm(null, { preset: "keras", kernel });
    const { data } = vector;
    bn.loadStateDict({ gamma: data, beta: data, moving_mean: data, moving_variance: data });
    expect(bn.bias?.toFloat32Array().every((value) => value === 2)).toBe(true);
  });

  test("reserve does it beforehand: the tensors that follow don't", () => {
    const kernel = createKernel(kernelBytes);
    const usage = memoryUsage({ kernel });
    reserve(64 * MiB, { kernel });
    const reserved = memoryUsage({ kernel });
    expect(reserved).toMatchObject({ liveBytes: 0, liveStorages: 0 });
    expect(usage.memoryBytes).toBeLessThan(64 * MiB);
    expect(reserved.memoryBytes).toBeGreaterThanOrEqual(64 * MiB);
    const first = Tensor.zeros([MiB], { kernel });
    const { data } = first;
    for (let i = 1; i < 16; i++) Tensor.zeros([MiB], { kernel });
    expect(memoryUsage({ kernel }).memoryBytes).toBe(reserved.memoryBytes);
    if (!GROW_ON_ALLOCATE) expect(first.data).toBe(data);
    reserve(0, { kernel });
    expect(memoryUsage({ kernel }).memoryBytes).toBe(reserved.memoryBytes);
  });

  test("reserve is enough for many small tensors too, with 128 bytes more for each", () => {
    const kernel = createKernel(kernelBytes);
    reserve((MiB / 64) * (64 + 128), { kernel });
    const { memoryBytes } = memoryUsage({ kernel });
    for (let bytes = 0; bytes < MiB; bytes += 64) Tensor.zeros([16], { kernel });
    expect(memoryUsage({ kernel }).memoryBytes).toBe(memoryBytes);
  });

  testWhere(Boolean(GROW_ON_ALLOCATE))(
    "GROW_ON_ALLOCATE detaches views at every allocation and call",
    () => {
      const x = counting([4, 3]);
      const { data } = x;
      const [other, mean, variance] = [1, 1, 1].map((size) => Tensor.zeros([size])) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      expect(data).toHaveLength(0);
      const again = x.data;
      batchNormInference(x, { mean: Tensor.zeros([3]), variance: Tensor.zeros([3]), out: x });
      expect(again).toHaveLength(0);
      const { data: before } = other;
      batchNormInference(other, { mean, variance, axis: 0, out: other });
      expect(before).toHaveLength(0);
      expect(x.data).toHaveLength(12);
    },
  );
});

describe("steady state", () => {
  const layouts: [name: string, shape: number[], axis: number][] = [
    ["channels-first", [2, 3, 4, 5], 1],
    ["channels-last", [2, 4, 5, 3], -1],
    ["[N, C]", [7, 3], 1],
    ["a channel axis in front", [3, 8], 0],
    ["a channel axis in the middle", [2, 2, 3, 4, 2], 2],
  ];
  for (const [name, shape, axis] of layouts) {
    test(`1000 steps with out given change no memory use, ${name}`, () => {
      const bn = new BatchNorm(3, { axis });
      const x = counting(shape);
      const [y, dy, dx] = [Tensor.zeros(shape), counting(shape), Tensor.zeros(shape)];
      const steps = (count: number) => {
        for (let i = 0; i < count; i++) {
          bn.train().forward(x, { out: y });
          bn.backward(dy, { out: dx });
          bn.zeroGrad();
          bn.eval().forward(x, { out: y });
          bn.backward(dy, { out: dy });
        }
      };
      steps(2);
      const before = memoryUsage();
      steps(1000);
      expect(memoryUsage()).toEqual(before);
    });
  }

  test("so do 1000 steps over views that are made anew each time", () => {
    const whole = counting([4, 6]);
    const bn = new BatchNorm(3);
    const dy = counting([4, 3]);
    const steps = (count: number) => {
      for (let i = 0; i < count; i++) {
        scope(() => {
          bn.forward(whole.slice(1, 0, 3), { out: whole.slice(1, 3, 6) });
          bn.backward(dy);
        });
      }
    };
    steps(2);
    const before = memoryUsage();
    steps(1000);
    expect(memoryUsage()).toEqual(before);
  });

  test("the functions allocate nothing with out and saved given", () => {
    const x = counting([4, 3]);
    const [y, dx] = [Tensor.zeros([4, 3]), Tensor.zeros([4, 3])];
    const vectors = [0, 1, 2, 3, 4, 5].map(() => counting([3]));
    const [weight, bias, runningMean, runningVar, weightGrad, biasGrad] = vectors as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    const { saved } = batchNormTraining(x, { weight, bias, out: y });
    const before = memoryUsage();
    for (let i = 0; i < 100; i++) {
      batchNormTraining(x, { weight, bias, runningMean, runningVar, saved, out: y });
      batchNormBackward(y, { saved, out: dx, weightGrad, biasGrad });
      batchNormInference(x, { mean: runningMean, variance: runningVar, weight, bias, out: y });
    }
    expect(memoryUsage()).toEqual(before);
  });

  test("100 000 small calls leave the JavaScript heap as it was", () => {
    // What is kept per call adds up: one object header of 12 bytes makes 1.2 MB. Compiled
    // code, inline caches and V8's own bookkeeping move by tens of KB between runs, and on
    // a busy machine by more, but not each time: hence the least of three.
    const tolerance = 256 * 1024;
    const grown = runWithGc(`
      const bn = new BatchNorm(3);
      const whole = Tensor.zeros([4, 6]);
      const x = Tensor.zeros([4, 3]), y = Tensor.zeros([4, 3]);
      const steps = (count) => {
        for (let i = 0; i < count; i++) {
          bn.forward(x, { out: y });
          bn.backward(y, { out: y });
          const view = whole.slice(1, i % 4, i % 4 + 3);
          bn.forward(x, { out: view, training: false });
          view.dispose();
          Tensor.zeros([4]).dispose();
        }
      };
      const used = async () => {
        for (let i = 0; i < 4; i++) { gc(); await setTimeout(5); }
        return process.memoryUsage().heapUsed;
      };
      steps(10_000);
      let least = Infinity;
      for (let i = 0; i < 3; i++) {
        const before = await used();
        steps(33_334);
        least = Math.min(least, await used() - before);
      }
      console.log(least);`);
    expect(Number(grown)).toBeLessThan(tolerance);
  });
});

describe("the garbage collector", () => {
  test("frees forgotten tensors, layers and saved values, views and all", () => {
    const left = runWithGc(`
      (() => {
        const x = Tensor.zeros([4, 3]);
        for (let i = 0; i < 50; i++) {
          Tensor.zeros([1000]);
          Tensor.from([1, 2, 3]).reshape([3, 1]);
          const bn = new BatchNorm(3);
          bn.forward(x);
          bn.backward(x);
          batchNormTraining(x).saved.mean;
        }
      })();
      const forgotten = memoryUsage().liveStorages;
      await collected(() => memoryUsage().liveStorages === 0);
      console.log(JSON.stringify([forgotten > 500, memoryUsage()]));`);
    const [many, usage] = JSON.parse(left);
    expect(many).toBe(true);
    expect(usage).toMatchObject({ liveBytes: 0, liveStorages: 0 });
  });

  test("never frees a tensor whose .data was read, from it or from a view", () => {
    const lines = runWithGc(`
      lib.reserve(${MiB});
      const kept = [];
      (() => {
        for (let i = 0; i < 20; i++) {
          kept.push(Tensor.from(new Float32Array(1000).fill(i)).data.subarray(10, 20));
          kept.push(Tensor.from(new Float32Array(1000).fill(i)).reshape([10, 100]).slice(0, 3).data);
          Tensor.zeros([1000]);
        }
      })();
      await collected(() => memoryUsage().liveStorages <= 40);
      gc(); await setTimeout(20); gc(); await setTimeout(20);
      // Would take the memory, had it been given back.
      for (let i = 0; i < 20; i++) Tensor.from(new Float32Array(1000).fill(-1));
      const wrong = kept.filter((view, i) => !view.every((value) => value === i >> 1)).length;
      console.log(JSON.stringify([memoryUsage().liveStorages, kept[0].length, wrong]));`);
    // A growth would have detached the views: their length shows that there was none.
    expect(JSON.parse(lines)).toEqual([60, 10, 0]);
  });

  test("does not free again what was disposed by hand", () => {
    const usage = runWithGc(`
      (() => { for (let i = 0; i < 1000; i++) Tensor.zeros([100]).dispose(); })();
      const keep = Array.from({ length: 100 }, (_, i) => Tensor.from(new Float32Array(100).fill(i)));
      for (let i = 0; i < 10; i++) { gc(); await setTimeout(5); }
      const wrong = keep.filter((tensor, i) => !tensor.toFloat32Array().every((v) => v === i));
      console.log(JSON.stringify([memoryUsage().liveStorages, wrong.length]));`);
    expect(JSON.parse(usage)).toEqual([100, 0]);
  });

  test("collects a kernel and its memory with the last of its tensors", () => {
    const collectedKernels = runWithGc(`
      import { kernelBytes } from "./scripts/kernel/under-test.mjs";
      const module = new WebAssembly.Module(kernelBytes);
      let gone = 0;
      const registry = new FinalizationRegistry(() => { gone += 1; });
      (() => {
        for (let i = 0; i < 20; i++) {
          const kernel = lib.createKernel(module);
          Tensor.zeros([100], { kernel });
          registry.register(kernel, i);
        }
      })();
      await collected(() => gone === 20);
      console.log(gone);`);
    expect(Number(collectedKernels)).toBe(20);
  });
});
