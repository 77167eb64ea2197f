"""What page 18 goes on with of the reader's own code, what its faults are, and what it says of its
stored runs.
"""

import math
import sys
from functools import partial

import pytest
import torch
from reading import gain, said, the_cell
from torch import nn
from torch.nn import functional as F

from course_utils import metrics
from course_utils.datasets import Digits
from course_utils.exercises import reference
from course_utils.metrics import mean_interval
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

# ---- the reader's own code ----


class ByRows(nn.Module):
    def __init__(self, inputs, width, classes, values):
        super().__init__()
        self.trunk = nn.Linear(inputs, width)
        self.digit, self.other = nn.Linear(width, classes), nn.Linear(width, values)

    def forward(self, x):
        h = F.relu(self.trunk(x))
        return self.digit(h), self.other(h)

    def losses(self, x, labels, targets, weight):
        logits, values = self(x)
        kept, there = labels != -100, ~targets.isnan()
        first, second = logits.sum() * 0, values.sum() * 0
        if kept.any():
            first = F.nll_loss(logits[kept].log_softmax(1), labels[kept])
        if there.any():
            second = F.mse_loss(values[there], targets[there])
        return first + weight * second, first, second


def by_hstack(first, second, shared):
    def vector(loss):
        grads = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
        return torch.hstack([(0 * p if g is None else g).ravel() for p, g in zip(shared, grads)])

    return F.cosine_similarity(vector(first), vector(second), dim=0)


@pytest.mark.parametrize("key, answer", [("18.1", ByRows), ("18.2", by_hstack)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


# ---- what stands in its cells ----


cell = partial(the_cell, "18")


@pytest.fixture(scope="module")
def page():
    return measured_cells("18")


def test_without_its_last_term_nothing_is_asked(page, capsys):
    names = {"torch": torch, "LearnedWeights": page["LearnedWeights"]}
    exec(cell("def settle(weigh"), names)
    fault = cell("class Weighing", "second / 2\n")
    exec(fault, names)
    assert capsys.readouterr().out.splitlines()[-1].endswith("False")
    exec(cell("class Weighing", "pass"), names)
    out = capsys.readouterr().out
    assert out.splitlines()[-1].endswith("True") and "weights [1.0, 25.0]" in out
    exec(fault.replace(" / 2\n", " / 2 + self.s.sum() / 2\n"), names)  # the term alone mends it
    assert capsys.readouterr().out.splitlines()[-1].endswith("True")
    low = 1 + math.log(2 * 0.5) / 2 + math.log(0.02) / 2
    assert f"the weights become 1 and 25, and L = {low:.2f}" in said("18")


def test_small_numbers_in_words():
    logits = torch.tensor([[2.0, 0], [0, 1], [1, 1]])
    first = F.cross_entropy(logits[:2], torch.tensor([0, 1])).item()
    second = ((1 - 2) ** 2 + 0) / 2
    assert f"{first:.2f}" == "0.22" and f"{first + 10 * second:.2f}" == "5.22"
    assert "the losses are 5.22, 0.22 and 0.5" in " ".join(cell('exercise="18.1"').split())
    assert (9 - 16) / 25 == -0.28


def test_hidden_labels_and_second_questions(page):
    count = 60
    part = {
        "image": torch.arange(count)[:, None].float(),
        "label": torch.arange(count) % 10,
        "ink": torch.rand(count, 1),
        "words": torch.rand(count, 78),
    }
    few = page["hide"](part, 20, seed=3)
    assert (few["label"] >= 0).tolist() == [True] * 20 + [False] * 40
    assert torch.equal(few["label"][:20], few["image"][:20, 0].long() % 10)  # rows stay together
    even = page["second_question"]("even", few, 0)
    assert torch.equal(even[:20, 0] == 1, few["label"][:20] % 2 == 0) and even[20:].isnan().all()
    letters = page["second_question"]("letters", few, 0)
    assert letters.shape == (count, 26) and abs(letters.square().mean() - 1) < 1e-5
    mixed = page["second_question"]("letters, shuffled", few, 0)
    assert not torch.equal(letters, mixed)
    assert torch.allclose(letters.sort(0).values, mixed.sort(0).values)
    own = page["second_question"]("letters of the few", few, 0)
    assert torch.equal(own[:20], letters[:20]) and own[20:].isnan().all()
    rows = page["batch_rows"](few["label"], torch.Generator().manual_seed(0), size=50)
    assert rows[:20].tolist() == list(range(20)) and rows[20:].min() >= 20


@pytest.mark.parametrize("squares", [True, False])
def test_many_models_at_a_time_learn_as_one(page, squares):
    """The stored runs train many models at a time; the page's loop gives the same."""
    sweeps, draw = load("18", "sweeps"), torch.Generator().manual_seed(0)
    x, labels = torch.randn(80, 12, generator=draw), torch.arange(80) % 10
    part = {"image": x, "label": labels.where(torch.arange(80) < 30, -100)}
    held = {"image": torch.randn(50, 12, generator=draw), "label": torch.arange(50) % 10}
    targets = torch.randn(80, 3, generator=draw)
    targets[5:9] = torch.nan

    class Yes(reference("18.1")):
        def second(self, values, targets):
            kept = ~targets.isnan()
            yes = (targets[kept] > 0).float()
            return F.binary_cross_entropy_with_logits(values[kept], yes)

    dials = sweeps.choices((0.0, 2.0), rates=(1e-3, 1e-2))
    best, models, _ = sweeps.many(page, part, targets, [held], 4, dials, squares=squares, steps=25)
    for i, one in enumerate(dials):
        model, score = page["train"](
            reference("18.1") if squares else Yes, part, targets, held, 4, one["weight"],
            rate=one["rate"], decay=one["decay"], steps=25,
        )  # fmt: skip
        assert abs(score - best[i]) < 0.03
        for name, p in model.named_parameters():
            assert torch.allclose(p, models[name][i], atol=2e-4), (one, name)


def test_learned_weights_are_learned_alike(page):
    sweeps, draw = load("18", "sweeps"), torch.Generator().manual_seed(1)
    part = {"image": torch.randn(300, 12, generator=draw), "label": torch.arange(300) % 10}
    targets, weigh = torch.randn(300, 3, generator=draw), page["LearnedWeights"]()
    dials = sweeps.choices((0.0,), rates=(1e-2,), decays=(0.0,))
    path = sweeps.many(page, part, targets, [part], 2, dials, learned=True, steps=11)[2]
    page["train"](reference("18.1"), part, targets, part, 2, 0.0, rate=1e-2, steps=10, weigh=weigh)
    assert torch.allclose(path[-1][0], weigh.s.detach(), atol=1e-4)


# ---- what the page says of its stored runs ----

YES = "even, cross-entropy"


@pytest.fixture(scope="module")
def rows():
    names = (
        "even", "even_or_odd", "even_again", "second", "others", "wide", "units", "learned",
        "modality", "angles", "angles_elsewhere", "real",
    )  # fmt: skip
    return {name: stored("18", name) for name in names}


def points(row, other, seeds=5, sign=""):
    """As the page says a paired difference."""
    mean, half = gain(row["accuracy"][:seeds], other["accuracy"][:seeds], seeds)
    return f"{mean:{sign}.1f} ± {half:.1f}"


def percent(row, seeds=None):
    return metrics.percent(row["accuracy"][:seeds])


def test_the_bet(rows):
    even, odd, alone = rows["even"], rows["even_or_odd"], rows["even"]["digit alone"]
    assert "nothing that ten seeds show" in said("18")
    for row in (even["even, tuned"], odd["even, cross-entropy, tuned"]):
        for seeds in (5, 10):
            mean, half = gain(row["accuracy"][:seeds], alone["accuracy"][:seeds], seeds)
            assert abs(mean) < half  # Ben, in all four
    one = odd["even, cross-entropy, weight 1"]
    assert (
        f"at the *fixed* weight 1 gains {points(one, alone)} in the bet's five seeds, one of eight"
        f" such rows; in ten seeds {points(one, alone, 10)}." in said("18")
    )
    again = rows["even_again"]
    fresh = [points(again[f"{YES}, {n}"], again["digit alone"], 10) for n in ("weight 1", "tuned")]
    assert "say {} at this weight, and {} tuned:".format(*fresh) in said("18")
    loud = [
        points(r, alone, sign="+")
        for r in (even["even, weight 100"], odd["even, cross-entropy, weight 100"])
    ]
    assert "both lose: {} (squares) and {} points".format(*loud) in said("18")
    assert sum(", weight" in name for name in even | odd) == 8
    low = [r[f"{n}, tuned"]["weight"].count(0.1) for r, n in ((even, "even"), (odd, YES))]
    assert "is chosen in {} of ten seeds (squares) and in {};".format(*low) in said("18")
    quiet = [points(r[f"{n}, weight 0.1"], alone, 10) for r, n in ((even, "even"), (odd, YES))]
    assert "fixed, it changes {} and {} points in ten seeds".format(*quiet) in said("18")


def test_how_many_choose(page):
    validation, labels = Digits("validation"), 258
    assert len(validation) == labels and f"Validation has {labels} labelled" in said("18")


def test_what_helps_and_its_controls(rows):
    alone, other = rows["even"]["digit alone"], rows["second"] | rows["others"]
    helps = gain(other["letters, tuned"]["accuracy"], alone["accuracy"][:5])
    assert helps[0] > helps[1]
    for name in ("letters, shuffled", "letters of the few", "ink"):
        mean, half = gain(other[f"{name}, tuned"]["accuracy"], alone["accuracy"][:5])
        assert abs(mean) < half, name
    for name in ("letters, shuffled", "ink"):
        mean, half = gain(other[f"{name}, weight 100"]["accuracy"], alone["accuracy"][:5])
        assert mean < -half
    told = {n: points(other[f"{n}, tuned"], alone, sign="+") for n in ("letters of the few", "ink")}
    assert f"of the 100 alone: {told['letters of the few']}, so it takes" in said("18")
    assert f"known for all 1,287: {told['ink']}." in said("18")
    wide = rows["wide"]
    for name, before in (("digit alone", alone), ("letters, tuned", other["letters, tuned"])):
        assert wide[name]["accuracy"] == before["accuracy"][:5]
        assert wide[name]["rate"] == before["rate"][:5]
    names = ("letters, shuffled", "letters of the few", "ink")
    shown = [points(wide[f"{name}, tuned"], alone, sign="+") for name in names]
    assert "the controls give {}, {} and {}.".format(*shown) in said("18")
    assert 0.01 in alone["rate"][:5] and 0.01 in other["letters, tuned"]["rate"]
    whole = other["all labels: digit alone"], other["all labels: letters, tuned"]
    assert (
        f"the digit alone has {percent(whole[0])} %, and the letters change"
        f" {points(whole[1], whole[0], sign='+')} points" in said("18")
    )
    loud = [
        points(other[f"{n}, weight 100"], alone, sign="+") for n in ("ink", "letters, shuffled")
    ]
    loud.append(points(rows["even"]["even, weight 100"], alone, sign="+"))
    assert "ink {}, shuffled letters {}, even {}.".format(*loud) in said("18")


def test_units_and_learned_weights(rows):
    units = rows["units"]
    best = units["weight 100"]
    lost = points(best, units["times 100: weight 100"])
    assert f"With the weight kept the digit loses {lost} points" in said("18")
    mended = units["times 100: weight 0.01"]
    mean, half = gain(mended["accuracy"], best["accuracy"])
    assert abs(mean) < half and f"still {mean:+.1f} ± {half:.1f}, an interval" in said("18")
    lost = points(best, units["learned"])
    assert f"**Learned weights** lose {lost} points against the weight 100" in said("18")
    added = points(units["learned"], rows["even"]["digit alone"])
    assert f"to the digit alone they add {added}." in said("18")
    low, high = min(units["learned"]["ratio"]), max(units["learned"]["ratio"])
    assert f"the digit and end with {low:.2f} to {high:.2f} times" in said("18")
    assert set(rows["second"]["letters, tuned"]["weight"]) == {100, 1000}
    own = rows["learned"]["learned, own rate"]
    assert max(own["ratio"]) < 0.04 and sum(x == 5e-6 for x in own["ratio"]) == 4
    assert f"Right are again {percent(own)} %" in said("18")
    assert percent(own).split()[0] == percent(units["learned"]).split()[0]


def test_angles(rows):
    def mean_of(name, key):
        mean, half = mean_interval([sum(path) / len(path) for path in rows["angles"][name][key]])
        return f"{mean:.2f} ± {half:.2f}"

    text = said("18")
    assert f"The same question of other samples has {mean_of('letters', 'unseen')}:" in text
    assert f"their cosine is below 0: {mean_of('letters', 'between')}." in text
    assert f"hurts at this weight, and its cosine is {mean_of('ink', 'between')}." in text
    assert f"know nothing, stand at {mean_of('letters, shuffled', 'between')}," in text
    means = {n: [sum(p) / 10 for p in r["between"]] for n, r in rows["angles"].items()}
    gaps = [a - b for a, b in zip(means["letters"], means["letters, shuffled"])]
    mean, half = mean_interval(gaps)
    assert mean > half and f"the letters are {mean:.2f} ± {half:.2f} above it" in text
    elsewhere = {
        n: [sum(p) / 10 for p in r["between"]] for n, r in rows["angles_elsewhere"].items()
    }
    for where, words in (
        ("weight 100, rate 0.003", "At the rate 0.003 they are {} above"),
        ("weight 10, rate 0.001", "at the weight 10 only {}, though they help there"),
    ):
        own = elsewhere[f"letters, {where}"]
        gap = mean_interval([a - b for a, b in zip(own, elsewhere[f"letters, shuffled, {where}"])])
        assert words.format("{:.2f} ± {:.2f}".format(*gap)) in text
        mean, half = mean_interval(own)
        assert mean < -half  # "letters stay below 0"
        mean, half = mean_interval(elsewhere[f"ink, {where}"])
        assert mean > 0  # "and ink does not"
    alone = rows["even"]["digit alone"]["accuracy"][:5]
    mean, half = gain(rows["second"]["letters, weight 10"]["accuracy"], alone)
    assert mean > half
    for name in ("letters of the few", "ink"):
        assert set(rows["others"][f"{name}, tuned"]["weight"]) == {1}


def test_a_modality_is_not_a_task(rows):
    def row(name, count="few"):
        return rows["modality"][f"{count}: {name}"]

    def change(one, other, count="few", sign="+"):
        return points(row(one, count), row(other, count), sign=sign)

    text, dropped = said("18"), "two modalities, dropped: picture"
    questions, modalities = row("two questions: picture"), row("two modalities: picture")
    assert f"the two questions have {percent(questions)} %; two modalities" in text
    below = change("two modalities: picture", "picture: picture")
    assert f"two modalities {percent(modalities)}, which is {below} against" in text
    assert f"and the choice was made for both uses, {percent(row(dropped))}." in text
    pair = row("picture: picture"), rows["even"]["digit alone"]
    alone = [percent(one, 5).split()[0] for one in pair]
    assert "(the picture alone {} for {})".format(*alone) in text
    gained = change("two questions: picture", dropped, sign="")
    assert f"Over that the question gains {gained}." in text
    ahead = change("two questions: picture", dropped, "all", sign="")
    assert f"with all labels it is no longer ahead, {ahead}." in text
    both = [percent(row("two modalities: both", count)) for count in ("few", "all")]
    assert "the modality reads it: {}, and with all labels {}.".format(*both) in text
    beside = [change("two modalities: both", "word: word", c, sign="") for c in ("all", "few")]
    assert f"With all labels yes, {beside[0]} over the word alone." in text
    assert f"the word *alone* has {percent(row('word: word'))}, and picture and word" in text
    assert f"in one network change that by {beside[1]}." in text
    pairs = [(f"two classifiers: {m}", f"{m}: {m}") for m in ("picture", "word")]
    shown = [change(*pair, count) for count in ("few", "all") for pair in pairs]
    mean, half = gain(*(row(name)["accuracy"] for name in pairs[0]))
    assert mean < -half  # "The picture loses a little, with 100 labels"
    assert (
        "changes {} points for the picture and {} for the word, with all {} and {}.".format(*shown)
        in text
    )
    unseen = percent(row("two classifiers: both", "all"))
    assert f"asked with both, after all labels, it has {unseen} %" in text


def test_real(rows):
    real = rows["real"]
    shown = [points(real[n], real["digit alone"]) for n in ("letters", "letters, shuffled")]
    assert "On MNIST the letters give {} points, shuffled ones {}.".format(*shown) in said("18")
