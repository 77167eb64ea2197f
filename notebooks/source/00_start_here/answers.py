"""Answers to the exercises of page 00, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

RIGHT = {
    "00.1": [
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
    "00.2": [
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
    ],
    "00.3": [
        """
        def f(features, name, order):
            result = dict(features)
            result[name] = result[name][order]
            return result
        """,
        """
        def f(features, name, order):
            rows = [features[name][i] for i in order.tolist()]
            return features | {name: torch.stack(rows)}
        """,
        """
        def f(features, name, order):
            chosen = torch.nn.functional.one_hot(order, len(order)).float()
            return {**features, name: (chosen @ features[name]).requires_grad_()}
        """,
    ],
}

WRONG = {
    "00.1": [
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
    "00.2": [
        (
            "def f(single, fused): return [f - min(s) for f, *s in zip(fused, *single.values())]",
            "compared with the worst modality of each seed",
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
    "00.3": [
        (
            (
                "def f(features, name, order):\n new = dict(features)\n for k in (name, 'label'):"
                " new[k] = new[k][order]\n return new"
            ),
            "the labels are shuffled too",
        ),
        (
            (
                "def f(features, name, order): return {k: v if k == 'label' else v[order] for k, v"
                " in features.items()}"
            ),
            "every modality is shuffled in the same way",
        ),
        (
            (
                "def f(features, name, order):\n x = torch.empty_like(features[name])\n x[order] ="
                " features[name]\n return {**features, name: x}"
            ),
            "the order is read the other way round",
        ),
        (
            "def f(features, name, order): return {**features, name: features[name].T[order].T}",
            "the columns are permuted",
        ),
        (
            (
                "def f(features, name, order): return {k: v[order] if k != name else v for k, v in"
                " features.items()}"
            ),
            "the choice is turned round",
        ),
        (
            (
                "def f(features, name, order):\n new = dict(features)\n for k in set(new) - {name,"
                " 'label'}: new[k] = new[k][order]\n return new"
            ),
            "the choice is turned round",
        ),
        (
            "def f(features, name, order): return {name: features[name][order]}",
            "only the shuffled modality comes back",
        ),
        (
            "def f(features, name, order): features[name] = features[name][order]; return features",
            "changes its argument `features` in place",
        ),
        (
            (
                "def f(features, name, order): features[name].copy_(features[name][order]); return"
                " dict(features)"
            ),
            "changes its argument `features` in place",
        ),
        (
            "def f(features, name, order): features[name][order]; return dict(features)",
            "nothing is shuffled",
        ),
        (
            "def f(features, name, order): return {**features, name: features[name][order][0]}",
            'entry ["text"] came as shape (2,), expected (2, 2): one row per sample.',
        ),
        (
            (
                "def f(features, name, order): return {**features, 'label':"
                " features['label'].float(), name: features[name][order]}"
            ),
            'entry ["label"] came as a tensor of float values, expected int: one row per sample.',
        ),
        (
            (
                "def f(features, name, order): return {**features, name:"
                " features[name][torch.randperm(len(order))]}"
            ),
            'entry ["',
        ),
    ],
}
