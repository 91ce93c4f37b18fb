/** What a typed array is by its internal slots, whatever properties a caller has put over them. */
const view: object = /* @__PURE__ */ Object.getPrototypeOf(Uint8Array.prototype);

const slot = (name: string | symbol): (() => unknown) =>
  (Object.getOwnPropertyDescriptor(view, name) as { get(): unknown }).get;

const name = /* @__PURE__ */ slot(Symbol.toStringTag);
const length = /* @__PURE__ */ slot("length");
const buffer = /* @__PURE__ */ slot("buffer");

/** The kind of a typed array, of any realm; `undefined` for all else. */
export function viewName(value: unknown): string | undefined {
  return name.call(value) as string | undefined;
}

/** The number of elements of a typed array. */
export function lengthOf(value: ArrayBufferView): number {
  return length.call(value) as number;
}

/** The memory of a typed array. */
export function bufferOf(value: ArrayBufferView): ArrayBufferLike {
  return buffer.call(value) as ArrayBufferLike;
}
