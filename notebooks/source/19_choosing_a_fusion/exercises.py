"""Notebook 19: a verdict on two fusions from paired runs, and a shortlist of many."""

import math
import random
import statistics

from scipy import stats

from course_utils.exercises import Exercise, ideas

# 19.1 -----------------------------------------------------------------------------------------


def verdict(scores_a, scores_b, comparisons):
    """By the probability of so large a mean difference, or a larger one, were there none."""
    if len(scores_a) != len(scores_b):
        raise ValueError(f"{len(scores_a)} and {len(scores_b)} scores cannot be paired")
    gaps = [float(a) - float(b) for a, b in zip(scores_a, scores_b)]
    middle = statistics.fmean(gaps)
    if len(gaps) < 2 or middle == 0 or math.isnan(middle):
        return "cannot tell"
    error = statistics.stdev(gaps) / math.sqrt(len(gaps))
    chance = 2 * stats.t.sf(abs(middle) / error, len(gaps) - 1) if error else 0.0
    if chance * comparisons >= 0.05:
        return "cannot tell"
    return "better" if middle > 0 else "worse"


def _told(function, scores_a, scores_b, comparisons):
    """What a function answers; "a ValueError" where it raises one for lists that do not fit."""
    try:
        return function(scores_a, scores_b, comparisons)
    except (ValueError, RuntimeError):  # PyTorch's
        if len(scores_a) == len(scores_b):
            raise
        return "a ValueError"


# mean 0; in the first one value lies far below the others
PATTERNS = {
    5: ((-1.7, 0.2, 0.4, 0.5, 0.6), (1.1, -0.9, 0.3, -1.2, 0.7)),
    10: ((-2.2, 0.1, 0.5, 0.2, 0.3, 0.4, -0.3, 0.6, 0.1, 0.3),),
    3: ((-1.0, 0.3, 0.7),),
}


def _pair(n, t, seed, pattern=0, scale=0.01):
    """Two lists of n scores whose differences have exactly this t, on scores that differ more."""
    z = PATTERNS[n][pattern % len(PATTERNS[n])]
    spread, draw = statistics.stdev(z), random.Random(seed)
    b = [draw.uniform(0.4, 0.85) for _ in range(n)]
    order = draw.sample(range(n), n)
    return [b[i] + scale * (t / math.sqrt(n) + z[k] / spread) for k, i in enumerate(order)], [
        b[i] for i in order
    ]


def _verdict_cases(seed=1):
    yield [0.9], [0.7], 1
    yield [0.75, 0.5], [0.5, 0.25], 1
    yield [0.5, 0.75], [0.5, 0.75], 1
    yield [0.75, 0.5, 0.25], [0.5, 0.25], 1
    for k, (n, t, m) in enumerate(
        [
            (5, 1.4, 1),
            (5, 2.6, 1),
            (5, 3.3, 1),
            (5, -3.3, 1),
            (5, -2.55, 1),
            (3, 3.9, 1),
            (3, 4.8, 1),
            (10, 2.2, 1),
            (10, 2.4, 1),
            (5, 2.5, 17),
            (5, 4.2, 17),
            (5, 6.0, 17),
            (5, 9.0, 17),
            (10, 3.6, 17),
            (10, -4.8, 17),
            (5, 3.7, 3),
        ]
    ):
        yield (*_pair(n, t, 100 * seed + k, k), m)


def _judged(a, b, half, least=2):
    """A verdict by the mean difference and a half-width of another kind, of the differences."""
    if len(a) != len(b):
        raise ValueError
    gaps = [x - y for x, y in zip(a, b)]
    if len(gaps) < least:
        return "cannot tell"
    return _sided(statistics.fmean(gaps), half(gaps) if len(gaps) > 1 else 0.0)


def _sided(middle, half):
    return "better" if middle > half else "worse" if middle < -half else "cannot tell"


def _t(values, comparisons, level=0.025):
    return stats.t.ppf(1 - level / comparisons, len(values) - 1)


def _error(values):
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def _by_count(a, b, comparisons):
    if len(a) != len(b):
        raise ValueError
    won, lost = all(x > y for x, y in zip(a, b)), all(x < y for x, y in zip(a, b))
    return "better" if won else "worse" if lost else "cannot tell"


def _by_best(a, b, comparisons):
    if len(a) != len(b):
        raise ValueError
    return _sided(max(a) - max(b), 0)


def _constant(a, b, comparisons):
    if len(a) == len(b) > 1 and statistics.stdev(x - y for x, y in zip(a, b)) == 0:
        return "cannot tell"
    return verdict(a, b, comparisons)


def _cut(a, b, comparisons):
    n = min(len(a), len(b))
    return verdict(a[:n], b[:n], comparisons)


VERDICT = Exercise(
    key="19.1",
    verified=True,
    reference=verdict,
    cases=_verdict_cases,
    use=_told,
    returns='"better", "worse" or "cannot tell"',
    misconceptions=(
        *ideas(
            "the seeds are not paired. The same seed gave both their data and their start, so take"
            " the differences a - b first, then one interval of these.",
            lambda a, b, m: _judged(a, b, lambda gaps: _t(a, m) * (_error(a) + _error(b))),
        ),
        *ideas(
            "1.96 stands in the place of t. It fits a great many seeds; with few the interval must"
            " be wider: stats.t.ppf(..., n - 1).",
            lambda a, b, m: _judged(
                a, b, lambda gaps: stats.norm.ppf(1 - 0.025 / m) * _error(gaps)
            ),
            lambda a, b, m: _judged(a, b, lambda gaps: 1.96 * _error(gaps)),
        ),
        *ideas(
            "the half-width is t times the spread of single differences. The mean of n is steadier:"
            " divide s by the square root of n.",
            lambda a, b, m: _judged(a, b, lambda gaps: _t(gaps, m) * statistics.stdev(gaps)),
        ),
        *ideas(
            "s divides by n. The mean was estimated from the same n differences: divide by n - 1.",
            lambda a, b, m: _judged(
                a, b, lambda gaps: _t(gaps, m) * statistics.pstdev(gaps) / math.sqrt(len(gaps))
            ),
        ),
        *ideas(
            "the larger mean wins, however small the difference. Ask whether the interval of the"
            " differences leaves out 0.",
            lambda a, b, m: _judged(a, b, lambda gaps: 0.0, least=1),
            lambda a, b, m: _judged(a, b, lambda gaps: 0.0),
        ),
        *ideas(
            "this looks at single seeds: the best one, or whether all agree. The best of five says"
            " who was lucky, and a count forgets how large the differences are. Take their mean and"
            " its interval.",
            _by_best,
            _by_count,
        ),
        *ideas(
            "the interval leaves 5 % on each side. Both sides together may have 5 %: the quantile"
            " is at 1 - 0.025 / comparisons.",
            lambda a, b, m: _judged(a, b, lambda gaps: _t(gaps, m, 0.05) * _error(gaps)),
        ),
        *ideas(
            "`comparisons` changes nothing. With m of them each may be wrong in 5 % / m only:"
            " the quantile is at 1 - 0.025 / m.",
            lambda a, b, m: verdict(a, b, 1),
        ),
        *ideas(
            "one seed has no spread, so it says nothing of chance: cannot tell.",
            lambda a, b, m: _judged(a, b, lambda gaps: _t(gaps, m) * _error(gaps), least=1),
        ),
        *ideas(
            "all differences are equal, and not 0. Their interval has no width and leaves out 0:"
            " that is a verdict.",
            _constant,
        ),
        *ideas(
            "better and worse are changed about. The verdict is on a: better where a - b is above"
            " 0.",
            lambda a, b, m: verdict(b, a, m),
        ),
        *ideas(
            "lists of different lengths were paired as far as they go. Then seed 3 of one may stand"
            " beside seed 4 of the other: raise ValueError.",
            _cut,
        ),
    ),
)

# 19.2 -----------------------------------------------------------------------------------------


def shortlist(scores, cost):
    """Best first by a sort, then who is not worse, by the test's own probability."""
    order = sorted(scores, key=lambda name: -statistics.fmean(scores[name]))
    best, many = scores[order[0]], len(scores) - 1
    kept = [
        name
        for name in scores
        if name == order[0] or verdict(best, scores[name], many) == "cannot tell"
    ]
    return kept, sorted(kept, key=cost.__getitem__)[0]


def _plain(function, scores, cost):
    """The names as a list, whatever holds them, and the cheapest."""
    said = function(scores, cost)
    if isinstance(said, (tuple, list)) and len(said) == 2 and not isinstance(said[0], str):
        return [*said[0]], said[1]
    return said


NAMES = ("concat", "gated", "tensor", "late", "film", "max")


def _table(ts, seed, costs, scale=0.01):
    """Scores of the first name, and of others that lie so many t below it."""
    draw = random.Random(seed)
    z = PATTERNS[5][1]
    first = [draw.uniform(0.6, 0.8) for _ in range(5)]
    scores = {}
    for k, t in enumerate(ts):
        shift = [scale * (t / math.sqrt(5) + v / statistics.stdev(z)) if t else 0.0 for v in z]
        order = draw.sample(range(5), 5)
        scores[NAMES[k]] = [f - shift[i] for f, i in zip(first, order)]
    names = [name for name in NAMES if name in scores]
    draw.shuffle(names)
    return {name: scores[name] for name in names}, dict(zip(NAMES, costs))


def _shortlist_cases(seed=1):
    # two: the second is worse, and cheaper
    yield {"late": [0.5, 0.25, 0.5], "film": [0.75, 0.5, 0.75]}, {"late": 1, "film": 2}
    # the best run, .9, is not of the best mean; and it is cheapest
    yield (
        {
            "max": [0.9, 0.5, 0.52, 0.51, 0.5],
            "sum": [0.7, 0.71, 0.69, 0.7, 0.72],
            "film": [0.6, 0.61, 0.6, 0.6, 0.61],
        },
        {"max": 7, "sum": 9, "film": 5},
    )
    # one that is worse by one comparison (t 3.4) and not by four; the cheapest one is worse
    yield _table((0, 3.4, 5.0, 1.0, 30.0), 10 * seed + 1, (50, 10, 5, 40, 1))
    # by four comparisons the limit is 4.31, by five 4.60
    yield _table((0, 4.45, 2.0, 1.0, 30.0), 10 * seed + 5, (50, 10, 20, 40, 1))
    yield _table((0, 1.2, 3.2, 20.0, 2.0), 10 * seed + 2, (8, 90, 30, 2, 70))
    yield _table((0, 3.6, 15.0, 4.1, 1.5, 25.0), 10 * seed + 3, (60, 20, 2, 30, 50, 9))
    yield _table((0, 25.0, 30.0), 10 * seed + 4, (3, 2, 1))
    # of equal costs the first
    yield _table((0, 1.0, 1.5, 20.0), 10 * seed + 6, (5, 4, 4, 3))


def _best(scores):
    return max(scores, key=lambda name: statistics.fmean(scores[name]))


def _kept(scores, best, comparisons):
    return [
        name
        for name in scores
        if name == best or verdict(scores[name], scores[best], comparisons) == "cannot tell"
    ]


def _all_pairs(scores):
    return len(scores) * (len(scores) - 1) // 2


def _cheapest(kept, cost):
    return kept, min(kept, key=cost.get)


def _right(scores):
    return _kept(scores, _best(scores), len(scores) - 1)


def _only_the_best(scores, cost):
    return [_best(scores)], _best(scores)


def _without_the_best(scores, cost):
    kept = _right(scores)
    return [name for name in kept if name != _best(scores)], min(kept, key=cost.get)


def _those_that_are_worse(scores, cost):
    kept = _right(scores)
    return [name for name in scores if name not in kept], min(kept, key=cost.get)


SHORTLIST = Exercise(
    key="19.2",
    reference=shortlist,
    cases=_shortlist_cases,
    use=_plain,
    returns="the names that stay, and the cheapest of them",
    misconceptions=(
        *ideas(
            "`verdict` is told of one comparison. The best is compared with all the others, so"
            " there are len(scores) - 1.",
            lambda scores, cost: _cheapest(_kept(scores, _best(scores), 1), cost),
        ),
        *ideas(
            "the number of comparisons is that of all strategies, or of all pairs. The best is"
            " compared with each other one: len(scores) - 1.",
            lambda scores, cost: _cheapest(_kept(scores, _best(scores), len(scores)), cost),
            lambda scores, cost: _cheapest(_kept(scores, _best(scores), _all_pairs(scores)), cost),
        ),
        *ideas(
            "the best is the one with the best single run. Take the highest mean.",
            lambda scores, cost: _cheapest(
                _kept(scores, max(scores, key=lambda one: max(scores[one])), len(scores) - 1), cost
            ),
        ),
        *ideas(
            "the first name is taken for the best. Take the highest mean.",
            lambda scores, cost: _cheapest(_kept(scores, [*scores][0], len(scores) - 1), cost),
        ),
        *ideas("only the best stays. Whoever cannot be told from it stays, too.", _only_the_best),
        *ideas("the best itself is missing from the list.", _without_the_best),
        *ideas(
            "the cheapest is looked for among all. One that is worse is no bargain: look among"
            " those that stay.",
            lambda scores, cost: (_right(scores), min(scores, key=cost.get)),
        ),
        *ideas(
            "the second is the best, or the dearest. Asked is the cheapest of those that stay.",
            lambda scores, cost: (_right(scores), _best(scores)),
            lambda scores, cost: (_right(scores), max(_right(scores), key=cost.get)),
        ),
        *ideas(
            "the second is the cost. Return the name.",
            lambda scores, cost: (_right(scores), min(cost[one] for one in _right(scores))),
        ),
        *ideas("those that are worse are listed, not those that stay.", _those_that_are_worse),
    ),
)

EXERCISES = [VERDICT, SHORTLIST]
