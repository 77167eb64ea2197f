"""What page 32 goes on with of the reader's own code, what its faults are, and whether its
sentences are those of its stored runs.
"""

import re
import sys
from functools import partial

import pytest
import torch
from reading import printed, said, the_cell
from torch import nn
from torch.nn import functional as F

from course_utils.datasets import Cues
from course_utils.exercises import reference
from course_utils.metrics import mean_interval
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

cell = partial(the_cell, "32")
NAMES = ("text", "image", "audio")
THREE = "text + image + audio"


@pytest.fixture(scope="module")
def text():
    return said("32")


def percent(values):
    mean, half = mean_interval([100 * value for value in values])
    return f"{mean:.1f} ± {half:.1f}"


def paired(one, other):
    assert len(one) == len(other) >= 5
    return percent([a - b for a, b in zip(one, other)])


def mean(values):
    return f"{100 * sum(values) / len(values):.1f}"


def accuracy(name):
    return {row: one["accuracy"] for row, one in stored("32", name).items()}


# ---- the reader's own code ----


def spared_by_index(there, luck, p, training):
    if not training:
        return there
    kept = there & (luck >= p)
    lost = there.any(1) & ~kept.any(1)
    best = luck.masked_fill(~there, -1).argmax(1)
    kept[lost, best[lost]] = True
    return kept


def along_the_way(model, images, labels, eps, rate, steps, start):
    mode = model.training
    model.eval()
    low, high = (images - eps).clamp(min=0), (images + eps).clamp(max=1)
    found = torch.minimum(torch.maximum(images + eps * start, low), high)
    for _ in range(steps):
        found.requires_grad_()
        loss = F.cross_entropy(model(found), labels, reduction="sum")
        found = found.detach() + rate * torch.autograd.grad(loss, found)[0].sign()
        found = torch.minimum(torch.maximum(found, low), high)
    model.train(mode)
    return found


@pytest.mark.parametrize("key, answer", [("32.1", spared_by_index), ("32.2", along_the_way)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


@pytest.fixture(scope="module")
def page():
    return measured_cells("32")


def test_hidden_at_the_rate_of_equation_1(page):
    luck = torch.rand(40_000, 3, generator=torch.Generator().manual_seed(0))
    for hide in (reference("32.1"), page["hide_modalities"]):
        rows = luck[:4_000] if hide is reference("32.1") else luck
        kept = hide(torch.ones(rows.shape).bool(), rows, 0.3, True)
        assert kept.any(1).all()
        assert (1 - kept.double().mean()).item() == pytest.approx(0.291, abs=0.01)


def test_the_sweeps_pictures_stay_in_their_ball(page):
    """What trains and tests the stored models is the page's function, on many models at once."""
    many_of = load("32", "sweeps")
    torch.manual_seed(0)
    part = {n: torch.rand(2, 40, 5) for n in NAMES} | {"label": torch.randint(10, (2, 40))}
    part["label"][:, 0] = 9
    many = many_of.Many(NAMES, {"train": part}, [(1e-3, 0.0)] * 3, hidden=4)
    images, labels = many_of.flat(many, part)
    start = 2 * torch.rand(images.shape) - 1
    found = page["pgd"](many_of.Picture(many, part), images, labels, 0.1, 0.05, 9, start)
    assert (found - images).abs().max() <= 0.1 + 1e-6 and 0 <= found.min() <= found.max() <= 1
    pictures = found.view(2, 3, 40, 5)
    losses = [
        many.losses(many.logits({n: part[n] for n in NAMES[::2]} | {"image": one}), part["label"])
        for one in (part["image"], pictures)
    ]
    assert (losses[1] >= losses[0] - 1e-5).all()
    one = many.logits({n: part[n] for n in NAMES})[1, 2]
    weights = [p[1, 2] for p in many.parameters]
    glued = torch.cat([part[n][1] for n in NAMES], 1)
    by_hand = (glued @ weights[0] + weights[1]).relu() @ weights[2] + weights[3]
    assert torch.allclose(one, by_hand, atol=1e-5)


def test_a_share_of_pairs_is_wrong_and_no_label_moves():
    part = {"audio": torch.arange(100.0).view(1, 100, 1), "label": torch.arange(100)[None]}
    for share in (0.0, 0.4, 1.0):
        moved = load("32", "sweeps").mispaired(part, "audio", share, 0)
        wrong = (moved["audio"][0, :, 0] != part["audio"][0, :, 0]).double().mean().item()
        assert wrong == share and moved["label"] is part["label"]
        assert sorted(moved["audio"].flatten().tolist()) == list(range(100))


# ---- its faults ----


def test_silence_is_the_fault(capsys):
    names = {"torch": torch, "data": {"test": {"audio": torch.randn(20, 4)}}}
    shown = cell("sounds, share = ")
    assert printed(capsys, shown, names) == "False"
    assert printed(capsys, shown.replace("zeros_like(sounds)", "clone(sounds)"), names) == "True"
    assert printed(capsys, cell("noisy = sounds.clone()"), names) == "True"


def test_loud_logits_are_the_fault(capsys):
    torch.manual_seed(0)
    victim = nn.Linear(64, 3)
    images = torch.rand(60, 64)
    labels = victim(images).argmax(1)

    def right_of(model, found):
        return (model(found).argmax(1) == labels).double().mean().item()

    names = {"torch": torch, "nn": nn, "victim": victim, "pgd": reference("32.2"),
             "labels": labels, "test": {"image": images}, "right_of": right_of,
             "start": 0 * images}  # fmt: skip
    shown = cell("10_000 * victim(images)\nfound")
    assert printed(capsys, shown, names) == "False"
    assert printed(capsys, shown.replace("10_000 *", "1 *"), names) == "True"
    assert printed(capsys, cell("logits.detach().std()"), names) == "True"


# ---- what it says of Gaussian cues ----


def test_the_numbers_of_filling_in(text):
    far = Cues(mu=(0.5, 1.0), rho=0.9)
    lean = Cues(mu=(0.5, 1.0), prior=0.8)
    assert round(100 * far.rule_accuracy([far.bayes_weights()[0], 0.0]), 1) == 30.9
    by_mean = [1.0, 0.0], torch.log(torch.tensor(4.0)).item() + 2 * 0.6
    assert round(100 * lean.rule_accuracy(*by_mean), 1) == 80.3
    assert round(100 * lean.ceiling(["text"]), 1) == 81.4
    assert round(100 * far.ceiling(["text"]), 1) == 69.1
    assert "(80.3 instead of 81.4)" in text and "right in 30.9 %" in text
    assert "The line mends it: 69.1." in text


# ---- what it says of its stored runs ----


def test_the_bet(text):
    runs = accuracy("missing")
    three = {way: runs[f"{way}, zeros"][THREE] for way in
             ("glued", "modality dropout", "numbers dropped")}  # fmt: skip
    assert len(three["glued"]) == 10
    gains = [paired(three[way], three["glued"]) for way in list(three)[1:]]
    assert f"*gains* {gains[0]} points" in text and f"single numbers gain {gains[1]}" in text
    more = paired(three["modality dropout"], three["numbers dropped"])
    assert f"What whole modalities add to that, {more}," in text
    low = mean_interval([100 * (a - b) for a, b in zip(three["modality dropout"], three["glued"])])
    assert low[0] - low[1] > -1  # Ben


def test_the_patterns(text):
    runs = accuracy("missing")
    zeros, guessed, drop, product, own = (
        runs[row]
        for row in ("glued, zeros", "glued, guessed", "modality dropout, zeros",
                    "product of experts", "a model of its own")
    )  # fmt: skip
    assert (
        f"has {mean(zeros['audio'])} %, where a model for the sound has {mean(own['audio'])}"
        in text
    )
    assert f"gains {paired(guessed['audio'], zeros['audio'])} points of that" in text
    assert f"modality dropout {paired(drop['audio'], zeros['audio'])}." in text
    assert f"the guess gains {paired(guessed['image'], zeros['image'])}" in text
    assert f"nothing visible ({paired(drop['image'], zeros['image'])})" in text
    for present in own:
        others = (zeros, guessed, drop, own)
        assert all(sum(one[present]) <= sum(product[present]) + 1e-9 for one in others)
    more = [float(paired(product[p], own[p]).split()[0]) for p in own if " + " in p and p != THREE]
    assert f"the product is {min(more)} to {max(more)} points above" in text


def test_the_curves(text):
    runs = accuracy("corruption")
    concat, product, average = (
        runs[row] for row in ("concat", "product of experts", "mean of probabilities")
    )
    best = {level: max(sum(runs[f"{n} alone"][level]) / 5 for n in NAMES) for level in concat}
    for one in (concat, product, average):
        assert one["image 0"] == one["audio -10"] == one["text 0.6"] == one["clean"]
    sentence = f"concat has {mean(concat['audio -30'])} %: the picture alone, which it also sees,"
    assert sentence + f" would have {mean(runs['image alone']['audio -30'])}" in text
    assert f"falls below it too ({mean(product['audio -30'])})" in text
    assert f"{mean(product['image 2'])}, where the sound alone has" in text
    assert f"the sound alone has {100 * best['image 2']:.1f}" in text
    assert all(sum(average[level]) / 5 >= best[level] for level in concat)
    assert all(sum(one["text 1"]) / 5 > best["text 1"] for one in (concat, product, average))
    assert f"or above ({paired(product['clean'], concat['clean'])} points)" in text
    fall = [sum(one["clean"]) / 5 - sum(one["image 1"]) / 5 for one in (product, concat)]
    assert f"differ by {100 * (fall[0] - fall[1]):.1f} points" in text
    noise = runs["concat, trained in noise"]
    assert f"at noise 2 it gains {paired(noise['image 2'], concat['image 2'])} points" in text
    assert f"on clean pictures ({paired(noise['clean'], concat['clean'])})" in text
    assert f"it has {paired(concat['audio -20'], noise['audio -20'])} points *less*" in text
    without = mean(runs["concat, modality dropout, audio hidden"])
    heard = mean(runs["concat, modality dropout"]["audio -30"])
    drop = runs["concat, modality dropout"]
    told = paired(runs["concat, modality dropout, audio hidden"], drop["audio -30"])
    assert f"has {heard} % with the worst sound." in text
    assert f"the same model has {without} ({told} more)" in text
    most = max(sum(one["clean"]) - sum(one["text 1"]) for one in (concat, product, average)) / 5
    assert f"No fusion loses more than {100 * most:.1f} points" in text


def test_the_wrong_pairs(text):
    runs = accuracy("mismatch")

    def lost(who, share):
        return paired(runs[f"{who}, 0"], runs[f"{who}, {share:g}"])

    assert f"loses {lost(THREE, 0.2)} points" in text
    assert f"the sound alone loses {lost('audio', 0.2)}" in text
    assert f"With all sounds wrong {lost(THREE, 1.0)} are lost" in text
    left = [100 * (a - b) for a, b in zip(runs[f"{THREE}, 1"], runs["text + image"])]
    middle, half = mean_interval(left)
    assert abs(middle) < half and "left is about the score of text and picture." in text
    edges = [row for row, one in stored("32", "mismatch").items() if one["edge"]]
    assert edges == ["audio, 0.8", "audio, 1"] and "At 80 and 100 % the sound alone" in text


def test_the_other_artist(text):
    runs = accuracy("shift")
    same, other = "same artist", "other artist"

    def fall(row):
        return paired(runs[row][same], runs[row][other])

    both = "text + image"
    assert f"The picture alone loses {fall('image')} points, the two together {fall(both)}." in text
    adds = [paired(runs[both][one], runs["text"][one]) for one in (same, other)]
    assert f"add {adds[0]} points to the name" in text and f"other artist {adds[1]}:" in text
    shuffled = mean(runs[both]["other artist, pictures shuffled"])
    assert f"shuffled they pull the model down to {shuffled}" in text
    cure = paired(runs[f"{both}, modality dropout"][other], runs[both][other])
    assert f"({cure} on the other artist)" in text
    assert stored("32", "shift")[both]["mark"] == "1 of 12"


def test_the_new_speakers_are_those_of_page_05(text):
    found = stored("05", "heads")["MFCC, linear"]["accuracy"]
    sentence = f"MFCC had {mean(found['speakers'])} % right, on clips left out at random"
    assert f"{sentence} {mean(found['random'])};" in text


def test_no_unsaid_row_stands_at_an_edge(text):
    rows = {
        f"{name}: {row}"
        for name in ("corruption", "missing", "shift", "attacks", "measures")
        for row, one in stored("32", name).items()
        if one.get("edge") and not re.match("noise|drop|eps|all|decay|nothing", row)
    }
    assert rows == {"attacks: image: clean"}
    assert "The picture's own model is tuned at the edge of its rates." in text


def test_the_attacks(text):
    runs = accuracy("attacks")
    balls = {"image": "image, PGD, 0.2", "audio": "audio, PGD, 20 dB", "text": "text, worst letter"}
    below = []
    for name, attack in balls.items():
        others = " + ".join(n for n in NAMES if n != name)
        below.append(paired(runs[f"{others}: clean"], runs[f"{THREE}: {attack}"]))
    sentence = (
        "by {} points for the picture (0.2), {} for the sound (20 dB), {} for a single letter"
    )
    assert sentence.format(*below) in text
    clean = sum(runs[f"{THREE}: clean"])
    chance = [sum(row) for name, row in runs.items() if name.startswith(THREE) and "random" in name]
    assert f"costs {100 * (clean - min(chance)) / 5:.1f} points at most" in text
    by_norm = [mean(runs[f"{THREE}: image, {way}, 0.2"]) for way in ("L2 PGD", "PGD")]
    assert f"leaves {by_norm[0]} % on all three, where with at most 0.2 a pixel it leaves" in text
    assert f"a pixel it leaves {by_norm[1]}." in text


def test_the_measures(text):
    runs, rows = accuracy("measures"), stored("32", "measures")

    def gains(row, condition, other="nothing"):
        return paired(runs[row][condition], runs[other][condition])

    chosen = {
        name: max((row for row in rows if row.startswith(name)), key=lambda r: rows[r]["score"])
        for name in ("noise", "drop", "eps")
    }
    assert chosen == {"noise": "noise 1", "drop": "drop 0.5", "eps": "eps 0.1"}
    assert f"training gains {gains('eps 0.1', 'attacked')} points" in text
    assert f"price ({gains('eps 0.1', 'clean')} clean)" in text
    assert (
        f"strong noise {gains('noise 1', 'attacked')}; decay {gains('decay', 'attacked')}" in text
    )
    assert f"does anything ({gains('drop 0.5', 'attacked')})" in text
    shares = [
        sum(runs[row]["attacked"]) - sum(runs["nothing"]["attacked"])
        for row in ("noise 1", "eps 0.1")
    ]
    assert 0.63 < shares[0] / shares[1] < 0.72 and "strong noise two thirds of that" in text
    four = (
        gains("all four", "attacked"),
        paired(runs["nothing"]["clean"], runs["all four"]["clean"]),
    )
    assert "gain {} under attack and pay {} on clean".format(*four) in text
    alone = (
        gains("eps 0.2", "attacked"),
        paired(runs["nothing"]["clean"], runs["eps 0.2"]["clean"]),
    )
    assert "alone, at ε = 0.2, gains {} and pays {}.".format(*alone) in text
    less = [
        gains("all four", "attacked", f"all but {one}") for one in ("eps", "noise", "decay", "drop")
    ]
    words = "without attacked pictures {} points are lost under attack, without noise {};"
    assert words.format(*less) in text
    back = [
        paired(runs[f"all but {one}"]["clean"], runs["all four"]["clean"])
        for one in ("eps", "noise")
    ]
    assert "{} come back without attacked pictures, {} without noise".format(*back) in text
    attacked = accuracy("attacks")[f"{THREE}: image, PGD, 0.2"]
    shown = mean(runs["nothing"]["attacked"]), mean(attacked)
    assert "Why {} under attack here, and {} above?".format(*shown) in text
    assert f"no trace ({less[2]}, {less[3]})" in text
    best = [f"{100 * rows[row]['score']:.1f}" for row in ("all four", "eps 0.1")]
    assert f"all four ({best[0]} on the validation set)" in text and f"alone ({best[1]})" in text
