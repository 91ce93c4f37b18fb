/** What is known of forward passes of any norm, and what going back through them leaves. */
import type { NormGradients } from "batchnorm-wasm";
import { bits, type Home, type TensorModel, type World } from "./world.js";

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
  /** Whether all that is above is certain. */
  readonly known: boolean;
}

/** Whether a pass can go backward for certain, and whether it must not. */
export function freshness(world: World, pass: Past): { fresh: boolean; stale: boolean } {
  const { xModel, xVersion, kept } = pass;
  const fresh =
    (!xModel || (!xModel.disposed && xModel.region.version === xVersion)) &&
    kept.every((one) => !one.disposed);
  const was = bits(pass.x);
  const stale =
    xModel !== null &&
    (xModel.disposed || bits(world.values(xModel)).some((bits, i) => bits !== was[i]));
  return { fresh, stale };
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
