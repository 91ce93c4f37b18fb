/**
 * What a program with TensorFlow.js has of this package: run in Node and in pages, of any build of tfjs.
 *
 * @param {any} tf @param {{ normalizationMemory(): { memoryBytes: number } | null, normalizations(tf: any): any }} ours
 * @param {readonly string[]} backends
 * @returns {Promise<{ checks: { name: string, status: "passed" | "failed", reason?: string }[] }>}
 */
export async function run(tf, ours, backends = ["wasm", "cpu"]) {
  /** @type {{ name: string, status: "passed" | "failed", reason?: string }[]} */
  const checks = [];
  for (const backend of backends) {
    const check = async (/** @type {string} */ what, /** @type {() => unknown} */ body) => {
      const name = `${backend}: ${what}`;
      try {
        const reason = await body();
        checks.push(
          reason ? { name, status: "failed", reason: `${reason}` } : { name, status: "passed" },
        );
      } catch (error) {
        checks.push({ name, status: "failed", reason: `${error}` });
      }
    };
    await check("the backend starts", async () => {
      await tf.setBackend(backend);
      return tf.getBackend() === backend ? "" : `it is ${tf.getBackend()}`;
    });
    // Channels along axis 1, which plain tfjs can't train and infers wrongly.
    const x = tf.tensor([1, 2, 3, 10, 20, 30, 4, 5, 6, 40, 50, 60], [2, 2, 3]);
    const deviations = [3.5, 35].map((mean, c) => {
      const values = c === 0 ? [1, 2, 3, 4, 5, 6] : [10, 20, 30, 40, 50, 60];
      const variance = values.reduce((sum, one) => sum + (one - mean) ** 2, 0) / 6;
      return values.map((one) => (one - mean) / Math.sqrt(variance + 1e-3));
    });
    const [first = [], second = []] = deviations;
    const expected = [
      ...first.slice(0, 3),
      ...second.slice(0, 3),
      ...first.slice(3),
      ...second.slice(3),
    ];
    const far = (/** @type {any} */ tensor, /** @type {number[]} */ values, bound = 1e-5) => {
      const found = [...tensor.dataSync()];
      const worst = Math.max(...values.map((value, i) => Math.abs(value - found[i])));
      return worst < bound ? "" : `off by ${worst}: ${found}`;
    };
    await check("a layer trains along axis 1", () => {
      const layer = tf.layers.batchNormalization({ axis: 1, scale: false });
      return far(layer.apply(x, { training: true }), expected);
    });
    await check("and has gradients", () => {
      const layer = tf.layers.batchNormalization({ axis: 1 });
      const f = (/** @type {any} */ x) => tf.sum(tf.mul(layer.apply(x, { training: true }), x));
      // Σ y·x is n·σ²/√(σ² + ε), a length: its gradient lies along x − μ.
      const gradient = tf.grad(f)(x);
      const [a = 0, b = 0] = [...gradient.dataSync()].map((one, i) => one / (expected[i] ?? 1));
      return Math.abs(a - b) < 1e-3 * Math.abs(a) && a > 0.5 ? "" : `${gradient.dataSync()}`;
    });
    await check("tf.batchNorm is right along axis 1", () => {
      const [mean, variance] = [tf.tensor([1, 2], [1, 2, 1]), tf.tensor([4, 9], [1, 2, 1])];
      const values = [0, 0.5, 1, 8 / 3, 6, 28 / 3, 1.5, 2, 2.5, 38 / 3, 16, 58 / 3];
      return far(tf.batchNorm(x, mean, variance, undefined, undefined, 0), values);
    });
    await check("a model of new layers fits, is saved and loaded", async () => {
      const { groupNormalization, rmsNormalization } = ours.normalizations(tf);
      const model = tf.sequential();
      model.add(groupNormalization({ groups: 1, inputShape: [2, 3], axis: 1 }));
      model.add(tf.layers.flatten());
      model.add(rmsNormalization());
      model.add(tf.layers.dense({ units: 1 }));
      model.compile({ optimizer: "sgd", loss: "meanSquaredError" });
      const { history } = await model.fit(x, tf.tensor([1, 2], [2, 1]), { epochs: 3, verbose: 0 });
      if (!(history.loss[2] < history.loss[0])) return `losses ${history.loss}`;
      /** @type {any} */
      let saved;
      await model.save(
        tf.io.withSaveHandler(async (/** @type {any} */ artifacts) => {
          saved = artifacts;
          return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: "JSON" } };
        }),
      );
      const loaded = await tf.loadLayersModel(tf.io.fromMemory(saved));
      return far(loaded.predict(x), [...model.predict(x).dataSync()], 1e-6);
    });
    await check("nothing has grown our memory", () => {
      const bytes = ours.normalizationMemory()?.memoryBytes;
      return bytes === 128 * 2 ** 20 ? "" : `it has ${bytes} bytes`;
    });
  }
  return { checks };
}
