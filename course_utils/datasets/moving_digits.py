"""Short clips of a written digit that moves, with a question that only the order of the frames
answers.

Datasheet. The digits are scikit-learn's 1,797 real scans, split by writer as in `digits`; how they
move is generated from a seed, nothing is shipped or downloaded. The clips are for asking whether a
model uses the order of frames. They say nothing about real video: the background is black, the
camera stands still, one thing is to be seen.

Every clip is made in the order of answer 1, noise and lost frames included. A fair coin gives the
answer, and for answer 0 the frames are turned round, the last one first. So

    a clip turned round is a clip of the other answer, equally probable,

and what does not depend on the order, such as the mean of the frames, is distributed alike under
both answers: no rule that rests on it is right more often than 1/2.

That is not yet to say that a model must see a movement. A digit that has to stay in the frame and
goes right starts on the left: the first frame alone tells most answers. So in "side" and "height"
it leaves the frame at one edge and comes back at the other (`wrap`), from a place that is uniform:
then each single frame, the first one too, is distributed alike as well. In "size" the first frame
always tells, and in "first" it is right in at most 7 of 9 clips, by whether its digit is above 4.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from course_utils.checks import check_that, check_whole
from course_utils.datasets.scans import SPLITS, WRITER_BLOCKS

# each question's answers 0 and 1
QUESTIONS = {
    "side": ("left", "right"),
    "height": ("up", "down"),
    "size": ("shrinks", "grows"),
    "first": ("larger digit first", "smaller digit first"),
}
DIGIT = 12.0  # pixels across a digit, where its size is not the question


@dataclass(frozen=True)
class MovingDigits:
    """The clips of one question, for example `MovingDigits("side").sample(500, seed=1)`.

      question  one of QUESTIONS: "side" (does it move left or right?), "height" (up or down?),
                "size" (does it shrink or grow?), "first" (two digits in the middle, one after the
                other: which comes first?)
      frames    of a clip, from 2
      side      pixels across the square frames, from 16 to 32
      noise     standard deviation of the Gaussian noise on each pixel; paper is 0, ink 1
      dropped   probability of each frame to be lost
      wrap      in "side" and "height": True, what leaves the frame comes back at the other edge,
                and no single frame tells the answer; False, the digit stays whole and starts on
                the side that it leaves

    Raises ValueError for another question or dial.
    """

    question: str = "side"
    frames: int = 8
    side: int = 24
    noise: float = 0.0
    dropped: float = 0.0
    wrap: bool = True

    def __post_init__(self):
        question, noise, dropped = self.question, self.noise, self.dropped
        check_that("question", question in QUESTIONS, f"one of {list(QUESTIONS)}", question)
        check_whole(2, frames=self.frames)
        check_whole(16, 32, side=self.side)
        check_that("noise", 0 <= noise < math.inf, "a standard deviation of at least 0", noise)
        check_that("dropped", 0 <= dropped <= 1, "a probability between 0 and 1", dropped)
        check_that("wrap", isinstance(self.wrap, bool), "True or False", self.wrap)

    @property
    def answers(self) -> tuple[str, str]:
        """What the labels 0 and 1 mean."""
        return QUESTIONS[self.question]

    def sample(self, n: int, seed: int, split: str = "train") -> dict[str, Tensor]:
        """`n` clips of the split's writers:

          video   (n, T, H, W) float32, zeros in a lost frame
          mask    (n, T) bool, False where a frame is lost
          label   (n,) int64, 0 or 1
          digit   (n,) int64, the digit; in "first" the smaller one
          writer  (n,) int64

        With one seed, a smaller sample begins a larger one.
        """
        check_whole(1, n=n)
        check_whole(0, seed=seed)
        check_that("split", split in SPLITS, f"one of {list(SPLITS)}", split)
        # A generator for each purpose, so that one dial does not move what the others draw.
        key = [list(QUESTIONS).index(self.question), list(SPLITS).index(split), seed]
        label_rng, who_rng, where_rng, noise_rng, drop_rng = (
            np.random.default_rng([*key, purpose]) for purpose in range(5)
        )
        label = torch.from_numpy(label_rng.integers(2, size=n))
        scans, digit, writer = self._who(who_rng.random((n, 5)), split)
        video = self._draw(scans, where_rng.random((n, 5)))  # (n, T, H, W)
        video += self.noise * torch.from_numpy(
            noise_rng.standard_normal(video.shape, dtype=np.float32)
        )
        mask = torch.from_numpy(drop_rng.random((n, self.frames)) >= self.dropped)
        video = torch.where(mask[..., None, None], video, 0)
        turned = label == 0
        return {
            "video": torch.where(turned[:, None, None, None], video.flip(1), video),
            "mask": torch.where(turned[:, None], mask.flip(1), mask),
            "label": label,
            "digit": digit,
            "writer": writer,
        }

    def _who(self, chance: np.ndarray, split: str) -> tuple[Tensor, Tensor, Tensor]:
        """Two scans of one writer, of different digits: (n, 2, 8, 8), the first one's digit (n,)
        and the writer (n,), from numbers between 0 and 1, (n, 5).
        """
        images, places = _scans()
        writers, chosen, digits = [], [], []
        for writer, digit, step, *which in chance:
            writer = SPLITS[split][int(writer * len(SPLITS[split]))]
            digit = int(digit * 10)
            pair = [digit, (digit + 1 + int(step * 9)) % 10]
            if self.question == "first":
                pair.sort()
            found = [places[writer, each] for each in pair]
            chosen.append([one[int(u * len(one))] for one, u in zip(found, which)])
            digits.append(pair[0])
            writers.append(writer)
        return images[torch.tensor(chosen)], torch.tensor(digits), torch.tensor(writers)

    def _draw(self, scans: Tensor, chance: np.ndarray) -> Tensor:
        """The frames in the order of answer 1, (n, 2, 8, 8) and (n, 5) -> (n, T, H, W)."""
        n, frames = len(scans), self.frames
        across, down, reach, start, cut = torch.from_numpy(chance).float().T[..., None]  # (n, 1)
        step = torch.linspace(0, 1, frames)  # (T,)
        size = torch.full((n, frames), DIGIT)
        if self.question == "size":
            smallest, largest = 6 + 3 * start, self.side - 4 - 3 * reach
            size = smallest + (largest - smallest) * step
        # how far from the middle the digit can stand without leaving the frame: (n, 1)
        room = (self.side - size.amax(1, keepdim=True)) / 2
        if self.question == "first":  # where they stand is not the question
            across = down = torch.full_like(room, 0.5)
        x, y = ((2 * u - 1) * room + 0 * step for u in (across, down))  # (n, T)
        copies = [(x, y)]
        if self.question in ("side", "height"):
            way = (0.5 + reach) * room * step  # (n, T), at last half to three halves of the room
            if self.wrap:
                path = (start * self.side + way) % self.side - self.side / 2
                # near an edge the rest of the digit is at the other one
                paths = [path, torch.where(path < 0, path + self.side, path - self.side)]
            else:
                paths = [start * (1.5 - reach) * room - room + way]
            copies = [(path, y) if self.question == "side" else (x, path) for path in paths]
        # the frame from which on the second digit is there, (n, 1); else never
        change = 1 + (cut * (frames - 1)).floor() if self.question == "first" else frames
        second = (torch.arange(frames) >= change).expand(n, frames)
        shown = torch.where(second[..., None, None], scans[:, 1:], scans[:, :1])  # (n, T, 8, 8)
        return sum(self._place(shown, size, x, y) for x, y in copies)

    def _place(self, scans: Tensor, size: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """A scan in each frame, `size` pixels across, its middle at x and y from the frame's:
        (n, T, 8, 8) and three times (n, T) -> (n, T, H, W).
        """
        zoom, still = self.side / size, torch.zeros_like(size)
        rows = [zoom, still, -2 * x / size, still, zoom, -2 * y / size]
        grid = affine_grid(
            torch.stack(rows, -1).reshape(-1, 2, 3),
            [size.numel(), 1, self.side, self.side],
            align_corners=False,
        )
        drawn = grid_sample(scans.reshape(-1, 1, 8, 8), grid, align_corners=False)
        return drawn.reshape(*size.shape, self.side, self.side)


@cache
def _scans() -> tuple[Tensor, dict[tuple[int, int], list[int]]]:
    """All scans (1797, 8, 8) float32 from 0 to 1, and by writer and digit which are theirs."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    places: dict[tuple[int, int], list[int]] = {}
    for i, digit in enumerate(bunch.target.tolist()):
        writer = int(np.searchsorted(WRITER_BLOCKS, i, side="right")) - 1
        places.setdefault((writer, digit), []).append(i)
    return torch.from_numpy(bunch.images / 16).float(), places
