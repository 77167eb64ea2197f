"""The call itself: whatever a layer does, the table stands; what a contract is; lazy names."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from contract_results import broken, seen
from gallery import GALLERY, AverageFusion
from torch import nn

import course_utils.contracts as package
from course_utils.contracts import (
    CONTRACTS,
    DIMS,
    Case,
    check_contracts,
    contract,
    expect,
    in_words,
    show_contracts,
)
from course_utils.contracts.registry import some

ALL = list(range(1, 12))
ROOT = Path(__file__).parents[2]

# ---- the registry


def test_the_contracts_stand_in_order_of_their_numbers():
    assert list(CONTRACTS) == ALL
    assert [c.number for c in CONTRACTS.values()] == ALL
    needs = {number: c.needs for number, c in CONTRACTS.items() if c.needs}
    assert needs == {3: "mask", 4: "mask", 5: "mask", 9: "formula"}
    assert len({c.title for c in CONTRACTS.values()}) == 11


def test_of_many_names_the_first_three_are_told_and_how_many_more():
    assert some(["a", "b", "c"]) == "a, b, c"
    assert some(["a", "b", "c", "d"]) == "a, b, c and 1 more"


class Dropped(AverageFusion):
    def forward(self, features, *, mask=None):
        return nn.functional.dropout(super().forward(features, mask=mask), 0.5, self.training)


def test_a_sound_layer_with_dropout_keeps_all_contracts():
    assert broken(Dropped) == ()


@pytest.mark.parametrize("number", ALL)
def test_each_contract_says_which_fault_it_catches_and_what_accuracy_hides(number):
    text = CONTRACTS[number].look.__doc__
    assert "The fault: " in text
    words = ("accuracy", "scored", "result is right")
    assert any(word in text.lower() for word in words)


@pytest.fixture
def own_contracts():
    before = dict(CONTRACTS)
    yield
    CONTRACTS.clear()
    CONTRACTS.update(before)


def test_a_contract_of_ones_own_joins_the_others(own_contracts):
    @contract(13, "a wide head")
    def wide_head(case):
        expect(case.build().head.out_features > 8, "the head is narrow")
        return "the head is wide"

    @contract(12, "masked twice", needs="mask")
    def masked_twice(case):
        return "looked"

    assert list(CONTRACTS) == [*ALL, 12, 13]
    assert callable(wide_head)  # still the function
    assert seen(AverageFusion, 13) == "the head is narrow"
    assert seen(lambda: AverageFusion(DIMS, 9), 13) == "the head is wide"
    assert seen(GALLERY["no mask at all"].faulty, 12) == "forward takes no mask"
    assert seen(AverageFusion, 12) == "looked"

    @contract(12, "masked twice")
    def again(case):
        return "looked again"

    assert seen(AverageFusion, 12) == "looked again"


def test_a_number_that_is_taken_and_a_need_that_is_unknown_are_refused(own_contracts):
    with pytest.raises(ValueError, match="number: 9 is taken by 'counted'"):
        contract(9, "weighed")
    with pytest.raises(ValueError, match="needs: expected one of .*'mask', 'formula'.*'masks'"):
        contract(12, "more", needs="masks")
    assert list(CONTRACTS) == ALL


# ---- what raises


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: AverageFusion({"text": 0 / 1}, "C"), "raises TypeError"),
        (lambda: 1 / 0, "raises ZeroDivisionError: division by zero"),
        (lambda: None, "raises TypeError: make: expected to get an nn.Module, got NoneType"),
    ],
    ids=["torch raises", "python raises", "no module"],
)
def test_a_maker_that_raises_breaks_all_in_words(make, words):
    results = check_contracts(make)
    assert [r.number for r in results] == ALL
    for r in results:
        assert r.kept is False and r.seen.startswith(words) and isinstance(r.error, Exception)


class Raises(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error, self.input_dims = error, {"text": 2}

    def forward(self, features, *, mask=None):
        raise self.error


def test_a_forward_that_raises_breaks_all_but_the_count():
    results = check_contracts(lambda: Raises(ValueError("no head\nand more")))
    kept = {r.number: r.kept for r in results}
    assert kept == dict.fromkeys(ALL, False) | {9: None}
    for r in results:
        assert r.kept is None or r.seen.endswith("raises ValueError: no head")
        assert r.kept is None or isinstance(r.error, ValueError)


def test_an_error_is_told_by_its_first_line_and_torchs_by_its_kind():
    assert seen(lambda: Raises(RuntimeError("mat1 and mat2")), 1) == "raises RuntimeError"
    assert seen(lambda: Raises(ValueError()), 1) == "raises ValueError: "
    assert in_words(KeyError("text")) == "raises KeyError: 'text'"


def test_a_forward_that_gives_no_tensor_is_told():
    class Pair(AverageFusion):
        def forward(self, features, *, mask=None):
            return super().forward(features, mask=mask), None

    assert seen(Pair, 1) == "raises TypeError: forward: expected one tensor (B, C), got tuple"


# ---- the arguments


@pytest.mark.parametrize(
    "make, got", [(AverageFusion(DIMS, 7), "AverageFusion"), ("AverageFusion", "str")]
)
def test_what_cannot_be_built_from_is_refused(make, got):
    words = f"make: expected a class or a function that builds the layer, got {got}"
    with pytest.raises(TypeError, match=words):
        check_contracts(make)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"numbers": [3, 12]}, r"numbers: expected some of \[1, .*11\], got 12"),
        ({"tokens": {"sound": 3}}, r"tokens: expected modalities out of .*, got \['sound'\]"),
        ({"dtype": torch.float16}, r"dtype: expected one of .*, got torch.float16"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        check_contracts(AverageFusion, **arguments)


def test_numbers_choose_and_come_in_order():
    results = check_contracts(AverageFusion, numbers=(10, 2, 2))
    assert [r.number for r in results] == [2, 10]
    assert check_contracts(AverageFusion, numbers=()) == []


def test_the_sample_takes_the_layers_own_modalities():
    assert broken(lambda: AverageFusion({"left": 2, "right": 3}, 4)) == ()
    assert broken(AverageFusion, dims={"left": 2, "right": 3}) == ()


def test_float32_is_held_to_what_float32_can_do():
    assert broken(AverageFusion, dtype=torch.float32) == ()
    assert broken(GALLERY["times the mask"].faulty, dtype=torch.float32) == (4,)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("M", [1, 2, 3])
def test_the_masks_are_what_the_case_says(M, seed):
    dims = dict(zip("abc"[:M], (2, 3, 4)))
    case = Case(lambda: AverageFusion(dims, 2), tokens={"a": 3}, seed=seed)
    assert {name: tuple(x.shape) for name, x in case.features.items()} == {
        name: (M + 3, 3, dim) if name == "a" else (M + 3, dim) for name, dim in dims.items()
    }
    for masks in (case.full, case.partial, case.empty):
        whole, by_token = masks
        assert list(whole) == list(by_token) == list(dims)
        assert {kept.shape for kept in whole.values()} == {(M + 3,)}
        assert by_token["a"].shape == (M + 3, 3)
        assert torch.equal(by_token["a"].any(1), whole["a"])
        for name in list(dims)[1:]:
            assert torch.equal(by_token[name], whole[name])
    for mask in case.full:
        assert all(kept.all() for kept in mask.values())
    present = torch.stack(list(case.partial[0].values()), 1)  # (B, M)
    assert present.any(1).all() and (M == 1 or not present.all(0).any())
    without = torch.stack(list(case.empty[0].values()), 1)
    assert torch.equal(without[:-1], present[:-1]) and not without[-1].any()


def test_the_callers_settings_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    check_contracts(AverageFusion)
    check_contracts(lambda: 1 / 0)
    assert torch.equal(torch.rand(1), expected) and torch.get_default_dtype() == torch.float32


# ---- the table


def test_the_table_is_the_same_every_time(capsys):
    tables = []
    for _ in range(2):
        show_contracts(GALLERY["a layer never called"].faulty)
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1]
    assert (
        tables[0]
        == """\
 1  every parameter learns  BROKEN   2 of 10 parameter tensors got no gradient: mix.weight, mix.bias
 2  a batch of one          kept     one row gives shape (1, 7)
 3  full mask is no mask    kept     an all-present mask changes no bit
 4  masked is unseen        kept     masked places and other rows change nothing
 5  nothing present         kept     result and gradients are finite when everything is missing
 6  saved and loaded        kept     a freshly built layer gives equal results once it is loaded
 7  moved and trainable     kept     all 10 parameter tensors stay trainable parameters
 8  inputs stay as given    kept     features and mask are as they were
 9  counted                 kept     279 parameters, as the formula says
10  it goes by name         kept     the order of names changes nothing
11  it travels              kept     goes through float16, bfloat16; not tried: export, compile
broken: 1
"""
    )


def test_long_lines_are_broken_below_what_was_seen(capsys):
    show_contracts(GALLERY["factors in a plain list"].faulty, numbers=[7, 11])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[1].startswith(" " * 37) and lines[1][37] != " "
    assert lines[0][37:].startswith("not registered") and lines[-1] == "broken: 7, 11"


# ---- lazy names


def test_every_name_of_the_package_comes_from_its_module():
    for name, module in package.HOMES.items():
        found = getattr(package, name)
        assert found is getattr(sys.modules[f"course_utils.contracts.{module}"], name)
        assert name in dir(package)
    with pytest.raises(AttributeError, match="has no attribute 'Contracts'"):
        package.Contracts  # noqa: B018


def test_a_name_imports_its_own_module_and_not_the_contracts():
    code = (
        "import sys, course_utils.contracts as package\n"
        "print('torch' in sys.modules)\n"
        "package.contract, package.DIMS\n"
        "print(sorted(m for m in sys.modules if m.startswith('course_utils.contracts.')))\n"
        "print(list(package.CONTRACTS))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "False",
        "['course_utils.contracts.case', 'course_utils.contracts.registry']",
        str(ALL),
    ]
