"""What page 16 goes on with of the reader's own code, what its faults are, and what it says of its
stored runs.
"""

import math
import re
import sys
from functools import partial

import pytest
import torch
from reading import gain, printed, said, the_cell
from torch import nn
from torch.nn import functional as F

from course_utils.exercises import reference
from course_utils.losses import info_nce
from course_utils.metrics import mean_interval
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

# ---- the reader's own code ----


def by_log_softmaxes(pictures, sentences, temperature):
    logits = F.normalize(pictures, dim=1) @ F.normalize(sentences, dim=1).T / temperature
    return -(logits.log_softmax(0) + logits.log_softmax(1)).diagonal().mean() / 2


def by_shares(pictures, sentences, temperature, partners):
    logits = F.normalize(pictures, dim=1) @ F.normalize(sentences, dim=1).T / temperature
    total = 0
    for table, yes in ((logits, partners), (logits.T, partners.T)):
        share = yes.to(table) / yes.sum(1, keepdim=True)
        total = total + F.cross_entropy(table, share)
    return total / 2


def cell_by_cell(pictures, sentences, temperature):
    total = 0
    for i, picture in enumerate(pictures):
        for a, b in ((picture, sentences), (sentences[i], pictures)):
            logits = torch.stack([F.cosine_similarity(a, x, dim=0) for x in b]) / temperature
            total = total + logits.logsumexp(0) - logits[i]
    return total / (2 * len(pictures))


@pytest.mark.parametrize("key, answer", [("16.1", by_log_softmaxes), ("16.2", by_shares)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_what_is_far_too_slow_is_not_taken(accepted):
    taken, line = accepted("16.1", cell_by_cell)
    assert taken is reference("16.1")
    assert line.startswith("16.1: the course's, because yours, though right, takes ")


@pytest.mark.parametrize("rows, width", [(1, 3), (5, 2), (20, 16)])
def test_references_are_the_packages_loss(rows, width):
    torch.manual_seed(rows)
    a, b = torch.randn(2, rows, width, dtype=torch.float64)
    partners = (torch.rand(rows, rows) < 0.4) | torch.eye(rows).bool()
    assert torch.allclose(reference("16.1")(a, b, 0.2), info_nce(a, b, 5.0))
    assert torch.allclose(reference("16.2")(a, b, 0.2, partners), info_nce(a, b, 5.0, partners))


# ---- what stands in its cells ----


cell = partial(the_cell, "16")


@pytest.mark.parametrize("seed", range(3))
def test_a_sum_is_no_space(capsys, seed):
    torch.manual_seed(seed)
    names = {"F": F, "torch": torch, "to_image": nn.Linear(4, 8), "to_text": nn.Linear(6, 8)}
    names |= {"image": torch.randn(3, 4), "text": torch.randn(3, 6)}
    assert printed(capsys, cell("torch.tanh(to_image(image) + to_text(text))"), names) == "False"
    assert printed(capsys, cell("def place", "F.normalize(to_image"), names) == "True"


def test_both_summands_get_the_same_gradient():
    torch.manual_seed(0)
    one, other = torch.randn(2, 3, 8, requires_grad=True)
    one, other = one.detach().requires_grad_(), other.detach().requires_grad_()
    torch.tanh(one + other).square().sum().backward()
    assert torch.equal(one.grad, other.grad)


def test_a_clamp_on_the_way_forward_stops_learning(capsys):
    names = {"torch": torch, "nn": nn, "math": math, "symmetric_loss": reference("16.1")}
    names["small_pictures"] = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    names["small_sentences"] = torch.tensor([[2.0, 0.0], [0.0, 0.5], [1.0, 0.0]])
    exec(cell("log_scale.exp().clamp(max=100)"), names)
    assert names["grads"] == {"in the forward pass": False, "the parameter": True}


def test_small_numbers_in_words():
    pictures = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    sentences = torch.tensor([[2.0, 0.0], [0.0, 0.5], [1.0, 0.0]])
    shares = (F.normalize(pictures, dim=1) @ F.normalize(sentences, dim=1).T / 0.5).softmax(1)
    _, moon, own = shares[2].tolist()
    assert f'prefers "a moon" ({moon:.2f}) to its own ({own:.2f})' in said("16")
    page = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    rows = (page[0] @ page[1].T / 0.5).log_softmax(1).diagonal().neg().tolist()
    columns = (page[0] @ page[1].T / 0.5).log_softmax(0).diagonal().neg().tolist()
    stub = "are {:.2f} and {:.2f}, the columns' {:.2f} and {:.2f}, their mean is {:.2f}."
    assert stub.format(*rows, *columns, sum(rows + columns) / 4) in said("16")


@pytest.fixture(scope="module")
def page():
    return measured_cells("16")


def test_every_own_sentence_fits(page):
    part, captions = page["load"]("test", 300)
    fit = page["fits"](part["said"], part["shown"])
    assert fit.diagonal().all() and 0.06 < fit.double().mean() < 0.1
    assert part["ids"].max() <= len(page["WORDS"]) == 18
    for row, caption in enumerate(captions):
        assert [page["WORDS"][i - 1] for i in part["ids"][row] if i] == caption.split()
    other, _ = page["load"]("train", 50, seed=3)
    assert not torch.equal(other["image"], page["load"]("train", 50, seed=4)[0]["image"])


def test_fits_is_what_is_said():
    fits = measured_cells("16")["fits"]
    red, small_red = torch.tensor([[1, 0, 0], [1, 1, 0]]).bool()
    pictures = torch.tensor([[1, 1, 0], [1, 0, 1], [0, 1, 0]]).bool()
    assert fits(torch.stack([red, small_red]), pictures).tolist() == [
        [True, True, False],
        [True, False, False],
    ]


def test_hits_ask_both_ways(page):
    part = {"said": torch.eye(3).bool(), "shown": torch.eye(3).bool()}
    table = torch.tensor([[0.9, 0.1, 0.1], [0.8, 0.7, 0.1], [0.2, 0.3, 0.4]])
    assert page["hits"](table, part) == pytest.approx([2 / 3, 1.0])


def test_effective_rank_counts_directions(page):
    rank, cosine = page["effective_rank"], page["random_cosine"]
    assert rank(torch.eye(5)) == pytest.approx(5, abs=1e-4)
    assert rank(torch.ones(6, 4) / 2) == pytest.approx(1, abs=1e-2)
    assert cosine(torch.eye(5)) == pytest.approx(0) and cosine(torch.ones(6, 4) / 2) == 1


def test_a_share_of_the_pairs_is_mismatched():
    part = {"ids": torch.arange(100)[:, None], "said": torch.arange(100), "image": torch.zeros(100)}
    mixed = load("16", "sweeps").shuffled(part, 1, 0.25)
    assert int((mixed["ids"][:, 0] != torch.arange(100)).sum()) == 25
    assert sorted(mixed["said"].tolist()) == list(range(100))


# ---- what the page says of its stored runs ----


@pytest.fixture(scope="module")
def text():
    return said("16")


def of(name, what="picture", sweep="losses"):
    return stored("16", sweep)[name]["accuracy"][what]


def percent(name, what="picture", sweep="losses"):
    runs = of(name, what, sweep)
    return 100 * sum(runs) / len(runs)


def mean(values):
    return sum(values) / len(values)


def clear(difference):
    """Whether an interval is clear of 0."""
    middle, half = difference
    return abs(middle) > half


def test_what_negatives_do_in_numbers(text):
    ends = {
        name: {what: mean([run[-1] for run in row[what]]) for what in ("rank", "random", "own")}
        for name, row in stored("16", "collapse").items()
    }
    alone, both = ends["no negatives"], ends["InfoNCE"]
    assert f"effective rank falls to {alone['rank']:.1f}," in text
    assert f"have a cosine of {alone['random']:.3f} in the mean." in text
    assert f"all else alike, keeps {both['rank']:.0f} directions" in text
    assert f"(With negatives it is {both['rank']:.0f}.)" in text
    assert round(alone["own"], 3) in (0.999, 1.0) and "cosine of own pairs is 0.999" in text
    assert f"effective rank {alone['rank']:.1f} for {both['rank']:.0f}" in text
    share = percent("no negatives", sweep="collapse")
    assert f"{share:.0f} % of the sentences still find a picture that fits" in text


def test_the_table_of_losses_in_numbers(text):
    base, other = of("InfoNCE"), of("InfoNCE", "sentence")
    lost = gain(base, of("no unit length"))
    assert clear(lost) and round(lost[0]) == 7
    assert "pictures found lose seven points" in text
    one_way = gain(of("sentences look for pictures only", "sentence"), other)
    assert clear(one_way) and round(-one_way[0]) == 4 and "loses four points in the other" in text
    assert not clear(gain(of("sentences look for pictures only"), base))
    for what in ("picture", "sentence"):
        learned = gain(of("InfoNCE, temperature learned", what), of("InfoNCE", what))
        assert not clear(learned)
    mined = gain(of("triplet, semi-hard"), of("triplet, random"))
    assert clear(mined) and mined[0] > 10
    rank = mean(stored("16", "losses")["triplet, hardest"]["rank"])
    assert f"the space collapses, negatives or not (rank {rank:.1f})" in text


def test_partners_in_numbers(text):
    for what in ("picture", "sentence"):
        equal = gain(of("partners: equal", what, "imperfect"), of("InfoNCE", what))
        assert abs(equal[0]) < 1 and not clear(equal)
        assert clear(gain(of("partners: all that fit", what, "imperfect"), of("InfoNCE", what)))
        left_out = of("fits left out", what, "negatives")
        assert not clear(gain(left_out, of("partners: all that fit", what, "imperfect")))
    without = [percent("fits left out", what, "negatives") for what in ("picture", "sentence")]
    assert "out of the sums: {:.0f} and {:.0f} %, as good.".format(*without) in text
    before = [percent("InfoNCE", what) for what in ("picture", "sentence")]
    assert f"finds {without[0]:.0f} % in place of {before[0]:.0f}." in text
    after = [percent("partners: all that fit", x, "imperfect") for x in ("picture", "sentence")]
    lifted = "all that fit lift {:.0f} and {:.0f} % to {:.0f} and {:.0f}".format(*before, *after)
    assert lifted in text
    assert f"({before[0]:.0f} % of the pictures found fit.)" in text
    assert re.search(rf"from pixels and words, {before[0]:.0f} % of the pictures found fit", text)


def test_temperature_and_batch_in_numbers(text):
    heat = [percent(t, sweep="temperatures") for t in ("0.1", "0.01", "1.0")]
    assert "{:.0f} % at 0.1, {:.0f} at 0.01 and {:.0f} at 1.".format(*heat) in text
    assert all(
        gain(of("0.1", sweep="temperatures"), of(t, sweep="temperatures"))[0] > 5
        for t in ("0.01", "0.03", "0.3", "1.0")
    )
    steps, passes = (
        [percent(f"{n}, {way}", sweep="batches") for n in (16, 64, 256)]
        for way in ("200 steps", "8 passes")
    )
    assert "{:.0f} % with 16 pairs, {:.0f} with 64, {:.0f} with 256.".format(*steps) in text
    assert "it turns: {:.0f}, {:.0f} and {:.0f} %, for".format(*passes) in text
    for small in (16, 64):
        lost = gain(of("256, 8 passes", sweep="batches"), of(f"{small}, 8 passes", sweep="batches"))
        assert lost[0] < 0 and clear(lost)
        assert stored("16", "batches")[f"{small}, 8 passes"]["lr"] == 0.003
    groups = {n: of(f"among {n}", sweep="negatives") for n in (8, 16, 32, 64)} | {
        128: of("InfoNCE")
    }
    ends = [100 * mean(groups[n]) for n in (8, 16, 64, 128)]
    in_words = "of 8 it finds {:.0f} %, of 16 it finds {:.0f}, of 64 it finds {:.0f}, in the whole"
    assert (in_words + " batch {:.0f}.").format(*ends) in text
    for few in (8, 16, 32):
        lost = gain(groups[128], groups[few])
        assert clear(lost) and lost[0] > 0
    assert not clear(gain(groups[128], groups[64]))
    assert 8 * 3_200 // 256 == 100 and 8 * 3_200 // 16 == 1_600


def test_emoji_in_numbers(text):
    rows = {w: [of(n, w, "emoji") for n in ("ridge", "contrast")] for w in ("among 1", "among 10")}
    first, ten = (gain(*rows[what]) for what in ("among 1", "among 10"))
    assert f"a difference of {first[0]:.1f} ± {first[1]:.1f} points" in text and not clear(first)
    assert f"ridge is ahead by {ten[0]:.1f} ± {ten[1]:.1f}." in text
    shares = [percent(n, "among 1", "emoji") for n in ("contrast", "ridge")]
    assert "contrast finds {:.0f} % and ridge {:.0f},".format(*shares) in text
    assert first[0] > -first[1] and 'outcome("15.c", "Ben")' in text
    sweeps, lowest = load("16", "sweeps"), 0
    for dials in stored("16", "emoji")["contrast"]["dials"]:
        edges = [dials[name] in (values[0], values[-1]) for name, values in sweeps.DIALS.items()]
        assert any(edges) or dials["epoch"] == 60
        lowest += dials["rate"] == sweeps.DIALS["rate"][0]
    assert lowest == 4 and "edge of what was tried, mostly the rate;" in text
    gained = gain(*(of(name, "among 10", "emoji") for name in ("ridge", "nearest names")))
    assert f"it is {gained[0]:.1f} ± {gained[1]:.1f} points ahead of them" in text
    for name in ("ridge", "contrast"):
        assert percent(f"{name}, pairs shuffled", "among 10", "emoji") < 5
    for change in ("150 pairs", "300 pairs", "600 pairs", "0.1 mismatched", "0.5 mismatched"):
        pair = [of(f"{name}, {change}", "among 10", "emoji") for name in ("contrast", "ridge")]
        assert not (clear(gain(*pair)) and gain(*pair)[0] > 0)
    half = [percent(f"{n}, 0.5 mismatched", "among 10", "emoji") for n in ("ridge", "contrast")]
    assert "ten for {:.0f} % of the names, contrast for {:.0f}.".format(*half) in text


def test_imperfect_pairs_in_numbers(text):
    before = of("InfoNCE")
    lost = gain(before, of("mismatched 0.25", sweep="imperfect"))
    assert clear(lost) and f"mismatched pairs costs {lost[0]:.0f} points" in text
    assert 45 < percent("mismatched 0.5", sweep="imperfect") < 55
    gains = [
        gain(of("partners: all that fit", w, "imperfect"), of("InfoNCE", w))[0]
        for w in ("picture", "sentence")
    ]
    said_so = "pictures found by {:.0f} points and sentences found by {:.0f}."
    assert said_so.format(*gains) in text


def left_out_by_loop(a, b, tau, fit):
    total = 0
    for i in range(len(a)):
        for one, other, yes in ((a, b, fit[i]), (b, a, fit[:, i])):
            logits = F.cosine_similarity(one[i][None], other) / tau
            total = total + logits[~yes | (torch.arange(len(a)) == i)].logsumexp(0) - logits[i]
    return total / (2 * len(a))


def test_who_is_a_negative():
    sweeps, (a, b) = load("16", "sweeps"), torch.randn(2, 6, 4)
    by_hand = [reference("16.1")(a[i : i + 2], b[i : i + 2], 0.1) for i in (0, 2, 4)]
    assert torch.allclose(sweeps.groups(a, b, None, 2), sum(by_hand) / 3, atol=1e-5)
    said, shown = torch.rand(6, 3) < 0.5, torch.ones(6, 3).bool()
    shown[::2, 0] = False
    batch = {"said": said & shown, "shown": shown}
    fit = sweeps.page_fits(batch["said"], shown).T
    expected = left_out_by_loop(a, b, 0.1, fit)
    assert torch.allclose(sweeps.left_out(a, b, batch), expected, atol=1e-5)


def test_sizes_of_the_recipe(page, text):
    count = sum(p.numel() for net in page["pair"]() for p in net.parameters())
    assert f"{count / 1e6:.2f} million weights" in text


def test_contrast_beside_the_same_network_in_numbers(text):
    plain = "the same network predicts words"
    for what in ("picture", "sentence"):
        lead = gain(of("InfoNCE, 600 steps", what, "baselines"), of(plain, what, "baselines"))
        assert clear(lead) and lead[0] > 0
        assert f"{lead[0]:.0f} ± {lead[1]:.0f}" in text.split("a lead of")[1].split(" points")[0]
    short, longer, without = (
        [percent(name, what, sweep) for what in ("picture", "sentence")]
        for name, sweep in (
            ("InfoNCE", "losses"),
            ("InfoNCE, 600 steps", "baselines"),
            (plain, "baselines"),
        )
    )
    assert (
        "picture for {:.0f} % of the sentences, and a true sentence for {:.0f} %".format(*short)
        in text
    )
    assert "contrast has {:.0f} and {:.0f} %, and the same".format(*longer) in text
    assert "without it {:.0f} and {:.0f}:".format(*without) in text
    assert "pushed 600 steps reach {:.0f} and {:.0f} %.".format(*longer) in text
    rows, told = stored("16", "baselines"), "it predicts properties only"
    ends = [percent(told, what, "baselines") for what in ("picture", "sentence")]
    assert "the network has {:.0f} and {:.0f}, and a lead".format(*ends) in text
    left = [
        gain(of("InfoNCE, 600 steps", x, "baselines"), of(told, x, "baselines"))
        for x in ("picture", "sentence")
    ]
    assert not clear(left[0]) and clear(left[1])
    assert "{:.0f} ± {:.0f} and {:.0f} ± {:.0f} is left".format(*left[0], *left[1]) in text
    assert rows[plain]["steps"] == rows[told]["steps"] == 600
    assert rows[told]["lr"] == rows[plain]["lr"]
    assert rows[plain]["lr"] == rows["InfoNCE, 600 steps"]["lr"] == max(load("16", "sweeps").RATES)
    for what in ("picture", "sentence"):
        assert (
            abs(percent("InfoNCE, pairs shuffled", what) - percent("chance", what, "baselines")) < 2
        )


def test_few_pairs_in_numbers(text):
    few, enough = (percent(n, sweep="pairs") for n in ("200", "3200"))
    assert f"again and again, give {few:.0f} %, and 3,200 give {enough:.0f} in the same" in text
    middle, half = mean_interval([100 * x for x in of("12800", sweep="pairs")])
    assert f"seen twice, give {middle:.0f} ± {half:.0f}:" in text
