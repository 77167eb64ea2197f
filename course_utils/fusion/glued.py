"""Strategies that glue their inputs: vectors side by side, weighted or not, or raw inputs below one
network. What `EarlyFusion` computes is not additive; it stands here for its form.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_utils.checks import check_whole
from course_utils.fusion.base import Fusion, FusionInfo, mlp, mlp_sizes
from course_utils.masks import masked_softmax


class ConcatFusion(Fusion):
    """Glue the vectors together, then one map: logits = W [h_1; ...; h_M] + b, with W (C, sum D_m).

    Linear by default. Then logits = sum_m W_m h_m + b: each modality adds its own score and none
    can change what another one means. With `hidden` H the map is an MLP, W2 relu(W1 [h_1; ...;
    h_M] + b1) + b2, which can.

    Cost in multiply-adds a row: C sum D_m; with `hidden` H (sum D_m + C).
    Missing: its block is zeros, so the linear map leaves its term out. With `placeholder` its
    block is a learned vector, zero at the start. A row without any modality gives the map of
    zeros (linear: b) or of placeholders.
    Contributions (linear map only): W_m h_m, with the placeholder for a missing h_m; they sum to
    the logits minus b.
    Source: Ngiam et al. 2011, Multimodal Deep Learning (ICML), learn a shared layer on
    concatenated features.
    """

    def __init__(
        self,
        input_dims: dict[str, int],
        output_dim: int,
        *,
        hidden: int | None = None,
        placeholder: bool = False,
        **options,
    ):
        super().__init__(input_dims, output_dim, **options)
        self.sizes = mlp_sizes(sum(self.dims), hidden, output_dim)
        self.placeholder = nn.Parameter(torch.zeros(sum(self.dims))) if placeholder else None
        self.head = mlp(self.sizes)

    def concatenate(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        """M times (B, D_m) -> (B, sum D_m), with the placeholder, if there is one, where a
        modality is missing.
        """
        glued = torch.cat(inputs, 1)
        if self.placeholder is None:
            return glued
        kept = torch.cat(
            [column[:, None].expand_as(x) for column, x in zip(present.unbind(1), inputs)], 1
        )
        return torch.where(kept, glued, self.placeholder)

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        return self.head(self.concatenate(inputs, present))  # (B, sum D_m) -> (B, C)

    def explain(self, inputs: list[Tensor], present: Tensor) -> FusionInfo:
        if len(self.sizes) > 2:
            # through a hidden layer there is no one way to share
            return FusionInfo()
        blocks = self.concatenate(inputs, present).split(self.dims, 1)
        parts = [x @ W.T for x, W in zip(blocks, self.head.weight.split(self.dims, 1))]
        return FusionInfo(contributions=torch.stack(parts, 1))  # (B, M, C)

    def own_parameters(self) -> int:
        return super().own_parameters() + (0 if self.placeholder is None else sum(self.dims))


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
