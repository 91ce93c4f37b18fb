/** Every write of every call counts, and nothing else: of any norm, by `operations.ts`. */
import { BatchNormError, batchNormBackward, batchNormTraining, type Tensor } from "batchnorm-wasm";
import { expect, test } from "vitest";
import { counting, tensorsOf } from "./call-helpers.js";
import { callWith, neededBy, OPERATIONS } from "./operations.js";

for (const operation of OPERATIONS.filter(({ operands }) => Object.keys(operands).length > 0)) {
  const { name, operands, apart } = operation;
  for (const [which, passed] of [
    ["all its operands", Object.keys(operands).filter((one) => one !== apart?.[1])],
    ["what it needs", neededBy(operation)],
  ] as const) {
    test(`${name} with ${which} makes passes stale through what it writes, and no others`, () => {
      const example = operation.example();
      const written = passed
        .filter((name) => ["output", "state"].includes(operands[name] as string))
        .map((name) => example[name]);
      written.push(...(operation.own?.(example) ?? []));
      const tensors = new Set(example.all.flatMap(tensorsOf));
      for (const one of written) expect(tensors).toContain(one);
      const passes = [...tensors].map((x) => ({ x, ...passThrough(x) }));

      callWith(operation, example, Object.fromEntries(passed.map((one) => [one, example[one]])));

      const counted = passes.map(({ x, version }) => x.storage.version > version);
      expect(counted).toEqual(passes.map(({ x }) => written.includes(x)));
      expect(passes.map(({ isStale }) => isStale())).toEqual(counted);
    });
  }
}

/** A forward pass of a tensor, as x. */
function passThrough(x: Tensor) {
  const { saved } = batchNormTraining(x, { axis: -1 });
  const isStale = () => {
    try {
      batchNormBackward(counting([...x.shape]), { saved });
      return false;
    } catch (error) {
      expect(error).toBeInstanceOf(BatchNormError);
      expect((error as BatchNormError).code).toBe("stale");
      return true;
    }
  };
  return { version: x.storage.version, isStale };
}
