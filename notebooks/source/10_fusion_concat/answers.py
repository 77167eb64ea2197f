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
            GLUE.format("torch.nn.AdaptiveAvgPool2d(1)(x)", TEXT, 1),
            "pooling leaves the picture as (B, C, 1, 1)",
        ),
        (
            GLUE.format("x.mean((2, 3), keepdim=True)", TEXT, 1),
            "pooling leaves the picture as (B, C, 1, 1)",
        ),
        (
            GLUE.format(
                PICTURE, "torch.where(mask[..., None], letters, 0).sum(1) / mask.sum(1)", 1
            ),
            "the number of letters has lost its axis",
        ),
        (
            GLUE.format(
                PICTURE, "letters.masked_fill(~mask, 0).sum(1) / mask.sum(1, keepdim=True)", 1
            ),
            "the mask is on the wrong axis",
        ),
        (
            GLUE.format(
                PICTURE,
                "torch.where(mask[:, None], letters, 0).sum(1) / mask.sum(1, keepdim=True)",
                1,
            ),
            "the mask is on the wrong axis",
        ),
        (GLUE.format("x.flatten(1)", TEXT, 1), "returned shape (1, 5), expected (1, 3)"),
        (GLUE.format(PICTURE, TEXT, 0), "raised RuntimeError: Sizes of tensors must match"),
        (
            GLUE.format("x.mean((2, 3))[:, None]", "letters", 1),
            "the picture has become one more letter",
        ),
        (GLUE.format(PICTURE, "letters", 1), "pooling leaves the picture as (B, C, 1"),
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
        (GLUE.format(TEXT, PICTURE, 1), "the text stands first"),
        (GLUE.format("x.mean((1, 2))", TEXT, 1), "the picture is averaged over other axes than"),
        (
            GLUE.format("torch.nn.AdaptiveAvgPool2d(1)(x).squeeze()", TEXT, -1),
            "pooling leaves the picture as (B, C, 1",
        ),
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
}
