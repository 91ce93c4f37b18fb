"""Batch norm's variants in PyTorch, as its users compose them from what it has.

Ghost batches are chunks, each through the operator; renorm is the operator without γ and β, and
then a map of its own; an activation and a residual are done in place of the norm's output. A
masked batch norm is written out, and eager PyTorch goes back through it by autograd. What
torch.compile gets is the same, but for the gradients of the last one, which are written out for
it to fuse.
"""

import contextlib

import torch

from channels import in_order, channels_second
from prepared import Prepared

aten = torch.ops.aten
ALL = [True, True, True]  # dx, dweight, dbias
MOMENTUM = 0.1


def along(vector, x):
    """A value a channel, spread over x, whose channels are its second axis."""
    return vector.view([-1 if i == 1 else 1 for i in range(x.dim())])


def norm_forward(x, weight, bias, running, eps):
    return aten.native_batch_norm(x, weight, bias, *running, True, MOMENTUM, eps)


def norm_backward(dy, x, weight, running, saved, eps):
    return aten.native_batch_norm_backward(
        dy, x, weight, *running, *saved, True, eps, ALL
    )


def ghost(cell):
    """Chunks of the batch, each through the operator."""
    size, eps = cell["virtualBatchSize"], cell["eps"]

    def forward(x, weight, bias, running):
        parts = [norm_forward(part, weight, bias, running, eps) for part in x.split(size)]
        return torch.cat([y for y, *_ in parts]), *[t for _, *saved in parts for t in saved]

    def backward(dy, x, weight, bias, running, *saved):
        pairs = zip(saved[::2], saved[1::2])
        parts = [
            norm_backward(*both, weight, running, pair, eps)
            for *both, pair in zip(dy.split(size), x.split(size), pairs)
        ]
        dx, dweight, dbias = zip(*parts)
        return torch.cat(dx), sum(dweight), sum(dbias)

    return forward, backward


def renorm(cell):
    """r and d of the running statistics as they were, constants to the gradient."""
    eps, r_min, r_max, d_max = (cell[name] for name in ("eps", "rMin", "rMax", "dMax"))

    def corrections(mean, inverse_std, before):
        running_mean, running_var = before
        inverse = torch.rsqrt(running_var + eps)
        r = (inverse / inverse_std).clamp(r_min, r_max)
        return r, ((mean - running_mean) * inverse).clamp(-d_max, d_max)

    def forward(x, weight, bias, running):
        before = [vector.clone() for vector in running]
        normalized, mean, inverse_std = norm_forward(x, None, None, running, eps)
        r, d = corrections(mean, inverse_std, before)
        scale, shift = weight * r, bias + weight * d
        scale, shift = along(scale, x), along(shift, x)
        # The one is faster where channels are innermost, the other elsewhere.
        if cell["layout"] == "channels-first":
            y = normalized.mul_(scale).add_(shift)
        else:
            y = torch.addcmul(shift, normalized, scale, out=normalized)
        return y, mean, inverse_std, r, d

    def backward(dy, x, weight, bias, running, mean, inverse_std, r, d):
        saved = (mean, inverse_std)
        dx, products, dbias = norm_backward(dy, x, weight * r, running, saved, eps)
        return dx, r * products + d * dbias, dbias

    return forward, backward


def mask(cell):
    """Means over the positions that count, written out; running statistics follow them."""
    eps = cell["eps"]

    def forward(x, weight, bias, running, mask):
        axes = [i for i in range(x.dim()) if i != 1]
        total = mask.sum()
        mean = (x * mask).sum(axes) / total
        deviations = x - along(mean, x)
        variance = (deviations.square() * mask).sum(axes) / total
        inverse_std = torch.rsqrt(variance + eps)
        with torch.no_grad():
            unbiased = variance * (total / (total - 1))
            for vector, value in zip(running, (mean, unbiased)):
                vector.lerp_(value, MOMENTUM)
        y = deviations * along(weight * inverse_std, x) + along(bias, x)
        return y, mean, inverse_std

    def written_out(dy, x, weight, bias, running, mask, mean, inverse_std):
        axes = [i for i in range(x.dim()) if i != 1]
        total = mask.sum()
        normalized = (x - along(mean, x)) * along(inverse_std, x)
        dbias, dweight = dy.sum(axes), (dy * normalized).sum(axes)
        through = along(dbias / total, x) + normalized * along(dweight / total, x)
        return along(weight * inverse_std, x) * (dy - mask * through), dweight, dbias

    return forward, written_out


def activated(cell):
    """Forward in place of the norm's output; back by its sign."""
    eps = cell["eps"]

    def step(y, *residual):
        for one in residual:
            y.add_(one)
        return y.relu_()

    def inference(x, weight, bias, running, *residual):
        return step(torch.batch_norm(x, weight, bias, *running, False, 0.0, eps, False), *residual)

    def forward(x, weight, bias, running, *residual):
        y, *saved = norm_forward(x, weight, bias, running, eps)
        return step(y, *residual), *saved

    def backward(dy, x, weight, bias, running, *rest):
        *residual, y, mean, inverse_std = rest
        dv = aten.threshold_backward(dy, y, 0)
        gradients = norm_backward(dv, x, weight, running, (mean, inverse_std), eps)
        return *gradients, *[dv for _ in residual]

    return forward, backward, inference


VARIANTS = {
    "ghost": ghost,
    "renorm": renorm,
    "mask": mask,
    "relu": activated,
    "residual-relu": activated,
}


@contextlib.contextmanager
def autograd():
    with torch.inference_mode(False), torch.enable_grad():
        yield


def through_autograd(forward, dy, x, weight, bias, running, beside):
    """Two calls: back through a forward pass that was done, and anew through another one."""
    with autograd():
        # Those that came are of inference mode, which autograd can't save.
        dy, x, weight, bias = (tensor.clone() for tensor in (dy, x, weight, bias))
        running, beside = ([tensor.clone() for tensor in some] for some in (running, beside))
        inputs = [tensor.requires_grad_() for tensor in (x, weight, bias)]
        done, *_ = forward(*inputs, running, *beside)

    def backward():
        with autograd():
            return torch.autograd.grad(done, inputs, dy, retain_graph=True)

    def forward_backward():
        with autograd():
            y, *_ = forward(*inputs, running, *beside)
            return y.detach(), *torch.autograd.grad(y, inputs, dy)

    return backward, forward_backward


GRADIENTS = ["dx", "dweight", "dbias", "dresidual"]
OUTPUTS = {
    "inference": ["y"],
    "training": ["y"],
    "backward": GRADIENTS,
    "forward-backward": ["y", *GRADIENTS],
}


def prepare(cell, arrays, compiled=None):
    """`compiled` makes a faster function of one."""
    op, layout, variant = cell["op"], cell["layout"], cell["variant"]
    forward, backward, *inference = VARIANTS[variant](cell)
    x, dy, residual, mask = (
        channels_second(arrays[name], layout) if name in arrays else None
        for name in ("x", "dy", "residual", "mask")
    )
    beside = [one for one in (residual, mask) if one is not None]
    weight, bias, *running = (
        torch.from_numpy(arrays[name]) for name in ("weight", "bias", "mean", "variance")
    )
    given = (x, weight, bias, running, *beside)

    def kept(result):
        """What of a forward pass the backward pass reads: of an activation y as well."""
        return result if inference else result[1:]

    def forward_backward(dy, *given):
        result = forward(*given)
        return result[0], *backward(dy, *given, *kept(result))

    if op.endswith("backward") and variant == "mask" and not compiled:
        back, both = through_autograd(forward, dy, x, weight, bias, running, beside)
        step = back if op == "backward" else both
    else:
        function, arguments = {
            "inference": lambda: (inference[0], given),
            "training": lambda: (forward, given),
            "backward": lambda: (backward, (dy, *given, *kept(forward(*given)))),
            "forward-backward": lambda: (forward_backward, (dy, *given)),
        }[op]()
        function = compiled(function) if compiled else function
        step = lambda: function(*arguments)

    def outputs(result):
        of_x = ("y", "dx", "dresidual")
        return {
            name: in_order(one, layout) if name in of_x else one.numpy()
            for name, one in zip(OUTPUTS[op], result if isinstance(result, tuple) else [result])
        }

    return Prepared(step, outputs)
