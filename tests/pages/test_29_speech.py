"""What page 29 goes on with of the reader's own code, what its faults are, and what it says of its
stored runs.
"""

import sys
from functools import partial
from itertools import groupby, product

import numpy as np
import pytest
import torch
from reading import gain, printed, said, the_cell
from torch.nn import functional as F

from course_utils.exercises import reference
from course_utils.metrics import mean_interval
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

cell = partial(the_cell, "29")


@pytest.fixture(scope="module")
def page():
    return measured_cells("29")


@pytest.fixture(scope="module")
def asked():
    return stored("29", "strangers")


@pytest.fixture(scope="module")
def noise():
    return stored("29", "noise")


@pytest.fixture(scope="module")
def kept():
    return stored("29", "voices")


# ---- the reader's own code ----


def by_shifts(log_probs, targets, frames, letters):
    B, T, _ = log_probs.shape
    z = F.pad(torch.stack([torch.zeros_like(targets), targets], 2).flatten(1), (0, 1))
    never = log_probs.new_full((B, 2), -1e30)
    same = torch.cat([z[:, :2] == z[:, :2], z[:, 2:] == z[:, :-2]], 1)
    alpha = torch.cat([log_probs[:, 0].gather(1, z[:, :2]), never.expand(B, 2)], 1)
    alpha = F.pad(alpha, (0, z.shape[1] - 4), value=-1e30)[:, : z.shape[1]]
    for t in range(1, T):
        longer = torch.cat([never, alpha], 1)
        jump = torch.where(same, -1e30, longer[:, :-2])
        new = torch.logaddexp(torch.logaddexp(alpha, longer[:, 1:-1]), jump)
        new = new + log_probs[:, t].gather(1, z)
        alpha = torch.where((frames > t)[:, None], new, alpha)
    ends = torch.stack([2 * letters - 1, 2 * letters], 1)
    return alpha.gather(1, ends).logsumexp(1)


def by_groups(log_probs, frames):
    paths = log_probs.argmax(2).tolist()
    return [[k for k, _ in groupby(path[:n]) if k] for path, n in zip(paths, frames.tolist())]


@pytest.mark.parametrize("key, answer", [("29.1", by_shifts), ("29.2", by_groups)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_a_loop_over_rows_does_not_slow_the_training(accepted):
    one = reference("29.1")

    def by_rows(log_probs, targets, frames, letters):
        rows = zip(log_probs, targets, frames, letters)
        return torch.stack([one(x[None], y[None], t[None], n[None])[0] for x, y, t, n in rows])

    taken, words = accepted("29.1", by_rows)
    assert taken is reference("29.1") and "times as long" in words


def test_the_recursion_is_pytorch_s():
    draw = torch.Generator().manual_seed(3)
    logs = torch.randn(3, 20, 5, generator=draw, dtype=torch.float64).log_softmax(2)
    targets = torch.randint(1, 5, (3, 6), generator=draw)
    sizes = torch.tensor([20, 17, 14]), torch.tensor([6, 5, 1])
    theirs = F.ctc_loss(logs.transpose(0, 1), targets, *sizes, reduction="none")
    assert torch.allclose(reference("29.1")(logs, targets, *sizes), -theirs)


# ---- the page's own code ----


def test_the_fault_is_one_and_its_mending_mends(capsys):
    one_row = torch.tensor([4]), torch.tensor([2])
    names = {"torch": torch, "F": F, "ee": torch.tensor([[1, 1]]), "one_row": one_row}
    assert printed(capsys, cell('tags=["fault"]', "F.ctc_loss"), dict(names)) == "False"
    assert printed(capsys, cell("log_softmax(dim=2)         # (T, B, C)"), dict(names)) == "True"


def test_a_wide_beam_finds_the_likeliest_text():
    draw = torch.Generator().manual_seed(0)
    for _ in range(10):
        logs = (2 * torch.randn(4, 3, generator=draw)).log_softmax(1)
        texts = {}
        for path in product(range(3), repeat=4):
            text = tuple(k for k, _ in groupby(path) if k)
            chance = sum(logs[t, k].item() for t, k in enumerate(path))
            texts[text] = np.logaddexp(texts.get(text, -np.inf), chance)
        best = max(texts, key=texts.get)
        assert load("29", "sweeps").beam_one(logs, width=99, most=3) == list(best)


def test_padding_moves_nothing(page):
    torch.manual_seed(0)
    hears = page["Recogniser"]().eval()
    frames = torch.randn(1, 41, 40)
    longer = F.pad(frames, (0, 0, 0, 30), value=5.0)
    alone, count = hears(frames, torch.ones(1, 41).bool())
    padded, same = hears(
        torch.where(torch.arange(71)[:, None] < 41, longer, 0.0), torch.arange(71)[None] < 41
    )
    assert count.tolist() == same.tolist() == [21]
    assert torch.allclose(alone, padded[:, :21], atol=1e-5)


def test_noise_has_the_level_that_it_is_said_to_have(page):
    sound = torch.randn(2, 40_000)
    there = torch.arange(40_000) < torch.tensor([[40_000], [20_000]])
    part = {
        "sound": sound * there,
        "there": there,
        "image": torch.zeros(2, 256),
        "label": torch.zeros(2).long(),
    }
    seen = []
    true = page["frames_of"]
    page["in_noise"].__globals__["frames_of"] = lambda noisy, mask: (
        seen.append(noisy) or true(noisy, mask)
    )
    page["in_noise"](part, (-10.0,), 0)
    page["in_noise"].__globals__["frames_of"] = true
    noise = seen[0] - part["sound"]
    for row, mask in enumerate(there):
        ratio = part["sound"][row][mask].square().mean() / noise[row][mask].square().mean()
        assert 10 * ratio.log10() == pytest.approx(-10, abs=0.2)
        assert not noise[row][~mask].any()


def test_voices_and_takes_never_cross(page):
    voices = {split: {v for v, _ in page["voices_of"](split)} for split in ("train", "test")}
    assert len(voices["train"]) == 40 and len(voices["test"]) == 10
    assert not voices["train"] & voices["test"]


@pytest.mark.parametrize(
    "told, right",
    [
        ("one two", [True, True]),
        ("one", [True, False]),
        ("two", [False, True]),
        ("on two", [False, True]),
        ("nine one two", [True, True]),
        ("onetwo", [False, False]),
        ("", [False, False]),
    ],
)
def test_which_words_are_right(told, right):
    assert load("29", "sweeps").right_words(told.split(), ["one", "two"]) == right


# ---- what the page says ----


def explained(table):
    apart = table - table.mean()
    speaker = table.shape[1] * (apart.mean(1) ** 2).sum() / (apart**2).sum()
    digit = table.shape[0] * (apart.mean(0) ** 2).sum() / (apart**2).sum()
    return 100 * speaker, 100 * digit


def the_table(row, trainings=range(15)):
    which, wrong = np.array(row["who"]), np.array(row["wrong"])
    used = np.isin(which[:, 0], [*trainings])
    return np.stack([wrong[used & (which[:, 1] == who)].mean(0) for who in range(6)])


def by_person(row, values):
    who = np.array(row["who"])[:, 1]
    return [np.array(values)[who == one].mean() for one in range(6)]


def known_wrong(asked):
    """WER of the people whom each of the fifteen networks knows."""
    row = asked["known, greedy"]
    which, wrong = np.array(row["who"])[:, 0], 1 - np.array(row["accuracy"])
    return [100 * wrong[which == k].mean() for k in range(15)]


def test_the_bet(asked):
    words = said("29")
    speaker, digit = explained(the_table(asked["stranger, greedy"]))
    assert f"accounts for {speaker:.1f} % of the variation of this table" in words
    assert f"which digit for {digit:.1f} %" in words
    assert f"speaker {speaker:.1f} %, digit {digit:.1f}, of which chance alone" in words
    assert speaker > digit and 'outcome("28.c", "Ada")' in words
    snapped = explained(the_table(asked["stranger, snapped"]))
    assert "for {:.0f} and {:.0f} %".format(*snapped) in words
    assert speaker / 5 == pytest.approx(2 * digit / 9, rel=0.2)
    assert 58 < 100 - speaker - digit < 62 and "Sixty per cent is neither" in words


def test_chance_gives_the_digit_more_than_the_speaker(asked):
    draw, table = np.random.default_rng(1), the_table(asked["stranger, greedy"])
    true = explained(table)
    by_chance = [
        [explained(draw.permuted(table, axis=axis))[axis] for _ in range(4000)] for axis in (0, 1)
    ]
    assert [round(np.mean(shares)) for shares in by_chance] == [8, 13]
    assert "the digit keeps 13 %" in said("29") and "the speaker keeps 8 %" in said("29")
    often = [np.mean(np.array(shares) >= share) for shares, share in zip(by_chance, true)]
    assert often == pytest.approx([1 / 50, 1 / 7], abs=0.012)
    assert "chance alone gives 8 and 13" in said("29")


def test_other_networks_could_turn_the_bet(asked):
    row, draw = asked["stranger, greedy"], np.random.default_rng(1)
    who = np.array(row["who"])[:, 1]
    of_each = np.stack([np.array(row["wrong"])[who == one] for one in range(6)])  # (6, 5, 10)
    drawn = [of_each[np.arange(6)[:, None], draw.integers(5, size=(6, 5))] for _ in range(4000)]
    ahead = np.mean([speaker < digit for speaker, digit in (explained(d.mean(1)) for d in drawn)])
    assert 0.28 < ahead < 0.38 and "in a third of the draws the digit is ahead" in said("29")


def test_for_each_way_to_differ_the_speaker_stays_ahead(asked):
    table = the_table(asked["stranger, greedy"])
    for who in range(6):
        speaker, digit = explained(np.delete(table, who, 0))
        assert speaker / 4 > digit / 9
    assert "whichever of the six we leave out" in said("29")


def test_the_bet_hangs_on_single_people(asked):
    for name, count in (("greedy", 4), ("snapped", 1)):
        table = the_table(asked[f"stranger, {name}"])
        shares = [explained(np.delete(table, who, 0)) for who in range(6)]
        assert sum(digit > speaker for speaker, digit in shares) == count
    assert "the digit is then ahead in four cases of six; snapped, in one" in said("29")


def test_strangers_have_digits_of_their_own(asked):
    table = the_table(asked["stranger, greedy"])
    assert table[4, 2] > 0.95 and table[4, 6] < 0.1  # stranger 5: "two", "six"
    assert table[3, 6] > 0.8 and table[3, 9] < 0.2  # stranger 4: "six", "nine"
    rests = []
    for trainings in (range(0, 15, 2), range(1, 15, 2)):
        half = the_table(asked["stranger, greedy"], trainings)
        rests.append((half - half.mean(1, keepdims=True) - half.mean(0) + half.mean()).ravel())
    assert f"a correlation of {np.corrcoef(*rests)[0, 1]:.2f}" in said("29")


def test_slow_trainings_do_not_decide_the_bet(asked):
    wrong = known_wrong(asked)
    slow = [k for k in range(15) if wrong[k] > 30]
    assert sorted(round(wrong[k]) for k in slow) == [59, 79]
    assert "they get wrong at 59 and 79 %, the others at most 16" in said("29")
    assert round(max(w for k, w in enumerate(wrong) if k not in slow)) == 16
    others = [k for k in range(15) if k not in slow]
    table = asked["stranger, greedy"]
    leads = []
    for left in ([k for k in range(15) if k != slow[0]], others):
        speaker, digit = explained(the_table(table, left))
        leads.append(round(speaker - digit, 1))
    assert leads == [-1.5, 2.6]
    assert "without both the speaker leads by 2.6 points" in said("29")
    assert "slow trainings alone: the digit leads by 1.5 points" in said("29")
    for name in ("stranger, greedy", "stranger, snapped"):
        moved = np.subtract(
            explained(the_table(asked[name])), explained(the_table(asked[name], others))
        )
        assert abs(moved).max() < 2


def test_strangers(asked):
    words, wrong = said("29"), {}
    for name in ("known, greedy", "stranger, greedy", "known, snapped", "stranger, snapped"):
        wrong[name] = by_person(asked[name], 1 - np.array(asked[name]["accuracy"]))
    means = {name: 100 * np.mean(values) for name, values in wrong.items()}
    greedy = f"{means['known, greedy']:.1f} to {means['stranger, greedy']:.1f} %"
    lead, half = gain(wrong["stranger, greedy"], wrong["known, greedy"], seeds=6)
    assert f"the WER rises from {greedy}, by {lead:.1f} ± {half:.1f} points" in words
    assert f"from {means['known, snapped']:.1f} to {means['stranger, snapped']:.1f}" in words
    usual = {}
    for name in ("known, greedy", "stranger, greedy"):
        which, off = np.array(asked[name]["who"]), 1 - np.array(asked[name]["accuracy"])
        fast = np.array(known_wrong(asked))[which[:, 0]] < 30
        usual[name] = [off[fast & (which[:, 1] == who)].mean() for who in range(6)]
    shares = [100 * np.mean(values) for values in usual.values()]
    assert "have a WER of {:.1f} %, strangers {:.1f}: the gap".format(*shares) in words
    assert "(without two slow trainings {1:.0f} and {0:.0f})".format(*shares) in words
    apart = gain(usual["stranger, greedy"], usual["known, greedy"], seeds=6)
    assert "the gap, {:.1f} ± {:.1f} points, stays".format(*apart) in words
    assert np.argmin(wrong["stranger, greedy"]) == 2 and "here it is person 3" in words
    low, high = min(wrong["stranger, greedy"]), max(wrong["stranger, greedy"])
    assert f"far apart, from {100 * low:.0f} to {100 * high:.0f} %" in words


def test_the_course_s_voices(kept):
    words = said("29")
    new, known = kept["new voices, greedy"]["WER"], kept["known voices, greedy"]["WER"]
    four = sorted(new)[:4]
    assert f"WER of {100 * four[0]:.0f} to {100 * four[-1]:.0f} %" in words
    assert f"the fifth with {100 * max(new):.0f}" in words
    assert f"it gets {100 * max(known):.0f} % of the words wrong (the others 2 to 3)" in words
    assert [round(100 * share) for share in sorted(known)[:4]] == [2, 2, 3, 3]
    beam, snapped = kept["new voices, beam"]["WER"], kept["new voices, snapped"]["WER"]
    assert max(a - b for a, b in zip(new, beam)) <= 0.0101
    for place, share in enumerate(new):
        if share < 0.5:
            assert 0.4 < snapped[place] / share < 0.6
    assert kept["texts shuffled, greedy"]["CER"] == [1.0] * 5
    rates = {name: row["CER"] for name, row in kept.items() if name.startswith("rate")}
    assert min(rates, key=rates.get) == "rate: 0.012" and "the largest of the four" in words
    assert kept["new voices, greedy"]["lr"] == 0.012 and "lr=0.012" in words


def test_the_judge(kept):
    def median(way, who):
        return 100 * np.median(kept[f"put together: {way}, {who} voices"]["CER"])

    same = median("as in training", "known"), median("as in training", "new")
    words = said("29")
    assert f"has a CER of {same[0]:.1f} % with voices that the judge knows" in words
    assert f"(by these very clips), and of {same[1]:.1f} with new ones" in words
    for who, before in zip(("known", "new"), same):
        assert median("no silence between", who) > before
        assert median("a quarter faster", who) > 20


def test_noise(noise):
    words = said("29")
    score = {name: row["accuracy"] for name, row in noise.items() if ":" not in name}

    def lead(one, other, at):
        return "{:.1f} ± {:.1f}".format(*gain(score[one][at], score[other][at]))

    clean, both, image = "both, trained clean", "both, trained in noise", "image"
    at = mean_interval([100 * v for v in score[clean]["-10"]])[0]
    assert f"has {at:.1f} % there: {lead(image, clean, '-10')} points *below*" in words
    assert f"above the picture alone by {lead(both, image, '0')} points at 0 dB" in words
    assert f"and {lead(both, image, '-10')} at -10" in words
    assert f"no longer at -15 ({lead(both, image, '-15')})" in words
    assert f"costs {lead(clean, both, 'inf')} points" in words
    heard = "sound, trained in noise"
    assert f"the picture gains {lead(both, heard, '-10')} points at -10 dB" in words
    assert f"and {lead(both, heard, 'inf')} in quiet" in words
    alone = mean_interval([100 * v for v in score[image]["-10"]])[0]
    assert f"with {alone:.1f} % at every level" in words
    for level in score[image]:
        mean, half = gain(score["both, in noise, sound shuffled"][level], score[image][level])
        assert mean - half < 0 or abs(mean) < 4


def test_the_picture_s_part_has_learned_less(noise):
    held = noise["both, trained clean, sound held"]["accuracy"]["-10"]
    lead, half = gain(noise["image"]["accuracy"]["-10"], held)
    share = 100 * np.mean(held)
    assert f"these networks have {share:.1f} %, still {lead:.1f} ± {half:.1f} below" in said("29")
    assert lead - half > 0


def test_one_rate_of_the_noise_stands_at_the_edge_and_the_page_says_so(noise):
    edge = [name for name, row in noise.items() if ":" not in name and row["lr"] in (1e-3, 3e-2)]
    assert edge == ["sound, trained clean"]
    assert "that of the clean sound alone, is the largest one tried" in said("29")
