"""What page 21 goes on with of the reader's own code, what its faults are, and whether its numbers
are those of its cells and its stored runs.
"""

import math
import re
import sys
from functools import partial

import pytest
import torch
from reading import gain, said, the_cell
from torch.nn import functional as F

from course_utils.exercises import reference
from course_utils.gradients import cross_entropy_backward
from course_utils.metrics import accuracy
from course_utils.rooms import room, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

LOGITS = torch.tensor([4.0, 3.0, 1.0], dtype=torch.float64).log()

# ---- the reader's own code ----


def by_logsumexp(logits, labels):
    probs = (logits - logits.logsumexp(dim=1, keepdim=True)).exp()
    probs[torch.arange(len(labels)), labels] -= 1
    return probs / len(labels)


def by_numbers(logits, labels):
    """A loop over rows in plain Python: right, and slow."""
    rows = []
    for row, label in zip(logits.tolist(), labels.tolist()):
        exps = [math.exp(one - max(row)) for one in row]
        entries = []
        for k, one in enumerate(exps):
            entries.append((one / math.fsum(exps) - (k == label)) / len(logits))
        rows.append(entries)
    return torch.tensor(rows, dtype=logits.dtype)


def padded_by_rows(logits, labels, mask):
    result = logits.new_zeros(logits.shape)
    result[mask] = by_logsumexp(logits[mask], labels[mask])
    return result


def padded_place_by_place(logits, labels, mask):
    result = torch.zeros_like(logits)
    for b, t in mask.nonzero().tolist():
        result[b, t] = logits[b, t].softmax(dim=0)
        result[b, t, labels[b, t]] -= 1
    return result / mask.sum()


def weighted_by_two_parts(logits, labels, class_weights, smoothing):
    """The part of the labels and the part of the smoothing by themselves."""
    probs, own = logits.softmax(dim=1), class_weights[labels][:, None]
    hard = own * (probs - F.one_hot(labels, logits.shape[1]))
    even = probs * class_weights.mean() - class_weights / logits.shape[1]
    return ((1 - smoothing) * hard + smoothing * even) / own.sum()


@pytest.mark.parametrize(
    "key, answer",
    [("21.1", by_logsumexp), ("21.2", padded_by_rows), ("21.3", weighted_by_two_parts)],
)
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_what_is_far_too_slow_is_not_taken(accepted):
    taken, said = accepted("21.2", padded_place_by_place)
    assert taken is reference("21.2")
    assert said.startswith("21.2: the course's, because yours, though right, takes ")


def test_plain_python_is_right(accepted):
    accepted("21.1", by_numbers)


# ---- what stands in its cells ----


cell = partial(the_cell, "21")


@pytest.mark.parametrize("in_float32", [False, True])
def test_faults_are_in_the_lines_that_are_shown(capsys, in_float32):
    """Whatever the dtype that the reader's function returns."""
    generator = torch.Generator().manual_seed(3)

    def gradient(logits, labels):
        result = by_logsumexp(logits, labels)
        return result.float() if in_float32 else result

    names = {"torch": torch, "F": F, "logits_gradient": gradient}
    names["draw"] = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)
    names["batch_logits"], names["batch_labels"] = names["draw"](4, 3), torch.tensor([1, 0, 2, 1])
    said = []
    for words in (
        ("hot = ", "hot.softmax("),
        ("hot = ", "hot.logsumexp("),
        ("outputs = ", "outputs.softmax("),
        ("outputs = ", "it takes logits"),
        ("tokens, token_labels = ",),
        ("tokens.transpose(1, 2)",),
    ):
        exec(cell(*words), names)
        said.append(capsys.readouterr().out.strip().rpartition(": ")[2])
    assert said == ["False", "True"] * 3


def test_logarithm_of_a_probability_rounded_to_nothing_sends_nan():
    hot = torch.tensor([[1e4, 0.0, -1e4]], requires_grad=True)
    (-hot.softmax(dim=1).log()[0, 1]).backward()
    assert hot.grad.isnan().any()


def test_class_axis_raises_where_tokens_are_not_as_many_as_classes():
    with pytest.raises(RuntimeError):
        F.cross_entropy(torch.zeros(2, 4, 3), torch.zeros(2, 4, dtype=torch.int64))


def test_an_operation_runs_when_all_that_used_its_result_have_sent_their_part(capsys):
    exec(cell("largest = leaf.max()"), {"torch": torch, "logits": LOGITS})
    order = capsys.readouterr().out.strip().rpartition(": ")[2].split(", ")
    assert order == ["Neg", "Log", "Div", "Sum", "Exp", "Sub", "Max", "z"]


def test_library_backward_without_the_mean_is_refused(capsys):
    shown = cell("import torch as pt")
    exec(shown, {})
    assert capsys.readouterr().out == "True\n"
    assert shown.count(" / len(z)") == 1
    with pytest.raises(RuntimeError, match="(?i)jacobian mismatch"):
        exec(shown.replace(" / len(z)", ""), {})


def test_slope_in_float32_is_off_by_more_than_a_percent(capsys):
    shown = cell("def three_loss").partition("z = draw(3)")[0]
    exec(shown, {"torch": torch, "logits": LOGITS, "NAMES": ["one", "seven", "nine"]})
    *slopes, single = capsys.readouterr().out.strip().splitlines()
    assert [float(line.split()[-2]) for line in slopes] == [4.0, -5.0, 1.0]
    assert single.endswith("False")
    exec(shown.replace(".float()", ""), {"torch": torch, "logits": LOGITS, "NAMES": ["one"]})
    assert capsys.readouterr().out.strip().endswith("True")


# ---- what the page says ----


@pytest.fixture(scope="module")
def text():
    return said("21")


def test_two_texts_and_their_padding(text):
    losses = torch.tensor([[1.0, 3.0, 0.0], [2.0, 0.0, 0.0]])
    assert losses.sum() / 3 == 2 and losses.mean() == 1
    assert "(1, 3, padding) and (2, padding, padding) have the mean 6/3 = 2." in text
    assert "Over all B x T places it would be 1" in text


ROWS = re.compile(r"^# \| .* \|$", re.M)


@pytest.mark.parametrize(
    "row, loss, gradient",
    [
        ("soft labels that do not", lambda z, s: -(s * z.log_softmax(0)).sum(), None),
        (
            "temperature",
            lambda z, s: -(z / 0.3).log_softmax(0)[1],
            lambda z, s: ((z / 0.3).softmax(0) - torch.eye(3).double()[1]) / 0.3,
        ),
    ],
)
def test_rows_of_the_table_against_autograd(row, loss, gradient):
    gradient = gradient or (lambda z, s: z.softmax(0) * s.sum() - s)
    source = room("21", "page.py").read_text(encoding="utf-8")
    assert any(row in line for line in ROWS.findall(source))
    s = torch.tensor([0.7, 0.1, 0.3], dtype=torch.float64)
    z = LOGITS.clone().requires_grad_()
    loss(z, s).backward()
    torch.testing.assert_close(gradient(LOGITS, s), z.grad, rtol=0, atol=1e-14)


def test_a_thousand_likelihoods_are_exactly_nothing_in_a_computer():
    given = torch.tensor([0.5, 0.25, 0.8, 0.1], dtype=torch.float64)
    assert given.repeat(250).prod() == 0 < given.repeat(100).prod()


def test_way_by_the_quotient_alone_would_send_the_label(text):
    exps = LOGITS.exp() / 4
    by_quotient = torch.tensor([0.0, -4 / 3, 0.0], dtype=torch.float64)  # what the page prints
    torch.testing.assert_close(by_quotient * exps, -torch.eye(3, dtype=torch.float64)[1])
    assert "alone, z would get (0, -1, 0)" in text


def test_binary_formula_in_numbers(text):
    z = LOGITS.clone().requires_grad_()
    probs, y = z.softmax(dim=0), torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    (-(y * probs.log() + (1 - y) * (1 - probs).log()).sum()).backward()
    said = "{:.3f}, {:.3f} and {:.3f}".format(*z.grad.tolist())
    assert f"get {said} instead of 0.5, -0.625 and 0.125" in text
    plain = cross_entropy_backward(LOGITS[None], torch.tensor([1]))[0].tolist()
    assert plain == pytest.approx([0.5, -0.625, 0.125])


@pytest.fixture(scope="module")
def page():
    return measured_cells("21")


def test_softmax_too_many_sends_two_thousand_times_less_and_has_a_floor(page, text):
    sure, seven = torch.tensor([[8.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([1])
    once, twice = (page[name](sure, seven)[0, 1] for name in ("logits_gradient", "twice_gradient"))
    assert round((once / twice).item() / 1000) == 2 and "two thousand times less" in text
    for classes, floor in ((3, 0.551), (10, 1.46)):
        best = torch.eye(classes)[:1]
        assert F.cross_entropy(best, torch.tensor([0])).item() == pytest.approx(floor, abs=2e-3)
    assert "for ten classes 1.46" in text and "= 0.551$ is the least" in text


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_of_a_softmax_too_many_is_autograds(page, monkeypatch, dtype):
    """Whatever the dtype that the reader's function returns."""
    own = page["logits_gradient"]
    monkeypatch.setitem(page, "logits_gradient", lambda z, y: own(z, y).to(dtype))
    scores = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels, leaf = torch.tensor([2, 0, 1, 1]), scores.clone().requires_grad_()
    F.cross_entropy(leaf.softmax(dim=1), labels).backward()
    torch.testing.assert_close(page["twice_gradient"](scores, labels), leaf.grad, rtol=0, atol=1e-7)


def of(name, row, kind):
    return stored("21", name)[row]["accuracy"][kind]


def percent(runs):
    return f"{100 * sum(runs) / len(runs):.0f}"


def won(name, one, other):
    """Mean difference of two (row, kind) in points over the seeds, and half its interval."""
    return gain(of(name, *one), of(name, *other))


def test_cost_of_a_softmax_too_many_in_numbers(text):
    name, slow = "second_softmax", "random start, SGD 0.03"
    mean, half = won(name, (slow, "once"), (slow, "twice"))
    assert round(mean) == 7 and mean - half > 0 and "seven points at the slow rate" in text
    assert f"has {percent(of(name, slow, 'once'))} %. With a softmax too many?" in text
    for row in ("random start, SGD 0.3", "random start, AdamW 0.005"):
        mean, half = won(name, (row, "once"), (row, "twice"))
        assert mean - half < 0 < mean + half
    mean, half = won(name, ("random start, SGD 3", "twice"), ("random start, SGD 3", "once"))
    assert round(mean) == 3 and mean - half > 0 and "is even three points ahead" in text
    stuck = "sure and wrong, SGD 0.3"
    once, twice = (percent(of(name, stuck, kind)) for kind in ("once", "twice"))
    assert f"hardly leaves its wrong start: {twice} % where logits give {once}." in text
    for away in ("sure and wrong, SGD 3", "sure and wrong, AdamW 0.005"):
        mean, half = won(name, (away, "once"), (away, "twice"))
        assert mean - half < 1 and percent(of(name, away, "twice")) == "91"
    assert "At rate 3 it ends at 91, and so it does with AdamW" in text


def test_weights_of_rare_classes_in_numbers(text):
    mean, half = won("rare", ("weights", "rare"), ("no weights", "rare"))
    assert mean - half > 0 and f"The weights bring {mean:.1f} points to the rare" in text
    mean, half = won("rare", ("weights", "others"), ("no weights", "others"))
    assert round(mean) == -1 and mean + half < 0 and "cost the others about one" in text
    mean, half = won("rare", ("no weights", "rare"), ("exchanged", "rare"))
    assert mean - half > 0 and f"they take {mean:.0f} from the rare" in text


def test_the_bet_of_page_20_in_numbers(text):
    """More than five points stay between the common and the rare digits, and the bet's 93 %."""
    mean, half = won("rare", ("weights", "others"), ("weights", "rare"))
    assert mean - half > 5 and f"the rare ones stay {mean:.1f} points behind the others" in text
    assert 'outcome("20.c", "Ben")' in text
    assert percent(of("rare", "weights", "others")) == "93" and "about 93 %" in said("20")


def test_one_run_of_each_made_again_agrees(page):
    data = page["load"](1)
    head = page["train"](page["twice_gradient"], data["train"], 1, 0.03)
    again = accuracy(head(data["test"]["features"]), data["test"]["label"])
    expected = of("second_softmax", "random start, SGD 0.03", "twice")[1]
    assert again == pytest.approx(expected, abs=0.03)
    few, balance = page["rarer"](data["train"])
    counts = few["label"].bincount(minlength=10)
    assert counts[5:].max() * 7 < counts[:5].min()
    torch.testing.assert_close(balance * counts, torch.full((10,), len(few["label"]) / 10))

    def weighted(logits, labels):
        return page["weighted_gradient"](logits, labels, balance, 0.0)

    hit = page["train"](weighted, few, 1)(data["test"]["features"]).argmax(dim=1)
    rare = data["test"]["label"] >= 5
    again = (hit == data["test"]["label"])[rare].double().mean().item()
    assert again == pytest.approx(of("rare", "weights", "rare")[1], abs=0.04)
