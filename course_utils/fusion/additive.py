"""Strategies in which each modality adds its own part: scores, log-probabilities, weighted vectors.

`EarlyFusion` and `MaxFusion` stand here for their form, glued inputs and a pooled vector; what
they compute is not additive.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from course_utils.checks import check_whole
from course_utils.fusion.base import Fusion, FusionInfo, mlp, mlp_sizes
from course_utils.masks import masked_softmax


class ConcatFusion(Fusion):
    """Glue the vectors together, then one map: logits = W [h_1; ...; h_M] + b, with W (C, sum D_m).

    Linear by default. Then logits = sum_m W_m h_m + b: each modality adds its own score and none
    can change what another one means. With `hidden` H the map is an MLP, W2 relu(W1 [h_1; ...;
    h_M] + b1) + b2, which can.

    Cost in multiply-adds a row: C sum D_m; with `hidden` H (sum D_m + C).
    Missing: its block is zeros, so the linear map leaves its term out. With `placeholder` its
    block is a learned vector, zero at the start. A row without any modality gives the map of
    zeros (linear: b) or of placeholders.
    Contributions (linear map only): W_m h_m, with the placeholder for a missing h_m; they sum to
    the logits minus b.
    Source: Ngiam et al. 2011, Multimodal Deep Learning (ICML), learn a shared layer on
    concatenated features.
    """

    def __init__(
        self,
        input_dims: dict[str, int],
        output_dim: int,
        *,
        hidden: int | None = None,
        placeholder: bool = False,
        **options,
    ):
        super().__init__(input_dims, output_dim, **options)
        self.sizes = mlp_sizes(sum(self.dims), hidden, output_dim)
        self.placeholder = nn.Parameter(torch.zeros(sum(self.dims))) if placeholder else None
        self.head = mlp(self.sizes)

    def concatenate(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        """M times (B, D_m) -> (B, sum D_m), with the placeholder, if there is one, where a
        modality is missing.
        """
        glued = torch.cat(inputs, 1)
        if self.placeholder is None:
            return glued
        kept = torch.cat(
            [column[:, None].expand_as(x) for column, x in zip(present.unbind(1), inputs)], 1
        )
        return torch.where(kept, glued, self.placeholder)

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        return self.head(self.concatenate(inputs, present))  # (B, sum D_m) -> (B, C)

    def explain(self, inputs: list[Tensor], present: Tensor) -> FusionInfo:
        if len(self.sizes) > 2:
            # through a hidden layer there is no one way to share
            return FusionInfo()
        blocks = self.concatenate(inputs, present).split(self.dims, 1)
        parts = [x @ W.T for x, W in zip(blocks, self.head.weight.split(self.dims, 1))]
        return FusionInfo(contributions=torch.stack(parts, 1))  # (B, M, C)

    def own_parameters(self) -> int:
        return super().own_parameters() + (0 if self.placeholder is None else sum(self.dims))


class WeightedConcatFusion(ConcatFusion):
    """Concatenation with one learned weight for each modality: logits = W [a_1 h_1; ...; a_M
    h_M] + b.

    a = softmax over the present modalities of one learned number each. W could take the weights
    in: with all present this represents what `ConcatFusion` does and no more. What changes is
    training, and that there is a number to read, which is no measure of importance: a small a_m
    with a large W_m does the same as a large one with a small W_m.

    Cost in multiply-adds a row: as `ConcatFusion`.
    Missing: as `ConcatFusion`, also in a row without any modality; the weights of those present
    grow to sum to 1, and placeholders are not weighted.
    Weights: a, 0 for a missing one. Contributions (linear map only): W_m a_m h_m, W_m times a
    placeholder unweighted; they sum to the logits minus b.
    Source: the concatenation of Ngiam et al. 2011 with weights like those of `WeightedSumFusion`.
    """

    def __init__(self, input_dims: dict[str, int], output_dim: int, **options):
        super().__init__(input_dims, output_dim, **options)
        self.scores = nn.Parameter(torch.zeros(len(self.names)))

    def concatenate(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        weights = masked_softmax(self.scores, present, 1)  # (M,), (B, M) -> (B, M)
        return super().concatenate(
            [a[:, None] * x for a, x in zip(weights.unbind(1), inputs)], present
        )

    def explain(self, inputs: list[Tensor], present: Tensor) -> FusionInfo:
        contributions = super().explain(inputs, present).contributions
        return FusionInfo(
            weights=masked_softmax(self.scores, present, 1), contributions=contributions
        )

    def own_parameters(self) -> int:
        return super().own_parameters() + len(self.names)


class EarlyFusion(Fusion):
    """Glue the raw inputs together, then one encoder for all: logits = W encoder([x_1; ...;
    x_M]) + b.

    Hand it inputs as raw as they come (pixels, counts, a spectrogram, flattened to (B, D_m)):
    the encoder sees all modalities from its first layer on, so it can use a link between one
    pixel and one letter, and has to find it. `encoder(sum D_m, hidden)` builds a module (B, sum
    D_m) -> (B, hidden); by default two layers, each with a ReLU. There are no projections or
    norms before it, because those would be encoders of one modality each.

    Cost in multiply-adds a row, default encoder, H = `hidden`: H (sum D_m + H + C).
    Missing: zeros, which the encoder cannot tell from a real zero. A row without any modality:
    the encoder of zeros.
    Source: named and compared with late fusion by Snoek, Worring and Smeulders 2005, Early
    versus late fusion in semantic video analysis (ACM Multimedia).
    """

    def __init__(
        self,
        input_dims: dict[str, int],
        output_dim: int,
        *,
        hidden: int = 32,
        encoder: Callable[[int, int], nn.Module] | None = None,
    ):
        super().__init__(input_dims, output_dim)
        check_whole(1, hidden=hidden)
        if isinstance(encoder, nn.Module):
            raise TypeError(
                "encoder: expected a function of (width, hidden) that builds a module, got the"
                f" module {type(encoder).__name__}"
            )
        self.sizes = None if encoder else [sum(self.dims), hidden, hidden, output_dim]
        self.encoder = (
            encoder(sum(self.dims), hidden)
            if encoder
            else nn.Sequential(mlp(self.sizes[:-1]), nn.ReLU())
        )
        self.head = nn.Linear(hidden, output_dim)

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        # (B, sum D_m) -> (B, H) -> (B, C)
        return self.head(self.encoder(torch.cat(inputs, 1)))


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


class SumFusion(WeightedPooling):
    """Linear fusion: project all modalities to one width and add: logits = W sum_m h_m + b, h_m
    = P_m x_m + c_m.

    With two modalities this is the articles' W_f F + W_t T. It is one linear layer on the
    concatenation, of weight [W P_1, ..., W P_M] and so of rank at most `width`: additive, no
    modality can change what another one means. `width=None` adds the inputs as they are, which
    then have to be equally wide.

    Cost in multiply-adds a row: `width` C.
    Missing: left out of the sum, which gets smaller by that. A row without any modality gives b.
    Weights: 1, or 0 for a missing one. Contributions: W h_m; they sum to the logits minus b.
    Source: Baltrusaitis, Ahuja and Morency 2019, Multimodal machine learning: a survey and taxonomy
    (arXiv:1705.09406), compare it with other fusion; the formula is older than the field.
    """

    def __init__(
        self, input_dims: dict[str, int], output_dim: int, *, width: int | None = 32, **options
    ):
        super().__init__(input_dims, output_dim, width=width, **options)
        self.sizes = [self._equal_width(), output_dim]
        self.head = mlp(self.sizes)

    def weights(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        return present[..., None].to(inputs[0].dtype)  # (B, M) -> (B, M, 1)


class MeanFusion(SumFusion):
    """The mean of the projections of the modalities present: logits = W mean_m h_m + b.

    Unlike the sum it has the same scale whether one modality is present or all. Additive while
    all are present.

    Cost in multiply-adds a row: `width` C.
    Missing: left out of the mean, which is then over fewer modalities. A row without any
    modality gives b.
    Weights: 1 / (number present), 0 for a missing one. Contributions: W a_m h_m; they sum to the
    logits minus b.
    Source: as `SumFusion`.
    """

    def weights(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        return super().weights(inputs, present) / present.sum(1).clamp(min=1)[:, None, None]


class WeightedSumFusion(SumFusion):
    """A weighted average: logits = W sum_m a_m h_m + b, with the same weights a for all rows
    that miss nothing.

    The a_m sum to 1 over the modalities present. By default they are learned, the softmax of one
    number each. `weights={"text": 2.0, ...}` fixes them, set by hand or by cross-validation;
    `variances={"text": 0.25, ...}` fixes them to 1 / variance: for unbiased cues of one quantity
    with independent noise no other weights that sum to 1 give a mean of smaller variance.
    Learned weights come near these only where that is the task: the cues are on one scale and
    come without a projection (`width=None`), and there are enough samples. A projection can take
    the weights in. Fixed weights are kept in the parameters' dtype, as `ProductOfExpertsFusion`'s
    prior is.

    Cost in multiply-adds a row: `width` C.
    Missing: left out, and the weights of those present grow to sum to 1. A row without any
    modality gives b.
    Weights: a, 0 for a missing one. Contributions: W a_m h_m; they sum to the logits minus b.
    Source: Cochran 1954, The combination of estimates from different experiments (Biometrics
    10), for 1 / variance.
    """

    def __init__(
        self,
        input_dims: dict[str, int],
        output_dim: int,
        *,
        weights: dict[str, float] | None = None,
        variances: dict[str, float] | None = None,
        **options,
    ):
        super().__init__(input_dims, output_dim, **options)
        if weights is not None and variances is not None:
            raise ValueError("weights, variances: expected one of the two, got both")
        if weights is None and variances is None:
            self.scores = nn.Parameter(torch.zeros(len(self.names)))
        else:
            # softmax(log a) is a, normalised
            scores = (
                self._logs("weights", weights)
                if variances is None
                else -self._logs("variances", variances)
            )
            self.register_buffer("scores", scores)

    def _logs(self, argument: str, values: dict[str, float]) -> Tensor:
        if not isinstance(values, dict) or set(values) != set(self.names):
            raise ValueError(
                f"{argument}: expected a number for each of {list(self.names)}, got {values!r}"
            )
        if not all(
            isinstance(value, (int, float)) and 0 < value < math.inf for value in values.values()
        ):
            raise ValueError(f"{argument}: expected positive finite numbers, got {values}")
        return torch.tensor([math.log(values[name]) for name in self.names])

    def weights(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        return masked_softmax(self.scores, present, 1)[..., None]  # (M,), (B, M) -> (B, M, 1)

    def own_parameters(self) -> int:
        return super().own_parameters() + (
            len(self.names) if isinstance(self.scores, nn.Parameter) else 0
        )


class MaxFusion(SumFusion):
    """The largest of the modalities present, entry by entry: logits = W max_m h_m + b.

    Only the winner of an entry gets its gradient; at a tie the winners share it equally. Not
    additive.

    Cost in multiply-adds a row: `width` C.
    Missing: never wins, even if all others are negative. A row without any modality gives b.
    Weights: the share of the entries that a modality wins. Contributions: W applied to the
    entries it wins (a tie is split); they sum to the logits minus b.
    Source: as `SumFusion`; as an activation Goodfellow et al. 2013, Maxout networks
    (arXiv:1302.4389).
    """

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        # amax: a tie is shared
        largest = self.values(inputs).masked_fill(~present[..., None], -math.inf).amax(1)
        # (B, width) -> (B, C)
        return self.head(torch.where(present.any(1, keepdim=True), largest, 0))

    def weights(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        values = self.values(inputs).masked_fill(~present[..., None], -math.inf)
        wins = (values == values.amax(1, keepdim=True)) & present[..., None]  # (B, M, width)
        return wins.to(values.dtype) / wins.sum(1, keepdim=True).clamp(min=1)
