"""Kinds of concatenation: weighted, or of raw inputs below one network."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_utils.checks import check_whole
from course_utils.fusion.base import Fusion, FusionInfo, mlp
from course_utils.fusion.concat import ConcatFusion
from course_utils.masks import masked_softmax


class WeightedConcatFusion(ConcatFusion):
    """Concatenation with one learned weight for each modality: logits = W [a_1 h_1; ...; a_M
    h_M] + b.

    a = softmax over the present modalities of one learned number each. W could take the weights
    in: with all present this represents what `ConcatFusion` does and no more. What changes is
    training, and that there is a number to read, which is no measure of importance: a small a_m
    with a large W_m does the same as a large one with a small W_m.

    Cost in multiply-adds a row: as `ConcatFusion`.
    Missing: as `ConcatFusion`, also in a row without any modality; the weights of those present
    grow to sum to 1, and placeholders are not weighted.
    Weights: a, 0 for a missing one. Contributions (linear map only): W_m a_m h_m, W_m times a
    placeholder unweighted; they sum to the logits minus b.
    Source: the concatenation of Ngiam et al. 2011 with weights like those of `WeightedSumFusion`.
    """

    def __init__(self, input_dims: dict[str, int], output_dim: int, **options):
        super().__init__(input_dims, output_dim, **options)
        self.scores = nn.Parameter(torch.zeros(len(self.names)))

    def concatenate(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        weights = masked_softmax(self.scores, present, 1)  # (M,), (B, M) -> (B, M)
        return super().concatenate(
            [a[:, None] * x for a, x in zip(weights.unbind(1), inputs)], present
        )

    def explain(self, inputs: list[Tensor], present: Tensor) -> FusionInfo:
        contributions = super().explain(inputs, present).contributions
        return FusionInfo(
            weights=masked_softmax(self.scores, present, 1), contributions=contributions
        )

    def own_parameters(self) -> int:
        return super().own_parameters() + len(self.names)


class EarlyFusion(Fusion):
    """Glue the raw inputs together, then one encoder for all: logits = W encoder([x_1; ...;
    x_M]) + b.

    Hand it inputs as raw as they come (pixels, counts, a spectrogram, flattened to (B, D_m)):
    the encoder sees all modalities from its first layer on, so it can use a link between one
    pixel and one letter, and has to find it. `encoder(sum D_m, hidden)` builds a module (B, sum
    D_m) -> (B, hidden); by default two layers, each with a ReLU. There are no projections or
    norms before it, because those would be encoders of one modality each.

    Cost in multiply-adds a row, default encoder, H = `hidden`: H (sum D_m + H + C).
    Missing: zeros, which the encoder cannot tell from a real zero. A row without any modality:
    the encoder of zeros.
    Source: named and compared with late fusion by Snoek, Worring and Smeulders 2005, Early
    versus late fusion in semantic video analysis (ACM Multimedia).
    """

    def __init__(
        self,
        input_dims: dict[str, int],
        output_dim: int,
        *,
        hidden: int = 32,
        encoder: Callable[[int, int], nn.Module] | None = None,
    ):
        super().__init__(input_dims, output_dim)
        check_whole(1, hidden=hidden)
        if isinstance(encoder, nn.Module):
            raise TypeError(
                "encoder: expected a function of (width, hidden) that builds a module, got the"
                f" module {type(encoder).__name__}"
            )
        self.sizes = None if encoder else [sum(self.dims), hidden, hidden, output_dim]
        self.encoder = (
            encoder(sum(self.dims), hidden)
            if encoder
            else nn.Sequential(mlp(self.sizes[:-1]), nn.ReLU())
        )
        self.head = nn.Linear(hidden, output_dim)

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        # (B, sum D_m) -> (B, H) -> (B, C)
        return self.head(self.encoder(torch.cat(inputs, 1)))
