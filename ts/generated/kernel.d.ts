export const memory: WebAssembly.Memory;
export const allocate: (a: number, b: number) => number;
export const batch_norm_backward: (a: number, b: number, c: number, d: number, e: number, f: number, g: number) => number;
export const batch_norm_backward_frozen: (a: number, b: number, c: number, d: number, e: number, f: number, g: number) => number;
export const batch_norm_inference: (a: number, b: number, c: number, d: number, e: number, f: number) => number;
export const batch_norm_statistics: (a: number, b: number, c: number) => number;
export const batch_norm_training: (a: number, b: number, c: number, d: number, e: number, f: number) => number;
export const batch_norm_update_running: (a: number, b: number, c: number, d: number, e: number, f: number, g: number) => number;
export const release: (a: number, b: number) => void;
