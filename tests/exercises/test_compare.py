"""Whatever an answer returns is compared, and said in words."""

import numpy as np
import pytest
import torch
from by_hand import tell

from course_utils.exercises.compare import Array, Other, copied, difference, freeze, show
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
    assert show(freeze(torch.eye(4)))[:30] == "tensor([[1.0, 0.0, 0.0, 0.0], "
    assert show(freeze(torch.zeros(40, 3))) == "a tensor of shape (40, 3)"
    assert show(freeze(np.zeros((2, 0)))) == "array([[], []])"
    assert show([0.1] * 30) == "a list of 30 numbers"
    assert show((1,)) == "(1,)" and show({"a": [None, True]}) == "{'a': [None, True]}"
    assert len(show("x" * 1000)) < 70
    assert (
        difference(0.12344567, 0.123444, rtol=1e-6) == "the result is 0.123446, expected 0.123444"
    )
    assert freeze(torch.tensor(2)) == Array("tensor", "int", (), [2], "int64")
    exact = torch.tensor([0.3, 7 / 9], dtype=torch.float64)
    assert freeze(exact) == Array("tensor", "float", (2,), [0.3, 7 / 9], "float64")
    assert freeze(exact.numpy()) == Array("NumPy array", "float", (2,), [0.3, 7 / 9], "float64")


def test_a_copy_is_equal_and_shares_nothing():
    """What an answer does to its copy of a case must not reach the case."""
    table = {
        "a": [torch.full((2, 3), 7 / 9, dtype=torch.float64).T],
        "b": (np.full(2, 1 / 3), [0.3]),
        "c": torch.nn.Linear(2, 1).double(),
    }
    torch.nn.init.constant_(table["c"].bias, 0.3)
    before = repr(freeze(table))
    other = copied(table)
    assert repr(freeze(other)) == before
    assert other["a"][0].stride() == table["a"][0].stride()
    other["a"][0].zero_()
    other["b"][0][:] = 0.0
    other["b"][1].clear()
    torch.nn.init.zeros_(other["c"].bias)
    assert repr(freeze(table)) == before and table["c"].bias.item() == 0.3
    leaf = copied(torch.ones(2, requires_grad=True))
    assert leaf.requires_grad and leaf.is_leaf and not copied(torch.ones(2)).requires_grad


# ---- how close is right ----

WHOLE = [1 / 3, -7 / 9, 0.3]
EPSILON = {"float64": 2.0**-24, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def as_type(values, dtype, word):
    if word == "np":
        return np.array(values, dtype=dtype)
    return torch.tensor(values, dtype=torch.float64).to(getattr(torch, dtype))


@pytest.mark.parametrize(
    "dtype, word", [(dtype, "torch") for dtype in EPSILON] + [(t, "np") for t in list(EPSILON)[:3]]
)
@pytest.mark.parametrize("expected", ["float64", "float32"])
def test_a_result_is_right_as_far_as_its_type_can_hold_it(dtype, expected, word):
    """A step or two of rounding are accepted, also float32's in the middle of float64; a hundred
    times as much is not.
    """
    expected = freeze(as_type(WHOLE, expected, word))
    rounded = [value * (1 + EPSILON[dtype]) for value in WHOLE]
    wrong = [value * (1 + max(100 * EPSILON[dtype], 1e-3)) for value in WHOLE]
    assert difference(freeze(as_type(rounded, dtype, word)), expected) is None
    assert difference(freeze(as_type(wrong, dtype, word)), expected) is not None
    # the same inside a list, and as one number for a number
    assert difference(freeze([as_type(rounded, dtype, word)]), [expected]) is None
    assert difference(freeze(as_type(rounded[0], dtype, word)), WHOLE[0]) is None
    assert difference(freeze(as_type(rounded, dtype, word)), WHOLE) is None


def test_float64_is_compared_to_a_millionth():
    x = torch.tensor(WHOLE, dtype=torch.float64)
    assert difference(freeze(x * (1 + 5e-7)), freeze(x)) is None
    assert difference(freeze(x * (1 + 1e-5)), freeze(x)) is not None
    mixed = 0.9 * torch.tensor([0, 1]) + 0.1 / 3  # whole numbers times 0.9 are float32
    whole = 0.9 * torch.tensor([0.0, 1.0], dtype=torch.float64) + 0.1 / 3
    assert mixed.dtype == torch.float32
    assert difference(freeze(mixed.double()), freeze(whole)) is None


# ---- nothing of the reader's is left ----


class Equal:
    def __eq__(self, other):
        return True

    __hash__ = None


class Text(str):
    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


class Whole(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


class Broken(float):
    def __sub__(self, other):
        return 0.0

    def __eq__(self, other):
        return True


class Tensor(torch.Tensor):
    def tolist(self):
        return [Equal(), Equal()]


class Rows(np.ndarray):
    def tolist(self):
        return [Equal(), Equal()]

    reshape = tolist


class Items(list):
    def __iter__(self):
        return iter([Equal(), Equal()])

    __len__ = lambda self: 2  # noqa: E731


@pytest.mark.parametrize(
    "liar, expected",
    [
        (Text("a"), "b"),
        (Whole(1), 2),
        (Broken(1.5), 2.5),
        ({Text("a"): 1}, {"b": 1}),
        ({Whole(1): 1}, {2: 1}),
        ({Text("a")}, frozenset("b")),
        (Items(), [1.0, 2.0]),
        (torch.zeros(2).as_subclass(Tensor), freeze(torch.ones(2))),
        (np.zeros(2).view(Rows), freeze(np.ones(2))),
        (np.array([Equal(), Equal()], dtype=object), freeze(np.ones(2))),
        ([Equal()], [1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_result_cannot_say_that_it_is_equal(liar, expected):
    frozen = freeze(liar)
    assert difference(frozen, expected) is not None

    def kinds(value):
        yield type(value)
        inner = value.flat if isinstance(value, Array) else value
        if isinstance(inner, dict):
            inner = [*inner, *inner.values()]
        if isinstance(inner, (list, tuple, frozenset)):
            for item in inner:
                yield from kinds(item)

    assert set(kinds(frozen)) <= {str, int, float, bool, list, dict, frozenset, Array, Other}
