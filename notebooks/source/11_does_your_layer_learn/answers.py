"""Answers to the exercises of page 11, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

RIGHT = {
    "11.1": [
        """
        def f(input_dims, output_dim, rank):
            rows = sum(dim + 1 for dim in input_dims.values())
            return rank * rows * output_dim + rank + output_dim
        """,
        """
        def f(input_dims, output_dim, rank):
            count = output_dim + rank
            for name in input_dims:
                count += torch.empty(rank, input_dims[name] + 1, output_dim).numel()
            return count
        """,
        """
        def f(input_dims, output_dim, rank):
            factors = np.sum([rank * (d + 1) * output_dim for d in input_dims.values()])
            return factors + rank + output_dim
        """,
    ],
    "11.2": [
        """
        def f(x, mask):
            kept = torch.where(mask[..., None], x, 0.0)
            return kept.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        """,
        """
        def f(x, mask):
            kept = x.clone()
            kept[~mask] = 0
            return torch.stack([row.sum(0) / max(int(m.sum()), 1) for row, m in zip(kept, mask)])
        """,
        """
        def f(x, mask):
            result = torch.zeros(len(x), x.shape[2])
            for b in range(len(x)):
                if mask[b].any():
                    result[b] = x[b][mask[b]].mean(0)
            return result
        """,
    ],
    "11.3": [
        """
        def f(scores, mask):
            empty = ~mask.any(1, keepdim=True)
            weights = torch.softmax(scores.masked_fill(~mask, -torch.inf).masked_fill(empty, 0), 1)
            return torch.where(mask, weights, 0)
        """,
        """
        def f(scores, mask):
            return torch.softmax(torch.where(mask, scores, -torch.inf), dim=1).nan_to_num()
        """,
        """
        def f(scores, mask):
            weights = torch.zeros_like(scores)
            for b in range(len(scores)):
                weights[b, mask[b]] = torch.softmax(scores[b, mask[b]], 0)
            return weights
        """,
    ],
}
WRONG = {
    "11.1": [
        (
            "def f(input_dims, output_dim, rank): return rank * sum(d + 1 for d in"
            " input_dims.values()) * output_dim + rank + rank * output_dim",
            "each rank has its own biases",
        ),
        (
            "def f(input_dims, output_dim, rank): return sum(rank * (d + 1) * output_dim + rank"
            " + output_dim for d in input_dims.values())",
            "the weights and biases are counted once for each modality",
        ),
        (
            "def f(input_dims, output_dim, rank): return rank * math.prod(d + 1 for d in"
            " input_dims.values()) * output_dim + rank + output_dim",
            "the widths are multiplied. That is the size of the full tensor",
        ),
        (
            "def f(input_dims, output_dim, rank): return math.prod(d + 1 for d in"
            " input_dims.values()) * output_dim + output_dim",
            "the widths are multiplied and the rank is left out",
        ),
        (
            "def f(input_dims, output_dim, rank): return rank * sum(input_dims.values()) *"
            " output_dim + rank + output_dim",
            "the appended 1 is forgotten",
        ),
        (
            "def f(input_dims, output_dim, rank): return rank * (1 + sum(input_dims.values()))"
            " * output_dim + rank + output_dim",
            "one 1 is appended in all",
        ),
        (
            "def f(input_dims, output_dim, rank): return rank * sum(d + 1 for d in"
            " input_dims.values()) * output_dim",
            "only the factors are counted",
        ),
        (
            "def f(input_dims, output_dim, rank): return rank * (sum(d + 1 for d in"
            " input_dims.values()) * output_dim + 1)",
            "the biases are forgotten",
        ),
        (
            "def f(input_dims, output_dim, rank): return (rank * sum(d + 1 for d in"
            " input_dims.values()) + 1) * output_dim",
            "the weights of the ranks are forgotten",
        ),
        (
            "def f(input_dims, output_dim, rank): return rank + output_dim",
            "the result is 5, expected 35.",
        ),
        (
            "def f(input_dims, output_dim, rank): return rank * sum(d + 1 for d in input_dims)"
            " * output_dim",
            "raised TypeError",
        ),
    ],
    "11.2": [
        (
            """
        def f(x, mask):
            mean = x.masked_fill(~mask.unsqueeze(-1), torch.nan).nanmean(1)
            return mean.masked_fill(~mask.any(1, keepdim=True), 0)
        """,
            "the NaN of a present modality is hidden",
        ),
        (
            "def f(x, mask): return (torch.nan_to_num(x) * mask[..., None]).sum(1)"
            " / mask.sum(1, keepdim=True).clamp(min=1)",
            "the NaN of a present modality is hidden",
        ),
        (
            "def f(x, mask): return torch.where(mask[..., None], x, 0).sum(1)"
            " / mask.sum(1).clamp(min=1)",
            "the number of present modalities has lost its axis",
        ),
        (
            "def f(x, mask): return torch.where(mask[..., None], x, 0).sum(1)"
            " / mask.sum().clamp(min=1)",
            "every row is divided by the number of present modalities in the whole batch",
        ),
        (
            "def f(x, mask): return torch.where(mask[..., None], x, 0).mean(1, keepdim=True)",
            "returned shape (1, 1, 1), expected (1, 1)",
        ),
        (
            "def f(x, mask): return torch.where(mask[:, None], x, 0).sum(1)"
            " / mask.sum(1, keepdim=True).clamp(min=1)",
            "the mask is on the wrong axis",
        ),
        (
            "def f(x, mask): return (x * mask[..., None]).sum(1) / mask.sum(1,"
            " keepdim=True).clamp(min=1)",
            "the mask is multiplied in",
        ),
        (
            "def f(x, mask): return torch.nan_to_num((x * mask[..., None]).sum(1) / mask.sum(1,"
            " keepdim=True).clamp(min=1))",
            "the NaN are removed after the sum",
        ),
        (
            "def f(x, mask): return torch.where(mask[..., None], x, 0).mean(1)",
            "divided by the number of all modalities",
        ),
        (
            "def f(x, mask): return torch.where(mask[..., None], x, 0).sum(1) / mask.sum(1)[:,"
            " None]",
            "is divided by 0, which gives NaN",
        ),
        (
            "def f(x, mask): return x.masked_fill(~mask[..., None], torch.nan).nanmean(1)",
            "is divided by 0, which gives NaN",
        ),
        ("def f(x, mask): return x.sum(1) / x.shape[1]", "the mask is not used"),
        (
            "def f(x, mask): return torch.einsum('bmd,bm->bd', torch.where(mask[..., None], x,"
            " 0), mask.float())",
            "this is the sum",
        ),
        (
            "def f(x, mask): return torch.where(mask[..., None], 0, x).sum(1) / (~mask).sum(1,"
            " keepdim=True).clamp(min=1)",
            "the mask is read the other way round",
        ),
        ("def f(x, mask): return x.nanmean(1)", "what is NaN is left out"),
        (
            "def f(x, mask): x[~mask] = 0; return x.sum(1) / mask.sum(1,"
            " keepdim=True).clamp(min=1)",
            "changes its argument `x` in place",
        ),
        (
            "def f(x, mask): return torch.where(mask[..., None], x, 0).sum((1, 2)) /"
            " mask.sum(1).clamp(min=1)",
            "returned shape (1,), expected (1, 1): one vector per sample.",
        ),
        (
            "def f(x, mask): return torch.where(mask, x, 0).sum(1) / mask.sum(1,"
            " keepdim=True).clamp(min=1)",
            "the mask is on the wrong axis: (B",
        ),
    ],
    "11.3": [
        (
            "def f(scores, mask):\n w = torch.softmax(scores.masked_fill(~mask, -100), 1) * mask\n"
            " return w",
            "a missing score is replaced by a number such as -100",
        ),
        (
            "def f(scores, mask):\n w = torch.softmax(torch.where(mask, scores, 0), 1) * mask\n"
            " return w / w.sum(1, keepdim=True).clamp(min=1e-9)",
            "after a softmax in which the missing ones took part",
        ),
        (
            "def f(scores, mask):\n e = torch.where(mask, scores.exp(), 0)\n"
            " return e / e.sum(1, keepdim=True).clamp(min=1)",
            "the sum of the exponentials is taken to be at least 1",
        ),
        (
            "def f(scores, mask): return torch.where(mask, scores, -torch.inf).softmax(0)"
            ".nan_to_num()",
            "the weights sum to 1 along the batch",
        ),
        (
            "def f(scores, mask):\n s = scores.masked_fill(~mask, -math.inf)\n"
            " e = (s - s.amax(1, keepdim=True).clamp(min=-1e9)).exp()\n"
            " return (e / e.sum(1)).nan_to_num()",
            "raised RuntimeError",
        ),
        (
            "def f(scores, mask): return torch.softmax(scores * mask, 1)",
            "a missing modality goes into the softmax with",
        ),
        (
            "def f(scores, mask): return torch.softmax(scores * mask, 1) * mask",
            "a missing modality goes into the softmax with",
        ),
        (
            "def f(scores, mask): return mask * torch.softmax(scores, 1)",
            "the weights are masked after the softmax. What",
        ),
        (
            "def f(scores, mask): return torch.where(mask, scores.softmax(1), 0.)",
            "the weights are masked after the softmax. What",
        ),
        (
            "def f(scores, mask):\n w = torch.softmax(scores, 1) * mask\n return w / w.sum(1,"
            " keepdim=True).clamp(min=1e-9)",
            "the weights are masked and divided by their",
        ),
        (
            "def f(scores, mask): return torch.where(mask, scores, -torch.inf).softmax(1)",
            "a row without any modality is NaN",
        ),
        (
            "def f(scores, mask): return torch.where(mask, scores, -1e9).softmax(1)",
            "a row without any modality gets equal weights",
        ),
        (
            "def f(scores, mask):\n e = torch.where(mask, scores.exp(), 0)\n return e /"
            " e.sum(1, keepdim=True).clamp(min=1e-9)",
            "the exponentials overflow",
        ),
        (
            "def f(scores, mask): return mask / mask.sum(1, keepdim=True).clamp(min=1)",
            "the scores are not used",
        ),
        ("def f(scores, mask): return torch.softmax(scores, -1)", "the mask is not used"),
    ],
}
