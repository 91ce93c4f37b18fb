/** What is to be normalized, and how: the attributes of our kernels. */
import { sizeOf } from "../core/geometry.js";

export type Norm = "batch" | "group" | "layer" | "rms";

export interface Problem {
  readonly norm: Norm;
  /** Counted from 0 and in order: the channel axis, or the axes along which a row lies. */
  readonly axes: readonly number[];
  /** Of group norm. */
  readonly groups: number;
  readonly epsilon: number;
  /** The shape of γ and β, which have an element for each along these axes, in their order. */
  readonly parameters: readonly number[];
}

/** {@link Problem} of batch norm in training, and how it moves running statistics. */
export interface TrainingProblem extends Problem {
  /** Weight of their old values. */
  readonly momentum: number;
}

/** The same elements with other axes, such that statistics and parameters lie along whole ones. */
export interface Folded {
  readonly shape: readonly number[];
  /** The axes of a set, whose elements share statistics. */
  readonly axes: readonly number[];
  /** The shape of γ and β, which broadcasts. */
  readonly parameters: readonly number[];
}

/** Sizes before, at and behind an axis. */
export function aroundAxis(shape: readonly number[], axis: number): [number, number, number] {
  return [sizeOf(shape.slice(0, axis)), shape[axis] as number, sizeOf(shape.slice(axis + 1))];
}

/** A problem in the words of operations that broadcast. */
export function fold({ norm, axes, groups }: Problem, shape: readonly number[]): Folded {
  const axis = axes[0] as number;
  if (norm === "batch") {
    const folded = aroundAxis(shape, axis);
    return { shape: folded, axes: [0, 2], parameters: [1, folded[1], 1] };
  }
  if (norm === "group") {
    const samples = shape[0] as number;
    const [before, channels, behind] = aroundAxis(shape.slice(1), axis - 1);
    const together = channels / groups;
    return {
      shape: [samples, before, groups, together, behind],
      axes: [1, 3, 4],
      parameters: [1, 1, groups, together, 1],
    };
  }
  const parameters = shape.map((size, axis) => (axes.includes(axis) ? size : 1));
  return { shape, axes, parameters };
}
