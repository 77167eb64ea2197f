"""Answers to the exercises of page 23, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

GATE = """
def f(d_out, text, image, gate, weight):
    H = text.shape[1]
    d_score = {}
    glued = d_score @ {}
    d_text = {} + glued[:, :H]
    d_image = {} + glued[:, H:]
    return d_text, d_image, {}, {}
"""
SCORE, WEIGHT, DIRECT = "d_out * (text - image) * gate * (1 - gate)", "weight", "d_out * gate"
OTHER, D_WEIGHT = "d_out * (1 - gate)", "d_score.T @ torch.cat([text, image], 1)"
D_BIAS = "d_score.sum(0)"

EXPERTS = """
def f(logits, log_prior, there, labels):
    B, M, C = logits.shape
    log_p = torch.log_softmax(logits, -1)
    e = torch.where(there.unsqueeze(-1), {}, torch.zeros_like(log_p))
    p = torch.softmax({} + e.sum(1), -1)
    r = (p - torch.nn.functional.one_hot(labels, C)) / {}
    d = {}
    d = torch.where(there.unsqueeze(-1), d, torch.zeros_like(logits))
    return d, {}
"""
EVIDENCE, PRIOR, B = "log_p - log_prior", "log_prior", "B"
EACH, D_PRIOR = "r[:, None].expand(B, M, C)", "((1 - there.sum(1))[:, None] * r).sum(0)"

RIGHT = {
    "23.1": [
        GATE.format(SCORE, WEIGHT, DIRECT, OTHER, D_WEIGHT, D_BIAS),
        """
        def f(d_out, text, image, gate, weight):
            d_text, d_image = torch.zeros_like(text), torch.zeros_like(image)
            d_weight, d_bias = torch.zeros_like(weight), torch.zeros_like(text[0])
            B, H = text.shape
            for n in range(B):
                for h in range(H):
                    z = gate[n, h]
                    s = d_out[n, h] * (text[n, h] - image[n, h]) * z * (1 - z)
                    d_text[n, h] += z * d_out[n, h]
                    d_image[n, h] += (1 - z) * d_out[n, h]
                    d_text[n] += s * weight[h, :H]
                    d_image[n] += s * weight[h, H:]
                    d_weight[h] += s * torch.cat([text[n], image[n]])
                    d_bias[h] += s
            return d_text, d_image, d_weight, d_bias
        """,
        """
        def f(d_out, text, image, gate, weight):
            # weights that compete: z (t - out) for the text's score
            out = gate * text + (1 - gate) * image
            s = gate * (text - out) * d_out
            a, b = (s @ weight).split(text.shape[1], dim=-1)
            d_weight = torch.einsum("bh,bk->hk", s, torch.hstack([text, image]))
            d_bias = torch.ones(len(s)).to(s) @ s
            return gate * d_out + a, d_out - gate * d_out + b, d_weight, d_bias
        """,
    ],
    "23.2": [
        EXPERTS.format(EVIDENCE, PRIOR, B, EACH, D_PRIOR),
        EXPERTS.format(
            EVIDENCE, PRIOR, B, "r[:, None] - log_p.exp() * r.sum(-1)[:, None, None]", D_PRIOR
        ),
        """
        def f(logits, log_prior, there, labels):
            d_logits, d_prior = torch.zeros_like(logits), torch.zeros_like(log_prior)
            for n in range(len(labels)):
                kept = [m for m in range(logits.shape[1]) if there[n, m]]
                total = log_prior.clone()
                for m in kept:
                    total += logits[n, m].log_softmax(0) - log_prior
                r = total.softmax(0)
                r[labels[n]] -= 1
                r /= len(labels)
                for m in kept:
                    d_logits[n, m] = r
                d_prior += r - len(kept) * r
            return d_logits, d_prior
        """,
        """
        def f(logits, log_prior, there, labels):
            # a constant in an expert's logits changes nothing: the logits themselves will do
            kept = there[..., None].to(logits.dtype)
            z = logits.nan_to_num(0) * kept
            p = (z.sum(1) + (1 - kept.sum(1)) * log_prior).softmax(1)
            r = (p - torch.eye(p.shape[1]).to(p)[labels]) / p.shape[0]
            return kept * r[:, None], ((1 - kept.sum(1)) * r).sum(0)
        """,
    ],
}

WRONG = {
    "23.1": [
        (GATE.format(SCORE, "(0 * weight)", DIRECT, OTHER, D_WEIGHT, D_BIAS), "path through the"),
        (
            """
            def f(d_out, text, image, gate, weight):
                d_gate = d_out * (text - image)
                d_weight = d_gate.T @ torch.cat([text, image], 1)
                a, b = (d_gate @ weight).chunk(2, -1)
                return gate * d_out + a, (1 - gate) * d_out + b, d_weight, d_gate.sum(0)
            """,
            "the gate's own slope",
        ),
        (
            GATE.format(
                "d_out * text * gate * (1 - gate)", WEIGHT, DIRECT, OTHER, D_WEIGHT, D_BIAS
            ),
            "what the gate gets is not",
        ),
        (GATE.format(SCORE, WEIGHT, DIRECT, DIRECT, D_WEIGHT, D_BIAS), "given the same directly"),
        (GATE.format(SCORE, WEIGHT, OTHER, DIRECT, D_WEIGHT, D_BIAS), "have changed places"),
        (GATE.format(SCORE, WEIGHT, "0", "0", D_WEIGHT, D_BIAS), "the direct path is forgotten"),
        (GATE.format(SCORE, WEIGHT, DIRECT, OTHER, f"({D_WEIGHT}).T", D_BIAS), "d_weight is tran"),
        (GATE.format(SCORE, WEIGHT, DIRECT, OTHER, D_WEIGHT, "d_out.sum(0)"), "d_bias is not"),
        (
            GATE.format(SCORE, WEIGHT, DIRECT, OTHER, D_WEIGHT, "d_score.sum(0, keepdim=True)"),
            "d_bias is not",
        ),
        (
            GATE.format(SCORE, WEIGHT, DIRECT, OTHER, D_WEIGHT + " / len(text)", "d_score.mean(0)"),
            "divided by B once more",
        ),
        (
            """
            def f(d_out, text, image, gate, weight):
                t, v = text.clone().requires_grad_(), image.clone().requires_grad_()
                (gate * t + (1 - gate) * v).backward(d_out)
                s = d_out * (text - image) * gate * (1 - gate)
                a, b = (s @ weight).chunk(2, 1)
                return t.grad + a, v.grad + b, s.T @ torch.hstack([text, image]), s.sum(0)
            """,
            "autograd is called",
        ),
    ],
    "23.2": [
        (
            EXPERTS.format(
                EVIDENCE,
                PRIOR,
                B,
                "(log_p.exp() - torch.nn.functional.one_hot(labels, C)[:, None]) / B",
                D_PRIOR,
            ),
            "the residual of its own softmax",
        ),
        (EXPERTS.format("log_p", "0 * log_prior", B, EACH, D_PRIOR), "the product's p is not"),
        (EXPERTS.format("log_p + log_prior", "0", B, EACH, D_PRIOR), "the product's p is not"),
        (EXPERTS.format(EVIDENCE, PRIOR, B, EACH, "r.sum(0)"), "prior's gradient is counted"),
        (EXPERTS.format(EVIDENCE, PRIOR, B, EACH, "(1 - M) * r.sum(0)"), "prior's gradient is"),
        (EXPERTS.format(EVIDENCE, PRIOR, "1", EACH, D_PRIOR), "is not divided by B"),
        (
            EXPERTS.format(EVIDENCE, PRIOR, B, EACH, "(1 - there.sum(1))[:, None] * r"),
            "still has a row per sample",
        ),
        (EXPERTS.format(EVIDENCE, PRIOR, B, "-" + EACH, "-" + D_PRIOR), "the sign is turned"),
        (
            EXPERTS.format(
                EVIDENCE, PRIOR, B, EACH + " / there.sum(1).clamp(min=1)[:, None, None]", D_PRIOR
            ),
            "divided among the experts",
        ),
        (
            EXPERTS.format(EVIDENCE, PRIOR, B, EACH, D_PRIOR).replace(
                "torch.where(there.unsqueeze(-1), d, torch.zeros_like(logits))",
                "torch.where(there.unsqueeze(-1), d, d)",
            ),
            "are not there get a gradient",
        ),
    ],
}
