/**
 * All that the page says, in one place: another language is one more file of this type, and its line in
 * `texts`. What the package says itself (errors, `health`) is English.
 */
import type { Settings } from "../engine/settings.js";
import type { ExperimentName } from "./experiments.js";
import type { DataName } from "./state.js";

/** What an experiment is about, what is to be seen, and how far the reasons are known. */
interface ExperimentText {
  readonly name: string;
  readonly look: string;
  readonly why: string;
}

const english = {
  language: "en",
  title: "The batch norm lab",
  lead:
    "Two to four networks learn the same data from the same seed, with this package's kernels, here in the page. " +
    "What differs between them is what you see.",
  data: "Data",
  dataNames: {
    digits: "Digits, as 64 numbers",
    images: "Digits, as 8×8 images (convolutions)",
    spirals: "Two spirals",
    moons: "Two moons",
    rings: "Three rings",
    sets: "Padded sets of points",
    gaps: "A table with missing values",
    table: "A table of your own",
  } satisfies Record<DataName, string>,
  /** What has to be known of some data. */
  dataNotes: {
    sets: "Sets of 1 to 16 points around one of three rings, most of few points, all padded by zeros to 16. Each point goes through the same layers, and the mean over a set's points tells its ring: padding is never in that mean. With Mask, batch norm's statistics leave padding out; group and instance norm have no mask and count it; layer and RMS norm are of a point by itself, so that padding is nothing to them. What is told of layers is of the points alone.",
    gaps: "Made by chance: six measurements, of which rows lack some or most. A mask of this package is a row's, not a value's. So each measurement is standardized by the values that are there (RunningMoments with a mask), 0 stands in the gaps behind that, and an input more for each measurement says where they are. With Mask, batch norm counts a row as much as it has of its values; here that changes little.",
  } as Partial<Record<DataName, string>>,
  ownTable: "Your own table: choose or drop a CSV file",
  table: {
    title: (name: string) => `Your table: ${name}`,
    read: (rows: number, features: number) =>
      `${rows} lines of ${features} numbers; a quarter is tested on. It stays in this page.`,
    classes: (classes: readonly string[]) =>
      `${classes.length} classes: ${classes.slice(0, 12).join(", ")}${classes.length > 12 ? ", …" : ""}.`,
    regression: "A number is told: losses are in its squared standard deviations.",
    words: (columns: readonly string[]) =>
      `Left out, for they are no numbers: ${columns.join(", ")}.`,
    header: "The first line has names",
    gaps: "Learn from lines with missing values, too",
    missing: (values: number) =>
      `${values === 1 ? "1 value is" : `${values} values are`} missing: numbers are standardized by those that are there, behind that 0 stands in the gaps, and an input more for each column with gaps says where. With Mask, batch norm counts a line as much as it has of its values.`,
    target: "To be told",
    kind: "as",
    kinds: { classes: "classes", regression: "a number" },
    whole: "No line was left out.",
    leftOut: (lines: number) =>
      lines === 1 ? "1 line was left out" : `${lines} lines were left out`,
    problem: (line: number, reason: string) => `Line ${line}: ${reason}`,
    more: (lines: number) => `… and ${lines} more`,
    none: "a table of your own is in no link: choose or drop its file, and all other settings are as they were",
    refused: (name: string, reason: string) => `${name} was not read: ${reason}.`,
  },
  experiments: {
    title: "Experiments",
    lead: "With one click; each claim is tested over five seeds.",
    look: "What to look at",
    why: "Why",
    of: {
      rate: {
        name: "The learning rate ten times up",
        look: "A and C learn with a rate of 0.2. With 2, B (batch norm) learns as well as A, and D (no norm) doesn't learn at all: its accuracy is that of guessing, and most of its channels are dead.",
        why: "That batch norm bears larger rates is what is measured most often. Known is that the scale of a weight doesn't change what comes out behind the norm, so that large steps make the next steps smaller. Whether it also smooths the loss (Santurkar et al. 2018, arXiv:1805.11604) or reduces internal covariate shift (Ioffe & Szegedy 2015, arXiv:1502.03167) are hypotheses; the first is better supported.",
      },
      smallBatch: {
        name: "Batches of 64 and of 2",
        look: "A has batches of 64; B has batches of 2 and learns badly, since of two values each is ±1 behind the norm. C (renorm) and D (group norm) have batches of 2 as well, and learn better, D most. (A also sees 32 times as many samples in its steps.)",
        why: "With few samples the batch's statistics are noise. That is arithmetic: of two values x̂ is (almost) +1 and −1, whatever they are. Renorm corrects towards the running statistics, and group norm has none of the batch at all.",
      },
      slowMomentum: {
        name: "A momentum too slow for few steps",
        look: "All three learn the same: their dashed lines lie on each other. B's running statistics have a momentum of 0.001 and are far behind after 150 steps, so that its evaluation is much worse. C averages all batches, and with them those of the first steps, when the network was another.",
        why: "Arithmetic: after n steps (1 − momentum)ⁿ of the first value is left, of 0.001 and 150 steps 86 %. Nothing is wrong with the weights: with precise statistics (preciseBatchNorm) B would be as good as A.",
      },
      fewTested: {
        name: "Evaluation in training mode",
        look: "Test data come in batches of two. By the running statistics (solid) batch norm is as good as ever; left in training mode (dashed) it is far worse, for each sample is judged by its neighbour. Group norm is the same in both.",
        why: "A program that forgets eval(). A batch of one is worse still: x̂ is 0 for all that comes, and the package refuses it, as PyTorch does.",
      },
      drift: {
        name: "Test data that have drifted",
        look: "Each pixel of the test data is brighter by two of its standard deviations. By the running statistics of the training data (solid) batch norm loses much, here more than the network without norm; by the test batches' own (dashed) it has it back, and is better than that. Without norm there is no such way back: the lines are one.",
        why: "A shift of a layer's input by a constant is exactly what subtracting the batch's mean takes away. In practice this is prediction-time batch norm (Nado et al. 2020, arXiv:2006.10963), in the package adaptBatchNorm. It needs test batches that are mixed as the training data were.",
      },
      deep: {
        name: "A deep network and its gradients",
        look: "Fifteen layers of tanh, with weights that begin small. Without norm (A) the first layer's gradients are thousands of times smaller than the last one's, and nothing is learned. With batch norm (B) they arrive, and it learns.",
        why: "Each layer of A multiplies what goes through by less than one, forward and backward. Batch norm sets the scale anew in each layer. It doesn't make depth harmless: in B the first layer's gradients are some times larger than the last one's at the beginning, and grow with the depth (Yang et al. 2019, arXiv:1902.08129).",
      },
      scale: {
        name: "Batch norm and weight decay",
        look: "B and C begin with hidden weights ten times as large as A's. The first loss is the same to three digits, for batch norm takes the scale away; but B learns slowly. C has L2, and catches up with time.",
        why: "Behind batch norm a weight's scale changes nothing but the gradient, which is smaller by it: the effective learning rate is the rate divided by the square of the weight's length (van Laarhoven 2017, arXiv:1706.05350). So L2 on these weights is no regularizer of what the network can say: it holds the effective rate up.",
      },
      dropout: {
        name: "Dropout before and behind the norm",
        look: "Half of the values are dropped, in A behind the norm, in B before it. B's running deviations are 1.4 times and more too large for evaluation, where nothing is dropped; its test loss is the higher one.",
        why: "Dropout before the norm makes the variance larger in training alone: with half dropped at least twice as large (Li et al. 2019, arXiv:1801.05134). That shift is arithmetic. How much it costs depends on the network: here it is little.",
      },
      padded: {
        name: "Padded batches with and without a mask",
        look: "Sets of points around (5, 5), most of few points, are padded by zeros to 16. A's statistics leave padding out: it learns as if there were none, and twice as much would change nothing. B's count it: its test loss is a quarter and more above A's, by either statistics. C has no norm; its loss is half and more above A's. Look also at layer 1 (all of it is of the points alone): in A points have mean 0 and deviation 1 in each channel before γ and β, in B they lie off 0.",
        why: "Arithmetic: where a part p of a batch are points, of mean m and deviation s, and the rest is 0, the norm sees the mean p·m and the variance p·s² + p·(1 − p)·m². So most of σ is the distance to padding, and p is another one in each batch. How much that costs depends on the data; these are far from 0, where padding is. Padding is left out of the sets' means in all three runs; what differs between A and B is the norm's statistics alone (in the package forward(x, { mask }), in Keras the mask of BatchNormalization). Group and instance norm would count padding as B does.",
      },
      slimming: {
        name: "Slimming: L1 of γ",
        look: "B has an L1 penalty on γ: a third and more of its γ are near 0, and the accuracy is within some per cents of A's. Channels with small γ can go (pruneByScale).",
        why: "L1 draws what is of little use to 0, and γ is one number for a channel (Liu et al. 2017, arXiv:1708.06519). That small γ means little use holds as far as what follows doesn't scale it up again; therefore networks are trained on after pruning.",
      },
      naive: {
        name: "A naive variance",
        look: "10 000 is added to all coordinates of the rings. In training A (the package's batch norm) learns as if it were not there: look at the dotted loss and the dashed accuracy. B computes the variance as the mean square less the squared mean, in float32, and is beyond numbers soon, though nothing else is different. A's solid lines show another thing: its running statistics can't follow.",
        why: "Arithmetic: both terms are about the squared mean, 10⁸ and more, of which float32 keeps seven digits; their difference, a few units at most, is lost in the rounding. The package takes squares around a pivot near the mean. Without the offset both learn the same. As for running statistics: each small step of a weight moves the mean behind it ten thousand times as far. So standardize what goes in (RunningMoments), whatever the norm.",
      },
    } satisfies Record<ExperimentName, ExperimentText>,
  },
  sweep: {
    title: "Tune for my data",
    lead: "Tries norms, batch sizes, rates and regularizers on the data above, each by several seeds, and judges them by a fifth of the training data that learns nothing. All else is as in run A. Test data stay unseen until you show the best as runs.",
    fields: {
      norm: "Norms",
      batchSize: "Batch sizes",
      learningRate: "Learning rates",
      normMomentum: "Momenta of batch norm",
      regularizer: "Regularizers",
    },
    budget: "Most settings",
    seeds: "Seeds of each",
    steps: "Steps of each",
    begin: "Search",
    stop: "Stop",
    plan: (trials: number, all: number) =>
      trials === all
        ? `All ${all} combinations are tried.`
        : `${trials} of ${all} combinations are tried, by chance that the seed determines.`,
    progress: (done: number, of: number, left: string) => `${done} of ${of} runs; ${left} left`,
    seconds: (seconds: number) =>
      seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} minutes`,
    done: (runs: number) => `Done: ${runs} runs.`,
    stopped: (done: number, of: number) => `Stopped after ${done} of ${of} runs.`,
    refused: (settings: string, reason: string) => `${settings} can't run: ${reason}`,
    caption: "The best first: median, least and most over the seeds",
    rank: "Place",
    settings: "Settings",
    median: "Median",
    spread: "Least to most",
    picture: "Medians and spreads",
    accuracy: "accuracy",
    loss: "loss",
    show: "Show the best three as runs",
    code: (place: number) => `View code of place ${place}`,
    save: "Save the table",
    plain: "no regularizer",
  },
  testData: "Offset and test data",
  offset: "Offset",
  offsetHint: "added to all numbers that are learned from and tested on",
  drift: "Drift",
  driftHint: "of test data, in standard deviations",
  testBatch: "Batch in training mode",
  testBatchHint: "rows of the dashed lines' batches; 0: as in the steps",
  allRuns: "All runs",
  seed: "Seed",
  steps: "Steps",
  start: "Start",
  pause: "Pause",
  goOn: "Go on",
  step: "One step",
  reset: "Reset",
  share: "Copy link",
  shared: "The link is copied: it holds all settings.",
  notShared: "The browser gave no access to the clipboard: copy the address of this page instead.",
  results: "Save results",
  addRun: "Add a run",
  removeRun: (run: string) => `Remove run ${run}`,
  settings: "Settings",
  setting: "Setting",
  run: (run: string) => `Run ${run}`,
  runs: "Runs",
  sections: {
    network: "Network",
    norm: "Norm",
    optimizer: "Optimizer",
    regularizers: "Regularizers",
  },
  labels: {
    depth: "Hidden layers",
    width: "Width",
    activation: "Activation",
    initialScale: "Initial scale",
    norm: "Norm",
    eps: "ε",
    normMomentum: "Norm's momentum",
    ghost: "Ghost batch",
    renorm: "Renorm, most r",
    frozen: "Frozen",
    mask: "Mask",
    gamma: "γ",
    beta: "β",
    groups: "Groups",
    optimizer: "Optimizer",
    learningRate: "Learning rate",
    momentum: "SGD's momentum",
    batchSize: "Batch size",
    l1: "L1",
    l2: "L2",
    penalizeNorm: "… of γ, β too",
    gammaL1: "L1 of γ",
    dropout: "Dropout",
    dropoutPlace: "Dropout's place",
  } satisfies Record<keyof Settings, string>,
  hints: {
    initialScale: "times He's √(2/inputs)",
    normMomentum: "weight of the new batch; 0: average of all",
    ghost: "samples of a slice; 0: the whole batch",
    renorm: "0: none; d is at most r − 1",
    frozen: "normalize by running statistics in training, too",
    mask: "statistics leave padding out; rows with gaps count less",
    dropoutPlace: "of the norm",
  } as Partial<Record<keyof Settings, string>>,
  values: {
    none: "none",
    batch: "batch",
    group: "group",
    instance: "instance",
    layer: "layer",
    rms: "RMS",
    naive: "batch, naive",
    relu: "ReLU",
    "leaky-relu": "leaky ReLU",
    tanh: "tanh",
    sgd: "SGD",
    adam: "Adam",
    after: "after",
    before: "before",
  } as Record<string, string>,
  on: "on",
  off: "off",
  notOfThisNorm: "not a setting of this norm",
  notOfThisData: "these data have no padding and no gaps",
  loss: "Loss",
  lossNote: "Logarithmic.",
  accuracy: "Accuracy",
  key: {
    solid: "test data, evaluation (running statistics)",
    dashed: "test data, training mode (the batch's own statistics)",
    lossDots: "loss of the training batches",
    accuracyDots: "accuracy on training data, evaluation",
  },
  card: {
    idle: "not started",
    running: (step: number, steps: number) => `step ${step} of ${steps}`,
    paused: (step: number, steps: number) => `paused at step ${step} of ${steps}`,
    done: (step: number) => `done: ${step} steps`,
    diverged: (step: number) => `diverged: the loss was beyond numbers at step ${step}`,
    refused: "can't run",
    testAccuracy: "Test accuracy",
    testLoss: "Test loss",
    inTraining: "the same in training mode",
    trainAccuracy: "Training accuracy",
    trainLoss: "Training loss",
    penalty: "Penalties",
    time: "A step",
    share: "The norm's share",
    surface: "What the network makes of the plane, and the test points",
    findings: "What stands out",
    nothing: "Nothing stands out.",
    layer: (layer: number) => `Layer ${layer}`,
    before: "before the norm",
    after: "after it",
    beforePlain: "no norm: as it is",
    distribution: (mean: string, std: string) => `mean ${mean}, deviation ${std}`,
    infinite: (count: number) => `${count} values are beyond numbers`,
    statistics: "Channels: the batch's mean ± deviation (bars), running ones (frames)",
    parameters: "Channels: γ (bars), β (dots)",
    gradient: (size: string) => `gradient of the weights ${size}`,
    dead: (dead: number, of: number) => `${dead} of ${of} channels dead`,
    viewCode: "View code",
    save: "Save state dict",
  },
  findings: {
    vanishing: (ratio: string) =>
      `Gradients vanish: those of the first layer are ${ratio} of the last one's.`,
    exploding: (ratio: string) =>
      `Gradients explode: those of the first layer are ${ratio} times the last one's.`,
    gap: (loss: string, training: string) =>
      `Running statistics don't fit: the test loss is ${loss}, and ${training} by the batch's own statistics.`,
    overfit: (train: string, test: string) =>
      `It knows the training data better than the test data: ${train} and ${test}.`,
    dead: (layer: number, dead: number, of: number) =>
      `Layer ${layer}: ${dead} of ${of} channels give the same for the whole batch.`,
    inLayer: (layer: number, finding: string) => `Layer ${layer}: ${finding}`,
  },
  code: {
    title: (run: string) => `Run ${run} as a program`,
    place: (place: number) => `Place ${place} as a program`,
    close: "Close",
    copy: "Copy",
  },
  copied: "Copied.",
  status: {
    started: "Running.",
    paused: (runs: string) => `Paused. ${runs}`,
    done: (runs: string) => `All runs are done. ${runs}`,
    reset: "Back at the beginning.",
    run: (run: string, step: number, score: string) => `Run ${run}: step ${step}, ${score}.`,
    accuracy: (value: string) => `test accuracy ${value}`,
    loss: (value: string) => `test loss ${value}`,
  },
  frames: (median: string, worst: string) =>
    `Frames: ${median} ms in the middle, ${worst} ms at worst.`,
  badLink: (reason: string) => `The link was not read: ${reason}. This is the first page instead.`,
  badSetting: (run: string, reason: string) => `Run ${run}: ${reason}`,
  failed: (reason: string) => `Something of the page failed: ${reason}`,
};

export type Texts = typeof english;

export const texts: Texts = english;
