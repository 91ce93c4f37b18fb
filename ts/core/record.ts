/**
 * A call as the kernel reads it: a record of words in its memory. Nothing else calls an export
 * that computes.
 */
import { Abi, RecordNumber, RecordTensor, RecordWord, Status } from "./abi.js";
import { fail } from "./errors.js";
import { Contents, type Memory } from "./memory.js";
import { type Call, type Operand, Place } from "./operands.js";

/** Of the module's exports, those that compute. */
export interface ComputingExports {
  batch_norm(record: number): Status;
}

/** Of a record with the most axes, in words. */
const LENGTH = RecordWord.SIZES + Abi.RANK + RecordTensor.COUNT * (RecordTensor.WORDS + Abi.RANK);

/** The one record of a kernel, written anew for each call. */
export class CallRecord {
  declare readonly memory: Memory;
  // A function, not its name: the object that has it is slow to look into.
  readonly #batchNorm: ComputingExports["batch_norm"];
  readonly #address: number;
  #words = new Uint32Array(0);
  #numbers = new Float64Array(0);

  constructor(memory: Memory, exports: ComputingExports) {
    this.memory = memory;
    this.#batchNorm = exports.batch_norm;
    this.#address = memory.allocate(LENGTH * 4, Contents.ZERO);
  }

  /**
   * Runs a call that was checked; throws where it did not end well, and nothing was written
   * then. The record is written whole: nothing that an earlier call left can be reached.
   */
  run(call: Call): void {
    const { memory } = this;
    const { operands } = call;
    const { shape } = operands[Place.X] as Operand;
    const rank = shape.length;
    // A detached view has length 0; asking for its buffer would cost more than all else.
    if (this.#words.length === 0) {
      const { buffer } = memory.linear;
      this.#numbers = new Float64Array(buffer, this.#address, RecordNumber.COUNT);
      this.#words = new Uint32Array(buffer, this.#address, LENGTH);
    }
    const words = this.#words;
    const numbers = this.#numbers;
    numbers[RecordNumber.EPS] = call.eps;
    numbers[RecordNumber.MOMENTUM] = call.momentum;
    numbers[RecordNumber.CORRECTION] = call.correction;
    words[RecordWord.OPERATION] = call.operation;
    words[RecordWord.AXIS] = call.axis;
    words[RecordWord.RANK] = rank;
    words[RecordWord.SAVED] = call.saved;
    words[RecordWord.CONSTANT] = call.constant ? 1 : 0;
    for (let i = Place.WEIGHT; i <= Place.SECOND; i++) {
      words[i + (RecordWord.VECTORS - Place.WEIGHT)] = operands[i]?.address ?? 0;
    }
    let at = RecordWord.SIZES as number;
    for (let i = 0; i < rank; i++) words[at++] = shape[i] as number;
    // Those that there are, then zeros.
    const end = at + RecordTensor.COUNT * (RecordTensor.WORDS + rank);
    for (let i = Place.X; i <= Place.OUT; i++) {
      const tensor = operands[i];
      if (!tensor) continue;
      words[at++] = tensor.address;
      words[at++] = tensor.extent;
      for (let axis = 0; axis < rank; axis++) words[at++] = tensor.strides[axis] as number;
    }
    while (at < end) words[at++] = 0;
    let status = Status.OK;
    memory.check();
    try {
      status = this.#batchNorm(this.#address);
    } catch (trap) {
      memory.check(trap ?? "nothing");
    }
    if (status === Status.OK) return;
    if (status === Status.OUT_OF_MEMORY) memory.failForMemory("the workspace");
    if (status === Status.NEGATIVE_VARIANCE) {
      fail("invalid-option", `${call.owner}: variance must not be negative`);
    }
    fail("kernel", `the kernel refused a call, please report this bug: ${status}`);
  }
}
