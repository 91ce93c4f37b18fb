/**
 * What an operation costs over a `memory.copy` of its input inside WebAssembly,
 * the limit that memory sets.
 *
 *     npm run bench
 *
 * Contestants are interleaved in rounds of one run; ratios are taken round by
 * round, and the table shows their medians (and quartiles).
 */
import { medianSorted, quantileSorted } from "simple-statistics";
import { BatchNorm, defaultKernel, memoryUsage, reserve, Tensor } from "../../dist/entry/inline.js";

const ROUNDS = Number(process.env.ROUNDS ?? 40);
const CELLS = [
  { name: "channels-first", shape: [32, 64, 56, 56], axis: 1 },
  { name: "channels-last", shape: [32, 56, 56, 64], axis: -1 },
  { name: "[N, C]", shape: [4096, 256], axis: 1 },
];

// (func (export "copy") (param i32 i32 i32)
//   local.get 0  local.get 1  local.get 2  memory.copy)  over an imported memory
const COPY = Buffer.from(
  "AGFzbQEAAAABBwFgA39/fwACDAEABm1lbW9yeQIAAAMCAQAHCAEEY29weQAACg4BDAAgACABIAL8CgAACw==",
  "base64",
);
const { memory } = defaultKernel();
const { copy } = new WebAssembly.Instance(new WebAssembly.Module(COPY), { "": { memory } }).exports;

/** Contestants of a cell, by name; the first is what the others are measured against. */
function contestants({ shape, axis }) {
  const [x, y, dy, dx] = Array.from({ length: 4 }, () => Tensor.zeros(shape));
  for (let i = 0; i < x.size; i++) {
    x.data[i] = Math.sin(i);
    dy.data[i] = Math.cos(i);
  }
  const layer = () => new BatchNorm(shape.at(axis), { axis });
  const [trained, inferring] = [layer().train(), layer().eval()];
  const runs = {
    copy: () => copy(y.address, x.address, x.size * 4),
    inference: () => inferring.forward(x, { out: y }),
    training: () => trained.forward(x, { out: y }),
    backward: () => trained.backward(dy, { out: dx }),
  };
  const dispose = () => {
    for (const one of [x, y, dy, dx, trained, inferring]) one.dispose();
  };
  return { runs, bytes: x.size * 4, dispose };
}

/** Times of each contestant in ms, one a round. */
function measure(runs, bytes) {
  const names = Object.keys(runs);
  const times = Object.fromEntries(names.map((name) => [name, []]));
  // Enough calls at once that the clock's resolution doesn't count.
  const calls = Math.max(1, Math.round(4e6 / bytes));
  for (let round = -5; round < ROUNDS; round++) {
    for (const name of names) {
      const start = performance.now();
      for (let call = 0; call < calls; call++) runs[name]();
      if (round >= 0) times[name].push((performance.now() - start) / calls);
    }
  }
  return times;
}

const sorted = (values) => [...values].sort((a, b) => a - b);
const show = (value) => value.toFixed(2).padStart(6);

reserve((4.2 * 32 * 64 * 56 * 56 * 4) | 0);
console.log(`${ROUNDS} rounds, Node ${process.version}, one thread\n`);
console.log("cell            shape             operation       ms   over copy (quartiles)");
for (const cell of CELLS) {
  const { runs, bytes, dispose } = contestants(cell);
  const times = measure(runs, bytes);
  for (const name of Object.keys(runs)) {
    const ratios = sorted(times[name].map((time, round) => time / times.copy[round]));
    const [low, middle, high] = [0.25, 0.5, 0.75].map((q) => quantileSorted(ratios, q));
    console.log(
      `${cell.name.padEnd(15)} ${cell.shape.join("×").padEnd(15)}  ${name.padEnd(10)} ` +
        `${show(medianSorted(sorted(times[name])))}  ${show(middle)} (${show(low)} – ${show(high)})`,
    );
  }
  dispose();
}
console.log(`\nkernel memory: ${(memoryUsage().memoryBytes / 2 ** 20).toFixed(0)} MiB`);
