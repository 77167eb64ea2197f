"""What the package asks of its arguments, and the errors that a stranger's project meets."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from course_utils.attribution import ablation_scores, subset_scores
from course_utils.audio_augment import mix_at_snr, time_shift
from course_utils.checks import (
    check_bools,
    check_choice,
    check_floats,
    check_tensor,
    check_that,
    check_whole,
    finite,
)
from course_utils.contracts import check_contracts, contract
from course_utils.datasets import collate
from course_utils.decoding import greedy
from course_utils.fusion import (
    ConcatFusion,
    EarlyFusion,
    Fusion,
    ProductOfExpertsFusion,
    describe,
    export,
    full_mask,
)
from course_utils.gradients import (
    binary_cross_entropy_backward,
    central_differences,
    compare,
    concat_backward,
    cross_attention_backward,
    cross_entropy_backward,
    embedding_backward,
    global_average_pool_backward,
    mean_backward,
    verify_gradient,
)
from course_utils.losses import InfoNCE, SigmoidLoss, info_nce, triplet_loss
from course_utils.masks import last_state, masked_softmax, pad
from course_utils.metrics import (
    bleu,
    cluster_bootstrap,
    mean_interval,
    paired,
    percent,
    recall_at,
    retrieval_ranks,
)
from course_utils.runtime import ROOT, seed_everything
from course_utils.training import Batches, evaluate, fit, shuffle_splits
from course_utils.video import frame_features

X, Y = torch.ones(4, 3), torch.ones(4, 5, 2)
BOTH = {"a": X, "b": Y}
WITH_GRADIENT = torch.ones(2, requires_grad=True)
ROWS = torch.ones(4, dtype=torch.bool)
BATCHES = Batches({"a": X, "label": torch.zeros(4, dtype=torch.int64)}, 2)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(3, 2)

    def forward(self, batch):
        return self.map(batch["a"])


def test_no_hint_at_a_count_from_0_where_there_are_no_ranks():
    with pytest.raises(ValueError, match=r"from 1, got shape \(0,\)$"):
        recall_at(torch.ones(0), 1)


def fuse():
    return ConcatFusion({"a": 3, "b": 2}, 2).eval()


def test_what_does_passes():
    check_that("x", True, "anything", None)
    check_whole(1, n=1, m=np.int64(5))
    check_whole(0, 60, n=60)
    check_choice(("a", "b"), name="a")
    check_tensor(X, "x")
    check_floats(X, "x")
    check_bools(ROWS, "mask", (4,))
    assert finite(1) and finite(np.float32(2)) and not finite(float("nan")) and not finite("1")


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: check_that("x", False, "a cat", "dog"), ValueError, "expected a cat, got 'dog'"),
        (lambda: check_whole(1, n=True), ValueError, "n: expected a whole number of at least 1"),
        (lambda: check_whole(1, n=2.0), ValueError, "n: expected a whole number of at least 1"),
        (lambda: check_whole(1, 1000, k=0), ValueError, "whole number from 1 to 1,000"),
        (lambda: check_choice({"a": 1}, x=[]), ValueError, "x: expected one of ['a'], got []"),
        (lambda: check_tensor([1], "x"), TypeError, "x: expected a tensor, got list"),
        (lambda: check_floats(ROWS, "x"), TypeError, "x: expected floats, got torch.bool"),
        (lambda: check_bools(X, "m", (4, 3)), TypeError, "m: expected bool of shape (4, 3)"),
        (lambda: check_bools(ROWS, "m", (3,)), TypeError, "got torch.bool of shape (4,)"),
        # as a stranger's project met them
        (lambda: Batches(BOTH, 2.5), ValueError, "size: expected a whole number"),
        (lambda: Batches(BOTH, 2, 42), TypeError, "generator: expected a torch.Generator"),
        (lambda: fit(Net, BATCHES, BATCHES, epochs=1), TypeError, "model: expected an nn.Module"),
        (lambda: fit(Net(), BATCHES, BATCHES, epochs=1, lr="x"), ValueError, "lr: expected"),
        (lambda: evaluate(Net(), 5), TypeError, "batches: expected batches, such as"),
        (lambda: evaluate(Net(), BOTH), TypeError, "batches: expected batches, such as"),
        (lambda: shuffle_splits({"train": BOTH}, "z", 0), ValueError, "name: expected one of"),
        (lambda: shuffle_splits({"train": BOTH}, "a", None), ValueError, "seed: expected a whole"),
        (lambda: shuffle_splits(BOTH, "a", 0), TypeError, "splits['a']: expected a dict by name"),
        (lambda: seed_everything(-1), ValueError, "seed: expected a whole number from 0 to"),
        (lambda: InfoNCE("x"), ValueError, "temperature: expected a number"),
        (lambda: SigmoidLoss(None), ValueError, "scale: expected a positive number"),
        (lambda: SigmoidLoss(bias=None), ValueError, "bias: expected a finite number"),
        (lambda: info_nce(X, X, float("nan")), ValueError, "scale: expected a finite number"),
        (lambda: triplet_loss(X, X, "0.2"), ValueError, "margin: expected a number"),
        (lambda: bleu("a b", [["a b"]]), TypeError, "candidates: expected a list of strings"),
        (lambda: bleu(["a"], ["a"]), TypeError, "references[0]: expected a list of strings"),
        (lambda: cluster_bootstrap([1], ["a"], draws=0), ValueError, "draws: expected a whole"),
        (lambda: mean_interval(5), ValueError, "values: expected one number a seed"),
        (lambda: masked_softmax(X, X > 0, 5), ValueError, "along dim 5"),
        (lambda: masked_softmax(X.long(), X > 0, 1), TypeError, "scores: expected floats"),
        (lambda: pad([[1, 2]]), TypeError, "sequences[0]: expected a tensor, got list"),
        (lambda: pad(X), TypeError, "sequences: expected a list of tensors, got Tensor"),
        (lambda: describe(nn.Linear(1, 1)), TypeError, "fusion: expected a Fusion, got Linear"),
        (lambda: describe(fuse(), 5), TypeError, "tokens: expected a dict by name, got int"),
        (lambda: full_mask(X), TypeError, "features: expected a dict by name, got Tensor"),
        (lambda: check_contracts(ConcatFusion, dims=[1]), TypeError, "dims: expected a dict by"),
        (lambda: compare(X, X), TypeError, "by_hand: expected gradients by name, a dict"),
        (lambda: concat_backward(X, [1, 2]), TypeError, "dims: expected a dict by name, got list"),
        (
            lambda: cross_entropy_backward(X.double(), X[:, 0]),
            TypeError,
            "labels: expected int64 classes, or soft labels in torch.float64",
        ),
        (
            lambda: ablation_scores(fuse(), BOTH | {"mask": {"a": ROWS}}, lambda x: 0.0),
            ValueError,
            'inputs["mask"]: expected modalities alone',
        ),
        (
            lambda: subset_scores(fuse(), BOTH, lambda x: 0.0, "permutation", seed="x"),
            ValueError,
            "seed: expected a whole number",
        ),
        # as the next stranger's project met them
        (lambda: paired(["x"], [1]), TypeError, "shares: expected numbers, got ['x']"),
        (lambda: paired([1, 2], ["x"]), TypeError, "others: expected numbers, got ['x']"),
        (lambda: paired([1, 2], None), ValueError, "others: expected finite numbers"),
        (lambda: paired([1], [2]), ValueError, "shares: expected one number a seed"),
        (lambda: percent([1]), ValueError, "shares: expected one number a seed"),
        (lambda: percent([1, 2], [1]), ValueError, "minus: expected as many seeds as shares"),
        (lambda: percent([1, 2], "x"), TypeError, "minus: expected numbers, got 'x'"),
        (lambda: mean_interval(WITH_GRADIENT), TypeError, "values: expected numbers, got tensor("),
        (lambda: cluster_bootstrap([], []), ValueError, "N at least 1, got (0,) and (0,)"),
        (lambda: retrieval_ranks(X[:0], X[:0] > 0), ValueError, "(0, 3); neither axis"),
        (lambda: bleu(["a"], None), TypeError, "references: expected a list of lists of strings"),
        (
            lambda: triplet_loss(X, X, miner="random", generator=3),
            TypeError,
            "generator: expected a torch.Generator or None, got int",
        ),
        (
            lambda: greedy(None, torch.ones(2).long(), end=2, limit=3),
            TypeError,
            "step: expected a function of (last, state), got NoneType",
        ),
        (
            lambda: ablation_scores(fuse(), BOTH, None),
            TypeError,
            "score: expected a function of the outputs, got NoneType",
        ),
        (
            lambda: ablation_scores(fuse(), {"a": X, "b": Y[:, 0]}, len, {"a": X[0]}),
            TypeError,
            "absent['b']: expected a value for each modality, got ['a']",
        ),
        (
            lambda: fit(Net().requires_grad_(False), BATCHES, BATCHES, epochs=1),
            ValueError,
            "model: expected a parameter that learns, got 2 parameters, none of which requires",
        ),
        (lambda: fit(nn.Identity(), BATCHES, BATCHES, epochs=1), ValueError, "got 0 parameters"),
        (lambda: shuffle_splits([BOTH], "a", 0), TypeError, "splits: expected a dict by name"),
        (lambda: collate([{"a": X}], kinds=["ids"]), TypeError, "kinds: expected a dict by name"),
        (lambda: collate([{"a": X}], classes=["x"]), TypeError, "classes: expected a dict by"),
        (lambda: last_state(Y[:, :0], Y[:, :0, 0] > 0), ValueError, "states: expected at least"),
        (
            lambda: Fusion({"a": 3, "b": 2}, 2)({"a": X, "b": Y[:, 0]}),
            NotImplementedError,
            "Fusion has no `fuse`",
        ),
        (lambda: export(nn.Linear(3, 2), BOTH), TypeError, "fusion: expected a Fusion, got Linear"),
        (
            lambda: ProductOfExpertsFusion({"a": 3}, 2, prior="even"),
            TypeError,
            "prior: expected 2 numbers, got 'even'",
        ),
        (
            lambda: EarlyFusion({"a": 3}, 2, encoder=nn.Linear(3, 32)),
            TypeError,
            "encoder: expected a function of (width, hidden) that builds a module, got the module",
        ),
        (
            lambda: check_contracts(ConcatFusion, dims={"a": -1}),
            ValueError,
            "dims['a']: expected a whole number of at least 1, got -1",
        ),
        (lambda: check_contracts(ConcatFusion, numbers=3), TypeError, "numbers: expected several"),
        (lambda: contract("x", "a name"), ValueError, "number: expected a whole number"),
        (
            lambda: cross_attention_backward(Y, Y, Y, {}),
            ValueError,
            "parameters: expected the names ['q.weight', ",
        ),
        (lambda: global_average_pool_backward(X, 7), ValueError, "size: expected (H, W), got 7"),
        (
            lambda: embedding_backward(X, torch.arange(4), -5),
            ValueError,
            "rows: expected a whole number of at least 1, got -5",
        ),
        (
            lambda: embedding_backward(X, torch.arange(4), 4, padding_idx=9),
            ValueError,
            "padding_idx: expected -4 to 3, got 9",
        ),
        (lambda: mean_backward(X, []), ValueError, "names: expected at least one modality"),
        (
            lambda: binary_cross_entropy_backward(X, X, pos_weight="x"),
            TypeError,
            "pos_weight: expected a number or a tensor, got str",
        ),
        (lambda: verify_gradient("k", None, len, (3,)), TypeError, "k: function: expected a func"),
        (lambda: verify_gradient("k", len, None, (3,)), TypeError, "k: by_hand: expected a func"),
        (
            lambda: time_shift(X, X > 0, 1, generator=3),
            TypeError,
            "generator: expected a torch.Generator or None, got int",
        ),
        (
            lambda: time_shift(X.half(), X > 0, 1),
            TypeError,
            "sound: expected floats from -1 to 1, got torch.float16; take float32 or float64",
        ),
        (lambda: mix_at_snr(X, X > 0, X, snr="0 dB"), TypeError, "snr: expected decibels, or inf"),
        (
            lambda: frame_features(torch.ones(4, 5, 2, 2), Y[..., 0] > 0, encode=None),
            TypeError,
            "encode: expected a function of pictures, got NoneType",
        ),
        (lambda: central_differences(None, X.double()), TypeError, "function: expected a function"),
    ],
)
def test_what_does_not_is_named(call, error, words):
    with pytest.raises(error, match=re.escape(words)):
        call()


def plants(count, seed):
    """Two modalities of three classes, each missing one time in five, the second of any length."""
    rng, rows = np.random.default_rng(seed), []
    for _ in range(count):
        label, steps = int(rng.integers(3)), int(rng.integers(3, 9))
        soil = rng.normal(size=4) + label * np.array([1, 0, -1, 0])
        growth = (rng.normal(size=(steps, 2)) + 0.4 * (label - 1)).cumsum(0)
        soil, growth = (x if rng.random() > 0.2 else None for x in (soil, growth))
        rows.append({"soil": soil, "growth": growth, "label": label})
    return rows


def test_the_project_of_the_readme_learns():
    page = (ROOT / "course_utils" / "README.md").read_text(encoding="utf-8")
    splits = ("train", 400), ("validation", 150), ("test", 300)
    names = {name: plants(count, seed) for seed, (name, count) in enumerate(splits)}
    exec(page.split("```py\n", 1)[1].split("```", 1)[0], names)
    assert len(names["history"].validation_loss) == 8
    assert names["accuracy"] > 0.55  # by chance a third
