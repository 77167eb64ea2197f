"""All strategies side by side: the table, size and cost, what each can tell of its result, what
interacts.
"""

import itertools

import pytest
import torch
from fusion_cases import THREE, TWO, SumOfProjections, build, by_name, sample, variants
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from course_utils.fusion import (
    STRATEGIES,
    AttentionPoolFusion,
    BilinearFusion,
    BottleneckFusion,
    ConcatFusion,
    CrossAttentionFusion,
    Description,
    EarlyFusion,
    FiLMFusion,
    FusionInfo,
    GatedFusion,
    JointTransformerFusion,
    LateFusion,
    LowRankTensorFusion,
    MaxFusion,
    ProductOfExpertsFusion,
    SumFusion,
    TensorFusion,
    WeightedConcatFusion,
    WeightedSumFusion,
    describe,
)


def test_the_table_of_strategies_builds_every_class():
    assert list(STRATEGIES) == [
        "concat",
        "weighted_concat",
        "early",
        "late",
        "product_of_experts",
        "sum",
        "mean",
        "weighted_sum",
        "max",
        "gated",
        "film",
        "bilinear",
        "tensor",
        "low_rank",
        "attention_pool",
        "cross_attention",
        "bottleneck",
        "joint_transformer",
    ]
    accepts = {
        "attention_pool": "both",
        "cross_attention": "tokens",
        "bottleneck": "both",
        "joint_transformer": "both",
    }
    for name, cls in STRATEGIES.items():
        fusion = cls({"text": 6, "image": 5, "audio": 4}, 7)
        assert fusion(sample(dtype=torch.float32, name=name)[0]).shape == (8, 7)
        assert fusion.accepts == accepts.get(name, "vectors") and fusion.names == (
            "text",
            "image",
            "audio",
        )
        for fact in ("Cost in multiply-adds", "Missing", "row with", "Source:"):
            assert fact in " ".join(cls.__doc__.split()), (name, fact)


@pytest.mark.parametrize(
    "fusion, count",
    [
        (ConcatFusion(TWO, 4), 11 * 4 + 4),
        (ConcatFusion(TWO, 4, hidden=3), 12 * 3 + 4 * 4),
        (
            ConcatFusion(TWO, 4, width=3, normalise=True, placeholder=True),
            7 * 3 + 6 * 3 + 2 * 6 + 6 + 7 * 4,
        ),
        (EarlyFusion(TWO, 4, hidden=3), 12 * 3 + 4 * 3 + 4 * 4),
        (LateFusion(TWO, 4), 7 * 4 + 6 * 4),
        (LateFusion(TWO, 4, hidden=3, normalise=True), 2 * 11 + 7 * 3 + 6 * 3 + 2 * 16),
        (WeightedConcatFusion(TWO, 4, placeholder=True), 2 + 11 + 12 * 4),
        (ProductOfExpertsFusion(TWO, 4), 7 * 4 + 6 * 4),
        (SumFusion(TWO, 4, width=3), 7 * 3 + 6 * 3 + 4 * 4),
        (MaxFusion({"a": 5, "b": 5}, 4, width=None), 6 * 4),
        (WeightedSumFusion(TWO, 4, width=3), 2 + 13 * 3 + 4 * 4),
        (WeightedSumFusion(TWO, 4, width=3, weights={"text": 1, "image": 2}), 13 * 3 + 4 * 4),
        (GatedFusion(TWO, 4, hidden=3), (7 + 6) * 3 + 12 * 6 + 4 * 4),
        (FiLMFusion(TWO, 4), 5 * 12 + 7 * 4),
        (BilinearFusion(THREE, 4, width=None), (30 + 24 + 20 + 1) * 4),
        (TensorFusion(THREE, 4, width=None), (7 * 6 * 5 + 1) * 4),
        (LowRankTensorFusion(TWO, 4, rank=2), (7 + 6) * 8 + 4),
        (AttentionPoolFusion(TWO, 4, width=3), 13 * 3 + 4 * 3 + 3 + 4 * 4),
        (CrossAttentionFusion(TWO, 4, width=2, heads=1), 13 * 2 + (6 + 4 + 6 + 6) + 2 + 3 * 4),
        (
            JointTransformerFusion(TWO, 4, width=2, heads=1, layers=3),
            13 * 2 + 3 * 2 + 3 * (22 + 8 + 12 + 10) + 4 + 3 * 4,
        ),
        (
            BottleneckFusion(TWO, 4, width=2, heads=1, layers=3, bottlenecks=5),
            13 * 2 + 5 * 2 + 6 * (22 + 8 + 12 + 10) + 4 + 3 * 4,
        ),
    ],
)
def test_the_parameter_formula_by_hand(fusion, count):
    assert fusion.parameter_formula() == count == sum(p.numel() for p in fusion.parameters())


@variants
@pytest.mark.parametrize(
    "tokens", [None, {"text": 3, "image": 4, "audio": 2}], ids=["vectors", "tokens"]
)
def test_describe_equals_what_is_counted(name, tokens):
    features, present = sample(tokens=tokens, name=name)
    fusion = build(name).train()
    told = describe(fusion, tokens)
    # torch's counter knows no fused attention on a CPU, so attention runs as plain matrix products
    # here.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        fusion(features, mask=by_name(present))
    size = sum(p.numel() for p in fusion.parameters())
    if name == "early encoder":
        assert (told.parameters, told.multiply_adds) == (None, None)
    else:
        assert (told.parameters, told.multiply_adds) == (size, counter.get_total_flops() / 2 / 8)
    assert told.strategy in (name.split()[0], name) and told.accepts == fusion.accepts


def test_describe_by_hand():
    assert describe(ConcatFusion(TWO, 4)) == Description("concat", "vectors", 48, 44)
    projected = ConcatFusion(TWO, 4, width=3)
    assert describe(projected, {"text": 9}) == Description(
        "concat", "vectors", 13 * 3 + 7 * 4, 11 * 3 + 6 * 4
    )
    assert describe(SumOfProjections(TWO, 4)) == Description(
        "SumOfProjections", "vectors", 13 * 8 + 9 * 4, None
    )
    cross = CrossAttentionFusion({"text": 2, "image": 2}, 3, width=None, heads=1)
    assert (
        describe(cross, {"text": 5, "image": 3}).multiply_adds
        == 5 * 4 * 2 + 4 * 4 * 2 + 2 * 5 * 4 * 2 + 2 * 3
    )
    for tokens, message in (
        ({"video": 3}, "tokens: expected modalities out of ['text', 'image'], got ['video']"),
        ({"text": 0}, "tokens['text']: expected a whole number of at least 1, got 0"),
    ):
        with pytest.raises(ValueError) as caught:
            describe(cross, tokens)
        assert message in str(caught.value)


def test_attention_of_bottlenecks_grows_slower_than_that_of_one_sequence():
    lengths = {"text": 200, "image": 200, "audio": 200}
    joint, narrow = (
        describe(build(name), lengths).multiply_adds for name in ("joint_transformer", "bottleneck")
    )
    assert 2 < joint / narrow < 3


SHARES = {  # what the contributions leave out of the logits
    **dict.fromkeys(
        (
            "concat",
            "concat projected",
            "concat placeholder",
            "weighted_concat",
            "sum",
            "mean",
            "weighted_sum",
            "weighted_sum fixed",
            "weighted_sum variances",
            "max",
            "gated",
            "gated projected",
            "attention_pool",
        ),
        lambda fusion: fusion.head.bias,
    ),
    "late": lambda fusion: 0,
    "late hidden, projected": lambda fusion: 0,
    "product_of_experts": lambda fusion: fusion.log_prior,
    "product_of_experts prior": lambda fusion: fusion.log_prior,
}


@pytest.mark.parametrize("name", SHARES)
def test_contributions_sum_to_the_logits_minus_the_bias(name):
    features, present = sample(tokens={"audio": 3})
    fusion = build(name)
    for given in (None, by_name(present)):
        logits, info = fusion(features, mask=given, return_info=True)
        assert torch.equal(logits, fusion(features, mask=given))
        assert info.contributions.shape == (8, 3, 7)
        assert torch.allclose(
            info.contributions.sum(1), logits - SHARES[name](fusion), rtol=0, atol=1e-13
        )
    if name != "concat placeholder":
        assert not info.contributions[~present].any()


def test_weights_sum_to_one_where_anything_is_present_and_are_zero_for_what_is_missing():
    features, present = sample()
    for name in (
        "late",
        "mean",
        "weighted_sum",
        "weighted_sum fixed",
        "weighted_sum variances",
        "weighted_concat",
        "max",
        "gated",
        "attention_pool",
    ):
        _, info = build(name)(features, mask=by_name(present), return_info=True)
        total, anything = info.weights.sum(1), present.any(1).double()
        assert torch.allclose(total, anything, rtol=0, atol=1e-15), name
        assert torch.equal(info.weights > 0, present), name
    assert torch.equal(
        build("sum")(features, mask=by_name(present), return_info=True)[1].weights, present.double()
    )


def test_what_has_no_contributions_says_so():
    for name in (
        "concat hidden",
        "early",
        "film",
        "bilinear",
        "tensor",
        "low_rank",
        "bottleneck",
        "joint_transformer",
    ):
        assert build(name)(sample()[0], return_info=True)[1] == FusionInfo(None, None, None)


def interaction(name):
    """The four-point statistic of the logits, f(a, b) - f(a', b) - f(a, b') + f(a', b')."""
    fusion = build(name, TWO)
    (a, b), (c, d) = (sample(TWO, seed=seed, name=name)[0].values() for seed in (1, 2))
    f = [fusion({"text": x, "image": y}) for x, y in ((a, b), (c, b), (a, d), (c, d))]
    return (f[0] - f[1] - f[2] + f[3]).abs().max().item()


ADDITIVE = (
    "concat",
    "concat projected",
    "concat placeholder",
    "weighted_concat",
    "late",
    "late normalised",
    "late hidden, projected",
    "product_of_experts",
    "product_of_experts prior",
    "sum",
    "mean",
    "weighted_sum",
    "weighted_sum fixed",
    "weighted_sum variances",
)


@variants
def test_additive_strategies_have_no_interaction_and_all_others_have(name):
    assert interaction(name) < 1e-14 if name in ADDITIVE else interaction(name) > 1e-3


def test_only_a_full_product_separates_the_parity_of_three_signs():
    """The eight-point statistic of parity is 0 for sums of functions of two modalities, and not
    for products of three.
    """
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)), dtype=torch.float64)
    features, dims = (
        {name: signs[:, i : i + 1] for i, name in enumerate(THREE)},
        dict.fromkeys(THREE, 1),
    )
    for cls, options in (
        (BilinearFusion, {"width": None}),
        (TensorFusion, {"width": None}),
        (LowRankTensorFusion, {}),
    ):
        torch.manual_seed(0)
        statistic = (
            (signs.prod(1, keepdim=True) * cls(dims, 2, **options).double()(features))
            .sum(0)
            .abs()
            .max()
        )
        assert statistic < 1e-14 if cls is BilinearFusion else statistic > 0.1
