/**
 * An ONNX model of one normalization, encoded by protobufjs. The messages are the
 * part of onnx.proto (version 1.14) that such a model needs, with its field numbers.
 */
import protobuf from "protobufjs";

const { root } = protobuf.parse(
  `
  syntax = "proto2";
  message ModelProto {
    optional int64 ir_version = 1;
    optional GraphProto graph = 7;
    repeated OperatorSetIdProto opset_import = 8;
  }
  message OperatorSetIdProto { optional string domain = 1; optional int64 version = 2; }
  message GraphProto {
    repeated NodeProto node = 1;
    optional string name = 2;
    repeated TensorProto initializer = 5;
    repeated ValueInfoProto input = 11;
    repeated ValueInfoProto output = 12;
  }
  message NodeProto {
    repeated string input = 1;
    repeated string output = 2;
    optional string op_type = 4;
    repeated AttributeProto attribute = 5;
  }
  message AttributeProto {
    optional string name = 1;
    optional float f = 2;
    optional int64 i = 3;
    optional int32 type = 20;
  }
  message TensorProto {
    repeated int64 dims = 1;
    optional int32 data_type = 2;
    optional string name = 8;
    optional bytes raw_data = 9;
  }
  message ValueInfoProto { optional string name = 1; optional TypeProto type = 2; }
  message TypeProto { optional Tensor tensor_type = 1;
    message Tensor { optional int32 elem_type = 1; optional TensorShapeProto shape = 2; } }
  message TensorShapeProto { repeated Dimension dim = 1;
    message Dimension { optional int64 dim_value = 1; } }
  `,
  { keepCase: true },
);
const Model = root.lookupType("ModelProto");

const FLOAT = 1;
const ATTRIBUTE = { f: 1, i: 2 };

/**
 * A norm's operator: since which version of the operators, and with what beside x and ε.
 *
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 */
function operatorOf({ norm = "batch", op, groups = 0 }, { weight, bias, mean, variance }) {
  switch (norm) {
    case "batch":
      // Momentum 0 of the old value: running statistics are the batch's.
      return {
        ...{ version: 15, op_type: "BatchNormalization" },
        constants: { weight, bias, mean, variance },
        attributes: [
          attribute("momentum", "f", 0),
          attribute("training_mode", "i", op === "training" ? 1 : 0),
        ],
      };
    case "group":
      return {
        ...{ version: 21, op_type: "GroupNormalization", constants: { weight, bias } },
        attributes: [attribute("num_groups", "i", groups)],
      };
    case "layer":
      return {
        ...{ version: 17, op_type: "LayerNormalization", constants: { weight, bias } },
        attributes: [attribute("axis", "i", -1)],
      };
    case "rms":
      // ONNX Runtime's own name for what opset 23 calls RMSNormalization.
      return {
        ...{ version: 17, op_type: "SimplifiedLayerNormalization", constants: { weight } },
        attributes: [attribute("axis", "i", -1)],
      };
  }
}

/**
 * Input `x`, output `y`, and in batch norm's training `running_mean` and `running_var`; parameters
 * are constants of the model. What follows the norm are nodes of their own, which the runtime may
 * fuse; a residual is the input `residual`.
 *
 * @param {import("../contestant.d.ts").Cell} cell
 * @param {import("../contestant.d.ts").Data} data
 * @returns {Uint8Array}
 */
export function modelOf(cell, data) {
  const { op, shape, norm = "batch", variant } = cell;
  const { version, op_type, constants, attributes } = operatorOf(cell, data);
  const channels = [data.weight.length];
  const outputs =
    norm === "batch" && op === "training"
      ? { y: shape, running_mean: channels, running_var: channels }
      : { y: shape };
  const steps = stepsOf(variant);
  const model = {
    ir_version: 8,
    opset_import: [{ domain: "", version }],
    graph: {
      name: "norm",
      node: [
        {
          op_type,
          input: ["x", ...Object.keys(constants)],
          output: Object.keys(outputs).map((name) => (name === "y" && steps[0]?.input[0]) || name),
          attribute: [attribute("epsilon", "f", data.eps), ...attributes],
        },
        ...steps,
      ],
      initializer: Object.entries(constants).map(([name, values]) => ({
        name,
        dims: channels,
        data_type: FLOAT,
        raw_data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
      })),
      input: inputsOf(cell).map((name) => valueInfo(name, shape)),
      output: Object.entries(outputs).map(([name, sizes]) => valueInfo(name, sizes)),
    },
  };
  const problem = Model.verify(model);
  if (problem) throw new Error(`ONNX model: ${problem}`);
  return Model.encode(Model.create(model)).finish();
}

/** What a model is fed with. @param {Pick<import("../contestant.d.ts").Cell, "variant">} cell */
export function inputsOf({ variant }) {
  return variant === "residual-relu" ? ["x", "residual"] : ["x"];
}

/** The nodes behind the norm. @param {import("../contestant.d.ts").Variant | undefined} variant */
function stepsOf(variant) {
  const relu = (/** @type {string} */ from) => ({ op_type: "Relu", input: [from], output: ["y"] });
  if (variant === "relu") return [relu("norm")];
  const add = { op_type: "Add", input: ["norm", "residual"], output: ["sum"] };
  return variant === "residual-relu" ? [add, relu("sum")] : [];
}

/** @param {string} name @param {"f" | "i"} field @param {number} value */
function attribute(name, field, value) {
  return { name, type: ATTRIBUTE[field], [field]: value };
}

/** @param {string} name @param {readonly number[]} shape */
function valueInfo(name, shape) {
  const dim = shape.map((size) => ({ dim_value: size }));
  return { name, type: { tensor_type: { elem_type: FLOAT, shape: { dim } } } };
}
