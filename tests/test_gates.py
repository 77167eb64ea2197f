"""The ceilings of the theory worlds, each against the Bayes rule applied to samples, and the
samples themselves.
"""

import doctest
import math
from itertools import chain, combinations, product
from statistics import NormalDist

import numpy as np
import pytest
import torch
from torch import nn

from course_utils.datasets import LARGE, SMALL, Cues, Gates, cues, gates
from course_utils.datasets.gates import GATES
from course_utils.runtime import seed_everything
from course_utils.training import Batches, evaluate, fit

TEXT, IMAGE, BOTH, TWO = ["text"], ["image"], ["text", "image"], list(product((-1, 1), repeat=2))
# The gates once more, from their definitions: (sign of each modality, label) of the equally likely
# cases.
CASES = {
    "redundant": [((s, s), s > 0) for s in (-1, 1)],
    "unique": [((s, 0), s > 0) for s in (-1, 1)],
    "xor": [((a, b), a != b) for a, b in TWO],
    "and": [((a, b), a > 0 and b > 0) for a, b in TWO],
    "or": [((a, b), a > 0 or b > 0) for a, b in TWO],
    "parity": [((a, b, c), a * b * c > 0) for a, b, c in product((-1, 1), repeat=3)],
}


def subsets(names):
    return list(chain.from_iterable(combinations(names, k) for k in range(len(names) + 1)))


def percent(*values):
    return tuple(round(100 * value, 1) for value in values)


def gate_posterior(world, batch, present):
    """P(label = 1 | present), (n,), by Bayes' theorem on the full densities of the vectors."""
    joint = np.zeros((len(batch["label"]), 2))
    for signs, label in CASES[world.gate]:
        distance = sum(
            ((batch[name].double() - sign * u) ** 2).sum(dim=1).numpy()
            for name, sign, u in zip(world.names, signs, world.directions)
            if name in present
        )
        # rescaled against underflow
        density = np.exp(-distance / (2 * world.noise**2) + world.dim * len(present) / 2)
        joint[:, int(label)] += (1 - world.flips) * density
        joint[:, 1 - int(label)] += world.flips * density
    return joint[:, 1] / joint.sum(axis=1)


def cue_posterior(world, batch, present, rho=None):
    """The same for cues, from both classes' densities; `rho` 0 makes it the product of experts."""
    at = [world.names.index(name) for name in present]
    mu, covariance = np.array(world.mu)[at], np.eye(len(at))
    covariance[~np.eye(len(at), dtype=bool)] = world.rho if rho is None else rho
    x = (
        np.concatenate([batch[name].numpy() for name in present], axis=1).astype(float)
        if present
        else np.zeros((len(batch["label"]), 0))
    )
    for_0, for_1 = (
        share * np.exp(-np.einsum("ni,ij,nj->n", x - c, np.linalg.inv(covariance), x - c) / 2)
        for share, c in ((1 - world.prior, -mu), (world.prior, mu))
    )
    return for_1 / (for_0 + for_1)


def assert_within_errors(scores, expected, errors=4):
    """The mean of `scores` (n,) lies within so many standard errors of `expected`."""
    assert abs(scores.mean() - expected) <= errors * scores.std() / math.sqrt(len(scores)) + 1e-9, (
        scores.mean(),
        expected,
    )


def right(posterior, batch):
    return (posterior > 0.5) == batch["label"].bool().numpy()


@pytest.mark.parametrize(
    "setting",
    [LARGE, SMALL, {"dim": 3, "noise": 0.6, "flips": 0.25, "seed": 4}],
    ids=["large", "small", "other"],
)
@pytest.mark.parametrize("gate", GATES)
def test_the_bayes_rule_scores_what_the_ceiling_says_whatever_is_missing(gate, setting):
    world = Gates(gate, **setting)
    batch = world.sample(40_000, seed=1)
    for present in subsets(world.names):
        posterior = gate_posterior(world, batch, present)
        assert_within_errors(right(posterior, batch), world.ceiling(present))
        # the same mean, far less scatter
        assert_within_errors(np.maximum(posterior, 1 - posterior), world.ceiling(present))


@pytest.mark.parametrize(
    "world",
    [
        Cues(),
        Cues(rho=0.5),
        Cues(rho=0.9),
        Cues(rho=-0.4),
        Cues(prior=0.8),
        Cues(rho=0.7, prior=0.3),
        Cues((1.0,), prior=0.6),
        Cues((0.5, 1.0, -0.8), rho=0.3, prior=0.6),
    ],
    ids=str,
)
def test_the_rules_on_cues_score_what_their_formulas_say_whatever_is_missing(world):
    batch = world.sample(40_000, seed=2)
    for present in subsets(world.names):
        posterior = cue_posterior(world, batch, present)
        assert_within_errors(right(posterior, batch), world.ceiling(present))
        assert_within_errors(np.maximum(posterior, 1 - posterior), world.ceiling(present))
        product_of_experts = cue_posterior(world, batch, present, rho=0)
        assert_within_errors(
            right(product_of_experts, batch), world.rule_accuracy(world.product_weights(present))
        )


def test_the_ladder_of_two_cues():
    ladder = [Cues().ceiling(present) for present in (TEXT, IMAGE, BOTH)]
    assert [round(100 * step, 2) for step in ladder] == [69.15, 84.13, 86.82]
    assert Cues().ceiling() == Cues().ceiling(BOTH) and Cues().ceiling([]) == 0.5
    assert percent(Cues((0.5, 1.0, 1.0)).ceiling()) == (93.3,)


def test_correlated_noise_is_counted_twice_by_the_product_and_used_by_the_bayes_rule():
    worlds = [Cues(rho=rho) for rho in (0.0, 0.5, 0.9)]
    assert percent(*(world.ceiling() for world in worlds)) == (86.8, 84.1, 91.3)
    assert percent(*(world.rule_accuracy(world.product_weights()) for world in worlds)) == (
        86.8,
        82.8,
        80.3,
    )
    assert worlds[2].bayes_weights().round(1).tolist() == [-4.2, 5.8]
    # at this correlation the weaker cue adds nothing
    assert worlds[1].bayes_weights() == pytest.approx([0, 2], abs=1e-15)
    assert all(
        percent(world.ceiling(TEXT), world.ceiling(IMAGE)) == (69.1, 84.1) for world in worlds
    )


def test_weights_and_ceiling_of_two_correlated_cues_by_hand():
    """The inverse of [[1, r], [r, 1]] is [[1, -r], [-r, 1]] / (1 - r^2)."""
    world = Cues(mu=(0.3, 7 / 9), rho=1 / 3)
    weights = [9 / 4 * (0.3 - 7 / 27), 9 / 4 * (7 / 9 - 0.1)]
    assert world.bayes_weights() == pytest.approx(weights, rel=1e-14)
    assert world.bayes_weights(IMAGE) == pytest.approx([0, 14 / 9], rel=1e-15)
    assert world.product_weights() == pytest.approx([0.6, 14 / 9], rel=1e-15)
    phi = NormalDist().cdf
    length = math.sqrt((weights[0] * 0.3 + weights[1] * 7 / 9) / 2)
    assert world.ceiling() == pytest.approx(phi(length), rel=1e-14)
    assert world.ceiling(TEXT) == pytest.approx(phi(0.3), rel=1e-14)
    spread = math.sqrt(1 + 1 + 2 / 3)
    tilted = 0.4 * phi((0.3 + 7 / 9 + 0.1) / spread) + 0.6 * phi((0.3 + 7 / 9 - 0.1) / spread)
    unequal = Cues(mu=(0.3, 7 / 9), rho=1 / 3, prior=0.4)
    assert unequal.rule_accuracy([1, 1], bias=0.1) == pytest.approx(tilted, rel=1e-14)


def test_ceilings_of_noisy_gates_by_hand():
    """The flips turn A into 1/9 + 7/9 A."""
    phi, dials = NormalDist().cdf, {"noise": 0.7, "flips": 1 / 9}
    found = {
        "redundant": phi(2**0.5 / 0.7),
        "unique": phi(1 / 0.7),
        "xor": (1 + (2 * phi(1 / 0.7) - 1) ** 2) / 2,
        "parity": (1 + (2 * phi(1 / 0.7) - 1) ** 3) / 2,
    }
    for gate, share in found.items():
        ceiling = Gates(gate, **dials).ceiling()
        assert ceiling == pytest.approx(1 / 9 + 7 / 9 * share, rel=1e-14), gate


def test_filling_in_a_missing_cue_can_be_worse_than_leaving_it_out():
    # The first cue is there, the second is missing. Under correlation its zero leaves a first
    # weight of the wrong sign.
    correlated = Cues(rho=0.9)
    assert percent(correlated.rule_accuracy([correlated.bayes_weights()[0], 0])) == (30.9,)
    # With unequal classes the mean of the second cue is not 0 but mu (2 prior - 1), which speaks
    # for the common class.
    unequal = Cues(prior=0.8)
    filled = math.log(4) + unequal.bayes_weights()[1] * 1.0 * (2 * 0.8 - 1)
    assert percent(unequal.ceiling(TEXT), unequal.rule_accuracy([1, 0], bias=filled)) == (
        81.4,
        80.3,
    )


def test_gates_whose_bits_are_seen_without_noise():
    def ceilings(gate):
        world = Gates(gate, noise=0)
        return [round(100 * world.ceiling(present), 9) for present in (TEXT, IMAGE, world.names)]

    assert ceilings("xor") == [50, 50, 90]
    assert ceilings("redundant") == [90, 90, 90]
    assert ceilings("unique") == [90, 50, 90]
    assert ceilings("and") == ceilings("or") == [70, 70, 90]
    parity = Gates("parity", noise=0)
    assert [round(100 * parity.ceiling(present), 9) for present in subsets(parity.names)] == 7 * [
        50
    ] + [90]


def test_gates_at_both_settings():
    values = {
        gate: [
            (round(100 * world.ceiling(TEXT), 2), round(100 * world.ceiling(), 2))
            for world in (Gates(gate, **LARGE), Gates(gate, **SMALL))
        ]
        for gate in GATES
    }
    assert values == {
        "redundant": [(89.83, 90.0), (77.31, 83.71)],
        "unique": [(89.83, 89.83), (77.31, 77.31)],
        "xor": [(50, 89.66), (50, 68.64)],
        "and": [(70, 89.83), (70, 78.71)],
        "or": [(70, 89.83), (70, 78.71)],
        "parity": [(50, 89.49), (50, 62.73)],
    }


@pytest.mark.parametrize("noise", [0.2, 0.6, 1.0, 2.5])
def test_the_integral_for_and_equals_a_fine_sum_over_the_plane(noise):
    t, step = np.linspace(-1 - 8 * noise, 1 + 8 * noise, 2_001, retstep=True)
    density = {
        s: np.exp(-(((t - s) / noise) ** 2) / 2) / noise / math.sqrt(2 * math.pi) for s in (-1, 1)
    }
    both = np.outer(density[1], density[1]) / 4
    rest = np.outer(density[1] + density[-1], density[1] + density[-1]) / 4 - both
    assert Gates("and", noise=noise, flips=0).ceiling() == pytest.approx(
        np.maximum(both, rest).sum() * step**2, abs=1e-5
    )


@pytest.mark.parametrize("gate", GATES)
def test_ceilings_stay_in_order_from_no_noise_to_nothing_but_noise(gate):
    ladder = [Gates(gate, noise=noise).ceiling() for noise in (0, 1e-3, 0.1, 0.35, 1, 10, 1e6)]
    assert ladder == sorted(ladder, reverse=True) or max(np.diff(ladder)) < 1e-9
    assert ladder[0] == pytest.approx(ladder[1]) == pytest.approx(0.9)
    assert ladder[-1] == pytest.approx(Gates(gate).ceiling([]), abs=1e-5)
    assert Gates(gate, flips=0.5).ceiling() == 0.5


@pytest.mark.parametrize("gate", GATES)
def test_the_vectors_have_the_moments_of_the_stated_model(gate):
    world = Gates(gate, dim=3, noise=0.5, seed=2)
    batch, signs = world.sample(40_000, seed=0), np.array([signs for signs, _ in CASES[gate]])
    x = torch.cat([batch[name] for name in world.names], dim=1).double()  # (n, M * 3)
    # of each case
    means = np.einsum("cm,md->cmd", signs, world.directions.numpy()).reshape(len(signs), -1)
    expected = means.T @ means / len(means) + 0.5**2 * np.eye(x.shape[1])
    # entries scatter by about .004
    assert np.abs((x.T @ x / len(x)).numpy() - expected).max() < 0.02


def test_the_labels_are_made_by_the_gate_and_flipped_at_the_stated_rate():
    for gate, cases in CASES.items():
        world = Gates(gate, noise=0, flips=0.2)
        batch = world.sample(8_000, seed=3)
        seen = torch.stack(
            [(batch[name].double() @ u).round() for name, u in zip(world.names, world.directions)],
            dim=1,
        )
        for signs, label in cases:
            rows = (seen == torch.tensor(signs)).all(dim=1)
            assert rows.double().mean().item() == pytest.approx(1 / len(cases), abs=0.025)
            assert (batch["label"][rows] != int(label)).double().mean().item() == pytest.approx(
                0.2, abs=0.06
            )


def test_samples_fit_the_training_loop_and_share_their_world():
    world = Gates("parity", **SMALL)
    train, test = world.sample(world.rows, seed=0), world.sample(500, seed=1)
    assert list(train) == ["text", "image", "audio", "label"] and Gates("xor").names == (
        "text",
        "image",
    )
    assert train["audio"].shape == (150, 16) and train["audio"].dtype == torch.float32
    assert train["label"].shape == (150,) and train["label"].dtype == torch.int64
    assert next(iter(Batches(train, 32)))["image"].shape == (32, 16)
    assert world.directions.norm(dim=1).tolist() == pytest.approx([1, 1, 1], rel=1e-15)
    assert torch.equal(world.directions, Gates("parity", **SMALL).directions)
    assert not torch.equal(world.directions, Gates("parity", **SMALL, seed=1).directions)
    assert not torch.equal(train["text"], test["text"][:150])
    again, more = Gates("parity", **SMALL).sample(150, seed=0), world.sample(500, seed=0)
    assert all(
        torch.equal(train[name], again[name]) and torch.equal(train[name], more[name][:150])
        for name in train
    )
    cues = Cues(rho=0.5).sample(40, seed=0)
    assert {name: tuple(value.shape) for name, value in cues.items()} == {
        "text": (40, 1),
        "image": (40, 1),
        "label": (40,),
    }
    assert cues["text"].dtype == torch.float32 and cues["label"].dtype == torch.int64
    assert torch.equal(cues["image"], Cues(rho=0.5).sample(80, seed=0)["image"][:40])
    assert not torch.equal(cues["image"], Cues(rho=0.5).sample(40, seed=1)["image"])


def test_one_dial_leaves_what_the_others_draw():
    plain, noisy, flipped = (
        Gates("xor", **dials).sample(400, seed=0) for dials in ({}, {"noise": 2.0}, {"flips": 0.0})
    )
    assert torch.equal(plain["label"], noisy["label"]) and torch.equal(
        plain["text"], flipped["text"]
    )
    assert 0.05 < (plain["label"] != flipped["label"]).double().mean() < 0.15


class Concat(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, batch):
        return self.layers(torch.cat([batch["text"], batch["image"]], dim=1))


def test_a_small_network_comes_close_to_the_ceiling_of_xor_and_a_linear_layer_learns_nothing():
    generator = seed_everything(0)
    world = Gates("xor", **LARGE)
    train, validation, test = (
        world.sample(n, seed) for seed, n in enumerate((world.rows, 500, 8_000))
    )
    network = Concat(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 2))
    linear = Concat(nn.Linear(16, 2))
    for model in (network, linear):
        fit(model, Batches(train, 100, generator), Batches(validation, 500), epochs=30, lr=1e-2)
    result, ceiling = evaluate(network, Batches(test, 2_000)), world.ceiling()
    error = math.sqrt(ceiling * (1 - ceiling) / 8_000)
    assert ceiling - 0.03 < result.accuracy < ceiling + 3 * error
    # its accuracy may be anything up to 75 % of unflipped labels
    assert evaluate(linear, Batches(test, 2_000)).loss > 0.68


@pytest.mark.parametrize("setting", [LARGE, SMALL], ids=["large", "small"])
@pytest.mark.parametrize("gate", GATES)
def test_the_joint_is_how_often_samples_fall_into_its_bins(gate, setting):
    world, cuts, n = Gates(gate, **setting), (-0.6, 0.1, 0.9), 100_000
    data = world.sample(n, seed=0)
    bins = [
        torch.bucketize(
            data[name].double() @ u, torch.tensor(cuts, dtype=torch.float64), right=True
        )
        for name, u in zip(world.names, world.directions)
    ]
    seen = np.zeros((4,) * len(bins) + (2,))
    np.add.at(seen, (*(b.numpy() for b in bins), data["label"].numpy()), 1 / n)
    joint = world.joint(cuts)
    assert joint.shape == seen.shape and joint.sum() == pytest.approx(1, abs=1e-12)
    assert joint.min() >= 0
    assert (np.abs(seen - joint) <= 5 * np.sqrt(joint / n) + 1e-4).all()


@pytest.mark.parametrize("setting", [LARGE, SMALL], ids=["large", "small"])
@pytest.mark.parametrize("gate", GATES)
def test_guessing_the_likelier_label_of_each_bin_comes_to_the_ceiling(gate, setting):
    """Exactly, where the sign is all that counts, or one modality is seen; from below elsewhere."""
    world = Gates(gate, **setting)
    signs, fine = world.joint(), world.joint(tuple(np.linspace(-3, 3, 41)))
    for present in chain.from_iterable(
        combinations(world.names, k) for k in range(len(world.names) + 1)
    ):
        away = tuple(axis for axis, name in enumerate(world.names) if name not in present)
        by_sign, by_bin = (joint.sum(away).max(-1).sum() for joint in (signs, fine))
        ceiling = world.ceiling(present)
        assert by_sign <= ceiling + 1e-9 and by_bin <= ceiling + 1e-9
        assert by_bin == pytest.approx(ceiling, abs=2e-3)
        if gate in ("unique", "xor", "parity") or len(present) < 2:
            assert by_sign == pytest.approx(ceiling, abs=1e-9)


def test_the_examples_of_the_docstrings():
    for module, least in ((gates, 1), (cues, 3)):
        found = doctest.testmod(module)
        assert found.failed == 0 and found.attempted >= least


def test_without_noise_the_joint_is_that_of_the_bits():
    joint = Gates("or", noise=0, flips=0.1).joint()
    np.testing.assert_allclose(joint[..., 1], [[0.025, 0.225], [0.225, 0.225]], atol=1e-15)
    np.testing.assert_allclose(joint[..., 0], [[0.225, 0.025], [0.025, 0.025]], atol=1e-15)
    # the image of "unique" is 0, which is where the upper bin begins
    unique = Gates("unique", noise=0, flips=0).joint()
    assert unique[:, 1].tolist() == [[0.5, 0], [0, 0.5]] and unique[:, 0].sum() == 0


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: Gates("nand"), r"gate: expected one of \['redundant', .* got 'nand'"),
        (lambda: Gates(["xor"]), "gate: expected one of"),
        (lambda: Gates("xor", rows=0), "rows: expected a whole number of at least 1, got 0"),
        (lambda: Gates("xor", dim=2.5), "dim: expected a whole number of at least 1, got 2.5"),
        (lambda: Gates("xor", seed=-1), "seed: expected a whole number of at least 0, got -1"),
        (
            lambda: Gates("xor", noise=-0.1),
            "noise: expected a standard deviation of at least 0, got -0.1",
        ),
        (lambda: Gates("xor", noise=math.nan), "noise: expected .* got nan"),
        (lambda: Gates("xor", noise="much"), "noise: expected .* got 'much'"),
        (
            lambda: Gates("xor", flips=0.6),
            "flips: expected a probability between 0 and .5, got 0.6",
        ),
        (lambda: Gates("xor").sample(0, seed=0), "n: expected a whole number of at least 1, got 0"),
        (
            lambda: Gates("xor").sample(5, seed=None),
            "seed: expected a whole number of at least 0, got None",
        ),
        (
            lambda: Gates("xor").ceiling("text"),
            r"present: expected a tuple of names among \('text', 'image'\), got 'text'",
        ),
        (lambda: Gates("xor").ceiling(["audio"]), r"present: expected .* got \['audio'\]"),
        (lambda: Gates("xor").ceiling(2), "present: expected .* got 2"),
        (lambda: Gates("xor").joint(0.0), "cuts: expected ascending finite numbers, .* got 0.0"),
        (lambda: Gates("xor").joint(()), r"cuts: expected .* at least one, got \(\)"),
        (lambda: Gates("xor").joint((0, 0)), r"cuts: expected ascending .* got \(0, 0\)"),
        (lambda: Gates("xor").joint((0, math.inf)), r"cuts: expected ascending finite"),
        (lambda: Cues(()), r"mu: expected one to three finite numbers, got \(\)"),
        (lambda: Cues((1.0, math.inf)), "mu: expected one to three finite numbers"),
        (lambda: Cues(0.5), "mu: expected one to three finite numbers, got 0.5"),
        (lambda: Cues(rho=1.0), "rho: expected a number above -1 and below 1, got 1.0"),
        (
            lambda: Cues((1, 1, 1), rho=-0.5),
            "rho: expected a number above -0.5 and below 1, got -0.5",
        ),
        (lambda: Cues(prior=1), "prior: expected a probability above 0 and below 1, got 1"),
        (lambda: Cues().rule_accuracy([1.0]), r"weights: expected 2 finite numbers, got \[1.0\]"),
        (lambda: Cues().rule_accuracy([1.0, math.nan]), "weights: expected 2 finite numbers"),
        (
            lambda: Cues().rule_accuracy([1.0, 1.0], bias=math.inf),
            "bias: expected a finite number, got inf",
        ),
        (lambda: Cues().bayes_weights(["smell"]), r"present: expected .* got \['smell'\]"),
        (lambda: Cues().sample(-3, seed=0), "n: expected a whole number of at least 1, got -3"),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()
