"""Contracts 1, 6, 7 and 9: other ways to break them than the gallery's, and sound layers that must
pass.
"""

import pytest
import torch
from contract_results import broken, seen
from gallery import AverageFusion
from torch import nn

from course_utils.contracts import check_contracts, unregistered


def in_a_tuple(layer, p):
    layer.hidden = (p,)


def in_a_dict(layer, p):
    layer.hidden = {"text": p}


def in_a_dict_of_lists(layer, p):
    layer.hidden = {"text": [None, p]}


def in_a_module_in_a_list(layer, p):
    layer.hidden = [nn.ParameterList([p])]


def as_a_leaf_tensor(layer, p):
    layer.hidden = p.detach().clone().requires_grad_()


def as_a_moved_parameter(layer, p):
    layer.hidden = p.clone()


def inside_a_child(layer, p):
    layer.head.hidden = [p]


PLACES = {
    in_a_tuple: "hidden.0",
    in_a_dict: "hidden.text",
    in_a_dict_of_lists: "hidden.text.1",
    in_a_module_in_a_list: "hidden.0.0",
    as_a_leaf_tensor: "hidden",
    as_a_moved_parameter: "hidden",
    inside_a_child: "head.hidden.0",
}


@pytest.mark.parametrize("hide", PLACES)
def test_hidden_parameters_are_found(hide):
    class Hides(AverageFusion):
        def __init__(self, *args):
            super().__init__(*args)
            hide(self, nn.Parameter(torch.ones(3)))

    assert seen(Hides, 1) == f"1 of 9 parameter tensors are not registered: {PLACES[hide]}"
    assert seen(Hides, 6) == f"the state dict lacks what should train: {PLACES[hide]}"


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


class Adapted(AverageFusion):
    """A branch that starts at zero, as in LoRA: its first factor has no gradient until the second
    has moved.
    """

    def __init__(self, *args):
        super().__init__(*args)
        self.down, self.up = nn.Linear(self.width, 2), nn.Linear(2, self.width)
        nn.init.zeros_(self.up.weight)

    def classify(self, pooled):
        return super().classify(pooled + self.up(self.down(pooled)))

    def parameter_formula(self):
        return super().parameter_formula() + 2 * self.width + 2 + 3 * self.width


def test_a_branch_that_starts_at_zero_is_alive():
    class AdaptedWithoutMask(Adapted):
        def forward(self, features):
            return super().forward(features)

    assert broken(Adapted) == ()
    assert broken(AdaptedWithoutMask) == (3, 4, 5)


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


def test_a_layer_whose_masks_raise_is_still_asked_whether_it_learns():
    class NoMasks(AverageFusion):
        def presence(self, features, mask):
            if mask:
                raise ValueError("no masks here")
            return super().presence(features, mask)

    assert broken(NoMasks) == (2, 3, 4, 5, 8, 10, 11)
    assert seen(NoMasks, 3) == "raises ValueError: no masks here"
    assert seen(NoMasks, 11) == "float16: raises ValueError: no masks here"


def test_a_layer_without_parameters_keeps_them_all():
    class Mean(nn.Module):
        def forward(self, features, *, mask=None):
            total, count = 0, 0
            for name in ("text", "image"):
                x = features[name]
                kept = torch.ones(len(x), dtype=torch.bool)
                if mask and name in mask:
                    kept = mask[name]
                total = total + torch.where(kept[:, None], x, 0)
                count = count + kept[:, None].long()
            return total / count.clamp(min=1)

    results = check_contracts(lambda: Mean(), dims={"text": 4, "image": 4})
    kept = {r.number: r.kept for r in results}
    assert kept == dict.fromkeys(range(1, 12), True) | {9: None}
    assert results[8].seen == "no formula is given"


def test_a_constant_that_is_no_buffer_stays_behind():
    class Constant(AverageFusion):
        def __init__(self, *args):
            super().__init__(*args)
            self.scale = torch.full((self.width,), 2.0)

        def classify(self, pooled):
            return super().classify(self.scale * pooled)

    assert broken(Constant) == (7, 11)
    assert seen(Constant, 7) == "not registered, hence left behind by .to(another device): scale"


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
        if hasattr(self, "fast"):
            return pooled @ self.fast.T + self.head.bias
        return super().classify(pooled)


class Casts(AverageFusion):
    def classify(self, pooled):
        return super().classify(pooled).double()


@pytest.mark.parametrize(
    "make, breaks, words",
    [
        (
            Freezes,
            (7,),
            "2 of 8 parameter tensors are no trainable parameters after .to(another device):"
            " head.weight, head.bias",
        ),
        (Detaches, (7,), "no gradient after .to(another dtype): head.weight"),
        (Casts, (7, 11), "the result's dtype is not the layer's after .to(another dtype)"),
    ],
)
def test_a_move_that_freezes_detaches_or_casts_is_caught(make, breaks, words):
    assert broken(make) == breaks
    assert seen(make, 7) == words


def test_parameters_made_in_forward_do_not_load():
    class Lazy(AverageFusion):
        def classify(self, pooled):
            if not hasattr(self, "late"):
                self.late = nn.Parameter(torch.ones(self.width))
            return super().classify(pooled * self.late)

    assert seen(Lazy, 6) == "the state dict does not fit a freshly built layer"


def test_a_formula_that_gives_none_is_skipped():
    class Unknown(AverageFusion):
        def parameter_formula(self):
            return None

    result = check_contracts(Unknown, numbers=[9])[0]
    assert (result.kept, result.seen) == (None, "no formula is given")
