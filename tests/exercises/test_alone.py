"""Grading: an answer in a process of its own, on cases drawn anew, without the course's answers."""

import dataclasses
import inspect
import subprocess
import sys
import textwrap

import pytest
from by_hand import define

from course_utils import exercises
from course_utils.exercises import Exercise, Misconception, verdict
from course_utils.rooms import rooms
from course_utils.runtime import ROOT

KEYS = [key for page in rooms() for key in exercises.keys(page)]
# The fifth case is the first that is drawn.
TWICE = Exercise(
    "77.1",
    reference=lambda x: 2 * x,
    cases=lambda seed=7: [(1,), (2,), (3,), (4,), (5 + seed,)],
    misconceptions=(Misconception("one more", lambda x: x + 1),),
)
HELPED = """
import math
FACTOR = 2

def times(a, b):
    return math.prod([a, b])

def f(x):
    return times(FACTOR, x)
"""
CHEATS = {
    "the reference itself": "from course_utils.exercises import reference\nf = reference('09.1')",
    "the reference inside": """
        from course_utils.exercises import reference
        theirs = reference('09.1')
        def f(values, t): return theirs(values, t)""",
    "the reference asked for": """
        def f(values, t):
            from course_utils.exercises import reference
            return reference('09.1')(values, t)""",
    "the reference looked up": """
        def f(values, t):
            import sys
            room = 'course_rooms.09_baselines_and_forensics.exercises'
            return sys.modules[room].seed_interval(values, t)""",
    "walking frames": """
        def f(values, t):
            import sys
            frame = sys._getframe()
            while frame is not None:
                for one in frame.f_locals.values():
                    if hasattr(one, 'reference'): return one.reference(values, t)
                frame = frame.f_back""",
    "a table of the cases": """
        from course_utils.exercises import _find
        exercise = _find('09.1')
        table = {repr(case): exercise.reference(*case) for case in exercise.cases()}
        del exercise, _find
        def f(values, t): return table[repr((values, t))]""",
    "a lying result": """
        class Equal(float):
            def __eq__(self, other): return True
            def __sub__(self, other): return 0.0
            __rsub__ = __sub__
        def f(values, t): return Equal(0.1), Equal(0.2)""",
    "a lying tensor": """
        class Equal:
            def __eq__(self, other): return True
        class Liar(torch.Tensor):
            def tolist(self): return [Equal(), Equal()]
        def f(values, t): return torch.zeros(2).as_subclass(Liar)""",
    "leaving early": "import os\ndef f(values, t): os._exit(0)",
    "something else sent back": """
        import os, pickle
        class Run:
            def __reduce__(self): return exec, ("raise SystemExit('taken over')",)
        def f(values, t):
            for place in range(3, 30):
                try: os.write(place, pickle.dumps(Run()))
                except OSError: pass
            os._exit(0)""",
}


def test_an_answer_brings_along_what_it_uses():
    right, text = verdict(TWICE, define(HELPED), grading=True)
    assert right and text == "Exercise 77.1 · right (5 cases)."


def test_a_wrong_answer_is_named_as_ever():
    right, text = verdict(TWICE, define("def f(x): return x + 1"), grading=True)
    assert not right and text.startswith("Exercise 77.1 · not right yet: one more\n")


@pytest.mark.parametrize("code", CHEATS.values(), ids=CHEATS)
def test_nothing_but_a_right_answer_is_right(code):
    answer = define(textwrap.dedent(code).strip())
    right, text = verdict(exercises._find("09.1"), answer, grading=True)
    assert not right and "not right yet: " in text, text


def test_what_cannot_go_there_is_said():
    answer = define("import threading\nlock = threading.Lock()\ndef f(x): return lock and 2 * x")
    right, text = verdict(TWICE, answer, grading=True)
    assert not right and "cannot pickle" in text and "its own process" in text


def test_an_endless_loop_ends_there_too():
    text = verdict(TWICE, define("def f(x):\n while True: pass"), 0.2, grading=True)[1]
    assert "did not finish within 0.2 seconds" in text


def test_how_an_answer_is_used_goes_there_too():
    """Page 21 calls the answer where no graph can be recorded, with a function of its room."""
    by_hand = """
        def f(logits, labels):
            p = torch.softmax(logits, 1)
            p[torch.arange(len(p)), labels] -= 1
            return p / len(p)"""
    by_autograd = """
        def f(logits, labels):
            z = logits.clone().requires_grad_()
            torch.nn.functional.cross_entropy(z, labels).backward()
            return z.grad"""
    exercise = exercises._find("21.1")
    assert verdict(exercise, define(textwrap.dedent(by_hand).strip()), grading=True)[0]
    right, text = verdict(exercise, define(textwrap.dedent(by_autograd).strip()), grading=True)
    assert not right and "autograd is called" in text


def test_only_grading_draws_anew_and_each_time():
    drawn = []

    def cases(seed=7):
        drawn.append(seed)
        return [(seed,)]

    exercise = dataclasses.replace(TWICE, cases=cases)
    answer = define("def f(x): return 2 * x")
    for grading in (False, False, True, True):
        assert verdict(exercise, answer, grading=grading)[0]
    assert drawn[:2] == [7, 7] and len(set(drawn[1:])) == 3


def in_words(case):
    """All values of a case, a model's weights too."""
    models = [part for part in case if hasattr(part, "parameters")]
    weights = [values.tolist() for model in models for values in model.parameters()]
    return repr((exercises.freeze(list(case)), weights))


@pytest.mark.parametrize("key", KEYS)
def test_every_exercise_can_be_drawn_anew(key):
    exercise = exercises._find(key)
    assert "seed" in inspect.signature(exercise.cases).parameters
    usual, other = (
        [in_words(case) for case in exercise.cases(**seed)] for seed in ({}, {"seed": 987654321})
    )
    assert len(usual) == len(other) and usual != other


COLD = """
import os, sys, textwrap
sys.path.insert(0, "tests/exercises")
from by_hand import define
from course_utils import exercises
from course_utils.rooms import load

page = {page!r}
failed = 0
for key in {keys!r}:
    exercise = exercises._find(key)
    for number, code in enumerate(load(page, "answers").RIGHT[key][:{most}]):
        child = os.fork()  # as cold as this process, in which no answer has run
        if child == 0:
            right, text = exercises.verdict(exercise, define(textwrap.dedent(code).strip()))
            if not right:
                print(key, number, text, flush=True)
            os._exit(not right)
        failed += os.waitpid(child, 0)[1] != 0
sys.exit(failed > 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process is forked for each answer")
@pytest.mark.parametrize(
    "page, most",
    [("21", 1)]
    + [
        pytest.param(page, 99, id=f"{page}-all", marks=pytest.mark.slow)
        for page in rooms()
        if exercises.keys(page)
    ],
)
def test_each_answer_is_right_alone_in_a_cold_process(page, most):
    """With the time that a reader's answer has, and nothing imported by an answer before it."""
    script = COLD.format(page=page, keys=exercises.keys(page), most=most)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
