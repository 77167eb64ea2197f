"""Notebook 11: the parameters of a low-rank layer, a mean and a softmax over the modalities that
are present.
"""

import math
import random

from course_utils.exercises import Exercise, Misconception

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


def _parts(factors, weights=lambda C, R: R, biases=lambda C, R: C):
    """A wrong count with the given numbers of factors, weights and biases; `factors` takes
    (widths, C, R).
    """
    return lambda input_dims, output_dim, rank: (
        factors(list(input_dims.values()), output_dim, rank)
        + weights(output_dim, rank)
        + biases(output_dim, rank)
    )


def _factors(D, C, R):
    return R * sum(d + 1 for d in D) * C


def _none(C, R):
    return 0


LOW_RANK_PARAMETERS = Exercise(
    key="11.1",
    reference=low_rank_parameters,
    cases=_parameter_cases,
    returns="the number of parameters",
    misconceptions=(
        Misconception(
            "the widths are multiplied. That is the size of the full tensor, which a low-rank layer"
            " avoids: each modality has its own factors, so their sizes add up.",
            _parts(lambda D, C, R: R * math.prod(d + 1 for d in D) * C),
        ),
        Misconception(
            "the widths are multiplied and the rank is left out: these are the weights and biases"
            " of the full tensor. Each modality has its own `rank` factors, and their sizes"
            " add up.",
            _parts(lambda D, C, R: math.prod(d + 1 for d in D) * C, weights=_none),
        ),
        Misconception(
            "the appended 1 is forgotten: each modality's factors have D_m + 1 rows.",
            _parts(lambda D, C, R: R * sum(D) * C),
        ),
        Misconception(
            "one 1 is appended in all, and not one to each modality: every modality's factors have"
            " D_m + 1 rows.",
            _parts(lambda D, C, R: R * (sum(D) + 1) * C),
        ),
        Misconception(
            "only the factors are counted. The `rank` weights and the `output_dim` biases are"
            " parameters too.",
            _parts(_factors, _none, _none),
        ),
        Misconception(
            "the biases are forgotten: one for each output.", _parts(_factors, biases=_none)
        ),
        Misconception(
            "each rank has its own biases. b stands outside the sum over r: one bias for each"
            " output in all.",
            _parts(_factors, biases=lambda C, R: R * C),
        ),
        Misconception(
            "the weights and biases are counted once for each modality. They come after the"
            " product: once in all.",
            lambda input_dims, output_dim, rank: sum(
                rank * (d + 1) * output_dim + rank + output_dim for d in input_dims.values()
            ),
        ),
        Misconception(
            "the weights of the ranks are forgotten: one for each rank.",
            _parts(_factors, weights=_none),
        ),
        Misconception(
            "the rank is left out of the factors: each modality has `rank` matrices, not one.",
            _parts(lambda D, C, R: sum(d + 1 for d in D) * C),
        ),
        Misconception(
            "the outputs are left out of the factors: each matrix has a column for each output.",
            _parts(lambda D, C, R: R * sum(d + 1 for d in D)),
        ),
        Misconception(
            "each rank has a weight for each output. In the formula w_r does not depend on the"
            " output: `rank` weights in all.",
            _parts(_factors, weights=lambda C, R: R * C),
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


def _by_nan(x, mask):
    seen = ~x.isnan()
    return x.nan_to_num().sum(1) / seen.sum(1).clamp(min=1)


MEAN_OF_PRESENT = Exercise(
    key="11.2",
    reference=mean_of_present,
    cases=_mean_cases,
    returns="one vector per sample",
    misconceptions=(
        Misconception(
            "the mask is multiplied in. A NaN in a missing place stays, because 0 * NaN is NaN:"
            " select with torch.where.",
            lambda x, mask: (x * mask[..., None]).sum(1) / _number(mask),
        ),
        Misconception(
            "the NaN are removed after the sum. The present modalities of that row are lost with"
            " them: select before the sum, with torch.where.",
            lambda x, mask: ((x * mask[..., None]).sum(1) / _number(mask)).nan_to_num(),
        ),
        Misconception(
            "the sum is divided by the number of all modalities, present or not: the more are"
            " missing, the smaller the result gets. Divide by the number of those present.",
            lambda x, mask: _kept(x, mask).sum(1) / x.shape[1],
        ),
        Misconception(
            "a row without any modality is divided by 0, which gives NaN. Divide by at least 1, so"
            " that it becomes zeros.",
            lambda x, mask: _kept(x, mask).sum(1) / mask.sum(1, keepdim=True),
        ),
        Misconception(
            "the mask is not used: what stands in a missing place is averaged with the rest.",
            lambda x, mask: x.mean(1),
        ),
        Misconception(
            "this is the sum of those present: divide it by their number.",
            lambda x, mask: _kept(x, mask).sum(1),
        ),
        Misconception(
            "every row is divided by the number of present modalities in the whole batch. Each row"
            " has its own number.",
            lambda x, mask: _kept(x, mask).sum(1) / mask.sum().clamp(min=1),
        ),
        Misconception(
            "the mask is read the other way round: True means present.",
            lambda x, mask: _kept(x, ~mask).sum(1) / _number(~mask),
        ),
        Misconception(
            "what is NaN is left out, instead of what the mask marks. A missing modality may hold"
            " any number.",
            _by_nan,
        ),
        Misconception(
            "the mean runs over the samples. It belongs over the modalities, which are the second"
            " axis.",
            lambda x, mask: _kept(x, mask).sum(0) / mask.sum(0)[:, None].clamp(min=1),
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
    draw = torch.Generator().manual_seed(seed)
    for B, M in ((3, 2), (4, 3), (5, 4)):
        scores, mask = 2 * torch.randn(B, M, generator=draw), torch.rand(B, M, generator=draw) < 0.6
        mask[0], mask[1] = True, False
        yield scores, mask


def _softmax(scores, dim=1):
    return scores.softmax(dim)


def _divided(weights):
    return weights / weights.sum(1, keepdim=True).clamp(min=1e-12)


PRESENT_WEIGHTS = Exercise(
    key="11.3",
    reference=present_weights,
    cases=_weight_cases,
    returns="one weight per modality",
    misconceptions=(
        Misconception(
            "the scores are multiplied by the mask before the softmax. A missing modality then has"
            " the score 0, and exp(0) = 1 is a weight like any other: its score must be minus"
            " infinity.",
            lambda scores, mask: _softmax(scores * mask),
        ),
        Misconception(
            "the scores are multiplied by the mask before the softmax and the weights after it."
            " What the missing ones took is lost, so the weights sum to less than 1.",
            lambda scores, mask: _softmax(scores * mask) * mask,
        ),
        Misconception(
            "the weights are multiplied by the mask after the softmax. What the missing ones took"
            " is lost, so the weights sum to less than 1.",
            lambda scores, mask: _softmax(scores) * mask,
        ),
        Misconception(
            "missing scores are set to 0 before the softmax. exp(0) = 1 is a weight like any other:"
            " use minus infinity.",
            lambda scores, mask: _softmax(scores.where(mask, scores.new_zeros(()))).where(
                mask, scores.new_zeros(())
            ),
        ),
        Misconception(
            "the exponentials are multiplied by the mask. 0 times NaN or infinity is NaN, and"
            " exp(200) overflows: mask the scores, then take the softmax.",
            lambda scores, mask: _divided(scores.exp() * mask),
        ),
        Misconception(
            "the weights are selected by the mask after the softmax. What the missing ones took is"
            " lost, so the weights sum to less than 1.",
            lambda scores, mask: _softmax(scores).where(mask, scores.new_zeros(())),
        ),
        Misconception(
            "the weights are masked and divided after a softmax over all. If a missing modality had"
            " a large score or NaN, nothing is left to divide: mask the scores, before the"
            " softmax.",
            lambda scores, mask: _divided(_softmax(scores) * mask),
        ),
        Misconception(
            "a row without any modality is NaN: its scores are all minus infinity, and the softmax"
            " divides 0 by 0. Treat this row apart, its weights are 0.",
            lambda scores, mask: _softmax(scores.masked_fill(~mask, -math.inf)),
        ),
        Misconception(
            "a row without any modality gets equal weights. Nothing is present there, so its"
            " weights are 0.",
            lambda scores, mask: _softmax(scores.masked_fill(~mask, -1e9)),
        ),
        Misconception(
            "the exponentials overflow: exp(200) is infinite in float32. Use torch.softmax, which"
            " subtracts the largest score first, and mask the scores before it.",
            lambda scores, mask: _divided(scores.exp().masked_fill(~mask, 0)),
        ),
        Misconception(
            "the weights sum to 1 along the batch, not along the modalities, which are the second"
            " axis.",
            lambda scores, mask: _softmax(scores.masked_fill(~mask, -math.inf), 0).nan_to_num(),
        ),
        Misconception(
            "the scores are not used: every present modality gets the same weight.",
            lambda scores, mask: mask / _number(mask),
        ),
        Misconception(
            "the mask is read the other way round: True means present.",
            lambda scores, mask: present_weights(scores, ~mask),
        ),
        Misconception(
            "the mask is not used: a missing modality takes part in the softmax.",
            lambda scores, mask: _softmax(scores),
        ),
    ),
)

EXERCISES = [LOW_RANK_PARAMETERS, MEAN_OF_PRESENT, PRESENT_WEIGHTS]
