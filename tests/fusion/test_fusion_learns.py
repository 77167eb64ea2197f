"""What the fusion strategies learn: representation, closed forms, missing modalities; stored
sweeps, partly made again.
"""

import functools
import sys

import pytest
import torch
from torch.nn import functional as F

from course_utils.datasets import Cues
from course_utils.fusion import STRATEGIES, ProductOfExpertsFusion, WeightedSumFusion
from course_utils.metrics import mean_interval
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))  # which a room's sweeps.py imports from

sweeps = load("19", "sweeps")
SEEDS = range(5)


def minimise(module, loss, steps=60):
    """Full-batch L-BFGS on a convex loss: to the minimum, whatever the start."""
    optimizer = torch.optim.LBFGS(
        module.parameters(), max_iter=steps, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)


def squared_error(fusion, cues, truth):
    return F.mse_loss(fusion(cues), truth)


# ---- closed forms ----


@pytest.mark.parametrize(
    "scales, expected",
    [
        # 1 / variance, normalised: 1, 4 and 2.04 of 7.04
        ((1.0, 1.0, 1.0), (0.14, 0.57, 0.29)),
        # a cue on twice the scale needs half of that weight
        ((2.0, 1.0, 1.0), (0.076, 0.615, 0.309)),
    ],
    ids=["one scale", "another scale"],
)
def test_learned_weights_find_inverse_variance_only_for_cues_on_one_scale(scales, expected):
    deviations = (1.0, 0.5, 0.7)
    for seed in SEEDS:
        rng = torch.Generator().manual_seed(seed)
        truth = torch.randn(8_000, 1, generator=rng, dtype=torch.float64)
        cues = {
            name: (
                scale
                * (truth + deviation * torch.randn(8_000, 1, generator=rng, dtype=torch.float64))
            )
            for name, scale, deviation in zip(("text", "image", "audio"), scales, deviations)
        }
        torch.manual_seed(seed)
        fusion = WeightedSumFusion(dict.fromkeys(cues, 1), 1, width=None).double()
        minimise(fusion, functools.partial(squared_error, fusion, cues, truth))
        weights = fusion(cues, return_info=True)[1].weights[0]
        assert weights.tolist() == pytest.approx(expected, abs=0.02), seed
    by_variance = WeightedSumFusion(
        dict.fromkeys(cues, 1),
        1,
        width=None,
        variances={name: d**2 for name, d in zip(cues, deviations)},
    ).double()
    found = by_variance(cues, return_info=True)[1].weights[0].tolist()
    assert (found == pytest.approx(expected, abs=0.005)) == (scales[0] == 1.0)


def experts_alone(world, seed):
    """A product of experts, each trained with the other modalities masked, and so a posterior of
    its own cue.
    """
    sample = world.sample(8_000, seed)
    labels, cues = sample["label"], {name: sample[name].double() for name in world.names}
    torch.manual_seed(seed)
    fusion = ProductOfExpertsFusion(
        dict.fromkeys(cues, 1), 2, prior=[1 - world.prior, world.prior]
    ).double()
    missing = torch.zeros(len(labels), dtype=torch.bool)
    # a mask for each expert, in which the others are missing
    alone = [{other: missing for other in cues if other != name} for name in cues]

    def loss():
        return sum(F.cross_entropy(fusion(cues, mask=mask), labels) for mask in alone)

    minimise(fusion, loss)
    return fusion


def log_odds(fusion):
    """Weights (M,) and bias of the product's log-odds of label 1, which is linear in the cues."""
    eye = torch.eye(len(fusion.names), dtype=torch.float64)
    points = torch.cat([torch.zeros(1, len(eye)), eye])
    with torch.no_grad():
        logits = fusion({name: points[:, m : m + 1] for m, name in enumerate(fusion.names)})
    odds = logits[:, 1] - logits[:, 0]
    return (odds[1:] - odds[0]).numpy(), odds[0].item()


@pytest.mark.parametrize(
    "world, best, product",
    [
        (Cues(mu=(0.5, 1.0, 1.0)), 0.933, 0.933),
        (Cues(mu=(0.5, 1.0, 1.0), prior=0.8), 0.950, 0.950),
        (Cues(mu=(0.5, 1.0)), 0.868, 0.868),
        (Cues(mu=(0.5, 1.0), rho=0.5), 0.841, 0.827),
        (Cues(mu=(0.5, 1.0), rho=0.9), 0.913, 0.803),
    ],
    ids=["three cues", "with a prior", "two cues", "correlated .5", "correlated .9"],
)
def test_product_of_experts_is_optimal_for_independent_cues_and_counts_shared_noise_twice(
    world, best, product
):
    assert world.ceiling() == pytest.approx(best, abs=0.001)
    for seed in SEEDS:
        weights, bias = log_odds(experts_alone(world, seed))
        # 2 mu
        assert weights == pytest.approx(world.product_weights(), abs=0.15)
        assert world.rule_accuracy(weights, bias) == pytest.approx(product, abs=0.002), seed


def test_a_prior_counted_by_each_expert_costs_accuracy():
    world = Cues(mu=(0.5, 1.0, 1.0), prior=0.8)
    weights, bias = log_odds(experts_alone(world, 0))
    # three experts bring it, and nobody takes two away
    again = bias + 2 * torch.logit(torch.tensor(0.8)).item()
    assert world.rule_accuracy(weights, bias) - world.rule_accuracy(weights, again) > 0.01


# ---- what each strategy can represent ----

# By formula: additive strategies have no interaction at all; FiLM and bilinear fusion have none of
# three modalities.
ADDITIVE = {
    "concat",
    "weighted_concat",
    "late",
    "product_of_experts",
    "sum",
    "mean",
    "weighted_sum",
}
WITHOUT = {"xor": ADDITIVE, "parity": ADDITIVE | {"film", "bilinear"}}
# Attention over single vectors only reweighs what is summed: it stays at the best of rules that add
# up, .75 x .9 + .25 x .1.
PARTLY = {
    "xor: attention_pool": (0.66, 0.73),
    "parity: attention_pool": (0.56, 0.65),
    # these two not always in 30 epochs
    "parity: bottleneck": (0.48, 0.90),
    "parity: cross_attention": (0.60, 0.90),
}


@pytest.mark.parametrize("gate", ["xor", "parity"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_over_five_seeds_each_strategy_learns_what_its_formula_can_represent(gate, strategy):
    row = stored("19", "fusion_gates")[f"{gate}: {strategy}"]
    accuracy, loss, statistic = (row[name] for name in ("accuracy", "loss", "interaction"))
    assert len(accuracy) == len(loss) == len(statistic) == 5
    if strategy in WITHOUT[gate]:
        assert max(statistic) < 1e-5 and max(accuracy) < 0.57
        assert mean_interval(loss)[0] == pytest.approx(0.693, abs=0.012) and min(loss) > 0.69
    elif f"{gate}: {strategy}" in PARTLY:
        low, high = PARTLY[f"{gate}: {strategy}"]
        assert low < min(accuracy) and max(accuracy) < high
    else:
        assert row["ceiling"] - 0.035 < min(accuracy) and max(accuracy) < row["ceiling"] + 0.01
        assert min(statistic) > 0.99


@pytest.mark.parametrize(
    "strategy, gate, seed",
    [("concat", "xor", 3), ("gated", "xor", 1), ("bilinear", "parity", 2), ("tensor", "parity", 4)],
)
def test_one_run_of_the_sweep_made_again_agrees(strategy, gate, seed):
    row = stored("19", "fusion_gates")[f"{gate}: {strategy}"]
    accuracy, loss, statistic = sweeps.learn_gate(strategy, gate, seed)
    assert accuracy == pytest.approx(row["accuracy"][seed], abs=0.02) and loss == pytest.approx(
        row["loss"][seed], abs=0.02
    )
    assert (statistic < 1e-5) == (row["interaction"][seed] < 1e-5)


def test_the_statistic_sees_an_interaction_and_its_absence():
    world = sweeps.Gates("xor", **sweeps.LARGE)
    torch.manual_seed(0)
    for strategy, low, high in (
        ("sum", 0, 1e-6),
        ("bilinear", 0.01, 1.001),
        ("early", 0.001, 1.001),
    ):
        value = sweeps.interaction(sweeps.Fused(strategy, {"text": 8, "image": 8}, 2), world)
        assert low <= value <= high, strategy


# ---- a missing modality ----

ALONE, ALL = ("text", "image", "audio"), "text + image + audio"
ONE_MISSING = ("text + image", "text + audio", "image + audio")
# Which subsets are not asked for: bilinear fusion has no product with one modality, one-way
# cross-attention is silent without its query (text). FiLM could (W (x + S c) + b is enough), but
# with a content of one number two of five starts end reading it the wrong way round when the others
# are missing.
LIMITED = {
    "film": (*ALONE, *ONE_MISSING, ALL),
    "bilinear": ALONE,
    "cross_attention": ("image", "audio", "image + audio"),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_with_modality_dropout_what_is_left_is_used_as_well_as_can_be(strategy):
    rows = stored("19", "fusion_missing")
    row, without = rows[f"cues: {strategy}, dropout 0.3"], rows[f"cues: {strategy}, dropout 0.0"]
    assert row["ceiling"] == {
        " + ".join(p): pytest.approx(Cues(mu=(0.5, 1.0, 1.0)).ceiling(p))
        for p in sweeps.subsets(ALONE)
    }
    for present, best in row["ceiling"].items():
        mean = mean_interval(row["accuracy"][present])[0]
        assert (
            len(row["accuracy"][present]) == len(without["accuracy"][present]) == 5
            and mean < best + 0.005
        )
        if present not in LIMITED.get(strategy, ()):
            assert mean > best - 0.015, present
    for present in LIMITED.get(strategy, ()) if strategy != "film" else ():
        assert mean_interval(row["accuracy"][present])[0] == pytest.approx(0.5, abs=0.01), present


def test_without_modality_dropout_some_lose_a_tenth_and_others_nothing():
    rows = stored("19", "fusion_missing")
    lost = {}
    for strategy in STRATEGIES:
        row = rows[f"cues: {strategy}, dropout 0.0"]
        lost[strategy] = max(
            row["ceiling"][p] - mean_interval(row["accuracy"][p])[0] for p in ALONE + ONE_MISSING
        )
    assert max(lost[name] for name in ("concat", "early", "late", "low_rank")) < 0.01
    assert lost["tensor"] > 0.08 and lost["attention_pool"] > 0.03 and lost["gated"] > 0.015


def test_on_digits_modality_dropout_pays_when_one_is_missing():
    rows = stored("19", "fusion_missing")
    gains = {}
    for strategy in STRATEGIES:
        with_it, without = (
            rows[f"digits: {strategy}, dropout {p}"]["accuracy"] for p in (0.3, 0.0)
        )
        paired = [
            sum(with_it[p][seed] - without[p][seed] for p in ONE_MISSING) / 3 for seed in SEEDS
        ]
        gains[strategy] = mean_interval(paired)
    assert all(mean > 0 for mean, _ in gains.values())
    assert sum(mean - half > 0 for mean, half in gains.values()) >= 16, gains


def test_one_run_with_missing_modalities_made_again_agrees():
    parts, _ = sweeps.missing_world("cues", 2)
    again = sweeps.score_missing("tensor", parts, 2, 0.3, **sweeps.MISSING["cues"])
    row = stored("19", "fusion_missing")["cues: tensor, dropout 0.3"]["accuracy"]
    for present, value in again.items():
        assert value == pytest.approx(row[" + ".join(present)][2], abs=0.01), present
