"""Answers to the exercises of page 28, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

LOSS = """
import torch
from torch.nn import functional as F


def f(logits, ids, given, mask):
    T = ids.shape[1]
    place = torch.arange(T)
    counts = mask & (place >= given[:, None])
    labels = torch.where(counts, ids, -100)[:, 1:]
    foretold = logits[:, -T:-1]
    return F.cross_entropy(foretold.flatten(0, 1), labels.flatten(), ignore_index=-100)
"""

LORA = """
import torch
from torch import nn
from torch.nn import functional as F


class f(nn.Module):
    def __init__(self, inner, rank=8, alpha=16.0):
        super().__init__()
        self.inner, self.scale = inner.requires_grad_(False), alpha / rank
        self.A = nn.Parameter(torch.randn(rank, inner.in_features) / inner.in_features**0.5)
        self.B = nn.Parameter(torch.zeros(inner.out_features, rank))

    def forward(self, x):
        return self.inner(x) + self.scale * F.linear(F.linear(x, self.A), self.B)
"""


def changed(code, *changes):
    """Code with some of its lines otherwise: (line, other line), each of which it has."""
    for line, other in changes:
        assert line in code
        code = code.replace(line, other)
    return code


RIGHT = {
    "28.1": [
        LOSS,
        # labels of the whole row, soft tokens included, shifted at the end
        """
        import torch
        from torch.nn import functional as F
        def f(logits, ids, given, mask):
            soft = logits.shape[1] - ids.shape[1]
            labels = ids.masked_fill(~mask, -100)
            labels = labels.masked_fill(torch.arange(ids.shape[1]) < given[:, None], -100)
            labels = F.pad(labels, (soft, 0), value=-100)
            return F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:])
        """,
        # by the logarithms, gathered and averaged under a mask
        """
        import torch
        def f(logits, ids, given, mask):
            T = ids.shape[1]
            counts = mask & (torch.arange(T)[None] >= given[:, None])
            logs = logits.log_softmax(dim=-1)[:, -T:-1]
            chosen = logs.gather(2, ids[:, 1:, None])[..., 0]
            counts = counts[:, 1:]
            return -(chosen * counts).sum() / counts.sum()
        """,
        # row by row
        """
        import torch
        from torch.nn import functional as F
        def f(logits, ids, given, mask):
            total, count, soft = 0, 0, logits.shape[1] - ids.shape[1]
            for b in range(len(ids)):
                for t in range(int(given[b]), int(mask[b].sum())):
                    total = total + F.cross_entropy(logits[b, soft + t - 1], ids[b, t])
                    count += 1
            return total / count
        """,
        # in float32
        changed(LOSS, ("logits[:, -T:-1]", "logits[:, -T:-1].float()")),
    ],
    "28.2": [
        LORA,
        # with matrices, and the scale on the other side
        changed(
            LORA,
            (
                "self.scale * F.linear(F.linear(x, self.A), self.B)",
                "(self.scale * x @ self.A.T) @ self.B.T",
            ),
        ),
        # the product of both matrices first
        changed(LORA, ("F.linear(F.linear(x, self.A), self.B)", "F.linear(x, self.B @ self.A)")),
        # einsum; weight and bias frozen one by one
        """
        import torch
        from torch import nn
        class f(nn.Module):
            def __init__(self, inner, rank=8, alpha=16.0):
                super().__init__()
                self.inner, self.rank, self.alpha = inner, rank, alpha
                for weight in self.inner.parameters():
                    weight.requires_grad = False
                out, wide = inner.weight.shape
                self.A = nn.Parameter(torch.empty(rank, wide))
                nn.init.normal_(self.A, std=0.02)
                self.B = nn.Parameter(torch.zeros(out, rank))
            def forward(self, x):
                change = torch.einsum("...i,ri,or->...o", x, self.A, self.B)
                return self.inner(x) + change * self.alpha / self.rank
        """,
        # weight and bias of its own, one plain layer
        """
        import torch
        from torch import nn
        from torch.nn import functional as F
        class f(nn.Module):
            def __init__(self, inner, rank=8, alpha=16.0):
                super().__init__()
                self.kept, self.scale = [inner.requires_grad_(False)], alpha / rank
                self.A = nn.Parameter(torch.randn(rank, inner.in_features))
                self.B = nn.Parameter(torch.zeros(inner.out_features, rank))
            def forward(self, x):
                weight = self.kept[0].weight + self.scale * self.B @ self.A
                return F.linear(x, weight, self.kept[0].bias)
        """,
    ],
}

WRONG = {
    "28.1": [
        # not shifted
        (changed(LOSS, ("[:, 1:]", ""), ("-T:-1", "-T:")), "nothing is shifted"),
        # the logits taken from the front
        (changed(LOSS, ("logits[:, -T:-1]", "logits[:, : T - 1]")), "taken from the front"),
        # a row's prompt compared with places of the whole batch's longest prompt
        (changed(LOSS, ("given[:, None]", "given.max()")), "the result is"),
        # keepdim forgotten: given goes along the row
        (changed(LOSS, ("given[:, None]", "given")), "raised"),
        # the prompt counts
        (changed(LOSS, ("mask & (place >= given[:, None])", "mask")), "the prompt counts too"),
        # the padding counts
        (changed(LOSS, ("mask & (place", "(place")), "the padding counts too"),
        # padding told by the id
        (changed(LOSS, ("mask & (place", "(ids != 0) & (place")), "its id is 0"),
        # off by one
        (changed(LOSS, ("place >= given", "place > given")), "the reply's first word is missing"),
        # a sum
        (
            changed(LOSS, ("ignore_index=-100", "ignore_index=-100, reduction='sum'")),
            "has to be divided",
        ),
        # without the end
        (
            changed(
                LOSS, ("T = ids.shape[1]", "T, mask = ids.shape[1], F.pad(mask[:, 1:], (0, 1))")
            ),
            "a model never learns to stop",
        ),
        # the prompt counted along the whole row, soft tokens too
        (
            """
            import torch
            from torch.nn import functional as F
            def f(logits, ids, given, mask):
                soft = logits.shape[1] - ids.shape[1]
                labels = F.pad(ids.masked_fill(~mask, -100), (soft, 0), value=-100)
                place = torch.arange(labels.shape[1])
                labels = labels.masked_fill(place < given[:, None], -100)
                return F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:])
            """,
            "places of the whole row",
        ),
        # shifted before the mask is
        (
            changed(
                LOSS,
                (
                    "torch.where(counts, ids, -100)[:, 1:]",
                    "torch.where(counts[:, :-1], ids[:, 1:], -100)",
                ),
            ),
            "the result is",
        ),
    ],
    "28.2": [
        (changed(LORA, ("inner.requires_grad_(False)", "inner")), "inner layer is still trained"),
        (changed(LORA, ("torch.zeros(", "torch.randn(")), "B begins with zeros"),
        (
            changed(
                LORA,
                (
                    "torch.randn(rank, inner.in_features) / inner.in_features**0.5",
                    "torch.zeros(rank, inner.in_features)",
                ),
            ),
            "A begins with zeros",
        ),
        # A of ones
        (changed(LORA, ("torch.randn(rank", "torch.ones(rank")), "all rows of A are alike"),
        # another layer in place of the given one
        (
            changed(
                LORA,
                (
                    "inner.requires_grad_(False)",
                    "nn.Linear(*inner.weight.shape[::-1], inner.bias is not None)",
                ),
                ("super().__init__()", "super().__init__(); inner.requires_grad_(False)"),
            ),
            "",
        ),
        (changed(LORA, ("alpha / rank", "alpha")), "scaled by alpha / r"),
        (changed(LORA, ("self.inner(x) + ", "")), "own output is missing"),
        # frozen twice: nothing comes back through it
        (
            changed(LORA, ("return self.inner(x) +", "return self.inner(x).detach() +")),
            "no gradient reaches x",
        ),
        # the scale divided in whole numbers
        (changed(LORA, ("alpha / rank", "alpha // rank")), "entry [3]"),
        # plain tensors are no parameters
        (
            changed(
                LORA,
                (
                    "nn.Parameter(torch.zeros(inner.out_features, rank))",
                    "torch.zeros(inner.out_features, rank)",
                ),
            ),
            "",
        ),
        # A and B the other way round
        (
            changed(
                LORA,
                ("torch.randn(rank, inner.in_features)", "torch.randn(inner.in_features, rank)"),
                ("torch.zeros(inner.out_features, rank)", "torch.zeros(rank, inner.out_features)"),
                ("F.linear(F.linear(x, self.A), self.B)", "(x @ self.A @ self.B)"),
            ),
            "A is (r, in)",
        ),
    ],
}
