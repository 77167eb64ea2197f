"""Whether an answer of the exam is right: what the hidden tests call on the teacher's machine."""

import math
import os
from functools import cache

from course_utils import exercises
from course_utils.rooms import load

NEAR = 1e-3  # share of the right number by which an answer may miss it


@cache
def exam(seed: int) -> dict:
    """The forty questions of one seed by their keys, "01" to "40"."""
    asked = load("99", "questions").questions(seed) + load("99", "derivations").derivations()
    return {question.key: question for question in asked}


def verdict(question, answer) -> tuple[bool, str]:
    """Whether it is right, and a sentence that says what is wrong."""
    if question.kind == "function":
        grading = bool(os.environ.get("NBGRADER_EXECUTION"))
        right, words = exercises.verdict(question.exercise, answer, grading=grading)
        return right is True, words
    if answer is ...:
        return False, "not answered."
    if question.kind == "number":
        return by_number(question, answer)
    return by_letters(question, answer)


def by_number(question, answer):
    found = plain(answer)
    if found is None:
        return False, f"expected one number, got {answer!r}."
    if same(found, question.answer):
        return True, "right."
    for number, why in question.wrong.items():
        if same(found, number):
            return False, why
    return False, f"{found:g} is not the number."


def plain(answer) -> float | None:
    """One number, also out of a tensor; None for anything else, and for what is not finite."""
    if isinstance(answer, (bool, str)):
        return None
    try:
        found = float(answer)
    except Exception:
        return None
    return found if math.isfinite(found) else None


def same(found, number) -> bool:
    """A whole number is to be hit, any other to `NEAR`."""
    if isinstance(number, int):
        return found == number
    return abs(found - number) <= NEAR * abs(number)


def by_letters(question, answer):
    found = letters(answer)
    if found is None:
        return False, f"expected letters, got {answer!r}."
    if question.kind == "choice":
        if found == {question.answer}:
            return True, "right."
        named = [question.wrong[one] for one in sorted(found) if one in question.wrong]
        return False, " ".join(named) if len(found) == 1 and named else "expected one letter."
    if found == question.answer:
        return True, "right."
    named = [question.wrong.get(one, f"{one} is no option.") for one in found ^ question.answer]
    return False, " ".join(sorted(set(named)))


def letters(answer) -> set | None:
    """The letters of "ac", "A, C", ["a", "c"] or {"a", "c"}."""
    if isinstance(answer, (list, tuple, set, frozenset)) and all(
        isinstance(one, str) for one in answer
    ):
        answer = "".join(answer)
    if not isinstance(answer, str):
        return None
    return {one for one in answer.lower() if one not in " ,;'\""}


def grade(key: str, answer, seed: int) -> None:
    """AssertionError with what is wrong, unless the answer is right."""
    right, words = verdict(exam(seed)[key], answer)
    assert right, f"{key}: {words}"
