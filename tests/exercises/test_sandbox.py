"""Whatever an answer does ends with the call."""

import io
import os
import random
import signal
import subprocess
import sys
import threading
import warnings

import matplotlib
import numpy as np
import pytest
import torch
from by_hand import define, tell

from course_utils.rooms import load
from course_utils.runtime import ROOT

# These tests see the alarm's own timer and handler, which the test run's time limit would use too.
pytestmark = pytest.mark.timeout(method="thread")

alarmed = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="this platform has no interval timer"
)
seed_interval = load("09", "exercises").seed_interval


def raises(error):
    def answer(values, t):
        raise error

    return answer


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("no words")


class Talkative(Exception):
    def __str__(self):
        return "x" * 10**8


class Endless(Exception):
    def __str__(self):
        while True:
            pass


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
        (Talkative(), "raised Talkative: " + "x" * 200),
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


@alarmed
def test_an_error_whose_text_has_no_end():
    assert "did not finish within 0.2 seconds" in tell(raises(Endless()), time_limit=0.2)[1]


def test_input_is_named():
    text = tell(lambda values, t: input("How many? "))[1]
    assert "asks with input(), and nobody is there to type" in text


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


@alarmed
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
    said = "did not finish within 0.2 seconds: is there a loop without an end?"
    assert said in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "(0.0, 0.0)", done.stderr


@alarmed
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


# ---- what an answer sets ----

SETTINGS = {
    "default dtype": ("torch.set_default_dtype(torch.float64)", torch.get_default_dtype),
    "default device": ("torch.set_default_device('meta')", torch.get_default_device),
    "gradients": ("torch.set_grad_enabled(False)", torch.is_grad_enabled),
    "threads": ("torch.set_num_threads(torch.get_num_threads() + 1)", torch.get_num_threads),
    "how tensors print": (
        "torch.set_printoptions(precision=2)",
        lambda: str(torch.tensor([1 / 3])),
    ),
    "how arrays print": ("np.set_printoptions(precision=2)", lambda: str(np.array([1 / 3]))),
    "NumPy's errors": ("np.seterr(all='raise')", np.geterr),
    "warnings": ("warnings.simplefilter('error')", lambda: list(warnings.filters)),
    "rcParams": ("matplotlib.rcParams['lines.linewidth'] = 77", lambda: dict(matplotlib.rcParams)),
    "folder": ("os.chdir('/')", os.getcwd),
    "environment": ("os.environ.update(HOME='7', NEW='7')", lambda: dict(os.environ)),
    "a variable less": ("os.environ.pop('PATH')", lambda: dict(os.environ)),
    "import path": ("sys.path.insert(0, '7')", lambda: list(sys.path)),
    "recursion limit": ("sys.setrecursionlimit(5000)", sys.getrecursionlimit),
    "tracing": ("sys.settrace(lambda *event: None)", sys.gettrace),
    "profiling": ("sys.setprofile(lambda *event: None)", sys.getprofile),
}
IMPORTS = "import os, sys, warnings, matplotlib, numpy as np, torch\n"


@pytest.mark.parametrize("ends", ["return 0", "raise ValueError", "exit()"])
@pytest.mark.parametrize("change, read", SETTINGS.values(), ids=SETTINGS)
def test_what_an_answer_sets_ends_with_the_call(change, read, ends):
    answer = define(f"{IMPORTS}def f(values, t):\n    {change}\n    {ends}")
    before = read()
    assert not tell(answer)[0]
    assert read() == before


@pytest.mark.parametrize(
    "change, back",
    [
        ("torch.set_default_dtype(torch.float64)", "torch.set_default_dtype(torch.float32)"),
        ("torch.set_default_device('meta')", "torch.set_default_device(None)"),
        ("torch.set_grad_enabled(False)", "torch.set_grad_enabled(True)"),
    ],
)
def test_what_the_page_has_set_changes_no_verdict(change, back):
    """The gradient comes from autograd, and `torch.tensor(0.3)` has the default type."""
    answer = define(
        "def f(values, t):\n"
        "    assert torch.tensor(0.3).dtype == torch.float32\n"
        "    x = torch.ones(2, requires_grad=True)\n"
        "    return (x * torch.tensor(values)).sum().backward() or x.grad"
    )
    usual = tell(answer)
    assert "raised" not in usual[1]
    exec(change)
    try:
        assert tell(answer) == usual
        left = torch.get_default_dtype(), torch.get_default_device().type, torch.is_grad_enabled()
        assert left != (torch.float32, "cpu", True)
    finally:
        exec(back)


# ---- whose time it is ----

SLOW_MODULE = """
import time
start = time.thread_time()
while time.thread_time() < start + {seconds}:
    pass
time.sleep({seconds})
whole = True
"""
INTERVAL = "return sum(values) / len(values), t * (np.var(values, ddof=1) / len(values)) ** 0.5"


@alarmed
@pytest.mark.parametrize(
    "statement", ["import {}", "import importlib\n    importlib.import_module('{}')"]
)
def test_an_import_costs_no_time_and_is_not_interrupted(statement, tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text(SLOW_MODULE.format(seconds=1.5))
    monkeypatch.syspath_prepend(tmp_path)
    work = "start = time.thread_time()\n    while time.thread_time() < start + 0.03: pass"
    lines = statement.format("slow_to_import"), work, INTERVAL
    code = "import time\ndef f(values, t):\n    " + "\n    ".join(lines)
    right, text = tell(define(code), time_limit=0.3)
    assert right, text
    assert sys.modules.pop("slow_to_import").whole


@alarmed
def test_after_an_import_the_time_goes_on(tmp_path, monkeypatch):
    (tmp_path / "slow_before_a_loop.py").write_text(SLOW_MODULE.format(seconds=0.3))
    monkeypatch.syspath_prepend(tmp_path)
    code = "def f(values, t):\n    import slow_before_a_loop\n    while True: pass"
    assert "did not finish within 0.2 seconds" in tell(define(code), time_limit=0.2)[1]
    assert sys.modules.pop("slow_before_a_loop").whole


ENDLESS_MODULES = {
    "plain": "while True: pass",
    "bare except": "while True:\n    try: len('')\n    except: pass",
    "imports in a loop": "import json\nwhile True:\n    from json import loads",
    "after a part of its own": "from endless_package import whole\nwhile True: pass",
    "two deep": "from endless_package import endless_part",
}


@alarmed
@pytest.mark.parametrize("code", ENDLESS_MODULES.values(), ids=ENDLESS_MODULES)
def test_an_import_that_never_ends(code, tmp_path):
    """In a process of its own, which can be stopped where the limit fails. Afterwards the mended
    module can be imported: nothing holds a lock or a part of the old one.
    """
    package = tmp_path / "endless_package"
    package.mkdir()
    (package / "__init__.py").write_text(code)
    (package / "whole.py").write_text("x = 1")
    (package / "endless_part.py").write_text("while True: pass")
    script = (
        "import pathlib, sys\nfrom course_utils import exercises\n"
        "exercises.IMPORTS = exercises.sandbox.IMPORTS = 0.3\n"
        "def f(values, t):\n    import endless_package\n"
        "print(exercises.verdict(exercises._find('09.1'), f)[1])\n"
        "print([name for name in sys.modules if name.startswith('endless_package')])\n"
        "print('json' in sys.modules)\n"
        f"pathlib.Path({str(package)!r}, '__init__.py').write_text('from . import whole')\n"
        "import endless_package\nprint(endless_package.whole.x)\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    verdict, *_, left, json, again = done.stdout.splitlines()
    assert "an import did not finish within 0.3 seconds: is there a loop in a module?" in verdict
    assert (left, json, again) == ("[]", "True", "1")


@alarmed
def test_waiting_is_not_working():
    """As on a busy machine, where the clock goes on and the answer does not."""
    answer = define(f"import time\ndef f(values, t):\n    time.sleep(0.5)\n    {INTERVAL}")
    right, text = tell(answer, time_limit=0.3)
    assert right, text
