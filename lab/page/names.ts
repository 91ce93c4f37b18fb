/** Names of runs. */
import { SETTINGS, type Settings } from "../engine/settings.js";
import { texts } from "./texts.js";

/** Some settings in words, as cards and tables name runs; what its norm has not is left out. */
export function settingsInWords(settings: Settings, keys: readonly (keyof Settings)[]): string {
  return keys
    .filter((key) => {
      const norms = SETTINGS.find((setting) => setting.key === key)?.norms;
      return norms === undefined || norms.includes(settings.norm);
    })
    .map((key) => {
      const value = settings[key];
      const switched = value ? texts.on : texts.off;
      const shown =
        typeof value === "boolean" ? switched : (texts.values[`${value}`] ?? `${value}`);
      return `${texts.labels[key]}: ${shown}`;
    })
    .join(", ");
}
