"""Answers to the exercises of page 33, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

GAP = """
import torch


def f(model, cells, attribution, blank, random):
    rows = torch.arange(len(cells))[:, None]

    def without(places):
        left = cells.clone()
        left[rows, places] = blank
        return model(left)

    named = without(attribution.topk(random.shape[2], dim=1).indices)
    drawn = torch.stack([without(places) for places in random])
    return drawn.mean(0) - named
"""

WHOLE = """
import torch


def f(score, x, baseline, steps):
    way = x - baseline
    total = 0
    for i in range(steps):
        point = (baseline + (i + 0.5) / steps * way).detach().requires_grad_()
        score(point).sum().backward()
        total = total + point.grad
    return way * total / steps
"""


def changed(code, *changes):
    """Code with some of its lines otherwise: (line, other line), each of which it has."""
    for line, other in changes:
        assert line in code
        code = code.replace(line, other)
    return code


RIGHT = {
    "33.1": [
        GAP,
        # with falls, and a mask of weights
        """
        import torch
        import torch.nn.functional as F

        def f(model, cells, attribution, blank, random):
            whole = model(cells)

            def fall(places):
                gone = F.one_hot(places, cells.shape[1]).sum(1)[..., None].to(cells.dtype)
                return whole - model(cells * (1 - gone) + gone * blank)

            order = attribution.sort(dim=1, descending=True).indices
            named = fall(order[:, :random.shape[2]])
            return named - sum(fall(places) for places in random) / len(random)
        """,
        # sample by sample where places are written
        """
        def f(model, cells, attribution, blank, random):
            R, B, k = random.shape
            total = 0.0
            for places in random:
                left = cells.clone()
                for b in range(B):
                    left[b][places[b]] = blank
                total = total + model(left)
            left = cells.clone()
            for b in range(B):
                left[b][attribution[b].argsort()[-k:]] = blank
            return total / R - model(left)
        """,
    ],
    "33.2": [
        WHOLE,
        # midpoints by linspace
        """
        import torch

        def f(score, x, baseline, steps):
            ends = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
            found = []
            for alpha in ((ends[1:] + ends[:-1]) / 2).tolist():
                point = torch.lerp(baseline.expand_as(x), x, alpha).detach().requires_grad_(True)
                found.append(torch.autograd.grad(score(point).sum(), point)[0])
            return (x - baseline) * torch.stack(found).mean(0)
        """,
        # the factor inside of the loop
        """
        import torch

        def f(score, x, baseline, steps):
            out = torch.zeros_like(x)
            for i in range(steps):
                alpha = (2 * i + 1) / (2 * steps)
                p = (alpha * x + (1 - alpha) * baseline).requires_grad_()
                g, = torch.autograd.grad(score(p), p, torch.ones(len(x), dtype=x.dtype))
                out = out + (x - baseline) * g / steps
            return out
        """,
    ],
}

WRONG = {
    "33.1": [
        (changed(GAP, ("dim=1).", "dim=1, largest=False).")), "least important regions"),
        (changed(GAP, ("drawn.mean(0) - named", "model(cells) - named")), "no random baseline"),
        (changed(GAP, ("attribution.topk", "attribution.abs().topk")), "sign included"),
        (changed(GAP, ("places] = blank", "places] = 0.0")), "Zero may mean something"),
        (changed(GAP, ("drawn.mean(0) - named", "named - drawn.mean(0)")), "turned round"),
        (changed(GAP, ("for places in random]", "for places in random[:1]]")), "only one draw"),
        (
            changed(GAP, ("drawn.mean(0) - named", "(drawn - named).mean()")),
            "mean over the samples",
        ),
        (changed(GAP, ("left = cells.clone()", "left = cells")), "in place"),
    ],
    "33.2": [
        (changed(WHOLE, ("(i + 0.5) / steps", "i / steps")), "middles"),
        (changed(WHOLE, ("(i + 0.5) / steps", "(i + 1) / steps")), "middles"),
        (changed(WHOLE, ("way * total / steps", "total / steps")), "multiplied by the way"),
        (changed(WHOLE, ("way * total", "x * total")), "The way that was gone"),
        (changed(WHOLE, ("way * total / steps", "way * total")), "added up"),
        (changed(WHOLE, (".sum().backward", ".mean().backward")), "averaged over the samples"),
        (changed(WHOLE, ("way * total", "-way * total")), "other direction"),
    ],
}
