"""Pictures in, features out.

    image = open_image("scan.png")                          # any file that Pillow reads -> (3, H, W) from 0 to 1
    batch = torch.stack([evaluation_transform(64)(image)])  # (1, 3, 64, 64), normalised
    features, mask = SmallCNN(channels=3, width=64)(batch)  # (1, 16, 64) places and their mask, all True

A network here returns `(features, mask)` as the fusion interface takes them: features (B, T, D),
one row for each of T places of the picture, from left to right and top to bottom, and mask (B,
T) bool. Mean over T is global average pooling.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

# where it stands, because tables of pictures, a floor below, read them too
from course_utils.datasets.files import open_image as open_image

# The mean and standard deviation of ImageNet's training pictures, by colour: what networks trained
# on it expect.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pixel_features(images: Tensor) -> Tensor:
    """All pixels in one row: (B, C, H, W) float -> (B, C * H * W) float."""
    if not isinstance(images, Tensor) or images.dim() != 4:
        got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"images: expected shape (B, C, H, W), got {got}")
    if not images.is_floating_point():
        raise TypeError(f"images: expected floats, got {images.dtype}; divide bytes by 255")
    return images.flatten(start_dim=1)


# ---- ready for a network
# ----------------------------------------------------------------------


def training_transform(size: int, *, normalise: bool = True, degrees: float = 10.0):
    """For training: a random crop of 70 to 100 % of the picture, turned by up to `degrees`, to
    (3, size, size).

    No flip: it would turn a 2 into something else and "left" into "right". `normalise` as in
    `evaluation_transform`.
    """
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.7, 1.0), ratio=(0.9, 1.1), antialias=True),
            v2.RandomRotation(degrees),
            *_normalised(v2, normalise),
        ]
    )


def evaluation_transform(size: int, *, normalise: bool = True):
    """For evaluation, always the same: the shorter side to `size`, the middle cut out, (3, size,
    size).

    With `normalise` ImageNet's mean is taken off each colour and its standard deviation divided
    out, once.
    """
    from torchvision.transforms import v2

    return v2.Compose(
        [v2.Resize(size, antialias=True), v2.CenterCrop(size), *_normalised(v2, normalise)]
    )


def _normalised(v2, normalise: bool) -> list:
    return [v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)] if normalise else []


# ---- networks
# -------------------------------------------------------------------------------------


class SmallCNN(nn.Module):
    """Three convolutions of 3 x 3, each with batch normalisation, ReLU and a pooling by 2:
    pictures -> features of places.

    forward: (B, channels, H, W) float -> features (B, H/8 * W/8, width), mask (B, H/8 * W/8)
    bool, all True. Trains on the course's worlds in seconds. Sides below 8 are refused; those
    that 8 does not divide lose their rest.
    """

    def __init__(self, channels: int = 3, width: int = 64):
        super().__init__()
        if channels < 1 or width < 4:
            raise ValueError(
                f"expected channels of at least 1 and width of at least 4, got {channels} and"
                f" {width}"
            )
        self.channels, self.width = channels, width
        widths = (channels, width // 4, width // 2, width)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(),
                    nn.MaxPool2d(2),
                )
                for before, after in zip(widths, widths[1:])
            )
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        _check_images(images, self.channels, least=8)
        return _places(self.blocks(images))


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
        _check_images(images, 3, least=32)
        return _places(self.body(images))


ENCODERS = {"resnet18": (512, "ResNet18_Weights"), "resnet50": (2048, "ResNet50_Weights")}


def load_image_encoder(
    name: str = "resnet18", *, random: bool = False, download: bool = True
) -> ImageEncoder:
    """torchvision's network `name` ("resnet18", "resnet50") without its last layers, with
    ImageNet's weights.

    The weights (45 or 98 MB) come from torch's cache or, with `download`, once over the network.
    Where neither has them this raises OSError, which says what to do; `random=True` builds the
    network with random weights instead, for shapes and costs: `trained` is then False. Source:
    He et al. 2016, Deep Residual Learning for Image Recognition.
    """
    import torchvision

    if name not in ENCODERS:
        raise ValueError(f"name: expected one of {list(ENCODERS)}, got {name!r}")
    width, weights_name = ENCODERS[name]
    weights = None if random else getattr(torchvision.models, weights_name).IMAGENET1K_V1
    try:
        if (
            weights
            and not download
            and not (
                Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]
            ).exists()
        ):
            raise OSError("not in torch's cache, and download is False")
        network = getattr(torchvision.models, name)(
            weights=weights, **({} if random else {"progress": False})
        )
    except (OSError, RuntimeError) as error:
        # URLError is an OSError; a file with a wrong hash is a RuntimeError
        raise OSError(
            f"the weights of {name} are not here and could not be fetched ({error}). With a"
            f" network, call this again; without one, put {weights.url.rsplit('/', 1)[-1]} into"
            " torch.hub.get_dir() + '/checkpoints', train SmallCNN instead, or pass random=True"
            " for a network that has learned nothing."
        ) from error
    return ImageEncoder(nn.Sequential(*list(network.children())[:-2]), width, trained=not random)


@contextlib.contextmanager
def feature_maps(network: nn.Module, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """While active, keep what the named modules of `network` return: {name: (B, C, H, W)}, of
    the last forward pass.

    >>> with feature_maps(cnn, ["blocks.0", "blocks.2"]) as maps:
    ...     cnn(images)
    >>> maps["blocks.0"].shape

    Raises ValueError for a name that `network.named_modules()` does not have.
    """
    modules = dict(network.named_modules())
    if missing := [name for name in names if name not in modules]:
        raise ValueError(
            f"names: {missing} are not among the network's modules"
            f" {[name for name in modules if name][:12]} ..."
        )
    maps: dict[str, Tensor] = {}
    hooks = [
        modules[name].register_forward_hook(
            lambda module, args, out, name=name: maps.__setitem__(name, out.detach())
        )
        for name in names
    ]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()


def _places(maps: Tensor) -> tuple[Tensor, Tensor]:
    # (B, D, H, W) -> (B, H * W, D)
    features = maps.flatten(2).transpose(1, 2)
    return features, torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)


def _check_images(images: Tensor, channels: int, least: int) -> None:
    if not isinstance(images, Tensor):
        raise TypeError(f"images: expected a tensor, got {type(images).__name__}")
    if images.dim() != 4 or images.shape[1] != channels or min(images.shape[2:]) < least:
        raise ValueError(
            f"images: expected shape (B, {channels}, H, W) with H and W of at least {least}, got"
            f" {tuple(images.shape)}"
        )
    if not images.is_floating_point():
        raise TypeError(f"images: expected floats, got {images.dtype}; divide bytes by 255")
