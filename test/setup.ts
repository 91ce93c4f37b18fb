/**
 * With GROW_ON_ALLOCATE set, the memory's buffer is replaced at every allocation and
 * after every call of a kernel (whose workspace may have grown). A `Float32Array`
 * that the library kept beyond either has length 0 then, so it can't hide.
 */
import { Memory } from "../ts/core/memory.js";
import { CallRecord } from "../ts/core/record.js";

if (process.env.GROW_ON_ALLOCATE) {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const before = memory.buffer;
  memory.grow(0);
  if (before.byteLength !== 0 || memory.buffer === before) {
    throw new Error("GROW_ON_ALLOCATE: memory.grow(0) doesn't detach the buffer in this runtime");
  }

  const { take } = Memory.prototype;
  Memory.prototype.take = function (bytes, contents) {
    this.linear.grow(0);
    return take.call(this, bytes, contents);
  };
  const { run } = CallRecord.prototype;
  CallRecord.prototype.run = function (call) {
    run.call(this, call);
    this.memory.linear.grow(0);
  };
}
