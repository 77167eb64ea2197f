"""Answers to the exercises of page 19, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

VERDICT = """
import math
import torch
from scipy import stats


def f(scores_a, scores_b, comparisons):
    if len(scores_a) != len(scores_b):
        raise ValueError("not paired")
    n = len(scores_a)
    if n < 2:
        return "cannot tell"
    a = torch.tensor(scores_a, dtype=torch.float64)
    gaps = a - torch.tensor(scores_b, dtype=torch.float64)
    half = stats.t.ppf(1 - 0.025 / comparisons, n - 1) * gaps.std().item() / math.sqrt(n)
    middle = gaps.mean().item()
    if middle > half:
        return "better"
    if middle < -half:
        return "worse"
    return "cannot tell"
"""

SHORTLIST = """
import statistics
from scipy import stats


def verdict(a, b, comparisons):
    gaps = [x - y for x, y in zip(a, b)]
    n = len(gaps)
    half = stats.t.ppf(1 - 0.025 / comparisons, n - 1) * statistics.stdev(gaps) / n ** 0.5
    middle = statistics.fmean(gaps)
    return "better" if middle > half else "worse" if middle < -half else "cannot tell"


def f(scores, cost):
    means = {name: sum(values) / len(values) for name, values in scores.items()}
    best = max(means, key=means.get)
    kept = []
    for name in scores:
        if name == best or verdict(scores[name], scores[best], len(scores) - 1) == "cannot tell":
            kept.append(name)
    return kept, min(kept, key=cost.get)
"""


def changed(code, *changes):
    """Code with some of its lines otherwise: (line, other line), each of which it has."""
    for line, other in changes:
        assert line in code
        code = code.replace(line, other)
    return code


RIGHT = {
    "19.1": [
        VERDICT,
        # by NumPy, whose std divides by n unless it is told
        """
        import numpy as np
        from scipy import stats
        def f(scores_a, scores_b, comparisons):
            if len(scores_a) != len(scores_b):
                raise ValueError
            d = np.array(scores_a) - np.array(scores_b)
            if len(d) == 1:
                return "cannot tell"
            half = stats.t.ppf(1 - 0.025 / comparisons, len(d) - 1) * d.std(ddof=1) / len(d) ** 0.5
            low, high = d.mean() - half, d.mean() + half
            return "better" if low > 0 else "worse" if high < 0 else "cannot tell"
        """,
        # by the library's test
        """
        from scipy import stats
        def f(scores_a, scores_b, comparisons):
            if len(scores_a) != len(scores_b):
                raise ValueError("lengths")
            if len(scores_a) < 2 or scores_a == scores_b:
                return "cannot tell"
            if len({round(a - b, 12) for a, b in zip(scores_a, scores_b)}) == 1:
                return "better" if scores_a[0] > scores_b[0] else "worse"
            found = stats.ttest_rel(scores_a, scores_b)
            if found.pvalue * comparisons > 0.05:
                return "cannot tell"
            return "better" if found.statistic > 0 else "worse"
        """,
        # the page's interval, widened
        """
        from scipy import stats
        from course_utils.metrics import mean_interval
        def f(scores_a, scores_b, comparisons):
            n = len(scores_a)
            if n != len(scores_b):
                raise ValueError(f"{n} and {len(scores_b)}")
            if n == 1:
                return "cannot tell"
            middle, half = mean_interval([a - b for a, b in zip(scores_a, scores_b)])
            wider = stats.t.ppf(1 - 0.025 / comparisons, n - 1) / stats.t.ppf(0.975, n - 1)
            if abs(middle) <= half * wider:
                return "cannot tell"
            return "better" if middle > 0 else "worse"
        """,
        # differences in float32: far from the limits it makes no difference
        changed(VERDICT, ("float64", "float32")),
    ],
    "19.2": [
        SHORTLIST,
        # a tuple of names, by sorting
        changed(SHORTLIST, ("return kept, min(kept, key=cost.get)",
                            "return tuple(kept), sorted(kept, key=lambda n: cost[n])[0]")),
        # the best asks: who is it not better than?
        changed(
            SHORTLIST,
            ('verdict(scores[name], scores[best], len(scores) - 1) == "cannot tell"',
             'verdict(scores[best], scores[name], len(means) - 1) != "better"'),
        ),
        """
        import numpy as np
        from scipy import stats
        def f(scores, cost):
            names = list(scores)
            table = np.array([scores[n] for n in names])
            best = table[table.mean(1).argmax()]
            d = best - table
            wide = stats.t.ppf(1 - 0.025 / (len(names) - 1), table.shape[1] - 1)
            half = wide * d.std(1, ddof=1) / table.shape[1] ** 0.5
            kept = [n for n, m, h in zip(names, d.mean(1), half) if m <= h]
            return kept, min(kept, key=lambda n: cost[n])
        """,
    ],
}  # fmt: skip

WRONG = {
    "19.1": [
        # two intervals that must not overlap
        (
            """
            from course_utils.metrics import mean_interval
            def f(scores_a, scores_b, comparisons):
                if len(scores_a) != len(scores_b):
                    raise ValueError
                if len(scores_a) < 2:
                    return "cannot tell"
                (a, ha), (b, hb) = mean_interval(scores_a), mean_interval(scores_b)
                if a - ha > b + hb:
                    return "better"
                return "worse" if a + ha < b - hb else "cannot tell"
            """,
            "the seeds are not paired",
        ),
        # the library's test of two groups
        (
            """
            from scipy import stats
            def f(scores_a, scores_b, comparisons):
                if len(scores_a) != len(scores_b):
                    raise ValueError
                if len(scores_a) < 2:
                    return "cannot tell"
                found = stats.ttest_ind(scores_a, scores_b)
                if not found.pvalue * comparisons < 0.05:
                    return "cannot tell"
                return "better" if found.statistic > 0 else "worse"
            """,
            "the seeds are not paired",
        ),
        (
            changed(VERDICT, ("stats.t.ppf(1 - 0.025 / comparisons, n - 1)",
                              "stats.norm.ppf(1 - 0.025 / comparisons)")),
            "1.96 stands in the place of t",
        ),
        (changed(VERDICT, (" / math.sqrt(n)", "")), "divide s by the square root of n"),
        (changed(VERDICT, ("gaps.std()", "gaps.std(correction=0)")), "divide by n - 1"),
        (changed(VERDICT, ("0.025 / comparisons", "0.05 / comparisons")), "5 % on each side"),
        (changed(VERDICT, ("0.025 / comparisons", "0.025")), "`comparisons` changes nothing"),
        (
            changed(VERDICT, ('return "cannot tell"\n    a =',
                              'return "better" if scores_a > scores_b else "worse"\n    a =')),
            "one seed has no spread",
        ),
        (changed(VERDICT, ("half = ", "half = 0 * ")), "the larger mean wins"),
        (
            changed(VERDICT, ("if middle > half", "if middle < -half"),
                    ("    if middle < -half:\n        return \"worse\"",
                     "    if middle > half:\n        return \"worse\"")),
            "better and worse are changed about",
        ),
        (
            """
            def f(scores_a, scores_b, comparisons):
                won = sum(a > b for a, b in zip(scores_a, scores_b, strict=True))
                lost, n = sum(a < b for a, b in zip(scores_a, scores_b)), len(scores_a)
                return "better" if won == n else "worse" if lost == n else "cannot tell"
            """,
            "this looks at single seeds",
        ),
        (
            changed(VERDICT, ('        raise ValueError("not paired")',
                              "        scores_a = scores_a[: len(scores_b)]")),
            "lists of different lengths",
        ),
    ],
    "19.2": [
        (changed(SHORTLIST, (", len(scores) - 1)", ", 1)")), "told of one comparison"),
        (changed(SHORTLIST, ("len(scores) - 1", "len(scores)")), "len(scores) - 1"),
        (
            changed(SHORTLIST, ("sum(values) / len(values)", "max(values)")),
            "the best is the one with the best single run",
        ),
        (changed(SHORTLIST, ("max(means, key=means.get)", "next(iter(scores))")), "the first name"),
        (changed(SHORTLIST, ("min(kept", "min(scores")), "the cheapest is looked for among all"),
        (
            changed(SHORTLIST, ("kept, min", "[name for name in kept if name != best], min")),
            "the best itself",
        ),
        (changed(SHORTLIST, ('== "cannot tell"', '== "worse"')), ""),
        (changed(SHORTLIST, ("min(kept, key=cost.get)", "best")), "the cheapest of those that"),
        (
            changed(SHORTLIST, ("min(kept, key=cost.get)", "min(map(cost.get, kept))")),
            "the second is the cost",
        ),
    ],
}  # fmt: skip
