"""Answers to the exercises of page 09, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

BOOTSTRAP = """
def f(values, groups, draws, seed):
    names = groups.unique()
    parts = {{name: values[groups == name] for name in names.tolist()}}
    g = torch.Generator().manual_seed(seed)
    means = []
    for _ in range(draws):
        chosen = {}
        rows = {}
        means.append({})
    means = torch.stack(means)
    return {}
"""
CHOSEN, ROWS, MEAN = (
    "names[torch.randint(len(names), (len(names),), generator=g)]",
    "torch.cat([parts[name] for name in chosen.tolist()])",
    "rows.mean()",
)
ENDS = "means.quantile(0.025).item(), means.quantile(0.975).item()"

VERDICT = """
def f(accuracy, cross_entropy, classes, margin):
    q, k = accuracy, classes
    floor = {}
    return {}, "{}" if {} else "{}"
"""
FLOOR = "-(q * math.log(q) + (1 - q) * math.log((1 - q) / (k - 1)))"
MAY, NOT = "may be shuffled", "not by shuffling alone"
BELOW = "cross_entropy < floor - margin"

RIGHT = {
    "09.1": [
        """
        def f(values, t):
            n = len(values)
            mean = sum(values) / n
            s = (sum((v - mean) ** 2 for v in values) / (n - 1)) ** 0.5
            return mean, t * s / n ** 0.5
        """,
        """
        def f(values, t):
            values = np.array(values)
            return [values.mean(), t * values.std(ddof=1) / np.sqrt(len(values))]
        """,
        """
        def f(values, t):
            x = torch.tensor(values)
            return x.mean(), t * x.std() / math.sqrt(len(x))
        """,
    ],
    "09.2": [
        BOOTSTRAP.format(CHOSEN, ROWS, MEAN, ENDS),
        """
        def f(values, groups, draws, seed):
            rng = np.random.default_rng(seed)
            names, member = np.unique(groups.numpy(), return_inverse=True)
            sums, sizes = np.bincount(member, values.numpy()), np.bincount(member)
            drawn = rng.integers(len(names), size=(draws, len(names)))
            means = sums[drawn].sum(1) / sizes[drawn].sum(1)
            return tuple(np.percentile(means, [2.5, 97.5]))
        """,
        """
        def f(values, groups, draws, seed):
            import random
            random.seed(seed)
            parts = {}
            for value, name in zip(values.tolist(), groups.tolist()):
                parts.setdefault(name, []).append(value)
            means = []
            for _ in range(draws):
                drawn = random.choices(list(parts.values()), k=len(parts))
                rows = sum(drawn, [])
                means.append(sum(rows) / len(rows))
            means.sort()
            return means[int(0.025 * draws)], means[int(0.975 * draws)]
        """,
        """
        def f(values, groups, draws, seed):
            rng = np.random.default_rng(seed)
            names, member = np.unique(groups.numpy(), return_inverse=True)
            times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
            sums, sizes = np.bincount(member, values.numpy()), np.bincount(member)
            return np.percentile((times @ sums) / (times @ sizes), [2.5, 97.5])
        """,
    ],
    "09.3": [
        VERDICT.format(FLOOR, "floor", NOT, BELOW, MAY),
        """
        def f(accuracy, cross_entropy, classes, margin):
            wrong = (1 - accuracy) / (classes - 1)
            p = np.array([accuracy] + [wrong] * (classes - 1))
            floor = float(-(p * np.log(p)).sum())
            if cross_entropy >= floor - margin:
                return floor, "may be shuffled"
            return floor, "not by shuffling alone"
        """,
        """
        def f(accuracy, cross_entropy, classes, margin):
            p = torch.full((classes,), (1 - accuracy) / (classes - 1), dtype=torch.float64)
            p[0] = accuracy
            floor = torch.distributions.Categorical(probs=p).entropy()
            words = ["not by shuffling alone", "may be shuffled"]
            return [floor, words[int(floor - cross_entropy < margin)]]
        """,
    ],
}

WRONG = {
    "09.1": [
        (
            "def f(values, t): return np.mean(values), t * np.std(values) / len(values) ** .5",
            "divides by n. The mean was",
        ),
        (
            "def f(values, t): return np.mean(values), t * np.std(values, ddof=1)",
            "the square root of n is missing",
        ),
        (
            "def f(values, t): return np.mean(values), np.std(values, ddof=1) / len(values) ** .5",
            "t is not used",
        ),
        (
            (
                "def f(values, t): m, h = np.mean(values), t * np.std(values, ddof=1) / len(values)"
                " ** .5; return m - h, m + h"
            ),
            "these are the two ends of the interval",
        ),
        (
            "def f(values, t): return np.mean(values)",
            "returned one number, expected a tuple of 2 numbers: the mean and the half-width.",
        ),
        ("def f(values, t): return np.mean(values), 0.0", "entry [1] is 0.0, expected 0.2541."),
        (
            (
                "def f(values, t): return np.mean(values), 1.96 * np.std(values, ddof=1) /"
                " len(values) ** .5"
            ),
            "1.96 stands in the place of t",
        ),
        (
            (
                "def f(values, t): return np.mean(values), 2.776 * np.std(values, ddof=1) /"
                " len(values) ** .5"
            ),
            "`t` depends on the number of seeds, use the argument",
        ),
        (
            (
                "def f(values, t): h = t * np.std(values, ddof=1) / len(values) ** .5; m ="
                " np.mean(values); return m, (m + h) - (m - h)"
            ),
            "this is the full width",
        ),
        (
            (
                "def f(values, t): return np.mean(values), t * np.std(values, ddof=1) /"
                " (len(values) - 1) ** .5"
            ),
            "s is divided by the square root of n - 1",
        ),
        (
            (
                "def f(values, t): return t * np.std(values, ddof=1) / len(values) ** .5,"
                " np.mean(values)"
            ),
            "the two numbers are swapped",
        ),
        (
            (
                "def f(values, t): m = np.mean(values); return m, t * sum((v - m) ** 2 for v in"
                " values) ** .5 / len(values) ** .5"
            ),
            "the squared deviations are summed but not divided by n - 1",
        ),
    ],
    "09.2": [
        (
            BOOTSTRAP.format(
                "torch.randint(len(values), (len(values),), generator=g)",
                "values[chosen]",
                MEAN,
                ENDS,
            ),
            "rows are drawn, one by one",
        ),
        (
            BOOTSTRAP.format("names[torch.randperm(len(names), generator=g)]", ROWS, MEAN, ENDS),
            "every draw gives the same mean",
        ),
        (
            BOOTSTRAP.format("0; g.manual_seed(seed); chosen = " + CHOSEN, ROWS, MEAN, ENDS),
            "is made anew for every draw",
        ),
        (
            BOOTSTRAP.format(
                CHOSEN, "torch.stack([parts[name].mean() for name in chosen.tolist()])", MEAN, ENDS
            ),
            "this is the mean of the groups' means",
        ),
        (
            BOOTSTRAP.format(CHOSEN, ROWS, MEAN, ENDS.replace("means.", "values.")),
            "these are percentiles of single values",
        ),
        (
            BOOTSTRAP.format(CHOSEN, ROWS, MEAN, ENDS).replace(
                "torch.Generator().manual_seed(seed)", "None"
            ),
            "the same seed gives two different intervals",
        ),
        (
            BOOTSTRAP.format(CHOSEN, ROWS, MEAN, ENDS).replace(
                "manual_seed(seed)", "manual_seed(0)"
            ),
            "use the argument `seed`",
        ),
        (
            BOOTSTRAP.format(CHOSEN.replace("(len(names),)", "(len(groups),)"), ROWS, MEAN, ENDS),
            "draw as many groups as there are groups",
        ),
        (
            BOOTSTRAP.format(
                CHOSEN,
                ROWS,
                MEAN,
                "means.mean() - 1.96 * means.std(), means.mean() + 1.96 * means.std()",
            ),
            "takes the draws for normal",
        ),
        (
            BOOTSTRAP.format(CHOSEN, ROWS, MEAN, ENDS)
            .replace("0.025", "0.05")
            .replace("0.975", "0.95"),
            "leave 90 between them",
        ),
        (BOOTSTRAP.format(CHOSEN, ROWS, MEAN, "means.mean(), 1.96 * means.std()"), "entry [0] is"),
        (
            BOOTSTRAP.format(CHOSEN, ROWS, MEAN, "means.mean().item()"),
            "returned one number, expected a list of 4",
        ),
        (
            BOOTSTRAP.format(CHOSEN, "values[torch.isin(groups, chosen)]", MEAN, ENDS),
            "a group that is drawn twice counts once",
        ),
    ],
    "09.3": [
        (VERDICT.format(FLOOR.replace("(k - 1)", "k"), "floor", NOT, BELOW, MAY), "divided by all"),
        (
            VERDICT.format(
                "-(q * math.log(q) + (1 - q) * math.log(1 - q))", "floor", NOT, BELOW, MAY
            ),
            "the wrong classes are counted as one",
        ),
        (
            VERDICT.format(
                "-q * math.log(q) - (1 - q) / (k - 1) * math.log((1 - q) / (k - 1))",
                "floor",
                NOT,
                BELOW,
                MAY,
            ),
            "the wrong classes are counted as one",
        ),
        (
            VERDICT.format("-q * math.log(q)", "floor", NOT, BELOW, MAY),
            "only the term of the right",
        ),
        (VERDICT.format("-math.log(q)", "floor", NOT, BELOW, MAY), "only the term of the right"),
        (VERDICT.format(FLOOR.replace("math.log", "math.log2"), "floor", NOT, BELOW, MAY), "bits"),
        (VERDICT.format("math.log(k)", "floor", NOT, BELOW, MAY), "the loss of guessing"),
        (
            VERDICT.format(FLOOR, "floor", NOT, "cross_entropy < floor", MAY),
            "the margin is not used",
        ),
        (
            VERDICT.format(FLOOR, "floor", MAY, "abs(cross_entropy - floor) < margin", NOT),
            "a loss far above the floor is acquitted",
        ),
        (
            VERDICT.format(FLOOR, "floor", NOT, "cross_entropy < floor + margin", MAY),
            "the margin lies on the wrong side",
        ),
        (VERDICT.format(FLOOR, "floor", MAY, BELOW, NOT), "the two verdicts are swapped"),
        (VERDICT.format(FLOOR, "floor - margin", NOT, BELOW, MAY), "return the floor itself"),
        (VERDICT.format(FLOOR[1:], "floor", NOT, BELOW, MAY), "the minus is missing"),
    ],
}
