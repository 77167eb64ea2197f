"""How scores of subsets are divided among the modalities."""

import math
from itertools import combinations
from numbers import Real

from course_utils.attribution.outputs import subsets


def shapley(scores: dict[frozenset, float]) -> dict[str, float]:
    """The Shapley value of each modality, from the `scores` of all 2^M subsets: {name: value}, in
    units of the score.

    It is what the modality adds when it comes, v(S and it) - v(S), in the mean over all orders in
    which modalities can come. Together they are v(all) - v(none).

    >>> xor = {(): 0.5, ("text",): 0.5, ("image",): 0.5, ("text", "image"): 1.0}
    >>> shapley({frozenset(names): score for names, score in xor.items()})
    {'text': 0.25, 'image': 0.25}

    Raises ValueError for what are not all subsets, each with a finite number.
    Source: Shapley 1953, A value for n-person games.
    """
    names = _names(scores)
    values = {}
    for name in names:
        value = 0.0
        for before in subsets(other for other in names if other != name):
            orders = len(names) * math.comb(len(names) - 1, len(before))
            value += (scores[before | {name}] - scores[before]) / orders
        values[name] = value
    return values


def interactions(scores: dict[frozenset, float]) -> dict[tuple[str, str], float]:
    """The Shapley interaction index of each pair of modalities, from the `scores` of all 2^M
    subsets: {(name, other): index}, in units of the score.

    It is v(S and both) - v(S and one) - v(S and other) + v(S), averaged over the sets S of others
    as the Shapley value is: above 0 where each needs the other (xor of two bits: .5), below where
    one will do (two copies of a bit: -.5), 0 in an additive game.

    Raises ValueError as `shapley` does.
    Source: Grabisch and Roubens 1999, An axiomatic approach to the concept of interaction among
    players in cooperative games.
    """
    names = _names(scores)
    found = {}
    for name, other in combinations(names, 2):
        index = 0.0
        for before in subsets(third for third in names if third not in (name, other)):
            orders = (len(names) - 1) * math.comb(len(names) - 2, len(before))
            gained = scores[before | {name, other}] - scores[before | {name}]
            alone = scores[before | {other}] - scores[before]
            index += (gained - alone) / orders
        found[name, other] = index
    return found


def _names(scores: dict) -> list[str]:
    """The modalities in the order in which their own scores stand."""
    if not isinstance(scores, dict) or not all(isinstance(key, frozenset) for key in scores):
        got = list(scores) if isinstance(scores, dict) else type(scores).__name__
        raise ValueError(f"scores: expected a dict by frozenset of names, got {got!r:.80}")
    names = [name for key in scores if len(key) == 1 for name in key]
    names += sorted({name for key in scores for name in key if name not in names}, key=str)
    for subset in subsets(names):
        if subset not in scores or not names:
            raise ValueError(
                f"scores: expected all {2 ** len(names)} subsets of the modalities {names}, got"
                f" {len(scores)} without {set(subset) or 'the empty one and others'}"
            )
        value = scores[subset]
        if not isinstance(value, Real) or not math.isfinite(value):
            raise ValueError(f"scores[{subset}]: expected a finite number, got {value!r}")
    return names
