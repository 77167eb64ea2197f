"""Notebook 12: inverse-variance weights, and the product of experts."""

import math

import torch

from course_utils.exercises import Exercise, ideas
from course_utils.exercises.draws import draws

# 12.1 -----------------------------------------------------------------------------------------


def inverse_variance(variances, there):
    """By (12.3): a softmax of minus the logarithms, each row by itself."""
    rows = []
    for row, kept in zip(variances, there):
        weights = torch.zeros_like(row)
        weights[kept] = (-row[kept].log()).softmax(0)
        rows.append(weights)
    return torch.stack(rows)


def _variance_cases(seed=12):
    def case(variances, there):
        return torch.tensor(variances, dtype=torch.float64), torch.tensor(there) == 1

    yield case([[4.0, 1.0]], [[1, 1]])
    yield case([[0.5, 0.25, 2.0]], [[1, 1, 1]])
    yield case([[4.0, 3.0], [9.0, 16.0]], [[1, 1], [1, 1]])
    yield case([[4.0, 1.0, 2.5], [2.0, 0.1, 3.0]], [[1, 0, 1], [1, 0, 0]])
    yield case([[4.0, 0.0, 2.5], [math.nan, 0.5, 3.0]], [[1, 0, 1], [0, 1, 1]])
    yield case([[4.0, 1.0], [0.3, 0.7]], [[0, 0], [1, 1]])
    yield case([[math.nan, 0.0]], [[0, 0]])
    draw, chance = draws(seed), torch.Generator().manual_seed(seed)
    for B, M in ((3, 2), (4, 3), (5, 4)):
        there = torch.rand(B, M, generator=chance) < 0.6
        there[0], there[1] = True, False
        yield draw(B, M).abs(), there


def _variance_batch():
    """A batch of the page, as its layer makes it."""
    variances = torch.rand(128, 2, generator=torch.Generator().manual_seed(0)) + 0.1
    return variances.requires_grad_(), torch.ones(128, 2, dtype=torch.bool)


def _precisions(variances, there, power=1.0):
    return torch.where(there, torch.where(there, variances, 1.0) ** -power, 0.0)


def _shares(values, dim=1):
    total = values.sum(dim, keepdim=True)
    return values / torch.where(total > 0, total, 1.0)


INVERSE_VARIANCE = Exercise(
    key="12.1",
    verified=True,
    reference=inverse_variance,
    cases=_variance_cases,
    batch=_variance_batch,
    returns="one weight per modality",
    misconceptions=(
        *ideas(
            "these are weights by one over the standard deviation, the root. One over the variance"
            " is asked for: no root is taken.",
            lambda variances, there: _shares(_precisions(variances, there, 0.5)),
        ),
        *ideas(
            "the variance is squared. It is a square already.",
            lambda variances, there: _shares(_precisions(variances, there, 2.0)),
        ),
        *ideas(
            "what is noisier counts more: the weights grow with the variance. Take one over it.",
            lambda variances, there: _shares(_precisions(variances, there, -1.0)),
        ),
        *ideas(
            "one minus the share of the variances. With two modalities that is the same number;"
            " with one or three the weights do not sum to 1.",
            lambda variances, there: torch.where(
                there, 1 - _shares(_precisions(variances, there, -1.0)), 0.0
            ),
            lambda variances, there: 1 - variances / variances.sum(1, keepdim=True),
        ),
        *ideas(
            "the weights do not sum to 1: divide by the row's sum.",
            lambda variances, there: _precisions(variances, there),
        ),
        *ideas(
            "a softmax of the variances themselves. By (12.3) it is a softmax of minus their"
            " logarithms.",
            lambda variances, there: torch.where(
                there, torch.where(there, -variances, -1e9).softmax(1), 0.0
            ),
            lambda variances, there: torch.where(
                there, torch.where(there, 1 / variances, -1e9).softmax(1), 0.0
            ),
        ),
        *ideas(
            "the mask is not used: a missing reading has a weight.",
            lambda variances, there: (1 / variances) / (1 / variances).sum(1, keepdim=True),
        ),
        *ideas(
            "missing readings get 0 after the division. What they took is lost, so the rest sum to"
            " less than 1: put zeros in before the row's sum.",
            lambda variances, there: torch.where(
                there, (1 / variances) / (1 / variances).sum(1, keepdim=True), 0.0
            ),
            lambda variances, there: (1 / variances) / (1 / variances).sum(1, keepdim=True) * there,
        ),
        *ideas(
            "what is missing is multiplied by the mask, and 0 times NaN (or infinity, one over 0)"
            " is NaN: choose with torch.where.",
            lambda variances, there: _shares(there / variances),
        ),
        *ideas(
            "a row with nothing has weights: NaN, 0 / 0, or the equal ones of equal scores."
            " They are 0.",
            lambda variances, there: torch.where(there, -variances.log(), -1e9).softmax(1),
            lambda variances, there: (
                _precisions(variances, there) / _precisions(variances, there).sum(1, keepdim=True)
            ),
        ),
        *ideas(
            "the sum is taken to be at least 1, and that of a row with large variances is smaller:"
            " divide by 1 only where it is 0.",
            lambda variances, there: (
                _precisions(variances, there)
                / _precisions(variances, there).sum(1, keepdim=True).clamp(min=1)
            ),
        ),
        *ideas(
            "the shape or the axis is another one: the weights of each row, the second axis, sum to"
            " 1; its sum keeps that axis (keepdim=True); and squeeze() without an axis also takes"
            " away a batch of one.",
            lambda variances, there: _shares(_precisions(variances, there), dim=0),
            lambda variances, there: (
                _precisions(variances, there) / _precisions(variances, there).sum()
            ),
            lambda variances, there: (
                _precisions(variances, there) / _precisions(variances, there).sum(1)
            ),
            lambda variances, there: _shares(_precisions(variances, there)).squeeze(),
        ),
    ),
)

# 12.2 -----------------------------------------------------------------------------------------


def product_of_experts(log_probs, log_prior, there):
    """Row by row: the sum of those present, less the prior for all of them but one."""
    rows = []
    for one, kept in zip(log_probs, there):
        total = one[kept].sum(0) + (1 - int(kept.sum())) * log_prior
        rows.append(total - total.logsumexp(0))
    return torch.stack(rows)


def _expert_cases(seed=7):
    draw, chance = draws(seed), torch.Generator().manual_seed(seed)

    def logs(probs):
        return torch.tensor(probs, dtype=torch.float64).log()

    def case(B, M, C, there=None, filling=None, scale=1.0):
        log_probs = (scale * draw(B, M, C)).log_softmax(2)
        there = torch.ones(B, M, dtype=torch.bool) if there is None else torch.tensor(there) == 1
        if filling is not None:
            log_probs[~there] = filling
        return log_probs, draw(C).log_softmax(0), there

    both = torch.tensor([[True, True]])
    yield logs([[[0.2, 0.8], [0.2, 0.8]]]), logs([0.2, 0.8]), both
    yield logs([[[0.3, 0.7], [0.2, 0.8]]]), logs([0.5, 0.5]), both
    yield case(1, 2, 3)
    yield case(2, 3, 2, [[1, 0, 1], [0, 1, 0]], 0.0)
    yield case(2, 2, 3, [[1, 0], [0, 0]], math.nan)
    yield case(1, 2, 3, [[0, 1]], -math.inf)
    yield case(2, 3, 3, scale=500.0)
    for B, M, C in ((3, 2, 4), (4, 3, 3)):
        there = torch.rand(B, M, generator=chance) < 0.6
        there[0], there[1] = True, False
        yield case(B, M, C, there.long().tolist(), 2.3)


def _expert_batch():
    """A batch of the page: three experts, ten classes."""
    logits = torch.randn(128, 3, 10, generator=torch.Generator().manual_seed(0))
    prior = torch.full((10,), 0.1).log()
    return logits.log_softmax(2).requires_grad_(), prior, torch.ones(128, 3, dtype=torch.bool)


def _sum(log_probs, there):
    """Those present, added: (B, C)."""
    return torch.where(there[..., None], log_probs, 0.0).sum(1)


def _count(there):
    return there.sum(1, keepdim=True)


def _right(log_probs, log_prior, there):
    return (_sum(log_probs - log_prior, there) + log_prior).log_softmax(-1)


def _by_probabilities(log_probs, log_prior, there):
    ratios = torch.where(there[..., None], log_probs.exp() / log_prior.exp(), 1.0)
    product = ratios.prod(1) * log_prior.exp()
    return (product / product.sum(1, keepdim=True)).log()


PRODUCT = Exercise(
    key="12.2",
    verified=True,
    reference=product_of_experts,
    cases=_expert_cases,
    batch=_expert_batch,
    returns="the log-probabilities of one sample's classes",
    misconceptions=(
        *ideas(
            "the experts are multiplied, and each brings the prior along: it counts once for each"
            " of them. Take it out of each, and put it in once.",
            lambda log_probs, log_prior, there: _sum(log_probs, there).log_softmax(-1),
            lambda log_probs, log_prior, there: torch.where(
                _count(there) > 0, _sum(log_probs, there), log_prior
            ).log_softmax(-1),
        ),
        *ideas(
            "the prior comes on top of experts that have it already: once for each of them, and"
            " once more. Take it out of each first.",
            lambda log_probs, log_prior, there: (_sum(log_probs, there) + log_prior).log_softmax(
                -1
            ),
        ),
        *ideas(
            "the prior is taken out of each expert and never put in again.",
            lambda log_probs, log_prior, there: _sum(log_probs - log_prior, there).log_softmax(-1),
        ),
        *ideas(
            "the prior is taken out M - 1 times, M being all experts. Only those that are there"
            " brought it along.",
            lambda log_probs, log_prior, there: (
                _sum(log_probs, there) - (there.shape[1] - 1) * log_prior
            ).log_softmax(-1),
        ),
        *ideas(
            "these are right up to a number for each row, which is missing: the probabilities do"
            " not sum to 1. log_softmax makes them.",
            lambda log_probs, log_prior, there: _sum(log_probs - log_prior, there) + log_prior,
        ),
        *ideas(
            "these are probabilities. Log-probabilities are asked for.",
            lambda log_probs, log_prior, there: _right(log_probs, log_prior, there).exp(),
        ),
        *ideas(
            "a mean of the experts' probabilities, a sum of votes. A product is a sum of"
            " logarithms.",
            lambda log_probs, log_prior, there: (
                _sum(log_probs.exp(), there) / _count(there)
            ).log(),
        ),
        *ideas(
            "a mean of the log-probabilities, not their sum: two experts who agree are then no"
            " surer than one.",
            lambda log_probs, log_prior, there: (
                _sum(log_probs, there) / _count(there).clamp(min=1)
            ).log_softmax(-1),
            lambda log_probs, log_prior, there: (
                log_prior + _sum(log_probs - log_prior, there) / _count(there).clamp(min=1)
            ).log_softmax(-1),
            lambda log_probs, log_prior, there: (
                log_prior + _sum(log_probs - log_prior, there) / there.shape[1]
            ).log_softmax(-1),
        ),
        *ideas(
            "probabilities stand in between, and exp(-900) is 0: stay with logarithms, and end with"
            " log_softmax.",
            _by_probabilities,
            lambda log_probs, log_prior, there: _right(log_probs, log_prior, there).exp().log(),
        ),
        *ideas(
            "who is missing has to add 0. A mask that is multiplied does not do it, since 0 times"
            " NaN is NaN; and minus infinity forbids every class. Choose 0 with torch.where.",
            lambda log_probs, log_prior, there: (
                (log_probs.masked_fill(~there[..., None], -math.inf) - log_prior).sum(1) + log_prior
            ).log_softmax(-1),
            lambda log_probs, log_prior, there: (
                ((log_probs - log_prior) * there[..., None]).sum(1) + log_prior
            ).log_softmax(-1),
        ),
        *ideas(
            "the mask is not used: an expert who is not there has a vote.",
            lambda log_probs, log_prior, there: (
                (log_probs - log_prior).sum(1) + log_prior
            ).log_softmax(-1),
        ),
        *ideas(
            "the shape or the axis is another one: `there` needs an axis for the classes,"
            " there[..., None]; the experts are added along axis 1; the classes of each row sum to"
            " 1; and squeeze() without an axis also takes away a batch of one.",
            lambda log_probs, log_prior, there: (
                torch.where(there, log_probs - log_prior, 0.0).sum(1) + log_prior
            ).log_softmax(-1),
            lambda log_probs, log_prior, there: (
                _sum(log_probs - log_prior, there) + log_prior
            ).log_softmax(0),
            lambda log_probs, log_prior, there: _right(log_probs, log_prior, there).squeeze(),
        ),
    ),
)

EXERCISES = [INVERSE_VARIANCE, PRODUCT]
