"""Eleven contracts that a fusion layer has to keep, each a small function that looks for one real
fault.

    show_contracts(ConcatFusion)                                                     # one of ours
    show_contracts(lambda: Mine({"text": 6, "image": 5}, 4), dims={"text": 6, "image": 5})  # yours

A layer is a module with `forward(features, *, mask=None)`: features[m] is (B, D_m) or (B, T_m,
D_m), and the result one tensor (B, C). The mask is a dict {m: bool}, True = present: (B,) for a
whole modality, (B, T_m) for its tokens; a modality that it leaves out is present.

Why not trust a layer's score? Because trainable encoders below it and a head above it make up
for what the layer itself does not do.

Where what stands: `registry` says what a contract is, `case` makes the sample that all of them
look at, `registered`, `called`, `masked` and `travel` hold the eleven, and `check` runs them.
"""

from course_utils.lazy import by_name

HOMES = {
    "CONTRACTS": "check",
    "check_contracts": "check",
    "show_contracts": "check",
    "Broken": "registry",
    "Contract": "registry",
    "Result": "registry",
    "contract": "registry",
    "expect": "registry",
    "in_words": "registry",
    "DIMS": "case",
    "OUTPUT_DIM": "case",
    "Case": "case",
    "takes_mask": "case",
    "unregistered": "registered",
    "LEGS": "travel",
}
__getattr__, __dir__, __all__ = by_name(__name__, HOMES)
