"""Attention: queries of one modality, keys and values of another.

The formulas are those of `CrossAttentionFusion`: B rows, T queries, K keys.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.checks import check_floats
from course_utils.gradients.checks import check, check_names, sizes
from course_utils.gradients.layers import linear_backward
from course_utils.gradients.outputs import softmax_backward
from course_utils.masks import masked_softmax

# The projections of multi-head attention; K has no bias, which the softmax would cancel.
PROJECTIONS = ["q.weight", "q.bias", "k.weight", "v.weight", "v.bias", "out.weight", "out.bias"]


def attention_backward(
    d_out: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Back through softmax(Q K^T / sqrt(d)) V, A the softmax over the keys present: d_V =
    A^T d_out; d_S = A * (d_A - its rows' <A, d_A>) with d_A = d_out V^T; d_Q = d_S K / sqrt(d), d_K
    = d_S^T Q / sqrt(d). Equation (24.3).

    Shapes: d_out (B, ..., T, e), query (B, ..., T, d), key (B, ..., K, d), value (B, ..., K, e),
    mask (B, K) -> those of query, key, value; heads are an axis between. Why one key teaches
    neither query nor key: its weight is 1 whatever they are, so d_S = 0. A row without any key
    sends nothing back.
    """
    for name, one in (("query", query), ("key", key), ("value", value)):
        check_floats(one, name)
        if one.dim() < 3:
            raise ValueError(f"{name}: expected (B, ..., items, width), got {tuple(one.shape)}")
    between, T, K, d = query.shape[:-2], query.shape[-2], key.shape[-2], query.shape[-1]
    check(key, "key", (*between, K, d), query.dtype)
    check(value, "value", (*between, K, value.shape[-1]), query.dtype)
    check(d_out, "d_out", (*between, T, value.shape[-1]), query.dtype)
    kept = _kept(mask, key)  # (B, ..., 1, K)
    key = torch.where(kept.mT, key, 0)
    value = torch.where(kept.mT, value, 0)
    weights = masked_softmax(query @ key.mT * d**-0.5, kept, -1)  # (B, ..., T, K)
    d_scores = softmax_backward(d_out @ value.mT, weights) * d**-0.5
    return d_scores @ key, d_scores.mT @ query, weights.mT @ d_out


def cross_attention_backward(
    d_out: Tensor,
    x: Tensor,
    y: Tensor,
    parameters: dict[str, Tensor],
    heads: int = 1,
    mask: Tensor | None = None,
    query_mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Back through multi-head attention of queries x to keys and values y: the output's map, each
    head's attention, and the maps to Q, K and V, of which y feels two, d_y = d_K W_K + d_V W_V.
    Equation (24.3).

    `parameters` has weights (D, D) at "q.weight", "k.weight", "v.weight" and "out.weight", biases
    (D,) at "q.bias", "v.bias" and "out.bias" (one of K would cancel in the softmax), and may have
    "null" (D,), a learned token that stands as the last among keys and values and is never masked.
    Shapes: d_out, x (B, T, D), y (B, K, D), mask (B, K), query_mask (B, T) -> x's, y's, {name: that
    parameter's}. Why y feels two paths: as a key it is found, as a value it is what is found. What
    is added past the attention, x itself, gets d_out beside this.
    """
    B, T, D = sizes(x, "x", "BTD")
    check(y, "y", (B, sizes(y, "y", "BKD")[1], D), x.dtype)
    check(d_out, "d_out", x.shape, x.dtype)
    null = {}
    if isinstance(parameters, dict) and "null" in parameters:
        null = {"null": parameters["null"]}
    check_names(parameters, "parameters", [*PROJECTIONS, *null])
    for name, one in parameters.items():
        check(one, f"parameters[{name!r}]", (D, D) if "weight" in name else (D,), x.dtype)
    if type(heads) is not int or heads < 1 or D % heads:
        raise ValueError(f"heads: expected a divisor of the width {D}, got {heads!r}")
    kept = _kept(mask, y)[:, 0]  # (B, K)
    keys = torch.where(kept[..., None], y, 0)
    asks = _kept(query_mask, x, "query_mask").mT  # (B, T, 1)
    x, d_out = torch.where(asks, x, 0), torch.where(asks, d_out, 0)
    for token in null.values():
        keys = torch.cat([keys, token.expand(B, 1, D)], 1)  # (B, K, D) -> (B, K + 1, D)
        kept = F.pad(kept, (0, 1), value=True)
    W = parameters
    query = _split(F.linear(x, W["q.weight"], W["q.bias"]), heads)  # (B, heads, T, D / heads)
    key = _split(F.linear(keys, W["k.weight"]), heads)
    value = _split(F.linear(keys, W["v.weight"], W["v.bias"]), heads)
    scores = query @ key.mT * (D // heads) ** -0.5
    found = _merge(masked_softmax(scores, kept[:, None, None], -1) @ value)  # (B, T, D)

    d = {}
    d_found, d["out.weight"], d["out.bias"] = linear_backward(d_out, found, W["out.weight"])
    parts = attention_backward(_split(d_found, heads), query, key, value, kept)
    d_query, d_key, d_value = map(_merge, parts)
    d_x, d["q.weight"], d["q.bias"] = linear_backward(d_query, x, W["q.weight"])
    as_keys, d["k.weight"], _ = linear_backward(d_key, keys, W["k.weight"])
    as_values, d["v.weight"], d["v.bias"] = linear_backward(d_value, keys, W["v.weight"])
    d_keys = as_keys + as_values
    for name in null:
        d[name] = d_keys[:, -1].sum(0)  # it stood in every row
    return d_x, d_keys[:, : y.shape[1]], {name: d[name] for name in parameters}


def _kept(mask: Tensor | None, tokens: Tensor, name: str = "mask") -> Tensor:
    """Which of the tokens (B, ..., K, D) are there, (B, ..., 1, K) bool."""
    shape = (tokens.shape[0], tokens.shape[-2])
    if mask is None:
        mask = torch.ones(shape, dtype=torch.bool, device=tokens.device)
    check(mask, name, shape, torch.bool)
    return mask.reshape(shape[0], *[1] * (tokens.dim() - 2), shape[1])


def _split(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(2, (heads, -1)).transpose(1, 2)  # (B, T, D) -> (B, heads, T, D / heads)


def _merge(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)  # (B, heads, T, D / heads) -> (B, T, D)
