"""A pretrained encoder for photographs: pictures in, features of a frozen network out.

    encoder = load_image_encoder("resnet18")
    batch = torch.stack([evaluation_transform(224)(image)])     # (1, 3, 224, 224), normalised
    features, mask = encoder(batch)                             # (1, 49, 512), (1, 49) all True

Features and mask go into the fusion interface as they are, one row for each place of the picture.
"""

import io
from pathlib import Path

import torch
from torch import Tensor, nn

from course_utils.image import check_images, places
from course_utils.weights import RESNET_SHA256, verified

IMAGE_ENCODERS = {"resnet18": (512, "ResNet18_Weights"), "resnet50": (2048, "ResNet50_Weights")}


class ImageEncoder(nn.Module):
    """A frozen network for photographs: (B, 3, H, W) -> features (B, T, width), mask (B, T)
    bool, all True.

    `trained` says whether its weights were learned or are random. It always is in eval mode,
    because batch statistics of a frozen network would change what it computes. Pictures are
    normalised once, by `evaluation_transform`.
    """

    def __init__(self, body: nn.Module, width: int, trained: bool):
        super().__init__()
        self.body, self.width, self.trained = body.eval().requires_grad_(False), width, trained

    def train(self, mode: bool = True) -> "ImageEncoder":
        super().train(mode)
        self.body.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        check_images(images, 3, least=32)
        return places(self.body(images))


def load_image_encoder(
    name: str = "resnet18", *, random: bool = False, download: bool = True
) -> ImageEncoder:
    """torchvision's network `name` ("resnet18", "resnet50") without its last layers, with
    ImageNet's weights.

    The weights (45 or 98 MB) come from torch's cache or, with `download`, once over the network.
    Their SHA-256 is checked before they are used, and nothing in their file is executed.
    `random=True` builds the network with random weights instead, for shapes and costs: `trained`
    is then False.

    Raises ValueError for another name or an altered file, and OSError where there are no weights,
    with what to do. Source: He et al. 2016, Deep Residual Learning for Image Recognition.
    """
    import torchvision

    if name not in IMAGE_ENCODERS:
        raise ValueError(f"name: expected one of {list(IMAGE_ENCODERS)}, got {name!r}")
    width, weights_name = IMAGE_ENCODERS[name]
    weights = None if random else _resnet_weights(name, weights_name, download)
    network = getattr(torchvision.models, name)(weights=None)
    if weights is not None:
        network.load_state_dict(weights, strict=True)
    return ImageEncoder(nn.Sequential(*list(network.children())[:-2]), width, trained=not random)


def _resnet_weights(name: str, weights_name: str, download: bool) -> dict[str, Tensor]:
    """torchvision's weights, from torch's cache or the network. Its own loader would unpickle
    whatever file lies in the cache.
    """
    import torchvision

    url = getattr(torchvision.models, weights_name).IMAGENET1K_V1.url
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    expected = RESNET_SHA256[name]
    try:
        if not file.exists():
            if not download:
                raise OSError("not in torch's cache, and download is False")
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), expected, progress=False)
        content = verified(file, expected, "Delete it, and call this again with a network.")
    except (OSError, RuntimeError) as error:
        # URLError is an OSError; a download with a wrong hash is a RuntimeError
        raise OSError(
            f"the weights of {name} are not here and could not be fetched ({error}). With a"
            f" network, call this again; without one, put {file.name} into"
            " torch.hub.get_dir() + '/checkpoints', train SmallCNN instead, or pass random=True"
            " for a network that has learned nothing."
        ) from error
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
