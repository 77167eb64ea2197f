"""`check`: its verdicts, what it takes for an answer, which keys it knows."""

import random
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from by_hand import define, tell

from course_utils import exercises
from course_utils.exercises import Exercise, Misconception, check, is_stub, verdict
from course_utils.exercises.compare import freeze
from course_utils.rooms import load, rooms
from course_utils.runtime import ROOT

seed_interval = load("09", "exercises").seed_interval
bootstrap = load("09", "exercises").cluster_bootstrap

# ---- verdicts ----


def test_check_prints_one_verdict_and_returns_none(capsys):
    assert (
        check("09.1", lambda values, t: (print("noise"), print("more", file=sys.stderr)) and None)
        is None
    )
    captured = capsys.readouterr()
    assert (
        captured.out == "Exercise 09.1 · not right yet: returned None: is a `return` missing?\n"
        "  smallest case: seed_interval(values=[0.9, 0.94], t=12.706)\n"
        "  returned:      None\n"
        "  expected:      (0.92, 0.2541)\n"
    )
    assert captured.err == ""


def test_nbgrader_gets_an_error_instead(monkeypatch, capsys):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(AssertionError, match="not attempted yet"):
        check("09.1", ...)
    forgets = (
        "import statistics\ndef f(values, t): return"
        " statistics.fmean(values), {} * statistics.stdev(values) / len(values) ** 0.5"
    )
    with pytest.raises(AssertionError, match="not right yet: t is not used"):
        check("09.1", define(forgets.format("1")))
    with pytest.raises(AssertionError, match="not right yet: raised PicklingError"):
        check("09.1", seed_interval)  # the course's own
    assert capsys.readouterr().out == ""
    check("09.1", define(forgets.format("t")))
    assert "right (8 cases)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "key, words",
    [
        ("00.9", "no exercise '00.9': page 00 has 00.1, 00.2, 00.3"),
        ("00", "no exercise '00': page 00 has 00.1"),
        ("99.1", 'a key is a string such as "00.1", and the pages are 00, 01'),
        (0.1, "no exercise 0.1: a key is a string"),
        ("", "a key is a string"),
    ],
)
def test_an_unknown_key_is_an_error_that_lists_the_known_ones(key, words):
    with pytest.raises(ValueError) as error:
        check(key, seed_interval)
    assert words in str(error.value)


def test_the_reference_is_there_for_what_follows_on_the_page():
    assert exercises.reference("09.2") is bootstrap


@pytest.mark.parametrize(
    "code, stub",
    [
        ("def f(x): ...", True),
        ("def f(x: int) -> int:\n    '''Doc.'''\n    ...", True),
        ("def f(x):\n    pass", True),
        ("def f(x):\n    return ...", True),
        ("f = lambda x: ...", True),
        (
            (
                "def outer():\n    k = 1\n    def f(x):\n        '''Doc.'''\n        ...\n    def"
                " g(): return k, f\n    return f\nf = outer()"
            ),
            True,
        ),
        (
            (
                "import functools\ndef wrap(g):\n    @functools.wraps(g)\n    def inner(*a): return"
                " g(*a)\n    return inner\n@wrap\ndef f(x): ..."
            ),
            True,
        ),
        ("def f(x):\n    y = x", False),
        ("def f(x):\n    x", False),
        ("def f(x):\n    return 0", False),
        ("def f(x):\n    return x", False),
        ("def f(x):\n    ...\n    return [x]", False),
        ("def f(x):\n    yield", False),
        ("f = len", False),
        ("f = 3", False),
    ],
)
def test_a_stub_is_known_by_its_code(code, stub):
    assert is_stub(define(code)) is stub


def test_placeholders_left_in_a_finished_function_are_not_an_attempt():
    for answer in (..., define("def f(values, t):\n    mean = ...\n    return mean")):
        assert "not attempted yet" in tell(answer)[1]


def test_a_misconception_is_decided_on_all_cases():
    """On the first cases right and wrong coincide, and so do the two wrong ideas up to the last
    one.
    """
    exercise = Exercise(
        "77.1",
        reference=lambda x: x * x,
        cases=lambda: iter([(0,), (1,), (2,), (3,)]),
        misconceptions=(
            Misconception("doubles", lambda x: x + x),
            Misconception("adds one", lambda x: x + 1 if x > 1 else x),
        ),
    )
    assert "not right yet: adds one" in verdict(exercise, lambda x: 3 if x == 2 else x + (x > 1))[1]
    assert (
        "not right yet: the result is 6, expected 9."
        in verdict(exercise, lambda x: x * x if x < 3 else 2 * x)[1]
    )
    named = verdict(exercise, lambda x: 2 * x)[1]
    # the first case that shows it is x = 1
    assert "not right yet: doubles" in named and "returned:      2\n" in named


def test_a_misconception_may_raise_where_the_answer_raises():
    exercise = Exercise(
        "77.2",
        reference=lambda x: x[0],
        cases=lambda: iter([([1],), ([1, 2],)]),
        misconceptions=(Misconception("counts from one", lambda x: x[1]),),
    )
    text = verdict(exercise, lambda values: values.__getitem__(1))[1]
    assert text.splitlines()[0].endswith("not right yet: counts from one")
    assert (
        text.splitlines()[2]
        == "  returned:      nothing, it raised IndexError: list index out of range"
    )


INDEX = Exercise(
    "77.3",
    reference=lambda values: values[-1],
    cases=lambda: [([1.0],), ([1.0, 2.0],)],
    misconceptions=(
        Misconception("counts from one", lambda values: values[len(values)]),
        Misconception("two sizes", lambda values: torch.zeros(2) + torch.zeros(3)),
        Misconception("adds up", lambda values: values.sum()),
        Misconception("refuses", lambda values: int("a")),
        Misconception("asks for a name", lambda values: lengthz),  # noqa: F821
    ),
)


@pytest.mark.parametrize(
    "code, words",
    [
        ("return values[len(values)]", "counts from one"),
        ("return list(values)[1:][len(values)]", "counts from one"),
        ("return torch.ones(4) + torch.ones(5)", "two sizes"),
        ("return values.sum()", "adds up"),
        ("return lengthz", "raised NameError: name 'lengthz' is not defined"),
        ("x = y; y = 1", "raised UnboundLocalError"),
        ("return values.sun()", "raised AttributeError: 'list' object has no attribute 'sun'"),
        ("return [].pop()", "raised IndexError: pop from empty list"),
        ("return int('b')", "raised ValueError: invalid literal"),
        ("return values['a']", "raised TypeError"),
    ],
)
def test_an_error_is_a_misconception_only_if_it_is_the_same_one(code, words):
    text = verdict(INDEX, define(f"def f(values): {code}"))[1]
    assert text.startswith(f"Exercise 77.3 · not right yet: {words}"), text


def test_an_error_without_a_text_stands_for_its_type():
    """A wrong idea may raise what a reader raises in own words."""

    def refuses(x):
        raise ValueError

    exercise = Exercise(
        "77.4", lambda x: x, lambda: [(1,), (2,)], (Misconception("refuses", refuses),)
    )
    for code, named in (("ValueError('too large')", True), ("KeyError('too large')", False)):
        text = verdict(exercise, define(f"def f(x): raise {code}"))[1]
        assert ("not right yet: refuses" in text) is named


def test_a_wrong_idea_that_warns_is_not_heard(capsys, recwarn):
    """An idea that draws gets what an answer gets, and leaves the notebook's next draw alone."""

    def draws(x):
        warnings.warn("an average of nothing", RuntimeWarning, stacklevel=1)
        print("noise")
        return x + random.random() + torch.rand(()).item()

    exercise = Exercise(
        "77.7", lambda x: x, lambda: [(1.0,), (2.0,)], (Misconception("draws", draws),)
    )
    before = random.getstate(), torch.get_rng_state().tolist()
    answer = define("import random\ndef f(x): return x + random.random() + torch.rand(()).item()")
    assert "not right yet: draws" in verdict(exercise, answer)[1]
    assert (random.getstate(), torch.get_rng_state().tolist()) == before
    assert not recwarn.list and capsys.readouterr() == ("", "")


# ---- the case that shows it ----

CASES = [
    (torch.tensor([0.1, 1 / 3, -0.0, float("nan"), float("-inf"), 3.4028234663852886e38]),),
    (torch.tensor([[7 / 9], [1e-300]], dtype=torch.float64),),
    (torch.tensor([[1 / 3, 60000.0]]).half(), torch.tensor([1 / 3]).bfloat16()),
    (torch.tensor([True, False]), torch.tensor([[1, 2]]), torch.tensor([255], dtype=torch.uint8)),
    (torch.zeros(0, 3), torch.tensor(0.7), torch.zeros(2, 0, dtype=torch.int64)),
    (np.array([[0.3, 1 / 3]]), np.array([0.3], dtype=np.float32), np.array([1, 2])),
    ({"a word": [(0.1 + 0.2,), None], "b": "the reader's own, " * 8}, [1 / 3] * 30, float("nan")),
    ({frozenset(): 0.1, frozenset({"text"}): 0.5, frozenset({"text", "image"}): 1 / 3},),
]


@pytest.mark.parametrize("args", CASES)
def test_the_case_can_be_pasted(args, capsys, monkeypatch):
    """As printed, broken into lines: run again it is the same case, values, types and shapes."""

    def take(**arguments):
        return list(arguments.values())

    names = [f"argument_{i}" for i in range(len(args))]
    code = "lambda {0}: None".format(", ".join(names))
    exercise = Exercise("77.5", eval(code), lambda: [args], ())
    exercise.reference.__name__ = "take"
    monkeypatch.setattr(exercises, "_find", lambda key: exercise)
    check("77.5", define("f = " + code.replace("None", "1")))
    printed = capsys.readouterr().out
    assert all(len(line) <= 100 for line in printed.splitlines() if "reader's own" not in line)
    case = printed.split("  smallest case: ")[1].split("\n  returned: ")[0]
    again = eval(case, {"torch": torch, "np": np, "take": take})
    assert written(freeze(again)) == written(freeze(list(args)))


def written(value) -> str:
    """A value as Python writes it, the words of a set in order, since a set keeps none."""
    pattern = r"frozenset\(\{([^}]*)\}\)"
    return re.sub(pattern, lambda found: str(sorted(found[1].split(", "))), repr(value))


def wrong_by_one(x, place):
    x = x.clone()
    x[place] += 1
    return x


@pytest.mark.parametrize("side, shown", [(4, True), (9, False)])
def test_a_result_is_shown_or_its_first_difference(side, shown):
    exercise = Exercise(
        "77.6",
        lambda x: x,
        lambda: [(torch.arange(side * side).reshape(side, side),)],
        (Misconception("one more", lambda x: wrong_by_one(x, (1, 2))),),
    )
    right, text = verdict(exercise, lambda x: wrong_by_one(x, (1, 2)))
    assert not right and "not right yet: one more\n" in text
    assert ("returned:      tensor([[0, 1, 2, 3], [4, 5, 7, 7]," in text) is shown
    assert ("expected:      tensor([[0, 1, 2, 3], [4, 5, 6, 7]," in text) is shown
    assert ("where:         entry [1, 2] is 12, expected 11." in text) is not shown
    assert "a tensor of shape (9, 9)" not in text
    unnamed = verdict(exercise, lambda x: wrong_by_one(x, (0, 3)))[1]
    assert "not right yet: entry [0, 3] is 4, expected 3." in unnamed


# ---- answers that cannot be called ----


@pytest.mark.parametrize(
    "answer, words",
    [
        (None, "got None, expected the function itself"),
        (
            0.5,
            (
                'got one number, expected the function itself: write check("09.1", seed_interval),'
                " without calling it."
            ),
        ),
        ((0.9, 0.1), "got a tuple of 2 numbers"),
        ("seed_interval", "got a string"),
        (torch.zeros(2, 3), "got a tensor of shape (2, 3)"),
        (dict, "got a class"),
        (lambda values: 1, "the function takes 1 parameter (values), expected 2 (values, t)."),
        (
            lambda values, t, k: 1,
            "the function takes 3 parameters (values, t, k), expected 2 (values, t).",
        ),
    ],
)
def test_answers_that_cannot_be_called(answer, words):
    text = tell(answer)[1]
    assert words in text and "\n" not in text


# ---- what it imports ----


def test_nothing_heavy_is_imported():
    loaded = (
        "print([m for m in ('torch', 'torchvision', 'sklearn', 'transformers', 'matplotlib') if m"
        " in sys.modules]);"
    )
    code = (
        "import sys; from course_utils.exercises import check;"
        + loaded
        # the second may use what the course's own metrics use
        + "check('09.1', lambda values, t: 0);"
        + loaded
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    on_import, on_check = (line for line in done.stdout.splitlines() if line.startswith("["))
    assert on_import == "[]" and on_check in ("[]", "['torch']")


# ---- the files of the pages' exercises ----


def test_each_page_with_exercises_has_a_file_that_takes_it():
    files = {path.stem[-1] for path in Path(__file__).parent.glob("test_pages_[0-9].py")}
    assert {page[0] for page in rooms() if exercises.keys(page)} <= files
