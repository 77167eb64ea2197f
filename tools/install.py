"""Make .venv and install the course into it; do nothing when that has been done.

    python3 tools/install.py [--cpu]
    python3 tools/install.py --venv .venv-colab --constraints constraints-colab.txt --extras
    test,offline
    python3 tools/install.py --venv .venv-newest --newest

Standard library only: it runs before anything is installed. `.venv/.installed` says what
state the environment is in: "unfinished" while pip works, afterwards a fingerprint of what
was asked for. An environment left unfinished is made again, because pip takes a package
that it had half written for installed. With --newest pip is asked every time, because there
may be newer releases. With --cpu PyTorch comes without CUDA, several GB smaller on Linux; the
environment then keeps that build until it is deleted.
"""

import argparse
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

ROOT = Path(__file__).resolve().parent.parent
VENV = ".venv"
CONSTRAINTS = "constraints.txt"
EXTRAS = "lab,test,offline"
OLDEST_PYTHON = (3, 11)
OLDEST_OUTER_PIP = (22, 3)  # the first with --python
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
UNFINISHED = "unfinished"
CPU = "cpu "  # what the stamp of a CPU build begins with

OLD_PYTHON = """\
The course needs Python 3.11 or newer; this is {0}.{1} ({2}).
Install a newer one, then name it:  make lab PYTHON=python3.12"""

NO_PIP = """\
This Python has no pip to install the course with.
Install what your system calls it, then run the same command again:
  Debian, Ubuntu    apt install python3-venv
  Fedora            dnf install python3-pip
  elsewhere         pip 22.3 or newer, so that "python3 -m pip --version" answers"""

NO_INDEX = """
The build without CUDA comes from download.pytorch.org. If that cannot be reached from here, the
same command without CPU=1 takes PyPI's build, which needs 6 GB."""


def venv_python(venv):
    """The Python inside a virtual environment."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def fingerprint(root, venv, lists, extras):
    """What is installed, where, and for which Python, as one hash."""
    digest = hashlib.sha256()
    for name in lists:
        digest.update((root / name).read_bytes())
    python = venv_python(venv).resolve()  # another file after a system upgrade
    digest.update(f"{extras} {root} {python}".encode())
    return digest.hexdigest()


def answer(command):
    """What a command prints, or None when it fails or cannot be run."""
    try:
        # Spelled out, because a Python too old for the course must still get as far as being told
        # so.
        done = subprocess.run(command, stdout=PIPE, stderr=PIPE, universal_newlines=True)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def usable(venv):
    """Whether the environment's Python starts and is new enough."""
    printed = answer([str(venv_python(venv)), "-c", "import sys; print(*sys.version_info[:2])"])
    return printed is not None and tuple(map(int, printed.split())) >= OLDEST_PYTHON


def outer_pip():
    """A pip outside the environment that can install into it, as a command; None without one."""
    for pip in ([sys.executable, "-m", "pip"], ["pip3"], ["pip"]):
        version = re.match(r"pip (\d+)\.(\d+)", answer([*pip, "--version"]) or "")
        if version and tuple(map(int, version.groups())) >= OLDEST_OUTER_PIP:
            return pip
    return None


def pip_for(venv):
    """The command that installs into the environment: its own pip, or one from outside."""
    python = str(venv_python(venv))
    if answer([python, "-m", "pip", "--version"]) is not None:
        return [python, "-m", "pip"]
    outer = outer_pip()
    if outer is None:
        sys.exit(NO_PIP)
    return [*outer, "--python", python]


def make_venv(venv):
    """A new environment, marked unfinished. Nothing is touched when it could not be filled."""
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(OLD_PYTHON.format(*sys.version_info[:2], sys.executable))
    if Path(sys.prefix).resolve() == venv:
        sys.exit("The environment must be made again, but is in use. Type:  deactivate")
    bundled_pip = importlib.util.find_spec("ensurepip") is not None
    if not bundled_pip and outer_pip() is None:
        sys.exit(NO_PIP)

    print(
        f"Making {venv.name} with Python {sys.version_info[0]}.{sys.version_info[1]} ...",
        flush=True,
    )
    if venv.exists():
        shutil.rmtree(venv)
    venv.mkdir()
    (venv / ".installed").write_text(UNFINISHED)
    command = [sys.executable, "-m", "venv", str(venv)]
    if bundled_pip and answer(command) is not None:
        return
    # Debian ships Python and its bundled pip apart: make the environment bare, fill it from
    # outside.
    if subprocess.run([*command, "--without-pip"]).returncode:
        sys.exit(f"Python could not make {venv.name}; its message stands above.")


def cpu_build(root, constraints):
    """What else pip is asked for. Both by their full version: pip would put the torchvision of one
    index beside the torch of another, and that pair does not import.
    """
    if not sys.platform.startswith("linux"):  # elsewhere PyPI's own builds come without CUDA
        return []
    pins = (root / constraints).read_text()
    pair = re.findall(r"^(torch|torchvision)==([\d.]+)", pins, re.M)
    return [f"{name}=={version}+cpu" for name, version in pair] + [f"--extra-index-url={CPU_INDEX}"]


def install(root, venv=VENV, constraints=CONSTRAINTS, extras=EXTRAS, cpu=False):
    """Bring an environment up to date; exits with a message when that fails. Without
    constraints: the newest releases.
    """
    venv = root / venv
    lists = ["pyproject.toml", constraints] if constraints else ["pyproject.toml"]
    wanted = ["-c", constraints] if constraints else ["--upgrade", "--upgrade-strategy", "eager"]
    stamp = venv / ".installed"
    before = stamp.read_text() if stamp.exists() else None
    kind = CPU if cpu or (before or "").startswith(CPU) else ""
    wanted += cpu_build(root, constraints) if kind else []
    if (
        constraints
        and before == kind + fingerprint(root, venv, lists, extras)
        and venv_python(venv).exists()
    ):
        return

    # An environment made by hand has no stamp; it is kept when it works.
    if before == UNFINISHED or not usable(venv):
        make_venv(venv)
        before = UNFINISHED
    pip = pip_for(venv)

    print("Installing the course; the first time this takes some minutes ...", flush=True)
    stamp.write_text(UNFINISHED)
    command = [*pip, "install", "-e", f".[{extras}]", *wanted]
    if subprocess.run(command, cwd=root).returncode:
        # pip takes back what it could not finish, so what worked before works still.
        stamp.unlink() if before is None else stamp.write_text(before)
        elsewhere = NO_INDEX if kind and sys.platform.startswith("linux") else ""
        sys.exit("\npip could not install the course; its message stands above." + elsewhere)
    stamp.write_text(kind + fingerprint(root, venv, lists, extras))


def main(arguments=None, root=ROOT):
    parser = argparse.ArgumentParser(
        description="Make an environment and install the course into it."
    )
    parser.add_argument("--venv", default=VENV, help="its folder in the repository (%(default)s)")
    versions = parser.add_mutually_exclusive_group()
    versions.add_argument(
        "--constraints", default=CONSTRAINTS, help="the file with the versions (%(default)s)"
    )
    versions.add_argument("--newest", action="store_true", help="no file: the newest releases")
    parser.add_argument(
        "--extras", default=EXTRAS, help="the extras of pyproject.toml (%(default)s)"
    )
    parser.add_argument("--cpu", action="store_true", help="PyTorch without CUDA, on Linux")
    options = parser.parse_args(arguments)
    if options.newest and options.cpu:
        parser.error("--cpu takes its versions from --constraints, which --newest is without")
    # An environment that does not work is deleted, so the name of any other folder must not be
    # taken for one.
    if not re.fullmatch(r"\.venv[\w-]*", options.venv):
        parser.error(f"--venv is {options.venv!r}, expected a name that begins with .venv")
    if not (root / options.constraints).is_file():
        parser.error(f"--constraints is {options.constraints!r}, and {root} has no such file")
    constraints = None if options.newest else options.constraints
    install(root, options.venv, constraints, options.extras, options.cpu)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nStopped. The same command starts the installation again.")
