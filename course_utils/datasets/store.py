"""Public data sets, downloaded once and checked at each use. Nothing else in the course
downloads data.

    python -m course_utils.datasets.store               what there is, and what of it is here
    python -m course_utils.datasets.store mnist fsdd    fetch these two

The folder is `$COURSE_DATA`, by default multimodal-course in the user's cache. What lies there
under its final name is complete: a download goes into a temporary folder, and is moved from
there in one step once its content has been checked.
"""

import contextlib
import gzip
import hashlib
import http.client
import os
import re
import shutil
import ssl
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from course_utils.runtime import ROOT

TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 16  # bytes
MARGIN = 1 << 20  # bytes that a download may have beyond twice what it had
DAY = 24 * 60 * 60  # seconds, more than any download takes
OTHER_FOLDER = "The environment variable COURSE_DATA names another folder"


class StoreError(RuntimeError):
    """A data set cannot be had; the message says why and what to do."""


@dataclass(frozen=True)
class Item:
    """One download: a file, kept as it comes, or the files of a zip archive that become one folder.

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


EMOJI = "https://raw.githubusercontent.com/iamcal/emoji-data/v16.0.0"
MANIFEST = {
    "mnist": DataSet(
        "MNIST, the 10,000 test images of handwritten digits",
        (
            Item(
                "MNIST/raw/t10k-images-idx3-ubyte.gz",
                "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-images-idx3-ubyte.gz",
                1_648_877,
                7_840_016,
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            Item(
                "MNIST/raw/t10k-labels-idx1-ubyte.gz",
                "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-labels-idx1-ubyte.gz",
                4_542,
                10_008,
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        "CC BY-SA 3.0",
        "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document"
        " recognition, Proceedings of the IEEE 86(11), 1998",
    ),
    "fsdd": DataSet(
        "Free Spoken Digit Dataset v1.0.10, 3,000 recordings of six speakers",
        (
            Item(
                "fsdd/recordings",
                "https://github.com/Jakobovski/free-spoken-digit-dataset"
                "/archive/refs/tags/v1.0.10.zip",
                16_419_872,
                21_128_848,
                "dbd573d7cafe79c4b49f65718115e1304e24e067fa39eff18a660dc6cb9c360f",
                members=r"[^/]+/recordings/(\d_[a-z]+_\d+\.wav)",
            ),
        ),
        "CC BY-SA 4.0",
        "Z. Jackson, C. Souza, J. Flaks, Y. Pan, H. Nicolas, A. Thite, Free Spoken Digit Dataset,"
        " 2018, doi:10.5281/zenodo.1342401",
    ),
    # The hashes are those of the npm packages emoji-datasource-google and -twitter 16.0.0, which
    # are made from this tag.
    "emoji": DataSet(
        "Emoji of two artists, 1,636 concepts with names, from emoji-data 16.0.0",
        (
            Item(
                "emoji/sheets/emoji.json",
                f"{EMOJI}/emoji.json",
                1_313_457,
                1_313_457,
                "1d602e65be88772bf8cc368ce16b855d719eeddbafe128d471b80203f494d29f",
            ),
            Item(
                "emoji/sheets/google.png",
                f"{EMOJI}/sheet_google_64.png",
                13_842_666,
                13_842_666,
                "795a0c598d162c9a4aae23f2188c607b8c9bc1912cb7d84382459f8de91a3ae1",
            ),
            Item(
                "emoji/sheets/twitter.png",
                f"{EMOJI}/sheet_twitter_64.png",
                11_283_284,
                11_283_284,
                "daa7711b29897de6bd811a4cfeae911d8d8baa7f7e25c97d9b64354ae425ff5c",
            ),
        ),
        "names MIT; Noto pictures Apache-2.0; Twemoji pictures CC BY 4.0",
        "C. Henderson, emoji-data 16.0.0, 2025, github.com/iamcal/emoji-data; pictures: Noto Emoji,"
        " Google LLC, and Twemoji, Twitter, Inc. and other contributors",
        # the rows and pictures of these 1,636, each in a file of its own
        instead=(
            Item(
                "emoji/emoji.json",
                "",
                0,
                437_338,
                "4015fa0a9a47f84630e1469b9f15f5d43bbf0d0e880377984db7978ca289570d",
            ),
            Item(
                "emoji/google",
                "",
                0,
                5_272_215,
                "0afba8c234871f3c8f157777303192424979edd8663e94415fb810c3ad458519",
                members=r"([0-9a-f-]+\.png)",
            ),
            Item(
                "emoji/twitter",
                "",
                0,
                3_923_944,
                "e481e04b16ef1e6d925a4ddc85b7af9d1d55c9f7037598c0a0faf5196979827f",
                members=r"([0-9a-f-]+\.png)",
            ),
        ),
    ),
}


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
            _download(name, item, path)
        elif problem := _problem(path, item):
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
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path} cannot be read: {error.strerror or error}. Is it another user's? {OTHER_FOLDER}"
    )


def _download(name: str, item: Item, target: Path) -> None:
    """Download into a temporary folder, check the content, and move it to its place in one step."""
    store = folder()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(store)
        with tempfile.TemporaryDirectory(dir=store, prefix=".download-") as temporary:
            content = Path(temporary, "content")
            if item.members:
                archive = Path(temporary, "archive")
                _transfer(name, item, archive)
                content.mkdir()
                for plain, data in _members(name, item, archive):
                    (content / plain).write_bytes(data)
            else:
                _transfer(name, item, content)
            if problem := _problem(content, item):
                raise StoreError(
                    f"{name}: {item.address} sent something else than expected: {problem}. Nothing"
                    " was kept"
                )
            try:
                os.replace(content, target)
            except OSError:
                # Another process may have been quicker; then what it moved there is as good as
                # ours.
                if not target.exists() or _problem(target, item):
                    raise
    except OSError as error:
        raise StoreError(
            f"{name}: cannot write in {store}: {error.strerror or error}. It needs "
            f"{(item.download + item.bytes) / 1e6:.0f} MB in a folder that you may write to; "
            "the environment variable COURSE_DATA names another one"
        ) from error


def _sweep(store: Path) -> None:
    """Remove what killed downloads have left, but nothing that may still be in use."""
    for old in store.glob(".download-*"):
        with contextlib.suppress(OSError):  # another process may be quicker
            if time.time() - old.stat().st_mtime > DAY:
                shutil.rmtree(old)


def _transfer(name: str, item: Item, file: Path) -> None:
    """The bytes at the item's address into `file`, all of them."""
    from tqdm import tqdm

    with (
        open(file, "wb") as out,
        tqdm(total=item.download, unit="B", unit_scale=True, desc=name, leave=False) as bar,
    ):
        for chunk in _chunks(name, item):
            out.write(chunk)
            bar.update(len(chunk))


def _chunks(name: str, item: Item) -> Iterator[bytes]:
    """Yield what the item's address sends. Apart from writing, so that an OSError here is the
    network's, not the disk's.
    """
    elsewhere = (
        f"on a machine with a network, run `python -m {__spec__.name} {name}` and copy its store"
        f" to {folder()}"
    )
    advice = f"Nothing was kept. Try again later; or, {elsewhere}"
    most = 2 * item.download + MARGIN
    # some servers ask for one
    request = urllib.request.Request(item.address, headers={"User-Agent": "multimodal-course"})
    try:
        # an opener of our own: the shared one keeps the proxy and certificates of its first use
        with urllib.request.build_opener().open(request, timeout=TIMEOUT) as response:
            if response.headers.get_content_type() == "text/html":
                raise StoreError(
                    f"{name}: {item.address} sent a web page instead of the file; "
                    f"does this network ask you to log in first? {advice}"
                )
            # what http.client makes of Content-Length: None where it is missing or no number
            received, length = 0, response.length or 0
            while max(received, length) <= most and (chunk := response.read(CHUNK)):
                yield chunk
                received += len(chunk)
            if max(received, length) > most:
                raise StoreError(
                    f"{name}: {item.address} sends more than {most:,} bytes, expected about "
                    f"{item.download:,}; refused. {advice}"
                )
            if received < length:  # read() does not tell a broken connection from the end
                raise StoreError(
                    f"{name}: the transfer broke off after {received:,} of {length:,} bytes."
                    f" {advice}"
                )
    except urllib.error.HTTPError as error:
        proxy = _proxy(item.address) if error.code == 407 else ""
        raise StoreError(
            f"{name}: {item.address} answered {error.code} {error.reason}. {proxy}{advice}"
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        # no network, no such host, a connection lost, a timeout, a proxy that is no address
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            advice = (
                "Nothing was kept. Does this network open encrypted connections, as some firms and"
                " schools do? Set the environment variable SSL_CERT_FILE to a file with its root"
                f" certificate; or, {elsewhere}"
            )
        raise StoreError(
            f"{name}: no answer from {item.address}: {reason}. {_proxy(item.address)}{advice}"
        ) from error


def _proxy(address: str) -> str:
    """Which proxy stands between, in a sentence and without its password; empty when none does."""
    parts = urllib.parse.urlsplit(address)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(parts.hostname):
        return ""
    variable = f"{parts.scheme}_proxy"
    given = [one for one in (variable, variable.upper()) if os.environ.get(one)]
    where = f"the environment variable {given[0]}" if given else "the system's settings"
    return f"The way goes through the proxy {proxy.rpartition('@')[2]} of {where}: is it right? "


def _members(name: str, item: Item, archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the wanted files of a zip archive, each with its own plain name. Apart from writing,
    so that an error here is the archive's, not the disk's.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            wanted = _wanted(name, item, opened.infolist())
            for plain, one in wanted.items():
                yield plain, opened.read(one)
    except StoreError:
        raise
    except Exception as error:  # there is no end of what a broken or encrypted archive raises
        raise StoreError(
            f"{name}: {item.address} sent no usable zip archive: {error}. Nothing was kept"
        ) from error


def _wanted(name: str, item: Item, everything: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The wanted members by their plain names; StoreError where one goes too far or is too big."""
    wanted = {}
    for one in everything:
        path = Path(one.filename)
        if ".." in path.parts or path.is_absolute():
            raise StoreError(
                f"{name}: the archive wants to write outside its folder ({one.filename});"
                " refused, nothing was kept"
            )
        if found := re.fullmatch(item.members, one.filename):
            wanted[found[1]] = one
    size = sum(one.file_size for one in wanted.values())
    if size > item.bytes:
        raise StoreError(
            f"{name}: the archive holds {size:,} bytes, expected {item.bytes:,}; refused,"
            " nothing was kept"
        )
    return wanted


def _problem(path: Path, item: Item) -> str:
    """What is wrong with the content of `path`; empty when it is right."""
    try:
        found = _content_hash(path, item)
    except PermissionError as error:  # the content may be right
        raise _unreadable(path, error) from error
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
