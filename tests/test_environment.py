"""The lists of what to install agree, and importing the package stays light."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook, new_output
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def requirements(*extras):
    lines = PROJECT["dependencies"] + [line for extra in extras for line in EXTRAS[extra]]
    return [Requirement(line) for line in lines]


def pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for pin in found:
        assert re.fullmatch(r"==[^*,]+", str(pin.specifier)), f"{pin} is not one version"
    names = [canonicalize_name(pin.name) for pin in found]
    assert names == sorted(set(names), key=names.index), "a package is pinned twice"
    return {name: Version(str(pin.specifier)[2:]) for name, pin in zip(names, found)}


def conda():
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def test_conda_channels():
    # nodefaults: without it conda adds its own channel, which is not free for everyone.
    assert conda()["channels"] == ["conda-forge", "nodefaults"]


def test_conda_takes_only_python_and_pip_from_conda():
    python, pip, by_pip = conda()["dependencies"]
    version = re.fullmatch(r"python=(3\.\d+)", python).group(1)
    assert f"{version}.0" in Requirement(f"x{PROJECT['requires-python']}").specifier
    assert pip == "pip"
    constraint, course = by_pip["pip"]
    assert constraint == "-c constraints.txt"
    assert course == "-e .[lab,test,offline]"


def test_make_and_conda_install_extras_that_exist():
    asked = re.search(r'^EXTRAS = "(.*)"$', (ROOT / "tools/install.py").read_text(encoding="utf-8"), re.M)
    assert asked.group(1) == "lab,test,offline"
    assert {"lab", "test", "offline", "browser", "teach"} == set(EXTRAS)


@pytest.mark.parametrize("requirement", requirements(*EXTRAS), ids=str)
def test_requirements_are_floors_and_the_known_good_set_meets_them(requirement):
    assert all(part.operator == ">=" for part in requirement.specifier), "a floor, not a pin"
    if requirement.marker is None or requirement.marker.evaluate():
        assert pins()[canonicalize_name(requirement.name)] in requirement.specifier


def test_floors_stand_at_or_below_what_colab_preinstalls():
    colab = {"torch": "2.11.0", "torchvision": "0.26.0", "transformers": "5.15.0",
             "numpy": "2.1.3", "matplotlib": "3.10.0", "ipywidgets": "7.7.1"}
    floors = {requirement.name: requirement.specifier for requirement in requirements()}
    assert {name for name, version in colab.items() if version not in floors[name]} == set()


def test_torch_and_torchvision_are_a_pair():
    # A torchvision is built against one torch; with another it fails when it is imported.
    pairs = {"2.14.1": "0.29.2"}
    assert str(pins()["torchvision"]) == pairs.get(str(pins()["torch"])), "no known pair: look it up, add it here"


def test_nothing_for_one_system_only_is_pinned():
    assert not [name for name in pins() if name.startswith(("nvidia-", "cuda-")) or name in ("triton", "pip")]


@pytest.mark.parametrize("module", ["course_utils", "course_utils.runtime", "course_utils.report"])
def test_importing_is_light(module):
    heavy = ["torch", "torchvision", "transformers", "sklearn", "matplotlib.pyplot"]
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """Results by test of a bare `pytest` in a small course with this one's settings."""
    root = tmp_path_factory.mktemp("course")
    for name in ("pyproject.toml", "conftest.py", "tests/sanitize.cfg"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)

    def notebook(path, source, printed):
        cell = new_code_cell(source, execution_count=1, outputs=[new_output("stream", text=printed)])
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(new_notebook(cells=[cell]), path)

    notebook(root / "notebooks/right.ipynb", "print(object())", "<object object at 0x7f0123456789>\n")
    notebook(root / "notebooks/wrong.ipynb", "print(0.93)", "0.92\n")
    names = ["COURSE_STRICT", "OMP_NUM_THREADS", "TRANSFORMERS_VERBOSITY", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_OFFLINE"]
    notebook(root / "notebooks/settings.ipynb", f"import os; print([os.environ[n] for n in {names}], "
             "'inline' in os.environ['MPLBACKEND'])", "['1', '1', 'error', '1', '1'] True\n")
    for name in ("one", "two"):  # each must find its folder empty
        notebook(root / f"notebooks/home_{name}.ipynb",
                 "import os; home = os.environ['COURSE_HOME']; print(os.listdir(home)); open(home + '/guess', 'w').close()",
                 "[]\n")
    for place in ("notebooks/.ipynb_checkpoints", "notebooks/my_course", ".venv/share"):
        notebook(root / place / "not_ours.ipynb", "1 / 0", "")
    (root / "tests/test_unit.py").write_text("def test_wait(request):\n"
        "    waits = [item.output_timeout for item in request.session.items if hasattr(item, 'output_timeout')]\n"
        "    assert waits and min(waits) >= 60\n")

    mine = root / "mine"
    environment = {name: value for name, value in os.environ.items() if name not in [*names, "PYTEST_ADDOPTS"]}
    environment |= {"COURSE_HOME": str(mine), "MPLBACKEND": "Agg"}
    done = subprocess.run([sys.executable, "-m", "pytest", "-rA", "-q"], cwd=root, env=environment,
                          capture_output=True, text=True, timeout=300)
    assert not mine.exists()
    return done.stdout


@pytest.mark.parametrize("name", ["right", "settings", "home_one", "home_two"])
def test_a_notebook_that_keeps_its_promise_passes(checked, name):
    assert re.search(rf"^PASSED .*{name}\.ipynb::Cell 0", checked, re.M), checked


def test_a_number_that_changed_fails(checked):
    assert re.search(r"^FAILED .*wrong\.ipynb::Cell 0", checked, re.M), checked


def test_unit_tests_run_too_and_nothing_else(checked):
    assert re.search(r"^PASSED .*test_unit\.py::test_wait", checked, re.M), checked
    assert "not_ours" not in checked
