"""Pictures of a few coloured shapes, each with a caption, questions and answers, and the true
place of every object.

Everything is drawn when it is asked for, from a seed: nothing is shipped, downloaded or about a
person. For lessons on attention, captions, question answering, retrieval and dialogue. See
data/scenes/README.md for the datasheet.
"""

import operator
from dataclasses import dataclass, field
from functools import cache
from itertools import permutations, product
from numbers import Integral
from random import Random
from typing import Callable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from course_utils.checks import check_that, check_whole, finite
from course_utils.datasets.scene_words import (
    ATTRIBUTES,
    COLOURS,
    COMPARISONS,
    KINDS,
    NAMINGS,
    NUMBERS,
    RELATIONS,
    SHAPES,
    SIZES,
    Description,
    Question,
    caption,
    pick,
    shuffle,
    yes_or_no,
)
from course_utils.datasets.splits import check_index

SIDE = 64  # pixels
# only in "novel"
HELD_OUT = (("red", "triangle"), ("yellow", "square"), ("green", "circle"), ("blue", "cross"))
SPLITS = ("train", "validation", "test", "novel")
DARK, SPECK = 40, 130  # grey levels of the background and of clutter
BACKGROUND_RANGE = 70  # grey levels by which the background varies at most
GAP = 2  # pixels between objects of one colour, which would else melt into one

# Bilinear weights, in sixteenths, from 5 points at 0, 16, ..., 64 to the pixels. Whole numbers are
# exact everywhere.
WEIGHTS = np.maximum(0, 16 - np.abs(np.arange(SIDE)[:, None] - 16 * np.arange(5)))  # (64, 5)


@dataclass(frozen=True)
class Thing:
    """An object of a scene: what it is and where.

    size, colour, shape  words, of ATTRIBUTES
    box                  (left, top, right, bottom) in pixels, right and bottom exclusive; of the
                         whole object, also
                         of what another hides
    """

    size: str
    colour: str
    shape: str
    box: tuple[int, int, int, int]
    # (64, 64): which object each pixel shows, 0 for none
    _owner: np.ndarray = field(repr=False, compare=False)
    _number: int = field(repr=False, compare=False)

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) in pixels, of the box."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    def mask(self) -> Tensor:
        """(64, 64) bool: the pixels where the object is seen, without what another hides."""
        return torch.from_numpy(self._owner == self._number)


class Scenes(Dataset):
    """Scenes of one to four coloured shapes, one dict a scene.

    An item is {"image": (3, 64, 64) float32 between 0 and 1, "caption": str, "question": str,
    "answer": str, one word, "kind": str, one of KINDS, in turn, "objects": list of `Thing`, the
    one furthest behind first}.

    >>> item = Scenes()[0]
    >>> item["caption"], item["question"], item["answer"]
    ('right of a small cross there is a small triangle', 'is there a triangle?', 'yes')

    `split` is one of SPLITS, and no scene of one split is in another. The combinations of colour
    and shape in HELD_OUT are seen and asked about in "novel" only: every scene there has one,
    and they are more than half of its objects. `size` is the number of scenes. Dials:

      objects      (fewest, most) objects in a scene, from 1 to 4; with (1, 1), "relation" is not
                   asked
      overlap      from 0 to .75, the largest share of an object that the others may hide, all
                   together
      background   from 0, plain dark grey, to 1, smooth clouds of dim colours; the objects stay
                   brighter
      clutter      from 0 to 60, the number of grey specks of 2 or 3 pixels, all behind the objects

    A scene depends on `seed`, split, its index, `objects` and `overlap` alone: the other dials
    leave objects and words as they are. Random numbers are Python's `Random(...).random()`, the
    same on any machine and version, and pixels are whole numbers out of 255.

    The course's `collate` knows no lists of objects, so scenes bring one of their own, which keeps
    lists: `DataLoader(scenes, 32, collate_fn=Scenes.collate)`. Raises ValueError for a bad
    argument.
    """

    def __init__(
        self,
        split: str = "train",
        *,
        size: int = 2_000,
        seed: int = 0,
        objects: tuple[int, int] = (1, 4),
        overlap: float = 0.25,
        background: float = 0.0,
        clutter: int = 0,
    ):
        check_that("split", split in SPLITS, f"one of {list(SPLITS)}", split)
        check_whole(1, size=size)
        check_whole(0, seed=seed)
        two = (
            isinstance(objects, (tuple, list))
            and len(objects) == 2
            and all(isinstance(n, Integral) for n in objects)
        )
        check_that(
            "objects",
            two and 1 <= objects[0] <= objects[1] <= 4,
            "(fewest, most) from 1 to 4",
            objects,
        )
        check_that(
            "overlap", finite(overlap) and 0 <= overlap <= 0.75, "a share from 0 to .75", overlap
        )
        check_that(
            "background",
            finite(background) and 0 <= background <= 1,
            "a degree from 0 to 1",
            background,
        )
        check_whole(0, 60, clutter=clutter)
        self.split, self.size, self.seed, self.objects = (
            split,
            int(size),
            int(seed),
            (int(objects[0]), int(objects[1])),
        )
        self.overlap, self.background, self.clutter = overlap, background, int(clutter)
        self._kinds = KINDS if objects[1] > 1 else KINDS[:-1]
        self._pairs = [pair for pair in product(COLOURS, SHAPES) if pair not in HELD_OUT]
        if split == "novel":
            self._pairs += 5 * list(HELD_OUT)  # half of what is drawn from here, not 4 in 24

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict:
        index = self._place(index)
        things, question, answer, rng = self._draw(index)
        return {
            "image": self._paint(things, index),
            "caption": caption(things, rng),
            "question": question.text(),
            "answer": answer,
            "kind": question.kind,
            "objects": things,
        }

    def questions(self, index: int) -> list[tuple[str, str, str]]:
        """All questions that make sense for a scene, as (question, answer, kind), in the order
        of KINDS.

        "The circle" needs exactly one, and "left of" centres at least 6 pixels apart. Relations
        are asked of things named by colour and shape. Outside "novel" no question names a
        held-out combination.
        """
        things, _, _, _ = self._draw(self._place(index))
        every = [
            Description(*words)
            for words in product(*((None, *values) for values in ATTRIBUTES.values()))
        ]
        every = [d for d in every if self._fitting(d)]
        asked = [Question("exists", d) for d in every if any(d)] + [
            Question("count", d) for d in every
        ]
        asked += [
            Question(kind, d)
            for kind in ATTRIBUTES
            for d in every
            if any(d) and getattr(d, kind) is None
        ]
        asked += [
            Question("compare", Description(**{name: a}), Description(**{name: b}), word)
            for word in COMPARISONS
            for name, values in ATTRIBUTES.items()
            for a, b in permutations(values, 2)
        ]
        named = dict.fromkeys(Description(None, thing.colour, thing.shape) for thing in things)
        asked += [
            Question("relation", a, b, word)
            for a, b in permutations(named, 2)
            for word in RELATIONS
        ]
        answered = [(question.text(), question.answer(things), question.kind) for question in asked]
        return sorted(
            (row for row in answered if row[1] is not None), key=lambda row: KINDS.index(row[2])
        )

    @staticmethod
    def collate(samples: list[dict]) -> dict:
        """A batch of B samples: "image" (B, 3, 64, 64), and of all else a list of length B.

        Raises ValueError for none.
        """
        check_that("samples", len(samples) > 0, "at least one", samples)
        batch = {name: [sample[name] for sample in samples] for name in samples[0]}
        return {**batch, "image": torch.stack(batch["image"])}

    def _place(self, index) -> int:
        """An index as a plain whole number, counted from the start."""
        place = operator.index(index)
        check_index(place, self.size, "scenes", self.split)
        return place % self.size

    def _draw(self, index: int) -> tuple[list[Thing], Question, str, Callable[[], float]]:
        """A scene's things, its question and answer, and the random numbers that the caption
        goes on with.

        Question and answer come first, and the scene is drawn until it has that answer. So all
        answers to a question are equally frequent, and the question alone does not give them
        away.
        """
        rng = Random(f"scenes {self.seed} {self.split} {index}").random
        while True:
            question, answer, needed, extra = self._plan(self._kinds[index % len(self._kinds)], rng)
            numbers = range(max(self.objects[0], len(needed)), self.objects[1] + 1)
            number = pick(numbers, rng)
            for attempt in range(200):
                if attempt >= 100:  # not sooner, or the number of objects would tell yes from no
                    number = pick(numbers, rng)
                wanted = (needed + extra + number * [Description()])[:number]
                # Shuffled, because what is asked about must not always lie behind.
                kinds = [self._complete(description, rng) for description in shuffle(wanted, rng)]
                if self.split == "novel" and not any(kind[1:] in HELD_OUT for kind in kinds):
                    continue
                if question.kind == "relation" or question.answer(kinds) == answer:
                    things = _lay_out(kinds, SPLITS.index(self.split), self.overlap, rng)
                    if question.answer(things) == answer:
                        return things, question, answer, rng
            # Few can never come true, such as "yes, a white square" in "novel" with room for one
            # object.

    def _plan(self, kind: str, rng) -> tuple[Question, str, list[Description], list[Description]]:
        """A question, the answer wanted, things that the scene needs for it, and things for
        where there is room.
        """
        yes, most = rng() < 0.5, self.objects[1]
        if kind == "exists":
            naming = pick(NAMINGS, rng)
            asked = self._describe(naming, rng)
            # for a red circle, another circle or red thing
            like = asked._replace(**{pick(naming, rng): None})
            return Question(kind, asked), yes_or_no(yes), yes * [asked], [like]
        if kind == "count":
            asked = self._describe(pick(((), *NAMINGS), rng), rng)
            number = pick(range(0 if any(asked) else self.objects[0], most + 1), rng)
            return Question(kind, asked), NUMBERS[number], number * [asked], []
        if kind in ATTRIBUTES:
            asked = self._describe(
                pick([naming for naming in NAMINGS if kind not in naming], rng), rng
            )
            possible = (
                SIZES
                if kind == "size"
                else [pair[kind == "shape"] for pair in self._fitting(asked)]
            )
            answer = pick(list(dict.fromkeys(possible)), rng)
            return Question(kind, asked), answer, [asked._replace(**{kind: answer})], []
        if kind == "compare":
            name = pick(list(ATTRIBUTES), rng)
            a, b = (
                Description(**{name: value})
                for value in pick(list(permutations(ATTRIBUTES[name], 2)), rng)
            )
            if most == 1 or rng() < 0.5:
                return Question(kind, a, b, "more"), yes_or_no(yes), [a if yes else b], []
            return (
                Question(kind, a, b, "as many"),
                yes_or_no(yes),
                [a, b if yes else Description()],
                [],
            )
        a = b = self._describe(("colour", "shape"), rng)
        while a == b:
            b = self._describe(("colour", "shape"), rng)
        return Question(kind, a, b, pick(list(RELATIONS), rng)), yes_or_no(yes), [a, b], []

    def _describe(self, naming: tuple[str, ...], rng) -> Description:
        """A random description that names these attributes, of a combination that the split may
        have.
        """
        values = self._complete(Description(), rng)
        return Description(
            *(value if name in naming else None for name, value in zip(ATTRIBUTES, values))
        )

    def _complete(self, wanted: Description, rng) -> Description:
        """A thing that `wanted` describes, with what that leaves open drawn at random."""
        return Description(
            wanted.size or pick(ATTRIBUTES["size"], rng), *pick(self._fitting(wanted), rng)
        )

    def _fitting(self, wanted: Description) -> list[tuple[str, str]]:
        """The (colour, shape) that the split may have and that `wanted` describes."""
        return [
            (colour, shape)
            for colour, shape in self._pairs
            if wanted.colour in (None, colour) and wanted.shape in (None, shape)
        ]

    def _paint(self, things: list[Thing], index: int) -> Tensor:
        """The picture, (3, 64, 64). Each dial has random numbers of its own, so that one does
        not shift the other's.
        """
        pixels = np.full((3, SIDE, SIDE), DARK, np.uint8)
        if self.background:
            rng = Random(f"background {self.seed} {self.split} {index}").random
            strength = int(self.background * BACKGROUND_RANGE)
            levels = np.array([int(rng() * (strength + 1)) for _ in range(75)]).reshape(3, 5, 5)
            # (64, 5) @ (3, 5, 5) @ (5, 64)
            pixels += (WEIGHTS @ levels @ WEIGHTS.T >> 8).astype(np.uint8)
        if self.clutter:
            rng = Random(f"clutter {self.seed} {self.split} {index}").random
            for _ in range(self.clutter):
                width, x, y = 2 + int(rng() * 2), int(rng() * (SIDE - 2)), int(rng() * (SIDE - 2))
                pixels[:, y : y + width, x : x + width] = SPECK
        for thing in things:
            left, top, right, bottom = thing.box
            seen, rgb = (
                thing._owner[top:bottom, left:right] == thing._number,
                np.array(COLOURS[thing.colour], np.uint8),
            )
            np.copyto(pixels[:, top:bottom, left:right], rgb[:, None, None], where=seen)
        return torch.from_numpy(pixels / np.float32(255))


@cache
def _stamp(shape: str, side: int) -> np.ndarray:
    """The pixels of a shape, (side, side) bool, which touches all four sides of its box."""
    x = 2 * np.arange(side) - (side - 1)  # from the centre, in half pixels
    y = x[:, None]
    if shape == "circle":
        return x**2 + y**2 <= side**2
    if shape == "triangle":
        return np.abs(x) <= np.maximum(1, np.arange(side))[:, None]
    if shape == "cross":
        return (3 * np.abs(x) < side) | (3 * np.abs(y) < side)
    return np.ones((side, side), bool)


def _area(shape: str, side: int) -> int:
    return int(_stamp(shape, side).sum())


class _Canvas:
    """Things put down one after the other, and which of them each pixel shows."""

    def __init__(self, overlap: float):
        self.overlap, self.owner = overlap, np.zeros((SIDE, SIDE), np.uint8)
        # seen: pixels of each that nothing hides
        self.kinds, self.boxes, self.areas, self.seen = [], [], [], []

    def put(self, kind: Description, left: int, top: int, side: int) -> bool:
        """Put a thing here, unless it would touch one of its colour or hide too much of others;
        says whether it did.
        """
        right, bottom = left + side, top + side
        near = [
            other.colour
            for other, (l, t, r, b) in zip(self.kinds, self.boxes)
            if left < r + GAP and l < right + GAP and top < b + GAP and t < bottom + GAP
        ]
        if kind.colour in near:
            return False
        window, stamp = self.owner[top:bottom, left:right], _stamp(kind.shape, side)
        if near:
            newly_hidden = np.bincount(window[stamp], minlength=len(self.seen) + 1)[1:].tolist()
            seen = [before - hidden for before, hidden in zip(self.seen, newly_hidden)]
            if any(area - pixels > self.overlap * area for pixels, area in zip(seen, self.areas)):
                return False
            self.seen = seen
        self.kinds.append(kind)
        self.boxes.append((left, top, right, bottom))
        self.areas.append(_area(kind.shape, side))
        self.seen.append(self.areas[-1])
        window[stamp] = len(self.boxes)
        return True


def _lay_out(kinds: list[Description], code: int, overlap: float, rng) -> list[Thing]:
    """The things at random places inside the picture, later ones in front of earlier ones.

    No more than `overlap` of one is hidden, and those of one colour do not touch. The left and
    top edges of all things add up to `code` modulo 4. The code is the split's, so that no scene
    can be in two splits.
    """
    sides, half = [pick(SIZES[kind.size], rng) for kind in kinds], SIDE // 2
    anywhere = [(0, 0, SIDE)] * 4  # left, top and width of the room for each
    quarters = [
        (1 + half * (k % 2), 1 + half * (k // 2), half - GAP) for k in shuffle(range(4), rng)
    ]
    # in a quarter of its own there is always a place
    for rooms, tries in ((anywhere, 100), (quarters, 10_000)):
        canvas = _Canvas(overlap)
        for kind, side, (x, y, room) in zip(kinds, sides, rooms):
            last, rest = (
                len(canvas.boxes) == len(kinds) - 1,
                code - sum(left + top for left, top, _, _ in canvas.boxes),
            )
            for _ in range(tries):
                left, top = x + int(rng() * (room - side + 1)), y + int(rng() * (room - side + 1))
                if not (last and (left + top - rest) % 4) and canvas.put(kind, left, top, side):
                    break
        if len(canvas.boxes) == len(kinds):
            break
    return [
        Thing(*kind, box, canvas.owner, k)
        for k, (kind, box) in enumerate(zip(kinds, canvas.boxes), start=1)
    ]
