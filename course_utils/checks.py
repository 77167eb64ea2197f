"""What the package asks of its arguments: each error names the argument, what came and what was
expected.
"""

import math
from collections.abc import Iterable
from numbers import Integral, Real

import torch
from torch import Tensor


def check_that(name: str, good: bool, expected: str, got) -> None:
    """Raises ValueError for the argument `name` unless it is `good`; says what was `expected`."""
    if not good:
        raise ValueError(f"{name}: expected {expected}, got {got!r}")


def finite(value) -> bool:
    """Whether it is a real number, and neither NaN nor infinite."""
    return isinstance(value, Real) and math.isfinite(value)


def check_whole(least: int, most: float = math.inf, /, **values) -> None:
    """Raises ValueError for an argument that is no whole number from `least` to `most`, with its
    name. Those of NumPy are whole numbers, too; True and False are none.
    """
    for name, value in values.items():
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not whole or not least <= value <= most:
            bounds = f"of at least {least}" if most == math.inf else f"from {least} to {most:,}"
            raise ValueError(f"{name}: expected a whole number {bounds}, got {value!r}")


def check_choice(choices, /, **values) -> None:
    """Raises ValueError for an argument that is none of the `choices`, with its name."""
    for name, value in values.items():
        check_that(name, value in list(choices), f"one of {list(choices)}", value)


def check_tensor(value, name: str, what: str = "a tensor") -> None:
    """Raises TypeError for an argument that is no tensor, with its name and what came."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected {what}, got {type(value).__name__}")


def check_floats(value, name: str) -> None:
    """Raises TypeError for what is no tensor of floats, with its name."""
    check_tensor(value, name)
    if not value.is_floating_point():
        raise TypeError(f"{name}: expected floats, got {value.dtype}")


def check_bools(value, name: str, shape: tuple) -> None:
    """Raises TypeError for what is no bool tensor of this `shape`, with its name."""
    check_tensor(value, name, "a bool tensor")
    if value.dtype != torch.bool or value.shape != shape:
        raise TypeError(
            f"{name}: expected bool of shape {tuple(shape)}, got {value.dtype} of shape"
            f" {tuple(value.shape)}"
        )


def strings(texts: Iterable[str], name: str = "texts") -> list[str]:
    """The texts as a list. Raises TypeError or ValueError, which calls the argument by its `name`,
    for what is no list of strings and for an empty list.
    """
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        hint = "; for one text write [text]" if isinstance(texts, str) else ""
        got = "a single string" if hint else type(texts).__name__
        raise TypeError(f"{name}: expected a list of strings, got {got}{hint}")
    texts = list(texts)
    if not texts:
        raise ValueError(f"{name}: expected at least one string, got an empty list")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"{name}[{i}]: expected a string, got {type(text).__name__}; write '' for a missing"
                " text"
            )
    return texts
