"""Answers to the exercises of page 10, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

PICTURE, TEXT = "x.mean((2, 3))", "torch.stack([t[m].mean(0) for t, m in zip(letters, mask)])"
# picture, text, axis
GLUE = "def f(feature_map, letters, mask):\n x = feature_map\n return torch.cat([{}, {}], {})"

RIGHT = {
    "10.1": [
        """
        def f(feature_map, letters, mask):
            image = torch.nn.AdaptiveAvgPool2d(1)(feature_map).flatten(1)
            text = letters.masked_fill(~mask.unsqueeze(-1), float("nan")).nanmean(dim=1)
            return torch.hstack([image, text])
        """,
        """
        def f(feature_map, letters, mask):
            rows = []
            for i in range(len(mask)):
                image = feature_map[i].mean(-1).mean(-1)
                rows.append(torch.cat([image, letters[i, mask[i]].mean(0)]))
            return torch.stack(rows)
        """,
        """
        def f(feature_map, letters, mask):
            kept = letters.clone()
            kept[~mask] = 0
            weights = mask / mask.sum(1, keepdim=True)
            text = torch.einsum("bt,btd->bd", weights, kept)
            return torch.cat((feature_map.flatten(2).mean(2), text), 1)
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
}

WRONG = {
    "10.1": [
        (
            GLUE.format("x.mean((2, 3))[:, None]", "letters", 1),
            "the picture has become one more letter",
        ),
        (GLUE.format(PICTURE, "letters", 1), "raised RuntimeError"),
        (
            GLUE.format("x.mean((2, 3))[:, None].repeat(1, letters.shape[1], 1)", "letters", 2),
            "repeated beside each letter",
        ),
        (GLUE.format(PICTURE, "letters.mean(1)", 1), "the mask is not used"),
        (GLUE.format(PICTURE, "(letters * mask[..., None]).mean(1)", 1), "the sum is divided by T"),
        (
            GLUE.format(PICTURE, "letters.where(mask[..., None], 0).mean(1)", 1),
            "the sum is divided by T",
        ),
        (
            GLUE.format(PICTURE, "(letters * mask[..., None]).sum(1) / mask.sum(1)[:, None]", 1),
            "0 * NaN is NaN",
        ),
        (
            GLUE.format(
                PICTURE, "torch.einsum('bt,btd->bd', mask / mask.sum(1, keepdim=True), letters)", 1
            ),
            "0 * NaN is NaN",
        ),
        (
            GLUE.format(PICTURE, "torch.where(mask[..., None], letters, 0).sum(1)", 1),
            "the letters are summed",
        ),
        (
            GLUE.format(PICTURE, "letters.sum(1) / mask.sum(1, keepdim=True)", 1),
            "but still runs over all T places",
        ),
        (
            GLUE.format(
                PICTURE,
                "letters.masked_fill(mask[..., None], 0).sum(1) / mask.sum(1, keepdim=True)",
                1,
            ),
            "the mask is turned round: letters became zero",
        ),
        (
            GLUE.format(
                PICTURE, "torch.stack([t[:n].mean(0) for t, n in zip(letters, mask.sum(1))])", 1
            ),
            "the mask is read as a length",
        ),
        (GLUE.format(TEXT, PICTURE, 1), "the text stands first"),
        (GLUE.format("x.mean((1, 2))", TEXT, 1), "the channels of the picture are averaged"),
        (
            GLUE.format(
                "x.mean(1).flatten(1)",
                "(letters * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)",
                1,
            ),
            "the channels of the picture are averaged",
        ),
        (
            GLUE.format("torch.nn.AdaptiveMaxPool2d(1)(x).flatten(1)", TEXT, 1),
            "the largest value over the places is taken",
        ),
        (
            GLUE.format(PICTURE, "torch.stack([t[m].amax(0) for t, m in zip(letters, mask)])", 1),
            "the largest value over the letters is taken",
        ),
        (
            GLUE.format(
                "x.amax((2, 3))", "torch.stack([t[m].amax(0) for t, m in zip(letters, mask)])", 1
            ),
            "the largest values are taken",
        ),
        (GLUE.format("x.reshape(len(x), -1)", TEXT, 1), "the map is flattened"),
        (
            GLUE.format("torch.nn.AdaptiveAvgPool2d(1)(x).squeeze()", TEXT, -1),
            "squeeze() removes every axis of length 1, the batch too",
        ),
        (
            GLUE.format("x.mean((0, 2, 3))", "letters[mask].mean(0)", -1),
            "the mean runs over the whole batch",
        ),
        (
            GLUE.format(PICTURE, "letters[mask].mean(0).repeat(len(x), 1)", 1),
            "the mean runs over the whole batch",
        ),
        (GLUE.format(PICTURE, TEXT, 0), "joined along axis 0"),
        (
            "def f(feature_map, letters, mask): letters[~mask] = 0; return letters",
            "changes its argument `letters` in place",
        ),
        (
            "def f(feature_map, letters, mask): return feature_map.mean((2, 3))",
            "returned shape (1, 2), expected (1, 3): one vector of C + D numbers per sample.",
        ),
    ],
    "10.2": [
        (
            (
                "def f(logits): p = torch.softmax(logits, -1); return p[0, 0] - p[1, 0] - p[0, 1] +"
                " p[1, 1]"
            ),
            "the logits are turned into probabilities first",
        ),
        (
            (
                "def f(logits): p = torch.log_softmax(logits, -1); return p[0, 0] - p[1, 0] - p[0,"
                " 1] + p[1, 1]"
            ),
            "these are the differences of log-probabilities",
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
            "def f(logits): return logits[0, 1] - logits[0, 0]",
            "this is the difference of two points alone",
        ),
        (
            "def f(logits): return logits[0, 0] - logits[1, 0] + logits[0, 1] - logits[1, 1]",
            "the signs pair up a row or a column",
        ),
        (
            (
                "def f(logits): return torch.tensor([[1., -1.], [-1., 1.]]).view(4) @"
                " logits.view(4, -1) / 4"
            ),
            "the right number, divided",
        ),
        (
            (
                "def f(logits): return (logits[0, 0] - logits[1, 0] - logits[0, 1] + logits[1,"
                " 1]).mean()"
            ),
            "into one number",
        ),
        (
            (
                "def f(logits): return float((logits[0, 0] - logits[1, 0] - logits[0, 1] +"
                " logits[1, 1]).sum())"
            ),
            "into one number",
        ),
        ("def f(logits): return logits.diff(dim=0)[0]", "one axis of length 2 is left"),
        (
            "def f(logits): return logits.diff(dim=0).diff(dim=1)",
            "returned shape (1, 1, 1), expected (1,): one number per class.",
        ),
        (
            "def f(logits): return logits[0, 0] - logits[1, 0] - logits[0, 1] - logits[1, 1]",
            "entry [0] is -12.0, expected 0.0.",
        ),
    ],
}
