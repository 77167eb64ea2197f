"""The exam's ways back through losses and layers: what is asked, the solution, its cases,
and the wrong formulas that have a name.

Each `..._loss` is the way forward, by which autograd says what is right: the loss, and what it is
derived by (without that, by the first argument).
"""

import torch
import torch.nn.functional as F

from course_utils.exercises import ideas
from course_utils.exercises.derived import without_autograd
from course_utils.exercises.draws import draws
from course_utils.rooms import load

written = load("99", "written").written
slips = load("99", "slips")
MINUS, changed, negative = slips.MINUS, slips.changed, slips.negative


# ---- cross-entropy over the real tokens ----

TOKENS = r"""Logits $z$ `(B, T, C)`, labels `(B, T)`, a mask `(B, T)`, True for real tokens; at
least one is real.

$$ L = -\frac{1}{\sum m} \sum_{b,t} m_{bt} \log \text{softmax}(z_{bt})_{y_{bt}} $$

Return $\partial L / \partial z$."""


def tokens_back(logits, labels, mask):
    """The gradient (B, T, C) of the mean cross-entropy of the real tokens."""
    d = logits.softmax(dim=-1) - F.one_hot(labels, logits.shape[-1])
    return d * mask.unsqueeze(-1) / mask.sum()


def tokens_loss(logits, labels, mask):
    return F.cross_entropy(logits[mask], labels[mask])


def _tokens_use(answer, logits, labels, mask):
    return without_autograd(answer, logits, labels, mask)


def _tokens_cases(seed=31):
    draw, generator = draws(seed), torch.Generator().manual_seed(seed)
    for shape in ((1, 1, 2), (1, 3, 3), (3, 3, 3), (2, 4, 5)):
        mask = torch.rand(shape[:2], generator=generator) < 0.6
        mask[0, 0], mask[-1, -1] = True, shape[1] == 1
        yield draw(*shape), torch.randint(shape[2], shape[:2], generator=generator), mask


def _residual(logits, labels, dim=-1):
    return logits.softmax(dim) - F.one_hot(labels, logits.shape[-1])


TOKENS_WRONG = [
    *ideas(MINUS, negative(tokens_back)),
    *ideas(
        "it is divided by all tokens, padding too.",
        lambda logits, labels, mask: (
            _residual(logits, labels) * mask[..., None] / logits[..., 0].numel()
        ),
    ),
    *ideas(
        "padding gets a gradient: the mask stands in the loss.",
        lambda logits, labels, mask: _residual(logits, labels) / mask.sum(),
        lambda logits, labels, mask: _residual(logits, labels) / logits[..., 0].numel(),
    ),
    *ideas(
        "the mean's divisor is missing.",
        lambda logits, labels, mask: _residual(logits, labels) * mask[..., None],
    ),
    *ideas(
        "each row is divided by its own number of tokens; the mean goes over the whole batch.",
        lambda logits, labels, mask: (
            _residual(logits, labels) * mask[..., None] / mask.sum(1)[:, None, None].clamp(min=1)
        ),
    ),
    *ideas(
        "the softmax goes over the tokens, and not over the classes.",
        lambda logits, labels, mask: _residual(logits, labels, 1) * mask[..., None] / mask.sum(),
    ),
]


# ---- temperature and label smoothing ----

SMOOTHED = r"""Logits $z$ `(B, C)`, labels `(B,)`, a temperature $\tau$ and a smoothing
$\varepsilon$, two numbers. The targets are $s = (1 - \varepsilon)\, y + \varepsilon / C$ with
$y$ one-hot.

$$ L = -\frac{1}{B} \sum_{b,c} s_{bc} \log \text{softmax}(z_b / \tau)_c $$

Return $\partial L / \partial z$."""


def smoothed_back(logits, labels, tau, smoothing):
    """The gradient (B, C) of the cross-entropy with temperature and smoothed labels."""
    B, C = logits.shape
    target = (1 - smoothing) * F.one_hot(labels, C).to(logits) + smoothing / C
    return ((logits / tau).softmax(dim=-1) - target) / (B * tau)


def smoothed_loss(logits, labels, tau, smoothing):
    return F.cross_entropy(logits / tau, labels, label_smoothing=smoothing)


def _smoothed_use(answer, logits, labels, tau, smoothing):
    return without_autograd(answer, logits, labels, tau, smoothing)


def _smoothed_cases(seed=32):
    draw, generator = draws(seed), torch.Generator().manual_seed(seed)
    for (B, C), tau, smoothing in (((1, 2), 1.0, 0.2), ((2, 3), 2.0, 0.0), ((3, 3), 0.5, 0.3)):
        yield draw(B, C), torch.randint(C, (B,), generator=generator), tau, smoothing
    yield draw(4, 6), torch.randint(6, (4,), generator=generator), 3.0, 0.1


def _smoothed(logits, labels, tau, smoothing, outside=None, others=0, inside=None):
    B, C = logits.shape
    one = F.one_hot(labels, C).double()
    target = (1 - smoothing) * one + smoothing / C
    if others:
        target = (1 - smoothing) * one + (1 - one) * smoothing / (C - 1)
    p = (logits / (inside or tau)).softmax(-1)
    return (p - target) / (B * (outside or tau))


SMOOTHED_WRONG = [
    *ideas(MINUS, negative(smoothed_back)),
    *ideas(
        "the way back through z / tau multiplies by 1 / tau, too.",
        lambda logits, labels, tau, smoothing: _smoothed(logits, labels, tau, smoothing, outside=1),
    ),
    *ideas(
        "it is multiplied by tau where it is to be divided.",
        lambda logits, labels, tau, smoothing: _smoothed(
            logits, labels, tau, smoothing, outside=1 / tau
        ),
    ),
    *ideas(
        "the softmax is one of z / tau, here too.",
        lambda logits, labels, tau, smoothing: _smoothed(logits, labels, tau, smoothing, inside=1),
    ),
    *ideas(
        "the smoothing is spread over all C classes, and the true one gets its share, too.",
        lambda logits, labels, tau, smoothing: _smoothed(logits, labels, tau, smoothing, others=1),
        lambda logits, labels, tau, smoothing: (
            ((logits / tau).softmax(-1) - (1 - smoothing) * F.one_hot(labels, logits.shape[1]))
            / (len(logits) * tau)
        ),
    ),
    *ideas(
        "the labels are not smoothed.",
        lambda logits, labels, tau, smoothing: _smoothed(logits, labels, tau, 0.0),
    ),
    *ideas(
        "the mean's 1 / B is missing.",
        lambda logits, labels, tau, smoothing: (
            len(logits) * smoothed_back(logits, labels, tau, smoothing)
        ),
    ),
]


# ---- a linear layer on tokens ----

LINEAR = r"""A linear layer acts on each token: $y_{bt} = W x_{bt} + c$ with `x` `(B, T, D)`, `W`
`(E, D)`, `c` `(E,)`. `d_y` `(B, T, E)` is what comes back, $\partial L / \partial y$.

Return `(d_x, d_W, d_c)` in the shapes of the three."""


def linear_back(d_y, x, W):
    """(d_x (B, T, D), d_W (E, D), d_c (E,)) of y = x W^T + c."""
    d_W = d_y.flatten(0, 1).T @ x.flatten(0, 1)
    return d_y @ W, d_W, d_y.sum(dim=(0, 1))


def linear_loss(d_y, x, W):
    c = torch.zeros(len(W), dtype=W.dtype, requires_grad=True)
    return (d_y * F.linear(x, W, c)).sum(), (x, W, c)


def _linear_use(answer, d_y, x, W):
    return without_autograd(answer, d_y, x, W)


def _linear_cases(seed=33):
    draw = draws(seed)
    for B, T, D, E in ((1, 1, 2, 2), (2, 1, 2, 3), (2, 3, 3, 3), (3, 2, 4, 2)):
        yield draw(B, T, E), draw(B, T, D), draw(E, D)


LINEAR_WRONG = [
    *ideas(MINUS, negative(linear_back)),
    *ideas(
        "the matrix is transposed on the way back to x: with as many outputs as inputs no error"
        " comes.",
        changed(linear_back, 0, lambda d_x, d_y, x, W: d_y @ W.T),
    ),
    *ideas(
        "the weight's gradient has its two factors exchanged: it is transposed.",
        changed(linear_back, 1, lambda d_W, d_y, x, W: d_W.T),
    ),
    *ideas(
        "all tokens went through the same weights: their parts are added, not averaged.",
        changed(linear_back, 1, lambda d_W, d_y, x, W: d_W / x[..., 0].numel()),
        changed(linear_back, 1, lambda d_W, d_y, x, W: d_W / len(x)),
    ),
    *ideas(
        "the bias was added to every token: its gradient is a sum over all of them.",
        changed(linear_back, 2, lambda d_c, d_y, x, W: d_y.sum(0)),
        changed(linear_back, 2, lambda d_c, d_y, x, W: d_y.mean((0, 1))),
        changed(linear_back, 2, lambda d_c, d_y, x, W: d_y[:, 0].sum(0)),
    ),
]


# ---- layer norm ----

NORM = r"""Layer norm of each row of `x` `(B, D)`, with a gain $g$ and a shift $c$, both `(D,)`:

$$ u = \frac{x - \mu}{s}, \qquad s = \sqrt{\tfrac{1}{D} \sum_k (x_k - \mu)^2 + \epsilon},
\qquad y = g \odot u + c $$

`eps` is $\epsilon$, and `d_y` `(B, D)` comes back. Return `(d_x, d_g, d_c)`."""


def norm_back(d_y, x, g, eps):
    """(d_x (B, D), d_g (D,), d_c (D,)) of layer norm."""
    s = (x.var(dim=1, unbiased=False, keepdim=True) + eps).sqrt()
    u = (x - x.mean(dim=1, keepdim=True)) / s
    d_u = d_y * g
    mean, along = d_u.mean(dim=1, keepdim=True), (d_u * u).mean(dim=1, keepdim=True)
    return (d_u - mean - u * along) / s, (d_y * u).sum(dim=0), d_y.sum(dim=0)


def norm_loss(d_y, x, g, eps):
    c = torch.zeros_like(g, requires_grad=True)
    return (d_y * F.layer_norm(x, g.shape, g, c, eps)).sum(), (x, g, c)


def _norm_use(answer, d_y, x, g, eps):
    return without_autograd(answer, d_y, x, g, eps)


def _norm_cases(seed=34):
    draw = draws(seed)
    for B, D, eps in ((1, 2, 0.1), (2, 3, 1e-5), (3, 3, 0.01), (4, 6, 0.5)):
        yield draw(B, D), draw(B, D), draw(D), eps


def _norm(d_y, x, g, eps, gain=True, mean=1, along=1, unbiased=False):
    s = (x.var(1, unbiased=unbiased, keepdim=True) + eps).sqrt()
    u = (x - x.mean(1, keepdim=True)) / s
    d_u = d_y * g if gain else d_y
    d_x = d_u - mean * d_u.mean(1, keepdim=True) - along * u * (d_u * u).mean(1, keepdim=True)
    return d_x / s, (d_y * u).sum(0), d_y.sum(0)


NORM_WRONG = [
    *ideas(MINUS, negative(norm_back)),
    *ideas(
        "mean and deviation are taken for constants; they depend on x.",
        lambda d_y, x, g, eps: _norm(d_y, x, g, eps, mean=0, along=0),
    ),
    *ideas(
        "the deviation depends on x, too: a part along u is missing.",
        lambda d_y, x, g, eps: _norm(d_y, x, g, eps, along=0),
    ),
    *ideas(
        "the mean depends on x, too: the mean of what comes back is to be taken off.",
        lambda d_y, x, g, eps: _norm(d_y, x, g, eps, mean=0),
    ),
    *ideas(
        "the gain is missing on the way to x.",
        lambda d_y, x, g, eps: _norm(d_y, x, g, eps, gain=False),
    ),
    *ideas(
        "the variance divides by D, not by D - 1.",
        lambda d_y, x, g, eps: _norm(d_y, x, g, eps, unbiased=True),
    ),
    *ideas(
        "gain and shift act on every row: their gradients are sums over the batch.",
        changed(norm_back, 1, lambda d_g, d_y, x, g, eps: d_g / len(x)),
        changed(norm_back, 2, lambda d_c, d_y, x, g, eps: d_y.mean(0)),
    ),
]


# ---- two embedding tables ----

TABLES = r"""Words `(V, D)` and places `(P, D)` are two tables, T <= P. A text's vector is the
masked mean

$$ h_b = \frac{1}{n_b} \sum_{t} m_{bt} \left( \text{words}[\text{ids}_{bt}] + \text{places}[t]
\right), \qquad n_b = \sum_t m_{bt}, $$

and zeros where $n_b = 0$. `d_h` `(B, D)` comes back, `ids` and `mask` are `(B, T)`. Return
`(d_words, d_places)`, `(V, D)` and `(P, D)`."""


def tables_back(d_h, ids, mask, V, P):
    """(d_words (V, D), d_places (P, D)) of a masked mean of words and places."""
    share = mask.to(d_h) / mask.sum(dim=1, keepdim=True).clamp(min=1)
    each = share.unsqueeze(-1) * d_h.unsqueeze(1)
    words = d_h.new_zeros(V, d_h.shape[1]).index_add(0, ids.flatten(), each.flatten(0, 1))
    places = d_h.new_zeros(P, d_h.shape[1])
    places[: ids.shape[1]] = each.sum(dim=0)
    return words, places


def tables_loss(d_h, ids, mask, V, P):
    words = torch.zeros(V, d_h.shape[1], dtype=d_h.dtype, requires_grad=True)
    places = torch.zeros(P, d_h.shape[1], dtype=d_h.dtype, requires_grad=True)
    both = (words[ids] + places[: ids.shape[1]]) * mask[..., None]
    mean = both.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
    return (d_h * mean).sum(), (words, places)


def _tables_use(answer, d_h, ids, mask, V, P):
    return without_autograd(answer, d_h, ids, mask, V, P)


def _tables_cases(seed=39):
    draw, generator = draws(seed), torch.Generator().manual_seed(seed)
    yield draw(1, 2), torch.tensor([[1, 1, 2]]), torch.tensor([[True, True, True]]), 3, 3
    ids, mask = torch.tensor([[2, 0], [2, 1]]), torch.tensor([[True, False], [True, True]])
    yield draw(2, 2), ids, mask, 3, 2
    mask = torch.tensor([[True, False, True, False], [False] * 4, [True, True, True, False]])
    yield draw(3, 3), torch.randint(5, (3, 4), generator=generator), mask, 5, 6
    mask = torch.rand(4, 5, generator=generator) < 0.6
    yield draw(4, 2), torch.randint(4, (4, 5), generator=generator), mask, 7, 5


def _tables(d_h, ids, mask, V, P, share=None, written_over=False):
    own = mask / mask.sum(1, keepdim=True).clamp(min=1)
    each = (own if share is None else share)[..., None] * d_h[:, None]
    words, places = d_h.new_zeros(V, d_h.shape[1]), d_h.new_zeros(P, d_h.shape[1])
    if written_over:
        for row, line in zip(ids, each):
            for word, one in zip(row, line):
                words[word] = one
    else:
        words = words.index_add(0, ids.flatten(), each.flatten(0, 1))
    places[: ids.shape[1]] = each.sum(0)
    return words, places


def _of_length(mask):
    return mask.sum(1, keepdim=True).clamp(min=1)


TABLES_WRONG = [
    *ideas(MINUS, negative(tables_back)),
    *ideas(
        "a word that occurs twice gets both shares: they are added, not written over.",
        lambda d_h, ids, mask, V, P: _tables(d_h, ids, mask, V, P, written_over=True),
    ),
    *ideas(
        "each token's share is one over its text's number of real tokens, not over T.",
        lambda d_h, ids, mask, V, P: _tables(d_h, ids, mask, V, P, mask / mask.shape[1]),
    ),
    *ideas(
        "padding gets a share: the mask belongs into the way back.",
        lambda d_h, ids, mask, V, P: _tables(
            d_h, ids, mask, V, P, torch.ones_like(mask) / _of_length(mask)
        ),
        lambda d_h, ids, mask, V, P: _tables(
            d_h, ids, mask, V, P, torch.ones_like(mask) / mask.shape[1]
        ),
    ),
    *ideas(
        "a mean passes on a share, and not the whole.",
        lambda d_h, ids, mask, V, P: _tables(d_h, ids, mask, V, P, mask.double()),
    ),
    *ideas(
        "the places serve every text: their gradient is a sum over the batch.",
        changed(tables_back, 1, lambda d_places, d_h, *rest: d_places / len(d_h)),
    ),
]


# ---- what derivations.py takes ----

WRITTEN = {
    "tokens": written(tokens_back, TOKENS, _tokens_cases, TOKENS_WRONG, use=_tokens_use),
    "smoothed": written(
        smoothed_back, SMOOTHED, _smoothed_cases, SMOOTHED_WRONG, use=_smoothed_use
    ),
    "linear": written(linear_back, LINEAR, _linear_cases, LINEAR_WRONG, use=_linear_use),
    "norm": written(norm_back, NORM, _norm_cases, NORM_WRONG, use=_norm_use),
    "tables": written(tables_back, TABLES, _tables_cases, TABLES_WRONG, use=_tables_use),
}
LOSSES = {
    "tokens": tokens_loss,
    "smoothed": smoothed_loss,
    "linear": linear_loss,
    "norm": norm_loss,
    "tables": tables_loss,
}
