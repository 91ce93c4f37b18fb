"""Tensors in PyTorch's order, with the channels second, and back."""

import torch


def channels_second(array, layout):
    """The tensor of PyTorch's order; channels-last stays so in memory."""
    tensor = torch.from_numpy(array)
    if layout != "channels-last":
        return tensor
    while tensor.dim() < 4:  # [N, L, C]: PyTorch has channels-last from four dimensions on
        tensor = tensor.unsqueeze(1)
    return tensor.movedim(-1, 1)


def in_order(tensor, layout):
    """An array of the cell's order."""
    return (tensor.movedim(1, -1) if layout == "channels-last" else tensor).numpy()
