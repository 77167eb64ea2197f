"""Answers to the exercises of page 24, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

ATTENTION = """
def f(d_found, query, key, value, mask):
    key = key.masked_fill(~mask[..., None], 0)
    value = value.masked_fill(~mask[..., None], 0)
    scores = {scores}
    weights = {weights}
    d_weights = d_found @ value.transpose(1, 2)
    d_scores = {d_scores}
    return {result}
"""
PARTS = {
    "scores": "query @ key.transpose(1, 2) * query.shape[-1] ** -0.5",
    "weights": "scores.masked_fill(~mask[:, None], -1e300).softmax(-1) * mask[:, None]",
    "d_scores": "weights * (d_weights - (weights * d_weights).sum(-1, keepdim=True))",
    "result": "d_scores @ key / query.shape[-1] ** 0.5, d_scores.transpose(1, 2) @ query"
    " / query.shape[-1] ** 0.5, weights.transpose(1, 2) @ d_found",
}


def attention(**other):
    return ATTENTION.format(**PARTS | other)


LOOP = """
def f(d_found, query, key, value, mask):
    d_query, d_key, d_value = torch.zeros_like(query), torch.zeros_like(key), {start}
    for b in range(len(query)):
        there = mask[b].nonzero()[:, 0].tolist()
        for t in range(query.shape[1]):
            if not there:
                continue
            root = query.shape[2] ** 0.5
            w = torch.stack([query[b, t] @ key[b, s] / root for s in there]).softmax(0)
            d = torch.stack([d_found[b, t] @ value[b, s] for s in there])
            for share, told, s in zip(w, w * (d - w @ d), there):
                d_value[b, s] += share * d_found[b, t]
                d_query[b, t] += told * key[b, s] / root
                d_key[b, s] += told * query[b, t] / root
    return d_query, d_key, d_value
"""

PAIRS = """
def f(a, b, log_scale, positives):
    norm_a, norm_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    u, v, scale = a / norm_a, b / norm_b, {scale}
    S = scale * (u @ v.T)
    own = positives.double()
    d = {d}
    d_u, d_v = {to_units}
    d_a = {d_a}
    d_b = (d_v - (d_v * v).sum(-1, keepdim=True) * v) / norm_b
    return d_a, d_b, {d_log_scale}
"""
PAIR_PARTS = {
    "scale": "log_scale.exp()",
    "d": "(S.softmax(1) + S.softmax(0) - own / own.sum(1, keepdim=True) - own / own.sum(0))"
    " / len(a) / 2",
    "to_units": "scale * d @ v, scale * d.T @ u",
    "d_a": "(d_u - (d_u * u).sum(-1, keepdim=True) * u) / norm_a",
    "d_log_scale": "(d * S).sum()",
}


def pairs(**other):
    return PAIRS.format(**PAIR_PARTS | other)


HADAMARD = """
def f(d_logits, inputs, present, weight):
    t = {{name: {factor} for name, x in inputs.items()}}
    d = d_logits @ weight
    out = {{}}
    for name in inputs:
        g = {start}
        for other in t:
            if {which}:
                g = g * t[other]
        out[name] = {back}
    whole = torch.ones_like(d)
    for one in t.values():
        whole = whole * one
    return out, {d_weight}, {d_bias}
"""
HADAMARD_PARTS = {
    "factor": "torch.where(present[name].unsqueeze(1), torch.tanh(x), torch.ones_like(x))",
    "start": "d.clone()",
    "which": "other != name",
    "back": "g * (1 - t[name] * t[name])",
    "d_weight": "d_logits.transpose(0, 1) @ whole",
    "d_bias": "d_logits.sum(0)",
}


def hadamard(**other):
    return HADAMARD.format(**HADAMARD_PARTS | other)


RIGHT = {
    "24.1": [
        attention(),
        LOOP.format(start="torch.zeros_like(value)"),
        """
        def f(d_found, query, key, value, mask):
            key, value = (torch.where(mask[:, :, None], x, torch.zeros_like(x))
                          for x in (key, value))
            e = torch.einsum("btd,bsd->bts", query, key) / query.shape[-1] ** 0.5
            e = (e - e.amax(-1, keepdim=True)).exp() * mask[:, None]
            A = e / e.sum(-1, keepdim=True).clamp(min=1e-300)
            dA = torch.einsum("bte,bse->bts", d_found, value)
            J = torch.diag_embed(A) - A[..., None] * A[..., None, :]
            dS = torch.einsum("btsr,bts->btr", J, dA) / query.shape[-1] ** 0.5
            return (torch.einsum("bts,bsd->btd", dS, key), torch.einsum("bts,btd->bsd", dS, query),
                    torch.einsum("bts,bte->bse", A, d_found))
        """,
        # in float32
        """
        def f(d_found, query, key, value, mask):
            d_found, query, key, value = (x.float() for x in (d_found, query, key, value))
            key = key.masked_fill(~mask[..., None], 0)
            value = value.masked_fill(~mask[..., None], 0)
            S = (query @ key.mT / query.shape[-1] ** 0.5).masked_fill(~mask[:, None], -torch.inf)
            A = S.softmax(-1).nan_to_num(0)
            dA = d_found @ value.mT
            dS = A * (dA - (A * dA).sum(-1, keepdim=True)) / query.shape[-1] ** 0.5
            return dS @ key, dS.mT @ query, A.mT @ d_found
        """,
    ],
    "24.2": [
        pairs(),
        pairs(d_log_scale="scale * (d * (u @ v.T)).sum()"),
        pairs(
            d_a="torch.stack([(torch.eye(len(w)).double() - torch.outer(w, w)) @ g / n"
            " for w, g, n in zip(u, d_u, norm_a)])"
        ),
        """
        def f(a, b, log_scale, positives):
            def one_way(x, y, own):
                u, v = (z / (z * z).sum(1, keepdim=True).sqrt() for z in (x, y))
                S = torch.exp(log_scale) * torch.einsum("ni,mi->nm", u, v)
                P = S.exp() / S.exp().sum(1, keepdim=True)
                return (P - own / own.sum(1, keepdim=True)) / (2 * len(x)), S, u, v
            own = positives.to(a)
            there, S, u, v = one_way(a, b, own)
            back, _, _, _ = one_way(b, a, own.T)
            d = there + back.T
            k = torch.exp(log_scale)
            cos = S / k
            d_a = k * (d @ v - (d * cos).sum(1)[:, None] * u) / a.norm(dim=1)[:, None]
            d_b = k * (d.T @ u - (d * cos).sum(0)[:, None] * v) / b.norm(dim=1)[:, None]
            return d_a, d_b, (d * S).sum()
        """,
    ],
    "24.3": [
        hadamard(),
        """
        def f(d_logits, inputs, present, weight):
            names = list(inputs)
            t = torch.stack([torch.where(present[n][:, None], inputs[n].tanh(), 1.0)
                             for n in names])
            out = {}
            for m, name in enumerate(names):
                rest = torch.cat([t[:m], t[m + 1:]]).prod(0)
                slope = torch.where(present[name][:, None], 1 / inputs[name].cosh() ** 2, 0.0)
                out[name] = torch.einsum("bc,cd,bd,bd->bd", d_logits, weight, rest, slope)
            return out, torch.einsum("bc,bd->cd", d_logits, t.prod(0)), d_logits.sum(0)
        """,
        """
        def f(d_logits, inputs, present, weight):
            d_product, out = d_logits @ weight, {}
            t = {}
            for name, x in inputs.items():
                t[name] = x.tanh()
                t[name][~present[name]] = 1
            for name in inputs:
                d = d_product.clone()
                for other in inputs:
                    d = d * (1 - t[name] ** 2 if other == name else t[other])
                out[name] = d
            whole = torch.stack(tuple(t.values())).prod(0)
            d_weight = sum(torch.outer(d, h) for d, h in zip(d_logits, whole))
            return out, d_weight, torch.ones(len(d_logits)).to(d_logits) @ d_logits
        """,
    ],
}

WRONG = {
    "24.1": [
        (
            """
            def f(d_found, query, key, value, mask):
                q, k, v = (x.clone().requires_grad_() for x in (query, key, value))
                found = torch.nn.functional.scaled_dot_product_attention(
                    q, k, v, attn_mask=mask[:, None]
                )
                found.backward(d_found)
                return q.grad, k.grad, v.grad
            """,
            "autograd is called",
        ),
        (
            attention(d_scores="weights * (d_weights - (weights * d_weights).sum(1, True))"),
            "taken over the queries",
        ),
        (attention(d_scores="weights * d_weights"), "the mean is not subtracted"),
        (attention(d_scores="weights * (d_weights - d_weights.mean(-1, True))"), "all keys alike"),
        (
            attention(result=PARTS["result"].replace(" / query.shape[-1] ** 0.5, d_sc", ", d_sc")),
            "a root is missing",
        ),
        (
            attention(result=PARTS["result"].replace(" / query.shape[-1] ** 0.5, we", ", we")),
            "a root is missing",
        ),
        (attention(weights="scores.softmax(-1) * mask[:, None]"), "the mask comes too late"),
        (
            attention(
                weights="scores.softmax(-1)", d_scores=PARTS["d_scores"] + " * mask[:, None]"
            ),
            "the mask comes too late",
        ),
        (
            attention(weights="scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1)"),
            "a row without any key is NaN",
        ),
        (attention(d_scores="-" + PARTS["d_scores"]), "a minus has come in"),
        (
            attention(weights="scores.masked_fill(mask[:, None], -1e300).softmax(-1)"),
            "not right yet",
        ),
        (
            attention().replace("key = key.masked_fill(~mask[..., None], 0)", "pass"),
            "what stands under the mask comes through",
        ),
    ],
    "24.2": [
        (
            """
            def f(a, b, log_scale, positives):
                x, y, k = (one.clone().requires_grad_() for one in (a, b, log_scale))
                from course_utils.losses import info_nce
                info_nce(x, y, k.exp(), positives).backward()
                return x.grad, y.grad, k.grad
            """,
            "autograd is called",
        ),
        (
            pairs(d="(S.softmax(1) - own / own.sum(1, keepdim=True)) / len(a)"),
            "only one direction is asked",
        ),
        (pairs(scale="(-log_scale).exp()"), "multiplied by the temperature"),
        (pairs(scale="log_scale"), "multiplied by the temperature"),
        (pairs(to_units="d @ v, d.T @ u"), "the scale is missing on the way back"),
        (
            pairs(d_a="d_u / norm_a").replace(" - (d_v * v).sum(-1, keepdim=True) * v", ""),
            "the part along the vector is still in",
        ),
        (
            pairs(d_a="d_u - (d_u * u).sum(-1, keepdim=True) * u").replace("* v) / norm_b", "* v)"),
            "not divided by the vector's length",
        ),
        (pairs(d=PAIR_PARTS["d"].removesuffix(" / 2")), "a factor is missing"),
        (
            pairs(d="(S.softmax(1) + S.softmax(0) - 2 * own) / len(a) / 2"),
            "the target is wrong where a row",
        ),
        (
            pairs(d="(S.softmax(1) + S.softmax(0) - 2 * torch.eye(len(a))) / len(a) / 2"),
            "the target is wrong where a row",
        ),
        (pairs(to_units="scale * d @ v, scale * d @ u"), "the table has to be turned"),
        (pairs(d_log_scale="(d * (u @ v.T)).sum()"), "d_log_scale is that of the scale"),
    ],
    "24.3": [
        (hadamard(back="g"), "tanh's slope is missing"),
        (hadamard(which="True"), "its own factor is still in the product"),
        (
            hadamard(which="False", back="g * whole_ / t[name] * (1 - t[name] ** 2)").replace(
                "    out = {}", "    out, whole_ = {}, torch.stack(tuple(t.values())).prod(0)"
            ),
            "divided by its own factor",
        ),
        (
            hadamard(factor="torch.where(present[name][:, None], torch.tanh(x), 0.0)"),
            "a missing modality is a factor 0",
        ),
        (hadamard(factor="torch.tanh(x)"), "a missing modality gets a gradient"),
        (
            hadamard(
                factor="torch.where(present[name].unsqueeze(1), x, torch.ones_like(x))",
                back="g * (1 - inputs[name].tanh() ** 2)",
            ),
            "not right yet",
        ),
        (hadamard(d_weight="whole.T @ d_logits"), "the head is turned the wrong way"),
        (hadamard(d_bias="d_logits"), "d_bias is not the sum over the samples"),
        (hadamard(start="-d.clone()"), "a minus has come in"),
        (hadamard().replace("return out,", "return list(out.values()),"), "d_inputs go by place"),
    ],
}
