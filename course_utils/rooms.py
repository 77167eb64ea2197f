"""A page's room: the folder `notebooks/source/NN_name` that holds all that one page owns.

    room("10")                                  the folder of page 10
    room("02", "sentences", "senses.txt")       a file in a room
    load("10", "exercises")                     a room's exercises.py as a module
    stored("10", "fits_real")                   the rows of a stored comparison

Nothing registers a page: a room is found by the number that its name begins with, in the course
that the running package belongs to. A room without page.py holds a draft and is no page.
"""

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

from course_utils.runtime import ROOT, reads

ROOMS = ROOT / "notebooks" / "source"


class NoRoom(LookupError):
    """There is no such room; the message is one sentence that a page can print."""


def rooms(folder: Path | None = None) -> dict[str, Path]:
    """All rooms by their number, "00" first; none where the package runs without the repository.

    Raises ValueError if two rooms have one number.
    """
    found: dict[str, Path] = {}
    for path in sorted((folder or ROOMS).glob("[0-9][0-9]_*")):
        if not path.is_dir():
            continue
        number = path.name[:2]
        if number in found:
            raise ValueError(f"{found[number].name} and {path.name} have the same number")
        found[number] = path
    return found


def room(page: str, *parts: str) -> Path:
    """The room of page `page` ("10"), or with `parts` a file in it, which must be there.

    Raises NoRoom where the course's repository is not there or has no such room, FileNotFoundError
    where the room has no such file.
    """
    if not isinstance(page, str) or not re.fullmatch(r"\d\d", page):
        raise NoRoom(f'a page is named by its number in two digits, such as "10"; got {page!r}')
    found = rooms()
    if not found:
        raise NoRoom(
            f"page {page}: what belongs to this page lies in the course's repository, beside its "
            "notebooks, and the installed package alone does not bring it"
        )
    if page not in found:
        raise NoRoom(f"page {page}: there is no such page; there are {', '.join(found)}")
    path = found[page].joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(f"page {page}: its room has no {'/'.join(parts)}")
    return reads(path) if parts else path


def load(page: str, part: str) -> ModuleType:
    """`part`.py of a page's room ("exercises", "answers", "sweeps") as a module, loaded once.

    Many rooms have a file of one name, so the module's name is made of room and part.
    Errors as in `room`.
    """
    path = room(page, f"{part}.py")
    name = f"course_rooms.{path.parent.name}.{part}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # half a module must not be found the next time
        raise
    return module


def stored(page: str, sweep: str) -> dict:
    """The rows of the comparison `sweep` that a page's sweeps.py made: {name of the row: row}.

    Seeds, versions and the command that made them stand beside the rows in the file,
    `results/SWEEP.json` of the page's room. Errors as in `room`, and ValueError for a file that is
    no stored comparison.
    """
    path = room(page, "results", f"{sweep}.json")
    mend = f"Type `git checkout {path}`, or copy it from a new download of the course."
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise ValueError(f"{path} is damaged: it is no JSON ({error}). {mend}") from error
    rows = result.get("rows") if isinstance(result, dict) else None
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise ValueError(f'{path} is damaged: expected {{"rows": {{name: row}}}} in it. {mend}')
    return rows
