/** What every operation has to refuse, derived from its description in `operations.ts`. */
import { type BatchNormErrorCode, createKernel, Tensor } from "batchnorm-wasm";
import { counting, kernelBytes, type Watched, wrong } from "./call-helpers.js";
import { callWith, type Example, type Operation, type Role } from "./operations.js";

/** What is refused with a code: calls over an example, each with the words of its message. */
interface Refusal {
  readonly title: string;
  readonly code: BatchNormErrorCode;
  readonly cases: (example: Example) => readonly Case[];
}

interface Case {
  readonly words: readonly string[];
  readonly call: () => unknown;
  /** What must stay as it was, beside all of the example. */
  readonly watched?: readonly Watched[];
}

const other = createKernel(kernelBytes);

const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const shown = (shape: readonly number[]) => `[${shape.join(", ")}]`;

/** Anything but what it should be, and how the message tells it. */
type Wrong = readonly [value: unknown, ...words: string[]];

interface Fault {
  readonly title: string;
  readonly roles: readonly Role[];
  readonly code: BatchNormErrorCode;
  /** In place of the operand of that name, which may be spoilt. */
  readonly values: (operand: unknown, name: string, role: Role) => readonly Wrong[];
}

/** What is wrong with an operand by itself. */
const FAULTS: readonly Fault[] = [
  {
    title: "was disposed",
    roles: ["x", "dy", "added", "output", "vector", "statistics", "state", "mask", "weights"],
    code: "disposed",
    values: (operand, name) => {
      const gone = counting([...(operand as Tensor).shape]);
      gone.dispose();
      return [[gone, `: ${name} was disposed`]];
    },
  },
  {
    title: "was disposed",
    roles: ["record"],
    code: "disposed",
    values: (operand, name) => {
      (operand as Watched).dispose();
      return [[operand, name]];
    },
  },
  {
    title: "is no record",
    roles: ["record"],
    code: "invalid-option",
    values: (_, name) => [[{}, name]],
  },
  {
    title: "has another length or rank, or gaps",
    roles: ["vector", "statistics", "state"],
    code: "shape-mismatch",
    values: (_, name, role) => {
      const strided = counting([3, 2]).slice(1, 0, 1);
      const tensors = [counting([4]), counting([1, 3]), counting([2]), strided];
      const plain = role === "state" ? [] : [[[0, 0], `: ${name}`, "3 values", "[2]"] as const];
      const words = [`: ${name} must be`, "3 values"];
      return [...tensors.map((one) => [one, ...words, shown(one.shape)] as const), ...plain];
    },
  },
  {
    title: "has another shape than x, also with as many elements",
    roles: ["dy", "added", "output"],
    code: "shape-mismatch",
    values: (_, name, role) => {
      const shapes = [[3, 4], [12], [4, 3, 1], [5, 3]];
      const wrong: Wrong[] = shapes.map((shape) => [
        counting(shape),
        ...[name, "[4, 3]", `got ${shown(shape)}`],
      ]);
      if (role !== "output") wrong.push([{ data: [1, 2, 3], shape: [1, 3] }, name, "[1, 3]"]);
      return wrong;
    },
  },
  {
    title: "has no shape that broadcasts to that of x's positions",
    roles: ["mask", "weights"],
    code: "shape-mismatch",
    values: (_, name) => {
      const shapes = [[3], [4, 3], [1, 4, 1], [2, 4], [0]];
      const tensors = shapes.map((shape): Wrong => {
        const ones = Tensor.from(new Array(size(shape)).fill(1), shape);
        return [ones, `: ${name} must be of shape [4]`, `got ${shown(shape)}`];
      });
      const plain = { data: [1, 1], shape: [2] };
      return [...tensors, [plain, name, "[4]", "[2]"], [[1, 1, 1], name, "[4]", "3 values"]];
    },
  },
  {
    title: "is { data, shape } whose shape isn't filled",
    roles: ["mask", "weights"],
    code: "invalid-shape",
    values: (_, name) => [[{ data: [1, 1], shape: [4] }, name, "[4]", "data of 2"]],
  },
  {
    title: "is no number that can weigh",
    roles: ["weights"],
    code: "invalid-option",
    values: (_, name) =>
      [-1, -1e-45, Number.NaN, Infinity, -Infinity].flatMap((wrong): Wrong[] => {
        const values = [1, 0, wrong, 2];
        const words = [`: ${name} must be finite, from 0 on`, `got ${Math.fround(wrong)}`];
        return [
          [values, ...words],
          [Tensor.from(values), ...words],
          [{ data: Float32Array.from(values), shape: [4, 1] }, ...words],
        ];
      }),
  },
  {
    title: "is neither 0 nor 1",
    roles: ["mask"],
    code: "invalid-option",
    values: (_, name) =>
      [-1, 0.5, 2, 255, 1e-45, 1 + 2 ** -23, Number.NaN, Infinity].flatMap((wrong): Wrong[] => {
        const values = [1, 0, wrong, 0];
        const words = [`: ${name} must be of 0 and 1, or booleans`, `got ${Math.fround(wrong)}`];
        return [
          [values, ...words],
          [Tensor.from(values), ...words],
        ];
      }),
  },
  {
    title: "is another kind of array, or no array",
    roles: ["mask", "weights"],
    code: "dtype",
    values: (_, name, role) => [
      [new Float64Array(4), `: ${name}`, "Float64Array"],
      [["1", "0", "1", "1"], `: ${name}`, '"1"'],
      [[[1, 0, 1, 1]], `: ${name}`, "flatten"],
      [true, `: ${name}`, "got true"],
      [1, `: ${name}`, "got 1"],
      [{ data: new Float64Array(4), shape: [4] }, `: ${name}`, "Float64Array"],
      ...(role === "weights" ? [[[true, false, true, true], `: ${name}`, "true"] as const] : []),
    ],
  },
  {
    title: "is a bare array",
    roles: ["x", "dy", "added", "output", "state"],
    code: "dtype",
    values: (operand, name) => {
      const bare = new Float32Array(size((operand as Tensor).shape));
      return [[bare, `: ${name} must be a Tensor`, "got Float32Array"]];
    },
  },
  {
    title: "is nothing like a tensor",
    roles: ["x", "dy", "added"],
    code: "dtype",
    values: (_, name, role) =>
      [...(role === "added" ? [] : [undefined, null]), 3, "x", {}, [1, 2, 3]].map((value) => [
        value,
        `${name} must be a Tensor`,
      ]),
  },
  {
    title: "is { data, shape } of another kind of data",
    roles: ["x", "dy", "added"],
    code: "dtype",
    values: (_, name) => [[{ data: new Float64Array(12), shape: [4, 3] }, name, "Float64Array"]],
  },
  {
    title: "is { data, shape } whose shape is none, or isn't filled",
    roles: ["x", "dy", "added"],
    code: "invalid-shape",
    values: (_, name) => [
      [{ data: [1, 2], shape: "2" }, name, "shape"],
      [{ data: [1, 2], shape: [1, 3] }, name, "[1, 3]", "data of 2"],
    ],
  },
  {
    title: "is another kind of array",
    roles: ["vector"],
    code: "dtype",
    values: (_, name) => [[new Float64Array(3), name, "Float64Array"]],
  },
  {
    title: "is another kind of array",
    roles: ["statistics"],
    code: "dtype",
    values: (_, name) => [[new Int16Array(3), name, "Int16Array"]],
  },
  {
    title: "is { data, shape }",
    roles: ["output", "state"],
    code: "dtype",
    values: (operand, name, role) => {
      const { shape } = operand as Tensor;
      const plain = { data: new Float32Array(size(shape)), shape };
      const remedy = role === "output" ? ["Tensor.zeros"] : [];
      return [[plain, `${name} must be a Tensor`, ...remedy]];
    },
  },
];

/** What no option of that name may be: every option of an operation has to be here. */
const OPTIONS: Record<string, readonly Wrong[]> = {
  axis: [[0.5, "axis", "0.5"]],
  axes: [
    [0.5, "axis", "0.5"],
    [[0, "1"], "axis", '"1"'],
    ["1", "axis", '"1"'],
  ],
  groups: [0, -2, 0.5, "1"].map((value) => [value, "groups", "from 1 on, or -1"]),
  ...Object.fromEntries(
    ["numGroups", "virtualBatchSize"].map((name) => [
      name,
      [0, -1, 0.5, Number.NaN, 2 ** 30 + 1, "1"].map(
        (value): Wrong => [value, ...[name, "a whole number from 1 on"]],
      ),
    ]),
  ),
  momentum: [-0.1, 1.001, Number.NaN, Number.POSITIVE_INFINITY, "0.1"].map((value) => [
    value,
    ...["momentum", "from 0 to 1"],
  ]),
  eps: [-1e-9, Number.NaN, Number.POSITIVE_INFINITY, "1e-5", false].map((value) => [
    value,
    ...["eps", typeof value === "string" ? '"1e-5"' : `got ${value}`],
  ]),
  renorm: [[3, "renorm", "got 3"]],
  runningVariance: [["yes", "runningVariance", '"biased"', '"yes"']],
  training: [["yes", "training", '"yes"']],
  statistics: [["yes", "statistics", '"yes"']],
  updateRunningStats: [["yes", "updateRunningStats", '"yes"']],
  trainable: [["yes", "trainable", '"yes"']],
  activation: ["tanh", "ReLU", 1, false].map((value) => [value, "activation", '"leaky-relu"']),
  negativeSlope: [-0.1, 1.001, Number.NaN, "0.1"].map((value) => [value, "negativeSlope"]),
  preset: ["pytorch", "toString", 1].map((value) => [value, "preset", "There are: torch, "]),
  kernel: [{}, kernelBytes, "default", 1, false].map((value) => [value, "kernel", "createKernel"]),
  saved: [{}, "last", 1, false].map((value) => [value, "saved", "takeSaved()"]),
  ...Object.fromEntries(
    [
      ...["affine", "scale", "offset", "trackRunningStats", "requiresGrad"],
      ...["elementwiseAffine", "bias"],
    ].map((name) => [name, [[1, name, "true, false", "got 1"]]]),
  ),
};
OPTIONS.epsilon = OPTIONS.eps as readonly Wrong[];
OPTIONS.renormMomentum = [[1.5, "renormMomentum", "from 0 to 1"]];
OPTIONS.renormClipping = [[3, "renormClipping"]];
OPTIONS.center = [[1, "true, false", "got 1"]];

/** A preset is one of some names, and refused as a name of an option is. */
const codeOf = (option: string) => (option === "preset" ? "unknown-option" : "invalid-option");

function wrongOptions(name: string, owner: string): readonly Wrong[] {
  const values = OPTIONS[name];
  if (!values) throw new Error(`what ${owner}'s option ${name} must not be is to stand in OPTIONS`);
  return values;
}

/** All that an operation refuses for what its description says. */
export function refusalsOf(operation: Operation): readonly Refusal[] {
  const { operands } = operation;
  const names = Object.entries(operands);
  const [first] = names[0] ?? [];
  const ofOperands = names.flatMap(([name, role]) =>
    FAULTS.filter(({ roles }) => roles.includes(role)).map(({ title, code, values }) => ({
      title: `${name} that ${title}`,
      code,
      cases: (example: Example) =>
        values(example[name], name, role).map(([value, ...words]) =>
          caseOf(operation, example, { [name]: value }, words),
        ),
    })),
  );
  return [
    ...ofOperands,
    ...names.map(([name, role]) => foreign(operation, name, role)),
    ...ofOptions(operation),
    ...(first === undefined ? [] : ofInput(operation, first)),
  ];
}

/** A call with some changes to a right one. */
function caseOf(
  operation: Operation,
  example: Example,
  changes: Record<string, unknown>,
  words: readonly string[],
  more: readonly Watched[] = [],
): Case {
  const watched = [...Object.values(changes).filter((one) => one instanceof Tensor), ...more];
  return { words, call: () => callWith(operation, example, changes), watched };
}

/** An operand of another kernel; x itself says which one it is, unless the options do. */
function foreign(operation: Operation, name: string, role: Role): Refusal {
  return {
    title: `${name} of another kernel`,
    code: "foreign-kernel",
    cases: (example) => {
      const far = operation.example(other);
      // A record says which kernel it is, too, where there must be one: then it is the others.
      const decides = role === "record" && (operation.required ?? []).includes(name);
      const words = [...(decides ? [] : [name]), "another kernel"];
      if (role === "x" && operation.options.includes("kernel")) {
        return [caseOf(operation, example, { kernel: other }, words)];
      }
      return [
        caseOf(operation, example, { [name]: far[name] }, words, far.all),
        caseOf(operation, far, { [name]: example[name] }, words, far.all),
      ];
    },
  };
}

function ofOptions(operation: Operation): readonly Refusal[] {
  const { operands, required = [], together, apart, options } = operation;
  const [first, ...named] = Object.keys(operands);
  const refusals: Refusal[] = [
    ...options.map((name): Refusal => {
      const values = wrongOptions(name, operation.name);
      return {
        title: `${name} that is none`,
        code: codeOf(name),
        cases: (example) =>
          values.map(([value, ...words]) => caseOf(operation, example, { [name]: value }, words)),
      };
    }),
    {
      title: "options that are no object",
      code: "invalid-option",
      cases: (example) =>
        [true, 1e-5, "eps", [], new Map(), new Date(), new Float32Array(2), () => 0].map(
          (value) => ({
            words: ["options"],
            call: () => operation.call(example, wrong(example[first ?? ""]), wrong(value)),
          }),
        ),
    },
    {
      // They have a kernel, which may be an option's name.
      title: "a tensor, a layer or saved values where options should be",
      code: "invalid-option",
      cases: (example) =>
        example.all.map((value) => ({
          words: ["options must be", ...named, ...options, `got ${value[Symbol.toStringTag]}`],
          call: () => operation.call(example, wrong(example[first ?? ""]), wrong(value)),
        })),
    },
    {
      title: "an option of a name that is near to one",
      code: "unknown-option",
      cases: (example) =>
        [...named, ...options].map((name) => {
          // There are a weight and weights.
          const near = [`${name}s`, `${name}z`].find((one) => !named.includes(one)) as string;
          const words = [`option "${near}"`, `mean "${name}"`];
          return caseOf(operation, example, { [near]: undefined }, words);
        }),
    },
  ];
  if (required.length > 0) {
    refusals.push({
      title: "no options, or too few",
      code: "invalid-option",
      cases: (example) => [
        ...required.map((name) => caseOf(operation, example, { [name]: undefined }, [name])),
        {
          words: [required[0] as string],
          call: () => operation.call(example, wrong(example[first ?? ""]), wrong(undefined)),
        },
      ],
    });
  }
  if (apart) {
    const [one, another] = apart;
    refusals.push({
      title: `${one} and ${another} at once`,
      code: "invalid-option",
      cases: (example) => {
        const both = { [one]: example[one], [another]: example[another] };
        return [caseOf(operation, example, both, [`${one} and ${another} exclude each other`])];
      },
    });
  }
  if (together) {
    const [one, another] = together;
    refusals.push(
      {
        title: `${one} without ${another}, or the other way about`,
        code: "invalid-option",
        cases: (example) =>
          together.map((name) =>
            caseOf(operation, example, { [name]: undefined }, [
              `${one} and ${another} go together`,
            ]),
          ),
      },
      {
        title: `one tensor for ${one} and ${another}`,
        code: "overlap",
        cases: (example) => [caseOf(operation, example, { [one]: example[another] }, [one])],
      },
    );
  }
  return refusals;
}

/** What the input, along an axis and beside an output, must not be. */
function ofInput(operation: Operation, first: string): readonly Refusal[] {
  const { operands, options } = operation;
  const refusals: Refusal[] = [];
  if (options.includes("axis")) {
    refusals.push({
      title: `an axis that ${first} doesn't have`,
      code: "shape-mismatch",
      cases: (example) => [
        ...[2, -3].map((axis) => caseOf(operation, example, { axis }, [`axis ${axis}`, "rank 2"])),
        caseOf(operation, example, { [first]: counting([3]) }, ["axis 1", "rank 1"]),
      ],
    });
  }
  if ("out" in operands) {
    refusals.push(
      {
        title: `out that shares only a part of ${first}`,
        code: "overlap",
        cases: (example) => {
          const whole = counting([6, 3]);
          const [input, out] = [whole.slice(0, 0, 4), whole.slice(0, 1, 5)];
          const words = ["out overlaps", "in place"];
          return [caseOf(operation, example, { [first]: input, out }, words, [whole])];
        },
      },
      {
        title: `out beside ${first} as { data, shape }`,
        code: "invalid-option",
        cases: (example) => {
          const plain = { data: new Float32Array(12), shape: [4, 3] };
          const changes = { [first]: plain, out: example.out };
          return [caseOf(operation, example, changes, ["out needs a Tensor"])];
        },
      },
    );
  }
  return refusals;
}
