"""Answers to the exercises of page 16, written by hand: right ones, and wrong ones with the words
that their verdict has to have.
"""

SYMMETRIC = """
import torch
import torch.nn.functional as F


def f(pictures, sentences, temperature):
    a, b = F.normalize(pictures, dim=1), F.normalize(sentences, dim=1)
    logits = a @ b.T / temperature
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
"""

PARTNERS = """
import torch
import torch.nn.functional as F


def f(pictures, sentences, temperature, partners):
    a, b = F.normalize(pictures, dim=1), F.normalize(sentences, dim=1)
    logits = a @ b.T / temperature
    total = 0.0
    for table, yes in ((logits, partners), (logits.T, partners.T)):
        logs = table.log_softmax(1)
        total = total - ((logs * yes).sum(1) / yes.sum(1)).mean()
    return total / 2
"""


def changed(code, *changes):
    """Code with some of its lines otherwise: (line, other line), each of which it has."""
    for line, other in changes:
        assert line in code
        code = code.replace(line, other)
    return code


RIGHT = {
    "16.1": [
        SYMMETRIC,
        # both log-softmaxes of one table
        """
        def f(pictures, sentences, temperature):
            a = pictures / pictures.norm(dim=1, keepdim=True)
            b = sentences / sentences.norm(dim=1, keepdim=True)
            logits = torch.einsum("id,jd->ij", a, b) / temperature
            return -(logits.log_softmax(0) + logits.log_softmax(1)).diag().mean() / 2
        """,
        # pair by pair
        """
        def f(pictures, sentences, temperature):
            total = 0
            for a, b in ((pictures, sentences), (sentences, pictures)):
                for i in range(len(a)):
                    row = torch.cosine_similarity(a[i:i + 1], b) / temperature
                    total = total + torch.logsumexp(row, 0) - row[i]
            return total / 2 / len(pictures)
        """,
        # the largest taken off, then exponentials
        """
        def f(pictures, sentences, temperature):
            logits = torch.cosine_similarity(pictures[:, None], sentences, dim=-1) / temperature
            def way(x):
                x = x - x.max(1, keepdim=True).values
                return (x.exp().sum(1).log() - x.diagonal()).mean()
            return 0.5 * way(logits) + 0.5 * way(logits.T)
        """,
        # from one-hot targets
        changed(SYMMETRIC, ("torch.arange(len(logits))", "torch.eye(len(logits)).to(logits)")),
    ],
    "16.2": [
        PARTNERS,
        # targets that are shares
        """
        import torch.nn.functional as F
        def f(pictures, sentences, temperature, partners):
            logits = F.normalize(pictures) @ F.normalize(sentences).T / temperature
            share = partners / partners.sum(1, keepdim=True)
            other = partners.T / partners.T.sum(1, keepdim=True)
            one = F.cross_entropy(logits, share.to(logits))
            return (one + F.cross_entropy(logits.T, other.to(logits))) / 2
        """,
        """
        def f(pictures, sentences, temperature, partners):
            logits = torch.cosine_similarity(pictures[:, None], sentences, dim=2) / temperature
            rows = torch.where(partners, logits.log_softmax(1), 0).sum(1) / partners.sum(1)
            columns = torch.where(partners, logits.log_softmax(0), 0).sum(0) / partners.sum(0)
            return -(rows.mean() + columns.mean()) / 2
        """,
        """
        def f(pictures, sentences, temperature, partners):
            losses = []
            for a, b, yes in ((pictures, sentences, partners), (sentences, pictures, partners.T)):
                for i in range(len(a)):
                    logits = torch.cosine_similarity(a[i][None], b) / temperature
                    losses.append(-logits.log_softmax(0)[yes[i]].mean())
            return torch.stack(losses).mean()
        """,
    ],
}

WRONG = {
    "16.1": [
        (changed(SYMMETRIC, ("/ temperature", "* temperature")), "divided by it"),
        (changed(SYMMETRIC, (" / temperature", "")), "temperature is not used"),
        (changed(SYMMETRIC, ("F.normalize(pictures, dim=1)", "pictures")), "length 1"),
        (changed(SYMMETRIC, ("dim=1", "dim=0")), "each *row* is a vector"),
        (changed(SYMMETRIC, ("logits.T", "logits")), "one direction is missing"),
        (
            changed(
                SYMMETRIC,
                (
                    "(F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2",
                    "F.cross_entropy(logits.softmax(1), own)",
                ),
            ),
            "",
        ),
        (changed(SYMMETRIC, ("own)) / 2", "own))")), "their mean"),
        (
            """
            def f(pictures, sentences, temperature):
                return 1 - torch.cosine_similarity(pictures, sentences).mean()
            """,
            "nothing pushes apart",
        ),
        (
            """
            def f(pictures, sentences, temperature):
                a = pictures / pictures.norm(dim=1, keepdim=True)
                b = sentences / sentences.norm(dim=1, keepdim=True)
                powers = torch.exp(a @ b.T / temperature)
                one = powers.diag() / powers.sum(1)
                other = powers.diag() / powers.sum(0)
                return -(one.log() + other.log()).mean() / 2
            """,
            "too large for its dtype",
        ),
        # by the page's own lines: without keepdim
        (
            """
            def f(pictures, sentences, temperature):
                a, b = pictures / pictures.norm(), sentences / sentences.norm()
                logits = a @ b.T / temperature
                own = torch.arange(len(logits))
                one = torch.nn.functional.cross_entropy(logits, own)
                return (one + torch.nn.functional.cross_entropy(logits.T, own)) / 2
            """,
            "each *row* is a vector",
        ),
    ],
    "16.2": [
        (changed(PARTNERS, ("(logs * yes).sum(1) / yes.sum(1)", "logs.diag()")), "diagonal"),
        (changed(PARTNERS, (" / yes.sum(1)", "")), "Take their mean"),
        (changed(PARTNERS, (" / yes.sum(1)", " / len(yes)")), "number of columns"),
        (changed(PARTNERS, ("((logs * yes).sum(1) / yes.sum(1))", "logs[yes]")), "one mean"),
        (changed(PARTNERS, ("partners.T", "partners")), "must be turned"),
        (changed(PARTNERS, ("total / 2", "total")), "their mean"),
        (
            changed(
                PARTNERS,
                (
                    "((logs * yes).sum(1) / yes.sum(1)).mean()",
                    "(logs.exp() * yes).sum(1).log().mean()",
                ),
            ),
            "",
        ),
        (changed(PARTNERS, ("total - (", "total + (")), "sign"),
    ],
}
