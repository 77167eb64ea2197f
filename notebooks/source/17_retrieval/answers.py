"""Answers to the exercises of page 17, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

RANKS = """
import torch


def f(scores, relevant):
    best = scores.masked_fill(~relevant, -torch.inf).amax(1, keepdim=True)
    above = (scores > best).sum(1)
    ties = ((scores == best) & ~relevant).sum(1)
    return 1 + above + ties / 2
"""

CLASSES = """
import torch.nn.functional as F


def f(pictures, prompts):
    units = F.normalize(prompts, dim=2)
    middle = units.mean(1)
    return F.normalize(pictures, dim=1) @ F.normalize(middle, dim=1).T
"""


def changed(code, *changes):
    """Code with some of its lines otherwise: (line, other line), each of which it has."""
    for line, other in changes:
        assert line in code
        code = code.replace(line, other)
    return code


RIGHT = {
    "17.1": [
        RANKS,
        # in float32
        changed(RANKS, ("return 1 + above + ties / 2", "return (1 + above + ties / 2).float()")),
        # the mean of the best and the worst order
        """
        import torch
        def f(scores, relevant):
            low = torch.finfo(scores.dtype).min
            best = torch.where(relevant, scores, low).max(dim=1).values.unsqueeze(1)
            first = 1 + (scores > best).sum(1)
            last = first + ((scores >= best) & ~relevant).sum(1) - (scores > best).sum(1)
            return (first + last).double() / 2
        """,
        # query by query
        """
        import torch
        def f(scores, relevant):
            out = []
            for row, yes in zip(scores, relevant):
                best = row[yes].max()
                others = row[~yes]
                place = 1 + (others > best).sum().item() + 0.5 * (others == best).sum().item()
                out.append(place)
            return torch.tensor(out)
        """,
        # by the sign of a difference: 1, 1/2 or 0
        """
        import torch
        def f(scores, relevant):
            best = scores.masked_fill(~relevant, float("-inf")).max(1, keepdim=True)[0]
            weight = ((scores - best).sign() + 1) / 2
            return 1 + (weight * ~relevant).sum(1)
        """,
    ],
    "17.2": [
        CLASSES,
        # by einsum
        """
        import torch
        def f(pictures, prompts):
            u = pictures / pictures.norm(dim=-1, keepdim=True)
            v = (prompts / prompts.norm(dim=-1, keepdim=True)).sum(dim=1)
            v = v / v.norm(dim=-1, keepdim=True)
            return torch.einsum("bd,cd->bc", u, v)
        """,
        # by the library's cosine, in float32
        """
        import torch
        import torch.nn.functional as F
        def f(pictures, prompts):
            classes = F.normalize(prompts.float(), dim=-1).mean(1)
            return F.cosine_similarity(pictures.float()[:, None], classes[None], dim=2)
        """,
        # picture by picture, class by class
        """
        import torch
        def f(pictures, prompts):
            table = torch.zeros(len(pictures), len(prompts), dtype=pictures.dtype)
            for c, vectors in enumerate(prompts):
                m = torch.stack([v / v.norm() for v in vectors]).mean(0)
                for i, u in enumerate(pictures):
                    table[i, c] = u @ m / (u.norm() * m.norm())
            return table
        """,
    ],
}

WRONG = {
    "17.1": [
        (changed(RANKS, ("1 + above + ties / 2", "1.0 + above")), "ties are not counted"),
        (changed(RANKS, ("ties / 2", "ties.double()")), "a tie takes a whole place"),
        (
            # numpy's habit: >= counts the item itself
            changed(RANKS, ("1 + above + ties / 2", "(scores >= best).sum(1).double()")),
            "a tie takes a whole place",
        ),
        (changed(RANKS, ("1 + above", "above")), "places are counted from 0"),
        # near scores taken for ties
        (changed(RANKS, ("    best =", "    scores = (10 * scores).round() / 10\n    best =")), ""),
        (changed(RANKS, (".amax(1, keepdim=True)", ".amax(0, keepdim=True)")), ""),
        (changed(RANKS, ("keepdim=True", "keepdim=False")), ""),
        (changed(RANKS, ("-torch.inf", "0.0")), ""),
        (
            """
            import torch
            def f(scores, relevant):
                order = scores.argsort(dim=1, descending=True)
                hit = relevant.gather(1, order)
                return hit.float().argmax(1) + 1.0
            """,
            "after sorting, ties stand as the sort has left them",
        ),
        (changed(RANKS, (".amax(1, keepdim=True)", ".sort(1).values[:, :1]")), ""),
    ],
    "17.2": [
        (
            changed(CLASSES, ("F.normalize(prompts, dim=2)", "prompts")),
            "averaged before they have length 1",
        ),
        (
            changed(CLASSES, ("F.normalize(middle, dim=1).T", "middle.T")),
            "not brought back to length 1",
        ),
        (
            changed(CLASSES, ("F.normalize(pictures, dim=1) @", "pictures @")),
            "the pictures are not brought to length 1",
        ),
        (
            changed(CLASSES, ("F.normalize(prompts, dim=2)", "F.normalize(prompts)")),
            "scaled along the wrong axis",
        ),
        (changed(CLASSES, ("units.mean(1)", "units.mean(0)")), ""),
        (
            changed(CLASSES, ("return F", "scores = F")) + "\n    return scores.argmax(1)\n",
            "these are the classes",
        ),
        (
            """
            import torch
            import torch.nn.functional as F
            def f(pictures, prompts):
                c, t, d = prompts.shape
                table = F.normalize(pictures, dim=1) @ F.normalize(prompts, dim=2).flatten(0, 1).T
                return table.view(len(pictures), c, t).mean(2)
            """,
            "cosines is the same thing",
        ),
    ],
}
