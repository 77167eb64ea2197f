"""Streams in, features of one clock out.

    motion, heard = resample(times, values, clock, how="hold", max_age=2.0)   # (T,), (T,) bool

A stream is `times` (N,), ascending, and `values` (N,) or (N, D), one row a reading: irregular, with
gaps, at a rate of its own. A clock is the times (T,) at which all streams are wanted; each tick may
then be a row of a batch, with the mask of a modality. Values where the mask is False are zeros.

Times are float64, or int64 such as whole milliseconds, never float32: that has seven digits, and
counts the seconds of a date in steps of 128. In whole numbers "the reading of this very moment" is
exact; in floats 0.1 + 0.2 comes after 0.3.
"""

import math
from numbers import Real

import torch
from torch import Tensor

from course_utils.checks import check_choice, check_floats, check_tensor

# how a value between two readings is made, and whether it needs readings from after the tick
WAYS = {"hold": False, "mean": False, "nearest": True, "linear": True}
CLOCKS = (torch.float64, torch.int64)


def resample(
    times: Tensor,
    values: Tensor,
    clock: Tensor,
    *,
    how: str = "hold",
    max_age: float = math.inf,
    arrived: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A stream at the ticks of a clock: times (N,), values (N, ...) float and clock (T,) -> (T,
    ...) and mask (T,) bool.

      how      "hold": the last reading up to the tick, the tick included
               "mean": the mean of the readings since the tick before, none of them from before
               it; at the first tick, over a time as long as to the second
               "nearest": the nearest reading, of two equally near the earlier
               "linear": on the straight line between the readings around the tick
      max_age  how far from the tick the nearest reading that was used may lie, in the unit of
               `times`; beyond it, and where there is no reading, the mask is False
      arrived  when each reading came in, (N,), not before its time. With "hold" alone: the latest
               reading among those that were in at the tick, its age counted from its time

    "nearest" and "linear" use readings from after the tick: nobody can have them at that moment,
    and a model that predicts must not. Nothing is made up before the first reading, nor, by
    "linear", after the last.
    Raises ValueError for times that do not ascend, values that are no numbers, another `how`, and
    shapes that do not fit; TypeError for another dtype. Each names the argument and the place.
    """
    check_stream(times, values)
    _check_clock(times, clock)
    check_choice(WAYS, how=how)
    if not isinstance(max_age, Real) or not max_age >= 0:
        raise ValueError(f"max_age: expected a time of at least 0, got {max_age!r}")
    if arrived is not None and how != "hold":
        raise ValueError(
            f"arrived: expected how='hold' beside it, got {how!r}; the others would need readings"
            " that are not in yet"
        )
    if how == "mean" and len(clock) < 2:
        raise ValueError("clock: expected at least two ticks for how='mean', got one")
    if not len(times):
        return values.new_zeros(len(clock), *values.shape[1:]), torch.zeros_like(clock).bool()
    if how == "mean":
        found, there = _means(times, values, clock)
        there = there & (age(times, clock) <= max_age)
    else:
        found, there = _taken(times, values, clock, how, max_age, arrived)
    inside = there.reshape(-1, *[1] * (values.dim() - 1))
    return torch.where(inside, found, 0), there


def age(times: Tensor, clock: Tensor, *, arrived: Tensor | None = None) -> Tensor:
    """How old the last reading is at each tick, (N,) and (T,) -> (T,) float64; infinite before the
    first one.

    With `arrived`, of the readings that were in at the tick, as in `resample`. It is a feature of
    its own: a model that gets it beside the held value knows how far to trust it.
    Raises ValueError or TypeError for times that do not fit together, as `resample` does.
    """
    _check_times(times, "times")
    _check_clock(times, clock)
    last = _last(times, clock, arrived)  # (T,)
    if not len(times):
        return clock.new_full(clock.shape, math.inf, dtype=torch.float64)
    old = (clock - times[last.clamp(min=0)]).double()
    return torch.where(last >= 0, old, math.inf)


def check_stream(times: Tensor, values: Tensor) -> None:
    """Raises ValueError or TypeError for what is no stream: times (N,) that ascend, and finite
    values (N,) or (N, D), as many.
    """
    _check_times(times, "times")
    check_floats(values, "values")
    if values.dim() not in (1, 2) or len(values) != len(times):
        raise ValueError(
            f"values: expected shape ({len(times)},) or ({len(times)}, D), one row for each time,"
            f" got {tuple(values.shape)}"
        )
    broken = ~values.reshape(*values.shape, 1).flatten(1).isfinite().all(1)
    if broken.any():
        i = int(broken.int().argmax())
        raise ValueError(
            f"values: reading {i} of {len(times)} holds NaN or infinity; a reading that failed is"
            " none, leave it out with its time"
        )


# ---- parts ----


def _taken(
    times: Tensor, values: Tensor, clock: Tensor, how: str, max_age: float, arrived: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The ways that take one or two readings, before what is not there is set to zero."""
    last = _last(times, clock, arrived)  # (T,), -1 before the first
    # where the tick is a reading's own time, both neighbours are that reading
    following = torch.searchsorted(times, clock)
    before, after = last.clamp(min=0), following.clamp(max=len(times) - 1)
    since, until = (clock - times[before]).double(), (times[after] - clock).double()
    if how == "hold":
        return values[before], (last >= 0) & (since <= max_age)
    since = torch.where(last >= 0, since, math.inf)
    until = torch.where(following < len(times), until, math.inf)
    near = torch.minimum(since, until)
    if how == "nearest":
        return values[torch.where(until < since, after, before)], near <= max_age
    inside = (since + until).isfinite()  # a reading on both sides
    whole = torch.where(inside & (since + until > 0), since + until, 1)
    share = torch.where(inside, since / whole, 0).to(values)
    share = share.reshape(-1, *[1] * (values.dim() - 1))
    line = values[before] + share * (values[after] - values[before])
    return line, inside & (near <= max_age)


def _last(times: Tensor, clock: Tensor, arrived: Tensor | None) -> Tensor:
    """Which reading is the latest that is known at each tick, (T,) int64; -1 for none."""
    if arrived is None:
        return torch.searchsorted(times, clock, right=True) - 1
    _check_arrived(times, arrived)
    if not len(times):
        return torch.full_like(clock, -1, dtype=torch.int64)
    came, order = arrived.sort()
    latest = order.cummax(0).values  # (N,), the latest of all that came up to then
    known = torch.searchsorted(came, clock, right=True)  # (T,), how many came
    return torch.where(known > 0, latest[(known - 1).clamp(min=0)], -1)


def _means(times: Tensor, values: Tensor, clock: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of the readings since the tick before, and whether there is any."""
    start = clock[0] - (clock[1] - clock[0])
    kept = (times > start) & (times <= clock[-1])
    tick = torch.searchsorted(clock, times[kept])  # (n,)
    sums = values.new_zeros(len(clock), *values.shape[1:]).index_add(0, tick, values[kept])
    count = torch.bincount(tick, minlength=len(clock))  # (T,)
    inside = count.clamp(min=1).reshape(-1, *[1] * (values.dim() - 1))
    return sums / inside, count > 0


def _check_times(times: Tensor, name: str) -> None:
    check_tensor(times, name)
    if times.dim() != 1:
        raise ValueError(f"{name}: expected shape (N,), got {tuple(times.shape)}")
    if times.dtype not in CLOCKS:
        reason = "" if times.dtype != torch.float32 else "; it counts a date in steps of 128 s"
        raise TypeError(f"{name}: expected float64 or int64, got {times.dtype}{reason}")
    if not times.isfinite().all():
        raise ValueError(f"{name}: expected finite times, got NaN or infinity")
    wrong = times[1:] <= times[:-1]
    if wrong.any():
        i = int(wrong.int().argmax())
        here, then = times[i].item(), times[i + 1].item()
        what = "sort them, and their values, by times.argsort()"
        if here == then:
            what = "keep one reading of a moment, or their mean"
        raise ValueError(f"{name}: expected to ascend, got {here!r} before {then!r} at {i}; {what}")


def _check_clock(times: Tensor, clock: Tensor) -> None:
    _check_times(clock, "clock")
    if not len(clock):
        raise ValueError("clock: expected at least one tick, got none")
    if clock.dtype != times.dtype:
        raise TypeError(
            f"clock: expected {times.dtype} as times, in the same unit, got {clock.dtype}"
        )


def _check_arrived(times: Tensor, arrived: Tensor) -> None:
    check_tensor(arrived, "arrived")
    if arrived.shape != times.shape or arrived.dtype != times.dtype:
        raise ValueError(
            f"arrived: expected {times.dtype} of shape {tuple(times.shape)} as times, got"
            f" {arrived.dtype} {tuple(arrived.shape)}"
        )
    early = ~(arrived >= times)
    if early.any():
        i = int(early.int().argmax())
        raise ValueError(
            f"arrived: expected no reading before its time, got {arrived[i].item()!r} for reading"
            f" {i} of {times[i].item()!r}"
        )
