"""Answers to the exercises of page 02, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

VECTORS = (
    "\ndef f(texts, tokenizer, model):\n"
    " batch = tokenizer(texts, padding=True, return_tensors='pt')\n"
    " mask = batch['attention_mask'][..., None]\n"
    " x = model(**batch).last_hidden_state\n"
    " mean = (x * mask).sum(1) / mask.sum(1)\n"
    " return {}"
)
FIND = (
    "\ndef f(vectors, i, k):\n"
    " unit = vectors / vectors.norm(dim=1, keepdim=True)\n"
    " cosines = unit @ unit[i]\n"
    " {}"
)

RIGHT = {
    "02.1": [
        VECTORS.format("mean / mean.norm(dim=1, keepdim=True)"),
        # the number of tokens does not matter for the direction
        VECTORS.format("torch.nn.functional.normalize((x * mask).sum(1), dim=1)"),
        """
        def f(texts, tokenizer, model):
            rows = []
            for text in texts:
                states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
                mean = states.mean(dim=0)
                rows.append(mean / mean.norm())
            return torch.stack(rows)
        """,
        """
        def f(texts, tokenizer, model):
            batch = tokenizer(texts, padding="max_length", max_length=64, return_tensors="pt")
            with torch.no_grad():
                states = model(batch.input_ids, batch.attention_mask)[0]
            kept = [x[real.bool()].mean(0) for x, real in zip(states, batch.attention_mask)]
            return torch.nn.functional.normalize(torch.stack(kept), dim=-1)
        """,
        """
        def f(texts, tokenizer, model):
            settings = {"padding": True, "truncation": True, "max_length": 256}
            batch = tokenizer(texts, return_tensors="pt", **settings)
            mask = batch["attention_mask"].unsqueeze(-1)
            total = (model(**batch).last_hidden_state * mask).sum(1)
            return total / total.norm(dim=1, keepdim=True)
        """,
        # the model's numbers are float32
        """
        def f(texts, tokenizer, model):
            batch = tokenizer(texts, padding=True, return_tensors="pt")
            mask = batch["attention_mask"].float()
            states = model(**batch).last_hidden_state
            mean = torch.bmm(mask[:, None], states)[:, 0] / mask.sum(1, keepdim=True)
            return mean / mean.norm(dim=1, keepdim=True)
        """,
    ],
    "02.2": [
        FIND.format("cosines[i] = -torch.inf; return cosines.topk(k).indices"),
        FIND.format("order = cosines.argsort(descending=True); return order[order != i][:k]"),
        """
        def f(vectors, i, k):
            scores = torch.nn.functional.cosine_similarity(vectors, vectors[i : i + 1])
            scores = scores.masked_fill(torch.arange(len(vectors)) == i, -2)
            return torch.sort(scores, descending=True)[1][:k]
        """,
        """
        def f(vectors, i, k):
            unit = torch.nn.functional.normalize(vectors, dim=1)
            distances = torch.cdist(unit[i : i + 1], unit)[0]
            distances[i] = torch.inf
            return distances.argsort()[:k]
        """,
    ],
}

WRONG = {
    "02.1": [
        (VECTORS.format("torch.nn.functional.normalize(x.mean(1), dim=1)"), "padding is in the"),
        (VECTORS.format("torch.nn.functional.normalize(x[:, 0], dim=1)"), "the state of [CLS]"),
        (VECTORS.format("mean"), "the rows do not have length 1"),
        (VECTORS.format("(x * mask).sum(1) / x.shape[1]"), "the rows do not have length 1"),
        (VECTORS.format("mean / mean.norm(dim=1)"), "scaled along the wrong axis"),
        (VECTORS.format("mean / mean.norm()"), "or by one number for all"),
        (VECTORS.format("torch.nn.functional.normalize(x, dim=-1)"), "one row of length 1"),
        (
            VECTORS.format(
                "torch.nn.functional.normalize(model(batch['input_ids'])[0].mean(1), dim=1)"
            ),
            "the model reads the padding",
        ),
        (
            VECTORS.format("torch.nn.functional.normalize(model(**batch)[1], dim=1)"),
            "this is pooler_output",
        ),
        (VECTORS.format("torch.nn.functional.normalize(x[:, -1], dim=1)"), "one token at the end"),
        (
            "def f(texts, tokenizer, model): return model(**tokenizer(texts, padding=True))",
            "raised",
        ),
        (
            VECTORS.replace("padding=True", "padding=True, truncation=True, max_length=12").format(
                "mean / mean.norm(dim=1, keepdim=True)"
            ),
            "long texts lose their end",
        ),
        (
            VECTORS.replace("padding=True", "padding=True, truncation=True, max_length=16").format(
                "mean / mean.norm(dim=1, keepdim=True)"
            ),
            "not right yet",
        ),
        (
            VECTORS.replace("padding=True", "padding=True, truncation=True, max_length=32").format(
                "mean / mean.norm(dim=1, keepdim=True)"
            ),
            "not right yet",
        ),
        (
            "def f(texts, tokenizer, model):\n rows = []\n for text in texts:\n"
            "  batch = tokenizer(text, return_tensors='pt')\n"
            "  rows.append(model(**batch).last_hidden_state[0, 1:-1].mean(0))\n"
            " rows = torch.stack(rows)\n return rows / rows.norm(dim=1, keepdim=True)",
            "[CLS] and [SEP] are left out",
        ),
        (
            "def f(texts, tokenizer, model):\n"
            " batch = tokenizer(texts, padding=True, return_tensors='pt',\n"
            "  return_special_tokens_mask=True)\n"
            " kept = (1 - batch.pop('special_tokens_mask'))[..., None]\n"
            " mean = (model(**batch).last_hidden_state * kept).sum(1) / kept.sum(1).clamp(min=1)\n"
            " return torch.nn.functional.normalize(mean, dim=1)",
            "[CLS] and [SEP] are left out",
        ),
        (
            VECTORS.format(
                "torch.nn.functional.normalize("
                "(torch.nn.functional.normalize(x, dim=2) * mask).sum(1), dim=1)"
            ),
            "each token is scaled before the mean",
        ),
        (
            VECTORS.format("torch.nn.functional.normalize(mean, dim=0)"),
            "scaled along the wrong axis",
        ),
    ],
    "02.2": [
        (FIND.format("return cosines.topk(k).indices"), "it finds the row itself"),
        (FIND.format("return cosines.argsort(descending=True)[1 : k + 1]"), "thrown away"),
        (FIND.format("cosines[i] = 0; return cosines.topk(k).indices"), "gets the cosine 0"),
        (
            FIND.format("return (torch.cat([unit[:i], unit[i + 1 :]]) @ unit[i]).topk(k).indices"),
            "row i is cut out",
        ),
        (FIND.format("return cosines.argsort()[:k]"), "the least similar rows come first"),
        (
            FIND.format("cosines[i] = -torch.inf; return cosines.argsort()[-k:]"),
            "the best of them stands last",
        ),
        (
            FIND.format("p = vectors @ vectors[i]; p[i] = -torch.inf; return p.topk(k).indices"),
            "the rows keep their lengths",
        ),
        (
            FIND.format("cosines[i] = -torch.inf; return cosines.topk(k).values"),
            "these are the cosines",
        ),
        (
            FIND.format("cosines[i] = -torch.inf; return vectors[cosines.topk(k).indices]"),
            "k places, the most similar row first",
        ),
        (
            FIND.format("cosines[i] = -1; return cosines.topk(k).indices"),
            "row i gets the cosine -1",
        ),
        (
            FIND.format("cosines[i] = -1; return cosines.argsort().flip(0)[:k]"),
            "row i gets the cosine -1",
        ),
        (
            FIND.format(
                "d = (vectors - vectors[i]).norm(dim=1); d[i] = torch.inf; return d.argsort()[:k]"
            ),
            "the rows keep their lengths",
        ),
    ],
}
