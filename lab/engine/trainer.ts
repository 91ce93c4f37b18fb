/** A run: a network that learns a data set, step by step, all by a seed. */
import { scope } from "batchnorm-wasm";
import { type Dataset, type Samples, slice, take } from "./dataset.js";
import { type BlockReport, inspect } from "./inspect.js";
import type { Values } from "./layer.js";
import { crossEntropy, type Loss, squaredError } from "./loss.js";
import { Network } from "./network.js";
import { Adam, addPenalties, type Optimizer, Sgd } from "./optimizer.js";
import { randomFrom, shuffle } from "./random.js";
import { checkSettings, type Settings } from "./settings.js";

/** By which statistics a network is evaluated: the running ones, or each batch's as in training. */
export type Mode = "evaluation" | "training";

/** How good the network is on some rows; accuracy is `null` of regression. */
export interface Score {
  readonly loss: number;
  readonly accuracy: number | null;
}

export interface Snapshot {
  /** Steps so far. */
  readonly step: number;
  /** Of the batches since the last snapshot, in training. */
  readonly batchLoss: number;
  /** What L1 and L2 add. */
  readonly penalty: number;
  readonly train: Readonly<Record<Mode, Score>>;
  readonly test: Readonly<Record<Mode, Score>>;
  readonly blocks: readonly BlockReport[];
  /** Mean of a step, and which part of it the norms took, copies included. */
  readonly stepMs: number;
  readonly normShare: number;
  /** Whether the loss or the scores are beyond numbers. */
  readonly diverged: boolean;
}

/** Rows of the training data that a snapshot looks at: enough to tell per cents. */
const EVALUATED = 512;
/** Rows of a pass in evaluation, where batches make no difference. */
const CHUNK = 256;

export class Trainer {
  readonly network: Network;
  readonly settings: Settings;
  private readonly optimizer: Optimizer;
  private readonly random: () => number;
  private readonly order: Uint32Array;
  private readonly batchSize: number;
  private next: number;
  private steps = 0;
  private reports: readonly BlockReport[] | null = null;
  private since = { steps: 0, loss: 0, ms: 0, normMs: 0 };
  private last = { loss: Number.NaN, penalty: 0 };
  private broken = false;

  /**
   * @throws SettingError, BatchNormError where the settings can't be; RangeError without rows
   */
  constructor(
    readonly data: Dataset,
    settings: Settings,
    private readonly seed: number,
    /** Rows of a batch where test data are normalized by their own statistics; 0: as in the steps. */
    private readonly testBatch = 0,
  ) {
    if (data.train.rows < 1 || data.test.rows < 1) {
      throw new RangeError("the data have no rows to learn from, or none to test on");
    }
    this.settings = checkSettings({ ...settings });
    const { optimizer, learningRate, momentum, batchSize } = this.settings;
    this.network = new Network(data.input, data.classes || 1, this.settings, seed);
    this.optimizer =
      optimizer === "adam" ? new Adam(learningRate) : new Sgd(learningRate, momentum);
    // The order of rows is the same in all runs of a seed, whatever their networks draw.
    this.random = randomFrom(seed ^ 0x5bd1e995);
    this.batchSize = Math.min(batchSize, data.train.rows);
    this.order = Uint32Array.from({ length: data.train.rows }, (_, i) => i);
    this.next = data.train.rows;
  }

  /** Steps so far. */
  get step(): number {
    return this.steps;
  }

  /** Whether the loss was beyond numbers. */
  get diverged(): boolean {
    return this.broken;
  }

  /** One step of the optimizer; the batch's loss, without penalties. */
  learn(): number {
    return this.learnFrom(take(this.data.train, this.#batch()));
  }

  /** One step of the optimizer on these rows. */
  learnFrom(batch: Samples): number {
    const { network, since } = this;
    const start = performance.now();
    for (const { norm } of network.blocks) if (norm) norm.ms = 0;
    const { loss, penalty } = this.gradients(batch);
    this.optimizer.step(network.parameters);
    this.steps++;
    this.reports = null;
    this.last = { loss, penalty };
    if (!Number.isFinite(loss)) this.broken = true;
    since.steps++;
    since.loss += loss;
    since.ms += performance.now() - start;
    since.normMs += network.blocks.reduce((sum, { norm }) => sum + (norm?.ms ?? 0), 0);
    return loss;
  }

  /** Forward and backward, with the penalties: the gradients are at the parameters. */
  gradients(batch: Samples): { loss: number; penalty: number } {
    const { network, seed, steps } = this;
    return scope(() => {
      const weights = batch.weights ?? null;
      const pass = { training: true, learning: true, seed: Math.imul(seed, 31) + steps, weights };
      const { loss, gradient } = this.#loss(network.forward(batch.x, batch.rows, pass), batch.y);
      network.backward(gradient);
      return { loss, penalty: addPenalties(network.parameters, this.settings) };
    });
  }

  /**
   * What the network gives for rows, by running statistics: `[rows, classes]`.
   *
   * @param weights as those of {@link Samples}
   */
  predict(x: Values, rows: number, weights?: Values): Values {
    const outputs = this.data.classes || 1;
    const y = new Float64Array(rows * outputs);
    const all = { rows, x, y: new Float64Array(rows), weights };
    for (let row = 0; row < rows; row += CHUNK) {
      const count = Math.min(CHUNK, rows - row);
      const some = slice(all, row, row + count);
      const pass = { training: false, learning: false, seed: 0, weights: some.weights ?? null };
      y.set(
        scope(() => this.network.forward(some.x, count, pass)),
        row * outputs,
      );
    }
    return y;
  }

  /**
   * How good the network is on some rows. In training mode each batch is normalized by its own statistics,
   * which move nothing, and nothing is dropped.
   *
   * @param batchSize in training mode; default that of the steps. Rows beyond whole batches are left out
   */
  evaluate(samples: Samples, mode: Mode, batchSize = this.batchSize): Score {
    this.#inspect();
    const size = mode === "evaluation" ? CHUNK : Math.min(batchSize, samples.rows);
    const training = mode === "training";
    let [loss, right, rows] = [0, 0, 0];
    for (let row = 0; row < samples.rows; row += size) {
      const end = Math.min(samples.rows, row + size);
      if (mode === "training" && end - row < size) break;
      const batch = slice(samples, row, end);
      const pass = { training, learning: false, seed: 0, weights: batch.weights ?? null };
      const output = scope(() => this.network.forward(batch.x, batch.rows, pass));
      const found = this.#loss(output, batch.y);
      loss += found.loss * batch.rows;
      right += found.right;
      rows += batch.rows;
    }
    return { loss: loss / rows, accuracy: this.data.classes ? right / rows : null };
  }

  /** How the run is doing since the last snapshot. */
  snapshot(): Snapshot {
    const { data, since, last } = this;
    const blocks = this.#inspect();
    const train = slice(data.train, 0, Math.min(EVALUATED, data.train.rows));
    const both = (samples: Samples, batch?: number) => ({
      evaluation: this.evaluate(samples, "evaluation"),
      training: this.evaluate(samples, "training", batch),
    });
    const scores = { train: both(train), test: both(data.test, this.testBatch || undefined) };
    const count = Math.max(1, since.steps);
    this.since = { steps: 0, loss: 0, ms: 0, normMs: 0 };
    return {
      step: this.steps,
      batchLoss: since.steps ? since.loss / count : last.loss,
      penalty: last.penalty,
      ...scores,
      blocks,
      stepMs: since.ms / count,
      normShare: since.ms > 0 ? since.normMs / since.ms : 0,
      diverged: this.broken,
    };
  }

  dispose(): void {
    this.network.dispose();
  }

  /** Evaluations overwrite what the last step has left in the blocks: it is looked at before. */
  #inspect(): readonly BlockReport[] {
    this.reports ??= this.steps ? scope(() => inspect(this.network)) : [];
    return this.reports;
  }

  #loss(output: Values, y: Values): Loss {
    return this.data.classes ? crossEntropy(output, y) : squaredError(output, y);
  }

  /** The next rows. A rest that is no whole batch is left to the next round, in another order. */
  #batch(): Uint32Array {
    const { order, batchSize } = this;
    if (this.next + batchSize > order.length) {
      shuffle(order, this.random);
      this.next = 0;
    }
    this.next += batchSize;
    return order.subarray(this.next - batchSize, this.next);
  }
}
