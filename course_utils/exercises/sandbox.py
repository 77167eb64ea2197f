"""Calls a reader's function so that nothing it does outlives the call."""

import contextlib
import io
import itertools
import random
import re
import signal
import sys
import threading
from _thread import interrupt_main
from dataclasses import dataclass

from .compare import freeze

TICK = 0.01  # seconds between two alarms once the time is up


class TimeUp(BaseException):
    """The time limit. Not an Exception, so that `except Exception` does not swallow it."""


@dataclass
class Outcome:
    """What one call came to: `kind` is value, raised, endless, exit or slow."""

    kind: str
    value: object = None  # frozen, for the kind value
    words: str = ""  # error type and first line, for the kind raised
    changed: tuple = ()  # positions of the arguments that the call changed in place


def call(answer, args: tuple, seconds: float) -> Outcome:
    """Outcome of `answer(*args)`, stopped after `seconds`; `args` may be changed by the call.

    Captures what is printed, turns `exit()` into an outcome, and puts back the random state,
    the standard streams, the signal handler and the timer. Without `signal.setitimer` (Windows)
    and outside the main thread there is no time limit. A long call inside C cannot be
    interrupted, only noticed when it returns. KeyboardInterrupt passes through.
    """
    before = [repr(freeze(arg)) for arg in args]
    try:
        with _random_state(), _streams(), _no_exit(), _time_limit(seconds):
            value, after = _inside(answer, args)
    except KeyboardInterrupt:
        raise
    except TimeUp:
        return Outcome("slow")
    except RecursionError:
        return Outcome("endless")
    except SystemExit:
        return Outcome("exit")
    except BaseException as error:
        return Outcome("raised", words=_words(error))
    changed = tuple(i for i, (a, b) in enumerate(zip(before, after)) if a != b)
    return Outcome("value", value, changed=changed)


def _inside(answer, args):
    """The only frame in which an alarm raises. Freezes here, where endless structures are
    caught.
    """
    value = freeze(answer(*args))
    return value, [repr(freeze(arg)) for arg in args]


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

    def alarm(signum, frame):
        # Raises only while _inside is running, so that no late alarm hits this file's own cleaning
        # up.
        while frame is not None and frame.f_code is not _inside.__code__:
            frame = frame.f_back
        if frame is None:
            return
        # In turns every alarm raises, every second, every third: Python 3.12 counts the jump back
        # out of an `except` to the `try` before it, and an alarm there would be swallowed for ever.
        number = next(alarms)
        raises = number % (number // 32 % 3 + 1) == 0
        _due[signum]
        if raises:
            raise TimeUp

    handler = signal.signal(signal.SIGALRM, alarm)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, TICK)
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
    """Outside IPython, `exit()` closes the standard input before it raises: give it another."""
    with contextlib.redirect_stdout(_Sink()), contextlib.redirect_stderr(_Sink()):
        with _replaced(sys, "stdin", io.StringIO()):
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


def _words(error):
    """Type and first line, without memory addresses and without folders."""
    try:
        first = (str(error).strip().splitlines() or [""])[0]
    except Exception:
        first = ""
    first = re.sub(r"0x[0-9a-fA-F]+", "0x...", first)
    first = re.sub(r"(?:[A-Za-z]:)?[\\/](?:[\w.~-]+[\\/])+", "", first)
    return type(error).__name__ + (f": {first[:200]}" if first else "")
