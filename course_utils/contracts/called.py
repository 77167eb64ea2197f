"""Contracts 2, 8 and 10: however a layer is called, with one row, twice, or with its modalities in
another order.
"""

import copy

import torch
from torch import Tensor, nn

from course_utils.contracts.case import OUTPUT_DIM, Case, Mask, takes_mask
from course_utils.contracts.registry import Broken, contract, expect, in_words, some


@contract(2, "a batch of one")
def batch_of_one(case: Case) -> str:
    """One row gives a finite result of one row, in training and in evaluation; in evaluation the
    same as among many, up to round-off.

    The fault: a bare `squeeze()` drops the batch axis too; batch normalisation cannot train on
    one row; a sum is divided by the number of rows. Accuracy is computed on large batches, so it
    shows first in use, or in the last batch of an epoch.
    """
    layer = case.build()
    expected = (1, *case.run(layer).shape[1:])
    if isinstance(case.make, type):
        expected = (1, OUTPUT_DIM)  # it was told so when it was built
    row = {name: x[:1] for name, x in case.features.items()}
    masks = [None]
    if takes_mask(layer):
        masks.extend([*case.full, *case.partial])
    for mask in masks:
        many = case.run(layer, mask=mask)
        of_row = None if mask is None else {name: kept[:1] for name, kept in mask.items()}
        for train in (False, True):
            result = case.run(layer, row, of_row, train)
            shape = tuple(result.shape)
            expect(shape == expected, f"one row gives shape {shape}, expected {expected}")
            expect(result.isfinite().all(), "one row gives a result that is not finite")
            if not train:
                same = case.same(result, many[:1])
                expect(same, "one row gives another result alone than among many")
    return f"one row gives shape {expected}"


@contract(8, "inputs stay as given")
def inputs_unchanged(case: Case) -> str:
    """Features and mask are not changed in place.

    The fault: `x += shift` on the caller's tensor. Each call's own result is right, but the next
    layer that gets these features, and the next epoch where a loop passes the stored tensors
    themselves, see other data.
    """
    layer = case.build()
    features = copy.deepcopy(case.features)
    layer(features)
    _is_as_given(features, case.features, "the features")
    if takes_mask(layer):
        for mask in case.partial:
            features, given = copy.deepcopy(case.features), copy.deepcopy(mask)
            layer(features, mask=given)
            _is_as_given(features, case.features, "the features")
            _is_as_given(given, mask, "the mask")
    return "features and mask are as they were"


def _is_as_given(now: dict[str, Tensor], before: dict[str, Tensor], what: str) -> None:
    expect(list(now) == list(before), f"names were added to {what} or taken away")
    changed = [name for name in now if not torch.equal(now[name], before[name])]
    expect(not changed, f"{what} changed in place: {some(changed)}")


@contract(10, "it goes by name")
def by_name(case: Case) -> str:
    """Features, or a mask, with their names in another order give the same result.

    The fault: `zip(self.input_dims, features.values())`, or mask columns in the order of the
    features. If the widths differ it is loud, and if they are equal, or if only the mask is
    concerned, text is taken for images and nothing is said. Training and test go through the
    same loader, in the same order, so the accuracy is right until somebody builds another dict.
    """
    layer = case.build()
    turned = _another_order(case.features)
    masks = [None]
    if takes_mask(layer):
        masks.extend(case.partial)
    for mask in masks:
        expected = case.run(layer, mask=mask)
        _gives(case, layer, turned, mask, expected, "features")
        if mask is not None:
            _gives(case, layer, case.features, _another_order(mask), expected, "a mask")
    return "the order of names changes nothing"


def _another_order(by_name: dict[str, Tensor]) -> dict[str, Tensor]:
    """The first name comes last, so that each name (if there are several) has another place."""
    names = list(by_name)
    return {name: by_name[name] for name in names[1:] + names[:1]}


def _gives(
    case: Case,
    layer: nn.Module,
    features: dict[str, Tensor],
    mask: Mask | None,
    expected: Tensor,
    what: str,
) -> None:
    try:
        result = case.run(layer, features, mask)
    except Exception as error:
        raise Broken(f"{what} in another order of names: {in_words(error)}") from error
    expect(case.same(result, expected), f"{what} in another order of names: another result")
