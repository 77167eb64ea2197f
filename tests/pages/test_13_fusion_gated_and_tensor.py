"""What page 13 goes on with of the reader's own code, what its fault and its proofs are, and what
it says of its stored runs.
"""

import re
import sys
from functools import partial
from itertools import product

import pytest
import torch
from reading import gain, said, the_cell
from torch import nn

from course_utils.contracts import check_contracts
from course_utils.datasets import Gates
from course_utils.exercises import _find, reference, verdict
from course_utils.fusion import LowRankTensorFusion, TensorFusion
from course_utils.metrics import mean_interval
from course_utils.rooms import stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

# ---- the reader's own code ----


def by_matrices(parts):
    row = torch.ones_like(parts[0][:, :1])
    for x in parts:
        longer = nn.functional.pad(x, (0, 1), value=1.0)
        row = (row.unsqueeze(2) @ longer.unsqueeze(1)).flatten(1)
    return row


def by_einsum(parts, factors, bias):
    terms = 1.0
    for x, factor in zip(parts, factors):
        terms = terms * (torch.einsum("bi,ric->brc", x, factor[:, :-1]) + factor[:, -1])
    return terms.sum(1) + bias


def by_loops(parts, factors, bias):
    rows = []
    for b in range(len(parts[0])):
        for c in range(len(bias)):
            total = bias[c]
            for r in range(len(factors[0])):
                term = 1.0
                for x, factor in zip(parts, factors):
                    term = term * (x[b] @ factor[r, :-1, c] + factor[r, -1, c])
                total = total + term
            rows.append(total)
    return torch.stack(rows).view(len(parts[0]), -1)


@pytest.mark.parametrize("key, answer", [("13.1", by_matrices), ("13.2", by_einsum)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_one_that_lets_no_gradient_through_is_not_taken(accepted):
    taken, words = accepted("13.1", lambda parts: by_matrices([x.detach() for x in parts]))
    assert taken is reference("13.1")
    assert words.startswith("13.1: the course's, because no gradient comes through yours to ")


def test_what_is_far_too_slow_is_not_taken(accepted):
    taken, words = accepted("13.2", by_loops)
    assert taken is reference("13.2")
    assert words.startswith("13.2: the course's, because yours, though right, takes ")


def test_references_agree_with_the_packages_layers():
    torch.manual_seed(0)
    dims = {"text": 3, "image": 2, "audio": 4}
    features = {name: torch.randn(6, dim, dtype=torch.float64) for name, dim in dims.items()}
    full = TensorFusion(dims, 5, width=None).double()
    row = reference("13.1")([*features.values()])
    torch.testing.assert_close(full.head(row), full(features))
    low = LowRankTensorFusion(dims, 5, rank=3).double()
    factors = []
    for f in low.factors.values():
        weight = torch.cat([f.weight.view(3, 5, -1), f.bias.view(3, 5, 1)], 2)
        factors.append(weight.transpose(1, 2))
    found = reference("13.2")([*features.values()], factors, low.bias)
    torch.testing.assert_close(found, low(features))


# ---- what stands in its cells ----


cell = partial(the_cell, "13")


@pytest.fixture(scope="module", params=["reference", "another way"])
def names(request):
    """What the page's layers need, with one or another right answer to its exercises."""
    right = request.param == "reference"
    found = measured_cells("13")
    found["tensor_fusion"] = reference("13.1") if right else by_matrices
    found["low_rank"] = reference("13.2") if right else by_einsum
    found["check_contracts"] = lambda kind: []
    exec(cell("class Parts"), found)
    exec(cell("class TensorLayer"), found)
    exec(cell("class PairsOnly"), found)
    exec(cell("class LowRankLayer").replace("low_rank = mine(", "# "), found)
    return found


def test_the_products_without_ones_are_the_fault(capsys, names):
    def run(shown):
        exec(shown, names)
        return capsys.readouterr().out.partition(": ")[2].split()[0]

    fault = cell("row = (texts[:, :, None]")
    assert run(fault) == "False"
    assert run(cell("row = tensor_fusion([texts, images])")) == "True"
    whole = fault.replace("[0.0, 0.0]])", "[1.0, 1.0]])")  # with its picture it speaks
    assert run(whole) == "True"


def test_both_layers_keep_all_contracts(names):
    for kind in ("TensorLayer", "LowRankLayer"):
        assert all(one.kept for one in check_contracts(names[kind]))


def test_low_rank_that_sums_first_keeps_the_contracts_and_is_refused(names):
    def sums_first(parts, factors, bias):
        total = 1.0
        for x, factor in zip(parts, factors):
            total = total * (nn.functional.pad(x, (0, 1), value=1.0) @ factor).sum(0)
        return total + bias

    right, words = verdict(_find("13.2"), sums_first)
    assert not right and "before the modalities are multiplied" in words


def test_terms_of_two_modalities_have_no_third_order_part(names):
    """The alternating sum over the eight corners is 0 for pairs and not for all products."""
    torch.manual_seed(0)
    dims = {"text": 3, "image": 3, "audio": 3}
    ways = torch.randn(3, 3, dtype=torch.float64)
    sums = {}
    for kind in ("PairsOnly", "TensorLayer"):
        layer, total = names[kind](dims, 2).double(), 0.0
        for corner in product((-1, 1), repeat=3):
            point = {name: (s * way)[None] for name, s, way in zip(dims, corner, ways)}
            total = total + torch.tensor(corner).prod() * layer(point)
        sums[kind] = total.abs().max().item()
    assert sums["PairsOnly"] < 1e-12 < 0.01 < sums["TensorLayer"]
    assert sum(
        (1 if corner.count(1) % 2 else -1) * torch.tensor(corner).prod().item()
        for corner in product((-1, 1), repeat=3)
    ) in (8, -8)


def test_products_do_not_see_the_sign_that_both_share(names):
    data = names["samples"]("redundant", 150, 0)
    turned = {
        split: part | {"text": -part["text"], "image": -part["image"]}
        for split, part in data.items()
    }
    one, other = (names["with_products"](one, 256, 0)["train"] for one in (data, turned))
    assert torch.equal(one["products"], other["products"])
    assert torch.equal(one["sums"], -other["sums"])


def test_the_frozen_projection_begins_as_the_one_that_learns(names):
    layers = []
    for name in ("tensor of 16", "tensor of 16, frozen"):
        torch.manual_seed(0)
        layers.append(names["STRATEGIES"][name]({"text": 16, "image": 16}, 2))
    for one, other in zip(*(layer.parameters() for layer in layers)):
        assert torch.equal(one, other)
    learning = {name for name, p in layers[1].named_parameters() if p.requires_grad}
    assert learning == {"head.weight", "head.bias"}


# ---- what the page says of its stored runs ----

PLACE = "redundant, 150 samples, "


@pytest.fixture(scope="module")
def text():
    return said("13")


def of(sweep, row, page="13"):
    return stored(page, sweep)[row]["accuracy"]


def percent(runs):
    return 100 * sum(runs) / len(runs)


def points(pair):
    return "{:.1f} ± {:.1f}".format(*pair)


def test_the_bet_in_numbers(text):
    mean, half = gain(of("small", "redundant: tensor"), of("small", "redundant: concat"))
    assert mean + half < -5 and round(mean) == -12
    assert "the products lose twelve points" in text and "cost twelve points" in text
    assert f"The best rule has {100 * Gates('redundant', 150, 16, 1.0).ceiling():.0f} %" in text
    assert 'outcome("12.c", "Ben")' in text


def test_what_each_strategy_reaches_on_the_two_gates():
    """The figure's caption: FiLM and bilinear do XOR and not the parity, a gate does both."""
    for name in ("early", "gated", "film", "bilinear", "tensor", "low_rank"):
        assert min(of("fusion_gates", f"xor: {name}", "19")) > 0.87
        runs = of("fusion_gates", f"parity: {name}", "19")
        assert max(runs) < 0.53 if name in ("film", "bilinear") else min(runs) > 0.86
    rows = stored("19", "fusion_gates")
    best = [100 * rows[f"{gate}: tensor"]["ceiling"] for gate in ("xor", "parity")]
    assert [round(value) for value in best] == [90, 89]


def test_the_price_in_numbers(text):
    start = of("price", PLACE + "0 products")
    prices = {
        count: gain(of("price", f"{PLACE}{count} products"), start) for count in (16, 64, 256)
    }
    assert abs(prices[16][0]) < prices[16][1] and "nothing that five seeds show, 64" in text
    assert round(prices[64][0]) == -5 and "64 about five points" in text
    mean, half = prices[256]
    assert f"all 256 cost {points((-mean, half))}" in text
    assert all(sum(prices[count]) < 0 for count in (64, 256))
    shuffled = of("price", PLACE + "256 products, shuffled")
    real = of("price", PLACE + "256 products")
    mean, half = gain(real, shuffled)
    both = "cost the same: {:.1f} % beside {:.1f}.".format(percent(shuffled), percent(real))
    assert abs(mean) < half and both in text
    assert gain(shuffled, start)[0] < -10
    mean, half = gain(of("price", PLACE + "256 products times 0.1"), start)
    assert abs(mean) < half
    decays = [
        stored("13", "price")[f"{PLACE}{count} products"]["weight_decay"] for count in (0, 256)
    ]
    assert decays == [1.0, 10.0]  # "a strong weight decay ... was chosen"


def test_more_samples_lower_the_price(text):
    costs = []
    for n in (150, 500, 2000):
        row = f"redundant, {n} samples, "
        costs.append(gain(of("price", row + "256 products"), of("price", row + "0 products")))
    assert costs[0][0] < costs[1][0] < costs[2][0] < -costs[2][1]
    assert f"At 2,000 samples {-costs[2][0]:.1f} points are still to pay" in text


def test_softer_products_are_heard_less(text):
    glue, whole, soft = (
        of("price", f"xor, 150 samples, {row}")
        for row in ("0 products", "256 products", "256 products times 0.1")
    )
    shown = f"the glue has {percent(glue):.1f} %, all products {percent(whole):.1f}, all products"
    assert f"{shown} times 0.1 {percent(soft):.1f}." in text
    mean, half = gain(soft, whole)
    assert mean + half < 0 < gain(soft, glue)[0] - gain(soft, glue)[1]


def small(gate, name):
    return of("small", f"{gate}: {name}")


def test_a_projection_that_learns_takes_the_price_away(text):
    shown = [percent(small("redundant", name)) for name in ("tensor of 8", "tensor of 16")]
    glue = percent(small("redundant", "concat"))
    words = "{:.1f} with 8 numbers, {:.1f} with 16, and {:.1f} for the glue".format(*shown, glue)
    assert words in text
    for width in (4, 8, 16):
        mean, half = gain(small("redundant", f"tensor of {width}"), small("redundant", "concat"))
        assert abs(mean) < half
    pair = [small("redundant", name) for name in ("tensor of 16", "tensor of 16, frozen")]
    mean, half = gain(*pair)
    assert mean - half > 0 and f"loses {points((mean, half))} points to the one that learns" in text
    frozen, raw = pair[1], small("redundant", "tensor")
    assert gain(frozen, raw)[0] > gain(frozen, raw)[1]
    assert f"still above the raw products, {percent(frozen):.1f};" in text


def test_where_explicit_products_pay(text):
    best = small("xor", "tensor of 8")
    assert f"On XOR this layer has {percent(best):.1f} where 68.6 are possible" in text
    for other, words in (
        ("tensor", "{} points above the raw products"),
        ("concat, hidden", "{} above the hidden layer"),
    ):
        pair = gain(best, small("xor", other))
        assert pair[0] > pair[1] and words.format(points(pair)) in text
    longer = of("longer", "xor: concat, 128 hidden, 200 epochs")
    shown = points(mean_interval([100 * run for run in longer]))
    assert f"Five times as many epochs and four times as many hidden units give it {shown}" in text
    assert gain(best, longer)[0] > gain(best, longer)[1]
    pair = gain(small("and", "concat"), small("and", "tensor"))
    assert pair[0] > pair[1] and f"raw products are {points(pair)} points below the glue" in text


def test_low_rank_in_numbers(text):
    runs = small("redundant", "low rank 4")
    shown = points(mean_interval([100 * run for run in runs]))
    assert f"On the redundant bit it has {shown}, well below the glue's 79.9" in text
    mean, half = gain(runs, small("redundant", "concat"))
    assert mean + half < 0
    lifted, down = (percent(small(gate, "low rank 4 of 8")) for gate in ("redundant", "xor"))
    assert f"lifts this to {lifted:.1f} and takes XOR down to {down:.1f}" in text
    assert f"On XOR, yes: {percent(small('xor', 'low rank 4')):.1f} %" in text
    counts = {}
    for name in ("low rank 4", "tensor"):
        layer = measured_cells("13")["STRATEGIES"][name]({"text": 16, "image": 16}, 2)
        counts[name] = sum(p.numel() for p in layer.parameters())
    words = "Rank 4 has {} parameters here, tensor fusion {}.".format(*counts.values())
    assert words in text


def test_counts_in_words(text):
    assert 33**3 == 35_937 and 33**4 > 1e6 and "33 · 33 · 33 = 35,937 products" in text
    assert 4 * 33 * 10 == 1_320 and "of rank 4 adds 1,320" in text.replace('" " ', "")
    whole, few = 49 * 193 * 120 + 120, 40 * 120 * (49 + 193) + 40 + 120
    assert f"has {few:,} numbers; the whole table would have {whole:,}" in text
    assert 101**4 * 10 > 1e9 and f"4 · 404 · 10 = {4 * 404 * 10:,}" in text


@pytest.mark.parametrize("sweep", ["digits", "digits_real"])
def test_multiplying_buys_nothing_on_digits(text, sweep):
    glue = of(sweep, "concat")
    words = {
        "digits": {
            "gated": "the gate has {} points",
            "tensor of 8": "tensor fusion {},",
            "low rank 4 of 8": "low rank {}.",
        },
        "digits_real": {"gated": "the gate has {} points", "tensor of 8": "tensor fusion {}."},
    }
    for name in ("gated", "tensor of 8", "low rank 4 of 8"):
        mean, half = gain(of(sweep, name), glue)
        assert mean - half < 0  # none is clearly better
        if name in words[sweep]:
            assert words[sweep][name].format(points((mean, half))) in text
    lost = gain(glue, of(sweep, "concat, audio shuffled"))
    assert lost[0] > lost[1]
    assert f"costs the glue {points(lost)} points" in text
    lost = gain(of(sweep, "tensor of 8"), of(sweep, "tensor of 8, audio shuffled"))
    assert lost[0] > lost[1]
    if sweep == "digits":
        assert f"the tensor {points(lost)}." in text and f"glue's {percent(glue):.1f} %" in text


def test_one_speaker_chooses_badly_for_low_rank(text):
    """The stored choice again, and what the validation speaker says of it and of another."""
    rows = stored("13", "low_rank_real")
    assert rows["decay 10"]["accuracy"] == of("digits_real", "low rank 4 of 8")
    alone = percent(of("digits_real", "audio alone")), percent(of("real", "audio", "12"))
    assert "alone {:.1f} in place of {:.1f}".format(*alone) in text
    shown = {}
    for name, row in rows.items():
        known = 100 * sum(row["validation accuracy"]) / 5
        shown[name] = points(mean_interval([100 * run for run in row["accuracy"]])), known
        shown[name] += (sum(row["validation loss"]),)
    (chosen, less, low), (other, more, high) = shown["decay 10"], shown["decay 1"]
    assert f"weight decay of 10, with {chosen} %" in text
    assert f"with a decay of 1 it has {other}." in text
    assert f"badly, {less:.0f} and {more:.0f} % right" in text and low < high


def test_the_multibench_layer_has_a_link(text):
    link = re.search(r"\[MultiBench\]\((\S+)\)", text).group(1)
    assert link in said("11")
    assert "160 of the 1,161,760 are registered and trained, on a CPU" in text
