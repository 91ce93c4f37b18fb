/** Layers that tfjs has not, under Keras's names: they are saved and loaded as its own are. */
import { checkAxis, checkNotNegative, checkNumber, checkOneOf } from "../core/checks.js";
import { fail, mustBe } from "../core/errors.js";
import { showShape } from "../core/show.js";
import { runNorm } from "./operations.js";
import type { Problem } from "./problem.js";
import type { Layer, LayerClass, LayerVariable, Tensor, Tf } from "./types.js";

/** What all of tfjs's layers can be told. */
export interface LayerArgs {
  name?: string | null | undefined;
  trainable?: boolean | null | undefined;
  inputShape?: readonly (number | null)[] | null | undefined;
  batchInputShape?: readonly (number | null)[] | null | undefined;
  batchSize?: number | null | undefined;
  dtype?: "float32" | null | undefined;
}

/** What the layers with γ and β can be told, as `tf.layers.batchNormalization`. */
export interface AffineArgs extends LayerArgs {
  /** The channel axis, negative from the end; default −1. The samples lie along the first one. */
  axis?: number | null | undefined;
  /** Added to the variance; default 1e-3. */
  epsilon?: number | null | undefined;
  /** Whether there is a β; default `true`. */
  center?: boolean | null | undefined;
  /** Whether there is a γ; default `true`. */
  scale?: boolean | null | undefined;
  /** A name, or one of tfjs's own, as are the next five. */
  betaInitializer?: unknown;
  gammaInitializer?: unknown;
  betaRegularizer?: unknown;
  gammaRegularizer?: unknown;
  betaConstraint?: unknown;
  gammaConstraint?: unknown;
}

/** Arguments of `groupNormalization`. */
export interface GroupNormalizationArgs extends AffineArgs {
  /** How many groups the channels are divided into; −1 for one each. Default 32. */
  groups?: number | null | undefined;
}

/** Arguments of `rmsNormalization`. */
export interface RMSNormalizationArgs extends LayerArgs {
  /** The axis that is normalized, or several, negative from the end; default −1. */
  axis?: number | readonly number[] | null | undefined;
  /** Added to the mean square; default 1e-6. */
  epsilon?: number | null | undefined;
}

/** Layers as tfjs makes them: `L` is its own type of a layer. */
export interface Normalizations<L> {
  /**
   * Group normalization (Wu & He 2018), as Keras's `GroupNormalization`: weights `gamma` and `beta`,
   * one a channel.
   */
  groupNormalization(args?: GroupNormalizationArgs | null): L;
  /**
   * Instance normalization (Ulyanov et al. 2016), as TensorFlow Addons' `InstanceNormalization`: group
   * normalization of a group for each channel.
   */
  instanceNormalization(args?: AffineArgs | null): L;
  /** RMS normalization (Zhang & Sennrich 2019), as Keras's `RMSNormalization`: one weight, `scale`. */
  rmsNormalization(args?: RMSNormalizationArgs | null): L;
}

/** What has tfjs's layers: the namespace of `@tensorflow/tfjs` or `@tensorflow/tfjs-layers`. */
export interface TfLayers<L> {
  readonly layers: {
    batchNormalization(args?: { name: string }): L;
  };
}

type Shape = readonly (number | null)[];
type Config = { [name: string]: unknown };

/** What tfjs's layers do for those that extend them. */
interface BaseLayer extends Layer {
  axis: number | number[];
  epsilon: number;
  readonly center: boolean;
  readonly scale: boolean;
  gamma?: LayerVariable;
  beta?: LayerVariable;
  built: boolean;
  supportsMasking: boolean;
  addWeight(
    name: string,
    shape: readonly number[],
    dtype: null,
    initializer: unknown,
    regularizer: unknown,
    trainable: boolean,
    constraint: unknown,
  ): LayerVariable;
  getConfig(): Config;
  build(shape: Shape | readonly Shape[]): void;
  readonly betaInitializer: unknown;
  readonly gammaInitializer: unknown;
  readonly betaRegularizer: unknown;
  readonly gammaRegularizer: unknown;
  readonly betaConstraint: unknown;
  readonly gammaConstraint: unknown;
}

/** Names of the classes. */
const NAMES = ["GroupNormalization", "InstanceNormalization", "RMSNormalization"] as const;
type Classes = { readonly [name in (typeof NAMES)[number]]: LayerClass };

/** By tfjs's class of batch norm, which they extend. */
const classes = /* @__PURE__ */ new WeakMap<object, Classes>();

/**
 * Makes the layers where there is something to extend, once, and registers them for loading under names
 * that are free.
 *
 * @returns takes them out; `null` where there was nothing to do
 */
export function registerLayers(tf: Tf): (() => void) | null {
  const { SerializationMap } = tf.serialization;
  const { classNameMap } = SerializationMap.getMap();
  const Base = classNameMap.BatchNormalization?.[0];
  if (!Base) return null;
  const ours = classes.get(Base) ?? makeLayers(tf, Base as unknown as BaseClass);
  classes.set(Base, ours);
  const added = NAMES.filter((name) => !classNameMap[name]);
  if (added.length === 0) return null;
  for (const name of added) classNameMap[name] = [ours[name], fromConfig];
  return () => {
    for (const name of added) {
      if (classNameMap[name]?.[0] === ours[name]) delete classNameMap[name];
    }
  };
}

/** How tfjs makes a layer of what it has read. */
function fromConfig(Class: LayerClass, config: Config): Layer {
  return new Class(config);
}

type BaseClass = new (args: object) => BaseLayer;

function makeLayers(tf: Tf, Base: BaseClass): Classes {
  /** What they have in common: γ and β are of the size of an axis, and there is nothing that moves. */
  abstract class Normalization extends Base {
    abstract problemOf(shape: readonly number[]): Problem;

    override call(inputs: Tensor | Tensor[]): Tensor {
      const [input, another] = Array.isArray(inputs) ? inputs : [inputs];
      if (!input || another) {
        const count = Array.isArray(inputs) ? inputs.length : 1;
        mustBe("shape-mismatch", "a normalization's input", "one tensor", `${count} tensors`);
      }
      return tf.tidy(() => {
        const problem = this.problemOf(input.shape);
        return runNorm(tf, problem, input, this.gamma?.read(), this.beta?.read())[0] as Tensor;
      });
    }
  }

  class GroupNormalization extends Normalization {
    static className: string = NAMES[0];
    declare readonly groups: number;

    constructor(args?: GroupNormalizationArgs | null) {
      super(readAffine("groupNormalization", args));
      const groups = args?.groups ?? 32;
      if (groups !== -1) checkNumber(groups, "groupNormalization: groups", ", or -1");
      this.groups = groups;
    }

    override build(inputShape: Shape | readonly Shape[]): void {
      const shape = oneShape(inputShape);
      const axis = this.#axisOf(shape.length);
      const channels = shape[axis];
      if (channels == null) {
        fail(
          "invalid-shape",
          `${this.#owner}: axis ${axis} of ${showShape(shape as number[])} is open`,
        );
      }
      this.#groupsOf(channels);
      this.#addAffine([channels]);
      this.built = true;
    }

    #addAffine(shape: readonly number[]): void {
      if (this.scale) {
        this.gamma = this.addWeight(
          ...(["gamma", shape, null, this.gammaInitializer] as const),
          ...([this.gammaRegularizer, true, this.gammaConstraint] as const),
        );
      }
      if (this.center) {
        this.beta = this.addWeight(
          ...(["beta", shape, null, this.betaInitializer] as const),
          ...([this.betaRegularizer, true, this.betaConstraint] as const),
        );
      }
    }

    get #owner(): string {
      return (this.constructor as unknown as LayerClass).className;
    }

    #axisOf(rank: number): number {
      const axis = this.axis as number;
      const from0 = axis < 0 ? axis + rank : axis;
      if (!(from0 >= 1 && from0 < rank)) {
        mustBe(
          "shape-mismatch",
          `${this.#owner}: axis`,
          `one of rank ${rank} behind the first`,
          axis,
        );
      }
      return from0;
    }

    #groupsOf(channels: number): number {
      const groups = this.groups === -1 ? channels : this.groups;
      if (channels % groups !== 0) {
        fail(
          "shape-mismatch",
          `${this.#owner}: ${groups} groups don't divide ${channels} channels`,
        );
      }
      return groups;
    }

    override problemOf(shape: readonly number[]): Problem {
      const axis = this.#axisOf(shape.length);
      const channels = shape[axis] as number;
      const { epsilon } = this;
      const groups = this.#groupsOf(channels);
      return { norm: "group", axes: [axis], groups, epsilon, parameters: [channels] };
    }

    override getConfig(): Config {
      const { momentum, movingMeanInitializer, movingVarianceInitializer, ...config } =
        super.getConfig();
      return { ...config, groups: this.groups };
    }
  }

  class InstanceNormalization extends GroupNormalization {
    static override className: string = NAMES[1];

    constructor(args?: AffineArgs | null) {
      super({ ...args, groups: -1 });
    }

    override getConfig(): Config {
      const { groups, ...config } = super.getConfig();
      return config;
    }
  }

  class RMSNormalization extends Normalization {
    static className: string = NAMES[2];

    constructor(args?: RMSNormalizationArgs | null) {
      const owner = "rmsNormalization";
      const { axis, epsilon, ...others } = args ?? {};
      const axes = axis ?? -1;
      for (const one of Array.isArray(axes) ? axes : [axes]) checkAxis(one, owner);
      const eps = epsilon ?? 1e-6;
      checkNotNegative(eps, owner, "epsilon");
      super({ ...others, center: false });
      this.axis = axes as number | number[];
      this.epsilon = eps;
    }

    override build(inputShape: Shape | readonly Shape[]): void {
      const shape = oneShape(inputShape);
      const sizes = this.#axesOf(shape.length).map((axis) => shape[axis]);
      if (sizes.some((size) => size == null)) {
        fail("invalid-shape", `RMSNormalization: axes of ${showShape(shape as number[])} are open`);
      }
      const { gammaInitializer: initializer } = this;
      this.gamma = this.addWeight("scale", sizes as number[], null, initializer, null, true, null);
      this.built = true;
    }

    /** Counted from 0 and in order. */
    #axesOf(rank: number): number[] {
      const given = Array.isArray(this.axis) ? this.axis : [this.axis];
      const axes = given.map((axis) => (axis < 0 ? axis + rank : axis)).sort((a, b) => a - b);
      if (!axes.every((axis, i) => axis >= 0 && axis < rank && axis !== axes[i - 1])) {
        fail(
          "shape-mismatch",
          `RMSNormalization: axes ${showShape(given)} are none of rank ${rank}`,
        );
      }
      return axes;
    }

    override problemOf(shape: readonly number[]): Problem {
      const axes = this.#axesOf(shape.length);
      const parameters = axes.map((axis) => shape[axis] as number);
      return { norm: "rms", axes, groups: 0, epsilon: this.epsilon, parameters };
    }

    override getConfig(): Config {
      const { name, trainable, dtype, batchInputShape } = super.getConfig();
      const { axis, epsilon } = this;
      return {
        ...{ name, trainable, axis, epsilon },
        ...(dtype !== undefined && { dtype }),
        ...(batchInputShape !== undefined && { batchInputShape }),
      };
    }
  }

  return { GroupNormalization, InstanceNormalization, RMSNormalization } as unknown as Classes;
}

/** The arguments of tfjs's batch norm that layers with γ and β take over, checked. */
function readAffine(owner: string, args: AffineArgs | null | undefined): object {
  const { axis, epsilon, center, scale } = args ?? {};
  if (axis != null) checkAxis(axis, owner);
  if (epsilon != null) checkNotNegative(epsilon, owner, "epsilon");
  checkOneOf(center ?? true, owner, "center");
  checkOneOf(scale ?? true, owner, "scale");
  return args ?? {};
}

/** tfjs gives a shape, or one of one input in an array. */
function oneShape(shape: Shape | readonly Shape[]): Shape {
  return (Array.isArray(shape[0]) ? shape[0] : shape) as Shape;
}

/**
 * The layers that tfjs has not, as its own factories make them: for `Sequential` and functional models,
 * saved and loaded like others (where this package is imported, too). On backends without our kernels
 * they are composed of tfjs's operations.
 *
 * @param tf the namespace of `@tensorflow/tfjs` or `@tensorflow/tfjs-layers`
 * @throws BatchNormError `unsupported` before `install`, `invalid-option` of what has no layers
 *
 * @example
 * import * as tf from "@tensorflow/tfjs";
 * import { normalizations } from "batchnorm-wasm/tfjs";
 * const { groupNormalization, rmsNormalization } = normalizations(tf);
 * model.add(groupNormalization({ groups: 8 }));
 */
export function normalizations<L>(tf: TfLayers<L>): Normalizations<L> {
  const owner = "normalizations";
  const layers = Object(tf).layers ?? Object(Object(tf).default).layers;
  if (typeof Object(layers).batchNormalization !== "function") {
    mustBe("invalid-option", `${owner}: tf`, "the namespace of @tensorflow/tfjs or -layers", tf);
  }
  // With a name of its own: or it would move the numbers in other layers' names.
  const made = layers.batchNormalization({ name: "batchnorm-wasm" }) as { constructor: object };
  const ours = classes.get(made.constructor);
  if (!ours) fail("unsupported", `${owner}: this tfjs has none of our kernels: install(tf) first`);
  const make = (name: keyof Classes) => (args?: object | null) =>
    new ours[name](args ?? {}) as unknown as L;
  return {
    groupNormalization: make("GroupNormalization"),
    instanceNormalization: make("InstanceNormalization"),
    rmsNormalization: make("RMSNormalization"),
  };
}
