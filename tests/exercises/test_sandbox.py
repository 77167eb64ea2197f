"""Whatever an answer does ends with the call."""

import io
import random
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from by_hand import define, tell

from course_utils.rooms import load
from course_utils.runtime import ROOT

# These tests see the alarm's own timer and handler, which the test run's time limit would use too.
pytestmark = pytest.mark.timeout(method="thread")

seed_interval = load("09", "exercises").seed_interval


def raises(error):
    def answer(values, t):
        raise error

    return answer


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("no words")


@pytest.mark.parametrize(
    "error, words",
    [
        (ZeroDivisionError("division by zero"), "raised ZeroDivisionError: division by zero"),
        (ValueError("first line\nsecond line"), "raised ValueError: first line"),
        (ValueError(), "raised ValueError"),
        (
            TypeError("got <object object at 0x7f00deadbeef>"),
            "raised TypeError: got <object object at 0x...>",
        ),
        (
            FileNotFoundError("no /some/folder/of/mine/file.txt"),
            "raised FileNotFoundError: no file.txt",
        ),
        (Unspeakable(), "raised Unspeakable"),
        (BaseException("all"), "raised BaseException: all"),
        (GeneratorExit(), "raised GeneratorExit"),
    ],
)
def test_exceptions_become_one_line(error, words):
    lines = tell(raises(error))[1].splitlines()
    assert lines == [
        f"Exercise 09.1 · not right yet: {words}",
        "  smallest case: seed_interval(values=[0.9, 0.94], t=12.706)",
    ]


@pytest.mark.parametrize(
    "leave",
    [lambda: exit(), lambda: quit(1), lambda: sys.exit("bye"), lambda: raises(SystemExit(0))(0, 0)],
)
def test_leaving_is_refused_and_standard_input_stays_open(leave, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    before = sys.stdin
    assert "left by exit() or SystemExit" in tell(lambda values, t: leave())[1]
    assert sys.stdin is before and not before.closed


def test_endless_recursion():
    def answer(values, t):
        return answer(values, t)

    assert "calls itself without an end (RecursionError)" in tell(answer)[1]


LOOPS = {
    "plain": "def f(values, t):\n while True: pass",
    "except Exception": (
        "def f(values, t):\n while True:\n  try: len(values)\n  except Exception: pass"
    ),
    "bare except": "def f(values, t):\n while True:\n  try: len(values)\n  except: pass",
    "sleeps": "import time\ndef f(values, t):\n while True:\n  try: time.sleep(9)\n  except: pass",
    "three deep": (
        """
import time
def f(values, t):
    while True:
        try:
            while True:
                try:
                    while True:
                        try: time.sleep(9)
                        except: continue
                except: pass
        except: pass"""
    ),
    "exit again and again": (
        "def f(values, t):\n while True:\n  try: exit()\n  except BaseException: pass"
    ),
    "recursion again and again": (
        """
def f(values, t):
    try: f(values, t)
    except: f(values, t)"""
    ),
    "returns without end": "def f(values, t):\n while True:\n  print('x' * 100)",
}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no interval timer")
@pytest.mark.parametrize("code", list(LOOPS.values()), ids=list(LOOPS))
def test_endless_loops_end(code):
    """In a process of its own: what recurses again and again can leave too little stack for pytest,
    and would then take its worker along.
    """
    script = (
        "import signal\nfrom course_utils.exercises import _find, verdict\n"
        f"space = {{}}\nexec(compile({code!r}, '<cell>', 'exec'), space)\n"
        "print(verdict(_find('09.1'), space['f'], time_limit=0.2)[1])\n"
        "print(signal.getitimer(signal.ITIMER_REAL))\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "did not finish within 0.2 seconds: is there a loop without an end?" in done.stdout
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "(0.0, 0.0)", done.stderr


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no interval timer")
def test_timer_and_handler_of_the_notebook_are_put_back():
    def mine(signum, frame):
        raise AssertionError("not now")

    old = signal.signal(signal.SIGALRM, mine)
    try:
        signal.setitimer(signal.ITIMER_REAL, 100, 7)
        tell(seed_interval)
        tell(define(LOOPS["sleeps"]), time_limit=0.1)
        left, every = signal.setitimer(signal.ITIMER_REAL, 0)
        assert 0 < left <= 100 and every == 7 and signal.getsignal(signal.SIGALRM) is mine
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_works_outside_the_main_thread():
    told = []
    thread = threading.Thread(target=lambda: told.append(tell(seed_interval)))
    thread.start()
    thread.join()
    assert told[0][0] is True


def test_the_reader_can_still_interrupt():
    stdout = sys.stdout
    with pytest.raises(KeyboardInterrupt):
        tell(raises(KeyboardInterrupt()))
    assert sys.stdout is stdout


@pytest.mark.parametrize(
    "change", ["values.append(1.0)", "values[0] = 0.0", "values.clear()", "values.append(values)"]
)
def test_a_changed_argument_is_named_even_when_the_result_is_right(change):
    code = f"def f(values, t):\n    m = sum(values) / len(values)\n    {change}\n    return m, 1.0"
    text = tell(define(code))[1]
    assert "changes its argument `values` in place" in text or "without an end" in text
    assert "values=[0.9, 0.94]" in text  # the case itself is as it was


def test_random_state_stays_and_every_call_begins_with_the_same():
    drawn = []

    def answer(values, t):
        drawn.append((random.random(), np.random.rand(), torch.rand(()).item()))
        random.seed(5), np.random.seed(5), torch.manual_seed(5)
        return seed_interval(values, t)

    def state():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = state()
    assert tell(answer)[0] and len(set(drawn)) == 1 and state() == before
