/** Calls of tensors. */
import { Tensor } from "batchnorm-wasm";
import type { Random } from "../../scripts/random.mjs";
import { hostileTensor, Options } from "./options.js";
import { type Anything, contiguous, product, resolve, same, themeOf, window } from "./theme.js";
import { type Arg, arg, hostile, hostileShape, numbers } from "./values.js";
import { bits, Fault, type Manner, rowMajor, type World } from "./world.js";

/** Tensor.zeros and Tensor.from, with shapes of every kind. */
export function make(world: World, random: Random, manner: Manner): void {
  const options = new Options();
  if (!random.oneIn(5)) options.set("kernel", arg(world.home.kernel, "k"));
  let shape: Arg = {
    value: [...random.pick(themeOf(world).shapes)],
    code: () => `[${(shape.value as number[]).join()}]`,
  };
  if (random.oneIn(6)) (shape.value as number[])[0] = 0;
  const size = product(shape.value as number[]);
  const seed = random.below(2 ** 31);
  const filling = random.oneIn(6) ? "wild" : "plain";
  let data: Arg = {
    value: numbers(size, seed, filling),
    code: () => `numbers(${size}, ${seed}, "${filling}")`,
  };
  if (random.oneIn(4)) {
    const values = [...(data.value as Float32Array)];
    data = { value: values, code: () => `[...numbers(${size}, ${seed}, "${filling}")]` };
  }
  const zeros = random.oneIn(2);
  const values = new Float32Array(data.value as Float32Array);
  let [benign, strange, other] = [true, false, false];
  if (manner === "hostile" && random.oneIn(2)) {
    const what = random.below(3);
    strange = what === 0;
    if (strange) shape = hostileShape(random);
    else if (what === 1) {
      other = true;
      data = hostile(random);
    } else options.mutate(world, random, ["kernel"]);
    benign = (what === 2 && options.benign) || (what === 1 && zeros);
  }
  const { value, code } = options.build();
  const name = world.name("t");
  const passed = shape.value;
  const sizes = strange ? null : [...(passed as number[])];
  world.attempt(
    () =>
      options.surrounded(
        zeros
          ? `${name} = Tensor.zeros(${shape.code()}, ${code()});`
          : `${name} = Tensor.from(${data.code()}, ${shape.code()}, ${code()});`,
      ),
    () =>
      options.surround(() =>
        zeros
          ? Tensor.zeros(passed as Anything, value as Anything)
          : Tensor.from(data.value as Anything, passed as Anything, value as Anything),
      ),
    {
      valid: benign,
      never: ["kernel"],
      returned: (tensor: Tensor) => {
        options.checkTaken();
        if (tensor.size * 4 > 2 ** 20) {
          // Too large to keep; but it must be one.
          const size = tensor.shape.reduce((a, b) => a * b, 1);
          if (tensor.data.length !== size) throw new Fault("a tensor's shape is not its size");
          tensor.dispose();
          return;
        }
        const got = checkedShape(tensor, sizes);
        const model = world.adopt(tensor, got, name);
        const now = world.now(model);
        if (zeros && now.some((value) => value !== 0)) throw new Fault("zeros are none", name);
        if (!zeros && !other) {
          if (bits(now).some((bit, i) => bit !== bits(values)[i])) {
            throw new Fault("a tensor is not what it was made from", name);
          }
        }
      },
    },
  );
}

/** A shape that belongs to its tensor, and is the one that was asked for. */
function checkedShape(tensor: Tensor, asked: readonly number[] | null): readonly number[] {
  const shape = Array.from(tensor.shape);
  const whole = shape.every((size) => Number.isSafeInteger(size) && size >= 0);
  if (!whole || shape.length === 0) throw new Fault("a tensor has no shape", `[${shape}]`);
  if (product(shape) !== tensor.size)
    throw new Fault("a tensor's shape is not its size", `[${shape}], ${tensor.size}`);
  if (asked && !same(asked, shape)) throw new Fault("a tensor has another shape", `[${shape}]`);
  return shape;
}

/** slice and reshape. */
export function view(world: World, random: Random, manner: Manner): void {
  const model = world.pick(random, world.tensors);
  if (!model) return;
  const { tensor, shape, strides, region, offset, name: of } = model;
  const name = world.name("t");
  if (random.oneIn(4) && shape.length === 1 && contiguous(model)) {
    // A tensor of one of the shapes, anywhere in it.
    const wanted = random.pick(themeOf(world).shapes);
    const size = product(wanted);
    const room = (shape[0] as number) - size;
    if (room >= 0) window(world, model, random.below(room + 1), wanted, size);
    return;
  }
  if (random.oneIn(2)) {
    const rank = shape.length;
    const axis = random.below(rank);
    const size = shape[axis] as number;
    const start = random.below(size + 1);
    const end = start + random.below(size - start + 1);
    const args: Arg[] = [
      arg(random.oneIn(2) ? axis : axis - rank, ""),
      arg(start, ""),
      arg(random.oneIn(4) ? undefined : end, ""),
    ].map(({ value }) => arg(value, `${value}`));
    const wrong = manner === "hostile" && random.oneIn(2);
    if (wrong) args[random.below(3)] = hostile(random);
    if (wrong && random.oneIn(3)) args[random.below(3)] = hostile(random);
    const [a, b, c] = args.map(({ value }) => value) as number[];
    world.attempt(
      () => `${name} = ${of}.slice(${args.map(({ code }) => code()).join(", ")});`,
      () => tensor.slice(a as number, b as number, c),
      {
        valid: !wrong,
        never: ["kernel"],
        returned: (view: Tensor) => {
          // No end is the end of the axis.
          const given = [a, b, c ?? 0];
          if (!given.every((value) => Number.isInteger(value))) {
            throw new Fault("slice takes what is no index", args.map(({ code }) => code()).join());
          }
          const at = resolve(a as number, rank);
          const size = shape[at] as number;
          const place = (index: number) => (index < 0 ? index + size : index);
          const first = place(b as number);
          const length = Math.max(0, place(c ?? size) - first);
          const next = [...shape];
          next[at] = length;
          world.view(view, region, next, strides, offset + first * (strides[at] as number), name);
        },
      },
    );
    return;
  }
  const size = product(shape);
  const fit = [
    ...themeOf(world).shapes.filter((one) => product(one) === size),
    [size],
    [1, size],
    [...shape].reverse(),
  ];
  const to = [...random.pick(fit)];
  let asked: Arg = arg(to, `[${to}]`);
  if (random.oneIn(3) && size > 0) {
    const free = [...to];
    free[random.below(to.length)] = -1;
    asked = arg(free, `[${free}]`);
  }
  const wrong = manner === "hostile" && random.oneIn(2);
  if (wrong) asked = hostileShape(random);
  world.attempt(
    () => `${name} = ${of}.reshape(${asked.code()});`,
    () => tensor.reshape(asked.value as Anything),
    {
      valid: !wrong && contiguous(model) && size > 0,
      never: ["kernel"],
      returned: (view: Tensor) => {
        const got = checkedShape(view, wrong ? null : to);
        if (view.size !== size) throw new Fault("reshape changes the size", `${view.size}`);
        world.view(view, region, got, rowMajor(got), offset, name);
      },
    },
  );
}

/** Reading a tensor's elements. */
export function read(world: World, random: Random): void {
  const model = random.pick(world.tensors);
  const { tensor, name, disposed } = model;
  const how = random.pick(["data", "toFloat32Array", "toString", "inspect"]);
  world.attempt(
    () =>
      how === "data"
        ? `${name}.data;`
        : how === "inspect"
          ? `${name}[Symbol.for("nodejs.util.inspect.custom")]();`
          : `${name}.${how}();`,
    () => {
      if (how === "data") return tensor.data;
      if (how === "inspect") {
        return (tensor as unknown as Record<symbol, () => string>)[
          Symbol.for("nodejs.util.inspect.custom")
        ]?.();
      }
      return tensor[how as "toString"]();
    },
    {
      valid: !disposed && (how !== "data" || contiguous(model)),
      returned: (got: unknown) => {
        if (!(got instanceof Float32Array)) return;
        if (disposed) throw new Fault("a disposed tensor is read", name);
        const right = bits(world.values(model));
        const values = bits(got);
        if (values.length !== right.length || values.some((bit, i) => bit !== right[i])) {
          throw new Fault(`${how} gives other elements`, name);
        }
      },
    },
  );
}

/** `set(values, offset)`, where there is one. */
export function set(world: World, random: Random, manner: Manner): void {
  const model = random.pick(world.tensors);
  const { tensor } = model;
  const { places, name, disposed } = model;
  const offset = random.below(places.length + 1);
  const length = random.below(places.length - offset + 1);
  const seed = random.below(2 ** 31);
  let values: Arg = arg(numbers(length, seed, "plain"), `numbers(${length}, ${seed}, "plain")`);
  let at: Arg = arg(offset, `${offset}`);
  const other = world.pick(
    random,
    world.tensors,
    (one) => one.places.length <= places.length - offset,
  );
  let source = values.value as Float32Array;
  if (other && random.oneIn(3)) {
    values = arg(other.tensor, other.name);
    if (contiguous(other) && random.oneIn(2)) values = arg(other.tensor.data, `${other.name}.data`);
    source = world.values(other);
  }
  const wrong = manner === "hostile" && random.oneIn(2);
  if (wrong) {
    if (random.oneIn(2)) values = random.oneIn(3) ? hostileTensor(world, random) : hostile(random);
    else at = hostile(random);
  }
  world.attempt(
    () => `${name}.set(${values.code()}, ${at.code()});`,
    () => tensor.set(values.value as Anything, at.value as Anything),
    {
      valid: !wrong && !disposed,
      never: ["kernel"],
      writes: [model],
      returned: () => {
        if (disposed) throw new Fault("a disposed tensor is written", name);
        if (at.value !== undefined && at.value !== null && !Number.isInteger(at.value)) {
          throw new Fault("set takes what is no offset", at.code());
        }
        if (wrong) return;
        const [now, was] = [bits(world.now(model)), bits(world.values(model))];
        was.set(bits(source), offset);
        if (now.some((bit, i) => bit !== was[i])) throw new Fault("set writes other values", name);
      },
    },
  );
}

export function dispose(world: World, random: Random): void {
  const model = world.pick(random, world.tensors);
  if (!model || (model.region.views === 1 && random.oneIn(2))) return;
  world.attempt(
    () => `${model.name}.dispose();`,
    () => {
      world.gone(model);
      model.tensor.dispose();
    },
    { valid: true },
  );
}
