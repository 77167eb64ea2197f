"""Decoding: against every sentence that there is, against slow loops, and at the edges."""

import math
from itertools import product
from typing import NamedTuple

import pytest
import torch

from course_utils.decoding import beam, greedy, sample

END = 1


class Model:
    """A small random recurrent net of V words, whose state is (B, D)."""

    def __init__(self, seed: int, words: int = 4, width: int = 5, dtype=torch.float64):
        generator = torch.Generator().manual_seed(seed)
        shapes = ((width, width), (words, width), (width, words))
        self.turn, self.table, self.head = (
            1.5 * torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes
        )
        self.words, self.asked = words, 0

    def step(self, last, state):
        self.asked += 1
        state = (state @ self.turn + self.table[last]).tanh()
        return state @ self.head, state

    def begin(self, rows: int, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        state = torch.randn(rows, len(self.turn), generator=generator, dtype=self.turn.dtype)
        return torch.zeros(rows, dtype=torch.int64), state

    def log_prob(self, state, sentence, first=0) -> float:
        """Of a sentence after one row's state (D,), word by word."""
        total, last = 0.0, first
        for word in sentence:
            logits, state = self.step(torch.tensor([last]), state.reshape(1, -1))
            total += logits[0].softmax(0)[word].log().item()
            last = word
        return total


def sentences(words: int, limit: int):
    """All that can be said: words without the end and then the end, or as many as the limit."""
    others = [word for word in range(words) if word != END]
    for length in range(limit):
        for beginning in product(others, repeat=length):
            yield (*beginning, END)
    yield from product(others, repeat=limit)


def said(decoded, *row) -> tuple[int, ...]:
    return tuple(decoded.tokens[row][decoded.mask[row]].tolist())


@pytest.mark.parametrize("power", [0.0, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_beam_as_wide_as_all_sentences_finds_what_an_exhaustive_search_finds(seed, power):
    model, limit = Model(seed), 4
    every = list(sentences(model.words, limit))
    start, state = model.begin(3, seed)
    found = beam(model.step, start, state, end=END, limit=limit, width=len(every), power=power)
    for row in range(3):
        known = {each: model.log_prob(state[row], each) for each in every}
        order = sorted(every, key=lambda each: -known[each] / len(each) ** power)
        assert [said(found, row, k) for k in range(len(every))] == order
        expected = torch.tensor([known[each] for each in order], dtype=torch.float64)
        torch.testing.assert_close(found.log_probs[row], expected)
        assert found.finished[row].tolist() == [each[-1] == END for each in order]
    # all that can be said is said with probability 1
    torch.testing.assert_close(found.log_probs.exp().sum(1), torch.ones(3, dtype=torch.float64))


def slow_beam(model, state, limit, width, power):
    """One row by lists: [(log-probability, words, state, finished)], the best first."""
    beams = [(0.0, (), state.reshape(1, -1), False)]
    for _ in range(limit):
        candidates = []
        for total, words, state, finished in beams:
            if finished:
                candidates.append((total, words, state, True))
                continue
            last = torch.tensor([words[-1] if words else 0])
            logits, after = model.step(last, state)
            for word, gained in enumerate(logits[0].log_softmax(0).tolist()):
                candidates.append((total + gained, (*words, word), after, word == END))
        candidates.sort(key=lambda each: -each[0] / len(each[1]) ** power)
        beams = candidates[:width]
    return beams


@pytest.mark.parametrize("width", [1, 2, 3, 7])
@pytest.mark.parametrize("power", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_a_narrow_beam_equals_a_slow_loop(seed, power, width):
    model = Model(10 + seed, words=6)
    start, state = model.begin(4, seed)
    found = beam(model.step, start, state, end=END, limit=7, width=width, power=power)
    for row in range(4):
        expected = slow_beam(model, state[row], 7, width, power)
        assert [said(found, row, k) for k in range(width)] == [each[1] for each in expected]
        totals = torch.tensor([each[0] for each in expected], dtype=torch.float64)
        torch.testing.assert_close(found.log_probs[row], totals)


@pytest.mark.parametrize("seed", range(5))
def test_greedy_equals_a_slow_loop_and_a_beam_of_one(seed):
    model = Model(20 + seed, words=7)
    start, state = model.begin(6, seed)
    found = greedy(model.step, start, state, end=END, limit=8)
    alone = beam(model.step, start, state, end=END, limit=8, width=1, power=0.5).first()
    for row in range(6):
        words, last, kept = [], torch.tensor([0]), state[row : row + 1]
        while len(words) < 8 and (not words or words[-1] != END):
            logits, kept = model.step(last, kept)
            last = logits.argmax(1)
            words.append(last.item())
        assert list(said(found, row)) == list(said(alone, row)) == words
        assert bool(found.finished[row]) == bool(alone.finished[row]) == (words[-1] == END)
        expected = model.log_prob(state[row], words)
        assert found.log_probs[row].item() == pytest.approx(expected)
        assert alone.log_probs[row].item() == pytest.approx(expected)
    # some end and some do not, or nothing was tested
    lengths = found.mask.sum(1)
    assert (found.tokens[~found.mask] == 0).all() and lengths.max() == found.tokens.shape[1]


def test_a_row_does_not_depend_on_the_others():
    model = Model(3, words=6)
    start, state = model.begin(5)
    together = beam(model.step, start, state, end=END, limit=6, width=3, power=1.0)
    for row in range(5):
        alone = beam(
            model.step,
            start[row : row + 1],
            state[row : row + 1],
            end=END,
            limit=6,
            width=3,
            power=1.0,
        )
        for k in range(3):
            assert said(together, row, k) == said(alone, 0, k)
        torch.testing.assert_close(together.log_probs[row], alone.log_probs[0])


def table(rows):
    """A step that looks at the last word alone: logits by rows."""
    logits = torch.tensor(rows)
    return lambda last, state: (logits[last], state)


def test_the_beam_keeps_a_finished_sentence_and_finds_what_greedy_misses():
    # 0 says 2 (.6) or 3 (.4); after 2 four words are alike, after 3 the end is sure
    p = torch.full((6, 6), 1e-12)
    p[0, 2], p[0, 3] = 0.6, 0.4
    p[2, [1, 2, 4, 5]] = 0.25
    p[3, 1] = p[4, 1] = p[5, 1] = 1.0
    step = table(p.log().tolist())
    start = torch.tensor([0])
    assert said(greedy(step, start, end=END, limit=5), 0) == (2, 1)
    found = beam(step, start, end=END, limit=5, width=2)
    assert said(found, 0, 0) == (3, 1) and found.finished[0, 0]
    assert found.log_probs[0, 0].exp().item() == pytest.approx(0.4, abs=1e-6)
    # and it is still there when others go on for long
    assert said(beam(step, start, end=END, limit=5, width=3), 0, 0) == (3, 1)


@pytest.mark.parametrize("decode", [greedy, sample, lambda *a, **o: beam(*a, **o, width=1).first()])
def test_the_end_at_once_is_a_sentence_of_one_and_is_asked_for_once(decode):
    asked = []

    def step(last, state):
        asked.append(last)
        return torch.tensor([[-math.inf, 0.0, -math.inf]]).expand(len(last), 3), state

    found = decode(step, torch.tensor([2, 2]), end=END, limit=9)
    assert found.tokens.tolist() == [[1], [1]] and found.mask.all() and found.finished.all()
    assert found.log_probs.tolist() == [0, 0] and len(asked) == 1


@pytest.mark.parametrize("decode", [greedy, sample, lambda *a, **o: beam(*a, **o, width=2).first()])
def test_what_never_ends_stops_at_the_limit(decode):
    step = table([[0.0, -math.inf, 1.0]] * 3)
    found = decode(step, torch.tensor([2, 0, 2]), end=END, limit=4)
    assert found.tokens.shape == (3, 4) and found.mask.all() and not found.finished.any()


def test_rows_end_at_different_places():
    step = table([[0, 0, 0, 9.0], [9.0, 0, 0, 0], [0, 0, 0, 9.0], [0, 9.0, 0, 0]])
    found = greedy(step, torch.tensor([0, 3, 1]), end=END, limit=6)
    # PAD, 0, is a word like another while a row goes on, and its mask says so
    assert found.tokens.tolist() == [[3, 1, 0], [1, 0, 0], [0, 3, 1]]
    assert found.mask.sum(1).tolist() == [2, 1, 3] and found.finished.all()


def test_of_equals_the_smallest_id_and_then_the_earlier_sentence():
    step = table([[0.0] * 4] * 4)
    start = torch.tensor([0, 0])
    assert greedy(step, start, end=END, limit=3).tokens.tolist() == [[0, 0, 0]] * 2
    found = beam(step, start, end=3, limit=2, width=4, power=0.0)
    # the end at once costs one word, all others two
    assert [said(found, 0, k) for k in range(4)] == [(3,), (0, 0), (0, 1), (0, 2)]


def test_fewer_sentences_than_places_leave_the_last_ones_empty():
    step = table([[-math.inf, 1.0, 0.0]] * 3)
    found = beam(step, torch.tensor([2]), end=END, limit=2, width=5)
    assert [said(found, 0, k) for k in range(5)] == [(1,), (2, 1), (2, 2), (), ()]
    assert found.log_probs[0, 3:].tolist() == [-math.inf] * 2
    assert found.finished[0].tolist() == [True, True, False, False, False]
    assert (found.tokens[0, 3:] == 0).all()


def test_the_power_prefers_longer_ones():
    p = torch.full((4, 4), 1e-12)
    p[0, 1], p[0, 2], p[2, 3], p[3, 1] = 0.4, 0.6, 0.6, 1.0
    p[2, 0] = 0.4
    step, start = table(p.log().tolist()), torch.tensor([0])
    short = beam(step, start, end=END, limit=3, width=4).first()
    long = beam(step, start, end=END, limit=3, width=4, power=1.0).first()
    assert said(short, 0) == (1,) and said(long, 0) == (2, 3, 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_log_probabilities_have_at_least_single_precision(dtype):
    step = table([[0.5, 0.0, 1.0]] * 3)
    half = lambda last, state: (step(last, state)[0].to(dtype), state)  # noqa: E731
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    generator = torch.Generator().manual_seed(0)
    for found in (
        greedy(half, torch.tensor([0]), end=END, limit=3),
        beam(half, torch.tensor([0]), end=END, limit=3, width=2, power=1.0),
        sample(half, torch.tensor([0]), end=END, limit=3, generator=generator),
    ):
        assert found.log_probs.dtype == expected and found.tokens.dtype == torch.int64


def test_logits_and_log_probabilities_are_the_same():
    model = Model(5, words=5)
    start, state = model.begin(2)

    def sure(last, state):
        logits, state = model.step(last, state)
        return logits.log_softmax(1), state

    def loud(last, state):
        logits, state = model.step(last, state)
        return logits + 7, state

    for decode in (greedy, lambda *a, **o: beam(*a, **o, width=3)):
        one, two = (decode(step, start, state, end=END, limit=5) for step in (sure, loud))
        assert torch.equal(one.tokens, two.tokens)
        torch.testing.assert_close(one.log_probs, two.log_probs)


def test_a_beginning_of_several_words_is_said_first():
    model = Model(6, words=6)
    start, state = model.begin(3)
    beginning = torch.tensor([[0, 2, 5], [0, 3, 3], [0, 5, 2]])
    kept = state
    for place in range(2):
        _, kept = model.step(beginning[:, place], kept)
    for decode in (greedy, lambda *a, **o: beam(*a, **o, width=3)):
        one = decode(model.step, beginning, state, end=END, limit=5)
        two = decode(model.step, beginning[:, 2], kept, end=END, limit=5)
        assert all(torch.equal(a, b) for a, b in zip(one, two))


class Kept(NamedTuple):
    first: torch.Tensor
    rest: dict


def test_a_state_may_have_parts_which_move_together():
    model = Model(7, words=6)
    start, state = model.begin(3)
    expected = beam(model.step, start, state, end=END, limit=6, width=3)

    def step(last, kept):
        own = kept.rest["own"][0]
        # the number of the row, and what was said last
        assert torch.equal(kept.first, kept.rest["own"][1]) and kept.rest["none"] is None
        logits, own = model.step(last, own)
        return logits, Kept(kept.first, {"own": [own, kept.first], "none": None})

    number = torch.arange(3)
    parts = Kept(number, {"own": [state, number], "none": None})
    found = beam(step, start, parts, end=END, limit=6, width=3)
    assert all(torch.equal(a, b) for a, b in zip(found, expected))


# ---- by chance ----


def test_samples_have_the_frequencies_of_the_softmax():
    logits = [1.0, 0.0, -1.0, 0.5]
    step, start = table([logits] * 4), torch.full((40_000,), 2)
    for temperature in (0.5, 1.0, 2.0):
        generator = torch.Generator().manual_seed(1)
        found = sample(step, start, end=END, limit=1, temperature=temperature, generator=generator)
        shares = torch.bincount(found.tokens[:, 0], minlength=4) / len(start)
        expected = [math.exp(x / temperature) for x in logits]
        expected = torch.tensor(expected) / sum(expected)
        # five standard errors of a share
        torch.testing.assert_close(shares, expected, rtol=0, atol=5 * 0.5 / 200)
        own = torch.tensor(logits).log_softmax(0)[found.tokens[:, 0]]
        torch.testing.assert_close(found.log_probs, own)


def test_the_coldest_is_greedy_and_one_seed_gives_one_sentence():
    model = Model(8, words=7)
    start, state = model.begin(6)
    cold = sample(model.step, start, state, end=END, limit=6, temperature=1e-320)
    assert torch.equal(cold.tokens, greedy(model.step, start, state, end=END, limit=6).tokens)
    one, two = (
        sample(
            model.step, start, state, end=END, limit=6, generator=torch.Generator().manual_seed(3)
        )
        for _ in range(2)
    )
    assert torch.equal(one.tokens, two.tokens) and torch.equal(one.log_probs, two.log_probs)


def test_most_draws_from_the_likeliest_and_their_equals():
    start = torch.full((2_000,), 2)
    for most, expected in ((1, {0}), (2, {0, 1, 3}), (3, {0, 1, 3}), (4, {0, 1, 2, 3}), (9, None)):
        found = sample(table([[2.0, 1.0, 0.0, 1.0]] * 4), start, end=END, limit=1, most=most)
        assert set(found.tokens[:, 0].tolist()) == (expected or {0, 1, 2, 3})


def test_a_forbidden_word_is_never_drawn():
    found = sample(
        table([[-math.inf, 0.0, 0.0]] * 3), torch.full((3_000,), 2), end=END, limit=5, temperature=9
    )
    assert not (found.tokens[found.mask] == 0).any()


# ---- what is refused ----

STEP = table([[0.0, 1.0]] * 2)
START = torch.tensor([0, 0])


def gives(*given):
    return lambda last, state: given if len(given) != 1 else given[0]


@pytest.mark.parametrize(
    "change, error, words",
    [
        ({"start": [0, 0]}, TypeError, r"start: expected \(B,\) or \(B, P\) int64, got list"),
        ({"start": torch.zeros(2)}, ValueError, r"start: .* got torch.float32 of shape \(2,\)"),
        ({"start": torch.zeros(0).long()}, ValueError, r"at least one entry, got .* \(0,\)"),
        ({"start": torch.zeros(2, 0).long()}, ValueError, r"at least one entry, got .* \(2, 0\)"),
        ({"start": torch.tensor(0)}, ValueError, r"start: expected .* of shape \(\)"),
        ({"end": -1}, ValueError, "end: expected a whole number of at least 0, got -1"),
        ({"end": 2}, ValueError, "end: expected an id below 2, as V is, got 2"),
        ({"limit": 0}, ValueError, "limit: expected a whole number of at least 1, got 0"),
        ({"limit": 2.0}, ValueError, "limit: expected a whole number of at least 1, got 2.0"),
        ({"state": torch.zeros(1, 2, 3)}, ValueError, r"state: expected tensors with 2 rows.*GRU"),
        ({"state": {"a": (None, torch.zeros(3))}}, ValueError, r"state: .* got shape \(3,\)"),
        ({"state": "abc"}, TypeError, "state: expected tensors, a tuple, .* got str"),
        ({"step": gives(torch.zeros(2, 2))}, TypeError, r"step: .* \(logits, state\), got Tensor"),
        ({"step": gives([[1.0]], None)}, TypeError, r"step: expected logits \(B, V\), got list"),
        ({"step": gives(torch.zeros(2), None)}, ValueError, r"logits \(2, V\) .* shape \(2,\)"),
        ({"step": gives(torch.zeros(3, 2), None)}, ValueError, r"\(2, V\) .* shape \(3, 2\)"),
        ({"step": gives(torch.zeros(2, 2).long(), None)}, ValueError, "floats, got torch.int64"),
        ({"step": gives(torch.zeros(2, 2), torch.zeros(5))}, ValueError, "step: state: expected"),
        ({"step": gives(torch.full((2, 2), -math.inf), None)}, ValueError, "only -inf"),
        ({"step": gives(torch.full((2, 2), math.nan), None)}, ValueError, "got NaN"),
    ],
)
def test_a_bad_argument_is_named(change, error, words):
    arguments = {"step": STEP, "start": START, "state": None, "end": END, "limit": 2} | change
    for decode in (greedy, sample, lambda *a, **o: beam(*a, **o, width=1)):
        with pytest.raises(error, match=words):
            decode(**arguments)


@pytest.mark.parametrize(
    "decode, options, words",
    [
        (beam, {"width": 0}, "width: expected a whole number of at least 1, got 0"),
        (beam, {"width": 2, "power": -1}, "power: expected a number from 0, got -1"),
        (beam, {"width": 2, "power": math.nan}, "power: expected a number from 0, got nan"),
        (sample, {"temperature": 0}, "temperature: expected a number above 0, got 0"),
        (sample, {"temperature": math.inf}, "temperature: expected a number above 0, got inf"),
        (sample, {"temperature": None}, "temperature: expected a number above 0, got None"),
        (sample, {"most": 0}, "most: expected a whole number of at least 1, got 0"),
    ],
)
def test_a_bad_dial_is_named(decode, options, words):
    with pytest.raises(ValueError, match=words):
        decode(STEP, START, end=END, limit=2, **options)


def test_only_a_beam_has_a_first():
    with pytest.raises(ValueError, match=r"expected a beam's tokens \(B, K, T\), got \(2, 1\)"):
        greedy(STEP, START, end=END, limit=2).first()


def test_no_gradient_is_kept():
    weight = torch.zeros(2, 2, requires_grad=True)
    for decode in (greedy, sample, lambda *a, **o: beam(*a, **o, width=2)):
        found = decode(lambda last, state: (weight[last], state), START, end=END, limit=2)
        assert not found.log_probs.requires_grad
