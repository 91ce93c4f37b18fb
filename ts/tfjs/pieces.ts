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

import { merged, type PartMoments } from "../core/merged.js";
import { type Call, newCall, Place } from "../core/operands.js";
import { FORWARD_NAMES } from "../core/passes.js";
import type { View } from "../core/view.js";
import { Operation } from "../generated/abi.js";
import { inScratch, OWNER, type Scratch, savedLength, type Values } from "./scratch.js";

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

/** A call over a piece, in place or into what is beside it, by statistics that are saved or will be. */
function callOver(
  operation: Operation,
  epsilon: number,
  [piece, beside]: readonly [View, View?],
  saved = 0,
): Call<View> {
  const call = newCall(FORWARD_NAMES, operation, OWNER, piece, 1);
  call.eps = epsilon;
  call.operands[Place.DY] = beside ?? null;
  call.operands[Place.OUT] = beside ?? piece;
  call.saved = saved;
  call.constant = saved > 0 && operation !== Operation.Statistics;
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
      const call = callOver(Operation.Forward, given.epsilon, [piece]);
      vectors.forEach((vector, k) => {
        call.operands[Place.WEIGHT + k] = vector;
      });
      scratch.run(call);
      put(scratch.look(piece), at);
    });
  });
}

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
  const lengths = [pieces.length, savedLength(channels, channels), channels, channels];
  return inScratch(lengths, (scratch) => {
    const room = pieces.room(scratch);
    const saved = scratch.saved(channels, channels);
    const [weight, bias] = [scratch.vector(gamma, channels), scratch.vector(beta, channels)];
    const parts: PartMoments[] = [];
    pieces.each((at, length) => {
      const piece = pieces.fill(scratch, room, x, at, length);
      scratch.run(callOver(Operation.Statistics, epsilon, [piece], saved));
      const count = length / channels;
      const own = scratch.doubles(saved, 2 * channels);
      const m2 = own.subarray(channels).map((variance) => variance * count);
      parts.push({ count, mean: own.slice(0, channels), m2 });
    });
    const { count, mean, m2 } = merged(parts);
    const own = scratch.doubles(saved, 2 * channels);
    own.set(mean);
    own.set(
      m2.map((one) => one / count),
      channels,
    );
    pieces.each((at, length) => {
      const piece = pieces.fill(scratch, room, x, at, length);
      const call = callOver(Operation.Forward, epsilon, [piece], saved);
      call.operands[Place.WEIGHT] = weight;
      call.operands[Place.BIAS] = bias;
      scratch.run(call);
      put(scratch.look(piece), at);
    });
    return take(scratch.bits(saved, channels));
  });
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
  const saved = savedLength(channels, channels);
  const lengths = [pieces.length, pieces.length, saved, saved, ...Array(4).fill(channels)];
  return inScratch(lengths, (scratch) => {
    const rooms = [pieces.room(scratch), pieces.room(scratch)] as const;
    const ofX = scratch.saved(channels, channels);
    const ofDy = scratch.saved(channels, channels);
    const sums = [scratch.zeros(channels), scratch.zeros(channels)];
    const weight = scratch.vector(gamma, channels);
    const slopes = scratch.zeros(channels);
    scratch.doubles(ofX, 2 * channels).set(statistics);
    scratch.weigh(ofX + 16 * channels, gamma, channels);

    // As if statistics were constant: then dx is γ·s·dy, and what is summed up is the same.
    const totals = [new Float64Array(channels), new Float64Array(channels)] as const;
    const fill = (at: number, length: number) =>
      [x, dy].map((values, k) => pieces.fill(scratch, rooms[k] as View, values, at, length)) as [
        View,
        View,
      ];
    pieces.each((at, length) => {
      const both = fill(at, length);
      const call = callOver(Operation.Backward, epsilon, both, ofX);
      call.operands[Place.FIRST_ACCUMULATOR] = sums[0] as View;
      call.operands[Place.SECOND_ACCUMULATOR] = sums[1] as View;
      scratch.run(call);
      sums.forEach((view, k) => {
        const [sum, total] = [scratch.look(view), totals[k] as Float64Array];
        for (let channel = 0; channel < channels; channel++) {
          total[channel] = (total[channel] as number) + (sum[channel] as number);
        }
        sum.fill(0);
      });
      if (constant) put(scratch.look(both[1]), at);
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
        const scale = (gamma ? (gamma[channel] as number) : 1) / Math.sqrt(variance + epsilon);
        slope[channel] = (-scale * (dgamma[channel] as number)) / count;
      }
      pieces.each((at, length) => {
        const both = fill(at, length);
        const centered = callOver(Operation.Forward, epsilon, [both[1]], ofDy);
        centered.operands[Place.WEIGHT] = weight;
        scratch.run(centered);
        const call = callOver(Operation.ResidualForward, epsilon, both, ofX);
        call.operands[Place.WEIGHT] = slopes;
        call.slope = 1;
        scratch.run(call);
        put(scratch.look(both[1]), at);
      });
    }
    return take(Float32Array.from(dgamma), Float32Array.from(dbeta));
  });
}
