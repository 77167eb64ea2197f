"""Notebook 33: what falls without the regions that a map names, and integrated gradients."""

import torch

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws, float64

# 33.1 -----------------------------------------------------------------------------------------


def deletion_gap(model, cells, attribution, blank, random):
    """Sample by sample and draw by draw; the whole picture's probability cancels."""
    k = random.shape[2]
    ordered = attribution.argsort(1, descending=True)[:, :k]
    falls = []
    for places in [ordered, *random]:
        left = cells.clone()
        for row, chosen in zip(left, places.tolist()):
            for place in chosen:
                row[place] = blank
        falls.append(model(left))
    return sum(falls[1:]) / (len(falls) - 1) - falls[0]


def _gap(
    model,
    cells,
    attribution,
    blank,
    random,
    top=lambda a, k: a.topk(k, 1).indices,
    fill=lambda cells, blank: blank,
    baseline=lambda falls: falls.mean(0),
    sign=1,
    keep=False,
    add=False,
    whole=None,
    join=lambda gap: gap,
):
    def without(places, start=cells):
        gone = torch.zeros(cells.shape[:2], dtype=torch.bool).scatter(1, places, True)
        gone = ~gone if keep else gone
        return torch.where(gone[..., None], fill(cells, blank), start)

    before = model(cells) if whole is None else whole
    first = without(top(attribution, random.shape[2]))
    named = before - model(first)
    drawn = [before - model(without(one, first if add else cells)) for one in random]
    return join(sign * (named - baseline(torch.stack(drawn))))


def _flat(attribution, k):
    """The k B largest of the whole batch, then k of a row as they come."""
    order = attribution.mean(0).topk(k).indices
    return order.expand(len(attribution), k)


def _model(weights, samples):
    """The probability of the answer: all regions together, and neighbours multiplied."""

    def model(cells):
        if cells.shape != (samples, *weights.shape):
            raise ValueError(
                "the model takes the regions of all samples at once, (B, K, D), as it knows the"
                f" question of each; got {tuple(cells.shape)}"
            )
        each = (cells * weights.to(cells.dtype)).sum(2)
        return torch.sigmoid(0.5 * each.sum(1) + 0.2 * (each[:, 1:] * each[:, :-1]).sum(1))

    return model


def _use_gap(answer, weights, cells, attribution, blank, random):
    """The answer, asked with a small model of these weights."""
    return answer(_model(weights, len(cells)), cells, attribution, blank, random)


def _gap_cases(seed=1):
    one = torch.tensor([[[3.0], [1.0], [0.0], [-1.0]]], dtype=torch.float64)
    weights = torch.ones(4, 1, dtype=torch.float64)
    every = torch.arange(4).view(4, 1, 1)
    # four regions, one goes; random: each of the four once. A blank of 0, then one of .5
    yield weights, one, *float64([[3.0, 1.0, 0.5, -4.0]], [0.0]), every
    yield weights, one, *float64([[-2.0, 5.0, 0.1, 1.0]], [0.5]), every
    draw, chance = draws(seed), torch.Generator().manual_seed(seed)
    for B, K, D, k, R in ((2, 5, 2, 2, 3), (3, 6, 3, 3, 4), (4, 8, 2, 1, 2)):
        attribution = torch.rand(B, K, generator=chance, dtype=torch.float64) * 4 - 2
        random = torch.rand(R, B, K, generator=chance).argsort(2)[..., :k]
        yield draw(K, D), draw(B, K, D), attribution, draw(D), random


def _gap_batch():
    """The page's size: 1,000 questions, 64 regions, ten draws of three."""
    draw = torch.Generator().manual_seed(0)
    cells = torch.randn(1_000, 64, 64, generator=draw)
    random = torch.rand(10, 1_000, 64, generator=draw).argsort(2)[..., :3]
    weights = torch.randn(64, 64, generator=draw) / 16
    return weights, cells, torch.rand(1_000, 64, generator=draw), torch.zeros(64), random


DELETION = Exercise(
    key="33.1",
    reference=deletion_gap,
    cases=_gap_cases,
    use=_use_gap,
    batch=_gap_batch,
    verified=True,
    returns="the gaps, a float tensor of shape (B,)",
    misconceptions=(
        *ideas(
            "the least important regions are removed. The largest attribution names what matters"
            " most.",
            lambda m, c, a, b, r: _gap(
                m, c, a, b, r, top=lambda a, k: a.topk(k, 1, largest=False).indices
            ),
        ),
        *ideas(
            "no random baseline: any regions that go cost something. Subtract the mean fall of the"
            " draws.",
            lambda m, c, a, b, r: _gap(m, c, a, b, r, baseline=lambda falls: 0),
        ),
        *ideas(
            "the regions are ordered by the size of their attribution. A negative one speaks"
            " against the answer: order by the value, sign included.",
            lambda m, c, a, b, r: _gap(m, c, a, b, r, top=lambda a, k: a.abs().topk(k, 1).indices),
        ),
        *ideas(
            "removed regions become 0. Zero may mean something, as black is a colour: put `blank`"
            " there.",
            lambda m, c, a, b, r: _gap(m, c, a, b, r, fill=lambda c, b: torch.zeros_like(b)),
            lambda m, c, a, b, r: _gap(m, c, a, b, r, fill=lambda c, b: torch.ones_like(b)),
        ),
        *ideas(
            "removed regions become the mean region of the samples. Put `blank` there.",
            lambda m, c, a, b, r: _gap(m, c, a, b, r, fill=lambda c, b: c.mean(1, keepdim=True)),
            lambda m, c, a, b, r: _gap(m, c, a, b, r, fill=lambda c, b: c.mean((0, 1))),
        ),
        *ideas(
            "the chosen regions are kept and all others go. Here the chosen ones go.",
            lambda m, c, a, b, r: _gap(m, c, a, b, r, keep=True),
        ),
        *ideas(
            "the gap is turned round: it is the fall of the named regions minus that of random"
            " ones, and a fall is before minus after.",
            lambda m, c, a, b, r: _gap(m, c, a, b, r, sign=-1),
        ),
        *ideas(
            "the falls of the draws are added up, or the worst is taken. Take their mean.",
            lambda m, c, a, b, r: _gap(m, c, a, b, r, baseline=lambda falls: falls.sum(0)),
            lambda m, c, a, b, r: _gap(m, c, a, b, r, baseline=lambda falls: falls.amax(0)),
        ),
        *ideas(
            "only one draw is used. One may hit the thing by chance: take the mean over all R.",
            lambda m, c, a, b, r: _gap(m, c, a, b, r, baseline=lambda falls: falls[0]),
            lambda m, c, a, b, r: _gap(m, c, a, b, r, baseline=lambda falls: falls[-1]),
        ),
        *ideas(
            "the random regions go on top of those that the map names, which are still gone. Start"
            " again from the whole picture.",
            lambda m, c, a, b, r: _gap(m, c, a, b, r, add=True),
        ),
        *ideas(
            "all samples lose the same regions. Each has its own largest ones.",
            lambda m, c, a, b, r: _gap(m, c, a, b, r, top=_flat),
        ),
        *ideas(
            "this is the mean over the samples, or over draws and samples at once. Asked is one gap"
            " a sample.",
            lambda m, c, a, b, r: _gap(m, c, a, b, r, join=lambda gap: gap.mean()),
            lambda m, c, a, b, r: _gap(m, c, a, b, r, baseline=lambda falls: falls.mean()),
        ),
    ),
)

# 33.2 -----------------------------------------------------------------------------------------


def integrated_gradients(score, x, baseline, steps):
    """Backwards from the picture to the baseline, one point at a time."""
    way = x - baseline
    total = torch.zeros_like(way)
    for step in range(steps, 0, -1):
        point = (x - (steps - step + 0.5) / steps * way).detach().requires_grad_()
        with torch.enable_grad():
            score(point).sum().backward()
        total += point.grad
    return (way * total / steps).detach()


def _whole(
    score,
    x,
    baseline,
    steps,
    at=lambda i, n: (i + 0.5) / n,
    points=lambda n: range(n),
    times=lambda x, x0: x - x0,
    start=None,
    mean=lambda gradients: gradients.mean(0),
    join=lambda values: values.sum(),
    finish=lambda result: result,
):
    from_here = baseline if start is None else start
    found = []
    for i in points(steps):
        here = from_here + at(i, steps) * (x - from_here)
        here = here.detach().requires_grad_()
        found.append(torch.autograd.grad(join(score(here)), here)[0])
    return finish((times(x, baseline) * mean(torch.stack(found))).detach())


def _trapezoid(gradients):
    return (gradients[1:] + gradients[:-1]).mean(0) / 2


def _score(weights, samples):
    """One number a sample: a curve of a weighted sum, and a square of its own."""

    def score(x):
        if x.shape != (samples, *weights.shape):
            raise ValueError(
                "the score takes all samples at once, (B, ...), as it knows the question of each;"
                f" got {tuple(x.shape)}"
            )
        weighted = (x * weights.to(x.dtype)).flatten(1)
        return torch.tanh(weighted.sum(1)) + 0.3 * (weighted**3).sum(1) + weighted[:, 0].sigmoid()

    return score


def _use_whole(answer, weights, x, baseline, steps):
    """The answer, asked with a small score of these weights."""
    return answer(_score(weights, len(x)), x, baseline, steps)


def _whole_cases(seed=2):
    one = torch.tensor([[2.0]], dtype=torch.float64)
    weights = torch.ones(1, dtype=torch.float64)
    yield weights, one, torch.zeros(1, dtype=torch.float64), 1
    yield weights, one, torch.ones(1, dtype=torch.float64), 2
    draw = draws(seed)
    yield draw(3), draw(2, 3), draw(3), 4
    yield draw(2, 3), draw(3, 2, 3), torch.zeros(2, 3, dtype=torch.float64), 3
    yield draw(2, 2, 2), draw(2, 2, 2, 2), draw(2, 2, 2, 2), 5
    yield draw(3), -draw(2, 3).abs(), draw(3), 2


def _whole_batch():
    draw = torch.Generator().manual_seed(0)
    weights = torch.randn(64, 64, generator=draw) / 64
    return weights, torch.randn(500, 64, 64, generator=draw), torch.zeros(64, 64), 16


INTEGRATED = Exercise(
    key="33.2",
    reference=integrated_gradients,
    cases=_whole_cases,
    use=_use_whole,
    batch=_whole_batch,
    verified=True,
    returns="the attributions, in the shape of x",
    misconceptions=(
        *ideas(
            "the gradient is taken at x alone, or at the baseline: that is gradient times input."
            " Take it at all points of the way.",
            lambda s, x, b, n: _whole(s, x, b, n, at=lambda i, n: 1.0),
            lambda s, x, b, n: _whole(s, x, b, n, at=lambda i, n: 0.0),
        ),
        *ideas(
            "the mean gradient is not multiplied by the way, x - baseline.",
            lambda s, x, b, n: _whole(s, x, b, n, times=lambda x, x0: torch.ones_like(x)),
        ),
        *ideas(
            "the mean gradient is multiplied by x. The way that was gone is x - baseline.",
            lambda s, x, b, n: _whole(s, x, b, n, times=lambda x, x0: x),
        ),
        *ideas(
            "the way is gone in the other direction: x - baseline, not baseline - x.",
            lambda s, x, b, n: _whole(s, x, b, n, times=lambda x, x0: x0 - x),
        ),
        *ideas(
            "the gradients are added up. Divide by the number of steps.",
            lambda s, x, b, n: _whole(s, x, b, n, mean=lambda g: g.sum(0)),
        ),
        *ideas(
            "the points stand at the left or right ends of the steps. Take their middles, (i + 0.5)"
            " / steps.",
            lambda s, x, b, n: _whole(s, x, b, n, at=lambda i, n: i / n),
            lambda s, x, b, n: _whole(s, x, b, n, at=lambda i, n: (i + 1) / n),
        ),
        *ideas(
            "both ends of the way are among the points. The midpoint rule takes the middles of"
            " equal steps, (i + 0.5) / steps.",
            lambda s, x, b, n: _whole(
                s, x, b, n, at=lambda i, n: i / n, points=lambda n: range(n + 1)
            ),
            lambda s, x, b, n: _whole(
                s, x, b, n, at=lambda i, n: i / n, points=lambda n: range(n + 1), mean=_trapezoid
            ),
            lambda s, x, b, n: _whole(s, x, b, n, at=lambda i, n: i / max(n - 1, 1)),
        ),
        *ideas(
            "the way starts at zero. It starts at the baseline.",
            lambda s, x, b, n: _whole(s, x, b, n, start=torch.zeros_like(x)),
            lambda s, x, b, n: _whole(s, x, torch.zeros_like(x), n),
        ),
        *ideas(
            "the score is averaged over the samples before the gradient: each sample's gradient is"
            " then divided by their number. Sum it.",
            lambda s, x, b, n: _whole(s, x, b, n, join=lambda values: values.mean()),
        ),
        *ideas(
            "the sign is lost. A negative attribution speaks against the answer.",
            lambda s, x, b, n: _whole(s, x, b, n, finish=torch.abs),
            lambda s, x, b, n: _whole(s, x, b, n, mean=lambda g: g.abs().mean(0)),
        ),
        *ideas(
            "the attributions are summed over the places. Asked is one for each number of x.",
            lambda s, x, b, n: _whole(s, x, b, n, finish=lambda y: y.flatten(1).sum(1)),
            lambda s, x, b, n: _whole(s, x, b, n, finish=lambda y: y.sum(-1)),
        ),
    ),
)

EXERCISES = [DELETION, INTEGRATED]
