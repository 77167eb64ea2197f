"""Contract 11: a layer leaves the notebook. It is exported, compiled, or used in half precision; or
it says that it refuses, and why:

    class Attention(nn.Module):
        refuses = {"float16": "scores of large inputs overflow; use bfloat16"}
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from course_utils.contracts.case import Case, Mask, takes_mask
from course_utils.contracts.registry import Broken, contract, expect, in_words

LEGS = ("float16", "bfloat16", "export", "compile")
SLOW = ("export", "compile")  # seconds each: only when asked for
LARGEST = 24_000.0  # of the inputs; float16 ends at 65,504
FAR = 0.1  # of the largest result, for half of the results; rounding alone gives a hundredth


@contract(11, "it travels")
def travels(case: Case) -> str:
    """It gives finite results in half precision, and the same results exported with a dynamic
    batch and compiled; or its attribute `refuses`, {leg: why}, says that it does not.

    The legs are "float16", "bfloat16", "export" and "compile". The last two take seconds and are
    tried only with `travel=True`. The inputs in half precision are large, but such that the
    result, and even the one of inputs four times as large, is a number that float16 can hold.

    The fault: a sum of squares, or a sum where a mean would do, leaves float16 at 65,504; an `if`
    on the data cannot be exported; `len(x)` fixes the batch's size. Accuracy is measured in
    float32 in the notebook where the layer was written, so none of this is seen before it leaves.
    """
    refused = _refusals(case.build())
    done, left = [], []
    for leg in LEGS:
        if leg in refused:
            continue
        if leg in SLOW and not case.travel:
            left.append(leg)
            continue
        _try(case, leg)
        done.append(leg)
    parts = []
    if done:
        parts.append(f"goes through {', '.join(done)}")
    if left:
        parts.append(f"not tried: {', '.join(left)}")
    for leg, why in refused.items():
        parts.append(f"refuses {leg}: {why}")
    return "; ".join(parts)


def _refusals(layer: nn.Module) -> dict[str, str]:
    """The layer's attribute `refuses`, checked: {leg: why}."""
    refused = getattr(layer, "refuses", {})
    expect(isinstance(refused, dict), "refuses: expected a dict {leg: why}")
    for leg, why in refused.items():
        expect(leg in LEGS, f"refuses: expected legs out of {', '.join(LEGS)}, got {leg!r}")
        expect(isinstance(why, str) and why.strip() != "", f"refuses: {leg} has no reason in words")
    return refused


def _try(case: Case, leg: str) -> None:
    """Try one leg without a mask and, where forward takes one, with masks."""
    layer = case.build().eval()
    masks = [None]
    if takes_mask(layer):
        # the last one has (B, T) for tokens and (B,) for vectors
        masks.extend(case.partial[-1:] if leg in SLOW else case.partial)
    try:
        with _quiet():
            if leg == "export":
                _exported(case, layer, masks)
            elif leg == "compile":
                _compiled(case, layer, masks)
            else:
                _halved(case, layer, masks, getattr(torch, leg))
    except Broken:
        raise
    except Exception as error:
        raise Broken(f"{leg}: {in_words(error)}") from error


@torch.no_grad()
def _halved(case: Case, layer: nn.Module, masks: list[Mask | None], dtype: torch.dtype) -> None:
    """Finite, and near the result that the same rounded numbers give in the case's dtype."""
    inputs, largest = _large(case, layer)
    halves = {name: x.to(dtype) for name, x in inputs.items()}
    layer.to(dtype)
    results = [_call(layer, halves, mask) for mask in masks]

    wide = {name: x.to(case.dtype) for name, x in halves.items()}
    layer.to(case.dtype)
    for mask, result in zip(masks, results):
        name, inputs_are = _name(dtype), f"with inputs up to {largest:,.0f}"
        expect(result.dtype == dtype, f"{name}: the result is {_name(result.dtype)}")
        expect(result.isfinite().all(), f"{name} overflows: not finite {inputs_are}")
        reference = _call(layer, wide, mask)
        off = (result.to(case.dtype) - reference).abs()
        expect(
            off.median() <= FAR * reference.abs().max(),
            f"{name} overflows: finite, but far off {inputs_are}",
        )


def _large(case: Case, layer: nn.Module) -> tuple[dict[str, Tensor], float]:
    """Large inputs, and the size of their largest entry. It is halved until four times as much
    would still give a result that float16 can hold. So a layer that adds may get 24,000, and one
    that multiplies three modalities some ten.

    All tokens of a modality are alike, so that a sum over them does not cancel.
    """
    units = {}
    for name, x in case.features.items():
        if x.dim() == 3:
            x = x[:, :1].expand_as(x)  # (B, T, D): the first token T times
        units[name] = x / x.abs().max()
    largest = LARGEST
    while largest > 1:
        result = case.run(layer, {name: 4 * largest * x for name, x in units.items()})
        if result.abs().max() <= torch.finfo(torch.float16).max:
            break
        largest = largest / 2
    return {name: largest * x for name, x in units.items()}, largest


def _exported(case: Case, layer: nn.Module, masks: list[Mask | None]) -> None:
    rows = torch.export.Dim("rows", min=2, max=1024)
    by_rows = {name: {0: rows} for name in case.features}  # axis 0 of each tensor may vary
    for mask in masks:
        if mask is None:
            keywords, shapes = {}, (by_rows,)
        else:
            keywords, shapes = {"mask": mask}, (by_rows, by_rows)
        program = torch.export.export(layer, (case.features,), keywords, dynamic_shapes=shapes)
        for B in (case.rows, 2, 2 * case.rows):
            _agree(case, program.module(), layer, mask, B, "export")


@torch.no_grad()
def _compiled(case: Case, layer: nn.Module, masks: list[Mask | None]) -> None:
    for mask in masks:
        torch._dynamo.reset()  # forget what was compiled before
        program = torch.compile(layer, backend="aot_eager")
        _agree(case, program, layer, mask, case.rows, "compile")
    torch._dynamo.reset()


def _agree(
    case: Case, program: nn.Module, layer: nn.Module, mask: Mask | None, B: int, leg: str
) -> None:
    """Program and layer give the same for B rows of the sample."""
    features = _with_rows(case.features, B)
    cut = None if mask is None else _with_rows(mask, B)
    result = _call(program, features, cut)
    expect(case.same(result, _call(layer, features, cut)), f"{leg}: another result with {B} rows")


def _with_rows(tensors: dict[str, Tensor], B: int) -> dict[str, Tensor]:
    """The first B rows, at most twice as many as there are, the first of them again at the end."""
    return {name: torch.cat([x, x])[:B] for name, x in tensors.items()}


def _call(layer: nn.Module, features: dict[str, Tensor], mask: Mask | None) -> Tensor:
    features = {name: x.clone() for name, x in features.items()}  # in place: contract 8
    return layer(features) if mask is None else layer(features, mask=mask)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch warns of, and logs, what a layer does; the contract says it in its own words."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
