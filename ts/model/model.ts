/** All norm layers of a network at once: their state, their mode, and what is trained of them. */
import { type BatchNorm, engineIn } from "../batch/layer.js";
import { checkOneOf } from "../core/checks.js";
import { fail, mustBe } from "../core/errors.js";
import { loadStates } from "../core/layer-state.js";
import { readOptions } from "../core/options.js";
import type { Parameter } from "../core/parameter.js";
import { insideOf, type SampleNorm } from "../core/sample-norm.js";
import { PROXY, show } from "../core/show.js";
import {
  type LoadReport,
  type ModelLoadOptions,
  readLoadOptions,
  readPrefix,
  type SavedStateDict,
  type StateDictOptions,
  type StateDictSource,
} from "../core/state-dict.js";
import {
  dotted,
  type Entry,
  MOST_NESTED,
  membersOf,
  nameBehind,
  readEntries,
} from "../core/state-names.js";
import { tensorOf } from "../core/tensor.js";

/**
 * Layers by what stands before their entries' names in a dict: an object, an array or a Map of layers
 * and of the like, whose keys are joined by dots. `{ layer1: [{ bn }] }` is `layer1.0.bn.`; so is
 * `{ "layer1.0.bn": bn }`. What is `null` is passed over.
 */
export type Model =
  | BatchNorm
  | SampleNorm
  | readonly (Model | null | undefined)[]
  | ReadonlyMap<string, Model | null | undefined>
  | { readonly [name: string]: Model | null | undefined };

/**
 * Sets the parameters and running statistics of all layers of a network from its whole dict, all or
 * nothing. What the dict has for other layers (convolutions, say) is told in `unexpected` and refused by
 * nobody; what is missing, or unknown behind a norm layer's name, is refused unless `strict` is false.
 *
 * @param model layers by their names
 * @param dict as {@link BatchNorm.loadStateDict} takes it, of any framework, also nested as Flax's
 * @returns what was missing, what is left over, and what was of another type than float32
 * @throws BatchNormError `state-dict`, `dtype`, `disposed`, `invalid-option`, `unknown-option`,
 *   `not-built`, `out-of-memory`; no layer has changed then
 *
 * @example
 * const model = { stem: { bn }, head: [ln] };
 * const dict = stateDict(model);
 * const { unexpected } = loadStateDict(model, { ...dict, "stem.conv.weight": [1] });
 * unexpected;   // → ["stem.conv.weight"]
 */
export function loadStateDict(
  model: Model,
  dict: StateDictSource,
  options?: ModelLoadOptions | null,
): LoadReport {
  const owner = "loadStateDict";
  const settings = readLoadOptions(options, owner, ["prefix", "strict", "allowNonFinite"]);
  const states = new Set<object>();
  const layers = layersOf(model, owner).map(({ engine: { state }, changes, prefix }) => {
    if (states.has(state) && state.numFeatures === null) {
      // Its entries might tell different sizes.
      fail("not-built", `${owner}: ${show(prefix)} comes twice and has no feature count yet`);
    }
    states.add(state);
    const whole = settings.prefix + prefix;
    const all: Entry[] = [];
    return { state, changes, names: state.entries, prefix: whole, dotted: dotted(whole), all };
  });
  const entries = readEntries(
    dict,
    layers.map(({ prefix }) => prefix),
    owner,
  );
  // Of several prefixes that an entry is behind, the longest is the layer's.
  const byLength = [...layers].sort((a, b) => b.prefix.length - a.prefix.length);
  const left = entries.filter((entry) => {
    const layer = byLength.find((one) => nameBehind(one.dotted, entry) !== undefined);
    layer?.all.push(entry);
    return !layer;
  });
  const report = loadStates(layers, settings, owner);
  return { ...report, unexpected: [...report.unexpected, ...left.map(({ name }) => name)] };
}

/**
 * Copies of what all layers of a network have learned, by their names in their presets' frameworks, each
 * behind its layer's name.
 *
 * @throws BatchNormError `not-built`, `disposed`, `invalid-option`, `unknown-option`
 *
 * @example
 * const dict = stateDict({ stem: { bn }, head: [ln] });
 * dict["stem.bn.running_var"];   // → Float32Array [1, 1, 1]
 * dict["head.0.bias"];           // → Float32Array [0, 0, 0]
 */
export function stateDict(model: Model, options?: StateDictOptions | null): SavedStateDict {
  const owner = "stateDict";
  const before = readPrefix(readOptions(owner, options, ["prefix"]).prefix, owner);
  const dicts = layersOf(model, owner).map(({ engine, prefix }) =>
    Object.entries(engine.state.toDict({ prefix: before + prefix }, owner)),
  );
  return Object.fromEntries(dicts.flat());
}

/**
 * Freezes the layers of a network, or with `false` trains them again: backward passes gather no
 * gradients of γ and β, and batch norm normalizes by its running statistics, which stay as they are, in
 * training mode too. That is Keras's `trainable = false`. (Instance norm's running statistics follow the
 * mode alone, as PyTorch's do.)
 *
 * @throws BatchNormError `invalid-option`, `disposed`
 *
 * @example
 * freeze({ bn });
 * bn.train().forward(x);   // → Tensor([2, 3]) { 1, 2, 3, 3, 6, 9 }
 * freeze({ bn }, false);
 * bn.forward(x);           // → Tensor([2, 3]) { -1, -1, -1, 1, 1, 1 }
 */
export function freeze(model: Model, frozen: boolean = true): void {
  const owner = "freeze";
  checkOneOf(frozen, owner, "frozen");
  for (const { engine, batch } of layersOf(model, owner)) {
    engine.options.requiresGrad = !frozen;
    if (!batch?.options.trackRunningStats) continue;
    batch.options.statistics = frozen ? "running" : "auto";
    batch.options.updateRunningStats = frozen ? false : "auto";
  }
}

/**
 * Switches all layers of a network to training mode, or with `false` to evaluation.
 *
 * @throws BatchNormError `invalid-option`, `disposed`
 *
 * @example
 * train({ bn, ln }, false);
 * bn.training;   // → false
 */
export function train(model: Model, mode: boolean = true): void {
  const owner = "train";
  checkOneOf(mode, owner, "mode");
  for (const { engine } of layersOf(model, owner)) engine.options.training = mode;
}

/**
 * γ and β of all layers of a network, each once: for an optimizer, and what weight decay leaves out. A
 * layer that learns its sizes from its first input has none before.
 *
 * @throws BatchNormError `invalid-option`, `disposed`
 *
 * @example
 * parameters({ bn, ln }).length;   // → 4
 */
export function parameters(model: Model): Parameter[] {
  const views = layersOf(model, "parameters").flatMap(({ engine: { state } }) => [
    state.weight,
    state.bias,
  ]);
  return [...new Set(views)].flatMap((view) => (view ? [tensorOf(view) as Parameter] : []));
}

/** The engines of all layers in their order, and what stands before their entries' names. */
function layersOf(model: unknown, owner: string) {
  const layers: Place[] = [];
  const names = new Set<string>();
  const walk = (part: unknown, prefix: string, around: readonly unknown[]) => {
    const batch = engineIn(part);
    const engine = batch ?? insideOf(part);
    if (engine) {
      engine.checkLive(owner);
      if (names.has(prefix)) fail("invalid-option", `${owner}: two layers are ${show(prefix)}`);
      names.add(prefix);
      layers.push({ engine, batch, changes: engine.state.changes, prefix });
      return;
    }
    const kind = show(part);
    const name = `${owner}: ${prefix === "" ? "model" : `model's ${show(prefix.slice(0, -1))}`}`;
    if (!/^(Object|Array|Map|Module)$/.test(kind)) {
      const wanted = "a layer, or an object, an array or a Map of layers";
      mustBe("invalid-option", name, wanted, part, /Norm|Tensor|Parameter/.test(kind) ? PROXY : "");
    }
    if (around.includes(part) || around.length === MOST_NESTED) {
      fail("invalid-option", `${name} is in itself, or in too many others`);
    }
    for (const [key, read] of membersOf(part as object)) {
      const value = read();
      if (value !== null && value !== undefined) walk(value, `${prefix}${key}.`, [...around, part]);
    }
  };
  walk(model, "", []);
  return layers;
}

type BatchEngine = NonNullable<ReturnType<typeof engineIn>>;

/** A layer in a model. */
interface Place {
  readonly engine: BatchEngine | NonNullable<ReturnType<typeof insideOf>>;
  /** The same, of batch norm. */
  readonly batch: BatchEngine | undefined;
  /** How often its vectors had been made or given back when it was found. */
  readonly changes: number;
  readonly prefix: string;
}
