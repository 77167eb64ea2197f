"""The pretrained image encoder: the order of places, always frozen, where its weights come from."""

import urllib.error

import pytest
import torch
from torch import nn

from course_utils.image_encoder import ImageEncoder, load_image_encoder


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


@pytest.mark.parametrize(
    "error",
    [urllib.error.URLError("no route"), RuntimeError('invalid hash value (expected "f37072fd")')],
)
def test_without_weights_it_says_what_to_do(error, monkeypatch):
    import torchvision

    def fails(weights, **options):
        raise error

    monkeypatch.setattr(torchvision.models, "resnet18", fails)
    with pytest.raises(
        OSError, match="weights of resnet18 are not here .* resnet18-f37072fd.pth .* random=True"
    ):
        load_image_encoder("resnet18")
    with pytest.raises(
        ValueError, match=r"expected one of \['resnet18', 'resnet50'\], got 'resnet101'"
    ):
        load_image_encoder("resnet101")


def test_without_download_nothing_is_asked_of_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(
        torch.hub,
        "load_state_dict_from_url",
        lambda *args, **options: pytest.fail("asked for a download"),
    )
    with pytest.raises(OSError, match="not in torch's cache, and download is False"):
        load_image_encoder("resnet18", download=False)


def test_weights_from_the_cache_are_used(tmp_path, monkeypatch):
    import torchvision

    torch.manual_seed(3)
    network = torchvision.models.resnet18()
    (tmp_path / "checkpoints").mkdir()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    torch.save(network.state_dict(), tmp_path / "checkpoints" / "resnet18-f37072fd.pth")
    encoder, pictures = load_image_encoder("resnet18"), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = nn.Sequential(*list(network.eval().children())[:-1])(pictures).flatten(1)
    assert encoder.trained
    torch.testing.assert_close(encoder(pictures)[0].mean(1), expected)
