"""Streams on one clock: each way against a loop over all readings and SciPy, ages, late readings,
who looks into the future, and an error for every stream that is none.
"""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import interp1d

from course_utils.sensors import WAYS, age, check_stream, resample


def stream(seed, n=40, whole=False, wide=()):
    """Irregular readings, a clock that also starts before and ends after them, and some ticks at
    the very time of a reading.
    """
    rng = np.random.default_rng(seed)
    if whole:
        times = np.sort(rng.choice(10_000, n, replace=False))
        clock = np.unique(np.concatenate([rng.integers(-500, 10_500, 60), times[::5], [-500]]))
    else:
        times = np.sort(rng.random(n) * 10 / 3)
        clock = np.unique(np.concatenate([rng.random(60) * 4 - 0.3, times[::5], [-0.3]]))
    return tuple(map(torch.from_numpy, (times, rng.standard_normal((n, *wide)), clock)))


def by_hand(times, values, clock, how, max_age):
    """One tick after the other, by a search through all readings: (value, or None)."""
    times, clock = times.tolist(), clock.tolist()
    found = []
    for k, t in enumerate(clock):
        before = [i for i, time in enumerate(times) if time <= t]
        after = [i for i, time in enumerate(times) if time >= t]
        near = min(range(len(times)), key=lambda i: (abs(times[i] - t), i))
        start = clock[k - 1] if k else t - (clock[1] - t)
        since = [i for i in before if times[i] > start]
        value, old = None, abs(times[near] - t)
        if how == "hold" and before:
            value, old = values[before[-1]], t - times[before[-1]]
        elif how == "nearest":
            value = values[near]
        elif how == "mean" and since:
            value, old = values[since].mean(0), t - times[since[-1]]
        elif how == "linear" and before and after:
            a, b = before[-1], after[0]
            share = 0 if a == b else (t - times[a]) / (times[b] - times[a])
            value = values[a] + share * (values[b] - values[a])
        found.append(None if old > max_age else value)
    return found


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("wide", [(), (3,)])
@pytest.mark.parametrize("share", [math.inf, 0.01])
def test_every_way_is_what_a_loop_gives(how, whole, wide, share):
    for seed in range(4):
        times, values, clock = stream(seed, whole=whole, wide=wide)
        max_age = share * (10_000 if whole else 10 / 3)
        found, there = resample(times, values, clock, how=how, max_age=max_age)
        expected = by_hand(times, values, clock, how, max_age)
        assert found.shape == (len(clock), *wide) and found.dtype == torch.float64
        assert there.tolist() == [value is not None for value in expected]
        assert 0 < there.sum() and (how == "nearest" or not there.all())
        zero = torch.zeros(wide, dtype=torch.float64)
        stacked = torch.stack([zero if value is None else value for value in expected])
        torch.testing.assert_close(found, stacked, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "how, kind", [("hold", "previous"), ("nearest", "nearest"), ("linear", "linear")]
)
def test_within_the_readings_it_is_scipys(how, kind):
    times, values, clock = stream(7, wide=(2,))
    clock = clock[(clock >= times[0]) & (clock <= times[-1])]
    found, there = resample(times, values, clock, how=how)
    expected = interp1d(times.numpy(), values.numpy(), kind=kind, axis=0)(clock.numpy())
    assert there.all()
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_a_line_is_kept_by_the_straight_way_alone():
    times = torch.tensor([0.1, 0.2, 0.3, 0.7, 1.9], dtype=torch.float64)
    clock = torch.tensor([0.1, 0.25, 1 / 3, 0.5, 1.3, 1.9], dtype=torch.float64)
    line = 1 / 3 + 0.3 * clock
    for how in WAYS:
        found, _ = resample(times, 1 / 3 + 0.3 * times, clock, how=how)
        assert torch.allclose(found, line, rtol=0, atol=1e-15) == (how == "linear")


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("how", WAYS)
def test_who_looks_into_the_future(how, whole):
    """What comes after a tick is changed, or was never there: only some ways feel it."""
    times, values, clock = stream(3, whole=whole)
    felt = False
    for k in range(2, len(clock)):
        known = times <= clock[k]
        if not known.any():
            continue
        changed = torch.where(known, values, values + 1e6)
        for given in ((times, changed), (times[known], values[known])):
            one, other = (
                resample(*data, clock[: k + 1], how=how) for data in ((times, values), given)
            )
            felt |= not (torch.equal(one[0][k], other[0][k]) and one[1][k] == other[1][k])
    assert felt == WAYS[how]


def test_of_two_equally_near_the_earlier_counts():
    times, values = torch.tensor([0, 10]), torch.tensor([0.3, 1 / 3])
    found, _ = resample(times, values, torch.tensor([4, 5, 6]), how="nearest")
    assert torch.equal(found, values[[0, 0, 1]])


def test_an_age_of_just_as_much_is_still_good():
    times, clock = torch.tensor([0, 10]), torch.tensor([3, 4, 6, 7, 13, 14])
    for how, expected in {
        "hold": [1, 0, 0, 0, 1, 0],
        "nearest": [1, 0, 0, 1, 1, 0],
        "linear": [1, 0, 0, 1, 0, 0],
        "mean": [0, 0, 0, 0, 1, 0],
    }.items():
        _, there = resample(times, torch.ones(2), clock, how=how, max_age=3)
        assert there.int().tolist() == expected, how


def test_the_first_mean_is_over_a_time_as_long_as_to_the_second_tick():
    times, clock = torch.tensor([10, 11, 20, 30, 31]), torch.tensor([20, 30])
    found, there = resample(times, torch.tensor([9, 0.1, 0.3, 1 / 3, 9]), clock, how="mean")
    assert torch.equal(found, torch.tensor([(0.1 + 0.3) / 2, 1 / 3])) and there.all()


@pytest.mark.parametrize("how", WAYS)
def test_a_date_in_whole_milliseconds_is_as_exact_as_a_small_number(how):
    times, values, clock = stream(5, whole=True)
    date = 1_795_000_000_000
    small = resample(times, values, clock, how=how, max_age=100)
    large = resample(times + date, values, clock + date, how=how, max_age=100)
    assert torch.equal(small[0], large[0]) and torch.equal(small[1], large[1])


@pytest.mark.parametrize("how", WAYS)
def test_no_reading_and_one_reading(how):
    clock = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    found, there = resample(clock[:0], torch.zeros(0, 2), clock, how=how)
    assert found.tolist() == [[0, 0]] * 3 and not there.any()
    found, there = resample(clock[1:2], torch.tensor([1 / 3]), clock, how=how)
    expected = {"hold": [0, 1, 1], "mean": [0, 1, 0], "nearest": [1, 1, 1], "linear": [0, 1, 0]}
    assert there.int().tolist() == expected[how]
    assert torch.equal(found, there * torch.tensor(1 / 3)) and found.dtype == torch.float32


@pytest.mark.parametrize("how", WAYS)
def test_gradients_reach_the_readings(how):
    times, values, clock = stream(1, n=6, wide=(2,))
    values.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: resample(times, x, clock, how=how, max_age=0.2)[0], values
    )


# ---- late readings, and ages ----


@pytest.mark.parametrize("whole", [False, True])
def test_late_readings_by_a_loop(whole):
    for seed in range(4):
        times, values, clock = stream(seed, whole=whole)
        wait = np.random.default_rng(seed).exponential(1000 if whole else 1 / 3, len(times))
        arrived = times + torch.from_numpy(wait).to(times.dtype)
        max_age = 800 if whole else 0.3
        found, there = resample(times, values, clock, arrived=arrived, max_age=max_age)
        ages = age(times, clock, arrived=arrived)
        for k, t in enumerate(clock.tolist()):
            known = [i for i in range(len(times)) if arrived[i] <= t]
            old = t - times[known[-1]].item() if known else math.inf
            assert ages[k].item() == pytest.approx(old, abs=1e-12)
            assert there[k].item() == (old <= max_age)
            assert found[k] == (values[known[-1]] if old <= max_age else 0)
        assert there.any() and not there.all()
        assert (ages >= age(times, clock)).all() and (ages > age(times, clock)).any()


def test_without_delay_arrivals_change_nothing():
    times, values, clock = stream(2)
    for got, expected in zip(
        resample(times, values, clock, arrived=times), resample(times, values, clock)
    ):
        assert torch.equal(got, expected)


def test_an_older_reading_that_comes_in_later_does_not_replace_a_newer_one():
    times, arrived = torch.tensor([0, 1, 2]), torch.tensor([9, 3, 2])
    found, there = resample(
        times, torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1, 2, 3, 9]), arrived=arrived
    )
    assert torch.equal(found, torch.tensor([0, 0.3, 0.3, 0.3]))
    assert there.tolist() == [False, True, True, True]


def test_ages_by_hand():
    times, clock = torch.tensor([10, 20]), torch.tensor([9, 10, 19, 20, 100])
    assert age(times, clock).tolist() == [math.inf, 0, 9, 0, 80]
    assert age(times[:0], clock).tolist() == [math.inf] * 5
    assert age(times, clock, arrived=torch.tensor([15, 20])).tolist() == [math.inf] * 2 + [9, 0, 80]
    assert age(times[:0], clock, arrived=times[:0]).tolist() == [math.inf] * 5
    assert age(times.double(), clock.double()).dtype == torch.float64


# ---- what is refused ----

TIMES, VALUES = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64), torch.ones(3)
CLOCK = torch.tensor([0.0, 1.0], dtype=torch.float64)
NOT = torch.tensor([0.1, math.nan, 0.3], dtype=torch.float64)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: resample([0.1], VALUES, CLOCK), TypeError, "times: expected a tensor, got list"),
        (
            lambda: resample(TIMES[None], VALUES, CLOCK),
            ValueError,
            "times: expected shape (N,), got (1, 3)",
        ),
        (
            lambda: resample(TIMES.float(), VALUES, CLOCK),
            TypeError,
            "times: expected float64 or int64, got torch.float32; it counts a date in steps of 128",
        ),
        (
            lambda: resample(TIMES.int(), VALUES, CLOCK),
            TypeError,
            "times: expected float64 or int64, got torch.int32",
        ),
        (
            lambda: resample(NOT, VALUES, CLOCK),
            ValueError,
            "times: expected finite times, got NaN or infinity",
        ),
        (
            lambda: resample(TIMES.flip(0), VALUES, CLOCK),
            ValueError,
            "times: expected to ascend, got 0.3 before 0.2 at 0; sort them, and their values, by"
            " times.argsort()",
        ),
        (
            lambda: resample(TIMES[[0, 1, 1]], VALUES, CLOCK),
            ValueError,
            "times: expected to ascend, got 0.2 before 0.2 at 1; keep one reading of a moment, or"
            " their mean",
        ),
        (
            lambda: resample(TIMES, VALUES.long(), CLOCK),
            TypeError,
            "values: expected floats, got torch.int64",
        ),
        (
            lambda: resample(TIMES, VALUES[:2], CLOCK),
            ValueError,
            "values: expected shape (3,) or (3, D), one row for each time, got (2,)",
        ),
        (
            lambda: resample(TIMES, VALUES[:, None, None], CLOCK),
            ValueError,
            "values: expected shape (3,) or (3, D), one row for each time, got (3, 1, 1)",
        ),
        (
            lambda: check_stream(TIMES, NOT),
            ValueError,
            "values: reading 1 of 3 holds NaN or infinity; a reading that failed is none",
        ),
        (
            lambda: check_stream(TIMES, torch.stack([VALUES, -math.inf * VALUES], 1)),
            ValueError,
            "values: reading 0 of 3 holds NaN or infinity; a reading that failed is none",
        ),
        (
            lambda: resample(TIMES, VALUES, CLOCK[:0]),
            ValueError,
            "clock: expected at least one tick, got none",
        ),
        (
            lambda: resample(TIMES, VALUES, CLOCK.float()),
            TypeError,
            "clock: expected float64 or int64, got torch.float32; it counts a date",
        ),
        (
            lambda: resample(TIMES, VALUES, CLOCK.long()),
            TypeError,
            "clock: expected torch.float64 as times, in the same unit, got torch.int64",
        ),
        (
            lambda: resample(TIMES, VALUES, CLOCK.flip(0)),
            ValueError,
            "clock: expected to ascend, got 1.0 before 0.0 at 0; sort",
        ),
        (
            lambda: resample(TIMES, VALUES, CLOCK, how="spline"),
            ValueError,
            "how: expected one of ['hold', 'mean', 'nearest', 'linear'], got 'spline'",
        ),
        (
            lambda: resample(TIMES, VALUES, CLOCK[:1], how="mean"),
            ValueError,
            "clock: expected at least two ticks for how='mean', got one",
        ),
        *[
            (
                lambda value=value: resample(TIMES, VALUES, CLOCK, max_age=value),
                ValueError,
                f"max_age: expected a time of at least 0, got {value!r}",
            )
            for value in (-1, math.nan, None, "2")
        ],
        *[
            (
                lambda how=how: resample(TIMES, VALUES, CLOCK, how=how, arrived=TIMES),
                ValueError,
                f"arrived: expected how='hold' beside it, got {how!r}",
            )
            for how in ("mean", "nearest", "linear")
        ],
        (
            lambda: resample(TIMES, VALUES, CLOCK, arrived=TIMES - 0.1),
            ValueError,
            "arrived: expected no reading before its time, got 0.0 for reading 0 of 0.1",
        ),
        (
            lambda: resample(TIMES, VALUES, CLOCK, arrived=NOT),
            ValueError,
            "arrived: expected no reading before its time, got nan for reading 1 of 0.2",
        ),
        (
            lambda: age(TIMES, CLOCK, arrived=TIMES.float()),
            ValueError,
            "arrived: expected torch.float64 of shape (3,) as times, got torch.float32 (3,)",
        ),
        (
            lambda: age(TIMES, CLOCK, arrived=TIMES[:2]),
            ValueError,
            "arrived: expected torch.float64 of shape (3,) as times, got torch.float64 (2,)",
        ),
    ],
)
def test_what_is_no_stream_is_named(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(message)
