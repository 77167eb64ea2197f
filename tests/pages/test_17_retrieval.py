"""What page 17 goes on with of the reader's own code, what its faults are, and what it says of its
stored runs.
"""

import math
import sys
from functools import partial

import pytest
import torch
from reading import gain, printed, said, the_cell
from torch.nn import functional as F

from course_utils.exercises import reference
from course_utils.metrics import mean_interval, recall_at, retrieval_ranks
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

# ---- the reader's own code ----


def by_sign(scores, relevant):
    best = scores.masked_fill(~relevant, -torch.inf).amax(1, keepdim=True)
    return 1 + (((scores - best).sign() + 1) / 2 * ~relevant).sum(1)


def by_einsum(pictures, prompts):
    classes = F.normalize((prompts / prompts.norm(dim=2, keepdim=True)).sum(1), dim=1)
    return torch.einsum("bd,cd->bc", F.normalize(pictures, dim=1), classes)


@pytest.mark.parametrize("key, answer", [("17.1", by_sign), ("17.2", by_einsum)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


@pytest.mark.parametrize("seed", range(5))
def test_the_reference_is_the_packages_rank(seed):
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randint(-3, 3, (7, 11), generator=draw).double()
    relevant = torch.rand(7, 11, generator=draw) < 0.3
    relevant[:, 4] = True
    assert torch.equal(reference("17.1")(scores, relevant), retrieval_ranks(scores, relevant))


# ---- what stands in its cells ----


cell = partial(the_cell, "17")


def test_strictly_larger_lets_a_collapsed_space_find_all(capsys):
    names = {"torch": torch, "recall": recall_at, "search_ranks": retrieval_ranks}
    fault = cell("collapsed.diag()[:, None]")
    assert printed(capsys, fault, dict(names)) == "False"
    assert printed(capsys, cell("places = search_ranks(collapsed, own)"), dict(names)) == "True"
    # on a space in which something is to be told apart the same line is right
    sound = fault.replace("torch.ones(500, 500)", "torch.rand(500, 500)")
    assert printed(capsys, sound, dict(names)) == "True"
    places = retrieval_ranks(torch.ones(500, 500), torch.eye(500).bool())
    assert places.unique().tolist() == [250.5] and "at place 250.5" in said("17")


def test_small_numbers_in_words():
    picture = torch.tensor([[1.0, 0.0]])
    prompts = torch.tensor([[[10.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, 0.0]]])
    table = reference("17.2")(picture, prompts)[0].tolist()
    assert "give {:.2f} and {:.2f}.".format(*table) in said("17")
    raw = F.cosine_similarity(picture, prompts.mean(1))
    assert raw.argmax() == 0 and table[1] > table[0]


@pytest.fixture(scope="module")
def page():
    return measured_cells("17")


def test_every_own_sentence_fits(page):
    part, captions = page["load"]("test", 200)
    fit = page["fits"](part["said"], part["shown"])
    assert fit.diagonal().all() and len(captions) == 200
    ids, told = page["numbered"](["A small RED thing", "", "not a triangle of tomato"])
    assert told[0].sum() == 2 and not told[1].any() and not ids[1].any()
    assert told[2].sum() == 1  # words that it does not know are left out
    assert part["shown"].sum(1).unique().tolist() == [3]


def test_ridge_is_ridge(page):
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 4, generator=draw), torch.randn(20, 3, generator=draw)
    weights = page["ridge"](x, y, 2.0)
    assert torch.allclose(x.T @ (y - x @ weights), 2.0 * weights, atol=1e-4)


def test_a_probe_finds_what_is_there():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(300, 5, generator=draw)
    labels = (x[:, 0] > 0).long()
    one, two, three = x.split(100), labels.split(100), load("17", "sweeps").probe
    got = three(one[0], two[0], 2, one[1], two[1], one[2], two[2])
    assert got > 0.9


def test_the_estimate_stays_below_log_n():
    names = {"torch": torch, "math": math, "F": F, "verify": lambda *both: None}
    exec(cell("def ceiling"), names)
    found = [names["ceiling"](n)[0].item() for n in (8, 32, 128)]
    logs = [math.log(n) for n in (8, 32, 128)]
    words = "estimates are {:.2f}, {:.2f} and {:.2f}, below log N = {:.2f}, {:.2f} and {:.2f}."
    assert words.format(*found, *logs) in said("17") and all(a < b for a, b in zip(found, logs))
    assert f"$I$ = {-4 * math.log(1 - 0.9**2):.2f}" in said("17")


# ---- what the page says of its stored runs ----


@pytest.fixture(scope="module")
def text():
    return said("17")


TWO = stored("17", "artists")
ARTISTS = ("google", "twitter")


def both(name, what="picture 1"):
    """The mean of both orders, a number a split."""
    rows = [TWO[f"{artist}: {name}"]["accuracy"][what] for artist in ARTISTS]
    return [(a + b) / 2 for a, b in zip(*rows)]


def percent(sweep, name, what):
    return 100 * mean_interval(stored("17", sweep)[name]["accuracy"][what])[0]


def points(one, other):
    middle, half = gain(one, other)
    return f"{middle:.1f} ± {half:.1f}", abs(middle) > half


def test_the_bet_in_numbers(text):
    ahead, clear = points(both("never-seen artist, own only"), both("never-seen emoji, own only"))
    assert f"found first {ahead} points more often" in text and clear
    for artist in ARTISTS:
        rows = [
            TWO[f"{artist}: {name}, own only"]["accuracy"]["picture 1"]
            for name in ("never-seen artist", "never-seen emoji")
        ]
        middle, half = gain(*rows)
        assert middle > half
    trained = [
        percent("artists", f"{artist}: neither, own only", "picture 1") for artist in ARTISTS
    ]
    assert "finds {:.0f} and {:.0f} %,".format(*trained) in text
    assert all(
        percent("artists", f"{a}: never-seen artist, own only", "picture 1") < t / 2
        for a, t in zip(ARTISTS, trained)
    )
    assert {round(percent("artists", f"{a}: both, own only", "picture 1")) for a in ARTISTS} == {
        9
    } and "new in both ways leaves 9 %" in text


def test_siblings_do_not_settle_the_bet(text):
    emoji = "never-seen emoji, own only"
    lead, clear = points(both("never-seen artist, whole groups, own only"), both(emoji))
    assert f"the lead is {lead}: Ada still wins" in text and clear
    share = {kind: 100 * sum(row) / 5 for kind, row in TWO["siblings"]["accuracy"].items()}
    new, single, whole = (share[kind] for kind in ("never-seen emoji", "one by one", "whole"))
    assert f"never-seen emoji {new:.0f} % have" in text and f"one by one, {single:.0f} %." in text
    assert f"by whole groups ({whole:.0f} %)" in text and single < new < whole


def test_what_a_second_source_cures_in_numbers(text):
    shift, other = points(both("both, mean"), both("both"))[0], both("both")
    both_moments, clear = points(both("both, mean and deviation"), other)
    assert f"mean gains {shift} points, mean and deviation together {both_moments}" in text
    assert not clear
    more, clear = points(both("2,400 pairs of both, second"), other)
    assert f"both artists gains {more} points" in text and clear
    same, clear = points(both("1,200 pairs of both, second"), other)
    assert f"still gains {same}," in text and clear
    paid, clear = points(both("never-seen emoji"), both("1,200 pairs of both, first"))
    assert f"pays {paid}." in text and clear
    lost = gain(both("never-seen emoji"), other)
    back = gain(both("1,200 pairs of both, second"), other)
    assert 0.6 < back[0] / lost[0] < 0.75 and "of the first about two thirds;" in text
    rest = gain(both("2,400 pairs of both, second"), both("never-seen emoji"))
    assert abs(rest[0]) < 1


def test_what_equals_add(text):
    more, clear = points(both("never-seen emoji"), both("never-seen emoji, own only"))
    assert f"That is {more} points at the first try" in text and clear


def test_both_ways_in_numbers(text):
    apart, clear = points(both("never-seen emoji"), both("never-seen emoji", "sentence 1"))
    there, back = (
        100 * mean_interval(both("never-seen emoji", f"{way} 1"))[0]
        for way in ("picture", "sentence")
    )
    assert f"first in {back:.1f} %" in text and f"in {there:.1f} %: {apart} points" in text
    assert clear


def test_galleries_in_numbers(text):
    found = [percent("artists", f"gallery {n}", "picture 1") for n in (25, 50, 100, 200, 300)]
    assert found == sorted(found, reverse=True)
    assert abs(found[0] - 50) < 1 and abs(found[-1] - 20) < 1
    assert "Half of the names find their drawing first among 25, one in five among 300" in text
    assert f"{percent('artists', 'gallery 1500', 'picture 1'):.0f} % are left" in text


def test_equals_in_numbers(text):
    own, fits = (percent("scenes", name, "picture 1") for name in ("own", "fits"))
    assert f"looks like a bad space: {own:.1f} %" in text
    assert f"the same lists have {fits:.1f} %" in text


def test_what_can_be_hoped_for(page, text):
    hoped = []
    for seed in range(5):
        part, _ = page["load"]("test", 500, seed)
        hoped.append((1 / page["fits"](part["said"], part["shown"]).sum(1)).mean().item())
    assert f"could hope for {100 * sum(hoped) / 5:.1f} %" in text
    assert all(abs(100 * one - 4.6) < 0.3 for one in hoped)


def test_the_gap_in_numbers(text):
    rows = [stored("17", "scenes")[f"shift {step}"] for step in ("0.0", "1.0")]
    before, after = (sum(row["gap"]) / 5 for row in rows)
    assert f"The gap is {before:.2f} long" in text and after < before / 4
    shares = [row["accuracy"] for row in rows]
    there, clear = points(shares[1]["picture 1"], shares[0]["picture 1"])
    assert f"({there} points at first try)" in text and not clear
    back, clear = points(shares[0]["sentence 1"], shares[1]["sentence 1"])
    assert f"loses a little ({back})" in text and clear
    mixed, clear = points(shares[1]["mixed"], shares[0]["mixed"])
    assert f"among them by {mixed} points" in text and clear
    assert 100 * sum(shares[0]["mixed"]) / 5 < 50


def test_words_that_are_found_and_not(text):
    row = stored("17", "words")["ridge"]
    assert row["there"] == ["crying face", "wine glass"]
    for query, never in (("sad", "face"), ("something to drink", "glass"), ("no rain", "sun")):
        assert not any(never in name.split() for name in row["found"][query][:3])
    assert any("automobile" in name for name in row["found"]["a fast vehicle"])
    assert "bouquet" in row["found"]["a plant"]
    same = stored("17", "artists")["google: never-seen emoji"]["accuracy"]
    assert row["accuracy"] == same  # the same map, made twice


def test_the_librarys_table_has_a_row_for_each_picture():
    """CLIP with random weights: what the page's ten lines print, without a download."""
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    small |= {"num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config=small | {"vocab_size": 50, "max_position_embeddings": 8},
        vision_config=small | {"image_size": 32, "patch_size": 16},
        projection_dim=8,
    )
    clip = transformers.CLIPModel(config).eval()
    inputs = {"input_ids": torch.randint(1, 40, (3, 5)), "pixel_values": torch.rand(2, 3, 32, 32)}
    assert clip(**inputs).logits_per_image.softmax(dim=1).shape == (2, 3)


USES = stored("17", "uses")
SPACES = ("contrast", "ridge")


def of(name, what, sweep="uses"):
    return stored("17", sweep)[name]["accuracy"][what]


def test_the_bet_with_contrast_and_the_gap_of_emoji(text):
    rows = [
        of(f"contrast: {name}", "picture 1") for name in ("never-seen artist", "never-seen emoji")
    ]
    ahead, clear = points(*rows)
    assert f"(Contrast in place of ridge, from Noto: a lead of {ahead}.)" in text and clear
    gap = sum(USES["shift 0.0"]["gap"]) / 5
    moved, clear = points(of("shift 1.0", "picture 1"), of("shift 0.0", "picture 1"))
    assert f"gap is {gap:.2f}, and the shift changes {moved} points" in text and not clear


def test_both_sweeps_have_the_same_ridge():
    for name in ("never-seen emoji", "never-seen artist", "both"):
        one, other = USES[f"ridge: {name}"], TWO[f"google: {name}"]
        assert one["accuracy"] == other["accuracy"]


def test_zero_shot_in_numbers(text):
    best, clear = points(
        of("zero-shot, templates", "shape", "scenes"), of("linear probe", "shape", "scenes")
    )
    assert f"shapes {best} points *better*" in text and clear
    for what in ("colour", "size"):
        probe = of("linear probe", what, "scenes")
        assert not points(of("zero-shot, templates", what, "scenes"), probe)[1]
        bare = of("zero-shot, bare", what, "scenes")
        assert not points(of("zero-shot, templates", what, "scenes"), bare)[1]
    control = percent("scenes", "zero-shot, templates, pairs shuffled", "colour")
    assert abs(control - 100 / 6) < 2 and "is at chance for colours" in text
    more, clear = points(of("ridge", "probe"), of("ridge", "templates"))
    has = percent("uses", "ridge", "templates")
    assert f"templates has {has:.1f} %, and the probe {more} points more" in text and clear
    assert f"own name, has {percent('uses', 'ridge', 'names'):.1f} %" in text
    assert points(of("ridge", "names"), of("ridge", "templates"))[1]


def test_templates_in_numbers(text):
    ridge, clear = points(of("ridge", "templates"), of("ridge", "bare"))
    _, also = points(of("contrast", "templates"), of("contrast", "bare"))
    shapes, there = points(
        of("zero-shot, templates", "shape", "scenes"), of("zero-shot, bare", "shape", "scenes")
    )
    words = f"Emoji {ridge} points in ridge's space, not clearly in that of contrast; shapes"
    assert f"{words} {shapes};" in text and clear and there and not also


def test_what_a_probe_says_in_numbers(text):
    mixed, right, low, high, drawn, frozen = (
        percent("uses", name, "probe")
        for name in (
            "contrast, pairs shuffled",
            "contrast",
            "ridge, pairs shuffled",
            "ridge",
            "random map",
            "picture vectors",
        )
    )
    assert (
        f"still has {mixed:.1f} %; from right pairs {right:.1f} (ridge: {low:.1f} and {high:.1f}),"
        f" a random map {drawn:.1f}, and the frozen vectors before any map {frozen:.1f}."
    ) in text
    assert f"from contrast's space with {right:.1f} % right" in text
    one, clear = points(of("contrast", "probe"), of("picture vectors", "probe"))
    two, also = points(of("ridge", "probe"), of("picture vectors", "probe"))
    assert f"right pairs gain {one} points, and ridge {two}." in text and not clear and not also
    ahead = [points(of(way, "probe"), of(f"{way}, pairs shuffled", "probe")) for way in SPACES]
    frozen, clear = points(of("picture vectors", "probe"), of("contrast, pairs shuffled", "probe"))
    assert f"by {ahead[0][0]} points and {ahead[1][0]}, but so are" in text and clear
    assert f"contrast's shuffled ones, by {frozen}:" in text and ahead[0][1] and ahead[1][1]
    assert percent("uses", "contrast, pairs shuffled: never-seen emoji", "picture 1") < 1


def test_clusters_in_numbers(text):
    ridge, frozen = USES["ridge"]["nmi"], USES["picture vectors"]["nmi"]
    more, clear = points(ridge, frozen)
    names = 100 * sum(USES["names"]["nmi"]) / 5
    four = [
        100 * sum(USES[f"{way}{pairs}"]["nmi"]) / 5
        for pairs in ("", ", pairs shuffled")
        for way in ("ridge", "contrast")
    ]
    words = "{:.1f} and {:.1f} from right pairs (ridge, contrast), {:.1f} and {:.1f} from shuffled"
    assert words.format(*four) in text
    for way in ("ridge", "contrast"):
        assert points(USES[way]["nmi"], USES[f"{way}, pairs shuffled"]["nmi"])[1]
    assert f"Ridge gains {more} over the frozen vectors" in text and clear
    assert f"the names alone stand ({names:.1f})" in text
