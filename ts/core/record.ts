/**
 * A call as the kernel reads it: a record of words in its memory. Nothing else calls an export
 * that computes.
 */
import { Contents, RecordNumber, RecordSize, Status, Word } from "../generated/abi.js";
import { fail } from "./errors.js";
import type { Memory } from "./memory.js";
import { type Call, type Operand, Place } from "./operands.js";

/** Of the module's exports, those that compute. */
export interface ComputingExports {
  run(record: number): Status;
}

/** Of a record with the most axes, in words. */
const LENGTH =
  Word.Sizes + RecordSize.MaxRank + RecordSize.Tensors * (RecordSize.Tensor + RecordSize.MaxRank);

/** The tensors of a record, in their order. */
const TENSORS = [Place.X, Place.DY, Place.OUT];

/** The one record of a kernel, written anew for each call. */
export class CallRecord {
  declare readonly memory: Memory;
  // A function, not its name: the object that has it is slow to look into.
  readonly #run: ComputingExports["run"];
  readonly #address: number;
  #words: Uint32Array = new Uint32Array(0);
  #numbers: Float64Array = new Float64Array(0);

  constructor(memory: Memory, exports: ComputingExports) {
    this.memory = memory;
    this.#run = exports.run;
    this.#address = memory.allocate(LENGTH * 4, Contents.Zero);
  }

  /**
   * Runs a call that was checked; throws where it did not end well, and nothing was written
   * then. The record is written whole: nothing that an earlier call left can be reached.
   */
  run(call: Call): void {
    const { memory } = this;
    const { operands, axis, channels } = call;
    const { shape } = operands[Place.X] as Operand;
    // The axes of a row, which lie end to end, are one.
    const isRow = call.rows !== null;
    const rank = isRow ? axis + 1 : shape.length;
    // A detached view has length 0; asking for its buffer would cost more than all else.
    if (this.#words.length === 0) {
      const { buffer } = memory.linear;
      this.#numbers = new Float64Array(buffer, this.#address, RecordNumber.Count);
      this.#words = new Uint32Array(buffer, this.#address, LENGTH);
    }
    const words = this.#words;
    const numbers = this.#numbers;
    numbers[RecordNumber.Eps] = call.eps;
    numbers[RecordNumber.Momentum] = call.momentum;
    numbers[RecordNumber.Correction] = call.correction;
    numbers[RecordNumber.Slope] = call.slope;
    words[Word.Operation] = call.operation;
    words[Word.Axis] = axis;
    words[Word.Rank] = rank;
    words[Word.Saved] = call.saved;
    words[Word.Constant] = call.constant ? 1 : 0;
    words[Word.Groups] = call.groups;
    words[Word.Renorm] = call.renorm;
    for (let i = Place.WEIGHT; i <= Place.ELEMENT_WEIGHTS; i++) {
      words[i + (Word.Weight - Place.WEIGHT)] = operands[i]?.address ?? 0;
    }
    let at = Word.Sizes as number;
    for (let i = 0; i < rank; i++) words[at++] = i === axis ? channels : (shape[i] as number);
    // Those that there are, as many as the operation has.
    const places = call.through?.places ?? TENSORS;
    for (let k = 0; k < places.length; k++) {
      const tensor = operands[places[k] as Place];
      if (!tensor) continue;
      words[at++] = tensor.address;
      words[at++] = tensor.extent;
      for (let i = 0; i < rank; i++) words[at++] = tensor.strides[i] as number;
      if (isRow) words[at - 1] = 1;
    }
    let status = Status.Ok;
    memory.check();
    try {
      status = this.#run(this.#address);
    } catch (trap) {
      memory.check(trap ?? "nothing");
    }
    if (status === Status.Ok) return;
    if (status === Status.OutOfMemory) memory.failForMemory("the workspace");
    if (status === Status.NegativeVariance) {
      fail("invalid-option", `${call.owner}: variance must not be negative`);
    }
    fail("kernel", `the kernel refused a call, please report this bug: ${status}`);
  }
}
