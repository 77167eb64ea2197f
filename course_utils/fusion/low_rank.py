"""Tensor fusion with a weight of low rank."""

from functools import reduce

import torch
from torch import Tensor, nn

from course_utils.checks import check_whole
from course_utils.fusion.base import Fusion


class LowRankTensorFusion(Fusion):
    """`TensorFusion` with weights of low rank, so that the outer product is never formed.

        logits = sum_r prod_m (F_m^r [h_m; 1]) + b

    with each F_m^r (C, D_m + 1) and the product entry by entry. At rank R large enough (for two
    modalities the smaller D_m + 1) every tensor fusion can be written this way.

    Cost in multiply-adds a row, R = `rank`: R C sum D_m, a sum of widths where `TensorFusion`
    has their product.
    Missing: its factor is that of [0; 1], a learned number for each r and class, so it is not as
    if built without it: there that number would be 1. A row without any modality gives the sum
    of products of these numbers, plus b.
    Source: Liu et al. 2018, Efficient low-rank multimodal fusion with modality-specific factors
    (arXiv:1806.00064).
    """

    def __init__(self, input_dims: dict[str, int], output_dim: int, *, rank: int = 4, **options):
        super().__init__(input_dims, output_dim, **options)
        check_whole(1, rank=rank)
        self.rank = rank
        self.factors = nn.ModuleDict(
            {name: nn.Linear(dim, rank * output_dim) for name, dim in zip(self.names, self.dims)}
        )
        self.bias = nn.Parameter(torch.zeros(output_dim))
        for factor in self.factors.values():
            # For inputs of variance 1 each factor has variance R^(-1/M), and the sum of R products
            # of M has 1. The usual start of a linear layer has about 1/3, which would leave 3^-M of
            # a product.
            for parameter in (factor.weight, factor.bias):
                nn.init.normal_(
                    parameter,
                    std=(factor.in_features + 1) ** -0.5 * rank ** (-0.5 / len(self.names)),
                )

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        # M times (B, R C)
        factors = [factor(x) for factor, x in zip(self.factors.values(), inputs)]
        return reduce(torch.mul, factors).unflatten(1, (self.rank, -1)).sum(1) + self.bias

    def own_parameters(self) -> int:
        return self.rank * self.output_dim * sum(dim + 1 for dim in self.dims) + self.output_dim

    def own_multiply_adds(self, lengths: dict[str, int]) -> int:
        return self.rank * self.output_dim * sum(self.dims)
