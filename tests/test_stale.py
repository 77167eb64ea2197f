"""An edit costs what it concerns: which pages are executed again after it, and which only written.

The course here has three pages and a package whose data sets are imported by name; the kernel is a
stand-in that notes which pages it was asked to run.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import build_notebooks as builder
import pages
import stale

FILES = {
    "course_utils/__init__.py": '"""The package."""\n',
    "course_utils/masks.py": "def mean(x):\n    return sum(x)\n",
    "course_utils/audio.py": "def bands(x):\n    from .masks import mean\n\n    return mean(x)\n",
    "course_utils/exercises/__init__.py": "from .sandbox import call\n\n\ndef check(key, f): ...\n",
    "course_utils/exercises/sandbox.py": "def call(): ...\n",
    "course_utils/datasets/__init__.py": (
        'WHERE = {"Gates": "gates", "Digits": "course_utils.datasets.digits"}\n\n\n'
        "def __getattr__(name):\n    raise AttributeError(name)\n"
    ),
    "course_utils/datasets/gates.py": "import course_utils.masks as masks\n\nGates = masks.mean\n",
    "course_utils/datasets/digits.py": "Digits = 2\n",
    "course_utils/datasets/digits.toml": "rate = 8000\n",
    "constraints.txt": "torch==2\n",
    "tools/execute.py": "",
    "data/digits/clips.flac": "1",
    "data/digits/README.md": "1",
    "data/other.txt": "1",
    "README.md": "# Mini\n",
    "pyproject.toml": '[project.urls]\nRepository = "https://github.com/OWNER/REPO"\n',
    ".gitignore": ".cache/\n",
    "notebooks/source/00_first/page.py": (
        "# %% [markdown]\n# # First\n\n# %%\n"
        "from course_utils.audio import bands\nfrom course_utils.exercises import check\n"
    ),
    "notebooks/source/00_first/exercises.py": 'WORDS = "try again"\n',
    "notebooks/source/01_second/page.py": (
        "# %% [markdown]\n# # Second\n\n# %%\nfrom course_utils.datasets import Digits\n"
    ),
    "notebooks/source/02_third/page.py": (
        "# %% [markdown]\n# # Third\n\n# %%\nfrom course_utils.datasets import Gates\n"
        "from course_utils.exercises import check\n"
    ),
    "notebooks/source/02_third/results/sweep.json": "{}",
}
READS = {
    "00_first": [],
    "01_second": ["data/digits"],
    "02_third": ["notebooks/source/02_third/results/sweep.json"],
}


@pytest.fixture
def executed(monkeypatch):
    """The pages that were executed, in order."""
    found = []

    def stand_in(root, name, nb):
        found.append(name[:2])
        return READS[name]

    monkeypatch.setattr(builder, "execute", stand_in)
    return found


@pytest.fixture
def course(tmp_path, executed):
    """Three pages, built and up to date."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert builder.main([], tmp_path) == 0 and executed == ["00", "01", "02"]
    executed.clear()
    return tmp_path


def git(folder, *arguments):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@pytest.fixture
def clone(course, tmp_path_factory):
    """The built course as somebody gets it: committed and cloned, so that no key is known."""
    git(course, "init", "-q")
    git(course, "add", ".")
    git(course, "commit", "-q", "-m", "built")
    folder = tmp_path_factory.mktemp("fresh") / "course"
    git(course, "clone", "-q", str(course), str(folder))
    assert not (folder / ".cache").exists()
    return folder


def edit(root, name):
    path = root / name
    comment = "\n# another word\n" if path.suffix == ".py" else "\nother\n"
    path.write_text(path.read_text(encoding="utf-8") + comment, encoding="utf-8")


EDITS = [
    ("notebooks/source/00_first/exercises.py", ["00"]),
    ("notebooks/source/01_second/page.py", ["01"]),
    ("course_utils/audio.py", ["00"]),
    ("course_utils/masks.py", ["00", "02"]),  # by way of audio and of gates
    ("course_utils/exercises/sandbox.py", ["00", "02"]),
    ("course_utils/datasets/digits.py", ["01"]),
    ("course_utils/datasets/digits.toml", ["01"]),
    ("course_utils/datasets/gates.py", ["02"]),
    ("course_utils/datasets/__init__.py", []),  # its table of names, which another data set joins
    ("data/digits/clips.flac", ["01"]),
    ("data/digits/README.md", []),
    ("data/other.txt", []),
    ("notebooks/source/02_third/results/sweep.json", ["02"]),
    ("tools/execute.py", ["00", "01", "02"]),
    ("constraints.txt", ["00", "01", "02"]),
    ("README.md", []),
]


@pytest.mark.parametrize("name, expected", EDITS)
def test_an_edit_executes_what_it_concerns(course, executed, name, expected):
    edit(course, name)
    assert builder.main([], course) == 0
    assert executed == expected
    executed.clear()
    assert builder.main([], course) == 0 and executed == []


@pytest.mark.parametrize("name, expected", EDITS)
def test_and_so_it_does_in_a_fresh_clone_that_has_no_key(clone, executed, name, expected):
    edit(clone, name)
    assert builder.main([], clone) == 0
    assert executed == expected


def test_a_fresh_clone_has_nothing_to_build_and_then_knows_its_keys(clone, executed, monkeypatch):
    assert builder.main([], clone) == 0 and executed == []
    monkeypatch.setattr(stale, "uncommitted", lambda *_: pytest.fail("git was asked"))
    assert builder.main([], clone) == 0 and executed == []
    edit(clone, "course_utils/audio.py")
    assert builder.main([], clone) == 0 and executed == ["00"]


def test_a_new_file_that_a_page_would_read_concerns_it(clone, executed):
    (clone / "data/digits/more.flac").write_text("2", encoding="utf-8")
    assert builder.main([], clone) == 0 and executed == ["01"]


def test_without_git_and_without_a_key_all_is_built(course, executed, capsys):
    shutil.rmtree(course / ".cache")
    assert builder.main([], course) == 0 and executed == ["00", "01", "02"]
    assert "no git history" in capsys.readouterr().out


def test_a_change_of_the_builders_text_part_executes_nothing(course, executed, monkeypatch, capsys):
    monkeypatch.setattr(pages, "COLAB_BADGE", "https://example.org/other.svg")
    assert builder.main([], course) == 0 and executed == []
    out = capsys.readouterr().out
    assert out.count("written again from its outputs (cell title: its source differs") == 3
    assert "other.svg" in (course / "notebooks/00_first.ipynb").read_text(encoding="utf-8")
    assert builder.main([], course) == 0 and "written" not in capsys.readouterr().out


def test_other_line_ends_change_nothing(course, executed):
    for name in FILES:
        path = course / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert builder.main(["--check"], course) == 0
    assert builder.main([], course) == 0 and executed == []


def test_a_cache_that_cannot_be_written_or_read_stops_nothing(course, executed):
    keys = course / stale.KEYS
    keys.write_text("{", encoding="utf-8")
    assert stale.known_keys(course) == {}
    keys.unlink()
    keys.mkdir()  # so that it can be neither read nor written
    edit(course, "course_utils/audio.py")
    assert builder.main(["00"], course) == 0 and executed == ["00"]


# ---- the closure on the course itself ----


def names(number):
    (room,) = [room for room in pages.sources(ROOT) if room.name.startswith(number)]
    return {path.relative_to(ROOT).as_posix() for path in stale.closure(ROOT, room)}


def test_the_course_own_pages_rest_on_what_they_import():
    first, gradient = names("00"), names("21")
    assert {"course_utils/audio/bands.py", "course_utils/rooms.py"} <= first
    assert "course_utils/gradients/outputs.py" in gradient
    assert not {name for name in first if name.startswith("course_utils/gradients")}
    assert "course_utils/gradients/fusion.py" not in gradient  # of which the page imports nothing
    assert "course_utils/datasets/digits.py" in first & gradient
    assert "course_utils/datasets/scenes.py" not in first | gradient
    assert "course_utils/datasets/scenes.py" in names("03")
    # a page rests on those modules of plots that it draws with: page 21 with look alone
    drawn = {path for path in gradient if path.startswith("course_utils/plots/")}
    assert drawn == {"course_utils/plots/__init__.py"} and "course_utils/look.py" in gradient
    assert "course_utils/plots/images.py" in first and "course_utils/plots/lines.py" not in first
    for found in (first, gradient):
        assert not {name for name in found if name.startswith(("course_utils/doctor", "tools"))}


def test_every_name_that_a_page_imports_from_the_package_is_found():
    for room in pages.sources(ROOT):
        code = (room / "page.py").read_text(encoding="utf-8")
        for module, name in stale.imports(code, stale.PACKAGE):
            assert stale.defining(ROOT, module, name), f"{room.name}: {module}, {name}"


@pytest.mark.parametrize(
    "code, package, expected",
    [
        ("import course_utils.plots as p", "", [("course_utils.plots", None)]),
        ("def f():\n    from course_utils import plots", "", [("course_utils", "plots")]),
        ("from . import a", "course_utils.fusion", [("course_utils.fusion", "a")]),
        ("from .base import a", "course_utils.fusion", [("course_utils.fusion.base", "a")]),
        ("from ..masks import m", "course_utils.fusion", [("course_utils.masks", "m")]),
        ("import torch\nfrom course_utils_other import x", "", []),
    ],
)
def test_imports_are_read(code, package, expected):
    assert stale.imports(code, package) == expected


@pytest.mark.parametrize(
    "code, expected",
    [
        ("from course_utils import plots\nplots.bars({})", [("course_utils.plots", "bars")]),
        ("from course_utils import plots as p\np.INK.upper()", [("course_utils.plots", "INK")]),
        ("from course_utils.fusion import base\nbase.mlp", []),
        ("import plots\nplots.bars", []),
    ],
)
def test_what_is_asked_of_a_package_is_read(code, expected):
    assert stale.asked(code) == expected
