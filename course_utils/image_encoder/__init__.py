"""Pretrained encoders for pictures: pictures in, features of a frozen network out.

    encoder = load_image_encoder("efficientnet-lite0")
    batch = torch.stack([encoder.transform(224)(image)])    # (1, 3, 224, 224), normalised
    features, mask = encoder(batch)                         # (1, 49, 1280), (1, 49) all True
    features, mask = encoder(batch, "mean")                 # (1, 1280), (1,) all True
    encoder.classes(batch)                                  # [[("daisy", 0.20), ...]]

Features and mask go into the fusion interface as they are, one row for each place of the picture.

Where what stands: `frozen` has the encoder around any network, `imagenet` and `scenes` build the
networks and check their weights, `loading` finds them by name.
"""

from course_utils.lazy import by_name

# The module of each name; it is imported when the name is first asked for.
HOMES = {
    "POOLINGS": "frozen",
    "ImageEncoder": "frozen",
    "IMAGE_ENCODERS": "loading",
    "load_image_encoder": "loading",
    "SCENES_CNN": "scenes",
    "scenes_cnn": "scenes",
    "RESNETS": "imagenet",
}
__getattr__, __dir__, __all__ = by_name(__name__, HOMES)
