"""What all sums of weighted vectors share."""

import torch
from torch import Tensor, nn

from course_utils.fusion.base import Fusion, FusionInfo


class WeightedPooling(Fusion):
    """What weighted sums share: logits = W sum_m a_m * v_m + b. A subclass builds `head` and
    writes `weights`.

    Contributions: W (a_m * v_m); they sum to the logits minus b. A row whose weights are all 0
    gives b.
    """

    def values(self, inputs: list[Tensor]) -> Tensor:
        """The v_m, (B, M, width)."""
        return torch.stack(inputs, 1)

    def weights(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        """The a_m, (B, M, 1), or (B, M, width) for weights of each entry; exactly 0 where a
        modality is missing.
        """
        raise NotImplementedError

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        # (B, width) -> (B, C)
        return self.head((self.weights(inputs, present) * self.values(inputs)).sum(1))

    def explain(self, inputs: list[Tensor], present: Tensor) -> FusionInfo:
        weights = self.weights(inputs, present)
        # (B, M, width) -> (B, M, C)
        parts = nn.functional.linear(weights * self.values(inputs), self.head.weight)
        return FusionInfo(weights=weights.mean(2), contributions=parts)
