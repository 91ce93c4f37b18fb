/** A property of views, over random shapes and steps. */
import { Tensor } from "batchnorm-wasm";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Random } from "../../scripts/random.mjs";
import { anyShape, holds, properties, size } from "./problems.js";

describe(properties("views"), { timeout: 60_000 }, () => {
  it("views are the elements that a plain array's indices say", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("reshape" as const), seed: fc.nat() }),
      fc.record({ kind: fc.constant("slice" as const), seed: fc.nat() }),
    );
    holds(fc.tuple(anyShape, fc.array(step, { maxLength: 6 })), ([{ shape }, steps]) => {
      const whole = Tensor.from(Array.from({ length: size(shape) }, (_, i) => i));
      let view = whole.reshape(shape);
      // The model: a shape, and the places of the elements in the whole.
      let model: Model = { shape, places: Array.from({ length: size(shape) }, (_, i) => i) };
      for (const { kind, seed } of steps) {
        const random = new Random(seed);
        if (kind === "slice") {
          const axis = random.below(model.shape.length);
          const length = model.shape[axis] as number;
          const start = random.below(length + 1);
          const end = random.below(length + 1);
          const fromEnd = (index: number) =>
            random.below(2) === 0 && index < length ? index - length : index;
          const signed = random.below(2) === 0 ? axis : axis - model.shape.length;
          view = view.slice(signed, fromEnd(start), end === length ? undefined : fromEnd(end));
          model = sliced(model, axis, start, end);
        } else {
          const next = otherShape(model.places.length, random);
          const hasFree = model.places.length > 0 && random.below(2) === 0;
          const asked = hasFree ? next.with(random.below(next.length), -1) : next;
          if (isConsecutive(model.places)) {
            view = view.reshape(asked);
            model = { shape: next, places: model.places };
          } else {
            expect(() => view.reshape(asked)).toThrow(
              expect.objectContaining({ code: "not-contiguous" }),
            );
          }
        }
        const { places } = model;
        expect(view.shape).toEqual(model.shape);
        expect(view.size).toBe(places.length);
        expect([...view.toFloat32Array()]).toEqual(places);
        expect(view.contiguous).toBe(isConsecutive(places));
        if (view.contiguous) expect([...view.data]).toEqual(places);
        else {
          const notContiguous = expect.objectContaining({ code: "not-contiguous" });
          expect(() => view.data).toThrow(notContiguous);
        }
      }
      // One memory: what is written to the whole shows in the view.
      whole.data.forEach((value, i, data) => {
        data[i] = value + 0.5;
      });
      expect([...view.toFloat32Array()]).toEqual(model.places.map((place) => place + 0.5));
    });
  });
});

/** A view as a plain array: which elements of the whole it has, in row-major order. */
interface Model {
  shape: readonly number[];
  places: number[];
}

function isConsecutive(places: readonly number[]): boolean {
  return places.every((place, i) => place === (places[0] as number) + i);
}

function sliced({ shape, places }: Model, axis: number, start: number, end: number): Model {
  const inner = size(shape.slice(axis + 1));
  const along = (i: number) => Math.floor(i / inner) % (shape[axis] as number);
  return {
    shape: shape.with(axis, Math.max(0, end - start)),
    places: places.filter((_, i) => along(i) >= start && along(i) < end),
  };
}

/** Some other shape of as many elements. */
function otherShape(elements: number, random: Random): number[] {
  const shape: number[] = [];
  let rest = elements;
  for (let rank = random.below(5); rank > 0; rank--) {
    const divisors = Array.from({ length: rest }, (_, i) => i + 1).filter((d) => rest % d === 0);
    const size = divisors[random.below(divisors.length)] ?? 1;
    shape.push(size);
    rest /= size;
  }
  return [...shape, rest];
}
