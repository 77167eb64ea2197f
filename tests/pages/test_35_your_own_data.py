"""What page 35 says of its stored runs, of its folders, and of what pandas lets through."""

import re
from functools import partial

import numpy as np
import pytest
from reading import gain, printed, said, the_cell

from course_utils.exercises import _find, reference, verdict
from course_utils.metrics import mean_interval
from course_utils.rooms import load, room, stored
from course_utils.runtime import ROOT
from course_utils.your_data import dirty_example
from course_utils.your_data.folder import read_folder

cell = partial(the_cell, "35")


@pytest.fixture(scope="module")
def text():
    return said("35")


@pytest.fixture(scope="module")
def page():
    """The page's own tools: all that its measured cells define."""
    import sys

    sys.path.insert(0, str(ROOT / "tools"))
    from sweep import measured_cells

    return measured_cells("35")


def percent(name, row):
    mean, half = mean_interval([100 * value for value in stored("35", name)[row]["accuracy"]])
    return f"{mean:.1f} ± {half:.1f}"


def mean_of(name, row):
    return mean_interval([100 * value for value in stored("35", name)[row]["accuracy"]])[0]


# ---- the folder ----


@pytest.fixture(scope="module")
def orders(tmp_path_factory):
    return dirty_example(tmp_path_factory.mktemp("orders") / "orders")


def test_the_example_is_as_the_page_says(text, orders):
    data = read_folder(orders, label="item")
    assert len(data.rows) == 185 and "185 rows used, fifteen named" in text
    assert len(data.problems) == 15 and "Which of these fifteen" in text
    assert len(set(data.groups.tolist())) == 40 and "by forty people" in text


def test_pandas_lets_through_what_is_said(text, orders):
    pandas = pytest.importorskip("pandas")
    with pytest.raises(pandas.errors.ParserError) as error:
        pandas.read_csv(orders / "metadata.csv")
    assert '"Expected 7 fields in line 36, saw 8"' in text
    assert "Expected 7 fields in line 36, saw 8" in str(error.value)
    table = pandas.read_csv(orders / "metadata.csv", on_bad_lines="skip")
    assert len(table) == 199 and "the other fourteen come through" in text
    assert table[["price", "item", "speaker"]].isna().sum().tolist() == [1, 2, 1]
    assert table["price"].dtype == float and table["weight"].dtype != float
    names = table["file_name"].dropna().tolist() + table["voice_file_name"].dropna().tolist()
    for lost in ("lost.png", "page.jpg", "cut.png", "noise.wav", "elsewhere.png", "notes.docx"):
        assert any(name.endswith(lost) for name in names)
    assert (table["note"] == "   ").sum() == 1 and "eggs" in set(table["item"])
    assert table.duplicated().sum() == 1


# ---- the bet ----


def test_the_bet_in_numbers(text):
    assert f"the note says {percent('people', 'much: by rows')} %" in text
    assert f"nobody on both sides {percent('people', 'much: by person')} are left" in text
    low = np.array(stored("35", "people")["much: by person"]["accuracy"])
    mean, half = mean_interval(100 * low)
    assert mean + half < 85 and "For this folder Ben is right." in text
    for C in ("0.01", "1"):
        for split in ("by rows", "by person"):
            plain = mean_of("people", f"much: {split}")
            assert abs(mean_of("people", f"much, C = {C}: {split}") - plain) <= 1
    alone = [mean_of("people", f"much, {m} alone: {s}") for m in ("image", "text")
             for s in ("by rows", "by person")]  # fmt: skip
    assert "(alone {:.1f} and {:.1f}; the texts {:.1f} and {:.1f})".format(*alone) in text
    for split in ("by rows", "by person"):
        runs = stored("35", "people")[f"much, shuffled: {split}"]["accuracy"]
        mean, half = mean_interval([100 * value for value in runs])
        assert abs(mean - 50) < min(half, 1.5)
    assert text.count("both splits say about 50") == 1


def test_the_dial_in_numbers(text):
    shares = ("a little", "some", "much")
    for share in shares:
        mean, half = mean_interval(
            [100 * v for v in stored("35", "people")[f"{share}: by rows"]["accuracy"]]
        )
        assert abs(mean - 94) < min(half, 1)
    three = [percent("people", f"{share}: by person") for share in shares]
    assert "By person the three have {}, {} and {} %".format(*three) in text
    runs = [stored("35", "people")[f"{share}: by person"]["accuracy"] for share in shares]
    quiet, middle, loud = (mean_interval([100 * v for v in one]) for one in runs)
    assert quiet[0] - quiet[1] > 85 > loud[0] + loud[1]
    assert abs(middle[0] - 85) < middle[1] and "in the middle ten folders cannot tell" in text
    folders = load("35", "sweeps").FOLDERS
    assert folders["much"] == (1.0, 0.19) and "`person` 1.0 and `illness` 0.19" in text


def test_classes_by_lot_and_the_person_taken_out_in_numbers(text):
    lot = mean_of("people", "much, classes by lot: by rows")
    assert f'outcome("35.a", {lot:.0f}, within=5)' in text
    assert f"{percent('people', 'much, classes by lot: by rows')} % by rows" in text
    mean, half = mean_interval(
        [100 * v for v in stored("35", "people")["much, classes by lot: by person"]["accuracy"]]
    )
    assert abs(mean - 50) < half and "that is a guess, 50 %" in text
    rows = [f"much, the person taken out: {split}" for split in ("by rows", "by person")]
    assert "agree, {} and {}".format(*(percent("people", row) for row in rows)) in text
    one, other = (stored("35", "people")[row]["accuracy"] for row in rows)
    mean, half = gain(one, other, seeds=10)
    assert abs(mean) < half
    assert load("35", "sweeps").LEFT_OUT["much, the person taken out"] == (0.0, 0.19)


def test_by_lot_the_class_says_nothing_but_who_it_is(page):
    rows = page["people_rows"](1.0, 0.19, 3)
    lot = page["people_rows"](1.0, 0.19, 3, lot=True)
    assert len(rows) == 200 and len({row["person"] for row in rows}) == 20
    changed = [a["label"] != b["label"] for a, b in zip(rows, lot)]
    assert 0 < sum(changed) < 200
    for one, other in zip(rows, lot):
        assert {k: v for k, v in one.items() if k != "label"} == {
            k: v for k, v in other.items() if k != "label"
        }
    for table in (rows, lot):
        assert len({(row["person"], row["label"]) for row in table}) == 20
        assert sum(row["label"] == "ill" for row in table) == 100


def test_a_split_by_rows_is_the_fault(capsys, page):
    from sklearn.model_selection import train_test_split

    names = {"rows": page["people_rows"](1.0, 0.19, 0), "train_test_split": train_test_split}
    assert printed(capsys, cell("train_test_split(range"), names) == "False"
    assert printed(capsys, cell("GroupShuffleSplit(1"), names) == "True"


def test_score_keeps_people_apart(page, monkeypatch):
    seen = []

    def keep(model, x, y, cv):
        seen.append([(set(a), set(b)) for a, b in cv.split(x, y)])
        return np.zeros(5)

    monkeypatch.setitem(page["score"].__globals__, "cross_val_score", keep)
    rows = page["people_rows"](1.0, 0.19, 0)
    columns = page["modalities"](rows)["image"]
    page["score"](rows, columns, "person")
    page["score"](rows, columns)
    for splits, apart in zip(seen, (True, False)):
        assert len(splits) == 5
        for train, test in splits:
            shared = {rows[i]["person"] for i in train} & {rows[i]["person"] for i in test}
            assert (not shared) == apart


def test_what_your_report_calls_noise_in_the_folder_of_the_bet(text, page, tmp_path):
    import csv

    rows = page["people_rows"](1.0, 0.19, 0)
    with open(tmp_path / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        csv.DictWriter(file, list(rows[0])).writerows([dict(zip(rows[0], rows[0])), *rows])
    assert reference("35.1")(tmp_path) == ["leak by group", "noise: text"]
    row = percent("people", "much, text alone: by person")
    assert f"split by person the text has {row} %" in text


# ---- exercises ----


def test_the_page_goes_on_with_another_report(accepted):
    code = load("35", "answers").RIGHT["35.1"][0]
    exec(code, names := {"np": np, "__name__": "__main__"})
    assert accepted("35.1", names["f"]) == (names["f"], "35.1: yours\n")


@pytest.mark.parametrize(
    "said_always",
    [[], ["group"], ["group", "file name", "too small", "noise: image"], ["group or noise"]],
)
def test_a_report_that_says_the_same_of_all_is_refused(said_always):
    right, words = verdict(_find("35.1"), lambda folder: said_always)
    assert not right and "in this folder of" in words


NOISE = ((1, "sound"), (4, "sound"), (7, "image"))


@pytest.mark.parametrize("kind", range(9))
def test_each_hidden_folder_has_its_traps_by_the_pages_own_tools(page, tmp_path, kind):
    """The page's classifier, not the checker's, and no judgement near its border."""
    exercises = load("35", "exercises")
    assert len(exercises.CLEAR) == exercises.FOLDERS == 9
    assert len(set(exercises.CLEAR[kind])) == 12
    for draw in range(12):
        rows = page["read_rows"](exercises.hidden(10 * draw + kind, tmp_path))
        inputs = page["modalities"](rows)
        assert list(inputs) == ["image", "sound"]
        apart = "person" if "person" in rows[0] else None
        small = kind in (3, 6)
        assert small == (len(rows) < 150 or apart and len({r["person"] for r in rows}) < 10 or 0)
        if small:
            continue
        every = sum(inputs.values(), [])
        lead = page["score"](rows, every) - page["score"](rows, every, apart)
        assert lead > 0.13 if kind == 1 else lead < 0.07
        for name, columns in inputs.items():
            alone = page["score"](rows, columns, apart)
            lead = alone - page["score"](rows, columns, apart, shuffled=True)
            assert lead < 0.085 if (kind, name) in NOISE else lead > 0.125


@pytest.mark.parametrize("draw", range(0, 12, 3))
def test_the_checkers_own_report_says_the_same_of_each_draw(draw):
    exercises = load("35", "exercises")
    for kind in range(9):
        asked = exercises._ask(exercises.my_report, 10 * draw + kind)["found"]
        assert asked == exercises._ask(exercises.my_report, kind)["found"]


def test_a_folder_is_the_same_each_time_and_another_by_its_draw(tmp_path):
    hidden = load("35", "exercises").hidden
    one = hidden(3, tmp_path / "a") / "metadata.csv"
    other = hidden(3, tmp_path / "b") / "metadata.csv"
    assert one.read_bytes() == other.read_bytes()
    assert one.read_bytes() != (hidden(13, tmp_path) / "metadata.csv").read_bytes()


# ---- the interval ----


def test_the_interval_in_numbers(text):
    held = {name: 100 * np.mean(row["accuracy"]) for name, row in stored("35", "held").items()}
    assert f"holds the truth in {held['usual, 5 splits']:.0f} % of them" in text
    assert f"with 25 splits in {held['usual, 25 splits']:.0f}:" in text
    for name in ("corrected, 5 splits", "corrected, 25 splits"):
        assert round(held[name]) == 97
    assert "The corrected one holds it in 97 %" in text
    assert f"need no correction ({held['usual, 5 new data sets']:.0f} %)" in text
    assert load("35", "sweeps").DRAWS * 10 == 2000 and "2,000 data sets from a known source" in text


def test_the_examples_of_the_equation_are_right(text):
    usual, wide = (1 / 5) ** 0.5, (1 / 5 + 40 / 120) ** 0.5
    assert f"= {usual:.3f}$" in text and f"= {wide:.3f}$" in text
    assert f"{wide / usual:.2f} times as wide" in text
    assert f"$\\sqrt{{0.04}}$ becomes {(1 / 25 + 1 / 3) ** 0.5:.2f}" in text
    mean, half = reference("35.2")([0.7, 0.9], 1, 4)
    assert f"{mean:.1f} and {half:.3f}" in text
    assert f"± {100 * 1.96 * (0.25 / 30) ** 0.5:.0f} points" in text


# ---- three sets that are not ours ----


def of(which, *names):
    """As the page prints it: a mean, or a paired difference, by (35.1)."""
    rows = stored("35", "foreign")
    runs = [rows[f"{which}: {name}"]["accuracy"] for name in names]
    values = runs[0] if len(runs) == 1 else [a - b for a, b in zip(*runs)]
    about = rows[f"{which}: said"]
    mean, half = reference("35.2")(values, about["test"], about["train"])
    return f"{100 * mean:.1f} ± {100 * half:.1f}"


def test_the_texts_gain_is_gone_over_the_emoticons(text):
    rows = stored("35", "foreign")
    assert rows["texts: single"] == rows["texts: text"]
    assert mean_of("foreign", "texts: emoticon") > mean_of("foreign", "texts: text")
    wide = of("texts", "fusion", "emoticon")
    mean, half = (float(one) for one in wide.split(" ± "))
    assert f"over them it is {wide}" in text and mean < half


@pytest.mark.parametrize("which", ["texts", "emoji", "digits"])
def test_the_foreign_sets_in_numbers(text, which):
    assert f"*{which.capitalize()}*: " in text
    part = text.partition(f"*{which.capitalize()}*: ")[2].partition("*")[0]
    assert of(which, "fusion", "single") in part
    keys = stored("35", "foreign")[f"{which}: said"]["keys"]
    assert ("too small to tell" in part) == ("too_small" in keys)
    assert ("no gain is seen" in part) == ("no_gain" in keys)
    assert ("leak by group" in part) == ("group_leak" in keys)


def test_the_check_by_hand_in_numbers(text):
    rows = stored("35", "foreign")

    def hand(name):
        return f"{100 * np.mean(rows[name]['accuracy']):.1f}"

    pairs = [("texts", "emoticon"), ("emoji", "image"), ("emoji", "name"), ("digits", "image")]
    for which, name in pairs:
        one, other = hand(f"{which}, by hand: {name}"), hand(f"{which}: {name}")
        assert f"{one} against {other}" in text
    glued = [hand(f"{which}, by hand: both") for which in ("texts", "emoji", "digits")]
    assert "in any of the three: texts {}, emoji {}, digits {}".format(*glued) in text
    for which, names in (
        ("texts", "text emoticon"),
        ("emoji", "image name"),
        ("digits", "image sound"),
    ):
        alone = [mean_of("foreign", f"{which}, by hand: {name}") for name in names.split()]
        assert mean_of("foreign", f"{which}, by hand: both") < max(alone) + 0.01
    majority = hand("texts, by hand: text")
    assert f"words at the majority, {majority}, against {of('texts', 'text')}" in text
    assert hand("texts: majority") == majority


# ---- what the built page prints ----


def lines_of(word):
    """What the one cell with this word in it has printed."""
    import json

    notebook = json.loads(next((ROOT / "notebooks").glob("35_*.ipynb")).read_text("utf-8"))
    cells = [
        c for c in notebook["cells"] if c["cell_type"] == "code" and word in "".join(c["source"])
    ]
    assert len(cells) == 1
    return "".join("".join(o.get("text", "")) for o in cells[0]["outputs"])


def test_the_report_of_the_example_in_words(text):
    said_there = lines_of("found = report_on(")
    assert "too small to tell" in said_there and "too small to tell* whether fusion gains" in text
    assert "- Leak by group" in said_there and "a *leak by group* after all" in text
    usual, corrected = (
        line.split(": ")[1].removesuffix(" points")
        for line in lines_of('(("usual", mean_interval(leads))').splitlines()
        if line.startswith("gain of")
    )
    assert f"{usual} points. By (35.1) it is {corrected}, and" in text
    low, high = (
        (float(one) for one in usual.split(" ± ")),
        (float(x) for x in corrected.split(" ± ")),
    )
    mean, half = low
    assert mean - half > 0
    mean, half = high
    assert mean - half < 0


def test_the_controls_of_the_example_in_words(text):
    leads = {}
    for line in lines_of("controls = next(").splitlines():
        if line.startswith("fusion, "):
            mean, half = re.findall(r"(-?[\d.]+) ± ([\d.]+)", line)[-1]
            leads[line.split(",")[1].split()[0]] = float(mean) - float(half)
    assert leads.pop("image") > 0 and "the fusion clearly needs the picture" in text
    assert len(leads) == 3 and all(low < 0 for low in leads.values())


# ---- looking back, and the class ----


@pytest.mark.parametrize(
    "page, words",
    [
        ("09", "a random split promised 31 points too many"),
        ("10", "58 and 69 % became 88"),
        ("10", "stay at chance on XOR"),
        ("19", "none of the 17 others"),
        ("19", "Every favourite can be broken by a choice of world"),
        ("28", "a projector in front of a frozen model"),
        ("28", "has 80 %, with another picture 39"),
    ],
)
def test_what_is_looked_back_on_stands_there(page, words):
    assert words in said(page)


def test_the_brief_for_a_class_stands_where_the_page_says(text):
    assert "[TEACHING.md](TEACHING.md)" in text
    brief = (ROOT / "notebooks" / "TEACHING.md").read_text(encoding="utf-8")
    part = brief.partition("## A project: a report on your own data")[2].partition("\n## ")[0]
    assert len(re.findall(r"^\| 4, ", part, re.M)) == 5


def test_the_bet_of_the_page_before_is_this_one(text):
    before = room("34") / "page.py"
    if not before.is_file():
        pytest.skip("page 34 is not here yet")
    assert 'guess("34.c", None)' in before.read_text(encoding="utf-8")
    assert 'outcome("34.c", "Ben")' in text
