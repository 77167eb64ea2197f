"""Notebook 23: back through a gate, and through a product of experts."""

import torch

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.derived import without_autograd
from course_utils.exercises.draws import draws, float64

AUTOGRAD = (
    "autograd is called, and the exercise asks for the way back by hand: derive it, and write it"
    " down without backward() or grad()."
)


# 23.1 -----------------------------------------------------------------------------------------


def gate_backward(d_out, text, image, gate, weight):
    """By sums over named axes; the weight is cut, and nothing is glued."""
    H = text.shape[1]
    d_score = _score(d_out, text, image, gate)
    d_text = gate * d_out + torch.einsum("bh,hk->bk", d_score, weight[:, :H])
    d_image = d_out - gate * d_out + torch.einsum("bh,hk->bk", d_score, weight[:, H:])
    d_weight = torch.hstack([torch.einsum("bh,bk->hk", d_score, x) for x in (text, image)])
    return d_text, d_image, d_weight, torch.einsum("bh->h", d_score)


def _score(d_out, text, image, gate):
    return (gate - gate.square()) * d_out * (text - image)


def _gate_cases(seed=23):
    draw = draws(seed)

    def case(rows, width):
        text, image, weight = draw(rows, width), draw(rows, width), draw(width, 2 * width)
        # a gate as it comes from the way forward, with a bias
        gate = (torch.hstack([text, image]) @ weight.T + draw(width)).sigmoid()
        return draw(rows, width), text, image, gate, weight

    yield float64([[1.0]], [[3.0]], [[-1.0]], [[0.5]], [[1.0, 3.0]])
    # B == 2 H: what is transposed runs here
    yield case(4, 2)
    yield case(1, 2)
    yield case(3, 3)
    d_out, text, image, gate, weight = case(2, 2)
    # wide open and shut: the slope is 0
    yield d_out, text, image, torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double(), weight
    yield case(5, 4)


def _gate_batch():
    """A batch of 64, as in a step on the page."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return normal(64, 16), normal(64, 16), normal(64, 16), normal(64, 16).sigmoid(), normal(16, 32)


def _gate_by_autograd(d_out, text, image, gate, weight):
    leaves = [one.clone().requires_grad_() for one in (text, image, weight)]
    bias = (gate.logit() - torch.hstack([text, image]) @ weight.T).requires_grad_()
    z = (torch.hstack(leaves[:2]) @ leaves[2].T + bias).sigmoid()
    (z * leaves[0] + (1 - z) * leaves[1]).backward(d_out)
    return *[leaf.grad for leaf in leaves], bias.grad.sum(0)


def _gate_with(d_out, text, image, gate, weight, d_score=None, direct=None, through=None):
    """The right answer with another gradient of the score, direct part, or part through it."""
    d_score = _score(d_out, text, image, gate) if d_score is None else d_score
    halves = (d_score @ weight).chunk(2, dim=1) if through is None else through
    straight = (gate * d_out, (1 - gate) * d_out) if direct is None else direct
    d_weight = d_score.T @ torch.hstack([text, image])
    return straight[0] + halves[0], straight[1] + halves[1], d_weight, d_score.sum(0)


def _no_path(d_out, text, image, gate, weight):
    return _gate_with(d_out, text, image, gate, weight, through=(0, 0))


def _only_direct(d_out, text, image, gate, weight):
    zeros = torch.zeros_like(weight)
    return gate * d_out, (1 - gate) * d_out, zeros, zeros[:, 0]


def _no_direct(d_out, text, image, gate, weight):
    return _gate_with(d_out, text, image, gate, weight, direct=(0, 0))


def _no_slope(d_out, text, image, gate, weight):
    return _gate_with(d_out, text, image, gate, weight, d_score=d_out * (text - image))


def _slope_of_tanh(d_out, text, image, gate, weight):
    return _gate_with(
        d_out, text, image, gate, weight, d_score=d_out * (text - image) * (1 - gate**2)
    )


def _one_sided(d_out, text, image, gate, weight):
    return _gate_with(d_out, text, image, gate, weight, d_score=d_out * text * gate * (1 - gate))


def _turned_round(d_out, text, image, gate, weight):
    return _gate_with(
        d_out, text, image, gate, weight, d_score=d_out * (image - text) * gate * (1 - gate)
    )


def _added(d_out, text, image, gate, weight):
    return _gate_with(
        d_out, text, image, gate, weight, d_score=d_out * (text + image) * gate * (1 - gate)
    )


def _gate_for_both(d_out, text, image, gate, weight):
    return _gate_with(d_out, text, image, gate, weight, direct=(gate * d_out, gate * d_out))


def _all_for_both(d_out, text, image, gate, weight):
    return _gate_with(d_out, text, image, gate, weight, direct=(d_out, d_out))


def _exchanged(d_out, text, image, gate, weight):
    return _gate_with(d_out, text, image, gate, weight, direct=((1 - gate) * d_out, gate * d_out))


def _first_half_for_both(d_out, text, image, gate, weight):
    half = _score(d_out, text, image, gate) @ weight[:, : text.shape[1]]
    return _gate_with(d_out, text, image, gate, weight, through=(half, half))


def _halves_exchanged(d_out, text, image, gate, weight):
    halves = (_score(d_out, text, image, gate) @ weight).chunk(2, dim=1)
    return _gate_with(d_out, text, image, gate, weight, through=halves[::-1])


def _weight_as_forward(d_out, text, image, gate, weight):
    d_score, H = _score(d_out, text, image, gate), text.shape[1]
    return _gate_with(
        d_out,
        text,
        image,
        gate,
        weight,
        through=(d_score @ weight[:, :H].T, d_score @ weight[:, H:].T),
    )


def _ends(d_out, text, image, gate, weight, d_weight=None, d_bias=None, divide=1):
    """The right answer with another gradient of weight or bias, or both divided."""
    d_text, d_image, right_weight, right_bias = gate_backward(d_out, text, image, gate, weight)
    d_weight = right_weight if d_weight is None else d_weight
    d_bias = right_bias if d_bias is None else d_bias
    return d_text, d_image, d_weight / divide, d_bias / divide


def _weight_turned(d_out, text, image, gate, weight):
    return _ends(
        d_out,
        text,
        image,
        gate,
        weight,
        d_weight=gate_backward(d_out, text, image, gate, weight)[2].T,
    )


def _weight_of_out(d_out, text, image, gate, weight):
    return _ends(d_out, text, image, gate, weight, d_weight=d_out.T @ torch.hstack([text, image]))


def _bias_of_out(d_out, text, image, gate, weight):
    return _ends(d_out, text, image, gate, weight, d_bias=d_out.sum(0))


def _bias_kept_an_axis(d_out, text, image, gate, weight):
    return _ends(
        d_out,
        text,
        image,
        gate,
        weight,
        d_bias=_score(d_out, text, image, gate).sum(0, keepdim=True),
    )


def _divided(d_out, text, image, gate, weight):
    return _ends(d_out, text, image, gate, weight, divide=len(text))


def _gate_by_hand(answer, d_out, text, image, gate, weight):
    return without_autograd(answer, d_out, text, image, gate, weight)


GATE = Exercise(
    key="23.1",
    reference=gate_backward,
    cases=_gate_cases,
    use=_gate_by_hand,
    batch=_gate_batch,
    returns="d_text (B, H), d_image (B, H), d_weight (H, 2 H) and d_bias (H,)",
    misconceptions=(
        *ideas(AUTOGRAD, _gate_by_autograd),
        *ideas(
            "the path through the gate is forgotten: text and image also go into the score. To the"
            " direct part comes what the score sends back through the weight.",
            _no_path,
            _only_direct,
        ),
        *ideas(
            "the direct path is forgotten: text and image also go straight into the result, times"
            " the gate and times 1 - gate.",
            _no_direct,
        ),
        *ideas(
            "the gate's own slope is missing or is another function's. Between score and gate"
            " stands a sigmoid, with the slope gate * (1 - gate).",
            _no_slope,
            _slope_of_tanh,
        ),
        *ideas(
            "what the gate gets is not d_out * (text - image). It stands in front of both: opening"
            " it lets more of the text in and as much of the image out.",
            _one_sided,
            _turned_round,
            _added,
        ),
        *ideas(
            "both modalities are given the same directly. The gate lets the text through, and 1 -"
            " gate the image.",
            _gate_for_both,
            _all_for_both,
        ),
        *ideas("gate and 1 - gate have changed places on the direct path.", _exchanged),
        *ideas(
            "the columns of d_score @ weight are cut wrongly: the first H belong to the text, the"
            " others to the image, in the order of the glue.",
            _first_half_for_both,
            _halves_exchanged,
        ),
        *ideas(
            "the weight is transposed, as on the way forward. On the way back the sum runs over the"
            " scores, its first axis.",
            _weight_as_forward,
        ),
        *ideas(
            "d_weight is transposed, (2 H, H), or belongs to something else. It is made of the"
            " score's gradient and what went into the score, (H, B) @ (B, 2 H).",
            _weight_turned,
            _weight_of_out,
        ),
        *ideas(
            "d_bias is not the sum of d_score over the samples, (H,): the bias stands in every"
            " sample's score, and its slope there is 1.",
            _bias_of_out,
            _bias_kept_an_axis,
        ),
        *ideas("divided by B once more. d_out already holds the 1/B of the mean loss.", _divided),
    ),
)


# 23.2 -----------------------------------------------------------------------------------------


def experts_backward(logits, log_prior, there, labels):
    """By products with who is there, as 0 and 1."""
    kept = there.to(logits.dtype)  # (B, M)
    safe = logits.masked_fill(~there[..., None], 0)
    evidence = torch.einsum("bm,bmc->bc", kept, safe - safe.logsumexp(2, keepdim=True))
    count = 1 - kept.sum(1)  # (B,): how often the prior stands in the sum
    residual = (evidence + torch.outer(count, log_prior)).softmax(1)
    residual[torch.arange(len(labels)), labels] -= 1
    residual = residual / len(labels)
    return torch.einsum("bm,bc->bmc", kept, residual), count @ residual


def _experts_cases(seed=24):
    draw, generator = draws(seed), torch.Generator().manual_seed(seed)

    def case(there, classes, missing=0.0):
        there = torch.tensor(there) == 1
        logits = draw(*there.shape, classes)
        logits[~there] = missing
        labels = torch.randint(classes, there.shape[:1], generator=generator)
        return logits, draw(classes).log_softmax(0), there, labels

    half, prior = float64([[[0.0, 0.0], [0.0, 0.0]]], [0.2, 0.8])
    yield half, prior.log(), torch.tensor([[True, True]]), torch.tensor([1])
    yield case([[1, 1], [1, 1]], 3)
    yield case([[1, 0], [1, 1], [0, 1]], 3, missing=2.5)
    yield case([[1, 1, 1], [0, 0, 0], [1, 0, 1]], 4, missing=1.0)
    yield case([[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 0]], 3, missing=float("nan"))
    # as many samples as experts as classes
    yield case([[1, 1, 0], [1, 1, 1], [0, 0, 1]], 3, missing=-1.0)
    logits, prior, there, labels = case([[1, 1], [1, 0]], 3)
    yield 400 * logits, prior, there, labels


def _experts_batch():
    """A batch of 64, as in a step on the page."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 2, 10, generator=generator, dtype=torch.float64)
    there = torch.ones(64, 2, dtype=torch.bool)
    there[::3, 1] = False
    prior = torch.full((10,), 0.1, dtype=torch.float64).log()
    return logits, prior, there, torch.arange(64) % 10


def _experts_use(answer, logits, log_prior, there, labels):
    return without_autograd(answer, logits, log_prior, there, labels)


def _said(logits, log_prior, there):
    """What the product says, (B, C), and what each expert adds, (B, M, C)."""
    added = torch.where(there[..., None], logits.log_softmax(2) - log_prior, 0)
    return (log_prior + added.sum(1)).softmax(1), added


def _one_hot(labels, like):
    return torch.eye(like.shape[-1], dtype=like.dtype)[labels]


def _experts_by_autograd(logits, log_prior, there, labels):
    leaf, prior = logits.clone().requires_grad_(), log_prior.clone().requires_grad_()
    added = torch.where(there[..., None], leaf.nan_to_num(0).log_softmax(2) - prior, 0)
    total = (prior + added.sum(1)).log_softmax(1)
    (-total[torch.arange(len(labels)), labels].mean()).backward()
    return leaf.grad, prior.grad


def _changed(logits, log_prior, there, labels, residual=None, count=None, each=None, divide=None):
    """The right answer with another residual (B, C), count of the prior (B, 1), gradient for each
    expert (B, M, C), or divisor.
    """
    p, _ = _said(logits, log_prior, there)
    residual = p - _one_hot(labels, p) if residual is None else residual
    residual = residual / (len(labels) if divide is None else divide)
    each = residual[:, None].expand_as(logits) if each is None else each / len(labels)
    count = 1 - there.sum(1, keepdim=True) if count is None else count
    return torch.where(there[..., None], each, 0), (count * residual).sum(0)


def _own_residuals(logits, log_prior, there, labels):
    return _changed(
        logits,
        log_prior,
        there,
        labels,
        each=logits.softmax(2) - _one_hot(labels, log_prior)[:, None],
    )


def _softmax_again(logits, log_prior, there, labels):
    p, own = _said(logits, log_prior, there)[0], logits.softmax(2)
    d = (p - _one_hot(labels, p))[:, None]
    return _changed(
        logits, log_prior, there, labels, each=own * (d - (own * d).sum(2, keepdim=True))
    )


def _shared_out(logits, log_prior, there, labels):
    p, _ = _said(logits, log_prior, there)
    d = (p - _one_hot(labels, p))[:, None].expand_as(logits)
    return _changed(
        logits, log_prior, there, labels, each=d / there.sum(1).clamp(min=1)[:, None, None]
    )


def _prior_never_forward(logits, log_prior, there, labels):
    p = torch.where(there[..., None], logits.log_softmax(2), 0).sum(1).softmax(1)
    return _changed(logits, log_prior, there, labels, residual=p - _one_hot(labels, p))


def _prior_per_expert_forward(logits, log_prior, there, labels):
    added = torch.where(there[..., None], logits.log_softmax(2) + log_prior, 0)
    p = added.sum(1).softmax(1)
    return _changed(logits, log_prior, there, labels, residual=p - _one_hot(labels, p))


def _mean_of_probabilities(logits, log_prior, there, labels):
    p = torch.where(there[..., None], logits.softmax(2), 0).sum(1) / there.sum(1, keepdim=True)
    p = torch.where(there.any(1, keepdim=True), p, log_prior.softmax(0))
    return _changed(logits, log_prior, there, labels, residual=p - _one_hot(labels, p))


def _missing_counted(logits, log_prior, there, labels):
    p = (log_prior + (logits.log_softmax(2) - log_prior).sum(1)).softmax(1)
    return _changed(logits, log_prior, there, labels, residual=p - _one_hot(labels, p))


def _turned(logits, log_prior, there, labels):
    p, _ = _said(logits, log_prior, there)
    return _changed(logits, log_prior, there, labels, residual=_one_hot(labels, p) - p)


def _prior_by_number(logits, log_prior, there, labels):
    return _changed(logits, log_prior, there, labels, count=1 - there.shape[1])


def _prior_per_expert(logits, log_prior, there, labels):
    return _changed(logits, log_prior, there, labels, count=-there.sum(1, keepdim=True))


def _missing_sent(logits, log_prior, there, labels):
    _, d_log_prior = experts_backward(logits, log_prior, there, labels)
    p, _ = _said(logits, log_prior, there)
    each = (p - _one_hot(labels, p))[:, None].expand_as(logits) / len(labels)
    return each, d_log_prior


def _prior_not_added(logits, log_prior, there, labels):
    d_logits, _ = experts_backward(logits, log_prior, there, labels)
    p, _ = _said(logits, log_prior, there)
    return d_logits, (1 - there.sum(1, keepdim=True)) * (p - _one_hot(labels, p)) / len(labels)


EXPERTS = Exercise(
    key="23.2",
    reference=experts_backward,
    cases=_experts_cases,
    use=_experts_use,
    batch=_experts_batch,
    returns="d_logits (B, M, C) and d_log_prior (C,)",
    misconceptions=(
        *ideas(AUTOGRAD, _experts_by_autograd),
        *ideas(
            "each expert gets the residual of its own softmax. The loss is that of the product:"
            " p - y with the product's p, and the same for every expert who is there.",
            _own_residuals,
        ),
        *ideas(
            "the residual goes through each expert's softmax once more. An expert sends"
            " log p_m = z_m - logsumexp(z_m), which takes p_m times the residual's sum off, and"
            " that sum is 0.",
            _softmax_again,
        ),
        *ideas(
            "the residual is divided among the experts. Log-probabilities are added, and a sum"
            " hands the whole of it to each.",
            _shared_out,
        ),
        *ideas(
            "the product's p is not that of (12.6): the prior is taken out of each expert who is"
            " there, and put in once.",
            _prior_never_forward,
            _prior_per_expert_forward,
            _mean_of_probabilities,
        ),
        *ideas(
            "the prior's gradient is counted wrongly. It stands in the sum once for itself and"
            " minus once for each expert who is there: 1 - (number there), row by row.",
            _prior_by_number,
            _prior_per_expert,
            lambda logits, log_prior, there, labels: _changed(
                logits, log_prior, there, labels, count=1
            ),
            lambda logits, log_prior, there, labels: _changed(
                logits, log_prior, there, labels, count=there.sum(1, keepdim=True)
            ),
            lambda logits, log_prior, there, labels: _changed(
                logits, log_prior, there, labels, count=there.sum(1, keepdim=True) - 1
            ),
        ),
        *ideas(
            "experts who are not there have a say in the product. Choose 0 for them with"
            " torch.where, before the sum.",
            _missing_counted,
        ),
        *ideas(
            "experts who are not there get a gradient. They were not in the sum: exactly 0.",
            _missing_sent,
        ),
        *ideas(
            "the loss is a mean over B samples, and the residual is not divided by B.",
            lambda logits, log_prior, there, labels: _changed(
                logits, log_prior, there, labels, divide=1
            ),
        ),
        *ideas("the sign is turned round: the residual is p - y, not y - p.", _turned),
        *ideas(
            "d_log_prior still has a row per sample. All samples share the prior: add over them.",
            _prior_not_added,
        ),
    ),
)

EXERCISES = [GATE, EXPERTS]
