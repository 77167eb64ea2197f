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


LISTS = ["constraints.txt", "constraints-colab.txt"]


def pins(name="constraints.txt"):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
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
    asked = re.search(
        r'^EXTRAS = "(.*)"$', (ROOT / "tools/install.py").read_text(encoding="utf-8"), re.M
    )
    assert asked.group(1) == "lab,test,offline"
    others = {"hub", "browser", "site", "bench", "teach", "deploy"}
    assert others | {"lab", "test", "offline"} == set(EXTRAS)


def test_make_installs_into_ignored_folders_from_files_that_exist():
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    first, *calls = re.findall(r"tools/install\.py(.+)", makefile)
    assert first == " $(if $(CPU),--cpu)"
    assert len(calls) == 2  # colab, newest
    for call in calls:
        options = dict(re.findall(r"--(venv|constraints|extras) (\S+)", call))
        assert f"{options['venv']}/" in ignored
        assert options.get("constraints", "constraints.txt") in LISTS
        assert set(options.get("extras", "test").split(",")) <= set(EXTRAS)


def test_an_environment_beside_is_of_an_extra_and_ignored():
    known = re.search(
        r"^EXTRAS = (.*)$", (ROOT / "tools/install_beside.py").read_text(encoding="utf-8"), re.M
    )
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    asked = set(re.findall(r"tools/install_beside\.py (\w+)", makefile))
    assert asked == set(re.findall(r"\w+", known.group(1))) <= set(EXTRAS)
    assert all(f".venv-{extra}/" in ignored for extra in asked)


@pytest.mark.parametrize("requirement", requirements(*EXTRAS), ids=str)
def test_requirements_are_floors_and_the_known_good_set_meets_them(requirement):
    assert all(part.operator == ">=" for part in requirement.specifier), "a floor, not a pin"
    if requirement.marker is None or requirement.marker.evaluate():
        assert pins()[canonicalize_name(requirement.name)] in requirement.specifier


@pytest.mark.parametrize("requirement", requirements("test", "offline"), ids=str)
def test_floors_stand_at_or_below_what_colab_preinstalls(requirement):
    if requirement.marker is None or requirement.marker.evaluate():
        assert (
            pins("constraints-colab.txt")[canonicalize_name(requirement.name)]
            in requirement.specifier
        )


@pytest.mark.parametrize("name", LISTS)
def test_torch_and_torchvision_are_a_pair(name):
    # A torchvision is built against one torch; with another it fails when it is imported.
    pairs = {"2.14.1": "0.29.2", "2.11.0": "0.26.0"}
    assert str(pins(name)["torchvision"]) == pairs.get(str(pins(name)["torch"])), (
        "no known pair: look it up, add it here"
    )


@pytest.mark.parametrize("name", LISTS)
def test_nothing_for_one_system_only_is_pinned(name):
    assert not [
        pin
        for pin in pins(name)
        if pin.startswith(("nvidia-", "cuda-")) or pin in ("triton", "pip")
    ]


# ---- continuous integration ----

WORKFLOWS = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted((ROOT / ".github/workflows").glob("*.yml"))
}
CI = {name: yaml.safe_load(text) for name, text in WORKFLOWS.items()}
JOBS = {name: job for workflow in CI.values() for name, job in workflow["jobs"].items()}
STEPS = [step for job in JOBS.values() for step in job["steps"]]
DEPLOYS = {"pages": "write", "id-token": "write"}  # what GitHub Pages asks for
ACTIONS = r"actions/(checkout|setup-python|upload-pages-artifact|deploy-pages)@v\d+"
RUNS = [step["run"] for step in STEPS if "run" in step]


def missing(run):
    """What a command names that is not in the repository: make targets, files and folders,
    extras.
    """
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    found = [f"make {name}" for name in re.findall(r"\bmake ([\w-]+)", run) if name not in targets]
    found += [
        name
        for names in re.findall(r"\.\[([\w,]+)\]", run)
        for name in names.split(",")
        if name not in EXTRAS
    ]
    # A file or folder: what ends like one, what stands in one (not the environment made before),
    # what pytest is given.
    paths = [
        word
        for word in re.findall(r"[^\s\"'=:]+", run)
        if re.search(r"\.(py|txt|cfg|toml|ya?ml|ipynb|sh)$|^[\w.-]+/", word)
        and not word.startswith(".venv/")
    ]
    paths += re.findall(r"pytest ([\w./]+)", run)
    return found + [path for path in paths if not (ROOT / path).exists()]


@pytest.mark.parametrize("run", RUNS)
def test_ci_names_only_what_exists(run):
    assert missing(run) == []


@pytest.mark.parametrize(
    "run, name",
    [
        ("make colabs", "make colabs"),
        ("python tools/chek.py --check", "tools/chek.py"),
        (".ci/runs", ".ci/runs"),
        ("python -m pytest notebook --nbval-lax", "notebook"),
        ('pip install -e ".[lab,tests]"', "tests"),
        ('docker run -c\n"pip install -c constraints-collab.txt nbval"', "constraints-collab.txt"),
        (".venv/bin/python tools/build_notebook.py", "tools/build_notebook.py"),
    ],
)
def test_a_wrong_name_in_ci_is_seen(run, name):
    assert missing(run) == [name]


def test_ci_uses_pythons_that_the_course_supports_and_lists_that_exist():
    given = [step.get("with", {}) for step in STEPS]
    pythons = {options["python-version"] for options in given if "python-version" in options}
    supported = Requirement(f"x{PROJECT['requires-python']}").specifier
    assert pythons and all(
        isinstance(python, str) and f"{python}.0" in supported for python in pythons
    )
    assert {options["cache-dependency-path"] for options in given if "cache" in options} <= set(
        LISTS
    )


def test_ci_may_only_read_uses_only_githubs_own_actions_and_comes_to_an_end():
    for name, workflow in CI.items():
        assert workflow["permissions"] == {"contents": "read"}
        assert workflow["concurrency"]["cancel-in-progress"] is True
        assert "secrets" not in WORKFLOWS[name] and "pull_request_target" not in WORKFLOWS[name]
    for name, job in JOBS.items():
        assert job.get("permissions") == (DEPLOYS if name == "deploy" else None)
        assert 0 < job["timeout-minutes"] <= 90
    for step in STEPS:
        if "uses" in step:
            assert re.fullmatch(ACTIONS, step["uses"])
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
        assert "${{" not in step.get("run", ""), (
            "text from outside must not become part of a command"
        )


def test_what_is_deployed_is_what_was_built_and_runs_nothing_itself():
    site = CI["site"]
    build, deploy = site["jobs"]["build"]["steps"], site["jobs"]["deploy"]
    assert "pull_request" not in site[True]  # YAML reads "on" as a yes
    assert [step.get("run") for step in build[-2:]] == ["make site", None]
    assert build[-1]["with"] == {"path": "build/site/html"}
    assert deploy["needs"] == "build" and all("run" not in step for step in deploy["steps"])


def test_torch_comes_as_a_cpu_build_wherever_ci_runs_linux_itself():
    for name, job in JOBS.items():
        own = job["runs-on"].startswith("ubuntu") and name not in ("colab-image", "deploy")
        assert (
            job.get("env", {}).get("PIP_EXTRA_INDEX_URL") == "https://download.pytorch.org/whl/cpu"
        ) is own


@pytest.mark.parametrize("module", ["", ".runtime", ".report", ".progress"])
def test_importing_is_light(module):
    heavy = ["torch", "torchvision", "transformers", "sklearn", "matplotlib.pyplot"]
    found = f"[name for name in {heavy} if name in sys.modules]"
    code = f"import sys, course_utils{module}; print({found})"
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
        cell = new_code_cell(
            source, execution_count=1, outputs=[new_output("stream", text=printed)]
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(new_notebook(cells=[cell]), path)

    notebook(
        root / "notebooks/right.ipynb", "print(object())", "<object object at 0x7f0123456789>\n"
    )
    notebook(root / "notebooks/wrong.ipynb", "print(0.93)", "0.92\n")
    names = [
        "COURSE_STRICT",
        "OMP_NUM_THREADS",
        "TRANSFORMERS_VERBOSITY",
        "HF_HUB_DISABLE_PROGRESS_BARS",
        "HF_HUB_OFFLINE",
    ]
    notebook(
        root / "notebooks/settings.ipynb",
        f"import os; print([os.environ[n] for n in {names}], 'inline' in os.environ['MPLBACKEND'])",
        "['1', '1', 'error', '1', '1'] True\n",
    )
    for name in ("one", "two"):  # each must find its folder empty
        notebook(
            root / f"notebooks/home_{name}.ipynb",
            "import os; home = os.environ['COURSE_HOME']; print(os.listdir(home)); open(home +"
            " '/guess', 'w').close()",
            "[]\n",
        )
    for place in ("notebooks/.ipynb_checkpoints", "notebooks/my_course", ".venv/share"):
        notebook(root / place / "not_ours.ipynb", "1 / 0", "")
    (root / "tests/test_unit.py").write_text(
        "def test_wait(request):\n    waits = [item.output_timeout for item in"
        " request.session.items if hasattr(item, 'output_timeout')]\n    assert waits and"
        " min(waits) >= 60\n"
    )

    mine = root / "mine"
    environment = {
        name: value for name, value in os.environ.items() if name not in [*names, "PYTEST_ADDOPTS"]
    }
    environment |= {"COURSE_HOME": str(mine), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-q"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
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
