"""Exercises that answer: `check("00.1", seed_interval)` says what is right, or what went wrong.

This package is the machine alone. The exercises of a page stand in its room's `exercises.py` as a
list `EXERCISES`, loaded when a key asks for it. A new one needs a reference written differently
from the page's solution, cases, and the wrong ideas that readers have, each as code.
"""

import dis
import inspect
import os
import re
import secrets
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from functools import partial

from course_utils.report import note
from course_utils.rooms import NoRoom, load, room, rooms

from .compare import copied, describe, difference, freeze, paste, show_apart
from .own import hindrance
from .sandbox import IMPORTS, Outcome, known_state, outcomes, unheard, words_of

_accepted: dict[str, Callable] = {}  # what `check` last found right, by key, in this session


@dataclass(frozen=True)
class Misconception:
    """A wrong idea: the sentence that names it, and code that has it."""

    message: str
    wrong: Callable


def ideas(message: str, *wrongs: Callable) -> list[Misconception]:
    """One misconception for each of several pieces of code that have the same wrong idea."""
    return [Misconception(message, wrong) for wrong in wrongs]


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    `cases` gives the argument tuples, the same at every call, smallest first; if it has a
    parameter `seed`, grading draws its random ones anew. `returns` says in words what one entry of
    the result stands for ("one row per sample"). `compare` takes two frozen values, got and
    expected, and returns None or the difference in words.

    Where the answer is a class, `use(cls, *case)` makes one and gives what is compared: its result
    with the reference's parameters (`layer.load_state_dict(...)`), or facts of its contract. Where
    it is a function, `use(function, *case)` may call it under other conditions than usual.
    `batch` gives arguments of the page's own size for `mine`; those that require gradients must
    get them through the answer. `verified` says that the page compares its results in float64.
    `time_limit` is in seconds for each case.
    """

    key: str
    reference: Callable
    cases: Callable[..., Iterable[tuple]]
    misconceptions: tuple[Misconception, ...]
    returns: str = ""
    compare: Callable = difference
    use: Callable | None = None
    batch: Callable[[], tuple] | None = None
    verified: bool = False
    time_limit: float = 5.0

    def run(self, program: Callable, *args):
        """What a program (the reference, an answer, a wrong idea) gives on a case."""
        return self.use(program, *args) if self.use else program(*args)


def check(key: str, answer: Callable, *, time_limit: float | None = None) -> None:
    """Print one verdict on `answer`, the function written for exercise `key`: always the same text.

    The verdict is "not attempted yet" while the body is only a docstring and `...`; "right"; or
    what is wrong, with the smallest case that shows it, as code. The function gets copies of the
    cases; whatever it does (raise, recurse, loop, exit, ask, print, seed, set) ends with the call.
    `time_limit` is in seconds for each case; see `sandbox.call` for how they are counted and where
    no limit is possible. Where the package runs without the course's repository there are no
    checkers: it says so and the page goes on.

    A verdict on an answer is noted in the reader's folder, a stub is none. The day of the first
    right one stays, whatever is checked later; `python -m course_utils.progress` shows it.

    Where NBGRADER_EXECUTION is set, the answer runs in a fresh process that has no `reference`, on
    freshly drawn cases, and AssertionError with the verdict's text is raised when it is not
    "right". Raises ValueError for an unknown key.
    """
    grading = bool(os.environ.get("NBGRADER_EXECUTION"))
    try:
        right, text = verdict(_find(key), answer, time_limit, grading)
    except NoRoom as missing:
        right, text = None, f"Exercise {key} · not checked: {missing}."
    if right:
        _accepted[key] = answer
    if not right and grading:
        raise AssertionError(text)
    _say(text)
    if right is not None and not grading:
        today = {"solved": date.today().isoformat()}
        note("exercises", key, {"right": right}, first=today if right else None)


def _say(text):
    """Print, broken at 100 columns: a page breaks longer lines in the middle of a word. Strings
    stay whole, so that a case can be pasted.
    """
    for line in text.splitlines():
        if line.startswith("  smallest case:"):
            strings = r"'[^']*'|\"[^\"]*\""
            line = re.sub(strings, lambda string: string[0].replace(" ", "\0"), line)
        wrapped = textwrap.fill(
            line, 100, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        )
        print(wrapped.replace("\0", " "))


def reference(key: str) -> Callable:
    """The course's own answer to exercise `key`, for what follows it on the page.

    Raises ValueError for an unknown key, NoRoom where the course's repository is not there.
    """
    return _find(key).reference


def mine(key: str, answer: Callable) -> Callable:
    """What a page goes on with after exercise `key`, and a line that says which of the two it is:
    the reader's own `answer` if `check` has accepted this very function, if gradients come through
    it where they must, and if it is at most five times slower than the reference on the page's
    batch; else the reference.

    Without the course's repository there is no reference: `answer`, whatever it does.
    Raises ValueError for an unknown key.
    """
    try:
        exercise = _find(key)
    except NoRoom as missing:
        _say(f"{key}: yours, unchecked: {missing}.")
        return answer
    if answer is ... or is_stub(answer):
        why = "yours is not written yet"
    elif _accepted.get(key) is not answer:
        why = "check has not accepted yours"
    else:
        why = hindrance(exercise, answer, _names(exercise)) if exercise.batch else ""
    _say(f"{key}: the course's, because {why}" if why else f"{key}: yours")
    return exercise.reference if why else answer


def keys(notebook: str) -> list[str]:
    """The keys of a page's exercises, as in `keys("00")`; none for a page without any.

    Raises NoRoom where there is no such page.
    """
    return [exercise.key for exercise in _load(notebook)]


def _load(notebook):
    if not (room(notebook) / "exercises.py").exists():
        return []
    return load(notebook, "exercises").EXERCISES


def _find(key):
    """The exercise `key`; NoRoom without the repository, else ValueError with what there is."""
    known = [number for number, folder in rooms().items() if (folder / "page.py").exists()]
    notebook = key.split(".")[0] if isinstance(key, str) else None
    if known and notebook not in known:
        raise ValueError(
            f'no exercise {key!r}: a key is a string such as "00.1", and the pages are '
            + ", ".join(known)
        )
    exercises = {exercise.key: exercise for exercise in _load(notebook)}
    if key not in exercises:
        raise ValueError(
            f"no exercise {key!r}: page {notebook} has " + (", ".join(exercises) or "none")
        )
    return exercises[key]


@known_state()
def verdict(
    exercise: Exercise, answer, time_limit: float | None = None, grading: bool = False
) -> tuple[bool | None, str]:
    """Whether `answer` is right, None where there is none yet, and the text that `check` prints;
    `grading` as described there.
    """
    title = f"Exercise {exercise.key} · "
    todo = (
        title + "not attempted yet: replace the ... in the cell above, run it, then run this one."
    )
    if answer is ... or is_stub(answer):
        return None, todo
    misfit = _misfit(exercise, answer)
    if misfit:
        return False, f"{title}not right yet: {misfit}"

    time_limit = exercise.time_limit if time_limit is None else time_limit
    called = partial(exercise.use, answer) if exercise.use else answer
    cases, run = exercise.cases(), outcomes
    if grading:
        from .alone import outcomes_alone

        # what `mine` may have given; a later one's reference may call this one's
        notebook = exercise.key.split(".")[0]
        page = _load(notebook) if notebook in rooms() else []
        earlier = [one.reference for one in page if one.key < exercise.key]
        called, run = answer, partial(outcomes_alone, use=exercise.use, lent=earlier)
        if "seed" in inspect.signature(exercise.cases).parameters:
            cases = exercise.cases(seed=secrets.randbits(31))
    cases, trials = list(cases), []
    for args, outcome in zip(cases, run(called, cases, time_limit)):
        if outcome.kind == "value" and outcome.value is ...:
            return None, todo
        expected = _gives(exercise, exercise.reference, args)
        trials.append((args, outcome, expected, _fault(exercise, outcome, expected, time_limit)))
    failed = next((trial for trial in trials if trial[-1]), None)
    if failed is None:
        return True, f"{title}right ({len(trials)} cases)."

    args, outcome, expected, fault = failed
    stopped = trials[-1][1].kind not in ("value", "raised")
    named = None if stopped or outcome.changed else _misconception(exercise, trials)
    pairs = [f"{name}={paste(freeze(arg))}" for name, arg in zip(_names(exercise), args)]
    case = f"{exercise.reference.__name__}({', '.join(pairs)})"
    lines = [f"{title}not right yet: {named or fault}", f"  smallest case: {case}"]
    if outcome.kind == "value" and not outcome.changed:
        returned, expected = show_apart(outcome.value, expected)
        if returned != expected:
            lines += ["  returned:      " + returned, "  expected:      " + expected]
        elif named:  # both too long to be shown
            lines.append("  where:         " + fault)
    elif named:
        lines.append("  returned:      nothing, it " + fault)
    return False, "\n".join(lines)


def is_stub(answer) -> bool:
    """Whether a function's code does nothing: a docstring and `...`, `pass` or `return ...`; of a
    class, whether one of its methods does nothing.
    """
    if isinstance(answer, type):
        return any(is_stub(method) for method in vars(answer).values())
    code = getattr(inspect.unwrap(answer) if callable(answer) else answer, "__code__", None)
    if not inspect.iscode(code) or code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE):
        return False
    skip = {"RESUME", "NOP", "CACHE", "PRECALL", "MAKE_CELL", "COPY_FREE_VARS", "EXTENDED_ARG"}
    steps = [step for step in dis.get_instructions(code) if step.opname not in skip]
    returned = [step.argval for step in steps if step.opname in ("LOAD_CONST", "RETURN_CONST")]
    rest = [
        step for step in steps if step.opname not in ("LOAD_CONST", "RETURN_CONST", "RETURN_VALUE")
    ]
    return not rest and len(returned) == 1 and (returned[0] is None or returned[0] is ...)


def _names(exercise):
    """The names of a case's arguments."""
    if exercise.use:
        return list(inspect.signature(exercise.use).parameters)[1:]
    return list(inspect.signature(exercise.reference).parameters)


def _misfit(exercise, answer):
    """Why `answer` cannot even be called with the exercise's arguments, in words; "" if it can."""
    name = exercise.reference.__name__
    what = "class" if isinstance(exercise.reference, type) else "function"
    if not callable(answer) or isinstance(answer, type) != (what == "class"):
        return (
            f"got {describe(freeze(answer))}, expected the {what} itself: "
            f'write check("{exercise.key}", {name}), without calling it.'
        )
    if what == "class":
        return ""
    names = _names(exercise)
    try:
        signature = inspect.signature(answer)
    except (TypeError, ValueError):  # some functions written in C have none
        return ""
    try:
        signature.bind(*names)
    except TypeError:
        own = list(signature.parameters)
        return (
            f"the function takes {len(own)} parameter{'s' * (len(own) != 1)}"
            f" ({', '.join(own) or 'none'}), expected {len(names)} ({', '.join(names)})."
        )
    return ""


def _fault(exercise, outcome: Outcome, expected, time_limit):
    """What is wrong with one outcome, in words, or None."""
    if outcome.kind == "raised":
        return f"raised {outcome.words}"
    if outcome.kind == "slow":
        return f"did not finish within {time_limit:g} seconds: is there a loop without an end?"
    if outcome.kind == "importing":
        return f"an import did not finish within {IMPORTS:g} seconds: is there a loop in a module?"
    if outcome.kind == "endless":
        return "calls itself without an end (RecursionError): which case stops it?"
    if outcome.kind == "asked":
        return "asks with input(), and nobody is there to type: all it needs are its arguments."
    if outcome.kind == "exit":
        return "left by exit() or SystemExit: end a function with `return`."
    if outcome.changed:
        names = " and ".join(f"`{_names(exercise)[i]}`" for i in outcome.changed)
        return f"changes its argument {names} in place, and so the caller's data: work on a copy."
    text = exercise.compare(outcome.value, expected)
    if not text or text.endswith("?"):
        return text
    about_shape = text.startswith("returned") or " came as " in text
    return f"{text}: {exercise.returns}." if about_shape and exercise.returns else f"{text}."


def _gives(exercise, program, args):
    """What one of the course's own programs gives on a case, frozen; the reader neither hears of
    it nor finds another random state afterwards.
    """
    with unheard():
        return freeze(exercise.run(program, *copied(args)))


def _misconception(exercise, trials):
    """The message of the first misconception that gives what the answer gave, on every case.

    Every case, because wrong and right often coincide on a small one.
    """
    for idea in exercise.misconceptions:
        for args, outcome, *_ in trials:
            try:
                wrong = _gives(exercise, idea.wrong, args)
            except Exception as error:
                if not _same_error(outcome.words, words_of(error)):
                    break
                continue
            if outcome.kind != "value" or exercise.compare(outcome.value, wrong) is not None:
                break
        else:
            return idea.message
    return None


def _same_error(words, others):
    """Whether an answer's error is the one of a wrong idea: the same type and, but for its numbers,
    the same text, which says where it happened; an idea's error without a text stands for all of
    its type. A name that does not exist is a slip of the pen and no idea.
    """
    if words.startswith(("NameError", "UnboundLocalError")):
        return False
    mine, its = (re.sub(r"\d+", "0", text) for text in (words, others))
    return mine == its or mine.startswith(its + ":")
