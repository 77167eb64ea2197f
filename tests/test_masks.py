"""Means, softmax and last states under a mask, and padding: numbers by hand, what is masked never
matters, and an error for every mask that does not fit.
"""

import math

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from course_utils.masks import last_state, masked_mean, masked_softmax, pad
from course_utils.runtime import seed_everything
from course_utils.text import Vocabulary

# ---- means ----


def test_masked_mean_by_hand():
    tokens = torch.tensor([[[2.0], [4.0], [math.nan]], [[math.inf], [1.0], [1.0]]])
    mask = torch.tensor([[1, 1, 0], [0, 0, 0]]).bool()
    assert masked_mean(tokens, mask).tolist() == [[3.0], [0.0]]


def test_without_a_mask_the_mean_is_that_of_all_to_the_last_bit():
    tokens = torch.randn(4, 7, 3, generator=torch.Generator().manual_seed(0))
    everything = torch.ones(4, 7, dtype=torch.bool)
    torch.testing.assert_close(masked_mean(tokens, None), tokens.mean(1))
    assert torch.equal(masked_mean(tokens, everything), masked_mean(tokens, None))
    half = tokens.half()
    assert torch.equal(masked_mean(half, everything), masked_mean(half, None))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
def test_half_precision_does_not_overflow_and_keeps_its_digits(dtype, masked):
    """2,064 tokens add up to 131,580: the largest float16 is 65,504, and the nearest bfloat16 is
    131,072, whose 2,064th part would be 63.5.
    """
    tokens = torch.full((2, 2_064, 2), 63.75, dtype=dtype)
    tokens[0, ::2], tokens[0, 1::2] = 63.5, 64
    mask = torch.ones(2, 2_064, dtype=torch.bool) if masked else None
    mean = masked_mean(tokens, mask)
    assert mean.dtype == dtype and mean.tolist() == [[63.75, 63.75]] * 2


def test_gradients_reach_what_is_there_and_nothing_else():
    tokens = torch.tensor(
        [[[0.3], [1 / 3], [7 / 9], [math.nan]]], dtype=torch.float64, requires_grad=True
    )
    mean = masked_mean(tokens, torch.tensor([[True, True, True, False]]))
    mean.sum().backward()
    assert mean.item() == pytest.approx((0.3 + 1 / 3 + 7 / 9) / 3, rel=1e-15)
    assert tokens.grad.tolist() == [[[1 / 3], [1 / 3], [1 / 3], [0.0]]]


# ---- last states ----


def test_the_last_state_on_either_side():
    states = torch.arange(24.0).reshape(4, 3, 2)
    mask = torch.tensor([[1, 1, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0]]).bool()
    states[2] = math.nan
    states.requires_grad_()
    last = last_state(states, mask)
    assert last.tolist() == [[2, 3], [10, 11], [0, 0], [18, 19]]
    last.sum().backward()
    assert states.grad.sum(2).tolist() == [[0, 2, 0], [0, 0, 2], [0, 0, 0], [2, 0, 0]]


def test_the_last_state_of_a_padded_batch_is_that_of_the_text_alone():
    seed_everything(0)
    vocabulary = Vocabulary(["The cat, the dog.", "a cat"])
    table = torch.nn.Embedding(len(vocabulary), 5)
    gru = torch.nn.GRU(5, 4, batch_first=True)
    ids, mask = vocabulary.batch(["the dog", "a cat, the dog"])
    alone, only = vocabulary.batch(["the dog"])
    torch.testing.assert_close(
        last_state(gru(table(ids))[0], mask)[:1], last_state(gru(table(alone))[0], only)
    )


# ---- softmax ----


def test_masked_softmax():
    scores = torch.tensor(
        [[0.3, 7 / 9, 1e4], [1 / 3, -math.inf, math.nan]], dtype=torch.float64, requires_grad=True
    )
    mask = torch.tensor([[True, True, False], [False, False, False]])
    with torch.autograd.set_detect_anomaly(True):  # raises at a NaN that a later step would hide
        probs = masked_softmax(scores, mask, 1)
        probs.square().sum().backward()
    assert torch.equal(probs > 0, mask)
    assert scores.grad.isfinite().all() and not scores.grad[~mask].any()
    first = 1 / (1 + math.exp(7 / 9 - 0.3))
    assert probs[0].tolist() == pytest.approx([first, 1 - first, 0], rel=1e-15)


def test_scores_and_mask_broadcast_but_not_along_the_softmax():
    rng = torch.Generator().manual_seed(0)
    scores, mask = (
        torch.randn(2, 3, 4, 5, generator=rng),
        torch.rand(2, 1, 1, 5, generator=rng) < 0.5,
    )
    mask[..., 0] = True
    expected = scores.masked_fill(~mask, -math.inf).softmax(3)
    torch.testing.assert_close(masked_softmax(scores, mask, 3), expected)
    torch.testing.assert_close(masked_softmax(scores, mask, -1), expected)
    one_row, rows = torch.randn(5, generator=rng), mask[:, 0, 0]  # (K,), (B, K)
    expected = one_row.expand(2, 5).masked_fill(~rows, -math.inf).softmax(1)
    torch.testing.assert_close(masked_softmax(one_row, rows, 1), expected)
    for shape, dim in (((2, 3, 4, 1), 3), ((2, 3, 5), 3), ((2, 1, 1, 4), -1), ((2, 3, 4, 1), -1)):
        with pytest.raises(ValueError) as caught:
            masked_softmax(scores, torch.ones(shape, dtype=torch.bool), dim)
        assert str(caught.value) == (
            "mask: expected a shape that broadcasts against the scores (2, 3, 4, 5) and has as "
            f"many entries along dim {dim}, got {shape}"
        )


# ---- what does not fit ----

TOKENS = torch.zeros(2, 3, 4)


@pytest.mark.parametrize("call", [masked_mean, last_state])
@pytest.mark.parametrize(
    "mask, error, message",
    [
        (torch.ones(2, 1).bool(), ValueError, "mask: expected shape (2, 3), (B, T) of "),
        (torch.ones(2).bool(), ValueError, "(2, 3, 4), got (2,)"),
        (torch.ones(3, 2).bool(), ValueError, "got (3, 2)"),
        (torch.ones(2, 3, 1).bool(), ValueError, "got (2, 3, 1)"),
        (torch.ones(2, 3), TypeError, "mask: expected torch.bool, True = present, got torch.float"),
        (torch.ones(2, 3).long(), TypeError, "got torch.int64"),
        ([[True] * 3] * 2, TypeError, "mask: expected a bool tensor, got list"),
    ],
)
def test_a_mask_that_does_not_fit(call, mask, error, message):
    with pytest.raises(error) as caught:
        call(TOKENS, mask)
    assert message in str(caught.value)


@pytest.mark.parametrize("mask", [None, torch.ones(2, 3, dtype=torch.bool)])
def test_what_is_no_sequence_of_vectors_with_a_mask_or_without(mask):
    with pytest.raises(ValueError, match=r"tokens: expected shape \(B, T, D\), got \(2, 3\)"):
        masked_mean(TOKENS[..., 0], mask)
    for wrong in (TOKENS.tolist(), TOKENS.numpy()):
        with pytest.raises(TypeError, match="tokens: expected a tensor, got "):
            masked_mean(wrong, mask)


def test_what_is_no_sequence_of_vectors():
    with pytest.raises(ValueError, match=r"tokens: expected shape \(B, T, D\), got \(2, 3\)"):
        masked_mean(TOKENS[..., 0], torch.ones(2, 3).bool())
    with pytest.raises(ValueError, match=r"states: expected shape \(B, T, D\), got \(2, 3\)"):
        last_state(TOKENS[..., 0], torch.ones(2, 3).bool())
    with pytest.raises(TypeError, match="mask: expected torch.bool, True = present, got"):
        masked_softmax(TOKENS, torch.ones(2, 3, 4), 1)


# ---- padding ----


@pytest.mark.parametrize(
    "side, rows, places",
    [
        ("right", [[5, 6, 0], [0, 0, 0], [7, 0, 9]], [[1, 1, 0], [0, 0, 0], [1, 1, 1]]),
        ("left", [[0, 5, 6], [0, 0, 0], [7, 0, 9]], [[0, 1, 1], [0, 0, 0], [1, 1, 1]]),
    ],
)
def test_padding_on_either_side(side, rows, places):
    empty = torch.zeros(0, dtype=torch.int64)
    padded, mask = pad([torch.tensor([5, 6]), empty, torch.tensor([7, 0, 9])], side=side)
    assert padded.tolist() == rows and padded.dtype == torch.int64
    assert torch.equal(mask, torch.tensor(places).bool())


def test_sequences_of_vectors_are_padded_as_torch_does():
    sequences = [torch.randn(n, 2, dtype=torch.float64) for n in (3, 1, 4)]
    padded, mask = pad(sequences)
    assert torch.equal(padded, pad_sequence(sequences, batch_first=True))
    assert mask.sum(1).tolist() == [3, 1, 4] and mask[:, 0].all()


def test_nothing_but_empty_sequences_have_one_place():
    padded, mask = pad([torch.zeros(0, 2), torch.zeros(0, 2)])
    assert padded.tolist() == [[[0, 0]], [[0, 0]]] and mask.tolist() == [[False], [False]]


@pytest.mark.parametrize(
    "sequences, side, message",
    [
        ([], "right", "sequences: expected at least one tensor, got an empty list"),
        ([torch.zeros(2)], "both", "side: expected 'right' or 'left', got 'both'"),
        (
            [torch.zeros(2, 3), torch.zeros(2, 4)],
            "right",
            "sequences[1]: expected shape (T, 3) like the first, got (2, 4)",
        ),
        (
            [torch.zeros(2), torch.tensor(1.0)],
            "right",
            "sequences[1]: expected shape (T) like the first, got ()",
        ),
        (
            [torch.zeros(2), torch.zeros(2).long()],
            "left",
            "sequences[1]: expected torch.float32 like the first, got torch.int64",
        ),
    ],
)
def test_what_cannot_be_padded(sequences, side, message):
    with pytest.raises(ValueError) as caught:
        pad(sequences, side=side)
    assert str(caught.value) == message


def test_the_softmax_of_one_row_of_scores_needs_its_own_axis():
    mask = torch.ones(2, 3, dtype=torch.bool)
    torch.testing.assert_close(
        masked_softmax(torch.zeros(3), mask, dim=1), torch.full((2, 3), 1 / 3)
    )
    with pytest.raises(ValueError, match="as many entries along dim 0"):
        masked_softmax(torch.zeros(3), mask, dim=0)
