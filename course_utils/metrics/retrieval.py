"""How like two vectors are, and how high the right ones stand among all."""

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.checks import check_floats, check_tensor, check_whole


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of each row of `a` (N, D) with each row of `b` (M, D), (N, M); half precision is
    computed in float32. A row of zeros has no direction: its cosines are 0.

    Raises ValueError or TypeError for other shapes and for what is no float.
    """
    for name, value in (("a", a), ("b", b)):
        check_floats(value, name)
        if value.dim() != 2 or not value.numel():
            raise ValueError(f"{name}: expected vectors (N, D), got shape {tuple(value.shape)}")
    if a.shape[1] != b.shape[1] or a.dtype != b.dtype:
        raise ValueError(
            f"b: expected {a.dtype} of width {a.shape[1]} as a, got {b.dtype} of width {b.shape[1]}"
        )
    if a.dtype in (torch.float16, torch.bfloat16):
        a, b = a.float(), b.float()
    return F.normalize(a, dim=1) @ F.normalize(b, dim=1).T  # (N, D), (M, D) -> (N, M)


def retrieval_ranks(scores: Tensor, relevant: Tensor) -> Tensor:
    """At which place of each query's list its best relevant item stands, 1 for the first: (Q,)
    float64, from `scores` (Q, N), the higher the nearer, and `relevant` (Q, N) bool, which counts
    equals as right.

    An item that is not relevant and ties with it takes half a place, the middle of the best and the
    worst order: where all scores are alike, the rank is that of chance. The median rank is
    `ranks.quantile(0.5)`.

    Raises TypeError for what is no tensor, scores that are no floats and a `relevant` that is not
    bool, ValueError for other shapes, NaN, and a query without a relevant item.
    Source of the middle rank: Berrendorf et al. 2020, On the ambiguity of rank-based evaluation.
    """
    for argument, value in {"scores": scores, "relevant": relevant}.items():
        check_tensor(value, argument)
    if not scores.is_floating_point() or relevant.dtype != torch.bool:
        raise TypeError(
            f"expected scores of floats and relevant of bool, got {scores.dtype} and"
            f" {relevant.dtype}"
        )
    if scores.dim() != 2 or not scores.numel() or relevant.shape != scores.shape:
        hint = "" if scores.numel() else "; neither axis may be empty"
        raise ValueError(
            f"expected scores and relevant (Q, N), got {tuple(scores.shape)} and"
            f" {tuple(relevant.shape)}{hint}"
        )
    if scores.isnan().any():
        raise ValueError("scores: expected numbers, got NaN, which has no place in an order")
    if not relevant.any(1).all():
        row = int((~relevant.any(1)).int().argmax())
        raise ValueError(f"relevant: query {row} has no relevant item")
    best = scores.masked_fill(~relevant, -torch.inf).amax(1, keepdim=True)  # (Q, 1)
    before = (scores > best).sum(1)
    tied = ((scores == best) & ~relevant).sum(1)
    return 1 + before + tied.double() / 2


def recall_at(ranks: Tensor, k: int) -> float:
    """The share of queries whose best relevant item is among the first `k`: recall@k, from the
    `ranks` (Q,) of `retrieval_ranks`.

    Raises TypeError or ValueError for ranks that are no tensor (Q,) of numbers from 1, and for a
    `k` that is no whole number from 1.
    """
    check_tensor(ranks, "ranks")
    check_whole(1, k=k)
    if ranks.dim() != 1 or not len(ranks) or not (ranks >= 1).all():
        hint = ": counted from 0?" if ranks.dim() == 1 and len(ranks) else ""
        raise ValueError(
            f"ranks: expected numbers (Q,) from 1, got shape {tuple(ranks.shape)}{hint}"
        )
    return (ranks <= k).double().mean().item()
