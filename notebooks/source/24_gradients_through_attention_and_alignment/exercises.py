"""Notebook 24: back through attention with a mask, from pairs to the vectors and the temperature,
and through a product of modalities.
"""

import math

import torch
import torch.nn.functional as F

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.derived import without_autograd
from course_utils.exercises.draws import draws, float64

AUTOGRAD = (
    "autograd is called, and the exercise asks for the way back by hand: derive it, and write it"
    " down without backward() or grad()."
)
MINUS = "a minus has come in on the way. The loss has the only one, which is in already."


# 24.1 -----------------------------------------------------------------------------------------


def attention_backward(d_found, query, key, value, mask):
    """By the softmax's Jacobian, query by query, over the keys that are there alone."""
    d_query, d_key, d_value = (torch.zeros_like(x) for x in (query, key, value))
    for b in range(len(query)):
        kept = mask[b]
        if not kept.any():
            continue
        keys, values, root = key[b, kept], value[b, kept], query.shape[-1] ** -0.5
        weights = (root * torch.einsum("td,sd->ts", query[b], keys)).softmax(-1)  # (T, S)
        jacobian = torch.diag_embed(weights) - weights[:, :, None] * weights[:, None]  # (T, S, S)
        d_weights = torch.einsum("ti,si->ts", d_found[b], values)
        d_scores = root * torch.einsum("tsr,ts->tr", jacobian, d_weights)
        d_query[b] = torch.einsum("ts,sd->td", d_scores, keys)
        d_key[b, kept] = torch.einsum("ts,td->sd", d_scores, query[b])
        d_value[b, kept] = torch.einsum("ts,te->se", weights, d_found[b])
    return d_query, d_key, d_value


def _attention_cases(seed=24):
    draw, chance = draws(seed), torch.Generator().manual_seed(seed)

    def case(B, T, S, D, E, mask=None):
        if mask is None:
            mask = torch.rand(B, S, generator=chance) < 0.7
        return draw(B, T, E), draw(B, T, D), draw(B, S, D), draw(B, S, E), mask

    d_found, query, key, value = float64([[[2.0]]], [[[0.0]]], [[[1], [5]]], [[[3], [7]]])
    yield d_found, query, key, value, torch.tensor([[True, True]])
    yield case(1, 2, 2, 2, 2, torch.tensor([[True, True]]))
    yield case(1, 3, 3, 4, 2, torch.tensor([[True, False, True]]))
    yield case(2, 2, 3, 2, 1, torch.tensor([[True, True, False], [False, False, False]]))
    *rest, mask = case(2, 2, 3, 2, 3, torch.tensor([[True, False, True], [True, True, False]]))
    d_found, query, key, value = rest
    yield d_found, query, key, value.masked_fill(~mask[..., None], math.nan), mask
    yield d_found, query, key.masked_fill(~mask[..., None], math.nan), value, mask
    yield case(1, 2, 1, 3, 2, torch.tensor([[True]]))
    yield case(3, 4, 5, 9, 4)


def _attention_batch():
    """A batch of the page: 64 texts, each with one query; two keys."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    there = torch.ones(64, 2, dtype=torch.bool)
    return normal(64, 1, 16), normal(64, 1, 16), normal(64, 2, 16), normal(64, 2, 16), there


def _weights(query, key, mask, root, dim=-1):
    scores = (query @ key.mT / root).masked_fill(~mask[:, None], -math.inf)
    return torch.where(mask[:, None], scores.softmax(dim), 0)


def _mean(weights, d_weights):
    return (weights * d_weights).sum(-1, keepdim=True)


def _attention(
    d_found,
    query,
    key,
    value,
    mask,
    clean=(True, True),
    roots=("D", "D", "D"),
    weigh=_weights,
    mean=_mean,
    late=lambda d_scores, mask: d_scores,
    value_side=lambda weights: weights.mT,
    key_side=lambda d_scores: d_scores.mT,
    signs=(1, 1, 1),
):
    """In steps that a wrong idea can change one by one."""
    if clean[0]:
        key = torch.where(mask[..., None], key, 0)
    if clean[1]:
        value = torch.where(mask[..., None], value, 0)
    sizes = {"D": query.shape[-1], "E": value.shape[-1], "S": key.shape[1], "1": 1}
    first, of_query, of_key = (math.sqrt(sizes[name]) for name in roots)
    weights = weigh(query, key, mask, first)
    d_weights = d_found @ value.mT
    d_scores = late(weights * (d_weights - mean(weights, d_weights)), mask)
    d_query, d_key = d_scores @ key / of_query, key_side(d_scores) @ query / of_key
    d_value = value_side(weights) @ d_found
    return tuple(sign * d for sign, d in zip(signs, (d_query, d_key, d_value)))


def _attention_by_autograd(d_found, query, key, value, mask):
    leaves = [x.clone().requires_grad_() for x in (query, key, value)]
    cleaned = [leaves[0], *(torch.where(mask[..., None], x, 0) for x in leaves[1:])]
    weights = _weights(*cleaned[:2], mask, math.sqrt(query.shape[-1]))
    return torch.autograd.grad(weights @ cleaned[2], leaves, d_found)


def _unmasked(query, key, mask, root):
    return (query @ key.mT / root).softmax(-1)


def _zeros_after(query, key, mask, root):
    return _unmasked(query, key, mask, root) * mask[:, None]


def _nothing_there(query, key, mask, root):
    scores = (query @ key.mT / root).masked_fill(~mask[:, None], -math.inf)
    return scores.softmax(-1)


def _opposite(d_found, query, key, value, mask):
    return _attention(d_found, query, key, value, ~mask)


def _attention_by_hand(answer, d_found, query, key, value, mask):
    return without_autograd(answer, d_found, query, key, value, mask)


ATTENTION = Exercise(
    key="24.1",
    reference=attention_backward,
    cases=_attention_cases,
    use=_attention_by_hand,
    batch=_attention_batch,
    returns="d_query (B, T, D), d_key (B, S, D) and d_value (B, S, E)",
    misconceptions=(
        *ideas(AUTOGRAD, _attention_by_autograd),
        *ideas(
            "a root is missing or another's. The scores were divided by the root of D: so are the"
            " weights computed again, what goes to the queries and what goes to the keys.",
            lambda d, q, k, v, m: _attention(d, q, k, v, m, roots=("D", "1", "D")),
            lambda d, q, k, v, m: _attention(d, q, k, v, m, roots=("D", "D", "1")),
            lambda d, q, k, v, m: _attention(d, q, k, v, m, roots=("D", "1", "1")),
            lambda d, q, k, v, m: _attention(d, q, k, v, m, roots=("1", "1", "1")),
        ),
        *ideas(
            "the mean that is subtracted is taken over the queries. Each query's weights share a"
            " softmax: the mean goes along its keys, the last axis.",
            lambda d, q, k, v, m: _attention(
                d, q, k, v, m, mean=lambda w, d: (w * d).sum(1, keepdim=True)
            ),
        ),
        *ideas(
            "the mean that is subtracted counts all keys alike. It is the mean under the weights.",
            lambda d, q, k, v, m: _attention(
                d, q, k, v, m, mean=lambda w, d: d.mean(-1, keepdim=True)
            ),
        ),
        *ideas(
            "the mean is not subtracted. What one weight gains the others lose: each query's scores"
            " get 0 in all.",
            lambda d, q, k, v, m: _attention(d, q, k, v, m, mean=lambda w, d: 0),
        ),
        *ideas(
            "the mask comes too late. Masked scores are minus infinity before the softmax; whoever"
            " clears weights or gradients afterwards has given them a share.",
            lambda d, q, k, v, m: _attention(d, q, k, v, m, weigh=_zeros_after),
            lambda d, q, k, v, m: _attention(
                d,
                q,
                k,
                v,
                m,
                weigh=_unmasked,
                late=lambda d, mask: torch.where(mask[:, None], d, 0),
            ),
            lambda d, q, k, v, m: _attention(d, q, k, v, m, weigh=_unmasked),
        ),
        *ideas(
            "what stands under the mask comes through: 0 times NaN is NaN. Put zeros into masked"
            " keys and values first, with torch.where.",
            lambda d, q, k, v, m: _attention(d, q, k, v, m, clean=(True, False)),
            lambda d, q, k, v, m: _attention(d, q, k, v, m, clean=(False, True)),
        ),
        *ideas(
            "a row without any key is NaN: a softmax over nothing but minus infinity. Such a row"
            " found zeros and sends nothing back.",
            lambda d, q, k, v, m: _attention(d, q, k, v, m, weigh=_nothing_there),
        ),
        *ideas(
            "the softmax goes over the queries. Each query shares its weight out over the keys, the"
            " last axis of the scores.",
            lambda d, q, k, v, m: _attention(
                d,
                q,
                k,
                v,
                m,
                weigh=lambda one, other, mask, root: _weights(one, other, mask, root, dim=1),
            ),
        ),
        *ideas("the mask is read the wrong way round: True is a key that is there.", _opposite),
        *ideas(
            "weights or d_scores have to be turned: for keys and values the sum runs over the"
            " queries, axis 1, so multiply by the transposed table.",
            lambda d, q, k, v, m: _attention(d, q, k, v, m, value_side=lambda weights: weights),
            lambda d, q, k, v, m: _attention(d, q, k, v, m, key_side=lambda d_scores: d_scores),
        ),
        *ideas(
            MINUS,
            lambda d, q, k, v, m: _attention(d, q, k, v, m, signs=(-1, -1, -1)),
            lambda d, q, k, v, m: _attention(d, q, k, v, m, signs=(-1, -1, 1)),
        ),
    ),
)


# 24.2 -----------------------------------------------------------------------------------------


def pairs_backward(a, b, log_scale, positives):
    """Vector by vector: what each cosine sends to the two that made it."""
    lengths = [torch.linalg.vector_norm(x, dim=1) for x in (a, b)]
    cosines = torch.einsum("ni,mi->nm", a, b) / torch.outer(*lengths)
    scale, own = math.exp(log_scale.item()), positives.to(a.dtype)
    P = torch.exp(scale * cosines - torch.logsumexp(scale * cosines, 1, True))
    Q = torch.exp(scale * cosines - torch.logsumexp(scale * cosines, 0, True))
    d = (P - own / own.sum(1)[:, None] + Q - own / own.sum(0)[None]) / len(a) / 2
    # d cos_ij / d a_i = (b_j / |b_j| - cos_ij a_i / |a_i|) / |a_i|
    unit_a, unit_b = (x / length[:, None] for x, length in zip((a, b), lengths))
    to_a = torch.einsum("nm,mi->ni", d, unit_b) - (d * cosines).sum(1)[:, None] * unit_a
    to_b = torch.einsum("nm,ni->mi", d, unit_a) - (d * cosines).sum(0)[:, None] * unit_b
    d_log_scale = torch.einsum("nm,nm->", d, scale * cosines)
    return scale * to_a / lengths[0][:, None], scale * to_b / lengths[1][:, None], d_log_scale


def _pairs_cases(seed=25):
    draw, chance = draws(seed), torch.Generator().manual_seed(seed)

    def case(N, D, positives=None, kappa=0.7, size=1.0):
        if positives is None:
            positives = torch.rand(N, N, generator=chance) < 0.3
        right = positives | torch.eye(N, dtype=torch.bool)
        return size * draw(N, D), draw(N, D), torch.tensor(kappa, dtype=torch.float64), right

    nothing = torch.zeros(2, 2, dtype=torch.bool)
    yield case(1, 3)
    # (3, 4) and (4, 3): cosines .96, 0.8; both of length 5
    a, b = float64([[3.0, 4.0], [1.0, 0.0]], [[4.0, 3.0], [0.0, 2.0]])
    yield a, b, torch.tensor(1.0, dtype=torch.float64), nothing | torch.eye(2, dtype=torch.bool)
    yield case(3, 3, torch.zeros(3, 3, dtype=torch.bool), kappa=-0.5)
    yield case(3, 3, torch.tensor([[1, 0, 1], [0, 1, 0], [1, 1, 1]]) == 1)
    yield case(4, 2, torch.tensor([[0, 1, 0, 0]] * 4) == 1, kappa=1.5, size=3.0)
    yield case(5, 4, kappa=2.0)


def _pairs_batch():
    """A batch of the page: 64 pairs of width 16."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 64, 16, generator=generator, dtype=torch.float64)
    labels = torch.randint(10, (64,), generator=generator)
    return a, b, torch.tensor(1.6, dtype=torch.float64), labels[:, None] == labels


def _shared(own):
    return own / own.sum(1, keepdim=True), own / own.sum(0, keepdim=True)


def _project(d, unit):
    return d - (d * unit).sum(1, keepdim=True) * unit


def _pairs(
    a,
    b,
    log_scale,
    positives,
    scale=torch.exp,
    back=None,
    target=_shared,
    told=lambda rows, columns, N: (rows + columns) / (2 * N),
    project=_project,
    unit=lambda x: x / x.norm(dim=1, keepdim=True),
    length=lambda x: x.norm(dim=1, keepdim=True),
    turn=lambda d: d.T,
    of_scale=lambda d, logits, cosines: (d * logits).sum(),
    sign=1,
):
    """In steps that a wrong idea can change one by one."""
    unit_a, unit_b = unit(a), unit(b)
    cosines = unit_a @ unit_b.T
    logits = scale(log_scale) * cosines
    y_rows, y_columns = target(positives.to(a.dtype))
    d = sign * told(logits.softmax(1) - y_rows, logits.softmax(0) - y_columns, len(a))
    back = scale(log_scale) if back is None else back
    d_a = project(back * d @ unit_b, unit_a) / length(a)
    d_b = project(back * turn(d) @ unit_a, unit_b) / length(b)
    return d_a, d_b, of_scale(d, logits, cosines)


def _pairs_by_autograd(a, b, log_scale, positives):
    leaves = [x.clone().requires_grad_() for x in (a, b, log_scale)]
    logits = leaves[2].exp() * F.normalize(leaves[0], dim=1) @ F.normalize(leaves[1], dim=1).T
    y_rows, y_columns = _shared(positives.to(a.dtype))
    loss = -(y_rows * logits.log_softmax(1) + y_columns * logits.log_softmax(0)).sum()
    return torch.autograd.grad(loss / (2 * len(a)), leaves)


def _dots(a, b, log_scale, positives):
    return _pairs(
        a, b, log_scale, positives, unit=lambda x: x, project=lambda d, unit: d, length=lambda x: 1
    )


def _temperature(log_scale):
    return torch.exp(-log_scale)


def _itself(log_scale):
    return log_scale


def _pairs_by_hand(answer, a, b, log_scale, positives):
    return without_autograd(answer, a, b, log_scale, positives)


PAIRS = Exercise(
    key="24.2",
    reference=pairs_backward,
    cases=_pairs_cases,
    use=_pairs_by_hand,
    batch=_pairs_batch,
    returns="d_a (N, D), d_b (N, D) and d_log_scale ()",
    misconceptions=(
        *ideas(AUTOGRAD, _pairs_by_autograd),
        *ideas(
            "only one direction is asked. The names look for their pictures, too: the softmax of"
            " the columns, and the mean of both directions.",
            lambda a, b, t, p: _pairs(a, b, t, p, told=lambda rows, columns, N: rows / N),
            lambda a, b, t, p: _pairs(a, b, t, p, told=lambda rows, columns, N: columns / N),
            lambda a, b, t, p: _pairs(a, b, t, p, told=lambda rows, columns, N: rows / (2 * N)),
        ),
        *ideas(
            "the cosines are multiplied by the temperature, or by the logarithm itself. The scale"
            " is exp(log_scale), one over the temperature.",
            lambda a, b, t, p: _pairs(a, b, t, p, scale=_temperature),
            lambda a, b, t, p: _pairs(a, b, t, p, scale=_itself),
        ),
        *ideas(
            "the scale is missing on the way back. The logits are scale times the cosines, so a"
            " cosine gets the scale times what its logit gets.",
            lambda a, b, t, p: _pairs(a, b, t, p, back=1),
        ),
        *ideas(
            "the part along the vector is still in, or its sum runs over the wrong axis. Length is"
            " divided out: each row of d_a is perpendicular to that row of a.",
            lambda a, b, t, p: _pairs(a, b, t, p, project=lambda d, unit: d),
            lambda a, b, t, p: _pairs(
                a, b, t, p, project=lambda d, unit: d - (d * unit).sum(0, keepdim=True) * unit
            ),
        ),
        *ideas(
            "not divided by the vector's length. The longer it is, the less it turns.",
            lambda a, b, t, p: _pairs(a, b, t, p, length=lambda x: 1),
        ),
        *ideas(
            "a factor is missing: the loss is a mean over N rows and over two directions, so each"
            " logit gets a share of 1 / (2 N).",
            lambda a, b, t, p: _pairs(
                a, b, t, p, told=lambda rows, columns, N: (rows + columns) / N
            ),
            lambda a, b, t, p: _pairs(
                a, b, t, p, told=lambda rows, columns, N: (rows + columns) / 2
            ),
            lambda a, b, t, p: _pairs(a, b, t, p, told=lambda rows, columns, N: rows + columns),
        ),
        *ideas(
            "the target is wrong where a row has several positives: y is shared equally among them,"
            " not 1 for each, and not 1 on the diagonal alone.",
            lambda a, b, t, p: _pairs(a, b, t, p, target=lambda own: (own, own)),
            lambda a, b, t, p: _pairs(
                a, b, t, p, target=lambda own: 2 * (torch.eye(len(own)).to(own),)
            ),
        ),
        *ideas(
            "in one direction the table has to be turned: a vector of b stood in a column, and its"
            " positives are shared along the column.",
            lambda a, b, t, p: _pairs(a, b, t, p, turn=lambda d: d),
            lambda a, b, t, p: _pairs(
                a, b, t, p, target=lambda own: 2 * (own / own.sum(1, keepdim=True),)
            ),
        ),
        *ideas(
            "d_log_scale is that of the scale, not of its logarithm: multiply by the logits, which"
            " hold the scale, not by the cosines.",
            lambda a, b, t, p: _pairs(
                a, b, t, p, of_scale=lambda d, logits, cosines: (d * cosines).sum()
            ),
        ),
        *ideas("the vectors are compared by dot products. Divide each by its length first.", _dots),
        *ideas(MINUS, lambda a, b, t, p: _pairs(a, b, t, p, sign=-1)),
    ),
)


# 24.3 -----------------------------------------------------------------------------------------


def hadamard_backward(d_logits, inputs, present, weight):
    """Products of all that stand before and all that stand behind each modality."""
    names = list(inputs)
    kept = [present[name][:, None] for name in names]
    factors = [inputs[name].tanh().masked_fill(~k, 1) for name, k in zip(names, kept)]
    before, behind = [torch.ones_like(factors[0])], [torch.ones_like(factors[0])]
    for factor in factors[:-1]:
        before.append(before[-1] * factor)
    for factor in factors[:0:-1]:
        behind.insert(0, behind[0] * factor)
    d_product = torch.einsum("bc,cd->bd", d_logits, weight)
    d_inputs = {
        name: (d_product * left * right * (1 - factor.square())).masked_fill(~k, 0)
        for name, left, right, factor, k in zip(names, before, behind, factors, kept)
    }
    product = before[-1] * factors[-1]
    return d_inputs, torch.einsum("bc,bd->cd", d_logits, product), torch.einsum("bc->c", d_logits)


def _hadamard_cases(seed=26):
    draw = draws(seed)

    def case(C, D, **kept):
        present = {name: torch.tensor(one) == 1 for name, one in kept.items()}
        B = len(next(iter(present.values())))
        inputs = {name: draw(B, D) for name in present}
        return draw(B, C), inputs, present, draw(C, D)

    d_logits, weight, text, image = float64([[2.0]], [[3.0]], [[0.0]], [[50.0]])
    yes = torch.tensor([True])
    yield d_logits, {"text": text, "image": image}, {"text": yes, "image": yes}, weight
    yield case(2, 2, text=[1, 1], image=[1, 1])
    yield case(3, 2, text=[1, 1], image=[1, 0])
    yield case(2, 3, image=[1, 0, 1], text=[1, 1, 1], audio=[0, 0, 1])
    d_logits, inputs, present, weight = case(3, 3, text=[1, 1, 0], image=[0, 1, 0], audio=[1, 1, 0])
    inputs = {name: x.masked_fill(~present[name][:, None], math.nan) for name, x in inputs.items()}
    yield d_logits, inputs, present, weight
    d_logits, inputs, present, weight = case(2, 4, text=[1, 1], image=[1, 1], audio=[1, 1])
    yield d_logits, inputs | {"text": inputs["text"].clamp(min=0)}, present, weight


def _product(factors):
    return torch.stack(list(factors.values())).prod(0)


def _others(factors, name):
    rest = {other: factor for other, factor in factors.items() if other != name}
    return _product(rest) if rest else torch.ones_like(factors[name])


def _hadamard(
    d_logits,
    inputs,
    present,
    weight,
    missing=1.0,
    factor=torch.tanh,
    others=_others,
    slope=lambda x, factor, kept: torch.where(kept, 1 - factor**2, 0),
    clean=lambda x, kept: torch.where(kept, x, 0),
    down=lambda d, weight: d @ weight,
    of_weight=lambda d, product: d.T @ product,
    of_bias=lambda d: d.sum(0),
    sign=1,
):
    """In steps that a wrong idea can change one by one."""
    kept = {name: one[:, None] for name, one in present.items()}
    values = {name: clean(x, kept[name]) for name, x in inputs.items()}
    factors = {name: torch.where(kept[name], factor(x), missing) for name, x in values.items()}
    d_product = sign * down(d_logits, weight)
    d_inputs = {
        name: d_product * others(factors, name) * slope(values[name], factors[name], kept[name])
        for name in inputs
    }
    return d_inputs, of_weight(d_logits, _product(factors)), of_bias(d_logits)


def _hadamard_by_autograd(d_logits, inputs, present, weight):
    leaves = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    factors = {n: torch.where(present[n][:, None], x.tanh(), 1) for n, x in leaves.items()}
    weight, bias = weight.clone().requires_grad_(), torch.zeros(len(weight)).to(weight)
    logits = _product(factors) @ weight.T + bias.requires_grad_()
    logits.backward(d_logits)
    return {name: leaf.grad for name, leaf in leaves.items()}, weight.grad, bias.grad


def _all_times(d_logits, inputs, present, weight, factor):
    return hadamard_backward(factor * d_logits, inputs, present, weight)


def _as_list(d_logits, inputs, present, weight):
    d_inputs, d_weight, d_bias = hadamard_backward(d_logits, inputs, present, weight)
    return list(d_inputs.values()), d_weight, d_bias


def _no_mask(d_logits, inputs, present, weight):
    every = {name: torch.ones_like(one) for name, one in present.items()}
    return hadamard_backward(d_logits, inputs, every, weight)


def _hadamard_by_hand(answer, d_logits, inputs, present, weight):
    return without_autograd(answer, d_logits, inputs, present, weight)


HADAMARD = Exercise(
    key="24.3",
    reference=hadamard_backward,
    cases=_hadamard_cases,
    use=_hadamard_by_hand,
    returns="a dict of d_inputs (B, D), d_weight (C, D) and d_bias (C,)",
    misconceptions=(
        *ideas(AUTOGRAD, _hadamard_by_autograd),
        *ideas(
            "tanh's slope is missing, or is taken at the wrong place. Each modality went through a"
            " tanh: 1 - tanh(h)^2, with its own h.",
            lambda d, x, p, w: _hadamard(
                d, x, p, w, slope=lambda x, f, kept: torch.where(kept, 1.0, 0)
            ),
            lambda d, x, p, w: _hadamard(d, x, p, w, slope=lambda x, f, kept: torch.ones_like(f)),
        ),
        *ideas(
            "its own factor is still in the product. The product's slope along one factor is the"
            " product of all others.",
            lambda d, x, p, w: _hadamard(
                d, x, p, w, others=lambda factors, name: _product(factors)
            ),
        ),
        *ideas(
            "divided by its own factor, which may be exactly 0: 0 / 0 is NaN. Multiply the others.",
            lambda d, x, p, w: _hadamard(
                d, x, p, w, others=lambda factors, name: _product(factors) / factors[name]
            ),
        ),
        *ideas(
            "a missing modality is a factor 0, and wipes out the others. It is a factor 1.",
            lambda d, x, p, w: _hadamard(d, x, p, w, missing=0.0),
            lambda d, x, p, w: _hadamard(
                d, x, p, w, missing=0.0, slope=lambda x, f, kept: 1 - f**2
            ),
        ),
        *ideas(
            "a missing modality gets a gradient. It had no part in the result: exactly 0.",
            lambda d, x, p, w: _hadamard(d, x, p, w, slope=lambda x, f, kept: 1 - x.tanh() ** 2),
            _no_mask,
        ),
        *ideas(
            "what stands in a missing modality comes through: 0 times NaN is NaN. Choose with"
            " torch.where.",
            lambda d, x, p, w: _hadamard(
                d,
                x,
                p,
                w,
                clean=lambda x, kept: x,
                slope=lambda x, f, kept: (1 - x.tanh() ** 2) * kept,
            ),
        ),
        *ideas(
            "the others stand in without their tanh, or are added. The result is a product of all"
            " tanh(h).",
            lambda d, x, p, w: _hadamard(d, x, p, w, factor=lambda x: x),
            lambda d, x, p, w: _hadamard(
                d, x, p, w, others=lambda factors, name: sum(factors.values()) - factors[name]
            ),
        ),
        *ideas(
            "the head is turned the wrong way. Down to the product the sum runs over the classes,"
            " the weight's first axis; and d_weight has the weight's shape, (C, D).",
            lambda d, x, p, w: _hadamard(d, x, p, w, down=lambda d, weight: d @ weight.T),
            lambda d, x, p, w: _hadamard(d, x, p, w, of_weight=lambda d, product: product.T @ d),
        ),
        *ideas(
            "d_bias is not the sum over the samples: all of them share the bias, (C,).",
            lambda d, x, p, w: _hadamard(d, x, p, w, of_bias=lambda d: d),
            lambda d, x, p, w: _hadamard(d, x, p, w, of_bias=lambda d: d.mean(0)),
        ),
        *ideas("d_inputs go by place. Return a dict with the names of `inputs`.", _as_list),
        *ideas(
            "a minus has come in, or the batch is divided by once more. d_logits holds the loss's"
            " sign and its 1/B already.",
            lambda d, x, p, w: _all_times(d, x, p, w, -1),
            lambda d, x, p, w: _hadamard(d, x, p, w, sign=-1),
            lambda d, x, p, w: _all_times(d, x, p, w, 1 / len(d)),
        ),
    ),
)

EXERCISES = [ATTENTION, PAIRS, HADAMARD]
