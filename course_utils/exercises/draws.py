"""Numbers for an exercise's cases."""

from collections.abc import Callable

import torch
from torch import Tensor


def draws(seed: int) -> Callable[..., Tensor]:
    """`draw(2, 3)` gives random float64 numbers of that shape, with one decimal, none of them 0."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        numbers = torch.randn(*shape, generator=generator, dtype=torch.float64)
        numbers = (10 * numbers).round() / 10
        return torch.where(numbers == 0, 0.3, numbers)

    return draw


def float64(*values) -> tuple[Tensor, ...]:
    """Each of the nested lists of numbers as a float64 tensor."""
    return tuple(torch.tensor(value, dtype=torch.float64) for value in values)
