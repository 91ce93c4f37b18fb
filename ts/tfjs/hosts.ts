/** Values of tensors of tfjs's backends: where they are, and how new ones are made. */
import { sizeOf } from "../core/geometry.js";
import type { TensorInfo } from "./types.js";

/** The backends that compute by our kernels. */
export type BackendName = "wasm" | "cpu";

/** A tensor that is being written. */
export interface Room {
  /** Copies a piece to its place, or all. */
  put(piece: Float32Array, at: number): void;
  /** The tensor, once all of it is there. */
  made(): TensorInfo;
  /** Gives it up. */
  drop(): void;
}

/** Has `fill` fill a new tensor like one: it gives that up where it throws. */
export function inRoom<T>(host: Host, like: TensorInfo, fill: (room: Room) => T): T {
  const room = host.room(like);
  try {
    return fill(room);
  } catch (error) {
    room.drop();
    throw error;
  }
}

/** A backend. */
export interface Host {
  /** Has a tensor in this backend's memory, from whichever it is in. */
  bring(tensor: TensorInfo): void;
  /** The values of a tensor that was brought; of wasm until the next one is brought or made. */
  values(tensor: TensorInfo): Float32Array | Int32Array;
  /** A new tensor with a copy of values. */
  make(shape: number[], dtype: "float32" | "int32", values: Float32Array | Int32Array): TensorInfo;
  /** A new tensor of float32 that `write` writes whole. */
  fill(shape: number[], write: (to: Float32Array) => void): TensorInfo;
  /** A new tensor of float32 and of the shape of one, which is filled piece by piece. */
  room(like: TensorInfo): Room;
}

/** What is used of `BackendWasm`. */
interface BackendWasm {
  readonly dataIdMap: { get(dataId: object): unknown };
  makeOutput(shape: number[], dtype: string): TensorInfo;
  disposeData(dataId: object): void;
  typedArrayFromHeap(tensor: TensorInfo): Float32Array | Int32Array;
}

/** What is used of `MathBackendCPU`. */
interface BackendCpu {
  readonly data: { get(dataId: object): { readonly values: Float32Array | Int32Array } };
  makeTensorInfo(shape: number[], dtype: string, values: Float32Array | Int32Array): TensorInfo;
}

/** By backends: making one anew would cost a small call more than looking it up. */
const hosts = /* @__PURE__ */ new WeakMap<object, Host>();

/** A backend as a host. */
export function hostOf(name: BackendName, backend: object): Host {
  const host = hosts.get(backend) ?? HOSTS[name](backend);
  hosts.set(backend, host);
  return host;
}

const HOSTS: { readonly [name in BackendName]: (backend: object) => Host } = {
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
      fill(shape, write) {
        const info = wasm.makeOutput(shape, "float32");
        write(wasm.typedArrayFromHeap(info) as Float32Array);
        return info;
      },
      room({ shape }) {
        const info = wasm.makeOutput(shape, "float32");
        const to = wasm.typedArrayFromHeap(info);
        return {
          put: (piece, at) => to.set(piece, at),
          made: () => info,
          drop: () => wasm.disposeData(info.dataId),
        };
      },
    };
  },
  cpu(backend) {
    const cpu = backend as BackendCpu;
    return {
      // Nothing else moves when one does: reading it is soon enough.
      bring() {},
      values: (tensor) => cpu.data.get(tensor.dataId).values,
      // Slicing takes memory that was used before, where zeros are fetched page by page.
      make: (shape, dtype, values) => cpu.makeTensorInfo(shape, dtype, values.slice()),
      fill(shape, write) {
        const values = new Float32Array(sizeOf(shape));
        write(values);
        return cpu.makeTensorInfo(shape, "float32", values);
      },
      room({ dataId, shape }) {
        const { values } = cpu.data.get(dataId);
        let all: Float32Array | undefined;
        return {
          put(piece, at) {
            const isAll = piece.length === values.length;
            all ??= isAll ? piece.slice() : new Float32Array(values.length);
            if (!isAll) all.set(piece, at);
          },
          made: () => cpu.makeTensorInfo(shape, "float32", all as Float32Array),
          // Nobody has it yet.
          drop() {},
        };
      },
    };
  },
};
