"""Is it right? Gradients by hand beside autograd's and beside central differences."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from course_utils.gradients.checks import check
from course_utils.report import relative_difference, two_sides


@dataclass(frozen=True)
class Comparison:
    """How far a gradient by hand is from its reference: bit for bit the same, within the
    tolerance, by how much at most.
    """

    exact: bool
    within: bool
    largest: float


def compare(
    by_hand: dict[str, Tensor], reference: dict[str, Tensor], tolerance: float = 1e-10
) -> dict[str, Comparison]:
    """Compare gradients by name, print a line for each, and return what was found.

    Both sides are float64, of equal shapes and names, and no reference is 0 everywhere. The
    difference is absolute.
    Raises AssertionError, after all lines, when one is outside `tolerance`, and names it, TypeError
    for what goes by no names or is not float64, and ValueError for nothing to compare and for a
    tolerance that is not positive and finite.
    """
    for argument, given in {"by_hand": by_hand, "reference": reference}.items():
        if not isinstance(given, dict):
            got = type(given).__name__
            raise TypeError(f"{argument}: expected gradients by name, a dict, got {got}")
    if not by_hand or not 0 < tolerance < torch.inf:
        raise ValueError(
            "compare: expected at least one gradient and a positive, finite tolerance, got"
            f" {list(by_hand)} and {tolerance}"
        )
    if by_hand.keys() != reference.keys():
        raise ValueError(f"by_hand has the names {list(by_hand)}, reference has {list(reference)}")
    found, width = {}, max(map(len, by_hand))
    for name in by_hand:
        hand, ref = two_sides(name, by_hand[name], reference[name])
        largest = (hand - ref).abs().max().item()
        found[name] = Comparison(torch.equal(hand, ref), largest < tolerance, largest)
        verdict = f"agrees to {tolerance:g}" if found[name].within else f"DIFFERS by {largest:.2g}"
        print(f"{name:<{width}}  {str(tuple(hand.shape)):<12}  {verdict}")
    wrong = [f"{name} by {one.largest:.2g}" for name, one in found.items() if not one.within]
    if wrong:
        raise AssertionError(
            f"by hand and reference differ: {', '.join(wrong)} (allowed: {tolerance:g})"
        )
    return found


def central_differences(
    function: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-5
) -> Tensor:
    """The derivative of function(x) with respect to every entry of x, measured: (f(x + h) - f(x
    - h)) / (2 h).

    Shape: that of the result, then that of x, so x's own shape for a loss. Exact to about h^2.
    Raises TypeError when x or a result is not float64, in which the differences would be mostly
    rounding, and ValueError for an x without entries.
    """
    check(x, "x", None, torch.float64)
    if not callable(function):
        raise TypeError(f"function: expected a function of x, got {type(function).__name__}")
    if not x.numel():
        raise ValueError(f"x: expected at least one entry, got shape {tuple(x.shape)}")
    # one entry each
    shifts = step * torch.eye(x.numel(), dtype=x.dtype, device=x.device).view(-1, *x.shape)
    slopes = [(function(x + shift) - function(x - shift)) / (2 * step) for shift in shifts]
    check(slopes[0], "function(x)", None, torch.float64)
    return torch.stack(slopes, -1).reshape(slopes[0].shape + x.shape)


def verify_gradient(
    key: str, function: Callable[..., Tensor], by_hand: Callable, *shapes: tuple, seeds: int = 3
) -> None:
    """Check equation `key`, a gradient or Jacobian, on random float64 tensors of these shapes,
    for several seeds.

    `function(*tensors)` is the loss (or any tensor), `by_hand(*tensors)` its derivative with
    respect to the tensor, or a tuple, one for each. The references are autograd (to 1e-12,
    relative to the largest entry) and central differences (to 1e-7). Raises AssertionError when
    one disagrees, and ValueError without a shape or a seed, because nothing would be compared.
    """
    for argument, given in {"function": function, "by_hand": by_hand}.items():
        if not callable(given):
            got = type(given).__name__
            raise TypeError(f"equation {key}: {argument}: expected a function, got {got}")
    if not shapes or not seeds >= 1:
        raise ValueError(
            f"equation {key}: expected at least one shape and one seed, got shapes={shapes} and"
            f" seeds={seeds}"
        )
    for seed in range(seeds):
        generator = torch.Generator("cpu").manual_seed(seed)
        tensors = tuple(
            torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
            for shape in shapes
        )
        hands = by_hand(*tensors)
        hands = hands if isinstance(hands, tuple) else (hands,)
        if len(hands) != len(shapes):
            raise ValueError(
                f"equation {key}: by_hand gives {len(hands)} gradients, expected {len(shapes)}, one"
                " for each shape"
            )
        for i, (hand, exact) in enumerate(
            zip(hands, torch.autograd.functional.jacobian(function, tensors))
        ):
            before, after = tensors[:i], tensors[i + 1 :]
            alone = partial(_one_changes, function, before, after)
            measured = central_differences(alone, tensors[i])
            for name, reference, tolerance in (
                ("autograd", exact, 1e-12),
                ("central differences", measured, 1e-7),
            ):
                difference = relative_difference(f"equation {key}", hand, reference)
                if not difference < tolerance:
                    raise AssertionError(
                        f"equation {key}: by hand and {name} differ by {difference:.2g} of the"
                        f" largest entry in gradient {i + 1} of {len(hands)}, seed {seed} (allowed:"
                        f" {tolerance:g})"
                    )
    print(f"equation {key} holds: by hand, autograd and central differences agree on {seeds} seeds")


def _one_changes(function: Callable, before: tuple, after: tuple, x: Tensor) -> Tensor:
    """`function` of all its arguments, of which only `x` is asked about."""
    return function(*before, x, *after)
