/** What is to be tried, as somebody writes it: values between commas. */
import {
  checkSettings,
  SETTINGS,
  type Setting,
  SettingError,
  type Settings,
} from "../engine/settings.js";
import type { Regularizer, Space } from "../engine/sweep.js";
import { readValue } from "./state.js";

export const SPACE_KEYS = [
  "norm",
  "batchSize",
  "learningRate",
  "normMomentum",
  "regularizer",
] as const;
export type SpaceText = Readonly<Record<(typeof SPACE_KEYS)[number], string>>;

export const FIRST_SPACE: SpaceText = {
  norm: "none, batch, group, layer, rms",
  batchSize: "16, 64",
  learningRate: "0.01, 0.1",
  normMomentum: "0.02, 0.1",
  regularizer: "none, l2 0.001, dropout 0.2",
};

const REGULARIZERS = ["l1", "l2", "gammaL1", "dropout"] as const;

/** @throws SettingError where a value can't be */
export function readSpace(text: SpaceText): Space {
  const values = <K extends Exclude<keyof SpaceText, "regularizer">>(key: K) =>
    split(key, text[key]).map((one) => {
      const setting = SETTINGS.find((setting) => setting.key === key) as Setting;
      return checkSettings({ [key]: readValue(setting, one) })[key];
    });
  return {
    norm: values("norm"),
    batchSize: values("batchSize"),
    learningRate: values("learningRate"),
    normMomentum: values("normMomentum"),
    regularizer: split("regularizer", text.regularizer).map(readRegularizer),
  };
}

function split(key: string, text: string): string[] {
  const all = text.split(",").map((one) => one.trim());
  if (all.some((one) => one === "")) {
    throw new SettingError(key as keyof Settings, `${key}: expected values between commas`);
  }
  return [...new Set(all)];
}

function readRegularizer(text: string): Regularizer | null {
  if (text === "none") return null;
  const [name, strength = "", ...more] = text.split(/\s+/);
  const key = REGULARIZERS.find((one) => one === name);
  if (!key || strength === "" || more.length > 0) {
    throw new SettingError(
      "l2",
      `regularizer: expected none, or ${REGULARIZERS.join(", ")} with a strength (l2 0.001), got ${JSON.stringify(text)}`,
    );
  }
  const setting = SETTINGS.find((setting) => setting.key === key) as Setting;
  return { key, strength: checkSettings({ [key]: readValue(setting, strength) })[key] };
}
