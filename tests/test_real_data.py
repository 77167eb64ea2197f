"""The stored sweeps on public data, one run of each made again. Skips where the data are not."""

import json
import sys

import pytest

from course_utils.datasets import store
from course_utils.runtime import DATA, ROOT

sys.path.insert(0, str(ROOT / "tools"))
import measure

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module", autouse=True)
def data():
    if not store.have("mnist", "fsdd"):
        pytest.skip(
            "needs MNIST and FSDD: python -m course_utils.datasets.store mnist fsdd, or COURSE_DATA"
        )


def stored(sweep):
    return json.loads((DATA / "results" / f"{sweep}.json").read_text())["rows"]


def test_digits_real_made_again_agrees():
    page, row = measure.measured_cells("00_start_here"), stored("digits_real")["mnist-fsdd"]
    draw = {split: page["load"](split, 3, source="mnist-fsdd") for split in SPLITS}
    for model in ("text", "audio"):
        again = page["test"](
            page["MODELS"][model], draw, row["weight_decay"][model], seed=3
        ).accuracy
        assert again == pytest.approx(row["accuracy"][model][3], abs=0.02), model


def test_fits_real_made_again_agrees():
    page, rows = measure.measured_cells("10_fusion_concat"), stored("fits_real")
    draw = {split: page["pairs"](split, 2, "audio", source="mnist-fsdd") for split in SPLITS}
    dims = {name: draw["train"][name].shape[1] for name in ("audio", "image")}
    # the second learns slowly, and drifts more
    for glue, tolerance in (("concat", 0.02), ("concat, hidden", 0.05)):
        again = page["train_and_test"](lambda: page["GLUES"][glue](dims), draw, 2, epochs=20)[
            1
        ].accuracy
        assert again == pytest.approx(
            rows[f"image + audio: {glue}"]["accuracy"][2], abs=tolerance
        ), glue


def test_fsdd_speakers_made_again_agrees(monkeypatch):
    monkeypatch.setattr(measure, "combinations", lambda speakers, size: [("theo", "yweweler")])
    rows, again = stored("fsdd_speakers"), measure.fsdd_speakers()
    for level, row in rows.items():
        assert len(row["accuracy"]) == 15
        expected = row["accuracy"][row["held_out"].index(["theo", "yweweler"])]
        assert again[level]["accuracy"] == pytest.approx([expected], abs=0.01), level


def test_by_hand_made_again_agrees():
    page, row = measure.measured_cells("21_cross_entropy_gradient"), stored("by_hand")["mnist"]
    draw = {split: page["load"](split, 4, source="mnist-fsdd") for split in SPLITS[::2]}
    net, _ = page["train"](page["by_hand"], draw["train"], 4, row["epochs"])
    again = measure.accuracy(page["forward"](net, draw["test"])["logits"], draw["test"]["label"])
    assert again == pytest.approx(row["accuracy"][4], abs=0.01)
    assert len(row["difference"]) == 5 and max(row["difference"]) < 1e-12


def test_image_cnn_made_again_agrees():
    page, rows = measure.measured_cells("03_image_features"), stored("image_cnn")
    draw = {split: page["load_digits"](split, 2, source="mnist-fsdd") for split in SPLITS}
    again = page["test"](
        page["train"](lambda: page["Pixels"](784), draw, 2, epochs=20), draw["test"]
    )
    assert again == pytest.approx(rows["MNIST: pixels, linear"]["accuracy"][2], abs=0.01)
    again = page["test"](
        page["train"](lambda: page["Classifier"](1, 10, width=64), draw, 2, epochs=4), draw["test"]
    )
    assert again == pytest.approx(rows["MNIST: network"]["accuracy"][2], abs=0.02)
