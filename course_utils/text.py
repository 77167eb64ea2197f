"""Text in, features out."""
import torch
from torch import Tensor
from torch.nn.functional import one_hot


def letter_features(ids: Tensor, mask: Tensor) -> Tensor:
    """How often each letter occurs, which one comes first and which last, side by side.

    (B, T) int64 ids of `letter_ids` and their (B, T) bool mask -> (B, 78) float. Zeros where the text is missing.
    """
    letters = one_hot(ids, 27)[..., 1:].float() * mask[..., None]  # (B, T) -> (B, T, 26), zeros where padded
    last = (mask.sum(dim=1) - 1).clamp(min=0)                      # (B,) where the last letter stands
    first_letter, last_letter = letters[:, 0], letters[torch.arange(len(ids)), last]
    return torch.cat([letters.sum(dim=1), first_letter, last_letter], dim=-1)  # 3 x (B, 26) -> (B, 78)
