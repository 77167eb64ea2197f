"""Three sensors of a room, each with a clock of its own, and the signal behind each, known at every
moment.

Datasheet. Everything is generated from seeds; nothing is shipped, downloaded or about a person. The
world is for measuring what a way of bringing streams to one clock makes of them. It says nothing
about real rooms: a signal is a sum of three sines with mean 0 and power 1, in a band of its own,
and a sensor's faults are independent of what it measures.

The alarm at a moment is on where motion and sound disagree: one is above 0, the other is not. Each
of the two alone says nothing about it; both together say all, but of the same moment only.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_utils.checks import check_tensor, check_that, check_whole, finite

# the shortest and longest period of a signal in seconds, and readings a second
PERIODS = {"temperature": (40.0, 160.0), "motion": (4.0, 12.0), "sound": (2.0, 6.0)}
RATES = {"temperature": 0.5, "motion": 2.0, "sound": 8.0}
ANSWERS = ("quiet", "alarm")
WAVES = 3


class Stream(NamedTuple):
    """What one sensor sent, in the order of its times."""

    times: Tensor  # (N,) float64, seconds
    values: Tensor  # (N,) float64
    arrived: Tensor  # (N,) float64, when each reading came in


@dataclass(frozen=True)
class SmartHome:
    """A room: `home.signal(name, times)` is the truth, `home.stream(name, ...)` what comes of it,
    `home.alarm(times)` the label. The sensors are "temperature", "motion" and "sound".

      seed  fixes the three waves of each signal

    Raises ValueError for a seed that is no whole number from 0 and, in the methods, for another
    name, dial or times that are no float64 (N,).
    """

    seed: int = 0

    def __post_init__(self):
        check_whole(0, seed=self.seed)

    @property
    def names(self) -> tuple[str, ...]:
        """The sensors."""
        return tuple(PERIODS)

    def waves(self, name: str) -> np.ndarray:
        """Frequency in Hz, amplitude and phase of each wave of a signal, (3, 3) float64, a wave a
        row. Half the sum of squared amplitudes, the power of the signal, is 1.
        """
        check_that("name", name in PERIODS, f"one of {list(PERIODS)}", name)
        rng = np.random.default_rng([self.seed, list(PERIODS).index(name)])
        low, high = (1 / period for period in reversed(PERIODS[name]))
        # one wave in each third of the band, counted in octaves
        place = (np.arange(WAVES) + rng.random(WAVES)) / WAVES
        frequency = low * (high / low) ** place
        amplitude = rng.uniform(0.5, 1, WAVES)
        amplitude *= math.sqrt(2 / (amplitude**2).sum())
        return np.stack([frequency, amplitude, rng.uniform(0, 2 * math.pi, WAVES)], 1)

    def signal(self, name: str, times: Tensor) -> Tensor:
        """The signal behind a sensor, sum_k a_k sin(2 pi f_k t + phase_k), at `times` in seconds:
        (N,) float64 -> (N,) float64.
        """
        frequency, amplitude, phase = torch.from_numpy(self.waves(name)).T
        check_tensor(times, "times")
        if times.dim() != 1 or times.dtype != torch.float64:
            got = f"{times.dtype} {tuple(times.shape)}"
            raise ValueError(f"times: expected float64 of shape (N,), in seconds, got {got}")
        frequency, amplitude, phase = (x.to(times.device) for x in (frequency, amplitude, phase))
        angle = 2 * math.pi * times[:, None] * frequency + phase
        return (amplitude * angle.sin()).sum(1)  # (N, 3) -> (N,)

    def alarm(self, times: Tensor) -> Tensor:
        """1 where motion and sound disagree at `times`, else 0: (N,) float64 -> (N,) int64; what it
        means: `ANSWERS`.
        """
        motion, sound = (self.signal(name, times) > 0 for name in ("motion", "sound"))
        return (motion != sound).long()

    def stream(
        self,
        name: str,
        seconds: float,
        *,
        rate: float | None = None,
        jitter: float = 0.0,
        loss: float = 0.0,
        gaps: int = 0,
        gap: float = 10.0,
        delay: float = 0.0,
        noise: float = 0.0,
        seed: int = 0,
    ) -> Stream:
        """What a sensor sends from time 0 on for so many seconds.

          rate    readings a second; None is the sensor's own, of RATES
          jitter  from 0 to 1, by how much of its step a reading may come later
          loss    probability of each reading to be lost
          gaps    how often the sensor fails for `gap` seconds, in which all is lost
          delay   mean seconds from the time of a reading to its arrival, exponential: some overtake
                  others
          noise   standard deviation of the Gaussian noise on each reading
          seed    fixes all this; one dial does not move what the others draw

        Raises ValueError for another name or dial.
        """
        check_that("name", name in PERIODS, f"one of {list(PERIODS)}", name)
        rate = RATES[name] if rate is None else rate
        for dial, value in {"seconds": seconds, "rate": rate}.items():
            check_that(dial, finite(value) and value > 0, "a number above 0", value)
        for dial, value in {"gap": gap, "delay": delay, "noise": noise}.items():
            check_that(dial, finite(value) and value >= 0, "a number of at least 0", value)
        for dial, value in {"jitter": jitter, "loss": loss}.items():
            check_that(dial, finite(value) and 0 <= value <= 1, "a number from 0 to 1", value)
        check_whole(0, gaps=gaps, seed=seed)
        start_rng, jitter_rng, loss_rng, gap_rng, delay_rng, noise_rng = (
            np.random.default_rng([self.seed, seed, list(PERIODS).index(name), purpose])
            for purpose in range(6)
        )
        # a sensor begins when it likes: the first reading falls within one step
        place = np.arange(math.ceil(seconds * rate)) + start_rng.random()
        times = (place + jitter * jitter_rng.random(len(place))) / rate
        kept = (loss_rng.random(len(times)) >= loss) & (times < seconds)
        for begin in gap_rng.random(gaps) * max(seconds - gap, 0):
            kept &= ~((begin <= times) & (times < begin + gap))
        arrived = times + delay * delay_rng.exponential(size=len(times))
        error = noise * noise_rng.standard_normal(len(times))
        times, arrived, error = (torch.from_numpy(part[kept]) for part in (times, arrived, error))
        return Stream(times, self.signal(name, times) + error, arrived)
