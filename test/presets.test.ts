import { BatchNorm, presets } from "batchnorm-wasm";
import { describe, expect, test } from "vitest";

describe("presets", () => {
  test("a new layer starts in the mode of its framework; Flax has none", () => {
    const modes = Object.entries(presets).map(([name, { training }]) => [name, training]);
    expect(Object.fromEntries(modes)).toEqual({
      torch: true,
      keras: false,
      onnx: false,
      flax: null,
    });
  });

  test("can't be changed, nor can what they hold", () => {
    for (const preset of Object.values(presets)) {
      for (const object of [presets, preset, preset.names]) {
        expect(Object.isFrozen(object)).toBe(true);
      }
    }
    expect(() => Object.assign(presets.keras, { eps: 1 })).toThrow(TypeError);
    expect(() => Object.assign(presets.torch.names, { weight: "w" })).toThrow(TypeError);
    expect(presets.keras.eps).toBe(1e-3);
  });

  test("one that is no name of a framework is refused, whatever it is", () => {
    const hostile = { toString: () => "torch" };
    const inherited = ["__proto__", "constructor", "toString", "hasOwnProperty", ""];
    for (const preset of [
      5,
      true,
      Symbol("torch"),
      ["torch"],
      hostile,
      () => "torch",
      ...inherited,
    ]) {
      expect(() => new BatchNorm(3, { preset: preset as never })).toThrow(
        expect.objectContaining({ code: "unknown-option" }),
      );
    }
  });
});
