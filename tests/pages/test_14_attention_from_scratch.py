"""What page 14 goes on with of the reader's own code, what its faults and its models are, and what
it says of its stored runs.
"""

import sys
from functools import partial

import pytest
import torch
from reading import gain, said, the_cell
from torch.nn import functional as F

from course_utils.datasets import Scenes
from course_utils.exercises import reference
from course_utils.metrics import mean_interval
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT
from course_utils.text import Vocabulary

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

# ---- the reader's own code ----


def attend_by_torch(query, key, value, mask):
    sees = mask[:, None].expand(-1, query.shape[1], -1)
    found = F.scaled_dot_product_attention(query, key, value, attn_mask=sees)
    return torch.where(mask.any(dim=1)[:, None, None], found, 0)


def heads_by_loop(x, sees, W_q, W_k, W_v, W_o, heads):
    total = 0
    for rows in torch.arange(x.shape[-1]).chunk(heads):
        q, k, v = (x @ W[rows].T for W in (W_q, W_k, W_v))
        scores = (q @ k.mT / len(rows) ** 0.5).masked_fill(~sees, -torch.inf)
        total = total + scores.softmax(dim=-1).nan_to_num() @ v @ W_o[:, rows].T
    return total


def mask_by_repeating(mask):
    return mask[:, None].repeat(1, mask.shape[1], 1).tril()


def word_by_word(x, sees, W_q, W_k, W_v, W_o, heads):
    rows = []
    for t in range(x.shape[1]):
        for _ in range(3):
            everything = heads_by_loop(x, sees, W_q, W_k, W_v, W_o, heads)
        rows.append(everything[:, t])
    return torch.stack(rows, dim=1)


@pytest.mark.parametrize(
    "key, answer", [("14.1", attend_by_torch), ("14.2", heads_by_loop), ("14.3", mask_by_repeating)]
)
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_what_lets_no_gradient_through_is_not_taken(accepted):
    def detached(x, sees, W_q, W_k, W_v, W_o, heads):
        return heads_by_loop(x, sees, W_q.detach(), W_k, W_v, W_o, heads)

    taken, told = accepted("14.2", detached)
    assert taken is reference("14.2")
    assert told.startswith("14.2: the course's, because no gradient comes through yours to `W_q`")


def test_what_is_far_too_slow_is_not_taken(accepted):
    taken, told = accepted("14.2", word_by_word)
    assert taken is reference("14.2")
    assert told.startswith("14.2: the course's, because yours, though right, takes ")


# ---- what stands in its cells ----


cell = partial(the_cell, "14")


@pytest.fixture(scope="module")
def page():
    names = measured_cells("14")
    return load("14", "sweeps").ready(names)


def last_word(capsys, shown, names):
    exec(shown, names)
    return capsys.readouterr().out.split()[-1]


def test_zeros_after_the_softmax_are_the_fault(page, capsys):
    names = dict(page)
    torch.manual_seed(0)
    names["q"], names["k"], names["v"] = torch.randn(3, 3, 5, 4, dtype=torch.float64).unbind()
    names["kept"] = torch.arange(5) < torch.tensor([[5], [3], [1]])
    shown = cell("shares = shares * kept[1]")
    assert last_word(capsys, shown, names) == "False"
    scores = "q[1] @ k[1].T / math.sqrt(4)"
    mended = shown.replace(scores, f"({scores}).masked_fill(~kept[1], -torch.inf)")
    assert last_word(capsys, mended.replace("* kept[1]", ""), names) == "True"
    assert last_word(capsys, cell("masked_fill(~kept[1], -torch.inf)"), names) == "True"


def _skip(key, answer):
    return reference(key)


def test_the_mask_the_other_way_round_is_the_fault(page, capsys):
    names = page | {"mine": _skip, "x": torch.randn(1, 3, 4, dtype=torch.float64)}
    for name in ("W_q", "W_k", "W_v", "W_o"):
        names[name] = torch.randn(4, 4, dtype=torch.float64)
    everything = torch.ones(1, 3, 3, dtype=torch.bool)
    weights = [names[name] for name in ("W_q", "W_k", "W_v", "W_o")]
    names["by_loop"] = heads_by_loop(names["x"], everything, *weights, 2)
    exec(cell('multi_head = mine("14.2", multi_head)'), names)
    exec(cell("library = nn.MultiheadAttention"), names)
    assert "False" not in capsys.readouterr().out  # as by loop; permuted first or afterwards
    shown = cell("key_padding_mask=real)")
    assert last_word(capsys, shown, names) == "False"
    assert names["theirs"].isnan().any(dim=2).any(dim=1).tolist() == [True, False]
    assert last_word(capsys, shown.replace("=real)", "=~real)"), names) == "True"


def test_patches_are_the_pieces_of_the_picture_in_reading_order(page):
    image = torch.arange(3 * 64 * 64.0).view(1, 3, 64, 64)
    pieces = page["patches"](image)
    assert pieces.shape == (1, 16, 768)
    for n in range(16):
        row, column = divmod(n, 4)
        piece = image[0, :, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        assert torch.equal(pieces[0, n].view(3, 16, 16), piece)


def test_only_two_causal_layers_tell_the_swap_apart(page):
    swapped = ["the cat chases the dog so the", "the dog chases the cat so the"]
    ids, _ = Vocabulary(swapped).batch(swapped)
    for seed in range(5):
        for layers in (1, 2):
            for causal in (False, True):
                torch.manual_seed(seed)
                network = page["Transformer"](9, layers=layers, causal=causal, positions=False)
                one, other = network(ids)[:, -1]
                same = torch.allclose(one, other, atol=1e-5)
                assert same == (not causal or layers == 1)


def test_one_causal_layer_knows_the_order_elsewhere(page):
    """Only the last word's state is a bag's; so Ada is right about that one."""
    swapped = ["the cat chases the dog so the", "the dog chases the cat so the"]
    ids, _ = Vocabulary(swapped).batch(swapped)
    torch.manual_seed(0)
    one, other = page["Transformer"](9, layers=1, positions=False).states(ids)
    assert torch.allclose(one[-1], other[-1], atol=1e-5)
    assert not torch.allclose(one[2], other[2], atol=1e-2)  # "chases"


def test_the_cost_is_counted_whatever_the_reader_wrote(page, capsys):
    """Sums without matrix products, and fused attention, are not counted; so PyTorch's layer is."""
    exec(cell('verify("14.3"'), dict(page))
    shown = capsys.readouterr().out
    assert "equation 14.3 holds" in shown


def test_no_guess_sees_its_answer(page):
    """A later word changes no earlier logit of a causal network; without the mask it does."""
    ids = torch.tensor([[2, 3, 4, 5, 0], [2, 3, 4, 6, 0]])
    for causal in (True, False):
        torch.manual_seed(0)
        one, other = page["Transformer"](9, causal=causal)(ids)
        assert torch.allclose(one[:3], other[:3], atol=1e-6) == causal


def test_sentences_are_what_their_labels_say(page, text):
    texts, labels, endings = page["chases"](300, 1)
    assert torch.equal(labels, endings)
    for one, label in zip(texts, labels):
        before, after = one.split(" chases the ")
        assert before.endswith(page["ANIMALS"][label]) and page["ANIMALS"][label] not in after
        assert one.endswith("so the")
    for seed in range(5):
        known = page["chases"](1000, 10 * seed)[0]
        fresh, labels = page["unseen"](1000, 10 * seed + 2, known)
        assert len(fresh) == len(labels) == 1000
        assert not {str(sorted(one.split())) for one in fresh} & {
            str(sorted(one.split())) for one in known
        }
        assert all(f"{page['ANIMALS'][n]} chases" in one for one, n in zip(fresh, labels))
    assert "1,000 others, none of them one of the first with its words reordered" in text
    _, labels, endings = page["chases"](2000, 1, useful=False)
    assert (labels == endings).double().mean().item() == pytest.approx(0.25, abs=0.04)


def test_real_captions_have_a_form_and_hold_together():
    sweeps, scenes = load("14", "sweeps"), Scenes("test", size=400, objects=(2, 3))
    texts = [scenes[i]["caption"] for i in range(400)]
    assert sweeps.written(texts) == {"form": 1.0, "holds": 1.0}
    apart = "a red circle and a blue square; the red circle is above the pink cross"
    assert sweeps.FORMS.fullmatch(apart) and sweeps.holds(apart) is False
    assert sweeps.holds(apart.replace("pink cross", "blue square")) is True
    assert sweeps.holds(apart.replace("pink cross", "red circle")) is False
    assert sweeps.holds("a red circle") is None
    for wrong in ("a red", "red circle", "a circle red", "a circle is above", "a cross, a cross"):
        assert not sweeps.FORMS.fullmatch(wrong)


def test_where_the_last_word_of_the_widget_looks(page, text):
    names = dict(page)
    names["first"], names["first_words"], rows = page["train_chases"](0, positions=False)
    assert rows[-1][0] == pytest.approx(of("order", "language model, no positions, 2")[0], abs=0.03)
    exec(cell("def watch(sentence, head, mask)"), names)
    for sentence, animal in zip(names["ASKED"][:2], ("cat", "dog")):
        found, said_next = names["watch"](sentence, 5, "causal")
        assert found[-1].argmax() == 3 and said_next == animal
        assert torch.allclose(found.sum(dim=1), torch.ones(7)) and not found.triu(1).any()
    assert 'lets the last word look at the second "the"' in text


def test_runs_made_again_agree(page):
    _, _, rows = page["train_chases"](1, epochs=12, every_word=False, causal=True, positions=False)
    assert rows[-1][0] == pytest.approx(of("order", "causal, no positions, 2")[1], abs=0.03)
    # were the ending seen in training, 92 %
    _, _, rows = page["train_chases"](1, epochs=12, every_word=False, causal=False, layers=1)
    assert rows[-1][0] == pytest.approx(of("order", "sees all, positions, 1")[1], abs=0.03)
    _, _, loss = page["train_gpt"](1)
    assert loss == pytest.approx(stored("14", "captions")["GPT"]["loss"][1], abs=0.03)


# ---- what the page says of its stored runs ----


@pytest.fixture(scope="module")
def text():
    return said("14")


def of(name, row):
    return stored("14", name)[row]["accuracy"]


def percent(runs):
    return mean_interval([100 * run for run in runs])


def test_pictures_in_numbers(text):
    assert round(percent(of("pictures", "colour, no positions"))[0]) == 100
    mean, half = percent(of("pictures", "half, no positions"))
    assert f"is not: {mean:.0f} ± {half:.0f} %, no more than a rule's 56.5" in text
    assert abs(mean - 56.5) < half
    mean, half = percent(of("pictures", "half, positions"))
    assert f"it is {mean:.0f} ± {half:.0f}. With pictures" in text
    mean, half = percent(of("pictures", "half, positions, pictures shuffled"))
    assert f"shuffled among the labels it is {mean:.0f}." in text and abs(mean - 50) < 2 * half


def test_the_bet_in_numbers(text):
    def row(name, layers):
        return percent(of("order", f"{name} positions, {layers}"))

    for name in ("sees all, no", "causal, no", "language model, no"):
        mean, half = row(name, 1)
        assert mean - half < 50 < mean + half, name
    mean, half = row("sees all, no", 2)
    assert mean - half < 50 < mean + half
    for name, layers in (
        ("causal, no", 2),
        ("language model, no", 2),
        ("sees all,", 1),
        ("sees all,", 2),
        ("causal,", 1),
        ("causal,", 2),
        ("language model,", 1),
        ("language model,", 2),
    ):
        assert row(name, layers)[0] > 99.5
    assert 'outcome("13.c", "Ben")' in text
    assert "with one Ada is right about the last word" in text and "that stays at 50" in text


def leap(curve):
    """The epoch from which on the accuracy is above 90 %."""
    return next(n for n in range(len(curve)) if min(curve[n:]) > 0.9)


def test_training_leaps_at_another_epoch_in_each_seed(text):
    without = stored("14", "order")["language model, no positions, 2"]
    places = [leap(curve) for curve in without["by_epoch"]]
    assert sorted(place + 1 for place in places) == [6, 7, 9, 9, 10]
    assert "the accuracy leaps, between epochs 6 and 10 by seed" in text
    assert "leapt between epochs 6 and 10" in text
    for curve in without["by_epoch"]:
        steps = [after - before for before, after in zip(curve, curve[1:])]
        assert max(steps) > 0.25 and all(value < 0.45 for value in curve[:3])
    assert "Ours come with positions, too, and then in *one* layer as well (stored)" in text
    for layers in (1, 2):
        for curve in stored("14", "order")[f"language model, positions, {layers}"]["by_epoch"]:
            rises = [later - before for before, later in zip(curve, curve[3:])]
            assert max(rises) > 0.4 and curve[-1] > 0.99 and max(curve[:5]) < 0.5
    # "the loss of all words hardly shows it": what it falls by after the plateau
    for losses, curve in zip(without["loss"], without["by_epoch"]):
        assert losses[0] - losses[3] > 5 * (losses[leap(curve) - 1] - losses[leap(curve)])


def test_captions_in_numbers(text):
    rows = stored("14", "captions")
    mean = {name: sum(row["loss"]) / 5 for name, row in rows.items()}
    assert f"the loss is {mean['GPT, words shuffled'] - mean['GPT']:.1f} nats higher" in text
    assert 0.5 < mean["pairs counted"] - mean["GPT"] < 0.56
    assert "more than one word back is worth half a nat" in text
    forms, holds = (percent(rows["GPT"]["accuracy"][kind]) for kind in ("form", "holds"))
    assert forms[0] > 90 and "right in more than nine of ten texts" in text
    assert 100 / 34 < holds[0] < 100 / 27 and "in about one of thirty" in text
    both = [
        [value / 100 for value in rows[name]["loss"]] for name in ("GPT without positions", "GPT")
    ]
    more, half = gain(*both)
    assert more - half < 0 < more + half or more < 0
    assert "Without positions it is no worse, as far as five seeds show" in text


def test_the_last_word_in_numbers(text):
    assert set(of("feature", "the one that chases: last word")) == {1.0}
    mean, half = percent(of("feature", "any animal: last word"))
    assert f"{mean:.0f} ± {half:.0f} where it may be any animal" in text
    more = percent(of("feature", "any animal, 1,000 sentences: last word"))[0]
    assert f"from 1,000 sentences a probe reads {more:.0f} %" in text
    mean, half = gain(
        of("feature", "the one that chases: last word"), of("feature", "any animal: last word")
    )
    assert mean - half > 0
    for kind in ("any animal", "the one that chases"):
        assert min(of("feature", f"{kind}: mean")) > 0.98
        first, half = percent(of("feature", f"{kind}: first word"))
        assert first - half < 25 < first + half
    assert "The first word, which has read only itself, is at chance" in text
