"""Answers to the exercises of page 21, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

P, Y, N = (
    "torch.softmax(logits, -1)",
    "torch.nn.functional.one_hot(labels, logits.shape[-1])",
    "len(logits)",
)
LOGITS = "def f(logits, labels):\n p, y, n = " + f"{P}, {Y}, {N}" + "\n return {}"
# weight, bias, features
HEAD = (
    "def f(d_logits, features, weight):\n g, x, w = d_logits, features, weight\n return {}, {}, {}"
)
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
            z = logits.clone().requires_grad_()
            torch.nn.functional.cross_entropy(z, labels).backward()
            return z.grad
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
        def f(d_logits, features, weight):
            return d_logits.T @ features, d_logits.sum(0), d_logits @ weight
        """,
        """
        def f(d_logits, features, weight):
            d_weight = torch.einsum("nc,nd->cd", d_logits, features)
            d_bias = torch.ones(len(d_logits), dtype=d_logits.dtype) @ d_logits
            return [d_weight, d_bias, torch.einsum("bc,cd->bd", d_logits, weight)]
        """,
        """
        def f(d_logits, features, weight):
            x, w = features.clone().requires_grad_(), weight.clone().requires_grad_()
            b = torch.zeros(len(w), dtype=w.dtype, requires_grad=True)
            return torch.autograd.grad(x @ w.T + b, (w, b, x), d_logits)
        """,
        HEAD.format("(g.T @ x).float()", "g.sum(0).float()", "(g @ w).float()"),
        (
            "def f(d_logits, features, weight):\n g, x, w = d_logits.float(), features.float(),"
            " weight.float()\n return g.T @ x, g.sum(0), g @ w"
        ),
    ],
    "21.3": [
        """
        def f(logits, labels, mask):
            target = torch.nn.functional.one_hot(labels, logits.shape[-1])
            difference = torch.softmax(logits, -1) - target
            return torch.where(mask[..., None], difference, 0) / mask.sum()
        """,
        """
        def f(logits, labels, mask):
            z = logits.masked_fill(~mask[..., None], 0).requires_grad_()
            torch.nn.functional.cross_entropy(z[mask], labels[mask]).backward()
            return z.grad
        """,
        """
        def f(logits, labels, mask):
            z = logits.nan_to_num()
            loss = torch.nn.functional.cross_entropy
            labels = labels.masked_fill(~mask, -100)
            def of(z):
                return loss(z.flatten(0, 1), labels.flatten(), ignore_index=-100)
            return torch.func.grad(of)(z)
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
    "21.4": [
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
            z = logits.clone().requires_grad_()
            loss = torch.nn.functional.cross_entropy
            loss(z, labels, class_weights, label_smoothing=smoothing).backward()
            return z.grad
        """,
        """
        def f(logits, labels, class_weights, smoothing):
            p, w = torch.softmax(logits, 1), class_weights
            result = torch.empty_like(logits)
            for n, y in enumerate(labels.tolist()):
                t = w * smoothing / len(w)
                t[y] += (1 - smoothing) * w[y]
                result[n] = t @ (p[n].expand(len(w), -1) - torch.eye(len(w)).double())
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
        SMOOTHED.format(
            "torch.where(y == 1, 1 - eps + eps / C, eps / C)", T, f"({ROWS}) / {SUM}"
        ),
        SMOOTHED.replace(".double()", "").format(Q, T, f"({ROWS}) / {SUM}"),
    ],
}
WRONG = {
    "21.1": [
        (
            LOGITS.format("(y - p) / n"),
            "the sign is turned round: a step against this gradient would climb",
        ),
        (LOGITS.format("y - p"), "the sign is turned round"),
        (LOGITS.format("p - y"), "this is the gradient of the sum over the rows"),
        (LOGITS.format("(p - y) / p.numel()"), "divided by all N * C entries"),
        (LOGITS.format("torch.where(y == 1, p - 1, 0) / n"), "only the label's entry is filled"),
        (LOGITS.format("p * (1 - p) * (-y / p) / n"), "only the label's entry is filled"),
        (LOGITS.format("-y.double() / n"), "half of softmax's derivative is missing"),
        (
            LOGITS.format("-(p + y) / n"),
            "the second part of softmax's derivative has the wrong sign",
        ),
        (
            LOGITS.format("torch.where(y == 1, p - 1, -p) / n"),
            "the second part of softmax's derivative has the wrong sign",
        ),
        (LOGITS.format("-y / p / n"), "this is the gradient with respect to the probabilities"),
        (LOGITS.format("-y / p"), "this is the gradient with respect to the probabilities"),
        (
            (
                "def f(logits, labels):\n p = torch.softmax(logits, 1)\n g, i ="
                " torch.zeros_like(p), torch.arange(len(p))\n g[i, labels] = -1 / p[i, labels] /"
                " len(p)\n return g"
            ),
            "this is the gradient with respect to the probabilities",
        ),
        (
            (
                "def f(logits, labels):\n p = torch.softmax(logits, 1)\n g, i ="
                " torch.zeros_like(p), torch.arange(len(p))\n g[i, labels] = -1 / p[i, labels] /"
                " len(p)\n J = torch.diag_embed(p) - p[:, :, None] * p[:, None]\n return"
                " torch.einsum('nc,ncd->nd', g, J)"
            ),
            "the links of the chain are multiplied as numbers",
        ),
        (
            (
                "def f(logits, labels):\n z = logits.requires_grad_()\n loss = -torch.softmax(z,"
                " 1)[torch.arange(len(z)), labels].log().mean()\n return torch.autograd.grad(loss,"
                " z)[0]"
            ),
            "the links of the chain are multiplied as numbers",
        ),
        (
            (
                "def f(logits, labels):\n z = logits.requires_grad_()\n loss = -torch.softmax(z,"
                " 1)[torch.arange(len(z)), labels].mean()\n return torch.autograd.grad(loss, z)[0]"
            ),
            "the logarithm is forgotten",
        ),
        (LOGITS.format("(logits - y) / n"), "the logits are taken for probabilities"),
        (LOGITS.format("(logits.log_softmax(-1) - y) / n"), "the log-probabilities stand"),
        (
            LOGITS.format("(torch.sigmoid(logits) - y) / n"),
            "sigmoid stands in the place of softmax",
        ),
        (LOGITS.format("(torch.softmax(p, -1) - y) / n"), "softmax is applied twice"),
        (LOGITS.format("(torch.softmax(logits, 0) - y) / n"), "softmax runs over the rows (dim 0)"),
        (
            LOGITS.format("(torch.exp(logits) / torch.exp(logits).sum(1)[:, None] - y) / n"),
            "exp(1e4) is infinite",
        ),
        (
            (
                "def f(logits, labels):\n e = torch.exp(logits - logits.max())\n p = e / e.sum(1,"
                " keepdim=True)\n p[torch.arange(len(p)), labels] -= 1\n return p / len(p)"
            ),
            "the largest logit of the whole batch",
        ),
        (LOGITS.format("p / n"), "these are the probabilities alone"),
        (LOGITS.format("p"), "these are the probabilities alone"),
        (
            (
                "def f(logits, labels):\n p = torch.softmax(logits, 1)\n p[:, labels] -= 1\n return"
                " p / len(p)"
            ),
            "p[:, labels] takes whole columns",
        ),
        (
            LOGITS.format("(p[torch.arange(n), labels] - 1) / n"),
            "only the label's entry of each row is returned",
        ),
        (
            LOGITS.format("(p - torch.nn.functional.one_hot(labels)) / n"),
            "F.one_hot makes as many columns as",
        ),
        (
            LOGITS.format("torch.nn.functional.cross_entropy(logits, labels)"),
            "this is the loss itself",
        ),
        (
            LOGITS.format("(p - y).mean(0)"),
            "returned shape (3,), expected (1, 3): one row per sample, one number per class.",
        ),
        (LOGITS.format("(p - y).sum(1)"), "returned shape (1,), expected (1, 3)"),
        (LOGITS.format("2 * (p - y) / n"), "entry [0, 0] is 1.0, expected 0.5."),
        (
            (
                "def f(logits, labels): logits -= logits.amax(1, keepdim=True); return"
                " logits.softmax(1)"
            ),
            "changes its argument `logits` in place",
        ),
    ],
    "21.2": [
        (HEAD.format("x.T @ g", "g.sum(0)", "g @ w"), "d_weight is transposed"),
        (
            HEAD.format("g @ x", "g.sum(0)", "g @ w"),
            "in d_weight the matrix product does not run over the samples",
        ),
        (
            HEAD.format("torch.einsum('nc,nd->ncd', g, x)", "g.sum(0)", "g @ w"),
            "d_weight still has one matrix per sample",
        ),
        (
            HEAD.format("g.sum(0)[:, None] * x.sum(0)", "g.sum(0)", "g @ w"),
            "in d_weight the batch is summed up before",
        ),
        (
            HEAD.format("g.mean(0)[:, None] * x.mean(0)", "g.sum(0)", "g @ w"),
            "in d_weight the batch is summed up before",
        ),
        (
            HEAD.format("g.T @ x / len(x)", "g.sum(0)", "g @ w"),
            "d_weight is averaged over the batch",
        ),
        (HEAD.format("g.T @ x", "g.sum(0)", "g @ w.T"), "in d_features the weight is transposed"),
        (HEAD.format("g.T @ x", "g.sum(0)", "(w.T @ g.T)"), "d_features is transposed"),
        (
            HEAD.format("g.T @ x", "g.sum(0)", "g.sum(1, keepdim=True) * w.sum(0)"),
            "in d_features the classes are summed up",
        ),
        (
            HEAD.format("g.T @ x", "g.sum(0)", "(g.sum(0) @ w).repeat(len(x), 1)"),
            "d_features is the same for all samples",
        ),
        (HEAD.format("g.T @ x", "g", "g @ w"), "d_bias still has a row per sample"),
        (HEAD.format("g.T @ x", "g.sum(-1)", "g @ w"), "d_bias is summed over the classes"),
        (HEAD.format("g.T @ x", "g.mean(0)", "g @ w"), "d_bias is averaged over the batch"),
        (HEAD.format("g.T @ x / len(g)", "g.mean(0)", "g @ w"), "divided by N once more"),
        (HEAD.format("g.T @ x / len(g)", "g.mean(0)", "g @ w / len(g)"), "divided by N once more"),
        (HEAD.format("-g.T @ x", "-g.sum(0)", "-g @ w"), "all three have the sign turned round"),
        (HEAD.format("-(g.T @ x)", "g.sum(0)", "g @ w"), "d_weight has the sign turned round"),
        (HEAD.format("g.T @ x", "-g.sum(0)", "g @ w"), "d_bias has the sign turned round"),
        (HEAD.format("g.T @ x", "g.sum(0)", "-(g @ w)"), "d_features has the sign turned round"),
        (HEAD.format("g @ w", "g.T @ x", "g.sum(0)"), "the three came in another order"),
        (HEAD.format("g @ w", "g.sum(0)", "g.T @ x"), "the three came in another order"),
        (
            HEAD.format("x", "torch.ones(len(w))", "w"),
            "these are the derivatives of the logits alone",
        ),
        (
            "def f(d_logits, features, weight): return d_logits.T @ features, d_logits.sum(0)",
            (
                "returned a tuple of 2 items, expected a tuple of 3 items: d_weight (C, D), d_bias"
                " (C,) and d_features (N, D)."
            ),
        ),
        (
            HEAD.format("g.T @ x", "g.sum(0, keepdim=True)", "g @ w"),
            "entry [1] came as shape (1, 2), expected (2,)",
        ),
        (HEAD.format("g.T @ x", "g.sum()", "g @ w"), "entry [1] came as shape (), expected (2,)"),
    ],
    "21.3": [
        (
            PADDED.format("(p - y) * m / mask.sum()"),
            "0 * NaN is NaN, in your code and in autograd's",
        ),
        (
            (
                "def f(logits, labels, mask):\n z = logits.requires_grad_()\n loss ="
                " torch.nn.functional.cross_entropy(\n  z.flatten(0, 1), labels.masked_fill(~mask,"
                " -100).flatten())\n return torch.autograd.grad(loss, z)[0]"
            ),
            "0 * NaN is NaN, in your code and in autograd's",
        ),
        (PADDED.format("torch.where(m, p - y, 0) / mask.numel()"), "divided by all B * T places"),
        (PADDED.format("(p - y) * m / mask.numel()"), "divided by all B * T places"),
        (PADDED.format("torch.where(m, p - y, 0) / len(mask)"), "divided by the number of texts B"),
        (
            PADDED.format("(p - y).masked_fill(~m, 0)"),
            "this is the gradient of the sum over the tokens",
        ),
        (
            PADDED.format(
                "torch.where(m, p - y, 0) / m.sum(1, keepdim=True).clamp(min=1) / len(mask)"
            ),
            "each row is divided by its own number of tokens, so a token",
        ),
        (
            PADDED.format(
                "torch.where(m, p - y, 0) / m.sum(1, keepdim=True).clamp(min=1) / mask.any(1).sum()"
            ),
            "each row is divided by its own number of tokens, so a token",
        ),
        (
            PADDED.format("torch.where(m, p - y, 0) / m.sum(1, keepdim=True) / len(mask)"),
            "and a row without any gives 0 / 0",
        ),
        (PADDED.format("(p - y) / mask.sum()"), "the mask is used only to count"),
        (PADDED.format("(p - y) / mask.numel()"), "the mask is not used"),
        (PADDED.format("p - y"), "the mask is not used"),
        (
            PADDED.format("torch.nan_to_num(p - y) / mask.sum()"),
            "NaN is replaced, but padding may hold any number",
        ),
        (PADDED.format("(p - y).masked_fill(m, 0) / mask.sum()"), "the mask is turned round"),
        (PADDED.format("torch.where(m, 0, p - y) / (~mask).sum()"), "the mask is turned round"),
        (
            (
                "def f(logits, labels, mask):\n z, result = logits, torch.zeros_like(logits)\n for"
                " b, n in enumerate(mask.sum(1)):\n  for t in range(n):\n   result[b, t] = z[b,"
                " t].softmax(0)\n   result[b, t, labels[b, t]] -= 1\n return result / mask.sum()"
            ),
            "the mask is read as a length",
        ),
        (
            PADDED.format("(p - y)[mask] / mask.sum()"),
            "only the rows of the real tokens are returned",
        ),
        (
            (
                "def f(logits, labels, mask):\n z = logits.nan_to_num().requires_grad_()\n loss ="
                " torch.nn.functional.cross_entropy(\n  z.flatten(0, 1), labels.flatten(),"
                " ignore_index=0)\n return torch.autograd.grad(loss, z)[0]"
            ),
            "label 0 is taken for padding",
        ),
        (PADDED.format("torch.where(m, y - p, 0) / mask.sum()"), "the sign is turned round"),
        (
            PADDED.format("torch.where(m & (y == 1), p - 1, 0) / mask.sum()"),
            "only the label's entry is filled",
        ),
        (
            PADDED.format("torch.where(m, torch.softmax(logits, 1) - y, 0) / mask.sum()"),
            "softmax runs over the wrong axis",
        ),
        (
            PADDED.format(
                "torch.where(m, logits.masked_fill(~m, -math.inf).softmax(1) - y, 0) / mask.sum()"
            ),
            "softmax runs over the wrong axis",
        ),
        (
            PADDED.format("(logits.masked_fill(~m, 0).softmax(-1) - y) / mask.sum()"),
            "the logits under padding are set to 0 before",
        ),
        (
            PADDED.format("((logits * m).softmax(-1) - y) / mask.sum()"),
            "the logits are multiplied by the mask before softmax",
        ),
        (
            PADDED.format("(logits.masked_fill(~m, -math.inf).softmax(-1) - y) / mask.sum()"),
            "minus infinity for every class",
        ),
        (
            PADDED.format("(torch.where(m, p, 0) - y) / mask.sum()"),
            "only the probabilities are masked",
        ),
        (PADDED.format("(p - y * m) / mask.sum()"), "only the labels are masked"),
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
    "21.4": [
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
            SMOOTHED.format(Q, T, f"(p * class_weights.sum() - t) / {SUM}"),
            "p comes with the sum of the class weights",
        ),
        (
            SMOOTHED.format(Q, T, f"(p * t.sum(1, keepdim=True) - t) / {OWN}"),
            "each row is divided by its own weight",
        ),
        (
            SMOOTHED.format(Q, T, f"(p * t.sum(0) - t) / {SUM}"),
            "p comes with a sum over the samples",
        ),
        (
            SMOOTHED.format(Q, T, f"(p * t.sum() - t) / {SUM}"),
            "p comes with a sum over the samples",
        ),
        (SMOOTHED.format(Q, T, f"(p * t.sum(-1) - t) / {SUM}"), "keepdim=True keeps it"),
        (
            SMOOTHED.format(Q, T, f"w * (p - q) / {SUM}"),
            "the weights multiply the finished gradient",
        ),
        (
            SMOOTHED.format(Q, T, "(torch.softmax(logits + w.log(), -1) - q) / n"),
            "the weights change the probabilities",
        ),
        (SMOOTHED.format(Q, T, f"({ROWS}) / n"), "divided by the number of samples"),
        (SMOOTHED.format(Q, T, f"({ROWS}) / w.sum()"), "divided by the sum of all class weights"),
        (SMOOTHED.format(Q, T, f"({ROWS}) / t.sum()"), "divided by the sum of all targets"),
        (SMOOTHED.format(Q, T, f"({ROWS}) / {OWN} / n"), "each row is divided by its own weight"),
        (SMOOTHED.format(Q, T, ROWS), "not divided"),
        (
            SMOOTHED.format(Q, T, f"(t - p * t.sum(-1, keepdim=True)) / {SUM}"),
            "the sign is turned round",
        ),
        (SMOOTHED.format("y", T, f"({ROWS}) / {SUM}"), "the smoothing is forgotten"),
        (
            (
                "def f(logits, labels, class_weights, smoothing):\n z = logits.requires_grad_()\n"
                " return torch.autograd.grad(torch.nn.functional.cross_entropy(z, labels,"
                " class_weights), z)[0]"
            ),
            "the smoothing is forgotten",
        ),
        (SMOOTHED.format(Q, "q", f"({ROWS}) / n"), "the weights are forgotten"),
        (SMOOTHED.format(Q, T, "(p - y) / n"), "weights and smoothing are both forgotten"),
        (
            SMOOTHED.format(Q, "(1 - eps) * w * y + eps / C", f"({ROWS}) / {SUM}"),
            "the smoothing comes after the weights",
        ),
        (SMOOTHED.format(Q, T, f"2 * ({ROWS}) / {SUM}"), "entry [0, 0] is 1.289, expected 0.6445."),
        (
            SMOOTHED.format("torch.where(y == 1, 1 - eps, eps / (C - 1))", T, f"({ROWS}) / {SUM}"),
            "spread over the C - 1 other classes",
        ),
        (
            SMOOTHED.format("(1 - eps) * y + eps * (1 - y) / (C - 1)", T, f"({ROWS}) / {SUM}"),
            "spread over the C - 1 other classes",
        ),
        (
            SMOOTHED.format("(1 - eps) * y + eps / C * (1 - y)", T, f"({ROWS}) / {SUM}"),
            "the label gets no share of the smoothing",
        ),
        (SMOOTHED.format("y + eps / C", T, f"({ROWS}) / {SUM}"), "the label keeps its full 1"),
        (
            SMOOTHED.format("(1 - eps) * y + eps", T, f"({ROWS}) / {SUM}"),
            "every class gets all of eps",
        ),
        (
            SMOOTHED.format(Q, T, "(p - q).mean(0)"),
            "returned shape (2,), expected (1, 2): one row per sample",
        ),
        (
            (
                "def f(logits, labels, class_weights, smoothing): class_weights /="
                " class_weights.sum(); return logits"
            ),
            "changes its argument `class_weights` in place",
        ),
    ],
}
