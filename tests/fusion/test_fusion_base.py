"""What all strategies share: pooling, where they run, and an error for all that does not fit."""

import copy
import itertools
import math

import pytest
import torch
from fusion_cases import (
    FITS,
    THREE,
    TOKENS_ONLY,
    TWO,
    VARIANTS,
    OnlyTokens,
    SumOfProjections,
    X,
    build,
    by_name,
    sample,
    variants,
)
from torch import nn

from course_utils.contracts import check_contracts
from course_utils.fusion import (
    STRATEGIES,
    BilinearFusion,
    BottleneckFusion,
    ConcatFusion,
    CrossAttentionFusion,
    FiLMFusion,
    GatedFusion,
    JointTransformerFusion,
    LowRankTensorFusion,
    ProductOfExpertsFusion,
    SumFusion,
    WeightedSumFusion,
)


def test_tokens_are_pooled_for_vector_strategies():
    features, _ = sample(tokens=dict.fromkeys(THREE, 4))
    pooled = {name: x.mean(1) for name, x in features.items()}
    single = {name: x[:, None] for name, x in pooled.items()}
    for name in set(VARIANTS) - set(TOKENS_ONLY):
        fusion = build(name)
        assert torch.equal(fusion(single), fusion(pooled))
        if fusion.accepts == "vectors":
            assert torch.allclose(fusion(features), fusion(pooled), rtol=0, atol=1e-13)


@variants
def test_it_runs_on_the_meta_device_and_under_autocast(name):
    features, present = sample(dtype=torch.float32, name=name)
    fusion = build(name, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = features | {"text": features["text"].bfloat16()}
        assert torch.allclose(
            fusion(mixed, mask=by_name(present)).float(),
            fusion(features, mask=by_name(present)).float(),
            atol=0.1,
        )
    meta = copy.deepcopy(fusion).to("meta")
    assert meta(
        {n: x.to("meta") for n, x in features.items()}, mask=by_name(present.to("meta"))
    ).shape == (8, 7)


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


class ByPlace(nn.Module):
    """A fusion of two modalities whose features and masks come one after the other."""

    def __init__(self, fusion):
        super().__init__()
        self.fusion = fusion

    def forward(self, text, image, has_text, has_image):
        features = {"text": text, "image": image}
        return self.fusion(features, mask={"text": has_text, "image": has_image})


@pytest.mark.parametrize("name", ["concat", "max", "cross_attention", "bottleneck"])
def test_it_is_exported_for_batches_of_any_size(name):
    """`len(x)` and `set(...)` of sizes would fix the size of the batch."""
    module = ByPlace(build(name, TWO, dtype=torch.float32)).eval()

    def inputs(rows):
        masks = [torch.rand(rows, 4) < 0.6, torch.rand(rows) < 0.6]
        return torch.randn(rows, 4, 6), torch.randn(rows, 3, 5), *masks

    rows = torch.export.Dim("rows")
    exported = torch.export.export(module, inputs(3), dynamic_shapes=4 * ({0: rows},)).module()
    for size in (2, 7):
        x = inputs(size)
        torch.testing.assert_close(exported(*x), module(*x))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_every_strategy_gives_the_same_on_a_gpu():
    for name, tokens in itertools.product(VARIANTS, (None, {"text": 5, "image": 3, "audio": 2})):
        features, present = sample(tokens=tokens, name=name)
        leaves = [
            {n: x.to(device).requires_grad_() for n, x in features.items()}
            for device in ("cpu", "cuda")
        ]
        fusion, grads = build(name), []
        for device, x in zip(("cpu", "cuda"), leaves):
            moved = copy.deepcopy(fusion).to(device)
            logits, info = moved(
                x,
                mask={n: kept.to(device) for n, kept in by_name(present).items()},
                return_info=True,
            )
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


def test_an_accepts_that_is_none_of_the_three_is_named():
    class Typo(SumOfProjections):
        accepts = "token"

    with pytest.raises(ValueError) as caught:
        Typo(TWO, 4)
    expected = "accepts: expected one of ['vectors', 'tokens', 'both'], got 'token'"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda x: x[:, 1:], ValueError, "fuse: expected a result of shape (3, 4), got (3, 3)"),
        (lambda x: x[:1], ValueError, "fuse: expected a result of shape (3, 4), got (1, 4)"),
        (
            lambda x: x[:, None],
            ValueError,
            "fuse: expected a result of shape (3, 4), got (3, 1, 4)",
        ),
        (lambda x: (x, None), TypeError, "fuse: expected a tensor (B, C), got tuple"),
    ],
)
def test_what_fuse_gives_in_another_shape_is_named(change, error, message):
    class Gives(SumOfProjections):
        def fuse(self, inputs, present):
            return change(super().fuse(inputs, present))

    with pytest.raises(error) as caught:
        Gives(TWO, 4)(X)
    assert str(caught.value) == message
    assert 2 in [r.number for r in check_contracts(Gives) if not r.kept]


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
