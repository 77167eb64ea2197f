"""Gradients by hand: what each operation sends back, on plain tensors and without autograd.

    d_logits = cross_entropy_backward(logits, labels)  # (N, C), by default (p - y) / N
    d_fused, d_weight, d_bias = linear_backward(d_logits, fused, weight)  # (N, D), (C, D), (C,)
    d_features = concat_backward(d_fused, {"text": 16, "image": 32})  # (N, 16) and (N, 32)

One convention, everywhere: d_x is the gradient of the loss L with respect to x and has x's
shape. `<operation>_backward` takes d_out, the gradient with respect to the operation's result,
then what the operation itself was given, and returns the gradients of its inputs in their order,
by name where they came by name. A loss takes no d_out, because it starts the chain. No minus
sign is added on the way: the loss has one, and the chain rule has none.

Equation numbers are those of pages 21, softmax and its losses, and 22, layers. Wrong shapes and
dtypes raise ValueError or TypeError. In half precision the losses are computed in float32 and
rounded once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.masks import check_tensor
from course_utils.report import relative_difference, two_sides

# ---- losses: where the chain starts
# ---------------------------------------------------------------


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
    _check_floats(logits, "logits")
    rows, C = logits.shape[:-1], logits.shape[-1]
    soft = isinstance(labels, Tensor) and labels.is_floating_point()
    mask = torch.ones(rows, dtype=torch.bool, device=logits.device) if mask is None else mask
    _check(mask, "mask", rows, torch.bool)
    _check(labels, "labels", logits.shape if soft else rows, logits.dtype if soft else torch.int64)
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
    _check(weights, "class_weights", (C,), logits.dtype)
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

      labels      float in [0, 1], the shape of `logits`
      pos_weight  v, a number, or a tensor of the dtype of `logits` that can be expanded to their
                  shape, as in BCEWithLogitsLoss
    """
    _check_floats(logits, "logits")
    _check(labels, "labels", logits.shape, logits.dtype)
    if not isinstance(pos_weight, (int, float)):
        _check(pos_weight, "pos_weight", None, logits.dtype)
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


# ---- layers
# ---------------------------------------------------------------------------------------


def linear_backward(d_out: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Back through out = x W^T + b: d_x = d_out W, d_W = d_out^T x, d_b = the sum of d_out's rows.
    Equation (22.1).

    Shapes: d_out (..., C), x (..., D), weight (C, D) -> (..., D), (C, D), (C,). Why the sums:
    every row went through the same W and b, so what the rows send back to them adds up. A
    convolution is this on every square of the picture.
    """
    _check_floats(x, "x")
    C, D = _sizes(weight, "weight", "CD", x.dtype)
    _check(x, "x", (*x.shape[:-1], D), x.dtype)
    _check(d_out, "d_out", (*x.shape[:-1], C), weight.dtype)
    # (..., C) -> (N, C)
    rows = d_out.reshape(-1, C)
    return d_out @ weight, rows.T @ x.reshape(-1, D), rows.sum(0)


def activation_backward(d_out: Tensor, x: Tensor, activation: str = "relu") -> Tensor:
    """Back through out = phi(x), entry by entry: d_x = d_out phi'(x), of x's shape.
    Page 22, "The gate".

    `activation` is "relu", "tanh", "sigmoid" or "gelu" (the exact one). Why a product: each
    entry has one way back, and phi' is how wide it is. ReLU's slope at 0, where it has none, is
    0, as in PyTorch.
    """
    if activation not in _SLOPES:
        raise ValueError(f"activation: expected one of {list(_SLOPES)}, got {activation!r}")
    _check_floats(x, "x")
    _check(d_out, "d_out", x.shape, x.dtype)
    return d_out * _SLOPES[activation](x)


_SLOPES = {
    "relu": lambda x: (x > 0).to(x.dtype),
    "tanh": lambda x: 1 - torch.tanh(x) ** 2,
    "sigmoid": lambda x: torch.sigmoid(x) * torch.sigmoid(-x),
    # Phi(x) + x phi(x)
    "gelu": lambda x: torch.special.ndtr(x) + x * torch.exp(-(x**2) / 2) / (2 * torch.pi) ** 0.5,
}


def softmax_jacobian(probs: Tensor) -> Tensor:
    """The softmax's Jacobian J[i, k] = dp_i / dz_k = p_i ([i = k] - p_k), (..., C) -> (..., C, C).
    Equation (21.4).

    Symmetric, and its rows sum to 0: what one probability gains the others lose.
    """
    _check_floats(probs, "probs")
    return torch.diag_embed(probs) - probs[..., :, None] * probs[..., None, :]


def softmax_backward(d_out: Tensor, probs: Tensor) -> Tensor:
    """Back through probs = softmax(logits) along the last axis: p (d_out - <p, d_out>), of shape
    (..., C).
    Equation (21.5).

    This is the Jacobian times d_out, without the C x C numbers. Why the subtraction:
    probabilities sum to 1, so only what differs from the average pull can move them.
    """
    _check_floats(probs, "probs")
    _check(d_out, "d_out", probs.shape, probs.dtype)
    return probs * (d_out - (probs * d_out).sum(-1, keepdim=True))


# ---- pooling and tables
# ---------------------------------------------------------------------------


def masked_mean_backward(d_out: Tensor, mask: Tensor) -> Tensor:
    """Back through `masks.masked_mean`: each present token gets d_out / (number present), the
    others 0.
    Equation (22.5).

    Shapes: d_out (B, D), mask (B, T) bool, True = present -> (B, T, D). Why the division: that
    is each token's share in the mean. A row without any token sends nothing back.
    """
    B, _ = _sizes(mask, "mask", "BT", torch.bool)
    _check_floats(d_out, "d_out")
    _check(d_out, "d_out", (B, d_out.shape[-1]), d_out.dtype)
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
    _check_floats(d_out, "d_out")
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
    _check_floats(d_out, "d_out")
    _check(ids, "ids", None, torch.int64)
    _check(d_out, "d_out", (*ids.shape, d_out.shape[-1]), d_out.dtype)
    if ids.numel() and not 0 <= ids.min() <= ids.max() < rows:
        raise ValueError(
            f"ids: expected rows 0 to {rows - 1} of the table, got {ids.min()} to {ids.max()}"
        )
    d_table = d_out.new_zeros(rows, d_out.shape[-1])
    d_table.index_add_(0, ids.reshape(-1), d_out.reshape(ids.numel(), -1))
    if padding_idx is not None:
        d_table[padding_idx] = 0
    return d_table


# ---- fusion
# ---------------------------------------------------------------------------------------


def concat_backward(d_out: Tensor, dims: dict[str, int]) -> dict[str, Tensor]:
    """Back through the concatenation of modalities: each gets its own columns of d_out.
    Equation (22.1).

    Shapes: d_out (..., sum D_m), dims {name: D_m} in the order of the glue -> {name: (...,
    D_m)}. Why no more than a cut: the Jacobian of gluing is [I; 0] for the one modality and [0;
    I] for the other.
    """
    _check_floats(d_out, "d_out")
    _check(d_out, "d_out", (*d_out.shape[:-1], sum(dims.values())), d_out.dtype)
    return dict(zip(dims, d_out.split(list(dims.values()), -1)))


# ---- is it right?
# ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """How far a gradient by hand is from its reference: bit for bit the same, within the
    tolerance, by how much at most.
    """

    exact: bool
    within: bool
    largest: float


def compare(
    by_hand: dict[str, Tensor], reference: dict[str, Tensor], tolerance: float = 1e-10
) -> dict[str, Comparison]:
    """Compare gradients by name, print a line for each, and return what was found.

    Both sides are float64, of equal shapes and names, and no reference is 0 everywhere. The
    difference is absolute.
    Raises AssertionError, after all lines, when one is outside `tolerance`, and names it, and
    ValueError for nothing to compare and for a tolerance that is not positive and finite.
    """
    if not by_hand or not 0 < tolerance < torch.inf:
        raise ValueError(
            "compare: expected at least one gradient and a positive, finite tolerance, got"
            f" {list(by_hand)} and {tolerance}"
        )
    if by_hand.keys() != reference.keys():
        raise ValueError(f"by_hand has the names {list(by_hand)}, reference has {list(reference)}")
    found, width = {}, max(map(len, by_hand))
    for name in by_hand:
        hand, ref = two_sides(name, by_hand[name], reference[name])
        largest = (hand - ref).abs().max().item()
        found[name] = Comparison(torch.equal(hand, ref), largest < tolerance, largest)
        verdict = f"agrees to {tolerance:g}" if found[name].within else f"DIFFERS by {largest:.2g}"
        print(f"{name:<{width}}  {str(tuple(hand.shape)):<12}  {verdict}")
    wrong = [f"{name} by {one.largest:.2g}" for name, one in found.items() if not one.within]
    if wrong:
        raise AssertionError(
            f"by hand and reference differ: {', '.join(wrong)} (allowed: {tolerance:g})"
        )
    return found


def central_differences(
    function: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-5
) -> Tensor:
    """The derivative of function(x) with respect to every entry of x, measured: (f(x + h) - f(x
    - h)) / (2 h).

    Shape: that of the result, then that of x, so x's own shape for a loss. Exact to about h^2.
    Raises TypeError when x or a result is not float64, in which the differences would be mostly
    rounding, and ValueError for an x without entries.
    """
    _check(x, "x", None, torch.float64)
    if not x.numel():
        raise ValueError(f"x: expected at least one entry, got shape {tuple(x.shape)}")
    # one entry each
    shifts = step * torch.eye(x.numel(), dtype=x.dtype, device=x.device).view(-1, *x.shape)
    slopes = [(function(x + shift) - function(x - shift)) / (2 * step) for shift in shifts]
    _check(slopes[0], "function(x)", None, torch.float64)
    return torch.stack(slopes, -1).reshape(slopes[0].shape + x.shape)


def verify_gradient(
    key: str, function: Callable[..., Tensor], by_hand: Callable, *shapes: tuple, seeds: int = 3
) -> None:
    """Check equation `key`, a gradient or Jacobian, on random float64 tensors of these shapes,
    for several seeds.

    `function(*tensors)` is the loss (or any tensor), `by_hand(*tensors)` its derivative with
    respect to the tensor, or a tuple, one for each. The references are autograd (to 1e-12,
    relative to the largest entry) and central differences (to 1e-7). Raises AssertionError when
    one disagrees, and ValueError without a shape or a seed, because nothing would be compared.
    """
    if not shapes or not seeds >= 1:
        raise ValueError(
            f"equation {key}: expected at least one shape and one seed, got shapes={shapes} and"
            f" seeds={seeds}"
        )
    for seed in range(seeds):
        generator = torch.Generator("cpu").manual_seed(seed)
        tensors = tuple(
            torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
            for shape in shapes
        )
        hands = by_hand(*tensors)
        hands = hands if isinstance(hands, tuple) else (hands,)
        if len(hands) != len(shapes):
            raise ValueError(
                f"equation {key}: by_hand gives {len(hands)} gradients, expected {len(shapes)}, one"
                " for each shape"
            )
        for i, (hand, exact) in enumerate(
            zip(hands, torch.autograd.functional.jacobian(function, tensors))
        ):
            before, after = tensors[:i], tensors[i + 1 :]
            alone = partial(_one_changes, function, before, after)
            measured = central_differences(alone, tensors[i])
            for name, reference, tolerance in (
                ("autograd", exact, 1e-12),
                ("central differences", measured, 1e-7),
            ):
                difference = relative_difference(f"equation {key}", hand, reference)
                if not difference < tolerance:
                    raise AssertionError(
                        f"equation {key}: by hand and {name} differ by {difference:.2g} of the"
                        f" largest entry in gradient {i + 1} of {len(hands)}, seed {seed} (allowed:"
                        f" {tolerance:g})"
                    )
    print(f"equation {key} holds: by hand, autograd and central differences agree on {seeds} seeds")


def _check(tensor: Tensor, name: str, shape: tuple | None, dtype: torch.dtype) -> None:
    """`shape` may be None, for any."""
    check_tensor(tensor, name)
    if tensor.dtype != dtype:
        raise TypeError(f"{name}: expected {dtype}, got {tensor.dtype}")
    if shape is not None and tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"{name}: expected shape {tuple(shape)}, got {tuple(tensor.shape)}")


def _check_floats(tensor: Tensor, name: str) -> None:
    check_tensor(tensor, name)
    if not tensor.is_floating_point():
        raise TypeError(f"{name}: expected floats, got {tensor.dtype}")


def _sizes(tensor: Tensor, name: str, axes: str, dtype: torch.dtype) -> torch.Size:
    """The shape of a tensor that has these axes, one letter each."""
    _check(tensor, name, None, dtype)
    if tensor.dim() != len(axes):
        raise ValueError(f"{name}: expected shape ({', '.join(axes)}), got {tuple(tensor.shape)}")
    return tensor.shape


def _one_changes(function: Callable, before: tuple, after: tuple, x: Tensor) -> Tensor:
    """`function` of all its arguments, of which only `x` is asked about."""
    return function(*before, x, *after)
