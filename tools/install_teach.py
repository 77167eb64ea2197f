"""Make .venv-teach: nbgrader, beside everything that the course's own environment holds; once.

    .venv/bin/python tools/install_teach.py

nbgrader brings a database and its own menus in JupyterLab, which a reader of the course does not
need. The new environment borrows the packages of the Python that runs this, so torch is not
installed a second time: it takes about 15 seconds and 100 MB.
"""

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

from install import ROOT, pip_for, venv_python

TEACH = ROOT / ".venv-teach"


def main():
    if importlib.util.find_spec("course_utils") is None:
        sys.exit(
            "Run this with the Python that has the course: .venv/bin/python tools/install_teach.py"
        )
    lender, stamp = sysconfig.get_path("purelib"), TEACH / ".installed"
    wanted = lender + "\n" + (ROOT / "constraints.txt").read_text(encoding="utf-8")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return

    print("Making .venv-teach, with nbgrader ...", flush=True)
    shutil.rmtree(TEACH, ignore_errors=True)  # never mended: it is made anew in seconds
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(TEACH)], check=True)
    python = str(venv_python(TEACH))
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
            shutil.copytree(Path(sys.prefix, folder), TEACH / folder, dirs_exist_ok=True)

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    nbgrader = project["optional-dependencies"]["teach"]
    for command in (
        [*pip_for(TEACH), "install", "-q", "-c", "constraints.txt", *nbgrader],
        # otherwise a kernel "python3" of the user's own would run the submissions
        [python, "-m", "ipykernel", "install", "--sys-prefix"],
    ):
        if subprocess.run(command, cwd=ROOT).returncode:
            sys.exit("\n.venv-teach could not be made; the message stands above.")
    stamp.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
