"""What public data there are: addresses, hashes, licences and citations, as public.toml lists them.
`store` brings them.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Item:
    """One download: a file, kept as it comes, or the files of an archive (zip, or
    tar packed by gzip) that become one folder.

    path      where it lies in the store
    address   where it comes from
    download  bytes to be transferred, about: archives are packed anew from time to time
    bytes     bytes of the content, unpacked
    sha256    of the content, because content does not change: of the unpacked file, or of the
              folder's lines
              "name sha256", sorted by name
    members   for an archive, a pattern that the names of its wanted files match, with the name to
              keep as group 1
    """

    path: str
    address: str
    download: int
    bytes: int
    sha256: str
    members: str = ""


@dataclass(frozen=True)
class DataSet:
    """A public data set: what it is, where its parts are, and what its makers ask for.

    `instead` are the same parts in another form, one for one: taken where all of them lie in the
    store and the items do not, and never downloaded.
    """

    title: str
    items: tuple[Item, ...]
    licence: str
    citation: str
    instead: tuple[Item, ...] = ()

    @property
    def megabytes(self) -> float:
        """Size of the download."""
        return sum(item.download for item in self.items) / 1e6


def _listed() -> dict[str, DataSet]:
    """The data sets of public.toml by name, in its order."""
    content = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    found = {}
    for name, entry in content.items():
        for form in ("items", "instead"):
            entry[form] = tuple(Item(**one) for one in entry.get(form, ()))
        found[name] = DataSet(**entry)
    return found


MANIFEST = _listed()
