"""A frozen network for pictures, whichever it is."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from course_utils.checks import check_choice, check_whole
from course_utils.features import asked_for_gradient, cached_vectors, model_fingerprint
from course_utils.image import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    check_images,
    evaluation_transform,
    places,
)

POOLINGS = ("places", "mean")


class ImageEncoder(nn.Module):
    """A frozen network for pictures, always in eval mode, because batch statistics of a frozen
    network would change what it computes.

    forward: normalised pictures (B, 3, H, W) of any size from 32, pooling -> features, mask bool
      "places"  (B, T, width), (B, T): a row for each place, all True
      "mean"    (B, width), (B,): their mean, which the network's own last layer takes; float32

    `transform(size)` normalises once, by the numbers with which this network was trained; those
    of another encoder differ. `classes` names what is seen. `trained` says whether the weights
    were learned or are random.

    `cache` is a folder for the means, or None: see `course_utils.features`. A file's name has the
    picture's content, `weights` (where the network comes from) and the network as it is in memory
    at that call. Where a gradient is asked for, of the pictures or of weights that somebody has
    set free, nothing is read or kept, and both poolings are differentiable. forward raises
    ValueError or TypeError for other shapes, sides below 32, no floats, and another pooling.
    Pictures are computed `batch_size` at a time, so that memory does not grow with B.
    """

    def __init__(
        self,
        body: nn.Module,
        width: int,
        trained: bool,
        *,
        head: nn.Module | None = None,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        weights: str = "",
        cache: Path | None = None,
        batch_size: int = 32,
    ):
        super().__init__()
        self.body, self.width, self.trained = body.eval().requires_grad_(False), width, trained
        self.head = None if head is None else head.eval().requires_grad_(False)
        self.mean, self.std = mean, std
        self.weights, self.cache, self.batch_size = weights, cache, batch_size

    def train(self, mode: bool = True) -> "ImageEncoder":
        super().train(mode)
        self.body.eval()
        return self

    def transform(self, size: int):
        """A picture (3, H, W) from 0 to 1 as this network expects it, (3, size, size): as
        `evaluation_transform`, with the encoder's own mean and standard deviation.
        """
        from torchvision.transforms import v2

        return v2.Compose(
            [evaluation_transform(size, normalise=False), v2.Normalize(self.mean, self.std)]
        )

    def forward(self, images: Tensor, pooling: str = "places") -> tuple[Tensor, Tensor]:
        check_choice(POOLINGS, pooling=pooling)
        check_images(images, 3, least=32)
        if pooling == "mean" and not asked_for_gradient(self.body, images):
            mask = torch.ones(len(images), dtype=torch.bool, device=images.device)
            return self._means(images).to(images.device), mask
        maps = torch.cat([self.body(part) for part in images.split(self.batch_size)])
        features, mask = places(maps)
        return (features, mask) if pooling == "places" else (features.mean(1), mask[:, 0])

    @torch.no_grad()
    def _means(self, images: Tensor) -> Tensor:
        def compute(wanted: list[int]) -> Iterator[tuple[list[int], Tensor]]:
            for start in range(0, len(wanted), self.batch_size):
                batch = wanted[start : start + self.batch_size]
                yield batch, places(self.body(images[batch]))[0].mean(1)

        def names() -> list[str]:
            known = f"{self.weights}\n{model_fingerprint(self.body, '')}\nmean"
            return [f"{known}\n{_content(image)}" for image in images]

        return cached_vectors(len(images), self.width, compute, names, self.cache)

    @torch.no_grad()
    def classes(self, images: Tensor, k: int = 5) -> list[list[tuple[str, float]]]:
        """The `k` likeliest of ImageNet's 1,000 classes for each normalised picture of (B, 3, H,
        W): their names, as torchvision has them, with their probabilities, the likeliest first.

        Raises ValueError for an encoder that has learned no classes, and for a `k` outside 1 to
        1,000.
        """
        if self.head is None or not self.trained:
            raise ValueError("this encoder has learned no classes: its weights are random, or cut")
        check_whole(1, 1000, k=k)
        from torchvision.models import ResNet18_Weights

        words = ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
        # (B, width) -> (B, 1000)
        likeliest = self.head(self(images, "mean")[0]).softmax(1).topk(k)
        return [
            [(words[i], chance) for i, chance in zip(row.tolist(), chances.tolist())]
            for row, chances in zip(likeliest.indices, likeliest.values)
        ]


def _content(image: Tensor) -> str:
    """What a picture is: shape, dtype, and the SHA-256 of its numbers."""
    numbers = image.cpu().reshape(-1).view(torch.uint8).numpy()
    return f"{tuple(image.shape)} {image.dtype} {hashlib.sha256(numbers).hexdigest()}"
