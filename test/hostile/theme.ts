/** What calls are made of: tensors in guarded memory, and arguments that mostly fit each other. */
import * as library from "batchnorm-wasm";
import { type PlainResult, Tensor } from "batchnorm-wasm";
import type { Random } from "../../scripts/random.mjs";
import { hostileTensor } from "./options.js";
import { type Arg, arg, type Filling, guarded, hostile, hostileShape, numbers } from "./values.js";
import {
  apart,
  Fault,
  type Manner,
  rowMajor,
  sameElements,
  type TensorModel,
  type World,
} from "./world.js";

// Arguments here are of any type: that is the point.
export type Anything = never;

type Constructor<Layer> = new (...all: unknown[]) => Layer;

/** A class of the library by its name, that takes anything. */
export function classOf<Layer>(name: string): Constructor<Layer> {
  return (library as unknown as Record<string, Constructor<Layer>>)[name] as Constructor<Layer>;
}

/** The shapes that a sequence is about: most of its tensors have one of these. */
interface Theme {
  readonly channels: number;
  readonly shapes: readonly (readonly number[])[];
}

/** Elements of a slot that not all of its tensors have. */
const MORE = 2;

export const themes = new WeakMap<World, Theme>();

export const themeOf = (world: World) => themes.get(world) as Theme;

export const product = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** Memory with guards, and in it a tensor of each shape, here and there overlapping. */
export function root(world: World, random: Random, kernel: string): void {
  const { shapes } = themeOf(world);
  const slots: [number, number, number, Filling][] = [];
  let length = 8 + random.below(4);
  for (const shape of shapes) {
    const filling = shape.length === 1 ? "positive" : random.oneIn(8) ? "wild" : "plain";
    slots.push([length, product(shape) + MORE, random.below(2 ** 31), filling]);
    length += product(shape) + MORE + 4 + random.below(20);
  }
  const name = world.name("t");
  const options = kernel ? { kernel: world.home.kernel } : {};
  const whole = Tensor.from(guarded(length, slots), [length], options);
  const model = world.adopt(whole, [length], name);
  world.log.push(
    () =>
      `${name} = Tensor.from(guarded(${length}, ${JSON.stringify(slots)}), [${length}]${kernel ? `, { kernel: ${kernel} }` : ""});`,
  );
  slots.forEach(([at], i) => {
    const shape = shapes[i] as number[];
    const size = product(shape);
    // Two that overlap, one beside the other.
    for (const first of random.oneIn(2) ? [at] : [at, at + 1 + random.below(MORE)]) {
      const [part, name] = [world.name("t"), world.name("t")];
      const flat = whole.slice(0, first, first + size);
      world.log.push(() => `${part} = ${model.name}.slice(0, ${first}, ${first + size});`);
      world.view(flat, model.region, [size], [1], first, part);
      world.log.push(() => `${name} = ${part}.reshape([${shape}]);`);
      world.view(flat.reshape(shape), model.region, shape, rowMajor(shape), first, name);
    }
  });
}

/** A tensor of some shape over elements of one with rank 1. */
export function window(
  world: World,
  of: TensorModel,
  at: number,
  shape: readonly number[],
  size: number,
) {
  const [part, name] = [world.name("t"), world.name("t")];
  world.attempt(
    () => `${part} = ${of.name}.slice(0, ${at}, ${at + size});`,
    () => of.tensor.slice(0, at, at + size),
    {
      valid: true,
      returned: (view: Tensor) => {
        world.view(view, of.region, [size], [1], of.offset + at, part);
      },
    },
  );
  const model = world.tensors[world.tensors.length - 1] as TensorModel;
  world.attempt(
    () => `${name} = ${part}.reshape([${shape}]);`,
    () => model.tensor.reshape(shape),
    {
      valid: true,
      returned: (view: Tensor) => {
        world.view(view, of.region, [...shape], rowMajor(shape), of.offset + at, name);
      },
    },
  );
}

export const contiguous = ({ shape, strides }: TensorModel) =>
  shape.includes(0) ||
  rowMajor(shape).every((stride, axis) => shape[axis] === 1 || strides[axis] === stride);

export const isVectorOf = (length: number) => (one: TensorModel) =>
  one.shape.length === 1 && one.shape[0] === length && contiguous(one);

export const same = (a: readonly number[], b: readonly number[]) =>
  a.length === b.length && a.every((value, i) => value === b[i]);

/** Whether a tensor that is written is apart from all others. */
export function allApart(
  written: TensorModel,
  others: readonly (TensorModel | undefined)[],
): boolean {
  return others.every((one) => !one || one === written || apart(written, one));
}

/** Live, of the sequence's own kernel. */
export function here(world: World, which: (one: TensorModel) => boolean = () => true) {
  return (one: TensorModel) => one.region.home === world.home && which(one);
}

/** Plain vectors that were passed, and what they hold. */
export const certain = new WeakMap<object, Float32Array>();

/** The values of a vector that was passed; `undefined` where they can't be known. */
export function vectorValues(world: World, value: unknown): Float32Array | null | undefined {
  if (value === undefined || value === null) return null;
  const model = world.modelOf.get(value);
  if (model) return world.values(model);
  // Of others that might be taken, what they hold is not worth asking.
  return certain.get(value as object);
}

/** The tensor that goes in, where the only one to be written is exactly that. */
export function inPlaceOf(x: Input, outs: readonly TensorModel[]): TensorModel | null {
  const [out] = outs;
  return outs.length === 1 && out && x.model && sameElements(x.model, out) ? x.model : null;
}

/** Some vector of one value a channel: mostly a tensor. */
export function vector(world: World, random: Random, channels: number): Arg {
  const model = world.pick(random, world.tensors, here(world, isVectorOf(channels)));
  if (model && !random.oneIn(6)) return arg(model.tensor, model.name);
  const seed = random.below(2 ** 31);
  const values = numbers(channels, seed, "positive");
  const code = `numbers(${channels}, ${seed}, "positive")`;
  const plain = random.oneIn(2) ? arg(values, code) : arg([...values], `[...${code}]`);
  certain.set(plain.value as object, values);
  return plain;
}

/** One of float64, whose values are float32's. */
export function float64Vector(_: World, random: Random, channels: number): Arg {
  const seed = random.below(2 ** 31);
  const values = numbers(channels, seed, "positive");
  const given = arg(
    Float64Array.from(values),
    `Float64Array.from(numbers(${channels}, ${seed}, "positive"))`,
  );
  certain.set(given.value as object, values);
  return given;
}

/** `of` a kind of plain data whose faults are others than those of tensors. */
export interface Input {
  readonly of?: string;
  arg: Arg;
  /** Unless it is plain data, or nothing that could be. */
  readonly model: TensorModel | undefined;
  readonly shape: readonly number[];
  readonly values: Float32Array;
  /** Whether anything but a tensor or `{ data, shape }`. */
  readonly wrong: boolean;
  readonly plain: boolean;
}

/** x or dy: mostly a tensor, sometimes plain data, sometimes neither. */
export function input(
  world: World,
  random: Random,
  manner: Manner,
  which: (one: TensorModel) => boolean = () => true,
  like?: readonly number[],
): Input | undefined {
  const kind = random.below(manner === "hostile" ? 16 : 10);
  const none = { values: new Float32Array(0), shape: [1], model: undefined };
  if (kind === 15) return { ...none, arg: hostile(random), wrong: true, plain: false };
  if (kind === 14) {
    const other = hostileTensor(world, random);
    const model = world.modelOf.get(other.value) as TensorModel;
    const { shape } = model;
    return { arg: other, model, shape, values: world.values(model), wrong: true, plain: false };
  }
  if (kind >= 9) {
    const shape = like ?? random.pick(themeOf(world).shapes);
    const seed = random.below(2 ** 31);
    const values = numbers(product(shape), seed, "plain");
    const code = `numbers(${values.length}, ${seed}, "plain")`;
    if (kind === 10) {
      const bad = hostileShape(random);
      const plain = { data: values, shape: bad.value };
      return {
        ...none,
        arg: { value: plain, code: () => `{ data: ${code}, shape: ${bad.code()} }` },
        wrong: true,
        plain: true,
      };
    }
    if (kind === 11) {
      // Elements that lie otherwise: columns first.
      const strides = shape.map((_, axis) => product(shape.slice(0, axis)));
      const name = random.pick(["stride", "strides", "fortranOrder"]);
      const order = name === "fortranOrder" || strides;
      const walked = numbers(values.length, seed, "plain");
      const from = rowMajor(shape);
      values.forEach((_, i) => {
        let at = 0;
        shape.forEach((size, axis) => {
          at += (Math.floor(i / (from[axis] as number)) % size) * (strides[axis] as number);
        });
        walked[i] = values[at] as number;
      });
      return {
        arg: arg(
          { data: values, shape, [name]: order },
          `{ data: ${code}, shape: [${shape}], ${name}: ${JSON.stringify(order)} }`,
        ),
        model: undefined,
        of: " of strided plain data",
        shape,
        values: walked,
        wrong: true,
        plain: true,
      };
    }
    if (kind === 12) {
      const data = hostile(random);
      return {
        ...none,
        arg: {
          value: { data: data.value, shape },
          code: () => `{ data: ${data.code()}, shape: [${shape}] }`,
        },
        wrong: true,
        plain: true,
      };
    }
    const plain = arg({ data: values, shape }, `{ data: ${code}, shape: [${shape}] }`);
    return { arg: plain, model: undefined, shape, values, wrong: false, plain: true };
  }
  const model = world.pick(random, world.tensors, here(world, which));
  if (!model) return undefined;
  const { shape } = model;
  const values = world.values(model);
  return { arg: arg(model.tensor, model.name), model, shape, values, wrong: false, plain: false };
}

/** Where to write: often nowhere, often x itself, else a tensor of its shape. */
export function output(world: World, random: Random, x: Input): TensorModel | undefined {
  const kind = random.below(4);
  if (kind < 2) return undefined;
  if (kind === 2 && x.model) return x.model;
  return world.pick(
    random,
    world.tensors,
    here(world, (one) => same(one.shape, x.shape)),
  );
}

/** A channel axis: one with as many channels as there are vectors of, where there is one. */
export function axisOf(world: World, random: Random, shape: readonly number[]): number {
  const fit = shape.flatMap((size, axis) => (size === themeOf(world).channels ? [axis] : []));
  const axis = fit.length > 0 && !random.oneIn(8) ? random.pick(fit) : random.below(shape.length);
  return random.oneIn(3) ? axis - shape.length : axis;
}

/** What came back for x: `out`, a new tensor, or plain data. */
export function takeResult(
  world: World,
  x: Input,
  out: readonly TensorModel[],
  result: Tensor | PlainResult,
  name: string,
): { values: Float32Array; model: TensorModel | undefined } {
  if (x.plain || (!x.model && !(result instanceof Tensor))) {
    const { data, shape } = result as PlainResult;
    if (result instanceof Tensor || !(data instanceof Float32Array)) {
      throw new Fault("plain data does not come out as plain data", name);
    }
    if (!same(shape, x.shape) && !x.wrong) {
      throw new Fault("a result has another shape", `[${shape.slice(0, 9)}]`);
    }
    return { values: data, model: undefined };
  }
  const given = world.modelOf.get(result);
  if (given) {
    if (!out.includes(given)) throw new Fault("a result is no new tensor", given.name);
    return { values: world.now(given), model: given };
  }
  if (!x.model) throw new Fault("a result of nothing", name);
  const model = world.adopt(result as Tensor, x.shape, name);
  return { values: world.now(model), model };
}

export const resolve = (axis: number, rank: number) => (axis < 0 ? axis + rank : axis);
