/**
 * `npm run test:threads`: calls of random sizes while threads start, stop and die, memory grows, and
 * more threads than processors take parts; every result is compared with one thread's.
 *
 *   -- --calls 100000   how many; default 20000
 *   -- --seed 7         others
 */
import { createKernel, type Kernel, Tensor } from "batchnorm-wasm";
import { kernelBytes } from "../../scripts/kernel/under-test.mjs";
import { Random } from "../../scripts/random.mjs";
import { STACK_BYTES } from "../../ts/threads/crew.js";
import { newCrew } from "./crewed.js";
import { differences, run } from "./programs.js";

/** What happened. */
export interface Tally {
  calls: number;
  shared: number;
  byOthers: number;
  killed: number;
  grown: number;
  most: number;
}

/** Elements that are cut into two parts and more, and those of small calls between. */
const SIZES = [70_000, 140_000, 3000];

/** Programs whose results are kept, so that most time goes to the threads. */
const PROGRAMS = 60;

/** Up to where memory grows. */
const MOST_BYTES = 2 ** 30;

/** Runs so many calls. Throws where a result differs. */
export async function stress(calls: number, seed: number): Promise<Tally> {
  const random = new Random(seed);
  const ordinary = createKernel(kernelBytes);
  const { kernel, crew } = newCrew({ patience: 0.1 });
  const wanted = new Map<string, ReturnType<typeof run>>();
  const tally: Tally = { calls: 0, shared: 0, byOthers: 0, killed: 0, grown: 0, most: 0 };
  const bytes = () => kernel.memory.buffer.byteLength;
  let held: Tensor[] = [];
  for (; tally.calls < calls; tally.calls++) {
    const chance = random.below(400);
    if (chance < 4) crew.set(1 + random.below(8));
    else if (chance === 4) crew.shutdown();
    else if (chance === 5) {
      // Between calls: inside of one is the matter of another test.
      await crew.inspect().kill(1 + random.below(7));
      tally.killed++;
    } else if (chance === 6 && bytes() < MOST_BYTES) {
      // What was given back is taken first.
      for (const before = bytes(); bytes() === before; ) {
        held.push(Tensor.zeros([2 ** 20 * (1 + random.below(4))], { kernel }));
      }
      tally.grown++;
    } else if (chance === 7) {
      for (const tensor of held) tensor.dispose();
      held = [];
    }
    // Now and then threads begin, end and are told of each other's ends.
    if (random.oneIn(50)) await new Promise((resolve) => setTimeout(resolve, random.below(3)));
    tally.most = Math.max(tally.most, crew.report().ready);
    const program = random.below(PROGRAMS);
    const most = SIZES[program % SIZES.length] as number;
    const key = `${program}`;
    const want = wanted.get(key) ?? run(program, ordinary, most);
    wanted.set(key, want);
    const wrong = differences(run(program, kernel, most), want);
    if (wrong.length > 0) {
      throw new Error(`call ${tally.calls}, program ${program}: ${wrong} differ`);
    }
  }
  checkStacks(kernel, crew.inspect().stacks);
  ({ shared: tally.shared, byOthers: tally.byOthers } = crew.inspect());
  crew.shutdown();
  return tally;
}

/** A stack was zeros, and grows downwards: nobody has come near its end. */
export function checkStacks(kernel: Kernel, stacks: readonly number[]): void {
  if (stacks.length === 0) throw new Error("no thread has a stack");
  for (const stack of stacks) {
    const lower = new Uint8Array(kernel.memory.buffer, stack, STACK_BYTES / 2);
    const used = lower.findIndex((byte) => byte !== 0);
    if (used >= 0) throw new Error(`a thread's stack came within ${used} bytes of its end`);
  }
}
