/** What is known of forward passes of any norm, and what going back through them leaves. */
import type { NormGradients } from "batchnorm-wasm";
import type { Random } from "../../scripts/random.mjs";
import { Options } from "./options.js";
import { type Input, inPlaceOf, input, output, themeOf } from "./theme.js";
import { arg } from "./values.js";
import { bits, type Home, type Manner, type TensorModel, type World } from "./world.js";

/** A forward pass as it was. */
export interface Past {
  readonly x: Float32Array;
  readonly shape: readonly number[];
  readonly axis: number;
  readonly eps: number;
  readonly weight: Float32Array | null;
  readonly home: Home;
  /** x, unless it was plain data, and its region's version. */
  readonly xModel: TensorModel | null;
  readonly xVersion: number;
  /** The vectors that took part: no gradient may be written over them. */
  readonly kept: readonly TensorModel[];
  /** y, where backward reads it, too. */
  readonly output?: Output | null;
  /** Whether all that is above is certain. */
  readonly known: boolean;
}

/** An output as it was, its tensor, unless it left as plain data, and its region's version then. */
interface Output {
  readonly values: Float32Array;
  readonly model: TensorModel | null;
  readonly version: number;
}

/** Of an output that is not yet counted as written, as the last of these will be. */
export function outputOf(
  values: Float32Array,
  model: TensorModel | undefined,
  writes: readonly TensorModel[],
): Output {
  const later = writes.filter(({ region }) => region === model?.region).length;
  return { values, model: model ?? null, version: (model?.region.version ?? 0) + later };
}

/** Whether a pass can go backward for certain, and whether it must not. */
export function freshness(world: World, pass: Past): { fresh: boolean; stale: boolean } {
  const { xModel, xVersion, kept, output } = pass;
  const read: Output[] = [{ values: pass.x, model: xModel, version: xVersion }];
  if (output) read.push(output);
  const fresh =
    read.every(({ model, version }) => !model || isAt(model, version)) &&
    kept.every((one) => !one.disposed);
  const stale = read.some(({ values, model }) => {
    const was = bits(values);
    return model?.disposed || (model && bits(world.values(model)).some((bit, i) => bit !== was[i]));
  });
  return { fresh, stale };
}

const isAt = ({ disposed, region }: TensorModel, version: number) =>
  !disposed && region.version === version;

/**
 * What a layer's `forward` is called with: x, mostly of a shape that fits, and options.
 *
 * @param add sets options that not all layers take; gives their names
 */
export function forwardArguments(
  world: World,
  random: Random,
  manner: Manner,
  fits: (shape: readonly number[]) => boolean,
  add: (options: Options, x: Input) => readonly string[] = () => [],
) {
  const like = themeOf(world).shapes.find(fits);
  const x = input(world, random, manner, ({ shape }) => fits(shape) || random.oneIn(40), like);
  if (!x) return undefined;
  const options = new Options();
  if (random.oneIn(2)) {
    const training = random.oneIn(2);
    options.set("training", arg(training, `${training}`));
  }
  options.tensor("out", x.plain ? undefined : output(world, random, x));
  const names = ["out", "training", ...add(options, x)];
  if (manner === "hostile" && random.oneIn(2)) options.mutate(world, random, names);
  const { value, code } = options.build();
  const outs = options.models(world, "out");
  return { x, options, value, code, outs, inPlace: inPlaceOf(x, outs), name: world.name("t") };
}

/** Gradients of parameters that a call has made. */
export function adoptGradients(
  world: World,
  { weightGrad, biasGrad }: NormGradients<unknown>,
  names: readonly string[],
  channels: number | null,
): void {
  [weightGrad, biasGrad].forEach((tensor, k) => {
    if (tensor && !world.modelOf.has(tensor)) {
      world.adopt(tensor, [channels ?? tensor.size], names[k + 1] as string);
    }
  });
}
