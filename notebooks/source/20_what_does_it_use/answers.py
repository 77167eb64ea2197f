"""Answers to the exercises of page 20, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

PROJECTION = """
import torch


def f(predict, text, image):
    rows, columns = [], 0.0
    for i in range(len(text)):
        answers = predict(text[i].expand_as(text), image)
        rows.append(answers.mean(dim=0))
        columns = columns + answers / len(text)
    rows = torch.stack(rows)
    return rows + columns - rows.mean(dim=0)
"""

VALUES = """
from itertools import permutations


def f(scores):
    names = max(scores, key=len)
    orders = list(permutations(names))
    values = dict.fromkeys(names, 0.0)
    for order in orders:
        present = frozenset()
        for name in order:
            values[name] += (scores[present | {name}] - scores[present]) / len(orders)
            present = present | {name}
    return values
"""


def changed(code, *changes):
    """Code with some of its lines otherwise: (line, other line), each of which it has."""
    for line, other in changes:
        assert line in code
        code = code.replace(line, other)
    return code


RIGHT = {
    "20.1": [
        PROJECTION,
        # the table at once
        """
        import torch
        def f(predict, text, image):
            N = len(text)
            every = predict(text.repeat_interleave(N, 0), image.repeat(N, 1)).reshape(N, N, -1)
            return every.mean(1) + every.mean(0) - every.mean(dim=(0, 1))
        """,
        # row by row, in loops, float32
        """
        import torch
        def f(predict, text, image):
            N = len(text)
            table = [[predict(text[i:i+1], image[j:j+1])[0].float() for j in range(N)]
                     for i in range(N)]
            whole = sum(sum(row) for row in table) / N ** 2
            out = []
            for i in range(N):
                out.append(sum(table[i]) / N + sum(row[i] for row in table) / N - whole)
            return torch.stack(out)
        """,
        # by shifts of the images
        """
        import torch
        def f(predict, text, image):
            N, of_text, of_image = len(text), 0, 0
            for k in range(N):
                moved = predict(text, image.roll(k, 0))
                of_text = of_text + moved / N
                of_image = of_image + moved.roll(-k, 0) / N
            return of_text + of_image - of_text.mean(0, keepdim=True)
        """,
        # centred columns
        """
        import torch
        def f(predict, text, image):
            N = len(text)
            table = torch.stack([predict(text, image[j].expand_as(image)) for j in range(N)], 1)
            middle = table.flatten(0, 1).mean(0)
            return middle + (table.mean(1) - middle) + (table.mean(0) - middle)
        """,
    ],
    "20.2": [
        VALUES,
        # subsets, with factorials
        """
        from math import factorial
        def f(scores):
            names = sorted({name for key in scores for name in key})
            M, out = len(names), {}
            for name in names:
                total = 0
                for before, value in scores.items():
                    if name in before:
                        continue
                    n = len(before)
                    weight = factorial(n) * factorial(M - n - 1) / factorial(M)
                    total += weight * (scores[before | {name}] - value)
                out[name] = total
            return out
        """,
        # the mean over the sizes of the mean over the subsets of a size
        """
        def f(scores):
            everyone = frozenset().union(*scores)
            out = {}
            for name in everyone:
                by_size = {}
                for s in scores:
                    if name not in s:
                        by_size.setdefault(len(s), []).append(scores[s | {name}] - scores[s])
                means = [sum(g) / len(g) for g in by_size.values()]
                out[name] = sum(means) / len(means)
            return out
        """,
        # by dividends of all subsets
        """
        from itertools import combinations
        def f(scores):
            names = list(max(scores, key=len))
            own, out = {}, dict.fromkeys(names, 0.0)
            for size in range(len(names) + 1):
                for s in map(frozenset, combinations(names, size)):
                    own[s] = scores[s] - sum(own[t] for t in own if t < s)
                    for name in s:
                        out[name] += own[s] / size
            return out
        """,
    ],
}

WRONG = {
    "20.1": [
        (
            changed(PROJECTION, ("text[i].expand_as(text), image", "text, image")),
            "only pairs that belong together",
        ),
        (changed(PROJECTION, (" - rows.mean(dim=0)", "")), "it stands in the sum twice"),
        (changed(PROJECTION, ("- rows.mean(dim=0)", "- 2 * rows.mean(dim=0)")), "subtracted twice"),
        (
            changed(PROJECTION, ("answers = predict(", "answers = torch.softmax(predict(")).replace(
                ", image)\n", ", image), 1)\n"
            ),
            "these are probabilities",
        ),
        (
            changed(PROJECTION, ("- rows.mean(dim=0)", "- rows.mean()")),
            "a mean runs over the classes",
        ),
        (
            changed(
                PROJECTION,
                ("return rows + columns - rows.mean(dim=0)", "out = rows + columns - rows.mean(0)"),
            )
            + "    return out.argmax(1)\n",
            "these are classes",
        ),
        (
            """
            def f(predict, text, image):
                a = text.mean(0, keepdim=True).repeat(len(text), 1)
                b = image.mean(0, keepdim=True).repeat(len(text), 1)
                return predict(text, b) + predict(a, image) - predict(a, b)
            """,
            "the *mean image*",
        ),
        (
            """
            import torch
            def f(predict, text, image):
                N = len(text)
                t, v = [], []
                for i in range(N):
                    o = [j for j in range(N) if j != i] or [0]
                    t.append(predict(text[i].repeat(len(o), 1), image[o]).mean(0))
                    v.append(predict(text[o], image[i].repeat(len(o), 1)).mean(0))
                t, v = torch.stack(t), torch.stack(v)
                return t + v - t.mean(0)
            """,
            "",
        ),
        # the column's mean stands in the row's place
        (changed(PROJECTION, ("rows + columns", "rows + rows")), ""),
        (changed(PROJECTION, ("rows.append(answers.mean(dim=0))", "rows.append(answers[0])")), ""),
    ],
    "20.2": [
        (
            """
            def f(scores):
                out = {}
                for name in max(scores, key=len):
                    gains = [scores[s | {name}] - scores[s] for s in scores if name not in s]
                    out[name] = sum(gains) / len(gains)
                return out
            """,
            "each subset counts alike",
        ),
        (changed(VALUES, (" - scores[present])", ")")), "these are scores, not gains"),
        (changed(VALUES, (" / len(orders)", "")), "not divided by their number"),
        (
            changed(VALUES, ("list(permutations(names))", "[tuple(sorted(names))]")),
            "one order only",
        ),
        (
            changed(
                VALUES,
                (
                    "scores[present | {name}] - scores[present]",
                    "scores[present | {name}] - (scores[present] if present else 0)",
                ),
            ),
            "the score of nothing is taken as 0",
        ),
        (
            """
            def f(scores):
                everyone = max(scores, key=len)
                return {n: scores[everyone] - scores[everyone - {n}] for n in everyone}
            """,
            "an ablation",
        ),
        # written for three names
        (
            """
            from itertools import permutations
            def f(scores):
                names = ("text", "image", "audio")
                values = dict.fromkeys(names, 0.0)
                for order in permutations(names):
                    for k, name in enumerate(order):
                        s = frozenset(order[:k])
                        values[name] += (scores[s | {name}] - scores[s]) / 6
                return values
            """,
            "",
        ),
        (changed(VALUES, ("            present = present | {name}\n", "")), ""),
    ],
}
