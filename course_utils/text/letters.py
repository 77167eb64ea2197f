"""Letters counted."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from course_utils.checks import check_bools


def letter_features(ids: Tensor, mask: Tensor) -> Tensor:
    """How often each letter occurs, which one comes first and which last, side by side.

    (B, T) int64 ids of `letter_ids` and their (B, T) bool mask -> (B, 78) float. Zeros where the
    text is missing. Raises ValueError or TypeError for ids that are none and a mask that does
    not fit.
    """
    _check_letters(ids, mask)
    # (B, T) -> (B, T, 26), zeros where padded
    letters = one_hot(ids, 27)[..., 1:].float() * mask[..., None]
    # (B,) where the last letter stands
    last = (mask.sum(dim=1) - 1).clamp(min=0)
    rows = torch.arange(len(ids), device=ids.device)  # (B,)
    first_letter, last_letter = letters[:, 0], letters[rows, last]
    # 3 x (B, 26) -> (B, 78)
    return torch.cat([letters.sum(dim=1), first_letter, last_letter], dim=-1)


def _check_letters(ids: Tensor, mask: Tensor) -> None:
    if not isinstance(ids, Tensor) or ids.dtype != torch.int64 or ids.dim() != 2:
        raise TypeError(f"ids: expected (B, T) int64, got {seen(ids)}")
    check_bools(mask, "mask", ids.shape)
    if ids.numel() and not 0 <= ids.min() <= ids.max() <= 26:
        raise ValueError(
            f"ids: expected letters, 1 to 26 and 0 for padding, got {int(ids.min())} to"
            f" {int(ids.max())}; for words take Vocabulary and an embedding"
        )


def seen(value) -> str:
    """What came, for the message of an error: dtype and shape, or the type."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{value.dtype} of shape {tuple(value.shape)}"
