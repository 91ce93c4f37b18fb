/** Scopes, kernels, Proxies, forgeries, and assignments to what is not to be assigned. */
import { isDeepStrictEqual } from "node:util";
import * as library from "batchnorm-wasm";
import {
  createKernel,
  type Kernel,
  memoryUsage,
  presets,
  reserve,
  scope,
  Tensor,
  traceMemory,
} from "batchnorm-wasm";
import { Random } from "../../scripts/random.mjs";
import { limited } from "../limited.js";
import { forwardLayer } from "./batch/layers.js";
import { Options } from "./options.js";
import { make, view } from "./tensors.js";
import type { Anything } from "./theme.js";
import { type Arg, arg, hostile, raise, transparent } from "./values.js";
import { Fault, type Manner, type TensorModel, VECTORS, type World } from "./world.js";

/** What users may read and not write, of each kind of object. */
const READ_ONLY = {
  tensor: "shape strides offset size extent contiguous storage address disposed",
  numbers: "0 length",
  storage: "address bytes version",
  layer:
    "axis numFeatures weight bias runningMean runningVar numBatchesTracked trackRunningStats " +
    "runningVariance saved",
  presets: "torch",
  preset: "eps momentum axis names",
};

/** Assignments to what is not to be assigned: nothing may change by trying. */
export function assign(world: World, random: Random, manner: Manner): void {
  if (manner === "mild") return;
  const { tensor, name } = random.pick(world.tensors);
  const layer = world.pick(random, world.layers);
  const record = world.pick(random, world.records, ({ superseded }) => !superseded);
  const targets: readonly (readonly [keyof typeof READ_ONLY | "record", unknown, string])[] = [
    ["tensor", tensor, name],
    ["numbers", tensor.shape, `${name}.shape`],
    ["numbers", tensor.strides, `${name}.strides`],
    ["storage", tensor.storage, `${name}.storage`],
    ["layer", layer?.layer, layer?.name ?? ""],
    ["record", record?.record, record?.name ?? ""],
    ["presets", presets, "presets"],
    ["preset", presets.torch, "presets.torch"],
  ];
  const [kind, target, path] = random.pick(targets);
  if (!target) return;
  const holder = target as Record<string, unknown>;
  const field = random.pick(kind === "record" ? told(target) : READ_ONLY[kind].split(" "));
  const value = hostile(random);
  world.attempt(
    () => `try { ${path}[${JSON.stringify(field)}] = ${value.code()}; } catch {}`,
    () => {
      const before = holder[field];
      try {
        holder[field] = value.value;
      } catch (error) {
        // The language's own way to refuse.
        if (!(error instanceof TypeError)) throw error;
      }
      const after = holder[field];
      if (Object.is(after, before)) return;
      // Arrays, and a plain object of these, may be a copy. (Objects of a class may not: private
      // fields don't count in deep equality.)
      const isPlain = before != null && Object.getPrototypeOf(before) === Object.prototype;
      const isCopy = isPlain || Array.isArray(before) || ArrayBuffer.isView(before);
      if (isCopy && isDeepStrictEqual(after, before)) return;
      throw new Fault(`${field} of a ${kind} can be set`);
    },
  );
}

/** The accessors of a record, of whatever norm: its class's, and of those above that. */
function told(record: object): string[] {
  const above = Object.getPrototypeOf(record);
  if (above === Object.prototype) return [];
  const all = Object.entries(Object.getOwnPropertyDescriptors(above));
  return [...all.flatMap(([name, { get }]) => (get ? [name] : [])), ...told(above)];
}

/** What a record tells, and its end. */
export function record(world: World, random: Random): void {
  const model = world.pick(random, world.records);
  if (!model) return;
  const { record, name } = model;
  if (random.oneIn(3)) {
    world.attempt(
      () => `${name}.dispose();`,
      () => record.dispose(),
      { valid: true },
    );
    model.disposed = true;
    return;
  }
  const field = random.pick(told(record));
  world.attempt(
    () => `${name}[${JSON.stringify(field)}];`,
    () => (record as unknown as Record<string, unknown>)[field],
    { never: ["kernel"], returned: (value: unknown) => model.told?.(field, value) },
  );
}

/** A scope with calls inside, that returns some of what they made, in some container. */
export function scoped(world: World, random: Random, manner: Manner): void {
  if (world.depth > 1) return;
  const [first, seed] = [world.tensors.length, random.below(2 ** 31)];
  const count = random.below(4);
  const wrap = manner === "mild" ? random.below(4) : random.below(13);
  let made: TensorModel[] = [];
  let kept: TensorModel[] = [];
  const lines: (() => string)[] = [];
  let result: Arg = arg(undefined, "undefined");
  const firstRecord = world.records.length;
  const body = () => {
    const outer = world.log;
    world.log = lines;
    try {
      for (let i = 0; i < count; i++) {
        const which = (seed + i * 7919) >>> 0;
        (which % 3 === 0 ? view : which % 3 === 1 ? make : forwardLayer)(
          world,
          new Random(which),
          "mild",
        );
      }
    } finally {
      world.log = outer;
    }
    const scopedHome = (one: TensorModel) => one.region.home === world.home;
    const owned = new Set(
      world.everyLayer.flatMap((layer) => VECTORS.map((field) => layer.state[field])),
    );
    made = world.tensors.slice(first).filter((one) => scopedHome(one) && !owned.has(one.tensor));
    kept = made.filter((one) => !one.disposed && (one.places.length + made.length) % 2 === 0);
    if ([8, 9, 10, 12].includes(wrap)) kept = [];
    result = container(wrap, kept, random);
    return result.value;
  };
  const after = (end: "returned" | "threw") => {
    // Through a Proxy nobody can tell whose tensor it is.
    const goes = (one: TensorModel) =>
      !(end === "returned" && kept.includes(one)) || (wrap === 11 && one.tensor.disposed);
    for (const one of made) if (goes(one)) world.gone(one);
    for (const record of world.records.slice(firstRecord)) {
      if (record.record.disposed) record.disposed = true;
    }
  };
  const valid = wrap < 4;
  world.attempt(
    () =>
      `scope(() => { ${lines.map((line) => line()).join(" ")} return ${result.code()}; }, { kernel: k });`,
    () => scope(body, { kernel: world.home.kernel }),
    {
      valid,
      frees: true,
      returned: () => after("returned"),
      threw: () => after("threw"),
    },
  );
}

/** What a scope's function may return tensors in. */
function container(wrap: number, kept: readonly TensorModel[], random: Random): Arg {
  const tensors = kept.map(({ tensor }) => tensor);
  const names = kept.map(({ name }) => name).join(", ");
  switch (wrap) {
    case 0:
    case 1:
      return arg(tensors, `[${names}]`);
    case 2:
      return arg({ a: { b: tensors } }, `{ a: { b: [${names}] } }`);
    case 3: {
      const ring: unknown[] = [tensors];
      ring.push(ring);
      return arg(ring, `((ring) => (ring.push(ring), ring))([[${names}]])`);
    }
    case 4:
      return arg(
        new Map(tensors.map((one, i) => [i, one])),
        `new Map([${names}].map((one, i) => [i, one]))`,
      );
    case 5:
      return arg(new Set(tensors), `new Set([${names}])`);
    case 6: {
      class Holder {
        held = tensors;
      }
      return arg(new Holder(), `new (class { held = [${names}]; })()`);
    }
    case 7:
      return arg(transparent(tensors), `transparent([${names}])`);
    case 8:
      return arg(Promise.resolve(tensors), `Promise.resolve([${names}])`);
    case 9:
      return arg(
        Object.defineProperty({ tensors }, "x", { get: raise, enumerable: true }),
        `{ tensors: [${names}], get x() { return raise(); } }`,
      );
    case 10:
      return arg(
        // biome-ignore lint/suspicious/noThenProperty: the question is what it does
        Object.defineProperty({}, "then", { get: raise }),
        "{ get then() { return raise(); } }",
      );
    case 11: {
      const all = kept.map(({ tensor }) => transparent(tensor));
      return arg(all, `[${names}].map(transparent)`);
    }
    default:
      return hostile(random);
  }
}

/** Methods of what a reactive framework has wrapped: they work, or say so. */
export function wrapped(world: World, random: Random, manner: Manner): void {
  if (manner === "mild") return;
  const targets = [
    ...world.everyLayer.map(({ layer, name }) => ({ target: layer as object, name })),
    ...world.records.map(({ record, name }) => ({ target: record as object, name })),
    ...world.tensors.slice(-4).map(({ tensor, name }) => ({ target: tensor as object, name })),
  ];
  const { target, name } = random.pick(targets);
  const fields = new Set<string>();
  for (let on: object | null = target; on && on !== Object.prototype; ) {
    for (const field of Object.getOwnPropertyNames(on)) fields.add(field);
    on = Object.getPrototypeOf(on);
  }
  fields.delete("constructor");
  const field = random.pick([...fields]);
  const proxy = transparent(target) as Record<string, unknown>;
  const value = hostile(random);
  world.attempt(
    () =>
      `((p) => typeof p.${field} === "function" ? p.${field}(${value.code()}) : p.${field})(transparent(${name}));`,
    () => {
      const member = proxy[field];
      return typeof member === "function" ? member.call(proxy, value.value) : member;
    },
    { never: ["kernel"] },
  );
}

const smallest = limited(4, 64);

/** As much as there may be is taken at once, and for good: not that much. */
const moderate = ({ value }: Arg) => typeof value !== "number" || value < 1e6 || value >= 2 ** 32;

/** Kernels and their memory. */
export function kernel(world: World, random: Random, manner: Manner): void {
  const options = new Options();
  options.set("kernel", arg(world.home.kernel, "k"));
  const whole = manner === "mild" ? arg(1000, "1000") : hostile(random);
  if (!moderate(whole)) return;
  const initial = new Options();
  initial.set("initialBytes", whole);
  if (manner === "hostile" && random.oneIn(2)) initial.mutate(world, random, ["initialBytes"]);
  if (manner === "hostile" && random.oneIn(2)) options.mutate(world, random, ["kernel"]);
  const { value, code } = options.build();
  const is = (fits: boolean, what: string) => {
    options.checkTaken();
    if (!fits) throw new Fault(`${what} takes what it can't`, whole.code());
  };
  random.pick([
    () =>
      world.attempt(
        () => options.surrounded(`memoryUsage(${code()});`),
        () => options.surround(() => memoryUsage(value as Anything)),
        { valid: options.benign, returned: () => is(true, "memoryUsage") },
      ),
    () =>
      world.attempt(
        () => options.surrounded(`reserve(${whole.code()}, ${code()});`),
        () => options.surround(() => reserve(whole.value as Anything, value as Anything)),
        {
          valid: manner === "mild",
          returned: () => is(Number.isSafeInteger(whole.value), "reserve"),
        },
      ),
    () => {
      const on = manner === "mild" ? arg(true, "true") : whole;
      world.attempt(
        () => options.surrounded(`traceMemory(${on.code()}, ${code()});`),
        () => options.surround(() => traceMemory(on.value as Anything, value as Anything)),
        {
          valid: manner === "mild",
          returned: () => is([true, false, undefined].includes(on.value as boolean), "traceMemory"),
        },
      );
    },
    () =>
      world.attempt(
        () => `createKernel(${whole.code()});`,
        () => createKernel(whole.value as Anything),
        { returned: () => is(false, "createKernel") },
      ),
    () => {
      const made = initial.build();
      world.attempt(
        () => initial.surrounded(`createKernel(module, ${made.code()});`),
        () => initial.surround(() => createKernel(smallest, made.value as Anything)),
        {
          valid: manner === "mild",
          returned: (kernel: Kernel) => {
            initial.checkTaken();
            Tensor.zeros([3], { kernel }).dispose();
          },
        },
      );
    },
    () => {
      // That a class is no function to call is the language's to say.
      if (manner === "mild" || whole.code().startsWith("class")) return;
      world.attempt(
        () => `scope(${whole.code()}, ${code()});`,
        () => scope(whole.value as Anything, value as Anything),
        { frees: true },
      );
    },
  ])();
}

type Class = (new (...all: unknown[]) => object) & { readonly prototype: object };

/** The classes that the package exports, but for errors. */
const CLASSES = Object.entries(library).flatMap(([name, value]): [string, Class][] => {
  const one = value as Class;
  return /^[A-Z]/.test(name) && !(one.prototype instanceof Error) ? [[name, one]] : [];
});

/** Objects made by hand, and methods of what they don't belong to. */
export function forge(world: World, random: Random, manner: Manner): void {
  if (manner === "mild") return;
  const { tensor, name } = random.pick(world.tensors);
  const value = random.pick([
    () => hostile(random),
    () => arg(tensor, name),
    () => arg(tensor.storage, `${name}.storage`),
    () => arg(world.home.kernel, "k"),
    () => arg(Object.create(Tensor.prototype), "Object.create(Tensor.prototype)"),
    () => arg(Object.create(tensor), `Object.create(${name})`),
  ])();
  const [Class, made] = random.pick(CLASSES);
  // Layers and moments are made by hand; what has none of their methods is not.
  const isMade = "forward" in made.prototype || "toJSON" in made.prototype;
  if (random.oneIn(3) && !isMade) {
    world.attempt(
      () => `new ${Class}(${value.code()});`,
      () => new made(value.value, [2], [1], 0),
      {
        returned: () => {
          throw new Fault(`a ${Class} is made by hand`, value.code());
        },
      },
    );
    return;
  }
  // Of tensors: what they may do is done above.
  if (world.modelOf.has(value.value)) return;
  const members = Object.getOwnPropertyNames(made.prototype).filter((one) => one !== "constructor");
  const member = random.pick(members);
  const { get, value: method } = Object.getOwnPropertyDescriptor(made.prototype, member) ?? {};
  const call = get ?? method;
  world.attempt(
    () =>
      `Reflect.${get ? "get" : "apply"}(${Class}.prototype${get ? `, "${member}"` : `.${member}`}, ${value.code()}${get ? "" : ", [1]"});`,
    () => {
      try {
        return (call as (...all: unknown[]) => unknown).call(value.value, 1);
      } catch (error) {
        // What a method does not belong to, the language may refuse.
        if (error instanceof TypeError) return undefined;
        throw error;
      }
    },
    { never: ["kernel"] },
  );
}
