"""What page 08 says of its means, its steps, its stored comparisons, and the reader's own code."""

import math
import sys

import pytest
import torch
from reading import gain, said
from torch import nn

from course_utils.exercises import reference
from course_utils.rooms import stored
from course_utils.runtime import ROOT
from course_utils.training import Batches
from course_utils.training import evaluate as course_evaluate

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)


@pytest.fixture(scope="module")
def page():
    return measured_cells("08")


# ---- what the reader builds ----


def test_the_loss_of_an_epoch_is_the_packages():
    torch.manual_seed(0)
    part = {"features": torch.randn(10, 3), "label": torch.arange(10) % 4}
    net = nn.Linear(3, 4)

    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, batch):
            return self.net(batch["features"])

    expected = course_evaluate(Reads(), Batches(part, 4))
    loss, accuracy = reference("08.1")(Reads(), [*Batches(part, 4)])
    assert loss == pytest.approx(expected.loss, abs=1e-6)
    assert accuracy == pytest.approx(expected.accuracy, abs=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.7])
def test_a_step_is_torchs_adamw(decay):
    torch.manual_seed(0)
    weight = torch.randn(3, 4, dtype=torch.float64)
    parameter = nn.Parameter(weight.clone())
    optimizer = torch.optim.AdamW([parameter], lr=0.03, weight_decay=decay)
    averages = (torch.zeros_like(weight), torch.zeros_like(weight))
    for step in range(1, 8):
        parameter.grad = torch.randn(3, 4, dtype=torch.float64)
        weight, *averages = reference("08.2")(weight, parameter.grad, *averages, step, 0.03, decay)
        optimizer.step()
    torch.testing.assert_close(weight, parameter.detach(), rtol=1e-12, atol=1e-12)


def test_stopping_keeps_the_lowest_loss_whatever_comes():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        losses = torch.rand(12, generator=generator).tolist()
        losses[int(torch.randint(12, (), generator=generator))] = math.nan
        stopper, model = reference("08.3")(12), nn.Linear(1, 1, bias=False)
        for epoch, loss in enumerate(losses):
            nn.init.constant_(model.weight, epoch)
            stopper.step(loss, model)
        finite = [loss if math.isfinite(loss) else math.inf for loss in losses]
        assert stopper.weights["weight"].item() == finite.index(min(finite))


# ---- the loop of the stored comparisons ----


def test_plans_begin_and_end_where_the_page_says(page):
    factor = page["factor"]
    assert factor(None, 7, 100) == 1
    assert factor("warm-up", 0, 100) == pytest.approx(0.1)
    assert factor("warm-up", 9, 100) == factor("warm-up", 99, 100) == 1
    assert factor("cosine", 0, 100) == 1 and factor("cosine", 50, 100) == pytest.approx(0.5)
    assert factor("cosine", 99, 100) < 0.001
    assert factor("both", 4, 100) == pytest.approx(0.5 * factor("cosine", 4, 100))


def test_three_in_ten_labels_are_drawn_anew_and_the_test_labels_stay(page):
    label = torch.arange(20000) % 10
    data = {split: {"label": label} for split in ("train", "validation", "test")}
    noisy = page["relabelled"](data, seed=0)
    for split in ("train", "validation"):
        changed = (noisy[split]["label"] != label).double().mean().item()
        assert changed == pytest.approx(0.27, abs=0.01)  # a tenth of those drawn is right again
    assert torch.equal(noisy["test"]["label"], label)
    assert torch.equal(data["train"]["label"], torch.arange(20000) % 10)


# ---- what the page says is what is stored ----


def test_both_means_choose():
    rows = stored("08", "means")
    pairs = [*zip(rows["samples"]["best"], rows["batch means"]["best"])]
    assert len(pairs) == 20 and sum(a != b for a, b in pairs) == 10
    middle, half = gain(*(row["accuracy"] for row in rows.values()), seeds=20)
    assert middle - half < 0 < middle + half
    assert "In half of the runs another epoch is chosen" in said("08")


def test_habits():
    rows = stored("08", "habits")
    assert {row["rate"] for row in rows.values()} == {0.001, 0.01}
    rows = {name: row["accuracy"] for name, row in rows.items()}
    for name in ("warm-up", "cosine schedule", "clipping", "all three"):
        middle, half = gain(rows[f"{name}, x 1"], rows["nothing, x 1"])
        assert middle - half < 0 < middle + half
    lost = gain(rows["nothing, x 10"], rows["nothing, x 1"])
    assert lost[0] + lost[1] < 0
    middle, half = gain(rows["all three, x 10"], rows["nothing, x 10"])
    assert round(middle, 1) == 2.6 and middle - half > 0
    for name in ("warm-up", "cosine schedule", "clipping"):
        middle, half = gain(rows[f"{name}, x 10"], rows["nothing, x 10"])
        assert middle - half < 0


def test_remedies():
    curves = stored("08", "remedies")["nothing"]["curves"]
    rows = {name: row["accuracy"] for name, row in stored("08", "remedies").items()}
    assert round(100 * sum(rows["nothing"]) / 5) == 73
    middle, half = gain(rows["early stopping"], rows["nothing"])
    assert round(middle) == 11 and middle - half > 0
    for name in ("weight decay", "dropout"):
        middle, half = gain(rows[name], rows["early stopping"])
        assert middle - half > 0
        middle, half = gain(rows[f"{name} and early stopping"], rows[name])
        assert middle - half < 0 < middle + half
    for one, other in (
        ("a smaller network", "nothing"),
        ("nothing", "half of the samples"),
        ("dropout", "weight decay"),
    ):
        middle, half = gain(rows[one], rows[other])
        assert middle - half < 0 < middle + half
    best = [min(range(40), key=lambda epoch: curve[epoch][1]) for curve in curves]
    assert all(2 <= epoch <= 4 for epoch in best)
    assert all(curve[-1][0] < 0.05 for curve in curves)


def test_larger_batches_suit_larger_rates():
    grid, best = stored("08", "grid"), []
    rates = (0.0001, 0.001, 0.01, 0.1)
    for size in (8, 32, 128, 512):
        row = [sum(grid[f"{size} samples, rate {rate}"]["accuracy"]) / 5 for rate in rates]
        best.append(row.index(max(row)))
        assert 0.9 <= max(row) < 0.94
    assert best == [0, 1, 1, 2]
