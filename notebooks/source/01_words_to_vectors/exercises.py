"""Notebook 01: the mean under a mask, one step of a recurrent network, the loss of one skip-gram
pair.
"""

import torch
import torch.nn.functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws, float64

# 01.1 -----------------------------------------------------------------------------------------


def masked_mean(x, mask):
    """A weighted sum whose weights are 1/n at a row's n real tokens."""
    real = x.masked_fill(~mask[..., None], 0)
    weights = mask.to(x.dtype) / mask.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("bt,btd->bd", weights, real)


def _mean_cases(seed=1):
    yield torch.tensor([[[2.0], [9.0]]], dtype=torch.float64), torch.tensor([[True, False]])
    # padding in front and between; real tokens that hold a zero, and nothing but zeros
    yield float64([[[9.0], [2.0], [8.0], [5.0]]]) + (torch.tensor([[False, True, False, True]]),)
    zeros = [[0.0, 0.0], [4.0, 0.0], [2.0, 6.0], [9.0, 9.0]]
    yield float64([zeros]) + (torch.tensor([[True, True, True, False]]),)
    draw = draws(seed)
    for lengths, T, D, under in (
        ((2, 1), 3, 2, 9.0),
        ((3, 1, 2), 3, 3, 7.0),  # B = T = D: what raises elsewhere runs here
        ((2, 0), 2, 3, 5.0),
        ((2, 4, 1), 4, 2, float("nan")),
        ((0, 3, 5), 5, 1, float("nan")),
        ((4, 4), 4, 3, 0.0),
    ):
        mask = _first(torch.tensor(lengths), T)
        yield draw(len(lengths), T, D).masked_fill(~mask[..., None], under), mask


def _mean_batch():
    """Word vectors and mask of one batch of the page's training, the longest text of 15 words."""
    draw = torch.Generator().manual_seed(0)
    lengths = torch.randint(5, 16, (64,), generator=draw)
    return torch.randn(64, 15, 32, generator=draw).requires_grad_(), _first(lengths, 15)


def _real(x, mask):
    return torch.where(mask[..., None], x, 0)


def _count(mask):
    return mask.sum(1, keepdim=True).clamp(min=1)


def _where_numbers_are(x, mask):
    found = (x != 0).any(2) & mask
    return _real(x, found).sum(1) / _count(found)


def _up_to_the_last(x, mask):
    ends = (mask * torch.arange(1, x.shape[1] + 1)).amax(1)
    return masked_mean(x, _first(ends, x.shape[1]))


def _first(lengths, T):
    """A mask whose row is True at its first places, as many as its length says."""
    return torch.arange(T) < lengths[:, None]


MASKED_MEAN = Exercise(
    key="01.1",
    verified=True,
    reference=masked_mean,
    cases=_mean_cases,
    batch=_mean_batch,
    returns="one mean of D numbers for each row",
    misconceptions=(
        *ideas(
            "divided by T, the padding counted too. Divide by each row's number of real tokens.",
            lambda x, mask: _real(x, mask).mean(1),
        ),
        *ideas(
            "the mask is not used: this is the mean over all places, padding too.",
            lambda x, mask: x.mean(1),
        ),
        *ideas(
            "this is the sum of the real tokens. Divide it by how many there are.",
            lambda x, mask: _real(x, mask).sum(1),
        ),
        *ideas(
            "padding is multiplied by 0. It may hold NaN, and 0 * NaN is NaN: choose with"
            " torch.where or masked_fill.",
            lambda x, mask: (x * mask[..., None]).sum(1) / _count(mask),
            lambda x, mask: (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True),
        ),
        *ideas(
            "a text without a token gives 0 / 0, which is NaN. Divide by at least 1.",
            lambda x, mask: _real(x, mask).sum(1) / mask.sum(1, keepdim=True),
        ),
        *ideas(
            "the mask is turned round: True stands for a real token.",
            lambda x, mask: _real(x, ~mask).sum(1) / _count(~mask),
        ),
        *ideas(
            "the real tokens of the whole batch are taken together. Each row is a text of its own,"
            " with its own number of them.",
            lambda x, mask: _real(x, mask).sum(1) / mask.sum(),
            lambda x, mask: x[mask].mean(0),
            lambda x, mask: x[mask].mean(0).expand(len(x), -1),
        ),
        *ideas(
            "the mean runs over the rows of the batch. The tokens of one text lie along axis 1.",
            lambda x, mask: _real(x, mask).sum(0) / mask.sum(0)[:, None].clamp(min=1),
        ),
        *ideas(
            "the axis of the tokens is still there, with length 1. The result is (B, D).",
            lambda x, mask: (_real(x, mask).sum(1) / _count(mask))[:, None],
        ),
        *ideas(
            "the counts (B,) go along the axis of D. Keep their axis, (B, 1): keepdim=True.",
            lambda x, mask: _real(x, mask).sum(1) / mask.sum(1).clamp(min=1),
        ),
        *ideas(
            "the mask (B, T) meets x (B, T, D) along the axis of D. Give it one more axis,"
            " mask[..., None]: (B, T, 1).",
            lambda x, mask: (x * mask).sum(1) / _count(mask),
        ),
        *ideas(
            "which tokens are real is guessed, from their numbers or from their places: a real one"
            " may hold 0, and padding may stand in front or between. The mask alone says it.",
            lambda x, mask: _real(x, mask).sum(1) / (_real(x, mask) != 0).sum(1).clamp(min=1),
            _where_numbers_are,
            lambda x, mask: masked_mean(x, _first(mask.sum(1), x.shape[1])),
            _up_to_the_last,
        ),
    ),
)


# 01.2 -----------------------------------------------------------------------------------------


def rnn_step(x, state, W, U, b):
    """The product of the state is added to a linear layer of the word in one call."""
    word = F.linear(x, W, b)
    return torch.addmm(word, state, U.T).tanh()


def _step_cases(seed=2):
    yield float64([[1.0]], [[0.5]], [[0.7]], [[-0.4]], [0.1])
    draw = draws(seed)
    for B, D, H in ((1, 2, 1), (1, 1, 2), (2, 3, 2), (3, 3, 3), (2, 2, 2), (3, 1, 4)):
        yield draw(B, D), draw(B, H), draw(H, D), draw(H, H), draw(H)
    # exp(901) is infinite, in float64 too
    yield float64([[30.0], [-30.0]], [[1.0], [-1.0]], [[30.0]], [[1.0]], [0.1])


def _step_batch():
    """One word of one batch of the page's training, and the weights that it trains."""
    draw = torch.Generator().manual_seed(0)
    x, state = torch.randn(2, 64, 32, generator=draw)
    W, U = 0.2 * torch.randn(2, 32, 32, generator=draw)
    return tuple(part.clone().requires_grad_() for part in (x, state, W, U, torch.zeros(32)))


def _linear(x, state, W, U, b):
    return x @ W.T + state @ U.T + b


def _by_exp(z):
    return (z.exp() - (-z).exp()) / (z.exp() + (-z).exp())


def _by_exp_of_twice(z):
    return ((2 * z).exp() - 1) / ((2 * z).exp() + 1)


RNN_STEP = Exercise(
    key="01.2",
    reference=rnn_step,
    cases=_step_cases,
    batch=_step_batch,
    returns="the new state of each row, H numbers",
    misconceptions=(
        *ideas("tanh is missing: what is inside it is returned.", _linear),
        *ideas(
            "the old state is missing: this step has forgotten all words before this one.",
            lambda x, state, W, U, b: torch.tanh(x @ W.T + b),
        ),
        *ideas(
            "the word is missing: the new state comes from the old one alone.",
            lambda x, state, W, U, b: torch.tanh(state @ U.T + b),
        ),
        *ideas(
            "the bias b is missing.", lambda x, state, W, U, b: torch.tanh(x @ W.T + state @ U.T)
        ),
        *ideas(
            "the bias is added outside of tanh, or twice. It is added once, inside.",
            lambda x, state, W, U, b: torch.tanh(x @ W.T + state @ U.T) + b,
            lambda x, state, W, U, b: torch.tanh(F.linear(x, W, b) + F.linear(state, U, b)),
        ),
        *ideas(
            "another function stands in the place of tanh.",
            lambda x, state, W, U, b: torch.sigmoid(_linear(x, state, W, U, b)),
            lambda x, state, W, U, b: torch.relu(_linear(x, state, W, U, b)),
        ),
        *ideas(
            "U or W is not transposed. In the formula a vector is a column behind the matrix; here"
            " samples are rows in front of it: state @ U.T.",
            lambda x, state, W, U, b: torch.tanh(x @ W.T + state @ U + b),
            lambda x, state, W, U, b: torch.tanh(x @ W + state @ U.T + b),
            lambda x, state, W, U, b: torch.tanh(x @ W + state @ U + b),
        ),
        *ideas(
            "W and U are swapped: W multiplies the word x, U the state.",
            lambda x, state, W, U, b: torch.tanh(x @ U.T + state @ W.T + b),
        ),
        *ideas(
            "there are two tanh. Add word, state and bias first, then take one tanh of the sum.",
            lambda x, state, W, U, b: torch.tanh(x @ W.T + b) + torch.tanh(state @ U.T),
            lambda x, state, W, U, b: torch.tanh(x @ W.T) + torch.tanh(state @ U.T) + b,
            lambda x, state, W, U, b: torch.tanh(x @ W.T) + torch.tanh(state @ U.T + b),
        ),
        *ideas(
            "the old state is added to the new one. It enters once, inside of tanh, through U.",
            lambda x, state, W, U, b: state + torch.tanh(_linear(x, state, W, U, b)),
        ),
        *ideas(
            "the result is transposed, (H, B). Samples are rows: (B, H).",
            lambda x, state, W, U, b: torch.tanh(_linear(x, state, W, U, b)).T,
        ),
        *ideas(
            "tanh is made of exponentials, which overflow where the sum is large: infinity divided"
            " by infinity is NaN. Take torch.tanh.",
            lambda x, state, W, U, b: _by_exp(_linear(x, state, W, U, b)),
            lambda x, state, W, U, b: _by_exp_of_twice(_linear(x, state, W, U, b)),
            lambda x, state, W, U, b: -_by_exp_of_twice(-_linear(x, state, W, U, b)),
        ),
    ),
)


# 01.3 -----------------------------------------------------------------------------------------


def pair_loss(centre, context, negatives):
    """By softplus, because -log sigmoid(s) = softplus(-s)."""
    true = torch.einsum("bd,bd->b", centre, context)
    random = torch.einsum("bd,bkd->bk", centre, negatives)
    return F.softplus(-true) + F.softplus(random).sum(1)


def _pair_cases(seed=3):
    yield float64([[1.0]], [[2.0]], [[[0.5]]])
    draw = draws(seed)
    for B, K, D in ((1, 1, 2), (1, 3, 2), (2, 1, 3), (3, 2, 2), (2, 2, 2), (3, 3, 3)):
        yield draw(B, D), draw(B, D), draw(B, K, D)
    yield float64([[30.0, 10.0]], [[-30.0, 5.0]], [[[-1.0, 1.0], [-20.0, -40.0]]])
    yield float64([[30.0, 10.0]], [[1.0, -2.0]], [[[40.0, 3.0]]])
    yield float64([[30.0, 10.0]], [[1.0, -2.0]], [[[2.0, 0.5]]])


def _pair_batch():
    """One batch of the page's pairs: 512 of width 16, each with five random words."""
    draw = torch.Generator().manual_seed(0)
    sizes = (512, 16), (512, 16), (512, 5, 16)
    return tuple(torch.randn(size, generator=draw).requires_grad_() for size in sizes)


def _true(centre, context):
    return (centre * context).sum(-1)  # (B, D) -> (B,)


def _random(centre, negatives):
    return (negatives * centre[:, None]).sum(-1)  # (B, K, D) -> (B, K)


def _softmax(centre, context, negatives):
    true = _true(centre, context)
    return torch.cat([true[:, None], _random(centre, negatives)], 1).logsumexp(1) - true


def _plus_epsilon(centre, context, negatives, epsilon):
    """A clamp at epsilon gives the same in all cases."""
    true, random = _true(centre, context).sigmoid(), (-_random(centre, negatives)).sigmoid()
    return -(true + epsilon).log() - (random + epsilon).log().sum(-1)


def _without_its_axis(centre, context, negatives):
    random = (negatives * centre).sum(-1)
    return F.softplus(-_true(centre, context)) + F.softplus(random).sum(-1)


# in the lambdas v, u, n are the vectors of the centres, of their neighbours, of the random words
PAIR_LOSS = Exercise(
    key="01.3",
    verified=True,
    reference=pair_loss,
    cases=_pair_cases,
    batch=_pair_batch,
    returns="one loss for each of the B true pairs",
    misconceptions=(
        *ideas(
            "a sign inside the sigmoid is wrong: the true score goes in as it is, a random one with"
            " a minus.",
            lambda v, u, n: F.softplus(-_true(v, u)) + F.softplus(-_random(v, n)).sum(-1),
            lambda v, u, n: F.softplus(_true(v, u)) + F.softplus(-_random(v, n)).sum(-1),
        ),
        *ideas(
            "the minus before the logarithms is missing: a loss is at least 0, and falls when the"
            " model gets better.",
            lambda v, u, n: -F.softplus(-_true(v, u)) - F.softplus(_random(v, n)).sum(-1),
            lambda v, u, n: F.softplus(-_true(v, u)) - F.softplus(_random(v, n)).sum(-1),
        ),
        *ideas(
            "the K random pairs are averaged. Sum them.",
            lambda v, u, n: F.softplus(-_true(v, u)) + F.softplus(_random(v, n)).mean(-1),
        ),
        *ideas(
            "the losses of the batch are added or averaged. Return one for each pair, (B,).",
            lambda v, u, n: (F.softplus(-_true(v, u)) + F.softplus(_random(v, n)).sum(-1)).mean(),
            lambda v, u, n: (F.softplus(-_true(v, u)) + F.softplus(_random(v, n)).sum(-1)).sum(),
            lambda v, u, n: F.softplus(-_true(v, u)) + F.softplus(_random(v, n)).sum(),
        ),
        *ideas(
            "only one of the two parts is there. The true pair and its K random ones both count.",
            lambda v, u, n: F.softplus(-_true(v, u)),
        ),
        *ideas(
            "the random words are compared with the neighbour. Their partner is the centre, too.",
            lambda v, u, n: F.softplus(-_true(v, u)) + F.softplus(_random(u, n)).sum(-1),
        ),
        *ideas(
            "the sigmoid and its logarithm are missing: these are the scores themselves.",
            lambda v, u, n: -_true(v, u) + _random(v, n).sum(-1),
        ),
        *ideas(
            "the logarithm is missing. The loss is minus the logarithm of a probability.",
            lambda v, u, n: -torch.sigmoid(_true(v, u)) - torch.sigmoid(-_random(v, n)).sum(-1),
        ),
        *ideas(
            "for a large score the sigmoid becomes 0 or 1 and its logarithm infinite, or, with a"
            " small number added, a constant. F.logsigmoid is computed in one piece.",
            lambda v, u, n: -_true(v, u).sigmoid().log() - (-_random(v, n)).sigmoid().log().sum(-1),
            lambda v, u, n: (
                -_true(v, u).sigmoid().log() - (1 - _random(v, n).sigmoid()).log().sum(-1)
            ),
            lambda v, u, n: _plus_epsilon(v, u, n, 1e-9),
            lambda v, u, n: _plus_epsilon(v, u, n, 1e-8),
        ),
        *ideas(
            "this is a softmax over the true word and the random ones. Here each pair is judged"
            " alone, by a sigmoid.",
            _softmax,
        ),
        *ideas(
            "a centre meets words of other rows. Give it an axis for its own K random words,"
            " centre[:, None], and for the true pair multiply row by row.",
            _without_its_axis,
            lambda v, u, n: F.softplus(-v @ u.T) + F.softplus(_random(v, n)).sum(-1),
        ),
        *ideas(
            "the random scores are added before the sigmoid. Each has a sigmoid and a logarithm of"
            " its own.",
            lambda v, u, n: F.softplus(-_true(v, u)) + F.softplus(_random(v, n).sum(-1)),
        ),
    ),
)

EXERCISES = [MASKED_MEAN, RNN_STEP, PAIR_LOSS]
