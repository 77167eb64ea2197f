"""Each contract catches its fault and lets the mended twin pass; whatever a layer does, the
table stands.
"""

import pytest
import torch
from torch import nn

from course_utils.contracts import CONTRACTS, DIMS, check_contracts, show_contracts, unregistered
from course_utils.contracts_gallery import (
    GALLERY,
    AverageFusion,
    CancelledFusion,
    ListFusion,
    ListFusionMended,
    MovedFusion,
    MovedFusionMended,
    SumOverAllFusion,
)


def broken(make, **sample):
    return tuple(r.number for r in check_contracts(make, **sample) if r.kept is False)


def seen(make, number, **sample):
    return check_contracts(make, **sample)[number - 1].seen


# ---- the gallery


@pytest.mark.parametrize("name", GALLERY)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_fault_breaks_its_contract_and_no_other_and_the_twin_keeps_all(name, seed):
    exhibit = GALLERY[name]
    assert broken(exhibit.faulty, seed=seed) == exhibit.breaks
    assert all(r.kept for r in check_contracts(exhibit.mended, seed=seed))


def test_every_contract_is_broken_alone_by_some_exhibit():
    assert {e.breaks for e in GALLERY.values() if len(e.breaks) == 1} == {
        (n,) for n in range(1, 10)
    }
    assert [e.breaks for e in GALLERY.values() if len(e.breaks) > 1] == [(1, 6, 7, 9), (3, 4, 5)]


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
            (
                "not registered, hence left behind by .to(another device): factors.0, factors.1,"
                " factors.2"
            ),
        ),
        ("factors in a plain list", 9, "11 parameters are registered, the formula says 515"),
        (
            "a layer never called",
            1,
            "2 of 10 parameter tensors got no gradient: mix.weight, mix.bias",
        ),
        ("a bias that cancels", 1, "1 of 10 parameter tensors got no gradient: score.bias"),
        ("a bare squeeze", 2, "one row gives shape (7,), expected (1, 7)"),
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
            (
                "1 of 9 parameter tensors are no trainable parameters if .to(...) in the"
                " constructor moves them: gain"
            ),
        ),
        ("added in place", 8, "features changed in place: text, image, audio"),
        ("a bias not counted", 9, "223 parameters are registered, the formula says 215"),
        ("no mask at all", 4, "forward takes no mask"),
    ],
)
def test_what_was_seen_is_said_in_words(name, number, words):
    assert seen(GALLERY[name].faulty, number) == words


def test_the_gallery_works_with_two_modalities_of_other_widths_too():
    dims = {"image": 3, "sound": 9}
    for name, exhibit in GALLERY.items():
        assert broken(lambda: exhibit.faulty(dims, 2)) == exhibit.breaks, name
        assert broken(lambda: exhibit.mended(dims, 2)) == (), name


def test_faulty_layer_and_twin_agree_where_the_fault_does_not_show():
    """On complete data, in large batches, from the same start: what a training run sees first."""
    rng = torch.Generator().manual_seed(0)
    features = {name: torch.randn(32, dim, generator=rng) for name, dim in DIMS.items()}
    for name, exhibit in GALLERY.items():
        if name in ("a layer never called", "centred by the batch"):
            continue  # here the twin computes something else on purpose
        layers = []
        for cls in (exhibit.faulty, exhibit.mended):
            torch.manual_seed(0)
            layers.append(cls(DIMS, 7))
        faulty, mended = ((layer({n: x.clone() for n, x in features.items()})) for layer in layers)
        if name != "a bias that cancels":  # here one random number more is drawn
            assert torch.allclose(faulty, mended, atol=1e-6), name


def test_the_published_size_registers_160_of_1_161_760():
    for cls, registered in ((ListFusion, 160), (ListFusionMended, 1_161_760)):
        layer = cls({"audio": 48, "image": 192}, 120, rank=40)
        assert (
            sum(p.numel() for p in layer.parameters()) == registered
            and layer.parameter_formula() == 1_161_760
        )


def test_the_moved_parameter_is_gone_where_it_really_moves():
    assert isinstance(MovedFusion(DIMS, 7).gain, nn.Parameter)
    assert not isinstance(MovedFusion(DIMS, 7, device="meta").gain, nn.Parameter)
    assert isinstance(MovedFusionMended(DIMS, 7, device="meta").gain, nn.Parameter)


def test_the_cancelled_bias_does_get_a_gradient_of_round_off():
    torch.manual_seed(0)
    layer = CancelledFusion(DIMS, 7).double()
    layer(
        {name: torch.randn(32, dim).double() for name, dim in DIMS.items()}
    ).square().sum().backward()
    gradient, largest = (
        layer.score.bias.grad.abs().item(),
        max(p.grad.abs().max().item() for p in layer.parameters()),
    )
    assert 0 < gradient < 1e-14 * largest


def test_nine_kept_contracts_do_not_prove_the_formula():
    assert all(r.kept for r in check_contracts(SumOverAllFusion))
    layer, features = (
        SumOverAllFusion(DIMS, 7),
        {name: torch.randn(2, dim) for name, dim in DIMS.items()},
    )
    right = AverageFusion(DIMS, 7)
    right.load_state_dict(layer.state_dict())
    mask = torch.tensor([[True, False, False]] * 2)
    shrunk = (layer(features, mask=mask) - layer.head.bias) / (
        right(features, mask=mask) - layer.head.bias
    )
    assert torch.allclose(shrunk, torch.tensor(1 / 3), rtol=1e-3)


# ---- contract by contract, other ways to break it


class Held:
    """Where a parameter can hide: the constructor of each layer puts it in another place."""

    PLACES = {
        "tuple": lambda layer, p: setattr(layer, "hidden", (p,)),
        "dict": lambda layer, p: setattr(layer, "hidden", {"text": p}),
        "dict of lists": lambda layer, p: setattr(layer, "hidden", {"text": [None, p]}),
        "module in a list": lambda layer, p: setattr(layer, "hidden", [nn.ParameterList([p])]),
        "leaf tensor": lambda layer, p: setattr(
            layer, "hidden", p.detach().clone().requires_grad_()
        ),
        "moved parameter": lambda layer, p: setattr(layer, "hidden", p.clone()),
        "inside a child": lambda layer, p: setattr(layer.head, "hidden", [p]),
    }


@pytest.mark.parametrize("place", Held.PLACES)
def test_hidden_parameters_are_found(place):
    class Hides(AverageFusion):
        def __init__(self, *args):
            super().__init__(*args)
            Held.PLACES[place](self, nn.Parameter(torch.ones(3)))

    name = {
        "tuple": "hidden.0",
        "dict": "hidden.text",
        "dict of lists": "hidden.text.1",
        "module in a list": "hidden.0.0",
        "leaf tensor": "hidden",
        "moved parameter": "hidden",
        "inside a child": "head.hidden.0",
    }[place]
    assert seen(Hides, 1) == f"1 of 9 parameter tensors are not registered: {name}"


def test_registered_tensors_are_not_taken_for_hidden_ones():
    """An LSTM keeps a list of its own parameters, tied weights stand twice."""
    layer = nn.ModuleDict({"lstm": nn.LSTM(2, 3), "a": nn.Linear(2, 2), "norm": nn.BatchNorm1d(2)})
    layer.again, layer.names = [layer["a"].weight], ["text"]
    assert list(unregistered(layer)) == []


def test_a_frozen_parameter_is_said_to_get_no_gradient():
    class Frozen(AverageFusion):
        def __init__(self, *args):
            super().__init__(*args)
            self.head.weight.requires_grad_(False)

    assert broken(Frozen) == (1,)
    assert seen(Frozen, 1) == "1 of 8 parameter tensors got no gradient: head.weight"


def test_a_parameter_that_the_optimiser_is_not_given_does_not_move():
    class Hides(AverageFusion):
        def parameters(self, recurse=True):
            return (p for p in super().parameters(recurse) if p is not self.head.bias)

    assert seen(Hides, 1) == "1 of 8 parameter tensors did not move: head.bias"


def test_a_branch_that_starts_at_zero_is_alive():
    """LoRA and zero-initialised gates: the first factor has no gradient until the second has
    moved.
    """

    class Adapted(AverageFusion):
        def __init__(self, *args):
            super().__init__(*args)
            self.down, self.up = nn.Linear(self.width, 2), nn.Linear(2, self.width)
            nn.init.zeros_(self.up.weight)

        def classify(self, pooled):
            return super().classify(pooled + self.up(self.down(pooled)))

        def parameter_formula(self):
            return super().parameter_formula() + 2 * self.width + 2 + 3 * self.width

    class AdaptedWithoutMask(Adapted):
        def forward(self, features):
            return super().forward(features)

    assert broken(Adapted) == () and broken(AdaptedWithoutMask) == (3, 4, 5)


def test_a_parameter_used_only_under_a_mask_is_alive():
    class Default(AverageFusion):
        def __init__(self, *args):
            super().__init__(*args)
            self.nothing = nn.Parameter(torch.randn(self.width))

        def pool(self, x, present):
            return torch.where(present.any(1, keepdim=True), super().pool(x, present), self.nothing)

        def parameter_formula(self):
            return super().parameter_formula() + self.width

    assert broken(Default) == ()


def test_a_layer_without_parameters_keeps_them_all():
    class Mean(nn.Module):
        def forward(self, features, *, mask=None):
            mask = torch.ones(len(features["text"]), 2, dtype=torch.bool) if mask is None else mask
            x = torch.stack([features["text"], features["image"]], 1)
            return torch.where(mask[..., None], x, 0).sum(1) / mask.sum(1, keepdim=True).clamp(
                min=1
            )

    results = check_contracts(lambda: Mean(), dims={"text": 4, "image": 4})
    assert [r.kept for r in results] == [True] * 8 + [None]
    assert results[8].seen == "no formula is given"


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


def test_true_read_as_ignore_is_caught():
    class Inverted(AverageFusion):
        def forward(self, features, *, mask=None):
            return super().forward(features, mask=None if mask is None else ~mask)

    assert broken(Inverted) == (3, 4)


def test_masks_of_tokens_are_tried_where_tokens_are_given():
    class Pools(nn.Module):
        """Reads a mask of tokens, and with `leaks` forgets it."""

        def __init__(self, leaks):
            super().__init__()
            self.leaks, self.head = leaks, nn.Linear(6, 7)

        def forward(self, features, *, mask=None):
            x = features["text"]
            keep = (
                torch.ones(x.shape[:2], dtype=torch.bool)
                if mask is None or (isinstance(mask, dict) and self.leaks)
                else mask["text"]
                if isinstance(mask, dict)
                else mask.expand(x.shape[:2])
            )
            return self.head(
                torch.where(keep[..., None], x, 0).sum(1) / keep.sum(1, keepdim=True).clamp(min=1)
            )

    sample = {"dims": {"text": 6}, "tokens": {"text": 4}}
    assert broken(lambda: Pools(False), **sample) == ()
    assert broken(lambda: Pools(True), **sample) == (4,)


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda features, mask: features.pop("audio"),
            "names were added to the features or taken away",
        ),
        (
            lambda features, mask: features.update(all=1),
            "names were added to the features or taken away",
        ),
        (
            lambda features, mask: features["image"].masked_fill_(~mask[:, 1:2], 0),
            "features changed in place: image",
        ),
        (lambda features, mask: mask[:, 0].fill_(True), "the mask was changed in place"),
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


def test_a_constant_that_is_no_buffer_stays_behind():
    class Constant(AverageFusion):
        def __init__(self, *args):
            super().__init__(*args)
            self.scale = torch.full((self.width,), 2.0)

        def classify(self, pooled):
            return super().classify(self.scale * pooled)

    assert broken(Constant) == (7,)
    assert seen(Constant, 7) == "not registered, hence left behind by .to(another device): scale"


def test_a_move_that_freezes_detaches_or_casts_is_caught():
    class Freezes(AverageFusion):
        def _apply(self, function, recurse=True):
            super()._apply(function, recurse).head.requires_grad_(False)
            return self

    class Detaches(AverageFusion):
        def _apply(self, function, recurse=True):
            super()._apply(function, recurse)
            self.fast = self.head.weight.detach()
            return self

        def classify(self, pooled):
            return (
                pooled @ self.fast.T + self.head.bias
                if hasattr(self, "fast")
                else super().classify(pooled)
            )

    class Casts(AverageFusion):
        def classify(self, pooled):
            return super().classify(pooled).double()

    for make, words in (
        (
            Freezes,
            (
                "2 of 8 parameter tensors are no trainable parameters after .to(another device):"
                " head.weight, head.bias"
            ),
        ),
        (Detaches, "no gradient after .to(another dtype): head.weight"),
        (Casts, "the result's dtype is not the layer's after .to(another dtype)"),
    ):
        assert broken(make) == (7,) and seen(make, 7) == words


def test_a_row_that_knows_its_place_in_the_batch_is_caught():
    class Counts(AverageFusion):
        def classify(self, pooled):
            return super().classify(pooled + torch.arange(len(pooled))[:, None])

    assert (
        broken(Counts) == (4,)
        and seen(Counts, 4) == "a row's result changes with its place in the batch"
    )


def test_a_division_by_zero_put_right_afterwards_still_spoils_the_gradient():
    class Divides(AverageFusion):
        def pool(self, x, present):
            count = present.sum(1, keepdim=True)
            return torch.where(count > 0, x.sum(1) / count, 0)

    assert (
        broken(Divides) == (5,)
        and seen(Divides, 5) == "a gradient is not finite when everything is missing"
    )


def test_a_spread_over_the_batch_is_not_finite_for_one_row():
    class Scales(AverageFusion):
        def classify(self, pooled):
            return super().classify(pooled / pooled.std(0, correction=0))

    assert seen(Scales, 2) == "one row gives a result that is not finite"


def test_parameters_made_in_forward_do_not_load():
    class Lazy(AverageFusion):
        def classify(self, pooled):
            if not hasattr(self, "late"):
                self.late = nn.Parameter(torch.ones(self.width))
            return super().classify(pooled * self.late)

    assert seen(Lazy, 6) == "the state dict does not fit a freshly built layer"


# ---- the call itself


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: AverageFusion({"text": 0 / 1}, "C"), "raises TypeError"),
        (lambda: 1 / 0, "raises ZeroDivisionError: division by zero"),
        (lambda: None, "raises AttributeError: 'NoneType' object has no attribute"),
    ],
)
def test_a_maker_that_raises_breaks_all_nine_in_words(make, words):
    results = check_contracts(make)
    assert [r.kept for r in results] == [False] * 9
    assert all(r.seen.startswith(words) and isinstance(r.error, Exception) for r in results)


def test_a_forward_that_raises_is_told_by_its_first_line_and_torch_by_its_kind():
    class Raises(nn.Module):
        def __init__(self, error):
            super().__init__()
            self.error, self.input_dims = error, {"text": 2}

        def forward(self, features, *, mask=None):
            raise self.error

    results = check_contracts(lambda: Raises(ValueError("no head\nand more")))
    assert [r.kept for r in results] == [False] * 8 + [None] and results[
        0
    ].seen == "raises ValueError: no head"
    assert seen(lambda: Raises(RuntimeError("mat1 and mat2")), 1) == "raises RuntimeError"
    assert seen(lambda: Raises(ValueError()), 1) == "raises ValueError: "


def test_a_forward_that_gives_no_tensor_is_told():
    class Pair(AverageFusion):
        def forward(self, features, *, mask=None):
            return super().forward(features, mask=mask), None

    assert seen(Pair, 1) == "raises TypeError: forward: expected one tensor (B, C), got tuple"


def test_what_cannot_be_built_from_is_refused():
    for make in (AverageFusion(DIMS, 7), "AverageFusion"):
        with pytest.raises(
            TypeError,
            match="make: expected a class or a function that builds the layer, got (Average|str)",
        ):
            check_contracts(make)


def test_the_sample_takes_the_layers_own_modalities():
    assert broken(lambda: AverageFusion({"left": 2, "right": 3}, 4)) == ()
    assert broken(AverageFusion, dims={"left": 2, "right": 3}) == ()


def test_the_callers_settings_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    check_contracts(AverageFusion)
    check_contracts(lambda: 1 / 0)
    assert torch.equal(torch.rand(1), expected) and torch.get_default_dtype() == torch.float32


def test_the_table_is_the_same_every_time(capsys):
    tables = []
    for _ in range(2):
        show_contracts(GALLERY["a layer never called"].faulty)
        tables.append(capsys.readouterr().out)
    assert (
        tables[0]
        == tables[1]
        == """\
1  every parameter learns  BROKEN   2 of 10 parameter tensors got no gradient: mix.weight, mix.bias
2  a batch of one          kept     one row gives shape (1, 7)
3  full mask is no mask    kept     an all-present mask changes no bit
4  masked is unseen        kept     masked places and other rows change nothing
5  nothing present         kept     result and gradients are finite when everything is missing
6  saved and loaded        kept     a freshly built layer gives equal results once it is loaded
7  moved and trainable     kept     all 10 parameter tensors stay trainable parameters
8  inputs stay as given    kept     features and mask are as they were
9  counted                 kept     279 parameters, as the formula says
broken: 1
"""
    )


def test_each_contract_says_which_fault_it_catches_and_what_accuracy_hides():
    for number, contract in enumerate(CONTRACTS.values(), 1):
        text = contract.__doc__
        assert text.startswith(f"{number}: ") and "The fault: " in text
        assert any(word in text.lower() for word in ("accuracy", "scored", "result is right")), (
            number
        )
