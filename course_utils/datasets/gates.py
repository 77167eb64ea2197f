"""Worlds for theory: vectors whose information about the label is set by hand, so that the best
accuracy is known.

Datasheet. Everything is generated from seeds; nothing is shipped, downloaded or about a person.
The worlds are for asking whether a model *can* use a kind of information and how far it stays
below the best possible rule. They say nothing about real text, images or sound: the modalities
bear the course's names, but each is a plain vector.

`Gates`: each modality hides one bit, and a gate makes the label of the bits. Without noise and
flips the information about the label divides as follows, in bits (measure of "Quantifying unique
information", arXiv:1311.2852):

    gate        the label is 1 when              redundant  unique to text  unique to image
                synergistic
    redundant   the bit that both share is 1         1            0                0              0
    unique      the bit of text is 1                 0            1                0              0
    xor         one bit is 1, the other is 0         0            0                0              1
    and, or     both are 1, at least one is 1      .311           0                0             .5
    parity      an odd number of three bits is 1: no two of them tell anything

`Gates.joint` gives the whole distribution, with noise and flips, to `pid` in `theory.py`.

`Cues` (in `cues`): single numbers with Gaussian noise, which may be correlated between them.

A ceiling is the accuracy of the Bayes rule, which answers the likelier label given all that it
sees: no model's expected accuracy is higher. Where modalities are missing, it is the Bayes rule
of those that are present.
"""

import math
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import product

import numpy as np
import torch
from torch import Tensor

from course_utils.checks import check_that, check_whole, finite
from course_utils.datasets.names import MODALITIES

PAIRS, TRIPLES = (list(product((-1, 1), repeat=modalities)) for modalities in (2, 3))
# the equally likely rows of each gate: the sign that each modality carries (0 for none), and the
# label
GATES = {
    "redundant": {(-1, -1): 0, (1, 1): 1},
    "unique": {(-1, 0): 0, (1, 0): 1},
    "xor": {signs: signs.count(1) % 2 for signs in PAIRS},
    "and": {signs: int(min(signs) == 1) for signs in PAIRS},
    "or": {signs: int(max(signs) == 1) for signs in PAIRS},
    "parity": {signs: signs.count(1) % 2 for signs in TRIPLES},
}
# what can represent a gate, learns it
LARGE = {"rows": 2_000, "dim": 8, "noise": 0.35, "flips": 0.1}
# few and noisy: flexible models pay for it
SMALL = {"rows": 150, "dim": 16, "noise": 1.0, "flips": 0.1}


@dataclass(frozen=True)
class Gates:
    """The world of one gate, for example `Gates("xor", **SMALL)`.

    A modality with sign s is the vector x = s u + noise * (standard normal), u being a direction
    of length 1 that belongs to the world. In "unique" the image is noise alone. At last the
    label is flipped with probability `flips`.

      gate    one of GATES
      rows    the size of the setting's training sample; `sample` takes any size
      dim     width of each vector
      noise   standard deviation of the noise in each direction
      flips   share of flipped labels, from 0 to .5
      seed    fixes the directions, which all samples of this world share

    Raises ValueError for another gate, a dial outside its range and, in `sample` and `ceiling`,
    numbers and names that do not fit.
    """

    gate: str
    rows: int = LARGE["rows"]
    dim: int = LARGE["dim"]
    noise: float = LARGE["noise"]
    flips: float = LARGE["flips"]
    seed: int = 0

    def __post_init__(self):
        check_that("gate", self.gate in list(GATES), f"one of {list(GATES)}", self.gate)
        check_whole(1, rows=self.rows, dim=self.dim)
        check_whole(0, seed=self.seed)
        check_that(
            "noise",
            finite(self.noise) and self.noise >= 0,
            "a standard deviation of at least 0",
            self.noise,
        )
        check_that(
            "flips",
            finite(self.flips) and 0 <= self.flips <= 0.5,
            "a probability between 0 and .5",
            self.flips,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The world's modalities: text, image and, for "parity", audio."""
        return MODALITIES[: len(next(iter(GATES[self.gate])))]

    @cached_property
    def directions(self) -> Tensor:
        """The direction u of each modality, (M, dim) float64, rows of length 1."""
        drawn = np.random.default_rng([0, self.seed]).standard_normal((len(self.names), self.dim))
        return torch.from_numpy(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))

    def sample(self, n: int, seed: int) -> dict[str, Tensor]:
        """`n` samples: each modality (n, dim) float32, and "label" (n,) int64.

        Training, validation and test take different seeds. With one seed, a smaller sample
        begins a larger one.
        """
        check_whole(1, n=n)
        check_whole(0, seed=seed)
        # A generator for each purpose, so that one dial does not move what the others draw.
        row_rng, flip_rng, noise_rng = (
            np.random.default_rng([purpose, self.seed, seed]) for purpose in (1, 2, 3)
        )
        signs, labels = (
            torch.tensor(list(part))
            for part in (GATES[self.gate].keys(), GATES[self.gate].values())
        )
        row = torch.from_numpy(row_rng.integers(len(labels), size=n))
        noise = torch.from_numpy(noise_rng.standard_normal((n, *self.directions.shape)))
        # (n, M, 1) * (M, dim) -> (n, M, dim)
        vectors = signs[row][:, :, None] * self.directions + self.noise * noise
        flipped = torch.from_numpy(flip_rng.random(n) < self.flips)
        return {
            **{name: vectors[:, m].float() for m, name in enumerate(self.names)},
            "label": labels[row] ^ flipped,
        }

    def ceiling(self, present: tuple[str, ...] | None = None) -> float:
        """The accuracy of the Bayes rule that sees the modalities in `present`; None means all
        of them, () none.

        Of a vector only t = u . x = s + noise * (standard normal) matters. Its sign misreads the
        bit with probability e = Phi(-1 / noise). With k modalities present, the label before the
        flip is found with probability A:

          redundant    Phi(sqrt(k) / noise), by the sign of the sum of the t
          unique       Phi(1 / noise) with text, 1/2 without
          xor, parity  (1 + (1 - 2 e)^k) / 2 with all, by the product of the signs; 1/2 with any one
                       missing
          and, or      with both, an integral over one t (trapezoid rule, error below 1e-8); 3/4
                       with one or none

        A flip turns right into wrong and back: the ceiling is flips + (1 - 2 flips) A. At noise
        0, e is 0.
        """
        present = chosen(self.names, present)
        sharpness = 1 / self.noise if self.noise else math.inf
        complete = present == self.names
        if self.gate == "redundant":
            found = phi(math.sqrt(len(present)) * sharpness) if present else 0.5
        elif self.gate == "unique":
            found = phi(sharpness) if "text" in present else 0.5
        elif self.gate in ("xor", "parity"):
            found = (1 + (2 * phi(sharpness) - 1) ** len(present)) / 2 if complete else 0.5
        else:
            # "or" is "and" with bits and label turned round
            found = _find_and(self.noise) if complete else 0.75
        return self.flips + (1 - 2 * self.flips) * found

    def joint(self, cuts: tuple[float, ...] = (0.0,)) -> np.ndarray:
        """The exact distribution of label and modalities, (K + 1, ..., K + 1, 2) float64: an axis
        for each of `names`, the label's last, entries that sum to 1.

        Of a vector only t = u . x = s + noise * (standard normal) matters. Here it is known as the
        bin into which it falls, K ascending `cuts` being the bounds between the bins, and each the
        beginning of its bin. One cut at 0 is the sign, which misreads the bit with probability
        Phi(-1 / noise) and at noise 0 is the bit; many cuts come near to t itself.

        >>> Gates("and", noise=0, flips=0).joint()[1, 1].tolist()
        [0.0, 0.25]

        Raises ValueError for cuts that are no ascending finite numbers.
        """
        good = isinstance(cuts, (tuple, list)) and len(cuts) and all(map(finite, cuts))
        good = good and all(a < b for a, b in zip(cuts, cuts[1:]))
        check_that("cuts", good, "ascending finite numbers, at least one", cuts)
        rows = GATES[self.gate]
        table = np.zeros((len(cuts) + 1,) * len(self.names) + (2,))
        for signs, label in rows.items():
            bins = [_bin_probs(sign, self.noise, cuts) for sign in signs]
            # the noise of one modality tells nothing about that of another
            together = reduce(np.multiply.outer, bins) / len(rows)
            table[..., label] += (1 - self.flips) * together
            table[..., 1 - label] += self.flips * together
        return table


def phi(x: float) -> float:
    """The standard normal distribution function."""
    return math.erfc(-x / math.sqrt(2)) / 2


def _bin_probs(sign: int, noise: float, cuts) -> np.ndarray:
    """How probable it is that sign + noise * (standard normal) falls into each bin, (K + 1,)."""
    if noise:
        below = [phi((cut - sign) / noise) for cut in cuts]
    else:
        below = [float(sign < cut) for cut in cuts]
    return np.diff([0.0, *below, 1.0])


def _find_and(noise: float) -> float:
    """How often the Bayes rule finds the AND of two bits, of which it sees t = s + noise *
    (standard normal), s = -1 or 1.

    P(s = 1 | t) = 1 / (1 + exp(-2 t / noise^2)), so "both" is the likelier answer where t1 > 0
    and t2 > c(t1) = -noise^2 / 2 log tanh(t1 / noise^2). Always answering 0 finds 3/4. To this
    comes, over that region, the integral of 2 p(t1, t2, both) - p(t1, t2): by Phi over t2, and
    numerically over z = (t1 - 1) / noise.
    """
    if not noise:
        return 1.0
    # without t1 = 0, where c is infinite
    z = torch.linspace(max(-9.0, -1 / noise), 9.0, 20_001, dtype=torch.float64)[1:]
    c = -noise * noise / 2 * torch.log(torch.tanh((1 + noise * z) / (noise * noise)))
    # P(t2 > c | s2)
    tail1, tail0 = (torch.special.ndtr((s - c) / noise) for s in (1, -1))
    # p(z | s1)
    density1, density0 = (
        torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) for x in (z, z + 2 / noise)
    )
    return (
        0.75
        + torch.trapezoid(
            density1 * tail1 / 2 - (density1 + density0) * (tail1 + tail0) / 4, z
        ).item()
    )


def chosen(names: tuple[str, ...], present) -> tuple[str, ...]:
    """The names in `present`, in the order of `names`; None means all. Raises ValueError for other
    names.
    """
    if present is None:
        return names
    good = isinstance(present, (tuple, list, set)) and all(name in names for name in present)
    check_that("present", good, f"a tuple of names among {names}", present)
    return tuple(name for name in names if name in present)
