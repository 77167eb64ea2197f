"""Information in a finite joint distribution, in bits, and what two sources share of it.

A joint distribution is an array of probabilities with an axis for each variable, its entries
summing to 1: joint[a, b, c] = P(A = a, B = b, C = c). Zeros are allowed, 0 log 0 being 0. Of
samples it is the share of each combination; then every number here is that of the sample, whose
information is larger than the truth where combinations are many and samples few.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize, nnls
from scipy.special import entr, logsumexp, rel_entr

# how far, in bits, the two bounds of `pid` may stand apart
TOLERANCE = 1e-6


class PID(NamedTuple):
    """What two sources tell about a target, in bits: what either tells (redundant), what only one
    tells (unique), what only both together tell (synergistic).
    """

    redundant: float
    unique_first: float
    unique_second: float
    synergistic: float


def entropy(joint: np.ndarray, axes: int | tuple[int, ...] | None = None) -> float:
    """The entropy in bits of the variables on these `axes` of `joint` together; None means all.

    >>> entropy([0.5, 0.25, 0.25])
    1.5

    Raises ValueError for what are no probabilities that sum to 1, and for axes that are not there.
    """
    joint = _probabilities(joint)
    every = range(joint.ndim)
    return _entropy(joint, every if axes is None else _axes("axes", axes, joint))


def mutual_information(
    joint: np.ndarray,
    first: int | tuple[int, ...],
    second: int | tuple[int, ...],
    given: int | tuple[int, ...] = (),
) -> float:
    """I(first; second | given) in bits of the variables on these axes of `joint`, each one axis
    or a tuple of axes.

    It is H(first, given) + H(second, given) - H(first, second, given) - H(given), and 0 where
    round-off would make it less.

    >>> xor = [[[0.25, 0], [0, 0.25]], [[0, 0.25], [0.25, 0]]]
    >>> mutual_information(xor, 0, 2), mutual_information(xor, (0, 1), 2)
    (0.0, 1.0)

    Raises ValueError as `entropy` does, and for an axis that stands in two places.
    """
    joint = _probabilities(joint)
    parts = {"first": first, "second": second, "given": given}
    first, second, given = (_axes(name, axes, joint) for name, axes in parts.items())
    if len(set(first + second + given)) < len(first + second + given):
        raise ValueError(
            f"first, second, given: expected each axis once, got {first}, {second}, {given}"
        )
    return max(
        0.0,
        _entropy(joint, first + given)
        + _entropy(joint, second + given)
        - _entropy(joint, first + second + given)
        - _entropy(joint, given),
    )


def pid(joint: np.ndarray) -> PID:
    """The partial information decomposition of two sources and a target, `joint` (A, B, T) with
    the target on the last axis, in bits.

    The measure is BROJA: among all joints Q with the same two tables P(first, target) and
    P(second, target) take the least I_Q(first, second; target). What P has above it is
    synergistic; what it has above one source alone is unique to the other. So

        redundant + unique_first                            I(first; target)
        redundant + unique_second                           I(second; target)
        redundant + unique_first + unique_second + synergistic   I(first, second; target)

    More than two sources are taken in two groups: parity (2, 2, 2, 2) as (4, 2, 2), by
    `joint.reshape(4, 2, 2)`, tells what two of the bits and the third have in common.

    The convex program is solved from below, by SciPy's SLSQP on its dual, and its answer is checked
    from above by a joint Q: the numbers are within 1e-6 bits, or a RuntimeError says that the
    bounds do not meet. Closed forms are met within 1e-8, and (10, 10, 10) takes a tenth of a
    second.

    >>> and_gate = [[[0.25, 0], [0.25, 0]], [[0.25, 0], [0, 0.25]]]
    >>> [round(bits, 3) for bits in pid(and_gate)]
    [0.311, 0.0, 0.0, 0.5]

    Raises ValueError for what are no probabilities that sum to 1, or have other than three axes.
    Source: Bertschinger et al. 2014, Quantifying unique information (arXiv:1311.2852); the dual
    after Makkeh et al. 2017, Bivariate partial information decomposition: the optimization
    perspective (Entropy 19, 530).
    """
    joint = _probabilities(joint)
    if joint.ndim != 3:
        raise ValueError(f"joint: expected shape (A, B, T), the target last, got {joint.shape}")
    first, second = mutual_information(joint, 0, 2), mutual_information(joint, 1, 2)
    both = max(first, second, mutual_information(joint, (0, 1), 2))
    least = _entropy(joint, (2,)) - _most_conditional_entropy(joint)
    # which it cannot leave but by round-off
    least = min(max(least, first, second), both, first + second)
    parts = first + second - least, least - second, least - first, both - least
    return PID(*map(float, parts))


def _most_conditional_entropy(joint: np.ndarray) -> float:
    """The largest H_Q(target | first, second) in bits over all Q with the tables of `joint`.

    The dual: with a number x for each possible (first, target) and y for each (second, target),
    maximise the sum of P(first, target) x + P(second, target) y such that for each pair of values
    of the sources the sum over the target of exp(x + y) is at most 1. Where it is 1, exp(x + y)
    is Q(target | first, second).
    """
    first, second = joint.sum(1), joint.sum(0)  # (A, T), (B, T)
    possible = (first[:, None] > 0) & (second > 0)  # (A, B, T)
    pairs = possible.any(2)  # (A, B), K of them
    possible = possible[pairs]  # (K, T)
    weights = np.concatenate([first[first > 0], second[second > 0]])  # (V,)
    one_hot = np.eye(len(weights))
    of_first = np.zeros((*first.shape, len(weights)))  # (A, T, V)
    of_first[first > 0] = one_hot[: (first > 0).sum()]
    of_second = np.zeros((*second.shape, len(weights)))  # (B, T, V)
    of_second[second > 0] = one_hot[(first > 0).sum() :]
    uses = (of_first[:, None] + of_second)[pairs]  # (K, T, V), which x and y each sum takes

    def log_sums(values):  # (V,) -> (K,)
        return logsumexp(np.where(possible, uses @ values, -np.inf), axis=1)

    def conditional(values):  # (V,) -> (K, T)
        scores = np.where(possible, uses @ values, -np.inf)
        return np.exp(scores - logsumexp(scores, axis=1, keepdims=True))

    def slope(values):  # (V,) -> (K, V)
        return np.einsum("kt,ktv->kv", conditional(values), uses)

    # in units in which each of the values counts alike, but for the rarest
    units = 1 / np.sqrt(weights.clip(min=1e-6))  # (V,)

    def bounds(start):  # (V,) -> the dual's value, and how far the primal or its tables miss it
        found = minimize(
            lambda scaled: -weights @ (units * scaled),
            start / units,
            jac=lambda scaled: -weights * units,
            method="SLSQP",
            constraints={
                "type": "ineq",
                "fun": lambda scaled: -log_sums(units * scaled),
                "jac": lambda scaled: -slope(units * scaled) * units,
            },
            options={"ftol": 1e-15, "maxiter": 1000},
        )
        values = units * found.x
        dual = weights @ values - max(0.0, log_sums(values).max())  # moved to where it may be
        # the joint Q that goes with it, its two tables as near to those of P as they get
        target = conditional(values)  # (K, T)
        tables = np.einsum("kt,ktv->vk", target, uses)  # (V, K)
        try:
            share, miss = nnls(tables, weights, maxiter=100 * len(target))
        except RuntimeError:  # it gave up
            return dual, math.inf
        q = share[:, None] * target
        primal = rel_entr(q, q.sum(1, keepdims=True)).sum()
        return dual, max(abs(primal - dual), miss)

    # log P(target | first) alone keeps all bounds, log P(target | second) does, and half of both
    # (Cauchy and Schwarz).
    one, other = _log_conditional(first), _log_conditional(second)
    starts = [np.concatenate([t * one, (1 - t) * other]) for t in (0, 0.5, 1)]
    gaps = []
    for start in sorted(starts, key=lambda values: -weights @ values):
        dual, gap = bounds(start)
        if gap <= TOLERANCE * math.log(2):
            return -dual / math.log(2)
        gaps.append(gap / math.log(2))
    raise RuntimeError(
        f"joint: expected bounds within {TOLERANCE} bits of each other, got {min(gaps):.2g} for"
        f" shape {joint.shape}; join values that are rare"
    )


def _log_conditional(table: np.ndarray) -> np.ndarray:
    """log P(column | row) of the entries above 0, in the order in which `table[table > 0]` has
    them.
    """
    rows, columns = np.nonzero(table)
    return np.log(table[rows, columns] / table.sum(1)[rows])


def _entropy(joint: np.ndarray, axes) -> float:
    others = tuple(axis for axis in range(joint.ndim) if axis not in axes)
    return float(entr(joint.sum(axis=others)).sum()) / math.log(2)


def _axes(name: str, axes, joint: np.ndarray) -> tuple[int, ...]:
    """Axes as a tuple, each counted from the front."""
    found = axes if isinstance(axes, tuple) else (axes,)
    good = all(isinstance(axis, int) and -joint.ndim <= axis < joint.ndim for axis in found)
    found = tuple(axis % joint.ndim for axis in found) if good else ()
    if not good or len(set(found)) < len(found):
        raise ValueError(
            f"{name}: expected an axis or a tuple of axes of shape {joint.shape}, each once, got"
            f" {axes!r}"
        )
    return found


def _probabilities(joint) -> np.ndarray:
    """`joint` as float64, its sum exactly 1."""
    try:
        joint = np.asarray(joint, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"joint: expected an array of probabilities, got {type(joint).__name__}"
        ) from error
    if not joint.ndim or not joint.size:
        raise ValueError(f"joint: expected at least one axis and one entry, got {joint.shape}")
    if not np.isfinite(joint).all() or joint.min() < 0:
        raise ValueError(
            f"joint: expected probabilities, got entries from {joint.min():g} to {joint.max():g}"
        )
    total = joint.sum()
    if abs(total - 1) > 1e-6:
        raise ValueError(
            f"joint: expected entries that sum to 1, got a sum of {total:g}; counts are divided by"
            " their sum"
        )
    return joint / total
