"""What page 30 goes on with of the reader's own code, what its faults are, and what it says of its
stored runs.
"""

import math
import sys
from functools import partial

import pytest
import torch
from reading import gain, printed, said, the_cell

from course_utils.datasets.digits import WORDS
from course_utils.exercises import reference
from course_utils.metrics import mean_interval
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

cell = partial(the_cell, "30")


@pytest.fixture(scope="module")
def page():
    return measured_cells("30")


@pytest.fixture(scope="module")
def text():
    return said("30")


# ---- the reader's own code ----


def loss_in_one_go(network, pictures, words, noise, times, dropped):
    x = noise + torch.einsum("b,bd->bd", times, pictures - noise)
    wrong = network(x, times, words * (~dropped)[:, None]) - pictures + noise
    return (wrong * wrong).sum() / wrong.numel()


def step_by_mean(network, x, time, size, words, weight):
    times = torch.full((len(x),), time, dtype=x.dtype)
    none = network(x, times, words * 0)
    return x + size * none + size * weight * (network(x, times, words) - none)


def tokens_by_unfold(pictures, codebook):
    patches = pictures.view(-1, 8, 8).unfold(1, 2, 2).unfold(2, 2, 2).reshape(-1, 16, 1, 4)
    return ((patches - codebook) ** 2).sum(3).argmin(2)


@pytest.mark.parametrize(
    "key, answer",
    [("30.1", loss_in_one_go), ("30.2", step_by_mean), ("30.3", tokens_by_unfold)],
)
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


# ---- what stands in its cells ----


def test_a_time_for_each_pixel(capsys):
    names = {"torch": torch}
    fault = cell("both = torch.randn(2, 64, 64")
    assert printed(capsys, fault, names) == "False"
    assert printed(capsys, cell("x = (1 - times[:, None]) * both[0]"), names) == "True"
    # where the batch has another size the same lines raise
    with pytest.raises(RuntimeError):
        exec(fault.replace("2, 64, 64", "2, 128, 64").replace("1, 64)", "1, 128)"), dict(names))


def test_levels_are_no_ids(page, capsys):
    fault = cell("return (8 * shown + 8)")
    assert printed(capsys, fault, names := dict(page)) == "False"
    names["mine"] = lambda key, function: reference(key)
    names["picture_tokens"] = None
    assert printed(capsys, cell("codebook = make_codebook(scans"), names) == "True"


def test_the_words_asked_are_new_and_nobody_types_nothing(page):
    data = page["pairs"](0)
    words, digits = page["asked"](0, data["seen"])
    assert not data["seen"] & {*words} and digits.bincount().tolist() == [100] * 10
    assert "" not in data["seen"] and (data["words"].sum(1) >= 3).all()
    assert data["words"].shape == (5168, 78) and len(data["pictures"]) == 5168


def test_the_writers_of_drawer_judge_and_test_are_others(page):
    spans = [range(*page["BLOCKS"][split]) for split in ("own", "judge", "validation", "test")]
    every = [writer for span in spans for writer in span]
    assert len(every) == len({*every}) == 14
    assert len(page["scans"]("own")[0]) * 8 == 5168 and len(page["scans"]("validation")[0]) == 258


def test_tokens_come_back(page):
    codebook = torch.arange(8.0).view(2, 4)
    tokens = torch.randint(2, (3, 16), generator=torch.Generator().manual_seed(0))
    back = page["from_tokens"](tokens, codebook)
    assert torch.equal(reference("30.3")(back, codebook), tokens)


def test_a_writer_sees_only_what_stands_before(page):
    writer, words = page["Writer"](4), torch.zeros(1, 78)
    one, other = torch.zeros(2, 1, 16, dtype=torch.long)
    other[0, 5:] = 3
    place = torch.tensor([5])
    assert torch.equal(writer(one, place, words), writer(other, place, words))
    assert not torch.equal(writer(one, place + 1, words), writer(other, place + 1, words))


def test_one_step_of_the_best_network_ends_at_the_mean_picture():
    draw = torch.Generator().manual_seed(0)
    mean, noise = torch.randn(64, generator=draw), torch.randn(5, 64, generator=draw)

    def best(x, times, words):
        return mean - x  # at time 0: the mean of all x - e that pass the place e

    drawn = reference("30.2")(best, noise, 0.0, 1.0, torch.zeros(5, 78), 1.0)
    assert torch.allclose(drawn, mean.expand(5, 64), atol=1e-6)


def test_perfect_losses_in_words(text):
    assert f"2 ln 2 = {2 * math.log(2):.2f}" in text and f"ln 2 = {math.log(2):.2f}" in text


def test_wrong_code_on_the_page_would_be_seen(page):
    """The stored runs and the page share the solution's loss: one number of both."""
    ours, theirs = reference("30.1"), load("30", "sweeps").loss_of()
    draw = torch.Generator().manual_seed(0)
    args = torch.randn(4, 64, generator=draw), page["spell"](WORDS[:4]), torch.randn(4, 64)
    rest = torch.rand(4), torch.tensor([True, False, False, True])
    drawer = page["Drawer"]()
    assert torch.equal(ours(drawer, *args, *rest), theirs(drawer, *args, *rest))


# ---- what the page says of its stored runs ----

RUNS, REAL = stored("30", "draws"), stored("30", "real")
CHECKS, BOOKS = stored("30", "controls"), stored("30", "tokens")
GANS = stored("30", "gans") | stored("30", "turns")


def mean(row, what="right", scale=100):
    return mean_interval([scale * value for value in row["accuracy"][what]])[0]


def points(one, other, what="right"):
    middle, half = gain(one["accuracy"][what], other["accuracy"][what])
    return f"{middle:.1f} ± {half:.1f}", abs(middle) > half


def best(kind):
    found = {name: row["chosen by"] for name, row in RUNS.items() if name.startswith(kind)}
    tried = [name.split(": ")[2] for name in found]
    return tried, max(found, key=found.get).split(": ")[2]
