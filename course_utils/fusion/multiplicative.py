"""Strategies in which modalities multiply: gates, scales, products of their entries."""

import math
from functools import reduce
from itertools import combinations

import torch
from torch import Tensor, nn

from course_utils.checks import check_whole
from course_utils.fusion.additive import WeightedPooling
from course_utils.fusion.base import Fusion, mlp, one_of
from course_utils.masks import masked_softmax


class GatedFusion(WeightedPooling):
    """Gated multimodal units: the inputs decide, entry by entry, how much of each modality passes.

        logits = W sum_m z_m * v_m + b,   v_m = tanh(V_m h_m + c_m),   z = softmax_m(U_m [h_1; ...;
                                          h_M] + d_m)

    v_m and z_m have `hidden` entries. With two modalities z_2 = 1 - z_1 and z_1 is the sigmoid
    of (U_1 - U_2) [h_1; h_2] + d_1 - d_2, the unit of the paper. For more than two the paper
    takes one sigmoid for each, which need not sum to 1; the softmax here keeps the scale when a
    modality is missing. Not additive: a gate sees all modalities.

    Cost in multiply-adds a row, H = `hidden`: H ((M + 1) sum D_m + C).
    Missing: its gate is 0 and the others' sum to 1; the gates see zeros for it. A row without
    any modality gives b.
    Weights: the mean of z_m over its entries. Contributions: W (z_m * v_m); they sum to the
    logits minus b.
    Source: Arevalo, Solorio, Montes-y-Gomez and Gonzalez 2017, Gated multimodal units for
    information fusion (arXiv:1702.01992).
    """

    def __init__(self, input_dims: dict[str, int], output_dim: int, *, hidden: int = 32, **options):
        super().__init__(input_dims, output_dim, **options)
        check_whole(1, hidden=hidden)
        self.value = nn.ModuleDict(
            {name: nn.Linear(dim, hidden) for name, dim in zip(self.names, self.dims)}
        )
        self.gate = nn.Linear(sum(self.dims), len(self.names) * hidden)
        self.sizes = [hidden, output_dim]
        self.head = mlp(self.sizes)

    def values(self, inputs: list[Tensor]) -> Tensor:
        # (B, M, H)
        return torch.stack([value(x) for value, x in zip(self.value.values(), inputs)], 1).tanh()

    def weights(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        # (B, M, H)
        scores = self.gate(torch.cat(inputs, 1)).unflatten(1, (len(self.names), -1))
        return masked_softmax(scores, present[..., None], 1)

    def own_parameters(self) -> int:
        return super().own_parameters() + self.sizes[0] * (
            (len(self.names) + 1) * sum(self.dims) + 2 * len(self.names)
        )

    def own_multiply_adds(self, lengths: dict[str, int]) -> int:
        return super().own_multiply_adds(lengths) + self.sizes[0] * (len(self.names) + 1) * sum(
            self.dims
        )


class FiLMFusion(Fusion):
    """Feature-wise linear modulation: the other modalities scale and shift the entries of one.

        logits = W ((1 + G c) * x + S c) + b,   x the content, c = [the others]

    The content is the first modality, or `content="name"`; G, S are (D_x, sum of the others'
    D_m). They have no bias, so missing conditions leave x as it is. The product of c and x makes
    it multiplicative: c can flip what x means. The others do not interact with each other.

    Cost in multiply-adds a row: D_x (2 sum of the others' D_m + C).
    Missing: a missing condition modulates nothing, a missing content leaves W S c + b. A row
    without any gives b.
    Source: Perez et al. 2018, FiLM: visual reasoning with a general conditioning layer
    (arXiv:1709.07871).
    """

    at_least = 2

    def __init__(
        self, input_dims: dict[str, int], output_dim: int, *, content: str | None = None, **options
    ):
        super().__init__(input_dims, output_dim, **options)
        self.content = one_of("content", content, self.names)
        widths = dict(zip(self.names, self.dims))
        dim = widths.pop(self.content)
        self.film = nn.Linear(sum(widths.values()), 2 * dim, bias=False)
        self.head = nn.Linear(dim, output_dim)

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        conditions = dict(zip(self.names, inputs))
        x = conditions.pop(self.content)  # (B, D_x)
        # each (B, D_x)
        scale, shift = self.film(torch.cat([*conditions.values()], 1)).chunk(2, 1)
        return self.head((1 + scale) * x + shift)

    def own_parameters(self) -> int:
        return self.own_multiply_adds({}) + self.output_dim

    def own_multiply_adds(self, lengths: dict[str, int]) -> int:
        dim = dict(zip(self.names, self.dims))[self.content]
        return dim * (2 * (sum(self.dims) - dim) + self.output_dim)


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


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, :, None] * b[:, None, :]).flatten(1)  # (B, D), (B, E) -> (B, D E)
