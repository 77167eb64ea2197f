"""Fusion: several modalities in, one result out. Every strategy stands behind one interface,
`Fusion`.

    fusion = ConcatFusion({"text": 6, "image": 5}, output_dim=4)
    logits = fusion({"text": text, "image": image}, mask=mask)      # (B, 6), (B, 5), (B, 2) bool -> (B, 4)

What all strategies share (checks, pooling, masks, projections) is written once, in `Fusion`; a
strategy adds its own formula. `STRATEGIES`, below the classes, lists them by name, and
`describe` tells what one costs. The file goes from simple to complex: heads on glued or single
modalities, weighted sums, products, attention, and at the end the helpers.

In formulas M is the number of modalities, C = `output_dim`, and h_m the vector of modality m,
(B, D_m), after its projection if it has one. With a projection D_m in formulas and costs is
`width`, and the projections' own cost of `width` times the input's width for each vector (each
token where a strategy works on tokens) comes on top.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, pairwise

import torch
from torch import Tensor, nn

from course_utils.masks import masked_mean, masked_softmax


@dataclass
class FusionInfo:
    """What a strategy can tell about how it came to its result; None where its formula has no
    such thing.

    weights        (B, M): how much each modality counts in each row
    attention      by name, for example (B, queries, keys)
    contributions  (B, M, C): what each modality adds to the result; the class says what they sum to
    """

    weights: Tensor | None = None
    attention: dict[str, Tensor] | None = None
    contributions: Tensor | None = None


class Fusion(nn.Module):
    """What every strategy shares. To add one, subclass this and write `fuse`; `explain` and the
    `own_...` if you can.

      input_dims   the modalities' names and widths D_m; their order is the order in masks and in
                   `FusionInfo`
      output_dim   width C of the result
      width        None, or project each modality linearly to this width first, so that all are
                   equally wide
      normalise    LayerNorm (arXiv:1607.06450) over each modality's vector, after the projection:
                   equal scales

    `accepts` says what `fuse` works on: "vectors" (tokens are pooled by `masked_mean` before),
    "tokens" (single vectors are refused) or "both" (a vector comes as a sequence of one token).
    `at_least` modalities are needed.
    """

    accepts = "vectors"
    at_least = 1
    # of the MLP that a simple strategy ends with; the formulas' counts come from it
    sizes: list[int] | None = None

    def __init__(
        self,
        input_dims: dict[str, int],
        output_dim: int,
        *,
        width: int | None = None,
        normalise: bool = False,
    ):
        super().__init__()
        if not isinstance(input_dims, dict) or not input_dims:
            raise ValueError(
                f"input_dims: expected at least one modality as {{name: width}}, got {input_dims!r}"
            )
        for name, dim in input_dims.items():
            # "keys", say
            if (
                not isinstance(name, str)
                or not name
                or "." in name
                or hasattr(nn.ModuleDict(), name)
            ):
                raise ValueError(
                    f"input_dims: {name!r} cannot name a modality; expected a word such as 'text'"
                )
            _positive(f"input_dims[{name!r}]", dim)
        if len(input_dims) < self.at_least:
            raise ValueError(
                f"input_dims: {type(self).__name__} expected at least {self.at_least} modalities, "
                f"got {list(input_dims)}"
            )
        _positive("output_dim", output_dim)
        _positive("width", width, optional=True)
        self.input_dims, self.names, self.output_dim = (
            dict(input_dims),
            tuple(input_dims),
            output_dim,
        )
        self.width, self.normalise = width, normalise
        self.dims = [width or dim for dim in input_dims.values()]  # the widths that `fuse` sees
        if normalise and 1 in self.dims:
            raise ValueError(
                f"normalise: expected widths of at least 2, got {self.dims}; "
                "LayerNorm over a single number always gives zero"
            )
        self.project = nn.ModuleDict(
            {name: nn.Linear(dim, width) for name, dim in input_dims.items()} if width else {}
        )
        self.norm = nn.ModuleDict(
            {name: nn.LayerNorm(dim) for name, dim in zip(self.names, self.dims)}
            if normalise
            else {}
        )

    def forward(
        self,
        features: dict[str, Tensor],
        *,
        mask: Tensor | dict[str, Tensor] | None = None,
        return_info: bool = False,
    ) -> Tensor | tuple[Tensor, FusionInfo]:
        """Fuse one batch into (B, C).

        features[m] is (B, D_m) or (B, T_m, D_m) float. `mask` is bool, True = present: (B, M)
        for whole modalities, or {name: (B, T_m)} for tokens, with T_m = 1 for a vector;
        modalities that the dict leaves out are present. A modality without any present token is
        missing. With `return_info` also a `FusionInfo`.

        Raises ValueError or TypeError when names, shapes, dtypes or devices do not fit. Values
        are not checked.
        """
        self._check_features(features)
        present = _token_masks(features, mask, self.names)
        inputs = [
            self._prepare(name, features[name], None if mask is None else tokens)
            for name, tokens in zip(self.names, present)
        ]
        if self.accepts == "vectors":
            present = torch.stack([tokens.any(1) for tokens in present], 1)  # (B, M)
        output = self.fuse(inputs, present)
        return (output, self.explain(inputs, present)) if return_info else output

    def fuse(self, inputs: list[Tensor], present: Tensor | list[Tensor]) -> Tensor:
        """The strategy's formula, (B, C). What is missing has already been set to zero.

        For vectors: `inputs` M times (B, D_m), `present` (B, M) bool. For tokens: M times (B,
        T_m, D_m) and (B, T_m).
        """
        raise NotImplementedError

    def explain(self, inputs: list[Tensor], present: Tensor | list[Tensor]) -> FusionInfo:
        """Weights, attention, contributions, from the same inputs as `fuse`; computed only when
        asked for.
        """
        return FusionInfo()

    def parameter_formula(self) -> int | None:
        """The number of parameters by the class's formula, from widths alone; None when no
        formula is known.
        """
        own = self.own_parameters()
        projections = (
            sum((dim + 1) * self.width for dim in self.input_dims.values()) if self.width else 0
        )
        norms = 2 * sum(self.dims) if self.normalise else 0
        return None if own is None else own + projections + norms

    def multiply_adds(self, tokens: dict[str, int] | None = None) -> int | None:
        """Multiply-adds in the matrix products of one row's forward pass, by formula; see
        `describe`.
        """
        tokens = tokens or {}
        if not set(tokens) <= set(self.names):
            raise ValueError(
                f"tokens: expected modalities out of {list(self.names)}, got {list(tokens)}"
            )
        for name in tokens:
            _positive(f"tokens[{name!r}]", tokens[name])
        lengths = {
            name: tokens.get(name, 1) if self.accepts != "vectors" else 1 for name in self.names
        }
        own = self.own_multiply_adds(lengths)
        projections = (
            sum(lengths[name] * dim * self.width for name, dim in self.input_dims.items())
            if self.width
            else 0
        )
        return None if own is None else own + projections

    def own_parameters(self) -> int | None:
        """The formula's count without the shared projections and norms; for an MLP alone,
        `sizes` says it.
        """
        return sum((i + 1) * o for i, o in pairwise(self.sizes)) if self.sizes else None

    def own_multiply_adds(self, tokens: dict[str, int]) -> int | None:
        """The same for multiply-adds, with T_m tokens (1 for a vector) of each modality."""
        return sum(i * o for i, o in pairwise(self.sizes)) if self.sizes else None

    def _prepare(self, name: str, x: Tensor, tokens: Tensor | None) -> Tensor:
        """Pool, set to zero what is missing, project, normalise. `tokens` None: no mask, so
        nothing to set to zero.
        """
        if self.accepts != "vectors":
            x = x if x.dim() == 3 else x[:, None]  # (B, D) -> (B, 1, D)
            kept = None if tokens is None else tokens[..., None]  # (B, T) -> (B, T, 1)
        else:
            if x.dim() == 3:  # (B, T, D) -> (B, D)
                x = x.sum(1) / x.shape[1] if tokens is None else masked_mean(x, tokens)
            kept = None if tokens is None else tokens.any(1, keepdim=True)  # (B, T) -> (B, 1)
        if kept is not None:
            # before any arithmetic: a gradient through NaN is NaN
            x = torch.where(kept, x, 0)
        if self.project:
            x = self.project[name](x)
        if self.norm:
            x = self.norm[name](x)
        if kept is not None and (self.project or self.norm):
            # no bias speaks for what is missing
            x = torch.where(kept, x, 0)
        return x

    def _equal_width(self) -> int:
        """The one width that all modalities have; a ValueError if they differ."""
        if len(set(self.dims)) > 1:
            raise ValueError(
                "width: expected a width to project to, or input_dims that are all equal, "
                f"got width=None and {self.input_dims}"
            )
        return self.dims[0]

    def _check_features(self, features: dict[str, Tensor]) -> None:
        if not isinstance(features, dict) or set(features) != set(self.names):
            got = list(features) if isinstance(features, dict) else type(features).__name__
            raise ValueError(
                f"features: expected a dict with the modalities {list(self.names)}, got {got}; "
                "a missing modality keeps its name and is marked in the mask"
            )
        like = next(self.parameters(), features[self.names[0]])
        for name, dim in self.input_dims.items():
            x = features[name]
            _check_tensor(f"features[{name!r}]", x, like.device)
            if x.dtype != like.dtype and not _autocast(x, like):
                raise TypeError(
                    f"features[{name!r}]: expected {like.dtype} like the parameters, got {x.dtype}"
                )
            if x.dim() not in ((3,) if self.accepts == "tokens" else (2, 3)) or x.shape[-1] != dim:
                expected = (
                    f"(B, T, {dim})" if self.accepts == "tokens" else f"(B, {dim}) or (B, T, {dim})"
                )
                why = (
                    "; a single vector would be a single key, and a softmax over one key is 1"
                    " whatever the query is"
                    if self.accepts == "tokens" and x.dim() == 2
                    else ""
                )
                raise ValueError(
                    f"features[{name!r}]: expected shape {expected}, got {tuple(x.shape)}{why}"
                )
            if not x.numel():
                raise ValueError(
                    f"features[{name!r}]: expected at least one row and one token, got shape"
                    f" {tuple(x.shape)}"
                )
        _check_rows({name: features[name] for name in self.names})


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
        self.sizes = _sizes(sum(self.dims), hidden, output_dim)
        self.placeholder = nn.Parameter(torch.zeros(sum(self.dims))) if placeholder else None
        self.head = _mlp(self.sizes)

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
        _positive("hidden", hidden)
        self.sizes = None if encoder else [sum(self.dims), hidden, hidden, output_dim]
        self.encoder = (
            encoder(sum(self.dims), hidden)
            if encoder
            else nn.Sequential(_mlp(self.sizes[:-1]), nn.ReLU())
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
        self.head_sizes = [_sizes(dim, hidden, output_dim) for dim in self.dims]
        self.heads = nn.ModuleDict(
            {name: _mlp(sizes) for name, sizes in zip(self.names, self.head_sizes)}
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

    def own_multiply_adds(self, tokens: dict[str, int]) -> int:
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
        self.head = _mlp(self.sizes)

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
    Learned weights find these only where that is the task: the cues are on one scale and come
    without a projection (`width=None`), and the loss is the squared error. A projection can take
    the weights in.

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


class GatedFusion(WeightedPooling):
    """Gated multimodal units: the inputs decide, entry by entry, how much of each modality passes.

        logits = W sum_m z_m * v_m + b,   v_m = tanh(V_m h_m + c_m),   z = softmax_m(U_m [h_1; ...;
                                          h_M] + d_m)

    v_m and z_m have `hidden` entries. With two modalities z_2 = 1 - z_1 and z_1 is the sigmoid
    of (U_1 - U_2) [h_1; h_2] + d_1 - d_2, the unit of the paper. For more than two the paper
    takes one sigmoid for each, which need not sum to 1; the softmax here keeps the scale when a
    modality is missing. Not additive: a gate sees all modalities.

    Cost in multiply-adds a row, H = `hidden`: H ((M + 1) sum D_m + C).
    Missing: its gate is 0 and the others' sum to 1; the gates see zeros for it. A row without
    any modality gives b.
    Weights: the mean of z_m over its entries. Contributions: W (z_m * v_m); they sum to the
    logits minus b.
    Source: Arevalo, Solorio, Montes-y-Gomez and Gonzalez 2017, Gated multimodal units for
    information fusion (arXiv:1702.01992).
    """

    def __init__(self, input_dims: dict[str, int], output_dim: int, *, hidden: int = 32, **options):
        super().__init__(input_dims, output_dim, **options)
        _positive("hidden", hidden)
        self.value = nn.ModuleDict(
            {name: nn.Linear(dim, hidden) for name, dim in zip(self.names, self.dims)}
        )
        self.gate = nn.Linear(sum(self.dims), len(self.names) * hidden)
        self.sizes = [hidden, output_dim]
        self.head = _mlp(self.sizes)

    def values(self, inputs: list[Tensor]) -> Tensor:
        # (B, M, H)
        return torch.stack([value(x) for value, x in zip(self.value.values(), inputs)], 1).tanh()

    def weights(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        # (B, M, H)
        scores = self.gate(torch.cat(inputs, 1)).unflatten(1, (len(self.names), -1))
        return masked_softmax(scores, present[..., None], 1)

    def own_parameters(self) -> int:
        return super().own_parameters() + self.sizes[0] * (
            (len(self.names) + 1) * sum(self.dims) + 2 * len(self.names)
        )

    def own_multiply_adds(self, tokens: dict[str, int]) -> int:
        return super().own_multiply_adds(tokens) + self.sizes[0] * (len(self.names) + 1) * sum(
            self.dims
        )


class FiLMFusion(Fusion):
    """Feature-wise linear modulation: the other modalities scale and shift the entries of one.

        logits = W ((1 + G c) * x + S c) + b,   x the content, c = [the others]

    The content is the first modality, or `content="name"`; G, S are (D_x, sum of the others'
    D_m). They have no bias, so missing conditions leave x as it is. The product of c and x makes
    it multiplicative: c can flip what x means. The others do not interact with each other.

    Cost in multiply-adds a row: D_x (2 sum of the others' D_m + C).
    Missing: a missing condition modulates nothing, a missing content leaves W S c + b. A row
    without any gives b.
    Source: Perez et al. 2018, FiLM: visual reasoning with a general conditioning layer
    (arXiv:1709.07871).
    """

    at_least = 2

    def __init__(
        self, input_dims: dict[str, int], output_dim: int, *, content: str | None = None, **options
    ):
        super().__init__(input_dims, output_dim, **options)
        self.content = _one_of("content", content, self.names)
        widths = dict(zip(self.names, self.dims))
        dim = widths.pop(self.content)
        self.film = nn.Linear(sum(widths.values()), 2 * dim, bias=False)
        self.head = nn.Linear(dim, output_dim)

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        conditions = dict(zip(self.names, inputs))
        x = conditions.pop(self.content)  # (B, D_x)
        # each (B, D_x)
        scale, shift = self.film(torch.cat([*conditions.values()], 1)).chunk(2, 1)
        return self.head((1 + scale) * x + shift)

    def own_parameters(self) -> int:
        return self.own_multiply_adds({}) + self.output_dim

    def own_multiply_adds(self, tokens: dict[str, int]) -> int:
        dim = dict(zip(self.names, self.dims))[self.content]
        return dim * (2 * (sum(self.dims) - dim) + self.output_dim)


class BilinearFusion(Fusion):
    """All products of an entry of one modality and an entry of another: logits_c = sum_{a<b}
    h_a^T W_abc h_b + b_c.

    Only products of two: with three modalities their parity is out of reach, with one alone only
    the bias is left. (The biases of the projections bring in terms of one modality, but only
    beside another.) `TensorFusion` has all orders.

    Cost in multiply-adds a row: C sum_{a<b} D_a D_b, so the default `width` is small.
    Missing: all its products are 0. A row with one modality or none gives b.
    Source: Tenenbaum and Freeman 2000, Separating style and content with bilinear models (Neural
    Computation 12).
    """

    at_least = 2

    def __init__(
        self, input_dims: dict[str, int], output_dim: int, *, width: int | None = 16, **options
    ):
        super().__init__(input_dims, output_dim, width=width, **options)
        self.sizes = [sum(a * b for a, b in combinations(self.dims, 2)), output_dim]
        self.head = _mlp(self.sizes)

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        # (B, sum D_a D_b) -> (B, C)
        return self.head(torch.cat([_outer(a, b) for a, b in combinations(inputs, 2)], 1))


class TensorFusion(Fusion):
    """Tensor fusion network: the outer product of all [h_m; 1], then a linear map: logits = W
    vec([h_1; 1] (x) ... ) + b, with (x) the outer product and vec its entries in a row.

    The appended ones keep every product of lower order too: each modality alone, each pair, up
    to all M. So all that is multilinear in the modalities can be represented, at the price of a
    product of widths instead of their sum.

    Cost in multiply-adds a row: C prod (D_m + 1); memory B prod (D_m + 1), so the default
    `width` is small.
    Missing: [0; 1], which leaves the products without it, as if built without it. A row without
    any modality gives b plus the column of W for the product of ones.
    Source: Zadeh et al. 2017, Tensor fusion network for multimodal sentiment analysis
    (arXiv:1707.07250).
    """

    def __init__(
        self, input_dims: dict[str, int], output_dim: int, *, width: int | None = 8, **options
    ):
        super().__init__(input_dims, output_dim, width=width, **options)
        self.sizes = [math.prod(dim + 1 for dim in self.dims), output_dim]
        self.head = _mlp(self.sizes)

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        # M times (B, D_m + 1)
        extended = [nn.functional.pad(x, (0, 1), value=1) for x in inputs]
        # (B, prod (D_m + 1)) -> (B, C)
        return self.head(reduce(_outer, extended))


class LowRankTensorFusion(Fusion):
    """`TensorFusion` with weights of low rank, so that the outer product is never formed.

        logits = sum_r prod_m (F_m^r [h_m; 1]) + b,   each F_m^r (C, D_m + 1), the product entry by entry

    At rank R large enough (for two modalities the smaller D_m + 1) every tensor fusion can be
    written this way.

    Cost in multiply-adds a row, R = `rank`: R C sum D_m, a sum of widths where `TensorFusion`
    has their product.
    Missing: its factor is that of [0; 1], a learned number for each r and class, so it is not as
    if built without it: there that number would be 1. A row without any modality gives the sum
    of products of these numbers, plus b.
    Source: Liu et al. 2018, Efficient low-rank multimodal fusion with modality-specific factors
    (arXiv:1806.00064).
    """

    def __init__(self, input_dims: dict[str, int], output_dim: int, *, rank: int = 4, **options):
        super().__init__(input_dims, output_dim, **options)
        _positive("rank", rank)
        self.rank = rank
        self.factors = nn.ModuleDict(
            {name: nn.Linear(dim, rank * output_dim) for name, dim in zip(self.names, self.dims)}
        )
        self.bias = nn.Parameter(torch.zeros(output_dim))
        for factor in self.factors.values():
            # For inputs of variance 1 each factor has variance R^(-1/M), and the sum of R products
            # of M has 1. The usual start of a linear layer has about 1/3, which would leave 3^-M of
            # a product.
            for parameter in (factor.weight, factor.bias):
                nn.init.normal_(
                    parameter,
                    std=(factor.in_features + 1) ** -0.5 * rank ** (-0.5 / len(self.names)),
                )

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        # M times (B, R C)
        factors = [factor(x) for factor, x in zip(self.factors.values(), inputs)]
        return reduce(torch.mul, factors).unflatten(1, (self.rank, -1)).sum(1) + self.bias

    def own_parameters(self) -> int:
        return self.rank * self.output_dim * sum(dim + 1 for dim in self.dims) + self.output_dim

    def own_multiply_adds(self, tokens: dict[str, int]) -> int:
        return self.rank * self.output_dim * sum(self.dims)


class AttentionPoolFusion(SumFusion):
    """One softmax over all present items of all modalities: logits = W sum_i a_i h_i + b.

        a = softmax_i(u . tanh(U h_i + c)),   i over the tokens of all modalities together

    A vector is one item, so with vectors this is attention over modalities. A modality of many
    tokens has many items and by that more weight at the start. Not additive: the softmax makes
    modalities compete. Over single vectors it only reweighs what is summed, and XOR of two signs
    stays out of reach. Order does not matter.

    Cost in multiply-adds a row, D = `width`, N items: N D (D + 1) + D C.
    Missing items have weight 0 and no gradient. A row without any item gives b.
    Weights: the sum of a over a modality's items. Attention: a, by modality (B, T_m).
    Contributions: W times the sum of a_i h_i over a modality's items; they sum to the logits
    minus b.
    Source: Yang et al. 2016, Hierarchical attention networks for document classification
    (NAACL), for the score.
    """

    accepts = "both"

    def __init__(self, input_dims: dict[str, int], output_dim: int, **options):
        super().__init__(input_dims, output_dim, **options)
        width = self.sizes[0]
        self.score = nn.Sequential(
            nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False)
        )

    def values(self, inputs: list[Tensor]) -> Tensor:
        # M times (B, T_m, D) -> (B, N, D)
        return torch.cat(inputs, 1)

    def weights(self, inputs: list[Tensor], present: list[Tensor]) -> Tensor:
        # (B, N, 1)
        return masked_softmax(self.score(self.values(inputs)), torch.cat(present, 1)[..., None], 1)

    def explain(self, inputs: list[Tensor], present: list[Tensor]) -> FusionInfo:
        items, lengths = super().explain(inputs, present), [x.shape[1] for x in inputs]
        attention = items.weights.split(lengths, 1)  # M times (B, T_m)
        return FusionInfo(
            weights=torch.stack([a.sum(1) for a in attention], 1),
            attention=dict(zip(self.names, attention)),
            contributions=torch.stack([x.sum(1) for x in items.contributions.split(lengths, 1)], 1),
        )

    def own_parameters(self) -> int:
        return super().own_parameters() + self.sizes[0] * (self.sizes[0] + 2)

    def own_multiply_adds(self, tokens: dict[str, int]) -> int:
        return super().own_multiply_adds(tokens) + sum(tokens.values()) * self.sizes[0] * (
            self.sizes[0] + 1
        )


class CrossAttentionFusion(Fusion):
    """The tokens of one modality ask those of all others, and what they find is added to them.

        logits = W mean_i (x_i + attention(x_i, [y; null])) + b,   i over the present tokens of the query modality

    The query modality is the first, or `query="name"`. Its multi-head attention is softmax(Q K^T
    / sqrt(d)) V with d = `width` / `heads`. A learned token, null (with `co` one for each that
    asks), stands among keys and values: a query can look at nothing, and the softmax is finite
    when everything else is masked. With `co=True` every modality asks all others (an attention
    of its own for each) and the pooled vectors are averaged over the modalities present. The
    order of tokens does not matter; add positions to the features if it should. Single vectors
    are refused: a vector as the only key gets all the attention whatever the query is, and
    beside null the query could only choose how much of it to take.

    Cost in multiply-adds a row, D = `width`, for T queries and K keys (null is one): D (2 D (T +
    K) + 2 T K), with `co` for each modality, and D C for the head.
    Missing: masked keys have weight 0. One-way, a row without the query modality gives b
    whatever the others say. Attention: {query modality: (B, heads, T, K)}, the others' tokens in
    order, null last; rows of masked queries are zero. Weights stay None, because what comes past
    the attention, x_i itself, has none.
    Source: Vaswani et al. 2017, Attention is all you need (arXiv:1706.03762); both ways in Lu et
    al. 2019, ViLBERT (arXiv:1908.02265).
    """

    accepts = "tokens"
    at_least = 2

    def __init__(
        self,
        input_dims: dict[str, int],
        output_dim: int,
        *,
        query: str | None = None,
        co: bool = False,
        heads: int = 4,
        width: int | None = 32,
        **options,
    ):
        super().__init__(input_dims, output_dim, width=width, **options)
        if co and query is not None:
            raise ValueError(
                f"query: expected None with co=True, where every modality asks, got {query!r}"
            )
        self.asking = self.names if co else (_one_of("query", query, self.names),)
        self.sizes = [width := self._equal_width(), output_dim]
        self.attend = nn.ModuleDict({name: _Attention(width, heads) for name in self.asking})
        # zero: its first score is 0 for any query
        self.null = nn.Parameter(torch.zeros(len(self.asking), width))
        self.head = _mlp(self.sizes)

    def _question(
        self, asker: int, inputs: list[Tensor], present: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, T, D), keys (B, K, D) with null as the last, and which keys are there, (B,
        K).
        """
        at, null = (
            self.names.index(self.asking[asker]),
            self.null[asker].expand(len(inputs[0]), 1, -1),
        )
        always = torch.ones_like(present[0][:, :1])
        return (
            inputs[at],
            torch.cat([*inputs[:at], *inputs[at + 1 :], null], 1),
            torch.cat([*present[:at], *present[at + 1 :], always], 1),
        )

    def fuse(self, inputs: list[Tensor], present: list[Tensor]) -> Tensor:
        pooled, there = [], [present[self.names.index(name)] for name in self.asking]
        for i, attend in enumerate(self.attend.values()):
            x, keys, kept = self._question(i, inputs, present)
            # (B, D)
            pooled.append(masked_mean(x + attend(x, keys, kept), there[i]))
        asked = torch.stack([tokens.any(1) for tokens in there], 1)
        # (B, D) -> (B, C)
        return self.head(masked_mean(torch.stack(pooled, 1), asked))

    def explain(self, inputs: list[Tensor], present: list[Tensor]) -> FusionInfo:
        attention = {}
        for i, (name, attend) in enumerate(self.attend.items()):
            # (B, 1, T, 1)
            there = present[self.names.index(name)][:, None, :, None]
            attention[name] = torch.where(
                there, attend.weights(*self._question(i, inputs, present)), 0
            )
        return FusionInfo(attention=attention)

    def own_parameters(self) -> int:
        return super().own_parameters() + len(self.asking) * 4 * (
            self.sizes[0] ** 2 + self.sizes[0]
        )

    def own_multiply_adds(self, tokens: dict[str, int]) -> int:
        D, lengths = (
            self.sizes[0],
            [(tokens[name], sum(tokens.values()) - tokens[name] + 1) for name in self.asking],
        )
        return super().own_multiply_adds(tokens) + sum(
            D * (2 * D * (T + K) + 2 * T * K) for T, K in lengths
        )


class BottleneckFusion(Fusion):
    """Bottleneck transformer: modalities meet only in a few extra tokens, so attention grows
    with each T_m squared.

    In each of `layers` layers every modality's tokens and the n = `bottlenecks` learned tokens
    go through a transformer block of that modality; then the bottlenecks become the mean of what
    the modalities present made of them. The head reads the mean of the last ones, normalised
    (the paper reads a class token of each modality). The order of tokens within a modality does
    not matter; add positions to the features if it should.

    Cost in multiply-adds a row, D = `width`: layers times sum_m (8 (T_m + n) D^2 + 2 (T_m + n)^2
    D), and D C for the head. The scores of one joint sequence would take (sum_m T_m)^2 in the
    place of sum_m (T_m + n)^2.
    Missing: masked tokens are no keys; a missing modality is left out of the mean. A row without
    any modality keeps the learned bottlenecks, which gives the same logits for every such row.
    Source: Nagrani et al. 2021, Attention bottlenecks for multimodal fusion (arXiv:2107.00135).
    """

    accepts = "both"

    def __init__(
        self,
        input_dims: dict[str, int],
        output_dim: int,
        *,
        bottlenecks: int = 4,
        layers: int = 2,
        heads: int = 4,
        width: int | None = 32,
        **options,
    ):
        super().__init__(input_dims, output_dim, width=width, **options)
        _positive("bottlenecks", bottlenecks)
        _positive("layers", layers)
        self.sizes = [width := self._equal_width(), output_dim]
        # different, or all would stay alike
        self.bottlenecks = nn.Parameter(0.02 * torch.randn(bottlenecks, width))
        self.layers = nn.ModuleList(
            nn.ModuleDict({name: _Block(width, heads) for name in self.names})
            for _ in range(layers)
        )
        self.head = nn.Sequential(nn.LayerNorm(width), _mlp(self.sizes))

    def fuse(self, inputs: list[Tensor], present: list[Tensor]) -> Tensor:
        # (B, n, D)
        n, shared = len(self.bottlenecks), self.bottlenecks.expand(len(inputs[0]), -1, -1)
        # (B, n)
        always = torch.ones_like(shared[..., 0], dtype=torch.bool)
        # (B, M)
        there = torch.stack([tokens.any(1) for tokens in present], 1)
        for blocks in self.layers:
            # (B, n + T_m, D)
            states = [
                block(torch.cat([shared, x], 1), torch.cat([always, kept], 1))
                for block, x, kept in zip(blocks.values(), inputs, present)
            ]
            inputs = [state[:, n:] for state in states]
            # (B, M, n D)
            updates = torch.stack([state[:, :n].flatten(1) for state in states], 1)
            updated = masked_mean(updates, there).view_as(shared)
            shared = torch.where(there.any(1)[:, None, None], updated, shared)
        # (B, D) -> (B, C)
        return self.head(shared.mean(1))

    def own_parameters(self) -> int:
        (n, D), blocks = self.bottlenecks.shape, len(self.layers) * len(self.names)
        return super().own_parameters() + (n + 2) * D + blocks * (8 * D**2 + 10 * D)

    def own_multiply_adds(self, tokens: dict[str, int]) -> int:
        n, D = self.bottlenecks.shape
        block = sum(8 * (T + n) * D**2 + 2 * (T + n) ** 2 * D for T in tokens.values())
        return super().own_multiply_adds(tokens) + len(self.layers) * block


class JointTransformerFusion(Fusion):
    """Single-stream transformer: all tokens of all modalities in one sequence, every token asks
    every other one.

    The sequence is a learned class token, then x + e_m for each token x of modality m, with one
    learned e_m for each modality so that the blocks can tell them apart. After `layers` blocks
    the head reads the normalised class token. Order of tokens within a modality does not matter;
    add positions to the features if it should.

    Cost in multiply-adds a row, D = `width`, N = 1 + sum T_m: layers times (8 N D^2 + 2 N^2 D),
    and D C for the head.
    Missing: masked tokens are no keys. A row without any modality leaves the class token alone,
    which gives the same logits for every such row.
    Source: Li et al. 2019, VisualBERT (arXiv:1908.03557); Kim, Son and Kim 2021, ViLT
    (arXiv:2102.03334).
    """

    accepts = "both"

    def __init__(
        self,
        input_dims: dict[str, int],
        output_dim: int,
        *,
        layers: int = 2,
        heads: int = 4,
        width: int | None = 32,
        **options,
    ):
        super().__init__(input_dims, output_dim, width=width, **options)
        _positive("layers", layers)
        self.sizes = [width := self._equal_width(), output_dim]
        self.token = nn.Parameter(0.02 * torch.randn(width))
        self.kinds = nn.Parameter(0.02 * torch.randn(len(self.names), width))
        self.layers = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(width), _mlp(self.sizes))

    def fuse(self, inputs: list[Tensor], present: list[Tensor]) -> Tensor:
        token = self.token.expand(len(inputs[0]), 1, -1)
        # (B, N, D)
        states = torch.cat([token, *(x + kind for x, kind in zip(inputs, self.kinds))], 1)
        # (B, N)
        kept = torch.cat([torch.ones_like(present[0][:, :1]), *present], 1)
        for block in self.layers:
            states = block(states, kept)
        # (B, D) -> (B, C)
        return self.head(states[:, 0])

    def own_parameters(self) -> int:
        # class token, kinds, last norm; then the blocks
        D, M = self.sizes[0], len(self.names)
        return super().own_parameters() + (1 + M + 2) * D + len(self.layers) * (8 * D**2 + 10 * D)

    def own_multiply_adds(self, tokens: dict[str, int]) -> int:
        D, N = self.sizes[0], 1 + sum(tokens.values())
        return super().own_multiply_adds(tokens) + len(self.layers) * (8 * N * D**2 + 2 * N**2 * D)


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
    """
    name = next(
        (name for name, cls in STRATEGIES.items() if cls is type(fusion)), type(fusion).__name__
    )
    return Description(
        name, fusion.accepts, fusion.parameter_formula(), fusion.multiply_adds(tokens)
    )


class ModalityDropout(nn.Module):
    """In training, hide whole modalities at random, row by row, so that a layer learns to do
    without each of them.

        drop = ModalityDropout(0.3)
        logits = fusion(features, mask=drop(features, mask))

    Each present modality is dropped with probability p, but (unlike the paper's) never the last
    one: a row that would lose all k that it has keeps one of them, each equally likely. So the
    rate of one modality is p - p^k / k. In evaluation the mask comes back as it is. No scaling:
    the strategy itself has to handle what is missing.
    Source: Neverova et al. 2015, ModDrop: adaptive multi-modal gesture recognition
    (arXiv:1501.00102).
    """

    def __init__(self, p: float):
        super().__init__()
        if not isinstance(p, (int, float)) or not 0 <= p < 1:
            raise ValueError(f"p: expected a number of at least 0 and below 1, got {p!r}")
        self.p = p

    def extra_repr(self) -> str:
        return f"p={self.p}"

    def forward(
        self, features: dict[str, Tensor], mask: Tensor | dict[str, Tensor] | None = None
    ) -> Tensor | dict[str, Tensor] | None:
        """A mask of the same form: {name: (B, T_m)} for a dict, else (B, M) in the columns of
        the mask that came.
        """
        if (
            not isinstance(features, dict)
            or not features
            or any(not isinstance(x, Tensor) or x.dim() not in (2, 3) for x in features.values())
        ):
            raise ValueError(
                "features: expected a dict of modalities, each (B, D_m) or (B, T_m, D_m) and"
                " nothing else, got"
                f" {list(features) if isinstance(features, dict) else type(features).__name__}"
            )
        _check_rows(features)
        if not self.training:
            return mask
        tokens = _token_masks(features, mask, tuple(features))
        present = torch.stack([kept.any(1) for kept in tokens], 1)  # (B, M)
        luck = torch.rand(present.shape, device=present.device).masked_fill(~present, -1)
        # the luckiest stays
        keep = present & ((luck >= self.p) | (luck == luck.amax(1, keepdim=True)))
        if not isinstance(mask, dict):
            return keep
        return {name: kept & k[:, None] for name, kept, k in zip(features, tokens, keep.unbind(1))}


class _Attention(nn.Module):
    """Multi-head attention softmax(Q K^T / sqrt(d)) V of queries x (B, T, D) to keys y (B, K,
    D), d = D / heads.

    `kept` (B, K) says which keys are there; the caller takes care that one is. K has no bias: it
    would add the same number to all scores of a query, the softmax cancels that, and it could
    never learn.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        _positive("heads", heads)
        if width % heads:
            raise ValueError(f"heads: expected a divisor of the width {width}, got {heads}")
        self.heads = heads
        self.q, self.v, self.out = (nn.Linear(width, width) for _ in range(3))
        self.k = nn.Linear(width, width, bias=False)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, T, D) -> (B, heads, T, d)

    def forward(self, x: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        q, k, v = self._split(self.q(x)), self._split(self.k(y)), self._split(self.v(y))
        found = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=kept[:, None, None])
        return self.out(found.transpose(1, 2).flatten(2))  # (B, heads, T, d) -> (B, T, D)

    def weights(self, x: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        """The softmax alone, (B, heads, T, K), which the fused kernel of `forward` does not hand
        out.
        """
        q, k = self._split(self.q(x)), self._split(self.k(y))
        return masked_softmax(q @ k.mT / math.sqrt(q.shape[-1]), kept[:, None, None], 3)


class _Block(nn.Module):
    """A transformer block that normalises first: x + attention(norm(x)), then x + MLP(norm(x)),
    (B, T, D) -> (B, T, D).

    8 D^2 + 10 D parameters: attention 4 D^2 + 3 D, the MLP 4 D^2 + 3 D, two norms 4 D.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = _Attention(width, heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        y = self.before_attention(x)
        x = x + self.attention(y, y, kept)
        return x + self.mlp(self.before_mlp(x))


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, :, None] * b[:, None, :]).flatten(1)  # (B, D), (B, E) -> (B, D E)


def _one_of(argument: str, name: str | None, names: tuple[str, ...]) -> str:
    """The name if it is a modality's; the first modality's if it is None."""
    if name is not None and name not in names:
        raise ValueError(f"{argument}: expected one of {list(names)}, got {name!r}")
    return names[0] if name is None else name


def _token_masks(
    features: dict[str, Tensor], mask: Tensor | dict[str, Tensor] | None, names: tuple[str, ...]
) -> list[Tensor]:
    """One (B, T_m) bool for each modality, T_m = 1 for a vector, whichever form the mask came
    in.
    """
    first = features[names[0]]
    shapes = {
        name: features[name].shape[:2] if features[name].dim() == 3 else (len(first), 1)
        for name in names
    }
    if mask is None or isinstance(mask, dict):
        mask = mask or {}
        if not set(mask) <= set(names):
            raise ValueError(f"mask: expected modalities out of {list(names)}, got {list(mask)}")
        for name in mask:
            _check_mask(
                f"mask[{name!r}]", mask[name], shapes[name], f"of features[{name!r}]", first.device
            )
        return [
            mask[name] if name in mask else torch.ones(shape, dtype=torch.bool, device=first.device)
            for name, shape in shapes.items()
        ]
    _check_mask(
        "mask", mask, (len(first), len(names)), f"(rows, modalities {list(names)})", first.device
    )
    return [column[:, None].expand(shape) for column, shape in zip(mask.unbind(1), shapes.values())]


def _sizes(inputs: int, hidden: int | None, outputs: int) -> list[int]:
    _positive("hidden", hidden, optional=True)
    return [inputs, outputs] if hidden is None else [inputs, hidden, outputs]


def _mlp(sizes: list[int]) -> nn.Module:
    """Linear layers of these sizes with a ReLU between each two; a single one is a plain
    `nn.Linear`.
    """
    layers = [layer for i, o in pairwise(sizes) for layer in (nn.Linear(i, o), nn.ReLU())][:-1]
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def _positive(argument: str, value: int | None, optional: bool = False) -> None:
    if (value is not None or not optional) and (type(value) is not int or value < 1):
        raise ValueError(f"{argument}: expected a whole number of at least 1, got {value!r}")


def _check_rows(features: dict[str, Tensor]) -> None:
    rows = {name: len(x) for name, x in features.items()}
    if len(set(rows.values())) > 1:
        raise ValueError(f"features: expected as many rows in each modality, got {rows}")


def _check_tensor(
    argument: str, value: Tensor, device: torch.device, what: str = "a tensor"
) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{argument}: expected {what}, got {type(value).__name__}")
    if value.device != device:
        raise ValueError(
            f"{argument}: expected on {device} like the parameters, got {value.device}"
        )


def _autocast(x: Tensor, like: Tensor) -> bool:
    """Whether autocast brings both to one dtype: it is on, and neither is float64, which it
    never converts.
    """
    kind = x.device.type
    return (
        {x.dtype, like.dtype} <= {torch.float32, torch.float16, torch.bfloat16}
        and torch.amp.is_autocast_available(kind)
        and torch.is_autocast_enabled(kind)
    )


def _check_mask(
    argument: str, mask: Tensor, shape: tuple[int, int], meaning: str, device: torch.device
) -> None:
    _check_tensor(
        argument,
        mask,
        device,
        "a boolean tensor" + " or a dict of them by modality" * (argument == "mask"),
    )
    if mask.dtype != torch.bool:
        raise TypeError(f"{argument}: expected torch.bool, True = present, got {mask.dtype}")
    if tuple(mask.shape) != tuple(shape):
        raise ValueError(
            f"{argument}: expected shape {tuple(shape)} {meaning}, got {tuple(mask.shape)}"
        )
