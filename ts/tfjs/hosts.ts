/** Values of tensors of tfjs's backends: where they are, and how new ones are made. */
import type { TensorInfo } from "./types.js";

/** The backends that compute by our kernels. */
export type BackendName = "wasm" | "cpu";

/** A tensor that is being written. */
export interface Room {
  readonly info: TensorInfo;
  /** Copies a piece to its place. */
  put(piece: Float32Array, at: number): void;
}

/** A backend, for the length of a call. */
export interface Host {
  /** Has a tensor in this backend's memory, from whichever it is in. */
  bring(tensor: TensorInfo): void;
  /** The values of a tensor that was brought; of wasm until the next one is brought or made. */
  values(tensor: TensorInfo): Float32Array | Int32Array;
  /** A new tensor with a copy of values. */
  make(shape: number[], dtype: "float32" | "int32", values: Float32Array | Int32Array): TensorInfo;
  /** A new tensor that is filled piece by piece. */
  room(shape: number[], size: number): Room;
}

/** What is used of `BackendWasm`. */
interface BackendWasm {
  readonly dataIdMap: { get(dataId: object): unknown };
  makeOutput(shape: number[], dtype: string): TensorInfo;
  typedArrayFromHeap(tensor: TensorInfo): Float32Array | Int32Array;
}

/** What is used of `MathBackendCPU`. */
interface BackendCpu {
  readonly data: { get(dataId: object): { readonly values: Float32Array | Int32Array } };
  makeTensorInfo(shape: number[], dtype: string, values: Float32Array | Int32Array): TensorInfo;
}

export const HOSTS: { readonly [name in BackendName]: (backend: object) => Host } = {
  wasm(backend) {
    const wasm = backend as BackendWasm;
    return {
      bring(tensor) {
        wasm.dataIdMap.get(tensor.dataId);
      },
      values: (tensor) => wasm.typedArrayFromHeap(tensor),
      make(shape, dtype, values) {
        const info = wasm.makeOutput(shape, dtype);
        wasm.typedArrayFromHeap(info).set(values);
        return info;
      },
      room(shape) {
        const info = wasm.makeOutput(shape, "float32");
        const to = wasm.typedArrayFromHeap(info);
        return { info, put: (piece, at) => to.set(piece, at) };
      },
    };
  },
  cpu(backend) {
    const cpu = backend as BackendCpu;
    return {
      // Nothing else moves when one does: reading it is soon enough.
      bring() {},
      values: (tensor) => cpu.data.get(tensor.dataId).values,
      // Slicing fills memory once, where zeros would be written first.
      make: (shape, dtype, values) => cpu.makeTensorInfo(shape, dtype, values.slice()),
      room(shape, size) {
        const to = new Float32Array(size);
        return {
          info: cpu.makeTensorInfo(shape, "float32", to),
          put: (piece, at) => to.set(piece, at),
        };
      },
    };
  },
};
