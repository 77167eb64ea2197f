"""Answers to the exercises of page 01, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

PAD = (  # T, ids, mask, result; n are the lengths
    "def f(rows):\n T, n = {}, [len(row) for row in rows]\n ids = {}\n mask = {}\n return {}"
)
T, IDS = (
    "max(len(row) for row in rows)",
    "torch.tensor([row + [0] * (T - len(row)) for row in rows])",
)
MASK = "torch.arange(T)[None] < torch.tensor(n)[:, None]"
LAST = "def f(states, mask):\n n, rows = mask.sum(dim=1), torch.arange(len(states))\n return {}"
PAIR = (
    "def f(centre, context, label):\n s = context @ centre\n p = torch.sigmoid(s)\n return {}, {}"
)

RIGHT = {
    "01.1": [
        """
        def f(rows):
            T = max(len(row) for row in rows)
            ids = torch.zeros(len(rows), T, dtype=torch.int64)
            mask = torch.zeros(len(rows), T, dtype=torch.bool)
            for i, row in enumerate(rows):
                ids[i, :len(row)] = torch.tensor(row, dtype=torch.int64)
                mask[i, :len(row)] = True
            return ids, mask
        """,
        """
        def f(rows):
            rows = [torch.tensor(row, dtype=torch.int64) for row in rows]
            ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
            return ids, ids != 0
        """,
        """
        def f(rows):
            T = len(max(rows, key=len))
            ids = torch.tensor([row + [0] * (T - len(row)) for row in rows])
            lengths = torch.tensor([len(row) for row in rows])
            return [ids, torch.arange(T) < lengths[:, None]]
        """,
        """
        def f(rows):
            rows = [list(row) for row in rows]
            while len({len(row) for row in rows}) > 1:
                longest = max(map(len, rows))
                for row in rows:
                    if len(row) < longest:
                        row.append(0)
            ids = torch.tensor(rows)
            return ids, ids.bool()
        """,
    ],
    "01.2": [
        """
        def f(states, mask):
            last = mask.sum(dim=1) - 1
            return states[torch.arange(len(states)), last]
        """,
        """
        def f(states, mask):
            last = (mask.sum(1) - 1)[:, None, None].expand(-1, -1, states.shape[2])
            return states.gather(1, last).squeeze(1)
        """,
        """
        def f(states, mask):
            return torch.stack([states[b, int(mask[b].sum()) - 1] for b in range(len(states))])
        """,
        """
        def f(states, mask):
            # a row without padding gives -1, its last place
            return states[range(len(mask)), mask.int().argmin(1) - 1]
        """,
        """
        def f(states, mask):
            ends = mask & ~torch.nn.functional.pad(mask[:, 1:], (0, 1))
            return states[ends]
        """,
    ],
    "01.3": [
        """
        def f(centre, context, label):
            push = torch.sigmoid(centre @ context) - label
            return push * context, push * centre
        """,
        """
        def f(centre, context, label):
            v, u = centre.clone().requires_grad_(), context.clone().requires_grad_()
            s = (u * v).sum()
            loss = -torch.nn.functional.logsigmoid(s if label == 1 else -s)
            return torch.autograd.grad(loss, (v, u))
        """,
        """
        def f(centre, context, label):
            s = torch.dot(context, centre)
            if label:
                slope = -torch.sigmoid(-s)
            else:
                slope = torch.sigmoid(s)
            return [slope * context, slope * centre]
        """,
        """
        def f(centre, context, label):
            v, u = centre.clone().requires_grad_(), context.clone().requires_grad_()
            target = torch.tensor(label).double()
            torch.nn.functional.binary_cross_entropy_with_logits(v @ u, target).backward()
            return v.grad, u.grad
        """,
        PAIR.format("((p - label) * context).float()", "((p - label) * centre).float()"),
        (
            "def f(centre, context, label):\n v, u = centre.float(), context.float()\n g ="
            " torch.sigmoid(v @ u) - label\n return g * u, g * v"
        ),
    ],
}
WRONG = {
    "01.1": [
        (
            PAD.format(
                T,
                "torch.tensor([[0] * (T - len(row)) + row for row in rows])",
                "ids != 0",
                "ids, mask",
            ),
            "the padding stands in front",
        ),
        (
            PAD.format(
                T, IDS, "torch.tensor([[False] * (T - k) + [True] * k for k in n])", "ids, mask"
            ),
            "the mask marks the places at the end",
        ),
        (
            PAD.format(
                "min(map(len, rows))", "torch.tensor([row[:T] for row in rows])", MASK, "ids, mask"
            ),
            "cut to the shortest one",
        ),
        (
            PAD.format(
                "len(rows[0])",
                "torch.zeros(len(rows), T).long()",
                "torch.zeros(len(rows), T).bool()",
                "ids, mask",
            ).replace(
                " return",
                " for i, row in enumerate(rows):\n  ids[i, :len(row)] = torch.tensor(row)\n "
                " mask[i, :len(row)] = True\n return",
            ),
            "T is not the length of the longest row",
        ),
        (PAD.format("max(map(len, rows)) + 1", IDS, MASK, "ids, mask"), "one column too many"),
        (
            PAD.format(
                T,
                "torch.tensor([row + [-1] * (T - len(row)) for row in rows])",
                "ids >= 0",
                "ids, mask",
            ),
            "padded with -1",
        ),
        (
            PAD.format(
                T,
                "torch.tensor([row + [-1] * (T - len(row)) for row in rows])",
                "ids.bool()",
                "ids, mask",
            ),
            "padded with -1",
        ),
        (
            PAD.format(T, "torch.ones(len(rows), T).long()", MASK, "ids, mask").replace(
                " return",
                " for i, row in enumerate(rows): ids[i, :n[i]] = torch.tensor(row)\n return",
            ),
            "padded with 1",
        ),
        (
            PAD.format(
                T,
                "torch.tensor([row + row[-1:] * (T - len(row)) for row in rows if row])",
                MASK,
                "ids, mask",
            ),
            "entry [0][1, 1] is 7, expected 0.",
        ),
        (
            PAD.format(
                T,
                "torch.tensor([row + [row[-1]] * (T - len(row)) for row in rows])",
                MASK,
                "ids, mask",
            ),
            "the last id of a row is repeated",
        ),
        (PAD.format(T, IDS, "ids == 0", "ids, mask"), "the mask is turned round"),
        (
            PAD.format(T, IDS, "torch.ones_like(ids).bool()", "ids, mask"),
            "the mask is True everywhere",
        ),
        (
            PAD.format(
                T, IDS, "torch.tensor([[t < k - 1 for t in range(T)] for k in n])", "ids, mask"
            ),
            "one token short",
        ),
        (
            PAD.format(
                T, IDS, "torch.tensor([[t <= k for t in range(T)] for k in n])", "ids, mask"
            ),
            "one token too long",
        ),
        (PAD.format(T, IDS, "ids > 1", "ids, mask"), "leaves out the tokens with id 1"),
        (PAD.format(T, IDS, f"({MASK}).float()", "ids, mask"), "the mask has numbers"),
        (
            PAD.format(T, IDS, "torch.tensor([[1] * k + [0] * (T - k) for k in n])", "ids, mask"),
            "the mask has numbers",
        ),
        (
            PAD.format(T, IDS, MASK, "ids, torch.tensor(n)"),
            "the lengths are returned in the place of the mask",
        ),
        (
            PAD.format(T, "torch.zeros(len(rows), T)", MASK, "ids, mask").replace(
                " return",
                " for i, row in enumerate(rows): ids[i, :n[i]] = torch.tensor(row)\n return",
            ),
            "the ids are floats",
        ),
        (
            (
                "def f(rows):\n ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in"
                " rows], batch_first=True)\n return ids, ids != 0"
            ),
            "an empty list has no numbers to take a type from",
        ),
        (
            (
                "def f(rows):\n ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row).long() for"
                " row in rows])\n return ids, ids != 0"
            ),
            "rows and columns are swapped",
        ),
        (PAD.format(T, IDS, MASK, "ids"), "only the ids are returned"),
        (PAD.format(T, IDS, MASK, "mask, ids"), "ids and mask are swapped"),
        (
            PAD.format(
                "len(max(rows, key=len)); rows = sorted(rows, key=len, reverse=True)",
                IDS,
                "ids > 0",
                "ids, mask",
            )
            .replace(", n = ", " = ")
            .replace(", [len(row) for row in rows]", ""),
            "the rows are sorted by length",
        ),
        (PAD.format(T, IDS, MASK, "ids.T, mask.T"), "rows and columns are swapped"),
        (
            PAD.format(
                T,
                "torch.tensor([row[::-1] + [0] * (T - len(row)) for row in rows])",
                MASK,
                "ids, mask",
            ),
            "the rows are reversed",
        ),
        (
            PAD.format(
                T,
                "torch.tensor([row + [0] * (T - len(row)) for row in rows if row])",
                "ids != 0",
                "ids, mask",
            ),
            "the empty rows are left out",
        ),
        (
            PAD.format(T, IDS, MASK, "ids.tolist(), mask.tolist()"),
            "entry [0] came as a list of 1 item, expected a tensor of shape (1, 1): the ids",
        ),
        (
            (
                "def f(rows):\n for row in rows: row += [0] * (max(map(len, rows)) - len(row))\n"
                " ids = torch.tensor(rows)\n return ids, ids > 0"
            ),
            "changes its argument `rows` in place",
        ),
        ("def f(rows): ids = torch.tensor(rows); return ids, ids > 0", "raised ValueError"),
    ],
    "01.2": [
        (LAST.format("states[:, -1]"), "this is the state at the last place, which is padding"),
        (LAST.format("states.select(1, 0)"), "this is the first state"),
        (LAST.format("states[rows, n]"), "one place too far"),
        (LAST.format("states[rows, n.clamp(max=states.shape[1] - 1)]"), "one place too far"),
        (LAST.format("states[rows, n - 2]"), "one place too early"),
        (LAST.format("states[:, n.max() - 1, :]"), "every row is read at the same place"),
        (LAST.format("states[:, int(mask[0].sum()) - 1]"), "every row is read at the same place"),
        (LAST.format("states[rows, mask.sum() - 1]"), "the mask is counted over the whole batch"),
        (LAST.format("states[rows, mask.sum(0) - 1]"), "the mask is counted over the rows"),
        (LAST.format("states[:, n - 1]"), "a colon and a list of places combine freely"),
        (LAST.format("states[n - 1]"), "the places index the batch"),
        (LAST.format("states[n - 1, rows]"), "the places index the batch"),
        (
            LAST.format("torch.diagonal(states[:, n - 1], dim1=0, dim2=1)"),
            "rows and numbers are swapped",
        ),
        (
            LAST.format("states.gather(1, (n - 1)[:, None, None].repeat(1, 1, states.shape[2]))"),
            "the axis of the places is still there",
        ),
        (LAST.format("states[mask][-1]"), "only one state is returned"),
        (LAST.format("states[mask]"), "these are the states of all real tokens"),
        (LAST.format("states.where(mask[..., None], 0)"), "these are all states, with zeros"),
        (
            LAST.format("states.where(mask[..., None], 0)[:, -1]"),
            "set to zero where that is padding",
        ),
        (
            LAST.format("torch.stack([s[m].mean(0) for s, m in zip(states, mask)])"),
            "this is the mean of the real states",
        ),
        (
            LAST.format("torch.stack([s[m].sum(0) for s, m in zip(states, mask)])"),
            "this is the sum of the real states",
        ),
        (
            LAST.format("torch.stack([s[m].amax(0) for s, m in zip(states, mask)])"),
            "this is the largest of the real states",
        ),
        (LAST.format("states.mean(dim=1)"), "this is a mean or a sum over all places"),
        (
            LAST.format(
                "(states * (torch.arange(mask.shape[1]) == n[:, None] - 1).unsqueeze(2)).sum(1)"
            ),
            "all places but one are multiplied by 0",
        ),
        (LAST.format("states[rows, (mask == 0).sum(1) - 1]"), "the mask is read turned round"),
        (LAST.format("torch.zeros_like(states[:, 0])"), "these are zeros"),
        (
            LAST.format("states[rows, n - 1, 0]"),
            "returned shape (1,), expected (1, 1): one state of D numbers per row.",
        ),
        (
            "def f(states, mask): states[~mask] = 0; return states[:, -1]",
            "changes its argument `states` in place",
        ),
    ],
    "01.3": [
        (PAIR.format("(label - p) * context", "(label - p) * centre"), "the sign is turned round"),
        (
            PAIR.format("(p - label) * centre", "(p - label) * context"),
            "each vector is multiplied by itself",
        ),
        (
            PAIR.format("(p - label) * context", "(p - label) * context"),
            "both gradients are the same",
        ),
        (PAIR.format("p * context", "p * centre"), "one probability stands for both labels"),
        (
            PAIR.format("(p + label - 1) * context", "(p + label - 1) * centre"),
            "the label is turned round",
        ),
        (
            PAIR.format("label * (p - 1) * context", "label * (p - 1) * centre"),
            "only true pairs get a gradient",
        ),
        (
            PAIR.format("(1 - label) * p * context", "(1 - label) * p * centre"),
            "only random pairs get a gradient",
        ),
        (
            PAIR.format("(p - y) * context", "(p - y) * centre").replace(
                " p =", " y = 2 * label - 1\n p ="
            ),
            "the label is read as -1 or 1",
        ),
        (
            PAIR.format(
                "-y * torch.sigmoid(y * s) * context", "-y * torch.sigmoid(y * s) * centre"
            ).replace(" p =", " y = 2 * label - 1\n p ="),
            "look at the sign inside the sigmoid",
        ),
        (
            PAIR.format("-q * context", "-q * centre").replace(
                " return", " q = torch.sigmoid(-s) if label else p\n return"
            ),
            "random pairs are treated with the wrong sign",
        ),
        (PAIR.format("(s - label) * context", "(s - label) * centre"), "the sigmoid is forgotten"),
        (
            PAIR.format("(torch.tanh(s) - label) * context", "(torch.tanh(s) - label) * centre"),
            "tanh stands in the place",
        ),
        (
            PAIR.format(
                "(p - label) * p * (1 - p) * context", "(p - label) * p * (1 - p) * centre"
            ),
            "the sigmoid's own derivative is still in",
        ),
        (
            (
                "def f(centre, context, label):\n v, u = centre.clone().requires_grad_(),"
                " context.clone().requires_grad_()\n return torch.autograd.grad((torch.sigmoid(u @"
                " v) - label) ** 2, (v, u))"
            ),
            "the sigmoid's own derivative is still in",
        ),
        (
            (
                "def f(centre, context, label):\n v, u = centre.clone().requires_grad_(),"
                " context.clone().requires_grad_()\n return torch.autograd.grad(-torch.sigmoid(u @"
                " v if label else -u @ v), (v, u))"
            ),
            "the logarithm is forgotten",
        ),
        (PAIR.format("(p.log() - label) * context", "(p.log() - label) * centre"), "entry [0]"),
        (
            PAIR.format("(g - label) * context", "(g - label) * centre").replace(
                " return", " g = torch.nn.functional.logsigmoid(s)\n return"
            ),
            "the logarithm of the probability stands",
        ),
        (PAIR.format("2 * (p - label) * context", "2 * (p - label) * centre"), "multiplied by 2"),
        (
            PAIR.format("loss * context", "loss * centre").replace(
                " return", " loss = -torch.nn.functional.logsigmoid((2 * label - 1) * s)\n return"
            ),
            "the loss itself is multiplied",
        ),
        (
            PAIR.replace("context @ centre", "context * centre").format(
                "(p - label) * context", "(p - label) * centre"
            ),
            "entry by entry",
        ),
        (
            PAIR.replace("context @ centre", "context @ centre / math.sqrt(len(centre))").format(
                "(p - label) * context", "(p - label) * centre"
            ),
            "the score is divided",
        ),
        (
            PAIR.replace("context @ centre", "torch.mean(context * centre)").format(
                "(p - label) * context", "(p - label) * centre"
            ),
            "the score is divided",
        ),
        (
            (
                "def f(centre, context, label): return (torch.sigmoid(centre @ context) - label) *"
                " context"
            ),
            "only one of the two gradients",
        ),
        (PAIR.format("p - label", "p - label"), "the last link of the chain is missing"),
        (
            PAIR.format("centre - (p - label) * context", "context - (p - label) * centre"),
            "these are the vectors after a step",
        ),
        (
            PAIR.format("g * context", "g * centre").replace(
                " return", " g = p * (1 - p) * (-1 / p if label else 1 / (1 - p))\n return"
            ),
            "with a large score the probability becomes 0",
        ),
        (
            (
                "def f(centre, context, label):\n v, u = centre.clone().requires_grad_(),"
                " context.clone().requires_grad_()\n p = torch.sigmoid(v @ u)\n loss = -label *"
                " torch.log(p) - (1 - label) * torch.log(1 - p)\n loss.backward()\n return v.grad,"
                " u.grad"
            ),
            "with a large score the probability becomes 0",
        ),
        (
            "def f(centre, context, label): centre -= context; return centre, context",
            "changes its argument `centre` in place",
        ),
    ],
}
