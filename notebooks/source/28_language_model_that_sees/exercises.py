"""Notebook 28: the loss on the reply alone, and LoRA."""

import torch
from torch import nn
from torch.nn import functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws
from course_utils.language_model import LoRALinear

# 28.1 -----------------------------------------------------------------------------------------


def reply_only_loss(logits, ids, given, mask):
    """Row by row, over the ids of its own reply."""
    soft = logits.shape[1] - ids.shape[1]
    losses = []
    for row, words, start, there in zip(logits, ids, given.tolist(), mask):
        end = int(there.sum())
        predicted = row[soft + start - 1 : soft + end - 1]  # one place before each word
        losses.append(F.cross_entropy(predicted, words[start:end], reduction="none"))
    return torch.cat(losses).mean()


def _loss(logits, ids, given, mask, shift=1, counted=None, reduction="mean"):
    """The same in steps that a wrong idea can change one by one."""
    T = ids.shape[1]
    place = torch.arange(T)
    keep = mask & (place >= given[:, None]) if counted is None else counted(place, given, mask)
    predicted = logits[:, -T : logits.shape[1] - shift]
    ids, keep = ids[:, shift:], keep[:, shift:]
    return F.cross_entropy(predicted[keep], ids[keep], reduction=reduction)


def _mean_of_rows(logits, ids, given, mask):
    rows = [
        reply_only_loss(logits[b : b + 1], ids[b : b + 1], given[b : b + 1], mask[b : b + 1])
        for b in range(len(ids))
    ]
    return torch.stack(rows).mean()


def _from_the_front(logits, ids, given, mask):
    keep = (mask & (torch.arange(ids.shape[1]) >= given[:, None]))[:, 1:]
    return F.cross_entropy(logits[:, : ids.shape[1] - 1][keep], ids[:, 1:][keep])


def _places_of_the_row(logits, ids, given, mask):
    soft = logits.shape[1] - ids.shape[1]
    ids, mask = F.pad(ids, (soft, 0)), F.pad(mask, (soft, 0))
    return _loss(logits, ids, given, mask)


def _over_all_places(logits, ids, given, mask):
    keep = mask & (torch.arange(ids.shape[1]) >= given[:, None])
    return _loss(logits, ids, given, mask, reduction="sum") / keep.numel()


def _loss_cases(seed=1):
    draw, choose = draws(seed), torch.Generator().manual_seed(seed)
    # one row, no soft token: <bos>, two words of prompt, two of reply
    yield draw(1, 5, 4), torch.tensor([[2, 1, 1, 0, 3]]), torch.tensor([3]), torch.ones(1, 5).bool()
    # two soft tokens before it
    yield draw(1, 7, 4), torch.tensor([[2, 1, 1, 0, 3]]), torch.tensor([3]), torch.ones(1, 5).bool()
    # a shorter row: padding is 0, and 0 may also be a word
    yield (
        draw(2, 6, 5),
        torch.tensor([[2, 1, 4, 3, 3], [2, 4, 0, 0, 0]]),
        torch.tensor([2, 2]),
        torch.arange(5) < torch.tensor([[5], [3]]),
    )
    for rows, soft, longest in ((3, 0, 6), (4, 3, 7), (2, 16, 9)):
        lengths = torch.randint(4, longest + 1, (rows,), generator=choose)
        lengths[0] = longest
        mask = torch.arange(longest) < lengths[:, None]
        ids = torch.randint(1, 6, (rows, longest), generator=choose) * mask
        given = torch.randint(1, 4, (rows,), generator=choose)
        yield draw(rows, soft + longest, 6), ids, given, mask


def _loss_batch():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(32, 36, 54, generator=draw, requires_grad=True)
    mask = torch.arange(20) < torch.randint(10, 21, (32, 1), generator=draw)
    ids = torch.randint(1, 54, (32, 20), generator=draw) * mask
    return logits, ids, torch.randint(5, 9, (32,), generator=draw), mask


REPLY = Exercise(
    key="28.1",
    reference=reply_only_loss,
    cases=_loss_cases,
    batch=_loss_batch,
    verified=True,
    returns="a number, the mean over all counted words of the batch",
    misconceptions=(
        *ideas(
            "nothing is shifted: the logits at a place predict the *next* word.",
            lambda z, i, g, m: _loss(z, i, g, m, shift=0),
        ),
        *ideas(
            "this shifts twice. A model of transformers that gets `labels` shifts by itself; here"
            " you do it, once.",
            lambda z, i, g, m: _loss(z, i, g, m, shift=2),
        ),
        *ideas(
            "the prompt counts too. Only words at places from `given` on are the reply.",
            lambda z, i, g, m: _loss(z, i, g, m, counted=lambda p, g, m: m & (p > 0)),
        ),
        *ideas(
            "the padding counts too. Leave out what the mask leaves out.",
            lambda z, i, g, m: _loss(
                z, i, g, m, counted=lambda p, g, m: (p >= g[:, None]) & (m | ~m)
            ),
        ),
        *ideas(
            "a word is left out because its id is 0. What is padding says the mask, not the id.",
            lambda z, i, g, m: _loss(
                z, i, g, m, counted=lambda p, g, m: m & (p >= g[:, None]) & (i != 0)
            ),
        ),
        *ideas(
            "the reply's first word is missing: the last place of the prompt predicts it.",
            lambda z, i, g, m: _loss(z, i, g, m, counted=lambda p, g, m: m & (p > g[:, None])),
        ),
        *ideas(
            "the prompt's last word counts too: the reply begins at place `given`.",
            lambda z, i, g, m: _loss(
                z, i, g, m, counted=lambda p, g, m: m & (p >= (g[:, None] - 1).clamp(min=1))
            ),
        ),
        *ideas(
            "the logits are taken from the front, where the soft tokens stand. The text's are the"
            " last T.",
            _from_the_front,
        ),
        *ideas(
            "this is the mean of the rows' means. Asked is one mean over all words of all replies.",
            _mean_of_rows,
        ),
        *ideas(
            "the sum has to be divided by the number of words that count, no other number.",
            lambda z, i, g, m: _loss(z, i, g, m, reduction="sum"),
            _over_all_places,
        ),
        *ideas(
            "`given` counts places of the text. Here it is compared with places of the whole row,"
            " soft tokens included.",
            _places_of_the_row,
        ),
        *ideas(
            "each reply's last word, its end, is missing. So a model never learns to stop.",
            lambda z, i, g, m: _loss(
                z,
                i,
                g,
                m,
                counted=lambda p, g, m: (p >= g[:, None]) & (p < m.sum(1, keepdim=True) - 1),
            ),
        ),
    ),
)


# 28.2 -----------------------------------------------------------------------------------------


class LoRA(LoRALinear):
    """The package's layer: the change by two products, A drawn as nn.Linear's weights are."""


def _facts(cls, weight, bias, A, B, x, alpha):
    """Whether nothing is changed at the start, what is trained, whether A and B are drawn and A's
    rows differ, and with others the result and the gradient of its sum by x.
    """
    (rank, wide), out = A.shape, len(weight)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        inner = nn.Linear(wide, out, bias=bias is not None).double()
        with torch.no_grad():
            inner.weight.copy_(weight)
            if bias is not None:
                inner.bias.copy_(bias)
        layer = cls(inner, rank, alpha).double()
    trained = {n: tuple(p.shape) for n, p in layer.named_parameters() if p.requires_grad}
    same = bool(torch.allclose(layer(x), inner(x)))
    drawn = {"A": bool((layer.A != 0).all()), "B": bool((layer.B != 0).any())}
    drawn["rows differ"] = len(layer.A.detach().unique(dim=0)) == len(layer.A)
    with torch.no_grad():
        layer.A.copy_(A)
        layer.B.copy_(B)
    x = x if x.requires_grad else x.clone().requires_grad_()
    result = layer(x)
    (slope,) = torch.autograd.grad(result.sum(), x, retain_graph=True)
    return same, trained, drawn, result, slope


class _Other(LoRA):
    """The reference in parts that a wrong idea can change one by one."""

    freeze, zero, random, ratio, own, order = True, True, True, "alpha / r", True, False

    def __init__(self, inner, rank=8, alpha=16.0):
        super().__init__(inner, rank, alpha)
        inner.requires_grad_(not self.freeze)
        ratios = {"alpha / r": alpha / rank, "alpha": alpha, "1": 1.0, "r / alpha": rank / alpha}
        self.scale = ratios[self.ratio]
        with torch.no_grad():
            if not self.zero:
                self.B.normal_()
            if not self.random:
                self.A.zero_()

    def forward(self, x):
        change = self.scale * (x @ self.A.T @ self.B.T)
        return self.inner(x) + change if self.own else change


def _with(**how):
    return type("LoRA", (_Other,), how)


class _Swapped(_Other):
    def __init__(self, inner, rank=8, alpha=16.0):
        super().__init__(inner, rank, alpha)
        with torch.no_grad():
            self.B.normal_()
            self.A.zero_()


class _Alike(_Other):
    def __init__(self, inner, rank=8, alpha=16.0):
        super().__init__(inner, rank, alpha)
        with torch.no_grad():
            self.A.fill_(1.0)


class _ScaledAll(_Other):
    def forward(self, x):
        return self.scale * (self.inner(x) + x @ self.A.T @ self.B.T)


class _NoBias(_Other):
    def forward(self, x):
        return x @ (self.inner.weight + self.scale * self.B @ self.A).T


class _Transposed(nn.Module):
    def __init__(self, inner, rank=8, alpha=16.0):
        super().__init__()
        self.inner, self.scale = inner.requires_grad_(False), alpha / rank
        self.A = nn.Parameter(torch.randn(inner.in_features, rank))
        self.B = nn.Parameter(torch.zeros(rank, inner.out_features))

    def forward(self, x):
        return self.inner(x) + self.scale * (x @ self.A @ self.B)


class _NoGradient(_Other):
    def forward(self, x):
        with torch.no_grad():
            kept = self.inner(x)
        return kept + self.scale * (x @ self.A.T @ self.B.T)


class _OnlyWeight(_Other):
    def __init__(self, inner, rank=8, alpha=16.0):
        super().__init__(inner, rank, alpha)
        if inner.bias is not None:
            inner.bias.requires_grad_()


def _lora_cases(seed=1):
    draw = draws(seed)
    # from 2 numbers to 3, rank 1
    yield draw(3, 2), draw(3), draw(1, 2), draw(3, 1), draw(1, 2), 1.0
    yield draw(3, 2), draw(3), draw(1, 2), draw(3, 1), draw(2, 2), 4.0
    # no bias; a square layer; sequences (B, T, D)
    yield draw(4, 4), None, draw(2, 4), draw(4, 2), draw(2, 3, 4), 8.0
    yield draw(5, 3), draw(5), draw(4, 3), draw(5, 4), draw(2, 3), 2.0


def _lora_batch():
    draw = torch.Generator().manual_seed(0)
    shapes = (128, 128), (128,), (8, 128), (128, 8), (32, 36, 128)
    numbers = [torch.randn(*s, generator=draw, dtype=torch.float64) for s in shapes]
    numbers[-1].requires_grad_()
    return *numbers, 16.0


LORA = Exercise(
    key="28.2",
    reference=LoRA,
    cases=_lora_cases,
    use=_facts,
    batch=_lora_batch,
    verified=True,
    returns="whether it changes nothing at the start, the shapes of what is trained, which of A and"
    " B is other than 0, whether A's rows differ, and with other A and B what it gives, and its"
    " sum's gradient by x",
    misconceptions=(
        *ideas(
            "the inner layer is still trained: `inner.requires_grad_(False)`, weight and bias.",
            _with(freeze=False),
            _OnlyWeight,
        ),
        *ideas(
            "at the start the layer must compute what it did before: B begins with zeros.",
            _with(zero=False),
        ),
        *ideas(
            "A begins with zeros as B does. Then both gradients are 0, and nothing ever moves.",
            _with(random=False),
        ),
        *ideas(
            "all rows of A are alike. They get the same gradient, so B A stays a matrix of rank 1:"
            " draw A at random.",
            _Alike,
        ),
        *ideas("A is zero and B random here. Asked is the other way round.", _Swapped),
        *ideas(
            "the change is scaled by alpha / r, r the rank.",
            _with(ratio="alpha"),
            _with(ratio="1"),
            _with(ratio="r / alpha"),
        ),
        *ideas(
            "the inner layer's own output is missing: the change is *added* to it.",
            _with(own=False),
        ),
        *ideas(
            "the scale belongs to the change alone, not to the inner layer's output.", _ScaledAll
        ),
        *ideas("the inner layer's bias is lost.", _NoBias),
        *ideas(
            "no gradient reaches x through the inner layer, so layers before it learn wrongly. Its"
            " weights are frozen by `requires_grad_(False)`, without `no_grad` and `detach`.",
            _NoGradient,
        ),
        *ideas(
            "A is (r, in) and B is (out, r), as a linear layer's weight is (out, in).", _Transposed
        ),
    ),
)

EXERCISES = [REPLY, LORA]
