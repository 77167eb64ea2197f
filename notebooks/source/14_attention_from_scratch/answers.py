"""Answers to the exercises of page 14, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

ATTEND = """
def f(query, key, value, mask):
    scores = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
    scores = scores.masked_fill(~mask.unsqueeze(1), float("-inf"))
    weights = torch.softmax(scores, dim=-1).nan_to_num()
    return weights @ value
"""

MULTI = """
def f(x, sees, W_q, W_k, W_v, W_o, heads):
    B, T, D = x.shape
    q = (x @ W_q.T).reshape(B, T, heads, D // heads).transpose(1, 2)
    k = (x @ W_k.T).reshape(B, T, heads, D // heads).transpose(1, 2)
    v = (x @ W_v.T).reshape(B, T, heads, D // heads).transpose(1, 2)
    scores = q @ k.transpose(2, 3) / math.sqrt(D // heads)
    scores = scores.masked_fill(~sees.unsqueeze(1), float("-inf"))
    weights = torch.softmax(scores, dim=-1).nan_to_num()
    out = (weights @ v).transpose(1, 2).reshape(B, T, D)
    return out @ W_o.T
"""

CAUSAL = """
def f(mask):
    B, T = mask.shape
    below = torch.tril(torch.ones(T, T, dtype=torch.bool))
    return below & mask.unsqueeze(1)
"""


def changed(code, *changes):
    """The code with some of its lines otherwise: (line, other line), each of which it has."""
    for line, other in changes:
        assert line in code, line
        code = code.replace(line, other)
    return code


RIGHT = {
    "14.1": [
        ATTEND,
        """
        def f(query, key, value, mask):
            out = torch.zeros(query.shape[0], query.shape[1], value.shape[2], dtype=query.dtype)
            for b in range(len(query)):
                kept = mask[b]
                if kept.any():
                    scores = query[b] @ key[b][kept].T / query.shape[-1] ** 0.5
                    out[b] = torch.softmax(scores, -1) @ value[b][kept]
            return out
        """,
        """
        def f(query, key, value, mask):
            out = torch.nn.functional.scaled_dot_product_attention(
                query, key, value, attn_mask=mask[:, None].expand(-1, query.shape[1], -1)
            )
            return torch.where(mask.any(1)[:, None, None], out, 0)
        """,
        """
        def f(query, key, value, mask):
            query, key, value = query.float(), key.float(), value.float()
            scores = torch.einsum("btd,bsd->bts", query, key) / math.sqrt(query.shape[-1])
            scores = torch.where(mask[:, None], scores, torch.finfo(scores.dtype).min)
            return (scores.softmax(-1) * mask[:, None]) @ value
        """,
        """
        def f(query, key, value, mask):
            rows = []
            for t in range(query.shape[1]):
                scores = (query[:, t : t + 1] * key).sum(-1) / query.size(-1) ** 0.5
                weights = scores.masked_fill(~mask, -torch.inf).softmax(1).nan_to_num()
                rows.append((weights[..., None] * value).sum(1))
            return torch.stack(rows, 1)
        """,
    ],
    "14.2": [
        MULTI,
        """
        def f(x, sees, W_q, W_k, W_v, W_o, heads):
            d, out = x.shape[-1] // heads, []
            for i in range(heads):
                part = slice(i * d, (i + 1) * d)
                q, k, v = x @ W_q[part].T, x @ W_k[part].T, x @ W_v[part].T
                scores = (q @ k.mT / d**0.5).masked_fill(~sees, -torch.inf)
                out.append(scores.softmax(-1).nan_to_num() @ v)
            return torch.cat(out, -1) @ W_o.T
        """,
        """
        def f(x, sees, W_q, W_k, W_v, W_o, heads):
            total, lowest = 0, torch.finfo(x.dtype).min
            q, k, v = x @ W_q.T, x @ W_k.T, x @ W_v.T
            parts = zip(*(one.chunk(heads, -1) for one in (q, k, v)), W_o.chunk(heads, 1))
            for q, k, v, W in parts:
                scores = torch.where(sees, q @ k.mT / q.shape[-1] ** 0.5, lowest)
                total = total + (scores.softmax(-1) * sees) @ v @ W.T
            return total
        """,
        """
        def f(x, sees, W_q, W_k, W_v, W_o, heads):
            B, T, D = x.shape
            q, k, v = (
                (x @ W.T).view(B, T, heads, -1).permute(0, 2, 1, 3).reshape(B * heads, T, -1)
                for W in (W_q, W_k, W_v)
            )
            there = sees.repeat_interleave(heads, 0)
            scores = (q @ k.mT * (D / heads) ** -0.5).masked_fill(~there, -torch.inf)
            mixed = scores.softmax(-1).nan_to_num() @ v
            return mixed.view(B, heads, T, -1).permute(0, 2, 1, 3).reshape(B, T, D) @ W_o.T
        """,
    ],
    "14.3": [
        CAUSAL,
        """
        def f(mask):
            B, T = mask.shape
            out = torch.zeros(B, T, T, dtype=torch.bool)
            for b in range(B):
                for t in range(T):
                    for s in range(t + 1):
                        out[b, t, s] = mask[b, s]
            return out
        """,
        """
        def f(mask):
            t = torch.arange(mask.shape[1])
            return (t[:, None] >= t) & mask[:, None]
        """,
        """
        def f(mask):
            return mask[:, None].repeat(1, mask.shape[1], 1).tril()
        """,
        """
        def f(mask):
            T = mask.shape[1]
            return ~torch.ones(T, T).triu(1).bool() * mask[:, None]
        """,
    ],
}

WRONG = {
    "14.1": [
        (changed(ATTEND, ("dim=-1", "dim=1")), "the weights sum to 1 over the queries"),
        (changed(ATTEND, ("dim=-1", "dim=0")), "the weights sum to 1 over the batch"),
        (
            changed(
                ATTEND,
                ('scores = scores.masked_fill(~mask.unsqueeze(1), float("-inf"))', "pass"),
                (".nan_to_num()", " * mask.unsqueeze(1)"),
            ),
            "the mask is put on the weights, after the softmax",
        ),
        (
            changed(
                ATTEND,
                ('scores = scores.masked_fill(~mask.unsqueeze(1), float("-inf"))', "pass"),
                (".nan_to_num()", " * mask.unsqueeze(1)"),
                (
                    "return weights",
                    "weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-9)\n"
                    "    return weights",
                ),
            ),
            "the masked keys take part in the softmax",
        ),
        (
            changed(
                ATTEND,
                ('scores.masked_fill(~mask.unsqueeze(1), float("-inf"))', "scores * mask[:, None]"),
            ),
            "a masked key has the score 0",
        ),
        (
            changed(ATTEND, ('float("-inf")', "-100"), (".nan_to_num()", " * mask[:, None]")),
            "a masked score is replaced by a number such as -100",
        ),
        (
            changed(ATTEND, ('float("-inf")', "-1e4"), (".nan_to_num()", " * mask[:, None]")),
            "a masked score is replaced by a number such as -100",
        ),
        (changed(ATTEND, (".nan_to_num()", "")), "a row whose keys are all masked is NaN"),
        (changed(ATTEND, ('float("-inf")', "-1e9")), "gets the mean of what is masked"),
        (changed(ATTEND, (" ** 0.5", "")), "not divided by the root of D, or by D itself"),
        (changed(ATTEND, (" / query.shape[-1] ** 0.5", "")), "not divided by the root of D"),
        (
            changed(ATTEND, ("masked_fill(~mask", "masked_fill(mask")),
            "the mask is read the other way round",
        ),
        (changed(ATTEND, ("return weights @ value", "return weights")), "these are the weights"),
        (changed(ATTEND, ("~mask.unsqueeze(1)", "~mask.unsqueeze(2)")), "returned shape"),
        (changed(ATTEND, ("key.transpose(1, 2)", "key.T")), "raised RuntimeError"),
        (
            "def f(query, key, value, mask):\n"
            " e = (query @ key.mT / query.shape[-1] ** 0.5).exp() * mask[:, None]\n"
            " return e / e.sum(-1, keepdim=True).clamp(min=1e-9) @ value",
            "expected",
        ),
    ],
    "14.2": [
        (
            changed(
                MULTI,
                (
                    ".reshape(B, T, heads, D // heads).transpose(1, 2)",
                    ".reshape(B, heads, T, D // heads)",
                ),
            ),
            "cut by a reshape to (B, h, T, D/h) without a transpose",
        ),
        (
            changed(
                MULTI,
                (
                    ".reshape(B, T, heads, D // heads).transpose(1, 2)",
                    ".reshape(B, heads, T, D // heads)",
                ),
                ("(weights @ v).transpose(1, 2).reshape", "(weights @ v).reshape"),
            ),
            "cut by a reshape to (B, h, T, D/h) without a transpose",
        ),
        (
            changed(MULTI, ("(weights @ v).transpose(1, 2).reshape", "(weights @ v).reshape")),
            "the results are glued by a reshape without the transpose back",
        ),
        (
            changed(MULTI, ("math.sqrt(D // heads)", "math.sqrt(D)")),
            "the scores are divided by the root of D, or not at all",
        ),
        (
            changed(MULTI, (" / math.sqrt(D // heads)", "")),
            "the scores are divided by the root of D, or not at all",
        ),
        (
            """
        def f(x, sees, W_q, W_k, W_v, W_o, heads):
            scores = (x @ W_q.T) @ (x @ W_k.T).mT / x.shape[-1] ** 0.5
            weights = scores.masked_fill(~sees, -torch.inf).softmax(-1).nan_to_num()
            return weights @ (x @ W_v.T) @ W_o.T
        """,
            "the heads are mixed",
        ),
        (
            changed(
                MULTI,
                (
                    ".reshape(B, T, heads, D // heads).transpose(1, 2)",
                    ".reshape(B, T, D // heads, heads).permute(0, 3, 1, 2)",
                ),
            ),
            "a head gets every h-th column",
        ),
        (
            changed(MULTI, ("~sees.unsqueeze(1)", "~sees.mT.unsqueeze(1)")),
            "the mask lies on the wrong axis",
        ),
        (changed(MULTI, ("dim=-1", "dim=2")), "the mask lies on the wrong axis"),
        (
            changed(
                MULTI,
                ('scores = scores.masked_fill(~sees.unsqueeze(1), float("-inf"))', "pass"),
                (".nan_to_num()", " * sees.unsqueeze(1)"),
            ),
            "the mask is put on the weights",
        ),
        (changed(MULTI, (".nan_to_num()", "")), "a word that may look at nothing gets NaN"),
        (
            changed(MULTI, ("W_q.T", "W_q"), ("W_k.T", "W_k"), ("W_v.T", "W_v"), ("W_o.T", "W_o")),
            "the weights are not transposed",
        ),
        (changed(MULTI, ("return out @ W_o.T", "return out")), "W_o, is left out"),
        (changed(MULTI, ("~sees.unsqueeze(1)", "sees.unsqueeze(1)")), "the mask is not used, or"),
        (changed(MULTI, ("sees.unsqueeze(1)", "sees")), "the mask lies on the wrong axis"),
    ],
    "14.3": [
        (changed(CAUSAL, ("torch.bool))", "torch.bool), -1)")), "a word may not look at itself"),
        (changed(CAUSAL, ("torch.bool))", "torch.bool), 1)")), "a word may look at the next one"),
        (changed(CAUSAL, ("torch.tril", "torch.triu")), "it is transposed"),
        (
            changed(CAUSAL, ("return below & mask.unsqueeze(1)", "return below")),
            "padding is not hidden",
        ),
        (changed(CAUSAL, ("unsqueeze(1)", "unsqueeze(2)")), "padding lies on the wrong axis"),
        (
            changed(CAUSAL, ("mask.unsqueeze(1)", "mask.unsqueeze(1) & mask.unsqueeze(2)")),
            "padding hides rows as well",
        ),
        (
            changed(CAUSAL, ("below & mask.unsqueeze(1)", "~(below & mask[:, None])")),
            "have changed places",
        ),
        (
            changed(CAUSAL, ("below & mask.unsqueeze(1)", "mask.unsqueeze(1).expand(B, T, T)")),
            "every real word is seen, whatever its place",
        ),
        (changed(CAUSAL, ("below & mask.unsqueeze(1)", "below & mask")), "expected"),
        (changed(CAUSAL, (" & mask.unsqueeze(1)", " | mask.unsqueeze(1)")), "one of the two"),
    ],
}
