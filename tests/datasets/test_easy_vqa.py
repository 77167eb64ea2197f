"""easy-VQA: splits by picture, what a question's words say of its picture, files that were altered.

What needs the package skips without it; the rest runs on a small set drawn here.
"""

import hashlib
import json
import re
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from course_utils.datasets import EasyVQA, collate, easy_vqa

real = pytest.mark.skipif(not easy_vqa.available(), reason="needs the package easy-vqa")
COUNTS = {"train": (3_500, None), "validation": (500, None), "test": (1_000, 9_673)}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A package of six and two pictures, two of which validate: its folder."""
    sizes, sums, rng = {"train": 6, "test": 2}, {}, np.random.default_rng(0)
    for split, size in sizes.items():
        (tmp_path / split / "images").mkdir(parents=True)
        rows = []
        for i in range(size):
            pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / split / f"images/{i}.png")
            rows += [["what color is the shape?", easy_vqa.COLORS[i], i]]
            rows += [["what shape is present?", easy_vqa.SHAPES[i % 3], i]]
            rows += [["is there a circle?", easy_vqa.YES_NO[i % 3 == 0], i]]
        (tmp_path / split / "questions.json").write_text(json.dumps(rows))
        digest = hashlib.sha256((tmp_path / split / "questions.json").read_bytes())
        for i in range(size):
            digest.update((tmp_path / split / f"images/{i}.png").read_bytes())
        sums[split] = digest.hexdigest()
    monkeypatch.setattr(easy_vqa, "PICTURES", sizes)
    monkeypatch.setattr(easy_vqa, "SHA256", sums)
    monkeypatch.setattr(easy_vqa, "VALIDATION", 2)
    monkeypatch.setattr(easy_vqa, "package_folder", lambda *names: tmp_path)
    return tmp_path


def test_a_sample_is_its_picture_its_question_and_its_answer(world):
    data = EasyVQA("test", about="color")
    assert (len(data), data.answers) == (2, easy_vqa.COLORS)
    sample = data[1]
    pixels = np.asarray(Image.open(world / "test/images/1.png"))
    expected = torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255
    torch.testing.assert_close(sample.pop("image"), expected, rtol=0, atol=0)
    assert sample == {"text": "what color is the shape?", "label": 1, "picture": 1}
    assert data.answers[sample["label"]] == "blue"


@pytest.mark.parametrize("about, per", [("all", 3), ("color", 1), ("shape", 1), ("yes/no", 1)])
def test_about_keeps_the_questions_that_these_answer(world, about, per):
    data = EasyVQA(about=about)
    assert len(data) == 4 * per and len(data.pictures) == 4
    assert {data.answers[i] for i in data.labels} <= set(easy_vqa.KINDS[about])


@pytest.mark.parametrize("seed", range(4))
def test_no_picture_is_in_two_splits(world, seed):
    parts = [EasyVQA(split, seed=seed).pictures for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [4, 2, 2]
    assert len({picture.numpy().tobytes() for part in parts for picture in part}) == 8


def test_the_seed_draws_the_validation_set(world):
    drawn = [EasyVQA("validation", seed=seed).pictures for seed in range(6)]
    assert any(not torch.equal(drawn[0], other) for other in drawn[1:])
    assert torch.equal(drawn[3], EasyVQA("validation", seed=3).pictures)
    tests = [EasyVQA("test", seed=seed).pictures for seed in range(2)]
    assert torch.equal(*tests)


def test_it_collates(world):
    data = EasyVQA("train")
    batch = next(iter(DataLoader(data, 5, collate_fn=partial(collate, kinds=data.kinds))))
    assert batch["image"].shape == (5, 3, 64, 64)
    assert batch["text"] == data.texts[:5] and torch.equal(batch["label"], data.labels[:5])
    torch.testing.assert_close(batch["image"], data.pictures[data.places[:5]] / 255)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"split": "dev"}, "split: expected train, validation or test, got 'dev'"),
        ({"about": "size"}, "about: expected one of ['all', 'color', 'shape', 'yes/no'], got 'si"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"seed": True}, "seed: expected a whole number of at least 0, got True"),
        ({"seed": 1.5}, "seed: expected a whole number of at least 0, got 1.5"),
    ],
)
def test_bad_arguments_are_named(world, arguments, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        EasyVQA(**arguments)


def test_an_index_outside(world):
    data = EasyVQA("test", about="shape")
    assert data[-1]["picture"] == 1
    for index in (2, -3):
        with pytest.raises(IndexError, match=f"index {index} is outside the 2 questions"):
            data[index]


def _cut(folder):
    (folder / "train/images/3.png").write_bytes(b"\x89PNG")


def _swap(folder):
    """Two pictures that changed places."""
    one, other = (folder / f"train/images/{i}.png" for i in (0, 1))
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)


def _answer(folder):
    file = folder / "train/questions.json"
    file.write_text(file.read_text().replace("circle", "square", 1))


def _gone(folder):
    (folder / "train/images/5.png").unlink()


@pytest.mark.parametrize("change", [_cut, _swap, _answer, _gone])
def test_altered_files_are_refused(world, change):
    change(world)
    with pytest.raises(ValueError, match="--force-reinstall"):
        EasyVQA("train")
    assert len(EasyVQA("test")) == 6  # the other split is as it was


def test_without_the_package_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(easy_vqa, "package_folder", lambda *names: None)
    assert not easy_vqa.available()
    with pytest.raises(FileNotFoundError, match="pip install --no-deps easy-vqa"):
        EasyVQA()


# ---- the published files ----


@real
@pytest.mark.parametrize("split", COUNTS)
def test_the_published_counts(split):
    data, (pictures, questions) = EasyVQA(split), COUNTS[split]
    assert len(data.pictures) == pictures
    assert questions in (None, len(data))
    assert len(EasyVQA("train")) + len(EasyVQA("validation")) == 38_575
    by_kind = [len(EasyVQA(split, about=kind)) for kind in ("color", "shape", "yes/no")]
    assert sum(by_kind) == len(data)


@real
def test_what_a_question_names_agrees_with_its_answer():
    """A "red shape" is there exactly where a question for the color is answered red."""
    data, color = EasyVQA("test"), {}
    for label, place in zip(data.labels.tolist(), data.places.tolist()):
        if data.answers[label] in easy_vqa.COLORS:
            color.setdefault(place, set()).add(data.answers[label])
    assert all(len(names) == 1 for names in color.values())
    asked = 0
    for text, label, place in zip(data.texts, data.labels.tolist(), data.places.tolist()):
        found = re.fullmatch(r"is there a (\w+) shape\?", text)
        if found and place in color:
            assert (data.answers[label] == "yes") == (color[place] == {found[1]})
            asked += 1
    assert asked > 100
