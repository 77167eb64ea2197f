"""What an exam's question that asks for a function is made of: the given code, the solution, the
checker.
"""

import ast
import inspect
import textwrap

from course_utils.exercises import Exercise
from course_utils.rooms import load


def written(solution, text, cases, wrong, given="", use=None):
    """A maker of the question that asks for `solution`: key, page, topic and points in, a
    `Question` out. Students get its signature and docstring, or the code `given`.
    """

    def make(key, page, topic, points):
        code = textwrap.dedent(inspect.getsource(solution))
        exercise = Exercise(key, solution, cases, tuple(wrong), use=use)
        return load("99", "questions").Question(
            key, page, topic, "function", points, text, given or stub(code), code, {}, exercise
        )

    return make


def stub(code):
    """A function's head and docstring, and `...` in the place of all that follows."""
    (function,) = ast.parse(code).body
    head = code.splitlines()[: function.body[0].end_lineno]
    return "\n".join([*head, "    ..."])
