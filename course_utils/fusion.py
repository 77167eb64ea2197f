"""Fusion: several modalities in, one result out. Every strategy stands behind one interface, `Fusion`.

    fusion = ConcatFusion({"text": 6, "image": 5}, output_dim=4)
    logits = fusion({"text": text, "image": image}, mask=mask)      # (B, 6), (B, 5), (B, 2) bool -> (B, 4)

What all strategies share (checks, pooling, masks, projections) is written once, in `Fusion`; a strategy adds its own
formula. `STRATEGIES` lists them by name. In formulas h_m is the vector of modality m, (B, D_m).
"""
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from course_utils.text import masked_mean


@dataclass
class FusionInfo:
    """What a strategy can tell about how it came to its result; None where its formula has no such thing.

      weights        (B, M): how much each modality counts in each row
      attention      by name, for example (B, queries, keys)
      contributions  (B, M, C): what each modality adds to the result; the class says what they sum to
    """
    weights: Tensor | None = None
    attention: dict[str, Tensor] | None = None
    contributions: Tensor | None = None


class Fusion(nn.Module):
    """What every strategy shares. To add one, subclass this and write `fuse`; `explain` and `own_parameters` if you can.

      input_dims   the modalities' names and widths D_m; their order is the order in masks and in `FusionInfo`
      output_dim   width C of the result
      width        None, or project each modality linearly to this width first, so that all are equally wide
      normalise    LayerNorm (arXiv:1607.06450) over each modality's vector, after the projection: equal scales

    `accepts` says what `fuse` works on: "vectors" (tokens are pooled by `masked_mean` before), "tokens" (single
    vectors are refused) or "both" (a vector comes as a sequence of one token).
    """
    accepts = "vectors"

    def __init__(self, input_dims: dict[str, int], output_dim: int, *, width: int | None = None, normalise: bool = False):
        super().__init__()
        if not isinstance(input_dims, dict) or not input_dims:
            raise ValueError(f"input_dims: expected at least one modality as {{name: width}}, got {input_dims!r}")
        for name, dim in input_dims.items():
            if not isinstance(name, str) or not name or "." in name or hasattr(nn.ModuleDict(), name):   # "keys", say
                raise ValueError(f"input_dims: {name!r} cannot name a modality; expected a word such as 'text'")
            _positive(f"input_dims[{name!r}]", dim)
        _positive("output_dim", output_dim)
        _positive("width", width, optional=True)
        self.input_dims, self.names, self.output_dim = dict(input_dims), tuple(input_dims), output_dim
        self.width, self.normalise = width, normalise
        self.dims = [width or dim for dim in input_dims.values()]   # the widths that `fuse` sees
        if normalise and 1 in self.dims:
            raise ValueError(f"normalise: expected widths of at least 2, got {self.dims}; "
                             "LayerNorm over a single number always gives zero")
        self.project = nn.ModuleDict({name: nn.Linear(dim, width) for name, dim in input_dims.items()} if width else {})
        self.norm = nn.ModuleDict({name: nn.LayerNorm(dim) for name, dim in zip(self.names, self.dims)} if normalise else {})

    def forward(self, features: dict[str, Tensor], *, mask: Tensor | dict[str, Tensor] | None = None,
                return_info: bool = False) -> Tensor | tuple[Tensor, FusionInfo]:
        """Fuse one batch into (B, C).

        features[m] is (B, D_m) or (B, T_m, D_m) float. `mask` is bool, True = present: (B, M) for whole modalities,
        or {name: (B, T_m)} for tokens, with T_m = 1 for a vector; modalities that the dict leaves out are present.
        A modality without any present token is missing. With `return_info` also a `FusionInfo`.

        Raises ValueError or TypeError when names, shapes, dtypes or devices do not fit. Values are not checked.
        """
        self._check_features(features)
        present = self._token_masks(features, mask)
        inputs = [self._prepare(name, features[name], tokens) for name, tokens in zip(self.names, present)]
        if self.accepts == "vectors":
            present = torch.stack([tokens.any(1) for tokens in present], 1)     # (B, M)
        output = self.fuse(inputs, present)
        return (output, self.explain(inputs, present)) if return_info else output

    def fuse(self, inputs: list[Tensor], present: Tensor | list[Tensor]) -> Tensor:
        """The strategy's formula, (B, C). What is missing has already been set to zero.

        For vectors: `inputs` M times (B, D_m), `present` (B, M) bool. For tokens: M times (B, T_m, D_m) and (B, T_m).
        """
        raise NotImplementedError

    def explain(self, inputs: list[Tensor], present: Tensor | list[Tensor]) -> FusionInfo:
        """Weights, attention, contributions, from the same inputs as `fuse`; computed only when asked for."""
        return FusionInfo()

    def parameter_formula(self) -> int | None:
        """The number of parameters by the class's formula, from widths alone; None when no formula is known."""
        own = self.own_parameters()
        projections = sum((dim + 1) * self.width for dim in self.input_dims.values()) if self.width else 0
        norms = 2 * sum(self.dims) if self.normalise else 0
        return None if own is None else own + projections + norms

    def own_parameters(self) -> int | None:
        """The formula's count without the shared projections and norms."""

    def _prepare(self, name: str, x: Tensor, tokens: Tensor) -> Tensor:
        if self.accepts == "vectors":
            x = masked_mean(x, tokens) if x.dim() == 3 else x       # (B, T, D) -> (B, D)
            kept = tokens.any(1, keepdim=True)                      # (B, T) -> (B, 1)
        else:
            x = x if x.dim() == 3 else x[:, None]                   # (B, D) -> (B, 1, D)
            kept = tokens[..., None]                                # (B, T) -> (B, T, 1)
        x = torch.where(kept, x, 0)                                 # before any arithmetic: a gradient through NaN is NaN
        if self.project:
            x = self.project[name](x)
        if self.norm:
            x = self.norm[name](x)
        return torch.where(kept, x, 0) if self.project or self.norm else x      # no bias speaks for what is missing

    def _check_features(self, features: dict[str, Tensor]) -> None:
        if not isinstance(features, dict) or set(features) != set(self.names):
            got = list(features) if isinstance(features, dict) else type(features).__name__
            raise ValueError(f"features: expected a dict with the modalities {list(self.names)}, got {got}; "
                             "a missing modality keeps its name and is marked in the mask")
        like = next(self.parameters(), features[self.names[0]])
        for name, dim in self.input_dims.items():
            x = features[name]
            _check_tensor(f"features[{name!r}]", x, like.device)
            if x.dtype != like.dtype and not (x.is_floating_point() and torch.is_autocast_enabled(x.device.type)):
                raise TypeError(f"features[{name!r}]: expected {like.dtype} like the parameters, got {x.dtype}")
            if x.dim() not in ((3,) if self.accepts == "tokens" else (2, 3)) or x.shape[-1] != dim:
                expected = f"(B, T, {dim})" if self.accepts == "tokens" else f"(B, {dim}) or (B, T, {dim})"
                raise ValueError(f"features[{name!r}]: expected shape {expected}, got {tuple(x.shape)}")
            if not x.numel():
                raise ValueError(f"features[{name!r}]: expected at least one row and one token, got shape {tuple(x.shape)}")
        rows = {name: len(features[name]) for name in self.names}
        if len(set(rows.values())) > 1:
            raise ValueError(f"features: expected as many rows in each modality, got {rows}")

    def _token_masks(self, features: dict[str, Tensor], mask: Tensor | dict[str, Tensor] | None) -> list[Tensor]:
        """One (B, T_m) bool for each modality, whichever form the mask came in."""
        first = features[self.names[0]]
        shapes = {name: features[name].shape[:2] if features[name].dim() == 3 else (len(first), 1) for name in self.names}
        if mask is None or isinstance(mask, dict):
            mask = mask or {}
            if not set(mask) <= set(self.names):
                raise ValueError(f"mask: expected modalities out of {list(self.names)}, got {list(mask)}")
            for name in mask:
                _check_mask(f"mask[{name!r}]", mask[name], shapes[name], f"of features[{name!r}]", first.device)
            return [mask[name] if name in mask else torch.ones(shape, dtype=torch.bool, device=first.device)
                    for name, shape in shapes.items()]
        _check_mask("mask", mask, (len(first), len(self.names)), f"(rows, modalities {list(self.names)})", first.device)
        return [column[:, None].expand(shape) for column, shape in zip(mask.unbind(1), shapes.values())]


class ConcatFusion(Fusion):
    """Glue the vectors together, then one map: logits = W [h_1; ...; h_M] + b, with W (C, sum D_m).

    Linear by default. Then logits = sum_m W_m h_m + b: each modality adds its own score and none can change what
    another one means. With `hidden` H the map is an MLP, W2 relu(W1 [h_1; ...; h_M] + b1) + b2, which can.

    Cost in multiply-adds a row: C sum D_m; with `hidden` H (sum D_m + C); projections add `width` sum D_m.
    Missing: its block is zeros, so the linear map leaves its term out. With `placeholder` its block is a learned
    vector, zero at the start. A row without any modality gives the map of zeros (linear: b) or of placeholders.
    Contributions (linear map only): W_m h_m; they sum to the logits minus b.
    Source: Ngiam et al. 2011, Multimodal Deep Learning (ICML), learn a shared layer on concatenated features.
    """

    def __init__(self, input_dims: dict[str, int], output_dim: int, *, hidden: int | None = None,
                 placeholder: bool = False, **options):
        super().__init__(input_dims, output_dim, **options)
        self.sizes = _sizes(sum(self.dims), hidden, output_dim)
        self.placeholder = nn.Parameter(torch.zeros(sum(self.dims))) if placeholder else None
        self.head = _mlp(self.sizes)

    def concatenate(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        """M times (B, D_m) -> (B, sum D_m), with the placeholder, if there is one, where a modality is missing."""
        glued = torch.cat(inputs, 1)
        if self.placeholder is None:
            return glued
        kept = torch.cat([column[:, None].expand_as(x) for column, x in zip(present.unbind(1), inputs)], 1)
        return torch.where(kept, glued, self.placeholder)

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        return self.head(self.concatenate(inputs, present))         # (B, sum D_m) -> (B, C)

    def explain(self, inputs: list[Tensor], present: Tensor) -> FusionInfo:
        if len(self.sizes) > 2:
            return FusionInfo()                                     # through a hidden layer there is no one way to share
        blocks = self.concatenate(inputs, present).split(self.dims, 1)
        parts = [x @ W.T for x, W in zip(blocks, self.head.weight.split(self.dims, 1))]
        return FusionInfo(contributions=torch.stack(parts, 1))      # (B, M, C)

    def own_parameters(self) -> int:
        return _mlp_parameters(self.sizes) + (0 if self.placeholder is None else sum(self.dims))


class EarlyFusion(Fusion):
    """Glue the raw inputs together, then one encoder for all: logits = W encoder([x_1; ...; x_M]) + b.

    Hand it inputs as raw as they come (pixels, counts, a spectrogram, flattened to (B, D_m)): the encoder sees all
    modalities from its first layer on, so it can use a link between one pixel and one letter, and has to find it.
    `encoder(sum D_m, hidden)` builds a module (B, sum D_m) -> (B, hidden); by default two layers, each with a ReLU.
    There are no projections or norms before it, because those would be encoders of one modality each.

    Cost in multiply-adds a row, default encoder, H = `hidden`: H (sum D_m + H + C).
    Missing: zeros, which the encoder cannot tell from a real zero. A row without any modality: the encoder of zeros.
    Source: named and compared with late fusion by Snoek, Worring and Smeulders 2005, Early versus late fusion in
    semantic video analysis (ACM Multimedia).
    """

    def __init__(self, input_dims: dict[str, int], output_dim: int, *, hidden: int = 32,
                 encoder: Callable[[int, int], nn.Module] | None = None):
        super().__init__(input_dims, output_dim)
        _positive("hidden", hidden)
        self.sizes = None if encoder else [sum(self.dims), hidden, hidden]
        self.encoder = encoder(sum(self.dims), hidden) if encoder else nn.Sequential(_mlp(self.sizes), nn.ReLU())
        self.head = nn.Linear(hidden, output_dim)

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        return self.head(self.encoder(torch.cat(inputs, 1)))        # (B, sum D_m) -> (B, H) -> (B, C)

    def own_parameters(self) -> int | None:
        return None if self.sizes is None else _mlp_parameters([*self.sizes, self.output_dim])


class LateFusion(Fusion):
    """A head for each modality; then the mean of the logits of those present: logits = mean_m head_m(h_m).

    The heads are linear, or with `hidden` H an MLP each. Like linear concatenation this is additive in the
    modalities: they meet only in the mean. The mean of logits is, after the softmax, the geometric mean of the heads'
    probabilities, normalised.

    Cost in multiply-adds a row: C sum D_m; with `hidden` H (sum D_m + M C).
    Missing: left out of the mean, which is then over fewer heads. A row without any modality gives zeros, that is,
    after the softmax, each class alike.
    Weights: 1 / (number present), 0 for a missing one. Contributions: weight times head; they sum to the logits.
    Source: Kittler, Hatef, Duin and Matas 1998, On combining classifiers (IEEE TPAMI 20), compare such rules.
    """

    def __init__(self, input_dims: dict[str, int], output_dim: int, *, hidden: int | None = None, **options):
        super().__init__(input_dims, output_dim, **options)
        self.sizes = [_sizes(dim, hidden, output_dim) for dim in self.dims]
        self.heads = nn.ModuleDict({name: _mlp(sizes) for name, sizes in zip(self.names, self.sizes)})

    def fuse(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        return self.explain(inputs, present).contributions.sum(1)   # (B, M, C) -> (B, C)

    def explain(self, inputs: list[Tensor], present: Tensor) -> FusionInfo:
        logits = torch.stack([head(x) for head, x in zip(self.heads.values(), inputs)], 1)      # (B, M, C)
        weights = present.to(logits.dtype) / present.sum(1, keepdim=True).clamp(min=1)          # (B, M)
        return FusionInfo(weights=weights, contributions=weights[..., None] * logits)

    def own_parameters(self) -> int:
        return sum(_mlp_parameters(sizes) for sizes in self.sizes)


STRATEGIES: dict[str, type[Fusion]] = {"concat": ConcatFusion, "early": EarlyFusion, "late": LateFusion}


def _sizes(inputs: int, hidden: int | None, outputs: int) -> list[int]:
    _positive("hidden", hidden, optional=True)
    return [inputs, outputs] if hidden is None else [inputs, hidden, outputs]


def _mlp(sizes: list[int]) -> nn.Module:
    """Linear layers of these sizes with a ReLU between each two; a single one is a plain `nn.Linear`."""
    layers = [layer for i, o in pairwise(sizes) for layer in (nn.Linear(i, o), nn.ReLU())][:-1]
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def _mlp_parameters(sizes: list[int]) -> int:
    return sum((i + 1) * o for i, o in pairwise(sizes))


def _positive(argument: str, value: int | None, optional: bool = False) -> None:
    if (value is not None or not optional) and (type(value) is not int or value < 1):
        raise ValueError(f"{argument}: expected a whole number of at least 1, got {value!r}")


def _check_tensor(argument: str, value: Tensor, device: torch.device, what: str = "a tensor") -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{argument}: expected {what}, got {type(value).__name__}")
    if value.device != device:
        raise ValueError(f"{argument}: expected on {device} like the parameters, got {value.device}")


def _check_mask(argument: str, mask: Tensor, shape: tuple[int, int], meaning: str, device: torch.device) -> None:
    _check_tensor(argument, mask, device, "a boolean tensor" + " or a dict of them by modality" * (argument == "mask"))
    if mask.dtype != torch.bool:
        raise TypeError(f"{argument}: expected torch.bool, True = present, got {mask.dtype}")
    if tuple(mask.shape) != tuple(shape):
        raise ValueError(f"{argument}: expected shape {tuple(shape)} {meaning}, got {tuple(mask.shape)}")
