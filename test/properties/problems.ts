/**
 * Problems for the properties of all norms: random shapes, axes, placements in memory and
 * data, with a fixed seed: FC_SEED and FC_RUNS in the environment give others.
 */
import { scope } from "batchnorm-wasm";
import fc from "fast-check";
import { Random } from "../../scripts/random.mjs";
import { CONTIGUOUS, Placed, type Placement } from "../helpers.js";
import { channelsOf } from "../reference/channels.mjs";

const SEED = Number(process.env.FC_SEED ?? 20261123);
export const RUNS = Number(process.env.FC_RUNS ?? 300);

/** What an output's storage holds before: no result is likely to have these bits. */
export const SENTINEL = -1.2345678e33;

/** Elements of one tensor, so that a few hundred runs take seconds. */
const MAX_SIZE = 20_000;

// The edges of the kernel's loops: vectors of 4, strips of 8, tiles of 16, runs shorter
// than a tile are columns; sums go on in float64 after 16 rows of columns or 128 elements
// of a run, of which several make 512; rows of few channels are folded to whole tiles of
// at most 1024 columns, from 16 such rows on.
const TAILS = Array.from({ length: 33 }, (_, i) => i + 1);
const ROWS = [
  ...[1, 2, 3, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200, 255, 256, 257],
  ...[1023, 1024, 1025, 1040, 1088, 4095, 4096, 4097, 4112],
];
const RUN_LENGTHS = [
  ...[47, 48, 49, 64, 100, 119, 120, 127, 128, 129, 135, 136, 137],
  ...[255, 256, 257, 511, 512, 513, 2047, 4100],
];
const CHANNELS = [1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128];

export interface Problem {
  readonly shape: readonly number[];
  readonly axis: number;
  readonly seed: number;
  readonly mean: number;
  readonly std: number;
  readonly eps: number;
  readonly affine: boolean;
}

export const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** Any shape of rank 1 to 6, and any axis of it. */
export const anyShape = fc
  .array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 6 })
  .filter((shape) => size(shape) <= MAX_SIZE)
  .chain((shape) =>
    fc.integer({ min: -shape.length, max: shape.length - 1 }).map((axis) => ({ shape, axis })),
  );

const from = (values: readonly number[]) => fc.constantFrom(...values);

/** outer × channels × inner at the edges of the kernel's loops. */
export const edgeShape = fc
  .oneof(
    // Runs: tails of the tile, then the length of a block.
    fc.tuple(from([1, 2, 3, 5]), from([1, 2, 3, 5]), from([...TAILS, ...RUN_LENGTHS])),
    // Many short runs in a block.
    fc.tuple(from(ROWS), from([1, 2, 3]), from(TAILS)),
    // Columns: [N, C] and channels-last.
    fc.tuple(from(ROWS), from([...TAILS, ...CHANNELS]), fc.constant(1)),
    fc.tuple(from(ROWS), from(CHANNELS), from([1, 2, 3, 7, 9])),
  )
  .filter((shape) => size(shape) <= MAX_SIZE)
  .chain(([outer, channels, inner]) =>
    fc.constantFrom(
      { shape: [outer, channels, inner], axis: 1 },
      { shape: [outer, channels, inner], axis: -2 },
      ...(inner === 1 ? [{ shape: [outer, channels], axis: -1 }] : []),
      ...(outer === 1 ? [{ shape: [channels, inner], axis: 0 }] : []),
    ),
  );

export const problems: fc.Arbitrary<Problem> = fc.oneof(anyShape, edgeShape).chain((where) =>
  fc.record({
    shape: fc.constant(where.shape),
    axis: fc.constant(where.axis),
    seed: fc.nat(),
    mean: from([0, 0.5, -100, 1e4]),
    std: from([1, 1e-3, 1e3]),
    eps: from([1e-5, 1e-3, 0]),
    affine: fc.boolean(),
  }),
);

/** Gaps in front of, behind and between the elements of a tensor of this rank. */
const placementOf = (rank: number): fc.Arbitrary<Placement> =>
  fc.oneof(
    fc.constant(CONTIGUOUS),
    fc.record({ lead: fc.nat(5), pads: fc.constant([]) }),
    fc.record({
      lead: fc.nat(5),
      pads: fc.array(fc.tuple(fc.nat(2), fc.nat(2)), { minLength: rank, maxLength: rank }),
    }),
  );

/** A problem whose tensors lie anywhere, each in its own way. */
export function scattered<N extends string>(
  ...names: N[]
): fc.Arbitrary<[Problem, Record<N, Placement>]> {
  return problems.chain((problem) => {
    const placement = placementOf(problem.shape.length);
    const each = names.map(() => placement);
    return fc
      .tuple(...each)
      .map((placements) => [
        problem,
        Object.fromEntries(names.map((name, i) => [name, placements[i]])) as Record<N, Placement>,
      ]);
  });
}

/** The data of a problem. */
export function dataOf({ shape, axis, seed, mean, std, affine, eps }: Problem) {
  const random = new Random(seed);
  const channels = channelsOf(shape, axis);
  const { number } = channels;
  return {
    channels,
    x: random.normals(size(shape), mean, std),
    dy: random.normals(size(shape)),
    weight: affine ? random.normals(number, 1, 0.5) : null,
    bias: affine ? random.normals(number) : null,
    mean: random.normals(number, mean, std),
    variance: Float32Array.from({ length: number }, () => std ** 2 * (0.1 + random.uniform())),
    options: { axis, eps },
  };
}

/** Checks that a predicate holds, inside of a scope of its own. */
export function holds<T>(arbitrary: fc.Arbitrary<T>, check: (value: T) => void, runs = RUNS): void {
  const property = fc.property(arbitrary, (value) => scope(() => check(value)));
  fc.assert(property, { seed: SEED, numRuns: runs });
}

export const vector = (values: Float32Array | null, lead = 0, padding = Number.NaN) =>
  values && new Placed(values, [values.length], { lead, pads: [] }, padding);

/** What a norm's properties are called: with them, what repeats them. */
export const properties = (of: string) =>
  `properties of ${of} (fast-check, seed ${SEED}, ${RUNS} runs)`;

/** Shapes at the edges of the kernel's loops, and what each is at the edge of. */
export const EDGES: [shape: number[], axis: number][] = [
  // Tails of 1 … 2×16+1, as runs and as columns.
  ...TAILS.map((n): [number[], number] => [[3, 2, n], 1]),
  ...TAILS.map((n): [number[], number] => [[5, n], 1]),
  // Runs shorter than a tile are columns, of one channel next to each other.
  ...[15, 16, 17].map((n): [number[], number] => [[70, 3, n], 1]),
  // Chunks of 128 elements of a run, with and without a tail, and of many runs up to 512.
  ...[119, 120, 127, 128, 129, 135, 136, 137, 255, 256].map((n): [number[], number] => [
    [2, 2, n],
    1,
  ]),
  ...[511, 512, 513, 1024, 4097].map((n): [number[], number] => [[2, 2, n], 1]),
  ...[1, 31, 32, 33, 129].map((n): [number[], number] => [[n, 2, 16], 1]),
  ...[29, 30, 31, 60, 61].map((n): [number[], number] => [[n, 2, 17], 1]),
  // One channel: nothing parts what is before it from what is behind.
  ...[1, 127, 128, 129, 511, 513, 4097].map((n): [number[], number] => [[n, 1], 1]),
  // Chunks of 16 rows of columns: strip by strip, and row by row where they are wide.
  ...[15, 16, 17, 31, 32, 33, 127, 128, 129].map((n): [number[], number] => [[n, 20], 1]),
  ...[15, 16, 17, 31, 32, 33, 65].map((n): [number[], number] => [[n, 2050], 1]),
  // Rows of few channels, folded to whole tiles from 16 of these on, with a rest.
  ...[255, 256, 257, 271, 272, 512 + 7].map((n): [number[], number] => [[n, 3], 1]),
  ...[1023, 1024, 1025, 4096 + 7].map((n): [number[], number] => [[n, 3], 1]),
  ...[31, 32, 33, 63, 64, 65, 127, 128, 129].map((n): [number[], number] => [[n, 8], -1]),
  ...[127, 128, 129, 511, 512, 513].map((n): [number[], number] => [[n, 2, 3], 1]),
  // … up to 1024 columns: 63 channels are folded, 65 are not.
  ...[63, 64, 65].map((n): [number[], number] => [[1030, n], 1]),
  [[4100, 63], 1],
  // More than a megabyte, walked in pieces; with dy more than four, in groups of channels.
  [[1400, 200], 1],
  [[2, 40, 128, 65], 1],
];
