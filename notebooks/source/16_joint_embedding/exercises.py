"""Notebook 16: the symmetric contrastive loss, and one with several partners."""

import torch
from torch.nn import functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws, float64

# 16.1 -----------------------------------------------------------------------------------------


def symmetric_loss(pictures, sentences, temperature):
    """Row by row and column by column, with the logarithm of the sum of exponentials."""
    pictures = pictures / pictures.norm(dim=1, keepdim=True)
    sentences = sentences / sentences.norm(dim=1, keepdim=True)
    logits = torch.einsum("id,jd->ij", pictures, sentences) / temperature
    own = torch.einsum("ii->i", logits)
    rows, columns = logits.logsumexp(1) - own, logits.logsumexp(0) - own
    return torch.cat([rows, columns]).sum() / (2 * len(own))


def _unit(x):
    return F.normalize(x, dim=1)


def _symmetric(
    pictures,
    sentences,
    temperature,
    unit=_unit,
    scale=lambda logits, t: logits / t,
    first=lambda logits: F.cross_entropy(logits, torch.arange(len(logits))),
    second=lambda logits: F.cross_entropy(logits.T, torch.arange(len(logits))),
    join=lambda one, other: (one + other) / 2,
):
    """The same in steps that a wrong idea can change one by one."""
    logits = scale(unit(pictures) @ unit(sentences).T, temperature)
    return join(first(logits), second(logits))


def _naive(logits):
    powers = logits.exp()
    return -(powers.diagonal() / powers.sum(1)).log().mean()


def _twice(logits):
    return F.cross_entropy(logits.softmax(1), torch.arange(len(logits)))


def _others_only(logits):
    """The partner left out below the fraction."""
    eye = torch.eye(len(logits), dtype=torch.bool)
    return (logits.masked_fill(eye, -torch.inf).logsumexp(1) - logits.diagonal()).mean()


def _yes_or_no(logits):
    return F.binary_cross_entropy_with_logits(logits, torch.eye(len(logits)).to(logits))


def _both(one):
    """A way of one direction, for both."""
    return {"first": one, "second": lambda logits: one(logits.T)}


def _results(function, pictures, sentences, temperature):
    """The loss and its gradients."""
    leaves = [x.detach().clone().requires_grad_() for x in (pictures, sentences)]
    loss = function(*leaves, temperature)
    if not torch.is_tensor(loss) or loss.numel() != 1 or not loss.requires_grad:
        return loss
    said = {"loss": loss.reshape(())}
    gradients = torch.autograd.grad(loss.reshape(()), leaves, allow_unused=True)
    for name, x, gradient in zip(("pictures", "sentences"), leaves, gradients):
        said[f"gradient of {name}"] = torch.zeros_like(x) if gradient is None else gradient
    return said


def _symmetric_cases(seed=1):
    # two pictures, and both sentences mean the first: 1.19 for the rows, 0.69 for the columns
    yield *float64([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [2.0, 0.0]]), 0.5
    draw = draws(seed)
    yield draw(3, 2), draw(3, 2), 1.0
    yield draw(3, 4), 5 * draw(3, 4), 0.1
    yield draw(1, 7), draw(1, 7), 0.1
    # temperatures so low that the exponential of a logit is more than a float64 can hold
    yield draw(4, 3), draw(4, 3), 0.001
    yield draw(6, 5), 0.2 * draw(6, 5), 0.07


def _symmetric_batch():
    """A batch of the page: 128 pairs, 32 wide."""
    draw = torch.Generator().manual_seed(0)
    pictures, sentences = (torch.randn(128, 32, generator=draw) for _ in range(2))
    return pictures.requires_grad_(), sentences.requires_grad_(), 0.1


SYMMETRIC_LOSS = Exercise(
    key="16.1",
    reference=symmetric_loss,
    cases=_symmetric_cases,
    use=_results,
    batch=_symmetric_batch,
    returns="one number, a tensor of shape ()",
    misconceptions=(
        *ideas(
            "the cosines are multiplied by the temperature. They are divided by it: a low"
            " temperature makes large differences.",
            lambda a, b, t: _symmetric(a, b, t, scale=lambda x, t: x * t),
        ),
        *ideas(
            "the temperature is not used.",
            lambda a, b, t: _symmetric(a, b, t, scale=lambda x, t: x),
        ),
        *ideas(
            "the vectors are not brought to length 1 before the dot products: these are no"
            " cosines.",
            lambda a, b, t: _symmetric(a, b, t, unit=lambda x: x),
            lambda a, b, t: _symmetric(_unit(a), b, t, unit=lambda x: x),
            lambda a, b, t: _symmetric(a, _unit(b), t, unit=lambda x: x),
        ),
        *ideas(
            "the wrong thing is brought to length 1: each *row* is a vector, along axis 1.",
            lambda a, b, t: _symmetric(a, b, t, unit=lambda x: F.normalize(x, dim=0)),
            lambda a, b, t: _symmetric(a, b, t, unit=lambda x: x / x.norm()),
            lambda a, b, t: _symmetric(a, b, t, unit=lambda x: x / x.square().sum(1, True)),
            lambda a, b, t: _symmetric(a, b, t, unit=lambda x: x.softmax(1)),
        ),
        *ideas(
            "one direction is missing: pictures look for sentences along the rows, sentences for"
            " pictures along the columns, and the loss is the mean of both.",
            lambda a, b, t: _symmetric(a, b, t, join=lambda one, other: one),
            lambda a, b, t: _symmetric(a, b, t, join=lambda one, other: other),
        ),
        *ideas(
            "the two directions are added. The loss is their mean.",
            lambda a, b, t: _symmetric(a, b, t, join=lambda one, other: one + other),
        ),
        *ideas(
            "the losses of the rows are added up. Take their mean, so that batches of any size can"
            " be compared.",
            lambda a, b, t: _symmetric(a, b, t, join=lambda x, y: (x + y) * len(a) / 2),
        ),
        *ideas(
            "the softmax comes twice: `cross_entropy` has one inside and wants the logits.",
            lambda a, b, t: _symmetric(a, b, t, **_both(_twice)),
        ),
        *ideas(
            "the exponential of a logit is too large for its dtype (at temperature 0.001 logits"
            " reach 1,000). Use log_softmax, logsumexp or cross_entropy.",
            lambda a, b, t: _symmetric(a, b, t, **_both(_naive)),
        ),
        *ideas(
            "the partner is missing in the sum below the fraction. A softmax goes over all columns,"
            " the right one too.",
            lambda a, b, t: _symmetric(a, b, t, **_both(_others_only)),
        ),
        *ideas(
            "each pair is asked alone, yes or no. That is the sigmoid loss; here the partners"
            " compete in one softmax.",
            lambda a, b, t: _symmetric(a, b, t, **_both(_yes_or_no)),
        ),
        *ideas(
            "only the partners are compared, no others: without the rest of the table nothing"
            " pushes apart.",
            lambda a, b, t: 1 - F.cosine_similarity(a, b).mean(),
            lambda a, b, t: -F.cosine_similarity(a, b).mean() / t,
        ),
    ),
)

# 16.2 -----------------------------------------------------------------------------------------


def partner_loss(pictures, sentences, temperature, partners):
    """In loops, with Python's sums."""
    cosines = F.cosine_similarity(pictures[:, None], sentences[None], dim=2)
    total = 0.0
    for logits, yes in ((cosines / temperature, partners), (cosines.T / temperature, partners.T)):
        logs = logits - torch.logsumexp(logits, 1, keepdim=True)
        for row, chosen in zip(logs, yes):
            total = total + sum(row[chosen]) / int(chosen.sum())
    return -total / (2 * len(pictures))


def _partners(
    pictures,
    sentences,
    temperature,
    partners,
    side=lambda logs, yes: -(logs.masked_fill(~yes, 0).sum(1) / yes.sum(1)).mean(),
    logs=lambda logits, yes: logits.log_softmax(1),
    turn=lambda yes: yes.T,
    join=lambda one, other: (one + other) / 2,
):
    logits = _unit(pictures) @ _unit(sentences).T / temperature
    one = side(logs(logits, partners), partners)
    other = turn(partners)
    return join(one, side(logs(logits.T, other), other))


def _without_partners(logits, yes):
    """Other partners are taken out of each one's sum."""
    own = logits.masked_fill(yes, -torch.inf).logsumexp(1, keepdim=True)
    return logits - torch.logaddexp(logits, own.expand_as(logits))


def _own_column(logs, yes):
    return -logs.diagonal().mean()


def _partner_results(function, pictures, sentences, temperature, partners):
    return _results(lambda a, b, t: function(a, b, t, partners), pictures, sentences, temperature)


def _partner_cases(seed=2):
    # both sentences fit the first picture, the second alone its own
    pictures, sentences = float64([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]])
    yield pictures, sentences, 1.0, torch.tensor([[True, True], [False, True]])
    draw, chance = draws(seed), torch.Generator().manual_seed(seed)
    wanted = torch.tensor([[True, True, True], [False, True, False], [False, False, True]])
    yield draw(3, 2), draw(3, 2), 0.5, wanted
    yield draw(3, 4), 4 * draw(3, 4), 0.2, torch.eye(3).bool()
    # all fit all; and logits of 1,000
    yield draw(2, 3), draw(2, 3), 0.5, torch.ones(2, 2).bool()
    some = torch.rand(4, 4, generator=chance) < 0.4
    yield draw(4, 3), draw(4, 3), 0.001, some | torch.eye(4).bool()
    some = torch.rand(7, 7, generator=chance) < 0.3
    yield draw(7, 4), draw(7, 4), 0.1, some | torch.eye(7).bool()


def _partner_batch():
    pictures, sentences, temperature = _symmetric_batch()
    draw = torch.Generator().manual_seed(1)
    same = torch.randint(60, (128,), generator=draw)
    return pictures, sentences, temperature, same[:, None] == same


PARTNER_LOSS = Exercise(
    key="16.2",
    reference=partner_loss,
    cases=_partner_cases,
    use=_partner_results,
    batch=_partner_batch,
    returns="one number, a tensor of shape ()",
    misconceptions=(
        *ideas(
            "the other partners are still pushed away: only the diagonal counts as right.",
            lambda a, b, t, p: _partners(a, b, t, p, side=_own_column),
        ),
        *ideas(
            "the log-probabilities of a row's partners are added. Take their mean: a row with five"
            " partners counts as much as a row with one.",
            lambda a, b, t, p: _partners(
                a, b, t, p, side=lambda x, y: -x.masked_fill(~y, 0).sum(1).mean()
            ),
        ),
        *ideas(
            "the sum over a row's partners is divided by the number of columns, not by the number"
            " of partners.",
            lambda a, b, t, p: _partners(
                a, b, t, p, side=lambda x, y: -x.masked_fill(~y, 0).mean()
            ),
        ),
        *ideas(
            "one mean goes over all partners of the table. Then rows with many partners count more:"
            " first the mean in each row, then that of the rows.",
            lambda a, b, t, p: _partners(a, b, t, p, side=lambda x, y: -x[y].mean()),
        ),
        *ideas(
            "the probabilities of the partners are added before the logarithm. Then one partner"
            " that is found is enough; the card asks for the mean of the logarithms.",
            lambda a, b, t, p: _partners(
                a, b, t, p, side=lambda x, y: -x.masked_fill(~y, -torch.inf).logsumexp(1).mean()
            ),
            lambda a, b, t, p: _partners(
                a,
                b,
                t,
                p,
                side=lambda x, y: (
                    y.sum(1).log() - x.masked_fill(~y, -torch.inf).logsumexp(1)
                ).mean(),
            ),
        ),
        *ideas(
            "for the sentences' direction the table of partners must be turned, as the logits are:"
            " `partners.T`.",
            lambda a, b, t, p: _partners(a, b, t, p, turn=lambda yes: yes),
        ),
        *ideas(
            "the other partners are left out below the fraction. They stay in the softmax, and the"
            " best that two partners can have is one half each.",
            lambda a, b, t, p: _partners(a, b, t, p, logs=_without_partners),
        ),
        *ideas(
            "one direction is missing: the loss is the mean of pictures to sentences and of"
            " sentences to pictures.",
            lambda a, b, t, p: _partners(a, b, t, p, join=lambda one, other: one),
            lambda a, b, t, p: _partners(a, b, t, p, join=lambda one, other: other),
        ),
        *ideas(
            "the two directions are added. The loss is their mean.",
            lambda a, b, t, p: _partners(a, b, t, p, join=lambda one, other: one + other),
        ),
        *ideas(
            "the sign is turned: a loss is the *negative* logarithm.",
            lambda a, b, t, p: _partners(a, b, t, p, join=lambda one, other: -(one + other) / 2),
        ),
        *ideas(
            "the logits are multiplied by the partners. A zero is a logit like any other: take the"
            " log-softmax over all columns, then choose.",
            lambda a, b, t, p: _partners(a, b, t, p, logs=lambda x, y: (x * y).log_softmax(1)),
        ),
    ),
)

EXERCISES = [SYMMETRIC_LOSS, PARTNER_LOSS]
