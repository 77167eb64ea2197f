"""Notebook 10: the layer that glues, the interaction at four points, two hidden units by hand."""

import random

import torch
from torch import nn
from torch.func import functional_call

from course_utils.exercises import Exercise, ideas

# 10.1 -----------------------------------------------------------------------------------------


class ConcatFusion(nn.Module):
    """In steps that a wrong idea can change one by one."""

    def __init__(self, dims, width, classes):
        super().__init__()
        self.names, self.classes = list(dims), classes
        self.project = nn.ModuleDict({name: nn.Linear(dims[name], width) for name in dims})
        self.norm = nn.ModuleDict({name: nn.LayerNorm(width) for name in dims})
        self.head = nn.Linear(width * len(dims), classes)

    def vector(self, name, x, there):
        """One modality's block (B, width); `there` is (B, 1) bool."""
        return self.norm[name](self.project[name](x)).masked_fill(~there, 0)

    def there(self, name, features, mask):
        rows = features[name].new_ones(len(features[name]), dtype=torch.bool)
        return mask.get(name, rows)[:, None]

    def order(self, features):
        return self.names

    def join(self, blocks):
        return torch.cat(blocks, dim=1)

    def forward(self, features, mask):
        blocks = [
            self.vector(name, features[name], self.there(name, features, mask))
            for name in self.order(features)
        ]
        return self.head(self.join(blocks))


def _logits(fusion, dims, width, classes, state, features, mask):
    """The logits of a layer with these weights, which go by the names that the card gives."""
    with torch.random.fork_rng(devices=[]):
        layer = fusion(dims, width, classes)
    if layer.state_dict().keys() != state.keys():
        return "its weights go by other names"
    return functional_call(layer, state, (features, mask), strict=True)


def _state(draw, dims, width, classes):
    """Weights that leave no entry 0 or 1: eighths and sevenths, in float64."""
    shapes = {f"project.{name}.weight": (width, dim) for name, dim in dims.items()}
    shapes |= {f"project.{name}.bias": (width,) for name in dims}
    shapes |= {f"norm.{name}.{one}": (width,) for name in dims for one in ("weight", "bias")}
    shapes |= {"head.weight": (classes, width * len(dims)), "head.bias": (classes,)}
    return {name: draw(*shape) for name, shape in shapes.items()}


def _concat_cases(seed=4):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        eighths = torch.randint(-16, 17, shape, generator=generator)
        return (eighths + 0.5).double() / 7

    def case(rows, dims, width, classes, absent, filling=0.0, reverse=False):
        features = {name: draw(rows, dim) for name, dim in dims.items()}
        mask = {name: torch.tensor(gone) == 0 for name, gone in absent.items()}
        for name, kept in mask.items():
            features[name][~kept] = filling
        if reverse:
            features = dict(reversed(features.items()))
        return dims, width, classes, _state(draw, dims, width, classes), features, mask

    yield case(1, {"text": 1}, 2, 1, {})
    yield case(2, {"text": 1, "image": 2}, 2, 1, {})
    yield case(2, {"text": 2, "image": 2}, 2, 2, {}, reverse=True)
    yield case(2, {"text": 2, "image": 3}, 2, 2, {"image": [0, 1]})
    yield case(2, {"text": 2, "image": 3}, 2, 2, {"image": [0, 1]}, filling=float("nan"))
    yield case(3, {"text": 2, "image": 2}, 3, 2, {"text": [0, 1, 1], "image": [1, 0, 1]}, 1e6)
    yield case(4, {"text": 5, "image": 3, "audio": 4}, 3, 2, {"audio": [1, 1, 0, 1]}, 7.0)
    yield case(1, {"text": 3, "image": 2}, 3, 3, {"image": [1]}, 3.0)


def _concat_batch():
    """128 samples as in the loop on the page."""
    generator = torch.Generator().manual_seed(0)
    dims = {"text": 78, "image": 256}

    def draw(*shape):
        return torch.randn(shape, generator=generator).requires_grad_()

    features = {name: draw(128, dim) for name, dim in dims.items()}
    return dims, 64, 10, _state(draw, dims, 64, 10), features, {}


class _NoNorm(ConcatFusion):
    def vector(self, name, x, there):
        return self.project[name](x).masked_fill(~there, 0)


class _Multiplied(ConcatFusion):
    def vector(self, name, x, there):
        return self.norm[name](self.project[name](x)) * there


class _ZeroBefore(ConcatFusion):
    def vector(self, name, x, there):
        return self.norm[name](self.project[name](x.masked_fill(~there, 0)))


class _ZeroBetween(ConcatFusion):
    def vector(self, name, x, there):
        return self.norm[name](self.project[name](x).masked_fill(~there, 0))


class _NoMask(ConcatFusion):
    def vector(self, name, x, there):
        return self.norm[name](self.project[name](x))


class _KeepsTheMissing(ConcatFusion):
    def forward(self, features, mask):
        blocks = []
        for name in self.names:
            block = self.norm[name](self.project[name](features[name]))
            if name in mask:
                block = block.masked_fill(mask[name][:, None], 0)
            blocks.append(block)
        return self.head(torch.cat(blocks, dim=1))


class _MaskAlongWidth(ConcatFusion):
    def forward(self, features, mask):
        blocks = []
        for name in self.names:
            block = self.norm[name](self.project[name](features[name]))
            if name in mask:
                block = torch.where(mask[name], block, 0.0)
            blocks.append(block)
        return self.head(torch.cat(blocks, dim=1))


class _EveryNameInTheMask(ConcatFusion):
    def there(self, name, features, mask):
        return mask[name][:, None]


class _UnnamedIsMissing(ConcatFusion):
    def there(self, name, features, mask):
        rows = features[name].new_zeros(len(features[name]), dtype=torch.bool)
        return mask.get(name, rows)[:, None]


class _OrderOfFeatures(ConcatFusion):
    def order(self, features):
        return list(features)


class _OneBelowTheOther(ConcatFusion):
    def join(self, blocks):
        return torch.cat(blocks, dim=0)


class _Interleaved(ConcatFusion):
    def join(self, blocks):
        return torch.stack(blocks, dim=-1).flatten(1)


class _PlainDict(ConcatFusion):
    def __init__(self, dims, width, classes):
        super().__init__(dims, width, classes)
        layers = dict(self.project)
        del self.project
        self.project = layers


class _Softmax(ConcatFusion):
    def forward(self, features, mask):
        return super().forward(features, mask).softmax(dim=-1)


CONCAT = Exercise(
    key="10.1",
    reference=ConcatFusion,
    cases=_concat_cases,
    use=_logits,
    batch=_concat_batch,
    returns="one row of logits per sample",
    misconceptions=(
        *ideas(
            "what is missing is multiplied by 0, and 0 * NaN is NaN. Choose with torch.where or"
            " masked_fill, which put a zero there whatever it was.",
            _Multiplied,
        ),
        *ideas(
            "the zeros come too early: the projection's bias and the normalisation speak for what"
            " is missing. Put them in last, just before the parts are joined.",
            _ZeroBefore,
            _ZeroBetween,
        ),
        *ideas(
            "the mask is not used: what stands in the place of a missing modality still counts.",
            _NoMask,
        ),
        *ideas(
            "the mask is turned round. It is True where the modality is there.", _KeepsTheMissing
        ),
        *ideas(
            "the mask is lined up with the numbers of a vector, not with the samples."
            " mask[name][:, None] is (B, 1).",
            _MaskAlongWidth,
        ),
        *ideas(
            "the mask is asked for a name that it has not. A modality that it leaves out is there"
            " in every row.",
            _EveryNameInTheMask,
        ),
        *ideas(
            "a modality that the mask leaves out is taken for missing. It is there in every row.",
            _UnnamedIsMissing,
        ),
        *ideas(
            "the parts stand in the order of `features`. Whoever calls may give them in any order:"
            " go by the names of `dims`.",
            _OrderOfFeatures,
        ),
        *ideas(
            "the parts are not side by side: torch.cat along the last axis, which makes the width"
            " grow, not the number of rows.",
            _OneBelowTheOther,
            _Interleaved,
        ),
        *ideas("nothing is normalised: the projection's result goes through self.norm.", _NoNorm),
        *ideas(
            "its weights go by other names. `project` and `norm` are each an nn.ModuleDict with a"
            " layer for each name (a plain dict hides them from PyTorch), `head` is one layer.",
            _PlainDict,
        ),
        *ideas(
            "the result is probabilities. Return logits: the loss takes them as they are.", _Softmax
        ),
    ),
)


# 10.2 -----------------------------------------------------------------------------------------


def four_point(logits):
    """The effect of the text with the second image minus its effect with the first: (2, 2, C) ->
    (C,).
    """
    return logits.diff(dim=0).diff(dim=1).flatten()


def _four_point_cases(seed=5):
    draw = torch.Generator().manual_seed(seed)
    yield (torch.tensor([[[1.0], [2.0]], [[5.0], [6.0]]]),)
    yield (torch.tensor([[[-1.0, 1.0], [1.0, -1.0]], [[1.0, -1.0], [-1.0, 1.0]]]),)  # XOR
    for classes in (1, 2, 3, 3, 4):
        # eighths, which add without rounding
        yield (torch.randint(-24, 25, (2, 2, classes), generator=draw) / 8,)
    text, image = torch.randint(-24, 25, (2, 2, 3), generator=draw) / 8
    yield (text[:, None] + image,)  # a sum: (2, 1, 3) + (2, 3), the answer is 0


FOUR_POINT = Exercise(
    key="10.2",
    reference=four_point,
    cases=_four_point_cases,
    batch=lambda: (torch.randn(2, 2, 4000),),
    returns="one number per class",
    misconceptions=(
        *ideas(
            "the logits are turned into probabilities or their logarithms first. That bends a sum:"
            " an additive model then seems to have an interaction. Leave the logits as they are.",
            lambda logits: four_point(logits.softmax(dim=-1)),
            lambda logits: four_point(logits.log_softmax(dim=-1)),
            lambda logits: four_point(logits.sigmoid()),
        ),
        *ideas(
            "the sign is turned round: [0, 0] and [1, 1] come with a plus, the other two with a"
            " minus.",
            lambda logits: -four_point(logits),
        ),
        *ideas(
            "all four points are added. What text and image add by themselves cancels only with the"
            " two minus signs.",
            lambda logits: logits.sum(dim=(0, 1)),
        ),
        *ideas(
            "two of the four points are added and two are left out. What text and image add by"
            " themselves then stays in: subtract the other two.",
            lambda logits: logits[0, 0] + logits[1, 1],
            lambda logits: logits[0, 1] + logits[1, 0],
        ),
        *ideas(
            "this is the difference of two points alone. It says what one change does to the"
            " logits; the interaction is the difference of two such differences, with all four"
            " points.",
            lambda logits: logits[1, 1] - logits[0, 0],
            lambda logits: logits[1, 0] - logits[0, 0],
        ),
        *ideas(
            "the signs pair up a row or a column. That is the effect of one modality, added over"
            " both values of the other; the plus signs belong on the diagonal, [0, 0] and [1, 1].",
            lambda logits: logits[0].sum(dim=0) - logits[1].sum(dim=0),
            lambda logits: logits[:, 0].sum(dim=0) - logits[:, 1].sum(dim=0),
        ),
        *ideas(
            "one of the four signs is wrong: [0, 0] and [1, 1] come with a plus, the other two with"
            " a minus.",
            lambda logits: four_point(logits) - 2 * logits[1, 1],
            lambda logits: four_point(logits) + 2 * logits[0, 1],
            lambda logits: four_point(logits) + 2 * logits[1, 0],
        ),
        *ideas(
            "the right number, divided: the interaction adds and subtracts the four points, and"
            " divides by nothing.",
            lambda logits: four_point(logits) / 4,
        ),
        *ideas(
            "the classes are thrown together into one number: return the interaction of every"
            " class, (C,).",
            lambda logits: four_point(logits).sum().item(),
        ),
        *ideas(
            "the absolute value is taken. The sign says which of the two diagonals has the larger"
            " logits: leave it.",
            lambda logits: four_point(logits).abs(),
        ),
        *ideas(
            "one axis of length 2 is left: this is a difference, once for each value of the other"
            " modality. Take the difference of these two.",
            lambda logits: logits[1] - logits[0],
            lambda logits: logits[:, 1] - logits[:, 0],
        ),
        *ideas(
            "two axes of length 1 are left, those of the text and of the image: return (C,).",
            lambda logits: logits.diff(dim=0).diff(dim=1),
        ),
    ),
)

# 10.3 -----------------------------------------------------------------------------------------


def two_units(size):
    """One unit counts what is above -size; the other takes off more where both are."""
    v, c = torch.tensor([1.0, -2.0]), -1.0
    return torch.ones(2, 2) / size, torch.tensor([2.0, 0.0]), v, c


def _corners(units, size):
    """The shapes, and what the logit is at each corner (text, image), in words."""
    weights = units(size)
    if weights is None:
        return None
    *tensors, c = weights
    if not all(isinstance(one, torch.Tensor) for one in tensors):
        return ["W, b and v are not all tensors"] + ["not there"] * 4
    W, b, v = (one.detach().double() for one in tensors)
    found = [f"W {tuple(W.shape)}, b {tuple(b.shape)}, v {tuple(v.shape)}"]
    fits = (W.shape, b.shape, v.shape) == ((2, 2), (2,), (2,))
    for corner in ((-size, -size), (size, size), (-size, size), (size, -size)):
        place = "not there"
        if fits:
            logit = float((W @ torch.tensor(corner).double() + b).relu() @ v + c)
            place = "above 0" if logit > 0 else "below 0" if logit < 0 else "exactly 0"
        found.append(f"at {corner} {place}")
    return found


def _unit_cases(seed=6):
    draw = random.Random(seed)
    yield (1.0,)
    yield (0.25,)
    yield (4.0,)
    yield (draw.randint(5, 20) / 4,)


def _apart(size, v, c):
    """Two units that look for the two corners where the signs differ: each gives 2 there."""
    W = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]) / size
    return W, torch.zeros(2), torch.tensor(v), c


UNITS = Exercise(
    key="10.3",
    reference=two_units,
    cases=_unit_cases,
    use=_corners,
    returns="the shapes, then where the logit lies at each corner (text, image)",
    misconceptions=(
        *ideas(
            "nothing is decided where text and image agree: the logit is exactly 0 there. Take"
            " something off with c.",
            lambda size: _apart(size, [1.0, 1.0], 0.0),
        ),
        *ideas(
            "c takes too much off: the logit is below 0 at every corner.",
            lambda size: _apart(size, [1.0, 1.0], -4.0),
        ),
        *ideas(
            "nothing is decided where text and image differ: c takes off as much as the units"
            " give.",
            lambda size: _apart(size, [1.0, 1.0], -2.0),
        ),
        *ideas(
            "turned round: the logit is above 0 where text and image agree.",
            lambda size: _apart(size, [-1.0, -1.0], 1.0),
        ),
        *ideas(
            "only (size, -size) is found: the other unit has to watch for (-size, size), with the"
            " signs the other way round.",
            lambda size: _apart(size, [1.0, 0.0], -1.0),
        ),
        *ideas(
            "only (-size, size) is found: the other unit has to watch for (size, -size), with the"
            " signs the other way round.",
            lambda size: _apart(size, [0.0, 1.0], -1.0),
        ),
        *ideas(
            "the logit is above 0 at every corner.", lambda size: _apart(size, [1.0, 1.0], 1.0)
        ),
        *ideas(
            "right for size 1 alone: what the units give grows with the size, and c does not.",
            lambda size: _apart(1.0, [1.0, 1.0], -1.0),
        ),
    ),
)

EXERCISES = [CONCAT, FOUR_POINT, UNITS]
