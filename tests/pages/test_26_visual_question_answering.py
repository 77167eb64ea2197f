"""What page 26 goes on with of the reader's own code, what its faults are, and what it says of its
stored runs.
"""

import sys
from functools import partial

import pytest
import torch
from reading import gain, printed, said, the_cell
from torch import nn

from course_utils.datasets import Scenes
from course_utils.datasets.scene_words import KINDS
from course_utils.exercises import _find, reference, verdict
from course_utils.metrics import mean_interval
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

cell = partial(the_cell, "26")

# ---- the reader's own code ----


def by_sorting(questions, answers, asked):
    found = []
    for one in asked:
        told = [a for q, a in zip(questions, answers) if q == one] or answers
        found.append(max(sorted(set(told)), key=told.count))
    return found


def by_library(first, second, cells):
    queries, k = torch.stack([first, second], 1), torch.arange(64)
    grid = torch.stack([k % 8, k // 8], 1).to(cells.dtype).expand(len(cells), 64, 2)
    places = nn.functional.scaled_dot_product_attention(queries, cells, grid)
    maps = (queries @ cells.mT / cells.shape[2] ** 0.5).softmax(-1)
    return places[:, 0] - places[:, 1], maps


@pytest.mark.parametrize("key, answer", [("26.1", by_sorting), ("26.2", by_library)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_hard_pointers_are_refused():
    def hardest(first, second, cells):
        maps = by_library(first, second, cells)[1]
        place = maps.argmax(2)
        grid = torch.stack([place % 8, place // 8], 2).to(cells.dtype)
        return grid[:, 0] - grid[:, 1], maps

    right, text = verdict(_find("26.2"), hardest)
    assert not right and "Through an argmax comes no gradient" in text


# ---- what stands in its cells ----


@pytest.fixture(scope="module")
def page():
    return measured_cells("26")


def test_a_table_of_the_test_set_is_the_fault(capsys, text):
    lists = {}
    for split, size in (("train", 3_000), ("test", 1_000)):
        scenes = Scenes(split, size=7 * size)
        items = [scenes[i] for i in range(KINDS.index("relation"), 7 * size, 7)]
        lists[split] = [[item[name] for item in items] for name in ("question", "answer")]
    names = {"prior_answers": reference("26.1")}
    names["questions"], names["answers"] = lists["train"]
    names["new_questions"], names["new_answers"] = lists["test"]
    names["share_right"] = lambda told: sum(map(str.__eq__, told, lists["test"][1])) / len(told)
    fault = cell("told = prior_answers(new_questions, new_answers, new_questions)")
    assert printed(capsys, fault, dict(names)) == "False"
    alone = [lists["test"][0].count(one) for one in lists["test"][0]].count(1)
    told = reference("26.1")(*lists["test"], lists["test"][0])
    known = round(100 * names["share_right"](told))
    assert f'It "knows" {known} %' in text and f"{alone} of the 1,000 have a wording" in text
    mended = cell("told = prior_answers(questions, answers, new_questions)")
    assert printed(capsys, mended, dict(names)) == "True"
    # many questions of few wordings: there the same lines are sound
    names |= {"new_questions": ["is it?"] * 1_000, "new_answers": ["no", "yes"] * 500}
    names["share_right"] = lambda told: sum(map(str.__eq__, told, ["no", "yes"] * 500)) / 1_000
    assert printed(capsys, fault, dict(names)) == "True"


def test_numbers_of_words_are_no_features(capsys, page):
    torch.manual_seed(0)
    names = {"numbered": page["numbered"], "encoder": page["encoder"], "model": page["Asker"]()}
    names["example"] = Scenes("test", size=1)[0]
    exec(cell("vector = numbered(["), dict(names))
    assert "The size of tensor a (64) must match" in capsys.readouterr().out
    exec(cell("vector = model.read("), dict(names))
    assert capsys.readouterr().out == "fused: (1, 64)\n"


def test_every_word_has_a_number_and_every_answer_a_place(page):
    assert len(page["WORDS"]) == 37 and len(page["ANSWERS"]) == 19
    for split in ("train", "test"):
        scenes = Scenes(split, size=700)
        ids = page["numbered"]([scenes[i]["question"] for i in range(700)])
        assert ids.min() >= 0 and ids.max() <= 37
        assert all(scenes[i]["answer"] in page["ANSWERS"] for i in range(70))
    part, items = page["load"]("test", ("relation",), 20)
    part = page["phrases"](part, items)
    for row, item in enumerate(items):
        words = page["words_of"](item["question"])
        assert [page["WORDS"][i - 1] for i in part["first"][row]] == words[2:4]
        assert [page["WORDS"][i - 1] for i in part["second"][row]] == words[-2:]


@pytest.mark.parametrize("places, moves", [("none", False), ("coordinates", True)])
def test_two_rounds_do_not_see_cells_change_places(page, places, moves):
    torch.manual_seed(0)
    sweeps = load("26", "sweeps")
    model = sweeps.Rounds(page, places).double()
    batch = {
        "cells": torch.randn(3, 64, 64, dtype=torch.float64),
        "relation": torch.tensor([0, 1, 2]),
    }
    batch |= {name: torch.randint(1, 30, (3, 2)) for name in ("first", "second")}
    other = batch | {"cells": batch["cells"][:, torch.randperm(64)]}
    sweeps.GRID = sweeps.GRID.double()
    assert torch.allclose(model(batch), model(other)) != moves


def test_without_a_picture_no_cell_is_seen(page):
    torch.manual_seed(0)
    model = page["Asker"]().eval()
    part = {"ids": torch.tensor([[1, 4, 2]]), "mask": torch.zeros(1, 64, dtype=torch.bool)}
    one, other = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(part | {"cells": one}), model(part | {"cells": other}))


def test_the_sign_of_the_offset_is_the_answer(page):
    """A first thing that lies left and below: yes to left of and below, no to the others."""

    def offset(first, second, cells):
        return torch.tensor([[-3.0, 2.0]]).expand(len(first), 2), None

    model = page["Comparer"](offset)
    batch = {"cells": torch.zeros(4, 64, 64), "relation": torch.arange(4)}
    batch |= {name: torch.ones(4, 2).long() for name in ("first", "second")}
    assert list(page["RELATIONS"]) == ["left of", "right of", "above", "below"]
    assert model(batch).argmax(1).tolist() == [1, 0, 0, 1]


# ---- what the page says of its stored runs ----


@pytest.fixture(scope="module")
def text():
    return said("26")


def of(name, what="accuracy"):
    """The runs of "SWEEP: ROW"."""
    sweep, _, row = name.partition(": ")
    return stored("26", sweep)[row][what]


def shown(name, what="accuracy", decimals=1):
    runs = of(name, what)
    assert len(runs) == (10 if name.startswith("signs: ") else 5)
    return f"{100 * sum(runs) / len(runs):.{decimals}f}"


def interval(one, other, clear=True):
    mean, half = gain(one, other)
    assert (mean - half > 0) == clear
    return f"{mean:.1f} ± {half:.1f}"


def test_the_bet_in_numbers(text):
    for name in ("two rounds", "two rounds, learned places", "two rounds, coordinates"):
        assert abs(float(shown(f"relations: {name}")) - 50) < 3
    assert abs(float(shown("longer: two rounds, 60 passes")) - 50) < 3
    late = shown("longer: two rounds, coordinates, 12,000 questions", decimals=0)
    whole = shown("whole: two rounds, coordinates, a GRU reads, 12,000 questions", decimals=0)
    assert f"{late} % with the phrases given, {whole} where a GRU reads" in text
    assert abs(float(late) - 50) < 3 and abs(float(whole) - 50) < 3
    name = "empty: two rounds, coordinates, a GRU reads, an empty cell, 12,000 questions"
    runs = [f"{100 * share:.0f}" for share in sorted(of(name))]
    assert f"four of five runs have {runs[1]} to {runs[4]} %, the fifth {runs[0]}." in text
    assert 'outcome("25.c", "Ada")' in text
    assert "*Ada says: it stays at chance" in said("25")


def test_pointers_in_numbers(text):
    cells, places, offset = (
        shown(f"{sweep}: pointers: {name}", decimals=0)
        for sweep, name in (("relations", "cells"), ("relations", "places"), ("signs", "offset"))
    )
    assert f"pointers find has {cells} %, chance." in text
    assert f"it has {places}, with the offset alone {offset}:" in text
    few = shown("relations: pointers: cells and places", decimals=0)
    many = sorted(of("longer: pointers: cells and places, 12,000 questions"))
    assert f"are not found, {few}; from 12,000 questions one run of five" in text
    assert f"finds them, and has {100 * many[-1]:.0f} %." in text and many[-2] < 0.6
    gru = shown("relations: pointers: offset, question read by a GRU", decimals=0)
    assert f"reads the whole question has {gru}." in text
    sign = shown("signs: pointers: sign of the offset")
    assert f'"left" means left: {sign} %' in text
    assert min(of("signs: pointers: sign of the offset", "own box, tolerant")) > 0.95
    ways = ("accuracy", "own box, tolerant", "other box, tolerant")
    runs = list(zip(*(of("signs: pointers: offset", way) for way in ways)))
    near, away = [r for r in runs if r[1] > 0.9], [r for r in runs if r[1] < 0.1]
    assert len(runs) == 10 == len(near) + len(away)
    words = dict(enumerate("no one two three four five six seven eight nine ten".split()))
    assert f"In {words[len(near)]} of ten the pointers stand on their own thing" in text
    assert min(r[0] for r in near) > 0.99
    other = 100 * sum(r[2] for r in away) / len(away)
    assert f"In the other {words[len(away)]} they stand on the *other* thing" in text
    assert f"({other:.0f} % of the boxes), and" in text
    low, high = (round(100 * way(r[0] for r in away)) for way in (min, max))
    assert f"{low} to {high} % are right all the same" in text
    whole = [100 * r[0] for r in runs]
    assert f"ten runs have {min(whole):.0f} to {max(whole):.0f} %" in text
    assert abs(float(shown("signs: pointers: sign of the offset, pictures shuffled")) - 50) < 3


def test_unbalanced_answers_in_numbers(text):
    free, balanced = (of("unbalanced: any question", way) for way in ("free", "balanced"))
    less = interval(free, balanced)
    numbers = [f"{100 * sum(runs) / 5:.1f}" for runs in (free, balanced)]
    assert f"{numbers[0]} % as asked, {numbers[1]} balanced, {less} less." in text
    blind = shown("unbalanced: any question, pictures shuffled", "free")
    assert f"shuffled pictures {blind} are left of it" in text
    coin = interval(of("unbalanced: same scenes, a coin's answer", "balanced"), balanced)
    assert f"yes and no equally often: {coin} points more" in text
    longer = interval(of("unbalanced: any question, 60 passes", "balanced"), balanced)
    assert f"but three times as many passes: {longer}." in text
    names = ("any question", "any question, 60 passes", "same scenes, a coin's answer")
    assert len({rate for name in names for rate in of(f"unbalanced: {name}", "lr")}) == 1
    weighted = interval(of("unbalanced: any question, weighted", "balanced"), balanced, clear=False)
    assert f"is not clear ({weighted})" in text
    fair = of("unbalanced: balanced scenes", "balanced")
    assert [round(x, 2) > 0.97 for x in fair].count(True) == 3 and sorted(fair)[1] < 0.6
    late = sorted(of("unbalanced: balanced scenes, 60 passes", "balanced"))
    assert late[0] < 0.7 and late[1] > 0.96
    assert (
        "three of five runs have 98 %, two have not begun to look after 20 passes, and one"
        " not after 60." in text
    )


def test_looking_in_numbers(text):
    row = stored("26", "attributes")
    look, question, picture, mixed = (
        shown(f"attributes: {name}", decimals=0)
        for name in ("attention", "question alone", "picture alone", "attention, pictures shuffled")
    )
    assert f"answers {look} % rightly" in text
    assert f"question alone has {question}, the picture alone {picture}" in text
    assert f"shuffled pictures {mixed} are left" in text
    point, largest = (
        f"{mean_interval([100 * x for x in row['attention'][f'{name}, tolerant']])[0]:.0f}"
        for name in ("pointing", "largest")
    )
    assert (
        f"{point} % of the maps point into its box, the largest thing would give {largest}." in text
    )
    before = stored("15", "questions")
    each, product, glued = (
        f"{20 * sum(before[name]['accuracy']):.0f}" for name in ("attention", "product", "concat")
    )
    assert f"one vector of the whole picture, {each} for {product} and {glued}." in text


def test_three_of_ten_are_not_a_full_point(text):
    def score(n):
        ways = [n - (i < n) for i in range(10)]  # how many of the others gave it
        return sum(min(others / 3, 1) for others in ways) / 10

    assert [round(score(n), 2) for n in (2, 3, 4)] == [0.6, 0.9, 1.0]
    assert "Four of ten who agree make a full point, three make 0.9." in text


def test_easy_vqa_in_numbers(text):
    best = shown("easy: picture times question")
    spent = max(of("easy: picture times question", "cpu_seconds"))
    assert spent < 30 and f"at most {spent:.0f} CPU seconds a run" in text
    assert f"has {best} %" in text and float(best) > 93.78
    wording = shown("easy: lookup by wording", decimals=0)
    assert f"The wording alone has {wording}" in text
    for name in ("question alone", "pictures shuffled"):
        assert abs(float(shown(f"easy: {name}")) - float(wording)) < 1


def test_kinds_in_numbers(text):
    rows = stored("26", "kinds")

    def mean(name):
        return 100 * sum(rows[name]["accuracy"]) / 5

    whole, half = mean_interval([100 * x for x in rows["attention"]["accuracy"]])
    mixed = mean("attention, pictures shuffled")
    assert (
        f"together have {whole:.1f} ± {half:.1f} %, and with shuffled pictures {mixed:.1f}" in text
    )
    runs = {
        kind: sorted(round(100 * x) for x in rows[f"attention: {kind}"]["accuracy"])
        for kind in ("colour", "shape", "size")
    }
    four = runs["colour"][1:] + runs["shape"][1:]
    assert f"Colour and shape have {min(four)} to {max(four)} in four runs" in text
    assert f"{runs['colour'][0]} and {runs['shape'][0]} in the fifth" in text
    worst = [
        rows[f"attention: {kind}"]["accuracy"].index(runs_min)
        for kind, runs_min in (
            ("colour", min(rows["attention: colour"]["accuracy"])),
            ("shape", min(rows["attention: shape"]["accuracy"])),
        )
    ]
    assert worst[0] == worst[1]
    assert f"size has {runs['size'][0]} to {runs['size'][-1]}." in text
    for kind, words in (("exists", '"Is there" has runs from'), ("count", '"how many" from')):
        runs = [100 * x for x in rows[f"attention: {kind}"]["accuracy"]]
        assert f"{words} {min(runs):.0f} to {max(runs):.0f}" in text
    compare, relation = mean("attention: compare"), mean("attention: relation")
    assert f"Comparing numbers, {compare:.0f}, and relations, {relation:.0f}," in text
