"""Notebook 34: early exit, and what it costs in expectation."""

import math

import torch

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws, float64

# 34.1 -----------------------------------------------------------------------------------------


def early_exit(logits, full, threshold):
    """Row by row, with exponentials."""
    labels, on = [], []
    for i, row in enumerate(logits.tolist()):
        top = max(row)
        sure = 1 / sum(math.exp(number - top) for number in row)
        on.append(sure < threshold)
        if on[-1]:
            row = full(torch.tensor([i]))[0].tolist()
        labels.append(max(range(len(row)), key=row.__getitem__))
    return torch.tensor(labels), torch.tensor(on)


def _asked(answer, cheap, full, threshold):
    """What an answer gives, and for which rows it has called `full`, here a table of logits."""
    seen = []

    def call(rows):
        seen.extend(torch.arange(len(full))[rows].reshape(-1).tolist())
        return full[rows]

    given = answer(cheap, call, threshold)
    if not (isinstance(given, (tuple, list)) and len(given) == 2):
        return given
    return {"labels": given[0], "went on": given[1], "rows that full got": sorted(seen)}


def _exit(
    cheap,
    full,
    threshold,
    sure=lambda z: z.softmax(1).amax(1),
    on=lambda sure, t: sure < t,
    rows=lambda on: on.nonzero()[:, 0],
    join=lambda first, second: second,
    told=lambda on: on,
):
    """The same in steps that a wrong idea can change one by one."""
    go = on(sure(cheap), threshold)
    labels, where = cheap.argmax(1), rows(go)
    if len(where):
        labels[where] = join(cheap[where], full(where)).argmax(1)
    return labels, told(go)


def _all_rows(cheap, full, threshold):
    """Right labels, but `full` runs for every row."""
    on = cheap.softmax(1).amax(1) < threshold
    return torch.where(on, full(torch.arange(len(cheap))).argmax(1), cheap.argmax(1)), on


def _at_the_front(cheap, full, threshold):
    """What `full` gives is written to the first rows."""
    on = cheap.softmax(1).amax(1) < threshold
    labels, where = cheap.argmax(1), on.nonzero()[:, 0]
    labels[: len(where)] = full(where).argmax(1)
    return labels, on


def _all_if_any(cheap, full, threshold):
    """One unsure row sends the whole batch on."""
    on = cheap.softmax(1).amax(1) < threshold
    return (full(torch.arange(len(cheap))) if on.any() else cheap).argmax(1), on


def _never_used(cheap, full, threshold):
    on = cheap.softmax(1).amax(1) < threshold
    full(on.nonzero()[:, 0])
    return cheap.argmax(1), on


def _margin(z):
    two = z.softmax(1).topk(2, 1).values
    return two[:, 0] - two[:, 1]


def _surer(first, second):
    better = first.softmax(1).amax(1) > second.softmax(1).amax(1)
    return torch.where(better[:, None], first, second)


def _exit_cases(seed=1):
    # one row that goes on, and one that is exactly at the threshold: it leaves
    yield *float64([[0.0, 0.4]], [[9.0, 0.0]]), 0.7
    yield *float64([[0.0, 0.0]], [[0.0, 1.0]]), 0.5
    # nobody goes on, and everybody
    yield *float64([[3.0, 0.0], [0.0, 4.0]], [[0.0, 9.0], [9.0, 0.0]]), 0.6
    yield *float64([[3.0, 0.0], [0.0, 4.0]], [[0.0, 9.0], [9.0, 0.0]]), 0.999
    # the second row is unsure, and the whole model says 0 where the cheap one says 1
    yield (
        *float64([[3.0, 0.0], [0.0, 0.4], [0.0, 4.0]], [[0.0, 9.0], [9.0, 0.0], [9.0, 0.0]]),
        0.7,
    )
    # one class is as likely as all others together
    yield *float64([[4.0, 4.0, -9.0], [2.0, 0.0, 0.0]], [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]), 0.6
    # large logits
    yield *float64([[900.0, 0.0, 899.0], [0.0, -900.0, 0.0]], [[0.0, 9.0, 0.0]] * 2), 0.8
    draw = draws(seed)
    for rows, classes, threshold in ((5, 3, 0.6), (9, 4, 0.5), (12, 10, 0.3), (7, 2, 0.8)):
        yield 1.5 * draw(rows, classes), 2 * draw(rows, classes), threshold


def _exit_batch():
    draw = torch.Generator().manual_seed(0)
    return torch.randn(252, 10, generator=draw), torch.randn(252, 10, generator=draw), 0.4


EARLY_EXIT = Exercise(
    key="34.1",
    reference=early_exit,
    cases=_exit_cases,
    use=_asked,
    batch=_exit_batch,
    verified=True,
    returns="two tensors: the labels (B,), whole numbers, and which rows went on, (B,) bool. (In a"
    " case `full` stands as the table of what it gives for each row.)",
    misconceptions=(
        *ideas(
            "it is decided for the whole batch. Each row has its own confidence, and goes on or"
            " not for itself.",
            lambda c, f, t: _exit(c, f, t, on=lambda s, t: (s.mean() < t).expand(len(s))),
            lambda c, f, t: _exit(c, f, t, on=lambda s, t: (s.amin() < t).expand(len(s))),
            lambda c, f, t: _exit(c, f, t, on=lambda s, t: (s.amax() < t).expand(len(s))),
            _all_if_any,
        ),
        *ideas(
            "a logit is compared with the threshold. The confidence is a probability: take the"
            " softmax first.",
            lambda c, f, t: _exit(c, f, t, sure=lambda z: z.amax(1)),
        ),
        *ideas(
            "the labels are right, but `full` has run for rows that did not need it: nothing is"
            " saved.",
            _all_rows,
        ),
        *ideas(
            "the sure rows go on, and the unsure ones leave. Turn the comparison.",
            lambda c, f, t: _exit(c, f, t, on=lambda s, t: s >= t),
            lambda c, f, t: _exit(c, f, t, on=lambda s, t: s > t),
        ),
        *ideas(
            "a confidence of exactly the threshold is enough: it leaves.",
            lambda c, f, t: _exit(c, f, t, on=lambda s, t: s <= t),
        ),
        *ideas(
            "the confidence is the largest probability, not its lead over the second.",
            lambda c, f, t: _exit(c, f, t, sure=_margin),
        ),
        *ideas(
            "what `full` gives is written to the first rows. Write it to those that it was asked"
            " for.",
            _at_the_front,
        ),
        *ideas(
            "the second tensor says which rows *left*. Asked is which went on.",
            lambda c, f, t: _exit(c, f, t, told=lambda on: ~on),
        ),
        *ideas(
            "where `full` has run, its answer alone counts: it has seen all that the cheap model"
            " has seen.",
            lambda c, f, t: _exit(c, f, t, join=lambda first, second: first + second),
            lambda c, f, t: _exit(c, f, t, join=_surer),
        ),
        *ideas("`full` runs, and its answer is never used.", _never_used),
        *ideas(
            "the softmax runs over the rows. It is over the classes of one row.",
            lambda c, f, t: _exit(c, f, t, sure=lambda z: z.softmax(0).amax(1)),
        ),
        *ideas(
            "exp of a large logit is infinite, and the confidence then NaN: take `softmax`, or"
            " subtract each row's largest logit first.",
            lambda c, f, t: _exit(
                c, f, t, sure=lambda z: (z.exp() / z.exp().sum(1, keepdim=True)).amax(1)
            ),
        ),
    ),
)

# 34.2 -----------------------------------------------------------------------------------------


def exit_costs(confidence, thresholds, cheap_cost, full_cost):
    """Threshold by threshold, row by row."""
    costs = []
    for threshold in thresholds.tolist():
        paid = [cheap_cost + (full_cost if s < threshold else 0) for s in confidence.tolist()]
        costs.append(sum(paid) / len(paid))
    return torch.tensor(costs, dtype=confidence.dtype)


def _costs(
    confidence,
    thresholds,
    cheap,
    full,
    on=lambda sure, t: sure < t,
    share=lambda on: on.mean(0),
    cost=lambda q, cheap, full: cheap + q * full,
):
    """The same in steps that a wrong idea can change one by one."""
    table = on(confidence[:, None], thresholds).to(confidence.dtype)
    return cost(share(table), cheap, full)


def _cost_cases(seed=2):
    # by hand: one of two goes on
    yield *float64([0.9, 0.4], [0.5]), 1.0, 20.0
    # exactly at the threshold: it leaves
    yield *float64([0.8, 0.8, 0.6], [0.8]), 2.0, 10.0
    # none, one, and both
    yield *float64([0.9, 0.4], [0.3, 0.5, 0.95]), 1.0, 20.0
    # the cheap one is not so cheap
    yield *float64([0.5, 0.7, 0.9, 0.99], [0.6, 0.0]), 5.0, 6.0
    chance = torch.Generator().manual_seed(seed)
    for rows, many in ((3, 3), (7, 2), (20, 5), (1, 4)):
        sure = (100 * torch.rand(rows, generator=chance, dtype=torch.float64)).round() / 100
        grid = (100 * torch.rand(many, generator=chance, dtype=torch.float64)).round() / 100
        costs = torch.rand(2, generator=chance, dtype=torch.float64)
        yield sure, grid, round(costs[0].item(), 2) + 0.1, 10 * round(costs[1].item(), 2) + 1


def _cost_batch():
    draw = torch.Generator().manual_seed(0)
    sure = torch.rand(252, generator=draw, dtype=torch.float64)
    return sure, torch.linspace(0, 1, 21, dtype=torch.float64), 0.05, 0.8


EXIT_COSTS = Exercise(
    key="34.2",
    reference=exit_costs,
    cases=_cost_cases,
    batch=_cost_batch,
    verified=True,
    returns="the expected cost of a row, a float tensor of shape (K,), one for each threshold",
    misconceptions=(
        *ideas(
            "where the whole model runs, the cheap one has run before it: its cost is always paid.",
            lambda s, t, c, f: _costs(s, t, c, f, cost=lambda q, c, f: (1 - q) * c + q * f),
        ),
        *ideas(
            "the cheap model's cost is missing. Every row pays it.",
            lambda s, t, c, f: _costs(s, t, c, f, cost=lambda q, c, f: q * f),
            lambda s, t, c, f: _costs(s, t, c, f, cost=lambda q, c, f: q * (c + f)),
        ),
        *ideas(
            "the whole model is paid for the rows that *leave*. It is paid for those that go on.",
            lambda s, t, c, f: _costs(s, t, c, f, cost=lambda q, c, f: c + (1 - q) * f),
            lambda s, t, c, f: _costs(s, t, c, f, on=lambda s, t: s > t),
        ),
        *ideas(
            "a confidence of exactly the threshold is enough: this row leaves.",
            lambda s, t, c, f: _costs(s, t, c, f, on=lambda s, t: s <= t),
        ),
        *ideas(
            "it is decided for the whole batch. Count the share of rows that go on.",
            lambda s, t, c, f: c + f * (s.mean() < t).to(s.dtype),
            lambda s, t, c, f: _costs(s, t, c, f, share=lambda on: on.amax(0)),
            lambda s, t, c, f: _costs(s, t, c, f, share=lambda on: on.amin(0)),
        ),
        *ideas(
            "1 minus the mean confidence is no share of rows that go on. Compare each confidence"
            " with the threshold, and count.",
            lambda s, t, c, f: (c + f * (1 - s.mean())).expand(len(t)),
        ),
        *ideas(
            "this is the cost of all rows together. Asked is the mean of a row.",
            lambda s, t, c, f: _costs(s, t, c * len(s), f, share=lambda on: on.sum(0)),
            lambda s, t, c, f: _costs(s, t, c, f, share=lambda on: on.sum(0)),
        ),
        *ideas(
            "the mean runs over the thresholds, or over all there is. It is over the rows, with a"
            " result for each threshold.",
            lambda s, t, c, f: _costs(s, t, c, f, share=lambda on: on.mean(1)),
            lambda s, t, c, f: _costs(s, t, c, f, share=lambda on: on.mean()),
        ),
        *ideas(
            "this is the share that goes on. Asked is the cost.",
            lambda s, t, c, f: _costs(s, t, c, f, cost=lambda q, c, f: q),
        ),
        *ideas(
            "the two costs have changed places: the cheap one is paid by all.",
            lambda s, t, c, f: _costs(s, t, f, c),
        ),
    ),
)

EXERCISES = [EARLY_EXIT, EXIT_COSTS]
