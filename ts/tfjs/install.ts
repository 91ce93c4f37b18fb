/** Puts our kernels, gradients and layers into tfjs, and takes them out again. */
import { fail, mustBe } from "../core/errors.js";
import { initialBytesOf } from "../core/instance.js";
import { readOptions } from "../core/options.js";
import { show } from "../core/show.js";
import { composedFused } from "./composed.js";
import { overFusedGradient, ownGradients } from "./gradients.js";
import type { BackendName } from "./hosts.js";
import { FUSED_BATCH_NORM, Kernels, overFused, ownKernels } from "./kernels.js";
import { PATCHES } from "./layers.js";
import { MARK } from "./mark.js";
import { INITIAL_BYTES, setInitialBytes } from "./memory.js";
import { registerLayers } from "./normalizations.js";
import type { GradConfig, KernelConfig, Layer, LayerClass, Tensor, Tf } from "./types.js";

/**
 * The namespace of tfjs: `import * as tf` from `@tensorflow/tfjs` or `@tensorflow/tfjs-core`, or the
 * global `tf` of its script. Told apart by some of its functions.
 */
export interface TfNamespace {
  readonly getKernel: (...args: never[]) => unknown;
  readonly registerKernel: (...args: never[]) => unknown;
  readonly registerGradient: (...args: never[]) => unknown;
  readonly batchNorm: (...args: never[]) => unknown;
  readonly serialization: object;
}

/** Options of `install`. */
export interface InstallOptions {
  /** Which backends compute by our kernels; default both. */
  backends?: readonly ("wasm" | "cpu")[] | null | undefined;
  /**
   * Bytes that our memory has from the start; default 128 MiB, of which only what is used takes room.
   * A backward pass takes twice its input's, a forward pass once. What needs more grows it, and that
   * slows tfjs's cpu backend.
   */
  initialBytes?: number | null | undefined;
}

const BACKENDS: readonly BackendName[] = ["wasm", "cpu"];

/** Of an installation, what another copy of this package may ask. */
interface Shared {
  add(tf: Tf): void;
  uninstall(): void;
  readonly namespaces: ReadonlySet<Tf>;
}

/** What is installed where a global tfjs looks for kernels: all copies of tfjs-core share that. */
class Installation implements Shared {
  readonly namespaces = new Set<Tf>();
  readonly #backends: readonly BackendName[];
  /** What takes out what was put in, last first. */
  #undo: (() => void)[] = [];

  constructor(tf: Tf, backends: readonly BackendName[]) {
    this.#backends = backends;
    for (const backend of backends) {
      // tfjs calls it for each backend that starts: so the order of imports doesn't matter.
      for (const kernel of ownKernels(backend, () => this.#arm())) {
        tf.registerKernel(Object.assign(kernel, { [MARK]: this }));
        this.#undo.push(() => {
          if (tf.getKernel(kernel.kernelName, backend) === kernel) {
            tf.unregisterKernel(kernel.kernelName, backend);
          }
        });
      }
    }
    for (const gradient of ownGradients(tf)) {
      tf.registerGradient(gradient);
      this.#undo.push(() => {
        if (tf.getGradient(gradient.kernelName) === gradient) {
          tf.unregisterGradient(gradient.kernelName);
        }
      });
    }
    this.add(tf);
  }

  /** Another copy of tfjs-core, which has classes of its own; not another namespace of the same. */
  add(tf: Tf): void {
    const { SerializationMap } = tf.serialization;
    for (const one of this.namespaces) {
      if (one.serialization.SerializationMap === SerializationMap) return;
    }
    this.namespaces.add(tf);
    const register = SerializationMap.register;
    // Layers that are imported later.
    const registerOurs = (layer: LayerClass) => {
      register.call(SerializationMap, layer);
      if (this.namespaces.has(tf)) this.#patchLayers(tf);
    };
    SerializationMap.register = registerOurs;
    this.#undo.push(() => {
      if (SerializationMap.register === registerOurs) SerializationMap.register = register;
    });
    this.#arm();
  }

  uninstall(): void {
    this.namespaces.clear();
    for (const undo of this.#undo.splice(0).reverse()) undo();
  }

  /** Puts in what there is something to put it before of by now. */
  #arm(): void {
    for (const tf of this.namespaces) {
      for (const backend of this.#backends) this.#overKernel(tf, backend);
      this.#overGradient(tf);
      this.#patchLayers(tf);
    }
  }

  #overKernel(tf: Tf, backend: BackendName): void {
    const original = tf.getKernel(FUSED_BATCH_NORM, backend);
    if (!original || MARK in original) return;
    const put = (config: KernelConfig) => {
      // Or it warns.
      tf.unregisterKernel(FUSED_BATCH_NORM, backend);
      tf.registerKernel(config);
    };
    const ours = overFused(original, backend, (inputs, epsilon) =>
      tf.tidy(() => composedFused(tf, inputs as { [name: string]: Tensor }, epsilon)),
    );
    put(Object.assign(ours, { [MARK]: this }));
    this.#undo.push(() => {
      if (tf.getKernel(FUSED_BATCH_NORM, backend) === ours) put(original);
    });
  }

  #overGradient(tf: Tf): void {
    const original = tf.getGradient(FUSED_BATCH_NORM);
    if (!original || MARK in original) return;
    const put = (config: GradConfig) => {
      tf.unregisterGradient(FUSED_BATCH_NORM);
      tf.registerGradient(config);
    };
    const ours = Object.assign(overFusedGradient(original, tf), { [MARK]: this });
    put(ours);
    this.#undo.push(() => {
      if (tf.getGradient(FUSED_BATCH_NORM) === ours) put(original);
    });
  }

  #patchLayers(tf: Tf): void {
    const { classNameMap } = tf.serialization.SerializationMap.getMap();
    for (const name in PATCHES) {
      const prototype = classNameMap[name]?.[0].prototype;
      if (!prototype || MARK in prototype.call) continue;
      const theirs = prototype.call;
      const patch = PATCHES[name] as (tf: Tf, theirs: Layer["call"]) => Layer["call"];
      const ours = Object.assign(patch(tf, theirs), { [MARK]: this });
      prototype.call = ours;
      this.#undo.push(() => {
        if (prototype.call === ours) prototype.call = theirs;
      });
    }
    const takeOut = registerLayers(tf);
    if (takeOut) this.#undo.push(takeOut);
  }
}

/** What is installed already, by this copy of the package or another. */
function installed(tf: Tf): Shared | undefined {
  for (const backend of BACKENDS) {
    const kernel = tf.getKernel(Kernels.Forward, backend) as { [MARK]?: Shared } | undefined;
    if (kernel) return kernel[MARK];
  }
  return undefined;
}

/**
 * Has TensorFlow.js normalize by our kernels, on its `wasm` and `cpu` backends: `tf.batchNorm` and its
 * gradient, `tf.layers.batchNormalization` and `layerNormalization` in training and inference, and what
 * else ends there, such as graph models. Models stay plain tfjs models. Its other backends are left as
 * they are.
 *
 * `import "batchnorm-wasm/tfjs"` does it for what `@tensorflow/tfjs-core` is there. Call it where tfjs
 * comes as a script, or where there are two copies of it. Backends and layers may come later; to do it
 * twice does nothing more, but that the last options count.
 *
 * @param tf the namespace of tfjs, of version 4
 * @returns takes all of it out again, for every copy
 * @throws BatchNormError `invalid-option` where `tf` or an option is something else, `unknown-option`
 *
 * @example
 * import { install } from "batchnorm-wasm/tfjs/install";
 * const uninstall = install(globalThis.tf, { backends: ["wasm"] });
 * uninstall();   // as it was
 */
export function install(tf: TfNamespace, options?: InstallOptions | null): () => void {
  const owner = "install";
  const core = namespaceOf(tf, owner);
  const given = readOptions(owner, options, ["backends", "initialBytes"]);
  const backends = readBackends(given.backends, owner);
  const { initialBytes } = given;
  const bytes = initialBytes == null ? INITIAL_BYTES : initialBytesOf(owner, { initialBytes });
  let installation = installed(core);
  const others = installation ? [...installation.namespaces] : [];
  if (installation && options == null) installation.add(core);
  else {
    installation?.uninstall();
    setInitialBytes(bytes);
    installation = new Installation(core, backends);
    for (const other of others) installation.add(other);
  }
  return () => installation.uninstall();
}

/** What is of `tf` itself, also where a bundler has put it under `default`. */
function namespaceOf(given: unknown, owner: string): Tf {
  const isTf = (one: unknown) =>
    ["getKernel", "registerKernel", "registerGradient", "batchNorm"].every(
      (name) => typeof Object(one)[name] === "function",
    ) && typeof Object(one).serialization === "object";
  if (isTf(given)) return given as Tf;
  const inner: unknown = Object(given).default;
  if (isTf(inner)) return inner as Tf;
  return mustBe(
    "invalid-option",
    `${owner}: tf`,
    "the namespace of @tensorflow/tfjs or @tensorflow/tfjs-core, version 4",
    given,
  );
}

function readBackends(given: unknown, owner: string): readonly BackendName[] {
  if (given == null) return BACKENDS;
  const backends = Array.isArray(given) ? [...given] : [];
  if (backends.length === 0 || !backends.every((one) => BACKENDS.includes(one))) {
    fail(
      "invalid-option",
      `${owner}: backends must be some of "wasm", "cpu", got ${
        Array.isArray(given) ? `[${backends.map(show).join(", ")}]` : show(given)
      }`,
    );
  }
  return backends;
}
