"""How far to trust a mean: intervals over seeds, paired differences, whole groups drawn again."""

import warnings

import numpy as np

from course_utils.checks import check_whole

# How often the "95 %" interval of `cluster_bootstrap` covers the mean, by the number of groups
COVERAGE = {2: 0.50, 3: 0.74, 4: 0.80, 5: 0.83, 6: 0.86, 7: 0.87, 8: 0.88, 9: 0.89}
# below, the interval misses more than twice as often as it says
FEW_GROUPS = max(COVERAGE) + 1


def mean_interval(values) -> tuple[float, float]:
    """The mean of n >= 2 values, one a seed, and the half-width of its 95 % interval, t * s /
    sqrt(n).

    Student's t stands in for the normal quantile, because s itself is estimated from so few
    values. The interval covers what the seeds vary (here: noise, pairing, initial weights), not
    new writers or voices.
    Raises TypeError for what are no numbers, ValueError for fewer than two and for NaN or infinity.
    """
    return _interval("values", _finite("values", values))


def _interval(argument: str, values: np.ndarray) -> tuple[float, float]:
    from scipy.special import fdtri

    n = len(values) if values.ndim == 1 else 0
    if n < 2:
        raise ValueError(
            f"{argument}: expected one number a seed, for at least 2 seeds, got shape"
            f" {values.shape}"
        )
    # the square of Student's t has the F distribution; scipy.stats.t itself is 2e-11 off before
    # SciPy 1.17
    t = np.sqrt(fdtri(1, n - 1, 0.95))
    half_width = t * values.std(ddof=1) / np.sqrt(n)
    return float(values.mean()), float(half_width)


def paired(shares, others) -> tuple[float, float]:
    """What one list of shares of 1 has more than another, in points: the mean of the differences
    seed by seed, and half the width of its 95 % interval.

    Both lists hold one number a seed, of the same seeds in the same order. Raises ValueError
    where their lengths differ, and what `mean_interval` raises.
    """
    return _paired("others", shares, others)


def _paired(argument: str, shares, others) -> tuple[float, float]:
    shares, others = _finite("shares", shares), _finite(argument, others)
    if shares.shape != others.shape:
        raise ValueError(
            f"{argument}: expected as many seeds as shares, {shares.shape}, got {others.shape}"
        )
    return _interval("shares", 100 * (shares - others))


def percent(shares, minus=None) -> str:
    """Shares of 1, one a seed, in per cent as a table has them: their mean, and half the width of
    its 95 % interval. With `minus`, other shares of the same seeds, how many points more, with its
    sign. Shares are from 0 to 1, which is not checked.

    >>> percent([0.84, 0.85, 0.86])
    '85.0 ± 2.5'
    >>> percent([0.84, 0.85, 0.86], minus=[0.80, 0.81, 0.83])
    '+3.7 ± 1.4'

    What rounds to zero is +0.0. Raises what `paired` raises.
    """
    if minus is not None:
        return "{:+z.1f} ± {:.1f}".format(*_paired("minus", shares, minus))
    return "{:.1f} ± {:.1f}".format(*_interval("shares", 100 * _finite("shares", shares)))


def _finite(argument: str, values) -> np.ndarray:
    try:
        values = np.asarray(values, dtype=float)
    except (TypeError, ValueError, RuntimeError):  # the last from a tensor that has a gradient
        raise TypeError(f"{argument}: expected numbers, got {values!r:.60}") from None
    if not np.isfinite(values).all():
        raise ValueError(f"{argument}: expected finite numbers, got NaN, None or infinity")
    return values


def cluster_bootstrap(values, groups, draws: int = 2_000, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval (low, high) of the mean of `values` (N,) when whole groups are drawn
    again with replacement.

    `groups` (N,) says which samples belong together (one voice, one writer): such samples
    succeed and fail together, so drawing them one by one would make the interval too narrow.

    It trusts that the groups at hand show how groups differ, and a few do not: of 4,000 intervals
    for normal effects of equally large groups, so many covered the mean:

      groups    2    3    4    5    6    7    8    9    10   20   40   100
      covered  .50  .74  .80  .83  .86  .87  .88  .89  .90  .93  .94  .95

    Warns with fewer than 10 groups. Raises ValueError for shapes that differ, values that are not
    finite, fewer than two groups, and `draws` or a `seed` that are no whole numbers.
    """
    check_whole(1, draws=draws)
    check_whole(0, seed=seed)
    values, groups = _finite("values", values), np.asarray(groups)
    if values.shape != groups.shape or values.ndim != 1 or not len(values):
        raise ValueError(
            f"expected values (N,) and groups (N,), N at least 1, got {values.shape} and"
            f" {groups.shape}"
        )
    if any(group is None or group != group for group in groups.tolist()):  # NaN is not itself
        raise ValueError("groups: expected a name for each sample, got None or NaN")
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"groups: expected at least two different ones, got only {names.tolist()}")
    if len(names) < FEW_GROUPS:
        warnings.warn(
            f"groups: only {len(names)} different ones; with so few, about"
            f' {100 * COVERAGE[len(names)]:.0f} % of such "95 %" intervals cover the mean',
            stacklevel=2,
        )
    sums, sizes = np.bincount(member, values), np.bincount(member)
    drawn = np.random.default_rng(seed).integers(len(names), size=(draws, len(names)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
