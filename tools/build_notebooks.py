"""Build the notebooks: notebooks/source/NN_name/page.py in, notebooks/NN_name.ipynb out.

    python tools/build_notebooks.py [10 11]           rebuild what is stale (of these numbers)
    python tools/build_notebooks.py [10] --force      rebuild it even if nothing has changed
    python tools/build_notebooks.py --check           compare cells without executing
    python tools/build_notebooks.py --address owner/name     write the repository's address
    python tools/build_notebooks.py --edition classroom [10] pages without solutions, for nbgrader
    python tools/build_notebooks.py --edition classroom exam1    the exam of a seed (tools/exam.py)

A page is executed only when something that its outputs come from has changed (`stale.py`). Where
its text alone differs from the source, its cells are written again from the outputs that are
stored. One way only: no one edits an .ipynb by hand, and building twice gives the same bytes.
"""

import argparse
import configparser
import re
import sys
import time

import book
import classroom
import exam
import nbformat
import stale
from check_notebooks import problems, problems_in
from execute import ExecutionError, execute, normalise
from pages import (
    ROOT,
    BuildError,
    address,
    assemble,
    built,
    difference,
    dress,
    readme,
    set_up,
    set_up_from,
    sources,
    titled,
    write,
)

# The texts in which the repository's address stands.
ADDRESSED = ("pyproject.toml", "*.md", "*.cff", ".github/ISSUE_TEMPLATE/*.yml")

# ---- one page ----


def build(root, room):
    """Execute a page and write its notebook; BuildError, and nothing written, if a cell fails or
    what came out breaks a rule.
    """
    nb = assemble(root, room)
    try:
        reads = execute(root, room.name, nb)
    except ExecutionError as error:
        raise BuildError(str(error)) from None
    normalise(nb)
    keep_sanitised(root, room, nb)
    nb.metadata["course"] = {"reads": reads}
    finish(root, room, nb)


def rewrite(root, room):
    """Write a page's cells again, with the outputs of the notebook that is there."""
    nb, old = assemble(root, room), nbformat.read(built(root, room), as_version=4)
    ran = [cell for cell in old.cells if cell.cell_type == "code"]
    for cell in nb.cells:
        if cell.cell_type == "code":
            before = ran.pop(0)
            cell.outputs = before.outputs
            cell.execution_count = before.execution_count
    nb.metadata["course"] = old.metadata.get("course", {})
    finish(root, room, nb)


def finish(root, room, nb):
    dress(nb)
    if found := problems_in(nb):
        raise BuildError("\n  ".join([f"{room.name}: not written:", *found]))
    write(built(root, room), nb)
    stale.remember(root, room, stale.key(root, room, nb))


def keep_sanitised(root, room, nb):
    """Where an output differs from the committed one only in what the tests do not compare, it
    stays as it was: a rebuild changes nothing for the sake of a last digit.
    """
    try:
        old = nbformat.read(built(root, room), as_version=4)
    except (OSError, ValueError, KeyError, AttributeError):
        return
    rules = sanitising(root)
    before = {cell.id: cell for cell in old.cells if cell.cell_type == "code"}
    for cell in nb.cells:
        known = before.get(cell.id)
        if cell.cell_type != "code" or known is None or known.source != cell.source:
            continue
        for got, was in zip(cell.outputs, known.outputs, strict=False):
            same = got.output_type == was.output_type == "stream" and got.name == was.name
            if same and sanitised(got.text, rules) == sanitised(was.text, rules):
                got.text = was.text


def sanitising(root):
    """The rules of tests/sanitize.cfg, by which nbval compares: (pattern, what replaces it)."""
    reader = configparser.RawConfigParser()
    reader.read(root / "tests" / "sanitize.cfg", encoding="ascii")
    return [
        (re.compile(reader.get(name, "regex")), reader.get(name, "replace"))
        for name in reader.sections()
    ]


def sanitised(text, rules):
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


# ---- commands ----


def why(root, room):
    """Why a page must be executed again; "" when it need not."""
    reason = stale.why(root, room, assemble(root, room))
    return reason or "; ".join(problems(built(root, room))[:1])


def build_all(root, chosen, force):
    """Build one after the other; one that fails does not hide what the others have to say."""
    failed = 0
    for room in chosen:
        start = time.perf_counter()
        try:
            reason = "forced" if force else why(root, room)
            text = "" if reason else difference(root, room)
            if reason:
                build(root, room)
            elif text:
                rewrite(root, room)
        except BuildError as error:
            failed = 1
            print(error, file=sys.stderr, flush=True)
            continue
        done = "up to date"
        if reason:
            done = f"built in {time.perf_counter() - start:.0f} s ({reason})"
        elif text:
            done = f"written again from its outputs ({text})"
        print(f"{room.name}: {done}", flush=True)
    write_readme(root)
    book.write(root)
    return failed


def write_readme(root):
    """The table of pages in the README, if anything in it has changed."""
    path = root / "README.md"
    text = readme(root)
    if text is not None and text != path.read_text(encoding="utf-8"):
        path.write_text(text, encoding="utf-8", newline="\n")
        print("README.md: its table of pages is written again")


def check(root, chosen):
    """Compare cells only, because outputs are nbval's task; a stale page is told, not refused."""
    found = {room.name: difference(root, room) for room in chosen}
    names = {room.name for room in sources(root)}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        if path.stem not in names:
            found[path.stem] = "a notebook without a source"
    notes = {room.name: why(root, room) for room in chosen if not found[room.name]}
    for name, reason in found.items():
        print(f"{name}: {reason or notes[name] or 'equal'}")
    return 1 if any(found.values()) else 0


def write_address(root, new):
    """Change the address in the texts that carry it, in badges and in set-up cells; outputs stay
    as they are.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", new):
        raise BuildError(f"--address takes owner/name, got {new!r}")
    set_up_from(f"https://github.com/{new}")  # refuses one that is too long before any file changes
    old = re.escape(address(root).removeprefix("https://github.com/"))

    def change(text):
        return re.sub(rf"(\bgithub(?:\.com)?/){old}(?![\w-])", rf"\g<1>{new}", text)

    for path in [path for name in ADDRESSED for path in root.glob(name)]:
        text = change(path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8", newline="\n")
    for path in (root / "notebooks").glob("*.ipynb"):
        nb = nbformat.read(path, as_version=4)
        for cell in nb.cells:
            if cell.id == "title":
                cell.source = change(cell.source)
            elif cell.id == "set-up":
                cell.source = titled(set_up(root))
        write(path, nb)


def main(arguments=None, root=ROOT):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", help="notebooks such as 10; all when none is named")
    parser.add_argument("--force", action="store_true", help="rebuild even if nothing has changed")
    parser.add_argument("--check", action="store_true", help="compare without executing")
    parser.add_argument(
        "--address", metavar="OWNER/NAME", help="write the repository's address everywhere"
    )
    parser.add_argument(
        "--edition", choices=["classroom"], help="write pages without solutions, for nbgrader"
    )
    options = parser.parse_args(arguments)
    try:
        if options.address:
            write_address(root, options.address)
            return 0
        everyone = {room.name[:2]: room for room in sources(root)}
        exams = [name for name in options.numbers if options.edition and exam.NAME.fullmatch(name)]
        numbers = [name for name in options.numbers if name not in exams]
        if unknown := [number for number in numbers if number not in everyone]:
            raise BuildError(f"no source for {', '.join(unknown)}; there are {', '.join(everyone)}")
        everything = [] if exams else list(everyone.values())
        chosen = [everyone[number] for number in numbers] or everything
        if options.edition:
            return classroom.write_all(root, chosen) | exam.write_all(root, exams)
        return check(root, chosen) if options.check else build_all(root, chosen, options.force)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
