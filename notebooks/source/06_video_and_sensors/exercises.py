"""Notebook 06: differences of frames under a mask, two streams on one clock, a record with gaps."""

import math

import numpy as np
import torch

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws, float64

# 06.1 -----------------------------------------------------------------------------------------


def steps(features, mask):
    """Step by step, all clips at once, from frames in which nothing stands where none is."""
    clean = features.masked_fill(~mask[..., None], 0)
    moved, both = [], []
    for t in range(1, features.shape[1]):
        there = torch.logical_and(mask[:, t - 1], mask[:, t])
        moved.append((clean[:, t] - clean[:, t - 1]).masked_fill(~there[:, None], 0))
        both.append(there)
    return torch.stack(moved, 1), torch.stack(both, 1)


def _step_cases(seed=1):
    yes = torch.tensor
    yield *float64([[[1.0], [3.0]]]), yes([[True, True]])
    yield *float64([[[1.0], [3.0], [2.0]]]), yes([[True, True, False]])
    yield *float64([[[4.0], [3.0], [7.0]]]), yes([[False, True, True]])
    yield *float64([[[1.0], [math.nan], [2.0], [5.0]]]), yes([[True, False, True, True]])
    yield *float64([[[1.0, 2.0], [5.0, 1.0], [2.0, 2.0]]]), yes([[False, False, True]])
    draw = draws(seed)
    generator = torch.Generator().manual_seed(seed)
    for B, T, D in ((2, 3, 2), (3, 5, 2), (2, 8, 3), (4, 2, 1)):
        yield draw(B, T, D), torch.rand(B, T, generator=generator) < 0.7


def _stepped(features, mask, both=None, kept=None):
    """All differences, kept where `kept` is True."""
    moved = features[:, 1:] - features[:, :-1]
    both = mask[:, 1:] & mask[:, :-1] if both is None else both
    kept = both if kept is None else kept
    return torch.where(kept[..., None], moved, 0.0), both


def _by_product(features, mask):
    moved, both = features[:, 1:] - features[:, :-1], mask[:, 1:] & mask[:, :-1]
    return moved * both[..., None], both


def _black(features, mask):
    """Lost frames read as zeros."""
    clean = torch.where(mask[..., None], features, 0.0)
    return clean[:, 1:] - clean[:, :-1], mask[:, 1:] & mask[:, :-1]


def _rolled(features, mask):
    moved = features - features.roll(1, dims=1)
    both = mask & mask.roll(1, dims=1)
    return torch.where(both[..., None], moved, 0.0), both


def _along_batch(features, mask):
    moved, both = features[1:] - features[:-1], mask[1:] & mask[:-1]
    return torch.where(both[..., None], moved, 0.0), both


def _across(features, mask):
    """Of the last frame that was there."""
    B, T, D = features.shape
    moved, both = features.new_zeros(B, T - 1, D), torch.zeros(B, T - 1, dtype=torch.bool)
    for b in range(B):
        last = None
        for t in range(T):
            if mask[b, t]:
                if last is not None:
                    moved[b, t - 1], both[b, t - 1] = features[b, t] - features[b, last], True
                last = t
    return moved, both


def _padded(features, mask):
    """As long as the clip, the first difference being the first frame itself."""
    moved, both = steps(features, mask)
    return torch.cat([features[:, :1], moved], 1), torch.cat([mask[:, :1], both], 1)


def _flipped(moved, both):
    return -moved, both


def _clip_batch():
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(64, 8, 64, generator=generator, requires_grad=True)
    return features, torch.rand(64, 8, generator=generator) < 0.8


STEPS = Exercise(
    key="06.1",
    reference=steps,
    cases=_step_cases,
    batch=_clip_batch,
    returns="the differences of each clip, and where both frames are there",
    misconceptions=(
        *ideas(
            "a step counts where one of its two frames is there. It needs both: &, not |.",
            lambda f, m: _stepped(f, m, m[:, 1:] | m[:, :-1]),
        ),
        *ideas(
            "the mask looks at one of the two frames alone. A step needs both.",
            lambda f, m: _stepped(f, m, m[:, 1:]),
            lambda f, m: _stepped(f, m, m[:, :-1]),
        ),
        *ideas(
            "the sign is turned round: it is the later frame minus the earlier one.",
            lambda f, m: _flipped(*steps(f, m)),
        ),
        *ideas(
            "the sign is lost. Without it nobody knows which frame came first.",
            lambda f, m: (steps(f, m)[0].abs(), steps(f, m)[1]),
        ),
        *ideas(
            "NaN times 0 is NaN. Take what is not there out by torch.where, not by a product.",
            _by_product,
        ),
        *ideas(
            "a lost frame is read as a black one, and the step to it counts. Put 0 there.",
            _black,
            lambda f, m: _stepped(f, m, kept=torch.ones_like(m[:, 1:])),
        ),
        *ideas(
            "the last frame is followed by the first one: roll goes round. T frames have T - 1"
            " steps.",
            _rolled,
        ),
        *ideas(
            "clips are subtracted from each other. Time is the second axis, [:, 1:].", _along_batch
        ),
        *ideas(
            "a step leads over a lost frame. That is a longer step than the others: leave it out.",
            _across,
        ),
        *ideas(
            "the first frame stands there as a step of its own. T frames have T - 1 steps.", _padded
        ),
    ),
)

# 06.2 -----------------------------------------------------------------------------------------


def one_clock(streams, clock, max_age):
    """The reading before the first that is still to come, counted by numpy."""
    found, there = [], []
    for times, values in streams:
        known = torch.from_numpy(np.searchsorted(times.numpy(), clock.numpy(), side="right"))
        last = (known - 1).clamp(min=0)  # (T,)
        found.append(values[last])
        there.append((known > 0) & (clock - times[last] <= max_age))
    mask = torch.stack(there).all(0)
    return torch.stack(found, 1).masked_fill(~mask[:, None], 0), mask


def _stream(times, values):
    return float64(times, values)


def _clock_cases(seed=2):
    def case(one, other, clock, max_age=math.inf):
        return [_stream(*one), _stream(*other)], *float64(clock), max_age

    full = ([0.0, 1.0, 2.0, 3.0], [5.0, 6.0, 8.0, 7.0])
    yield case(([0.0], [5.0]), ([0.0], [2.0]), [0.5])
    yield case(([0.0, 1.0], [5.0, 6.0]), ([0.0, 2.0], [2.0, 3.0]), [0.75])
    yield case(([0.0, 1.0], [5.0, 6.0]), ([0.5, 1.0], [2.0, 3.0]), [1.0])
    yield case(([1.0, 2.0], [5.0, 6.0]), ([0.0], [2.0]), [0.5, 1.5])
    yield case(([0.0], [5.0]), ([0.0, 2.0], [2.0, 3.0]), [1.0, 1.5, 2.5], 1.0)
    yield case(full, ([0.5, 2.5], [1.0, 4.0]), [0.25, 1.0, 2.25, 2.75, 9.0], 1.0)
    yield case(([10.0, 10.5, 11.5], [3.0, 1.0, 4.0]), ([10.0], [9.0]), [10.25, 10.75, 12.0], 1.5)
    draw, generator = draws(seed), torch.Generator().manual_seed(seed)
    for many, few, ticks, max_age in ((6, 3, 5, 2.0), (9, 4, 8, 1.0), (12, 5, 10, math.inf)):
        streams = []
        for number in (many, few):
            place = torch.randperm(40, generator=generator)[:number].sort().values
            streams.append((place.double() / 2, draw(number)))
        clock = torch.randperm(44, generator=generator)[:ticks].sort().values.double() / 2
        yield streams, clock, max_age


def _held(streams, clock, max_age, *, right=True, join=all, kept=None, age=None, first="none"):
    """By searchsorted; each of the dials is a wrong idea."""
    columns, masks = [], []
    for times, values in streams:
        last = torch.searchsorted(times, clock, right=right) - 1
        there = last >= 0
        if first == "taken":
            last, there = last.clamp(min=0), torch.ones_like(there)
        elif first == "last":
            there = torch.ones_like(there)
        found = values[last if first == "last" else last.clamp(min=0)]
        old = clock - times[last if first == "last" else last.clamp(min=0)]
        old = old if age is None else age(times, clock, last.clamp(min=0), old)
        there = there & (old <= max_age)
        columns.append(found)
        masks.append(there)
    stacked = torch.stack(masks, 1)
    mask = stacked.all(1) if join is all else stacked.any(1)
    table = torch.stack(columns, 1)
    return (table if kept else torch.where(mask[:, None], table, 0.0)), mask


def _nearest(streams, clock, max_age):
    columns, masks = [], []
    for times, values in streams:
        apart = (clock[:, None] - times).abs()
        near = apart.argmin(1)
        columns.append(values[near])
        masks.append(apart.amin(1) <= max_age)
    mask = torch.stack(masks, 1).all(1)
    return torch.where(mask[:, None], torch.stack(columns, 1), 0.0), mask


def _linear(streams, clock, max_age):
    table, mask = _held(streams, clock, max_age)
    for column, (times, values) in enumerate(streams):
        after = torch.searchsorted(times, clock).clamp(max=len(times) - 1)
        before = (torch.searchsorted(times, clock, right=True) - 1).clamp(min=0)
        width = (times[after] - times[before]).clamp(min=1e-9)
        share = ((clock - times[before]) / width).clamp(0, 1)
        table[:, column] = values[before] + share * (values[after] - values[before])
    return torch.where(mask[:, None], table, 0.0), mask


def _to_the_next(times, clock, last, old):
    return times[(last + 1).clamp(max=len(times) - 1)] - clock


def _by_number(streams, clock, max_age):
    """The number of the tick as that of the reading."""
    columns, masks = [], []
    place = torch.arange(len(clock))
    for times, values in streams:
        last = place.clamp(max=len(times) - 1)
        columns.append(values[last])
        masks.append((times[last] <= clock) & (clock - times[last] <= max_age))
    mask = torch.stack(masks, 1).all(1)
    return torch.where(mask[:, None], torch.stack(columns, 1), 0.0), mask


def _alone(streams, clock, max_age, which):
    """The mask of one stream for all."""
    table, _ = _held(streams, clock, max_age, kept=True)
    _, mask = _held([streams[which]], clock, max_age)
    return torch.where(mask[:, None], table, 0.0), mask


def _each_zero(streams, clock, max_age):
    """Zeros only for the stream that is not there."""
    columns, masks = zip(*(_held([one], clock, max_age) for one in streams))
    return torch.cat(columns, 1), torch.stack(masks).all(0)


def _strict_age(streams, clock, max_age):
    return _held(streams, clock, max_age - 1e-6)


def _since_clock_before(times, clock, last, old):
    """A step of the clock in place of the reading's age."""
    return torch.cat([clock[:1] - clock[:1], clock.diff()])


def _clock_batch():
    generator = torch.Generator().manual_seed(0)
    streams = []
    for number in (600, 150):
        times = 300 * torch.rand(number, dtype=torch.float64, generator=generator).sort().values
        streams.append((times, torch.randn(number, dtype=torch.float64, generator=generator)))
    return streams, 0.7 * torch.arange(400, dtype=torch.float64), 2.0


ONE_CLOCK = Exercise(
    key="06.2",
    verified=True,
    reference=one_clock,
    cases=_clock_cases,
    batch=_clock_batch,
    returns="a row for each tick, and where all streams are there",
    misconceptions=(
        *ideas(
            "a reading from after the tick is used. At that moment nobody has it: take the last"
            " one up to the tick.",
            _nearest,
            _linear,
        ),
        *ideas(
            "a reading of the very moment of the tick is not used. It counts: right=True, or <=.",
            lambda s, c, a: _held(s, c, a, right=False),
        ),
        *ideas(
            "before the first reading the first one is taken, which comes later. There the mask is"
            " False.",
            lambda s, c, a: _held(s, c, a, first="taken"),
        ),
        *ideas(
            "before the first reading the index is -1, and Python takes the last reading. There"
            " the mask is False.",
            lambda s, c, a: _held(s, c, a, first="last"),
        ),
        *ideas(
            "the age is not used: beyond max_age a reading no longer counts.",
            lambda s, c, a: _held(s, c, math.inf),
        ),
        *ideas(
            "the age is taken from the wrong end: it runs from the reading that is used to the"
            " tick, not to the next reading.",
            lambda s, c, a: _held(s, c, a, age=_to_the_next),
        ),
        *ideas(
            "the age is that of the last tick. It runs from the reading to the tick.",
            lambda s, c, a: _held(s, c, a, age=_since_clock_before),
        ),
        *ideas("a reading exactly max_age old still counts: <=, not <.", _strict_age),
        *ideas(
            "the mask is True where one of the streams is there. It needs all, joined by &.",
            lambda s, c, a: _held(s, c, a, join=any),
            lambda s, c, a: _alone(s, c, a, 0),
            lambda s, c, a: _alone(s, c, a, -1),
        ),
        *ideas(
            "where the mask is False there are values left. The whole row is 0 there.",
            lambda s, c, a: _held(s, c, a, kept=True),
            _each_zero,
        ),
        *ideas(
            "the number of the tick is taken for that of the reading. Compare times.", _by_number
        ),
    ),
)

# 06.3 -----------------------------------------------------------------------------------------


def with_flags(rows, train):
    """Column by column."""
    filled, flags = [], []
    for column, known in zip(rows.T, train.T):
        known = known[known == known]
        mean = known.sum() / max(len(known), 1)
        filled.append(torch.where(column == column, column, mean))
        flags.append((column != column).to(column))
    return torch.stack(filled + flags, 1)


def _flag_cases(seed=3):
    nan = math.nan
    yield float64([[nan]], [[2.0], [4.0]])
    yield float64([[1.0], [nan]], [[2.0], [nan], [4.0]])
    yield float64([[nan, 3.0], [1.0, nan]], [[5.0, 2.0], [nan, 9.0], [8.0, 1.0]])
    yield float64([[nan, 4.0], [7.0, 1.0]], [[nan, 2.0], [nan, 3.0]])
    yield float64([[nan, nan, nan]], [[1.0, nan, 2.0], [4.0, 5.0, nan]])
    draw, generator = draws(seed), torch.Generator().manual_seed(seed)
    for N, M, D in ((2, 3, 2), (4, 6, 3), (5, 8, 4)):
        rows, train = draw(N, D), draw(M, D)
        rows = torch.where(torch.rand(N, D, generator=generator) < 0.3, nan, rows)
        train = torch.where(torch.rand(M, D, generator=generator) < 0.3, nan, train)
        train[0] = draw(D)
        yield rows, train


def _flagged(rows, train, means=None, flags=None):
    gone = rows.isnan()
    means = train.nanmean(0).nan_to_num(0.0) if means is None else means
    return torch.cat(
        [torch.where(gone, means, rows), (gone if flags is None else flags).double()], 1
    )


def _middle(train):
    return train.nanmedian(0).values.nan_to_num(0.0)


def _counted_as_zero(train):
    return train.nan_to_num(0.0).mean(0)


def _filled_by_product(rows, train):
    gone, means = rows.isnan(), train.nanmean(0).nan_to_num(0.0)
    return torch.cat([rows * ~gone + means * gone, gone.to(rows)], 1)


def _row_means(rows, train):
    return _flagged(rows, train, rows.nanmean(1, keepdim=True).nan_to_num(0.0))


def _flag_batch():
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(569, 5, generator=generator, dtype=torch.float64)
    table[torch.rand(569, 5, generator=generator) < 0.4] = math.nan
    return table, table[:341]


WITH_FLAGS = Exercise(
    key="06.3",
    reference=with_flags,
    cases=_flag_cases,
    batch=_flag_batch,
    returns="a row for each row: the values, then the flags",
    misconceptions=(
        *ideas(
            "the means are those of `rows`. A model in use has one row: they come from `train`.",
            lambda r, t: _flagged(r, t, r.nanmean(0).nan_to_num(0.0)),
            lambda r, t: _flagged(r, t, torch.cat([r, t]).nanmean(0).nan_to_num(0.0)),
        ),
        *ideas(
            "gaps are filled with 0, which is far from any real value. Take the column's mean.",
            lambda r, t: _flagged(r, t, torch.zeros(r.shape[1], dtype=r.dtype)),
        ),
        *ideas(
            "the gaps of `train` count as 0 in its mean. Divide by the number of values there.",
            lambda r, t: _flagged(r, t, _counted_as_zero(t)),
        ),
        *ideas(
            "one mean is used for all columns. Each has its own: dim=0.",
            lambda r, t: _flagged(r, t, t.nanmean().nan_to_num(0.0)),
        ),
        *ideas(
            "the means go along a row. A column has one unit, a row has many: dim=0.", _row_means
        ),
        *ideas("NaN times 0 is NaN. Fill by torch.where, not by a product.", _filled_by_product),
        *ideas("a mean is asked for, this is the median.", lambda r, t: _flagged(r, t, _middle(t))),
        *ideas(
            "the flags are turned round: 1 where a value is missing.",
            lambda r, t: _flagged(r, t, flags=~r.isnan()),
        ),
        *ideas(
            "the flags are made after the filling, where nothing is missing any more.",
            lambda r, t: _flagged(r, t, flags=torch.zeros_like(r)),
        ),
        *ideas(
            "the flags stand before the values. The values come first.",
            lambda r, t: _flagged(r, t).roll(r.shape[1], dims=1),
        ),
        *ideas(
            "a column without any value in `train` stays NaN. Fill it with 0.",
            lambda r, t: _flagged(r, t, t.nanmean(0)),
        ),
        *ideas(
            "the flags are missing, or there is one for a whole row: D values, then D flags.",
            lambda r, t: _flagged(r, t)[:, : r.shape[1]],
            lambda r, t: torch.cat(
                [_flagged(r, t)[:, : r.shape[1]], r.isnan().any(1, keepdim=True).double()], 1
            ),
        ),
    ),
)

EXERCISES = [STEPS, ONE_CLOCK, WITH_FLAGS]
