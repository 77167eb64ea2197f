"""Small fusion layers that look right and are wrong: faults on purpose, in our own code, for
`course_utils.contracts`.

Each runs, has the right shapes and can be trained. `GALLERY` holds, by name, the faulty layer,
its mended twin (the few lines that differ), and the contracts that the fault breaks: mostly one.
`SumOverAllFusion` keeps all of them and is wrong all the same.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


class AverageFusion(nn.Module):
    """The sound layer that the gallery is built on: project each modality, average those
    present, map to C results.

    features[m] (B, D_m), mask {m: (B,) bool} with True = present; the result is (B, C).
    """

    def __init__(self, input_dims: dict[str, int], output_dim: int, width: int = 8):
        super().__init__()
        self.input_dims, self.width = input_dims, width
        self.project = nn.ModuleDict(
            {name: nn.Linear(dim, width) for name, dim in input_dims.items()}
        )
        self.head = nn.Linear(width, output_dim)

    def forward(self, features: dict[str, Tensor], *, mask: dict | None = None) -> Tensor:
        present = self.presence(features, mask or {})  # (B, M)
        parts = []
        for name, kept in zip(self.input_dims, present.unbind(1)):
            parts.append(self.encode(name, features[name], kept[:, None]))
        # M times (B, W) -> (B, M, W) -> (B, W) -> (B, C)
        return self.classify(self.pool(torch.stack(parts, 1), present))

    def presence(self, features: dict[str, Tensor], mask: dict[str, Tensor]) -> Tensor:
        """One column for each modality, in the order of `input_dims`: (B, M) bool."""
        columns = []
        for name in self.input_dims:
            x = features[name]
            everywhere = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
            columns.append(mask.get(name, everywhere))
        return torch.stack(columns, 1)

    def encode(self, name: str, x: Tensor, kept: Tensor) -> Tensor:
        return torch.tanh(self.project[name](torch.where(kept, x, 0)))  # (B, D_m) -> (B, W)

    def pool(self, x: Tensor, present: Tensor) -> Tensor:
        kept = torch.where(present[..., None], x, 0)
        return kept.sum(1) / present.sum(1, keepdim=True).clamp(min=1)  # (B, M, W) -> (B, W)

    def classify(self, pooled: Tensor) -> Tensor:
        return self.head(pooled)  # (B, W) -> (B, C)

    def parameter_formula(self) -> int:
        return (
            sum((dim + 1) * self.width for dim in self.input_dims.values())
            + (self.width + 1) * self.head.out_features
        )


# 1, and with it 6, 7, 9, 11


class ListFusion(nn.Module):
    """Low-rank fusion: (sum over rank r of w_r prod_m [h_m; 1] F_m[r]) + b; the factors F_m
    stand in a plain list.
    """

    def __init__(self, input_dims: dict[str, int], output_dim: int, rank: int = 4):
        super().__init__()
        self.input_dims, self.rank, self.output_dim = input_dims, rank, output_dim
        self.factors = [
            nn.Parameter(torch.randn(rank, dim + 1, output_dim) / (dim + 1) ** 0.5)
            for dim in input_dims.values()
        ]
        self.weights = nn.Parameter(torch.randn(rank) / rank)
        self.bias = nn.Parameter(torch.zeros(output_dim))

    def forward(self, features: dict[str, Tensor], *, mask: dict | None = None) -> Tensor:
        product = 1
        for name, factor in zip(self.input_dims, self.factors):
            x = features[name]
            if mask and name in mask:
                x = torch.where(mask[name][:, None], x, 0)
            x = torch.cat([x, torch.ones_like(x[:, :1])], 1)  # (B, D_m) -> (B, D_m + 1)
            product = product * torch.einsum("bd,rdc->brc", x, factor)  # (B, R, C)
        return torch.einsum("brc,r->bc", product, self.weights) + self.bias

    def parameter_formula(self) -> int:
        return (
            self.rank * sum(dim + 1 for dim in self.input_dims.values()) * self.output_dim
            + self.rank
            + self.output_dim
        )


class ListFusionMended(ListFusion):
    """An `nn.ParameterList` registers what it holds."""

    def __init__(self, input_dims: dict[str, int], output_dim: int, rank: int = 4):
        super().__init__(input_dims, output_dim, rank)
        self.factors = nn.ParameterList(self.factors)


# 1 alone


class UnusedFusion(AverageFusion):
    """A second layer is built, registered, counted, and never called."""

    def __init__(self, input_dims: dict[str, int], output_dim: int):
        super().__init__(input_dims, output_dim)
        self.mix = nn.Linear(self.width, self.width)

    def parameter_formula(self) -> int:
        return super().parameter_formula() + (self.width + 1) * self.width


class UnusedFusionMended(UnusedFusion):
    """It is called."""

    def classify(self, pooled: Tensor) -> Tensor:
        return self.head(torch.relu(self.mix(pooled)))


class CancelledFusion(AverageFusion):
    """Attention over modalities. Its score has a bias, the same for each modality, and the
    softmax takes it out again.

    Autograd does give this bias a gradient: round-off, around 1e-17, which an `is not None` lets
    pass.
    """

    bias = True

    def __init__(self, input_dims: dict[str, int], output_dim: int):
        super().__init__(input_dims, output_dim)
        self.score = nn.Linear(self.width, 1, bias=self.bias)

    def pool(self, x: Tensor, present: Tensor) -> Tensor:
        # (B, M, W) -> (B, M)
        scores = self.score(x).squeeze(-1).masked_fill(~present, -torch.inf)
        # an empty row: all alike
        scores = scores.masked_fill(~present.any(1, keepdim=True), 0)
        return (torch.softmax(scores, 1)[..., None] * torch.where(present[..., None], x, 0)).sum(1)

    def parameter_formula(self) -> int:
        return super().parameter_formula() + self.width + self.bias


class CancelledFusionMended(CancelledFusion):
    """No bias where the formula cancels it."""

    bias = False


# 2


class SqueezeFusion(AverageFusion):
    """A `squeeze()` meant for axes that are left over also takes the batch axis when it has one
    row.
    """

    def classify(self, pooled: Tensor) -> Tensor:
        # (B, W) -> (B, 1, C) -> (B, C), or (C,)
        return self.head(pooled[:, None]).squeeze()


class SqueezeFusionMended(AverageFusion):
    """It names its axis."""

    def classify(self, pooled: Tensor) -> Tensor:
        return self.head(pooled[:, None]).squeeze(1)


# 3


class TwoPathsFusion(AverageFusion):
    """Without a mask the mean, with a mask the sum of what it keeps: the first mask multiplies
    by the number present.
    """

    def forward(self, features: dict[str, Tensor], *, mask: dict | None = None) -> Tensor:
        if mask is None:
            return super().forward(features)
        total = 0
        for name, kept in zip(self.input_dims, self.presence(features, mask).unbind(1)):
            encoded = self.encode(name, features[name], kept[:, None])
            total = total + torch.where(kept[:, None], encoded, 0)
        return self.classify(total)


class TwoPathsFusionMended(AverageFusion):
    """One path: no mask is a mask of ones."""


# 4, in three ways; the third is seen by 2 as well


class TimesMaskFusion(AverageFusion):
    """Masks by multiplication: 0 * x is 0, except that 0 * NaN is NaN."""

    def encode(self, name: str, x: Tensor, kept: Tensor) -> Tensor:
        return torch.tanh(self.project[name](x))

    def pool(self, x: Tensor, present: Tensor) -> Tensor:
        return (x * present[..., None]).sum(1) / present.sum(1, keepdim=True).clamp(min=1)


class TimesMaskFusionMended(AverageFusion):
    """Selects with `torch.where`, which does no arithmetic."""


class LateMaskFusion(AverageFusion):
    """Selects after the arithmetic. Every result is right; the gradient of the weight is 0 *
    NaN.
    """

    def encode(self, name: str, x: Tensor, kept: Tensor) -> Tensor:
        return torch.where(kept, torch.tanh(self.project[name](x)), 0)


class LateMaskFusionMended(AverageFusion):
    """Selects before the arithmetic."""


class CentredFusion(AverageFusion):
    """Centres its features by the mean of the batch, in evaluation too: the neighbours decide
    with.
    """

    def classify(self, pooled: Tensor) -> Tensor:
        return self.head(pooled - pooled.mean(0))


class CentredFusionMended(AverageFusion):
    """Centres each row by its own mean."""

    def classify(self, pooled: Tensor) -> Tensor:
        return self.head(pooled - pooled.mean(1, keepdim=True))


# 5


class NoKeysFusion(CancelledFusionMended):
    """Attention over modalities with -inf for the missing ones. In a row of -inf alone the
    softmax is 0 / 0.
    """

    def pool(self, x: Tensor, present: Tensor) -> Tensor:
        # (B, M, W) -> (B, M)
        scores = self.score(x).squeeze(-1).masked_fill(~present, -torch.inf)
        return (torch.softmax(scores, 1)[..., None] * torch.where(present[..., None], x, 0)).sum(1)


class NoKeysFusionMended(CancelledFusionMended):
    """An empty row gets scores of 0 before the softmax, and sums zeros."""


# 6


class UnsavedFusion(AverageFusion):
    """A fixed random rotation in a buffer that the state dict leaves out: after loading it is
    another rotation.
    """

    saved = False

    def __init__(self, input_dims: dict[str, int], output_dim: int):
        super().__init__(input_dims, output_dim)
        self.register_buffer(
            "rotation",
            torch.linalg.qr(torch.randn(self.width, self.width)).Q,
            persistent=self.saved,
        )

    def classify(self, pooled: Tensor) -> Tensor:
        return self.head(pooled @ self.rotation)


class UnsavedFusionMended(UnsavedFusion):
    """The buffer is saved."""

    saved = True


# 7


class MovedFusion(AverageFusion):
    """`nn.Parameter(...).to(device)`: on the CPU the parameter itself, on a GPU a plain tensor,
    registered nowhere.
    """

    def __init__(self, input_dims: dict[str, int], output_dim: int, device: str = "cpu"):
        super().__init__(input_dims, output_dim)
        self.gain = nn.Parameter(torch.ones(self.width)).to(device)

    def classify(self, pooled: Tensor) -> Tensor:
        return self.head(self.gain * pooled)

    def parameter_formula(self) -> int:
        return super().parameter_formula() + self.width


class MovedFusionMended(MovedFusion):
    """First the tensor moves, then it becomes a parameter."""

    def __init__(self, input_dims: dict[str, int], output_dim: int, device: str = "cpu"):
        super().__init__(input_dims, output_dim)
        self.gain = nn.Parameter(torch.ones(self.width).to(device))


# 8


class InPlaceFusion(AverageFusion):
    """Adds a learned shift for each modality with `+=`, to the caller's own tensor."""

    def __init__(self, input_dims: dict[str, int], output_dim: int):
        super().__init__(input_dims, output_dim)
        self.shift = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(dim)) for name, dim in input_dims.items()}
        )

    def encode(self, name: str, x: Tensor, kept: Tensor) -> Tensor:
        x += self.shift[name]
        return super().encode(name, x, kept)

    def parameter_formula(self) -> int:
        return super().parameter_formula() + sum(self.input_dims.values())


class InPlaceFusionMended(InPlaceFusion):
    """`x + shift` is a new tensor."""

    def encode(self, name: str, x: Tensor, kept: Tensor) -> Tensor:
        return AverageFusion.encode(self, name, x + self.shift[name], kept)


# 9


class UncountedFusion(AverageFusion):
    """A LayerNorm joins, and the formula counts its gains only. Its biases make the layer larger
    than it says.
    """

    def __init__(self, input_dims: dict[str, int], output_dim: int):
        super().__init__(input_dims, output_dim)
        self.norm = nn.LayerNorm(self.width)

    def classify(self, pooled: Tensor) -> Tensor:
        return self.head(self.norm(pooled))

    def parameter_formula(self) -> int:
        # one gain for each entry
        return super().parameter_formula() + self.width


class UncountedFusionMended(UncountedFusion):
    """The formula counts a gain and a bias for each entry."""

    def parameter_formula(self) -> int:
        return super().parameter_formula() + self.width


# 10, in two ways


class FeaturesByPlaceFusion(AverageFusion):
    """Takes the features by their order, not by their names. Loud if the widths differ; if they
    are equal, each modality silently goes through the projection of another.
    """

    def forward(self, features: dict[str, Tensor], *, mask: dict | None = None) -> Tensor:
        in_this_order = dict(zip(self.input_dims, features.values()))
        return super().forward(in_this_order, mask=mask)


class MasksByPlaceFusion(AverageFusion):
    """Its columns are in the order of the features, and `forward` reads them in the order of
    `input_dims`: with a missing text, the image is left out.
    """

    def presence(self, features: dict[str, Tensor], mask: dict[str, Tensor]) -> Tensor:
        columns = []
        for name, x in features.items():
            everywhere = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
            columns.append(mask.get(name, everywhere))
        return torch.stack(columns, 1)


# 11, in two ways


class SquaresFusion(AverageFusion):
    """Divides each row by its root mean square. In float16 the square of 256 is infinite, and a
    row divided by infinity is zeros: finite, and nothing of the input is left.
    """

    def size(self, x: Tensor) -> Tensor:
        return (x.square().mean(1, keepdim=True) + 1).sqrt()  # (B, D_m) -> (B, 1)

    def encode(self, name: str, x: Tensor, kept: Tensor) -> Tensor:
        x = torch.where(kept, x, 0)
        return super().encode(name, x / self.size(x), kept)


class SquaresFusionMended(SquaresFusion):
    """Squares in float32 at least."""

    def size(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return super().size(wide).to(x.dtype)


class ShortCutFusion(AverageFusion):
    """A short cut for complete batches. An export follows one path for all data, and does not
    know which.
    """

    def pool(self, x: Tensor, present: Tensor) -> Tensor:
        if present.all():
            return x.mean(1)  # (B, M, W) -> (B, W)
        return super().pool(x, present)


# 3, 4 and 5


class NoMaskFusion(AverageFusion):
    """Knows no mask: a missing modality is whatever stands in its place."""

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        return super().forward(features)


class NoMaskFusionMended(AverageFusion):
    """Takes one."""


# none


class SumOverAllFusion(AverageFusion):
    """Divides by M and not by the number present: with one of three modalities left, all results
    shrink to a third.

    All contracts let it pass. They show that a layer is alive and its masks are tight, not
    that its formula is the one that was meant.
    """

    def pool(self, x: Tensor, present: Tensor) -> Tensor:
        return torch.where(present[..., None], x, 0).sum(1) / present.shape[1]


@dataclass(frozen=True)
class Exhibit:
    """A faulty layer, its mended twin (AverageFusion itself, if nothing else differs), and
    the numbers of the contracts that the fault breaks.

    `travel` says that only `check_contracts(..., travel=True)` sees the fault.
    """

    faulty: type[nn.Module]
    mended: type[nn.Module]
    breaks: tuple[int, ...]
    travel: bool = False


GALLERY = {
    "factors in a plain list": Exhibit(ListFusion, ListFusionMended, (1, 6, 7, 9, 11)),
    "a layer never called": Exhibit(UnusedFusion, UnusedFusionMended, (1,)),
    "a bias that cancels": Exhibit(CancelledFusion, CancelledFusionMended, (1,)),
    "a bare squeeze": Exhibit(SqueezeFusion, SqueezeFusionMended, (2,)),
    "two paths": Exhibit(TwoPathsFusion, TwoPathsFusionMended, (3,)),
    "times the mask": Exhibit(TimesMaskFusion, TimesMaskFusionMended, (4,)),
    "masked too late": Exhibit(LateMaskFusion, LateMaskFusionMended, (4,)),
    "centred by the batch": Exhibit(CentredFusion, CentredFusionMended, (2, 4)),
    "softmax over no keys": Exhibit(NoKeysFusion, NoKeysFusionMended, (5,)),
    "not in the state dict": Exhibit(UnsavedFusion, UnsavedFusionMended, (6,)),
    "a moved parameter": Exhibit(MovedFusion, MovedFusionMended, (7,)),
    "added in place": Exhibit(InPlaceFusion, InPlaceFusionMended, (8,)),
    "a bias not counted": Exhibit(UncountedFusion, UncountedFusionMended, (9,)),
    "features by place": Exhibit(FeaturesByPlaceFusion, AverageFusion, (10,)),
    "masks by place": Exhibit(MasksByPlaceFusion, AverageFusion, (10,)),
    "squares in float16": Exhibit(SquaresFusion, SquaresFusionMended, (11,)),
    "an if on the data": Exhibit(ShortCutFusion, AverageFusion, (11,), travel=True),
    "no mask at all": Exhibit(NoMaskFusion, NoMaskFusionMended, (3, 4, 5)),
}
