"""Fusion: what each modality feels of the gradient that reaches the fused vector.

The formulas are those of the strategies in `course_utils.fusion`, before their head. Modalities go
by name, {name: (B, D_m)}; B rows, M modalities. A row without any sends nothing back.
"""

from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.checks import check_floats
from course_utils.gradients.checks import check, check_names, sizes
from course_utils.gradients.layers import linear_backward
from course_utils.gradients.outputs import softmax_backward
from course_utils.masks import masked_softmax

# What goes by name, and a mask that goes by name.
Named = dict[str, Tensor]

# ---- glue, add, average


def concat_backward(d_out: Tensor, dims: dict[str, int], mask: Named | None = None) -> Named:
    """Back through the concatenation of modalities: each gets its own columns of d_out.
    Equation (22.1).

    Shapes: d_out (..., sum D_m), dims {name: D_m} in the order of the glue, mask {name: (...)} ->
    {name: (..., D_m)}. Why no more than a cut: the Jacobian of gluing is [I; 0] for the one
    modality and [0; I] for the other.
    """
    check_floats(d_out, "d_out")
    check_names(dims, "dims")
    check(d_out, "d_out", (*d_out.shape[:-1], sum(dims.values())), d_out.dtype)
    present = _present(dims, mask, d_out)
    return _where_present(dims, d_out.split(list(dims.values()), -1), present)


def weighted_concat_backward(
    d_out: Tensor, inputs: Named, scores: Tensor, mask: Named | None = None
) -> tuple[Named, Tensor]:
    """Back through [a_1 h_1; ...; a_M h_M], a = the softmax of `scores` over the modalities
    present: d_h_m = a_m d_m with d_m its columns, d_scores = the rows' sum of a (g - <a, g>), g_m =
    <h_m, d_m>. Equation (23.3), each with its own columns.

    Shapes: d_out (B, sum D_m), scores (M,) -> {name: (B, D_m)}, (M,). Why g - <a, g>: weights sum
    to 1, so a modality gains weight only where its pull is above the average one.
    """
    inputs, present = _complete(inputs, mask)
    parts = concat_backward(d_out, {name: x.shape[1] for name, x in inputs.items()})
    return _weighted(parts, inputs, scores, present)


def sum_backward(d_out: Tensor, names: list[str], mask: Named | None = None) -> Named:
    """Back through h_1 + ... + h_M: each modality gets d_out as it is.
    Page 23, "The other strategies".

    Shapes: d_out (B, D) -> {name: (B, D)}. Why alike: a sum does not know who brought what.
    """
    check_floats(d_out, "d_out")
    present = _present(names, mask, d_out)
    return _where_present(names, [d_out] * len(names), present)


def mean_backward(d_out: Tensor, names: list[str], mask: Named | None = None) -> Named:
    """Back through the mean of the modalities present: each gets d_out / (number present). With
    logits for vectors this is late fusion by the mean of logits. Page 23, "The other strategies".

    Shapes: d_out (B, D) -> {name: (B, D)}. Why larger where one is missing: fewer share the mean.
    """
    check_floats(d_out, "d_out")
    count = _present(names, mask, d_out).sum(-1, keepdim=True)  # (B, 1)
    return sum_backward(d_out / count, names, mask)


def weighted_sum_backward(
    d_out: Tensor, inputs: Named, scores: Tensor, mask: Named | None = None
) -> tuple[Named, Tensor]:
    """Back through sum_m a_m h_m, a = the softmax of `scores` over the modalities present: d_h_m =
    a_m d_out, d_scores = the rows' sum of a (g - <a, g>), g_m = <h_m, d_out>. Equation (23.3).

    Shapes: d_out (B, D), scores (M,) -> {name: (B, D)}, (M,). Why a_m: what passes less forward
    passes less back, so a modality that starts small learns slowly.
    """
    inputs, present = _complete(inputs, mask, d_out)
    return _weighted(dict.fromkeys(inputs, d_out), inputs, scores, present)


def linear_fusion_backward(
    d_out: Tensor, inputs: Named, weights: Named, mask: Named | None = None
) -> tuple[Named, Named, Named]:
    """Back through sum_m (W_m x_m + c_m) over the modalities present: d_x_m = d_out W_m, d_W_m =
    d_out^T x_m, d_c_m = the sum of d_out's rows that have m. Page 23, "The other strategies".

    Shapes: d_out (B, C), inputs (B, D_m), weights (C, D_m) -> {name: (B, D_m)}, {name: (C, D_m)},
    {name: (C,)}. Why the others do not occur: in a sum no modality changes what another one does.
    """
    inputs, _ = _complete(inputs, mask)
    return _linear_each(sum_backward(d_out, list(inputs), mask), inputs, weights)


# ---- compete and multiply


def max_backward(d_out: Tensor, inputs: Named, mask: Named | None = None) -> Named:
    """Back through the largest of the modalities present, entry by entry: the winner gets d_out,
    at a tie the winners share it equally. Page 23, "The other strategies".

    Shapes: d_out (B, D) -> {name: (B, D)}. Why nothing for the losers: a small change of theirs
    leaves the largest as it is.
    """
    inputs, present = _complete(inputs, mask, d_out)
    values = _stack(inputs).masked_fill(~present[..., None], -torch.inf)  # (B, M, D)
    wins = (values == values.amax(1, keepdim=True)).to(d_out.dtype)
    share = wins / wins.sum(1, keepdim=True)
    return _where_present(inputs, (share * d_out[:, None]).unbind(1), present)


def product_backward(d_out: Tensor, inputs: Named, mask: Named | None = None) -> Named:
    """Back through the product of the modalities present, entry by entry: d_h_m = d_out times the
    product of the others. Page 23, "The other strategies".

    Shapes: d_out (B, D) -> {name: (B, D)}. Why the others: each is the factor by which a change of
    h_m arrives. Where one is 0, all the others get nothing.
    """
    inputs, present = _complete(inputs, mask, d_out)
    factors = torch.where(present[..., None], _stack(inputs), 1).unbind(1)  # M times (B, D)
    parts = [d_out * others for others in _products_of_others(factors)]
    return _where_present(inputs, parts, present)


def outer_backward(d_out: Tensor, inputs: Named, mask: Named | None = None) -> Named:
    """Back through vec([h_1; 1] (x) ... (x) [h_M; 1]), a missing one [0; 1]: with G the d_out as a
    block, d_h_m is G summed against all [h; 1] but its own, without the entry of the 1.
    Page 23, "The other strategies".

    Shapes: d_out (B, prod (D_m + 1)) -> {name: (B, D_m)}. Why the 1: with it come the products
    without the others, so a modality feels something even where all others are 0.
    """
    inputs, present = _complete(inputs, mask)
    extended = [F.pad(x, (0, 1), value=1) for x in inputs.values()]  # M times (B, D_m + 1)
    B, M = present.shape
    widths = [x.shape[1] for x in extended]
    check(d_out, "d_out", (B, torch.Size(widths).numel()), extended[0].dtype)
    block = d_out.unflatten(1, widths)  # (B, D_1 + 1, ..., D_M + 1)
    # (B, D_m + 1) -> (B, 1, ..., D_m + 1, ..., 1)
    axes = [x.reshape(B, *[1] * i, widths[i], *[1] * (M - 1 - i)) for i, x in enumerate(extended)]
    parts = []
    for i, others in enumerate(_products_of_others(axes)):
        # (B, D_1 + 1, ..., D_M + 1) -> (B, D_m + 1, the others) -> (B, D_m)
        each = (block * others).movedim(1 + i, 1).reshape(B, widths[i], -1)
        parts.append(each.sum(2)[:, :-1])
    return _where_present(inputs, parts, present)


def low_rank_backward(
    d_out: Tensor, inputs: Named, factors: Named, mask: Named | None = None
) -> tuple[Named, Named, Tensor]:
    """Back through sum_r prod_m (F_m^r [h_m; 1]) + b, a missing one [0; 1]: each factor gets d_out
    times the product of the others, then goes back through its linear map.
    Page 23, "The other strategies".

    Shapes: d_out (B, C), inputs (B, D_m), factors (R, C, D_m + 1) -> {name: (B, D_m)}, {name: (R,
    C, D_m + 1)}, (C,). Why a missing modality's factor still learns: [0; 1] leaves its last column.
    """
    inputs, present = _complete(inputs, mask)
    check_names(factors, "factors", list(inputs))
    first = next(iter(inputs))
    R, C, _ = sizes(factors[first], f"factors[{first!r}]", "RCD")
    extended, maps, products = {}, {}, []
    for name, x in inputs.items():
        check(factors[name], f"factors[{name!r}]", (R, C, x.shape[1] + 1), x.dtype)
        extended[name] = F.pad(x, (0, 1), value=1)  # (B, D_m + 1)
        maps[name] = factors[name].flatten(0, 1)  # (R C, D_m + 1)
        products.append(extended[name] @ maps[name].T)  # (B, R C)
    check(d_out, "d_out", (len(present), C), products[0].dtype)
    d_sum = d_out.repeat(1, R)  # each r gets d_out: (B, C) -> (B, R C)
    parts, d_factors = [], {}
    for name, others in zip(inputs, _products_of_others(products)):
        d_x, d_map, _ = linear_backward(d_sum * others, extended[name], maps[name])
        parts.append(d_x[:, :-1])  # the 1 is no input
        d_factors[name] = d_map.unflatten(0, (R, C))
    return _where_present(inputs, parts, present), d_factors, d_out.sum(0)


def gated_backward(
    d_out: Tensor,
    values: Named,
    inputs: Named,
    weight: Tensor,
    bias: Tensor,
    mask: Named | None = None,
) -> tuple[Named, Named, Tensor, Tensor]:
    """Back through sum_m z_m * v_m, z = softmax over the modalities present of the gates' scores
    s = U [x_1; ...; x_M] + d: the direct path d_v_m = z_m * d_out, and the path through the gate
    d_s_m = z_m * (v_m - sum_k z_k v_k) * d_out, d_x = d_s U. Equation
    (23.2), for two.

    Shapes: d_out (B, H), values (B, H), inputs (B, D_m), weight (M H, sum D_m), bias (M H,) ->
    {name: (B, H)}, {name: (B, D_m)}, (M H, sum D_m), (M H,). A modality feels both paths; where its
    value is its input (v = x) they add up. Why v_m - out: opening a gate helps only as far as its
    value differs from what already comes out.
    """
    values, present = _complete(values, mask, d_out, "values")
    check_names(inputs, "inputs", list(values))
    inputs, _ = _complete({name: inputs[name] for name in values}, mask)
    H, M = d_out.shape[1], len(values)
    glued = torch.cat([*inputs.values()], 1)  # (B, sum D_m)
    check(weight, "weight", (M * H, glued.shape[1]), glued.dtype)
    check(bias, "bias", (M * H,), glued.dtype)
    scores = F.linear(glued, weight, bias).unflatten(1, (M, H))  # (B, M, H)
    gates = masked_softmax(scores, present[..., None], 1)
    d_gates = _stack(values) * d_out[:, None]
    # the softmax runs over M: (B, M, H) -> (B, H, M) and back
    d_scores = softmax_backward(d_gates.mT, gates.mT).mT
    d_glued, d_weight, d_bias = linear_backward(d_scores.flatten(1), glued, weight)
    d_inputs = concat_backward(d_glued, {name: x.shape[1] for name, x in inputs.items()}, mask)
    d_values = _where_present(values, (gates * d_out[:, None]).unbind(1), present)
    return d_values, d_inputs, d_weight, d_bias


def film_backward(
    d_out: Tensor, inputs: Named, weight: Tensor, content: str, mask: Named | None = None
) -> tuple[Named, Tensor]:
    """Back through (1 + gamma) * x + beta, [gamma; beta] = W c, x the content and c the others
    glued: d_x = (1 + gamma) * d_out, d_gamma = x * d_out, d_beta = d_out, d_c =
    [d_gamma; d_beta] W. Page 23, "The other strategies".

    Shapes: d_out (B, D), weight (2 D, sum of the others' D_m) -> {name: (B, D_m)}, (2 D, sum of the
    others' D_m). Why x reaches the condition: gamma acts on x, so it is told in units of x.
    """
    inputs, present = _complete(inputs, mask)
    if content not in inputs or len(inputs) < 2:
        raise ValueError(f"content: expected one of at least two {list(inputs)}, got {content!r}")
    x = inputs[content]
    conditions = {name: one for name, one in inputs.items() if name != content}
    glued = torch.cat([*conditions.values()], 1)  # (B, sum of the others' D_m)
    D = x.shape[1]
    check(d_out, "d_out", x.shape, x.dtype)
    check(weight, "weight", (2 * D, glued.shape[1]), x.dtype)
    scale, _ = F.linear(glued, weight).chunk(2, 1)  # (B, D)
    d_modulation = torch.cat([x * d_out, d_out], 1)  # (B, 2 D)
    d_glued, d_weight, _ = linear_backward(d_modulation, glued, weight)
    parts = concat_backward(d_glued, {name: one.shape[1] for name, one in conditions.items()})
    parts[content] = (1 + scale) * d_out
    return _where_present(inputs, [parts[name] for name in inputs], present), d_weight


def attention_pool_backward(
    d_out: Tensor,
    inputs: Named,
    weight: Tensor,
    bias: Tensor,
    context: Tensor,
    mask: Named | None = None,
) -> tuple[Named, Tensor, Tensor, Tensor]:
    """Back through attention over modalities, sum_m a_m h_m, a = softmax over those present of
    u . tanh(W h_m + c): d_h_m = a_m d_out + W^T d_pre_m, d_pre_m = d_s_m u (1 - tanh^2), d_s =
    a (g - <a, g>), g_m = <h_m, d_out>. Equation (24.3).

    Shapes: d_out (B, D), weight (A, D), bias (A,), context u (A,) -> {name: (B, D)}, (A, D), (A,),
    (A,). Why two paths: h_m is what is summed, and it also asks for its own weight.
    """
    inputs, present = _complete(inputs, mask, d_out)
    A, _ = sizes(weight, "weight", "AD", d_out.dtype)
    check(weight, "weight", (A, d_out.shape[1]), d_out.dtype)
    check(bias, "bias", (A,), d_out.dtype)
    check(context, "context", (A,), d_out.dtype)
    items = _stack(inputs)  # (B, M, D)
    states = torch.tanh(F.linear(items, weight, bias))  # (B, M, A)
    weights = masked_softmax(states @ context, present, 1)  # (B, M)
    d_scores = softmax_backward((items * d_out[:, None]).sum(2), weights)  # (B, M)
    d_pre = d_scores[..., None] * context * (1 - states**2)  # (B, M, A)
    through, d_weight, d_bias = linear_backward(d_pre, items, weight)
    parts = weights[..., None] * d_out[:, None] + through  # (B, M, D)
    d_context = (d_scores[..., None] * states).sum((0, 1))  # (B, M, A) -> (A,)
    return _where_present(inputs, parts.unbind(1), present), d_weight, d_bias, d_context


# ---- decide first, then combine


def late_backward(
    d_out: Tensor, inputs: Named, weights: Named, mask: Named | None = None
) -> tuple[Named, Named, Named]:
    """Back through late fusion, the mean of W_m h_m + b_m over the modalities present: as linear
    fusion, with d_out / (number present). Page 23, "The other strategies".

    Shapes: d_out (B, C), inputs (B, D_m), weights (C, D_m) -> {name: (B, D_m)}, {name: (C, D_m)},
    {name: (C,)}. Why all heads get one signal: the error is that of the mean, so a head that is
    right alone is still corrected for the others.
    """
    inputs, _ = _complete(inputs, mask)
    return _linear_each(mean_backward(d_out, list(inputs), mask), inputs, weights)


def mixture_backward(d_out: Tensor, logits: Named, mask: Named | None = None) -> Named:
    """Back through the logarithm of the mean of probabilities, log mean_m p_m over the modalities
    present: with responsibilities r_m = p_m / sum_k p_k, class by class, d_z_m = r_m d_out - p_m
    <r_m, d_out>. Page 23, "The other strategies".

    Shapes: d_out (B, C), logits z_m (B, C) -> {name: (B, C)}. After a cross-entropy that is r_m of
    the true class times (p_m - y). Why: who gave the truth more probability is asked more.
    """
    logits, present = _complete(logits, mask, d_out, "logits")
    scores = _stack(logits)  # (B, M, C)
    # p_m / sum_k p_k is the softmax of log p_m over m
    shares = masked_softmax(scores.log_softmax(2), present[..., None], 1)
    parts = _log_softmax_backward(shares * d_out[:, None], scores)
    return _where_present(logits, parts.unbind(1), present)


def product_of_experts_backward(
    d_out: Tensor, logits: Named, mask: Named | None = None
) -> tuple[Named, Tensor]:
    """Back through log p_0 + sum_m (log p_m - log p_0) over the modalities present, p_m =
    softmax(z_m): d_z_m = d_out - p_m sum(d_out), d_log_p_0 = the rows' sum of (1 - number present)
    d_out. Equation (23.4).

    Shapes: d_out (B, C), logits z_m (B, C) -> {name: (B, C)}, (C,). Why every expert gets the same
    (p - y) / N after a cross-entropy: that sums to 0, so what p_m would take off is 0. The prior
    counts once: with one expert it cancels, and each further one divides by it.
    """
    logits, present = _complete(logits, mask, d_out, "logits")
    scores = _stack(logits)  # (B, M, C)
    parts = _log_softmax_backward(d_out[:, None].expand_as(scores), scores)
    d_log_prior = ((1 - present.sum(1, keepdim=True)) * d_out).sum(0)  # (B, 1), (B, C) -> (C,)
    return _where_present(logits, parts.unbind(1), present), d_log_prior


# ---- what they share


def _present(names, mask: Named | None, like: Tensor) -> Tensor:
    """Which modalities are there in the rows of `like` (..., D): (..., M) bool."""
    if mask is not None:
        check_names(mask, "mask", list(mask) or None)
        if not set(mask) <= set(names):
            raise ValueError(f"mask: expected modalities out of {list(names)}, got {list(mask)}")
    if not names:
        raise ValueError(f"names: expected at least one modality, got {names!r}")
    rows, mask = like.shape[:-1], mask or {}
    for name, kept in mask.items():
        check(kept, f"mask[{name!r}]", rows, torch.bool)
    everywhere = torch.ones(rows, dtype=torch.bool, device=like.device)
    return torch.stack([mask.get(name, everywhere) for name in names], -1)


def _complete(
    inputs: Named, mask: Named | None, like: Tensor | None = None, name: str = "inputs"
) -> tuple[Named, Tensor]:
    """The inputs with zeros where a modality is missing, and which are there, (B, M) bool. All have
    as many rows, and the shape of `like`, if there is one.
    """
    check_names(inputs, name)
    if like is not None:
        check_floats(like, "d_out")
    first = next(iter(inputs.values()))
    for key, x in inputs.items():
        sizes(x, f"{name}[{key!r}]", "BD")
        wanted = (len(first), x.shape[1]) if like is None else like.shape
        check(x, f"{name}[{key!r}]", wanted, (first if like is None else like).dtype)
    present = _present(inputs, mask, first)
    return _where_present(inputs, inputs.values(), present), present


def _where_present(names, parts, present: Tensor) -> Named:
    """{name: (..., D_m)}, exactly 0 where the modality is missing; `present` is (..., M)."""
    return {
        name: torch.where(kept[..., None], part, 0)
        for name, part, kept in zip(names, parts, present.unbind(-1))
    }


def _stack(inputs: Named) -> Tensor:
    return torch.stack([*inputs.values()], 1)  # M times (B, D) -> (B, M, D)


def _weighted(parts: Named, inputs: Named, scores: Tensor, present: Tensor) -> tuple[Named, Tensor]:
    """Back through a_m h_m, where each a_m h_m gets its part (B, D_m)."""
    check(scores, "scores", present.shape[1:], next(iter(inputs.values())).dtype)
    weights = masked_softmax(scores, present, 1)  # (M,), (B, M) -> (B, M)
    pulls = [(inputs[name] * part).sum(1) for name, part in parts.items()]  # M times (B,)
    d_scores = softmax_backward(torch.stack(pulls, 1), weights).sum(0)  # (B, M) -> (M,)
    scaled = [a[:, None] * part for a, part in zip(weights.unbind(1), parts.values())]
    return _where_present(inputs, scaled, present), d_scores


def _linear_each(parts: Named, inputs: Named, weights: Named) -> tuple[Named, Named, Named]:
    """Back through W_m x_m + c_m for each modality, whose result got its part (B, C)."""
    check_names(weights, "weights", list(inputs))
    found = {}
    for name, x in inputs.items():
        shape = (parts[name].shape[1], x.shape[1])
        check(weights[name], f"weights[{name!r}]", shape, x.dtype)
        found[name] = linear_backward(parts[name], x, weights[name])
    return tuple({name: one[i] for name, one in found.items()} for i in range(3))


def _log_softmax_backward(d_out: Tensor, logits: Tensor) -> Tensor:
    """Back through log softmax along the last axis: d_out - p sum(d_out)."""
    return d_out - logits.softmax(-1) * d_out.sum(-1, keepdim=True)


def _products_of_others(factors) -> list[Tensor]:
    """For each factor the product of all others; not by division, because one may be 0."""
    found = []
    for i, factor in enumerate(factors):
        found.append(reduce(torch.mul, [*factors[:i], *factors[i + 1 :]], torch.ones_like(factor)))
    return found
