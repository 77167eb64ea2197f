"""Strategies in which each modality adds its vector, weighted or not.

`MaxFusion` stands here for its form, a pooled vector; what it computes is not additive.
"""

import math

import torch
from torch import Tensor, nn

from course_utils.fusion.base import mlp
from course_utils.fusion.pooling import WeightedPooling
from course_utils.masks import masked_softmax


class SumFusion(WeightedPooling):
    """Linear fusion: project all modalities to one width and add: logits = W sum_m h_m + b, h_m
    = P_m x_m + c_m.

    With two modalities this is the articles' W_f F + W_t T. It is one linear layer on the
    concatenation, of weight [W P_1, ..., W P_M] and so of rank at most `width`: additive, no
    modality can change what another one means. `width=None` adds the inputs as they are, which
    then have to be equally wide.

    Cost in multiply-adds a row: `width` C.
    Missing: left out of the sum, which gets smaller by that. A row without any modality gives b.
    Weights: 1, or 0 for a missing one. Contributions: W h_m; they sum to the logits minus b.
    Source: Baltrusaitis, Ahuja and Morency 2019, Multimodal machine learning: a survey and taxonomy
    (arXiv:1705.09406), compare it with other fusion; the formula is older than the field.
    """

    def __init__(
        self, input_dims: dict[str, int], output_dim: int, *, width: int | None = 32, **options
    ):
        super().__init__(input_dims, output_dim, width=width, **options)
        self.sizes = [self._equal_width(), output_dim]
        self.head = mlp(self.sizes)

    def weights(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        return present[..., None].to(inputs[0].dtype)  # (B, M) -> (B, M, 1)


class MeanFusion(SumFusion):
    """The mean of the projections of the modalities present: logits = W mean_m h_m + b.

    Unlike the sum it has the same scale whether one modality is present or all. Additive while
    all are present.

    Cost in multiply-adds a row: `width` C.
    Missing: left out of the mean, which is then over fewer modalities. A row without any
    modality gives b.
    Weights: 1 / (number present), 0 for a missing one. Contributions: W a_m h_m; they sum to the
    logits minus b.
    Source: as `SumFusion`.
    """

    def weights(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        return super().weights(inputs, present) / present.sum(1).clamp(min=1)[:, None, None]


class WeightedSumFusion(SumFusion):
    """A weighted average: logits = W sum_m a_m h_m + b, with the same weights a for all rows
    that miss nothing.

    The a_m sum to 1 over the modalities present. By default they are learned, the softmax of one
    number each. `weights={"text": 2.0, ...}` fixes them, set by hand or by cross-validation;
    `variances={"text": 0.25, ...}` fixes them to 1 / variance: for unbiased cues of one quantity
    with independent noise no other weights that sum to 1 give a mean of smaller variance.
    Learned weights come near these only where that is the task: the cues are on one scale and
    come without a projection (`width=None`), and there are enough samples. A projection can take
    the weights in. Fixed weights are kept in the parameters' dtype, as `ProductOfExpertsFusion`'s
    prior is.

    Cost in multiply-adds a row: `width` C.
    Missing: left out, and the weights of those present grow to sum to 1. A row without any
    modality gives b.
    Weights: a, 0 for a missing one. Contributions: W a_m h_m; they sum to the logits minus b.
    Source: Cochran 1954, The combination of estimates from different experiments (Biometrics
    10), for 1 / variance.
    """

    def __init__(
        self,
        input_dims: dict[str, int],
        output_dim: int,
        *,
        weights: dict[str, float] | None = None,
        variances: dict[str, float] | None = None,
        **options,
    ):
        super().__init__(input_dims, output_dim, **options)
        if weights is not None and variances is not None:
            raise ValueError("weights, variances: expected one of the two, got both")
        if weights is None and variances is None:
            self.scores = nn.Parameter(torch.zeros(len(self.names)))
        else:
            # softmax(log a) is a, normalised
            scores = (
                self._logs("weights", weights)
                if variances is None
                else -self._logs("variances", variances)
            )
            self.register_buffer("scores", scores)

    def _logs(self, argument: str, values: dict[str, float]) -> Tensor:
        if not isinstance(values, dict) or set(values) != set(self.names):
            raise ValueError(
                f"{argument}: expected a number for each of {list(self.names)}, got {values!r}"
            )
        if not all(
            isinstance(value, (int, float)) and 0 < value < math.inf for value in values.values()
        ):
            raise ValueError(f"{argument}: expected positive finite numbers, got {values}")
        return torch.tensor([math.log(values[name]) for name in self.names])

    def weights(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        return masked_softmax(self.scores, present, 1)[..., None]  # (M,), (B, M) -> (B, M, 1)

    def own_parameters(self) -> int:
        return super().own_parameters() + (
            len(self.names) if isinstance(self.scores, nn.Parameter) else 0
        )


class MaxFusion(SumFusion):
    """The largest of the modalities present, entry by entry: logits = W max_m h_m + b.

    Only the winner of an entry gets its gradient; at a tie the winners share it equally. Not
    additive.

    Cost in multiply-adds a row: `width` C.
    Missing: never wins, even if all others are negative. A row without any modality gives b.
    Weights: the share of the entries that a modality wins. Contributions: W applied to the
    entries it wins (a tie is split); they sum to the logits minus b.
    Source: as `SumFusion`; as an activation Goodfellow et al. 2013, Maxout networks
    (arXiv:1302.4389).
    """

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        # amax: a tie is shared
        largest = self.values(inputs).masked_fill(~present[..., None], -math.inf).amax(1)
        # (B, width) -> (B, C)
        return self.head(torch.where(present.any(1, keepdim=True), largest, 0))

    def weights(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        values = self.values(inputs).masked_fill(~present[..., None], -math.inf)
        wins = (values == values.amax(1, keepdim=True)) & present[..., None]  # (B, M, width)
        return wins.to(values.dtype) / wins.sum(1, keepdim=True).clamp(min=1)
