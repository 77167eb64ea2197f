"""Every strategy of `course_utils.fusion` keeps every contract: an item for each of both."""

import pytest

from course_utils.contracts import CONTRACTS, LEGS, check_contracts
from course_utils.fusion import STRATEGIES

TWO = {"text": 6, "image": 5}
THREE = {"text": 6, "image": 5, "audio": 4}
SAMPLES = {
    "two vectors": (TWO, {}),
    "three vectors": (THREE, {}),
    "two of tokens": (TWO, {"text": 3, "image": 4}),
    "three mixed": (THREE, {"text": 5, "audio": 1}),
}


def lengths(name, dims, tokens):
    """A strategy that refuses vectors gets sequences of two tokens in their place."""
    if STRATEGIES[name].accepts == "tokens":
        return dict.fromkeys(dims, 2) | tokens
    return tokens


def broken(name, sample, **options):
    """The broken contracts and what they saw."""
    dims, tokens = SAMPLES[sample]
    results = check_contracts(
        lambda: STRATEGIES[name](dims, 7), tokens=lengths(name, dims, tokens), **options
    )
    return [(r.number, r.seen) for r in results if not r.kept]


@pytest.mark.parametrize("number", CONTRACTS)
@pytest.mark.parametrize("name", STRATEGIES)
def test_strategy_keeps_contract(name, number):
    found = {sample: broken(name, sample, numbers=[number]) for sample in SAMPLES}
    assert found == dict.fromkeys(SAMPLES, [])


# One of them always, because an edit of what all share would break it too.
TRAVELLERS = [
    name if name == "concat" else pytest.param(name, marks=pytest.mark.slow) for name in STRATEGIES
]


@pytest.mark.parametrize("name", TRAVELLERS)
def test_strategy_travels(name):
    assert broken(name, "three mixed", numbers=[11], travel=True) == []


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategy_refuses_nothing_without_a_reason(name):
    for leg, why in getattr(STRATEGIES[name], "refuses", {}).items():
        assert leg in LEGS and len(why.split()) > 3
