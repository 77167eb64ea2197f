"""Contracts 2, 8 and 10: other ways to break them than the gallery's."""

import pytest
import torch
from contract_results import broken, seen
from gallery import AverageFusion
from torch import nn

from course_utils.contracts import DIMS


def test_batch_normalisation_fails_on_one_row_in_training():
    class Normed(AverageFusion):
        def __init__(self, *args):
            super().__init__(*args)
            self.norm = nn.BatchNorm1d(self.width)

        def classify(self, pooled):
            return self.head(self.norm(pooled))

        def parameter_formula(self):
            return super().parameter_formula() + 2 * self.width

    assert broken(Normed) == (2,)
    assert seen(Normed, 2) == "raises ValueError"  # torch's own words are left out


def test_a_spread_over_the_batch_is_not_finite_for_one_row():
    class Scales(AverageFusion):
        def classify(self, pooled):
            return super().classify(pooled / pooled.std(0, correction=0))

    assert seen(Scales, 2) == "one row gives a result that is not finite"


class BatchSum(AverageFusion):
    """Divides by the number of rows where it means the number of modalities."""

    def pool(self, x, present):
        return torch.where(present[..., None], x, 0).sum(1) / x.shape[0]


class BatchSumInMasks(BatchSum):
    """The same, but only where something is missing."""

    def pool(self, x, present):
        whole = present.all(1, keepdim=True)
        return torch.where(whole, AverageFusion.pool(self, x, present), super().pool(x, present))


@pytest.mark.parametrize("layer", [BatchSum, BatchSumInMasks])
def test_a_row_whose_numbers_change_with_the_size_of_the_batch_is_caught(layer):
    assert broken(layer) == (2,)
    assert seen(layer, 2) == "one row gives another result alone than among many"


def test_a_result_of_another_width_than_was_asked_for_is_caught():
    class Narrow(AverageFusion):
        def classify(self, pooled):
            return self.head(pooled)[:, 1:]

    assert seen(Narrow, 2) == "one row gives shape (1, 6), expected (1, 7)"
    assert seen(lambda: AverageFusion(DIMS, 6), 2) == "one row gives shape (1, 6)"


def takes_a_feature_away(features, mask):
    features.pop("audio")


def adds_a_feature(features, mask):
    features["all"] = 1


def fills_a_feature(features, mask):
    if "image" in mask:
        features["image"].masked_fill_(~mask["image"][:, None], 0)


def fills_the_mask(features, mask):
    if "image" in mask:
        mask["image"].fill_(True)


def completes_the_mask(features, mask):
    mask["sound"] = torch.ones(len(features["text"]), dtype=torch.bool)


@pytest.mark.parametrize(
    "change, words",
    [
        (takes_a_feature_away, "names were added to the features or taken away"),
        (adds_a_feature, "names were added to the features or taken away"),
        (fills_a_feature, "the features changed in place: image"),
        (fills_the_mask, "the mask changed in place: image"),
        (completes_the_mask, "names were added to the mask or taken away"),
    ],
)
def test_every_change_in_place_is_seen(change, words):
    class Changes(AverageFusion):
        def forward(self, features, *, mask=None):
            result = super().forward(features, mask=mask)
            if mask is not None:
                change(features, mask)
            return result

    assert seen(Changes, 8) == words
    assert broken(Changes) == (8,)


def test_a_mask_read_in_its_own_order_is_caught():
    class ByPlace(AverageFusion):
        def presence(self, features, mask):
            if len(mask) == len(self.input_dims):
                return torch.stack(list(mask.values()), 1)
            return super().presence(features, mask)

    assert broken(ByPlace) == (10,)
    assert seen(ByPlace, 10) == "a mask in another order of names: another result"


def test_two_modalities_that_change_places_are_caught_without_a_mask_too():
    class First(AverageFusion):
        def forward(self, features):
            first = next(iter(features.values()))
            return super().forward(features) + first[:, :1]

    assert broken(First) == (3, 4, 5, 10)
    assert seen(First, 10) == "features in another order of names: another result"


def test_a_layer_of_chance_breaks_what_compares_two_calls():
    class Drops(AverageFusion):
        def classify(self, pooled):
            return self.head(torch.nn.functional.dropout(pooled, 0.3))

    assert broken(Drops) == (2, 3, 4, 6, 10, 11)
