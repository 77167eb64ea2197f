"""Whatever an answer returns is compared, and said in words."""

import numpy as np
import pytest
import torch
from by_hand import tell

from course_utils.exercises.compare import Array, copied, difference, freeze, show
from course_utils.rooms import load

seed_interval = load("09", "exercises").seed_interval


def endless_list():
    values = []
    values.append(values)
    return values


async def later():
    return 1


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: (i for i in range(2)), "returned a generator, expected a tuple of 2 numbers"),
        (lambda: later(), "returned a coroutine, expected"),
        (lambda: NotImplemented, "returned NotImplemented, expected"),
        (lambda: "0.92, 0.25", "returned a string, expected"),
        (lambda: {0.92, 0.25}, "returned a set, expected"),
        (lambda: {"mean": 0.92}, "returned a dict with the key mean, expected"),
        (lambda: {}, "returned an empty dict, expected"),
        (lambda: lambda: 1, "returned a function, expected"),
        (lambda: tuple, "returned a class, expected"),
        (lambda: object(), "returned an object, expected"),
        (lambda: True, "returned True, expected"),
        (lambda: (0.92,), "returned a tuple of 1 number, expected a tuple of 2 numbers"),
        (lambda: (0.92, None), "entry [1] came as None, expected one number"),
        (lambda: (0.92, "0.25"), "entry [1] came as a string, expected one number"),
        (lambda: (0.92, float("nan")), "entry [1] is nan, expected 0.2541"),
        (lambda: (0.92, 10**5000), "entry [1] is inf, expected 0.2541"),
        (lambda: (0.92, 0.25 + 1j), "entry [1] came as a complex, expected one number"),
        (
            lambda: torch.zeros(2, 2),
            "returned a tensor of shape (2, 2), expected a tuple of 2 numbers",
        ),
        (lambda: np.array(["a"]), "returned a NumPy array of shape (1,), expected"),
        (
            lambda: np.array([object(), 1], dtype=object),
            "entry [0] came as an object, expected one number",
        ),
        (endless_list, "calls itself without an end"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_whatever_is_returned_is_said_in_words(make, words):
    text = tell(lambda values, t: make())[1]
    assert words in text and "0x" not in text, text


def test_numbers_of_every_library_are_numbers():
    mean, half = seed_interval([0.9, 0.94], 12.706)
    for kind in (
        float,
        np.float32,
        np.float64,
        np.array,
        torch.tensor,
        lambda x: torch.tensor(x, requires_grad=True),
    ):
        assert difference(freeze((kind(mean), kind(half))), freeze((mean, half))) is None
    assert (
        difference(freeze(np.int64(3)), 3) is None
        and difference(freeze(np.bool_(True)), True) is None
    )
    assert "expected True" in difference(1, True)


def test_difference_of_tensors():
    x = torch.arange(6.0).reshape(2, 3)
    same = [x.double(), x.to(torch.bfloat16), x.long(), x.clone().requires_grad_() * 1]
    assert [difference(freeze(y), freeze(x)) for y in same] == [None] * 4
    assert (
        difference(freeze(x + torch.tensor([0, 0, 1e-3])), freeze(x))
        == "entry [0, 2] is 2.001, expected 2.0"
    )
    assert difference(freeze(x[0]), freeze(x)) == "returned shape (3,), expected (2, 3)"
    assert (
        difference(freeze(x.numpy()), freeze(x))
        == "returned a NumPy array of shape (2, 3), expected a tensor of shape (2, 3)"
    )
    assert (
        difference(freeze(x > 2), freeze(x)) == "returned a tensor of bool values, expected float"
    )
    assert difference(freeze(torch.zeros(0, 3)), freeze(torch.zeros(0, 3))) is None
    nan = torch.tensor([float("nan"), float("inf"), 1.0])
    assert difference(freeze(nan), freeze(nan)) is None
    assert difference(freeze(nan), freeze(-nan)) == "entry [1] is inf, expected -inf"


def test_values_are_shown_short_and_apart():
    assert (
        show(freeze(torch.tensor([[1.0, -0.0], [1 / 3, 2e-9]])))
        == "tensor([[1.0, 0.0], [0.3333, 2e-09]])"
    )
    assert show(freeze(torch.zeros(40, 3))) == "a tensor of shape (40, 3)"
    assert show(freeze(np.zeros((2, 0)))) == "array([[], []])"
    assert show([0.1] * 20) == "a list of 20 numbers"
    assert show((1,)) == "(1,)" and show({"a": [None, True]}) == "{'a': [None, True]}"
    assert len(show("x" * 1000)) < 70
    assert (
        difference(0.12344567, 0.123444, rtol=1e-6) == "the result is 0.123446, expected 0.123444"
    )
    assert freeze(torch.tensor(2)) == Array("tensor", "int", (), [2])


def test_a_copy_is_equal_and_shares_nothing():
    """What an answer does to its copy of a case must not reach the case."""
    table = {"a": [torch.ones(2, 3).T], "b": (np.ones(2), [1.0]), "c": torch.nn.Linear(2, 1)}
    before = repr(freeze(table))
    other = copied(table)
    assert repr(freeze(other)) == before
    assert other["a"][0].stride() == table["a"][0].stride()
    other["a"][0].zero_()
    other["b"][0][:] = 0.0
    other["b"][1].clear()
    torch.nn.init.zeros_(other["c"].bias)
    assert repr(freeze(table)) == before and table["c"].bias.item() != 0.0
    leaf = copied(torch.ones(2, requires_grad=True))
    assert leaf.requires_grad and leaf.is_leaf and not copied(torch.ones(2)).requires_grad
