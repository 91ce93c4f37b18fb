/** What a typed array is by its internal slots, whatever properties a caller has put over them. */
const prototype: object = /* @__PURE__ */ Object.getPrototypeOf(Uint8Array.prototype);

/** A function that reads one of them. */
function slot(name: string | symbol): (value: unknown) => unknown {
  const { get } = Object.getOwnPropertyDescriptor(prototype, name) as { get(): unknown };
  return (value) => get.call(value);
}

/** The kind of a typed array, of any realm; `undefined` for all else. */
export const typedArrayName = /* @__PURE__ */ slot(Symbol.toStringTag) as (
  value: unknown,
) => string | undefined;

/** The number of elements of a typed array. */
export const lengthOf = /* @__PURE__ */ slot("length") as (value: ArrayBufferView) => number;

/** The memory of a typed array. */
export const bufferOf = /* @__PURE__ */ slot("buffer") as (
  value: ArrayBufferView,
) => ArrayBufferLike;
