"""Notebook 13: the outer product of all modalities, and a linear map of it at low rank."""

from functools import reduce

import torch

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws, float64

# 13.1 -----------------------------------------------------------------------------------------


def tensor_fusion(parts):
    """One modality after the other, by einsum; the 1 comes as a copy of what is there already."""
    result = parts[0].new_ones(len(parts[0]), 1)
    for x in parts:
        products = torch.einsum("bk,bi->bki", result, x)
        result = torch.cat([products, result[:, :, None]], dim=2).flatten(1)
    return result


def _tensor_cases(seed=1):
    yield (list(float64([[3.0]])),)
    yield (list(float64([[2.0, -1.0]], [[3.0]])),)
    draw = draws(seed)
    yield ([draw(2, 2), draw(2, 2)],)
    yield ([draw(3, 2), draw(3, 3)],)
    yield ([draw(2, 1), torch.zeros(2, 2, dtype=torch.float64)],)
    yield ([draw(2, 2), draw(2, 1), draw(2, 3)],)
    yield ([draw(4, 3), draw(4, 2), draw(4, 2)],)


def _tensor_batch():
    """A batch of the page: 64 samples of two modalities."""
    generator = torch.Generator().manual_seed(0)
    return ([torch.randn(64, 16, generator=generator).requires_grad_() for _ in range(2)],)


def _with_one(x):
    return torch.cat([x, x.new_ones(len(x), 1)], 1)


def _one_first(x):
    return torch.cat([x.new_ones(len(x), 1), x], 1)


def _outer(a, b):
    return (a[:, :, None] * b[:, None, :]).flatten(1)


def _pairs(parts):
    """All products of two, side by side."""
    longer, found = [_with_one(x) for x in parts], []
    for k, a in enumerate(longer):
        found += [_outer(a, b) for b in longer[k + 1 :]]
    return torch.cat(found, 1)


TENSOR = Exercise(
    key="13.1",
    verified=True,
    reference=tensor_fusion,
    cases=_tensor_cases,
    batch=_tensor_batch,
    returns="a row for each sample, with all products of one entry from each vector",
    misconceptions=(
        *ideas(
            "the appended 1 is forgotten. Without it only products of all modalities are there, and"
            " where one of them is zeros, nothing is left of the others.",
            lambda parts: reduce(_outer, parts),
        ),
        *ideas(
            "only some of the vectors get their 1. Each of them needs it: where the picture has no"
            " 1, no entry of the text stands alone.",
            lambda parts: reduce(_outer, [_with_one(parts[0]), *parts[1:]]),
            lambda parts: reduce(_outer, [parts[0], *map(_with_one, parts[1:])]),
            lambda parts: reduce(_outer, [*parts[:-1], _with_one(parts[-1])]),
        ),
        *ideas(
            "the 1 is appended once, behind all products. That is a bias and nothing else: append"
            " it to each vector, before the products.",
            lambda parts: _with_one(reduce(_outer, parts)),
        ),
        *ideas(
            "the 1 stands in front. The card puts it at the end of each vector.",
            lambda parts: reduce(_outer, [_one_first(x) for x in parts]),
        ),
        *ideas(
            "1 is added to each entry. It must be a new entry behind them: torch.cat.",
            lambda parts: reduce(_outer, [x + 1 for x in parts]),
        ),
        *ideas(
            "the products are not flattened: one long row for each sample, .flatten(1), which"
            " leaves the axis of the samples alone.",
            lambda parts: reduce(
                lambda a, b: a[..., None] * b.view(len(b), *[1] * (a.dim() - 1), -1),
                [_with_one(x) for x in parts],
            ),
            lambda parts: _with_one(parts[0])[:, :, None] * _with_one(parts[1])[:, None, :],
        ),
        *ideas(
            "the samples are flattened, too. .flatten(1) begins behind the axis of the samples.",
            lambda parts: reduce(_outer, [_with_one(x) for x in parts]).flatten(),
        ),
        *ideas(
            "samples are multiplied with other samples. Both factors belong to one row: the axis of"
            " the samples stands in both and stays.",
            lambda parts: reduce(
                lambda a, b: torch.einsum("bi,cj->bcij", a, b).flatten(1),
                [_with_one(x) for x in parts],
            ),
            lambda parts: reduce(
                lambda a, b: torch.outer(a.flatten(), b.flatten()), [_with_one(x) for x in parts]
            ),
            lambda parts: torch.outer(*[_with_one(x) for x in parts]),
        ),
        *ideas(
            "the products are summed over the samples. a.T @ b multiplies and adds up along the"
            " rows; here every row keeps its own products.",
            lambda parts: reduce(lambda a, b: a.T @ b, [_with_one(x) for x in parts]),
            lambda parts: reduce(lambda a, b: a.T @ b, [_with_one(x) for x in parts]).flatten(),
        ),
        *ideas(
            "the vectors are side by side, or multiplied place by place. It is each entry of one"
            " with each entry of the other.",
            lambda parts: torch.cat([_with_one(x) for x in parts], 1),
            lambda parts: reduce(torch.mul, [_with_one(x) for x in parts]),
        ),
        *ideas(
            "the products stand in another order: the last modality's entry changes first, as in"
            " a[:, :, None] * b[:, None, :] with a before b.",
            lambda parts: reduce(_outer, [_with_one(x) for x in reversed(parts)]),
        ),
        *ideas(
            "only products of two are there. With three modalities each entry is a product of"
            " three, one from each (or its 1).",
            _pairs,
        ),
    ),
)

# 13.2 -----------------------------------------------------------------------------------------


def low_rank(parts, factors, bias):
    """Term by term; the factor's last row is a bias, so that the 1 is never written."""
    logits = bias.expand(len(parts[0]), -1)
    for r in range(len(factors[0])):
        term = 1.0
        for x, factor in zip(parts, factors):
            term = term * torch.addmm(factor[r, -1], x, factor[r, :-1])
        logits = logits + term
    return logits


def _low_rank_cases(seed=2):
    draw = draws(seed)

    def case(rows, dims, rank, classes):
        parts = [draw(rows, dim) for dim in dims]
        return parts, [draw(rank, dim + 1, classes) for dim in dims], draw(classes)

    yield list(float64([[2.0]])), list(float64([[[1.0], [0.5]]])), float64([0.7])[0]
    yield (
        list(float64([[2.0]], [[3.0]])),
        list(float64([[[1.0], [0.5]]], [[[1.0], [0.2]]])),
        float64([0.7])[0],
    )
    yield case(1, (1, 1), 2, 1)
    yield case(2, (2, 2), 2, 2)
    yield case(2, (2, 3), 3, 1)
    yield case(3, (2, 1, 2), 2, 2)
    yield case(3, (2,), 2, 3)
    yield case(3, (3, 2, 4), 3, 2)


def _low_rank_batch():
    """A batch of the page: 64 samples of two modalities, rank 4."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator).requires_grad_()

    return [draw(64, 16), draw(64, 16)], [draw(4, 17, 2), draw(4, 17, 2)], draw(2)


def _mapped(parts, factors):
    """(M, R, B, C)"""
    return torch.stack([_with_one(x) @ factor for x, factor in zip(parts, factors)])


LOW_RANK = Exercise(
    key="13.2",
    verified=True,
    reference=low_rank,
    cases=_low_rank_cases,
    batch=_low_rank_batch,
    returns="one row of logits per sample",
    misconceptions=(
        *ideas(
            "the terms are summed over the rank before the modalities are multiplied. A product of"
            " sums is rank 1, however large R is: first multiply, then sum.",
            lambda parts, factors, bias: _mapped(parts, factors).sum(1).prod(0) + bias,
        ),
        *ideas(
            "the terms are averaged over the rank. It is a sum.",
            lambda parts, factors, bias: _mapped(parts, factors).prod(0).mean(0) + bias,
            lambda parts, factors, bias: _mapped(parts, factors).mean(1).prod(0) + bias,
        ),
        *ideas(
            "the modalities are added, not multiplied. Without a product it is a glue with a linear"
            " layer.",
            lambda parts, factors, bias: _mapped(parts, factors).sum((0, 1)) + bias,
        ),
        *ideas(
            "the terms of different rank are multiplied. Multiply over the modalities, sum over the"
            " rank.",
            lambda parts, factors, bias: _mapped(parts, factors).prod(0).prod(0) + bias,
            lambda parts, factors, bias: _mapped(parts, factors).prod(1).sum(0) + bias,
        ),
        *ideas(
            "the appended 1 is forgotten, and with it the last row of each factor.",
            lambda parts, factors, bias: (
                torch.stack([x @ f[:, :-1] for x, f in zip(parts, factors)]).prod(0).sum(0) + bias
            ),
            lambda parts, factors, bias: (
                torch.stack([x @ f for x, f in zip(parts, factors)]).prod(0).sum(0) + bias
            ),
        ),
        *ideas(
            "the 1 stands in front. It is the last row of a factor that it meets.",
            lambda parts, factors, bias: (
                torch.stack([_one_first(x) @ f for x, f in zip(parts, factors)]).prod(0).sum(0)
                + bias
            ),
        ),
        *ideas(
            "the bias is forgotten.",
            lambda parts, factors, bias: _mapped(parts, factors).prod(0).sum(0),
        ),
        *ideas(
            "the bias is added too early, and counts more than once. Add it at the end, to the sum"
            " over the rank.",
            lambda parts, factors, bias: (_mapped(parts, factors).prod(0) + bias).sum(0),
            lambda parts, factors, bias: (_mapped(parts, factors) + bias).prod(0).sum(0),
        ),
        *ideas(
            "the axis of the rank is still there: sum over it.",
            lambda parts, factors, bias: _mapped(parts, factors).prod(0) + bias,
            lambda parts, factors, bias: (_mapped(parts, factors).prod(0) + bias).transpose(0, 1),
        ),
        *ideas(
            "only the first two modalities are multiplied. There may be one, or three.",
            lambda parts, factors, bias: _mapped(parts[:2], factors).prod(0).sum(0) + bias,
        ),
        *ideas(
            "the sum runs over the samples, not over the rank, which is the first axis of"
            " x @ factor.",
            lambda parts, factors, bias: _mapped(parts, factors).prod(0).sum(1) + bias,
        ),
    ),
)

EXERCISES = [TENSOR, LOW_RANK]
