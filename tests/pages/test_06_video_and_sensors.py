"""What page 06 goes on with of the reader's own code, what its faults print, and what it says of
its stored runs.
"""

import sys

import numpy as np
import pytest
import torch
from reading import gain, printed, said, the_cell

from course_utils.datasets import MovingDigits, SmartHome
from course_utils.exercises import reference
from course_utils.masks import masked_mean
from course_utils.rooms import stored
from course_utils.runtime import ROOT
from course_utils.sensors import resample
from course_utils.video import frame_differences, frame_features

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)


@pytest.fixture(scope="module")
def page():
    names = measured_cells("06")
    for number, name in enumerate(("steps", "one_clock", "with_flags"), 1):
        names[name] = reference(f"06.{number}")
    return names


@pytest.fixture(scope="module")
def text():
    return said("06")


# ---- the reader's own code ----


def steps_by_diff(features, mask):
    both = mask.unfold(1, 2, 1).all(2)
    return features.diff(dim=1).masked_fill(~both[..., None], 0), both


def clock_by_counting(streams, clock, max_age):
    columns, masks = [], []
    for times, values in streams:
        known = (times <= clock[:, None]).sum(1)
        last = (known - 1).clamp(min=0)
        masks.append((known > 0) & (clock - times[last] <= max_age))
        columns.append(values[last])
    mask = masks[0]
    for one in masks[1:]:
        mask = mask & one
    return torch.stack(columns, 1) * mask[:, None], mask


def flags_by_sums(rows, train):
    there = ~train.isnan()
    means = train.nan_to_num(0.0).sum(0) / there.sum(0).clamp(min=1)
    gone = rows != rows
    return torch.cat([torch.where(gone, means, rows), gone.double()], 1)


@pytest.mark.parametrize(
    "key, answer", [("06.1", steps_by_diff), ("06.2", clock_by_counting), ("06.3", flags_by_sums)]
)
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_steps_are_the_differences_of_the_package():
    data = MovingDigits("side", dropped=0.3).sample(40, seed=1)
    features, mask = frame_features(data["video"], data["mask"])
    for one, other in zip(reference("06.1")(features, mask), frame_differences(features, mask)):
        assert torch.equal(one, other)


@pytest.mark.parametrize("max_age", [0.2, 1.0, float("inf")])
def test_one_clock_holds_as_resample_does(max_age):
    home, clock = SmartHome(3), 0.37 * torch.arange(200, dtype=torch.float64) - 1
    streams = [home.stream(name, 60, loss=0.3, seed=2)[:2] for name in ("motion", "sound")]
    table, mask = reference("06.2")(streams, clock, max_age)
    held = [resample(*stream, clock, max_age=max_age) for stream in streams]
    assert torch.equal(mask, held[0][1] & held[1][1]) and not mask[0]
    for column, (values, _) in enumerate(held):
        assert torch.equal(table[:, column], torch.where(mask, values, 0))


# ---- the faults ----


def test_sizes_are_blind_and_parts_are_not(page, capsys):
    data = page["clips"]("train", 6, 0)
    features, mask = frame_features(data["video"], data["mask"], page["small"])
    moved, both = page["steps"](features, mask)
    names = page | {"moved": moved, "both": both, "mask": mask, "back": features.flip(1)}
    names["masked_mean"] = masked_mean
    assert printed(capsys, the_cell("06", "change = moved.abs()"), names) == "False"
    assert printed(capsys, the_cell("06", "change = torch.cat([moved.relu()"), names) == "True"


def test_a_line_into_the_future_does_not_hold_and_what_is_known_does(page, capsys):
    names = dict(page)
    assert printed(capsys, the_cell("06", 'prepared = "linear"'), names) == "False"
    assert printed(capsys, the_cell("06", 'prepared = "known"'), names) == "True"


# ---- what the page says of its stored runs ----


def mean(values, factor=100):
    return factor * sum(values) / len(values)


def test_order_in_numbers(text):
    rows = stored("06", "order")
    frames, sizes, moved = (rows[f"{one}, mean"] for one in ("frames", "sizes of steps", "steps"))
    larger = rows["frames, mean, larger"]
    assert (
        f"The mean of 24 learned features a frame has {mean(frames['accuracy']):.0f} %: it knows"
        f" the *line* in {mean(frames['line']):.0f} % of the clips"
    ) in text
    assert (
        f"knows the line in {mean(larger['line']):.0f} % and has {mean(larger['accuracy']):.0f};"
        f" the sizes of the steps, {mean(sizes['line']):.0f} % and {mean(sizes['accuracy']):.0f}."
    ) in text
    kinds = [(mean(row["line"]), mean(row["accuracy"])) for row in (frames, larger, sizes)]
    assert kinds == sorted(kinds)  # "The nearer to every line, the nearer to half"
    assert sorted(one for _, one in kinds) == [one for _, one in kinds]
    assert abs(mean(frames["accuracy"]) - 50) < abs(mean(frames["accuracy"]) - 25)  # Ben
    for row in (frames, larger, sizes):
        assert row["accuracy"] == row["turned"]  # "do not change in a single digit"
        low, half = gain(row["accuracy"], [0.5] * 5)
        assert low - half < 0  # "above it, by the proof, no model gets"
    conv, gru = rows["convolution"], rows["GRU"]
    assert (
        f"their sign the steps have {mean(moved['accuracy']):.0f} % (their rate is the highest that"
        f" we tried), the convolution {mean(conv['accuracy']):.0f}, the GRU"
        f" {mean(gru['accuracy']):.1f}."
    ) in text
    assert set(moved["rate"]) == {0.1}
    assert (
        f"fall to {mean(moved['turned']):.0f}, {mean(conv['turned']):.1f} and"
        f" {mean(gru['turned']):.1f}"
    ) in text
    assert f"in training too, has {mean(rows['GRU, any order']['accuracy']):.0f}" in text
    chance, half = gain(rows["left or right: first frame"]["accuracy"], [0.5] * 5)
    assert abs(chance) < half  # "it is at chance"
    whole = rows["the same, digits stay whole"]["accuracy"]
    assert round(mean(whole)) in (89, 90) and "one frame has 90 %" in text


def test_errors_in_numbers(text):
    rows = {name: mean(row["rms"], 1) for name, row in stored("06", "errors").items()}
    assert rows["hold, 0 lost"] / rows["nearest, 0 lost"] == pytest.approx(2, abs=0.1)
    assert rows["hold, 0 lost"] / rows["linear, 0 lost"] == pytest.approx(12, abs=0.5)
    assert f"60 % lost, held values err by {rows['hold, .6 lost']:.2f}" in text
    assert (
        f"With no limit hold errs by {rows['hold, gaps, inf']:.2f}, a line across the gap by"
        f" {rows['linear, gaps, inf']:.2f};"
    ) in text
    share = mean(stored("06", "errors")["hold, gaps, 1"]["share"])
    assert (
        f"of one second {rows['hold, gaps, 1']:.2f} and {rows['linear, gaps, 1']:.2f}, for"
        f" {share:.0f} %"
    ) in text
    assert f"as if none were late: {rows['late, by their times']:.2f}" in text
    assert f"`resample(..., arrived=...)`): {rows['late, what was in']:.2f}." in text
    assert f"the time of measuring: {rows['late, stamped on arrival']:.2f}, worse" in text


def test_leak_in_numbers(text):
    rows = {name: row["accuracy"] for name, row in stored("06", "leak").items()}
    paper, use, known, hold = rows.values()
    assert f"the rest tests: {mean(paper):.0f} % right, on paper" in text
    assert f"Of its {mean(paper):.0f} % linear keeps {mean(use):.0f} in use." in text
    assert f"what is known in use, it has {mean(known):.0f}." in text
    assert f"is as good here ({mean(hold):.0f})" in text
    future, half = gain(paper, known, 10)
    assert future > half and f"the future is worth {future:.0f} points" in text
    misfit, half = gain(known, use, 10)
    assert misfit > half and f"the other {misfit:.0f} are lost" in text
    off, half = gain(hold, known, 10)
    assert abs(off) < max(half, 2)  # "as good"
    assert f"the leak: {mean(paper):.0f} % on paper, {mean(use):.0f} in use" in text


def test_known_lines_end_at_the_newest_reading(page):
    sent = SmartHome(2).stream("motion", 60, rate=0.5, seed=3)
    clock = 10 + torch.arange(30, dtype=torch.float64)
    found = page["windows"]("known", sent, clock)
    for k in range(len(found)):  # all readings from after the window's last tick are struck out
        now = clock[k + 3]
        times, values = (part[sent.times <= now] for part in sent[:2])
        times, values = torch.cat([times, now[None] + 99]), torch.cat([values, values[-1:]])
        line = resample(times, values, clock[k : k + 4], how="linear")[0]
        assert torch.allclose(found[k], line)


def test_alarm_in_numbers(text):
    rows = {name: row["accuracy"] for name, row in stored("06", "alarm").items()}
    for name in ("motion alone", "sound alone", "both, sound of another moment"):
        off, half = gain(rows[name], [0.5] * 5)
        assert abs(off) < half  # "at chance"
    assert (
        f"The tree on held values has {mean(rows['both']):.0f} %, the rule"
        f" {mean(rows['rule, hold']):.0f}, and {mean(rows['rule, linear']):.1f} with linear"
    ) in text
    cost, half = gain(rows["rule, linear"], rows["rule, linear, clock 1 s off"])
    assert cost > half and f"one second fast costs {cost:.0f} points" in text
    below, half = gain(rows["rule, linear, clock 3 s off"], [0.5] * 5)
    assert below < -half
    assert f"the rule has {mean(rows['rule, linear, clock 3 s off']):.0f} %" in text


def test_record_in_numbers(text):
    rows = {name: row["accuracy"] for name, row in stored("06", "record").items()}

    def more(kind):
        return gain(rows[f"{kind}, flags"], rows[f"{kind}, filled"], 10)

    nothing, half = more("at random")
    assert abs(nothing) < half  # "gain nothing here"
    wider = (1 + 10 * 2 / 3) ** 0.5  # the splits share rows
    assert f"is widened {wider:.1f} times" in text
    large, half = more("large values")
    assert large > wider * half and f"and gains {large:.0f} points" in text
    chosen, half = more("by choice")
    assert chosen > wider * half
    chosen, half = gain(rows["by choice, flags"], rows["none, flags"], 10)
    assert chosen + half > 0  # "make up for it"
    assert (
        f"{mean(rows['by choice, flags']):.1f} %, where the five columns without a gap have"
        f" {mean(rows['none, flags']):.1f}."
    ) in text
    less, half = more("by choice, then none")
    assert less < -wider * half and f"{-less:.0f}" == "9" and "nine points below" in text
    assert f"this model has {mean(rows['by choice, then none, flags']):.0f}, nine" in text


def test_single_runs_made_again_agree(page):
    assert page["alarm_tree"](["motion", "sound"], 1) == pytest.approx(
        stored("06", "alarm")["both"]["accuracy"][1], abs=0.02
    )
    assert page["record"]("large values", True, 2) == pytest.approx(
        stored("06", "record")["large values, flags"]["accuracy"][2], abs=0.02
    )
    assert page["late"]("what was in", 3)[0] == pytest.approx(
        stored("06", "errors")["late, what was in"]["rms"][3], abs=1e-3
    )
    assert page["forecast"]("linear", "known", 4) == pytest.approx(
        stored("06", "leak")["linear, in use"]["accuracy"][4], abs=0.02
    )


def test_gaps_come_as_often_as_the_page_says(page):
    table, draw = np.random.default_rng(0).normal(size=(4000, 5)), np.random.default_rng(1)
    benign = np.arange(4000) % 2
    kinds = {kind: np.isnan(page["with_gaps"](table, benign, kind, draw)) for kind in page["GAPS"]}
    assert not kinds["none"].any()
    assert kinds["at random"].mean() == pytest.approx(0.4, abs=0.02)
    large = table > np.median(table, axis=0)
    assert kinds["large values"][large].mean() == pytest.approx(0.8, abs=0.02)
    assert not kinds["large values"][~large].any()
    for side, share in ((1, 0.56), (0, 0.16)):
        assert kinds["by choice"][benign == side].mean() == pytest.approx(share, abs=0.02)
