/**
 * What the sources use of a runtime, and nothing else: the package is built without the DOM
 * library and Node's types, so that its declarations need neither (`tsconfig.build.json`).
 */
type BufferSource = ArrayBuffer | ArrayBufferView;

declare namespace WebAssembly {
  class Module {
    constructor(bytes: BufferSource);
  }
  class Instance {
    constructor(module: Module, imports?: object);
    readonly exports: Record<string, unknown>;
  }
  class Memory {
    constructor(limits: { initial: number; maximum: number; shared?: boolean });
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }
  function validate(bytes: BufferSource): boolean;
  function instantiate(bytes: BufferSource): Promise<{ module: Module; instance: Instance }>;
  function instantiate(module: Module): Promise<Instance>;
}

declare class TextEncoder {
  encodeInto(text: string, into: Uint8Array): void;
}

declare function fetch(address: string): Promise<object>;

declare const performance: { now(): number };
