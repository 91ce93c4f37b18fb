/** Settings in words, as cards and tables name runs. */
import type { Settings } from "../engine/settings.js";
import { texts } from "./texts.js";

export function settingsInWords(settings: Settings, keys: readonly (keyof Settings)[]): string {
  return keys
    .map((key) => {
      const value = settings[key];
      const switched = value ? texts.on : texts.off;
      const shown =
        typeof value === "boolean" ? switched : (texts.values[`${value}`] ?? `${value}`);
      return `${texts.labels[key]}: ${shown}`;
    })
    .join(", ");
}
