/**
 * With GROW_ON_ALLOCATE set, the memory's buffer is replaced at every allocation and
 * after every call of a kernel (whose workspace may have grown). A `Float32Array`
 * that the library kept beyond either has length 0 then, so it can't hide.
 */
import { defaultKernel, type Kernel } from "batchnorm-wasm";

if (process.env.GROW_ON_ALLOCATE) {
  const { memory } = defaultKernel();
  const before = memory.buffer;
  memory.grow(0);
  if (before.byteLength !== 0 || memory.buffer === before) {
    throw new Error("GROW_ON_ALLOCATE: memory.grow(0) doesn't detach the buffer in this runtime");
  }

  const prototype: Kernel = defaultKernel().constructor.prototype;
  const { allocate, run } = prototype;
  prototype.allocate = function (bytes, zeroed) {
    this.memory.grow(0);
    return allocate.call(this, bytes, zeroed);
  };
  prototype.run = function (operation) {
    run.call(this, operation);
    this.memory.grow(0);
  };
}
