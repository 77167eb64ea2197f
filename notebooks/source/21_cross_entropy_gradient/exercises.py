"""Notebook 21: the gradient of the cross-entropy, of a batch, under a mask, with weights and
smoothing.
"""

import torch
import torch.nn.functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.derived import without_autograd
from course_utils.exercises.draws import draws, float64


def _p(logits, dim=-1):
    return logits.softmax(dim)


def _y(logits, labels):
    return F.one_hot(labels, logits.shape[-1]).to(logits.dtype)


def _labels(classes, *shape, seed):
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


AUTOGRAD = (
    "autograd is called, and the exercise asks for what you derived: write it down without"
    " backward() or grad()."
)


def _sent(loss, logits):
    """What autograd sends to the logits."""
    logits = logits.detach().requires_grad_()
    return torch.autograd.grad(loss(logits), logits)[0]


# 21.1 -----------------------------------------------------------------------------------------


def logits_gradient(logits, labels):
    """p_i is 1 / sum_j exp(z_j - z_i), which may overflow to 1 / inf = 0 but never to NaN."""
    p = 1 / (logits[:, None] - logits[:, :, None]).exp().sum(dim=2)  # (B, C, C) -> (B, C)
    p[torch.arange(len(p)), labels] -= 1
    return p / len(p)


def _logits_cases(seed=20):
    draw = draws(seed)
    yield torch.tensor([[4.0, 3.0, 1.0]], dtype=torch.float64).log(), torch.tensor([1])
    # C == B: what raises elsewhere runs here
    yield draw(3, 3), torch.tensor([2, 0, 2])
    yield draw(2, 4), torch.tensor([1, 1])
    large = [1e4, 0.0, -1e4], [1e4, 9999.0, -1e4], [10001.0, 1e4, 1e4], [-1e4, -1e4, -9999.0]
    yield *float64(large), torch.tensor([0, 2, 1, 2])
    yield 3 * draw(6, 5), torch.tensor([0, 4, 4, 2, 1, 4])


def _use_logits(answer, logits, labels):
    return without_autograd(answer, logits, labels)


def _by_autograd(logits, labels):
    return _sent(lambda z: F.cross_entropy(z, labels), logits)


def _columns(logits, labels):
    p = _p(logits)
    p[:, labels] -= 1
    return p / len(p)


def _one_link(logits, labels):
    """The gradient with respect to the probabilities."""
    return -_y(logits, labels) / _p(logits) / len(logits)


def _one_link_at_the_label(logits, labels):
    return torch.where(_y(logits, labels) > 0, -1 / _p(logits), 0) / len(logits)


def _through_softmax(p, g):
    return p * (g - (g * p).sum(-1, keepdim=True))


def _lined_up(z):
    powers = (z - z.amax(-1, keepdim=True)).exp()
    return powers / powers.sum(-1)


def _overflowing(z):
    return z.exp() / z.exp().sum(-1, keepdim=True)


LOGITS_GRADIENT = Exercise(
    key="21.1",
    verified=True,
    reference=logits_gradient,
    cases=_logits_cases,
    use=_use_logits,
    batch=lambda: (draws(0)(128, 10).float(), _labels(10, 128, seed=0)),
    returns="one row per sample, one number per class",
    misconceptions=(
        *ideas(AUTOGRAD, _by_autograd),
        *ideas(
            "the sign is turned round: a step against this gradient would climb. The label's entry"
            " is the negative one.",
            lambda logits, labels: (_y(logits, labels) - _p(logits)) / len(logits),
            lambda logits, labels: _y(logits, labels) - _p(logits),
        ),
        *ideas(
            "one of the two signs is wrong: the probabilities come with a plus, the label's 1 with"
            " a minus.",
            lambda logits, labels: (_p(logits) + _y(logits, labels)) / len(logits),
        ),
        *ideas(
            "the factor is wrong. The loss is the mean over the rows, so each row counts 1/B; the C"
            " classes of a row share one loss.",
            lambda logits, labels: _p(logits) - _y(logits, labels),
            lambda logits, labels: (_p(logits) - _y(logits, labels)) / logits.numel(),
            lambda logits, labels: (_p(logits) - _y(logits, labels)) / logits.shape[1],
        ),
        *ideas(
            "only the probabilities are divided by B: division comes before minus. Where are"
            " brackets needed?",
            lambda logits, labels: _p(logits) / len(logits) - _y(logits, labels),
            lambda logits, labels: _p(logits) - _y(logits, labels) / len(logits),
        ),
        *ideas(
            "only the label's entry is filled. Every other logit is part of the sum that softmax"
            " divides by, so it moves the label's probability too: its entry is not 0.",
            lambda logits, labels: (_p(logits) - 1) * _y(logits, labels) / len(logits),
        ),
        *ideas(
            "this is the gradient with respect to the probabilities. One link of the chain is"
            " missing: from the probabilities back to the logits.",
            _one_link,
            _one_link_at_the_label,
        ),
        *ideas(
            "the links of the chain are multiplied as numbers. With large logits p can be 0, 1/p is"
            " then infinite, and 0 times that is NaN: cancel p on paper first.",
            lambda logits, labels: _through_softmax(_p(logits), _one_link(logits, labels)),
            lambda logits, labels: _through_softmax(
                _p(logits), _one_link_at_the_label(logits, labels)
            ),
        ),
        *ideas(
            "the classes of one row do not sum to 1. Softmax runs over the rows (dim 0), where the"
            " last axis is meant; or a row's sum has lost its axis and is lined up with the classes"
            " (keepdim=True keeps it).",
            lambda logits, labels: (_p(logits, 0) - _y(logits, labels)) / len(logits),
            lambda logits, labels: (_lined_up(logits) - _y(logits, labels)) / len(logits),
        ),
        *ideas(
            "exp(1e4) is infinite, and inf / inf is NaN; and where every exp of a row is 0, 0 / 0"
            " is NaN. Subtract each row's own largest logit first, as torch.softmax does.",
            lambda logits, labels: (_overflowing(logits) - _y(logits, labels)) / len(logits),
            lambda logits, labels: (
                (_overflowing(logits - logits.max()) - _y(logits, labels)) / len(logits)
            ),
        ),
        *ideas(
            "1 is subtracted in every row at every label of the batch: p[:, labels] takes whole"
            " columns. Each row has one label: index rows and columns in pairs.",
            _columns,
        ),
        *ideas(
            "F.one_hot makes as many columns as the largest label needs. Tell it the number of"
            " classes.",
            lambda logits, labels: (_p(logits) - F.one_hot(labels)) / len(logits),
        ),
    ),
)


# 21.2 -----------------------------------------------------------------------------------------


def padded_gradient(logits, labels, mask):
    """Picks out the real tokens as one long batch, and puts their gradients back into zeros."""
    result = torch.zeros_like(logits)
    result[mask] = logits_gradient(logits[mask], labels[mask])
    return result


def _padded_cases(seed=22):
    draw, nan = draws(seed), float("nan")

    def drawn(classes, padding, rows):
        """Random logits and labels; `rows` are the masks, 1 for a token, and `padding` is added
        wherever they have 0.
        """
        mask = torch.tensor(rows, dtype=torch.bool)
        logits = draw(*mask.shape, classes)
        labels = _labels(classes, *mask.shape, seed=seed + len(rows))
        return (
            torch.where(mask[..., None], logits, logits + padding),
            labels.masked_fill(~mask, 0),
            mask,
        )

    yield (
        *float64([[[1.0, 0.0], [2.0, 3.0]]]),
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


def _d(logits, labels):
    """p - y, which is NaN where the logits are."""
    return _p(logits) - _y(logits, labels)


def _kept(d, mask):
    return torch.where(mask[..., None], d, 0)


def _use_padded(answer, logits, labels, mask):
    return without_autograd(answer, logits, labels, mask)


def _padded_batch():
    """As many words of as many places as on the page, two places in five real."""
    mask = torch.rand(1287, 9, generator=torch.Generator().manual_seed(0)) < 0.4
    return draws(0)(1287, 9, 26).float(), _labels(26, 1287, 9, seed=0), mask


PADDED_GRADIENT = Exercise(
    key="21.2",
    verified=True,
    reference=padded_gradient,
    cases=_padded_cases,
    use=_use_padded,
    batch=_padded_batch,
    returns="C numbers for every place, padding too",
    misconceptions=(
        *ideas(AUTOGRAD, lambda z, y, mask: _sent(lambda z: F.cross_entropy(z[mask], y[mask]), z)),
        *ideas(
            "NaN comes through from under the padding: 0 * NaN is NaN. Choose with"
            " torch.where, which puts a zero there whatever it was.",
            lambda z, y, mask: _d(z, y) * mask[..., None] / mask.sum(),
        ),
        *ideas(
            "the divisor is wrong. The loss is the mean over the real tokens of the batch: not all"
            " B * T places, not the B texts, and not nothing, but the number of real tokens.",
            lambda z, y, mask: _kept(_d(z, y), mask) / mask.numel(),
            lambda z, y, mask: _kept(_d(z, y), mask) / len(mask),
            lambda z, y, mask: _kept(_d(z, y), mask),
        ),
        *ideas(
            "each row is divided by its own number of tokens, so a token of a short text counts"
            " more than one of a long text, and a row without any may give 0 / 0. The mean runs"
            " over the tokens of the whole batch: one number for all.",
            lambda z, y, mask: (
                _kept(_d(z, y), mask) / mask.sum(1).clamp(min=1)[:, None, None] / len(mask)
            ),
            lambda z, y, mask: _kept(_d(z, y), mask) / mask.sum(1)[:, None, None] / len(mask),
        ),
        *ideas(
            "padding gets a gradient like any token. Put zeros where the mask is False.",
            lambda z, y, mask: _d(z, y) / mask.sum(),
            lambda z, y, mask: _d(z, y) / mask.numel(),
        ),
        *ideas(
            "NaN is replaced, but padding may hold any number, and there it still gets a gradient."
            " Only the mask says what is padding.",
            lambda z, y, mask: _d(z, y).nan_to_num() / mask.sum(),
        ),
        *ideas(
            "the mask is turned round: tokens became zero and padding was kept. It is True for a"
            " real token.",
            lambda z, y, mask: _kept(_d(z, y), ~mask) / mask.sum(),
            lambda z, y, mask: _kept(_d(z, y), ~mask) / (~mask).sum(),
        ),
        *ideas(
            "the mask has lost its last axis, (B, T), and is lined up with the classes: mask[...,"
            " None] keeps it at the tokens.",
            lambda z, y, mask: torch.where(mask, _d(z, y), 0) / mask.sum(),
        ),
        *ideas(
            "the sign is turned round: a step against this gradient would climb. The label's entry"
            " is the negative one.",
            lambda z, y, mask: _kept(-_d(z, y), mask) / mask.sum(),
        ),
        *ideas(
            "softmax runs over the wrong axis. It is the classes of one token that sum to 1, not"
            " the tokens of a text: the last axis.",
            lambda z, y, mask: _kept(_p(z, 1) - _y(z, y), mask) / mask.sum(),
        ),
        *ideas(
            "the logits under padding are overwritten before softmax. Zeros give probabilities like"
            " any others, and so a gradient; minus infinity for every class gives 0 / 0. Put the"
            " zeros in after the subtraction.",
            lambda z, y, mask: _d(_kept(z, mask), y) / mask.sum(),
            lambda z, y, mask: _d(z * mask[..., None], y) / mask.sum(),
            lambda z, y, mask: _d(z.masked_fill(~mask[..., None], -torch.inf), y) / mask.sum(),
        ),
        *ideas(
            "only one of the two is masked, the probabilities or the labels, and the other is still"
            " there under padding. Put the zeros in after the subtraction.",
            lambda z, y, mask: (_kept(_p(z), mask) - _y(z, y)) / mask.sum(),
            lambda z, y, mask: (_p(z) - _kept(_y(z, y), mask)) / mask.sum(),
        ),
    ),
)


# 21.3 -----------------------------------------------------------------------------------------


def weighted_gradient(logits, labels, class_weights, smoothing):
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


def _weighted_cases(seed=23):
    draw = draws(seed)
    yield *float64([[1.0, 0.0]]), torch.tensor([1]), *float64([1.0, 2.0]), 0.2
    # C == B
    yield draw(3, 3), torch.tensor([2, 0, 2]), *float64([1.0, 2.0, 4.0]), 0.1
    yield draw(3, 2), torch.tensor([0, 1, 0]), *float64([1.0, 1.0]), 0.3
    yield draw(2, 4), torch.tensor([3, 1]), *float64([0.5, 2.0, 1.0, 3.0]), 0.0
    yield (draw(5, 4), torch.tensor([1, 1, 0, 3, 1]), *float64([0.2, 1.5, 3.0, 0.7]), 0.3)


def _q(logits, labels, eps):
    return (1 - eps) * _y(logits, labels) + eps / logits.shape[1]


def _t(logits, labels, w, eps):
    return w * _q(logits, labels, eps)


def _to(logits, t):
    """The gradient of - sum_c t_c log p_c, whatever the targets sum to."""
    return _p(logits) * t.sum(1, keepdim=True) - t


def _own(labels, w):
    return w[labels][:, None]


def _use_weighted(answer, logits, labels, class_weights, smoothing):
    return without_autograd(answer, logits, labels, class_weights, smoothing)


def _weighted_batch():
    draw = draws(0)
    return draw(128, 10).float(), _labels(10, 128, seed=0), draw(10).abs().float(), 0.1


WEIGHTED_GRADIENT = Exercise(
    key="21.3",
    verified=True,
    reference=weighted_gradient,
    cases=_weighted_cases,
    use=_use_weighted,
    batch=_weighted_batch,
    returns="one row per sample, one number per class",
    misconceptions=(
        *ideas(
            AUTOGRAD,
            lambda z, y, w, eps: _sent(lambda z: F.cross_entropy(z, y, w, label_smoothing=eps), z),
        ),
        *ideas(
            "the two formulas are put together: the label's weight stands in front of the smoothed"
            " difference. In this loss each class's share of the target has its own weight, w_c"
            " q_c.",
            lambda z, y, w, eps: _own(y, w) * (_p(z) - _q(z, y, eps)) / w[y].sum(),
            lambda z, y, w, eps: _own(y, w) * (_p(z) - _q(z, y, eps)) / len(z),
        ),
        *ideas(
            "this is p minus the weighted targets. They no longer sum to 1, so p comes with their"
            " sum: p * sum(t) - t.",
            lambda z, y, w, eps: (_p(z) - _t(z, y, w, eps)) / w[y].sum(),
        ),
        *ideas(
            "p comes with the label's weight. It has to come with the sum of the row's targets, in"
            " which every class has a share.",
            lambda z, y, w, eps: (_p(z) * _own(y, w) - _t(z, y, w, eps)) / w[y].sum(),
        ),
        *ideas(
            "the sum of the targets runs over the wrong axis or has lost it, and is lined up with"
            " the classes. Each sample has its own sum, over its classes: keepdim=True keeps it.",
            lambda z, y, w, eps: (_p(z) * _t(z, y, w, eps).sum(1) - _t(z, y, w, eps)) / w[y].sum(),
            lambda z, y, w, eps: (_p(z) * _t(z, y, w, eps).sum(0) - _t(z, y, w, eps)) / w[y].sum(),
        ),
        *ideas(
            "the weights multiply the finished gradient, column by column. They belong to the terms"
            " of the loss, and each term reaches all columns through p.",
            lambda z, y, w, eps: w * (_p(z) - _q(z, y, eps)) / w[y].sum(),
        ),
        *ideas(
            "the divisor is wrong. A weighted mean is divided by the weights of the labels, added"
            " up: one weight for each sample.",
            lambda z, y, w, eps: _to(z, _t(z, y, w, eps)) / len(z),
            lambda z, y, w, eps: _to(z, _t(z, y, w, eps)) / w.sum(),
            lambda z, y, w, eps: _to(z, _t(z, y, w, eps)) / _t(z, y, w, eps).sum(),
            lambda z, y, w, eps: _to(z, _t(z, y, w, eps)),
        ),
        *ideas(
            "each row is divided by its own weight. The divisor is one number for the whole batch.",
            lambda z, y, w, eps: _to(z, _t(z, y, w, eps)) / _own(y, w) / len(z),
        ),
        *ideas(
            "the sign is turned round: a step against this gradient would climb.",
            lambda z, y, w, eps: -_to(z, _t(z, y, w, eps)) / w[y].sum(),
        ),
        *ideas(
            "one of the two is forgotten, the smoothing or the weights: of the target the other"
            " classes have a share, too, and class c's share counts w_c times.",
            lambda z, y, w, eps: _to(z, w * _y(z, y)) / w[y].sum(),
            lambda z, y, w, eps: (_p(z) - _q(z, y, eps)) / len(z),
        ),
        *ideas(
            "the smoothing comes after the weights, so its share has none. In the loss w_c"
            " multiplies all of q_c.",
            lambda z, y, w, eps: _to(z, (1 - eps) * _y(z, y) * w + eps / len(w)) / w[y].sum(),
        ),
        *ideas(
            "the smoothed labels are wrong. All C classes share eps, the label too: each gets"
            " eps / C, and the label 1 - eps besides, so that they sum to 1.",
            lambda z, y, w, eps: _to(z, w * (_q(z, y, eps) - eps / len(w) * _y(z, y))) / w[y].sum(),
            lambda z, y, w, eps: _to(z, w * ((1 - eps) * _y(z, y) + eps)) / w[y].sum(),
            lambda z, y, w, eps: (
                _to(z, w * torch.where(_y(z, y) == 1, 1 - eps, eps / (len(w) - 1))) / w[y].sum()
            ),
        ),
    ),
)

EXERCISES = [LOGITS_GRADIENT, PADDED_GRADIENT, WEIGHTED_GRADIENT]
