/** What is known of forward passes of batch norm. */
import { BatchNormSaved } from "batchnorm-wasm";
import type { Past } from "../passes.js";
import { Fault, type LayerModel, type RecordModel, type World } from "../world.js";
import { expectStatistics } from "./expect.js";

/** A forward pass as it was. */
export interface Pass extends Past {
  /** The statistics that were given; `null` where the batch's own normalized. */
  readonly given: { mean: Float32Array; variance: Float32Array } | null;
  /** How much positions count in the batch's own; `null` where all count alike. */
  readonly weights: Float32Array | null;
  /** What an activation multiplies with where its input is not above 0; 1 of none. */
  readonly slope: number;
  /** What was added before it. */
  readonly residual: Float32Array | null;
}

/** Saved values of batch norm. */
export interface BatchRecord extends RecordModel {
  readonly record: BatchNormSaved;
  pass: Pass | null;
  /** Whose forward pass it is of. */
  layer: LayerModel | null;
  /** Whether it is the caller's, so that the layer doesn't overwrite it. */
  taken?: boolean;
}

/** The last forward pass of a layer, and the record of it that somebody has. */
interface Last {
  pass: Pass | null;
  record: BatchRecord | null;
}

const lasts = new WeakMap<LayerModel, Last>();

export function lastOf(layer: LayerModel): Last {
  const last = lasts.get(layer) ?? { pass: null, record: null };
  lasts.set(layer, last);
  return last;
}

export const recordsOf = (world: World) => world.recordsOf<BatchRecord>(BatchNormSaved);

/**
 * Whether a pass of training goes by slices of the batch, or can't. What these give is compared in
 * `test/ghost.test.ts`, and of renorm in `test/renorm.test.ts`; here, that they keep their promises.
 */
export const cuts = (size: unknown, shape: readonly number[], axis: number) =>
  size != null && !(typeof size === "number" && axis !== 0 && size >= (shape[0] as number));

/** A record that has come back. */
export function adoptRecord(
  world: World,
  name: string,
  record: BatchNormSaved,
  pass: Pass | null,
  layer: LayerModel | null,
): BatchRecord {
  const { disposed } = record;
  const model: BatchRecord = {
    ...{ name, record, pass, layer, disposed },
    told: (field, value) => checkTold(model, field, value),
  };
  world.records.push(model);
  return model;
}

function checkTold({ record, name, pass }: BatchRecord, field: string, value: unknown): void {
  if (!pass?.known || record.disposed) return;
  if (field === "axis" && value !== pass.axis)
    throw new Fault("a record's axis is another", `${value}`);
  if (field !== "mean" && field !== "variance") return;
  const given = pass.given?.[field];
  const got = value as Float64Array;
  if (given && Array.from(given).some((v, i) => !Object.is(v, got[i]) && !Number.isNaN(v))) {
    throw new Fault("a record's statistics are others than normalized", `${name}.${field}`);
  }
  if (!given && pass.x.length > 0) {
    expectStatistics({ mean: record.mean, variance: record.variance }, pass);
  }
}
