"""The sample that the contracts look at: how a layer is built, random features, and masks."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_utils.checks import check_whole

DIMS = {"text": 6, "image": 5, "audio": 4}
OUTPUT_DIM = 7
ROUND_OFF = {torch.float64: 1e-9, torch.float32: 1e-5}  # relative to the largest entry

Mask = dict[str, Tensor]


@dataclass(frozen=True)
class Outcome:
    """A layer's result, and the gradients that reached something, by the name of what they
    reached: a parameter's, or features['text'].
    """

    result: Tensor
    gradients: dict[str, Tensor]


class Case:
    """A layer's maker and a sample for it.

    features   {m: (B, D_m) or (B, T_m, D_m)}, random
    full       masks in which everything is present
    partial    masks in which each modality is missing somewhere, and no row is empty
    empty      the same masks, but the last row has nothing

    Each of the three is a list: a mask of whole modalities, (B,) each, and where there are tokens
    a second mask, of the same modalities with (B, T_m) for tokens. The parameters are those of
    `check_contracts`. Raises TypeError if `make` is no function or class, and ValueError for widths
    that are no whole numbers from 1, tokens of an unknown modality or a dtype other than float32
    and float64. What `make` raises when it is called, each contract meets and tells.
    """

    def __init__(
        self,
        make: Callable,
        dims: dict[str, int] | None = None,
        tokens: dict[str, int] | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        travel: bool = False,
    ):
        if isinstance(make, nn.Module) or not callable(make):
            raise TypeError(
                "make: expected a class or a function that builds the layer, got"
                f" {type(make).__name__}"
            )
        for argument, given in {"dims": dims, "tokens": tokens}.items():
            if not isinstance(given, (dict, type(None))):
                got = type(given).__name__
                raise TypeError(f"{argument}: expected a dict by name, got {got}")
        for name, dim in (dims or {}).items():
            check_whole(1, **{f"dims[{name!r}]": dim})
        if dtype not in ROUND_OFF:
            raise ValueError(f"dtype: expected one of {list(ROUND_OFF)}, got {dtype}")
        self.make, self.dims = make, dims or DIMS
        self.seed, self.dtype, self.travel = seed, dtype, travel
        try:
            layer = self.build()
        except Exception:  # each contract meets it again, and tells
            layer = None
        if dims is None:
            self.dims = getattr(layer, "input_dims", DIMS)
        if tokens is None and getattr(layer, "accepts", None) == "tokens":
            tokens = dict.fromkeys(self.dims, 3)
        tokens = tokens or {}
        if not set(tokens) <= set(self.dims):
            raise ValueError(
                f"tokens: expected modalities out of {list(self.dims)}, got {list(tokens)}"
            )
        self._draw(tokens)

    def _draw(self, tokens: dict[str, int]) -> None:
        """Draw features and masks."""
        rng = torch.Generator().manual_seed(self.seed)
        names, M = list(self.dims), len(self.dims)
        self.rows = M + 3
        self.features = {}
        for name, dim in self.dims.items():
            shape = (self.rows, tokens[name], dim) if name in tokens else (self.rows, dim)
            self.features[name] = torch.randn(shape, generator=rng, dtype=self.dtype)

        # Row m of the first M lacks modality m, the last three lack what chance decides.
        missing_one = ~torch.eye(M, dtype=torch.bool)
        by_chance = torch.rand(3, M, generator=rng) < 0.6
        present = torch.cat([missing_one, by_chance])  # (B, M)
        present[~present.any(1)] = True
        with_an_empty_row = present.clone()
        with_an_empty_row[-1] = False

        holes, no_holes = {}, {}
        for name, length in tokens.items():
            kept = torch.rand(self.rows, length, generator=rng) < 0.6  # (B, T)
            kept[~kept.any(1)] = True
            holes[name] = kept
            no_holes[name] = torch.ones_like(kept)

        self.full = _masks(names, torch.ones_like(present), no_holes)
        self.partial = _masks(names, present, holes)
        self.empty = _masks(names, with_an_empty_row, holes)

    def build(self, seed: int = 0) -> nn.Module:
        """A fresh layer, made in the case's dtype and not converted to it: conversion is the
        matter of contract 7.
        """
        default = torch.get_default_dtype()
        try:
            torch.manual_seed(self.seed + seed)
            torch.set_default_dtype(self.dtype)
            made_from = (self.dims, OUTPUT_DIM) if isinstance(self.make, type) else ()
            layer = self.make(*made_from)
        finally:
            torch.set_default_dtype(default)
        if not isinstance(layer, nn.Module):
            raise TypeError(f"make: expected to get an nn.Module, got {type(layer).__name__}")
        return layer

    def run(
        self,
        layer: nn.Module,
        features: dict[str, Tensor] | None = None,
        mask: Mask | None = None,
        train: bool = False,
    ) -> Tensor:
        """The layer's result on copies of the sample, so that only contract 8 meets a layer that
        changes it.
        """
        features = self.features if features is None else features
        like = next(layer.parameters(), next(iter(features.values())))
        copies = {name: x.to(like, copy=True) for name, x in features.items()}
        layer.train(train)
        if mask is None:
            result = layer(copies)
        else:
            result = layer(copies, mask={name: kept.clone() for name, kept in mask.items()})
        if not isinstance(result, Tensor):
            raise TypeError(f"forward: expected one tensor (B, C), got {type(result).__name__}")
        return result

    def outcome(
        self,
        layer: nn.Module,
        mask: Mask | None = None,
        fill: float | None = None,
        train: bool = False,
    ) -> Outcome:
        """The result, and the gradients of a random sum of it by parameters and features.

        `fill` is written into every place of the features that the mask says is missing.
        """
        features = {name: x.clone() for name, x in self.features.items()}
        if fill is not None:
            for name, kept in mask.items():
                features[name][~kept] = fill
        for x in features.values():
            x.requires_grad_()
        result = self.run(layer, features, mask, train)
        if not result.requires_grad:
            return Outcome(result, {})

        weights = torch.randn(result.shape, generator=torch.Generator().manual_seed(1))
        total = (result * weights.to(result)).sum()
        sources = {name: p for name, p in layer.named_parameters() if p.requires_grad}
        for name, x in features.items():
            sources[f"features[{name!r}]"] = x
        found = torch.autograd.grad(total, list(sources.values()), allow_unused=True)
        gradients = {name: g for name, g in zip(sources, found) if g is not None}
        return Outcome(result.detach(), gradients)

    def same(self, a: Tensor, b: Tensor) -> bool:
        """Equal up to round-off; NaN equals nothing."""
        if a.shape != b.shape:
            return False
        difference, largest = (a - b).abs(), b.abs().max()
        return bool((difference <= ROUND_OFF[self.dtype] * largest).all())


def _masks(names: list[str], present: Tensor, kept_tokens: Mask) -> list[Mask]:
    """A mask of whole modalities from (B, M) bool, and where there are tokens one of tokens."""
    whole = dict(zip(names, present.unbind(1)))  # M times (B,)
    if not kept_tokens:
        return [whole]
    by_token = dict(whole)
    for name, kept in kept_tokens.items():
        by_token[name] = kept & whole[name][:, None]  # (B, T), (B, 1) -> (B, T)
    return [whole, by_token]


def takes_mask(layer: nn.Module) -> bool:
    """Whether the layer's forward has a parameter `mask`, or takes any keyword."""
    for parameter in inspect.signature(layer.forward).parameters.values():
        if parameter.name == "mask" or parameter.kind == parameter.VAR_KEYWORD:
            return True
    return False
