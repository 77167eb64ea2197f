"""Notebook 01: rows of unequal length in one batch, the state at the last real token, the
gradient of one word pair.
"""

import functools
import math
from itertools import zip_longest

import torch
import torch.nn.functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.compare import same_kind

# 01.1 -----------------------------------------------------------------------------------------


def pad_batch(rows):
    """Column by column: the t-th ids of all rows, with 0 where a row has ended; no real id is 0."""
    ids = torch.tensor(list(zip_longest(*rows, fillvalue=0)), dtype=torch.int64).T
    return ids, ids.ne(0)


def _row_cases(seed=1):
    yield ([[2]],)
    yield ([[5, 3], [7]],)
    yield ([[4], [1, 6, 2], [8, 1]],)
    yield ([[], [3, 9]],)
    yield ([[6, 2], [], [5, 5, 1, 7]],)
    draw = torch.Generator().manual_seed(seed)
    for lengths in ((2, 5, 3), (4, 1, 4, 2), (3, 3), (1, 0, 2, 6, 2)):
        yield ([torch.randint(1, 10, (n,), generator=draw).tolist() for n in lengths],)


def _lengths(rows):
    return torch.tensor([len(row) for row in rows])


def _filled(rows, filler=lambda row: 0, extra=0):
    """Only the ids, each row filled up with what `filler` gives for it."""
    T = max(map(len, rows)) + extra
    return torch.tensor([row + [filler(row)] * (T - len(row)) for row in rows])


def _padded(message, *wrongs):
    """Misconceptions; `wrongs` take the rows, the right ids and the right mask."""
    return ideas(message, *(lambda rows, of=of: of(rows, *pad_batch(rows)) for of in wrongs))


def _filler(message, *fillers):
    """Misconceptions about what fills a row, with the right mask and with the mask `ids != 0`
    that follows from it.
    """
    return _padded(
        message,
        *(
            lambda rows, ids, mask, filler=filler, own=own: (
                _filled(rows, filler),
                _filled(rows, filler) != 0 if own else mask,
            )
            for filler in fillers
            for own in (False, True)
        ),
    )


def _fixed(length):
    """`length` takes the rows; the page's way of filling, which raises where a row is longer
    than that.
    """

    def wrong(rows, ids, mask):
        ids = torch.zeros(len(rows), length(rows), dtype=torch.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row, dtype=torch.int64)
        return ids, ids != 0

    return wrong


def _front(rows):
    return pad_batch([row[::-1] for row in rows])[0].flip(1)


def _cut(rows, ids, mask):
    shortest = min(map(len, rows))
    return ids[:, :shortest], mask[:, :shortest]


def _sorted(rows, longest_first):
    return pad_batch(sorted(rows, key=len, reverse=longest_first))


def _no_type(rows, ids, mask):
    return ids.to(torch.tensor(rows[0]).dtype), mask


_SHIFTED = "Count the real tokens of a row: its mask has exactly that many True."

PAD_BATCH = Exercise(
    key="01.1",
    reference=pad_batch,
    cases=_row_cases,
    compare=same_kind,
    returns="the ids and the mask, both with one row per text and one column per place",
    misconceptions=(
        *_padded(
            "the padding stands in front. The ids of a row begin at place 0, and the zeros follow"
            " them.",
            lambda rows, ids, mask: (_front(rows), mask.flip(1)),
            lambda rows, ids, mask: (_front(rows), mask),
        ),
        *_padded(
            "the mask marks the places at the end of each row. The padding is there: the real"
            " tokens come first.",
            lambda rows, ids, mask: (ids, mask.flip(1)),
        ),
        *_padded(
            "the rows are reversed. The ids keep their order: only zeros are added, after the last"
            " one.",
            lambda rows, ids, mask: pad_batch([row[::-1] for row in rows]),
        ),
        *_padded(
            "the rows are cut to the shortest one. Nothing of a text may get lost: T is the length"
            " of the longest.",
            _cut,
            lambda rows, ids, mask: _cut(rows, ids if all(rows) else ids.double(), mask),
        ),
        *_padded(
            "T is not the length of the longest row. Look through all rows for it.",
            _fixed(lambda rows: len(rows[0])),
            _fixed(lambda rows: len(rows[-1])),
            _fixed(len),
        ),
        *_padded(
            "there is one column too many. The longest row needs no padding at all.",
            lambda rows, ids, mask: (F.pad(ids, (0, 1)), F.pad(mask, (0, 1))),
        ),
        *_filler(
            "padded with -1. An embedding looks up a row of its table for each id, and none has the"
            " number -1: padding is id 0.",
            lambda row: -1,
        ),
        *_filler(
            "padded with 1, which stands for an unknown word, and that is a token too. Padding is"
            " id 0.",
            lambda row: 1,
        ),
        *_filler(
            "the last id of a row is repeated. Then nobody can tell padding from text: padding is"
            " id 0.",
            lambda row: row[-1],
            lambda row: row[-1] if row else 0,
        ),
        *_padded(
            "the mask is turned round: True stands for a real token, False for padding.",
            lambda rows, ids, mask: (ids, ~mask),
        ),
        *_padded(
            "the mask is True everywhere, also over the padding. It has to say which places are"
            " filled up.",
            lambda rows, ids, mask: (ids, mask | True),
        ),
        *_padded(
            "the mask is one token short. " + _SHIFTED,
            lambda rows, ids, mask: (ids, torch.arange(ids.shape[1]) < _lengths(rows)[:, None] - 1),
        ),
        *_padded(
            "the mask is one token too long. " + _SHIFTED,
            lambda rows, ids, mask: (ids, torch.arange(ids.shape[1]) <= _lengths(rows)[:, None]),
        ),
        *_padded(
            "the mask leaves out the tokens with id 1. An unknown word is a token too: only 0 is"
            " padding.",
            lambda rows, ids, mask: (ids, ids > 1),
        ),
        *_padded(
            "the mask has numbers. Make it of True and False: 0 and 1 would pick places 0 and 1"
            " when they index.",
            lambda rows, ids, mask: (ids, mask.long()),
            lambda rows, ids, mask: (ids, mask.double()),
        ),
        *_padded(
            "the lengths are returned in the place of the mask. The mask has an entry for every"
            " place.",
            lambda rows, ids, mask: (ids, _lengths(rows)),
        ),
        *_padded(
            "the ids are floats. An id is a row number in the embedding's table, so it has to be a"
            " whole number: give torch.zeros a dtype.",
            lambda rows, ids, mask: (ids.double(), mask),
        ),
        *_padded(
            "an empty list has no numbers to take a type from: torch.tensor([]) is float. Give the"
            " dtype yourself.",
            _no_type,
        ),
        *_padded(
            "only the ids are returned. The mask belongs to them.", lambda rows, ids, mask: ids
        ),
        *_padded(
            "ids and mask are swapped: the ids come first.", lambda rows, ids, mask: (mask, ids)
        ),
        *_padded(
            "the rows are sorted by length. They no longer belong to their labels: keep their"
            " order.",
            lambda rows, ids, mask: _sorted(rows, True),
            lambda rows, ids, mask: _sorted(rows, False),
        ),
        *_padded(
            "rows and columns are swapped: the first axis is the batch, the second the place in the"
            " row.",
            lambda rows, ids, mask: (ids.T, mask.T),
            lambda rows, ids, mask: (ids.T, mask),
        ),
        *_padded(
            "the empty rows are left out. A text without tokens is still a row of the batch: zeros,"
            " without any True.",
            lambda rows, ids, mask: pad_batch([row for row in rows if row]),
        ),
    ),
)


# 01.2 -----------------------------------------------------------------------------------------


def last_state(states, mask):
    """Row by row: keep the states of the real tokens and take the last one kept."""
    return torch.stack([row[kept][-1] for row, kept in zip(states, mask, strict=True)])


def _state_cases(seed=2):
    yield torch.tensor([[[4.0], [9.0]]]), torch.tensor([[True, False]])
    yield (
        torch.tensor([[[1.0, 2.0], [3.0, 5.0]], [[6.0, 4.0], [8.0, 7.0]]]),
        torch.tensor([[True, True], [True, False]]),
    )
    draw = torch.Generator().manual_seed(seed)
    # Once without NaN; with B, T and D equal, too: what raises elsewhere runs here.
    for lengths, T, D, under in (
        ((3, 2), 3, 2, None),
        ((3, 1, 2), 3, 3, None),
        ((2, 3, 1), 4, 2, 99.0),
        ((2, 3), 4, 3, math.nan),
        ((2, 4, 1, 3), 4, 3, math.nan),
        ((1, 3, 2), 5, 1, 1e4),
        ((2, 1, 1), 3, 3, -50.0),
    ):
        states = torch.randn(len(lengths), T, D, generator=draw).mul(10).round() / 10
        mask = torch.arange(T) < torch.tensor(lengths)[:, None]
        yield states if under is None else states.masked_fill(~mask[..., None], under), mask


def _at(message, *wrongs):
    """Misconceptions; `wrongs` take the states, the mask, the number of each row, its number of
    real tokens.
    """
    return ideas(
        message,
        *(
            lambda states, mask, of=of: of(states, mask, torch.arange(len(states)), mask.sum(1))
            for of in wrongs
        ),
    )


def _real(states, mask, fill):
    return states.masked_fill(~mask[..., None], fill)


_PAIR = "Give the two indices together, one row number and one place for each row."

LAST_STATE = Exercise(
    key="01.2",
    reference=last_state,
    cases=_state_cases,
    returns="one state of D numbers per row",
    misconceptions=(
        *_at(
            "this is the state at the last place, which is padding in the shorter rows. The mask"
            " says where a row ends.",
            lambda s, m, i, n: s[:, -1],
        ),
        *_at(
            "this is the first state. It has seen one token only: take the one at the row's last"
            " real token.",
            lambda s, m, i, n: s[:, 0],
        ),
        *_at(
            "one place too far: places are counted from 0, so the third token stands at place 2.",
            lambda s, m, i, n: s[i, n],
            lambda s, m, i, n: s[i, n.clamp(max=s.shape[1] - 1)],
            lambda s, m, i, n: s[i, n % s.shape[1]],
        ),
        *_at(
            "one place too early: this is the state before the last real token.",
            lambda s, m, i, n: s[i, n - 2],
            lambda s, m, i, n: s[i, (n - 2).clamp(min=0)],
        ),
        *_at(
            "every row is read at the same place. The rows end at different places: each needs its"
            " own.",
            lambda s, m, i, n: s[:, n.max() - 1],
            lambda s, m, i, n: s[:, n.min() - 1],
            lambda s, m, i, n: s[:, n[0] - 1],
            lambda s, m, i, n: s[:, n[-1] - 1],
        ),
        *_at(
            "the mask is counted over the whole batch. Count along the places, so that each row has"
            " its own number.",
            lambda s, m, i, n: s[i, m.sum() - 1],
        ),
        *_at(
            "the mask is counted over the rows, place by place. Sum over the axis of the places.",
            lambda s, m, i, n: s[i, m.sum(0) - 1],
        ),
        *_at(
            "every row is read at the places of all rows: a colon and a list of places combine"
            " freely. " + _PAIR,
            lambda s, m, i, n: s[:, n - 1],
            lambda s, m, i, n: s[:, n],
        ),
        *_at(
            "the places index the batch. The batch is the first axis, the places are the second. "
            + _PAIR,
            lambda s, m, i, n: s[n - 1],
            lambda s, m, i, n: s[n - 1, i],
            lambda s, m, i, n: s[n - 1][:, -1],
        ),
        *_at(
            "rows and numbers are swapped: one row per text, with D numbers each.",
            lambda s, m, i, n: s[i, n - 1].T,
        ),
        *_at(
            "the axis of the places is still there, with length 1. One state per row leaves"
            " (B, D).",
            lambda s, m, i, n: s[i, n - 1][:, None],
        ),
        *_at(
            "only one state is returned, that of the batch's last row. Each row has its own.",
            lambda s, m, i, n: s[-1, n[-1] - 1],
            lambda s, m, i, n: s[-1, n[-1] - 1].expand(len(s), -1),
        ),
        *_at(
            "these are the states of all real tokens. Only the last one of each row is asked for.",
            lambda s, m, i, n: s[m],
        ),
        *_at(
            "these are all states, with zeros under the padding. Only the last real one of each row"
            " is asked for.",
            lambda s, m, i, n: _real(s, m, 0),
        ),
        *_at(
            "this is the state at the last place, set to zero where that is padding. Find where the"
            " row ends instead.",
            lambda s, m, i, n: _real(s, m, 0)[:, -1],
        ),
        *_at(
            "this is the mean of the real states. The last one alone is asked for: it has read the"
            " whole row.",
            lambda s, m, i, n: _real(s, m, 0).sum(1) / n[:, None],
        ),
        *_at(
            "this is the sum of the real states. The last one alone is asked for: it has read the"
            " whole row.",
            lambda s, m, i, n: _real(s, m, 0).sum(1),
        ),
        *_at(
            "this is the largest of the real states, number by number. The last one is asked for,"
            " whatever its size.",
            lambda s, m, i, n: _real(s, m, -math.inf).amax(1),
        ),
        *_at(
            "this is a mean or a sum over all places, padding too. One state of each row is asked"
            " for, picked by its place.",
            lambda s, m, i, n: s.mean(1),
            lambda s, m, i, n: s.sum(1),
        ),
        *_at(
            "all places but one are multiplied by 0. What stands under padding may be NaN, and 0 *"
            " NaN is NaN: pick the state by its place.",
            lambda s, m, i, n: (s * F.one_hot(n - 1, s.shape[1])[..., None]).sum(1),
        ),
        *_at(
            "the mask is read turned round: True is a real token, and you count the padding.",
            lambda s, m, i, n: s[i, (~m).sum(1) - 1],
            lambda s, m, i, n: s[i, (~m).sum(1)],
        ),
        *_at(
            "these are zeros. Every row has at least one real token, and so a last state.",
            lambda s, m, i, n: torch.zeros(len(s), s.shape[2]),
        ),
    ),
)


# 01.3 -----------------------------------------------------------------------------------------


def pair_gradient(centre, context, label):
    """Each label on its own: with e^s or e^-s under the line, which may overflow to 1 / inf = 0
    but never to NaN.
    """
    s = sum(centre * context)
    slope = -1 / (1 + s.exp()) if label == 1 else 1 / (1 + (-s).exp())
    return slope * context, slope * centre


def _pair_cases(seed=3):
    for centre, context, label in (
        ([2], [1], 1),
        ([1, 2], [1, -1], 1),
        ([1, 2], [1, -1], 0),
        ([3], [-1], 0),
        ([40, 20, 1], [10, 20, 5], 1),
        ([40, 20, 1], [10, 20, 5], 0),
        ([30, -30, 2], [-20, 20, 1], 1),
        ([30, -30, 2], [-20, 20, 1], 0),
    ):
        yield *(torch.tensor(v, dtype=torch.float64) for v in (centre, context)), float(label)
    draw = torch.Generator().manual_seed(seed)
    for D, label in ((3, 1), (3, 0), (5, 1), (5, 0)):
        yield (
            *torch.randn(2, D, generator=draw, dtype=torch.float64).mul(10).round() / 10,
            float(label),
        )


def _sigma(s):
    return 1 / (1 + (-s).exp())


def _push(message, *wrongs, score=torch.dot):
    """Misconceptions about the factor of both vectors; `wrongs` take s, sigmoid(s) and the
    label.
    """

    def wrong(centre, context, label, of):
        s = score(centre, context)
        push = of(s, _sigma(s), label)
        return push * context, push * centre

    return ideas(message, *(functools.partial(wrong, of=of) for of in wrongs))


def _ends(message, *wrongs):
    """Misconceptions about what comes back; `wrongs` take the two vectors and the right factor."""
    return ideas(
        message,
        *(
            lambda centre, context, label, of=of: of(
                centre, context, _sigma(centre @ context) - label
            )
            for of in wrongs
        ),
    )


def _by_autograd(centre, context, label):
    v, u = centre.clone().requires_grad_(), context.clone().requires_grad_()
    p = torch.sigmoid(v @ u)
    return torch.autograd.grad(-(label * p.log() + (1 - label) * (1 - p).log()), (v, u))


def _branches(centre, context, label):
    v, u = centre.clone().requires_grad_(), context.clone().requires_grad_()
    return torch.autograd.grad(-torch.sigmoid(v @ u if label else -(v @ u)).log(), (v, u))


PAIR_GRADIENT = Exercise(
    key="01.3",
    reference=pair_gradient,
    cases=_pair_cases,
    returns="the gradient for the centre vector, then that for the context vector, D numbers each",
    misconceptions=(
        *_push(
            "the sign is turned round: a step against this gradient would push true pairs apart.",
            lambda s, p, y: y - p,
        ),
        *_ends(
            "each vector is multiplied by itself. The derivative of u . v with respect to one of"
            " them is the other one.",
            lambda v, u, push: (push * v, push * u),
        ),
        *_ends(
            "both gradients are the same. Each vector's gradient points along the other vector.",
            lambda v, u, push: (push * u, push * u),
            lambda v, u, push: (push * v, push * v),
        ),
        *_push(
            "one probability stands for both labels. A true pair should come near 1, a random one"
            " near 0: the label has to enter.",
            lambda s, p, y: p,
            lambda s, p, y: p - 1,
        ),
        *_push(
            "the label is turned round: 1 is a true pair, 0 a random one.",
            lambda s, p, y: p - (1 - y),
        ),
        *_push(
            "only true pairs get a gradient. Random pairs teach too: their vectors are pushed"
            " apart.",
            lambda s, p, y: (p - 1) * y,
            lambda s, p, y: p * y,
        ),
        *_push(
            "only random pairs get a gradient. True pairs teach too: their vectors are pulled"
            " together.",
            lambda s, p, y: p * (1 - y),
        ),
        *_push(
            "the label is read as -1 or 1. Here a random pair has the label 0.",
            lambda s, p, y: p - (2 * y - 1),
        ),
        *_push(
            "the push is large where the model is right already, and small where it is wrong. It"
            " should be the other way round: look at the sign inside the sigmoid.",
            lambda s, p, y: -p if y else 1 - p,
        ),
        *_push(
            "random pairs are treated with the wrong sign: they are pulled together. The minus"
            " inside the sigmoid gives another one when you take the derivative.",
            lambda s, p, y: p - 1 if y else -p,
        ),
        *_push(
            "the sigmoid is forgotten: the score itself is no probability.", lambda s, p, y: s - y
        ),
        *_push(
            "tanh stands in the place of the sigmoid. It runs from -1 to 1, a probability from 0"
            " to 1.",
            lambda s, p, y: s.tanh() - y,
        ),
        *_push(
            "the sigmoid's own derivative is still in. The logarithm's 1/p cancels it: work out the"
            " chain on paper.",
            lambda s, p, y: (p - y) * p * (1 - p),
            lambda s, p, y: 2 * (p - y) * p * (1 - p),
        ),
        *_push(
            "the logarithm is forgotten: this is the gradient of minus the right answer's"
            " probability. -log changes it.",
            lambda s, p, y: (1 - 2 * y) * p * (1 - p),
        ),
        *_push(
            "the logarithm of the probability stands where the probability belongs.",
            lambda s, p, y: F.logsigmoid(s) - y,
        ),
        *_push(
            "multiplied by 2. There is no square in this loss that would bring the 2 down.",
            lambda s, p, y: 2 * (p - y),
        ),
        *_push(
            "the loss itself is multiplied by the vectors. Its derivative with respect to the score"
            " belongs there.",
            lambda s, p, y: -F.logsigmoid(s if y else -s),
        ),
        *_push(
            "the product is taken entry by entry, without the sum. A pair has one score, and so one"
            " probability.",
            lambda s, p, y: p - y,
            score=torch.mul,
        ),
        *(
            idea
            for root in (1, 2)
            for idea in _push(
                "the score is divided by the number of entries or its root. Here it is the dot"
                " product alone.",
                lambda s, p, y: p - y,
                score=lambda v, u, root=root: v @ u / len(v) ** (1 / root),
            )
        ),
        *_ends(
            "only one of the two gradients is returned. Both vectors learn: give the centre's, then"
            " the context's.",
            lambda v, u, push: push * u,
            lambda v, u, push: push * v,
        ),
        *_ends(
            "the last link of the chain is missing: from the score back to the two vectors.",
            lambda v, u, push: (push, push),
            lambda v, u, push: (push.expand(len(v)), push.expand(len(v))),
        ),
        *_ends(
            "these are the vectors after a step. The gradient alone is asked for.",
            lambda v, u, push: (v - push * u, u - push * v),
        ),
        *ideas(
            "with a large score the probability becomes 0, its logarithm infinite, and 0 times that"
            " is NaN. Cancel the links of the chain on paper first.",
            _by_autograd,
            _branches,
        ),
    ),
)

EXERCISES = [PAD_BATCH, LAST_STATE, PAIR_GRADIENT]
