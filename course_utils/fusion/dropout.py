"""Modality dropout: whole modalities hidden in training."""

import torch
from torch import Tensor, nn

from course_utils.fusion.base import check_rows, token_masks


class ModalityDropout(nn.Module):
    """In training, hide whole modalities at random, row by row, so that a layer learns to do
    without each of them.

        drop = ModalityDropout(0.3)
        logits = fusion(features, mask=drop(features, mask))

    Each present modality is dropped with probability p, but (unlike the paper's) never the last
    one: a row that would lose all k that it has keeps one of them, each equally likely. So the
    rate of one modality is p - p^k / k. In evaluation the mask comes back as it is. No scaling:
    the strategy itself has to handle what is missing.
    Source: Neverova et al. 2015, ModDrop: adaptive multi-modal gesture recognition
    (arXiv:1501.00102).
    """

    def __init__(self, p: float):
        super().__init__()
        if not isinstance(p, (int, float)) or not 0 <= p < 1:
            raise ValueError(f"p: expected a number of at least 0 and below 1, got {p!r}")
        self.p = p

    def extra_repr(self) -> str:
        return f"p={self.p}"

    def forward(
        self, features: dict[str, Tensor], mask: Tensor | dict[str, Tensor] | None = None
    ) -> Tensor | dict[str, Tensor] | None:
        """A mask of the same form: {name: (B, T_m)} for a dict, else (B, M) in the columns of
        the mask that came.
        """
        if (
            not isinstance(features, dict)
            or not features
            or any(not isinstance(x, Tensor) or x.dim() not in (2, 3) for x in features.values())
        ):
            raise ValueError(
                "features: expected a dict of modalities, each (B, D_m) or (B, T_m, D_m) and"
                " nothing else, got"
                f" {list(features) if isinstance(features, dict) else type(features).__name__}"
            )
        check_rows(features)
        if not self.training:
            return mask
        tokens = token_masks(features, mask, tuple(features))
        present = torch.stack([kept.any(1) for kept in tokens], 1)  # (B, M)
        luck = torch.rand(present.shape, device=present.device).masked_fill(~present, -1)
        # the luckiest stays
        keep = present & ((luck >= self.p) | (luck == luck.amax(1, keepdim=True)))
        if not isinstance(mask, dict):
            return keep
        return {name: kept & k[:, None] for name, kept, k in zip(features, tokens, keep.unbind(1))}
