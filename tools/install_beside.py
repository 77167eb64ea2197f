"""Make an environment for one of the extras beside the course's own, once.

    .venv/bin/python tools/install_beside.py teach      # .venv-teach, with nbgrader
    .venv/bin/python tools/install_beside.py site       # .venv-site, with Sphinx

nbgrader brings a database and its own menus in JupyterLab, Sphinx a dozen packages; a reader of the
course needs neither. The new environment borrows the packages of the Python that runs this, so
torch is not installed a second time: it takes about 15 seconds and 100 MB.
"""

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

from install import ROOT, pip_for, venv_python

EXTRAS = ("teach", "site")


def main(extra):
    if importlib.util.find_spec("course_utils") is None:
        sys.exit(
            "Run this with the Python that has the course:"
            f" .venv/bin/python tools/install_beside.py {extra}"
        )
    venv = ROOT / f".venv-{extra}"
    lender, stamp = sysconfig.get_path("purelib"), venv / ".installed"
    wanted = lender + "\n" + (ROOT / "constraints.txt").read_text(encoding="utf-8")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return

    print(f"Making {venv.name} ...", flush=True)
    shutil.rmtree(venv, ignore_errors=True)  # never mended: it is made anew in seconds
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = str(venv_python(venv))
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = subprocess.run(
        [python, "-c", where], check=True, capture_output=True, text=True
    ).stdout.strip()
    # addsitedir and not the plain folder, because the lender's own .pth files lead to course_utils.
    Path(own, "borrowed.pth").write_text(
        f"import site; site.addsitedir({lender!r})\n", encoding="utf-8"
    )
    # templates and JupyterLab's pages, which are no Python packages
    for folder in ("share/jupyter", "etc/jupyter"):
        if Path(sys.prefix, folder).is_dir():
            shutil.copytree(Path(sys.prefix, folder), venv / folder, dirs_exist_ok=True)

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    packages = project["optional-dependencies"][extra]
    for command in (
        [*pip_for(venv), "install", "-q", "-c", "constraints.txt", *packages],
        # otherwise a kernel "python3" of the user's own would run the submissions
        [python, "-m", "ipykernel", "install", "--sys-prefix"],
    ):
        if subprocess.run(command, cwd=ROOT).returncode:
            sys.exit(f"\n{venv.name} could not be made; the message stands above.")
    stamp.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in EXTRAS:
        sys.exit(f"Say which extra: {' or '.join(EXTRAS)}")
    main(sys.argv[1])
