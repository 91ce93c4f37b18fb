/**
 * Pixels as a canvas has them: bytes of red, green, blue and alpha. Strides read the colours where
 * they lie, over as many pictures as there are, and alpha counts for nothing.
 *
 *     npx tsx examples/cookbook/pixels.ts
 */
import assert from "node:assert/strict";
import { Moments, RunningMoments } from "batchnorm-wasm";

const [PICTURES, WIDTH, HEIGHT] = [5, 32, 24];

/** As `context.getImageData(0, 0, WIDTH, HEIGHT)` gives it. */
function picture(which: number): { data: Uint8ClampedArray; width: number; height: number } {
  const data = Uint8ClampedArray.from({ length: 4 * WIDTH * HEIGHT }, (_, i) =>
    i % 4 === 3 ? 255 : 60 * (1 + (i % 4)) + 40 * Math.sin(i * i + which),
  );
  return { data, width: WIDTH, height: HEIGHT };
}

/** Its red, green and blue, of which nothing is repacked: [H, W, 3]. */
function colours({ data, width, height }: ReturnType<typeof picture>) {
  return { data, shape: [height, width, 3], strides: [4 * width, 4, 1] };
}

const scaler = new RunningMoments();
for (let i = 0; i < PICTURES; i++) scaler.update(colours(picture(i)));
assert.equal(scaler.count, PICTURES * WIDTH * HEIGHT);
console.log(`mean colour ${[...scaler.mean].map((value) => value.toFixed(1))}`);

// What a network takes: float32, [H, W, 3], each colour with mean 0 and variance 1 over all pictures.
const input = scaler.normalize(colours(picture(0)));
const { mean, variance } = Moments.of(input, { axis: -1 });
assert.deepEqual(input.shape, [HEIGHT, WIDTH, 3]);
mean.forEach((value, c) => {
  assert.ok(Math.abs(value) < 0.1 && Math.abs((variance[c] as number) - 1) < 0.1);
});
console.log(`a picture, normalized: mean ${[...mean].map((value) => value.toFixed(3))}`);
