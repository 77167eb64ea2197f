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
    the strategy itself has to handle what is missing. Raises ValueError for another `p`.
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
        self, features: dict[str, Tensor], mask: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor] | None:
        """A mask by name, as `Fusion` takes it, of every modality in `features`: (B,) bool, or
        (B, T_m) where the mask that came has (B, T_m). That one is not changed.

        Raises ValueError or TypeError for features and masks that do not fit.
        """
        self._check_features(features)
        if not self.training:
            return mask
        present = token_masks(features, mask, tuple(features))
        there = torch.stack([kept.any(1) for kept in present], 1)  # (B, M)
        luck = torch.rand(there.shape, device=there.device).masked_fill(~there, -1)
        luckiest = luck == luck.amax(1, keepdim=True)  # the one that stays
        stays = there & ((luck >= self.p) | luckiest)
        result = {}
        for name, kept, here in zip(features, present, stays.unbind(1)):
            by_token = mask is not None and name in mask and mask[name].dim() == 2
            result[name] = kept & here[:, None] if by_token else here
        return result

    def _check_features(self, features: dict[str, Tensor]) -> None:
        if not isinstance(features, dict):
            got = type(features).__name__
        elif not features or not all(_is_modality(x) for x in features.values()):
            got = str(list(features))
        else:
            check_rows(features)
            return
        raise ValueError(
            "features: expected a dict of modalities, each (B, D_m) or (B, T_m, D_m) and nothing"
            f" else, got {got}"
        )


def _is_modality(x) -> bool:
    return isinstance(x, Tensor) and x.dim() in (2, 3)
