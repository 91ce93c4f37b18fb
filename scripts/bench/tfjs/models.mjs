/** Models of the kind that are run by tfjs, small enough for its cpu backend. */

/** @typedef {typeof import("@tensorflow/tfjs")} Tf */

/** @param {Tf} tf */
function mlp(tf) {
  const model = tf.sequential();
  [512, 512, 256].forEach((units, i) => {
    const inputShape = i === 0 ? { inputShape: [784] } : {};
    model.add(tf.layers.dense({ units, useBias: false, ...inputShape }));
    model.add(tf.layers.batchNormalization());
    model.add(tf.layers.reLU());
  });
  model.add(tf.layers.dense({ units: 10 }));
  return model;
}

/** Six blocks of MobileNet's, with 13 layers of batch norm. @param {Tf} tf */
function mobilenet(tf) {
  const model = tf.sequential();
  const norm = () => {
    model.add(tf.layers.batchNormalization());
    model.add(tf.layers.reLU({ maxValue: 6 }));
  };
  const useBias = false;
  const padding = "same";
  model.add(
    tf.layers.conv2d({ filters: 16, kernelSize: 3, padding, useBias, inputShape: [32, 32, 3] }),
  );
  norm();
  for (const [filters, strides] of [
    [32, 1],
    [64, 2],
    [64, 1],
    [128, 2],
    [128, 1],
    [256, 2],
  ]) {
    model.add(tf.layers.depthwiseConv2d({ kernelSize: 3, strides, padding, useBias }));
    norm();
    model.add(tf.layers.conv2d({ filters: filters ?? 0, kernelSize: 1, useBias }));
    norm();
  }
  model.add(tf.layers.globalAveragePooling2d({ dataFormat: "channelsLast" }));
  model.add(tf.layers.dense({ units: 10 }));
  return model;
}

export const MODELS_BY_NAME = {
  mlp: { make: mlp, input: [64, 784], units: 10 },
  mobilenet: { make: mobilenet, input: [16, 32, 32, 3], units: 10 },
};
