"""Notebook 10: a picture and a padded text in one vector, the interaction at four points."""

from itertools import permutations

import torch

from course_utils.exercises import Exercise, Misconception

# 10.1 -----------------------------------------------------------------------------------------


def glue(feature_map, letters, mask):
    """Each sample's mean over its places beside the mean of its letters: (B, C, H, W), (B, T,
    D), (B, T) -> (B, C + D).
    """
    samples = zip(feature_map, letters, mask, strict=True)
    return torch.stack(
        [
            torch.cat([places.flatten(1).mean(1), text[kept].mean(0)])
            for places, text, kept in samples
        ]
    )


def _glue_cases(seed=4):
    draw, nan = torch.Generator().manual_seed(seed), float("nan")

    def drawn(b, c, h, w, d, padding, rows):
        """Random picture and letters; `rows` are the masks, 1 for a letter, and `padding` stands
        wherever they have 0.
        """
        mask = torch.tensor(rows, dtype=torch.bool)
        picture = torch.randn(b, c, h, w, generator=draw).mul(10).round() / 10
        letters = torch.randn(b, mask.shape[1], d, generator=draw).mul(10).round() / 10
        return picture, letters.masked_fill(~mask[..., None], padding), mask

    yield torch.ones(1, 2, 1, 2), torch.tensor([[[1.0], [9.0]]]), torch.tensor([[True, False]])
    # As wide as each other: what raises elsewhere runs here, joined along a wrong axis.
    yield drawn(2, 2, 1, 3, 2, 7.0, [[1, 1, 0], [1, 0, 0]])
    yield drawn(2, 2, 1, 2, 2, nan, [[1, 1, 0], [1, 1, 1]])
    yield drawn(2, 2, 2, 1, 2, 5.0, [[0, 1, 1], [1, 1, 1]])  # padding in front
    yield drawn(1, 3, 2, 4, 5, 1e6, [[1, 1, 1, 0]])
    # as wide as it has channels
    yield drawn(3, 4, 5, 4, 2, 1e6, [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]])
    yield drawn(
        4, 8, 6, 5, 16, -3.0, [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0], [1, 1, 1, 0, 0]]
    )


def _raw(letters, mask):
    return letters


def _selected(letters, mask):
    return letters.masked_fill(~mask[..., None], 0)


def _multiplied(letters, mask):
    return letters * mask[..., None]


def _idea(message, wrong, *ways):
    """One misconception for each way to hide the padding; `wrong` gets the letters as that way
    leaves them.
    """
    return [
        Misconception(
            message,
            lambda feature_map, letters, mask, way=way: wrong(
                feature_map, way(letters, mask), mask
            ),
        )
        for way in ways or (_selected, _multiplied)
    ]


def _picture(message, pool):
    """Misconceptions about the picture, beside a right text."""
    return _idea(message, lambda x, kept, mask: _join(pool(x), _text(kept, mask)))


def _padded(message, pool, *ways):
    """Misconceptions about the text, beside a right picture."""
    return _idea(message, lambda x, kept, mask: _join(_places(x), pool(kept, mask)), *ways)


def _join(*parts):
    return torch.cat(parts, dim=-1)


def _places(feature_map):
    return feature_map.mean(dim=(2, 3))


def _text(kept, mask):
    return kept.sum(dim=1) / mask.sum(dim=1, keepdim=True)


def _largest(kept, mask):
    return kept.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)


def _first(mask):
    return torch.arange(mask.shape[1]) < mask.sum(dim=1, keepdim=True)


def _beside_each(x, kept, mask):
    return _join(_places(x)[:, None].expand(-1, kept.shape[1], -1), kept)


def _squeezed(x, kept, mask):
    return _join(torch.nn.functional.adaptive_avg_pool2d(x, 1).squeeze(), _text(kept, mask))


_TIME = (
    "the picture has become one more letter: axis 1 of `letters` is time, and joining along it"
    " gives a sequence of T + 1. Average the letters first, then join the two vectors along the"
    " last axis."
)
_LARGEST_TEXT = (
    "the largest value over the letters is taken, where the mean over them is asked for."
)
_CHANNELS = (
    "the channels of the picture are averaged: they are axis 1 of (B, C, H, W) and have to stay."
    " Average over the places, axes 2 and 3."
)
_ONE_AXIS = (
    "only one of the two axes of places is averaged: height and width both have to go, axes 2"
    " and 3."
)
_ALL_SAMPLES = (
    "the mean runs over the whole batch. Then a sample's vector depends on its neighbours: keep"
    " axis 0, each sample has its own picture and its own letters."
)
_EVERY_WAY = _raw, _selected, _multiplied

GLUE = Exercise(
    key="10.1",
    reference=glue,
    cases=_glue_cases,
    returns="one vector of C + D numbers per sample",
    misconceptions=(
        *_padded(
            "the mask is multiplied, and 0 * NaN is NaN: what stands under padding can still"
            " spread. Choose with torch.where or masked_fill, which put a zero there whatever it"
            " was.",
            _text,
            _multiplied,
        ),
        *_padded(
            "the mask is not used: the mean runs over all T places, so what stands under padding"
            " counts as letters.",
            lambda letters, mask: letters.mean(dim=1),
            _raw,
        ),
        *_padded(
            "the sum is divided by T, so padding counts as letters that are zero, and short texts"
            " fade. Divide by each sample's own number of letters.",
            lambda kept, mask: kept.mean(dim=1),
        ),
        *_padded(
            "the sum is divided by the number of letters, but still runs over all T places: what"
            " stands under padding is in it. Put zeros there before you add.",
            _text,
            _raw,
        ),
        *_padded(
            "the letters are summed, not averaged: a long text becomes louder than a short one. "
            "Divide by each sample's own number of letters.",
            lambda kept, mask: kept.sum(dim=1),
            *_EVERY_WAY,
        ),
        *_padded(
            "the sum is divided by the number of letters in the whole batch: count each sample's"
            " own, mask.sum(dim=1, keepdim=True).",
            lambda kept, mask: kept.sum(dim=1) / mask.sum(),
        ),
        *_padded(
            "the mask is turned round: letters became zero and padding was kept. It is True for a"
            " letter, so overwrite where it is False, at ~mask.",
            lambda letters, mask: _text(letters.masked_fill(mask[..., None], 0), mask),
            _raw,
        ),
        *_padded(
            "the mask is turned round: this is the mean of what stands under padding. It is True"
            " for a letter.",
            lambda letters, mask: _text(letters.masked_fill(mask[..., None], 0), ~mask),
            _raw,
        ),
        *_padded(
            "the mask is read as a length: the first places are taken, as many as there are"
            " letters. Padding may stand in front, too: take the places where the mask is True.",
            lambda letters, mask: _text(_selected(letters, _first(mask)), mask),
            _raw,
        ),
        *_padded(_LARGEST_TEXT, _largest, _raw),
        *_padded(_LARGEST_TEXT, lambda kept, mask: kept.amax(dim=1), *_EVERY_WAY),
        *_picture(
            "the largest value over the places is taken, where the mean over them is asked for.",
            lambda x: x.amax(dim=(2, 3)),
        ),
        *_idea(
            "the largest values are taken, of the places and of the letters, where means are asked"
            " for.",
            lambda x, letters, mask: _join(x.amax(dim=(2, 3)), _largest(letters, mask)),
            _raw,
        ),
        *_picture(
            "the picture is summed over its places, not averaged: a large picture becomes louder"
            " than a small one.",
            lambda x: x.sum(dim=(2, 3)),
        ),
        *_picture(
            "the map is flattened: every place keeps its own numbers, C * H * W of them, and the"
            " picture drowns the text. Average over the places, which leaves C.",
            lambda x: x.flatten(1),
        ),
        *_padded(
            "the text is flattened: every letter keeps its own numbers, T * D of them, as many as"
            " the longest text needs. Average over the letters, which leaves D.",
            lambda kept, mask: kept.flatten(1),
            *_EVERY_WAY,
        ),
        *_picture(_CHANNELS, lambda x: x.mean(dim=1).flatten(1)),
        *_picture(_CHANNELS, lambda x: x.mean(dim=(1, 2))),
        *_picture(_CHANNELS, lambda x: x.mean(dim=(1, 3))),
        *_picture(_ONE_AXIS, lambda x: x.mean(dim=2).flatten(1)),
        *_picture(_ONE_AXIS, lambda x: x.mean(dim=3).flatten(1)),
        *_idea(
            "the text stands first, the picture second: a layer behind the glue expects the"
            " picture's C numbers in front.",
            lambda x, kept, mask: _join(_text(kept, mask), _places(x)),
        ),
        *_idea(
            _TIME, lambda x, kept, mask: torch.cat([_places(x)[:, None], kept], dim=1), *_EVERY_WAY
        ),
        *_idea(
            "the text still has its time axis: the picture is repeated beside each letter. Average"
            " over the letters first; one vector per sample is asked for.",
            _beside_each,
            *_EVERY_WAY,
        ),
        *_idea(
            "the two are joined along axis 0, which is the batch: texts became more samples. Join"
            " them along the last axis.",
            lambda x, kept, mask: torch.cat([_places(x), _text(kept, mask)]),
        ),
        *_idea(
            "torch.stack puts the two on a new axis, one below the other, and needs C == D. Join"
            " them along the last axis with torch.cat.",
            lambda x, kept, mask: torch.stack([_places(x), _text(kept, mask)], dim=1),
        ),
        *_idea(
            "the two are added, which needs C == D and mixes them. Gluing puts them side by side:"
            " torch.cat.",
            lambda x, kept, mask: _places(x) + _text(kept, mask),
        ),
        *_idea(
            "squeeze() removes every axis of length 1, the batch too when it holds one sample. "
            "Say which axes go: flatten(1).",
            _squeezed,
        ),
        *_idea(
            "squeeze() removes every axis of length 1, the batch too when it holds one sample. "
            "The result needs no squeezing.",
            lambda x, kept, mask: _join(_places(x), _text(kept, mask)).squeeze(),
        ),
        *_idea(
            _ALL_SAMPLES,
            lambda x, letters, mask: _join(x.mean(dim=(0, 2, 3)), letters[mask].mean(dim=0)),
            _raw,
        ),
        *_picture(_ALL_SAMPLES, lambda x: x.mean(dim=(0, 2, 3)).expand(len(x), -1)),
        *_padded(
            _ALL_SAMPLES,
            lambda letters, mask: letters[mask].mean(dim=0).expand(len(mask), -1),
            _raw,
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


def _signs(a, b, c, d):
    """The four points [0, 0], [0, 1], [1, 0], [1, 1] with these factors, added."""
    factors = torch.tensor([[a, b], [c, d]], dtype=torch.float32)
    return lambda logits: (factors[..., None] * logits).sum(dim=(0, 1))


def _minus(one, other):
    return lambda logits: logits[one] - logits[other]


def _classes_first(x):
    return x[:, 0, 0] - x[:, 1, 0] - x[:, 0, 1] + x[:, 1, 1]


_POINTS = (0, 0), (0, 1), (1, 0), (1, 1)
_PROBABILITIES = (
    "the logits are turned into probabilities first. That bends a sum: an additive model then seems"
    " to have an interaction. Leave the logits as they are."
)
_DIAGONAL = (
    "two of the four points are added and two are left out. What text and image add by themselves"
    " then stays in: subtract the other two."
)
_TWO = (
    "this is the difference of two points alone. It says what one change does to the logits; the"
    " interaction is the difference of two such differences, with all four points."
)
_MAIN = (
    "the signs pair up a row or a column. That is the effect of one modality, added over both"
    " values of the other; the plus signs belong on the diagonal, [0, 0] and [1, 1]."
)
_HALF = (
    "the right number, divided: (10.3) adds and subtracts the four points, and divides by nothing."
)
_ONE_NUMBER = (
    "the classes are thrown together into one number: return the interaction of every class, (C,)."
)
_ONE_DIFFERENCE = (
    "one axis of length 2 is left: this is a difference, once for each value of the other modality."
    " Take the difference of these two."
)

FOUR_POINT = Exercise(
    key="10.2",
    reference=four_point,
    cases=_four_point_cases,
    returns="one number per class",
    misconceptions=(
        Misconception(_PROBABILITIES, lambda logits: four_point(logits.softmax(dim=-1))),
        Misconception(_PROBABILITIES, lambda logits: four_point(logits.sigmoid())),
        Misconception(
            "these are the differences of log-probabilities. Each point has a normaliser of its"
            " own, which does not cancel. Leave the logits as they are.",
            lambda logits: four_point(logits.log_softmax(dim=-1)),
        ),
        Misconception(
            "the sign is turned round: [0, 0] and [1, 1] come with a plus, the other two with a"
            " minus.",
            lambda logits: -four_point(logits),
        ),
        Misconception(
            "all four points are added. What text and image add by themselves cancels only with the"
            " two minus signs.",
            _signs(1, 1, 1, 1),
        ),
        Misconception(
            "this is the mean of the four points. What text and image add by themselves cancels"
            " only with the two minus signs.",
            _signs(0.25, 0.25, 0.25, 0.25),
        ),
        Misconception(_DIAGONAL, _signs(1, 0, 0, 1)),
        Misconception(_DIAGONAL, _signs(0, 1, 1, 0)),
        *(Misconception(_TWO, _minus(one, other)) for one, other in permutations(_POINTS, 2)),
        Misconception(_MAIN, _signs(1, 1, -1, -1)),
        Misconception(_MAIN, _signs(-1, -1, 1, 1)),
        Misconception(_MAIN, _signs(1, -1, 1, -1)),
        Misconception(_MAIN, _signs(-1, 1, -1, 1)),
        Misconception(_HALF, lambda logits: four_point(logits) / 2),
        Misconception(_HALF, lambda logits: four_point(logits) / 4),
        Misconception(_ONE_NUMBER, lambda logits: four_point(logits).mean().item()),
        Misconception(_ONE_NUMBER, lambda logits: four_point(logits).sum().item()),
        Misconception(
            "the absolute value is taken. The sign says which of the two diagonals has the larger"
            " logits: leave it.",
            lambda logits: four_point(logits).abs(),
        ),
        Misconception(
            "the diagonals are multiplied: that is a determinant. Add the points, two with a"
            " minus.",
            lambda x: x[0, 0] * x[1, 1] - x[0, 1] * x[1, 0],
        ),
        Misconception(
            "the classes are taken for the first axis: `logits` is (2, 2, C), text, image, class.",
            _classes_first,
        ),
        Misconception(_ONE_DIFFERENCE, lambda logits: logits[0] - logits[1]),
        Misconception(_ONE_DIFFERENCE, lambda logits: logits[1] - logits[0]),
        Misconception(_ONE_DIFFERENCE, lambda logits: logits[:, 0] - logits[:, 1]),
        Misconception(_ONE_DIFFERENCE, lambda logits: logits[:, 1] - logits[:, 0]),
    ),
)

EXERCISES = [GLUE, FOUR_POINT]
