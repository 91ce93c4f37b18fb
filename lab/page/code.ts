/** A run as a program: what its norm, dropout and penalties are in calls of the package. */
import { SETTINGS, type Settings } from "../engine/settings.js";
import { toLink } from "./state.js";

/**
 * The layer's making alone, `new BatchNorm(32, { … })`; `null` of none, or none of the package.
 *
 * @param inner the axes behind the channels: of images two, of sequences one
 */
export function makingOf(settings: Settings, inner: readonly number[]): string | null {
  const { norm, width, eps } = settings;
  // Of sequences a position is a row.
  const axes = inner.length === 1 ? 1 : undefined;
  const shape = inner.length > 1 ? `[${[width, ...inner].join(", ")}]` : `${width}`;
  const options = (given: Record<string, unknown>) => {
    const entries = Object.entries(given).filter(([, value]) => value !== undefined);
    return `{ ${entries.map(([key, value]) => `${key}: ${write(value)}`).join(", ")} }`;
  };
  const scale = settings.gamma ? undefined : false;
  const offset = settings.beta ? undefined : false;
  switch (norm) {
    case "none":
    case "naive":
      return null;
    case "batch": {
      const { renorm, ghost, frozen, normMomentum } = settings;
      const given = {
        ...{ eps, momentum: normMomentum || null, scale, offset },
        virtualBatchSize: ghost || undefined,
        renorm: renorm ? { rMax: Math.max(1, renorm), dMax: Math.max(0, renorm - 1) } : undefined,
        statistics: frozen ? "running" : undefined,
      };
      return `new BatchNorm(${width}, ${options(given)})`;
    }
    case "group":
      return `new GroupNorm(${settings.groups}, ${width}, ${options({ eps, scale, offset })})`;
    case "instance":
      // There γ and β are off unless they are asked for.
      return `new InstanceNorm(${width}, ${options({
        ...{ eps, scale: settings.gamma, offset: settings.beta },
      })})`;
    case "layer":
      return `new LayerNorm(${shape}, ${options({
        ...{ eps, elementwiseAffine: scale, bias: settings.beta, axes },
      })})`;
    case "rms":
      return `new RMSNorm(${shape}, ${options({ eps, elementwiseAffine: scale, axes })})`;
  }
}

/**
 * The program, where what is not the package's is named and left to the reader.
 *
 * @param weighted whether positions of the data, or rows, count differently
 */
export function codeOf(
  settings: Settings,
  inner: readonly number[],
  weighted: boolean,
  link: Parameters<typeof toLink>[0],
): string {
  const { norm, dropout, dropoutPlace, l1, l2, gammaL1, penalizeNorm } = settings;
  const making = makingOf(settings, inner);
  const masked = weighted && norm === "batch" && settings.mask;
  const classes = making ? [making.slice(4, making.indexOf("("))] : [];
  const penalties = [...(l1 ? ["l1Penalty"] : []), ...(l2 ? ["l2Penalty"] : [])];
  const names = [
    ...classes,
    ...(dropout ? ["dropout", "dropoutBackward"] : []),
    ...penalties,
    ...(gammaL1 && norm === "batch" ? ["addScaleL1"] : []),
  ];
  const imported = [...names, "scope", "type Tensor"].sort((a, b) =>
    a.replace("type ", "").localeCompare(b.replace("type ", "")),
  );
  const drop = (x: string) => `  ${x} = dropout(${x}, { rate: ${dropout}, seed });`;
  const dropBack = `  dy = dropoutBackward(dy, { rate: ${dropout}, seed });`;
  const before = dropout && dropoutPlace === "before";
  const after = dropout && dropoutPlace === "after";
  const lines = [
    `import { ${imported.join(", ")} } from "batchnorm-wasm";`,
    "",
    `// ${settings.depth} such blocks, each behind a linear layer or a convolution of yours.`,
    ...(making ? [`const norm = ${making};`] : []),
    ...(norm === "naive"
      ? ["// Behind it batch norm by σ² = Σx²/n − (Σx/n)²: not the package's."]
      : []),
    "",
    `function forward(x: Tensor, ${masked ? "weights: Float32Array, " : ""}seed: number): Tensor {`,
    ...(before ? [drop("x")] : []),
    ...(masked
      ? [
          inner.length > 0
            ? "  // [N, positions]: 1 of what is there, 0 of padding; x is [N, C, positions]."
            : "  // [N]: of each row the part of its values that is there.",
          "  x = norm.train().forward(x, { weights });",
        ]
      : []),
    ...(making && !masked ? ["  x = norm.train().forward(x);"] : []),
    `  x = activate(x); // ${settings.activation}: yours`,
    ...(after ? [drop("x")] : []),
    "  return x;",
    "}",
    "",
    "function backward(dy: Tensor, seed: number): Tensor {",
    ...(after ? [dropBack] : []),
    "  dy = activateBackward(dy); // yours",
    ...(making ? ["  dy = norm.backward(dy); // adds to norm.weight.grad, norm.bias.grad"] : []),
    ...(before ? [dropBack] : []),
    "  return dy;",
    "}",
    "",
    `// Each step, of batches of ${settings.batchSize}; all tensors of it end with the scope.`,
    "scope(() => {",
    ...(making ? ["  norm.zeroGrad();"] : []),
    "  // forward, loss, backward",
    ...penalties.map((name) => {
      const strength = name === "l1Penalty" ? l1 : l2;
      return `  loss += ${name}(weight, { strength: ${strength}, grad }); // of each linear layer`;
    }),
    ...(penalizeNorm && making && penalties.length
      ? ["  // and the same of norm.parameters(), with their .grad"]
      : []),
    ...(gammaL1 && norm === "batch" ? [`  addScaleL1([norm], ${gammaL1});`] : []),
    ...(gammaL1 && norm !== "batch" && making
      ? [`  // norm.weight.grad += ${gammaL1}·sign(γ)`]
      : []),
    `  // ${settings.optimizer === "adam" ? "Adam" : `SGD, momentum ${settings.momentum}`}, learning rate ${settings.learningRate}`,
    "});",
    "",
    ...(norm === "batch" ? ["norm.eval(); // running statistics normalize from here on", ""] : []),
    `// The same in the lab: #${toLink(link)}`,
  ];
  return lines.join("\n");
}

/** Settings that differ between runs, for their names. */
export function differences(runs: readonly Settings[]): (keyof Settings)[] {
  return SETTINGS.map(({ key }) => key).filter((key) =>
    runs.some((run) => run[key] !== runs[0]?.[key]),
  );
}

function write(value: unknown): string {
  if (value !== null && typeof value === "object") {
    const entries = Object.entries(value).map(([key, one]) => `${key}: ${write(one)}`);
    return `{ ${entries.join(", ")} }`;
  }
  return typeof value === "string" ? `"${value}"` : `${value}`;
}
