"""Answers to the exercises of page 01, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

MEAN = "def f(x, mask):\n return {}"
STEP = "def f(x, state, W, U, b):\n return {}"
PAIR = (
    "def f(centre, context, negatives):\n log = torch.nn.functional.logsigmoid\n"
    " true = (centre * context).sum(-1)\n false = (negatives * centre[:, None]).sum(-1)\n return {}"
)

RIGHT = {
    "01.1": [
        """
        def f(x, mask):
            kept = torch.where(mask[..., None], x, 0)
            return kept.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        """,
        """
        def f(x, mask):
            rows = []
            for tokens, real in zip(x, mask):
                kept = tokens[real]
                rows.append(kept.mean(0) if len(kept) else torch.zeros_like(tokens[0]))
            return torch.stack(rows)
        """,
        """
        def f(x, mask):
            x = x.clone()
            x[~mask] = 0
            return x.sum(1) / (mask.sum(1).unsqueeze(1) + 1e-9)
        """,
        """
        def f(x, mask):
            return x.masked_fill(~mask.unsqueeze(2), float("nan")).nanmean(dim=1).nan_to_num(0)
        """,
    ],
    "01.2": [
        """
        def f(x, state, W, U, b):
            return torch.tanh(x @ W.T + state @ U.T + b)
        """,
        """
        def f(x, state, W, U, b):
            new = torch.zeros_like(state)
            for i in range(len(x)):
                new[i] = torch.tanh(W @ x[i] + U @ state[i] + b)
            return new
        """,
        """
        def f(x, state, W, U, b):
            linear = torch.nn.functional.linear
            return (linear(x, W, b) + linear(state, U)).tanh()
        """,
        """
        def f(x, state, W, U, b):
            return torch.tanh(W @ x.T + U @ state.T + b[:, None]).T
        """,
        """
        def f(x, state, W, U, b):
            return 1 - 2 / (torch.exp(2 * (x @ W.T + state @ U.T + b)) + 1)
        """,
    ],
    "01.3": [
        """
        def f(centre, context, negatives):
            log = torch.nn.functional.logsigmoid
            true = (centre * context).sum(-1)
            false = (negatives * centre[:, None]).sum(-1)
            return -log(true) - log(-false).sum(-1)
        """,
        """
        def f(centre, context, negatives):
            log = torch.nn.functional.logsigmoid
            losses = []
            for v, u, others in zip(centre, context, negatives):
                loss = -log(u @ v)
                for other in others:
                    loss = loss - log(-(other @ v))
                losses.append(loss)
            return torch.stack(losses)
        """,
        """
        def f(centre, context, negatives):
            words = torch.cat([context[:, None], negatives], dim=1)
            scores = (words @ centre[:, :, None]).squeeze(2)
            labels = torch.zeros_like(scores)
            labels[:, 0] = 1
            bce = torch.nn.functional.binary_cross_entropy_with_logits
            return bce(scores, labels, reduction="none").sum(1)
        """,
        """
        def f(centre, context, negatives):
            true = torch.diagonal(centre @ context.T)
            false = torch.bmm(negatives, centre.unsqueeze(2))[:, :, 0]
            return torch.log1p(torch.exp(-true.clamp(min=-600))).where(true > -600, -true) + (
                torch.nn.functional.softplus(false).sum(1)
            )
        """,
    ],
}
WRONG = {
    "01.1": [
        (MEAN.format("x.masked_fill(~mask[..., None], 0).mean(dim=1)"), "divided by T"),
        (MEAN.format("x.mean(dim=1)"), "the mask is not used"),
        (MEAN.format("torch.where(mask[..., None], x, 0).sum(1)"), "this is the sum"),
        (
            MEAN.format("(x * mask.unsqueeze(-1)).sum(1) / mask.sum(1).clamp(min=1)[:, None]"),
            "padding is multiplied by 0",
        ),
        (
            MEAN.format("(x * mask.double().unsqueeze(2)).sum(1) / mask.double().sum(1)[:, None]"),
            "padding is multiplied by 0",
        ),
        (
            MEAN.format("torch.stack([row[real].mean(0) for row, real in zip(x, mask)])"),
            "a text without a token gives 0 / 0",
        ),
        (
            MEAN.format("x.where(mask[..., None], 0).sum(1) / mask.sum(1).clamp(min=1)"),
            "the counts (B,) go along the axis of D",
        ),
        (
            MEAN.format(
                "x.where(mask[..., None], 0).sum(1, keepdim=True) / mask.sum(1).clamp(min=1)"
                "[:, None, None]"
            ),
            "the axis of the tokens is still there",
        ),
        (MEAN.format("(x * mask).sum(1) / mask.sum(1, keepdim=True)"), "along the axis of D"),
        (
            MEAN.format("x.where(mask, 0).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)"),
            "along the axis of D",
        ),
        (MEAN.format("x[mask].mean(dim=0)"), "the whole batch are taken together"),
        (MEAN.format("x[mask]"), "returned shape (2, 1), expected (1, 1)"),
        (
            "def f(x, mask):\n kept = x.masked_fill(~mask[..., None], 0)\n"
            " return kept.sum(1) / (kept != 0).sum(1).clamp(min=1)",
            "which tokens are real is guessed",
        ),
        (
            "def f(x, mask):\n real = mask & (x.abs().sum(-1) > 0)\n"
            " return (x * real[..., None]).nan_to_num().sum(1) / real.sum(1, True).clamp(min=1)",
            "which tokens are real is guessed",
        ),
        (
            "def f(x, mask):\n last = (mask * torch.arange(x.shape[1])).amax(1)\n"
            " rows = [row[: end + 1].nan_to_num().mean(0) for row, end in zip(x, last)]\n"
            " rows = [row * real.any() for row, real in zip(rows, mask)]\n"
            " return torch.stack(rows)",
            "which tokens are real is guessed",
        ),
        (
            "def f(x, mask):\n means = torch.zeros(x.shape[0], x.shape[2], dtype=x.dtype)\n"
            " for row, length in enumerate(mask.sum(1).tolist()):\n"
            "  if length:\n   means[row] = x[row, :length].mean(0)\n return means",
            "which tokens are real is guessed",
        ),
    ],
    "01.2": [
        (STEP.format("x @ W.T + state @ U.T + b"), "tanh is missing"),
        (STEP.format("torch.tanh(x @ W.T + b)"), "the old state is missing"),
        (STEP.format("torch.tanh(x @ W.T + state @ U + b)"), "is not transposed"),
        (STEP.format("torch.tanh(W @ x + U @ state + b)"), "raised RuntimeError"),
        (STEP.format("torch.tanh(x @ U.T + state @ W.T + b)"), "W and U are swapped"),
        (STEP.format("torch.sigmoid(x @ W.T + state @ U.T + b)"), "another function"),
        (STEP.format("torch.tanh(x @ W.T + state @ U.T)"), "the bias b is missing"),
        (
            "def f(x, state, W, U, b):\n up = torch.exp(x @ W.T + state @ U.T + b)\n"
            " down = 1 / up\n return (up - down) / (up + down)",
            "tanh is made of exponentials",
        ),
        (
            "def f(x, state, W, U, b):\n e = torch.exp(2 * (x @ W.T + state @ U.T + b))\n"
            " return (e - 1) / (e + 1)",
            "tanh is made of exponentials",
        ),
        (
            "def f(x, state, W, U, b):\n e = torch.exp(-2 * (x @ W.T + state @ U.T + b))\n"
            " return (1 - e) / (1 + e)",
            "tanh is made of exponentials",
        ),
        (
            "def f(x, state, W, U, b):\n linear = torch.nn.functional.linear\n"
            " return torch.tanh(linear(x, W, b) + linear(state, U, b))",
            "the bias is added outside of tanh, or twice",
        ),
        (STEP.format("torch.tanh(W @ x.T + U @ state.T + b[:, None])"), "the result is transposed"),
        (STEP.format("state + torch.tanh(x @ W.T + state @ U.T + b)"), "the old state is added"),
        (
            "def f(x, state, W, U, b): state += x @ W.T; return torch.tanh(state @ U.T + b)",
            "changes its argument `state` in place",
        ),
    ],
    "01.3": [
        (PAIR.format("-log(true) - log(false).sum(-1)"), "a sign inside the sigmoid is wrong"),
        (PAIR.format("log(true) + log(-false).sum(-1)"), "the minus before the logarithms"),
        (PAIR.format("-log(true) - log(-false).mean(-1)"), "the K random pairs are averaged"),
        (PAIR.format("(-log(true) - log(-false).sum(-1)).mean()"), "added or averaged"),
        (PAIR.format("-log(true) - log(-false).sum()"), "added or averaged"),
        (PAIR.format("-log(true)"), "only one of the two parts"),
        (
            PAIR.format("-true.sigmoid().log() - (1 - false.sigmoid()).log().sum(1)"),
            "for a large score",
        ),
        (
            PAIR.format(
                "-(true.sigmoid() + 1e-9).log() - (1 - false.sigmoid() + 1e-9).log().sum(1)"
            ),
            "for a large score",
        ),
        (
            PAIR.format(
                "-true.sigmoid().clamp(1e-8).log() - (-false).sigmoid().clamp(1e-8).log().sum(1)"
            ),
            "for a large score",
        ),
        (
            PAIR.format(
                "-(true.sigmoid() + 1e-8).log() - ((-false).sigmoid() + 1e-8).log().sum(1)"
            ),
            "for a large score",
        ),
        (PAIR.format("-log(-true) - log(false).sum(-1)"), "a sign inside the sigmoid is wrong"),
        (PAIR.format("-log(true) - log(-false.sum(-1))"), "added before the sigmoid"),
        (PAIR.format("-log(true) - log(-false)"), "returned shape (1, 1), expected (1,)"),
        (
            PAIR.replace("[:, None]", "").format("-log(true) - log(-false).sum(-1)"),
            "words of other rows",
        ),
        (PAIR.format("-true + false.sum(-1)"), "the scores themselves"),
    ],
}
