"""Build the notebooks: notebooks/source/NN_name.py (py:percent) in, notebooks/NN_name.ipynb out.

    python tools/build_notebooks.py [09 10]           rebuild what has changed (of these numbers)
    python tools/build_notebooks.py [09] --force      rebuild it even if nothing has changed
    python tools/build_notebooks.py --check           compare cells without executing; 1 = they differ
    python tools/build_notebooks.py --address owner/name     write the repository's address everywhere
    python tools/build_notebooks.py --edition classroom [09] pages without solutions, for nbgrader (classroom.py)

One way only: no one edits an .ipynb by hand, and building twice gives the same bytes.
"""

import argparse
import ast
import hashlib
import os
import re
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbformat
from check_notebooks import ROOT, WIDGET, problems, problems_in
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
CELL_TIMEOUT = 300  # seconds
ENVIRONMENT = {
    "COURSE_STRICT": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
UNSET = ("COURSE_ADDRESS", "MPLBACKEND", "NBGRADER_EXECUTION")
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
SET_UP = """\
# Set-up: on Colab this fetches the course's files; anywhere else it only finds them.
import os, pathlib, subprocess, sys
if "google.colab" in sys.modules and not os.path.isdir("../course_utils"):
    address = os.environ.get("COURSE_ADDRESS", "{address}")
    clone = ["git", "clone", "-q", "--depth", "1", address, "{folder}"]
    if not os.path.isdir("{folder}/notebooks") and subprocess.run(clone).returncode:
        raise RuntimeError(f"{{address}} could not be fetched; git says why above. Then run this cell again.")
    os.chdir("{folder}/notebooks")
folders = (pathlib.Path.cwd(), *pathlib.Path.cwd().parents)
sys.path[:0] = [str(folder) for folder in folders if (folder / "course_utils").is_dir()]"""


class BuildError(Exception):
    """What an author or a user has to mend; the message says where."""


class Exercise(NamedTuple):
    function: str
    stub: str
    solution: str


# ---- source -> cells
# ------------------------------------------------------------------------------


def sources(root=ROOT):
    """The sorted source files; two with one number would make exercise keys ambiguous."""
    paths = sorted((root / "notebooks" / "source").glob("*.py"))
    for path, after in zip(paths, [*paths[1:], None]):
        if not re.fullmatch(r"\d\d_\w+", path.stem):
            raise BuildError(f"{path.name}: expected a name like 09_name.py")
        if after and after.name[:2] == path.name[:2]:
            raise BuildError(f"{path.name} and {after.name} have the same number")
    return paths


def built(root, source):
    return root / "notebooks" / f"{source.stem}.ipynb"


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


def fail(source, mark, message):
    """Raise with the file and the line where `mark` stands first, because jupytext keeps no
    lines.
    """
    lines = source.read_text(encoding="utf-8").splitlines()
    line = next((i for i, text in enumerate(lines, 1) if mark in text), 1)
    raise BuildError(f"{source.name}:{line}: {message}")


def read_cells(source):
    """The author's cells, without jupytext's own notes on blank lines."""
    cells = jupytext.read(source, fmt="py:percent").cells
    for cell in cells:
        for name in [name for name in cell.metadata if name.startswith("lines_to_")]:
            del cell.metadata[name]
    if not cells or cells[0].cell_type != "markdown" or not cells[0].source.startswith("# "):
        fail(source, "# %%", "expected a first markdown cell that begins with '# Title'")
    return cells


def open_exercise(source, key, code):
    """One function with its answer between the markers gives the stub (`...`) and the solution.

    `check` knows a stub by its body, a docstring and `...`, so nothing else may stand there.
    """
    mark, what = f'exercise="{key}"', f"exercise {key}"
    lines = code.splitlines()
    places = [i for i, line in enumerate(lines) if line.strip() in (BEGIN, END)]
    if [lines[i].strip() for i in places] != [BEGIN, END]:
        fail(source, mark, f"{what}: expected one {BEGIN!r} and below it one {END!r}")
    begin, end = places
    indent = lines[begin].removesuffix(BEGIN)
    solution = "\n".join([*lines[:begin], *lines[begin + 1 : end], *lines[end + 1 :]])
    stub = "\n".join([*lines[:begin], indent + "...", *lines[end + 1 :]])
    try:
        ast.parse(solution)
        functions = [node for node in ast.parse(stub).body if isinstance(node, ast.FunctionDef)]
    except SyntaxError as error:
        fail(source, mark, f"{what}: {error.msg} in {error.text!r}")
    if len(functions) != 1:
        fail(source, mark, f"{what}: expected one function, got {len(functions)}")
    body = functions[0].body[1:] if ast.get_docstring(functions[0]) else functions[0].body
    if [ast.unparse(node) for node in body] != ["..."]:
        fail(source, mark, f"{what}: outside the markers expected only a docstring in the function")
    return Exercise(functions[0].name, stub, solution)


def read_exercises(source, cells):
    """{key: Exercise} of the cells marked exercise="NN.k", each followed by hints="NN.k"."""
    found = {}
    for cell, after in zip(cells, [*cells[1:], new_markdown_cell()]):
        key, hints = cell.metadata.get("exercise"), after.metadata.get("hints")
        if key is None:
            if BEGIN in cell.source:
                fail(
                    source, BEGIN, 'a solution needs exercise="NN.k" on its cell, or readers see it'
                )
            if hints is not None:
                fail(
                    source,
                    f'hints="{hints}"',
                    f'expected exercise="{hints}" in the cell directly above',
                )
            continue
        mark = f'exercise="{key}"'
        if not re.fullmatch(source.name[:2] + r"\.\d+", str(key)):
            fail(
                source,
                mark,
                f'exercise {key}: expected a key like "{source.name[:2]}.1" in this notebook',
            )
        if key in found:
            fail(source, mark, f"exercise {key}: this key stands twice")
        if cell.cell_type != "code":
            fail(source, mark, f"exercise {key}: expected a code cell with one function")
        if hints != key or after.cell_type != "markdown":
            fail(
                source,
                mark,
                f'exercise {key}: expected a markdown cell hints="{key}" directly below',
            )
        found[key] = open_exercise(source, key, cell.source)
    return found


def solutions(source):
    """{key: code of the exercise's cell without the markers}: what the page shows folded."""
    return {key: one.solution for key, one in read_exercises(source, read_cells(source)).items()}


def folded(solution):
    """The solution as the last of the hints."""
    return f"\n\n<details><summary>Solution</summary>\n\n```python\n{solution}\n```\n\n</details>"


def title_line(root, source):
    """Badge and neighbours, generated so that neither can point elsewhere."""
    name, everyone = f"{source.stem}.ipynb", sources(root)
    place = everyone.index(source)
    link = address(root).replace("github.com", "colab.research.google.com/github", 1)
    parts = [f"[![Open in Colab]({BADGE})]({link}/blob/main/notebooks/{name})"]
    for word, i in (("previous", place - 1), ("next", place + 1)):
        if 0 <= i < len(everyone):
            heading = re.search(r"^# # (.+)", everyone[i].read_text(encoding="utf-8"), re.M)
            title = heading[1] if heading else everyone[i].stem
            parts.append(f"{word}: [{title}]({everyone[i].stem}.ipynb)")
    return " · ".join(parts)


def set_up(root):
    return SET_UP.format(address=address(root), folder=address(root).split("/")[-1])


def name_cells(source, cells):
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
        if equation and not re.fullmatch(source.name[:2] + r"\.\d+", equation[1]):
            fail(
                source,
                equation[0],
                f"equation {equation[1]}: expected a number like {source.name[:2]}.1",
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
                source,
                equation[0] if equation else cell.id,
                f"two cells would have the id {cell.id!r}",
            )


def assemble(root, source):
    """The notebook that a source gives, not yet executed."""
    author = read_cells(source)
    exercises = read_exercises(source, author)
    author[0].source += "\n\n" + title_line(root, source)
    cells = []
    for cell in author:
        cells.append(cell)
        if key := cell.metadata.get("exercise"):
            cell.source = exercises[key].stub
            call = f'check("{key}", {exercises[key].function})'
            cells.append(new_code_cell(call, metadata={"check": key}))
        elif key := cell.metadata.get("hints"):
            cell.source += folded(exercises[key].solution)
    first = next((i for i, cell in enumerate(cells) if cell.cell_type == "code"), len(cells))
    cells.insert(first, new_code_cell(set_up(root), metadata={"tags": ["set-up"]}))
    name_cells(source, cells)
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    return new_notebook(
        cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}}
    )


# ---- what has changed
# -----------------------------------------------------------------------------


def freshness(root, source):
    """A hash over all that outputs come from: the source, the package, the data and this
    builder.
    """
    files = [source, *(root / "course_utils").rglob("*.py"), *(root / "data").rglob("*")]
    key = hashlib.sha256(Path(__file__).read_bytes())
    # no page reads a datasheet
    for path in sorted(path for path in files if path.is_file() and path.suffix != ".md"):
        key.update(f"\0{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return key.hexdigest()


def difference(root, source):
    """How the committed cells differ from what the source gives; empty when they are equal."""
    path, wanted = built(root, source), assemble(root, source)
    if not path.is_file():
        return "there is no notebook yet"
    try:
        cells = nbformat.read(path, as_version=4).cells
    except (ValueError, KeyError, AttributeError) as error:
        return f"the notebook cannot be read: {error}"
    for got, want in zip(cells, wanted.cells):
        for part in ("id", "cell_type", "source", "metadata"):
            if got.get(part) != want[part]:
                return f"cell {want.id}: its {part} differs from the source"
    if len(cells) != len(wanted.cells):
        return f"{len(cells)} cells, the source gives {len(wanted.cells)}"
    return ""


def stale(root, source):
    """Why a notebook has to be executed again; empty when it is up to date."""
    if reason := difference(root, source):
        return reason
    metadata = nbformat.read(built(root, source), as_version=4).metadata
    if metadata.get("course", {}).get("key") != freshness(root, source):
        return "the source, the package, the data or the builder changed"
    return "; ".join(problems(built(root, source))[:1])


# ---- execute, normalise, write
# --------------------------------------------------------------------


def execute(root, source, nb):
    """Run all cells in a fresh kernel of this very Python, untouched by the user's own settings."""
    now = {}
    with tempfile.TemporaryDirectory() as home:
        env = {name: value for name, value in os.environ.items() if name not in UNSET}
        # an empty store, so that what a page shows of public data does not depend on what this
        # machine has
        env |= ENVIRONMENT | {
            "COURSE_HOME": home,
            "COURSE_DATA": str(Path(home, "data")),
            "IPYTHONDIR": str(Path(home, "ipython")),
        }
        # without folders to look in, the manager knows one kernel: the running interpreter's
        manager = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
        client = NotebookClient(
            nb,
            km=manager,
            timeout=CELL_TIMEOUT,
            record_timing=False,
            store_widget_state=False,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": root / "notebooks"}},
            on_cell_start=lambda cell, cell_index: now.update(id=cell.id),
        )
        try:
            # or a kernel that was handed in is left running
            client.execute(env=env, cleanup_kc=True)
        except CellTimeoutError:
            raise BuildError(
                f"{source.stem}: cell {now['id']}: ran longer than {CELL_TIMEOUT} s"
            ) from None
        except DeadKernelError:
            raise BuildError(
                f"{source.stem}: cell {now['id']}: the kernel died (memory?)"
            ) from None
        except CellExecutionError as error:
            trace = re.sub(r"\x1b\[[\d;]*m", "", error.traceback).strip().splitlines()[-12:]
            raise BuildError(
                "\n  ".join([f"{source.stem}: cell {now['id']} raised", *trace])
            ) from None


def normalise_outputs(outputs):
    """Join a stream's pieces, apply carriage returns as nbval does, drop live widgets (random
    ids).
    """
    result = []
    for output in outputs:
        data = output.get("data", {})
        if data.pop(WIDGET, None) and not data:
            continue
        if output.output_type == "stream" and result and result[-1].get("name") == output.name:
            result[-1].text += output.text
        else:
            result.append(output)
    for output in result:
        if output.output_type == "stream":
            output.text = re.sub(r"^.*\r(?=[^\n])", "", output.text, flags=re.M)
    return result


def normalise(nb):
    """What differs between two runs of one notebook goes; what should not be there stays, to be
    refused.
    """
    count = 0
    nb.metadata.pop("widgets", None)
    nb.metadata.language_info = {"name": "python"}
    for cell in nb.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        count += 1
        cell.execution_count, cell.outputs = count, normalise_outputs(cell.outputs)
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count


def write(path, nb):
    """Replace in one step, so that a reader or an interrupted build never sees half a file."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(nbformat.writes(nb, version=4) + "\n", encoding="utf-8", newline="\n")
    os.replace(temporary, path)


def build(root, source):
    key, nb = freshness(root, source), assemble(root, source)
    execute(root, source, nb)
    normalise(nb)
    nb.metadata["course"] = {"key": key}
    if found := problems_in(nb):
        raise BuildError("\n  ".join([f"{source.stem}: not written:", *found]))
    write(built(root, source), nb)


# ---- commands
# -------------------------------------------------------------------------------------


def write_address(root, new):
    """Change the address in pyproject.toml, README.md, badges and set-up cells; outputs stay as
    they are.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", new):
        raise BuildError(f"--address takes owner/name, got {new!r}")
    old = re.escape(address(root).removeprefix("https://github.com/"))

    def change(text):
        return re.sub(rf"(\bgithub(?:\.com)?/){old}(?![\w-])", rf"\g<1>{new}", text)

    for path in (root / "pyproject.toml", root / "README.md"):
        if path.is_file():
            path.write_text(
                change(path.read_text(encoding="utf-8")), encoding="utf-8", newline="\n"
            )
    for path in (root / "notebooks").glob("*.ipynb"):
        nb = nbformat.read(path, as_version=4)
        for cell in nb.cells:
            if cell.id == "title":
                cell.source = change(cell.source)
            elif cell.id == "set-up":
                cell.source = set_up(root)
        write(path, nb)


def check(root, chosen):
    """Compare cells only, because outputs are nbval's task; a stale key is told, not refused."""
    found = {source.stem: difference(root, source) for source in chosen}
    stems = {source.stem for source in sources(root)}
    found |= {
        path.stem: "a notebook without a source"
        for path in sorted((root / "notebooks").glob("*.ipynb"))
        if path.stem not in stems
    }
    notes = {source.stem: stale(root, source) for source in chosen if not found[source.stem]}
    for stem, reason in found.items():
        print(f"{stem}: {reason or notes[stem] or 'equal'}")
    return 1 if any(found.values()) else 0


def build_all(root, chosen, force):
    """Build one after the other; one that fails does not hide what the others have to say."""
    failed = 0
    for source in chosen:
        start = time.perf_counter()
        try:
            reason = "forced" if force else stale(root, source)
            if reason:
                build(root, source)
        except BuildError as error:
            failed = 1
            print(error, file=sys.stderr, flush=True)
        else:
            seconds = time.perf_counter() - start
            done = f"built in {seconds:.0f} s ({reason})" if reason else "up to date"
            print(f"{source.stem}: {done}", flush=True)
    return failed


def main(arguments=None, root=ROOT):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", help="notebooks such as 09; all when none is named")
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
        everyone = {source.name[:2]: source for source in sources(root)}
        if unknown := [number for number in options.numbers if number not in everyone]:
            raise BuildError(f"no source for {', '.join(unknown)}; there are {', '.join(everyone)}")
        chosen = [everyone[number] for number in options.numbers] or list(everyone.values())
        if options.edition:
            import classroom  # which imports this file

            return classroom.write_all(root, chosen)
        return check(root, chosen) if options.check else build_all(root, chosen, options.force)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
