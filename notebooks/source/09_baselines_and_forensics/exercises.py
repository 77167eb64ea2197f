"""Notebook 09: an interval over seeds, a bootstrap of whole groups, the verdict of the lab."""

import math
import random
import statistics

import numpy as np
import torch

from course_utils.exercises import Exercise, Misconception, ideas
from course_utils.exercises.compare import difference
from course_utils.exercises.draws import draws, float64

# 97.5 % quantiles of Student's t with n - 1 degrees of freedom, by n, from a table
T_QUANTILES = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 8: 2.365, 10: 2.262}


def _mean(values):
    return sum(values) / len(values)


# 09.1 -----------------------------------------------------------------------------------------


def seed_interval(values, t):
    """Mean and half-width of the 95 % interval over seeds: t * s / sqrt(n), s with n - 1."""
    return statistics.fmean(values), t * (statistics.variance(values) / len(values)) ** 0.5


def _interval_cases(seed=1):
    draw = random.Random(seed)
    yield [0.90, 0.94], T_QUANTILES[2]
    yield [0.80, 0.80, 0.80], T_QUANTILES[3]
    for n in (3, 4, 5, 5, 8, 10):
        yield [round(draw.uniform(0.6, 0.95), 3) for _ in range(n)], T_QUANTILES[n]


def _low_high(values, t):
    mean, half = seed_interval(values, t)
    return mean - half, mean + half


def _undivided(values, t):
    mean, half = seed_interval(values, t)
    return mean, half * (len(values) - 1) ** 0.5


SEED_INTERVAL = Exercise(
    key="09.1",
    verified=True,
    reference=seed_interval,
    cases=_interval_cases,
    returns="the mean and the half-width",
    misconceptions=(
        Misconception(
            "the standard deviation divides by n. The mean was estimated from the same n values,"
            " which makes the deviations look too small: divide their squares by n - 1.",
            lambda values, t: (_mean(values), t * statistics.pstdev(values) / len(values) ** 0.5),
        ),
        Misconception(
            "the square root of n is missing. This is the spread of single runs; the mean of n runs"
            " is steadier: its standard error is s / sqrt(n).",
            lambda values, t: (_mean(values), t * statistics.stdev(values)),
        ),
        Misconception(
            "the standard deviation is divided by n, not by the square root of n.",
            lambda values, t: (_mean(values), t * statistics.stdev(values) / len(values)),
        ),
        Misconception(
            "t is not used. The second number is the standard error alone; multiplied by t it"
            " becomes the half-width of the 95 % interval.",
            lambda values, t: (_mean(values), statistics.stdev(values) / len(values) ** 0.5),
        ),
        Misconception(
            "the square root of the variance is missing: s is in the unit of the values, the"
            " variance in its square.",
            lambda values, t: (_mean(values), t * statistics.variance(values) / len(values) ** 0.5),
        ),
        Misconception(
            "these are the two ends of the interval. Return its middle and its half-width, "
            "as in 0.92 ± 0.25.",
            _low_high,
        ),
        Misconception(
            "1.96 stands in the place of t. It fits a great many runs; with few runs s itself is"
            " uncertain, so the interval must be wider: use the argument `t`.",
            lambda values, t: seed_interval(values, 1.96),
        ),
        Misconception(
            "2.776 stands in the place of t. It fits five seeds only: `t` depends on the number of"
            " seeds, use the argument.",
            lambda values, t: seed_interval(values, 2.776),
        ),
        Misconception(
            "this is the full width, from one end of the interval to the other. What stands after"
            " the ± is half of it.",
            lambda values, t: (_mean(values), 2 * seed_interval(values, t)[1]),
        ),
        Misconception(
            "s is divided by the square root of n - 1. The n - 1 is already inside s; the mean is "
            "taken over n runs: divide s by sqrt(n).",
            lambda values, t: (
                _mean(values),
                t * statistics.stdev(values) / (len(values) - 1) ** 0.5,
            ),
        ),
        Misconception(
            "the two numbers are swapped: return the mean first, then the half-width, as in 0.92 ±"
            " 0.25.",
            lambda values, t: seed_interval(values, t)[::-1],
        ),
        Misconception(
            "the squared deviations are summed but not divided by n - 1. A sum grows with every"
            " run, and s should not: it is the spread of one run.",
            _undivided,
        ),
    ),
)


# 09.2 -----------------------------------------------------------------------------------------

DRAWS, FEW = 3_000, 40
ROWS = torch.linspace(0, 1, 24, dtype=torch.float64) ** 2, torch.arange(24) % 8  # no two alike


def _in_groups(values, groups):
    values, groups = np.asarray(values, dtype=float), np.asarray(groups)
    return [values[groups == name] for name in np.unique(groups)]


def cluster_bootstrap(values, groups, draws, seed):
    """The 2.5 and 97.5 percentiles of the mean, whole groups drawn with replacement."""
    parts, rng = _in_groups(values, groups), np.random.default_rng(seed)
    means = []
    for _ in range(draws):
        chosen = rng.integers(len(parts), size=len(parts))
        means.append(np.concatenate([parts[i] for i in chosen]).mean())
    return _percentiles(means)


def _means(values, groups, draws, seed, many=None):
    """The mean of each draw of `many` groups, by default as many as there are."""
    parts, rng = _in_groups(values, groups), np.random.default_rng(seed)
    drawn = rng.integers(len(parts), size=(draws, many or len(parts)))
    sums, sizes = (np.array([of(part) for part in parts]) for of in (np.sum, len))
    return sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)


def _percentiles(means, low=2.5, high=97.5):
    return tuple(np.percentile(means, [low, high]).tolist())


def _intervals(bootstrap, values, groups, draws, seed):
    """Low and high, and whether the seed does what a seed does, by a few draws of other rows."""
    low_high = bootstrap(values, groups, draws, seed)
    if isinstance(low_high, torch.Tensor | np.ndarray):
        low_high = low_high.tolist()
    if not isinstance(low_high, tuple | list) or len(low_high) != 2:
        return low_high
    low, high = map(float, low_high)
    if abs(high - low) < 1e-9:
        return "low and high are the same number"
    few = [tuple(map(float, bootstrap(*ROWS, FEW, seed + more))) for more in (0, 0, 1, 2)]
    same, another = few[0] == few[1], len(set(few[1:])) > 1
    return [low, high, f"the same seed gives the same: {same}", f"another, another: {another}"]


def _close(got, expected):
    """As far as chance allows: an end moves by about 2 % of the interval's width."""
    if isinstance(expected, list) and len(expected) == 4:
        return difference(got, expected, rtol=0.0, atol=0.065 * abs(expected[1] - expected[0]))
    return difference(got, expected)


def _bootstrap_cases(seed=2):
    draw, names = draws(seed), random.Random(seed)
    (values,) = float64([0.9, 0.9, 0.9, 0.2])
    yield values, torch.tensor([7, 7, 7, 3]), DRAWS, 0
    # one group of eight is far out: the draws are not normal
    values = torch.zeros(16, dtype=torch.float64)
    values[6:8] = 0.7
    yield values, torch.arange(16) // 2, DRAWS, 1
    # inside each group the rows differ far more than the groups do
    effect, apart = draw(10) / 5, 3 + 2 * draw(10).abs()
    values = torch.stack([effect + apart, effect - apart], dim=1).flatten()
    yield values, torch.arange(20) // 2, DRAWS, 2
    # the larger a group, the larger its values; names are no places
    sizes = torch.tensor([1 + 3 * (k % 4) for k in range(11)])
    called = torch.tensor(names.sample(range(100), 11))
    values = (draw(11) + 0.3 * sizes).repeat_interleave(sizes)
    order = torch.tensor(names.sample(range(len(values)), len(values)))
    yield values[order], called.repeat_interleave(sizes)[order], DRAWS, 3


def _bootstrap_batch():
    draw = torch.Generator().manual_seed(0)
    right = (torch.rand(252, generator=draw) < 0.7).double()
    return right, torch.arange(252) % 10, 200, 0


def _each_once(values, groups, draws, seed):
    mean = float(np.mean(np.asarray(values)))
    return mean, mean


def _by_rows(values, groups, draws, seed):
    return _percentiles(_means(values, np.arange(len(values)), draws, seed))


def _unweighted(values, groups, draws, seed):
    means = [part.mean() for part in _in_groups(values, groups)]
    return _percentiles(_means(means, np.arange(len(means)), draws, seed))


def _of_single_values(values, groups, draws, seed):
    return _percentiles(np.asarray(values, dtype=float))


def _of_drawn_values(values, groups, draws, seed):
    parts, rng = _in_groups(values, groups), np.random.default_rng(seed)
    chosen = rng.integers(len(parts), size=draws * len(parts))
    return _percentiles(np.concatenate([parts[i] for i in chosen]))


def _of_group_means(values, groups, draws, seed):
    return _percentiles([part.mean() for part in _in_groups(values, groups)])


def _unseeded(values, groups, draws, seed):
    return _percentiles(_means(values, groups, draws, None))


def _always_seed_0(values, groups, draws, seed):
    return _percentiles(_means(values, groups, draws, 0))


def _too_many(values, groups, draws, seed):
    return _percentiles(_means(values, groups, draws, seed, many=len(values)))


def _one_group(values, groups, draws, seed):
    return _percentiles(_means(values, groups, draws, seed, many=1))


def _as_a_set(values, groups, draws, seed):
    parts, rng = _in_groups(values, groups), np.random.default_rng(seed)
    drawn = [set(one) for one in rng.integers(len(parts), size=(draws, len(parts))).tolist()]
    return _percentiles([np.concatenate([parts[i] for i in one]).mean() for one in drawn])


def _rows_inside(values, groups, draws, seed):
    parts, rng = _in_groups(values, groups), np.random.default_rng(seed)
    found = []
    for _ in range(min(draws, 1_000)):
        chosen = [parts[i] for i in rng.integers(len(parts), size=len(parts))]
        rows = [part[rng.integers(len(part), size=len(part))] for part in chosen]
        found.append(np.concatenate(rows).mean())
    return _percentiles(found)


def _normal(values, groups, draws, seed):
    means = _means(values, groups, draws, seed)
    return means.mean() - 1.96 * means.std(), means.mean() + 1.96 * means.std()


def _ninety(values, groups, draws, seed):
    return _percentiles(_means(values, groups, draws, seed), 5, 95)


def _swapped(values, groups, draws, seed):
    return _percentiles(_means(values, groups, draws, seed))[::-1]


def _sums(values, groups, draws, seed):
    low, high = _percentiles(_means(values, groups, draws, seed))
    return low * len(values), high * len(values)


CLUSTER_BOOTSTRAP = Exercise(
    key="09.2",
    reference=cluster_bootstrap,
    cases=_bootstrap_cases,
    use=_intervals,
    compare=_close,
    batch=_bootstrap_batch,
    returns="low and high, then what the seed does",
    misconceptions=(
        *ideas(
            "rows are drawn, one by one. The rows of a group succeed and fail together: draw"
            " groups, and take all rows of each.",
            _by_rows,
        ),
        *ideas(
            "every draw gives the same mean. Either each group is drawn exactly once (draw with"
            " replacement: one may come twice, another not at all), or a generator with the same"
            " seed is made anew for every draw.",
            _each_once,
        ),
        *ideas(
            "this is the mean of the groups' means. A large group has more samples: put all rows of"
            " the drawn groups together, and take one mean.",
            _unweighted,
        ),
        *ideas(
            "these are percentiles of single values or of groups. The interval is about the mean:"
            " take the mean of each draw, then the percentiles of these means.",
            _of_single_values,
            _of_drawn_values,
            _of_group_means,
        ),
        *ideas(
            "the same seed gives two different intervals: nobody can repeat it. Seed a generator"
            " with `seed` before the loop.",
            _unseeded,
        ),
        *ideas(
            "whatever the seed, the draws are the same: use the argument `seed`.", _always_seed_0
        ),
        *ideas(
            "draw as many groups as there are groups. With as many as there are rows the means vary"
            " too little, with one at a time too much.",
            _too_many,
            _one_group,
        ),
        *ideas(
            "a group that is drawn twice counts once here: `isin` asks only whether it is among the"
            " drawn. Put its rows in each time it comes.",
            _as_a_set,
        ),
        *ideas(
            "inside each drawn group the rows are drawn again. Take the group whole, each row"
            " once.",
            _rows_inside,
        ),
        *ideas(
            "mean plus and minus 1.96 spreads takes the draws for normal. Take their percentiles,"
            " 2.5 and 97.5.",
            _normal,
        ),
        *ideas(
            "5 and 95 per cent leave 90 between them. For 95, cut 2.5 off at each end.", _ninety
        ),
        *ideas("low and high are swapped, or sums stand in the place of means.", _swapped, _sums),
    ),
)


# 09.3 -----------------------------------------------------------------------------------------

MAY, NOT_ALONE = "may be shuffled", "not by shuffling alone"


def verdict(accuracy, cross_entropy, classes, margin):
    """The floor, and what the two numbers say of it."""
    wrong = (1 - accuracy) / (classes - 1)  # the probability of each wrong class
    probs = torch.tensor([accuracy] + [wrong] * (classes - 1), dtype=torch.float64)
    return _said(torch.special.entr(probs).sum().item(), cross_entropy, margin)


def _said(floor, cross_entropy, margin):
    return floor, (NOT_ALONE if cross_entropy < floor - margin else MAY)


def _verdict_cases(seed=3):
    draw = random.Random(seed)
    yield 0.5, 1.7, 10, 0.1
    yield 0.5, 1.3, 10, 0.1
    yield 0.5, 0.7, 2, 0.03
    yield 0.9, 2.3, 10, 0.1  # far above: over-confident, and it may be shuffled
    yield 0.7, 1.15, 5, 0.1  # a little below, inside the margin
    for classes in (3, 4, 10, 100):
        accuracy = round(draw.uniform(0.3, 0.95), 3)
        floor, _ = verdict(accuracy, 0.0, classes, 0.1)
        for offset in (-0.37, -0.13, -0.07, 0.06, 0.41):
            yield accuracy, round(max(floor + offset, 0.01), 3), classes, 0.1


def _entropy(q, classes, log=math.log):
    return -(q * log(q) + (1 - q) * log((1 - q) / (classes - 1)))


def _one_wrong_class(q, loss, classes, margin):
    wrong = (1 - q) / (classes - 1)
    return _said(-q * math.log(q) - wrong * math.log(wrong), loss, margin)


def _no_margin(q, loss, classes, margin):
    return _said(_entropy(q, classes), loss, 0.0)


def _margin_above(q, loss, classes, margin):
    return _said(_entropy(q, classes), loss, -margin)


def _band_only(q, loss, classes, margin):
    floor = _entropy(q, classes)
    return floor, (MAY if abs(loss - floor) <= margin else NOT_ALONE)


def _turned(q, loss, classes, margin):
    floor = _entropy(q, classes)
    return floor, (MAY if loss < floor - margin else NOT_ALONE)


def _floor_less_margin(q, loss, classes, margin):
    return _entropy(q, classes) - margin, _said(_entropy(q, classes), loss, margin)[1]


VERDICT = Exercise(
    key="09.3",
    reference=verdict,
    cases=_verdict_cases,
    returns="the floor and the words",
    misconceptions=(
        *ideas(
            "the wrong classes share 1 - q equally: each of the classes - 1 gets"
            " (1 - q) / (classes - 1). Here it is divided by all classes.",
            lambda q, loss, c, margin: _said(
                -(q * math.log(q) + (1 - q) * math.log((1 - q) / c)), loss, margin
            ),
        ),
        *ideas(
            "the wrong classes are counted as one. There are classes - 1 of them, each with"
            " (1 - q) / (classes - 1): ln of that, times 1 - q for all of them together.",
            lambda q, loss, c, margin: _said(_entropy(q, 2), loss, margin),
            _one_wrong_class,
        ),
        *ideas(
            "only the term of the right class is there. The labels that are wrong cost too: add"
            " the second term.",
            lambda q, loss, c, margin: _said(-q * math.log(q), loss, margin),
            lambda q, loss, c, margin: _said(-math.log(q), loss, margin),
        ),
        *ideas(
            "the minus is missing: a floor is above 0.",
            lambda q, loss, c, margin: _said(-_entropy(q, c), loss, margin),
        ),
        *ideas(
            "this is the logarithm to base 2, bits. Cross-entropy is in nats: use math.log.",
            lambda q, loss, c, margin: _said(_entropy(q, c, math.log2), loss, margin),
        ),
        *ideas(
            "this is ln(classes), the loss of guessing. The floor depends on the accuracy.",
            lambda q, loss, c, margin: _said(math.log(c), loss, margin),
        ),
        *ideas(
            "accuracy and error are swapped: q is the share that is right.",
            lambda q, loss, c, margin: _said(_entropy(1 - q, c), loss, margin),
        ),
        *ideas(
            "ten classes are built in: use the argument `classes`.",
            lambda q, loss, c, margin: _said(_entropy(q, 10), loss, margin),
        ),
        *ideas(
            "the margin is not used. A little below the floor is still at the floor: compare with"
            " floor - margin.",
            _no_margin,
        ),
        *ideas(
            "the margin lies on the wrong side, or a loss far above the floor is acquitted. Only"
            " what is below floor - margin is not by shuffling alone.",
            _margin_above,
            _band_only,
        ),
        *ideas(
            "the two verdicts are swapped: *below* the floor is not by shuffling alone.", _turned
        ),
        *ideas("return the floor itself; the margin is for the comparison.", _floor_less_margin),
    ),
)

EXERCISES = [SEED_INTERVAL, CLUSTER_BOOTSTRAP, VERDICT]
