"""Tables of a reader's own: what is read, what is left out and why, and splits by group."""

import csv
import pickle
import re
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torch.utils.data import DataLoader

from course_utils.datasets import read_table
from course_utils.datasets.files import open_sound


@pytest.fixture(scope="module")
def table(stranger):
    return read_table(stranger.file, **stranger.options)


def splits(table):
    return {"train": table.train, "validation": table.validation, "test": table.test}


def small(folder, rows, header="text,label", name="t.csv", encoding="utf-8", ending="\n"):
    file = folder / name
    file.write_bytes(ending.join([header, *rows, ""]).encode(encoding))
    return file


PLAIN = [f"word {i},{'ab'[i % 2]}" for i in range(12)]


def test_every_row_that_is_no_good_is_named_and_no_other(stranger, table):
    found = {problem.row: problem for problem in table.problems}
    assert len(found) == len(table.problems) and list(found) == sorted(found)
    assert sorted(found) == sorted(stranger.bad)
    for row, (column, reason) in stranger.bad.items():
        assert found[row].column == column and re.search(reason, found[row].reason), found[row]
    assert str(found[4]) == "row 4, Foto: no such file: 'Fotos/fehlt.png'"
    used = [sample["row"] for rows in splits(table).values() for sample in rows]
    assert sorted(used) == sorted(set(range(2, 62)) - set(found))


def test_strict_raises_what_else_is_reported(stranger):
    with pytest.raises(ValueError, match="22 rows:\nrow 4, Foto: no such file(.|\n)*row 60"):
        read_table(stranger.file, **stranger.options, strict=True)


def test_a_sample_holds_what_its_row_says(stranger, table):
    with open(stranger.file, newline="", encoding="utf-8-sig") as opened:
        lines = list(csv.DictReader(opened))
    for rows in splits(table).values():
        for sample in rows:
            line, missing = lines[sample["row"] - 2], stranger.missing.get(sample["row"])
            assert table.classes[sample["label"]] == line["Befund"]
            for name in ("Foto", "Aufnahme", "Bericht", "numbers"):
                assert (sample[name] is None) == (name == missing)
            if missing != "Bericht":
                assert sample["Bericht"] == line["Bericht"].strip()
            if missing != "numbers":
                assert sample["numbers"].tolist() == [float(line["Alter"]), float(line["Gewicht"])]
            if missing != "Foto":
                assert sample["Foto"].shape == (3, 64, 64) and sample["Foto"].dtype == torch.float32
                assert 0 <= sample["Foto"].min() <= sample["Foto"].max() <= 1 + 1e-6
            if missing != "Aufnahme":
                number = int(line["Aufnahme"][4:6])
                long = 8_000 if number == 4 else 900 + 10 * number  # one lasts 1 s at 44.1 kHz
                assert sample["Aufnahme"].shape == (long,)


def test_no_group_is_in_two_splits_and_sizes_are_roughly_kept(table):
    groups = [{row["Patientin"] for row in rows.cells} for rows in splits(table).values()]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    for rows, wanted in zip(splits(table).values(), (0.7, 0.15, 0.15)):
        assert len(rows) / 38 == pytest.approx(wanted, abs=0.08)
        assert {sample["label"] for sample in rows} == {0, 1, 2}
    for rows in splits(table).values():
        numbers = {sample["group"]: line["Patientin"] for sample, line in zip(rows, rows.cells)}
        assert len(set(numbers.values())) == len(numbers)


def test_the_same_seed_gives_the_same_splits(stranger, table):
    def rows(seed):
        again = read_table(stranger.file, **stranger.options, seed=seed)
        return [[sample["row"] for sample in split] for split in splits(again).values()]

    first = [[sample["row"] for sample in split] for split in splits(table).values()]
    assert rows(0) == first and rows(1) != first


def test_without_a_group_the_classes_are_spread_evenly(tmp_path):
    lines = [f"word {i},{'a' if i < 60 else 'b' if i < 90 else 'c'}" for i in range(100)]
    table = read_table(small(tmp_path, lines), label="label", texts="text")
    counts = [Counter(sample["label"] for sample in rows) for rows in splits(table).values()]
    for share, count in zip((0.7, 0.15, 0.15), counts):
        for label, size in enumerate((60, 30, 10)):
            assert count[label] == pytest.approx(share * size, abs=1.5)
    halves = read_table(small(tmp_path, lines), label="label", texts="text", sizes=(0.5, 0.3, 0.2))
    assert [len(rows) for rows in splits(halves).values()] == [50, 30, 20]


def test_a_loader_gives_batches_with_every_mask(stranger, table):
    loader = DataLoader(table.train, batch_size=5, collate_fn=table.collate, num_workers=1)
    batches = list(loader)
    assert sum(len(batch["label"]) for batch in batches) == len(table.train)
    for batch in batches:
        assert set(batch["mask"]) == {"Foto", "Aufnahme", "Bericht", "numbers"}
        assert batch["Foto"].shape[1:] == (3, 64, 64) and batch["numbers"].shape[1:] == (2,)
        for i, row in enumerate(batch["row"].tolist()):
            missing = stranger.missing.get(row)
            there = {name: bool(mask[i].any()) for name, mask in batch["mask"].items()}
            assert there == {name: name != missing for name in there}
    lone = table.collate([{**table.train[0], "Foto": None, "Aufnahme": None, "numbers": None}])
    assert lone["Foto"].shape == (1, 3, 64, 64) and lone["numbers"].shape == (1, 2)
    assert pickle.loads(pickle.dumps(table)).classes == table.classes


def test_the_form_of_hugging_face_needs_no_list_of_files(tmp_path):
    for i in range(8):
        Image.new("RGB", (4, 4), (30 * i, 0, 0)).save(tmp_path / f"{i}.png")
        soundfile.write(tmp_path / f"{i}.flac", np.full(80, i / 10), 8_000)
    lines = [f"{i}.png,{i}.flac,{i % 2}" for i in range(8)]
    file = small(tmp_path, lines, "file_name,voice_file_name,label", "metadata.csv")
    table = read_table(file, label="label", side=2)
    sample = table.train[0]
    assert set(sample) == {"image", "voice", "label", "row"} and table.classes == ["0", "1"]
    i = sample["row"] - 2
    assert sample["image"].shape == (3, 2, 2)
    assert sample["image"][:, 0, 0].tolist() == pytest.approx([30 * i / 255, 0, 0])
    assert sample["voice"].tolist() == pytest.approx([i / 10] * 80, abs=1e-4)
    sounds = small(tmp_path, [f"{i}.flac,{i % 2}" for i in range(8)], "file_name,label")
    assert table.kinds == {"image": (3, 2, 2), "voice": "sequence"}
    assert read_table(sounds, label="label").kinds == {"audio": "sequence"}


def test_classes_in_numbers_are_sorted_as_numbers(tmp_path):
    lines = [f"w{i},{[10, 9, 2][i % 3]}" for i in range(12)]
    assert read_table(small(tmp_path, lines), label="label", texts="text").classes == [
        "2",
        "9",
        "10",
    ]


def test_classes_in_numbers_stand_before_classes_in_words(tmp_path):
    lines = [f"w{i},{['a', 10, 2, 'b'][i % 4]}" for i in range(16)]
    table = read_table(small(tmp_path, lines), label="label", texts="text")
    assert table.classes == ["2", "10", "a", "b"]


@pytest.mark.parametrize(
    "rows, header, encoding, ending",
    [
        (PLAIN, "text,label", "utf-8", "\n"),
        (PLAIN, "text,label", "utf-8-sig", "\r\n"),
        (PLAIN, "text,label", "utf-8", "\r"),
        ([row.replace(",", ";") for row in PLAIN], "text;label", "utf-8-sig", "\r\n"),
        ([row.replace(",", "\t") for row in PLAIN], "text\tlabel", "utf-8", "\n"),
        ([*PLAIN[:6], "", *PLAIN[6:]], "text,label", "utf-8", "\n"),
    ],
)
def test_every_usual_form_of_csv_is_understood(tmp_path, rows, header, encoding, ending):
    file = small(tmp_path, rows, header, encoding=encoding, ending=ending)
    table = read_table(file, label="label", texts=["text"])
    texts = {sample["text"] for split in splits(table).values() for sample in split}
    assert texts == {f"word {i}" for i in range(12)} and not table.problems


def test_a_table_with_semicolons_has_decimal_commas(tmp_path):
    rows = [f"{i},5;{'ab'[i % 2]}" for i in range(12)]
    table = read_table(small(tmp_path, rows, "n;label"), label="label", numbers="n")
    for split in splits(table).values():
        for sample in split:
            assert sample["numbers"].tolist() == [sample["row"] - 2 + 0.5]


@pytest.mark.parametrize(
    "word, encoding, words",
    [
        ("Müller", "cp1252", "line 3 is not utf-8; this looks like cp1252. Pass encoding='cp1252'"),
        ("小猫坐在窗边", "gb18030", "line 3 is not utf-8; this looks like gb18030"),
        ("Müller", "utf-16", "this looks like UTF-16; pass encoding='utf-16'"),
    ],
)
def test_another_encoding_is_named_and_can_be_given(tmp_path, word, encoding, words):
    rows = [PLAIN[0], f"{word},a", *PLAIN[1:]]
    file = small(tmp_path, rows, encoding=encoding)
    with pytest.raises(ValueError, match=words):
        read_table(file, label="label", texts="text")
    table = read_table(file, label="label", texts="text", encoding=encoding)
    assert word in [sample["text"] for split in splits(table).values() for sample in split]


def test_notes_say_what_may_mislead(tmp_path):
    rows = [f"w{i},{'ab'[i // 6]},g{i // 2}" for i in range(12)]
    table = read_table(
        small(tmp_path, rows, "text,label,who"), label="label", texts="text", group="who"
    )
    assert "6 of 6 groups have rows of one class only" in table.notes[-1]
    rows = [*PLAIN, "x,c", "y,c"]
    notes = read_table(small(tmp_path, rows), label="label", texts="text").notes
    assert len(notes) == 1 and re.search(r"(train|validation|test): no row of \['c'\]", notes[0])


def test_links_that_lead_out_of_the_folder_are_not_followed(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    Image.new("L", (3, 3)).save(tmp_path / "secret.png")
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    rows = [f",w{i},{'ab'[i % 2]}" for i in range(12)]
    rows[3] = "link.png" + rows[3]
    rows[4] = str(tmp_path / "secret.png") + rows[4]
    Image.new("L", (3, 3)).save(inside / "own.png")
    rows[0] = "own.png,w0,a"
    table = read_table(small(inside, rows, "file_name,text,label"), label="label", texts="text")
    assert [problem.row for problem in table.problems] == [5, 6]
    assert all("leads out" in problem.reason for problem in table.problems)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"label": "Label"}, r"label: \['Label'\] not among the columns \['text', 'label'\]"),
        ({"texts": ["txt"]}, r"texts: \['txt'\] not among"),
        ({"texts": ["text", "label"]}, r"columns: \['label'\] named twice"),
        ({"texts": []}, r"expected at least one column to learn from, out of \['text'\]"),
        ({"group": "text", "texts": [], "numbers": ["text"]}, r"\['text'\] named twice"),
        ({"sizes": (0.8, 0.2, 0.0)}, "sizes: expected three shares above 0"),
        ({"sizes": (0.8, 0.2)}, "sizes: expected three shares"),
        ({"side": 0}, "side: expected a whole number"),
        ({"rate": 8e3}, "rate: expected a whole number"),
    ],
)
def test_a_bad_argument_is_refused_by_name(tmp_path, options, words):
    file = small(tmp_path, PLAIN)
    with pytest.raises(ValueError, match=words):
        read_table(file, **{"label": "label", "texts": ["text"], **options})


@pytest.mark.parametrize(
    "rows, header, words",
    [
        ([], "text,label", "expected at least 2 classes and 3 rows"),
        (["a,x", "b,x", "c,x", "d,x"], "text,label", "at least 2 classes .* got 1 and 4"),
        (
            ["a,x", "b,y"],
            "text,label",
            "left out are 2 rows, the first: row 2, label: the only row",
        ),
        ([], "", "expected a first line with a different name for each column"),
        (PLAIN, "label,label", "expected a first line with a different name"),
        (['"a,x', *PLAIN], "text,label", "is no CSV: unexpected end of data"),
    ],
)
def test_a_table_that_cannot_be_split_or_read_is_refused(tmp_path, rows, header, words):
    with pytest.raises(ValueError, match=words):
        read_table(small(tmp_path, rows, header), label="label", texts="text")


def test_too_few_groups_are_refused(tmp_path):
    rows = [f"w{i},{'ab'[i % 2]},{'gh'[i // 6]}" for i in range(12)]
    with pytest.raises(ValueError, match="group: expected at least 2 classes and 3 groups"):
        read_table(small(tmp_path, rows, "text,label,g"), label="label", texts="text", group="g")
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.csv", label="label")


def test_names_that_the_sample_needs_itself_are_refused(tmp_path):
    rows = [f"w{i},{'ab'[i % 2]}" for i in range(12)]
    with pytest.raises(ValueError, match=r"would be called \['row'\]"):
        read_table(small(tmp_path, rows, "row,y"), label="y", texts="row")


def test_a_sound_is_mixed_and_resampled(tmp_path):
    """A tone of 500 Hz stays one; the channels' mean is their sum by hand."""
    time = np.arange(44_100) / 44_100
    tone = np.sin(2 * np.pi * 500 * time)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, 0 * tone], 1), 44_100, subtype="FLOAT")
    sound = open_sound(tmp_path / "a.wav", 8_000)
    expected = 0.5 * np.sin(2 * np.pi * 500 * np.arange(8_000) / 8_000)
    assert sound.shape == (8_000,) and sound.dtype == torch.float32
    assert np.abs(sound.numpy() - expected)[100:-100].max() < 2e-3
    with pytest.raises(FileNotFoundError, match="none.wav: no such file"):
        open_sound(tmp_path / "none.wav", 8_000)
    with pytest.raises(ValueError, match="rate: expected a whole number of Hz, got 0"):
        open_sound(tmp_path / "a.wav", 0)
