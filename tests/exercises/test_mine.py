"""`mine`: what a page goes on with after an exercise; and `check` and `mine` wherever they run."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from by_hand import define

from course_utils import exercises
from course_utils.exercises import Exercise, check, mine, own
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


def doubled(x, scale):
    return 2 * x * scale


def batch():
    return torch.full((3, 2), 1 / 3, requires_grad=True), torch.tensor(7 / 9)


def accepted(answer, monkeypatch, **options):
    """An exercise on `doubled` that has accepted this answer."""
    cases = lambda: [(torch.ones(2), torch.tensor(0.5))]
    exercise = Exercise("00.1", doubled, cases, (), batch=batch, **options)
    monkeypatch.setattr(exercises, "_find", lambda key: exercise)
    monkeypatch.setattr(exercises, "_accepted", {"00.1": answer})
    return answer


OWN = {
    "another way": lambda x, scale: (x + x) * scale,
    "more in the graph": lambda x, scale: doubled(x, scale.clone().requires_grad_()),
}
BARRED = {
    "detached": (lambda x, scale: 2 * x.detach() * scale, "no gradient comes through yours to `x`"),
    "a list": (lambda x, scale: doubled(x, scale).tolist(), "no gradient comes through yours"),
    "another input": (
        lambda x, scale: 2 * torch.ones(3, 2, requires_grad=True) * scale,
        "no gradient comes through yours to `x`",
    ),
    "only small": (
        lambda x, scale: doubled(x[:2].reshape(1, 2), scale).expand(3, 2),
        "yours raised RuntimeError: shape",
    ),
}


@pytest.mark.parametrize("answer", OWN.values(), ids=list(OWN))
def test_a_right_answer_with_gradients_is_taken(answer, monkeypatch, capsys):
    accepted(answer, monkeypatch)
    assert mine("00.1", answer) is answer
    assert capsys.readouterr().out == "00.1: yours\n"


@pytest.mark.parametrize("answer, why", BARRED.values(), ids=list(BARRED))
def test_an_answer_that_the_page_cannot_train_with_is_not(answer, why, monkeypatch, capsys):
    accepted(answer, monkeypatch)
    assert mine("00.1", answer) is doubled
    assert capsys.readouterr().out.startswith(f"00.1: the course's, because {why}")


NARROW = {
    "a float32 tensor of its own": (
        lambda x, scale: torch.zeros(x.shape).add(doubled(x, scale).float()),
        "yours gives torch.float32 where its input is torch.float64",
    ),
    "float32 and float64 mixed": (
        lambda x, scale: x @ torch.eye(2) * 2 * scale,
        "yours raised RuntimeError: ",
    ),
}


@pytest.mark.parametrize("answer, why", NARROW.values(), ids=list(NARROW))
def test_an_answer_of_fewer_digits_than_the_page_compares_is_not_taken(
    answer, why, monkeypatch, capsys
):
    accepted(answer, monkeypatch)
    assert mine("00.1", answer) is answer  # a page that trains only
    accepted(answer, monkeypatch, verified=True)
    assert mine("00.1", answer) is doubled
    assert why in capsys.readouterr().out.replace("\n", " ")


def test_where_the_reference_is_in_float32_answers_may_be(monkeypatch, capsys):
    for reference in (
        lambda x, scale: doubled(x, scale).float(),  # it gives float32 on any input
        lambda x, scale: x @ torch.eye(2) * 2 * scale,  # it takes float32 alone
    ):
        answer = NARROW["a float32 tensor of its own"][0]
        accepted(answer, monkeypatch, verified=True)
        object.__setattr__(exercises._find("00.1"), "reference", reference)
        assert mine("00.1", answer) is answer


@pytest.mark.parametrize(
    "seconds, times",
    [(0.049, 0), (0.051, 5), (3.7, 370), (0.0019, 0)],
    ids=["4.9 times", "5.1 times", "370 times", "too quick to be felt"],
)
def test_an_answer_that_is_much_slower_is_not_taken(seconds, times, monkeypatch, capsys):
    now = [0.0]
    theirs = 0.01 if seconds > 0.01 else 1e-5

    def slow(x, scale):
        # the first two rounds are disturbed: the best of three counts
        now[0] += seconds * next(rounds, 1)
        return doubled(x, scale)

    def quick(x, scale):
        now[0] += theirs
        return doubled(x, scale)

    # once for the gradient, three times for the seconds, then once in float64
    rounds = iter([1, 9, 9])
    accepted(slow, monkeypatch)
    object.__setattr__(exercises._find("00.1"), "reference", quick)
    monkeypatch.setattr(own, "clock", lambda: now[0])
    assert mine("00.1", slow) is (quick if times else slow)
    out = capsys.readouterr().out
    if times:
        assert f"yours, though right, takes {times} times as long on this page's data" in out
    else:
        assert out == "00.1: yours\n"


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
    assert all(len(line) <= 100 for line in lines)


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


LENT = """
from course_utils.exercises import check, mine, reference
verdict = mine("19.1", ...)
def shortlist(scores, cost):
    means = {name: sum(values) / len(values) for name, values in scores.items()}
    best, m = max(means, key=means.get), len(scores) - 1
    kept = [n for n in scores if n == best or verdict(scores[n], scores[best], m) == "cannot tell"]
    return kept, min(kept, key=cost.get)
check("19.2", shortlist)
try:
    check("19.1", lambda scores_a, scores_b, comparisons: verdict(scores_a, scores_b, comparisons))
except AssertionError as error:
    print(error)
"""


def test_grading_lends_what_mine_gave_for_an_earlier_exercise_and_not_its_own(tmp_path):
    pytest.importorskip("cloudpickle")
    lines = run(LENT, ROOT, tmp_path, NBGRADER_EXECUTION="autograde")
    assert lines[1] == "Exercise 19.2 · right (8 cases)."
    assert lines[2].startswith("Exercise 19.1 · not right yet: raised PicklingError")
