"""Words one after the other: the likeliest each time, a beam of sentences, or by chance.

    def step(last, state):                                   # (B,) int64, (B, D)
        state = cell(table(last), state)                     # (B, D)
        return head(state), state                            # (B, V) logits, (B, D)

    start = torch.full((len(state),), BOS)
    said = greedy(step, start, state, end=EOS, limit=20)     # tokens and mask (B, T)
    best = beam(step, start, state, end=EOS, limit=20, width=3).first()

A `step` is handed the last word of each row and what it kept, and gives the logits of the next
word (log-probabilities will do too) and what it keeps now. A row is a picture, or one of the
sentences of its beam. A state is a tensor with a row for each, or a tuple, list or dict of such;
None where there is nothing to keep. A word with the logit -inf is never said.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from course_utils.checks import check_tensor, check_whole
from course_utils.text import PAD

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]


class Decoded(NamedTuple):
    """What was said; of a beam with an axis K after B, the best first.

    tokens     (B, T) int64, without the start, with the end; after it `<pad>`, 0
    mask       (B, T) bool, True at the words and the end
    log_probs  (B,) float, the sum of the log-probabilities of what the mask shows
    finished   (B,) bool, whether the end was said; else the limit came first
    """

    tokens: Tensor
    mask: Tensor
    log_probs: Tensor
    finished: Tensor

    def first(self) -> "Decoded":
        """The best sentence of each beam, (B, K, ...) -> (B, ...)."""
        if self.tokens.dim() != 3:
            raise ValueError(f"expected a beam's tokens (B, K, T), got {tuple(self.tokens.shape)}")
        return Decoded(*(each[:, 0] for each in self))


@torch.no_grad()
def greedy(step: Step, start: Tensor, state: Any = None, *, end: int, limit: int) -> Decoded:
    """The likeliest word at each step; of equals the one with the smallest id.

    start  (B,) int64, the word that is given to the first step, or (B, P): a beginning, whose words
           are given one by one, and which the tokens do not repeat
    end    the id after which a row says no more
    limit  the most words that are added, the end among them

    Raises TypeError or ValueError for arguments of another kind, and for what `step` gives if it is
    no pair of floats (B, V) and a state of B rows, or leaves no word.
    """
    return _word_by_word(step, start, state, end, limit, lambda log_probs: log_probs.argmax(1))


@torch.no_grad()
def sample(
    step: Step,
    start: Tensor,
    state: Any = None,
    *,
    end: int,
    limit: int,
    temperature: float = 1.0,
    most: int | None = None,
    generator: torch.Generator | None = None,
) -> Decoded:
    """Words drawn by chance, each with probability softmax(logits / temperature).

    Below 1 the likely ones gain, toward 0 it is `greedy`, above 1 all come nearer. With `most` only
    that many likeliest words are drawn from, and the equals of the last of them (top-k: Fan et al.
    2018, Hierarchical neural story generation). `log_probs` are the model's own, at temperature 1
    and with all words. The other arguments and errors are those of `greedy`.
    """
    number = isinstance(temperature, (int, float)) and not isinstance(temperature, bool)
    if not number or not 0 < temperature < math.inf:
        raise ValueError(f"temperature: expected a number above 0, got {temperature!r}")
    if most is not None:
        check_whole(1, most=most)

    def choose(log_probs: Tensor) -> Tensor:
        if most is not None:
            last = log_probs.topk(min(most, log_probs.shape[1])).values[:, -1:]  # (B, 1)
            log_probs = log_probs.masked_fill(log_probs < last, -torch.inf)
        # the largest first becomes 0, so that no temperature is too low
        scaled = (log_probs - log_probs.amax(1, keepdim=True)).double() / temperature
        return torch.multinomial(scaled.softmax(1), 1, generator=generator)[:, 0]

    return _word_by_word(step, start, state, end, limit, choose)


def _word_by_word(step, start, state, end, limit, choose) -> Decoded:
    last, state = _begin(step, start, state, end, limit)
    tokens = last.new_full((len(last), limit), PAD)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    going = torch.ones_like(last, dtype=torch.bool)
    total = 0.0
    for place in range(limit):
        log_probs, state = _ask(step, last, state, end)
        last = choose(log_probs)
        total = total + torch.where(going, log_probs.gather(1, last[:, None])[:, 0], 0)
        tokens[:, place] = torch.where(going, last, PAD)
        mask[:, place] = going
        going = going & (last != end)
        if not going.any():
            break
    return _cut(tokens, mask, total, ~going)


@torch.no_grad()
def beam(
    step: Step,
    start: Tensor,
    state: Any = None,
    *,
    end: int,
    limit: int,
    width: int,
    power: float = 0.0,
) -> Decoded:
    """The `width` = K best sentences that a search finds which keeps K at each step, best first:
    tokens and mask (B, K, T), log_probs and finished (B, K).

    All continuations of a row's sentences compete, and so does each finished sentence as it is,
    which stays as long as it is good enough. The score is log_probs / length ** power, with the
    length in words and the end as one (`power` is the length penalty of other libraries); 0 favours
    short sentences, 1 is the mean. Of equals the one whose sentence stood before, then the smaller
    id. With fewer than K possible sentences the last places are empty: no True in their mask, -inf
    in log_probs. The step is called with the rows of a beam one after the other, B * K, and their
    states move along with them.

    The best of a row need not be the likeliest sentence of all: a beginning that falls out is
    not found again. The other arguments and errors are those of `greedy`.
    Source of the power: Wu et al. 2016, Google's neural machine translation system, section 7,
    there with 5 added to the length.
    """
    check_whole(1, width=width)
    number = isinstance(power, (int, float)) and not isinstance(power, bool)
    if not number or not 0 <= power < math.inf:
        raise ValueError(f"power: expected a number from 0, got {power!r}")
    last, state = _begin(step, start, state, end, limit)
    rows = len(last)
    # the first beam of each row, (B, 1); beams are counted through, row by row
    firsts = torch.arange(rows, device=last.device)[:, None] * width
    last = last.repeat_interleave(width)  # (B,) -> (B * K,)
    state = _rows(state, torch.arange(rows, device=last.device).repeat_interleave(width))
    tokens = last.new_full((rows, width, limit), PAD)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    going = mask.new_ones(rows, width)
    total = None
    for place in range(limit):
        log_probs, state = _ask(step, last, state, end)
        words = log_probs.shape[1]
        if total is None:
            # one beginning a row: K alike would give K times the same sentence
            total = log_probs.new_full((rows, width), -torch.inf)
            total[:, 0] = 0
        # a finished sentence has one continuation, which costs nothing: itself
        stays = torch.full_like(log_probs[0], -torch.inf)
        stays[end] = 0
        grown = torch.where(going[..., None], log_probs.view(rows, width, words), stays)
        grown = (total[..., None] + grown).flatten(1)  # (B, K, V) -> (B, K * V)
        length = (mask.sum(2) + going).to(grown.dtype)  # (B, K)
        scores = grown / (length**power).repeat_interleave(words, 1)
        best = scores.sort(dim=1, descending=True, stable=True).indices[:, :width]  # (B, K)
        parent, word = best // words, best % words
        total, going = grown.gather(1, best), going.gather(1, parent)
        path = parent[..., None].expand(-1, -1, limit)
        tokens, mask = tokens.gather(1, path), mask.gather(1, path)
        tokens[..., place] = torch.where(going, word, PAD)
        mask[..., place] = going
        going = going & (word != end) & (total > -torch.inf)
        if not going.any():
            break
        last, state = word.flatten(), _rows(state, (firsts + parent).flatten())
    there = total > -torch.inf
    mask = mask & there[..., None]
    return _cut(torch.where(mask, tokens, PAD), mask, total, there & ~going)


def _begin(step, start, state, end, limit) -> tuple[Tensor, Any]:
    """The last word of each beginning, (B,), and the state once the others have been said."""
    check_tensor(start, "start", "(B,) or (B, P) int64")
    if start.dtype != torch.int64 or start.dim() not in (1, 2) or not start.numel():
        raise ValueError(
            "start: expected (B,) or (B, P) int64 with at least one entry, got"
            f" {start.dtype} of shape {tuple(start.shape)}"
        )
    check_whole(0, end=end)
    check_whole(1, limit=limit)
    if not callable(step):
        raise TypeError(f"step: expected a function of (last, state), got {type(step).__name__}")
    beginning = start if start.dim() == 2 else start[:, None]  # (B, P)
    _check_rows("state", state, len(beginning))
    for place in range(beginning.shape[1] - 1):
        _, state = _ask(step, beginning[:, place], state, end)
    return beginning[:, -1], state


def _ask(step, last, state, end) -> tuple[Tensor, Any]:
    """Log-probabilities (B, V) of the next word, at least float32, and the state."""
    given = step(last, state)
    if not isinstance(given, tuple) or len(given) != 2:
        raise TypeError(f"step: expected it to give (logits, state), got {type(given).__name__}")
    logits, state = given
    check_tensor(logits, "step", "logits (B, V)")
    if logits.dim() != 2 or len(logits) != len(last) or not logits.is_floating_point():
        raise ValueError(
            f"step: expected logits ({len(last)}, V) of floats, got {logits.dtype} of shape"
            f" {tuple(logits.shape)}"
        )
    if end >= logits.shape[1]:
        raise ValueError(f"end: expected an id below {logits.shape[1]}, as V is, got {end}")
    _check_rows("step: state", state, len(last))
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    log_probs = logits.log_softmax(1)
    if log_probs.isnan().any():
        raise ValueError("step: expected logits of which one is finite, got NaN, inf or only -inf")
    return log_probs, state


def _check_rows(name: str, state, rows: int) -> None:
    for part in _parts(name, state):
        if part.dim() == 0 or len(part) != rows:
            raise ValueError(
                f"{name}: expected tensors with {rows} rows, one for each row of words, got"
                f" shape {tuple(part.shape)}; nn.GRU's (layers, B, D) is to be transposed"
            )


def _parts(name: str, state) -> list[Tensor]:
    if state is None:
        return []
    if isinstance(state, Tensor):
        return [state]
    if isinstance(state, dict):
        state = list(state.values())
    if not isinstance(state, (tuple, list)):
        raise TypeError(
            f"{name}: expected tensors, a tuple, list or dict of them, or None, got"
            f" {type(state).__name__}"
        )
    return [part for each in state for part in _parts(name, each)]


def _rows(state, index: Tensor):
    """The rows `index` (N,) of all that a state holds."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return state[index]
    if isinstance(state, dict):
        return {name: _rows(each, index) for name, each in state.items()}
    kept = [_rows(each, index) for each in state]
    return type(state)(*kept) if hasattr(state, "_fields") else type(state)(kept)


def _cut(tokens: Tensor, mask: Tensor, log_probs: Tensor, finished: Tensor) -> Decoded:
    """Without the places that no row has reached."""
    longest = int(mask.sum(-1).max())
    return Decoded(tokens[..., :longest], mask[..., :longest], log_probs, finished)
