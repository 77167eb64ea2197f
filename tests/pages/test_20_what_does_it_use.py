"""What page 20 goes on with of the reader's own code, what its faults and its rule are, and whether
its sentences are those of its stored runs.
"""

import sys
from functools import partial
from itertools import combinations, permutations

import pytest
import torch
from reading import gain, said, the_cell

from course_utils import attribution
from course_utils.datasets import Gates
from course_utils.datasets.gates import LARGE, SMALL
from course_utils.exercises import _find, reference, verdict
from course_utils.metrics import mean_interval
from course_utils.rooms import stored
from course_utils.runtime import ROOT
from course_utils.theory import pid

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

NAMES = ("text", "image", "audio")
cell = partial(the_cell, "20")


@pytest.fixture(scope="module")
def text():
    return said("20")


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


def test_a_sum_may_answer_like_a_model_whose_projection_does_not(page):
    """AND with a surer yes: its projection says yes three times, that of AND has all four signs. Of
    XOR a sum has three rows right, and none all four.
    """
    exec(cell("KNOWN = {"), page)
    found = {}
    for name in ("AND", "surer"):
        whole = page["KNOWN"][name](page["text"], page["image"])
        part = reference("20.1")(page["KNOWN"][name], page["text"], page["image"])
        found[name] = (whole > 0)[:, 0].tolist(), (part > 0)[:, 0].tolist()
    assert found["AND"] == ([False] * 3 + [True], [False] * 3 + [True])
    assert found["surer"] == ([False] * 3 + [True], [False] + [True] * 3)
    xor = (page["bits"].sum(1) == 1).tolist()
    draws = torch.randn(2000, 2, 2, generator=torch.Generator().manual_seed(0))
    sums = draws[:, 0, :, None] + draws[:, 1, None]  # (2000, 2, 2)
    right = ((sums.flatten(1) > 0) == torch.tensor(xor)).sum(1)
    assert right.max() == 3
    assert (((page["bits"].sum(1) - 0.5) > 0) == torch.tensor(xor)).sum() == 3


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


def test_zeros_never_come_among_the_sounds(page, text):
    sounds = page["load"](0)["train"]["audio"]
    low, high, middle = (one.item() for one in (sounds.min(), sounds.max(), sounds.mean()))
    words = f"between {low:.3f} and {high:.1f} in training, {middle:.1f} on average"
    assert words in text


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

    exec(cell("def judge(row)").partition("\nprint(")[0], names)
    assert words in names["judge"](row_of(numbers))


# ---- what the page says of its stored runs ----


def of(row, name, sweep="own"):
    return stored("20", sweep)[row]["accuracy"][name]


def points(pair):
    return "{:.1f} ± {:.1f}".format(*pair)


def mean(runs):
    return 100 * sum(runs) / len(runs)


WHOLE = "text + image + audio"
FEW, PAIR = "is there, 500", "question + picture"


def test_the_bet_in_numbers(text):
    lost = gain(of("digits, tensor of 8", WHOLE), of("digits, tensor of 8", "additive"))
    assert lost[0] - lost[1] > 0 and f"Ada wins: {points(lost)} points less" in text
    assert 'outcome("19.c", "Ada")' in text
    assert f"tensor fusion loses {lost[0]:.0f} points" in text
    glue = of("digits, concat", WHOLE)
    assert glue == of("digits, concat", "additive")
    more = gain(glue, of("digits, tensor of 8", WHOLE))
    assert more[0] > more[1]
    fused = of("digits, tensor of 8", WHOLE)
    assert f"the glue has {mean(glue):.1f} %, tensor fusion {mean(fused):.1f}." in text
    for name in ("concat", "tensor of 8"):  # page 13's own runs
        assert of(f"digits, {name}", WHOLE) == stored("13", "digits")[name]["accuracy"]


def test_the_model_that_does_not_look_in_numbers(text):
    row = partial(of, FEW, sweep="few")
    assert "as trained; with another's picture it loses" in text
    assert f"it is {points(mean_interval([100 * x for x in row(PAIR)]))} % as trained" in text
    lost = gain(row(PAIR), row("question"))
    assert f"it loses {points(lost)} points" in text and lost[0] + lost[1] < 1
    control = mean_interval([100 * x for x in of("is there, shuffled", PAIR, "few")])
    assert f"looking *cannot* help, has {points(control)}" in text
    moved = [100 * share for share in stored("20", "few")[FEW]["moved"]]
    assert f"picture {min(moved):.1f} to {max(moved):.1f} % of its answers change" in text
    above = gain(row(PAIR), [0.81] * 5)  # which its cell prints of "always no"
    assert f'"always no", {points(above)} points, is not clear of 0' in text
    assert above[0] < above[1]
    assert abs(mean(row("question")) - 82) < 1 and 'outcome("20.a", 0.82, within=0.03)' in text
    assert f"not look loses {points(gain(row('those 200'), row('additive')))} points" in text
    long = gain(of("is there, 100 passes", PAIR), of("is there, 100 passes", "additive"))
    runs = mean_interval([100 * x for x in of("is there, 100 passes", PAIR)])
    assert f"has {points(runs)} %, and loses {points(long)} points as a sum" in text
    named = gain(of("colour, shape, size", PAIR), of("colour, shape, size", "additive"))
    assert f"size it loses {points(named)}:" in text
    unsure = gain(of("is there, 20 passes", PAIR), of("is there, 20 passes", "question"))
    assert f"after 20 passes, {points(unsure)} points" in text and unsure[0] < unsure[1]
    taken = gain(of("is there, 20 passes", PAIR), of("is there, 20 passes", "additive"))
    assert f"EMAP takes {points(taken)}, and" in text and taken[0] > taken[1]


def test_ways_to_switch_off_in_numbers(text):
    row = "text + image"
    shown = {
        way: points(mean_interval([100 * x for x in of(way, row, "ways")]))
        for way in ("mean", "permutation", "zero")
    }
    assert f"Without the sound {shown['mean']} % are left if it is silent" in text
    assert f"{shown['permutation']} if it is another's, and {shown['zero']} if it is z" in text
    alone = mean_interval([100 * x for x in of("mean", "text", "ways")])
    assert f"all else silent there are {points(alone)}" in text
    tuned = stored("13", "digits")["text alone"]["accuracy"]
    assert f"has {points(mean_interval([100 * x for x in tuned]))}: a model" in text
    assert gain(tuned, of("mean", "text", "ways"))[0] > 5
    credit = {}
    for way, row in stored("20", "ways").items():
        for seed in range(5):
            game = {
                frozenset(key.split(" + ")) - {"none"}: one[seed]
                for key, one in row["accuracy"].items()
            }
            for name, value in attribution.shapley(game).items():
                credit.setdefault((way, name), []).append(100 * value)
    zero, other = (
        mean_interval(credit[key]) for key in (("zero", "audio"), ("permutation", "image"))
    )
    assert f"the sound, {zero[0]:.1f} points" in text and f"picture, {other[0]:.1f}." in text
    assert all(25 <= sum(credit["mean", name]) / 5 <= 30 for name in NAMES)


def test_what_the_bits_foretell_in_numbers(text):
    small = stored("13", "small")
    more = gain(small["and: tensor of 8"]["accuracy"], small["and: concat"]["accuracy"])
    assert f"has {points(more)} points more there" in text and more[0] > more[1]
    full = gain(small["redundant: concat"]["accuracy"], small["redundant: tensor"]["accuracy"])
    assert f"lose {points(full)} points to the glue" in text and full[0] > full[1]
    shares = pid(Gates("and", **SMALL).joint())
    assert f"On AND, {100 * shares.synergistic / sum(shares):.0f} % of the bits" in text
    shares = pid(Gates("redundant", **SMALL).joint())
    assert round(300 * shares.synergistic / sum(shares)) == 93 and "a third of the bits" in text
    for runs in (
        small["xor: concat"]["accuracy"],
        stored("19", "fusion_gates")["xor: concat"]["accuracy"],
    ):
        assert abs(mean(runs) - 50) < 2
    assert shares_of("and") == [0.311, 0.0, 0.0, 0.5] and ".311 redundant bits and .5" in text


def shares_of(gate):
    return [round(bits, 3) + 0.0 for bits in pid(Gates(gate, noise=0, flips=0).joint())]


def test_copies_in_numbers(text):
    silent = gain(
        of("redundant: mean", "text + image", "gates"), of("redundant: mean", "image", "gates")
    )
    assert f"taking one copy away costs {points(silent)} points" in text
    lying = gain(
        of("redundant: permutation", "text + image", "gates"),
        of("redundant: permutation", "image", "gates"),
    )
    assert f"ablation sees it: {points(lying)} points" in text and lying[0] > lying[1]
    for way, low, high in (("redundant: mean", -45, -30), ("xor: mean", 35, 45)):
        row, indices = stored("20", "gates")[way]["accuracy"], []
        for both, t, v, none in zip(row["text + image"], row["text"], row["image"], row["none"]):
            indices.append(100 * (both - t - v + none))
        assert all(low < one < high for one in indices)


def test_the_hand_worked_gains_are_those_of_its_cell(page, text):
    scores = page | {}
    exec(cell("scores = {(): 0.1"), scores)
    gains = []
    for order in permutations(NAMES):
        before = frozenset(order[: order.index("text")])
        gains.append(round(scores["scores"][before | {"text"}] - scores["scores"][before], 1))
    assert gains == [0.5, 0.5, 0.2, 0.1, 0.3, 0.1] and f"{sum(gains) / 6:.3f}"[1:] == ".283"
    assert "adds .5, .5, .2, .1, .3 and .1: in the mean .283" in text


def test_public_data_in_numbers(text):
    rows = stored("20", "own_real")
    glue, fused = (rows[f"real digits, {name}"]["accuracy"] for name in ("concat", "tensor of 8"))
    assert f"tensor fusion loses {points(gain(fused[WHOLE], fused['additive']))} points" in text
    lost = sorted(100 * (a - b) for a, b in zip(fused[WHOLE], fused["additive"]))
    assert lost[0] > 9
    shown = [points(mean_interval([100 * x for x in one[WHOLE]])) for one in (glue, fused)]
    assert "is no worse: {} % against {}.".format(*shown) in text
    assert gain(glue[WHOLE], fused[WHOLE])[0] > 0
