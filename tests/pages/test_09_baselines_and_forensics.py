"""What page 09 says of its baselines, its splits, its intervals and its lab, and the reader's own
code.
"""

import math
import re
import sys
import warnings

import numpy as np
import pytest
import torch
from reading import gain, said
from torch.nn import functional as F

from course_utils import metrics
from course_utils.exercises import reference
from course_utils.metrics import mean_interval
from course_utils.rooms import stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

ALONE = ("text", "image", "audio")


@pytest.fixture(scope="module")
def page():
    return measured_cells("09")


@pytest.fixture(scope="module")
def text():
    return said("09")


# ---- what the reader builds ----


def test_the_interval_over_seeds_is_the_packages():
    values = [0.74, 0.78, 0.75, 0.77, 0.71]
    # t of the table has three decimals
    assert reference("09.1")(values, 2.776) == pytest.approx(mean_interval(values), rel=2e-4)


def test_the_bootstrap_is_the_packages():
    rng = np.random.default_rng(0)
    groups = rng.integers(12, size=200)
    values = rng.normal(size=12)[groups] + rng.normal(size=200)
    expected = metrics.cluster_bootstrap(values, groups, draws=20_000, seed=1)
    found = reference("09.2")(torch.tensor(values), torch.tensor(groups), 20_000, 2)
    assert found == pytest.approx(expected, abs=0.02 * (expected[1] - expected[0]))


@pytest.mark.parametrize("classes", [2, 10, 37])
def test_the_floor_is_the_entropy_of_the_best_probabilities(classes):
    for q in (0.3, 0.6, 0.95):
        probs = torch.full((classes,), (1 - q) / (classes - 1), dtype=torch.float64)
        probs[0] = q
        floor = torch.distributions.Categorical(probs=probs).entropy().item()
        for loss, words in ((floor - 0.11, "not by shuffling alone"), (floor - 0.09, "may be")):
            found, verdict = reference("09.3")(q, loss, classes, 0.1)
            assert found == pytest.approx(floor, abs=1e-12) and verdict.startswith(words)


# ---- the page's own parts ----


def test_a_calibrated_model_is_never_above_the_floor_of_its_accuracy():
    draw = torch.Generator().manual_seed(0)
    for spread in (0.1, 1.0, 5.0):
        probs = (spread * torch.randn(500, 10, generator=draw, dtype=torch.float64)).softmax(dim=1)
        entropy = torch.special.entr(probs).sum(dim=1).mean().item()
        accuracy = probs.amax(dim=1).mean().item()
        assert entropy <= reference("09.3")(accuracy, 0.0, 10, 0.1)[0] + 1e-12


def test_the_temperature_is_the_best_and_the_decisions_stay(page):
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 10, generator=draw)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=draw)[:, 0]
    found = page["temperature"](3 * logits, labels)
    assert found == pytest.approx(3.0, rel=0.15)
    losses = [F.cross_entropy(3 * logits / t, labels) for t in (0.97 * found, found, 1.03 * found)]
    assert losses[1] < min(losses[0], losses[2])


def test_breaking_moves_the_share_that_is_asked_for_and_nothing_else(page):
    part = {"audio": torch.arange(5000.0)[:, None], "label": torch.arange(5000) % 10}
    data = {split: part for split in page["SPLITS"]}
    moved = page["broken"](data, "audio", 0.4, seed=0)["test"]
    assert (moved["audio"] != part["audio"]).double().mean().item() == pytest.approx(0.4, abs=0.03)
    assert torch.equal(moved["audio"].sort(dim=0).values, part["audio"])
    assert moved["label"] is part["label"]
    drawn = page["broken"](data, "label", 0.4, seed=0)["test"]
    assert (drawn["label"] != part["label"]).double().mean().item() == pytest.approx(0.36, abs=0.03)
    assert drawn["audio"] is part["audio"] and torch.equal(part["label"], torch.arange(5000) % 10)


def test_a_division_by_groups_has_nobody_on_two_sides(page):
    writer = torch.arange(140) % 14
    rows = {"writer": writer, "label": torch.arange(140)}
    for turn in range(7):
        data = page["divided"](rows, (writer // 2 - turn) % 7)
        sides = [set(data[split]["writer"].tolist()) for split in page["SPLITS"]]
        assert [len(side) for side in sides] == [10, 2, 2] and len(set.union(*sides)) == 14


# ---- what the page says is what is stored ----


def test_the_gain_over_a_first_try_is_larger(text):
    rows = {name: row["accuracy"] for name, row in stored("09", "baselines").items()}
    first = max((rows[f"{name}, first try"] for name in ALONE), key=sum)
    best = max((rows[name] for name in ALONE), key=sum)
    assert all(sum(rows[name]) > sum(rows[f"{name}, first try"]) for name in ALONE)
    over_first, over_best = gain(rows["all three"], first), gain(rows["all three"], best)
    assert f"{over_first[0]:.1f} points over the best first try" in text
    assert f"{over_best[0]:.1f} over the best tuned one" in text
    assert over_first[0] - over_first[1] > over_best[0] + over_best[1]
    assert over_best[0] - over_best[1] > 0


def test_a_shuffled_modality_tells_nothing():
    rows = {name: row["accuracy"] for name, row in stored("09", "baselines").items()}
    for name in ALONE:
        mean, half = mean_interval(rows[f"{name}, shuffled"])
        assert abs(mean - 0.1) < 0.03
    middle, half = gain(rows["all three"], rows["all three, audio shuffled"])
    assert round(middle) == 8 and middle - half > 0 and "it loses eight" in said("09")


def test_what_random_splits_promise(text):
    rows = {name: row["accuracy"] for name, row in stored("09", "splits").items()}
    lost = [100 * (b - a) for a, b in zip(rows["image, one side"], rows["image, at random"])]
    middle, half = mean_interval(lost)
    assert f"New writers cost {middle:.1f} points" in text and middle - half > 0
    lost = [100 * (b - a) for a, b in zip(rows["audio, one side"], rows["audio, at random"])]
    middle, half = mean_interval(lost)
    assert middle - half < 0 < middle + half
    assert f"it is {middle:.1f} points" in text
    assert f"single turns lose {max(lost):.0f} or win {-min(lost):.0f}:" in text
    people = stored("09", "fsdd_speakers")["same peak"]["accuracy"]
    strangers = stored("09", "fsdd_random")
    at_random = strangers["at random"]["accuracy"]
    lost = 100 * (sum(at_random) - sum(people)) / 15
    assert f"promises {lost:.0f} points" in text and f"promised {lost:.0f} points" in text
    random, apart = (100 * sum(one) / 15 for one in (at_random, people))
    assert f"{random:.0f} % at random, {apart:.0f} apart" in text
    assert max(people) < min(at_random)
    shuffled = strangers["at random, digits shuffled"]["accuracy"]
    assert abs(sum(shuffled) / 15 - 0.1) < 0.02


def test_the_interval_by_voice_is_about_twice_as_wide(text):
    """What the page prints, and so who wins the bet of page 08."""
    shown = next(ROOT.glob("notebooks/09_*.ipynb")).read_text(encoding="utf-8")
    rows, voice, control = (float(width) for width in re.findall(r", width (0\.\d+)", shown))
    assert 1.6 < voice / rows < 2.4 and control / rows < 1.33
    assert "about twice as wide: Ada" in text and 'outcome("08.c", "Ada")' in text
    assert "*Ada says: about twice as wide." in said("08")


def test_coverage_is_the_packages():
    rows = stored("09", "coverage")
    assert list(rows) == ["by group", "by row", "permuted"]  # the page's order
    by_group = dict(zip(rows["by group"]["groups"], rows["by group"]["accuracy"]))
    for count in (2, 3, 5):
        assert by_group[count] == pytest.approx(metrics.COVERAGE[count], abs=0.03)
    assert round(100 * by_group[3]) == 76 and 0.87 < by_group[10] < 0.91
    assert by_group[40] == pytest.approx(0.94, abs=0.015)
    for way in ("by row", "permuted"):
        assert all(share < 0.5 for share in rows[way]["accuracy"])


def test_t_of_the_groups_means_covers_with_three_groups_and_nearly_normal_effects(text):
    """What the bootstrap lacks with few groups: "with t = 4.303, it holds 95 %"."""
    assert "with t = 4.303, it holds 95 %" in text
    rng, held = np.random.default_rng(1), {"t": 0, "1.96": 0}
    for _ in range(2000):
        means = (rng.normal(size=(3, 1)) + rng.normal(size=(3, 20))).mean(axis=1)
        for name, t in (("t", 4.303), ("1.96", 1.96)):
            middle, half = reference("09.1")(means.tolist(), t)
            held[name] += abs(middle) <= half
    assert held["t"] / 2000 == pytest.approx(0.95, abs=0.02)
    assert held["1.96"] / 2000 < 0.85


def test_the_lab_in_five_seeds():
    rows = stored("09", "lab")
    typed, pictures, sounds, labels, escapes = rows

    def suspects(name, which):
        verdicts = [
            reference("09.3")(accuracy, loss, 10, 0.1)[1]
            for accuracy, loss in zip(rows[name]["accuracy"], rows[name][which])
        ]
        return sum(words == "may be shuffled" for words in verdicts)

    assert [suspects(name, "left") for name in (typed, pictures)] == [0, 0]
    assert [suspects(name, "left") for name in (sounds, labels)] == [5, 5]
    assert suspects(pictures, "trained") == 5
    assert suspects(escapes, "left") == 1 and "escapes**, in four of the five" in said("09")
    assert suspects(escapes, "trained") == 5


def test_the_published_numbers_lie_at_the_floor(text):
    floor, words = reference("09.3")(0.4114, 1.9977, 10, 0.1)
    assert words == "may be shuffled" and f"{1.9977 - floor:.2f} above the floor" in text
    assert math.isclose(floor, 1.971, abs_tol=5e-4)


def test_a_voice_is_no_independent_witness(page):
    """Rows of one group that agree widen the interval by groups; shuffled names do not."""
    groups = np.arange(250) % 10
    hits = (groups < 7).astype(float)  # some groups always right, some never
    by = {}
    for name, one in (
        ("row", np.arange(250)),
        ("group", groups),
        ("shuffled", np.random.default_rng(0).permutation(groups)),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            low, high = reference("09.2")(torch.tensor(hits), torch.tensor(one), 1000, 0)
        by[name] = high - low
    assert by["group"] > 3 * by["row"] and by["shuffled"] < 1.5 * by["row"]
