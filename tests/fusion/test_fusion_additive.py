"""The formulas of concatenation, late fusion, experts and weighted sums, written another way."""

import itertools
import math

import pytest
import torch
from fusion_cases import THREE, build, by_name, sample, unrounded
from torch import nn

from course_utils.fusion import (
    ConcatFusion,
    EarlyFusion,
    MaxFusion,
    MeanFusion,
    ProductOfExpertsFusion,
    WeightedSumFusion,
)


def test_linear_concat_is_a_linear_layer_on_the_concatenation():
    features, present = sample()
    fusion = build("concat")
    glued = torch.cat([features[name] for name in THREE], 1)
    assert torch.equal(
        fusion(features), nn.functional.linear(glued, fusion.head.weight, fusion.head.bias)
    )
    kept = torch.repeat_interleave(present, torch.tensor(list(THREE.values())), 1)
    assert torch.equal(
        fusion(features, mask=by_name(present)),
        nn.functional.linear(glued * kept, fusion.head.weight, fusion.head.bias),
    )


def test_a_placeholder_stands_exactly_where_its_modality_is_missing():
    features, present = sample()
    fusion = build("concat placeholder")
    nn.init.normal_(fusion.placeholder)
    blocks = [
        torch.where(present[:, m, None], x, block)
        for m, (x, block) in enumerate(
            zip(features.values(), fusion.placeholder.split(fusion.dims))
        )
    ]
    logits, info = fusion(features, mask=by_name(present), return_info=True)
    assert torch.allclose(logits, fusion.head(torch.cat(blocks, 1)), rtol=0, atol=1e-14)
    whole = info.contributions.sum(1) + fusion.head.bias
    assert torch.allclose(whole, logits, rtol=0, atol=1e-14)


def test_weighted_concat_is_concat_of_weighted_vectors():
    features, present = sample()
    fusion = build("weighted_concat")
    fusion.scores.data = torch.tensor([0.3, -7 / 9, 1 / 3], dtype=torch.float64)
    _, info = fusion(features, mask=by_name(present), return_info=True)
    weights = (
        present
        * fusion.scores.exp()
        / (present * fusion.scores.exp()).sum(1, keepdim=True).clamp(min=1e-300)
    )
    assert torch.allclose(info.weights, weights, rtol=0, atol=1e-15)
    scaled = [a[:, None] * x for x, a in zip(features.values(), weights.unbind(1))]
    expected = nn.functional.linear(torch.cat(scaled, 1), fusion.head.weight, fusion.head.bias)
    found = fusion(features, mask=by_name(present))
    assert torch.allclose(found, expected, rtol=0, atol=1e-14)


def test_early_fusion_hands_the_raw_inputs_to_one_encoder():
    features, _ = sample()
    fusion = EarlyFusion(THREE, 4, hidden=15, encoder=lambda inputs, hidden: nn.Identity())
    fusion = unrounded(fusion.double())
    assert torch.equal(
        fusion(features), fusion.head(torch.cat([features[name] for name in THREE], 1))
    )
    with pytest.raises(TypeError, match="width"):
        EarlyFusion(THREE, 4, width=3)


def test_the_default_encoder_of_early_fusion_has_a_relu_after_each_layer():
    features, _ = sample()
    fusion = build("early")
    (first, _, second), last = fusion.encoder
    assert isinstance(last, nn.ReLU)
    x = second(first(torch.cat([*features.values()], 1)).relu()).relu()
    assert torch.allclose(fusion(features), fusion.head(x), rtol=0, atol=1e-14)


def test_normalised_modalities_reach_the_map_at_one_scale():
    features, _ = sample()
    loud = features | {"image": 1000 * features["image"]}
    scale = {}
    for normalise in (False, True):
        fusion = ConcatFusion(THREE, 7, normalise=normalise).double()
        scale[normalise] = [
            fusion._prepare(n, loud[n], torch.ones(8, 1, dtype=torch.bool)).std().item()
            for n in THREE
        ]
    assert scale[False][1] > 500 * scale[False][0]
    assert scale[True] == pytest.approx([1, 1, 1], abs=0.15)


def test_late_fusion_is_the_mean_of_the_present_heads():
    features, present = sample()
    fusion = build("late hidden, projected")
    heads = {name: fusion.heads[name](fusion.project[name](features[name])) for name in THREE}
    for i, row in enumerate(present):
        there = [heads[name][i] for name, here in zip(THREE, row) if here]
        expected = torch.stack(there).mean(0) if there else torch.zeros(7, dtype=torch.float64)
        assert torch.allclose(
            fusion(features, mask=by_name(present))[i], expected, rtol=0, atol=1e-14
        )


def test_the_mean_of_logits_is_the_normalised_geometric_mean_of_probabilities():
    features, _ = sample()
    fusion = build("late")
    probs = torch.stack([fusion.heads[name](features[name]).softmax(1) for name in THREE])
    geometric = probs.prod(0) ** (1 / 3)
    expected = geometric / geometric.sum(1, keepdim=True)
    assert torch.allclose(fusion(features).softmax(1), expected, rtol=0, atol=1e-14)


def test_product_of_experts_is_bayes_rule_on_a_table():
    """Two cues, independent given the class: the posterior of both, from experts that each know
    their own cue.
    """
    prior = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    rng = torch.Generator().manual_seed(0)
    # p(value | class)
    tables = [torch.rand(3, n, generator=rng, dtype=torch.float64) for n in (4, 2)]
    tables = [table / table.sum(1, keepdim=True) for table in tables]
    fusion = ProductOfExpertsFusion({"a": 4, "b": 2}, 3, prior=prior).double()
    fusion.log_prior.copy_(prior.log())  # built in float32
    for name, table in zip("ab", tables):
        joint = prior[:, None] * table
        # an expert's scale is free
        fusion.heads[name].weight.data = (joint / joint.sum(0)).log() + 5
        nn.init.zeros_(fusion.heads[name].bias)
    for i, j in itertools.product(range(4), range(2)):
        x = {
            "a": torch.eye(4, dtype=torch.float64)[i : i + 1],
            "b": torch.eye(2, dtype=torch.float64)[j : j + 1],
        }
        seen = prior * tables[0][:, i]
        for there, posterior in ((True, seen * tables[1][:, j]), (False, seen)):
            logits, info = fusion(x, mask={"b": torch.tensor([there])}, return_info=True)
            assert torch.allclose(
                logits.softmax(1)[0], posterior / posterior.sum(), rtol=0, atol=1e-14
            )
            assert torch.allclose(
                info.contributions[0, 0],
                (seen / seen.sum()).log() - prior.log(),
                rtol=0,
                atol=1e-13,
            )


def test_sum_is_a_linear_layer_on_the_concatenation():
    features, _ = sample()
    fusion = build("sum")
    weight = torch.cat([fusion.head.weight @ fusion.project[n].weight for n in THREE], 1)
    bias = fusion.head(sum(fusion.project[n].bias for n in THREE))
    glued = torch.cat([features[n] for n in THREE], 1)
    assert torch.allclose(
        fusion(features), nn.functional.linear(glued, weight, bias), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize(
    "options, alphas",
    [
        ({}, (1 / 3, 1 / 3, 1 / 3)),
        ({"weights": {"image": 0.2, "text": 0.3, "audio": 0.7}}, (3 / 12, 2 / 12, 7 / 12)),
        ({"variances": {"text": 1 / 3, "image": 1, "audio": 0.3}}, (9 / 22, 3 / 22, 10 / 22)),
    ],
    ids=["learned", "weights", "variances"],
)
def test_weighted_sum_and_mean_by_hand(options, alphas):
    dims, default = dict.fromkeys(THREE, 5), torch.get_default_dtype()
    features, present = sample(dims)
    try:
        torch.set_default_dtype(torch.float64)
        fusion, mean = (
            WeightedSumFusion(dims, 7, width=None, **options),
            MeanFusion(dims, 7, width=None),
        )
    finally:
        torch.set_default_dtype(default)
    present[0] = True  # of two, equal weights are halves, which float32 holds
    kept = present * torch.tensor(alphas, dtype=torch.float64)
    kept = kept / kept.sum(1, keepdim=True).clamp(min=1e-300)
    pooled = sum(kept[:, m : m + 1] * x for m, x in enumerate(features.values()))
    assert torch.allclose(
        fusion(features, mask=by_name(present)), fusion.head(pooled), rtol=0, atol=1e-13
    )
    assert (
        isinstance(fusion.scores, nn.Parameter) == (not options) and "scores" in fusion.state_dict()
    )
    if not options:
        mean.head.load_state_dict(fusion.head.state_dict())
        assert torch.allclose(
            mean(features, mask=by_name(present)),
            fusion(features, mask=by_name(present)),
            rtol=0,
            atol=1e-13,
        )


def test_learned_weights_rest_where_they_are_the_inverse_variances():
    """Three unbiased cues of 0 whose errors are uncorrelated in the sample, one number each,
    squared error.
    """
    sigma = torch.tensor([0.3, 7 / 9, 5 / 3], dtype=torch.float64)
    features = {
        n: torch.eye(3, dtype=torch.float64)[:, i : i + 1] * sigma[i] * 3**0.5
        for i, n in enumerate(THREE)
    }
    fusion = WeightedSumFusion(dict.fromkeys(THREE, 1), 1, width=None).double()
    fusion.head.load_state_dict({"weight": torch.ones(1, 1), "bias": torch.zeros(1)})
    sizes = []
    for scores in (torch.zeros(3), -2 * sigma.log()):
        fusion.scores.data = scores.double()
        sizes.append(
            torch.autograd.grad(fusion(features).square().mean(), fusion.scores)[0].abs().max()
        )
    assert sizes[0] > 0.1 and sizes[1] < 1e-15


def test_a_tie_of_the_maximum_shares_gradient_and_weight_and_absence_never_wins():
    fusion = MaxFusion({"a": 2, "b": 2}, 1, width=None)
    nn.init.ones_(fusion.head.weight)
    a, b = (
        torch.tensor([[1.0, -3.0]], requires_grad=True),
        torch.tensor([[1.0, -2.0]], requires_grad=True),
    )
    logits, info = fusion({"a": a, "b": b}, return_info=True)
    logits.sum().backward()
    assert (
        a.grad.tolist() == [[0.5, 0.0]]
        and b.grad.tolist() == [[0.5, 1.0]]
        and info.weights.tolist() == [[0.25, 0.75]]
    )
    assert (logits - fusion.head.bias).item() == pytest.approx(-1, abs=1e-6)
    alone = fusion({"a": a, "b": b}, mask={"b": torch.tensor([False])}) - fusion.head.bias
    assert alone.item() == pytest.approx(-2, abs=1e-6)  # a missing modality is no zero


@pytest.fixture
def float64_by_default():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def test_constants_are_exact_in_a_layer_built_in_float64(float64_by_default):
    """As the docstrings say: not through float32, which cannot hold .3 and 7/9."""
    third = ProductOfExpertsFusion({"a": 4, "b": 2}, 3, prior=[0.5, 0.3, 0.2])
    assert third.log_prior.tolist() == pytest.approx([math.log(p) for p in (0.5, 0.3, 0.2)], 1e-15)
    sizes = {"a": 4, "b": 4}
    weighted = WeightedSumFusion(sizes, 3, weights={"a": 0.3, "b": 7 / 9})
    weighted_by = weighted.scores.softmax(0).tolist()
    assert weighted_by == pytest.approx([0.3 / (0.3 + 7 / 9), 7 / 9 / (0.3 + 7 / 9)], 1e-15)
