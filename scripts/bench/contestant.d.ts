/** What the harness and its contestants agree on. One contestant, one file in `contestants/`. */

export type Op = "inference" | "inference-in-place" | "training" | "backward" | "forward-backward";
export type Layout = "channels-first" | "channels-last" | "NC";
/** Group norm with as many groups as channels is instance norm. */
export type Norm = "batch" | "group" | "layer" | "rms";
/** What varies batch norm: `cells.mjs` says by how much, and what each is called. */
export type Variant = "ghost" | "renorm" | "mask" | "relu" | "residual-relu";

/** One thing to measure. */
export interface Cell {
  readonly op: Op;
  readonly layout: Layout;
  readonly shape: readonly number[];
  /** The channel axis, counted from 0. */
  readonly axis: number;
  /** Where the shape is from: "ResNet-50 layer1". */
  readonly name: string;
  /** Batch norm, if absent. Of layer and RMS norm the axis is the last one, and a row its elements. */
  readonly norm?: Norm;
  /** Of group norm. */
  readonly groups?: number;
  /** Of batch norm. */
  readonly variant?: Variant;
}

/**
 * Inputs of a cell, the same in every run. Each array is made when it is first read
 * and then kept: read what the operation needs and nothing else.
 */
export interface Data {
  /** In the cell's shape, row-major. */
  readonly x: Float32Array;
  /** The gradient of a loss with respect to y, in x's shape. */
  readonly dy: Float32Array;
  /** One a channel, as are the next three. */
  readonly weight: Float32Array;
  readonly bias: Float32Array;
  /** Running statistics, for inference. Not those of x. */
  readonly mean: Float32Array;
  readonly variance: Float32Array;
  readonly eps: number;
  /** Of a variant alone. Of x's shape: what is added before the activation. */
  readonly residual?: Float32Array;
  /** Likewise. 0 or 1 for each position, which is an element of every channel: x's shape without the channel axis. */
  readonly mask?: Float32Array;
}

/** What a contestant gets from where it runs; a page has no file system. */
export interface Host {
  readonly runtime: "node" | "browser";
  /** The bytes of our kernel: the committed one, or `KERNEL_WASM`. */
  readonly kernel: Uint8Array<ArrayBuffer>;
  /** Of our package and of these bytes. */
  readonly version: string;
  /** Of the entry with threads, which has a kernel of its own. */
  readonly threadsVersion: string;
  /**
   * How many threads each contestant is to have, but for those that are `one` beside it. Who can't
   * have as many says so at the start.
   */
  readonly threads: number;
  /** Native contestants are to use no wider vectors than those of AVX2. */
  readonly avx2?: boolean;
  /** Folder (a path or an URL, with a slash at the end) of a package's wasm files, if it must be told. */
  assets(packageName: string): string | undefined;
  /** Frees what the last cell left, so that it isn't freed while something is timed. */
  collectGarbage(): void;
}

/** The default export of `contestants/<file>.mjs`. */
export interface Contestant {
  /** As shown, and in the JSON. */
  readonly name: string;
  /**
   * `javascript`: JavaScript or wasm, as it would run in a browser. `limit`: computes less than what
   * is asked for, and is not checked; `memory.copy`, the bare loops, and beside variants batch norm
   * without them, in this order.
   */
  readonly kind: "ours" | "limit" | "javascript" | "native";
  /** Which it is asked for; batch norm, if absent. Limits are there for all. */
  readonly norms?: readonly Norm[];
  /** Of batch norm: which it is asked for, none if absent. Limits without any are there for all. */
  readonly variants?: readonly Variant[];
  /**
   * `several`: it can have them, and is asked whatever their number. `one`: it is asked where others
   * have several, and has one. Absent: it has one, and is asked where all have. Limits have one, and
   * are there for all.
   */
  readonly threads?: "several" | "one";
  /**
   * Loads what it needs, with `host.threads` threads.
   *
   * @throws with the reason where it can't run on this machine: it is shown as absent
   */
  start(host: Host): Promise<Started>;
}

export interface Started {
  readonly version: string;
  /**
   * ms after a call in which its threads still look for work: whoever came next would share the
   * processors with them. None, if absent.
   */
  readonly settles?: number;
  /** Why it can't do this cell (shown, never dropped), `undefined` if it can. */
  refuses(cell: Cell): string | undefined;
  /** Everything that isn't to be timed: data where the contestant wants it, compilation. */
  prepare(cell: Cell, data: Data): Promise<Prepared>;
  close?(): Promise<void>;
}

export interface Prepared {
  /**
   * Does the cell's operation `calls` times, completely (nothing lazy is left over).
   *
   * @returns the ms that all of them took, by the contestant's own clock
   */
  run(calls: number): number | Promise<number>;
  /**
   * What the last run made. The harness asks once, after a first `run(1)`: what is
   * done in place or accumulates is compared as it is then.
   */
  outputs(): Promise<Outputs>;
  dispose(): void | Promise<void>;
}

/** `y` of forward operations, the gradients of backward ones, all of both. */
export interface Outputs {
  y?: Float32Array;
  dx?: Float32Array;
  dweight?: Float32Array;
  dbias?: Float32Array;
  /** Of a residual. */
  dresidual?: Float32Array;
  /** Of the batch, where the contestant gives them: mean and biased variance. */
  mean?: Float32Array;
  variance?: Float32Array;
}

/** One line of the JSON: a cell and a contestant. */
export interface Record {
  op: Op;
  layout: Layout;
  shape: readonly number[];
  name: string;
  norm?: Norm;
  variant?: Variant;
  contestant: string;
  kind: Contestant["kind"];
  version: string | null;
  /** `failed`: it threw, `wrong`: it is not timed, `absent`: not on this machine. */
  status: "ok" | "wrong" | "refused" | "failed" | "absent";
  /** Why it is not `ok`. */
  reason?: string;
  /** Largest |output − truth| over the largest |truth| of that array; see `reference.mjs`. */
  max_error?: number;
  /** ms a call: of the very first one, and of the rounds. */
  first_ms?: number;
  median_ms?: number;
  p25?: number;
  p75?: number;
  rounds?: number;
  /** ms of running until a call took what it takes in the rounds; 0 if the first one did. */
  warmup_ms?: number;
  /** Time over that of `memory.copy` of x's bytes: median and quartiles of the rounds' ratios. */
  ratio_to_copy?: number;
  ratio_p25?: number;
  ratio_p75?: number;
  /** Time over that of the bare loops of the operation's passes, of batch norm without the variant, and over ours: likewise. */
  ratio_to_bare?: number;
  ratio_to_alone?: number;
  ratio_to_ours?: number;
  /**
   * Of ours with several threads: the time of ours on one over it, median of the rounds' ratios, and
   * where that median is with 95 %.
   */
  gain?: number;
  gain_low?: number;
  gain_high?: number;
}

/** What `--json` writes. */
export interface Results {
  date: string;
  command: string;
  machine: { [name: string]: string | number };
  versions: { [name: string]: string };
  /** Native contestants were held to AVX2; see `--avx2`. */
  avx2?: boolean;
  /** How many each contestant had, where there were several; see `--threads`. */
  threads?: number;
  /** Bytes of the kernel, gzipped. */
  kernel_gzip?: number;
  records: Record[];
}

/** A build of this package, of today or before. */
export type Library = Pick<
  typeof import("batchnorm-wasm"),
  "BatchNorm" | "GroupNorm" | "LayerNorm" | "RMSNorm" | "createKernel" | "Tensor"
>;
