"""What page 00 goes on with of the reader's own functions, and what it says of its runs."""

import re

import pytest
import torch
from reading import said
from torch.nn import functional as F

from course_utils import exercises
from course_utils.exercises import reference
from course_utils.metrics import mean_interval
from course_utils.rooms import ROOMS, stored

# ---- the reader's own functions ----


def linear(batch, names, weight, bias):
    return F.linear(torch.hstack([batch[name] for name in names]), weight, bias)


def each_for_itself(logits, labels):
    """A loop over the samples."""
    right = [row.argmax().item() == label.item() for row, label in zip(logits, labels)]
    return sum(right) / len(right)


def by_row_numbers(features, name, order):
    return features | {name: features[name][order, :]}


def weight_without_gradient(batch, names, weight, bias):
    return linear(batch, names, weight.detach(), bias)


def bias_as_numbers(batch, names, weight, bias):
    return linear(batch, names, weight, torch.tensor(bias.tolist(), dtype=bias.dtype))


def number_by_number(batch, names, weight, bias):
    """A product for each sample and class."""
    fused = torch.cat([batch[name] for name in names], dim=1)
    rows = [[row @ w + b for w, b in zip(weight, bias)] for row in fused]
    return torch.stack([torch.stack(row) for row in rows])


def largest_by_hand(logits, labels):
    """Compares one logit with the next."""
    right = 0
    for row, label in zip(logits, labels):
        place = 0
        for k in range(len(row)):
            if row[k] > row[place]:
                place = k
        right += int(place == label)
    return right / len(labels)


def one_hot_product(features, name, order):
    chosen = F.one_hot(order, len(order)).to(features[name])
    return features | {name: chosen @ features[name]}


@pytest.mark.parametrize(
    "key, answer", [("00.1", linear), ("00.2", each_for_itself), ("00.3", by_row_numbers)]
)
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


@pytest.mark.parametrize(
    "answer, cut", [(weight_without_gradient, "weight"), (bias_as_numbers, "bias")]
)
def test_a_right_answer_that_cannot_be_trained_is_not_taken(accepted, answer, cut):
    taken, said = accepted("00.1", answer)
    assert taken is reference("00.1")
    assert said == f"00.1: the course's, because no gradient comes through yours to `{cut}`\n"


@pytest.mark.parametrize(
    "key, answer",
    [("00.1", number_by_number), ("00.2", largest_by_hand), ("00.3", one_hot_product)],
)
def test_a_right_answer_that_is_far_too_slow_is_not_taken(accepted, key, answer):
    taken, said = accepted(key, answer)
    assert taken is reference(key)
    assert said.startswith(f"{key}: the course's, because yours, though right, takes ")


def test_batches_have_the_size_of_the_page_and_draw_nothing():
    before = torch.get_rng_state()
    batch, names, weight, bias = exercises._find("00.1").batch()
    logits, labels = exercises._find("00.2").batch()
    features, name, order = exercises._find("00.3").batch()
    assert torch.equal(before, torch.get_rng_state())
    widths = [tuple(batch[name].shape) for name in names]
    assert widths == [(128, 78), (128, 256), (128, 256)]
    assert weight.shape == (10, 590) and weight.requires_grad and bias.requires_grad
    assert logits.shape == (252, 10) and len(labels) == 252
    assert features[name].shape == (1287, 256) and len(order.unique()) == 1287


# ---- what the page says of its stored runs ----


@pytest.fixture(scope="module")
def text():
    return said("00")


def test_the_worst_run_of_all_three_beats_each_run_with_less():
    right = stored("00", "digits_dials")["default"]["accuracy"]
    others = [run for name in ("text", "image", "audio", "text + image") for run in right[name]]
    assert min(right["all three"]) > max(others)


def test_one_clear_sense_in_numbers(text):
    right = stored("00", "digits_dials")["one clear sense"]["accuracy"]
    audio, words, picture = (round(10 * sum(right[m])) for m in ("audio", "text", "image"))
    assert f"right {audio} times in 100, the text {words}, the picture {picture}." in text
    assert f"right {words} and {picture} times in 100" in text
    product, half = gain(right["product"], right["audio"])
    shown = f"gains {product:.1f} points over the sound (interval {product - half:.1f} to"
    assert f"{shown} {product + half:.1f})" in text


def test_one_clear_sense_no_gain_is_seen_but_by_the_product():
    right = stored("00", "digits_dials")["one clear sense"]["accuracy"]
    mean, half = gain(right["all three"], right["audio"])
    assert len(right["audio"]) == 10 and mean - half < 0 < mean + half
    mean, half = gain(right["product"], right["audio"])
    assert mean - half > 0


def test_clean_text_is_always_right_and_fusion_loses():
    right = stored("00", "digits_dials")["clean"]["accuracy"]
    mean, half = gain(right["all three"], right["text"])
    assert set(right["text"]) == {1.0} and mean + half < 0


def test_default_gain_in_numbers(text):
    right = stored("00", "digits_dials")["default"]["accuracy"]
    best = max((right[name] for name in ("text", "image", "audio")), key=sum)
    assert f"(ten seeds: {gain(right['all three'], best)[0]:.0f} over the sound)" in text
    assert best == right["audio"]


def test_the_gain_over_page_09s_tuned_text(text):
    right = stored("00", "digits_dials")["default"]["accuracy"]["all three"][:5]
    tuned = stored("09", "baselines")
    assert max(("text", "image", "audio"), key=lambda one: sum(tuned[one]["accuracy"])) == "text"
    pairs = zip(right, tuned["text"]["accuracy"], strict=True)
    mean, half = mean_interval([100 * (a - b) for a, b in pairs])
    assert f"by {mean:.0f} over page 09's" in text and mean - half > 10


def test_the_product_beats_concatenation_in_each_setting():
    for setting in ("clean", "easy", "default", "hard", "one clear sense"):
        right = stored("00", "digits_dials")[setting]["accuracy"]
        mean, half = gain(right["product"], right["all three"])
        assert mean - half > 0, setting


def test_cross_entropy_falls_where_no_gain_in_accuracy_is_seen():
    loss = stored("00", "digits_dials")["one clear sense"]["loss"]
    mean, half = gain(loss["all three"], loss["audio"])
    assert mean + half < 0


def test_a_shuffled_picture_costs_more_than_the_picture_adds():
    right = stored("00", "digits_dials")["default"]["accuracy"]
    added, half = gain(right["all three"], right["text + audio"])
    assert added - half < 0 < added < 1
    lost, half = gain(right["all three, image shuffled"], right["text + audio"])
    assert -5 < lost < -4.5 and lost + half < -3
    sound, _ = gain(right["all three, audio shuffled"], right["text + image"])
    assert -2 < sound < 0


def test_real_data_in_words(text):
    right = stored("00", "digits_real")["mnist-fsdd"]["accuracy"]
    names = {name: sum(runs) for name, runs in right.items()}
    assert max(("text", "image", "audio"), key=names.get) == "image"
    counted = {2: "two", 3: "three", 4: "four", 6: "six", 7: "seven", 8: "eight"}
    over, _ = gain(right["all three"], right["image"])
    gone, _ = gain(right["all three"], right["all three, audio shuffled"])
    assert f"all three are right {counted[round(over)]} points more often" in text
    sound, _ = gain(right["all three"], right["text + image"])
    assert f"The sound adds {counted[round(sound)]} of these to text and image" in text
    assert f"shuffled, it costs {counted[round(gone)]}." in text


def test_text_and_sound_are_level_and_change_places(text):
    right = stored("00", "digits_dials")["default"]["accuracy"]
    five = {name: sum(right[name][:5]) for name in ("text", "image", "audio")}
    ten = {name: sum(right[name]) for name in five}
    assert max(five, key=five.get) == "text" and max(ten, key=ten.get) == "audio"
    assert "of five seeds the text is the best single modality, of ten (below) the sound" in text


def test_the_hurry_path_holds_all_that_its_pages_need(text):
    path = re.search(r"In a hurry: ([\d, ]+)\.", text)[1].split(", ")
    for number in path:
        needed = re.search(r"You need [^.]*\.", said(number))[0]
        assert set(re.findall(r"\b\d\d\b", needed)) <= set(path), number


def test_all_pages_stand(text):
    standing = sorted(path.parent.name[:2] for path in ROOMS.glob("*/page.py"))
    assert standing == [f"{n:02}" for n in range(36)] and "The course has 36 pages." in text


def test_the_bet_on_reading_in_order():
    """Page 01's LSTM gains less than five points over the counts, from the text alone."""
    plug = stored("01", "plug")
    rows = (
        plug[name]["accuracy"]["text"] for name in ("letters, LSTM", "letters counted (page 00)")
    )
    mean, half = gain(*rows)
    assert 0 < mean and mean + half < 5
    assert 'outcome("00.c", "Ada")' in said("01")


def gain(one, other):
    """Mean difference in points over the seeds, and half its interval."""
    assert len(one) == len(other)
    return mean_interval([100 * (a - b) for a, b in zip(one, other)])
