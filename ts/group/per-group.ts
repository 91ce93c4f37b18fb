/**
 * Calls of group norm whose γ and β are a group's, as ONNX had them before opset 21: the kernel gets
 * each channel its group's, and the gradients of a group's channels are added up.
 */
import { Allocation } from "../core/allocation.js";
import { type Call, Place } from "../core/operands.js";
import { View } from "../core/view.js";
import { Contents } from "../generated/abi.js";

export const PER_GROUP = { perGroup: true, run: runPerGroup };

/** Runs a call that was checked. */
function runPerGroup(call: Call<View>): void {
  const { operands, channels, groups } = call;
  const { port } = (operands[Place.X] as View).allocation;
  const isBackward = operands[Place.DY] !== null;
  const read = isBackward ? [] : [Place.WEIGHT, Place.BIAS];
  const added = isBackward ? [Place.FIRST_ACCUMULATOR, Place.SECOND_ACCUMULATOR] : [];
  const together = channels / groups;
  const given = [...operands];
  const copies: View[] = [];
  try {
    operands.fill(null, Place.WEIGHT);
    // Views of memory are made when all is allocated: that may grow it.
    for (const place of [...read, ...added]) {
      if (given[place] === null) continue;
      const copy = new View(new Allocation(port, channels * 4, Contents.Zero), [channels]);
      operands[place] = copy;
      copies.push(copy);
    }
    for (const place of read) {
      const of = given[place]?.elements;
      operands[place]?.elements.forEach((_, channel, elements) => {
        elements[channel] = of?.[Math.floor(channel / together)] as number;
      });
    }
    port.record.run(call);
    for (const place of added) {
      const own = operands[place]?.elements;
      given[place]?.elements.forEach((before, group, elements) => {
        const ofGroup = own?.subarray(group * together, (group + 1) * together);
        elements[group] = ofGroup?.reduce((sum, one) => sum + one, before) as number;
      });
    }
  } finally {
    given.forEach((operand, place) => {
      operands[place] = operand;
    });
    for (const copy of copies) copy.dispose();
  }
}
