"""What page 15 goes on with of the reader's own code, what its faults are, and what it says of its
stored runs.
"""

import math
import sys
from functools import partial
from statistics import fmean

import pytest
import torch
from reading import gain, printed, said, the_cell
from torch import nn
from torch.nn import functional as F

from course_utils.datasets import Scenes
from course_utils.exercises import reference, verdict
from course_utils.fusion import STRATEGIES
from course_utils.rooms import stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

# ---- the reader's own code ----


def null_apart(queries, keys, values, mask, null_key, null_value):
    """The score of null beside the others, and its value added at the end."""
    scores = torch.einsum("btd,bkd->btk", queries, keys).masked_fill(~mask[:, None], -math.inf)
    null = (queries * null_key).sum(-1, keepdim=True)
    weights = (torch.cat([scores, null], -1) / queries.shape[-1] ** 0.5).softmax(-1)
    clean = values.masked_fill(~mask[..., None], 0)
    return weights[..., :-1] @ clean + weights[..., -1:] * null_value, weights


def detached(queries, *others):
    return reference("15.1")(queries.detach(), *others)


def query_by_query(queries, keys, values, mask, null_key, null_value):
    found, weights = [], []
    for b in range(len(queries)):
        k = torch.cat([keys[b], null_key[None]])
        v = torch.cat([values[b].masked_fill(~mask[b][:, None], 0), null_value[None]])
        kept = torch.cat([mask[b], torch.tensor([True])])
        for query in queries[b]:
            scores = torch.stack([query @ key for key in k]) / math.sqrt(len(query))
            weights.append(scores.masked_fill(~kept, -math.inf).softmax(0))
            found.append(weights[-1] @ v)
    shape = queries.shape[:2]
    return torch.stack(found).view(*shape, -1), torch.stack(weights).view(*shape, -1)


def pointing_by_comparing(maps, boxes, tolerance):
    """Every cell's middle inside or not, (N, 8, 8), and what that says at the largest weight."""
    middle = 8 * torch.arange(8) + 4
    left, top, right, bottom = (edge[:, None] for edge in boxes.unbind(1))
    across = (left - tolerance <= middle) & (middle < right + tolerance)
    down = (top - tolerance <= middle) & (middle < bottom + tolerance)
    inside = (down[:, :, None] & across[:, None]).flatten(1)
    return inside.gather(1, maps.flatten(1).argmax(1, keepdim=True)).float().mean()


@pytest.mark.parametrize("key, answer", [("15.1", null_apart), ("15.2", pointing_by_comparing)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_what_is_far_too_slow_is_not_taken(accepted):
    taken, line = accepted("15.1", query_by_query)
    assert taken is reference("15.1")
    assert line.startswith("15.1: the course's, because yours, though right, takes ")


def test_a_query_without_gradient_is_refused():
    from course_utils.exercises import _find

    right, text = verdict(_find("15.1"), detached)
    assert not right and "gradient of queries" in text


# ---- what stands in its cells ----


cell = partial(the_cell, "15")


def test_one_key_is_the_fault(capsys):
    torch.manual_seed(3)
    names = {"F": F, "torch": torch, "asking": torch.randn(2, 3, 4)}
    names["regions"] = torch.randn(2, 5, 4)
    assert printed(capsys, cell("pooled = regions.mean"), dict(names)) == "False"
    two = cell("pooled = regions.mean").replace(
        "regions.mean(dim=1, keepdim=True)", "regions[:, :2]"
    )
    assert printed(capsys, two, dict(names)) == "True"
    mended = cell("one = F.scaled_dot_product_attention(asking, regions, regions)")
    assert printed(capsys, mended, dict(names)) == "True"


@pytest.mark.parametrize("seed", range(3))
def test_pixels_as_token_ids_are_the_fault(capsys, seed):
    torch.manual_seed(seed)
    names = {"nn": nn, "F": F, "torch": torch, "Scenes": Scenes}
    exec(cell("nn.Embedding(300, 16)"), names)
    assert capsys.readouterr().out.endswith("as ids False, as patches True\n")
    assert names["patches"].shape == (64, 192)
    assert "12,288 tokens" in said("15") and names["picture"].numel() == 12_288


def test_the_package_refuses_one_vector():
    layer = STRATEGIES["cross_attention"]({"text": 4, "image": 4}, 2)
    with pytest.raises(ValueError, match="a single vector would be a single key"):
        layer({"text": torch.randn(2, 3, 4), "image": torch.randn(2, 4)})


def test_costs_in_words():
    def cost(strategy, **options):
        layer = STRATEGIES[strategy]({"text": 32, "image": 32}, 2, width=None, **options)
        return layer.multiply_adds({"text": 256, "image": 256})

    joint = cost("joint_transformer", layers=1)
    assert round(joint / cost("cross_attention")) == 4
    assert cost("bottleneck", layers=1) / joint == pytest.approx(0.6, abs=0.03)
    assert "costs four times as much" in said("15") and "save two fifths" in said("15")


@pytest.fixture(scope="module")
def page():
    return measured_cells("15")


def test_a_question_names_one_thing_and_cells_say_what_stands_in_them(page):
    part, questions = page["load"]("test", 60)
    assert part["ids"].max() <= len(page["WORDS"]) == 19 and len(page["ANSWERS"]) == 12
    for row, words in enumerate(questions):
        assert [page["WORDS"][i - 1] for i in part["ids"][row] if i] == words
        left, top, right, bottom = part["box"][row].tolist()
        around = part["in_cells"][row][:, top // 8 : -(-bottom // 8), left // 8 : -(-right // 8)]
        at = list(page["ATTRIBUTES"]).index(words[1])
        answer = page["ANSWERS"][part["label"][row]]
        number = 1 + page["ATTRIBUTES"][words[1]].index(answer)
        assert (around[at] == number).any()


def test_a_missing_picture_is_unseen(page):
    torch.manual_seed(0)
    model = page["Asker"](reference("15.1")).eval()
    part = {"ids": torch.tensor([[1, 4, 2]]), "mask": torch.zeros(1, 64, dtype=torch.bool)}
    one, other = torch.randn(2, 1, 64, 48)
    with torch.no_grad():
        assert torch.equal(model(part | {"cells": one}), model(part | {"cells": other}))


def test_most_looked_at_cells_go(page):
    torch.manual_seed(0)
    part = {"mask": torch.ones(3, 64, dtype=torch.bool)}
    maps = torch.rand(3, 64)
    left = page["without"](part, maps, 4)["mask"]
    assert left.sum(1).tolist() == [60] * 3 and part["mask"].all()
    assert maps[~left].min() > maps[left].view(3, 60).amax(1).min()


# ---- what the page says of its stored runs ----


@pytest.fixture(scope="module")
def text():
    return said("15")


def of(name, what="accuracy", sweep="questions"):
    return stored("15", sweep)[name][what]


def percent(name, what="accuracy", sweep="questions"):
    # fmean rounds alike everywhere; sum does not, since Python 3.12
    return 100 * fmean(of(name, what, sweep))


def test_the_bet_in_numbers(text):
    runs = stored("19", "fusion_gates")["xor: attention_pool"]["accuracy"]
    assert round(percent_of(runs)) == 70 and 'outcome("14.d", "Ada")' in text
    assert "That is .75 · .9 + .25 · .1 = .70" in text
    assert 0.75 * 0.9 + 0.25 * 0.1 == pytest.approx(0.70)


def percent_of(runs):
    return 100 * fmean(runs)


def test_words_that_ask_in_numbers(text):
    assert f"nearly everything: {percent('attention'):.0f} %" in text
    glued, product = percent("concat"), percent("product")
    assert f"give {glued:.0f} % glued and {product:.0f} multiplied;" in text
    largest = [f"{how}, largest of the cells" for how in ("concat", "product")]
    shown = [percent(name, sweep="harder") for name in largest]
    assert f"largest number over the cells, {shown[0]:.0f} and {shown[1]:.0f}." in text
    question, picture = percent("question alone"), percent("picture alone")
    shuffled = percent("attention, pictures shuffled")
    assert f"question alone has {question:.1f} %, the picture alone {picture:.0f}" in text
    assert f"shuffled among the samples, in training and test, {shuffled:.0f} are left" in text
    mean, half = gain(of("attention"), of("attention, no context"))
    assert round(mean) == 10 and mean - half > 0 and "ten points less" in text
    mean, half = gain(of("attention"), of(largest[1], sweep="harder"))
    assert round(mean) == 11 and mean - half > 0 and "worth eleven points over the best" in text


def test_a_missing_picture_in_numbers(text):
    with_null, without = (
        percent(name, "picture missing")
        for name in ("attention", "attention, picture always there")
    )
    assert f"as the question alone, {with_null:.0f} %." in text
    assert f"all else alike, it has {without:.0f}:" in text
    mean, half = gain(of("attention", "picture missing"), of("question alone"))
    assert abs(mean) < 1 + half
    assert min(of("attention", "picture missing")) > max(
        of("attention, picture always there", "picture missing")
    )
    zeros = percent("null stays zeros", "picture missing", "harder")
    assert f"stays zeros has {zeros:.0f}, too" in text


def test_alone_the_null_key_gets_no_gradient(page):
    model = page["Asker"](reference("15.1"))
    batch = {
        "ids": torch.ones(4, 7).long(),
        "cells": torch.randn(4, 64, 48),
        "mask": torch.zeros(4, 64, dtype=torch.bool),
    }
    model(batch).square().sum().backward()
    key, value = model.null.grad
    assert key.abs().max() == 0 and value.abs().max() > 0


def test_where_words_look_in_numbers(text):
    strict, tolerant = (percent("attention", f"pointing, {way}") for way in ("strict", "tolerant"))
    control = "control with something in them"
    filled = [percent("attention", f"{control}, {way}") for way in ("strict", "tolerant")]
    assert f"in {strict:.0f} % of the questions, with tolerance {tolerant:.0f};" in text
    assert f"any filled cell in {filled[0]:.0f} and {filled[1]:.0f}, and" in text
    key = "control largest thing"
    thing = [percent("attention", f"{key}, {way}", "harder") for way in ("strict", "tolerant")]
    assert f"sharper control, in {thing[0]:.0f} and {thing[1]:.0f}." in text
    assert f"same tolerance: {tolerant:.0f} % against {thing[1]:.0f} for the largest" in text
    for way in ("strict", "tolerant"):
        others = [of("attention", f"{role}, {way}") for role in ("what is the", "asked")]
        for best, *rest in zip(of("attention", f"naming, {way}"), *others):
            assert best > max(rest)
    there = percent("attention", "what is the, tolerant")
    assert f"with the tolerance {there:.0f} % of them look there" in text
    assert [round(x) for x in of("attention", "asked shape, at nothing")] == [1, 0, 1, 0, 1]
    assert max(of("attention")) - min(of("attention")) <= 0.0101
    start = [stored("15", "beginning")[f"seed {seed}"] for seed in range(5)]
    first = percent_of([row["pointing"][0] for row in start])
    assert f"begins at {first:.0f} %" in text
    at = start[0]["step"].index(200)
    assert all(row["accuracy"][at] > 0.9 and row["pointing"][at] > 0.9 for row in start)


def test_deletion_in_numbers(text):
    left = [
        percent("attention", f"without 4 {way}")
        for way in ("looked at", "with something in them", "any")
    ]
    numbers = [f"{share:.0f}" for share in left]
    assert (
        f"looked at most, {numbers[0]} % are left; without any four filled ones {numbers[1]},"
        in text
    )
    assert f"without any four {numbers[2]}." in text
    assert f"{numbers[0]} % of 96 are left;" in text
    ways = ("of the thing asked about", "of other things")
    own, others = (percent("attention", f"without 4 {way}", "harder") for way in ways)
    assert f"cost as much: {own:.0f} are left." in text
    assert f"Four of other things cost nothing, {others:.0f}." in text
    looked = of("attention", "without 4 looked at", "harder")
    assert looked == of("attention", "without 4 looked at")  # the same five models
    mean, half = gain(looked, of("attention", "without 4 of the thing asked about", "harder"))
    assert abs(mean) < 2.5 + half
    product = [percent("product", key, "harder") for key in ("accuracy", "without 4 looked at")]
    assert f"from {product[0]:.0f} to {product[1]:.0f}." in text
    assert percent("product", "without 4 filled", "harder") > product[1] + 10
    assert f'outcome("15.a", {numbers[0]}, within=6)' in text
    mean, half = gain(
        of("attention", "without 4 with something in them"), of("attention", "without 4 looked at")
    )
    assert mean - half > 10


def test_easy_vqa_in_numbers(text):
    product, glued = (percent(how, sweep="real") for how in ("product", "concat"))
    assert f"concatenation have {product:.1f} and {glued:.1f} %" in text
    runs = sorted(of("attention", sweep="real"))
    assert round(100 * runs[0]) == 72 and 0.98 <= runs[1] <= runs[-1] <= 0.993
    assert "Four runs of attention have 98 to 99, and one 72" in text
    worst = of("attention", sweep="real").index(runs[0])
    shapes = of("attention", "shape", "real")[worst]
    assert f"of the shapes {100 * shapes:.0f} % only" in text
    for name, words in (
        ("question alone", "the question alone has {:.0f} %"),
        ("picture alone", "the picture alone {:.0f}, shuffled"),
        ("attention, pictures shuffled", "shuffled pictures leave {:.0f}."),
    ):
        assert words.format(percent(name, sweep="real")) in text
    mean, half = gain(of("attention", sweep="real"), of("product", sweep="real"))
    assert mean < 0 < mean + half
