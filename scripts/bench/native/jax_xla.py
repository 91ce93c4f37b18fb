"""Norms in JAX: the formulas, compiled by XLA for the CPU.

The backward pass is written out: XLA makes twice as fast a program of it as of jax.vjp,
which keeps whole tensors between the passes. The variance is E[x²] − E[x]², Flax's
default (use_fast_variance), which is the faster one as well; JAX_VARIANCE=two-pass takes
the mean of squared deviations instead, for the accuracy report.
"""

import functools
import os
import sys

import threads

# XLA's flag for one thread doesn't reach its loops over elements (cpu time is up to twice
# the time that passes): it is the processors seen at start that limit its pool.
processors = os.sched_getaffinity(0)
if len(processors) < threads.COUNT:
    sys.exit(f"JAX has a thread a processor at most: {len(processors)}, not {threads.COUNT}")
os.sched_setaffinity(0, sorted(processors)[-threads.COUNT :])
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
FLAGS = ONE_THREAD if threads.COUNT == 1 else ""
# Those given limit the instructions that are used (`--avx2`).
GIVEN = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = f"{FLAGS} {GIVEN}".strip()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy  # noqa: E402

import jax_variants  # noqa: E402
from prepared import Prepared  # noqa: E402

jax.config.update("jax_platforms", "cpu")
# Programs run where they are called instead of on a thread of their own. That leaves loops over
# elements on that thread: with several it stays as JAX has it.
if threads.COUNT == 1:
    jax.config.update("jax_cpu_enable_async_dispatch", False)
jax.devices()
os.sched_setaffinity(0, processors)

VERSION = f"{jax.__version__} {GIVEN.removeprefix('--xla_cpu_')}".strip()
TWO_PASS = os.environ.get("JAX_VARIANCE") == "two-pass"


@functools.lru_cache(maxsize=16)
def operations(shape, axis, eps):
    """The harness's operations as compiled functions of arrays alone."""
    axes = tuple(i for i in range(len(shape)) if i != axis)
    count = numpy.prod([shape[i] for i in axes])
    spread = lambda vector: jnp.expand_dims(vector, axes)

    def inference(x, weight, bias, mean, variance):
        scale = weight * jax.lax.rsqrt(variance + eps)
        return (x - spread(mean)) * spread(scale) + spread(bias)

    def training(x, weight, bias):
        mean = jnp.mean(x, axes)
        if TWO_PASS:
            variance = jnp.mean(jnp.square(x - spread(mean)), axes)
        else:
            variance = jnp.maximum(jnp.mean(jnp.square(x), axes) - jnp.square(mean), 0)
        return inference(x, weight, bias, mean, variance), mean, variance

    def backward(dy, x, weight, mean, variance):
        inverse_std = jax.lax.rsqrt(variance + eps)
        normalized = (x - spread(mean)) * spread(inverse_std)
        dbias = jnp.sum(dy, axes)
        dweight = jnp.sum(dy * normalized, axes)
        rest = spread(dbias / count) + normalized * spread(dweight / count)
        return spread(weight * inverse_std) * (dy - rest), dweight, dbias

    def forward_backward(dy, x, weight, bias):
        y, mean, variance = training(x, weight, bias)
        return (y, mean, variance, *backward(dy, x, weight, mean, variance))

    return {
        "inference": jax.jit(inference),
        # The argument's memory is given away, and XLA writes y to it.
        "inference-in-place": jax.jit(inference, donate_argnums=0),
        "training": jax.jit(training),
        "backward": jax.jit(backward),
        "forward-backward": jax.jit(forward_backward),
    }


@functools.lru_cache(maxsize=16)
def operations_of_sets(norm, shape, axis, groups, eps):
    """The norms within a sample: sets are all axes of `parted` behind the first one, but for
    that of the groups."""
    if norm == "group":
        axis = axis % len(shape)
        parted = (*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
        axes = tuple(i for i in range(1, len(parted)) if i != axis)
        others = tuple(i for i in range(len(shape)) if i != axis)
    else:
        parted, axes, others = shape, (len(shape) - 1,), tuple(range(len(shape) - 1))
    spread = lambda vector: jnp.expand_dims(vector, others).reshape(
        [1 if i in others else n for i, n in enumerate(shape)]
    )
    mean_of = lambda x: jnp.mean(x, axes, keepdims=True)

    def statistics(x):
        x = x.reshape(parted)
        if norm == "rms":
            return jnp.zeros(()), jax.lax.rsqrt(mean_of(jnp.square(x)) + eps)
        mean = mean_of(x)
        variance = jnp.maximum(mean_of(jnp.square(x)) - jnp.square(mean), 0)
        return mean, jax.lax.rsqrt(variance + eps)

    def normalize(x, mean, inverse_std):
        return ((x.reshape(parted) - mean) * inverse_std).reshape(shape)

    def forward(x, weight, bias):
        mean, inverse_std = statistics(x)
        y = normalize(x, mean, inverse_std) * spread(weight)
        return (y if norm == "rms" else y + spread(bias)), mean, inverse_std

    def backward(dy, x, weight, mean, inverse_std):
        normalized = normalize(x, mean, inverse_std)
        weighed = (dy * spread(weight)).reshape(parted)
        hat = normalized.reshape(parted)
        rest = hat * mean_of(weighed * hat) + (0 if norm == "rms" else mean_of(weighed))
        dx = (inverse_std * (weighed - rest)).reshape(shape)
        return dx, jnp.sum(dy * normalized, others), jnp.sum(dy, others)

    return jax.jit(forward), jax.jit(backward)


def prepare_sets(cell, value):
    shape, norm = tuple(cell["shape"]), cell["norm"]
    key = (norm, shape, cell["axis"], cell["groups"], cell["eps"])
    forward, backward = operations_of_sets(*key)
    x, weight, bias = value["x"], value["weight"], value["bias"]
    if cell["op"] == "training":
        step = lambda: jax.block_until_ready(forward(x, weight, bias))
        names = ["y"]
    else:
        _, *saved = forward(x, weight, bias)
        step = lambda: jax.block_until_ready(backward(value["dy"], x, weight, *saved))
        names = ["dx", "dweight", "dbias"]
    return Prepared(step, lambda result: {n: numpy.asarray(v) for n, v in zip(names, result)})


OUTPUTS = {
    "inference": ["y"],
    "inference-in-place": ["y"],
    "training": ["y", "mean", "variance"],
    "backward": ["dx", "dweight", "dbias"],
    "forward-backward": ["y", "mean", "variance", "dx", "dweight", "dbias"],
}


def prepare(cell, arrays):
    op = cell["op"]
    if cell["norm"] != "batch":
        return prepare_sets(cell, {name: jnp.array(array) for name, array in arrays.items()})
    functions = operations(tuple(cell["shape"]), cell["axis"], cell["eps"])
    value = {name: jnp.array(array) for name, array in arrays.items()}
    if "variant" in cell:
        return jax_variants.prepare(cell, value, functions, operations)
    function = functions[op]
    x, weight, bias, mean, variance = (
        value.pop(name) for name in ("x", "weight", "bias", "mean", "variance")
    )
    if op == "inference-in-place":
        place = [x]
        del x  # or its memory had another owner

        def step():
            y = function(place.pop(), weight, bias, mean, variance)
            place.append(y.block_until_ready())
            return place
    else:
        if op == "inference":
            arguments = (x, weight, bias, mean, variance)
        elif op == "training":
            arguments = (x, weight, bias)
        elif op == "backward":
            _, *batch = functions["training"](x, weight, bias)
            arguments = (value["dy"], x, weight, *batch)
        else:
            arguments = (value["dy"], x, weight, bias)

        def step():
            return jax.block_until_ready(function(*arguments))

    def outputs(result):
        result = result if isinstance(result, (tuple, list)) else [result]
        return {name: numpy.asarray(v) for name, v in zip(OUTPUTS[op], result, strict=True)}

    return Prepared(step, outputs)
