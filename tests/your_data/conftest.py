"""Folders as readers bring them, small enough for seconds."""

import csv
import logging

import numpy as np
import pytest
from PIL import Image

from course_utils.your_data import compare, dirty_example, report_on, run

WORDS = "oak elm ash fir yew birch maple cedar poplar willow".split()


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A reader's folder of its own, whatever test comes first."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(home))


@pytest.fixture(autouse=True, scope="session")
def quiet():
    """torch.export writes thousands of lines for a debugger, which pytest would keep."""
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def brief(monkeypatch):
    """Few epochs, where it is not asked how well anything is learned."""
    for module in (compare, run):
        monkeypatch.setattr(module, "QUICK_EPOCHS", 3)


@pytest.fixture(scope="session")
def orders(tmp_path_factory, home):
    """The bundled example, smaller, and its report with the small encoders."""
    folder = dirty_example(tmp_path_factory.mktemp("example") / "orders", rows=90)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_HOME", str(home))
        out = folder.parent / "report"
        return folder, report_on(folder, label="item", out=out, quick=True)


def write(folder, header, rows, name="metadata.csv", encoding="utf-8", separator=","):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / name, "w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=separator).writerows([header, *rows])
    return folder


def dots(folder, count, name, rng=None):
    """Pictures of noise, called as `name(i)` says."""
    rng = rng or np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / name(i)).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / name(i))


def people(folder, separate=True):
    """Six rows of each of 24 people, who differ in what is measured; each person is of one class,
    by chance. With `separate` False rows are nobody's: each is measured and classified anew.
    """
    rng, rows = np.random.default_rng(1), []
    for person in range(24):
        for _ in range(6):
            if not separate or len(rows) % 6 == 0:
                label, middle = rng.integers(2), rng.normal(0, 3, 5)
            numbers = [f"{x:.3f}" for x in middle + rng.normal(0, 0.3, 5)]
            rows.append([*numbers, ["well", "ill"][label], f"P{person:02d}"])
    return write(folder, [*"abcde", "label", "patient"], rows)


def readings(folder, rows=160, noise=True):
    """Numbers that tell the class, and notes that are random words, or name the class's own."""
    rng, lines = np.random.default_rng(2), []
    for i in range(rows):
        label = i % 2
        one, other = rng.normal(2 * label, 1), rng.normal(0, 1)
        choice = WORDS if noise else WORDS[5 * label : 5 * label + 5]
        note = " ".join(rng.choice(choice, 4))
        lines.append([f"{one:.3f}", f"{other:.3f}", note, ["low", "high"][label]])
    return write(folder, ["x", "y", "note", "label"], lines)
