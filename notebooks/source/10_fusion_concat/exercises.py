"""Notebook 10: a picture and a padded text in one vector, the interaction at four points."""

import torch
import torch.nn.functional as F

from course_utils.exercises import Exercise, ideas

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
    # B == T == D: a mask on the wrong axis runs
    yield drawn(2, 2, 2, 2, 2, 7.0, [[1, 0], [1, 1]])


def _join(*parts):
    return torch.cat(parts, dim=-1)


def _places(feature_map):
    return feature_map.mean(dim=(2, 3))


def _kept(letters, mask):
    return letters.masked_fill(~mask[..., None], 0)


def _number(mask):
    return mask.sum(dim=1, keepdim=True)


def _text(letters, mask):
    return _kept(letters, mask).sum(dim=1) / _number(mask)


GLUE = Exercise(
    key="10.1",
    reference=glue,
    cases=_glue_cases,
    returns="one vector of C + D numbers per sample",
    misconceptions=(
        *ideas(
            "the mask is multiplied, and 0 * NaN is NaN: what stands under padding can still"
            " spread. Choose with torch.where or masked_fill, which put a zero there whatever it"
            " was.",
            lambda x, letters, mask: _join(
                _places(x), (letters * mask[..., None]).sum(dim=1) / _number(mask)
            ),
        ),
        *ideas(
            "the mask is not used: the mean runs over all T places, so what stands under padding"
            " counts as letters.",
            lambda x, letters, mask: _join(_places(x), letters.mean(dim=1)),
        ),
        *ideas(
            "the sum is divided by T, so padding counts as letters that are zero, and short texts"
            " fade. Divide by each sample's own number of letters.",
            lambda x, letters, mask: _join(_places(x), _kept(letters, mask).mean(dim=1)),
            lambda x, letters, mask: _join(_places(x), (letters * mask[..., None]).mean(dim=1)),
        ),
        *ideas(
            "the sum is divided by the number of letters, but still runs over all T places: what"
            " stands under padding is in it. Put zeros there before you add.",
            lambda x, letters, mask: _join(_places(x), letters.sum(dim=1) / _number(mask)),
        ),
        *ideas(
            "the letters are summed, not averaged: a long text becomes louder than a short one. "
            "Divide by each sample's own number of letters.",
            lambda x, letters, mask: _join(_places(x), _kept(letters, mask).sum(dim=1)),
        ),
        *ideas(
            "the mask is turned round: letters became zero and padding was kept. It is True for a"
            " letter, so overwrite where it is False, at ~mask.",
            lambda x, letters, mask: _join(
                _places(x), _kept(letters, ~mask).sum(dim=1) / _number(mask)
            ),
            lambda x, letters, mask: _join(_places(x), _text(letters, ~mask)),
        ),
        *ideas(
            "the mask is on the wrong axis: (B, T) is lined up with the numbers of a letter."
            " mask[..., None] keeps it at the letters.",
            lambda x, letters, mask: _join(
                _places(x), letters.where(mask, 0).sum(dim=1) / _number(mask)
            ),
            lambda x, letters, mask: _join(
                _places(x), letters.where(mask[:, None], 0).sum(dim=1) / _number(mask)
            ),
        ),
        *ideas(
            "the number of letters has lost its axis: (B,) is lined up with the D numbers of a"
            " text, not with the samples. keepdim=True keeps it, (B, 1).",
            lambda x, letters, mask: _join(
                _places(x), _kept(letters, mask).sum(dim=1) / mask.sum(dim=1)
            ),
        ),
        *ideas(
            "pooling leaves the picture as (B, C, 1, 1). flatten(1) takes these two axes off;"
            " squeeze() takes off every axis of length 1, the batch's too.",
            lambda x, letters, mask: _join(F.adaptive_avg_pool2d(x, 1), _text(letters, mask)),
            lambda x, letters, mask: _join(
                F.adaptive_avg_pool2d(x, 1).squeeze(), _text(letters, mask)
            ),
        ),
        *ideas(
            "the picture is averaged over other axes than its places. The channels, axis 1 of (B,"
            " C, H, W), have to stay; height and width, axes 2 and 3, both have to go.",
            lambda x, letters, mask: _join(x.mean(dim=1).flatten(1), _text(letters, mask)),
            lambda x, letters, mask: _join(x.mean(dim=(1, 2)), _text(letters, mask)),
            lambda x, letters, mask: _join(x.mean(dim=2).flatten(1), _text(letters, mask)),
            lambda x, letters, mask: _join(x.mean(dim=3).flatten(1), _text(letters, mask)),
        ),
        *ideas(
            "the text stands first, the picture second: a layer behind the glue expects the"
            " picture's C numbers in front.",
            lambda x, letters, mask: _join(_text(letters, mask), _places(x)),
        ),
        *ideas(
            "the picture has become one more letter: axis 1 of `letters` is time, and joining along"
            " it gives a sequence of T + 1. Average the letters first, then join the two vectors"
            " along the last axis.",
            lambda x, letters, mask: torch.cat([_places(x)[:, None], letters], dim=1),
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
            "the right number, divided: (10.3) adds and subtracts the four points, and divides by"
            " nothing.",
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

EXERCISES = [GLUE, FOUR_POINT]
