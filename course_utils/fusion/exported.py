"""A strategy as a program of its own."""

import torch
from torch import Tensor

from course_utils.fusion.base import Fusion, full_mask


def export(fusion: Fusion, features: dict[str, Tensor]) -> torch.export.ExportedProgram:
    """The strategy as a program that runs, and is stored, without this package.

        program = export(fusion, features)
        torch.export.save(program, "fusion.pt2")
        logits = program.module()(features, mask=full_mask(features, mask))

    The program takes any number of rows and of tokens, tokens and vectors as in `features`, and
    always a mask with an entry for each modality: `full_mask` fills in what is left out.
    Raises TypeError for what is no `Fusion`, ValueError or TypeError for features that it does not
    take.
    """
    if not isinstance(fusion, Fusion):
        raise TypeError(f"fusion: expected a Fusion, got {type(fusion).__name__}")
    fusion.check_features(features)
    example, axes = {}, {}
    for name, x in features.items():
        # twice the rows and tokens: torch.export takes a size of 1 for a constant
        example[name] = x.repeat(2, 2, 1) if x.dim() == 3 else x.repeat(2, 1)
        axes[name] = dict.fromkeys(range(x.dim() - 1), torch.export.Dim.DYNAMIC)
    return torch.export.export(
        fusion, (example,), {"mask": full_mask(example)}, dynamic_shapes=(axes, axes)
    )
