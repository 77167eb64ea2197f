"""Notebook 11: the parameters of a low-rank layer, a mean and a softmax over the modalities that
are present.
"""

import math
import random

from course_utils.exercises import Exercise, ideas

# 11.1 -----------------------------------------------------------------------------------------


def low_rank_parameters(input_dims, output_dim, rank):
    """The factors are M stacks of `rank` matrices (D_m + 1, C); beside them `rank` weights and C
    biases.
    """
    factors = [rank * (dim + 1) * output_dim for dim in input_dims.values()]
    return sum(factors, start=rank + output_dim)


def _parameter_cases(seed=1):
    yield {"text": 2, "image": 1}, 2, 3
    yield {"text": 10, "image": 10}, 2, 1
    yield {"text": 48, "image": 192}, 120, 40
    yield {"text": 6, "image": 5, "audio": 4}, 7, 4
    draw = random.Random(seed)
    for count in (2, 2, 3, 3):
        yield (
            {m: draw.randint(2, 60) for m in ("text", "image", "audio")[:count]},
            draw.randint(2, 20),
            draw.randint(2, 9),
        )


def _rows(dims):
    return sum(dim + 1 for dim in dims.values())


LOW_RANK_PARAMETERS = Exercise(
    key="11.1",
    reference=low_rank_parameters,
    cases=_parameter_cases,
    returns="the number of parameters",
    misconceptions=(
        *ideas(
            "the widths are multiplied. That is the size of the full tensor, which a low-rank layer"
            " avoids: each modality has its own factors, so their sizes add up.",
            lambda dims, C, R: R * math.prod(d + 1 for d in dims.values()) * C + R + C,
        ),
        *ideas(
            "the widths are multiplied and the rank is left out: these are the weights and biases"
            " of the full tensor. Each modality has its own `rank` factors, and their sizes"
            " add up.",
            lambda dims, C, R: math.prod(d + 1 for d in dims.values()) * C + C,
        ),
        *ideas(
            "the appended 1 is forgotten: each modality's factors have D_m + 1 rows.",
            lambda dims, C, R: R * sum(dims.values()) * C + R + C,
        ),
        *ideas(
            "one 1 is appended in all, and not one to each modality: every modality's factors have"
            " D_m + 1 rows.",
            lambda dims, C, R: R * (sum(dims.values()) + 1) * C + R + C,
        ),
        *ideas(
            "only the factors are counted. The `rank` weights and the `output_dim` biases are"
            " parameters too.",
            lambda dims, C, R: R * _rows(dims) * C,
        ),
        *ideas(
            "the biases are forgotten: one for each output.",
            lambda dims, C, R: R * _rows(dims) * C + R,
        ),
        *ideas(
            "each rank has its own biases. b stands outside the sum over r: one bias for each"
            " output in all.",
            lambda dims, C, R: R * _rows(dims) * C + R + R * C,
        ),
        *ideas(
            "the weights and biases are counted once for each modality. They come after the"
            " product: once in all.",
            lambda dims, C, R: R * _rows(dims) * C + len(dims) * (R + C),
        ),
        *ideas(
            "the weights of the ranks are forgotten: one for each rank.",
            lambda dims, C, R: R * _rows(dims) * C + C,
        ),
        *ideas(
            "the rank is left out of the factors: each modality has `rank` matrices, not one.",
            lambda dims, C, R: _rows(dims) * C + R + C,
        ),
        *ideas(
            "the outputs are left out of the factors: each matrix has a column for each output.",
            lambda dims, C, R: R * _rows(dims) + R + C,
        ),
        *ideas(
            "each rank has a weight for each output. In the formula w_r does not depend on the"
            " output: `rank` weights in all.",
            lambda dims, C, R: R * _rows(dims) * C + R * C + C,
        ),
    ),
)


# 11.2 -----------------------------------------------------------------------------------------


def mean_of_present(x, mask):
    """Row by row: pick the present vectors, add them, divide by their number (by 1 where there
    is none).
    """
    import torch

    return torch.stack([row[kept].sum(0) / max(1, int(kept.sum())) for row, kept in zip(x, mask)])


def _mean_cases(seed=2):
    import torch

    yield torch.tensor([[[2.0], [9.0]]]), torch.tensor([[True, False]])
    yield (
        torch.tensor([[[2.0, 4.0], [6.0, 8.0]], [[1.0, 3.0], [7.0, 7.0]]]),
        torch.tensor([[True, True], [False, False]]),
    )
    yield (
        torch.tensor([[[1.0], [math.nan], [3.0]], [[4.0], [5.0], [6.0]]]),
        torch.tensor([[True, False, True], [False, True, True]]),
    )
    # a NaN that is present
    yield torch.tensor([[[1.0], [math.nan], [3.0]]]), torch.tensor([[True, True, False]])
    draw = torch.Generator().manual_seed(seed)
    for B, M, D in ((3, 2, 2), (4, 3, 2), (5, 3, 4), (4, 4, 3)):
        x, mask = torch.randn(B, M, D, generator=draw), torch.rand(B, M, generator=draw) < 0.6
        mask[0], mask[1] = True, False
        mask[2] = torch.arange(M) == 0
        x[2, 1:] = math.nan
        yield x, mask


def _kept(x, mask):
    return x.masked_fill(~mask[..., None], 0)


def _number(mask):
    return mask.sum(1, keepdim=True).clamp(min=1)


MEAN_OF_PRESENT = Exercise(
    key="11.2",
    reference=mean_of_present,
    cases=_mean_cases,
    returns="one vector per sample",
    misconceptions=(
        *ideas(
            "the mask is multiplied in. A NaN in a missing place stays, because 0 * NaN is NaN:"
            " select with torch.where.",
            lambda x, mask: (x * mask[..., None]).sum(1) / _number(mask),
        ),
        *ideas(
            "the NaN are removed after the sum. The present modalities of that row are lost with"
            " them: select before the sum, with torch.where.",
            lambda x, mask: ((x * mask[..., None]).sum(1) / _number(mask)).nan_to_num(),
        ),
        *ideas(
            "the NaN of a present modality is hidden. Something is wrong with that modality, and"
            " the mean has to show it: overwrite what is missing, and nothing else.",
            lambda x, mask: _kept(x, mask).nan_to_num().sum(1) / _number(mask),
            lambda x, mask: x.masked_fill(~mask[..., None], math.nan).nanmean(1).nan_to_num(),
        ),
        *ideas(
            "the sum is divided by the number of all modalities, present or not: the more are"
            " missing, the smaller the result gets. Divide by the number of those present.",
            lambda x, mask: _kept(x, mask).mean(1),
        ),
        *ideas(
            "a row without any modality is divided by 0, which gives NaN. Divide by at least 1, so"
            " that it becomes zeros.",
            lambda x, mask: _kept(x, mask).sum(1) / mask.sum(1, keepdim=True),
            lambda x, mask: x.masked_fill(~mask[..., None], math.nan).nanmean(1),
        ),
        *ideas(
            "the mask is not used: what stands in a missing place is averaged with the rest.",
            lambda x, mask: x.mean(1),
        ),
        *ideas(
            "this is the sum of those present: divide it by their number.",
            lambda x, mask: _kept(x, mask).sum(1),
        ),
        *ideas(
            "every row is divided by the number of present modalities in the whole batch. Each row"
            " has its own number.",
            lambda x, mask: _kept(x, mask).sum(1) / mask.sum().clamp(min=1),
        ),
        *ideas(
            "the mask is read the other way round: True means present.",
            lambda x, mask: _kept(x, ~mask).sum(1) / _number(~mask),
        ),
        *ideas(
            "what is NaN is left out, instead of what the mask marks. A missing modality may hold"
            " any number.",
            lambda x, mask: x.nanmean(1),
        ),
        *ideas(
            "the mask is on the wrong axis: (B, M) is lined up with the D numbers of a vector."
            " mask[..., None] keeps it at the modalities.",
            lambda x, mask: x.where(mask, 0).sum(1) / _number(mask),
            lambda x, mask: x.where(mask[:, None], 0).sum(1) / _number(mask),
        ),
        *ideas(
            "the number of present modalities has lost its axis: (B,) is lined up with the D"
            " numbers of a vector, not with the rows. keepdim=True keeps it, (B, 1).",
            lambda x, mask: _kept(x, mask).sum(1) / mask.sum(1).clamp(min=1),
        ),
    ),
)


# 11.3 -----------------------------------------------------------------------------------------


def present_weights(scores, mask):
    """exp of the distance to the largest present score, divided by its sum, which is at least 1
    unless the row is empty.
    """
    kept = scores.masked_fill(~mask, -math.inf)
    largest = kept.amax(1, keepdim=True).detach()
    powers = (kept - largest.masked_fill(largest == -math.inf, 0)).exp()
    return powers / powers.sum(1, keepdim=True).clamp(min=1)


def _weight_cases(seed=3):
    import torch

    yield torch.tensor([[0.0, 1.0]]), torch.tensor([[True, False]])
    yield (
        torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]),
        torch.tensor([[True, True, False], [False, False, False]]),
    )
    yield (
        torch.tensor([[0.0, 1.0, 200.0], [1.0, math.nan, 2.0]]),
        torch.tensor([[True, True, False], [True, False, True]]),
    )
    yield (
        torch.tensor([[200.0, 199.0], [-200.0, -201.0]]),
        torch.tensor([[True, True], [True, True]]),
    )
    # far below whatever may stand for a missing score, 0 or -100
    low = [[-200.0, 3.0, -201.0], [-50.0, 3.0, -51.0], [-3.0, 3.0, -4.0]]
    yield torch.tensor(low), torch.tensor([[True, False, True]] * 3)
    draw = torch.Generator().manual_seed(seed)
    for B, M in ((3, 2), (4, 3), (5, 4)):
        scores, mask = 2 * torch.randn(B, M, generator=draw), torch.rand(B, M, generator=draw) < 0.6
        mask[0], mask[1] = True, False
        yield scores, mask


def _divided(weights):
    return weights / weights.sum(1, keepdim=True).clamp(min=1e-12)


PRESENT_WEIGHTS = Exercise(
    key="11.3",
    reference=present_weights,
    cases=_weight_cases,
    returns="one weight per modality",
    misconceptions=(
        *ideas(
            "a missing modality goes into the softmax with the score 0, and exp(0) = 1 is a weight"
            " like any other: its score must be minus infinity.",
            lambda scores, mask: (scores * mask).softmax(1),
            lambda scores, mask: (scores * mask).softmax(1) * mask,
            lambda scores, mask: scores.masked_fill(~mask, 0).softmax(1),
            lambda scores, mask: scores.masked_fill(~mask, 0).softmax(1) * mask,
        ),
        *ideas(
            "the weights are masked after the softmax. What the missing ones took is lost, so the"
            " weights sum to less than 1: mask the scores, before the softmax.",
            lambda scores, mask: scores.softmax(1) * mask,
            lambda scores, mask: scores.softmax(1).masked_fill(~mask, 0),
        ),
        *ideas(
            "the weights are masked and divided by their sum after a softmax in which the missing"
            " ones took part. If one of those has by far the largest score, or NaN, nothing is left"
            " to divide: its score must be minus infinity, before the softmax.",
            lambda scores, mask: _divided(scores.softmax(1) * mask),
            lambda scores, mask: _divided((scores * mask).softmax(1) * mask),
            lambda scores, mask: _divided(scores.masked_fill(~mask, 0).softmax(1) * mask),
        ),
        *ideas(
            "a missing score is replaced by a number such as -100. A present score may be lower,"
            " and then the missing modality takes the weight: use minus infinity.",
            lambda scores, mask: scores.masked_fill(~mask, -100).softmax(1),
            lambda scores, mask: scores.masked_fill(~mask, -100).softmax(1) * mask,
        ),
        *ideas(
            "the exponentials overflow: exp(200) is infinite in float32, and 0 times infinity is"
            " NaN. Use torch.softmax, which subtracts the largest score first, and mask the scores"
            " before it.",
            lambda scores, mask: _divided(scores.exp() * mask),
            lambda scores, mask: _divided(scores.exp().masked_fill(~mask, 0)),
        ),
        *ideas(
            "the sum of the exponentials is taken to be at least 1. A number of modalities is, but"
            " exp(-2) is small: where all scores are low, the weights sum to less than 1.",
            lambda scores, mask: (
                scores.exp().masked_fill(~mask, 0)
                / scores.exp().masked_fill(~mask, 0).sum(1, keepdim=True).clamp(min=1)
            ),
        ),
        *ideas(
            "a row without any modality is NaN: its scores are all minus infinity, and the softmax"
            " divides 0 by 0. Treat this row apart, its weights are 0.",
            lambda scores, mask: scores.masked_fill(~mask, -math.inf).softmax(1),
        ),
        *ideas(
            "a row without any modality gets equal weights. Nothing is present there, so its"
            " weights are 0.",
            lambda scores, mask: scores.masked_fill(~mask, -1e9).softmax(1),
        ),
        *ideas(
            "the weights sum to 1 along the batch, not along the modalities, which are the second"
            " axis.",
            lambda scores, mask: scores.masked_fill(~mask, -math.inf).softmax(0).nan_to_num(),
        ),
        *ideas(
            "the scores are not used: every present modality gets the same weight.",
            lambda scores, mask: mask / _number(mask),
        ),
        *ideas(
            "the mask is read the other way round: True means present.",
            lambda scores, mask: present_weights(scores, ~mask),
        ),
        *ideas(
            "the mask is not used: a missing modality takes part in the softmax.",
            lambda scores, mask: scores.softmax(1),
        ),
    ),
)

EXERCISES = [LOW_RANK_PARAMETERS, MEAN_OF_PRESENT, PRESENT_WEIGHTS]
