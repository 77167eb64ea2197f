"""What page 27 goes on with of the reader's own code, what its faults are, and what it says of its
stored runs.
"""

import sys
from functools import partial

import numpy as np
import pytest
import torch
from reading import gain, printed, said, the_cell
from torch import nn

from course_utils.datasets import Moods
from course_utils.datasets.moods import ceilings
from course_utils.exercises import reference
from course_utils.masks import pad
from course_utils.metrics import mean_interval
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT, seed_everything

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

cell = partial(the_cell, "27")
TEST = "test posts, first split"

# ---- the reader's own code ----


def by_ones(ratings, mask):
    there, yes = torch.where(mask, ratings, 0), mask.to(ratings)
    apart = 1 - torch.eye(mask.shape[1], dtype=ratings.dtype)
    return yes * (there @ apart) / (yes @ apart).clamp(min=1)


def only_those_there(lstm, steps, mask):
    lengths, order = mask.sum(1).sort(descending=True)
    some = order[lengths > 0]
    packed = nn.utils.rnn.pack_padded_sequence(
        steps[some], lengths[lengths > 0].tolist(), batch_first=True
    )
    state = lstm(packed)[1][0].permute(1, 0, 2).flatten(1)
    return state.new_zeros(len(steps), state.shape[1]).index_copy(0, some, state)


@pytest.mark.parametrize("key, answer", [("27.1", by_ones), ("27.2", only_those_there)])
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


@pytest.mark.parametrize("seed", range(3))
def test_gathering_at_the_own_end_is_packing_in_one_direction_alone(seed):
    seed_everything(seed)
    steps, mask = torch.randn(5, 6, 2), torch.arange(6) < torch.tensor([3, 6, 1, 4, 2])[:, None]
    gather, end = load("27", "sweeps").own_end, load("27", "sweeps").left_end
    one = nn.LSTM(2, 3, batch_first=True)
    assert torch.allclose(gather(one, steps, mask), reference("27.2")(one, steps, mask), atol=1e-6)
    two = nn.LSTM(2, 3, batch_first=True, bidirectional=True)
    other = reference("27.2")(two, steps, mask)
    assert not torch.allclose(gather(two, steps, mask), other, atol=1e-3)
    # padding before the steps: the longest row is read as packed
    assert torch.allclose(end(one, steps, mask)[1], reference("27.2")(one, steps, mask)[1])


def test_the_left_end_puts_the_padding_first():
    steps, mask = pad([torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0], [5.0]])])
    seen = []

    def lstm(moved):
        seen.append(moved)
        return moved, None

    load("27", "sweeps").left_end(lstm, steps, mask)
    assert seen[0][..., 0].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


# ---- what stands in its cells ----


def test_a_missing_emoticon_is_no_neutral_one(capsys):
    names = {"torch": torch}
    assert printed(capsys, cell("fused = says.mean(dim=1)"), names) == "False"
    assert names["fused"].item() == 1 and "It says 1.0." in said("27")
    assert printed(capsys, cell("has.sum(dim=1)"), names) == "True"
    # where both are there the line is right
    sound = cell("fused = says.mean(dim=1)").replace("[[2.0, 0.0]]", "[[2.0, 2.0]]")
    assert printed(capsys, sound, {"torch": torch}) == "True"


def test_a_column_against_a_row_is_a_table():
    assert (torch.zeros(3, 1) - torch.zeros(3)).shape == (3, 3)
    with pytest.raises(ValueError, match="must be the same"):
        nn.BCEWithLogitsLoss()(torch.zeros(3, 1), torch.zeros(3))
    with pytest.warns(UserWarning, match="target size"):
        nn.MSELoss()(torch.zeros(3, 1), torch.zeros(3))


def test_a_batch_is_taken_for_time(capsys):
    names = {"torch": torch, "nn": nn}
    assert printed(capsys, cell("lstm = nn.LSTM(2, 3)\n"), names) == "False"
    assert printed(capsys, cell("lstm = nn.LSTM(2, 3, batch_first=True)"), names) == "True"


def test_without_time_a_batch_is_one_sequence():
    seed_everything(0)
    lstm, rows = nn.LSTM(2, 3, batch_first=True), torch.randn(4, 2)
    assert torch.allclose(lstm(rows)[0], lstm(rows[None])[0][0], atol=1e-6)


def test_a_state_is_read_at_the_padding(capsys):
    steps, mask = pad([torch.ones(2, 1), torch.tensor([[1.0], [1.0], [-1.0], [2.0]])])
    names = {
        "torch": torch,
        "nn": nn,
        "seed_everything": seed_everything,
        "packed_last": reference("27.2"),
        "steps": steps,
        "mask": mask,
    }
    fault = cell("beside = lstm(steps)[0][:, -1]")
    assert printed(capsys, fault, names) == "False"
    assert printed(capsys, cell("beside = packed_last(lstm, steps, mask)"), names) == "True"
    # beside a clip of its own length the line is right
    names |= {"steps": steps[:, :2], "mask": mask[:, :2]}
    assert printed(capsys, fault, names) == "True"


@pytest.fixture(scope="module")
def page():
    return measured_cells("27")


@pytest.mark.parametrize("hertz", [100.0, 160.0, 250.0])
def test_pitch_is_the_pitch(page, hertz):
    time = torch.arange(8_000) / 8_000
    wave = sum((2 * torch.pi * hertz * k * time).sin() / k for k in (1, 2, 3, 4)) / 3
    log_pitch, sounding, heard = page["pitch"]([wave, wave[:3_000]])
    inside = sounding.clone()
    inside[:, [0, -1]] = False
    assert sounding.sum() > 20 and not (sounding & ~heard).any()
    assert (log_pitch[inside].exp() / hertz - 1).abs().median() < 0.06
    noise = 0.3 * torch.randn(8_000, generator=torch.Generator().manual_seed(0))
    assert page["pitch"]([noise])[1].double().mean() < 0.1


def test_a_melody_is_centred_by_voice_and_knows_no_tone(page):
    part = page["melodies"]("test")
    for voice in part["voice"].unique():
        own = part["steps"][part["voice"] == voice]
        assert abs(own[..., 0].sum() / own[..., 1].sum()) < 1e-4
    assert part["tone"].bincount().tolist() == [36, 36, 36]
    assert not part["steps"][~part["mask"]].any()


def test_the_library_net_is_alone_as_in_a_batch(page):
    seed_everything(0)
    net, words, sounds = page["WordsAndVoice"](), torch.randn(3, 5, 1), torch.randn(3, 9, 2)
    many = net(words, torch.tensor([5, 2, 3]), sounds, torch.tensor([4, 9, 7]))
    alone = net(words[1:2, :2], torch.tensor([2]), sounds[1:2], torch.tensor([9]))
    assert many.shape == (3,) and torch.allclose(many[1], alone[0], atol=1e-6)


# ---- what the page says of its stored runs ----


@pytest.fixture(scope="module")
def text():
    return said("27")


def row(sweep, name, what):
    found = stored("27", sweep)[name]
    return found[what] if what in found else found["accuracy"][what]


def apart(sweep, one, other, what, scale=1.0, digits=2):
    """The mean difference as the page writes it, and whether it is clear of 0."""
    pairs = zip(row(sweep, one, what), row(sweep, other, what))
    middle, half = mean_interval([scale * (a - b) for a, b in pairs])
    return f"{middle:.{digits}f} ± {half:.{digits}f}", abs(middle) > half


def test_the_bet_in_numbers(text):
    lead, clear = apart("posts", "one person", "word list", "mae")
    assert f"the list's error is {lead} smaller" in text and clear
    same, clear = apart("posts", "one person", "word list, against the others", "mae")
    assert f"it leads by {same}." in text and clear
    assert f"by {same.split()[0]} against means that leave one rater out;" in text  # the recap
    rest = "word list, against the others"
    lined, clear = apart("posts", "one person, on a line", rest, "mae")
    assert f"no lead is shown: {lined}." in text and not clear
    assert not apart("posts", "one person, on a line", "word list", "mae")[1]
    assert not apart("posts", "one person", rest, "r")[1]
    r, clear = apart("posts", "one person", "word list", "r")
    assert f"no difference either: {r}." in text and not clear
    _, clear = apart("posts", "MiniLM", "word list", "mae")
    best, better = apart("posts", "word list", "word list and MiniLM", "mae")
    assert clear and better and float(best.split()[0]) > 0


def test_the_facts_of_the_messages(text):
    facts = stored("27", "posts")["facts"]
    assert facts["posts"] == 4200 and facts["raters, fewest and most"][0] == 20
    assert "4,200 short messages, each rated by at least 20 people" in text
    assert "2,940 rated messages" in text  # seven tenths


def test_two_people_are_nearer(text):
    for name in ("word list", "word list and MiniLM"):
        lead, clear = apart("posts", "2 people", name, "mae")
        assert lead.startswith("-")
        assert clear or name == "word list and MiniLM"
    for k in (2, 3, 5, 10):
        assert mean_interval(row("posts", f"{k} people", "mae"))[0] < 0.52


def test_oneself_flatters():
    some = stored("27", "posts")[TEST]
    ratings, there = pad([torch.tensor(one, dtype=torch.float64) for one in some["ratings"]])
    others = reference("27.1")(ratings, there)
    own = (ratings - others).abs()[there].mean()
    everyone = (ratings * there).sum(1, keepdim=True) / there.sum(1, keepdim=True)
    assert (ratings - everyone).abs()[there].mean() < own
    assert len(some["published"]) == len(some["word list"]) == len(some["MiniLM"]) == 120


def test_three_messages_that_go_wrong():
    some = stored("27", "posts")[TEST]
    published, listed, mini = (some[who] for who in ("published", "word list", "MiniLM"))
    assert "LOL" in some["texts"]["15"] and listed[15] - published[15] > 1.5
    assert published[102] < -1 < 0 < mini[102]
    for easy in (17, 45, 55):
        assert np.sign(published[easy]) == np.sign(listed[easy]) == np.sign(mini[easy])


def test_emoticons_in_numbers(text):
    more, clear = apart("emoticons", "emoticon", "together", "mae")
    assert f"nearer by another {more} than the emoticon" in text and clear
    assert apart("emoticons", "text, on a line fitted on these", "emoticon", "mae")[1]
    _, shown = apart("emoticons", "together, shuffled", "text, on a line fitted on these", "mae")
    assert not shown
    cost, clear = apart(
        "emoticons", "without emoticon: mean with 0", "without emoticon: text", "mae"
    )
    assert f"the mean without a mask costs {cost}" in text and clear
    assert row("emoticons", "without emoticon: mean with 0", "sign") == row(
        "emoticons", "without emoticon: text", "sign"
    )
    signs = "without emoticon: mean with the emoticons' mean"
    assert apart("emoticons", "without emoticon: text", signs, "sign")[1]
    wrong = "together, another's emoticon at the test"
    assert apart("emoticons", wrong, "text, on a line fitted on these", "mae")[1]
    clash = stored("27", "emoticons")["words against emoticon"]
    assert sum(clash["posts"]) / 5 == 10 and round(sum(clash["emoticon_right"]) / 5) == 7
    shares = sum(row("emoticons", "facts", "posts")) / 5 / 840
    assert 1 / 7 < shares < 1 / 6 and "One message in six or seven" in text


def test_moods_in_numbers(text):
    def right(name):
        return [100 * value for value in row("moods", name, "right")]

    whole = "words + tone + emoji"
    middle, half = mean_interval(right(whole))
    best = ceilings()["words", "tone", "emoji"]
    assert f"Together {middle:.1f} ± {half:.1f} %, where {100 * best:.1f} are possible" in text
    single = [max(values) for values in zip(*(right(name) for name in ("words", "tone", "emoji")))]
    middle, half = mean_interval([a - b for a, b in zip(right(whole), single)])
    assert f"{middle:.1f} ± {half:.1f} points above the best single modality of each" in text
    low, high = row("moods", "all, lead over the best single, by voices", "interval")
    assert f"between {100 * low:.1f} and {100 * high:.1f}." in text
    words = {}
    for name in ("words", "emoji", "tone"):
        lost, clear = apart("moods", whole, f"all, {name} shuffled", "right", 100, 1)
        words[name] = lost
        assert clear
    assert (
        f"{words['words']} points without the words, {words['emoji']} without the emoji,"
        f" {words['tone']} without the tone" in text
    )
    for name in ("words", "emoji"):  # the tone adds least
        more, clear = apart("moods", "all, tone shuffled", f"all, {name} shuffled", "right")
        assert clear and not more.startswith("-")
    adds, clear = apart("moods", whole, "words + emoji", "right", 100, 1)
    assert f"adds to words and emoji, too: {adds}." in text and clear
    assert f"the same regression has {mean_interval(right('signs'))[0]:.1f} %" in text
    coin, half = mean_interval(right("bag of words learned here"))
    assert f"no better than chance, {coin:.1f} ± {half:.1f}." in text and coin - half < 50
    lent, clear = apart("moods", "words", "MiniLM learned here", "right", 100, 1)
    assert f"({lent} points apart)" in text and not clear
    clash = stored("27", "moods")["all, where words and tone disagree"]
    sizes = sorted(clash["samples"]), sorted(clash["clips"])
    assert (
        f"{sizes[0][0]:.0f} to {sizes[0][-1]:.0f} samples of 600, on {sizes[1][0]:.0f} to"
        f" {sizes[1][-1]:.0f} clips" in text
    )
    for name in (("words",), ("tone",), ("emoji",), ("words", "tone"), ("words", "tone", "emoji")):
        assert mean_interval(right(" + ".join(name)))[0] < 100 * ceilings()[name] + 1.5


def test_the_bare_sign_of_the_lent_score_does_as_well():
    score = stored("27", "read_sentences")["sentences"]["score"]
    for seed, right in enumerate(row("moods", "words", "right")):
        drawn = Moods("test", seed=seed)
        sign = torch.tensor([score[text] > 0 for text in drawn.texts])
        assert abs((sign == drawn.labels).double().mean().item() - right) < 1e-3


def test_a_voice_has_three_clips_of_each_tone_and_no_sentence_twice(page):
    own = [row for row in page["ROWS"] if row["voice"] == page["ROWS"][-1]["voice"]]
    assert sorted(row["tone"] for row in own) == [-1] * 3 + [0] * 3 + [1] * 3
    assert len({row["text"] for row in own}) == 9
    first = [row for row in page["ROWS"] if row["split"] == "test"][:3]
    assert [row["tone"] for row in first] == [-1, 0, 1]  # the three of the first figure
    assert {row["words"] for row in first} == {-1} and len({row["voice"] for row in first}) == 1
    low, plain, high = (row["text"] for row in first)
    assert f'High it says "{high}", as it is "{plain}", low "{low}"' in said("27")


def test_all_three_are_above_each_pair():
    for pair in ("words + tone", "words + emoji", "tone + emoji"):
        more, clear = apart("moods", "words + tone + emoji", pair, "right")
        assert clear and not more.startswith("-")


def test_two_lstms_in_numbers(text):
    for name, words in (
        ("two LSTMs", "this has {} %"),
        ("bag of words' weights + tone", "have {}:"),
    ):
        middle, half = mean_interval([100 * v for v in row("moods", name, "right")])
        assert words.format(f"{middle:.1f} ± {half:.1f}") in text
    staged, clear = apart("moods", "bag of words' weights + tone", "two LSTMs", "right", 100, 1)
    assert f"{staged} points apart, so no difference is shown" in text and not clear


def test_another_place_in_numbers(text):
    for domain, name in (("film", "films"), ("products", "products")):
        ahead, clear = apart(
            "shift", f"{domain}: learned there", f"{domain}: learned from posts", "r"
        )
        assert f"{ahead} on {name}" in text and clear
        lower, clear = apart("shift", f"{domain}: learned from posts", f"{domain}: word list", "r")
        assert clear and not lower.startswith("-")
        few, clear = apart(
            "shift", f"{domain}: learned there, 2595", f"{domain}: learned from posts", "r"
        )
        assert clear and not few.startswith("-")
    for name, r in (("posts", "0.81"), ("film", "0.67")):
        assert f"{mean_interval(row('shift', f'{name}: learned there', 'r'))[0]:.2f}" == r
    assert "learned *there*, too: 0.67 after 0.81." in text
    fewer, clear = apart("shift", "film: learned there, 2595", "film: learned from posts", "r")
    assert f"from 2,595 of its sentences, fewer than the 2,940 messages, {fewer}" in text


def test_heads_in_numbers(text):
    r, clear = apart("heads", "rating", "sign", "r")
    assert f"costs {r} of r" in text and clear
    mae, clear = apart("heads", "sign", "rating", "mae")
    assert f"and {mae} of error" in text and clear
    sign, clear = apart("heads", "sign", "rating", "sign", 100, 1)
    assert f"right signs differ by {sign} points" in text and not clear
    both, clear = apart("heads", "both", "rating", "mae")
    assert f"Both heads on one trunk: {both} of error" in text and not clear


def test_tones_in_numbers(text):
    seeds = stored("27", "tone")["packed"]["accuracy"]
    assert len(seeds) == 10 and "ten seeds" in text

    def points(name):
        rows = row("tone", "packed", "accuracy"), row("tone", name, "accuracy")
        middle, half = gain(*rows, seeds=10)
        return f"{middle:.1f} ± {half:.1f}", middle > half

    lost, clear = points("read at the padding")
    assert f"the state at the padding costs {lost} points" in text and clear
    assert f"the state at the padding costs {lost.split()[0]} points, and" in text  # the recap
    low, high = row("tone", "read at the padding", "packed leads, by voices")
    assert f"from {100 * low:.1f} to {100 * high:.1f}" in text and low > 0
    read = row("tone", "read at the padding", "accuracy")
    runs = [100 * (a - b) for a, b in zip(seeds, read)]
    assert f"(single runs: from {min(runs):.0f} to {max(runs):.0f};" in text
    left, clear = points("padding on the left")
    assert f"no loss is shown: {left}." in text and not clear
    mean, clear = points("mean over the steps")
    assert f"over the real steps: {mean}." in text and not clear
    # no row has most of its rates at the top of the grid
    highest = max(load("27", "sweeps").TONE_RATES)
    for name in ("packed", "read at the padding", "padding on the left", "mean over the steps"):
        assert sum(rate == highest for rate in row("tone", name, "rate")) <= 5
    centred, clear = points("packed, pitch not centred")
    assert f"{centred} points" in text and clear
    chance, half = mean_interval(row("tone", "packed, tones shuffled", "accuracy"))
    assert chance - half < 1 / 3
