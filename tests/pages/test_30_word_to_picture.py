"""What page 30 goes on with of the reader's own code, what its faults are, and what it says of its
stored runs.
"""

import math
import sys
from functools import partial

import pytest
import torch
from reading import gain, printed, said, the_cell

from course_utils.datasets.digits import WORDS
from course_utils.exercises import reference
from course_utils.metrics import mean_interval
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

cell = partial(the_cell, "30")


@pytest.fixture(scope="module")
def page():
    return measured_cells("30")


@pytest.fixture(scope="module")
def text():
    return said("30")


# ---- the reader's own code ----


def loss_in_one_go(network, pictures, words, noise, times, dropped):
    x = noise + torch.einsum("b,bd->bd", times, pictures - noise)
    wrong = network(x, times, words * (~dropped)[:, None]) - pictures + noise
    return (wrong * wrong).sum() / wrong.numel()


def step_by_mean(network, x, time, size, words, weight):
    times = torch.full((len(x),), time, dtype=x.dtype)
    none = network(x, times, words * 0)
    return x + size * none + size * weight * (network(x, times, words) - none)


def tokens_by_unfold(pictures, codebook):
    patches = pictures.view(-1, 8, 8).unfold(1, 2, 2).unfold(2, 2, 2).reshape(-1, 16, 1, 4)
    return ((patches - codebook) ** 2).sum(3).argmin(2)


@pytest.mark.parametrize(
    "key, answer", [("30.1", loss_in_one_go), ("30.2", step_by_mean), ("30.3", tokens_by_unfold)]
)
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


# ---- what stands in its cells ----


def test_a_time_for_each_pixel(capsys):
    names = {"torch": torch}
    fault = cell("both = torch.randn(2, 64, 64")
    assert printed(capsys, fault, names) == "False"
    assert printed(capsys, cell("x = (1 - times[:, None]) * both[0]"), names) == "True"
    # where the batch has another size the same lines raise
    with pytest.raises(RuntimeError):
        exec(fault.replace("2, 64, 64", "2, 128, 64").replace("1, 64)", "1, 128)"), dict(names))


def test_levels_are_no_ids(page, capsys):
    fault = cell("return (8 * shown + 8)")
    own, new = page["scans"]("own")[0], page["scans"]("test")[0]
    names = page | {"new": new, "codebook": page["make_codebook"](own, 16)}
    names["picture_tokens"] = reference("30.3")
    assert printed(capsys, fault, names) == "False"
    assert printed(capsys, cell("return picture_tokens(shown, codebook)"), names) == "True"


def test_the_words_asked_are_new_and_nobody_types_nothing(page):
    data = page["pairs"](0)
    words, digits = page["asked"](0, data["seen"])
    assert not data["seen"] & {*words} and digits.bincount().tolist() == [100] * 10
    assert "" not in data["seen"] and (data["words"].sum(1) >= 3).all()
    assert data["words"].shape == (5168, 78) and len(data["pictures"]) == 5168


def test_the_writers_of_drawer_judge_and_test_are_others(page):
    spans = [range(*page["BLOCKS"][split]) for split in ("own", "judge", "validation", "test")]
    every = [writer for span in spans for writer in span]
    assert len(every) == len({*every}) == 14
    assert len(page["scans"]("own")[0]) * 8 == 5168 and len(page["scans"]("validation")[0]) == 258


def test_tokens_come_back(page):
    codebook = torch.arange(8.0).view(2, 4)
    tokens = torch.randint(2, (3, 16), generator=torch.Generator().manual_seed(0))
    back = page["from_tokens"](tokens, codebook)
    assert torch.equal(reference("30.3")(back, codebook), tokens)


def test_a_writer_sees_only_what_stands_before(page):
    writer, words = page["Writer"](4), torch.zeros(1, 78)
    one, other = torch.zeros(2, 1, 16, dtype=torch.long)
    other[0, 5:] = 3
    place = torch.tensor([5])
    assert torch.equal(writer(one, place, words), writer(other, place, words))
    assert not torch.equal(writer(one, place + 1, words), writer(other, place + 1, words))


def test_one_step_of_the_best_network_ends_at_the_mean_picture():
    draw = torch.Generator().manual_seed(0)
    mean, noise = torch.randn(64, generator=draw), torch.randn(5, 64, generator=draw)

    def best(x, times, words):
        return mean - x  # at time 0: the mean of all x - e that pass the place e

    drawn = reference("30.2")(best, noise, 0.0, 1.0, torch.zeros(5, 78), 1.0)
    assert torch.allclose(drawn, mean.expand(5, 64), atol=1e-6)


def test_perfect_losses_in_words(text):
    assert f"2 ln 2 = {2 * math.log(2):.2f}" in text and f"ln 2 = {math.log(2):.2f}" in text


def test_wrong_code_on_the_page_would_be_seen(page):
    """The stored runs and the page share the solution's loss: one number of both."""
    ours, theirs = reference("30.1"), load("30", "sweeps").loss_of()
    draw = torch.Generator().manual_seed(0)
    args = torch.randn(4, 64, generator=draw), page["spell"](WORDS[:4]), torch.randn(4, 64)
    rest = torch.rand(4), torch.tensor([True, False, False, True])
    drawer = page["Drawer"]()
    assert torch.equal(ours(drawer, *args, *rest), theirs(drawer, *args, *rest))


# ---- what the page says of its stored runs ----

RUNS, EDGES, REAL = stored("30", "draws"), stored("30", "edges"), stored("30", "real")
CHECKS, BOOKS = stored("30", "controls"), stored("30", "tokens")
NULLS, SURE = stored("30", "nulls"), stored("30", "sure")
GANS = stored("30", "gans") | stored("30", "turns")
TEST = REAL["all test pictures"]


def shown(row, what="right", digits=None):
    """As the page says it: per cent with a decimal, a distance with two, a spread with three."""
    share = what in ("right", "kept", "most")
    usual = {"spread": 3}.get(what, 1 if share else 2)
    values = [(100 if share else 1) * value for value in row["accuracy"][what]]
    return f"{mean_interval(values)[0]:.{usual if digits is None else digits}f}"


def points(one, other):
    middle, half = gain(one["accuracy"]["right"], other["accuracy"]["right"])
    return f"{middle:.1f} ± {half:.1f}", abs(middle) > half


def best(rows, kind):
    found = {name: row["chosen by"] for name, row in rows.items() if f"rate: {kind}: " in name}
    return max(found, key=found.get).split(": ")[2]


def test_the_bet_in_numbers(text):
    said_by, one, three = (
        RUNS[name] for name in ("classifier", "drawing, weight 1", "drawing, best weight")
    )
    lead, clear = points(said_by, one)
    at_best, also = points(said_by, three)
    words = f"right {lead} points less often at weight 1, and {at_best} at the best weight."
    assert words in text and clear and also
    assert f"a drawing is right {lead} points less often than a classifier" in text
    for row in (one, three):  # Ben's two points
        middle, half = gain(said_by["accuracy"]["right"], row["accuracy"]["right"])
        assert middle - half > 2
    assert f"reads {shown(TEST)} % of real pictures" in text
    both = RUNS["classifier, real picture"]
    assert f"said, {shown(both)} % are right" in text
    first, last = points(both, one), points(both, three)
    assert f"stay by {first[0]} points at weight 1; at the best weight by {last[0]}, and" in text
    middle, half = gain(both["accuracy"]["right"], three["accuracy"]["right"])
    assert middle - half < 2 < middle + half


def test_no_dial_stands_at_the_edge_of_its_grid(page, text):
    every = RUNS | EDGES
    assert best(every, "drawer") == "0.016" and best(every, "classifier") == "0.001, 0.1"
    assert best(RUNS, "weight") == "3.0" and EDGES["rate: drawer: 0.032"]["chosen by"] < 0.15
    assert "The learning rate, 0.016, is the best of five;" in text
    assert page["train"].__defaults__[0] == 0.016 and page["make_judge"].__defaults__[1] == 0.08
    judged = {name: row["chosen by"] for name, row in REAL.items() if "judge" in name}
    assert judged["rate: judge: 0.08"] == max(judged.values())


def test_where_it_is_lost_in_numbers(text):
    chain = ("classifier", "answer thrown", "thrown drawn, weight 1", "drawing, weight 1")
    lost = [points(RUNS[one], RUNS[other]) for one, other in zip(chain, chain[1:])]
    assert all(clear for _, clear in lost)
    assert f"instead of choosing it costs {lost[0][0]} points" in text
    assert f"have it read, {lost[1][0]} more." in text and f"another {lost[2][0]}:" in text
    decided = RUNS["classifier drawn, best weight"]
    ahead, clear = points(decided, RUNS["drawing, best weight"])
    assert f"{shown(decided)} % at weight 3, {ahead} points above the slip" in text and clear


def test_steps_in_numbers(text):
    one, two, fifty = (RUNS[f"steps {k}"] for k in (1, 2, 50))
    assert f"at weight 1, {shown(one)} and {shown(two)} %, and differ least" in text
    assert f"the spread is {shown(one, 'spread')} and {shown(two, 'spread')}." in text
    assert f"{shown(fifty)} % and {shown(fifty, 'spread')} with 50" in text
    shares = [float(shown(RUNS[f"steps {k}"])) for k in (1, 2, 5, 10, 20, 50)]
    assert shares == sorted(shares, reverse=True)
    assert f"With 20 steps it is {shown(RUNS['steps 20'], digits=0)}.)" in text


def test_guidance_in_numbers(text):
    more, clear = points(RUNS["weight 2"], RUNS["weight 1"])
    assert f"From weight 1 to 2 the share read as meant rises by {more} points" in text and clear
    far = RUNS["weight 8"]
    assert f"at 8 the nearest is {shown(far, 'nearest')} away, and {shown(far)} % are" in text
    assert f"large there, {shown(far, 'spread')}, but" in text
    assert (
        SURE["zeros dropped, weight 1"]["accuracy"].items() >= RUNS["weight 1"]["accuracy"].items()
    )
    for what, words in (("spread", "spread changes by {}"), ("sure", "read as meant by {}: not")):
        two, one = (SURE[f"zeros dropped, weight {w}"]["accuracy"][what] for w in (2, 1))
        middle, half = mean_interval([a - b for a, b in zip(two, one)])
        assert words.format(f"{middle:.3f} ± {half:.3f}") in text and abs(middle) <= half + 5e-4
    spread = RUNS["weight 1"]
    assert f"At weight 1 it is {shown(spread, 'spread')}, less than real" in text
    assert max(spread["accuracy"]["spread"]) < min(TEST["accuracy"]["spread"])


def test_copies_in_numbers(text):
    one = RUNS["weight 1"]
    assert f"trained on is {shown(one, 'nearest')} away" in text
    gaps = [
        sum(row["accuracy"]["strangers"]) / 5 - sum(row["accuracy"]["nearest"]) / 5
        for row in (one, TEST)
    ]
    assert f"writers) {shown(one, 'strangers')}: {gaps[0]:.2f} more. For new" in text
    two = [shown(TEST, what) for what in ("nearest", "strangers")]
    assert "new real pictures the two are {} and {}.".format(*two) in text
    assert gaps[0] > 2 * gaps[1]
    assert f"New writers' pictures are {shown(TEST, 'nearest')} away" in text
    assert f"Real ones of new writers: {shown(TEST, 'spread')}." in text
    assert f"the same digit in {shown(REAL['noise'], 'most', 0)} of 100 cases" in text


def test_controls_in_numbers(text):
    mixed = CHECKS["words shuffled, weight 1"]
    middle, half = mean_interval(mixed["accuracy"]["right"])
    assert abs(middle - 0.1) < half and f"as meant in {shown(mixed)} %, which is chance" in text
    apart = sorted(mixed["accuracy"]["nearest"])
    assert apart[-1] > 5 and apart[-2] < 3 and "One of these five runs fell apart" in text
    without = [points(CHECKS[f"never dropped, weight {w}"], RUNS[f"weight {w}"]) for w in (1, 3, 8)]
    assert [clear for _, clear in without] == [True, False, False]
    words = "at weight 1: {} points, a little better; at weight 3: {}; at weight 8: {}, which"
    assert words.format(*(said for said, _ in without)) in text
    null = [shown(CHECKS["never dropped, weight 0"], "nearest"), shown(RUNS["weight 0"], "nearest")]
    assert "no farther from pictures ({} and {})".format(*null) in text


def test_a_null_word_that_was_never_dropped_in_numbers(text):
    known, foreign = (
        NULLS[f"{name}, weight 2"] for name in ("minus dropped", "minus never dropped")
    )
    assert f"in training, {shown(known)} % are read as meant at weight 2." in text
    assert f"Where it never did, {shown(foreign)} %, chance" in text
    assert max(foreign["accuracy"]["spread"]) < 1e-3 and min(foreign["accuracy"]["nearest"]) > 10
    one = NULLS["minus never dropped, weight 1"]
    assert f"At weight 1 nothing of this is seen ({shown(one)} %)" in text
    assert one["accuracy"]["right"] == CHECKS["never dropped, weight 1"]["accuracy"]["right"]


@pytest.mark.parametrize("word", ["sevn", "", "8 ?", "七", "x" * 99])
def test_whatever_is_typed_is_drawn(page, word):
    names = page | {"drawer": page["Drawer"](), "guided_step": reference("30.2")}
    names |= {"read": lambda drawn: torch.zeros(len(drawn)), "display": lambda *_, **__: None}
    exec(cell("screen, line ="), names)
    names["FIELDS"]["word"].value = word
    known = {"sevn": "sevn", "x" * 99: "x" * 20}.get(word, "")
    assert names["line"].value.startswith(f'"{known}": the five') and names["screen"].value


def test_gans_in_numbers(text):
    sound, dead = GANS["one turn"], GANS["no noise"]
    assert f"{shown(sound)} % read as meant, a spread of {shown(sound, 'spread')}" in text
    assert max(dead["accuracy"]["spread"]) < 1e-3 and f"yet {shown(dead)} % are read" in text
    three = GANS["three turns"]
    losses = [shown(three, what) for what in ("discriminator", "generator")]
    assert "they end at {} and {}, within 0.02 of perfect drawings'".format(*losses) in text
    assert abs(float(losses[0]) - 1.39) < 0.021 and abs(float(losses[1]) - 0.69) < 0.021
    assert f"the spread is {shown(three, 'spread')}, half of the sound GAN's" in text
    half = sum(three["accuracy"]["spread"]) / sum(sound["accuracy"]["spread"])
    assert 0.45 < half < 0.55 and f"real pictures ({shown(TEST, 'spread')})." in text
    assert len(sound["shown"]) == 8 and len(sound["shown"][0]) == 64


def test_tokens_in_numbers(text):
    some, many, written = (BOOKS[name] for name in ("codes 16", "codes 64", "written"))
    words = f"the judge reads {shown(some)} % of new writers' pictures, with 64 codes {shown(many)}"
    assert f"{words} (pixels: {shown(TEST)})" in text
    assert f"darker leaves {shown(some, 'kept', 0)} of 100 tokens" in text
    assert f"readable digits in {shown(written)} %, fewer than the flow" in text
    assert f"the spread of real pictures ({shown(written, 'spread')}, the wrong" in text
    assert points(RUNS["weight 1"], written)[1]
