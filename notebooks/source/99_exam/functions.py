"""The exam's five questions that ask for a function: solutions, cases, wrong ideas."""

import math

import torch
import torch.nn.functional as F

from course_utils.exercises import ideas
from course_utils.exercises.draws import draws, float64
from course_utils.rooms import load

written = load("99", "written").written


# ---- a masked mean ----

MEAN = """\
The masked mean below runs, and is wrong. Mend it:

- each row's sum over its real tokens, divided by *its* number of real tokens: `(B, T, D)` with a
  mask `(B, T)`, True for real, to `(B, D)`;
- what stands under the padding cannot matter, not even NaN;
- a row without any real token gives zeros."""
MEAN_GIVEN = '''\
def masked_mean(vectors, mask):
    """The mean (B, D) of the real tokens of (B, T, D); the mask (B, T) is True for real."""
    total = (vectors * mask.unsqueeze(-1)).sum(dim=1)
    return total / mask.sum()'''


def masked_mean(vectors, mask):
    """The mean (B, D) of the real tokens of (B, T, D); the mask (B, T) is True for real."""
    real = torch.where(mask.unsqueeze(-1), vectors, 0.0)
    number = mask.sum(dim=1, keepdim=True).clamp(min=1)
    return real.sum(dim=1) / number


def _mean_cases(seed=1):
    draw = draws(seed)
    (pair,) = float64([[[2.0], [4.0]]])
    yield pair, torch.tensor([[True, False]])
    yield draw(2, 3, 2), torch.tensor([[True, True, False], [True, True, True]])
    yield draw(3, 3, 2), torch.tensor([[True, True, True], [False, True, False], [False] * 3])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    yield draw(2, 3, 4).masked_fill(~mask[..., None], math.nan), mask
    yield draw(4, 4, 4), torch.rand(4, 4, generator=torch.Generator().manual_seed(seed)) < 0.6


def _kept(vectors, mask):
    return torch.where(mask[..., None], vectors, 0.0)


def _row_count(mask):
    return mask.sum(1, keepdim=True)


MEAN_WRONG = [
    *ideas(
        "the sum is divided by the real tokens of the whole batch; each row has its own number.",
        lambda vectors, mask: (vectors * mask[..., None]).sum(1) / mask.sum(),
        lambda vectors, mask: _kept(vectors, mask).sum(1) / mask.sum().clamp(min=1),
    ),
    *ideas(
        "the sum is divided by T: padding counts as tokens.",
        lambda vectors, mask: _kept(vectors, mask).mean(1),
        lambda vectors, mask: (vectors * mask[..., None]).mean(1),
    ),
    *ideas(
        "0 times NaN is NaN: what is masked has to be replaced, not multiplied.",
        lambda vectors, mask: (vectors * mask[..., None]).sum(1) / _row_count(mask).clamp(min=1),
    ),
    *ideas(
        "a row without a real token is divided by 0.",
        lambda vectors, mask: _kept(vectors, mask).sum(1) / _row_count(mask),
    ),
    *ideas("the mask is not used.", lambda vectors, mask: vectors.mean(1)),
]


# ---- the last reading ----

HOLD = """\
A sensor gives `values` `(N,)` at `times` `(N,)`, sorted; a clock has the ticks `(K,)`. Return
`(held, mask)`, both `(K,)`: for each tick the value of the last reading *at or before* it. The mask
is False, and the value 0, where there is none yet or where it is older than `longest`."""


def hold(times, values, ticks, longest):
    """(held (K,), mask (K,)): the last reading at or before each tick, at most `longest` old."""
    place = torch.searchsorted(times, ticks, right=True) - 1
    last = place.clamp(min=0)
    mask = (place >= 0) & (ticks - times[last] <= longest)
    return torch.where(mask, values[last], 0.0), mask


def _hold_cases(seed=2):
    times, values, ticks = float64([1.0, 2.0, 5.0], [0.1, 0.2, 0.3], [0.5, 1.0, 1.9, 4.5, 5.5])
    yield times, values, ticks, 2.0
    yield times, values, ticks, 2.5
    yield times, values, ticks, 100.0
    generator = torch.Generator().manual_seed(seed)
    rough = 40 * torch.rand(12, generator=generator, dtype=torch.float64)
    times, draw = rough.round().unique() / 4, draws(seed)
    yield times, draw(len(times)), torch.arange(0, 11, 0.5, dtype=torch.float64), 1.0


def _held(times, values, ticks, longest, right=True, after=0, first=False, age=True):
    place = torch.searchsorted(times, ticks, right=right) - 1 + after
    last = place.clamp(0, len(times) - 1)
    mask = (ticks - times[last] <= longest) if age else torch.ones_like(ticks, dtype=torch.bool)
    mask = mask if first else mask & (place >= 0)
    return torch.where(mask, values[last], 0.0), mask


def _nearest(times, values, ticks, longest):
    gap, place = (ticks[:, None] - times).abs().min(1)
    return torch.where(gap <= longest, values[place], 0.0), gap <= longest


def _unmasked(times, values, ticks, longest):
    held, mask = hold(times, values, ticks, longest)
    place = (torch.searchsorted(times, ticks, right=True) - 1).clamp(min=0)
    return values[place], mask


HOLD_WRONG = [
    *ideas(
        "a reading is used before it was made: that is a look into the future.",
        lambda times, values, ticks, longest: _held(times, values, ticks, longest, after=1),
        _nearest,
    ),
    *ideas(
        "a reading at the tick itself counts, too.",
        lambda times, values, ticks, longest: _held(times, values, ticks, longest, right=False),
    ),
    *ideas(
        "before the first reading there is nothing, and the mask must say so.",
        lambda times, values, ticks, longest: _held(times, values, ticks, longest, first=True),
    ),
    *ideas(
        "a reading is held for ever: it has an age, and `longest` ends it.",
        lambda times, values, ticks, longest: _held(times, values, ticks, longest, age=False),
    ),
    *ideas("where the mask is False the value is to be 0.", _unmasked),
]


# ---- places of a search ----

PLACES = """\
A square table `scores` `(N, N)`: row i holds the scores of all N items for query i, and item i is
the right one. Return the places `(N,)` as floats: 1 plus the number of items that score higher than
the right one, plus *half* for each other item with the same score."""


def places(scores):
    """The places (N,) of the right items, from 1; a tie counts half a place."""
    own = scores.diag().unsqueeze(1)
    higher = (scores > own).sum(dim=1)
    ties = (scores == own).sum(dim=1) - 1
    return 1 + higher + ties / 2


def _places_cases(seed=3):
    (small,) = float64([[0.5, 0.9], [0.1, 0.2]])
    yield (small,)
    yield (torch.ones(3, 3, dtype=torch.float64),)
    yield float64([[1.0, 2.0, 1.0], [0.0, 1.0, 3.0], [5.0, 5.0, 5.0]])
    yield (draws(seed)(6, 6).round(),)


def _higher(scores, own):
    return (scores > own).sum(1).double()


PLACES_WRONG = [
    *ideas(
        "ties are not counted: a space in which all scores are equal would find everything.",
        lambda scores: 1 + _higher(scores, scores.diag()[:, None]),
        lambda scores: 1 + (scores > scores.diag()[:, None]).sum(1),
    ),
    *ideas(
        "a tie counts a whole place: that is too strict.",
        lambda scores: (scores >= scores.diag()[:, None]).sum(1).double(),
        lambda scores: (scores >= scores.diag()[:, None]).sum(1),
    ),
    *ideas(
        "the right item is counted as a tie with itself.",
        lambda scores: (
            1
            + _higher(scores, scores.diag()[:, None])
            + (scores == scores.diag()[:, None]).sum(1) / 2
        ),
    ),
    *ideas("places begin at 1, and not at 0.", lambda scores: places(scores) - 1),
    *ideas(
        "queries are rows, items columns: this counts over the queries.",
        lambda scores: places(scores.T),
        lambda scores: (
            1 + (scores > scores.diag()).sum(1) + ((scores == scores.diag()).sum(1) - 1) / 2
        ),
    ),
]


# ---- a caption's loss ----

CAPTION = """\
`ids` `(B, T)` are captions with `<bos>` in front, and `pad` behind their `<eos>`. A causal decoder
was given all of them and gave `logits` `(B, T, V)`; what stands at place t may have seen the words
up to and with place t. Return the cross-entropy of the next word, a float: the mean over all *real*
words that are to be foretold, in the whole batch."""


def caption_loss(logits, ids, pad):
    """The mean cross-entropy of each next word of (B, T) ids from (B, T, V) logits."""
    said, next_word = logits[:, :-1], ids[:, 1:]
    loss = F.cross_entropy(said.flatten(0, 1), next_word.flatten(), ignore_index=pad)
    return loss.item()


def _caption_cases(seed=4):
    draw, generator = draws(seed), torch.Generator().manual_seed(seed)
    yield draw(1, 2, 4), torch.tensor([[1, 2]]), 0
    yield draw(1, 4, 5), torch.tensor([[1, 3, 2, 0]]), 0
    yield draw(2, 5, 6), torch.tensor([[1, 3, 4, 5, 2], [1, 2, 0, 0, 0]]), 0
    ids = torch.randint(0, 5, (3, 6), generator=generator)
    for row, length in zip(ids, (6, 4, 3)):
        row[length:] = 7
    yield draw(3, 6, 8), ids, 7


def _word_losses(logits, ids):
    return F.cross_entropy(logits.transpose(1, 2), ids, reduction="none")


def _by_rows(logits, ids, pad):
    losses, real = _word_losses(logits[:, :-1], ids[:, 1:]), ids[:, 1:] != pad
    return ((losses * real).sum(1) / real.sum(1)).mean()


def _over_all(logits, ids, pad):
    losses = _word_losses(logits[:, :-1], ids[:, 1:])
    return (losses * (ids[:, 1:] != pad)).mean()


def _without_end(logits, ids, pad):
    real = ids[:, 2:] != pad
    losses = _word_losses(logits[:, :-1], ids[:, 1:])[:, :-1]
    return (losses * real).sum() / real.sum().clamp(min=1)


CAPTION_WRONG = [
    *ideas(
        "input and target are the same word: it is not shifted, and learned by copying.",
        lambda logits, ids, pad: F.cross_entropy(
            logits.flatten(0, 1), ids.flatten(), ignore_index=pad
        ),
    ),
    *ideas(
        "padding is counted as words to be foretold.",
        lambda logits, ids, pad: _word_losses(logits[:, :-1], ids[:, 1:]).mean(),
    ),
    *ideas("the sum is divided by all places, padding too.", _over_all),
    *ideas("a mean of each caption's mean: words of short captions count for more.", _by_rows),
    *ideas(
        "it is shifted the wrong way: what comes before is foretold.",
        lambda logits, ids, pad: F.cross_entropy(
            logits[:, 1:].flatten(0, 1), ids[:, :-1].flatten(), ignore_index=pad
        ),
    ),
    *ideas("the last real word, the end, is not foretold.", _without_end),
]


# ---- the least cost ----

COST = """\
Whoever has a score at or above the threshold is called: an alarm. `labels` `(N,)` are True for
positives. A positive who is not called costs `miss`, a negative who is called costs `alarm`. Return
the least total cost that any threshold reaches on these cases, as a float; calling nobody is
allowed."""


def least_cost(scores, labels, miss, alarm):
    """The least total cost of a threshold on (N,) scores: score >= threshold is called."""
    costs = [miss * labels.sum().item()]
    for threshold in scores.unique():
        called = scores >= threshold
        missed, false = (labels & ~called).sum().item(), (called & ~labels).sum().item()
        costs.append(miss * missed + alarm * false)
    return float(min(costs))


def _cost_cases(seed=5):
    draw, generator = draws(seed), torch.Generator().manual_seed(seed)
    scores, labels = torch.tensor([0.2, 0.6, 0.9]), torch.tensor([False, True, True])
    yield scores, labels, 5.0, 1.0
    yield torch.tensor([0.9, 0.3]), torch.tensor([False, True]), 1.0, 10.0
    yield torch.tensor([0.5, 0.5, 0.5, 0.1]), torch.tensor([True, False, True, False]), 2.0, 1.0
    yield torch.tensor([0.7, 0.1]), torch.tensor([False, True]), 9.0, 2.0
    for miss, alarm in ((1.0, 3.0), (20.0, 1.0)):
        labels = torch.rand(12, generator=generator) < 0.4
        yield (draw(12) + labels).round(), labels, miss, alarm


def _costs(scores, labels, miss, alarm, thresholds, strict=False):
    found = []
    for threshold in thresholds:
        called = scores > threshold if strict else scores >= threshold
        missed, false = (labels & ~called).sum().item(), (called & ~labels).sum().item()
        found.append(float(miss * missed + alarm * false))
    return found


def _by_accuracy(scores, labels, miss, alarm):
    thresholds = [*scores.unique().tolist(), math.inf]
    errors = _costs(scores, labels, 1, 1, thresholds)
    return _costs(scores, labels, miss, alarm, thresholds)[errors.index(min(errors))]


COST_WRONG = [
    *ideas(
        "calling nobody is a choice, too: infinity belongs to the thresholds.",
        lambda scores, labels, miss, alarm: min(
            _costs(scores, labels, miss, alarm, scores.unique())
        ),
    ),
    *ideas(
        "a score at the threshold is called: with `>` nobody calls all.",
        lambda scores, labels, miss, alarm: min(
            _costs(scores, labels, miss, alarm, [*scores.unique(), math.inf], strict=True)
        ),
    ),
    *ideas(
        "the costs of a miss and of an alarm are exchanged.",
        lambda scores, labels, miss, alarm: least_cost(scores, labels, alarm, miss),
    ),
    *ideas("the threshold is chosen by accuracy, as if both errors cost the same.", _by_accuracy),
    *ideas(
        "the threshold stays at a half.",
        lambda scores, labels, miss, alarm: _costs(scores, labels, miss, alarm, [0.5])[0],
    ),
    *ideas(
        "a mean over the cases: the total was asked for.",
        lambda scores, labels, miss, alarm: least_cost(scores, labels, miss, alarm) / len(scores),
    ),
]


WRITTEN = {
    "masked_mean": written(masked_mean, MEAN, _mean_cases, MEAN_WRONG, given=MEAN_GIVEN),
    "hold": written(hold, HOLD, _hold_cases, HOLD_WRONG),
    "places": written(places, PLACES, _places_cases, PLACES_WRONG),
    "caption_loss": written(caption_loss, CAPTION, _caption_cases, CAPTION_WRONG),
    "least_cost": written(least_cost, COST, _cost_cases, COST_WRONG),
}
