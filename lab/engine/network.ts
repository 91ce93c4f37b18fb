/**
 * A network of blocks: linear layer or convolution → dropout → norm → activation → dropout, and a linear
 * layer that ends it.
 */
import { Activation } from "./activation.js";
import { Convolution } from "./convolution.js";
import { Dense } from "./dense.js";
import { Dropout } from "./drop.js";
import type { Layer, NormLayer, Parameter, Pass, Values } from "./layer.js";
import { NaiveNorm } from "./naive.js";
import { Norm } from "./norm.js";
import { normalFrom, randomFrom } from "./random.js";
import { Pointwise, Pool } from "./sequence.js";
import type { Settings } from "./settings.js";

/**
 * What goes in: how many numbers a row has, or images of one channel, or sequences that are padded to so many
 * positions, channels first.
 */
export type InputShape = { readonly inputs: number } & (
  | { readonly image?: undefined; readonly positions?: undefined }
  | {
      readonly image: readonly [height: number, width: number];
      readonly positions?: undefined;
    }
  | { readonly image?: undefined; readonly positions: number }
);

/** What a block's last pass has left. */
export interface Block {
  readonly linear: Dense | Convolution | Pointwise;
  readonly norm: NormLayer | null;
  /** What goes into the norm and what comes out; without norm both are the linear layer's output. */
  before: Values;
  after: Values;
  /** What leaves the block's activation. */
  active: Values;
  /** Gradients with respect to `after` and `before`; empty before the first backward pass. */
  dAfter: Values;
  dBefore: Values;
}

export class Network {
  readonly blocks: readonly Block[];
  readonly parameters: readonly Parameter[];
  /** Channels of the blocks, and how many values each has in a row. */
  readonly channels: number;
  readonly area: number;
  /** Of the last pass. */
  weights: Values | null = null;
  private readonly layers: readonly (readonly [layer: Layer, block: Block | null])[];

  /**
   * @param outputs classes, or 1 for regression
   * @throws BatchNormError where the package's norm can't be what the settings say
   */
  constructor(input: InputShape, outputs: number, settings: Settings, seed: number) {
    const { depth, width, activation, initialScale, norm, dropout, dropoutPlace } = settings;
    const normal = normalFrom(randomFrom(seed));
    const [height, across] = input.image ?? [1, input.positions ?? 1];
    this.channels = width;
    this.area = height * across;
    // Norms that center each channel cancel a bias before them: its gradient would be rounding alone,
    // of which Adam makes steps.
    const biased = !(
      norm === "instance" ||
      ((norm === "batch" || norm === "naive") && !settings.frozen)
    );
    const { positions } = input;
    const inner = input.image ?? (positions === undefined ? [] : [positions]);
    const shape = [width, ...inner];
    const features = input.image ? 1 : input.inputs / (positions ?? 1);
    const none = new Float64Array(0);
    const layers: (readonly [Layer, Block | null])[] = [];
    this.blocks = Array.from({ length: depth }, (_, i) => {
      const name = `${i + 1}`;
      const inputs = i > 0 ? width : features;
      const std = initialScale * Math.sqrt(2 / (inputs * (input.image ? 9 : 1)));
      const given = [normal, std, biased, i === 0] as const;
      const linear = input.image
        ? new Convolution(name, inputs, width, height, across, ...given)
        : positions === undefined
          ? new Dense(name, inputs, width, ...given)
          : new Pointwise(positions, name, inputs, width, ...given);
      const normLayer = normOf(name, shape, settings);
      const block: Block = {
        ...{ linear, norm: normLayer },
        ...{ before: none, after: none, active: none, dAfter: none, dBefore: none },
      };
      const drop: (readonly [Layer, null])[] = dropout ? [[new Dropout(dropout, i), null]] : [];
      layers.push([linear, null]);
      if (dropoutPlace === "before") layers.push(...drop);
      layers.push([normLayer ?? new Identity(), block]);
      layers.push([new Watched(new Activation(activation), block), null]);
      if (dropoutPlace === "after") layers.push(...drop);
      return block;
    });
    if (positions !== undefined) layers.push([new Pool(positions), null]);
    const last = positions === undefined ? width * this.area : width;
    // No norm follows it: its scale is that of the outputs, whatever the hidden layers' is.
    const std = Math.sqrt(1 / last);
    layers.push([new Dense("out", last, outputs, normal, std, true, false), null]);
    this.layers = layers;
    this.parameters = layers.flatMap(([layer]) => layer.parameters);
  }

  forward(x: Values, rows: number, pass: Pass): Values {
    this.weights = pass.weights;
    let values = x;
    for (const [layer, block] of this.layers) {
      const before = values;
      values = layer.forward(values, rows, pass);
      if (block) [block.before, block.after] = [before, values];
    }
    return values;
  }

  backward(dy: Values): void {
    let gradient = dy;
    for (const [layer, block] of this.layers.toReversed()) {
      const after = gradient;
      gradient = layer.backward(gradient);
      if (block) [block.dAfter, block.dBefore] = [after, gradient];
    }
  }

  dispose(): void {
    for (const [layer] of this.layers) layer.dispose?.();
  }
}

function normOf(name: string, shape: readonly number[], settings: Settings): NormLayer | null {
  if (settings.norm === "none") return null;
  const Made = settings.norm === "naive" ? NaiveNorm : Norm;
  return new Made(name, shape, settings);
}

/** Where there is no norm. */
class Identity implements Layer {
  readonly parameters = [];

  forward(x: Values): Values {
    return x;
  }

  backward(dy: Values): Values {
    return dy;
  }
}

/** An activation whose output its block keeps. */
class Watched implements Layer {
  readonly parameters = [];

  constructor(
    private readonly inner: Activation,
    private readonly block: Block,
  ) {}

  forward(x: Values): Values {
    this.block.active = this.inner.forward(x);
    return this.block.active;
  }

  backward(dy: Values): Values {
    return this.inner.backward(dy);
  }
}
