/** What may be set of a layer, checked. */
import { checkMomentum, checkNotNegative, checkOneOf } from "./checks.js";

/** Options that may be set; not every layer has each. */
export interface SettableOptions {
  /** The name of the layer's class in error messages. */
  readonly owner: string;
  training?: boolean;
  eps?: number;
  momentum?: number;
  requiresGrad?: boolean;
}

/**
 * Sets what may be set.
 *
 * @throws BatchNormError `invalid-option`
 */
export function setOption<
  Options extends SettableOptions,
  Name extends Exclude<keyof SettableOptions, "owner">,
>(options: Options, name: Name, value: Options[Name]): void {
  const { owner } = options;
  if (name === "eps") checkNotNegative(value, owner, "eps");
  else if (name === "momentum") checkMomentum(value, owner);
  else checkOneOf(value, owner, name);
  options[name] = value;
}
