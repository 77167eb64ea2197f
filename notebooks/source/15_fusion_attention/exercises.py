"""Notebook 15: cross-attention with a mask and a null key, and whether a map points into a box."""

import math

import torch

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws, float64

# 15.1 -----------------------------------------------------------------------------------------


def cross_attention(queries, keys, values, mask, null_key, null_value):
    """Exponentials over their sum, null appended to keys, values and mask before anything else."""
    B, K, D = keys.shape
    keys = torch.cat([keys, null_key.reshape(1, 1, D).repeat(B, 1, 1)], 1)
    values = torch.cat([values, null_value.reshape(1, 1, -1).repeat(B, 1, 1)], 1)
    kept = torch.cat([mask, mask.new_ones(B, 1)], 1)  # (B, K + 1)
    keys = keys.masked_fill(~kept[..., None], 0)
    values = values.masked_fill(~kept[..., None], 0)
    scores = torch.einsum("btd,bkd->btk", queries, keys) / D**0.5
    scores = scores.masked_fill(~kept[:, None], -math.inf)
    powers = (scores - scores.amax(2, keepdim=True).detach()).exp()
    weights = powers / powers.sum(2, keepdim=True)
    return torch.einsum("btk,bkv->btv", weights, values), weights


def _attention(
    queries,
    keys,
    values,
    mask,
    null_key,
    null_value,
    scale=lambda D, V, K: math.sqrt(D),
    score=lambda scores, kept: scores.masked_fill(~kept[:, None], -math.inf),
    dim=2,
    weigh=lambda weights, kept: weights,
    null=lambda mask: torch.ones_like(mask[:, :1]),
    clean=True,
):
    """The same in steps that a wrong idea can change one by one."""
    B, K, D = keys.shape
    kept = torch.cat([mask, null(mask)], 1)
    keys = torch.cat([keys, null_key.expand(B, 1, -1)], 1)
    values = torch.where(mask[..., None], values, 0) if clean else values
    values = torch.cat([values, null_value.expand(B, 1, -1)], 1)
    scores = queries @ keys.mT / scale(D, values.shape[2], K)
    weights = weigh(score(scores, kept).softmax(dim), kept)
    return weights @ values, weights


def _shared_again(weights, kept):
    """Zeros after the softmax, and what is left divided by its sum."""
    weights = weights * kept[:, None]
    return weights / weights.sum(2, keepdim=True)


def _no_null(queries, keys, values, mask, null_key, null_value, fill=-math.inf):
    scores = queries @ keys.mT / math.sqrt(keys.shape[2])
    weights = scores.masked_fill(~mask[:, None], fill).softmax(2)
    return weights @ torch.where(mask[..., None], values, 0), weights


def _null_first(queries, keys, values, mask, null_key, null_value):
    found, weights = _attention(queries, keys, values, mask, null_key, null_value)
    return found, weights.roll(1, 2)


def _zeros_for_null(queries, keys, values, mask, null_key, null_value):
    zero = torch.zeros_like
    return _attention(queries, keys, values, mask, zero(null_key), zero(null_value))


def _zero_value(queries, keys, values, mask, null_key, null_value):
    return _attention(queries, keys, values, mask, null_key, torch.zeros_like(null_value))


def _opposite(queries, keys, values, mask, null_key, null_value):
    return _attention(queries, keys, values, ~mask, null_key, null_value)


def _results(function, queries, keys, values, mask, null_key, null_value):
    """What is found and the weights by name, and the gradients of a sum of all that was found."""
    names = ("queries", "keys", "values", "null_key", "null_value")
    leaves = [queries, keys, values, mask, null_key, null_value]
    for place in (0, 1, 2, 4, 5):
        if not leaves[place].requires_grad:
            leaves[place] = leaves[place].detach().clone().requires_grad_()
    result = function(*leaves)
    if torch.is_tensor(result):
        result = (result, None)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        return result
    found, weights = result
    said = {"found": found, "weights": weights}
    if torch.is_tensor(found) and found.requires_grad and found.shape[:2] == queries.shape[:2]:
        ramp = torch.arange(1.0, 1 + found.numel(), dtype=found.dtype).view_as(found)
        inputs = [leaves[place] for place in (0, 1, 2, 4, 5)]
        total = (ramp * found).sum()
        gradients = torch.autograd.grad(total, inputs, allow_unused=True, retain_graph=True)
        for name, x, gradient in zip(names, inputs, gradients):
            gradient = torch.zeros_like(x) if gradient is None else gradient
            # what stands under the mask gets none, and 0 times its NaN is not asked about
            said[f"gradient of {name}"] = torch.where(x.detach().isnan(), 0, gradient)
    return said


def _attention_cases(seed=1):
    # one query, one key, null scores 0: the weights are e / (e + 1) and 1 / (e + 1)
    one = float64([[[1.0]]])[0]
    yield one, one, 3 * one, torch.tensor([[True]]), float64([0.0])[0], float64([9.0])[0]
    draw, chance = draws(seed), torch.Generator().manual_seed(seed)

    def case(B, T, K, D, V, mask=None, size=1.0):
        if mask is None:
            mask = torch.rand(B, K, generator=chance) < 0.6
        return (size * draw(B, T, D), draw(B, K, D), draw(B, K, V), mask, draw(D), draw(V))

    yield case(1, 2, 2, 2, 3, torch.tensor([[True, False]]))
    yield case(2, 2, 3, 4, 3, torch.tensor([[True, True, False], [False, False, False]]))
    queries, keys, values, mask, null_key, null_value = case(
        2, 3, 3, 2, 2, torch.tensor([[True, True, False], [True, False, True]])
    )
    values = values.masked_fill(~mask[..., None], math.nan)
    yield queries, keys, values, mask, null_key, null_value
    # all present scores far below 0, and below whatever may stand for a missing one; the missing
    # key's own score is ordinary, so that whoever takes it out after the softmax has 0 / 0
    queries, keys, values, mask, null_key, null_value = case(
        1, 2, 3, 2, 2, torch.tensor([[True, False, True]])
    )
    far = torch.where(mask[..., None], keys - 20_000, keys)
    yield queries.abs() + 1, far, values, mask, null_key - 20_000, null_value
    yield case(3, 4, 5, 9, 4)
    yield case(4, 3, 2, 3, 5, size=3.0)


def _attention_batch():
    """A batch of the page: 64 questions of 7 words, 64 cells, 64 wide."""
    draw = torch.Generator().manual_seed(0)

    def tensor(*shape):
        return torch.randn(*shape, generator=draw).requires_grad_()

    keys, values = tensor(64, 64, 64), tensor(64, 64, 64)
    mask = torch.ones(64, 64, dtype=torch.bool)
    return tensor(64, 7, 64), keys, values, mask, tensor(64), tensor(64)


CROSS_ATTENTION = Exercise(
    key="15.1",
    verified=True,
    reference=cross_attention,
    cases=_attention_cases,
    use=_results,
    batch=_attention_batch,
    returns="(what is found, the weights), a row for each query in both",
    misconceptions=(
        *ideas(
            "the softmax goes over the queries. Each query shares its weight out over the keys,"
            " null included: these are the last axis of the scores.",
            lambda q, k, v, m, nk, nv: _attention(q, k, v, m, nk, nv, dim=1),
        ),
        *ideas(
            "the weights sum to 1 over the batch, so that rows share them.",
            lambda q, k, v, m, nk, nv: _attention(q, k, v, m, nk, nv, dim=0),
        ),
        *ideas(
            "masked keys are set to zero after the softmax. What they took is lost, or, if the rest"
            " is brought to 1 again, it is 0 / 0 where they had nearly all. Their scores must be"
            " minus infinity before it.",
            lambda q, k, v, m, nk, nv: _attention(
                q, k, v, m, nk, nv, score=lambda s, k: s, weigh=lambda w, k: w * k[:, None]
            ),
            lambda q, k, v, m, nk, nv: _attention(
                q, k, v, m, nk, nv, score=lambda s, k: s, weigh=_shared_again
            ),
        ),
        *ideas(
            "masked keys have the score 0, and exp(0) = 1 is a weight like any other: minus"
            " infinity is the score whose weight is 0.",
            lambda q, k, v, m, nk, nv: _attention(
                q, k, v, m, nk, nv, score=lambda s, k: s.masked_fill(~k[:, None], 0)
            ),
        ),
        *ideas(
            "a masked score is replaced by a number such as -100 or -10,000. A present score may be"
            " lower, and then what is masked takes the weight: use minus infinity.",
            lambda q, k, v, m, nk, nv: _attention(
                q, k, v, m, nk, nv, score=lambda s, k: s.masked_fill(~k[:, None], -1e4)
            ),
        ),
        *ideas(
            "the null key is missing: without it a row in which all keys are masked has nothing"
            " to give its weight to. The weights are (B, T, S + 1), null last.",
            lambda q, k, v, m, nk, nv: _no_null(q, k, v, m, nk, nv),
            lambda q, k, v, m, nk, nv: tuple(x.nan_to_num() for x in _no_null(q, k, v, m, nk, nv)),
            lambda q, k, v, m, nk, nv: _no_null(q, k, v, m, nk, nv, fill=-1e9),
        ),
        *ideas(
            "null is masked with the rest (its place in the mask is False, or that of a key). A row"
            " in which all keys are masked is then NaN: null is always there.",
            lambda q, k, v, m, nk, nv: _attention(
                q, k, v, m, nk, nv, null=lambda mask: torch.zeros_like(mask[:, :1])
            ),
            lambda q, k, v, m, nk, nv: _attention(
                q, k, v, m, nk, nv, null=lambda mask: mask[:, -1:]
            ),
        ),
        *ideas("null stands first. The card puts it last, behind the S keys.", _null_first),
        *ideas(
            "null is a key or value of zeros. It is learned: `null_key` and `null_value` are what"
            " the query meets and finds there.",
            _zeros_for_null,
            _zero_value,
        ),
        *ideas(
            "the scores are not divided by the square root of D, the width of queries and keys."
            " (The width of the values, the number of keys, or D itself is not it.)",
            lambda q, k, v, m, nk, nv: _attention(q, k, v, m, nk, nv, scale=lambda D, V, K: 1.0),
            lambda q, k, v, m, nk, nv: _attention(q, k, v, m, nk, nv, scale=lambda D, V, K: D),
            lambda q, k, v, m, nk, nv: _attention(
                q, k, v, m, nk, nv, scale=lambda D, V, K: math.sqrt(V)
            ),
            lambda q, k, v, m, nk, nv: _attention(
                q, k, v, m, nk, nv, scale=lambda D, V, K: math.sqrt(K)
            ),
        ),
        *ideas(
            "a weight of 0 times a NaN in a masked value is NaN. Choose zeros for the masked values"
            " first, with torch.where.",
            lambda q, k, v, m, nk, nv: _attention(q, k, v, m, nk, nv, clean=False),
        ),
        *ideas("the mask is read the other way round: True means there.", _opposite),
    ),
)

# 15.2 -----------------------------------------------------------------------------------------

SIDE, CELLS = 64, 8  # pixels of a picture, cells along a side


def pointing(maps, boxes, tolerance):
    """Map by map, with Python's numbers."""
    inside = []
    for weights, box in zip(maps, boxes):
        row, column = divmod(int(weights.reshape(-1).argmax()), weights.shape[1])
        x, y = (SIDE // CELLS) * (column + 0.5), (SIDE // CELLS) * (row + 0.5)
        left, top, right, bottom = box.tolist()
        across = left - tolerance <= x < right + tolerance
        down = top - tolerance <= y < bottom + tolerance
        inside.append(across and down)
    return sum(inside) / len(inside)


def _points(
    maps,
    boxes,
    tolerance,
    size=8.0,
    middle=0.5,
    turned=False,
    grow=(1, 1),
    least=False,
    over=lambda maps: maps,
):
    maps = over(maps)
    place = (-maps if least else maps).flatten(1).argmax(1)
    y, x = (place // 8 + middle) * size, (place % 8 + middle) * size
    if turned:
        x, y = y, x
    left, top, right, bottom = boxes.unbind(1)
    low, high = grow[0] * tolerance, grow[1] * tolerance
    inside = (x >= left - low) & (x < right + high) & (y >= top - low) & (y < bottom + high)
    return inside


def _share(maps, boxes, tolerance, **how):
    return _points(maps, boxes, tolerance, **how).double().mean().item()


def _weight_inside(maps, boxes, tolerance):
    middle = 8 * torch.arange(8) + 4
    shares = []
    for weights, (left, top, right, bottom) in zip(maps, boxes.tolist()):
        across = (middle >= left - tolerance) & (middle < right + tolerance)
        down = (middle >= top - tolerance) & (middle < bottom + tolerance)
        shares.append((weights * (down[:, None] & across)).sum() / weights.sum())
    return torch.stack(shares).mean().item()


def _any_overlap(maps, boxes, tolerance):
    place = maps.flatten(1).argmax(1)
    y, x = place // 8 * 8, place % 8 * 8
    left, top, right, bottom = boxes.unbind(1)
    t = tolerance
    touch = (x + 8 > left - t) & (x < right + t) & (y + 8 > top - t) & (y < bottom + t)
    return touch.double().mean().item()


def _width_height(maps, boxes, tolerance):
    boxes = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    return _share(maps, boxes, tolerance)


def _pointing_cases(seed=2):
    # the cell in row 1, column 2 has its middle at x = 20, y = 12
    single = torch.zeros(1, 8, 8)
    single[0, 1, 2] = 1.0
    yield single, torch.tensor([[18, 8, 28, 18]]), 0
    yield single, torch.tensor([[10, 18, 20, 28]]), 0
    yield single, torch.tensor([[23, 10, 33, 20]]), 4
    yield single, torch.tensor([[10, 2, 18, 11]]), 4
    yield single, torch.tensor([[20, 12, 30, 22]]), 0
    yield single, torch.tensor([[10, 2, 20, 12]]), 0
    yield single, torch.tensor([[14, 5, 19, 11]]), 0
    # on the bottom edge alone, on the right edge alone: both are outside
    yield single, torch.tensor([[14, 2, 24, 12]]), 0
    yield single, torch.tensor([[10, 8, 20, 18]]), 0
    chance = torch.Generator().manual_seed(seed)
    for N, tolerance in ((6, 0), (24, 4), (40, 2)):
        maps = torch.rand(N, 8, 8, generator=chance)
        place = maps.flatten(1).argmax(1)
        middle = torch.stack([place % 8, place // 8], 1) * 8 + 4  # (x, y)
        size = torch.randint(9, 20, (N, 1), generator=chance)
        # beside the middle by so much that in some cases the tolerance decides
        left_top = middle - size // 2 + torch.randint(-9, 10, (N, 2), generator=chance)
        left_top = left_top.clamp(min=0).minimum(64 - size)
        yield maps, torch.cat([left_top, left_top + size], 1), tolerance


POINTING = Exercise(
    key="15.2",
    reference=pointing,
    cases=_pointing_cases,
    returns="a share from 0 to 1",
    misconceptions=(
        *ideas(
            "x and y are swapped. A map is (row, column): the column goes with x, left and right,"
            " the row with y, top and bottom.",
            lambda maps, boxes, tolerance: _share(maps, boxes, tolerance, turned=True),
        ),
        *ideas(
            "the tolerance is not used: the box grows by it on all four sides.",
            lambda maps, boxes, tolerance: _share(maps, boxes, 0),
        ),
        *ideas(
            "the tolerance is given to two sides only, or taken off. The box grows on all four.",
            lambda maps, boxes, tolerance: _share(maps, boxes, tolerance, grow=(1, 0)),
            lambda maps, boxes, tolerance: _share(maps, boxes, tolerance, grow=(0, 1)),
            lambda maps, boxes, tolerance: _share(maps, boxes, tolerance, grow=(-1, -1)),
            lambda maps, boxes, tolerance: _share(maps, boxes, tolerance, grow=(1, -1)),
        ),
        *ideas(
            "the place is the cell's corner, not its middle: cell 2 goes from pixel 16 to 24, and"
            " its middle is 20.",
            lambda maps, boxes, tolerance: _share(maps, boxes, tolerance, middle=0.0),
            lambda maps, boxes, tolerance: _share(maps, boxes, tolerance, middle=1.0),
        ),
        *ideas(
            "the place is counted in cells, and the box in pixels: a cell is 8 pixels wide.",
            lambda maps, boxes, tolerance: _share(maps, boxes, tolerance, size=1.0),
        ),
        *ideas(
            "this is the share of the weight inside the box. Asked is whether the one cell with the"
            " largest weight lies in it.",
            _weight_inside,
        ),
        *ideas(
            "a cell that only touches the box counts. Its middle must lie inside.", _any_overlap
        ),
        *ideas(
            "the box is read as left, top, width, height. It is left, top, right, bottom.",
            _width_height,
        ),
        *ideas(
            "the largest weight is looked for in the mean of all maps, not in each map.",
            lambda maps, boxes, tolerance: _share(
                maps, boxes, tolerance, over=lambda maps: maps.mean(0, keepdim=True).expand_as(maps)
            ),
        ),
        *ideas(
            "this is the number of maps that point inside. Divide by the number of maps.",
            lambda maps, boxes, tolerance: int(_points(maps, boxes, tolerance).sum()),
        ),
        *ideas(
            "the smallest weight is looked for.",
            lambda maps, boxes, tolerance: _share(maps, boxes, tolerance, least=True),
        ),
    ),
)

EXERCISES = [CROSS_ATTENTION, POINTING]
