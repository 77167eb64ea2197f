"""Answers by hand to the exercises that wait for page 09: right ones, and wrong ones with the words
that their verdict has to have.
"""

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
        """
        def f(single, fused):
            best = max(single, key=lambda m: sum(single[m]) / len(single[m]))
            return [fused[i] - single[best][i] for i in range(len(fused))]
        """,
        """
        def f(single, fused):
            table = torch.tensor(list(single.values()))
            return torch.tensor(fused) - table[table.mean(dim=1).argmax()]
        """,
        """
        def f(single, fused):
            best, highest = None, -1.0
            for accuracies in single.values():
                mean = np.mean(accuracies)
                if mean > highest:
                    best, highest = accuracies, mean
            return np.array(fused) - np.array(best)
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
            "def f(single, fused): return [f - min(s) for f, *s in zip(fused, *single.values())]",
            "compared with the worst modality",
        ),
        (
            (
                "def f(single, fused): b = max(sum(s) / len(s) for s in single.values()); return [f"
                " - b for f in fused]"
            ),
            "The pairing is lost",
        ),
        (
            "def f(single, fused): return [f - s for f, s in zip(fused, single[max(single)])]",
            "chosen by its name",
        ),
        (
            "def f(single, fused): return [f - s for f, s in zip(fused, max(single.values()))]",
            "chosen by its first seed alone",
        ),
        (
            (
                "def f(single, fused):\n b = single[max(single, key=lambda n: single[n])]\n return"
                " [f - s for f, s in zip(fused, b)]"
            ),
            "chosen by its first seed alone",
        ),
        (
            (
                "def f(single, fused):\n b = max(single.values(), key=sum)\n return [100 * (f - s)"
                " for f, s in zip(fused, b)]"
            ),
            "the gains are in percent",
        ),
        (
            (
                "def f(single, fused):\n b = max(single.values(), key=sum)\n return [f / s - 1 for"
                " f, s in zip(fused, b)]"
            ),
            "divided by the accuracy of the single modality",
        ),
        (
            "def f(single, fused): return [f - s for f, s in zip(fused, single['text'])]",
            'the baseline is always "text"',
        ),
        (
            "def f(single, fused): return [f - s for f, s in zip(fused, single['audio'])]",
            "raised KeyError: 'audio'",
        ),
        (
            "def f(single, fused): return [f - max(s) for f, *s in zip(fused, *single.values())]",
            "picked anew for each seed. No single model reaches that baseline",
        ),
        (
            (
                "def f(single, fused): return [f - sum(s) / len(s) for f, *s in zip(fused,"
                " *single.values())]"
            ),
            "compared with the mean of the modalities",
        ),
        (
            (
                "def f(single, fused):\n b = sorted(single.values(), key=sum)[0]\n return [f - s"
                " for f, s in zip(fused, b)]"
            ),
            "compared with the worst modality",
        ),
        (
            (
                "def f(single, fused): return sum(fused) / len(fused) - max(sum(s) / len(s) for s"
                " in single.values())"
            ),
            "returned one number, expected a list: one difference per seed",
        ),
        (
            "def f(single, fused): return max(fused)",
            "returned one number, expected a list of 1 number: one difference per seed.",
        ),
        (
            "def f(single, fused): return single",
            "returned a dict with the key text, expected a list of 1 number",
        ),
    ],
}
