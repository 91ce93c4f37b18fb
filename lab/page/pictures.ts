/** What is drawn of a layer: histograms, channels, and the decision surface. */
import type { Distribution, Statistics } from "../engine/inspect.js";
import type { Surface } from "../messages.js";
import { colour, contextOf } from "./dom.js";

/** Bars of a distribution, with 0 marked where it is in the range. */
export function drawHistogram(
  canvas: HTMLCanvasElement,
  { counts, from, to }: Distribution,
  fill: string,
): void {
  const { context, width, height } = contextOf(canvas);
  const most = Math.max(1, ...counts);
  const bar = width / counts.length;
  context.fillStyle = fill;
  counts.forEach((count, i) => {
    const tall = (height - 2) * (count / most);
    if (count > 0) context.fillRect(i * bar, height - Math.max(1, tall), bar - 0.5, tall);
  });
  context.fillStyle = colour("line");
  context.fillRect(0, height - 1, width, 1);
  if (from < 0 && to > 0) {
    context.fillStyle = colour("text");
    context.fillRect((-from / (to - from)) * width, 0, 1, height);
  }
}

/** Of each channel mean ± deviation: the batch's as a bar, the running ones as a frame around it. */
export function drawStatistics(
  canvas: HTMLCanvasElement,
  { batchMean, batchStd, runningMean, runningStd }: Statistics,
  fill: string,
): void {
  const { context, width, height } = contextOf(canvas);
  const ends = (mean: readonly number[], std: readonly number[]) =>
    mean.flatMap((value, c) => [value - (std[c] as number), value + (std[c] as number)]);
  const all = [...ends(batchMean, batchStd), ...ends(runningMean, runningStd)].filter(
    Number.isFinite,
  );
  const [low, high] = [Math.min(...all), Math.max(...all)];
  if (!(high > low)) return;
  const y = (value: number) => (height - 2) * ((high - value) / (high - low)) + 1;
  const across = width / batchMean.length;
  const gap = Math.min(1.5, across / 5);
  batchMean.forEach((mean, c) => {
    const left = c * across + gap;
    const wide = across - 2 * gap;
    const [std, running, deviation] = [batchStd[c], runningMean[c], runningStd[c]] as number[];
    context.fillStyle = fill;
    context.fillRect(left, y(mean + (std as number)), wide, 2 * ((std as number) * scale()));
    context.strokeStyle = colour("text");
    context.lineWidth = 1;
    const top = y((running as number) + (deviation as number));
    context.strokeRect(left, top, wide, 2 * ((deviation as number) * scale()));
  });

  function scale(): number {
    return (height - 2) / (high - low);
  }
}

/** γ as bars from 0, and β as dots. */
export function drawParameters(
  canvas: HTMLCanvasElement,
  gamma: readonly number[],
  beta: readonly number[],
  fill: string,
): void {
  const { context, width, height } = contextOf(canvas);
  const all = [0, ...gamma, ...beta].filter(Number.isFinite);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  if (!(high > low)) return;
  const y = (value: number) => (height - 4) * ((high - value) / (high - low)) + 2;
  const across = width / Math.max(gamma.length, beta.length);
  context.fillStyle = fill;
  gamma.forEach((value, c) => {
    const [top, bottom] = [y(Math.max(0, value)), y(Math.min(0, value))];
    context.fillRect(c * across + across / 6, top, (2 * across) / 3, Math.max(1, bottom - top));
  });
  context.fillStyle = colour("text");
  context.fillRect(0, y(0), width, 1);
  beta.forEach((value, c) => {
    context.beginPath();
    context.arc((c + 0.5) * across, y(value), Math.min(2, across / 3), 0, 2 * Math.PI);
    context.fill();
  });
}

/** What the network makes of the plane, and the points that it is tested on. */
export function drawSurface(canvas: HTMLCanvasElement, surface: Surface): void {
  const { context, width, height } = contextOf(canvas);
  const { grid, range, label, sure, points } = surface;
  const classes = ["class-0", "class-1", "class-2", "class-3"].map(colour);
  const of = (c: number) => classes[c % classes.length] as string;
  const [across, down] = [width / grid, height / grid];
  const { a: scale } = context.getTransform();
  const whole = (value: number) => Math.round(value * scale) / scale;
  label.forEach((c, cell) => {
    // Half sure is pale, sure is strong.
    context.globalAlpha = 0.1 + 0.5 * Math.max(0, 2 * (sure[cell] as number) - 1);
    context.fillStyle = of(c);
    const [column, row] = [cell % grid, Math.floor(cell / grid)];
    // On whole pixels of the screen: where cells overlapped, their seams would show.
    const [left, top] = [whole(column * across), whole(height - (row + 1) * down)];
    const [right, bottom] = [whole((column + 1) * across), whole(height - row * down)];
    context.fillRect(left, top, right - left, bottom - top);
  });
  context.globalAlpha = 1;
  context.strokeStyle = colour("raised");
  context.lineWidth = 1;
  for (let i = 0; i < points.rows; i++) {
    const [x, y] = [points.x[2 * i] as number, points.x[2 * i + 1] as number];
    const c = points.y[i] as number;
    context.fillStyle = of(c);
    const [left, top] = [(x / range + 1) * (width / 2), (1 - y / range) * (height / 2)];
    context.beginPath();
    // Classes differ in form, too.
    if (c % 2) context.rect(left - 2.5, top - 2.5, 5, 5);
    else context.arc(left, top, 3, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
}
