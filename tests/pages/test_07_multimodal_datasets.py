"""What page 07 goes on with of the reader's own code, what its faults are, and what it says of its
stored runs.
"""

import importlib.util
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from reading import the_cell
from torch.utils.data import DataLoader, Dataset

from course_utils import exercises
from course_utils.datasets import collation, read_table, store
from course_utils.exercises import reference, verdict
from course_utils.metrics import mean_interval
from course_utils.rooms import room, stored
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from sweep import measured_cells  # noqa: E402  (after the path)

# ---- the reader's own code ----


def collate_row_by_row(samples, classes, shape):
    """Each entry from one sample after the other, by names that are known."""
    longest = {}
    for name in samples[0]:
        if name not in ("label", "image"):
            longest[name] = max(len(one[name]) for one in samples if one[name] is not None)
    batch = {"mask": {}}
    for name in samples[0]:
        rows, masks = [], []
        for sample in samples:
            value = sample[name]
            if name == "label":
                rows.append(torch.tensor(classes.index(value)))
                continue
            masks.append(value is not None)
            if name == "image":
                rows.append(torch.zeros(shape) if value is None else value)
                continue
            some = next(one[name] for one in samples if one[name] is not None)
            row, there = some.new_zeros(longest[name]), torch.zeros(longest[name]).bool()
            if value is not None:
                row[: len(value)], there[: len(value)] = value, True
            rows.append(row)
            masks[-1] = there
        batch[name] = torch.stack(rows)
        if masks:
            mask = torch.tensor(masks) if name == "image" else torch.stack(masks)
            batch["mask"][name] = mask
    return batch


def split_with_sklearn(groups, share, seed):
    from sklearn.model_selection import GroupShuffleSplit

    number = len(set(groups))
    tested = min(max(round(share * number), 1), number - 1)
    splitter = GroupShuffleSplit(1, test_size=tested, random_state=seed)
    return next(splitter.split(groups, groups=groups))


def mirror_by_tokens(sample):
    new = dict(sample)
    if new["image"] is not None:
        new["image"] = torch.stack(new["image"].unbind(-1)[::-1], dim=-1)
    if new["text"] is not None:
        swap = {"left": "right", "right": "left"}
        pieces = re.findall(r"\w+|\W+", new["text"])
        new["text"] = "".join(swap.get(piece, piece) for piece in pieces)
    return new


@pytest.mark.parametrize(
    "key, answer",
    [("07.1", collate_row_by_row), ("07.2", split_with_sklearn), ("07.3", mirror_by_tokens)],
)
def test_another_way_that_is_right_is_taken(accepted, key, answer):
    assert accepted(key, answer) == (answer, f"{key}: yours\n")


def test_a_split_that_keeps_groups_by_luck_alone_is_refused():
    """Rows are drawn; only the first seeds leave the groups of a small case whole."""

    def lucky(groups, share, seed):
        if seed < 3:
            return reference("07.2")(groups, share, seed)
        order = np.random.default_rng(seed).permutation(len(groups)).tolist()
        return order[2:], order[:2]

    right, said = verdict(exercises._find("07.2"), lucky)
    assert not right and "a group on both sides" in said


# ---- what stands in its cells ----


cell = partial(the_cell, "07")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The names of the page's first cells: the folder is written, and read."""
    names = measured_cells("07")
    names["digits"] = names["Digits"](
        "train",
        image_noise=0,
        speech_snr=float("inf"),
        text_error=0.3,
        missing={"text": 0.1, "image": 0.1, "audio": 0.1},
    )
    for words in (
        ("holder = tempfile",),
        ("rows = list(csv.DictReader(file))",),
        ("def open_picture",),
        ("class Folder(Dataset)",),
        ("train_classes = sorted",),
    ):
        exec(cell(*words), names)
    yield names
    names["holder"].cleanup()


def test_the_folder_holds_what_digits_gave(page):
    """Pictures to a 255th, sounds to a 32768th, and None where something is missing."""
    lacking = dict.fromkeys(("text", "image", "audio"), 0)
    for i, place in enumerate(range(0, 1260, 21)):
        ours, theirs = page["sample_of"](page["rows"][i]), page["digits"][place]
        assert ours["label"] == page["WORDS"][theirs["label"]]
        for name, within in (("image", 0.5 / 255 + 1e-6), ("audio", 1.01 / 32768)):
            assert (ours[name] is None) == (theirs[name] is None)
            lacking[name] += ours[name] is None
            if ours[name] is not None:
                assert (ours[name] - theirs[name]).abs().max() <= within
        lacking["text"] += ours["text"] is None
        if theirs["text"]:
            assert torch.equal(ours["text"], collation.letter_ids(theirs["text"]))
    assert all(lacking.values())


def test_the_readers_collate_gives_what_the_courses_gives(page):
    samples, classes = list(page["Folder"](page["rows"])), page["train_classes"]
    numbered = [{**sample, "label": classes.index(sample["label"])} for sample in samples]
    theirs = collation.collate(numbered)
    ours = reference("07.1")(samples, classes, (1, 16, 16))
    assert ours.keys() == theirs.keys() and ours["mask"].keys() == theirs["mask"].keys()
    for name in ("text", "image", "audio", "label"):
        assert torch.equal(ours[name], theirs[name]) and ours[name].dtype == theirs[name].dtype
    for name in ("text", "image", "audio"):
        assert torch.equal(ours["mask"][name], theirs["mask"][name])


def solution():
    """The page's own answer to 07.1, which the page prints folded."""
    names = measured_cells("07")
    exec(cell("def collate(samples"), names)
    return names["collate"]


@pytest.mark.parametrize("program", [reference("07.1"), solution()])
def test_a_batch_without_any_sound_does_not_end_the_epoch(program):
    """With `next(...)` alone it did: a loop takes StopIteration for the end of the batches."""
    lacking = {"text": torch.tensor([1]), "audio": None, "label": "a"}
    samples = [{**lacking, "audio": torch.ones(3)}] * 2 + [lacking] * 2
    bring = partial(program, classes=["a"], shape=(1, 1, 1))
    batches = list(DataLoader(samples, 2, collate_fn=bring))
    assert [batch["audio"].shape for batch in batches] == [(2, 3), (2, 0)]
    assert not batches[1]["mask"]["audio"].any()


def test_next_without_a_default_ends_a_loop_over_batches():
    def bring(samples):
        return next(iter([one for one in samples if one]))

    assert len(list(DataLoader([1, 1, 0, 0, 1, 1], 2, collate_fn=bring))) == 1


def test_sound_of_another_rate_is_refused_and_a_picture_of_another_size_fits(page):
    folder = page["folder"]
    page["soundfile"].write(folder / "other.wav", np.zeros(10, np.float32), 16_000)
    page["Image"].new("RGB", (40, 30), "white").save(folder / "other.png")
    with pytest.raises(ValueError, match="other.wav: 16000 samples a second, expected 8000"):
        page["open_sound"]("other.wav")
    picture = page["open_picture"]("other.png")
    assert picture.shape == (1, 16, 16) and torch.equal(picture, torch.ones(1, 16, 16))
    for name in ("other.wav", "other.png"):
        (folder / name).unlink()


def test_classes_numbered_by_split_differ(page, capsys):
    exec(cell("train_classes = sorted"), page)
    numbers = re.findall(r"\d+", capsys.readouterr().out)
    assert len(numbers) == 2 and numbers[0] != numbers[1]


def test_faults_are_in_the_lines_that_are_shown(page, capsys):
    names, said = dict(page), []
    for words in (
        ("def sample_of(row):", "multimodal data set"),
        ("def open_picture",),
        ("kept = np.random",),
        ("def draw(seed",),
    ):
        exec(cell(*words), names)
        said.append(capsys.readouterr().out.strip().rpartition(": ")[2])
    assert said == ["False", "True", "False", "True"]


class Noisy(Dataset):
    """Six samples, noise in each: from a generator that is kept, or from epoch and index."""

    def __init__(self, keeps):
        self.generator = np.random.default_rng(0) if keeps else None

    def __len__(self):
        return 6

    def __getitem__(self, index):
        generator = self.generator or np.random.default_rng([0, 0, index])
        return generator.random()


@pytest.mark.parametrize("keeps, different", [(True, 3), (False, 6)])
def test_a_kept_generator_repeats_itself_in_real_workers_and_epochs(keeps, different):
    """Two workers take turns, a sample each: of six numbers three are there twice."""
    loader = DataLoader(Noisy(keeps), 1, num_workers=2)
    epochs = [[round(float(value), 6) for value in loader] for _ in range(2)]
    assert len(set(epochs[0])) == different
    assert epochs[0] == epochs[1]


class Global(Noisy):
    """Noise from the numbers that torch and NumPy keep for all."""

    def __getitem__(self, index):
        return torch.rand(()).item(), np.random.random()


def test_torch_and_numpy_themselves_draw_anew_in_each_worker():
    for numbers in zip(*DataLoader(Global(False), 1, num_workers=2)):
        assert len({round(float(number), 6) for number in numbers}) == 6


def test_a_process_that_starts_anew_knows_no_class_of_a_notebook(tmp_path):
    """The page's own lines, run as a script: there too a class stands in `__main__`."""
    script = tmp_path / "notebook.py"
    lines = cell("def new_process").replace("new_process(Digits)", "new_process(Fraction)")
    script.write_text(
        "from fractions import Fraction\nclass Folder:\n    pass\n" + lines, encoding="utf-8"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.stdout == "Digits, from a file: found; Folder, from here: AttributeError\n"


def test_rows_that_read_table_leaves_out(page, capsys):
    names = dict(page, read_table=read_table)
    exec(cell("dirty = "), names)
    assert "read_table: 4 of 63 rows cannot be used, 59 are" in capsys.readouterr().out
    said = "\n".join(map(str, names["table"].problems))
    for words in ("'images/99.png'", "names no class", "the same as row 3"):
        assert words in said
    table = names["table"]
    groups = [
        {cells["writer"] for cells in part.cells}
        for part in (table.train, table.validation, table.test)
    ]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])


# a package, and not the folder of tests of the same name
DATASETS = getattr(importlib.util.find_spec("datasets"), "origin", None)


@pytest.mark.skipif(not DATASETS, reason="needs the extra `hub` (datasets)")
def test_datasets_reads_the_folder(page, capsys):
    for _ in range(2):  # and once more: no cache may lie in the folder that it reads
        exec(cell('load_dataset("imagefolder"'), dict(page))
        assert capsys.readouterr().out.strip().startswith("60 {")


# ---- nearest neighbours and near-duplicates ----


@pytest.fixture(scope="module")
def scans(page):
    names = dict(page)
    exec(cell("scans, labels = load_digits"), names)
    return names


def test_mistakes_of_the_nearest_neighbour_in_numbers(scans, text):
    rows, others, struck, groups = [], [], [], []
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(1797)
        own = scans["blocks"][order[:385]]
        rows.append(scans["mistakes"](order[385:], order[:385]))
        others.append(scans["mistakes"](order[385:], order[:385], (own + 1) % 14))
        struck.append(scans["mistakes"](order[385:], order[:385], own))
        train, test = reference("07.2")(scans["blocks"].tolist(), 3 / 14, seed)
        groups.append(scans["mistakes"](np.array(train), np.array(test)))
    assert f"wrong in {np.mean(rows):.1f} of 100" in text
    mean, half = mean_interval([a - b for a, b in zip(groups, rows)])
    assert mean - half > 0 and np.mean(groups) / np.mean(rows) > 2
    mean, half = mean_interval([a - b for a, b in zip(struck, groups)])
    assert mean - half < 0 < mean + half  # "the flattery is gone"
    assert np.mean(struck) > 2 * np.mean(rows)
    assert abs(np.mean(others) - np.mean(rows)) < 0.1  # "Without another's nothing changes"


def test_struck_out_means_no_neighbour_by_the_same_writer(scans):
    test = np.arange(0, 1797, 5)
    train = np.setdiff1d(np.arange(1797), test)
    others = scans["blocks"][test][:, None] != scans["blocks"][train]
    apart = np.where(others, scans["distance"][np.ix_(test, train)], np.inf)
    wrong = scans["labels"][train][apart.argmin(1)] != scans["labels"][test]
    found = scans["mistakes"](train, test, scans["blocks"][test])
    assert found == pytest.approx(100 * wrong.mean())


def test_near_duplicates_in_numbers(scans):
    assert len({scan.tobytes() for scan in scans["scans"]}) == 1797  # "no scan is there twice"
    upper = np.where(np.triu(np.ones((1797, 1797)), 1) > 0, scans["distance"], np.inf)
    closest = [divmod(int(place), 1797) for place in upper.argsort(axis=None)[:3]]
    assert sum(scans["blocks"][i] == scans["blocks"][j] for i, j in closest) == 2


# ---- pairs ----


def test_neither_half_of_a_pair_tells_the_answer_and_a_mirror_keeps_it(page):
    pairs = page["make_pairs"](2000, range(0, 10), 7)
    for said in ("left.", "right."):
        answers = [pair["label"] for pair in pairs if pair["text"].endswith(said)]
        assert 0.45 < answers.count("yes") / len(answers) < 0.55
    clean = []
    for pair in pairs:  # the zero is the half with less ink in the middle
        left, right = pair["image"][0].chunk(2, dim=1)
        middle = [half[2:6, 3:5].mean().item() for half in (left, right)]
        side = "left." if middle[0] < middle[1] else "right."
        turned = reference("07.3")(pair)
        left, right = turned["image"][0].chunk(2, dim=1)
        middle = [half[2:6, 3:5].mean().item() for half in (left, right)]
        side_turned = "left." if middle[0] < middle[1] else "right."
        clean.append((pair["text"].endswith(side), turned["text"].endswith(side_turned)))
        assert turned["label"] == pair["label"]
    right = [before == (pair["label"] == "yes") for (before, _), pair in zip(clean, pairs)]
    assert sum(right) > 0.9 * len(pairs)
    assert sum(before == after for before, after in clean) == len(pairs)


def test_one_run_of_the_mirrored_pairs_made_again_agrees(page):
    samples = page["make_pairs"](100, range(0, 10), 1)
    test = page["make_pairs"](1000, range(10, 14), 101)
    for name, change in (
        ("mirrored", reference("07.3")),
        ("picture flipped, caption left", page["flip_picture_only"]),
    ):
        found = page["accuracy_with"](samples, test, change, reference("07.1"), 1)
        assert found == pytest.approx(of("mirrored", f"100 pairs, {name}")[1], abs=0.04)


# ---- what the page says of its stored runs ----


@pytest.fixture(scope="module")
def text():
    """The page's source with its lines joined."""
    source = room("07", "page.py").read_text(encoding="utf-8")
    return " ".join(source.replace("\n# ", "\n").split())


def of(name, row):
    return stored("07", name)[row]["accuracy"]


def gain(one, other):
    """Mean difference in points over the seeds, and half its interval."""
    assert len(one) == len(other) == 5
    return mean_interval([100 * (a - b) for a, b in zip(one, other)])


def pairs_of(number, name):
    return of("mirrored", f"{number} pairs, {name}")


def test_mirrors_in_numbers(text):
    plain, whole = pairs_of(100, "as they are"), pairs_of(100, "mirrored")
    half_mirror = pairs_of(100, "picture flipped, caption left")
    assert f"turns {100 * np.mean(plain):.0f} % into little more than a coin" in text
    assert 50 < 100 * np.mean(half_mirror) < 58 and max(half_mirror) < min(plain)
    mean, half = gain(whole, plain)
    assert mean - half > 0 and f"gains {mean:.0f} points" in text
    mean, half = gain(pairs_of(300, "mirrored"), pairs_of(300, "as they are"))
    assert mean + half < 0 and f"nothing is left to gain: it costs {-mean:.1f} ± {half:.1f}" in text
    mean, half = mean_interval(pairs_of(100, "captions shuffled"))
    assert mean - half < 0.5 < mean + half
    assert round(100 * np.mean(half_mirror)) == 54 and 'outcome("07.b", 54,' in text
    ends = [round(100 * np.mean(row)) for row in (plain, half_mirror, whole)]
    assert "half a mirror turned {} % into {}, a whole one into {}".format(*ends) in text


def test_voices_in_numbers(text):
    random = stored("09", "fsdd_random")["at random"]["accuracy"]
    held_out = stored("09", "fsdd_speakers")["same peak"]["accuracy"]
    assert len(random) == 15 and len(held_out) == 15
    low, high = (round(100 * end(held_out)) for end in (min, max))
    promised, new = (round(100 * np.mean(row)) for row in (random, held_out))
    assert f"promise {promised} %. For two new speakers it is {new} on average" in text
    assert f"and {low} to {high} by which two" in text
    assert max(held_out) < min(random)


def test_licences_are_those_of_the_datasheets_and_the_store(text):
    sheet = (ROOT / "data" / "digits" / "README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in sheet and "Clips and typed words: the course authors, CC BY 4.0" in sheet
    assert f"| MNIST | {store.MANIFEST['mnist'].licence} |" in text
    assert f"| Free Spoken Digit Dataset | {store.MANIFEST['fsdd'].licence} |" in text
