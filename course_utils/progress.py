"""What the reader has solved, and how well guesses were known to be right.

    python -m course_utils.progress

Reads what `check` and `guess` have noted in the reader's folder, and the pages' own lists of
exercises. It changes nothing, and imports nothing heavy. In a cell: `show_progress()`.
"""

import itertools
import math
import re
import sys
import textwrap

from course_utils.report import made_guesses, notes
from course_utils.rooms import rooms
from course_utils.runtime import reader_folder

WIDTH = 100
CARD = re.compile(r"^# > \*\*Exercise (\d\d\.\w+) · (.+?)\*\*", re.M)
ENOUGH = 10  # results, before anything is said of how they fit
FEW, BINS = 5, 4  # the fewest guesses of one line, and the most lines
TAIL = 0.025  # of how many would be right, on each side of what fits


def show_progress() -> None:
    """Print which exercises are solved, page by page, and how the guesses went."""
    print(f"Your notes: {reader_folder().absolute()}\n")
    show_exercises(notes("exercises"))
    print()
    show_guesses(made_guesses())


# ---- exercises ----


def pages() -> dict[str, tuple[str, dict[str, str]]]:
    """Each page's title and its exercises, {key: name}, as its source has them."""
    found = {}
    for number, room in rooms().items():
        if not (room / "page.py").is_file():
            continue
        text = (room / "page.py").read_text(encoding="utf-8")
        title = re.search(r"^# # (.+)", text, re.M)
        found[number] = (title[1] if title else room.name, dict(CARD.findall(text)))
    return found


def show_exercises(verdicts: dict) -> None:
    """Print how many exercises are solved, and of each page those that are and those that are
    open. `verdicts` is what `check` has noted.
    """
    solved = {key: said["solved"] for key, said in verdicts.items() if "solved" in said}
    course = pages()
    listed = [key for _, exercises in course.values() for key in exercises]
    if course:
        print(f"{len(solved.keys() & set(listed))} of {len(listed)} exercises are solved.")
    else:
        print("What is open is not known: the pages lie in the course's repository, not here.")
    for number, (title, exercises) in course.items():
        done = [key for key in exercises if key in solved]
        count = f"{len(done)} of {len(exercises)}" if exercises else "no exercises"
        _line(f"{number}  {count:8} {title}", 13)
        tried = {key: " (tried)" if key in verdicts else "" for key in exercises}
        left = [f"{key} {exercises[key]}{tried[key]}" for key in exercises if key not in solved]
        _list("solved", [f"{key} ({solved[key]})" for key in done])
        _list("open", left)
    others = [f"{key} ({day})" for key, day in sorted(solved.items()) if key not in listed]
    if others and course:
        print("Exercises that this edition of the course does not have:")
    _list("solved", others)
    if not course and not others:
        print("No exercise is solved yet.")


def _list(name: str, entries: list[str]) -> None:
    """One line, "open: this; that", broken where it must be; none where there is no entry."""
    if entries:
        _line(f"{'':13}{name}: {'; '.join(entries)}", 15)


def _line(text: str, indent: int) -> None:
    print(textwrap.fill(text, WIDTH, subsequent_indent=" " * indent, break_long_words=False))


# ---- guesses ----


def show_guesses(made: dict) -> None:
    """Print how sure the reader was, and how often that was right. `made` is what `guess` and
    `outcome` have noted.
    """
    if not made:
        print("No guess is made yet.")
        return
    known = [
        (said["sure"], said["right"])
        for said in made.values()
        if said.get("right") is not None and 0 <= said["sure"] <= 1
    ]
    waiting = sorted(key for key, said in made.items() if said.get("right") is None)
    print(f"{_count(len(made), 'guess', 'guesses')}, {len(known)} with a result.")
    _list("result not seen yet", waiting)
    if len(known) < ENOUGH:
        right = sum(was_right for _, was_right in known)
        print(
            f"{right} of {len(known)} right. Too few to say if you are as often right as you are"
            f" sure: {ENOUGH} are needed."
        )
        return
    print('"Fits": how many would be right, in 19 of 20 such lists, if you were as often right')
    print("as you were sure.")
    groups = bins(known)
    for group in groups if len(groups) > 1 else []:
        low, high = group[0][0], group[-1][0]
        between = f"{low:.0%}" if low == high else f"{low:.0%} to {high:.0%}"
        print(f"{'':13}{between + ' sure:':18}{_fit(group)}")
    print(f"{'':13}{'all:':18}{_fit(known)}")
    print(_judge(known))


def bins(known: list[tuple[float, bool]]) -> list[list[tuple[float, bool]]]:
    """The guesses in the order of how sure they were, cut into at most `BINS` groups of at least
    `FEW`, never between two that were as sure as each other.
    """
    least = max(FEW, math.ceil(len(known) / BINS))
    groups = [[]]
    for _, same in itertools.groupby(sorted(known), key=lambda one: one[0]):
        if len(groups[-1]) >= least:
            groups.append([])
        groups[-1] += same
    if len(groups) > 1 and len(groups[-1]) < FEW:
        rest = groups.pop()
        groups[-1] += rest
    return groups


def fitting(sures: list[float]) -> tuple[int, int]:
    """The fewest and the most right guesses that fit: outside lies 1 case in 40 on each side, if
    each guess is right with the probability that was given to it.
    """
    chances = [1.0]  # of 0, 1, 2, ... right ones
    for sure in sures:
        missed = [chance * (1 - sure) for chance in chances] + [0.0]
        met = [0.0] + [chance * sure for chance in chances]
        chances = [one + other for one, other in zip(missed, met)]
    below = list(itertools.accumulate(chances))  # at most so many
    low = next(k for k, chance in enumerate(below) if chance > TAIL)
    high = next(k for k, chance in enumerate(below) if chance >= 1 - TAIL)
    return low, high


def _fit(known) -> str:
    """One line of the list: how many were right, and how many would have been."""
    right = sum(was_right for _, was_right in known)
    sure = sum(sure for sure, _ in known) / len(known)
    low, high = fitting([sure for sure, _ in known])
    fits = f"{low}" if low == high else f"{low} to {high}"
    return (
        f"{right:2} of {len(known):2} right, {right / len(known):.0%};"
        f" {sure:.0%} sure on average, fits {fits}"
    )


def _judge(known) -> str:
    """What all guesses together say, in a sentence."""
    right = sum(was_right for _, was_right in known)
    low, high = fitting([sure for sure, _ in known])
    if right < low:
        return "You were right less often than you were sure. Say a smaller number next time."
    if right > high:
        return "You were right more often than you were sure. Say a larger number next time."
    return f"All together that fits; {len(known)} results show only a larger difference."


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a sign of a title
    show_progress()
