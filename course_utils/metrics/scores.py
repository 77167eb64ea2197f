"""The share of right answers."""

import torch
from torch import Tensor

from course_utils.checks import check_tensor


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of rows of `logits` (N, C) whose largest entry stands at the label (N,).

    Raises TypeError for what is no tensor, logits that are no real numbers and labels that are no
    whole ones, ValueError for other shapes, labels outside 0 to C - 1, and NaN.
    """
    for argument, value in {"logits": logits, "labels": labels}.items():
        check_tensor(value, argument)
    if logits.dim() != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"expected logits (N, C) and labels (N,), got {tuple(logits.shape)} and"
            f" {tuple(labels.shape)}"
        )
    if logits.dtype == torch.bool or logits.is_complex():
        raise TypeError(f"logits: expected real numbers, got {logits.dtype}")
    if labels.dtype == torch.bool or labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"labels: expected whole numbers, got {labels.dtype}")
    if not len(labels):
        raise ValueError("labels is empty: the accuracy of no samples is not defined")
    if not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ValueError(
            f"labels: expected whole numbers from 0 to {logits.shape[1] - 1}, got {labels.dtype}"
            f" from {labels.min().item()} to {labels.max().item()}"
        )
    if logits.isnan().any():
        raise ValueError("logits: expected numbers, got NaN, which has no largest entry")
    return (logits.argmax(dim=1) == labels).double().mean().item()
