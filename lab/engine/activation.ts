/** What follows a norm: ReLU, leaky ReLU (slope 0.01) or tanh. */
import { kept, type Layer, type Values } from "./layer.js";
import type { ActivationKind } from "./settings.js";

const SLOPE = 0.01;

export class Activation implements Layer {
  readonly parameters = [];
  private y: Values | null = null;

  constructor(private readonly kind: ActivationKind) {}

  forward(x: Values): Values {
    const slope = this.kind === "relu" ? 0 : SLOPE;
    this.y = this.kind === "tanh" ? x.map(Math.tanh) : x.map((v) => (v < 0 ? slope * v : v));
    return this.y;
  }

  backward(dy: Values): Values {
    const y = kept(this.y);
    if (this.kind === "tanh") return dy.map((d, i) => d * (1 - (y[i] as number) ** 2));
    const slope = this.kind === "relu" ? 0 : SLOPE;
    // At 0 the slope is that below, as PyTorch has it.
    return dy.map((d, i) => ((y[i] as number) > 0 ? d : slope * d));
  }
}
