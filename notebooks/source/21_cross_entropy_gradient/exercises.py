"""Notebook 21: the gradient of the cross-entropy, through a linear head, under a mask, with
weights and smoothing.
"""

import functools
from itertools import permutations

import torch
import torch.nn.functional as F

from course_utils.exercises import Exercise, ideas

_CLIMB = (
    "the sign is turned round: a step against this gradient would climb. The label's entry is the"
    " negative one."
)
_COUPLING = (
    "only the label's entry is filled. Every other logit is part of the sum that softmax divides"
    " by, so it moves the label's probability too: its entry is not 0."
)


def _p(logits, dim=-1):
    return logits.softmax(dim)


def _y(logits, labels):
    return F.one_hot(labels, logits.shape[-1]).to(logits.dtype)


def _tenths(*shape, draw):
    return torch.randn(*shape, generator=draw, dtype=torch.float64).mul(10).round() / 10


def _float64(*lists):
    return tuple(torch.tensor(one, dtype=torch.float64) for one in lists)


# 21.1 -----------------------------------------------------------------------------------------


def logits_gradient(logits, labels):
    """Row by row: p_i is 1 / sum_j exp(z_j - z_i), which may overflow to 1 / inf = 0 but never
    to NaN.
    """
    rows = [1 / (z - z[:, None]).exp().sum(1) for z in logits]
    for row, label in zip(rows, labels, strict=True):
        row[label] -= 1
    return torch.stack(rows) / len(rows)


def _logits_cases(seed=20):
    draw = torch.Generator().manual_seed(seed)
    yield torch.tensor([[4.0, 3.0, 1.0]], dtype=torch.float64).log(), torch.tensor([1])
    # C == N: what raises elsewhere runs here
    yield _tenths(3, 3, draw=draw), torch.tensor([2, 0, 2])
    yield _tenths(2, 4, draw=draw), torch.tensor([1, 1])
    large = [1e4, 0.0, -1e4], [1e4, 9999.0, -1e4], [10001.0, 1e4, 1e4], [-1e4, -1e4, -9999.0]
    yield *_float64(large), torch.tensor([0, 2, 1, 2])
    yield 3 * _tenths(6, 5, draw=draw), torch.tensor([0, 4, 4, 2, 1, 4])


def _either(message, *entries):
    """Misconceptions with 1/N and without; `entries` take the logits, the one-hot labels and the
    probabilities.
    """

    def wrong(logits, labels, of, n):
        return of(logits, _y(logits, labels), _p(logits)) / n(logits)

    return ideas(
        message,
        *(functools.partial(wrong, of=of, n=n) for of in entries for n in (len, lambda z: 1)),
    )


def _exp_over_sum(z):
    return z.exp() / z.exp().sum(-1, keepdim=True)


def _by_links(g, p):
    """`g`, the gradient with respect to the probabilities, times the Jacobian of softmax."""
    return p * (g - (g * p).sum(-1, keepdim=True))


LOGITS_GRADIENT = Exercise(
    key="21.1",
    reference=logits_gradient,
    cases=_logits_cases,
    returns="one row per sample, one number per class",
    misconceptions=(
        *_either(_CLIMB, lambda z, y, p: y - p),
        *ideas(
            "this is the gradient of the sum over the rows. The loss is their mean: each row counts"
            " 1/N.",
            lambda logits, labels: _p(logits) - _y(logits, labels),
        ),
        *ideas(
            "divided by all N * C entries. The mean runs over the rows; the C classes of a row"
            " share one loss.",
            lambda logits, labels: (_p(logits) - _y(logits, labels)) / logits.numel(),
        ),
        *_either(
            _COUPLING,
            lambda z, y, p: (p - 1) * y,
            lambda z, y, p: p * (1 - p) * (-y / p),
            lambda z, y, p: p * (1 - p) * torch.where(y > 0, -1 / p, 0),
        ),
        *_either(
            "half of softmax's derivative is missing. p depends on a logit twice: through the"
            " numerator, and through the sum that it is divided by.",
            lambda z, y, p: -y,
        ),
        *_either(
            "the second part of softmax's derivative has the wrong sign: when the sum that p is"
            " divided by grows, p shrinks.",
            lambda z, y, p: -y - p,
            lambda z, y, p: -(p - y).abs(),
        ),
        *_either(
            "this is the gradient with respect to the probabilities. One link of the chain is"
            " missing: from the probabilities back to the logits.",
            lambda z, y, p: -y / p,
            lambda z, y, p: torch.where(y > 0, -1 / p, 0),
        ),
        *_either(
            "the links of the chain are multiplied as numbers. With large logits p can be 0, 1/p is"
            " then infinite, and 0 times that is NaN: cancel p on paper first.",
            lambda z, y, p: _by_links(-y / p, p),
            lambda z, y, p: _by_links(torch.where(y > 0, -1 / p, 0), p),
        ),
        *_either(
            "the logarithm is forgotten: this is the gradient of minus the label's probability. The"
            " derivative of the logarithm cancels the p_y in front.",
            lambda z, y, p: (p * y).sum(-1, keepdim=True) * (p - y),
        ),
        *_either(
            "the logits are taken for probabilities: they have to go through softmax first.",
            lambda z, y, p: z - y,
        ),
        *_either(
            "the log-probabilities stand where the probabilities belong: softmax, not log_softmax.",
            lambda z, y, p: z.log_softmax(-1) - y,
        ),
        *_either(
            "sigmoid stands in the place of softmax. It looks at each logit alone; the classes of a"
            " row have to share one sum.",
            lambda z, y, p: z.sigmoid() - y,
        ),
        *_either(
            "softmax is applied twice: the logits go through it once.", lambda z, y, p: _p(p) - y
        ),
        *_either(
            "softmax runs over the rows (dim 0). It is the classes of one row that sum to 1: the"
            " last axis.",
            lambda z, y, p: _p(z, 0) - y,
        ),
        *_either(
            "exp(1e4) is infinite, and inf / inf is NaN. Subtract each row's largest logit first,"
            " as torch.softmax does.",
            lambda z, y, p: _exp_over_sum(z) - y,
        ),
        *_either(
            "the largest logit of the whole batch is subtracted before exp. In a row far below it"
            " every exp is 0, and 0 / 0 is NaN: each row needs its own largest logit.",
            lambda z, y, p: _exp_over_sum(z - z.max()) - y,
        ),
        *_either(
            "these are the probabilities alone, the same whatever the label is: the label has to"
            " come in.",
            lambda z, y, p: p,
        ),
        *_either(
            "1 is subtracted in every row at every label of the batch: p[:, labels] takes whole"
            " columns. Each row has one label: index rows and columns in pairs.",
            lambda z, y, p: p - y.amax(0),
        ),
        *_either(
            "only the label's entry of each row is returned. The loss depends on all C logits of a"
            " row.",
            lambda z, y, p: (p * y).sum(-1) - 1,
        ),
        *ideas(
            "F.one_hot makes as many columns as the largest label needs. Tell it the number of"
            " classes.",
            lambda logits, labels: (_p(logits) - F.one_hot(labels)) / len(logits),
        ),
        *ideas(
            "this is the loss itself, one number. Its derivative with respect to every logit is"
            " asked for.",
            lambda logits, labels: F.cross_entropy(logits, labels),
        ),
    ),
)


# 21.2 -----------------------------------------------------------------------------------------


def head_gradients(d_logits, features, weight):
    """Sample by sample: an outer product for the weight, the row itself for the bias, a mixture
    of weight rows behind.
    """
    d_weight = sum(torch.outer(d, x) for d, x in zip(d_logits, features, strict=True))
    d_features = torch.stack([sum(d[c] * row for c, row in enumerate(weight)) for d in d_logits])
    return d_weight, sum(d_logits), d_features


def _head_cases(seed=21):
    draw = torch.Generator().manual_seed(seed)
    yield _float64([[1, -2]], [[3]], [[4], [5]])
    # N == C == D: what is transposed runs here
    yield _float64([[1, -1], [0, 2]], [[1, 2], [3, 0]], [[1, 0], [2, -1]])
    for n, c, d in ((2, 3, 4), (3, 3, 3), (4, 2, 3), (4, 3, 3), (3, 3, 2), (5, 3, 5)):
        yield _tenths(n, c, draw=draw), _tenths(n, d, draw=draw), _tenths(c, d, draw=draw)


def _grads(g, x, w):
    return g.T @ x, g.sum(0), g @ w


def _part(message, place, *parts):
    """Misconceptions in one of the three tensors, with the other two right; `parts` take
    (d_logits, features, weight).
    """

    def wrong(d_logits, features, weight, part):
        three = list(_grads(d_logits, features, weight))
        three[place] = part(d_logits, features, weight)
        return tuple(three)

    return ideas(message, *(functools.partial(wrong, part=part) for part in parts))


def _times(message, *factors):
    """Misconceptions in which the three tensors carry factors; `factors` take the number of
    samples N.
    """

    def wrong(d_logits, features, weight, of):
        return tuple(f * g for f, g in zip(of(len(features)), _grads(d_logits, features, weight)))

    return ideas(message, *(functools.partial(wrong, of=of) for of in factors))


def _ordered(order):
    return lambda d_logits, features, weight: tuple(
        _grads(d_logits, features, weight)[i] for i in order
    )


_WEIGHT, _BIAS, _FEATURES = range(3)

HEAD_GRADIENTS = Exercise(
    key="21.2",
    reference=head_gradients,
    cases=_head_cases,
    returns="d_weight (C, D), d_bias (C,) and d_features (N, D)",
    misconceptions=(
        *_part(
            "d_weight is transposed, (D, C). A gradient has the shape of what it belongs to, and"
            " the weight is (C, D).",
            _WEIGHT,
            lambda g, x, w: x.T @ g,
        ),
        *_part(
            "in d_weight the matrix product does not run over the samples. They are the axis that"
            " has to disappear.",
            _WEIGHT,
            lambda g, x, w: g @ x,
        ),
        *_part(
            "d_weight still has one matrix per sample, (N, C, D). All samples share the weight: add"
            " over them.",
            _WEIGHT,
            lambda g, x, w: g[:, :, None] * x[:, None],
        ),
        *_part(
            "in d_weight the batch is summed up before it is multiplied. Each sample's d_logits"
            " belongs with its own features: multiply first, then add over the samples.",
            _WEIGHT,
            lambda g, x, w: torch.outer(g.sum(0), x.sum(0)),
            lambda g, x, w: torch.outer(g.sum(0), x.mean(0)),
            lambda g, x, w: torch.outer(g.mean(0), x.mean(0)),
        ),
        *_part(
            "in d_features the weight is transposed, as on the way forward. On the way back the sum"
            " runs over the classes, the first axis of the weight.",
            _FEATURES,
            lambda g, x, w: g @ w.T,
        ),
        *_part(
            "d_features is transposed, (D, N). A gradient has the shape of what it belongs to: one"
            " row per sample.",
            _FEATURES,
            lambda g, x, w: (g @ w).T,
        ),
        *_part(
            "in d_features the classes are summed up before they are multiplied. Each class has its"
            " own row of the weight: multiply first, then add over the classes.",
            _FEATURES,
            lambda g, x, w: torch.outer(g.sum(1), w.sum(0)),
        ),
        *_part(
            "d_features is the same for all samples. The weight is shared, the features are not:"
            " keep a row for each.",
            _FEATURES,
            lambda g, x, w: (g.sum(0) @ w).expand_as(x),
        ),
        *_part(
            "d_bias still has a row per sample, (N, C). All samples share the bias: add over them.",
            _BIAS,
            lambda g, x, w: g,
        ),
        *_part(
            "d_bias is summed over the classes, (N,). There is one bias per class: add over the"
            " samples, axis 0.",
            _BIAS,
            lambda g, x, w: g.sum(1),
        ),
        *_times(
            "d_bias is averaged over the batch. d_logits already holds the 1/N of the mean loss:"
            " add over the samples.",
            lambda n: (1, 1 / n, 1),
        ),
        *_times(
            "d_weight is averaged over the batch. d_logits already holds the 1/N of the mean loss:"
            " add over the samples.",
            lambda n: (1 / n, 1, 1),
        ),
        *_times(
            "divided by N once more. d_logits already holds the 1/N of the mean loss.",
            lambda n: (1 / n, 1 / n, 1),
            lambda n: (1 / n, 1 / n, 1 / n),
            lambda n: (1, 1, 1 / n),
        ),
        *_times(
            "all three have the sign turned round. The minus belongs to the optimizer's step, not"
            " to the gradient.",
            lambda n: (-1, -1, -1),
        ),
        *_times("d_weight has the sign turned round.", lambda n: (-1, 1, 1)),
        *_times(
            "d_bias has the sign turned round: the bias is added to the logits.",
            lambda n: (1, -1, 1),
        ),
        *_times("d_features has the sign turned round.", lambda n: (1, 1, -1)),
        *ideas(
            "the three came in another order: first d_weight (C, D), then d_bias (C,), then"
            " d_features (N, D).",
            *(_ordered(order) for order in permutations(range(3)) if order != (0, 1, 2)),
        ),
        *ideas(
            "these are the derivatives of the logits alone: features for the weight, 1 for the"
            " bias, the weight for the features. The chain rule multiplies each of them with"
            " d_logits.",
            lambda d_logits, features, weight: (features, torch.ones_like(d_logits[0]), weight),
        ),
    ),
)


# 21.3 -----------------------------------------------------------------------------------------


def padded_gradient(logits, labels, mask):
    """Picks out the real tokens as one long batch, and puts their gradients back into zeros."""
    result = torch.zeros_like(logits)
    result[mask] = logits_gradient(logits[mask], labels[mask])
    return result


def _padded_cases(seed=22):
    draw, nan = torch.Generator().manual_seed(seed), float("nan")

    def drawn(classes, padding, rows):
        """Random logits and labels; `rows` are the masks, 1 for a token, and `padding` is added
        wherever they have 0.
        """
        mask = torch.tensor(rows, dtype=torch.bool)
        logits = _tenths(*mask.shape, classes, draw=draw)
        labels = torch.randint(classes, mask.shape, generator=draw)
        return (
            torch.where(mask[..., None], logits, logits + padding),
            labels.masked_fill(~mask, 0),
            mask,
        )

    yield (
        *_float64([[[1.0, 0.0], [2.0, 3.0]]]),
        torch.tensor([[1, 0]]),
        torch.tensor([[True, False]]),
    )
    yield drawn(2, nan, [[1, 0], [1, 1]])  # B == T == C
    yield drawn(3, 0.0, [[1, 1, 0], [1, 0, 0]])
    yield drawn(3, nan, [[0, 1, 1], [1, 1, 1], [0, 0, 1]])  # padding in front
    # a row without a token
    yield drawn(4, nan, [[1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    yield drawn(3, 7.0, [[1, 0, 1, 1], [1, 1, 1, 1]])
    yield drawn(2, nan, [[1, 1, 1], [1, 1, 1]])


def _kept(d, mask):
    return torch.where(mask[..., None], d, 0)


def _tokens(message, *wrongs):
    """Misconceptions about the mask; `wrongs` take p - y, which is NaN where the logits are, and
    the mask.
    """

    def wrong(logits, labels, mask, of):
        return of(_p(logits) - _y(logits, labels), mask)

    return ideas(message, *(functools.partial(wrong, of=of) for of in wrongs))


def _number(message, *numbers):
    """Misconceptions that divide by another number, with the padding replaced by 0 and with it
    multiplied by 0.
    """
    hidden = _kept, lambda d, mask: d * mask[..., None]
    return _tokens(
        message,
        *(
            lambda d, mask, hide=hide, n=n: hide(d, mask) / n(mask)
            for n in numbers
            for hide in hidden
        ),
    )


def _before(message, *differences):
    """Misconceptions before the division; `differences` take the logits, the mask as (B, T, 1)
    and the one-hot labels.
    """

    def wrong(logits, labels, mask, of):
        return of(logits, mask[..., None], _y(logits, labels)) / mask.sum()

    return ideas(message, *(functools.partial(wrong, of=of) for of in differences))


def _own(mask):
    return mask.sum(1).clamp(min=1)[:, None, None]


PADDED_GRADIENT = Exercise(
    key="21.3",
    reference=padded_gradient,
    cases=_padded_cases,
    returns="C numbers for every place, padding too",
    misconceptions=(
        *_tokens(
            "NaN comes through from under the padding: 0 * NaN is NaN, in your code and in"
            " autograd's. Choose with torch.where, which puts a zero there whatever it was.",
            lambda d, mask: d * mask[..., None] / mask.sum(),
        ),
        *_number(
            "divided by all B * T places, so padding counts as tokens and the gradient fades."
            " Divide by the number of real tokens.",
            torch.numel,
        ),
        *_number(
            "divided by the number of texts B. The mean runs over tokens: divide by the number of"
            " real ones.",
            len,
        ),
        *_number(
            "this is the gradient of the sum over the tokens. The loss is their mean: divide by"
            " their number.",
            lambda mask: 1,
        ),
        *_number(
            "each row is divided by its own number of tokens, so a token of a short text counts"
            " more than one of a long text. The mean runs over the tokens of the whole batch: one"
            " number for all.",
            lambda mask: _own(mask) * len(mask),
            lambda mask: _own(mask) * mask.any(1).sum(),
            _own,
        ),
        *_tokens(
            "each row is divided by its own number of tokens, and a row without any gives 0 / 0."
            " The mean runs over the tokens of the whole batch: one number for all.",
            lambda d, mask: _kept(d, mask) / mask.sum(1)[:, None, None] / len(mask),
            lambda d, mask: _kept(d, mask) / mask.sum(1)[:, None, None],
        ),
        *_tokens(
            "padding gets a gradient like any token: the mask is used only to count. Put zeros"
            " where it is False.",
            lambda d, mask: d / mask.sum(),
        ),
        *_tokens(
            "the mask is not used: padding gets a gradient, and counts as tokens.",
            lambda d, mask: d / mask.numel(),
            lambda d, mask: d,
        ),
        *_tokens(
            "NaN is replaced, but padding may hold any number, and there it still gets a gradient."
            " Only the mask says what is padding.",
            lambda d, mask: d.nan_to_num() / mask.sum(),
        ),
        *_tokens(
            "the mask is turned round: tokens became zero and padding was kept. It is True for a"
            " real token.",
            lambda d, mask: _kept(d, ~mask) / mask.sum(),
            lambda d, mask: _kept(d, ~mask) / (~mask).sum(),
        ),
        *_tokens(
            "the mask has lost its last axis, (B, T), and is lined up with the classes: mask[...,"
            " None] keeps it at the tokens.",
            lambda d, mask: torch.where(mask, d, 0) / mask.sum(),
        ),
        *_tokens(
            "the mask is read as a length: the first places are taken, as many as there are tokens."
            " Padding may stand in front, too.",
            lambda d, mask: (
                _kept(d, torch.arange(mask.shape[1]) < mask.sum(1, keepdim=True)) / mask.sum()
            ),
        ),
        *_tokens(
            "only the rows of the real tokens are returned. They have to stand in their places"
            " again, between zeros.",
            lambda d, mask: d[mask] / mask.sum(),
        ),
        *ideas(
            "label 0 is taken for padding. It is a class like the others: only the mask says what"
            " is padding.",
            lambda logits, labels, mask: (
                _kept(_p(logits) - _y(logits, labels), labels != 0) / (labels != 0).sum()
            ),
        ),
        *_before(_CLIMB, lambda z, m, y: torch.where(m, y - _p(z), 0)),
        *_before(_COUPLING, lambda z, m, y: torch.where(m, (_p(z) - 1) * y, 0)),
        *_before(
            "softmax runs over the wrong axis. It is the classes of one token that sum to 1, not"
            " the tokens of a text: the last axis.",
            lambda z, m, y: torch.where(m, _p(z, 1) - y, 0),
            lambda z, m, y: torch.where(m, _p(z, 0) - y, 0),
            lambda z, m, y: torch.where(m, _p(z.masked_fill(~m, -torch.inf), 1) - y, 0),
        ),
        *_before(
            "the logits under padding are set to 0 before softmax. That gives probabilities like"
            " any others, and so a gradient: put the zeros in after the subtraction.",
            lambda z, m, y: _p(torch.where(m, z, 0)) - y,
        ),
        *_before(
            "the logits are multiplied by the mask before softmax. Zeros give probabilities like"
            " any others, and 0 * NaN is NaN: put the zeros in after the subtraction.",
            lambda z, m, y: _p(z * m) - y,
        ),
        *_before(
            "the logits under padding are minus infinity for every class, and softmax divides 0 by"
            " 0. Put zeros in after the subtraction.",
            lambda z, m, y: _p(z.masked_fill(~m, -torch.inf)) - y,
        ),
        *_before(
            "only the probabilities are masked: under padding the label 0 is still subtracted. Put"
            " the zeros in after the subtraction.",
            lambda z, m, y: torch.where(m, _p(z), 0) - y,
            lambda z, m, y: _p(z) * m - y,
        ),
        *_before(
            "only the labels are masked: under padding the probabilities are still there. Put the"
            " zeros in after the subtraction.",
            lambda z, m, y: _p(z) - y * m,
        ),
    ),
)


# 21.4 -----------------------------------------------------------------------------------------


def smoothed_weighted_gradient(logits, labels, class_weights, smoothing):
    """Class by class: each -log p_c has the gradient of a plain loss with label c, and counts
    with its target.
    """
    p, (n, classes) = logits.log_softmax(1).exp(), logits.shape
    result = torch.zeros_like(logits)
    for c in range(classes):
        q = torch.full_like(p[:, :1], smoothing / classes)
        q[labels == c] += 1 - smoothing
        result += class_weights[c] * q * (p - _y(logits, torch.full((n,), c)))
    return result / sum(class_weights[label] for label in labels)


def _smoothed_cases(seed=23):
    draw = torch.Generator().manual_seed(seed)
    yield *_float64([[1.0, 0.0]]), torch.tensor([1]), *_float64([1.0, 2.0]), 0.2
    # C == N
    yield _tenths(3, 3, draw=draw), torch.tensor([2, 0, 2]), *_float64([1.0, 2.0, 4.0]), 0.1
    yield _tenths(3, 2, draw=draw), torch.tensor([0, 1, 0]), *_float64([1.0, 1.0]), 0.3
    yield _tenths(2, 4, draw=draw), torch.tensor([3, 1]), *_float64([0.5, 2.0, 1.0, 3.0]), 0.0
    yield (
        _tenths(5, 4, draw=draw),
        torch.tensor([1, 1, 0, 3, 1]),
        *_float64([0.2, 1.5, 3.0, 0.7]),
        0.3,
    )


def _own_weights(y, w):
    return (y * w).sum(1, keepdim=True)


def _divisor(y, w):
    return (y * w).sum()


def _one(y, w):
    return 1


def _rows(message, *wrongs, over=(_divisor, lambda y, w: len(y))):
    """Misconceptions, with each number they may be divided by; `wrongs` take p, the one-hot
    labels, the weights and eps.
    """

    def wrong(logits, labels, class_weights, smoothing, of, number):
        y = _y(logits, labels)
        return of(_p(logits), y, class_weights, smoothing) / number(y, class_weights)

    return ideas(
        message,
        *(functools.partial(wrong, of=of, number=number) for of in wrongs for number in over),
    )


def _q(y, eps):
    return (1 - eps) * y + eps / y.shape[1]


def _to(p, t):
    """The gradient of - sum_c t_c log p_c, whatever the targets sum to."""
    return p * t.sum(1, keepdim=True) - t


def _right(p, y, w, eps):
    return _to(p, w * _q(y, eps))


def _shares(message, q):
    """Misconceptions about the smoothed labels, which `q` makes from the one-hot labels and eps."""
    return _rows(message, lambda p, y, w, eps: _to(p, w * q(y, eps)))


SMOOTHED_WEIGHTED_GRADIENT = Exercise(
    key="21.4",
    reference=smoothed_weighted_gradient,
    cases=_smoothed_cases,
    returns="one row per sample, one number per class",
    misconceptions=(
        *_rows(
            "the two formulas are put together: the label's weight stands in front of the smoothed"
            " difference. In this loss each class's share of the target has its own weight, w_c"
            " q_c.",
            lambda p, y, w, eps: _own_weights(y, w) * (p - _q(y, eps)),
        ),
        *_rows(
            "this is p minus the weighted targets. They no longer sum to 1, so p comes with their"
            " sum: p * sum(t) - t.",
            lambda p, y, w, eps: p - w * _q(y, eps),
        ),
        *_rows(
            "p comes with the label's weight. It has to come with the sum of the row's targets, in"
            " which every class has a share.",
            lambda p, y, w, eps: p * _own_weights(y, w) - w * _q(y, eps),
        ),
        *_rows(
            "p comes with a sum over the samples. Each sample has its own sum of targets, over its"
            " classes.",
            lambda p, y, w, eps: p * (w * _q(y, eps)).sum(0) - w * _q(y, eps),
            lambda p, y, w, eps: p * (w * _q(y, eps)).sum() - w * _q(y, eps),
        ),
        *_rows(
            "p comes with the sum of the class weights. It has to come with the sum of the row's"
            " targets, which are w_c q_c.",
            lambda p, y, w, eps: p * w.sum() - w * _q(y, eps),
        ),
        *_rows(
            "the sum of a row's targets has lost its axis, (N,), and is lined up with the classes:"
            " keepdim=True keeps it.",
            lambda p, y, w, eps: p * (w * _q(y, eps)).sum(1) - w * _q(y, eps),
        ),
        *_rows(
            "the weights multiply the finished gradient, column by column. They belong to the terms"
            " of the loss, and each term reaches all columns through p.",
            lambda p, y, w, eps: w * (p - _q(y, eps)),
        ),
        *_rows(
            "the weights change the probabilities, as if their logarithm were added to the logits."
            " They belong to the terms of the loss: softmax stays as it is.",
            lambda p, y, w, eps: w * p / (w * p).sum(1, keepdim=True) - _q(y, eps),
        ),
        *_rows(
            "divided by the number of samples. A weighted mean is divided by the weights of the"
            " labels, added up.",
            _right,
            over=(lambda y, w: len(y),),
        ),
        *_rows(
            "divided by the sum of all class weights. One weight for each sample is added up, the"
            " one of its label.",
            _right,
            over=(lambda y, w: w.sum(),),
        ),
        *_rows(
            "divided by the sum of all targets. In this loss the smoothing is not in the divisor:"
            " it adds up the weights of the labels.",
            lambda p, y, w, eps: _right(p, y, w, eps) / (w * _q(y, eps)).sum(),
            over=(_one,),
        ),
        *_rows(
            "each row is divided by its own weight. The divisor is one number for the whole batch.",
            lambda p, y, w, eps: _right(p, y, w, eps) / _own_weights(y, w),
            over=(_divisor, lambda y, w: len(y), _one),
        ),
        *_rows(
            "not divided: look at what stands in front of the two sums of the loss.",
            _right,
            over=(_one,),
        ),
        *_rows(
            "the sign is turned round: a step against this gradient would climb.",
            lambda *args: -_right(*args),
        ),
        *_rows(
            "the smoothing is forgotten: the other classes have a share of the target, too.",
            lambda p, y, w, eps: _to(p, w * y),
        ),
        *_rows(
            "the weights are forgotten: class c's share of the target counts w_c times.",
            lambda p, y, w, eps: p - _q(y, eps),
        ),
        *_rows(
            "weights and smoothing are both forgotten: this is p - y.",
            lambda p, y, w, eps: p - y,
        ),
        *_rows(
            "the smoothing comes after the weights, so its share has none. In the loss w_c"
            " multiplies all of q_c.",
            lambda p, y, w, eps: _to(p, (1 - eps) * y * w + eps / y.shape[1]),
        ),
        *_shares(
            "the smoothing is spread over the C - 1 other classes. In this loss all C classes get"
            " eps / C, the label too.",
            lambda y, eps: (1 - eps) * y + eps / (y.shape[1] - 1) * (1 - y),
        ),
        *_shares(
            "the label gets no share of the smoothing. All C classes get eps / C, the label on top"
            " of its 1 - eps.",
            lambda y, eps: (1 - eps) * y + eps / y.shape[1] * (1 - y),
        ),
        *_shares(
            "the label keeps its full 1, so q sums to more than 1. What the classes share is taken"
            " from the label.",
            lambda y, eps: y + eps / y.shape[1],
        ),
        *_shares(
            "every class gets all of eps. The C classes share it.",
            lambda y, eps: (1 - eps) * y + eps,
        ),
    ),
)

EXERCISES = [LOGITS_GRADIENT, HEAD_GRADIENTS, PADDED_GRADIENT, SMOOTHED_WEIGHTED_GRADIENT]
