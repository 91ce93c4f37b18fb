/** The golden values of batch norm's variants: `fixtures/torch_variants.json`. */
import { readFileSync } from "node:fs";

export type Vector = number[] | null;

export interface Step {
  readonly x: number[];
  readonly dy: number[];
  readonly y: number[];
  readonly dx: number[];
  readonly dweight: Vector;
  readonly dbias: Vector;
  readonly running_mean: number[];
  readonly running_var: number[];
  /** Of renorm. */
  readonly r?: number[];
  readonly d?: number[];
}

export interface VariantCase<Options> {
  readonly variant: string;
  readonly shape: number[];
  readonly axis: number;
  readonly options: Options & { readonly eps: number; readonly momentum: number | null };
  readonly weight: Vector;
  readonly bias: Vector;
  readonly running_mean: number[];
  readonly running_var: number[];
  readonly steps: readonly Step[];
}

/** The cases of a variant, with their names. */
export function variantCases<Options>(variant: string): [string, VariantCase<Options>][] {
  const text = readFileSync(new URL("fixtures/torch_variants.json", import.meta.url), "utf8");
  const { cases } = JSON.parse(text) as { cases: VariantCase<Options>[] };
  return cases
    .filter((one) => one.variant === variant)
    .map((one) => [`[${one.shape.join(", ")}] ${JSON.stringify(one.options)}`, one]);
}
