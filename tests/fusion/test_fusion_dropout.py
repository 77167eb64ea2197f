"""Modality dropout: its rates, its masks, and an error for what does not fit."""

import copy
import math

import pytest
import torch
from fusion_cases import THREE, build, by_name, sample

from course_utils.fusion import ModalityDropout


def test_modality_dropout_keeps_its_rate_and_never_takes_the_last():
    torch.manual_seed(0)
    N = 40_000
    drop, features = ModalityDropout(0.4), {n: torch.zeros(N, dim) for n, dim in THREE.items()}
    everything = torch.ones(N, 3, dtype=torch.bool)
    some = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 1, 1]]).bool().repeat(N // 4, 1)
    for mask, present in (
        (None, everything),
        (by_name(everything), everything),
        (by_name(some), some),
    ):
        result = drop(features, mask)
        assert list(result) == list(THREE)
        assert all(kept.shape == (N,) and kept.dtype == torch.bool for kept in result.values())
        keep = torch.stack([*result.values()], 1)  # (N, 3)
        assert not (keep & ~present).any() and torch.equal(keep.any(1), present.any(1))
        for count in present.sum(1).unique().tolist():
            for m in range(3):
                here = (present.sum(1) == count) & present[:, m]
                n = int(here.sum())
                rate = 0.4 - 0.4**count / count if count else 0.0
                spread = math.sqrt(n * rate * (1 - rate))
                assert abs((~keep[here, m]).sum().item() - n * rate) <= 4.5 * spread + 1e-6
    assert all(kept.all() for kept in ModalityDropout(0.0)(features).values())


def test_modality_dropout_gives_back_the_form_of_mask_that_came():
    torch.manual_seed(0)
    features, present = sample(tokens={"text": 5, "audio": 4}, batch=50)
    drop = ModalityDropout(0.5)
    mask = {"text": (torch.rand(50, 5) < 0.5) & present[:, :1], "image": present[:, 1]}
    before = copy.deepcopy(mask)
    result = drop(features, mask)
    assert list(result) == ["text", "image", "audio"]
    assert [tuple(x.shape) for x in result.values()] == [(50, 5), (50,), (50,)]
    assert list(mask) == ["text", "image"] and all(torch.equal(mask[n], before[n]) for n in mask)
    kept = result["text"].any(1)
    assert torch.equal(result["text"], mask["text"] & kept[:, None])
    assert not (result["image"] & ~present[:, 1]).any()
    assert not result["audio"].all()
    there = torch.stack([kept, result["image"], result["audio"]])
    assert there.any(0).all()  # audio was there in all rows
    build("gated")(features, mask=result)
    drop.eval()
    assert drop(features, mask) is mask and drop(features) is None
    assert not drop.state_dict()


def test_no_gradient_reaches_a_dropped_modality():
    torch.manual_seed(0)
    features = {n: x.requires_grad_() for n, x in sample(batch=40)[0].items()}
    keep = ModalityDropout(0.5)(features)
    build("gated")(features, mask=keep).square().sum().backward()
    for name, x in features.items():
        assert torch.equal(x.grad.any(1), keep[name])


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, "0.5", None, math.nan])
def test_dropout_rates_that_do_not_fit(p):
    with pytest.raises(ValueError, match="p: expected a number of at least 0 and below 1, got"):
        ModalityDropout(p)


@pytest.mark.parametrize(
    "features, message",
    [
        ({}, "features: expected a dict of modalities"),
        ([1], "features: expected a dict of modalities.* got list"),
        ({"text": torch.zeros(2, 3), "label": torch.zeros(2)}, r"got \['text', 'label'\]"),
        (
            {"text": torch.zeros(2, 3), "image": torch.zeros(3, 3)},
            "as many rows in each modality, got .*'image': 3",
        ),
    ],
)
def test_modality_dropout_names_features_that_do_not_fit(features, message):
    with pytest.raises(ValueError, match=message):
        ModalityDropout(0.3)(features)
    assert repr(ModalityDropout(0.3)) == "ModalityDropout(p=0.3)"
