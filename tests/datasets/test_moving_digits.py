"""Clips of moving digits: whose scans they are, which way they go, and that order alone answers."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from course_utils.datasets import MovingDigits, moving_digits
from course_utils.datasets.moving_digits import QUESTIONS

# From the list `writer_boundaries` of the scikit-learn MOOC, and not from our table.
BOUNDS = [0, 130, 256, 386, 516, 646, 776, 915, 1029, 1157, 1287, 1415, 1545, 1667, 1797]
WRITERS = {"train": range(0, 10), "validation": range(10, 12), "test": range(12, 14)}
TARGET = load_digits().target
REAL_RNG = np.random.default_rng


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def marked(monkeypatch):
    """Instead of the scans squares, as light as their number: 1 / 1797 to 1."""
    _, places = moving_digits._scans()
    squares = ((torch.arange(1797) + 1) / 1797)[:, None, None].expand(1797, 8, 8)
    monkeypatch.setattr(moving_digits, "_scans", lambda: (squares, places))


def number(frames):
    """Which scan is to be seen, (..., H, W) -> (...)."""
    return (frames.amax((-2, -1)) * 1797).round().long() - 1


# ---- one answer is the other turned round ----


@pytest.mark.parametrize("question", QUESTIONS)
def test_turned_round_it_is_the_clip_of_the_other_answer(question, monkeypatch):
    world = MovingDigits(question, frames=7, side=19, noise=0.3, dropped=1 / 3)
    one = world.sample(60, seed=3)

    class Tails:
        def __init__(self, rng):
            self.rng = rng

        def integers(self, high, size):
            return high - 1 - self.rng.integers(high, size=size)

    def other_coin(key):
        rng = REAL_RNG(key)
        return Tails(rng) if key[-1] == 0 else rng

    monkeypatch.setattr(np.random, "default_rng", other_coin)
    other = world.sample(60, seed=3)
    assert torch.equal(other["label"], 1 - one["label"])
    assert 0 < one["label"].sum() < 60
    for name in ("video", "mask"):
        assert torch.equal(other[name], one[name].flip(1))
        assert not torch.equal(other[name], one[name])
    assert torch.equal(other["digit"], one["digit"])


def test_the_coin_is_fair():
    labels = MovingDigits(frames=2, side=16).sample(4_000, seed=0)["label"]
    assert abs(labels.double().mean() - 0.5) < 4 * 0.5 / math.sqrt(4_000)


# ---- what is to be seen ----


def centre(video, axis):
    """Where the ink is, in pixels, (n, T, H, W) -> (n, T)."""
    ink = video.double().sum(3 - axis)  # along the other axis
    return (ink * torch.arange(ink.shape[-1])).sum(-1) / ink.sum(-1)


def angle(video, axis):
    """Where it is on a circle, between -pi and pi, (n, T, H, W) -> (n, T)."""
    ink = video.double().sum(3 - axis)
    turn = 2 * math.pi * torch.arange(ink.shape[-1]) / ink.shape[-1]
    return torch.atan2((ink * turn.sin()).sum(-1), (ink * turn.cos()).sum(-1))


@pytest.mark.parametrize("question, axis", [("side", 1), ("height", 0)])
@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("side", [16, 24, 32])
def test_it_moves_the_way_that_the_label_says(question, axis, side, wrap):
    world = MovingDigits(question, side=side, wrap=wrap)
    batch = world.sample(200, seed=1)
    video = batch["video"]
    if wrap:
        steps = angle(video, axis).diff(dim=1)
        steps = torch.atan2(steps.sin(), steps.cos())  # the short way round
        path = side / (2 * math.pi) * steps.cumsum(1)
        path = torch.cat([torch.zeros(200, 1), path], 1)
    else:
        path = centre(video, axis)  # (n, T), to a tenth of a pixel
        ink = video.sum((2, 3))
        assert (ink / ink.mean(1, keepdim=True) - 1).abs().max() < 0.1  # it stays whole
    way = (path[:, -1] - path[:, 0]) / (side - 12)
    assert torch.equal(way > 0, batch["label"].bool())
    # evenly, from a quarter to three quarters of the room
    assert 0.15 < way.abs().min() < 0.3 and 0.7 < way.abs().max() < 0.85
    even = path[:, :1] + (path[:, -1:] - path[:, :1]) * torch.linspace(0, 1, 8)
    assert (path - even).abs().max() < 0.5
    across = centre(video, 1 - axis)
    assert (across - across[:, :1]).abs().max() < 0.3
    assert world.answers == {1: ("left", "right"), 0: ("up", "down")}[axis]


@pytest.mark.parametrize("question, axis", [("side", 1), ("height", 0)])
def test_where_it_starts_says_nothing_when_it_comes_back_at_the_other_edge(question, axis):
    """Uniform on the circle under both answers; by Rayleigh, (n / 2) |mean|^2 is exponential."""
    batch = MovingDigits(question, frames=3).sample(2_000, seed=6)
    for label in (0, 1):
        for t in range(3):
            at = angle(batch["video"][batch["label"] == label][:, t : t + 1], axis)
            assert len(at) * (at.cos().mean() ** 2 + at.sin().mean() ** 2) < 9
    stays = MovingDigits(question, frames=3, wrap=False).sample(2_000, seed=6)
    start = centre(stays["video"][:, :1], axis)[:, 0]
    assert ((start < 11.5) == stays["label"].bool()).double().mean() > 0.85


def test_halves_at_two_edges_make_one_digit():
    """Rolled back to the middle by whole pixels, a digit at the edge is the digit elsewhere."""
    world = MovingDigits("side", frames=9)
    shown = torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    for place in (0.0, 0.02, 0.3, 1 / 3, 0.5, 0.9):
        one, other = (
            world._draw(shown, np.array([[0.4, 0.5, 0.5, at, 0.5]]))
            for at in (place, (place + 10 / 24) % 1)
        )
        torch.testing.assert_close(one.roll(10, -1), other, rtol=0, atol=2e-3)


@pytest.mark.parametrize("side", [16, 24, 32])
def test_it_grows_or_shrinks(side):
    batch = MovingDigits("size", side=side).sample(200, seed=1)
    grown = batch["video"].sum((2, 3)).diff(dim=1) > 0  # ink goes with the area
    assert torch.equal(grown.float().mean(1) > 0.5, batch["label"].bool())
    assert QUESTIONS["size"] == ("shrinks", "grows")


@pytest.mark.parametrize("split", WRITERS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_scans_are_of_the_split_the_writer_and_the_digit(question, split, marked):
    batch = MovingDigits(question).sample(600, seed=5, split=split)
    shown = number(batch["video"])  # (n, T)
    writer = torch.from_numpy(np.searchsorted(BOUNDS, shown.numpy(), side="right") - 1)
    assert torch.equal(writer, batch["writer"][:, None].expand_as(writer))
    assert set(batch["writer"].tolist()) == set(WRITERS[split])
    digits = torch.from_numpy(TARGET)[shown]
    first, last = digits[:, 0], digits[:, -1]
    assert set(batch["digit"].tolist()) == set(range(10 if question != "first" else 9))
    if question != "first":
        assert torch.equal(digits, batch["digit"][:, None].expand_as(digits))
        return
    assert torch.equal(first < last, batch["label"].bool()) and (first != last).all()
    assert torch.equal(torch.minimum(first, last), batch["digit"])
    # the Bayes rule of the first digit: the sum over d of max(d, 9 - d), of 90 pairs, is 70
    right = ((first <= 4) == batch["label"].bool()).double().mean()
    assert abs(right - 7 / 9) < 4 * math.sqrt(7 / 9 * 2 / 9 / 600)
    changes = (shown.diff(dim=1) != 0).float()
    assert (changes.sum(1) == 1).all() and changes.amax(0).all()  # once, at any place


def test_noise_and_lost_frames_are_as_strong_as_their_dials():
    n = 800
    clean = MovingDigits().sample(n, seed=2)
    noisy = MovingDigits(noise=0.3).sample(n, seed=2)
    assert clean["mask"].all() and clean["video"].min() >= 0 and clean["video"].max() <= 1
    error = noisy["video"] - clean["video"]
    assert abs(error.std() - 0.3) < 0.001 and abs(error.mean()) < 0.001
    lossy = MovingDigits(dropped=0.25).sample(n, seed=2)
    share = (~lossy["mask"]).double().mean().item()
    assert abs(share - 0.25) < 4 * math.sqrt(0.25 * 0.75 / (8 * n))
    assert not lossy["video"][~lossy["mask"]].any()
    assert torch.equal(lossy["video"][lossy["mask"]], clean["video"][lossy["mask"]])
    gone = MovingDigits(dropped=1).sample(3, seed=2)
    assert not gone["mask"].any() and not gone["video"].any()


def test_shapes_and_seeds():
    world = MovingDigits("first", frames=5, side=20, noise=0.1, dropped=0.1)
    batch = world.sample(30, seed=4)
    assert {name: (tuple(x.shape), x.dtype) for name, x in batch.items()} == {
        "video": ((30, 5, 20, 20), torch.float32),
        "mask": ((30, 5), torch.bool),
        "label": ((30,), torch.int64),
        "digit": ((30,), torch.int64),
        "writer": ((30,), torch.int64),
    }
    assert same(world.sample(30, seed=4), batch)
    assert same(world.sample(7, seed=4), {name: x[:7] for name, x in batch.items()})
    assert not torch.equal(world.sample(30, seed=5)["video"], batch["video"])
    test = world.sample(30, seed=4, split="test")
    assert not torch.equal(test["label"], batch["label"])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"question": "speed"}, "question: expected one of ['side', 'height', 'size', 'first'], "),
        ({"question": None}, "question: expected one of ['side', 'height', 'size', 'first'], "),
        ({"frames": 1}, "frames: expected a whole number of at least 2, got 1"),
        ({"frames": 4.0}, "frames: expected a whole number of at least 2, got 4.0"),
        ({"side": 15}, "side: expected a whole number from 16 to 32, got 15"),
        ({"side": 33}, "side: expected a whole number from 16 to 32, got 33"),
        ({"noise": -0.1}, "noise: expected a standard deviation of at least 0, got -0.1"),
        ({"noise": math.nan}, "noise: expected a standard deviation of at least 0, got nan"),
        ({"noise": math.inf}, "noise: expected a standard deviation of at least 0, got inf"),
        ({"wrap": 1}, "wrap: expected True or False, got 1"),
        ({"dropped": 1.1}, "dropped: expected a probability between 0 and 1, got 1.1"),
        ({"dropped": math.nan}, "dropped: expected a probability between 0 and 1, got nan"),
    ],
)
def test_dials_that_are_none(options, message):
    with pytest.raises(ValueError) as caught:
        MovingDigits(**options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n": 0}, "n: expected a whole number of at least 1, got 0"),
        ({"n": True}, "n: expected a whole number of at least 1, got True"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"split": "dev"}, "split: expected one of ['train', 'validation', 'test'], got 'dev'"),
    ],
)
def test_samples_that_are_none(options, message):
    with pytest.raises(ValueError) as caught:
        MovingDigits().sample(**{"n": 3, "seed": 0} | options)
    assert str(caught.value) == message
