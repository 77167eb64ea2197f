"""Notebook 21: the gradient of the cross-entropy, through a linear head, under a mask, with
weights and smoothing.
"""

import torch
import torch.nn.functional as F

from course_utils.exercises import Exercise, ideas


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


def _without_autograd(answer, logits, labels):
    """What `answer` gives where no graph can be recorded: derived by hand, it needs none."""

    def refuse(*_):
        raise RuntimeError("autograd is not asked for")

    with torch.autograd.graph.saved_tensors_hooks(refuse, refuse):
        try:
            return answer(logits, labels)
        except RuntimeError as error:
            if "saved tensor hooks" in str(error):  # torch.func says this in its own words
                refuse()
            raise


def _by_autograd(logits, labels):
    logits.requires_grad_()
    return torch.autograd.grad(F.cross_entropy(logits, labels), logits)[0]


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


def _overflowing(z):
    return z.exp() / z.exp().sum(-1, keepdim=True)


LOGITS_GRADIENT = Exercise(
    key="21.1",
    reference=logits_gradient,
    cases=_logits_cases,
    use=_without_autograd,
    returns="one row per sample, one number per class",
    misconceptions=(
        *ideas(
            "autograd is called, and the exercise asks for the closed form: derive it, and write"
            " it down without backward() or grad().",
            _by_autograd,
        ),
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
            lambda logits, labels: (-_p(logits) - _y(logits, labels)) / len(logits),
        ),
        *ideas(
            "the factor is wrong. The loss is the mean over the rows, so each row counts 1/N; the C"
            " classes of a row share one loss.",
            lambda logits, labels: _p(logits) - _y(logits, labels),
            lambda logits, labels: (_p(logits) - _y(logits, labels)) / logits.numel(),
        ),
        *ideas(
            "only the probabilities are divided by N: division comes before minus. Where are"
            " brackets needed?",
            lambda logits, labels: _p(logits) / len(logits) - _y(logits, labels),
            lambda logits, labels: _p(logits) - _y(logits, labels) / len(logits),
        ),
        *ideas(
            "only the label's entry is filled. Every other logit is part of the sum that softmax"
            " divides by, so it moves the label's probability too: its entry is not 0.",
            lambda logits, labels: (_p(logits) - 1) * _y(logits, labels) / len(logits),
            lambda logits, labels: (_p(logits) - 1) * _y(logits, labels),
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
            "softmax runs over the rows (dim 0). It is the classes of one row that sum to 1: the"
            " last axis.",
            lambda logits, labels: (_p(logits, 0) - _y(logits, labels)) / len(logits),
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


def _scaled(d_logits, features, weight, factors):
    """The three right tensors, each times its factor."""
    right = d_logits.T @ features, d_logits.sum(0), d_logits @ weight
    return tuple(factor * one for factor, one in zip(factors, right))


HEAD_GRADIENTS = Exercise(
    key="21.2",
    reference=head_gradients,
    cases=_head_cases,
    returns="d_weight (C, D), d_bias (C,) and d_features (N, D)",
    misconceptions=(
        *ideas(
            "d_weight is transposed, (D, C). A gradient has the shape of what it belongs to, and"
            " the weight is (C, D).",
            lambda g, x, w: (x.T @ g, g.sum(0), g @ w),
        ),
        *ideas(
            "in d_weight the matrix product does not run over the samples. They are the axis that"
            " has to disappear.",
            lambda g, x, w: (g @ x, g.sum(0), g @ w),
        ),
        *ideas(
            "in d_weight the batch is summed up before it is multiplied. Each sample's d_logits"
            " belongs with its own features: multiply first, then add over the samples.",
            lambda g, x, w: (torch.outer(g.sum(0), x.sum(0)), g.sum(0), g @ w),
        ),
        *ideas(
            "in d_features the weight is transposed, as on the way forward. On the way back the sum"
            " runs over the classes, the first axis of the weight.",
            lambda g, x, w: (g.T @ x, g.sum(0), g @ w.T),
        ),
        *ideas(
            "d_features is transposed, (D, N). A gradient has the shape of what it belongs to: one"
            " row per sample.",
            lambda g, x, w: (g.T @ x, g.sum(0), w.T @ g.T),
        ),
        *ideas(
            "d_bias still has a row per sample, (N, C). All samples share the bias: add over them.",
            lambda g, x, w: (g.T @ x, g, g @ w),
        ),
        *ideas(
            "d_bias is summed over the classes, (N,). There is one bias per class: add over the"
            " samples, axis 0.",
            lambda g, x, w: (g.T @ x, g.sum(1), g @ w),
        ),
        *ideas(
            "d_bias has kept an axis of length 1, (1, C). The bias is (C,), and its gradient has"
            " its shape: no keepdim.",
            lambda g, x, w: (g.T @ x, g.sum(0, keepdim=True), g @ w),
        ),
        *ideas(
            "divided by N once more. d_logits already holds the 1/N of the mean loss: add over the"
            " samples, do not average.",
            lambda g, x, w: _scaled(g, x, w, (1, 1 / len(g), 1)),
            lambda g, x, w: _scaled(g, x, w, (1 / len(g), 1, 1)),
            lambda g, x, w: _scaled(g, x, w, (1 / len(g), 1 / len(g), 1)),
            lambda g, x, w: _scaled(g, x, w, (1 / len(g), 1 / len(g), 1 / len(g))),
        ),
        *ideas(
            "a sign is turned round: nothing in the three is negative by itself. The minus belongs"
            " to the optimizer's step, not to the gradient.",
            lambda g, x, w: _scaled(g, x, w, (-1, -1, -1)),
            lambda g, x, w: _scaled(g, x, w, (-1, 1, 1)),
            lambda g, x, w: _scaled(g, x, w, (1, -1, 1)),
            lambda g, x, w: _scaled(g, x, w, (1, 1, -1)),
        ),
        *ideas(
            "the three came in another order: first d_weight (C, D), then d_bias (C,), then"
            " d_features (N, D).",
            lambda g, x, w: (g @ w, g.T @ x, g.sum(0)),
            lambda g, x, w: (g @ w, g.sum(0), g.T @ x),
            lambda g, x, w: (g.T @ x, g @ w, g.sum(0)),
        ),
        *ideas(
            "these are the derivatives of the logits alone: features for the weight, 1 for the"
            " bias, the weight for the features. The chain rule multiplies each of them with"
            " d_logits.",
            lambda g, x, w: (x, torch.ones_like(g[0]), w),
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


def _d(logits, labels):
    """p - y, which is NaN where the logits are."""
    return _p(logits) - _y(logits, labels)


def _kept(d, mask):
    return torch.where(mask[..., None], d, 0)


PADDED_GRADIENT = Exercise(
    key="21.3",
    reference=padded_gradient,
    cases=_padded_cases,
    returns="C numbers for every place, padding too",
    misconceptions=(
        *ideas(
            "NaN comes through from under the padding: 0 * NaN is NaN, in your code and in"
            " autograd's. Choose with torch.where, which puts a zero there whatever it was.",
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
            "only the rows of the real tokens are returned. They have to stand in their places"
            " again, between zeros.",
            lambda z, y, mask: _d(z, y)[mask] / mask.sum(),
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


def _q(logits, labels, eps):
    return (1 - eps) * _y(logits, labels) + eps / logits.shape[1]


def _t(logits, labels, w, eps):
    return w * _q(logits, labels, eps)


def _to(logits, t):
    """The gradient of - sum_c t_c log p_c, whatever the targets sum to."""
    return _p(logits) * t.sum(1, keepdim=True) - t


def _own(labels, w):
    return w[labels][:, None]


SMOOTHED_WEIGHTED_GRADIENT = Exercise(
    key="21.4",
    reference=smoothed_weighted_gradient,
    cases=_smoothed_cases,
    returns="one row per sample, one number per class",
    misconceptions=(
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
            lambda z, y, w, eps: (_p(z) * _t(z, y, w, eps).sum() - _t(z, y, w, eps)) / w[y].sum(),
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
            "the smoothing is forgotten: the other classes have a share of the target, too.",
            lambda z, y, w, eps: _to(z, w * _y(z, y)) / w[y].sum(),
        ),
        *ideas(
            "the weights are forgotten: class c's share of the target counts w_c times.",
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
            lambda z, y, w, eps: _to(z, w * (_y(z, y) + eps / len(w))) / w[y].sum(),
            lambda z, y, w, eps: _to(z, w * ((1 - eps) * _y(z, y) + eps)) / w[y].sum(),
            lambda z, y, w, eps: (
                _to(z, w * torch.where(_y(z, y) == 1, 1 - eps, eps / (len(w) - 1))) / w[y].sum()
            ),
        ),
    ),
)

EXERCISES = [LOGITS_GRADIENT, HEAD_GRADIENTS, PADDED_GRADIENT, SMOOTHED_WEIGHTED_GRADIENT]
