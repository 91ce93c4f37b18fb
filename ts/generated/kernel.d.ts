export const memory: WebAssembly.Memory;
export const abi_version: () => number;
export const allocate: (a: number, b: number) => number;
export const release: (a: number, b: number) => void;
export const run: (a: number) => number;
