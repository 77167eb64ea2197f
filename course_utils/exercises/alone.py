"""An answer in a process of its own, for grading: a fresh one, which has no answer of the course.

The function goes there by value, with what it uses of its notebook. The cases go along; what is
expected of them stays here.
"""

import io
import os
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

from course_utils import rooms
from course_utils.runtime import ROOT

from .sandbox import Outcome, outcomes, words_of

CHILD = "from course_utils.exercises.alone import main; main()"
PLAIN = ("Outcome", "Array", "Other", "Ellipsis", "complex")


class _Reader(pickle.Unpickler):
    """Reads outcomes and nothing that the answer may have written in their place."""

    def find_class(self, module, name):
        if name not in PLAIN:
            raise pickle.UnpicklingError(name)
        return super().find_class(module, name)


def outcomes_alone(answer, cases: list[tuple], seconds: float, use=None, lent=()) -> list[Outcome]:
    """As `sandbox.outcomes`, from a fresh process; the last is a failure, in the place of all that
    did not come. `use(answer, *case)`, an exercise's own, is called where there is one. `lent` are
    functions of the course that the answer may call.
    """
    import cloudpickle  # only grading needs it

    try:
        task = _packed(answer, lent)
    except Exception as error:
        return [Outcome("raised", words=f"{words_of(error)}, on the way to its own process")]
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=cloudpickle.dumps((task, _by_value(use), cases, seconds)),
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
    )
    try:
        found = _Reader(io.BytesIO(done.stdout)).load()
    except Exception:
        found = []
    return [*found, Outcome("exit")]


def _packed(answer, lent):
    """The answer as bytes, with those functions of `lent` by value that it calls."""
    import cloudpickle

    class Lender(cloudpickle.Pickler):
        def reducer_override(self, thing):
            if any(thing is one for one in lent):
                return pickle.loads, (_by_value(thing),)
            return super().reducer_override(thing)

    file = io.BytesIO()
    Lender(file).dump(answer)
    return file.getvalue()


def _by_value(use):
    """An exercise's `use` or reference for the child, which cannot import it: its module is a
    room's.

    On its own, since the answer must not take the course's functions along by value.
    """
    import cloudpickle

    if use is None or use.__module__ == "__main__":
        return cloudpickle.dumps(use)
    module = sys.modules[use.__module__]
    cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(use)
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def main():
    """The child: reads its task from the standard input, writes outcomes to the standard output."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the answer prints by other ways than Python's
    rooms.ROOMS = Path(os.devnull)
    task, use, cases, seconds = pickle.load(sys.stdin.buffer)
    try:
        answer = pickle.loads(task)
    except Exception as error:
        words = f"{words_of(error)}, where the course's own answers are closed"
        found = [Outcome("raised", words=words)]
    else:
        use = pickle.loads(use)
        found = list(outcomes(partial(use, answer) if use else answer, cases, seconds))
    out.write(pickle.dumps(found))
    out.close()
