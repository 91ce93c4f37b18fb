"""PyTorch's norms, eager.

The operators under torch.nn.functional.batch_norm are called directly: the same kernels
without the checks in Python, and a backward pass on saved statistics without autograd's
bookkeeping. Outputs are allocated at each call, as PyTorch's users get them.
"""

import math

import torch

import pytorch_variants
import threads
from channels import channels_second, in_order
from prepared import Prepared

torch.set_num_threads(threads.COUNT)
torch.set_num_interop_threads(1)
# For good: nothing here needs autograd, whose part of a call counts on small tensors.
no_autograd = torch.inference_mode()
no_autograd.__enter__()

# With the instructions that its kernels were chosen for: "AVX512", "AVX2".
VERSION = f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()}"

aten = torch.ops.aten
ALL = [True, True, True]  # dx, dweight, dbias


def operations(eps):
    """The harness's operations as functions of tensors alone."""

    def inference(x, weight, bias, mean, variance):
        return torch.batch_norm(x, weight, bias, mean, variance, False, 0.0, eps, False)

    def inference_in_place(x, weight, bias, mean, variance):
        return x.copy_(inference(x, weight, bias, mean, variance))

    def training(x, weight, bias, mean, variance):
        # Momentum 1: the running statistics become the batch's, which can be checked then.
        return torch.batch_norm(x, weight, bias, mean, variance, True, 1.0, eps, False)

    def forward(x, weight, bias, mean, variance):
        return aten.native_batch_norm(x, weight, bias, mean, variance, True, 1.0, eps)

    def backward(dy, x, weight, mean, variance, save_mean, save_invstd):
        return aten.native_batch_norm_backward(
            dy, x, weight, mean, variance, save_mean, save_invstd, True, eps, ALL
        )

    def forward_backward(dy, x, weight, bias, mean, variance):
        y, *saved = forward(x, weight, bias, mean, variance)
        return (y, *backward(dy, x, weight, mean, variance, *saved))

    return inference, inference_in_place, training, forward, backward, forward_backward


def eager_in_place(eps, layout):
    """PyTorch has no batch norm in place. What serves best depends on the layout: the
    operator with its input as its output, or where the channels are innermost (twice as
    fast there, four times slower elsewhere) a multiplication and addition."""

    def operator(x, weight, bias, mean, variance):
        unused = x.new_empty(0)
        aten.native_batch_norm.out(
            x, weight, bias, mean, variance, False, 0.0, eps,
            out=x, save_mean=unused, save_invstd=unused,
        )  # fmt: skip
        return x

    def composed(x, weight, bias, mean, variance):
        scale = weight * torch.rsqrt(variance + eps)
        shift = bias - mean * scale
        along = [-1 if i == 1 else 1 for i in range(x.dim())]
        return torch.addcmul(shift.view(along), x, scale.view(along), out=x)

    return operator if layout == "channels-first" else composed


def operations_of_sets(norm, shape, groups, eps, compiled):
    """Forward and backward passes of the norms within a sample: of x, weight and bias, and of
    what the forward pass returned after y."""
    if norm == "group":
        n, channels, *inner = shape
        sizes = (n, channels, math.prod(inner), groups)

        def forward(x, weight, bias):
            return aten.native_group_norm(x, weight, bias, *sizes, eps)

        def backward(dy, x, weight, bias, mean, rstd):
            return aten.native_group_norm_backward(dy, x, mean, rstd, weight, *sizes, ALL)

        return forward, backward
    row = shape[-1:]
    if norm == "layer":

        def forward(x, weight, bias):
            return aten.native_layer_norm(x, row, weight, bias, eps)

        def backward(dy, x, weight, bias, mean, rstd):
            return aten.native_layer_norm_backward(dy, x, row, mean, rstd, weight, bias, ALL)

        return forward, backward

    def forward(x, weight, bias):
        return (torch.rms_norm(x, row, weight, eps),)

    def written_out(dy, x, weight, bias):
        """The gradients as formulas, for the compiler to fuse."""
        rstd = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
        normalized, weighed = x * rstd, dy * weight
        slope = (weighed * normalized).mean(-1, keepdim=True)
        return rstd * (weighed - normalized * slope), (dy * normalized).sum(0)

    return forward, written_out if compiled else None


def rms_backward(x, weight, dy, eps):
    """Eager PyTorch has no operator for it: autograd goes back through the forward pass's."""
    with torch.inference_mode(False), torch.enable_grad():
        x, weight, dy = (tensor.clone() for tensor in (x, weight, dy))
        x.requires_grad_()
        weight.requires_grad_()
        y = torch.rms_norm(x, x.shape[-1:], weight, eps)

    def step():
        with torch.inference_mode(False), torch.enable_grad():
            return torch.autograd.grad(y, (x, weight), dy, retain_graph=True)

    return step


def prepare_sets(cell, arrays, compiled):
    """The norms within a sample: training, which is a forward pass, and backward."""
    op, layout, eps, norm = cell["op"], cell["layout"], cell["eps"], cell["norm"]
    x = channels_second(arrays["x"], layout)
    weight, bias = (torch.from_numpy(arrays[name]) for name in ("weight", "bias"))

    forward, backward = operations_of_sets(norm, list(x.shape), cell["groups"], eps, compiled)
    if op == "training":
        function = compiled(forward) if compiled else forward
        step = lambda: function(x, weight, bias)
        return Prepared(step, lambda result: {"y": in_order(result[0], layout)})
    dy = channels_second(arrays["dy"], layout)
    _, *saved = forward(x, weight, bias)
    if backward is None:
        step = rms_backward(x, weight, dy, eps)
    else:
        function = compiled(backward) if compiled else backward
        step = lambda: function(dy, x, weight, bias, *saved)
    names = ["dx", "dweight", "dbias"]

    def outputs(result):
        arrays = (one.detach() for one in result)
        return {
            name: in_order(one, layout) if name == "dx" else one.numpy()
            for name, one in zip(names, arrays)
        }

    return Prepared(step, outputs)


def prepare(cell, arrays, compiled=None):
    """`compiled` makes a faster function of one."""
    if cell["norm"] != "batch":
        return prepare_sets(cell, arrays, compiled)
    if "variant" in cell:
        return pytorch_variants.prepare(cell, arrays, compiled)
    op, layout, eps = cell["op"], cell["layout"], cell["eps"]
    inference, in_place, training, forward, backward, forward_backward = operations(eps)
    x = channels_second(arrays["x"], layout)
    dy = channels_second(arrays["dy"], layout) if "dy" in arrays else None
    weight, bias, mean, variance = (
        torch.from_numpy(arrays[name]) for name in ("weight", "bias", "mean", "variance")
    )

    def gradients(dx, dweight, dbias):
        return {"dx": in_order(dx, layout), "dweight": dweight.numpy(), "dbias": dbias.numpy()}

    def statistics():
        return {"mean": mean.numpy(), "unbiasedVariance": variance.numpy()}

    def prepared(function, *arguments, outputs):
        function = compiled(function) if compiled else function
        return Prepared(lambda: function(*arguments), outputs)

    everything = (x, weight, bias, mean, variance)
    if op == "inference":
        return prepared(inference, *everything, outputs=lambda y: {"y": in_order(y, layout)})
    if op == "inference-in-place":
        function = in_place if compiled else eager_in_place(eps, layout)
        return prepared(function, *everything, outputs=lambda y: {"y": in_order(y, layout)})
    if op == "training":
        return prepared(
            training, *everything, outputs=lambda y: {"y": in_order(y, layout), **statistics()}
        )
    if op == "backward":
        _, *saved = forward(*everything)
        return prepared(
            backward, dy, x, weight, mean, variance, *saved,
            outputs=lambda result: gradients(*result),
        )  # fmt: skip
    if op == "forward-backward":
        return prepared(
            forward_backward, dy, *everything,
            outputs=lambda result: {
                "y": in_order(result[0], layout), **gradients(*result[1:]), **statistics(),
            },
        )  # fmt: skip
    raise ValueError(f"no operation {op}")
