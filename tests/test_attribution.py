"""Scores of subsets against models that are known, Shapley values and interactions against games
whose answer is known, EMAP against a sum worked by loops.
"""

import doctest
from itertools import combinations, permutations

import pytest
import torch
from torch import nn

from course_utils.attribution import (
    ablation_scores,
    emap,
    interactions,
    shapley,
    shares,
    subset_scores,
)
from course_utils.fusion import SumFusion
from course_utils.metrics import accuracy

NAMES = ("text", "image", "audio")


def subsets(names):
    return [frozenset(some) for size in range(len(names) + 1) for some in combinations(names, size)]


def game(value, names=NAMES):
    return {subset: float(value(subset)) for subset in subsets(names)}


def random_game(seed, names=NAMES):
    drawn = torch.rand(2 ** len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    return dict(zip(subsets(names), drawn))


def near(expected):
    return pytest.approx(expected, abs=1e-12)


def test_the_examples_of_the_docstrings():
    assert doctest.testmod(shares).failed == 0 and doctest.testmod(shares).attempted


# ---- Shapley values and interactions ----


def test_in_an_additive_game_each_has_its_own_and_nothing_interacts():
    own = {"text": 0.3, "image": 0.1, "audio": -0.2}
    scores = game(lambda subset: 0.5 + sum(own[name] for name in subset))
    assert shapley(scores) == near(own)
    assert interactions(scores) == near(dict.fromkeys(combinations(NAMES, 2), 0.0))


def test_in_a_unanimity_game_those_who_are_needed_share():
    """v is 1 where text and image are both there: half each, nothing for audio."""
    scores = game(lambda subset: {"text", "image"} <= subset)
    assert shapley(scores) == near({"text": 0.5, "image": 0.5, "audio": 0.0})
    expected = {("text", "image"): 1.0, ("text", "audio"): 0.0, ("image", "audio"): 0.0}
    assert interactions(scores) == near(expected)


def test_where_all_three_are_needed_each_pair_interacts_by_half():
    """Of the two sets of others, none and the third, only the third lets a pair gain."""
    scores = game(lambda subset: len(subset) == 3)
    assert shapley(scores) == near(dict.fromkeys(NAMES, 1 / 3))
    assert interactions(scores) == near(dict.fromkeys(combinations(NAMES, 2), 0.5))


def test_xor_and_copies_differ_in_the_interaction_only():
    pair = NAMES[:2]
    xor = game(lambda subset: 1 if len(subset) == 2 else 0.5, pair)
    copies = game(lambda subset: 1 if subset else 0.5, pair)
    assert shapley(xor) == shapley(copies) == near({"text": 0.25, "image": 0.25})
    assert interactions(xor) == near({pair: 0.5})
    assert interactions(copies) == near({pair: -0.5})


@pytest.mark.parametrize("names", [("a",), ("a", "b"), NAMES, tuple("abcd"), tuple("abcdef")])
def test_efficiency(names):
    scores = random_game(0, names)
    assert sum(shapley(scores).values()) == near(scores[frozenset(names)] - scores[frozenset()])


def test_symmetry_and_null_player():
    drawn = random_game(1, ("alike", "size"))
    # text and image count alike, audio nothing
    scores = game(lambda subset: drawn[frozenset(["alike", "size"][: len(subset - {"audio"})])])
    values = shapley(scores)
    assert values["text"] == near(values["image"]) and values["audio"] == near(0)
    pairs = interactions(scores)
    assert pairs["text", "audio"] == near(0) and pairs["image", "audio"] == near(0)


@pytest.mark.parametrize("seed", range(3))
def test_against_the_mean_over_all_orders(seed):
    names = tuple("abcd")
    scores = random_game(seed, names)
    found = dict.fromkeys(names, 0.0)
    for order in permutations(names):
        for place, name in enumerate(order):
            found[name] += scores[frozenset(order[: place + 1])] - scores[frozenset(order[:place])]
    assert shapley(scores) == near({name: value / 24 for name, value in found.items()})


def test_both_are_linear_in_the_scores():
    one, other = random_game(2), random_game(3)
    both = {subset: 2 * one[subset] - other[subset] for subset in one}
    for index in (shapley, interactions):
        a, b = index(one), index(other)
        assert index(both) == near({key: 2 * a[key] - b[key] for key in a})


def test_the_interaction_of_two_is_what_the_pair_as_one_player_adds():
    """Merged into one player, a pair gets v([ij]); its index is that less each alone without the
    other (Grabisch and Roubens).
    """
    scores = random_game(4)
    together = {
        subset: scores[(subset - {"both"}) | ({"text", "image"} if "both" in subset else set())]
        for subset in subsets(("both", "audio"))
    }
    without = {name: {s: scores[s] for s in subsets((name, "audio"))} for name in ("text", "image")}
    alone = sum(shapley(game_)[name] for name, game_ in without.items())
    assert interactions(scores)["text", "image"] == near(shapley(together)["both"] - alone)


def test_modalities_stand_in_the_order_of_the_scores():
    assert list(shapley(random_game(0, ("z", "a", "m")))) == ["z", "a", "m"]
    assert list(interactions(random_game(0, ("z", "a", "m")))) == [
        ("z", "a"),
        ("z", "m"),
        ("a", "m"),
    ]
    assert interactions(random_game(0, ("z",))) == {}


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda scores: scores.pop(frozenset()), "expected all 8 subsets .* got 7"),
        (lambda scores: scores.pop(frozenset(["text"])), "got 7 without {'text'}"),
        (lambda scores: scores.update({frozenset(): float("nan")}), "finite number, got nan"),
        (lambda scores: scores.update({frozenset(): None}), "finite number, got None"),
        (lambda scores: scores.update({"text": 1.0}), "expected a dict by frozenset"),
        (lambda scores: scores.clear(), "expected all 1 subsets"),
    ],
)
@pytest.mark.parametrize("index", [shapley, interactions])
def test_what_are_not_all_scores_is_refused(index, change, said):
    scores = random_game(0)
    change(scores)
    with pytest.raises(ValueError, match=f"^scores.*: .*{said}"):
        index(scores)
    with pytest.raises(ValueError, match="^scores: expected a dict"):
        index([0.5, 1.0])


# ---- scores of subsets ----

TEXT = torch.tensor([[1.0], [2.0], [6.0]])
IMAGE = torch.tensor([[10.0], [20.0], [60.0]])
INPUTS = {"text": TEXT, "image": IMAGE}


def add(inputs):
    return inputs["text"] + inputs["image"]


def mean(outputs):
    return outputs.mean()


def first(outputs):
    return outputs[0, 0]


def by_names(scores):
    return {"+".join(sorted(subset)): score for subset, score in scores.items()}


@pytest.mark.parametrize(
    "absent, expected",
    [
        ("mean", {"": 33.0, "text": 31.0, "image": 13.0, "image+text": 11.0}),
        ("zero", {"": 0.0, "text": 1.0, "image": 10.0, "image+text": 11.0}),
        (
            {"text": torch.tensor([0.5]), "image": torch.tensor([-1.0])},
            {"": -0.5, "text": 0.0, "image": 10.5, "image+text": 11.0},
        ),
    ],
    ids=["mean", "zero", "own"],
)
def test_what_stands_for_the_absent(absent, expected):
    assert by_names(subset_scores(add, INPUTS, first, absent)) == expected
    alone = {"text": expected["image"], "image": expected["text"]}
    assert ablation_scores(add, INPUTS, first, absent) == alone


def test_subsets_come_from_none_to_all_in_the_order_of_the_inputs():
    scores = subset_scores(add, INPUTS, mean)
    assert list(scores) == subsets(["text", "image"])
    assert list(shapley(scores)) == ["text", "image"]
    # the mean score of an additive model does not change with means
    assert all(score == pytest.approx(33) for score in scores.values())


def test_a_permutation_keeps_what_is_absent_together_and_needs_only_its_seed():
    rows = torch.arange(50.0)[:, None]
    inputs = {"text": rows, "image": 100 * rows, "audio": torch.zeros(50, 1)}
    seen = {}

    def predict(batch):
        return torch.cat(list(batch.values()), 1)

    def keep(outputs):
        seen[len(seen)] = outputs
        return 0

    for seed in (0, 0, 1):
        subset_scores(predict, inputs, keep, "permutation", seed=seed)
    none, text, image, _, both = (seen[n] for n in (0, 1, 2, 3, 4))
    assert none[:, 1].equal(100 * none[:, 0]) and not none[:, :1].equal(rows)
    assert none[:, 0].sort().values.equal(rows[:, 0])
    assert text[:, :1].equal(rows) and not text[:, 1:2].equal(100 * rows)
    assert image[:, 1:2].equal(100 * rows) and image[:, 0].equal(none[:, 0])
    assert both[:, :2].equal(torch.cat([rows, 100 * rows], 1))
    assert seen[8].equal(none) and not seen[16].equal(none)


def test_a_mask_says_what_is_absent_and_a_fusion_takes_it():
    torch.manual_seed(0)
    inputs = {"text": torch.randn(5, 3), "image": torch.randn(5, 4)}
    fusion = SumFusion({"text": 3, "image": 4}, 2).eval()
    scores = subset_scores(fusion, inputs, mean, "mask", batch_size=2)
    for subset, score in scores.items():
        mask = {name: torch.full((5,), name in subset) for name in inputs}
        assert score == pytest.approx(fusion(inputs, mask=mask).mean().item(), abs=1e-6)
    only = inputs | {"image": torch.full((5, 4), float("nan"))}
    blind = subset_scores(fusion, only, lambda outputs: outputs.nan_to_num(9.0).mean(), "mask")
    assert blind[frozenset(["text"])] == pytest.approx(scores[frozenset(["text"])], abs=1e-6)


def test_tensors_that_belong_together_go_together():
    tokens = torch.tensor([[3, 4, 0], [5, 0, 0]])
    inputs = {"text": {"ids": tokens, "mask": tokens > 0}, "image": torch.ones(2, 1)}

    def count(batch, mask=None):
        assert batch["text"]["mask"].equal(batch["text"]["ids"] > 0)
        kept = batch["text"]["mask"].sum(1, keepdim=True).float()
        return kept if mask is None else kept * mask["text"][:, None]

    assert by_names(subset_scores(count, inputs, mean, "zero")) == {
        "": 0,
        "text": 1.5,
        "image": 0,
        "image+text": 1.5,
    }
    assert by_names(subset_scores(count, inputs, mean, "permutation"))["image"] == 1.5
    assert by_names(subset_scores(count, inputs, mean, "mask"))["image"] == 0
    with pytest.raises(TypeError, match=r"inputs\['text'\]: expected floats, .* got torch.int64"):
        subset_scores(count, inputs, mean)
    with pytest.raises(TypeError, match=r"inputs\['text'\]: expected a tensor .* got a dict"):
        subset_scores(count, inputs, mean, {"text": torch.zeros(3), "image": torch.zeros(1)})


def test_a_model_that_reads_one_modality_is_found():
    torch.manual_seed(0)
    labels = torch.randint(2, (200,))
    text = torch.nn.functional.one_hot(labels, 2).double()
    inputs = {"text": text, "image": torch.randn(200, 2, dtype=torch.float64)}

    def predict(batch):
        return batch["text"] + 0 * batch["image"]

    for absent in ("mean", "zero", "permutation"):
        scores = subset_scores(predict, inputs, lambda logits: accuracy(logits, labels), absent)
        values = shapley(scores)
        assert values["image"] == 0 and values["text"] == near(1 - scores[frozenset()])
        assert interactions(scores) == near({("text", "image"): 0})


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batches_bound_what_the_model_sees_and_change_nothing(batch_size):
    seen = []

    def predict(batch, mask=None):
        assert not torch.is_grad_enabled()
        seen.append(len(batch["text"]))
        return batch["text"] * batch["image"]

    inputs = {name: x.clone().requires_grad_() for name, x in INPUTS.items()}
    for absent in ("mean", "zero", "permutation", "mask"):
        scores = subset_scores(predict, inputs, first, absent, batch_size=batch_size)
        assert scores == subset_scores(predict, inputs, first, absent)
        assert len(scores) == 4
    seen.clear()
    found = emap(predict, inputs, batch_size=batch_size)
    assert max(seen) <= batch_size and sum(seen) == 9
    torch.testing.assert_close(found, emap(predict, inputs), rtol=1e-6, atol=0)
    seen.clear()
    ablation_scores(predict, inputs, first, batch_size=batch_size)
    assert max(seen) <= batch_size and sum(seen) == 6


def test_inputs_stay_as_they_were():
    before = {name: x.clone() for name, x in INPUTS.items()}
    for absent in ("mean", "zero", "permutation"):
        subset_scores(add, INPUTS, mean, absent)
    emap(add, INPUTS)
    assert all(INPUTS[name].equal(x) for name, x in before.items())


# ---- EMAP ----


def random_inputs(names=("text", "image"), rows=7, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(rows, 3, generator=generator, dtype=dtype) for name in names}


def test_of_an_additive_model_it_is_the_model_itself():
    inputs = random_inputs()

    def predict(batch):
        return batch["text"].exp() + batch["image"].square()

    torch.testing.assert_close(emap(predict, inputs), predict(inputs), rtol=0, atol=1e-12)
    single = random_inputs(dtype=torch.float32)
    assert emap(predict, single).dtype == torch.float32
    torch.testing.assert_close(emap(predict, single), predict(single), rtol=1e-6, atol=1e-6)


def test_sums_of_half_precision_do_not_overflow():
    """300 times 300 is past the end of float16, 65,504."""
    inputs = {name: torch.full((300, 1), 150.0, dtype=torch.float16) for name in NAMES[:2]}
    assert emap(add, inputs).equal(add(inputs))
    assert subset_scores(add, inputs, mean)[frozenset()] == 300


def test_of_a_product_of_centred_factors_nothing_is_left():
    inputs = {name: x - x.mean(0) for name, x in random_inputs().items()}
    found = emap(lambda batch: batch["text"] * batch["image"], inputs)
    torch.testing.assert_close(found, torch.zeros(7, 3, dtype=torch.float64))


def test_of_a_product_the_main_effects_are_left():
    """a b = (a - A) B + A (b - B) + A B + (a - A)(b - B), and the last goes."""
    inputs = random_inputs()
    a, b = inputs.values()
    expected = a * b - (a - a.mean(0)) * (b - b.mean(0))
    torch.testing.assert_close(emap(lambda batch: batch["text"] * batch["image"], inputs), expected)


def test_against_loops_over_all_pairs():
    inputs = random_inputs()
    a, b = inputs.values()

    def f(x, y):
        return (x * y.flip(-1) + x.sin()).cos()

    for i in range(7):
        mean_over_b = torch.stack([f(a[i], b[j]) for j in range(7)]).mean(0)
        mean_over_a = torch.stack([f(a[j], b[i]) for j in range(7)]).mean(0)
        overall = torch.stack([f(a[j], b[k]) for j in range(7) for k in range(7)]).mean(0)
        found = emap(lambda batch: f(batch["text"], batch["image"]), inputs)[i]
        torch.testing.assert_close(found, mean_over_b + mean_over_a - overall)


def test_of_xor_it_leaves_nothing_to_decide_by():
    bits = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float64)
    inputs = {"text": 2 * bits[:, :1] - 1, "image": 2 * bits[:, 1:] - 1}

    def predict(batch):
        same = batch["text"] * batch["image"]
        return torch.cat([same, -same], 1)

    assert accuracy(predict(inputs), (bits.sum(1) % 2).long()) == 1
    torch.testing.assert_close(emap(predict, inputs), torch.zeros(4, 2).double())


def test_of_three_modalities_one_is_split_from_the_others():
    inputs = random_inputs(NAMES)

    def predict(batch):
        return batch["audio"] + batch["text"] * batch["image"]

    expected = predict(inputs)
    torch.testing.assert_close(emap(predict, inputs, alone="audio"), expected)
    one, other = (emap(predict, inputs, alone) for alone in (None, "text"))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert (one - expected).abs().max() > 0.1


def test_of_two_it_does_not_matter_which_is_alone():
    inputs = random_inputs()

    def predict(batch):
        return (batch["text"] * batch["image"]).tanh()

    one, other = (emap(predict, inputs, alone) for alone in inputs)
    torch.testing.assert_close(one, other)


# ---- what is refused ----


@pytest.mark.parametrize(
    "change, error, said",
    [
        ({"inputs": [TEXT, IMAGE]}, TypeError, "inputs: expected a dict .* got list"),
        ({"inputs": {}}, TypeError, "inputs: expected a dict .* got an empty dict"),
        ({"inputs": {"text": TEXT, "image": IMAGE[:2]}}, ValueError, "one common.*'image'.*2"),
        ({"inputs": {"text": TEXT[:0], "image": IMAGE[:0]}}, ValueError, "one common, non-zero"),
        ({"inputs": {"text": TEXT, "image": torch.tensor(1.0)}}, ValueError, "got a single number"),
        ({"inputs": {"text": {}, "image": IMAGE}}, TypeError, r"inputs\['text'\]: .* got dict"),
        (
            {"inputs": {"text": {"ids": [1, 2, 3]}, "image": IMAGE}},
            TypeError,
            r"inputs\['text'\]\['ids'\]: expected a tensor, got list",
        ),
        ({"predict": None}, TypeError, "predict: expected a function, got NoneType"),
        ({"predict": lambda batch: [1.0]}, TypeError, "predict: expected .* got list"),
        ({"predict": lambda batch: batch["text"][:1]}, ValueError, "row for each of 3 samples"),
        ({"predict": lambda batch: torch.tensor(1.0)}, ValueError, r"of 3 samples, got \(\)"),
        ({"predict": nn.Dropout()}, ValueError, "predict: expected a model in eval mode"),
        ({"batch_size": 0}, ValueError, "batch_size: expected a whole number"),
        ({"absent": "noise"}, ValueError, "absent: expected one of .* got 'noise'"),
        ({"absent": {"text": TEXT[0]}}, TypeError, r"absent\['image'\]: .* got \['text'\]"),
        (
            {"absent": {"text": TEXT, "image": IMAGE[0]}},
            ValueError,
            r"absent\['text'\]: .*\(3, 1\)",
        ),
        ({"score": lambda outputs: None}, TypeError, "score: .* got NoneType"),
        ({"score": lambda outputs: outputs}, TypeError, "score: expected .* got Tensor"),
        ({"score": lambda outputs: float("nan")}, ValueError, "score: .* got nan"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(change, error, said):
    arguments = {"predict": add, "inputs": INPUTS, "score": mean} | change
    for function in (subset_scores, ablation_scores):
        with pytest.raises(error, match=said):
            function(**arguments)
    if not {"absent", "score"} & set(change):
        del arguments["score"]
        with pytest.raises(error, match=said.replace("3 samples", "9 samples")):
            emap(**arguments)


def test_more_than_eight_modalities_are_refused():
    inputs = {str(n): TEXT for n in range(9)}
    with pytest.raises(ValueError, match=r"inputs: expected at most 8 .* got 9, .* 2\^9 subsets"):
        subset_scores(lambda batch: batch["0"], inputs, mean)


def test_what_emap_cannot_split_is_refused():
    with pytest.raises(ValueError, match="inputs: expected at least two modalities, got"):
        emap(lambda batch: batch["text"], {"text": TEXT})
    with pytest.raises(ValueError, match="alone: expected one of .* got 'audio'"):
        emap(add, INPUTS, "audio")
    for wrong in (lambda batch: add(batch)[:, 0], lambda batch: add(batch).long()):
        with pytest.raises(ValueError, match=r"predict: expected floats \(B, C\), got"):
            emap(wrong, INPUTS)
