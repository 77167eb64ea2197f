"""Answers to the exercises of page 12, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

RIGHT = {
    "12.1": [
        """
        def f(variances, there):
            precision = torch.where(there, 1 / variances, 0.0)
            total = precision.sum(dim=1, keepdim=True)
            return torch.where(total > 0, precision / total, 0.0)
        """,
        """
        def f(variances, there):
            scores = torch.where(there, -variances.log(), -torch.inf)
            return torch.softmax(scores, dim=1).nan_to_num()
        """,
        """
        def f(variances, there):
            weights = torch.zeros_like(variances)
            for b in range(len(variances)):
                total = 0.0
                for m in range(variances.shape[1]):
                    if there[b, m]:
                        total += 1 / variances[b, m]
                for m in range(variances.shape[1]):
                    if there[b, m]:
                        weights[b, m] = 1 / variances[b, m] / total
            return weights
        """,
        """
        def f(variances, there):
            precision = variances.masked_fill(~there, torch.inf).reciprocal()
            return torch.einsum("bm,b->bm", precision, 1 / precision.sum(1)).nan_to_num()
        """,
        """
        def f(variances, there):
            precision = (1 / variances.float()).masked_fill(~there, 0)
            return precision / precision.sum(1, keepdim=True).clamp(min=1e-12)
        """,
    ],
    "12.2": [
        """
        def f(log_probs, log_prior, there):
            added = log_probs.masked_fill(~there[:, :, None], 0).sum(1)
            logits = added - (there.sum(1, keepdim=True) - 1) * log_prior
            return logits - logits.logsumexp(dim=1, keepdim=True)
        """,
        """
        def f(log_probs, log_prior, there):
            result = torch.zeros(log_probs.shape[0], log_probs.shape[2], dtype=log_probs.dtype)
            for b in range(log_probs.shape[0]):
                total = log_prior.clone()
                for m in range(log_probs.shape[1]):
                    if there[b, m]:
                        total = total + log_probs[b, m] - log_prior
                result[b] = total.log_softmax(0)
            return result
        """,
        """
        def f(log_probs, log_prior, there):
            evidence = torch.where(there[..., None], log_probs - log_prior, 0.0)
            together = torch.cat([log_prior.expand(len(evidence), 1, -1), evidence], dim=1)
            return torch.log_softmax(together.sum(dim=1), dim=-1)
        """,
        """
        def f(log_probs, log_prior, there):
            kept = torch.where(there.unsqueeze(-1), log_probs, log_prior)
            added = torch.einsum("bmc->bc", kept) - (there.shape[1] - 1) * log_prior
            return added.log_softmax(dim=1)
        """,
        """
        def f(log_probs, log_prior, there):
            evidence = log_probs.float() - log_prior.float()
            evidence = evidence.masked_fill(~there[..., None], 0)
            return (log_prior.float() + evidence.sum(1)).log_softmax(-1)
        """,
    ],
}

WRONG = {
    "12.1": [
        (
            """
            def f(variances, there):
                deviation = torch.where(there, variances, 1.0).sqrt()
                precision = torch.where(there, 1 / deviation, 0.0)
                return precision / precision.sum(1, keepdim=True).clamp(min=1e-12)
            """,
            "the standard deviation",
        ),
        (
            """
            def f(variances, there):
                kept = torch.where(there, variances, 0.0)
                return kept / kept.sum(1, keepdim=True).clamp(min=1e-12)
            """,
            "what is noisier counts more",
        ),
        (
            """
            def f(variances, there):
                scores = torch.where(there, -variances, -torch.inf)
                return torch.softmax(scores, dim=1).nan_to_num()
            """,
            "softmax of the variances themselves",
        ),
        (
            """
            def f(variances, there):
                precision = torch.where(there, 1 / variances, 0.0)
                total = precision.sum(dim=1, keepdim=True)
                return (precision / torch.where(total > 0, total, 1.0)).squeeze()
            """,
            "a batch of one",
        ),
        (
            """
            def f(variances, there):
                precision = (1 / variances) * there
                total = precision.sum(dim=1, keepdim=True)
                return precision / torch.where(total > 0, total, 1.0)
            """,
            "0 times NaN",
        ),
        (
            """
            def f(variances, there):
                precision = torch.where(there, 1 / variances, 0.0)
                return precision / precision.sum(1)
            """,
            "keepdim=True",
        ),
        (
            """
            def f(variances, there):
                precision = torch.where(there, 1 / variances, 0.0)
                return precision / precision.sum(1, keepdim=True).clamp(min=1.0)
            """,
            "at least 1",
        ),
    ],
    "12.2": [
        (
            """
            def f(log_probs, log_prior, there):
                added = torch.where(there[..., None], log_probs, 0.0).sum(dim=1)
                return torch.log_softmax(added, dim=-1)
            """,
            "each brings the prior along",
        ),
        (
            """
            def f(log_probs, log_prior, there):
                added = torch.where(there[..., None], log_probs, 0.0).sum(dim=1)
                return torch.log_softmax(added + log_prior, dim=-1)
            """,
            "on top of experts that have it",
        ),
        (
            """
            def f(log_probs, log_prior, there):
                evidence = torch.where(there[..., None], log_probs - log_prior, 0.0)
                return log_prior + evidence.sum(dim=1)
            """,
            "do not sum to 1",
        ),
        (
            """
            def f(log_probs, log_prior, there):
                evidence = torch.where(there[..., None], log_probs - log_prior, 0.0)
                return torch.log_softmax(log_prior + evidence.sum(dim=1), dim=-1).squeeze()
            """,
            "a batch of one",
        ),
        (
            """
            def f(log_probs, log_prior, there):
                evidence = (log_probs - log_prior) * there[..., None]
                return torch.log_softmax(log_prior + evidence.sum(dim=1), dim=-1)
            """,
            "0 times NaN",
        ),
        (
            """
            def f(log_probs, log_prior, there):
                evidence = torch.where(there, log_probs - log_prior, 0.0)
                return torch.log_softmax(log_prior + evidence.sum(dim=1), dim=-1)
            """,
            "needs an axis for the classes",
        ),
        (
            """
            def f(log_probs, log_prior, there):
                ratios = (log_probs - log_prior).exp()
                ratios = torch.where(there[..., None], ratios, 1.0)
                product = ratios.prod(dim=1) * log_prior.exp()
                return (product / product.sum(dim=1, keepdim=True)).log()
            """,
            "stay with logarithms",
        ),
    ],
}
