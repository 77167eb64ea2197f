"""Where the chain starts: losses on logits, and the softmax."""

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.checks import check_floats, check_tensor
from course_utils.gradients.checks import check


def cross_entropy_backward(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weights: Tensor | None = None,
    smoothing: float = 0.0,
    temperature: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    """Back through the mean softmax cross-entropy: (p sum(t) - t) / (temperature n), of shape (...,
    C).
    Equations (21.6)-(21.9).

    With the defaults that is (p - y) / N, (21.6). p = softmax(logits / temperature); the target
    t = w ((1 - smoothing) y + smoothing / C) need not sum to 1, so p comes with its sum. n
    counts the rows, or is the sum of w_y over the rows where `class_weights` come with hard
    labels, as in torch.nn.functional.cross_entropy. Why p - y: the true logit is pulled up,
    every other is pushed down by the probability that it holds, and the two balance.

      labels         (...) int64 classes, or (..., C) float soft labels, one distribution a row
      class_weights  (C,) float w, or None for ones
      smoothing      share of the target, 0 to 1, that is spread evenly over the classes
      mask           (...) bool, True = counts; elsewhere (padding) the gradient is 0, whatever
                     stands there, even NaN

    Raises ValueError also for labels outside 0 ... C - 1, a temperature that is not positive,
    and when no row counts.
    """
    check_floats(logits, "logits")
    rows, C = logits.shape[:-1], logits.shape[-1]
    soft = isinstance(labels, Tensor) and labels.is_floating_point()
    mask = torch.ones(rows, dtype=torch.bool, device=logits.device) if mask is None else mask
    check(mask, "mask", rows, torch.bool)
    if soft and labels.dtype != logits.dtype:
        raise TypeError(
            f"labels: expected int64 classes, or soft labels in {logits.dtype} as the logits, got"
            f" {labels.dtype}"
        )
    check(labels, "labels", logits.shape if soft else rows, logits.dtype if soft else torch.int64)
    if not soft:
        labels = torch.where(mask, labels, 0)
        if labels.numel() and not 0 <= labels.min() <= labels.max() < C:
            raise ValueError(
                f"labels: expected classes 0 to {C - 1}, got {labels.min()} to {labels.max()}"
            )
    if not 0 <= smoothing <= 1 or not temperature > 0:
        raise ValueError(
            f"expected smoothing from 0 to 1 and temperature > 0, got {smoothing} and {temperature}"
        )
    weights = logits.new_ones(C) if class_weights is None else class_weights
    check(weights, "class_weights", (C,), logits.dtype)
    wide = torch.promote_types(logits.dtype, torch.float32)
    weights = weights.to(wide)
    # a float of that width: an int64 times a temperature would be float32
    n = mask.sum().to(wide) if soft else weights[labels][mask].sum()
    if not n > 0:
        raise ValueError(
            "mask: no row counts (or all that do have weight 0), and the mean over none has no"
            " gradient"
        )
    # a float, for the same reason
    probs_wanted = (labels if soft else F.one_hot(labels, C)).to(wide)
    # (..., C)
    target = weights * ((1 - smoothing) * probs_wanted + smoothing / C)
    # (..., C)
    probs = torch.softmax(logits.to(wide) / temperature, -1)
    # (..., C)
    d_logits = (probs * target.sum(-1, keepdim=True) - target) / (temperature * n)
    return torch.where(mask[..., None], d_logits, 0).to(logits.dtype)


def binary_cross_entropy_backward(
    logits: Tensor, labels: Tensor, *, pos_weight: Tensor | float = 1.0
) -> Tensor:
    """Back through the mean of -[v y log p + (1 - y) log(1 - p)], p = sigmoid(logits), of any
    shape.
    Equation (22.3).

    d_logits = ((1 - y) p - v y (1 - p)) / N over all N entries; with v = `pos_weight` = 1 that
    is (p - y) / N. Why the simple form: the sigmoid's own slope p (1 - p) cancels the
    denominator of the loss's slope. 1 - p is computed as sigmoid(-logits), which keeps its
    digits where p is almost 1.

      labels      float in [0, 1], which is not checked, the shape and the dtype of `logits`
      pos_weight  v, a number, or a tensor of the dtype of `logits` that can be expanded to their
                  shape, as in BCEWithLogitsLoss
    """
    check_floats(logits, "logits")
    check(labels, "labels", logits.shape, logits.dtype)
    if not isinstance(pos_weight, (int, float)):
        check_tensor(pos_weight, "pos_weight", "a number or a tensor")
        check(pos_weight, "pos_weight", None, logits.dtype)
        pairs = zip(reversed(pos_weight.shape), reversed(logits.shape))
        if pos_weight.dim() > logits.dim() or not all(v in (1, size) for v, size in pairs):
            raise ValueError(
                f"pos_weight: expected a number or a shape that expands to {tuple(logits.shape)},"
                f" got {tuple(pos_weight.shape)}"
            )
    wide = torch.promote_types(logits.dtype, torch.float32)
    v = torch.as_tensor(pos_weight, dtype=wide, device=logits.device)
    y, z = labels.to(wide), logits.to(wide)
    d_logits = ((1 - y) * torch.sigmoid(z) - v * y * torch.sigmoid(-z)) / z.numel()
    return d_logits.to(logits.dtype)


def softmax_jacobian(probs: Tensor) -> Tensor:
    """The softmax's Jacobian J[i, k] = dp_i / dz_k = p_i ([i = k] - p_k), (..., C) -> (..., C, C).
    Equation (21.4).

    Symmetric, and its rows sum to 0: what one probability gains the others lose.
    """
    check_floats(probs, "probs")
    return torch.diag_embed(probs) - probs[..., :, None] * probs[..., None, :]


def softmax_backward(d_out: Tensor, probs: Tensor) -> Tensor:
    """Back through probs = softmax(logits) along the last axis: p (d_out - <p, d_out>), of shape
    (..., C).
    Equation (21.5).

    This is the Jacobian times d_out, without the C x C numbers. Why the subtraction:
    probabilities sum to 1, so only what differs from the average pull can move them.
    """
    check_floats(probs, "probs")
    check(d_out, "d_out", probs.shape, probs.dtype)
    return probs * (d_out - (probs * d_out).sum(-1, keepdim=True))
