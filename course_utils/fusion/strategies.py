"""All strategies by name, and what one costs."""

from dataclasses import dataclass

from course_utils.fusion.additive import MaxFusion, MeanFusion, SumFusion, WeightedSumFusion
from course_utils.fusion.attention import (
    AttentionPoolFusion,
    BottleneckFusion,
    CrossAttentionFusion,
    JointTransformerFusion,
)
from course_utils.fusion.base import Fusion
from course_utils.fusion.concat import ConcatFusion
from course_utils.fusion.gated import FiLMFusion, GatedFusion
from course_utils.fusion.glued import EarlyFusion, WeightedConcatFusion
from course_utils.fusion.late import LateFusion, ProductOfExpertsFusion
from course_utils.fusion.low_rank import LowRankTensorFusion
from course_utils.fusion.multiplicative import BilinearFusion, TensorFusion

STRATEGIES: dict[str, type[Fusion]] = {
    "concat": ConcatFusion,
    "weighted_concat": WeightedConcatFusion,
    "early": EarlyFusion,
    "late": LateFusion,
    "product_of_experts": ProductOfExpertsFusion,
    "sum": SumFusion,
    "mean": MeanFusion,
    "weighted_sum": WeightedSumFusion,
    "max": MaxFusion,
    "gated": GatedFusion,
    "film": FiLMFusion,
    "bilinear": BilinearFusion,
    "tensor": TensorFusion,
    "low_rank": LowRankTensorFusion,
    "attention_pool": AttentionPoolFusion,
    "cross_attention": CrossAttentionFusion,
    "bottleneck": BottleneckFusion,
    "joint_transformer": JointTransformerFusion,
}


@dataclass(frozen=True)
class Description:
    """What `describe` tells; a number is None where the strategy has no formula for it."""

    strategy: str
    accepts: str
    parameters: int | None
    multiply_adds: int | None


def describe(fusion: Fusion, tokens: dict[str, int] | None = None) -> Description:
    """A strategy's name in `STRATEGIES` (else its class), what it accepts, and its size and cost
    by formula.

    `multiply_adds` counts those in the matrix products of one row's forward pass, half of what
    is often called FLOPs. Products entry by entry, sums, norms and softmax are left out.
    `tokens` gives T_m; a modality it leaves out counts as one vector. For a strategy on vectors
    it makes no difference, because pooling has no matrix product.
    Raises TypeError for what is no `Fusion`, ValueError for tokens of no modality, or none.
    """
    if not isinstance(fusion, Fusion):
        raise TypeError(f"fusion: expected a Fusion, got {type(fusion).__name__}")
    name = next(
        (name for name, cls in STRATEGIES.items() if cls is type(fusion)), type(fusion).__name__
    )
    return Description(
        name, fusion.accepts, fusion.parameter_formula(), fusion.multiply_adds(tokens)
    )
