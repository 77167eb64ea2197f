"""Contracts 3, 4 and 5: what a mask has to do, and what it must not.

A mask is {m: bool}, True = present: (B,) for a whole modality, (B, T_m) for its tokens.
"""

import torch
from torch import nn

from course_utils.contracts.case import Case, Mask
from course_utils.contracts.registry import contract, expect


@contract(3, "full mask is no mask", needs="mask")
def nothing_masked(case: Case) -> str:
    """A mask that says "all present" gives the same as no mask, and a mask that leaves a modality
    out the same as one where it is all True; up to round-off.

    The fault: two paths that differ, such as a mean without a mask and a sum with one. Trained
    and scored on complete data without a mask, the layer shows nothing; the first mask changes
    the scale of every result.
    """
    layer = case.build()
    free = case.run(layer)
    exact = True
    for mask in case.full:
        result = case.run(layer, mask=mask)
        expect(case.same(result, free), "an all-present mask changes the result")
        exact = exact and torch.equal(result, free)

    for mask in case.partial:
        for name in mask:
            without = {other: kept for other, kept in mask.items() if other != name}
            all_true = mask | {name: torch.ones_like(mask[name])}
            expect(
                case.same(case.run(layer, mask=without), case.run(layer, mask=all_true)),
                f"a mask that leaves {name} out gives not what one gives where it is all True",
            )
    return f"an all-present mask changes {'no bit' if exact else 'nothing beyond round-off'}"


@contract(4, "masked is unseen", needs="mask")
def isolated(case: Case) -> str:
    """What stands in a masked place cannot matter, not even NaN, for result or gradient; nor can
    more padding, or other rows.

    The fault: masking by multiplication (0 * NaN is NaN), or after the arithmetic (the result is
    right, the weight's gradient is NaN); a mean that counts the padding; statistics over the
    batch. On complete data in large batches the accuracy is the same.
    """
    layer = case.build()
    for mask in case.partial:
        _masked_places_do_not_matter(case, layer, mask)
    for mask in (case.full[-1], case.partial[-1]):  # the last one has (B, T) for tokens
        _padding_does_not_matter(case, layer, mask)
    _other_rows_do_not_matter(case, layer)
    return "masked places and other rows change nothing"


def _masked_places_do_not_matter(case: Case, layer: nn.Module, mask: Mask) -> None:
    base = case.outcome(layer, mask)
    for fill, words in ((1e6, "a large number"), (torch.nan, "a NaN")):
        filled = case.outcome(layer, mask, fill)
        same = case.same(filled.result, base.result)
        expect(same, f"{words} in a masked place changes the result")
        for name, gradient in filled.gradients.items():
            expect(
                case.same(gradient, base.gradients[name]),
                f"{words} in a masked place changes gradients, though not the result",
            )


def _padding_does_not_matter(case: Case, layer: nn.Module, mask: Mask) -> None:
    longer, padded = {}, {}
    for name, x in case.features.items():
        longer[name], padded[name] = x, mask[name]
        if x.dim() == 3:
            more = mask[name][:, :2]  # at most two steps
            longer[name] = torch.cat([x, 9 - 3 * x[:, :2]], 1)
            padded[name] = torch.cat([mask[name], torch.zeros_like(more)], 1)
    same = case.same(case.run(layer, longer, padded), case.run(layer, mask=mask))
    expect(same, "more padding changes the result")


def _other_rows_do_not_matter(case: Case, layer: nn.Module) -> None:
    base = case.run(layer)
    others_changed, turned = {}, {}
    for name, x in case.features.items():
        others_changed[name] = torch.cat([x[:1], 9 - 3 * x[1:]])  # the first row stays
        turned[name] = x.roll(1, 0)  # the last row comes first
    expect(
        case.same(case.run(layer, others_changed)[:1], base[:1]),
        "a row's result changes with the other rows of its batch",
    )
    expect(
        case.same(case.run(layer, turned), base.roll(1, 0)),
        "a row's result changes with its place in the batch",
    )


@contract(5, "nothing present", needs="mask")
def nothing_present(case: Case) -> str:
    """A row with everything missing gives a finite result and finite gradients.

    The fault: a softmax over no keys, or a mean over zero of them, is NaN, and after the next
    step every weight is. Test sets seldom hold such a row, so the accuracy on them is untouched;
    a real stream holds one soon.
    """
    layer = case.build()
    for mask in case.empty:
        outcome = case.outcome(layer, mask)
        expect(
            outcome.result.isfinite().all(), "the result is not finite when everything is missing"
        )
        for gradient in outcome.gradients.values():
            expect(gradient.isfinite().all(), "a gradient is not finite when everything is missing")
    return "result and gradients are finite when everything is missing"
