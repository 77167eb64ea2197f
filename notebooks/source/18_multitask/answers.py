"""Answers to the exercises of page 18, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

MODEL = """
import torch
import torch.nn.functional as F
from torch import nn


class f(nn.Module):
    def __init__(self, inputs, width, classes, values):
        super().__init__()
        self.trunk = nn.Linear(inputs, width)
        self.digit = nn.Linear(width, classes)
        self.other = nn.Linear(width, values)

    def forward(self, x):
        h = torch.relu(self.trunk(x))
        return self.digit(h), self.other(h)

    def losses(self, x, labels, targets, weight):
        logits, values = self(x)
        known = labels != -100
        first = logits.sum() * 0
        if known.any():
            first = F.cross_entropy(logits[known], labels[known])
        there = ~torch.isnan(targets)
        second = values.sum() * 0
        if there.any():
            second = F.mse_loss(values[there], targets[there])
        return first + weight * second, first, second
"""

ANGLE = """
import torch


def f(first, second, shared):
    flat = []
    for loss in (first, second):
        grads = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
        flat.append(torch.cat([(p * 0 if g is None else g).reshape(-1)
                               for p, g in zip(shared, grads)]))
    a, b = flat
    if a.norm() == 0 or b.norm() == 0:
        return torch.tensor(0.0)
    return a @ b / (a.norm() * b.norm())
"""


def changed(code, *changes):
    """Code with some of its lines otherwise: (line, other line), each of which it has."""
    for line, other in changes:
        assert line in code
        code = code.replace(line, other)
    return code


RIGHT = {
    "18.1": [
        MODEL,
        # a trunk that has its ReLU inside
        changed(
            MODEL,
            ("nn.Linear(inputs, width)", "nn.Sequential(nn.Linear(inputs, width), nn.ReLU())"),
            ("torch.relu(self.trunk(x))", "self.trunk(x)"),
        ),
        # by the library's sums, and masks that multiply
        changed(
            MODEL,
            ("        first = logits.sum() * 0\n", ""),
            (
                "        if known.any():\n            first = F.cross_entropy(logits[known], "
                "labels[known])",
                "        first = F.cross_entropy(logits, labels, reduction='none').sum()\n"
                "        first = first / max(known.sum().item(), 1)",
            ),
            ("        second = values.sum() * 0\n", ""),
            (
                "        if there.any():\n            second = F.mse_loss(values[there], "
                "targets[there])",
                "        gaps = values - targets.nan_to_num()\n"
                "        second = torch.einsum('bk,bk,bk->', gaps, gaps, there.to(gaps.dtype))\n"
                "        second = second / torch.clamp(there.sum(), min=1)",
            ),
        ),
        # a list of three
        changed(
            MODEL,
            (
                "return first + weight * second, first, second",
                "return [first + weight * second, first, second]",
            ),
        ),
        # row by row, place by place
        changed(
            MODEL,
            (
                "            first = F.cross_entropy(logits[known], labels[known])",
                "            parts = [-z.log_softmax(-1)[y] for z, y in zip(logits, labels)"
                " if y >= 0]\n            first = sum(parts) / len(parts)",
            ),
            (
                "            second = F.mse_loss(values[there], targets[there])",
                "            parts = [(v - t) ** 2 for a, b in zip(values, targets)"
                " for v, t in zip(a, b) if t == t]\n            second = sum(parts) / len(parts)",
            ),
        ),
        # targets that are filled with the model's own values: their squares are 0
        changed(
            MODEL,
            (
                "            second = F.mse_loss(values[there], targets[there])",
                "            filled = torch.where(there, targets, values.detach())\n"
                "            second = (values - filled).square().sum() / there.sum()",
            ),
        ),
    ],
    "18.2": [
        ANGLE,
        # 0 as a whole number
        changed(ANGLE, ("return torch.tensor(0.0)", "return 0")),
        # as a float
        changed(
            ANGLE,
            (
                "return a @ b / (a.norm() * b.norm())",
                "return (a @ b / (a.norm() * b.norm())).item()",
            ),
        ),
        # the library's cosine, which is 0 for a vector of zeros
        """
        import torch
        import torch.nn.functional as F
        def f(first, second, shared):
            def vector(loss):
                grads = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
                return torch.cat([torch.zeros(p.numel(), dtype=p.dtype) if g is None else g.ravel()
                                  for p, g in zip(shared, grads)])
            return F.cosine_similarity(vector(first), vector(second), dim=0)
        """,
        # unit vectors, parameter by parameter
        """
        import torch
        def f(first, second, shared):
            def grads(loss):
                found = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
                found = [torch.zeros_like(p) if g is None else g for p, g in zip(shared, found)]
                length = sum((g ** 2).sum() for g in found).sqrt().clamp(min=1e-30)
                return [g / length for g in found]
            return sum((a * b).sum() for a, b in zip(grads(first), grads(second)))
        """,
        # by backward(), with .grad put back
        """
        import torch
        def f(first, second, shared):
            leaves, vectors = list(shared), []
            for loss in (first, second):
                grads = torch.autograd.grad(loss + 0 * sum(p.sum() for p in leaves), leaves,
                                            retain_graph=True)
                vectors.append(torch.hstack([g.flatten() for g in grads]))
            a, b = vectors
            length = (a.square().sum() * b.square().sum()).sqrt()
            return a.dot(b) / length if length else length
        """,
    ],
}

WRONG = {
    "18.1": [
        # the mean over the batch
        (
            changed(
                MODEL,
                (
                    "F.cross_entropy(logits[known], labels[known])",
                    "F.cross_entropy(logits, labels, reduction='sum') / len(labels)",
                ),
            ),
            "divided by all rows",
        ),
        # a NaN that is chosen away too late
        (
            changed(
                MODEL,
                (
                    "F.mse_loss(values[there], targets[there])",
                    "torch.where(there, (values - targets) ** 2, 0.0).sum()"
                    " / there.sum().clamp(min=1)",
                ),
                ("if there.any()", "if True"),
            ),
            "gradients NaN",
        ),
        # no care for a batch without labels
        (changed(MODEL, ("if known.any()", "if True")), "0 / 0"),
        # the sum of squares
        (
            changed(
                MODEL,
                (
                    "F.mse_loss(values[there], targets[there])",
                    "F.mse_loss(values[there], targets[there], reduction='sum')",
                ),
            ),
            "",
        ),
        # a trunk for each question
        (
            changed(
                MODEL,
                (
                    "        self.digit =",
                    "        self.second_trunk = nn.Linear(inputs, width)\n        self.digit =",
                ),
                (
                    "self.digit(h), self.other(h)",
                    "self.digit(h), self.other(self.second_trunk(x).relu())",
                ),
            ),
            "",
        ),
        # the ReLU forgotten
        (changed(MODEL, ("torch.relu(self.trunk(x))", "self.trunk(x)")), "ends in a ReLU"),
        # the weight on the wrong loss
        (
            changed(MODEL, ("first + weight * second, first", "weight * first + second, first")),
            "belongs to the second loss",
        ),
        # plain numbers: nothing can be learned
        (
            changed(
                MODEL,
                (
                    "return first + weight * second, first, second",
                    "return (first + weight * second).item(), first.item(), second.item()",
                ),
            ),
            "",
        ),
        # the second question of labelled rows alone
        (
            changed(
                MODEL,
                ("there = ~torch.isnan(targets)", "there = ~torch.isnan(targets) & known[:, None]"),
            ),
            "not its row",
        ),
        # missing numbers as 0
        (
            changed(
                MODEL,
                (
                    "F.mse_loss(values[there], targets[there])",
                    "F.mse_loss(values, targets.nan_to_num(0.0))",
                ),
                ("if there.any()", "if True"),
            ),
            "counts as 0",
        ),
    ],
    "18.2": [
        # the second gradient on top of the first
        (
            """
            def f(first, second, shared):
                import torch
                for p in shared:
                    p.grad = None
                first.backward(retain_graph=True)
                a = torch.cat([p.grad.flatten() for p in shared])
                second.backward(retain_graph=True)
                b = torch.cat([p.grad.flatten() for p in shared])
                return torch.nn.functional.cosine_similarity(a, b, dim=0)
            """,
            "backward() adds",
        ),
        # no allow_unused
        (changed(ANGLE, (", allow_unused=True", "")), "allow_unused=True"),
        # the graph is gone
        (changed(ANGLE, ("retain_graph=True, ", "")), "retain_graph=True"),
        # the mean of cosines
        (
            changed(
                ANGLE,
                (
                    "    a, b = flat",
                    "    sizes = [p.numel() for p in shared]\n"
                    "    pairs = zip(flat[0].split(sizes), flat[1].split(sizes))\n"
                    "    return torch.stack([torch.nn.functional.cosine_similarity(x, y, dim=0)"
                    " for x, y in pairs]).mean()\n    a, b = flat",
                ),
            ),
            "a cosine of its own",
        ),
        # the biases left out
        (
            changed(
                ANGLE,
                ("    flat = []", "    flat, shared = [], [p for p in shared if p.dim() > 1]"),
            ),
            "without the biases",
        ),
        # one length alone
        (changed(ANGLE, ("(a.norm() * b.norm())", "a.norm() ** 2")), ""),
        # the root forgotten: lengths squared
        (changed(ANGLE, ("(a.norm() * b.norm())", "(a @ a * (b @ b))")), ""),
        # never below 0
        (changed(ANGLE, ("return a @ b", "return (a @ b).clamp(min=0)")), ""),
        # an angle
        (
            changed(
                ANGLE,
                (
                    "    a, b = flat",
                    "    cosine = torch.nn.functional.cosine_similarity\n"
                    "    return torch.acos(cosine(*flat, dim=0).clamp(-1, 1))\n    a, b = flat",
                ),
            ),
            "this is the angle",
        ),
    ],
}
