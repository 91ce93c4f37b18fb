/** A norm of the package as a layer of the lab: values go into kernel memory and come back. */
import {
  BatchNorm,
  GroupNorm,
  type Health,
  health,
  InstanceNorm,
  LayerNorm,
  RMSNorm,
  type SampleNorm,
  Tensor,
  type Parameter as Weights,
} from "batchnorm-wasm";
import type { NormLayer, Parameter, Pass, Values } from "./layer.js";
import type { Settings } from "./settings.js";

type AnyNorm = BatchNorm | SampleNorm;

export class Norm implements NormLayer {
  readonly parameters: readonly Parameter[];
  /** Time in its kernels and in the copies to and from them since `ms` was last set to 0. */
  ms = 0;
  readonly norm: AnyNorm;
  readonly masked: boolean;

  /** @param shape of a row: `[channels]`, `[channels, positions]` or `[channels, height, width]` */
  constructor(
    name: string,
    private readonly shape: readonly number[],
    settings: Settings,
  ) {
    this.norm = makeNorm(shape, settings);
    this.masked = settings.norm === "batch" && settings.mask;
    const { weight, bias } = this.norm;
    this.parameters = [
      ...(weight ? [parameterOf(`${name}.gamma`, "gamma", weight)] : []),
      ...(bias ? [parameterOf(`${name}.beta`, "beta", bias)] : []),
    ];
  }

  /** Batch norm, whose running statistics are to be seen; `null` of other norms. */
  get batch(): BatchNorm | null {
    return this.norm instanceof BatchNorm ? this.norm : null;
  }

  forward(x: Values, rows: number, { training, learning, weights }: Pass): Values {
    const start = performance.now();
    const { batch, masked } = this;
    if (batch) batch.updateRunningStats = learning ? "auto" : false;
    const given = this.#tensor(x, rows);
    const y =
      batch && masked && weights
        ? batch.forward(given, { training, weights: new Float32Array(weights) })
        : this.norm.forward(given, { training });
    const values = new Float64Array(y.data);
    this.ms += performance.now() - start;
    return values;
  }

  backward(dy: Values): Values {
    const start = performance.now();
    const rows = dy.length / this.shape.reduce((product, size) => product * size);
    const given = this.#tensor(dy, rows);
    const { norm } = this;
    norm.zeroGrad();
    const back = norm instanceof BatchNorm ? norm.backward(given) : norm.backward(given);
    const dx = new Float64Array(back.data);
    const { weight, bias } = norm;
    [weight, bias]
      .filter((one) => one !== null)
      .forEach(({ grad }, i) => {
        if (grad) this.parameters[i]?.grad.set(grad.data);
      });
    this.ms += performance.now() - start;
    return dx;
  }

  /**
   * What stands out, by the package's `health`; `null` of other norms than batch norm.
   *
   * @param seen each `[rows, channels]`
   */
  health(seen: { x: Values; dy: Values; dx: Values }) {
    const { batch } = this;
    if (!batch) return null;
    const channels = this.shape[0] as number;
    const given = Object.entries(seen).map(([key, values]) => [
      key,
      Tensor.from(new Float32Array(values), [values.length / channels, channels]),
    ]);
    return health({ ...Object.fromEntries(given), layer: batch }) satisfies Health;
  }

  stateDict(prefix: string): Record<string, number[]> {
    const dict = Object.entries(this.norm.stateDict({ prefix }));
    return Object.fromEntries(
      dict.map(([name, values]) => [name, typeof values === "number" ? [values] : [...values]]),
    );
  }

  dispose(): void {
    this.norm.dispose();
  }

  #tensor(values: Values, rows: number): Tensor {
    // What float32 can't hold is infinite there: a run that diverges is seen as one.
    return Tensor.from(new Float32Array(values), [rows, ...this.shape]);
  }
}

/** The parameter's values are kept in float64 and rounded into the kernel's memory. */
function parameterOf(name: string, role: "gamma" | "beta", weights: Weights): Parameter {
  const values = Float64Array.from(weights.data);
  const store = () => void weights.set(Float32Array.from(values));
  return { name, role, values, grad: new Float64Array(values.length), store };
}

function makeNorm(shape: readonly number[], settings: Settings): AnyNorm {
  const { norm, eps, gamma: scale, beta: offset } = settings;
  const channels = shape[0] as number;
  switch (norm) {
    case "batch":
      return new BatchNorm(channels, {
        ...{ eps, scale, offset },
        momentum: settings.normMomentum || null,
        virtualBatchSize: settings.ghost || null,
        renorm: settings.renorm
          ? { rMax: Math.max(1, settings.renorm), dMax: Math.max(0, settings.renorm - 1) }
          : null,
        statistics: settings.frozen ? "running" : "auto",
      });
    case "group":
      return new GroupNorm(settings.groups, channels, { eps, scale, offset });
    case "instance":
      return new InstanceNorm(channels, { eps, scale, offset });
    // Of sequences a position is a row, which no padding touches; of images all is one.
    case "layer":
      return shape.length === 2
        ? new LayerNorm(channels, { eps, elementwiseAffine: scale, bias: offset, axes: 1 })
        : new LayerNorm(shape, { eps, elementwiseAffine: scale, bias: offset });
    case "rms":
      return shape.length === 2
        ? new RMSNorm(channels, { eps, elementwiseAffine: scale, axes: 1 })
        : new RMSNorm(shape, { eps, elementwiseAffine: scale });
    case "none":
    case "naive":
      throw new Error(`${norm} is no norm of the package`);
  }
}
