"""What is asked of the exercises of every page.

A class in a file of its own takes the pages whose numbers begin with one digit:

    class TestPages(OfEveryExercise, tens="1"):
        pass

Nothing names a page: its exercises and the answers written by hand are found in its room. Every
test's name holds the exercise's key in brackets, so that `-k "[11."` chooses a page.
"""

import ast
import dataclasses
import functools
import inspect
import sys
import textwrap

import pytest
from by_hand import define

from course_utils import exercises
from course_utils.exercises.compare import freeze
from course_utils.rooms import load, room, rooms
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import cells  # noqa: E402  (after the path)
import pages  # noqa: E402

# Far more than an answer needs, also where a busy machine imports a library inside it.
verdict = functools.partial(exercises.verdict, time_limit=60)


@functools.cache
def exercises_of(page):
    """A page's exercises by their keys, their cases drawn once: a list in the place of a draw.

    That every draw gives the same is asked of the exercise as the page has it.
    """
    found = {}
    for key in exercises.keys(page):
        exercise = exercises._find(key)
        cases = list(exercise.cases())
        found[key] = dataclasses.replace(exercise, cases=lambda cases=cases: cases)
    return found


def by_hand(page, which):
    """The answers by hand, RIGHT or WRONG, in a page's room; none where it has no such file."""
    if not (room(page) / "answers.py").exists():
        return {}
    return getattr(load(page, "answers"), which)


def each_page(page):
    return [pytest.param(page, id=f"{page}.x")]


def each_exercise(page):
    return [pytest.param(exercise, id=key) for key, exercise in exercises_of(page).items()]


def each_right(page):
    found = []
    for key, exercise in exercises_of(page).items():
        for n, code in enumerate(by_hand(page, "RIGHT").get(key, [])):
            found.append(pytest.param(exercise, code, id=f"{key}-{n}"))
    return found


def each_wrong(page):
    found = []
    for key, exercise in exercises_of(page).items():
        for n, (code, words) in enumerate(by_hand(page, "WRONG").get(key, [])):
            found.append(pytest.param(exercise, code, words, id=f"{key}-{n}"))
    return found


# a test's parameters: what gives them, page by page
ASKED = {
    "exercise, code, words": each_wrong,
    "exercise, right": each_right,
    "exercise": each_exercise,
    "page": each_page,
}


class OfEveryExercise:
    """The tests of all exercises of the pages whose numbers begin with `tens`."""

    def __init_subclass__(cls, tens):
        cls.pages = [page for page in rooms() if page[0] == tens and exercises.keys(page)]
        cls.__test__ = bool(cls.pages)

    def pytest_generate_tests(self, metafunc):
        for names, give in ASKED.items():
            if set(names.split(", ")) <= set(metafunc.fixturenames):
                params = [one for page in self.pages for one in give(page)]
                metafunc.parametrize(names, params)
                return

    @pytest.fixture(autouse=True)
    def work_out_once(self, monkeypatch):
        """What a wrong idea or the reference gives on a case is worked out once and kept: each
        verdict on a wrong answer asks for most of it, and a page may have a hundred wrong ideas.
        """
        monkeypatch.setattr(exercises, "_gives", functools.partial(given, exercises._gives))

    @pytest.fixture
    def said(self, monkeypatch):
        """What a page does with an answer: `check`'s text, what it goes on with, `mine`'s line."""
        texts = []
        monkeypatch.setattr(exercises, "_say", texts.append)
        monkeypatch.setattr(exercises, "_accepted", {})
        monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)

        def says(exercise, answer):
            monkeypatch.setattr(exercises, "_find", lambda key: exercise)
            exercises.check(exercise.key, answer, time_limit=60)
            goes_on = exercises.mine(exercise.key, answer)
            return texts[0], goes_on, texts[1]

        return says

    # ---- by its own definition ----

    def test_its_reference_is_right(self, exercise):
        right, text = verdict(exercise, exercise.reference)
        assert right
        assert text == f"Exercise {exercise.key} · right ({len(exercise.cases())} cases)."

    def test_each_misconception_is_refused_by_its_name(self, exercise):
        assert len(exercise.misconceptions) >= 3
        for idea in exercise.misconceptions:
            right, text = verdict(exercise, idea.wrong)
            lines = text.splitlines()
            assert not right
            assert lines[0] == f"Exercise {exercise.key} · not right yet: {idea.message}"
            assert lines[1].startswith(f"  smallest case: {exercise.reference.__name__}(")
            assert "0x" not in text and str(ROOT) not in text and "Traceback" not in text

    def test_its_misconceptions_are_few_and_plain(self, exercise):
        """A list that a reader of the room can read: functions without anything bound to them."""
        programs = [idea.wrong for idea in exercise.misconceptions]
        assert len({idea.message for idea in exercise.misconceptions}) <= 12
        assert len(programs) <= 20
        parameters = inspect.signature(exercise.reference).parameters
        for program in programs:
            if isinstance(exercise.reference, type):
                assert isinstance(program, type)
                continue
            assert inspect.isfunction(program) and not program.__closure__, program
            assert len(inspect.signature(program).parameters) == len(parameters)
            assert not program.__defaults__ and not program.__kwdefaults__

    def test_its_cases_tell_any_two_misconceptions_apart(self, exercise):
        """Both ways round, since the order of the list would otherwise decide which sentence a
        reader gets.
        """
        programs = [idea.wrong for idea in exercise.misconceptions] + [exercise.reference]
        everything = [results(exercise, program) for program in programs]
        for i, one in enumerate(everything):
            for k, other in enumerate(everything):
                apart = any(map(exercise.compare, one, other))
                assert i == k or apart, f"numbers {i} and {k} agree on every case"

    def test_its_cases_are_the_same_each_time_and_the_smallest_comes_first(self, exercise):
        again = exercises._find(exercise.key).cases()
        cases = [repr(freeze(list(args))) for args in exercise.cases()]
        assert cases == [repr(freeze(list(args))) for args in again]
        assert len(cases) >= 4 and min(map(len, cases)) == len(cases[0])

    def test_stub_missing_return_and_wrong_parameters(self, exercise):
        name = exercise.reference.__name__
        parameters = ", ".join(inspect.signature(exercise.reference).parameters)
        todo = (
            f"Exercise {exercise.key} · not attempted yet: replace the ... "
            "in the cell above, run it, then run this one."
        )
        if isinstance(exercise.reference, type):
            stub = f"class {name}:\n    def forward(self):\n        ...\n"
            assert verdict(exercise, define(stub, name)) == (None, todo)
            assert "expected the class itself" in verdict(exercise, lambda: 0)[1]
            return
        stub = define(f'def {name}({parameters}):\n    """What it gives."""\n    ...\n', name)
        assert verdict(exercise, stub) == (None, todo)
        forgot = define(f"def {name}({parameters}):\n    result = 1\n", name)
        assert "returned None: is a `return` missing?" in verdict(exercise, forgot)[1]
        text = verdict(exercise, lambda: 0)[1]
        assert "expected " in text and "0 parameters (none)" in text

    # ---- by its page ----

    def test_page_and_checker_know_the_same_exercises(self, page):
        assert list(solutions(page)) == list(exercises_of(page))

    def test_the_solution_on_the_page_is_right(self, exercise):
        answer = solution(exercise)
        taken = inspect.signature(answer).parameters.keys()
        assert taken == inspect.signature(exercise.reference).parameters.keys()
        right, text = verdict(exercise, answer)
        assert right, text

    @pytest.mark.slow
    def test_the_solution_on_the_page_is_graded_as_right(self, exercise):
        """In a process of its own, on fresh cases of the exercise as the page has it."""
        right, text = verdict(exercises._find(exercise.key), solution(exercise), grading=True)
        assert right, text

    def test_what_the_page_verifies_must_keep_float64(self, exercise):
        """Else a right answer in float32 would stop the page where an equation is compared."""
        name = exercise.reference.__name__
        compared = [names for names in names_by_cell(exercise.key.split(".")[0]) if name in names]
        assert exercise.verified or not any(VERIFIERS & names for names in compared)

    # ---- by answers written by hand ----

    def test_there_are_answers_written_by_hand(self, page):
        right, wrong = by_hand(page, "RIGHT"), by_hand(page, "WRONG")
        assert set(right) == set(wrong) == set(exercises_of(page)), "answers.py of the page's room"
        assert all(len(right[key]) >= 3 and len(wrong[key]) >= 5 for key in right)

    def test_different_right_answers_are_accepted(self, exercise, right, said):
        answer = define(textwrap.dedent(right).strip())
        text, goes_on, line = said(exercise, answer)
        assert text.startswith(f"Exercise {exercise.key} · right ("), text
        # a loop: right, and too slow for the page; or float32 whatever comes, and the page compares
        if "times as long" in line or "in which the page compares" in line:
            assert goes_on is exercise.reference and exercise.batch is not None
        else:
            assert goes_on is answer and line == f"{exercise.key}: yours"

    def test_wrong_answers_get_the_message_that_helps(self, exercise, code, words, said):
        answer = define(textwrap.dedent(code).strip())
        text, goes_on, line = said(exercise, answer)
        assert " · not right yet: " in text and words in text.splitlines()[0], text
        assert goes_on is exercise.reference
        assert line == f"{exercise.key}: the course's, because check has not accepted yours"
        if "rand" in code:  # nothing else could get another text the next time
            assert text == verdict(exercise, answer)[1]


GIVEN = {}


def given(gives, exercise, program, args):
    """`gives(exercise, program, args)`, which this remembers, its error too.

    The arguments are one of an exercise's cases, a list that is kept, and so known by their id.
    """
    key = program, id(args)
    if key not in GIVEN:
        try:
            GIVEN[key] = gives(exercise, program, args), None
        except Exception as error:
            GIVEN[key] = None, error
    value, error = GIVEN[key]
    if error is not None:
        raise error
    return value


def results(exercise, program):
    """What a program gives on each case, frozen; the type of its error where it raises one."""
    found = []
    for args in exercise.cases():
        try:
            found.append(exercises._gives(exercise, program, args))
        except Exception as error:
            found.append(f"raised {type(error).__name__}")
    return found


@functools.cache
def solutions(page):
    """{key: code} of the solutions on a page; skips where the room holds only a draft."""
    if not (room(page) / "page.py").exists():
        pytest.skip(f"the room of page {page} has no page.py yet")
    return pages.solutions(room(page))


VERIFIERS = {"verify", "verify_gradient", "compare"}


@functools.cache
def names_by_cell(page):
    """The names that each of a page's code cells uses; none where the room holds only a draft."""
    if not (room(page) / "page.py").exists():
        return []
    code = [cell.source for cell in pages.read_cells(room(page)) if cell.cell_type == "code"]
    return [names_in(cells.tree(source)) for source in code]


ASKED_FOR = (ast.FunctionDef, ast.ClassDef)


def solution(exercise):
    """The function or class that the solution on the page defines."""
    page, name = exercise.key.split(".")[0], exercise.reference.__name__
    code = solutions(page)[exercise.key]
    asked = [part for part in ast.parse(code).body if isinstance(part, ASKED_FOR)]
    assert [part.name for part in asked] == [name]
    space = imported(page, code)
    exec(compile(code, "<cell>", "exec"), space)
    return space[name]


def imported(page, code):
    """{name: what it is} of those of a page's imports and functions whose names stand in `code`, or
    in one of these functions.

    All of them would be transformers and more, for a solution that needs torch alone.
    """
    parts = ast.parse((room(page) / "page.py").read_text(encoding="utf-8")).body
    functions = {part.name: part for part in parts if isinstance(part, ast.FunctionDef)}
    used, found = set(), names_in(ast.parse(code))
    while found - used:
        used |= found
        found = set().union(*(names_in(functions[name]) for name in used & functions.keys()))
    space = {}
    for part in parts:
        bound = set()
        if isinstance(part, (ast.Import, ast.ImportFrom)):
            bound = {(name.asname or name.name).split(".")[0] for name in part.names}
        elif isinstance(part, ast.FunctionDef):
            bound = {part.name}
        if bound & used:
            exec(compile(ast.Module([part], []), "<cell>", "exec"), space)
    return space


def names_in(tree):
    return {part.id for part in ast.walk(tree) if isinstance(part, ast.Name)}
