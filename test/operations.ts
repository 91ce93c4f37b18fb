/**
 * The calls that take tensors or options, described, so that what every one of them owes is
 * tested of every one: what it refuses (`refusals.ts` derives the cases), and that its writes
 * count (`versions.test.ts`). A new norm adds its operations here, and writes out in a test
 * what only it refuses.
 */
import {
  BatchNorm,
  BatchNormalization,
  batchNormBackward,
  batchNormInference,
  batchNormStatistics,
  batchNormTraining,
  defaultKernel,
  GroupNorm,
  GroupNormalization,
  groupNorm,
  groupNormBackward,
  InstanceNorm,
  instanceNorm,
  instanceNormBackward,
  type Kernel,
  LayerNorm,
  LayerNormalization,
  layerNorm,
  layerNormBackward,
  RMSNorm,
  RMSNormalization,
  rmsNorm,
  rmsNormBackward,
  Tensor,
  UnitNormalization,
} from "batchnorm-wasm";
import { counting, type Watched, wrong } from "./call-helpers.js";

/**
 * What a call takes an operand as, and so what it may be: the tensor or plain data in front
 * of the options, of any shape (`x`) or that of a forward pass (`dy`); a tensor of this shape
 * that is written (`output`), or is read (`added`); one value a channel, read (`vector`) or written (`state`);
 * saved values (`record`); one value a position, of x's shape without the channel axis (`mask`,
 * `weights`).
 */
export type Role =
  | "x"
  | "dy"
  | "added"
  | "output"
  | "vector"
  /** A vector that may be in float64. */
  | "statistics"
  | "state"
  | "record"
  | "mask"
  | "weights";

/** What calls take, by the operands' names. */
export interface Example {
  /** All that a call which is refused leaves as it was. */
  readonly all: readonly Watched[];
  readonly [operand: string]: unknown;
}

export interface Operation<E extends Example = Example> {
  readonly name: string;
  readonly example: (kernel?: Kernel) => E;
  /** Operands by their names, the one in front of the options first. */
  readonly operands: Readonly<Record<string, Role>>;
  /** Operands that must not be absent. */
  readonly required?: readonly string[];
  /** Two that are both there or both absent. */
  readonly together?: readonly [string, string];
  /** Two that must not be both there. */
  readonly apart?: readonly [string, string];
  /** All its other options. */
  readonly options: readonly string[];
  /** What it writes beside its operands: of a layer. */
  own?(example: E): readonly (Tensor | null | undefined)[];
  call(example: E, input: never, options: never): unknown;
}

/** Operands of batch norm over [4, channels], and a layer that has run forward and backward. */
export function exampleOf(kernel = defaultKernel(), channels = 3) {
  const tensor = () => counting([4, channels], 1, kernel);
  const vector = () => counting([channels], 1, kernel);
  const [x, dy, out, residual, residualGrad] = [tensor(), tensor(), tensor(), tensor(), tensor()];
  const [weight, bias, mean, variance] = [vector(), vector(), vector(), vector()];
  const [runningMean, runningVar] = [vector(), vector()];
  const [weightGrad, biasGrad] = [vector(), vector()];
  const mask = Tensor.from([1, 0, 1, 1], [4], { kernel });
  const weights = Tensor.from([1, 0.5, 0, 2], [4], { kernel });
  const { y, saved } = batchNormTraining(x, { weight, bias, residual, activation: "relu" });
  const bn = new BatchNorm(channels, { kernel, activation: "relu" });
  const ofLayer = bn.forward(x, { residual });
  bn.backward(dy);
  const given = { x, dy, residual, out, weight, bias, mean, variance, saved, mask, weights };
  const operands = { ...given, bn };
  const written = { runningMean, runningVar, weightGrad, biasGrad, residualGrad, ofLayer };
  const all: Watched[] = [...Object.values(operands), ...Object.values(written), y];
  return { ...operands, ...written, all };
}

const RUNNING = { runningMean: "state", runningVar: "state" } as const;
const MOVING = ["momentum", "runningVariance"];
const ACTIVATION = ["activation", "negativeSlope"];
const WEIGHTED = { mask: "mask", weights: "weights" } as const;
const APART = ["mask", "weights"] as const;

const BATCH_NORM: readonly Operation<ReturnType<typeof exampleOf>>[] = [
  {
    name: "batchNormTraining",
    example: exampleOf,
    operands: {
      ...{ x: "x", out: "output", weight: "vector", bias: "vector", saved: "record" },
      ...{ residual: "added", ...RUNNING, ...WEIGHTED },
    },
    together: ["runningMean", "runningVar"],
    apart: APART,
    options: ["eps", "axis", "kernel", "virtualBatchSize", "renorm", ...MOVING, ...ACTIVATION],
    call: (_, x, options) => batchNormTraining(x, options),
  },
  {
    name: "batchNormInference",
    example: exampleOf,
    operands: {
      ...{ x: "x", out: "output", weight: "vector", bias: "vector", saved: "record" },
      ...{ mean: "statistics", variance: "statistics", residual: "added" },
    },
    required: ["mean", "variance"],
    options: ["eps", "axis", "kernel", ...ACTIVATION],
    call: (_, x, options) => batchNormInference(x, options),
  },
  {
    name: "batchNormStatistics",
    example: exampleOf,
    operands: { x: "x", ...RUNNING, ...WEIGHTED },
    together: ["runningMean", "runningVar"],
    apart: APART,
    options: ["axis", "kernel", ...MOVING],
    call: (_, x, options) => batchNormStatistics(x, options),
  },
  {
    name: "batchNormBackward",
    example: exampleOf,
    operands: {
      ...{ dy: "dy", out: "output", weightGrad: "state", biasGrad: "state" },
      ...{ residualGrad: "output", saved: "record" },
    },
    required: ["saved"],
    options: [],
    call: (_, dy, options) => batchNormBackward(dy, options),
  },
  {
    name: "BatchNorm.forward",
    example: exampleOf,
    operands: { x: "x", out: "output", residual: "added", ...WEIGHTED },
    apart: APART,
    options: ["training"],
    own: ({ bn }) => [bn.runningMean, bn.runningVar],
    call: ({ bn }, x, options) => bn.forward(x, options),
  },
  {
    name: "BatchNorm.forward in evaluation",
    example: exampleOf,
    operands: { x: "x", out: "output", residual: "added", ...WEIGHTED },
    apart: APART,
    options: ["training"],
    call: ({ bn }, x, options) => {
      bn.eval();
      try {
        return bn.forward(x, options);
      } finally {
        bn.train();
      }
    },
  },
  {
    name: "BatchNorm.backward",
    example: exampleOf,
    operands: { dy: "dy", out: "output", residualGrad: "output" },
    // Not any record, but one of the layer's own.
    options: ["saved"],
    own: ({ bn }) => [bn.weight?.grad, bn.bias?.grad],
    call: ({ bn }, dy, options) => bn.backward(dy, options),
  },
  {
    name: "new BatchNorm",
    example: exampleOf,
    operands: {},
    options: [
      ...["preset", "eps", "axis", "affine", "scale", "offset", "trackRunningStats", "kernel"],
      ...["statistics", "updateRunningStats", "requiresGrad", ...MOVING],
      ...["virtualBatchSize", "renorm", "renormMomentum"],
      ...ACTIVATION,
    ],
    call: (_, __, options) => new BatchNorm(3, options),
  },
  {
    name: "new BatchNormalization",
    example: exampleOf,
    operands: {},
    options: [
      ...["epsilon", "momentum", "axis", "trainable", "center", "scale", "kernel"],
      ...["renorm", "renormClipping", "renormMomentum"],
    ],
    call: (_, __, options) => new BatchNormalization(options),
  },
];

/** Operands of group norm over [4, channels]. */
function exampleOfGroups(kernel = defaultKernel(), channels = 3) {
  const tensor = () => counting([4, channels], 1, kernel);
  const vector = () => counting([channels], 1, kernel);
  const [x, dy, out] = [tensor(), tensor(), tensor()];
  const [weight, bias, weightGrad, biasGrad] = [vector(), vector(), vector(), vector()];
  const { y, saved } = groupNorm(x, { numGroups: 1, weight, bias, saved: true });
  const gn = new GroupNorm(1, channels, { kernel });
  gn.forward(x);
  gn.backward(dy);
  const operands = { x, dy, out, weight, bias, saved, gn };
  const written = { weightGrad, biasGrad };
  const all: Watched[] = [...Object.values(operands), ...Object.values(written), y];
  return { ...operands, ...written, all };
}

const OF_FORWARD: Readonly<Record<string, Role>> = {
  ...{ x: "x", out: "output", weight: "vector", bias: "vector", saved: "record" },
};
const OF_BACKWARD: Readonly<Record<string, Role>> = {
  ...{ dy: "dy", out: "output", weightGrad: "state", biasGrad: "state", saved: "record" },
};

const GROUP_NORM: readonly Operation<ReturnType<typeof exampleOfGroups>>[] = [
  {
    name: "groupNorm",
    example: exampleOfGroups,
    operands: OF_FORWARD,
    options: ["numGroups", "eps", "axis", "kernel"],
    call: (_, x, options) => groupNorm(x, withGroups(options)),
  },
  {
    name: "instanceNorm",
    example: exampleOfGroups,
    operands: OF_FORWARD,
    options: ["eps", "axis", "kernel"],
    call: (_, x, options) => instanceNorm(x, options),
  },
  {
    name: "groupNormBackward",
    example: exampleOfGroups,
    operands: OF_BACKWARD,
    required: ["saved"],
    options: [],
    call: (_, dy, options) => groupNormBackward(dy, options),
  },
  {
    name: "instanceNormBackward",
    example: exampleOfGroups,
    operands: OF_BACKWARD,
    required: ["saved"],
    options: [],
    call: (_, dy, options) => instanceNormBackward(dy, options),
  },
  {
    name: "GroupNorm.forward",
    example: exampleOfGroups,
    operands: { x: "x", out: "output" },
    options: ["training"],
    call: ({ gn }, x, options) => gn.forward(x, options),
  },
  {
    name: "GroupNorm.backward",
    example: exampleOfGroups,
    operands: { dy: "dy", out: "output" },
    // Not any record, but one of the layer's own.
    options: ["saved"],
    own: ({ gn }) => [gn.weight?.grad, gn.bias?.grad],
    call: ({ gn }, dy, options) => gn.backward(dy, options),
  },
  {
    name: "new GroupNorm",
    example: exampleOfGroups,
    operands: {},
    options: ["preset", "eps", "affine", "scale", "offset", "axis", "requiresGrad", "kernel"],
    call: (_, __, options) => new GroupNorm(1, 3, options),
  },
  {
    name: "new InstanceNorm",
    example: exampleOfGroups,
    operands: {},
    options: [
      ...["preset", "eps", "affine", "scale", "offset", "axis", "requiresGrad", "kernel"],
      ...["trackRunningStats", "momentum"],
    ],
    call: (_, __, options) => new InstanceNorm(3, options),
  },
  {
    name: "new GroupNormalization",
    example: exampleOfGroups,
    operands: {},
    options: ["groups", "axis", "epsilon", "center", "scale", "kernel"],
    call: (_, __, options) => new GroupNormalization(options),
  },
];

/** Options with the number that they must have, unless they are none or say another one. */
function withGroups(options: object): never {
  const isPlain = options && Object.getPrototypeOf(options) === Object.prototype;
  return wrong(isPlain ? { numGroups: 1, ...options } : options);
}

/** Operands of layer norm over rows of so many channels. */
function exampleOfRows(kernel = defaultKernel(), channels = 3) {
  const tensor = () => counting([4, channels], 1, kernel);
  const vector = () => counting([channels], 1, kernel);
  const [x, dy, out] = [tensor(), tensor(), tensor()];
  const [weight, bias, weightGrad, biasGrad] = [vector(), vector(), vector(), vector()];
  const { y, saved } = layerNorm(x, { weight, bias, saved: true });
  const ln = new LayerNorm(channels, { kernel });
  ln.forward(x);
  ln.backward(dy);
  const operands = { x, dy, out, weight, bias, saved, ln };
  const written = { weightGrad, biasGrad };
  const all: Watched[] = [...Object.values(operands), ...Object.values(written), y];
  return { ...operands, ...written, all };
}

/** The same of RMS norm. */
function exampleOfSquares(kernel = defaultKernel(), channels = 3) {
  const { x, dy, out, weight, weightGrad } = exampleOfRows(kernel, channels);
  const { y, saved } = rmsNorm(x, { weight, saved: true });
  const rn = new RMSNorm(channels, { kernel });
  rn.forward(x);
  rn.backward(dy);
  const operands = { x, dy, out, weight, weightGrad, saved, rn };
  return { ...operands, all: [...Object.values(operands), y] as Watched[] };
}

const LAYER_NORM: readonly Operation<ReturnType<typeof exampleOfRows>>[] = [
  {
    name: "layerNorm",
    example: exampleOfRows,
    operands: OF_FORWARD,
    options: ["eps", "axes", "kernel"],
    call: (_, x, options) => layerNorm(x, options),
  },
  {
    name: "layerNormBackward",
    example: exampleOfRows,
    operands: OF_BACKWARD,
    required: ["saved"],
    options: [],
    call: (_, dy, options) => layerNormBackward(dy, options),
  },
  {
    name: "LayerNorm.forward",
    example: exampleOfRows,
    operands: { x: "x", out: "output" },
    options: ["training"],
    call: ({ ln }, x, options) => ln.forward(x, options),
  },
  {
    name: "LayerNorm.backward",
    example: exampleOfRows,
    operands: { dy: "dy", out: "output" },
    // Not any record, but one of the layer's own.
    options: ["saved"],
    own: ({ ln }) => [ln.weight?.grad, ln.bias?.grad],
    call: ({ ln }, dy, options) => ln.backward(dy, options),
  },
  {
    name: "new LayerNorm",
    example: exampleOfRows,
    operands: {},
    options: ["preset", "eps", "elementwiseAffine", "bias", "axes", "requiresGrad", "kernel"],
    call: (_, __, options) => new LayerNorm(3, options),
  },
  {
    name: "new LayerNormalization",
    example: exampleOfRows,
    operands: {},
    options: ["axis", "epsilon", "center", "scale", "kernel"],
    call: (_, __, options) => new LayerNormalization(options),
  },
];

const RMS_NORM: readonly Operation<ReturnType<typeof exampleOfSquares>>[] = [
  {
    name: "rmsNorm",
    example: exampleOfSquares,
    operands: { x: "x", out: "output", weight: "vector", saved: "record" },
    options: ["eps", "axes", "kernel"],
    call: (_, x, options) => rmsNorm(x, options),
  },
  {
    name: "rmsNormBackward",
    example: exampleOfSquares,
    operands: { dy: "dy", out: "output", weightGrad: "state", saved: "record" },
    required: ["saved"],
    options: [],
    call: (_, dy, options) => rmsNormBackward(dy, options),
  },
  {
    name: "RMSNorm.forward",
    example: exampleOfSquares,
    operands: { x: "x", out: "output" },
    options: ["training"],
    call: ({ rn }, x, options) => rn.forward(x, options),
  },
  {
    name: "RMSNorm.backward",
    example: exampleOfSquares,
    operands: { dy: "dy", out: "output" },
    options: ["saved"],
    own: ({ rn }) => [rn.weight?.grad],
    call: ({ rn }, dy, options) => rn.backward(dy, options),
  },
  {
    name: "new RMSNorm",
    example: exampleOfSquares,
    operands: {},
    options: ["preset", "eps", "elementwiseAffine", "axes", "requiresGrad", "kernel"],
    call: (_, __, options) => new RMSNorm(3, options),
  },
  {
    name: "new RMSNormalization",
    example: exampleOfSquares,
    operands: {},
    options: ["axis", "epsilon", "kernel"],
    call: (_, __, options) => new RMSNormalization(options),
  },
];

/** Operands of unit length, and a layer that has run forward and backward. */
function exampleOfLengths(kernel = defaultKernel()) {
  const { x, dy, out } = exampleOfRows(kernel);
  const un = new UnitNormalization({ kernel });
  un.forward(x);
  un.backward(dy);
  const operands = { x, dy, out, un };
  return { ...operands, all: Object.values(operands) as Watched[] };
}

const UNIT_NORM: readonly Operation<ReturnType<typeof exampleOfLengths>>[] = [
  {
    name: "UnitNormalization.forward",
    example: exampleOfLengths,
    operands: { x: "x", out: "output" },
    options: ["training"],
    call: ({ un }, x, options) => un.forward(x, options),
  },
  {
    name: "UnitNormalization.backward",
    example: exampleOfLengths,
    operands: { dy: "dy", out: "output" },
    options: ["saved"],
    call: ({ un }, dy, options) => un.backward(dy, options),
  },
  {
    name: "new UnitNormalization",
    example: exampleOfLengths,
    operands: {},
    options: ["axis", "kernel"],
    call: (_, __, options) => new UnitNormalization(options),
  },
];

export const OPERATIONS: readonly Operation[] = [
  ...BATCH_NORM,
  ...GROUP_NORM,
  ...LAYER_NORM,
  ...RMS_NORM,
  ...UNIT_NORM,
];

/** The operands that {@link callWith} passes in any case. */
export function neededBy({ operands, required = [], together }: Operation): string[] {
  return [...Object.keys(operands).slice(0, 1), ...required, ...(together ?? [])];
}

/** Calls an operation with what it needs, but for some changes. */
export function callWith(
  operation: Operation,
  example: Example,
  changes: Readonly<Record<string, unknown>> = {},
): unknown {
  const [first = ""] = Object.keys(operation.operands);
  const needed = neededBy(operation).map((name) => [name, example[name]]);
  const { [first]: input, ...options } = { ...Object.fromEntries(needed), ...changes };
  return operation.call(example, wrong(input), wrong(options));
}
