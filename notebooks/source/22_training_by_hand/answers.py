"""Answers to the exercises of page 22, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

LAYER = """
def f(d_out, parts, weight):
    glued = torch.cat(list(parts.values()), 1)
    d_glued = {}
    d_parts, at = {{}}, 0
    for name, part in parts.items():
        d_parts[name] = d_glued[:, at:at + part.shape[1]]
        at += part.shape[1]
    return {}, {}, {}
"""
BACK, WEIGHT, BIAS = "d_out @ weight", "d_out.T @ glued", "d_out.sum(0)"

TABLE = """
def f(d_mean, ids, mask, rows):
    table = torch.zeros(rows, d_mean.shape[1], dtype=d_mean.dtype)
    for n in range(len(ids)):
        for t in range(ids.shape[1]):
            if {}:
                table[ids[n, t]] {} d_mean[n] / {}
    return table
"""

LOSSES = """
def f(dims, weights, kept, labels, alpha, beta):
    p, q, known, before = kept["p"].clone(), kept["q"], labels["known"], kept["before"]
    N = len(p)
    p[torch.arange(N), labels["digit"]] -= 1
    e = {}
    h = {}
    glued = {} @ weights["hidden"]
    return dict(zip(dims, {}))
"""
EVEN = 'torch.where(known, q - labels["even"], torch.zeros_like(q)) / max(known.sum().item(), 1)'
MEET = 'alpha / N * p @ weights["digit"] + beta * torch.outer(e, weights["even"])'
GATE, CUT = "torch.where(before > 0, h, 0.0)", "glued.split(tuple(dims.values()), -1)"

RIGHT = {
    "22.1": [
        LAYER.format(BACK, WEIGHT, BIAS, "d_parts"),
        LAYER.format(
            BACK, "torch.stack([(d[:, None] * glued).sum(0) for d in d_out.T])", BIAS, "d_parts"
        ),
        """
        def f(d_out, parts, weight):
            d_weight, d_bias = torch.zeros_like(weight), torch.zeros(len(weight)).to(weight)
            rows = []
            for d, h in zip(d_out, torch.cat(tuple(parts.values()), -1)):
                d_weight += torch.outer(d, h)
                d_bias += d
                rows.append(weight.T @ d)
            widths = [part.shape[-1] for part in parts.values()]
            pieces = torch.split(torch.stack(rows), widths, -1)
            return d_weight, d_bias, {name: one for name, one in zip(parts, pieces)}
        """,
    ],
    "22.2": [
        TABLE.format("mask[n, t]", "+=", "mask[n].sum()"),
        """
        def f(d_mean, ids, mask, rows):
            share = mask / mask.sum(1, keepdim=True).clamp(min=1)
            one_hot = torch.nn.functional.one_hot(ids, rows).to(d_mean.dtype)
            return torch.einsum("btv,bt,bd->vd", one_hot, share.to(d_mean.dtype), d_mean)
        """,
        """
        def f(d_mean, ids, mask, rows):
            n, t = mask.nonzero(as_tuple=True)
            table = torch.zeros(rows, d_mean.shape[1], dtype=d_mean.dtype)
            table.index_put_((ids[n, t],), (d_mean / mask.sum(1)[:, None])[n], accumulate=True)
            return table
        """,
    ],
    "22.3": [
        LOSSES.format(EVEN, MEET, GATE, CUT),
        LOSSES.format(EVEN, MEET, "h * (before > 0).double()", CUT),
        """
        def f(dims, weights, kept, labels, alpha, beta):
            even = labels["even"].nan_to_num(0)
            known = labels["known"].double()
            residual = (kept["q"] - even) * known / known.sum().clamp(min=1)
            y = torch.nn.functional.one_hot(labels["digit"], kept["p"].shape[1])
            d = torch.cat([alpha * (kept["p"] - y) / len(y), beta * residual[:, None]], 1)
            heads = torch.cat([weights["digit"], weights["even"][None]])
            d_glued = (d @ heads * (kept["before"] > 0)) @ weights["hidden"]
            out, at = {}, 0
            for name in dims:
                out[name] = d_glued[:, at:at + dims[name]]
                at += dims[name]
            return out
        """,
        LOSSES.replace(
            "    N = len(p)",
            '    p = (before.relu() @ weights["digit"].T).softmax(1)\n    N = len(p)',
        ).format(EVEN, MEET, GATE, CUT),
    ],
}

WRONG = {
    "22.1": [
        (LAYER.format(BACK, "glued.T @ d_out", BIAS, "d_parts"), "d_weight is transposed"),
        (LAYER.format(BACK, WEIGHT, "d_out", "d_parts"), "d_bias still has a row per sample"),
        (LAYER.format(BACK, WEIGHT, "d_out.sum(-1)", "d_parts"), "d_bias is summed along the"),
        (LAYER.format(BACK, WEIGHT, "d_out.mean(0)", "d_parts"), "divided by B once more"),
        (LAYER.format(BACK, WEIGHT + " / len(d_out)", BIAS, "d_parts"), "divided by B once more"),
        (LAYER.format("-d_out @ weight", WEIGHT, BIAS, "d_parts"), "a minus has come in"),
        (LAYER.format("d_out @ weight.T", WEIGHT, BIAS, "d_parts"), "in d_parts the weight is"),
        (
            LAYER.format(BACK, WEIGHT, BIAS, "dict(zip(parts, d_glued.chunk(len(parts), 1)))"),
            "into equal pieces",
        ),
        (LAYER.format(BACK, WEIGHT, BIAS, "tuple(d_parts.values())"), "d_parts go by place"),
        (
            LAYER.format(BACK, WEIGHT, BIAS, "{name: d_glued for name in parts}"),
            "each part gets the gradient of everything",
        ),
        (
            LAYER.format(
                BACK, WEIGHT, BIAS, "{k: d_glued[:, :v.shape[1]] for k, v in parts.items()}"
            ),
            "each part takes the first ones",
        ),
    ],
    "22.2": [
        (TABLE.format("mask[n, t]", "=", "mask[n].sum()"), "keeps only one of its gradients"),
        (
            """
            def f(d_mean, ids, mask, rows):
                share = d_mean / mask.sum(1, keepdim=True).clamp(min=1)
                table = torch.zeros(rows, d_mean.shape[1], dtype=d_mean.dtype)
                table[ids] += torch.where(mask[..., None], share[:, None], 0)
                return table
            """,
            "keeps only one of its gradients",
        ),
        (TABLE.format("mask[n, t]", "+=", "ids.shape[1]"), "divided by T"),
        (TABLE.format("mask[n, t]", "+=", "mask.sum()"), "number of letters in the whole batch"),
        (TABLE.format("mask[n, t]", "+=", "1"), "the mean is not divided"),
        (TABLE.format("True", "+=", "mask[n].sum().clamp(min=1)"), "padding sends a share too"),
        (TABLE.format("ids[n, t] > 0", "+=", "(ids[n] > 0).sum()"), "id 0 is taken for padding"),
        (TABLE.format("mask[n, t]", "-=", "mask[n].sum()"), "a minus has come in"),
        (
            """
            def f(d_mean, ids, mask, rows):
                share = mask / mask.sum(1, keepdim=True)
                d_x = (share[..., None] * d_mean[:, None]).flatten(0, 1)
                table = torch.zeros(rows, d_mean.shape[1], dtype=d_mean.dtype)
                return table.index_add(0, ids.flatten(), d_x)
            """,
            "divides by 0",
        ),
    ],
    "22.3": [
        (
            """
            def f(dims, weights, kept, labels, alpha, beta):
                before = kept["before"].clone().requires_grad_()
                h, known = before.relu(), labels["known"].nonzero()[:, 0]
                loss = alpha * torch.nn.functional.cross_entropy(
                    h @ weights["digit"].T, labels["digit"]
                )
                if len(known):
                    loss = loss + beta * torch.nn.functional.binary_cross_entropy_with_logits(
                        (h @ weights["even"])[known], labels["even"][known]
                    )
                d_before, = torch.autograd.grad(loss, before)
                pieces = (d_before @ weights["hidden"]).split(list(dims.values()), dim=1)
                return dict(zip(dims, pieces))
            """,
            "autograd is called",
        ),
        (LOSSES.format(EVEN, MEET, "h.relu()", CUT), "the ReLU's gate is missing, or asks"),
        (LOSSES.format(EVEN, MEET, "h", CUT), "the ReLU's gate is missing, or asks"),
        (LOSSES.format(EVEN, MEET, GATE, "glued.chunk(len(dims), 1)"), "are not cut at"),
        (LOSSES.format("-" + EVEN, MEET, GATE, CUT), "a sign is turned round"),
        (
            LOSSES.format(EVEN.split(" / ")[0] + " / N", MEET, GATE, CUT),
            "a mean over the known answers",
        ),
        (
            LOSSES.format(EVEN.split(" / ")[0] + " / known.sum()", MEET, GATE, CUT),
            "divides 0 by 0",
        ),
        (
            LOSSES.format(
                '(q - labels["even"]) * known / known.sum().clamp(min=1)', MEET, GATE, CUT
            ),
            "0 * NaN is NaN",
        ),
        (LOSSES.format(EVEN, MEET.replace(" / N", ""), GATE, CUT), "is not divided by B"),
        (LOSSES.format(EVEN, MEET.split(" + ")[0], GATE, CUT), "only one of the two losses"),
    ],
}
