/** Dropout by the package: its mask is a function of the seed. */
import { dropout, dropoutBackward } from "batchnorm-wasm";
import type { Layer, Pass, Values } from "./layer.js";

export class Dropout implements Layer {
  readonly parameters = [];
  private seed: number | null = null;

  constructor(
    private readonly rate: number,
    /** Another mask than the other layers' in the same step. */
    private readonly place: number,
  ) {}

  forward(x: Values, rows: number, pass: Pass): Values {
    if (!pass.learning) {
      this.seed = null;
      return x;
    }
    this.seed = Math.imul(pass.seed * 64 + this.place + 1, 0x9e3779b1) >>> 0;
    const { rate, seed } = this;
    return Float64Array.from(dropout(plain(x, rows), { rate, seed }).data);
  }

  backward(dy: Values): Values {
    const { rate, seed } = this;
    if (seed === null) return dy;
    return Float64Array.from(dropoutBackward(plain(dy, 1), { rate, seed }).data);
  }
}

function plain(values: Values, rows: number) {
  return { data: Float32Array.from(values), shape: [rows, values.length / rows] };
}
