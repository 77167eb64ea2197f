"""Each exhibit breaks its contracts and no other, its mended twin keeps all: one item for each
layer and contract, so that a red one names what broke.
"""

import inspect

import pytest
import torch
from contract_results import broken, seen
from gallery import (
    GALLERY,
    AverageFusion,
    CancelledFusion,
    FeaturesByPlaceFusion,
    ListFusion,
    ListFusionMended,
    MasksByPlaceFusion,
    MovedFusion,
    MovedFusionMended,
    SquaresFusion,
    SquaresFusionMended,
    SumOverAllFusion,
    TwoPathsFusion,
)
from torch import nn

from course_utils.contracts import CONTRACTS, DIMS, check_contracts

EACH = [(name, number) for name in GALLERY for number in range(1, 12)]
EACH_ID = [f"{name}-{number}" for name, number in EACH]


def kept(make, number, seed=0, **sample):
    return check_contracts(make, numbers=[number], seed=seed, **sample)[0].kept


@pytest.mark.parametrize("name, number", EACH, ids=EACH_ID)
def test_a_fault_breaks_its_contracts_and_no_other(name, number):
    exhibit = GALLERY[name]
    expected = number not in exhibit.breaks or exhibit.travel
    for seed in (0, 1):
        assert kept(exhibit.faulty, number, seed) == expected


@pytest.mark.parametrize("name, number", EACH, ids=EACH_ID)
def test_a_mended_twin_keeps_every_contract(name, number):
    for seed in (0, 1):
        assert kept(GALLERY[name].mended, number, seed) is True


@pytest.mark.slow
@pytest.mark.parametrize("name", GALLERY)
def test_a_mended_twin_travels(name):
    result = check_contracts(GALLERY[name].mended, travel=True, numbers=[11])[0]
    assert result.kept, result.seen
    assert result.seen == "goes through float16, bfloat16, export, compile"


def test_what_only_travel_sees():
    only = [name for name, exhibit in GALLERY.items() if exhibit.travel]
    assert only == ["an if on the data"]
    exhibit = GALLERY[only[0]]
    assert seen(exhibit.faulty, 11, travel=True).startswith("export: raises ")
    assert seen(exhibit.faulty, 11) == "goes through float16, bfloat16; not tried: export, compile"


def test_every_contract_is_broken_alone_by_some_exhibit():
    alone = {e.breaks[0] for e in GALLERY.values() if len(e.breaks) == 1}
    assert alone == set(range(1, 12)) == set(CONTRACTS)
    several = [e.breaks for e in GALLERY.values() if len(e.breaks) > 1]
    assert several == [(1, 6, 7, 9, 11), (2, 4), (3, 4, 5)]


@pytest.mark.parametrize(
    "name, number, words",
    [
        (
            "factors in a plain list",
            1,
            "3 of 5 parameter tensors are not registered: factors.0, factors.1, factors.2",
        ),
        (
            "factors in a plain list",
            6,
            "the state dict lacks what should train: factors.0, factors.1, factors.2",
        ),
        (
            "factors in a plain list",
            7,
            "not registered, hence left behind by .to(another device): factors.0, factors.1,"
            " factors.2",
        ),
        ("factors in a plain list", 9, "11 parameters are registered, the formula says 515"),
        ("factors in a plain list", 11, "float16: raises RuntimeError"),
        (
            "a layer never called",
            1,
            "2 of 10 parameter tensors got no gradient: mix.weight, mix.bias",
        ),
        ("a bias that cancels", 1, "1 of 10 parameter tensors got no gradient: score.bias"),
        ("a bare squeeze", 2, "one row gives shape (7,), expected (1, 7)"),
        ("centred by the batch", 2, "one row gives another result alone than among many"),
        ("two paths", 3, "an all-present mask changes the result"),
        ("times the mask", 4, "a NaN in a masked place changes the result"),
        ("masked too late", 4, "a NaN in a masked place changes gradients, though not the result"),
        ("centred by the batch", 4, "a row's result changes with the other rows of its batch"),
        ("softmax over no keys", 5, "the result is not finite when everything is missing"),
        (
            "not in the state dict",
            6,
            "the loaded layer gives other results: the state dict lacks something",
        ),
        (
            "a moved parameter",
            7,
            "1 of 9 parameter tensors are no trainable parameters if .to(...) in the constructor"
            " moves them: gain",
        ),
        ("added in place", 8, "the features changed in place: text, image, audio"),
        ("a bias not counted", 9, "223 parameters are registered, the formula says 215"),
        ("features by place", 10, "features in another order of names: raises RuntimeError"),
        ("masks by place", 10, "features in another order of names: another result"),
        (
            "squares in float16",
            11,
            "float16 overflows: finite, but far off with inputs up to 24,000",
        ),
        ("no mask at all", 3, "forward takes no mask"),
        ("no mask at all", 4, "forward takes no mask"),
        ("no mask at all", 5, "forward takes no mask"),
    ],
)
def test_what_was_seen_is_said_in_words(name, number, words):
    assert seen(GALLERY[name].faulty, number) == words


@pytest.mark.parametrize("name", GALLERY)
def test_the_gallery_works_with_two_modalities_of_other_widths_too(name):
    dims, exhibit = {"image": 3, "sound": 9}, GALLERY[name]
    expected = () if exhibit.travel else exhibit.breaks
    assert broken(lambda: exhibit.faulty(dims, 2)) == expected
    assert broken(lambda: exhibit.mended(dims, 2)) == ()


# Here the twin computes something else on purpose, or draws one number less at the start.
OTHERWISE = ("a layer never called", "centred by the batch", "a bias that cancels")


@pytest.mark.parametrize("name", [name for name in GALLERY if name not in OTHERWISE])
def test_faulty_layer_and_twin_agree_where_the_fault_does_not_show(name):
    """On complete data, in large batches, from the same start: what a training run sees first."""
    rng = torch.Generator().manual_seed(0)
    features = {m: torch.randn(32, dim, generator=rng) for m, dim in DIMS.items()}
    results = []
    for cls in (GALLERY[name].faulty, GALLERY[name].mended):
        torch.manual_seed(0)
        layer = cls(DIMS, 7)
        results.append(layer({m: x.clone() for m, x in features.items()}))
    assert torch.allclose(*results, atol=1e-6)


def test_every_layer_with_a_mask_takes_it_by_keyword_and_without_one():
    for exhibit in GALLERY.values():
        for cls in (exhibit.faulty, exhibit.mended):
            mask = inspect.signature(cls.forward).parameters.get("mask")
            assert mask is None or (mask.kind == mask.KEYWORD_ONLY and mask.default is None)


# ---- single exhibits


def test_the_sound_layer_is_the_mean_of_those_present_by_hand():
    torch.manual_seed(0)
    layer = AverageFusion({"text": 2, "image": 1}, 3).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)  # numbers that float32 cannot hold
    features = {m: torch.randn(2, n, dtype=torch.float64) for m, n in (("text", 2), ("image", 1))}
    mask = {"image": torch.tensor([True, False])}  # the text is left out, hence present
    text = torch.tanh(layer.project["text"](features["text"]))
    image = torch.tanh(layer.project["image"](features["image"]))
    expected = layer.head(torch.stack([(text[0] + image[0]) / 2, text[1]]))
    assert torch.allclose(layer(features, mask=mask), expected, rtol=0, atol=1e-14)


def test_the_published_size_registers_160_of_1_161_760():
    for cls, registered in ((ListFusion, 160), (ListFusionMended, 1_161_760)):
        layer = cls({"audio": 48, "image": 192}, 120, rank=40)
        assert sum(p.numel() for p in layer.parameters()) == registered
        assert layer.parameter_formula() == 1_161_760


def test_the_moved_parameter_is_gone_where_it_really_moves():
    assert isinstance(MovedFusion(DIMS, 7).gain, nn.Parameter)
    assert not isinstance(MovedFusion(DIMS, 7, device="meta").gain, nn.Parameter)
    assert isinstance(MovedFusionMended(DIMS, 7, device="meta").gain, nn.Parameter)


def test_the_cancelled_bias_does_get_a_gradient_of_round_off():
    torch.manual_seed(0)
    layer = CancelledFusion(DIMS, 7).double()
    features = {m: torch.randn(32, dim, dtype=torch.float64) for m, dim in DIMS.items()}
    layer(features).square().sum().backward()
    gradient = layer.score.bias.grad.abs().item()
    largest = max(p.grad.abs().max().item() for p in layer.parameters())
    assert 0 < gradient < 1e-14 * largest


def test_features_by_place_are_silent_where_all_widths_are_equal():
    dims = {"text": 4, "image": 4}

    def make():
        return FeaturesByPlaceFusion(dims, 3)

    assert broken(make) == (10,)
    assert seen(make, 10) == "features in another order of names: another result"


def test_masks_by_place_take_one_modality_for_another():
    torch.manual_seed(0)
    wrong, right = MasksByPlaceFusion(DIMS, 7), AverageFusion(DIMS, 7)
    right.load_state_dict(wrong.state_dict())
    features = {m: torch.randn(4, dim) for m, dim in DIMS.items()}
    turned = {m: features[m] for m in ("audio", "image", "text")}
    no_text, no_audio = ({m: torch.zeros(4, dtype=torch.bool)} for m in ("text", "audio"))
    assert torch.equal(wrong(features, mask=no_text), right(features, mask=no_text))
    # text and audio change places: text is asked to be left out, audio is encoded as zeros
    assert not torch.allclose(wrong(turned, mask=no_text), right(features, mask=no_text))
    assert torch.allclose(wrong(turned, mask=no_text), right(features, mask=no_audio))


def test_squares_in_float16_lose_the_input_and_the_twin_does_not():
    torch.manual_seed(0)
    wrong, right = SquaresFusion(DIMS, 7).half(), SquaresFusionMended(DIMS, 7).half()
    right.load_state_dict(wrong.state_dict())
    large = {m: torch.full((1, dim), 300.0).half() for m, dim in DIMS.items()}
    nothing = {m: torch.zeros(1, dim).half() for m, dim in DIMS.items()}
    assert torch.equal(wrong(large), wrong(nothing))
    assert not torch.allclose(right(large), right(nothing), atol=0.05)
    small = {m: x / 30 for m, x in large.items()}
    assert torch.allclose(wrong(small), right(small), atol=0.01)


def test_all_contracts_kept_do_not_prove_the_formula():
    assert broken(SumOverAllFusion) == ()
    layer, right = SumOverAllFusion(DIMS, 7), AverageFusion(DIMS, 7)
    right.load_state_dict(layer.state_dict())
    features = {m: torch.randn(2, dim) for m, dim in DIMS.items()}
    mask = {m: torch.zeros(2, dtype=torch.bool) for m in ("image", "audio")}
    part = layer(features, mask=mask) - layer.head.bias
    whole = right(features, mask=mask) - layer.head.bias
    assert torch.allclose(part / whole, torch.tensor(1 / 3), rtol=1e-3)


def test_two_paths_sums_what_is_present_and_nothing_else():
    layer = TwoPathsFusion({"a": 3, "b": 2}, 4)
    features = {"a": torch.randn(5, 3), "b": torch.randn(5, 2)}
    mask = {"b": torch.tensor([True, False, True, False, False])}
    both = torch.ones(5, 1, dtype=torch.bool)
    a, b = (layer.encode(name, features[name], both) for name in "ab")
    expected = layer.classify(a + b * mask["b"][:, None])
    torch.testing.assert_close(layer(features, mask=mask), expected)
