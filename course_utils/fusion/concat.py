"""Concatenation, where most comparisons begin."""

import torch
from torch import Tensor, nn

from course_utils.fusion.base import Fusion, FusionInfo, mlp, mlp_sizes


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
