"""Answers to the exercises of page 32, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

ATTACK = """
import torch
from torch.nn import functional as F


def f(model, images, labels, eps, rate, steps, start):
    mode = model.training
    model.eval()
    x = torch.clamp(images + eps * start, 0, 1)
    for _ in range(steps):
        x = x.clone().detach().requires_grad_(True)
        loss = F.cross_entropy(model(x), labels)
        (g,) = torch.autograd.grad(loss, x)
        x = x.detach() + rate * torch.sign(g)
        delta = torch.clamp(x - images, -eps, eps)
        x = torch.clamp(images + delta, 0, 1)
    model.train(mode)
    return x
"""


def changed(*changes):
    """The attack with some of its lines otherwise: (line, other line), each of which it has."""
    code = ATTACK
    for line, other in changes:
        assert line in code
        code = code.replace(line, other)
    return code


RIGHT = {
    "32.1": [
        """
        def f(there, luck, p, training):
            if not training:
                return there
            kept = there & (luck >= p)
            lost = there.any(1) & ~kept.any(1)
            best = luck.masked_fill(~there, -1).argmax(1)
            kept[lost, best[lost]] = True
            return kept
        """,
        """
        def f(there, luck, p, training):
            if not training:
                return there.clone()
            best = torch.where(there, luck, -torch.inf).max(dim=1, keepdim=True).values
            return there & (luck >= torch.minimum(best, torch.tensor(p, dtype=luck.dtype)))
        """,
        """
        def f(there, luck, p, training):
            rows = []
            for has, lucky in zip(there.tolist(), luck.tolist()):
                if training and any(has):
                    top = max(l for h, l in zip(has, lucky) if h)
                    has = [h and (l >= p or l == top) for h, l in zip(has, lucky)]
                rows.append(has)
            return torch.tensor(rows)
        """,
    ],
    "32.2": [
        ATTACK,
        changed(
            ("delta = torch.clamp(x - images, -eps, eps)", "x = torch.clamp(x, 0, 1)"),
            (
                "x = torch.clamp(images + delta, 0, 1)",
                "x = torch.max(torch.min(x, images + eps), images - eps)",
            ),
        ),
        changed(
            (
                "F.cross_entropy(model(x), labels)",
                "-model(x).log_softmax(1)[range(len(x)), labels]",
            ),
            ("torch.autograd.grad(loss, x)", "torch.autograd.grad(loss.sum(), x)"),
        ),
        changed(
            ("model.eval()", "model.eval().requires_grad_(False)"),
            ("(g,) = torch.autograd.grad(loss, x)", "loss.backward()\n        g = x.grad"),
            ("model.train(mode)", "model.train(mode).requires_grad_(True)"),
        ),
        """
        import copy
        from torch.nn import functional as F
        def f(model, images, labels, eps, rate, steps, start):
            twin = copy.deepcopy(model).eval()
            delta = eps * start
            delta = (images + delta).clamp(0, 1) - images
            for _ in range(steps):
                delta = delta.detach().requires_grad_()
                F.cross_entropy(twin(images + delta), labels, reduction="sum").backward()
                with torch.no_grad():
                    delta = (delta + rate * delta.grad.sign()).clamp(-eps, eps)
                    delta = (images + delta).clamp(0, 1) - images
            return (images + delta).detach()
        """,
    ],
}

WRONG = {
    "32.1": [
        (
            "def f(there, luck, p, training): return there & (luck >= p) if training else there",
            "a row can lose all that it has",
        ),
        (
            """
        def f(there, luck, p, training):
            kept = there & (luck >= p)
            lost = there.any(1) & ~kept.any(1)
            best = luck.masked_fill(~there, -1).argmax(1)
            kept[lost, best[lost]] = True
            return kept
        """,
            "modalities are hidden in evaluation, too",
        ),
        (
            """
        def f(there, luck, p, training):
            if not training:
                return there
            return there & (luck[0] >= p)
        """,
            "one draw decides for the whole batch",
        ),
        (
            """
        def f(there, luck, p, training):
            if not training:
                return there
            luck = torch.where(there, luck, -1.0)
            kept = there & ((luck >= p) | (luck == luck.amax(1, keepdim=True)))
            return kept / (1 - p)
        """,
            "what stays is divided by 1 - p",
        ),
        (
            """
        def f(there, luck, p, training):
            if not training:
                return there
            kept = there & (luck >= p)
            lost = ~kept.any(1)
            kept[lost, luck.argmax(1)[lost]] = True
            return kept
        """,
            "expected",
        ),
        (
            """
        def f(there, luck, p, training):
            if not training:
                return there
            return there & ((luck >= p) | (luck == luck.amax(1, keepdim=True)))
        """,
            "what was missing can be spared",
        ),
        (
            """
        def f(there, luck, p, training):
            if not training:
                return there
            luck = torch.where(there, luck, -1.0)
            return there & ((luck < p) | (luck == luck.amax(1, keepdim=True)))
        """,
            "p is read as the chance to stay",
        ),
        (
            """
        def f(there, luck, p, training):
            if not training:
                return there
            luck = torch.where(there, luck, -1.0)
            return there & ((luck > p) | (luck == luck.amax(1, keepdim=True)))
        """,
            "luck of exactly p is hidden, too",
        ),
        (
            """
        def f(there, luck, p, training):
            if not training:
                return there
            luck = torch.where(there, luck, -1.0)
            return there & ((luck >= p) | (luck == luck.amax(1)))
        """,
            "raised RuntimeError",
        ),
        (
            """
        def f(there, luck, p, training):
            if not training:
                return there
            luck[~there] = -1.0
            return there & ((luck >= p) | (luck == luck.amax(1, keepdim=True)))
        """,
            "changes its argument `luck` in place",
        ),
    ],
    "32.2": [
        (
            changed(("torch.clamp(x - images, -eps, eps)", "x - images")),
            "nothing brings the pictures back into the ball",
        ),
        (
            changed(
                ("torch.clamp(images + eps * start, 0, 1)", "images + eps * start"),
                ("torch.clamp(images + delta, 0, 1)", "images + delta"),
            ),
            "the pictures leave the range from 0 to 1",
        ),
        (
            changed(("torch.clamp(images + eps * start, 0, 1)", "images + eps * start")),
            "the pictures leave the range from 0 to 1",
        ),
        (
            changed(("torch.clamp(images + delta, 0, 1)", "images + delta")),
            "the pictures leave the range from 0 to 1",
        ),
        (changed(("cross_entropy(model(x)", "cross_entropy(model(x).softmax(1)")), "expected"),
        (
            changed(
                ("model.eval()", "model.eval().requires_grad_(False)"),
                ("(g,) = torch.autograd.grad(loss, x)", "loss.backward()\n        g = x.grad"),
            ),
            'entry ["the model is frozen"]',
        ),
        (changed(("images + eps * start", "images")), "the attack begins at the clean picture"),
        (changed(("images + eps * start", "images + start")), "the start is not scaled"),
        (changed(("+ rate *", "- rate *")), "the loss falls: that helps the model"),
        (changed(("torch.sign(g)", "g")), "the step is the gradient, not its sign"),
        (changed(("    model.eval()\n", "")), "attacked in the mode in which it comes"),
        (changed(("    model.train(mode)\n", "")), "the model stays in evaluation mode"),
        (changed(("model.train(mode)", "model.train()")), 'entry ["the model trains"]'),
        (
            changed(("(g,) = torch.autograd.grad(loss, x)", "loss.backward()\n        g = x.grad")),
            "the attack leaves gradients in the model",
        ),
        (
            changed(
                ("(g,) = torch.autograd.grad(loss, x)", "loss.backward()\n        g = x.grad"),
                ("model.train(mode)", "model.train(mode)\n    model.zero_grad()"),
            ),
            'entry ["gradients of the model changed"]',
        ),
        (
            changed(("return x", "return x.requires_grad_()")),
            "the pictures still ask for a gradient",
        ),
        (changed(("x.clone().detach().requires_grad_(True)", "x.detach()")), "raised RuntimeError"),
    ],
}
