"""Weights of linear layers as whole numbers from -127 to 127, with a scale for each output."""

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


class Int8Linear(nn.Module):
    """A linear layer that keeps its weight in int8: (..., in) -> (..., out). For inference."""

    def __init__(self, layer: nn.Linear, top: float = 127.0):
        super().__init__()
        numbers, scale = quantized(layer.weight.detach(), top)
        bias = None if layer.bias is None else layer.bias.detach().clone()
        self.register_buffer("numbers", numbers)
        self.register_buffer("scale", scale[:, 0])
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.numbers.to(x.dtype)) * self.scale  # (..., in) -> (..., out)
        return x if self.bias is None else x + self.bias


def in_int8(model: nn.Module, top: float = 127.0) -> nn.Module:
    """A copy of the model with an `Int8Linear` for each `nn.Linear`; all else stays as it is."""
    model = copy.deepcopy(model)
    if isinstance(model, nn.Linear):
        return Int8Linear(model, top)
    for name, part in list(model.named_modules()):
        if isinstance(part, nn.Linear):
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, Int8Linear(part, top))
    return model


def size(model: nn.Module) -> int:
    """The bytes of all parameters and buffers; one that two layers share counts once."""
    kept = {id(value): value for value in [*model.parameters(), *model.buffers()]}
    return sum(value.numel() * value.element_size() for value in kept.values())
