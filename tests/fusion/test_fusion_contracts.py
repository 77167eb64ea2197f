"""The contracts, asked of every strategy with its options and of strategies as a contributor writes
them.
"""

import pytest
from fusion_cases import (
    THREE,
    TOKENS_ONLY,
    TWO,
    VARIANTS,
    MaxOverTokens,
    OnlyTokens,
    SumOfProjections,
    make,
)

from course_utils.contracts import check_contracts
from course_utils.fusion import STRATEGIES, describe
from course_utils.runtime import ROOT


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in STRATEGIES])
@pytest.mark.parametrize(
    "dims, tokens", [(TWO, None), (THREE, {"text": 5, "audio": 1})], ids=["2 vectors", "3 mixed"]
)
def test_every_variant_keeps_all_contracts(name, dims, tokens):
    tokens = dict.fromkeys(dims, 2) | (tokens or {}) if name in TOKENS_ONLY else tokens
    for result in check_contracts(lambda: make(name, dims), tokens=tokens):
        # a reader's own encoder has no formula
        unknown = name == "early encoder" and result.number == 9
        assert result.kept is (None if unknown else True), result


@pytest.mark.parametrize("cls", [SumOfProjections, MaxOverTokens, OnlyTokens])
def test_a_new_strategy_of_a_few_lines_keeps_them_too(cls):
    for dims, tokens in ((TWO, None), (THREE, {"text": 5, "image": 2, "audio": 1})):
        assert all(r.kept for r in check_contracts(cls, dims=dims, tokens=tokens))


def test_the_strategy_of_the_contributors_page_keeps_the_contracts():
    page = (ROOT / "course_utils" / "README.md").read_text(encoding="utf-8")
    names = {}
    exec(page.split("```python\n", 1)[1].split("```", 1)[0], names)
    strategy = names["HadamardFusion"]
    for dims in (TWO, THREE):
        results = check_contracts(strategy, dims=dims)
        assert all(result.kept for result in results), [
            result.seen for result in results if not result.kept
        ]
        fusion = strategy(dims, 7)
        assert describe(fusion).parameters == sum(p.numel() for p in fusion.parameters())
        assert describe(fusion).multiply_adds == 32 * (sum(dims.values()) + 7)
    assert len(names["HadamardFusion"].__doc__.splitlines()) > 4
