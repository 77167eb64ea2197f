"""What the fusion tests share: every strategy with its options, samples of features and masks."""

import pytest
import torch
from torch import nn

from course_utils.fusion import (
    STRATEGIES,
    BottleneckFusion,
    ConcatFusion,
    CrossAttentionFusion,
    EarlyFusion,
    FiLMFusion,
    Fusion,
    GatedFusion,
    JointTransformerFusion,
    LateFusion,
    LowRankTensorFusion,
    ProductOfExpertsFusion,
    WeightedConcatFusion,
    WeightedSumFusion,
)

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
        lambda dims, C: {"weights": dict(zip(dims, (2, 0.3, 7 / 9))), "width": 5},
    ),
    "weighted_sum variances": (
        WeightedSumFusion,
        lambda dims, C: {"variances": dict(zip(dims, (1 / 3, 1, 7 / 9)))},
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
    return unrounded(make(name, dims, output_dim).to(dtype))


def unrounded(fusion):
    """The layer with parameters that, in float64, float32 cannot hold."""
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.mul_(1 + 1e-9)
    return fusion


def make(name, dims=THREE, output_dim=7):
    cls, options = VARIANTS[name]
    return cls(dims, output_dim, **(options(dims, output_dim) if callable(options) else options))


def sample(dims=THREE, batch=8, tokens=None, seed=0, dtype=torch.float64, name=None, length=1):
    """Random features, and which of them are there, (B, M) bool: each modality is missing
    somewhere, and in the last row all of them.

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
    present = torch.rand(batch, len(dims), generator=rng) < 0.6
    present[: len(dims)] ^= torch.eye(len(dims), dtype=torch.bool)
    present[-1] = False
    return features, present


def by_name(present, names=THREE):
    """(B, M) bool as a mask {name: (B,)}."""
    return dict(zip(names, present.unbind(1)))


def rows_with(*names):
    """A mask of eight rows in which these modalities are there and the others are not."""
    return {name: torch.full((8,), name in names) for name in THREE}


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


X = {"text": torch.zeros(3, 6), "image": torch.zeros(3, 5)}


FITS = {"text": torch.ones(3, dtype=torch.bool), "image": torch.ones(3, dtype=torch.bool)}
