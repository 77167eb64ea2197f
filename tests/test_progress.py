"""Progress: what `check` notes, what is kept of it, and what a reader is told."""

import json
import os
import re
import subprocess
import sys
import types
from datetime import date

import pytest
from scipy.stats import binom

from course_utils import exercises, progress, report, rooms
from course_utils.exercises import check
from course_utils.progress import bins, fitting, show_guesses, show_progress
from course_utils.runtime import ROOT

TODAY = "2025-03-07"


class ThatDay(date):
    """Where it is always the same day: a run of the tests may cross midnight."""

    @classmethod
    def today(cls):
        return cls.fromisoformat(TODAY)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(exercises, "date", ThatDay)
    folder = tmp_path / "mine"
    monkeypatch.setenv("COURSE_HOME", str(folder))
    return folder


@pytest.fixture
def course(tmp_path, monkeypatch):
    """Two pages, one of them without exercises, and a draft."""
    house = tmp_path / "house"
    for name, text in {
        "40_first/page.py": "# %% [markdown]\n# # Does it add?\n"
        "# > **Exercise 40.1 · Add, then halve** — *3 minutes · core*\n"
        "# > **Exercise 40.2 · Twice** — *3 minutes · core*\n",
        "41_second/page.py": "# %% [markdown]\n# # Only words\n",
        "42_draft/exercises.py": "EXERCISES = []\n",
    }.items():
        (house / name).parent.mkdir(parents=True, exist_ok=True)
        (house / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(rooms, "ROOMS", house)
    return house


def noted(home):
    return json.loads((home / "exercises.json").read_text(encoding="utf-8"))


def write(home, name="exercises", **entries):
    home.mkdir(exist_ok=True)
    notes = {key.replace("_", "."): said for key, said in entries.items()}
    (home / f"{name}.json").write_text(json.dumps(notes), encoding="utf-8")


def wrong(values, t):
    return 0.0, 1.0


def solve():
    """The reference is a right answer to its own exercise."""
    check("09.1", exercises.reference("09.1"))


# ---- what check notes ----


def test_a_verdict_is_noted_beside_the_guesses(home, capsys):
    report.guess("09.a", 0.5)
    check("09.1", wrong)
    assert noted(home) == {"09.1": {"right": False}}
    solve()
    assert noted(home) == {"09.1": {"right": True, "solved": TODAY}}
    assert {path.name for path in home.glob("*.json")} == {"exercises.json", "guesses.json"}


@pytest.mark.parametrize("stub", [..., lambda values, t: ...], ids=["dots", "body of dots"])
def test_a_stub_notes_nothing(stub, home, capsys):
    check("09.1", stub)
    assert "not attempted yet" in capsys.readouterr().out
    assert not home.exists()


def test_what_returns_the_dots_in_the_end_notes_nothing(home, capsys):
    def unfinished(values, t):
        mean = sum(values)
        return ... if mean else ...

    check("09.1", unfinished)
    assert "not attempted yet" in capsys.readouterr().out
    assert not home.exists()


def test_what_is_solved_stays_with_its_first_day(home, capsys):
    write(home, **{"09_1": {"right": True, "solved": "2025-01-31"}})
    check("09.1", ...)
    assert noted(home) == {"09.1": {"right": True, "solved": "2025-01-31"}}
    check("09.1", wrong)
    assert noted(home) == {"09.1": {"right": False, "solved": "2025-01-31"}}
    solve()
    assert noted(home) == {"09.1": {"right": True, "solved": "2025-01-31"}}


def test_what_an_older_edition_noted_is_kept(home, capsys):
    old = {"00.9": {"right": True, "solved": "2025-01-31", "points": 3}, "x": {}}
    write(home, **{key.replace(".", "_"): said for key, said in old.items()})
    solve()
    assert noted(home) == old | {"09.1": {"right": True, "solved": TODAY}}


def test_grading_notes_nothing(home, monkeypatch, capsys):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(AssertionError):
        check("09.1", wrong)
    assert not home.exists()


def test_without_the_repository_nothing_is_noted(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rooms, "ROOMS", tmp_path / "missing")
    check("09.1", wrong)
    assert "not checked" in capsys.readouterr().out
    assert not home.exists()


# ---- where the folder takes nothing ----


def no_folder(home):
    home.write_text("a file where the folder should be")


def no_rename(home):
    (home / "exercises.json").mkdir(parents=True)


def damaged(home):
    home.mkdir()
    (home / "exercises.json").write_text("{")


def another_type(home):
    write(home, **{"09_1": {"right": True, "solved": 7}})


@pytest.mark.parametrize("spoil", [no_folder, no_rename, damaged, another_type])
def test_a_folder_that_takes_nothing_stops_no_page(spoil, home, capsys):
    spoil(home)
    before = {path: path.is_file() and path.read_text() for path in [home, *home.rglob("*.json")]}
    check("09.1", wrong)
    solve()
    check("09.1", wrong)
    show_progress()
    out = capsys.readouterr().out
    assert out.count("kept only while this notebook runs") == 1 and out.count("cases).") == 1
    assert f"09.1 ({TODAY})" in out  # from memory
    for path, text in before.items():
        assert (path.is_file() and path.read_text()) == text


def test_a_disk_that_knows_no_locks_stops_no_page(home, monkeypatch, capsys):
    import filelock

    def refuses(*args, **options):
        raise NotImplementedError("use SoftFileLock instead")

    monkeypatch.setattr(filelock, "FileLock", refuses)
    solve()
    assert "use SoftFileLock instead. What you note is kept only" in capsys.readouterr().out


def test_two_processes_lose_nothing(home):
    """Two notebooks check exercises at once, and both one that the other has just solved."""
    code = (
        "import pathlib, sys, time\n"
        "from course_utils.report import note\n"
        "me, other, day = sys.argv[1:]\n"
        "pathlib.Path(me).touch()\n"
        "while not pathlib.Path(other).exists():\n"
        "    time.sleep(0.001)\n"
        "for k in range(60):\n"
        "    note('exercises', f'{me}.{k}', {'right': True}, first={'solved': day})\n"
        "    note('exercises', 'both', {'right': False, me: k}, first={'solved': day})\n"
    )
    home.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    two = [
        subprocess.Popen(
            [sys.executable, "-c", code, *names], cwd=home.parent, env=environment, stdout=-1
        )
        for names in (("40", "41", "2026-01-01"), ("41", "40", "2026-01-02"))
    ]
    assert [one.communicate()[0] for one in two] == [b"", b""]
    notes = noted(home)
    last = notes.pop("both")
    assert last.pop("solved") in ("2026-01-01", "2026-01-02")
    assert last == {"right": False, "40": 59, "41": 59}
    assert set(notes) == {f"{page}.{k}" for page in (40, 41) for k in range(60)}
    assert {said["solved"] for key, said in notes.items() if key < "41"} == {"2026-01-01"}


# ---- what arrives at the reader: exercises ----


def shown(capsys):
    show_progress()
    return capsys.readouterr().out.splitlines()


def test_without_notes_all_is_open_and_nothing_is_written(course, home, capsys):
    assert shown(capsys) == [
        f"Your notes: {home}",
        "",
        "0 of 2 exercises are solved.",
        "40  0 of 2   Does it add?",
        "             open: 40.1 Add, then halve; 40.2 Twice",
        "41  no exercises Only words",
        "",
        "No guess is made yet.",
    ]
    assert not home.exists()


def test_what_is_solved_and_what_was_tried_is_told(course, home, capsys):
    write(home, **{"40_2": {"right": False, "solved": "2025-01-31"}, "40_1": {"right": False}})
    assert shown(capsys)[2:6] == [
        "1 of 2 exercises are solved.",
        "40  1 of 2   Does it add?",
        "             solved: 40.2 (2025-01-31)",
        "             open: 40.1 Add, then halve (tried)",
    ]


def test_a_page_that_is_solved_has_nothing_open(course, home, capsys):
    both = {key: {"right": True, "solved": TODAY} for key in ("40_1", "40_2")}
    write(home, **both)
    lines = shown(capsys)
    assert lines[2:4] == ["2 of 2 exercises are solved.", "40  2 of 2   Does it add?"]
    assert not any("open:" in line for line in lines)


def test_exercises_of_another_edition_are_told_apart(course, home, capsys):
    old = {"right": True, "solved": "2025-01-31"}
    write(home, **{"40_9": old, "99_1": old, "x": {"right": True}, "": old})
    lines = shown(capsys)
    assert lines[2] == "0 of 2 exercises are solved."
    at = lines.index("Exercises that this edition of the course does not have:")
    assert lines[at + 1].split(": ")[1].endswith("40.9 (2025-01-31); 99.1 (2025-01-31)")


@pytest.mark.parametrize("notes", [{}, {"40_1": {"right": True, "solved": "2025-01-31"}}])
def test_without_the_repository_it_says_so(notes, home, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rooms, "ROOMS", tmp_path / "missing")
    write(home, **notes)
    lines = shown(capsys)
    assert lines[2].startswith("What is open is not known: the pages lie in the course's")
    one = "             solved: 40.1 (2025-01-31)" if notes else "No exercise is solved yet."
    assert lines[3] == one and lines[4] == ""


def test_every_exercise_of_the_course_is_listed_by_its_name():
    found = progress.pages()
    assert {page: list(listed) for page, (_, listed) in found.items()} == {
        page: exercises.keys(page) for page in found
    }
    assert len(found) > 10 and sum(len(listed) for _, listed in found.values()) > 30
    assert found["00"][1]["00.2"] == "Accuracy" and "?" in found["00"][0]


def test_no_line_is_longer_than_a_page_shows(home, capsys):
    solved = {key: TODAY for _, listed in progress.pages().values() for key in listed}
    write(home, **{key.replace(".", "_"): {"solved": day} for key, day in solved.items()})
    lines = shown(capsys)[1:]
    write(home)
    lines += shown(capsys)[1:]
    assert max(map(len, lines)) <= 100


def test_the_command_prints_it(tmp_path, monkeypatch):
    home = tmp_path / "größer"
    monkeypatch.setenv("COURSE_HOME", str(home))
    write(home, **{"00_2": {"right": True, "solved": "2025-01-31"}})
    done = subprocess.run(
        [sys.executable, "-m", "course_utils.progress"],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},  # a terminal that lacks most signs
        capture_output=True,
        text=True,
    )
    assert done.stderr == "" and done.returncode == 0
    assert f"Your notes: {tmp_path}/gr??er\n" in done.stdout
    assert "solved: 00.2 (2025-01-31)" in done.stdout


# ---- what arrives at the reader: guesses ----


def made(*groups):
    """Guesses from (how sure, how many right, how many wrong)."""
    said = [
        {"answer": 1, "sure": sure, "right": kind}
        for sure, right, missed in groups
        for kind in [True] * right + [False] * missed
    ]
    return {f"40.{k}": one for k, one in enumerate(said)}


def told(capsys, guesses):
    show_guesses(guesses)
    return capsys.readouterr().out.splitlines()


def test_too_few_guesses_are_counted_and_not_judged(capsys):
    waiting = {"41.a": {"answer": 1, "sure": 1.0, "right": None}, "41.b": {"answer": 1, "sure": 0}}
    assert told(capsys, made((0.9, 4, 5)) | waiting) == [
        "11 guesses, 9 with a result.",
        "             result not seen yet: 41.a; 41.b",
        "4 of 9 right. Too few to say if you are as often right as you are sure: 10 are needed.",
    ]


def test_one_guess(capsys):
    assert told(capsys, made((0.9, 0, 1)))[0] == "1 guess, 1 with a result."


@pytest.mark.parametrize(
    "groups, says",
    [
        ([(0.9, 5, 5)], "You were right less often than you were sure."),
        ([(0.6, 10, 0)], "You were right more often than you were sure."),
        ([(0.7, 7, 3)], "All together that fits; 10 results show only a larger difference."),
        ([(1.0, 10, 0)], "All together that fits"),
        ([(1.0, 9, 1)], "You were right less often"),
        ([(0.0, 1, 9)], "You were right more often"),
    ],
)
def test_guesses_are_judged_by_what_chance_allows(groups, says, capsys):
    assert told(capsys, made(*groups))[-1].startswith(says)


def test_how_sure_stands_beside_how_often_right(capsys):
    lines = told(capsys, made((0.5, 3, 2), (0.7, 2, 3), (0.9, 5, 1)))
    assert lines[-5:-1] == [
        "             50% sure:          3 of  5 right, 60%; 50% sure on average, fits 0 to 5",
        "             70% sure:          2 of  5 right, 40%; 70% sure on average, fits 1 to 5",
        "             90% sure:          5 of  6 right, 83%; 90% sure on average, fits 4 to 6",
        "             all:              10 of 16 right, 62%; 71% sure on average, fits 8 to 14",
    ]


def test_guesses_that_make_no_sense_are_left_out(capsys):
    odd = {"a": {"answer": 1, "sure": 7, "right": True}}
    odd["b"] = {"answer": 1, "sure": float("nan"), "right": False}
    odd["c"] = {"answer": 1, "sure": -0.5, "right": False}
    assert told(capsys, made((0.5, 5, 5)) | odd)[0] == "13 guesses, 10 with a result."


def test_a_result_without_a_guess_is_none(home, course, capsys):
    write(home, "guesses", **{"40_a": {"right": True}})
    assert shown(capsys)[-1] == "No guess is made yet."


@pytest.mark.parametrize("sure", [0.0, 0.1, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("number", [1, 5, 12, 40])
def test_what_fits_is_what_the_binomial_distribution_says(sure, number):
    expected = binom.ppf([0.025, 0.975], number, sure).clip(min=0)
    assert fitting([sure] * number) == tuple(expected)


def test_what_fits_where_each_was_sure_in_its_own_way():
    """All 32 ways in which five guesses can go, counted one by one."""
    sures = [0.2, 0.5, 0.6, 0.9, 0.99]
    chance = [0.0] * 6
    for way in range(32):
        rights = [way >> k & 1 for k in range(5)]
        one = 1.0
        for right, sure in zip(rights, sures):
            one *= sure if right else 1 - sure
        chance[sum(rights)] += one
    low, high = fitting(sures)
    assert sum(chance[:low]) <= 0.025 < sum(chance[: low + 1])
    assert sum(chance[high + 1 :]) <= 0.025 < sum(chance[high:])


@pytest.mark.parametrize(
    "sures, sizes",
    [
        ([0.5] * 12, [12]),
        ([0.5] * 6 + [0.9] * 6, [6, 6]),
        ([0.5] * 9 + [0.9], [10]),
        ([k / 40 for k in range(40)], [10, 10, 10, 10]),
        ([0.5] * 3 + [0.6] * 3 + [0.7] * 9, [6, 9]),
        ([k / 11 for k in range(11)], [5, 6]),
    ],
)
def test_groups_are_large_enough_and_cut_between_no_equals(sures, sizes):
    groups = bins([(sure, k % 2 == 0) for k, sure in enumerate(reversed(sures))])
    assert [len(group) for group in groups] == sizes
    assert [sure for group in groups for sure, _ in group] == sorted(sures)


# ---- Colab ----

DRIVE = re.compile(r"^import os; from google.*$", re.M)


@pytest.mark.parametrize("name", ["README.md", "notebooks/TEACHING.md"])
def test_the_line_for_drive_keeps_the_notes_there(name, tmp_path, monkeypatch, capsys):
    [line] = DRIVE.findall((ROOT / name).read_text(encoding="utf-8"))
    mounted = []
    drive = types.SimpleNamespace(mount=mounted.append)
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(drive=drive))
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "else"))  # put back after the test
    exec(line.replace("/content", str(tmp_path)))
    assert mounted == [f"{tmp_path}/drive"]
    solve()
    assert "09.1" in noted(tmp_path / "drive" / "MyDrive" / "my_course")
