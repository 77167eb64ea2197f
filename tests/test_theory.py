"""Information against closed forms, the partial information decomposition against known answers,
theorems about its measure, and a second way to solve it.
"""

import doctest
import math
import subprocess
import sys
from statistics import NormalDist

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import rel_entr

from course_utils import theory
from course_utils.datasets.gates import GATES, LARGE, SMALL, Gates
from course_utils.runtime import ROOT
from course_utils.theory import PID, entropy, mutual_information, pid

BITS = 1e-8


def gate(label):
    """The joint (2, 2, 2) of two fair bits and a label made of them."""
    joint = np.zeros((2, 2, 2))
    for a, b in np.ndindex(2, 2):
        joint[a, b, label(a, b)] = 0.25
    return joint


def h2(p):
    """The entropy of a coin that shows heads with probability p."""
    return 0.0 if p in (0, 1) else -p * math.log2(p) - (1 - p) * math.log2(1 - p)


def close(found, expected, within=BITS):
    np.testing.assert_allclose(found, expected, rtol=0, atol=within)


def random_joint(seed, shape=(3, 3, 3), concentration=1.0):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(math.prod(shape), concentration)).reshape(shape)


def degraded(seed, shape=(3, 3, 3)):
    """A joint whose second source is the first, sent through a noisy channel."""
    rng = np.random.default_rng(seed)
    first = rng.dirichlet(np.ones(shape[0] * shape[2])).reshape(shape[0], shape[2])
    channel = rng.dirichlet(np.full(shape[1], 0.3), shape[0])  # (A, B)
    return np.einsum("at,ab->abt", first, channel)


def test_the_examples_of_the_docstrings():
    assert doctest.testmod(theory).failed == 0 and doctest.testmod(theory).attempted >= 5


# ---- entropy and mutual information ----


def test_entropy_of_known_distributions():
    close(entropy(np.full(8, 1 / 8)), 3)
    close(entropy([1.0, 0.0, 0.0]), 0)
    close(entropy([0.1, 0.9]), h2(0.1))
    independent = np.multiply.outer([0.1, 0.9], np.multiply.outer([0.25] * 4, [0.5, 0.5]))
    close(entropy(independent), h2(0.1) + 3)
    close([entropy(independent, axis) for axis in range(3)], [h2(0.1), 2, 1])
    close(
        [entropy(independent, axes) for axes in [(0, 2), (2, 0), -1, ()]],
        [h2(0.1) + 1] * 2 + [1, 0],
    )


def test_mutual_information_of_a_noisy_copy_and_of_gates():
    flipped = np.array([[0.45, 0.05], [0.05, 0.45]])
    close(mutual_information(flipped, 0, 1), 1 - h2(0.1))
    xor = gate(lambda a, b: a ^ b)
    close(mutual_information(xor, 0, 1), 0)
    close(mutual_information(xor, 0, 1, given=2), 1)
    close(mutual_information(xor, 0, (1, 2)), 1)
    close(mutual_information(gate(lambda a, b: a & b), 0, 2), h2(0.25) - 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_mutual_information_keeps_its_laws_on_four_variables(seed):
    joint = random_joint(seed, (2, 3, 2, 3))
    chain = mutual_information(joint, 0, 3) + mutual_information(joint, (1, 2), 3, given=0)
    close(chain, mutual_information(joint, (0, 1, 2), 3))
    close(mutual_information(joint, 1, (0, 2)), mutual_information(joint, (2, 0), 1))
    pair = joint.sum((1, 2))
    together = rel_entr(pair, np.outer(pair.sum(1), pair.sum(0))).sum() / math.log(2)
    close(mutual_information(joint, 0, 3), together)
    assert mutual_information(np.outer([0.3, 0.7], [1 / 3] * 3), 0, 1) >= 0


# ---- partial information decomposition ----

RDNXOR = np.zeros((4, 4, 4))  # a bit that both have, and xor of the other two
for r, a, b in np.ndindex(2, 2, 2):
    RDNXOR[2 * r + a, 2 * r + b, 2 * r + (a ^ b)] = 1 / 8
BOTH = np.zeros((2, 2, 4))  # the target is both of them
for a, b in np.ndindex(2, 2):
    BOTH[a, b, 2 * a + b] = 0.25


@pytest.mark.parametrize(
    "joint, expected",
    [
        (gate(lambda a, b: a & b), (h2(0.25) - 0.5, 0, 0, 0.5)),
        (gate(lambda a, b: a | b), (h2(0.25) - 0.5, 0, 0, 0.5)),
        (gate(lambda a, b: a ^ b), (0, 0, 0, 1)),
        (gate(lambda a, b: a), (0, 1, 0, 0)),
        (gate(lambda a, b: b), (0, 0, 1, 0)),
        (gate(lambda a, b: 0), (0, 0, 0, 0)),
        (np.eye(4)[:, None, :] * np.eye(4)[:, :, None] / 4, (2, 0, 0, 0)),
        (BOTH, (0, 1, 1, 0)),
        (RDNXOR, (1, 0, 0, 1)),
    ],
    ids=["and", "or", "xor", "first", "second", "nothing", "copies", "both", "copy and xor"],
)
def test_textbook_values(joint, expected):
    found = pid(joint)
    assert isinstance(found, PID)
    close(found, expected)


@pytest.mark.parametrize("flips", [0.01, 0.1, 0.3])
def test_xor_with_flipped_labels_is_synergy_of_one_bit_less_its_noise(flips):
    xor = gate(lambda a, b: a ^ b)
    close(pid((1 - flips) * xor + flips * xor[..., ::-1]), (0, 0, 0, 1 - h2(flips)))


@pytest.mark.parametrize("seed", range(4))
def test_when_the_target_is_both_sources_what_they_share_is_redundant(seed):
    shape = (3, 2 + seed % 3)
    pair = random_joint(seed, shape)
    joint = np.zeros((*shape, pair.size))
    for n, (a, b) in enumerate(np.ndindex(shape)):
        joint[a, b, n] = pair[a, b]
    shared = mutual_information(pair, 0, 1)
    close(pid(joint), (shared, entropy(pair, 0) - shared, entropy(pair, 1) - shared, 0))


@pytest.mark.parametrize("shape", [(3, 3, 3), (2, 4, 3), (4, 2, 2), (5, 3, 4)])
def test_a_noisy_copy_of_a_source_has_nothing_unique(shape):
    joint = degraded(7, shape)
    first, second = mutual_information(joint, 0, 2), mutual_information(joint, 1, 2)
    close(pid(joint), (second, first - second, 0, 0))


def test_sources_with_equal_channels_have_nothing_unique():
    prior, channel = np.array([0.2, 0.3, 0.5]), random_joint(3, (3, 4))
    channel /= channel.sum(1, keepdims=True)
    joint = np.einsum("t,ta,tb->abt", prior, channel, channel)
    alone, both = mutual_information(joint, 0, 2), mutual_information(joint, (0, 1), 2)
    close(pid(joint), (alone, 0, 0, both - alone))


JOINTS = [
    random_joint(seed, shape, concentration)
    for seed, (shape, concentration) in enumerate(
        [((2, 2, 2), 1.0), ((3, 3, 3), 1.0), ((3, 3, 3), 0.1), ((2, 4, 3), 0.3), ((4, 4, 4), 0.1)]
    )
]
ZEROS = np.where(JOINTS[1] < 0.03, 0, JOINTS[1])
JOINTS.append(ZEROS / ZEROS.sum())


@pytest.mark.parametrize("joint", JOINTS, ids=range(len(JOINTS)))
def test_the_parts_add_up_and_are_not_negative(joint):
    redundant, first, second, synergistic = pid(joint)
    assert min(redundant, first, second, synergistic) >= 0
    close(redundant + first, mutual_information(joint, 0, 2), 1e-12)
    close(redundant + second, mutual_information(joint, 1, 2), 1e-12)
    close(redundant + first + second + synergistic, mutual_information(joint, (0, 1), 2), 1e-12)


@pytest.mark.parametrize("joint", JOINTS, ids=range(len(JOINTS)))
def test_names_of_values_and_order_of_sources_do_not_matter(joint):
    found = pid(joint)
    rng = np.random.default_rng(0)
    relabelled = joint[tuple(np.ix_(*map(rng.permutation, joint.shape)))]
    close(pid(relabelled), found, 1e-6)
    redundant, first, second, synergistic = pid(joint.transpose(1, 0, 2))
    close((redundant, second, first, synergistic), found, 1e-6)


@pytest.mark.parametrize("joint", JOINTS, ids=range(len(JOINTS)))
def test_values_that_never_come_do_not_matter(joint):
    padded = np.pad(joint, ((1, 0), (0, 1), (1, 1)))
    close(pid(padded), pid(joint))


def test_information_of_two_independent_worlds_adds_up():
    """The unique information of independent pairs is the sum of theirs."""
    one, other = random_joint(1, (2, 2, 2)), random_joint(2, (2, 3, 2))
    joint = np.einsum("abt,cdu->acbdtu", one, other).reshape(4, 6, 4)
    close(pid(joint), np.add(pid(one), pid(other)), 1e-7)


@pytest.mark.parametrize("seed", range(6))
def test_two_bits_against_a_search_over_their_two_free_numbers(seed):
    """With bits, the two tables leave Q one free number for each value of the target."""
    joint = random_joint(seed, (2, 2, 2))
    move = np.array([[1.0, -1.0], [-1.0, 1.0]])
    low, high = -joint[[0, 1], [0, 1]].min(0), joint[[0, 1], [1, 0]].min(0)  # (2,)

    def information(t):
        q = joint + move[..., None] * t
        both = q.sum(2, keepdims=True) * q.sum((0, 1))
        return rel_entr(q.clip(0), both).sum() / math.log(2)

    found = minimize(
        information, (low + high) / 2, method="L-BFGS-B", bounds=list(zip(low, high)), tol=1e-14
    )
    least = mutual_information(joint, (0, 1), 2) - pid(joint).synergistic
    close(least, found.fun, 1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_no_other_joint_with_the_same_tables_has_less(seed):
    """Sources that are drawn independently, given the target, keep both tables, and so does any
    mixture with them.
    """
    joint = random_joint(seed, (3, 4, 2), 0.3)
    least = mutual_information(joint, (0, 1), 2) - pid(joint).synergistic
    prior = joint.sum((0, 1))
    for mix in np.linspace(0, 1, 5):
        independent = joint.sum(1)[:, None] * joint.sum(0) / prior
        q = mix * joint + (1 - mix) * independent
        assert mutual_information(q, (0, 1), 2) >= least - 1e-9


def test_three_sources_are_taken_in_two_groups():
    parity = np.zeros((2, 2, 2, 2))
    for bits in np.ndindex(2, 2, 2):
        parity[(*bits, sum(bits) % 2)] = 1 / 8
    close(pid(parity.reshape(4, 2, 2)), (0, 0, 0, 1))
    close(pid(parity.sum(2)), (0, 0, 0, 0))


def test_ten_classes():
    rng = np.random.default_rng(0)
    label = rng.integers(10, size=400)
    text, image = (
        np.where(rng.random(400) < kept, label, rng.integers(10, size=400)) for kept in (0.7, 0.8)
    )
    joint = np.zeros((10, 10, 10))
    np.add.at(joint, (text, image, label), 1 / 400)
    found = pid(joint)
    close(sum(found), mutual_information(joint, (0, 1), 2))
    close(pid(joint.transpose(1, 0, 2))[0], found.redundant, 1e-6)


def test_rare_values_do_not_stop_it():
    for seed in range(6):
        joint = random_joint(seed, (4, 3, 4), 0.02)
        found = pid(joint)
        close(pid(joint.transpose(1, 0, 2))[0], found.redundant, 1e-6)


@pytest.mark.parametrize("shape, seed", [((2, 3, 3), 30), ((3, 3, 3), 34), ((3, 3, 3), 11)])
def test_tables_that_need_another_start_or_a_bound_on_units(shape, seed):
    """Probabilities down to 1e-100: from one start alone, or in units of any size, the two bounds
    do not meet on these.
    """
    joint = random_joint(seed, shape, 0.01)
    close(sum(pid(joint)), mutual_information(joint, (0, 1), 2), 1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_wherever_the_solver_stops_its_value_is_a_bound(monkeypatch, seed):
    joint = random_joint(seed)
    expected, whole = pid(joint), theory.minimize
    monkeypatch.setattr(theory, "TOLERANCE", math.inf)
    for steps in (1, 2, 4, 8):

        def early(*arguments, steps=steps, **options):
            return whole(*arguments, **options | {"options": {"maxiter": steps}})

        monkeypatch.setattr(theory, "minimize", early)
        assert pid(joint).synergistic >= expected.synergistic - 1e-9


def test_bounds_that_do_not_meet_are_no_answer(monkeypatch):
    monkeypatch.setattr(theory, "TOLERANCE", -1.0)
    with pytest.raises(RuntimeError, match=r"joint: expected bounds within .* got .* \(2, 2, 2\)"):
        pid(gate(lambda a, b: a & b))


def test_a_solver_that_stops_early_is_seen(monkeypatch):
    stopped = theory.minimize

    def early(*arguments, **options):
        return stopped(*arguments, **options | {"options": {"maxiter": 1}})

    monkeypatch.setattr(theory, "minimize", early)
    with pytest.raises(RuntimeError, match="joint: expected bounds within"):
        pid(random_joint(1))


# ---- the gates ----


@pytest.mark.parametrize("noise", [0, LARGE["noise"], SMALL["noise"]])
@pytest.mark.parametrize("flips", [0, LARGE["flips"]])
@pytest.mark.parametrize("gate", GATES)
def test_exact_values_on_gates(gate, flips, noise):
    """A sign is read wrongly with probability e. Both sources tell alike of the label, so that
    neither has anything unique, but in "unique", where the image tells nothing.
    """
    e = NormalDist().cdf(-1 / noise) if noise else 0
    joint = Gates(gate, noise=noise, flips=flips).joint()
    joint = joint.reshape(-1, *joint.shape[-2:])  # parity: two bits against the third
    alone, both = mutual_information(joint, 1, 2), mutual_information(joint, (0, 1), 2)

    def told(wrong):
        return 1 - h2(wrong)

    def noisy(*errors):  # how often an odd number of these errors happens
        return (1 - math.prod(1 - 2 * error for error in errors)) / 2

    expected = {
        "redundant": (told(noisy(e, flips)), 0, 0, both - alone),
        "unique": (0, told(noisy(e, flips)), 0, 0),
        "xor": (0, 0, 0, told(noisy(e, e, flips))),
        "and": (alone, 0, 0, both - alone),
        "or": (alone, 0, 0, both - alone),
        "parity": (0, 0, 0, told(noisy(e, e, e, flips))),
    }[gate]
    close(pid(joint), expected)
    if gate in ("and", "or"):  # P(label 1 | sign) is flips or 1 / 2, by the bit, or what e mixes
        ones = noisy(flips, 0.25)
        chance = [(1 - e) * flips + e / 2, e * flips + (1 - e) / 2]
        close(alone, h2(ones) - sum(map(h2, chance)) / 2)


def test_more_cuts_of_a_gate_tell_more_and_change_no_kind():
    world = Gates("redundant", **SMALL)
    few, more = (pid(world.joint(cuts)) for cuts in ((0.0,), (-2, -1, -0.5, 0, 0.5, 1, 2)))
    assert more.redundant > few.redundant and more.synergistic > few.synergistic > 0
    close((*few[1:3], *more[1:3]), 0)


# ---- what is refused ----


@pytest.mark.parametrize(
    "joint, said",
    [
        ([0.5, 0.6], "sum to 1, got a sum of 1.1"),
        ([3, 1], "counts are divided by their sum"),
        ([1.5, -0.5], "expected probabilities, got entries from -0.5 to 1.5"),
        ([float("nan"), 1.0], "expected probabilities, got entries from nan"),
        ([], "at least one axis and one entry"),
        (1.0, "at least one axis and one entry"),
        ("half", "expected an array of probabilities, got str"),
        ([[0.5], [0.25, 0.25]], "expected an array of probabilities, got list"),
        (None, "at least one axis and one entry"),
    ],
)
def test_what_are_no_probabilities_is_refused(joint, said):
    for function in (entropy, pid, lambda joint: mutual_information(joint, 0, 1)):
        with pytest.raises(ValueError, match=f"^joint: .*{said}"):
            function(joint)


def test_the_right_number_of_axes():
    with pytest.raises(ValueError, match=r"joint: expected shape \(A, B, T\).*got \(2, 2\)"):
        pid(np.full((2, 2), 0.25))


@pytest.mark.parametrize("axes", [3, -4, (0, 0), (0, -3), 0.5, "text", (0, None)])
def test_axes_that_are_not_there_are_refused(axes):
    joint = gate(lambda a, b: a)
    with pytest.raises(ValueError, match=r"axes: expected an axis or a tuple .* \(2, 2, 2\)"):
        entropy(joint, axes)
    with pytest.raises(ValueError, match="given: expected an axis or a tuple"):
        mutual_information(joint, 0, 1, given=axes)


def test_an_axis_stands_in_one_place():
    with pytest.raises(ValueError, match="first, second, given: expected each axis once"):
        mutual_information(gate(lambda a, b: a), 0, (0, 2))


def test_sums_that_single_precision_leaves_beside_1_are_mended():
    joint = random_joint(0)
    close(entropy(joint * (1 + 9e-7)), entropy(joint), 1e-12)
    with pytest.raises(ValueError, match="sum to 1"):
        entropy(joint * (1 + 2e-6))


def test_what_is_given_stays_as_it_was():
    joint = random_joint(0).astype(np.float32)
    before = joint.copy()
    close(sum(pid(joint)), mutual_information(joint, (0, 1), 2))
    np.testing.assert_array_equal(joint, before)


def test_importing_is_light():
    code = "import sys, course_utils.theory; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
