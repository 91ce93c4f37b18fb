/**
 * Of TensorFlow.js, what is used here. Its own types would have everybody who reads ours install it,
 * and bring errors of their own (WebGPU's against the DOM library's).
 */

/** Where a tensor's values are, as a kernel gets it. */
export interface TensorInfo {
  readonly dataId: object;
  readonly shape: number[];
  readonly dtype: string;
}

export interface Tensor extends TensorInfo {
  readonly rank: number;
  readonly size: number;
}

export interface Attributes {
  readonly [name: string]: unknown;
}

/** Inputs of a kernel, by name: what is absent has no key. */
export interface Inputs<T extends TensorInfo = TensorInfo> {
  readonly [name: string]: T | undefined;
}

export interface KernelConfig {
  readonly kernelName: string;
  readonly backendName: string;
  readonly kernelFunc: (call: KernelCall) => TensorInfo | TensorInfo[];
  readonly setupFunc?: (backend: object) => void;
}

export interface KernelCall {
  readonly inputs: Inputs;
  readonly backend: object;
  readonly attrs: Attributes;
}

export interface GradConfig {
  readonly kernelName: string;
  readonly inputsToSave?: readonly string[];
  readonly outputsToSave?: readonly boolean[];
  readonly gradFunc: (
    dy: Tensor | Tensor[],
    saved: readonly Tensor[],
    attrs: Attributes,
  ) => { [input: string]: () => Tensor };
}

/** A layer's class, as it is registered for loading. */
export interface LayerClass {
  // biome-ignore lint/suspicious/noExplicitAny: TypeScript wants it of a class that is extended
  new (...args: any[]): Layer;
  readonly className: string;
  readonly prototype: Layer;
}

/** A weight of a layer. */
export interface LayerVariable {
  read(): Tensor;
  write(value: Tensor): unknown;
}

export interface Layer {
  call(inputs: Tensor | Tensor[], kwargs: { readonly training?: unknown }): Tensor | Tensor[];
}

/** The namespace of `@tensorflow/tfjs-core`, or of what has it all. */
export interface Tf {
  getKernel(name: string, backend: string): KernelConfig | undefined;
  registerKernel(config: KernelConfig): void;
  unregisterKernel(name: string, backend: string): void;
  getGradient(name: string): GradConfig | undefined;
  registerGradient(config: GradConfig): void;
  unregisterGradient(name: string): void;
  getBackend(): string;
  engine(): {
    runKernel(name: string, inputs: object, attrs: object): Tensor | Tensor[];
    /** How many gradients are being recorded. */
    readonly state: { readonly gradientDepth: number };
  };
  tidy<T>(fn: () => T): T;
  readonly serialization: {
    readonly SerializationMap: {
      getMap(): { readonly classNameMap: { [name: string]: readonly [LayerClass, unknown] } };
      register: (layer: LayerClass) => void;
    };
  };
  add(a: Tensor, b: Tensor | number): Tensor;
  sub(a: Tensor, b: Tensor): Tensor;
  mul(a: Tensor, b: Tensor): Tensor;
  square(x: Tensor): Tensor;
  rsqrt(x: Tensor): Tensor;
  sum(x: Tensor, axes?: readonly number[], keepDims?: boolean): Tensor;
  mean(x: Tensor, axes: readonly number[], keepDims?: boolean): Tensor;
  reshape(x: Tensor, shape: readonly number[]): Tensor;
  scalar(value: number): Tensor;
  ones(shape: readonly number[]): Tensor;
  zeros(shape: readonly number[]): Tensor;
  zerosLike(x: Tensor): Tensor;
  batchNorm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    offset?: Tensor,
    scale?: Tensor,
    epsilon?: number,
  ): Tensor;
}
