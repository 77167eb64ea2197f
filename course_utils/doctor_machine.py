"""What the doctor says of the machine, and the form of what it says: a verdict, what it is about,
what to do.
"""

# a Python too old for the course must still get as far as being told so
from __future__ import annotations

import os
import shutil
import textwrap
import threading
import urllib.request
from pathlib import Path
from typing import NamedTuple

OK, OPTIONAL, PROBLEM = "ok", "optional", "PROBLEM"
TOOLS = {
    "git": "to get the course's newer versions",
    "espeak-ng": "to make the bundled sounds again",
    "chromium": "to check the widgets in a browser",
}
GB = 1e9
DISK, INSTALLATION = 1 * GB, 6 * GB
MEMORY = 3 * GB  # a page takes up to 1.5 GB, and JupyterLab and the browser want some too


class Line(NamedTuple):
    """A verdict, what it is about, and for a problem one sentence that says what to do."""

    verdict: str
    text: str
    fix: str = ""


def judge(good: bool, text: str, fix: str) -> Line:
    """The verdict on something that the course needs."""
    return Line(OK, text) if good else Line(PROBLEM, text, fix)


def check_device(found: dict[str, dict[str, str]], asked: str) -> Line:
    """Where the course computes, from what `import_all` gives; `asked` is $COURSE_DEVICE."""
    if "version" not in found["torch"]:
        return Line(OPTIONAL, "GPU: not looked for, because torch cannot be imported")
    if "error" in found["device"]:
        return Line(
            PROBLEM,
            f"GPU: computing on {asked or 'it'} fails: {found['device']['error']}",
            "Set the environment variable COURSE_DEVICE=cpu, and the course runs on the CPU.",
        )
    if found["device"]["device"] == "cpu":
        return Line(
            OPTIONAL,
            (
                "GPU: not used, because COURSE_DEVICE is cpu"
                if asked
                else "GPU: none, the course runs on the CPU"
            ),
        )
    return Line(OK, f"GPU: {found['device']['device']}")


def check_disk(free: float, complete: bool, data: float) -> Line:
    """`free` bytes against what is needed, with a `complete` installation or not; `data` is all
    public data in MB.
    """
    need = DISK + (0 if complete else INSTALLATION)
    return judge(
        free >= need,
        f"disk: {free / GB:.1f} GB free, needed is {need / GB:.0f} GB (all public data:"
        f" {data:.0f} MB)",
        "Make room, or move the course to another disk.",
    )


def memory() -> int:
    """Bytes of memory, or of a container's share of it; 0 when it cannot be found out."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return 0
    try:
        return min(size, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8")))
    except (OSError, ValueError):  # no container, or "max"
        return size


def check_memory(size: float) -> Line:
    if not size:
        return Line(OPTIONAL, "memory: could not be found out; a page needs up to 1.5 GB")
    return judge(
        size >= MEMORY,
        f"memory: {size / GB:.1f} GB, needed is {MEMORY / GB:.0f} GB (a page takes up to 1.5 GB)",
        "Close other programs, take a larger machine, or use Colab.",
    )


def ask(address: str, seconds: float = 3) -> str:
    """Why `address` does not answer; empty when it does. In a thread, since a name server may
    outlast every timeout.
    """
    answer = [f"nothing within {seconds:g} seconds"]

    def request():
        try:
            urllib.request.urlopen(
                urllib.request.Request(address, method="HEAD"), timeout=seconds
            ).close()
            answer[0] = ""
        except Exception as error:
            reason = getattr(error, "reason", error)
            answer[0] = str(getattr(reason, "strerror", "") or reason) or type(reason).__name__

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[0]


def check_network(host: str, why: str) -> Line:
    """`why` is what `ask` gives."""
    if why:
        return Line(
            OPTIONAL, f"network: no {host} ({textwrap.shorten(why, 50)}); only downloads need it"
        )
    return Line(OK, f"network: {host} answers")


def check_tool(name: str, which=shutil.which) -> Line:
    others = [os.environ.get("CHROMIUM", ""), "google-chrome"] if name == "chromium" else []
    here = any(which(program) for program in [name, *others] if program)
    return (
        Line(OK, f"{name}, {TOOLS[name]}")
        if here
        else Line(OPTIONAL, f"{name} is not installed; only {TOOLS[name]}")
    )
