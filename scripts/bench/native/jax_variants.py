"""Batch norm's variants in JAX: formulas over those of `jax_xla.py`, compiled whole.

Ghost batches are an axis of their own that the norm is mapped over, so that their number divides
the batch. Gradients are written out, as there.
"""

import jax
import jax.numpy as jnp
import numpy

from prepared import Prepared


def ghost(cell, _, operations):
    shape, size = cell["shape"], cell["virtualBatchSize"]
    norm = operations((size, *shape[1:]), cell["axis"], cell["eps"])
    parted = lambda x: x.reshape(-1, size, *shape[1:])

    def forward(x, weight, bias):
        y, *saved = jax.vmap(norm["training"], (0, None, None))(parted(x), weight, bias)
        return y.reshape(shape), *saved

    def backward(dy, x, weight, mean, variance):
        over = jax.vmap(norm["backward"], (0, 0, None, 0, 0))
        dx, dweight, dbias = over(parted(dy), parted(x), weight, mean, variance)
        return dx.reshape(shape), dweight.sum(0), dbias.sum(0)

    return forward, backward


def renorm(cell, norm, _):
    """r and d are constants to the gradient."""
    eps, r_min, r_max, d_max = (cell[name] for name in ("eps", "rMin", "rMax", "dMax"))

    def forward(x, weight, bias, running_mean, running_var):
        _, mean, variance = norm["training"](x, weight, bias)
        inverse_std = jax.lax.rsqrt(running_var + eps)
        r = jnp.clip(jnp.sqrt(variance + eps) * inverse_std, r_min, r_max)
        d = jnp.clip((mean - running_mean) * inverse_std, -d_max, d_max)
        y = norm["inference"](x, weight * r, bias + weight * d, mean, variance)
        return y, mean, variance, r, d

    def backward(dy, x, weight, mean, variance, r, d):
        dx, products, dbias = norm["backward"](dy, x, weight * r, mean, variance)
        return dx, r * products + d * dbias, dbias

    return forward, backward


def mask(cell, norm, _):
    """Means over the positions that count, as Flax has them."""
    shape, axis, eps = cell["shape"], cell["axis"], cell["eps"]
    axes = tuple(i for i in range(len(shape)) if i != axis)
    spread = lambda vector: jnp.expand_dims(vector, axes)

    def forward(x, weight, bias, mask):
        mean_of = lambda x: jnp.sum(x * mask, axes) / jnp.sum(mask)
        mean = mean_of(x)
        variance = jnp.maximum(mean_of(jnp.square(x)) - jnp.square(mean), 0)
        return norm["inference"](x, weight, bias, mean, variance), mean, variance

    def backward(dy, x, weight, mean, variance, mask):
        total = jnp.sum(mask)
        inverse_std = jax.lax.rsqrt(variance + eps)
        normalized = (x - spread(mean)) * spread(inverse_std)
        dbias, dweight = jnp.sum(dy, axes), jnp.sum(dy * normalized, axes)
        through = spread(dbias / total) + normalized * spread(dweight / total)
        return spread(weight * inverse_std) * (dy - mask * through), dweight, dbias

    return forward, backward


def activated(_, norm, __):
    def step(y, *residual):
        return jnp.maximum(y + residual[0] if residual else y, 0)

    def inference(x, weight, bias, mean, variance, *residual):
        return (step(norm["inference"](x, weight, bias, mean, variance), *residual),)

    def forward(x, weight, bias, *residual):
        y, *saved = norm["training"](x, weight, bias)
        return step(y, *residual), *saved

    def backward(dy, y, x, weight, mean, variance, *residual):
        dv = jnp.where(y > 0, dy, 0)
        return *norm["backward"](dv, x, weight, mean, variance), *[dv for _ in residual]

    return forward, backward, inference


VARIANTS = {
    "ghost": ghost,
    "renorm": renorm,
    "mask": mask,
    "relu": activated,
    "residual-relu": activated,
}
GRADIENTS = ["dx", "dweight", "dbias", "dresidual"]


def prepare(cell, value, functions, operations):
    op, variant = cell["op"], cell["variant"]
    forward, backward, *inference = VARIANTS[variant](cell, functions, operations)
    x, weight, bias = (value[name] for name in ("x", "weight", "bias"))
    running = [value[name] for name in ("mean", "variance")]
    beside = [value[name] for name in ("mask", "residual") if name in value]
    count = len(beside)
    given = [x, weight, bias, *(running if variant == "renorm" else []), *beside]

    def back(dy, x, weight, result, beside):
        """The gradients, of what the forward pass returned."""
        y, *saved = result
        of_y = [y] if inference else []
        return backward(dy, *of_y, x, weight, *saved, *beside)

    def both(dy, *given):
        result = forward(*given)
        beside = given[len(given) - count :]
        return result[0], *back(dy, *given[:2], result, beside)

    if op == "inference":
        names, function, arguments = ["y"], inference[0], (x, weight, bias, *running, *beside)
    elif op == "training":
        names, function, arguments = ["y"], forward, given
    elif op == "backward":
        result = jax.jit(forward)(*given)
        # What isn't read is no argument of the program.
        kept = result if inference else (None, *result[1:])
        names, function, arguments = GRADIENTS, back, (value["dy"], x, weight, kept, beside)
    else:
        names, function, arguments = ["y", *GRADIENTS], both, (value["dy"], *given)
    compiled = jax.jit(function)
    step = lambda: jax.block_until_ready(compiled(*arguments))
    return Prepared(step, lambda result: {n: numpy.asarray(v) for n, v in zip(names, result)})
