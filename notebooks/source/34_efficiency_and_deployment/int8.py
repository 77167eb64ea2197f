"""Weights of linear layers and convolutions as whole numbers from -127 to 127, with a scale for
each output.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def quantized(weight: Tensor, top: float = 127.0) -> tuple[Tensor, Tensor]:
    """weight (out, in) float -> whole numbers (out, in) int8 and scales (out, 1), weight's dtype.

    The largest entry of a row becomes 127 or -127; numbers times scale is the weight, to half a
    scale. A row of zeros has scale 1. torchao divides by `top` 127.5 instead.
    """
    largest = weight.abs().amax(1, keepdim=True)  # (out, in) -> (out, 1)
    scale = torch.where(largest > 0, largest / top, 1.0)
    return (weight * (1 / scale)).round().clamp(-128, 127).to(torch.int8), scale


class Int8(nn.Module):
    """A linear layer, or a convolution over time, that keeps its weight in int8; for inference.

    (..., in) -> (..., out), or (B, in, T) -> (B, out, T'). The scale comes after the sum, because
    it is the same for all that is summed.
    """

    def __init__(self, layer: nn.Linear | nn.Conv1d, top: float = 127.0):
        super().__init__()
        weight = layer.weight.detach()
        numbers, scale = quantized(weight.flatten(1), top)
        bias = None if layer.bias is None else layer.bias.detach().clone()
        self.register_buffer("numbers", numbers.view_as(weight))
        self.register_buffer("scale", scale[:, 0])
        self.register_buffer("bias", bias)
        self.over_time = None
        if isinstance(layer, nn.Conv1d):
            self.over_time = (layer.stride, layer.padding, layer.dilation, layer.groups)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.numbers.to(x.dtype)
        if self.over_time is None:
            x = F.linear(x, weight) * self.scale
            return x if self.bias is None else x + self.bias
        x = F.conv1d(x, weight, None, *self.over_time) * self.scale[:, None]
        return x if self.bias is None else x + self.bias[:, None]


def in_int8(
    model: nn.Module, kinds: tuple = (nn.Linear, nn.Conv1d), top: float = 127.0
) -> nn.Module:
    """A copy of the model with an `Int8` for each layer of these kinds; all else as it is.

    Convolutions must pad with zeros. A weight that two layers share is there twice afterwards.
    """
    model = copy.deepcopy(model)
    if isinstance(model, kinds):
        return Int8(model, top)
    for name, part in list(model.named_modules()):
        if isinstance(part, kinds):
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, Int8(part, top))
    return model


def size(model: nn.Module) -> int:
    """The bytes of all parameters and buffers; one that two layers share counts once."""
    kept = {id(value): value for value in [*model.parameters(), *model.buffers()]}
    return sum(value.numel() * value.element_size() for value in kept.values())
