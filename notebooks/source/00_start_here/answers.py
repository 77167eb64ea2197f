"""Answers to the exercises of page 00, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

RIGHT = {
    "00.1": [
        """
        def f(batch, names, weight, bias):
            fused = torch.cat([batch[name] for name in names], dim=1)
            return torch.nn.functional.linear(fused, weight, bias)
        """,
        """
        def f(batch, names, weight, bias):
            rows = []
            for i in range(len(batch[names[0]])):
                fused = torch.cat([batch[name][i] for name in names])
                rows.append(weight @ fused + bias)
            return torch.stack(rows)
        """,
        """
        def f(batch, names, weight, bias):
            logits, start = bias, 0
            for name in names:
                end = start + batch[name].shape[1]
                logits = logits + batch[name] @ weight[:, start:end].T
                start = end
            return logits
        """,
        """
        def f(batch, names, weight, bias):
            fused = torch.hstack([batch[name] for name in names])
            return torch.addmm(bias, fused, weight.t())
        """,
    ],
    "00.2": [
        """
        def f(logits, labels):
            return (logits.argmax(dim=1) == labels).float().mean().item()
        """,
        """
        def f(logits, labels):
            right = 0
            for row, label in zip(logits, labels):
                if row.argmax() == label:
                    right += 1
            return right / len(labels)
        """,
        """
        def f(logits, labels):
            best = logits.softmax(-1).topk(1).indices.squeeze(-1)
            return (best == labels).double().mean()
        """,
        """
        def f(logits, labels):
            return np.mean(logits.numpy().argmax(1) == labels.numpy())
        """,
    ],
    "00.3": [
        """
        def f(features, name, order):
            result = dict(features)
            result[name] = result[name][order]
            return result
        """,
        """
        def f(features, name, order):
            rows = [features[name][i] for i in order.tolist()]
            return features | {name: torch.stack(rows)}
        """,
        """
        def f(features, name, order):
            chosen = torch.nn.functional.one_hot(order, len(order)).float()
            return {**features, name: (chosen @ features[name]).requires_grad_()}
        """,
    ],
}

WRONG = {
    "00.1": [
        (
            (
                "def f(batch, names, weight, bias):\n z = torch.cat([batch[n] for n in names], 1)\n"
                " return z @ weight.T"
            ),
            "the bias is missing",
        ),
        (
            (
                "def f(batch, names, weight, bias):\n z = torch.cat([v for k, v in batch.items() if"
                " k in names], 1)\n return z @ weight.T + bias"
            ),
            "the modalities stand in the order of the batch",
        ),
        (
            (
                "def f(batch, names, weight, bias):\n z = torch.cat([batch[n] for n in names])\n"
                " return z @ weight.T + bias"
            ),
            "do not stand side by side",
        ),
        (
            (
                "def f(batch, names, weight, bias):\n z = torch.cat([batch[n] for n in names], 1)\n"
                " return z @ weight + bias"
            ),
            "the weight is not transposed",
        ),
        (
            (
                "def f(batch, names, weight, bias):\n z = torch.cat([batch[n] for n in names], 1)\n"
                " return (z @ weight.T + bias).softmax(1)"
            ),
            "these are probabilities",
        ),
        (
            (
                "def f(batch, names, weight, bias):\n z = torch.cat([batch[n] for n in names], 1)\n"
                " return torch.log_softmax(z @ weight.T + bias, 1)"
            ),
            "or their logarithms",
        ),
        (
            (
                "def f(batch, names, weight, bias):\n z = torch.cat([batch[n] for n in"
                " reversed(names)], 1)\n return z @ weight.T + bias"
            ),
            "the modalities stand in reverse",
        ),
        (
            (
                "def f(batch, names, weight, bias):\n z = torch.cat([batch[n] for n in"
                " sorted(names)], 1)\n return z @ weight.T + bias"
            ),
            "the modalities stand in the order of the alphabet",
        ),
        (
            (
                "def f(batch, names, weight, bias):\n z = torch.cat(list(batch.values()), 1)\n"
                " return z @ weight.T + bias"
            ),
            "never the label",
        ),
        (
            (
                "def f(batch, names, weight, bias):\n z = torch.cat([batch[n] for n in names], 1)\n"
                " return weight @ z.T + bias[:, None]"
            ),
            "the result is transposed",
        ),
        (
            (
                "def f(batch, names, weight, bias):\n z = torch.cat([batch[n] for n in ('text',"
                " 'image', 'audio')], 1)\n return z @ weight.T + bias"
            ),
            "raised KeyError: 'image'",
        ),
        (
            (
                "def f(batch, names, weight, bias):\n z = sum(batch[n] for n in names)\n"
                " return z @ weight.T + bias"
            ),
            "mat1 and mat2 shapes cannot be multiplied",
        ),
    ],
    "00.2": [
        (
            "def f(logits, labels): return (logits.argmax(dim=1) == labels).sum().item()",
            "not which share",
        ),
        (
            "def f(logits, labels): return (logits.argmax(dim=0) == labels).float().mean().item()",
            "in each column",
        ),
        (
            "def f(logits, labels): return (logits.argmax() == labels).float().mean().item()",
            "of the whole batch",
        ),
        (
            "def f(logits, labels): return (logits.argmax(dim=1) == labels).float()",
            "expected one number",
        ),
        (
            "def f(logits, labels): return (logits.max(dim=1)[0] == labels).float().mean().item()",
            "`argmax`, not `max`",
        ),
        (
            "def f(logits, labels): return 100 * (logits.argmax(1) == labels).double().mean()",
            "in percent",
        ),
        (
            "def f(logits, labels): return (logits == labels).mean()",
            "mean(): could not infer output dtype",
        ),
        (
            "def f(logits, labels): return (logits.argmax(1) == labels).mean()",
            "mean(): could not infer output dtype",
        ),
    ],
    "00.3": [
        (
            (
                "def f(features, name, order):\n new = dict(features)\n for k in (name, 'label'):"
                " new[k] = new[k][order]\n return new"
            ),
            "the labels are shuffled too",
        ),
        (
            (
                "def f(features, name, order): return {k: v if k == 'label' else v[order] for k, v"
                " in features.items()}"
            ),
            "every modality is shuffled in the same way",
        ),
        (
            (
                "def f(features, name, order):\n x = torch.empty_like(features[name])\n x[order] ="
                " features[name]\n return {**features, name: x}"
            ),
            "the order is read the other way round",
        ),
        (
            "def f(features, name, order): return {**features, name: features[name].T[order].T}",
            "the columns are permuted",
        ),
        (
            (
                "def f(features, name, order): return {k: v[order] if k != name else v for k, v in"
                " features.items()}"
            ),
            "the choice is turned round",
        ),
        (
            (
                "def f(features, name, order):\n new = dict(features)\n for k in set(new) - {name,"
                " 'label'}: new[k] = new[k][order]\n return new"
            ),
            "the choice is turned round",
        ),
        (
            "def f(features, name, order): return {name: features[name][order]}",
            "only the shuffled modality comes back",
        ),
        (
            "def f(features, name, order): features[name] = features[name][order]; return features",
            "changes its argument `features` in place",
        ),
        (
            (
                "def f(features, name, order): features[name].copy_(features[name][order]); return"
                " dict(features)"
            ),
            "changes its argument `features` in place",
        ),
        (
            "def f(features, name, order): features[name][order]; return dict(features)",
            "nothing is shuffled",
        ),
        (
            "def f(features, name, order): return {**features, name: features[name][order][0]}",
            'entry ["text"] came as shape (2,), expected (2, 2): one row per sample.',
        ),
        (
            (
                "def f(features, name, order): return {**features, 'label':"
                " features['label'].float(), name: features[name][order]}"
            ),
            'entry ["label"] came as a tensor of float values, expected int: one row per sample.',
        ),
        (
            (
                "def f(features, name, order): return {**features, name:"
                " features[name][torch.randperm(len(order))]}"
            ),
            'entry ["',
        ),
    ],
}
