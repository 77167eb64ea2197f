"""Strategies in which each modality gives its own answer: scores, log-probabilities."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from course_utils.fusion.base import Fusion, FusionInfo, mlp, mlp_sizes


class LateFusion(Fusion):
    """A head for each modality; then the mean of the logits of those present: logits = mean_m
    head_m(h_m).

    The heads are linear, or with `hidden` H an MLP each. Like linear concatenation this is
    additive in the modalities: they meet only in the mean. The mean of logits is, after the
    softmax, the geometric mean of the heads' probabilities, normalised.

    Cost in multiply-adds a row: C sum D_m; with `hidden` H (sum D_m + M C).
    Missing: left out of the mean, which is then over fewer heads. A row without any modality
    gives zeros, that is, after the softmax, each class alike.
    Weights: 1 / (number present), 0 for a missing one. Contributions: weight times head; they
    sum to the logits.
    Source: Kittler, Hatef, Duin and Matas 1998, On combining classifiers (IEEE TPAMI 20),
    compare such rules.
    """

    def __init__(
        self, input_dims: dict[str, int], output_dim: int, *, hidden: int | None = None, **options
    ):
        super().__init__(input_dims, output_dim, **options)
        self.head_sizes = [mlp_sizes(dim, hidden, output_dim) for dim in self.dims]
        self.heads = nn.ModuleDict(
            {name: mlp(sizes) for name, sizes in zip(self.names, self.head_sizes)}
        )

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        return self.explain(inputs, present).contributions.sum(1)  # (B, M, C) -> (B, C)

    def explain(self, inputs: list[Tensor], present: Tensor) -> FusionInfo:
        # (B, M, C)
        logits = torch.stack([head(x) for head, x in zip(self.heads.values(), inputs)], 1)
        # (B, M)
        weights = present.to(logits.dtype) / present.sum(1, keepdim=True).clamp(min=1)
        return FusionInfo(weights=weights, contributions=weights[..., None] * logits)

    def own_parameters(self) -> int:
        return sum((i + 1) * o for sizes in self.head_sizes for i, o in pairwise(sizes))

    def own_multiply_adds(self, lengths: dict[str, int]) -> int:
        return sum(i * o for sizes in self.head_sizes for i, o in pairwise(sizes))


class ProductOfExpertsFusion(LateFusion):
    """Each modality's head is an expert p_m(c); their product, with the prior p_0 counted once,
    is the result.

        logits = log p_0 + sum_m (log p_m - log p_0),   log p_m = log_softmax(head_m(h_m))

    By Bayes' rule this is the posterior, up to a constant, if the modalities are independent
    given the class and each expert is the posterior of its own modality. So experts may be
    trained alone and stay calibrated; trained together only the product is. Where the noise of
    two modalities is correlated, shared evidence is counted twice and the product is too sure.
    `prior` gives p_0 as C numbers that sum to 1 (uniform if None). `hidden` as in `LateFusion`.
    The prior is kept in the parameters' dtype: for float64 to the last digit build the layer
    under `torch.set_default_dtype(torch.float64)`, because `.double()` comes after the rounding.

    Cost in multiply-adds a row: as `LateFusion`.
    Missing: its factor is left out, exact under the same condition. A row without any modality
    gives log p_0.
    Contributions: log p_m - log p_0, 0 for a missing one; they sum to the logits minus log p_0.
    Source: Hinton 2002, Training products of experts by minimizing contrastive divergence
    (Neural Computation 14).
    """

    def __init__(
        self,
        input_dims: dict[str, int],
        output_dim: int,
        *,
        prior: Tensor | list[float] | None = None,
        **options,
    ):
        super().__init__(input_dims, output_dim, **options)
        if output_dim < 2:
            raise ValueError(
                f"output_dim: expected at least 2 classes, got {output_dim}; the result is a"
                " distribution"
            )
        prior = [1 / output_dim] * output_dim if prior is None else prior
        if isinstance(prior, str):
            raise TypeError(f"prior: expected {output_dim} numbers, got {prior!r}")
        # checked where it can be read
        prior = torch.as_tensor(prior, dtype=torch.float64, device="cpu").detach()
        if prior.shape != (output_dim,) or not (prior > 0).all() or not abs(prior.sum() - 1) < 1e-5:
            raise ValueError(
                f"prior: expected {output_dim} positive numbers that sum to 1, got {prior.tolist()}"
            )
        self.register_buffer("log_prior", (prior / prior.sum()).log().to(next(self.parameters())))

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        # (C,) + (B, M, C) -> (B, C)
        return self.log_prior + self.explain(inputs, present).contributions.sum(1)

    def explain(self, inputs: list[Tensor], present: Tensor) -> FusionInfo:
        # (B, M, C)
        logits = torch.stack([head(x) for head, x in zip(self.heads.values(), inputs)], 1)
        evidence = logits.log_softmax(2) - self.log_prior
        return FusionInfo(contributions=torch.where(present[..., None], evidence, 0))
