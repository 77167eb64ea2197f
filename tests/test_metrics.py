"""Scores, and how far to trust them."""

import doctest
import inspect
import math
import re
import warnings

import numpy as np
import pytest
import torch
from scipy import stats

from course_utils.datasets import Scenes
from course_utils.metrics import (
    accuracy,
    bleu,
    bootstrap,
    cluster_bootstrap,
    equal_names,
    intervals,
    mean_interval,
    paired,
    percent,
    recall_at,
    retrieval_ranks,
)
from course_utils.text import tokenize


def test_accuracy_and_its_bad_inputs():
    logits, labels = torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0]]), torch.tensor([1, 0, 0])
    assert accuracy(logits, labels) == 2 / 3
    with pytest.raises(ValueError, match=r"got \(3,\) and \(3,\)"):
        accuracy(torch.zeros(3), torch.zeros(3))


def test_the_interval_over_seeds_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for n in (3, 5, 10):
        draws = rng.normal(size=(4000, n))
        covered = [abs(mean) <= half for mean, half in map(mean_interval, draws)]
        # 3.5 standard errors of 4000 draws
        assert np.mean(covered) == pytest.approx(0.95, abs=0.012)
    with pytest.raises(ValueError, match="at least 2 seeds"):
        mean_interval([0.5])


def test_the_clustered_interval_is_wide_when_groups_succeed_together():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(10), 50)
    together = np.repeat(rng.normal(size=10), 50)  # the samples of a group are one witness
    apart = rng.normal(size=500)
    width = {
        name: np.diff(cluster_bootstrap(v, groups))[0]
        for name, v in (("together", together), ("apart", apart))
    }
    assert width["together"] > 4 * width["apart"]
    assert width["apart"] == pytest.approx(2 * 1.96 / math.sqrt(500), rel=0.5)
    with pytest.raises(ValueError, match="at least two different ones"):
        cluster_bootstrap(apart, np.zeros(500))


@pytest.mark.parametrize(
    "change, error, words",
    [
        ({"logits": [[0.3, 0.7]]}, TypeError, "logits: expected a tensor, got list"),
        ({"logits": np.ones((2, 3))}, TypeError, "logits: expected a tensor, got ndarray"),
        ({"logits": torch.ones(2, 3) > 0}, TypeError, "logits: expected real .*torch.bool"),
        ({"logits": torch.ones(2, 3) * 1j}, TypeError, "logits: expected real .*complex64"),
        ({"logits": torch.full((2, 3), math.nan)}, ValueError, "logits: expected numbers, got NaN"),
        ({"logits": torch.ones(2, 3, 4)}, ValueError, r"got \(2, 3, 4\) and \(2,\)"),
        ({"labels": [0, 1]}, TypeError, "labels: expected a tensor, got list"),
        ({"labels": np.array([0, 1])}, TypeError, "labels: expected a tensor, got ndarray"),
        ({"labels": torch.tensor([0.0, 1.0])}, TypeError, "labels: expected whole .*float32"),
        ({"labels": torch.tensor([True, False])}, TypeError, "labels: expected whole .*torch.bool"),
        ({"labels": torch.tensor([[0], [1]])}, ValueError, r"got \(2, 3\) and \(2, 1\)"),
        ({"labels": torch.tensor([0, 3])}, ValueError, "labels: .* from 0 to 2, .* from 0 to 3"),
        ({"labels": torch.tensor([-1, 2])}, ValueError, "labels: .* from 0 to 2, .* from -1 to 2"),
    ],
)
def test_accuracy_names_what_is_wrong(change, error, words):
    good = {"logits": torch.tensor([[0.3, 0.1, 0.2], [0.3, 0.1, 0.2]]), "labels": torch.arange(2)}
    assert accuracy(**good) == 0.5
    with pytest.raises(error, match=words):
        accuracy(**(good | change))


@pytest.mark.parametrize("n", [2, 3, 10, 11, 100, 10_000])
def test_the_half_width_is_students_at_any_number_of_seeds(n):
    values = np.random.default_rng(n).normal(1 / 3, 7 / 9, size=n)
    mean, half = mean_interval(values)
    assert mean == pytest.approx(np.mean(values), rel=1e-12)
    # not scipy.stats.t.interval: before SciPy 1.17 the quantile in it is 2e-11 off
    outside = 2 * stats.t.sf(half / stats.sem(values), n - 1)
    assert outside == pytest.approx(0.05, rel=1e-12)


def test_the_half_width_of_two_and_three_seeds_by_hand():
    """With one degree of freedom Student's t is Cauchy's, with two its quantile has a closed
    form too.
    """
    assert mean_interval([0.3, 0.9])[1] == pytest.approx(0.3 * math.tan(math.pi * 0.475), rel=1e-12)
    t = 0.95 * math.sqrt(2 / (1 - 0.95**2))
    assert mean_interval([0.0, 0.3, 0.6])[1] == pytest.approx(t * 0.3 / math.sqrt(3), rel=1e-12)


@pytest.mark.parametrize("values", [[], [0.3], [[0.3, 0.7]], 0.3])
def test_an_interval_needs_two_values(values):
    with pytest.raises(ValueError, match="values: expected one number a seed"):
        mean_interval(values)


def test_percent_and_paired_are_the_interval_of_a_hundred_times_the_shares():
    ours, others = [0.61, 0.72, 0.55, 0.66, 0.70], [0.60, 0.75, 0.50, 0.61, 0.69]
    differences = [1.0, -3.0, 5.0, 5.0, 1.0]
    assert paired(ours, others) == pytest.approx(mean_interval(differences), abs=1e-12)
    mean, half = mean_interval([61.0, 72.0, 55.0, 66.0, 70.0])
    assert percent(ours) == f"{mean:.1f} ± {half:.1f}"
    mean, half = mean_interval(differences)
    assert percent(ours, minus=others) == f"+{mean:.1f} ± {half:.1f}"
    assert percent(others, minus=ours) == f"-{mean:.1f} ± {half:.1f}"
    assert doctest.testmod(intervals).failed == 0 and doctest.testmod(intervals).attempted >= 2


def test_percent_of_next_to_nothing_has_no_minus():
    assert percent([0.5, 0.6], minus=[0.5004, 0.6]) == "+0.0 ± 0.3"
    assert percent([0.5, 0.6], minus=[0.51, 0.61]) == "-1.0 ± 0.0"


@pytest.mark.parametrize("compare", [paired, lambda one, other: percent(one, minus=other)])
def test_lists_of_other_lengths_are_refused(compare):
    with pytest.raises(ValueError, match=r"(others|minus): expected as many seeds as shares, \(3,"):
        compare([0.1, 0.2, 0.3], [0.1, 0.2])
    with pytest.raises(ValueError, match=r"got \(1,\)"):  # and not broadcast
        compare([0.1, 0.2, 0.3], [0.1])
    with pytest.raises(ValueError, match="finite"):
        compare([0.1, 0.2], [0.1, math.nan])


def coverage_table() -> dict[int, float]:
    """{number of groups: share} as the docstring of `cluster_bootstrap` has it."""
    rows = re.findall(r"^ *(?:groups|covered) +([\d. ]+)$", inspect.getdoc(cluster_bootstrap), re.M)
    groups, covered = (row.split() for row in rows)
    return dict(zip(map(int, groups), map(float, covered), strict=True))


@pytest.mark.filterwarnings("ignore:groups")
@pytest.mark.parametrize("count", coverage_table())
def test_the_clustered_interval_covers_as_often_as_its_docstring_says(count):
    """The measurement behind the table: normal effects of groups, normal samples in them."""
    rng, repetitions = np.random.default_rng(count), 2_000
    groups = np.repeat(np.arange(count), 5)
    effects = rng.normal(size=(repetitions, count))
    values = effects[:, groups] + rng.normal(size=(repetitions, 5 * count))
    intervals = [cluster_bootstrap(v, groups, draws=400, seed=i) for i, v in enumerate(values)]
    covered = np.mean([low <= 0 <= high for low, high in intervals])
    stated = coverage_table()[count]
    # four standard errors of 2,000 repetitions, and the table's rounding
    band = 4 * math.sqrt(stated * (1 - stated) / repetitions) + 0.005
    assert covered == pytest.approx(stated, abs=band)


def test_of_two_groups_the_interval_covers_half_the_time():
    """It reaches from one mean to the other, and the truth lies between two draws as often as
    not.
    """
    assert coverage_table()[2] == 0.5
    with pytest.warns(UserWarning, match="only 2 different ones; .* about 50 %"):
        assert cluster_bootstrap([0.3, 0.3, 0.9], ["a", "a", "b"]) == pytest.approx(
            (0.3, 0.9), rel=1e-15
        )


def test_few_groups_are_said():
    for count, stated in coverage_table().items():
        values, groups = np.arange(2.0 * count), np.arange(2 * count) % count
        if count < bootstrap.FEW_GROUPS:
            words = f"only {count} different ones; .* about {round(100 * stated)} % of"
            with pytest.warns(UserWarning, match=words):
                cluster_bootstrap(values, groups)
        else:
            assert stated >= 0.9
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                cluster_bootstrap(values, groups)


# ---- retrieval ----
NAMES = ["Red  Heart", "sun", "red heart", "moon "]
# sun and moon have a cosine of .96, the first heart stands across to all others
VECTORS = torch.tensor([[1.0, 0, 0], [0, 4, 3], [0, -1, 0], [0, 3, 4]], dtype=torch.float64)


def named(matrix) -> set[tuple[int, int]]:
    return {tuple(pair) for pair in matrix.nonzero().tolist()}


def test_equal_names_are_the_same_in_capitals_and_spaces_and_near_ones_by_their_cosine():
    diagonal = {(i, i) for i in range(4)}
    hearts = {(0, 2), (2, 0)}
    assert named(equal_names(NAMES)) == diagonal | hearts
    near = {(1, 3), (3, 1)}
    assert named(equal_names(NAMES, vectors=VECTORS)) == diagonal | hearts | near
    assert named(equal_names(NAMES, vectors=VECTORS, at_least=0.97)) == diagonal | hearts
    # a name of zeros has no direction: it is near none, and equal to itself all the same
    zero = torch.zeros(1, 3)
    assert named(equal_names(["sun"], vectors=zero)) == {(0, 0)}


def test_equal_names_between_two_lists():
    asked = ["MOON", "star"]
    found = equal_names(asked, NAMES)
    assert found.shape == (2, 4) and found.dtype == torch.bool and named(found) == {(0, 3)}
    vectors = VECTORS[[3, 2]]
    found = equal_names(asked, NAMES, vectors=vectors, other_vectors=VECTORS)
    assert named(found) == {(0, 1), (0, 3), (1, 2)}
    # it is what the ranks take: the sun counts as right for the moon
    scores = torch.tensor([[0.0, 3, 1, 2], [0, 1, 3, 2]])
    assert retrieval_ranks(scores, found).tolist() == [1, 1]


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (("sun",), TypeError, "names: expected a list of strings, got 'sun'"),
        ((["sun", 3],), TypeError, r"names: expected a list of strings, got \['sun', 3\]"),
        ((NAMES, "sun"), TypeError, "others: expected a list of strings"),
        (([],), ValueError, "names is empty"),
        ((NAMES, []), ValueError, "others is empty"),
    ],
)
def test_equal_names_refuses_what_are_no_names(arguments, error, message):
    with pytest.raises(error, match=message):
        equal_names(*arguments)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"vectors": VECTORS[:3]}, ValueError, r"vectors: expected \(4, D\), a row a name, got"),
        ({"vectors": torch.tensor(1.0)}, ValueError, r"vectors: expected \(4, D\)"),
        ({"vectors": VECTORS.tolist()}, TypeError, "vectors: expected a tensor, got list"),
        ({"vectors": VECTORS.int()}, TypeError, "vectors: expected floats, got torch.int32"),
        ({"vectors": VECTORS, "others": ["sun"]}, TypeError, "other_vectors: expected a tensor"),
        ({"other_vectors": VECTORS, "others": NAMES}, TypeError, "vectors: expected a tensor"),
        ({"vectors": VECTORS, "at_least": 0}, ValueError, "at_least: expected .* got 0"),
        ({"vectors": VECTORS, "at_least": 1.1}, ValueError, "at_least: expected .* got 1.1"),
        ({"vectors": VECTORS, "at_least": math.nan}, ValueError, "at_least: expected .* got nan"),
    ],
)
def test_equal_names_refuses_vectors_that_do_not_go_with_them(arguments, error, message):
    with pytest.raises(error, match=message):
        equal_names(NAMES, **arguments)


def slow_rank(scores, relevant):
    """By sorting: the middle of the best and the worst place of the first relevant item."""
    places = []
    for ties in (1, -1):  # relevant ones first among equal scores, or last
        order = sorted(range(len(scores)), key=lambda j: (-scores[j], -ties * relevant[j]))
        places.append(1 + [relevant[j] for j in order].index(True))
    return sum(places) / 2


@pytest.mark.parametrize("seed", range(20))
def test_ranks_by_sorting(seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 4, (6, 7), generator=generator).double() / 3  # with many ties
    relevant = torch.rand(6, 7, generator=generator) < 0.3
    relevant[torch.arange(6), torch.arange(6)] = True
    expected = [slow_rank(s, r) for s, r in zip(scores.tolist(), relevant.tolist())]
    assert retrieval_ranks(scores, relevant).tolist() == expected


def test_ranks_of_one_query_by_hand():
    own = torch.tensor([[True, False, False, False]])
    for scores, rank in (
        ([4.0, 1, 2, 3], 1),
        ([2.0, 1, 4, 3], 3),
        ([3.0, 3, 1, 1], 1.5),
        ([0.0, 0, 0, 0], 2.5),  # all alike: the middle
        ([-math.inf, 1, 2, 3], 4),
        ([-math.inf, -math.inf, 2, 3], 3.5),
    ):
        assert retrieval_ranks(torch.tensor([scores]), own).tolist() == [rank]
    # an equal counts as right, wherever it stands
    equals = torch.tensor([[True, False, True, False]])
    assert retrieval_ranks(torch.tensor([[1.0, 2, 4, 3]]), equals).tolist() == [1]


def test_recall_and_chance_of_a_space_without_differences():
    ranks = torch.tensor([1.0, 1.5, 2, 11])
    assert [recall_at(ranks, k) for k in (1, 2, 10, 11)] == [0.25, 0.75, 0.75, 1.0]
    flat = retrieval_ranks(torch.zeros(300, 300), torch.eye(300, dtype=torch.bool))
    assert flat.quantile(0.5) == 150.5 and recall_at(flat, 10) == 0


@pytest.mark.parametrize(
    "scores, relevant, error, words",
    [
        ([[1.0]], torch.ones(1, 1, dtype=torch.bool), TypeError, "scores: expected a tensor"),
        (torch.ones(2, 2), torch.ones(2, 2), TypeError, "relevant of bool"),
        (torch.ones(2, 2).long(), torch.ones(2, 2) > 0, TypeError, "scores of floats"),
        (torch.ones(2), torch.ones(2) > 0, ValueError, r"\(Q, N\), got \(2,\)"),
        (torch.ones(2, 3), torch.ones(3, 2) > 0, ValueError, r"\(Q, N\), got \(2, 3\) and \(3, 2"),
        (torch.ones(0, 3), torch.ones(0, 3) > 0, ValueError, r"\(Q, N\), got \(0, 3\)"),
        (torch.tensor([[1.0, math.nan]]), torch.ones(1, 2) > 0, ValueError, "got NaN"),
        (torch.ones(2, 2), torch.tensor([[True, True], [False, False]]), ValueError, "query 1 has"),
    ],
)
def test_bad_scores_are_named(scores, relevant, error, words):
    with pytest.raises(error, match=words):
        retrieval_ranks(scores, relevant)


@pytest.mark.parametrize(
    "ranks, k, words",
    [
        (torch.tensor([0.0, 1.0]), 1, "counted from 0"),
        (torch.ones(2, 2), 1, r"ranks: expected numbers \(Q,\) from 1, got shape \(2, 2\)"),
        (torch.ones(0), 1, "ranks: expected numbers"),
        (torch.tensor([math.nan]), 1, "ranks: expected numbers"),
        (torch.ones(2), 0, "k: expected a whole number of at least 1, got 0"),
        (torch.ones(2), 1.0, "k: expected a whole number of at least 1, got 1.0"),
    ],
)
def test_bad_ranks_are_named(ranks, k, words):
    with pytest.raises(ValueError, match=words):
        recall_at(ranks, k)


# ---- BLEU ----


def theirs(candidates, references, order=4):
    """sacrebleu's, whose references are turned: all first ones, all second ones, None for none."""
    BLEU = pytest.importorskip("sacrebleu").metrics.BLEU
    most = max(map(len, references))
    turned = [[known[k] if k < len(known) else None for known in references] for k in range(most)]
    metric = BLEU(tokenize="none", max_ngram_order=order, force=True)
    return metric.corpus_score(candidates, turned).score


@pytest.mark.parametrize(
    "candidates, references",
    [
        (["a red circle and a cross"], [["a red circle and a cross"]]),
        (["a red circle"], [["a red circle and a blue cross"]]),
        (["a red circle and a cross"], [["a red"]]),
        (["a b c d e"], [["v w x y z"]]),
        (["a b c d e"], [["e d c b a"]]),
        (["a b c d e f"], [["a b x d e y"]]),
        (["a b c"], [["a b c"]]),
        (["a a a a a"], [["a b", "a a c"]]),
        (["a b c d"], [["a b c d e f", "a b"]]),
        (["a b c d"], [["a b c d e", "a b c"]]),
        ([""], [["a b c d"]]),
        (["a b c d"], [[""]]),
        ([""], [[""]]),
        (["", "a b c d e"], [["a"], ["a b c d e f g"]]),
        (["a b c d e", "x"], [["a b c d e", "a b"], ["x"]]),
        (["  a  b c d\t e "], [["a b c d e"]]),
        (["A b c d"], [["a b c d"]]),
    ],
)
@pytest.mark.parametrize("order", [1, 2, 4])
def test_bleu_at_its_edges_is_sacrebleus(candidates, references, order):
    value = bleu(candidates, references, order)
    assert value == pytest.approx(theirs(candidates, references, order), abs=1e-10)
    assert 0 <= value <= 100 + 1e-9


@pytest.mark.parametrize("seed", range(40))
def test_bleu_of_random_words_is_sacrebleus(seed):
    rng = np.random.default_rng(seed)

    def sentence():
        return " ".join(rng.choice(list("abcd"), size=rng.integers(0, 9)))

    size = rng.integers(1, 8)
    candidates = [sentence() for _ in range(size)]
    references = [[sentence() for _ in range(rng.integers(1, 4))] for _ in range(size)]
    assert bleu(candidates, references) == pytest.approx(theirs(candidates, references), abs=1e-10)


def test_bleu_of_captions_is_sacrebleus_with_its_own_tokens_too():
    sacrebleu = pytest.importorskip("sacrebleu")
    scenes = Scenes("test", size=400)
    said = [" ".join(tokenize(scenes[i]["caption"])) for i in range(400)]
    candidates, references = said[::2], [[known] for known in said[1::2]]
    value = bleu(candidates, references)
    turned = [[known[0] for known in references]]
    assert value == pytest.approx(theirs(candidates, references), abs=1e-10)
    assert value == pytest.approx(sacrebleu.corpus_bleu(candidates, turned).score, abs=1e-10)
    assert 1 < value < 60


def test_bleu_by_hand():
    # 5 of 6 words, 3 of 5 pairs; as long as the reference
    assert bleu(["a b c d e f"], [["a b c x e f"]], order=2) == pytest.approx(
        100 * math.sqrt(5 / 6 * 3 / 5)
    )
    # 2 of 2 words, 1 of 1 pairs, but two words for four
    assert bleu(["a b"], [["a b c d"]], order=2) == pytest.approx(100 * math.exp(1 - 4 / 2))
    # no pair of 3 is right, a half counts
    assert bleu(["a b c d"], [["d c b a"]], order=2) == pytest.approx(100 * math.sqrt(1 / 6))


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        (("a b", [["a"]]), TypeError, "a single string"),
        ((["a b"], ["a b"]), TypeError, "a single string"),
        (([], []), ValueError, "at least one string"),
        ((["a"], [[]]), ValueError, "at least one string"),
        ((["a"], [["a"], ["b"]]), ValueError, "a list for each of 1 candidates, got 2"),
        ((["a"], [[None]]), TypeError, r"references\[0\]\[0\]: expected a string, got NoneType"),
        ((["a"], [["a"]], 0), ValueError, "order: expected a whole number of at least 1, got 0"),
    ],
)
def test_bad_sentences_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        bleu(*arguments)
