"""Strategies with products of the modalities."""

import math
from functools import reduce
from itertools import combinations

import torch
from torch import Tensor, nn

from course_utils.fusion.base import Fusion, mlp


class BilinearFusion(Fusion):
    """All products of an entry of one modality and an entry of another: logits_c = sum_{a<b}
    h_a^T W_abc h_b + b_c.

    Only products of two: with three modalities their parity is out of reach, with one alone only
    the bias is left. (The biases of the projections bring in terms of one modality, but only
    beside another.) `TensorFusion` has all orders.

    Cost in multiply-adds a row: C sum_{a<b} D_a D_b, so the default `width` is small.
    Missing: all its products are 0. A row with one modality or none gives b.
    Source: Tenenbaum and Freeman 2000, Separating style and content with bilinear models (Neural
    Computation 12).
    """

    at_least = 2

    def __init__(
        self, input_dims: dict[str, int], output_dim: int, *, width: int | None = 16, **options
    ):
        super().__init__(input_dims, output_dim, width=width, **options)
        self.sizes = [sum(a * b for a, b in combinations(self.dims, 2)), output_dim]
        self.head = mlp(self.sizes)

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        # (B, sum D_a D_b) -> (B, C)
        return self.head(torch.cat([_outer(a, b) for a, b in combinations(inputs, 2)], 1))


class TensorFusion(Fusion):
    """Tensor fusion network: the outer product of all [h_m; 1], then a linear map: logits = W
    vec([h_1; 1] (x) ... ) + b, with (x) the outer product and vec its entries in a row.

    The appended ones keep every product of lower order too: each modality alone, each pair, up
    to all M. So all that is multilinear in the modalities can be represented, at the price of a
    product of widths instead of their sum.

    Cost in multiply-adds a row: C prod (D_m + 1); memory B prod (D_m + 1), so the default
    `width` is small.
    Missing: [0; 1], which leaves the products without it, as if built without it. A row without
    any modality gives b plus the column of W for the product of ones.
    Source: Zadeh et al. 2017, Tensor fusion network for multimodal sentiment analysis
    (arXiv:1707.07250).
    """

    def __init__(
        self, input_dims: dict[str, int], output_dim: int, *, width: int | None = 8, **options
    ):
        super().__init__(input_dims, output_dim, width=width, **options)
        self.sizes = [math.prod(dim + 1 for dim in self.dims), output_dim]
        self.head = mlp(self.sizes)

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        # M times (B, D_m + 1)
        extended = [nn.functional.pad(x, (0, 1), value=1) for x in inputs]
        # (B, prod (D_m + 1)) -> (B, C)
        return self.head(reduce(_outer, extended))


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, :, None] * b[:, None, :]).flatten(1)  # (B, D), (B, E) -> (B, D E)
