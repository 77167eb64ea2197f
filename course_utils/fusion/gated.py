"""Strategies in which modalities scale each other: gates, FiLM."""

import torch
from torch import Tensor, nn

from course_utils.checks import check_whole
from course_utils.fusion.base import Fusion, mlp, one_of
from course_utils.fusion.pooling import WeightedPooling
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
