"""Which pages have to be executed again, and why.

    python tools/stale.py 10        the files that page 10 rests on

A page's outputs come from its code cells, its room's exercises.py, the modules of the package that
these import, directly or not, with the .toml beside such a module, the files that it read when it
was built (which stand in the notebook), the builder's execution part and the pinned versions. A
hash over all of them, the page's key, is kept in `.cache/`, outside the notebook, so that no
notebook changes for the sake of a hash.

Imports are followed by name: `from course_utils.datasets import Gates` leads to the module that
defines `Gates` and to no other data set, because the packages' `__init__` name their modules in a
table and import them only when a name is asked for.
"""

import ast
import hashlib
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import nbformat
from pages import TITLE, built, recall, record, sources

PACKAGE = "course_utils"
ALWAYS = ("tools/execute.py", "constraints.txt")
TEXT = {".py", ".txt", ".json", ".md", ".csv", ".toml", ".cfg"}
KEYS = Path(".cache") / "pages.json"


# ---- what a page imports ----


def closure(root, room) -> set[Path]:
    """The package's modules that a page's code and its checkers import, directly or not."""
    todo = [needs((room / "page.py").read_text(encoding="utf-8"), PACKAGE)]
    if (room / "exercises.py").is_file():
        todo.append(needs((room / "exercises.py").read_text(encoding="utf-8"), PACKAGE))
    found: set[Path] = set()
    while todo:
        for module, name in todo.pop():
            for path in defining(root, module, name) - found:
                found.add(path)
                todo.append(needs(path.read_text(encoding="utf-8"), dotted(root, path)))
    return found


def dotted(root, path) -> str:
    """The package that a module's relative imports start from."""
    return ".".join(path.relative_to(root).parent.parts)


def needs(code, package) -> list[tuple[str, str | None]]:
    """What the code imports from the package, and what it asks of packages there, `plots.bars`."""
    return imports(code, package) + asked(code)


def imports(code, package) -> list[tuple[str, str | None]]:
    """(module, name) of everything that the code imports from the package, inside functions too;
    the name is None for `import module`.
    """
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                parts = package.split(".")
                module = ".".join([*parts[: len(parts) - node.level + 1], *module.split(".")])
            found += [(module.strip("."), alias.name) for alias in node.names]
    return [(module, name) for module, name in found if module.split(".")[0] == PACKAGE]


def asked(code) -> list[tuple[str, str]]:
    """(package, name) of every `plots.name` in the code after `from course_utils import plots`, the
    one way in which the course writes it.
    """
    tree = ast.parse(code)
    known = {
        alias.asname or alias.name: f"{PACKAGE}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE and not node.level
        for alias in node.names
    }
    return [
        (known[node.value.id], node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in known
    ]


def defining(root, module, name) -> set[Path]:
    """The file in which `from module import name` finds the name; empty for the package itself."""
    path = root.joinpath(*module.split("."))
    if path.with_suffix(".py").is_file():
        return {path.with_suffix(".py")}
    init = path / "__init__.py"
    if not init.is_file():
        return set()
    if name is None:
        return {init}
    # the table before the folder: for a disk that ignores case, lines.py is also LINES.py
    home = table(init).get(name)
    if home is None:
        if (path / f"{name}.py").is_file() or (path / name / "__init__.py").is_file():
            return defining(root, f"{module}.{name}", None)
        return {init}
    home = home if home.startswith(f"{PACKAGE}.") else f"{module}.{home.lstrip('.')}"
    return defining(root, home, name)


def table(init) -> dict[str, str]:
    """The names that an `__init__` imports only when asked for: its dict of name: module."""
    found = {}
    for node in ast.parse(init.read_text(encoding="utf-8")).body:
        value = getattr(node, "value", None)
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(value, ast.Dict):
            try:
                entries = ast.literal_eval(value)
            except ValueError:
                continue
            if all(isinstance(text, str) for pair in entries.items() for text in pair):
                found |= entries
    return found


# ---- what a page rests on ----


def files(root, room) -> list[Path]:
    """All files that a page's outputs come from, but for page.py itself, sorted."""
    found = {root / name for name in ALWAYS} | closure(root, room)
    found |= {path.with_suffix(".toml") for path in found}  # a module's own table, where it has one
    found.add(room / "exercises.py")
    for name in reads(root, room):
        path = root / name
        inside = path.rglob("*") if path.is_dir() else [path]
        found |= {file for file in inside if file.suffix != ".md"}  # no page reads a datasheet
    return sorted(path for path in found if path.is_file())


def reads(root, room) -> list[str]:
    """The files and folders that the page read when it was built, as its notebook says."""
    try:
        nb = nbformat.read(built(root, room), as_version=4)
    except (OSError, ValueError, KeyError, AttributeError):
        return []
    return list(nb.metadata.get("course", {}).get("reads", []))


def code_cells(nb):
    """The cells that the author's page executes; the set-up cell's text is the builder's."""
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    return [cell for cell in code if "set-up" not in cell.metadata.get("tags", [])]


def code_of(nb) -> list[str]:
    """What is executed, in order, and whether an error is expected."""
    found = []
    for cell in code_cells(nb):
        raises = "raises-exception" in cell.metadata.get("tags", [])
        source = cell.source.replace(TITLE, "# ", 1)  # folding executes nothing else
        found.append(("# raises\n" if raises else "") + source)
    return found


def content(path) -> bytes:
    """A file's bytes; of a text with the line ends of any system made equal."""
    raw = path.read_bytes()
    return raw.replace(b"\r\n", b"\n") if path.suffix in TEXT else raw


def key(root, room, nb) -> str:
    """A hash over the code of the assembled notebook `nb` and all files that it rests on."""
    digest = hashlib.sha256("\0".join(code_of(nb)).encode())
    for path in files(root, room):
        digest.update(f"\0{path.relative_to(root).as_posix()}\0".encode() + content(path))
    return digest.hexdigest()


# ---- what has changed ----


def known_keys(root) -> dict[str, str]:
    """{room: key} as it was when each page was last seen to be up to date; {} in a fresh clone."""
    return recall(root / KEYS)


def remember(root, room, new) -> None:
    """Write down a page's key. Where nothing can be written, git is asked the next time."""
    record(root / KEYS, known_keys(root) | {room.name: new})


def why(root, room, nb) -> str:
    """Why the page has to be executed again, `nb` being what its source gives; "" if it need not.

    Without a key (a fresh clone) it has to if its code or a file that it rests on differs from
    what is committed; else its key is written down from the files as they are.
    """
    try:
        old = nbformat.read(built(root, room), as_version=4)
    except (OSError, ValueError, KeyError, AttributeError):
        return "there is no notebook yet"
    for cell, text, was in zip_longest(code_cells(nb), code_of(nb), code_of(old)):
        if text != was:
            return f"cell {cell.id if cell else 'at the end'}: its code has changed"
    now, before = key(root, room, nb), known_keys(root).get(room.name)
    if before is None:
        changed = uncommitted(root, files(root, room))
        if changed:
            return ", ".join(changed)
        remember(root, room, now)
    elif before != now:
        return "what it imports or reads, the versions or the builder's execution part has changed"
    return ""


def uncommitted(root, paths) -> list[str]:
    """Which of these files differ from what git has as committed, in words."""
    names = [path.relative_to(root).as_posix() for path in paths]
    command = ["git", "status", "--porcelain", "--untracked-files=all", "--", *names]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, encoding="utf-8")
    except OSError:
        return ["no key is known and git is not there to say what has changed"]
    if done.returncode:
        return ["no key is known and there is no git history to say what has changed"]
    return [f"{line[3:]} has changed" for line in done.stdout.splitlines()]


def main() -> int:
    root = Path(__file__).resolve().parents[1]
    chosen = [room for room in sources(root) if room.name[:2] in sys.argv[1:]]
    if not chosen:
        sys.exit("name a page by its number, such as 10")
    for room in chosen:
        for path in files(root, room):
            print(path.relative_to(root).as_posix())
    return 0


if __name__ == "__main__":
    sys.exit(main())
