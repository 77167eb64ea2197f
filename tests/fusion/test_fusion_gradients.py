"""The gradients of every strategy, against finite differences."""

import pytest
import torch
from fusion_cases import TWO, build, by_name, sample, variants

from course_utils.fusion import EarlyFusion


@variants
@pytest.mark.parametrize("tokens", [None, {"text": 3, "image": 2}], ids=["vectors", "tokens"])
def test_gradcheck(name, tokens):
    features, present = sample(TWO, batch=4, tokens=tokens, name=name)
    fusion = EarlyFusion(TWO, 3, hidden=5).double() if name == "early" else build(name, TWO, 3)
    leaves = [x.requires_grad_() for x in features.values()]
    parameters = dict(fusion.named_parameters())

    def run(text, image, *values):
        return torch.func.functional_call(
            fusion,
            dict(zip(parameters, values)),
            ({"text": text, "image": image},),
            {"mask": by_name(present, TWO)},
        )

    # then in one random direction per tensor
    large = sum(p.numel() for p in parameters.values()) > 100
    assert torch.autograd.gradcheck(run, (*leaves, *parameters.values()), fast_mode=large)
