/** What the entries import; see `scripts/build-js.mjs` for the text. */
declare module "*.wasm" {
  const module: object;
  export default module;
}

declare module "*.wasm?module" {
  const module: object;
  export default module;
}

declare module "*.wasm?text" {
  const text: string;
  export default text;
}
