"""What a contract is: a number, a title, what it needs of a layer, and the function that asks.

@contract(12, "twice is once", needs="mask")
def idempotent(case):
    ...
    expect(condition, "what was seen instead")
    return "what was seen"
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from course_utils.checks import check_whole
from course_utils.contracts.case import Case, takes_mask


class Broken(Exception):
    """Raised by a contract; the message says what was seen."""


def expect(condition: bool, otherwise: str) -> None:
    """Raise `Broken` with the words `otherwise` unless the condition holds."""
    if not condition:
        raise Broken(otherwise)


@dataclass(frozen=True)
class Result:
    """What one contract found.

    number, contract   the contract's number and title
    kept               True, False, or None if it does not apply
    seen               what was seen, in words
    error              what the layer raised, if it did
    """

    number: int
    contract: str
    kept: bool | None
    seen: str
    error: Exception | None = None


@dataclass(frozen=True)
class Need:
    """What a contract may need: how to see that a layer has it, and the verdict on one without."""

    has: Callable[[nn.Module], bool]
    kept: bool | None
    seen: str


def has_formula(layer: nn.Module) -> bool:
    """Whether the layer has a method `parameter_formula` that gives a number, not None."""
    return hasattr(layer, "parameter_formula") and layer.parameter_formula() is not None


# A layer that takes no mask breaks what it was to keep; one without a formula promised nothing.
NEEDS = {
    "mask": Need(takes_mask, kept=False, seen="forward takes no mask"),
    "formula": Need(has_formula, kept=None, seen="no formula is given"),
}


@dataclass(frozen=True)
class Contract:
    """One contract. `look(case)` returns what it saw, in words, or raises `Broken`."""

    number: int
    title: str
    needs: str | None
    look: Callable[[Case], str]

    def ask(self, case: Case) -> Result:
        """Look at the case; whatever the layer raises becomes a broken contract."""
        try:
            need = NEEDS[self.needs] if self.needs else None
            if need and not need.has(case.build()):
                return Result(self.number, self.title, need.kept, need.seen)
            return Result(self.number, self.title, True, self.look(case))
        except Broken as fault:
            return Result(self.number, self.title, False, str(fault), fault.__cause__)
        except Exception as error:
            return Result(self.number, self.title, False, in_words(error), error)


CONTRACTS: dict[int, Contract] = {}  # by number, in order


def contract(number: int, title: str, *, needs: str | None = None) -> Callable:
    """Enter the function below into `CONTRACTS`; the function itself stays as it is.

    `needs` is None, "mask" or "formula". A number has one title: ValueError if another contract
    has it already. The same title again replaces it, so that a notebook's cell can be run twice.
    """
    check_whole(1, number=number)
    if needs is not None and needs not in NEEDS:
        raise ValueError(f"needs: expected one of {list(NEEDS)} or None, got {needs!r}")
    if number in CONTRACTS and CONTRACTS[number].title != title:
        raise ValueError(f"number: {number} is taken by {CONTRACTS[number].title!r}")

    def enter(look: Callable[[Case], str]) -> Callable[[Case], str]:
        CONTRACTS[number] = Contract(number, title, needs, look)
        in_order = sorted(CONTRACTS.items())
        CONTRACTS.clear()
        CONTRACTS.update(in_order)
        return look

    return enter


def in_words(error: Exception) -> str:
    """An error's kind and first line; of torch's own errors the kind alone, because their wording
    changes.
    """
    kind = f"raises {type(error).__name__}"
    if isinstance(error, (RuntimeError, IndexError, NotImplementedError)):
        return kind
    where = traceback.extract_tb(error.__traceback__)
    if where and where[-1].filename.startswith(torch.__path__[0]):
        return kind
    lines = str(error).splitlines()
    return f"{kind}: {lines[0] if lines else ''}"


def some(names: list[str]) -> str:
    """The first three of the names, and how many more there are."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
