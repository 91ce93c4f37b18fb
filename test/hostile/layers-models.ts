/** Layers models of TensorFlow.js: manifests and the files that they tell of. */
import { fromLayersModel, type WeightDict } from "batchnorm-wasm/weights";
import type { Random } from "../../scripts/random.mjs";
import type { Kind } from "./kinds.js";
import { type Anything, product } from "./theme.js";
import { type Arg, arg, detach, endless, hostile, hostileShape, raise, saying } from "./values.js";
import {
  canRead,
  checkDict,
  formed,
  joined,
  mistyped,
  NEVER_READING,
  polluted,
  readingOptions,
  type Stored,
  someBytes,
  someNames,
  someShape,
} from "./weights.js";
import { Fault, type Manner, type World } from "./world.js";

export const LAYERS_MODELS: readonly Kind[] = [["fromLayersModel", 3, readModel]];

/** A weight of a layers model. */
interface Spec {
  name: string;
  shape: number[];
  dtype: string;
  quantization?: { dtype: string; scale?: number; min?: number };
}

/** What lies in files for a weight, and as what it is read. */
function someSpec(random: Random, name: string): { spec: Spec; bytes: Uint8Array; stored: Stored } {
  const shape = someShape(random);
  const [dtype, packed, size] = random.pick([
    ...[["float32", "", 4] as const, ["float32", "", 4] as const, ["int32", "", 4] as const],
    ...[["bool", "", 1] as const, ["float32", "uint8", 1] as const],
    ...[["float32", "uint16", 2] as const, ["float32", "float16", 2] as const],
  ]);
  const bytes = someBytes(random, product(shape) * size);
  const spec: Spec = { name, shape, dtype };
  if (!packed) {
    return {
      spec,
      bytes,
      stored: { name, shape, bytes, dtype: dtype === "float32" ? "F32" : "I32" },
    };
  }
  if (packed === "float16") {
    spec.quantization = { dtype: packed };
    return { spec, bytes, stored: { name, shape, bytes, dtype: "F16" } };
  }
  const [scale, min] = [random.pick([1, 0.1, 1e30]), random.pick([0, -0.5, 3e38])];
  spec.quantization = { dtype: packed, scale, min };
  const codes = packed === "uint8" ? bytes : new Uint16Array(bytes.buffer);
  const values = Float32Array.from(codes, (code) => code * scale + min);
  return {
    spec,
    bytes,
    stored: { name, shape, dtype: "F32", bytes: new Uint8Array(values.buffer) },
  };
}

/** Bytes cut into files anywhere. */
function shards(random: Random, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[] {
  const cuts = Array.from({ length: random.below(3) }, () => random.below(bytes.length + 1));
  const places = [0, ...cuts.sort((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, i) => bytes.slice(places[i], end));
}

function readModel(world: World, random: Random, manner: Manner): void {
  const weights = someNames(random, 5).map((name) => someSpec(random, name));
  const cut = random.below(weights.length + 1);
  const paths: string[] = [];
  const contents: Uint8Array<ArrayBuffer>[] = [];
  const groups = [weights.slice(0, cut), weights.slice(cut)];
  const manifest = groups
    .filter((group) => group.length > 0 || random.oneIn(4))
    .map((group) => {
      const its = shards(random, joined(group.map(({ bytes }) => bytes)));
      const names = its.map((_, i) => `f${paths.length + i}`);
      contents.push(...its);
      paths.push(...names);
      return {
        paths: names.map((name) => (random.oneIn(4) ? `./${name}` : name)),
        weights: group.map(({ spec }) => spec),
      };
    });
  const isHostile = manner === "hostile" && random.oneIn(2);
  const files = contents.map((bytes) => {
    const one = formed(random, manner, bytes);
    const name = isHostile ? world.name("b") : "";
    return { ...one, name, code: () => (name ? `${name} = ${one.code()}` : one.code()) };
  });
  const model = isHostile
    ? hostileModel(world, random, manifest, files)
    : plainModel(random, manifest);
  const given = handedOver(random, manner, paths, files);
  const { options, prefix, strict } = readingOptions(world, random, manner);
  const built = options.build();
  const all = weights.map(({ stored }) => stored);
  const wrong = files.find(({ isNone }) => isNone);
  const around = polluted(random, manner, ["quantization", "prefix", "strict", "scale"]);
  const code = () => `fromLayersModel(${model.code()}, ${given.code()}, ${built.code()});`;
  const call = () =>
    fromLayersModel(model.value as Anything, given.value as Anything, built.value as Anything);
  world.attempt(
    () => around.code(options.surrounded(code())),
    () => around.run(() => options.surround(call)),
    {
      valid:
        !isHostile && given.isPlain && !wrong && options.benign && canRead(all, { prefix, strict }),
      never: NEVER_READING,
      returned: (dict: WeightDict) => {
        options.checkTaken();
        if (!isHostile && given.isPlain && wrong) {
          throw new Fault("bytes are taken that are none", wrong.code());
        }
        if (!isHostile && options.known) checkDict(dict, all, { prefix, strict });
        const most = contents.reduce((sum, { length }) => sum + 4 * length, 0);
        let bytes = 0;
        for (const { data, shape } of Object.values(dict)) {
          if (data.length !== product(shape)) throw new Fault("a weight has another size");
          bytes += data.byteLength;
        }
        if (given.isPlain && bytes > most)
          throw new Fault("a small file becomes large", `${bytes}`);
      },
    },
  );
}

function plainModel(random: Random, manifest: unknown): Arg {
  const text = JSON.stringify({ weightsManifest: manifest });
  return random.pick([
    arg(JSON.parse(text), text),
    arg(text, JSON.stringify(text)),
    arg(manifest, JSON.stringify(manifest)),
  ]);
}

/** A model with something that isn't right, or does something when it is read. */
function hostileModel(
  world: World,
  random: Random,
  manifest: object[],
  files: readonly (Arg & { name: string })[],
): Arg {
  if (random.oneIn(12)) return hostile(random);
  const text = JSON.stringify({ weightsManifest: manifest });
  if (random.oneIn(2)) {
    const other = mistyped(random, text);
    return arg(other, JSON.stringify(other));
  }
  const model = JSON.parse(text);
  const holders: Record<string, unknown>[] = [];
  // Adds all that has something in it.
  JSON.stringify(model, (_, value) => {
    if (value && typeof value === "object" && Object.keys(value).length > 0) holders.push(value);
    return value;
  });
  const holder = random.pick(holders);
  const key = random.pick(Object.keys(holder));
  const before = holder[key];
  holder[key] = "@";
  const marked = JSON.stringify(model);
  const put = (value: unknown, code: string) => {
    holder[key] = value;
    return { value: model, code: () => marked.replace('"@"', () => code) };
  };
  if (Array.isArray(holder) || random.oneIn(2)) {
    const other = random.pick([
      () => hostile(random),
      () => hostile(random),
      () => hostileShape(random),
      () => arg(saying(Symbol(), [1]), "saying(Symbol(), [1])"),
      () => arg(saying(2n, [1]), "saying(2n, [1])"),
      () => arg(endless(1), "endless(1)"),
      () => arg(endless(String), "endless(String)"),
      () => arg(endless({ paths: [], weights: [] }), "endless({ paths: [], weights: [] })"),
    ])();
    return put(other.value, other.code());
  }
  const seed = random.below(2 ** 31);
  const inside: (() => string)[] = [];
  const [run, code] = random.pick<readonly [() => unknown, () => string]>([
    [raise, () => "return raise();"],
    [
      () => {
        for (const { value } of files) detach(value);
        return before;
      },
      () => `[${files.map(({ name }) => name)}].forEach(detach); return ${JSON.stringify(before)};`,
    ],
    [
      () => {
        if (inside.length === 0) world.inside(seed, inside);
        return before;
      },
      () => `${inside.map((line) => line()).join(" ")} return ${JSON.stringify(before)};`,
    ],
  ]);
  Object.defineProperty(holder, key, { get: run, enumerable: true });
  return {
    value: model,
    code: () => marked.replace(`${JSON.stringify(key)}:"@"`, () => `get "${key}"() { ${code()} }`),
  };
}

/** Files as they can be handed over, or not all of them. */
function handedOver(random: Random, manner: Manner, paths: string[], files: Arg[]) {
  const byPath = paths.map((path, i) => [path, files[i] as Arg] as const);
  const code = () => byPath.map(([path, file]) => `["${path}"]: ${file.code()}`);
  const values = byPath.map(([path, { value }]) => [path, value] as const);
  const list: Arg = {
    value: files.map(({ value }) => value),
    code: () => `[${files.map((one) => one.code())}]`,
  };
  if (manner === "hostile" && random.oneIn(8)) {
    const other = random.pick([
      () => hostile(random),
      () => arg((list.value as unknown[]).slice(1), `${list.code()}.slice(1)`),
      () =>
        arg([...(list.value as unknown[]), new Uint8Array(0)], `[...${list.code()}, bytesOf("")]`),
      () => arg(saying(Symbol(), list.value as []), `saying(Symbol(), ${list.code()})`),
      () =>
        arg(
          saying({ toString: raise }, list.value as []),
          `saying({ toString: raise }, ${list.code()})`,
        ),
    ])();
    return { ...other, isPlain: false };
  }
  const given = random.pick<Arg>([
    list,
    { value: Object.fromEntries(values), code: () => `{ ${code()} }` },
    { value: new Map(values), code: () => `new Map(Object.entries({ ${code()} }))` },
    files.length === 1 ? (files[0] as Arg) : list,
  ]);
  return { ...given, isPlain: true };
}
