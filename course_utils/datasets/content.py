"""Whether what lies in the store is what it has to be."""

import gzip
import hashlib
import re
import zlib
from pathlib import Path

from course_utils.datasets.place import unreadable
from course_utils.datasets.public import Item


def problem_of(path: Path, item: Item) -> str:
    """What is wrong with the content of `path`; empty when it is right. Raises StoreError where
    this user may not read it.
    """
    try:
        found = _content_hash(path, item)
    except PermissionError as error:  # the content may be right
        raise unreadable(path, error) from error
    except (OSError, EOFError, zlib.error) as error:  # gzip's own error is an OSError
        return f"it cannot be read ({error})"
    return (
        ""
        if found == item.sha256
        else f"its SHA-256 is {found[:12]}..., expected {item.sha256[:12]}..."
    )


def _content_hash(path: Path, item: Item) -> str:
    if not item.members:
        opened = gzip.open(path) if item.path.endswith(".gz") else open(path, "rb")
        with opened as file:
            # more than that is wrong, however much it is
            return hashlib.sha256(file.read(item.bytes + 1)).hexdigest()
    kept = item.members[item.members.index("(") + 1 : item.members.rindex(")")]
    files = sorted(file for file in path.iterdir() if re.fullmatch(kept, file.name))
    lines = (f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
