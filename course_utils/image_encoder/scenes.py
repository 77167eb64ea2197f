"""The course's own network, for the pictures of `Scenes`."""

from pathlib import Path

from torch import nn

from course_utils.image_encoder.frozen import ImageEncoder
from course_utils.runtime import DATA, reads
from course_utils.weights import SCENES_CNN_SHA256, verified

SCENES_CNN = DATA / "scene_encoder" / "scenes_cnn.safetensors"


def scenes_cnn() -> nn.Sequential:
    """The body of "scenes-cnn": pictures (B, 3, H, W) from 0 to 1 -> a map (B, 64, H / 8, W / 8).

    A feature has mean 0 and spread 1 over the cells of the training scenes: the last layer sees to
    it.
    """
    layers, widths = [], (3, 24, 48, 64, 64)
    for k, (size, stride) in enumerate(((5, 2), (3, 2), (3, 2), (3, 1))):
        convolution = nn.Conv2d(widths[k], widths[k + 1], size, stride, size // 2, bias=False)
        layers += [convolution, nn.BatchNorm2d(widths[k + 1]), nn.ReLU()]
    return nn.Sequential(*layers, nn.BatchNorm2d(widths[-1], affine=False))


def scenes_encoder(random: bool, cache: Path | None) -> ImageEncoder:
    """`scenes_cnn` with its weights, or with random ones. Raises ValueError for an altered file,
    OSError where there is none.
    """
    network = scenes_cnn()
    if not random:
        from safetensors.torch import load

        mend = "`git checkout data/scene_encoder` brings it back."
        content = verified(reads(SCENES_CNN), SCENES_CNN_SHA256, mend)
        network.load_state_dict(load(content), strict=True)
    return ImageEncoder(
        network,
        64,
        trained=not random,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        weights=SCENES_CNN_SHA256,
        cache=cache,
        batch_size=250,
    )
