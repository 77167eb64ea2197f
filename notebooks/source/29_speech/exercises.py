"""Notebook 29: the forward recursion of CTC, and greedy decoding."""

from unittest.mock import patch

import torch
from torch.nn import functional as F

from course_utils.exercises import Exercise, ideas

LOG0 = -1e30

# 29.1 -----------------------------------------------------------------------------------------


def ctc_log_likelihood(log_probs, targets, frames, letters):
    """Blanks (B, L + 1) and letters (B, L) apart; of each time the end, its own one taken last."""
    B, T, _ = log_probs.shape
    blank_says = log_probs[..., :1]
    letter_says = log_probs.gather(2, targets[:, None].expand(B, T, -1))
    nothing = log_probs.new_full((B, 1), LOG0)
    other = F.pad(targets[:, 1:] != targets[:, :-1], (1, 0), value=False)
    blank = torch.cat([blank_says[:, 0], nothing.expand_as(targets)], 1)
    letter = torch.cat([letter_says[:, 0, :1], nothing.expand_as(targets[:, 1:])], 1)
    ends = []
    for t in range(T):
        if t:
            came = torch.cat([nothing, letter], 1)  # the letter before each blank
            straight = came[:, :-1].masked_fill(~other, LOG0)
            entered = torch.logaddexp(blank[:, :-1], straight)
            blank, letter = (
                torch.logaddexp(blank, came) + blank_says[:, t],
                torch.logaddexp(letter, entered) + letter_says[:, t],
            )
        last = letters[:, None]
        ends.append(torch.logaddexp(blank.gather(1, last), letter.gather(1, last - 1)))
    return torch.cat(ends, 1).gather(1, frames[:, None] - 1)[:, 0]


def _value_and_gradient(function, log_probs, targets, frames, letters):
    """What a function gives, and the gradient of its sum; PyTorch's own loss is not for it."""
    given = log_probs.detach().clone().requires_grad_()
    with patch.object(torch, "ctc_loss", _refuse):
        value = function(given, targets, frames, letters)
    if not isinstance(value, torch.Tensor):
        return value
    found = None
    if value.requires_grad:
        (found,) = torch.autograd.grad(value.sum(), given, allow_unused=True)
        found = None if found is None else found.to(value.dtype)
    return {"log p": value.detach(), "gradient": found}


def _refuse(*_, **__):
    raise RuntimeError("F.ctc_loss is what you build here: write the recursion yourself")


def _ctc(
    log_probs,
    targets,
    frames,
    letters,
    skip=lambda states, before: (states != 0) & (states != before),
    starts=(0, 1),
    ends=(0, 1),
    stops=True,
    own_letters=True,
    zero=LOG0,
    add=lambda ways: ways.logsumexp(0),
    again=False,
    chain=True,
):
    """The same in steps that a wrong idea can change one by one."""
    if again:
        log_probs = log_probs.log_softmax(2)
    B, T, _ = log_probs.shape
    states = F.pad(torch.stack([torch.zeros_like(targets), targets], 2).flatten(1), (0, 1))
    size = states.shape[1]
    allowed = F.pad(skip(states[:, 2:], states[:, :-2]), (2, 0), value=False)
    says = log_probs.gather(2, states[:, None].expand(B, T, -1))
    begins = torch.zeros(size, dtype=torch.bool)
    begins[list(starts)] = True
    alpha = torch.where(begins, says[:, 0], zero)
    for t in range(1, T):
        stays, moves = alpha, F.pad(alpha, (1, -1), value=zero)
        jumps = torch.where(allowed, F.pad(alpha, (2, -2), value=zero), zero)
        new = add(torch.stack([stays, moves, jumps])) + says[:, t]
        alpha = torch.where((t < frames)[:, None], new, alpha) if stops else new
    last = 2 * letters[:, None] if own_letters else torch.full((B, 1), size - 1)
    found = torch.cat([alpha.gather(1, last - end) for end in ends], 1)
    return add(found.T)


def _by_probabilities(log_probs, targets, frames, letters):
    """Without logarithms on the way."""
    B, T, _ = log_probs.shape
    states = F.pad(torch.stack([torch.zeros_like(targets), targets], 2).flatten(1), (0, 1))
    allowed = F.pad((states[:, 2:] != 0) & (states[:, 2:] != states[:, :-2]), (2, 0), value=False)
    says = log_probs.exp().gather(2, states[:, None].expand(B, T, -1))
    alpha = says[:, 0] * (torch.arange(states.shape[1]) < 2)
    for t in range(1, T):
        ways = alpha + F.pad(alpha, (1, -1)) + F.pad(alpha, (2, -2)) * allowed
        alpha = torch.where((t < frames)[:, None], ways * says[:, t], alpha)
    last = 2 * letters[:, None]
    return (alpha.gather(1, last) + alpha.gather(1, last - 1))[:, 0].log()


def _ctc_cases(seed=1):
    draw = torch.Generator().manual_seed(seed)

    def case(T, C, rows, frames=None, sharp=1.0):
        letters = torch.tensor([len(row) for row in rows])
        targets = torch.zeros(len(rows), int(letters.max()), dtype=torch.int64)
        for place, row in enumerate(rows):
            targets[place, : len(row)] = torch.tensor(row)
        scores = sharp * torch.randn(len(rows), T, C, generator=draw, dtype=torch.float64)
        frames = torch.tensor(frames or [T] * len(rows))
        return scores.log_softmax(2), targets, frames, letters

    yield case(2, 2, [[1]])
    yield case(3, 3, [[1, 2]])
    yield case(4, 2, [[1, 1]])
    yield case(4, 3, [[1, 2]])
    yield case(5, 4, [[1, 2, 2], [3]])
    yield case(5, 3, [[1, 2], [2]], [5, 3])
    for B, T, C, longest in ((3, 9, 4, 4), (4, 14, 5, 5)):
        rows = []
        for _ in range(B):
            size = int(torch.randint(1, longest + 1, (1,), generator=draw))
            rows.append(torch.randint(1, C, (size,), generator=draw).tolist())
        frames = torch.randint(2 * longest, T + 1, (B,), generator=draw).tolist()
        yield case(T, C, rows, frames)
    # so unlikely that its probability is 0 in float64
    yield case(40, 9, [[3, 3, 5, 1], [2]], [40, 36], sharp=30.0)


def _ctc_batch():
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(32, 50, 17, generator=draw)
    letters = torch.randint(8, 21, (32,), generator=draw)
    targets = torch.randint(1, 17, (32, 20), generator=draw)
    targets = targets * (torch.arange(20) < letters[:, None])
    frames = torch.randint(44, 51, (32,), generator=draw)
    return scores.log_softmax(2).requires_grad_(), targets, frames, letters


CTC = Exercise(
    key="29.1",
    reference=ctc_log_likelihood,
    cases=_ctc_cases,
    use=_value_and_gradient,
    batch=_ctc_batch,
    verified=True,
    returns="log p of one row's text, and the gradient that comes from it",
    misconceptions=(
        *ideas(
            "a step over the blank is taken between two equal letters, too. Then nothing separates"
            " them, and they merge into one.",
            lambda p, y, t, n: _ctc(p, y, t, n, skip=lambda states, before: states != 0),
        ),
        *ideas(
            "a letter is jumped over: a step of two goes from letter to letter, never from blank to"
            " blank.",
            lambda p, y, t, n: _ctc(p, y, t, n, skip=lambda states, before: states == states),
        ),
        *ideas(
            "no step of two is there. Between two different letters the blank may be left out.",
            lambda p, y, t, n: _ctc(p, y, t, n, skip=lambda states, before: states != states),
        ),
        *ideas(
            "a path may end in the last letter and in the blank behind it: both states count.",
            lambda p, y, t, n: _ctc(p, y, t, n, ends=(0,)),
            lambda p, y, t, n: _ctc(p, y, t, n, ends=(1,)),
        ),
        *ideas(
            "the end is looked for behind the padding of `targets`. Each row's is at its own number"
            " of `letters`.",
            lambda p, y, t, n: _ctc(p, y, t, n, own_letters=False),
        ),
        *ideas(
            "padding frames are heard, too. A row's sums stay as they are from its own number of"
            " `frames` on.",
            lambda p, y, t, n: _ctc(p, y, t, n, stops=False),
        ),
        *ideas(
            "a path may begin with the blank or with the first letter, and with nothing else.",
            lambda p, y, t, n: _ctc(p, y, t, n, starts=(0,)),
            lambda p, y, t, n: _ctc(p, y, t, n, starts=(1,)),
            lambda p, y, t, n: _ctc(p, y, t, n, starts=(0, 1, 2)),
        ),
        *ideas(
            "products of hundreds of probabilities become 0, whose log is -inf. Stay with"
            " logarithms from the first frame to the last.",
            _by_probabilities,
        ),
        *ideas(
            "this is the likeliest path alone. Asked is the sum over all of them.",
            lambda p, y, t, n: _ctc(p, y, t, n, add=lambda ways: ways.amax(0)),
        ),
        *ideas(
            "the value is right, the gradient is NaN: two ways that are both -inf have none. Take"
            " -1e30 for the log of 0.",
            lambda p, y, t, n: _ctc(p, y, t, n, zero=-torch.inf),
        ),
        *ideas(
            "softmax is taken once more. `log_probs` are logarithms already; the value stays, and"
            " the gradient becomes another one.",
            lambda p, y, t, n: _ctc(p, y, t, n, again=True),
        ),
        *ideas(
            "asked is log p itself, one number a row: no minus, no mean, no division.",
            lambda p, y, t, n: -_ctc(p, y, t, n),
            lambda p, y, t, n: _ctc(p, y, t, n).mean(),
            lambda p, y, t, n: _ctc(p, y, t, n).sum(),
            lambda p, y, t, n: _ctc(p, y, t, n) / n,
        ),
    ),
)


# 29.2 -----------------------------------------------------------------------------------------


def greedy_letters(log_probs, frames):
    """Frame by frame: a letter is written where it is neither the blank nor the one before."""
    rows = []
    for row, count in zip(log_probs, frames.tolist()):
        last, said = 0, []
        for number in row[:count].argmax(dim=1).tolist():
            if number not in (0, last):
                said.append(number)
            last = number
        rows.append(said)
    return rows


def _as_lists(function, log_probs, frames):
    """Rows as lists of whole numbers, whatever holds them."""
    rows = function(log_probs, frames)
    if isinstance(rows, torch.Tensor) or not isinstance(rows, (list, tuple)):
        return rows
    return [row.tolist() if isinstance(row, torch.Tensor) else _plain(row) for row in rows]


def _plain(row):
    return [int(one) for one in row] if isinstance(row, (list, tuple)) else row


def _greedy(log_probs, frames, cut=True, merge=True, drop="after", blank=0, along=2):
    rows = []
    for best, count in zip(log_probs.argmax(along), frames.tolist()):
        path = best[:count] if cut else best
        if drop == "before":
            path = path[path != blank]
        if merge:
            path = path.unique_consecutive() if len(path) else path
        if drop == "after":
            path = path[path != blank]
        rows.append(path.tolist())
    return rows


def _over_the_batch(log_probs, frames):
    last, rows = 0, []
    for row, count in zip(log_probs.argmax(2), frames.tolist()):
        rows.append([])
        for number in row[:count].tolist():
            if number not in (0, last):
                rows[-1].append(number)
            last = number
    return rows


def _likelier_than_half(log_probs, frames):
    """A letter is written only where its probability is above a half."""
    sure = log_probs.clone()
    sure[..., 0] = torch.where(log_probs[..., 1:].amax(2) < -0.6931, 0.0, sure[..., 0])
    return _greedy(sure, frames)


def _greedy_cases(seed=1):
    draw = torch.Generator().manual_seed(seed)

    def case(paths, C=4, frames=None, sharp=3.0):
        T = max(map(len, paths))
        scores = torch.rand(len(paths), T, C, generator=draw, dtype=torch.float64)
        for b, path in enumerate(paths):
            for t in range(T):
                number = (
                    path[t] if t < len(path) else int(torch.randint(1, C, (1,), generator=draw))
                )
                scores[b, t, number] += sharp
        lengths = frames or [len(path) for path in paths]
        return scores.log_softmax(2), torch.tensor(lengths)

    yield case([[1, 1, 0, 1]])
    yield case([[0, 2, 2, 0]])
    yield case([[1, 0, 2, 3]], sharp=1.0)
    yield case([[3, 3, 3], [1, 2]])
    yield case([[2, 2, 0, 1], [1, 0, 2, 1], [0, 0, 0]])
    for B, T, C in ((3, 8, 4), (5, 12, 3)):
        paths = []
        for _ in range(B):
            size = int(torch.randint(3, T + 1, (1,), generator=draw))
            paths.append(torch.randint(0, C, (size,), generator=draw).tolist())
        yield case(paths, C, sharp=1.0)


def _greedy_batch():
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(200, 60, 17, generator=draw)
    return scores.log_softmax(2), torch.randint(30, 61, (200,), generator=draw)


GREEDY = Exercise(
    key="29.2",
    reference=greedy_letters,
    cases=_greedy_cases,
    use=_as_lists,
    batch=_greedy_batch,
    returns="a list of a row's letters, as numbers",
    misconceptions=(
        *ideas(
            "blanks are dropped before repeats are merged. Then `e-e` is one e: merge first.",
            lambda p, t: _greedy(p, t, drop="before"),
        ),
        *ideas(
            "repeats stay. A letter that goes on over several frames is one letter.",
            lambda p, t: _greedy(p, t, merge=False),
        ),
        *ideas("the blank, number 0, stays in the text.", lambda p, t: _greedy(p, t, drop="never")),
        *ideas(
            "nothing is merged and nothing dropped: these are the frames' numbers, not the text.",
            lambda p, t: _greedy(p, t, merge=False, drop="never"),
        ),
        *ideas(
            "padding frames are read, too: a row has `frames` of them, the rest is padding.",
            lambda p, t: _greedy(p, t, cut=False),
        ),
        *ideas(
            "the blank is number 0 here, not the last one.",
            lambda log_probs, frames: _greedy(log_probs, frames, blank=log_probs.shape[2] - 1),
        ),
        *ideas(
            "the largest is taken along time: which frame says a letter loudest. Asked is which"
            " number is the largest in each frame.",
            lambda p, t: _greedy(p, t, along=1),
        ),
        *ideas(
            "a row's first letter is compared with the last one of the row before.", _over_the_batch
        ),
        *ideas(
            "each letter comes once in a row. Only *neighbouring* equal frames are one letter.",
            lambda p, t: [list(dict.fromkeys(row)) for row in greedy_letters(p, t)],
            lambda p, t: [sorted(set(row)) for row in greedy_letters(p, t)],
        ),
        *ideas(
            "letters stand there only where they are likelier than a half. Asked is the likeliest"
            " number of each frame, whatever its probability.",
            _likelier_than_half,
        ),
    ),
)

EXERCISES = [CTC, GREEDY]
