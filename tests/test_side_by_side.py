"""How `make test` runs: a file stays with one worker, notebooks come first, and what hangs ends."""

import os
import re
import shutil
import signal
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from course_utils.runtime import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def options(name):
    """What a variable of the Makefile holds, for two workers."""
    line = re.search(rf"^{name} = (.*)$", MAKEFILE, re.M)[1]
    return line.replace("$(WORKERS)", "2").split()


@pytest.fixture
def course(tmp_path):
    """A course with the real settings, still without notebooks and tests."""
    for name in ("notebooks", "tests"):
        (tmp_path / name).mkdir()
    for name in ("conftest.py", "pyproject.toml", "tests/sanitize.cfg"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def write_notebook(course, name, *cells):
    """A notebook of (code, what it prints) cells."""
    nb = new_notebook(metadata={"kernelspec": KERNEL})
    for number, (code, printed) in enumerate(cells):
        outputs = [new_output("stream", name="stdout", text=printed)] if printed else []
        nb.cells.append(new_code_cell(code, outputs=outputs, execution_count=number + 1))
    nbformat.write(nb, course / "notebooks" / f"{name}.ipynb")


def run(course, *arguments):
    """The exit code and all that pytest prints in this course."""
    done = subprocess.run(
        [sys.executable, *arguments, "-p", "no:cacheprovider"],
        cwd=course,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_file_stays_with_one_worker_and_notebooks_start_first(course):
    """Each cell needs the one before it, and there are more tests than cells."""
    cells = [("x = [0]", ""), *[("x.append(len(x)); print(len(x))", f"{n}\n") for n in (2, 3, 4)]]
    for name in ("00_a", "01_b"):
        write_notebook(course, name, *cells)
    many = "import pytest\n\n\n@pytest.mark.parametrize('n', range(9))\ndef test_n(n):\n    pass\n"
    for name in ("test_a.py", "test_b.py"):
        (course / "tests" / name).write_text(many)
    code, printed = run(course, *options("PYTEST"), "-v")
    assert code == 0 and "26 passed" in printed, printed
    done = re.findall(r"^\[(gw\d)\] .*PASSED (\S+?)::", printed, re.M)
    workers = {file: {worker for worker, other in done if other == file} for _, file in done}
    assert [len(some) for some in workers.values()] == [1] * 4, workers
    first = {worker: file for worker, file in reversed(done)}
    names = sorted(file.removesuffix(".ipynb") for file in first.values())
    assert names == ["notebooks/00_a", "notebooks/01_b"]


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="here what hangs ends the whole run")
def test_what_hangs_fails_alone(course):
    """`check` has an alarm of its own, which must leave the time limit as it was; and a notebook's
    cell may take longer than a test.
    """
    (course / "tests" / "test_hang.py").write_text(
        "import torch  # takes seconds, which are not the test's\n\n"
        "from course_utils.exercises import check\n\n\n"
        "def test_hangs():\n"
        "    check('09.1', lambda values, t: (0.0, 1.0))\n"
        "    print('checked')\n"
        "    while True:\n"
        "        pass\n\n\n"
        "def test_after_it():\n"
        "    pass\n"
    )
    write_notebook(course, "00_a", ("import time; time.sleep(3); print('slept')", "slept\n"))
    code, printed = run(course, "-m", "pytest", "-o", "timeout=2")
    assert code == 1 and "1 failed, 2 passed" in printed and "\nchecked\n" in printed, printed
    assert re.search(r"^FAILED tests/test_hang.py::test_hangs - .*Timeout", printed, re.M), printed


def test_one_verdict():
    """One call of pytest for tests and notebooks in each of the three targets."""
    for target in ("test", "colab", "newest"):
        recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.M)[1]
        assert recipe.count("$(PYTEST)") == 1 and "pytest" not in recipe, target
    assert "--dist loadfile" in " ".join(options("PYTEST"))


def test_one_page():
    """`make test N=11`: its cells, the tests of its exercises, its own, those of its source."""
    words = re.search(r"^ONE_PAGE = \$\(if \$\(N\),(.*)\)$", MAKEFILE, re.M)[1]
    words = words.replace("$(N)", "11")
    assert words == (
        "notebooks/11_*.ipynb tests/exercises tests/pages tests/test_notebooks.py"
        ' -k "11_ or [11."'
    )
    paths = ["notebooks/11_does_your_layer_learn.ipynb", *words.split()[1:4]]
    code, printed = run(
        ROOT, "-m", "pytest", *paths, "-k", "11_ or [11.", "--collect-only", "-q", "-q"
    )
    chosen = dict(re.findall(r"^(\S+): (\d+)$", printed, re.M))
    assert code == 0 and {"tests/exercises/test_pages_1.py", paths[0]} <= set(chosen), printed
    assert not {"tests/exercises/test_pages_0.py", "tests/exercises/test_check.py"} & set(chosen)
