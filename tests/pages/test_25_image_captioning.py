"""What page 25 goes on with of the reader's own code, what its faults are, and what it says of its
stored runs.
"""

import math
import random
import sys
from functools import partial
from itertools import combinations

import pytest
import torch
from reading import gain, printed, said, the_cell
from torch import nn
from torch.nn import functional as F

from course_utils.datasets import Scenes
from course_utils.datasets.scene_truth import caption_truth, read_caption
from course_utils.datasets.scene_words import RELATIONS, caption
from course_utils.decoding import beam
from course_utils.exercises import reference
from course_utils.rooms import stored
from course_utils.runtime import ROOT, seed_everything
from course_utils.text import PAD, Vocabulary

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

cell = partial(the_cell, "25")


@pytest.fixture(scope="module")
def text():
    return said("25")


@pytest.fixture(scope="module")
def page():
    return measured_cells("25")


# ---- the reader's own code ----


def of_those_that_count(model, cells, ids):
    there = ids[:, 1:] != PAD
    return F.cross_entropy(model(cells, ids[:, :-1])[there], ids[:, 1:][there])


def by_a_list(step, start, state, end, limit, width):
    kept = [([start], 0.0, state)]
    for _ in range(limit):
        grown = [one for one in kept if one[0][1:] and one[0][-1] == end]
        for words, total, before in kept:
            if not words[1:] or words[-1] != end:
                logs, after = step(words[-1], before)
                top = logs.topk(min(width, len(logs)))
                pairs = zip(top.values.tolist(), top.indices.tolist())
                grown += [([*words, k], total + x, after) for x, k in pairs]
        kept = sorted(grown, key=lambda one: -one[1])[:width]
    return kept[0][0][1:], kept[0][1]


def thing_by_thing(phrases, things):
    named = [sum(words <= thing for _, words in phrases) for thing in things]
    return set(named) == {1} and all(sum(w <= x for x in things) == n for n, w in phrases)


@pytest.mark.parametrize(
    "key, answer", [("25.1", of_those_that_count), ("25.2", by_a_list), ("25.3", thing_by_thing)]
)
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def place_by_place(model, cells, ids):
    logs = model(cells, ids[:, :-1]).log_softmax(2)
    places = [(n, t) for n in range(len(ids)) for t in range(1, ids.shape[1]) if ids[n, t] != PAD]
    return -sum(logs[n, t - 1, ids[n, t]] for n, t in places) / len(places)


def test_a_loss_that_is_too_slow_for_the_training_is_right_and_not_taken(accepted):
    taken, why = accepted("25.1", place_by_place)
    assert taken is reference("25.1") and "times as long" in why


@pytest.mark.parametrize("width", (1, 2, 3, 5))
@pytest.mark.parametrize("seed", range(4))
def test_the_reference_is_the_packages_beam(seed, width):
    draw = torch.Generator().manual_seed(seed)
    table = torch.randn(6, 6, 6, generator=draw, dtype=torch.float64).log_softmax(2)

    def one(word, before):
        return table[before, word], word

    def many(last, before):
        return table[before, last], last

    words, total = reference("25.2")(one, 0, 0, 5, 7, width)
    theirs = beam(many, torch.zeros(1).long(), torch.zeros(1).long(), end=5, limit=7, width=width)
    best = theirs.first()
    assert words == best.tokens[0][best.mask[0]].tolist()
    assert total == pytest.approx(best.log_probs.item(), abs=1e-12)


def test_the_example_of_the_search(text):
    rows = {None: (-0.6, -0.9, -3.0), 0: (-1.2, -1.1, -1.3), 1: (-2.0, -3.0, -0.2)}

    def step(word, state):
        return torch.tensor(rows[word]), state

    for width, words, total in ((1, [0, 1], -1.7), (2, [1, 2], -1.1)):
        found = reference("25.2")(step, None, 0, 2, 2, width)
        assert found[0] == words and found[1] == pytest.approx(total, abs=1e-6)
    for name, row in zip(("at the start", "after `a`", "after `two`"), rows.values()):
        assert "| {} | {} | {} | {} |".format(name, *row) in text


@pytest.mark.parametrize("seed", range(3))
def test_the_readers_checker_is_the_packages_on_lists(seed):
    scenes = Scenes("test", size=80, seed=seed, objects=(1, 3))
    draw, seen = random.Random(seed), set()
    told = [caption(scenes[i]["objects"], draw.random) for i in range(80)]
    for i in range(80):
        things = scenes[i]["objects"]
        sets = [{one.size, one.colour, one.shape} for one in things]
        for one in (told[i], told[i - 1], f"{told[i]} and {told[i]}"):
            read = read_caption(one)
            if read.form != "list":
                continue
            phrases = [(number, set(noun) - {None}) for number, noun in read.phrases]
            truth = caption_truth(one, things).strict
            assert reference("25.3")(phrases, sets) is truth
            seen.add(truth)
    assert seen == {True, False}


# ---- what stands in its cells ----


def noise():
    names = {"torch": torch, "nn": nn, "F": F, "seed_everything": seed_everything}
    exec(cell("class Beside"), names)
    exec(cell("def unseen_loss"), names)
    return names | {"caption_loss": reference("25.1")}


def test_unshifted_noise_is_learned_and_shifted_noise_is_not(capsys):
    assert printed(capsys, cell("def to_itself"), noise()) == "False"
    mended = cell("loss = unseen_loss(caption_loss)")
    assert printed(capsys, mended, noise()) == "True"
    # what differs is the shift: without it the reader's loss fails too
    shift = {"caption_loss": lambda m, c, x: F.cross_entropy(m(c, x).transpose(1, 2), x)}
    assert printed(capsys, mended, noise() | shift) == "False"


def test_the_noise_has_as_many_words_as_is_said(text):
    assert "29 of them" in text and f"log 29 = {math.log(29):.1f}" in text
    assert "torch.randint(1, 30," in cell("def unseen_loss")


def test_the_slips_that_are_named():
    logits, ids = torch.randn(4, 7, 9), torch.randint(1, 9, (4, 7))
    with pytest.raises(RuntimeError, match="Expected target size"):
        F.cross_entropy(logits, ids)
    square, ids = torch.randn(4, 7, 7), torch.randint(1, 7, (4, 7))
    right = F.cross_entropy(square.transpose(1, 2), ids)
    assert F.cross_entropy(square, ids) != right
    # nn.Linear takes a map's width for its features
    maps = torch.randn(2, 8, 32, 16)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        nn.Linear(8, 16)(maps)
    assert nn.Linear(16, 16)(maps).shape == (2, 8, 32, 16)


def test_what_counts_in_the_first_captions(text):
    ids, _ = Vocabulary(["a red circle", "crosses"], marks=True).encode(["a red circle", "crosses"])
    assert [(row[1:] != PAD).sum().item() for row in ids] == [4, 2]
    assert "six count: four of the first row, two of the second" in text


def test_one_word_at_a_time_says_what_all_at_once_says(page):
    seed_everything(0)
    model = page["Captioner"](12).eval()
    cells, ids = torch.randn(3, 64, 64), torch.randint(4, 12, (3, 6))
    with torch.no_grad():
        whole, seen = model(cells, ids), model.see(cells)
        for t in range(6):
            logits, seen = model.step(ids[:, t], seen)
            assert torch.allclose(logits, whole[:, t], atol=1e-5)
        # and no word looks ahead
        other = ids.clone()
        other[:, 4:] = 4
        assert torch.allclose(model(cells, other)[:, :4], whole[:, :4], atol=1e-6)


def test_a_turned_relation_is_false_and_nothing_else_changes(page):
    scenes, count = Scenes("test", size=60, objects=(2, 3)), 0
    for i in range(60):
        told, things = caption(scenes[i]["objects"], random.Random(i).random), scenes[i]["objects"]
        turned = page["turned"](told)
        relation = any(word in told for word in RELATIONS)
        assert (turned != told) == relation and page["turned"](turned) == told
        assert caption_truth(told, things).strict
        assert caption_truth(turned, things).strict != relation
        count += relation
    assert count > 10


def test_the_noun_and_its_thing(page):
    scenes = Scenes("test", size=40, objects=(2, 3))
    for i in range(40):
        told, things = caption(scenes[i]["objects"], random.Random(i).random), scenes[i]["objects"]
        words = Vocabulary([told]).words(Vocabulary([told]).ids(told))
        for end, start, thing in page["nouns"](words, things):
            assert words[end] in page["NOUNS"] and words[start] in ("a", "the")
            phrase = set(words[start + 1 : end + 1]) - {"thing"}
            assert phrase <= {thing.size, thing.colour, thing.shape}
    red = next(x for i in range(40) for x in scenes[i]["objects"])
    assert page["nouns"](["a", red.colour, "thing"], [red]) == [(2, 0, red)]
    assert page["nouns"](["a", red.colour, "thing"], [red, red]) == []


def test_the_librarys_captioner_speaks():
    """BLIP with random weights: what the page's ten lines do, without a download."""
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    small |= {"intermediate_size": 16, "projection_dim": 16}
    tokens = {"vocab_size": 50, "bos_token_id": 2, "sep_token_id": 3, "pad_token_id": 0}
    config = transformers.BlipConfig(
        text_config=small | tokens | {"encoder_hidden_size": 16, "eos_token_id": 3},
        vision_config=small | {"image_size": 32, "patch_size": 16},
    )
    blip = transformers.BlipForConditionalGeneration(config).eval()
    start = torch.tensor([[2, 7, 8, 3]])
    with torch.no_grad():
        words = blip.generate(
            pixel_values=torch.rand(1, 3, 32, 32), input_ids=start, num_beams=3, max_new_tokens=5
        )
    assert words.shape[0] == 1 and words[0, 1:3].tolist() == [7, 8]


# ---- what the page says of its stored runs ----


CAPTIONS, TRUE_ONES, BLIND, MORE = (
    stored("25", name) for name in ("captions", "true_captions", "controls", "openings")
)
RATES = {name: row for name, row in (CAPTIONS | BLIND).items() if name.startswith("rate: ")}


def values(name, what="strict", rows=CAPTIONS):
    return rows[name]["accuracy"][what]


def mean(name, what="strict", rows=CAPTIONS):
    return 100 * sum(values(name, what, rows)) / 5


def points(one, other):
    """The paired difference as the page has it, and whether its interval leaves out 0."""
    middle, half = gain(one, other)
    return f"{middle:.1f} ± {half:.1f}", abs(middle) > half


def ahead(start, what="strict", rows=CAPTIONS):
    """The beam minus greedy, begun alike."""
    return points(*(values(f"{start}: {how}", what, rows) for how in ("beam", "greedy")))


def test_the_bet_in_numbers(text):
    (lead, clear), (alike, too) = ahead("there are"), ahead("there are", "pairs")
    assert f"the beam is ahead by {lead} points" in text and clear and lead[0] != "-"
    others, also = ahead("there are", "pairs", MORE)
    assert f"Among the 45 % the beam is ahead by {alike} (the others: {others})" in text
    more, as_well = ahead("there are", rows=MORE)
    assert f"five pictures of 500 (five other models: {more})" in text
    assert too and also and as_well and 4.5 < 5 * float(lead.split()[0]) < 5.5
    assert 'outcome("24.a", "Ada")' in text
    assert f'begun with "there are" the beam is truer, by {lead} points' in text


def test_on_how_many_pictures_the_bet_can_be_won(text):
    counts = []
    for seed in range(5):
        scenes = Scenes("test", size=500, seed=seed, objects=(1, 3))
        shown = [list(combinations(scenes[i]["objects"], 2)) for i in range(500)]
        alike = sum(any(a.colour == b.colour or a.shape == b.shape for a, b in x) for x in shown)
        for how in ("greedy", "beam"):
            every, among = (values(f"there are: {how}", what)[seed] for what in ("strict", "pairs"))
            assert round(500 * every) == round(alike * among)  # nothing true of the rest
        counts.append(alike)
    assert f"as in {sum(counts) / 25:.0f} % of these pictures; of the rest the five" in text


def test_the_score_that_flatters_in_numbers(text):
    right, true = mean("sighted", "forced"), mean("sighted")
    assert f"{right:.0f} % of the words, {true:.0f} % of the captions." in text
    blind, said_blind = mean("blind", "forced", BLIND), mean("blind", rows=BLIND)
    assert f"names {blind:.0f} % of the next words right, and {said_blind:.0f} % of its" in text
    assert f"shown another scene's in test, {mean(OTHER):.1f} % of its captions are true" in text
    shuffled = mean("shuffled", "forced", BLIND), mean("shuffled", rows=BLIND)
    assert "with other scenes' pictures, has {:.0f} and {:.0f}".format(*shuffled) in text
    assert f"{mean('sighted', 'hallucinated'):.1f} % of its phrases name what is not" in text
    assert f"{mean('sighted', 'repeated'):.0f} % of its captions name a thing twice" in text
    assert abs(right - 77) < 1  # what the guess is told


OTHER = "another scene's picture"


def test_relations_are_told_as_by_chance(text):
    apart, clear = points(values("relations", "hold"), values("relations", "drawn"))
    assert not clear and f"not clearly better than by chance ({apart} points)" in text
    hold, drawn = mean("relations", "hold"), mean("relations", "drawn")
    words = "of the relations that it tells {:.0f} % hold; with each of the four words in their"
    assert words.format(hold) in text and f"in their place {drawn:.0f} % would" in text


def test_rates_are_chosen_by_validation(text):
    def losses(kind):
        found = {n.split()[2]: r["loss"] for n, r in RATES.items() if n.split()[1] == kind}
        return found, min(found, key=found.get)

    for kind in ("sighted", "blind"):
        found, best = losses(kind)
        assert best not in (list(found)[0], list(found)[-1])
    assert losses("sighted")[1] == "0.006" and "RATE = 6e-3" in text
    found, best = losses("shuffled")
    text = text.replace("# ", "")
    assert best == list(found)[-1] and "the highest of the five tried" in text and len(found) == 5
    late = list(found.values())[1:]
    assert f"its loss moves by {max(late) - min(late):.2f} only" in text


def test_beams_in_numbers(text):
    more, clear = points(values("beam, power 0"), values("sighted"))
    assert f"captions are truer, by {more} points" in text and clear
    lists = mean("beam, power 0", "form list"), mean("sighted", "form list")
    assert "{:.0f} % lists in place of {:.0f}".format(*lists) in text
    less, clear = points(values("beam, power 1"), values("sighted"))
    assert f"*less* often true than greedy ({less})" in text and clear and less[0] == "-"


def test_one_word_turns_the_sign(text):
    for rows in (CAPTIONS, MORE):
        loss, clear = points(
            values("a picture of: greedy", rows=rows), values("a picture of: beam", rows=rows)
        )
        assert clear and loss[0] != "-"
        assert f"the beam loses {loss} points" in text or f"(five other models: {loss})" in text
    kept, others = ahead("a picture of a")[0], ahead("a picture of a", rows=MORE)[0]
    assert f"beam minus greedy is {kept} (the others: {others})" in text
    assert kept[0] != "-" and others[0] != "-"
    plural = mean("a picture of: beam", "plural"), mean("a picture of: greedy", "plural")
    words = 'with "two" or "three" in {:.0f} % of the captions, greedy in {:.0f}.'
    assert words.format(*plural) in text


def test_the_small_tables_in_numbers(page, capsys, text):
    names = dict(page) | {"verify": None, "beam_search": reference("25.2")}
    exec(cell("def sentences").partition("start, seen")[0], names)
    hits, total = names["hits"], len(names["totals"])
    assert hits[64] == 20 and f"20 small tables of {total} sentences" in text
    words = "which is greedy, finds the likeliest in {1}, one of 4 in {4}, and one of 64 in all"
    assert words.format(*[hits.get(k) for k in range(5)]) in text


def test_bleu_in_numbers(text):
    one, own = mean("true", "bleu_one", TRUE_ONES), mean("sighted", "bleu_one")
    wrong = 100 - mean("sighted")
    words = "has {:.1f} against one other true one, and the model {:.1f}, though {:.0f} % of"
    assert words.format(one, own, wrong) + " its captions are not strictly true" in text
    apart = [points(values("sighted", k), values("true", k, TRUE_ONES)) for k in BLEUS]
    assert not apart[0][1] and not apart[1][1]
    words = "(model minus true captions: {} points with one reference, {} with four)"
    assert words.format(apart[0][0], apart[1][0]) in text
    costs = [points(values("true", k, TRUE_ONES), values("turned", k, TRUE_ONES)) for k in BLEUS]
    assert costs[0][1] and costs[1][1]
    assert f"every relation costs {costs[0][0]} and {costs[1][0]} points" in text
    assert abs(mean("turned", rows=TRUE_ONES) - 50) < 2 and "and half of the truth" in text
    blind, other = mean("blind", "bleu_four", BLIND), mean("other", "bleu_four", TRUE_ONES)
    assert f"({blind:.0f} with four) is far above a true caption of another" in text
    assert f"another scene ({other:.0f})" in text and blind > other + 5
    assert mean("blind", rows=BLIND) < 6 and mean("other", rows=TRUE_ONES) < 6


BLEUS = ("bleu_one", "bleu_four")


def test_the_checker_in_numbers(text):
    alone, true = mean("sighted", "alone"), mean("sighted", "lists")
    assert f"{alone:.1f} % of the lists pass phrase by phrase, and {true:.1f} % are true" in text
    more, clear = points(values("sighted", "alone"), values("sighted", "lists"))
    assert f"flatters by {more} points" in text and clear


def test_where_it_looks_in_numbers(text):
    noun = values("pointing: noun", "0 px")
    heads = [max(each) for each in zip(*(values(f"pointing: head {k}", "0 px") for k in range(4)))]
    words = "in {:.0f} % (the five models: {:.0f} to {:.0f}; the best head of each alone: {:.0f} to"
    words += " {:.0f}), far more than any control"
    span = [100 * end(each) for each in (noun, heads) for end in (min, max)]
    assert words.format(20 * sum(noun), *span) in text
    for slack in ("0 px", "4 px"):
        for control in ("largest", "centre", "any cell", "first word"):
            assert points(values("pointing: noun", slack), values(f"pointing: {control}", slack))[1]
    assert f"it does in {mean('pointing: first word', '0 px'):.0f} %" in text
    none, named, other = (mean("hidden cells", k) / 100 for k in ("none", "named", "other"))
    assert f"falls from {none:.2f} to {named:.2f};" in text
    assert f"another thing touches it is {other:.2f}" in text
    assert points(values("hidden cells", "other"), values("hidden cells", "named"))[1]


def test_what_is_asked_for_in_numbers(text):
    cool, clear = points(values("temperature 0.3"), values("sighted"))
    assert not clear and f"not clearly lower than greedy's ({cool} points)" in text
    hot, clear = points(values("sighted"), values("temperature 1.0"))
    assert clear and f"by {hot}. In return" in text
    first = "form relation first"
    assert mean("sighted", first) == 0
    drawn, own = mean("temperature 1.0", first), mean("true", first, TRUE_ONES)
    assert f"= 1 it does in {drawn:.0f} %, and {own:.0f} % of the true captions do" in text
    after = mean("a picture of: greedy"), mean("left of: greedy")
    assert '{:.0f} % after "a picture of", {:.0f} after "left of"'.format(*after) in text
    lie = mean("there is a red: greedy", "hallucinated")
    assert f'after "there is a red" {lie:.0f} % of the phrases' in text
    assert abs(lie - 33) < 4  # "a third" of the questions


def test_the_recap_in_numbers(text):
    right, true = mean("sighted", "forced"), mean("sighted")
    blind = mean("blind", "forced", BLIND), mean("blind", rows=BLIND)
    words = "{:.0f} % of next words under teacher forcing, {:.0f} % of captions true; blind"
    assert words.format(right, true) in text and "blind {:.0f} and {:.0f};".format(*blind) in text
    lists = mean("sighted", "alone"), mean("sighted", "lists")
    assert "{:.0f} % of lists by phrases, {:.0f} % as a whole".format(*lists) in text


def test_binary_cross_entropy_sends_back_something_else():
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(5, generator=draw, dtype=torch.float64).requires_grad_()
    y, p = torch.eye(5, dtype=torch.float64)[2], z.softmax(0)
    loss = -(y * p.log() + (1 - y) * (1 - p).log()).sum()
    got, r = torch.autograd.grad(loss, z)[0], (1 - y) / (1 - p)
    assert torch.allclose(got, p - y + p * (r - p @ r), atol=1e-12)
    assert not torch.allclose(got, p - y, atol=0.01)
