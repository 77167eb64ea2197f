"""Notebook 14: attention for one head, several heads under a mask, the causal mask."""

import math

import torch

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws, float64

# 14.1 -----------------------------------------------------------------------------------------


def attend(query, key, value, mask):
    """The lowest finite number under the mask, then the softmax by hand, its sum 1 where a row has
    no key.
    """
    scores = torch.einsum("btd,bsd->bts", query, key) * query.shape[-1] ** -0.5
    there = mask[:, None, :].expand_as(scores)
    scores = torch.where(there, scores, torch.finfo(scores.dtype).min)
    powers = (scores - scores.amax(2, keepdim=True).detach()).exp() * there
    total = powers.sum(2, keepdim=True)
    weights = powers / torch.where(there.any(2, keepdim=True), total, 1)
    return torch.einsum("bts,bse->bte", weights, value)


def _attend_cases(seed=1):
    yield *float64([[[2.0]]], [[[0.3], [0.7]]], [[[1.0], [3.0]]]), torch.tensor([[True, True]])
    yield (
        *float64([[[1.3, 0.2]]], [[[0.5, 0.1], [1.7, 0.4], [2.9, 1.1]]], [[[1.1], [2.3], [30.7]]]),
        torch.tensor([[True, True, False]]),
    )
    draw, chance = draws(seed), torch.Generator().manual_seed(seed)
    # the first text has no word
    yield draw(2, 2, 3), draw(2, 3, 3), draw(2, 3, 2), torch.tensor([[False] * 3, [True] * 3])
    # far below what may stand for a masked score, 0 or -100 or -10000, beside a masked one
    yield (
        torch.full((1, 1, 4), -30000, dtype=torch.float64),
        *float64(
            [[[0.5, 0.5, 0.5, 0.5], [0.0, 0.0, 0.0, 0.0], [0.25, 0.75, 0.5, 0.5]]],
            [[[1.3, 2.7], [5.1, 6.3], [3.9, 1.7]]],
        ),
        torch.tensor([[True, False, True]]),
    )
    high = 400 * torch.ones(1, 1, 2, dtype=torch.float64)
    yield (
        high,
        *float64([[[1.1, 0.9], [2.1, 2.3], [1.2, 0.81]]], [[[1.3], [5.1], [3.9]]]),
        torch.tensor([[True, False, True]]),
    )
    for B, T, S, D, E in ((2, 3, 3, 2, 2), (3, 2, 4, 5, 3), (3, 4, 4, 4, 4)):
        mask = torch.rand(B, S, generator=chance) < 0.6
        mask[:, 0] = True
        mask[-1] = False
        yield draw(B, T, D), draw(B, S, D), draw(B, S, E), mask


def _attend_batch():
    draw = torch.Generator().manual_seed(0)
    x = [torch.randn(64, 14, 8, generator=draw).requires_grad_() for _ in range(3)]
    return *x, torch.rand(64, 14, generator=draw) < 0.8


def _scores(query, key, scale=None):
    return query @ key.mT / (math.sqrt(query.shape[-1]) if scale is None else scale)


def _hidden(scores, mask, fill=-math.inf):
    return scores.masked_fill(~mask[:, None], fill)


def _softmax(scores, mask, dim=-1):
    return _hidden(scores, mask).softmax(dim)


def _renormalised(weights):
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-12)


ATTEND = Exercise(
    key="14.1",
    verified=True,
    reference=attend,
    cases=_attend_cases,
    batch=_attend_batch,
    returns="one row for each query",
    misconceptions=(
        *ideas(
            "the weights sum to 1 over the queries. Each query shares its own attention out among"
            " the keys, which are the last axis of the scores: dim=-1.",
            lambda query, key, value, mask: (
                _softmax(_scores(query, key), mask, 1).nan_to_num() @ value
            ),
        ),
        *ideas(
            "the weights sum to 1 over the batch, the first axis. Each query shares its own"
            " attention out among the keys: dim=-1.",
            lambda query, key, value, mask: (
                _softmax(_scores(query, key), mask, 0).nan_to_num() @ value
            ),
        ),
        *ideas(
            "the mask is put on the weights, after the softmax. What the masked keys took is lost,"
            " and the rest sum to less than 1: mask the scores, before the softmax.",
            lambda query, key, value, mask: (
                (_scores(query, key).softmax(-1) * mask[:, None]) @ value
            ),
        ),
        *ideas(
            "the masked keys take part in the softmax, and the weights are divided by their sum"
            " afterwards. Where a masked score is by far the largest, nothing is left to divide:"
            " minus infinity, before the softmax.",
            lambda query, key, value, mask: (
                _renormalised(_scores(query, key).softmax(-1) * mask[:, None]) @ value
            ),
        ),
        *ideas(
            "a masked key has the score 0, and e to the 0 is 1, a weight like any other: its score"
            " must be minus infinity.",
            lambda query, key, value, mask: (
                (_scores(query, key) * mask[:, None]).softmax(-1) @ value
            ),
            lambda query, key, value, mask: (
                ((_scores(query, key) * mask[:, None]).softmax(-1) * mask[:, None]) @ value
            ),
        ),
        *ideas(
            "a masked score is replaced by a number such as -100. Other scores may be lower, and"
            " then the masked key takes the weight: use minus infinity.",
            lambda query, key, value, mask: (
                (_hidden(_scores(query, key), mask, -100).softmax(-1) * mask[:, None]) @ value
            ),
            lambda query, key, value, mask: (
                _hidden(_scores(query, key), mask, -100).softmax(-1) @ value
            ),
            lambda query, key, value, mask: (
                _hidden(_scores(query, key), mask, -1e4).softmax(-1)
                @ value
                * mask.any(1)[:, None, None]
            ),
        ),
        *ideas(
            "a row whose keys are all masked is NaN: the softmax of nothing but minus infinity"
            " divides 0 by 0. Such a row gives zeros.",
            lambda query, key, value, mask: _softmax(_scores(query, key), mask) @ value,
        ),
        *ideas(
            "a row whose keys are all masked gets the mean of what is masked. Such a row gives"
            " zeros.",
            lambda query, key, value, mask: (
                _hidden(_scores(query, key), mask, -1e9).softmax(-1) @ value
            ),
        ),
        *ideas(
            "the scores are not divided by the root of D, or by D itself. The query has D numbers,"
            " query.shape[-1]: divide by its square root.",
            lambda query, key, value, mask: (
                _softmax(_scores(query, key, 1), mask).nan_to_num() @ value
            ),
            lambda query, key, value, mask: (
                _softmax(_scores(query, key, query.shape[-1]), mask).nan_to_num() @ value
            ),
            lambda query, key, value, mask: (
                _softmax(_scores(query, key, key.shape[1] ** 0.5), mask).nan_to_num() @ value
            ),
            lambda query, key, value, mask: (
                _softmax(_scores(query, key, value.shape[-1] ** 0.5), mask).nan_to_num() @ value
            ),
        ),
        *ideas(
            "the mask is not used: padding gets attention, too.",
            lambda query, key, value, mask: _scores(query, key).softmax(-1) @ value,
        ),
        *ideas(
            "the mask is read the other way round: True is a real key.",
            lambda query, key, value, mask: (
                _softmax(_scores(query, key), ~mask).nan_to_num() @ value
            ),
        ),
        *ideas(
            "these are the weights, not the result: they still have to be multiplied by the"
            " values.",
            lambda query, key, value, mask: _softmax(_scores(query, key), mask).nan_to_num(),
        ),
    ),
)

# 14.2 -----------------------------------------------------------------------------------------


def multi_head(x, sees, W_q, W_k, W_v, W_o, heads):
    """By einsum, with the heads as an axis of the weights and nothing turned."""
    D = x.shape[-1]
    q, k, v = (torch.einsum("btc,hdc->bthd", x, W.view(heads, -1, D)) for W in (W_q, W_k, W_v))
    scores = torch.einsum("bthd,bshd->bhts", q, k) * (D // heads) ** -0.5
    there = sees[:, None]
    weights = torch.where(there, scores, torch.finfo(scores.dtype).min).softmax(-1) * there
    mixed = torch.einsum("bhts,bshd->bthd", weights, v)
    return torch.einsum("bthd,chd->btc", mixed, W_o.view(D, heads, -1))


def _multi_cases(seed=2):
    draw, chance = draws(seed), torch.Generator().manual_seed(seed)

    def case(B, T, D, heads, sees=None):
        if sees is None:
            sees = torch.rand(B, T, T, generator=chance) < 0.6
            sees |= torch.eye(T, dtype=torch.bool)
            sees[-1, 0] = False
        weights = (draw(D, D) / D**0.5 for _ in range(4))
        return draw(B, T, D), sees, *weights, heads

    yield case(1, 2, 2, 2, torch.ones(1, 2, 2, dtype=torch.bool))
    yield case(1, 3, 4, 2, torch.ones(1, 3, 3, dtype=torch.bool).tril())
    yield case(2, 3, 4, 2)
    yield case(2, 4, 4, 4)
    yield case(3, 4, 6, 2)
    yield case(4, 4, 6, 3)
    yield case(1, 3, 4, 1)


def _multi_batch():
    draw = torch.Generator().manual_seed(0)
    sees = torch.ones(64, 14, 14, dtype=torch.bool).tril()
    weights = [(torch.randn(32, 32, generator=draw) / 6).requires_grad_() for _ in range(4)]
    return torch.randn(64, 14, 32, generator=draw).requires_grad_(), sees, *weights, 4


def _cut(x, heads):
    """(B, T, D) -> (B, h, T, D/h)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _glue(x):
    """(B, h, T, D/h) -> (B, T, D)."""
    return x.transpose(1, 2).flatten(2)


def _heads(
    x, sees, W_q, W_k, W_v, W_o, heads, cut=_cut, glue=_glue, scale=None, out=True, weigh=None
):
    q, k, v = (cut(x @ W.T, heads) for W in (W_q, W_k, W_v))
    scores = q @ k.mT / math.sqrt(scale or x.shape[-1] / heads)
    there = sees[:, None]
    if weigh is None:
        weights = scores.masked_fill(~there, -math.inf).softmax(-1).nan_to_num()
    else:
        weights = weigh(scores, there)
    mixed = glue(weights @ v)
    return mixed @ W_o.T if out else mixed


def _by_width(x, sees, W_q, W_k, W_v, W_o, heads):
    return _heads(x, sees, W_q, W_k, W_v, W_o, heads, scale=x.shape[-1])


def _unscaled(x, sees, W_q, W_k, W_v, W_o, heads):
    return _heads(x, sees, W_q, W_k, W_v, W_o, heads, scale=1)


def _one_head(x, sees, W_q, W_k, W_v, W_o, heads):
    return _heads(x, sees, W_q, W_k, W_v, W_o, 1)


def _every_other_column(x, heads):
    """Head i gets columns i, i + h, ...: the axes of the cut are the other way round."""
    return x.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2)


def _glued_the_other_way(x):
    return x.permute(0, 2, 3, 1).flatten(2)


def _turned_mask(x, sees, W_q, W_k, W_v, W_o, heads):
    return _heads(x, sees.mT, W_q, W_k, W_v, W_o, heads)


def _a_head_for_each_text(x, sees, W_q, W_k, W_v, W_o, heads):
    def weigh(scores, there):
        return scores.masked_fill(~sees, -math.inf).softmax(-1).nan_to_num()

    return _heads(x, sees, W_q, W_k, W_v, W_o, heads, weigh=weigh)


def _not_turned(x, sees, W_q, W_k, W_v, W_o, heads):
    return _heads(x, sees, W_q.T, W_k.T, W_v.T, W_o.T, heads)


def _no_mask(x, sees, W_q, W_k, W_v, W_o, heads):
    return _heads(x, torch.ones_like(sees), W_q, W_k, W_v, W_o, heads)


def _other_way_round(x, sees, W_q, W_k, W_v, W_o, heads):
    return _heads(x, ~sees, W_q, W_k, W_v, W_o, heads)


def _mean_of_heads(x):
    """(B, h, T, D/h) -> (B, T, D): the mean of the heads, repeated."""
    return x.mean(1).repeat(1, 1, x.shape[1])


def _cut_without_turning(x, heads):
    return x.reshape(x.shape[0], heads, x.shape[1], -1)


def _glue_without_turning(x):
    return x.reshape(x.shape[0], x.shape[2], -1)


def _softmax_over_queries(scores, there):
    return scores.masked_fill(~there, -math.inf).softmax(-2).nan_to_num()


def _zeros_afterwards(scores, there):
    return scores.softmax(-1) * there


def _nan_kept(scores, there):
    return scores.masked_fill(~there, -math.inf).softmax(-1)


def _uncut(x, sees, W_q, W_k, W_v, W_o, heads):
    return _heads(x, sees, W_q, W_k, W_v, W_o, heads, cut=_cut_without_turning)


def _uncut_unglued(x, sees, W_q, W_k, W_v, W_o, heads):
    how = {"cut": _cut_without_turning, "glue": _glue_without_turning}
    return _heads(x, sees, W_q, W_k, W_v, W_o, heads, **how)


def _unglued(x, sees, W_q, W_k, W_v, W_o, heads):
    return _heads(x, sees, W_q, W_k, W_v, W_o, heads, glue=_glue_without_turning)


def _columns_in_turn(x, sees, W_q, W_k, W_v, W_o, heads):
    return _heads(x, sees, W_q, W_k, W_v, W_o, heads, cut=_every_other_column)


def _columns_in_turn_and_back(x, sees, W_q, W_k, W_v, W_o, heads):
    how = {"cut": _every_other_column, "glue": _glued_the_other_way}
    return _heads(x, sees, W_q, W_k, W_v, W_o, heads, **how)


def _over_queries(x, sees, W_q, W_k, W_v, W_o, heads):
    return _heads(x, sees, W_q, W_k, W_v, W_o, heads, weigh=_softmax_over_queries)


def _masked_late(x, sees, W_q, W_k, W_v, W_o, heads):
    return _heads(x, sees, W_q, W_k, W_v, W_o, heads, weigh=_zeros_afterwards)


def _nan(x, sees, W_q, W_k, W_v, W_o, heads):
    return _heads(x, sees, W_q, W_k, W_v, W_o, heads, weigh=_nan_kept)


def _unmixed(x, sees, W_q, W_k, W_v, W_o, heads):
    return _heads(x, sees, W_q, W_k, W_v, W_o, heads, out=False)


def _averaged(x, sees, W_q, W_k, W_v, W_o, heads):
    return _heads(x, sees, W_q, W_k, W_v, W_o, heads, glue=_mean_of_heads)


MULTI_HEAD = Exercise(
    key="14.2",
    verified=True,
    reference=multi_head,
    cases=_multi_cases,
    batch=_multi_batch,
    returns="one row for each word",
    misconceptions=(
        *ideas(
            "the heads are cut by a reshape to (B, h, T, D/h) without a transpose, so a head gets"
            " pieces of several words. First (B, T, h, D/h), then transpose(1, 2).",
            _uncut,
            _uncut_unglued,
        ),
        *ideas(
            "the results are glued by a reshape without the transpose back, so a word gets pieces"
            " of others. First transpose(1, 2), to (B, T, h, D/h), then reshape.",
            _unglued,
        ),
        *ideas(
            "the scores are divided by the root of D, or not at all. A head's queries have D/h"
            " numbers: divide by the root of D/h.",
            _by_width,
            _unscaled,
        ),
        *ideas(
            "the heads are mixed: there is one softmax over the whole width. Each head has scores"
            " of its own.",
            _one_head,
        ),
        *ideas(
            "a head gets every h-th column. Head 1 has the first D/h columns, head 2 the next:"
            " the axes are (h, D/h), in this order.",
            _columns_in_turn,
            _columns_in_turn_and_back,
        ),
        *ideas(
            "the mask lies on the wrong axis: sees[b, t, s] says whether word t, the query, may"
            " look at word s, the key, in every head, sees[:, None].",
            _turned_mask,
            _a_head_for_each_text,
            _over_queries,
        ),
        *ideas(
            "the mask is put on the weights, after the softmax: what the masked words took is"
            " lost. Mask the scores.",
            _masked_late,
        ),
        *ideas("a word that may look at nothing gets NaN. Its heads give zeros.", _nan),
        *ideas(
            "the weights are not transposed: as in nn.Linear, row i of a matrix makes column i of"
            " the result, x @ W.T.",
            _not_turned,
        ),
        *ideas("the last matrix, W_o, is left out: it mixes what the heads found.", _unmixed),
        *ideas(
            "the heads are averaged. They stand side by side: h times D/h columns make D.",
            _averaged,
        ),
        *ideas(
            "the mask is not used, or read the other way round: True means that the word may be"
            " looked at.",
            _no_mask,
            _other_way_round,
        ),
    ),
)

# 14.3 -----------------------------------------------------------------------------------------


def causal_mask(mask):
    """Places compared with places, no triangle."""
    places = torch.arange(mask.shape[1], device=mask.device)
    return (places[None, :, None] >= places[None, None, :]) & mask[:, None, :]


def _causal_cases(seed=3):
    yield (torch.tensor([[True]]),)
    yield (torch.tensor([[True, True]]),)
    yield (torch.tensor([[True, True, False]]),)
    yield (torch.tensor([[False, True, True], [True, True, True]]),)
    yield (torch.tensor([[True, True, False, False], [True] * 4, [False] * 4]),)
    chance = torch.Generator().manual_seed(seed)
    for B, T in ((2, 4), (3, 5)):
        yield (torch.rand(B, T, generator=chance) < 0.7,)


def _square(mask):
    return torch.ones(mask.shape[1], mask.shape[1], dtype=torch.bool)


def _square_for_each(mask):
    return _square(mask).expand(len(mask), -1, -1)


CAUSAL = Exercise(
    key="14.3",
    reference=causal_mask,
    cases=_causal_cases,
    batch=lambda: (torch.ones(64, 28, dtype=torch.bool),),
    returns="one (T, T) mask for each text",
    misconceptions=(
        *ideas(
            "a word may not look at itself: one off. Word t sees s = t, too; the diagonal belongs"
            " to it.",
            lambda mask: _square(mask).tril(-1) & mask[:, None],
        ),
        *ideas(
            "a word may look at the next one: one off. That is the answer it should guess.",
            lambda mask: _square(mask).tril(1) & mask[:, None],
        ),
        *ideas(
            "it is transposed: word t sees itself and what comes *after* it. Rows are queries,"
            " columns are keys, and s <= t is the lower triangle.",
            lambda mask: _square(mask).triu() & mask[:, None],
            lambda mask: (_square(mask).tril() & mask[:, None]).mT,
        ),
        *ideas(
            "what may be seen and what may not have changed places: True means that t may look"
            " at s.",
            lambda mask: ~(_square(mask).tril() & mask[:, None]),
            lambda mask: _square(mask).triu(1) & mask[:, None],
        ),
        *ideas(
            "padding lies on the wrong axis: the *keys* that are padding are hidden, columns of"
            " the last axis, mask[:, None, :].",
            lambda mask: _square(mask).tril() & mask[:, :, None],
        ),
        *ideas(
            "padding hides rows as well. Only keys are hidden: a padding word's own row does no"
            " harm, because nobody reads it.",
            lambda mask: _square(mask).tril() & mask[:, None] & mask[:, :, None],
        ),
        *ideas(
            "padding is not hidden: a key must be real as well as not later.",
            lambda mask: _square_for_each(mask).tril(),
            lambda mask: _square(mask).tril(),
        ),
        *ideas(
            "every real word is seen, whatever its place: s must also be at most t.",
            lambda mask: _square(mask) & mask[:, None],
            lambda mask: mask[:, None] & mask[:, :, None],
        ),
        *ideas(
            "one of the two conditions is enough here. Both must hold: not later, and real.",
            lambda mask: _square(mask).tril() | mask[:, None],
        ),
        *ideas(
            "these are numbers to be added to the scores, 0 and minus infinity. Asked for is bool,"
            " True where t may look at s.",
            lambda mask: torch.zeros(len(mask), mask.shape[1], mask.shape[1]).masked_fill(
                ~causal_mask(mask), -math.inf
            ),
        ),
    ),
)

EXERCISES = [ATTEND, MULTI_HEAD, CAUSAL]
