"""What page 28 goes on with of the reader's own code, what its faults are, and what it says of its
stored runs.
"""

import re
import sys
from functools import partial
from itertools import product

import pytest
import torch
from reading import gain, printed, said, the_cell
from torch import nn
from torch.nn import functional as F

from course_utils.datasets.scene_words import ATTRIBUTES
from course_utils.datasets.scene_words import KINDS as TURNS
from course_utils.datasets.scenes import HELD_OUT
from course_utils.exercises import reference
from course_utils.language_model import load_language_model, prompt_and_reply, reply_loss
from course_utils.metrics import mean_interval
from course_utils.rooms import load, stored
from course_utils.runtime import DATA, ROOT, seed_everything

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

cell = partial(the_cell, "28")
KINDS = ("exists", "count", "colour", "shape", "size", "compare")
CARD = DATA / "language_model" / "README.md"


@pytest.fixture(scope="module")
def page():
    return measured_cells("28")


@pytest.fixture(scope="module")
def much():
    return stored("28", "much") | stored("28", "controls")


def mean(row, what="accuracy"):
    return mean_interval([100 * share for share in row[what]])[0]


def half(row, what="accuracy"):
    return mean_interval([100 * share for share in row[what]])[1]


# ---- the reader's own code ----


def by_gathering(logits, ids, given, mask):
    place = torch.arange(ids.shape[1])
    counts = (mask & (place >= given[:, None]))[:, 1:]
    logs = logits[:, -ids.shape[1] : -1].log_softmax(2).gather(2, ids[:, 1:, None])[..., 0]
    return -logs[counts].mean()


class LoRA(nn.Module):
    def __init__(self, inner, rank=8, alpha=16.0):
        super().__init__()
        self.inner, self.scale = inner.requires_grad_(False), alpha / rank
        self.A = nn.Parameter(torch.randn(rank, inner.in_features))
        self.B = nn.Parameter(torch.zeros(inner.out_features, rank))

    def forward(self, x):
        return F.linear(x, self.inner.weight + self.scale * self.B @ self.A, self.inner.bias)


@pytest.mark.parametrize("key, answer", [("28.1", by_gathering), ("28.2", LoRA)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_the_loss_is_the_package_s_on_its_own_rows(page):
    ids, given, mask = page["as_rows"](["is there a circle?", "how many?"], ["yes", "two"])
    _, _, labels = prompt_and_reply(
        page["tokenizer"], ["is there a circle?", "how many?"], ["yes", "two"]
    )
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3 + ids.shape[1], 54, generator=draw)
    theirs = reply_loss(logits, F.pad(labels, (3, 0), value=-100))
    assert torch.allclose(reference("28.1")(logits, ids, given, mask), theirs)


# ---- the page's own code ----


def test_soft_tokens_hold_neighbours(page):
    """A cell moves the one soft token of its group and no other."""
    seed_everything(0)
    sees = page["Sees"](page["opened"]("projector", LoRA))
    cells = torch.randn(1, 64, 64)
    for place in (0, 9, 27, 63):
        other = cells.clone()
        other[0, place] += 1
        moved = (sees.soft(other) != sees.soft(cells)).any(2)[0].nonzero()[:, 0].tolist()
        assert moved == [(place // 8) // 2 * 4 + (place % 8) // 2]


@pytest.mark.parametrize(
    "kind, trained",
    [
        ("projector", 32_896),
        ("LoRA", 32_896 + 6 * 8 * 256),
        ("all", 32_896 + 664_000),
        ("blind", 32_896 + 664_000),
    ],
)
def test_what_each_way_trains(page, kind, trained):
    sees = page["Sees"](page["opened"](kind, reference("28.2")))
    assert sum(w.numel() for w in sees.parameters() if w.requires_grad) == trained


def test_an_answer_that_counts_is_what_it_says_freely(page):
    """The likeliest words with the right ones before are right just where it writes them."""
    seed_everything(0)
    part = page["load"]("test", 70, (1, 1))
    sees = page["tune"]("projector", part, 0, steps=20)
    same = 0
    for i in range(20):
        one = page["first"](part, 1, i)
        free = page["replies"](sees, one["cells"], one["question"][0])[0]
        assert (free == one["answer"][0]) == bool(page["right"](sees, one))
        same += free == one["answer"][0]
    assert 0 < same < 20


# ---- what stands in its cells ----


def test_padding_on_the_right_is_a_fault_and_on_the_left_none(capsys):
    names = {}
    exec(cell("# Imports."), names)
    exec(cell("def answer(text)"), names)
    capsys.readouterr()
    assert printed(capsys, cell("asks = ("), names) == "False"
    assert printed(capsys, cell("padding_side"), names) == "True"


def test_lists_of_labels_are_read_as_many_labels(capsys):
    names = {}
    exec(cell("# Imports."), names)
    assert printed(capsys, cell("true, told = [[1, 0, 1]"), names) == "False"
    assert printed(capsys, cell("true, told = [1, 0, 1, 0"), names) == "True"


# ---- what it says of its stored runs ----


def best_rates(tried, grid, kind):
    def found(rate):
        return sum(tried[f"rate: {kind} {rate[0]:g} {rate[1]:g}"]["validation"])

    return max(grid, key=found)


@pytest.mark.parametrize("kind", list(load("28", "sweeps").GRIDS))
def test_the_page_trains_with_the_rates_that_validation_chose(page, much, kind):
    """And the chosen one is no edge of its grid: beyond it is worse."""
    grid = load("28", "sweeps").GRIDS[kind]
    best = best_rates(much, grid, kind)
    assert best == page["RATES"][kind]
    assert best not in (min(grid), max(grid))


def test_the_bet(much):
    gap, wide = gain(much["LoRA"]["accuracy"], much["all"]["accuracy"])
    assert gap + wide < 0  # Ada
    assert f"{-gap:.1f} ± {wide:.1f} points less" in said("28")
    assert f"by {-gap:.1f} ± {wide:.1f} points" in said("28")
    assert f"has {mean(much['LoRA']):.1f} % in place of {mean(much['all']):.1f}" in said("28")


def test_what_is_trained_and_how_long(much):
    words = said("28")
    for kind in ("all", "LoRA", "projector", "last layer", "from scratch"):
        thousand = much[kind]["trained"][0] / 1000
        assert f"{thousand:.0f} thousand" in words
    alone = much["projector"]["trained"][0]
    added = much["LoRA"]["trained"][0] - alone
    assert (
        f"({added / 1000:.0f} thousand in its matrices, the projector's {alone / 1000:.0f})"
        in words
    )
    assert round(added / 664_000, 2) == 0.02 and "two in a hundred of its weights" in words
    one, other = (sum(much[kind]["seconds"]) for kind in ("LoRA", "all"))
    assert "no way to save much time" in words and one > 0.7 * other


def test_it_looks(much):
    words = said("28")
    own, other = mean(much["projector"]), mean(much["projector"], "other_picture")
    assert f"the projector alone has {own:.0f} %, with another one {other:.1f}," in words
    assert f"the blind model has {mean(much['blind']):.1f}." in words
    own, other = mean(much["all"]), mean(much["all"], "other_picture")
    assert f"with all trained still answers {other:.0f} % rightly" in words and own > 2 * other
    for kind in ("all", "LoRA", "last layer", "projector", "from scratch"):
        gap, wide = gain(much[kind]["accuracy"], much[kind]["other_picture"])
        assert gap - wide > 10


def card():
    """The table of the language model's card: {split: {column: share}}."""
    rows = re.findall(r"^\|(.+)\|$", CARD.read_text(encoding="utf-8"), re.M)
    head, _, *rows = [[part.strip() for part in row.split("|")] for row in rows]
    return {row[0]: dict(zip(head[1:], map(float, row[1:]))) for row in rows}


def test_what_is_easy_and_what_is_hard(much):
    shares = {kind: mean(much["all"], kind) for kind in KINDS}
    assert set(sorted(shares, key=shares.get)[-2:]) == {"colour", "shape"}
    for kind in set(KINDS) - {"count"}:
        gap, wide = gain(much["all"][kind], much["all"]["count"])
        assert gap - wide > 0
    for few, many in ((1, 2), (2, 3)):
        gap, wide = gain(much["all"][f"{few} things"], much["all"][f"{many} things"])
        assert gap - wide > 0


def test_what_it_knows_from_text():
    words, shares = said("28"), card()
    few = ("1 thing", "2 things", "3 things")
    for split, text in (
        ("test", "{} {} and {} % of the questions about one, two and three things"),
        ("novel", "together, {} {} and {};"),
    ):
        one, two, three = (round(100 * shares[split][column]) for column in few)
        assert text.format(f"{one},", two, three) in words
    assert f"and {100 * shares['test']['4 things']:.0f} about *four* things" in words
    assert (
        f"From a true *text* the same network counts {100 * shares['test']['count']:.0f} %" in words
    )


def test_pairs_that_it_never_read_are_where_it_fails():
    """The colour of one of two things, from text: it errs in no pair that it has read."""
    model, tokenizer = load_language_model()
    texts, true, held = [], [], []
    for colour, shape in product(ATTRIBUTES["colour"], ATTRIBUTES["shape"]):
        for other, beside in product(ATTRIBUTES["colour"], ATTRIBUTES["shape"]):
            if beside != shape and other != colour and (other, beside) not in HELD_OUT:
                told = f"a small {other} {beside} and a large {colour} {shape}"
                texts.append(f"<bos> {told} <eos> <bos> what colour is the {shape}?")
                true.append(colour)
                held.append((colour, shape))
    ids = tokenizer(texts, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        answered = tokenizer.batch_decode(model(ids).logits[:, -1].argmax(1)[:, None])
    wrong = {pair for pair, a, b in zip(held, answered, true) if a != b}
    assert ("blue", "cross") in wrong and wrong < set(HELD_OUT)


def test_what_is_true_of_descriptions(much):
    words, every = said("28"), much["all"]
    three = mean(every, "true, 3 things")
    assert f"{mean(every, 'forced'):.0f} % of the words, and {three:.0f} % of the" in words
    assert f"still has {mean(much['blind'], 'forced'):.0f} % of the words" in words
    numbers = {k: mean(every, f"description, {k}") / 100 for k in ("phrases", "right", "missed")}
    assert f"has {numbers['phrases']:.1f} phrases, of which {numbers['right']:.1f} are" in words
    invented = mean(every, "description, hallucinated") / 100
    assert f"right and {invented:.2f} name something" in words
    assert f"{numbers['missed']:.1f} things are missed" in words
    alone = mean(much["projector"], "description, hallucinated") / 100
    assert f"The projector alone invents {alone:.1f} a picture" in words


def test_what_other_pages_had_is_as_stored():
    words = said("28")
    kinds, captions = stored("26", "kinds"), stored("25", "captions")["sighted"]["accuracy"]
    there, many = (100 * sum(kinds[f"attention: {k}"]["accuracy"]) / 5 for k in ("exists", "count"))
    assert f'had {there:.0f} % for "is there" and {many:.0f} for "how many"' in words
    forced, strict = (100 * sum(captions[what]) / 5 for what in ("forced", "strict"))
    assert f"page 25's {forced:.0f} % of words and {strict:.0f} of captions" in words


def test_scenes_are_counted_without_those_of_relations():
    words, left = said("28"), lambda size: sum(TURNS[i % 7] != "relation" for i in range(size))
    assert left(7_000) == 6_000 and "6,000 scenes, 200 steps" in words
    assert f"{left(2_000):,} scenes of one to three things" in words
    assert f'table("{left(2_000):,} scenes, 100 steps' in words


def test_how_much_was_trained(much):
    words = said("28")
    gap, wide = gain(much["from scratch"]["accuracy"], much["all"]["accuracy"])
    assert gap + wide < 0
    assert f"has {mean(much['from scratch']):.0f} %, {-gap:.1f} points less" in words
    assert f"what was read is worth {-gap:.1f} points at equal steps" in words
    wholly = "description, strict"
    scratch, every = much["from scratch"], much["all"]
    text = f"from scratch {mean(scratch, wholly):.0f} % are strictly true, with all trained"
    gap, wide = gain(scratch[wholly], every[wholly])
    assert f"{text} {mean(every, wholly):.0f}. The gap of {gap:.1f} ± {wide:.1f} points" in words
    assert gap - wide < 0 < gap + wide
    frozen, wide = gain(much["projector"]["accuracy"], much["from scratch"]["accuracy"])
    assert frozen - wide > 0
    for kind in ("projector", "LoRA", "last layer"):
        gap, wide = gain(much["all"]["accuracy"], much[kind]["accuracy"])
        assert gap - wide > 0
    for kind, other in (("LoRA", "projector"), ("last layer", "LoRA")):
        gap, wide = gain(much[kind]["accuracy"], much[other]["accuracy"])
        assert gap - wide < 0 < gap + wide  # not clear


def test_pictures_of_another_kind():
    words, short = said("28"), stored("28", "short")
    lora, alone = short["LoRA"], short["projector"]
    low, high = min(alone["accuracy"]), max(alone["accuracy"])
    assert f"depends on the seed: {100 * low:.0f} to {100 * high:.0f} %" in words
    here, there = (f"{mean(row):.0f} to {mean(row, 'never met'):.0f}" for row in (lora, alone))
    assert f"LoRA falls from {here} %, the projector alone from {there}." in words
    four = f"{mean(lora, '4 things'):.0f} % in place of {mean(lora, '3 things'):.0f} with three"
    assert f"With four things LoRA has {four}" in words
    for row, one, other in (
        (lora, "accuracy", "never met"),
        (alone, "accuracy", "never met"),
        (lora, "3 things", "4 things"),
    ):
        gap, wide = gain(row[one], row[other])
        assert gap - wide > 0


@pytest.mark.parametrize("kind, band", [("projector", "0.15"), ("LoRA", "0.12")])
def test_what_another_seed_gives_is_within_the_band(kind, band):
    """So a reader's own LoRA, which draws otherwise, stays inside, and so does another machine."""
    first, *others = stored("28", "short")[kind]["accuracy"]
    assert f'short["{kind}"]["accuracy"][0], 0, {band})' in said("28")
    assert max(abs(other - first) for other in others) < float(band)


def test_few_labels(much):
    words, few = said("28"), stored("28", "few")
    every, lora, alone = (few[f"{kind}, best step"] for kind in ("all", "LoRA", "projector"))
    shares = [round(mean(row)) for row in (every, lora, alone)]
    assert "all have {} %, LoRA {}, the projector {}, and each".format(*shares) in words
    for one, other in ((every, alone), (lora, alone), (lora, every)):
        gap, wide = gain(one["accuracy"], other["accuracy"])
        assert gap - wide < 0 < gap + wide and 2.5 < abs(gap) + wide < 4.5  # "three or four points"
    gap, wide = gain(every["accuracy"], lora["accuracy"])
    assert f"is not seen ({abs(gap):.1f} ± {wide:.1f})" in words
    before, reach = gain(much["all"]["accuracy"], much["LoRA"]["accuracy"])
    assert before - gap > (wide**2 + reach**2) ** 0.5
    for kind, grid in load("28", "sweeps").FEW_GRIDS.items():
        tried = {r: few[f"rate: {kind} {r[0]:g} {r[1]:g}"]["validation"] for r in grid}
        best = max(tried, key=tried.get)
        assert best == (max(grid) if kind == "projector" else min(grid))  # as the page says
    scratch = mean(much["from scratch"])
    assert f"from scratch had {scratch:.0f} % with 6,000" in words and scratch < min(shares)


def test_lora_at_every_layer_is_not_clearly_below_all(much):
    words, rows = said("28"), stored("28", "every")
    (kind, grid), row = *load("28", "sweeps").EVERY_GRIDS.items(), rows["LoRA at every layer"]
    gap, wide = gain(much["all"]["accuracy"], row["accuracy"])
    added = (row["trained"][0] - much["projector"]["trained"][0]) / 1000
    whole = sum(w.numel() for w in load_language_model()[0].parameters()) / 1000
    both = row["trained"][0] / 1000
    assert f"({added:.0f} thousand numbers in its matrices, ten in a hundred of the" in words
    assert f"{both:.0f} thousand with the projector) it has" in words
    assert round(added / whole, 2) == 0.1
    assert f"it has {mean(row):.1f} %, {gap:.1f} ± {wide:.1f} points below all: no" in words
    assert gap - wide < 0 < gap
    gap, wide = gain(row["accuracy"], much["LoRA"]["accuracy"])
    assert f"against the six places: {gap:.1f} ± {wide:.1f} points more" in words
    assert gap - wide < 0 < gap
    best = best_rates(rows, grid, kind)
    assert best not in (min(grid), max(grid))


def test_two_stages(much):
    words, row = said("28"), stored("28", "stages")["all, two stages"]
    gap, wide = gain(much["all"]["accuracy"], row["accuracy"])
    text = f"have {mean(row):.1f} %, {gap:.1f} ± {wide:.1f} points *less* at equal steps"
    assert text in words and gap - wide > 0


def test_numbers_of_soft_tokens(page, much):
    words, rows = said("28"), stored("28", "tokens")
    for number in (4, 64):
        row = rows[f"{number} tokens"]
        gap, wide = gain(row["accuracy"], much["all"]["accuracy"])
        clear = "less" if gap + wide < 0 else "more" if gap - wide > 0 else "not clear"
        assert f"{number} have {mean(row):.1f} %, {gap:+.1f} ± {wide:.1f} points ({clear})" in words
    made = [page["Sees"](load_language_model()[0], number).projector for number in (4, 16, 64)]
    sizes = [round(sum(w.numel() for w in each.parameters()) / 1000) for each in made]
    assert "projector changes with them: {}, {} and {} thousand numbers".format(*sizes) in words


def test_the_loss_on_the_prompt_too_does_no_harm(much):
    words, row = said("28"), stored("28", "prompt")["all, loss on the prompt too"]
    gap, wide = gain(row["accuracy"], much["all"]["accuracy"])
    assert f"prompt too** has {mean(row):.1f} %, {gap:.1f} ± {wide:.1f} points *more*" in words
    assert f"here it does not, by {gap:.1f} ± {wide:.1f} points" in words and gap - wide > 0


def test_the_extractors(much):
    words, rows = said("28"), stored("28", "extractor")
    names = ("MiniLM", "the course's model")
    means = {round(mean(rows[f"{name}, mean"])) for name in names}
    mixed = {round(mean(rows[f"{name}, mean, shuffled"])) for name in names}
    assert len(means) == len(mixed) == 1
    assert f"both have {means.pop()} %, and {max(mixed)} with shuffled pictures" in words
    assert abs(mean(much["blind"]) - mixed.pop()) < half(much["blind"])
    wide = [round(mean(rows[f"{name}, all places"])) for name in names]
    assert "have {} and {} (at the lowest rate".format(*wide) in words
    assert all(rows[f"{name}, all places"]["lr"][0] == 3e-4 for name in names)
    assert f"behind a projector had {mean(much['projector']):.0f};" in words


def test_nothing_is_left_to_be_written():
    assert "TODO" not in said("28")
