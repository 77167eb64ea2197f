"""A reader opens one notebook from its badge: an empty folder, Colab's versions, and a stand-in
for Colab's module.

Part of `make colab`; elsewhere it is skipped, because it would only run a notebook once more.
"""

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell
from test_hostile import HIDE

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import pages

NOTEBOOK = "00_start_here.ipynb"  # the first that readers open; it needs the bundled data
PINS = dict(
    line.split("==")
    for line in (ROOT / "constraints-colab.txt").read_text(encoding="utf-8").splitlines()
    if "==" in line and not line.startswith("#")
)
LAST = (
    "import course_utils, os, sys; print(os.getcwd(), course_utils.__file__, 'google.colab' in"
    " sys.modules, sep='\\n')"
)


def at_colabs_versions():
    return all(version(name) == PINS[name] for name in ("ipython", "ipykernel", "ipywidgets"))


@pytest.fixture
def repository(tmp_path):
    """The course as it is now, as a repository that can be cloned; neither history nor settings
    of git's user matter.
    """
    root = tmp_path / "repository"
    for name in ("course_utils", "data", "notebooks"):
        shutil.copytree(
            ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "my_course")
        )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for command in (
        "init -q",
        "add .",
        "-c user.name=a -c user.email=a@example.org commit -q -m course",
    ):
        subprocess.run(["git", *command.split()], cwd=root, env=environment, check=True)
    return root


@pytest.mark.skipif(not at_colabs_versions(), reason="needs Colab's versions: make colab")
def test_a_notebook_opened_on_colab_fetches_the_course_and_runs(repository, tmp_path):
    content = tmp_path / "content"
    start = tmp_path / "ipython/profile_default/startup"
    module = tmp_path / "site/google/colab"
    for folder in (content, start, module):
        folder.mkdir(parents=True)
    (module / "__init__.py").touch()
    (tmp_path / "site" / "sitecustomize.py").write_text(HIDE)
    # Colab's kernel has it before the first cell
    (start / "00-colab.py").write_text("import google.colab\n")
    environment = os.environ | {
        "COURSE_ADDRESS": repository.as_uri(),
        "COURSE_DATA": str(tmp_path / "no data"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "PYTHONPATH": str(tmp_path / "site"),
    }

    notebook = nbformat.read(ROOT / "notebooks" / NOTEBOOK, as_version=4)
    [set_up] = [cell for cell in notebook.cells if cell.id == "set-up"]
    set_up.source = pages.set_up(ROOT)
    notebook.cells.append(new_code_cell(LAST))
    # Without folders to look in, the manager knows one kernel: this very Python's.
    manager = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(
        notebook, km=manager, timeout=300, resources={"metadata": {"path": content}}
    )
    client.execute(env=environment, cleanup_kc=True)

    cwd, package, on_colab = notebook.cells[-1].outputs[0].text.splitlines()
    [clone] = content.iterdir()
    assert (Path(cwd), Path(package), on_colab) == (
        content,
        clone / "course_utils/__init__.py",
        "True",
    )
    assert all(
        cell.execution_count
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.strip()
    )
