"""Notebook 31: the threshold that costs least, and what it costs where positives are rarer."""

import math

import torch

from course_utils.exercises import Exercise, ideas

# 31.1 -----------------------------------------------------------------------------------------


def threshold(scores, labels, cost_miss, cost_alarm):
    """Case by case, in plain numbers, for each score and for no alarm at all."""
    best, least = math.inf, math.inf
    pairs = list(zip(scores.tolist(), labels.tolist()))
    for cut in sorted({score for score, _ in pairs} | {math.inf}, reverse=True):
        cost = 0.0
        for score, label in pairs:
            if score >= cut and not label:
                cost += cost_alarm
            elif score < cut and label:
                cost += cost_miss
        if cost < least:
            best, least = cut, cost
    return best


def _paid(answer, scores, labels, cost_miss, cost_alarm):
    """What `scores >= cut` costs: any threshold that costs least is right."""
    cut = answer(scores, labels, cost_miss, cost_alarm)
    if cut is None:
        return None
    cut = torch.as_tensor(cut, dtype=torch.float64)
    if cut.numel() != 1:
        raise ValueError(f"expected one threshold, got a tensor of shape {tuple(cut.shape)}")
    called, true = scores.double() >= cut.reshape(()), labels.bool()
    misses, alarms = (true & ~called).sum().item(), (~true & called).sum().item()
    return torch.tensor(cost_miss * misses + cost_alarm * alarms, dtype=torch.float64)


def _cuts(scores):
    return torch.cat([scores.unique(), scores.new_tensor([math.inf])])  # (K,)


def _searched(scores, labels, miss, alarm, cuts=_cuts, called=torch.ge, missed=1.0, false=1.0):
    """The same with a table, in steps that a wrong idea can change one by one."""
    tried = cuts(scores)
    yes, true = called(scores, tried[:, None]), labels.bool()  # (K, N)
    cost = missed * miss * (~yes & true).sum(1) + false * alarm * (yes & ~true).sum(1)
    return tried[cost.argmin()].item()


def _accuracy(scores, labels, miss, alarm):
    return _searched(scores, labels, 1, 1)


def _by_rank(scores, labels, miss, alarm):
    """Alarm for the first k of a sorted list, as if the k-th could be cut off from its equals."""
    order = scores.argsort(descending=True, stable=True)
    true = labels[order].bool()
    misses = true.sum() - torch.cat([torch.zeros(1), true.cumsum(0)])
    alarms = torch.cat([torch.zeros(1), (~true).cumsum(0)])
    k = int((miss * misses + alarm * alarms).argmin())
    return scores[order][k - 1].item() if k else math.inf


def _shares(scores, labels, miss, alarm):
    """As if there were as many positives as negatives."""
    true = labels.double().mean().item()
    if true in (0.0, 1.0):
        return _searched(scores, labels, miss, alarm)
    return _searched(scores, labels, miss / true, alarm / (1 - true))


def _all_found(scores, labels, miss, alarm):
    return scores[labels.bool()].min().item() if labels.any() else math.inf


def _least_cost(scores, labels, miss, alarm):
    return _paid(threshold, scores, labels, miss, alarm).item()


def _place(scores, labels, miss, alarm):
    cuts = _cuts(scores).tolist()
    return cuts.index(threshold(scores, labels, miss, alarm))


def _case(scores, labels, miss, alarm):
    return torch.tensor(scores, dtype=torch.float64), torch.tensor(labels), miss, alarm


def _threshold_cases(seed=1):
    # nothing is worth an alarm; everything is
    yield _case([0.8, 0.3], [0, 0], 9, 1)
    yield _case([0.8, 0.6, 0.3], [0, 0, 1], 1, 1)
    yield _case([0.8, 0.6, 0.3], [0, 1, 1], 9, 1)
    # one negative stands above a positive: worth an alarm, if a miss costs more
    yield _case([0.9, 0.7, 0.4, 0.1], [1, 0, 1, 0], 5, 1)
    yield _case([0.9, 0.7, 0.4, 0.1], [1, 0, 1, 0], 1, 5)
    # equals cannot be told apart: all of them are called, or none
    yield _case([0.9, 0.5, 0.5, 0.5, 0.5], [1, 1, 0, 0, 0], 2, 1)
    # nothing is worth an alarm, and 1 is not beyond all scores
    yield _case([3.0, 1.0, -2.0], [0, 0, 1], 1, 1)
    # few positives; scores that are no probabilities
    yield _case([9.0, 5.0, 4.0, 3.0, 2.0, 1.0, -1.0, -2.0], [1, 0, 0, 1, 0, 0, 0, 0], 2, 1)
    draw = torch.Generator().manual_seed(seed)
    for size, miss, alarm, share in ((12, 3, 1, 0.5), (30, 8, 1, 0.2), (30, 1, 4, 0.6)):
        labels = (torch.rand(size, generator=draw) < share).long()
        noise = torch.randn(size, generator=draw, dtype=torch.float64)
        yield 2 * (noise + labels).round() / 2 - 1, labels, miss, alarm


def _threshold_batch():
    draw = torch.Generator().manual_seed(0)
    labels = (torch.rand(700, generator=draw) < 0.13).long()
    return torch.randn(700, generator=draw, dtype=torch.float64) + labels, labels, 50, 1


THRESHOLD = Exercise(
    key="31.1",
    reference=threshold,
    cases=_threshold_cases,
    use=_paid,
    batch=_threshold_batch,
    verified=True,
    returns="one threshold; compared is what `scores >= threshold` costs",
    misconceptions=(
        *ideas(
            "this is the threshold with the fewest errors. A miss and a false alarm have costs of"
            " their own: weigh each with its own.",
            _accuracy,
        ),
        *ideas(
            "the two costs are exchanged: a miss is a positive below the threshold.",
            lambda s, y, m, a: _searched(s, y, a, m),
        ),
        *ideas(
            "the search counts `scores > threshold` as an alarm, but it will be used as `scores >="
            " threshold`: a case that stands exactly at the threshold is an alarm.",
            lambda s, y, m, a: _searched(s, y, m, a, called=torch.gt),
        ),
        *ideas(
            "no alarm at all is a choice too: try a threshold above every score, such as infinity.",
            lambda s, y, m, a: _searched(s, y, m, a, cuts=torch.unique),
            lambda s, y, m, a: _searched(
                s, y, m, a, cuts=lambda x: torch.cat([x.unique(), x.new_tensor([1.0])])
            ),
        ),
        *ideas(
            "an alarm for everybody is a choice too: try the lowest score as a threshold.",
            lambda s, y, m, a: _searched(s, y, m, a, cuts=lambda x: _cuts(x)[1:]),
        ),
        *ideas(
            "cases with the same score fall on the same side: a threshold cannot call the first of"
            " them and not the others.",
            _by_rank,
        ),
        *ideas("one half is no threshold for these costs.", lambda s, y, m, a: 0.5),
        *ideas(
            "cost_alarm / (cost_miss + cost_alarm) is right for true probabilities. Scores need not"
            " be any: search.",
            lambda s, y, m, a: a / (m + a),
        ),
        *ideas(
            "the costs are weighed as if there were as many positives as negatives. Count cases,"
            " not shares of each class.",
            _shares,
        ),
        *ideas("no positive is missed, whatever the false alarms cost. Weigh both.", _all_found),
        *ideas(
            "the scores may lie anywhere: a grid from 0 to 1 does not reach all of them. Try the"
            " scores themselves.",
            lambda s, y, m, a: _searched(
                s, y, m, a, cuts=lambda x: torch.linspace(0, 1, 101, dtype=torch.float64)
            ),
        ),
        *ideas(
            "return the threshold itself, not its cost or its place in a list.", _least_cost, _place
        ),
    ),
)

# 31.2 -----------------------------------------------------------------------------------------


def cost_in_use(scores, labels, cut, cost_miss, cost_alarm, share):
    """Each case with a weight: positives together weigh `share`, negatives the rest."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    total = 0.0
    for score, label in zip(scores.tolist(), labels.tolist()):
        if label and score < cut:
            total += cost_miss * share / positives
        elif not label and score >= cut:
            total += cost_alarm * (1 - share) / negatives
    return torch.tensor(total, dtype=torch.float64)


def _priced(scores, labels, cut, miss, alarm, share, called=torch.ge, missed=None, false=None):
    """The same by means, in steps that a wrong idea can change one by one."""
    yes, true = called(scores, cut), labels.bool()
    missed = (~yes)[true].double().mean() if missed is None else missed(yes, true)
    false = yes[~true].double().mean() if false is None else false(yes, true)
    return share * miss * missed + (1 - share) * alarm * false


def _float(answer, scores, labels, cut, cost_miss, cost_alarm, share):
    cost = answer(scores, labels, cut, cost_miss, cost_alarm, share)
    return None if cost is None else torch.as_tensor(cost, dtype=torch.float64).reshape(())


def _use_cases(seed=1):
    yield *_case([0.9, 0.7, 0.4, 0.1], [1, 0, 1, 0], 0.5, 10)[:2], 0.5, 10, 1, 0.1
    # a case at the threshold is an alarm
    yield *_case([0.9, 0.5, 0.5, 0.1, 0.0], [1, 1, 0, 0, 0], 5, 1)[:2], 0.5, 5, 1, 0.01
    yield *_case([3.0, 1.0, 0.0, -1.0], [1, 1, 1, 0], 5, 1)[:2], 2.0, 4, 2, 0.2
    draw = torch.Generator().manual_seed(seed)
    for size, share, rate in ((9, 0.05, 0.5), (40, 0.02, 0.3), (40, 0.5, 0.1)):
        labels = (torch.rand(size, generator=draw) < rate).long()
        labels[:2] = torch.tensor([0, 1])
        scores = torch.randn(size, generator=draw, dtype=torch.float64) + labels
        yield scores, labels, scores[3].item(), 20, 1, share


def _use_batch():
    scores, labels, _, _ = _threshold_batch()
    return scores, labels, 0.8, 50, 1, 0.01


COST_IN_USE = Exercise(
    key="31.2",
    reference=cost_in_use,
    cases=_use_cases,
    use=_float,
    batch=_use_batch,
    verified=True,
    returns="the mean cost of a case in use",
    misconceptions=(
        *ideas(
            "this is the cost in the sample. In use positives are rarer: weigh the share of"
            " positives that is missed by `share`.",
            lambda s, y, c, m, a, p: (
                (m * (y.bool() & (s < c)) + a * (~y.bool() & (s >= c))).double().mean()
            ),
        ),
        *ideas(
            "both rates are over all cases. The share of missed is over the positives, the share of"
            " false alarms over the negatives.",
            lambda s, y, c, m, a, p: _priced(
                s,
                y,
                c,
                m,
                a,
                p,
                missed=lambda yes, true: (~yes & true).double().mean(),
                false=lambda yes, true: (yes & ~true).double().mean(),
            ),
        ),
        *ideas(
            "`share` stands at the false alarms and 1 - `share` at the misses; it is the share of"
            " positives.",
            lambda s, y, c, m, a, p: _priced(s, y, c, m, a, 1 - p),
        ),
        *ideas(
            "a case exactly at the threshold is an alarm: `scores >= cut`.",
            lambda s, y, c, m, a, p: _priced(s, y, c, m, a, p, called=torch.gt),
        ),
        *ideas(
            "a positive that is found costs nothing here; a miss does.",
            lambda s, y, c, m, a, p: _priced(
                s, y, c, m, a, p, missed=lambda yes, true: yes[true].double().mean()
            ),
        ),
        *ideas(
            "false alarms are counted among the alarms (1 - precision). Count them among the"
            " negatives: precision itself changes with the share.",
            lambda s, y, c, m, a, p: _priced(
                s,
                y,
                c,
                m,
                a,
                p,
                false=lambda yes, true: (yes & ~true).sum() / yes.sum().clamp(min=1),
            ),
        ),
        *ideas(
            "the false alarms are forgotten.", lambda s, y, c, m, a, p: _priced(s, y, c, m, 0, p)
        ),
        *ideas(
            "the false alarms are not weighed by 1 - `share`.",
            lambda s, y, c, m, a, p: _priced(s, y, c, m, a / (1 - p), p),
        ),
        *ideas("the two costs are exchanged.", lambda s, y, c, m, a, p: _priced(s, y, c, a, m, p)),
    ),
)

EXERCISES = [THRESHOLD, COST_IN_USE]
