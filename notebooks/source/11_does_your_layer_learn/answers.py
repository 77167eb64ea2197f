"""Answers to the exercises of page 11, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

LAYER = """
import torch
from torch import nn


class f(nn.Module):
    def __init__(self, dims, classes, width=64):
        super().__init__()
        self.project = nn.ModuleDict({name: nn.Linear(dim, width) for name, dim in dims.items()})
        self.score = nn.Linear(width, 1, bias=False)
        self.head = nn.Linear(width, classes)
        self.sizes = dims, classes, width

    def forward(self, features, *, mask=None):
        parts, there = [], []
        for name in self.project:
            x = features[name]
            rows = torch.ones(len(x), dtype=torch.bool)
            if mask is not None and name in mask:
                rows = mask[name]
            x = torch.where(rows[:, None], x, 0.0)
            parts.append(self.project[name](x).relu())
            there.append(rows)
        parts, there = torch.stack(parts, 1), torch.stack(there, 1)
        scores = self.score(parts).squeeze(-1).masked_fill(~there, -torch.inf)
        empty = ~there.any(1, keepdim=True)
        weights = torch.softmax(scores.masked_fill(empty, 0), 1)
        weights = torch.where(there, weights, 0)
        return self.head((weights[:, :, None] * parts).sum(1))

    def parameter_formula(self):
        dims, classes, width = self.sizes
        return sum((dim + 1) * width for dim in dims.values()) + width + (width + 1) * classes
"""


def changed(*changes):
    """The layer with some of its lines otherwise: (line, other line), each of which it has."""
    code = LAYER
    for line, other in changes:
        assert line in code
        code = code.replace(line, other)
    return code


RIGHT = {
    "11.1": [
        """
        def f(layer, features):
            before = {name: p.detach().clone() for name, p in layer.named_parameters()}
            optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
            optimizer.zero_grad()
            layer(features).square().mean().backward()
            optimizer.step()
            return {
                name: (p.detach() - before[name]).abs().max().item()
                for name, p in layer.named_parameters()
            }
        """,
        """
        import copy
        def f(layer, features):
            after = copy.deepcopy(layer)
            optimizer = torch.optim.SGD(after.parameters(), lr=0.1)
            optimizer.zero_grad()
            (after(features) ** 2).mean().backward()
            optimizer.step()
            changes = {}
            for (name, old), new in zip(layer.named_parameters(), after.parameters()):
                changes[name] = (new.detach() - old.detach()).abs().max()
            return changes
        """,
        """
        def f(layer, features):
            layer.zero_grad()
            layer(features).square().mean().backward()
            changes = {}
            for name, p in layer.named_parameters():
                changes[name] = 0.0 if p.grad is None else float((0.1 * p.grad).abs().max())
            return changes
        """,
        """
        def f(layer, features):
            before = {name: value.clone() for name, value in layer.state_dict().items()}
            optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
            optimizer.zero_grad()
            layer(features).pow(2).mean().backward()
            optimizer.step()
            after = layer.state_dict()
            return {name: (after[name] - before[name]).abs().max().item() for name in before}
        """,
    ],
    "11.2": [
        """
        def f(scores, mask):
            empty = ~mask.any(1, keepdim=True)
            weights = torch.softmax(scores.masked_fill(~mask, -torch.inf).masked_fill(empty, 0), 1)
            return torch.where(mask, weights, 0)
        """,
        """
        def f(scores, mask):
            lowest = torch.finfo(scores.dtype).min
            return torch.softmax(torch.where(mask, scores, lowest), dim=1) * mask
        """,
        """
        def f(scores, mask):
            return torch.softmax(torch.where(mask, scores, -torch.inf), dim=1).nan_to_num()
        """,
        """
        def f(scores, mask):
            weights = torch.zeros_like(scores)
            for b in range(len(scores)):
                weights[b, mask[b]] = torch.softmax(scores[b, mask[b]], 0)
            return weights
        """,
    ],
    "11.3": [
        LAYER,
        changed(
            (".masked_fill(~there, -torch.inf)", ""),
            ("weights = torch.softmax(scores.masked_fill(empty, 0), 1)", "weights = []"),
            (
                "weights = torch.where(there, weights, 0)",
                """for row, present in zip(scores, there):
            one = torch.zeros_like(row)
            one[present] = torch.softmax(row[present], 0)
            weights.append(one)
        weights = torch.stack(weights)""",
            ),
        ),
        changed(
            (
                "weights = torch.softmax(scores.masked_fill(empty, 0), 1)",
                "lowest = torch.finfo(scores.dtype).min",
            ),
            (
                "weights = torch.where(there, weights, 0)",
                "weights = torch.softmax(scores.clamp(min=lowest), 1) * there",
            ),
        ),
    ],
}
WRONG = {
    "11.1": [
        (
            """
        def f(layer, features):
            before = {name: p.detach() for name, p in layer.named_parameters()}
            optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
            optimizer.zero_grad()
            layer(features).square().mean().backward()
            optimizer.step()
            return {
                name: (p.detach() - before[name]).abs().max().item()
                for name, p in layer.named_parameters()
            }
        """,
            "nothing moves",
        ),
        (
            """
        def f(layer, features):
            before = layer.state_dict()
            optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
            optimizer.zero_grad()
            layer(features).square().mean().backward()
            optimizer.step()
            after = layer.state_dict()
            return {name: (after[name] - before[name]).abs().max().item() for name in before}
        """,
            "nothing moves",
        ),
        (
            """
        def f(layer, features):
            before = {name: p.detach().clone() for name, p in layer.named_parameters()}
            layer(features).square().mean().backward()
            return {
                name: (p.detach() - before[name]).abs().max().item()
                for name, p in layer.named_parameters()
            }
        """,
            "nothing moves",
        ),
        (
            """
        def f(layer, features):
            before = {name: p.detach().clone() for name, p in layer.named_parameters()}
            layer(features).square().mean().backward()
            torch.optim.SGD(layer.parameters(), lr=0.1).step()
            return {
                name: (p.detach() - before[name]).abs().max().item()
                for name, p in layer.named_parameters()
            }
        """,
            "old gradients are still there",
        ),
        (
            """
        def f(layer, features):
            layer.zero_grad()
            layer(features).square().mean().backward()
            return {
                name: p.grad.abs().max().item()
                for name, p in layer.named_parameters() if p.grad is not None
            }
        """,
            "expected",
        ),
        (
            """
        def f(layer, features):
            layer.zero_grad()
            layer(features).square().mean().backward()
            return {name: p.grad.abs().max().item() for name, p in layer.named_parameters()}
        """,
            "these are gradients, not changes",
        ),
        (
            """
        def f(layer, features):
            layer.zero_grad()
            layer(features).square().mean().backward()
            found = {}
            for name, p in layer.named_parameters():
                found[name] = 0.0 if p.grad is None else p.grad.abs().max().item()
            return found
        """,
            "these are gradients, not changes",
        ),
        (
            """
        def f(layer, features):
            before = {name: p.detach().clone() for name, p in layer.named_parameters()}
            optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
            optimizer.zero_grad()
            layer(features).square().mean().backward()
            optimizer.step()
            return {
                name: (p.detach() - before[name]).abs().max().item()
                for name, p in layer.named_parameters()
            }
        """,
            "the step is one of Adam",
        ),
        (
            """
        def f(layer, features):
            before = {name: p.detach().clone() for name, p in layer.named_parameters()}
            optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
            optimizer.zero_grad()
            layer(features).square().mean().backward()
            optimizer.step()
            return {
                name: (p.detach() - before[name]).max().item()
                for name, p in layer.named_parameters()
            }
        """,
            "a change below zero counts as a small one",
        ),
        (
            """
        def f(layer, features):
            before = {name: p.detach().clone() for name, p in layer.named_parameters()}
            optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
            optimizer.zero_grad()
            layer(features).square().mean().backward()
            optimizer.step()
            return {
                name: bool((p.detach() != before[name]).any())
                for name, p in layer.named_parameters()
            }
        """,
            "expected",
        ),
    ],
    "11.2": [
        (
            "def f(scores, mask):\n w = torch.softmax(scores.masked_fill(~mask, -100), 1) * mask\n"
            " return w",
            "a missing score is replaced by a number such as -100",
        ),
        (
            "def f(scores, mask):\n w = torch.softmax(torch.where(mask, scores, 0), 1) * mask\n"
            " return w / w.sum(1, keepdim=True).clamp(min=1e-9)",
            "after a softmax in which the missing ones took part",
        ),
        (
            "def f(scores, mask):\n e = torch.where(mask, scores.exp(), 0)\n"
            " return e / e.sum(1, keepdim=True).clamp(min=1)",
            "the sum of the exponentials is taken to be at least 1",
        ),
        (
            "def f(scores, mask): return torch.where(mask, scores, -torch.inf).softmax(0)"
            ".nan_to_num()",
            "the weights sum to 1 along the batch",
        ),
        (
            "def f(scores, mask):\n s = scores.masked_fill(~mask, -math.inf)\n"
            " e = (s - s.amax(1, keepdim=True).clamp(min=-1e9)).exp()\n"
            " return (e / e.sum(1)).nan_to_num()",
            "raised RuntimeError",
        ),
        (
            "def f(scores, mask): return torch.softmax(scores * mask, 1)",
            "a missing modality goes into the softmax with",
        ),
        (
            "def f(scores, mask): return torch.softmax(scores * mask, 1) * mask",
            "a missing modality goes into the softmax with",
        ),
        (
            "def f(scores, mask): return mask * torch.softmax(scores, 1)",
            "the weights are masked after the softmax. What",
        ),
        (
            "def f(scores, mask): return torch.where(mask, scores.softmax(1), 0.)",
            "the weights are masked after the softmax. What",
        ),
        (
            "def f(scores, mask):\n w = torch.softmax(scores, 1) * mask\n return w / w.sum(1,"
            " keepdim=True).clamp(min=1e-9)",
            "the weights are masked and divided by their",
        ),
        (
            "def f(scores, mask): return torch.where(mask, scores, -torch.inf).softmax(1)",
            "a row without any modality is NaN",
        ),
        (
            """
        def f(scores, mask):
            kept = scores.masked_fill(~mask, -math.inf)
            largest = kept.amax(1, keepdim=True).detach()
            powers = (kept - largest.masked_fill(largest == -math.inf, 0)).exp()
            total = powers.sum(1, keepdim=True)
            return powers / torch.maximum(total, torch.ones_like(total))
        """,
            'entry ["gradient of scores"]',
        ),
        (
            "def f(scores, mask): return torch.where(mask, scores, -1e9).softmax(1)",
            "a row without any modality gets equal weights",
        ),
        (
            "def f(scores, mask): return torch.softmax(scores[mask], 0)",
            'entry ["weights"]',
        ),
        (
            "def f(scores, mask): return (scores + mask.double().log()).softmax(1).nan_to_num()",
            'entry ["gradient of scores"]',
        ),
        (
            "def f(scores, mask):\n e = torch.where(mask, scores.exp(), 0)\n return e /"
            " e.sum(1, keepdim=True).clamp(min=1e-9)",
            "the exponentials overflow",
        ),
        (
            "def f(scores, mask): return mask / mask.sum(1, keepdim=True).clamp(min=1)",
            "the scores are not used",
        ),
        ("def f(scores, mask): return torch.softmax(scores, -1)", "the mask is not used"),
    ],
    "11.3": [
        (
            changed(("x = features[name]", "x = dict(zip(self.project, features.values()))[name]")),
            "features are taken in the order",
        ),
        (
            changed(
                ("parts, there = [], []", "parts, there = [], []\n        mask = mask or {}"),
                ("rows = mask[name]", "rows = dict(zip(self.project, mask.values()))[name]"),
                ("name in mask:", "name in list(self.project)[: len(mask)]:"),
            ),
            "the mask is taken in the order in which it comes",
        ),
        (
            changed(
                ("nn.ModuleDict({", "{"),
                ("for name, dim in dims.items()})", "for name, dim in dims.items()}"),
            ),
            "the projections stand in a plain dict or list",
        ),
        (
            changed((", bias=False", "")),
            "the score has a bias",
        ),
        (
            changed(
                ("x = torch.where(rows[:, None], x, 0.0)", "pass"),
                (
                    "parts.append(self.project[name](x).relu())",
                    "x = self.project[name](x).relu()\n"
                    "            parts.append(torch.where(rows[:, None], x, 0.0))",
                ),
            ),
            "what is missing gets zeros too late",
        ),
        (
            changed(("x = torch.where(rows[:, None], x, 0.0)", "x = x * rows[:, None]")),
            "what is missing is computed with",
        ),
        (
            changed(("x = torch.where(rows[:, None], x, 0.0)", "x[~rows] = 0")),
            "changes its argument `features` in place",
        ),
        (
            changed(("masked_fill(~there, -torch.inf)", "masked_fill(~there, -100)")),
            "a missing score is replaced by -100",
        ),
        (
            changed(
                (".masked_fill(~there, -torch.inf)", " * there"),
                ("scores.masked_fill(empty, 0)", "scores"),
                ("torch.where(there, weights, 0)", "weights * there"),
            ),
            "a missing modality has the score 0",
        ),
        (
            changed(
                ("scores.masked_fill(empty, 0)", "scores"),
                ("weights = torch.where(there, weights, 0)", "pass"),
            ),
            "a row without any modality is NaN",
        ),
        (
            changed(
                ("weights = torch.where(there, weights, 0)", "weights = there / there.shape[1]"),
            ),
            "the scores are not used",
        ),
        (
            changed(("if mask is not None and name in mask:", "if True:")),
            "the mask is asked for a name that it has not",
        ),
        (
            changed(("(width + 1) * classes", "(width + 2) * classes")),
            "expected",
        ),
        (
            changed(("sum((dim + 1) * width", "sum(dim * width")),
            "expected",
        ),
        (
            changed(("+ width + (width", "+ width + 1 + (width")),
            "the formula counts wrongly",
        ),
        (
            changed((".sum(1))", ".mean(1))")),
            "expected",
        ),
        (
            changed(("torch.where(rows[:, None], x, 0.0)", "x.nan_to_num()")),
            'entry ["logits"]',
        ),
    ],
}
