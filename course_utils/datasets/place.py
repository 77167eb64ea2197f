"""Where public data sets and the features of frozen networks are kept."""

import os
from pathlib import Path

from course_utils.runtime import ROOT


class StoreError(RuntimeError):
    """A data set cannot be had; the message says why and what to do."""


def folder() -> Path:
    """The store: `$COURSE_DATA`, from the course's folder if relative, else multimodal-course in
    the user's cache. Raises StoreError where that would be in a home that this user has not.
    """
    try:
        if named := os.environ.get("COURSE_DATA"):
            return ROOT / Path(named).expanduser()
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise StoreError(
            "no folder for the data: this user has no home folder. Set the environment variable"
            " COURSE_DATA to a folder that you may write to"
        ) from error
    return Path(cache) / "multimodal-course"


def unreadable(path: Path, error: OSError) -> StoreError:
    """The error for a file of the store that this user may not read."""
    return StoreError(
        f"{path} cannot be read: {error.strerror or error}. Is it another user's? The environment"
        " variable COURSE_DATA names another folder"
    )
