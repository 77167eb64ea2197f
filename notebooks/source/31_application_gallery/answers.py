"""Answers to the exercises of page 31, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

SEARCH = """
import torch


def f(scores, labels, cost_miss, cost_alarm):
    cuts = torch.cat([scores.unique(), torch.tensor([float("inf")], dtype=scores.dtype)])
    called = scores >= cuts[:, None]
    true = labels.bool()
    costs = cost_miss * (true & ~called).sum(1) + cost_alarm * (~true & called).sum(1)
    return cuts[costs.argmin()].item()
"""

COST = """
def f(scores, labels, cut, cost_miss, cost_alarm, share):
    called, true = scores >= cut, labels.bool()
    missed = (~called[true]).double().mean()
    false = called[~true].double().mean()
    return share * cost_miss * missed + (1 - share) * cost_alarm * false
"""


def changed(code, *changes):
    """Code with some of its lines otherwise: (line, other line), each of which it has."""
    for line, other in changes:
        assert line in code
        code = code.replace(line, other)
    return code


RIGHT = {
    "31.1": [
        SEARCH,
        # halfway between neighbours, and something beyond both ends
        """
        import torch
        def f(scores, labels, cost_miss, cost_alarm):
            s = scores.unique()
            cuts = torch.cat([s[:1] - 1, (s[1:] + s[:-1]) / 2, s[-1:] + 1])
            costs = []
            for c in cuts:
                yes = scores >= c
                miss = (labels * ~yes).sum()
                costs.append(cost_miss * miss + cost_alarm * (yes * (1 - labels)).sum())
            return cuts[torch.stack(costs).argmin()]
        """,
        # by a sorted list and sums, at the last of equals
        """
        import torch
        def f(scores, labels, cost_miss, cost_alarm):
            order = scores.argsort(descending=True)
            s, y = scores[order], labels[order]
            cost = cost_miss * (y.sum() - y.cumsum(0)) + cost_alarm * (1 - y).cumsum(0)
            last = torch.cat([s[1:] != s[:-1], torch.tensor([True])])
            cost = torch.where(last, cost.double(), torch.inf)
            k = cost.argmin()
            return float("inf") if cost_miss * y.sum() <= cost[k] else s[k].item()
        """,
        # a plain loop in NumPy
        """
        import numpy as np
        def f(scores, labels, cost_miss, cost_alarm):
            s, y = np.asarray(scores), np.asarray(labels)
            best = (np.inf, None)
            for cut in [*np.unique(s), np.inf]:
                cost = cost_miss * np.sum((s < cut) & (y == 1))
                cost += cost_alarm * np.sum((s >= cut) & (y == 0))
                if cost < best[0]:
                    best = (cost, cut)
            return best[1]
        """,
        # in float32, as a tensor
        """
        import torch
        def f(scores, labels, cost_miss, cost_alarm):
            cuts = torch.cat([scores, torch.tensor([1e9], dtype=scores.dtype)])
            yes = (scores[None] >= cuts[:, None]).float()
            y = labels.float()
            return cuts[((1 - yes) @ y * cost_miss + yes @ (1 - y) * cost_alarm).argmin()]
        """,
    ],
    "31.2": [
        COST,
        # counts, divided by hand
        """
        def f(scores, labels, cut, cost_miss, cost_alarm, share):
            m = ((labels == 1) & (scores < cut)).sum() / (labels == 1).sum()
            a = ((labels == 0) & (scores >= cut)).sum() / (labels == 0).sum()
            return (share * cost_miss * m.double() + (1 - share) * cost_alarm * a.double()).item()
        """,
        # a weight for each case
        """
        import torch
        def f(scores, labels, cut, cost_miss, cost_alarm, share):
            y = labels.double()
            weight = y * share / y.sum() + (1 - y) * (1 - share) / (1 - y).sum()
            wrong = y * (scores < cut) * cost_miss + (1 - y) * (scores >= cut) * cost_alarm
            return weight @ wrong
        """,
        # in float32
        changed(COST, (".double()", ".float()")),
        # NumPy
        """
        import numpy as np
        def f(scores, labels, cut, cost_miss, cost_alarm, share):
            s, y = scores.numpy(), labels.numpy().astype(bool)
            missed, false = np.mean(s[y] < cut), np.mean(s[~y] >= cut)
            return share * cost_miss * missed + (1 - share) * cost_alarm * false
        """,
    ],
}

WRONG = {
    "31.1": [
        (changed(SEARCH, ("scores >= cuts", "scores > cuts")), "scores > threshold"),
        (
            changed(
                SEARCH,
                ("costs = cost_miss", "costs = cost_alarm"),
                ("+ cost_alarm * (~true", "+ cost_miss * (~true"),
            ),
            "exchanged",
        ),
        (
            """
            def f(scores, labels, cost_miss, cost_alarm):
                return cost_alarm / (cost_miss + cost_alarm)
            """,
            "Scores need not",
        ),
        (
            """
            import torch
            def f(scores, labels, cost_miss, cost_alarm):
                cuts = scores.unique()
                yes, true = scores >= cuts[:, None], labels.bool()
                return cuts[(yes == true).double().mean(1).argmax()].item()
            """,
            "expected",
        ),
        # ends of a grid
        (
            """
            import torch
            def f(scores, labels, cost_miss, cost_alarm):
                cuts = torch.linspace(0, 1, 101).double()
                yes, true = scores >= cuts[:, None], labels.bool()
                costs = cost_miss * (true & ~yes).sum(1) + cost_alarm * (~true & yes).sum(1)
                return cuts[costs.argmin()].item()
            """,
            "grid from 0 to 1",
        ),
        # the middle of both means
        (
            """
            def f(scores, labels, cost_miss, cost_alarm):
                true = labels.bool()
                high = scores[true].mean() if true.any() else scores.max()
                return ((high + scores[~true].mean()) / 2).item()
            """,
            "expected",
        ),
        # labels turned round
        (changed(SEARCH, ("true = labels.bool()", "true = ~labels.bool()")), "expected"),
    ],
    "31.2": [
        (changed(COST, ("scores >= cut", "scores > cut")), "exactly at the threshold"),
        (
            changed(
                COST,
                (
                    "share * cost_miss * missed + (1 - share)",
                    "(1 - share) * cost_miss * missed + share",
                ),
            ),
            "share of positives",
        ),
        (changed(COST, ("(~called[true])", "called[true]")), "that is found"),
        (
            """
            def f(scores, labels, cut, cost_miss, cost_alarm, share):
                yes, true = scores >= cut, labels.bool()
                return (cost_miss * (true & ~yes) + cost_alarm * (~true & yes)).double().mean()
            """,
            "cost in the sample",
        ),
        (
            """
            def f(scores, labels, cut, cost_miss, cost_alarm, share):
                yes, true = scores >= cut, labels.bool()
                missed = (true & ~yes).double().mean()
                false = (~true & yes).double().mean()
                return share * cost_miss * missed + (1 - share) * cost_alarm * false
            """,
            "over all cases",
        ),
        # the share divided by that of the sample, the negatives left as they are
        (
            """
            def f(scores, labels, cut, cost_miss, cost_alarm, share):
                yes, true = scores >= cut, labels.bool()
                q = true.double().mean()
                cost = cost_miss * share / q * (true & ~yes) + cost_alarm * (~true & yes)
                return cost.double().mean()
            """,
            "expected",
        ),
        (changed(COST, ("+ (1 - share) * cost_alarm * false", "")), "false alarms are forgotten"),
    ],
}
