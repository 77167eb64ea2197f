"""Pictures in, features out.

    image = open_image("scan.png")                          # (3, H, W) float32 from 0 to 1
    batch = torch.stack([evaluation_transform(64)(image)])  # (1, 3, 64, 64), normalised
    features, mask = SmallCNN(channels=3, width=64)(batch)  # (1, 64, 64) and (1, 64)

A network here and in `image_encoder` returns `(features, mask)` as the fusion interface takes
them: features (B, T, D), one row for each of T places of the picture, from left to right and top to
bottom, and mask (B, T) bool. Mean over T is global average pooling.
"""

import torch
from torch import Tensor, nn

from course_utils.checks import check_tensor

# where it stands, because tables of pictures, a floor below, read them too
from course_utils.datasets.files import open_image as open_image

# The mean and standard deviation of ImageNet's training pictures, by colour: what networks trained
# on it expect.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pixel_features(images: Tensor) -> Tensor:
    """All pixels in one row: (B, C, H, W) float -> (B, C * H * W) float.

    Raises ValueError or TypeError for another shape and for what is no float.
    """
    check_tensor(images, "images")
    if images.dim() != 4:
        raise ValueError(f"images: expected shape (B, C, H, W), got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(f"images: expected floats, got {images.dtype}; divide bytes by 255")
    return images.flatten(start_dim=1)


# ---- ready for a network ----


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


# ---- networks ----


class SmallCNN(nn.Module):
    """Three convolutions of 3 x 3, each with batch normalisation, ReLU and a pooling by 2:
    pictures -> features of places.

    forward: (B, channels, H, W) float -> features (B, H/8 * W/8, width), mask (B, H/8 * W/8)
    bool, all True. Trains on the course's worlds in seconds. Sides that 8 does not divide lose
    their rest. Raises ValueError for channels below 1 and a width below 4; forward, ValueError or
    TypeError for sides below 8, other channels, and what is no float.
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
        check_images(images, self.channels, least=8)
        return places(self.blocks(images))


def places(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (B, D, H, W) as features (B, H * W, D) and their mask (B, H * W) bool, all True.

    Raises ValueError or TypeError for what is no tensor of four axes.
    """
    check_tensor(maps, "maps")
    if maps.dim() != 4:
        raise ValueError(f"maps: expected shape (B, D, H, W), got {tuple(maps.shape)}")
    features = maps.flatten(2).transpose(1, 2)
    return features, torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)


def check_images(images: Tensor, channels: int, least: int) -> None:
    """Raises ValueError or TypeError for what is no float batch (B, channels, H, W) with sides of
    at least `least`.
    """
    check_tensor(images, "images")
    if images.dim() != 4 or images.shape[1] != channels or min(images.shape[2:]) < least:
        raise ValueError(
            f"images: expected shape (B, {channels}, H, W) with H and W of at least {least}, got"
            f" {tuple(images.shape)}"
        )
    if not images.is_floating_point():
        raise TypeError(f"images: expected floats, got {images.dtype}; divide bytes by 255")
