"""The house: imports of the package run downward only and in no circle, and it stays small.

Read from the source, imports inside functions too; no module of the package is run for it.
"""

import ast
import importlib
import inspect
import io
import sys
import tokenize
import tomllib
from pathlib import Path

import pytest

from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import pages
import stale

PACKAGE = "course_utils"
# From the ground up. A name stands for a module, or for a package with all that is in it.
FLOORS = (
    ("ground", ("lazy", "checks", "masks", "runtime", "report", "rooms", "weights", "packages")),
    ("data", ("datasets",)),
    (
        "extract",
        ("text", "image", "audio", "video", "sensors", "audio_augment")
        + ("features", "text_encoder", "image_encoder", "audio_encoder", "language_model"),
    ),
    ("fuse", ("fusion",)),
    ("learn", ("training", "metrics", "losses", "decoding")),
    ("understand", ("gradients", "contracts", "theory", "attribution")),
    ("show", ("look", "drawings", "plots", "widgets")),
    ("teach", ("exercises", "progress")),
    ("front door", ("doctor", "doctor_machine", "your_data")),
)
LINES, COLUMNS = 500, 100  # of a module
# Lines of code, without blank lines, comments and docstrings, which explain and may be long: of all
# that pages import, and of what the imports of one page load, directly or not.
ALL_PAGES, ONE_PAGE = 12_000, 4_000
# Page 35 is about a program of the package, and runs it as a whole: without it, it is held to the
# same as all others.
SUBJECT = {"35": f"{PACKAGE}.your_data"}


def modules(root):
    """{dotted name: file} of the package's modules; a package is named like its folder."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def leads_to(module, name, known) -> str:
    """The module of the package that `from module import name` needs."""
    if f"{module}.{name}" in known:
        return f"{module}.{name}"
    if module in known and known[module].name == "__init__.py":
        home = stale.table(known[module]).get(name)
        if home is not None:
            return home if home.startswith(f"{PACKAGE}.") else f"{module}.{home}"
    return module


def imported(module, known) -> set[str]:
    """The modules of the package that a module imports, anywhere in its code."""
    path, found = known[module], set()
    here = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) - node.level + 1] if node.level else []
            origin = ".".join([*start, *([node.module] if node.module else [])])
            found |= {leads_to(origin, alias.name, known) for alias in node.names}
    return {name for name in found if name.split(".")[0] == PACKAGE}


def floor(module) -> int:
    """How high a module stands; the package itself, which imports nothing, is the ground."""
    name = (module.split(".") + [""])[1]
    for height, (_, names) in enumerate(FLOORS):
        if name in names:
            return height
    return -1


def faults(root) -> list[str]:
    """What is wrong with the package under `root`, a sentence each."""
    known = modules(root)
    arrows = {module: imported(module, known) - {module} for module in known}
    found = []
    for module, path in known.items():
        if module != PACKAGE and floor(module) < 0:
            found.append(f"{module} stands on no floor")
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > LINES:
            found.append(f"{module} has {len(lines)} lines, at most {LINES} are allowed")
        if (widest := max(map(len, lines), default=0)) > COLUMNS:
            found.append(f"{module} has a line of {widest} columns, at most {COLUMNS} are allowed")
    for module, targets in arrows.items():
        for target in sorted(targets):
            if floor(target) > floor(module):
                found.append(f"{module} imports {target}, which stands above it")
    return found + [f"a circle: {' -> '.join(circle)}" for circle in circles(arrows)]


def circles(arrows) -> list[list[str]]:
    """One circle for each module that imports itself in the end."""
    found, done = [], set()

    def walk(module, path):
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in done:
            for target in sorted(arrows.get(module, ())):
                walk(target, [*path, module])
            done.add(module)

    for module in sorted(arrows):
        walk(module, [])
    return found


def test_the_house_stands():
    assert faults(ROOT) == []


# ---- names and files beside the code ----


LAZY = [path for path in modules(ROOT).values() if path.name == "__init__.py" and stale.table(path)]


@pytest.mark.parametrize("init", LAZY, ids=lambda path: path.parent.name)
def test_every_name_is_in_the_module_that_the_table_says(init):
    package = importlib.import_module(".".join(init.relative_to(ROOT).parent.parts))
    for name, home in package.HOMES.items():
        if not home.startswith(f"{PACKAGE}."):
            home = f"{package.__name__}.{home}"
        thing = getattr(importlib.import_module(home), name)
        assert getattr(package, name) is thing
        # where it is defined, and not only imported
        if inspect.isfunction(thing) or inspect.isclass(thing):
            assert thing.__module__ == home, name
    assert set(package.__all__) == set(package.HOMES) <= set(dir(package))
    # a name and a module that are called alike would hide each other
    assert set(package.HOMES).isdisjoint(path.stem for path in init.parent.glob("*.py"))


def test_what_a_module_reads_beside_its_code_is_installed():
    beside = {path for path in (ROOT / PACKAGE).rglob("*") if path.is_file()}
    beside = {path for path in beside if path.suffix not in (".py", ".pyc", ".md")}
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = pyproject["tool"]["setuptools"]["package-data"]
    brought = {
        path
        for package, patterns in listed.items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    assert beside == brought != set()


# ---- sizes ----


LAYOUT = {getattr(tokenize, name) for name in ("COMMENT", "NL", "NEWLINE", "INDENT", "DEDENT")}
LAYOUT.add(tokenize.ENDMARKER)


def code_lines(source: str) -> int:
    """Lines that hold code, not only a comment or a part of a docstring."""
    held = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in LAYOUT:
            held |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            if ast.get_docstring(node, clean=False) is not None:
                held -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(held)


def at_once(code: str) -> str:
    """The code without the bodies of its functions, whose imports wait until they are called."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [ast.Pass()]
    return ast.unparse(tree)


def loaded(root, room) -> set[Path]:
    """The modules that a page and its checkers load, and the tables of names that they go through.

    What a function of the package imports by itself is not among them: it waits until somebody
    asks for it, for a download or another network.
    """
    own = [room / name for name in ("page.py", "exercises.py") if (room / name).is_file()]
    todo = [stale.needs(path.read_text(encoding="utf-8"), PACKAGE) for path in own]
    found: set[Path] = set()
    while todo:
        for module, name in todo.pop():
            for path in stale.defining(root, module, name) - found:
                found.add(path)
                code = at_once(path.read_text(encoding="utf-8"))
                todo.append(stale.needs(code, stale.dotted(root, path)))
    tables = {folder / "__init__.py" for path in found for folder in path.parents}
    return found | (tables & set(modules(root).values()))


def sizes(root) -> dict[str, int]:
    """Lines of code that a page's imports load, by its number, and what any may load ("all")."""
    known = modules(root)
    lines = {path: code_lines(path.read_text(encoding="utf-8")) for path in known.values()}
    files = {room.name[:2]: loaded(root, room) for room in pages.sources(root)}
    for page, subject in SUBJECT.items():
        files[page] -= {path for name, path in known.items() if name.startswith(subject)}
    files["all"] = set().union(*(stale.closure(root, room) for room in pages.sources(root)))
    return {page: sum(map(lines.get, paths)) for page, paths in files.items()}


def test_what_pages_import_stays_small():
    found = sizes(ROOT)
    assert len(found) > 36 and found.pop("all") < ALL_PAGES
    assert {page: size for page, size in found.items() if size >= ONE_PAGE} == {}


def test_what_waits_until_it_is_asked_for_is_not_loaded(tmp_path):
    later = "import course_utils.masks\n\ndef fit():\n    from course_utils.fusion import Sum\n"
    built(tmp_path, HOUSE | {"training.py": later})
    for name, code in {"01_a": "fit()", "02_b": "from course_utils.fusion import Sum"}.items():
        (tmp_path / name).mkdir()
        code = f"from course_utils.training import fit\n{code}\n"
        (tmp_path / name / "page.py").write_text(code, encoding="utf-8")
    first, second = (
        {path.relative_to(tmp_path / PACKAGE).as_posix() for path in loaded(tmp_path, room)}
        for room in (tmp_path / "01_a", tmp_path / "02_b")
    )
    assert first == {"__init__.py", "masks.py", "training.py"}
    assert second == first | {"fusion/__init__.py", "fusion/additive.py"}


def test_lines_of_code_are_counted():
    function = 'def f():\n    """What."""\n    return (\n        1\n    )\n'
    assert code_lines(f'"""Words,\nmore."""\n\n# Why.\n{function}') == 4
    assert code_lines('x = """a\nb"""  # text, no docstring\n') == 2


def tool_arrows(folder) -> dict[str, set[str]]:
    """Which tool imports which, by the name of its file."""
    names = {path.stem for path in folder.glob("*.py")}
    arrows = {}
    for path in folder.glob("*.py"):
        found = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module)
        arrows[path.stem] = found & names
    return arrows


def test_the_tools_import_each_other_in_no_circle(tmp_path):
    arrows = tool_arrows(ROOT / "tools")
    assert "pages" in arrows["build_notebooks"] and circles(arrows) == []
    (tmp_path / "a.py").write_text("def f():\n    from b import c\n", encoding="utf-8")
    (tmp_path / "b.py").write_text("import a\n", encoding="utf-8")
    assert circles(tool_arrows(tmp_path)) == [["a", "b", "a"]]


def test_imports_are_seen():
    """Else there would be nothing to be found."""
    known = modules(ROOT)
    assert f"{PACKAGE}.fusion.base" in imported(f"{PACKAGE}.fusion.dropout", known)
    # inside a function, and a module out of a package
    assert f"{PACKAGE}.datasets.digits_public" in imported(f"{PACKAGE}.datasets.digits", known)
    assert len(known) > 40


def built(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / PACKAGE / "__init__.py").touch()
    return root


HOUSE = {
    "masks.py": "import torch\n",
    "fusion/__init__.py": 'HOMES = {"Sum": "additive"}\n',
    "fusion/additive.py": "from course_utils.masks import masked_mean\n",
    "exercises/__init__.py": "from .compare import show\n",
    "exercises/compare.py": "",
    "training.py": "from course_utils.fusion import Sum\n",
}


@pytest.mark.parametrize(
    "files, expected",
    [
        ({}, []),
        (
            {"masks.py": "def f():\n    from course_utils.training import fit\n"},
            [
                "course_utils.masks imports course_utils.training, which stands above it",
                "a circle: course_utils.fusion.additive -> course_utils.masks -> "
                "course_utils.training -> course_utils.fusion.additive",
            ],
        ),
        (
            {"audio.py": "import course_utils.fusion.additive\n"},
            ["course_utils.audio imports course_utils.fusion.additive, which stands above it"],
        ),
        (
            {"text.py": "from . import training\n"},
            ["course_utils.text imports course_utils.training, which stands above it"],
        ),
        (
            {"text.py": "from .image import a\n", "image.py": "from course_utils import text\n"},
            ["a circle: course_utils.image -> course_utils.text -> course_utils.image"],
        ),
        (
            {"training.py": "from course_utils.exercises import check\n"},
            ["course_utils.training imports course_utils.exercises, which stands above it"],
        ),
        ({"attic.py": ""}, ["course_utils.attic stands on no floor"]),
        ({"video.py": "\n" * 501}, ["course_utils.video has 501 lines, at most 500 are allowed"]),
        (
            {"video.py": "#" * 101},
            ["course_utils.video has a line of 101 columns, at most 100 are allowed"],
        ),
    ],
    ids=["sound", "up", "up by import", "relative", "circle", "exercises", "no floor", "long"]
    + ["wide"],
)
def test_a_fault_is_found(tmp_path, files, expected):
    assert faults(built(tmp_path, HOUSE | files)) == expected
