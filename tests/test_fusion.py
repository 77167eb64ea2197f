"""Every strategy: the nine contracts, its formula, its masks, and an error for everything that
does not fit.
"""

import copy
import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from course_utils.contracts import check_contracts
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
    Fusion,
    FusionInfo,
    GatedFusion,
    JointTransformerFusion,
    LateFusion,
    LowRankTensorFusion,
    MaxFusion,
    MeanFusion,
    ModalityDropout,
    ProductOfExpertsFusion,
    SumFusion,
    TensorFusion,
    WeightedConcatFusion,
    WeightedSumFusion,
    describe,
)
from course_utils.fusion.attention import _Block
from course_utils.masks import masked_mean

TWO, THREE = {"text": 6, "image": 5}, {"text": 6, "image": 5, "audio": 4}
# Options that depend on the modalities or classes are functions of (input_dims, output_dim).
VARIANTS = {name: (cls, {}) for name, cls in STRATEGIES.items()} | {
    "concat hidden": (ConcatFusion, {"hidden": 9}),
    "concat projected": (ConcatFusion, {"width": 3, "normalise": True}),
    "concat placeholder": (ConcatFusion, {"placeholder": True}),
    "concat everything": (
        ConcatFusion,
        {"hidden": 9, "placeholder": True, "width": 3, "normalise": True},
    ),
    "early encoder": (
        EarlyFusion,
        {"hidden": 8, "encoder": lambda i, o: nn.Sequential(nn.Linear(i, o), nn.Tanh())},
    ),
    "late normalised": (LateFusion, {"normalise": True}),
    "late hidden, projected": (LateFusion, {"hidden": 9, "width": 3}),
    "weighted_concat everything": (
        WeightedConcatFusion,
        {"hidden": 9, "placeholder": True, "width": 3},
    ),
    "product_of_experts prior": (
        ProductOfExpertsFusion,
        lambda dims, C: {"hidden": 5, "prior": [(c + 1) * 2 / C / (C + 1) for c in range(C)]},
    ),
    "weighted_sum fixed": (
        WeightedSumFusion,
        lambda dims, C: {"weights": dict(zip(dims, (2, 0.5, 3))), "width": 5},
    ),
    "weighted_sum variances": (
        WeightedSumFusion,
        lambda dims, C: {"variances": dict(zip(dims, (0.25, 1, 2)))},
    ),
    "gated projected": (GatedFusion, {"hidden": 6, "width": 4, "normalise": True}),
    "film content": (FiLMFusion, {"content": "image", "width": 4}),
    "low_rank projected": (LowRankTensorFusion, {"rank": 2, "width": 3}),
    "cross_attention query": (
        CrossAttentionFusion,
        {"query": "image", "width": 6, "heads": 2, "normalise": True},
    ),
    "cross_attention co": (CrossAttentionFusion, {"co": True, "width": 6, "heads": 1}),
    "bottleneck small": (BottleneckFusion, {"bottlenecks": 1, "layers": 1, "heads": 1, "width": 4}),
    "joint_transformer small": (
        JointTransformerFusion,
        {"layers": 1, "heads": 2, "width": 4, "normalise": True},
    ),
}
TOKENS_ONLY = [name for name, (cls, _) in VARIANTS.items() if cls.accepts == "tokens"]
variants = pytest.mark.parametrize("name", VARIANTS)


def build(name, dims=THREE, output_dim=7, dtype=torch.float64):
    torch.manual_seed(0)
    return make(name, dims, output_dim).to(dtype)


def make(name, dims=THREE, output_dim=7):
    cls, options = VARIANTS[name]
    return cls(dims, output_dim, **(options(dims, output_dim) if callable(options) else options))


def sample(dims=THREE, batch=8, tokens=None, seed=0, dtype=torch.float64, name=None, length=1):
    """Random features and a random mask with each modality missing somewhere, and in the last
    row all of them.

    For the `name` of a strategy that refuses vectors, they are sequences of `length` tokens
    instead.
    """
    rng = torch.Generator().manual_seed(seed)
    tokens = (dict.fromkeys(dims, length) if name in TOKENS_ONLY else {}) | (tokens or {})
    features = {
        m: torch.randn(
            *((batch, tokens[m], dim) if m in tokens else (batch, dim)), generator=rng, dtype=dtype
        )
        for m, dim in dims.items()
    }
    mask = torch.rand(batch, len(dims), generator=rng) < 0.6
    mask[: len(dims)] ^= torch.eye(len(dims), dtype=torch.bool)
    mask[-1] = False
    return features, mask


class SumOfProjections(Fusion):
    """A strategy as a contributor would write it: the shared parts come from the base."""

    def __init__(self, input_dims, output_dim, *, width=8, **options):
        super().__init__(input_dims, output_dim, width=width, **options)
        self.head = nn.Linear(width, output_dim)

    def fuse(self, inputs, present):
        return self.head(torch.stack(inputs, 1).sum(1))

    def own_parameters(self):
        return (self.width + 1) * self.output_dim


class MaxOverTokens(Fusion):
    """The largest of all present tokens' projections, 0 where there is none."""

    accepts = "both"

    def __init__(self, input_dims, output_dim, *, width=8, **options):
        super().__init__(input_dims, output_dim, width=width, **options)
        self.head = nn.Linear(width, output_dim)

    def fuse(self, inputs, present):
        tokens, kept = torch.cat(inputs, 1), torch.cat(present, 1)
        largest = tokens.masked_fill(~kept[..., None], -torch.inf).amax(1)
        return self.head(torch.where(kept.any(1, keepdim=True), largest, 0))

    def own_parameters(self):
        return (self.width + 1) * self.output_dim


class OnlyTokens(MaxOverTokens):
    accepts = "tokens"


# ---- the nine contracts


@pytest.mark.parametrize(
    "name, dtype",
    [
        *((name, torch.float64) for name in VARIANTS),
        *((name, torch.float32) for name in STRATEGIES),
    ],
)
@pytest.mark.parametrize(
    "dims, tokens",
    [(TWO, None), (THREE, None), (TWO, {"text": 3, "image": 4}), (THREE, {"text": 5, "audio": 1})],
    ids=["2 vectors", "3 vectors", "2 tokens", "3 mixed"],
)
def test_every_strategy_keeps_all_nine_contracts(name, dims, tokens, dtype):
    tokens = dict.fromkeys(dims, 2) | (tokens or {}) if name in TOKENS_ONLY else tokens
    results = check_contracts(lambda: make(name, dims), tokens=tokens, dtype=dtype)
    # no formula for a reader's own encoder
    kept = [True] * 8 + [None if name == "early encoder" else True]
    assert [r.kept for r in results] == kept, results
    assert results[2].seen == "an all-present mask changes no bit"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_every_strategy_gives_the_same_on_a_gpu():
    for name, tokens in itertools.product(VARIANTS, (None, {"text": 5, "image": 3, "audio": 2})):
        features, mask = sample(tokens=tokens, name=name)
        leaves = [
            {n: x.to(device).requires_grad_() for n, x in features.items()}
            for device in ("cpu", "cuda")
        ]
        fusion, grads = build(name), []
        for device, x in zip(("cpu", "cuda"), leaves):
            moved = copy.deepcopy(fusion).to(device)
            logits, info = moved(x, mask=mask.to(device), return_info=True)
            logits.square().sum().backward()
            grads.append(
                [logits, *(p.grad for p in moved.parameters()), *(v.grad for v in x.values())]
            )
            assert all(
                x.is_cuda == logits.is_cuda
                for x in vars(info).values()
                if isinstance(x, torch.Tensor)
            )
        assert all(torch.allclose(a, b.cpu(), atol=1e-9) for a, b in zip(*grads)), name


@pytest.mark.parametrize("cls", [SumOfProjections, MaxOverTokens, OnlyTokens])
def test_a_new_strategy_of_a_few_lines_keeps_them_too(cls):
    for dims, tokens in ((TWO, None), (THREE, {"text": 5, "image": 2, "audio": 1})):
        assert all(r.kept for r in check_contracts(cls, dims=dims, tokens=tokens))


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


# ---- the formulas


def test_linear_concat_is_a_linear_layer_on_the_concatenation():
    features, mask = sample()
    fusion = build("concat")
    glued = torch.cat([features[name] for name in THREE], 1)
    assert torch.equal(
        fusion(features), nn.functional.linear(glued, fusion.head.weight, fusion.head.bias)
    )
    kept = torch.repeat_interleave(mask, torch.tensor(list(THREE.values())), 1)
    assert torch.equal(
        fusion(features, mask=mask),
        nn.functional.linear(glued * kept, fusion.head.weight, fusion.head.bias),
    )


def test_late_fusion_is_the_mean_of_the_present_heads():
    features, mask = sample()
    fusion = build("late hidden, projected")
    heads = {name: fusion.heads[name](fusion.project[name](features[name])) for name in THREE}
    for i, row in enumerate(mask):
        present = [heads[name][i] for name, here in zip(THREE, row) if here]
        expected = torch.stack(present).mean(0) if present else torch.zeros(7, dtype=torch.float64)
        assert torch.allclose(fusion(features, mask=mask)[i], expected, rtol=0, atol=1e-14)


def test_the_mean_of_logits_is_the_normalised_geometric_mean_of_probabilities():
    features, _ = sample()
    fusion = build("late")
    probs = torch.stack([fusion.heads[name](features[name]).softmax(1) for name in THREE])
    geometric = probs.prod(0) ** (1 / 3)
    assert torch.allclose(
        fusion(features).softmax(1), geometric / geometric.sum(1, keepdim=True), atol=1e-14
    )


def test_early_fusion_hands_the_raw_inputs_to_one_encoder():
    features, _ = sample()
    fusion = EarlyFusion(THREE, 4, hidden=15, encoder=lambda inputs, hidden: nn.Identity()).double()
    assert torch.equal(
        fusion(features), fusion.head(torch.cat([features[name] for name in THREE], 1))
    )
    with pytest.raises(TypeError, match="width"):
        EarlyFusion(THREE, 4, width=3)


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
    features, mask = sample(tokens={"audio": 3})
    fusion = build(name)
    for given in (None, mask):
        logits, info = fusion(features, mask=given, return_info=True)
        assert torch.equal(logits, fusion(features, mask=given))
        assert info.contributions.shape == (8, 3, 7)
        assert torch.allclose(
            info.contributions.sum(1), logits - SHARES[name](fusion), rtol=0, atol=1e-13
        )
    if name != "concat placeholder":
        assert not info.contributions[~mask].any()


def test_weights_sum_to_one_where_anything_is_present_and_are_zero_for_what_is_missing():
    features, mask = sample()
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
        _, info = build(name)(features, mask=mask, return_info=True)
        assert torch.allclose(info.weights.sum(1), mask.any(1).double()), name
        assert torch.equal(info.weights > 0, mask), name
    assert torch.equal(
        build("sum")(features, mask=mask, return_info=True)[1].weights, mask.double()
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
        ({"weights": {"image": 1, "text": 3.0, "audio": 4}}, (3 / 8, 1 / 8, 4 / 8)),
        ({"variances": {"text": 0.5, "image": 1, "audio": 0.25}}, (2 / 7, 1 / 7, 4 / 7)),
    ],
    ids=["learned", "weights", "variances"],
)
def test_weighted_sum_and_mean_by_hand(options, alphas):
    dims, default = dict.fromkeys(THREE, 5), torch.get_default_dtype()
    features, mask = sample(dims)
    try:
        torch.set_default_dtype(torch.float64)
        fusion, mean = (
            WeightedSumFusion(dims, 7, width=None, **options),
            MeanFusion(dims, 7, width=None),
        )
    finally:
        torch.set_default_dtype(default)
    kept = mask * torch.tensor(alphas, dtype=torch.float64)
    kept = kept / kept.sum(1, keepdim=True).clamp(min=1e-300)
    pooled = sum(kept[:, m : m + 1] * x for m, x in enumerate(features.values()))
    assert torch.allclose(fusion(features, mask=mask), fusion.head(pooled), rtol=0, atol=1e-13)
    assert (
        isinstance(fusion.scores, nn.Parameter) == (not options) and "scores" in fusion.state_dict()
    )
    if not options:
        mean.head.load_state_dict(fusion.head.state_dict())
        assert torch.allclose(
            mean(features, mask=mask), fusion(features, mask=mask), rtol=0, atol=1e-13
        )


def test_learned_weights_rest_where_they_are_the_inverse_variances():
    """Three unbiased cues of 0 whose errors are uncorrelated in the sample, one number each,
    squared error.
    """
    sigma = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
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


def test_weighted_concat_is_concat_of_weighted_vectors():
    features, mask = sample()
    fusion, plain = build("weighted_concat"), build("concat")
    plain.head.load_state_dict(fusion.head.state_dict())
    fusion.scores.data = torch.tensor([1.0, -1.0, 0.5]).double()
    _, info = fusion(features, mask=mask, return_info=True)
    weights = (
        mask
        * fusion.scores.exp()
        / (mask * fusion.scores.exp()).sum(1, keepdim=True).clamp(min=1e-300)
    )
    assert torch.allclose(info.weights, weights, atol=1e-14)
    scaled = {n: a[:, None] * x for (n, x), a in zip(features.items(), weights.unbind(1))}
    assert torch.allclose(fusion(features, mask=mask), plain(scaled), atol=1e-14)


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
    alone = fusion({"a": a, "b": b}, mask=torch.tensor([[True, False]])) - fusion.head.bias
    assert alone.item() == pytest.approx(-2, abs=1e-6)  # a missing modality is no zero


def test_the_gate_of_two_is_z_and_one_minus_z():
    features, _ = sample(TWO)
    fusion = build("gated", TWO)
    x = torch.cat([*features.values()], 1)
    (U1, U2), (d1, d2) = fusion.gate.weight.chunk(2), fusion.gate.bias.chunk(2)
    z = torch.sigmoid(x @ (U1 - U2).T + d1 - d2)
    v1, v2 = (torch.tanh(fusion.value[n](features[n])) for n in TWO)
    logits, info = fusion(features, return_info=True)
    assert torch.allclose(logits, fusion.head(z * v1 + (1 - z) * v2), rtol=0, atol=1e-13)
    assert torch.allclose(info.weights[:, 0], z.mean(1), atol=1e-14)


def test_film_scales_and_shifts_and_leaves_alone_what_has_no_condition():
    features, _ = sample()
    fusion = build("film content")
    h = {n: fusion.project[n](x) for n, x in features.items()}
    G, S = fusion.film.weight.chunk(2)
    c = torch.cat([h["text"], h["audio"]], 1)
    assert torch.allclose(
        fusion(features), fusion.head((1 + c @ G.T) * h["image"] + c @ S.T), rtol=0, atol=1e-13
    )
    alone = fusion(features, mask=torch.tensor([[False, True, False]]).expand(8, 3))
    assert torch.allclose(alone, fusion.head(h["image"]), rtol=0, atol=1e-14)


def test_bilinear_and_tensor_fusion_equal_their_explicit_products():
    features, _ = sample()
    t, i, a = features.values()
    fusion = BilinearFusion(THREE, 7, width=None).double()
    W = fusion.head.weight.split([30, 24, 20], 1)
    pairs = [
        torch.einsum("bi,cij,bj->bc", x, w.view(7, x.shape[1], y.shape[1]), y)
        for w, (x, y) in zip(W, ((t, i), (t, a), (i, a)))
    ]
    assert torch.allclose(fusion(features), sum(pairs) + fusion.head.bias, rtol=0, atol=1e-13)
    fusion = TensorFusion(THREE, 7, width=None).double()
    one = [torch.cat([x, torch.ones(8, 1, dtype=torch.float64)], 1) for x in (t, i, a)]
    z = torch.einsum("bi,bj,bk->bijk", *one)
    assert torch.allclose(fusion(features), fusion.head(z.flatten(1)), rtol=0, atol=1e-13)


def test_low_rank_fusion_is_the_sum_of_products_and_at_full_rank_any_tensor_fusion():
    features, _ = sample()
    fusion, ones = build("low_rank"), torch.ones(8, 1, dtype=torch.float64)
    # (R, C, D + 1)
    F = [torch.cat([f.weight, f.bias[:, None]], 1).view(4, 7, -1) for f in fusion.factors.values()]
    one = [torch.cat([x, ones], 1) for x in features.values()]
    explicit = torch.einsum("bi,bj,bk,rci,rcj,rck->bc", *one, *F) + fusion.bias
    assert torch.allclose(fusion(features), explicit, rtol=0, atol=1e-12)

    full = TensorFusion(TWO, 3, width=None).double()
    low = LowRankTensorFusion(TWO, 3, rank=6).double()  # the smaller of 6 + 1 and 5 + 1
    # for each class
    U, S, Vh = torch.linalg.svd(full.head.weight.view(3, 7, 6), full_matrices=False)
    # (R C, D + 1)
    left, right = (U * S[:, None]).permute(2, 0, 1).flatten(0, 1), Vh.permute(1, 0, 2).flatten(0, 1)
    low.load_state_dict(
        {
            "bias": full.head.bias,
            "factors.text.weight": left[:, :-1],
            "factors.text.bias": left[:, -1],
            "factors.image.weight": right[:, :-1],
            "factors.image.bias": right[:, -1],
        }
    )
    two = {n: features[n] for n in TWO}
    assert torch.allclose(low(two), full(two), rtol=0, atol=1e-12)


@pytest.mark.parametrize("M", [2, 4, 7])
def test_low_rank_fusion_starts_at_one_scale_for_any_number_of_modalities(M):
    dims = {f"m{i}": 20 for i in range(M)}
    torch.manual_seed(0)
    squares = [
        LowRankTensorFusion(dims, 10)({n: torch.randn(200, 20) for n in dims}).square().mean()
        for _ in range(20)
    ]
    assert 0.5 < torch.stack(squares).mean() < 2


def test_attention_pool_equals_a_loop_over_the_rows():
    features, present = sample(tokens={"text": 4, "audio": 2})
    fusion = build("attention_pool")
    holes = torch.rand(8, 4, generator=torch.Generator().manual_seed(1)) < 0.6
    mask = {
        "text": holes & present[:, :1],
        "image": present[:, 1:2],
        "audio": torch.ones(8, 2, dtype=torch.bool),
    }
    logits, info = fusion(features, mask=mask, return_info=True)
    for i in range(8):
        items = [
            fusion.project[n](x[i].view(-1, THREE[n])[mask[n][i]]) for n, x in features.items()
        ]
        h = torch.cat(items)
        a = (
            torch.tanh(h @ fusion.score[0].weight.T + fusion.score[0].bias)
            @ fusion.score[2].weight[0]
        ).softmax(0)
        assert torch.allclose(logits[i], fusion.head(a @ h), rtol=0, atol=1e-13)
        parts = a.split([len(x) for x in items])
        assert torch.allclose(
            info.weights[i], torch.stack([part.sum() for part in parts]), atol=1e-14
        )
        assert torch.allclose(info.attention["text"][i][mask["text"][i]], parts[0], atol=1e-14)
    assert (
        info.attention["text"].shape == (8, 4) and not info.attention["text"][~mask["text"]].any()
    )


@pytest.mark.parametrize("name", ["cross_attention", "cross_attention query", "cross_attention co"])
def test_cross_attention_equals_torchs_and_the_explicit_formula(name):
    tokens = {"text": 3, "image": 4, "audio": 2}
    features, present = sample(tokens=tokens)
    present[:, :2] |= ~present.any(1, keepdim=True)
    holes = {
        n: (
            (torch.rand(8, T, generator=torch.Generator().manual_seed(T)) < 0.7)
            & present[:, i : i + 1]
        )
        for i, (n, T) in enumerate(tokens.items())
    }
    fusion = build(name)
    nn.init.normal_(fusion.null)
    logits, info = fusion(features, mask=holes, return_info=True)
    x = {n: fusion._prepare(n, features[n], holes[n]) for n in THREE}
    pooled, asked = [], []
    for null, (asker, attend) in zip(fusion.null, fusion.attend.items()):
        keys = torch.cat([*(x[n] for n in THREE if n != asker), null.expand(8, 1, -1)], 1)
        kept = torch.cat(
            [*(holes[n] for n in THREE if n != asker), torch.ones(8, 1, dtype=torch.bool)], 1
        )
        found, weights = [], []
        rows = zip(
            *(m.weight.chunk(attend.heads) for m in (attend.q, attend.k, attend.v)),
            *(m.bias.chunk(attend.heads) for m in (attend.q, attend.v)),
        )
        for Wq, Wk, Wv, bq, bv in rows:
            Q, K, V = x[asker] @ Wq.T + bq, keys @ Wk.T, keys @ Wv.T + bv
            S = (Q @ K.transpose(1, 2) / math.sqrt(Q.shape[2])).masked_fill(
                ~kept[:, None], -math.inf
            )
            weights.append(S.softmax(2))
            found.append(weights[-1] @ V)
            torchs = nn.functional.scaled_dot_product_attention(Q, K, V, attn_mask=kept[:, None])
            assert torch.allclose(found[-1], torchs, rtol=0, atol=1e-13)
        assert info.attention[asker].shape == (8, attend.heads, tokens[asker], keys.shape[1])
        there = holes[asker][:, None, :, None]
        assert torch.allclose(
            info.attention[asker], torch.stack(weights, 1) * there, rtol=0, atol=1e-13
        )
        assert torch.allclose(
            info.attention[asker].sum(3, keepdim=True),
            there.double().expand(-1, attend.heads, -1, -1),
        )
        pooled.append(masked_mean(x[asker] + attend.out(torch.cat(found, 2)), holes[asker]))
        asked.append(holes[asker].any(1, keepdim=True))
    mean = sum(pooled) / sum(asked).clamp(min=1)
    assert torch.allclose(logits, fusion.head(mean), rtol=0, atol=1e-12) and info.weights is None


def test_without_the_query_modality_one_way_attention_gives_the_bias_and_co_attention_does_not():
    features, _ = sample(name="cross_attention")
    mask = torch.tensor([[False, True, True]]).expand(8, 3)
    one, both = build("cross_attention"), build("cross_attention co")
    assert torch.equal(one(features, mask=mask), one.head.bias.expand(8, 7))
    assert (both(features, mask=mask) - both.head.bias).abs().min() > 1e-6


def test_the_transformer_block_is_torchs_without_the_key_bias():
    torch.manual_seed(0)
    ours = _Block(8, 2).double()
    theirs = nn.TransformerEncoderLayer(
        8, 2, 16, 0, "gelu", batch_first=True, norm_first=True
    ).double()
    for p in ours.parameters():
        nn.init.normal_(p)
    a, zero = ours.attention, torch.zeros(8, dtype=torch.float64)
    theirs.load_state_dict(
        {
            "self_attn.in_proj_weight": torch.cat([a.q.weight, a.k.weight, a.v.weight]),
            "self_attn.in_proj_bias": torch.cat([a.q.bias, zero, a.v.bias]),
            "self_attn.out_proj.weight": a.out.weight,
            "self_attn.out_proj.bias": a.out.bias,
            **{
                f"linear{i}.{k}": v
                for i, j in ((1, 0), (2, 2))
                for k, v in ours.mlp[j].state_dict().items()
            },
            **{f"norm1.{k}": v for k, v in ours.before_attention.state_dict().items()},
            **{f"norm2.{k}": v for k, v in ours.before_mlp.state_dict().items()},
        }
    )
    x, kept = torch.randn(4, 5, 8, dtype=torch.float64), torch.rand(4, 5) < 0.6
    kept[:, 0] = True
    assert torch.allclose(ours(x, kept), theirs(x, src_key_padding_mask=~kept), rtol=0, atol=1e-11)


def test_bottleneck_and_joint_transformer_equal_loops_over_rows_and_present_modalities():
    features, present = sample(tokens={"text": 4, "audio": 2})
    narrow, joint = build("bottleneck"), build("joint_transformer")
    together = [fusion(features, mask=present) for fusion in (narrow, joint)]
    for i in range(8):
        here = [n for n, there in zip(THREE, present[i]) if there]
        x, shared = (
            {n: narrow.project[n](features[n][i].view(1, -1, THREE[n])) for n in here},
            narrow.bottlenecks[None],
        )
        for blocks in narrow.layers:
            # the order of tokens does not matter
            whole = {n: torch.cat([x[n], shared], 1) for n in here}
            whole = {
                n: blocks[n](z, torch.ones(1, z.shape[1], dtype=torch.bool))
                for n, z in whole.items()
            }
            x, last = {n: z[:, :-4] for n, z in whole.items()}, [z[:, -4:] for z in whole.values()]
            shared = sum(last) / len(last) if last else shared
        assert torch.allclose(together[0][i], narrow.head(shared.mean(1))[0], rtol=0, atol=1e-12)
        z = torch.cat(
            [
                joint.token.view(1, 1, -1),
                *(
                    joint.project[n](features[n][i].view(1, -1, THREE[n])) + joint.kinds[m]
                    for m, n in enumerate(THREE)
                    if n in here
                ),
            ],
            1,
        )
        for block in joint.layers:
            z = block(z, torch.ones(1, z.shape[1], dtype=torch.bool))
        assert torch.allclose(together[1][i], joint.head(z[:, 0])[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "name", [name for name, (cls, _) in VARIANTS.items() if cls.accepts != "vectors"]
)
def test_the_order_of_tokens_does_not_matter(name):
    features, present = sample(tokens={"text": 5, "image": 4}, name=name)
    holes = torch.rand(8, 5, generator=torch.Generator().manual_seed(1)) < 0.6
    mask = {"text": holes, "image": present[:, 1:2].expand(8, 4)}
    fusion, order = build(name), torch.tensor([3, 0, 4, 1, 2])
    moved = fusion(
        features | {"text": features["text"][:, order]},
        mask=mask | {"text": mask["text"][:, order]},
    )
    assert torch.allclose(moved, fusion(features, mask=mask), rtol=0, atol=1e-12)


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
        for mask, posterior in (([True, True], seen * tables[1][:, j]), ([True, False], seen)):
            logits, info = fusion(x, mask=torch.tensor([mask]), return_info=True)
            assert torch.allclose(
                logits.softmax(1)[0], posterior / posterior.sum(), rtol=0, atol=1e-14
            )
            assert torch.allclose(
                info.contributions[0, 0],
                (seen / seen.sum()).log() - prior.log(),
                rtol=0,
                atol=1e-13,
            )


def test_without_a_mask_nothing_is_masked(monkeypatch):
    """Where all is present, `torch.where` over the features would cost as much as a small fusion
    itself.
    """
    fusion, features = build("concat everything"), sample(tokens={"text": 3})[0]
    fusion.placeholder = None
    expected = fusion(features, mask=torch.ones(8, 3, dtype=torch.bool))
    monkeypatch.delattr(torch, "where")
    assert torch.equal(fusion(features), expected)


# ---- size and cost


@variants
@pytest.mark.parametrize(
    "tokens", [None, {"text": 3, "image": 4, "audio": 2}], ids=["vectors", "tokens"]
)
def test_describe_equals_what_is_counted(name, tokens):
    features, mask = sample(tokens=tokens, name=name)
    fusion = build(name).train()
    told = describe(fusion, tokens)
    # torch's counter knows no fused attention on a CPU, so attention runs as plain matrix products
    # here.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        fusion(features, mask=mask)
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


@variants
@pytest.mark.parametrize("tokens", [None, {"text": 3, "image": 2}], ids=["vectors", "tokens"])
def test_gradcheck(name, tokens):
    features, mask = sample(TWO, batch=4, tokens=tokens, name=name)
    fusion = EarlyFusion(TWO, 3, hidden=5).double() if name == "early" else build(name, TWO, 3)
    leaves = [x.requires_grad_() for x in features.values()]
    parameters = dict(fusion.named_parameters())

    def run(text, image, *values):
        return torch.func.functional_call(
            fusion, dict(zip(parameters, values)), ({"text": text, "image": image},), {"mask": mask}
        )

    # then in one random direction per tensor
    large = sum(p.numel() for p in parameters.values()) > 100
    assert torch.autograd.gradcheck(run, (*leaves, *parameters.values()), fast_mode=large)


# ---- masks


@variants
@pytest.mark.parametrize("seed", range(3))
def test_a_masked_batch_equals_each_row_alone_without_what_is_masked(name, seed):
    """Row by row: only the present tokens are handed over, and a missing modality is any other
    numbers, masked.
    """
    rng = torch.Generator().manual_seed(100 + seed)
    tokens = dict(zip(("text", "audio"), torch.randint(1, 6, (2,), generator=rng).tolist()))
    features, present = sample(tokens=tokens, seed=seed, name=name)
    mask = {
        n: (torch.rand(8, T, generator=rng) < 0.5) & present[:, list(THREE).index(n), None]
        for n, T in tokens.items()
    }
    mask["image"] = present[:, 1:2]
    fusion = build(name)
    together = fusion(features, mask=mask)
    for i in range(8):
        alone, here = {}, []
        for n, x in features.items():
            kept = mask[n][i]
            here.append(bool(kept.any()))
            alone[n] = (
                x[i : i + 1]
                if x.dim() == 2
                else x[i : i + 1, kept]
                if here[-1]
                else torch.rand(1, 2, x.shape[2]).double()
            )
        assert torch.allclose(
            fusion(alone, mask=torch.tensor([here])), together[i : i + 1], atol=1e-12
        )


@variants
def test_nan_in_masked_places_changes_neither_results_nor_gradients(name):
    features, present = sample(tokens={"text": 5}, name=name)
    holes = torch.rand(8, 5, generator=torch.Generator().manual_seed(3)) < 0.5
    for mask in (
        present,
        {"text": holes & present[:, :1], "image": present[:, 1:2], "audio": present[:, 2:]},
    ):
        seen = []
        for fill in (0.0, 7.0, math.inf, math.nan):
            fusion = build(name)
            spoiled = {n: x.clone() for n, x in features.items()}
            for n, keep in mask.items() if isinstance(mask, dict) else zip(THREE, mask.unbind(1)):
                spoiled[n][~(keep[:, 0] if spoiled[n].dim() == 2 and keep.dim() == 2 else keep)] = (
                    fill
                )
            leaves = {n: x.requires_grad_() for n, x in spoiled.items()}
            result = fusion(leaves, mask=mask)
            result.square().sum().backward()
            seen.append(
                [
                    result.detach(),
                    *(p.grad for p in fusion.parameters()),
                    *(x.grad for x in leaves.values()),
                ]
            )
        for other in seen[1:]:
            assert all(torch.equal(a, b) for a, b in zip(seen[0], other))
        assert all(x.isfinite().all() for x in seen[0])
        assert not seen[0][-1][~present[:, 2]].any()  # no gradient reaches a missing modality


NOT_AS_IF_BUILT_WITHOUT = {
    **dict.fromkeys(
        ("concat placeholder", "concat everything", "weighted_concat everything"),
        "a missing block is learned",
    ),
    **dict.fromkeys(
        ("low_rank", "low_rank projected"),
        "the factor of [0; 1] is learned, and would have to be 1",
    ),
    "early encoder": "a reader's own encoder may do as it likes",
}


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in NOT_AS_IF_BUILT_WITHOUT])
@pytest.mark.parametrize(
    "tokens", [None, {"text": 3, "image": 2, "audio": 4}], ids=["vectors", "tokens"]
)
def test_a_masked_modality_is_as_if_the_strategy_were_built_without_it(name, tokens):
    """The one built without gets the same numbers: of each tensor the leading part that it has."""
    features, _ = sample(tokens=tokens, name=name)
    whole, part, mask = (
        build(name),
        build(name, TWO),
        torch.tensor([[True, True, False]]).expand(8, 3),
    )
    given = whole.state_dict()
    if name == "tensor":  # of [h_audio; 1] only the 1 is left
        given["head.weight"] = whole.head.weight.view(7, -1, whole.dims[2] + 1)[:, :, -1]
    part.load_state_dict(
        {key: given[key][tuple(slice(n) for n in x.shape)] for key, x in part.state_dict().items()}
    )
    without = part({n: features[n] for n in TWO})
    assert torch.allclose(whole(features, mask=mask), without, atol=1e-12)


ROW_OF_NOTHING = {
    **dict.fromkeys(
        (
            "concat",
            "concat projected",
            "weighted_concat",
            "sum",
            "mean",
            "weighted_sum",
            "weighted_sum fixed",
            "max",
            "gated",
            "film",
            "bilinear",
            "attention_pool",
            "cross_attention",
            "cross_attention co",
        ),
        lambda f: f.head.bias,
    ),
    "concat placeholder": lambda f: f.head(f.placeholder),
    "weighted_concat everything": lambda f: f.head(f.placeholder),
    "early": lambda f: f.head(f.encoder(torch.zeros(15, dtype=torch.float64))),
    "late": lambda f: torch.zeros(7, dtype=torch.float64),
    "product_of_experts": lambda f: torch.full((7,), 1 / 7, dtype=torch.float64).log(),
    "product_of_experts prior": lambda f: f.log_prior,
    "tensor": lambda f: f.head.bias + f.head.weight[:, -1],
    "low_rank": (
        lambda f: f.bias + math.prod(factor.bias for factor in f.factors.values()).view(4, 7).sum(0)
    ),
    "bottleneck": lambda f: f.head(f.bottlenecks.mean(0)),
}


@pytest.mark.parametrize("name", ROW_OF_NOTHING)
def test_a_row_without_anything_gives_what_the_docstring_says(name):
    features, mask = sample(name=name)
    fusion = build(name)
    if hasattr(fusion, "placeholder") and fusion.placeholder is not None:
        nn.init.normal_(fusion.placeholder)
    tolerance = 1e-7 if "experts" in name else 1e-14  # the prior was built in float32
    assert torch.allclose(
        fusion(features, mask=mask)[-1], ROW_OF_NOTHING[name](fusion), atol=tolerance
    )


def test_the_joint_transformer_without_anything_gives_the_same_for_each_such_row():
    features, mask = sample()
    logits = build("joint_transformer")(features, mask=torch.zeros_like(mask))
    assert torch.allclose(logits, logits[:1].expand(8, 7), atol=1e-14)


def test_a_dict_mask_may_cover_some_modalities_and_both_forms_agree():
    for name in VARIANTS:
        features, mask = sample(tokens={"text": 5}, name=name)
        fusion = build(name)
        assert torch.equal(fusion(features, mask={}), fusion(features))
        columns = {"text": mask[:, :1].expand(8, 5), "image": mask[:, 1:2], "audio": mask[:, 2:]}
        assert torch.equal(fusion(features, mask=columns), fusion(features, mask=mask))
        only = torch.cat([mask[:, :1], torch.ones(8, 2, dtype=torch.bool)], 1)
        assert torch.equal(
            fusion(features, mask={"text": columns["text"]}), fusion(features, mask=only)
        )




def test_tokens_are_pooled_for_vector_strategies():
    features, _ = sample(tokens=dict.fromkeys(THREE, 4))
    pooled = {name: x.mean(1) for name, x in features.items()}
    single = {name: x[:, None] for name, x in pooled.items()}
    for name in set(VARIANTS) - set(TOKENS_ONLY):
        fusion = build(name)
        assert torch.equal(fusion(single), fusion(pooled))
        if fusion.accepts == "vectors":
            assert torch.allclose(fusion(features), fusion(pooled), atol=1e-13)


@variants
def test_the_order_of_modalities_is_the_constructors(name):
    features, mask = sample(name=name)
    fusion = build(name)
    for order in itertools.permutations(THREE):
        assert torch.equal(
            fusion({n: features[n] for n in order}, mask=mask), fusion(features, mask=mask)
        )


# ---- where it runs


@variants
def test_it_runs_on_the_meta_device_and_under_autocast(name):
    features, mask = sample(dtype=torch.float32, name=name)
    fusion = build(name, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = features | {"text": features["text"].bfloat16()}
        assert torch.allclose(
            fusion(mixed, mask=mask).float(), fusion(features, mask=mask).float(), atol=0.1
        )
    meta = copy.deepcopy(fusion).to("meta")
    assert meta({n: x.to("meta") for n, x in features.items()}, mask=mask.to("meta")).shape == (
        8,
        7,
    )


# ---- what does not fit

X = {"text": torch.zeros(3, 6), "image": torch.zeros(3, 5)}
FITS = torch.ones(3, 2, dtype=torch.bool)


@pytest.mark.parametrize(
    "features, error, message",
    [
        (
            {},
            ValueError,
            (
                "features: expected a dict with the modalities ['text', 'image'], got []; a missing"
                " modality keeps its name"
            ),
        ),
        ([1, 2], ValueError, "got list"),
        ({"text": X["text"]}, ValueError, "['text', 'image'], got ['text']"),
        (X | {"audio": X["text"]}, ValueError, "got ['text', 'image', 'audio']"),
        (
            X | {"image": [[0.0] * 5] * 3},
            TypeError,
            "features['image']: expected a tensor, got list",
        ),
        (
            X | {"image": X["image"].long()},
            TypeError,
            "features['image']: expected torch.float32 like the parameters, got torch.int64",
        ),
        (
            X | {"image": X["image"].double()},
            TypeError,
            "features['image']: expected torch.float32 like the parameters, got torch.float64",
        ),
        (
            X | {"text": torch.zeros(3, 5)},
            ValueError,
            "features['text']: expected shape (B, 6) or (B, T, 6), got (3, 5)",
        ),
        (
            X | {"text": torch.zeros(6)},
            ValueError,
            "features['text']: expected shape (B, 6) or (B, T, 6), got (6,)",
        ),
        (X | {"text": torch.zeros(3, 2, 2, 6)}, ValueError, "got (3, 2, 2, 6)"),
        (
            X | {"text": torch.zeros(4, 6)},
            ValueError,
            "features: expected as many rows in each modality, got {'text': 4, 'image': 3}",
        ),
        (
            X | {"text": torch.zeros(0, 6)},
            ValueError,
            "features['text']: expected at least one row and one token, got shape (0, 6)",
        ),
        (X | {"text": torch.zeros(3, 0, 6)}, ValueError, "got shape (3, 0, 6)"),
        (
            X | {"text": torch.zeros(3, 6, device="meta")},
            ValueError,
            "features['text']: expected on cpu like the parameters, got meta",
        ),
    ],
)
@pytest.mark.parametrize("cls", [cls for cls in STRATEGIES.values() if cls.accepts != "tokens"])
def test_features_that_do_not_fit(cls, features, error, message):
    with pytest.raises(error) as caught:
        cls(TWO, 4)(features, mask=FITS)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "mask, error, message",
    [
        (
            torch.ones(3, 2),
            TypeError,
            "mask: expected torch.bool, True = present, got torch.float32",
        ),
        (torch.ones(3, 2).long(), TypeError, "got torch.int64"),
        (
            FITS.tolist(),
            TypeError,
            "mask: expected a boolean tensor or a dict of them by modality, got list",
        ),
        (
            FITS[:, :1],
            ValueError,
            "mask: expected shape (3, 2) (rows, modalities ['text', 'image']), got (3, 1)",
        ),
        (
            FITS.T,
            ValueError,
            "expected shape (3, 2) (rows, modalities ['text', 'image']), got (2, 3)",
        ),
        (FITS[0], ValueError, "got (2,)"),
        (FITS.to("meta"), ValueError, "mask: expected on cpu like the parameters, got meta"),
        (
            {"video": FITS},
            ValueError,
            "mask: expected modalities out of ['text', 'image'], got ['video']",
        ),
        (
            {"text": FITS},
            ValueError,
            "mask['text']: expected shape (3, 4) of features['text'], got (3, 2)",
        ),
        (
            {"image": FITS},
            ValueError,
            "mask['image']: expected shape (3, 1) of features['image'], got (3, 2)",
        ),
        ({"text": torch.ones(3, 4)}, TypeError, "mask['text']: expected torch.bool"),
        ({"text": None}, TypeError, "mask['text']: expected a boolean tensor, got NoneType"),
    ],
)
def test_masks_that_do_not_fit(mask, error, message):
    with pytest.raises(error) as caught:
        ConcatFusion(TWO, 4)(X | {"text": torch.zeros(3, 4, 6)}, mask=mask)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "dims, output_dim, options, message",
    [
        ({}, 4, {}, "input_dims: expected at least one modality as {name: width}, got {}"),
        ([6, 5], 4, {}, "input_dims: expected at least one modality as {name: width}, got [6, 5]"),
        ({"text": 0}, 4, {}, "input_dims['text']: expected a whole number of at least 1, got 0"),
        ({"text": 6.0}, 4, {}, "got 6.0"),
        ({"keys": 6}, 4, {}, "input_dims: 'keys' cannot name a modality"),
        ({"a.b": 6}, 4, {}, "'a.b' cannot name a modality"),
        (TWO, 0, {}, "output_dim: expected a whole number of at least 1, got 0"),
        (TWO, 4, {"hidden": -1}, "hidden: expected a whole number of at least 1, got -1"),
        (TWO, 4, {"width": 0}, "width: expected a whole number of at least 1, got 0"),
        ({"text": 1}, 4, {"normalise": True}, "normalise: expected widths of at least 2, got [1]"),
    ],
)
def test_constructor_arguments_that_do_not_fit(dims, output_dim, options, message):
    with pytest.raises(ValueError) as caught:
        ConcatFusion(dims, output_dim, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "cls, options, message",
    [
        (
            SumFusion,
            {"width": None},
            (
                "width: expected a width to project to, or input_dims that are all equal, got"
                " width=None and {'text'"
            ),
        ),
        (JointTransformerFusion, {"width": None}, "input_dims that are all equal, got width=None"),
        (
            WeightedSumFusion,
            {"weights": {"text": 1, "image": 2}, "variances": {"text": 1, "image": 2}},
            "weights, variances: expected one of the two, got both",
        ),
        (
            WeightedSumFusion,
            {"weights": {"text": 1}},
            "weights: expected a number for each of ['text', 'image'], got {'text': 1}",
        ),
        (
            WeightedSumFusion,
            {"weights": [1, 2]},
            "weights: expected a number for each of ['text', 'image'], got [1, 2]",
        ),
        (
            WeightedSumFusion,
            {"variances": {"text": 1, "video": 1}},
            (
                "variances: expected a number for each of ['text', 'image'], got {'text': 1,"
                " 'video': 1}"
            ),
        ),
        (
            WeightedSumFusion,
            {"variances": {"text": 1, "image": 0}},
            "variances: expected positive finite numbers, got {'text': 1, 'image': 0}",
        ),
        (
            WeightedSumFusion,
            {"weights": {"text": math.inf, "image": 1}},
            "weights: expected positive finite numbers, got {'text': inf, 'image': 1}",
        ),
        (
            WeightedSumFusion,
            {"weights": {"text": math.nan, "image": 1}},
            "weights: expected positive finite numbers",
        ),
        (
            WeightedSumFusion,
            {"weights": {"text": "1", "image": 1}},
            "weights: expected positive finite numbers",
        ),
        (GatedFusion, {"hidden": 0}, "hidden: expected a whole number of at least 1, got 0"),
        (
            FiLMFusion,
            {"content": "video"},
            "content: expected one of ['text', 'image'], got 'video'",
        ),
        (LowRankTensorFusion, {"rank": 0}, "rank: expected a whole number of at least 1, got 0"),
        (
            CrossAttentionFusion,
            {"query": "video"},
            "query: expected one of ['text', 'image'], got 'video'",
        ),
        (
            CrossAttentionFusion,
            {"query": "text", "co": True},
            "query: expected None with co=True, where every modality asks, got 'text'",
        ),
        (CrossAttentionFusion, {"heads": 5}, "heads: expected a divisor of the width 32, got 5"),
        (BottleneckFusion, {"heads": 0}, "heads: expected a whole number of at least 1, got 0"),
        (
            BottleneckFusion,
            {"bottlenecks": 0},
            "bottlenecks: expected a whole number of at least 1, got 0",
        ),
        (BottleneckFusion, {"layers": 0}, "layers: expected a whole number of at least 1, got 0"),
        (
            JointTransformerFusion,
            {"layers": 1.5},
            "layers: expected a whole number of at least 1, got 1.5",
        ),
        (
            ProductOfExpertsFusion,
            {"prior": [0.5, 0.5]},
            "prior: expected 4 positive numbers that sum to 1, got [0.5, 0.5]",
        ),
        (
            ProductOfExpertsFusion,
            {"prior": [0.5, 0.5, 0.0, 0.0]},
            "prior: expected 4 positive numbers that sum to 1",
        ),
        (
            ProductOfExpertsFusion,
            {"prior": torch.ones(4)},
            "prior: expected 4 positive numbers that sum to 1, got [1.0, 1.0, 1.0, 1.0]",
        ),
        (
            ProductOfExpertsFusion,
            {"prior": [math.nan] * 4},
            "prior: expected 4 positive numbers that sum to 1",
        ),
    ],
)
def test_options_that_do_not_fit(cls, options, message):
    with pytest.raises(ValueError) as caught:
        cls(TWO, 4, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("cls", [FiLMFusion, BilinearFusion, CrossAttentionFusion])
def test_what_needs_two_modalities_says_so(cls):
    with pytest.raises(
        ValueError,
        match=rf"input_dims: {cls.__name__} expected at least 2 modalities, got \['text'\]",
    ):
        cls({"text": 6}, 4)


def test_one_modality_is_enough_for_the_others():
    for name, cls in STRATEGIES.items():
        if cls.at_least == 1:
            assert cls({"text": 6}, 4)({"text": X["text"]}).shape == (3, 4), name
    with pytest.raises(ValueError, match="output_dim: expected at least 2 classes, got 1"):
        ProductOfExpertsFusion(TWO, 1)


@pytest.mark.parametrize("cls", [OnlyTokens, CrossAttentionFusion])
def test_a_token_strategy_refuses_vectors_and_says_why(cls):
    with pytest.raises(ValueError) as caught:
        cls(TWO, 4)(X)
    assert (
        str(caught.value)
        == "features['text']: expected shape (B, T, 6), got (3, 6); a single vector would be a"
        " single "
        "key, and a softmax over one key is 1 whatever the query is"
    )
    with pytest.raises(ValueError, match=r"expected shape \(B, T, 6\), got \(3, 2, 5\)$"):
        cls(TWO, 4)(X | {"text": torch.zeros(3, 2, 5)})


# ---- modality dropout


def test_modality_dropout_keeps_its_rate_and_never_takes_the_last():
    torch.manual_seed(0)
    drop, features, N = (
        ModalityDropout(0.4),
        {n: torch.zeros(40000, dim) for n, dim in THREE.items()},
        40000,
    )
    keep = drop(features)
    assert keep.shape == (N, 3) and keep.dtype == torch.bool and keep.any(1).all()
    given = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 1, 1]]).bool().repeat(N // 4, 1)
    for mask, k in ((torch.ones(N, 3, dtype=torch.bool), 3), (given, None)):
        keep = drop(features, mask)
        assert not (keep & ~mask).any() and torch.equal(keep.any(1), mask.any(1))
        for count in (1, 2, 3) if k is None else (k,):
            rows = mask.sum(1) == count
            rate = 0.4 - 0.4**count / count
            for m in range(3):
                here = rows & mask[:, m]
                n = int(here.sum())
                assert (
                    abs((~keep[here, m]).sum().item() - n * rate)
                    <= 4.5 * math.sqrt(n * rate * (1 - rate)) + 1e-6
                )
    assert ModalityDropout(0.0)(features).all()


def test_modality_dropout_gives_back_the_form_of_mask_that_came():
    torch.manual_seed(0)
    features, present = sample(tokens={"text": 5}, batch=50)
    drop = ModalityDropout(0.5)
    mask = {"text": (torch.rand(50, 5) < 0.5) & present[:, :1], "image": present[:, 1:2]}
    before = copy.deepcopy(mask)
    result = drop(features, mask)
    assert list(result) == ["text", "image", "audio"] and [x.shape for x in result.values()] == [
        (50, 5),
        (50, 1),
        (50, 1),
    ]
    assert all(torch.equal(mask[n], before[n]) for n in mask)
    kept = {n: x.any(1) for n, x in result.items()}
    assert (
        torch.equal(result["text"], mask["text"] & kept["text"][:, None])
        and not (kept["image"] & ~present[:, 1]).any()
    )
    assert not kept["audio"].all()
    assert torch.stack([*kept.values()]).any(0).all()  # audio was there in all rows
    drop.eval()
    assert (
        drop(features, mask) is mask
        and drop(features, present) is present
        and drop(features) is None
    )
    assert not drop.state_dict()


def test_no_gradient_reaches_a_dropped_modality():
    torch.manual_seed(0)
    features = {n: x.requires_grad_() for n, x in sample(batch=40)[0].items()}
    keep = ModalityDropout(0.5)(features)
    build("gated")(features, mask=keep).square().sum().backward()
    for m, x in enumerate(features.values()):
        assert torch.equal(x.grad.any(1), keep[:, m])


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, "0.5", None, math.nan])
def test_dropout_rates_that_do_not_fit(p):
    with pytest.raises(ValueError, match="p: expected a number of at least 0 and below 1, got"):
        ModalityDropout(p)


def test_dropout_checks_its_mask():
    for mask, error, message in (
        (FITS.float(), TypeError, "mask: expected torch.bool"),
        (FITS[:, :1], ValueError, "mask: expected shape (3, 2)"),
        (
            {"video": FITS},
            ValueError,
            "mask: expected modalities out of ['text', 'image'], got ['video']",
        ),
    ):
        with pytest.raises(error) as caught:
            ModalityDropout(0.5)(X, mask)
        assert message in str(caught.value)


# ---- the contributor's page
# -------------------------------------------------------------------------


def test_the_strategy_of_the_contributors_page_keeps_the_contracts():
    page = (Path(__file__).parents[1] / "course_utils" / "README.md").read_text(encoding="utf-8")
    names = {}
    exec(page.split("```python\n", 1)[1].split("```", 1)[0], names)
    strategy = names["HadamardFusion"]
    for dims in (TWO, THREE):
        results = check_contracts(strategy, dims=dims)
        assert all(result.kept for result in results), [
            result.seen for result in results if not result.kept
        ]
        fusion = strategy(dims, 7)
        assert describe(fusion).parameters == sum(p.numel() for p in fusion.parameters())
        assert describe(fusion).multiply_adds == 32 * (sum(dims.values()) + 7)
    assert len(names["HadamardFusion"].__doc__.splitlines()) > 4


# ---- faults that a careful reading found
# ------------------------------------------------------------


def test_a_placeholder_stands_exactly_where_its_modality_is_missing():
    features, mask = sample()
    fusion = build("concat placeholder")
    nn.init.normal_(fusion.placeholder)
    blocks = [
        torch.where(mask[:, m, None], x, block)
        for m, (x, block) in enumerate(
            zip(features.values(), fusion.placeholder.split(fusion.dims))
        )
    ]
    assert torch.allclose(fusion(features, mask=mask), fusion.head(torch.cat(blocks, 1)))
    parts = fusion(features, mask=mask, return_info=True)[1].contributions
    assert torch.allclose(parts.sum(1) + fusion.head.bias, fusion(features, mask=mask))


def test_the_default_encoder_of_early_fusion_has_a_relu_after_each_layer():
    features, _ = sample()
    fusion = build("early")
    (first, _, second), last = fusion.encoder
    assert isinstance(last, nn.ReLU)
    x = second(first(torch.cat([*features.values()], 1)).relu()).relu()
    assert torch.allclose(fusion(features), fusion.head(x))


def test_bottlenecks_start_different():
    rows = BottleneckFusion(TWO, 7).bottlenecks
    assert torch.pdist(rows).min() > 1e-3


@pytest.mark.parametrize("name", STRATEGIES)
def test_float64_under_autocast_is_named_and_not_left_to_torch(name):
    features, _ = sample(name=name)
    fusion = build(name, dtype=torch.float32)
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(
            TypeError, match="expected torch.float32 like the parameters, got torch.float64"
        ),
    ):
        fusion(features)


def test_every_strategy_is_built_on_the_meta_device():
    with torch.device("meta"):
        for cls in STRATEGIES.values():
            assert all(x.is_meta for x in cls(THREE, 7).state_dict().values()), cls


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
