"""What page 20 goes on with of the reader's own code, what its faults and its rule are, and whether
its sentences are those of its stored runs.
"""

import sys
from functools import partial
from itertools import combinations

import pytest
import torch
from reading import said, the_cell

from course_utils import attribution
from course_utils.datasets import Gates
from course_utils.datasets.gates import LARGE, SMALL
from course_utils.exercises import _find, reference, verdict
from course_utils.rooms import stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

NAMES = ("text", "image", "audio")
cell = partial(the_cell, "20")

# ---- the reader's own code ----


def at_once(predict, text, image):
    N = len(text)
    table = predict(text.repeat_interleave(N, 0), image.repeat(N, 1)).view(N, N, -1)
    return table.mean(1) + table.mean(0) - table.mean((0, 1))


def pair_by_pair(predict, text, image):
    N = len(text)
    table = [[predict(text[i : i + 1], image[j : j + 1])[0] for j in range(N)] for i in range(N)]
    table = torch.stack([torch.stack(row) for row in table])
    return table.mean(1) + table.mean(0) - table.mean((0, 1))


def by_sizes(scores):
    """The mean over the sizes of the mean gain at a size."""
    values = {}
    for name in max(scores, key=len):
        gains = {}
        for before in scores:
            if name not in before:
                gains.setdefault(len(before), []).append(scores[before | {name}] - scores[before])
        values[name] = sum(sum(one) / len(one) for one in gains.values()) / len(gains)
    return values


@pytest.mark.parametrize("key, answer", [("20.1", at_once), ("20.2", by_sizes)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_one_in_float32_or_far_too_slow_is_not_taken(accepted):
    taken, words = accepted("20.1", lambda f, a, b: at_once(f, a, b).float())
    assert taken is reference("20.1") and "gives torch.float32" in words
    taken, words = accepted("20.1", pair_by_pair)
    assert taken is reference("20.1") and "times as long" in words


def test_references_agree_with_the_package():
    torch.manual_seed(0)
    text, image = torch.randn(2, 7, 3, dtype=torch.float64)

    def predict(inputs):
        return (inputs["text"] * inputs["image"]).tanh()

    found = reference("20.1")(lambda a, b: predict({"text": a, "image": b}), text, image)
    expected = attribution.emap(predict, {"text": text, "image": image})
    torch.testing.assert_close(found, expected)
    scores = random_game(NAMES)
    assert reference("20.2")(scores) == pytest.approx(attribution.shapley(scores))


def random_game(names):
    subsets = [frozenset(s) for size in range(len(names) + 1) for s in combinations(names, size)]
    return dict(zip(subsets, torch.rand(len(subsets), dtype=torch.float64).tolist()))


def test_a_mean_of_answers_is_told_from_the_answer_at_the_mean():
    def at_means(f, a, b):
        a_mean, b_mean = a.mean(0).expand_as(a), b.mean(0).expand_as(b)
        return f(a, b_mean) + f(a_mean, b) - f(a_mean, b_mean)

    right, words = verdict(_find("20.1"), at_means)
    assert not right and "mean of the answers" in words


# ---- what stands in its cells ----


@pytest.fixture(scope="module")
def page():
    """The names that its measured cells define, and the reader's functions."""
    found = measured_cells("20")
    found.update(emap=reference("20.1"), shapley=reference("20.2"), mine=lambda key, one: one)
    return found


def shown(capsys, code, names):
    exec(code, names)
    return [line for line in capsys.readouterr().out.splitlines() if ": " in line][-1].split()[-1]


def test_leaving_the_own_partner_out_is_the_fault(capsys, page):
    exec(cell("KNOWN = {"), page)
    fault = cell("partners = torch.ones(4, 4) - torch.eye(4)")
    assert shown(capsys, fault, page) == "False"
    assert shown(capsys, cell("partners = torch.ones(4, 4)\n"), page) == "True"
    whole = fault.replace(" - torch.eye(4)", "").replace("/ 3", "/ 4")
    assert shown(capsys, whole, page) == "True"


def test_zeros_are_the_fault_and_only_where_they_are_no_mean(capsys, page):
    """On sounds whose mean is 0, zeros would do."""
    torch.manual_seed(0)
    test = {"audio": torch.randn(20, 5) + 3, "label": torch.zeros(20).long()}
    layer = torch.nn.Linear(5, 10)
    names = page | {"test": test, "glue": lambda batch: layer(batch["audio"])}
    names["right"] = lambda model, batch: 0.5

    def averaged():
        with torch.no_grad():
            every = [names["glue"]({"audio": x.expand(20, 5)}) for x in names["test"]["audio"]]
        return torch.stack(every).mean(0)

    names["averaged"] = averaged()
    fault, mended = cell("absent = torch.zeros_like("), cell("absent = test", "print(")
    assert shown(capsys, fault, names) == "False"
    assert shown(capsys, mended, names) == "True"
    test["audio"] = test["audio"] - test["audio"].mean(0)
    names["averaged"] = averaged()
    assert shown(capsys, fault, names) == "True"


def test_additive_gives_a_sum_back_and_is_emap_for_two(page):
    torch.manual_seed(0)
    inputs = {name: torch.randn(6, 3, dtype=torch.float64) for name in NAMES}

    def plain(batch):
        return sum((k + 1) * batch[name].exp() for k, name in enumerate(batch))

    for rounds in (1, 3):
        torch.testing.assert_close(page["additive"](plain, inputs, rounds), plain(inputs))

    def product(batch):
        result = 1.0
        for x in batch.values():
            result = result * x
        return result

    two = {name: inputs[name] for name in NAMES[:2]}
    found = page["additive"](product, two, 1)
    torch.testing.assert_close(found, attribution.emap(product, two))


def test_additive_comes_near_all_triples(page):
    """N * N * N answers against drawn partners, of a product of three."""
    torch.manual_seed(0)
    inputs = {name: torch.randn(5, 2, dtype=torch.float64) for name in NAMES}
    t, v, a = inputs.values()

    def product(batch):
        return batch["text"] * batch["image"] * batch["audio"]

    cube = t[:, None, None] * v[None, :, None] * a[None, None]
    exact = cube.mean((1, 2)) + cube.mean((0, 2)) + cube.mean((0, 1)) - 2 * cube.mean((0, 1, 2))
    found = page["additive"](product, inputs, 400)
    torch.testing.assert_close(found, exact, atol=0.05, rtol=0)


def test_its_models_are_those_of_the_earlier_pages(page):
    """The same data, layers and steps as on pages 13 and 26, on a few samples."""
    old = measured_cells("26")
    assert page["WORDS"] == old["WORDS"] and page["ANSWERS"] == old["ANSWERS"]
    one, other = page["asked"]("test", 12), old["asked"]("test", 12)
    for name in ("ids", "cells", "label"):
        assert torch.equal(one[name], other[name])
    few = {split: one for split in ("train", "validation", "test")}
    mine = page["train_asker"](few, 0, passes=2)
    theirs, _ = old["train"](old["Asker"], other, other, 0, epochs=2)
    for name, weight in theirs.state_dict().items():
        torch.testing.assert_close(mine.state_dict()[name], weight)


def test_best_rules_and_bits(page):
    """AND keeps its accuracy as a sum, of XOR a coin is left; the decomposition's sums."""
    exec(cell("def best_rules(world)"), page)
    best, as_sum = page["best_rules"](Gates("and", **LARGE))
    assert best == pytest.approx(Gates("and", **LARGE).ceiling(), abs=1e-3)
    assert best - as_sum < 0.001
    for dials in (LARGE, SMALL):
        assert page["best_rules"](Gates("xor", **dials))[1] == pytest.approx(0.5, abs=1e-3)


# ---- the rule ----


def row_of(numbers):
    """A row of two modalities: five runs of (none, text, image, both, additive)."""
    keys = ("none", "text", "image", "text + image", "additive")
    return {"accuracy": dict(zip(keys, map(list, zip(*numbers))))}


@pytest.mark.parametrize(
    "numbers, words",
    [
        ([(0.5, 0.8 + k / 1000, 0.5, 0.8, 0.8) for k in range(5)], "secretly unimodal; no inter"),
        ([(0.5, 0.6, 0.6, 0.9 + k / 1000, 0.9 + k / 1000) for k in range(5)], "uses more than one"),
        ([(0.5, 0.5, 0.5, 0.9, 0.5 + k / 1000) for k in range(5)], "one; uses interaction"),
        ([(0.5, 0.75, 0.5, 0.7 + k / 20, 0.8) for k in range(5)], "cannot tell how many"),
    ],
)
def test_the_rule(page, numbers, words):
    names = page | {"own": {}}

    exec(cell("def verdict(row)").partition("\nprint(")[0], names)
    assert words in names["verdict"](row_of(numbers))


# ---- what the page says of its stored runs ----


@pytest.fixture(scope="module")
def text():
    return said("20")


def of(row, name, sweep="own"):
    return stored("20", sweep)[row]["accuracy"][name]


def points(pair):
    return "{:.1f} ± {:.1f}".format(*pair)


def mean(runs):
    return 100 * sum(runs) / len(runs)


WHOLE = "text + image + audio"
