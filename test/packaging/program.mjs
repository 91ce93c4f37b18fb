/**
 * The one program that every runtime and bundler runs: a training step, inference,
 * backward, a state dict, memory growth and a typed error, against golden values.
 * It imports nothing, so that a driver has only to bring it the package.
 */

/** @import * as Library from "batchnorm-wasm" */
/** @import * as Weights from "batchnorm-wasm/weights" */
/** @typedef {{ name: string, status: "passed" | "failed", reason?: string }} Check */

/**
 * Float32 spacings at an array's largest magnitude that a value may be off. The bounds
 * of each value are `golden.test.ts`'s; here a wrong module, type or byte order shows.
 */
const SPACINGS = 8;

/**
 * @param {typeof Library} library
 * @param {typeof Weights} weightFiles
 * @param {any} golden what `golden.mjs` picks of `test/fixtures`
 * @returns {{ checks: Check[], fingerprint: string }} and a hash of the bits of all
 *   results, which are to be the same everywhere
 */
export function run(library, weightFiles, golden) {
  const { BatchNorm, BatchNormalization, BatchNormError, memoryUsage, scope, Tensor } = library;
  const { groupNorm, groupNormBackward, instanceNorm, instanceNormBackward } = library;
  const { layerNorm, layerNormBackward, rmsNorm, rmsNormBackward, UnitNormalization } = library;
  const { LayerNorm } = library;
  const { batchNormBackward, batchNormTraining, dropout, foldBatchNorm, Moments } = library;
  const { RunningMoments, freeze, loadStateDict, parameters, stateDict, train } = library;
  const { adaptBatchNorm, addScaleL1, addSums, decayedMomentum, health, pruneByScale } = library;
  const { renormSchedule, syncBatchNorm } = library;
  const { torch, keras, group, instance, layer, rms, unit } = golden;
  const { ghost, renorm, weights, activation } = golden;
  /** @type {Check[]} */
  const checks = [];
  let hash = 0x811c9dc5;

  /** @param {string} name @param {() => void} body */
  function check(name, body) {
    try {
      scope(body);
      checks.push({ name, status: "passed" });
    } catch (error) {
      checks.push({ name, status: "failed", reason: `${error}` });
    }
  }

  /** @param {string} what @param {Float32Array | undefined} got @param {number[]} want */
  function compare(what, got, want) {
    if (got?.length !== want.length) throw new Error(`${what}: ${got?.length} values`);
    const largest = Math.max(...want.map(Math.abs));
    want.forEach((value, i) => {
      const error = Math.abs(/** @type {number} */ (got[i]) - value);
      if (!(error <= SPACINGS * 2 ** -23 * largest)) {
        throw new Error(`${what}[${i}] is ${got[i]}, not ${value}`);
      }
    });
    // FNV-1a over the bytes.
    for (const byte of new Uint8Array(got.buffer, got.byteOffset, got.byteLength)) {
      hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
    }
  }

  /** @param {boolean} holds @param {string} otherwise */
  function expect(holds, otherwise) {
    if (!holds) throw new Error(otherwise);
  }

  const bn = new BatchNorm(torch.shape[1], { preset: "torch" });

  check("train a step, backward", () => {
    bn.weight?.set(torch.weight);
    bn.bias?.set(torch.bias);
    for (const step of torch.steps) {
      const y = bn.train().forward(Tensor.from(step.x, torch.shape));
      bn.zeroGrad();
      const dx = bn.backward(Tensor.from(step.dy, torch.shape));
      compare("y", y.toFloat32Array(), step.y);
      compare("dx", dx.toFloat32Array(), step.dx);
      compare("dweight", bn.weight?.grad?.toFloat32Array(), step.dweight);
      compare("dbias", bn.bias?.grad?.toFloat32Array(), step.dbias);
      compare("running mean", bn.runningMean?.toFloat32Array(), step.running_mean);
      compare("running variance", bn.runningVar?.toFloat32Array(), step.running_var);
      expect(bn.numBatchesTracked === step.num_batches_tracked, "batches tracked");
    }
  });

  check("infer", () => {
    const { x, y, dy, dx } = torch.eval;
    compare("y", bn.eval().forward(Tensor.from(x, torch.shape)).toFloat32Array(), y);
    compare("dx", bn.backward(Tensor.from(dy, torch.shape)).toFloat32Array(), dx);
    const plain = { data: Float32Array.from(x), shape: torch.shape };
    compare("y of plain data", bn.forward(plain).data, y);
  });

  check("views", () => {
    const [, channels, length] = torch.shape;
    const x = Tensor.from(torch.eval.x, torch.shape);
    const last = bn.forward(x.slice(0, 1).reshape([-1, channels, length]));
    compare("y of the last", last.toFloat32Array(), torch.eval.y.slice(channels * length));
  });

  check("Keras, channels last", () => {
    const { shape, gamma, beta, steps } = keras;
    const layer = new BatchNorm(shape.at(-1), { preset: "keras" }).train();
    layer.weight?.set(gamma);
    layer.bias?.set(beta);
    for (const step of steps) {
      const y = layer.forward(Tensor.from(step.x, shape));
      compare("y", y.toFloat32Array(), step.y);
      compare("dx", layer.backward(Tensor.from(step.dy, shape)).toFloat32Array(), step.dx);
      compare("moving variance", layer.runningVar?.toFloat32Array(), step.moving_variance);
    }
    const y = layer.eval().forward(Tensor.from(keras.eval.x, shape));
    compare("y in evaluation", y.toFloat32Array(), keras.eval.y);
    layer.dispose();
  });

  for (const { op, shape, options, weight, bias, x, dy, ...want } of [group, instance]) {
    check(op, () => {
      const { eps, groups: numGroups } = options;
      const parameters = { eps, weight: Tensor.from(weight), bias: Tensor.from(bias) };
      const all = { ...parameters, saved: /** @type {const} */ (true) };
      const input = Tensor.from(x, shape);
      const { y, saved } = numGroups
        ? groupNorm(input, { ...all, numGroups })
        : instanceNorm(input, all);
      const back = numGroups ? groupNormBackward : instanceNormBackward;
      const { dx, weightGrad, biasGrad } = back(Tensor.from(dy, shape), { saved });
      compare("y", y.toFloat32Array(), want.y);
      compare("dx", dx.toFloat32Array(), want.dx);
      compare("dweight", weightGrad?.toFloat32Array(), want.dweight);
      compare("dbias", biasGrad?.toFloat32Array(), want.dbias);
    });
  }

  check("layer_norm", () => {
    const { shape, options, weight, bias, x, dy, ...want } = layer;
    const given = { eps: options.eps, weight: Tensor.from(weight), bias: Tensor.from(bias) };
    const { y, saved } = layerNorm(Tensor.from(x, shape), { ...given, saved: true });
    const { dx, weightGrad } = layerNormBackward(Tensor.from(dy, shape), { saved });
    compare("y", y.toFloat32Array(), want.y);
    compare("dx", dx.toFloat32Array(), want.dx);
    compare("dweight", weightGrad?.toFloat32Array(), want.dweight);
  });

  check("rms_norm", () => {
    const { shape, options, weight, x, dy, ...want } = rms;
    const given = { eps: options.eps, weight: Tensor.from(weight) };
    const { y, saved } = rmsNorm(Tensor.from(x, shape), { ...given, saved: true });
    const { dx, weightGrad } = rmsNormBackward(Tensor.from(dy, shape), { saved });
    compare("y", y.toFloat32Array(), want.y);
    compare("dx", dx.toFloat32Array(), want.dx);
    compare("dweight", weightGrad?.toFloat32Array(), want.dweight);
  });

  check("unit length", () => {
    const { shape, x, dy, ...want } = unit;
    const norm = new UnitNormalization();
    compare("y", norm.forward(Tensor.from(x, shape)).toFloat32Array(), want.y);
    compare("dx", norm.backward(Tensor.from(dy, shape)).toFloat32Array(), want.dx);
    norm.dispose();
  });

  for (const { variant, ...one } of [ghost, renorm, weights, activation]) {
    check(variant, () => {
      const { shape, axis, options, step } = one;
      const vector = (/** @type {number[]} */ values) => Tensor.from(values);
      const runningMean = vector(one.running_mean);
      const runningVar = vector(one.running_var);
      const { y, saved } = batchNormTraining(Tensor.from(step.x, shape), {
        ...{ axis, eps: options.eps, momentum: options.momentum, runningMean, runningVar },
        ...{ weight: vector(one.weight), bias: vector(one.bias) },
        virtualBatchSize: options.virtual_batch_size,
        renorm: options.r_max && { rMax: options.r_max, dMax: options.d_max },
        weights: step.weights && { data: step.weights, shape: one.weights_shape },
        activation: options.activation,
        residual: step.residual && Tensor.from(step.residual, shape),
      });
      const gradients = batchNormBackward(Tensor.from(step.dy, shape), { saved });
      compare("y", y.toFloat32Array(), step.y);
      compare("dx", gradients.dx.toFloat32Array(), step.dx);
      compare("dweight", gradients.weightGrad?.toFloat32Array(), step.dweight);
      compare("running variance", runningVar.toFloat32Array(), step.running_var);
      const { residualGrad } = gradients;
      if (step.residual) compare("dresidual", residualGrad?.toFloat32Array(), step.dresidual);
    });
  }

  check("moments, folding and dropout", () => {
    const { shape, step, weight, bias } = weights;
    const x = Tensor.from(step.x, shape);
    const all = Moments.merge([Moments.of(x.slice(0, 0, 3)), Moments.of(x.slice(0, 3))]);
    const back = Moments.fromJSON(JSON.stringify(all));
    const scaler = new RunningMoments().update(x);
    compare("mean", Float32Array.from(back.mean), Array.from(scaler.mean));
    const { mean, variance } = all;
    const eye = { data: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], shape: [4, 4] };
    const folded = foldBatchNorm({ mean, variance, weight, bias }, { weight: eye });
    const scale = weight.map((/** @type {number} */ w, /** @type {number} */ c) => {
      return w / Math.sqrt(/** @type {number} */ (variance[c]) + 1e-5);
    });
    compare(
      "a",
      folded.weight.data.filter((_, i) => i % 5 === 0),
      scale,
    );
    const dropped = dropout(x, { rate: 0.25, seed: 3 }).toFloat32Array();
    compare(
      "dropped",
      dropped,
      Array.from(dropped, (value, i) => (value ? step.x[i] / 0.75 : 0)),
    );
  });

  check("a batch over two workers", () => {
    const { shape, weight, bias, steps } = torch;
    const [step] = steps;
    const channels = shape[1];
    const [x, dy] = [Tensor.from(step.x, shape), Tensor.from(step.dy, shape)];
    const parts = [0, 1].map((part) => {
      const own = (/** @type {Library.Tensor} */ whole) =>
        whole.slice(0, part, part ? shape[0] : 1);
      const running = [Tensor.zeros([channels]), Tensor.from(new Array(channels).fill(1))];
      return { x: own(x), dy: own(dy), running };
    });
    const moments = Moments.merge(parts.map((part) => Moments.of(part.x)));
    const passes = parts.map((part) => {
      const [runningMean, runningVar] = part.running;
      return syncBatchNorm(part.x, { moments, weight, bias, runningMean, runningVar });
    });
    const sums = passes.map((pass, i) => pass.sums(/** @type {any} */ (parts[i]).dy));
    const total = addSums(JSON.parse(JSON.stringify(sums)));
    const dx = passes.map((pass, i) => pass.backward(/** @type {any} */ (parts[i]).dy, total));
    const joined = (/** @type {Library.Tensor[]} */ all) =>
      Float32Array.from(all.flatMap((one) => [...one.toFloat32Array()]));
    compare("y", joined(passes.map(({ y }) => y)), step.y);
    compare("dx", joined(dx), step.dx);
    compare("dweight", Float32Array.from(total.dyXHat), step.dweight);
    compare("dbias", Float32Array.from(total.dy), step.dbias);
    compare("running mean", parts[0]?.running[0]?.toFloat32Array(), step.running_mean);
    compare("running variance", parts[1]?.running[1]?.toFloat32Array(), step.running_var);
    for (const pass of passes) pass.dispose();
  });

  check("adaptation, slimming, health and schedules", () => {
    const { shape, weight, bias, steps } = torch;
    const [step] = steps;
    const x = Tensor.from(step.x, shape);
    const layer = new BatchNorm(shape[1]);
    layer.weight?.set(weight);
    layer.bias?.set(bias);
    const adapted = adaptBatchNorm(layer, { sourceSamples: 0 });
    compare("y by the batch alone", adapted.forward(x, { keep: true }).toFloat32Array(), step.y);
    const { mean } = Moments.of(x);
    compare("kept mean", layer.runningMean?.toFloat32Array(), [...mean]);
    adapted.reset();
    compare("the mean of before", layer.runningMean?.toFloat32Array(), [0, 0, 0]);

    const y = layer.train().forward(x);
    const dy = Tensor.from(step.dy, shape);
    const dx = layer.backward(dy);
    const { channels, gradientRatio } = health({ x, y, dy, dx, layer });
    compare(
      "means",
      Float32Array.from(channels, ({ mean }) => mean ?? 0),
      [...mean],
    );
    expect(gradientRatio !== null && gradientRatio > 0, `gradients' ratio is ${gradientRatio}`);

    addScaleL1([layer], 0.5);
    const sign = (/** @type {number} */ g, /** @type {number} */ c) =>
      g + 0.5 * Math.sign(weight[c]);
    compare("dweight", layer.weight?.grad?.toFloat32Array(), step.dweight.map(sign));
    const sizes = weight.map(Math.abs);
    const kept = [0, 1, 2].filter((c) => sizes[c] !== Math.min(...sizes));
    const [pruned] = pruneByScale([layer], 0.34);
    expect(`${pruned?.kept}` === `${kept}`, `${pruned?.kept} stay, not ${kept}`);
    const left = new BatchNorm(2);
    left.loadStateDict(/** @type {any} */ (pruned).stateDict);
    compare(
      "what is left of weight",
      left.weight?.toFloat32Array(),
      kept.map((c) => weight[c]),
    );
    for (const one of [layer, left]) one.dispose();

    expect(decayedMomentum(2500, { every: 1000 }) === 0.125, "decayedMomentum");
    expect(renormSchedule(60_000).rMax === 3, "renormSchedule");
  });

  check("state dict", () => {
    const dict = bn.stateDict();
    const last = torch.steps.at(-1);
    compare("running_mean", /** @type {Float32Array} */ (dict.running_mean), last.running_mean);
    expect(dict.num_batches_tracked === torch.steps.length, "num_batches_tracked");
    const copy = new BatchNorm(torch.shape[1]).eval();
    copy.loadStateDict(JSON.parse(JSON.stringify(dict)));
    const x = Tensor.from(torch.eval.x, torch.shape);
    compare("y of the copy", copy.forward(x).toFloat32Array(), torch.eval.y);
    copy.dispose();
  });

  check("a network's state dict, by other names and types", () => {
    const { weight, bias, running_mean, running_var } = /** @type {any} */ (bn.stateDict());
    const bytes = { data: new Uint8Array(running_mean.slice().buffer), dtype: "F32" };
    const stats = new Map(Object.entries({ mean: bytes, var: Float64Array.from(running_var) }));
    const dict = { params: { bn: { scale: weight, bias } }, batch_stats: { bn: stats } };
    const copy = new BatchNorm(null);
    const report = loadStateDict({ bn: copy }, /** @type {any} */ (dict));
    expect(report.missing.length + report.unexpected.length === 0, "names");
    expect(report.converted.length === 1 && report.converted[0]?.exact === true, "converted");
    freeze([copy]);
    train([copy]);
    const x = Tensor.from(torch.eval.x, torch.shape);
    compare("y of the frozen copy", copy.forward(x).toFloat32Array(), torch.eval.y);
    copy.backward(x);
    expect(
      parameters([copy]).every(({ grad }) => grad === null),
      "gradients",
    );
    const halves = { data: Uint16Array.of(0x3555, 0x8001), dtype: "float16" };
    const norm = new library.LayerNorm(2);
    norm.loadStateDict(/** @type {any} */ ({ "ln/gamma:0": halves }), {
      prefix: "ln/",
      strict: false,
    });
    const { "ln.weight": widened } = stateDict({ ln: norm });
    compare("halves", /** @type {Float32Array} */ (widened), [0.333251953125, -(2 ** -24)]);
    norm.dispose();
    copy.dispose();
  });

  check("weights of files", () => {
    const { fromLayersModel, fromSafetensors, inspectSafetensors, toSafetensors } = weightFiles;
    const { flax, tfjs } = golden;
    const file = Uint8Array.from(flax.file);
    const bn = new BatchNorm(6, { preset: "flax" }).eval();
    bn.loadStateDict(fromSafetensors(file, { prefix: "bn/" }));
    const ln = new LayerNorm(6, { preset: "flax" });
    ln.loadStateDict(fromSafetensors(file.buffer, { prefix: "ln/" }));
    const y = ln.forward(bn.forward(Tensor.from(flax.x, flax.shape)));
    compare("y of Flax's weights", y.toFloat32Array(), flax.y);
    const written = toSafetensors(fromSafetensors(file));
    expect(`${written}` === `${file}`, "the file comes back to the byte");
    expect(inspectSafetensors(written).entries["bn/mean"]?.dtype === "F32", "its type");

    const dict = fromLayersModel(JSON.stringify(tfjs.model), Uint8Array.from(tfjs.file));
    const keras = new BatchNormalization();
    keras.loadStateDict(dict, { prefix: "batch_normalization_BatchNormalization1/" });
    compare(
      "y of tfjs's weights",
      keras.forward(Tensor.from(tfjs.x, tfjs.shape)).toFloat32Array(),
      tfjs.y,
    );
    for (const layer of [bn, ln, keras]) layer.dispose();

    try {
      fromSafetensors(file.subarray(0, 100));
    } catch (error) {
      expect(error instanceof BatchNormError, `not a BatchNormError: ${error}`);
      expect(/** @type {any} */ (error).code === "invalid-file", `code of ${error}`);
      return;
    }
    throw new Error("half a file was taken");
  });

  check("memory growth", () => {
    const x = Tensor.from(torch.eval.x, torch.shape);
    const before = { view: x.data, bytes: memoryUsage().memoryBytes };
    // Shared memory detaches nothing, and where it can't grow it is large from the start.
    const isShared = `${Object.prototype.toString.call(before.view.buffer)}`.includes("Shared");
    if (!(isShared && before.bytes === 2 ** 30)) {
      Tensor.zeros([before.bytes / 4]);
      expect(memoryUsage().memoryBytes > before.bytes, "the memory has not grown");
    }
    expect(isShared || before.view.length === 0, "the old view is not detached");
    compare("x", x.data.slice(), torch.eval.x);
    compare("y", bn.forward(x).toFloat32Array(), torch.eval.y);
  });

  check("typed error", () => {
    try {
      bn.train().forward(Tensor.zeros([2, torch.shape[1] + 1]));
    } catch (error) {
      expect(error instanceof BatchNormError, `not a BatchNormError: ${error}`);
      expect(/** @type {any} */ (error).code === "shape-mismatch", `code of ${error}`);
      return;
    } finally {
      bn.eval();
    }
    throw new Error("a wrong shape was taken");
  });

  check("memory given back", () => {
    bn.dispose();
    const { liveBytes, liveStorages } = memoryUsage();
    expect(liveBytes === 0 && liveStorages === 0, `${liveBytes} bytes in ${liveStorages} live`);
  });

  const fingerprint = hash.toString(16);
  if (golden.fingerprint !== undefined) {
    check("the same bits as in Node", () => {
      expect(fingerprint === golden.fingerprint, `${fingerprint}, not ${golden.fingerprint}`);
    });
  }
  return { checks, fingerprint };
}

/**
 * The same, and then what takes more than a turn. (An AudioWorklet has to have its layers made when
 * its constructor ends.)
 *
 * @param {typeof Library} library
 * @param {typeof Weights} weightFiles
 * @param {any} golden as {@link run} takes it
 * @returns {Promise<{ checks: Check[], fingerprint: string }>}
 */
export async function runWhole(library, weightFiles, golden) {
  const found = run(library, weightFiles, golden);
  const name = "precise statistics";
  try {
    await precise(library, golden);
    found.checks.push({ name, status: "passed" });
  } catch (error) {
    found.checks.push({ name, status: "failed", reason: `${error}` });
  }
  return found;
}

/** Of all steps' data together, sample by sample. @param {typeof Library} library @param {any} golden */
async function precise({ BatchNorm, memoryUsage, Moments, preciseBatchNorm, Tensor }, { torch }) {
  const { shape, steps } = torch;
  const batches = steps.map((/** @type {any} */ { x }) => Tensor.from(x, shape));
  const all = Moments.merge(batches.map((/** @type {Library.Tensor} */ x) => Moments.of(x)));
  const bn = new BatchNorm(shape[1]);
  async function* slowly() {
    for (const batch of batches) yield await batch;
  }
  let seen = 0;
  const network = async (/** @type {Library.Tensor} */ x) => bn.forward(await x).dispose();
  await preciseBatchNorm([bn], slowly(), network, {
    onProgress: ({ batches }) => (seen = batches),
  });
  const { mean, unbiasedVariance } = all;
  const wanted = { runningMean: mean, runningVar: unbiasedVariance };
  for (const [vector, values] of Object.entries(wanted)) {
    const got = /** @type {any} */ (bn)[vector].toFloat32Array();
    values.forEach((value, c) => {
      const error = Math.abs(got[c] - value);
      if (!(error <= 2 ** -23 * Math.abs(value))) throw new Error(`${vector}[${c}] is ${got[c]}`);
    });
  }
  if (seen !== steps.length) throw new Error(`${seen} batches`);
  for (const one of [...batches, bn]) one.dispose();
  const { liveBytes } = memoryUsage();
  if (liveBytes !== 0) throw new Error(`${liveBytes} bytes are live`);
}
