"""The room with three sensors: its signals against a sum worked out with `math`, its dials, and an
alarm that neither of two streams tells.
"""

import math

import pytest
import torch

from course_utils.datasets import SmartHome
from course_utils.datasets.smart_home import PERIODS, RATES
from course_utils.sensors import check_stream, resample

HOME = SmartHome(seed=2)
LONG = 4_000.0
# moments that no sensor's clock knows, 1 / 3 s apart
MOMENTS = torch.arange(60_000, dtype=torch.float64) / 3


@pytest.mark.parametrize("name", PERIODS)
def test_a_signal_is_the_sum_of_its_waves(name):
    waves = HOME.waves(name)
    low, high = PERIODS[name]
    for t in (0.0, 0.3, 1 / 3, 1234.7):
        expected = sum(a * math.sin(2 * math.pi * f * t + p) for f, a, p in waves)
        found = HOME.signal(name, torch.tensor([t], dtype=torch.float64)).item()
        assert found == pytest.approx(expected, abs=1e-11)
    assert all(low <= 1 / f <= high for f, _, _ in waves)
    assert sum(a**2 / 2 for _, a, _ in waves) == pytest.approx(1, abs=1e-12)
    signal = HOME.signal(name, MOMENTS)
    assert abs(signal.mean()) < 0.02 and abs(signal.square().mean() - 1) < 0.02
    assert signal.dtype == torch.float64 and signal.shape == MOMENTS.shape


def test_a_seed_is_a_room():
    for name in PERIODS:
        assert (SmartHome(2).waves(name) == HOME.waves(name)).all()
        assert (SmartHome(3).waves(name) != HOME.waves(name)).all()


@pytest.mark.parametrize("seed", range(5))
def test_neither_motion_nor_sound_tells_the_alarm_and_both_do(seed):
    home = SmartHome(seed)
    motion, sound = (home.signal(name, MOMENTS) > 0 for name in ("motion", "sound"))
    alarm = home.alarm(MOMENTS)
    assert alarm.dtype == torch.int64 and torch.equal(alarm.bool(), motion ^ sound)
    for alone in (motion, sound):
        for side in (alone, ~alone):
            assert abs(alarm[side].double().mean() - 0.5) < 0.02


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("rate", [None, 3.3])
def test_a_faultless_sensor_sends_the_signal_at_its_rate(name, rate):
    stream = HOME.stream(name, 100, rate=rate, seed=1)
    check_stream(stream.times, stream.values)
    step = 1 / (rate or RATES[name])
    assert (stream.times.diff() - step).abs().max() < 1e-12
    assert 0 <= stream.times[0] < step and 100 - step <= stream.times[-1] < 100
    assert torch.equal(stream.values, HOME.signal(name, stream.times))
    assert torch.equal(stream.arrived, stream.times)


def test_each_dial_does_its_own():
    whole = HOME.stream("sound", LONG, seed=1)
    n = len(whole.times)
    lossy = HOME.stream("sound", LONG, loss=0.3, seed=1)
    kept = torch.isin(whole.times, lossy.times)
    assert kept.sum() == len(lossy.times)
    assert abs(kept.double().mean() - 0.7) < 4 * math.sqrt(0.21 / n)
    assert torch.equal(lossy.values, whole.values[kept])

    late = HOME.stream("sound", LONG, delay=0.5, seed=1)
    wait = late.arrived - late.times
    assert torch.equal(late.times, whole.times) and torch.equal(late.values, whole.values)
    assert wait.min() >= 0 and abs(wait.mean() - 0.5) < 4 * 0.5 / math.sqrt(n)
    assert (late.arrived.diff() < 0).any()  # some overtake others

    noisy = HOME.stream("sound", LONG, noise=0.3, seed=1)
    error = noisy.values - whole.values
    assert abs(error.std() - 0.3) < 4 * 0.3 / math.sqrt(2 * n)
    assert abs(error.mean()) < 4 * 0.3 / math.sqrt(n)

    shaken = HOME.stream("sound", LONG, jitter=1, seed=1)
    later = (shaken.times - whole.times[: len(shaken.times)]) * RATES["sound"]
    assert (shaken.times.diff() > 0).all() and 0 <= later.min() and later.max() < 1
    assert abs(later.mean() - 0.5) < 4 / math.sqrt(12 * n)

    both = HOME.stream("sound", LONG, loss=0.3, delay=0.5, noise=0.3, seed=1)
    assert torch.equal(both.times, lossy.times)
    assert torch.equal(both.values, noisy.values[kept])
    assert torch.equal(both.arrived, late.arrived[kept])
    other = HOME.stream("sound", LONG, loss=0.3, seed=2)
    assert not torch.isin(other.times, lossy.times).any()


def test_gaps_are_as_long_and_as_many_as_said():
    holed = HOME.stream("motion", 10_000, gaps=3, gap=20, seed=1)
    silence = holed.times.diff() - 0.5
    longest = silence.sort().values
    assert longest[-3:].tolist() == pytest.approx([20] * 3, abs=0.5) and longest[-4] < 1e-6
    assert len(HOME.stream("motion", 10, gaps=1, gap=10).times) == 0
    assert len(HOME.stream("motion", 10, loss=1).times) == 0


@pytest.mark.parametrize("how, reach", [("hold", 1.0), ("nearest", 0.5)])
@pytest.mark.parametrize("name, rate", [("temperature", 0.05), ("motion", 0.7), ("sound", 2.3)])
def test_errors_of_holding_are_those_of_the_formula(how, reach, name, rate):
    """A wave of power p held for u is off by 2 p (1 - cos w u) on the mean; over u from 0 to h that
    is 2 p (1 - sin(w h) / (w h)).
    """
    seconds = 400_000 if name == "temperature" else 40_000
    stream = HOME.stream(name, seconds, rate=rate, seed=3)
    clock = 10 + torch.arange(20_000, dtype=torch.float64) * (seconds - 20) / 20_001
    found, there = resample(stream.times, stream.values, clock, how=how)
    error = (found - HOME.signal(name, clock)).square().mean().item()
    expected = 0.0
    for frequency, amplitude, _ in HOME.waves(name):
        angle = 2 * math.pi * frequency * reach / rate
        expected += amplitude**2 * (1 - math.sin(angle) / angle)
    assert there.all() and error == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: SmartHome(-1), "seed: expected a whole number of at least 0, got -1"),
        (lambda: SmartHome(1.0), "seed: expected a whole number of at least 0, got 1.0"),
        (
            lambda: HOME.signal("light", MOMENTS),
            "name: expected one of ['temperature', 'motion', 'sound'], got 'light'",
        ),
        (
            lambda: HOME.alarm(MOMENTS.float()),
            "times: expected float64 of shape (N,), in seconds, got torch.float32 (60000,)",
        ),
        (
            lambda: HOME.stream("light", 10),
            "name: expected one of ['temperature', 'motion', 'sound'], got 'light'",
        ),
        *[
            (lambda a=argument, v=value: HOME.stream("sound", **{"seconds": 10} | {a: v}), message)
            for argument, value, message in [
                ("seconds", 0, "seconds: expected a number above 0, got 0"),
                ("seconds", math.inf, "seconds: expected a number above 0, got inf"),
                ("rate", -1.0, "rate: expected a number above 0, got -1.0"),
                ("rate", "8", "rate: expected a number above 0, got '8'"),
                ("jitter", 1.5, "jitter: expected a number from 0 to 1, got 1.5"),
                ("loss", math.nan, "loss: expected a number from 0 to 1, got nan"),
                ("gaps", 1.5, "gaps: expected a whole number of at least 0, got 1.5"),
                ("gap", -1, "gap: expected a number of at least 0, got -1"),
                ("delay", -0.1, "delay: expected a number of at least 0, got -0.1"),
                ("noise", math.inf, "noise: expected a number of at least 0, got inf"),
                ("seed", None, "seed: expected a whole number of at least 0, got None"),
            ]
        ],
    ],
)
def test_what_is_no_room_or_dial_is_named(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == message
