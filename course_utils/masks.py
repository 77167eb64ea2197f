"""What is there and what is not: means, a softmax and last states under a mask, and padding.

    ids, mask = pad([torch.tensor([5, 6]), torch.tensor([7])])    # (2, 2) int64, (2, 2) bool
    pooled = masked_mean(table(ids), mask)                        # (2, 2, D), (2, 2) -> (2, D)

A mask is bool, True where there is something. What stands elsewhere never matters, not even NaN.
"""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from course_utils.checks import check_floats, check_tensor

SIDES = ("right", "left")


def masked_mean(tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean of the tokens (B, T, D) whose mask (B, T) bool is True, (B, D); zeros for a row
    without any. Without a mask (None) all count.

    What is not there is set to zero before the sum. Multiplying by the mask would not do, because
    0 * NaN is NaN. Half precision is summed in float32: in float16 the sum of 3,000 tokens of 60
    would be infinite, although their mean is 60.

    Raises ValueError or TypeError for tokens of another shape, and a mask of another shape or
    dtype. Whole numbers do for tokens, too, and their mean is a float.
    """
    _check_values(tokens, "tokens")
    if mask is None:
        kept, count = tokens, tokens.shape[1]
    else:
        _check_mask(mask, tokens, "tokens")
        kept = torch.where(mask[..., None], tokens, 0)  # (B, T, D)
        count = mask.sum(1, keepdim=True).clamp(min=1)  # (B, 1)
    if tokens.dtype in (torch.float16, torch.bfloat16):
        return (kept.sum(1, dtype=torch.float32) / count).to(tokens.dtype)
    return kept.sum(1) / count  # (B, T, D) -> (B, D)


def last_state(states: Tensor, mask: Tensor) -> Tensor:
    """The state (B, T, D) at the last place whose mask (B, T) bool is True, (B, D); zeros for a
    row without any.

    Raises ValueError or TypeError for states without a place, and for another shape or dtype.
    """
    _check_mask(mask, states, "states")
    if not states.shape[1]:
        raise ValueError(f"states: expected at least one place, got {tuple(states.shape)}")
    places = torch.arange(mask.shape[1], device=mask.device)  # (T,)
    last = (mask * places).amax(1)  # (B, T) -> (B,)
    rows = torch.arange(states.shape[0], device=states.device)  # (B,)
    return torch.where(mask.any(1, keepdim=True), states[rows, last], 0)  # (B, T, D) -> (B, D)


def masked_softmax(scores: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Softmax along `dim` of the scores whose mask is True; the others get exactly 0, and so does
    a row without any.

    Scores and bool mask broadcast against each other, but along `dim` both have the same size: the
    scores (B, heads, T, K) go with the mask (B, 1, 1, K), and one row of scores (K,) with a mask
    (B, K). The result has the shape of both together.
    A score at the lowest finite number would count as masked: in float16 that is -65,504.

    Raises ValueError or TypeError for scores that are no floats, a `dim` that they have not, and a
    mask of another shape or dtype.
    """
    check_floats(scores, "scores")
    _check_bool(mask)
    along = dim if dim < 0 else dim - max(scores.dim(), mask.dim())  # counted from the end
    pairs = list(zip(reversed(scores.shape), reversed(mask.shape)))
    same = 1 <= -along <= len(pairs) and pairs[-along - 1][0] == pairs[-along - 1][1]
    if not same or any(s != m and s != 1 and m != 1 for s, m in pairs):
        raise ValueError(
            f"mask: expected a shape that broadcasts against the scores {tuple(scores.shape)} and "
            f"has as many entries along dim {dim}, got {tuple(mask.shape)}"
        )
    # The lowest finite number, because over nothing but -inf the softmax and its gradient are NaN.
    # The last line would hide that, but not from torch.autograd.detect_anomaly.
    lowest = torch.finfo(scores.dtype).min
    probs = torch.where(mask, scores, lowest).softmax(dim)
    return torch.where(mask, probs, 0)


def pad(sequences: list[Tensor], *, side: str = "right") -> tuple[Tensor, Tensor]:
    """B sequences (T_i, ...) as one tensor (B, T, ...) and its mask (B, T) bool, with zeros on that
    `side` ("right", "left") up to the longest.

    T is at least 1; an empty sequence is a row without a True.
    Raises TypeError for what is no list of tensors, ValueError for an empty one, another side, or
    sequences that differ in more than their length.
    """
    if side not in SIDES:
        raise ValueError(f"side: expected 'right' or 'left', got {side!r}")
    if not isinstance(sequences, (list, tuple)):
        got = type(sequences).__name__
        raise TypeError(f"sequences: expected a list of tensors, got {got}")
    if not sequences:
        raise ValueError("sequences: expected at least one tensor, got an empty list")
    first = sequences[0]
    for i, sequence in enumerate(sequences):
        check_tensor(sequence, f"sequences[{i}]")
        if sequence.dim() == 0 or sequence.shape[1:] != first.shape[1:]:
            raise ValueError(
                f"sequences[{i}]: expected shape ({', '.join(['T', *map(str, first.shape[1:])])}) "
                f"like the first, got {tuple(sequence.shape)}"
            )
        if sequence.dtype != first.dtype:
            raise ValueError(
                f"sequences[{i}]: expected {first.dtype} like the first, got {sequence.dtype}"
            )
    lengths = torch.tensor([len(sequence) for sequence in sequences], device=first.device)
    padded = pad_sequence(sequences, batch_first=True, padding_side=side)  # (B, T, ...)
    if padded.shape[1] == 0:
        padded = padded.new_zeros(len(sequences), 1, *first.shape[1:])
    places = torch.arange(padded.shape[1], device=first.device)  # (T,)
    if side == "left":
        places = places.flip(0)
    return padded, places < lengths[:, None]  # (T,), (B, 1) -> (B, T)


def _check_bool(mask: Tensor) -> None:
    check_tensor(mask, "mask", "a bool tensor")
    if mask.dtype != torch.bool:
        raise TypeError(f"mask: expected torch.bool, True = present, got {mask.dtype}")


def _check_values(values: Tensor, name: str) -> None:
    check_tensor(values, name)
    if values.dim() != 3:
        raise ValueError(f"{name}: expected shape (B, T, D), got {tuple(values.shape)}")


def _check_mask(mask: Tensor, values: Tensor, name: str) -> None:
    """`values` (B, T, D) and their `mask` (B, T); a (B, 1) mask would turn a mean into a sum."""
    _check_values(values, name)
    _check_bool(mask)
    if mask.shape != values.shape[:2]:
        raise ValueError(
            f"mask: expected shape {tuple(values.shape[:2])}, (B, T) of {name} "
            f"{tuple(values.shape)}, got {tuple(mask.shape)}"
        )
