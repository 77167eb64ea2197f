"""A page's source gives its cells: notebooks/source/NN_name/page.py (py:percent) in, a notebook out
that is not executed yet.

This is the builder's text part: titles, set-up, exercises, hints, solutions, cell ids. Nothing here
changes what a cell of the author prints, so after an edit here pages are written again from the
outputs that are stored. What runs them is `execute.py`.

A page is named by its room, the folder notebooks/source/NN_name. A room without page.py holds a
draft and is no page.
"""

import ast
import base64
import io
import json
import os
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbformat
from minutes import promise
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
WIDGET = "application/vnd.jupyter.widget-view+json"  # a live widget's output
TITLE = "# @title "  # begins the line that Colab shows of folded code
FOLDED = {"set-up", "imports", "proof", "figure"}  # tags of cells whose code is not shown
BELOW_FOLD = re.compile(r"(</details>\n\n)(?=[^#<\s])")  # words, no heading and no other fold
TITLE_WIDTH, TITLE_COLOURS = 560, 128  # of the picture in the title cell
TITLE_PICTURE = re.compile(r"\n\n!\[[^\]]*\]\(data:image/png;base64,[^)]*\)$")
COLAB_BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
KAGGLE_BADGE = "https://kaggle.com/static/images/open-in-kaggle.svg"
# What a page's first cell says of itself.
PROMISED = re.compile(
    r"\*About (\d+|\{minutes\}) minutes\.(?: With what is marked .*? it takes (\d+)\.)?.*$", re.M
)
NEEDED = re.compile(r"(?:pages?|notebooks?) (\d\d(?:(?:, | and )\d\d)*)")
WIDTH = 100  # columns that a page shows without a scroll bar
# Git's own words say why it failed, also by a shell that finds no git.
SET_UP = """\
# Set-up: finds the course, or fetches it (on Colab, on Kaggle, for a lone notebook).
import importlib.util, os, pathlib, subprocess, sys
if "torch" not in sys.modules: os.environ.setdefault("OMP_NUM_THREADS", "1")  # quick beside others
repo = pathlib.Path("{folder}").absolute()
sys.path[:0] = [str(p) for p in (repo, *repo.parents) if (p / "course_utils").is_dir()]
if importlib.util.find_spec("course_utils") is None:
    address = os.environ.get("COURSE_ADDRESS", "{address}")
    if subprocess.call(f'git clone -q --depth 1 "{{address}}" {folder}', shell=True):
        raise RuntimeError(f"No course in or above {{repo.parent}}; go online or copy {{address}}\
 here")
    sys.path.insert(0, str(repo))"""


class BuildError(Exception):
    """What an author or a user has to mend; the message says where."""


class Exercise(NamedTuple):
    name: str  # of the function or class
    stub: str
    solution: str


# ---- rooms and pages ----


def sources(root=ROOT):
    """The sorted rooms of all pages; two with one number would make exercise keys ambiguous."""
    inside = sorted((root / "notebooks" / "source").glob("[!._]*"))
    if stray := [path for path in inside if path.suffix == ".py"]:
        raise BuildError(f"{stray[0].name}: expected in a room, {stray[0].stem}/page.py")
    folders = [path for path in inside if path.is_dir()]
    for path, after in zip(folders, [*folders[1:], None], strict=True):
        if not re.fullmatch(r"\d\d_\w+", path.name):
            raise BuildError(f"{path.name}: expected a room with a name like 09_name")
        if after and after.name[:2] == path.name[:2]:
            raise BuildError(f"{path.name} and {after.name} have the same number")
    return [path for path in folders if (path / "page.py").is_file()]


def built(root, room):
    return root / "notebooks" / f"{room.name}.ipynb"


def address(root):
    """The repository's address stands in pyproject.toml alone; everything else is generated from
    it.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    url = project["urls"]["Repository"].rstrip("/").removesuffix(".git")
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", url):
        raise BuildError(
            f"pyproject.toml: Repository is {url!r}, expected https://github.com/owner/name"
        )
    return url


def fail(room, mark, message):
    """Raise with the file and the line where `mark` stands first, because jupytext keeps no
    lines.
    """
    lines = (room / "page.py").read_text(encoding="utf-8").splitlines()
    line = next((i for i, text in enumerate(lines, 1) if mark in text), 1)
    raise BuildError(f"{room.name}/page.py:{line}: {message}")


# ---- source -> cells ----


def read_cells(room):
    """The author's cells, without jupytext's own notes on blank lines and without the marks of
    tools/owed.py.
    """
    cells = jupytext.read(room / "page.py", fmt="py:percent").cells
    for cell in cells:
        for name in list(cell.metadata):
            if name == "owes" or name.startswith("lines_to_"):
                del cell.metadata[name]
    if not cells or cells[0].cell_type != "markdown" or not cells[0].source.startswith("# "):
        fail(room, "# %%", "expected a first markdown cell that begins with '# Title'")
    return cells


def open_exercise(room, key, code):
    """One function or class with its answer between the markers gives the stub (`...`) and the
    solution. A class has a pair of markers for each method that is asked for.

    `check` knows a stub by its body, a docstring and `...`, so nothing else may stand there.
    """
    mark, what = f'exercise="{key}"', f"exercise {key}"
    lines = code.splitlines()
    places = [i for i, line in enumerate(lines) if line.strip() in (BEGIN, END)]
    pairs = len(places) // 2
    if not places or [lines[i].strip() for i in places] != [BEGIN, END] * pairs:
        fail(room, mark, f"{what}: expected one {BEGIN!r} and below it one {END!r}")
    solution = "\n".join(line for i, line in enumerate(lines) if i not in places)
    for begin, end in reversed(list(zip(places[::2], places[1::2]))):
        lines[begin : end + 1] = [lines[begin].removesuffix(BEGIN) + "..."]
    stub = "\n".join(lines)
    try:
        ast.parse(solution)
        asked = [
            node
            for node in ast.parse(stub).body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        ]
    except SyntaxError as error:
        fail(room, mark, f"{what}: {error.msg} in {error.text!r}")
    if len(asked) != 1:
        fail(room, mark, f"{what}: expected one function or class, got {len(asked)}")
    if isinstance(asked[0], ast.FunctionDef):
        if pairs != 1:
            fail(room, mark, f"{what}: expected one {BEGIN!r} and below it one {END!r}")
        empty = [asked[0]]
    else:
        methods = [node for node in asked[0].body if isinstance(node, ast.FunctionDef)]
        empty = [method for method in methods if "..." in map(ast.unparse, method.body)]
        if len(empty) != pairs:
            fail(room, mark, f"{what}: expected each {BEGIN!r} in a method of its own")
    for function in empty:
        body = function.body[1:] if ast.get_docstring(function) else function.body
        if [ast.unparse(node) for node in body] != ["..."]:
            fail(
                room, mark, f"{what}: outside the markers expected only a docstring in the function"
            )
    return Exercise(asked[0].name, stub, solution)


def read_exercises(room, cells):
    """{key: Exercise} of the cells marked exercise="NN.k", each followed by hints="NN.k"."""
    found = {}
    for cell, after in zip(cells, [*cells[1:], new_markdown_cell()]):
        key, hints = cell.metadata.get("exercise"), after.metadata.get("hints")
        if key is None:
            if BEGIN in cell.source:
                fail(room, BEGIN, 'a solution needs exercise="NN.k" on its cell, or readers see it')
            if hints is not None:
                fail(
                    room,
                    f'hints="{hints}"',
                    f'expected exercise="{hints}" in the cell directly above',
                )
            continue
        mark = f'exercise="{key}"'
        if not re.fullmatch(room.name[:2] + r"\.\d+", str(key)):
            fail(
                room,
                mark,
                f'exercise {key}: expected a key like "{room.name[:2]}.1" in this notebook',
            )
        if key in found:
            fail(room, mark, f"exercise {key}: this key stands twice")
        if cell.cell_type != "code":
            fail(room, mark, f"exercise {key}: expected a code cell with one function or class")
        if hints != key or after.cell_type != "markdown":
            fail(
                room, mark, f'exercise {key}: expected a markdown cell hints="{key}" directly below'
            )
        found[key] = open_exercise(room, key, cell.source)
    return found


def solutions(room):
    """{key: code of the exercise's cell without the markers}: what the page shows folded."""
    return {key: one.solution for key, one in read_exercises(room, read_cells(room)).items()}


def folded(solution):
    """The solution as the last of the hints."""
    return f"\n\n<details><summary>Solution</summary>\n\n```python\n{solution}\n```\n\n</details>"


def spaced(text):
    """With an empty paragraph between a fold and words below it: a viewer gives a closed fold no
    distance of its own, and no style of ours reaches all viewers.
    """
    return BELOW_FOLD.sub(r"\1<p></p>\n\n", text)


def title_of(room):
    """A page's title, read from its source without the rest."""
    heading = re.search(r"^# # (.+)", (room / "page.py").read_text(encoding="utf-8"), re.M)
    return heading[1] if heading else room.name


def needed(room):
    """The numbers of the pages that a page says it needs, read from its source."""
    text = (room / "page.py").read_text(encoding="utf-8")
    promised = PROMISED.search(re.sub(r"^# ?", "", text, flags=re.M))
    found = NEEDED.findall(promised[0] if promised else "")
    return sorted(set(re.findall(r"\d\d", " ".join(found))))


def doors(root, room):
    """The addresses that open the page where nothing needs to be installed: Colab, Kaggle."""
    page = f"{address(root)}/blob/main/notebooks/{room.name}.ipynb"
    colab = page.replace("github.com", "colab.research.google.com/github", 1)
    return colab, f"https://kaggle.com/kernels/welcome?src={page}"


def title_line(root, room):
    """Badges and neighbours, generated so that neither can point elsewhere."""
    everyone = sources(root)
    place = everyone.index(room)
    colab, kaggle = doors(root, room)
    badges = (
        f"[![Open in Colab]({COLAB_BADGE})]({colab}) [![Open in Kaggle]({KAGGLE_BADGE})]({kaggle})"
    )
    parts = [badges]
    for word, i in (("previous", place - 1), ("next", place + 1)):
        if 0 <= i < len(everyone):
            parts.append(f"{word}: [{title_of(everyone[i])}]({everyone[i].name}.ipynb)")
    return " · ".join(parts)


def set_up(root):
    return set_up_from(address(root))


def set_up_from(url):
    """The set-up cell for one address; with a long one, two of its lines are written shorter."""
    folder = url.split("/")[-1]
    code = SET_UP.format(address=url, folder=folder)
    if _longest(code) > WIDTH:
        code = code.replace(f'", "{url}")', f'",\n        "{url}")')
        code = code.replace(f" {folder}', shell", " {repo.name}', shell")
    if _longest(code) > WIDTH:
        raise BuildError(f"{url} is too long: no line of a set-up cell takes more than {WIDTH}")
    return code


def _longest(code):
    return max(map(len, code.splitlines()))


def fold(room, cells):
    """Hide the code of set-up, imports, proofs and figures, not what it prints: JupyterLab goes
    by `source_hidden`, Colab by a form's title, the site (myst-nb) by the tag `hide-input`.
    """
    for cell in cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type != "code" or not FOLDED & set(tags):
            continue
        if not cell.source.startswith("# "):
            mark = cell.source.partition("\n")[0]
            fail(room, mark, "expected a first line of comment that says what is folded here")
        cell.source = titled(cell.source)
        cell.metadata["tags"] = [*tags, "hide-input"]
        cell.metadata["cellView"] = "form"
        cell.metadata["jupyter"] = {"source_hidden": True}


def titled(code):
    """The first comment as what Colab shows of folded code."""
    return TITLE + code.removeprefix("# ")


def name_cells(room, cells):
    """Give every cell an id that lasts: a cell added in one section renames none in another."""
    slug, counters = "section", {}
    for place, cell in enumerate(cells):
        data, prose = cell.metadata, ""
        if cell.cell_type == "markdown":
            prose = re.sub(r"```.*?```", "", cell.source, flags=re.S)
        if heading := re.search(r"^#+ (.+)", prose, re.M):
            slug = (
                re.sub(r"[^a-z0-9]+", "-", heading[1].lower()).strip("-")[:48].strip("-")
                or "section"
            )
        equation = re.search(r"\\tag\{(.*?)\}", prose)
        if equation and not re.fullmatch(room.name[:2] + r"\.\d+", equation[1]):
            fail(
                room,
                equation[0],
                f"equation {equation[1]}: expected a number like {room.name[:2]}.1",
            )
        if place == 0 or "set-up" in data.get("tags", []):
            cell.id = "set-up" if place else "title"
        elif key := data.get("exercise") or data.get("check") or data.get("hints"):
            suffix = "-check" if "check" in data else "-hints" if "hints" in data else ""
            cell.id = f"ex-{key.replace('.', '-')}{suffix}"
        elif equation:
            cell.id = f"eq-{equation[1].replace('.', '-')}"
        else:
            counters[slug] = counters.get(slug, 0) + 1
            cell.id = f"{slug}-{counters[slug]}"
        if cell.id in [other.id for other in cells[:place]]:
            fail(
                room,
                equation[0] if equation else cell.id,
                f"two cells would have the id {cell.id!r}",
            )


def assemble(root, room):
    """The notebook that a source gives, not yet executed."""
    author = read_cells(room)
    exercises = read_exercises(room, author)
    cells = []
    for cell in author:
        cells.append(cell)
        if cell.cell_type == "markdown":
            cell.source = spaced(cell.source)
        if key := cell.metadata.get("exercise"):
            cell.source = exercises[key].stub
            call = f'check("{key}", {exercises[key].name})'
            cells.append(new_code_cell(call, metadata={"check": key}))
        elif key := cell.metadata.get("hints"):
            cell.source += folded(exercises[key].solution)
    first = next((i for i, cell in enumerate(cells) if cell.cell_type == "code"), len(cells))
    cells.insert(first, new_code_cell(set_up(root), metadata={"tags": ["set-up"]}))
    title = cells[0].source.replace("{minutes} minutes", promise(cells))
    cells[0].source = f"{title}\n\n{title_line(root, room)}"
    fold(room, cells)
    name_cells(room, cells)
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    return new_notebook(
        cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}}
    )


# ---- what outputs add to the cells ----


def shown(cell):
    """(picture, alternative text) of each picture that a cell shows."""
    found = []
    for output in cell.get("outputs", []):
        if picture := output.get("data", {}).get("image/png"):
            found.append((picture, output.metadata.get("image/png", {}).get("alt", "")))
    return found


def dress(nb):
    """Bring what the outputs hold to where readers get it: each figure's alternative text into
    the cell's metadata, where the site looks for it, and the first figure into the title cell,
    because GitHub and exported pages show folded code first.
    """
    first = None
    for cell in nb.cells:
        pictures = shown(cell)
        if any(alt for _, alt in pictures):
            words = " ".join(alt for _, alt in pictures if alt)
            cell.metadata["mystnb"] = {"image": {"alt": words}}
        first = first or next(iter(pictures), None)
    if first:
        nb.cells[0].source += f"\n\n![{first[1]}](data:image/png;base64,{smaller(first[0])})"


def smaller(picture):
    """A PNG in base64, made narrow and of few colours, so that the title cell stays light. The few
    are the ones that lie farthest apart: the median's would turn a thin arrow grey.
    """
    from PIL import Image  # comes with matplotlib

    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        width = min(TITLE_WIDTH, image.width)
        height = round(image.height * width / image.width)
        small = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    packed = io.BytesIO()
    few = small.quantize(TITLE_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(packed, "PNG", optimize=True)
    return base64.b64encode(packed.getvalue()).decode()


# ---- notebooks and the README ----


def difference(root, room):
    """How the committed cells differ from what the source gives; empty when they are equal."""
    path = built(root, room)
    wanted = assemble(root, room)
    if not path.is_file():
        return "there is no notebook yet"
    try:
        cells = nbformat.read(path, as_version=4).cells
    except (ValueError, KeyError, AttributeError) as error:
        return f"the notebook cannot be read: {error}"
    if len(cells) == len(wanted.cells):
        for got, want in zip(cells, wanted.cells, strict=True):
            want.outputs = got.get("outputs", [])
        dress(wanted)
        # its picture's bytes are those of one version of Pillow
        for title in (cells[0], wanted.cells[0]):
            title.source = TITLE_PICTURE.sub("\n\n(picture)", title.source)
    for got, want in zip(cells, wanted.cells, strict=False):
        for part in ("id", "cell_type", "source", "metadata"):
            if got.get(part) != want[part]:
                return f"cell {want.id}: its {part} differs from the source"
    if len(cells) != len(wanted.cells):
        return f"{len(cells)} cells, the source gives {len(wanted.cells)}"
    return ""


def write(path, nb):
    """Replace in one step, so that a reader or an interrupted build never sees half a file."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(nbformat.writes(nb, version=4) + "\n", encoding="utf-8", newline="\n")
    os.replace(temporary, path)


def recall(path):
    """The dict that `record` wrote; {} where there is none or it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def record(path, entries):
    """Keep a dict for the next time. Where nothing can be written, nothing is known then."""
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    except OSError:
        pass


def minutes(root, room):
    """The minutes that a built page promises in its title cell, "70 (90)" where it has parts that
    are marked More; "" where there are none.
    """
    path = built(root, room)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    promised = PROMISED.search(text)
    if promised and promised[2]:
        return f"{promised[1]} ({promised[2]})"
    return promised[1] if promised else ""


def filled(root, mark, made):
    """The README with what `made(root)` gives between the comments `<!-- mark -->` and
    `<!-- end of mark -->`; None where it has no such place.
    """
    path = root / "README.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    begin, first, rest = text.partition(f"<!-- {mark} -->\n")
    _, last, end = rest.partition(f"<!-- end of {mark} -->")
    return f"{begin}{first}{made(root)}{last}{end}" if last else None


def readme(root):
    """The README with the map of all pages, see `filled`."""
    return filled(root, "pages", course_map)


def course_map(root):
    """A table for each part of notebooks/source/map.toml: a page that stands with its minutes, one
    that does not as planned. Words, not badges: on a phone a badge in a table is a few dots.
    """
    parts = tomllib.loads((root / "notebooks/source/map.toml").read_text(encoding="utf-8"))
    standing = {room.name[:2]: room for room in sources(root)}
    lines = []
    for part, titles in parts.items():
        lines += [f"### {part}", "", "| page | minutes | open in |", "|---|---|---|"]
        for number, title in titles.items():
            room = standing.pop(number, None)
            if room is None:
                lines.append(f"| {number} · {title} | planned | |")
                continue
            page = f"[{number} · {title_of(room)}](notebooks/{room.name}.ipynb)"
            colab, kaggle = doors(root, room)
            opens = f"[Colab]({colab}) [Kaggle]({kaggle})"
            lines.append(f"| {page} | {minutes(root, room)} | {opens} |")
        lines.append("")
    if standing:
        raise BuildError(f"map.toml: page {', '.join(standing)} stands in no part")
    return "\n".join(lines)
