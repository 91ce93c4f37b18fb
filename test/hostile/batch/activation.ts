/** Options of activations and residuals, and what they mean. */
import type { Random } from "../../../scripts/random.mjs";
import type { Options } from "../options.js";
import { type Input, input, same } from "../theme.js";
import { arg } from "../values.js";
import { type Manner, sameElements, type TensorModel, type World } from "../world.js";

export const ACTIVATION = ["activation", "negativeSlope"];

/** Sometimes some activation. */
export function setActivation(options: Options, random: Random): void {
  if (!random.oneIn(3)) return;
  const leaky = random.oneIn(2);
  options.set("activation", leaky ? arg("leaky-relu", '"leaky-relu"') : arg("relu", '"relu"'));
  const slope = random.pick([0, 0.2, 1]);
  if (leaky && random.oneIn(2)) options.set("negativeSlope", arg(slope, `${slope}`));
}

/** What they say, if they are right. */
export function slopeOf(activation: unknown, negativeSlope: unknown): number {
  if (activation === "relu") return 0;
  return activation == null ? 1 : ((negativeSlope ?? 0.01) as number);
}

/** Sometimes a residual. */
export function setResidual(
  options: Options,
  x: Input,
  world: World,
  random: Random,
  manner: Manner,
): Input | undefined {
  if (!random.oneIn(4)) return undefined;
  const fits = (one: TensorModel) => same(one.shape, x.shape) || random.oneIn(20);
  const residual = input(world, random, manner, fits, x.shape);
  if (residual) options.set("residual", residual.arg);
  return residual;
}

/** Whether a residual is one beside x. */
export const isResidual = (residual: Input | undefined, x: Input, world: World) =>
  !residual ||
  (!residual.wrong &&
    same(residual.shape, x.shape) &&
    (!residual.model || (!residual.model.disposed && residual.model.region.home === world.home)));

/** The values of a residual, `undefined` where they can't be known. */
export function residualValues(
  residual: Input | undefined,
  options: Options,
  world: World,
): Float32Array | null | undefined {
  const { value } = options.one("residual");
  if (value == null) return null;
  if (!residual || value !== residual.arg.value) return undefined;
  if (residual.model) return world.values(residual.model);
  return residual.wrong && !residual.of ? undefined : residual.values;
}

/** Which of these is exactly what is written, if there is but one such output. */
export const inPlaceOfOne = (
  outs: readonly TensorModel[],
  ...inputs: (TensorModel | undefined)[]
) =>
  (outs.length === 1 && inputs.find((one) => one && sameElements(one, outs[0] as TensorModel))) ||
  null;
