/**
 * Fine-tunes a model of TensorFlow.js for readings of another sensor: it learns from one, is saved and
 * loaded, and then only its batch norm learns from the other, whose scale and offset differ.
 */

const [ROWS, FEATURES, CLASSES] = [256, 8, 3];

/**
 * @param tf TensorFlow.js, with this package in it
 * @param say takes what happens, line by line
 * @returns accuracies on the other sensor, from 0 to 1, before and after
 */
export async function fineTune(tf, say) {
  const first = readings(tf, 1, { scale: 1, offset: 0 });
  const other = readings(tf, 2, { scale: 3, offset: 40 });

  const model = tf.sequential();
  // Seeds, so that it ends alike each time.
  const initializer = (seed) => ({ kernelInitializer: tf.initializers.glorotUniform({ seed }) });
  model.add(
    tf.layers.dense({ units: 32, useBias: false, inputShape: [FEATURES], ...initializer(3) }),
  );
  model.add(tf.layers.batchNormalization({ momentum: 0.8 }));
  model.add(tf.layers.reLU());
  model.add(tf.layers.dense({ units: CLASSES, activation: "softmax", ...initializer(4) }));
  await fit(tf, model, first, 20);
  say(`the first sensor: ${percent(accuracy(model, first))} right`);

  // As from a file.
  let saved;
  await model.save(
    tf.io.withSaveHandler(async (artifacts) => {
      saved = artifacts;
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: "JSON" } };
    }),
  );
  const tuned = await tf.loadLayersModel(tf.io.fromMemory(saved));
  const before = accuracy(tuned, other);
  say(`the other one, before: ${percent(before)}`);

  for (const layer of tuned.layers) layer.trainable = layer.getClassName() === "BatchNormalization";
  await fit(tf, tuned, other, 10);
  const after = accuracy(tuned, other);
  say(`the other one, after: ${percent(after)}`);
  return { before, after };
}

async function fit(tf, model, { x, y }, epochs) {
  model.compile({ optimizer: tf.train.adam(0.01), loss: "categoricalCrossentropy" });
  await model.fit(x, y, { epochs, batchSize: 64, shuffle: false, verbose: 0 });
}

function accuracy(model, { x, labels }) {
  const predicted = model.predict(x).argMax(-1).dataSync();
  return labels.filter((label, i) => label === predicted[i]).length / labels.length;
}

/** Rows around a centre for each class, as a sensor of this scale and offset shows them. */
function readings(tf, seed, { scale, offset }) {
  const labels = Array.from({ length: ROWS }, (_, i) => i % CLASSES);
  const noise = tf.randomNormal([ROWS, FEATURES], 0, 1, "float32", seed);
  const centres = tf.randomNormal([CLASSES, FEATURES], 0, 2, "float32", 7);
  const y = tf.oneHot(tf.tensor1d(labels, "int32"), CLASSES).toFloat();
  const x = y.matMul(centres).add(noise).mul(scale).add(offset);
  return { x, y, labels };
}

function percent(part) {
  return `${(100 * part).toFixed(0)} %`;
}
