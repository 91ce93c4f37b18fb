/** An ONNX model of one BatchNormalization in inference, as bytes: protobuf by hand. */

const varint = (/** @type {number} */ value) => {
  const bytes = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return [...bytes, value];
};
const number = (/** @type {number} */ field, /** @type {number} */ value) => [
  field << 3,
  ...varint(value),
];
const bytes = (/** @type {number} */ field, /** @type {Iterable<number>} */ value) => {
  const all = [...value];
  return [(field << 3) | 2, ...varint(all.length), ...all];
};
const text = (/** @type {number} */ field, /** @type {string} */ value) =>
  bytes(field, Buffer.from(value));

const FLOAT = 1;
const VECTORS = ["scale", "B", "mean", "var"];

/** @param {number} rows @param {number} channels */
export function batchNormModel(rows, channels) {
  const dimension = (/** @type {number} */ size) => bytes(1, number(1, size));
  const shape = bytes(2, [...dimension(rows), ...dimension(channels)]);
  const type = bytes(2, bytes(1, [...number(1, FLOAT), ...shape]));
  const node = [
    ...["x", ...VECTORS].flatMap((name) => text(1, name)),
    ...text(2, "y"),
    ...text(4, "BatchNormalization"),
  ];
  const ones = new Uint8Array(new Float32Array(channels).fill(1).buffer);
  const vector = (/** @type {string} */ name) => [
    ...number(1, channels),
    ...number(2, FLOAT),
    ...text(8, name),
    ...bytes(9, ones),
  ];
  const graph = [
    ...bytes(1, node),
    ...text(2, "batch norm"),
    ...VECTORS.flatMap((name) => bytes(5, vector(name))),
    ...bytes(11, [...text(1, "x"), ...type]),
    ...bytes(12, [...text(1, "y"), ...type]),
  ];
  const opset = number(2, 15);
  return Uint8Array.from([...number(1, 8), ...bytes(7, graph), ...bytes(8, opset)]);
}
