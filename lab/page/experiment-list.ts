/** The experiments as buttons, and the text of the one that is shown. */
import { element } from "./dom.js";
import { EXPERIMENT_NAMES, type ExperimentName } from "./experiments.js";
import { texts } from "./texts.js";

export function showExperiments(
  place: HTMLElement,
  shown: ExperimentName | null,
  choose: (name: ExperimentName) => void,
): void {
  const { title, lead, look, why, of } = texts.experiments;
  const focused = document.activeElement?.id;
  const buttons = EXPERIMENT_NAMES.map((name) => {
    const button = element(
      "button",
      {
        type: "button",
        id: `experiment-${name}`,
        "aria-pressed": name === shown ? "true" : "false",
      },
      of[name].name,
    );
    button.addEventListener("click", () => choose(name));
    return button;
  });
  const open = shown !== null || place.querySelector("details[open]") !== null;
  place.replaceChildren(
    element(
      "details",
      { open },
      element("summary", {}, title),
      element("p", { class: "note" }, lead),
      element("p", { class: "buttons" }, ...buttons),
    ),
  );
  if (shown !== null) {
    place.append(
      element(
        "div",
        { class: "text" },
        element("h2", {}, of[shown].name),
        element("p", {}, element("strong", {}, `${look}. `), of[shown].look),
        element("p", {}, element("strong", {}, `${why}. `), of[shown].why),
      ),
    );
  }
  if (focused) document.getElementById(focused)?.focus();
}
