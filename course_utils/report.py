"""Printing that can be checked: a number with its band, a formula with its twin, a guess with
its result.

What these functions print is the same on every machine but for measured numbers, so a notebook's
stored output can be compared word for word, while each number is checked against its band.
"""

import json
import math
import os
import re
from pathlib import Path

from course_utils.runtime import reader_folder, strict


def report(name: str, value: float, near: float, within: float, unit: str = "") -> None:
    """Print the reader's own number, and what this page expects: `near`, at most `within` away.

    Outside that band, raise AssertionError under `COURSE_STRICT=1`; otherwise say so and go on,
    since a reader who changes a setting should see the new number and not an error. Tests compare
    all but the number itself (the rule "a measured number" of tests/sanitize.cfg).

    >>> report("fused accuracy", 0.941, near=0.95, within=0.02)
    fused accuracy: 0.941   [expected 0.95, within 0.02]
    """
    if not 0 < within < math.inf:
        raise ValueError(
            f"within must be positive and finite, got {within!r}: the band says how far the number"
            " may drift"
        )
    value = float(value)
    unit = f" {unit}" if unit else ""
    line = f"{name}: {_digits(value, within)}{unit}   [expected {near:g}, within {within:g}]"
    if abs(value - near) <= within:  # False for NaN, as it should be
        print(line)
        return
    if strict():
        raise AssertionError(f"{line}: outside the band of this page")
    print(
        f"{line}\n  Outside that band. If you changed something above, this is your result; if you"
        " did not, run the page from the top."
    )


def _digits(value: float, within: float) -> str:
    """A number with one decimal more than its band has."""
    decimals = 1 - math.floor(math.log10(within))
    return f"{value:z.{max(decimals, 0)}f}" if decimals <= 6 else f"{value:.2g}"


def verify(key: str, by_hand, reference, tolerance: float = 1e-9) -> None:
    """Check equation `key` on numbers: `by_hand` against `reference`, both float64 and of one
    shape.

    The largest difference, relative to the reference's largest entry, must be below `tolerance`.
    Raises AssertionError when it is not, TypeError for less than float64, ValueError for shapes
    that differ, for values that are not finite, for a reference of zeros, because zeros agree
    with almost any formula, and for a tolerance of 1 or more, because zeros would pass.
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance: expected more than 0 and less than 1, got {tolerance!r}")
    difference = relative_difference(f"equation {key}", by_hand, reference)
    if not difference < tolerance:
        raise AssertionError(
            f"equation {key}: by hand and reference differ by {difference:.2g} of the largest entry"
            f" (allowed: {tolerance:g})"
        )
    print(f"equation {key} holds: by hand and reference agree to {tolerance:g}")


def two_sides(name: str, by_hand, reference) -> tuple:
    """Both sides of a comparison as tensors that it can rest on: float64, on the CPU, finite, of
    one shape, the reference not all 0. Nested lists may hold plain numbers and whatever is
    float64.

    Raises TypeError or ValueError with `name` in front when they are not.
    """
    import torch

    sides = {}
    for side, value in (("by_hand", by_hand), ("reference", reference)):
        if narrow := _dtypes(value) - {"float", "float64", "torch.float64"}:
            raise TypeError(
                f"{name}: {side} is {', '.join(sorted(narrow))}, expected torch.float64 (call"
                " .double() on the inputs)"
            )
        # said, since a tensor would else move to where the reader's new tensors go
        tensor = torch.as_tensor(value, dtype=torch.float64, device="cpu").detach()
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name}: {side} holds values that are not finite")
        sides[side] = tensor
    hand, ref = sides["by_hand"], sides["reference"]
    if hand.shape != ref.shape:
        raise ValueError(
            f"{name}: by_hand has shape {tuple(hand.shape)}, reference has shape {tuple(ref.shape)}"
        )
    if not ref.any():
        raise ValueError(
            f"{name}: the reference is zero everywhere, which proves nothing; use random inputs"
        )
    return hand, ref


def _dtypes(value) -> set[str]:
    """The names of the dtypes in a value, or in nested lists, where a whole number is exact."""
    if isinstance(value, (list, tuple)):
        return set().union(*map(_dtypes, value)) - {"int"}
    return {str(getattr(value, "dtype", type(value).__name__))}


def relative_difference(name: str, by_hand, reference) -> float:
    """The largest difference of two sides, relative to the reference's largest entry; errors as
    in `two_sides`.
    """
    hand, ref = two_sides(name, by_hand, reference)
    return ((hand - ref).abs().max() / ref.abs().max()).item()


_unsaved: dict[Path, dict] = {}  # notes that their file did not take, until it does
# json recurses on what nests too deeply; NotImplementedError: a disk that knows no locks
UNREADABLE = (OSError, ValueError, RecursionError, NotImplementedError)
TYPES = {
    "answer": (int, float, str),
    "sure": (int, float),
    "right": (bool, type(None)),
    "solved": (str,),
}


def _stored(file: Path) -> dict:
    """The notes in a file, {} where there is none; one of UNREADABLE where it is damaged."""
    if not file.exists():
        return {}
    notes = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(notes, dict) or not all(isinstance(note, dict) for note in notes.values()):
        raise ValueError("it does not hold one note for each name")
    for key, note in notes.items():
        for name, value in note.items():
            if not isinstance(value, TYPES.get(name, object)):
                raise ValueError(f"{key} has {value!r:.40} for {name}")
    return notes


def notes(name: str) -> dict:
    """The reader's notes of one kind ("guesses", "exercises" or "passport"), {} where there are
    none yet.
    """
    file = reader_folder() / f"{name}.json"
    try:
        stored = _stored(file)
    except UNREADABLE as error:
        _complain(file, error)
        stored = {}
    return stored | _unsaved.get(file, {})


def note(name: str, key: str, entries: dict, first: dict | None = None) -> None:
    """Add entries to one note, so that neither two notebooks at once nor an interruption loses
    any; those of `first` only where the note has none of that name. A file that cannot be read or
    written stays as it is, and the note waits in memory.
    """
    from filelock import FileLock  # comes with torch

    file = reader_folder() / f"{name}.json"
    draft = file.with_suffix(f".{os.getpid()}.draft")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock"), timeout=5):
            known = _stored(file) | _unsaved.get(file, {})
            known[key] = {**(first or {}), **known.get(key, {}), **entries}
            draft.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
            draft.replace(file)
        _unsaved.pop(file, None)
    except UNREADABLE as error:
        known = notes(name).get(key, {})
        _complain(file, error)
        _unsaved[file][key] = {**(first or {}), **known, **entries}


def _complain(file: Path, error: Exception) -> None:
    """Say, once until the file takes notes again, that it does not, and what to do."""
    if file in _unsaved:
        return
    _unsaved[file] = {}
    why = getattr(error, "strerror", None) or error
    print(f"{file}: {why}. What you note is kept only while this notebook runs.")
    print("Move the file away, or name a folder that can be written in COURSE_HOME.")


def guess(key: str, answer=None, sure: float = 0.5) -> None:
    """Note a prediction before its result is seen: a number, or a word such as "audio".

    `sure` is the probability, between 0 and 1, that you give to being right. `outcome(key, ...)`
    tells later how it went, and `guesses` lists a page's predictions. An answer of None notes
    nothing. The notes stay in the reader's own folder, beside the notebooks; where that takes
    none, a line says so and they last while the notebook runs.
    Raises ValueError for another `sure`, TypeError for an answer of another kind.
    """
    if not (isinstance(sure, (int, float)) and 0 <= sure <= 1):
        raise ValueError(f"guess {key}: sure is a probability between 0 and 1, got {sure!r}")
    if answer is None:
        print(
            f"Guess {key}: nothing noted yet. Put your answer in place of None and run this cell"
            " again."
        )
        return
    if isinstance(answer, bool) or not isinstance(answer, (int, float, str)):
        raise TypeError(f"guess {key}: answer is a number or a word, got {type(answer).__name__}")
    note("guesses", key, {"answer": answer, "sure": sure, "right": None})
    print(f"Guess {key}: {answer!r}, {sure:.0%} sure. Noted; read on.")


def made_guesses() -> dict:
    """The guesses that were made, by key; a result without one is none."""
    made = {"answer", "sure"}
    return {key: said for key, said in notes("guesses").items() if made <= said.keys()}


def outcome(key: str, result: float | str, within: float = 0.0) -> None:
    """Compare the guess `key` with its result: right if it is the same word, or a number at most
    `within` away, and then how far off it is.

    A guess may be said in any natural form: 91, "91%" and "0,91" are 0.91 where the result is a
    share; "No, it won't" is "no". Raises ValueError for a `within` below 0.
    """
    if not 0 <= within < math.inf:
        raise ValueError(f"within: expected a finite number of at least 0, got {within!r}")
    said = made_guesses().get(key)
    numeric = isinstance(result, (int, float))
    about = str(result) if not numeric else f"{result:g}" + (f", within {within:g}" * (within > 0))
    if said is None:
        print(f"Guess {key}: the result is {about}. You made no guess.")
        return
    answer = said["answer"]
    if numeric:
        number = _number(answer, result)
        right = number is not None and math.isclose(
            number, result, rel_tol=0.0, abs_tol=within + 1e-9
        )
        off = "" if number is None or number == result else f", off by {abs(number - result):.2g}"
    else:
        right, off = _word(answer, result), ""
    note("guesses", key, {"right": right})
    print(
        f"Guess {key}: the result is {about}. You said {answer!r}, {said['sure']:.0%} sure:"
        f" {'right' if right else 'not this time'}{off}."
    )


def _number(answer, result: float) -> float | None:
    """What a reader's answer says as a number; a percentage where the result is a share of 1."""
    text = str(answer).strip(" .!?'\"").replace(",", ".")
    try:
        number = float(text.rstrip("% "))
    except ValueError:
        return None
    share = isinstance(result, float) and 0 <= result <= 1  # a whole number is a count
    return number / 100 if share and (text.endswith("%") or 1 < number <= 100) else number


def _word(answer, result: str) -> bool:
    """Whether an answer is the word, or begins with it: "No, it won't"."""
    words, wanted = (re.findall(r"[\w'-]+", text.lower()) for text in (str(answer), result))
    return bool(wanted) and words[: len(wanted)] == wanted


def guesses(page: str) -> None:
    """List the guesses of a page ("00") with what came of them."""
    mine = {key: said for key, said in sorted(made_guesses().items()) if key.split(".")[0] == page}
    if not mine:
        print(f"You made no guesses on page {page}.")
    for key, said in mine.items():
        result = {True: "right", False: "not this time", None: "result not seen yet"}[
            said.get("right")
        ]
        print(f"Guess {key}: {said['answer']!r}, {said['sure']:.0%} sure: {result}")


def passport(page: str, **lines: str) -> None:
    """Add this page's lines to the reader's own model card, passport.json in the reader's
    folder, and print them.
    """
    note("passport", page, lines)
    print(f"Your passport, page {page}:")
    for name, text in lines.items():
        print(f"  {name.replace('_', ' ')}: {text}")
