"""What page 31 goes on with of the reader's own code, what its fault is, and what it says of its
stored runs.
"""

import sys
from functools import partial

import numpy as np
import pytest
import torch
from reading import printed, said, the_cell

from course_utils.datasets.moods import ceilings
from course_utils.exercises import reference
from course_utils.metrics import mean_interval
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

CLINIC, ROAD, HOUSE, SHOP, CALLS, GATE = (
    stored("31", name) for name in ("patient", "road", "house", "shop", "calls", "gate")
)
SIX = torch.tensor([0.9, 0.7, 0.7, 0.4, 0.2, 0.1], dtype=torch.float64)
KNOWN = torch.tensor([1, 0, 1, 1, 0, 0])


@pytest.fixture(scope="module")
def page():
    return measured_cells("31")


@pytest.fixture(scope="module")
def text():
    return said("31")


def of(sheet, row, what):
    found = sheet[row]
    return found[what] if what in found else found["accuracy"][what]


def lead(sheet, one, other, what, factor=1.0, digits=2, wider=1.0):
    """The paired difference in words, and whether its interval is clear of 0."""
    gaps = [factor * (a - b) for a, b in zip(of(sheet, one, what), of(sheet, other, what))]
    middle, half = mean_interval(gaps)
    return f"{middle:.{digits}f} ± {half * wider:.{digits}f}", abs(middle) > half * wider


def shown(sheet, row, what, factor=1.0, digits=2):
    middle, half = mean_interval([factor * x for x in of(sheet, row, what)])
    return f"{middle:.{digits}f} ± {half:.{digits}f}"


def mean(sheet, row, what, factor=1.0, digits=2):
    return f"{factor * np.mean(of(sheet, row, what)):.{digits}f}"


# ---- the reader's own code ----


def halfway(scores, labels, cost_miss, cost_alarm):
    some = scores.unique()
    cuts = torch.cat([some[:1] - 1, (some[1:] + some[:-1]) / 2, some[-1:] + 1])
    called, true = scores >= cuts[:, None], labels.bool()
    cost = cost_miss * (true & ~called).sum(1) + cost_alarm * (~true & called).sum(1)
    return cuts[cost.argmin()].item()


def by_weights(scores, labels, cut, cost_miss, cost_alarm, share):
    y = labels.double()
    weight = y * share / y.sum() + (1 - y) * (1 - share) / (1 - y).sum()
    return weight @ (y * (scores < cut) * cost_miss + (1 - y) * (scores >= cut) * cost_alarm)


@pytest.mark.parametrize("key, answer", [("31.1", halfway), ("31.2", by_weights)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_is_cheaper(seed):
    draw = torch.Generator().manual_seed(seed)
    labels = (torch.rand(25, generator=draw) < 0.3).long()
    scores = (2 * torch.randn(25, generator=draw, dtype=torch.float64) + labels).round()
    paid = load("31", "sweeps").paid
    cut = reference("31.1")(scores, labels, 4, 1)
    least = paid(scores, labels.bool(), cut, 4, 1)
    for other in torch.linspace(-9, 9, 181).tolist():
        assert least <= paid(scores, labels.bool(), other, 4, 1) + 1e-9


def test_the_cheapest_model_is_found_by_sums():
    sweeps = load("31", "sweeps")
    for seed in range(20):
        draw = np.random.default_rng(seed)
        labels = (draw.random(40) < 0.2).astype(int)
        probs = np.round(0.7 * draw.random(40) + 0.3 * labels, 1)  # many equals
        scores, known = torch.from_numpy(probs), torch.from_numpy(labels)
        cut = reference("31.1")(scores, known, 50, 1)
        least = sweeps.paid(scores, known.bool(), cut, 50, 1)
        found = sweeps.at_best(labels, np.stack([1 - probs, probs], 1))
        assert found == pytest.approx(least)


# ---- what stands in its cells ----

cell = partial(the_cell, "31")


def test_larger_alone_misses_who_stands_on_the_threshold(capsys):
    names = {"six_scores": SIX, "six_labels": KNOWN}
    names["best_cut"] = reference("31.1")(SIX, KNOWN, 5, 1)
    assert names["best_cut"] == 0.4
    fault = cell("six_scores > best_cut")
    assert printed(capsys, fault, dict(names)) == "False"
    assert printed(capsys, cell("six_scores >= best_cut"), dict(names)) == "True"
    # with a threshold between two scores the same line is right
    assert printed(capsys, fault, names | {"best_cut": 0.3}) == "True"


def test_the_fault_costs_six_times(text):
    paid = load("31", "sweeps").paid
    right = paid(SIX, KNOWN.bool(), 0.4, 5, 1)
    assert paid(SIX, KNOWN.bool(), 0.41, 5, 1) == 6 * right and "six times that of the" in text


def test_patients_are_split_whole(page):
    _, labels, who = page["by_patient"](0)
    assert not set(who[0]) & set(who[2]) and not set(who[1]) & set(who[2])
    assert [len(part) for part in labels] == [4 * 284, 4 * 114, 4 * 171]
    for part in who[1:]:
        assert (part.reshape(-1, 4) == part.reshape(-1, 4)[:, :1]).all()
    mixed = page["by_patient"](0, "row")[2]
    assert set(mixed[0]) & set(mixed[2])


def test_worlds_are_as_told(page, text):
    shown, beams, brake, sight, far = page["road"](4000, 0)
    assert abs(brake.mean() - 0.13) < 0.02 and "(13 % of cases)" in text
    assert far.min() > 6 and far.max() < 50 and not brake[far >= 25].any()
    kinds = page["gate"](3000, 0, 1 / 3)[2]
    assert abs((kinds > 0).mean() - 1 / 3) < 0.03 and not page["gate"](300, 0)[2].any()
    malignant = page["patients"](0)[2]
    assert len(malignant) == 569 and round(100 * malignant.mean()) == 37


def test_all_new_items_are_equal_to_ratings(page):
    utility, ratings, *_ = page["shop"](0)
    assert utility.shape == ratings.shape == (300, 320)
    assert abs((~np.isnan(ratings)).mean() - 1 / 7) < 0.02
    users, items = page["factors"](ratings[:, :20], 3, 10.0, rounds=2)
    assert users.shape == (300, 4) and items.shape == (4, 20) and (items[-1] == 1).all()


# ---- what the page says of its stored runs ----


def test_the_clinic_in_numbers(text):
    right = mean(CLINIC, "nobody is called", "right", 100, 0)
    assert f"is right for {right} % of the patients" in text
    all_called = np.mean(of(CLINIC, "all are called", "cost"))
    assert f"To call everybody costs {all_called:.2f}, and neither" in text
    for one in ("record", "picture"):
        saved, half = mean_interval(
            np.subtract(of(CLINIC, "all are called", "cost"), of(CLINIC, one, "cost"))
        )
        assert saved < half * 7**0.5
    for one in ("record", "picture"):
        assert lead(CLINIC, "both", one, "auc", wider=7**0.5)[1]
    ratios = [
        np.mean(of(CLINIC, n, "half")) / np.mean(of(CLINIC, n, "cost"))
        for n in ("record", "picture", "both")
    ]
    assert all(2 < ratio < 5 for ratio in ratios)
    odds, cost = (mean(CLINIC, "both", what) for what in ("odds", "cost"))
    assert f"that costs {odds} (last column) and the searched threshold {cost};" in text
    both = CLINIC["both"]
    middle, half = mean_interval(np.subtract(both["cost"], both["odds"]))
    assert f"is not shown, {middle:.2f} ± {half * 7**0.5:.2f} (made 2.6" in text
    assert abs(middle) < half * 7**0.5
    far = lead(
        {"a": {"x": of(ROAD, "range", "odds")}, "b": {"x": of(ROAD, "range", "cost")}},
        "a",
        "b",
        "x",
    )
    assert far[1]


def test_the_leak_in_numbers(text):
    row = shown(CLINIC, "record, split by row, by lot", "right", 100, 1)
    assert f"The split by rows has {row} % right" in text
    promised, got = (
        mean(CLINIC, f"record, split by {by}, true", "right", 100, 0) for by in ("row", "patient")
    )
    assert f"promises {promised} %, and new patients get {got} %" in text
    for name in ("record", "both"):
        alone = np.mean(of(CLINIC, f"{name}, split by patient, by lot", "right"))
        assert abs(alone - (0.37**2 + 0.63**2)) < 0.03
    assert abs(np.mean(of(CLINIC, "both, split by row, by lot", "right")) - 0.53) < 0.03


def test_the_house_in_numbers(text):
    more, clear = lead(HOUSE, "both", "sensors", "right", 100, 1)
    assert f"it gains {more} points" in text and clear
    less, clear = lead(HOUSE, "sensors", "both, sound shuffled", "right", 100, 1)
    assert f"gains none and loses {less}." in text and clear
    assert not lead(HOUSE, "sound", "nothing, always", "right")[1]
    by_sound, by_pitch = "named first, by sound", "named first, by pitch"
    named, clear = lead(HOUSE, by_sound, "both", "right", 100, 1)
    assert f"That has {named} points more" in text and clear
    mended, clear = lead(HOUSE, by_pitch, by_sound, "right", 100, 1)
    assert f"the house gains {mended} points more" in text and clear
    rest, clear = lead(HOUSE, "person known", by_pitch, "right", 100, 1)
    assert f"no difference is shown ({rest})" in text and not clear
    who = [mean(HOUSE, f"who it is, by {by}", "right", 100, 0) for by in ("sound", "pitch")]
    assert "names only {} % of the words".format(who[0]) in text and f"names {who[1]} %" in text
    sure = [mean(HOUSE, f"a visitor, by {by}", what) for by in ("sound", "pitch") for what in SURE]
    assert "do ({} and {}), by the pitch nearly as surely ({} and {})".format(*sure) in text
    gaps = np.subtract(*(of(HOUSE, "a visitor, by sound", what) for what in SURE))
    assert abs(mean_interval(gaps)[0]) < mean_interval(gaps)[1]


SURE = ("sure", "own")


def test_the_words_of_a_house_do_not_meet(page):
    for seed in range(3):
        words = [
            {tuple(row) for row in page["house"](300, seed, split)[1].round(6)}
            for split in range(3)
        ]
        assert [len(one) for one in words] == [24, 8, 8] and len(set.union(*words)) == 40


def test_the_shop_in_numbers(text):
    lot, clear = lead(SHOP, "ratings", "by lot", "new")
    assert f"no better than the lot ({lot})" in text and not clear
    assert not lead(SHOP, "most liked", "by lot", "new")[1]
    title, picture = (lead(SHOP, name, "both", "new") for name in ("title", "picture"))
    assert f"{title[0]} less regret than the title and {picture[0]} less than" in text
    assert title[1] and picture[1]
    assert not lead(SHOP, "both, titles shuffled", "picture", "new")[1]
    ratings, liked = (lead(SHOP, "both", name, "old") for name in ("ratings", "most liked"))
    assert f"than content by {ratings[0]}, and from" in text and ratings[1]
    assert f"content does not differ ({liked[0]}):" in text and not liked[1]
    rest = np.mean(of(SHOP, "both", "new")) - np.mean(of(SHOP, "all that content can tell", "new"))
    assert f"still {rest:.1f} to go" in text


def test_the_calls_in_numbers(text):
    wider = (1 + 10 * 4 / 11) ** 0.5  # ten splits of the same voices: 11 train, 4 test
    assert f"made {wider:.1f} times wider: ten splits share 18 voices" in text
    more, clear = lead(CALLS, "both", "words", "right", 100, 1, wider)
    less, also = lead(CALLS, "both", "both, face shuffled", "right", 100, 1, wider)
    assert f"{more} more than the words" in text and clear
    assert f"(shuffled) they have {less} less: what the face adds is not shown" in text and not also
    product, clear = lead(CALLS, "product", "both", "right", 100, 1, wider)
    assert f"is not clearly better ({product})" in text and not clear
    assert f"Words alone cost {mean(CALLS, 'words', 'cost')}," in text
    saved = 1 - np.array(of(CALLS, "product", "cost"))
    middle, half = mean_interval(saved)
    assert f"widened, {middle:.2f} ± {half * wider:.2f} is not shown" in text
    assert half * wider > middle
    assert (saved > 0).sum() == 9 and "In nine splits of ten, yes" in text
    cheaper, clear = lead(CALLS, "words", "product", "cost", wider=wider)
    assert f"{cheaper} less than the words" in text and clear
    assert f"Voice alone costs {shown(CALLS, 'voice', 'cost')}:" in text
    sent = np.mean(of(CALLS, "product", "sent"))
    assert f"costs least, {mean(CALLS, 'product', 'cost')}, " in text
    assert f"and sends {100 * sent:.0f} %" in text
    assert f"it has {mean(CALLS, 'product', 'left', 100, 0)} % right" in text


def test_the_gate_in_numbers(text):
    worse, clear = lead(GATE, "sound", "both", "heard", 100, 1)
    assert f"(by {worse} points)" in text and clear
    mixed = np.mean(of(GATE, "both, pairs of training shuffled", "crossed"))
    assert abs(mixed - 0.5) < 0.06 and np.mean(of(GATE, "both", "crossed")) > 0.85
    alarms = mean(GATE, "both", "alarms_as_it_is", 100, 0)
    cost, promised, raw, line = (
        mean(GATE, "both", what) for what in ("cost", "promised", "as_it_is", "quantile")
    )
    assert (
        f"{alarms} % of all moments (of 10,000) are alarms, and a moment costs {raw}, as much"
        in text
    )
    assert f"it costs {cost}, and validation had promised {promised}:" in text
    assert f"here 99 %: {line}." in text
    precise, third = (mean(GATE, "both", what) for what in ("precision", "precision_third"))
    assert f"in use): {precise}." in text and f"it was {third}." in text
    assert f"called in {mean(GATE, 'both', 'alarms_cost', 100, 0)} % of the moments" in text
    assert abs(float(raw) - np.mean(of(GATE, "no alarm", "cost"))) < 0.02


def test_the_road_in_numbers(text):
    ahead, clear = lead(ROAD, "both", "range", "auc", 100, 1)
    behind, also = lead(ROAD, "both", "range", "cost")
    assert f"By AUC both are {ahead} points ahead of the range sensor" in text and clear
    assert f"By cost they are behind it, by {behind}:" in text and also
    shares = [
        mean(ROAD, name, what, 100, digits)
        for name in ("range", "both")
        for what, digits in (("missed", 1), ("false", 0))
    ]
    words = "the range sensor misses {} % and brakes for {} % of the rest, both miss {} % and brake"
    assert (words + " for {} %.").format(*shares) in text
    fog, clear = lead(ROAD, "picture, sight 85 to 200", "picture, sight 15 to 35", "auc", 100, 1)
    tall, also = lead(ROAD, "picture, equally tall", "picture", "auc", 100, 1)
    assert f"(1.5 m) it gains {tall} points" in text and also
    assert f"from thick fog to clear sight, {fog}." in text and clear


def test_the_model_chosen_by_cost_in_numbers(text):
    both, alone = (f"{name}, model chosen by cost" for name in ("both", "range"))
    less, clear = lead(ROAD, "both", both, "cost")
    assert f"both then cost {less} less" in text and clear
    level, clear = lead(ROAD, both, alone, "cost")
    assert f"(a difference of {level})" in text and not clear
    stays, clear = lead(ROAD, both, alone, "auc", 100, 1)
    assert f"The lead in AUC stays, {stays} points" in text and clear


BETS = {"clinic": (CLINIC, "record", "picture", 7**0.5), "road": (ROAD, "picture", "range", 1)}
BETS["gate"] = (GATE, "picture", "sound", 1)


def test_only_the_road_turns_round(text):
    turned, untold = [], []
    for name, (rows, one, other, wider) in BETS.items():
        for a, b in ((one, other), ("both", one), ("both", other)):
            auc = mean_interval(np.subtract(of(rows, a, "auc"), of(rows, b, "auc")))
            saved = mean_interval(np.subtract(of(rows, b, "cost"), of(rows, a, "cost")))
            clear = [abs(middle) > wider * half for middle, half in (auc, saved)]
            if all(clear) and auc[0] * saved[0] < 0:
                turned.append((name, a, b))
            if not all(clear):
                untold.append((name, a, b))
    assert turned == [("road", "both", "range")] and "Ada wins, by the road alone" in text
    assert [name for name, *_ in untold] == 3 * ["clinic"]
    assert "In the clinic no difference in cost is clear: we cannot tell" in text


def test_what_a_perfect_reader_of_calls_has(text):
    best = ceilings()["words", "tone", "emoji"]
    assert f"perfectly would have {100 * best:.0f} % right" in text
