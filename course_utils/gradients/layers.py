"""Layers, activations, pooling and tables."""

import torch
from torch import Tensor

from course_utils.checks import check_choice, check_floats, check_whole
from course_utils.gradients.checks import check, sizes


def linear_backward(d_out: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Back through out = x W^T + b: d_x = d_out W, d_W = d_out^T x, d_b = the sum of d_out's rows.
    Equation (22.1).

    Shapes: d_out (..., C), x (..., D), weight (C, D) -> (..., D), (C, D), (C,). Why the sums:
    every row went through the same W and b, so what the rows send back to them adds up. A
    convolution is this on every square of the picture.
    """
    check_floats(x, "x")
    C, D = sizes(weight, "weight", "CD", x.dtype)
    check(x, "x", (*x.shape[:-1], D), x.dtype)
    check(d_out, "d_out", (*x.shape[:-1], C), weight.dtype)
    # (..., C) -> (N, C)
    rows = d_out.reshape(-1, C)
    return d_out @ weight, rows.T @ x.reshape(-1, D), rows.sum(0)


def activation_backward(d_out: Tensor, x: Tensor, activation: str = "relu") -> Tensor:
    """Back through out = phi(x), entry by entry: d_x = d_out phi'(x), of x's shape.
    Page 22, "The ReLU".

    `activation` is "relu", "tanh", "sigmoid" or "gelu" (the exact one). Why a product: each
    entry has one way back, and phi' is how wide it is. ReLU's slope at 0, where it has none, is
    0, as in PyTorch.
    """
    check_choice(_SLOPES, activation=activation)
    check_floats(x, "x")
    check(d_out, "d_out", x.shape, x.dtype)
    return d_out * _SLOPES[activation](x)


_SLOPES = {
    "relu": lambda x: (x > 0).to(x.dtype),
    "tanh": lambda x: 1 - torch.tanh(x) ** 2,
    "sigmoid": lambda x: torch.sigmoid(x) * torch.sigmoid(-x),
    # Phi(x) + x phi(x)
    "gelu": lambda x: torch.special.ndtr(x) + x * torch.exp(-(x**2) / 2) / (2 * torch.pi) ** 0.5,
}


def masked_mean_backward(d_out: Tensor, mask: Tensor) -> Tensor:
    """Back through `masks.masked_mean`: each present token gets d_out / (number present), the
    others 0.
    Equation (22.5).

    Shapes: d_out (B, D), mask (B, T) bool, True = present -> (B, T, D). Why the division: that
    is each token's share in the mean. A row without any token sends nothing back.
    """
    B, _ = sizes(mask, "mask", "BT", torch.bool)
    check_floats(d_out, "d_out")
    check(d_out, "d_out", (B, d_out.shape[-1]), d_out.dtype)
    count = mask.sum(1, keepdim=True)  # (B, 1)
    # (B, D); in float16 a count above 65,504 would be infinite
    share = (d_out.to(torch.promote_types(d_out.dtype, torch.float32)) / count).to(d_out.dtype)
    # (B, T, 1), (B, 1, D) -> (B, T, D)
    return torch.where(mask[..., None], share[:, None], 0)


def global_average_pool_backward(d_out: Tensor, size: tuple[int, int]) -> Tensor:
    """Back through the mean over a map's H x W places: each place gets d_out / (H W).
    Page 22, "A network trained by hand".

    Shapes: d_out (B, C), size (H, W) -> (B, C, H, W). Why all alike: the mean forgot which place
    a number came from.
    """
    check_floats(d_out, "d_out")
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise ValueError(f"size: expected (H, W), got {size!r}")
    H, W = size
    return d_out[..., None, None].expand(*d_out.shape, H, W) / (H * W)


def embedding_backward(
    d_out: Tensor, ids: Tensor, rows: int, padding_idx: int | None = None
) -> Tensor:
    """Back through out = table[ids]: row v of the table gets the sum of d_out over all places that
    looked v up.
    Equation (22.5).

    Shapes: d_out (..., D), ids (...) int64, rows = V -> (V, D). Why the sum: a word that occurs
    twice acts twice. Row `padding_idx` gets nothing, as in nn.Embedding.
    """
    check_whole(1, rows=rows)
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise ValueError(f"padding_idx: expected {-rows} to {rows - 1}, got {padding_idx!r}")
    check_floats(d_out, "d_out")
    check(ids, "ids", None, torch.int64)
    check(d_out, "d_out", (*ids.shape, d_out.shape[-1]), d_out.dtype)
    if ids.numel() and not 0 <= ids.min() <= ids.max() < rows:
        raise ValueError(
            f"ids: expected rows 0 to {rows - 1} of the table, got {ids.min()} to {ids.max()}"
        )
    d_table = d_out.new_zeros(rows, d_out.shape[-1])
    d_table.index_add_(0, ids.reshape(-1), d_out.reshape(ids.numel(), -1))
    if padding_idx is not None:
        d_table[padding_idx] = 0
    return d_table
