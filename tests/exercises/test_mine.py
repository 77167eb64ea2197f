"""`mine`: what a page goes on with after an exercise; and `check` and `mine` wherever they run."""

import os
import shutil
import subprocess
import sys

import pytest
from by_hand import define

from course_utils import exercises
from course_utils.exercises import check, mine
from course_utils.rooms import NoRoom, load
from course_utils.runtime import ROOT

REFERENCE = load("09", "exercises").seed_interval
RIGHT = """
def f(values, t):
    mean = sum(values) / len(values)
    s = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return mean, t * s / len(values) ** 0.5
"""
WRONG = "def f(values, t): return 0.0, 1.0"
STUB = "def f(values, t):\n    '''Mean and half-width.'''\n    ..."


@pytest.fixture(autouse=True)
def nothing_checked(monkeypatch):
    monkeypatch.setattr(exercises, "_accepted", {})
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)


def test_the_readers_own_after_check_has_accepted_it(capsys):
    answer = define(RIGHT)
    check("09.1", answer)
    capsys.readouterr()
    assert mine("09.1", answer) is answer
    assert capsys.readouterr().out == "09.1: yours\n"


@pytest.mark.parametrize("answer", [define(STUB), ...], ids=["stub", "dots"])
def test_the_courses_for_what_is_not_written_yet(answer, capsys):
    check("09.1", answer)
    capsys.readouterr()
    assert mine("09.1", answer) is REFERENCE
    assert capsys.readouterr().out == "09.1: the course's, because yours is not written yet\n"


@pytest.mark.parametrize("code, checked", [(WRONG, True), (WRONG, False), (RIGHT, False)])
def test_the_courses_for_what_check_has_not_accepted(code, checked, capsys):
    answer = define(code)
    if checked:
        check("09.1", answer)
    capsys.readouterr()
    assert mine("09.1", answer) is REFERENCE
    assert capsys.readouterr().out == "09.1: the course's, because check has not accepted yours\n"


def test_a_function_written_again_has_to_be_checked_again(capsys):
    first, again = define(RIGHT), define(RIGHT)
    check("09.1", first)
    assert mine("09.1", again) is REFERENCE
    check("09.1", again)
    assert mine("09.1", again) is again
    assert mine("09.1", first) is REFERENCE


def test_what_one_exercise_accepted_is_not_another_ones(capsys):
    answer = define(RIGHT)
    check("09.1", answer)
    assert mine("09.2", answer) is exercises.reference("09.2")


def test_an_unknown_key_is_an_error():
    with pytest.raises(ValueError, match="no exercise '00.9': page 00 has 00.1"):
        mine("00.9", define(RIGHT))


# ---- in other places ----

PAGE = f"""
from course_utils.exercises import check, mine
space = {{}}
exec({RIGHT!r}, space)
check("09.1", space["f"])
print(mine("09.1", space["f"]) is space["f"])
exec({WRONG!r}, space)
try:
    check("09.1", space["f"])
except AssertionError as error:
    print("raised", error)
print(mine("09.1", space["f"]) is space["f"])
"""


def run(code, package, cwd, **environment):
    """What the code prints in a process of its own, where `package` is all that is found."""
    settings = {name: value for name, value in os.environ.items() if name != "NBGRADER_EXECUTION"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**settings, "PYTHONPATH": str(package), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "place, grading", [("notebooks", False), ("elsewhere", False), ("elsewhere", True)]
)
def test_check_and_mine_find_the_course_from_every_folder(place, grading, tmp_path):
    cwd = ROOT / "notebooks" if place == "notebooks" else tmp_path
    environment = {"NBGRADER_EXECUTION": "autograde"} if grading else {}
    lines = run(PAGE, ROOT, cwd, **environment)
    assert lines[:3] == ["Exercise 09.1 · right (8 cases).", "09.1: yours", "True"]
    refused = "raised Exercise 09.1" if grading else "Exercise 09.1"
    assert lines[3].startswith(f"{refused} · not right yet: ")
    assert lines[-2:] == ["09.1: the course's, because check has not accepted yours", "False"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The package without the course's repository, as a plain `pip install` leaves it."""
    folder = tmp_path_factory.mktemp("site")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "course_utils", folder / "course_utils", ignore=ignore)
    return folder


def test_without_the_repository_a_page_goes_on(alone):
    lines = run(PAGE, alone, alone)
    text = " ".join(line.strip() for line in lines)
    why = "what belongs to this page lies in the course's repository"
    assert text.count(f"Exercise 09.1 · not checked: page 09: {why}") == 2
    assert text.count(f"09.1: yours, unchecked: page 09: {why}") == 2
    assert lines.count("True") == 2 and "Traceback" not in text


def test_without_the_repository_nothing_is_graded_as_right(alone):
    lines = run(
        "from course_utils.exercises import check\n"
        "try:\n    check('09.1', lambda values, t: 0)\n"
        "except AssertionError as error:\n    print('raised', error)",
        alone,
        alone,
        NBGRADER_EXECUTION="autograde",
    )
    assert len(lines) == 1 and lines[0].startswith("raised Exercise 09.1 · not checked: page 09: ")


def test_without_the_repository_there_is_no_reference(monkeypatch, tmp_path):
    monkeypatch.setattr("course_utils.rooms.ROOMS", tmp_path)
    with pytest.raises(NoRoom, match="the installed package alone does not bring it"):
        exercises.reference("09.1")
