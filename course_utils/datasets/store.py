"""Public data sets, downloaded once and checked at each use. `download` brings what is missing;
nothing else in the course downloads data.

    python -m course_utils.datasets.store               what there is, and what of it is here
    python -m course_utils.datasets.store mnist fsdd    fetch these two

The folder is `$COURSE_DATA`, by default multimodal-course in the user's cache. What lies there
under its final name is complete: a download goes into a temporary folder, and is moved from
there in one step once its content has been checked.
"""

import sys
from pathlib import Path

from course_utils.datasets.content import problem_of
from course_utils.datasets.place import StoreError, folder, unreadable
from course_utils.datasets.public import MANIFEST, DataSet, Item


def fetch(name: str) -> list[Path]:
    """The data set's files and folders, in the manifest's order; what is not in the store is
    downloaded first.

    Raises ValueError for a name that is not in MANIFEST, and StoreError when the data cannot be
    had or has been altered. After an error the store is as it was.
    """
    paths = []
    for item in _form(_known(name)):
        path = folder() / item.path
        if not _exists(path):
            from course_utils.datasets.download import download  # most often, nothing is

            download(name, item, path)
        elif problem := problem_of(path, item):
            raise StoreError(
                f"{name}: {path} is not what it was when it was downloaded: {problem}. "
                "Move it away, and it will be downloaded anew"
            )
        paths.append(path)
    return paths


def have(*names: str) -> bool:
    """Whether the data sets are in the store; prints how to get the missing ones, or why the
    store cannot be read. Downloads nothing.
    """
    try:
        missing = [name for name in names if not here(_known(name))]
    except StoreError as error:
        print(error)
        return False
    if missing:
        size = sum(MANIFEST[name].megabytes for name in missing)
        lines = [
            "Not downloaded yet:",
            *(f"    {MANIFEST[name].title}" for name in missing),
            f"To get it ({size:.0f} MB), run this first:",
            "    from course_utils.datasets import store",
            *(f'    store.fetch("{name}")' for name in missing),
        ]
        print("\n".join(lines))
    return not missing


def _known(name: str) -> DataSet:
    if name not in MANIFEST:
        raise ValueError(f"name: expected one of {list(MANIFEST)}, got {name!r}")
    return MANIFEST[name]


def here(one: DataSet) -> bool:
    """Whether all of a data set is in the store; looks at no content."""
    return all(_exists(folder() / item.path) for item in _form(one))


def _form(one: DataSet) -> tuple[Item, ...]:
    """The form in which a data set is in the store; where it is in none, the one to download."""
    for form in (one.items, one.instead):
        if form and all(_exists(folder() / item.path) for item in form):
            return form
    return one.items


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise unreadable(path, error) from error


def main(arguments: list[str]) -> int:
    """List the data sets, or fetch those named; 0 when all is well."""
    try:
        for name in arguments:
            fetch(name)
        print(f"In {folder()}:")
        for name, one in MANIFEST.items():
            state = "here" if here(one) else f"not here, {one.megabytes:.0f} MB to fetch"
            print(f"  {name:6} {state}\n         {one.title}; {one.licence}")
            print(f"         {one.citation}")
    except (ValueError, StoreError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
