"""Pictures in, features out.

    image = open_image("scan.png")                          # (3, H, W) float32 from 0 to 1
    batch = torch.stack([evaluation_transform(64)(image)])  # (1, 3, 64, 64), normalised
    features, mask = SmallCNN(channels=3, width=64)(batch)  # (1, 64, 64) and (1, 64)

A network here and in `image_encoder` returns `(features, mask)` as the fusion interface takes
them: features (B, T, D), one row for each of T places of the picture, from left to right and top to
bottom, and mask (B, T) bool. Mean over T is global average pooling.

Where what stands: `pixels` has pixels and maps as features and what a batch of pictures has to be,
`transforms` makes pictures ready for a network, `cnn` is a small network.
"""

from course_utils.lazy import by_name

# The module of each name; it is imported when the name is first asked for.
HOMES = {
    "pixel_features": "pixels",
    "check_images": "pixels",
    "IMAGENET_MEAN": "transforms",
    "IMAGENET_STD": "transforms",
    "training_transform": "transforms",
    "evaluation_transform": "transforms",
    "SmallCNN": "cnn",
    "places": "pixels",
    # where it stands, because tables of pictures, a floor below, read them too
    "open_image": "course_utils.datasets.files",
}
__getattr__, __dir__, __all__ = by_name(__name__, HOMES)
