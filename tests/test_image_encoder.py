"""The pretrained image encoder: the order of places, always frozen, where its weights come from."""

import hashlib
import io
import pickle
import urllib.error
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from course_utils import image_encoder
from course_utils.image_encoder import IMAGE_ENCODERS, ImageEncoder, load_image_encoder


def test_places_run_from_left_to_right_and_top_to_bottom():
    class Same(nn.Module):
        def forward(self, x):
            return x

    encoder = ImageEncoder(Same(), 3, trained=False)
    pictures = torch.arange(3 * 32 * 40.0).reshape(1, 3, 32, 40)
    features, _ = encoder(pictures)
    assert torch.equal(features[0, 1], pictures[0, :, 0, 1]) and torch.equal(
        features[0, 40], pictures[0, :, 1, 0]
    )


def test_a_frozen_encoder_stays_as_it_is():
    encoder = load_image_encoder("resnet18", random=True)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder.train()
    features, mask = encoder(torch.rand(2, 3, 64, 96))
    assert (
        features.shape == (2, 6, 512)
        and mask.all()
        and not encoder.trained
        and not features.requires_grad
    )
    # batch norm's too
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    with pytest.raises(ValueError, match="at least 32"):
        encoder(torch.rand(1, 3, 16, 16))


# ---- where the weights come from ----


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """An empty cache of torch's, in which no network is asked."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(
        torch.hub,
        "download_url_to_file",
        lambda *args, **options: pytest.fail("asked for a download"),
    )
    return tmp_path / "checkpoints"


def lay(checkpoints, content, monkeypatch=None):
    """Put `content` where resnet18's weights lie; with `monkeypatch` as the file that is right."""
    checkpoints.mkdir(exist_ok=True)
    if not isinstance(content, bytes):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        content = buffer.getvalue()
    if monkeypatch:
        sha256 = hashlib.sha256(content).hexdigest()
        monkeypatch.setitem(image_encoder.RESNET_SHA256, "resnet18", sha256)
    file = checkpoints / "resnet18-f37072fd.pth"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    "error",
    [urllib.error.URLError("no route"), RuntimeError('invalid hash value (expected "f37072fd")')],
)
def test_without_weights_it_says_what_to_do(error, checkpoints, monkeypatch):
    def fails(url, file, hash_prefix, progress):
        assert url.startswith("https://") and len(hash_prefix) == 64
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", fails)
    with pytest.raises(
        OSError, match="weights of resnet18 are not here .* resnet18-f37072fd.pth .* random=True"
    ):
        load_image_encoder("resnet18")
    with pytest.raises(
        ValueError, match=r"expected one of \['resnet18', 'resnet50'\], got 'resnet101'"
    ):
        load_image_encoder("resnet101")


def test_without_download_nothing_is_asked_of_the_network(checkpoints):
    with pytest.raises(OSError, match="not in torch's cache, and download is False"):
        load_image_encoder("resnet18", download=False)


def test_weights_from_the_cache_are_used(checkpoints, monkeypatch):
    import torchvision

    torch.manual_seed(3)
    network = torchvision.models.resnet18()
    lay(checkpoints, network.state_dict(), monkeypatch)
    encoder, pictures = load_image_encoder("resnet18"), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = nn.Sequential(*list(network.eval().children())[:-1])(pictures).flatten(1)
    assert encoder.trained
    torch.testing.assert_close(encoder(pictures)[0].mean(1), expected)


def test_weights_from_the_network_are_used(checkpoints, monkeypatch):
    import torchvision

    file = lay(checkpoints, torchvision.models.resnet18().state_dict(), monkeypatch)
    content = file.read_bytes()
    file.unlink()
    checkpoints.rmdir()

    def download(url, file, hash_prefix, progress):
        assert hash_prefix == hashlib.sha256(content).hexdigest()
        Path(file).write_bytes(content)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert load_image_encoder("resnet18").trained and file.read_bytes() == content


class Runs:
    """What is executed when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("executed",)


def legacy(value):
    """As torch saved before 1.6: a bare pickle."""
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def zipped(value):
    """As torch.hub has unpacked it until now: an archive with a bare pickle inside."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("weights.pth", legacy(value))
    return buffer.getvalue()


FOREIGN = {
    "empty": lambda: b"",
    "web page": lambda: b"<!doctype html><title>Log in</title>",
    "pickle": lambda: pickle.dumps(Runs()),
    "old format": lambda: legacy({"weight": Runs()}),
    "old format in a zip": lambda: zipped({"weight": Runs()}),
    "new format": lambda: {"weight": Runs()},
    "random weights": lambda: nn.Linear(2, 2).state_dict(),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_refused_and_not_executed(kind, checkpoints):
    file = lay(checkpoints, FOREIGN[kind]())
    message = "is not the file that it should be: its SHA-256 is .*, expected f37072fd47e8"
    with pytest.raises(ValueError, match=message) as caught:
        load_image_encoder("resnet18", download=False)
    assert str(caught.value).startswith(str(file)) and "Delete it" in str(caught.value)


def test_random_weights_of_the_right_shapes_are_refused(checkpoints):
    import torchvision

    lay(checkpoints, torchvision.models.resnet18().state_dict())
    with pytest.raises(ValueError, match="is not the file that it should be"):
        load_image_encoder("resnet18")


@pytest.mark.parametrize("kind", ["pickle", "old format", "old format in a zip", "new format"])
def test_even_the_right_file_cannot_execute_anything(kind, checkpoints, monkeypatch):
    lay(checkpoints, FOREIGN[kind](), monkeypatch)
    with pytest.raises((pickle.UnpicklingError, RuntimeError)):
        load_image_encoder("resnet18")


def test_weights_that_lack_a_layer_are_refused(checkpoints, monkeypatch):
    import torchvision

    state = torchvision.models.resnet18().state_dict()
    del state["layer4.1.bn2.running_var"]
    lay(checkpoints, state, monkeypatch)
    with pytest.raises(RuntimeError, match="Missing key.*layer4.1.bn2.running_var"):
        load_image_encoder("resnet18")


@pytest.mark.parametrize("name", IMAGE_ENCODERS)
def test_the_published_names_hold_the_same_hash(name):
    import torchvision

    url = getattr(torchvision.models, IMAGE_ENCODERS[name][1]).IMAGENET1K_V1.url
    assert len(image_encoder.RESNET_SHA256[name]) == 64
    assert url.endswith(f"/{name}-{image_encoder.RESNET_SHA256[name][:8]}.pth")
