"""Settings for every test run: one thread, no network, strict verdicts, a reader's files
untouched.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

# Before anything is imported, because libraries read these once, when they are loaded.
# Kernels inherit them.
for name, value in {
    "COURSE_STRICT": "1",
    "OMP_NUM_THREADS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_OFFLINE": "1",
}.items():
    os.environ.setdefault(name, value)

# An exported backend (often Agg) keeps a kernel from showing its figures.
os.environ.pop("MPLBACKEND", None)

# Guesses, verdicts and the model card are written here. Set even when a reader has named a folder.
HOME = Path(tempfile.mkdtemp(prefix="course-home-"))
os.environ["COURSE_HOME"] = str(HOME)

# What a reader keeps beside the notebooks is not the course's to check.
collect_ignore_glob = ["notebooks/my_course/*", "*/.ipynb_checkpoints/*", ".venv/*"]


def pytest_configure(config):
    # nbval looks for this file from the current folder; this way pytest works from any folder.
    rules = config.option.nbval_sanitize_with
    if rules and not Path(rules).exists():
        config.option.nbval_sanitize_with = str(config.rootpath / rules)


def pytest_collection_modifyitems(items):
    for item in items:
        if not hasattr(item, "output_timeout"):  # not a notebook's cell
            continue
        # nbval gives each output message 5 seconds, too few on a busy machine, and has no option
        # for it.
        item.output_timeout = 60
        # A cell has nbval's limit: it interrupts the kernel, and the next cell finds it alive.
        item.add_marker(pytest.mark.timeout(0))


@pytest.hookimpl(tryfirst=True)  # before nbval starts the notebook's kernel
def pytest_runtest_setup(item):
    # A folder for each file, so that no notebook sees what another one wrote.
    home = HOME / item.path.stem
    home.mkdir(exist_ok=True)
    os.environ["COURSE_HOME"] = str(home)


def pytest_unconfigure():
    shutil.rmtree(HOME, ignore_errors=True)
