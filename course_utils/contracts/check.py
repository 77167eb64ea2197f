"""Run the contracts on a layer, and print what they find."""

import textwrap
from collections.abc import Callable, Iterable

import torch

# Importing a module enters its contracts into CONTRACTS.
import course_utils.contracts.called
import course_utils.contracts.masked
import course_utils.contracts.registered
import course_utils.contracts.travel  # noqa: F401
from course_utils.contracts.case import Case
from course_utils.contracts.registry import CONTRACTS, Result


def check_contracts(
    make: Callable,
    *,
    dims: dict[str, int] | None = None,
    tokens: dict[str, int] | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    travel: bool = False,
    numbers: Iterable[int] | None = None,
) -> list[Result]:
    """Run the contracts on a layer; whatever it raises becomes a broken contract.

    make     a class, built as `make(dims, 7)`, or a function without arguments that builds the
             layer
    dims     widths of the modalities; if not given, the layer's own `input_dims`, else (also where
             it is empty) text 6, image 5, audio 4
    tokens   {name: T}: these modalities come as (B, T, D), the others as (B, D); if not given, all
             have 3 tokens where the layer's `accepts` is "tokens", as a `Fusion` has it, else none
    seed     fixes sample and layer; the caller's own random numbers go on undisturbed. One sample
             does not show every fault: try several
    dtype    of layer and sample, float64 or float32
    travel   contract 11 also exports and compiles the layer, which takes seconds
    numbers  which contracts, by number; None for all

    What a layer raises stands in its `Result.error`. More padding is tried where there are tokens;
    the width of the result is compared with C where `make` is a class, and by every `Fusion`.

    Raises TypeError or ValueError if one of these does not fit.
    """
    if not isinstance(numbers, (Iterable, type(None))):
        raise TypeError(f"numbers: expected several, such as [1, 5], or None, got {numbers!r}")
    chosen = list(CONTRACTS) if numbers is None else sorted(set(numbers))
    for number in chosen:
        if number not in CONTRACTS:
            raise ValueError(f"numbers: expected some of {list(CONTRACTS)}, got {number!r}")
    with torch.random.fork_rng(devices=[]):
        case = Case(make, dims, tokens, seed, dtype, travel)
        return [CONTRACTS[number].ask(case) for number in chosen]


def show_contracts(make: Callable, **sample) -> None:
    """Print what `check_contracts` finds, a line for each contract: kept, BROKEN or skipped, and
    what was seen.

    It takes the arguments of `check_contracts`, whose results have the errors themselves.
    """
    words = {True: "kept", False: "BROKEN", None: "skipped"}
    results = check_contracts(make, **sample)
    for result in results:
        line = f"{result.number:>2}  {result.contract:<24}{words[result.kept]:<9}{result.seen}"
        print(textwrap.fill(line, 100, subsequent_indent=" " * 37))
    broken = [str(result.number) for result in results if result.kept is False]
    print("broken:", ", ".join(broken) or "none")
