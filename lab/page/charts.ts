/** Loss and accuracy over steps, by uPlot. */
// Before uPlot, which wants a language.
import "./language.js";
import uPlot from "uplot";
import type { Snapshot } from "../engine/trainer.js";
import { colour } from "./dom.js";

/** What of a snapshot is drawn, and how its line is dashed. */
interface Curve {
  readonly of: (snapshot: Snapshot) => number | null;
  readonly dash: number[];
  readonly width: number;
}

const LOSSES: readonly Curve[] = [
  { of: ({ test }) => test.evaluation.loss, dash: [], width: 2 },
  { of: ({ test }) => test.training.loss, dash: [7, 4], width: 1.5 },
  { of: ({ batchLoss }) => batchLoss, dash: [1.5, 3], width: 1.5 },
];
const ACCURACIES: readonly Curve[] = [
  { of: ({ test }) => test.evaluation.accuracy, dash: [], width: 2 },
  { of: ({ test }) => test.training.accuracy, dash: [7, 4], width: 1.5 },
  { of: ({ train }) => train.evaluation.accuracy, dash: [1.5, 3], width: 1.5 },
];

export class Charts {
  private plots: (readonly [plot: uPlot, curves: readonly Curve[], place: HTMLElement])[] = [];
  private runs = 0;

  constructor(
    private readonly places: { readonly loss: HTMLElement; readonly accuracy: HTMLElement },
  ) {
    const follow = new ResizeObserver(() => {
      for (const [plot, , place] of this.plots) plot.setSize(sizeOf(place));
    });
    follow.observe(places.loss);
    follow.observe(places.accuracy);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.make());
  }

  /** Draws the histories of runs. */
  draw(histories: readonly (readonly Snapshot[])[]): void {
    if (histories.length !== this.runs) {
      this.runs = histories.length;
      this.make();
    }
    const steps = [...new Set(histories.flatMap((own) => own.map(({ step }) => step)))];
    steps.sort((a, b) => a - b);
    const places = new Map(steps.map((step, i) => [step, i]));
    for (const [plot, curves] of this.plots) {
      const lines = histories.flatMap((own) =>
        curves.map(({ of }) => {
          // `undefined` is a step of another run, which the line passes over.
          const line = new Array<number | null | undefined>(steps.length);
          for (const snapshot of own) {
            const value = of(snapshot);
            // Above 0, for the logarithm.
            const shown =
              value !== null && Number.isFinite(value) ? Math.max(value, Number.EPSILON) : null;
            line[places.get(snapshot.step) as number] = shown;
          }
          return line;
        }),
      );
      plot.setData([steps, ...lines]);
    }
  }

  private make(): void {
    for (const [plot] of this.plots) plot.destroy();
    const { loss, accuracy } = this.places;
    this.plots = [
      [this.plot(loss, LOSSES, "loss"), LOSSES, loss],
      [this.plot(accuracy, ACCURACIES, "accuracy"), ACCURACIES, accuracy],
    ];
  }

  private plot(place: HTMLElement, curves: readonly Curve[], kind: "loss" | "accuracy"): uPlot {
    const axis = {
      stroke: colour("muted"),
      grid: { stroke: colour("line"), width: 1 },
      ticks: { stroke: colour("line"), width: 1 },
      font: "12px system-ui, sans-serif",
    };
    const series = Array.from({ length: this.runs }, (_, run) =>
      curves.map(({ dash, width }) => ({
        stroke: colour(`run-${run}`),
        ...{ dash, width, points: { show: false } },
      })),
    ).flat();
    const options: uPlot.Options = {
      ...sizeOf(place),
      legend: { show: false },
      cursor: { y: false },
      scales: {
        x: { time: false },
        y:
          kind === "loss"
            ? { distr: 3, range: (_, low, high) => decades(low, high) }
            : { range: [0, 1] },
      },
      axes: [
        axis,
        {
          ...axis,
          size: 56,
          values: (_, ticks) =>
            ticks.map((tick) =>
              tick === null ? "" : kind === "loss" ? label(tick) : `${Math.round(100 * tick)} %`,
            ),
        },
      ],
      series: [{}, ...series],
    };
    return new uPlot(options, [[]], place);
  }
}

/** Whole decades around what there is, at most ten of them. */
function decades(low: number | null, high: number | null): [number, number] {
  if (!low || !high || !(low > 0)) return [0.01, 10];
  const top = Math.ceil(Math.log10(high) + 1e-9);
  const bottom = Math.max(top - 10, Math.floor(Math.log10(low) - 1e-9));
  return [10 ** bottom, 10 ** Math.max(top, bottom + 1)];
}

function label(value: number): string {
  return value >= 1e4 || value < 1e-3 ? value.toExponential(0) : `${Number(value.toPrecision(2))}`;
}

function sizeOf(place: HTMLElement): { width: number; height: number } {
  return { width: Math.max(200, place.clientWidth), height: 220 };
}
