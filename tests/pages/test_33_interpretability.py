"""What page 33 goes on with of the reader's own code, what its fault is, and what it says of its
stored runs.
"""

import sys
from functools import partial

import pytest
import torch
from reading import gain, printed, said, the_cell
from torch import nn
from torch.nn import functional as F

from course_utils.datasets.scene_words import ATTRIBUTES, KINDS
from course_utils.datasets.scenes import HELD_OUT
from course_utils.exercises import _find, reference, verdict
from course_utils.metrics import mean_interval
from course_utils.rooms import stored
from course_utils.runtime import ROOT, seed_everything

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

cell = partial(the_cell, "33")

# ---- the reader's own code ----


def by_weights(model, cells, attribution, blank, random):
    def left(places):
        gone = F.one_hot(places, cells.shape[1]).sum(1)[..., None].to(cells.dtype)
        return model(cells * (1 - gone) + gone * blank)

    named = left(attribution.sort(dim=1, descending=True).indices[:, : random.shape[2]])
    return sum(left(places) for places in random) / len(random) - named


def inside(score, x, baseline, steps):
    out = torch.zeros_like(x)
    for i in range(steps):
        point = torch.lerp(baseline.expand_as(x), x, (i + 0.5) / steps).requires_grad_()
        (slope,) = torch.autograd.grad(score(point).sum(), point)
        out = out + (x - baseline) * slope / steps
    return out


@pytest.mark.parametrize("key, answer", [("33.1", by_weights), ("33.2", inside)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_a_black_region_in_place_of_the_blank_is_named():
    def black(model, cells, attribution, blank, random):
        return by_weights(model, cells, attribution, torch.zeros_like(blank), random)

    right, text = verdict(_find("33.1"), black)
    assert not right and "black is a colour" in " ".join(text.split())


def test_integrated_gradients_are_captums():
    attr = pytest.importorskip("captum.attr")
    seed_everything(0)
    net = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)).to(torch.float64)
    x, start = torch.randn(2, 5, 6, dtype=torch.float64)
    for steps in (2, 7, 50):
        theirs = attr.IntegratedGradients(net).attribute(
            x, baselines=start, target=1, n_steps=steps, method="riemann_middle"
        )
        ours = reference("33.2")(lambda rows: net(rows)[:, 1], x, start, steps)
        torch.testing.assert_close(ours, theirs)


# ---- what stands in its cells ----


@pytest.fixture(scope="module")
def page():
    return measured_cells("33")


def test_scenes_are_drawn_again_pixel_for_pixel(page):
    from course_utils.datasets import Scenes

    for split in ("train", "novel"):
        scenes = Scenes(split, size=40, seed=3)
        for item in (scenes[i] for i in range(40)):
            things, picture = page["repaint"](item["objects"])
            assert things == item["objects"] and torch.equal(picture, item["image"])


def test_a_swap_changes_what_it_says_and_knows_the_right_answer(page):
    _, items = page["load"]("test", 25)
    for name, some in page["swapped"](items).items():
        for one in some:
            old, new = items[one["row"]]["objects"], one["objects"]
            assert sum(a != b for a, b in zip(old, new)) == 1
            assert one["stays"] != name.startswith("asked thing, what is asked")
            assert not torch.equal(one["image"], items[one["row"]]["image"])


def test_with_its_weights_held_fixed_the_score_is_the_same(page):
    seed_everything(0)
    model = page["Asker"]().eval()
    part, _ = page["load"]("test", 8)
    answer = page["said"](model, part)
    one = page["score_of"](model, part, answer)(part["cells"])
    torch.testing.assert_close(page["fixed_score"](model, part, answer)(part["cells"]), one)


def test_the_fault_is_the_baselines(capsys, page):
    _, items = page["load"]("test", 120)
    own = [item for item in items if item["kind"] == "shape"]
    own = [i for i in own if i["objects"][page["asked_thing"](i)].colour == "white"]
    assert len(own) > 1
    seed_everything(0)
    part, model = page["as_part"](own), page["Asker"]().eval()
    names = {"torch": torch, "images": torch.stack([item["image"] for item in own])}
    names["on_thing"] = torch.stack([i["objects"][page["asked_thing"](i)].mask() for i in own])
    names["integrated_gradients"] = reference("33.2")
    names["pixel_score"] = page["whole_score"](
        page["encoder"].body, model, part, page["said"](model, part)
    )
    assert printed(capsys, cell("page_of", "# a white page"), dict(names)) == "False"
    assert printed(capsys, cell("page_of", "# an empty scene"), dict(names)) == "True"


def test_the_empty_cell_is_one(page):
    part, items = page["load"]("test", 40)
    own, other = page["covered"](items)
    assert (own >= 0).all() and (other >= -1e-6).all() and (own + other <= 1 + 1e-6).all()
    near = (part["cells"] - page["EMPTY"]).norm(dim=2)
    corner = near.view(-1, 8, 8)[:, 1:-1, 1:-1].flatten(1)
    assert corner.amin(1).max() < 1 < corner.amax(1).min()


def test_the_small_falls():
    small = torch.tensor([3.0, 1.0, 0.0, -1.0])
    falls = [
        (small.sum().sigmoid() - (small.sum() - value).sigmoid()).item() for value in small.tolist()
    ]
    mean = sum(falls) / 4
    assert f"It falls by {falls[0]:.2f} without the named region, and by {mean:.2f}" in said("33")
    assert f"-0.03 by four draws, give {falls[0] - mean:.2f}." in said("33")


# ---- what the page says of its stored runs ----


@pytest.fixture(scope="module")
def text():
    return said("33")


def runs(sweep, row, what="all"):
    return stored("33", sweep)[row]["accuracy"][what]


def shown(sweep, row, what="all", decimals=0):
    kept = runs(sweep, row, what)
    assert len(kept) == 5
    return f"{100 * sum(kept) / 5:.{decimals}f}"


def alike(row, what="all"):
    return f"{sum(runs('sanity', row, what)) / 5:.2f}"


def more(one, other, what="all", sweep="deletion"):
    mean, half = gain(runs(sweep, one, what), runs(sweep, other, what))
    return f"{mean:.1f} ± {half:.1f}", mean - half > 0


gaps = partial(shown, "deletion", decimals=1)
swap = partial(shown, "swaps", what="right")
combination = partial(shown, "combinations")


def test_the_bet_in_numbers(text):
    colour, clear = more("attention", "gradient times input", "colour")
    every, too = more("attention", "gradient times input")
    assert clear and too and 'outcome("32.c", "Ada")' in text
    assert f"falls {colour} points further for attention, on all questions {every}." in text
    size, of_colour = gaps("its size"), gaps("its size", what="colour")
    assert f"sign dropped, has {size} (on colour {of_colour}): nearer, and Ada wins then" in text
    assert all(more("attention", "its size", kind)[1] for kind in ("all", "colour"))
    assert f"only the sign dropped, it is {size}." in text
    one, other = (
        gaps(row, what="colour", decimals=0) for row in ("attention", "gradient times input")
    )
    words = f"the answer falls {one} points further without the three regions of attention"
    assert f"{words} than without three at random, {other} for gradient" in text
    mean = 100 * sum(stored("33", "deletion")["model"]["accuracy"]["right"]) / 5
    assert f"({mean:.1f} % are right, in the mean of five trainings)" in text


def test_controls_of_the_gap_in_numbers(text):
    true, filled, others = map(gaps, ("true pixels", "any filled", "other things"))
    assert f"covers most: {true} points" in text and f"something in them, {filled};" in text
    assert f"where there are no others): {others}." in text
    assert float(true) > float(filled) + 10 > float(others) + 10
    fall = gaps("the random fall itself")
    assert f"The random fall itself is small, {fall} points" in text
    for blank in ("mean cell: ", "cells: "):
        assert gaps(f"{blank}attention") in text and gaps(f"{blank}gradient times input") in text
        assert more(f"{blank}attention", f"{blank}gradient times input")[1]


def test_holding_the_weights_fixed_mends_it(text):
    fixed, plain = gaps("attention held fixed"), gaps("gradient times input")
    assert f"{fixed} points in place of {plain}" in text
    assert more("attention held fixed", "gradient times input")[1]
    assert more("integrated gradients", "gradient times input")[0] + " more than gradient" in text
    assert f"({more('integrated gradients', 'attention')[0]} more)" in text
    assert not more("integrated gradients", "attention")[1]


def test_the_way_helps_and_not_the_baseline(text):
    empty, zero, alone, negative = (
        runs("baselines", row)
        for row in (
            "gradient times input, from the empty region",
            "integrated gradients, from zero",
            "each region taken away alone",
            "most attention, negative product",
        )
    )
    one, other, single, share = (
        100 * sum(row) / len(row) for row in (empty, zero, alone, negative)
    )
    assert (
        f"from the empty region has {one:.1f}, integrated gradients from zero {other:.1f}." in text
    )
    assert f"and notes the fall, has {single:.1f} points." in text
    assert f"In {share:.0f} % of the questions the region with most attention has a" in text
    mean, half = gain(zero, runs("deletion", "gradient times input"))
    assert mean - half > 5
    mean, half = gain(runs("deletion", "attention"), alone)
    assert mean - half > 5


def test_swaps_in_numbers(text):
    for name in ("asked thing, what is asked", "asked thing, something else"):
        assert f"{swap(name, decimals=1)}" in text and f"{swap(name + ', never shown')}" in text
        assert more(name, name + ", never shown", "right", "swaps")[1]
    follows = swap("asked thing, what is asked", decimals=1)
    assert f"the answer follows in {follows} % of the cases" in text
    assert f"the answer follows what is asked in {follows} %, and" in text
    stays = [
        swap(f"another thing, {what}", decimals=1) for what in ("what is asked", "something else")
    ]
    assert f"it stays in {swap('asked thing, something else', decimals=1)};" in text
    assert f"it stays in {stays[0]} and {stays[1]}." in text


def test_new_combinations_in_numbers(text):
    known, new, told = (
        combination(row, what="right") for row in ("held out: known", "held out: new", "shown: new")
    )
    words = f"the four pairs {known} % of the known ones are right, and in the mean {new} % of the"
    assert words in text
    assert f"Shown them, the asker has {told} %:" in text
    assert min(runs("combinations", "shown: new", "right")) > 0.85
    for pair in ("red triangle", "blue cross", "green circle"):
        share = runs("combinations", f"held out: {pair}", "right")
        low, high = (f"{100 * value:.0f}" for value in (min(share), max(share)))
        assert f"{low} and {high}" in text or f"{low} to {high} %" in text
    for pair, word in (("red triangle", "fall"), ("yellow square", "rise")):
        both = [f"{way}: {pair}" for way in ("held out", f"but {pair}")]
        before, after = (combination(row, what="right") for row in both)
        assert f"{pair}s {word} from {before} to {after}" in text.replace(" %", "")
        order = both if word == "fall" else both[::-1]
        assert more(*order, "right", "combinations")[1]
    at_new = combination("held out: new", what="pointing")
    wrong = combination("held out: new and wrong", what="pointing")
    assert f"points at the asked thing in {at_new} % of the pictures" in text
    assert f"also in {wrong}." in text and float(wrong) > 80


def test_the_asker_of_the_new_pairs_is_the_pages(page):
    """Seed 0 without the four pairs is the page's own model: trained again, and asked again."""
    data = {
        split: page["load"](split, size)[0]
        for split, size in (("train", 3_000), ("validation", 500))
    }
    train = page["some_missing"](data["train"], 0)
    model, _ = page["train"](page["Asker"], train, data["validation"], 0, lr=1e-2)
    swaps = page["colour_swaps"]("test", 600)
    good = page["right"](model, page["as_part"](swaps))
    new = torch.tensor([(one["colour"], one["answer"]) in HELD_OUT for one in swaps])
    assert good[~new].mean() - runs("combinations", "held out: known", "right")[0] > -0.03
    assert abs(good[new].mean() - runs("combinations", "held out: new", "right")[0]) < 0.15


def test_random_weights_in_numbers(text):
    whole = "integrated gradients"
    assert f"does not notice a random head, {alike('head: attention')}:" in text
    assert min(runs("sanity", "head: attention")) > 0.999
    assert f"nothing is left of it, {alike('question: attention')}." in text
    assert f"stay at {alike(f'all convolutions: {whole}')} when *all* convolutions" in text
    assert f"falls to {alike(f'all convolutions: {whole}', 'things')}" in text
    one, seed, chance = (
        alike(f"{stage}: gradient")
        for stage in ("all convolutions", "another seed", "another picture")
    )
    assert (
        f"no such factor: {one}, where another seed has {seed} and another picture {chance}" in text
    )
    labels = (alike(f"labels shuffled: {name}") for name in ("attention", "gradient"))
    assert "attention is at {} and the gradient at {}.".format(*labels) in text


def test_rule_and_game_in_numbers(text):
    mean, half = mean_interval([100 * x for x in runs("swaps", "30 questions", "right")])
    assert f"from {mean:.1f} ± {half:.1f} to" in text
    asked = [KINDS[i % 7] for i in range(7_000) if KINDS[i % 7] in ATTRIBUTES][:1_000]
    guessed = sum(1 / len(ATTRIBUTES[kind]) for kind in asked) / len(asked)
    assert f"with a guess among what it allows, has {100 * guessed:.1f}:" in text
    gained, clear = more("30 questions, rule", "30 questions", "right", "swaps")
    assert clear and f"{gained} points" in text
    c, q, p = (
        float(swap(f"attack: {name}", decimals=6)) / 100 for name in ("none", "question", "picture")
    )
    assert f"are {c:.2f}, {q:.2f} and {p:.2f}:" in text
    assert f"with probability {(c - q) / (2 * c - q - p):.2f}" in text
