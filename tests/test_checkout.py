"""A checkout on a system with other line ends has the same bytes as any other."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT = [
    ".gitattributes",
    "Makefile",
    "README.md",
    "course_utils/rooms.py",
    "notebooks/00_start_here.ipynb",
    "notebooks/source/00_start_here/page.py",
    "notebooks/source/02_pretrained_text/sentences/tagged.txt",
    "data/digits/manifest.json",
    "data/digits/speech/00_0.flac",
]


def git(folder, *arguments):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def test_line_ends_do_not_depend_on_the_checkout(tmp_path):
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    for name in KEPT:
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, origin / name)
    (origin / "crlf.txt").write_bytes(b"as a Windows editor writes it\r\n")
    git(origin, "init", "-q")
    git(origin, "add", ".")
    git(origin, "commit", "-q", "-m", "all")
    git(tmp_path, "clone", "-q", "-c", "core.autocrlf=true", str(origin), str(clone))
    for name in KEPT:
        assert (clone / name).read_bytes() == (origin / name).read_bytes(), name
    assert (clone / "crlf.txt").read_bytes() == b"as a Windows editor writes it\n"
