"""Answers to the exercises of page 27, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

OTHERS = """
import torch


def f(ratings, mask):
    there = ratings.masked_fill(~mask, 0)
    count = mask.sum(1, keepdim=True)
    means = (there.sum(1, keepdim=True) - there) / (count - 1).clamp(min=1)
    return means.masked_fill(~mask | (count < 2), 0)
"""

PACKED = """
import torch
from torch.nn.utils.rnn import pack_padded_sequence


def f(lstm, steps, mask):
    lengths = mask.sum(1)
    packed = pack_padded_sequence(
        steps, lengths.clamp(min=1), batch_first=True, enforce_sorted=False
    )
    output, (h, c) = lstm(packed)
    last = torch.cat([*h], dim=1)
    return last * (lengths > 0)[:, None]
"""


def changed(code, *changes):
    """Code with some of its lines otherwise: (line, other line), each of which it has."""
    for line, other in changes:
        assert line in code
        code = code.replace(line, other)
    return code


RIGHT = {
    "27.1": [
        OTHERS,
        # in float32
        changed(OTHERS, ("means.masked", "means.float().masked")),
        # by a matrix of ones with an empty diagonal
        """
        import torch
        def f(ratings, mask):
            x, m = torch.where(mask, ratings, 0.0), mask.to(ratings)
            apart = 1 - torch.eye(x.shape[1], dtype=x.dtype)
            total, count = x @ apart, m @ apart
            return m * total / count.clamp(min=1)
        """,
        # with einsum, and nan_to_num at the right place
        """
        import torch
        def f(ratings, mask):
            x = ratings.masked_fill(~mask, 0)
            total = torch.einsum("nk->n", x)[:, None] - x
            others = mask.sum(1)[:, None] - 1
            return torch.where(mask & (others > 0), total / others, torch.zeros_like(x))
        """,
        # row by row
        """
        import torch
        def f(ratings, mask):
            out = torch.zeros_like(ratings)
            for n in range(len(ratings)):
                for k in mask[n].nonzero()[:, 0].tolist():
                    rest = mask[n].clone()
                    rest[k] = False
                    if rest.any():
                        out[n, k] = ratings[n][rest].mean()
            return out
        """,
    ],
    "27.2": [
        PACKED,
        # row by row, over its own steps
        """
        import torch
        def f(lstm, steps, mask):
            ways = 2 if lstm.bidirectional else 1
            out = torch.zeros(len(steps), ways * lstm.hidden_size, dtype=steps.dtype)
            for i, length in enumerate(mask.sum(1).tolist()):
                if length:
                    h = lstm(steps[i : i + 1, :length])[1][0]
                    out[i] = h[:, 0].flatten()
            return out
        """,
        # only those that are there are packed, longest first
        """
        import torch
        from torch.nn.utils.rnn import pack_padded_sequence
        def f(lstm, steps, mask):
            lengths, order = mask.sum(1).sort(descending=True)
            some = order[lengths > 0]
            packed = pack_padded_sequence(
                steps[some], lengths[lengths > 0].tolist(), batch_first=True
            )
            h = lstm(packed)[1][0].permute(1, 0, 2).flatten(1)
            out = h.new_zeros(len(steps), h.shape[1])
            out[some] = h
            return out
        """,
        # the outputs, forward at the end and backward at the start
        """
        import torch
        from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
        def f(lstm, steps, mask):
            n = mask.sum(1)
            packed = pack_padded_sequence(
                steps, n.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
            )
            out, _ = pad_packed_sequence(lstm(packed)[0], batch_first=True)
            width = lstm.hidden_size
            place = (n - 1).clamp(min=0)[:, None, None].expand(-1, 1, out.shape[2])
            ends = out.gather(1, place)[:, 0]
            last = torch.cat([ends[:, :width], out[:, 0, width:]], dim=1)
            return torch.where((n > 0)[:, None], last, torch.zeros_like(last))
        """,
        # in float32
        changed(PACKED, ("return last * (lengths > 0)", "return last.float() * (lengths > 0)")),
    ],
}

WRONG = {
    "27.1": [
        (
            """
            import torch
            def f(ratings, mask):
                x = torch.where(mask, ratings, 0)
                return torch.where(mask, x.sum(1, keepdim=True) / mask.sum(1, keepdim=True), 0)
            """,
            "the mean holds the person's own rating",
        ),
        (changed(OTHERS, ("(count - 1).clamp", "count.clamp")), "divide by the count less one"),
        (
            changed(OTHERS, (".sum(1, keepdim=True) - there)", ".sum(1, keepdim=True) + 0*there)")),
            "still in the sum",
        ),
        (changed(OTHERS, ("ratings.masked_fill(~mask, 0)", "ratings * mask")), "nan * 0 is nan"),
        (
            changed(OTHERS, ("ratings.masked_fill(~mask, 0)", "ratings.nan_to_num()")),
            "what stands where no rating is goes into the sum",
        ),
        (
            changed(OTHERS, ("means.masked_fill(~mask | (count < 2), 0)", "means")),
            "Asked is 0 there",
        ),
        (changed(OTHERS, (".clamp(min=1)", "")).replace(" | (count < 2)", ""), "has no others"),
        (
            changed(OTHERS, ("(count - 1).clamp(min=1)", "(ratings.shape[1] - 1)")),
            "divides by the width of the table",
        ),
        (
            changed(OTHERS, ("(count - 1)", "((there != 0).sum(1, keepdim=True) - 1)")),
            "of 0 counts",
        ),
        (
            changed(OTHERS, (", keepdim=True", "")).split("    return")[0] + "    return means",
            "keepdim",
        ),
        (
            changed(OTHERS, ("ratings.masked_fill(~mask, 0)", "ratings * mask")).split(
                "    return"
            )[0]
            + "    return means * mask",
            "nan * 0 is nan",
        ),
    ],
    "27.2": [
        (
            "def f(lstm, steps, mask): return lstm(steps)[0][:, -1] * mask[:, :1]",
            "the state is read at the padding",
        ),
        (
            """
            import torch
            def f(lstm, steps, mask):
                out = lstm(torch.where(mask[..., None], steps, 0))[0][:, -1]
                return torch.where(mask.any(1, keepdim=True), out, 0)
            """,
            "the state is read at the padding",
        ),
        (changed(PACKED, ("torch.cat([*h], dim=1)", "h[-1]")), "of two directions one is returned"),
        (
            changed(PACKED, ("torch.cat([*h], dim=1)", "h.view(len(steps), -1)")),
            "A reshape mixes the rows",
        ),
        (
            changed(PACKED, ("torch.cat([*h], dim=1)", "torch.cat([*c], dim=1)")),
            "this is the cell state",
        ),
        (
            changed(PACKED, (" * (lengths > 0)[:, None]", "")),
            "a row without a single step should get zeros",
        ),
        (changed(PACKED, ("lengths.clamp(min=1)", "lengths")), "raised RuntimeError"),
        (changed(PACKED, (", enforce_sorted=False", "")), "raised RuntimeError"),
        (
            changed(PACKED, ("torch.cat([*h], dim=1)", "torch.cat([*h.flip(0)], dim=1)")),
            "backward stands before forward",
        ),
        (
            """
            import torch
            def f(lstm, steps, mask):
                out = lstm(steps)[0]
                n = mask.sum(1)
                ends = out[torch.arange(len(n)), (n - 1).clamp(min=0)]
                return ends * (n > 0)[:, None]
            """,
            "the backward direction begins in the padding",
        ),
        (
            """
            from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
            def f(lstm, steps, mask):
                n = mask.sum(1)
                packed = pack_padded_sequence(
                    steps, n.clamp(min=1), batch_first=True, enforce_sorted=False
                )
                out, _ = pad_packed_sequence(lstm(packed)[0], batch_first=True)
                return out[:, -1] * (n > 0)[:, None]
            """,
            "is zeros for every row",
        ),
        (changed(PACKED, ("clamp(min=1), batch_first=True,", "clamp(min=1),")), "of its own"),
        (
            """
            import torch
            from torch.nn.utils.rnn import pack_padded_sequence
            def f(lstm, steps, mask):
                n = mask.sum(1)
                packed = pack_padded_sequence(
                    steps.transpose(0, 1), n.clamp(min=1), enforce_sorted=False
                )
                return torch.cat([*lstm(packed)[1][0]], dim=1)
            """,
            "a row without a single step should get zeros",
        ),
    ],
}
