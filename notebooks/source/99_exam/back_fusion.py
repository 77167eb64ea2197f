"""The exam's ways back through attention, fusion and pairs: what is asked, the solution, its cases,
and the wrong formulas that have a name.

Each `..._loss` is the way forward, by which autograd says what is right: the loss, and what it is
derived by (without that, by the first argument).
"""

import itertools
import math

import torch
import torch.nn.functional as F

from course_utils.exercises import ideas
from course_utils.exercises.derived import without_autograd
from course_utils.exercises.draws import draws
from course_utils.rooms import load

written = load("99", "written").written
slips = load("99", "slips")
MINUS, changed, negative = slips.MINUS, slips.changed, slips.negative


# ---- causal attention ----

ATTENTION = r"""One head of causal attention, one sequence: `Q`, `K` `(T, D)`, `V` `(T, E)`,

$$ S = \frac{Q K^\top}{\sqrt D}, \qquad A = \text{softmax}(S) \text{ along the keys}, \qquad
O = A V, $$

where place t sees the keys 0 to t alone. `d_O` `(T, E)` comes back. Return `(d_Q, d_K, d_V)`."""


def attention_back(d_O, Q, K, V):
    """(d_Q (T, D), d_K (T, D), d_V (T, E)) of causal attention."""
    root = Q.shape[1] ** 0.5
    seen = torch.ones(len(Q), len(Q), dtype=torch.bool).tril()
    A = (Q @ K.T / root).masked_fill(~seen, -math.inf).softmax(dim=1)
    d_A = d_O @ V.T
    d_S = A * (d_A - (A * d_A).sum(dim=1, keepdim=True)) / root
    return d_S @ K, d_S.T @ Q, A.T @ d_O


def attention_loss(d_O, Q, K, V):
    found = F.scaled_dot_product_attention(Q[None], K[None], V[None], is_causal=True)[0]
    return (d_O * found).sum(), (Q, K, V)


def _attention_use(answer, d_O, Q, K, V):
    return without_autograd(answer, d_O, Q, K, V)


def _attention_cases(seed=35):
    draw = draws(seed)
    for T, D, E in ((1, 2, 2), (2, 2, 2), (3, 3, 3), (4, 3, 2)):
        yield draw(T, E), draw(T, D), draw(T, D), draw(T, E)


def _attention(d_O, Q, K, V, causal=True, rank_one=1, root=None, turned=False, dim=1, keys=1):
    scale = Q.shape[1] ** 0.5
    scores = Q @ K.T / scale
    if causal:
        scores = scores.masked_fill(~torch.ones_like(scores).bool().tril(), -math.inf)
    A = scores.softmax(dim)
    d_A = d_O @ V.T
    d_S = A * (d_A - rank_one * (A * d_A).sum(dim, keepdim=True)) / (root or scale)
    return d_S @ K, (d_S if turned else d_S.T) @ Q, (A if turned else A.T) @ d_O


ATTENTION_WRONG = [
    *ideas(MINUS, negative(attention_back)),
    *ideas(
        "the softmax's Jacobian has a second part: the row's own mean of d_A is taken off.",
        lambda d_O, Q, K, V: _attention(d_O, Q, K, V, rank_one=0),
    ),
    *ideas(
        "the scores were divided by the root of D, and so is what goes back through them.",
        lambda d_O, Q, K, V: _attention(d_O, Q, K, V, root=1),
    ),
    *ideas(
        "the future is seen: the mask belongs into the weights of the way back, too.",
        lambda d_O, Q, K, V: _attention(d_O, Q, K, V, causal=False),
    ),
    *ideas(
        "what goes back to keys and values is transposed: they are summed over the queries.",
        lambda d_O, Q, K, V: _attention(d_O, Q, K, V, turned=True),
    ),
    *ideas(
        "the softmax goes along the keys, not along the queries.",
        lambda d_O, Q, K, V: _attention(d_O, Q, K, V, dim=0),
    ),
]


# ---- a gate ----

GATE = r"""A gate of *one* number a sample, text `t` and image `v` `(B, D)`, `u` `(2 D,)`:

$$ z = \sigma(u \cdot [t; v] + c), \qquad h = z\, t + (1 - z)\, v $$

`d_h` `(B, D)` comes back. Return `(d_t, d_v, d_u, d_c)`; `c` has the shape `()`."""


def gate_back(d_h, t, v, u, c):
    """(d_t (B, D), d_v (B, D), d_u (2 D,), d_c ()) of a gate of one number a sample."""
    both = torch.cat([t, v], dim=1)
    z = torch.sigmoid(both @ u + c).unsqueeze(1)
    d_s = z * (1 - z) * (d_h * (t - v)).sum(dim=1, keepdim=True)
    d_both = d_s * u + torch.cat([z * d_h, (1 - z) * d_h], dim=1)
    return *d_both.chunk(2, dim=1), (d_s * both).sum(dim=0), d_s.sum()


def gate_loss(d_h, t, v, u, c):
    z = torch.sigmoid(torch.cat([t, v], 1) @ u + c)[:, None]
    return (d_h * (z * t + (1 - z) * v)).sum(), (t, v, u, c)


def _gate_use(answer, d_h, t, v, u, c):
    return without_autograd(answer, d_h, t, v, u, c)


def _gate_cases(seed=36):
    draw = draws(seed)
    for B, D in ((1, 1), (1, 2), (3, 3), (4, 2)):
        yield draw(B, D), draw(B, D), draw(B, D), draw(2 * D), draw(1)[0]


def _gate(d_h, t, v, u, c, slope=True, sign=1, mean=False, through=1):
    both = torch.cat([t, v], 1)
    z = torch.sigmoid(both @ u + c)[:, None]
    told = (d_h * (t - sign * v)).sum(1, keepdim=True)
    told = told / t.shape[1] if mean else told
    d_s = (z * (1 - z) if slope else 1) * told
    d_both = through * d_s * u + torch.cat([z * d_h, (1 - z) * d_h], 1)
    return *d_both.chunk(2, 1), (d_s * both).sum(0), d_s.sum()


def _only_text(d_h, t, v, u, c):
    both = torch.cat([t, v], 1)
    z = torch.sigmoid(both @ u + c)[:, None]
    d_s = z * (1 - z) * (d_h * t).sum(1, keepdim=True)
    d_both = d_s * u + torch.cat([z * d_h, (1 - z) * d_h], 1)
    return *d_both.chunk(2, 1), (d_s * both).sum(0), d_s.sum()


GATE_WRONG = [
    *ideas(MINUS, negative(gate_back)),
    *ideas(
        "the sigmoid's slope z (1 - z) is missing.",
        lambda d_h, t, v, u, c: _gate(d_h, t, v, u, c, slope=False),
    ),
    *ideas(
        "text and image have a second way, through the gate's score.",
        lambda d_h, t, v, u, c: _gate(d_h, t, v, u, c, through=0),
    ),
    *ideas(
        "the image passes with 1 - z: opening the gate takes v away, so t - v is what counts.",
        lambda d_h, t, v, u, c: _gate(d_h, t, v, u, c, sign=-1),
        _only_text,
    ),
    *ideas(
        "one number opens all D entries: their parts are added, not averaged.",
        lambda d_h, t, v, u, c: _gate(d_h, t, v, u, c, mean=True),
    ),
    *ideas(
        "u and c serve every sample: their gradients are sums over the batch.",
        changed(gate_back, 2, lambda d_u, d_h, *rest: d_u / len(d_h)),
        changed(gate_back, 3, lambda d_c, d_h, *rest: d_c / len(d_h)),
    ),
]


# ---- a factor of low-rank tensor fusion ----

FACTOR = r"""Low-rank tensor fusion: each modality m has factors $f^m$ `(R, C, D_m + 1)`,

$$ \text{logit}_{bc} = \sum_{r=1}^{R} \prod_m a^m_{brc}, \qquad
a^m_{brc} = f^m_{rc} \cdot [h^m_b; 1] $$

For one modality `h` `(B, D)` and `f` `(R, C, D + 1)` are given; `others` `(B, R, C)` is the product
of $a$ over all *other* modalities. `d_logits` `(B, C)` comes back. Return `(d_f, d_h)`."""


def factor_back(d_logits, h, f, others):
    """(d_f (R, C, D + 1), d_h (B, D)) of one modality of low-rank tensor fusion."""
    d_a = d_logits.unsqueeze(1) * others
    with_one = torch.cat([h, torch.ones_like(h[:, :1])], dim=1)
    d_f = torch.einsum("brc,bd->rcd", d_a, with_one)
    return d_f, torch.einsum("brc,rcd->bd", d_a, f)[:, :-1]


def factor_loss(d_logits, h, f, others):
    a = torch.einsum("rcd,bd->brc", f, F.pad(h, (0, 1), value=1.0))
    return (d_logits * (a * others).sum(1)).sum(), (f, h)


def _factor_use(answer, d_logits, h, f, others):
    return without_autograd(answer, d_logits, h, f, others)


def _factor_cases(seed=37):
    draw = draws(seed)
    for B, D, R, C in ((1, 1, 1, 2), (2, 2, 2, 2), (3, 3, 3, 3), (3, 2, 2, 4)):
        yield draw(B, C), draw(B, D), draw(R, C, D + 1), draw(B, R, C)


def _factor(d_logits, h, f, others, fill=1.0, cut=slice(None, -1)):
    with_one, d_a = F.pad(h, (0, 1), value=fill), d_logits[:, None] * others
    d_f = torch.einsum("brc,bd->rcd", d_a, with_one)
    return d_f, torch.einsum("brc,rcd->bd", d_a, f)[:, cut]


FACTOR_WRONG = [
    *ideas(MINUS, negative(factor_back)),
    *ideas(
        "the factor meets [h; 1]: its last number meets the 1.",
        lambda d_logits, h, f, others: _factor(d_logits, h, f, others, fill=0.0),
    ),
    *ideas(
        "the other modalities are a factor of what comes back.",
        lambda d_logits, h, f, others: _factor(d_logits, h, f, torch.ones_like(others)),
    ),
    *ideas(
        "of D + 1 numbers the last belongs to the 1, which is nobody's feature.",
        lambda d_logits, h, f, others: _factor(d_logits, h, f, others, cut=slice(1, None)),
        lambda d_logits, h, f, others: _factor(d_logits, h, f, others, cut=slice(None)),
    ),
    *ideas(
        "the terms are added, not averaged: no division by R.",
        lambda d_logits, h, f, others: _factor(d_logits, h, f, others / f.shape[0]),
    ),
    *ideas(
        "the factors serve every sample: their gradient is a sum, not a mean, over the batch.",
        changed(factor_back, 0, lambda d_f, d_logits, *rest: d_f / len(d_logits)),
    ),
]


# ---- InfoNCE with more negatives ----

PAIRS = r"""Pictures `a` `(N, D)` search among texts `b` `(M, D)`, M >= N: text n belongs to picture
n, the others to none. With $\hat a = a / \lVert a \rVert$, $\hat b = b / \lVert b \rVert$ and a
temperature $\tau$ of shape `()`:

$$ L = -\frac{1}{N} \sum_{n} \log \text{softmax}\left( \hat a_n \cdot \hat b_j / \tau
\right)_{j = n} $$

(one direction). Return `(d_a, d_b, d_tau)`."""


def pairs_back(a, b, tau):
    """(d_a (N, D), d_b (M, D), d_tau ()) of InfoNCE from a to b."""
    long_a, long_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    unit_a, unit_b = a / long_a, b / long_b
    S = unit_a @ unit_b.T / tau
    d_S = (S.softmax(dim=1) - torch.eye(len(a), len(b), dtype=a.dtype)) / len(a)
    d_a, d_b = d_S @ unit_b / tau, d_S.T @ unit_a / tau
    d_a = (d_a - (d_a * unit_a).sum(dim=1, keepdim=True) * unit_a) / long_a
    d_b = (d_b - (d_b * unit_b).sum(dim=1, keepdim=True) * unit_b) / long_b
    return d_a, d_b, -(d_S * S).sum() / tau


def pairs_loss(a, b, tau):
    S = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / tau
    return F.cross_entropy(S, torch.arange(len(a))), (a, b, tau)


def _pairs_use(answer, a, b, tau):
    return without_autograd(answer, a, b, tau)


def _pairs_cases(seed=38):
    draw = draws(seed)
    for N, M, D, tau in ((1, 2, 2, 1.0), (2, 2, 2, 0.5), (3, 3, 3, 0.2), (2, 5, 3, 0.7)):
        yield draw(N, D), draw(M, D), torch.tensor(tau, dtype=torch.float64)


def _pairs(a, b, tau, unit=True, length=True, both=False, heat=1, power=1, scale=True):
    long_a, long_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    unit_a, unit_b = a / long_a, b / long_b
    S, own = unit_a @ unit_b.T / tau, torch.eye(len(a), len(b), dtype=a.dtype)
    d_S = S.softmax(1) - own
    if both:
        d_S = (d_S + S.softmax(0) - own) / 2
    d_S = d_S / len(a) if scale else d_S
    d_a, d_b = d_S @ unit_b / tau**power, d_S.T @ unit_a / tau**power
    if unit:
        d_a = d_a - (d_a * unit_a).sum(1, keepdim=True) * unit_a
        d_b = d_b - (d_b * unit_b).sum(1, keepdim=True) * unit_b
    if length:
        d_a, d_b = d_a / long_a, d_b / long_b
    return d_a, d_b, heat * (d_S * S).sum()


PAIRS_WRONG = [
    *ideas(MINUS, negative(pairs_back)),
    *ideas(
        "through unit length nothing goes back along the vector itself: that part is taken off.",
        lambda a, b, tau: _pairs(a, b, tau, unit=False, heat=-1 / tau),
    ),
    *ideas(
        "unit length divides what goes back by the vector's length.",
        lambda a, b, tau: _pairs(a, b, tau, length=False, heat=-1 / tau),
        lambda a, b, tau: _pairs(a, b, tau, unit=False, length=False, heat=-1 / tau),
    ),
    *ideas(
        "the score falls as the temperature rises: by the chain rule -S / tau, not S.",
        lambda a, b, tau: _pairs(a, b, tau, heat=1),
        lambda a, b, tau: _pairs(a, b, tau, heat=1 / tau),
        lambda a, b, tau: _pairs(a, b, tau, heat=-1),
    ),
    *ideas(
        "one direction was asked for: the softmax goes over the texts alone.",
        lambda a, b, tau: _pairs(a, b, tau, both=True, heat=-1 / tau),
    ),
    *ideas(
        "the scores were divided by tau, and so is what goes back to the vectors.",
        lambda a, b, tau: _pairs(a, b, tau, power=0, heat=-1 / tau),
        lambda a, b, tau: _pairs(a, b, tau, power=-1, heat=-1 / tau),
    ),
    *ideas(
        "the mean's 1 / N is missing.",
        lambda a, b, tau: _pairs(a, b, tau, scale=False, heat=-1 / tau),
    ),
]


# ---- modality dropout, expected ----

DROPOUT = r"""A linear fusion adds the scores `s` `(B, M)` of its modalities, and each training step
draws for every row a mask $k$ of zeros and ones: each modality is hidden with probability p, on its
own; where all would be hidden, one of them, by lot, stays. Nothing is rescaled.

$$ L = \frac{1}{2B} \sum_b \Big( \sum_m k_{bm} s_{bm} - y_b \Big)^2 $$

Return the *expected* gradient over all masks, $\mathbb{E}_k[\partial L / \partial s]$, `(B, M)`;
`y` is `(B,)`."""


def dropout_back(s, y, p):
    """The expected gradient (B, M) of a squared error under modality dropout."""
    B, M = s.shape
    stays, both = 1 - p + p**M / M, (1 - p) ** 2
    others = s.sum(dim=1, keepdim=True) - s
    return (stays * (s - y.unsqueeze(1)) + both * others) / B


def dropout_loss(s, y, p):
    B, M = s.shape
    total = 0.0
    for pattern in itertools.product([0, 1], repeat=M):
        chance = math.prod(1 - p if one else p for one in pattern)
        masks = [pattern] if any(pattern) else torch.eye(M).tolist()
        for mask in masks:
            kept = torch.tensor(mask, dtype=s.dtype)
            total = total + chance / len(masks) * ((s * kept).sum(1) - y).square().mean() / 2
    return total, (s,)


def _dropout_use(answer, s, y, p):
    return without_autograd(answer, s, y, p)


def _dropout_cases(seed=40):
    draw = draws(seed)
    for B, M, p in ((1, 2, 0.5), (2, 2, 0.3), (3, 3, 0.4), (4, 4, 0.7)):
        yield draw(B, M), draw(B), p


def _dropout(s, y, p, stays=None, both=None, divided=True):
    M = s.shape[1]
    stays = 1 - p + p**M / M if stays is None else stays
    both = (1 - p) ** 2 if both is None else both
    found = stays * (s - y[:, None]) + both * (s.sum(1, keepdim=True) - s)
    return found / len(s) if divided else found


def _stays(s, p):
    return 1 - p + p ** s.shape[1] / s.shape[1]


DROPOUT_WRONG = [
    *ideas(MINUS, negative(dropout_back)),
    *ideas(
        "the rule that one stays is forgotten: a modality stays more often than 1 - p.",
        lambda s, y, p: _dropout(s, y, p, stays=1 - p),
    ),
    *ideas(
        "the one that is spared stays alone: two are there together with probability (1 - p)^2.",
        lambda s, y, p: _dropout(s, y, p, both=_stays(s, p) ** 2),
    ),
    *ideas(
        "k is 0 or 1, so k times k is k: a modality's own score is not counted with a square.",
        lambda s, y, p: _dropout(s, y, p) - (_stays(s, p) - _stays(s, p) ** 2) * s / len(s),
        lambda s, y, p: (
            _stays(s, p) * (_stays(s, p) * s.sum(1, keepdim=True) - y[:, None]) / len(s)
        ),
    ),
    *ideas(
        "the others are there by chance, too.", lambda s, y, p: _dropout(s, y, p, both=_stays(s, p))
    ),
    *ideas(
        "no mask at all: this is the gradient without dropout.",
        lambda s, y, p: _dropout(s, y, p, stays=1, both=1),
    ),
    *ideas("the mean's 1 / B is missing.", lambda s, y, p: _dropout(s, y, p, divided=False)),
]


# ---- what derivations.py takes ----

WRITTEN = {
    "attention": written(
        attention_back, ATTENTION, _attention_cases, ATTENTION_WRONG, use=_attention_use
    ),
    "gate": written(gate_back, GATE, _gate_cases, GATE_WRONG, use=_gate_use),
    "factor": written(factor_back, FACTOR, _factor_cases, FACTOR_WRONG, use=_factor_use),
    "pairs": written(pairs_back, PAIRS, _pairs_cases, PAIRS_WRONG, use=_pairs_use),
    "dropout": written(dropout_back, DROPOUT, _dropout_cases, DROPOUT_WRONG, use=_dropout_use),
}
LOSSES = {
    "attention": attention_loss,
    "gate": gate_loss,
    "factor": factor_loss,
    "pairs": pairs_loss,
    "dropout": dropout_loss,
}
