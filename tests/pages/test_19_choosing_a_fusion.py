"""What page 19 stores, judges and says: the runs that it rests on, and the table that it prints."""

import json
import statistics
import sys
from functools import partial

import nbformat
import numpy as np
import pytest
import torch
from reading import gain, printed, said, the_cell
from scipy import stats

from course_utils.exercises import reference
from course_utils.fusion import STRATEGIES, describe
from course_utils.metrics import mean_interval
from course_utils.rooms import load, room, stored
from course_utils.runtime import ROOT, seed_everything
from course_utils.training import Batches, fit

sys.path.insert(0, str(ROOT / "tools"))
cell = partial(the_cell, "19")


@pytest.fixture(scope="module")
def sweeps():
    import sweep  # noqa: F401  (the room's sweeps import it)

    return load("19", "sweeps")


@pytest.fixture(scope="module")
def tables():
    """Rows by setting, put together otherwise than the page does."""
    found = {}
    for size, name in (("150", "small"), ("2,000", "large")):
        for key, row in stored("19", name).items():
            world, who = key.split(": ")
            found.setdefault(f"{world}, {size}", {})[who] = row
    return found | {"digits": stored("19", "digits")}


@pytest.fixture(scope="module")
def outputs():
    """What the built page prints."""
    notebook = nbformat.read(ROOT / "notebooks" / "19_choosing_a_fusion.ipynb", 4)
    texts = [
        out.text
        for one in notebook.cells
        if one.cell_type == "code"
        for out in one.outputs
        if out.output_type == "stream"
    ]
    return "".join(texts)


# ---- the reader's own code ----


def by_p_value(a, b, comparisons):
    if len(a) != len(b):
        raise ValueError
    gaps = np.round(np.array(a) - np.array(b), 12)
    if len(gaps) < 2 or not gaps.any():
        return "cannot tell"
    if np.ptp(gaps) and stats.ttest_1samp(gaps, 0).pvalue * comparisons >= 0.05:
        return "cannot tell"
    return "better" if gaps.mean() > 0 else "worse"


def by_sorting(scores, cost):
    order = sorted(scores, key=lambda name: statistics.fmean(scores[name]))
    others = len(scores) - 1
    lost = {n for n in scores if by_p_value(scores[n], scores[order[-1]], others) == "worse"}
    kept = [name for name in scores if name not in lost]
    return tuple(kept), sorted(kept, key=cost.get)[0]


@pytest.mark.parametrize("key, answer", [("19.1", by_p_value), ("19.2", by_sorting)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_overlapping_intervals_hide_what_all_seeds_say(capsys, tables):
    first, second = (tables["and, 150"][name]["accuracy"] for name in ("max", "sum"))
    names = {"mean_interval": mean_interval, "first": first, "second": second}
    fault = cell("one, other = mean_interval(first)")
    assert printed(capsys, fault, dict(names)) == "False"
    assert printed(capsys, cell("(0.0, 0.0)"), dict(names)) == "True"
    # where two strategies lie far apart the same lines are right
    far = [value - 0.3 for value in second]
    assert printed(capsys, fault, names | {"second": far}) == "True"


# ---- many models at once ----


@pytest.mark.parametrize("strategy", ["concat", "gated", "low_rank", "cross_attention"])
def test_many_at_once_learn_what_each_learns_alone(sweeps, strategy):
    draws, _ = sweeps.gate_draws("xor", "small")
    names, grid = ("text", "image"), ((1e-2, 0.0), (3e-2, 10.0))
    data = {
        split: {name: torch.stack([d[split][name] for d in draws]) for name in (*names, "label")}
        for split in draws[0]
    }
    dims = dict.fromkeys(names, 16)
    many = sweeps.Many(strategy, dims, 2, grid)
    losses, copies = many.fit(data, steps=12, batch=64, marks=4)
    for seed, (lr, decay) in ((1, grid[0]), (3, grid[1])):
        generator = seed_everything(seed)
        alone = sweeps.Fused(strategy, dims, 2)
        told = fit(
            alone,
            Batches(draws[seed]["train"], 64, generator),
            Batches(draws[seed]["validation"], 500),
            epochs=4,
            lr=lr,
            weight_decay=decay,
        )
        setting = grid.index((lr, decay))
        found = losses[:, seed, setting].tolist()
        assert found == pytest.approx(told.validation_loss, abs=2e-5)
        with torch.no_grad():
            answers = alone(draws[seed]["test"]).argmax(1)
        accuracy = (answers == draws[seed]["test"]["label"]).double().mean().item()
        right = sweeps.right(many, copies, losses, setting, data["test"])
        assert right[seed] == pytest.approx(accuracy, abs=4e-4)


def test_the_setting_is_chosen_on_the_validation_sets_alone(sweeps):
    losses = torch.tensor([[[0.9, 0.7], [0.5, 0.6]], [[0.4, 0.8], [0.9, 0.5]]])
    # (marks, seeds, settings): lowest marks .4, .5 and .7, .5
    assert sweeps.chosen_setting(losses) == 0
    assert sweeps.chosen_setting(losses[:1]) == 1
    grid = ((1, 0.0), (1, 9.0), (2, 0.0), (2, 9.0), (3, 0.0))
    assert [sweeps.at_edge(grid, k) for k in range(5)] == [
        "rate",
        "rate and decay",
        "",
        "decay",
        "rate and decay",
    ]


# ---- the stored runs ----


def test_every_strategy_and_every_modality_stands_in_every_setting(tables, sweeps):
    assert len(tables) == 11
    for setting, rows in tables.items():
        assert set(STRATEGIES) <= set(rows)
        names = 3 if setting.startswith(("parity", "digits")) else 2
        assert len([name for name in rows if " alone" in name]) == 2 * names
        for name, row in rows.items():
            assert len(row["accuracy"]) == len(row["alike"]) == 5
            grid = {"150": sweeps.GRID, "000": sweeps.LEAST}.get(setting[-3:], sweeps.FEWER)
            if (name, setting[-3:]) == ("bottleneck", "000"):
                grid = sweeps.SLOW
            place = grid.index((row["lr"], row["weight_decay"]))
            assert row["edge"] == sweeps.at_edge(grid, place)


def test_one_version_made_all_rows():
    made = [
        json.loads((room("19", "results", f"{name}.json")).read_text(encoding="utf-8"))
        for name in ("small", "large", "digits", "real")
    ]
    assert len({json.dumps(one["versions"]) for one in made}) == 1
    assert all(row["fingerprint"] for one in made for row in one["rows"].values())


def test_no_accuracy_lies_above_its_ceiling_by_more_than_chance(tables):
    for rows in tables.values():
        for row in rows.values():
            if row.get("ceiling"):
                mean, half = mean_interval(row["accuracy"])
                assert mean - half - 0.01 < row["ceiling"]


# ---- what the page prints and says ----


def judged(tables, setting):
    """The shortlist by scipy's p-values, the cheapest by a layer's own formula."""
    rows = {name: tables[setting][name]["accuracy"] for name in STRATEGIES}
    best = max(rows, key=lambda name: statistics.fmean(rows[name]))
    kept = []
    for name, values in rows.items():
        chance = 1.0 if name == best else stats.ttest_rel(rows[best], values).pvalue
        if chance * 17 >= 0.05:
            kept.append(name)
    if setting == "digits":
        dims, classes = {"text": 78, "image": 256, "audio": 256}, 10
    else:
        names = ("text", "image", "audio")[: 3 if setting.startswith("parity") else 2]
        dims, classes = dict.fromkeys(names, 16 if setting.endswith(" 150") else 8), 2
    cost = {name: describe(STRATEGIES[name](dims, classes)).multiply_adds for name in kept}
    return best, kept, min(kept, key=cost.get)


def percent(row):
    return 100 * statistics.fmean(row["accuracy"])


def alone_in(tables, setting):
    single = [row for name, row in tables[setting].items() if " alone" in name]
    return percent(min(single, key=lambda row: row["validation loss"]))


def test_the_decision_table_follows_from_the_stored_numbers(tables, outputs):
    lines = outputs.partition("setting           alone   best fusion")[2].splitlines()[1:12]
    found = {" ".join(line.split()[:-7]): line.split()[-7:] for line in lines}
    assert set(found) == set(tables)
    for setting, line in found.items():
        best, kept, cheap = judged(tables, setting)
        rows = tables[setting]
        expected = [alone_in(tables, setting), percent(rows[best]), percent(rows[cheap])]
        assert [float(line[k]) for k in (0, 2, 5)] == [round(value, 1) for value in expected]
        assert (int(line[3]), line[4]) == (len(kept), cheap)
        # two may have the same mean
        assert percent(rows[line[1]]) == pytest.approx(percent(rows[best]))
        near = [name for name in kept if percent(rows[best]) - percent(rows[name]) <= 1]
        assert line[6] == min(near, key=lambda name: rows[name]["multiply_adds"])


def test_what_the_verdict_says_is_what_scipy_says(tables):
    verdict = reference("19.1")
    for rows in tables.values():
        for name in STRATEGIES:
            a, b = rows[name]["accuracy"], rows["concat"]["accuracy"]
            for m in (1, 17):
                assert verdict(a, b, m) == by_p_value(a, b, m)


def wide(a, b, m):
    """A difference and half its interval for m comparisons, as the page writes it."""
    interval = stats.ttest_rel(a, b).confidence_interval(1 - 0.05 / m)
    low, high = 100 * interval.low, 100 * interval.high
    return f"{(low + high) / 2:.1f} ± {(high - low) / 2:.1f}"


def against(tables, setting, m, which="accuracy"):
    """Verdicts on the 17 others against concatenation."""
    rows = tables[setting]
    return {
        name: by_p_value(rows[name][which], rows["concat"][which], m)
        for name in STRATEGIES
        if name != "concat"
    }


def test_the_bet_of_page_18(tables):
    means = {name: percent(tables["digits"][name]) for name in STRATEGIES}
    assert max(means.values()) - means["concat"] < 1e-9
    near = [name for name in means if name != "concat" and means["concat"] - means[name] < 1]
    words = against(tables, "digits", 17)
    assert len(near) == 9 and "Nine others lie within a point" in said("19")
    assert [name for name, word in words.items() if word != "cannot tell"] == ["max", "tensor"]
    assert min(means, key=means.get) == "low_rank"
    rows = tables["digits"]
    mean, half = wide(rows["concat"]["accuracy"], rows["low_rank"]["accuracy"], 17).split(" ± ")
    assert f"{mean} points lower, but" in said("19") and f"wide interval: ± {half}." in said("19")
    assert 'outcome("18.c", "Ada")' in said("19")
    alone = [percent(stored("12", "rules")[n]) for n in ("product of experts", "linear fusion")]
    assert "40 epochs it has {:.1f} %, and linear fusion {:.1f}.".format(*alone) in said("19")


def test_what_the_control_takes_away(tables):
    rows, page = tables["digits"], said("19")
    for name, words in (("concat", "loses 8.8 points"), ("tensor", "(1.6 ± 3.9)")):
        mean, half = gain(rows[f"audio shuffled, {name}"]["accuracy"], rows[name]["accuracy"])
        shown = f"loses {-mean:.1f} points" if name == "concat" else f"({-mean:.1f} ± {half:.1f})"
        assert shown == words and words in page
    other = stored("13", "digits")
    mean, half = gain(
        other["tensor of 8, audio shuffled"]["accuracy"], other["tensor of 8"]["accuracy"]
    )
    assert f"lost {-mean:.1f} ± {half:.1f}:" in page
    there, here = percent(other["low rank 4 of 8"]), percent(rows["low_rank"])
    assert f"has {here:.1f} %, and still climbs" in page and f"it had {there:.1f} on page" in page
    marks = [statistics.fmean(mark) for mark in rows["low_rank"]["by mark"]]
    assert marks[-1] - marks[-5] > 0.03


def test_how_many_verdicts_were_tuning(tables):
    turned = []
    for setting in [name for name in tables if name.endswith(" 150")]:
        before, after = (against(tables, setting, 1, which) for which in ("alike", "accuracy"))
        turned += [
            (setting, name, before[name], after[name])
            for name in before
            if before[name] != after[name]
        ]
    products = ("film", "bilinear", "tensor", "low_rank")
    assert len(turned) == 17 and "turn 17 of 85 verdicts" in said("19")
    assert sum(name in products for _, name, _, _ in turned) == 9
    lost = [after for _, name, before, after in turned if name == "film" and before == "worse"]
    assert lost == ["cannot tell"] * 3
    words = [turn[2:] for turn in turned if turn[1] in products]
    assert words.count(("worse", "cannot tell")) == 8
    assert ("and, 150", "tensor", "cannot tell", "better") in turned


def test_what_fusion_gains_on_the_best_alone(tables):
    def words(setting):
        single = {n: row for n, row in tables[setting].items() if " alone" in n}
        best = min(single.values(), key=lambda row: row["validation loss"])["accuracy"]
        rows = tables[setting]
        return {name: by_p_value(rows[name]["accuracy"], best, 18) for name in STRATEGIES}

    for setting in ("unique, 150", "unique, 2,000"):
        assert "better" not in words(setting).values()
    worse = [name for name, word in words("unique, 150").items() if word == "worse"]
    assert worse == ["film", "low_rank"]
    unique = tables["unique, 150"]
    less = wide(unique["text alone"]["accuracy"], unique["concat"]["accuracy"], 1)
    assert f"and has {less} points less" in said("19")
    assert list(words("redundant, 150").values()).count("better") == 15
    gained = [name for name, word in words("xor, 150").items() if word == "better"]
    assert gained == ["bilinear", "tensor", "low_rank"]
    assert set(words("parity, 150").values()) == {"cannot tell"}


def test_every_favourite_can_be_broken(tables):
    lists = {setting: judged(tables, setting) for setting in tables}
    page = said("19")
    worst = {}
    for name in STRATEGIES:
        assert any(name not in kept for _, kept, _ in lists.values())
        worst[name] = max(
            (percent(tables[setting][best]) - percent(tables[setting][name]), setting)
            for setting, (best, kept, _) in lists.items()
            if name not in kept
        )
    safest = min(worst, key=lambda name: worst[name][0])
    gap, where = worst[safest]
    assert f"most is `{safest}` ({gap:.1f} points, in `{where}`)" in page
    gap, where = worst["concat"]
    assert f"concatenation loses {gap:.1f}, in `{where}`" in page
    cheap = [one for _, _, one in lists.values()]
    for name in set(cheap):
        assert f"`{name}` in {cheap.count(name)}" in page
    learned = ("and, 150", "and, 2,000", "xor, 150", "xor, 2,000", "parity, 2,000")
    for setting, (_, _, one) in lists.items():
        assert one == ("low_rank" if setting in learned else "concat")
    rows = tables["redundant, 2,000"]
    best, kept, _ = lists["redundant, 2,000"]
    off = percent(rows[best]) - percent(rows["attention_pool"])
    assert [name for name in STRATEGIES if name not in kept] == ["attention_pool"]
    assert f"off the list for {off:.2f} points" in page
    edges = [row["edge"] for row in tables["parity, 150"].values()]
    assert f"{sum('rate' in edge for edge in edges)} of the rates" in page
    for setting, name in (("and, 150", "tensor"), ("unique, 150", "weighted_concat")):
        rows, (best, kept, _) = tables[setting], lists[setting]
        near = [one for one in kept if percent(rows[best]) - percent(rows[one]) <= 1]
        assert min(near, key=lambda one: rows[one]["multiply_adds"]) == name
    close = []
    for setting, (best, kept, _) in lists.items():
        rows = tables[setting]
        near = [one for one in kept if percent(rows[best]) - percent(rows[one]) <= 1]
        close.append(min(near, key=lambda one: rows[one]["multiply_adds"]))
    counts = [close.count(name) for name in ("concat", "low_rank", "tensor", "weighted_concat")]
    assert counts == [5, 4, 1, 1]
    assert page.count("`concat` in 5 of 11 settings, `low_rank` in 4") == 2
    four = ("bottleneck", "attention_pool", "cross_attention", "joint_transformer")
    counts = sorted(sum(name in kept for _, kept, _ in lists.values()) for name in four)
    assert "The four with attention stay on {}, {}, {} and {} shortlists".format(*counts) in page
    stays = sum("concat" in kept for _, kept, _ in lists.values())
    assert f"In {stays} of 11 settings concatenation cannot be told from the best" in page


def test_five_other_seeds_take_low_rank_off_a_list(sweeps, monkeypatch):
    seeds = range(5, 10)
    monkeypatch.setattr(sweeps, "SEEDS", seeds)
    monkeypatch.setattr(sweeps.Many.__init__, "__defaults__", (seeds,))
    sweeps.gate_draws.cache_clear()
    plan = sweeps.small(None)
    ahead, behind = (plan[f"and: {name}"]()["accuracy"] for name in ("max", "low_rank"))
    sweeps.gate_draws.cache_clear()
    assert by_p_value(behind, ahead, 17) == "worse"
    gap = 100 * (statistics.fmean(ahead) - statistics.fmean(behind))
    assert gap == pytest.approx(4.4, abs=0.5) and "`max` is 4.4 points ahead" in said("19")


def test_corrected_and_not(tables):
    counts = [0, 0, 0, 0]
    for setting, rows in tables.items():
        for k, m in ((0, 1), (1, 17), (3, 187)):
            counts[k] += sum(word != "cannot tell" for word in against(tables, setting, m).values())
        concat = rows["concat"]["accuracy"]
        chances = [
            stats.ttest_rel(rows[name]["accuracy"], concat).pvalue
            for name in STRATEGIES
            if name != "concat"
        ]
        order = sorted(chances)
        fails = [k for k, p in enumerate(order) if p > 0.05 / (17 - k)]
        counts[2] += min(fails, default=17)
    words = (
        "One by one {} of 187 verdicts find something; with Bonferroni in each setting {} are left,"
        " with Bonferroni for all 187 at once {}."
    )
    holm = counts.pop(2)
    assert words.format(*counts) in said("19") and f"with Holm {holm} are left" in said("19")


def test_the_verdicts_of_a_clock_that_is_a_fifth_off(tables):
    costs, turned = stored("19", "costs"), set()
    for setting, kind in (("digits", "digits"), ("xor, 150", "150")):
        concat = tables[setting]["concat"]["accuracy"]
        for name in ("gated", "tensor", "low_rank", "cross_attention", "joint_transformer"):
            marks, words = tables[setting][name]["by mark"], []
            for off in (0.8, 1.0, 1.2):
                share = off * costs[f"{kind}: concat"]["ms"] / costs[f"{kind}: {name}"]["ms"]
                mark = int(len(marks) * min(1, share))
                words.append(by_p_value(marks[mark - 1], concat, 17) if mark else "cannot tell")
            if len(set(words)) > 1:
                turned.add(name)
            elif setting == "xor, 150":
                assert (words[0] == "better") == (name in ("tensor", "low_rank"))
    assert turned == {"gated"} and "only the verdicts on the gate would be others" in said("19")


def test_on_real_data():
    page, real, leads = said("19"), stored("19", "real"), []
    for world in ("mnist-fsdd", "emoji", "moods"):
        rows = {n.split(": ")[1]: row for n, row in real.items() if n.startswith(world)}
        single = [row for name, row in rows.items() if " alone" in name]
        best = min(single, key=lambda row: row["validation loss"])["accuracy"]
        concat = rows["concat"]["accuracy"]
        assert by_p_value(concat, best, 6) == "better"
        assert by_p_value(rows["low_rank"]["accuracy"], best, 6) != "better"
        leads.append(wide(concat, best, 6))
        for name in ("early", "product_of_experts", "gated", "low_rank", "joint_transformer"):
            one = rows[name]["accuracy"]
            assert by_p_value(one, concat, 15) != "better"
            # the gate, had it been the only question
            assert (by_p_value(one, concat, 1) == "better") == ((world, name) == ("emoji", "gated"))
        if world == "mnist-fsdd":
            assert f"on MNIST it has {percent(rows['low_rank']):.1f} %. One speaker" in page
            chosen, alike = rows["low_rank"], [
                statistics.fmean(rows[name]["alike"]) * 100 for name in ("low_rank", "audio alone")
            ]
            assert (chosen["lr"], chosen["weight_decay"]) == (0.001, 10.0)
            assert (rows["audio alone"]["lr"], rows["audio alone"]["weight_decay"]) == (0.001, 10.0)
            assert f"the sound alone ({percent(rows['audio alone']):.1f})" in page
            assert "they have {:.1f} and {:.1f}.".format(*alike) in page
            control = percent(rows["audio shuffled, concat"])
            assert f"still has {control:.1f} % of MNIST" in page
        fused = ("concat", "early", "product_of_experts", "gated", "low_rank", "joint_transformer")
        assert min(fused, key=lambda name: percent(rows[name])) == "low_rank"
        if world == "emoji":
            control = rows["image shuffled, concat"]["accuracy"]
            assert by_p_value(control, best, 1) == "cannot tell"
    assert "by {}, {} and {} points".format(*leads) in page
