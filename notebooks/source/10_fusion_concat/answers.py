"""Answers to the exercises of page 10, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

MAKE = """
class f(torch.nn.Module):
    def __init__(self, dims, width, classes):
        super().__init__()
        self.project, self.norm = torch.nn.ModuleDict(), torch.nn.ModuleDict()
        for name, dim in dims.items():
            self.project[name] = torch.nn.Linear(dim, width)
            self.norm[name] = torch.nn.LayerNorm(width)
        self.head = torch.nn.Linear(len(dims) * width, classes)

    def forward(self, features, mask):
"""
LOOP = (
    MAKE
    + """        parts = []
        for name in self.project:
            x = {}
            if name in mask:
                {}
            parts.append(x)
        return self.head({})
"""
)
SAID = "self.norm[name](self.project[name](features[name]))"
CHOSEN, GLUED = "x = torch.where(mask[name].unsqueeze(1), x, 0.0)", "torch.cat(parts, -1)"
UNITS = "def f(size):\n return torch.tensor({}) / size, torch.tensor({}), torch.tensor({}), {}"

RIGHT = {
    "10.1": [
        LOOP.format(SAID, "x = x.masked_fill(~mask[name][:, None], 0)", "torch.hstack(parts)"),
        LOOP.format(SAID, "x = x.clone(); x[~mask[name]] = 0", GLUED),
        MAKE
        + """
        rows = len(next(iter(features.values())))
        glued = torch.zeros(rows, self.head.in_features, dtype=self.head.weight.dtype)
        start = 0
        for name, project in self.project.items():
            there = mask.get(name, torch.ones(rows, dtype=torch.bool))
            part = self.norm[name](project(features[name]))
            end = start + part.shape[1]
            glued[:, start:end] = torch.where(there[:, None], part, torch.zeros_like(part))
            start = end
        return self.head(glued)
""",
    ],
    "10.2": [
        """
        def f(logits):
            with_first, with_second = logits[1, 0] - logits[0, 0], logits[1, 1] - logits[0, 1]
            return with_second - with_first
        """,
        """
        def f(logits):
            signs = torch.tensor([1.0, -1.0])
            return torch.einsum("ijc,i,j->c", logits, signs, signs)
        """,
        """
        def f(logits):
            (a, b), (c, d) = logits.double()
            return a - b - c + d
        """,
    ],
    "10.3": [
        UNITS.format("[[1., -1.], [-1., 1.]]", "[0., 0.]", "[1., 1.]", "-1."),
        UNITS.format("[[1., 1.], [-1., -1.]]", "[0., 0.]", "[-1., -1.]", "torch.tensor(1.)"),
        """
        def f(size):
            W = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
            return W, torch.tensor([size, -size]), torch.tensor([2.0, -6.0]), -size
        """,
    ],
}

WRONG = {
    "10.1": [
        (LOOP.format(SAID, "x = x * mask[name][:, None]", GLUED), "0 * NaN is NaN"),
        (LOOP.format(SAID, "x = x * mask[name].unsqueeze(-1).float()", GLUED), "0 * NaN is NaN"),
        (LOOP.format(SAID, "pass", GLUED), "the mask is not used"),
        (
            LOOP.format(SAID, "x = torch.where(mask[name], x, 0.0)", GLUED),
            "lined up with the numbers of a vector",
        ),
        (
            LOOP.format(SAID, "x = x.masked_fill(mask[name][:, None], 0)", GLUED),
            "the mask is turned round",
        ),
        (LOOP.format(SAID, CHOSEN, "torch.cat(parts, 0)"), "the parts are not side by side"),
        (
            LOOP.format(SAID, CHOSEN, "torch.stack(parts, -1).flatten(1)"),
            "the parts are not side by side",
        ),
        (LOOP.format(SAID, CHOSEN, "sum(parts)"), "the parts are not side by side"),
        (LOOP.format("self.project[name](features[name])", CHOSEN, GLUED), "nothing is normalised"),
        (
            LOOP.format(SAID, CHOSEN, GLUED).replace("in self.project", "in features"),
            "the parts stand in the order of `features`",
        ),
        (
            LOOP.format(SAID, CHOSEN, GLUED).replace(
                "for name in self.project:",
                "for name in self.project:\n            features = dict(features);"
                " features[name] = torch.where(mask[name][:, None], features[name], 0.0)"
                " if name in mask else features[name]",
            ).replace("if name in mask:\n", "if False:\n"),
            "the zeros come too early",
        ),
        (LOOP.format(SAID, CHOSEN, f"{GLUED}).softmax(-1"), "the result is probabilities"),
        (
            LOOP.format(SAID, CHOSEN, GLUED).replace("if name in mask:", "if True:"),
            "asked for a name that it has not",
        ),
        (
            LOOP.format(SAID, CHOSEN, GLUED).replace(
                "self.norm = torch.nn.ModuleDict(), torch.nn.ModuleDict()", "self.norm = {}, {}"
            ),
            "its weights go by other names",
        ),
    ],
    "10.2": [
        (
            "def f(x): return (x[0, 0] - x[0, 1] - x[1, 0] + x[1, 1]).abs()",
            "the absolute value is taken",
        ),
        (
            "def f(logits): return logits[0, 0] - logits[1, 0] + logits[0, 1] + logits[1, 1]",
            "one of the four signs is wrong",
        ),
        (
            "def f(logits): p = torch.softmax(logits, -1); return p[0, 0] - p[1, 0] - p[0, 1] +"
            " p[1, 1]",
            "the logits are turned into probabilities or their",
        ),
        (
            "def f(logits): p = torch.log_softmax(logits, -1); return p[0, 0] - p[1, 0] - p[0,"
            " 1] + p[1, 1]",
            "the logits are turned into probabilities or their",
        ),
        (
            "def f(logits): return logits[0, 1] + logits[1, 0] - logits[0, 0] - logits[1, 1]",
            "the sign is turned round",
        ),
        (
            "def f(logits): return sum(logits[i, j] for i in (0, 1) for j in (0, 1))",
            "all four points are added",
        ),
        ("def f(logits): return logits[0, 0] + logits[1, 1]", "two of the four points are added"),
        (
            "def f(logits): return torch.diagonal(logits).sum(-1)",
            "two of the four points are added",
        ),
        (
            "def f(logits): return logits[1, 1] - logits[0, 0]",
            "this is the difference of two points alone",
        ),
        (
            "def f(logits): return logits[0, 0] - logits[1, 0] + logits[0, 1] - logits[1, 1]",
            "the signs pair up a row or a column",
        ),
        (
            "def f(logits): return torch.tensor([[1., -1.], [-1., 1.]]).view(4) @"
            " logits.view(4, -1) / 4",
            "the right number, divided",
        ),
        (
            "def f(logits): return float((logits[0, 0] - logits[1, 0] - logits[0, 1] +"
            " logits[1, 1]).sum())",
            "into one number",
        ),
        ("def f(logits): return logits.diff(dim=0)[0]", "one axis of length 2 is left"),
        (
            "def f(logits): return logits.diff(dim=0).diff(dim=1)",
            "two axes of length 1 are left, those",
        ),
        (
            "def f(logits): return logits[0, 0] - logits[1, 0] - logits[0, 1] - logits[1, 1]",
            "one of the four signs is wrong: [0",
        ),
    ],
    "10.3": [
        (UNITS.format("[[1., -1.], [-1., 1.]]", "[0., 0.]", "[1., 1.]", "0."), "exactly 0 there"),
        (
            UNITS.format("[[1., -1.], [-1., 1.]]", "[0., 0.]", "[1., 1.]", "-2."),
            "as much as the units give",
        ),
        (UNITS.format("[[1., 1.], [-1., -1.]]", "[0., 0.]", "[1., 1.]", "-1."), "turned round"),
        (
            UNITS.format("[[2., -2.], [2., -2.]]", "[0., 0.]", "[1., 1.]", "-1."),
            "only (size, -size) is found",
        ),
        (
            UNITS.format("[[1., -1.], [-1., 1.]]", "[0., 0.]", "[1., 1.]", "-1.").replace(
                "/ size", ""
            ),
            "right for size 1 alone",
        ),
        (UNITS.format("[1., -1.]", "[0.]", "[1.]", "-1."), "W (2,), b (1,), v (1,)"),
        (
            "def f(s): return [[1 / s, -1 / s], [-1 / s, 1 / s]], [0, 0], [1, 1], -1",
            "W, b and v are not all tensors",
        ),
    ],
}
