"""The reader's folder: which column is what, which rows are left out, what is refused in words."""

import subprocess
import sys

import pytest

from conftest import WORDS, dots, write
from course_utils.runtime import ROOT
from course_utils.your_data import NotUsable, dirty_example, report_on
from course_utils.your_data.__main__ import main
from course_utils.your_data.folder import find_columns, read_folder

HEADER = ["note", "size", "label", "patient"]


def rows(count=12):
    return [
        [f"{WORDS[i % 10]} and {WORDS[i // 3]}", f"{i}.5", "ab"[i % 2], f"P{i // 3}"]
        for i in range(count)
    ]


def test_each_column_is_taken_for_what_it_holds(tmp_path):
    header = ["id", "file_name", "talk", "note", "mood", "age", "code", "empty", "y", "voice"]
    lines = [
        [f"{i + 1}", f"a/{i}.PNG", f"b/{i}.wav", f"a note {i}", ":)", f"{i % 7},5", f"x{i}z", ""]
        + ["ab"[i % 2], f"S{i % 4}"]
        for i in range(20)
    ]
    lines[3][1] = lines[4][5] = ""
    columns = find_columns(write(tmp_path, header, lines, separator=";"), None, None)
    assert (columns.label, columns.group, columns.separator) == ("y", "voice", ";")
    assert columns.files == ["file_name", "talk"]
    assert columns.texts == ["note", "mood"]
    assert columns.numbers == ["age"]
    (unused,) = [note.text for note in columns.notes if note.key == "unused"]
    assert "'id', 'code', 'empty' (" in unused


@pytest.mark.parametrize(
    "column, values, asked, found, key",
    [
        ("patient", "P{}", None, "patient", "group_guessed"),
        ("Speaker_ID", "{}", None, "Speaker_ID", "group_guessed"),
        ("who", "P{}", None, "who", "group_guessed"),
        ("who", "nobody knows {}", None, None, "no_group"),
        ("who", "nobody knows {}", "who", "who", "group_named"),
        ("patient", "P{}", "none", None, "no_group"),
    ],
)
def test_groups_are_named_or_guessed_and_it_is_said(tmp_path, column, values, asked, found, key):
    lines = [[f"note {i}", "ab"[i % 2], values.format(i // 3)] for i in range(18)]
    columns = find_columns(write(tmp_path, ["note", "label", column], lines), None, asked)
    assert columns.group == found
    assert [note.key for note in columns.notes if "group" in note.key] == [key]


def test_a_group_by_name_may_have_few_rows_a_group_by_form_not(tmp_path):
    lines = [[f"note {i}", "ab"[i % 2], f"T{max(i, 2)}"] for i in range(18)]
    for name, found in (("group", "group"), ("who", None)):
        columns = find_columns(write(tmp_path, ["note", "label", name], lines), None, None)
        assert columns.group == found


def test_a_column_of_numbers_with_gaps_does_not_cost_the_rows(tmp_path):
    lines = [[f"{i}.5", "" if i % 3 else "7.5", "ab"[i % 2]] for i in range(18)]
    folder = write(tmp_path, ["full", "gaps", "label"], lines)
    data = read_folder(folder, group="none")
    assert data.columns.numbers == ["full"] and len(data.rows) == 18 and not data.problems
    (said,) = [note.text for note in data.columns.notes if note.key == "gaps"]
    assert said.startswith("Not used: 'gaps', for its empty cells") and "12 rows have some" in said
    assert "or write words" in said


def test_numbers_that_words_turn_into_text_are_said(tmp_path):
    few = {1: "ca. 50", 2: "1.154,5", 6: "ca. 50", 8: ""}
    lines = [[few.get(i, f"{i},5"), f"a note {i}", "ab"[i % 2]] for i in range(12)]
    folder = write(tmp_path, ["Gewicht", "note", "label"], lines, separator=";")
    columns = find_columns(folder, None, "none")
    assert columns.texts == ["Gewicht", "note"]
    (said,) = [note.text for note in columns.notes if note.key == "text_of_numbers"]
    assert "'Gewicht' is read as words" in said
    assert "3 of its 11 cells" in said and "'ca. 50', '1.154,5'." in said


def test_every_dirty_row_of_the_example_is_named_and_no_other_is_lost(orders):
    folder, report = orders
    expected = {
        4: "no such file", 7: "not a picture", 10: "cut-off picture", 13: "broken sound",
        16: "out of the table's folder", 19: "ends like no picture", 22: "is no number",
        24: "decimal comma", 26: "names no class", 28: "names no class", 30: "names no class",
        32: "a text of blanks", 34: "the same as row 33", 36: "8 cells, expected 7",
        38: "the only row of class 'eggs'",
    }  # fmt: skip
    assert [problem.row for problem in report.problems] == list(expected)
    for problem in report.problems:
        assert expected[problem.row] in problem.reason
    data = read_folder(folder, "item")
    assert sorted([*data.rows, *expected]) == list(range(2, 92))
    assert min(sum(x is None for x in data.values[name]) for name in data.kinds) == 0
    assert all(any(x is None for x in data.values[name]) for name in ("image", "voice", "note"))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "gb18030", "utf-8-sig"])
def test_other_encodings_are_read_and_said(tmp_path, encoding):
    word = "很好的一天" if encoding == "gb18030" else "Größe über"
    lines = [[f"{word} {i}", "ab"[i % 2]] for i in range(12)]
    data = read_folder(write(tmp_path, ["note", "label"], lines, encoding=encoding))
    assert data.values["note"][3] == f"{word} 3"
    said = [note.text for note in data.columns.notes if note.key == "encoding"]
    assert len(said) == (encoding != "utf-8-sig") and all(encoding in text for text in said)


def test_a_file_in_other_capitals_and_the_tables_own_comma_are_hinted_at(tmp_path):
    dots(tmp_path / "Fotos", 12, lambda i: f"IMG {i}.JPG")
    lines = [[f"Fotos\\IMG {i}.JPG", f"{i},5", "ab"[i % 2]] for i in range(12)]
    lines[3][0], lines[5][0], lines[7][1] = "fotos/img 3.jpg", "Fotos/IMG 99.JPG", "1.250,00"
    data = read_folder(write(tmp_path, ["Foto", "Preis", "label"], lines, separator=";"))
    reasons = {problem.row: problem.reason for problem in data.problems}
    assert list(reasons) == [5, 7, 9] and len(data.rows) == 9
    assert reasons[5].endswith("; there is 'Fotos/IMG 3.JPG'")
    assert reasons[7] == "no such file: 'Fotos/IMG 99.JPG'"
    assert reasons[9].endswith("such as 3,5 or 3.5, without a point for thousands")


def test_a_class_that_stands_alone_is_hinted_at_and_an_empty_file_is_called_so(tmp_path):
    dots(tmp_path, 14, lambda i: f"ü {i}.png")
    lines = [[f"ü {i}.png", ["Vase", "coin"][i % 2]] for i in range(14)]
    lines[2][1], lines[4][1], lines[6][1] = "vase", "Vase?", "map"
    (tmp_path / "ü 9.png").write_bytes(b"")
    (tmp_path / "ü 11.png").write_bytes(b"words")
    data = read_folder(write(tmp_path, ["photo", "label"], lines), group="none")
    assert {problem.row: problem.reason for problem in data.problems} == {
        4: "the only row of class 'vase'; there is 'Vase'",
        6: "the only row of class 'Vase?'; there is 'Vase'",
        8: "the only row of class 'map'",
        11: "'ü 9.png': the file is empty",
        13: "'ü 11.png': not a picture in a format that Pillow knows",
    }


def numbered(count, label):
    return [[f"note {i}", label(i)] for i in range(count)]


def binary(folder):
    folder.mkdir()
    (folder / "metadata.csv").write_bytes(bytes(range(256)) * 4)
    return folder


BAD = {
    "no folder": (lambda f: f / "none", {}, "expected a folder with a CSV .* no such folder"),
    "no table": (lambda f: f.mkdir() or f, {}, "metadata.csv or exactly one CSV"),
    "two tables": (
        lambda f: [write(f, HEADER, rows(), name) for name in ("a.csv", "b.tsv")][0],
        {},
        r"got 2 tables: \['a.csv', 'b.tsv'\]",
    ),
    "an empty table": (lambda f: write(f, [], []), {}, "expected a first line with a different"),
    "only a header": (lambda f: write(f, HEADER, []), {}, "expected rows under the header"),
    "two equal columns": (lambda f: write(f, ["a", "a"], [[1, 2]]), {}, "different name for each"),
    "bytes": (binary, {}, "metadata.csv"),
    "no label": (
        lambda f: write(f, ["note", "size"], [["x", 1]]),
        {},
        r"label: no column is called label .*: --label NAME, one of \['note', 'size'\]",
    ),
    "a label in other capitals": (
        lambda f: write(f, HEADER, rows()),
        {"label": "LABEL"},
        r"label: 'LABEL' is not among the columns .*\. Did you mean 'label'\?$",
    ),
    "the beginning of a group": (
        lambda f: write(f, HEADER, rows()),
        {"group": "pat"},
        r"group: expected one of .*, got 'pat'\. Did you mean 'patient'\?$",
    ),
    "two labels": (
        lambda f: write(f, ["Class", "class"], [[1, 2]]),
        {},
        "'Class', 'class' may each be it",
    ),
    "another label": (lambda f: write(f, HEADER, rows()), {"label": "mood"}, "'mood' is not among"),
    "another group": (lambda f: write(f, HEADER, rows()), {"group": "who"}, "group: .*got 'who'"),
    "the label as group": (lambda f: write(f, HEADER, rows()), {"group": "label"}, "got 'label'"),
    "one class": (
        lambda f: write(f, ["note", "label"], numbered(9, lambda i: "a")),
        {},
        "expected at least 2 classes",
    ),
    "a number to predict": (
        lambda f: write(f, ["note", "label"], numbered(60, lambda i: f"{i / 7:.2f}")),
        {},
        "60 different numbers, from 0 to .*does not predict numbers",
    ),
    "a name for a label": (
        lambda f: write(f, ["note", "label"], numbered(60, lambda i: f"n{i} x")),
        {},
        "expected classes that come again, got 60 different ones",
    ),
    "nothing but a label": (lambda f: write(f, ["label"], [["a"], ["b"]]), {}, "learn from"),
    "two groups": (
        lambda f: write(f, HEADER, rows(6)),
        {"group": "patient"},
        "expected at least 2 classes and 3 groups",
    ),
    "four seeds": (lambda f: write(f, HEADER, rows()), {"seeds": 4}, "seeds: .*at least 5, got 4"),
    "out is a file": (
        lambda f: write(f, HEADER, rows()),
        {"out": __file__},
        "out: cannot write into",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_the_reader_can_mend_is_said_in_a_sentence(tmp_path, name, capsys):
    make, options, words = BAD[name]
    folder = make(tmp_path / "data")
    with pytest.raises(NotUsable, match=words):
        report_on(folder, **options)
    arguments = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    assert main([str(folder), *arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert said and "Traceback" not in said and len(said.splitlines()) == 1


def test_the_example_refuses_what_it_would_spoil(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(NotUsable, match="expected a new or empty one"):
        dirty_example(tmp_path)
    with pytest.raises(NotUsable, match="at least 40, got 3"):
        dirty_example(tmp_path / "new", rows=3)


def test_the_command_stops_with_two_and_without_a_trace():
    command = [sys.executable, "-m", "course_utils.your_data", "/no/such/folder"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert "/no/such/folder: no such folder" in done.stderr and "Traceback" not in done.stderr


def test_the_package_imports_light():
    code = (
        "import sys, course_utils.your_data;"
        "print([m for m in ('torch', 'sklearn', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_one_class_and_files_that_cannot_be_read_are_said(tmp_path):
    lines = [[*row[:2], "cat", row[3]] for row in rows()]
    with pytest.raises(NotUsable, match="at least 2 classes, got only 'cat' in all 12 rows"):
        find_columns(write(tmp_path, HEADER, lines), None, None)
    lines = [[*row, f"clips/{i}.mp4"] for i, row in enumerate(rows())]
    columns = find_columns(write(tmp_path, [*HEADER, "film"], lines), None, None)
    (said,) = [note.text for note in columns.notes if note.key == "other_files"]
    assert "'film', such as 'clips/0.mp4'" in said and columns.files == []


def test_a_spreadsheet_and_paths_that_all_fail_are_hinted(tmp_path):
    (tmp_path / "table.xlsx").write_bytes(b"PK")
    with pytest.raises(NotUsable, match="Save the spreadsheet as CSV"):
        read_folder(tmp_path)
    lines = [[*row, f"photos/{i}.JPG"] for i, row in enumerate(rows())]
    with pytest.raises(NotUsable, match="in the same capitals"):
        read_folder(write(tmp_path / "other", [*HEADER, "file_name"], lines))
