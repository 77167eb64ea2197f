"""What page 24 goes on with of the reader's own code, what its faults and small numbers are, and
what it says of its stored runs.
"""

import math
import re
import sys
from functools import partial

import pytest
import torch
from reading import gain, said, the_cell
from torch.nn import functional as F

from course_utils import exercises, gradients
from course_utils.exercises import reference, verdict
from course_utils.losses import info_nce
from course_utils.metrics import mean_interval
from course_utils.rooms import stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

# ---- the reader's own code ----


def attention_by_package(d_found, query, key, value, mask):
    return gradients.attention_backward(d_found, query, key, value, mask)


def pairs_by_package(a, b, log_scale, positives):
    return gradients.info_nce_backward(a, b, log_scale, positives)


def pairs_by_two_cross_entropies(a, b, log_scale, positives):
    """One direction at a time, each by the package's softmax cross-entropy with soft targets."""
    unit_a, unit_b = F.normalize(a, dim=1), F.normalize(b, dim=1)
    logits, own = log_scale.exp() * unit_a @ unit_b.T, positives.double()
    there = gradients.cross_entropy_backward(logits, own / own.sum(1, keepdim=True))
    back = gradients.cross_entropy_backward(logits.T, own.T / own.T.sum(1, keepdim=True))
    d = (there + back.T) / 2
    d_a = gradients.unit_length_backward(log_scale.exp() * d @ unit_b, a)
    d_b = gradients.unit_length_backward(log_scale.exp() * d.T @ unit_a, b)
    return d_a, d_b, (d * logits).sum()


def hadamard_by_products(d_logits, inputs, present, weight):
    """As page 23 would: the package's product, then tanh's slope."""
    tanh = {name: torch.where(present[name][:, None], x, 0).tanh() for name, x in inputs.items()}
    d_tanh = gradients.product_backward(d_logits @ weight, tanh, present)
    ones = [torch.where(present[name][:, None], x, 1) for name, x in tanh.items()]
    d_inputs = {name: d * (1 - tanh[name] ** 2) for name, d in d_tanh.items()}
    product = torch.stack(ones).prod(0)
    return d_inputs, d_logits.T @ product, d_logits.sum(0)


RIGHT = [
    ("24.1", attention_by_package),
    ("24.2", pairs_by_package),
    ("24.2", pairs_by_two_cross_entropies),
    ("24.3", hadamard_by_products),
]


@pytest.mark.parametrize("key, answer", RIGHT)
def test_another_way_that_is_right_is_right(key, answer):
    right, words = verdict(exercises._find(key), answer)
    assert right, words


@pytest.mark.parametrize("key, answer", [RIGHT[0], RIGHT[1]])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_autograd_is_refused_by_name():
    def pairs(a, b, log_scale, positives):
        leaves = [x.clone().requires_grad_() for x in (a, b, log_scale)]
        return torch.autograd.grad(info_nce(*leaves[:2], leaves[2].exp(), positives), leaves)

    right, words = verdict(exercises._find("24.2"), pairs)
    assert not right and "autograd is called" in words


def test_last_exercise_is_the_layer_of_the_packages_readme():
    """The README's code runs as it stands, and the exercise's reference gives its gradients."""
    text = (ROOT / "course_utils" / "README.md").read_text(encoding="utf-8")
    code = text[text.index("class HadamardFusion") :].partition("```")[0]
    names: dict = {}
    exec(
        text[text.index("import torch\nfrom torch import Tensor, nn") :].partition("```")[0], names
    )
    assert "class HadamardFusion" in code
    torch.manual_seed(0)
    layer = names["HadamardFusion"]({"text": 4, "image": 4, "audio": 4}, 3, width=None).double()
    inputs = {
        name: torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
        for name in ("text", "image", "audio")
    }
    present = {name: torch.rand(5) < 0.7 for name in inputs}
    d_logits = torch.randn(5, 3, dtype=torch.float64)
    layer(inputs, mask=present).backward(d_logits)
    (weight, bias) = (layer.head.weight, layer.head.bias)
    plain = {name: x.detach() for name, x in inputs.items()}
    found = reference("24.3")(d_logits, plain, present, weight.detach())
    for name, x in inputs.items():
        assert torch.allclose(found[0][name], x.grad, atol=1e-12), name
        assert not found[0][name][~present[name]].any()
    assert torch.allclose(found[1], weight.grad) and torch.allclose(found[2], bias.grad)


# ---- what stands in its cells ----


cell = partial(the_cell, "24")


@pytest.fixture(scope="module")
def text():
    return said("24")


def test_numbers_on_the_first_figures_wires_are_those_of_the_loop():
    exec(cell("query, keys, values = math.log(3)"), names := {"math": math})
    figure = cell("NODES = {")
    for name, shown in {
        "weights": ".75\\n.25",
        "d_values": "-1.5\\n-.5",
        "d_weights": "0\\n-8",
        "d_scores": "1.5\\n-1.5",
        "d_keys": "1.65\\n-1.65",
    }.items():
        assert f'"{shown}"' in figure, name
        expected = [float(one) for one in shown.split("\\n")]
        assert names[name] == pytest.approx(expected, abs=0.003), name
    assert names["found"] == pytest.approx(1) and names["d_query"] == pytest.approx(1.5)
    query = torch.tensor(math.log(3), requires_grad=True)
    weights = (query * torch.tensor([1.0, 0.0])).softmax(0)
    ((weights @ torch.tensor([0.0, 4.0]) - 3) ** 2 / 2).backward()
    assert query.grad.item() == pytest.approx(names["d_query"])


def test_sure_softmax_inside_and_at_the_end(capsys, text):
    shown = cell("def inside(w):").partition("outcome(")[0]
    exec(shown, {"math": math, "torch": torch})
    lines = capsys.readouterr().out.splitlines()
    numbers = [re.findall(r"-?[\d.]+", line) for line in lines]
    assert [[float(n) for n in row[1:]] for row in numbers[2:]] == [
        [-0.077, 9, -0.98, 3],
        [-0.01, 55, -0.998, 4],
    ]
    assert "Ben: -0.077, where the softmax at the end gets -0.980" in text
    assert "it takes 55 steps, not 4" in text


def test_the_slope_of_the_loss_saves_a_sure_softmax_not_its_place(text):
    """-log((1 + found) / 2) goes through the same value, and what the scores get is p - y."""
    for gap in (1.0, math.log(49), 6.0):
        scores = torch.tensor([gap, 0.0], dtype=torch.float64, requires_grad=True)
        found = (scores.softmax(0) * torch.tensor([-1.0, 1.0])).sum()
        (told,) = torch.autograd.grad(-torch.log((1 + found) / 2), scores)
        assert torch.allclose(told, scores.softmax(0) - torch.tensor([0.0, 1.0]), atol=1e-12)
    assert r"with the loss $-\log\big((1 + \text{found})/2\big)$, which is" in text
    assert "attention in the middle would be pushed as hard" in text


def faults_of(*words):
    names = {"torch": torch, "attention_backward": reference("24.1")}
    torch.manual_seed(0)
    names["q"], names["k"], names["v"], names["d_out"] = torch.randn(
        4, 2, 3, 4, dtype=torch.float64
    )
    names["mask"] = torch.tensor([[True, True, False], [True, True, True]])
    names["d_A"], names["zero"] = (
        names["d_out"] @ names["v"].mT,
        torch.zeros(2, 3, dtype=torch.float64),
    )
    for one in words:
        exec(cell(*one), names)


def test_faults_are_in_the_lines_that_are_shown(capsys):
    faults_of(
        ("A = (q @ k.mT / 2).softmax(dim=-1)",),
        ("A = (q @ k.mT / 2).masked_fill",),
        ("there = mask[:, :1]",),
        ("null = torch.full",),
    )
    printed = [line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines()]
    assert printed == ["True", "False", "True", "True", "True", "False", "True", "True"]


def test_one_key_gives_no_gradient_whatever_the_numbers():
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        q, k, v, d = torch.randn(4, 3, 1, 5, generator=generator, dtype=torch.float64)
        d_q, d_k, d_v = reference("24.1")(d, q, k, v, torch.ones(3, 1, dtype=torch.bool))
        assert not d_q.any() and not d_k.any() and torch.equal(d_v, d)


def test_long_vectors_turn_more_slowly(capsys):
    exec(cell("goal = torch.tensor"), {"math": math, "torch": torch})
    left = [float(line.split()[2]) for line in capsys.readouterr().out.splitlines()]
    assert left == [0.8, 83.5, 117.0]


def test_table_of_pairs(capsys, text):
    exec(cell('NAMES, y = ["cat"'), names := {"torch": torch})
    rows, both = names["d_rows"], (names["d_rows"] + names["d_columns"]) / 2
    assert torch.allclose(rows.sum(1), torch.zeros(3, dtype=torch.float64), atol=1e-12)
    assert f'the column of "cat" adds up to {rows[:, 0].sum():.2f}' in text
    assert 0 < both[1, 0] < rows[1, 0]
    cosines = names["cosines"]
    assert both[:, 0].sum() == pytest.approx(rows[:, 0].sum() / 2)
    assert "Both ways it is half of that" in text
    near = (0.2 + cosines - cosines.diagonal()[:, None] > 0) & (torch.eye(3) == 0)
    turned = (0.2 + cosines - cosines.diagonal() > 0) & (torch.eye(3) == 0)
    assert near.sum() == 1 and turned.sum() == 1 and near[1, 0] and turned[0, 1]
    assert "six of nine cosines get exactly nothing" in text


def test_library_section(capsys):
    exec(cell("import torch as pt"), {})
    assert capsys.readouterr().out.count("True") == 1


@pytest.fixture(scope="module")
def page():
    names = measured_cells("24")
    names["attention_backward"], names["pairs_backward"] = reference("24.1"), reference("24.2")
    return names


@pytest.mark.parametrize(
    "right, wrong",
    [
        ("d_a.T @ scan", "d_a.T @ scan / 2"),
        ("d_b.T @ sound", "d_a.T @ sound"),
        ("d_log_scale}", "0 * d_log_scale}"),
    ],
)
def test_comparison_on_the_page_finds_a_slip(page, right, wrong):
    shown = cell("def towers_by_hand")
    assert right in shown
    exec(shown.replace(right, wrong), names := dict(page))
    torch.manual_seed(0)
    scan, sound = torch.randn(8, 64, dtype=torch.float64), torch.randn(8, 256, dtype=torch.float64)
    net = {
        "scan": torch.randn(16, 64, dtype=torch.float64),
        "sound": torch.randn(16, 256, dtype=torch.float64),
    }
    net["log_scale"] = torch.tensor(1.0, dtype=torch.float64)
    batch = scan, sound, torch.eye(8) == 1
    gradients.compare(
        page["towers_by_hand"](net, *batch)[1], page["towers_by_autograd"](net, *batch)[1]
    )
    with pytest.raises(AssertionError, match="by hand and reference differ"):
        gradients.compare(
            names["towers_by_hand"](net, *batch)[1], page["towers_by_autograd"](net, *batch)[1]
        )


def test_asking_by_hand_is_autograds(page):
    torch.manual_seed(0)
    text, image = torch.randn(2, 6, 8, dtype=torch.float64)
    labels = torch.tensor([0, 1, 1, 0, 1, 0])
    net, _, _ = page["learn_to_ask"]("learned", seed=1, epochs=0)
    net = {name: (one + 0.1).requires_grad_() for name, one in net.items()}
    loss = F.cross_entropy(page["ask"](net, text, image, "learned")[-1], labels)
    expected = dict(zip(net, torch.autograd.grad(loss, list(net.values()))))
    with torch.no_grad():
        found = page["ask_back"](net, text, image, labels, "learned")
    assert found.keys() == expected.keys()
    for name in found:
        assert torch.allclose(found[name], expected[name], atol=1e-13), name


# ---- what the page says of its stored runs ----


def percent(name, row):
    return mean_interval([100 * one for one in stored("24", name)[row]["accuracy"]])


def test_null_takes_xor_from_chance_to_the_ceiling(text):
    one, null = percent("null", "one key"), percent("null", "one key and a learned null")
    assert round(one[0]) == 49 and round(null[0]) == 89
    assert "a learned null takes XOR from 49 to 89 %" in text
    for control in ("its null stays at zero", "learned null, one query for all"):
        assert abs(percent("null", control)[0] - 50) < 2


def test_curves_by_hand_and_by_autograd_are_one():
    for name, row in stored("24", "mnist").items():
        assert len(row["difference"]) == 5 and max(row["difference"]) < 1e-12, name


def test_shared_positives_find_more(text):
    shared, each = (
        stored("24", "pairs")[f"{name}"] for name in ("positives shared", "one positive each")
    )
    words = "{:.1f} ± {:.1f}".format(*percent("pairs", "positives shared"))
    more = "{:.1f} ± {:.1f}".format(*gain(shared["accuracy"], each["accuracy"]))
    assert f"with shared positives {words} % find their digit, {more} points more, paired" in text
    assert gain(shared["accuracy"], each["accuracy"])[0] > 5
    heats = [
        "{:.2f} to {:.2f}".format(min(r), max(r))
        for r in (shared["temperature"], each["temperature"])
    ]
    assert f"{heats[0]} with shared positives, {heats[1]} with one" in text
    assert max(stored("24", "pairs")["sounds shuffled"]["accuracy"]) < 0.15
    for name in ("positives shared", "one positive each"):
        # 8 is the largest of the grid
        assert all(rate < 8 for rate, _ in stored("24", "pairs")[name]["rate and epochs"])


def test_real_pairs(text):
    words = ["{:.1f} ± {:.1f}".format(*percent("mnist", name)) for name in stored("24", "mnist")]
    assert f"{words[0]} % find their digit with shared positives, {words[1]} with one" in text
    assert f"{words[2]} with shuffled sounds" in text
    rows = stored("24", "mnist")
    middle, half = gain(*(rows[name]["accuracy"] for name in list(rows)[:2]))
    assert abs(middle) < half  # no difference that five seeds can show


def test_one_run_made_again_agrees(page):
    _, _, again = page["learn_to_ask"]("learned", seed=2)
    assert again == pytest.approx(
        stored("24", "null")["one key and a learned null"]["accuracy"][2], abs=0.02
    )
