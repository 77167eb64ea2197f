"""Alignment: what brings two modalities into one space, pairs near and all others far.

The formulas are those of `course_utils.losses`: row i of a belongs to row i of b, (N, D) each.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from course_utils.checks import check_floats, check_that, finite
from course_utils.gradients.checks import check, sizes
from course_utils.losses import paired_cosines


def unit_length_backward(d_out: Tensor, x: Tensor) -> Tensor:
    """Back through u = x / |x| along the last axis: d_x = (d_out - <u, d_out> u) / |x|.
    Equation (24.4).

    Shapes: d_out, x (..., D) -> (..., D). Why the subtraction: a step along u changes only the
    length, which is divided out; so d_x is orthogonal to x. A row of zeros has no direction and
    gets 0 (PyTorch's `normalize` divides by 1e-12 there).
    """
    check_floats(x, "x")
    check(d_out, "d_out", x.shape, x.dtype)
    wide = x.to(_exact(x.dtype))
    length = wide.norm(dim=-1, keepdim=True)  # (..., 1)
    unit = wide / length
    across = d_out - (unit * d_out).sum(-1, keepdim=True) * unit
    return torch.where(length > 0, across / length, 0).to(x.dtype)


def cosine_backward(d_out: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Back through `losses.cosines`, c_ij = <a_i, b_j> / (|a_i| |b_j|): d_a_i = sum_j d_ij (b_j /
    |b_j| - c_ij a_i / |a_i|) / |a_i|, and d_b the same way. Equation (24.4).

    Shapes: d_out (N, M), a (N, D), b (M, D) -> (N, D), (M, D). Why: a turns towards b, and only
    turns; the longer it is, the less. As `cosines`, half precision is computed in float32.
    """
    (N, D), (M, _) = sizes(a, "a", ("N", "D")), sizes(b, "b", "MD")
    check(b, "b", (M, D), a.dtype)
    check_floats(d_out, "d_out")
    check(d_out, "d_out", (N, M), d_out.dtype)
    exact = _exact(a.dtype)
    d, wide_a, wide_b = d_out.to(exact), a.to(exact), b.to(exact)
    d_a = unit_length_backward(d @ normalize(wide_b), wide_a)  # (N, M), (M, D) -> (N, D)
    d_b = unit_length_backward(d.T @ normalize(wide_a), wide_b)
    return d_a.to(a.dtype), d_b.to(b.dtype)


def info_nce_backward(
    a: Tensor, b: Tensor, log_scale: Tensor, positives: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Back through `losses.info_nce`, both directions, with scale = exp(log_scale): on the logits
    S = scale * cosines d_S = (P_rows + P_columns - Y_rows - Y_columns) / (2 N), d_log_scale = the
    sum of d_S * S. Equation (24.6).

    Shapes: a, b (N, D), log_scale (), positives (N, N) bool -> (N, D), (N, D), (). P are the
    softmaxes of the rows and the columns, Y the positives, shared equally within each (2 I if there
    is one each). Why: every row of each direction is a cross-entropy whose classes are the batch.
    """
    scores, own = _pairs(a, b, positives)
    sizes(log_scale, "log_scale", "")
    scale = log_scale.to(scores.dtype).exp()
    logits = scale * scores  # (N, N)
    right = own.to(scores.dtype)
    d_rows = logits.softmax(1) - right / right.sum(1, keepdim=True)
    d_columns = logits.softmax(0) - right / right.sum(0, keepdim=True)
    d_logits = (d_rows + d_columns) / (2 * len(a))
    d_log_scale = (d_logits * logits).sum()
    return *cosine_backward(scale * d_logits, a, b), d_log_scale.to(log_scale.dtype)


def sigmoid_loss_backward(
    a: Tensor, b: Tensor, log_scale: Tensor, bias: Tensor, positives: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Back through `losses.SigmoidLoss`, on the logits s = scale * cosine + bias: d_s = -y
    sigmoid(-y s) / N with y = 1 for a positive and -1 for every other; d_log_scale = the sum of d_s
    scale cosine, d_bias = the sum of d_s. Equation (24.8).

    Shapes: a, b (N, D), log_scale and bias (), positives (N, N) bool -> (N, D), (N, D), (), (). Why
    no softmax: each pair is asked alone, so no pair feels another.
    """
    scores, own = _pairs(a, b, positives)
    sizes(log_scale, "log_scale", "")
    sizes(bias, "bias", "")
    scale = log_scale.to(scores.dtype).exp()
    logits = scale * scores + bias.to(scores.dtype)  # (N, N)
    y = 2 * own.to(scores.dtype) - 1
    d_logits = -y * torch.sigmoid(-y * logits) / len(a)
    d_log_scale = (d_logits * scale * scores).sum().to(log_scale.dtype)
    d_bias = d_logits.sum().to(bias.dtype)
    return *cosine_backward(scale * d_logits, a, b), d_log_scale, d_bias


def triplet_backward(
    a: Tensor, b: Tensor, chosen_a: Tensor, chosen_b: Tensor, margin: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Back through `losses.triplet_loss` with its mined negatives given: an active one, margin +
    s_ij - s_ii >= 0, sends 1 / (2 N n_i) to its cosine, and the partner's gets minus the row's sum.
    Equation (24.8).

    chosen_a[i, j] says that row j of b is a negative of anchor a_i, chosen_b[i, j] that row j of a
    is one of anchor b_i; n_i of them count in a row. Shapes: a, b (N, D), chosen (N, N) bool ->
    (N, D), (N, D). Why most rows get nothing: a negative that is far enough has no slope.
    """
    scores, _ = _pairs(a, b, None)
    check(chosen_a, "chosen_a", scores.shape, torch.bool)
    check(chosen_b, "chosen_b", scores.shape, torch.bool)
    check_that("margin", finite(margin) and margin >= 0, "a number of at least 0", margin)
    d_scores = _hinges(scores, chosen_a, margin) + _hinges(scores.T, chosen_b, margin).T
    return cosine_backward(d_scores / 2, a, b)


def _hinges(scores: Tensor, chosen: Tensor, margin: float) -> Tensor:
    """Back through the mean over the rows of max(0, margin + s_ij - s_ii), (N, N)."""
    partner = scores.diagonal()[:, None]  # (N, 1)
    active = chosen & (margin + scores - partner >= 0)
    count = chosen.sum(1, keepdim=True).clamp(min=1)  # (N, 1)
    d_negatives = active.to(scores.dtype) / count / len(scores)
    return d_negatives - torch.diag(d_negatives.sum(1))


def _pairs(a: Tensor, b: Tensor, positives: Tensor | None) -> tuple[Tensor, Tensor]:
    """`paired_cosines`, once what came is named as every gradient names it."""
    N, D = sizes(a, "a", ("N", "D"))
    check(b, "b", (N, D), a.dtype)
    if positives is not None:
        check(positives, "positives", (N, N), torch.bool)
    return paired_cosines(a, b, positives)


def _exact(dtype: torch.dtype) -> torch.dtype:
    """What is computed in: float32 for half precision, else the dtype itself."""
    return torch.promote_types(dtype, torch.float32)
