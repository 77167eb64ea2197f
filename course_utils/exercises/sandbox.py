"""Calls a reader's function so that nothing it does outlives the call."""

import builtins
import contextlib
import io
import itertools
import os
import random
import re
import signal
import sys
import threading
import time
import warnings
from _thread import interrupt_main
from dataclasses import dataclass

from .compare import copied, freeze

TICK = 0.01  # seconds between two alarms
PATIENCE = 4  # an answer that sleeps, or a busy machine, gets this many times the seconds
IMPORTS = 60.0  # seconds for the imports of one call; a library's first takes a few
MACHINERY = "<frozen importlib."  # what Python's own files of the import system are called


class TimeUp(BaseException):
    """The time limit. Not an Exception, so that `except Exception` does not swallow it."""

    kind = "slow"


class LongImport(TimeUp):
    """The time limit of imports."""

    kind = "importing"


class Asked(Exception):
    """The answer has called `input()`."""


@dataclass
class Outcome:
    """What one call came to: `kind` is value, raised, endless, exit, asked, slow or importing."""

    kind: str
    value: object = None  # frozen, for the kind value
    words: str = ""  # error type and first line, for the kind raised
    changed: tuple = ()  # positions of the arguments that the call changed in place


def outcomes(answer, cases, seconds: float):
    """One `Outcome` after the other, of calls with copies of the cases; none after one that did not
    come back, since the next would take as long.
    """
    for args in cases:
        outcome = call(answer, copied(args), seconds)
        yield outcome
        if outcome.kind not in ("value", "raised"):
            return


def call(answer, args: tuple, seconds: float) -> Outcome:
    """Outcome of `answer(*args)`, stopped after `seconds`; `args` may be changed by the call.

    Captures what is printed, turns `exit()` and `input()` into outcomes, and puts back the random
    state, what `known_state` names, tracing, the standard streams, the signal handler and the
    timer. `seconds` are the answer's own: CPU time of this thread, imports not counted, which have
    `IMPORTS` seconds for themselves; of the clock's time both get `PATIENCE` times as much. Without
    `signal.setitimer` (Windows) and outside the main thread there is no time limit. A long call
    inside C cannot be interrupted, only noticed when it returns. KeyboardInterrupt passes through.
    """
    before = [repr(freeze(arg)) for arg in args]
    modules = set(sys.modules)
    try:
        with known_state(), _random_state(), _streams(), _no_exit(), _time_limit(seconds):
            value, after, words = _inside(answer, args)
    except TimeUp as up:
        _forget_parts(modules)
        return Outcome(up.kind)
    except RecursionError:
        return Outcome("endless")
    except SystemExit:
        return Outcome("exit")
    except Asked:
        return Outcome("asked")
    if words:
        return Outcome("raised", words=words)
    changed = tuple(i for i, (a, b) in enumerate(zip(before, after)) if a != b)
    return Outcome("value", value, changed=changed)


def _inside(answer, args):
    """The only frame in which an alarm raises. Everything of the reader's runs here: also the text
    of an error, and what freezing asks of a result.
    """
    trace, profile = sys.gettrace(), sys.getprofile()
    try:
        value = freeze(answer(*args))
        return value, [repr(freeze(arg)) for arg in args], ""
    except (KeyboardInterrupt, TimeUp, RecursionError, SystemExit, Asked):
        raise
    except BaseException as error:
        return None, [], words_of(error)
    finally:
        sys.settrace(trace)
        sys.setprofile(profile)


def _forget_parts(before):
    """Python takes a module back out whose import failed; here go the whole modules inside a
    package that it took out. Other new modules stay, since some libraries load only once.
    """
    for name in sorted(set(sys.modules) - before):  # a package comes before what it holds
        package = name.rpartition(".")[0]
        if package and package not in sys.modules:
            del sys.modules[name]


class _Due:
    """`_due[signum]` makes one more alarm due, which Python notices at its next call or jump back.

    A reader's bare `except` inside a loop swallows an alarm and goes on; the next one then
    strikes in the `except` block, outside that `try`, and so gets out, level by level. An index
    and not a call, because Python looks for alarms after each call: this one would strike while
    the first is not yet raised.
    """

    __getitem__ = staticmethod(interrupt_main)


_due = _Due()


@contextlib.contextmanager
def _time_limit(seconds):
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    alarms = itertools.count()
    # By whether an import is going on: what is left of the thread's CPU time, of the clock's.
    left = {False: [seconds, PATIENCE * seconds], True: [IMPORTS, PATIENCE * IMPORTS]}
    last = [time.thread_time(), time.monotonic()]

    def alarm(signum, frame):
        # Raises only while _inside is running, so that no late alarm hits this file's own cleaning
        # up, and never in the import system's own code, which holds locks.
        holds_locks = frame.f_code.co_filename.startswith(MACHINERY)
        importing = False
        while frame is not None and frame.f_code is not _inside.__code__:
            importing = importing or frame.f_code.co_filename.startswith(MACHINERY)
            frame = frame.f_back
        for i, now in enumerate((time.thread_time(), time.monotonic())):
            left[importing][i] -= now - last[i]
            last[i] = now
        if frame is None or holds_locks or min(left[importing]) > 0:
            return
        # In turns every alarm raises, every second, every third: Python 3.12 counts the jump back
        # out of an `except` to the `try` before it, and an alarm there would be swallowed for ever.
        number = next(alarms)
        raises = number % (number // 32 % 3 + 1) == 0
        _due[signum]
        if raises:
            raise LongImport if importing else TimeUp

    handler = signal.signal(signal.SIGALRM, alarm)
    timer = signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # first of all, while the handler is still ours
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler if handler is not None else signal.SIG_DFL)


class _Sink(io.TextIOBase):
    """Takes everything and keeps nothing: an endless `print` must not fill the memory."""

    def write(self, text):
        return len(text)


@contextlib.contextmanager
def _replaced(owner, name, value):
    """`owner.name` is `value` for a while; an attribute that only the class had goes again."""
    had, old = name in vars(owner), vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, old) if had else delattr(owner, name)


@contextlib.contextmanager
def _streams():
    """Outside IPython, `exit()` closes the standard input before it raises: give it another.
    Inside a notebook, `input()` would wait for somebody to type.
    """

    def refuse(*_):
        raise Asked

    with contextlib.redirect_stdout(_Sink()), contextlib.redirect_stderr(_Sink()):
        with _replaced(sys, "stdin", io.StringIO()), _replaced(builtins, "input", refuse):
            yield


@contextlib.contextmanager
def _no_exit():
    """Inside IPython, `exit()` raises nothing: it asks the shell to stop after the cell."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        yield
        return

    def ask_exit(*_):
        raise SystemExit

    with _replaced(shell, "ask_exit", ask_exit):
        yield


@contextlib.contextmanager
def known_state():
    """torch as it is in a new session (float32, CPU, gradients on), so that a verdict does not
    depend on the page; afterwards all as it was.

    Put back are those, torch's threads, print options, warnings, NumPy's error handling,
    matplotlib's rcParams, the working folder, the environment, `sys.path` and the recursion limit;
    of a library that is loaded only meanwhile, nothing.
    """
    torch, numpy, matplotlib = map(sys.modules.get, ("torch", "numpy", "matplotlib"))
    environment, path, limit = dict(os.environ), list(sys.path), sys.getrecursionlimit()
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(contextlib.chdir(os.curdir))
        if numpy is not None:
            stack.enter_context(numpy.errstate())
            stack.enter_context(numpy.printoptions())
        if matplotlib is not None:
            stack.enter_context(matplotlib.rc_context())
        if torch is not None:
            stack.enter_context(torch._tensor_str.printoptions())
            stack.enter_context(_new_torch(torch))
        try:
            yield
        finally:
            sys.setrecursionlimit(limit)
            sys.path[:] = path
            if os.environ != environment:
                os.environ.clear()
                os.environ.update(environment)


@contextlib.contextmanager
def _new_torch(torch):
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        # the CPU as a chosen device would cost a little at every call
        torch.set_default_device(None if device.type == "cpu" else device)
        torch.set_grad_enabled(grad)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


@contextlib.contextmanager
def _random_state():
    """Every call starts from seed 0, and the notebook's generators stay as they were."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    states = [(random.setstate, random.getstate())]
    random.seed(0)
    if numpy is not None:
        states.append((numpy.random.set_state, numpy.random.get_state()))
        numpy.random.seed(0)
    if torch is not None:
        states.append((torch.set_rng_state, torch.get_rng_state()))
        torch.default_generator.manual_seed(0)
    try:
        yield
    finally:
        for restore, state in states:
            restore(state)


@contextlib.contextmanager
def unheard():
    """For programs of the course: no warning, nothing printed, the random state as for an answer,
    and afterwards as it was.
    """
    with warnings.catch_warnings(), _random_state(), _streams():
        warnings.simplefilter("ignore")
        yield


def words_of(error):
    """Type and first line, without memory addresses and without folders."""
    try:
        first = (freeze(str(error))[:2000].strip().splitlines() or [""])[0]
    except Exception:
        first = ""
    first = re.sub(r"0x[0-9a-fA-F]+", "0x...", first)
    first = re.sub(r"(?:[A-Za-z]:)?[\\/](?:[\w.~-]+[\\/])+", "", first)
    return type(error).__name__[:100] + (f": {first[:200]}" if first else "")
