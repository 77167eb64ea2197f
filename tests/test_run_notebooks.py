"""`make run`: what it executes, reports and leaves alone."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

TOOL = Path(__file__).resolve().parent.parent / "tools" / "run_notebooks.py"


def write(folder, name, *sources):
    cells = [new_markdown_cell("# A title"), *(new_code_cell(source) for source in sources)]
    nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")


def run(folder, *arguments, **environment):
    """(exit code, output, progress) of the tool as a reader calls it."""
    done = subprocess.run(
        [sys.executable, str(TOOL), "--folder", str(folder), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def main(monkeypatch):
    """The tool's main function, for what needs no process of its own."""
    spec = importlib.util.spec_from_file_location("run_notebooks", TOOL)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "run_notebooks", module)
    spec.loader.exec_module(module)
    monkeypatch.setenv("COURSE_HOME", "")  # put back after the test, which changes it
    return lambda folder, *arguments: module.main(["--folder", str(folder), *arguments])


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A good notebook, a failing one, one whose kernel dies, and a good one; and their run."""
    folder = tmp_path_factory.mktemp("a course")
    write(
        folder,
        "00_good",
        "import os\nassert os.path.basename(os.getcwd()).startswith('a course')",
        "ballast = bytearray(300_000_000)\nfor i in range(0, len(ballast), 4096): ballast[i] = 1",
        "del ballast; print = float = None",
    )
    write(
        folder,
        "01_fails",
        "x = 1",
        "def check():\n    raise ValueError('first\\nthe scores are upside down')\ncheck()",
        "open('later_cell', 'w')",
    )
    write(folder, "02_dies", "import os\nos._exit(1)")
    write(
        folder,
        "03_last",
        "import os\nopen('last_ran', 'w').write(os.environ['COURSE_HOME'])",
        "assert 'MPLBACKEND' not in os.environ or 'inline' in os.environ['MPLBACKEND']",
    )
    before = {path.name: path.read_bytes() for path in folder.glob("*.ipynb")}
    result = run(folder, COURSE_HOME=str(folder / "mine"), MPLBACKEND="Agg")
    return folder, before, result


def test_failures_are_named_and_the_next_notebook_runs(course):
    folder, _, (code, output, _) = course
    assert code == 1
    assert "01_fails failed, code cell 2: ValueError: the scores are upside down" in output
    assert "02_dies failed, code cell 1: the kernel died" in output
    assert "00_good failed" not in output and "03_last failed" not in output
    assert (folder / "last_ran").exists()
    assert not (folder / "later_cell").exists()  # what follows a failed cell would run on nothing


def test_table(course):
    _, _, (_, output, _) = course
    rows = {line.split()[0]: line.split()[1:] for line in output.splitlines() if line}
    assert output.splitlines()[-6].split() == ["notebook", "seconds", "peak", "MB"]
    assert re.fullmatch(r"\d+\.\d", rows["00_good"][0])
    assert 300 < float(rows["00_good"][1]) < 1000  # the freed 300 MB count: it is the peak
    assert float(rows["03_last"][1]) < 300  # each notebook has a kernel of its own
    assert rows["01_fails"][-1] == "FAILED" and rows["02_dies"][1:] == ["-", "FAILED"]
    seconds = sum(float(rows[name][0]) for name in ("00_good", "01_fails", "02_dies", "03_last"))
    assert float(rows["total"][0]) == pytest.approx(seconds, abs=0.3)
    assert rows["total"][1] == rows["00_good"][1]


def test_progress_shows_the_notebook_and_its_cells(course):
    _, _, (_, _, progress) = course
    assert re.search(r"00_good: 100%.*3/3", progress)
    assert "transport encryption" not in progress.split("01_fails")[0]  # the kernel's own notices


def test_notebooks_and_the_readers_files_stay_as_they_are(course):
    folder, before, _ = course
    assert {path.name: path.read_bytes() for path in folder.glob("*.ipynb")} == before
    home = Path((folder / "last_ran").read_text())
    assert not (folder / "mine").exists() and folder not in home.parents
    assert not home.exists()


def test_only_the_named_notebooks_run(tmp_path, main, capsys):
    write(tmp_path, "00_a", "open('ran_00', 'w')")
    write(tmp_path, "07_b", "open('ran_07', 'w')", "1 / 0")
    expected_error = new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]})
    nbformat.write(new_notebook(cells=[expected_error]), tmp_path / "08_c.ipynb")
    assert main(tmp_path, "0", "8") == 0
    assert "FAILED" not in capsys.readouterr().out
    assert (tmp_path / "ran_00").exists() and not (tmp_path / "ran_07").exists()


def test_what_cannot_be_measured_has_no_known_peak(tmp_path, main, capsys):
    write(tmp_path, "00_mute", "get_ipython().ast_node_interactivity = 'none'")
    no_module = "import sys\nsys.modules['resource'] = sys.modules['psutil'] = None"
    write(tmp_path, "01_broken", no_module)
    write(tmp_path, "02_next", "1")
    assert main(tmp_path) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["00_mute", "-"] == rows[-4][::2] and ["01_broken", "-"] == rows[-3][::2]
    assert float(rows[-2][2]) > 0


def test_a_kernel_that_drops_what_follows_an_error_is_measured(tmp_path, main, capsys):
    drops = (
        "kernel = get_ipython().kernel\n"
        "kernel._abort_queues = lambda *_: setattr(kernel, '_aborting', True)"
    )
    write(tmp_path, "00_a", drops, "1 / 0", "2")
    assert main(tmp_path) == 1
    printed = capsys.readouterr().out
    assert "00_a failed, code cell 2: ZeroDivisionError: division by zero" in printed
    assert float(printed.splitlines()[-1].split()[2]) > 0  # "total", seconds, peak


def test_a_cell_that_takes_too_long(tmp_path, main, capsys):
    write(tmp_path, "00_slow", "import time\ntime.sleep(60)")
    assert main(tmp_path, "--timeout", "1") == 1
    assert "00_slow failed, code cell 1: took longer than 1 seconds" in capsys.readouterr().out


KERNELS = {
    "ends at once": [sys.executable, "-c", "import sys; sys.exit('no module named kernel')"],
    "is not there": ["no-such-python"],
}


@pytest.mark.parametrize("argv", KERNELS.values(), ids=KERNELS)
def test_a_kernel_that_never_started_is_not_called_out_of_memory(
    argv, tmp_path, main, capsys, monkeypatch
):
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    # else the manager puts this very Python in the place of a kernel called python3
    monkeypatch.setattr(KernelSpecManager, "ensure_native_kernel", False)
    write(tmp_path, "00_a", "1")
    assert main(tmp_path) == 1
    printed = capsys.readouterr()
    assert "00_a failed, the kernel did not start (" in printed.out
    assert "memory" not in printed.out and "died (" not in printed.out
    assert argv[0] in printed.out or "no module named kernel" in printed.err


def test_plain_messages(tmp_path, main, capsys):
    with pytest.raises(SystemExit, match=f"There are no notebooks in {re.escape(str(tmp_path))}"):
        main(tmp_path)
    (tmp_path / "00_a.ipynb").write_text("not a notebook")
    assert main(tmp_path) == 1
    assert "00_a failed, the file is not a notebook" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="There is no notebook 12; there are: 00_a"):
        main(tmp_path, "12")
