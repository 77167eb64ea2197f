"""Answers to the exercises of page 13, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

RIGHT = {
    "13.1": [
        """
        def f(parts):
            rows = []
            for b in range(len(parts[0])):
                row = torch.ones(1, dtype=parts[0].dtype)
                for x in parts:
                    row = torch.kron(row, torch.cat([x[b], torch.ones(1, dtype=x.dtype)]))
                rows.append(row)
            return torch.stack(rows)
        """,
        """
        def f(parts):
            result = torch.nn.functional.pad(parts[0], (0, 1), value=1.0)
            for x in parts[1:]:
                longer = torch.nn.functional.pad(x, (0, 1), value=1.0)
                result = torch.einsum("bi,bj->bij", result, longer).reshape(len(x), -1)
            return result
        """,
        """
        def f(parts):
            result = None
            for x in parts:
                longer = torch.cat((x.float(), torch.ones(x.shape[0], 1)), dim=-1)
                if result is None:
                    result = longer
                else:
                    result = (result.unsqueeze(2) @ longer.unsqueeze(1)).flatten(start_dim=1)
            return result
        """,
        """
        import itertools
        def f(parts):
            longer = [torch.cat([x, torch.ones_like(x[:, :1])], 1) for x in parts]
            columns = []
            for choice in itertools.product(*[range(x.shape[1]) for x in longer]):
                column = 1
                for x, i in zip(longer, choice):
                    column = column * x[:, i]
                columns.append(column)
            return torch.stack(columns, 1)
        """,
        """
        def f(parts):
            if len(parts) == 0:
                return 1
            *rest, last = parts
            longer = torch.cat([last, last.new_ones(len(last), 1)], 1)
            if not rest:
                return longer
            return (f(rest)[:, :, None] * longer[:, None]).flatten(1)
        """,
    ],
    "13.2": [
        """
        def f(parts, factors, bias):
            product = 1
            for x, factor in zip(parts, factors):
                longer = torch.nn.functional.pad(x, (0, 1), value=1.0)
                product = product * torch.einsum("bi,ric->brc", longer, factor)
            return product.sum(1) + bias
        """,
        """
        def f(parts, factors, bias):
            logits = torch.zeros(len(parts[0]), len(bias), dtype=bias.dtype)
            for b in range(len(parts[0])):
                for c in range(len(bias)):
                    total = bias[c]
                    for r in range(factors[0].shape[0]):
                        term = 1.0
                        for x, factor in zip(parts, factors):
                            term = term * (x[b] @ factor[r, :-1, c] + factor[r, -1, c])
                        total = total + term
                    logits[b, c] = total
            return logits
        """,
        """
        def f(parts, factors, bias):
            mapped = [torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1) @ g
                      for x, g in zip(parts, factors)]
            return torch.stack(mapped).prod(dim=0).sum(dim=0) + bias
        """,
        """
        def f(parts, factors, bias):
            product = None
            for x, g in zip(parts, factors):
                x, g = x.float(), g.float()
                term = x @ g[:, :-1] + g[:, -1:]
                product = term if product is None else product * term
            return product.sum(0) + bias.float()
        """,
        """
        def f(parts, factors, bias):
            row, table = None, None
            for x, g in zip(parts, factors):
                longer = torch.cat([x, x.new_ones(len(x), 1)], 1)
                if row is None:
                    row, table = longer, g
                else:
                    row = (row[:, :, None] * longer[:, None]).flatten(1)
                    table = (table[:, :, None] * g[:, None]).flatten(1, 2)
            return row @ table.sum(0) + bias
        """,
    ],
}
WRONG = {
    "13.1": [
        (
            """
        def f(parts):
            result = parts[0]
            for x in parts[1:]:
                result = (result[:, :, None] * x[:, None, :]).flatten(1)
            return result
        """,
            "the appended 1 is forgotten",
        ),
        (
            """
        def f(parts):
            result = torch.ones(len(parts[0]), 1, dtype=parts[0].dtype)
            for x in parts:
                result = (result[:, :, None] * x[:, None, :]).flatten(1)
            return torch.cat([result, result.new_ones(len(result), 1)], 1)
        """,
            "the 1 is appended once",
        ),
        (
            """
        def f(parts):
            result = parts[0]
            for x in parts[1:]:
                longer = torch.cat([x, x.new_ones(len(x), 1)], 1)
                result = (result[:, :, None] * longer[:, None, :]).flatten(1)
            return result
        """,
            "only some of the vectors get their 1",
        ),
        (
            """
        def f(parts):
            result = torch.ones(len(parts[0]), 1, dtype=parts[0].dtype)
            for x in parts:
                longer = torch.cat([x.new_ones(len(x), 1), x], 1)
                result = (result[:, :, None] * longer[:, None, :]).flatten(1)
            return result
        """,
            "the 1 stands in front",
        ),
        (
            """
        def f(parts):
            longer = [torch.cat([x, x.new_ones(len(x), 1)], 1) for x in parts]
            letters = "ijkl"[: len(parts)]
            rule = ",".join("b" + one for one in letters) + "->b" + letters
            return torch.einsum(rule, *longer)
        """,
            "the products are not flattened",
        ),
        (
            """
        def f(parts):
            result = torch.ones(len(parts[0]), 1, dtype=parts[0].dtype)
            for x in parts:
                longer = torch.cat([x, x.new_ones(len(x), 1)], 1)
                result = (longer[:, :, None] * result[:, None, :]).flatten(1)
            return result
        """,
            "the products stand in another order",
        ),
        (
            """
        def f(parts):
            longer = [torch.cat([x, x.new_ones(len(x), 1)], 1) for x in parts]
            return torch.cat(longer, 1)
        """,
            "the vectors are side by side",
        ),
        (
            """
        def f(parts):
            result = torch.cat([parts[0], parts[0].new_ones(len(parts[0]), 1)], 1)
            for x in parts[1:]:
                longer = torch.cat([x, x.new_ones(len(x), 1)], 1)
                result = result.T @ longer
            return result.flatten()
        """,
            "the products are summed over the samples",
        ),
        (
            """
        def f(parts):
            result = torch.cat([parts[0], parts[0].new_ones(len(parts[0]), 1)], 1)
            for x in parts[1:]:
                longer = torch.cat([x, x.new_ones(len(x), 1)], 1)
                result = (result[:, None, :, None] * longer[None, :, None, :]).flatten(1)
            return result
        """,
            "samples are multiplied with other samples",
        ),
        (
            """
        def f(parts):
            a, b = [torch.cat([x, x.new_ones(len(x), 1)], 1) for x in parts]
            return (a[:, :, None] * b[:, None, :]).flatten(1)
        """,
            "raised ValueError",
        ),
        (
            """
        def f(parts):
            result = 1
            for x in parts:
                result = result * torch.cat([x, x.new_ones(len(x), 1)], 1)
            return result
        """,
            "or multiplied place by place",
        ),
        (
            """
        def f(parts):
            result = parts[0].new_ones(len(parts[0]), 1)
            for x in parts:
                result = (result[:, :, None] * (x + 1)[:, None, :]).flatten(1)
            return result
        """,
            "1 is added to each entry",
        ),
    ],
    "13.2": [
        (
            """
        def f(parts, factors, bias):
            product = 1.0
            for x, factor in zip(parts, factors):
                longer = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
                product = product * (longer @ factor).sum(dim=0)
            return product + bias
        """,
            "summed over the rank before the modalities are multiplied",
        ),
        (
            """
        def f(parts, factors, bias):
            product = 1.0
            for x, factor in zip(parts, factors):
                longer = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
                product = product * (longer @ factor)
            return product.mean(dim=0) + bias
        """,
            "averaged over the rank",
        ),
        (
            """
        def f(parts, factors, bias):
            total = 0.0
            for x, factor in zip(parts, factors):
                longer = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
                total = total + longer @ factor
            return total.sum(dim=0) + bias
        """,
            "the modalities are added, not multiplied",
        ),
        (
            """
        def f(parts, factors, bias):
            product = 1.0
            for x, factor in zip(parts, factors):
                product = product * (x @ factor[:, :-1])
            return product.sum(dim=0) + bias
        """,
            "the appended 1 is forgotten",
        ),
        (
            """
        def f(parts, factors, bias):
            product = 1.0
            for x, factor in zip(parts, factors):
                product = product * (x @ factor)
            return product.sum(dim=0) + bias
        """,
            "the appended 1 is forgotten",
        ),
        (
            """
        def f(parts, factors, bias):
            product = 1.0
            for x, factor in zip(parts, factors):
                product = product * (x @ factor[:, 1:] + factor[:, :1])
            return product.sum(dim=0) + bias
        """,
            "the 1 stands in front",
        ),
        (
            """
        def f(parts, factors, bias):
            product = 1.0
            for x, factor in zip(parts, factors):
                longer = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
                product = product * (longer @ factor)
            return product.sum(dim=0)
        """,
            "the bias is forgotten",
        ),
        (
            """
        def f(parts, factors, bias):
            total = 0.0
            for r in range(len(factors[0])):
                product = 1.0
                for x, factor in zip(parts, factors):
                    longer = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
                    product = product * (longer @ factor[r])
                total = total + product + bias
            return total
        """,
            "the bias is added too early",
        ),
        (
            """
        def f(parts, factors, bias):
            product = 1.0
            for x, factor in zip(parts, factors):
                longer = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
                product = product * (longer @ factor)
            return product + bias
        """,
            "the axis of the rank is still there",
        ),
        (
            """
        def f(parts, factors, bias):
            product = bias
            for x, factor in zip(parts, factors):
                longer = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
                product = product * (longer @ factor)
            return product.sum(dim=0)
        """,
            "expected",
        ),
        (
            """
        def f(parts, factors, bias):
            product = 1.0
            for x, factor in zip(parts, factors):
                longer = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
                product = product * (longer @ factor)
            return product.prod(dim=0) + bias
        """,
            "the terms of different rank are multiplied",
        ),
        (
            """
        def f(parts, factors, bias):
            product = 1.0
            for x, factor in zip(parts, factors):
                longer = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
                product = product * (longer @ factor)
            return (product.sum(dim=0) + bias).softmax(dim=-1)
        """,
            "expected",
        ),
    ],
}
