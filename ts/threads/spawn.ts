/** Workers: made where the runtime has them, or the reason why there are none. */
import { BROWSER_WORKER, NODE_WORKER, type Orders } from "./worker.js";

/** A worker that was made. */
export interface Spawned {
  /** Ends it at once, whatever it is doing; in Node a promise of that. */
  terminate(): unknown;
}

/** Called when a worker has ended or can't begin, with the reason if it is an error. */
export type Ended = (reason: string | null) => void;

/** Of `node:worker_threads`, what is used. */
interface NodeThreads {
  Worker: new (
    text: string,
    options: object,
  ) => {
    on(event: string, listener: (detail: unknown) => void): void;
    unref(): void;
    terminate(): unknown;
  };
}

/** Of a runtime's globals, what is used here, where it is there. */
interface Runtime {
  readonly process?: {
    readonly versions?: { readonly node?: string };
    getBuiltinModule?(name: string): unknown;
  };
  readonly Worker?: new (
    address: string,
  ) => {
    onerror: ((event: { message?: string; preventDefault?(): void }) => void) | null;
    postMessage(message: unknown): void;
    terminate(): void;
  };
  readonly Blob?: new (parts: string[], options: object) => object;
  readonly URL?: { createObjectURL?(blob: object): string; revokeObjectURL?(url: string): void };
  readonly SharedArrayBuffer?: unknown;
  readonly crossOriginIsolated?: boolean;
  readonly navigator?: { readonly hardwareConcurrency?: number; readonly userAgent?: string };
}

const runtime = globalThis as Runtime;

const nodeThreads = (): NodeThreads | undefined =>
  runtime.process?.getBuiltinModule?.("node:worker_threads") as NodeThreads | undefined;

/** Why this runtime has no threads over one memory; `null` where it may have some. */
export function whyNone(): string | null {
  // First of all: where nobody can start a worker, no header helps.
  if (!nodeThreads() && !(runtime.Worker && runtime.URL?.createObjectURL)) {
    return runtime.process?.versions?.node
      ? "process.getBuiltinModule is missing: Node 20.16 and 22.3 have it"
      : "there is no Worker, as in service workers and worklets";
  }
  if (runtime.crossOriginIsolated === false) {
    return (
      "the page is not cross-origin isolated: it needs the headers " +
      "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp"
    );
  }
  return runtime.SharedArrayBuffer ? null : "there is no SharedArrayBuffer";
}

/** Processors that this program may use, 1 where nobody tells. */
export function processors(): number {
  try {
    const os = runtime.process?.getBuiltinModule?.("node:os") as
      | { availableParallelism?(): number }
      | undefined;
    const number = os?.availableParallelism?.() ?? runtime.navigator?.hardwareConcurrency;
    return number && number >= 1 ? Math.floor(number) : 1;
  } catch {
    return 1; // where permissions refuse to tell
  }
}

/**
 * Whether memory can't grow once workers have it: of WebKit's browsers. They have nothing else to be
 * told by, in workers; Chromium's claim to be WebKit, too, and Bun, which has its engine, doesn't.
 */
export function hasFixedMemory(): boolean {
  const agent = runtime.navigator?.userAgent ?? "";
  return /AppleWebKit/.test(agent) && !/Chrom/.test(agent);
}

/**
 * Makes a worker.
 *
 * @throws whatever the runtime refuses it with
 */
export function spawn(orders: Orders, ended: Ended): Spawned {
  const threads = nodeThreads();
  if (threads) {
    // Nothing of this process's: its flags may be such that a worker refuses.
    const options = { eval: true, workerData: orders, execArgv: [], stdin: false };
    const worker = new threads.Worker(NODE_WORKER, options);
    worker.on("error", (error) => ended(`${error}`));
    worker.on("exit", () => ended(null));
    // The process ends when all else has.
    worker.unref();
    return worker;
  }
  const { Worker, Blob, URL } = runtime as Required<Runtime>;
  const address = URL.createObjectURL?.(
    new Blob([BROWSER_WORKER], { type: "text/javascript" }),
  ) as string;
  try {
    const worker = new Worker(address);
    worker.onerror = (event) => {
      event.preventDefault?.();
      // One whose orders failed would wait for others.
      worker.terminate();
      ended(event.message || "a page's Content-Security-Policy needs worker-src blob:");
    };
    try {
      worker.postMessage(orders);
    } catch (error) {
      worker.terminate();
      throw error;
    }
    return worker;
  } finally {
    // Fetched by now, or at least asked for: what is revoked then is found all the same.
    URL.revokeObjectURL?.(address);
  }
}
