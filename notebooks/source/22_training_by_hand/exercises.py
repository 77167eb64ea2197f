"""Notebook 22: back through a layer into what was glued, from a mean into a table, and from two
losses to three modalities.
"""

import torch
import torch.nn.functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.derived import without_autograd
from course_utils.exercises.draws import draws, float64

AUTOGRAD = (
    "autograd is called, and the exercise asks for the way back by hand: derive it, and write it"
    " down without backward() or grad()."
)


# 22.1 -----------------------------------------------------------------------------------------


def layer_backward(d_out, parts, weight):
    """Part by part: each has its own block of the weight, and nothing is glued."""
    d_blocks, d_parts, start = [], {}, 0
    for name, part in parts.items():
        block = weight[:, start : start + part.shape[1]]
        start += part.shape[1]
        d_blocks.append(torch.einsum("bc,bd->cd", d_out, part))
        d_parts[name] = torch.einsum("bc,cd->bd", d_out, block)
    return torch.hstack(d_blocks), torch.einsum("bc->c", d_out), d_parts


def _layer_cases(seed=22):
    draw = draws(seed)

    def case(rows, classes, **widths):
        parts = {name: draw(rows, width) for name, width in widths.items()}
        return draw(rows, classes), parts, draw(classes, sum(widths.values()))

    d_out, text, image, weight = float64([[2.0]], [[5.0]], [[7.0]], [[3.0, 4.0]])
    yield d_out, {"text": text, "image": image}, weight
    # B == C == D: what is transposed runs here
    yield case(3, 3, text=2, image=1)
    yield case(2, 4, image=1, text=3)
    yield case(4, 2, text=2, image=2)
    yield case(3, 4, hidden=4)
    yield case(5, 3, text=3, image=1, audio=2)


def _layer_batch():
    """The convolution's squares, as in a step on the page."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return normal(1024, 32), {"squares": normal(1024, 81)}, normal(32, 81)


def _layer_by_autograd(d_out, parts, weight):
    leaves = {name: part.clone().requires_grad_() for name, part in parts.items()}
    weight, bias = weight.clone().requires_grad_(), d_out[0].clone().requires_grad_()
    out = torch.cat(list(leaves.values()), dim=1) @ weight.T + bias
    out.backward(d_out)
    return weight.grad, bias.grad, {name: leaf.grad for name, leaf in leaves.items()}


def _layer_scaled(d_out, parts, weight, of_weight, of_bias, of_parts):
    """The right gradients, each times its factor."""
    d_weight, d_bias, d_parts = layer_backward(d_out, parts, weight)
    scaled = {name: of_parts * one for name, one in d_parts.items()}
    return of_weight * d_weight, of_bias * d_bias, scaled


def _layer_with(d_out, parts, weight, d_glued):
    """The right gradients of weight and bias, and this one of the glued features, cut."""
    d_weight, d_bias, _ = layer_backward(d_out, parts, weight)
    widths = [part.shape[1] for part in parts.values()]
    return d_weight, d_bias, dict(zip(parts, d_glued.split(widths, dim=1), strict=True))


def _equal_widths(d_out, parts, weight):
    d_weight, d_bias, _ = layer_backward(d_out, parts, weight)
    return d_weight, d_bias, dict(zip(parts, (d_out @ weight).chunk(len(parts), dim=1)))


def _last_first(d_out, parts, weight):
    d_weight, d_bias, _ = layer_backward(d_out, parts, weight)
    d_glued, d_parts = d_out @ weight, {}
    for name, part in parts.items():
        d_parts[name] = d_glued[:, d_glued.shape[1] - part.shape[1] :]
        d_glued = d_glued[:, : d_glued.shape[1] - part.shape[1]]
    return d_weight, d_bias, d_parts


def _always_first(d_out, parts, weight):
    d_weight, d_bias, _ = layer_backward(d_out, parts, weight)
    d_parts = {name: d_out @ weight[:, : part.shape[1]] for name, part in parts.items()}
    return d_weight, d_bias, d_parts


def _whole_to_each(d_out, parts, weight):
    d_weight, d_bias, _ = layer_backward(d_out, parts, weight)
    return d_weight, d_bias, {name: d_out @ weight for name in parts}


def _batch_first(d_out, parts, weight):
    _, d_bias, d_parts = layer_backward(d_out, parts, weight)
    glued = torch.cat(list(parts.values()), dim=1)
    return torch.outer(d_bias, glued.sum(0)), d_bias, d_parts


def _weight_turned(d_out, parts, weight):
    d_weight, d_bias, d_parts = layer_backward(d_out, parts, weight)
    return d_weight.T, d_bias, d_parts


def _with_bias(d_out, parts, weight, d_bias):
    d_weight, _, d_parts = layer_backward(d_out, parts, weight)
    return d_weight, d_bias, d_parts


def _as_list(d_out, parts, weight):
    d_weight, d_bias, d_parts = layer_backward(d_out, parts, weight)
    return d_weight, d_bias, list(d_parts.values())


def _layer_by_hand(answer, d_out, parts, weight):
    return without_autograd(answer, d_out, parts, weight)


LAYER = Exercise(
    key="22.1",
    verified=True,
    reference=layer_backward,
    cases=_layer_cases,
    use=_layer_by_hand,
    batch=_layer_batch,
    returns="d_weight (C, D), d_bias (C,) and a dict of d_parts (B, D_m)",
    misconceptions=(
        *ideas(AUTOGRAD, _layer_by_autograd),
        *ideas(
            "d_weight is transposed, (D, C). A gradient has the shape of what it belongs to, and"
            " the weight is (C, D).",
            _weight_turned,
        ),
        *ideas(
            "in d_weight the batch is summed up before it is multiplied. Each sample's d_out"
            " belongs with its own features: multiply first, then add over the samples.",
            _batch_first,
        ),
        *ideas(
            "in d_parts the weight is transposed, as on the way forward. On the way back the sum"
            " runs over the outputs, the first axis of the weight.",
            lambda d_out, parts, weight: _layer_with(d_out, parts, weight, d_out @ weight.T),
        ),
        *ideas(
            "the columns are cut into equal pieces. Each part takes as many as it brought in.",
            _equal_widths,
        ),
        *ideas(
            "the columns are cut from the wrong end, or each part takes the first ones. The first"
            " part of the glue has the first columns, the next goes on where it ends.",
            _last_first,
            _always_first,
        ),
        *ideas(
            "each part gets the gradient of everything that was glued. The glue only copied: each"
            " takes its own columns.",
            _whole_to_each,
        ),
        *ideas(
            "d_bias still has a row per sample, (B, C). All samples share the bias: add over them.",
            lambda d_out, parts, weight: _with_bias(d_out, parts, weight, d_out),
        ),
        *ideas(
            "d_bias is summed along the wrong axis, or has kept one of length 1. There is one bias"
            " per output, (C,): add over the samples, axis 0.",
            lambda d_out, parts, weight: _with_bias(d_out, parts, weight, d_out.sum(1)),
            lambda d_out, parts, weight: _with_bias(d_out, parts, weight, d_out.sum(0)[None]),
        ),
        *ideas(
            "divided by B once more. d_out already holds the 1/B of the mean loss: add over the"
            " samples.",
            lambda d_out, parts, weight: _layer_scaled(
                d_out, parts, weight, 1 / len(d_out), 1 / len(d_out), 1
            ),
            lambda d_out, parts, weight: _layer_scaled(
                d_out, parts, weight, *(3 * [1 / len(d_out)])
            ),
            lambda d_out, parts, weight: _layer_scaled(d_out, parts, weight, 1 / len(d_out), 1, 1),
            lambda d_out, parts, weight: _layer_scaled(d_out, parts, weight, 1, 1 / len(d_out), 1),
        ),
        *ideas(
            "a minus has come in on the way. The loss has the only one, which d_out holds already.",
            lambda d_out, parts, weight: _layer_scaled(d_out, parts, weight, -1, -1, -1),
            lambda d_out, parts, weight: _layer_scaled(d_out, parts, weight, 1, 1, -1),
        ),
        *ideas("d_parts go by place. Return a dict with the names of `parts`.", _as_list),
    ),
)


# 22.2 -----------------------------------------------------------------------------------------


def table_backward(d_mean, ids, mask, rows):
    """By counting: how often row v stands in text n, as a share of the text's letters."""
    counts = torch.zeros(len(ids), rows, dtype=d_mean.dtype)
    counts.scatter_add_(1, ids, mask.to(d_mean.dtype))  # (B, V)
    shares = counts / mask.sum(1, keepdim=True).clamp(min=1)
    return shares.T @ d_mean  # (V, B) @ (B, D) -> (V, D)


def _table_cases(seed=23):
    draw, generator = draws(seed), torch.Generator().manual_seed(seed)

    def case(mask, rows, width):
        mask = torch.tensor(mask) == 1
        ids = torch.randint(rows, mask.shape, generator=generator)
        return draw(len(mask), width), ids, mask, rows

    d_mean = torch.tensor([[6.0]], dtype=torch.float64)
    yield d_mean, torch.tensor([[1, 1, 0]]), torch.tensor([[True, True, False]]), 3
    # a letter twice in one text, in two texts, and under padding; a real letter with id 0
    ids = torch.tensor([[0, 2, 2, 1], [2, 1, 2, 2]])
    yield draw(2, 2), ids, torch.tensor([[True] * 4, [True, True, False, False]]), 5
    ids = torch.tensor([[1, 3], [2, 1], [1, 1]])  # the second text is empty
    yield draw(3, 2), ids, torch.tensor([[True, True], [False, False], [True, False]]), 4
    yield case([[0, 1, 1], [1, 0, 1], [1, 1, 1]], rows=3, width=2)
    yield case([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1] * 5], rows=6, width=3)


def _table_batch():
    """A batch of 64 words, as in a step on the page."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(27, (64, 9), generator=generator)
    d_mean = torch.randn(64, 16, generator=generator, dtype=torch.float64)
    return d_mean, ids, ids > 5, 27


def _places(d_mean, mask):
    """What each place sends: (B, T, D)."""
    share = d_mean / mask.sum(1, keepdim=True).clamp(min=1)
    return torch.where(mask[..., None], share[:, None], 0)


def _added(places, ids, rows):
    """The table with every place added to its row."""
    table = places.new_zeros(rows, places.shape[-1])
    return table.index_add(0, ids.flatten(), places.flatten(0, 1))


def _table_by_autograd(d_mean, ids, mask, rows):
    table = torch.zeros(rows, d_mean.shape[1], dtype=d_mean.dtype, requires_grad=True)
    kept = F.embedding(ids, table) * mask[..., None]
    (kept.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)).backward(d_mean)
    return table.grad


def _overwritten(d_mean, ids, mask, rows):
    table = d_mean.new_zeros(rows, d_mean.shape[1])
    table[ids] = _places(d_mean, mask)
    return table


def _real_ones_overwritten(d_mean, ids, mask, rows):
    table = d_mean.new_zeros(rows, d_mean.shape[1])
    for n, t in mask.nonzero().tolist():
        table[ids[n, t]] = d_mean[n] / mask[n].sum()
    return table


def _padding_too(d_mean, ids, mask, rows):
    share = d_mean / mask.sum(1, keepdim=True).clamp(min=1)
    return _added(share[:, None].expand(*ids.shape, -1), ids, rows)


def _zero_over_zero(d_mean, ids, mask, rows):
    share = d_mean / mask.sum(1, keepdim=True)
    return _added(share[:, None] * mask[..., None], ids, rows)


def _mean_of_uses(d_mean, ids, mask, rows):
    uses = torch.zeros(rows).index_add(0, ids.flatten(), mask.flatten().float())
    return table_backward(d_mean, ids, mask, rows) / uses.clamp(min=1)[:, None]


def _as_many_as_seen(d_mean, ids, mask, rows):
    return _added(_places(d_mean, mask), ids, int(ids.max()) + 1)


def _table_by_hand(answer, d_mean, ids, mask, rows):
    return without_autograd(answer, d_mean, ids, mask, rows)


TABLE = Exercise(
    key="22.2",
    verified=True,
    reference=table_backward,
    cases=_table_cases,
    use=_table_by_hand,
    batch=_table_batch,
    returns="one row per row of the table",
    misconceptions=(
        *ideas(AUTOGRAD, _table_by_autograd),
        *ideas(
            "a row that is looked up several times keeps only one of its gradients: indexing with"
            " repeated ids overwrites, with += too. index_add adds them all.",
            _overwritten,
            _real_ones_overwritten,
        ),
        *ideas(
            "divided by T. The mean was taken over a text's real letters: divide by their number.",
            lambda d_mean, ids, mask, rows: _added(
                torch.where(mask[..., None], d_mean[:, None] / ids.shape[1], 0), ids, rows
            ),
        ),
        *ideas(
            "divided by the number of letters in the whole batch. Each text has a mean of its own:"
            " divide by its own number of real letters.",
            lambda d_mean, ids, mask, rows: _added(
                torch.where(mask[..., None], d_mean[:, None] / mask.sum(), 0), ids, rows
            ),
        ),
        *ideas(
            "the mean is not divided: a letter's share of it is 1 / (number of real letters).",
            lambda d_mean, ids, mask, rows: _added(
                torch.where(mask[..., None], d_mean[:, None], 0), ids, rows
            ),
        ),
        *ideas(
            "padding sends a share too, to the row whose id stands there. It was not in the mean:"
            " zero under the mask.",
            _padding_too,
        ),
        *ideas(
            "id 0 is taken for padding. The mask alone says what is real; the ids do not.",
            lambda d_mean, ids, mask, rows: table_backward(d_mean, ids, ids > 0, rows),
            lambda d_mean, ids, mask, rows: table_backward(d_mean, ids, mask & (ids > 0), rows),
        ),
        *ideas(
            "a text without a letter divides by 0, and 0 times that is NaN. It sends nothing:"
            " choose with torch.where, or divide by at least 1.",
            _zero_over_zero,
        ),
        *ideas(
            "this is one gradient for each place, (B, T, D). Add them up in a table, (V, D).",
            lambda d_mean, ids, mask, rows: _places(d_mean, mask),
        ),
        *ideas(
            "divided by how often the letter was used, or by the number of texts. A row that acts"
            " several times gets the sum.",
            _mean_of_uses,
            lambda d_mean, ids, mask, rows: table_backward(d_mean, ids, mask, rows) / len(ids),
        ),
        *ideas(
            "the table has as many rows as the largest id asks for. It has `rows` of them, and the"
            " unused ones get zeros.",
            _as_many_as_seen,
        ),
        *ideas(
            "a minus has come in on the way. The loss has the only one.",
            lambda d_mean, ids, mask, rows: -table_backward(d_mean, ids, mask, rows),
        ),
    ),
)


# 22.3 -----------------------------------------------------------------------------------------


def two_losses_backward(dims, weights, kept, labels, alpha, beta):
    """In steps that a wrong idea can change one by one."""
    d_digit = alpha * _digit_end(kept, labels)
    d_even = beta * _even_end(kept, labels)
    return _down(dims, weights, kept, d_digit, d_even)


def _digit_end(kept, labels):
    one_hot = torch.eye(kept["p"].shape[1], dtype=kept["p"].dtype)[labels["digit"]]
    return (kept["p"] - one_hot) / len(kept["p"])


def _even_end(kept, labels):
    known = labels["known"]
    residual = torch.zeros_like(kept["q"])
    residual[known] = kept["q"][known] - labels["even"][known]
    return residual / max(int(known.sum()), 1)


def _meet(weights, d_digit, d_even):
    return torch.hstack([d_digit, d_even[:, None]]) @ torch.vstack(
        [weights["digit"], weights["even"]]
    )


def _down(dims, weights, kept, d_digit, d_even):
    d_before = _meet(weights, d_digit, d_even).masked_fill(kept["before"] <= 0, 0)
    return _cut(dims, d_before @ weights["hidden"])


def _cut(dims, d_glued):
    found, start = {}, 0
    for name, width in dims.items():
        found[name] = d_glued[:, start : start + width]
        start += width
    return found


def _way_forward(before, weights):
    """What was kept. p and q come from `before`: who computes them again is right too."""
    h = before.relu()
    p, q = (h @ weights["digit"].T).softmax(1), (h @ weights["even"]).sigmoid()
    return {"before": before, "p": p, "q": q}


def _losses_cases(seed=24):
    draw = draws(seed)

    def case(dims, hidden, classes, digits, known, alpha, beta, unknown=0.0):
        rows, known = len(digits), torch.tensor(known) == 1
        weights = {"hidden": draw(hidden, sum(dims.values())), "digit": draw(classes, hidden)}
        weights["even"] = draw(hidden)
        kept = _way_forward(draw(rows, hidden), weights)
        digit = torch.tensor(digits)
        even = torch.where(known, (digit % 2 == 0).double(), unknown)
        labels = {"digit": digit, "even": even, "known": known}
        return dims, weights, kept, labels, alpha, beta

    before, even, one, row = float64([[2.0]], [1.0], [[1.0]], [1.0])
    weights = {"hidden": one, "digit": one, "even": row}
    yield (
        {"text": 1},
        weights,
        _way_forward(before, weights),
        {"digit": torch.tensor([0]), "even": even, "known": torch.tensor([True])},
        1.0,
        2.0,
    )
    # H == D: what is transposed runs here
    yield case({"text": 1, "image": 2}, 3, 2, [1, 0], [1, 1], 0.7, 0.3)
    yield case({"text": 2, "image": 1, "audio": 2}, 4, 3, [2, 0, 1], [1, 0, 1], 0.7, 0.3)
    three = {"text": 1, "image": 3, "audio": 2}
    yield case(three, 4, 3, [2, 1, 0, 2], [0, 1, 1, 0], 1.3, 0.6, unknown=float("nan"))
    yield case(three, 3, 4, [3, 1], [0, 0], 0.9, 0.8, unknown=float("nan"))
    yield case({"audio": 2, "text": 2, "image": 2}, 5, 4, [3, 0, 1], [1, 1, 0], 0.4, 1.7, 1.0)


def _losses_batch():
    """64 samples, of which a third has no second label."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    weights = {"hidden": normal(64, 60), "digit": normal(10, 64), "even": normal(64)}
    kept = _way_forward(normal(64, 64), weights)
    digit = torch.randint(10, (64,), generator=generator)
    labels = {"digit": digit, "even": (digit % 2 == 0).double(), "known": torch.arange(64) % 3 > 0}
    return {"text": 16, "image": 32, "audio": 12}, weights, kept, labels, 0.7, 0.3


def _losses_by_autograd(dims, weights, kept, labels, alpha, beta):
    before, known = kept["before"].clone().requires_grad_(), labels["known"]
    h = before.relu()
    loss = alpha * F.cross_entropy(h @ weights["digit"].T, labels["digit"])
    if known.any():
        logit, even = (h @ weights["even"])[known], labels["even"][known]
        loss = loss + beta * F.binary_cross_entropy_with_logits(logit, even)
    loss.backward()
    return _cut(dims, before.grad @ weights["hidden"])


def _losses_by_hand(answer, dims, weights, kept, labels, alpha, beta):
    return without_autograd(answer, dims, weights, kept, labels, alpha, beta)


def _ends(dims, weights, kept, labels, alpha, beta, of_digit=1, of_even=1):
    """The right answer with a factor at each of the two ends."""
    d_digit, d_even = alpha * _digit_end(kept, labels), beta * _even_end(kept, labels)
    return _down(dims, weights, kept, of_digit * d_digit, of_even * d_even)


def _even_with(dims, weights, kept, labels, alpha, beta, d_even):
    """The right answer with this at the second head's end."""
    return _down(dims, weights, kept, alpha * _digit_end(kept, labels), beta * d_even)


def _gate(dims, weights, kept, labels, alpha, beta, gate):
    """The right answer with a gate of its own, d_h and before -> d_before."""
    d_digit, d_even = alpha * _digit_end(kept, labels), beta * _even_end(kept, labels)
    d_before = gate(_meet(weights, d_digit, d_even), kept["before"])
    return _cut(dims, d_before @ weights["hidden"])


def _glued(dims, weights, kept, labels, alpha, beta):
    """What arrives at everything that was glued."""
    found = two_losses_backward(dims, weights, kept, labels, alpha, beta)
    return torch.hstack(list(found.values()))


def _hidden_turned(dims, weights, kept, labels, alpha, beta):
    d_digit, d_even = alpha * _digit_end(kept, labels), beta * _even_end(kept, labels)
    d_before = _meet(weights, d_digit, d_even).masked_fill(kept["before"] <= 0, 0)
    return _cut(dims, d_before @ weights["hidden"].T)


def _multiplied(dims, weights, kept, labels, alpha, beta):
    count = labels["known"].sum().clamp(min=1)
    d_even = (kept["q"] - labels["even"]) * labels["known"] / count
    return _even_with(dims, weights, kept, labels, alpha, beta, d_even)


def _all_counted(dims, weights, kept, labels, alpha, beta):
    d_even = (kept["q"] - labels["even"]) / len(kept["q"])
    return _even_with(dims, weights, kept, labels, alpha, beta, d_even)


def _zero_for_unknown(dims, weights, kept, labels, alpha, beta):
    even = torch.where(labels["known"], labels["even"], 0)
    count = labels["known"].sum().clamp(min=1)
    return _even_with(dims, weights, kept, labels, alpha, beta, (kept["q"] - even) / count)


def _divided_by_all(dims, weights, kept, labels, alpha, beta):
    d_even = torch.where(labels["known"], kept["q"] - labels["even"], 0) / len(kept["q"])
    return _even_with(dims, weights, kept, labels, alpha, beta, d_even)


def _none_known(dims, weights, kept, labels, alpha, beta):
    known = labels["known"]
    d_even = torch.where(known, kept["q"] - labels["even"], 0) / known.sum()
    return _even_with(dims, weights, kept, labels, alpha, beta, d_even)


def _slope_again(dims, weights, kept, labels, alpha, beta):
    d_even = _even_end(kept, labels) * kept["q"] * (1 - kept["q"])
    return _even_with(dims, weights, kept, labels, alpha, beta, d_even)


def _chunks(dims, weights, kept, labels, alpha, beta):
    pieces = _glued(dims, weights, kept, labels, alpha, beta).chunk(len(dims), dim=1)
    return dict(zip(dims, pieces, strict=False))


LOSSES = Exercise(
    key="22.3",
    verified=True,
    reference=two_losses_backward,
    cases=_losses_cases,
    use=_losses_by_hand,
    batch=_losses_batch,
    returns="for each modality one row per sample",
    misconceptions=(
        *ideas(AUTOGRAD, _losses_by_autograd),
        *ideas(
            "a sign is turned round: p - y and q - e, the prediction first. No other minus comes in"
            " on the way.",
            lambda dims, weights, kept, labels, alpha, beta: _ends(
                dims, weights, kept, labels, alpha, beta, -1, -1
            ),
            lambda dims, weights, kept, labels, alpha, beta: _ends(
                dims, weights, kept, labels, alpha, beta, 1, -1
            ),
        ),
        *ideas(
            "the first loss is a mean over B samples, and its residual is not divided by B.",
            lambda dims, weights, kept, labels, alpha, beta: _ends(
                dims, weights, kept, labels, alpha, beta, len(kept["p"]), 1
            ),
        ),
        *ideas(
            "the second loss is a mean over the known answers: divide its residual by their"
            " number, not by B, and not by nothing.",
            _divided_by_all,
            lambda dims, weights, kept, labels, alpha, beta: _ends(
                dims, weights, kept, labels, alpha, beta, 1, labels["known"].sum()
            ),
        ),
        *ideas(
            "samples without an answer send something to the second head. Their residual is zero.",
            _all_counted,
            _zero_for_unknown,
        ),
        *ideas(
            "an unknown answer is multiplied by 0, and 0 * NaN is NaN. Choose with torch.where.",
            _multiplied,
        ),
        *ideas(
            "where nothing is known it divides 0 by 0. The second loss is then 0, and sends zeros:"
            " divide by at least 1.",
            _none_known,
        ),
        *ideas(
            "alpha and beta have changed places or are left out, or only one of the two losses"
            " comes back. alpha belongs to the digit, beta to the other; what they send is added.",
            lambda dims, weights, kept, labels, alpha, beta: two_losses_backward(
                dims, weights, kept, labels, beta, alpha
            ),
            lambda dims, weights, kept, labels, alpha, beta: two_losses_backward(
                dims, weights, kept, labels, 1.0, 1.0
            ),
            lambda dims, weights, kept, labels, alpha, beta: two_losses_backward(
                dims, weights, kept, labels, alpha, 0.0
            ),
            lambda dims, weights, kept, labels, alpha, beta: two_losses_backward(
                dims, weights, kept, labels, 0.0, beta
            ),
        ),
        *ideas(
            "the ReLU's gate is missing, or asks the wrong number: it is open where `before` was"
            " above 0.",
            lambda dims, weights, kept, labels, alpha, beta: _gate(
                dims, weights, kept, labels, alpha, beta, lambda d_h, before: d_h
            ),
            lambda dims, weights, kept, labels, alpha, beta: _gate(
                dims, weights, kept, labels, alpha, beta, lambda d_h, before: d_h.relu()
            ),
            lambda dims, weights, kept, labels, alpha, beta: _gate(
                dims, weights, kept, labels, alpha, beta, lambda d_h, before: d_h * before.relu()
            ),
        ),
        *ideas(
            "the sigmoid's slope q (1 - q) is multiplied in once more. It has cancelled in q - e.",
            _slope_again,
        ),
        *ideas(
            "the hidden weight is transposed, as on the way forward. On the way back the sum runs"
            " over the hidden units, its first axis.",
            _hidden_turned,
        ),
        *ideas(
            "the columns are not cut at the modalities' widths: each takes as many as it brought"
            " in, in the order of `dims`.",
            _chunks,
        ),
    ),
)

EXERCISES = [LAYER, TABLE, LOSSES]
