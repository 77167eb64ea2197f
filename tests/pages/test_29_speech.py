"""What page 29 goes on with of the reader's own code, what its faults are, and what it says of its
stored runs.
"""

import re
import sys
from functools import partial
from itertools import groupby, product

import numpy as np
import pytest
import torch
from reading import gain, printed, said, the_cell
from torch.nn import functional as F

from course_utils.exercises import reference
from course_utils.metrics import mean_interval
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

cell = partial(the_cell, "29")


@pytest.fixture(scope="module")
def page():
    return measured_cells("29")


@pytest.fixture(scope="module")
def asked():
    return stored("29", "strangers")


@pytest.fixture(scope="module")
def noise():
    return stored("29", "noise")


@pytest.fixture(scope="module")
def kept():
    return stored("29", "voices")


def shares(values):
    mean, half = mean_interval([100 * value for value in values])
    return f"{mean:.1f} ± {half:.1f}"


# ---- the reader's own code ----


def by_matrix(log_probs, targets, frames, letters):
    B, T, _ = log_probs.shape
    z = targets.new_zeros(B, 2 * targets.shape[1] + 1)
    z[:, 1::2] = targets
    s = torch.arange(z.shape[1])
    step = s[:, None] - s
    jump = (step == 2) & (z[:, :, None] != z[:, None, :]) & (z[:, :, None] != 0)
    cost = torch.where((step == 0) | (step == 1) | jump, 0.0, -1e30).to(log_probs)
    alpha = torch.where(s < 2, 0.0, -1e30).to(log_probs) + log_probs[:, 0].gather(1, z)
    times = [alpha]
    for t in range(1, T):
        alpha = (cost + alpha[:, None]).logsumexp(2) + log_probs[:, t].gather(1, z)
        times.append(alpha)
    alpha = torch.stack(times, 1)[torch.arange(B), frames - 1]
    end = (s == 2 * letters[:, None]) | (s == 2 * letters[:, None] - 1)
    return torch.where(end, alpha, -1e30).logsumexp(1)


def by_groups(log_probs, frames):
    paths = log_probs.argmax(2).tolist()
    return [[k for k, _ in groupby(path[:n]) if k] for path, n in zip(paths, frames.tolist())]


@pytest.mark.parametrize("key, answer", [("29.1", by_matrix), ("29.2", by_groups)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_a_loop_over_rows_does_not_slow_the_training(accepted, capsys):
    def by_rows(log_probs, targets, frames, letters):
        rows = zip(log_probs, targets, frames, letters)
        one = reference("29.1")
        for _ in range(2):
            found = [one(x[None], y[None], t[None], n[None])[0] for x, y, t, n in rows]
            rows = zip(log_probs, targets, frames, letters)
        return torch.stack(found)

    taken, words = accepted("29.1", by_rows)
    assert taken is reference("29.1") and "times as long" in words


def test_the_recursion_is_pytorch_s():
    draw = torch.Generator().manual_seed(3)
    logs = torch.randn(3, 20, 5, generator=draw, dtype=torch.float64).log_softmax(2)
    targets = torch.randint(1, 5, (3, 6), generator=draw)
    sizes = torch.tensor([20, 17, 14]), torch.tensor([6, 5, 1])
    theirs = F.ctc_loss(logs.transpose(0, 1), targets, *sizes, reduction="none")
    assert torch.allclose(reference("29.1")(logs, targets, *sizes), -theirs)


# ---- the page's own code ----


def test_the_fault_is_one_and_its_mending_mends(capsys):
    one_row = torch.tensor([4]), torch.tensor([2])
    names = {"torch": torch, "F": F, "ee": torch.tensor([[1, 1]]), "one_row": one_row}
    assert printed(capsys, cell('tags=["fault"]', "F.ctc_loss"), dict(names)) == "False"
    assert printed(capsys, cell("log_softmax(dim=2)         # (T, B, C)"), dict(names)) == "True"


def test_a_wide_beam_finds_the_likeliest_text(page):
    draw = torch.Generator().manual_seed(0)
    for _ in range(10):
        logs = (2 * torch.randn(4, 3, generator=draw)).log_softmax(1)
        texts = {}
        for path in product(range(3), repeat=4):
            text = tuple(k for k, _ in groupby(path) if k)
            chance = sum(logs[t, k].item() for t, k in enumerate(path))
            texts[text] = np.logaddexp(texts.get(text, -np.inf), chance)
        best = max(texts, key=texts.get)
        assert page["beam_one"](logs, width=99, most=3) == list(best)


def test_padding_moves_nothing(page):
    torch.manual_seed(0)
    hears = page["Recogniser"]().eval()
    frames = torch.randn(1, 41, 40)
    longer = F.pad(frames, (0, 0, 0, 30), value=5.0)
    alone, count = hears(frames, torch.ones(1, 41).bool())
    padded, same = hears(
        torch.where(torch.arange(71)[:, None] < 41, longer, 0.0), torch.arange(71)[None] < 41
    )
    assert count.tolist() == same.tolist() == [21]
    assert torch.allclose(alone, padded[:, :21], atol=1e-5)


def test_noise_has_the_level_that_it_is_said_to_have(page):
    sound = torch.randn(2, 40_000)
    there = torch.arange(40_000) < torch.tensor([[40_000], [20_000]])
    part = {
        "sound": sound * there,
        "there": there,
        "image": torch.zeros(2, 256),
        "label": torch.zeros(2).long(),
    }
    seen = []
    true = page["frames_of"]
    page["in_noise"].__globals__["frames_of"] = lambda noisy, mask: (
        seen.append(noisy) or true(noisy, mask)
    )
    page["in_noise"](part, (-10.0,), 0)
    page["in_noise"].__globals__["frames_of"] = true
    noise = seen[0] - part["sound"]
    for row, mask in enumerate(there):
        ratio = part["sound"][row][mask].square().mean() / noise[row][mask].square().mean()
        assert 10 * ratio.log10() == pytest.approx(-10, abs=0.2)
        assert not noise[row][~mask].any()


def test_voices_and_takes_never_cross(page):
    voices = {split: {v for v, _ in page["voices_of"](split)} for split in ("train", "test")}
    assert len(voices["train"]) == 40 and len(voices["test"]) == 10
    assert not voices["train"] & voices["test"]


@pytest.mark.parametrize(
    "told, right",
    [
        ("one two", [True, True]),
        ("one", [True, False]),
        ("two", [False, True]),
        ("on two", [False, True]),
        ("nine one two", [True, True]),
        ("onetwo", [False, False]),
        ("", [False, False]),
    ],
)
def test_which_words_are_right(told, right):
    assert load("29", "sweeps").right_words(told.split(), ["one", "two"]) == right
