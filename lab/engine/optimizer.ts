/** Optimizers as PyTorch has them, and the penalties that are added to gradients before. */
import type { Parameter, Values } from "./layer.js";
import type { Settings } from "./settings.js";

type Penalties = Pick<Settings, "l1" | "l2" | "penalizeNorm" | "gammaL1">;

/**
 * Adds the gradients of L1 (λ·Σ|w|) and L2 (λ/2·Σw²): of weights, with `penalizeNorm` of γ and β,
 * never of biases; and λ·Σ|γ|.
 *
 * @returns what they add to the loss
 */
export function addPenalties(
  parameters: readonly Parameter[],
  { l1, l2, penalizeNorm, gammaL1 }: Penalties,
): number {
  let penalty = 0;
  for (const { role, values, grad } of parameters) {
    const decays = role === "weight" || (penalizeNorm && role !== "bias");
    const absolute = (decays ? l1 : 0) + (role === "gamma" ? gammaL1 : 0);
    const square = decays ? l2 : 0;
    if (absolute === 0 && square === 0) continue;
    for (let i = 0; i < values.length; i++) {
      const value = values[i] as number;
      penalty += absolute * Math.abs(value) + (square / 2) * value ** 2;
      grad[i] = (grad[i] as number) + absolute * Math.sign(value) + square * value;
    }
  }
  return penalty;
}

export interface Optimizer {
  /** Moves each parameter by its gradient. */
  step(parameters: readonly Parameter[]): void;
}

/** v ← m·v + g, w ← w − rate·v; the first v is g. */
export class Sgd implements Optimizer {
  private readonly velocities = new Map<Parameter, Values>();

  constructor(
    private readonly rate: number,
    private readonly momentum: number,
  ) {}

  step(parameters: readonly Parameter[]): void {
    const { rate, momentum, velocities } = this;
    for (const parameter of parameters) {
      const { values, grad } = parameter;
      const v = velocities.get(parameter) ?? new Float64Array(values.length);
      velocities.set(parameter, v);
      for (let i = 0; i < values.length; i++) {
        v[i] = momentum * (v[i] as number) + (grad[i] as number);
        values[i] = (values[i] as number) - rate * (v[i] as number);
      }
      parameter.store?.();
    }
  }
}

const [BETA1, BETA2, EPS] = [0.9, 0.999, 1e-8];

/** Adam (Kingma & Ba 2015, arXiv:1412.6980), with the paper's constants. */
export class Adam implements Optimizer {
  private readonly moments = new Map<Parameter, readonly [Values, Values]>();
  private steps = 0;

  constructor(private readonly rate: number) {}

  step(parameters: readonly Parameter[]): void {
    this.steps++;
    const [bias1, bias2] = [1 - BETA1 ** this.steps, 1 - BETA2 ** this.steps];
    for (const parameter of parameters) {
      const { values, grad } = parameter;
      const { length } = values;
      const found = this.moments.get(parameter);
      const [m, v] = found ?? [new Float64Array(length), new Float64Array(length)];
      if (!found) this.moments.set(parameter, [m, v]);
      for (let i = 0; i < length; i++) {
        const g = grad[i] as number;
        m[i] = BETA1 * (m[i] as number) + (1 - BETA1) * g;
        v[i] = BETA2 * (v[i] as number) + (1 - BETA2) * g * g;
        const size = Math.sqrt((v[i] as number) / bias2) + EPS;
        values[i] = (values[i] as number) - (this.rate * (m[i] as number)) / (bias1 * size);
      }
      parameter.store?.();
    }
  }
}
