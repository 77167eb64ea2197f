"""How far to trust a mean over samples that belong together: whole groups drawn again."""

import warnings

import numpy as np

from course_utils.checks import check_whole
from course_utils.metrics.intervals import finite_numbers

# How often the "95 %" interval of `cluster_bootstrap` covers the mean, by the number of groups
COVERAGE = {2: 0.50, 3: 0.74, 4: 0.80, 5: 0.83, 6: 0.86, 7: 0.87, 8: 0.88, 9: 0.89}
# below, the interval misses more than twice as often as it says
FEW_GROUPS = max(COVERAGE) + 1


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
    values, groups = finite_numbers("values", values), np.asarray(groups)
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
