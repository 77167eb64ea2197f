"""Answers to the exercises of page 29, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

CTC = """
import torch
from torch.nn import functional as F


def f(log_probs, targets, frames, letters):
    B, T, C = log_probs.shape
    S = 2 * targets.shape[1] + 1
    states = torch.zeros(B, S, dtype=torch.long)
    states[:, 1::2] = targets
    skip = torch.zeros(B, S, dtype=torch.bool)
    skip[:, 2:] = (states[:, 2:] != 0) & (states[:, 2:] != states[:, :-2])
    says = log_probs.gather(2, states[:, None].expand(B, T, S))
    alpha = torch.full_like(says[:, 0], -1e30)
    alpha[:, :2] = says[:, 0, :2]
    for t in range(1, T):
        one = F.pad(alpha[:, :-1], (1, 0), value=-1e30)
        two = F.pad(alpha[:, :-2], (2, 0), value=-1e30).masked_fill(~skip, -1e30)
        new = torch.stack([alpha, one, two]).logsumexp(0) + says[:, t]
        alpha = torch.where((t < frames)[:, None], new, alpha)
    last = 2 * letters[:, None]
    return torch.logaddexp(alpha.gather(1, last), alpha.gather(1, last - 1))[:, 0]
"""

GREEDY = """
import torch


def f(log_probs, frames):
    rows = []
    for path, count in zip(log_probs.argmax(2), frames):
        path = torch.unique_consecutive(path[:count])
        rows.append(path[path != 0].tolist())
    return rows
"""


def changed(code, *changes):
    """Code with some of its lines otherwise: (line, other line), each of which it has."""
    for line, other in changes:
        assert line in code, line
        code = code.replace(line, other)
    return code


RIGHT = {
    "29.1": [
        CTC,
        """
        import torch

        def f(log_probs, targets, frames, letters):
            # row by row, state by state
            found = []
            for row, text, T, n in zip(log_probs, targets, frames.tolist(), letters.tolist()):
                z = [0]
                for letter in text[:n].tolist():
                    z += [letter, 0]
                alpha = [row[0, z[0]], row[0, z[1]]] + [None] * (len(z) - 2)
                for t in range(1, T):
                    new = []
                    for s in range(len(z)):
                        ways = [alpha[s]]
                        if s >= 1:
                            ways.append(alpha[s - 1])
                        if s >= 2 and z[s] != 0 and z[s] != z[s - 2]:
                            ways.append(alpha[s - 2])
                        ways = [way for way in ways if way is not None]
                        total = torch.logsumexp(torch.stack(ways), 0) if ways else None
                        new.append(None if total is None else total + row[t, z[s]])
                    alpha = new
                ends = [end for end in alpha[-2:] if end is not None]
                found.append(torch.logsumexp(torch.stack(ends), 0))
            return torch.stack(found)
        """,
        # a matrix of allowed moves
        """
        import torch

        def f(log_probs, targets, frames, letters):
            B, T, _ = log_probs.shape
            S = 2 * targets.shape[1] + 1
            z = targets.new_zeros(B, S)
            z[:, 1::2] = targets
            s = torch.arange(S)
            step = s[:, None] - s                                  # to - from
            move = ((step == 0) | (step == 1)).expand(B, S, S)
            jump = (step == 2) & (z[:, :, None] != z[:, None, :]) & (z[:, :, None] != 0)
            cost = torch.where(move | jump, 0.0, -1e30).to(log_probs)
            a = torch.where(s < 2, 0.0, -1e30) + log_probs[:, 0].gather(1, z)
            kept = [a]
            for t in range(1, T):
                a = (cost + a[:, None]).logsumexp(2) + log_probs[:, t].gather(1, z)
                kept.append(a)
            a = torch.stack(kept, 1)[torch.arange(B), frames - 1]  # (B, S)
            end = (s == 2 * letters[:, None]) | (s == 2 * letters[:, None] - 1)
            return torch.where(end, a, -1e30).logsumexp(1)
        """,
        # two blanks are equal, too
        changed(CTC, ("(states[:, 2:] != 0) & ", "")),
        # in float32
        changed(
            CTC,
            (
                "    B, T, C = log_probs.shape",
                "    log_probs = log_probs.float()\n    B, T, C = log_probs.shape",
            ),
        ),
    ],
    "29.2": [
        GREEDY,
        """
        from itertools import groupby

        def f(log_probs, frames):
            paths = log_probs.argmax(-1).tolist()
            return [
                [k for k, _ in groupby(path[:n]) if k]
                for path, n in zip(paths, frames.tolist())
            ]
        """,
        # with a mask over the batch
        """
        import torch

        def f(log_probs, frames):
            best = log_probs.argmax(2)
            before = torch.nn.functional.pad(best[:, :-1], (1, 0), value=0)
            keep = (best != 0) & (best != before)
            keep &= torch.arange(best.shape[1]) < frames[:, None]
            return [row[k].tolist() for row, k in zip(best, keep)]
        """,
    ],
}

WRONG = {
    "29.1": [
        (changed(CTC, (" & (states[:, 2:] != states[:, :-2])", "")), "between two equal letters"),
        (
            changed(CTC, ("[alpha, one, two]", "[alpha, one]")),
            "Between two different letters the blank may be left out",
        ),
        (
            changed(
                CTC,
                (
                    "torch.logaddexp(alpha.gather(1, last), alpha.gather(1, last - 1))[:, 0]",
                    "alpha.gather(1, last)[:, 0]",
                ),
            ),
            "both states count",
        ),
        (
            changed(
                CTC,
                (
                    "torch.logaddexp(alpha.gather(1, last), alpha.gather(1, last - 1))[:, 0]",
                    "torch.logaddexp(alpha[:, -1], alpha[:, -2])",
                ),
            ),
            "behind the padding of `targets`",
        ),
        (
            changed(CTC, ("torch.where((t < frames)[:, None], new, alpha)", "new")),
            "padding frames are heard",
        ),
        (changed(CTC, ("(t < frames)", "(t <= frames)")), "expected"),
        (changed(CTC, ("-1e30", "float('-inf')")), "Take -1e30"),
        (
            changed(CTC, ("alpha[:, :2] = says[:, 0, :2]", "alpha[:, 0] = says[:, 0, 0]")),
            "may begin",
        ),
        (changed(CTC, (".logsumexp(0)", ".amax(0)")), "expected"),
        (
            changed(
                CTC,
                (
                    "def f(log_probs, targets, frames, letters):",
                    "def f(log_probs, targets, frames, letters):\n"
                    "    log_probs = log_probs.log_softmax(2)",
                ),
            ),
            "softmax is taken once more",
        ),
        (changed(CTC, ("return torch", "return -torch")), "asked is log p itself"),
        (
            """
        from torch.nn import functional as F

        def f(log_probs, targets, frames, letters):
            turned = log_probs.transpose(0, 1)
            return -F.ctc_loss(turned, targets, frames, letters, reduction="none")
        """,
            "write the recursion yourself",
        ),
        (changed(CTC, ("-1e30", "-100.0")), "expected"),
        (changed(CTC, ("[:, 0]\n", "[:, 0].detach()\n")), "gradient"),
    ],
    "29.2": [
        (
            changed(
                GREEDY,
                (
                    "        path = torch.unique_consecutive(path[:count])\n"
                    "        rows.append(path[path != 0].tolist())",
                    "        path = path[:count]\n"
                    "        rows.append(torch.unique_consecutive(path[path != 0]).tolist())",
                ),
            ),
            "merge first",
        ),
        (changed(GREEDY, ("path[:count]", "path")), "padding frames are read"),
        (changed(GREEDY, ("path[path != 0]", "path")), "stays in the text"),
        (
            changed(GREEDY, ("torch.unique_consecutive(path[:count])", "path[:count]")),
            "repeats stay",
        ),
        (changed(GREEDY, ("argmax(2)", "argmax(1)")), "along time"),
        (
            changed(
                GREEDY, ("torch.unique_consecutive(path[:count])", "torch.unique(path[:count])")
            ),
            "each letter comes once",
        ),
        (changed(GREEDY, ("path != 0", "path != log_probs.shape[2] - 1")), "not the last one"),
    ],
}
