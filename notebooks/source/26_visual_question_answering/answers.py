"""Answers to the exercises of page 26, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

PRIOR = """
from collections import Counter


def f(questions, answers, asked):
    of = {}
    for question, answer in zip(questions, answers):
        of.setdefault(question, []).append(answer)

    def best(said):
        counts = Counter(said)
        return min(counts, key=lambda answer: (-counts[answer], answer))

    return [best(of.get(question, answers)) for question in asked]
"""

POINTERS = """
import torch


def f(first, second, cells):
    k = torch.arange(64)
    grid = torch.stack([k % 8, k // 8], 1).to(cells.dtype)
    scale = cells.shape[2] ** 0.5
    alpha = ((cells * first[:, None]).sum(2) / scale).softmax(1)
    beta = ((cells * second[:, None]).sum(2) / scale).softmax(1)
    return alpha @ grid - beta @ grid, torch.stack([alpha, beta], 1)
"""

PREDICT = """
import torch
import torch.nn.functional as F


def f(model, picture, question, words, answers, k=3):
    said = question.lower().replace("?", " ").split()
    unknown = [word for word in said if word not in words]
    ids = [1 + words.index(word) for word in said if word in words]
    if not ids:
        return [], unknown
    mask = torch.ones(1, 64, dtype=torch.bool)
    if picture is None:
        image, mask = torch.zeros(1, 3, 64, 64), ~mask
    else:
        image = picture.unsqueeze(0)
    if image.shape[2:] != (64, 64):
        image = F.interpolate(image, size=(64, 64), mode="bilinear", antialias=True)
    model.eval()
    with torch.no_grad():
        logits = model({"ids": torch.tensor([ids]), "image": image, "mask": mask})
    top = logits.softmax(dim=1)[0].topk(k)
    found = [(answers[i], p) for i, p in zip(top.indices.tolist(), top.values.tolist())]
    return found, unknown
"""


def changed(code, *changes):
    """Code with some of its lines otherwise: (line, other line), each of which it has."""
    for line, other in changes:
        assert line in code
        code = code.replace(line, other)
    return code


RIGHT = {
    "26.1": [
        PRIOR,
        # by sorting, so that the first of equals is the first of the alphabet
        """
        def f(questions, answers, asked):
            out = []
            for one in asked:
                said = [a for q, a in zip(questions, answers) if q == one] or list(answers)
                out.append(max(sorted(set(said)), key=said.count))
            return out
        """,
        # counts of pairs
        """
        from collections import Counter

        def f(questions, answers, asked):
            pairs, words = Counter(zip(questions, answers)), sorted(set(answers))
            of_all = max(words, key=answers.count)
            known = set(questions)
            return [max(words, key=lambda a: pairs[q, a]) if q in known else of_all for q in asked]
        """,
        # a table of numbers
        """
        def f(questions, answers, asked):
            words, rows = sorted(set(answers)), sorted(set(questions))
            table = torch.zeros(len(rows) + 1, len(words))
            for q, a in zip(questions, answers):
                table[rows.index(q), words.index(a)] += 1
                table[-1, words.index(a)] += 1
            best = []
            for q in asked:
                row = table[rows.index(q) if q in rows else -1].tolist()
                best.append(words[row.index(max(row))])
            return best
        """,
    ],
    "26.2": [
        POINTERS,
        # in float32 where the lesson allows it: results as precise as their dtype
        changed(
            POINTERS,
            (
                "grid = torch",
                "cells, first, second = cells.float(), first.float(),"
                " second.float()\n    grid = torch",
            ),
        ),
        # sample by sample
        """
        def f(first, second, cells):
            offsets, maps = [], []
            for a, b, c in zip(first, second, cells):
                both = (torch.stack([a, b]) @ c.T / c.shape[1] ** 0.5).softmax(-1)
                square = both.view(2, 8, 8)
                steps = torch.arange(8, dtype=c.dtype)
                x, y = (square.sum(1) * steps).sum(1), (square.sum(2) * steps).sum(1)
                offsets.append(torch.stack([x[0] - x[1], y[0] - y[1]]))
                maps.append(both)
            return torch.stack(offsets), torch.stack(maps)
        """,
        # the difference of the maps first
        """
        def f(first, second, cells):
            q = torch.stack([first, second], dim=1)
            scores = torch.einsum("bpd,bkd->bpk", q, cells) / cells.shape[-1] ** 0.5
            maps = torch.softmax(scores, -1)
            y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
            places = torch.stack([x.flatten(), y.flatten()], -1).to(maps.dtype)
            return (maps[:, 0] - maps[:, 1]) @ places, maps
        """,
        # the library's attention, whose values are the places
        """
        def f(first, second, cells):
            q = torch.stack([first, second], dim=1)
            k = torch.arange(64)
            grid = torch.stack([k % 8, k // 8], 1).to(cells.dtype).expand(len(cells), 64, 2)
            attend = torch.nn.functional.scaled_dot_product_attention
            places = attend(q, cells, grid)
            return places[:, 0] - places[:, 1], (q @ cells.mT / cells.shape[2] ** 0.5).softmax(-1)
        """,
    ],
    "26.3": [
        PREDICT,
        # by sorting; inference mode
        """
        import torch.nn.functional as F
        @torch.inference_mode()
        def f(model, picture, question, words, answers, k=3):
            model.eval()
            table = {word: i + 1 for i, word in enumerate(words)}
            said = question.replace("?", " ").lower().split()
            known = [table[w] for w in said if w in table]
            unknown = [w for w in said if w not in table]
            if len(known) == 0:
                return [], unknown
            there = picture is not None
            if not there:
                picture = torch.zeros(3, 64, 64)
            picture = F.interpolate(picture[None], (64, 64), mode="bilinear", antialias=True)
            mask = torch.tensor([[there] * 64])
            batch = {"ids": torch.tensor(known)[None], "image": picture, "mask": mask}
            p = torch.softmax(model(batch)[0], dim=0).tolist()
            order = sorted(range(len(p)), key=p.__getitem__, reverse=True)
            return [(answers[i], p[i]) for i in order[:k]], unknown
        """,
        # the mode is put back
        changed(
            PREDICT,
            ("model.eval()", "before = model.training\n    model.train(False)"),
            ("    return found, unknown", "    model.train(before)\n    return found, unknown"),
        ),
        # the smaller numbers as tensors of one value each
        changed(PREDICT, ("top.values.tolist()", "top.values")),
    ],
}

WRONG = {
    "26.1": [
        (changed(PRIOR, ("(-counts[answer], answer)", "-counts[answer]")), "seen first"),
        (changed(PRIOR, ("of.get(question, answers)", "answers")), "whatever is asked"),
        (changed(PRIOR, ("best(of.get(question, answers))", "best(of[question])")), "KeyError"),
        (changed(PRIOR, ("in asked]", "in asked if question in of]")), "never seen gets no answer"),
        (changed(PRIOR, ("in asked]", "in questions]")), "that were counted"),
        (
            """
        def f(questions, answers, asked):
            table = dict(zip(questions, answers))
            return [table.get(one, max(sorted(set(answers)), key=answers.count)) for one in asked]
        """,
            "keeps the last",
        ),
        (
            changed(
                PRIOR,
                (
                    "return [best(of.get(question, answers)) for question in asked]",
                    "return {q: best(of.get(q, answers)) for q in asked}",
                ),
            ),
            "expected",
        ),
        (changed(PRIOR, ("of.get(question, answers)", 'of.get(question, ["no"])')), '"no"'),
        (
            changed(PRIOR, ("(-counts[answer], answer)", "(-counts[answer], len(answer), answer)")),
            "expected",
        ),
        (
            """
        def f(questions, answers, asked):
            def best(said):
                return max(sorted(set(said)), key=said.count)
            told = [[a for q, a in zip(questions, answers) if one in q] for one in asked]
            return [best(said or list(answers)) for said in told]
        """,
            "expected",
        ),
    ],
    "26.2": [
        (changed(POINTERS, ("[k % 8, k // 8]", "[k // 8, k % 8]")), "x and y are swapped"),
        (changed(POINTERS, ("[k % 8, k // 8]", "[k % 8, 7 - k // 8]")), "counted upward"),
        (changed(POINTERS, ("second[:, None]", "first[:, None]")), "the same query"),
        (changed(POINTERS, ("alpha @ grid - beta @ grid", "beta @ grid - alpha @ grid")), "sign"),
        (changed(POINTERS, (".softmax(1)", ".softmax(0)")), "questions of the batch"),
        (changed(POINTERS, (" / scale", "")), "not divided"),
        (changed(POINTERS, ("alpha @ grid - beta @ grid,", "")), "expected"),
        (
            changed(POINTERS, ("alpha @ grid - beta @ grid", "((alpha - beta) @ grid).detach()")),
            "is detached",
        ),
        (
            changed(POINTERS, ("torch.stack([alpha, beta], 1)", "torch.stack([alpha, beta])")),
            "expected",
        ),
        (changed(POINTERS, ("torch.stack([alpha, beta], 1)", "alpha, beta")), "expected"),
        (
            changed(
                POINTERS,
                (
                    "return alpha @ grid - beta @ grid",
                    "return grid[alpha.argmax(1)] - grid[beta.argmax(1)]",
                ),
            ),
            "Through an argmax",
        ),
    ],
    "26.3": [
        (changed(PREDICT, ("    model.eval()\n", "")), "training mode"),
        (changed(PREDICT, ("picture.unsqueeze(0)", "picture.unsqueeze(0) / 255")), "scaled twice"),
        (changed(PREDICT, ("dim=1)[0]", "dim=0)[0]")), "over the questions"),
        (changed(PREDICT, ("logits.softmax(dim=1)[0]", "logits[0]")), "logits"),
        (changed(PREDICT, ("1 + words", "words")), "0 is padding"),
        (changed(PREDICT, (", ~mask", ", mask")), "the mask must be False"),
        (changed(PREDICT, ("return found, unknown", "return found, []")), "without a word"),
        (changed(PREDICT, (".lower()", "")), "capital letters"),
        (
            changed(PREDICT, ("for word in said if word in words]", "for word in said]")),
            "ValueError",
        ),
        (
            changed(
                PREDICT, ("    if not ids:\n        return [], unknown\n", "    ids = ids or [0]\n")
            ),
            "gets an answer",
        ),
        (changed(PREDICT, ("if image.shape[2:] != (64, 64):", "if False:")), "the model takes"),
        (changed(PREDICT, ("picture.unsqueeze(0)", "picture")), ""),
        (changed(PREDICT, ('.replace("?", " ")', '.rstrip("?")')), "expected"),
        (changed(PREDICT, ("with torch.no_grad()", "if True")), "asked with gradients"),
        (changed(PREDICT, ('"mask": mask}', '"mask": mask.float()}')), "as bool"),
        (changed(PREDICT, ("return found, unknown", "return found")), "expected"),
        (changed(PREDICT, ("[(answers[i], p)", "[answers[i]")), "expected"),
    ],
}
