"""What page 01 says of its texts, its controls, and the reader's own functions."""

import sys
import textwrap

import pytest
import torch
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from torch.nn import functional as F

from course_utils import exercises
from course_utils.datasets import Scenes
from course_utils.exercises import reference
from course_utils.metrics import percent
from course_utils.rooms import load, room, stored
from course_utils.runtime import ROOT
from course_utils.text import tokenize

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

# ---- the reader's own functions ----


def mean_detached(x, mask):
    return reference("01.1")(x.detach(), mask)


def mean_by_loops(x, mask):
    means = torch.zeros(x.shape[0], x.shape[2], dtype=x.dtype)
    for row in range(len(x)):
        for t in range(x.shape[1]):
            if mask[row, t]:
                means[row] = means[row] + x[row, t] / mask[row].sum()
    return means


def step_from_a_detached_state(x, state, W, U, b):
    return torch.tanh(x @ W.T + state.detach() @ U.T + b)


def step_of_numbers(x, state, W, U, b):
    rows = [torch.tanh(W @ word + U @ old + b).tolist() for word, old in zip(x, state)]
    return torch.tensor(rows, dtype=x.dtype)


def step_row_by_row(x, state, W, U, b):
    """Right, and slow on any machine: each row eight times over."""
    rows = [*zip(x, state)] * 8
    steps = [torch.tanh(W @ word + U @ old + b) for word, old in rows]
    return torch.stack(steps[-len(x) :])


def loss_without_gradient(centre, context, negatives):
    with torch.no_grad():
        return reference("01.3")(centre, context, negatives)


def loss_from_detached_negatives(centre, context, negatives):
    return reference("01.3")(centre, context, negatives.detach())


def loss_pair_by_pair(centre, context, negatives):
    losses = []
    for v, u, others in zip(centre, context, negatives):
        random = sum(F.logsigmoid(-(other @ v)) for other in others)
        losses.append(-F.logsigmoid(u @ v) - random)
    return torch.stack(losses)


CUT = {
    "01.1": (mean_detached, "`x`"),
    "01.2": (step_from_a_detached_state, "`state`"),
    "01.2, numbers": (step_of_numbers, "`x` and `state` and `W` and `U` and `b`"),
    "01.3": (loss_without_gradient, "`centre` and `context` and `negatives`"),
    "01.3, negatives": (loss_from_detached_negatives, "`negatives`"),
}
SLOW = {"01.1": mean_by_loops, "01.2": step_row_by_row, "01.3": loss_pair_by_pair}


@pytest.mark.parametrize("case", CUT)
def test_a_right_answer_that_cuts_the_gradient_is_not_taken(case, accepted):
    key, (answer, where) = case[:4], CUT[case]
    taken, said = accepted(key, answer)
    assert taken is reference(key)
    words = f"{key}: the course's, because no gradient comes through yours to {where}"
    assert " ".join(said.split()) == words


@pytest.mark.parametrize("key", SLOW)
def test_a_right_answer_by_loops_is_too_slow_to_train_with(key, accepted):
    taken, said = accepted(key, SLOW[key])
    assert taken is reference(key)
    assert said.startswith(f"{key}: the course's, because yours, though right, takes ")


@pytest.mark.parametrize("key", SLOW)
def test_an_answer_in_one_piece_is_taken(key, accepted):
    space = {"torch": torch}
    exec(textwrap.dedent(load("01", "answers").RIGHT[key][0]), space)
    assert accepted(key, space["f"]) == (space["f"], f"{key}: yours\n")


def test_batches_have_the_size_of_the_page_and_draw_nothing(page):
    before = torch.get_rng_state()
    x, mask = exercises._find("01.1").batch()
    step = exercises._find("01.2").batch()
    pairs = exercises._find("01.3").batch()
    assert torch.equal(before, torch.get_rng_state())
    assert x.shape == (64, 15, 32) and mask.shape == (64, 15)
    longest = max(len(tokenize(text)) for text in page["chases"](1000, 0)[0])
    assert longest == 15 and mask.sum(1).amax() == 15 and mask.sum(1).amin() == 5
    assert [part.shape for part in step] == [(64, 32), (64, 32), (32, 32), (32, 32), (32,)]
    assert [part.shape for part in pairs] == [(512, 16), (512, 16), (512, 5, 16)]


# ---- the texts ----


@pytest.fixture(scope="module")
def page():
    return measured_cells("01")


def test_each_question_has_its_chasing_animal_first(page):
    sentences, labels = page["chases"](200, 3)
    for text, label in zip(sentences, labels.tolist()):
        said = [word for word in tokenize(text) if word in page["ANIMALS"]]
        assert len(said) == 2 and said[0] == page["ANIMALS"][label]


def test_share_of_test_sentences_that_are_not_in_training(page):
    fresh = 0
    for seed in range(5):
        seen = set(page["chases"](1000, 10 * seed)[0])
        fresh += sum(text not in seen for text in page["chases"](1000, 10 * seed + 2)[0])
    text = room("01", "page.py").read_text(encoding="utf-8")
    assert f"also the {fresh / 50:.0f} % that were not in training" in text


def test_nouns_of_a_group_never_meet_but_anywhere_they_do(page):
    groups = list(page["GROUPS"].values())

    def meet(text):
        said = set(tokenize(text))
        return any(len(said & set(group)) > 1 for group in groups)

    assert not any(map(meet, page["company"](2000)))
    assert sum(map(meet, page["company"](2000, mixed=True))) > 100
    nouns = set(sum(groups, []))
    seen = [word for text in page["company"](2000, mixed=True) for word in tokenize(text)]
    assert nouns <= set(seen)


def test_sorted_letters_are_those_of_the_word_and_end_with_its_padding(page):
    letters = torch.tensor([[19, 5, 22, 5, 14], [20, 23, 15, 0, 0]])  # seven, two
    seen = []
    reader = page["LetterSorted"]()
    reader.table.register_forward_hook(lambda table, args, result: seen.append(args[0]))
    reader(letters)
    assert seen[0].tolist() == [[5, 5, 14, 19, 22], [15, 20, 23, 0, 0]]


def test_the_order_is_worth_what_the_page_says():
    """Two points over the same LSTM on sorted letters, which is level with the counts."""
    rows = stored("01", "plug") | stored("01", "order")

    def mean(name):
        scores = rows[name]["accuracy"]["all three"]
        return 100 * sum(scores) / len(scores)

    in_order = mean("letters, LSTM")
    assert 1.5 < in_order - mean("letters sorted a to z, LSTM") < 3
    assert 1.5 < in_order - mean("letters counted (page 00)") < 3
    assert abs(mean("letters sorted a to z, LSTM") - mean("letters counted (page 00)")) < 0.5
    assert 11 < in_order - mean("letters, LSTM, text shuffled") < 13
    alone, counted = (
        rows[name]["accuracy"]["text"] for name in ("letters, LSTM", "letters counted (page 00)")
    )
    page = room("01", "page.py").read_text(encoding="utf-8")
    assert f"ahead of the counts by {percent(alone, minus=counted)[1:]} points" in page


# ---- the aside about stop words ----

KEPT = set("circle square triangle cross thing small large".split())
KEPT |= set("red yellow green blue pink white".split())
KEPT |= {word + "s" for word in KEPT} | {"crosses"}


def whole(word):
    return True


def no_stop_word(word):
    return word not in ENGLISH_STOP_WORDS and word != "?"


def noun_or_adjective(word):
    return word in KEPT


def cleaned(text, keep):
    return " ".join(filter(keep, tokenize(text)))


def test_two_questions_become_one_without_their_stop_words():
    both = [f"is the circle {place} the square?" for place in ("above", "below")]
    assert [cleaned(text, no_stop_word) for text in both] == ["circle square"] * 2


@pytest.mark.parametrize("keep, lost", [(whole, 0), (no_stop_word, 18), (noun_or_adjective, 32)])
def test_cleaned_questions_that_cannot_be_told_apart(keep, lost):
    scenes = Scenes("test", size=50, objects=(3, 4))
    total = gone = 0
    for number in range(len(scenes)):
        answers = {}
        for question, answer, _ in scenes.questions(number):
            answers.setdefault(cleaned(question, keep), []).append(answer)
        total += sum(map(len, answers.values()))
        gone += sum(len(group) for group in answers.values() if len(set(group)) > 1)
    assert round(100 * gone / total) == lost
