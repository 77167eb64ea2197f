"""The classroom edition: pages without solutions, with the cell metadata by which nbgrader grades.

    python tools/build_notebooks.py --edition classroom [10 11]     or: make classroom N="10 11"

Writes classroom/, a course folder as nbgrader wants it: source/NN_name/NN_name.ipynb for each
page with exercises, and nbgrader_config.py. notebooks/TEACHING.md says how a class uses it.

No file in it holds a solution, so that none can be handed out by mistake. Outputs are left out
too: a result that stands below a `guess` is no longer a guess.
"""

import re
import shutil
import sys
from pathlib import Path

from pages import (
    BEGIN,
    END,
    BuildError,
    address,
    assemble,
    fail,
    folded,
    read_cells,
    solutions,
    title_line,
    write,
)

POINTS = {"warm-up": 1, "core": 2, "stretch": 3}
CARD = re.compile(r"^> \*\*Exercise (\d\d\.\d+) · .+\*\* — \*\d+ minutes · (.+)\*$", re.M)
HAND_IN = (
    "**Classroom edition**, without the folded solutions. Write into the function cells, leave the"
    " `check` cells as they are, and hand this file in under its own name, `{name}`."
)


def points(room, cells, keys):
    """{key: points} of the exercises `keys`, by the difficulty that each one's card names."""
    cards = {}
    for cell in cells:
        if cell.cell_type == "markdown":
            cards |= dict(CARD.findall(cell.source))
    for key in keys:
        if cards.get(key) not in POINTS:
            fail(
                room,
                f'exercise="{key}"',
                f"exercise {key}: expected a card above it, '> **Exercise {key} · Name** — "
                f"*10 minutes · core*', with {', '.join(POINTS)}; got {cards.get(key, 'none')}",
            )
    return {key: POINTS[cards[key]] for key in keys}


def metadata(name, **values):
    """nbgrader's metadata of one cell, version 3: what is not said is False."""
    return {
        "grade": False,
        "grade_id": name,
        "locked": False,
        "schema_version": 3,
        "solution": False,
        "task": False,
        **values,
    }


def emptied(code):
    """An exercise's cell with its markers and `...` between them.

    The markers stay, because nbgrader wipes the whole cell, signature and docstring too, where
    it finds none.
    """
    return re.sub(
        rf"^( *){BEGIN}\n.*?^ *{END}", rf"\1{BEGIN}\n\1...\n\1{END}", code, flags=re.M | re.S
    )


def page(root, room):
    """The page as students get it, not executed."""
    author, answers = read_cells(room), solutions(room)
    worth = points(room, author, answers)
    stubs = {cell.metadata.get("exercise"): emptied(cell.source) for cell in author}
    nb = assemble(root, room)
    for cell in nb.cells:
        key = (
            cell.metadata.get("exercise")
            or cell.metadata.get("check")
            or cell.metadata.get("hints")
        )
        if cell.id == "title":  # the badge and the neighbours lead to the edition with solutions
            cell.source = cell.source.removesuffix(title_line(root, room)) + HAND_IN.format(
                name=f"{room.name}.ipynb"
            )
        elif cell.id == "set-up":
            cell.metadata.nbgrader = metadata(cell.id, locked=True)
        elif "exercise" in cell.metadata:
            cell.source = stubs[key]
            cell.metadata.nbgrader = metadata(cell.id, solution=True)
        elif "check" in cell.metadata:
            cell.metadata.nbgrader = metadata(cell.id, grade=True, locked=True, points=worth[key])
        elif "hints" in cell.metadata:
            cell.source = cell.source.removesuffix(folded(answers[key]))
    return nb


def write_all(root, chosen, course=None):
    """Write the chosen pages; one that fails does not hide what the others have to say."""
    course, failed = course or root / "classroom", 0
    course.mkdir(exist_ok=True)
    if not (course / "nbgrader_config.py").exists():  # a teacher may have changed it
        shutil.copy(Path(__file__).with_name("nbgrader_config.py"), course)
    for room in chosen:
        try:
            nb = page(root, room)
        except BuildError as error:
            failed = 1
            print(error, file=sys.stderr)
            continue
        worth = [cell.metadata.nbgrader.points for cell in nb.cells if "check" in cell.metadata]
        if not worth:
            print(f"{room.name}: no exercises, nothing to hand in")
            continue
        path = course / "source" / room.name / f"{room.name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, nb)
        print(
            f"{path.relative_to(course.parent).as_posix()}: exercises {len(worth)}, points"
            f" {sum(worth)}"
        )
    if address(root).endswith("/OWNER/REPO"):
        print(
            "Colab cannot fetch the course yet: first name your repository with make address"
            " REPO=owner/name",
            file=sys.stderr,
        )
    return failed
