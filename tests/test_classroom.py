"""The classroom edition: what it leaves out, what it writes for nbgrader and, where nbgrader is
installed, what nbgrader makes of it.

The second part takes minutes and needs nbgrader: make teach-test.
"""

import ast
import copy
import functools
import importlib.util
import json
import re
import shutil
import subprocess
import symtable
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import build_notebooks as builder
import classroom
import form
import pages

ANSWERS = {source: pages.solutions(source) for source in pages.sources(ROOT)}
PAGES = [source for source in ANSWERS if ANSWERS[source]]
each_page = pytest.mark.parametrize("source", PAGES, ids=lambda source: source.name)
# the first test that asks for a grade waits for four submissions of every page
pytestmark = pytest.mark.timeout(7200)

TINY = '''# %% [markdown]
# # Tiny
#
# > **Exercise 00.1 · Twice** — *3 minutes · stretch*

# %% exercise="00.1"
def double(x):
    """Twice x, or ... nothing."""
    ### BEGIN SOLUTION
    twice = 2 * x
    return twice
    ### END SOLUTION

# %% [markdown] hints="00.1"
# <details><summary>A question that helps</summary>
#
# What is x + x?
#
# </details>
'''


@pytest.fixture
def tiny(tmp_path):
    """A course of one page with an exercise and one without."""
    for name, text in {
        "notebooks/source/00_tiny/page.py": TINY,
        "notebooks/source/01_prose/page.py": "# %% [markdown]\n# # Prose\n",
        "pyproject.toml": '[project.urls]\nRepository = "https://github.com/someone/else"\n',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def build(root, *numbers):
    return builder.main(["--edition", "classroom", *numbers], root)


@functools.cache
def page(source):
    return classroom.page(ROOT, source)


def exercises_of(nb):
    return [cell for cell in nb.cells if "exercise" in cell.metadata]


def checks_of(nb):
    return [cell for cell in nb.cells if "check" in cell.metadata]


def points_of(source):
    return {cell.metadata.check: cell.metadata.nbgrader.points for cell in checks_of(page(source))}


# ---- what is written ----


@each_page
def test_cells_are_those_of_the_page_but_for_exercises_hints_and_title(source):
    usual, ours = pages.assemble(ROOT, source).cells, page(source).cells
    assert [(cell.id, cell.cell_type) for cell in ours] == [
        (cell.id, cell.cell_type) for cell in usual
    ]
    for mine, theirs in zip(ours, usual):
        rest = {name: value for name, value in mine.metadata.items() if name != "nbgrader"}
        assert rest == theirs.metadata
        if "exercise" in rest:
            lines = [
                line
                for line in mine.source.splitlines()
                if line.strip() not in (pages.BEGIN, pages.END)
            ]
            asked = mine.source.count(pages.BEGIN)  # a class may ask for several methods
            marks = len(mine.source.splitlines()) - len(lines)
            assert "\n".join(lines) == theirs.source and marks == 2 * asked > 0
        elif "hints" in rest:
            assert theirs.source == mine.source + pages.folded(ANSWERS[source][rest["hints"]])
        elif mine.id == "title":
            assert mine.source.split("\n\n")[:-1] == theirs.source.split("\n\n")[:-1]
            assert f"`{source.name}.ipynb`" in mine.source and ".ipynb)" not in mine.source, (
                "a link to the solutions"
            )
        else:
            assert mine.source == theirs.source


@each_page
def test_no_solution_stands_anywhere(source):
    nb = page(source)
    text = nbformat.writes(nb)
    assert "<summary>Solution</summary>" not in text
    assert all(
        cell.outputs == [] and cell.execution_count is None
        for cell in nb.cells
        if cell.cell_type == "code"
    )
    everywhere = {
        " ".join(line.split("#")[0].split())
        for cell in nb.cells
        for line in cell.source.splitlines()
    }
    for key, code in ANSWERS[source].items():
        nodes = ast.walk(ast.parse(code))
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
        body = [
            ast.get_source_segment(code, node)
            for function in functions
            for node in function.body
            if not isinstance(node, ast.Expr)
        ]
        lines = {
            " ".join(line.split("#")[0].split())
            for statement in body
            for line in statement.splitlines()
        }
        assert lines - everywhere, (
            f"every line of the solution of {key} stands somewhere on the page"
        )


@each_page
def test_metadata_is_what_nbgrader_asks_for(source):
    """Version 3 of its schema, as far as this course uses it: three kinds of cells, each name
    once.
    """
    common = {"schema_version": 3, "task": False}
    wanted = {
        "set-up": common | {"grade_id": "set-up", "grade": False, "solution": False, "locked": True}
    }
    for key in ANSWERS[source]:
        name = f"ex-{key.replace('.', '-')}"
        wanted[name] = common | {
            "grade_id": name,
            "grade": False,
            "solution": True,
            "locked": False,
        }
        wanted[f"{name}-check"] = common | {
            "grade_id": f"{name}-check",
            "grade": True,
            "solution": False,
            "locked": True,
            "points": points_of(source)[key],
        }
    nb = page(source)
    assert {
        cell.id: cell.metadata.nbgrader for cell in nb.cells if "nbgrader" in cell.metadata
    } == wanted
    assert len({entry["grade_id"] for entry in wanted.values()}) == 1 + 2 * len(ANSWERS[source])
    nbformat.validate(nb)


@each_page
def test_points_are_those_of_the_cards(source):
    """Read from the author's file in another way than the builder does."""
    cards = re.findall(
        r"Exercise (\d\d\.\d+) .*(warm-up|core|stretch)\*$",
        (source / "page.py").read_text(encoding="utf-8"),
        re.M,
    )
    assert points_of(source) == {
        key: {"warm-up": 1, "core": 2, "stretch": 3}[word] for key, word in cards
    }
    assert points_of(source).keys() == ANSWERS[source].keys()


def test_the_command_writes_a_course_folder_for_nbgrader(tiny, capsys):
    assert build(tiny) == 0
    assert (
        capsys.readouterr().out == "classroom/source/00_tiny/00_tiny.ipynb: exercises 1, points 3\n"
        "01_prose: no exercises, nothing to hand in\n"
    )
    files = sorted(
        path.relative_to(tiny / "classroom").as_posix()
        for path in (tiny / "classroom").rglob("*.*")
    )
    assert files == ["nbgrader_config.py", "source/00_tiny/00_tiny.ipynb"]
    nb = nbformat.read(tiny / "classroom/source/00_tiny/00_tiny.ipynb", as_version=4)
    assert (
        next(cell for cell in nb.cells if cell.id == "ex-00-1").source
        == 'def double(x):\n    """Twice x, or ... nothing."""\n    ### BEGIN SOLUTION\n    ...\n  '
        "  ### END SOLUTION"
    )
    assert "twice" not in str(nb)


def test_it_executes_nothing_and_leaves_the_notebooks_and_a_teachers_settings_alone(
    tiny, monkeypatch
):
    monkeypatch.setattr(builder, "execute", lambda *_: pytest.fail("executed"))
    assert build(tiny, "00") == 0
    settings = tiny / "classroom/nbgrader_config.py"
    settings.write_text("mine", encoding="utf-8")
    assert build(tiny, "00") == 0
    assert settings.read_text(encoding="utf-8") == "mine"
    assert [path.name for path in (tiny / "notebooks").iterdir()] == ["source"]


@pytest.mark.parametrize(
    "old, new, got",
    [("stretch", "hard", "got hard"), ("> **Exercise 00.1", "> **Exercise 00.2", "got none")],
)
def test_an_exercise_without_a_card_that_says_its_difficulty_is_refused(
    tiny, capsys, old, new, got
):
    path = tiny / "notebooks/source/00_tiny/page.py"
    path.write_text(TINY.replace(old, new), encoding="utf-8")
    assert build(tiny) == 1
    out, err = capsys.readouterr()
    assert "00_tiny/page.py:6: exercise 00.1: expected a card above it" in err and got in err
    assert "01_prose" in out, "one page must not hide another"


def test_a_repository_without_an_address_is_told(tiny, capsys):
    (tiny / "pyproject.toml").write_text(
        '[project.urls]\nRepository = "https://github.com/OWNER/REPO"\n', encoding="utf-8"
    )
    assert build(tiny) == 0
    assert "make address REPO=owner/name" in capsys.readouterr().err


def test_command_line(tiny):
    """As make calls it: a fresh Python, in which the builder is the main program and so stands
    in memory twice.
    """
    shutil.copytree(ROOT / "tools", tiny / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (tiny / "notebooks/source/01_prose/page.py").write_text(
        TINY.replace("stretch", "hard").replace("00.1", "01.1"), encoding="utf-8"
    )
    result = subprocess.run(
        [sys.executable, "tools/build_notebooks.py", "--edition", "classroom"],
        cwd=tiny,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1 and "points 3" in result.stdout
    assert "01_prose/page.py:6: exercise 01.1" in result.stderr and "Traceback" not in result.stderr


# ---- what nbgrader makes of it
# -------------------------------------------------------------------- Each page with the same four
# submissions, the first page with some odd ones more; graded once, in one run.

needs_nbgrader = pytest.mark.skipif(
    importlib.util.find_spec("nbgrader") is None,
    reason="nbgrader is not installed here: make teach-test",
)
STUDENTS = ("blank", "solved", "mixed", "colab")


def answer(nb, wanted):
    """Write code into exercise cells: {key: code}."""
    for cell in exercises_of(nb):
        cell.source = wanted.get(cell.metadata.exercise, cell.source)


def mixed(source):
    """For each exercise in turn a wrong idea, the solution, a cell that cannot run, nothing:
    {key: code}. The second, the sixth ... earn their points, although something wrong comes
    before them.
    """
    code = {}
    for i, key in enumerate(ANSWERS[source]):
        name = re.search(r"^(?:def|class) (\w+)", ANSWERS[source][key], re.M)[1]
        wrong = (
            f"from course_utils.exercises import _find\n{name} ="
            f" _find({key!r}).misconceptions[0].wrong"
        )
        if i % 4 < 3:
            code[key] = (wrong, ANSWERS[source][key], f"def {name}(:\n    return 1")[i % 4]
    return code


def due(source, student):
    """{check cell: points}, by the cards."""
    worth, answers = points_of(source), ANSWERS[source]
    earned = {"blank": {}, "mixed": list(answers)[1::4]}.get(student, answers)
    return {f"ex-{key.replace('.', '-')}-check": worth[key] * (key in earned) for key in answers}


def names_used(code):
    """The names that code takes from outside its functions."""
    tables, names = [symtable.symtable(code, "page", "exec")], set()
    for table in tables:
        tables += table.get_children()
        names |= {name.get_name() for name in table.get_symbols() if name.is_global()}
    return names


def needed(source, nb):
    """{cell id: code}: of what stands above an answer, the functions, classes and names that it
    uses, and what these use; from the last cell to the first.
    """
    wanted, found = set(), {}
    for cell in reversed(nb.cells):
        if "exercise" in cell.metadata:
            wanted |= names_used(ANSWERS[source][cell.metadata.exercise])
        elif cell.cell_type == "code" and cell.id != "set-up" and "check" not in cell.metadata:
            for node in reversed(ast.parse(cell.source).body):
                code = ast.unparse(node)
                # imports stand apart
                if wanted & {name for name, kind in form.bound(node) if kind != "imported"}:
                    wanted |= names_used(code)
                    found[cell.id] = code + "\n\n" + found.get(cell.id, "")
    return found


def short(source, nb):
    """A page of its imports, exercises, checks and what the answers use of it, since what else
    stands between takes a minute to run.
    """
    tree = ast.parse((source / "page.py").read_text(encoding="utf-8"))
    imports = "\n".join(
        ast.unparse(node) for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))
    )
    used = needed(source, nb)
    for cell in nb.cells:
        cell.source = used.get(cell.id, cell.source)
    nb.cells = [
        cell
        for cell in nb.cells
        if cell.id == "set-up" or cell.id in used or {"exercise", "check"} & set(cell.metadata)
    ]
    nb.cells.insert(1, new_code_cell(imports, id="imports"))
    return nb


def as_colab(nb):
    """What Colab's File > Download gives: format 4.0, ids inside the metadata, its own keys,
    outputs from there. With a cell of the student's own that works only on Colab.
    """
    cells = []
    own = new_code_cell("from google.colab import drive\ndrive.mount('/content/drive')")
    for number, cell in enumerate([nb.cells[0], own, *nb.cells[1:]]):
        written = {
            "cell_type": cell.cell_type,
            "source": cell.source.splitlines(keepends=True),
            "metadata": {**cell.metadata, "id": f"x{number:011d}"},
        }
        if cell.cell_type == "code":
            written["metadata"] |= {
                "colab": {"base_uri": "https://localhost:8080/", "height": 35},
                "outputId": f"0a1b-{number}",
            }
            written |= {
                "execution_count": number,
                "outputs": [{"output_type": "stream", "name": "stdout", "text": ["there\n"]}],
            }
        cells.append(written)
    return {
        "nbformat": 4,
        "nbformat_minor": 0,
        "cells": cells,
        "metadata": {
            "accelerator": "GPU",
            "colab": {"provenance": [], "gpuType": "T4"},
            "language_info": {"name": "python"},
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
        },
    }


def whole(nb):
    """From top to bottom, wrong answers and right ones, and with two seeds: many a number leaves
    its band.
    """
    (dial,) = [cell for cell in nb.cells if "range(1, 10 if FULL else 5)" in cell.source]
    dial.source = dial.source.replace("range(1, 10 if FULL else 5)", "range(1, 2)")
    answer(nb, mixed(PAGES[0]))
    return as_colab(nb)


def copied(nb):
    """Each exercise and its check stand twice, with the same metadata; the work was done in the
    lower pair.
    """
    for cell, check in zip(exercises_of(nb), checks_of(nb)):
        twins = copy.deepcopy([cell, check])
        cell.source = "# first try"
        for twin in twins:
            twin.id += "-twin"
        place = nb.cells.index(check) + 1
        nb.cells[place:place] = twins


def public(nb):
    """The page of the public badge: nothing in it is nbgrader's."""
    for cell in nb.cells:
        cell.metadata.pop("nbgrader", None)


def deleted(nb):
    nb.cells = [cell for cell in nb.cells if "check" not in cell.metadata]


def merged(nb):
    """Exercise and check in one cell, which keeps the metadata of the upper."""
    for cell, below in zip(exercises_of(nb), checks_of(nb)):
        cell.source += "\n\n" + below.source
    deleted(nb)


def rewritten(nb):
    """The functions come from new cells, in another way, and no given cell is left."""
    for cell in exercises_of(nb):
        name = re.search(r"def (\w+)", cell.source)[1]
        cell.source = cell.source.replace(f"def {name}", "def mine") + f"\n\n{name} = mine"
    deleted(nb)
    public(nb)


def forged(nb):
    """The check is asked about something else, for more points."""
    for cell in checks_of(nb):
        cell.source = f'check("{cell.metadata.check}", reference("{cell.metadata.check}"))'
        cell.metadata.nbgrader.points = 100
    for cell in exercises_of(nb):
        cell.source = "from course_utils.exercises import reference"


ODD = {
    whole: "mixed",
    copied: "solved",
    public: "solved",
    deleted: "solved",
    merged: "solved",
    rewritten: "solved",
    forged: "blank",
}
# the others: student_NN_name.ipynb
ARCHIVE = {"whole": "{}_Copy of {}.ipynb", "copied": "{}_{} (1).ipynb"}


class Course:
    """A course folder outside the repository, worked with nbgrader's own commands."""

    def __init__(self, folder):
        self.folder = folder

    def nbgrader(self, *arguments):
        """COURSE_STRICT=1 (from conftest.py) stays in the environment: the course's settings
        have to take it out.
        """
        command = [str(Path(sys.executable).with_name("nbgrader")), *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]

    def notebook(self, *names):
        return nbformat.read(self.folder.joinpath(*names, names[-1] + ".ipynb"), as_version=4)

    def errors(self, student, source):
        """{cell: its error} of a graded page, by nbgrader's names."""
        cells = [
            cell
            for cell in self.notebook("autograded", student, source.name).cells
            if cell.cell_type == "code"
        ]
        return {
            cell.metadata.get("nbgrader", cell).get(
                "grade_id", cell.source
            ): f"{output.ename}: {output.evalue}"
            for cell in cells
            for output in cell.outputs
            if output.output_type == "error"
        }

    def hand_in(self, source, student, nb):
        path = self.folder / "submitted" / student / source.name / f"{source.name}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(
            json.dumps(as_colab(nb) if student == "colab" else nb, indent=1), encoding="utf-8"
        )

    def ask_for_a_sentence(self):
        """A written question on the first page, worth 4 points, as a teacher adds it in
        JupyterLab.
        """
        path = self.folder / "source" / PAGES[0].stem / f"{PAGES[0].stem}.ipynb"
        nb = nbformat.read(path, as_version=4)
        question = classroom.metadata("why", grade=True, solution=True, points=4)
        nb.cells.insert(-1, new_markdown_cell("Why?", metadata={"nbgrader": question}))
        nbformat.write(nb, path)

    def grade(self):
        """{(page, student): {check cell: points}} from nbgrader's own book."""
        from nbgrader.api import Gradebook

        assert classroom.write_all(ROOT, PAGES, self.folder) == 0
        self.ask_for_a_sentence()
        self.nbgrader("generate_assignment", "*")
        for source in PAGES:
            for student in STUDENTS:
                nb = short(source, self.notebook("release", source.name))
                answer(nb, {"blank": {}, "mixed": mixed(source)}.get(student, ANSWERS[source]))
                self.hand_in(source, student, nb)
        stem = PAGES[0].stem
        archive = self.folder / "downloaded" / stem / "archive"
        archive.mkdir(parents=True)
        with zipfile.ZipFile(archive / "class.zip", "w") as file:
            for change in ODD:
                nb = self.notebook("release", stem)
                if change is not whole:
                    answer(short(PAGES[0], nb), ANSWERS[PAGES[0]])
                name = ARCHIVE.get(change.__name__, "{}_{}.ipynb").format(change.__name__, stem)
                file.writestr(name, json.dumps(change(nb) or nb))
        self.nbgrader("zip_collect", stem)
        self.nbgrader("autograde", "*")
        with Gradebook(f"sqlite:///{self.folder / 'gradebook.db'}") as book:
            return {
                (source.name, one.student.id): {
                    grade.name: grade.auto_score
                    for grade in one.notebooks[0].grades
                    if grade.name.endswith("-check")
                }
                for source in PAGES
                for one in book.assignment_submissions(source.name)
            }


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    course = Course(tmp_path_factory.mktemp("class") / "course")
    course.scores = course.grade()
    return course


@needs_nbgrader
@each_page
def test_the_released_page_is_the_usual_one_without_solutions(course, source):
    """nbgrader's own stub would raise, and `check` could not say "not attempted yet"."""
    released = {cell.id: cell.source for cell in course.notebook("release", source.name).cells}
    usual = {cell.id: cell.source for cell in pages.assemble(ROOT, source).cells}
    assert {name for name in usual if released[name] != usual[name]} == {"title"} | {
        f"ex-{key.replace('.', '-')}-hints" for key in ANSWERS[source]
    }
    assert "SOLUTION" not in str(released)


@needs_nbgrader
@each_page
@pytest.mark.parametrize("student", STUDENTS)
def test_each_submission_gets_the_points_of_what_is_right(course, source, student):
    assert course.scores[source.name, student] == due(source, student)


@needs_nbgrader
@pytest.mark.parametrize("change", ODD, ids=lambda change: change.__name__)
def test_an_odd_submission_is_graded_all_the_same(course, change):
    """Copied cells would stop nbgrader for the whole class (jupyter/nbgrader #1083), a page
    without metadata would get 0.
    """
    assert course.scores[PAGES[0].stem, change.__name__] == due(PAGES[0], ODD[change])


@needs_nbgrader
def test_a_turned_dial_is_no_error_and_each_verdict_is_kept(course):
    errors = course.errors("whole", PAGES[0])
    assert "Outside that band" in str(course.notebook("autograded", "whole", PAGES[0].stem))
    key = list(ANSWERS[PAGES[0]])[0]
    assert f"Exercise {key} · not right yet" in errors.pop(f"ex-{key.replace('.', '-')}-check")
    assert [error.split(":")[0] for error in errors.values()] == [
        "ModuleNotFoundError",
        "SyntaxError",
        "NameError",  # its check
        "NameError",  # and the cell that goes on with the function
    ]
    assert (
        "not attempted yet" in course.errors("blank", PAGES[0])[f"ex-{key.replace('.', '-')}-check"]
    )


@needs_nbgrader
def test_the_class_gets_a_table_and_each_student_a_page(course):
    source = PAGES[0]
    course.nbgrader("export")
    # the 4 are of the written question, which a teacher still has to read
    got, most = sum(due(source, "mixed").values()), sum(due(source, "solved").values()) + 4
    rows = (course.folder / "grades.csv").read_text(encoding="utf-8").splitlines()
    assert any(
        row.startswith(f"{source.name},,,mixed,") and row.endswith(f",{got:.1f},{most:.1f}")
        for row in rows
    ), rows
    course.nbgrader("generate_feedback", source.name, "--student=mixed")
    assert "not right yet" in (
        course.folder / "feedback/mixed" / source.name / f"{source.name}.html"
    ).read_text(encoding="utf-8")
