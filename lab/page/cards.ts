/** A card a run: its figures, what stands out, and what its layers are like. */
import type { BlockReport } from "../engine/inspect.js";
import type { Settings } from "../engine/settings.js";
import type { Snapshot } from "../engine/trainer.js";
import { differences } from "./code.js";
import { colour, element } from "./dom.js";
import { findingsOf, number, percent } from "./findings.js";
import { settingsInWords } from "./names.js";
import { drawHistogram, drawParameters, drawStatistics, drawSurface } from "./pictures.js";
import { LETTERS, type Run } from "./session.js";
import type { LabState } from "./state.js";
import { texts } from "./texts.js";

export interface CardActions {
  viewCode(run: number): void;
  save(run: number): void;
}

/** What is drawn of a layer. */
interface LayerParts {
  readonly before: HTMLCanvasElement;
  readonly after: HTMLCanvasElement;
  readonly beforeText: HTMLElement;
  readonly afterText: HTMLElement;
  readonly afterFigure: HTMLElement;
  readonly channels: HTMLElement;
  readonly statistics: HTMLCanvasElement;
  readonly parametersFigure: HTMLElement;
  readonly parameters: HTMLCanvasElement;
  readonly words: HTMLElement;
}

export class Card {
  readonly root: HTMLElement;
  private readonly state = element("p", { class: "state" });
  private readonly figures = element("dl");
  private readonly findings = element("ul", { class: "findings" });
  private readonly findingsTitle = element("h3", {}, texts.card.findings);
  private readonly surface = element("canvas", { class: "surface", role: "img" });
  private readonly surfaceFigure = element(
    "figure",
    { hidden: true },
    this.surface,
    element("figcaption", {}, texts.card.surface),
  );
  private readonly layers: readonly LayerParts[];
  private readonly layersPlace = element("div", { hidden: true });
  private seenFindings = "";

  constructor(
    private readonly index: number,
    state: LabState,
    actions: CardActions,
  ) {
    const settings = state.runs[index] as Settings;
    const letter = LETTERS[index] as string;
    const code = element("button", { type: "button" }, texts.card.viewCode);
    const save = element("button", { type: "button" }, texts.card.save);
    code.addEventListener("click", () => actions.viewCode(index));
    save.addEventListener("click", () => actions.save(index));
    const normed = settings.norm !== "none";
    this.layers = Array.from({ length: settings.depth }, (_, i) => this.makeLayer(i + 1, normed));
    this.root = element(
      "article",
      { class: `card run-${index}`, "aria-label": texts.run(letter) },
      element(
        "h2",
        {},
        element("span", { class: "badge" }, letter),
        " ",
        element("small", {}, nameOf(state.runs, index)),
      ),
      this.state,
      this.surfaceFigure,
      this.figures,
      element("p", { class: "buttons" }, code, save),
      this.findingsTitle,
      this.findings,
      this.layersPlace,
    );
    this.findingsTitle.hidden = true;
  }

  draw(run: Run, steps: number): void {
    const { last, surface } = run;
    this.drawState(run, steps);
    if (!last) return;
    this.drawFigures(last);
    this.drawFindings(last);
    const fill = colour(`run-${this.index}`);
    if (surface) {
      this.surfaceFigure.hidden = false;
      drawSurface(this.surface, surface);
      const { accuracy } = last.test.evaluation;
      this.surface.setAttribute(
        "aria-label",
        `${texts.card.surface}: ${texts.status.accuracy(percent(accuracy ?? 0))}`,
      );
    }
    this.layersPlace.hidden = last.blocks.length === 0;
    last.blocks.forEach((block, i) => {
      const parts = this.layers[i];
      if (parts) drawLayer(parts, block, fill);
    });
  }

  private drawState({ last, running, refused }: Run, steps: number): void {
    const { card } = texts;
    const step = last?.step ?? 0;
    const bad = refused !== null || last?.diverged === true;
    this.state.classList.toggle("bad", bad);
    this.state.textContent = refused
      ? `${card.refused}: ${refused}`
      : !last
        ? running
          ? card.running(0, steps)
          : card.idle
        : last.diverged
          ? card.diverged(step)
          : running
            ? card.running(step, steps)
            : step >= steps
              ? card.done(step)
              : card.paused(step, steps);
  }

  private drawFigures({ test, train, penalty, stepMs, normShare }: Snapshot): void {
    const { card } = texts;
    const { accuracy } = test.evaluation;
    const rows: [string, string][] =
      accuracy === null
        ? [
            [card.testLoss, number(test.evaluation.loss)],
            [card.inTraining, number(test.training.loss)],
            [card.trainLoss, number(train.evaluation.loss)],
          ]
        : [
            [card.testAccuracy, percent(accuracy)],
            [card.inTraining, percent(test.training.accuracy ?? 0)],
            [card.trainAccuracy, percent(train.evaluation.accuracy ?? 0)],
            [card.testLoss, number(test.evaluation.loss)],
            [card.inTraining, number(test.training.loss)],
          ];
    if (penalty > 0) rows.push([card.penalty, number(penalty)]);
    rows.push([card.time, `${number(stepMs)} ms`]);
    if (normShare > 0) rows.push([card.share, percent(normShare)]);
    this.figures.replaceChildren(
      ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
    );
  }

  /** Made anew only when they differ: a list that is read aloud or selected stays. */
  private drawFindings(snapshot: Snapshot): void {
    const found = findingsOf(snapshot);
    const all = found.length > 0 ? found : [texts.card.nothing];
    const text = all.join("\n");
    if (text === this.seenFindings) return;
    this.seenFindings = text;
    this.findingsTitle.hidden = false;
    this.findings.replaceChildren(...all.map((one) => element("li", {}, one)));
  }

  private makeLayer(layer: number, normed: boolean): LayerParts {
    const { card } = texts;
    const canvas = (name: string, kind = "") =>
      element("canvas", {
        role: "img",
        "aria-label": `${card.layer(layer)}, ${name}`,
        class: kind,
      });
    const parts = {
      before: canvas(normed ? card.before : card.beforePlain),
      after: canvas(card.after),
      beforeText: element("figcaption"),
      afterText: element("figcaption"),
      statistics: canvas(card.statistics, "channels"),
      parameters: canvas(card.parameters, "channels"),
      words: element("p", { class: "note" }),
    };
    const afterFigure = element("figure", { hidden: !normed }, parts.after, parts.afterText);
    const channels = element(
      "figure",
      { hidden: true },
      parts.statistics,
      element("figcaption", {}, card.statistics),
    );
    const parametersFigure = element(
      "figure",
      { hidden: true },
      parts.parameters,
      element("figcaption", {}, card.parameters),
    );
    this.layersPlace.append(
      element(
        "div",
        { class: "layer", role: "group", "aria-label": card.layer(layer) },
        element("h3", {}, card.layer(layer)),
        element(
          "div",
          { class: "pair" },
          element("figure", {}, parts.before, parts.beforeText),
          afterFigure,
        ),
        channels,
        parametersFigure,
        parts.words,
      ),
    );
    return { ...parts, afterFigure, channels, parametersFigure };
  }
}

function drawLayer(parts: LayerParts, block: BlockReport, fill: string): void {
  const { card } = texts;
  const { before, after, statistics, gamma, beta } = block;
  drawHistogram(parts.before, before, fill);
  const normed = !parts.afterFigure.hidden;
  parts.beforeText.textContent = `${normed ? card.before : card.beforePlain}: ${words(before)}`;
  if (normed) {
    drawHistogram(parts.after, after, fill);
    parts.afterText.textContent = `${card.after}: ${words(after)}`;
  }
  parts.channels.hidden = statistics === null;
  if (statistics) drawStatistics(parts.statistics, statistics, fill);
  parts.parametersFigure.hidden = !gamma && !beta;
  if (gamma || beta) drawParameters(parts.parameters, gamma ?? [], beta ?? [], fill);
  parts.words.textContent = [
    card.gradient(number(block.weightGradient)),
    ...(block.dead > 0 ? [card.dead(block.dead, block.channels)] : []),
  ].join("; ");
}

function words({ mean, std, infinite }: BlockReport["before"]): string {
  const { card } = texts;
  const of = card.distribution(number(mean), number(std));
  return infinite > 0 ? `${of}; ${card.infinite(infinite)}` : of;
}

/** A run by what sets it apart from the others. */
function nameOf(runs: readonly Settings[], index: number): string {
  const run = runs[index] as Settings;
  const keys = differences(runs);
  const named = keys.length > 0 ? keys : (["norm"] as const);
  return settingsInWords(run, named);
}
