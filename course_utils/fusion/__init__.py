"""Fusion: several modalities in, one result out. Every strategy stands behind one interface,
`Fusion`.

    fusion = ConcatFusion({"text": 6, "image": 5}, output_dim=4)
    logits = fusion({"text": text, "image": image}, mask=mask)      # (B, 6), (B, 5) -> (B, 4)

What all strategies share (checks, pooling, masks, projections) is written once, in `Fusion`; a
strategy adds its own formula. `STRATEGIES` lists them by name, and `describe` tells what one costs.
To be read in this order: base, concat, glued, late, pooling, additive, gated, multiplicative,
low_rank, attention, dropout, strategies, exported.

In formulas M is the number of modalities, C = `output_dim`, and h_m the vector of modality m,
(B, D_m), after its projection if it has one. With a projection D_m in formulas and costs is
`width`, and the projections' own cost of `width` times the input's width for each vector (each
token where a strategy works on tokens) comes on top.
"""

from course_utils.lazy import by_name

# The module of each name; it is imported when the name is first asked for.
HOMES = {
    "Fusion": "base",
    "FusionInfo": "base",
    "export": "exported",
    "full_mask": "base",
    "ConcatFusion": "concat",
    "WeightedConcatFusion": "glued",
    "EarlyFusion": "glued",
    "LateFusion": "late",
    "ProductOfExpertsFusion": "late",
    "WeightedPooling": "pooling",
    "SumFusion": "additive",
    "MeanFusion": "additive",
    "WeightedSumFusion": "additive",
    "MaxFusion": "additive",
    "GatedFusion": "gated",
    "FiLMFusion": "gated",
    "BilinearFusion": "multiplicative",
    "TensorFusion": "multiplicative",
    "LowRankTensorFusion": "low_rank",
    "AttentionPoolFusion": "attention",
    "CrossAttentionFusion": "attention",
    "BottleneckFusion": "attention",
    "JointTransformerFusion": "attention",
    "ModalityDropout": "dropout",
    "STRATEGIES": "strategies",
    "Description": "strategies",
    "describe": "strategies",
}
__getattr__, __dir__, __all__ = by_name(__name__, HOMES)
