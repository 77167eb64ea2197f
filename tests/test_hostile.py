"""A short page in unfriendly surroundings: each first proves itself, then the page runs as it does
anywhere, to the byte of its figures.

Where a surrounding cannot be had, its test is skipped with the reason.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import threading

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from course_utils import plots, report
from course_utils.runtime import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import pages

SCORES = {"text": (100 / 3, 0.3), "image": (70.1, 7 / 9)}
OPEN = """\
figure, ax = plots.axes()
ax.plot([1, -2, 7 / 9], "o-", label="ä")
ax.legend()
"""
PAGE = [
    "import torch\n"
    "from course_utils import plots\n"
    "from course_utils.datasets.digits import Digits\n"
    "from course_utils.exercises import check\n"
    "from course_utils.fusion import STRATEGIES\n"
    "from course_utils.report import guess, guesses, outcome, passport, report, verify\n"
    "from course_utils.runtime import seed_everything",
    "guess('00.1', 7 / 9, sure=1 / 3)",
    "seed_everything(0)\n"
    "features = {'text': torch.randn(8, 3), 'image': torch.randn(8, 4)}\n"
    "fusion = STRATEGIES['concat']({'text': 3, 'image': 4}, 2)\n"
    "fusion(features).sum().backward()\n"
    "report('a third', 1 / 3, near=0.33, within=0.01)\n"
    "verify('00.1', torch.ones(3).double() / 3,"
    " torch.full((3,), 1 / 3, dtype=torch.float64))",
    "try:\n"
    "    report('a third', 1 / 3, near=7 / 9, within=0.01)\n"
    "except AssertionError:\n"
    "    print('strict')",
    "print(len(Digits('test')) > 0)\n"
    "check('00.1', lambda values, t: (0.0, 1.0))",
    f"plots.bars({SCORES!r}, label='per cent', caption='Größe.')",
    OPEN + "plots.show(figure, 'In the open.')",
    "outcome('00.1', 0.777, within=0.001)\n"
    "guesses('00')\n"
    "passport('00', model='concat')",
]
PRINTED = [  # all but what is said of the reader's folder and of a wrong answer
    "Guess 00.1: 0.7777777777777778, 33% sure. Noted; read on.",
    "a third: 0.333   [expected 0.33, within 0.01]",
    "strict",
    "Exercise 00.1 · not right yet:",
    "You said 0.7777777777777778, 33% sure: right, off by 0.00078.",
    "Guess 00.1: 0.7777777777777778, 33% sure: right",
    "  model: concat",
]
WAYS_OF_THE_MACHINE = ("COURSE_", "PYTHON", "MPL", "MATPLOTLIB", "IPYTHON", "GIT_", "LC_", "LANG")


def copy_course(root):
    """What a page needs of the course, as a reader has it."""
    ignore = shutil.ignore_patterns("__pycache__", "my_course")
    for name in ("course_utils", "data/digits", "notebooks/source/00_start_here"):
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    return root


@pytest.fixture
def course(tmp_path):
    return copy_course(tmp_path / "course")


def run_page(folder, *cells, before=(), home=None, **environment):
    """Outputs of the cells, run in a fresh kernel in `folder`: (text, [pictures]).

    `before` stands before the kernel's command; `home` keeps the kernel's own files.
    """
    home = home or folder.parent / f"home {threading.get_ident()}"
    kernel = home / "kernels" / "hostile"
    kernel.mkdir(parents=True, exist_ok=True)
    # in the command, because a kernel inherits what is not named
    unset = [f"--unset={name}" for name in os.environ if name.startswith(WAYS_OF_THE_MACHINE)]
    own = {"COURSE_STRICT": "1", "IPYTHONDIR": str(home / "ipython"), **environment}
    settings = [*unset, *(f"{name}={value}" for name, value in own.items())]
    python = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {
        "argv": ["env", *settings, *before, *python],
        "display_name": "hostile",
        "language": "python",
    }
    (kernel / "kernel.json").write_text(json.dumps(spec))
    manager = AsyncKernelManager(
        kernel_name="hostile",
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(home / "kernels")]),
    )
    nb = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    client = NotebookClient(nb, km=manager, timeout=200, resources={"metadata": {"path": folder}})
    client.execute(cleanup_kc=True)
    outputs = [output for cell in nb.cells for output in cell.outputs]
    text = "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")
    data = [output.get("data", {}) for output in outputs]
    return text, [one["image/png"] for one in data if "image/png" in one]


def pictures():
    """What the page's two figures are here, where the tests run."""
    space = {"plots": plots}
    exec(OPEN, space)
    figures = [plots.bars.figure(SCORES, label="per cent"), space["figure"]]
    return [plots.bundle(plots.png(figure), "x")[0]["image/png"] for figure in figures]


def the_page_runs(folder, proof, set_up="", **options):
    """Run the page where `proof`, an expression or lines that end in `hostile = ...`, is true."""
    first = f"{proof}\nprint('hostile' if hostile else 'friendly')"
    text, shown = run_page(folder, first, set_up or pages.set_up(ROOT), *PAGE, **options)
    if not text.startswith("hostile\n"):
        pytest.skip(f"this machine does not give these surroundings: {proof}")
    for line in PRINTED:
        assert line in text, text
    assert shown == pictures()
    return text


def noted(course):
    return json.loads((course / "notebooks/my_course/guesses.json").read_text())["00.1"]


# ---- the page in each surrounding; two of them in every run, the others where there is time ----

NO_WRITE = """
import os
try:
    os.mkdir({folder!r})
    hostile = False
except OSError:
    hostile = True
"""


def test_a_folder_that_cannot_be_written(course):
    """Not even by root: the kernel has none of its powers."""
    before = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root writes everywhere, and there is no setpriv to take that from it")
        before = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    everything = [course, *course.rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        folder = str(course / "notebooks" / "probe")
        proof = NO_WRITE.format(folder=folder)
        text = the_page_runs(course / "notebooks", proof, before=before)
    finally:
        for path in everything:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert text.count("kept only while this notebook runs") == 3  # guesses, verdicts, passport
    assert not (course / "notebooks" / "my_course").exists()


def test_a_matplotlibrc_with_tex_and_a_missing_font(course):
    rc = course.parent / "matplotlibrc"
    rc.write_text("text.usetex: True\nfont.family: No Such Font\nsavefig.bbox: tight\n")
    proof = (
        "import matplotlib\n"
        "params = matplotlib.rcParams\n"
        "hostile = params['text.usetex'] and params['font.family'] == ['No Such Font']"
    )
    the_page_runs(course / "notebooks", proof, MATPLOTLIBRC=str(rc))
    assert noted(course)["right"] is True


@pytest.mark.slow
def test_a_dark_style_from_the_readers_profile(course):
    start = course.parent / "home" / "ipython" / "profile_default" / "startup"
    start.mkdir(parents=True)
    (start / "00.py").write_text(
        "import matplotlib.pyplot\nmatplotlib.pyplot.style.use('dark_background')\n"
    )
    proof = "hostile = __import__('matplotlib').rcParams['axes.facecolor'] == 'black'"
    the_page_runs(course / "notebooks", proof, home=course.parent / "home")


@pytest.mark.slow
def test_no_home(course):
    proof = NO_WRITE.format(folder="/dev/null/home") + "hostile &= os.path.expanduser('~/') == "
    nowhere = {"HOME": "/dev/null/home", "IPYTHONDIR": "/dev/null/home/ipython"}
    the_page_runs(course / "notebooks", proof + "'/dev/null/home/'", **nowhere)
    assert noted(course)["right"] is True


@pytest.mark.slow
def test_another_working_directory(course):
    elsewhere = course.parent / "elsewhere"
    elsewhere.mkdir()
    proof = f"import os; hostile = not os.getcwd().startswith({str(course)!r})"
    the_page_runs(elsewhere, proof, PYTHONPATH=str(course))
    assert noted(course)["right"] is True and not any(elsewhere.iterdir())


# An installed course is hidden, be it by a line in sys.path or by a finder of its own.
HIDE = """
import os, sys
finders, places = sys.meta_path, sys.path
finders[:] = [one for one in finders if "editable" not in getattr(one, "__module__", "")]
places[:] = [one for one in places if not os.path.isdir(os.path.join(one, "course_utils"))]
"""


@pytest.mark.slow
def test_not_installed(course):
    """On Colab, on Kaggle, beside a lone notebook: an empty folder and an address."""
    lone = course.parent / "lone"
    lone.mkdir()
    (course.parent / "sitecustomize.py").write_text(HIDE)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in ("init -q", "add .", "commit -q -m course"):
        subprocess.run([*git, *command.split()], cwd=course, check=True, capture_output=True)
    proof = "import importlib.util; hostile = importlib.util.find_spec('course_utils') is None"
    address = {"COURSE_ADDRESS": course.as_uri(), "PYTHONPATH": str(course.parent)}
    the_page_runs(lone, proof, **address)
    [clone] = lone.iterdir()
    assert noted(clone)["right"] is True


@pytest.mark.slow
def test_two_at_once(course):
    """Each waits for the other before the page, and again before it notes many guesses."""
    seen = []

    def meet(place, me, other):
        return (
            "import pathlib, time\n"
            f"pathlib.Path('{place}{me}').touch()\n"
            "end = time.monotonic() + 100\n"
            f"while not pathlib.Path('{place}{other}').exists() and time.monotonic() < end:\n"
            "    time.sleep(0.001)\n"
            f"print(pathlib.Path('{place}{other}').exists())\n"
        )

    def one(*pair):
        many = meet("b", *pair) + f"for k in range(100): guess('{pair[0]}.' + str(k), k)"
        cells = [meet("a", *pair), pages.set_up(ROOT), *PAGE, many]
        seen.append(run_page(course / "notebooks", *cells))

    threads = [threading.Thread(target=one, args=pair) for pair in (("40", "41"), ("41", "40"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [text.count("True\n") for text, _ in seen] == [3, 3]  # met twice, and there are digits
    assert all(line in text for text, _ in seen for line in PRINTED)
    assert [shown for _, shown in seen] == [pictures()] * 2
    notes = json.loads((course / "notebooks/my_course/guesses.json").read_text())
    assert set(notes) == {"00.1", *(f"{page}.{k}" for page in (40, 41) for k in range(100))}


def installed_locales():
    if shutil.which("locale") is None:
        return ["C"]
    names = subprocess.run(["locale", "-a"], capture_output=True, text=True).stdout.split()
    return ["C", *[name for name in names if name.startswith("zh_CN")]]


@pytest.mark.slow
@pytest.mark.parametrize("name", installed_locales())
def test_a_locale_with_another_encoding(name, course):
    """Python's own rescue, to take UTF-8 in place of C's ASCII, is switched off."""
    proof = (
        "import locale, sys\n"
        f"hostile = locale.setlocale(locale.LC_CTYPE, '') == {name!r}\n"
        "hostile &= not sys.flags.utf8_mode"
    )
    if name == "C":
        proof += "\nhostile &= locale.getpreferredencoding(False) in ('ANSI_X3.4-1968', 'US-ASCII')"
    own = {"LC_ALL": name, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    mine = course / "notebooks" / "my_course"
    mine.mkdir()
    before = '{"00.0": {"answer": "groß", "sure": 0.3, "right": null}}'
    (mine / "guesses.json").write_text(before, encoding="utf-8")
    text = the_page_runs(course / "notebooks", proof, **own)
    assert "Guess 00.0: 'groß', 30% sure: result not seen yet" in text
    assert noted(course)["right"] is True


@pytest.mark.slow
def test_warnings_as_errors(course):
    proof = (
        "import warnings\n"
        "try:\n"
        "    warnings.warn('x', RuntimeWarning)\n"
        "    hostile = False\n"
        "except RuntimeWarning:\n"
        "    hostile = True"
    )
    the_page_runs(course / "notebooks", proof, PYTHONWARNINGS="error")


@pytest.mark.slow
def test_without_assertions(course):
    the_page_runs(course / "notebooks", "hostile = not __debug__", PYTHONOPTIMIZE="1")


@pytest.mark.slow
def test_a_path_with_a_space_and_an_umlaut(tmp_path):
    course = copy_course(tmp_path / "Käse und Brot")
    proof = "import os; hostile = ' ' in os.getcwd() and 'ä' in os.getcwd()"
    the_page_runs(course / "notebooks", proof)
    assert noted(course)["right"] is True


# ---- the reader's folder ----


def python(code, folder, **environment):
    """What the code prints in a process of its own, with nothing set that tests set."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(WAYS_OF_THE_MACHINE)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_reading_makes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "mine"))
    report.guesses("00")
    report.outcome("00.1", 7 / 9)
    report.guess("00.1")  # nothing to note
    assert not any(tmp_path.iterdir())


def test_two_processes_lose_nothing(tmp_path):
    code = (
        "import pathlib, sys, time\n"
        "from course_utils.report import guess\n"
        "me, other = sys.argv[1:]\n"
        "pathlib.Path(me).touch()\n"
        "while not pathlib.Path(other).exists():\n"
        "    time.sleep(0.001)\n"
        "for k in range(100):\n"
        "    guess(f'{me}.{k}', k / 3)\n"
    )
    environment = {**os.environ, "COURSE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, *names], cwd=tmp_path, env=environment, stdout=-1
        )
        for names in (("40", "41"), ("41", "40"))
    ]
    printed = [one.communicate()[0] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert b"kept only" not in b"".join(printed)
    notes = json.loads((tmp_path / "guesses.json").read_text())
    assert {key: note["answer"] for key, note in notes.items()} == {
        f"{page}.{k}": k / 3 for page in (40, 41) for k in range(100)
    }
    assert not list(tmp_path.glob("*.draft"))


# ---- `pip install .` elsewhere ----

LIBRARY = """
import course_utils, torch
from course_utils.contracts import check_contracts
from course_utils.fusion import STRATEGIES
from course_utils.text import Vocabulary
ids, mask = Vocabulary(["A small cat."]).batch(["a cat"])
print(course_utils.__file__, mask.tolist())
print(all(result.kept is not False for result in check_contracts(STRATEGIES["concat"])))
from course_utils.report import guess
guess("00.1", 7 / 9)
"""
NEEDS_THE_REPOSITORY = {
    "digits": "from course_utils.datasets.digits import Digits; Digits('test')",
    "stored": "from course_utils.rooms import stored; stored('00', 'x')",
    "reference": "from course_utils.exercises import reference; reference('00.1')",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of packages into which pip has installed the course."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    shutil.copytree(
        ROOT / "course_utils",
        source / "course_utils",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    target = ["--target", str(folder / "site-packages"), str(source)]
    pip = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([sys.executable, *pip, *target], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot build here: {done.stderr.strip().splitlines()[-1]}")
    return folder / "site-packages"


@pytest.mark.slow
def test_installed_elsewhere_the_library_works_and_keeps_out_of_site_packages(site, tmp_path):
    before = sorted(path for path in site.rglob("*") if path.suffix != ".pyc")
    printed = python(LIBRARY, tmp_path, PYTHONPATH=str(site), PYTHONDONTWRITEBYTECODE="1")
    package, kept, *_ = printed.splitlines()
    assert package == f"{site / 'course_utils' / '__init__.py'} [[True, True]]" and kept == "True"
    assert sorted(path for path in site.rglob("*") if path.suffix != ".pyc") == before
    assert noted_in(tmp_path / "my_course") == 7 / 9


@pytest.mark.slow
@pytest.mark.parametrize("what", NEEDS_THE_REPOSITORY)
def test_installed_elsewhere_what_needs_the_repository_says_so(what, site, tmp_path):
    code = (
        "try:\n"
        f"    {NEEDS_THE_REPOSITORY[what]}\n"
        "except (LookupError, FileNotFoundError) as error:\n"
        "    print(error)\n"
    )
    printed = python(code, tmp_path, PYTHONPATH=str(site))
    assert "lies in the course's repository" in printed
    assert "the installed package alone does not bring it" in printed


def noted_in(folder):
    return json.loads((folder / "guesses.json").read_text())["00.1"]["answer"]


# ---- threads ----


def threads(before="", **environment):
    """What OMP_NUM_THREADS is after the set-up cell."""
    code = f"{before}\n{pages.set_up(ROOT)}\nprint(os.environ.get('OMP_NUM_THREADS'))"
    kept = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=ROOT,
        env={**kept, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_set_up_cell_asks_for_one_thread_unless_the_reader_has_set_it():
    assert threads() == "1"
    assert threads(OMP_NUM_THREADS="3") == "3"
    assert threads("import sys; sys.modules['torch'] = None") == "None"


def test_make_lab_asks_for_one_thread_unless_the_reader_has_set_it():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    setting = makefile.split("ONE_THREAD = ")[1].splitlines()[0].replace("$$", "$")
    recipe = makefile.split("\nlab: install\n")[1].split("\n\n")[0]
    assert "$(ONE_THREAD) $(PY) -m jupyterlab" in recipe
    for given, expected in (({}, "1"), ({"OMP_NUM_THREADS": "3"}, "3")):
        kept = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
        shell = ["sh", "-c", f"{setting} sh -c 'echo $OMP_NUM_THREADS'"]
        done = subprocess.run(shell, env={**kept, **given}, capture_output=True, text=True)
        assert done.stdout.strip() == expected


# ---- text files ----


def without_encoding(path):
    """Lines of a program that open text in the machine's own encoding."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        opened = name == "open" and isinstance(node.func, ast.Name)
        words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        binary = any(isinstance(word, str) and "b" in word for word in words[-1:])
        if name in ("read_text", "write_text") or opened and not binary:
            if not any(keyword.arg in ("encoding", None) for keyword in node.keywords):
                yield node.lineno


@pytest.mark.parametrize("folder", ["course_utils", "notebooks/source"])
def test_text_is_read_and_written_in_one_encoding(folder):
    """An ASCII or a Chinese locale has another one than the course's files."""
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in without_encoding(path)
    ]
    assert found == []
