"""Answers to the exercises of page 34, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

EXIT = """
import torch


def f(cheap, full, threshold):
    sure, labels = cheap.softmax(1).max(1)
    on = sure < threshold
    rows = on.nonzero()[:, 0]
    labels[rows] = full(rows).argmax(1)
    return labels, on
"""

COST = """
import torch


def f(confidence, thresholds, cheap, full):
    on = confidence[:, None] < thresholds
    share = on.double().mean(0)
    return cheap + share * full
"""


def changed(code, *changes):
    """Code with some of its lines otherwise: (line, other line), each of which it has."""
    for line, other in changes:
        assert line in code
        code = code.replace(line, other)
    return code


RIGHT = {
    "34.1": [
        EXIT,
        # by a bool mask, and a copy of the logits
        """
        import torch
        import torch.nn.functional as F
        def f(cheap, full, threshold):
            on = F.softmax(cheap, dim=-1).amax(-1) < threshold
            logits = cheap.clone()
            if on.any():
                logits[on] = full(on)
            return logits.argmax(-1), on
        """,
        # row by row, with numbers
        """
        import torch
        def f(cheap, full, threshold):
            labels, on = [], []
            for i in range(len(cheap)):
                p = cheap[i].softmax(0)
                go = p.max().item() < threshold
                on.append(go)
                labels.append(full(torch.tensor([i])).argmax(1).item() if go else p.argmax().item())
            return torch.tensor(labels), torch.tensor(on)
        """,
        # by logsumexp: log p of the best is its logit minus it; and where
        """
        import math
        import torch
        def f(cheap, full, threshold):
            best = (cheap.amax(1) - torch.logsumexp(cheap, 1)).exp()
            stay = best >= threshold
            labels = cheap.argmax(1).clone()
            rows = torch.where(~stay)[0]
            if rows.numel() > 0:
                labels.scatter_(0, rows, full(rows).argmax(1))
            return labels, ~stay
        """,
        # with plain lists of rows, and a list given back
        """
        import torch
        def f(cheap, full, threshold):
            probs = torch.softmax(cheap, 1)
            on = probs.max(1)[0] < threshold
            rows = [i for i, go in enumerate(on.tolist()) if go]
            labels = probs.argmax(1)
            if rows:
                labels[rows] = full(rows).argmax(1)
            return [labels, on]
        """,
    ],
    "34.2": [
        COST,
        # by loop, in float32
        """
        import torch
        def f(confidence, thresholds, cheap, full):
            out = []
            for t in thresholds:
                q = (confidence < t).float().mean()
                out.append(cheap + q * full)
            return torch.stack(out)
        """,
        # what each row pays, then the mean
        """
        import torch
        def f(confidence, thresholds, cheap, full):
            leaves = confidence.unsqueeze(0) >= thresholds.unsqueeze(1)
            paid = torch.where(leaves, cheap, cheap + full)
            return paid.to(confidence.dtype).mean(dim=1)
        """,
        # the other way round: all pay both, who leaves gets one back
        """
        import torch
        def f(confidence, thresholds, cheap, full):
            leave = (confidence[:, None] >= thresholds[None]).to(confidence.dtype).mean(0)
            return (cheap + full) - leave * full
        """,
        # by sorting
        """
        import torch
        def f(confidence, thresholds, cheap, full):
            below = torch.searchsorted(confidence.sort().values, thresholds)
            return cheap + full * below.to(confidence.dtype) / len(confidence)
        """,
    ],
}

WRONG = {
    "34.1": [
        (changed(EXIT, ("sure < threshold", "sure.mean().expand(len(sure)) < threshold")), "batch"),
        (changed(EXIT, ("cheap.softmax(1).max(1)", "cheap.max(1)")), "a logit is compared"),
        (changed(EXIT, ("sure < threshold", "sure <= threshold")), "exactly the threshold"),
        (changed(EXIT, ("sure < threshold", "sure > threshold")), "the sure rows go on"),
        (changed(EXIT, ("return labels, on", "return labels, ~on")), "which rows *left*"),
        (
            # the whole batch through, then chosen
            """
            import torch
            def f(cheap, full, threshold):
                on = cheap.softmax(1).amax(1) < threshold
                every = full(torch.arange(len(cheap))).argmax(1)
                return torch.where(on, every, cheap.argmax(1)), on
            """,
            "nothing is saved",
        ),
        (
            # one unsure row sends all on
            """
            import torch
            def f(cheap, full, threshold):
                sure, labels = cheap.softmax(1).max(1)
                on = sure < threshold
                if on.any():
                    labels = full(torch.arange(len(cheap))).argmax(1)
                return labels, on
            """,
            "batch",
        ),
        # softmax by hand
        (changed(EXIT, ("cheap.softmax(1)", "(cheap.exp() / cheap.exp().sum(1)[:, None])")), "NaN"),
        # softmax over the wrong axis
        (changed(EXIT, ("cheap.softmax(1)", "cheap.softmax(0)")), ""),
        # a sigmoid in the place of the softmax
        (changed(EXIT, ("cheap.softmax(1)", "cheap.sigmoid()")), ""),
        # the labels alone
        (changed(EXIT, ("return labels, on", "return labels")), ""),
        # the share that goes on
        (changed(EXIT, ("return labels, on", "return labels, on.double().mean()")), ""),
        # the logits of those that go on, not their labels
        (changed(EXIT, ("full(rows).argmax(1)", "full(rows).amax(1).long()")), ""),
        # one row too few
        (changed(EXIT, ("on.nonzero()[:, 0]", "on.nonzero()[1:, 0]")), ""),
    ],
    "34.2": [
        (
            changed(COST, ("cheap + share * full", "(1 - share) * cheap + share * full")),
            "its cost is always paid",
        ),
        (changed(COST, ("cheap + share * full", "share * full")), "cheap model's cost is missing"),
        (changed(COST, ("< thresholds", ">= thresholds")), "rows that *leave*"),
        (changed(COST, ("< thresholds", "<= thresholds")), "exactly the threshold"),
        (changed(COST, (".mean(0)", ".mean(1)")), ""),
        (changed(COST, (".mean(0)", ".mean()")), ""),
        (changed(COST, (".mean(0)", ".sum(0)")), "all rows together"),
        (changed(COST, ("share = on.double().mean(0)", "share = on.any(0).double()")), "batch"),
        (changed(COST, ("share = on.double().mean(0)", "share = 1 - confidence.mean()")), ""),
        # the axis forgotten
        (changed(COST, ("confidence[:, None]", "confidence")), ""),
        (changed(COST, ("cheap + share * full", "cheap * (1 + share * full)")), ""),
    ],
}
