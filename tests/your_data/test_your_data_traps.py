"""Each trap is seen where it is set, and not where it is not."""

import numpy as np
import pytest
import torch

from conftest import WORDS, dots, people, readings, write
from course_utils.your_data import report_on
from course_utils.your_data.features import encoders_of
from course_utils.your_data.folder import read_folder
from course_utils.your_data.model import vectors_of
from course_utils.your_data.traps import told_by, told_by_order, traps


def found(folder, **options):
    """The traps of a folder, without training: {key: sentence}."""
    data = read_folder(folder, **options)
    vectors = {
        name: vectors_of(kind, data.values[name], encoders_of(kind, True)[0][0])
        for name, kind in data.kinds.items()
        if kind != "numbers"
    }
    rows = range(len(data.rows))
    sides = {"train": [i for i in rows if i % 2], "test": [i for i in rows if not i % 2]}
    return {finding.key: finding.text for finding in traps(data, vectors, sides)}


# ---- the four of exercise 35.1, with the whole report


@pytest.mark.parametrize("leaky", [True, False])
def test_a_leak_by_group_is_said(tmp_path, leaky):
    report = report_on(people(tmp_path / "people", leaky), out=tmp_path / "out", quick=True)
    assert report.says("group_leak") == report.says("one_class_groups") == leaky
    assert report.says("no_group_leak") != leaky
    assert np.mean(report.scores.accuracies("single")) < 0.75


def test_a_test_set_that_is_too_small_is_said(tmp_path):
    folder = readings(tmp_path / "few", rows=24, noise=False)
    report = report_on(folder, out=tmp_path / "out", quick=True)
    assert report.says("too_small") and "too small to tell" in str(report)


@pytest.mark.parametrize("noise", [True, False])
def test_a_modality_that_is_noise_is_said(tmp_path, noise):
    report = report_on(readings(tmp_path / "d", noise=noise), out=tmp_path / "out", quick=True)
    said = [finding.text for finding in report.findings if finding.key == "noise_modality"]
    assert len(said) == noise and all("'note' is noise" in text for text in said)
    assert not report.says("too_small")


NAMES = {
    "by a part": (lambda i: f"{'ab'[i % 2]}x_{i:03d}.png", "part 1 of the name"),
    "by the last part": (lambda i: f"scan{i:03d}_{i % 2}.png", "part 3 of the name"),
    "by its own name": (lambda i: f"{'a_' * (i // 2 % 3)}{LABELS[i % 2]}_{i:02d}.png", "own name"),
    "by the folder": (lambda i: f"{'uv'[i % 2]}/{i}.png", "part 1 of the name"),
    "by the order": (lambda i: f"{40 * (i % 2) + i // 2:03d}.png", "the order of its numbers"),
    "not": (lambda i: f"scan_{i:03d}.png", None),
}
LABELS = ["cat", "dog"]


@pytest.mark.parametrize("name", NAMES)
def test_a_label_in_the_file_name_is_said(tmp_path, name):
    called, way = NAMES[name]
    dots(tmp_path, 40, called)
    # in the order of the table classes take turns, so that only the name can tell
    rows = [[called(i), LABELS[i % 2]] for i in range(40)]
    said = found(write(tmp_path, ["file_name", "label"], rows))
    assert ("name_gives_label" in said) == (way is not None)
    if way:
        assert way in said["name_gives_label"]


# ---- the others


@pytest.mark.parametrize(
    "column, cell, way",
    [
        ("ward", lambda i: f"ward {'nw'[i % 2]}", "its value"),
        ("dose", lambda i: f"{10 * (i % 2) + i / 100}", "its order"),
        ("note", lambda i: f"{WORDS[i % 10]} {i} is a {LABELS[i % 2]} I think", "class's name"),
        ("ward", lambda i: f"ward {'nw'[i // 2 % 2]}", None),
        ("dose", lambda i: f"{i * 7 % 41}", None),
    ],
)
def test_a_column_that_gives_the_label_away_is_said(tmp_path, column, cell, way):
    rows = [[cell(i), f"{WORDS[i * 3 % 10]} {i}", LABELS[i % 2]] for i in range(40)]
    said = found(write(tmp_path, [column, "other", "label"], rows), group="none")
    assert ("column_gives_label" in said) == (way is not None)
    if way:
        assert f"'{column}'" in said["column_gives_label"] and way in said["column_gives_label"]


def test_twins_across_the_split_are_said(tmp_path):
    rng = np.random.default_rng(0)
    notes = [" ".join(rng.choice(WORDS, 6)) for _ in range(40)]
    rows = [[note, f"{i}.5", LABELS[i % 2]] for i, note in enumerate(notes)]
    assert "near_duplicates" not in found(write(tmp_path / "a", ["note", "x", "label"], rows))
    rows[20][0], rows[31][0] = rows[3][0], rows[4][0]
    said = found(write(tmp_path / "b", ["note", "x", "label"], rows))["near_duplicates"]
    assert "2 pairs of rows" in said and "(2 of them exactly, 2 with another label)" in said
    assert "rows 5 and 22" in said and "A set phrase does that" in said


def test_the_same_picture_under_two_names_is_a_twin(tmp_path):
    dots(tmp_path, 20, lambda i: f"{i * 7 % 20}.png")
    (tmp_path / "11.png").write_bytes((tmp_path / "4.png").read_bytes())
    rows = [[f"{i}.png", LABELS[i % 2]] for i in range(20)]
    said = found(write(tmp_path, ["file_name", "label"], rows))["near_duplicates"]
    assert "1 pairs" in said and "rows 6 and 13" in said and "set phrase" not in said


def test_small_unequal_and_alike_classes_are_said(tmp_path):
    labels = ["cat"] * 45 + ["Cat "] * 5 + ["dog"] * 4
    labels[45:50] = ["c-at"] * 5
    rows = [[f"{WORDS[i % 10]} {WORDS[i // 10]} {i}", label] for i, label in enumerate(labels)]
    said = found(write(tmp_path, ["note", "label"], rows))
    assert "{'c-at': 5, 'dog': 4}" in said["small_class"]
    assert "83% of the rows are 'cat'" in said["unequal_classes"]
    assert "['c-at', 'cat']" in said["alike_classes"]
    even = [[f"{WORDS[i % 10]} {i}", LABELS[i % 2]] for i in range(40)]
    assert not found(write(tmp_path / "even", ["note", "label"], even))


def test_few_groups_of_several_rows_are_no_sign(tmp_path):
    rows = [[f"{WORDS[i % 10]} {i}", LABELS[i % 2], f"T{i + i % 2}"] for i in range(20)]
    said = found(write(tmp_path / "pairs", ["note", "label", "group"], rows))
    assert "one_class_groups" not in said  # pairs of two classes
    for i, row in enumerate(rows):
        row[2] = f"T{max(i, 2)}" if i != 1 else "T1"
    assert "one_class_groups" not in found(write(tmp_path / "a", ["note", "label", "group"], rows))
    for i, row in enumerate(rows):
        row[2] = f"T{i % 4}"
    said = found(write(tmp_path / "b", ["note", "label", "group"], rows))
    assert "4 of the 4 groups" in said["one_class_groups"]


def test_what_tells_a_label_is_counted_without_the_row_itself():
    assert told_by("aabb", [0, 0, 1, 1]) == 1
    assert told_by("abcd", [0, 0, 1, 1]) == 0  # each alone
    assert told_by("aaaa", [0, 0, 0, 1]) == 0.75
    assert told_by("aabb", [0, 1, 0, 1]) == 0
    assert told_by_order([1, 2, 3, 4], [0, 0, 1, 1]) == 0.5  # the two at the border cannot tell
    assert told_by_order([4, 1, 3, 2], [0, 1, 0, 1]) == 0.5


def test_a_sound_or_text_of_any_length_has_a_vector(tmp_path):
    import soundfile

    paths = []
    for samples in (1, 300, 9_000):
        paths.append(tmp_path / f"{samples}.wav")
        soundfile.write(paths[-1], 0.1 * np.sin(np.arange(samples)), 8_000)
    for kind, values in (("audio", paths), ("text", ["a", "a b " * 300, "猫"])):
        x = vectors_of(kind, [*values, None], encoders_of(kind, True)[0][0])
        assert torch.isfinite(x).all() and x[:3].any(1).all() and not x[3].any()
