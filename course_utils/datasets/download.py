"""From an address on the network to a place in the store, checked on the way."""

import contextlib
import http.client
import os
import re
import shutil
import ssl
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

from course_utils.datasets.content import problem_of
from course_utils.datasets.place import StoreError, folder
from course_utils.datasets.public import Item

TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 16  # bytes
MARGIN = 1 << 20  # bytes that a download may have beyond twice what it had
DAY = 24 * 60 * 60  # seconds, more than any download takes


def download(name: str, item: Item, target: Path) -> None:
    """Download into a temporary folder, check the content, and move it to its place in one step.

    Raises StoreError for whatever comes between.
    """
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
            if problem := problem_of(content, item):
                raise StoreError(
                    f"{name}: {item.address} sent something else than expected: {problem}. Nothing"
                    " was kept"
                )
            try:
                os.replace(content, target)
            except OSError:
                # Another process may have been quicker; then what it moved there is as good as
                # ours.
                if not target.exists() or problem_of(target, item):
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
        f"on a machine with a network, run `python -m {__package__}.store {name}` and copy its"
        f" store to {folder()}"
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
    """Yield the wanted files of an archive, each with its own plain name. Apart from writing,
    so that an error here is the archive's, not the disk's.
    """
    kind = "tar" if item.address.endswith(".tar.gz") else "zip"
    try:
        with tarfile.open(archive) if kind == "tar" else zipfile.ZipFile(archive) as opened:
            if kind == "tar":
                sizes = {one.name: one.size for one in opened if one.isfile()}
            else:
                sizes = {one.filename: one.file_size for one in opened.infolist()}
            for plain, one in _wanted(name, item, sizes).items():
                yield plain, opened.extractfile(one).read() if kind == "tar" else opened.read(one)
    except StoreError:
        raise
    except Exception as error:  # there is no end of what a broken or encrypted archive raises
        raise StoreError(
            f"{name}: {item.address} sent no usable {kind} archive: {error}. Nothing was kept"
        ) from error


def _wanted(name: str, item: Item, sizes: dict[str, int]) -> dict[str, str]:
    """The wanted members by their plain names, of an archive's members and their sizes in bytes;
    StoreError where one goes too far or is too big.
    """
    wanted = {}
    for member in sizes:
        path = Path(member)
        if ".." in path.parts or path.is_absolute():
            raise StoreError(
                f"{name}: the archive wants to write outside its folder ({member});"
                " refused, nothing was kept"
            )
        if found := re.fullmatch(item.members, member):
            wanted[found[1]] = member
    size = sum(sizes[member] for member in wanted.values())
    if size > item.bytes:
        raise StoreError(
            f"{name}: the archive holds {size:,} bytes, expected {item.bytes:,}; refused,"
            " nothing was kept"
        )
    return wanted
