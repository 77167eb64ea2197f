"""What every fusion strategy shares: names, checks, masks, pooling, projections, counting."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from course_utils.checks import check_choice, check_tensor, check_whole
from course_utils.masks import masked_mean


@dataclass
class FusionInfo:
    """What a strategy can tell about how it came to its result; None where its formula has no
    such thing.

    weights        (B, M): how much each modality counts in each row, M in the order of `names`
    attention      by name, for example (B, queries, keys)
    contributions  (B, M, C): what each modality adds to the result; the class says what they sum to

    They may carry gradients, as the result does: `.detach()` them before NumPy or a plot.
    """

    weights: Tensor | None = None
    attention: dict[str, Tensor] | None = None
    contributions: Tensor | None = None


class Fusion(nn.Module):
    """What every strategy shares. To add one, subclass this and write `fuse`; `explain` and the
    `own_...` if you can.

      input_dims   the modalities' names and widths D_m; their order, `names`, is the order of M in
                   `FusionInfo` and in `fuse`; features and masks go by name
      output_dim   width C of the result
      width        None, or project each modality linearly to this width first, so that all are
                   equally wide
      normalise    LayerNorm (arXiv:1607.06450) over each modality's vector, after the projection:
                   equal scales

    The `**options` of a strategy are `width` and `normalise`, and what the class that it builds on
    takes beside them.

    `accepts` says what `fuse` works on: "vectors" (tokens are pooled by `masked_mean` before),
    "tokens" (single vectors are refused) or "both" (a vector comes as a sequence of one token).
    `at_least` modalities are needed.
    Raises ValueError for names, widths, numbers of modalities and an `accepts` that do not do;
    what the call raises: `forward`.
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
            check_whole(1, **{f"input_dims[{name!r}]": dim})
        if len(input_dims) < self.at_least:
            raise ValueError(
                f"input_dims: {type(self).__name__} expected at least {self.at_least} modalities, "
                f"got {list(input_dims)}"
            )
        check_whole(1, output_dim=output_dim)
        check_choice(("vectors", "tokens", "both"), accepts=self.accepts)
        if width is not None:
            check_whole(1, width=width)
        self.input_dims, self.names = dict(input_dims), tuple(input_dims)
        self.output_dim = output_dim
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
        mask: dict[str, Tensor] | None = None,
        return_info: bool = False,
    ) -> Tensor | tuple[Tensor, FusionInfo]:
        """Fuse one batch into (B, C).

        features[m] is (B, D_m) or (B, T_m, D_m) float. mask[m] is bool, True = present: (B,) for
        a whole modality, or (B, T_m) for the tokens of one that has tokens; a modality that
        `mask` leaves out is present, and a name that the layer has not is refused, in `mask` as in
        `features`. One without any present token is missing. All goes by name, so nothing can be
        swapped. With `return_info` also a `FusionInfo`.

        Raises ValueError or TypeError when names, shapes, dtypes or devices do not fit, or when
        `fuse` gives another shape. Values are not checked.
        """
        self.check_features(features)
        present = token_masks(features, mask, self.names)
        inputs = []
        for name, kept in zip(self.names, present):
            masked = mask is not None and name in mask
            inputs.append(self._prepare(name, features[name], kept if masked else None))
        if self.accepts == "vectors":
            present = torch.stack([kept.any(1) for kept in present], 1)  # (B, M)
        output = self.fuse(inputs, present)
        self._check_result(output, inputs[0].shape[0])
        return (output, self.explain(inputs, present)) if return_info else output

    def fuse(self, inputs: list[Tensor], present: Tensor | list[Tensor]) -> Tensor:
        """The strategy's formula, (B, C). What is missing has already been set to zero.

        For vectors: `inputs` M times (B, D_m), `present` (B, M) bool. For tokens: M times (B,
        T_m, D_m) and (B, T_m).
        """
        raise NotImplementedError(f"{type(self).__name__} has no `fuse`: write its formula there")

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
        tokens = {} if tokens is None else tokens
        if not isinstance(tokens, dict):
            raise TypeError(f"tokens: expected a dict by name, got {type(tokens).__name__}")
        if not set(tokens) <= set(self.names):
            raise ValueError(
                f"tokens: expected modalities out of {list(self.names)}, got {list(tokens)}"
            )
        for name in tokens:
            check_whole(1, **{f"tokens[{name!r}]": tokens[name]})
        pooled = self.accepts == "vectors"
        lengths = {name: 1 if pooled else tokens.get(name, 1) for name in self.names}
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

    def own_multiply_adds(self, lengths: dict[str, int]) -> int | None:
        """The same for multiply-adds; `lengths` are the T_m, 1 for a vector."""
        return sum(i * o for i, o in pairwise(self.sizes)) if self.sizes else None

    def _prepare(self, name: str, x: Tensor, kept: Tensor | None) -> Tensor:
        """Pool, set to zero what is missing, project, normalise. `kept` is (B, T_m), or None where
        nothing is missing.
        """
        if self.accepts == "vectors":
            if x.dim() == 3:
                x = masked_mean(x, kept)  # (B, T, D) -> (B, D)
            there = None if kept is None else kept.any(1, keepdim=True)  # (B, T) -> (B, 1)
        else:
            if x.dim() == 2:
                x = x[:, None]  # (B, D) -> (B, 1, D)
            there = None if kept is None else kept[..., None]  # (B, T) -> (B, T, 1)
        if there is not None:
            x = torch.where(there, x, 0)  # before any arithmetic: a gradient through NaN is NaN
        if self.project:
            x = self.project[name](x)
        if self.norm:
            x = self.norm[name](x)
        if there is not None and (self.project or self.norm):
            x = torch.where(there, x, 0)  # no bias speaks for what is missing
        return x

    def _equal_width(self) -> int:
        """The one width that all modalities have; a ValueError if they differ."""
        if len(set(self.dims)) > 1:
            raise ValueError(
                "width: expected a width to project to, or input_dims that are all equal, "
                f"got width=None and {self.input_dims}"
            )
        return self.dims[0]

    def check_features(self, features: dict[str, Tensor]) -> None:
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
            self._check_shape(f"features[{name!r}]", x, dim)
        check_rows({name: features[name] for name in self.names})

    def _check_result(self, output: Tensor, rows: int) -> None:
        check_tensor(output, "fuse", "a tensor (B, C)")
        expected, got = (rows, self.output_dim), tuple(output.shape)
        if got != expected:
            raise ValueError(f"fuse: expected a result of shape {expected}, got {got}")

    def _check_shape(self, argument: str, x: Tensor, dim: int) -> None:
        tokens_only = self.accepts == "tokens"
        fits = x.dim() == 3 or (x.dim() == 2 and not tokens_only)
        if not fits or x.shape[-1] != dim:
            expected = f"(B, T, {dim})" if tokens_only else f"(B, {dim}) or (B, T, {dim})"
            why = ""
            if tokens_only and x.dim() == 2:
                why = (
                    "; a single vector would be a single key, and a softmax over one key is 1"
                    " whatever the query is"
                )
            raise ValueError(f"{argument}: expected shape {expected}, got {tuple(x.shape)}{why}")
        if x.numel() == 0:
            raise ValueError(
                f"{argument}: expected at least one row and one token, got shape {tuple(x.shape)}"
            )


def one_of(argument: str, name: str | None, names: tuple[str, ...]) -> str:
    """The name if it is a modality's; the first modality's if it is None. Raises ValueError for
    another.
    """
    if name is None:
        return names[0]
    check_choice(names, **{argument: name})
    return name


def token_masks(
    features: dict[str, Tensor], mask: dict[str, Tensor] | None, names: tuple[str, ...]
) -> list[Tensor]:
    """One (B, T_m) bool for each modality, T_m = 1 for a vector; all True for one that the mask
    leaves out.

    Raises ValueError or TypeError for a mask that does not go by name, and for one that does not
    fit.
    """
    mask = {} if mask is None else mask
    _check_names(mask, names)
    found = []
    for name in names:
        x = features[name]
        tokens = x.shape[1] if x.dim() == 3 else 1
        if name not in mask:
            kept = torch.ones(x.shape[0], tokens, dtype=torch.bool, device=x.device)
        else:
            kept = mask[name]
            _check_mask(f"mask[{name!r}]", kept, f"features[{name!r}]", x)
            if kept.dim() == 1:
                kept = kept[:, None].expand(-1, tokens)  # (B,) -> (B, T_m)
        found.append(kept)
    return found


def full_mask(
    features: dict[str, Tensor], mask: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """A mask with an entry for each of the features, as an exported program takes it: (B, T_m) for
    tokens, (B,) for a vector; all True for a modality that `mask` leaves out.

    Raises ValueError or TypeError for features that are no dict and a mask that does not fit.
    """
    if not isinstance(features, dict):
        raise TypeError(f"features: expected a dict by name, got {type(features).__name__}")
    present = token_masks(features, mask, tuple(features))
    return {
        name: kept if x.dim() == 3 else kept[:, 0]
        for (name, x), kept in zip(features.items(), present)
    }


def _check_names(mask: dict[str, Tensor], names: tuple[str, ...]) -> None:
    if not isinstance(mask, dict):
        got = type(mask).__name__
        if isinstance(mask, Tensor):
            got = (
                f"a tensor of shape {tuple(mask.shape)}, in which nothing would show it if two"
                " modalities had changed places"
            )
        raise TypeError(
            f"mask: expected a dict of boolean tensors by name, out of {list(names)}, got {got}"
        )
    if not set(mask) <= set(names):
        raise ValueError(f"mask: expected modalities out of {list(names)}, got {list(mask)}")


def _check_mask(argument: str, mask: Tensor, of: str, x: Tensor) -> None:
    _check_tensor(argument, mask, x.device, "a boolean tensor")
    if mask.dtype != torch.bool:
        raise TypeError(f"{argument}: expected torch.bool, True = present, got {mask.dtype}")
    whole = mask.dim() == 1 and mask.shape[0] == x.shape[0]
    by_token = mask.dim() == 2 and x.dim() == 3 and mask.shape == x.shape[:2]
    if not whole and not by_token:
        expected = f"({x.shape[0]},)"
        if x.dim() == 3:
            expected += f" for the whole modality or {tuple(x.shape[:2])} for its tokens"
        raise ValueError(
            f"{argument}: expected shape {expected}, as {of} is {tuple(x.shape)}, got"
            f" {tuple(mask.shape)}"
        )


def mlp_sizes(inputs: int, hidden: int | None, outputs: int) -> list[int]:
    """Widths of an MLP, for `mlp`: without a hidden layer where `hidden` is None."""
    if hidden is None:
        return [inputs, outputs]
    check_whole(1, hidden=hidden)
    return [inputs, hidden, outputs]


def mlp(sizes: list[int]) -> nn.Module:
    """Linear layers of these sizes with a ReLU between each two; a single one is a plain
    `nn.Linear`.
    """
    layers = [layer for i, o in pairwise(sizes) for layer in (nn.Linear(i, o), nn.ReLU())][:-1]
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def check_rows(features: dict[str, Tensor]) -> None:
    """Raises ValueError where the modalities differ in their number of rows."""
    first = next(iter(features.values()))
    if any(x.shape[0] != first.shape[0] for x in features.values()):
        rows = {name: x.shape[0] for name, x in features.items()}
        raise ValueError(f"features: expected as many rows in each modality, got {rows}")


def _check_tensor(
    argument: str, value: Tensor, device: torch.device, what: str = "a tensor"
) -> None:
    check_tensor(value, argument, what)
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
