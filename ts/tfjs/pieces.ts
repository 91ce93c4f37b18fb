/**
 * Batch norm of tensors that are longer than a cache: each piece is copied into our memory, computed
 * there and copied out, and no more than one is there at a time.
 *
 * ```text
 * n, μ, M2 of each piece → merged → N, μ, σ²         y as ever           (Chan, Golub & LeVeque, 1983)
 * A = Σdy, C = Σdy·x̂ of each piece → added           dβ = A, dγ = C
 * dx = γ·s·(dy − A/N) − x̂·γ·s·C/N
 * ```
 */
import { type Call, newCall, Place } from "../core/operands.js";
import { FORWARD_NAMES } from "../core/passes.js";
import type { View } from "../core/view.js";
import { Operation } from "../generated/abi.js";
import { inScratch, OWNER, type Scratch, type Values } from "./scratch.js";

/** Sizes before, at and behind the channel axis. */
export type Around = readonly [number, number, number];

/** Takes a piece of what was computed, where it lies, and the place of its first element. */
export type Put = (piece: Values, at: number) => void;

/** How long a piece is. */
enum Size {
  /** 256 KB. */
  ELEMENTS = 2 ** 16,
  /** Of each channel at least, beside which its constants are nothing. */
  OF_CHANNEL = 256,
}

/** A tensor, cut before its channels. */
export class Pieces {
  readonly channels: number;
  readonly #around: Around;
  /** Elements of a line, and lines of a piece but the last. */
  readonly #line: number;
  readonly #lines: number;

  constructor(around: Around) {
    const [before, channels, behind] = around;
    this.channels = channels;
    this.#around = around;
    this.#line = channels * behind;
    const most = Math.max(Size.ELEMENTS / this.#line, Size.OF_CHANNEL / behind);
    this.#lines = Math.min(before, Math.ceil(most));
  }

  /** Whether there are several. */
  get several(): boolean {
    return this.#lines < this.#around[0];
  }

  /** Elements of the longest. */
  get length(): number {
    return this.#lines * this.#line;
  }

  /** Room for any of them. */
  room(scratch: Scratch): View {
    const [, channels, behind] = this.#around;
    return scratch.tensor([this.#lines, channels, behind]);
  }

  /**
   * Visits each.
   *
   * @param visit is told the place of its first element, and how long it is
   */
  each(visit: (at: number, length: number) => void): void {
    const [before] = this.#around;
    for (let first = 0; first < before; first += this.#lines) {
      visit(first * this.#line, Math.min(this.#lines, before - first) * this.#line);
    }
  }

  /** Copies a piece into its room, and gives it as a tensor. */
  fill(scratch: Scratch, room: View, values: Values, at: number, length: number): View {
    const [, channels, behind] = this.#around;
    const isAll = length === values.length;
    const piece =
      length === room.size ? room : scratch.first(room, [length / this.#line, channels, behind]);
    scratch.put(piece, isAll ? values : values.subarray(at, at + length));
    return piece;
  }
}

/** Parameters of batch norm, one a channel. */
export interface Affine {
  readonly gamma: Values | null;
  readonly beta: Values | null;
  readonly epsilon: number;
}

/** With statistics that are given. */
export interface Given extends Affine {
  readonly mean: Values;
  readonly variance: Values;
}

function callOver(operation: Operation, piece: View, epsilon: number): Call<View> {
  const call = newCall(FORWARD_NAMES, operation, OWNER, piece, 1);
  call.eps = epsilon;
  call.operands[Place.OUT] = piece;
  return call;
}

/** Normalizes by given statistics. */
export function normalize(pieces: Pieces, x: Values, given: Given, put: Put): void {
  const { channels } = pieces;
  inScratch([pieces.length, channels, channels, channels, channels], (scratch) => {
    const room = pieces.room(scratch);
    const vectors = [given.gamma, given.beta, given.mean, given.variance].map((values) =>
      scratch.vector(values, channels),
    );
    pieces.each((at, length) => {
      const piece = pieces.fill(scratch, room, x, at, length);
      const call = callOver(Operation.Forward, piece, given.epsilon);
      vectors.forEach((vector, k) => {
        call.operands[Place.WEIGHT + k] = vector;
      });
      scratch.run(call);
      put(scratch.look(piece), at);
    });
  });
}

/** Float32 that means, variances and γ of channels take, in float64. */
const savedOf = (channels: number) => 6 * channels;

/**
 * Normalizes by x's own statistics.
 *
 * @param take their bits, at last: means and variances in float64
 */
export function forwardInPieces<T>(
  pieces: Pieces,
  x: Values,
  { gamma, beta, epsilon }: Affine,
  put: Put,
  take: (statistics: Int32Array) => T,
): T {
  const { channels } = pieces;
  const lengths = [pieces.length, savedOf(channels), channels, channels];
  return inScratch(lengths, (scratch) => {
    const room = pieces.room(scratch);
    const saved = scratch.tensor([savedOf(channels)]).address;
    const [weight, bias] = [scratch.vector(gamma, channels), scratch.vector(beta, channels)];
    // Read anew after each call: memory may have grown.
    const own = () => scratch.doubles(saved, 2 * channels);
    const merged = new Float64Array(2 * channels);
    let before = 0;
    pieces.each((at, length) => {
      const call = callOver(
        Operation.Statistics,
        pieces.fill(scratch, room, x, at, length),
        epsilon,
      );
      call.saved = saved;
      scratch.run(call);
      const count = length / channels;
      merge(merged, before, own(), count);
      before += count;
    });
    for (let channel = channels; channel < 2 * channels; channel++) {
      merged[channel] = (merged[channel] as number) / before;
    }
    own().set(merged);
    let last: Call<View> | undefined;
    pieces.each((at, length) => {
      const piece = pieces.fill(scratch, room, x, at, length);
      const call = callOver(Operation.Forward, piece, epsilon);
      call.operands[Place.WEIGHT] = weight;
      call.operands[Place.BIAS] = bias;
      call.saved = saved;
      call.constant = true;
      scratch.run(call);
      put(scratch.look(piece), at);
      last = call;
    });
    return take(scratch.bits(last as Call<View>));
  });
}

/** Puts a piece's means and variances to means and M2 of those before. */
function merge(merged: Float64Array, before: number, own: Float64Array, count: number): void {
  const channels = merged.length / 2;
  const all = before + count;
  for (let channel = 0; channel < channels; channel++) {
    const mean = merged[channel] as number;
    const apart = (own[channel] as number) - mean;
    merged[channel] = before === 0 ? (own[channel] as number) : mean + (apart * count) / all;
    const place = channels + channel;
    const between = before === 0 ? 0 : (apart * apart * before * count) / all;
    merged[place] = (merged[place] as number) + (own[place] as number) * count + between;
  }
}

/**
 * The gradients of that.
 *
 * @param statistics of the whole batch; or such that are constant to the gradient
 */
export function backwardInPieces<T>(
  pieces: Pieces,
  x: Values,
  dy: Values,
  { gamma, epsilon }: Affine,
  statistics: Float64Array,
  constant: boolean,
  put: Put,
  take: (dgamma: Values, dbeta: Values) => T,
): T {
  const { channels } = pieces;
  const saved = savedOf(channels);
  const lengths = [pieces.length, pieces.length, saved, saved, ...Array(4).fill(channels)];
  return inScratch(lengths, (scratch) => {
    const rooms = [pieces.room(scratch), pieces.room(scratch)] as const;
    const [ofX, ofDy] = [0, 1].map(() => scratch.tensor([saved]).address) as [number, number];
    const sums = [scratch.zeros(channels), scratch.zeros(channels)];
    const weight = scratch.vector(gamma, channels);
    const slopes = scratch.zeros(channels);
    const weights = new Float64Array(channels).fill(1);
    if (gamma) weights.set(gamma);
    scratch.doubles(ofX, 2 * channels).set(statistics);
    scratch.doubles(ofX + 16 * channels, channels).set(weights);

    // As if statistics were constant: then dx is γ·s·dy, and what is summed up is the same.
    const totals = [new Float64Array(channels), new Float64Array(channels)] as const;
    const fill = (at: number, length: number) =>
      [x, dy].map((values, k) => pieces.fill(scratch, rooms[k] as View, values, at, length)) as [
        View,
        View,
      ];
    pieces.each((at, length) => {
      const [piece, ofIt] = fill(at, length);
      const call = callOver(Operation.Backward, piece, epsilon);
      call.operands[Place.DY] = ofIt;
      call.operands[Place.OUT] = ofIt;
      call.operands[Place.FIRST_ACCUMULATOR] = sums[0] as View;
      call.operands[Place.SECOND_ACCUMULATOR] = sums[1] as View;
      call.saved = ofX;
      call.constant = true;
      scratch.run(call);
      sums.forEach((view, k) => {
        const [sum, total] = [scratch.look(view), totals[k] as Float64Array];
        for (let channel = 0; channel < channels; channel++) {
          total[channel] = (total[channel] as number) + (sum[channel] as number);
        }
        sum.fill(0);
      });
      if (constant) put(scratch.look(ofIt), at);
    });
    const [dgamma, dbeta] = totals;
    if (!constant) {
      // dy is centered and scaled as x is in a forward pass, by its mean and x's variance; of x comes
      // what is normalized by x's own, and then scaled.
      const count = x.length / channels;
      const centers = scratch.doubles(ofDy, 2 * channels);
      const slope = scratch.look(slopes);
      for (let channel = 0; channel < channels; channel++) {
        const variance = statistics[channels + channel] as number;
        centers[channel] = (dbeta[channel] as number) / count;
        centers[channels + channel] = variance;
        const scale = (weights[channel] as number) / Math.sqrt(variance + epsilon);
        slope[channel] = (-scale * (dgamma[channel] as number)) / count;
      }
      pieces.each((at, length) => {
        const [piece, ofIt] = fill(at, length);
        const centered = callOver(Operation.Forward, ofIt, epsilon);
        centered.operands[Place.WEIGHT] = weight;
        centered.saved = ofDy;
        centered.constant = true;
        scratch.run(centered);
        const call = callOver(Operation.ResidualForward, piece, epsilon);
        call.operands[Place.WEIGHT] = slopes;
        call.operands[Place.DY] = ofIt;
        call.operands[Place.OUT] = ofIt;
        call.slope = 1;
        call.saved = ofX;
        call.constant = true;
        scratch.run(call);
        put(scratch.look(ofIt), at);
      });
    }
    return take(Float32Array.from(dgamma), Float32Array.from(dbeta));
  });
}
