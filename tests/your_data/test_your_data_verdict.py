"""Intervals and verdicts on scores made by hand."""

import math

import numpy as np
import pytest
from scipy.stats import t as student

from course_utils.your_data.verdict import Scores, corrected, verdicts

LABELS = [i % 2 for i in range(200)]


def results(rng, accuracies, rows=40, train=120, groups=None):
    """Five splits; each model is right in the given share of rows, by chance."""
    found = []
    for seed in range(5):
        test = rng.permutation(200)[:rows].tolist()
        said = {
            name: [LABELS[row] if rng.random() < share else 1 - LABELS[row] for row in test]
            for name, share in accuracies.items()
        }
        sizes = {"train": train, "validation": rows, "test": rows}
        one = {"seed": seed, "test": test, "predicted": said, "sizes": sizes, "by rows": 0.95}
        uses = {"emap": 0.7, "of the same rows": 0.7 + 0.1 * (groups == "need each other")}
        found.append(one | {"uses": uses})
    return found


def scores_of(accuracies, groups=None, seed=0, **options):
    rng = np.random.default_rng(seed)
    return Scores(results(rng, accuracies, **options), LABELS, groups or list(range(200)))


def test_the_corrected_interval_is_that_of_nadeau_and_bengio():
    values = [0.7, 0.8, 0.75, 0.9, 0.6]
    mean, half = corrected(values, 40 / 120)
    spread = math.sqrt(sum((value - 0.75) ** 2 for value in values) / 4)
    by_hand = student.ppf(0.975, 4) * spread * math.sqrt(1 / 5 + 40 / 120)
    assert mean == pytest.approx(0.75) and half == pytest.approx(by_hand)


def test_the_corrected_interval_covers_where_the_plain_one_does_not():
    """Splits of one sample of 60 numbers share their rows; the score is their test mean."""
    rng, plain, wide = np.random.default_rng(0), 0, 0
    for _ in range(400):
        sample = rng.normal(size=60)
        means = [rng.permutation(sample)[:15].mean() for _ in range(5)]
        mean, half = corrected(means, 0.0)
        plain += abs(mean) <= half
        wide += abs(mean) <= corrected(means, 15 / 45)[1]
    assert plain / 400 < 0.85 and wide / 400 > plain / 400 + 0.1


def test_no_interval_is_narrower_than_its_rows_or_groups_allow():
    sure = scores_of({"a": 1.0, "b": 0.5})
    assert sure.interval("a") == (1.0, 3 / len(sure.rows))
    alone, together = (
        scores_of({"a": 0.5}, groups=groups) for groups in (None, [i // 50 for i in range(200)])
    )
    assert together.interval("a")[0] == alone.interval("a")[0]
    lead = sure.interval("a", "b")
    assert lead[0] == pytest.approx(np.mean(sure.accuracies("a")) - np.mean(sure.accuracies("b")))


def test_samples_of_one_group_fail_together():
    """All rows of a group right or wrong: drawn by rows the interval is too narrow."""
    groups = [i // 10 for i in range(200)]
    test = list(range(200))
    right = [LABELS[row] if groups[row] % 2 else 1 - LABELS[row] for row in test]
    sizes = {"train": 1000, "validation": 0, "test": 1}
    one = {"test": test, "predicted": {"a": right}, "sizes": sizes}
    by_row = Scores([one] * 5, LABELS, list(range(200))).interval("a")
    by_group = Scores([one] * 5, LABELS, groups).interval("a")
    assert by_row[1] == pytest.approx(1.96 * 0.5 / math.sqrt(200), rel=0.1)
    assert by_group[1] == pytest.approx(1.96 * 0.5 / math.sqrt(20), rel=0.2)


MODELS = {
    "x": 0.8, "x, shuffled": 0.5, "z": 0.5, "z, shuffled": 0.5, "majority": 0.5, "single": 0.8,
    "fusion": 0.8, "fusion, x shuffled": 0.5, "fusion, z shuffled": 0.8,
}  # fmt: skip


def keys(changes=(), grouped=False, near=None, **options):
    scores = scores_of(MODELS | dict(changes), **options)
    near = near or ([0.0] * 200 if grouped else None)
    return {finding.key: finding.text for finding in verdicts(scores, ["x", "z"], near)}


def test_a_gain_is_said_only_where_the_interval_shows_one():
    assert "gain" in keys({"single": 0.6, "fusion": 0.97}, rows=80)
    small = keys({"single": 0.7, "fusion": 0.7}, rows=12, train=30)
    assert "too small to tell" in small["too_small"] and "gain" not in small
    rows = 100
    large = scores_of(MODELS | {"single": 1.0, "fusion": 1.0}, rows=rows, train=1000)
    assert "no_gain" in {finding.key for finding in verdicts(large, ["x", "z"])}


def test_an_interval_that_holds_no_large_gain_is_not_too_small():
    """Wide or not: what is told is that more than a few points are not likely."""
    worse = keys({"single": 1.0, "fusion": 0.5}, rows=12, train=30)
    assert "no_gain" in worse and "too_small" not in worse


def test_few_rows_and_few_groups_are_too_small_however_large_the_gain():
    assert "too_small" in keys({"single": 0.0, "fusion": 1.0}, rows=5)
    found = keys({"single": 0.0, "fusion": 1.0}, True, groups=[i // 50 for i in range(200)])
    assert "too_small" in found and "Only 4 groups" in found["few_groups"]
    assert "--seeds" not in found["few_groups"]
    found = keys({}, True, groups=[min(i // 4, 9) for i in range(200)], rows=8)
    assert "all 10: --seeds 10." in found["few_groups"]


def test_the_score_is_said_beside_what_it_must_beat():
    rng = np.random.default_rng(0)
    split = results(rng, MODELS | {"fusion": 1.0, "single": 0.0, "majority": 0.0})
    for one in split:
        one["single"] = "z"
    said = {one.key: one.text for one in verdicts(Scores(split, LABELS, LABELS), ["x", "z"])}
    assert said["score"].startswith("The chosen fusion is right in 100.0 ± ")
    assert " % of the rows that it had not seen." in said["score"]
    assert "of the rows of groups that it had not seen" in keys({}, True)["score"]
    assert "most frequent class is right in 0.0 ± " in said["score"]
    assert "and 'z' alone, the best single modality, in 0.0 ± " in said["score"]


def test_noise_is_what_tells_nothing_alone_and_is_not_missed():
    found = keys(rows=100, train=1000)
    assert "'z' is noise" in found["noise_modality"]
    # alone it tells nothing, and the fusion needs it; and the other way round
    for changes in ({"fusion, z shuffled": 0.3}, {"z": 0.9}):
        said = keys(changes, rows=100, train=1000)
        assert not {"noise_modality", "unclear_modality"} & set(said)
    assert "unclear_modality" in keys({"z": 0.75}, rows=8, train=10, seed=3)


def test_a_leak_by_group_is_what_a_split_by_rows_promises_too_much():
    assert "a difference of" in keys({"fusion": 0.5}, True)["group_leak"]
    assert "no_group_leak" in keys({"fusion": 0.95}, True)
    known = keys({"fusion": 0.95}, True, near=[0.3] * 200)
    assert "better if it may be of the same group" in known["group_leak"]
    assert not {"group_leak", "no_group_leak"} & set(keys())


def test_what_modalities_say_together_is_told():
    def found(how):
        rng = np.random.default_rng(0)
        scores = Scores(results(rng, MODELS, groups=how), LABELS, list(range(200)))
        return {finding.key for finding in verdicts(scores, ["x", "z"])}

    assert "interaction" in found("need each other") and "no_interaction" in found(None)


def test_of_a_fusion_that_adds_it_is_not_said_that_nothing_is_seen():
    def found(strategies):
        split = results(np.random.default_rng(0), MODELS)
        for one, (strategy, hidden) in zip(split, strategies):
            one["setting"] = {"fusion": [strategy, ["m0", "m1"], hidden, 0.1]}
        scores = Scores(split, LABELS, list(range(200)))
        return {one.key: one.text for one in verdicts(scores, ["x", "z"])}

    adding, not_adding = [("late", 32), ("concat", None)], [("concat", 32), ("gated", 16)]
    most = found([*adding, *adding[:1], *not_adding])
    assert "on 3 of 5 splits" in most["additive"] and "no_interaction" not in most
    assert "no_interaction" in found([*adding, *not_adding, *not_adding[:1]])
