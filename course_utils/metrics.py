"""Scores, and how far to trust them."""

import numpy as np
from torch import Tensor

# 97.5 % quantiles of Student's t for n - 1 = 1 ... 9 degrees of freedom (any table of the t
# distribution)
T_QUANTILES = {
    2: 12.706,
    3: 4.303,
    4: 3.182,
    5: 2.776,
    6: 2.571,
    7: 2.447,
    8: 2.365,
    9: 2.306,
    10: 2.262,
}


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of rows of `logits` (N, C) whose largest entry stands at the label (N,)."""
    for argument, value in {"logits": logits, "labels": labels}.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{argument}: expected a tensor, got {type(value).__name__}")
    if logits.dim() != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"expected logits (N, C) and labels (N,), got {tuple(logits.shape)} and"
            f" {tuple(labels.shape)}"
        )
    if not len(labels):
        raise ValueError("labels is empty: the accuracy of no samples is not defined")
    if labels.is_floating_point() or not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ValueError(
            f"labels: expected whole numbers from 0 to {logits.shape[1] - 1}, got {labels.dtype}"
            f" from {labels.min().item()} to {labels.max().item()}"
        )
    if logits.isnan().any():
        raise ValueError("logits: expected numbers, got NaN, which has no largest entry")
    return (logits.argmax(dim=1) == labels).double().mean().item()


def mean_interval(values) -> tuple[float, float]:
    """The mean of 2 to 10 values, one a seed, and the half-width of its 95 % interval, t * s /
    sqrt(n).

    Student's t stands in for the normal quantile, because s itself is estimated from so few
    values. The interval covers what the seeds vary (here: noise, pairing, initial weights), not
    new writers or voices.
    """
    values = _finite(values)
    if values.ndim != 1 or len(values) not in T_QUANTILES:
        raise ValueError(
            f"values: expected one number a seed, for 2 to 10 seeds, got shape {values.shape}"
        )
    return float(values.mean()), float(
        T_QUANTILES[len(values)] * values.std(ddof=1) / np.sqrt(len(values))
    )


def _finite(values) -> np.ndarray:
    try:
        values = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(f"values: expected numbers, got {values!r:.60}") from None
    if not np.isfinite(values).all():
        raise ValueError("values: expected finite numbers, got NaN, None or infinity")
    return values


def cluster_bootstrap(values, groups, draws: int = 2_000, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval (low, high) of the mean of `values` (N,) when whole groups are drawn
    again with replacement.

    `groups` (N,) says which samples belong together (one voice, one writer): such samples
    succeed and fail together, so drawing them one by one would make the interval too narrow.
    """
    values, groups = _finite(values), np.asarray(groups)
    if values.shape != groups.shape or values.ndim != 1 or not len(values):
        raise ValueError(
            f"expected values (N,) and groups (N,), got {values.shape} and {groups.shape}"
        )
    if any(group is None or group != group for group in groups.tolist()):  # NaN is not itself
        raise ValueError("groups: expected a name for each sample, got None or NaN")
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"groups: expected at least two different ones, got only {names.tolist()}")
    sums, sizes = np.bincount(member, values), np.bincount(member)
    drawn = np.random.default_rng(seed).integers(len(names), size=(draws, len(names)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
