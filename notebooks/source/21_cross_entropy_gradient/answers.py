"""Answers to the exercises of page 21, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

P, Y, N = (
    "torch.softmax(logits, -1)",
    "torch.nn.functional.one_hot(labels, logits.shape[-1])",
    "len(logits)",
)
LOGITS = "def f(logits, labels):\n p, y, n = " + f"{P}, {Y}, {N}" + "\n return {}"
PADDED = "def f(logits, labels, mask):\n p, y, m = " + f"{P}, {Y}" + ", mask[..., None]\n return {}"
SMOOTHED = (  # q, t, result
    "def f(logits, labels, class_weights, smoothing):\n"
    f" p, y, n, w, eps, C = {P}, {Y}.double(), {N}, class_weights, smoothing, logits.shape[1]\n"
    " q = {}\n t = {}\n return {}"
)
Q, T, SUM, OWN = "(1 - eps) * y + eps / C", "w * q", "w[labels].sum()", "w[labels][:, None]"
ROWS = "p * t.sum(-1, keepdim=True) - t"

RIGHT = {
    "21.1": [
        """
        def f(logits, labels):
            C = logits.shape[1]
            target = torch.nn.functional.one_hot(labels, C)
            return (torch.softmax(logits, -1) - target) / len(logits)
        """,
        """
        def f(logits, labels):
            e = torch.exp(logits - logits.amax(dim=1, keepdim=True))
            result = e / e.sum(dim=1, keepdim=True)
            result[torch.arange(len(labels)), labels] -= 1
            result /= len(labels)
            return result
        """,
        """
        def f(logits, labels):
            p = torch.exp(logits - torch.logsumexp(logits, 1, keepdim=True))
            rows = []
            for i in range(len(p)):
                J = torch.diag(p[i]) - torch.outer(p[i], p[i])
                rows.append(-(torch.eye(len(p[i])).double()[labels[i]] - J.sum(0) - p[i]) / len(p))
            return torch.stack(rows)
        """,
        LOGITS.format("((p - y) / n).float()"),
        (
            "def f(logits, labels): p = torch.softmax(logits.float(), 1);"
            " p[torch.arange(len(p)), labels] -= 1; return p / len(p)"
        ),
    ],
    "21.2": [
        """
        def f(logits, labels, mask):
            target = torch.nn.functional.one_hot(labels, logits.shape[-1])
            difference = torch.softmax(logits, -1) - target
            return torch.where(mask[..., None], difference, 0) / mask.sum()
        """,
        """
        def f(logits, labels, mask):
            result = torch.zeros_like(logits)
            for b, t in mask.nonzero().tolist():
                result[b, t] = torch.softmax(logits[b, t], 0)
                result[b, t, labels[b, t]] -= 1
            return result / mask.sum().item()
        """,
        """
        def f(logits, labels, mask):
            target = torch.eye(logits.shape[2]).double()[labels]
            d = (torch.softmax(logits, 2) - target) / mask.sum()
            return d.nan_to_num() * mask.unsqueeze(-1)
        """,
        PADDED.format("(torch.where(m, p - y, 0) / mask.sum()).float()"),
        PADDED.format("torch.where(m, logits.float().softmax(-1) - y, 0) / mask.sum()"),
        PADDED.format("torch.where(m, p - y, 0) * (mask / mask.sum())[..., None]"),
    ],
    "21.3": [
        """
        def f(logits, labels, class_weights, smoothing):
            C = logits.shape[1]
            q = (1 - smoothing) * torch.nn.functional.one_hot(labels, C) + smoothing / C  # float32
            t = class_weights * q
            p = torch.softmax(logits, -1)
            return (p * t.sum(-1, keepdim=True) - t) / class_weights[labels].sum()
        """,
        """
        def f(logits, labels, class_weights, smoothing):
            C = logits.shape[1]
            onehot = torch.nn.functional.one_hot(labels, C).to(logits.dtype)
            target = class_weights * ((1 - smoothing) * onehot + smoothing / C)
            whole = target.sum(-1, keepdim=True)
            return (torch.softmax(logits, -1) * whole - target) / class_weights[labels].sum()
        """,
        """
        def f(logits, labels, class_weights, smoothing):
            p, w = torch.softmax(logits, 1), class_weights
            result = torch.empty_like(logits)
            for n, y in enumerate(labels.tolist()):
                t = w * smoothing / len(w)
                t[y] += (1 - smoothing) * w[y]
                result[n] = t @ (p[n].expand(len(w), -1) - torch.eye(len(w)).to(p))
            return result / w[labels].sum()
        """,
        SMOOTHED.format(Q, T, f"(({ROWS}) / {SUM}).float()"),
        (
            "def f(logits, labels, class_weights, smoothing):\n w = class_weights.float()\n y ="
            " torch.nn.functional.one_hot(labels, len(w))\n t = w * ((1 - smoothing) * y +"
            " smoothing / len(w))\n return (torch.softmax(logits.float(), 1) * t.sum(1,"
            " keepdim=True) - t) / w[labels].sum()"
        ),
        SMOOTHED.replace(".double()", "").format(Q, T, f"(({ROWS}) / {SUM}).float()"),
        SMOOTHED.format("torch.where(y == 1, 1 - eps + eps / C, eps / C)", T, f"({ROWS}) / {SUM}"),
        SMOOTHED.replace(".double()", "").format(Q, T, f"({ROWS}) / {SUM}"),
    ],
}
WRONG = {
    "21.1": [
        (
            """
        def f(logits, labels):
            z = logits.clone().requires_grad_()
            torch.nn.functional.cross_entropy(z, labels).backward()
            return z.grad
        """,
            "autograd is called",
        ),
        (
            """
        def f(logits, labels):
            with torch.enable_grad():
                z = logits.detach().requires_grad_()
                loss = torch.nn.functional.cross_entropy(z, labels)
                return torch.autograd.grad(loss, z)[0]
        """,
            "autograd is called",
        ),
        (
            "def f(logits, labels): return torch.func.grad("
            "torch.nn.functional.cross_entropy)(logits, labels)",
            "autograd is called",
        ),
        (LOGITS.format("p / n - y"), "only the probabilities are divided by B"),
        (LOGITS.format("p - y / n"), "only the probabilities are divided by B"),
        (LOGITS.format("(p + y) / n"), "one of the two signs is wrong"),
        (
            "def f(logits, labels):\n p = torch.softmax(logits, 1)\n g, i ="
            " torch.zeros_like(p), torch.arange(len(p))\n g[i, labels] = -1 / p[i, labels] /"
            " len(p)\n return g",
            "this is the gradient with respect to the probabilities",
        ),
        (
            "def f(logits, labels):\n p = torch.softmax(logits, 1)\n g, i ="
            " torch.zeros_like(p), torch.arange(len(p))\n g[i, labels] = -1 / p[i, labels] /"
            " len(p)\n J = torch.diag_embed(p) - p[:, :, None] * p[:, None]\n return"
            " torch.einsum('nc,ncd->nd', g, J)",
            "the links of the chain are multiplied as numbers",
        ),
        (LOGITS.format("(p - labels) / n"), "entry [0, 0] is -0.5, expected 0.5"),
        (
            LOGITS.format("(y - p) / n"),
            "the sign is turned round: a step against this gradient would climb",
        ),
        (LOGITS.format("y - p"), "the sign is turned round"),
        (LOGITS.format("p - y"), "the factor is wrong. The loss is the"),
        (LOGITS.format("(p - y) / p.numel()"), "the factor is wrong. The loss is the"),
        (LOGITS.format("torch.where(y == 1, p - 1, 0) / n"), "only the label's entry is filled"),
        (LOGITS.format("(p - y) / p.shape[1]"), "the factor is wrong. The loss is the"),
        (LOGITS.format("-y / p / n"), "this is the gradient with respect to the probabilities"),
        (
            "def f(logits, labels):\n z = logits.requires_grad_()\n loss = -torch.softmax(z,"
            " 1)[torch.arange(len(z)), labels].log().mean()\n return torch.autograd.grad(loss,"
            " z)[0]",
            "autograd is called, and the exercise asks for",
        ),
        (
            "def f(logits, labels):\n z = logits.requires_grad_()\n loss = -torch.softmax(z,"
            " 1)[torch.arange(len(z)), labels].mean()\n return torch.autograd.grad(loss, z)[0]",
            "autograd is called, and the exercise asks for",
        ),
        (LOGITS.format("(torch.softmax(logits, 0) - y) / n"), "Softmax runs over the rows (dim 0)"),
        (
            "def f(logits, labels):\n e = (logits - logits.amax(1, keepdim=True)).exp()\n y ="
            " torch.nn.functional.one_hot(labels, logits.shape[1])\n return (e / e.sum(1) - y) /"
            " len(e)",
            "a row's sum has lost its axis",
        ),
        (
            LOGITS.format("(torch.exp(logits) / torch.exp(logits).sum(1)[:, None] - y) / n"),
            "exp(1e4) is infinite",
        ),
        (
            "def f(logits, labels):\n e = torch.exp(logits - logits.max())\n p = e / e.sum(1,"
            " keepdim=True)\n p[torch.arange(len(p)), labels] -= 1\n return p / len(p)",
            "exp(1e4) is infinite, and inf / inf is",
        ),
        (
            "def f(logits, labels):\n p = torch.softmax(logits, 1)\n p[:, labels] -= 1\n return"
            " p / len(p)",
            "p[:, labels] takes whole columns",
        ),
        (
            LOGITS.format("(p - torch.nn.functional.one_hot(labels)) / n"),
            "F.one_hot makes as many columns as",
        ),
        (
            LOGITS.format("(p - y).mean(0)"),
            "returned shape (3,), expected (1, 3): one row per sample, one number per class.",
        ),
        (LOGITS.format("(p - y).sum(1)"), "returned shape (1,), expected (1, 3)"),
        (LOGITS.format("2 * (p - y) / n"), "entry [0, 0] is 1.0, expected 0.5."),
        (
            "def f(logits, labels): logits -= logits.amax(1, keepdim=True); return"
            " logits.softmax(1)",
            "changes its argument `logits` in place",
        ),
    ],
    "21.2": [
        (
            """
        def f(logits, labels, mask):
            z = logits.masked_fill(~mask[..., None], 0).requires_grad_()
            torch.nn.functional.cross_entropy(z[mask], labels[mask]).backward()
            return z.grad
        """,
            "autograd is called",
        ),
        (
            """
        def f(logits, labels, mask):
            z = logits.nan_to_num()
            loss = torch.nn.functional.cross_entropy
            labels = labels.masked_fill(~mask, -100)
            def of(z):
                return loss(z.flatten(0, 1), labels.flatten(), ignore_index=-100)
            return torch.func.grad(of)(z)
        """,
            "autograd is called",
        ),
        (
            PADDED.format("(p - y) * m / mask.sum()"),
            "0 * NaN is NaN",
        ),
        (
            "def f(logits, labels, mask):\n z = logits.requires_grad_()\n loss ="
            " torch.nn.functional.cross_entropy(\n  z.flatten(0, 1), labels.masked_fill(~mask,"
            " -100).flatten())\n return torch.autograd.grad(loss, z)[0]",
            "autograd is called",
        ),
        (
            PADDED.format("torch.where(m, p - y, 0) / mask.numel()"),
            "the divisor is wrong. The loss is the",
        ),
        (
            PADDED.format("torch.where(m, p - y, 0) / len(mask)"),
            "the divisor is wrong. The loss is the",
        ),
        (PADDED.format("(p - y).masked_fill(~m, 0)"), "the divisor is wrong. The loss is the"),
        (
            PADDED.format(
                "torch.where(m, p - y, 0) / m.sum(1, keepdim=True).clamp(min=1) / len(mask)"
            ),
            "each row is divided by its own number of tokens, so a token",
        ),
        (
            PADDED.format("torch.where(m, p - y, 0) / m.sum(1, keepdim=True) / len(mask)"),
            "each row is divided by its own number",
        ),
        (PADDED.format("(p - y) / mask.sum()"), "padding gets a gradient like any token. Put"),
        (PADDED.format("(p - y) / mask.numel()"), "padding gets a gradient like any token. Put"),
        (
            PADDED.format("torch.nan_to_num(p - y) / mask.sum()"),
            "NaN is replaced, but padding may hold any number",
        ),
        (PADDED.format("(p - y).masked_fill(m, 0) / mask.sum()"), "the mask is turned round"),
        (PADDED.format("torch.where(m, 0, p - y) / (~mask).sum()"), "the mask is turned round"),
        (
            PADDED.format("(p - y)[mask] / mask.sum()"),
            "returned shape (1, 2), expected (1, 2, 2)",
        ),
        (PADDED.format("torch.where(m, y - p, 0) / mask.sum()"), "the sign is turned round"),
        (
            PADDED.format("torch.where(m, torch.softmax(logits, 1) - y, 0) / mask.sum()"),
            "softmax runs over the wrong axis",
        ),
        (
            PADDED.format("(logits.masked_fill(~m, 0).softmax(-1) - y) / mask.sum()"),
            "the logits under padding are overwritten before softmax",
        ),
        (
            PADDED.format("((logits * m).softmax(-1) - y) / mask.sum()"),
            "the logits under padding are overwritten before softmax",
        ),
        (
            PADDED.format("(logits.masked_fill(~m, -math.inf).softmax(-1) - y) / mask.sum()"),
            "minus infinity for every class",
        ),
        (
            PADDED.format("(torch.where(m, p, 0) - y) / mask.sum()"),
            "only one of the two is masked, the",
        ),
        (PADDED.format("(p - y * m) / mask.sum()"), "only one of the two is masked, the"),
        (
            PADDED.format("torch.where(mask, p - y, 0) / mask.sum()"),
            "the mask has lost its last axis",
        ),
        (
            PADDED.format("torch.where(m, p - y, 0).sum(1) / mask.sum()"),
            "returned shape (1, 2), expected (1, 2, 2): C numbers for every place, padding too.",
        ),
        (
            "def f(logits, labels, mask): logits[~mask] = 0; return logits.softmax(-1)",
            "changes its argument `logits` in place",
        ),
    ],
    "21.3": [
        (
            """
        def f(logits, labels, class_weights, smoothing):
            z = logits.clone().requires_grad_()
            loss = torch.nn.functional.cross_entropy
            loss(z, labels, class_weights, label_smoothing=smoothing).backward()
            return z.grad
        """,
            "autograd is called",
        ),
        (SMOOTHED.format(Q, T, f"{OWN} * (p - q) / {SUM}"), "the two formulas are put together"),
        (
            SMOOTHED.replace(".double()", "").format(Q, T, f"{OWN} * (p - q) / {SUM}"),
            "the two formulas are put together",
        ),
        (SMOOTHED.format(Q, T, f"{OWN} * (p - q) / n"), "the two formulas are put together"),
        (
            SMOOTHED.format(Q, T, f"(p - t) / {SUM}"),
            "this is p minus the weighted targets. They no longer sum to 1",
        ),
        (
            SMOOTHED.replace(".double()", "").format(Q, T, f"(p - t) / {SUM}"),
            "this is p minus the weighted targets",
        ),
        (SMOOTHED.format(Q, T, f"(p * {OWN} - t) / {SUM}"), "p comes with the label's weight"),
        (
            SMOOTHED.format(Q, T, f"(p * t.sum(0) - t) / {SUM}"),
            "the sum of the targets runs over the",
        ),
        (SMOOTHED.format(Q, T, f"(p * t.sum(-1) - t) / {SUM}"), "keepdim=True keeps it"),
        (
            SMOOTHED.format(Q, T, f"w * (p - q) / {SUM}"),
            "the weights multiply the finished gradient",
        ),
        (SMOOTHED.format(Q, T, f"({ROWS}) / n"), "the divisor is wrong. A weighted mean is"),
        (SMOOTHED.format(Q, T, f"({ROWS}) / w.sum()"), "the divisor is wrong. A weighted mean is"),
        (SMOOTHED.format(Q, T, f"({ROWS}) / t.sum()"), "the divisor is wrong. A weighted mean is"),
        (SMOOTHED.format(Q, T, f"({ROWS}) / {OWN} / n"), "each row is divided by its own weight"),
        (SMOOTHED.format(Q, T, ROWS), "the divisor is wrong. A weighted mean is"),
        (
            SMOOTHED.format(Q, T, f"(t - p * t.sum(-1, keepdim=True)) / {SUM}"),
            "the sign is turned round",
        ),
        (SMOOTHED.format("y", T, f"({ROWS}) / {SUM}"), "one of the two is forgotten"),
        (
            "def f(logits, labels, class_weights, smoothing):\n z = logits.requires_grad_()\n"
            " return torch.autograd.grad(torch.nn.functional.cross_entropy(z, labels,"
            " class_weights), z)[0]",
            "autograd is called",
        ),
        (SMOOTHED.format(Q, "q", f"({ROWS}) / n"), "one of the two is forgotten"),
        (
            SMOOTHED.format(Q, "(1 - eps) * w * y + eps / C", f"({ROWS}) / {SUM}"),
            "the smoothing comes after the weights",
        ),
        (SMOOTHED.format(Q, T, f"2 * ({ROWS}) / {SUM}"), "entry [0, 0] is 1.289, expected 0.6445."),
        (
            SMOOTHED.format("torch.where(y == 1, 1 - eps, eps / (C - 1))", T, f"({ROWS}) / {SUM}"),
            "the smoothed labels are wrong. All C classes",
        ),
        (
            SMOOTHED.format("(1 - eps) * y + eps * (1 - y) / (C - 1)", T, f"({ROWS}) / {SUM}"),
            "the smoothed labels are wrong. All C classes",
        ),
        (
            SMOOTHED.format("(1 - eps) * y + eps / C * (1 - y)", T, f"({ROWS}) / {SUM}"),
            "the smoothed labels are wrong. All C classes",
        ),
        (
            SMOOTHED.format(Q, T, "(p - q).mean(0)"),
            "returned shape (2,), expected (1, 2): one row per sample",
        ),
        (
            "def f(logits, labels, class_weights, smoothing): class_weights /="
            " class_weights.sum(); return logits",
            "changes its argument `class_weights` in place",
        ),
    ],
}
