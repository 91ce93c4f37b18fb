/** One training step of batch norm on 32×64×56×56, beside a plain JavaScript loop. */
import { BatchNorm2d, reserve, Tensor } from "batchnorm-wasm";

const [N, C, INNER] = [32, 64, 56 * 56];
const ROUNDS = 5;

/** Prints the median times of a forward and backward pass, in ms. */
export function timeStep(): void {
  const shape = [N, C, 56, 56];
  reserve(4 * N * C * INNER * 4);
  const [x, y, dy, dx] = [0, 1, 2, 3].map(() => Tensor.zeros(shape)) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  for (let i = 0; i < x.size; i++) {
    x.data[i] = Math.sin(i);
    dy.data[i] = Math.cos(i);
  }
  const bn = new BatchNorm2d(C);
  const ours = () => {
    bn.forward(x, { out: y });
    bn.backward(dy, { out: dx });
  };
  const [px, pdy] = [x.toFloat32Array(), dy.toFloat32Array()];
  const [py, pdx] = [new Float32Array(x.size), new Float32Array(x.size)];
  const loop = () => plainStep(px, py, pdy, pdx);

  const times: [number[], number[]] = [[], []];
  for (let round = 0; round <= ROUNDS; round++) {
    [ours, loop].forEach((run, i) => {
      const start = performance.now();
      run();
      // The first round compiles.
      if (round > 0) times[i]?.push(performance.now() - start);
    });
  }
  const [a, b] = times.map((some) => some.sort((p, q) => p - q)[ROUNDS >> 1] as number);
  console.log(
    `\nforward + backward of batch norm on [${shape.join(", ")}]: ` +
      `${a?.toFixed(1)} ms, a plain JavaScript loop ${b?.toFixed(1)} ms`,
  );
}

/** What one writes without a library. */
function plainStep(x: Float32Array, y: Float32Array, dy: Float32Array, dx: Float32Array): void {
  const count = N * INNER;
  for (let c = 0; c < C; c++) {
    // Every element of channel c: `each` would be slower than these loops.
    let [sum, squares, sumDy, products] = [0, 0, 0, 0];
    for (let n = 0; n < N; n++) {
      const start = (n * C + c) * INNER;
      for (let i = start; i < start + INNER; i++) sum += x[i] as number;
    }
    const mean = sum / count;
    for (let n = 0; n < N; n++) {
      const start = (n * C + c) * INNER;
      for (let i = start; i < start + INNER; i++) squares += ((x[i] as number) - mean) ** 2;
    }
    const inverseStd = 1 / Math.sqrt(squares / count + 1e-5);
    for (let n = 0; n < N; n++) {
      const start = (n * C + c) * INNER;
      for (let i = start; i < start + INNER; i++) {
        const normalized = ((x[i] as number) - mean) * inverseStd;
        y[i] = normalized;
        sumDy += dy[i] as number;
        products += (dy[i] as number) * normalized;
      }
    }
    for (let n = 0; n < N; n++) {
      const start = (n * C + c) * INNER;
      for (let i = start; i < start + INNER; i++) {
        const normalized = ((x[i] as number) - mean) * inverseStd;
        const rest = (sumDy + normalized * products) / count;
        dx[i] = inverseStd * ((dy[i] as number) - rest);
      }
    }
  }
}
