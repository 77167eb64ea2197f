"""The download store, against a server on this machine that does everything a network can do to
a file.
"""

import contextlib
import dataclasses
import gzip
import hashlib
import io
import os
import random
import shutil
import ssl
import subprocess
import sys
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from course_utils.datasets import download, store
from course_utils.runtime import ROOT

CLIPS = {
    f"{digit}_ann_{take}.wav": bytes([digit, take]) * 500 for digit in (1, 2) for take in (0, 1)
}
LABELS = b"the labels " * 1000


def zipped(files, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def good_archive(extra=(), **options):
    return zipped(
        {
            "set-1.0/README.md": b"read me",
            **{f"set-1.0/recordings/{name}": data for name, data in CLIPS.items()},
            **dict(extra),
        },
        **options,
    )


def listing_hash(files):
    return hashlib.sha256(
        "".join(
            f"{name} {hashlib.sha256(files[name]).hexdigest()}\n" for name in sorted(files)
        ).encode()
    ).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        answer = self.server.answers[self.path]
        status, kind = answer.get("status", 200), answer.get("type", "application/octet-stream")
        body = answer["body"]
        if self.server.gate:
            self.server.gate.wait(timeout=20)  # both clients have asked before either is answered
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if answer.get("length", True):
            self.send_header("Content-Length", answer.get("says", str(len(body))))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the client may have had enough
            self.wfile.write(body[: answer.get("sent", len(body))])
            while answer.get("endless"):
                self.wfile.write(bytes(download.CHUNK))
                self.server.endless += download.CHUNK

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.answers = {
            "/labels.gz": {"body": gzip.compress(LABELS)},
            "/set.zip": {"body": good_archive()},
        }
        running.asked, running.gate, running.endless = [], None, 0
        thread = threading.Thread(
            target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        thread.start()
        yield running
        running.shutdown()


@pytest.fixture
def home(tmp_path, monkeypatch, server):
    """An empty store, and a manifest of two small sets that the server has."""
    site = f"http://127.0.0.1:{server.server_port}"
    items = {
        "labels": store.Item(
            "L/raw/labels.gz",
            f"{site}/labels.gz",
            100,
            len(LABELS),
            hashlib.sha256(LABELS).hexdigest(),
        ),
        "clips": store.Item(
            "clips/recordings",
            f"{site}/set.zip",
            2000,
            4000,
            listing_hash(CLIPS),
            members=r"[^/]+/recordings/(\d_[a-z]+_\d+\.wav)",
        ),
    }
    monkeypatch.setattr(
        store,
        "MANIFEST",
        {
            name: store.DataSet(name.title(), (item,), "CC0", "nobody, 2026")
            for name, item in items.items()
        },
    )
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "store"))
    return tmp_path / "store"


def everything(folder):
    return (
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
        if folder.exists()
        else []
    )


def refused(name, home, *words):
    """fetch raises a StoreError that says all of `words`, and the store keeps no file."""
    with pytest.raises(store.StoreError) as caught:
        store.fetch(name)
    for word in (f"{name}: ", *words):
        assert word in str(caught.value)
    assert not [
        path for path in home.rglob("*") if path.is_file() or path.name.startswith(".download")
    ]
    assert not store.have(name)


# ---- what goes well
# --------------------------------------------------------------------------------


def test_a_file_is_kept_as_it_came_and_fetched_once(home, server):
    (path,) = store.fetch("labels")
    assert path == home / "L/raw/labels.gz" and gzip.decompress(path.read_bytes()) == LABELS
    assert store.fetch("labels") == [path] and server.asked == ["/labels.gz"]
    assert everything(home) == ["L", "L/raw", "L/raw/labels.gz"], "temporary files were left"


def test_of_an_archive_only_the_wanted_files_are_kept(home, server):
    (path,) = store.fetch("clips")
    assert {file.name: file.read_bytes() for file in path.iterdir()} == CLIPS
    assert store.fetch("clips") == [path] and server.asked == ["/set.zip"]
    assert everything(home) == [
        "clips",
        "clips/recordings",
        *(f"clips/recordings/{name}" for name in sorted(CLIPS)),
    ]


def test_an_archive_packed_anew_is_as_good(home, server):
    server.answers["/set.zip"]["body"] = good_archive({"set-1.0/NEWS.md": b"packed anew"})
    assert len(list(store.fetch("clips")[0].iterdir())) == 4


def test_a_server_that_does_not_say_the_length_will_do(home, server):
    server.answers["/labels.gz"]["length"] = False
    assert store.fetch("labels")[0].exists()


def test_have_says_how_to_get_what_is_missing_and_downloads_nothing(home, server, capsys):
    assert not store.have("labels", "clips")
    assert capsys.readouterr().out.endswith('    store.fetch("labels")\n    store.fetch("clips")\n')
    assert server.asked == [] and not home.exists()
    store.fetch("labels"), store.fetch("clips")
    capsys.readouterr()
    assert store.have("labels", "clips") and capsys.readouterr().out == ""


def tarred(files, links=()):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            one = tarfile.TarInfo(name)
            one.size = len(content)
            archive.addfile(one, io.BytesIO(content))
        for name, target in dict(links).items():
            one = tarfile.TarInfo(name)
            one.type, one.linkname = tarfile.SYMTYPE, target
            archive.addfile(one)
    return buffer.getvalue()


@pytest.fixture
def tar(home, server, monkeypatch):
    """The set "clips" as a tar packed by gzip; change it by tar(files, links)."""
    item = store.MANIFEST["clips"].items[0]
    item = dataclasses.replace(item, address=item.address.replace("set.zip", "set.tar.gz"))
    one = dataclasses.replace(store.MANIFEST["clips"], items=(item,))
    monkeypatch.setitem(store.MANIFEST, "clips", one)
    good = {f"set-1.0/recordings/{name}": data for name, data in CLIPS.items()}

    def pack(files=(), links=()):
        body = tarred({"set-1.0/README.md": b"read me", **good, **dict(files)}, links)
        server.answers["/set.tar.gz"] = {"body": body}
        return body

    pack()
    return pack


def test_of_a_tar_archive_only_the_wanted_files_are_kept(home, tar):
    (path,) = store.fetch("clips")
    assert {file.name: file.read_bytes() for file in path.iterdir()} == CLIPS
    assert len(everything(home)) == 6


def test_a_tar_archive_that_goes_too_far(home, tar, tmp_path):
    tar({"set-1.0/recordings/../../../evil.wav": b"evil"})
    refused("clips", home, "write outside its folder", "evil")
    tar({"set-1.0/recordings/7_zoe_0.wav": bytes(100_000)})
    refused("clips", home, "holds 104,000 bytes, expected 4,000")
    assert not list(tmp_path.rglob("evil*"))


def test_a_link_in_a_tar_archive_is_no_file(home, tar):
    """It would be read as what it points to, and pass for a clip."""
    tar(links={"set-1.0/recordings/7_zoe_0.wav": "1_ann_0.wav"})
    assert len(list(store.fetch("clips")[0].iterdir())) == 4


def test_a_broken_tar_archive(home, tar, server):
    body = tar()
    for bad in (b"", b"no archive", body[: len(body) // 2]):
        server.answers["/set.tar.gz"] = {"body": bad}
        refused("clips", home, "no usable tar archive")


# ---- what goes wrong on the way
# --------------------------------------------------------------------


def test_an_interrupted_transfer(home, server):
    server.answers["/set.zip"]["sent"] = 700
    refused(
        "clips",
        home,
        "the transfer broke off after 700 of",
        "Nothing was kept",
        "copy its store to",
    )
    server.answers["/set.zip"].pop("sent")
    assert store.fetch("clips")


@pytest.mark.parametrize("says", ["abc", "", "-5", "1e3", "9" * 5000, "12, 12", "٣"])
def test_a_length_that_is_no_length_is_as_good_as_none(says, home, server):
    server.answers["/labels.gz"]["says"] = says.encode("utf-8").decode("latin-1")
    assert store.fetch("labels")[0].exists()
    shutil.rmtree(home)
    server.answers["/labels.gz"]["sent"] = 30
    refused("labels", home, "something else than expected", "cannot be read")


def test_a_length_that_is_too_short_or_too_long(home, server):
    length = len(server.answers["/labels.gz"]["body"])
    server.answers["/labels.gz"]["says"] = str(length - 7)
    refused("labels", home, "something else than expected", "cannot be read")
    server.answers["/labels.gz"]["says"] = str(length + 7)
    refused("labels", home, f"the transfer broke off after {length:,} of {length + 7:,} bytes")


@pytest.mark.parametrize("name", ["labels", "clips"])
def test_a_body_without_an_end(name, home, server):
    path = urlsplit(store.MANIFEST[name].items[0].address).path
    most = 2 * store.MANIFEST[name].items[0].download + (1 << 20)
    server.answers[path].update(endless=True, length=False)
    refused(name, home, f"sends more than {most:,} bytes, expected about", "refused")
    # what the system keeps between two ends of a connection may be some megabytes
    assert server.endless < most + 30_000_000


def test_a_length_that_is_far_too_long_is_refused_at_once(home, server):
    server.answers["/set.zip"].update(says=str(10**15), endless=True)
    refused("clips", home, "sends more than 1,052,576 bytes, expected about 2,000; refused")


def test_an_interrupted_transfer_of_unknown_length(home, server):
    server.answers["/labels.gz"].update(length=False, sent=30)
    refused("labels", home, "something else than expected", "cannot be read")


def test_other_content_under_the_same_address(home, server):
    server.answers["/labels.gz"]["body"] = gzip.compress(LABELS + b"!")
    refused(
        "labels",
        home,
        "sent something else than expected: its SHA-256 is",
        hashlib.sha256(LABELS).hexdigest()[:12],
    )


def test_one_altered_one_missing_and_one_added_clip(home, server):
    for change in ({"1_ann_0.wav": b"other"}, {"1_ann_0.wav": None}, {"3_ann_0.wav": b""}):
        clips = {name: data for name, data in (CLIPS | change).items() if data is not None}
        server.answers["/set.zip"]["body"] = zipped(
            {f"set-1.0/recordings/{name}": data for name, data in clips.items()}
        )
        refused("clips", home, "its SHA-256 is")


def test_not_found_and_a_server_in_trouble(home, server):
    for status, words in ((404, "answered 404 Not Found"), (503, "answered 503")):
        server.answers["/labels.gz"] = {"status": status, "body": b"sorry"}
        refused("labels", home, words, "Try again later")


def test_a_web_page_instead_of_the_file(home, server):
    page = b"<!doctype html><title>Welcome to the Wi-Fi</title>"
    server.answers["/set.zip"] = {"body": page, "type": "text/html; charset=utf-8"}
    refused("clips", home, "sent a web page instead of the file", "log in")
    server.answers["/set.zip"] = {"body": page}  # and the same under a wrong name
    refused("clips", home, "no usable zip archive")
    server.answers["/labels.gz"] = {"body": page}
    refused("labels", home, "something else than expected", "cannot be read")


@pytest.mark.parametrize(
    "name", ["set-1.0/recordings/../../../evil.wav", "/evil.wav", "../1_ann_0.wav"]
)
def test_an_archive_that_would_write_outside_its_folder(name, home, server, tmp_path):
    server.answers["/set.zip"]["body"] = good_archive({name: b"evil"})
    refused("clips", home, "write outside its folder", "evil" if "evil" in name else "..")
    assert not list(tmp_path.rglob("evil*")) and not Path("/evil.wav").exists()


def test_an_archive_that_grows_when_unpacked(home, server):
    server.answers["/set.zip"]["body"] = good_archive(
        {"set-1.0/recordings/7_zoe_0.wav": bytes(10_000_000)}, compression=zipfile.ZIP_DEFLATED
    )
    refused("clips", home, "holds 10,004,000 bytes, expected 4,000")


def test_a_broken_archive(home, server):
    body = bytearray(good_archive())
    body[body.index(CLIPS["2_ann_1.wav"]) + 5] ^= 255  # the clip's checksum is wrong now
    server.answers["/set.zip"]["body"] = bytes(body)
    refused("clips", home, "no usable zip archive")


def test_an_encrypted_archive(home, server):
    body = bytearray(good_archive())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = body.find(mark)
        while place >= 0:
            body[place + flags] |= 1  # "this member is encrypted"
            place = body.find(mark, place + 1)
    server.answers["/set.zip"]["body"] = bytes(body)
    refused("clips", home, "no usable zip archive", "encrypted")


def test_an_archive_broken_anywhere_is_never_the_disks_fault(home, server):
    good, chance = good_archive(), random.Random(3)
    broken = [b"", good[:-1], good[1:], b"PK\x05\x06" + bytes(18)]
    broken += [good[:-8] + size + good[-4:] for size in (b"\xff" * 4, b"\x00" * 4)]
    for _ in range(150):
        body = bytearray(good)
        # half of them in the list of members at its end
        body[chance.randrange(*chance.choice([(0, len(good)), (len(good) - 400, len(good))]))] ^= (
            chance.randrange(1, 256)
        )
        broken.append(bytes(body))
    failed = 0
    for body in broken:
        server.answers["/set.zip"]["body"] = body
        try:
            (path,) = store.fetch("clips")
        except store.StoreError as error:
            assert "cannot write" not in str(error) and "Nothing was kept" in str(error).replace(
                "nothing", "Nothing"
            )
            failed += 1
        else:  # where it is broken nothing is wanted
            assert {file.name: file.read_bytes() for file in path.iterdir()} == CLIPS
            shutil.rmtree(path)
    assert failed > 60 and everything(home) == ["clips"]


@pytest.fixture
def secure(home, server, tmp_path, monkeypatch):
    """The server behind TLS, with a certificate that nobody knows."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not here to make a certificate")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*made, "-out", certificate, "-keyout", key], check=True, capture_output=True, timeout=60
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *request: None  # the client's refusal is no news
    item = store.MANIFEST["labels"].items[0]
    item = dataclasses.replace(item, address=item.address.replace("http:", "https:"))
    one = dataclasses.replace(store.MANIFEST["labels"], items=(item,))
    monkeypatch.setitem(store.MANIFEST, "labels", one)
    return certificate


def test_an_unknown_certificate_names_what_mends_it(home, secure, monkeypatch):
    with pytest.raises(store.StoreError) as caught:
        store.fetch("labels")
    assert "certificate verify failed" in str(caught.value)
    assert "SSL_CERT_FILE" in str(caught.value) and "Try again later" not in str(caught.value)
    monkeypatch.setenv("SSL_CERT_FILE", str(secure))
    assert store.fetch("labels")[0].exists()


@pytest.fixture
def proxied(home, monkeypatch):
    """Everything goes through a proxy; `proxied(address)` sets it."""
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    return lambda address, name="http_proxy": monkeypatch.setenv(name, address)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY"])
def test_a_proxy_that_does_not_answer_is_named(variable, home, proxied):
    proxied("http://ann:secret@127.0.0.1:9", variable)
    refused(
        "labels",
        home,
        f"goes through the proxy 127.0.0.1:9 of the environment variable {variable}: is it right?",
    )
    with pytest.raises(store.StoreError) as caught:
        store.fetch("labels")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["http://", "http://[", "http://127.0.0.1:many", "///", "file:/a"]
)
def test_a_proxy_that_is_no_address_is_named(address, home, proxied):
    proxied(address)
    refused("labels", home, "of the environment variable http_proxy: is it right?")


def test_a_proxy_that_asks_for_a_password_is_named(home, server, proxied):
    proxied(f"http://127.0.0.1:{server.server_port}")
    address = store.MANIFEST["labels"].items[0].address
    # a proxy is asked for the whole address
    server.answers[address] = {"status": 407, "body": b"who are you?"}
    refused("labels", home, "answered 407", "of the environment variable http_proxy")


def test_where_nothing_stands_between_nothing_is_named(home, server, proxied, monkeypatch):
    server.answers["/labels.gz"] = {"status": 404, "body": b""}
    with pytest.raises(store.StoreError) as caught:
        store.fetch("labels")
    proxied("http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server.shutdown(), server.server_close()
    with pytest.raises(store.StoreError) as closed:
        store.fetch("labels")
    assert "proxy" not in str(caught.value) and "proxy" not in str(closed.value)


def test_no_network(home, server, monkeypatch):
    server.shutdown(), server.server_close()
    refused(
        "labels",
        home,
        "no answer from http://127.0.0.1",
        "on a machine with a network",
        "python -m course_utils.datasets.store labels",
    )


# ---- what goes wrong on the disk
# -------------------------------------------------------------------


def test_altered_data_are_refused_and_left_alone(home):
    (path,) = store.fetch("labels")
    path.write_bytes(gzip.compress(b"mine"))
    with pytest.raises(
        store.StoreError, match=r"labels.gz is not what it was .* SHA-256 .* Move it away"
    ):
        store.fetch("labels")
    assert gzip.decompress(path.read_bytes()) == b"mine"
    (clips,) = store.fetch("clips")
    (clips / "1_ann_0.wav").unlink()
    with pytest.raises(store.StoreError, match="recordings is not what it was"):
        store.fetch("clips")
    assert len(list(clips.iterdir())) == 3


def test_what_a_killed_download_leaves_behind_is_never_taken_for_data(home):
    (home / "clips").mkdir(parents=True)
    leftover = home / ".download-old"
    leftover.mkdir()
    (leftover / "content").write_bytes(b"half")
    assert not store.have("clips")
    assert len(list(store.fetch("clips")[0].iterdir())) == 4


def test_what_killed_downloads_leave_is_swept_when_it_is_old(home):
    old, young, other = home / ".download-old", home / ".download-new", home / "mine"
    for folder in (old, young, other):
        folder.mkdir(parents=True)
        (folder / "content").write_bytes(b"half")
    for folder in (old, other):
        os.utime(folder, (0, 0))
    store.fetch("labels")
    assert not old.exists() and (young / "content").exists() and (other / "content").exists()


def test_two_at_once_both_end_well(home, server):
    server.gate = threading.Barrier(2)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(store.fetch("clips"))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert server.asked == ["/set.zip"] * 2, "they did not download at the same time"
    assert results == [[home / "clips/recordings"]] * 2 and len(list(results[0][0].iterdir())) == 4
    assert not list(home.glob(".download-*"))


def child(home, code, **options):
    """Run `code` in a process of its own, with this test's manifest; the module alone, because
    torch takes seconds.
    """
    start = f"""import importlib.util, sys
sys.path.insert(0, {str(ROOT)!r})
spec = importlib.util.spec_from_file_location({store.__name__!r}, {store.__file__!r})
store = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(store)
DataSet, Item = store.DataSet, store.Item
store.MANIFEST = {store.MANIFEST!r}
"""
    return subprocess.Popen(
        [sys.executable, "-c", start + code],
        env={**os.environ, "COURSE_DATA": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_two_processes_at_once_both_end_well(home, server):
    server.gate = threading.Barrier(2)
    both = [child(home, "print(len(list(store.fetch('clips')[0].iterdir())))") for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0 and out == "4\n", err
    assert server.asked == ["/set.zip"] * 2
    assert everything(home)[:2] == ["clips", "clips/recordings"]


def test_a_process_killed_in_the_middle_leaves_nothing_that_counts(home, server):
    server.gate = threading.Event()
    process = child(home, "store.fetch('clips')")
    while not server.asked:
        assert process.poll() is None, process.stderr.read()
    process.kill(), process.communicate()
    server.gate.set()
    assert not store.have("clips") and len(list(store.fetch("clips")[0].iterdir())) == 4


def test_a_full_disk(home, server):
    resource = pytest.importorskip(
        "resource", reason="this system has no limit on the size of files"
    )
    # A limit on the size of files stands in for the full disk: writing fails after the first bytes
    # in the same way.
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))  # noqa: E731
    process = child(home, "store.fetch('clips')", preexec_fn=limit)
    err = process.communicate(timeout=60)[1]
    assert (
        "StoreError: clips: cannot write in" in err
        and "It needs 0 MB in a folder that you may write to" in err
    )
    assert not [path for path in home.rglob("*") if path.is_file()] and not store.have("clips")


@pytest.fixture
def no_rights(home):
    """The store as a folder in which nothing may be written. Root may write anywhere, so root
    becomes nobody.
    """
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has no file modes")
    home.mkdir(exist_ok=True)
    changed = [
        path
        for path in (*home.parents, home, *home.rglob("*"))
        if not path.stat().st_mode & 0o005 == 0o005
    ]
    modes = {path: path.stat().st_mode for path in (*changed, home)}
    for path in changed:
        path.chmod(path.stat().st_mode | 0o055)
    home.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield home
    if root:
        os.seteuid(0)
    for path, mode in modes.items():
        path.chmod(mode)


def test_a_read_only_store_without_the_data(no_rights):
    refused(
        "labels", no_rights, "cannot write in", "Permission denied", "COURSE_DATA names another one"
    )


def test_a_read_only_store_with_the_data_is_all_one_needs(home, server, request):
    store.fetch("labels"), store.fetch("clips")
    request.getfixturevalue("no_rights")
    server.asked.clear()
    assert len(store.fetch("labels") + store.fetch("clips")) == 2 and server.asked == []


@pytest.mark.parametrize("what", ["the store", "a folder in it", "the file"])
def test_another_users_store(what, home, request, capsys):
    (path,) = store.fetch("labels")
    shut = {"the store": home, "a folder in it": home / "L", "the file": path}[what]
    request.getfixturevalue("no_rights")
    with as_owner():
        mode = shut.stat().st_mode
        shut.chmod(0)
    try:
        with pytest.raises(store.StoreError) as caught:
            store.fetch("labels")
        message = str(caught.value)
        assert "Permission denied" in message and "COURSE_DATA names another" in message
        assert "Move it away" not in message
        assert store.have("labels") == (what == "the file")
        assert what == "the file" or "COURSE_DATA names another" in capsys.readouterr().out
        assert store.main([]) == (0 if what == "the file" else 1)
    finally:
        with as_owner():
            shut.chmod(mode)


@contextlib.contextmanager
def as_owner():
    """Root again for a moment, where `no_rights` has made root nobody."""
    user = os.geteuid()
    if os.getuid() == 0:
        os.seteuid(0)
    yield
    os.seteuid(user)


# ---- the folder, the names, the command
# ------------------------------------------------------------


def test_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", "../elsewhere")
    assert store.folder() == ROOT / "../elsewhere", (
        "relative to the course, because a kernel's folder is notebooks/"
    )
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert store.folder() == tmp_path
    monkeypatch.delenv("COURSE_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.folder() == tmp_path / "multimodal-course"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert store.folder() == Path.home() / ".cache" / "multimodal-course"


@pytest.mark.parametrize("named", [None, "~/data", "~nobody_of_this_name/data"])
def test_no_home(named, monkeypatch, capsys):
    pwd = pytest.importorskip("pwd", reason="this system has no table of users")
    for name in ("COURSE_DATA", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda user: {}[user])
    if named:
        monkeypatch.setenv("COURSE_DATA", named)
    message = "no home folder. Set the environment variable COURSE_DATA"
    for ask in (store.folder, lambda: store.fetch("mnist")):
        with pytest.raises(store.StoreError, match=message):
            ask()
    assert not store.have("mnist") and message in capsys.readouterr().out
    assert store.main([]) == 1 and message in capsys.readouterr().err


def test_an_unknown_name(home):
    with pytest.raises(
        ValueError, match=r"name: expected one of \['labels', 'clips'\], got 'mnits'"
    ):
        store.fetch("mnits")
    with pytest.raises(ValueError, match="got 'mnits'"):
        store.have("mnits")


def test_the_command_fetches_and_lists(home, capsys):
    assert store.main([]) == 0
    assert "not here, 0 MB to fetch" in capsys.readouterr().out
    assert store.main(["labels", "clips"]) == 0
    out = capsys.readouterr().out
    assert "not here" not in out and "CC0" in out and "nobody, 2026" in out
    shutil.rmtree(home)
    assert store.main(["labes"]) == 1 and "expected one of" in capsys.readouterr().err


def test_every_entry_says_what_it_is():
    for one in store.MANIFEST.values():
        assert one.title and one.licence and one.citation and one.items
        for item in one.items:
            assert (
                item.address.startswith("https://")
                and len(item.sha256) == 64
                and item.download
                and item.bytes
            )
