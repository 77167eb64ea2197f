"""The stored comparisons on public data, one run of each made again. Skips without the data."""

import sys
from functools import partial

import pytest

from course_utils.datasets import store
from course_utils.exercises import reference
from course_utils.metrics import accuracy
from course_utils.rooms import load, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module", autouse=True)
def data():
    if not store.have("mnist", "fsdd"):
        pytest.skip(
            "needs MNIST and FSDD: python -m course_utils.datasets.store mnist fsdd, or COURSE_DATA"
        )


def test_digits_real_made_again_agrees():
    page, row = measured_cells("00"), stored("00", "digits_real")["mnist-fsdd"]
    draw = page["load"](3, source="mnist-fsdd")
    for model in ("text", "audio"):
        names, decay = page["MODELS"][model], row["weight_decay"][model]
        head = page["train"](names, draw, decay, seed=3)
        again = accuracy(page["logits_of"](names, head, draw["test"]), draw["test"]["label"])
        assert again == pytest.approx(row["accuracy"][model][3], abs=0.02), model


def test_fits_real_made_again_agrees():
    page, rows = measured_cells("10"), stored("10", "fits_real")
    draw = {split: page["pairs"](split, 2, "audio", source="mnist-fsdd") for split in SPLITS}
    dims = {name: draw["train"][name].shape[1] for name in ("audio", "image")}
    # the second learns slowly, and drifts more
    for glue, tolerance in (("concat", 0.02), ("concat, hidden", 0.05)):
        make = partial(page["GLUES"][glue], dims)
        again = page["score"](page["train"](make, draw, 2, epochs=20, lr=3e-3), draw)
        expected = rows[f"image + audio: {glue}"]["accuracy"][2]
        assert again.accuracy == pytest.approx(expected, abs=tolerance), glue


def test_fsdd_speakers_made_again_agrees(monkeypatch):
    sweeps = load("09", "sweeps")
    monkeypatch.setattr(sweeps, "combinations", lambda speakers, size: [("theo", "yweweler")])
    rows, again = stored("09", "fsdd_speakers"), sweeps.fsdd_speakers({})
    for level, row in rows.items():
        assert len(row["accuracy"]) == 15
        expected = row["accuracy"][row["held_out"].index(["theo", "yweweler"])]
        assert again[level]["accuracy"] == pytest.approx([expected], abs=0.01), level


def test_mnist_of_page_03_made_again_agrees():
    page, rows = measured_cells("03"), stored("03", "mnist")
    page["PictureNet"] = reference("03.2")
    draw = {split: page["load_digits"](split, 2, source="mnist-fsdd") for split in SPLITS}
    models = {
        "pixels, linear": (partial(page["Pixels"], 784), 6, 0.01),
        "PictureNet": (partial(page["Classifier"], 1, 10), 6, 0.02),
    }
    for name, (make, epochs, tolerance) in models.items():
        again = page["accuracy"](page["train"](make, draw, 2, epochs=epochs), draw["test"])
        expected = rows[f"MNIST: {name}"]["accuracy"][2]
        assert again == pytest.approx(expected, abs=tolerance), name


def test_by_hand_of_page_22_made_again_agrees():
    page, row = measured_cells("22"), stored("22", "by_hand")["mnist"]
    page["layer_backward"], page["table_backward"] = reference("22.1"), reference("22.2")
    draw = {split: page["load"](split, 4, source="mnist-fsdd") for split in SPLITS[::2]}
    net, _ = page["train"](page["by_hand"], draw["train"], 4, row["epochs"])
    again = accuracy(page["forward"](net, draw["test"])["logits"], draw["test"]["label"])
    assert again == pytest.approx(row["accuracy"][4], abs=0.01)
