"""Notebook 20: the additive part of a model's answers, and Shapley values from subset scores."""

import math
from itertools import combinations, permutations

import torch

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws, float64

# 20.1 -----------------------------------------------------------------------------------------


def emap(predict, text, image):
    """From the whole table of answers, (N, N, C): row i, column j is text i with image j."""
    table = _table(predict, text, image)
    return table.mean(1) + table.mean(0) - table.mean((0, 1))


def _table(predict, text, image):
    # image j with each text is a column; all pairs at once take a gigabyte on the page
    columns = [predict(text, one.expand_as(image)) for one in image]
    return torch.stack(columns, 1)  # N of (N, C) -> (N, N, C)


def _used(answer, predict, text, image):
    """A case gives `predict` by its weights w (5, C): w0 + w1 a + w2 b + w3 a b + w4 max(a, b) for
    text a and image b, (B, 1) each.
    """

    def logits(text, image):
        parts = [torch.ones_like(text), text, image, text * image, torch.maximum(text, image)]
        return torch.cat(parts, 1) @ predict  # (B, 5) @ (5, C) -> (B, C)

    return answer(logits, text, image)


def _sum(table, middle=1):
    return table.mean(1) + table.mean(0) - middle * table.mean((0, 1))


def _no_own(table, whole=False):
    """The own pair left out of rows and columns, and, unless `whole`, of the middle."""
    N = len(table)
    off = (1 - torch.eye(N, dtype=table.dtype))[..., None]
    each = table * off / max(N - 1, 1)
    middle = table.mean((0, 1)) if whole else each.sum((0, 1)) / N
    return each.sum(1) + each.sum(0) - middle


def _at_means(predict, text, image):
    """The answers at the mean text and at the mean image."""
    a, b = text.mean(0).expand_as(text), image.mean(0).expand_as(image)
    return predict(text, b) + predict(a, image) - predict(a, b)


def _one_partner(predict, text, image):
    """One other partner each, in place of all."""
    moved, own = predict(text, image.roll(1, 0)), predict(text.roll(1, 0), image)
    return moved + own - predict(text, image).mean(0)


def _emap_cases(seed=1):
    # a sum comes back as it is
    yield float64([[3.0], [1.0], [1.0], [0.0], [0.0]], [[1.0], [2.0]], [[2.0], [5.0]])
    # the larger one counts: the mean of answers is not the answer at the mean
    yield float64([[0.0], [0.0], [0.0], [0.0], [1.0]], [[0.0], [3.0]], [[1.0], [2.0]])
    # the product of two numbers: every row and column of the table has mean 0
    signs = [[1.0], [-1.0]]
    yield float64([[0.0], [0.0], [0.0], [1.0], [0.0]], signs, signs)
    draw = draws(seed)
    yield draw(5, 2), draw(3, 1), draw(3, 1)
    yield draw(5, 3), draw(4, 1), draw(4, 1)
    yield draw(5, 3), draw(3, 1), draw(3, 1)
    yield draw(5, 2), draw(1, 1), draw(1, 1)
    yield draw(5, 10), draw(7, 1), draw(7, 1)


def _emap_batch():
    draw = torch.Generator().manual_seed(0)
    return tuple(torch.randn(*shape, generator=draw) for shape in ((5, 19), (200, 1), (200, 1)))


EMAP = Exercise(
    key="20.1",
    reference=emap,
    use=_used,
    cases=_emap_cases,
    batch=_emap_batch,
    verified=True,
    returns="the additive part of each row's answers, a float tensor of shape (N, C)",
    misconceptions=(
        *ideas(
            "only pairs that belong together are asked, and the sum is the model's own answer, or"
            " one moved by a constant. The means run over *all* N partners of a text, and of an"
            " image.",
            lambda f, a, b: f(a, b),
            lambda f, a, b: f(a, b) - f(a, b).mean(0),
            lambda f, a, b: 2 * f(a, b) - f(a, b).mean(0),
        ),
        *ideas(
            "each mean leaves the own partner out. All N partners count, the own one too: else a"
            " plain sum does not come back.",
            lambda f, a, b: _no_own(_table(f, a, b)),
            lambda f, a, b: _no_own(_table(f, a, b), whole=True),
        ),
        *ideas(
            "the mean over all pairs is not subtracted: both means contain it, so it stands in the"
            " sum twice.",
            lambda f, a, b: _sum(_table(f, a, b), middle=0),
        ),
        *ideas(
            "the mean over all pairs is subtracted twice, once from each part. It stands in the sum"
            " of the two means twice, and should stay once.",
            lambda f, a, b: _sum(_table(f, a, b), middle=2),
        ),
        *ideas(
            "what is subtracted is the mean over the pairs that belong together. It is that over"
            " all N * N pairs.",
            lambda f, a, b: _sum(_table(f, a, b), middle=0) - f(a, b).mean(0),
        ),
        *ideas(
            "these are answers at the *mean image* and the *mean text*. Wanted is the mean of the"
            " answers; they agree only where the model is linear.",
            _at_means,
        ),
        *ideas(
            "the sum is halved. It is mean plus mean minus mean.",
            lambda f, a, b: _sum(_table(f, a, b), middle=0) / 2,
            lambda f, a, b: _sum(_table(f, a, b)) / 2,
        ),
        *ideas(
            "these are probabilities. The projection is of the logits as `predict` gives them.",
            lambda f, a, b: _sum(_table(f, a, b).softmax(2)),
            lambda f, a, b: _sum(_table(f, a, b)).softmax(1),
        ),
        *ideas(
            "these are classes. Asked are the projected logits (N, C); the argmax comes after.",
            lambda f, a, b: _sum(_table(f, a, b)).argmax(1),
        ),
        *ideas(
            "only one of the two parts is there: what the text says, or what the image says.",
            lambda f, a, b: _table(f, a, b).mean(1),
            lambda f, a, b: _table(f, a, b).mean(0),
        ),
        *ideas(
            "a mean runs over the classes, too. Each class has its own table.",
            lambda f, a, b: _sum(_table(f, a, b), middle=0) - _table(f, a, b).mean(),
        ),
        *ideas("each row got one other partner. The mean runs over all N.", _one_partner),
    ),
)

# 20.2 -----------------------------------------------------------------------------------------


def shapley(scores):
    """From the subsets: each gain counts with the share of orders in which it is met."""
    names = sorted(max(scores, key=len))
    M, values = len(names), {}
    for name in names:
        others = [other for other in names if other != name]
        value = 0.0
        for size in range(M):
            share = math.factorial(size) * math.factorial(M - 1 - size) / math.factorial(M)
            for before in map(frozenset, combinations(others, size)):
                value += share * (scores[before | {name}] - scores[before])
        values[name] = value
    return values


def _gains(scores, name):
    """(how many were there before, gain) for all subsets without `name`."""
    return [(len(s), scores[s | {name}] - scores[s]) for s in scores if name not in s]


def _named(scores, value):
    return {name: value(name) for name in max(scores, key=len)}


def _mean(values):
    values = list(values)
    return sum(values) / len(values)


def _orders(scores, value=lambda scores, before, name: scores[before | {name}] - scores[before]):
    """The mean over all orders, with what counts as a gain left open."""
    names = sorted(max(scores, key=len))
    found = dict.fromkeys(names, 0.0)
    for order in permutations(names):
        for place, name in enumerate(order):
            gained = value(scores, frozenset(order[:place]), name)
            found[name] += gained / math.factorial(len(names))
    return found


def _without_none(scores):
    """The empty set forgotten: who comes first gets its whole score."""
    return _orders(scores | {frozenset(): 0.0})


def _skips_none(scores):
    """Orders without their first step: gains from nothing are left out."""
    return _named(scores, lambda name: _mean([g for n, g in _gains(scores, name) if n] or [0.0]))


def _scaled(scores):
    values = shapley(scores)
    total = sum(values.values()) or 1.0
    return {name: value / total for name, value in values.items()}


def _scaled_to_all(scores):
    values = shapley(scores)
    total = sum(values.values()) or 1.0
    return {name: scores[max(scores, key=len)] * value / total for name, value in values.items()}


def _one_order(scores):
    names, before, values = sorted(max(scores, key=len)), frozenset(), {}
    for name in names:
        values[name] = scores[before | {name}] - scores[before]
        before |= {name}
    return values


def game(names, *numbers):
    """A dict from each subset, the smaller first, to its score."""
    subsets = [frozenset(s) for size in range(len(names) + 1) for s in combinations(names, size)]
    return dict(zip(subsets, numbers, strict=True))


def _shapley_cases(seed=2):
    yield (game(("text",), 0.1, 0.7),)
    # a gain of the second beside nothing, another beside the first; the empty set has a score
    yield (game(("text", "image"), 0.5, 0.75, 0.5, 1.0),)
    yield (game(("text", "image", "audio"), 0.1, 0.4, 0.3, 0.2, 0.9, 0.5, 0.6, 1.0),)
    draw = torch.Generator().manual_seed(seed)
    for names in (
        ("text", "image", "audio"),
        ("words", "tone"),
        ("a", "b", "c", "d"),
        ("text", "image", "audio"),
    ):
        drawn = (100 * torch.rand(2 ** len(names), generator=draw)).round() / 100
        scores = game(names, *drawn.tolist())
        if len(names) == 4:  # in another order, the full set first
            scores = dict(reversed(scores.items()))
        yield (scores,)


def _shapley_batch():
    """The page's four names."""
    drawn = torch.rand(16, generator=torch.Generator().manual_seed(0))
    return (game(("text", "image", "audio", "noise"), *drawn.tolist()),)


SHAPLEY = Exercise(
    key="20.2",
    reference=shapley,
    cases=_shapley_cases,
    batch=_shapley_batch,
    verified=True,
    returns="a dict from each name to its value",
    misconceptions=(
        *ideas(
            "each subset counts alike. Count orders: of two that come, one order in two begins with"
            " nothing; of three, one subset of size 1 is met half as often as the empty one.",
            lambda v: _named(v, lambda name: _mean(g for _, g in _gains(v, name))),
        ),
        *ideas(
            "this is only what is lost when the modality goes, v(all) - v(all others): an ablation."
            " Two copies then get nothing, each of them.",
            lambda v: _named(
                v, lambda name: v[max(v, key=len)] - v[frozenset(max(v, key=len) - {name})]
            ),
        ),
        *ideas(
            "this is only what the modality brings alone, v(it) - v(nothing).",
            lambda v: _named(v, lambda name: v[frozenset({name})] - v[frozenset()]),
        ),
        *ideas(
            "this is the mean of alone and last. Between them are the subsets of other sizes.",
            lambda v: _named(
                v,
                lambda name: _mean(
                    [
                        v[frozenset({name})] - v[frozenset()],
                        v[max(v, key=len)] - v[frozenset(max(v, key=len) - {name})],
                    ]
                ),
            ),
        ),
        *ideas(
            "the score of nothing is taken as 0. It is in the dict, at `frozenset()`: what a guess"
            " gets is nobody's merit.",
            _without_none,
        ),
        *ideas(
            "the step from nothing is left out. Who comes first also brings something:"
            " v(it) - v(nothing).",
            _skips_none,
            lambda v: _orders(v, lambda v, s, n: v[s | {n}] - v[s] if s else 0.0),
        ),
        *ideas(
            "these are scores, not gains: each needs what was there before it taken off.",
            lambda v: _orders(v, lambda v, s, n: v[s | {n}]),
            lambda v: _named(v, lambda name: _mean(x for s, x in v.items() if name in s)),
        ),
        *ideas("one order only. All M! orders count, because none is special.", _one_order),
        *ideas(
            "the values are scaled to a sum of 1, or of v(all). Together they are"
            " v(all) - v(nothing), without any scaling.",
            _scaled,
            _scaled_to_all,
        ),
        *ideas(
            "the sum over the orders is not divided by their number, M!.",
            lambda v: {
                name: math.factorial(len(max(v, key=len))) * x for name, x in shapley(v).items()
            },
        ),
        *ideas(
            "the sign is turned: what was there before is taken off what is there after.",
            lambda v: {name: -x for name, x in shapley(v).items()},
        ),
        *ideas(
            "the shares are those of three modalities (1/3, 1/6, 1/3). Any number may come: count"
            " the orders, or use M.",
            lambda v: _named(
                v, lambda name: sum((1 / 3, 1 / 6, 1 / 3, 0)[n] * g for n, g in _gains(v, name))
            ),
        ),
    ),
)

EXERCISES = [EMAP, SHAPLEY]
