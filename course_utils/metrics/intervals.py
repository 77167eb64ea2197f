"""How far to trust a mean over seeds: intervals, paired differences."""

import numpy as np


def mean_interval(values) -> tuple[float, float]:
    """The mean of n >= 2 values, one a seed, and the half-width of its 95 % interval, t * s /
    sqrt(n).

    Student's t stands in for the normal quantile, because s itself is estimated from so few
    values. The interval covers what the seeds vary (here: noise, pairing, initial weights), not
    new writers or voices.
    Raises TypeError for what are no numbers, ValueError for fewer than two and for NaN or infinity.
    """
    return _interval("values", finite_numbers("values", values))


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
    shares, others = finite_numbers("shares", shares), finite_numbers(argument, others)
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
    return "{:.1f} ± {:.1f}".format(*_interval("shares", 100 * finite_numbers("shares", shares)))


def finite_numbers(argument: str, values) -> np.ndarray:
    """The values as floats. Raises TypeError for what are no numbers, ValueError for NaN or
    infinity, with the argument's name.
    """
    try:
        values = np.asarray(values, dtype=float)
    except (TypeError, ValueError, RuntimeError):  # the last from a tensor that has a gradient
        raise TypeError(f"{argument}: expected numbers, got {values!r:.60}") from None
    if not np.isfinite(values).all():
        raise ValueError(f"{argument}: expected finite numbers, got NaN, None or infinity")
    return values
