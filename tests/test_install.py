"""tools/install.py, with a stand-in for everything that it would start."""

import importlib.util
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "install.py"


class Machine:
    """A machine whose Python brings pip or not, with or without a pip outside; `log` is what it
    ran.
    """

    def __init__(self, venv):
        self.venv = venv
        self.python = venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        self.ensurepip = True
        self.outer = {}  # command -> its version line
        self.pip_code = 0
        self.log = []

    def make(self, with_pip):
        self.log.append("venv" if with_pip else "bare venv")
        self.python.parent.mkdir(parents=True, exist_ok=True)
        self.python.write_text("works")
        if with_pip:
            (self.venv / "pip").touch()
        return True

    def works(self, command):
        return command[0] != str(self.python) or (
            self.python.exists() and self.python.read_text() == "works"
        )

    def answer(self, command):
        if "venv" in command:
            return "" if self.ensurepip is True and self.make(with_pip=True) else None
        if command[0] == str(self.python):
            if not self.works(command):
                return None
            if "-c" in command:
                return "3 11\n"
            return "pip 24.0\n" if (self.venv / "pip").exists() else None
        return self.outer.get("python" if command[0] == sys.executable else command[0])

    def run(self, command, cwd=None):
        if "venv" in command:
            self.make(with_pip=False)
            return SimpleNamespace(returncode=0)
        # a stop from here on is seen later
        assert (self.venv / ".installed").read_text() == "unfinished"
        name = "own pip" if command[0] == str(self.python) else Path(command[0]).name
        self.log.append(name)
        self.command = command
        if isinstance(self.pip_code, BaseException):
            raise self.pip_code
        return SimpleNamespace(returncode=self.pip_code)


@pytest.fixture
def machine(tmp_path, monkeypatch, request):
    spec = importlib.util.spec_from_file_location("install", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for name in ("pyproject.toml", "constraints.txt", "constraints-colab.txt"):
        (tmp_path / name).write_text(name)
    machine = Machine(tmp_path / getattr(request, "param", ".venv"))
    monkeypatch.setattr(tool, "answer", machine.answer)
    monkeypatch.setattr(tool, "subprocess", SimpleNamespace(run=machine.run))
    util = SimpleNamespace(find_spec=lambda name: machine.ensurepip or None)
    monkeypatch.setattr(tool, "importlib", SimpleNamespace(util=util))
    machine.tool = tool
    machine.install = lambda: tool.install(tmp_path)
    machine.main = lambda *arguments: tool.main(arguments, tmp_path)
    machine.stamp = machine.venv / ".installed"
    return machine


def test_a_fresh_machine_and_then_nothing_more(machine):
    machine.install()
    assert machine.log == ["venv", "own pip"]
    assert machine.command[-5:] == ["install", "-e", ".[lab,test,offline]", "-c", "constraints.txt"]
    machine.install()
    assert machine.log == ["venv", "own pip"]  # the stamp answers: nothing is started at all
    machine.main()  # what `make install` calls asks for the same
    assert machine.log == ["venv", "own pip"]


COLAB = [
    "--venv",
    ".venv-colab",
    "--constraints",
    "constraints-colab.txt",
    "--extras",
    "test,offline",
]


@pytest.mark.parametrize("machine", [".venv-colab"], indirect=True)
def test_another_environment_from_another_list(machine, tmp_path, capsys):
    machine.main(*COLAB)
    assert (
        machine.log == ["venv", "own pip"]
        and "Making .venv-colab with Python 3." in capsys.readouterr().out
    )
    assert machine.command[0] == str(machine.python)
    assert machine.command[-5:] == [
        "install",
        "-e",
        ".[test,offline]",
        "-c",
        "constraints-colab.txt",
    ]
    (tmp_path / "constraints.txt").write_text("the other environment's list")
    machine.main(*COLAB)
    assert machine.log == ["venv", "own pip"]
    (tmp_path / "constraints-colab.txt").write_text("Colab has moved")
    machine.main(*COLAB)
    machine.main(*COLAB[:-1], "test")
    assert machine.log == ["venv", "own pip", "own pip", "own pip"]
    assert not (tmp_path / ".venv").exists()


PAIR = ["torch==2.14.1+cpu", "torchvision==0.29.2+cpu"]
INDEX = "--extra-index-url=https://download.pytorch.org/whl/cpu"


@pytest.fixture
def linux(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(machine.tool.sys, "platform", "linux")
    lines = ["tokenizers==0.22.2", "torch==2.14.1", "torchvision==0.29.2", "torchaudio==2.14.1"]
    (tmp_path / "constraints.txt").write_text("# torch==1\n" + "\n".join(lines) + "\n")
    return machine


@pytest.mark.parametrize("cpu, said", [(["--cpu"], True), ([], False)])
def test_where_the_cpu_build_cannot_be_had_the_way_without_it_is_named(linux, cpu, said):
    linux.pip_code = 1
    with pytest.raises(SystemExit) as stop:
        linux.main(*cpu)
    assert ("the\nsame command without CPU=1" in str(stop.value)) == said


def test_the_cpu_build_comes_as_a_pair_and_stays(linux, tmp_path):
    linux.main("--cpu")
    asked = linux.command[linux.command.index("install") :]
    course = ["-e", ".[lab,test,offline]", "-c", "constraints.txt"]
    assert asked == ["install", *course, *PAIR, INDEX]
    linux.main("--cpu")
    linux.install()  # whoever forgets --cpu afterwards gets no CUDA
    assert linux.log == ["venv", "own pip"]
    with (tmp_path / "constraints.txt").open("a") as file:
        file.write("tqdm==4.70.1\n")
    linux.install()
    assert linux.log == ["venv", "own pip", "own pip"] and linux.command[-3:] == [*PAIR, INDEX]


def test_an_environment_with_cuda_gets_the_cpu_build_when_it_is_asked_for(linux):
    linux.install()
    assert linux.command[-2:] == ["-c", "constraints.txt"]
    linux.main("--cpu")
    assert linux.log == ["venv", "own pip", "own pip"] and linux.command[-3:] == [*PAIR, INDEX]


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_where_pypi_has_no_cuda_nothing_else_is_asked_for(linux, tmp_path, monkeypatch, system):
    monkeypatch.setattr(linux.tool.sys, "platform", system)
    assert linux.tool.cpu_build(tmp_path, "constraints.txt") == []


@pytest.mark.parametrize("machine", [".venv-newest"], indirect=True)
def test_the_newest_releases_are_asked_for_every_time(machine):
    for _ in range(2):
        machine.main("--venv", ".venv-newest", "--newest")
        assert machine.command[-5:] == [
            "-e",
            ".[lab,test,offline]",
            "--upgrade",
            "--upgrade-strategy",
            "eager",
        ]
    assert machine.log == ["venv", "own pip", "own pip"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--venv", "notebooks"], "--venv is 'notebooks', expected a name that begins with .venv"),
        (["--venv", ".venv/../notebooks"], "expected a name that begins with .venv"),
        (["--venv", ""], "--venv is '', expected"),
        (
            ["--constraints", "constraints-collab.txt"],
            "--constraints is 'constraints-collab.txt', and .* has no such file",
        ),
        (["--newest", "--constraints", "constraints.txt"], "not allowed with argument --newest"),
        (["--newest", "--cpu"], "--cpu takes its versions from --constraints"),
    ],
)
def test_a_folder_that_is_no_environment_is_never_touched(
    machine, tmp_path, capsys, arguments, message
):
    (tmp_path / "notebooks").mkdir()
    with pytest.raises(SystemExit):
        machine.main(*arguments)
    assert re.search(message, capsys.readouterr().err)
    assert machine.log == [] and (tmp_path / "notebooks").is_dir()


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_list_is_installed_into_the_same_environment(machine, tmp_path, name):
    machine.install()
    (tmp_path / name).write_text("another list")
    machine.install()
    assert machine.log == ["venv", "own pip", "own pip"]


def test_an_interrupted_installation_is_made_again(machine):
    machine.pip_code = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        machine.install()
    half_written = machine.venv / "half_written.py"
    half_written.touch()
    machine.pip_code = 0
    machine.install()
    assert machine.log == ["venv", "own pip"] * 2
    assert not half_written.exists()


def test_an_environment_made_by_hand_is_kept(machine):
    machine.make(with_pip=True)
    mine = machine.venv / "mine.py"
    mine.touch()
    machine.install()
    assert machine.log == ["venv", "own pip"] and mine.exists()
    machine.python.write_text("broken")  # and one that no longer starts is not
    machine.stamp.unlink()
    machine.install()
    assert machine.log[2:] == ["venv", "own pip"] and not mine.exists()


def test_when_pip_fails_what_worked_before_still_does(machine, tmp_path):
    machine.install()
    before = machine.stamp.read_text()
    (tmp_path / "constraints.txt").write_text("cannot be had without a network")
    machine.pip_code = 1
    with pytest.raises(SystemExit, match="pip could not install"):
        machine.install()
    assert machine.stamp.read_text() == before and machine.python.exists()
    machine.pip_code = 0
    machine.install()
    assert machine.log == ["venv", "own pip", "own pip", "own pip"]


def test_when_pip_fails_the_first_time_nothing_is_trusted(machine):
    machine.pip_code = 1
    with pytest.raises(SystemExit):
        machine.install()
    assert machine.stamp.read_text() == "unfinished"


@pytest.mark.parametrize("ensurepip", [False, "present but broken"])
@pytest.mark.parametrize(
    "outer, used",
    [
        ({"python": "pip 23.0.1 from x", "pip3": "pip 24.0 from y"}, Path(sys.executable).name),
        ({"python": "pip 22.2 from x", "pip3": "pip 22.3 from y"}, "pip3"),
        ({"pip3": "pip 9.0.1 from x", "pip": "pip 26.1 from y"}, "pip"),
    ],
)
def test_a_python_without_ensurepip_uses_an_outer_pip(machine, ensurepip, outer, used):
    machine.ensurepip, machine.outer = ensurepip, outer
    machine.install()
    assert machine.log == ["bare venv", used]
    at = machine.command.index("--python")
    assert machine.command[at + 1] == str(machine.python)
    assert at < machine.command.index("install")  # pip's own option, so before the command


def test_no_pip_at_all_says_what_to_install_and_changes_nothing(machine):
    machine.ensurepip, machine.outer = False, {"pip3": "pip 22.2 from x"}
    with pytest.raises(SystemExit, match="apt install python3-venv"):
        machine.install()
    assert machine.log == [] and not machine.venv.exists()


def test_an_old_python_is_refused_by_name(machine, monkeypatch):
    monkeypatch.setattr(machine.tool, "OLDEST_PYTHON", (99, 0))
    with pytest.raises(SystemExit, match="needs Python 3.11 or newer; this is 3"):
        machine.install()
    assert machine.log == [] and not machine.venv.exists()
